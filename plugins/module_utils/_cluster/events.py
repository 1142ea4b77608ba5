# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When events happened. Old and new ways to record them keep that in different fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._schema.moments import from_kept, latest

Event = Mapping[str, Any]


def event_time(event: Event) -> str | None:
    """When an event happened last."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    return latest([*times, event.get("firstTimestamp")])


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by their time, the last one at the end; those without a time before all others."""

    def moment(event: Event) -> float:
        found = from_kept(event_time(event))
        return found.timestamp() if found is not None else 0.0

    return sorted(events, key=moment)
