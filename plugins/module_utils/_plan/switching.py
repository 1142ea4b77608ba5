# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that give way to others of another kind: a Deployment to Jobs, or Jobs to a Deployment.

The new workers are up, and consume, before the old ones are told to take nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from .._model.drains import Drained, drained_from, drained_of
from .._model.fleet import Fleet, Variant
from .._model.names import DRAINED_ANNOTATION, GOING_ANNOTATION
from .._model.observed import API_VERSIONS, PAUSED, Observed, ObservedObject, definition
from .._model.pauses import going_pauses, how, pause_of, written_pauses
from .data import ASK, CLEAR, DELETE, PATCH, SCALERS, Object, Step
from .pausing import command, scaler_before

JOBS = "ScaledJob"
#: Why workers take nothing new, for who looks at their Deployment.
_REASON = "until they have finished, to be replaced or removed"


def held_back(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """Why workers must not give way: they are paused or drained, and those that take over would take work at once."""
    for variant in fleet.variants:
        stopped_by = _stopped_by(fleet, variant, observed)
        if stopped_by:
            was, kept = ("a Deployment", "run_as: deployment") if variant.runs_as_jobs else ("Jobs", "run_as: jobs")
            yield (
                f"{variant.title}: run_as changes, and its workers, which run as {was} now, are {stopped_by}. Those "
                "that take over would not be, and would take work at once. Resume it first with "
                f"{command('resume', variant)}, or keep {kept} until then."
            )


def _stopped_by(fleet: Fleet, variant: Variant, observed: Observed) -> str:
    """How the workers that give way are paused or drained, in words; empty where they are not, or nothing gives way."""
    drained = drained_of(variant, observed) if variant.runs_as_jobs else None
    if drained is not None and not drained.by_deploy:
        return drained.words
    scaler = scaler_before(fleet, variant, observed)
    if scaler is None:
        return ""
    pause = pause_of(scaler)
    if pause is not None and observed.now is not None and pause.is_over(observed.now):
        return ""
    known = {**written_pauses(variant), **going_pauses(scaler)}
    notes = {name: value for name, value in scaler.paused.items() if name not in known}
    if pause is not None and pause.notes.keys() & notes.keys():
        return f"{pause.how}{pause.origin}"
    return f"{how(notes, None)} by hand" if notes else ""


def switches(switched: Sequence[ObservedObject], namespace: str, accepts: bool, now: datetime | None) -> Iterator[Step]:
    """The steps by which old workers go, once the new ones are up.

    :param accepts: whether what they run may be cut.
    :param now: when the run has begun.
    """
    if not switched:
        return
    scalers = [item for item in switched if item.kind in SCALERS]
    workers = [item for item in switched if item.kind not in SCALERS]
    yield from stopped(workers, namespace)
    # A scaler would start pods that take work again.
    yield _removal("Remove the scalers of workers that give way", scalers, namespace)
    if not accepts:
        yield from finishing("Let the workers that give way finish what they run", workers, namespace, now)
    yield _removal("Remove workers that gave way", workers, namespace)


def finishing(name: str, workers: Collection[ObservedObject], namespace: str, now: datetime | None) -> Iterator[Step]:
    """Lets workers take nothing new and finish what they run.

    A note comes first. By it a later run sees that they were told so, and takes it back, should this one be cut off.

    :param now: when the run has begun.
    """
    note = Drained(since=now, reason=_REASON, by_deploy=True).annotation
    # Whom others have drained stays drained.
    deployments = [item for item in workers if item.kind == "Deployment" and _is_by_deploy(item)]
    notes, undo = (
        tuple(_annotated(item, namespace, {DRAINED_ANNOTATION: value}) for item in deployments)
        for value in (note, None)
    )
    if notes:
        yield Step("Note that they take nothing new", PATCH, notes, undo=undo)
    yield Step(name, ASK, as_workers(workers))


def _is_by_deploy(item: ObservedObject) -> bool:
    """Whether no person has drained it."""
    drained = drained_from(item.annotations)
    return drained is None or drained.by_deploy


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
        # What others have paused already is not ours to resume, should it stay after all.
        own = [item for item in jobs if PAUSED not in item.paused or GOING_ANNOTATION in item.annotations]
        patches = tuple(_pause(item, namespace, "true") for item in own)
        undo = tuple(_pause(item, namespace, None) for item in own)
        yield Step("Start no more Jobs of what goes", PATCH, patches, is_change=True, undo=undo)


def _pause(item: ObservedObject, namespace: str, value: str | None) -> Object:
    return _annotated(item, namespace, {PAUSED: value, GOING_ANNOTATION: value})


def _annotated(item: ObservedObject, namespace: str, notes: Mapping[str, str | None]) -> Object:
    metadata = {"name": item.name, "namespace": namespace, "annotations": dict(notes)}
    return {"apiVersion": API_VERSIONS[item.kind], "kind": item.kind, "metadata": metadata}


def as_workers(items: Iterable[ObservedObject]) -> tuple[Object, ...]:
    """Workers as a step names them."""
    return tuple({"kind": item.kind, "metadata": {"name": item.name}} for item in items)
