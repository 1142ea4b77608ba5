# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ScaledObjects, TriggerAuthentications and HorizontalPodAutoscalers. Pure functions of Fleet and Observed.

Sources: KEDA 2.20 for trigger fields, defaults and limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._celery.brokers import scaler_login, scaler_tls, tls_files
from .._celery.launcher import sentinel_password
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant
from .._model.names import (
    FORMULA_ANNOTATION,
    ownership_labels,
    pod_autoscaler_name,
    prometheus_authentication_name,
    scaled_object_name,
    trigger_authentication_name,
)
from .._model.observed import NOTHING, Observed
from .._model.variant_keys import Fallback
from .._schema.versions import Version, older
from .boosts import boost_in_force, boosted
from .budgets import share_of
from .containers import aws_keys
from .demand import (
    Demand,
    demand_of,
    in_words,
)
from .jobs import scaled_job
from .resources import resource
from .wait_goal import fallback_replicas, goal_of, prometheus_login
from .workers import (
    seen_by,
    selector_of,
    zero_reason,
)

#: With it KEDA takes over an HPA that somebody else made, under the HPA's own name (KEDA 2.20).
_TRANSFER = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}

#: Percent of the CPU request, where a variant of scaler hpa names no target.
DEFAULT_CPU_UTILIZATION = 80


def scaler_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """TriggerAuthentications, ScaledObjects, ScaledJobs and HPAs of a fleet, in the order in which they are applied."""
    found: list[dict[str, Any]] = _prometheus_authentication(fleet, observed)
    for service in fleet.services:
        scaled = [variant for variant in service.variants if variant.uses_keda]
        counted = [variant for variant in service.variants if variant.is_counted]
        if counted and service.broker is not None and _authentication(service.broker):
            found.append(_trigger_authentication(fleet, service, service.broker, observed))
        found.extend(scaled_object(fleet, service, variant, observed) for variant in scaled)
        found.extend(
            scaled_job(fleet, service, variant, observed, _reference(service))
            for variant in counted
            if variant.runs_as_jobs
        )
        found.extend(
            _pod_autoscaler(fleet, variant, observed) for variant in service.variants if variant.scaling.scaler == "hpa"
        )
    return found


def _trigger_authentication(fleet: Fleet, service: Service, broker: Broker, observed: Observed) -> dict[str, Any]:
    name = trigger_authentication_name(service.name)
    labels = ownership_labels(fleet.name, service.name)
    live = observed.find("TriggerAuthentication", name)
    return resource("TriggerAuthentication", fleet, name, labels, "scaler", live, _authentication(broker))


def _prometheus_authentication(fleet: Fleet, observed: Observed) -> list[dict[str, Any]]:
    """What scalers log in to Prometheus with, where they ask it and it wants that."""
    keys = prometheus_login(fleet.prometheus) if fleet.prometheus is not None else []
    if not keys or not any(goal_of(fleet, variant) for variant in fleet.variants):
        return []
    name, labels = prometheus_authentication_name(fleet.name), ownership_labels(fleet.name)
    live = observed.find("TriggerAuthentication", name)
    return [resource("TriggerAuthentication", fleet, name, labels, "scaler", live, {"secretTargetRef": keys})]


def scaler_secrets(fleet: Fleet) -> Iterator[tuple[str, str, list[str]]]:
    """Secrets of others that scalers alone read: where each is written, its name, and the variants that need it."""
    prometheus = fleet.prometheus
    if prometheus is not None and prometheus.secret is not None:
        asking = [variant.title for variant in fleet.variants if goal_of(fleet, variant)]
        if asking:
            yield prometheus.path_of("secret"), prometheus.secret.name, asking
    found: dict[tuple[str, str], list[str]] = {}
    for service in fleet.services:
        broker = service.broker
        own = broker.scaler.secret if broker is not None and broker.scaler is not None else None
        counted = [variant.title for variant in service.variants if variant.is_counted]
        if broker is not None and own is not None and counted:
            found.setdefault((broker.at("scaler"), own.name), []).extend(counted)
    yield from ((path, name, variants) for (path, name), variants in found.items())


