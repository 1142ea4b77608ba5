# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads from their variable: service to variant to one load, or to a list of loads that come together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._model.fleet import Fleet, Service
from .._model.load_sizes import MOST_TASKS, runs_in, tries_of
from .._model.loads import Load, Row, kinds_of
from .._schema.keys import Section
from .._schema.layers import PREFIX, Branch, Leaf, Node, elements, nested
from .._schema.problems import Problems, suggest

#: Loads by service and variant.
Loads = Mapping[tuple[str, str], tuple[Load, ...]]
PATH = f"{PREFIX}loads"
_LOAD = Section(Load, switchable=False)
_HOW = "write one of per_hour, burst, steps, daily, csv and prometheus, such as per_hour: 600."


def read_loads(written: Any, fleet: Fleet, problems: Problems) -> Loads:
    """The loads of a fleet's variants.

    :param written: the value of the variable, which is known to be a dict.
    """
    tree = nested({} if written is None else written, PATH)
    if not isinstance(tree, Branch):
        return {}
    found: dict[tuple[str, str], tuple[Load, ...]] = {}
    for name, of_service in tree.children.items():
        service = next((item for item in fleet.services if item.name == name), None)
        if service is None:
            known = [item.name for item in fleet.services]
            problems.add(of_service.path, f"the fleet has no service {name!r}; {suggest(name, known)}")
        elif not isinstance(of_service, Branch):
            problems.add(of_service.path, "this must be a dict of variants to loads, such as default: {per_hour: 600}.")
        else:
            found |= _of_service(service, of_service, problems)
    return found


def _of_service(service: Service, tree: Branch, problems: Problems) -> dict[tuple[str, str], tuple[Load, ...]]:
    known = [variant.name for variant in service.variants]
    found = {}
    for name, node in tree.children.items():
        if name not in known:
            problems.add(node.path, f"service {service.name} has no variant {name!r}; {suggest(name, known)}")
            continue
        nodes = [node]
        if isinstance(node, Leaf) and isinstance(node.value, list):
            nodes = list(elements(node))
        loads = [load for item in nodes if (load := _load(item, problems)) is not None]
        if loads:
            found[service.name, name] = tuple(loads)
    return found


def _load(node: Node, problems: Problems) -> Load | None:
    """One load; None where it is not one."""
    if isinstance(node, Leaf):
        problems.add(node.path, f"this must be a load; {_HOW}")
        return None
    before = len(problems.found)
    load: Load = _LOAD(node, problems)
    if len(problems.found) > before:
        return None
    kinds = kinds_of(load)
    if len(kinds) != 1:
        what = f"this has {' and '.join(kinds)}" if kinds else "nothing says when tasks come"
        problems.add(node.path, f"{what}; {_HOW}")
        return None
    if load.daily is not None and load.daily.low > load.daily.high:
        path = f"{node.path}.daily"
        problems.add(path, f"low {load.daily.low:g} is above high {load.daily.high:g}; write the smaller one as low.")
        return None
    return replace(load, path=node.path)


def check_size(loads: Sequence[Load], rows: Sequence[int], path: str, hours: float, problems: Problems) -> None:
    """Note loads of one variant that send more than can be simulated, one by one or together.

    :param rows: of each load, the tasks that its file holds.
    :param path: where the variant's loads are written.
    :param hours: how long they send.
    """
    sizes = [runs_in(load, hours) + tries_of(load) * number for load, number in zip(loads, rows, strict=True)]
    large = [(load.path, size) for load, size in zip(loads, sizes, strict=True) if size > MOST_TASKS]
    if not large and sum(sizes) > MOST_TASKS:
        large = [(path, sum(sizes))]
    for place, size in large:
        problems.add(
            place,
            f"{size:,.0f} tasks would come in {hours:g} h, those that are tried again included; at most "
            f"{MOST_TASKS:,} are simulated. Write a smaller load, or lower {PREFIX}plan_hours.",
        )


def files_of(loads: Loads) -> dict[tuple[str, str], str]:
    """The files that loads name, by key and path, each with the place where it is named first."""
    found: dict[tuple[str, str], str] = {}
    for load in (load for parts in loads.values() for load in parts):
        for name in FILES:
            path = getattr(load, name)
            if path is not None:
                found.setdefault((name, path), f"{load.path}.{name}")
    return found


#: Keys of a load that name a file.
FILES = ("csv", "prometheus", "replicas", "waiting")
#: Columns of a file, the first of which it must have.
_COLUMNS = ("seconds", "task_seconds", "priority", "eta_seconds")


def read_rows(text: str, path: str, problems: Problems) -> tuple[Row, ...]:
    """The tasks of a file.

    :param path: what the file is called in messages.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
    except csv.Error:
        # One field has more characters than the reader takes.
        names = []
    unknown = [name for name in names if name not in _COLUMNS]
    if "seconds" not in names or unknown:
        wrong = f"has a column {unknown[0]!r}" if unknown else "has no column seconds"
        problems.add(
            path,
            f"the file {wrong}; its first line names its columns: seconds, and if known "
            "task_seconds, priority and eta_seconds.",
        )
        return ()
    reader.fieldnames = names
    found: list[Row] = []
    for number, row in enumerate(_rows(reader), start=2):
        if row is None:
            problems.add(
                path,
                f"line {number} cannot be read; seconds, task_seconds and eta_seconds are numbers of 0 or "
                "more, priority is one from 0 to 9.",
            )
            return ()
        if len(found) == MOST_TASKS:
            problems.add(path, f"the file has more than {MOST_TASKS:,} tasks; write the path of one with fewer.")
            return ()
        found.append(row)
    return tuple(found)


def _rows(reader: Iterable[Mapping[str, Any]]) -> Iterable[Row | None]:
    """The tasks of the lines; None for a line that cannot be read, the last one then."""
    try:
        yield from map(_row, reader)
    except csv.Error:
        yield None


def _row(line: Mapping[str, Any]) -> Row | None:
    try:
        at, eta = float(line["seconds"]), float(line.get("eta_seconds") or 0)
        written, priority = line.get("task_seconds"), int(line.get("priority") or 0)
        seconds = float(written) if written else None
    except (TypeError, ValueError):
        return None
    numbers: Sequence[float] = (at, eta, seconds or 0.0)
    if not all(0 <= number <= 1e9 for number in numbers) or not 0 <= priority <= 9:
        return None
    return Row(at, seconds, priority, eta)
