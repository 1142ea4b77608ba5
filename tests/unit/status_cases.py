# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that runs as its inventory says, as an API server returns it, and what is made different for a test."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.kubernetes.core.plugins.module_utils.apply import merge
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.fleet_reading import Readings
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    LAST_APPLIED,
    Observed,
    autoscaler,
    observed_object,
)
from ansible_collections.queueops.celery.plugins.module_utils._plan.described import all_resources
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus, VariantStatus
from ansible_collections.queueops.celery.plugins.module_utils.status import fleet_status

from tests.unit.inventories import TRACKED, Manifest, fleet_of, one_variant

NOW = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
WORKER, SCALED_OBJECT = "billing-worker", "billing-worker-scaledobject"
READY = {"type": "Ready", "status": "True", "reason": "ScaledObjectReady"}
#: Keys of a variant whose formula is short: one list, ten messages a pod.
KEYS: dict[str, Any] = {**TRACKED, "max_replicas": 30, "list_length": 10, "concurrency": 2, "hold": "slots"}

#: What KEDA has read of a variant with nothing to do.
IDLE: dict[str, float] = {"backlog": 0, "inflight": 0, "pods": 3}


def ago(**span: float) -> str:
    """A time before now, as servers write it."""
    return (NOW - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def fleet_with(keys: Mapping[str, Any] | None = None) -> Fleet:
    """One variant on a Redis without priorities."""
    broker = {"host": "redis", "priority_steps": [0]}
    return fleet_of(**one_variant(dict(KEYS if keys is None else keys), broker=broker))


@dataclass
class Site:
    """A namespace in which a fleet runs.

    :param numbers: what KEDA has read, by the name of the trigger; None where it was not asked.
    """

    fleet: Fleet = field(default_factory=fleet_with)
    pods_wanted: int = 3
    numbers: dict[str, float] | None = field(default_factory=lambda: dict(IDLE))
    answers: dict[str, Answer] = field(default_factory=dict)
    events: list[Manifest] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)
    counted: dict[str, Answer] = field(default_factory=dict)
    keda_advice: str = ""
    keda_down: str = ""
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.live: dict[tuple[str, str], Manifest] = {}
        self.pods: dict[str, list[Manifest]] = {}
        for manifest in all_resources(self.fleet, Observed()):
            self._add(manifest)
        if ("ScaledObject", SCALED_OBJECT) in self.live:
            self.scaled_object["status"] = {"conditions": [READY, {"type": "Active", "status": "True"}]}
            self.live["HorizontalPodAutoscaler", f"keda-hpa-{SCALED_OBJECT}"] = {
                "metadata": {"name": f"keda-hpa-{SCALED_OBJECT}"},
                "spec": {"scaleTargetRef": {"name": WORKER}},
                "status": {"conditions": []},
            }
        if ("ScaledJob", WORKER) in self.live:
            self.live["ScaledJob", WORKER]["status"] = {"conditions": [READY, {"type": "Active", "status": "True"}]}
            self.set_jobs(self.pods_wanted)
        else:
            self.set_pods(self.pods_wanted)

    def set_jobs(self, running: int, failed: int = 0) -> None:
        """So many Jobs that run, and others that failed."""
        template = self.live["ScaledJob", WORKER]["spec"]["jobTargetRef"]["template"]
        phases = [*["Running"] * running, *["Failed"] * failed]
        end = {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": ago(minutes=10)}}
        self.pods[WORKER] = [
            {
                "metadata": {
                    **template["metadata"],
                    "name": f"{WORKER}-{number}",
                    "creationTimestamp": ago(hours=5),
                    "ownerReferences": [{"kind": "Job", "name": f"{WORKER}-{number}"}],
                },
                "spec": template["spec"],
                "status": {
                    "phase": phase,
                    "startTime": ago(hours=5),
                    "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
                    "containerStatuses": [{"name": "worker", "state": end if phase == "Failed" else {"running": {}}}],
                },
            }
            for number, phase in enumerate(phases)
        ]

    def _add(self, manifest: Manifest) -> None:
        made = copy.deepcopy(manifest)
        made["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(manifest)
        self.live[made["kind"], made["metadata"]["name"]] = made

    @property
    def deployment(self) -> Manifest:
        return self.live["Deployment", WORKER]

    @property
    def scaled_object(self) -> Manifest:
        return self.live["ScaledObject", SCALED_OBJECT]

    @property
    def hpa(self) -> Manifest:
        found = [item for (kind, _name), item in self.live.items() if kind == "HorizontalPodAutoscaler"]
        return found[0]

    def set_pods(self, wanted: int, ready: int | None = None) -> None:
        """So many pods, the first ones ready."""
        up = wanted if ready is None else ready
        self.deployment["spec"]["replicas"] = wanted
        self.deployment["status"] = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": up}
        template = self.deployment["spec"]["template"]
        self.pods[WORKER] = [
            {
                "metadata": {**template["metadata"], "name": f"{WORKER}-{number}", "creationTimestamp": ago(hours=5)},
                "spec": template["spec"],
                "status": {
                    "startTime": ago(hours=5),
                    "conditions": [{"type": "Ready", "status": "True" if number < up else "False"}],
                    "containerStatuses": [
                        {"name": "worker", "restartCount": 0, "state": {"running": {}}, "lastState": {}}
                    ],
                },
            }
            for number in range(wanted)
        ]

    def container(self, number: int = 0) -> Manifest:
        """The status of a pod's worker."""
        found: Manifest = self.pods[WORKER][number]["status"]["containerStatuses"][0]
        return found

    def conditions(self, *changed: Manifest) -> None:
        """Conditions of the ScaledObject, in place of those of the same type."""
        kept = {one["type"]: one for one in (*self.scaled_object["status"]["conditions"], *changed)}
        self.scaled_object["status"]["conditions"] = list(kept.values())

    def annotate(self, name: str, value: str, manager: str = "", time: str = "") -> None:
        """Set an annotation of the ScaledObject, as a person does."""
        metadata = self.scaled_object["metadata"]
        metadata["annotations"][name] = value
        if manager:
            fields: Manifest = {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}
            metadata["managedFields"] = [{"manager": manager, "time": time, "fieldsV1": fields}]

    def event(self, reason: str, message: str, time: str, kind: str = "ScaledObject") -> None:
        """Something that a controller has said."""
        name = SCALED_OBJECT if kind == "ScaledObject" else self.hpa["metadata"]["name"]
        about = {"kind": kind, "name": name}
        self.events.append({"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": time})

    def readings(self) -> Readings:
        autoscalers = [
            autoscaler(kind, {**raw, "metadata": dict(raw["metadata"])})
            for (kind, _name), raw in self.live.items()
            if kind in ("ScaledObject", "HorizontalPodAutoscaler")
        ]
        return Readings(
            observed=Observed(
                objects=tuple(observed_object(kind, raw) for (kind, _name), raw in self.live.items()),
                autoscalers=tuple(item for item in autoscalers if item is not None),
                now=NOW,
            ),
            live=self.live,
            pods=self.pods,
            events=tuple(self.events),
            numbers={} if self.numbers is None else {WORKER: self.numbers},
            answers=self.answers,
            doubts=self.doubts,
            counted=self.counted,
            keda="keda-operator in keda",
            keda_advice=self.keda_advice,
            keda_down=self.keda_down,
            unread=self.unread,
        )

    def status(self) -> FleetStatus:
        """How it is."""
        return fleet_status(self.fleet, self.readings(), merge, NOW)

    @property
    def variant(self) -> VariantStatus:
        """How its one variant is."""
        return self.status().variants[0]

    @property
    def rules(self) -> list[str]:
        """Ids of all that is wrong."""
        return [problem.rule for problem in self.status().all_problems]


#: Makes one thing wrong with a site.
Fault = Callable[[Site], None]
