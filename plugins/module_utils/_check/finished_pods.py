# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of workers and beat as wholes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .._build.containers import PodContext
from .._build.pods import beat_overrides, beat_pod, worker_pod
from .._model.fleet import Service, Variant
from .._model.names import (
    WORKER_CONTAINER,
    beat_name,
)
from .._model.observed import NOTHING
from .._model.variant_keys import Pod
from .._schema.keys import key_names
from .._schema.problems import Problems
from .pods import check_finished_pod


def check_overrides(variant: Variant, path: str, problems: Problems) -> None:
    """What pod_overrides cannot change."""
    for name in sorted({"terminationGracePeriodSeconds"} & set(variant.pod.pod_overrides)):
        problems.add(
            f"{path}.{name}", "write termination_grace_period instead, which the other times are checked with."
        )
    for container in variant.pod.pod_overrides.get("containers", []):
        for name in sorted({"args", "command"} & set(container)) if container.get("name") == WORKER_CONTAINER else ():
            problems.add(
                path,
                f"{name} of the worker's container would replace what the scaler, the probe and the key of its "
                "messages "
                "count on; write extra_params, settings and the keys of the process instead.",
            )


def check_finished(variant: Variant, service: Service, unread: frozenset[str], problems: Problems) -> None:
    """The pod as a whole, unless one of its keys is wrong already.

    :param unread: its keys that were refused.
    """
    path_of = variant.path_of
    if not variant.pod.image or unread & key_names(Pod) or _has_problem(path_of, problems):
        return
    context = PodContext(_with_sound_broker(service), variant.deployment, {}, {}, NOTHING)
    spec = worker_pod(variant, context)["spec"]
    check_finished_pod(spec, WORKER_CONTAINER, variant.pod.pod_overrides, path_of, problems)


def check_finished_beat(service: Service, unread: frozenset[str], problems: Problems) -> None:
    """The same for the scheduler, which has the pod keys of its service and resources of its own."""
    path_of = service.path_of
    if service.beat is None or not service.pod.image or unread & key_names(Pod) or _has_problem(path_of, problems):
        return
    context = PodContext(_with_sound_broker(service), beat_name(service.name), {}, {}, NOTHING)
    spec = beat_pod(service.beat, context)["spec"]

    def written(key: str) -> str:
        return f"{service.path}.beat.resources" if key == "resources" else path_of(key)

    check_finished_pod(spec, "beat", beat_overrides(service.pod.pod_overrides), written, problems)


def _with_sound_broker(service: Service) -> Service:
    """A service without a broker that was refused: what its pods would take from that broker says nothing new."""
    broker = service.broker
    return service if broker is None or broker.is_sound else replace(service, broker=None)


def _has_problem(path_of: Callable[[str], str], problems: Problems) -> bool:
    """Whether one of a pod's keys is wrong already."""
    return bool(problems.found) and any(problems.has(path_of(name)) for name in key_names(Pod))
