# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what was applied is up, and if not, the reason in words that lead to the fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import (
    GRACE,
    Looks,
    Waiting,
    deployment_waits,
    mounted,
    probe_failure,
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
RUNTIME = "failed to create containerd task: OCI runtime create failed: unable to start container process:"
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
        pod("RunContainerError", f'{RUNTIME} exec: "python": executable file not found in $PATH: unknown'),
        [
            "RunContainerError: the image has no program python. Keys such as idle_first",
            "command_prefix",
            "python3, -m",
        ],
    ),
    (
        pod("RunContainerError", f'{RUNTIME} exec: "/venv/bin/celery": stat /venv/bin/celery: no such file'),
        ["the image has no program /venv/bin/celery. Name the image's own in command_prefix, such as"],
    ),
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
def test_the_reason_of_a_pod_is_told_with_the_fix(found: dict[str, Any], words: list[str]) -> None:
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
    assert "exceeded quota. Raise the ResourceQuota" in waiting.reason


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


# What does not heal by itself

NEW, OLD = "5d9c7b9d8", "7f6b5c4d3"


def rolling(**status: Any) -> dict[str, Any]:
    """A Deployment whose controller works on the ReplicaSet w-NEW, while pods of w-OLD are still there."""
    progress = {"type": "Progressing", "status": "True", "message": f'ReplicaSet "w-{NEW}" is progressing.'}
    conditions = [progress, *status.pop("conditions", [])]
    return deployment(replicas=3, updatedReplicas=1, availableReplicas=2, conditions=conditions, **status)


def crashed(template: str = NEW, count: int = 3, code: int = 1, message: str = "", **more: Any) -> dict[str, Any]:
    """A pod whose worker has ended a number of times and waits for its next start."""
    end = {"exitCode": code, "reason": "Error", "message": message}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
    status = {"name": "worker", "state": state, "lastState": {"terminated": end}, "restartCount": count - 1, **more}
    labels = {"pod-template-hash": template}
    return {"metadata": {"name": f"w-{template}-1", "labels": labels}, "status": {"containerStatuses": [status]}}


def waits(found: dict[str, Any], *pods: dict[str, Any]) -> Waiting:
    waiting = deployment_waits(found, pods)
    assert waiting is not None
    return waiting


def ends_after(looks: Sequence[tuple[float, Waiting]]) -> float | None:
    """The time of the look at which waiting longer is pointless; none if there is hope left."""
    memory = Looks()
    return next((now for now, item in looks if memory.pointless([item], now)), None)


def test_a_worker_that_ends_three_times_with_the_same_code_does_not_come_up() -> None:
    assert ends_after([(0, waits(rolling(), crashed(count=1))), (9, waits(rolling(), crashed(count=2)))]) is None
    found = [(now, waits(rolling(), crashed(count=count))) for now, count in ((0, 1), (9, 2), (30, 3))]
    assert ends_after(found) == found[2][0]
    # One that has crashed for long is not waited for again.
    assert ends_after([(0, waits(rolling(), crashed(count=7)))]) == 0


def test_a_worker_that_ends_differently_or_runs_again_has_hope() -> None:
    first, second = waits(rolling(), crashed(count=2, code=137)), waits(rolling(), crashed(count=3, code=1))
    assert ends_after([(0, first), (9, second)]) is None
    runs = crashed(count=9, state={"running": {}})
    assert ends_after([(0, waits(rolling(), runs))]) is None


def test_old_pods_may_crash_as_they_like() -> None:
    both = waits(rolling(), crashed(OLD, count=40), {**crashed(NEW, count=1)})
    assert ends_after([(0, both)]) is None
    assert f"Pod w-{NEW}-1" in both.reason
    assert OLD not in waits(rolling(), crashed(OLD, count=40)).reason
    # Before the controller has seen the new template, every pod is an old one.
    unseen = deployment(replicas=1, generation=4, updatedReplicas=1, availableReplicas=0)
    assert ends_after([(0, waits(unseen, crashed(OLD, count=40)))]) is None
    leaving = crashed(count=9)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert ends_after([(0, waits(rolling(), leaving))]) is None


LOG = """Traceback (most recent call last):
  File "/app/settings.py", line 3, in <module>
    connect("redis://:hunter2@redis:6379/0")
KeyError: 'SITE'
"""


def test_the_reason_has_the_last_lines_of_the_log_without_what_is_secret_in_them() -> None:
    reason = waits(rolling(), crashed(count=3, code=2, message=LOG)).reason
    assert f"Pod w-{NEW}-1, container worker: it has ended 3 times, the last time with exit code 2." in reason
    assert reason.splitlines()[-1] == "    KeyError: 'SITE'"
    assert "hunter2" not in reason
    killed = crashed(count=1, code=137, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    assert "it has ended once, the last time with exit code 137 (OOMKilled)." in waits(rolling(), killed).reason


def labelled(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "metadata": {"name": "w-1", "labels": {"pod-template-hash": NEW}}}


def refused(message: str) -> dict[str, Any]:
    return rolling(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])


