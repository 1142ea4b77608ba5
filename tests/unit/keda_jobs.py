# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA with one ScaledJob: the Jobs that it starts, and what keeps them down."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster import readiness
from ansible_collections.queueops.celery.plugins.plugin_utils import _waiting

from tests.support._jobs import job_of, pod_of_job
from tests.support._workloads import Unavailable
from tests.unit.model_cluster import Object
from tests.unit.told_pods import ToldSite

NAME = "shop-worker-reports"
_PAUSED = "autoscaling.keda.sh/paused"


@dataclass
class Keda:
    """What KEDA does with the ScaledJob of the variant: it starts one Job of each version while work waits.

    :param active: what it has found at its last reading; None before its first one.
    :param why: why the pods of Jobs do not come up, by the image.
    :param starts: whether fewer Jobs run than messages are there.
    :param full: what has no room for another pod: a quota or the nodes.
    """

    site: ToldSite
    active: bool | None = True
    why: dict[str, Unavailable] = field(default_factory=dict)
    starts: bool = True
    full: str = ""

    def follow(self) -> None:
        objects = self.site.cluster.objects
        scaled_job = objects.get(("ScaledJob", NAME))
        if scaled_job is None:
            return
        active = {"type": "Active", "status": str(self.active) if self.active is not None else "Unknown"}
        ready = {"type": "Ready", "status": "True"}
        is_paused = scaled_job["metadata"]["annotations"].get(_PAUSED) == "true"
        scaled_job["status"] = {"conditions": [ready, active, {"type": "Paused", "status": str(is_paused)}]}
        if self.active and self.starts and not is_paused:
            number = scaled_job["metadata"]["generation"]
            metadata = {**scaled_job["metadata"], "uid": "1", "namespace": "shop"}
            job = job_of({**scaled_job, "metadata": metadata}, number)
            why = self.why.get(job["spec"]["template"]["spec"]["containers"][0]["image"])
            objects.setdefault(("Job", job["metadata"]["name"]), {**job, "kind": "Job"})
            pod = pod_of_job(job, why)
            if self.full == "quota":
                return
            if self.full:
                pod["status"] = {"phase": "Pending", "conditions": [{**NOT_SCHEDULED, "message": self.full}]}
            for one in failures_of(pod) if why is CRASHES else [pod]:
                objects.setdefault(("Pod", one["metadata"]["name"]), one)


NOT_PULLED = Unavailable("ImagePullBackOff", "not found", pods=True, deadline_exceeded=False)
NO_SECRET = Unavailable("CreateContainerConfigError", 'secret "login" not found', pods=True, deadline_exceeded=False)
NOT_SCHEDULED: Object = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
CRASHES = Unavailable("Error", "", pods=True, deadline_exceeded=False)


def failures_of(pod: Object) -> list[Object]:
    """The pods of a Job whose worker ends at its start: each is a new one."""
    end = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no module shop"}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "worker", "restartCount": 0, "state": end}]}
    made = [copy.deepcopy(pod) for _number in range(3)]
    for number, one in enumerate(made):
        one["metadata"] |= {"name": f"{pod['metadata']['name']}{number}", "creationTimestamp": f"12:0{number}"}
        one["status"] = status
    return made


def keda_of(site: ToldSite, patch: pytest.MonkeyPatch) -> Keda:
    """KEDA, and runs that give up at once what does not come up by itself."""
    patch.setattr(readiness, "GRACE", 0)
    patch.setattr(_waiting, "_PAUSES", (0.01,))
    made = Keda(site)
    site.watch = made.follow
    return made
