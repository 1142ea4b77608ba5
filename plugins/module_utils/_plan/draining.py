# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining variants and letting them take work again, as steps, and what a deploy makes of drains.

A drained variant takes nothing new: each of its workers was told so, and its scaler is paused in both directions, since
a pod that starts takes from the queues of its command line. Both are noted in annotations that no apply has written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .._celery.command import has_remote_control
from .._model.drains import Drained, drained_from, drained_of, drained_variants
from .._model.fleet import Fleet, Variant
from .._model.names import DRAINED_ANNOTATION, PAUSE_ANNOTATION, pod_autoscaler_name, scaled_object_name
from .._model.observed import API_VERSIONS, PAUSED, Observed, ObservedObject
from .._model.pauses import Pause, pause_of, written_pauses
from .._model.selection import Selection
from .data import DRAIN, PATCH, RESUME, Object, Plan, Step
from .pausing import Said, annotation_patch, command, resume_scaling, scaler_before, scaler_of, short_name

_FOR_HPA = (
    "Kubernetes has no pause for that, so a pod that it starts meanwhile would take work. Set min_replicas and "
    "max_replicas to the same number and deploy first, or use scaler: keda."
)


@dataclass(frozen=True)
class DrainWish:
    """What the playbook drain is asked for."""

    now: datetime
    reason: str = ""
    by: str = ""


def plan_drain(fleet: Fleet, chosen: Selection, observed: Observed, wish: DrainWish) -> Plan:
    """What drains the chosen variants. Those that are drained already are told so again."""
    said, drains = Said(), []
    for variant in chosen.variants:
        named = chosen.names(variant)
        refusal = refusal_of(fleet, variant, observed)
        live = observed.find("Deployment", variant.deployment)
        if refusal or live is None:
            said.refuse(named, f"{short_name(variant)}: {refusal}")
            continue
        wanted = Drained(wish.by, wish.now, wish.reason)
        drained = drained_from(live.annotations)
        if drained is None or drained.by_deploy or (wish.reason and drained.reason != wish.reason):
            drained = replace(
                wanted, told=drained.told if drained else {}, before=drained_before(variant, observed, drained)
            )
        said.patches += noted(fleet, variant, observed, drained)
        drains.append(told_object(fleet, variant, drained))
    if not (said.problems or drains):
        said.problems.append("No variant that was chosen can be drained.")
        said.problems += said.warnings
        said.warnings = []
    first = [Step("Pause scaling, and note the drain", PATCH, tuple(said.patches), is_change=True)]
    steps = (*(first if said.patches else []), Step("Let the workers finish what they run", DRAIN, tuple(drains)))
    return Plan(problems=tuple(said.problems), warnings=tuple(said.warnings), steps=() if said.problems else steps)


def refusal_of(fleet: Fleet, variant: Variant, observed: Observed) -> str:
    """Why a variant cannot be drained; empty if it can."""
    if variant.runs_as_jobs:
        return (
            "its workers run as Jobs, which end by themselves. Let KEDA start no more of them with "
            f"{command('pause', variant)}"
        )
    live = observed.find("Deployment", variant.deployment)
    if live is None:
        return f"there is no Deployment {variant.deployment} in {fleet.namespace}. Deploy it first."
    if not (live.is_ours(fleet.name) or live.is_adopted(fleet.name)):
        return f"{live.identity} in {fleet.namespace} is not ours: it belongs to {live.owner or 'another owner'}."
    broker = fleet.service_of(variant).broker
    if broker is not None and broker.type == "sqs":
        return (
            "SQS has no remote control, so its workers cannot be told to take nothing. Pause it at 0 pods instead, "
            f"which gives them their grace period: {command('pause', variant)} -e celery_workers_pause_replicas=0"
        )
    if not has_remote_control(variant.process):
        return "its workers have no remote control (setting worker_enable_remote_control), so they cannot be told."
    if variant.scaling.scaler == "hpa" and variant.scaling.min_replicas != variant.scaling.max_replicas:
        return f"HorizontalPodAutoscaler {pod_autoscaler_name(variant.deployment)} scales it, and {_FOR_HPA}"
    scaler = _scaler_of(variant, observed)
    if scaler is not None and not scaler.is_ours(fleet.name):
        return f"{scaler.identity} in {fleet.namespace} is not ours: it belongs to {scaler.owner}."
    return ""


