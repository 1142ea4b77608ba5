# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated HPA, rule by rule: wishes, tolerances, windows, policies and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._simulation.autoscaler import Autoscaler, Metric, Pods
from ansible_collections.queueops.celery.plugins.module_utils._simulation.behavior import read_behavior
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = (1, 32), (1, 36)
DISABLED = {"selectPolicy": "Disabled"}


def autoscaler(behavior: Mapping[str, Any] | None = None, least: int = 1, most: int = 100, version: Any = NEW) -> Any:
    return Autoscaler(least, most, read_behavior(behavior, version), version)


def policies(*rows: tuple[str, int, int], **rest: Any) -> dict[str, Any]:
    return {"policies": [{"type": kind, "value": value, "periodSeconds": s} for kind, value, s in rows], **rest}


def course(scaler: Any, wishes: list[float], pods: int = 1, every: float = 15.0) -> list[int]:
    """Pods after each sync, where the metric asks for so many pods with a target of 1."""
    found = []
    for number, wish in enumerate(wishes):
        decision = scaler.sync(every * number, Pods(pods, pods, pods), [Metric(wish, 1.0)])
        pods = pods if decision.replicas is None else decision.replicas
        found.append(pods)
    return found


@pytest.mark.parametrize(
    ("behavior", "growth"),
    [
        (None, [4, 8, 16, 32, 64, 100]),
        ({}, [5, 10, 20, 40, 80, 100]),
        ({"scaleUp": policies(("Pods", 3, 15))}, [4, 7, 10, 13, 16, 19]),
        ({"scaleUp": policies(("Percent", 50, 15))}, [2, 3, 5, 8, 12, 18]),
        ({"scaleUp": policies(("Pods", 3, 15), ("Percent", 50, 15), selectPolicy="Min")}, [2, 3, 5, 8, 11, 14]),
        ({"scaleUp": policies(("Pods", 3, 30))}, [4, 4, 7, 7, 10, 10]),
        ({"scaleUp": {"stabilizationWindowSeconds": 30}}, [1, 1, 5, 10, 20, 40]),
        ({"scaleUp": DISABLED}, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_growth_under_endless_demand(behavior: Any, growth: list[int]) -> None:
    first = [1.0, 1000.0] if behavior and "stabilizationWindowSeconds" in behavior.get("scaleUp", {}) else [1000.0]
    assert course(autoscaler(behavior), [*first, *[1000.0] * (6 - len(first))]) == growth


@pytest.mark.parametrize(
    ("behavior", "shrinking"),
    [
        ({"scaleDown": {"stabilizationWindowSeconds": 0}}, [1, 1, 1, 1]),
        ({"scaleDown": policies(("Pods", 2, 15), stabilizationWindowSeconds=0)}, [18, 16, 14, 12]),
        ({"scaleDown": policies(("Percent", 10, 15), stabilizationWindowSeconds=0)}, [18, 16, 14, 12]),
        ({"scaleDown": policies(("Pods", 2, 30), stabilizationWindowSeconds=0)}, [18, 18, 16, 16]),
        (
            {"scaleDown": policies(("Pods", 2, 15), ("Percent", 50, 15), stabilizationWindowSeconds=0)},
            [10, 5, 2, 1],
        ),
        (
            {
                "scaleDown": policies(
                    ("Pods", 2, 15), ("Percent", 50, 15), stabilizationWindowSeconds=0, selectPolicy="Min"
                )
            },
            [18, 16, 14, 12],
        ),
        ({"scaleDown": {**DISABLED, "stabilizationWindowSeconds": 0}}, [20, 20, 20, 20]),
    ],
)
def test_shrinking_when_the_work_is_gone(behavior: Any, shrinking: list[int]) -> None:
    assert course(autoscaler(behavior), [0.0] * 4, pods=20) == shrinking


@pytest.mark.parametrize(
    ("behavior", "syncs"), [(None, 20), ({}, 20), ({"scaleDown": {"stabilizationWindowSeconds": 60}}, 4)]
)
def test_the_highest_wish_of_the_window_holds(behavior: Any, syncs: int) -> None:
    found = course(autoscaler(behavior), [10.0, *[1.0] * 25], pods=10)
    assert found == [10] * syncs + [1] * (26 - syncs)


def test_without_a_behavior_a_new_peak_renews_the_window() -> None:
    found = course(autoscaler(None), [10.0, *[1.0] * 10, 8.0, *[1.0] * 25], pods=10)
    assert (found[19], found[20], found[30], found[31]) == (10, 8, 8, 1)


@pytest.mark.parametrize(
    ("behavior", "version", "wish", "wanted"),
    [
        (None, NEW, 11.0, 10),
        (None, NEW, 11.01, 12),
        (None, OLD, 11.0, 11),
        (None, NEW, 9.0, 10),
        ({"scaleUp": {"tolerance": "0"}}, NEW, 10.01, 11),
        ({"scaleUp": {"tolerance": "500m"}}, NEW, 15.0, 10),
        ({"scaleUp": {"tolerance": "0"}}, (1, 34), 10.01, 10),
        ({"scaleUp": {"tolerance": 0.0}}, NEW, 9.5, 10),
        ({"scaleDown": {"tolerance": "0", "stabilizationWindowSeconds": 0}}, NEW, 8.9, 9),
    ],
)
def test_small_differences_are_noise_as_the_version_and_the_behavior_say(
    behavior: Any, version: Any, wish: float, wanted: int
) -> None:
    assert course(autoscaler(behavior, version=version), [wish], pods=10) == [wanted]


@pytest.mark.parametrize(("pods", "wanted"), [(0, 0), (1, 3), (12, 10), (5, 5)])
def test_the_limits_hold_before_anything_else(pods: int, wanted: int) -> None:
    assert course(autoscaler({"scaleUp": DISABLED, "scaleDown": DISABLED}, least=3, most=10), [5.0], pods) == [wanted]


def test_an_average_goes_by_the_pods_that_are_counted_and_a_value_by_those_that_are_ready() -> None:
    scaler = autoscaler()
    assert scaler.wish(Pods(4, 2, 1), [Metric(30.0, 10.0)]) == 3
    assert scaler.wish(Pods(4, 3, 1), [Metric(30.0, 10.0)]) == 3
    assert scaler.wish(Pods(4, 4, 3), [Metric(30.0, 10.0, is_value=True)]) == 9
    assert scaler.wish(Pods(4, 4, 3), [Metric(10.5, 10.0, is_value=True)]) == 4


@pytest.mark.parametrize(
    ("values", "wish"),
    [([None], None), ([None, 2.0], None), ([None, 6.0], 6), ([2.0, 3.0], 3), ([None, 4.0], 4)],
)
def test_a_metric_that_cannot_be_read_keeps_pods_and_may_not_keep_more_from_coming(values: Any, wish: Any) -> None:
    assert autoscaler().wish(Pods(4, 4, 4), [Metric(value, 1.0) for value in values]) == wish


def test_what_KEDA_wrote_is_no_step_of_the_HPA() -> None:
    """A change by somebody else uses up nothing of a policy."""
    scaler = autoscaler({"scaleUp": policies(("Pods", 2, 600))})
    assert course(scaler, [9.0], pods=1) == [3]
    assert scaler.sync(15.0, Pods(8, 8, 8), [Metric(20.0, 1.0)]).replicas is None
    assert scaler.sync(605.0, Pods(8, 8, 8), [Metric(20.0, 1.0)]).replicas == 10


@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(0, 30),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.sampled_from([0, 30, 300]),
)
def test_the_pods_stay_within_their_limits_and_never_jump_over_the_wish(
    wishes: list[float], least: int, more: int, select: str, window: int
) -> None:
    rules = policies(("Pods", 4, 60), ("Percent", 100, 60), selectPolicy=select, stabilizationWindowSeconds=window)
    scaler = autoscaler({"scaleUp": rules, "scaleDown": rules}, least, least + more)
    pods = least
    for number, wish in enumerate(wishes):
        decision = scaler.sync(15.0 * number, Pods(pods, pods, pods), [Metric(wish, 1.0)])
        after = pods if decision.replicas is None else decision.replicas
        assert least <= after <= least + more
        if after > pods:
            assert after <= max(decision.wish or 0, pods)
        pods = after
