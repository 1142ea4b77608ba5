# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scaling_plan: what it answers of an inventory and its loads, and how wrong loads are refused."""

from __future__ import annotations

import functools
import importlib
import json
from array import array
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.load_sizes import runs_in
from ansible_collections.queueops.celery.plugins.module_utils._model.loads import Daily, Load
from ansible_collections.queueops.celery.plugins.module_utils._simulation.jobs import JobControl, read_scaled_job
from ansible_collections.queueops.celery.plugins.module_utils._simulation.loads import (
    Arrivals,
    Fails,
    arrivals_of,
    merged,
)
from ansible_collections.queueops.celery.plugins.module_utils._simulation.pods import Worker
from ansible_collections.queueops.celery.plugins.module_utils._simulation.replayed import wait_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.simulate import Case, simulate

from tests.unit.inventories import IMAGE, fleet_of
from tests.unit.modules.running import run

NAME = "scaling_plan"
#: The burst that was measured on a cluster: 20 tasks of 5 s, then two of 420 s.
BURST = [{"burst": 20, "task_seconds": 5}, {"burst": 2, "task_seconds": 420}]
LATE = {"enable_keda": True, "acks_late": True, "min_replicas": 0, "list_length": 40, "max_replicas": 10}
#: The Tutor plugin's own numbers: its scaler sees no running work, and a pod has 30 s to stop.
PLUGIN = {**LATE, "termination_grace_period": 30, "time_limit": 600, "accept_risks": ["invisible-work"]}
OURS = {"enable_keda": True, "longest_task_seconds": 600}


def fleet(keys: Any, service: Any = None, **rest: Any) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "broker": {"host": "redis"},
        "services": {"billing": {"image": IMAGE, **(service or {})}},
        "config": {"billing": {"default": keys}},
        **rest,
    }


def planned(keys: Any, load: Any, service: Any = None, **options: Any) -> dict[str, Any]:
    """What is found for the one variant."""
    result = run(NAME, **fleet(keys, service, loads={"billing": {"default": load}}, **options))
    assert not result.get("failed"), result["msg"]
    found: dict[str, Any] = result["plans"][0]
    return found


def problems(loads: Any, **options: Any) -> list[str]:
    found: list[str] = run(NAME, **fleet(OURS, {"idempotent": True}, loads=loads, **options))["problems"]
    return found


def test_the_plugin_s_numbers_lose_long_tasks_and_ours_do_not() -> None:
    """Seen on a real cluster: both long tasks were killed after 355 s and left in the hash with no pod; ours ended."""
    plugin, ours = planned(PLUGIN, BURST, hours=1), planned(OURS, BURST, {"idempotent": True}, hours=1)
    assert (plugin["interrupted"], plugin["stranded"], plugin["done"]) == (2, 2, 20)
    assert not plugin["meets_goal"]
    assert (ours["interrupted"], ours["unfinished"], ours["done"]) == (0, 0, 22)
    assert ours["meets_goal"]
    assert 420 <= ours["drain"] <= 600


def test_the_formula_is_the_one_that_is_sent() -> None:
    scalers = run("keda_specs", **fleet(OURS, {"idempotent": True}))["scalers"]
    assert planned(OURS, {"per_hour": 60}, {"idempotent": True}, hours=1)["formula"] == scalers[0]["formula"]


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    load = {"daily": {"low": 10, "high": 300, "peak_hour": 1, "noise": 0.5}, "task_seconds": {"p50": 5, "p95": 40}}
    options: dict[str, Any] = {"hours": 1, "series": True, "bound": False}
    first, again, other = (planned(OURS, load, {"idempotent": True}, seed=seed, **options) for seed in (1, 1, 2))
    assert json.dumps(first) == json.dumps(again)
    assert first["tasks"] != other["tasks"]


def test_numbers_over_time_have_one_of_each_kind_for_every_moment() -> None:
    found = planned(OURS, {"per_hour": 300}, {"idempotent": True}, hours=2, series=True)
    series = found["series"]
    assert {len(value) for name, value in series.items() if name != "step"} == {len(series["times"])}
    assert series["times"][:3] == [0.0, 60.0, 120.0]
    assert max(series["pods"]) == found["peak_pods"]
    assert found["changes"][0]["by"] == "KEDA"
    assert "series" not in planned(OURS, {"per_hour": 300}, {"idempotent": True}, hours=2)


