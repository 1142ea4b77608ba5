# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that somebody else made: a worker as Tutor runs it, and what a run reads of such objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions, releases
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    Autoscaler,
    Observed,
    ObservedObject,
    observed_object,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.sources import source_of

from tests.unit.inventories import Manifest

#: Arguments of Tutor 22's lms-worker.
TUTOR_ARGS = (
    "celery",
    "--app=lms.celery",
    "worker",
    "--loglevel=info",
    "--hostname=edx.lms.core.default.%%h",
    "--queues=edx.lms.core.default,edx.lms.core.high,edx.lms.core.high_mem",
    "--max-tasks-per-child=100",
)
IMAGE = "docker.io/overhangio/openedx:22.0.0"


def deployment(name: str = "lms-worker", words: Any = TUTOR_ARGS, words_in: str = "args", **more: Any) -> Manifest:
    """A Deployment as an API server returns it.

    :param more: C(grace), C(replicas), C(labels), C(annotations), and fields of its pod (C(pod)) and container.
    """
    selector = {"app.kubernetes.io/name": name}
    pod = {"terminationGracePeriodSeconds": more.pop("grace", 900), **more.pop("pod", {})}
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": {**selector, "app.kubernetes.io/managed-by": "tutor", **more.pop("labels", {})},
        "annotations": dict(more.pop("annotations", {})),
    }
    replicas = more.pop("replicas", 1)
    container = {"name": name, "image": IMAGE, words_in: list(words), **more}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": dict(selector)}, "spec": {**pod, "containers": [container]}},
        },
    }


def live(raw: Manifest) -> ObservedObject:
    """What a run keeps of a Deployment."""
    return observed_object("Deployment", raw)


def seen(*raws: Manifest, autoscalers: tuple[Autoscaler, ...] = (), **more: Any) -> Observed:
    """A namespace with these Deployments, each of which workers may be made like."""
    return Observed(
        tuple(live(raw) for raw in raws), autoscalers, sources=tuple(source_of(raw) for raw in raws), **more
    )


def merged(raw: Any, patch: Any) -> Any:
    """A strategic merge as an API server does it: lists of objects by their name, null removes."""
    if isinstance(raw, Mapping) and isinstance(patch, Mapping):
        found = {key: merged(raw.get(key), value) for key, value in patch.items() if value is not None}
        return {key: value for key, value in {**raw, **found}.items() if patch.get(key, "") is not None}
    if isinstance(raw, list) and isinstance(patch, list) and all(isinstance(item, Mapping) for item in patch):
        named = {item["name"]: item for item in patch}
        kept = [merged(item, named.pop(item["name"], {})) for item in raw]
        return [*kept, *named.values()]
    if isinstance(patch, Mapping):
        return merged({}, patch)
    return patch


def adopted(fleet: Fleet, *raws: Manifest) -> list[Manifest]:
    """Deployments after a run of a fleet that adopts them: what is to be adopted and what is to be given back."""
    observed = seen(*raws)
    patches = {item["metadata"]["name"]: item for item in (*releases(fleet, observed), *adoptions(fleet, observed))}
    return [merged(raw, patches.get(raw["metadata"]["name"], {})) for raw in raws]


def words_of(raw: Manifest) -> list[str]:
    """The command line of a Deployment's first container."""
    container = raw["spec"]["template"]["spec"]["containers"][0]
    found: list[str] = container.get("args") or container["command"]
    return found
