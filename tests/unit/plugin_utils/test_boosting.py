# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Floors that end by themselves, over a namespace in memory, and what deploys make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.boosts import TRIGGER, Boost
from ansible_collections.queueops.celery.plugins.module_utils._check.cron import check_schedule
from ansible_collections.queueops.celery.plugins.module_utils._model.names import BOOST_ANNOTATION, FORMULA_ANNOTATION
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.thorough import examples
from tests.unit.formulas import asked
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, operate, refused, run

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)
TRACKED = {"enable_keda": True, "idempotent": True, "max_replicas": 12}
#: One list and nothing else, so that there is no formula.
PLAIN = {"enable_keda": True, "min_replicas": 2, "max_replicas": 12}
FLEET: Object = {
    "services": {
        "lms": {"image": IMAGE, "app": "lms.celery", "longest_task_seconds": 60, "queue_name": "{service}.{variant}"}
    },
    "config": {"lms": {"default": PLAIN, "high": TRACKED, "low": {"replicas": 2}}},
    "broker": {"host": "redis"},
}
HIGH: Object = {"only": ["lms/high"]}


def at(hours: float = 0) -> Callable[[], datetime]:
    return lambda: NOW + timedelta(hours=hours)


def deployed(**variables: Any) -> ModelCluster:
    cluster = ModelCluster()
    done(run(cluster, clock=at(-1), **{**FLEET, **variables}))
    return cluster


def scaler(cluster: ModelCluster, deployment: str = "lms-worker-high") -> Object:
    return cluster.objects["ScaledObject", f"{deployment}-scaledobject"]


def window(item: Object) -> Object:
    """Metadata of the trigger of a boost; empty if there is none."""
    return next((one["metadata"] for one in item["spec"]["triggers"] if one.get("name") == TRIGGER), {})


