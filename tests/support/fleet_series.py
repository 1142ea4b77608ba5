# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Series of a fleet as its sources give them to Prometheus.

Sources: a recorded answer of KEDA 2.20's operator, the documentation of kube-state-metrics v2, and C(flower.events) of
Flower 2.2. Labels of a target (job, instance and so on) are those that the Prometheus Operator gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.support.promtool import GONE, MISSING, STEP, Series

Values = tuple[str, ...]

_KEDA = {"job": "keda-operator", "instance": "10.1.0.9:8080"}
_STATE = {"job": "kube-state-metrics", "instance": "10.1.0.8:8080"}


def steps(minutes: float) -> int:
    """Samples in so many minutes."""
    return round(minutes * 60 / STEP)


def flat(value: float, minutes: float) -> Values:
    """The same number all the time."""
    return (f"{value:g}",) * steps(minutes)


def rising(start: int, by_minute: float, minutes: float) -> Values:
    """A counter of whole numbers, or a queue that grows, or one that shrinks."""
    return tuple(str(start + int(by_minute * number * STEP / 60)) for number in range(steps(minutes)))


def nothing(minutes: float) -> Values:
    """No sample, as before a series begins."""
    return (MISSING,) * steps(minutes)


def gone(minutes: float) -> Values:
    """The target does not show the series any more."""
    return (GONE, *nothing(minutes))[: steps(minutes)]


@dataclass(frozen=True)
class Keda:
    """Series of KEDA's operator about one ScaledObject.

    :param honors_labels: whether Prometheus takes the namespace that KEDA writes; else it is C(exported_namespace).
    :param home: namespace of KEDA itself.
    """

    deployment: str = "billing-worker"
    namespace: str = "shop"
    honors_labels: bool = True
    home: str = "keda"

    @property
    def _place(self) -> dict[str, str]:
        own = {"namespace": self.namespace}
        if not self.honors_labels:
            own = {"namespace": self.home, "exported_namespace": self.namespace, "pod": "keda-operator-6f8d-abcde"}
        return {**_KEDA, **own, "scaledObject": f"{self.deployment}-scaledobject"}

    def trigger(self, name: str, values: Values) -> Series:
        """What a trigger reads."""
        number = name.rpartition("_")[2] if name[-1].isdigit() else "0"
        more = {"scaler": name, "metric": f"s{number}-redis-{name}", "triggerIndex": number, "type": "scaledobject"}
        return Series("keda_scaler_metrics_value", {**self._place, **more}, values)

    def triggers(self, **values: Values) -> list[Series]:
        """What several triggers read, by their names."""
        return [self.trigger(name, item) for name, item in values.items()]

    def errors(self, values: Values) -> Series:
        """Errors that KEDA counted."""
        return Series("keda_scaled_object_errors_total", self._place, values)

    def job_trigger(self, name: str, values: Values) -> Series:
        """What a trigger of a ScaledJob reads, which has the Deployment's name."""
        found = self.trigger(name, values)
        return replace(found, labels={**found.labels, "scaledObject": self.deployment, "type": "scaledjob"})

    def job_errors(self, values: Values) -> Series:
        """Errors that KEDA counted of a ScaledJob."""
        labels = {name: value for name, value in self._place.items() if name != "scaledObject"}
        return Series("keda_scaled_job_errors_total", {**labels, "scaledJob": self.deployment}, values)

    def paused(self, values: Values) -> Series:
        """Whether scaling is paused."""
        return Series("keda_scaled_object_paused", self._place, values)