@pytest.mark.parametrize(
    "load",
    [
        {"per_hour": 600, "spread": "even", "task_seconds": 2},
        {"steps": {0: 60, 1: 1200, 2: 0}, "task_seconds": [1, 2, 30]},
        {"burst": 50, "at_hour": 0.5, "every_hours": 1, "task_seconds": 3},
        {"daily": {"low": 0, "high": 500, "peak_hour": 1}},
        [{"per_hour": 100, "priorities": {0: 0.8, 9: 0.2}}, {"burst": 10, "eta_share": 1, "eta_seconds": 900}],
        {"per_hour": 100, "failure_share": 0.2, "retries": 2, "retry_seconds": 30},
    ],
)
def test_every_kind_of_load_comes_to_its_end(load: Any) -> None:
    found = planned(OURS, load, {"idempotent": True}, hours=3)
    assert found["tasks"] > 30
    assert (found["unfinished"], found["lost"], found["interrupted"]) == (0, 0, 0)
    assert found["done"] + found["failed"] >= found["tasks"]
    assert found["bound"] <= found["bound_reached"]


def test_an_even_load_has_exactly_its_number_of_tasks() -> None:
    assert planned(OURS, {"per_hour": 600, "spread": "even"}, {"idempotent": True}, hours=2)["tasks"] == 1200


def test_a_file_of_tasks_is_a_load(tmp_path: Path) -> None:
    file = tmp_path / "tasks.csv"
    file.write_text("seconds, task_seconds,priority\n0,5,0\n10,5,9\n20,,0\n", encoding="utf-8")
    found = planned({**OURS, "concurrency": 1}, {"csv": str(file), "task_seconds": 7}, {"idempotent": True}, hours=1)
    assert (found["tasks"], found["done"], round(found["busy_seconds"])) == (3, 3, 17)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at,task_seconds\n0,1\n", "the file has a column 'at'; its first line names its columns"),
        ("task_seconds\n1\n", "the file has no column seconds; its first line names its columns"),
        ("seconds\n0\nsoon\n", "line 3 cannot be read; seconds, task_seconds and eta_seconds are numbers"),
        ("seconds,priority\n0,12\n", "line 2 cannot be read;"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "tasks.csv"
    file.write_text(text, encoding="utf-8")
    (found,) = problems({"billing": {"default": {"csv": str(file)}}})
    assert found.startswith(f"celery_workers_loads.billing.default.csv: {message}")


@pytest.mark.parametrize(
    ("loads", "message"),
    [
        ({"biling": {}}, ".biling: the fleet has no service 'biling'; did you mean 'billing'?"),
        ({"billing": 5}, ".billing: this must be a dict of variants to loads, such as default: {per_hour: 600}."),
        (
            {"billing": {"defalt": {"per_hour": 5}}},
            ".billing.defalt: service billing has no variant 'defalt'; did you mean 'default'?",
        ),
        (
            {"billing": {"default": 600}},
            ".billing.default: this must be a load; write one of per_hour, burst, steps, daily, csv and "
            "prometheus, such as per_hour: 600.",
        ),
        (
            {"billing": {"default": {"task_seconds": 5}}},
            ".billing.default: nothing says when tasks come; write one of per_hour, burst, steps, daily, csv and "
            "prometheus, such as per_hour: 600.",
        ),
        (
            {"billing": {"default": [{"per_hour": 5}, {"per_hour": 5, "burst": 3}]}},
            ".billing.default[1]: this has per_hour and burst; write one of per_hour, burst, steps, daily, csv and "
            "prometheus, such as per_hour: 600.",
        ),
        (
            {"billing": {"default": {"per_hours": 5, "per_hour": 5}}},
            ".billing.default.per_hours: default has no 'per_hours'; did you mean 'per_hour'?",
        ),
        (
            {"billing": {"default": {"daily": {"low": 9, "high": 3}}}},
            ".billing.default.daily: low 9 is above high 3; write the smaller one as low.",
        ),
        (
            {"billing": {"default": {"per_hour": 5, "task_seconds": {"p50": 9, "p95": 3}}}},
            ".billing.default.task_seconds: {'p50': 9, 'p95': 3} is not valid here; write a number of seconds, a dict "
            "of p50 and p95 (p50 not above p95), or a list of numbers.",
        ),
        (
            {"billing": {"default": {"per_hour": 5, "priorities": {10: 1}}}},
            ".billing.default.priorities: {'10': 1} is not valid here; write a dict of priorities (whole numbers "
            "from 0 to 9) to their share, at least one of them above 0.",
        ),
        (
            {"billing": {"default": {"per_hour": 5, "priorities": {0: 0}}}},
            ".billing.default.priorities: {'0': 0} is not valid here; write a dict of priorities (whole numbers "
            "from 0 to 9) to their share, at least one of them above 0.",
        ),
        (
            {"billing": {"default": {"per_hour": 5, "priorities": {1.5: 1}}}},
            ".billing.default.priorities: {'1.5': 1} is not valid here; write a dict of priorities (whole numbers "
            "from 0 to 9) to their share, at least one of them above 0.",
        ),
        (
            {"billing": {"default": {"steps": {0: float("inf")}}}},
            ".billing.default.steps: {'0': inf} is not valid here; write a dict of hours after the start to tasks an "
            "hour from then on.",
        ),
        (
            {"billing": {"default": {"csv": "/nowhere/tasks.csv"}}},
            ".billing.default.csv: the file /nowhere/tasks.csv cannot be read: No such file or directory. Write the "
            "path of a CSV file.",
        ),
    ],
)
def test_a_wrong_load_is_one_problem_that_says_what_to_write(loads: Any, message: str) -> None:
    assert problems(loads) == [f"celery_workers_loads{message}"]


def test_all_problems_come_at_once() -> None:
    found = problems({"billing": {"default": {"per_hour": -1}}, "lms": {}}, hours=-3)
    assert [text.partition(":")[0] for text in found] == [
        "celery_workers_plan_hours",
        "celery_workers_loads.billing.default.per_hour",
        "celery_workers_loads.lms",
    ]


def test_what_is_taken_for_granted_is_told() -> None:
    result = run(NAME, **fleet({"replicas": 2, "time_limit": 60}, loads={"billing": {"default": {"per_hour": 60}}}))
    assert [text.strip() for text in result["warnings"]] == [
        "billing/default: tasks are taken to run 10 s each. Write task_seconds into the load or the variant.",
        "billing/default: pods are taken to begin work 20 s after their creation. Write start_seconds into the load or "
        "the variant.",
        "billing/default: the app decides on acks_late; taken for early acknowledgement, Celery's default, so that a "
        "kill loses what runs.",
    ]
    assert (result["plans"][0]["peak_pods"], result["plans"][0]["starts"]) == (2, 2)


def test_variants_without_a_load_are_named() -> None:
    result = run(NAME, **fleet(OURS, {"idempotent": True}))
    assert (result["plans"], result["unloaded"]) == ([], ["billing/default"])
    assert result["text"] == ["No variant has a load. Write celery_workers_loads."]


def test_a_schedule_opens_and_closes_on_time() -> None:
    trigger = {
        "type": "cron",
        "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 3 * * *", "desiredReplicas": "3"},
    }
    keys = {**OURS, "extra_triggers": [trigger]}
    found = planned(keys, {"per_hour": 0}, {"idempotent": True}, series=True, hours=4.5)
    pods = dict(zip(found["series"]["times"], found["series"]["wanted"], strict=True))
    hour = 3600.0
    assert [pods[at * hour] for at in (0.5, 1.5, 2.5, 4.0)] == [0, 3, 3, 0]


