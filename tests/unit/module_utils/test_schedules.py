# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Floors and ceilings for some time: kept at each minute, with every KEDA, and never at the cost of a busy pod.

KEDA's cron is played by its rule, minute by minute: a window is open while its end comes before its start.
"""

from __future__ import annotations

import functools
import math
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.boosts import Boost, boosted, unboosted
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_table
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._schema.cron import is_open
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import page
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.manifest_schemas import assert_accepted
from tests.support.thorough import examples
from tests.unit.formulas import asked, names_in, next_pods
from tests.unit.inventories import (
    IMAGE,
    TRACKED,
    fleet_of,
    manifests_of,
    of_kind,
    one_variant,
    problems_of,
    problems_with,
    scaled_object_with,
)
from tests.unit.status_cases import KEYS, NOW, WORKER, Site, fleet_with

ONE_LIST = {"host": "redis", "priority_steps": [0]}
BROKERS: list[dict[str, Any]] = [
    ONE_LIST,
    {"host": "redis"},
    {"type": "redis-sentinel", "hosts": ["a", "b"], "master_name": "main"},
    {"type": "rabbitmq", "host": "rabbit"},
    {"type": "sqs", "region": "eu-central-1", "pod_identity": True},
]
DAY = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "min_replicas": 4}
NIGHT = {"start": "0 22 * * *", "end": "0 6 * * *", "timezone": "Europe/Berlin", "max_replicas": 3}
PAUSE = {"start": "30 6 * * 0", "end": "30 7 * * 0", "timezone": "Europe/Berlin", "paused": True}
WEEK = [DAY, NIGHT, PAUSE]


def spec_with(schedule: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """The ScaledObject of a variant that sees what its workers hold."""
    broker = keys.pop("broker", ONE_LIST)
    keys = {**TRACKED, "max_replicas": 30, "schedule": schedule, **keys}
    (found,) = of_kind(manifests_of(fleet_of(**one_variant(keys, broker=broker))), "ScaledObject")
    assert_accepted([found])
    spec: dict[str, Any] = found["spec"]
    return spec


def formula_of(spec: dict[str, Any]) -> str:
    found: str = spec["advanced"]["scalingModifiers"]["formula"]
    return found


def windows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [trigger for trigger in spec["triggers"] if trigger["type"] == "cron"]


# KEDA's cron by its rule


def _matches(schedule: str, local: datetime) -> bool:
    """Whether a schedule of numbers, lists and ranges names the minute that a clock shows."""
    values = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
    for field, value in zip(schedule.split(), values, strict=True):
        spans = [part.split("-") for part in field.split(",")]
        if field != "*" and not any(int(span[0]) <= value <= int(span[-1]) for span in spans):
            return False
    return True


@functools.cache
def minutes(zone: str, begin: datetime, days: int) -> tuple[tuple[datetime, datetime], ...]:
    """Each minute of some days, and what clocks show then."""
    place = zoneinfo.ZoneInfo(zone)
    return tuple(
        (moment, moment.astimezone(place))
        for moment in (begin + timedelta(minutes=number) for number in range(days * 1440))
    )


@functools.cache
def open_minutes(start: str, end: str, zone: str, begin: datetime, days: int) -> tuple[bool, ...]:
    """Whether KEDA takes the window for open, at each minute of some days. It looks ahead further than that."""
    course = minutes(zone, begin, days + 10)
    found, first = [], ""
    # From the end on: what comes first after a minute is known when that minute is reached.
    for _moment, local in reversed(course):
        found.append(first == "end")
        first = "end" if _matches(end, local) else "start" if _matches(start, local) else first
    return tuple(reversed(found))[: days * 1440]


MONDAY_OF_SPRING = datetime(2027, 3, 22, tzinfo=UTC)
MONDAY_OF_AUTUMN = datetime(2027, 10, 25, tzinfo=UTC)


def meant(window: dict[str, Any], local: datetime) -> bool:
    """Whether a person who reads the window would say that it is open."""
    (low, begins), (high, ends) = (window["start"].split()[:2], window["end"].split()[:2])
    now, first, last = local.hour * 60 + local.minute, int(begins) * 60 + int(low), int(ends) * 60 + int(high)
    days = window["start"].split()[4]
    day = local.isoweekday() % 7
    if first < last:
        return first <= now < last and (days == "*" or int(days[0]) <= day <= int(days[-1]))
    return now >= first or now < last


@pytest.mark.parametrize("outside", [0, 1], ids=["KEDA 2.18 and later", "KEDA before 2.18"])
@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Berlin", MONDAY_OF_SPRING),
        ("Europe/Berlin", MONDAY_OF_AUTUMN),
        ("America/New_York", MONDAY_OF_AUTUMN + timedelta(days=7)),
    ],
    ids=["spring", "autumn", "another zone"],
)
def test_at_each_minute_of_a_week_the_pods_are_within_floor_and_ceiling(
    zone: str, begin: datetime, outside: int
) -> None:
    """Daylight saving changes in one of these weeks."""
    week = [{**window, "timezone": zone} for window in WEEK]
    spec = spec_with(week)
    formula, crons = formula_of(spec), windows_of(spec)
    courses = [
        open_minutes(*(str(one["metadata"][key]) for key in ("start", "end", "timezone")), begin, 7) for one in crons
    ]
    wishes: dict[tuple[Any, ...], float] = {}
    for number, (_moment, local) in enumerate(minutes(zone, begin, 7)):
        for work in ((0, 0, 0), (0, 3, 2), (900, 9, 7)):
            states = tuple(course[number] for course in courses)
            if (states, work) not in wishes:
                readings = {
                    one["name"]: float(one["metadata"]["desiredReplicas"]) if state else outside
                    for one, state in zip(crons, states, strict=True)
                }
                wishes[states, work] = asked(
                    formula, {**dict(zip(("backlog", "inflight", "pods"), work, strict=True)), **readings}
                )
            wish, hold = wishes[states, work], min(work[1] / 2, max(work[2], 1))
            day, night, pause = (meant(window, local) for window in week)
            assert wish >= (4 if day else 0), local
            assert wish <= max(hold, 3 if night else 0 if pause else math.inf), local
            if not (day or night or pause):
                assert wish == math.floor(max(work[0] / 40, hold) * 1000) / 1000, local
    assert len(wishes) == 4 * 3


WORK = st.tuples(st.integers(0, 900), st.integers(0, 60), st.integers(0, 40))


@settings(max_examples=examples(40))
@given(
    st.sampled_from(BROKERS),
    st.booleans(),
    st.sampled_from([{}, {"list_length": 1, "concurrency": 1, "longest_eta_seconds": 0}, {"hold": "pods"}]),
    st.integers(1, 28),
    st.integers(0, 28),
    WORK,
    st.sampled_from(["day", "night", ""]),
    st.sampled_from([0, 1]),
)
def test_whatever_the_broker_a_ceiling_cuts_no_busy_pod_and_a_floor_is_reached(
    broker: dict[str, Any],
    sees: bool,
    keys: dict[str, Any],
    floor: int,
    ceiling: int,
    work: tuple[int, int, int],
    now: str,
    outside: int,
) -> None:
    schedule = [
        {"start": "0 8 * * *", "end": "0 18 * * *", "min_replicas": floor},
        {"start": "0 20 * * *", "end": "0 6 * * *", "max_replicas": ceiling},
    ]
    seen = {} if sees else {"idempotent": False, "min_replicas": 0, "accept_risks": ["invisible-work"]}
    spec = spec_with(schedule, broker=broker, **keys, **seen)
    formula, (day, night) = formula_of(spec), windows_of(spec)
    backlog, held, pods = work
    readings: dict[str, float] = {"pods": pods}
    for trigger in spec["triggers"]:
        name = trigger["name"]
        # Messages are in the first list of each kind: what matters is the sum.
        first = not any(other.startswith(name.split("_")[0]) for other in readings)
        if name.startswith("backlog"):
            readings[name] = backlog if first else 0
        if name.startswith(("inflight", "total")):
            readings[name] = (held if name.startswith("inflight") else backlog + held) if first else 0
    for one, name in ((day, "day"), (night, "night")):
        readings[one["name"]] = float(one["metadata"]["desiredReplicas"]) if now == name else outside
    assert names_in(formula) == {trigger["name"] for trigger in spec["triggers"]}
    wish = asked(formula, readings)
    hold = min(held / (1 if keys.get("hold") == "pods" else 2), max(pods, 1)) if sees else 0
    if keys.get("concurrency") == 1:
        hold = min(held, max(pods, 1)) if sees else 0
    assert wish >= math.floor(hold * 1000) / 1000
    if now == "day":
        assert next_pods(wish, pods) >= floor or pods == 0
    if now == "night" and pods > ceiling:
        assert next_pods(wish, pods) <= max(ceiling, math.ceil(hold))
    if now == "night":
        assert wish <= max(ceiling, hold)


@pytest.mark.parametrize("floor", range(1, 30))
def test_a_floor_is_not_missed_by_the_tenth_that_the_autoscaler_does_not_act_on(floor: int) -> None:
    spec = spec_with([{**DAY, "min_replicas": floor}])
    for running in range(1, 31):
        pods = running
        for _round in range(3):
            readings = {"backlog": 0, "inflight": 0, "pods": pods, "schedule_0": max(2, floor)}
            pods = next_pods(asked(formula_of(spec), readings), pods)
        # More than a tenth above is what the autoscaler takes away.
        assert floor <= pods <= max(floor * 1.12 + 1, 1)


@pytest.mark.parametrize("ceiling", range(1, 29))
def test_a_ceiling_is_not_missed_by_the_tenth_either(ceiling: int) -> None:
    spec = spec_with([{**NIGHT, "max_replicas": ceiling}])
    for running in range(1, 31):
        pods = running
        for _round in range(3):
            readings = {"backlog": 5000, "inflight": 0, "pods": pods, "schedule_0_ceiling": 2}
            pods = next_pods(asked(formula_of(spec), readings), pods)
        assert pods <= ceiling


@pytest.mark.parametrize("number", range(1, 29))
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_ceiling_at_its_floor_keeps_no_pod_below_it(number: int, more: int) -> None:
    spec = spec_with([{**DAY, "min_replicas": number, "max_replicas": number + more}])
    for backlog in (0, 5000):
        for running in range(1, 31):
            course = [running]
            for _round in range(6):
                readings = {"backlog": backlog, "inflight": 0, "pods": course[-1], "schedule_0_ceiling": max(2, number)}
                course.append(next_pods(asked(formula_of(spec), readings), course[-1]))
            assert number <= course[-1] <= (number + more) * 1.12 + 1
            assert course[-1] == course[-2], "it comes to rest"


def test_where_the_server_acts_on_each_pod_the_formula_has_no_tenth_in_it() -> None:
    versions = {"kubernetes": "1.35", "keda": "2.20"}
    schedule = [{**DAY, "min_replicas": 20}, {**NIGHT, "max_replicas": 10}]
    fleet = fleet_of(
        **one_variant({**TRACKED, "max_replicas": 30, "schedule": schedule}, broker=ONE_LIST), versions=versions
    )
    spec = of_kind(manifests_of(fleet), "ScaledObject")[0]["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert (behavior["scaleUp"]["tolerance"], behavior["scaleDown"]["tolerance"]) == ("0", "0")
    assert "1.101" not in formula_of(spec)


def test_one_list_alone_gets_the_formula_that_a_window_needs() -> None:
    plain = scaled_object_with({"idempotent": False}, broker=ONE_LIST)["spec"]
    assert "scalingModifiers" not in plain["advanced"]
    scaled = scaled_object_with({"idempotent": False, "schedule": [DAY]}, broker=ONE_LIST)["spec"]
    assert formula_of(scaled) == "max(backlog / 40, (schedule_0 > 1 ? 4 : 0))"
    # What KEDA's fallback multiplies is pods, as before.
    assert scaled["fallback"] == plain["fallback"]
    assert [item["metadata"].get("listLength") for item in scaled["triggers"]] == ["1", None]


def test_a_boost_passes_a_ceiling_and_leaves_the_schedule_as_it_was() -> None:
    item = scaled_object_with({"schedule": WEEK, "min_replicas": 0, "idempotent": True}, broker=ONE_LIST)
    raised = boosted(item, Boost(8, NOW, NOW + timedelta(hours=1)))
    readings = {"backlog": 0, "inflight": 0, "pods": 3, "schedule_0": 0, "schedule_1_ceiling": 0, "schedule_2_pause": 2}
    assert asked(formula_of(raised["spec"]), {**readings, "queueops_boost": 8}) == 8
    assert unboosted(raised) == item


@pytest.mark.parametrize("floor", [2, 11, 20])
def test_a_boost_is_not_missed_by_the_tenth_and_can_be_taken_back(floor: int) -> None:
    item = scaled_object_with({"schedule": WEEK, "min_replicas": 0, "max_replicas": 30, "idempotent": True})
    raised = boosted(item, Boost(floor, NOW, NOW + timedelta(hours=1)))
    for running in range(1, 31):
        readings = dict.fromkeys(names_in(formula_of(raised["spec"])), 0.0)
        readings |= {"pods": running, "queueops_boost": floor}
        assert next_pods(asked(formula_of(raised["spec"]), readings), running) >= floor
    assert unboosted(raised) == item


# Refused


def refused(*schedule: Any, **keys: Any) -> list[str]:
    return problems_with({**TRACKED, "max_replicas": 30, "schedule": list(schedule), **keys})


PATH = "celery_workers_config.billing.default.schedule"

FAULTS: list[tuple[str, Callable[[], list[str]], list[str]]] = [
    ("no start", lambda: refused({"end": "0 6 * * *", "max_replicas": 1}), [f"{PATH}[0]: a window needs start; write"]),
    (
        "only a floor",
        lambda: refused({"min_replicas": 2}),
        [f"{PATH}[0]: a window needs start, end; write one such as"],
    ),
    ("an empty window", lambda: refused({}), [f"{PATH}[0]: a window needs start, end, one of min_replicas"]),
    ("four fields", lambda: refused({**DAY, "start": "0 8 * *"}), [f"{PATH}[0].start: a schedule has five fields"]),
    ("a number", lambda: refused({**DAY, "start": 8}), [f"{PATH}[0].start: 8 is not valid here"]),
    ("a zone that is not", lambda: refused({**DAY, "timezone": "Europe/Berln"}), [f"{PATH}[0].timezone: there is no"]),
    ("a mistyped key", lambda: refused({**DAY, "min_replica": 1}), [f"{PATH}[0].min_replica: schedule"]),
    ("nothing", lambda: refused({**DAY, "min_replicas": None}), [f"{PATH}[0]: the window changes nothing"]),
    ("start and end are one", lambda: refused({**DAY, "end": "0  8 * * 1-5"}), [f"{PATH}[0].end: start and end are"]),
    ("floor above the most", lambda: refused({**DAY, "min_replicas": 31}), [f"{PATH}[0].min_replicas: 31 pods are"]),
    (
        "floor above ceiling",
        lambda: refused({**DAY, "max_replicas": 3}),
        [f"{PATH}[0].min_replicas: min_replicas 4 is above max_replicas 3 of the same window"],
    ),
    (
        "ceiling below the fewest",
        lambda: refused(NIGHT, min_replicas=4),
        [f"{PATH}[0].max_replicas: min_replicas 4 of variant default"],
    ),
    ("paused and a floor", lambda: refused({**DAY, "paused": True}), [f"{PATH}[0].paused: paused starts no pod"]),
    (
        "every five minutes",
        lambda: refused({**DAY, "start": "*/5 * * * *", "end": "2-59/5 * * * *"}),
        [f"{PATH}[0].start: '*/5 * * * *' to '2-59/5 * * * *' are more than 24 windows a day"],
    ),
    (
        "overlap",
        lambda: refused(DAY, {**NIGHT, "start": "0 17 * * *"}),
        [f"{PATH}[1]: this window (daily 17:00 to 06:00 Europe/Berlin) overlaps {PATH}[0] (Mon-Fri 08:00 to 18:00 Eur"],
    ),
    (
        "overlap of two zones",
        lambda: refused(DAY, {**NIGHT, "start": "0 11 * * *", "end": "0 20 * * *", "timezone": "America/New_York"}),
        [f"{PATH}[1]: this window (daily 11:00 to 20:00 America/New_York) overlaps {PATH}[0]"],
    ),
    (
        "a start that is skipped",
        lambda: refused({**DAY, "start": "30 2 * * *", "end": "0 9 * * *"}),
        [f"{PATH}[0].start: '30 2 * * *' comes on Sun 2026-03-29 02:30, which daylight saving skips in Europe/Berlin"],
    ),
    (
        "an end that is skipped, at midnight",
        lambda: refused({**NIGHT, "start": "0 22 * * *", "end": "0 0 * * *", "timezone": "Africa/Cairo"}),
        [f"{PATH}[0].end: '0 0 * * *' comes on Fri 2026-04-24 00:00, which daylight saving skips"],
    ),
    (
        "more ends than starts",
        lambda: refused({**NIGHT, "start": "0 22 * * 1-5"}),
        [f"{PATH}[0].end: end comes on Sat 2026-01-03 06:00 and on Sun 2026-01-04 06:00, and start does not come"],
    ),
    (
        "beside a trigger on CPU",
        lambda: refused(
            NIGHT,
            extra_triggers=[{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
            resources={"requests": {"cpu": "1"}},
        ),
        [f"{PATH}[0].max_replicas: the trigger cpu of variant default"],
    ),
    (
        "without a scaler",
        lambda: problems_with({"schedule": [DAY]}),
        [f"{PATH}: schedule of variant default of service billing has no effect, because nothing scales it. Write ena"],
    ),
    (
        "an HPA",
        lambda: problems_with({"scaler": "hpa", "min_replicas": 1, "schedule": [DAY]}),
        [f"{PATH}: schedule of variant default of service billing has no effect, because an HPA knows no times"],
    ),
    (
        "a trigger with our name",
        lambda: refused(
            DAY,
            extra_triggers=[
                {
                    "type": "cron",
                    "name": "schedule_0",
                    "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *", "desiredReplicas": "3"},
                }
            ],
        ),
        ["celery_workers_config.billing.default.extra_triggers: the trigger name schedule_0 is taken"],
    ),
]


@pytest.mark.parametrize(("find", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_one_mistake_is_one_problem_at_the_place_where_it_was_written(
    find: Callable[[], list[str]], expected: list[str]
) -> None:
    found = find()
    assert len(found) == len(expected), found
    for problem, text in zip(found, expected, strict=True):
        assert problem.startswith(text), problem


@pytest.mark.parametrize(
    "schedule",
    [
        [{**DAY, "start": "30 2 * * 1-5", "end": "0 9 * * 1-5"}],
        [{**NIGHT, "start": "0 22 * * 1-5", "end": "0 6 * * 2-6"}],
        [DAY, {**NIGHT, "start": "0 18 * * 1-5", "end": "0 8 * * 2-6"}],
        [{**DAY, "start": "0 0 * * 1-5", "end": "0 0 * * 2-6", "timezone": "UTC"}],
        [{**PAUSE, "start": "0 0 1 * *", "end": "0 0 2 * *", "timezone": "UTC"}],
    ],
    ids=["Sundays alone skip an hour", "over midnight", "one ends as the next begins", "whole days", "once a month"],
)
def test_what_comes_as_it_is_meant_is_taken(schedule: list[dict[str, Any]]) -> None:
    assert spec_with(schedule)["triggers"][-1]["type"] == "cron"


def test_a_mistake_in_shared_defaults_is_said_once_and_variants_without_keda_are_named() -> None:
    services = {"billing": {"image": IMAGE, "idempotent": True}}
    variables: dict[str, Any] = {"services": services, "broker": ONE_LIST}
    variables["config"] = {"billing": {name: {"enable_keda": True} for name in ("a", "b")} | {"c": {}}}
    wrong = problems_of(**variables, queue_defaults={"schedule": [{**DAY, "start": "61 8 * * *"}]})
    assert [problem.partition(":")[0] for problem in wrong] == ["celery_workers_queue_defaults.schedule[0].start"]
    warnings = fleet_of(**variables, queue_defaults={"schedule": [DAY]}).warnings
    assert [text for text in warnings if "schedule" in text] == [
        "celery_workers_queue_defaults.schedule: schedule of variant c of service billing has no effect, because "
        "nothing scales it. Write the schedule on the variants that KEDA scales alone."
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"schedule": [{**DAY, "min_replicas": 1}], "min_replicas": 1}, "keeps as many pods at every time"),
        ({"schedule": [{**NIGHT, "max_replicas": 30}]}, "never has more than max_replicas 30 pods"),
        (
            {"schedule": [{**NIGHT, "start": "0 22 * * 1-5", "end": "0 6 * * 1-5"}]},
            "goes on from Fri 2026-01-02 22:00 to Mon 2026-01-05 06:00",
        ),
        ({"schedule": [PAUSE], "min_replicas": 1}, "so 1 pod goes on taking messages in this window"),
    ],
    ids=["a floor", "a ceiling", "nights that go on over the weekend", "a pause"],
)
def test_a_window_that_changes_less_than_it_says_is_told(keys: dict[str, Any], said: str) -> None:
    warnings = fleet_of(**one_variant({**TRACKED, "max_replicas": 30, **keys})).warnings
    assert any(said in text and f"{PATH}[0]" in text for text in warnings), warnings


def test_the_users_own_cron_triggers_are_looked_at_in_the_same_way() -> None:
    night = {"timezone": "Europe/Berlin", "start": "30 2 * * *", "end": "0 6 * * *", "desiredReplicas": "3"}
    keys = {**TRACKED, "schedule": [DAY], "extra_triggers": [{"type": "cron", "metadata": night}]}
    assert any(
        text.startswith("celery_workers_config.billing.default.extra_triggers[0].metadata.start: '30 2 * * *' comes on")
        for text in fleet_of(**one_variant(keys)).warnings
    )


# Told


def test_windows_are_told_in_words_in_the_annotation_and_in_the_table() -> None:
    fleet = fleet_of(**one_variant({**TRACKED, "schedule": WEEK}, broker=ONE_LIST))
    words = [
        "Mon-Fri 08:00 to 18:00 Europe/Berlin: at least 4 pods",
        "daily 22:00 to 06:00 Europe/Berlin: none starts above 3 pods",
        "Sun 06:30 to 07:30 Europe/Berlin: no pod starts for messages that wait",
    ]
    (scaler,) = of_kind(manifests_of(fleet), "ScaledObject")
    assert scaler["metadata"]["annotations"]["celery.queueops.io/formula"].endswith(f" {'. '.join(words)}.")
    (row,) = worker_table(fleet)
    assert row["sees"] == "backlog, in-flight, schedule"
    assert row["sizing"][-3:] == [f"billing.default: schedule: {text}" for text in words]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("0 22 * * 1-5", "0 6 * * 2-6", "Mon-Fri 22:00 to Tue-Sat 06:00 UTC"),
        ("15 7 * * 1,3,5", "0  9 * * 1,3,5", "Mon,Wed,Fri 07:15 to 09:00 UTC"),
        ("0 0 1 * *", "0 0 2 * *", "from '0 0 1 * *' to '0 0 2 * *' UTC"),
    ],
)
def test_a_time_is_told_as_people_say_it(start: str, end: str, words: str) -> None:
    fleet = fleet_of(**one_variant({**TRACKED, "schedule": [{"start": start, "end": end, "min_replicas": 2}]}))
    assert worker_table(fleet)[0]["sizing"][-1] == f"billing.default: schedule: {words}: at least 2 pods"


def test_status_knows_what_a_window_asks_for_although_nobody_read_it() -> None:
    # Monday, 14:00 UTC.
    keys = {**KEYS, "schedule": [DAY, {**NIGHT, "max_replicas": 1}]}
    site = Site(fleet_with(keys), numbers=None, answers={WORKER: Answer(waiting=25, held=0)})
    assert (site.variant.formula.result, site.variant.formula.wants) == (4, 4)
    keys["schedule"] = [{**NIGHT, "start": "0 14 * * *", "timezone": "UTC", "max_replicas": 1}]
    site = Site(fleet_with(keys), numbers=None, answers={WORKER: Answer(waiting=25, held=4)})
    assert site.variant.formula.wants == 2
    assert site.rules == []
    told = " ".join(" ".join(page([site.status()], NOW)).split())
    assert "; now daily 14:00 to 06:00 UTC: none starts above 1 pod" in told


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Africa/Cairo"])
@pytest.mark.parametrize(
    "window", [("0 8 * * 1-5", "0 18 * * 1-5"), ("30 22 * * 0", "30 5 * * 1"), ("30 2 * * *", "0 9 * * *")]
)
def test_status_takes_a_window_for_open_exactly_when_keda_does(zone: str, window: tuple[str, str]) -> None:
    begin = datetime(2027, 3, 24, tzinfo=UTC)
    expected = open_minutes(*window, zone, begin, 7)
    for number in range(0, 7 * 1440, 30):
        moment = begin + timedelta(minutes=number)
        assert is_open(*window, zone, moment) == expected[number], moment
