# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Grafana dashboard as typed data, and the JSON that Grafana reads.

Source: the classic dashboard model of Grafana 13 (schema version 42), which every Grafana since 9 takes as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 42
#: Columns of a dashboard, and the height of a panel in its own unit.
COLUMNS = 24

Json = dict[str, Any]

#: Every query goes to the data source that is chosen on the page.
_DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    :param legend: name of each series, with C({{label}}) for a label's value.
    :param on_right: whether its axis is the right one, for numbers of another size.
    """

    expr: str
    legend: str = "__auto"
    on_right: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel.

    :param kind: C(timeseries) or C(stat).
    :param unit: Grafana's name of a unit.
    :param no_value: what stands there while there is no data, and why.
    :param warns_above: value above which a stat turns red.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    no_value: str = "no data"
    decimals: int | None = None
    stacked: bool = False
    steps: bool = False
    maximum: float | None = None
    warns_above: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of panels.

    :param repeat: name of the variable for each of whose values the row is shown; empty for once.
    """

    title: str
    panels: tuple[Panel, ...]
    repeat: str = ""


@dataclass(frozen=True)
class Choice:
    """A variable with values that are known.

    :param values: text to value.
    """

    name: str
    label: str
    values: dict[str, str]
    current: str = ""
    several: bool = False


@dataclass(frozen=True)
class Found:
    """A variable whose values Prometheus has."""

    name: str
    label: str
    query: str
    current: str


@dataclass(frozen=True)
class Board:
    """A dashboard.

    :param datasource: name of the data source that is chosen at first; empty for Grafana's default.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Choice | Found, ...]
    datasource: str = ""
    refresh: str = "30s"
    tags: tuple[str, ...] = field(default=())


def as_json(board: Board) -> Json:
    """What Grafana imports."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": list(board.tags),
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": board.refresh,
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_datasource(board.datasource), *(_variable(item) for item in board.variables)]},
        "panels": list(_panels(board.rows)),
    }


def _datasource(name: str) -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": _option(name or "default", name or "default"),
        "options": [],
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    }


def _option(text: str | list[str], value: str | list[str], selected: bool = True) -> Json:
    return {"selected": selected, "text": text, "value": value}


def _variable(item: Choice | Found) -> Json:
    common: Json = {"name": item.name, "label": item.label, "hide": 0, "skipUrlSync": False}
    if isinstance(item, Found):
        return common | {
            "type": "query",
            "datasource": _DATASOURCE,
            "definition": item.query,
            "query": {"query": item.query, "refId": f"{item.name}-variable"},
            "current": _option([item.current], [item.current]),
            "options": [],
            "multi": True,
            "includeAll": True,
            "refresh": 2,
            "regex": "",
            "sort": 1,
        }
    options = [_option(text, value, value == item.current) for text, value in item.values.items()]
    chosen = next((text for text, value in item.values.items() if value == item.current), item.current)
    current = _option(["All"], ["$__all"]) if item.several else _option(chosen, item.current)
    return common | {
        "type": "custom",
        "query": ", ".join(f"{text} : {value}" for text, value in item.values.items()),
        "current": current,
        "options": [_option("All", "$__all"), *options] if item.several else options,
        "multi": item.several,
        "includeAll": item.several,
    }


def _panels(rows: Iterable[Row]) -> Iterable[Json]:
    """Rows and their panels with places: from left to right, and down where a line is full."""
    number, top = 0, 0
    for row in rows:
        number += 1
        yield _row(row, number, top)
        top += 1
        left = line = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, line = 0, top + line, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, line = left + panel.width, max(line, panel.height)
        top += line


def _row(row: Row, number: int, top: int) -> Json:
    made: Json = {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        "panels": [],
    }
    return made | ({"repeat": row.repeat} if row.repeat else {})


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
    }


def _target(query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "editorMode": "code",
        "range": True,
        "instant": False,
    }


_OPTIONS: dict[str, Json] = {
    "timeseries": {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
}


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.warns_above is not None:
        steps.append({"color": "red", "value": panel.warns_above})
    found: Json = {
        "unit": panel.unit,
        "noValue": panel.no_value,
        "min": 0,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [],
    }
    if panel.maximum is not None:
        found["max"] = panel.maximum
    if panel.decimals is not None:
        found["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        found["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 20 if panel.stacked else 5,
            "lineInterpolation": "stepAfter" if panel.steps else "linear",
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
        }
    return found


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + index)},
            "properties": [
                {"id": "custom.axisPlacement", "value": "right"},
                {"id": "custom.fillOpacity", "value": 0},
            ],
        }
        for index, query in enumerate(panel.queries)
        if query.on_right
    ]
