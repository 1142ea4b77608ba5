# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a schedule can be kept: windows come as they are meant and one at a time, and their limits have an effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations

from .._model.fleet import Fleet, Variant, titles_of
from .._model.schedules import ScheduleWindow
from .._schema.counted import counted
from .._schema.cron import course, parsed, zone_of
from .._schema.problems import Problems
from .cron import check_schedule, check_timezone, check_window
from .risks import Case
from .trigger_parameters import shown

#: More windows a day than this are no schedule: pods take longer to start than they last.
_MOST_A_DAY = 24
#: Two windows of one schedule that differ by this much are not meant to be alike. Daylight saving is an hour.
_MOST_OF_A_DAY = timedelta(hours=20)


def judge_schedule(case: Case) -> None:
    """The windows of one variant."""
    variant = case.variant
    if not variant.uses_keda or not variant.scaling.schedule:
        return
    path = case.path_of("schedule")
    sound = []
    for number, window in enumerate(variant.scaling.schedule):
        place = f"{path}[{number}]"
        if _is_whole(place, window, case.problems):
            if _check_times(place, window, case.problems):
                sound.append((place, window))
            _judge_limits(case, place, window)
    for first, second in combinations(sound, 2):
        _refuse_overlap(first, second, case.problems)


def _is_whole(path: str, window: ScheduleWindow, problems: Problems) -> bool:
    """Whether a window says when it is, and what it changes."""
    says = window.floor or window.ceiling is not None
    missing = [name for name in ("start", "end") if not getattr(window, name)]
    missing += [] if says else ["one of min_replicas, max_replicas and paused"]
    if missing == ["one of min_replicas, max_replicas and paused"]:
        problems.add(path, "the window changes nothing; write min_replicas, max_replicas or paused: true.")
    elif missing:
        problems.add(
            path,
            f"a window needs {', '.join(missing)}; write one such as {{start: '0 8 * * 1-5', end: '0 18 * * 1-5', "
            "min_replicas: 2}.",
        )
    return not missing


def _check_times(path: str, window: ScheduleWindow, problems: Problems) -> bool:
    """Whether it is known when a window is."""
    before = len(problems.found)
    times = [check_schedule(f"{path}.{name}", getattr(window, name), problems) for name in ("start", "end")]
    check_timezone(f"{path}.timezone", window.timezone, problems)
    if len(problems.found) > before:
        return False
    if times[0] == times[1]:
        problems.add(f"{path}.end", "start and end are the same; write when the window ends.")
    elif max(_times_a_day(window.start), _times_a_day(window.end)) > _MOST_A_DAY:
        problems.add(
            f"{path}.start",
            f"{shown(window.start)} to {shown(window.end)} are more than {_MOST_A_DAY} windows "
            "a day, and pods take a minute to come and go. Write longer ones.",
        )
    else:
        check_window(path, window.start, window.end, window.timezone, problems.add)
        _warn_of_long_spans(path, window, problems)
    return len(problems.found) == before


def _warn_of_long_spans(path: str, window: ScheduleWindow, problems: Problems) -> None:
    """A window of nights that is open for whole days, because its end does not come on them."""
    spans = course(window.start, window.end, window.timezone).spans
    shortest = min((until - since for since, until in spans), default=timedelta())
    for begins, ends in [span for span in spans if span[1] - span[0] >= shortest + _MOST_OF_A_DAY][:1]:
        zone = zone_of(window.timezone) or begins.tzinfo
        since, until = (f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}" for moment in (begins, ends))
        problems.warn(
            f"{path}.end",
            f"the window goes on from {since} to {until}, because its end does not come between them. If each is to be "
            "as long as the others, write end for the days on which it ends.",
        )


def _times_a_day(schedule: str) -> int:
    found = parsed(schedule)
    return len(found.times) if found is not None else 0


def _judge_limits(case: Case, path: str, window: ScheduleWindow) -> None:
    """Limits of a window beside those of the variant, which the HPA keeps at every time."""
    scaling, problems = case.variant.scaling, case.problems
    least, most = scaling.min_replicas, scaling.max_replicas
    if window.paused and (window.max_replicas is not None or window.floor):
        other = "max_replicas" if window.max_replicas is not None else "min_replicas"
        problems.add(
            f"{path}.paused",
            f"paused starts no pod for messages, so it has no {other} beside it; take one of them out.",
        )
        return
    if window.ceiling is not None and window.floor > window.ceiling:
        problems.add(
            f"{path}.min_replicas",
            f"min_replicas {window.floor} is above max_replicas {window.ceiling} of the "
            "same window; lower one or raise the other.",
        )
        return
    _judge_floor(case, path, window.floor, least, most)
    if window.ceiling is not None:
        _judge_ceiling(case, path, window, least, most)


