# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA makes of a ScaledJob, and the Jobs that it starts, as its source has it (2.20)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._defaults import apply_defaults
from ._kinds import JOB, SCALED_JOB
from ._status import Json
from ._store import clone, now, seeded
from ._workloads import Unavailable, pod_of

NAME_LABEL = "scaledjob.keda.sh/name"
_GENERATION = "scaledjob.keda.sh/generation"
#: Where a trigger has what one Job is to get, and the value up to which it is not active.
_TARGETS = {
    "redis": ("listLength", "activationListLength"),
    "redis-sentinel": ("listLength", "activationListLength"),
    "rabbitmq": ("value", "activationValue"),
}
_DEFAULT_MOST = 100


def jobs_to_start(spec: Mapping[str, Any], values: Mapping[str, float], running: int) -> int:
    """The Jobs of one poll.

    :param values: name of a trigger to what it reads; one that fails is left out, as KEDA does.
    :param running: Jobs that have not ended, whether they ever started or not.
    """
    assert spec["scalingStrategy"] == {"multipleScalersCalculation": "sum"}
    most = int(spec.get("maxReplicaCount", _DEFAULT_MOST))
    least: int = min(spec.get("minReplicaCount", 0), most)
    length = wanted = 0.0
    for trigger in spec["triggers"]:
        target, _activation = _TARGETS[trigger["type"]]
        value = values.get(trigger["name"], 0)
        if _is_active(trigger, value):
            length += value
            wanted += min(value / float(trigger["metadata"][target]), most - least)
    if running < least:
        return least - running
    free = math.ceil(min(wanted, most - least)) - (running - least)
    return max(0, min(free, math.ceil(length)))


def is_active(spec: Mapping[str, Any], values: Mapping[str, float]) -> bool:
    """Whether any trigger is active."""
    return any(_is_active(trigger, values.get(trigger["name"], 0)) for trigger in spec["triggers"])


def _is_active(trigger: Mapping[str, Any], value: float) -> bool:
    return value > float(trigger["metadata"].get(_TARGETS[trigger["type"]][1], "0"))


def job_of(scaled_job: Json, number: int) -> Json:
    """One Job. Labels and annotations of the ScaledJob are copied to it, and never to its pod."""
    metadata, name = scaled_job["metadata"], scaled_job["metadata"]["name"]
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/version": "2.20.2",
        "app.kubernetes.io/part-of": name,
        "app.kubernetes.io/managed-by": "keda-operator",
        NAME_LABEL: name,
        **metadata.get("labels", {}),
    }
    owner = {"apiVersion": SCALED_JOB.api_version, "kind": SCALED_JOB.name, "name": name, "uid": metadata["uid"]}
    spec = clone(scaled_job["spec"]["jobTargetRef"])
    spec["template"].setdefault("metadata", {}).setdefault("labels", {})[NAME_LABEL] = name
    made = {
        "metadata": {
            "name": f"{name}-{number:05d}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {_GENERATION: str(metadata["generation"]), **metadata.get("annotations", {})},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }
    obj = seeded(JOB, made)
    apply_defaults(obj, None)
    obj["status"] = {"active": 1, "startTime": now()}
    return obj


def pod_of_job(job: Json, why: Unavailable | None) -> Json:
    """The pod of a Job, which runs, or waits for a reason."""
    name = job["metadata"]["name"]
    template = clone(job["spec"]["template"])
    template["metadata"].setdefault("labels", {}).update(
        {"job-name": name, "batch.kubernetes.io/job-name": name, "controller-uid": job["metadata"]["uid"]}
    )
    owner = {"apiVersion": JOB.api_version, "kind": JOB.name, "name": name, "uid": job["metadata"]["uid"]}
    return pod_of(template, f"{name}-abcde", name, job["metadata"]["namespace"], {**owner, "controller": True}, why)


def finished(job: Json, failed: bool) -> Json:
    """A Job that has ended."""
    kind, counter = ("Failed", "failed") if failed else ("Complete", "succeeded")
    condition = {"type": kind, "status": "True", "lastTransitionTime": now()}
    return {**job, "status": {"startTime": job["status"]["startTime"], counter: 1, "conditions": [condition]}}


def is_finished(job: Json) -> bool:
    """Whether a Job has ended, well or not."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)
