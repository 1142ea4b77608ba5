# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws docs/images/dashboard.png: the dashboard with the numbers of a real site, for the docs.

Redis, Celery workers, Flower and Prometheus are real and live through five busy minutes. Grafana is not there: each
query of the dashboard is evaluated by Prometheus, and the result is drawn in the place that the dashboard gives it.
Needs redis-server, prometheus and matplotlib, which no test needs: C(pip install matplotlib) into .venv-test.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.dashboards import dashboard_text
from matplotlib.figure import Figure

from tests.checks import layout
from tests.support.real_prometheus import Json
from tests.support.real_redis import redis_server
from tests.support.real_site import Site, filled, real_site

TARGET = layout.ROOT / "docs" / "images" / "dashboard.png"
SECONDS = 300
WINDOW = 120
PAPER, PANEL, TEXT, DIM = "#111217", "#181b1f", "#d8d9da", "#8e9097"
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff"]
#: Height of one unit of the grid, and width of its 24 columns, in inches.
UNIT, WIDTH = 0.36, 19.0

CONFIG: Json = {
    "default": {"enable_keda": True, "list_length": 20, "max_replicas": 3, "longest_task_seconds": 30},
    "reports": {"enable_keda": True, "concurrency": 1, "max_replicas": 2, "longest_task_seconds": 60},
}

#: Left, bottom, width and height of a panel, as shares of the page.
Box = tuple[float, float, float, float]


def live(site: Site) -> tuple[float, float]:
    """Five minutes: two bursts of short tasks, reports that take their time, some failures, pods that come and go."""
    begin = time.time()
    plan: list[tuple[float, Callable[[], object]]] = [
        (0, lambda: burst(site, 150)),
        (4, lambda: site.start("default", "k2x7p")),
        (20, lambda: site.start("default", "m9q4d")),
        (21, lambda: reports(site, 5)),
        (26, lambda: site.start("reports", "t5v8w")),
        (50, lambda: site.start("default", "h3r6z")),
        (60, lambda: site.start("reports", "c7n2s")),
        (130, lambda: stop(site, "shop-worker", 2)),
        (160, lambda: burst(site, 90)),
        (175, lambda: site.start("default", "j8f5b")),
        (200, lambda: stop(site, "shop-worker-reports", 1)),
        (250, lambda: stop(site, "shop-worker", 1)),
    ]
    for at, step in plan:
        time.sleep(max(0.0, begin + at - time.time()))
        step()
    time.sleep(max(0.0, begin + SECONDS - time.time()))
    return begin, time.time()


def burst(site: Site, number: int) -> None:
    for index in range(number):
        site.pods.send(0.4 + 0.4 * (index % 5), task="shop.charge", variant="default")
        if index % 9 == 0:
            site.pods.send(0.2, task="shop.remind", variant="default")
        if index % 7 == 0:
            site.pods.send(task="shop.fetch", variant="default")


def reports(site: Site, number: int) -> None:
    for _index in range(number):
        site.pods.send(25, task="shop.charge", variant="reports")


def stop(site: Site, deployment: str, left: int) -> None:
    for worker in site.alive(deployment)[left:]:
        worker.tell_to_stop()


def rows(board: Json, variants: list[str]) -> list[tuple[Json, list[Json], list[str]]]:
    """Each row with its panels, a repeated one for each variant."""
    found: list[tuple[Json, list[Json]]] = []
    for panel in board["panels"]:
        if panel["type"] == "row":
            found.append((panel, []))
        else:
            found[-1][1].append(panel)
    return [
        (row | {"title": row["title"].replace("${variant}", ", ".join(chosen))}, panels, chosen)
        for row, panels in found
        for chosen in ([[name] for name in variants] if row.get("repeat") else [variants])
    ]


def draw(site: Site, begin: float, end: float) -> None:
    """The whole page."""
    board = json.loads(dashboard_text(site.manifests.fleet))
    variants = [variant.deployment for variant in site.manifests.fleet.variants]
    lines = [
        (row, panels, chosen, max(item["gridPos"]["y"] + item["gridPos"]["h"] for item in panels) - row["gridPos"]["y"])
        for row, panels, chosen in rows(board, variants)
    ]
    height = sum(line[3] for line in lines) + 2
    figure = Figure(figsize=(WIDTH, height * UNIT), facecolor=PAPER)
    figure.text(0.008, 1 - 1.2 / height, board["title"], color=TEXT, fontsize=15)
    top = 2.0
    for row, panels, chosen, size in lines:
        figure.text(0.008, 1 - (top + 0.7) / height, f"▾ {row['title']}", color=TEXT, fontsize=11, weight="bold")
        for panel in panels:
            place = panel["gridPos"]
            y = top + place["y"] - row["gridPos"]["y"]
            box = (place["x"] / 24, 1 - (y + place["h"]) / height, place["w"] / 24, place["h"] / height)
            frame(figure, panel, box)
            series = results(site, panel, chosen, begin, end)
            (stat if panel["type"] == "stat" else graph)(figure, panel, box, series, begin, end)
        top += size
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=80, facecolor=PAPER)
    print(f"Drew {TARGET}")


