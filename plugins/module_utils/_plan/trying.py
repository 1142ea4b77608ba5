# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether workers that KEDA starts for work alone come up: those that take over, and Jobs that a run has changed.

That their ScaledJob is Ready says nothing of their pods.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from .._cluster.readiness import condition
from .._cluster.stuck_jobs import applied_template
from .._model.fleet import Fleet, Variant
from .._model.names import SERVICE_LABEL, VARIANT_LABEL
from .._model.observed import WORKER_KINDS, ObservedObject
from .comparing import differing_fields
from .data import TRY, TRY_CHANGED, Live, Merge, Object, Step

_JOBS = "ScaledJob"
#: Where a ScaledJob has what its pods are.
_TEMPLATE = "spec.jobTargetRef.template"


def unseen(fleet: Fleet, switched: Collection[ObservedObject]) -> Iterator[str]:
    """What a run that does not wait does not see of Jobs that take over."""
    for variant in _taking_over(fleet, switched):
        if variant.runs_as_jobs:
            yield (
                f"{variant.title}: its Deployment gives way to Jobs, and this run does not see one start, because it "
                f"does not wait (celery_workers_wait: false). {_how_to_see(fleet, variant)}"
            )


def untried(fleet: Fleet, reasons: Mapping[str, str]) -> Iterator[str]:
    """What a run that waits has not seen of workers that take over, because KEDA starts none of them.

    :param reasons: why, by the name of a Deployment or ScaledJob.
    """
    for variant in fleet.variants:
        why = reasons.get(variant.deployment)
        if why:
            after, before = ("Jobs", "Deployment") if variant.runs_as_jobs else ("a Deployment", "Jobs")
            yield (
                f"{variant.title}: {after} took over from its {before}, and the image was not tried: {why}, so KEDA "
                f"starts no pod. {_how_to_see(fleet, variant)}"
            )


def _how_to_see(fleet: Fleet, variant: Variant) -> str:
    if variant.runs_as_jobs:
        return _see_with(fleet, _jobs_of([variant.deployment]))
    return _see_with(fleet, f"{SERVICE_LABEL}={variant.service},{VARIANT_LABEL}={variant.name}")


def _see_with(fleet: Fleet, selector: str) -> str:
    return (
        f"Once KEDA starts the next one, see that it comes up with kubectl get pods --selector {selector} --namespace "
        f"{fleet.namespace}."
    )


def _taking_over(fleet: Fleet, switched: Collection[ObservedObject]) -> Iterator[Variant]:
    """Variants whose workers of another kind go."""
    names = {item.name for item in switched if item.kind in WORKER_KINDS}
    yield from (variant for variant in fleet.variants if variant.deployment in names)


def trial(fleet: Fleet, switched: Collection[ObservedObject]) -> Step:
    """What sees that those come up that take over, before the others are told anything. It waits for those that KEDA
    starts for work that is there."""
    scaled = [variant for variant in _taking_over(fleet, switched) if variant.runs_as_jobs or variant.has_scaler]
    kinds = {variant.deployment: _JOBS if variant.runs_as_jobs else "Deployment" for variant in scaled}
    return Step(
        "See that those come up that take over",
        TRY,
        tuple({"kind": kind, "metadata": {"name": name}} for name, kind in kinds.items()),
        reason=(
            "Everything is applied, but no Job of these has come up, so the workers that were to give way stay and "
            "take work as before. Fix the cause below; a second run goes on."
        ),
    )


def changed_trial(
    fleet: Fleet, live: Live, changed: Iterable[Object], merge: Merge, switched: Collection[ObservedObject]
) -> Step:
    """What sees that a Job comes up of each variant whose Jobs this run changes, where KEDA starts one.

    So it does with those that an earlier run may have seen fail, as far as their Jobs are there.

    :param changed: what this run sends.
    """
    taking_over = {variant.deployment for variant in _taking_over(fleet, switched)}
    new = {
        str(item["metadata"]["name"])
        for item in changed
        if item["kind"] == _JOBS and _replaces(item, live.get((_JOBS, str(item["metadata"]["name"]))), merge)
    }
    names = [variant.deployment for variant in fleet.variants if variant.runs_as_jobs]
    tried = [
        {"kind": _JOBS, "metadata": {"name": name}, "changed": name in new}
        for name in names
        if name not in taking_over and (name in new or _has_work(live.get((_JOBS, name))))
    ]
    return Step(
        "See that Jobs of the new version come up",
        TRY_CHANGED,
        tuple(tried),
        reason=(
            "Everything is applied, but no Job of these comes up as it is by now. Jobs that have started before go on "
            "as they were. Fix the cause below; a second run waits for Jobs that KEDA has started by then."
        ),
    )


def _replaces(item: Object, live: Object | None, merge: Merge) -> bool:
    """Whether the next Jobs of a ScaledJob are other ones."""
    if live is None:
        return True
    before = applied_template(live)
    # What is taken out of a template makes no difference to what is sent.
    is_new = before is not None and before != item["spec"]["jobTargetRef"]["template"]
    return is_new or any(name.startswith(_TEMPLATE) for name in differing_fields(item, live, merge))


def _has_work(live: Object | None) -> bool:
    """Whether KEDA starts Jobs of a ScaledJob."""
    return condition(live, "Active").get("status") == "True"


def untried_changes(fleet: Fleet, reasons: Mapping[str, str], left: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Variants of which no Job was tried as it is by now, because KEDA starts none; a line for each reason.

    :param reasons: why, by the name of a ScaledJob.
    :param left: Jobs of earlier versions that are in the way of others, by the same.
    """
    for why in dict.fromkeys(reasons.values()):
        some = [variant for variant in fleet.variants if reasons.get(variant.deployment) == why]
        names = ", ".join(f"{variant.service}/{variant.name}" for variant in some)
        jobs = " ".join(job for variant in some for job in left.get(variant.deployment, ()))
        delete = (
            f"Delete them with kubectl delete job {jobs} --namespace {fleet.namespace}; KEDA then starts new ones. "
        )
        yield (
            f"{names}: no Job of the new version was tried: {why}, so KEDA starts none. {delete if jobs else ''}"
            f"{_see_with(fleet, _jobs_of([variant.deployment for variant in some]))}"
        )


def _jobs_of(names: Collection[str]) -> str:
    """A selector of the pods of some ScaledJobs, for a command line."""
    label = "scaledjob.keda.sh/name"
    return f"{label}={''.join(names)}" if len(names) == 1 else f"'{label} in ({','.join(names)})'"
