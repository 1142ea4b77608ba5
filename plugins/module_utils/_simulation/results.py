# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a simulation of one variant gives: data only, in units that people use. Times are seconds."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from operator import sub
from typing import Any

from .control import Written
from .loads import Arrivals

#: A week starts here where nobody says when.
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
#: Seconds of a window whose waits are judged together, and the share of its tasks that must have begun in time.
WINDOW = 600.0
SHARE = 0.95
#: Seconds within which a step back counts as a flap.
_FLAP = 600.0


@dataclass(frozen=True)
class Waits:
    """How long tasks waited for their first start, from their arrival or from the time of their ETA.

    Tasks that never began count as having waited until the end of the simulation.
    """

    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0
    mean: float = 0.0


@dataclass(frozen=True)
class Series:
    """Numbers over time, for a picture: one of each for every moment in C(times).

    :param step: seconds between two moments.
    :param times: seconds after the start.
    :param backlog: messages that waited.
    :param in_flight: messages that workers held, running ones included.
    :param running: tasks that ran.
    :param pods: pods that were there, stopping ones included.
    :param ready: pods that worked and might go on.
    :param wanted: pods that were asked for.
    :param wait: the longest wait of the tasks that arrived since the moment before; 0 where none did.
    :param keda: what KEDA decided at its last look and why, in words; empty where there is none.
    :param hpa: the same of the HPA.
    :param asked: pods that the metrics of the HPA asked for; None where they could not be read, or were not.
    """

    step: float
    times: list[float] = field(default_factory=list)
    backlog: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    pods: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    wait: list[float] = field(default_factory=list)
    keda: list[str] = field(default_factory=list)
    hpa: list[str] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)


@dataclass(frozen=True)
class Bound:
    """What the same work costs at least if every task is to begin within the goal.

    :param least: pod-seconds below which nobody can go (certified).
    :param reached: pod-seconds of a plan that knows every arrival; the best plan is between both. None for very many
        tasks.
    """

    least: float
    reached: float | None


@dataclass(frozen=True)
class Result:
    """One variant over its load.

    :param title: C(service/variant).
    :param goal: C(max_wait_seconds) of the variant.
    :param seconds: how long was simulated, until the work was done and the pods were gone.
    :param tasks: those that arrived.
    :param done: runs that ended well.
    :param unfinished: tasks that waited, ran or were held at the end, or had not come.
    :param stranded: those of them that killed workers left unacknowledged, without a worker that gives them back.
    :param windows: ten-minute windows in which tasks arrived.
    :param windows_within: those in which 95 % of them began within the goal.
    :param drain: seconds from the last arrival until nothing was left; None where something was.
    :param pod_seconds: from creation to deletion, of all pods.
    :param busy_seconds: those in which a pod ran something.
    :param starts: pods that were created.
    :param peak_pods: most pods at the same time, stopping ones included.
    :param peak_connections: to the broker, at that time.
    :param changes: every change of the number of pods, with who made it and why.
    :param flaps: how often pods were taken away and asked for again within ten minutes.
    :param interrupted: runs that were cut by a kill.
    :param given_back: runs that a stopping worker gave back.
    :param lost: tasks that are gone for ever.
    :param repeated: tasks that the broker delivered once more while they ran.
    :param failed: runs that failed.
    :param formula: that decided, as it would be sent; empty where there is none.
    :param bound: None where it was not asked for.
    :param start: the moment at which it starts.
    """

    service: str
    variant: str
    goal: float
    seconds: float
    tasks: int
    done: int
    unfinished: int
    stranded: int
    waits: Waits
    windows: int
    windows_within: int
    drain: float | None
    pod_seconds: float
    busy_seconds: float
    starts: int
    peak_pods: int
    peak_connections: int
    changes: tuple[Written, ...]
    flaps: int
    interrupted: int
    given_back: int
    lost: int
    repeated: int
    failed: int
    series: Series
    formula: str = ""
    bound: Bound | None = None
    warnings: tuple[str, ...] = ()
    start: datetime = MONDAY

    @property
    def title(self) -> str:
        """The variant as messages name it."""
        return f"{self.service}/{self.variant}"

    @property
    def idle_seconds(self) -> float:
        """Pod-seconds in which a pod ran nothing, its start included."""
        return self.pod_seconds - self.busy_seconds

    @property
    def share_within(self) -> float:
        """Share of the windows within the goal; 1 where no task came."""
        return self.windows_within / self.windows if self.windows else 1.0

    @property
    def meets_goal(self) -> bool:
        """Whether 95 % of all tasks began within the goal, and every task came to its end."""
        return self.waits.p95 <= self.goal and not self.unfinished and not self.lost

    @property
    def ratio(self) -> float | None:
        """Pod-seconds as a multiple of the least; None where that is not known."""
        if self.bound is None or not self.bound.least:
            return None
        return self.pod_seconds / self.bound.least

    def as_data(self, with_series: bool = False) -> dict[str, Any]:
        """Plain data, for a module's result."""
        left = ("waits", "series", "bound", "changes", "warnings", "start")
        found: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in left}
        found |= {f"wait_{name}": round(value, 1) for name, value in asdict(self.waits).items()}
        found |= {name: round(found[name], 1) for name in ("seconds", "pod_seconds", "busy_seconds")}
        found["drain"] = None if self.drain is None else round(self.drain, 1)
        found |= {"idle_seconds": round(self.idle_seconds, 1), "share_within": round(self.share_within, 4)}
        found |= {"meets_goal": self.meets_goal, "scale_events": len(self.changes)}
        found["bound"] = None if self.bound is None else round(self.bound.least, 1)
        reached = None if self.bound is None else self.bound.reached
        found["bound_reached"] = None if reached is None else round(reached, 1)
        found["ratio"] = None if self.ratio is None else round(self.ratio, 3)
        if with_series:
            found["series"] = asdict(self.series)
            found["changes"] = [asdict(one) for one in self.changes]
        return found


