# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulation of work that has been, beside the pods that there were then."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from .._schema.moments import duration
from .results import SHARE, Result

#: Seconds after the start, and what was counted then.
Counted = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class PodsApart:
    """How far the pods of a simulation are from those that there were.

    :param samples: moments that were compared.
    :param equal: share of them with the same number of pods.
    :param apart: pods that they differ by on average.
    :param cost_off: by how much of the real pod-seconds the simulated ones differ; negative for too few.
    """

    samples: int
    equal: float
    apart: float
    cost_off: float

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"pods as they were in {self.equal * 100:.1f} % of {self.samples} samples, {self.apart:.2f} apart on "
            f"average, pod-hours off by {self.cost_off * 100:+.1f} %"
        )


@dataclass(frozen=True)
class WaitsApart:
    """How far the waits of a simulation are from those that there were, both worked out of the messages that waited.

    :param wait_was: seconds within which 95 % of the tasks began.
    :param wait_simulated: the same of the simulation.
    """

    wait_was: float
    wait_simulated: float

    @property
    def wait_off(self) -> float | None:
        """By how much of the real wait the simulated one differs; None where no task waited."""
        return (self.wait_simulated - self.wait_was) / self.wait_was if self.wait_was else None

    @property
    def text(self) -> str:
        """For people."""
        off = f", off by {self.wait_off * 100:+.1f} %" if self.wait_off is not None else ""
        return f"p95 wait {duration(round(self.wait_simulated))}, and it was {duration(round(self.wait_was))}{off}"


@dataclass(frozen=True)
class Replayed:
    """How far a simulation is from what was.

    :param pods: None where no pods that there were are known.
    :param waits: the same of the waits.
    """

    title: str
    pods: PodsApart | None = None
    waits: WaitsApart | None = None

    @property
    def text(self) -> str:
        """For people."""
        pods = self.pods.text if self.pods is not None else "the pods were not compared"
        waits = self.waits.text if self.waits is not None else "the waits were not compared, which need waiting"
        return f"{self.title}: {pods}; {waits}."

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a module's result."""
        parts = [asdict(part) for part in (self.pods, self.waits) if part is not None]
        return {"title": self.title, **{name: value for part in parts for name, value in part.items()}}


def compared_with(result: Result, pods: Counted, waiting: Counted, times: Sequence[float]) -> Replayed | None:
    """A simulation beside what was; None where there is nothing to compare.

    :param pods: that there were.
    :param waiting: messages that waited.
    :param times: when tasks came.
    """
    pods_apart, waits_apart = _pods_apart(result, pods), _waits_apart(result, waiting, times)
    if pods_apart is None and waits_apart is None:
        return None
    return Replayed(result.title, pods_apart, waits_apart)


def _pods_apart(result: Result, real: Counted) -> PodsApart | None:
    within = [(at, pods) for at, pods in real if 0 <= at <= result.seconds]
    if not within:
        return None
    times = [one.at for one in result.changes]
    first = result.series.wanted[0] if result.series.wanted else 0
    wanted = [first, *(one.replicas for one in result.changes)]
    pairs = [(wanted[bisect_right(times, at)], pods) for at, pods in within]
    total = sum(pods for _other, pods in pairs)
    return PodsApart(
        len(pairs),
        sum(simulated == pods for simulated, pods in pairs) / len(pairs),
        sum(abs(simulated - pods) for simulated, pods in pairs) / len(pairs),
        (sum(simulated for simulated, _other in pairs) - total) / total if total else 0.0,
    )


def _waits_apart(result: Result, waiting: Counted, times: Sequence[float]) -> WaitsApart | None:
    within = [(at, number) for at, number in waiting if 0 <= at <= result.seconds]
    series = result.series
    if not within or not series.times or not times:
        return None
    last = len(series.times) - 1
    simulated = [(at, float(series.backlog[min(last, round(at / series.step))])) for at, _other in within]
    return WaitsApart(wait_of(within, times), wait_of(simulated, times))


def wait_of(waiting: Counted, times: Sequence[float]) -> float:
    """Seconds within which 95 % of the tasks began, as far as the messages that waited tell it.

    A queue is worked on in its order: the last task that has come at a moment begins when as many tasks have begun.
    Between two moments they are taken to begin at an even pace.

    :param times: when tasks came.
    """
    moments, came = [at for at, _number in waiting], [bisect_right(times, at) for at, _number in waiting]
    begun = list(accumulate((there - number for there, (_at, number) in zip(came, waiting, strict=True)), max))
    found: list[tuple[float, int]] = []
    for place, (at, there) in enumerate(zip(moments, came, strict=True)):
        new = there - (came[place - 1] if place else 0)
        if new:
            found.append((max(0.0, _reached(moments, begun, there) - at), new))
    return _most(found)


def _reached(moments: Sequence[float], begun: Sequence[float], number: float) -> float:
    """When so many tasks had begun; the last moment where they never had."""
    place = bisect_left(begun, number)
    if place in (0, len(begun)):
        return moments[min(place, len(moments) - 1)]
    before, after = begun[place - 1], begun[place]
    return moments[place - 1] + (moments[place] - moments[place - 1]) * (number - before) / (after - before)


def _most(waits: Sequence[tuple[float, int]]) -> float:
    """The wait that 95 % of the tasks do not exceed.

    :param waits: seconds, and of how many tasks.
    """
    left = SHARE * sum(tasks for _wait, tasks in waits) - 1e-9
    for wait, tasks in sorted(waits):
        left -= tasks
        if left <= 0:
            return wait
    return 0.0