def boost(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    given_ = {"boost_min": 10, "boost_until": "2h", **variables}
    return operate(cluster, "boost", clock=at(hours), **{**FLEET, **given_})


def deploy(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    return run(cluster, clock=at(hours), **{**FLEET, **variables})


def pods(item: Object, **numbers: float) -> float:
    """What the formula of a ScaledObject asks for."""
    names = {one["name"]: 0.0 for one in item["spec"]["triggers"]}
    return float(asked(item["spec"]["advanced"]["scalingModifiers"]["formula"], {**names, **numbers}))


def test_a_boost_is_a_window_of_cron_that_raises_the_formula_and_ends_by_itself() -> None:
    cluster = deployed()
    before = scaler(cluster)["spec"]["advanced"]["scalingModifiers"]["formula"]
    found = done(boost(cluster, **HIGH, boost_reason="exam"))
    assert found["updated"] == ["ScaledObject lms-worker-high-scaledobject"]
    item = scaler(cluster)
    assert window(item) == {
        "timezone": "UTC",
        "start": "0 12 30 11 *",
        "end": "1 14 30 11 *",
        "desiredReplicas": "10",
    }
    assert before in item["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert pods(item, **{TRIGGER: 10}) == 10
    # Outside of its time KEDA's cron reads 0, or 1 before KEDA 2.18.
    assert pods(item) == pods(item, **{TRIGGER: 1}) == 0
    told = json.loads(item["metadata"]["annotations"][BOOST_ANNOTATION])
    assert (told["by"], told["min"], told["reason"], told["until"]) == ("anna", 10, "exam", "2026-11-30T14:00:30Z")
    assert "At least 10 pods until 2026-11-30 14:00 UTC (boost)." in item["metadata"]["annotations"][FORMULA_ANNOTATION]
    assert found["notes"] == [
        "lms/high: at least 10 pods by anna until 2026-11-30 14:00 UTC (exam); end it with ansible-playbook "
        "queueops.celery.boost -e celery_workers_only=lms/high -e celery_workers_boost_min=0"
    ]


def test_one_pod_is_told_from_no_window() -> None:
    cluster = deployed()
    done(boost(cluster, **HIGH, boost_min=1))
    item = scaler(cluster)
    read = float(window(item)["desiredReplicas"])
    assert pods(item, **{TRIGGER: read}) == 1
    assert pods(item) == pods(item, **{TRIGGER: 1}) == 0


def test_where_there_is_no_formula_the_most_of_all_triggers_counts() -> None:
    broker = {"type": "rabbitmq", "host": "rabbit"}
    cluster = deployed(broker=broker)
    done(boost(cluster, only=["lms/default"], boost_min=5, broker=broker))
    item = scaler(cluster, "lms-worker")
    assert window(item)["desiredReplicas"] == "5"
    assert "scalingModifiers" not in item["spec"]["advanced"]


def test_deploys_keep_a_boost_until_its_end_and_the_first_one_after_takes_it_away() -> None:
    cluster = deployed()
    before = scaler(cluster)["spec"]
    done(boost(cluster, **HIGH))
    during = done(deploy(cluster, hours=1.9))
    assert not during["changed"]
    assert any(text.startswith("one: lms/high: at least 10 pods by anna") for text in during["warnings"])
    after = done(deploy(cluster, hours=2))
    assert after["updated"] == ["ScaledObject lms-worker-high-scaledobject"]
    assert "lms/high: its boost has ended; it was at least 10 pods by anna until 2026-11-30 14:00 UTC" in after["notes"]
    assert scaler(cluster)["spec"] == before
    assert BOOST_ANNOTATION not in scaler(cluster)["metadata"]["annotations"]
    last = done(deploy(cluster, hours=3))
    assert not last["changed"]
    assert not any("boost" in text for text in last["notes"])


def test_a_deploy_changes_the_rest_of_a_boosted_scaler() -> None:
    cluster = deployed()
    done(boost(cluster, **HIGH))
    config = {"lms": {**FLEET["config"]["lms"], "high": {**TRACKED, "list_length": 7}}}
    assert done(deploy(cluster, hours=1, config=config))["changed"]
    assert window(scaler(cluster))["desiredReplicas"] == "10"
    assert "/ 7" in scaler(cluster)["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert not done(deploy(cluster, hours=1, config=config))["changed"]


def test_a_boost_brings_nothing_else_of_the_inventory_into_the_cluster() -> None:
    cluster = deployed()
    config = {"lms": {**FLEET["config"]["lms"], "high": {**TRACKED, "max_replicas": 99, "list_length": 7}}}
    done(boost(cluster, **HIGH, config=config))
    assert scaler(cluster)["spec"]["maxReplicaCount"] == 12
    assert "/ 7" not in scaler(cluster)["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert "max_replicas is 12" in refused(boost(cluster, **HIGH, config=config, boost_min=13))


def test_another_boost_takes_the_place_of_the_first_and_0_ends_it() -> None:
    cluster = deployed()
    before = scaler(cluster)["spec"]
    done(boost(cluster, **HIGH))
    assert done(boost(cluster, hours=1, **HIGH, boost_min=4))["changed"]
    assert [one.get("name") for one in scaler(cluster)["spec"]["triggers"]].count(TRIGGER) == 1
    assert pods(scaler(cluster), **{TRIGGER: 4}) == 4
    until = "2026-11-30T18:00Z"
    done(boost(cluster, hours=1, **HIGH, boost_until=until))
    assert not done(boost(cluster, hours=2, **HIGH, boost_until=until))["changed"]
    ended = done(boost(cluster, hours=2, **HIGH, boost_min=0, boost_until=""))
    assert ended["notes"][0].startswith("lms/high: its boost has ended")
    assert scaler(cluster)["spec"] == before
    assert done(boost(cluster, **HIGH, boost_min=0))["notes"] == ["lms/high: it was not boosted"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"boost_min": 13}, "lms/high: celery_workers_boost_min is 13, and max_replicas is 12. Write 12 at most"),
        ({"boost_min": None}, "celery_workers_boost_min: this is not set."),
        ({"boost_until": ""}, "celery_workers_boost_until: this is not set."),
        ({"boost_until": "2026-11-30T11:00Z"}, "celery_workers_boost_until: '2026-11-30T11:00Z' is in the past"),
        ({"boost_until": "301d"}, "celery_workers_boost_until: a boost lasts 300 days at most."),
        ({"only": ["lms/default"], "boost_min": 2}, "celery_workers_boost_min is 2, and min_replicas is 2 already."),
        ({"only": ["lms/low"]}, "lms/low: it has no scaler"),
        ({"only": ["lms/hgih"]}, "service lms has no variant 'hgih'; did you mean 'high'?"),
    ],
)
def test_a_boost_that_cannot_be_is_refused(variables: Object, said: str) -> None:
    cluster = deployed()
    cluster.sent.clear()
    assert said in refused(boost(cluster, **{**HIGH, **variables}))
    assert not cluster.sent


def test_every_variant_that_is_above_its_maximum_is_named() -> None:
    said = refused(boost(deployed(), boost_min=20))
    assert "lms/default: celery_workers_boost_min is 20" in said
    assert "lms/high: celery_workers_boost_min is 20" in said


def test_what_is_paused_is_not_boosted() -> None:
    cluster = deployed()
    done(operate(cluster, "pause", clock=at(), **FLEET, **HIGH))
    assert "lms/high: it is paused, so a floor would do nothing." in refused(boost(cluster, **HIGH))
    cluster = deployed()
    done(operate(cluster, "pause", clock=at(), **FLEET, **HIGH, pause_direction="scale_in"))
    done(boost(cluster, **HIGH))


def after(schedule: str, moment: datetime) -> datetime:
    """The next time of a schedule that comes once a year."""
    minute, hour, day, month = (int(part) for part in schedule.split()[:4])
    for year in range(moment.year, moment.year + 9):
        try:
            found = datetime(year, month, day, hour, minute, tzinfo=UTC)
        except ValueError:
            continue
        if found > moment:
            return found
    raise AssertionError(schedule)


def is_open(found: Boost, moment: datetime) -> bool:
    """Whether KEDA's cron is inside of its window: its next end comes before its next start (KEDA 2.20)."""
    start, end = found.schedules
    return after(end, moment) <= after(start, moment)


@settings(max_examples=examples(200), deadline=None)
@given(
    since=st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),
    minutes=st.integers(1, 300 * 24 * 60),
    seconds=st.integers(0, 59),
    share=st.floats(0, 0.999),
)
def test_the_window_is_open_from_now_to_its_end_and_not_after(
    since: datetime, minutes: int, seconds: int, share: float
) -> None:
    since = since.replace(microsecond=0)
    length = timedelta(minutes=minutes, seconds=seconds)
    found = Boost(3, since, since + length)
    problems = Problems()
    assert all(check_schedule("a", schedule, problems) for schedule in found.schedules), problems.found
    assert is_open(found, since)
    assert is_open(found, since + length * share)
    assert not is_open(found, found.until + timedelta(minutes=1, seconds=1))
    assert not is_open(found, since - timedelta(minutes=2))
