# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that somebody else made, such as Tutor's C(lms-worker), and that we narrow and scale.

Of such a Deployment we own the queues on its command line, the grace period, and two marks that say what was there
before. Everything else stays its owner's, who may restore its own arguments at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._model.fleet import Fleet, Variant, variant_title
from .._model.names import (
    ADOPTED_LABEL,
    ADOPTION_ANNOTATION,
    FLEET_LABEL,
)
from .._model.observed import API_VERSIONS, Observed, ObservedObject
from .command import Argument, split_arguments, written_options

#: Grace period that Kubernetes gives where nobody writes one, in seconds.
DEFAULT_GRACE = 30


#: Kinds that can become ours although somebody else made them. Configuration and Secrets cannot.
TAKEN_OVER = (
    "Deployment",
    "ScaledObject",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "Service",
    "ServiceMonitor",
)


def can_be_taken_over(fleet: Fleet, live: ObservedObject) -> bool:
    """Whether an object of somebody else is to become ours."""
    by_another = live.owner.startswith(("ScaledObject ", "Deployment "))
    return fleet.take_over and live.kind in TAKEN_OVER and not has_fleet(live) and not by_another


def has_fleet(live: ObservedObject) -> bool:
    """Whether a fleet of this collection made it, be it this one or another."""
    return bool(live.labels.get(FLEET_LABEL))


@dataclass(frozen=True)
class Adoption:
    """What was noted on a Deployment when it was adopted.

    :param words: the command line of its owner.
    :param written: the one that we wrote over it. Another one that is there now is its owner's again.
    :param words_in: the field that holds it, C(args) or C(command).
    :param grace: grace period of its owner in seconds.
    """

    service: str = ""
    variant: str = ""
    container: str = ""
    words_in: str = ""
    words: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    grace: int = DEFAULT_GRACE
    written_grace: int = DEFAULT_GRACE

    @property
    def title(self) -> str:
        """The variant as messages name it."""
        return variant_title(self.service, self.variant)


@dataclass(frozen=True)
class CommandLine:
    """The words that start a worker, and where in its container they stand."""

    words_in: str = ""
    words: tuple[str, ...] = field(default=())

    @property
    def queues(self) -> tuple[str, ...]:
        """Queues that they name; empty where the app's own settings decide."""
        named = (written_options(self.words).get("queues") or "").split(",")
        return tuple(dict.fromkeys(name.strip() for name in named if name.strip()))


def recorded(live: ObservedObject) -> Adoption | None:
    """What an earlier run noted on a Deployment; None if none did."""
    try:
        data = json.loads(live.annotations.get(ADOPTION_ANNOTATION, ""))
    except ValueError:
        return None
    if not isinstance(data, Mapping):
        return None
    lists = [data.get(name, []) for name in ("words", "written")]
    numbers = [data.get(name, DEFAULT_GRACE) for name in ("grace", "written_grace")]
    if not all(isinstance(item, list) for item in lists) or not all(isinstance(item, int) for item in numbers):
        # Somebody has edited it, so nothing in it can be relied on.
        return None
    grace = int(data.get("grace", DEFAULT_GRACE))
    return Adoption(
        service=str(data.get("service", "")),
        variant=str(data.get("variant", "")),
        container=str(data.get("container", "")),
        words_in=str(data.get("in", "args")),
        words=tuple(map(str, data.get("words", ()))),
        written=tuple(map(str, data.get("written", ()))),
        grace=grace,
        written_grace=int(data.get("written_grace", grace)),
    )


def command_line(live: ObservedObject) -> CommandLine:
    """The command line of a Deployment's owner, also where ours stands over it. Empty if it starts no worker."""
    now = _worker_words(live)
    before = recorded(live)
    if before is not None and now.words == before.written:
        return CommandLine(before.words_in, before.words)
    return now


def _worker_words(live: ObservedObject) -> CommandLine:
    found = [(name, tuple(words)) for name, words in live.words.items() if "worker" in words]
    return CommandLine(*found[0]) if found else CommandLine()