#: A peak of half an hour, with a goal that 40 messages a pod miss by far.
LATE_WORK: dict[str, Any] = {"steps": {0: 60, 0.1: 600, 0.6: 60}, "task_seconds": 30, "spread": "even"}


@functools.cache
def suggested(**options: Any) -> dict[str, Any]:
    keys = {**OURS, "max_wait_seconds": 120}
    given = fleet(
        keys, {"idempotent": True}, loads={"billing": {"default": LATE_WORK}}, hours=0.7, suggest=True, **options
    )
    return run(NAME, **given)


def test_a_suggestion_keeps_the_goal_and_proves_each_key() -> None:
    found = suggested()
    one = found["suggestions"][0]
    assert not one["before"]["meets_goal"]
    assert one["after"]["meets_goal"]
    assert one["keys"]["list_length"] < 40
    for step in one["steps"]:
        assert step["reason"]
        assert " -> " in step["proof"]
    text = yaml.safe_load("\n".join(found["yaml"]))
    assert text == {"celery_workers_config": {"billing": {"default": one["keys"]}}}


def test_what_is_suggested_gives_what_was_promised() -> None:
    one = suggested()["suggestions"][0]
    keys = {**OURS, "max_wait_seconds": 120, **one["keys"]}
    again = planned(keys, LATE_WORK, {"idempotent": True}, hours=0.7)
    assert (again["wait_p95"], again["pod_seconds"]) == (one["after"]["wait_p95"], one["after"]["pod_seconds"])


def test_jobs_are_suggested_for_long_tasks_that_come_seldom() -> None:
    keys = {"enable_keda": True, "profile": "long", "longest_task_seconds": 1800, "max_wait_seconds": 60}
    load = {"burst": 5, "at_hour": 0.2, "every_hours": 2, "task_seconds": [120, 300, 900]}
    given = fleet(keys, {"idempotent": True}, loads={"billing": {"default": load}}, hours=3, suggest=True, bound=False)
    one = run(NAME, **given)["suggestions"][0]
    assert one["keys"] == {"run_as": "jobs"}
    assert one["after"]["pod_seconds"] < 0.8 * one["before"]["pod_seconds"]
    assert one["after"]["interrupted"] == 0


def test_a_budget_buys_the_shortest_wait_for_it() -> None:
    one = suggested(budget=4, bound=False)["suggestions"][0]
    assert one["after"]["pod_seconds"] <= 4 * 3600
    assert one["after"]["wait_p95"] < one["before"]["wait_p95"]


