# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variants of a service with the same secret environment read one Secret, and people see who reads what."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.secret_table import secret_table
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secret_names
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import IMAGE

SHARED = {"A": "hunter2", "B": {"secret": "mine", "key": "b"}}


def layers(config: dict[str, Any], service: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    named = {name: {"queues": [name], **keys} for name, keys in config.items()}
    given = {
        "broker": {"host": "redis", "password": "x"},
        "services": {"billing": {"image": IMAGE, **(service or {})}},
        "config": {"billing": named},
        **more,
    }
    return [{"name": f"celery_workers_{name}", "value": value} for name, value in given.items()]


def fleet_from(written: list[dict[str, Any]]) -> Fleet:
    seen = redacted_layers(written)
    return parse_fleet(Inventory("shop", layers=tuple(Layer(item["name"], item["value"]) for item in seen)))


def secrets_of(written: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Deployments by the Secret from which they read A; each Secret is one that is made."""
    found: dict[str, list[str]] = {}
    for item in worker_resources(fleet_from(written), NOTHING):
        if item["kind"] == "Deployment":
            env = {entry["name"]: entry for entry in item["spec"]["template"]["spec"]["containers"][0]["env"]}
            found.setdefault(env["A"]["valueFrom"]["secretKeyRef"]["name"], []).append(item["metadata"]["name"])
    made = [item["metadata"]["name"] for item in secret_manifests(written, "shop")]
    assert sorted(made) == sorted([*found, "shop-celery-broker"])
    assert sorted(secret_names(fleet_from(written))) == sorted(made)
    return found


@pytest.mark.parametrize("place", ["service", "queue_defaults"])
def test_what_is_written_once_for_all_is_one_secret_beat_included(place: str) -> None:
    keys = {"secret_env": SHARED}
    config: dict[str, Any] = {"high": {}, "default": {}, "low": {}}
    if place == "service":
        written = layers(config, {"beat": True, **keys})
    else:
        written = layers(config, {"beat": True}, queue_defaults=keys)
    assert secrets_of(written) == {
        "billing-worker-env": ["billing-worker-high", "billing-worker", "billing-worker-low", "billing-beat"]
    }


def test_a_variant_with_a_value_of_its_own_keeps_a_secret_of_its_own() -> None:
    own = {"secret_env": {"C": "other"}}
    found = secrets_of(layers({"default": own, "high": {}, "low": {}}, {"secret_env": SHARED}))
    assert found == {
        "billing-worker-env": ["billing-worker"],
        "billing-worker-high-env": ["billing-worker-high", "billing-worker-low"],
    }
    data = {
        item["metadata"]["name"]: sorted(item["data"])
        for item in secret_manifests(layers({"default": own, "high": {}, "low": {}}, {"secret_env": SHARED}), "shop")
    }
    assert (data["billing-worker-env"], data["billing-worker-high-env"]) == (["A", "C"], ["A"])


@pytest.mark.parametrize("variant", ["default", "high"])
def test_where_nothing_is_shared_the_names_stay_those_of_the_deployments(variant: str) -> None:
    names = list(secrets_of(layers({variant: {}}, {"secret_env": SHARED})))
    assert names == [{"default": "billing-worker-env", "high": "billing-worker-high-env"}[variant]]


def test_a_value_in_a_higher_layer_is_another_one() -> None:
    written = layers(
        {"default": {}, "high": {}},
        {"secret_env": SHARED},
        config__50_campus={"billing": {"high": {"secret_env": {"A": "mine"}}}},
    )
    assert len(secrets_of(written)) == 2


def test_two_services_never_share_a_secret() -> None:
    written = layers({"default": {}}, queue_defaults={"secret_env": SHARED})
    written.append({"name": "celery_workers_services__50_x", "value": {"mail": {"image": IMAGE}}})
    written.append({"name": "celery_workers_config__50_x", "value": {"mail": {"default": {"queues": ["m"]}}}})
    assert set(secrets_of(written)) == {"billing-worker-env", "mail-worker-env"}


def test_a_shared_secret_rolls_every_pod_that_reads_it() -> None:
    live = ObservedObject("Secret", "billing-worker-env", ownership_labels("shop", "billing"), resource_version="7")
    written = layers({"default": {}, "high": {}}, {"secret_env": SHARED})
    found = worker_resources(fleet_from(written), Observed((live,)))
    marks = [item["spec"]["template"]["metadata"]["annotations"] for item in found if item["kind"] == "Deployment"]
    assert len(marks) == 2
    assert all('"billing-worker-env":"7"' in str(mark) for mark in marks)


def test_the_table_says_which_secret_is_read_by_whom_and_who_makes_it() -> None:
    service = {
        "secret_env": SHARED,
        "env_from": [{"secretRef": {"name": "whole"}}],
        "volumes": [{"name": "v", "secret": {"secretName": "files"}}],
    }
    fleet = fleet_from(layers({"default": {"enable_keda": True, "min_replicas": 1}, "high": {}}, service))
    resources = [*worker_resources(fleet, NOTHING), *scaler_resources(fleet)]
    both = ["Deployment billing-worker", "Deployment billing-worker-high"]
    assert secret_table(resources, secret_names(fleet)) == [
        {"secret": "billing-worker-env", "keys": ["A"], "used_by": both, "made_by": "the role"},
        {
            "secret": "shop-celery-broker",
            "keys": ["password", "url"],
            "used_by": [*both, "TriggerAuthentication billing-worker-trigger-auth"],
            "made_by": "the role",
        },
        {"secret": "files", "keys": ["all"], "used_by": both, "made_by": "you"},
        {"secret": "mine", "keys": ["b"], "used_by": both, "made_by": "you"},
        {"secret": "whole", "keys": ["all"], "used_by": both, "made_by": "you"},
    ]
