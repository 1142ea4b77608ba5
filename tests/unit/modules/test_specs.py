# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""worker_specs and keda_specs: what a task gets, in check mode too, and how an inventory is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from tests.unit.inventories import IMAGE, SCALED
from tests.unit.modules.running import run
from tests.unit.others import IMAGE as OTHER_IMAGE
from tests.unit.others import deployment, seen

SPECS = ("worker_specs", "keda_specs")
FLEET: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": {**SCALED, "time_limit": 60}, "high": {}}},
}


@pytest.mark.parametrize("check", [False, True])
def test_workers_and_scalers_of_a_fleet_come_without_change_and_without_warning(check: bool) -> None:
    workers, scalers = (run(name, check, **FLEET) for name in SPECS)
    assert [item["kind"] for item in workers["resources"]] == ["Deployment", "PodDisruptionBudget", "Deployment"]
    assert [row["deployment"] for row in workers["workers"]] == ["billing-worker", "billing-worker-high"]
    assert (workers["handovers"], workers["secrets"]) == ([], [])
    assert [item["kind"] for item in scalers["resources"]] == ["ScaledObject"]
    assert scalers["scalers"][0]["sees"] == ["backlog"]
    for result in (workers, scalers):
        assert result["changed"] is False
        assert not result.get("warnings")


@pytest.mark.parametrize("name", SPECS)
def test_every_problem_of_an_inventory_comes_in_one_message(name: str) -> None:
    result = run(name, **{**FLEET, "config": {"billing": {"default": {"max_replicas": True, "pol": "x"}}}})
    assert result["msg"] == "\n".join(
        ["The inventory has 2 problems.", *(f"{number}. {text}" for number, text in enumerate(result["problems"], 1))]
    )
    assert result["problems"] == [
        "celery_workers_config.billing.default.pol: a variant has no 'pol'; did you mean 'pool'?",
        "celery_workers_config.billing.default.max_replicas: True is not valid here; write a whole number, 1 to 10000.",
    ]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": None}, "missing required arguments: namespace"),
        ({"preset": "openedxx"}, "value of preset must be one of: , openedx, got: openedxx"),
        ({"services": "billing"}, "argument 'services' is of type"),
        ({"layers": [{"value": {}}]}, "missing required arguments: name found in layers"),
    ],
)
def test_wrong_options_are_refused_by_ansible(name: str, options: dict[str, Any], message: str) -> None:
    given = {key: value for key, value in {**FLEET, **options}.items() if value is not None}
    assert message in run(name, **given)["msg"]


def test_a_warning_of_the_inventory_is_given_once_by_the_workers_alone() -> None:
    fleet = {**FLEET, "config": {"billing": {"default": {"enable_keda": True}}}}
    workers, scalers = (run(name, **fleet) for name in SPECS)
    assert len(workers["warnings"]) == 1
    assert "a task of billing.default that never ends holds its pod for ever" in str(workers["warnings"])
    assert not scalers.get("warnings")


def test_layers_are_merged_and_what_runs_is_taken_into_account() -> None:
    layers = [
        {"name": "celery_workers_config__90_host", "value": {"billing": {"high": {"replicas": 7}}}},
        {"name": "celery_workers_config__10_all", "value": {"billing": {"high": {"replicas": 3}}}},
    ]
    live = {
        "kind": "Deployment",
        "name": "billing-worker",
        "labels": {"celery.queueops.io/fleet": "shop"},
        "replicas": 3,
        "last_applied": '{"spec": {"replicas": 3}}',
    }
    result = run("worker_specs", **{**FLEET, "layers": layers, "observed": {"objects": [live]}})
    assert [row["replicas"] for row in result["workers"]] == ["1-10", "7"]
    assert [patch["metadata"]["name"] for patch in result["handovers"]] == ["billing-worker"]


ADOPTING: dict[str, Any] = {**FLEET, "config": {"billing": {"default": {**SCALED, "adopt": True}, "high": {}}}}


def test_an_adoption_that_nobody_has_looked_at_is_a_warning() -> None:
    result = run("worker_specs", **ADOPTING)
    assert result["adoptions"] == []
    assert "adopts Deployment billing-worker, which could not be read" in str(result["warnings"])


def test_a_deployment_that_was_looked_at_gets_its_patch_and_no_other_worker() -> None:
    observed = json.loads(json.dumps(asdict(seen(deployment("billing-worker")))))
    result = run("worker_specs", **ADOPTING, observed=observed)
    assert [item["metadata"]["name"] for item in result["adoptions"]] == ["billing-worker"]
    deployments = [item["metadata"]["name"] for item in result["resources"] if item["kind"] == "Deployment"]
    assert deployments == ["billing-worker-high"]
    assert not [text for text in result["warnings"] if "was not looked at" in text]


def test_manifest_files_need_somebody_who_looked_at_what_workers_are_made_like() -> None:
    services = {"billing": {"inherit_from": "shop-app"}}
    result = run("worker_specs", **{**FLEET, "services": services})
    assert "there is no Deployment shop-app to copy the workers' settings from" in result["msg"]
    observed = json.loads(json.dumps(asdict(seen(deployment("shop-app")))))
    found = run("worker_specs", **{**FLEET, "services": services}, observed=observed)["resources"]
    images = {
        item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found if item["kind"] == "Deployment"
    }
    assert images == {OTHER_IMAGE}