def test_nothing_is_suggested_that_brings_a_warning() -> None:
    """More messages a pod would cost less, because tasks take less time than the inventory says."""
    keys = {**OURS, "task_seconds": 20, "max_wait_seconds": 300}
    loads = {"billing": {"default": {"burst": 100, "task_seconds": 5}}}
    given = fleet(keys, {"idempotent": True}, loads=loads, hours=0.02, suggest=True, bound=False)
    one = run(NAME, **given)["suggestions"][0]
    assert one["keys"]
    given = fleet({**keys, **one["keys"]}, {"idempotent": True})
    pasted = fleet_of(**{name: given[name] for name in ("services", "broker", "config")})
    assert not [text for text in pasted.warnings if "slow-drain" in text]


TWO: dict[str, Any] = {
    "default": {**OURS, "task_seconds": 10, "max_wait_seconds": 120},
    "reports": {**OURS, "task_seconds": 300, "max_wait_seconds": 600, "concurrency": 1},
}
TWO_LOADS: dict[str, Any] = {
    "default": {"per_hour": 300, "spread": "even", "task_seconds": 10},
    "reports": {"burst": 8, "at_hour": 0.3, "task_seconds": 420},
}


@functools.cache
def compared(broker: str = "redis") -> dict[str, Any]:
    given = fleet({}, {"idempotent": True}, loads={"billing": TWO_LOADS}, hours=1, compare=True)
    return run(NAME, **{**given, "config": {"billing": TWO}, "broker": {"type": broker, "host": broker}})


def test_the_same_work_is_compared_with_the_defaults_of_others() -> None:
    found = compared()
    rows = {(row["title"], row["way"]): row for row in found["comparison"]}
    for plan in found["plans"]:
        title = f"billing/{plan['variant']}"
        today = rows[title, "today"]
        assert (today["wait_p95"], today["pod_seconds"]) == (plan["wait_p95"], plan["pod_seconds"])
        assert today["ratio"] == plan["ratio"]
    ours, plugin = (rows["billing/reports", way] for way in ("today", "Tutor plugin's defaults"))
    # One trigger that does not see running work: the reports are killed, and what waits has one pod.
    assert (ours["interrupted"], ours["unfinished"]) == (0, 0)
    assert plugin["interrupted"] + plugin["unfinished"] > 0
    assert plugin["peak_pods"] == 1 < ours["peak_pods"] <= rows["billing/reports", "KEDA's defaults"]["peak_pods"] + 6
    assert not run(NAME, **fleet(OURS, {"idempotent": True}, loads={"billing": {"default": {"per_hour": 1}}}, hours=1))[
        "comparison"
    ]


def test_short_tasks_wait_behind_long_ones_in_one_shared_queue() -> None:
    rows = {(row["title"], row["way"]): row for row in compared()["comparison"]}
    apart, shared = rows["billing", "in queues of their own"], rows["billing", "in one shared queue"]
    own = [row["pod_seconds"] for row in compared()["plans"]]
    assert apart["pod_seconds"] == pytest.approx(sum(own), abs=0.2)
    assert shared["pod_seconds"] > 0
    assert shared["wait_p95"] is None
    waits = {way: rows["billing/default", way]["wait_p95"] for way in ("today", "in one shared queue")}
    assert waits["in one shared queue"] > waits["today"]
    assert rows["billing/default", "in one shared queue"]["pod_seconds"] is None
    text = compared()["text"]
    table = text[next(place for place, line in enumerate(text) if line.startswith("compared ")) :]
    assert len(table) == 1 + len(rows)
    assert "billing/reports  in one shared queue" in table[-1]


def test_a_broker_that_the_tutor_plugin_does_not_know_is_compared_with_keda_alone() -> None:
    found = compared("rabbitmq")["comparison"]
    ways = [row["way"] for row in found if row["title"] == "billing/default"]
    assert ways == ["today", "KEDA's defaults", "in one shared queue"]
    assert found[1]["unfinished"] == 0 < found[1]["peak_pods"]


def test_work_that_is_merged_stays_what_it_was() -> None:
    first = Arrivals(array("d", [1.0, 5.0]), array("d", [10.0, 20.0]), due={1: 60.0})
    second = Arrivals(array("d", [0.0, 1.0]), array("d", [30.0, 40.0]), bytes([9, 0]), fails=(Fails(0.5, 1, 2.0),))
    found, owners = merged([first, second])
    assert [list(part) for part in (found.times, found.seconds, owners)] == [
        [0.0, 1.0, 1.0, 5.0],
        [30.0, 10.0, 40.0, 20.0],
        [1, 0, 1, 0],
    ]
    assert (list(found.priorities), found.due) == ([9, 0, 0, 0], {3: 60.0})
    assert [found.fails_of(task).share for task in range(4)] == [0.5, 0.0, 0.5, 0.0]


def test_the_front_gets_dearer_and_faster() -> None:
    front = suggested()["suggestions"][0]["front"]
    assert len(front) > 2
    costs, waits = [one["pod_seconds"] for one in front], [one["wait_p95"] for one in front]
    assert costs == sorted(costs)
    assert waits == sorted(waits, reverse=True)


