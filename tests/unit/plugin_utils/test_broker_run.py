# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbooks queues and gc over a namespace in memory. Real brokers are in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import Survey
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils import _broker_login, _broker_run
from ansible_collections.queueops.celery.plugins.plugin_utils._broker_run import BrokerRun

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, made_run, refused, run
from tests.unit.running_pods import Says, answering, let_pods_say, pod_of

FLEET: Object = {
    "services": {"lms": {"image": IMAGE, "app": "lms.celery"}, "cms": {"image": IMAGE, "app": "cms.celery"}},
    "config": {"lms": {"default": {"queues": ["a"]}}, "cms": {"default": {"queues": ["b"]}}},
    "broker": {"host": "redis", "password": "hunter2-x"},
}
LEFT: Object = {
    "broker": "redis",
    "queues": {"a": {"waiting": 1}, "b": {"waiting": 2}},
    "hashes": [{"key": "unacked:shop.lms.old", "messages": 2, "is_used": False, "stranded": {"a": 2}, "unplaced": 0}],
    "leftovers": [{"kind": "reply", "what": "queue", "count": 1, "messages": 0, "removed": 0, "names": ["x"]}],
}


def site(monkeypatch: pytest.MonkeyPatch, says: Says, **variables: Any) -> tuple[ModelCluster, list[Object]]:
    """A site with one ready pod of each Deployment, and the questions that are asked in them."""
    cluster = ModelCluster(client=SimpleNamespace(client=SimpleNamespace(client=None)))
    done(run(cluster, **{**FLEET, **variables}))
    for (kind, name), item in list(cluster.objects.items()):
        if kind == "Deployment":
            cluster.objects["Pod", f"{name}-1"] = pod_of(item)
    questions: list[Object] = []

    def say(pod: str, question: Object) -> tuple[str, str]:
        questions.append({**question, "pod": pod})
        return says(pod, question)

    let_pods_say(monkeypatch, say)
    return cluster, questions


def play(cluster: ModelCluster, operation: str, checks: bool = False, **variables: Any) -> Object:
    found: Object = getattr(made_run(BrokerRun, cluster, {**FLEET, **variables}, checks), operation)()
    return found


def test_one_pod_is_asked_for_each_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, questions = site(monkeypatch, answering(**LEFT))
    found = done(play(cluster, "list_queues"))
    assert [(one["pod"], one["queues"], one["audits"]) for one in questions] == [("lms-worker-1", ["a", "b"], False)]
    assert not found["changed"]
    assert [row["name"] for row in found["brokers"][0]["queues"]] == ["a", "b"]
    two, questions = site(monkeypatch, answering(**LEFT), services=_with_two_brokers())
    done(play(two, "list_queues", services=_with_two_brokers()))
    assert [(one["pod"], one["queues"]) for one in questions] == [("lms-worker-1", ["a"]), ("cms-worker-1", ["b"])]


def _with_two_brokers() -> Object:
    return {**FLEET["services"], "cms": {**FLEET["services"]["cms"], "broker": {"host": "other"}}}


def test_only_the_queues_of_chosen_variants_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, _questions = site(monkeypatch, answering(**LEFT))
    notes = done(play(cluster, "list_queues", only=["cms"]))["notes"]
    assert [line.split()[0] for line in notes] == ["redis", "queue", "b"]
    assert "celery_workers_only: the fleet has no service" in refused(play(cluster, "list_queues", only=["shop"]))


@pytest.mark.parametrize(
    ("wanted", "checks", "removes", "changed"),
    [(False, False, False, False), (False, True, False, False), (True, True, False, True), (True, False, True, True)],
)
def test_a_broker_is_cleaned_up_only_where_that_is_asked_for_and_never_in_check_mode(
    monkeypatch: pytest.MonkeyPatch, wanted: bool, checks: bool, removes: bool, changed: bool
) -> None:
    taken = [{**item, "removed": 1} for item in LEFT["leftovers"]]
    cluster, questions = site(monkeypatch, answering(**{**LEFT, **({"leftovers": taken} if removes else {})}))
    found = done(play(cluster, "clean", checks, gc=wanted, gc_quiet=9, gc_min_age=60))
    [question] = questions
    assert (question["removes"], question["quiet"], question["min_age"]) == (removes, 9, 60)
    assert found["changed"] is changed
    assert any("Nothing was changed. Do it with -e celery_workers_gc=true." in line for line in found["notes"]) is (
        not wanted
    )


def test_nothing_left_over_is_said_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, _questions = site(monkeypatch, answering(broker="redis", queues={}))
    found = done(play(cluster, "clean", checks=True, gc=True))
    assert (found["changed"], found["notes"][1:]) == (False, ["  nothing is left over."])


def test_a_broker_that_cannot_be_asked_fails_the_run_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(pod: str, question: Object) -> tuple[str, str]:
        taken = [{**item, "removed": 1} for item in LEFT["leftovers"]]
        broken = {**LEFT, "leftovers": taken, "error": "ConnectionError: gone"}
        return answering(**(broken if pod.startswith("lms") else LEFT))(pod, question)

    services = _with_two_brokers()
    cluster, questions = site(monkeypatch, says, services=services)
    found = play(cluster, "clean", services=services, gc=True)
    assert len(questions) == 2
    assert refused(found) == (
        "redis redis:6379/0 could not be surveyed: ConnectionError: gone. What was changed before that stays changed. "
        "Start a pod of a variant, or ask from here with celery_workers_ask_broker_from: controller, where this "
        "machine reaches the broker."
    )
    assert found["changed"]
    assert any(line.startswith("redis other:6379/0") for line in found["notes"])


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        ({"secret": {"name": "mine"}}, "the broker of Secret mine could not be surveyed: its login is in Secret mine"),
        ({"host": "redis", "tls": {"ca_secret": "ca"}}, "its certificates are in Secret ca, which only pods read"),
    ],
)
def test_what_only_pods_can_reach_is_not_tried_from_here(
    monkeypatch: pytest.MonkeyPatch, broker: Object, said: str
) -> None:
    cluster, questions = site(monkeypatch, answering(), broker=broker)
    found = play(cluster, "list_queues", broker=broker, ask_broker_from="controller")
    assert said in refused(found)
    assert questions == []


def test_this_machine_logs_in_with_what_the_variables_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, questions = site(monkeypatch, answering())
    seen: list[Any] = []

    def survey(_broker: Any, login: Any, question: Any) -> Any:
        seen.append((login.password, question.queues))
        return Survey(broker="redis")

    monkeypatch.setattr(_broker_run, "survey_directly", survey)
    found = done(play(cluster, "list_queues", ask_broker_from="controller"))
    assert seen == [("hunter2-x", ("a", "b"))]
    assert questions == []
    assert "hunter2-x" not in str(found)


def test_status_asks_each_broker_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def count(broker: Any, login: Any, variants: Any) -> Object:
        seen.append((broker.host, login.timeout, len(variants)))
        return {}

    monkeypatch.setattr(_broker_login, "count_directly", count)
    made = made_run(BrokerRun, ModelCluster(), {**FLEET, "services": _with_two_brokers()}, False)
    fleet = parse_fleet(made.variables.inventory())
    assert _broker_login.count_from_here(fleet, made.variables, fleet.variants) == {}
    assert seen == [("redis", 2, 1), ("other", 2, 1)]
