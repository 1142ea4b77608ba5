# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the variables of an inventory to a Fleet that has been judged: read, then check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ._build.scalers import scaler_resources
from ._celery.idle_first import with_known_version
from ._check.fleet import check_everything
from ._check.refused import Refused
from ._check.unrelated import tell_unrelated
from ._cluster.installed_keda import installed_keda
from ._model.fleet import Fleet
from ._model.observed import Observed
from ._read.inventory import read_inventory
from ._read.module_options import inventory_from
from ._read.reader import Inventory
from ._schema.layers import PREFIX, Layer
from ._schema.problems import InventoryError, Problem, Problems
from ._schema.versions import as_text, older

_KEDA = f"{PREFIX}keda_version"


def parse_fleet(inventory: Inventory, may_be_empty: bool = False, only_reads: bool = False) -> Fleet:
    """The fleet that an inventory describes.

    :param may_be_empty: whether an inventory without services is one; computed from, it would ask for nothing at all.
    :param only_reads: whether only what cannot be read is refused. Who looks at what runs asks for nothing, so whether
        it could work, and is safe, is not judged.
    :raises InventoryError: with every problem that was found.
    """
    settled = frozenset(problem.path for problem in inventory.problems)
    problems = Problems(list(inventory.problems), settled=settled)
    fleet = read_inventory(inventory, problems, may_be_empty)
    refused = Refused.of(problems)
    if not only_reads:
        check_everything(fleet, inventory.layers, problems, inventory.output, inventory.preset == "openedx")
    if problems.found and not only_reads:
        tell_unrelated(partial(_read_again, inventory), inventory.layers, fleet, refused, problems)
    problems.raise_any()
    return with_known_version(replace(fleet, warnings=tuple(dict.fromkeys(problems.warnings))))


def _read_again(inventory: Inventory, layers: tuple[Layer, ...]) -> Fleet:
    return read_inventory(replace(inventory, layers=layers, problems=()), Problems())


def fleet_in_cluster(
    inventory: Inventory, fleet: Fleet, observed: Observed, live: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[Fleet, list[str]]:
    """A fleet with what services take over from Deployments that run, and what is to be known of it there.

    :param live: the objects of its namespace as an API server returned them.
    :raises InventoryError: with what is wrong with it there.
    """
    if follows_cluster(fleet):
        inventory = replace(inventory, observed=observed)
        fleet = parse_fleet(inventory)
    return fleet, judge_installed_keda(inventory, fleet, live)


#: From this one on nothing that can be written needs a later one.
_NEW_ENOUGH = "2.20.1"


def judge_installed_keda(
    inventory: Inventory, fleet: Fleet, live: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[str]:
    """What is to be known of an inventory with the KEDA that runs.

    :param live: the objects of its namespace as an API server returned them.
    :raises InventoryError: where it asks for more than that KEDA does, and does not say which KEDA runs.
    """
    found, stated = installed_keda(live), fleet.versions.keda
    if found is None:
        return []
    version, hpa = found
    runs = f"KEDA {as_text(version)} runs, as HorizontalPodAutoscaler {hpa} says"
    if stated is not None:
        is_less = version[: len(stated)] < stated
        told = f"{_KEDA}: it is {as_text(stated)}, and {runs}. Write what runs, or upgrade KEDA."
        return [told] if is_less else []
    if not older(version, _NEW_ENOUGH):
        return []
    unless = f"If another KEDA runs, write {_KEDA}."
    try:
        fitting = parse_fleet(replace(inventory, versions={**inventory.versions, "keda": as_text(version)}))
    except InventoryError as error:
        raise InventoryError(
            Problem(one.path, f"{one.message} ({runs}. {unless})") for one in error.problems
        ) from error
    measured = {variant.title for variant in fleet.variants if variant.measured_by}
    lost = measured - {variant.title for variant in fitting.variants if variant.measured_by}
    if lost:
        message = (
            f"{', '.join(sorted(lost))} would go by what is measured, and {runs}, which cannot scale while Prometheus "
            f"is away. Install KEDA {_NEW_ENOUGH} or later, or write {_KEDA}: '{as_text(version)}', by which "
            f"list_length decides. {unless}"
        )
        raise InventoryError([Problem(f"{PREFIX}prometheus", message)])
    if scaler_resources(fleet) != scaler_resources(fitting):
        fits = f"Write {_KEDA}: '{as_text(version)}', so that it fits."
        return [f"{runs}, and what is made is for a later one. {fits} {unless}"]
    return []


def follows_cluster(fleet: Fleet) -> bool:
    """Whether what runs decides on what the inventory means."""
    return any(service.inherits for service in fleet.services) or any(
        variant.adopted or variant.consumption.adopt is not None
        for service in fleet.services
        for variant in (*service.variants, *service.left)
    )


def read_fleet(
    module: Any, observed: Observed | None = None, may_be_empty: bool = False, only_reads: bool = False
) -> Fleet:
    """The fleet that a module's parameters describe. With problems the module fails and names them all.

    :param module: the AnsibleModule.
    :param observed: as for L(inventory_from).
    :param may_be_empty: as for L(parse_fleet), and so is C(only_reads).
    """
    try:
        return parse_fleet(inventory_from(module.params, observed), may_be_empty, only_reads)
    except InventoryError as error:
        module.fail_json(msg=str(error), problems=[str(problem) for problem in error.problems])
        raise