def test_nothing_is_suggested_where_nothing_is_better() -> None:
    given = fleet(OURS, {"idempotent": True}, loads={"billing": {"default": {"per_hour": 0}}}, hours=1, suggest=True)
    found = run(NAME, **given)
    assert (found["suggestions"][0]["keys"], found["yaml"]) == ({}, [])


JOBS = {
    **{"run_as": "jobs", "polling_interval": 5, "idle_seconds": 8, "max_replicas": 5, "longest_task_seconds": 600},
    "enable_keda": True,
}


def test_jobs_start_and_end_as_was_measured() -> None:
    """Five tasks of 60 s had five Jobs at once; two more, sent at the end, were taken by Jobs that were there."""
    late = {"burst": 2, "at_hour": 58 / 3600, "task_seconds": 60}
    load = [{"burst": 5, "task_seconds": 60, "start_seconds": 1}, late]
    found = planned(JOBS, load, {"idempotent": True}, hours=1, series=True)
    assert (found["starts"], found["peak_pods"], found["interrupted"], found["done"]) == (5, 5, 0, 7)
    assert found["wait_longest"] <= 10
    minutes = dict(zip(found["series"]["times"], found["series"]["pods"], strict=True))
    assert (minutes[60.0], minutes[120.0], minutes[180.0]) == (5, 2, 0)


def test_a_job_that_is_old_takes_nothing_more_and_another_one_does() -> None:
    keys = {**JOBS, "max_age_seconds": 300, "max_replicas": 1}
    found = planned(keys, {"per_hour": 120, "spread": "even", "task_seconds": 29}, {"idempotent": True}, hours=1)
    assert found["starts"] > 8
    assert (found["interrupted"], found["unfinished"]) == (0, 0)


@pytest.mark.parametrize(
    ("there", "numbers", "new"),
    [(0, (5, 0), 5), (0, (9, 0), 5), (3, (2, 3), 2), (5, (9, 5), 0), (2, (0, 2), 0), (0, (0, 0), 0), (0, (1, 0), 1)],
)
def test_how_many_jobs_one_look_starts(there: int, numbers: tuple[int, int], new: int) -> None:
    triggers = [{"type": "redis", "name": n, "metadata": {"listName": n, "listLength": "1"}} for n in ("q", "held")]
    strategy = {"strategy": "default", "multipleScalersCalculation": "sum"}
    spec = read_scaled_job({"maxReplicaCount": 5, "triggers": triggers, "scalingStrategy": strategy}, {})
    assert JobControl(spec, 0.0).new_jobs(there, numbers) == new


BEGIN = 1_767_571_200


def answer(values: list[tuple[float, float]]) -> str:
    """An answer of Prometheus, whose series are added up."""
    rows = [[BEGIN + at, str(value)] for at, value in values]
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": rows}]}}
    )


def test_work_that_has_been_is_played_again_and_compared_with_the_pods_that_were(tmp_path: Path) -> None:
    """The pods come from another simulation of the same minutes, so that they must be the same."""
    (tmp_path / "tasks.json").write_text(answer([(60.0 * n, 30 if 20 < n < 50 else 1) for n in range(1, 121)]))
    load = {"prometheus": str(tmp_path / "tasks.json"), "task_seconds": 20}
    first = planned(OURS, load, {"idempotent": True}, hours=2, series=True)
    assert first["tasks"] == 29 * 30 + 91
    pods = dict(zip(first["series"]["times"], first["series"]["wanted"], strict=True))
    (tmp_path / "pods.json").write_text(answer([(at, pods[at]) for at in sorted(pods) if 0 < at <= 7200]))
    given = fleet(
        OURS, {"idempotent": True}, loads={"billing": {"default": {**load, "replicas": str(tmp_path / "pods.json")}}}
    )
    whole = run(NAME, **given, hours=2)
    (found,) = whole["replays"]
    assert any(line.endswith("; the waits were not compared, which need waiting.") for line in whole["text"])
    assert found["samples"] == 120
    assert found["equal"] >= 0.98
    other = fleet({**OURS, "list_length": 4}, {"idempotent": True}, loads=given["loads"])
    (worse,) = run(NAME, **other, hours=2)["replays"]
    assert worse["equal"] < 0.9
    assert worse["cost_off"] > 0


