# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The week of a variant's schedule: when each of its windows is open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from .._model.schedules import ScheduleWindow
from .._simulation.cron import CronReading
from .._simulation.results import MONDAY
from .markup import Markup, tag

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAY, _STEP = 1440, 5
#: Top and height of what a window is drawn as, in percent of its row: a floor lies low, a ceiling hangs.
_PLACES = {"floor": ("55", "45"), "ceiling": ("0", "45"), "pause": ("4", "92")}
_BOTH = ("0", "100")


def open_times(window: ScheduleWindow) -> list[tuple[int, int]]:
    """When a window is open in a week, in minutes after Monday midnight of its own time zone."""
    zone = ZoneInfo(window.timezone)
    start = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=zone)
    metadata = {"start": window.start, "end": window.end, "timezone": window.timezone, "desiredReplicas": "1"}
    reading = CronReading(metadata, start, None)
    states = [reading(minute * 60.0) > 0 for minute in range(0, 7 * _DAY, _STEP)]
    edges = [0, *(place for place, (one, next_) in enumerate(pairwise(states), 1) if one != next_), len(states)]
    return [(first * _STEP, last * _STEP) for first, last in pairwise(edges) if states[first]]


def week_of(schedule: Sequence[ScheduleWindow]) -> Markup:
    """A picture of a week, and the same in words."""
    opened = [(window, open_times(window)) for window in schedule]
    rows = [
        tag("div", tag("span", name, class_="day"), _row(opened, number * _DAY)) for number, name in enumerate(DAYS)
    ]
    hours = tag("p", *(tag("span", f"{hour:02}") for hour in (0, 6, 12, 18, 24)), class_="hours")
    picture = tag("div", *rows, hours, class_="week", role="img", aria_label="A week. The list below says the same.")
    words = tag("ul", *(tag("li", f"{window.words}.") for window in schedule))
    legend = "At the foot of a day: as many pods at least. At its top: none starts above so many. Outlined: a pause."
    return tag("section", tag("h3", "Its week"), picture, tag("p", legend, class_="dim"), words)


def _row(opened: Sequence[tuple[ScheduleWindow, list[tuple[int, int]]]], day: int) -> Markup:
    """The blocks of one day."""
    blocks = [
        _block(window, max(first, day) - day, min(last, day + _DAY) - day)
        for window, times in opened
        for first, last in times
        if first < day + _DAY and last > day
    ]
    return tag("svg", *blocks, viewBox=f"0 0 {_DAY} 100", preserveAspectRatio="none")


def _block(window: ScheduleWindow, first: int, last: int) -> Markup:
    kind = "pause" if window.ceiling == 0 else "ceiling" if window.ceiling else "floor"
    top, height = _BOTH if window.floor and window.ceiling else _PLACES[kind]
    return tag("rect", class_=kind, x=str(first), y=top, width=str(last - first), height=height)
