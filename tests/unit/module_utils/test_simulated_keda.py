# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated KEDA, rule by rule: activation, cooldown, idle pods, fallback, pauses, formulas."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._simulation.cron import CronReading
from ansible_collections.queueops.celery.plugins.module_utils._simulation.keda import Keda
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import MONDAY
from ansible_collections.queueops.celery.plugins.module_utils._simulation.scaled_object import read_scaled_object

LIST = {"type": "redis", "name": "backlog", "metadata": {"listName": "q", "listLength": "5"}}
#: What does not connect when it is made.
QUERY = {"type": "prometheus", "name": "backlog", "metadata": {"query": "q", "threshold": "5"}}
FALLBACK = {"failureThreshold": 3, "replicas": 4}
PAUSED = "autoscaling.keda.sh/paused"


def keda(triggers: Any = None, annotations: Any = None, version: Any = None, active: Any = None, **spec: Any) -> Keda:
    whole = {"triggers": triggers or [LIST], "maxReplicaCount": 10, "cooldownPeriod": 60, **spec}
    return Keda(read_scaled_object(whole, annotations), version, active)


def written(scaler: Keda, now: float, replicas: int, *numbers: float | None, ready: int = 1) -> int | None:
    return scaler.poll(now, replicas, ready, numbers).replicas


def formula(text: str, **rest: Any) -> dict[str, Any]:
    return {"advanced": {"scalingModifiers": {"formula": text, "target": "1", **rest}}}


@pytest.mark.parametrize(
    ("spec", "replicas", "number", "wanted"),
    [
        ({}, 0, 1.0, 1),
        ({}, 0, 0.0, None),
        ({"minReplicaCount": 3}, 0, 1.0, 3),
        ({"minReplicaCount": 3}, 1, 0.0, 3),
        ({"minReplicaCount": 3}, 1, 1.0, None),
        ({"minReplicaCount": 3, "idleReplicaCount": 0}, 2, 1.0, 3),
        ({"minReplicaCount": 3, "idleReplicaCount": 0}, 3, 0.0, 0),
        ({"minReplicaCount": 3, "idleReplicaCount": 0}, 0, 0.0, None),
        ({}, 7, 0.0, 0),
        ({"minReplicaCount": 1}, 7, 0.0, None),
        (formula("backlog / 40", activationTarget="0.5"), 0, 20.0, None),
        (formula("backlog / 40", activationTarget="0.5"), 0, 21.0, 1),
        (formula("backlog / 5000"), 0, 4.0, None),
    ],
)
def test_what_one_look_writes(spec: Any, replicas: int, number: float, wanted: int | None) -> None:
    assert written(keda(**spec), 100.0, replicas, number) == wanted


def test_a_trigger_wakes_above_its_activation_value() -> None:
    scaler = keda([{**LIST, "metadata": {**LIST["metadata"], "activationListLength": "10"}}])  # type: ignore[dict-item]
    assert (written(scaler, 1.0, 0, 10.0), written(scaler, 2.0, 0, 11.0)) == (None, 1)


def test_zero_comes_a_whole_cooldown_after_the_last_look_that_saw_work() -> None:
    scaler = keda()
    looks = [(0.3, 5.0), (15.3, 5.0), *((15.3 + 15 * number, 0.0) for number in range(1, 5))]
    assert [written(scaler, now, 3, number) for now, number in looks] == [None, None, None, None, None, 0]


def test_a_new_scaled_object_waits_for_its_first_cooldown() -> None:
    scaler = keda(initialCooldownPeriod=300)
    assert [written(scaler, now, 2, 0.0) for now in (15.3, 300.0, 300.3)] == [None, None, 0]


def test_an_outage_of_a_broker_freezes_what_connects() -> None:
    scaler = keda(fallback=FALLBACK)
    assert [written(scaler, 15.0 * number, 2, None) for number in range(1, 20)] == [None] * 19
    assert scaler.metrics(2, 2, [None])[0].value is None
    assert written(scaler, 600.0, 2, 0.0) == 0, "nothing refreshed the time of the last activity"


@pytest.mark.parametrize(
    ("behavior", "current", "value"),
    [
        ("static", 7, 20.0),
        ("currentReplicas", 7, 35.0),
        ("currentReplicasIfHigher", 7, 35.0),
        ("currentReplicasIfHigher", 2, 20.0),
        ("currentReplicasIfLower", 2, 10.0),
        ("currentReplicasIfLower", 7, 20.0),
    ],
)
def test_a_fallback_holds_after_its_threshold(behavior: str, current: int, value: float) -> None:
    scaler = keda([QUERY], fallback={**FALLBACK, "behavior": behavior})
    values = [scaler.metrics(current, current, [None])[0].value for _ in range(5)]
    assert values == [None, None, None, value, value]
    assert scaler.metrics(current, current, [1.0])[0].value == 1.0
    assert scaler.metrics(current, current, [None])[0].value is None