def test_waits_that_were_follow_from_the_messages_that_waited_and_are_compared(tmp_path: Path) -> None:
    """The messages come from another simulation of the same minutes, whose waits are known."""
    (tmp_path / "tasks.json").write_text(answer([(60.0 * n, 30 if 20 < n < 50 else 1) for n in range(1, 121)]))
    load = {"prometheus": str(tmp_path / "tasks.json"), "task_seconds": 20}
    first = planned(OURS, load, {"idempotent": True}, hours=2, series=True, bound=False)
    waited = dict(zip(first["series"]["times"], first["series"]["backlog"], strict=True))
    (tmp_path / "waiting.json").write_text(answer([(at, waited[at]) for at in sorted(waited) if 0 < at <= 7200]))
    loads = {"billing": {"default": {**load, "waiting": str(tmp_path / "waiting.json")}}}
    found = run(NAME, **fleet(OURS, {"idempotent": True}, loads=loads), hours=2, bound=False)
    (row,) = found["replays"]
    assert row["wait_was"] == row["wait_simulated"] == pytest.approx(first["wait_p95"], rel=0.1)
    assert any(
        "the pods were not compared; p95 wait " in line and line.endswith("off by +0.0 %.") for line in found["text"]
    )
    other = fleet({**OURS, "list_length": 4}, {"idempotent": True}, loads=loads)
    (better,) = run(NAME, **other, hours=2, bound=False)["replays"]
    assert better["wait_simulated"] < 0.7 * better["wait_was"] == 0.7 * row["wait_was"]


@pytest.mark.parametrize(
    ("waiting", "times", "wait"),
    [
        # One a second, of which sixty always wait: each waits a minute, as Little's law says.
        ([(60.0 * n, 60.0) for n in range(1, 31)], range(1800), 60.0),
        ([(60.0 * n, 0.0) for n in range(1, 31)], range(1800), 0.0),
        # Sixty at once, gone at an even pace within six minutes.
        ([(60.0 * n, 60.0 - 10 * n) for n in range(7)], [0] * 60, 360.0),
        # What never begins has waited until the end.
        ([(60.0 * n, 5.0) for n in range(7)], [0] * 5, 360.0),
    ],
    ids=["steady", "none", "burst", "never"],
)
def test_how_long_messages_waited_follows_from_how_many_did(waiting: Any, times: Any, wait: float) -> None:
    assert wait_of(waiting, list(times)) == pytest.approx(wait)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"data": {"result": []}}', '{"data": {"result": [{"values": [[1, "x"]]}]}}']
)
def test_a_file_that_is_no_answer_of_prometheus_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.json").write_text(text)
    (found,) = problems({"billing": {"default": {"prometheus": str(tmp_path / "tasks.json")}}})
    assert found.startswith("celery_workers_loads.billing.default.prometheus: the file ")
    assert "query_range" in found


TOGETHER = "those that are tried again included; at most 5,000,000 are simulated. Write a smaller load, or lower"


@pytest.mark.parametrize(
    ("load", "path", "tasks"),
    [
        ({"per_hour": 1e8}, "", "2,400,000,000"),
        ({"burst": 10_000_000, "every_hours": 0.001}, "", "240,000,000,000"),
        ({"steps": {0: 0, 23: 1e8}}, "", "100,000,000"),
        ({"daily": {"low": 0, "high": 1e6}}, "", "12,000,000"),
        ({"per_hour": 2e5, "failure_share": 1, "retries": 9}, "", "48,000,000"),
        ([{"per_hour": 1}, {"per_hour": 1e8}], "[1]", "2,400,000,000"),
        ([{"per_hour": 1.5e5}, {"per_hour": 1.5e5}], "", "7,200,000"),
    ],
)
def test_more_tasks_than_can_be_simulated_are_refused_before_any_is_drawn(load: Any, path: str, tasks: str) -> None:
    assert problems({"billing": {"default": load}}) == [
        f"celery_workers_loads.billing.default{path}: {tasks} tasks would come in 24 h, {TOGETHER} "
        "celery_workers_plan_hours."
    ]


