# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pausing and resuming as steps, and what a deploy makes of a pause.

A pause is in annotations that no apply has written, so applies leave it alone and it never counts as a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .._model.drains import drained_of, drained_variants
from .._model.fleet import Fleet, Variant
from .._model.names import GOING_ANNOTATION, PAUSE_ANNOTATION, pod_autoscaler_name, scaled_object_name
from .._model.observed import API_VERSIONS, PAUSED, Observed, ObservedObject
from .._model.pauses import (
    DIRECTIONS,
    PAUSED_REPLICAS,
    Pause,
    going_pauses,
    how,
    pause_of,
    paused_variants,
    pauses_of_others,
    pauses_of_ours,
    written_pauses,
)
from .._model.selection import Selection
from .._schema.versions import as_text, older
from .data import APPLY, PATCH, Object, Plan, Step


@dataclass(frozen=True)
class PauseWish:
    """What the playbook pause is asked for.

    :param direction: one of L(DIRECTIONS).
    :param replicas: the number to pause at; None for the current one.
    """

    now: datetime
    direction: str = "both"
    replicas: int | None = None
    until: datetime | None = None
    reason: str = ""
    by: str = ""

    @property
    def notes(self) -> dict[str, str]:
        """KEDA's annotations that it takes."""
        return {DIRECTIONS[self.direction]: "true"} if self.replicas is None else {PAUSED_REPLICAS: str(self.replicas)}


#: What to do where Kubernetes' own autoscaler scales a variant.
_NO_PAUSE = (
    "Kubernetes has no pause for that. Set min_replicas and max_replicas to the same number and deploy, or use scaler: "
    "keda."
)


