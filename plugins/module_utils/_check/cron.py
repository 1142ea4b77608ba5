# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of cron triggers, as robfig/cron reads them (KEDA 2.20)."""

from __future__ import annotations

import functools
import re
import zoneinfo
from dataclasses import dataclass

from .._schema.problems import Problems, suggest
from .trigger_parameters import DIGITS, shown


@dataclass(frozen=True)
class _CronField:
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
        if slash and not (DIGITS.fullmatch(step) and int(step) > 0):
            return False
        if span in _ANY:
            return True
        ends = [self._number(end) for end in span.split("-")]
        return len(ends) <= 2 and None not in ends and ends == sorted(end for end in ends if end is not None)

    def numbers(self, text: str) -> frozenset[int]:
        """The numbers that a field which can be read stands for."""
        return frozenset(number for part in text.split(",") for number in self._numbers_of(part))

    def _numbers_of(self, text: str) -> range:
        span, slash, step = text.partition("/")
        if span in _ANY:
            return range(self.first, self.last + 1, int(step or 1))
        ends = [self._number(end) or 0 for end in span.split("-")]
        # A step after a single number goes on to the last one there is.
        last = self.last if slash and len(ends) == 1 else ends[-1]
        return range(ends[0], last + 1, int(step or 1))

    def _number(self, text: str) -> int | None:
        if text.lower() in self.words:
            return self.first + self.words.index(text.lower())
        number = int(text) if DIGITS.fullmatch(text) else -1
        return number if self.first <= number <= self.last else None


#: How a field says that every number will do.
_ANY = ("*", "?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_FIELDS = (
    _CronField("minute", 0, 59),
    _CronField("hour", 0, 23),
    _CronField("day of the month", 1, 31),
    _CronField("month", 1, 12, _MONTHS),
    _CronField("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def check_timezone(path: str, timezone: str, problems: Problems) -> None:
    """KEDA stops reading every trigger of a ScaledObject whose time zone it does not know (2.20)."""
    known = _time_zones()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", timezone):
        problems.add(path, "write the name of a time zone such as UTC or Europe/Berlin, no offset.")
    elif known and timezone not in known:
        capitals = {name.lower(): name for name in known}
        near = capitals.get(suggest(timezone, capitals).removeprefix("did you mean '").removesuffix("'?"))
        hint = f"did you mean {near!r}?" if near else "write one such as UTC or Europe/Berlin."
        if _OLD_NAME in known:
            problems.add(path, f"there is no time zone {shown(timezone)}; {hint}")
        else:
            problems.warn(path, f"the controller knows no time zone {shown(timezone)}; {hint}")


#: A name that only a complete table has; some systems keep such names in a package of their own.
_OLD_NAME = "US/Eastern"


@functools.cache
def _time_zones() -> frozenset[str]:
    """The names of time zones that the controller knows; empty where it has no table."""
    return frozenset(zoneinfo.available_timezones())


def check_schedule(path: str, schedule: str, problems: Problems) -> tuple[frozenset[int], ...]:
    """The numbers of each field; empty for a schedule that cannot be read or never comes."""
    parts = schedule.split()
    if len(parts) != len(_CRON_FIELDS):
        names = ", ".join(item.name for item in _CRON_FIELDS)
        problems.add(
            path, f"a schedule has five fields ({names}), this has {len(parts)}; write one such as '0 8 * * *'."
        )
        return ()
    wrong = [(item, part) for item, part in zip(_CRON_FIELDS, parts, strict=True) if not item.reads(part)]
    for item, part in wrong:
        problems.add(path, f"{shown(part)} is no {item.name}; write *, or numbers from {item.first} to {item.last}.")
    if wrong:
        return ()
    numbers = tuple(item.numbers(part) for item, part in zip(_CRON_FIELDS, parts, strict=True))
    _minutes, _hours, days, months, _weekdays = numbers
    # Where a day of the week is named as well, either of both will do.
    if parts[4] in _ANY and min(days) > max(_LONGEST_MONTHS[month - 1] for month in months):
        problems.add(path, f"{shown(schedule)} never comes, because no month that it names has that day.")
        return ()
    return numbers


#: Days of each month at most.
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
