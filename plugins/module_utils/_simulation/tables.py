# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as tables and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from .._schema.counted import counted
from .._schema.moments import duration
from .._schema.text_tables import laid_out
from .results import Result

COLUMNS = ("variant", "tasks", "wait p50", "p95", "longest", "in time", "pods", "pod-hours", "idle", "x least")
_TICKS = "▁▂▃▄▅▆▇█"
#: Characters of a line that draws a course, and columns before it.
_LINE, _LEFT = 60, 30
_HOUR = 3600.0


def row_of(result: Result) -> dict[str, str]:
    """One variant, as people read it."""
    lowest = min(result.series.pods, default=0)
    return {
        "variant": result.title,
        "tasks": str(result.tasks),
        "wait p50": duration(round(result.waits.p50, 1)),
        "p95": duration(round(result.waits.p95, 1)),
        "longest": duration(round(result.waits.longest, 1)),
        "in time": percent(result.share_within),
        "pods": f"{lowest} to {result.peak_pods}",
        "pod-hours": f"{result.pod_seconds / _HOUR:.1f}",
        "idle": percent(result.idle_seconds / result.pod_seconds) if result.pod_seconds else "-",
        "x least": "-" if result.ratio is None else f"{result.ratio:.2f}",
    }


def percent(share: float) -> str:
    """A share; what is not quite everything is never shown as everything."""
    text = f"{share * 100:.0f} %"
    return "99 %" if text == "100 %" and share < 1 else text


def table_of(results: Sequence[Result]) -> list[str]:
    """One line for each variant."""
    rows = [row_of(result) for result in results]
    cells = [list(COLUMNS), *([row[name] for name in COLUMNS] for row in rows)]
    return laid_out(cells, [max(len(line[index]) for line in cells) for index in range(len(COLUMNS))])


def notes_of(result: Result) -> list[str]:
    """What the table has no column for, and people must know."""
    found = []
    if result.interrupted:
        what = f"{counted(result.lost, 'task')} lost" if result.lost else "they run again"
        found.append(f"a kill cuts {counted(result.interrupted, 'run')}: {what}.")
    if result.stranded:
        found.append(f"{counted(result.stranded, 'message')} left with no worker that gives them back.")
    if result.unfinished > result.stranded:
        found.append(f"{counted(result.unfinished - result.stranded, 'task')} not done at the end.")
    if result.given_back:
        found.append(f"a stopping worker gives back {counted(result.given_back, 'run')}.")
    if result.repeated:
        found.append(f"{counted(result.repeated, 'task')} delivered again while they run: raise visibility_timeout.")
    if result.flaps:
        found.append(f"pods go and come again within ten minutes {counted(result.flaps, 'time')}.")
    if not result.meets_goal and result.waits.p95 > result.goal:
        found.append(
            f"95 % of the tasks begin within {duration(round(result.waits.p95, 1))}, not {duration(result.goal)}."
        )
    return [f"{result.title}: {text}" for text in found]


def lines_of(result: Result) -> list[str]:
    """Its backlog and its pods over time, a line each."""
    title, series = result.title, result.series
    return [
        _line(f"{title} backlog", series.backlog, str(max(series.backlog, default=0))),
        _line(f"{' ' * len(title)} pods", series.pods, str(max(series.pods, default=0))),
    ]


def _line(name: str, values: Sequence[float], most: str) -> str:
    return f"{name[:_LEFT].ljust(_LEFT)} {spark(values, _LINE)} {most}"


def spark(values: Sequence[float], width: int) -> str:
    """Numbers as a line of bars: the highest of each stretch. What is above zero is never drawn as nothing."""
    if not values:
        return ""
    columns = min(width, len(values))
    edges = [len(values) * number // columns for number in range(columns + 1)]
    peaks = [max(values[first:last]) for first, last in pairwise(edges)]
    highest = max(peaks)
    return "".join(_tick(peak, highest) for peak in peaks)


def _tick(value: float, highest: float) -> str:
    if value <= 0:
        return " "
    return _TICKS[min(len(_TICKS) - 1, int(value / highest * len(_TICKS)))]


def page_of(results: Sequence[Result], more: Iterable[str] = ()) -> list[str]:
    """All of it: the table, what it has no column for, and the courses.

    :param more: further lines.
    """
    if not results:
        return ["No variant has a load. Write celery_workers_loads."]
    notes = [*(note for result in results for note in notes_of(result)), *more]
    courses = [line for result in results for line in lines_of(result)]
    return [*table_of(results), *([""] if notes else []), *notes, "", *courses]


def rows_of(results: Iterable[Result], with_series: bool) -> list[dict[str, Any]]:
    """Results as plain data."""
    return [result.as_data(with_series) for result in results]
