# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: KEDA's ScaledObjects and TriggerAuthentications. Pure functions of Fleet and Observed.

Sources: KEDA 2.20 for trigger fields, defaults and limits.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, Fleet, Service, Variant
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    ownership_labels,
    scaled_object_name,
    trigger_authentication_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._workers import resource


def scaler_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """TriggerAuthentications and ScaledObjects of a fleet, in the order in which they are applied."""
    found: list[dict[str, Any]] = []
    for service in fleet.services:
        scaled = [variant for variant in service.variants if variant.has_scaler]
        if scaled and service.broker is not None and _authentication_references(service.broker):
            found.append(_trigger_authentication(fleet, service, service.broker, observed))
        found.extend(_scaled_object(fleet, service, variant, observed) for variant in scaled)
    return found


def _trigger_authentication(fleet: Fleet, service: Service, broker: Broker, observed: Observed) -> dict[str, Any]:
    name = trigger_authentication_name(service.name)
    labels = ownership_labels(fleet.name, service.name)
    live = observed.find("TriggerAuthentication", name)
    spec = {"secretTargetRef": _authentication_references(broker)}
    return resource("TriggerAuthentication", fleet, name, labels, "scaler", live, spec)


def _authentication_references(broker: Broker) -> list[dict[str, str]]:
    """Which Secret keys KEDA reads. Credentials never stand in trigger metadata, which everybody may read."""
    found = []
    if broker.secret is not None:
        keys = (("username", broker.secret.username_key), ("password", broker.secret.password_key))
        found = [{"parameter": name, "name": broker.secret.name, "key": key} for name, key in keys if key]
    elif broker.password:
        names = ["username"] if broker.username else []
        found = [{"parameter": name, "name": broker.own_secret, "key": name} for name in [*names, "password"]]
    if broker.tls is not None and broker.tls.ca_secret:
        found.append({"parameter": "ca", "name": broker.tls.ca_secret, "key": broker.tls.ca_key})
    return found


def _scaled_object(fleet: Fleet, service: Service, variant: Variant, observed: Observed) -> dict[str, Any]:
    scaling = variant.scaling
    name = scaled_object_name(variant.deployment)
    goes_idle = scaling.min_replicas == 0 or scaling.idle_replicas is not None
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.deployment},
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
    }
    # With one pod always up KEDA polls and cools down for nothing, and its webhook warns of both (2.20).
    # Who writes them gets them all the same.
    times = {
        "polling_interval": ("pollingInterval", scaling.polling_interval),
        "cooldown_period": ("cooldownPeriod", scaling.cooldown_period),
        "initial_cooldown_period": ("initialCooldownPeriod", scaling.initial_cooldown_period),
    }
    spec.update({name: value for key, (name, value) in times.items() if goes_idle or key in variant.written_keys})
    if scaling.idle_replicas is not None:
        spec["idleReplicaCount"] = scaling.idle_replicas
    if scaling.fallback is not None:
        spec["fallback"] = {
            "failureThreshold": scaling.fallback.failure_threshold,
            # 0 would let an outage scale to zero before the threshold is reached.
            "replicas": scaling.fallback.replicas or max(1, scaling.min_replicas),
            "behavior": scaling.fallback.behavior,
        }
    spec["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": scaling.behavior}, **_sum_of_queues(variant)}
    spec["triggers"] = [*_backlog_triggers(fleet, service, variant), *scaling.extra_triggers]
    labels = ownership_labels(fleet.name, service.name, variant.name)
    annotations = {**_pause(scaling.paused), **scaling.scaled_object_annotations}
    live = observed.find("ScaledObject", name)
    return resource("ScaledObject", fleet, name, labels, "scaler", live, spec, variant.pod.labels, annotations)


def _pause(paused: str | None) -> dict[str, str]:
    return {f"autoscaling.keda.sh/{paused}": "true"} if paused else {}


def _backlog_triggers(fleet: Fleet, service: Service, variant: Variant) -> list[dict[str, Any]]:
    """One trigger a queue. Priority lists and in-flight work are not seen by it."""
    broker = service.broker
    if broker is None:
        return []
    prefix = str(broker.transport_options.get("global_keyprefix", ""))
    triggers = []
    for number, queue in enumerate(variant.queues):
        trigger: dict[str, Any] = {
            "type": "redis",
            "name": "backlog" if len(variant.queues) == 1 else f"backlog_{number}",
            "metadata": {
                "address": f"{resolvable(broker.host, fleet.namespace)}:{broker.port}",
                "databaseIndex": str(broker.database),
                "listName": f"{prefix}{queue}",
                "listLength": str(variant.scaling.list_length),
                "activationListLength": str(variant.scaling.activation_list_length),
                **_encryption(broker),
            },
        }
        if _authentication_references(broker):
            trigger["authenticationRef"] = {"name": trigger_authentication_name(service.name)}
        triggers.append(trigger)
    return triggers


def _sum_of_queues(variant: Variant) -> dict[str, Any]:
    """Several queues are counted together; without a formula (KEDA 2.12) the HPA would take the longest one only.

    A formula hides every other external metric from the HPA, so there is none beside triggers of that kind.
    """
    if len(variant.queues) == 1 or not counts_together(variant):
        return {}
    scaling = variant.scaling
    return {
        "scalingModifiers": {
            "formula": " + ".join(f"backlog_{number}" for number in range(len(variant.queues))),
            "target": str(scaling.list_length),
            "activationTarget": str(scaling.activation_list_length),
            "metricType": "AverageValue",
        }
    }


def counts_together(variant: Variant) -> bool:
    """Whether a formula may sum the variant's queues."""
    return all(trigger["type"] in ("cpu", "memory") for trigger in variant.scaling.extra_triggers)


def _encryption(broker: Broker) -> dict[str, str]:
    if broker.tls is None:
        return {}
    return {"enableTLS": "true", **({"unsafeSsl": "true"} if broker.tls.insecure_skip_verify else {})}


def resolvable(host: str, namespace: str) -> str:
    """The host as KEDA's own namespace resolves it: a bare Service name is known in its namespace only."""
    if ":" in host:
        return f"[{host}]"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if "." in host or host == "localhost" else f"{host}.{namespace}.svc"
    return host


def scaler_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row per scaled variant, for people: what its scaler sees."""
    rows = []
    for variant in fleet.variants:
        if variant.has_scaler:
            rows.append(
                {
                    "service": variant.service,
                    "variant": variant.name,
                    "scaled_object": scaled_object_name(variant.deployment),
                    "deployment": variant.deployment,
                    "min_replicas": variant.scaling.min_replicas,
                    "max_replicas": variant.scaling.max_replicas,
                    "sees": [f"{queue} (waiting messages)" for queue in variant.queues],
                }
            )
    return rows
