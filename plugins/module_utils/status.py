# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is: what runs of it, compared with what a run would send. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from ._celery.adoption import adoptions
from ._celery.idle_first import as_it_runs
from ._celery.inquiry import Answer
from ._check.preflight import named_objects, source_names
from ._cluster.direct import DirectCluster
from ._cluster.fleet_reading import Readings, read_fleet_state
from ._cluster.reading import ClusterError, read_observed
from ._model.fleet import Fleet, Variant
from ._model.names import SERVICE_LABEL, VARIANT_LABEL
from ._model.observed import Observed
from ._model.selection import select
from ._plan.comparing import differing_fields, patched_fields
from ._plan.data import Merge, Object
from ._plan.described import all_resources
from ._schema.problems import Problems
from ._status.data import Drift, FleetStatus
from ._status.judging import Drifts, status_of
from .fleet import follows_cluster

#: Kinds whose content is not read, or that need rights which a look should not need.
_NOT_COMPARED = ("Secret",)


def look(
    cluster: DirectCluster,
    fleet: Fleet,
    read_again: Callable[[Observed], Fleet],
    merge: Merge,
    now: datetime,
    host: str = "",
    keda_namespace: str = "",
    asks_pods: bool = True,
    only: Collection[str] = (),
    count: Callable[[Fleet, Collection[Variant]], Mapping[str, Answer]] | None = None,
) -> FleetStatus:
    """Read a fleet's namespace, and say how it is.

    :param cluster: one that nothing was read through before.
    :param read_again: reads the inventory once more, where what runs decides on what it means.
    :param merge: kubernetes.core's three-way merge.
    :param asks_pods: whether pods are asked for what KEDA does not tell.
    :param only: services and variants that it is about; empty for all.
    :param count: asks the brokers for what neither KEDA nor a pod tells; None asks none.
    :raises ClusterError: if the namespace cannot be read.
    :raises InventoryError: if the fleet has not what it is about.
    """
    problems = Problems()
    select(fleet, only, problems)
    problems.raise_any()
    observed = read_observed(cluster, fleet.name, named_objects(fleet), source_names(fleet))
    if not observed.namespace_exists:
        raise ClusterError(f"Namespace {fleet.namespace} does not exist. Run queueops.celery.deploy first.")
    # By the time it is known whether a boost is over.
    observed = replace(observed, now=now)
    if follows_cluster(fleet):
        fleet = read_again(observed)
    fleet = as_it_runs(fleet, observed)
    chosen = select(fleet, only, problems).variants
    asked = chosen if asks_pods else ()
    counts = partial(count, fleet) if count is not None else None
    readings = read_fleet_state(cluster, fleet, observed, keda_namespace, asked, chosen, counts)
    return fleet_status(fleet, readings, merge, now, host, chosen)


def fleet_status(
    fleet: Fleet,
    readings: Readings,
    merge: Merge,
    now: datetime,
    host: str = "",
    chosen: Collection[Variant] | None = None,
) -> FleetStatus:
    """How a fleet is.

    :param merge: kubernetes.core's three-way merge.
    :param chosen: variants that it is about; None for all.
    """
    return status_of(fleet, readings, drifts(fleet, readings, merge), now, host, chosen)


def drifts(fleet: Fleet, readings: Readings, merge: Merge) -> Drifts:
    """What a run would send, by service and variant, with the fields that differ."""
    found: dict[tuple[str, str], list[Drift]] = {}
    for place, drift in (*_of_manifests(fleet, readings, merge), *_of_adopted(fleet, readings)):
        found.setdefault(place, []).append(drift)
    return found


def _of_manifests(fleet: Fleet, readings: Readings, merge: Merge) -> Iterator[tuple[tuple[str, str], Drift]]:
    for wanted in all_resources(fleet, readings.observed):
        kind, name = str(wanted["kind"]), str(wanted["metadata"]["name"])
        if kind in _NOT_COMPARED or kind in readings.observed.hidden_kinds:
            continue
        live = readings.find(kind, name)
        fields = differing_fields(wanted, live, merge)
        if live is None or fields:
            yield _place(wanted), Drift(f"{kind} {name}", tuple(fields))


def _of_adopted(fleet: Fleet, readings: Readings) -> Iterable[tuple[tuple[str, str], Drift]]:
    places = {variant.deployment: (variant.service, variant.name) for variant in fleet.variants}
    for patch in adoptions(fleet, readings.observed):
        name = str(patch["metadata"]["name"])
        live = readings.find("Deployment", name)
        if live is not None:
            fields = tuple(patched_fields(patch, live)) or ("metadata.annotations",)
            yield places.get(name, ("", "")), Drift(f"Deployment {name}", fields)


def _place(wanted: Object) -> tuple[str, str]:
    labels = wanted["metadata"].get("labels") or {}
    return str(labels.get(SERVICE_LABEL, "")), str(labels.get(VARIANT_LABEL, ""))