FAULTS: list[tuple[dict[str, Any], tuple[dict[str, Any], ...]]] = [
    (rolling(), (labelled(pod("ErrImagePull", "manifest unknown")),)),
    (rolling(), (labelled(pod("InvalidImageName")),)),
    (rolling(), (labelled(pod("CreateContainerConfigError", 'secret "x" not found')),)),
    (rolling(), (labelled(pod("CreateContainerConfigError", 'configmap "x" not found')),)),
    (rolling(), (labelled(pod("CreateContainerError", "exec: not found")),)),
    (refused(f'pods "w-{NEW}-a" is forbidden: exceeded quota: small'), ()),
    (refused(f'pods "w-{NEW}-a" is forbidden: violates PodSecurity "restricted:latest"'), ()),
]


@pytest.mark.parametrize(("found", "pods"), FAULTS, ids=[str(number) for number in range(len(FAULTS))])
def test_a_fault_that_lasts_ends_the_wait_and_one_that_goes_away_does_not(
    found: dict[str, Any], pods: tuple[dict[str, Any], ...]
) -> None:
    fault, fine = waits(found, *pods), waits(rolling())
    assert ends_after([(0, fault), (GRACE - 1, fault), (GRACE, fault)]) == GRACE
    assert ends_after([(0, fault), (GRACE - 1, fine), (GRACE, fault)]) is None


def test_the_two_words_for_an_image_that_cannot_be_pulled_are_one_fault() -> None:
    looks = [
        (now, waits(rolling(), labelled(pod(word)))) for now, word in ((0, "ErrImagePull"), (30, "ImagePullBackOff"))
    ]
    assert ends_after(looks) == GRACE


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_what_only_takes_time_is_waited_for(reason: str) -> None:
    unscheduled = labelled(pod(conditions=UNSCHEDULABLE))
    for found in (waits(rolling(), labelled(pod(reason))), waits(rolling(), unscheduled)):
        assert ends_after([(0, found), (1000, found)]) is None


def test_a_refusal_of_old_pods_is_not_told() -> None:
    old = waits(refused(f'pods "w-{OLD}-a" is forbidden: exceeded quota: small'))
    assert "quota" not in old.reason
    assert ends_after([(0, old), (GRACE, old)]) is None


def test_what_a_pod_mounts_is_missed_where_its_containers_are_being_created() -> None:
    volumes = [
        {"name": "a", "secret": {"secretName": "key"}},
        {"name": "b", "configMap": {"name": "settings"}},
        {"name": "c", "secret": {"secretName": "maybe", "optional": True}},
        {"name": "d", "projected": {"sources": [{"secret": {"name": "inner"}}]}},
        {"name": "e", "emptyDir": {}},
    ]
    found = labelled(pod("ContainerCreating"))
    assert mounted({**found, "spec": {"volumes": volumes}}) == {
        ("Secret", "key"),
        ("ConfigMap", "settings"),
        ("Secret", "inner"),
    }
    assert mounted({**labelled(pod("ErrImagePull")), "spec": {"volumes": volumes}}) == set()
    waiting = deployment_waits(rolling(), [found], [("Secret", "key")])
    assert waiting is not None
    assert "mount Secret key, which the namespace does not have" in waiting.reason
    assert ends_after([(0, waiting), (GRACE, waiting)]) == GRACE


def test_progress_is_said_in_a_few_words() -> None:
    assert waits(deployment(2, availableReplicas=1)).progress == "w 1 of 2 up"
    found = scaled_object_waits({"metadata": {"name": "s"}})
    assert found is not None
    assert found.progress == "ScaledObject s not ready"


@pytest.mark.parametrize(("started", "probe"), [(False, "startup"), (True, "readiness")])
def test_a_pod_that_runs_tells_which_probe_does_not_pass_and_is_no_fault(started: bool, probe: str) -> None:
    running = {"name": "worker", "state": {"running": {}}, "ready": False, "started": started}
    waiting = deployment_waits(deployment(availableReplicas=0), [pod(containerStatuses=[running])])
    assert waiting is not None
    assert f"Pod w-1, container worker: it runs, but its {probe} probe does not pass." in waiting.reason
    assert (waiting.probed, waiting.fault) == ("w-1", "")


def test_of_a_failing_probe_the_last_words_of_the_kubelet_count() -> None:
    events = [
        {"reason": "Unhealthy", "message": "Startup probe failed: old", "lastTimestamp": "2026-01-01T00:00:00Z"},
        {
            "reason": "Unhealthy",
            "message": "Startup probe failed: Error: amqp://celery:hunter2@rabbit does not answer\n\n",
            "lastTimestamp": "2026-01-01T00:00:10Z",
        },
        {"reason": "Pulled", "message": "Container image is present", "lastTimestamp": "2026-01-01T00:00:20Z"},
    ]
    told = probe_failure(events)
    assert told.startswith("The last failure:\n    Startup probe failed: Error: amqp://")
    assert "hunter2" not in told
    assert probe_failure([]) == ""
