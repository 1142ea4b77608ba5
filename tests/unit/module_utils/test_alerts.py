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
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import (
    alert_table,
    rule_groups,
    rule_resources,
)
from ansible_collections.queueops.celery.plugins.module_utils._build.recordings import INFO
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import ALERTS
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import LAYERED

from tests.support.fleet_series import Flower, Keda, State, flat, node, rising
from tests.support.promtool import Expected, Groups, Rendered, Scene, Series, check_rules, play, require_promtool
from tests.unit.alert_cases import (
    BLIND,
    BY_CPU,
    CASES,
    END,
    FIXED,
    JOB_POD,
    JOBS,
    LONG,
    RABBITMQ,
    TRACKED,
    Case,
)
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
    rules = [rule for group in rule_groups(fleet, observed) for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}


def group_with(fleet: Fleet, *alerts: str, observed: Observed = NOTHING) -> Groups:
    """The groups of a fleet with some of its alerts, and with all that these go by."""
    groups = rule_groups(fleet, observed)
    others = [rule for group in groups for rule in group["rules"] if "record" in rule]
    read = [rule for group in groups for rule in group["rules"] if rule.get("alert") in alerts]
    for rule in read:  # it grows
        read += [other for other in others if other["record"] in rule["expr"] and other not in read]
    return [{**group, "rules": [rule for rule in group["rules"] if rule in read]} for group in groups]


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
    # Which pod it is, is what people have to know.
    pod = {"pod": f"{deployment}-{JOB_POD}"} if alert == "CeleryJobsDoNotStart" else {}
    return {**place, "deployment": deployment, "severity": SEVERITIES[alert], **pod}


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
    groups = group_with(fleet, alert, observed=case.observed)
    # Each minute, as Prometheus does by itself, and more slowly the longer the case.
    pace = 10 if max(case.fires) > 240 else 4 if max(case.fires) > 100 else 2
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


def told_by(fleet: Fleet, rule: Mapping[str, Any], number: str = "7") -> dict[str, str]:
    """What people read of an alert of the one variant, as Prometheus fills it in."""
    (info,) = (rule for group in rule_groups(fleet) for rule in group["rules"] if rule.get("record") == INFO)

    def filled(text: str) -> str:
        named = re.sub(
            r"\{\{\$labels\.(\w+)\}\}", lambda found: str({"pod": JOB_POD, **info["labels"]}[found[1]]), text
        )
        return re.sub(r"\{\{ \$value [^}]*\}\}", number, named)

    return {name: filled(text) for name, text in rule["annotations"].items()}


@pytest.mark.parametrize("alert", NUMBERS)
def test_a_description_tells_the_number_in_a_way_that_people_read(alert: str) -> None:
    require_promtool()
    case, (minute, number) = CASES[alert][0], NUMBERS[alert]
    fleet = watched(case.keys)
    told = told_by(fleet, alerts_of(fleet)[alert], number)
    assert number in told["description"]
    rendered = Rendered(minute, alert, labels_of(alert), told)
    found = play([Scene(alert, case.series, rendered=[rendered], groups=group_with(fleet, alert))])
    assert not found, found


def test_an_alert_without_a_number_tells_none() -> None:
    """Whether KEDA has fallen back is no number, and how often a container was killed says less than that it was."""
    with_number = {
        name for name, rule in alerts_of(watched(TRACKED)).items() if "$value" in rule["annotations"]["description"]
    }
    assert with_number == {*NUMBERS, "CeleryWorkersRestart"}


#: What only workers that run as Jobs have, and what all others have.
OF_JOBS = {"CeleryJobsFail", "CeleryJobScalerErrors", "CeleryJobsDoNotStart"}
USUAL = set(ALERTS) - OF_JOBS
PODS = {"CeleryWorkersRestart", "CeleryWorkerOutOfMemory", "CeleryQueueWithoutConsumer"}
BACKLOG = {"CeleryBacklogGrowsAtMaximum", "CeleryWorkWithoutWorkers"}
PACE = {"CeleryDrainsTooSlowly"}
SCALER = {"CeleryScalerErrors", "CeleryScalerFallback", "CeleryScalerPaused"}
HPA = {"CeleryAutoscalerInactive"}
TASKS = {"CeleryTasksFail", "CeleryTasksStall", "CeleryTasksDoNotEnd"}


