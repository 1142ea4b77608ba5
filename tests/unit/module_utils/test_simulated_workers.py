# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated workers: what a broker shows of them, what stopping costs, which pods go, and what theory says."""

from __future__ import annotations

import math
import random
from array import array
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._simulation.loads import Arrivals, Fails
from ansible_collections.queueops.celery.plugins.module_utils._simulation.pods import Pod, Worker, first_to_go
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import waits_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.workers import Site
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.thorough import examples


def site_of(worker: Worker, *tasks: tuple[float, float], pods: int = 1, **rest: Any) -> Site:
    """Queues with tasks, each with the second at which it comes and the seconds that it takes."""
    times, seconds = array("d", [at for at, _ in tasks]), array("d", [length for _, length in tasks])
    site = Site(worker, Arrivals(times, seconds, **rest), random.Random(7))
    site.begin_with(pods)
    return site


@pytest.mark.parametrize(
    ("late", "holds", "waiting", "unacknowledged"),
    [
        (False, 10, 10, 8),
        (False, 4, 16, 2),
        (False, 2, 18, 0),
        (True, 8, 12, 8),
        (True, 2, 18, 2),
    ],
)
def test_a_broker_shows_of_a_busy_worker_what_was_measured(
    late: bool, holds: int, waiting: int, unacknowledged: int
) -> None:
    """20 tasks of 30 s, two slots: early and late acknowledgement, with prefetch 4, 1 and without (Celery 5.6)."""
    site = site_of(Worker(slots=2, holds=holds, acks_late=late), *[(0.0, 30.0)] * 20)
    site.advance(1.0)
    assert (site.waiting, site.unacknowledged, site.running) == (waiting, unacknowledged, 2)


def test_tasks_with_an_ETA_leave_the_list_at_once_and_fill_no_slot() -> None:
    site = site_of(Worker(slots=2, holds=2), *[(0.0, 1.0)] * 52, due=dict.fromkeys(range(50), 600.0))
    site.advance(0.5)
    assert (site.waiting, site.unacknowledged, site.running) == (0, 52, 2)
    site.advance(599.0)
    assert (site.counts.done, site.running) == (2, 0)
    site.advance(630.0)
    assert site.counts.done == 52
    assert waits_of(site.arrivals, site.began, 630.0)[0] == 0.0


def test_the_first_list_is_served_first() -> None:
    worker = Worker(steps=(0, 3, 6, 9))
    site = site_of(worker, (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), priorities=bytes([9, 7, 2, 4]))
    site.advance(10.0)
    assert sorted(range(4), key=lambda task: site.began[task]) == [0, 2, 3, 1]


@pytest.mark.parametrize(("before", "wanted"), [(1, 2), (2, 3), (5, 10), (10, 14), (14, 10), (3, 0), (4, 4)])
def test_there_are_as_many_pods_as_are_wanted(before: int, wanted: int) -> None:
    """More pods never cost one that is there: it would take up its work again from the start."""
    site = site_of(Worker(), pods=before)
    there = list(site.pods)
    site.scale(wanted)
    assert len(site.live) == wanted
    assert len([pod for pod in there if not pod.is_leaving]) == min(before, wanted)


@pytest.mark.parametrize(
    ("worker", "interrupted", "given_back", "lost", "stranded"),
    [
        (Worker(grace=500.0), 0, 0, 0, 0),
        (Worker(grace=30.0), 1, 0, 0, 1),
        (Worker(grace=30.0, acks_late=False), 1, 0, 1, 0),
        (Worker(grace=30.0, soft=15.0), 0, 1, 0, 0),
        (Worker(grace=30.0, visibility=None), 1, 0, 0, 0),
    ],
)
def test_what_stopping_a_busy_pod_does(
    worker: Worker, interrupted: int, given_back: int, lost: int, stranded: int
) -> None:
    site = site_of(worker, (0.0, 420.0))
    site.advance(100.0)
    site.scale(0)
    site.advance(5000.0)
    counts = site.counts
    assert (counts.interrupted, counts.given_back, counts.lost) == (interrupted, given_back, lost)
    assert len(site.stranded) == stranded
    assert counts.done == (1 if worker.grace == 500.0 else 0)
    assert site.outstanding == 1 - counts.done - lost


def test_a_task_of_a_killed_worker_begins_again_when_its_time_is_over_and_a_worker_lives() -> None:
    site = site_of(Worker(grace=30.0, visibility=600.0, start=20.0), (0.0, 420.0))
    site.advance(100.0)
    site.scale(0)
    site.advance(2000.0)
    assert (len(site.stranded), site.counts.done) == (1, 0)
    site.scale(1)
    site.advance(2600.0)
    assert (len(site.stranded), site.counts.done) == (0, 1)


def test_a_stopping_pod_gives_back_what_it_has_not_begun_and_that_comes_first() -> None:
    site = site_of(Worker(slots=1, holds=4, grace=1000.0, start=0.0), *[(0.0, 100.0)] * 5, (1.0, 1.0))
    site.advance(2.0)
    site.scale(0)
    assert (site.waiting, site.running) == (5, 1)
    assert list(site.lists[0]) == [1, 2, 3, 4, 5]


def test_a_message_whose_task_takes_longer_than_the_broker_waits_is_delivered_twice() -> None:
    site = site_of(Worker(visibility=60.0), (0.0, 300.0), (0.0, 10.0))
    site.advance(1000.0)
    assert (site.counts.repeated, site.counts.done) == (1, 2)