def _scaler_of(variant: Variant, observed: Observed) -> ObservedObject | None:
    return observed.find("ScaledObject", scaled_object_name(variant.deployment)) if variant.uses_keda else None


def drained_before(variant: Variant, observed: Observed, drained: Drained | None) -> dict[str, str | None]:
    """The annotations of its ScaledObject that a drain writes, as they were before."""
    scaler = _scaler_of(variant, observed)
    if drained is not None and drained.before and (scaler is None or _is_of_drain(scaler)):
        return dict(drained.before)
    if scaler is None:
        return {}
    # What the inventory writes is not ours to give back.
    own = {} if PAUSED in written_pauses(variant) else {PAUSED: scaler.paused.get(PAUSED)}
    return {**own, PAUSE_ANNOTATION: scaler.annotations.get(PAUSE_ANNOTATION)}


def noted(fleet: Fleet, variant: Variant, observed: Observed, drained: Drained) -> Iterator[Object]:
    """Patches that note the drain and pause its scaler, as far as that is not so."""
    live, scaler = observed.find("Deployment", variant.deployment), _scaler_of(variant, observed)
    if live is not None and drained_from(live.annotations) != drained:
        yield annotation_patch(live, fleet, {DRAINED_ANNOTATION: drained.annotation})
    if scaler is not None and not (_is_paused(variant, scaler) and _is_of_drain(scaler)):
        yield annotation_patch(scaler, fleet, _pause(variant, drained, live.replicas if live is not None else None))


def _pause(variant: Variant, drained: Drained, pods: int | None) -> dict[str, str | None]:
    """The annotations of a ScaledObject that pause it while its workers are drained."""
    reason = f"drained: {drained.reason}" if drained.reason else "drained"
    pause = Pause({PAUSED: "true"}, pods, drained.by, drained.since, reason=reason, drains=True)
    own = {} if PAUSED in written_pauses(variant) else {PAUSED: "true"}
    return {**own, PAUSE_ANNOTATION: pause.annotation}


def _is_paused(variant: Variant, scaler: ObservedObject) -> bool:
    return PAUSED in {**written_pauses(variant), **scaler.paused}


def _is_of_drain(scaler: ObservedObject) -> bool:
    pause = pause_of(scaler)
    return pause is not None and pause.drains


def left_object(fleet: Fleet, variant: Variant, observed: Observed, drained: Drained) -> Object:
    """A variant that a drain has come upon before this run, as an object of a step."""
    scaler = _scaler_of(variant, observed)
    # A person has paused it since, and that is not ours to undo.
    is_taken_over = scaler is not None and PAUSE_ANNOTATION in scaler.annotations and not _is_of_drain(scaler)
    return told_object(fleet, variant, replace(drained, before={}) if is_taken_over else drained)


def told_object(fleet: Fleet, variant: Variant, drained: Drained) -> Object:
    """A variant whose workers are told something, as an object of a step."""
    scaler = scaled_object_name(variant.deployment) if drained.before else ""
    return {
        "apiVersion": API_VERSIONS["Deployment"],
        "kind": "Deployment",
        "metadata": {"name": variant.deployment, "namespace": fleet.namespace},
        "title": short_name(variant),
        "drained": drained,
        "scaler": scaler,
        "resume": command("resume", variant),
    }


def with_told(item: Object, told: Mapping[str, int]) -> Object:
    """The patch that notes which pods of a drained variant were told to take nothing."""
    return _patch(item, DRAINED_ANNOTATION, replace(item["drained"], told=dict(told)).annotation)


