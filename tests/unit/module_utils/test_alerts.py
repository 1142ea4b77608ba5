# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: each one fires when something is wrong, after its time, and says what, where and how much.

Prometheus' own tool evaluates the rules over series that look like those of KEDA, kube-state-metrics and Flower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._alerts import alert_table, rule_groups, rule_resources
from ansible_collections.queueops.celery.plugins.module_utils._fleet import LAYERED
from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._monitoring_keys import ALERTS
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed

from tests.support.fleet_series import Flower, Keda, flat, node
from tests.support.promtool import Expected, Rendered, Scene, check_rules, play, require_promtool
from tests.unit.alert_cases import BLIND, BY_CPU, CASES, END, FIXED, LONG, RABBITMQ, TRACKED, Case
from tests.unit.inventories import fleet_of, one_variant
from tests.unit.watching import SQS, services_with

#: Parts that are switched on.
ON = ("flower", "prometheus_rule")


def watched(
    keys: Any = None, enabled: tuple[str, ...] = ON, service: Mapping[str, Any] | None = None, **more: Any
) -> Fleet:
    """A fleet with one variant and alerts."""
    broker = more.pop("broker", None)
    return fleet_of(**one_variant(keys, service, broker), enabled=enabled, **more)


def alerts_of(fleet: Fleet, observed: Observed = NOTHING) -> dict[str, dict[str, Any]]:
    """Alerts of a fleet with one variant, by name."""
    return {rule["alert"]: rule for group in rule_groups(fleet, observed) for rule in group["rules"]}


#: Who is woken up: only work that nobody does cannot wait until morning.
SEVERITIES = {
    **dict.fromkeys(CASES, "warning"),
    "CeleryWorkWithoutWorkers": "critical",
    "CeleryQueueWithoutConsumer": "critical",
    "CeleryScalerPaused": "info",
}


def labels_of(alert: str, deployment: str = "billing-worker") -> dict[str, str]:
    """Labels by which people route an alert, and see what it is about."""
    place = {"fleet": "shop", "namespace": "shop", "service": "billing", "variant": "default"}
    return {**place, "deployment": deployment, "severity": SEVERITIES[alert]}


def firing(alert: str, labels: Mapping[str, str]) -> str:
    """The series by which Prometheus says that an alert fires."""
    every = {"alertname": alert, "alertstate": "firing", **labels}
    return "ALERTS{" + ", ".join(f'{name}="{value}"' for name, value in sorted(every.items())) + "}"


def scene(alert: str, case: Case) -> Scene:
    """The case for Prometheus, with the rules of its fleet."""
    keys = case.keys or {}
    fleet = watched(keys, broker=case.broker)
    series = firing(alert, labels_of(alert, keys.get("name", "billing-worker")))
    asked = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    expected = [Expected(minute, asked, {series: 1} if fires else {}) for minute, fires in case.fires.items()]
    # The others would only take time; what they say together is another test.
    groups = [{"name": "one", "rules": [alerts_of(fleet, case.observed)[alert]]}]
    pace = 10 if max(case.fires) > 240 else 1
    return Scene(f"{alert}: {case.name}", case.series, expected, groups=groups, pace=pace)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_after_its_time_and_not_in_a_case_that_looks_like_it(alert: str) -> None:
    require_promtool()
    found = play(scene(alert, case) for case in CASES[alert])
    assert not found, found


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert set(CASES) == set(ALERTS)
    for alert, cases in CASES.items():
        assert any(any(case.fires.values()) for case in cases), alert
        assert any(not any(case.fires.values()) for case in cases), alert


#: An alert, a minute of its first case, and the number then, worked out by hand from the series.
NUMBERS = {
    # 6 a minute more than the 10 of the beginning.
    "CeleryBacklogGrowsAtMaximum": (20, "130"),
    "CeleryWorkWithoutWorkers": (20, "5"),
    # 100 at 2 a minute.
    "CeleryDrainsTooSlowly": (20, "50m 0s"),
    # 4 a minute in 2 minutes.
    "CeleryScalerErrors": (20, "8"),
    "CeleryTasksFail": (20, "25%"),
    "CeleryTasksStall": (130, "2"),
    # 4 a minute in 15 minutes.
    "CeleryTasksDoNotEnd": (20, "60"),
}


