# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_specs: what a task gets of Flower, in check mode too, and how an inventory is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import IMAGE
from tests.unit.modules.running import run

FLEET: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": {}}},
    "flower_enabled": True,
    "flower": {"ingress": {"host": "flower.example.org"}},
}
LIVE = {
    "kind": "Secret",
    "name": "flower-auth",
    "labels": {"celery.queueops.io/fleet": "shop"},
    "annotations": {"celery.queueops.io/keys": "cookie_secret"},
    "resource_version": "7",
}


def flower(check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns, with no object but those of Flower."""
    result = run("fleet_specs", check, **options)
    objects = [item for item in result.get("resources", []) if item["metadata"]["name"].startswith("flower")]
    return {**result, "resources": objects}


@pytest.mark.parametrize("check", [False, True])
def test_flower_comes_without_change_and_without_being_asked_for_twice(check: bool) -> None:
    result = flower(check, **FLEET)
    assert [item["kind"] for item in result["resources"]] == ["Deployment", "Service", "Ingress"]
    assert result["flowers"] == [
        {
            "name": "flower",
            "services": ["billing"],
            "address": "https://flower.example.org/",
            "login": "user flower, password in Secret flower-auth, key password",
        }
    ]
    assert result["generated"] == ["Secret flower-auth, key cookie_secret", "Secret flower-auth, key password"]
    assert result["changed"] is False
    assert not result["warnings"]


def test_nothing_comes_where_flower_is_not_wanted() -> None:
    result = flower(**{**FLEET, "flower_enabled": False})
    assert (result["resources"], result["flowers"], result["generated"]) == ([], [], [])


def test_what_the_cluster_has_is_not_generated_and_the_pod_follows_it() -> None:
    result = flower(**FLEET, observed={"objects": [LIVE]})
    assert result["generated"] == ["Secret flower-auth, key password"]
    template = result["resources"][0]["spec"]["template"]["metadata"]
    assert template["annotations"]["celery.queueops.io/secret-versions"] == '{"flower-auth":"7"}'


def test_for_files_nothing_is_generated_and_credentials_are_demanded() -> None:
    refused = flower(**FLEET, output="manifests")
    assert refused["problems"] == [
        "celery_workers_flower.password: manifest files cannot keep a password that is generated; write one, or name "
        "an existing Secret with secret."
    ]
    given = flower(**{**FLEET, "flower": {"password": True}}, output="manifests")
    assert given["resources"]
    assert given["generated"] == []


def test_layers_of_flower_are_merged() -> None:
    layers = [
        {"name": "celery_workers_flower__90_host", "value": {"username": "host"}},
        {"name": "celery_workers_flower__10_all", "value": {"username": "all", "max_tasks": 5}},
    ]
    result = flower(**FLEET, layers=layers)
    assert result["flowers"][0]["login"].startswith("user host,")
    env = result["resources"][0]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "FLOWER_MAX_TASKS", "value": "5"} in env


def test_every_problem_of_an_inventory_comes_in_one_message() -> None:
    wrong = {**FLEET, "flower": {"ingress": {}, "max_task": 5}, "config": {"billing": {"default": {"pol": "x"}}}}
    result = flower(**wrong)
    assert result["msg"].startswith("The inventory has 3 problems.")
    assert set(result["problems"]) == {
        "celery_workers_config.billing.default.pol: a variant has no 'pol'; did you mean 'pool'?",
        "celery_workers_flower.max_task: celery_workers_flower has no 'max_task'; did you mean 'max_tasks'?",
        "celery_workers_flower.ingress.host: name the host, for example flower.example.org.",
    }


def test_a_secret_value_is_refused_without_being_shown() -> None:
    result = flower(**{**FLEET, "flower": {"password": "hunter2"}})
    (problem,) = result["problems"]
    assert problem.startswith("celery_workers_flower.password: a secret value must not reach a module.")
    assert "hunter2" not in str(result["problems"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "paper"}, "value of output must be one of: cluster, manifests, got: paper"),
        ({"flower": "yes"}, "argument 'flower' is of type"),
        ({"flower_enabled": "maybe"}, "argument 'flower_enabled' is of type"),
    ],
)
def test_wrong_options_are_refused_by_ansible(options: dict[str, Any], message: str) -> None:
    assert message in flower(**{**FLEET, **options})["msg"]