@pytest.mark.parametrize(
    ("load", "hours", "tasks"),
    [
        ({"per_hour": 90}, 3.0, 270.0),
        ({"burst": 7, "at_hour": 1, "every_hours": 2}, 5.0, 14.0),
        ({"burst": 7, "at_hour": 5, "every_hours": 2}, 5.0, 0.0),
        ({"steps": {1: 60, 2: 600, 9: 1}}, 3.0, 660.0),
        ({"daily": {"low": 20, "high": 600, "peak_hour": 14}}, 24.0, 24 * 310.0),
        ({"daily": {"low": 20, "high": 600, "peak_hour": 3}}, 6.0, None),
    ],
)
def test_the_tasks_that_are_expected_are_those_that_come(load: Any, hours: float, tasks: float | None) -> None:
    values = {**load, "steps": tuple(load["steps"].items())} if "steps" in load else load
    values = {**values, "daily": Daily(**load["daily"])} if "daily" in load else values
    one = Load(**values, spread="even")
    expected = runs_in(one, hours)
    assert tasks is None or expected == pytest.approx(tasks)
    assert expected == pytest.approx(len(arrivals_of([one], hours, 1).times), abs=2, rel=0.002)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("prometheus", answer([(60, 1e12)]), "the samples of the file are 1,000,000,000,000 tasks together; at most"),
        ("replicas", answer([(60, 1e9)]), "the file has 1e+09 pods at a time; at most 10000 are simulated."),
        ("waiting", answer([(60, -1)]), "the file has -1 messages at a time; 0 to 5,000,000 are compared."),
        ("prometheus", answer([(1e12, 1)]), "the file is no answer of Prometheus;"),
        ("prometheus", "[" * 100_000, "the file is no answer of Prometheus;"),
        ("prometheus", '{"data": {"result": [{"values": [[1, 1' + "0" * 400 + "]]}]}}", "the file is no answer of"),
        ("csv", "seconds\n" + "1" * 200_000 + "\n", "line 2 cannot be read;"),
        ("csv", "seconds" * 30_000 + "\n1\n", "the file has no column seconds;"),
    ],
    ids=["tasks", "pods", "waiting", "moment", "deep", "long", "field", "header"],
)
def test_a_file_that_nobody_can_simulate_is_one_problem(tmp_path: Path, key: str, text: str, message: str) -> None:
    (tmp_path / "file").write_text(text)
    load = {key: str(tmp_path / "file"), **({"per_hour": 1} if key in ("replicas", "waiting") else {})}
    (found,) = problems({"billing": {"default": [{"per_hour": 1}, load]}})
    assert found.startswith(f"celery_workers_loads.billing.default[1].{key}: {message}")


def test_a_file_under_two_keys_is_read_for_both(tmp_path: Path) -> None:
    (tmp_path / "pods.json").write_text(answer([(60, 1), (120, 1)]))
    load = {"prometheus": str(tmp_path / "pods.json"), "replicas": str(tmp_path / "pods.json")}
    result = run(NAME, **fleet(OURS, {"idempotent": True}, loads={"billing": {"default": load}}, hours=1))
    assert (result["plans"][0]["tasks"], result["replays"][0]["samples"]) == (2, 2)


