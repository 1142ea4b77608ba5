# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as API servers write them, and how long ago they are. Nothing here reads a clock."""

from __future__ import annotations

from datetime import datetime

from .._schema.moments import duration, from_kept


def seconds_since(text: object, now: datetime) -> float | None:
    """How long ago it was. Clocks differ, so what is in the future is now."""
    then = from_kept(text)
    return None if then is None else max(0.0, (now - then).total_seconds())


def ago(text: object, now: datetime) -> str:
    """How long ago a time is, in words; empty where it is not known."""
    seconds = seconds_since(text, now)
    return "" if seconds is None else f"{duration(seconds)} ago"


def lasting(text: object, now: datetime) -> str:
    """How long something lasts that began then, with a blank before it; empty where it is not known."""
    seconds = seconds_since(text, now)
    return "" if seconds is None else f" for {duration(seconds)}"
