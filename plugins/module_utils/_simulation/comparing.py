# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two simulations of a variant side by side, and which changes a gate refuses.

Both are rows as L(Result.as_data) gives them, because the earlier one may come from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._schema.moments import duration

Row = Mapping[str, Any]
_HOUR = 3600.0
#: How much longer a wait may be that misses its goal anyway.
_NOISE = 1.1


def difference(before: Row, after: Row) -> list[str]:
    """What people see of the difference."""
    pairs = (
        ("p95", _wait(before), _wait(after)),
        ("pod-hours", *_hours(before["pod_seconds"], after["pod_seconds"])),
        ("windows in time", f"{before['share_within'] * 100:.1f} %", f"{after['share_within'] * 100:.1f} %"),
        ("runs cut", str(before["interrupted"]), str(after["interrupted"])),
        ("tasks lost", str(before["lost"]), str(after["lost"])),
        ("not done", str(before["unfinished"]), str(after["unfinished"])),
    )
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]


def _hours(before: float, after: float) -> tuple[str, str]:
    """Pod-hours, with as many digits as it takes to see a difference of some seconds."""
    digits = 1 if f"{before / _HOUR:.1f}" != f"{after / _HOUR:.1f}" or abs(after - before) < 0.01 * before else 3
    return f"{before / _HOUR:.{digits}f}", f"{after / _HOUR:.{digits}f}"


def _wait(row: Row) -> str:
    return duration(row["wait_p95"])


def title_of(row: Row) -> str:
    """The variant of a row as messages name it."""
    return f"{row['service']}/{row['variant']}"


def compared(before: Sequence[Row], after: Sequence[Row], unloaded: Sequence[str] = ()) -> list[str]:
    """A line for each variant that is not as it was, and whether a gate refuses it.

    :param unloaded: titles of the variants that are there and were not simulated.
    """
    known, found = {title_of(row): row for row in before}, []
    for row in after:
        title = title_of(row)
        old = known.pop(title, None)
        texts = ["new"] if old is None else difference(old, row)
        why = refusal(old, row)
        if texts or why:
            found.append(f"{title}: {'; '.join(texts) or 'as before'}{f': refused, {why}' if why else ''}")
    return [
        *found,
        *(f"{title}: {'not simulated this time' if title in unloaded else 'not there any more'}" for title in known),
    ]


def refusal(before: Row | None, after: Row) -> str:
    """Why a gate refuses a variant; empty where it does not. What missed its goal before must not get worse."""
    if after["meets_goal"]:
        return ""
    lost = after["lost"] + after["unfinished"]
    was_lost = before["lost"] + before["unfinished"] if before is not None else 0
    if lost > was_lost:
        return f"{lost} tasks are lost or not done"
    is_worse = before is None or before["meets_goal"] or after["wait_p95"] > before["wait_p95"] * _NOISE
    if after["wait_p95"] > after["goal"] and is_worse:
        return f"95 % of the tasks are to begin within {duration(after['goal'])}"
    return ""
