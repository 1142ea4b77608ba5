# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status as a page that a person reads: problems first, then one row a variant, in less than a hundred columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from .._schema.moments import from_kept
from .._schema.text_tables import laid_out
from .data import CRITICAL, NOTE, FleetStatus, Problem, VariantStatus
from .formula import in_words
from .moments import ago, lasting
from .past import past_lines
from .rules import drift_in_words

#: Columns that a page keeps within.
WIDTH = 99
#: A fleet of more variants shows details only of those that have a problem.
_MOST_DETAILS = 12
#: Sentences that the page of many sites shows of all of them together.
_MOST_SENTENCES = 30
#: Where a long reason is cut for which a site is not known.
_CAUSE = 160
_COLUMNS = ("variant", "waiting", "in flight", "pods", "wants", "scaler", "problems")
_MARKS = {CRITICAL: "!!", NOTE: "·"}


def page(statuses: Sequence[FleetStatus], now: datetime, shows_all: bool = False) -> list[str]:
    """All that is to be said of the hosts of a run.

    :param shows_all: whether details are shown of every variant, however many there are.
    """
    if len(statuses) == 1:
        return list(_one(statuses[0], now, shows_all))
    return list(_many(statuses, now))


# One site


def _one(status: FleetStatus, now: datetime, shows_all: bool) -> Iterator[str]:
    host = f"{status.host}: " if status.host else ""
    if status.failed:
        yield f"{host}not known"
        yield from _indented(_folded(status.failed))
        return
    fleet = f", fleet {status.fleet}" if status.fleet != status.namespace else ""
    yield f"{host}namespace {status.namespace}{fleet}, at {status.at}"
    yield from _indented(_folded(f"numbers from: {'; '.join(status.numbers) or 'nothing, there is no variant'}"))
    for line in past_lines(status.history, now):
        yield from _indented(_folded(line))
    yield ""
    yield from _indented(_problem_lines(status.all_problems))
    yield ""
    yield from _indented(_table(_COLUMNS, [_row(variant) for variant in status.variants]))
    few = len(status.variants) <= _MOST_DETAILS
    detailed = [variant for variant in status.variants if few or shows_all or variant.problems]
    for variant in detailed:
        yield ""
        yield from _indented(_details(variant, now))
    if len(detailed) < len(status.variants):
        yield ""
        yield f"  {len(status.variants) - len(detailed)} variants without a problem: -v shows their details"


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    if not problems:
        yield "no problems"
    for problem in problems:
        mark = _MARKS.get(problem.severity, "!")
        yield from _folded(f"{mark:<2} {problem.sentence} [{problem.rule}]", "   ")


def _row(variant: VariantStatus) -> tuple[str, ...]:
    pods = variant.pods
    count = (
        f"{pods.ready}/{pods.wanted} of {pods.max}" if variant.scaler.kind != "none" else f"{pods.ready}/{pods.wanted}"
    )
    return (
        variant.title,
        _count(variant.work.waiting),
        _count(variant.work.in_flight),
        count if variant.exists else "-",
        "-" if variant.formula.wants is None else str(variant.formula.wants),
        variant.scaler.state if variant.scaler.kind != "none" else "none",
        ", ".join(problem.rule for problem in variant.problems) or "-",
    )


