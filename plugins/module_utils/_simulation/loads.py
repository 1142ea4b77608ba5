# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrivals of tasks, drawn from a load with one seed: the same seed gives the same tasks."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from operator import le
from typing import NamedTuple

from .._model.loads import DAY, TASK_SECONDS, Daily, Load, Row, TaskTimes
from .._schema.counted import counted

_HOUR = 3600.0
#: Seconds in which a curve is taken for level, and in which noise has one value.
_LEVEL = 600.0
#: How many standard deviations of a normal curve 95 % lie below.
_P95 = 1.6448536269514722


class Fails(NamedTuple):
    """How runs fail.

    :param share: of the runs that fail.
    :param most: how often a task is retried.
    :param after: seconds until it is.
    """

    share: float = 0.0
    most: int = 0
    after: float = 0.0


_NEVER = Fails()


@dataclass
class Arrivals:
    """The tasks of one variant, in the order in which they come; a task is its place in them.

    :param times: when each comes, in seconds.
    :param seconds: how long each takes.
    :param priorities: of each, or empty where none has one.
    :param due: seconds at which tasks with an ETA may begin, by task.
    :param fails: how runs fail, once for each load that they come from.
    :param origins: of each task the place of its load in C(fails), or empty where there is one at most.
    """

    times: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    priorities: bytes = b""
    due: dict[int, float] = field(default_factory=dict)
    fails: tuple[Fails, ...] = ()
    origins: array[int] = field(default_factory=lambda: array("L"))

    @property
    def may_fail(self) -> bool:
        """Whether any run fails."""
        return any(one.share for one in self.fails)

    def fails_of(self, task: int) -> Fails:
        """How the runs of a task fail."""
        return self.fails[self.origins[task] if self.origins else 0] if self.fails else _NEVER

    @property
    def work(self) -> float:
        """Seconds of work in all."""
        return math.fsum(self.seconds)


def arrivals_of(
    loads: Sequence[Load],
    hours: float,
    seed: int | str,
    task_seconds: float | None = None,
    files: Mapping[tuple[str, str], Sequence[Row]] | None = None,
) -> Arrivals:
    """The tasks that some loads send together.

    :param hours: how long they send.
    :param seed: what random choices come from.
    :param task_seconds: of a task where the load does not say it.
    :param files: tasks of the files that loads name, by key and path. What comes after the last hour is left out.
    """
    times, seconds, priorities, etas = array("d"), array("d"), bytearray(), array("d")
    origins = array("L")
    for number, load in enumerate(loads):
        # A load of its own chance: another one beside it changes nothing of it.
        chance = random.Random(f"{seed}/{number}")
        length = _times(load.task_seconds or TaskTimes(*2 * (task_seconds or TASK_SECONDS,)), chance)
        before = len(times)
        place = file_of(load)
        if place is not None:
            rows = [row for row in (files or {}).get(place, ()) if row.at <= hours * _HOUR]
            times.extend(row.at for row in rows)
            seconds.extend(next(length) if row.seconds is None else row.seconds for row in rows)
            priorities.extend(row.priority for row in rows)
            etas.extend(row.eta for row in rows)
        else:
            times.extend(_moments(load, hours * _HOUR, chance))
            new = range(len(times) - before)
            seconds.extend(islice(length, len(new)))
            priorities.extend(_priorities(load, chance, len(new)))
            etas.extend(_etas(load, chance, len(new)))
        origins.extend([number] * (len(times) - before))
    found = Arrivals(times, seconds, bytes(priorities), origins=origins)
    found.fails = tuple(Fails(load.failure_share, load.retries, load.retry_seconds) for load in loads)
    return _in_order(found, etas)


def merged(parts: Sequence[Arrivals]) -> tuple[Arrivals, array[int]]:
    """The tasks of several variants in the order in which they come, and of each the place of its variant."""
    found, owners = Arrivals(), array("L")
    priorities = bytearray()
    for number, part in enumerate(parts):
        before, size = len(found.times), len(part.times)
        found.times.extend(part.times)
        found.seconds.extend(part.seconds)
        priorities += part.priorities or bytes(size)
        found.due.update((before + task, moment) for task, moment in part.due.items())
        found.origins.extend(len(found.fails) + origin for origin in part.origins or bytes(size))
        found.fails += part.fails or (_NEVER,)
        owners.extend([number] * size)
    order = sorted(range(len(owners)), key=found.times.__getitem__)
    times, seconds = (array("d", map(one.__getitem__, order)) for one in (found.times, found.seconds))
    due = {place: found.due[task] for place, task in enumerate(order) if task in found.due}
    origins, owners = (array("L", map(one.__getitem__, order)) for one in (found.origins, owners))
    ranked = bytes(map(priorities.__getitem__, order)) if any(priorities) else b""
    return Arrivals(times, seconds, ranked, due, found.fails, origins), owners


def file_of(load: Load) -> tuple[str, str] | None:
    """The key and the path of the file that holds the tasks of a load; None where it has none."""
    found = [(name, path) for name in ("csv", "prometheus") if (path := getattr(load, name)) is not None]
    return found[0] if found else None


