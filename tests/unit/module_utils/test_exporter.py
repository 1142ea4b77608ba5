# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery-exporter: one a broker, told of every queue of its workers and of how to reach the broker."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import click
import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed, ObservedObject

from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import IMAGE, fleet_of, of_kind
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


def as_exporter_reads(words: list[str]) -> dict[str, Any]:
    """Transport options as the exporter makes them of its words (0.12.2: C(transform_option_value))."""
    found: dict[str, Any] = {}
    for word in words:
        name, _equals, value = word.partition("=")
        try:
            found[name] = int(value) if value.isnumeric() else json.loads(value)
        except ValueError:
            found[name] = value
    return found


def words_of_environment(value: str) -> list[str]:
    """A variable for an option that may be written several times, as click splits it."""

    @click.command()
    @click.option("--broker-transport-option", multiple=True, default=[None])
    def command(broker_transport_option: tuple[str, ...]) -> list[str]:
        return list(broker_transport_option)

    environment = pytest.MonkeyPatch()
    with environment.context() as patched:
        patched.setenv("CE_BROKER_TRANSPORT_OPTION", value)
        words: list[str] = command.main([], auto_envvar_prefix="CE", standalone_mode=False)
    return words


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
        ({"extra_params": ["--static-label=site=north"]}, "static-label", ["site=north"]),
    ],
)
def test_arguments_follow_the_keys(keys: dict[str, Any], option: str, values: list[str]) -> None:
    assert options_of(exporter_with(keys))[option] == values


@pytest.mark.parametrize(
    ("broker", "transport", "ssl"),
    [
        ({"host": "redis"}, None, None),
        (SENTINEL, {"master_name": "main"}, None),
        (
            {"host": "redis", "priority_steps": [0, 5], "transport_options": {"fanout_prefix": True, "sep": ":"}},
            {"fanout_prefix": True, "priority_steps": [0, 5], "sep": ":"},
            None,
        ),
        (
            # Text that the exporter, or Kubernetes, would read as something else.
            {"host": "redis", "transport_options": {"a": "12", "b": "true", "c": "$(HOME) x", "d": "", "e": 12}},
            {"a": "12", "b": "true", "c": "$(HOME) x", "d": "", "e": 12},
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
    broker: dict[str, Any], transport: dict[str, Any] | None, ssl: list[str] | None
) -> None:
    found = options_of(exporter_with(broker=broker))
    words = found.get("broker-transport-option", [])
    assert not any("$" in word for word in words)
    assert as_exporter_reads(words) == (transport or {})
    assert sorted(found.get("broker-ssl-option", [])) == (ssl or [])


@pytest.mark.parametrize("password", ["simple", 'p@ "ss\\=$(HOME) {}', "äß €", "12", "true", "a\tb"])
@pytest.mark.parametrize("user", ["", 'me "too"'])
def test_the_password_of_sentinels_reaches_the_exporter_through_a_secret(password: str, user: str) -> None:
    names = {"sentinel_username": user} if user else {}
    broker = {**SENTINEL, **names, "transport_options": {"socket_keepalive": True}}
    manifests = exporter_with(broker={**broker, "sentinel_password": True})
    assert "broker-transport-option" not in options_of(manifests), "the exporter would not look at its environment"
    found = env_of(manifests)
    layers = [
        {"name": "celery_workers_broker", "value": {**broker, "sentinel_password": password}},
        {"name": "celery_workers_services", "value": {"billing": {"image": IMAGE}}},
        {"name": "celery_workers_config", "value": {"billing": {"default": {}}}},
    ]
    (secret,) = secret_manifests(layers, "shop", enabled=("exporter",))
    names_of = list(found)
    for name in names_of[: names_of.index("CE_BROKER_TRANSPORT_OPTION")]:
        if isinstance(found[name], tuple):
            assert found[name][0] == secret["metadata"]["name"]
            value = base64.b64decode(secret["data"][found[name][1]]).decode()
            # As Kubernetes puts it in: once, and not what is in the value.
            found["CE_BROKER_TRANSPORT_OPTION"] = found["CE_BROKER_TRANSPORT_OPTION"].replace(f"$({name})", value)
    assert as_exporter_reads(words_of_environment(found["CE_BROKER_TRANSPORT_OPTION"])) == {
        "master_name": "main",
        "socket_keepalive": True,
        "sentinel_kwargs": {**({"username": user} if user else {}), "password": password},
    }


def test_a_password_of_sentinels_in_a_secret_of_your_own_is_referred_to() -> None:
    own = {"name": "redis-login", "sentinel_password_key": "pw"}
    found = env_of(exporter_with(broker={**SENTINEL, "secret": own}))
    (name,) = re.findall(r"\$\((\w+)\)", found["CE_BROKER_TRANSPORT_OPTION"])
    assert found[name] == ("redis-login", "pw")
    assert list(found).index(name) < list(found).index("CE_BROKER_TRANSPORT_OPTION")
    words = found["CE_BROKER_TRANSPORT_OPTION"].replace(f"$({name})", "hunter2")
    assert as_exporter_reads(words_of_environment(words))["sentinel_kwargs"] == {"password": "hunter2"}


def test_only_an_exporter_brings_a_second_form_of_the_password_into_the_secret() -> None:
    layers = [
        {"name": "celery_workers_broker", "value": {**SENTINEL, "sentinel_password": "pw"}},
        {"name": "celery_workers_services", "value": {"billing": {"image": IMAGE}}},
        {"name": "celery_workers_config", "value": {"billing": {"default": {}}}},
    ]
    (without,) = secret_manifests(layers, "shop", enabled=("flower",))[:1]
    assert set(without["data"]) == {"sentinel_password"}


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
