# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least cost of a trace: never above any plan, and exact where that can be tried out."""

from __future__ import annotations

import itertools
import random
from array import array
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.loads import Daily, Load, TaskTimes
from ansible_collections.queueops.celery.plugins.module_utils._simulation.bound import bound_of, course
from ansible_collections.queueops.celery.plugins.module_utils._simulation.loads import Arrivals, arrivals_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.pods import Worker
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import waits_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.workers import Site
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.thorough import examples


def trace(*tasks: tuple[float, float]) -> Arrivals:
    return Arrivals(array("d", [at for at, _ in tasks]), array("d", [length for _, length in tasks]))


def cheapest(needs: list[int], cost: float, start: float) -> float:
    """The cheapest course of whole pods, found by trying all of them."""
    best = {number: number * 0.0 for number in range(max([*needs, 0]) + 1)}
    for need in needs:
        best = {
            after: min(spent + max(0, after - before) * start for before, spent in best.items()) + after * cost
            for after in range(need, max(needs) + 1)
        }
    return min(best.values())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 40))
def test_a_course_of_pods_is_the_cheapest_there_is(needs: list[int], cost: int, start: int) -> None:
    assert course(needs, cost, start) == pytest.approx(cheapest(needs, cost, start))


@pytest.mark.parametrize(
    ("tasks", "goal", "least"),
    [
        ([(0.0, 100.0)], 0.0, 100.0),
        ([(500.0, 100.0)], 0.0, 120.0),
        ([(500.0, 100.0)] * 4, 0.0, 240.0),
        ([(500.0, 100.0), (5000.0, 100.0)], 0.0, 240.0),
        ([(500.0, 100.0), (610.0, 100.0)], 0.0, 230.0),
    ],
)
def test_known_least_costs(tasks: Any, goal: float, least: float) -> None:
    """Two slots, 20 s to start; a pod may be there from the beginning."""
    found = bound_of(trace(*tasks), goal, 2, 20.0)
    assert found.least <= least + 1e-6
    assert found.least >= sum(length for _, length in tasks) / 2


TASKS = st.lists(st.tuples(st.floats(0, 3000), st.floats(1, 400)), min_size=1, max_size=30).map(sorted)


@settings(max_examples=examples(150), deadline=None)
@given(TASKS, st.integers(1, 3), st.sampled_from([0.0, 20.0, 200.0]), st.data())
def test_no_plan_costs_less_than_the_bound(tasks: Any, slots: int, start: float, data: st.DataObject) -> None:
    """Pods come and go as chance has it; the goal is what the slowest task then waited."""
    arrivals = trace(*tasks)
    site = Site(Worker(slots, slots, grace=1e9, start=start), arrivals, random.Random(3))
    site.begin_with(data.draw(st.integers(0, 3)))
    now = 0.0
    for after, wanted in data.draw(st.lists(st.tuples(st.floats(1, 900), st.integers(0, 4)), max_size=12)):
        now += after
        site.advance(now)
        site.scale(wanted)
    site.scale(max(1, len(site.live)))
    while site.has_more or site.outstanding:
        now += 10.0
        site.advance(now)
    site.scale(0)
    site.close()
    slowest = max(waits_of(arrivals, site.began, now))
    found = bound_of(arrivals, slowest, slots, start)
    assert found.least <= site.pod_seconds + 1e-6
    assert found.reached is not None
    assert found.least <= found.reached + 1e-6


def starts_of(tasks: list[tuple[float, float]], goal: float, step: float) -> Any:
    """Every way to begin the tasks at whole steps within the goal."""
    return itertools.product(*([at + step * number for number in range(int(goal // step) + 1)] for at, _ in tasks))


def cost_of(tasks: list[tuple[float, float]], starts: Any, start: float) -> float:
    """The least pod-seconds of pods with one slot for tasks that begin at given times."""
    total = 0.0
    free: list[float] = []
    for begins, length in sorted(zip(starts, [length for _, length in tasks], strict=True)):
        fitting = [end for end in free if end <= begins]
        gap = begins - max(fitting) if fitting else float("inf")
        if fitting:
            free.remove(max(fitting))
        # At the beginning pods are there.
        total += min(gap, start, begins) + length
        free.append(begins + length)
    return total


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=4), st.integers(0, 3))
def test_the_bound_and_the_plan_are_on_both_sides_of_the_best(steps: Any, late: int) -> None:
    tasks = sorted((at * 50.0, length * 50.0) for at, length in steps)
    goal = late * 50.0
    best = min(cost_of(tasks, starts, 30.0) for starts in starts_of(tasks, goal, 50.0))
    assert bound_of(trace(*tasks), goal, 1, 30.0).least <= best + 1e-6


@pytest.mark.parametrize(
    ("load", "most"),
    [
        (Load(per_hour=720.0, task_seconds=TaskTimes(20.0, 20.0)), 1.3),
        (Load(daily=Daily(200.0, 2000.0), task_seconds=TaskTimes(10.0, 60.0)), 1.35),
        (Load(burst=200, every_hours=1.0, task_seconds=TaskTimes(30.0, 30.0)), 1.3),
        (Load(burst=1, every_hours=1.0, task_seconds=TaskTimes(300.0, 300.0)), 1.05),
    ],
)
def test_a_plan_that_knows_everything_comes_near_the_bound(load: Load, most: float) -> None:
    arrivals = arrivals_of([load], 6.0, 1)
    found = bound_of(arrivals, 300.0, 2, 20.0)
    assert found.reached is not None
    assert found.least <= found.reached <= most * found.least
