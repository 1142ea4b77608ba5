# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time: read from what a person writes, kept as text, shown to people. Nothing here reads a clock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

#: What a person may write.
HOW_TO_WRITE = (
    "a duration such as 2h, 90m or 1d, or a time with its zone such as 2026-11-30T18:00Z or 2026-11-30T18:00+01:00"
)

_PART = re.compile(r"(\d{1,9})\s*(s|min|m|h|d|w)\s*")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Nothing is planned further ahead, and years above 9999 could not be kept.
_LONGEST = timedelta(days=3660)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def read_moment(text: str, now: datetime) -> datetime:
    """The time that a person means.

    :raises ValueError: with what is wrong, as half a sentence.
    """
    written = text.strip()
    found = _after(written, now) if written[:1].isdigit() and written[-1:].isalpha() else None
    if found is None:
        try:
            found = datetime.fromisoformat(written)
        except ValueError:
            raise ValueError(f"{written[:60]!r} is no time; write {HOW_TO_WRITE}") from None
    if found.tzinfo is None:
        raise ValueError(f"{written!r} has no time zone; write {written}Z for UTC, or add an offset such as +01:00")
    if found <= now:
        raise ValueError(f"{written!r} is in the past: it is {shown(now)} now")
    if found > now + _LONGEST:
        raise ValueError(f"{written!r} is more than ten years away; write a nearer time")
    return found.astimezone(UTC)


def read_duration(text: str) -> timedelta | None:
    """The duration that a person means, the longest there is for one that is longer; None for what is no duration."""
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        return None
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        return timedelta.max


def _after(text: str, now: datetime) -> datetime | None:
    """The end of a duration that begins now; None for what is no duration."""
    duration = read_duration(text)
    if duration is None:
        return None
    try:
        return now + duration
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def kept(moment: datetime) -> str:
    """A time as annotations hold it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_kept(text: object) -> datetime | None:
    """A time that an annotation holds; None if it holds none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None


def shown(moment: datetime) -> str:
    """A time as messages show it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """A time span in words of one unit."""
    if seconds < 2 * _MINUTE:
        return f"{int(seconds)} s"
    if seconds < 2 * _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h"
    return f"{int(seconds // _DAY)} days"


def latest(times: Iterable[object]) -> str | None:
    """The last of several times."""
    return max((str(one) for one in times if from_kept(one) is not None), key=_order, default=None)


def earliest(times: Iterable[object]) -> str | None:
    """The first of several times."""
    return min((str(one) for one in times if from_kept(one) is not None), key=_order, default=None)


def _order(text: str) -> float:
    found = from_kept(text)
    return found.timestamp() if found is not None else 0.0