def waits_of(arrivals: Arrivals, began: Sequence[float], end: float) -> array[float]:
    """How long each task waited."""
    times = arrivals.times
    found = array("d", map(sub, began, times))
    if began and min(began) < 0:
        for task, start in enumerate(began):
            if start < 0:
                # One that is still to come has not waited.
                found[task] = max(0.0, end - times[task])
    for task, moment in arrivals.due.items():
        found[task] = max(0.0, found[task] - (moment - times[task]))
    return found


def summary_of(waits: Sequence[float]) -> Waits:
    """Waits in four numbers."""
    if not waits:
        return Waits()
    ordered = sorted(waits)
    return Waits(share_of(ordered, 0.5), share_of(ordered, SHARE), ordered[-1], sum(ordered) / len(ordered))


def share_of(ordered: Sequence[float], share: float) -> float:
    """The smallest number that a share of all numbers does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def windows_of(times: Sequence[float], waits: Sequence[float], goal: float) -> tuple[int, int]:
    """Windows in which tasks arrived, and those in which enough of them began within a goal."""
    found = within = 0
    exceeds = float(goal).__lt__
    for first, last in spans(times, WINDOW):
        late = sum(map(exceeds, waits[first:last]))
        found += 1
        within += late <= (1 - SHARE) * (last - first) + 1e-9
    return found, within


def spans(times: Sequence[float], width: float) -> Iterator[tuple[int, int]]:
    """Places of the first task and after the last one of each time span in which tasks arrived."""
    first = 0
    while first < len(times):
        last = bisect_left(times, (times[first] // width + 1) * width, first)
        # Rounding must not make a span without tasks.
        last = max(last, first + 1)
        yield first, last
        first = last


def flaps_in(changes: Sequence[Written]) -> int:
    """How often pods were taken away and asked for again soon."""
    found, down = 0, -_FLAP - 1.0
    for one in changes:
        if one.replicas < one.before:
            down = one.at
        elif one.at - down <= _FLAP:
            found += 1
            down = -_FLAP - 1.0
    return found
