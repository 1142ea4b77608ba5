# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_specs: gives what the single modules give, all of it and in an order that can be applied."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.modules import fleet_specs

from tests.unit.inventories import IMAGE, TRACKED
from tests.unit.modules.running import run

PARTS = ("worker_specs", "keda_specs")
FLEET: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE, "beat": True}},
    "config": {"billing": {"default": TRACKED, "reports": {}}},
    "explicit_queues": {"billing": {"billing.tasks.report": {"queue": "reports"}}},
    "routing_delivery": "task_routes",
    "flower": {"ingress": {"host": "flower.example"}},
    "dashboard": {"delivery": "file"},
    **{f"{part}_enabled": True for part in ("flower", "exporter", "service_monitor", "prometheus_rule", "dashboard")},
}


@pytest.mark.parametrize("check", [False, True])
def test_it_gives_all_that_the_single_modules_give(check: bool) -> None:
    every = run("fleet_specs", check, **FLEET)
    single = {name: run(name, check, **FLEET) for name in PARTS}
    of_parts = [item for result in single.values() for item in result["resources"]]
    assert [item for item in every["resources"] if item in of_parts] == of_parts
    shared = {"resources", "changed", "warnings", "invocation"}
    for name, result in single.items():
        for key in set(result) & set(every) - shared:
            assert every[key] == result[key], f"{key} of {name}"
    assert {"workers", "handovers", "adoptions", "secrets", "scalers", "routes", "flowers", "generated"} <= set(every)
    assert {"alerts", "dashboard", "dashboard_file", "tutor_plugin"} <= set(every)
    assert every["changed"] is False


def test_a_deployment_stands_after_what_its_pods_need_to_start() -> None:
    options = {**FLEET, "flower": {"persistence": True}, "broker": {"host": "redis", "tls": True}}
    order = [f"{item['kind']} {item['metadata']['name']}" for item in run("fleet_specs", **options)["resources"]]
    for needed in ("ConfigMap flower-settings", "PersistentVolumeClaim flower-data"):
        assert order.index(needed) < order.index("Deployment flower")
    assert order.index("ConfigMap billing-worker-routes") < order.index("Deployment billing-worker")


def test_without_any_part_it_gives_workers_and_scalers_alone() -> None:
    plain = {key: value for key, value in FLEET.items() if not key.endswith("_enabled")}
    kinds = {item["kind"] for item in run("fleet_specs", **plain)["resources"]}
    assert kinds == {"ConfigMap", "Deployment", "PodDisruptionBudget", "ScaledObject"}


def test_every_problem_comes_in_one_message() -> None:
    options = {**FLEET, "flower": {"max_task": 1}, "config": {"billing": {"default": {"pol": "x"}}}}
    problems = run("fleet_specs", **options)["problems"]
    assert (
        "celery_workers_flower.max_task: celery_workers_flower has no 'max_task'; did you mean 'max_tasks'?" in problems
    )
    assert "celery_workers_config.billing.default.pol: a variant has no 'pol'; did you mean 'pool'?" in problems


def test_a_warning_is_given_once() -> None:
    options = {**FLEET, "flower": {"ingress": {"host": "flower.example", "tls": False}}}
    warnings = [text for text in run("fleet_specs", **options)["warnings"] if "without TLS anyone" in str(text)]
    assert len(warnings) == 1


def test_each_example_runs() -> None:
    tasks = yaml.safe_load(fleet_specs.EXAMPLES)
    calls = [task["queueops.celery.fleet_specs"] for task in tasks if "queueops.celery.fleet_specs" in task]
    assert len(calls) == 3
    for options in calls:
        result = run("fleet_specs", **options)
        assert not result.get("failed"), result


def test_what_is_returned_is_documented() -> None:
    documented = yaml.safe_load(fleet_specs.RETURN)
    result = run("fleet_specs", **FLEET)
    assert set(documented) - {"problems"} == set(result) - {"changed", "warnings", "invocation"}
    for key in ("routes", "flowers", "alerts", "secret_uses"):
        assert set(documented[key]["contains"]) == set(result[key][0])
