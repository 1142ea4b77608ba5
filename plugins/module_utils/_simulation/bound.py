# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the work of a trace costs at least, in pod-seconds, whoever scales it and however much he knows beforehand.

Every task is to begin within the goal, and none is cut. The bound is the largest of several that all hold:

* the work itself, divided among the slots of a pod;
* in each time span, the work that is over when it must be, less what could be done before. It needs so many pods on
  average. Their cheapest course is found layer by layer: the n-th pod is there in each span that needs n pods, and in a
  gap it stays or goes and comes back, whichever costs less (discrete right-sizing, Albers and Quedenfeld);
* mixtures of both: a share of every second is paid for by the work, the rest by the course of the pods.

Averages over spans change less than the pods themselves, so a course of averages never costs more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from operator import add

from .loads import Arrivals
from .plan_ahead import planned_ahead
from .results import Bound, share_of

#: Shares of a second that the work pays for.
_SHARES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)
#: Of the longest tasks each is looked at by itself: for as long as one runs there is a pod.
_LONGEST = 1000
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
    lengths = sorted(arrivals.seconds)
    curve = Curve(arrivals, lengths)
    over = max(goal + share_of(lengths, _LONG), 1.0)
    least = work
    for width in (over * factor for factor in _WIDTHS):
        for offset in (0.0, width / 2):
            alone = curve.longest(goal, width, offset)
            needs = [
                max(together / slots, one) / width
                for together, one in zip(curve.demands(goal, width, offset), alone, strict=True)
            ]
            least = max(least, _mixed(needs, width, offset, start, work))
    reached = planned_ahead(arrivals, curve, goal, slots, start)
    return Bound(least, None if reached is None else max(least, reached))


class Curve:
    """The work that can be done by a time, if each task begins as soon as it may.

    :param lengths: seconds of the tasks, the shortest first.
    """

    def __init__(self, arrivals: Arrivals, lengths: Sequence[float]) -> None:
        ready = list(arrivals.times)
        for task, moment in arrivals.due.items():
            ready[task] = max(ready[task], moment)
        self._ends: list[float] = sorted(map(add, ready, arrivals.seconds))
        self._begins: list[float] = sorted(ready) if arrivals.due else ready
        seconds, least = arrivals.seconds, lengths[-_LONGEST:][0]
        longest = [task for task, length in enumerate(seconds) if length > least]
        longest += islice((task for task, length in enumerate(seconds) if length == least), _LONGEST - len(longest))
        self._longest = [(ready[task], seconds[task]) for task in longest]
        self._begun: list[float] = [0.0, *accumulate(self._begins)]
        self._ended: list[float] = [0.0, *accumulate(self._ends)]

    @property
    def last(self) -> float:
        """When the last task is over."""
        return self._ends[-1]

    def at(self, moment: float) -> float:
        """Seconds of work until then."""
        begun, ended = bisect_left(self._begins, moment), bisect_left(self._ends, moment)
        return moment * (begun - ended) - self._begun[begun] + self._ended[ended]

    def demands(self, goal: float, width: float, offset: float = 0.0) -> list[float]:
        """Seconds of work that no plan can do outside of each span, the first of which is cut short by the offset.

        What must be over at the end of a span is what could be over a goal earlier.
        """
        spans = int((self.last + goal + offset) // width) + 1
        edges = [max(0.0, span * width - offset) for span in range(spans + 1)]
        return [max(0.0, self.at(after - goal) - self.at(before)) for before, after in pairwise(edges)]

    def longest(self, goal: float, width: float, offset: float = 0.0) -> list[float]:
        """Seconds of each span in which a pod is there because of one task alone."""
        found = [0.0] * (int((self.last + goal + offset) // width) + 1)
        for at, length in self._longest:
            for span in range(int((at + offset) // width), int((at + length + offset) // width) + 1):
                before, after = max(0.0, span * width - offset), (span + 1) * width - offset
                inside = min(length, max(0.0, after - goal - at)) - min(length, max(0.0, before - at))
                found[span] = max(found[span], inside)
        return found


def _mixed(needs: Sequence[float], width: float, offset: float, start: float, work: float) -> float:
    """The best of the mixtures of the work and of a course of pods."""
    return max(
        share * work + course(needs, (1 - share) * width, start, first_gap=(1 - share) * -offset) for share in _SHARES
    )


def course(needs: Sequence[float], cost: float, start: float, first_gap: float = 0.0) -> float:
    """The least cost of pods that are on average at least as many as each span needs.

    Pods are whole: where a span needs one and a half on average, two are there at some time. Pods may be there from the
    beginning, so that the first gap counts like any other.

    :param needs: pods of each span.
    :param cost: of a pod in a span.
    :param start: cost of a new pod.
    :param first_gap: what is to be added to the cost of the time before the first span that needs a pod.
    """
    total = sum(needs) * cost
    for layer in range(math.ceil(max(needs, default=0.0) - 1e-9)):
        on = [span for span, need in enumerate(needs) if need > layer + 1e-9]
        total += min(max(0.0, on[0] * cost + first_gap), start)
        total += sum(min((after - before - 1) * cost, start) for before, after in pairwise(on) if after > before + 1)
    return total
