# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One page for a browser, whole in one file: what a simulation found, for people who decide on numbers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from .._model.fleet import Fleet, Variant
from .._model.loads import Load
from .._schema.counted import counted
from .._schema.moments import duration
from .._schema.versions import Version
from .._simulation.results import MONDAY, Result
from .._simulation.suggest import Suggestion
from .._simulation.tables import COLUMNS, notes_of, row_of
from .._simulation.ways import Way
from .courses import columns_for, course_of
from .markup import Markup, embedded, joined, tag, totals_table
from .suggested import beside, front, other_ways, to_paste
from .weeks import week_of
from .words import clock, load_words, pods_words

_TEMPLATE = Path(__file__).with_name("page.html")
_MARK = re.compile(r"@@([a-z]+)@@")
_HOUR = 3600.0
#: Rows of the numbers of a variant at most.
_MOST_ROWS = 28
_LIMITS = (
    "Left out: the load of processors and memory, rollouts, nodes that fail, variants that share a queue, and what "
    "triggers on Prometheus read."
)


@dataclass(frozen=True)
class Report:
    """What the page tells.

    :param loads: service and variant to the loads that were sent to it.
    :param hours: how long they sent.
    :param unloaded: titles of the variants that have no load.
    :param warnings: what was taken for granted, and what was left out.
    :param suggestions: of each variant; None where nobody asked for any.
    :param suggested: titles to what is simulated with what is suggested.
    :param replays: how far this is from what was, a line for each variant whose past is known.
    :param differences: from an earlier run, a line each; None where nothing was compared.
    :param ways: what the same work is like where it is scaled in other ways.
    """

    fleet: Fleet
    results: Sequence[Result]
    loads: Mapping[tuple[str, str], Sequence[Load]]
    hours: float
    seed: int
    unloaded: Sequence[str] = ()
    warnings: Sequence[str] = ()
    suggestions: Sequence[Suggestion] | None = None
    suggested: Mapping[str, Result] = field(default_factory=dict)
    replays: Sequence[str] = ()
    differences: Sequence[str] | None = None
    ways: Sequence[Way] = ()

    def variant_of(self, result: Result) -> Variant:
        """The variant that a result is about."""
        return next(one for one in self.fleet.variants if (one.service, one.name) == (result.service, result.variant))

    def suggestion_of(self, result: Result) -> Suggestion | None:
        """What is suggested for the variant of a result."""
        return next((one for one in self.suggestions or () if one.before.title == result.title), None)


def page_text(report: Report) -> str:
    """The file. The same report gives the same bytes."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "title": joined(f"How {report.fleet.name} scales"),
        # The browser runs this one script, and asks no other machine for anything.
        "policy": joined(f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"),
        "body": joined(*_body(report)),
        "data": embedded(_courses(report)),
    }
    return _MARK.sub(lambda found: parts[found[1]], template)


def _courses(report: Report) -> list[dict[str, Any]]:
    """What the pictures are drawn from: today's of each variant, then the suggested ones."""
    results, titles = list(report.results), list(report.suggested)
    columns = columns_for(len(results) + len(titles))
    found = [course_of(result, columns) for result in (*results, *report.suggested.values())]
    for place, result in enumerate(results):
        if result.title in report.suggested:
            other = len(results) + titles.index(result.title)
            found[place]["peer"], found[other]["peer"] = other, place
    return found


def _body(report: Report) -> Iterable[Markup]:
    yield _head(report)
    yield _totals(report)
    if report.replays:
        lines = tag("ul", *(tag("li", line) for line in report.replays))
        yield tag("section", tag("h2", "Beside the pods that there were"), lines)
    if report.differences is not None:
        told = report.differences or ["Nothing differs."]
        yield tag("section", tag("h2", "Since the earlier run"), tag("ul", *(tag("li", line) for line in told)))
    if report.suggestions is not None:
        yield to_paste(report.suggestions)
    if report.ways:
        yield other_ways(report.ways)
    yield from (_variant(report, place, result) for place, result in enumerate(report.results))
    yield _assumptions(report)


def _head(report: Report) -> Markup:
    results = report.results
    met = sum(result.meets_goal for result in results)
    spent = sum(result.pod_seconds for result in results)
    least = sum(result.bound.least for result in results if result.bound is not None)
    goals = (
        "Every variant meets its goal" if met == len(results) else f"{met} of {len(results)} variants meet their goal"
    )
    cost = f"{spent / _HOUR:.1f} pod-hours for {report.hours:g} h of load"
    times = f", {spent / least:.2f} times the least possible" if least else ""
    return tag(
        "header",
        tag("h1", f"How {report.fleet.name} scales"),
        tag("p", f"{goals}. It takes {cost}{times}.", class_="verdict"),
        tag("p", "A simulation of KEDA, the HPA and the workers, task by task. No cluster was asked.", class_="dim"),
    )


def _totals(report: Report) -> Markup:
    rows = []
    for place, result in enumerate(report.results):
        row = row_of(result)
        link = tag("a", result.title, href=f"#v{place}")
        rows.append((link, *(row[name] for name in COLUMNS[1:]), _goal(result)))
    table = totals_table("Every variant", (*COLUMNS, "goal"), rows)
    meaning = (
        "in time: ten-minute windows in which 95 % of the tasks began within the goal. pods: fewest and most at the "
        "same time. idle: share of the pod-hours in which a pod ran nothing. x least: pod-hours as a multiple of the "
        "least with which every task could begin within the goal, whoever scales."
    )
    return tag("section", tag("h2", "Every variant"), table, tag("p", meaning, class_="dim"))


