# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is suggested, on the page: the lines to paste, and for each variant today's numbers beside the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .._schema.moments import duration
from .._simulation.results import Result
from .._simulation.suggest import Point, Suggestion, yaml_of
from .._simulation.tables import row_of
from .._simulation.ways import COLUMNS as WAYS
from .._simulation.ways import MEANING as WAYS_MEAN
from .._simulation.ways import Way, cells_of
from .markup import Markup, joined, tag, totals_table

_HOUR = 3600.0
#: Columns of the table of all variants that a suggestion may change.
_COMPARED = ("wait p50", "p95", "longest", "in time", "pods", "pod-hours", "idle")


def to_paste(suggestions: Sequence[Suggestion]) -> Markup:
    """The lines for the inventory, each with its reason and its proof."""
    lines = yaml_of(suggestions)
    if not lines:
        return tag(
            "section", tag("h2", "Suggestions"), tag("p", "Nothing that was tried is better than today's numbers.")
        )
    # A block that scrolls can be reached by keyboard.
    block = tag("pre", "\n".join(lines), tabindex="0", role="region", aria_label="YAML to paste into the inventory")
    text = "Each of these was simulated over the same work. Paste them into the inventory, and run the playbook again."
    return tag("section", tag("h2", "Suggestions"), tag("p", text), block)


def other_ways(ways: Sequence[Way]) -> Markup:
    """The same work, scaled in other ways."""
    rows = ((f"{title}, {way}", *others) for title, way, *others in map(cells_of, ways))
    table = totals_table("The same work in other ways", (WAYS[0], *WAYS[2:]), rows)
    return tag("section", tag("h2", "The same work in other ways"), table, tag("p", WAYS_MEAN, class_="dim"))


def beside(before: Result, after: Result, picture: Markup) -> Markup:
    """Today's numbers of a variant, and those with what is suggested.

    :param picture: of the latter.
    """
    today, then = row_of(before), row_of(after)
    head = tag("tr", *(tag("th", name, scope="col") for name in ("", "today", "as suggested")))
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", today[name]), tag("td", then[name])) for name in _COMPARED
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="beside")
    return tag("section", tag("h3", "As suggested"), table, picture)


def front(suggestion: Suggestion) -> Markup:
    """Wait against cost of what was tried; empty where one point is the best in both."""
    points = _points(suggestion)
    if len(suggestion.front) < 2:
        return joined()
    most = max(point.pod_seconds for point in points) * 1.05 or 1.0
    longest = max(point.wait_p95 for point in points) * 1.1 or 1.0
    dots = [_dot(suggestion, point, point.pod_seconds / most * 100, point.wait_p95 / longest * 100) for point in points]
    ends = (
        tag("i", duration(longest), class_="top"),
        tag("i", "0", class_="foot"),
        tag("u", f"{most / _HOUR:.1f} pod-hours"),
    )
    name = "Wait at 95 % against pod-hours. The list below says the same."
    plot = tag("div", *ends, *dots, class_="plot front", role="img", aria_label=name)
    legend = "Up: the wait of 95 % of the tasks. Right: pod-hours. A full point keeps the goal, an empty one misses it."
    return tag(
        "section", tag("h3", "Wait against cost"), tag("p", legend, class_="dim"), plot, _list(suggestion, points)
    )


def _points(suggestion: Suggestion) -> list[Point]:
    """The front, with today's and the suggested point where they are no part of it, the cheapest first."""
    found = list(suggestion.front)
    for keys, result in (({}, suggestion.before), (suggestion.keys, suggestion.after)):
        if not any(dict(point.keys) == keys for point in found):
            found.append(Point(keys, result.waits.p95, result.pod_seconds, result.meets_goal))
    return sorted(found, key=lambda point: (point.pod_seconds, point.wait_p95))


def _name(suggestion: Suggestion, point: Point) -> str:
    if not point.keys:
        return "today"
    return "suggested" if dict(point.keys) == suggestion.keys else ""


def _dot(suggestion: Suggestion, point: Point, left: float, bottom: float) -> Markup:
    name = _name(suggestion, point)
    classes = ["dot", "kept" if point.meets_goal else "missed", *(["left"] if left > 60 else [])]
    label = tag("span", name) if name else ""
    return tag("b", label, class_=" ".join(classes), style=f"left:{left:.1f}%;bottom:{bottom:.1f}%")


def _list(suggestion: Suggestion, points: Sequence[Point]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", _name(suggestion, point) or "tried", scope="row"),
            tag("td", f"{point.pod_seconds / _HOUR:.1f}"),
            tag("td", duration(point.wait_p95)),
            tag("td", "keeps it" if point.meets_goal else "misses it"),
            tag("td", _written(point.keys), class_="keys"),
        )
        for point in points
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in ("", "pod-hours", "p95", "the goal", "with")))
    return tag(
        "details", tag("summary", "The points as numbers"), tag("table", tag("thead", head), tag("tbody", *rows))
    )


def _written(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items()) or "nothing changed"
