# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers and scalers of a rendered Tutor project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .._celery.command import (
    Argument,
    app_of,
    read_arguments,
    written_options,
)
from .._model.observed import (
    Autoscaler,
    autoscaler,
)
from .._model.sources import (
    app_container,
)
from .kustomize_patches import Manifest, pod_spec
from .tutor import SERVICES, TutorProject, TutorSecrets


@dataclass(frozen=True)
class TutorScaler:
    """A ScaledObject of a worker; None is KEDA's default.

    :param others: types of its triggers that are not the one of the worker's queue.
    """

    name: str
    fewest: int | None = None
    most: int | None = None
    list_length: int | None = None
    polling_interval: int | None = None
    cooldown_period: int | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class TutorWorker:
    """A Deployment that runs a Celery worker of LMS or CMS.

    :param variant: C(default) for Tutor's own.
    :param options: words of its command line that the collection would not write by itself.
    :param unread: names of arguments that are no options of Celery's worker, or that hold a secret.
    """

    service: str
    variant: str
    deployment: str
    image: str = ""
    queues: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    scaler: TutorScaler | None = None
    rivals: tuple[Autoscaler, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether Tutor makes it itself."""
        return self.deployment == f"{self.service}-worker"


#: What every worker has on its command line, here and there.
_USUAL = ("loglevel", "hostname", "queues", "app", "without-gossip", "without-mingle")
_USUAL_VALUES = {"max-tasks-per-child": "100", "prefetch-multiplier": "1"}


def workers_of(project: TutorProject) -> tuple[TutorWorker, ...]:
    """All workers of LMS and CMS, in the order in which they are rendered."""
    found = (_worker(project, raw) for raw in project.rendered.of_kind("Deployment"))
    return tuple(worker for worker in found if worker is not None)


def other_workers(project: TutorProject) -> tuple[str, ...]:
    """Deployments that run Celery workers of other apps."""
    own = {worker.deployment for worker in workers_of(project)}
    names = [raw["metadata"]["name"] for raw in project.rendered.of_kind("Deployment") if "worker" in _words(raw)]
    return tuple(name for name in names if name not in own)


def _words(raw: Manifest) -> list[str]:
    container = app_container(pod_spec(raw), raw["metadata"]["name"])
    return [str(word) for name in ("command", "args") for word in container.get(name) or []]


def _worker(project: TutorProject, raw: Manifest) -> TutorWorker | None:
    name, words = str(raw["metadata"]["name"]), _words(raw)
    service = app_of(words).partition(".")[0]
    if "worker" not in words or service not in SERVICES:
        return None
    queues = tuple(filter(None, (written_options(words).get("queues") or "").split(",")))
    container, secrets = app_container(pod_spec(raw), name), TutorSecrets.of(project)
    options, strange = read_arguments(words[words.index("worker") + 1 :])
    options = [item for item in options if not _is_usual(item)]
    unread = [item.name for item in options if secrets.shown_by(item.value)]
    strange = [word for word in strange if not secrets.shown_by(word.partition("=")[0])]
    return TutorWorker(
        service=service,
        variant=_variant(service, name, queues),
        deployment=name,
        image=str(container.get("image") or ""),
        queues=queues,
        options=tuple(word for item in options for word in item.words if item.name not in unread),
        unread=tuple(f"--{name}" for name in unread) + tuple(word.partition("=")[0] for word in strange),
        scaler=next((_scaler(item, queues) for item in _targeting(project, "ScaledObject", name)), None),
        rivals=tuple(
            found
            for item in _targeting(project, "HorizontalPodAutoscaler", name)
            if (found := autoscaler("HorizontalPodAutoscaler", item)) is not None
        ),
    )


def _variant(service: str, deployment: str, queues: tuple[str, ...]) -> str:
    """The end of its queue's name, which tells high_mem from high-mem; else that of its own name."""
    if deployment == f"{service}-worker":
        return "default"
    prefix, ending = f"edx.{service}.core.", deployment.removeprefix(f"{service}-worker-")
    named = [queue.removeprefix(prefix) for queue in queues if queue.startswith(prefix)]
    return next((name for name in named if name.replace("_", "-") == ending), ending)


def _is_usual(option: Argument) -> bool:
    return option.name in _USUAL or _USUAL_VALUES.get(option.name, "") == option.value


def _targeting(project: TutorProject, kind: str, deployment: str) -> Iterator[Manifest]:
    for raw in project.rendered.of_kind(kind):
        found = autoscaler(kind, raw)
        if found is not None and found.target == deployment:
            yield raw


def _scaler(raw: Manifest, queues: tuple[str, ...]) -> TutorScaler:
    spec = raw.get("spec") or {}
    triggers = [item for item in spec.get("triggers") or [] if isinstance(item, dict)]
    own = [item for item in triggers if (item.get("metadata") or {}).get("listName") in queues]
    length = str((own[0].get("metadata") or {}).get("listLength")) if own else ""
    return TutorScaler(
        name=str(raw["metadata"]["name"]),
        fewest=spec.get("minReplicaCount"),
        most=spec.get("maxReplicaCount"),
        list_length=int(length) if length.isdecimal() else None,
        polling_interval=spec.get("pollingInterval"),
        cooldown_period=spec.get("cooldownPeriod"),
        others=tuple(str(item.get("type")) for item in triggers if item not in own[:1]),
    )
