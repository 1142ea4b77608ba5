# SPDX-License-Identifier: GPL-3.0-or-later
"""The ReplicaSet and the Pods that a Deployment brings. Pure functions of the Deployment."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ._defaults import apply_defaults
from ._kinds import DEPLOYMENT, POD, REPLICA_SET
from ._status import Json
from ._store import clone, now, seeded

REVISION = "deployment.kubernetes.io/revision"
_NODE, _NODE_ADDRESS = "emulator", "10.0.0.1"
_POD_NUMBERS = itertools.count(2)


@dataclass(frozen=True)
class Ends:
    """How often each container has ended, its exit code, and the end of its log."""

    count: int
    code: int = 1
    log: str = ""


@dataclass(frozen=True)
class Unavailable:
    """Why a Deployment gets no ready pods."""

    reason: str
    message: str
    pods: bool
    deadline_exceeded: bool
    ends: Ends | None = None


def replica_set_name(deployment: Json, template: str) -> str:
    return f"{deployment['metadata']['name']}-{template}"


def replica_set(deployment: Json, template: str, why: Unavailable | None) -> Json:
    """The ReplicaSet of the present template; those of earlier ones are not kept."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    replicas = spec["replicas"]
    pod_template = clone(spec["template"])
    pod_template["metadata"]["labels"] = labels = _labels(deployment, template)
    selector = clone(spec["selector"])
    selector["matchLabels"] = {**selector.get("matchLabels", {}), "pod-template-hash": template}
    ready = {"fullyLabeledReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
    status = {"replicas": replicas, "observedGeneration": 1} | (ready if replicas and why is None else {})
    return {
        "metadata": {
            "name": replica_set_name(deployment, template),
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "annotations": {REVISION: metadata["annotations"][REVISION]},
            "ownerReferences": [_owner(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": pod_template},
        "status": status,
    }


def pod_names(owner: Json, count: int) -> list[str]:
    """Numbered instead of random, so that a test can name them."""
    return [f"{owner['metadata']['name']}-{number:05d}" for number in range(count)]


def pod(owner: Json, name: str, why: Unavailable | None) -> Json:
    """A pod of a ReplicaSet that runs, or that waits for a reason."""
    metadata = owner["metadata"]
    return pod_of(owner["spec"]["template"], name, metadata["name"], metadata["namespace"], _owner(owner), why)


def pod_of(template: Json, name: str, generator: str, namespace: str, owner: Json, why: Unavailable | None) -> Json:
    """A pod that a controller makes of a template.

    :param generator: the name that the pod's begins with.
    """
    metadata = {
        **clone(template["metadata"]),
        "name": name,
        "generateName": f"{generator}-",
        "namespace": namespace,
        "ownerReferences": [owner],
    }
    obj = seeded(POD, {"metadata": metadata, "spec": {**clone(template["spec"]), "nodeName": _NODE}})
    apply_defaults(obj, None)
    obj["status"] = _running(obj) if why is None else _waiting(obj, why)
    return obj


def is_ready(obj: Json) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def victims_last(pods: list[Json]) -> list[Json]:
    """Pods of a ReplicaSet in the order in which they are kept: the last ones are taken away first.

    A server ranks pods without a node, pending and not ready ones before the cost; of those with the same cost it takes
    one by criteria that the emulator has not, so here the highest number goes.
    """
    return sorted(pods, key=lambda one: (not is_ready(one), -deletion_cost(one), one["metadata"]["name"]))


def deletion_cost(obj: Json) -> int:
    """What a pod says that it costs to take it away."""
    return int(obj["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", "0"))


def _labels(deployment: Json, template: str) -> dict[str, str]:
    return {**deployment["spec"]["template"]["metadata"].get("labels", {}), "pod-template-hash": template}


def _owner(obj: Json) -> Json:
    kind = DEPLOYMENT if obj["kind"] == DEPLOYMENT.name else REPLICA_SET
    owner = {"apiVersion": kind.api_version, "kind": kind.name, "name": obj["metadata"]["name"]}
    return owner | {"uid": obj["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}


def _running(obj: Json) -> Json:
    time, number = now(), next(_POD_NUMBERS)
    address = f"10.244.{number // 256 % 256}.{number % 256}"
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [{"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": time} for kind in kinds]
    running = {"running": {"startedAt": time}}
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": time, "finishedAt": time}}
    status: Json = {"phase": "Running", "conditions": conditions}
    status |= {"hostIP": _NODE_ADDRESS, "podIP": address, "podIPs": [{"ip": address}], "startTime": time}
    if init := obj["spec"].get("initContainers"):
        # One with a restart policy goes on beside the others.
        states = [(one, running if one.get("restartPolicy") == "Always" else done) for one in init]
        status["initContainerStatuses"] = [_container(one, state, ready=True) for one, state in states]
    status["containerStatuses"] = [_container(one, running, ready=True) for one in obj["spec"]["containers"]]
    return status


def _waiting(obj: Json, why: Unavailable) -> Json:
    waiting = {"waiting": {"reason": why.reason, "message": why.message}}
    unready = {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": now()}
    conditions = [{"type": "Ready", **unready}, {"type": "ContainersReady", **unready}]
    statuses = [_container(one, waiting, ready=False) for one in obj["spec"]["containers"]]
    if why.ends is not None:
        end = {"exitCode": why.ends.code, "reason": "Error", "startedAt": now(), "finishedAt": now()}
        for container, status in zip(obj["spec"]["containers"], statuses, strict=True):
            # The end of the log is kept only where the container asks for it.
            shows = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
            status["restartCount"] = why.ends.count - 1
            status["lastState"] = {"terminated": {**end, **({"message": why.ends.log} if shows else {})}}
    return {"phase": "Pending", "conditions": conditions, "containerStatuses": statuses}


def _container(container: Json, state: Json, *, ready: bool) -> Json:
    status = {"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": 0}
    return status | {"started": "running" in state, "lastState": {}, "state": clone(state)}