@pytest.mark.parametrize(
    ("keys", "enabled", "expected"),
    [
        (TRACKED, ON, USUAL),
        (TRACKED, ("prometheus_rule",), PODS | BACKLOG | SCALER | HPA),
        (BLIND, ON, USUAL),
        (JOBS, ON, OF_JOBS | TASKS),
        (JOBS, ("prometheus_rule",), OF_JOBS),
        (BY_CPU, ON, PODS | HPA | TASKS),
        (BY_CPU, ("prometheus_rule",), PODS | HPA),
        (FIXED, ON, PODS | TASKS),
        ({"replicas": 0}, ON, PODS - {"CeleryQueueWithoutConsumer"} | TASKS),
        ({**TRACKED, "alerts": False}, ON, set()),
    ],
    ids=[
        "keda",
        "keda without Flower",
        "blind",
        "jobs",
        "jobs without Flower",
        "hpa",
        "hpa without Flower",
        "fixed",
        "switched off",
        "no alerts",
    ],
)
def test_an_alert_is_left_out_where_nothing_gives_it_numbers(
    keys: dict[str, Any], enabled: tuple[str, ...], expected: set[str]
) -> None:
    assert set(alerts_of(watched(keys, enabled))) == expected


def two_services(brokers: Mapping[str, Any]) -> Fleet:
    """Services that have a variant with KEDA each."""
    variables = services_with(brokers, enabled=ON)
    variables["config"] = {name: {"default": TRACKED} for name in brokers}
    return fleet_of(**variables)


def test_a_service_whose_broker_no_flower_listens_to_has_no_alerts_that_go_by_flower() -> None:
    found: dict[str, set[str]] = {}
    for row in alert_table(two_services({"billing": None, "mailer": SQS})):
        found.setdefault(row["service"], set()).add(row["alert"])
    assert found == {"billing": USUAL, "mailer": USUAL - TASKS - PACE}


@pytest.mark.parametrize("heard", ["billing-worker", "mailer-worker"])
def test_a_flower_of_another_broker_says_nothing_of_these_workers(heard: str) -> None:
    """Its own Flower may be away: then nobody knows whether a task of this service ended."""
    require_promtool()
    alert, group = "CeleryDrainsTooSlowly", f"{heard.partition('-')[0]}.default"
    series = [
        Keda("mailer-worker").trigger("backlog", flat(50, 60)),
        Flower().online(node(END, heard, group), flat(1, 60)),
    ]
    asked = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    labels = {**labels_of(alert, "mailer-worker"), "service": "mailer"}
    expected = [Expected(50, asked, {firing(alert, labels): 1} if heard == "mailer-worker" else {})]
    rules = group_with(two_services({"billing": None, "mailer": RABBITMQ}), alert)
    found = play([Scene(heard, series, expected, groups=rules)])
    assert not found, found


def test_every_variant_has_its_own_thresholds_although_they_share_a_rule() -> None:
    """Three variants in the same trouble: each is told of when its own limit is passed, and in its own words."""
    require_promtool()
    config = {
        "default": {**TRACKED, "max_replicas": 4},
        "high": {**TRACKED, "max_replicas": 8},
        "slow": {**TRACKED, "max_replicas": 4, "alerts": {"at_maximum_seconds": 1800, "drain_seconds": 6000}},
    }
    variables = one_variant(TRACKED)
    variables["config"] = {"billing": config}
    fleet = fleet_of(**variables, enabled=ON)
    series: list[Series] = []
    for name, ending in (("default", ""), ("high", "-high"), ("slow", "-slow")):
        worker = f"billing-worker{ending}"
        series += [Keda(worker).trigger("backlog", rising(100, 6, 60)), *State(worker).replicas(flat(4, 60))]
        pod = node(END, worker, f"billing.{name}")
        series += [Flower().online(pod, flat(1, 60)), *Flower().events(pod, {"succeeded": rising(0, 6, 60)})]
    grows, drains = "CeleryBacklogGrowsAtMaximum", "CeleryDrainsTooSlowly"

    def those(alert: str, *variants: str) -> dict[str, float]:
        endings = {"default": "", "high": "-high", "slow": "-slow"}
        every = [{**labels_of(alert, f"billing-worker{endings[name]}"), "variant": name} for name in variants]
        return {firing(alert, labels): 1 for labels in every}

    asked = 'ALERTS{{alertname="{}", alertstate="firing"}}'
    expected = [
        Expected(20, asked.format(grows), those(grows, "default")),
        Expected(40, asked.format(grows), those(grows, "default", "slow")),
        # What waits, 400 and more, needs over an hour at six a minute.
        Expected(55, asked.format(drains), those(drains, "default", "high")),
    ]
    found = play([Scene("three variants", series, expected, groups=group_with(fleet, grows, drains))])
    assert not found, found


#: Characters of the rules of so many variants: alike but for their number of pods, and no two with equal times.
SIZES = [(3, False, 17_000), (30, False, 30_000), (100, False, 60_000), (3, True, 19_000), (30, True, 60_000)]


