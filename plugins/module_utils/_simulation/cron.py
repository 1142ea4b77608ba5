# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron triggers over simulated time, as KEDA reads them (KEDA 2.20)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from .._schema.cron import Schedule, parsed, zone_of
from .._schema.versions import Version, older
from .scaled_object import Closed


class CronReading:
    """What a cron trigger reads at a simulated time.

    :param start: the moment at which the simulation starts.
    """

    def __init__(self, metadata: Mapping[str, str], start: datetime, keda: Version | None) -> None:
        self._first, self._last = parsed(metadata.get("start", "")), parsed(metadata.get("end", ""))
        self._zone = zone_of(metadata.get("timezone", "UTC")) or UTC
        self._wanted = float(metadata.get("desiredReplicas") or 0)
        # Before KEDA 2.18 it is one pod outside of its time.
        self._outside = Closed(1.0 if older(keda, "2.18") else 0.0)
        self._start, self._until, self._value = start, -1.0, 0.0

    def __call__(self, now: float) -> float:
        """The number of pods that it asks for."""
        if now >= self._until:
            self._move(now)
        return self._value

    def _move(self, now: float) -> None:
        begins, ends = self._after(self._first, now), self._after(self._last, now)
        is_open = ends != float("inf") and ends <= begins
        self._value, self._until = self._wanted if is_open else self._outside, min(begins, ends)

    def _after(self, schedule: Schedule | None, now: float) -> float:
        """Seconds at which a schedule comes next; infinity where it never does."""
        moment = schedule.after(self._start + timedelta(seconds=now), self._zone) if schedule is not None else None
        return float("inf") if moment is None else (moment - self._start).total_seconds()
