# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: alerts of a fleet, one of each kind per variant, with the variant's own thresholds.

An alert is left out where nothing gives it numbers: what waits is known of variants that KEDA scales, and what becomes
of tasks where Flower runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet, Server, Variant
from ansible_collections.queueops.celery.plugins.module_utils._monitoring_keys import Alerts, PrometheusRule
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    MONITORING,
    ownership_labels,
    pod_autoscaler_name,
    rule_name,
    scaled_object_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._promql import (
    DONE,
    ENDED,
    Scope,
    backlog,
    deployment_replicas,
    duration,
    events,
    executing,
    in_flight_of_broker,
    keda,
    keda_increase,
    memory_kills,
    restarts,
)
from ansible_collections.queueops.celery.plugins.module_utils._resources import resource
from ansible_collections.queueops.celery.plugins.module_utils._scalers import transferred

#: Seconds in which tasks are counted.
_WINDOW = 900

#: Characters of rules in one object. The copy of it that is kept in an annotation may have 262144, and the operator
#: gives Prometheus its rules in ConfigMaps of half a megabyte.
_LARGEST = 150_000


@dataclass(frozen=True)
class Alert:
    """One alert of one variant.

    :param lasts: seconds that the expression must hold.
    :param summary: one sentence.
    :param description: what is known, with the number, and what it means.
    """

    name: str
    severity: str
    expr: str
    lasts: float
    summary: str
    description: str


def rule_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """The PrometheusRules of a fleet: one, and further ones where it would be too large."""
    rule = fleet.monitoring.prometheus_rule
    if rule is None or "PrometheusRule" in observed.missing_kinds:
        return []
    labels, found = ownership_labels(fleet.name, component=MONITORING), []
    for number, groups in enumerate(_parts(rule_groups(fleet, observed)), start=1):
        name = rule_name(fleet.name) if number == 1 else f"{rule_name(fleet.name)}-{number}"
        live = observed.find("PrometheusRule", name)
        found.append(resource("PrometheusRule", fleet, name, labels, MONITORING, live, {"groups": groups}, rule.labels))
    return found


