# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a variant whatever was meant by a value of it that was refused.

All problems come at once, and what follows from a refused value is none. So such a variant is judged several times,
each time with another value in its place: what is wrong every time has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._model.fleet import Fleet
from .._model.job_keys import Jobs
from .._model.variant_keys import Consumption, Knowledge, Pod, Process, Scaling, Watch
from .._schema.keys import Section, key_names, keys_of
from .._schema.layers import PREFIX, Layer, layers_of, without_layer
from .._schema.problems import InventoryError, Problem, Problems, is_within
from .._schema.scalars import Choice, Flag, Integer, Number
from .refused import Refused, accepted_together, is_judged, is_there
from .risks import RULES, with_rule
from .safety import check_safety_of_fleet
from .scalers import check_scalers
from .variants import check_one_variant

#: Times that a variant is judged, and variants that are: a value that many share may be refused.
_ROUNDS, _MOST_VARIANTS = 6, 50
#: The layer with the other values. No name that people give comes after it.
_LAYER = f"{PREFIX}config__99_zzzzzzzzzz"
#: Keys that may say anything, so that nothing stands for what was meant.
_FREE = {"extra_params", "settings"}
#: Keys of which a problem may have to do with those, and the rules that have not.
_NEAR = key_names(Process) | {"cooldown_period", "idempotent", "in_flight", "probe", "termination_grace_period"}
_APART = ("version", "fallback-zero")
_ENOUGH = {"cpu": "64", "memory": "512Gi"}
#: Other values of keys that are no number and no word of a list.
_VALUES: dict[str, tuple[Any, ...]] = {
    "accept_risks": (list(RULES),),
    "probe": ("none", {"type": "exec", "command": ["true"]}, "heartbeat"),
    "resources": ({"requests": _ENOUGH, "limits": _ENOUGH}, {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}),
    "lifecycle": ({"preStop": {"sleep": {"seconds": 600}}},),
    "command_prefix": (["python", "-m", "celery"],),
    "fallback": (False, {"replicas": 1, "failureThreshold": 3}),
    "queues": (["whatever-was-meant"],),
}


Read = Callable[[tuple[Layer, ...]], Fleet]


@dataclass(frozen=True)
class _Hidden:
    """A variant that was not judged.

    :param path: where it was written.
    :param names: its keys that were refused.
    """

    path: str
    names: frozenset[str]


def tell_unrelated(read: Read, layers: Sequence[Layer], fleet: Fleet, refused: Refused, problems: Problems) -> None:
    """Note what is wrong with variants that were not judged, because a value of them was refused.

    :param read: reads a fleet from other layers, and says nothing of what is wrong there.
    :param refused: what was refused while the fleet was read.
    """
    hidden: dict[tuple[str, str], _Hidden] = {}
    for service in fleet.services:
        for variant in service.variants:
            unread = refused.keys_of(variant, service)
            if is_there(unread) and not is_judged(unread) and len(hidden) < _MOST_VARIANTS:
                hidden[service.name, variant.name] = _Hidden(variant.path, unread)
    services = {service for service, _variant in hidden}
    accepted = accepted_together(item for item in fleet.variants if item.service not in services)
    found: list[Problem] | None = None
    for number in range(_ROUNDS):
        if not hidden or found == []:
            return
        told = _told(read, layers, hidden, number, accepted)
        found = told if found is None else [problem for problem in found if problem in told]
    said = {without_layer(problem.path) for problem in problems.found}
    for problem in found or ():
        if without_layer(problem.path) not in said and not refused.holds(problem.path):
            problems.add(problem.path, problem.message)


def _told(
    read: Read,
    layers: Sequence[Layer],
    hidden: Mapping[tuple[str, str], _Hidden],
    number: int,
    accepted: Sequence[str],
) -> list[Problem]:
    """Problems of some variants with other values of their keys.

    :param number: of the round.
    :param accepted: rules that variants of services which are not read here accept for others, too.
    """
    meant: dict[str, dict[str, dict[str, Any]]] = {}
    for (service, variant), own in hidden.items():
        values = {name: _value(name, number + phase) for phase, name in enumerate(sorted(own.names))}
        meant.setdefault(service, {})[variant] = values
    only = [replace(layer, value=_part(layer, meant)) for layer in layers]
    try:
        fleet = read((*only, Layer(_LAYER, meant)))
    except InventoryError:
        return []
    ours = _only(fleet, hidden)
    found = Problems()
    for one in ours.services:
        for item in one.variants:
            check_one_variant(fleet, one, item, frozenset(), found)
    found.found += _between(fleet, accepted)
    check_scalers(ours, found)
    moved = [replace(problem, path=_place(problem.path, hidden)) for problem in found.found]
    is_free = any(own.names & _FREE for own in hidden.values())
    return [problem for problem in moved if problem.path and (not is_free or _is_apart(problem))]


def _only(fleet: Fleet, hidden: Mapping[tuple[str, str], _Hidden]) -> Fleet:
    """A fleet with these variants alone: the others have been judged."""
    services = (
        replace(one, variants=tuple(item for item in one.variants if (one.name, item.name) in hidden))
        for one in fleet.services
    )
    return replace(fleet, services=tuple(services))


def _between(fleet: Fleet, accepted: Sequence[str]) -> list[Problem]:
    """Problems between variants, without those that variants which are not among them accept."""
    found = Problems()
    check_safety_of_fleet(fleet, found)
    return [one for one in found.found if not any(with_rule("", rule) in one.message for rule in accepted)]


def _place(path: str, hidden: Mapping[tuple[str, str], _Hidden]) -> str:
    """Where the user wrote what is in our layer; empty for a value that we put there."""
    if not path.startswith(_LAYER):
        return path
    for (service, variant), own in hidden.items():
        place = f"{_LAYER}.{service}.{variant}"
        if is_within(path, place):
            rest = path.removeprefix(place)
            return "" if any(is_within(rest, f".{name}") for name in own.names) else f"{own.path}{rest}"
    return ""


def _is_apart(problem: Problem) -> bool:
    """Whether a problem has nothing to do with keys that may say anything."""
    if any(with_rule("", rule) in problem.message for rule in _APART):
        return True
    keys = {name.partition("[")[0] for name in problem.path.split(".")}
    return not keys & _NEAR and with_rule("", "").rstrip("].") not in problem.message


def _part(layer: Layer, meant: Mapping[str, Mapping[str, Any]]) -> Any:
    """A layer without the services that are not judged here."""
    bases = [base for base in ("config", "services") if layers_of(PREFIX + base, [layer])]
    if not bases or not isinstance(layer.value, Mapping):
        return layer.value
    return {name: value for name, value in layer.value.items() if name in meant}


def _value(name: str, number: int) -> Any:
    """One of the values that may have been meant by a key. The first is none at all, which gives its default."""
    values = (None, *_VALUES.get(name, ()), *_values_of(_CHECKS.get(name)))
    return values[number % len(values)]


def _values_of(check: Any) -> tuple[Any, ...]:
    """Values that a check takes, from its least to its largest."""
    if isinstance(check, Flag):
        return (False, True)
    if isinstance(check, Choice):
        return check.values
    if isinstance(check, (Integer, Number)):
        least, most = check.minimum, min(check.maximum, 1_000_000)
        return (least, most, *(value for value in (1, 10, 1000) if least < value < most))
    return ()


_CHECKS: dict[str, Callable[..., Any]] = {
    name: item.check
    for cls in (Consumption, Process, Pod, Scaling, Jobs, Knowledge, Watch)
    for name, item in keys_of(cls)
    if not isinstance(item.check, Section)
}
