# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that never started, and whose pods are not those that are wanted by now.

KEDA counts them as Jobs that work (2.20), and with `gradual` it never deletes one. So after a bad image was fixed they
would keep others from starting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .._model.applied import applied_manifest
from .._model.names import FLEET_LABEL
from .._model.observed import API_VERSIONS
from .._schema.quantities import quantity
from .changes import Report
from .lacking import grants
from .reading import Cluster

Object = dict[str, Any]
#: Whether all of a second object is in a first one.
Covers = Callable[[Any, Any], bool]

JOB_VERSION = "batch/v1"
#: KEDA's label and annotation of a Job: the ScaledJob that it belongs to, and which version of that.
SCALED_JOB_LABEL, GENERATION = "scaledjob.keda.sh/name", "scaledjob.keda.sh/generation"
#: Fields of a template with quantities, and those with one. A ScaledJob has them as they were written.
_QUANTITIES, _QUANTITY = ("limits", "requests", "overhead"), ("sizeLimit", "divisor")
#: Fields that Kubernetes leaves out where they say nothing, which a ScaledJob keeps.
_LEFT_OUT = {
    **dict.fromkeys(("readOnly", "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty"), False),
    "initialDelaySeconds": 0,
}


def find_stuck(cluster: Cluster, fleet: str, names: Collection[str], covers: Covers) -> list[Object]:
    """Jobs of some ScaledJobs that never started and are not wanted as they are, each with what it takes to delete it.

    :raises ClusterError: if they cannot be read.
    """
    selector = f"{FLEET_LABEL}={fleet}"
    listed = cluster.list_objects("ScaledJob", API_VERSIONS["ScaledJob"], selector=selector) or []
    wanted = {str(item["metadata"]["name"]): item for item in listed if item["metadata"]["name"] in names}
    if not wanted:
        return []
    jobs = cluster.list_objects("Job", JOB_VERSION, selector=f"{SCALED_JOB_LABEL} in ({','.join(sorted(wanted))})")
    if not jobs:
        return []
    pods = cluster.list_objects("Pod", "v1", selector=selector) or []
    return [_definition(job) for job in stuck(jobs, pods, wanted, covers)]


def stuck(jobs: Iterable[Object], pods: Iterable[Object], wanted: Mapping[str, Object], covers: Covers) -> list[Object]:
    """Those of some Jobs that never started and are not wanted as they are.

    :param wanted: name to ScaledJob, as the API server returned it.
    """
    started = {
        str(owner.get("name"))
        for pod in pods
        for owner in pod["metadata"].get("ownerReferences") or []
        if owner.get("kind") == "Job" and _has_started(pod)
    }
    return [job for job in jobs if not has_ended(job) and _is_stuck(job, started, wanted, covers)]


def _is_stuck(job: Object, started: Collection[str], wanted: Mapping[str, Object], covers: Covers) -> bool:
    metadata = job["metadata"]
    scaled_job = wanted.get(str((metadata.get("labels") or {}).get(SCALED_JOB_LABEL)))
    if scaled_job is None or metadata["name"] in started or metadata.get("deletionTimestamp"):
        return False
    return not is_as_wanted(job, scaled_job, covers)


def is_as_wanted(job: Object, scaled_job: Object, covers: Covers) -> bool:
    """Whether the pods of a Job are those that its ScaledJob asks for by now.

    What else of a ScaledJob changes, its most Jobs say, is no matter of theirs.
    """
    generation = (job["metadata"].get("annotations") or {}).get(GENERATION)
    if generation == str(scaled_job["metadata"].get("generation")):
        return True
    ours, theirs = applied_template(scaled_job), applied_template(job)
    if ours is not None and theirs is not None:
        # What was taken out of a template is in the Job's still, so that a Job has more than is wanted.
        return bool(ours == theirs)
    wanted = scaled_job["spec"]["jobTargetRef"]["template"]
    return covers(_canonical(job["spec"]["template"]), _canonical(wanted))


def applied_template(item: Object) -> Any:
    """Template of a ScaledJob as a run sent it. KEDA copies all annotations to the Jobs that it starts (2.20)."""
    try:
        return applied_manifest(item)["spec"]["jobTargetRef"]["template"]
    except (KeyError, TypeError):
        return None


def _canonical(value: Any, name: str = "") -> Any:
    """A template in which the same is written in one way, as a server does with a Job and not with a ScaledJob."""
    if isinstance(value, dict):
        inner = {key: _canonical(item, key) for key, item in value.items()}
        return {key: _amount(item) for key, item in inner.items()} if name in _QUANTITIES else inner
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if name in _QUANTITY:
        return _amount(value)
    return None if name and (value == "" or (name in _LEFT_OUT and value == _LEFT_OUT[name])) else value


def _amount(value: Any) -> Any:
    found = quantity(value)
    return value if found is None else str(found.normalize())


def has_ended(job: Object) -> bool:
    """Whether a Job has ended, well or not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(item.get("type") in ("Complete", "Failed") and item.get("status") == "True" for item in conditions)


def _has_started(pod: Object) -> bool:
    """Whether any container of a pod has run, or may have."""
    phase: str = (pod.get("status") or {}).get("phase", "Pending")
    return phase != "Pending"


def _definition(job: Object) -> Object:
    metadata = {name: job["metadata"][name] for name in ("name", "namespace")}
    return {"apiVersion": JOB_VERSION, "kind": "Job", "metadata": metadata}


def refused(found: Report, namespace: str) -> tuple[Report, list[str]]:
    """What became of Jobs that were to be deleted, without those that may not be: these stay, and a warning says so."""
    stay = [text for text in found.failed if ": Forbidden" in text]
    if not stay:
        return found, []
    names = " ".join(text.partition(": ")[0].rpartition(" ")[2] for text in stay)
    way = grants(stay[0]) or "grant delete on jobs.batch"
    warning = (
        f"Jobs that never started stay, because they may not be deleted: {names}. KEDA counts them, and starts fewer "
        f"others. Delete them with kubectl delete job {names} --namespace {namespace}; or {way}."
    )
    return replace(found, failed=[text for text in found.failed if text not in stay]), [warning]