def taken_back(item: Object) -> list[Object]:
    """Patches that undo the notes of a drain: its scaler is as it was before."""
    metadata = item["metadata"]
    scaler = {
        "apiVersion": API_VERSIONS["ScaledObject"],
        "kind": "ScaledObject",
        "metadata": {
            "name": item["scaler"],
            "namespace": metadata["namespace"],
            "annotations": dict(item["drained"].before),
        },
    }
    return [*([scaler] if item["scaler"] else []), _patch(item, DRAINED_ANNOTATION, None)]


def left_noted(item: Object) -> list[Object]:
    """Patches that let its scaler be as it was, and keep the note that its workers may take nothing."""
    # What others do to the scaler from now on is not ours to undo.
    note = _patch(item, DRAINED_ANNOTATION, replace(item["drained"], before={}).annotation)
    return [*taken_back(item)[:-1], note]


def _patch(item: Object, annotation: str, value: str | None) -> Object:
    metadata: dict[str, Any] = {**item["metadata"], "annotations": {annotation: value}}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


# Taking work again


def plan_resume(fleet: Fleet, chosen: Selection, observed: Observed) -> Plan:
    """What lets the chosen variants be scaled, and take work, again, whoever paused or drained them."""
    said, told = Said(), []
    for variant in chosen.variants:
        live, drained = observed.find("Deployment", variant.deployment), drained_of(variant, observed)
        if live is not None and drained is not None:
            said.patches.append(annotation_patch(live, fleet, {DRAINED_ANNOTATION: None}))
            said.notes.append(f"{short_name(variant)}: takes work again; it had been {drained.words}")
            told.append(told_object(fleet, variant, drained))
        # A drained one without a scaler has one thing to resume all the same.
        named = chosen.names(variant) and drained is None
        before = scaler_before(fleet, variant, observed)
        if before is not None:
            # With run_as changed already, and not deployed: a deploy refuses the change while it is paused.
            resume_scaling(said, fleet, variant, before, named)
            continue
        scaler = scaler_of(fleet, variant, observed, named, said) if variant.is_counted or named else None
        if scaler is not None:
            resume_scaling(said, fleet, variant, scaler, named)
    found = said.plan(
        "Resume scaling", "No variant that was chosen has a scaler that could be resumed.", "no variant is paused"
    )
    first = [Step("Let the workers take work again", RESUME, tuple(told))] if told else []
    return replace(found, steps=(*first, *found.steps) if not found.problems else ())


# What a deploy makes of drains


def drain_warnings(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """What a deploy says of drains that it keeps."""
    for variant, live, drained in drained_variants(fleet, observed):
        if not drained.by_deploy:
            pods = f", at {live.replicas} pods" if live.replicas not in (None, 1) else ""
            again = f"let it take work again with {command('resume', variant)}"
            yield f"{short_name(variant)}: {drained.words}{pods}; {again}"


def drained_again(fleet: Fleet, observed: Observed, rolled: Iterable[str]) -> tuple[Object, ...]:
    """Drained variants whose pods this run replaces: the new ones would take work.

    :param rolled: names of Deployments that are sent.
    """
    names = set(rolled)
    return tuple(
        told_object(fleet, variant, drained)
        for variant, _live, drained in drained_variants(fleet, observed)
        if variant.deployment in names and not drained.by_deploy
    )


def drain_pauses(fleet: Fleet, observed: Observed, checks: bool) -> tuple[Object, ...]:
    """Patches that pause the scalers of drained variants that are not paused, such as one that this run creates.

    :param checks: whether this is a dry run, which creates none.
    """
    found: list[Object] = []
    for variant, live, drained in drained_variants(fleet, observed):
        scaler = _scaler_of(variant, observed)
        if not variant.uses_keda or drained.by_deploy or (scaler is not None and _is_paused(variant, scaler)):
            continue
        if scaler is None and (checks or "ScaledObject" in observed.missing_kinds):
            continue
        item = ObservedObject("ScaledObject", scaled_object_name(variant.deployment))
        found.append(annotation_patch(item, fleet, _pause(variant, drained, live.replicas)))
    return tuple(found)