@dataclass
class Said:
    """What is found while the variants are looked at."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    patches: list[Object] = field(default_factory=list)
    applied: list[Object] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def refuse(self, named: bool, text: str) -> None:
        """What was asked for by its name must be done; of a whole service or fleet it is told what was not."""
        (self.problems if named else self.warnings).append(text)

    def plan(self, name: str, nothing: str, idle: str = "") -> Plan:
        """The steps, unless something is wrong.

        :param nothing: what is wrong where no variant has a scaler.
        :param idle: what is said where every scaler is as it should be, and nothing was said of any.
        """
        if self.unchanged and not (self.notes or self.patches or self.applied) and idle:
            self.notes.append(idle)
        if not (self.problems or self.patches or self.applied or self.unchanged or self.notes):
            self.problems.append(nothing)
            self.problems += self.warnings
            self.warnings = []
        steps = [Step(name, PATCH, tuple(self.patches), is_change=True)] if self.patches else []
        steps += [Step(name, APPLY, tuple(self.applied))] if self.applied else []
        return Plan(
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
            notes=tuple(self.notes),
            unchanged=tuple(self.unchanged),
            steps=() if self.problems else tuple(steps),
        )


def short_name(variant: Variant) -> str:
    """A variant as C(celery_workers_only) names it."""
    return f"{variant.service}/{variant.name}"


def command(playbook: str, variant: Variant) -> str:
    """The command that runs a playbook for one variant."""
    return f"ansible-playbook queueops.celery.{playbook} -e celery_workers_only={short_name(variant)}"


def plan_pause(fleet: Fleet, chosen: Selection, observed: Observed, wish: PauseWish) -> Plan:
    """What pauses the chosen variants."""
    said = Said()
    said.problems += _impossible(fleet, wish)
    if wish.direction != "both" and older(fleet.versions.keda, "2.18.2"):
        said.warnings.append(
            f"KEDA {as_text(fleet.versions.keda)} does not restore the HPA's behavior when a pause of one direction "
            "ends; 2.18.2 does. Deploy with a changed behavior after it, or upgrade."
        )
    for variant in chosen.variants:
        live = scaler_of(fleet, variant, observed, chosen.names(variant), said)
        drained = drained_of(variant, observed)
        if live is not None and drained is not None and not drained.by_deploy:
            text = (
                f"{short_name(variant)}: it is {drained.words}, so its scaling is paused already. To let it take work "
                f"again, run {command('resume', variant)}"
            )
            said.refuse(chosen.names(variant), text)
        elif live is not None:
            _pause(said, fleet, variant, live, _pods_of(variant, observed), wish, chosen.names(variant))
            said.warnings += [_told_by_deploy(variant)] if drained is not None else []
    return said.plan("Pause scaling", "No variant that was chosen has a scaler that could be paused.")


def _told_by_deploy(variant: Variant) -> str:
    """What a pause does not change of workers that a deploy has told to take nothing new."""
    return (
        f"{short_name(variant)}: a deploy that has not come to its end told its workers to take nothing new. They take "
        "work again with the next deploy, which keeps a pause. While that deploy still runs, pause again after it; it "
        f"ends what it finds. To let them take work now and be scaled, run {command('resume', variant)}"
    )


def _impossible(fleet: Fleet, wish: PauseWish) -> Iterator[str]:
    found = fleet.versions.keda
    path = "celery_workers_pause_direction"
    if wish.direction != "both" and wish.replicas is not None:
        yield (
            f"{path}: {wish.direction} stops one direction, and celery_workers_pause_replicas: {wish.replicas} stops "
            "both. Leave one of them out."
        )
    if wish.direction != "both" and older(found, "2.18"):
        yield (
            f"{path}: {wish.direction} needs KEDA 2.18, and {as_text(found)} is installed: leave it out, which pauses "
            "both directions, or upgrade."
        )


def scaler_of(
    fleet: Fleet, variant: Variant, observed: Observed, named: bool, said: Said, for_hpa: str = _NO_PAUSE
) -> ObservedObject | None:
    """The ScaledObject or ScaledJob of a variant; None where there is none that may be written."""
    own = short_name(variant)
    if variant.scaling.scaler == "hpa":
        said.refuse(
            named,
            f"{own}: HorizontalPodAutoscaler {pod_autoscaler_name(variant.deployment)} scales it, and {for_hpa}",
        )
        return None
    if variant.keda_object is None:
        if named:
            said.problems.append(f"{own}: it has no scaler (scaler: none), so its number of pods does not change.")
        return None
    kind, name = variant.keda_object
    live = observed.find(kind, name)
    if live is None:
        said.refuse(named, f"{own}: there is no {kind} {name} in {fleet.namespace}. Deploy it first.")
    elif not live.is_ours(fleet.name):
        said.refuse(named, f"{own}: {live.identity} in {fleet.namespace} is not ours: it belongs to {live.owner}.")
        return None
    return live


def scaler_before(fleet: Fleet, variant: Variant, observed: Observed) -> ObservedObject | None:
    """What KEDA decides by on workers of a variant that run in the other way until the next deploy; None if nothing."""
    name = variant.deployment
    place = ("ScaledObject", scaled_object_name(name)) if variant.runs_as_jobs else ("ScaledJob", name)
    live = observed.find(*place)
    return live if live is not None and live.is_ours(fleet.name) else None


def _pause(
    said: Said,
    fleet: Fleet,
    variant: Variant,
    live: ObservedObject,
    pods: int | None,
    wish: PauseWish,
    named: bool,
) -> None:
    own = short_name(variant)
    refusal, counts = _refusal(variant, live, wish)
    if refusal:
        said.refuse(named or counts, f"{own}: {refusal}")
        return
    pause, before = Pause(wish.notes, pods, wish.by, wish.now, wish.until, wish.reason), pause_of(live)
    now = pauses_of_ours(variant, live)
    if before is not None and before.is_like(pause) and now == pause.notes:
        said.unchanged.append(live.identity)
        said.notes.append(f"{own}: {before.how}{before.origin}")
        return
    going = [GOING_ANNOTATION] if GOING_ANNOTATION in live.annotations else []
    gone = dict.fromkeys([*(now.keys() - pause.notes.keys()), *going])
    said.patches.append(annotation_patch(live, fleet, {**gone, **pause.notes, PAUSE_ANNOTATION: pause.annotation}))
    said.notes.append(f"{own}: {pause.how}{pause.origin}; resume it with {command('resume', variant)}")
    if wish.replicas is not None and pods is not None and wish.replicas < pods:
        grace = variant.pod.termination_grace_period
        said.warnings.append(
            f"{own}: KEDA takes it from {pods} to {wish.replicas} pods now; those that end have {grace} s "
            "(termination_grace_period) to finish what they run."
        )


def _refusal(variant: Variant, live: ObservedObject, wish: PauseWish) -> tuple[str, bool]:
    """Why a variant is not paused, and whether that stops the run whatever was named; empty where it is."""
    if variant.runs_as_jobs and (wish.direction != "both" or wish.replicas is not None):
        return (
            "its workers run as Jobs, of which KEDA starts no more while it is paused, and each ends by itself. Leave "
            "celery_workers_pause_direction and celery_workers_pause_replicas out."
        ), True
    most, written, others = variant.scaling.max_replicas, written_pauses(variant), pauses_of_others(variant, live)
    if wish.replicas is not None and wish.replicas > most:
        return (
            f"celery_workers_pause_replicas is {wish.replicas}, and max_replicas is {most}. Pause at {most} at most, "
            "or raise max_replicas and deploy."
        ), True
    if wish.replicas is None and (PAUSED in written or wish.notes.keys() <= written.keys()):
        return "the inventory pauses it already (key paused).", False
    if others:
        return (
            f"{live.identity} was paused by hand already ({_as_words(others)}), so this run leaves it as it is. "
            f"Resume it first: {command('resume', variant)}"
        ), wish.replicas is not None
    return "", False


def _pods_of(variant: Variant, observed: Observed) -> int | None:
    deployment = observed.find("Deployment", variant.deployment)
    return deployment.replicas if deployment is not None else None


def _as_words(notes: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value!r}" for name, value in sorted(notes.items()))


def annotation_patch(live: ObservedObject, fleet: Fleet, notes: Mapping[str, str | None]) -> Object:
    """A patch of annotations, and of nothing else."""
    metadata = {"name": live.name, "namespace": fleet.namespace, "annotations": dict(notes)}
    return {"apiVersion": API_VERSIONS[live.kind], "kind": live.kind, "metadata": metadata}


def resume_scaling(said: Said, fleet: Fleet, variant: Variant, live: ObservedObject, named: bool) -> None:
    """What lets KEDA scale a variant again, whoever paused it."""
    own, written = short_name(variant), written_pauses(variant)
    notes = {name: value for name, value in live.paused.items() if name not in written}
    pause = pause_of(live)
    if notes or PAUSE_ANNOTATION in live.annotations:
        going = [GOING_ANNOTATION] if GOING_ANNOTATION in live.annotations else []
        said.patches.append(annotation_patch(live, fleet, dict.fromkeys([*notes, *going, PAUSE_ANNOTATION])))
        ours = pause is not None and pauses_of_ours(variant, live)
        if pause is not None and pause.drains:
            # That of its drain, of which is told instead.
            return
        if pause is not None and ours:
            said.notes.append(f"{own}: resumed; it was {pause.how}{pause.origin}")
        else:
            said.notes.append(f"{own}: resumed; it was {how(notes, None)} by hand" if notes else f"{own}: resumed")
    elif not written:
        said.unchanged.append(live.identity)
        if named:
            said.notes.append(f"{own}: it was not paused")
    if written:
        said.refuse(named, f"{own}: the inventory pauses it (key paused). Take that out and deploy.")


# What a deploy makes of pauses


def resumptions(fleet: Fleet, observed: Observed) -> list[Object]:
    """Patches that end pauses whose time has passed, and that clear up after pauses that were taken off by hand.

    So do they after a run that has paused what was to go, and that stays now.
    """
    ended = [
        annotation_patch(live, fleet, dict.fromkeys([*pauses_of_ours(variant, live), PAUSE_ANNOTATION]))
        for variant, live, pause in paused_variants(fleet, observed)
        if _ends(variant, live, pause, observed.now)
    ]
    kept = [annotation_patch(live, fleet, dict.fromkeys(notes)) for _variant, live, notes in _kept(fleet, observed)]
    return [*ended, *kept]


def _kept(fleet: Fleet, observed: Observed) -> Iterator[tuple[Variant, ObservedObject, list[str]]]:
    """Variants whose ScaledJob was to go, and stays, each with the annotations that a run has left on it."""
    for variant in fleet.variants:
        live = observed.find(*variant.keda_object) if variant.runs_as_jobs and variant.keda_object else None
        if live is not None and GOING_ANNOTATION in live.annotations:
            taken = [name for name in going_pauses(live) if name not in written_pauses(variant)]
            yield variant, live, [*taken, GOING_ANNOTATION]


def _ends(variant: Variant, live: ObservedObject, pause: Pause, now: datetime | None) -> bool:
    return not pauses_of_ours(variant, live) or (now is not None and pause.is_over(now))


def pause_notes(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """What a deploy says of pauses that end."""
    for variant, live, pause in paused_variants(fleet, observed):
        if _ends(variant, live, pause, observed.now) and pause.until is not None and pauses_of_ours(variant, live):
            yield f"{short_name(variant)}: resumed, because it was {pause.how}{pause.origin}"
    for variant, live, _notes in _kept(fleet, observed):
        if going_pauses(live):
            yield f"{short_name(variant)}: resumed, because a run that was to remove {live.identity} has not done so"


def pause_warnings(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """What a deploy says of pauses that it keeps."""
    drained = {variant.deployment for variant, _live, _drained in drained_variants(fleet, observed)}
    for variant, live, pause in paused_variants(fleet, observed):
        is_of_drain = pause.drains and variant.deployment in drained
        if not is_of_drain and not _ends(variant, live, pause, observed.now):
            yield f"{short_name(variant)}: {pause.how}{pause.origin}; resume it with {command('resume', variant)}"
