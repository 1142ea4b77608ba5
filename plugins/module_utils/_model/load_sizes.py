# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many tasks a load sends, worked out before any is drawn: a slip of some zeros must not fill the memory."""

from __future__ import annotations

import math
from itertools import pairwise

from .loads import DAY, Daily, Load

#: Runs of tasks that one variant is simulated with at most.
MOST_TASKS = 5_000_000


def runs_in(load: Load, hours: float) -> float:
    """Runs that a load is expected to start, those that it repeats included; 0 of one whose tasks are in a file.

    :param hours: how long it sends.
    """
    return _tasks_in(load, hours) * tries_of(load)


def tries_of(load: Load) -> float:
    """Runs of one task on average, because some fail and are tried again."""
    return sum(load.failure_share**number for number in range(load.retries + 1))


def _tasks_in(load: Load, hours: float) -> float:
    if load.burst is not None:
        return load.burst * _times_in(load, hours)
    if load.steps is not None:
        edges = [min(hour, hours) for hour, _other in load.steps] + [hours]
        return sum(
            (end - begin) * rate for (begin, end), (_other, rate) in zip(pairwise(edges), load.steps, strict=True)
        )
    if load.daily is not None:
        return _of_curve(load.daily, hours)
    return (load.per_hour or 0.0) * hours


def _times_in(load: Load, hours: float) -> int:
    """How often a burst comes."""
    if load.at_hour >= hours:
        return 0
    return 1 if load.every_hours is None else math.ceil((hours - load.at_hour) / load.every_hours)


def _of_curve(daily: Daily, hours: float) -> float:
    """The area below the curve of some days."""
    turn = 2 * math.pi / DAY
    waves = (math.sin(turn * (hours - daily.peak_hour)) + math.sin(turn * daily.peak_hour)) / turn
    return daily.low * hours + (daily.high - daily.low) * (hours + waves) / 2