def narrowed(words: Iterable[str], queues: Iterable[str]) -> tuple[str, ...]:
    """A worker's command line with other queues. The rest stays as it is, in its order."""
    line = list(words)
    start = line.index("worker") + 1
    end = line.index("--") if "--" in line[start:] else len(line)
    options, place = _without_queues(line[start:end])
    options.insert(place, f"--queues={','.join(queues)}")
    return (*line[:start], *options, *line[end:])


def _without_queues(words: list[str]) -> tuple[list[str], int]:
    """Options without every mention of queues (Celery takes the last one), and where the first one stood."""
    kept: list[str] = []
    place = None
    for items, source in split_arguments(words):
        others = [item for item in items if not (isinstance(item, Argument) and item.name == "queues")]
        if len(others) == len(items):
            kept += source
            continue
        place = len(kept) if place is None else place
        kept += [word for item in others for word in (item.words if isinstance(item, Argument) else (item,))]
    return kept, len(kept) if place is None else place


def adoption_of(variant: Variant, live: ObservedObject) -> Adoption:
    """What is to be noted on a Deployment."""
    before, line = recorded(live), command_line(live)
    now = live.grace if live.grace is not None else DEFAULT_GRACE
    ours = before is not None and now == before.written_grace
    owners = before.grace if before is not None and ours else now
    wanted = variant.pod.termination_grace_period
    return Adoption(
        service=variant.service,
        variant=variant.name,
        container=live.container,
        words_in=line.words_in,
        words=line.words,
        written=narrowed(line.words, variant.queues),
        grace=owners,
        # What its owner gives is not shortened, unless somebody writes so.
        written_grace=wanted if "termination_grace_period" in variant.written_keys else max(wanted, owners),
    )


def adoptions(fleet: Fleet, observed: Observed) -> list[dict[str, Any]]:
    """Strategic merge patches that narrow what is adopted, for Deployments that are not as they should be."""
    found = []
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment) if variant.adopted else None
        if live is not None and command_line(live).words and not is_settled(fleet, variant, live):
            found.append(_patch(fleet, live, adoption_of(variant, live), replicas_of(variant, live)))
    return found


def unseen_adoptions(fleet: Fleet, observed: Observed) -> list[str]:
    """Variants that adopt a Deployment which nobody has looked at, as is the case for manifest files."""
    return [
        f"{variant.title} adopts Deployment {variant.deployment}, which could not be read, so no patch is made for "
        "it. Name a rendered Tutor project as celery_workers_tutor_root."
        for variant in fleet.variants
        if variant.adopted and observed.find("Deployment", variant.deployment) is None
    ]


def is_settled(fleet: Fleet, variant: Variant, live: ObservedObject) -> bool:
    """Whether an adopted Deployment is as it should be."""
    wanted = adoption_of(variant, live)
    number = replicas_of(variant, live)
    settled = live.is_adopted(fleet.name) and recorded(live) == wanted and not replaces_pods(variant, live)
    return settled and number in (None, live.replicas)


def replicas_of(variant: Variant, live: ObservedObject) -> int | None:
    """The number of pods to set; None to leave it to whoever decides on it."""
    if variant.has_scaler:
        # An HPA is switched off at zero pods and would leave it there.
        asleep = live.replicas == 0 and not variant.uses_keda
        return max(1, variant.scaling.min_replicas) if asleep else None
    if variant.scaling.replicas is not None:
        return variant.scaling.replicas
    # A scaler that is gone may have left it at zero, and nobody else would wake it.
    return 1 if live.replicas == 0 else None


def replaces_pods(variant: Variant, live: ObservedObject) -> bool:
    """Whether adopting a Deployment as it is now would replace its pods."""
    wanted = adoption_of(variant, live)
    return _worker_words(live).words != wanted.written or live.grace != wanted.written_grace


