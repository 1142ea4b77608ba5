# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Deployment and its pods tell: how many are up, what keeps others down, what ended, and who set the number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._cluster.asking import runs
from .._cluster.drains import restarts_of
from .._cluster.readiness import LAST_LINES, condition, pod_troubles, trouble_of
from .._cluster.reading import has_ended
from .._model.drains import drained_from
from .._model.fleet import Variant
from .._model.observed import template_of
from .._model.sources import app_container
from .._schema.moments import earliest, kept, latest
from .data import Drain, Pods
from .texts import cleaned

Object = dict[str, Any]

_REPLICAS = ("f:spec", "f:replicas")
#: Who writes to an API, as servers keep it, in words.
_MANAGERS = {
    "kube-controller-manager": "the HPA",
    "keda": "KEDA",
    "keda-operator": "KEDA",
    "kubectl-client-side-apply": "kubectl apply",
    "kubectl-scale": "kubectl scale",
    "kubectl-edit": "kubectl edit",
    # The name that the Kubernetes library for Python has, which kubernetes.core uses.
    "OpenAPI-Generator": "Ansible",
}


def writer_of(obj: Object, path: Sequence[str]) -> tuple[str | None, str | None]:
    """Who wrote a field last and when, as far as the server keeps it.

    :param path: names as C(managedFields) has them: C(f:spec), C(f:replicas).
    """
    found = [entry for entry in obj["metadata"].get("managedFields") or [] if _holds(entry.get("fieldsV1"), path)]
    if not found:
        return None, None
    last = max(found, key=lambda entry: str(entry.get("time") or ""))
    manager = str(last.get("manager") or "")
    return _MANAGERS.get(manager, manager) or None, last.get("time")


def _holds(fields: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(fields, dict) or name not in fields:
            return False
        fields = fields[name]
    return True


def pods_of_variant(variant: Variant, deployment: Object, pods: Iterable[Object], scaled_at: object) -> Pods:
    """What runs of a variant.

    :param scaled_at: when its HPA has set the number of pods last.
    """
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted, ready = int(spec.get("replicas", 1)), int(status.get("readyReplicas") or 0)
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    ends = [end for pod in alive for end in _ends(pod)]
    manager, time = writer_of(deployment, _REPLICAS)
    trouble = trouble_of(deployment, alive) if ready < wanted else None
    return Pods(
        ready=ready,
        wanted=wanted,
        min=least_pods(variant),
        max=variant.most_pods,
        since=latest([time, scaled_at]),
        set_by=manager,
        restarts=sum(int(one.get("restartCount") or 0) for pod in alive for one in _statuses(pod)),
        oom_kills=sum(end.get("reason") == "OOMKilled" for end in ends),
        last_end=latest(end.get("finishedAt") for end in ends),
        oldest=earliest((pod.get("status") or {}).get("startTime") for pod in alive),
        unready_since=earliest(pod["metadata"].get("creationTimestamp") for pod in alive if not _is_ready(pod)),
        fault=_first_line(trouble.text) if trouble else "",
        fault_kind=trouble.kind if trouble else "",
    )


def pods_of_jobs(variant: Variant, pods: Iterable[Object]) -> Pods:
    """What runs of a variant as Jobs. One that has ended well is gone; of those that failed KEDA keeps some."""
    listed = list(pods)
    alive = [pod for pod in listed if not pod["metadata"].get("deletionTimestamp") and not has_ended(pod)]
    failed = [pod for pod in listed if _phase(pod) == "Failed"]
    ends = [end for pod in failed for end in _ends(pod)]
    trouble = next(pod_troubles(pod for pod in alive if not _is_ready(pod)), None)
    return Pods(
        ready=sum(map(_is_ready, alive)),
        wanted=len(alive),
        min=least_pods(variant),
        max=variant.most_pods,
        oom_kills=sum(end.get("reason") == "OOMKilled" for end in ends),
        failed_jobs=len({_owner(pod) for pod in failed}),
        last_end=latest(end.get("finishedAt") for end in ends),
        oldest=earliest((pod.get("status") or {}).get("startTime") for pod in alive),
        unready_since=earliest(pod["metadata"].get("creationTimestamp") for pod in alive if not _is_ready(pod)),
        fault=_first_line(trouble.text) if trouble else "",
        fault_kind=trouble.kind if trouble else "",
    )


def _owner(pod: Object) -> str:
    """The Job of a pod, which has one more pod for each failure."""
    return next((str(owner["name"]) for owner in pod["metadata"].get("ownerReferences") or []), "")


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def drain_of(deployment: Object | None, pods: Iterable[Object]) -> Drain:
    """Whether a variant is drained, and which of its pods take work all the same."""
    drained = drained_from((deployment or {"metadata": {}})["metadata"].get("annotations") or {})
    if drained is None:
        return Drain()
    alive = [pod for pod in pods if runs(pod) and not pod["metadata"].get("deletionTimestamp")]
    names = {str(pod["metadata"]["name"]): restarts_of(pod) for pod in alive}
    # A deploy that waits until it may replace them keeps no list.
    told = names if drained.by_deploy else drained.told
    taking = tuple(sorted(name for name, count in names.items() if told.get(name) != count))
    return Drain(
        how=drained.words,
        since=kept(drained.since) if drained.since else None,
        by=drained.by,
        reason=drained.reason,
        by_deploy=drained.by_deploy,
        taking=taking,
    )


def least_pods(variant: Variant) -> int:
    """The fewest pods that its scaler keeps."""
    if variant.is_counted:
        return variant.scaling.min_replicas
    return max(1, variant.scaling.min_replicas) if variant.has_scaler else variant.most_pods


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _ends(pod: Object) -> Iterator[Object]:
    """How the containers of a pod have ended last. One that has done its work is no such end."""
    for status in _statuses(pod):
        for state in (status.get("state"), status.get("lastState")):
            end = (state or {}).get("terminated")
            if end and end.get("reason") != "Completed":
                yield end


def _is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def _first_line(text: str) -> str:
    """A reason without the end of a log, which kubectl logs shows whole."""
    first = text.splitlines()[0] if text else ""
    return cleaned(first.removesuffix(LAST_LINES))


def image_of(deployment: Object) -> tuple[str | None, str | None]:
    """The image of the workers, and since when they run it."""
    spec = deployment.get("spec") or {}
    pod = template_of("ScaledJob" if "jobTargetRef" in spec else "Deployment", spec).get("spec") or {}
    image = app_container(pod, str(deployment["metadata"]["name"])).get("image")
    progress = condition(deployment, "Progressing")
    rolled_out = progress.get("lastUpdateTime") if progress.get("reason") == "NewReplicaSetAvailable" else None
    return (str(image) if image else None), rolled_out
