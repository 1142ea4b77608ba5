# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a simulation in as many columns as a picture has room for. Highest and lowest numbers stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

from .._simulation.control import Written
from .._simulation.results import Result
from .words import week_second

#: Columns of a picture at most, and of all pictures of a page together, so that it stays below a megabyte.
MOST_COLUMNS, _TOGETHER = 360, 8000
#: Numbers of a series that a picture shows.
SHOWN = ("backlog", "in_flight", "pods", "ready", "wanted", "wait")


def columns_for(pictures: int) -> int:
    """Columns of each picture of a page."""
    return min(MOST_COLUMNS, max(1, _TOGETHER // max(1, pictures)))


def course_of(result: Result, columns: int = MOST_COLUMNS) -> dict[str, Any]:
    """The numbers that the picture of one variant is drawn from.

    :param columns: of the picture at most; as many changes of the number of pods can be told one by one.

    C(high) and C(low) hold the highest and the lowest number of each column, C(low) only where it differs.
    C(says) holds what KEDA and the HPA said at the end of a column, from the column on in which they said so first.
    """
    series = result.series
    size = max(1, ceil(len(series.times) / columns))
    high, low = {}, {}
    for name in SHOWN:
        values = [_short(value) for value in getattr(series, name)]
        parts = [values[first : first + size] for first in range(0, len(values), size)]
        high[name], lowest = [max(part) for part in parts], [min(part) for part in parts]
        if lowest != high[name]:
            low[name] = lowest
    texts: list[str] = []
    told = list(zip(series.keda, series.hpa, series.asked, strict=True))
    ends = [told[min(first + size, len(told)) - 1] for first in range(0, len(told), size)]
    says = [[_place(keda, texts), _place(hpa, texts), -1 if asked is None else asked] for keda, hpa, asked in ends]
    changes = _few(result.changes, size * series.step, columns)
    return {
        "title": result.title,
        "step": size * series.step,
        "columns": len(high["pods"]),
        "goal": result.goal,
        "begins": week_second(result.start),
        "high": high,
        "low": low,
        "says": _runs(says),
        "changes": [[round(one.at), one.by, one.before, one.replicas, _place(one.reason, texts)] for one in changes],
        "texts": texts,
        "untold": len(result.changes) - len(changes),
    }


def _short(value: float) -> float:
    """A number with as many digits as anybody reads."""
    return round(value) if value >= 10 or value == int(value) else round(value, 1)


def _place(text: str, texts: list[str]) -> int:
    if text not in texts:
        texts.append(text)
    return texts.index(text)


def _runs(rows: Iterable[list[int]]) -> list[list[int]]:
    """Only the rows that differ from the one before, each with its place first."""
    found: list[list[int]] = []
    for place, row in enumerate(rows):
        if not found or found[-1][1:] != row:
            found.append([place, *row])
    return found


def _few(changes: Sequence[Written], width: float, most: int) -> list[Written]:
    """The changes; where they are too many, those to the most and to the fewest pods of each time span."""
    if len(changes) <= most:
        return list(changes)
    spans: dict[int, list[Written]] = {}
    for one in changes:
        spans.setdefault(int(one.at // width), []).append(one)
    found = []
    for together in spans.values():
        ends = (max(together, key=_replicas), min(together, key=_replicas))
        found += [one for one in together if any(one is end for end in ends)]
    return found


def _replicas(one: Written) -> int:
    return one.replicas
