# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads and times in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from .._model.loads import TASK_SECONDS, Load, TaskTimes, pod_start
from .._schema.counted import counted
from .._schema.moments import duration
from .._simulation.tables import percent

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def load_words(load: Load, task_seconds: float | None) -> str:
    """A load as a sentence without its point.

    :param task_seconds: of the variant.
    """
    parts = [_when(load), _how_long(load.task_seconds, task_seconds, load.csv is not None)]
    if load.priorities:
        shares = ", ".join(f"priority {name:g} for {share:g}" for name, share in load.priorities)
        parts.append(f"{shares} of {sum(dict(load.priorities).values()):g}")
    if load.eta_share:
        parts.append(f"{percent(load.eta_share)} sent {duration(load.eta_seconds)} ahead")
    if load.failure_share:
        retried = f"retried {counted(load.retries, 'time')} at most after {duration(load.retry_seconds)}"
        parts.append(f"{percent(load.failure_share)} of the runs fail, {retried}")
    return "; ".join(parts)


def pods_words(loads: Sequence[Load], start_seconds: float | None) -> str:
    """How fast pods start, and how many there may be.

    :param start_seconds: of the variant.
    """
    start = pod_start(loads, start_seconds)
    rooms = [load.most_pods for load in loads if load.most_pods is not None]
    text = f"A pod begins its first task {duration(start)} after its creation"
    return f"{text}, and the nodes have room for {counted(min(rooms), 'pod')}" if rooms else text


def week_second(start: datetime) -> int:
    """Seconds from Monday 00:00 UTC to a moment of the same week."""
    moment = start.astimezone(UTC)
    return moment.weekday() * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second


def clock(seconds: float, start: datetime) -> str:
    """A time after the start."""
    minutes = int((seconds + week_second(start)) // 60)
    return f"{_DAYS[minutes // 1440 % 7]} {minutes // 60 % 24:02}:{minutes % 60:02}"


def _when(load: Load) -> str:
    if load.prometheus is not None:
        return f"the tasks that Prometheus counted, of {load.prometheus.rpartition('/')[2]}"
    if load.csv is not None:
        return f"the tasks of {load.csv.rpartition('/')[2]}"
    if load.burst is not None:
        again = f", and again every {load.every_hours:g} h" if load.every_hours is not None else ""
        return f"{counted(load.burst, 'task')} at once at hour {load.at_hour:g}{again}"
    come = " at even distances" if load.spread == "even" else ""
    if load.steps is not None:
        steps = ", ".join(f"{rate:g} from hour {hour:g}" for hour, rate in load.steps)
        return f"tasks an hour{come}: {steps}"
    if load.daily is not None:
        daily = load.daily
        noise = f", {percent(daily.noise)} of noise" if daily.noise else ""
        return f"{daily.low:g} to {daily.high:g} tasks an hour{come}, most of them at hour {daily.peak_hour:g}{noise}"
    return f"{load.per_hour or 0:g} {'task' if load.per_hour == 1 else 'tasks'} an hour{come}"


def _how_long(times: TaskTimes | None, task_seconds: float | None, from_file: bool) -> str:
    if times is None:
        text = f"each runs {task_seconds or TASK_SECONDS:g} s"
        return f"{text} where the file does not say it" if from_file else text
    if times.listed:
        return f"each runs one of {', '.join(f'{one:g}' for one in times.listed)} s"
    if times.p50 == times.p95:
        return f"each runs {times.p50:g} s"
    return f"half of them run less than {times.p50:g} s, and 95 % less than {times.p95:g} s"