def _authentication(broker: Broker) -> dict[str, Any]:
    """How KEDA gets its credentials. They never stand in trigger metadata, which everybody may read."""
    if broker.type == "sqs" and broker.pod_identity:
        return {"podIdentity": {"provider": "aws"}}
    references = [
        {"parameter": parameter, "name": name, "key": key} for parameter, (name, key) in _secret_keys(broker).items()
    ]
    return {"secretTargetRef": references} if references else {}


def _secret_keys(broker: Broker) -> dict[str, tuple[str, str]]:
    """KEDA's authentication parameters, each with the Secret and the key that hold it."""
    if broker.type == "sqs":
        names = {"AWS_ACCESS_KEY_ID": "awsAccessKeyID", "AWS_SECRET_ACCESS_KEY": "awsSecretAccessKey"}
        return {names[name]: place for name, place in aws_keys(broker).items()}
    return {**scaler_login(broker), **_sentinel_login(broker), **_certificates(broker)}


def _sentinel_login(broker: Broker) -> dict[str, tuple[str, str]]:
    own = broker.scaler.secret if broker.scaler is not None else None
    if broker.type == "redis-sentinel" and own is not None and own.sentinel_password_key:
        return {"sentinelPassword": (own.name, own.sentinel_password_key)}
    place = sentinel_password(broker)
    return {"sentinelPassword": place} if place else {}


def _certificates(broker: Broker) -> dict[str, tuple[str, str]]:
    names = {"ca.crt": "ca", "tls.crt": "cert", "tls.key": "key"}
    found = {names[file]: place for file, place in tls_files(broker).items()}
    switch = scaler_tls(broker) if found and broker.type == "rabbitmq" else None
    return {**found, "tls": switch} if switch else found


def scaled_object(fleet: Fleet, service: Service, variant: Variant, observed: Observed) -> dict[str, Any]:
    scaling = variant.scaling
    name = scaled_object_name(variant.deployment)
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.deployment},
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
    }
    times = {
        "polling_interval": ("pollingInterval", scaling.polling_interval),
        "cooldown_period": ("cooldownPeriod", scaling.cooldown_period),
        "initial_cooldown_period": ("initialCooldownPeriod", scaling.initial_cooldown_period),
    }
    if older(fleet.versions.keda, "2.14") and "initial_cooldown_period" not in variant.written_keys:
        del times["initial_cooldown_period"]
    # Elsewhere they mean nothing, and KEDA's webhook warns of them (2.20).
    spec.update({name: value for key, (name, value) in times.items() if key in variant.times_in_force})
    if scaling.idle_replicas is not None:
        spec["idleReplicaCount"] = scaling.idle_replicas
    if scaling.fallback is not None:
        spec["fallback"] = _fallback(fleet, variant, scaling.fallback)
    demand = _demand(fleet, service, variant, observed)
    taken = transferred(fleet, variant, observed)
    named = {"name": taken} if taken else {}
    spec["advanced"] = {"horizontalPodAutoscalerConfig": {**named, "behavior": scaling.behavior}, **_modifiers(demand)}
    spec["triggers"] = list(demand.triggers)
    labels = ownership_labels(fleet.name, service.name, variant.name)
    annotations = {
        FORMULA_ANNOTATION: in_words(variant),
        **_pause(scaling.paused),
        **(_TRANSFER if taken else {}),
        **scaling.scaled_object_annotations,
    }
    live = observed.find("ScaledObject", name)
    made = resource("ScaledObject", fleet, name, labels, "scaler", live, spec, variant.pod.labels, annotations)
    return boosted(made, boost_in_force(observed, variant))


def transferred(fleet: Fleet, variant: Variant, observed: Observed) -> str:
    """Name of an HPA of somebody else that KEDA takes over, now or since an earlier run; empty for none."""
    own = scaled_object_name(variant.deployment)
    for item in observed.scaled_by.get(variant.deployment, ()):
        if item.kind != "HorizontalPodAutoscaler":
            continue
        if item.scaled_object == own and item.name != f"keda-hpa-{own}":
            return item.name
        ours = observed.find(item.kind, item.name)
        foreign = not item.scaled_object and not (ours is not None and ours.is_ours(fleet.name))
        if foreign and fleet.autoscaler_conflict == "transfer":
            return item.name
    return ""


