# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of cron triggers, as robfig/cron reads them (KEDA 2.20)."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Callable

from .._schema.cron import ANY, CRON_FIELDS, course
from .._schema.problems import Problems, suggest
from .trigger_parameters import shown


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
    if len(parts) != len(CRON_FIELDS):
        names = ", ".join(item.name for item in CRON_FIELDS)
        problems.add(
            path, f"a schedule has five fields ({names}), this has {len(parts)}; write one such as '0 8 * * *'."
        )
        return ()
    wrong = [(item, part) for item, part in zip(CRON_FIELDS, parts, strict=True) if not item.reads(part)]
    for item, part in wrong:
        problems.add(path, f"{shown(part)} is no {item.name}; write *, or numbers from {item.first} to {item.last}.")
    if wrong:
        return ()
    numbers = tuple(item.numbers(part) for item, part in zip(CRON_FIELDS, parts, strict=True))
    _minutes, _hours, days, months, _weekdays = numbers
    # Where a day of the week is named as well, either of both will do.
    if parts[4] in ANY and min(days) > max(_LONGEST_MONTHS[month - 1] for month in months):
        problems.add(path, f"{shown(schedule)} never comes, because no month that it names has that day.")
        return ()
    return numbers


#: Days of each month at most.
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


#: What KEDA makes of a time that the clocks skip: it asks which of start and end comes next (2.20).
_SKIPPED = {
    "start": "KEDA would open the window at its end before, about a day early",
    "end": "KEDA would not open the window that should end then",
}
_TWICE = {
    "start": "KEDA counts the time between the two as outside of the window",
    "end": "KEDA counts the time between the two as part of the window",
}
_DAY_AND_TIME = "%a %Y-%m-%d %H:%M"


def check_window(path: str, start: str, end: str, timezone: str, note: Callable[[str, str], None]) -> None:
    """What KEDA would read otherwise than it was meant, of two schedules that come.

    :param path: of what holds start and end.
    :param note: where a fault goes: a problem, or a warning.
    """
    found = course(start, end, timezone)
    if found.skipped is not None:
        word, clock = found.skipped
        written = start if word == "start" else end
        note(
            f"{path}.{word}",
            f"{shown(written)} comes on {clock:{_DAY_AND_TIME}}, which daylight saving skips in {timezone}: "
            f"{_SKIPPED[word]}. Write another hour, or timezone: UTC.",
        )
    elif found.twice is not None:
        word, before, clock = found.twice
        other = "end" if word == "start" else "start"
        note(
            f"{path}.{word}",
            f"{word} comes on {before:{_DAY_AND_TIME}} and on {clock:{_DAY_AND_TIME}}, and {other} does not come "
            f"between them: {_TWICE[word]}. Write start and end so that they take turns, and a window of its own for "
            "each further time.",
        )
