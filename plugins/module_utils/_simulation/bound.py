# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the work of a trace costs at least, in pod-seconds, whoever scales it and however much he knows beforehand.

Every task is to begin within the goal, and none is cut. The bound is the largest of several that all hold:

* the work itself, divided among the slots of a pod;
* in each time span, the work that no plan can do outside of it needs so many pods on average. Their cheapest course is
  found layer by layer: the n-th pod is there in each span that needs n pods, and in a gap it stays or goes and comes
  back, whichever costs less (discrete right-sizing, Albers and Quedenfeld);
* mixtures of both: a share of every second is paid for by the work, the rest by the course of the pods.

Averages over spans change less than the pods themselves, so a course of averages never costs more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .loads import Arrivals
from .results import Bound, share_of

#: Shares of a second that the work pays for.
_SHARES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)
#: Levels of a course that are told apart at most. Demands are rounded down to them, which keeps the bound true.
_LEVELS = 64
_LONG = 0.95
#: Widths of the spans, as multiples of the time within which a task that comes is over.
_WIDTHS = (1.0, 2.0, 6.0)


def bound_of(arrivals: Arrivals, goal: float, slots: int, start: float) -> Bound:
    """Bounds of the pod-seconds of a trace.

    :param goal: seconds within which every task is to begin.
    :param slots: tasks that a pod runs at once.
    :param start: seconds from a pod's creation to its first task.
    """
    if not arrivals.times:
        return Bound(0.0, 0.0)
    work = arrivals.work / slots
    ready = earliest(arrivals)
    over = goal + share_of(sorted(arrivals.seconds), _LONG)
    least = work
    for factor in _WIDTHS:
        width = max(over * factor, 1.0)
        for offset in (0.0, width / 2):
            demand = demands(ready, arrivals.seconds, goal, width, offset)
            least = max(least, _mixed([number / slots / width for number in demand], width, offset, start, work))
    return Bound(least, max(least, reached(ready, arrivals.seconds, goal, slots, start)))


def earliest(arrivals: Arrivals) -> array[float]:
    """When each task may begin."""
    found = array("d", arrivals.times)
    for task, moment in arrivals.due.items():
        found[task] = max(found[task], moment)
    return found


def demands(
    ready: Sequence[float], seconds: Sequence[float], goal: float, width: float, offset: float = 0.0
) -> list[float]:
    """Seconds of work that no plan can do outside of each span.

    A task that begins at once and one that begins as late as it may both do so much of it there, and so does any other.
    """
    last = max(at + length for at, length in zip(ready, seconds, strict=True)) + goal
    found = [0.0] * (int((last + offset) // width) + 1)
    for at, length in zip(ready, seconds, strict=True):
        first = int((at + goal + offset) // width)
        final = int((at + length + offset) // width)
        for span in range(min(first, final), max(first, final) + 1):
            begin = span * width - offset
            end = begin + width
            early = min(at + length, end) - max(at, begin)
            late = min(at + goal + length, end) - max(at + goal, begin)
            if early > 0 and late > 0:
                found[span] += min(early, late)
    return found


def _mixed(needs: Sequence[float], width: float, offset: float, start: float, work: float) -> float:
    """The best of the mixtures of the work and of a course of pods."""
    return max(
        share * work + course(needs, width, (1 - share) * width, start, first_gap=(1 - share) * -offset)
        for share in _SHARES
    )


def course(needs: Sequence[float], width: float, cost: float, start: float, first_gap: float = 0.0) -> float:
    """The least cost of pods that are at least as many as each span needs.

    Pods may be there from the beginning, so that the first gap counts like any other.

    :param needs: pods of each span.
    :param width: seconds of a span; only told apart from its cost because a share of it may be paid for elsewhere.
    :param cost: of a pod in a span.
    :param start: cost of a new pod.
    :param first_gap: what is to be added to the cost of the time before the first span that needs a pod.
    """
    highest = max(needs, default=0.0)
    levels = sorted({need for need in needs if need > 0})
    if len(levels) > _LEVELS:
        levels = [highest * (number + 1) / _LEVELS for number in range(_LEVELS)]
    total, below = 0.0, 0.0
    for level in levels:
        on = [span for span, need in enumerate(needs) if need >= level - 1e-12]
        if not on:
            continue
        layer = len(on) * cost + min(max(0.0, on[0] * cost + first_gap), start)
        layer += sum(min((after - before - 1) * cost, start) for before, after in pairwise(on))
        total += (level - below) * layer
        below = level
    return total


@dataclass
class _Packed:
    """A pod of a plan that knows every arrival.

    :param end: when the last of its tasks is over.
    """

    end: float


def reached(ready: Sequence[float], seconds: Sequence[float], goal: float, slots: int, start: float) -> float:
    """Pod-seconds of a plan that knows every arrival: a task goes where a slot was in use last, or will be free soon.

    A new pod begins its first task as late as it may, so that others find room in it. In a gap a pod stays or goes,
    whichever costs less.
    """
    order = sorted(range(len(ready)), key=ready.__getitem__)
    free: list[tuple[float, int]] = []
    pods: list[_Packed] = []
    total = 0.0
    for task in order:
        at, length = ready[task], seconds[task]
        place = bisect_right(free, (at, len(pods))) - 1
        if place < 0 and free and free[0][0] <= at + goal:
            place = 0
        if place < 0:
            begins, owner = at + goal, len(pods)
            pods.append(_Packed(begins))
            total += start
            for _ in range(slots - 1):
                insort(free, (begins, owner))
        else:
            moment, owner = free.pop(place)
            begins = max(at, moment)
        pod, ends = pods[owner], begins + length
        total += min(max(0.0, begins - pod.end), start)
        total += max(0.0, ends - max(pod.end, begins))
        pod.end = max(pod.end, ends)
        insort(free, (ends, owner))
    return total
