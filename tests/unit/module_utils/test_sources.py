# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers take over from a Deployment of somebody else, and what they never do: secret values in plain sight."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._model.sources import (
    app_container,
    holds_password,
    source_from_data,
    source_of,
)

from tests.unit.others import IMAGE, deployment, seen

POD: dict[str, Any] = {
    "volumes": [{"name": "settings-lms", "configMap": {"name": "openedx-settings-lms-abc123"}}],
    "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
    "serviceAccountName": "openedx",
    "nodeSelector": {"pool": "workers"},
    "tolerations": [{"key": "workers", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
}
CONTAINER: dict[str, Any] = {
    "imagePullPolicy": "Always",
    "workingDir": "/openedx",
    "env": [{"name": "SERVICE_VARIANT", "value": "lms"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
    "envFrom": [{"configMapRef": {"name": "more"}}],
    "volumeMounts": [{"name": "settings-lms", "mountPath": "/openedx/settings"}],
    "securityContext": {"allowPrivilegeEscalation": False},
}


def test_everything_that_an_image_needs_to_start_is_taken_over_under_our_names() -> None:
    found = source_of(deployment(pod={**POD, "imagePullSecrets": [{"name": "registry"}]}, **CONTAINER))
    assert found.deployment == "lms-worker"
    assert found.keys == {
        "volumes": POD["volumes"],
        "security_context": POD["securityContext"],
        "service_account_name": "openedx",
        "node_selector": POD["nodeSelector"],
        "tolerations": POD["tolerations"],
        "affinity": POD["affinity"],
        "topology_spread_constraints": POD["topologySpreadConstraints"],
        "priority_class_name": "high",
        "image": IMAGE,
        "image_pull_policy": "Always",
        "working_dir": "/openedx",
        "env": CONTAINER["env"],
        "env_from": CONTAINER["envFrom"],
        "volume_mounts": CONTAINER["volumeMounts"],
        "container_security_context": CONTAINER["securityContext"],
        "image_pull_secrets": ["registry"],
    }
    assert (found.secret_env, found.left_out) == ((), ())


def test_a_field_that_is_not_there_or_empty_is_no_key() -> None:
    assert source_of(deployment(pod={"volumes": [], "nodeSelector": None}, env=[])).keys == {"image": IMAGE}


@pytest.mark.parametrize(
    ("name", "value"),
    [("PAY_TOKEN", "hunter2"), ("MYSQL_PASSWORD", "hunter2"), ("DATABASE", "mysql://user:hunter2@mysql/app")],
)
def test_a_value_that_looks_like_a_secret_is_named_and_left_behind(name: str, value: str) -> None:
    env = [{"name": "LEVEL", "value": "info"}, {"name": name, "value": value}]
    found = source_of(deployment(env=env))
    assert found.secret_env == (name,)
    assert found.keys["env"] == env[:1]
    assert "hunter2" not in str(found)


def test_a_reference_to_a_secret_is_no_secret() -> None:
    env = [{"name": "PAY_TOKEN", "valueFrom": {"secretKeyRef": {"name": "pay", "key": "token"}}}]
    found = source_of(deployment(env=env))
    assert (found.secret_env, found.keys["env"]) == ((), env)


def test_init_containers_and_sidecars_are_named() -> None:
    raw = deployment(pod={"initContainers": [{"name": "wait"}]})
    raw["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "x"})
    found = source_of(raw)
    assert (found.keys["image"], found.left_out) == (IMAGE, ("wait", "proxy"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["proxy", "worker", "lms-worker"], "lms-worker"),
        (["proxy", "worker"], "worker"),
        (["proxy", "other"], "proxy"),
        (["worker", "lms-worker"], "lms-worker"),
    ],
)
def test_the_app_is_in_the_container_of_its_deployments_name(names: list[str], expected: str) -> None:
    assert app_container({"containers": [{"name": name} for name in names]}, "lms-worker") == {"name": expected}


def test_a_deployment_without_containers_gives_nothing() -> None:
    assert source_of({"metadata": {"name": "x"}}).keys == {}
    assert app_container({}, "x") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["celery", "--broker=redis://user:hunter2@redis", "worker"], True),
        (["celery", "-b", "redis://:hunter2@redis"], True),
        (["celery", "--broker=redis://redis/0", "worker"], False),
        ([], False),
    ],
)
def test_a_password_on_a_command_line_is_seen(words: list[str], expected: bool) -> None:
    assert holds_password(words) is expected


def test_what_was_read_survives_the_way_through_a_task() -> None:
    found = source_of(deployment(pod={**POD, "initContainers": [{"name": "wait"}]}, **CONTAINER))
    assert source_from_data(json.loads(json.dumps(asdict(found)))) == found
    observed = seen(deployment(**CONTAINER), redis_policies={"redis": "noeviction"})
    assert observed_from_data(json.loads(json.dumps(asdict(observed)))) == observed
