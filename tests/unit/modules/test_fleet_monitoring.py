# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_specs: what a task gets of exporter, monitors, alerts and dashboard, each only where it is enabled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.inventories import IMAGE, SCALED
from tests.unit.modules.running import run

FLEET: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": {**SCALED, "time_limit": 60}}},
}
EVERYTHING = {
    f"{part}_enabled": True for part in ("flower", "exporter", "service_monitor", "prometheus_rule", "dashboard")
}
#: Kinds of each part, in the order in which they are applied.
KINDS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"flower_enabled": True}, []),
    ({"exporter_enabled": True}, ["Deployment", "Service"]),
    ({"flower_enabled": True, "service_monitor_enabled": True}, ["ServiceMonitor"]),
    (
        {"exporter_enabled": True, "service_monitor_enabled": True, "service_monitor": {"type": "pod_monitor"}},
        ["Deployment", "Service", "PodMonitor"],
    ),
    ({"prometheus_rule_enabled": True}, ["PrometheusRule"]),
    ({"dashboard_enabled": True}, ["ConfigMap"]),
    ({"dashboard_enabled": True, "dashboard": {"delivery": "grafana_dashboard"}}, ["GrafanaDashboard"]),
    ({"dashboard_enabled": True, "dashboard": {"delivery": "file"}}, []),
    (EVERYTHING, ["Deployment", "Service", "ServiceMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"]),
]


def monitoring(check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns, without the objects of workers, of their scalers and of Flower itself."""
    result = run("fleet_specs", check, **options)
    watching = [item for item in result.get("resources", []) if not is_watched(item)]
    return {**result, "resources": watching}


def is_watched(item: dict[str, Any]) -> bool:
    name, kind = item["metadata"]["name"], item["kind"]
    is_flower = name.startswith("flower") and kind not in ("ServiceMonitor", "PodMonitor")
    return name.startswith("billing-worker") or is_flower


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("options", "kinds"), KINDS, ids=[str(number) for number in range(len(KINDS))])
def test_what_is_enabled_comes_without_change_and_nothing_else(
    options: dict[str, Any], kinds: list[str], check: bool
) -> None:
    result = monitoring(check, **FLEET, **options)
    assert [item["kind"] for item in result["resources"]] == kinds
    assert bool(result["rule_groups"]) is ("prometheus_rule_enabled" in options)
    assert bool(result["alerts"]) is ("prometheus_rule_enabled" in options)
    assert bool(result["dashboard"]) is ("dashboard_enabled" in options)
    assert result["changed"] is False
    assert not result["warnings"]


def test_the_rules_of_the_object_are_those_for_a_prometheus_without_the_operator() -> None:
    result = monitoring(**FLEET, prometheus_rule_enabled=True)
    (rule,) = result["resources"]
    assert rule["spec"]["groups"] == result["rule_groups"]
    named = {item["alert"] for group in result["rule_groups"] for item in group["rules"] if "alert" in item}
    assert {row["alert"] for row in result["alerts"]} == named
    assert {(row["service"], row["variant"]) for row in result["alerts"]} >= {("billing", "default")}


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"delivery": "file"}, "dashboards/shop.json"),
        ({"delivery": "file", "file": "board.json"}, "board.json"),
        ({}, ""),
        ({"file": "board.json"}, ""),
    ],
)
def test_the_dashboard_is_json_and_a_file_only_where_it_is_delivered_as_one(keys: dict[str, Any], path: str) -> None:
    result = monitoring(**FLEET, dashboard_enabled=True, dashboard=keys)
    assert result["dashboard_file"] == path
    assert json.loads(result["dashboard"])["panels"]


def test_the_object_holds_the_same_dashboard_as_the_file() -> None:
    result = monitoring(**FLEET, dashboard_enabled=True)
    (config_map,) = result["resources"]
    assert list(config_map["data"].values()) == [result["dashboard"]]


def test_a_kind_that_the_cluster_does_not_know_is_left_out_and_its_rules_are_still_given() -> None:
    missing = {"missing_kinds": ["ServiceMonitor", "PrometheusRule"]}
    result = monitoring(**FLEET, **EVERYTHING, observed=missing)
    assert [item["kind"] for item in result["resources"]] == ["Deployment", "Service", "ConfigMap"]
    assert result["rule_groups"]


def test_every_problem_of_an_inventory_comes_in_one_message() -> None:
    result = monitoring(
        **FLEET,
        service_monitor_enabled=True,
        prometheus_rule={"severities": {"CeleryTasksFail": "loud"}},
        dashboard={"colour": "red"},
    )
    assert result["msg"].startswith("The inventory has 3 problems.")
    assert {problem.partition(": ")[0] for problem in result["problems"]} == {
        "celery_workers_service_monitor_enabled",
        "celery_workers_prometheus_rule.severities.CeleryTasksFail",
        "celery_workers_dashboard.colour",
    }
