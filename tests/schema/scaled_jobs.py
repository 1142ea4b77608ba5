# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server would take a ScaledJob. Its CRD is not at hand, so its own keys are written down here, as KEDA 2.20
documents them; what a Job is, the schema of Kubernetes says."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

Manifest = dict[str, Any]

_WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
_TRIGGER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "metadata"],
    "properties": {
        "type": {"type": "string"},
        "name": {"type": "string"},
        "metadata": _WORDS,
        "authenticationRef": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "kind": {"type": "string"}},
        },
        # KEDA refuses metricType, and ignores useCachedMetrics.
    },
}
_WHOLE = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_POSITIVE = {**_WHOLE, "minimum": 1}
_SPEC = {
    "type": "object",
    "additionalProperties": False,
    "required": ["jobTargetRef", "triggers"],
    "properties": {
        "jobTargetRef": {"type": "object"},
        "pollingInterval": _POSITIVE,
        "successfulJobsHistoryLimit": _WHOLE,
        "failedJobsHistoryLimit": _WHOLE,
        "envSourceContainerName": {"type": "string"},
        "minReplicaCount": _WHOLE,
        "maxReplicaCount": _POSITIVE,
        "rollout": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "strategy": {"enum": ["gradual", "immediate"]},
                "propagationPolicy": {"enum": ["foreground", "background"]},
            },
        },
        "scalingStrategy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                # 2.20.0 and 2.20.1 do not know "default", which is what it is when left out.
                "strategy": {"enum": ["custom", "accurate", "eager"]},
                "customScalingQueueLengthDeduction": {"type": "integer"},
                "customScalingRunningJobPercentage": {"type": "string"},
                "pendingPodConditions": {"type": "array", "items": {"type": "string"}},
                "multipleScalersCalculation": {"enum": ["min", "avg", "sum", "max"]},
            },
        },
        "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER},
    },
}
_VALIDATOR = Draft202012Validator(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": "ScaledJob"},
            "metadata": {"type": "object"},
            "spec": _SPEC,
        },
    }
)


def schema_faults(manifest: Manifest, release: str) -> list[str]:
    """What the schemas of KEDA and Kubernetes say."""
    errors = _VALIDATOR.iter_errors(manifest)
    found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]
    if found:
        return found
    try:
        kubernetes_validate.validate(copy.deepcopy(job_of(manifest)), release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"jobTargetRef/{'/'.join(map(str, error.path))}: {error.message[:300]}"]
    return []


def job_of(manifest: Manifest) -> Manifest:
    """The Job that KEDA makes."""
    name = manifest["metadata"]["name"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-abcde"},
        "spec": manifest["spec"]["jobTargetRef"],
    }


def rule_faults(manifest: Manifest) -> list[str]:
    """What a server, KEDA and the nature of Jobs ask for, beside the schemas."""
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    pod = spec["jobTargetRef"]["template"]["spec"]
    found = [] if pod.get("restartPolicy") in ("Never", "OnFailure") else ["no restartPolicy of a Job"]
    found += [] if len(f"{name}-abcde-abcde") <= 63 else ["the names of its pods would be cut"]
    found += [] if len(pod["containers"]) == 1 else ["a second container keeps a Job from ending"]
    names = [trigger.get("name") for trigger in spec["triggers"]]
    found += [] if len(set(names)) == len(names) else [f"a trigger name stands twice: {names}"]
    if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", 100):
        found.append("minReplicaCount is above maxReplicaCount")
    return found