def _fallback(fleet: Fleet, variant: Variant, fallback: Fallback) -> dict[str, Any]:
    behavior = fallback.behavior or _fallback_behavior(fleet.versions.keda)
    return {
        "failureThreshold": fallback.failure_threshold,
        "replicas": fallback_replicas(variant, fallback),
        # The formula itself then says what holds without a reading.
        "behavior": "scalingModifiers" if goal_of(fleet, variant) is not None else behavior,
    }


def _fallback_behavior(keda: Version | None) -> str:
    """An outage must not take pods away; before KEDA 2.17 it is always as many as are written."""
    return "static" if older(keda, "2.17") else "currentReplicasIfHigher"


def _pause(paused: str | None) -> dict[str, str]:
    return {f"autoscaling.keda.sh/{paused}": "true"} if paused else {}


def _demand(fleet: Fleet, service: Service, variant: Variant, observed: Observed) -> Demand:
    selector = selector_of(fleet, variant, observed)
    share = share_of(fleet, variant, observed)
    goal = goal_of(fleet, variant)
    return demand_of(variant, service, fleet.namespace, selector, _reference(service), share, goal)


def _reference(service: Service) -> str:
    """Name of the TriggerAuthentication of a service; empty where its broker wants none."""
    authenticated = service.broker is not None and bool(_authentication(service.broker))
    return trigger_authentication_name(service.name) if authenticated else ""


def _modifiers(demand: Demand) -> dict[str, Any]:
    """The formula in units of pods. Only with a whole number as target does KEDA's fallback work (2.20)."""
    if not demand.formula:
        return {}
    return {"scalingModifiers": {"formula": demand.formula, "target": "1", "metricType": "AverageValue"}}


def _pod_autoscaler(fleet: Fleet, variant: Variant, observed: Observed) -> dict[str, Any]:
    """Kubernetes' own autoscaler (autoscaling/v2). It sees no queue."""
    scaling = variant.scaling
    wanted = {"cpu": scaling.cpu_utilization, "memory": scaling.memory_utilization}
    if not any(wanted.values()):
        wanted["cpu"] = DEFAULT_CPU_UTILIZATION
    metrics = [
        {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
        }
        for name, percent in wanted.items()
        if percent
    ]
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.deployment},
        "minReplicas": max(1, scaling.min_replicas),
        "maxReplicas": scaling.max_replicas,
        "metrics": metrics,
        "behavior": scaling.behavior,
    }
    name = pod_autoscaler_name(variant.deployment)
    labels = ownership_labels(fleet.name, variant.service, variant.name)
    live = observed.find("HorizontalPodAutoscaler", name)
    return resource("HorizontalPodAutoscaler", fleet, name, labels, "scaler", live, spec, variant.pod.labels)


def scaler_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row per scaled variant, for people: what its scaler sees, and why it may or may not go to zero."""
    return [
        _row(fleet, service, variant)
        for service in fleet.services
        for variant in service.variants
        if variant.has_scaler or variant.runs_as_jobs
    ]


def _scaler_name(variant: Variant) -> str:
    """What decides how many of a variant's workers run."""
    if variant.runs_as_jobs:
        return variant.deployment
    return scaled_object_name(variant.deployment) if variant.uses_keda else pod_autoscaler_name(variant.deployment)


def _row(fleet: Fleet, service: Service, variant: Variant) -> dict[str, Any]:
    keda = variant.uses_keda
    demand = _demand(fleet, service, variant, NOTHING) if keda else Demand(())
    return {
        "service": variant.service,
        "variant": variant.name,
        "scaled_object": _scaler_name(variant),
        "deployment": variant.deployment,
        "min_replicas": variant.scaling.min_replicas if variant.is_counted else max(1, variant.scaling.min_replicas),
        "max_replicas": variant.scaling.max_replicas,
        "sees": seen_by(variant),
        "formula": demand.formula,
        "to_zero": zero_reason(variant),
    }
