# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that never started, and whose pods are not those that are wanted by now.

KEDA counts them as Jobs that work (2.20), and with `gradual` it never deletes one. So after a bad image was fixed they
would keep others from starting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .._model.names import FLEET_LABEL
from .._model.observed import API_VERSIONS
from .reading import Cluster

Object = dict[str, Any]
#: Whether all of a second object is in a first one.
Covers = Callable[[Any, Any], bool]

JOB_VERSION = "batch/v1"
#: KEDA's label and annotation of a Job: the ScaledJob that it belongs to, and which version of that.
SCALED_JOB_LABEL, GENERATION = "scaledjob.keda.sh/name", "scaledjob.keda.sh/generation"


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
    return [job for job in jobs if not _has_ended(job) and _is_stuck(job, started, wanted, covers)]


def _is_stuck(job: Object, started: Collection[str], wanted: Mapping[str, Object], covers: Covers) -> bool:
    metadata = job["metadata"]
    scaled_job = wanted.get(str((metadata.get("labels") or {}).get(SCALED_JOB_LABEL)))
    if scaled_job is None or metadata["name"] in started or metadata.get("deletionTimestamp"):
        return False
    generation = (metadata.get("annotations") or {}).get(GENERATION)
    same = bool(generation == str(scaled_job["metadata"].get("generation")))
    # What else of a ScaledJob changes, its most Jobs say, is no reason to start one anew.
    return not same and not covers(job["spec"]["template"], scaled_job["spec"]["jobTargetRef"]["template"])


def _has_ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(item.get("type") in ("Complete", "Failed") and item.get("status") == "True" for item in conditions)


def _has_started(pod: Object) -> bool:
    """Whether any container of a pod has run, or may have."""
    phase: str = (pod.get("status") or {}).get("phase", "Pending")
    return phase != "Pending"


def _definition(job: Object) -> Object:
    metadata = {name: job["metadata"][name] for name in ("name", "namespace")}
    return {"apiVersion": JOB_VERSION, "kind": "Job", "metadata": metadata}