def _judge_floor(case: Case, path: str, floor: int, least: int, most: int) -> None:
    if floor > most:
        case.problems.add(
            f"{path}.min_replicas",
            f"{counted(floor, 'pod')} are above max_replicas {most} of {case.who}, "
            "which no window passes. Lower it, or raise max_replicas of the variant.",
        )
    elif 0 < floor <= least and case.variant.scaling.idle_replicas is None:
        case.problems.warn(
            f"{path}.min_replicas",
            f"min_replicas {least} of {case.who} keeps as many pods at every "
            f"time, so the window has no effect. Write {least + 1} or more, or lower min_replicas of the "
            "variant.",
        )


def _judge_ceiling(case: Case, path: str, window: ScheduleWindow, least: int, most: int) -> None:
    ceiling, problems, key = window.ceiling or 0, case.problems, "paused" if window.paused else "max_replicas"
    if ceiling >= most:
        problems.warn(
            f"{path}.max_replicas",
            f"{case.who} never has more than max_replicas {most} pods, so the window "
            f"has no effect. Write a number below {most}, or raise max_replicas of the variant.",
        )
    elif 0 < ceiling < least:
        problems.add(
            f"{path}.max_replicas",
            f"min_replicas {least} of {case.who} holds at every time, so there are "
            f"never as few as {ceiling}. Write {least} or more, or lower min_replicas of the variant.",
        )
    elif not ceiling and least and case.variant.scaling.idle_replicas is None:
        problems.warn(
            f"{path}.{key}",
            f"min_replicas {least} of {case.who} holds at every time, so "
            f"{counted(least, 'pod')} go{'es' if least == 1 else ''} on taking messages in this window. For "
            f"none at all, lower min_replicas to 0{_SIGHT if not case.variant.sees_in_flight else ''}.",
        )
    resources = sorted({item["type"] for item in case.variant.scaling.extra_triggers} & {"cpu", "memory"})
    if resources:
        problems.add(
            f"{path}.{key}",
            f"the trigger {resources[0]} of {case.who} asks the HPA itself for pods, beside "
            f"the formula that has this limit, and would pass it. Take {resources[0]} out of extra_triggers, "
            f"or {key} out of the window.",
        )


_SIGHT = ", which needs sight of in-flight work"


def _refuse_overlap(first: tuple[str, ScheduleWindow], second: tuple[str, ScheduleWindow], problems: Problems) -> None:
    """Two windows at one time would have two limits.

    :param first: where the window was written, and the window.
    """
    (place, window), (path, other) = first, second
    if window.timezone != other.timezone and None in (zone_of(window.timezone), zone_of(other.timezone)):
        return
    moment = next(_common(window, other), None)
    if moment is not None:
        zone = zone_of(other.timezone) or moment.tzinfo
        problems.add(
            path,
            f"this window ({other.time}) overlaps {place} ({window.time}), for example on "
            f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M} {other.timezone}. Write windows of which one ends before the "
            "other one starts.",
        )


def _common(window: ScheduleWindow, other: ScheduleWindow) -> Iterator[datetime]:
    """When two windows begin to be open together."""
    spans = [
        (*span, number)
        for number, one in enumerate((window, other))
        for span in course(one.start, one.end, one.timezone).spans
    ]
    last: dict[int, datetime] = {}
    for begins, ends, number in sorted(spans):
        until = last.get(1 - number)
        if until is not None and begins < until:
            yield begins
        last[number] = ends


def judge_schedules_without_keda(fleet: Fleet, problems: Problems) -> None:
    """A schedule is cron triggers, which KEDA alone has."""
    readers: dict[str, list[Variant]] = defaultdict(list)
    for variant in fleet.variants:
        if variant.scaling.schedule:
            readers[variant.path_of("schedule")].append(variant)
    for path, variants in readers.items():
        without = [variant for variant in variants if not variant.is_counted]
        if not without:
            continue
        scaler = without[0].scaling.scaler
        reason = (
            ("an HPA knows no times" if scaler == "hpa" else "nothing scales it")
            if len(without) == 1
            else ("KEDA does not scale them")
        )
        message = f"schedule of {titles_of(without)} has no effect, because {reason}"
        if len(without) == len(variants):
            problems.add(path, f"{message}. Write enable_keda: true, or take the schedule out.")
        else:
            problems.warn(path, f"{message}. Write the schedule on the variants that KEDA scales alone.")
