# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what was applied is up, and if not, the reason in words that lead to the mend."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import (
    deployment_waits,
    scaled_object_waits,
)


def deployment(replicas: int = 2, generation: int = 3, **status: Any) -> dict[str, Any]:
    up = {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    return {
        "metadata": {"name": "w", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {**up, **status},
    }


def pod(reason: str = "", message: str = "", **status: Any) -> dict[str, Any]:
    waiting = {"name": "worker", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"metadata": {"name": "w-1"}, "status": {"containerStatuses": [waiting] if reason else [], **status}}


@pytest.mark.parametrize(
    "found",
    [deployment(), deployment(0), {"metadata": {"name": "w"}, "spec": {"replicas": 0}}, deployment(1)],
)
def test_a_deployment_is_up_when_all_its_pods_are_also_when_that_is_none(found: dict[str, Any]) -> None:
    assert deployment_waits(found, []) is None


@pytest.mark.parametrize(
    "found",
    [
        deployment(generation=4),
        deployment(availableReplicas=1),
        deployment(updatedReplicas=1),
        deployment(replicas=2, updatedReplicas=2) | {"status": {**deployment()["status"], "replicas": 3}},
        {"metadata": {"name": "w"}, "spec": {}},
    ],
)
def test_a_deployment_is_not_up_while_old_or_missing_pods_are_there(found: dict[str, Any]) -> None:
    waiting = deployment_waits(found, [])
    assert waiting is not None
    assert (waiting.name, waiting.final) == ("Deployment w", False)


ROOT = "container has runAsNonRoot and image will run as root (pod: w-1)"
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient memory."}]
REASONS: list[tuple[dict[str, Any], list[str]]] = [
    (
        pod("CreateContainerConfigError", ROOT),
        ["runAsNonRoot", "Set security_context: {runAsUser: <number>}", "pod_security: baseline"],
    ),
    (pod("ImagePullBackOff", "Back-off"), ["ImagePullBackOff: Back-off. Check image and image_pull_secrets."]),
    (pod("ErrImagePull"), ["ErrImagePull. Check image and image_pull_secrets."]),
    (pod("CrashLoopBackOff"), ["read its log with kubectl logs, container worker."]),
    (
        pod(containerStatuses=[{"name": "flower", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
        ["It ends after its start; read its log with kubectl logs, container flower."],
    ),
    (pod("CreateContainerConfigError", 'secret "x" not found'), ['CreateContainerConfigError: secret "x" not found']),
    (pod(conditions=UNSCHEDULABLE), ["Pod w-1 cannot be scheduled: 0/3 nodes: Insufficient memory. Check resources"]),
    (
        pod(initContainerStatuses=[{"name": "init", "state": {"waiting": {"reason": "ErrImagePull"}}}]),
        ["container init: ErrImagePull"],
    ),
]


def test_a_flower_that_runs_as_root_is_not_told_of_a_key_that_only_workers_have() -> None:
    waiting = {"name": "flower", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": ROOT}}}
    found = deployment_waits(deployment(availableReplicas=0), [pod(containerStatuses=[waiting])])
    assert found is not None
    assert "Set security_context: {runAsUser: <number>} to a user of the image." in found.reason
    assert "pod_security" not in found.reason


@pytest.mark.parametrize(("found", "words"), REASONS, ids=[str(number) for number in range(len(REASONS))])
def test_the_reason_of_a_pod_is_told_with_the_mend(found: dict[str, Any], words: list[str]) -> None:
    waiting = deployment_waits(deployment(availableReplicas=0), [found])
    assert waiting is not None
    assert waiting.reason.startswith("0 of 2 pods are available, 2 run the new version. Pod w-1")
    assert [word for word in words if word not in waiting.reason] == []


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_a_pod_that_is_on_its_way_is_no_reason(reason: str) -> None:
    waiting = deployment_waits(deployment(availableReplicas=0), [pod(reason)])
    assert waiting is not None
    assert waiting.reason == "0 of 2 pods are available, 2 run the new version."


def test_waiting_longer_is_pointless_when_the_deadline_is_over() -> None:
    condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out progressing."}
    waiting = deployment_waits(deployment(availableReplicas=0, conditions=[condition]), [])
    assert waiting is not None
    assert waiting.final
    assert waiting.reason.endswith("timed out progressing.")
    old = deployment_waits(deployment(availableReplicas=0, generation=4, conditions=[condition]), [])
    assert old is not None
    assert not old.final


def test_a_quota_that_keeps_pods_out_is_told() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    waiting = deployment_waits(deployment(availableReplicas=0, conditions=[condition]), [])
    assert waiting is not None
    assert waiting.reason.endswith("exceeded quota")


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([{"type": "Ready", "status": "True"}], None),
        ([{"type": "Ready", "status": "Unknown"}, {"type": "Paused", "status": "True"}], None),
        (
            [{"type": "Ready", "status": "False", "message": "no host."}],
            "KEDA says: no host. Check that KEDA can reach the broker",
        ),
        ([{"type": "Ready", "status": "False", "reason": "X"}], "KEDA says: X"),
        ([{"type": "Ready", "status": "Unknown"}], "KEDA has not looked at it yet"),
        (None, "KEDA has not looked at it yet"),
    ],
)
def test_a_scaled_object_is_up_when_keda_scales_by_it_or_is_paused(conditions: Any, reason: str | None) -> None:
    waiting = scaled_object_waits({"metadata": {"name": "s"}, "status": {"conditions": conditions}})
    assert (waiting is None) is (reason is None)
    assert reason is None or (waiting is not None and waiting.reason.startswith(reason))