def too_late(load: Load, rows: Sequence[Row], hours: float) -> str:
    """What of a load comes after the hours that are simulated, in words; empty where nothing does.

    :param rows: the tasks of its file, if it has one.
    """
    late = sum(row.at > hours * _HOUR for row in rows)
    place = file_of(load)
    if late and place is not None:
        return f"{late} of the {counted(len(rows), 'task')} of {place[1]}"
    if load.burst is not None and load.at_hour >= hours:
        return f"the burst at hour {load.at_hour:g}"
    steps = [hour for hour, _other in load.steps or () if hour >= hours]
    return f"the steps from hour {steps[0]:g} on" if steps else ""


def _in_order(drawn: Arrivals, etas: array[float]) -> Arrivals:
    times, seconds, priorities, origins = drawn.times, drawn.seconds, drawn.priorities, drawn.origins
    order: Sequence[int] = range(len(times))
    if not all(map(le, times, islice(times, 1, None))):
        order = sorted(order, key=times.__getitem__)
        times, seconds = (array("d", map(one.__getitem__, order)) for one in (times, seconds))
        priorities, etas = bytes(map(priorities.__getitem__, order)), array("d", map(etas.__getitem__, order))
        origins = array("L", map(origins.__getitem__, order))
    return Arrivals(
        times,
        seconds,
        priorities if any(priorities) else b"",
        {task: times[task] + eta for task, eta in enumerate(etas) if eta} if any(etas) else {},
        drawn.fails,
        origins if drawn.may_fail and len(drawn.fails) > 1 else array("L"),
    )


def _times(times: TaskTimes, chance: random.Random) -> Iterator[float]:
    """How long tasks take, one after the other."""
    if times.listed:
        return (chance.choice(times.listed) for _other in repeat(None))
    if times.p50 == times.p95:
        return repeat(times.p50)
    return _lognormal(math.log(times.p50), math.log(times.p95 / times.p50) / _P95, chance.random)


def _lognormal(middle: float, width: float, draw: Callable[[], float]) -> Iterator[float]:
    """Numbers whose logarithms are normal, two for each two draws: those of C(random.gauss), in half the time."""
    exp, log, sqrt, cos, sin = math.exp, math.log, math.sqrt, math.cos, math.sin
    while True:
        angle = draw() * math.tau
        radius = sqrt(-2.0 * log(1.0 - draw()))
        yield exp(middle + cos(angle) * radius * width)
        yield exp(middle + sin(angle) * radius * width)


def _priorities(load: Load, chance: random.Random, number: int) -> Iterable[int]:
    if not load.priorities:
        return bytes(number)
    names, shares = [int(name) for name, _other in load.priorities], [share for _other, share in load.priorities]
    return chance.choices(names, shares, k=number)


def _etas(load: Load, chance: random.Random, number: int) -> Iterable[float]:
    if not load.eta_share:
        return bytes(number)
    return [load.eta_seconds if chance.random() < load.eta_share else 0.0 for _other in range(number)]


def _moments(load: Load, until: float, chance: random.Random) -> Iterator[float]:
    """When the tasks of a load come."""
    if load.burst is not None:
        return _bursts(load, load.burst, until)
    is_even = load.spread == "even"
    if load.steps is not None:
        return _spread(_steps(load.steps, until), is_even, chance)
    if load.daily is not None:
        return _spread(_curve(load.daily, until, chance), is_even, chance)
    return _spread([(until, (load.per_hour or 0.0) / _HOUR)], is_even, chance)


def _bursts(load: Load, tasks: int, until: float) -> Iterator[float]:
    moment = load.at_hour * _HOUR
    while moment < until:
        yield from [moment] * tasks
        if load.every_hours is None:
            return
        moment += load.every_hours * _HOUR


#: Tasks a second until a time.
_Levels = Iterable[tuple[float, float]]


def _steps(steps: Sequence[tuple[float, float]], until: float) -> _Levels:
    if steps[0][0] > 0:
        yield min(steps[0][0] * _HOUR, until), 0.0
    for number, (_other, rate) in enumerate(steps):
        end = steps[number + 1][0] * _HOUR if number + 1 < len(steps) else until
        yield min(end, until), rate / _HOUR


def _curve(daily: Daily, until: float, chance: random.Random) -> _Levels:
    moment = 0.0
    while moment < until:
        hours = (moment + _LEVEL / 2) / _HOUR - daily.peak_hour
        height = (1 + math.cos(2 * math.pi * hours / DAY)) / 2
        noise = 1 + daily.noise * chance.uniform(-1.0, 1.0)
        moment += _LEVEL
        yield min(moment, until), (daily.low + (daily.high - daily.low) * height) * noise / _HOUR


def _spread(levels: _Levels, is_even: bool, chance: random.Random) -> Iterator[float]:
    """Moments of tasks that come at changing rates: one each time that the rates add up to a drawn amount."""
    draw, log = chance.random, math.log
    moment, left = 0.0, 0.5 if is_even else -log(1.0 - draw())
    for end, rate in levels:
        if not rate:
            moment = end
            continue
        while moment + left / rate < end:
            moment += left / rate
            yield moment
            left = 1.0 if is_even else -log(1.0 - draw())
        left -= (end - moment) * rate
        moment = end
