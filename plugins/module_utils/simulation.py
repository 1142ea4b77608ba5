# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet over the loads that nobody has sent yet: what KEDA, the HPA and the workers would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ._model.fleet import Fleet, Variant
from ._model.loads import MOST_HOURS, Load, Row, Sample
from ._read.loads import PATH, Loads, check_size, files_of, read_loads, read_rows
from ._read.reader import Inventory
from ._read.samples import check_pods, check_tasks, check_waiting, read_samples, rows_of_samples, start_of
from ._schema.layers import PREFIX, Layer
from ._schema.problems import InventoryError, Problems
from ._simulation.cases import assumptions_of, case_of, plain_trigger
from ._simulation.loads import Arrivals, arrivals_of, file_of, too_late
from ._simulation.replayed import Replayed, compared_with
from ._simulation.results import MONDAY, Result
from ._simulation.simulate import simulate
from ._simulation.suggest import Suggestion, suggest
from ._simulation.ways import (
    KEDA,
    SUGGESTED,
    TODAY,
    TUTOR,
    Defaults,
    Way,
    by_default,
    in_one_queue,
    in_own_queues,
    largest_of,
    way_of,
)
from .fleet import parse_fleet


@dataclass(frozen=True)
class Options:
    """How a fleet is simulated.

    :param hours: how long loads send; a simulation goes on until the work is done and the pods are gone.
    :param seed: what random choices come from.
    :param with_bound: whether the least possible cost is worked out as well.
    :param step: seconds between two moments of a series.
    :param start: the moment at which it starts, for cron triggers. Work that has been starts when it did.
    """

    hours: float = 24.0
    seed: int = 1
    with_bound: bool = True
    step: float = 60.0
    start: datetime = MONDAY


@dataclass(frozen=True)
class Planned:
    """What came of all variants that have a load.

    :param results: one for each of them, in the order of the fleet.
    :param unloaded: titles of the variants that have none.
    :param warnings: what was taken for granted, and what was left out.
    :param replays: how far simulations of work that has been are from what was.
    """

    results: tuple[Result, ...]
    unloaded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    loads: Loads = field(default_factory=dict, compare=False, repr=False)
    replays: tuple[Replayed, ...] = ()


@dataclass(frozen=True)
class Files:
    """What the files of loads hold, by their paths.

    :param rows: tasks, by the key that names the file as well.
    :param begins: the moment at which the tasks of a file begin, in seconds since 1970, where it says so.
    :param pods: pods that there were.
    :param waiting: messages that waited.
    """

    rows: dict[tuple[str, str], tuple[Row, ...]] = field(default_factory=dict)
    begins: dict[str, float] = field(default_factory=dict)
    pods: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    waiting: dict[str, tuple[Sample, ...]] = field(default_factory=dict)

    def begin_of(self, loads: Sequence[Load]) -> float | None:
        """The moment at which the work of a variant began, in seconds since 1970; None where it has not been yet."""
        tasks = [self.begins[load.prometheus] for load in loads if load.prometheus is not None]
        pods = [self.pods[load.replicas][0].at for load in loads if load.replicas is not None]
        waiting = [self.waiting[load.waiting][0].at for load in loads if load.waiting is not None]
        return min(tasks or pods or waiting, default=None)

    def pods_that_were(self, loads: Sequence[Load]) -> list[tuple[float, float]]:
        """Pods that a file tells of, by the seconds after the start."""
        return self._since_the_start(loads, next((self.pods[one.replicas] for one in loads if one.replicas), ()))

    def what_waited(self, loads: Sequence[Load]) -> list[tuple[float, float]]:
        """Messages that waited, as a file tells, by the seconds after the start."""
        return self._since_the_start(loads, next((self.waiting[one.waiting] for one in loads if one.waiting), ()))

    def _since_the_start(self, loads: Sequence[Load], samples: Sequence[Sample]) -> list[tuple[float, float]]:
        start = self.begin_of(loads) or 0.0
        return [(sample.at - start, sample.value) for sample in samples if sample.at >= start]

    def rows_of(self, loads: Sequence[Load]) -> dict[tuple[str, str], tuple[Row, ...]]:
        """The tasks of the files of a variant, from the same moment on."""
        begin, found = self.begin_of(loads), {}
        for place in (place for load in loads if (place := file_of(load)) is not None):
            later = self.begins[place[1]] - begin if place[0] == "prometheus" and begin is not None else 0.0
            rows = self.rows[place]
            found[place] = tuple(replace(row, at=row.at + later) for row in rows) if later else rows
        return found


