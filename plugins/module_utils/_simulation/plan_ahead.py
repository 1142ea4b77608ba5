# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan costs that knows every task beforehand: above the best one, and a scaler cannot be much better."""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Protocol

from .loads import Arrivals
from .pods import Worker
from .results import waits_of
from .workers import Site

#: Steps of a goal in which pods may change, and steps that are looked ahead.
_STEPS, _AHEAD = 4, 48
#: How much more is tried where the plain plan is too late.
_MORE = (1.0, 1.1, 1.25, 1.5)
#: Tasks up to which it is worked out: it takes as long as two simulations.
_MOST = 30_000
_ENDLESS = 1e12


class Work(Protocol):
    """The work that can be done by a time."""

    @property
    def last(self) -> float:
        """When the last task could be over."""

    def at(self, moment: float) -> float:
        """Seconds of work until then."""


def planned_ahead(arrivals: Arrivals, work: Work, goal: float, slots: int, start: float) -> float | None:
    """Pod-seconds of the cheapest of some plans; None for more tasks than can be planned in passing."""
    if len(arrivals.times) > _MOST:
        return None
    found = [packed(arrivals, goal, slots, start)]
    for is_lazy in (False, True):
        costs = (_steady(arrivals, work, goal, slots, start, more, is_lazy) for more in _MORE)
        found += [cost for cost in [next((cost for cost in costs if cost is not None), None)] if cost is not None]
    return min(found)


def _steady(
    arrivals: Arrivals, work: Work, goal: float, slots: int, start: float, more: float, is_lazy: bool
) -> float | None:
    """Pod-seconds of as few changes as the goal allows; None where a task then begins too late.

    :param more: how many pods more than are needed.
    """
    step = max(goal / _STEPS, 15.0)
    pods = [math.ceil(number * more - 1e-9) for number in steady_pods(work, goal, slots, step, is_lazy)]
    worker = Worker(slots, slots, grace=_ENDLESS, visibility=None, start=start)
    site = Site(worker, arrivals, random.Random(1))
    site.begin_with(pods[0] if pods else 0)
    for number in range(len(pods)):
        # New pods are created so that they work when the step begins.
        ahead = max(pods[number], *pods[number + 1 : number + 2], 0)
        moment = number * step
        site.advance(moment)
        site.scale(max(pods[number], len(site.live)) if ahead > pods[number] else pods[number])
        if ahead > pods[number]:
            site.advance(max(moment, moment + step - start))
            site.scale(max(ahead, len(site.live)))
    site.advance(len(pods) * step)
    if site.has_more or site.outstanding > site.running:
        return None
    site.scale(0)
    site.advance(_ENDLESS / 2)
    slowest = max(waits_of(arrivals, site.began, site.now))
    return site.pod_seconds if slowest <= goal + 1e-6 else None


def steady_pods(work: Work, goal: float, slots: int, step: float, is_lazy: bool) -> list[int]:
    """Pods of each step that do everything in time with as few changes as possible.

    In each step the work goes on at the lowest pace that still keeps every goal that is ahead.

    :param is_lazy: whether a part of a pod is left out for as long as no goal of the next step needs it.
    """
    steps = int((work.last + goal) // step) + 2
    can = [work.at(number * step) for number in range(steps + 1)]
    must = [work.at(number * step - goal) for number in range(steps + 1)]
    done, found, whole = 0.0, [], step * slots
    for number in range(steps):
        ahead = range(number + 1, min(steps, number + _AHEAD) + 1)
        pace = max((must[later] - done) / (later - number) for later in ahead) / whole
        pods = max(0, math.ceil(pace - 1e-9))
        if is_lazy and done + (pods - 1) * whole >= must[min(steps, number + 2)]:
            pods = max(0, pods - 1)
        # More pods than there is work for are of no use.
        pods = min(pods, math.ceil((can[number + 1] - done) / whole - 1e-9))
        found.append(pods)
        done = min(can[number + 1], done + pods * whole)
    return found


def packed(arrivals: Arrivals, goal: float, slots: int, start: float) -> float:
    """Pod-seconds where each task goes where a slot was in use last, or will be free soon.

    A new pod begins its first task as late as it may, so that others find room in it. In a gap a pod stays or goes,
    whichever costs less.
    """
    ready = list(arrivals.times)
    for task, due in arrivals.due.items():
        ready[task] = max(ready[task], due)
    free: list[tuple[float, int]] = []
    ends: list[float] = []
    total = 0.0
    for task in sorted(range(len(ready)), key=ready.__getitem__):
        at = ready[task]
        place = _place(free, at, goal, len(ends))
        if place is None:
            begins, owner = at + goal, len(ends)
            ends.append(begins)
            total += start
            for _other in range(slots - 1):
                insort(free, (begins, owner))
        else:
            moment, owner = free.pop(place)
            begins = max(at, moment)
        end = begins + arrivals.seconds[task]
        total += min(max(0.0, begins - ends[owner]), start) + max(0.0, end - max(ends[owner], begins))
        ends[owner] = max(ends[owner], end)
        insort(free, (end, owner))
    return total


def _place(free: Sequence[tuple[float, int]], at: float, goal: float, pods: int) -> int | None:
    """The slot that became free last, else the one that is free first; None where that is too late."""
    place = bisect_right(free, (at, pods)) - 1
    if place >= 0:
        return place
    return 0 if free and free[0][0] <= at + goal else None