@pytest.mark.parametrize("budget", [-3, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(budget: float) -> None:
    (found,) = problems({}, budget=budget)
    assert found.startswith("celery_workers_plan_budget: write pod-hours from 0 to ")


def warnings(load: Any, keys: Any = None, **options: Any) -> list[str]:
    given = fleet(keys or OURS, {"idempotent": True}, loads={"billing": {"default": load}}, **options)
    return [text.strip() for text in run(NAME, **given)["warnings"]]


def test_what_comes_after_the_simulated_hours_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "tasks.csv").write_text("seconds\n0\n100\n5000\n7000\n")
    load = {"csv": str(tmp_path / "tasks.csv"), "start_seconds": 5, "task_seconds": 1}
    found = planned(OURS, load, {"idempotent": True}, hours=1)
    assert (found["tasks"], found["done"], found["unfinished"]) == (2, 2, 0)
    assert 0 <= found["wait_p50"] <= found["wait_longest"]
    before = "billing/default: left out because more than 1 h are not simulated:"
    assert warnings(load, hours=1) == [f"{before} 2 of the 4 tasks of {load['csv']}. Raise celery_workers_plan_hours."]
    assert planned(OURS, load, {"idempotent": True}, hours=2)["tasks"] == 4


@pytest.mark.parametrize(
    ("load", "what"),
    [
        ({"burst": 3, "at_hour": 3}, "the burst at hour 3"),
        ({"steps": {0: 1, 3: 5, 4: 1}}, "the steps from hour 3 on"),
        ({"burst": 3, "at_hour": 0.5}, None),
    ],
)
def test_a_load_that_comes_too_late_is_told(load: Any, what: str | None) -> None:
    found = [text for text in warnings({**load, "start_seconds": 5, "task_seconds": 1}, hours=1) if "left out" in text]
    end = "Raise celery_workers_plan_hours."
    assert found == (
        [f"billing/default: left out because more than 1 h are not simulated: {what}. {end}"] if what else []
    )


def test_tasks_that_have_not_come_are_not_done() -> None:
    arrivals = Arrivals(array("d", [0.0, 200_000.0]), array("d", [1.0, 1.0]))
    result = simulate(Case("billing", "default", Worker(), 60.0), arrivals, 24.0)
    assert (result.done, result.unfinished) == (1, 1)
    assert not result.meets_goal
    assert result.waits.p50 >= 0


@pytest.mark.parametrize(
    ("keys", "load", "least"),
    [({"start_seconds": 300}, {}, 300), ({"start_seconds": 300}, {"start_seconds": 40}, 40), ({}, {}, 20)],
)
def test_pods_start_as_the_load_says_else_the_variant(keys: Any, load: Any, least: float) -> None:
    one = {"burst": 1, "task_seconds": 1, **load}
    found = planned({**OURS, **keys}, one, {"idempotent": True}, hours=1)
    assert least <= found["wait_longest"] <= least + 40
    assert any("pods are taken to begin work" in text for text in warnings(one, {**OURS, **keys}, hours=1)) == (
        least == 20
    )


#: Saturday, 2026-01-03 08:30 UTC.
SATURDAY = 1_767_429_000


@pytest.mark.parametrize("key", ["prometheus", "replicas"])
def test_work_that_has_been_is_played_at_its_own_time(tmp_path: Path, key: str) -> None:
    """A window on Saturdays from 9 to 10: half an hour after the samples begin, in either file."""
    rows = [[SATURDAY + 60 * number, "0"] for number in range(1, 121)]
    (tmp_path / "file.json").write_text(json.dumps({"data": {"result": [{"values": rows}]}}))
    trigger = {
        "type": "cron",
        "metadata": {"timezone": "UTC", "start": "0 9 * * 6", "end": "0 10 * * 6", "desiredReplicas": "3"},
    }
    load = {key: str(tmp_path / "file.json"), "start_seconds": 5, "task_seconds": 1}
    load |= {"per_hour": 0} if key == "replicas" else {}
    keys = {**OURS, "extra_triggers": [trigger]}
    found = planned(keys, load, {"idempotent": True}, hours=2, series=True)
    pods = dict(zip(found["series"]["times"], found["series"]["wanted"], strict=True))
    assert [pods[minute * 60.0] for minute in (27, 33, 87, 110)] == [0, 3, 3, 0]


def test_two_histories_keep_their_distance(tmp_path: Path) -> None:
    for name, begin in (("early", SATURDAY), ("late", SATURDAY + 3600)):
        rows = [[begin + 60, "1"], [begin + 120, "0"]]
        (tmp_path / name).write_text(json.dumps({"data": {"result": [{"values": rows}]}}))
    loads = [{"prometheus": str(tmp_path / name), "task_seconds": 5} for name in ("late", "early")]
    found = planned(OURS, loads, {"idempotent": True}, hours=2, series=True)
    waits = dict(zip(found["series"]["times"], found["series"]["wait"], strict=True))
    assert [at for at in sorted(waits) if waits[at]] == [60.0, 3660.0]


def test_pods_of_another_day_are_not_compared_and_the_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text(answer([(60, 1), (120, 1)]))
    (tmp_path / "pods").write_text(answer([(-9000, 1), (-8940, 1)]))
    history = {"replicas": str(tmp_path / "pods"), "waiting": str(tmp_path / "pods")}
    found = warnings({"prometheus": str(tmp_path / "tasks"), **history, "task_seconds": 1}, hours=1)
    for what in ("pods that there were", "messages that waited"):
        assert f"billing/default: the {what} are of another time than the tasks; not compared." in found


def test_runs_fail_as_the_load_says_that_they_come_from() -> None:
    fails = {"burst": 20, "task_seconds": 1, "failure_share": 1, "retries": 2, "retry_seconds": 1}
    well = {"burst": 200, "task_seconds": 1, "at_hour": 0.01}
    for loads in ([fails, well], [well, fails]):
        found = planned(OURS, loads, {"idempotent": True}, hours=1)
        assert (found["failed"], found["done"]) == (60, 200)
    other = {**fails, "retries": 0}
    assert planned(OURS, [fails, other], {"idempotent": True}, hours=1)["failed"] == 80


@pytest.mark.parametrize(("pods", "least"), [(1, 0), (4, 4)])
def test_a_paused_variant_keeps_its_pods_and_the_run_says_so(pods: int, least: int) -> None:
    keys = {**OURS, "paused": True, "min_replicas": least}
    load = {"per_hour": 10, "task_seconds": 1, "start_seconds": 5}
    found = planned(keys, load, {"idempotent": True}, hours=1)
    assert (found["starts"], found["peak_pods"]) == (pods, pods)
    assert any(
        text.startswith("billing/default: its scaling is paused, so that the pods that are there stay; taken for ")
        and text.endswith(f"{pods} pod{'s' * (pods > 1)}.")
        for text in warnings(load, keys, hours=1)
    )


@pytest.mark.parametrize(
    "broker",
    [
        {"type": "rabbitmq", "host": "rabbit"},
        {"type": "sqs", "region": "eu-west-1", "account": "123456789012", "pod_identity": True},
    ],
    ids=["rabbitmq", "sqs"],
)
def test_work_of_every_broker_wakes_pods_and_comes_to_its_end(broker: Any) -> None:
    load = {"burst": 60, "task_seconds": 10, "start_seconds": 5}
    found = planned(OURS, load, {"idempotent": True}, broker=broker, hours=1)
    assert (found["done"], found["unfinished"], found["lost"]) == (60, 0, 0)
    assert found["peak_pods"] >= 1


def test_the_example_of_the_page_is_one() -> None:
    module = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}")
    task = yaml.safe_load(module.EXAMPLES)[0]["queueops.celery.scaling_plan"]
    assert not run(NAME, **{**task, "hours": 1, "bound": False}).get("failed")
