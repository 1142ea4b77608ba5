# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron triggers over simulated time, as KEDA reads them (KEDA 2.20)."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from .._check.cron import check_schedule
from .._schema.problems import Problems
from .._schema.versions import Version, older

#: Days that are looked at for the next moment of a schedule.
_FARTHEST = 366 * 5
_ANY = ("*", "?")


@dataclass(frozen=True)
class _Schedule:
    """The five fields of a schedule as numbers."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    is_any_weekday: bool

    def takes(self, day: datetime) -> bool:
        """Whether it comes on a day. Where both kinds of days are named, either will do."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return of_month and of_week
        return of_month or of_week

    def after(self, moment: datetime) -> datetime:
        """The next moment after one, in the same time zone; the end of time where there is none."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(_FARTHEST):
            if self.takes(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        found = day.replace(hour=hour, minute=minute)
                        if found > moment:
                            return found
            day = (day + timedelta(days=1)).replace(hour=0)
        return datetime.max.replace(tzinfo=moment.tzinfo)


def _schedule(text: str) -> _Schedule | None:
    numbers = check_schedule("", text, Problems())
    if not numbers:
        return None
    minutes, hours, days, months, weekdays = numbers
    parts = text.split()
    return _Schedule(
        tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays, parts[2] in _ANY, parts[4] in _ANY
    )


class CronReading:
    """What a cron trigger reads at a simulated time.

    :param start: the moment at which the simulation starts.
    """

    def __init__(self, metadata: Mapping[str, str], start: datetime, keda: Version | None) -> None:
        self._first, self._last = _schedule(metadata.get("start", "")), _schedule(metadata.get("end", ""))
        self._zone = _zone(metadata.get("timezone", "UTC"))
        self._wanted = float(metadata.get("desiredReplicas") or 0)
        # Before KEDA 2.18 it is one pod outside of its time.
        self._outside = 1.0 if older(keda, "2.18") else 0.0
        self._start, self._until, self._value = start, -1.0, 0.0

    def __call__(self, now: float) -> float:
        """The number of pods that it asks for."""
        if now >= self._until:
            self._move(now)
        return self._value

    def _move(self, now: float) -> None:
        if self._first is None or self._last is None:
            self._until, self._value = float("inf"), self._outside
            return
        moment = (self._start + timedelta(seconds=now)).astimezone(self._zone)
        begins, ends = self._first.after(moment), self._last.after(moment)
        self._value = self._outside if begins < ends else self._wanted
        soonest = min(begins, ends)
        self._until = float("inf") if soonest.year == datetime.max.year else (soonest - self._start).total_seconds()


def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
