# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action "fleet_simulation": what the playbook plan shows and returns."""

from __future__ import annotations

import importlib
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.plugin_utils._simulation_run import SimulationRun

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, made_run

NAME = "fleet_simulation"
FLEET: Object = {
    "services": {"billing": {"image": IMAGE, "idempotent": True}},
    "config": {"billing": {name: {"enable_keda": True, "longest_task_seconds": 60} for name in ("default", "mail")}},
    "broker": {"host": "redis", "password": "hunter2-x"},
    "loads": {"billing": {"default": {"per_hour": 120, "task_seconds": 2}}},
    "plan_hours": 2,
}


def play(**variables: Any) -> Object:
    found: Object = made_run(SimulationRun, ModelCluster(), {**FLEET, **variables}, False).simulate()
    return found


def test_a_run_shows_a_table_and_returns_rows() -> None:
    found = done(play())
    assert [row["variant"] for row in found["plans"]] == ["default"]
    assert found["notes"][0].split()[:3] == ["variant", "tasks", "wait"]
    assert found["notes"][1].startswith("billing/default ")
    assert "Without a load, and left out: billing/mail." in found["notes"]
    assert not found["changed"]


def test_what_one_works_on_can_be_chosen() -> None:
    loads = {"billing": {name: {"per_hour": 10} for name in ("default", "mail")}}
    assert [row["variant"] for row in done(play(loads=loads, only="billing/mail"))["plans"]] == ["mail"]


def test_the_gate_fails_where_a_goal_is_missed_and_not_elsewhere() -> None:
    assert not play(plan_gate=True).get("failed")
    slow = {"billing": {"default": {"burst": 5000, "task_seconds": 60}}}
    config = {"billing": {"default": {**FLEET["config"]["billing"]["default"], "max_replicas": 2}}}
    found = play(plan_gate=True, loads=slow, config=config)
    assert found["failed"]
    assert found["msg"] == "1 variant of 1 missed the goal: billing/default. See above."
    assert not play(loads=slow, config=config).get("failed")


def test_wrong_loads_and_wrong_variables_are_told_together() -> None:
    found = play(loads={"billing": {"default": {}}}, plan_hours="long")
    assert found["failed"]
    assert "celery_workers_plan_hours" in found["msg"]


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    assert yaml.safe_load(documented)["options"] == {}