@dataclass(frozen=True)
class Cut:
    """Pods that adopting their Deployment replaces, under a grace period that is too short for what they may run."""

    title: str
    deployment: str
    grace: int

    def refusal(self, running: tuple[str, ...] | None, reason: str) -> str:
        """Why the run stops, and the ways on.

        :param running: names of the tasks that run; None if that could not be found out.
        :param reason: why it could not.
        """
        what = f"run {len(running)} tasks ({_some(running)})" if running else f"may run tasks (unknown: {reason})"
        return (
            f"{self.title}: adopting Deployment {self.deployment} replaces its pods, which {what} and are killed "
            f"{self.grace} s after the stop signal, even while tasks run. Run again when they are idle; or with "
            "celery_workers_key_change: drain, which lets them finish first, for celery_workers_wait_timeout seconds "
            "at most; or with celery_workers_key_change: accept."
        )


def _some(names: tuple[str, ...]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:3]) if len(shown) <= 3 else f"{', '.join(shown[:3])} and others"


def cut_by_adoption(fleet: Fleet, observed: Observed) -> list[Cut]:
    """Adopted Deployments whose pods this run replaces although they have less time to stop than it gives them."""
    found = []
    for variant, live in _replaced(fleet, observed):
        grace = live.grace if live.grace is not None else DEFAULT_GRACE
        if grace < adoption_of(variant, live).written_grace:
            found.append(Cut(variant.title, live.name, grace))
    return found


def replaced_by_adoption(fleet: Fleet, observed: Observed) -> set[str]:
    """Adopted Deployments whose pods this run replaces."""
    return {live.name for _variant, live in _replaced(fleet, observed)}


def _replaced(fleet: Fleet, observed: Observed) -> Iterator[tuple[Variant, ObservedObject]]:
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment) if variant.adopted else None
        if live is not None and live.replicas and command_line(live).words and replaces_pods(variant, live):
            yield variant, live


def _patch(fleet: Fleet, live: ObservedObject, wanted: Adoption, replicas: int | None) -> dict[str, Any]:
    note = {
        "service": wanted.service,
        "variant": wanted.variant,
        "container": wanted.container,
        "in": wanted.words_in,
        "words": wanted.words,
        "written": wanted.written,
        "grace": wanted.grace,
        "written_grace": wanted.written_grace,
    }
    marks = {
        "labels": {ADOPTED_LABEL: fleet.name},
        "annotations": {ADOPTION_ANNOTATION: json.dumps(note, sort_keys=True, separators=(",", ":"))},
    }
    container = {"name": wanted.container, wanted.words_in: list(wanted.written)}
    pod = {"terminationGracePeriodSeconds": wanted.written_grace, "containers": [container]}
    number = {} if replicas is None else {"replicas": replicas}
    return _deployment(live.name, fleet.namespace, marks, {**number, "template": {"spec": pod}})


def releases(fleet: Fleet, observed: Observed) -> list[dict[str, Any]]:
    """Strategic merge patches that give back what is adopted and should not be any more.

    What its owner has changed since is his and stays.
    """
    wanted = {variant.deployment for variant in fleet.variants if variant.adopted}
    return [_release(fleet, live) for live in observed.adopted(fleet.name) if live.name not in wanted]


def _release(fleet: Fleet, live: ObservedObject) -> dict[str, Any]:
    before = recorded(live)
    marks = {"labels": {ADOPTED_LABEL: None}, "annotations": {ADOPTION_ANNOTATION: None}}
    spec: dict[str, Any] = {}
    pod: dict[str, Any] = {}
    if before is not None and live.grace == before.written_grace != before.grace:
        pod["terminationGracePeriodSeconds"] = before.grace
    if before is not None and tuple(live.words.get(before.words_in, ())) == before.written != before.words:
        pod["containers"] = [{"name": before.container, before.words_in: list(before.words)}]
    if pod:
        spec["template"] = {"spec": pod}
    if live.replicas == 0:
        # Its owner writes no number, so nobody would wake it.
        spec["replicas"] = 1
    return _deployment(live.name, fleet.namespace, marks, spec)


def _deployment(name: str, namespace: str, marks: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, **marks}
    return {"apiVersion": API_VERSIONS["Deployment"], "kind": "Deployment", "metadata": metadata, "spec": spec}
