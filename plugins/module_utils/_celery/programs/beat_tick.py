# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down when the next tick of beat is due, each time that it ticks.

A ConfigMap brings this file into the container of beat. C(check_beat.py) reads what it writes.
"""

from __future__ import annotations

import os
import time
from typing import Any

from .watching import say

#: Holds when the next tick is due at the latest, in seconds since 1970.
TICK_FILE = "/tmp/celery-heartbeat-tick"
#: Seconds that a tick may take, and that it may be late: it sends whatever is due, one message after the other.
PATIENCE = 120.0
#: Seconds until the first tick. A scheduler may wait so long for the lock of a beat that was killed: RedBeat's ends
#: after 25 minutes.
FIRST_TICK = 1800.0


def install(_settings: dict[str, Any]) -> None:
    """Follow the ticks of whatever scheduler beat has."""
    from celery.beat import Service

    # A folder that outlives the container may hold the file of the one before.
    note(FIRST_TICK - PATIENCE)
    by_celery = Service.get_scheduler

    def get_scheduler(service: Any, *args: Any, **options: Any) -> Any:
        scheduler = by_celery(service, *args, **options)
        tick = scheduler.tick

        def noted(*args: Any, **options: Any) -> Any:
            note(0)
            interval = tick(*args, **options)
            note(interval or 0)
            return interval

        scheduler.tick = noted
        return scheduler

    Service.get_scheduler = get_scheduler


def note(seconds: float) -> None:
    """Write down that the next tick begins in so many seconds. An error is one line in the log of beat."""
    try:
        with open(f"{TICK_FILE}.new", "w", encoding="utf-8") as stream:
            stream.write(str(time.time() + seconds + PATIENCE))
        os.replace(f"{TICK_FILE}.new", TICK_FILE)
    except OSError as error:
        say("beat_tick", f"{type(error).__name__}: {error}")