def test_failed_runs_come_again_after_their_countdown() -> None:
    site = site_of(Worker(), (0.0, 1.0), fails=(Fails(1.0, 2, 100.0),))
    site.advance(150.0)
    assert (site.counts.failed, site.counts.retried, site.unacknowledged) == (2, 2, 1)
    site.advance(1000.0)
    assert (site.counts.failed, site.counts.retried, site.outstanding) == (3, 2, 0)


def test_pods_without_room_wait_for_a_node() -> None:
    site = site_of(Worker(room=2, start=10.0), *[(0.0, 1000.0)] * 5, pods=0)
    site.scale(4)
    site.advance(20.0)
    assert (len(site.pods), site.ready, site.running) == (4, 2, 2)


def pods_of(*rows: tuple[float, float, int]) -> list[Pod]:
    """Pods with the times of their creation and readiness, and the tasks that they run."""
    found = []
    for number, (created, ready, tasks) in enumerate(rows):
        pod = Pod(created, ready, number / 100)
        pod.tasks = dict.fromkeys(range(tasks), ready)
        found.append(pod)
    return found


@pytest.mark.parametrize(
    ("rows", "idle_first", "first"),
    [
        ([(0.0, 20.0, 0), (990.0, 2000.0, 0)], False, 1),
        ([(0.0, 20.0, 0), (900.0, 920.0, 1)], False, 1),
        ([(0.0, 20.0, 0), (900.0, 920.0, 1)], True, 0),
        ([(0.0, 100.0, 1), (0.0, 20.0, 1)], False, 0),
        ([(0.0, 600.0, 1), (0.0, 100.0, 1)], False, 0),
    ],
)
def test_which_pod_a_replica_set_takes(rows: Any, idle_first: bool, first: int) -> None:
    pods = pods_of(*rows)
    assert first_to_go(pods, 1, 1000.0, idle_first) == [pods[first]]


WORKERS = st.builds(
    Worker,
    slots=st.integers(1, 3),
    holds=st.integers(3, 8),
    acks_late=st.booleans(),
    grace=st.sampled_from([1.0, 30.0, 600.0]),
    soft=st.sampled_from([None, 5.0]),
    visibility=st.sampled_from([None, 50.0, 3600.0]),
    start=st.sampled_from([0.0, 20.0]),
    room=st.sampled_from([None, 2]),
    idle_first=st.booleans(),
    steps=st.sampled_from([(0,), (0, 3, 6, 9)]),
)
TASKS = st.lists(st.tuples(st.floats(0, 500), st.floats(0.1, 200)), max_size=40).map(sorted)


@settings(max_examples=examples(150), deadline=None)
@given(WORKERS, TASKS, st.lists(st.tuples(st.floats(1, 100), st.integers(0, 5)), max_size=15), st.data())
def test_no_message_is_made_or_lost_unseen(worker: Worker, tasks: Any, orders: Any, data: st.DataObject) -> None:
    due = {number: at + 30.0 for number, (at, _) in enumerate(tasks) if number % 5 == 4}
    fails = data.draw(st.sampled_from([(), (Fails(0.3, 2, 10.0),)]))
    priorities = bytes(number % 10 for number in range(len(tasks)))
    site = site_of(worker, *tasks, due=due, fails=fails, priorities=priorities)
    now = 0.0
    for after, wanted in [*orders, (1e5, 3), (1e5, 0), (1e4, 0)]:
        now += after
        site.advance(now)
        counts = site.counts
        arrived = sum(1 for at, _ in tasks if at <= now)
        assert arrived + counts.retried == counts.done + counts.failed + counts.lost + site.outstanding
        assert all(len(pod.tasks) <= worker.slots and pod.held >= len(pod.tasks) for pod in site.pods)
        assert site.ready == sum(1 for pod in site.pods if not pod.is_leaving and pod.ready_at <= now)
        site.scale(wanted)
    assert not site.pods
    assert site.busy_seconds <= site.pod_seconds + 1e-6


@settings(max_examples=examples(60), deadline=None)
@given(WORKERS, TASKS)
def test_with_a_pod_that_stays_everything_is_done_in_the_end(worker: Worker, tasks: Any) -> None:
    site = site_of(worker, *tasks)
    site.advance(1e6)
    assert (site.counts.done, site.outstanding, site.running) == (len(tasks), 0, 0)
    waits = waits_of(site.arrivals, site.began, 1e6)
    assert min([0.0, *waits]) >= 0.0


@pytest.mark.parametrize(("pods", "load"), [(1, 0.6), (3, 0.8), (10, 0.9)])
def test_waits_are_those_of_queueing_theory(pods: int, load: float) -> None:
    """Erlang's formula for tasks that come and take as long as chance has it (M/M/c)."""
    chance = random.Random(f"{pods}")
    rate, times, moment = load * pods, array("d"), 0.0
    for _ in range(60_000):
        moment += chance.expovariate(rate)
        times.append(moment)
    seconds = array("d", [chance.expovariate(1.0) for _ in times])
    site = Site(Worker(), Arrivals(times, seconds), random.Random(1))
    site.begin_with(pods)
    site.advance(1e9)
    offered = rate
    busy = offered**pods / math.factorial(pods) / (1 - load)
    waits = busy / (sum(offered**number / math.factorial(number) for number in range(pods)) + busy)
    measured = waits_of(site.arrivals, site.began, 1e9)
    assert sum(measured) / len(measured) == pytest.approx(waits / (pods - rate), rel=0.12)
    assert sum(wait > 1e-9 for wait in measured) / len(measured) == pytest.approx(waits, rel=0.06)