def results(site: Site, panel: Json, chosen: list[str], begin: float, end: float) -> list[tuple[str, bool, Any]]:
    """Name of each series, whether it belongs to the right axis, and its moments and values."""
    right = {item["matcher"]["options"] for item in panel["fieldConfig"]["overrides"]}
    return [
        (legend(target["legendFormat"], labels), target["refId"] in right, moments)
        for target in panel["targets"]
        for labels, moments in site.prometheus.history(filled(target["expr"], chosen, WINDOW), begin, end, 2)
    ]


def legend(text: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), text)


def frame(figure: Any, panel: Json, box: Box) -> None:
    x, y, width, height = box
    gap = 0.0025
    area = figure.add_axes((x + gap, y + gap / 4, width - 2 * gap, height - gap / 2), facecolor=PANEL)
    area.set_xticks([])
    area.set_yticks([])
    for side in area.spines.values():
        side.set_color("#2c3235")
    area.set_title(panel["title"], loc="left", color=TEXT, fontsize=9, x=0.015, y=1.0, pad=-12)


def readable(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"
    return f"{value:.3g}"


def stat(figure: Any, panel: Json, box: Box, series: Any, *_moment: float) -> None:
    x, y, width, height = box
    unit, none = panel["fieldConfig"]["defaults"]["unit"], panel["fieldConfig"]["defaults"]["noValue"]
    text = readable(series[0][2][-1][1], unit) if series else none
    size = 24 if series else 10
    figure.text(x + width / 2, y + height * 0.38, text, color=COLOURS[0], fontsize=size, ha="center", va="center")
    if series:
        area = figure.add_axes((x + 0.004, y + height * 0.05, width - 0.008, height * 0.28), facecolor="none")
        values = [value for _at, value in series[0][2]]
        area.fill_between(range(len(values)), values, color=COLOURS[0], alpha=0.18)
        area.axis("off")


def graph(figure: Any, panel: Json, box: Box, series: Any, begin: float, end: float) -> None:
    x, y, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    area = figure.add_axes((x + 0.03, y + height * 0.33, width - 0.055, height * 0.5), facecolor="none")
    other = area.twinx() if any(on_right for _name, on_right, _values in series) else None
    for axes in filter(None, (area, other)):
        axes.tick_params(colors=DIM, labelsize=7, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    area.grid(color="#2c3235", linewidth=0.6)
    area.set_xlim(begin, end)
    ticks = [begin + share * (end - begin) / 5 for share in range(6)]
    area.set_xticks(ticks, [time.strftime("%H:%M:%S", time.gmtime(tick)) for tick in ticks])
    if not series:
        area.text(0.5, 0.5, defaults["noValue"], color=DIM, ha="center", transform=area.transAxes, fontsize=9)
    stepped = {"drawstyle": "steps-post"} if defaults["custom"]["lineInterpolation"] == "stepAfter" else {}
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    below: dict[float, float] = {}
    for number, (name, on_right, moments) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        axes = other if on_right and other is not None else area
        finite = [(at, value) for at, value in moments if math.isfinite(value)]
        times, values = [at for at, _value in finite], [value for _at, value in finite]
        if stacked:
            base = [below.get(at, 0.0) for at in times]
            values = [one + two for one, two in zip(base, values, strict=True)]
            below.update(zip(times, values, strict=True))
            axes.fill_between(times, base, values, color=colour, alpha=0.25, linewidth=0)
        last = readable(finite[-1][1], defaults["unit"]) if finite else "-"
        style = {"linestyle": "--"} if on_right else {}
        axes.plot(times, values, color=colour, linewidth=1.2, label=f"{name}   {last}", **stepped, **style)
    for axes in filter(None, (area, other)):
        axes.set_ylim(bottom=0, top=defaults.get("max", None) or max(axes.get_ylim()[1], 1e-9))
    if defaults["unit"] == "percentunit":
        area.yaxis.set_major_formatter(lambda value, _position: f"{value:.0%}")
    handles = [item for axes in filter(None, (area, other)) for item in axes.get_lines()]
    figure.legend(
        handles=handles[:6], loc="lower left", bbox_to_anchor=(x + 0.006, y + height * 0.015), ncols=2, fontsize=7,
        frameon=False, labelcolor=TEXT, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip


def main() -> int:
    """Live, then draw."""
    with (
        tempfile.TemporaryDirectory(prefix="picture-") as folder,
        redis_server("only-here") as redis,
        real_site(Path(folder), redis, CONFIG) as site,
    ):
        begin, end = live(site)
        draw(site, begin, end)
    return 0


if __name__ == "__main__":
    sys.exit(main())