@pytest.mark.parametrize("alert", NUMBERS)
def test_a_description_tells_the_number_in_a_way_that_people_read(alert: str) -> None:
    require_promtool()
    case, (minute, number) = CASES[alert][0], NUMBERS[alert]
    rule = alerts_of(watched(case.keys))[alert]
    told = re.sub(r"\{\{ \$value [^}]*\}\}", number, rule["annotations"]["description"])
    assert number in told
    rendered = Rendered(minute, alert, rule["labels"], {**rule["annotations"], "description": told})
    found = play([Scene(alert, case.series, rendered=[rendered], groups=[{"name": "one", "rules": [rule]}])])
    assert not found, found


def test_an_alert_without_a_number_tells_none() -> None:
    """Whether KEDA has fallen back is no number, and how often a container was killed says less than that it was."""
    with_number = {
        name for name, rule in alerts_of(watched(TRACKED)).items() if "$value" in rule["annotations"]["description"]
    }
    assert with_number == {*NUMBERS, "CeleryWorkersRestart"}


PODS = {"CeleryWorkersRestart", "CeleryWorkerOutOfMemory", "CeleryQueueWithoutConsumer"}
BACKLOG = {"CeleryBacklogGrowsAtMaximum", "CeleryWorkWithoutWorkers"}
PACE = {"CeleryDrainsTooSlowly"}
SCALER = {"CeleryScalerErrors", "CeleryScalerFallback", "CeleryScalerPaused"}
HPA = {"CeleryAutoscalerInactive"}
TASKS = {"CeleryTasksFail", "CeleryTasksStall", "CeleryTasksDoNotEnd"}


@pytest.mark.parametrize(
    ("keys", "enabled", "expected"),
    [
        (TRACKED, ON, set(ALERTS)),
        (TRACKED, ("prometheus_rule",), PODS | BACKLOG | SCALER | HPA),
        (BLIND, ON, set(ALERTS)),
        (BY_CPU, ON, PODS | HPA | TASKS),
        (BY_CPU, ("prometheus_rule",), PODS | HPA),
        (FIXED, ON, PODS | TASKS),
        ({"replicas": 0}, ON, PODS - {"CeleryQueueWithoutConsumer"} | TASKS),
        ({**TRACKED, "alerts": False}, ON, set()),
    ],
    ids=["keda", "keda without Flower", "blind", "hpa", "hpa without Flower", "fixed", "switched off", "no alerts"],
)
def test_an_alert_is_left_out_where_nothing_gives_it_numbers(
    keys: dict[str, Any], enabled: tuple[str, ...], expected: set[str]
) -> None:
    assert set(alerts_of(watched(keys, enabled))) == expected