@pytest.mark.parametrize(("number", "differs", "largest"), SIZES)
def test_rules_hardly_grow_with_the_number_of_variants(number: int, differs: bool, largest: int) -> None:
    variables = one_variant(TRACKED)
    variables["config"] = {
        "billing": {
            f"queue{each:02}": {
                **TRACKED,
                "max_replicas": 3 + each,
                **({"longest_task_seconds": 60 + each} if differs else {}),
            }
            for each in range(number)
        }
    }
    rules = rule_resources(fleet_of(**variables, enabled=ON))
    assert sum(len(json.dumps(rule)) for rule in rules) < largest


def test_names_of_alerts_are_those_that_the_inventory_knows() -> None:
    assert {*alerts_of(watched(TRACKED)), *alerts_of(watched(JOBS))} == set(ALERTS)
    assert len(ALERTS) == len(set(ALERTS)) == 16


def test_an_alert_can_get_another_severity_or_be_left_out() -> None:
    keys = {"severities": {"CeleryTasksFail": "critical", "CeleryScalerPaused": "none"}}
    found = alerts_of(watched(TRACKED, prometheus_rule=keys))
    assert {name: rule["labels"]["severity"] for name, rule in found.items()} == {
        name: "critical" if name == "CeleryTasksFail" else severity
        for name, severity in SEVERITIES.items()
        if name not in {"CeleryScalerPaused", *OF_JOBS}
    }


def given(rule: Mapping[str, Any]) -> dict[str, str]:
    """Labels that a rule gives its alerts; an empty one is taken off."""
    return {name: text for name, text in rule["labels"].items() if text}


@pytest.mark.parametrize("keys", [TRACKED, JOBS], ids=["deployment", "jobs"])
def test_every_alert_says_what_it_is_where_it_is_and_where_to_read_on(keys: dict[str, Any]) -> None:
    fleet = watched(keys)
    for name, rule in alerts_of(fleet).items():
        told = told_by(fleet, rule)
        assert set(told) == {"summary", "description", "runbook_url"}
        assert told["summary"].endswith(".")
        assert "default" in told["summary"]
        assert "billing-worker" in told["description"] or "default" in told["description"]
        assert told["description"].endswith(".")
        assert len(told["description"]) > len(told["summary"])
        assert told["runbook_url"].endswith(f"/docs/alerts.md#{name.lower()}")
        assert given(rule) == {"severity": SEVERITIES[name]}, "all others are those of the series"
        # Prometheus would take a brace for the beginning of a value.
        assert "{" not in "".join(told.values())


def test_labels_and_the_page_can_be_your_own_but_not_hide_which_queue_it_is() -> None:
    keys = {"alert_labels": {"team": "learning", "namespace": "x"}, "runbook_url": "https://wiki.example/celery"}
    for name, rule in alerts_of(watched(TRACKED, prometheus_rule=keys)).items():
        assert given(rule) == {"severity": SEVERITIES[name], "team": "learning"}
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/celery#{name.lower()}"


def test_the_table_for_people_has_a_row_for_each_alert() -> None:
    rows = alert_table(watched({**TRACKED, "alerts": {"paused_seconds": 3600}}))
    assert {row["alert"] for row in rows} == USUAL
    assert {
        "alert": "CeleryScalerPaused",
        "severity": "info",
        "for": "1h",
        "service": "billing",
        "variant": "default",
    } in rows
    assert alert_table(watched(TRACKED, ("flower",))) == []


def some(variants: int) -> dict[str, Any]:
    """Variants that differ in what their rules say."""
    keys = [{**TRACKED, "longest_task_seconds": 60 + number} for number in range(variants)]
    return {
        "services": {"billing": {"image": "registry.example/billing:1.4"}},
        "config": {"billing": {f"queue-{number:03}": item for number, item in enumerate(keys)}},
        "broker": {"host": "redis"},
    }


MANY = some(400)
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
    assert len(alert_table(fleet_of(**variables_of(sample), enabled=ON))) > len(ALERTS)
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
    first, second = (json.dumps(rule_resources(fleet_of(**some(20), enabled=ON))) for _run in range(2))
    assert first == second


def test_the_rules_of_many_variants_are_several_objects_that_an_api_server_takes() -> None:
    """A copy of each is kept in its annotations, which have 262144 characters at most."""
    fleet = fleet_of(**MANY, enabled=ON)
    rules = rule_resources(fleet)
    assert all(len(json.dumps(rule)) < 200_000 for rule in rules)
    names = [rule["metadata"]["name"] for rule in rules]
    assert len(names) > 1
    assert names == ["shop-celery-alerts", *(f"shop-celery-alerts-{number}" for number in range(2, len(names) + 1))]
    assert [group for rule in rules for group in rule["spec"]["groups"]] == rule_groups(fleet)
