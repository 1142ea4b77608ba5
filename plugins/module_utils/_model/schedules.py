# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of a schedule: when a variant has other limits than its own, and how that is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._schema.counted import counted
from .._schema.keys import key
from .._schema.scalars import Flag, Integer, Text

#: Numbers of pods from which on one pod more or less is within the tenth that an HPA does not act on.
MISSED_FLOOR, MISSED_CEILING = 11, 9

_FIELDS = Text("five fields of cron in quotes, such as '0 8 * * 1-5'", r"[^\x00-\x1f]+", 200)


@dataclass(frozen=True)
class ScheduleWindow:
    """A time that comes again and again, and the limits that a variant has in it."""

    start: str = key(_FIELDS, "When the window begins: minute, hour, day, month and day of the week (0 is Sunday).", "")
    end: str = key(_FIELDS, "When it ends. It comes once after each start.", "")
    timezone: str = key(Text("the name of a time zone such as Europe/Berlin"), "Whose clock counts.", "UTC")
    min_replicas: int | None = key(
        Integer(0, 10000), "Fewest pods in the window. Above O(min_replicas) of the variant."
    )
    max_replicas: int | None = key(
        Integer(0, 10000),
        "Pods above which nothing starts in the window. Pods that are there and hold work stay until they hold none.",
    )
    paused: bool = key(Flag(), "No pod starts for messages that wait. The same as V(max_replicas: 0).", False)

    @property
    def floor(self) -> int:
        """Pods that there are at least; 0 for no floor."""
        return self.min_replicas or 0

    @property
    def ceiling(self) -> int | None:
        """Pods above which none starts; None for no ceiling."""
        return 0 if self.paused else self.max_replicas

    @property
    def time(self) -> str:
        """When it is, in words."""
        return f"{_from_to(self.start, self.end)} {self.timezone}"

    @property
    def words(self) -> str:
        """What it does and when, as a sentence without its point."""
        limits = []
        if self.floor:
            limits.append(f"at least {counted(self.floor, 'pod')}")
        if self.ceiling:
            limits.append(f"none starts above {counted(self.ceiling, 'pod')}")
        if self.ceiling == 0:
            limits.append("no pod starts for messages that wait")
        return f"{self.time}: {', '.join(limits)}"


_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_DAY_AND_TIME = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\*|[0-6](?:[-,][0-6])*)")


def _from_to(start: str, end: str) -> str:
    """Two schedules in words: C(Mon-Fri 08:00 to 18:00), or as they are written where they say more than that."""
    begins, ends = (_DAY_AND_TIME.fullmatch(" ".join(text.split())) for text in (start, end))
    if begins is None or ends is None:
        return f"from '{' '.join(start.split())}' to '{' '.join(end.split())}'"
    first, last = (f"{int(found[2]):02}:{int(found[1]):02}" for found in (begins, ends))
    days = _days(begins[3])
    other = "" if begins[3] == ends[3] else f"{_days(ends[3])} "
    return f"{days} {first} to {other}{last}"


def _days(field: str) -> str:
    return "daily" if field == "*" else re.sub(r"\d", lambda found: _DAYS[int(found[0])], field)
