# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that give way to others of another kind: a Deployment to Jobs, or Jobs to a Deployment.

The new workers are up, and consume, before the old ones are told to take nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from .._model.fleet import Fleet
from .._model.observed import API_VERSIONS, PAUSED, Observed, ObservedObject, definition
from .data import ASK, CLEAR, DELETE, PATCH, SCALERS, Object, Step

JOBS = "ScaledJob"


def switches(switched: Sequence[ObservedObject], namespace: str, accepts: bool) -> Iterator[Step]:
    """The steps by which old workers go, once the new ones are up.

    :param accepts: whether what they run may be cut.
    """
    if not switched:
        return
    scalers = [item for item in switched if item.kind in SCALERS]
    workers = [item for item in switched if item.kind not in SCALERS]
    yield from stopped(workers, namespace)
    # A scaler would start pods that take work again.
    yield _removal("Remove the scalers of workers that give way", scalers, namespace)
    if not accepts:
        yield Step("Let the workers that give way finish what they run", ASK, as_workers(workers))
    yield _removal("Remove workers that gave way", workers, namespace)


def clearing(fleet: Fleet, observed: Observed) -> Step:
    """What looks for Jobs that never started, of variants that have had some already."""
    known = [observed.find(*item.worker_object) for item in fleet.variants if item.runs_as_jobs]
    return Step("Remove Jobs that never started", CLEAR, as_workers(item for item in known if item is not None))


def _removal(name: str, doomed: Iterable[ObservedObject], namespace: str) -> Step:
    return Step(name, DELETE, tuple(definition(item, namespace) for item in doomed))


def stopped(going: Collection[ObservedObject], namespace: str) -> Iterator[Step]:
    """Stops KEDA from starting Jobs of what is about to go. Those that run are not touched."""
    jobs = [item for item in going if item.kind == JOBS]
    if jobs:
        patches = tuple(_pause(item, namespace, "true") for item in jobs)
        undo = tuple(_pause(item, namespace, None) for item in jobs if PAUSED not in item.paused)
        yield Step("Start no more Jobs of what goes", PATCH, patches, is_change=True, undo=undo)


def _pause(item: ObservedObject, namespace: str, value: str | None) -> Object:
    metadata = {"name": item.name, "namespace": namespace, "annotations": {PAUSED: value}}
    return {"apiVersion": API_VERSIONS[JOBS], "kind": JOBS, "metadata": metadata}


def as_workers(items: Iterable[ObservedObject]) -> tuple[Object, ...]:
    """Workers as a step names them."""
    return tuple({"kind": item.kind, "metadata": {"name": item.name}} for item in items)