@dataclass(frozen=True)
class State:
    """Series of kube-state-metrics about one Deployment, its pods and its autoscaler."""

    deployment: str = "billing-worker"
    namespace: str = "shop"

    @property
    def _place(self) -> dict[str, str]:
        return {**_STATE, "namespace": self.namespace}

    def replicas(self, wanted: Values, available: Values | None = None) -> list[Series]:
        """Pods that are wanted, and those that are there."""
        labels = {**self._place, "deployment": self.deployment}
        there = wanted if available is None else available
        return [
            Series("kube_deployment_spec_replicas", labels, wanted),
            Series("kube_deployment_status_replicas_available", labels, there),
            Series("kube_deployment_status_replicas_ready", labels, there),
        ]

    def autoscaler(self, name: str, is_active: Values, most: Values = ()) -> list[Series]:
        """An HPA: whether it scales, and its limit."""
        labels = {**self._place, "horizontalpodautoscaler": name}
        condition = {**labels, "condition": "ScalingActive"}
        opposite = tuple({"1": "0", "0": "1"}.get(item, item) for item in is_active)
        metric = "kube_horizontalpodautoscaler_status_condition"
        found = [
            Series(metric, {**condition, "status": "true"}, is_active),
            Series(metric, {**condition, "status": "false"}, opposite),
            Series(metric, {**condition, "status": "unknown"}, tuple({"1": "0"}.get(item, item) for item in is_active)),
        ]
        if most:
            target = {"scaletargetref_api_version": "apps/v1", "scaletargetref_kind": "Deployment"}
            found += [
                Series("kube_horizontalpodautoscaler_spec_max_replicas", labels, most),
                Series(
                    "kube_horizontalpodautoscaler_info",
                    {**labels, **target, "scaletargetref_name": self.deployment},
                    ("1",) * len(most),
                ),
            ]
        return found

    def pod(self, end: str, values: Values) -> Series:
        """A pod while it is there."""
        return Series("kube_pod_info", {**self._pod(end), "node": "node-1", "pod_ip": "10.1.2.3"}, values)

    def restarts(self, end: str, values: Values) -> Series:
        """Restarts of a worker's container."""
        return Series("kube_pod_container_status_restarts_total", self._container(end), values)

    def terminated(self, end: str, reason: str, values: Values) -> Series:
        """Why the container ended the last time. The series goes on for as long as the pod is there."""
        labels = {**self._container(end), "reason": reason}
        return Series("kube_pod_container_status_last_terminated_reason", labels, values)

    def failed_job(self, end: str, values: Values, **reason: str) -> Series:
        """Pods of a Job of its ScaledJob that have failed; 1 or 0 for a reason once the Job itself has."""
        labels = {"job_name": f"{self.deployment}-{end}", **reason}
        return Series("kube_job_status_failed", {**self._place, **labels}, values)

    def active_job(self, end: str, values: Values) -> Series:
        """Pods of a Job of its ScaledJob that have not ended."""
        return Series("kube_job_status_active", {**self._place, "job_name": f"{self.deployment}-{end}"}, values)

    def phase(self, end: str, name: str, values: Values) -> Series:
        """Whether a pod is in a phase."""
        return Series("kube_pod_status_phase", {**self._pod(end), "phase": name}, values)

    def fallback(self, values: Values) -> Series:
        """The condition of its ScaledObject, where kube-state-metrics is told to read it."""
        labels = {"scaledobject": f"{self.deployment}-scaledobject", "type": "Fallback"}
        return Series("kube_scaledobject_status_condition", {**self._place, **labels}, values)

    def _pod(self, end: str) -> dict[str, str]:
        return {**self._place, "pod": f"{self.deployment}-{end}", "uid": f"uid-of-{self.deployment}-{end}"}

    def _container(self, end: str) -> dict[str, str]:
        return {**self._pod(end), "container": "worker"}


@dataclass(frozen=True)
class Flower:
    """Series of a Flower.

    :param pod: of Flower itself; another pod has another address, so its series are others.
    """

    namespace: str = "shop"
    pod: str = "flower-7c9d8b6f5-abcde"
    address: str = "10.1.0.20:5555"

    @property
    def target(self) -> dict[str, str]:
        """Labels that Prometheus adds."""
        return {
            "job": "flower",
            "instance": self.address,
            "namespace": self.namespace,
            "pod": self.pod,
            "service": "flower",
            "endpoint": "http",
            "container": "flower",
        }

    def up(self, values: Values) -> Series:
        """Whether Prometheus could read it."""
        return Series("up", self.target, values)

    def began(self, minute: float, values: Values) -> Series:
        """When its process began.

        :param values: samples, of which only it matters whether they are there.
        """
        seconds = str(round(minute * 60))
        return Series(
            "process_start_time_seconds",
            self.target,
            tuple(item if item in (MISSING, GONE) else seconds for item in values),
        )

    def events(self, worker: str, values: Mapping[str, Values], task: str = "billing.tasks.invoice") -> list[Series]:
        """Counters of one worker and one task, by kind of event without its C(task-)."""
        return [
            Series("flower_events_total", {**self.target, "worker": worker, "type": f"task-{kind}", "task": task}, item)
            for kind, item in values.items()
        ]

    def online(self, worker: str, values: Values) -> Series:
        """Whether it hears a worker."""
        return self._of_worker("flower_worker_online", worker, values)

    def executing(self, worker: str, values: Values) -> Series:
        """Tasks that a worker runs, from its last heartbeat."""
        return self._of_worker("flower_worker_number_of_currently_executing_tasks", worker, values)

    def prefetched(self, worker: str, values: Values, task: str = "billing.tasks.invoice") -> Series:
        """Tasks that a worker took and did not start."""
        return Series("flower_worker_prefetched_tasks", {**self.target, "worker": worker, "task": task}, values)

    def runtime(
        self, worker: str, below: Mapping[str, Values], total: Values, task: str = "billing.tasks.invoice"
    ) -> list[Series]:
        """The histogram of a worker and a task.

        :param below: upper bound to counts; C(+Inf) for all.
        :param total: seconds.
        """
        labels, metric = {**self.target, "worker": worker, "task": task}, "flower_task_runtime_seconds"
        return [
            *(Series(f"{metric}_bucket", {**labels, "le": bound}, item) for bound, item in below.items()),
            Series(f"{metric}_sum", labels, total),
            Series(f"{metric}_count", labels, below["+Inf"]),
        ]

    def _of_worker(self, metric: str, worker: str, values: Values) -> Series:
        return Series(metric, {**self.target, "worker": worker}, values)


def node(end: str, deployment: str = "billing-worker", group: str = "billing.default") -> str:
    """Name of a worker that the collection starts, in the pod with this end."""
    return f"{group}@{deployment}-{end}"


def tutor_node(end: str, deployment: str = "lms-worker", queue: str = "edx.lms.core.default") -> str:
    """Name of a worker that Tutor starts: C(--hostname=edx.lms.core.default.%%h)."""
    return f"celery@{queue}.{deployment}-{end}"
