# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery-exporter: one a broker, told of every queue of its workers and of how to reach the broker."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._observed import Observed, ObservedObject

from tests.unit.inventories import fleet_of, of_kind
from tests.unit.watching import (
    RABBITMQ,
    SENTINEL,
    container_of,
    env_of,
    exporter_with,
    one_of,
    pod_of,
    services_with,
    watched,
    watching_of,
)


def options_of(manifests: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Options of the command line, each with all its values."""
    found: dict[str, list[str]] = {}
    for word in container_of(manifests)["args"]:
        name, _equals, value = word.partition("=")
        found.setdefault(name.removeprefix("--"), []).append(value)
    return found


@pytest.mark.parametrize(
    ("keys", "option", "values"),
    [
        ({}, "worker-timeout", ["60"]),
        ({"worker_timeout": 90}, "worker-timeout", ["90"]),
        ({"purge_offline_workers": 30}, "purge-offline-worker-metrics", ["30"]),
        ({"runtime_buckets": [0.25, 1, 7200]}, "buckets", ["0.25,1,7200"]),
        ({}, "generic-hostname-task-sent-metric", [""]),
        ({"extra_params": ["--log-level=DEBUG"]}, "log-level", ["DEBUG"]),
    ],
)
def test_arguments_follow_the_keys(keys: dict[str, Any], option: str, values: list[str]) -> None:
    assert options_of(exporter_with(keys))[option] == values


@pytest.mark.parametrize(
    ("broker", "transport", "ssl"),
    [
        ({"host": "redis"}, None, None),
        (SENTINEL, ["master_name=main"], None),
        (
            {"host": "redis", "priority_steps": [0, 5], "transport_options": {"fanout_prefix": True, "sep": ":"}},
            # Text as it is, all else as JSON.
            ["fanout_prefix=true", "priority_steps=[0, 5]", "sep=:"],
            None,
        ),
        (
            {"host": "redis", "tls": {"ca_secret": "ca"}},
            None,
            ["ssl_ca_certs=/celery-broker-tls/ca.crt", "ssl_cert_reqs=required"],
        ),
        ({**RABBITMQ, "tls": True}, None, ["cert_reqs=2"]),
    ],
)
def test_what_the_url_of_a_broker_does_not_say_is_told_by_arguments(
    broker: dict[str, Any], transport: list[str] | None, ssl: list[str] | None
) -> None:
    found = options_of(exporter_with(broker=broker))
    assert sorted(found.get("broker-transport-option", [])) == (transport or [])
    assert sorted(found.get("broker-ssl-option", [])) == (ssl or [])


def test_certificates_are_mounted_where_the_arguments_name_them() -> None:
    manifests = exporter_with(broker={"host": "redis", "tls": {"ca_secret": "ca"}})
    (volume,) = [item for item in pod_of(manifests)["volumes"] if "projected" in item]
    mounts = {item["name"]: item["mountPath"] for item in container_of(manifests)["volumeMounts"]}
    assert mounts[volume["name"]] == "/celery-broker-tls"


def test_every_exporter_is_told_of_the_queues_of_its_own_broker_and_of_each_once() -> None:
    variables = services_with({"a": None, "b": {"host": "other"}, "c": None}, enabled=("exporter",))
    variables["config"]["a"] = {"default": {"queues": ["one", "two"]}, "high": {"queues": ["three"]}}
    variables["config"]["c"] = {"default": {"queues": ["one", "four"], "accept_risks": ["shared-queue"]}}
    fleet = fleet_of(**variables)
    queues = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["containers"][0]["args"][0]
        for item in of_kind(watching_of(fleet), "Deployment")
    }
    assert queues == {"celery-exporter": "--queues=one,two,three,four", "b-celery-exporter": "--queues=b.default"}


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        ({"host": "redis"}, "redis://redis:6379/0"),
        ({"host": "redis", "password": True}, ("shop-celery-broker", "url")),
        ({"host": "redis", "secret": {"name": "x", "url_key": "u"}}, ("x", "u")),
    ],
)
def test_the_url_of_the_broker_comes_from_where_workers_read_it(broker: dict[str, Any], expected: Any) -> None:
    assert env_of(exporter_with(broker=broker)) == {"CE_BROKER_URL": expected}


def test_a_service_leads_to_the_port_of_the_metrics_and_a_broker_outage_restarts_nothing() -> None:
    manifests = exporter_with()
    container = container_of(manifests)
    (port,) = one_of(manifests, "Service")["spec"]["ports"]
    (opened,) = container["ports"]
    assert (port["port"], opened["containerPort"], port["targetPort"]) == (9808, 9808, opened["name"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        # Its /health fails while the broker is down.
        assert container[probe]["httpGet"]["path"] == "/"


def test_the_pod_is_one_that_pod_security_restricted_admits_and_writes_to_no_folder_of_its_image() -> None:
    manifests = exporter_with()
    security = container_of(manifests)["securityContext"]
    assert pod_of(manifests)["securityContext"]["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert [item["mountPath"] for item in container_of(manifests)["volumeMounts"]] == ["/tmp"]


def test_flower_and_exporter_of_one_broker_select_their_own_pods_only() -> None:
    found = of_kind(watching_of(fleet_of(**watched("flower", "exporter"))), "Deployment")
    assert [item["metadata"]["name"] for item in found] == ["flower", "celery-exporter"]
    for one, other in (found, found[::-1]):
        selector = one["spec"]["selector"]["matchLabels"]
        assert not selector.items() <= other["spec"]["template"]["metadata"]["labels"].items()


def test_an_exporter_that_is_taken_over_keeps_its_selector() -> None:
    live = ObservedObject("Deployment", "celery-exporter", selector={"app": "exporter"})
    manifests = exporter_with(observed=Observed((live,)), take_over=True)
    assert one_of(manifests, "Deployment")["spec"]["selector"]["matchLabels"] == {"app": "exporter"}
    assert one_of(manifests, "Service")["spec"]["selector"] == {"app": "exporter"}
