# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of five fields as robfig/cron reads them, and the windows that KEDA makes of two of them (KEDA 2.20)."""

from __future__ import annotations

import functools
import itertools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_DIGITS = re.compile(r"[0-9]{1,9}")
#: How a field says that every number will do.
ANY = ("*", "?")
_DAY = timedelta(days=1)
#: Days in which a schedule must come again; robfig/cron looks five years ahead.
_LONGEST_SEARCH = 5 * 366


@dataclass(frozen=True)
class CronField:
    """One of the five fields of a schedule, with the limits of the parser that KEDA 2.20 uses.

    That parser counts the days of a week from 0 to 6 only: 7 is no Sunday.
    """

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def reads(self, text: str) -> bool:
        """Whether the field has this form: C(*), C(5), C(1-5), C(*/10), C(mon-fri), and lists of them."""
        return all(self._reads_range(part) for part in text.split(","))

    def _reads_range(self, text: str) -> bool:
        span, slash, step = text.partition("/")
        if slash and not (_DIGITS.fullmatch(step) and int(step) > 0):
            return False
        if span in ANY:
            return True
        ends = [self._number(end) for end in span.split("-")]
        return len(ends) <= 2 and None not in ends and ends == sorted(end for end in ends if end is not None)

    def numbers(self, text: str) -> frozenset[int]:
        """The numbers that a field which can be read stands for."""
        return frozenset(number for part in text.split(",") for number in self._numbers_of(part))

    def _numbers_of(self, text: str) -> range:
        span, slash, step = text.partition("/")
        if span in ANY:
            return range(self.first, self.last + 1, int(step or 1))
        ends = [self._number(end) or 0 for end in span.split("-")]
        # A step after a single number goes on to the last one there is.
        last = self.last if slash and len(ends) == 1 else ends[-1]
        return range(ends[0], last + 1, int(step or 1))

    def _number(self, text: str) -> int | None:
        if text.lower() in self.words:
            return self.first + self.words.index(text.lower())
        number = int(text) if _DIGITS.fullmatch(text) else -1
        return number if self.first <= number <= self.last else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
CRON_FIELDS = (
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day of the month", 1, 31),
    CronField("month", 1, 12, _MONTHS),
    CronField("day of the week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True)
class Schedule:
    """When something comes.

    :param either: whether one of both days is enough: where the schedule names days of the month and of the week.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    @property
    def times(self) -> list[tuple[int, int]]:
        """Hours and minutes of a day on which it comes."""
        return [(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]

    def is_on(self, day: date) -> bool:
        """Whether it comes on a day."""
        found = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (any(found) if self.either else all(found))

    def on_clocks(self, first: date, last: date) -> Iterator[datetime]:
        """The times that it names from one day to another, as clocks show them."""
        day, times = first, self.times
        while day <= last:
            if self.is_on(day):
                yield from (datetime(day.year, day.month, day.day, hour, minute) for hour, minute in times)
            day += _DAY

    def after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """When it comes next, as robfig/cron says: not in an hour that is skipped, and in one that comes twice, twice.

        :returns: None if it does not come within five years.
        """
        day = moment.astimezone(zone).date() - _DAY
        for _number in range(_LONGEST_SEARCH):
            found = [
                real
                for clock in (self.on_clocks(day, day) if self.is_on(day) else ())
                for fold in (0, 1)
                if (real := on_clock(clock, zone, fold)) is not None and real > moment
            ]
            if found:
                return min(found)
            day += _DAY
        return None


@functools.lru_cache(maxsize=256)
def parsed(text: str) -> Schedule | None:
    """A schedule as it is read; None for one that cannot be read."""
    parts = text.split()
    if len(parts) != len(CRON_FIELDS) or not all(map(CronField.reads, CRON_FIELDS, parts)):
        return None
    minutes, hours, days, months, weekdays = map(CronField.numbers, CRON_FIELDS, parts)
    either = not (_says_any(parts[2]) or _says_any(parts[4]))
    return Schedule(minutes, hours, days, months, weekdays, either)


def _says_any(field: str) -> bool:
    """Whether a field of days leaves the choice to the other one. A step above 1 takes days out."""
    spans = [part.partition("/") for part in field.split(",")]
    return any(span in ANY and step in ("", "1") for span, _slash, step in spans)


def on_clock(clock: datetime, zone: tzinfo, fold: int = 0) -> datetime | None:
    """When the clocks of a zone show a time; None for one that they skip."""
    moment = clock.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == clock else None


@functools.lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo | None:
    """A time zone; None for one that this machine does not know."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC if name == "UTC" else None


def is_open(start: str, end: str, timezone: str, moment: datetime) -> bool | None:
    """Whether a cron trigger of KEDA's is in its time: that is so while its end comes before its start.

    :returns: None where the schedules or the zone cannot be read.
    """
    begins, ends, zone = parsed(start), parsed(end), zone_of(timezone)
    if begins is None or ends is None or zone is None:
        return None
    next_start, next_end = begins.after(moment, zone), ends.after(moment, zone)
    return next_end is not None and (next_start is None or next_end <= next_start)


#: Three years with a leap day in them: enough for each rule of daylight saving and each day of the week.
_FIRST, _LAST = date(2026, 1, 1), date(2028, 12, 31)


@dataclass(frozen=True)
class Course:
    """How a window goes over some years.

    :param spans: when it is open.
    :param skipped: C(start) or C(end), and a time of it that the clocks of its zone skip.
    :param twice: C(start) or C(end), and two times of it between which the other one does not come.
    """

    spans: tuple[tuple[datetime, datetime], ...] = ()
    skipped: tuple[str, datetime] | None = None
    twice: tuple[str, datetime, datetime] | None = None


@functools.lru_cache(maxsize=64)
def course(start: str, end: str, timezone: str) -> Course:
    """How the window of two schedules that can be read goes."""
    zone = zone_of(timezone) or UTC
    events: list[tuple[datetime, str, datetime]] = []
    missed: list[tuple[datetime, str, datetime]] = []
    for word, schedule in (("end", parsed(end)), ("start", parsed(start))):
        for clock in schedule.on_clocks(_FIRST, _LAST) if schedule is not None else ():
            real = on_clock(clock, zone)
            event = (real or clock.replace(tzinfo=zone).astimezone(UTC), word, clock)
            (missed if real is None else events).append(event)
    # An end counts before a start of the same minute: the window goes on.
    events.sort(key=lambda event: event[:2])
    for before, event in itertools.pairwise(events):
        if before[1] == event[1]:
            skipped = [one for one in missed if before[0] < one[0] <= event[0]]
            return Course(skipped=skipped[0][1:]) if skipped else Course(twice=(event[1], before[2], event[2]))
    opened = [moment for moment, word, _clock in events if word == "start"]
    closed = [moment for moment, word, _clock in events if word == "end"]
    if closed and opened and closed[0] < opened[0]:
        opened.insert(0, closed[0] - _DAY)
    return Course(tuple(zip(opened, closed, strict=False)))
