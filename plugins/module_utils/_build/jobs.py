# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers as Jobs: one ScaledJob of a variant. Pure functions of Fleet and Observed.

KEDA starts as many Jobs as the outstanding work asks for, less those that have not ended (2.20, default strategy). It
ends none: each ends by itself, so that nothing is cut.
"""

from __future__ import annotations

from typing import Any

from .._celery.launcher import features_of, files_hash
from .._model.fleet import Fleet, Service, Variant
from .._model.job_keys import DONE_JOBS, FAILED_JOBS, RESTARTS
from .._model.names import FORMULA_ANNOTATION, ownership_labels, people_labels, unacked_annotation
from .._model.observed import Observed
from .containers import PodContext
from .demand import job_triggers
from .pods import worker_pod
from .resources import resource
from .routing import route_files


def scaled_job(fleet: Fleet, service: Service, variant: Variant, observed: Observed, reference: str) -> dict[str, Any]:
    """ScaledJob of a variant.

    :param reference: name of the TriggerAuthentication; empty for none.
    """
    labels = ownership_labels(fleet.name, service.name, variant.name)
    spec: dict[str, Any] = {
        "jobTargetRef": _job(fleet, service, variant, observed),
        "pollingInterval": variant.scaling.polling_interval,
        "maxReplicaCount": variant.scaling.max_replicas,
        "successfulJobsHistoryLimit": DONE_JOBS,
        "failedJobsHistoryLimit": FAILED_JOBS,
        # Anything else deletes running Jobs when the ScaledJob changes.
        "rollout": {"strategy": "gradual"},
        # The strategy is left out for the default: KEDA 2.20.0 and 2.20.1 refuse its name.
        "scalingStrategy": {"multipleScalersCalculation": "sum"},
        "triggers": list(job_triggers(variant, service, fleet.namespace, reference)),
    }
    pause = {"autoscaling.keda.sh/paused": "true"} if variant.scaling.paused else {}
    annotations = {
        FORMULA_ANNOTATION: _in_words(variant),
        **pause,
        **variant.pod.annotations,
        **unacked_annotation(variant.unacked),
    }
    live = observed.find("ScaledJob", variant.deployment)
    return resource(
        "ScaledJob", fleet, variant.deployment, labels, "worker", live, spec, variant.pod.labels, annotations
    )


def _job(fleet: Fleet, service: Service, variant: Variant, observed: Observed) -> dict[str, Any]:
    """What each Job is. One that fails is started again by Kubernetes, later each time, and KEDA counts it as running:
    it would start another at each reading, without end.
    """
    labels = ownership_labels(fleet.name, service.name, variant.name)
    people = people_labels(fleet.name, variant.deployment, "worker")
    routes = route_files(fleet, service)
    files = files_hash(features_of(variant, service.broker))
    context = PodContext(service, variant.deployment, people, labels, observed, files, routes)
    template = worker_pod(variant, context)
    template["spec"]["restartPolicy"] = "Never"
    return {"parallelism": 1, "completions": 1, "backoffLimit": RESTARTS, "template": template}


def _in_words(variant: Variant) -> str:
    """What KEDA does, as a sentence for people who look at the ScaledJob."""
    length, activation = variant.scaling.list_length, variant.scaling.activation_list_length
    each = "each message" if length == 1 else f"every {length} messages"
    if activation:
        return f"One Job for {each} that workers hold, or that waits where more than {activation} wait."
    return f"One Job for {each} that waits or that workers hold."