def _parts(groups: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Groups in the same order, in as many parts as are needed for none of them to be too large."""
    found: list[list[dict[str, Any]]] = [[]]
    size = 0
    for group in groups:
        own = len(json.dumps(group))
        if found[-1] and size + own > _LARGEST:
            found.append([])
            size = 0
        found[-1].append(group)
        size += own
    return found


def rule_groups(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """One group per variant, as Prometheus and its operator read them."""
    rule = fleet.monitoring.prometheus_rule or PrometheusRule()
    groups = []
    for variant in fleet.variants:
        rules = [
            _rule(fleet, variant, rule, alert, rule.severities.get(alert.name, alert.severity))
            for alert in variant_alerts(fleet, variant, observed)
            if rule.severities.get(alert.name) != "none"
        ]
        if rules:
            interval = {"interval": rule.interval} if rule.interval else {}
            groups.append({"name": f"celery-{fleet.name}-{variant.deployment}", **interval, "rules": rules})
    return groups


def _rule(fleet: Fleet, variant: Variant, rule: PrometheusRule, alert: Alert, severity: str) -> dict[str, Any]:
    place = {
        "fleet": fleet.name,
        "namespace": fleet.namespace,
        "service": variant.service,
        "variant": variant.name,
        "deployment": variant.deployment,
    }
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": duration(alert.lasts),
        "labels": {**rule.alert_labels, "severity": severity, **place},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{rule.runbook_url}#{alert.name.lower()}",
        },
    }


def alert_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row per alert, for people."""
    return [
        {"alert": item["alert"], "severity": item["labels"]["severity"], "for": item["for"]}
        | {name: item["labels"][name] for name in ("service", "variant")}
        for group in (rule_groups(fleet) if fleet.monitoring.prometheus_rule is not None else [])
        for item in group["rules"]
    ]


def variant_alerts(fleet: Fleet, variant: Variant, observed: Observed = NOTHING) -> list[Alert]:
    """All alerts of a variant that something gives numbers for."""
    limits = variant.watch.alerts
    if limits is None:
        return []
    case = _Case(fleet, variant, limits, transferred(fleet, variant, observed))
    found = [*_pod_alerts(case)]
    if variant.uses_keda:
        found += [*_backlog_alerts(case), *_scaler_alerts(case)]
    if variant.has_scaler:
        found.append(_inactive(case))
    if case.flower is not None:
        found += _task_alerts(case)
    return found


@dataclass(frozen=True)
class _Case:
    fleet: Fleet
    variant: Variant
    limits: Alerts
    taken_hpa: str = ""

    @property
    def scope(self) -> Scope:
        return Scope(self.fleet.namespace, self.variant.deployment)

    @property
    def title(self) -> str:
        return f"{self.variant.service}.{self.variant.name}"

    @property
    def place(self) -> str:
        """Where to look, for descriptions."""
        return f"Deployment {self.variant.deployment} in {self.fleet.namespace}"

    @property
    def flower(self) -> Server | None:
        """The Flower that listens to the variant's broker."""
        return next((one for one in self.fleet.monitoring.flowers if self.variant.service in one.services), None)

    @property
    def flower_knows(self) -> str:
        """Holds unless that Flower knows no worker at all, or nobody scrapes it, so that it tells nothing."""
        labels = self.scope.in_namespace
        if self.flower is not None and len(self.fleet.monitoring.flowers) > 1:
            names = "|".join(item.deployment for item in self.fleet.variants if item.service in self.flower.services)
            labels += f", {Scope(self.fleet.namespace, f'(?:{names})').workers}"
        return f"count(flower_worker_online{{{labels}}}) > 0"

    @property
    def held(self) -> str:
        """Messages that workers hold."""
        broker = self.fleet.service_of(self.variant).broker
        if broker is not None and self.variant.uses_keda and self.variant.sees_in_flight:
            return in_flight_of_broker(self.scope, broker.is_redis)
        return executing(self.scope)

    @property
    def queues(self) -> str:
        return ", ".join(self.variant.queues)


def _backlog_alerts(case: _Case) -> Iterator[Alert]:
    variant, limits, scope = case.variant, case.limits, case.scope
    grows = duration(limits.at_maximum_seconds)
    pods = f'kube_deployment_spec_replicas{{{scope.in_namespace}, deployment="{variant.deployment}"}}'
    yield Alert(
        "CeleryBacklogGrowsAtMaximum",
        "warning",
        f"{backlog(scope)} > {backlog(scope, f' offset {grows}')} "
        f"and min(min_over_time({pods}[{grows}])) >= {variant.scaling.max_replicas}",
        60,
        f"The backlog of {case.title} grows although it has all its pods.",
        f"{{{{ $value | humanize }}}} messages wait in {case.queues}, more than {grows} ago, and {case.place} has had "
        f"{variant.scaling.max_replicas} pods, its max_replicas, all that time.",
    )
    work = f"{backlog(scope)} > {variant.scaling.activation_list_length}"
    if variant.sees_in_flight:
        work = f"({work} or {case.held} > 0)"
    yield Alert(
        "CeleryWorkWithoutWorkers",
        "critical",
        f"{work} and {deployment_replicas(scope, 'status_replicas_available')} == 0",
        limits.no_workers_seconds,
        f"There is work for {case.title} and no worker.",
        f"{{{{ $value | humanize }}}} messages of {case.queues} wait or are held, and {case.place} has had no "
        f"available pod for {duration(limits.no_workers_seconds)}.",
    )
    if case.flower is not None:
        yield _drains_too_slowly(case)


def _drains_too_slowly(case: _Case) -> Alert:
    scope, longest = case.scope, _longest(case.variant)
    # With long tasks hardly any ends in ten minutes, and the pace would be a matter of chance.
    window = max(600, round(longest))
    target = case.limits.drain_seconds or round(max(case.variant.knowledge.max_wait_seconds, longest))
    waits = f"({backlog(scope)} > {case.variant.scaling.activation_list_length})"
    # Workers that end nothing at all have no series, and theirs is the slowest pace of all.
    pace = f"(({events(scope, ENDED, window)} or vector(0)) / {window})"
    return Alert(
        "CeleryDrainsTooSlowly",
        "warning",
        f"{waits} / {pace} > {target} and {case.flower_knows}",
        # After a time without work the first tasks must have had the time to end.
        max(_WINDOW, window),
        f"The backlog of {case.title} takes too long.",
        f"At the pace of the last {duration(window)}, what waits in {case.queues} needs "
        f"{{{{ $value | humanizeDuration }}}}; the inventory allows {duration(target)}.",
    )


def _scaler_alerts(case: _Case) -> Iterator[Alert]:
    scope, limits = case.scope, case.limits
    name = scaled_object_name(case.variant.deployment)
    # Wide enough for two readings. After the last error it still holds for that long, which is no part of the outage.
    recent = 60 * math.ceil((case.variant.scaling.polling_interval + 90) / 60)
    yield Alert(
        "CeleryScalerErrors",
        "warning",
        f"sum({keda_increase(scope, 'keda_scaled_object_errors_total', duration(recent))}) > 0",
        limits.scaler_errors_seconds + recent,
        f"KEDA cannot read the queues of {case.title}.",
        f"KEDA counted {{{{ $value | humanize }}}} errors of ScaledObject {name} in {case.fleet.namespace} in "
        f"{duration(recent)}. The number of pods does not follow the work until it can read the broker again.",
    )
    condition = f'kube_scaledobject_status_condition{{{scope.in_namespace}, scaledobject="{name}", type="Fallback"}}'
    yield Alert(
        "CeleryScalerFallback",
        "warning",
        f"max({condition}) == 1",
        limits.scaler_errors_seconds,
        f"KEDA has fallen back to a fixed number of pods for {case.title}.",
        f"ScaledObject {name} in {case.fleet.namespace} has been in fallback for "
        f"{duration(limits.scaler_errors_seconds)}: its numbers do not come from the broker.",
    )
    yield Alert(
        "CeleryScalerPaused",
        "info",
        f"max({keda(scope, 'keda_scaled_object_paused')}) == 1",
        limits.paused_seconds,
        f"Scaling of {case.title} is paused.",
        f"ScaledObject {name} in {case.fleet.namespace} has been paused for {duration(limits.paused_seconds)}. Take "
        "paused out of the inventory, or the annotation off the object.",
    )


def _inactive(case: _Case) -> Alert:
    """An HPA that does nothing, as it should at zero pods and not otherwise."""
    variant, scope = case.variant, case.scope
    keda_name = case.taken_hpa or f"keda-hpa-{scaled_object_name(variant.deployment)}"
    name = keda_name if variant.uses_keda else pod_autoscaler_name(variant.deployment)
    condition = (
        f'kube_horizontalpodautoscaler_status_condition{{{scope.in_namespace}, horizontalpodautoscaler="{name}", '
        'condition="ScalingActive", status="false"}'
    )
    return Alert(
        "CeleryAutoscalerInactive",
        "warning",
        f"max({condition}) == 1 and {deployment_replicas(scope, 'spec_replicas')} > 0",
        600,
        f"The autoscaler of {case.title} does nothing.",
        f"HorizontalPodAutoscaler {name} in {case.fleet.namespace} has not been active for 10 minutes, so {case.place} "
        "keeps the pods that it has. Its conditions say why.",
    )


def _task_alerts(case: _Case) -> Iterator[Alert]:
    variant, limits, scope, window = case.variant, case.limits, case.scope, duration(_WINDOW)
    failed = events(scope, "task-failed", _WINDOW)
    yield Alert(
        "CeleryTasksFail",
        "warning",
        f"{failed} / {events(scope, DONE, _WINDOW)} > {limits.failure_ratio:g} "
        f"and {failed} >= {limits.failure_minimum}",
        60,
        f"Many tasks of {case.title} fail.",
        f"{{{{ $value | humanizePercentage }}}} of the tasks that workers of {case.place} ended in {window} failed; "
        f"the inventory allows {limits.failure_ratio * 100:g}%.",
    )
    # An empty result is no zero.
    succeeded = f"({events(scope, 'task-succeeded', 300)} or vector(0)) == 0"
    yield Alert(
        "CeleryTasksStall",
        "warning",
        f"{case.held} > 0 and {succeeded} and {case.flower_knows}",
        _stalled(case),
        f"Workers of {case.title} hold work and finish none of it.",
        f"Workers of {case.place} hold {{{{ $value | humanize }}}} messages, and no task has succeeded for "
        f"{duration(_stalled(case))}, which is longer than the longest task.",
    )
    starts = limits.poison_starts or max(20, 2 * variant.slots * variant.most_pods)
    yield Alert(
        "CeleryTasksDoNotEnd",
        "warning",
        f"{events(scope, 'task-started', _WINDOW)} - ({events(scope, ENDED, _WINDOW)} or vector(0)) > {starts}",
        60,
        f"Tasks of {case.title} start again and again.",
        f"{{{{ $value | humanize }}}} more tasks started than ended in {window} in workers of {case.place}. A task "
        "that kills its process is given back and starts again, and sends no failure.",
    )


def _pod_alerts(case: _Case) -> Iterator[Alert]:
    scope, limits, window = case.scope, case.limits, duration(_WINDOW)
    yield Alert(
        "CeleryWorkersRestart",
        "warning",
        f"{restarts(scope, window)} >= {limits.restarts}",
        0,
        f"Workers of {case.title} restart.",
        f"Containers of {case.place} restarted {{{{ $value | humanize }}}} times in {window}. A scale-down does not "
        "count.",
    )
    yield Alert(
        "CeleryWorkerOutOfMemory",
        "warning",
        f"{memory_kills(scope, window)} > 0",
        0,
        f"A worker of {case.title} used too much memory and was killed.",
        f"A container of {case.place} was killed for its memory in the last {window}. Raise resources.limits.memory, "
        "or lower concurrency or max_memory_per_child.",
    )
    if case.variant.scaling.replicas == 0:
        return
    yield Alert(
        "CeleryQueueWithoutConsumer",
        "critical",
        _without_consumer(case),
        limits.no_workers_seconds,
        f"Nobody takes work from {case.queues}.",
        f"The workers of {case.title} are gone: {case.place} has no available pod although it should, or does not "
        "exist, or nothing scales it.",
    )


def _without_consumer(case: _Case) -> str:
    scope, variant = case.scope, case.variant
    labels = f'{{{scope.in_namespace}, deployment="{variant.deployment}"}}'
    # What nobody scrapes is missing for every Deployment, and says nothing of this one.
    gone = f"absent(kube_deployment_spec_replicas{labels}) and on () count(kube_deployment_spec_replicas) > 0"
    if not variant.goes_to_zero:
        return f"({deployment_replicas(scope, 'status_replicas_available')} == 0) or ({gone})"
    series = f"sum({keda(scope, 'keda_scaler_metrics_value', 'backlog.*')})"
    unscaled = f"absent({series}) and on () count(keda_scaler_metrics_value) > 0"
    return f"({gone}) or ({deployment_replicas(scope, 'spec_replicas')} == 0 and on () ({unscaled}))"


def _longest(variant: Variant) -> float:
    """Seconds that the longest task takes, as far as anybody says so. Who calls it long gives it its grace period."""
    said = variant.knowledge.longest_task_seconds or variant.process.time_limit
    if not said and variant.knowledge.profile == "long":
        return float(variant.pod.termination_grace_period)
    return said or 0.0


def _stalled(case: _Case) -> int:
    """Seconds in which a task must have succeeded where there are some. One that waits for its ETA is held as well."""
    if case.limits.stalled_seconds:
        return case.limits.stalled_seconds
    eta = case.variant.knowledge.longest_eta_seconds
    return round((_longest(case.variant) or 3600) + (3600 if eta is None else eta) + 300)