def _count(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _details(variant: VariantStatus, now: datetime) -> Iterator[str]:
    yield from _folded(f"{variant.title} (Deployment {variant.deployment}; {_queues(variant)})")
    for name, text in _facts(variant, now):
        if text:
            yield from _indented(_folded(f"{name:<9} {text}", " " * 10, 2))


def _queues(variant: VariantStatus) -> str:
    shown = ", ".join(variant.queues[:3])
    more = f" and {len(variant.queues) - 3} more" if len(variant.queues) > 3 else ""
    return f"{'queue' if len(variant.queues) == 1 else 'queues'} {shown}{more}"


def _facts(variant: VariantStatus, now: datetime) -> Iterator[tuple[str, str]]:
    yield "work", _work(variant)
    yield "formula", in_words(variant.formula, variant.pods.max)
    yield "scaler", _scaler(variant, now)
    yield "pods", _pods(variant, now)
    yield "image", f"{variant.image}{_rolled_out(variant.image_since, now)}" if variant.image else ""
    for number, one in enumerate(variant.rescales):
        when = f"{_clock(one.time, now)} " if one.time else ""
        yield "rescales" if number == 0 else "", f"{when}by {one.by}: {one.what}"
    yield "drift", drift_in_words(variant) if variant.drift and variant.exists else ""


def _work(variant: VariantStatus) -> str:
    work = variant.work
    parts = [f"{_count(work.waiting)} waiting", f"{_count(work.in_flight)} in flight"]
    if work.running is not None:
        parts.append(f"{work.running} running")
    if work.held_for_eta is not None:
        parts.append(f"{work.held_for_eta} held for an ETA")
    return f"{', '.join(parts)}{f' ({work.reason})' if work.reason else ''}"


def _scaler(variant: VariantStatus, now: datetime) -> str:
    scaler = variant.scaler
    if scaler.kind == "none":
        return f"none, {variant.pods.max} pods" if variant.pods.max != 1 else "none, 1 pod"
    by = f" by {scaler.paused_by}" if scaler.paused_by else ""
    noted = scaler.pause or f"{', '.join(scaler.annotations)}{by}"
    notes = f" ({noted})" if scaler.annotations else ""
    reason = f": {scaler.reason}" if scaler.reason else ""
    limits = f"{variant.pods.min} to {variant.pods.max} pods"
    window = f"; now {scaler.window}" if scaler.window else ""
    return f"{scaler.kind}, {limits}, {scaler.state}{lasting(scaler.since, now)}{notes}{reason}{window}"


def _pods(variant: VariantStatus, now: datetime) -> str:
    pods = variant.pods
    if not variant.exists:
        return ""
    parts = [f"{pods.ready} of {pods.wanted} ready"]
    if pods.since or pods.set_by:
        by = f" by {pods.set_by}" if pods.set_by else ""
        parts.append(f"number set{by}{f' {ago(pods.since, now)}' if pods.since else ''}")
    if pods.oldest:
        parts.append(f"oldest started {ago(pods.oldest, now)}")
    parts.append(f"{pods.restarts} restarts" if pods.restarts != 1 else "1 restart")
    if pods.oom_kills:
        parts.append(f"{pods.oom_kills} killed for want of memory")
    return ", ".join(parts)


def _rolled_out(time: str | None, now: datetime) -> str:
    return f", rolled out {ago(time, now)}" if time else ""


def _clock(time: str, now: datetime) -> str:
    """A time of today by the clock, another one with its day."""
    then = from_kept(time)
    if then is None:
        return ""
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M")


# Many sites


def _many(statuses: Sequence[FleetStatus], now: datetime) -> Iterator[str]:
    ordered = sorted(statuses, key=_worst_first)
    yield from _table(("host", "variants", "waiting", "in flight", "pods", "problems"), map(_host_row, ordered))
    yield ""
    sentences = [(status.host, problem) for status in ordered for problem in status.all_problems]
    sentences.sort(key=lambda pair: pair[1].rank)
    for status in ordered:
        if status.failed:
            yield from _folded(f"!! {status.host}: not known: {_first_line(status.failed)}", "   ")
    for host, problem in sentences[:_MOST_SENTENCES]:
        mark = _MARKS.get(problem.severity, "!")
        yield from _folded(f"{mark:<2} {host}{'' if problem.where else ':'} {problem.sentence} [{problem.rule}]", "   ")
    if len(sentences) > _MOST_SENTENCES:
        yield f"{len(sentences) - _MOST_SENTENCES} more problems: limit the run to a host to see them"
    bad = sum(bool(status.failed or status.all_problems) for status in ordered)
    down = sum(bool(status.failed) for status in ordered)
    variants = sum(len(status.variants) for status in ordered)
    yield f"{len(ordered)} hosts, {variants} variants: {bad} with problems, {down} of them could not be read"


def _worst_first(status: FleetStatus) -> tuple[int, int, int, str]:
    ranks = [problem.rank for problem in status.all_problems]
    return (0 if status.failed else 1, min(ranks, default=9), -len(ranks), status.host)


def _host_row(status: FleetStatus) -> tuple[str, ...]:
    if status.failed:
        return (status.host, "-", "unknown", "unknown", "-", "not known")
    ready = sum(variant.pods.ready for variant in status.variants)
    wanted = sum(variant.pods.wanted for variant in status.variants)
    counts: dict[str, int] = {}
    for problem in status.all_problems:
        counts[problem.severity] = counts.get(problem.severity, 0) + 1
    shown = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    return (
        status.host,
        str(len(status.variants)),
        _total([variant.work.waiting for variant in status.variants]),
        _total([variant.work.in_flight for variant in status.variants]),
        f"{ready}/{wanted}",
        shown or "none",
    )


def _total(counts: Sequence[int | None]) -> str:
    """A sum. Where some are not known it is at least what the others say."""
    known = [count for count in counts if count is not None]
    if not known:
        return "unknown" if counts else "0"
    return f"{sum(known)}" if len(known) == len(counts) else f"{sum(known)}+"


# Text


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Such a first line only counts; the next one says what is wrong.
    counts = len(lines) > 1 and lines[0].startswith("The inventory has ")
    line = lines[1].removeprefix("1. ") if counts else next(iter(lines), "")
    return line if len(line) <= _CAUSE else f"{line[: _CAUSE - 3]}..."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines. The first and the last column give way where a line would be too long."""
    cells = [list(columns), *map(list, rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for index in (len(columns) - 1, 0):
        excess = sum(widths) + 2 * (len(widths) - 1) - (WIDTH - 2)
        widths[index] = max(min(widths[index], 14), widths[index] - max(0, excess))
    return laid_out(cells, widths)


def _folded(text: str, indent: str = "  ", inner: int = 0) -> list[str]:
    """A text as lines that are not too long."""
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(line, WIDTH - 2 - inner, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return lines


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}" if line else ""
