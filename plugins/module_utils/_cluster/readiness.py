# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what was applied has come up, and if not, why. Pure functions of raw objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._model.fleet import Fleet, Probe
from .._model.names import EXPORTER, FLOWER

#: Reasons for which a container waits, and what to do about them.
_ADVICE = {
    "CreateContainerConfigError": "",
    "ErrImagePull": "Check image and image_pull_secrets.",
    "ImagePullBackOff": "Check image and image_pull_secrets.",
    "InvalidImageName": "Check image.",
    "CrashLoopBackOff": "It ends after its start; read its log with kubectl logs, container {container}.",
    "RunContainerError": "The container cannot run its command; check the image.",
    "CreateContainerError": "The container cannot run its command; check the image.",
}


@dataclass(frozen=True)
class Waiting:
    """One object that has not come up.

    :param final: whether waiting longer is pointless.
    """

    name: str
    reason: str
    final: bool = False


def patience(fleet: Fleet, timeout: int) -> int:
    """Seconds to wait: a worker that is given longer than usual to start is no failure before that time is over."""
    starts = [variant.pod.probe.startup_seconds for variant in fleet.variants if variant.pod.probe.type != "none"]
    return max([timeout, *(seconds for seconds in starts if seconds > Probe().startup_seconds)])


def deployment_waits(deployment: dict[str, Any], pods: Iterable[dict[str, Any]]) -> Waiting | None:
    """Why a Deployment is not up; None if it is. One that was scaled to zero is."""
    name = f"Deployment {deployment['metadata']['name']}"
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if seen and updated >= wanted and available >= wanted and status.get("replicas", 0) <= updated:
        return None
    reason = _pod_reason(pods)
    condition = _condition(status, "Progressing")
    stuck = condition.get("reason") == "ProgressDeadlineExceeded" and seen
    if not reason:
        reason = condition.get("message", "") if stuck else _condition(status, "ReplicaFailure").get("message", "")
    counts = f"{available} of {wanted} pods are available, {updated} run the new version"
    return Waiting(name, f"{counts}. {reason}".strip(), stuck)


def scaled_object_waits(scaled_object: dict[str, Any]) -> Waiting | None:
    """Why KEDA does not scale by a ScaledObject; None if it does or is paused on purpose."""
    name = f"ScaledObject {scaled_object['metadata']['name']}"
    status = scaled_object.get("status") or {}
    ready, paused = _condition(status, "Ready"), _condition(status, "Paused")
    if ready.get("status") == "True" or paused.get("status") == "True":
        return None
    if ready.get("status") == "False":
        text = ready.get("message") or ready.get("reason") or "not ready"
        return Waiting(name, f"KEDA says: {text} Check that KEDA can reach the broker with the credentials given.")
    return Waiting(name, "KEDA has not looked at it yet; check that its operator runs.")


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((item for item in status.get("conditions") or [] if item.get("type") == kind), {})


def _pod_reason(pods: Iterable[dict[str, Any]]) -> str:
    """The first thing that keeps a pod of the Deployment down."""
    for pod in pods:
        name = pod["metadata"]["name"]
        status = pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason", "")
            if reason and reason not in ("PodInitializing", "ContainerCreating"):
                explained = _explained(reason, waiting.get("message", ""), container.get("name", ""))
                return f"Pod {name}, container {container.get('name')}: {explained}"
        scheduled = _condition(status, "PodScheduled")
        if scheduled.get("status") == "False":
            reason = scheduled.get("message", "")
            return f"Pod {name} cannot be scheduled: {reason} Check resources, node_selector and tolerations."
    return ""


def _explained(reason: str, message: str, container: str) -> str:
    text = f"{reason}: {message}" if message else reason
    if "runAsNonRoot" in message and "root" in message:
        # Only workers have that key.
        otherwise = "" if container in (FLOWER, EXPORTER) else ", or loosen pod_security: baseline"
        return (
            f"{text}. The image runs as root or names its user by word. Set security_context: {{runAsUser: <number>}} "
            f"to a user of the image{otherwise}."
        )
    advice = _ADVICE.get(reason, "").format(container=container)
    return f"{text}. {advice}".rstrip() if advice else text