def _goal(result: Result) -> Markup:
    """Whether the goal is met: a sign, a word and a colour."""
    if result.meets_goal:
        return tag("span", f"\u2713 meets {duration(result.goal)}", class_="good")
    return tag("span", f"\u2717 misses {duration(result.goal)}", class_="bad")


def _variant(report: Report, place: int, result: Result) -> Markup:
    variant = report.variant_of(result)
    waits = result.waits
    answers = (
        f"{counted(result.tasks, 'task')}: half of them began within {duration(waits.p50)}, 95 % within "
        f"{duration(waits.p95)}, and the slowest after {duration(waits.longest)}."
    )
    pods = (
        f"{counted(result.peak_pods, 'pod')} at most, with {counted(result.peak_connections, 'connection')} to the "
        f"broker; {counted(result.starts, 'start')}. {_drained(result)}"
    )
    notes = [note.partition(": ")[2] for note in notes_of(result)]
    parts = [
        tag("h2", result.title, " ", _goal(result)),
        tag("p", f"{answers} {pods}"),
        tag("ul", *(tag("li", f"{note[:1].upper()}{note[1:]}") for note in notes)) if notes else "",
        _picture(place, f"{result.title} over time"),
        _numbers(result),
        tag("p", "Formula: ", tag("code", result.formula), class_="formula") if result.formula else "",
        week_of(variant.scaling.schedule) if variant.scaling.schedule else "",
        *_better(report, result),
    ]
    return tag("section", *parts, id=f"v{place}", class_="variant")


def _drained(result: Result) -> str:
    if result.drain is None:
        return "Work was left at the end."
    return f"Everything was done {duration(result.drain)} after the last task came."


def _better(report: Report, result: Result) -> Iterable[Markup]:
    """What is suggested for a variant, where something is."""
    suggestion, after = report.suggestion_of(result), report.suggested.get(result.title)
    if after is not None:
        place = len(report.results) + list(report.suggested).index(result.title)
        yield beside(result, after, _picture(place, f"{result.title} over time, as suggested"))
    if suggestion is not None:
        yield front(suggestion)


def _picture(place: int, name: str) -> Markup:
    """Where the script draws: three pictures over one time axis, and a slider that moves through them."""
    return tag(
        "figure",
        tag("div", class_="panels"),
        tag("label", "Moment", tag("input", type="range", min="0", value="0", step="1"), class_="moment"),
        tag("div", class_="said"),
        tag("noscript", tag("p", "The pictures need JavaScript. The table below has their numbers.")),
        data_course=str(place),
        aria_label=name,
    )


def _numbers(result: Result) -> Markup:
    """The course as a table, for those who do not see the picture."""
    series = result.series
    size = max(1, ceil(len(series.times) / _MOST_ROWS), min(60, len(series.times)))
    rows = []
    for first in range(0, len(series.times), size):
        span = slice(first, first + size)
        fewest, most = min(series.pods[span]), max(series.pods[span])
        cells = (
            str(max(series.backlog[span])),
            str(max(series.in_flight[span])),
            str(most) if fewest == most else f"{fewest} to {most}",
            duration(max(series.wait[span])),
        )
        rows.append(
            tag(
                "tr",
                tag("th", clock(series.times[first], result.start), scope="row"),
                *(tag("td", one) for one in cells),
            )
        )
    names = ("from", "backlog", "in flight", "pods", "longest wait")
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("details", tag("summary", "The same as numbers"), table)


def _assumptions(report: Report) -> Markup:
    versions = report.fleet.versions
    facts = [
        f"{report.hours:g} h of load, from Monday 00:00 UTC on, until the work was done and the pods were gone.",
        *(
            f"{one.title} begins when its history does: {one.start:%Y-%m-%d %H:%M} UTC."
            for one in report.results
            if one.start != MONDAY
        ),
        f"Random choices come from seed {report.seed}; the same seed gives the same page.",
        f"KEDA {_version(versions.keda, '2.20')}, Kubernetes {_version(versions.kubernetes, '1.36')}.",
        _LIMITS,
        *report.warnings,
    ]
    if report.unloaded:
        facts.append(f"Without a load, and left out: {', '.join(report.unloaded)}.")
    sent = []
    for result in report.results:
        variant = report.variant_of(result)
        loads = report.loads.get((result.service, result.variant), ())
        words = [load_words(load, variant.knowledge.task_seconds) for load in loads]
        lines = [
            *words,
            f"{pods_words(loads, variant.knowledge.start_seconds)}; it runs {counted(variant.slots, 'task')} at once",
            _scaler(variant),
        ]
        sent += [tag("dt", result.title), *(tag("dd", f"{line[:1].upper()}{line[1:]}.") for line in lines)]
    facts_list = tag("ul", *(tag("li", fact) for fact in facts))
    return tag("section", tag("h2", "What was assumed"), tag("dl", *sent), facts_list)


def _scaler(variant: Variant) -> str:
    """The numbers that decide on its pods."""
    scaling, queues = variant.scaling, ", ".join(variant.queues)
    if not variant.is_counted:
        return f"Consumes {queues}; KEDA does not scale it"
    if variant.runs_as_jobs:
        return f"Consumes {queues}; {scaling.max_replicas} Jobs at most; KEDA looks every {scaling.polling_interval} s"
    return (
        f"Consumes {queues}; {scaling.min_replicas} to {scaling.max_replicas} pods; list_length {scaling.list_length}; "
        f"KEDA looks every {scaling.polling_interval} s, and waits {scaling.cooldown_period} s before the last pod goes"
    )


def _version(version: Version | None, newest: str) -> str:
    return newest if version is None else ".".join(map(str, version))