def read_work(
    written: object, fleet: Fleet, read_file: Callable[[str], str], problems: Problems, hours: float
) -> tuple[Loads, Files]:
    """Loads, and what the files hold that they name.

    :param written: the value of the variable.
    :param hours: how long they send.
    :param read_file: gives the text of a file, or raises OSError or UnicodeError.
    """
    loads, files = read_loads(written, fleet, problems), Files()
    for (name, path), place in files_of(loads).items():
        try:
            text = read_file(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
            kind = "CSV" if name == "csv" else "JSON"
            problems.add(place, f"the file {path} cannot be read: {why}. Write the path of a {kind} file.")
            continue
        if name == "csv":
            files.rows[name, path] = read_rows(text, place, problems)
            continue
        samples = read_samples(text, place, problems)
        if name == "replicas":
            files.pods[path] = samples
            check_pods(samples, place, problems)
        elif name == "waiting":
            files.waiting[path] = samples
            check_waiting(samples, place, problems)
        elif check_tasks(samples, place, problems):
            files.rows[name, path], files.begins[path] = rows_of_samples(samples), start_of(samples)
    # Of hours that are refused nothing is worked out.
    for (service, variant), parts in loads.items() if 0 < hours <= MOST_HOURS else ():
        rows = [files.rows.get(file_of(load) or ("", ""), ()) for load in parts]
        check_size(parts, [len(one) for one in rows], f"{PATH}.{service}.{variant}", hours, problems)
    return loads, files


def check_options(options: Options, budget: float, problems: Problems) -> None:
    """Note what cannot be simulated."""
    if not 0 < options.hours <= MOST_HOURS:
        problems.add(f"{PREFIX}plan_hours", f"write a number of hours above 0 and up to {MOST_HOURS:.0f}.")
    if not 0 <= budget <= _MOST_BUDGET:
        problems.add(
            f"{PREFIX}plan_budget", f"write pod-hours from 0 to {_MOST_BUDGET:.0f}; 0 looks for the least cost."
        )


def work_of(variant: Variant, loads: Loads, files: Files, options: Options) -> Arrivals:
    """The tasks that a variant gets."""
    parts = loads.get((variant.service, variant.name), ())
    seed = f"{options.seed}/{variant.service}/{variant.name}"
    return arrivals_of(parts, options.hours, seed, variant.knowledge.task_seconds, files.rows_of(parts))


def simulate_variant(
    fleet: Fleet,
    variant: Variant,
    loads: Loads,
    arrivals: Arrivals,
    options: Options,
    begins_with: int | None = None,
) -> Result:
    """One variant over tasks that are drawn already.

    :param begins_with: pods at the start; None for as few as it has while nothing happens.
    """
    parts = loads.get((variant.service, variant.name), ())
    case = case_of(fleet, variant, parts)
    case = replace(case, places=replace(case.places, start=options.start), begins_with=begins_with)
    return simulate(case, arrivals, options.hours, options.seed, options.with_bound, options.step)


def simulate_fleet(
    fleet: Fleet,
    loads: Loads,
    files: Files,
    options: Options,
    progress: Callable[[str], None] | None = None,
) -> Planned:
    """Every variant that has a load.

    :param progress: is told which variant is next.
    """
    results, warnings, unloaded, replays = [], [], [], []
    for variant in fleet.variants:
        parts = loads.get((variant.service, variant.name))
        if parts is None:
            unloaded.append(f"{variant.service}/{variant.name}")
            continue
        if progress is not None:
            progress(f"{variant.service}/{variant.name}")
        warnings += assumptions_of(fleet, variant, parts)
        warnings += _left_out(variant, parts, files, options.hours)
        real = files.pods_that_were(parts)
        work, own = work_of(variant, loads, files, options), _since(parts, files, options)
        result = simulate_variant(fleet, variant, loads, work, own, round(real[0][1]) if real else None)
        replay = compared_with(result, real, files.what_waited(parts), work.times)
        if replay is not None:
            replays.append(replay)
        warnings += _of_another_time(result.title, parts, replay)
        warnings += [f"{result.title}: {text}" for text in result.warnings]
        results.append(result)
    return Planned(tuple(results), tuple(unloaded), tuple(dict.fromkeys(warnings)), loads, tuple(replays))


def _since(loads: Sequence[Load], files: Files, options: Options) -> Options:
    """Options that start when the work began, if it has been."""
    begin = files.begin_of(loads)
    return options if begin is None else replace(options, start=datetime.fromtimestamp(begin, UTC))


def _left_out(variant: Variant, loads: Sequence[Load], files: Files, hours: float) -> list[str]:
    """What comes too late to be simulated."""
    rows = files.rows_of(loads)
    late = [too_late(load, rows.get(file_of(load) or ("", ""), ()), hours) for load in loads]
    return [
        f"{variant.service}/{variant.name}: left out because more than {hours:g} h are not simulated: {what}. Raise "
        f"{PREFIX}plan_hours."
        for what in late
        if what
    ]


def _of_another_time(title: str, loads: Sequence[Load], replay: Replayed | None) -> list[str]:
    """What a file tells of and could not be compared."""
    parts = (
        ("the pods that there were are", "replicas", replay.pods if replay is not None else None),
        ("the messages that waited are", "waiting", replay.waits if replay is not None else None),
    )
    return [
        f"{title}: {what} of another time than the tasks; not compared."
        for what, name, found in parts
        if found is None and any(getattr(load, name) is not None for load in loads)
    ]


def suggest_for(
    fleet: Fleet,
    inventory: Inventory,
    planned: Planned,
    files: Files,
    options: Options,
    budget: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Suggestion, ...]:
    """Better numbers for every variant that was simulated.

    :param inventory: what the fleet was read from; it must take what is suggested.
    :param budget: pod-hours that a variant may cost; None looks for the least that keeps its goal.
    :param progress: is told which variant is next.
    """
    quick = replace(options, with_bound=False, step=_COARSE)
    found = []
    for variant in fleet.variants:
        if (variant.service, variant.name) not in planned.loads:
            continue
        if progress is not None:
            progress(f"{variant.service}/{variant.name}")
        work = work_of(variant, planned.loads, files, options)
        own = _since(planned.loads[variant.service, variant.name], files, quick)
        again = partial(_simulate_again, fleet, planned.loads, work, own)
        most = None if budget is None else budget * 3600
        one = suggest(partial(_with_keys, inventory, variant, most_warnings=len(fleet.warnings)), again, most)
        if one is not None:
            found.append(one)
    return tuple(found)


def simulate_suggested(
    fleet: Fleet, inventory: Inventory, suggestion: Suggestion, planned: Planned, files: Files, options: Options
) -> Result:
    """The same work over a variant as it is suggested, with as many moments as today's has.

    :param inventory: what the fleet was read from.
    """
    before = suggestion.before
    variant = next(one for one in fleet.variants if (one.service, one.name) == (before.service, before.variant))
    work = work_of(variant, planned.loads, files, options)
    suggested = _with_keys(inventory, variant, suggestion.keys) or variant
    own = _since(planned.loads[before.service, before.variant], files, replace(options, with_bound=False))
    return simulate_variant(fleet, suggested, planned.loads, work, own)


def compare_ways(
    fleet: Fleet,
    inventory: Inventory,
    planned: Planned,
    files: Files,
    options: Options,
    suggestions: Sequence[Suggestion] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[Way, ...]:
    """The same work over the defaults of others, and in one queue for each service.

    :param suggestions: what is suggested, which is compared as well.
    :param progress: is told what is next.
    """
    found: list[Way] = []
    better = {one.before.title: one.after for one in suggestions if one.steps}
    for result in planned.results:
        if progress is not None:
            progress(result.title)
        variant = next(one for one in fleet.variants if (one.service, one.name) == (result.service, result.variant))
        least = result.bound.least if result.bound is not None else None
        found.append(way_of(result, TODAY, least))
        if result.title in better:
            found.append(way_of(better[result.title], SUGGESTED, least))
        for one in (TUTOR, KEDA):
            other = _by_default(fleet, variant, one, planned.loads, files, options)
            if other is not None:
                found.append(way_of(other, one.name, least))
    for service in fleet.services:
        own = [result for result in planned.results if result.service == service.name]
        if len(own) > 1:
            found += _in_one_queue(fleet, inventory, own, planned.loads, files, options)
    return tuple(found)


def _by_default(
    fleet: Fleet, variant: Variant, defaults: Defaults, loads: Loads, files: Files, options: Options
) -> Result | None:
    """The work of a variant over the defaults of others; None where they know no such broker."""
    trigger = plain_trigger(fleet, fleet.service_of(variant), variant)
    if defaults.of_redis and trigger[0] != "redis":
        return None
    case = by_default(case_of(fleet, variant, loads[variant.service, variant.name]), defaults, trigger)
    return simulate(case, work_of(variant, loads, files, options), options.hours, options.seed, step=_COARSE)


def _in_one_queue(
    fleet: Fleet, inventory: Inventory, own: Sequence[Result], loads: Loads, files: Files, options: Options
) -> Iterator[Way]:
    """The work of a service as it is, and in one queue; nothing where no Deployment may have the largest settings."""
    places = [(result.service, result.variant) for result in own]
    variants = [one for one in fleet.variants if (one.service, one.name) in places]
    largest = max(variants, key=lambda one: one.scaling.max_replicas)
    together = _with_keys(inventory, largest, largest_of(variants))
    if together is None:
        return
    parts = [load for place in places for load in loads[place]]
    case = case_of(fleet, together, parts)
    works = {
        f"{one.service}/{one.name}": (work_of(one, loads, files, options), one.knowledge.max_wait_seconds)
        for one in variants
    }
    yield in_own_queues(largest.service, own)
    yield from in_one_queue(case, works, options.hours, options.seed)


#: Pod-hours.
_MOST_BUDGET = 1e8
#: Seconds between two moments where nobody looks at the series.
_COARSE = 600.0


def _simulate_again(fleet: Fleet, loads: Loads, work: Arrivals, options: Options, variant: Variant) -> Result:
    return simulate_variant(fleet, variant, loads, work, options)


def _with_keys(
    inventory: Inventory, variant: Variant, keys: Mapping[str, Any], most_warnings: int | None = None
) -> Variant | None:
    """A variant with some keys in place of its own; None where the inventory is none with them.

    :param most_warnings: that it may bring; None for any number.
    """
    layer = Layer(f"{PREFIX}config__99_suggested", {variant.service: {variant.name: dict(keys)}})
    try:
        fleet = parse_fleet(replace(inventory, layers=(*inventory.layers, layer)) if keys else inventory)
    except InventoryError:
        return None
    if most_warnings is not None and len(fleet.warnings) > most_warnings:
        return None
    place = (variant.service, variant.name)
    return next((item for item in fleet.variants if (item.service, item.name) == place), None)