def rules_by_service(brokers: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Expression of every alert of each service that has a variant with KEDA."""
    variables = services_with(brokers, enabled=ON)
    variables["config"] = {name: {"default": TRACKED} for name in brokers}
    found: dict[str, dict[str, str]] = {name: {} for name in brokers}
    for rule in (rule for group in rule_groups(fleet_of(**variables)) for rule in group["rules"]):
        found[rule["labels"]["service"]][rule["alert"]] = rule["expr"]
    return found


def test_a_service_whose_broker_no_flower_listens_to_has_no_alerts_that_go_by_flower() -> None:
    found = rules_by_service({"billing": None, "mailer": SQS})
    assert set(found["billing"]) == set(ALERTS)
    assert set(found["mailer"]) == set(ALERTS) - TASKS - PACE


@pytest.mark.parametrize("heard", ["billing-worker", "mailer-worker"])
def test_a_flower_of_another_broker_says_nothing_of_these_workers(heard: str) -> None:
    """Its own Flower may be away: then nobody knows whether a task of this service ended."""
    require_promtool()
    slow = rules_by_service({"billing": None, "mailer": RABBITMQ})["mailer"]["CeleryDrainsTooSlowly"]
    group = f"{heard.partition('-')[0]}.default"
    series = [
        Keda("mailer-worker").trigger("backlog", flat(50, 60)),
        Flower().online(node(END, heard, group), flat(1, 60)),
    ]
    expected = [Expected(50, f"count({slow})", {"{}": 1} if heard == "mailer-worker" else {})]
    found = play([Scene(heard, series, expected)])
    assert not found, found


def test_names_of_alerts_are_those_that_the_inventory_knows() -> None:
    assert set(alerts_of(watched(TRACKED))) == set(ALERTS)
    assert len(ALERTS) == len(set(ALERTS)) == 13


def test_an_alert_can_get_another_severity_or_be_left_out() -> None:
    keys = {"severities": {"CeleryTasksFail": "critical", "CeleryScalerPaused": "none"}}
    found = alerts_of(watched(TRACKED, prometheus_rule=keys))
    assert {name: rule["labels"]["severity"] for name, rule in found.items()} == {
        name: "critical" if name == "CeleryTasksFail" else severity
        for name, severity in SEVERITIES.items()
        if name != "CeleryScalerPaused"
    }


def test_every_alert_says_what_it_is_where_it_is_and_where_to_read_on() -> None:
    for name, rule in alerts_of(watched(TRACKED)).items():
        told = rule["annotations"]
        assert set(told) == {"summary", "description", "runbook_url"}
        assert told["summary"].endswith(".")
        assert "default" in told["summary"]
        assert told["description"].endswith(".")
        assert len(told["description"]) > len(told["summary"])
        assert told["runbook_url"].endswith(f"/docs/alerts.md#{name.lower()}")
        assert rule["labels"] == labels_of(name)
        # Prometheus would take a brace for the beginning of a value.
        assert "{" not in re.sub(r"\{\{ \$value [^}]*\}\}", "", "".join(told.values()))


def test_labels_and_the_page_can_be_your_own_but_not_hide_which_queue_it_is() -> None:
    keys = {"alert_labels": {"team": "learning", "namespace": "x"}, "runbook_url": "https://wiki.example/celery"}
    for name, rule in alerts_of(watched(TRACKED, prometheus_rule=keys)).items():
        assert rule["labels"] == {**labels_of(name), "team": "learning"}
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/celery#{name.lower()}"


def test_the_table_for_people_has_a_row_for_each_alert() -> None:
    rows = alert_table(watched({**TRACKED, "alerts": {"paused_seconds": 3600}}))
    assert {row["alert"] for row in rows} == set(ALERTS)
    assert {
        "alert": "CeleryScalerPaused",
        "severity": "info",
        "for": "1h",
        "service": "billing",
        "variant": "default",
    } in rows
    assert alert_table(watched(TRACKED, ("flower",))) == []


MANY = {
    "services": {"billing": {"image": "registry.example/billing:1.4"}},
    "config": {"billing": {f"queue-{number:02}": TRACKED for number in range(60)}},
    "broker": {"host": "redis"},
}
#: Fleets of many kinds, each with rules that Prometheus must take.
FLEETS: dict[str, dict[str, Any]] = {
    "redis": one_variant(TRACKED),
    "rabbitmq": one_variant(TRACKED, broker=RABBITMQ),
    "rabbitmq, blind": one_variant(BLIND, broker=RABBITMQ),
    "sentinels": one_variant(
        TRACKED, broker={"type": "redis-sentinel", "hosts": ["a", "b", "c"], "master_name": "mymaster"}
    ),
    "blind": one_variant(BLIND),
    "hpa": one_variant(BY_CPU),
    "fixed": one_variant(FIXED),
    "long": one_variant(LONG),
    "adopted": one_variant({**BLIND, "name": "lms-worker", "adopt": True}),
    "other thresholds": one_variant(
        {
            **TRACKED,
            "activation_list_length": 3,
            "max_wait_seconds": 0.5,
            "longest_task_seconds": 100000,
            "alerts": {"failure_ratio": 0.001, "at_maximum_seconds": 61, "no_workers_seconds": 86400},
        }
    ),
    "two brokers": {
        "services": {"shop": {"image": "x"}, "mail": {"image": "x", "broker": RABBITMQ}},
        "config": {"shop": {"default": TRACKED, "high_mem": BLIND}, "mail": {"default": TRACKED, "low": FIXED}},
        "broker": {"host": "redis"},
    },
    "many": MANY,
}


@pytest.mark.parametrize("name", FLEETS)
def test_prometheus_takes_the_rules_of_every_kind_of_fleet(name: str) -> None:
    require_promtool()
    found = check_rules(rule_groups(fleet_of(**FLEETS[name], enabled=ON)))
    assert not found, found


SAMPLES = Path(__file__).resolve().parents[3] / "playbooks" / "inventory"
#: Folder of a sample inventory to the files of one host.
SAMPLE_FILES = {
    "generic-redis": ("group_vars/celery_fleets.yml",),
    "generic-rabbitmq": ("group_vars/celery_fleets.yml",),
    "openedx": ("group_vars/celery_fleets.yml",),
    "fleet": ("group_vars/celery_fleets.yml", "group_vars/campus_sites.yml", "host_vars/north.yml"),
}
#: Variables that the modules get, beside the layers.
MODULES_GET = {"namespace", "preset", "explicit_queues", "openedx_routing", "openedx_release", "routing_delivery"}


def variables_of(sample: str) -> dict[str, Any]:
    """Variables of a host of a sample inventory, with its secrets as the modules get them: whether there is one."""
    found: dict[str, Any] = {}
    for file in SAMPLE_FILES[sample]:
        text = (SAMPLES / sample / file).read_text(encoding="utf-8").replace("{{ inventory_hostname }}", "north")
        found |= yaml.safe_load(re.sub(r'"\{\{.*\}\}"', "true", text))
    plain = {name.removeprefix("celery_workers_"): value for name, value in found.items()}
    return {name: value for name, value in plain.items() if name in MODULES_GET or name.partition("__")[0] in LAYERED}


@pytest.mark.parametrize("sample", sorted(path.parent.name for path in SAMPLES.glob("*/hosts.yml")))
def test_prometheus_takes_the_rules_of_every_sample_inventory(sample: str) -> None:
    require_promtool()
    groups = rule_groups(fleet_of(**variables_of(sample), enabled=ON))
    assert len(groups) > 1
    found = check_rules(groups)
    assert not found, found


def test_a_file_with_the_rules_is_one_that_prometheus_takes_without_the_operator() -> None:
    require_promtool()
    keys = {"interval": "2m"}
    groups = rule_groups(watched(TRACKED, prometheus_rule=keys))
    assert [group["interval"] for group in groups] == ["2m"]
    assert not check_rules(yaml.safe_load(yaml.safe_dump(groups)))


def test_the_object_is_ours_and_has_the_labels_by_which_prometheus_selects_rules() -> None:
    fleet = watched(TRACKED, prometheus_rule={"labels": {"release": "prometheus"}})
    [rule] = rule_resources(fleet)
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["metadata"]["name"] == "shop-celery-alerts"
    labels = rule["metadata"]["labels"]
    assert labels["release"] == "prometheus"
    assert labels["celery.queueops.io/fleet"] == "shop"
    assert rule["spec"] == {"groups": rule_groups(fleet)}


def test_there_is_no_object_where_nobody_wants_it_or_the_cluster_does_not_know_it() -> None:
    assert rule_resources(watched(TRACKED, ("flower",))) == []
    assert rule_resources(watched(TRACKED), Observed(missing_kinds=("PrometheusRule",))) == []


def test_the_same_fleet_gives_the_same_rules_byte_for_byte() -> None:
    first, second = (json.dumps(rule_resources(fleet_of(**MANY, enabled=ON))) for _run in range(2))
    assert first == second


def test_the_rules_of_many_variants_are_several_objects_that_an_api_server_takes() -> None:
    """A copy of each is kept in its annotations, which have 262144 characters at most."""
    fleet = fleet_of(**MANY, enabled=ON)
    rules = rule_resources(fleet)
    assert all(len(json.dumps(rule)) < 200_000 for rule in rules)
    names = [rule["metadata"]["name"] for rule in rules]
    assert names == ["shop-celery-alerts", *(f"shop-celery-alerts-{number}" for number in range(2, len(names) + 1))]
    assert [group for rule in rules for group in rule["spec"]["groups"]] == rule_groups(fleet)