@pytest.mark.parametrize(("version", "wanted"), [(None, 1), ((2, 20), 1), ((2, 18), None)])
def test_a_fallback_wakes_pods_since_KEDA_2_19(version: Any, wanted: int | None) -> None:
    scaler = keda([QUERY], fallback=FALLBACK, version=version)
    assert [written(scaler, 15.0 * number, 0, None) for number in range(4)] == [None, None, None, wanted]


def test_a_fallback_of_no_pods_lets_an_outage_scale_to_zero() -> None:
    assert written(keda([QUERY], fallback={**FALLBACK, "replicas": 0}), 100.0, 3, None) == 0


def test_a_formula_and_its_fallback_are_in_units_of_the_target() -> None:
    scaler = keda([QUERY], fallback=FALLBACK, **formula("backlog / 10"))
    values = [scaler.metrics(2, 2, [number])[0].value for number in (25.0, None, None, None, None)]
    assert values == [2.5, None, None, None, 4.0]
    odd = keda([QUERY], fallback=FALLBACK, **formula("backlog / 10", target="1.5"))
    assert [odd.metrics(2, 2, [None])[0].value for _ in range(5)] == [None] * 5


def test_a_formula_does_without_a_failed_trigger_where_it_says_so() -> None:
    other = {**QUERY, "name": "rate"}
    spec = formula("max(backlog / 10, rate ?? 3)")
    scaler = keda([QUERY, other], fallback={**FALLBACK, "behavior": "scalingModifiers"}, **spec)
    values = [scaler.metrics(2, 2, [5.0, None])[0].value for _ in range(5)]
    assert values == [None, None, None, 3.0, 3.0]
    nothing = keda([QUERY], fallback={**FALLBACK, "behavior": "scalingModifiers"}, **formula("backlog"))
    assert [nothing.metrics(2, 2, [None])[0].value for _ in range(4)][-1] == 4.0


def test_a_target_for_all_pods_is_divided_among_those_that_are_ready() -> None:
    trigger = {**QUERY, "metricType": "Value"}
    scaler = keda([trigger], fallback={"failureThreshold": 0, "replicas": 4})
    assert scaler.metrics(2, 2, [None])[0].value == 10.0
    assert scaler.metrics(2, 0, [None])[0].value is None


@pytest.mark.parametrize(
    ("annotations", "replicas", "number", "wanted"),
    [
        ({PAUSED: "true"}, 0, 9.0, None),
        ({PAUSED: "false"}, 0, 9.0, 1),
        ({PAUSED: "yes"}, 0, 9.0, None),
        ({f"{PAUSED}-replicas": "5"}, 2, 9.0, 5),
        ({f"{PAUSED}-scale-out": "true"}, 0, 9.0, None),
        ({f"{PAUSED}-scale-in": "true"}, 3, 0.0, None),
        ({"autoscaling.keda.sh/force-activation": "true"}, 0, 0.0, 1),
    ],
)
def test_annotations_pause_and_wake(annotations: Any, replicas: int, number: float, wanted: int | None) -> None:
    assert written(keda(annotations=annotations), 500.0, replicas, number) == wanted


def test_a_pause_of_one_direction_is_in_the_behavior_that_the_HPA_gets() -> None:
    found = read_scaled_object({"triggers": [LIST]}, {f"{PAUSED}-scale-in": "true"})
    assert found.behavior == {"scaleDown": {"selectPolicy": "Disabled"}}


def test_CPU_alone_always_counts_as_active() -> None:
    scaler = keda([{"type": "cpu", "metadata": {"value": "80"}}])
    assert written(scaler, 500.0, 3) is None
    assert written(scaler, 500.0, 0) == 1


def test_a_number_that_is_kept_from_the_last_look_is_what_the_HPA_gets() -> None:
    scaler = keda([{**QUERY, "useCachedMetrics": True}])
    written(scaler, 0.3, 1, 8.0)
    assert scaler.metrics(1, 1, [50.0])[0].value == 8.0


@pytest.mark.parametrize("keda_version", [(2, 17), (2, 18)])
@pytest.mark.parametrize("wanted", [1, 3])
def test_a_cron_trigger_wakes_pods_in_its_time_only(keda_version: Any, wanted: int) -> None:
    """Before KEDA 2.18 it reads one pod outside of its time, and still does not count as active there."""
    metadata = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 10 * * *", "desiredReplicas": str(wanted)}
    reading = CronReading(metadata, MONDAY, keda_version)
    scaler = keda([{"type": "cron", "metadata": metadata}], version=keda_version, active=-1e9)
    at = {hour: reading(hour * 3600.0) for hour in (7, 9, 11)}
    outside = 1 if keda_version < (2, 18) else 0
    assert at == {7: outside, 9: wanted, 11: outside}
    assert written(scaler, 7 * 3600.0, 0, at[7]) is None
    assert written(scaler, 9 * 3600.0, 0, at[9]) == 1
    assert written(scaler, 11 * 3600.0, wanted, at[11]) == 0
