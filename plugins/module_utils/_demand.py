# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: what a scaler reads of a variant's work, and the formula that makes pods of it.

Backlog asks for pods; in-flight work holds the ones that are there and wakes one from zero, but never adds any
(measured with KEDA 2.20: in-flight work as a demand of its own gave six pods for sixty waiting ETA tasks, five idle).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._brokers import (
    endpoint_of,
    key_prefix,
    management_url,
    physical_lists,
    resolvable,
    sentinel_addresses,
    sqs_queue_url,
)
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, Service, Variant

Trigger = dict[str, Any]

#: KEDA cuts a formula's result to thousandths (2.20), so a smaller share of a pod would read as no work at all.
_SMALLEST_SHARE = 1000


@dataclass(frozen=True)
class Demand:
    """Triggers of a ScaledObject, and the formula over them.

    :param formula: pods that the work asks for; empty where one trigger says it by itself.
    """

    triggers: tuple[Trigger, ...]
    formula: str = ""


@dataclass(frozen=True)
class _Reading:
    """One number that KEDA reads: the trigger's type and metadata, without a target."""

    type: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class _Source:
    """What a broker tells of a variant.

    :param waiting: messages that wait.
    :param held: messages that workers hold, as numbers to add up.
    :param total: both together, for brokers that do not tell them apart.
    :param target_key: name of the metadata key that holds a target, and of the activation value.
    """

    waiting: tuple[_Reading, ...]
    held: tuple[_Reading, ...]
    total: tuple[_Reading, ...]
    target_key: str
    activation_key: str


def demand_of(variant: Variant, service: Service, namespace: str, selector: dict[str, str], reference: str) -> Demand:
    """What the scaler of a variant reads.

    :param selector: labels of the variant's pods.
    :param reference: name of the TriggerAuthentication; empty for none.
    """
    broker, extra = service.broker, named_extra_triggers(variant)
    if broker is None:
        return Demand(extra)
    source = _SOURCES[broker.type](broker, variant, namespace)
    own = _Triggers(source, reference)
    if len(source.waiting) == 1 and not variant.sees_in_flight:
        scaling = variant.scaling
        plain = own.named("backlog", source.waiting[0], scaling.list_length, scaling.activation_list_length)
        return Demand((plain, *scaling.extra_triggers))
    backlog = own.numbered("backlog", source.waiting)
    if not variant.sees_in_flight:
        return Demand((*backlog, *extra), _formula(variant, _sum(backlog), ""))
    counted = own.numbered("inflight", source.held) or own.numbered("total", source.total)
    held = _sum(counted) if source.held else f"({_sum(counted)} - {_sum(backlog)})"
    triggers = (*backlog, *counted, _pods(selector), *extra)
    return Demand(triggers, _formula(variant, _sum(backlog), held))


def needs_formula(variant: Variant, broker: Broker | None) -> bool:
    """Whether the variant's own triggers need a formula, beside which the HPA sees no other external metric."""
    if broker is None:
        return False
    return variant.sees_in_flight or len(_SOURCES[broker.type](broker, variant, "").waiting) > 1


@dataclass(frozen=True)
class _Triggers:
    """Makes triggers of readings.

    Beside a formula every target is 1, so that KEDA's fallback, which multiplies by a target, means pods as well.
    """

    source: _Source
    reference: str

    def named(self, name: str, reading: _Reading, target: int = 1, activation: int = 0) -> Trigger:
        metadata = {**reading.metadata, self.source.target_key: str(target)}
        if activation:
            metadata[self.source.activation_key] = str(activation)
        trigger: Trigger = {"type": reading.type, "name": name, "metadata": metadata}
        if self.reference:
            trigger["authenticationRef"] = {"name": self.reference}
        return trigger

    def numbered(self, name: str, readings: tuple[_Reading, ...]) -> list[Trigger]:
        if len(readings) == 1:
            return [self.named(name, readings[0])]
        return [self.named(f"{name}_{number}", reading) for number, reading in enumerate(readings)]


def _pods(selector: dict[str, str]) -> Trigger:
    """The pods that are there. Terminating ones are counted too (measured), so a rollout does not look like need."""
    labels = ",".join(f"{name}={value}" for name, value in sorted(selector.items()))
    return {"type": "kubernetes-workload", "name": "pods", "metadata": {"podSelector": labels, "value": "1"}}


def _sum(triggers: list[Trigger]) -> str:
    names = [trigger["name"] for trigger in triggers]
    return names[0] if len(names) == 1 else f"({' + '.join(names)})"


def _formula(variant: Variant, backlog: str, held: str) -> str:
    """Pods, as an expression of KEDA's scalingModifiers (2.12 or later; expr-lang)."""
    terms = _backlog_terms(variant, backlog)
    if held:
        holding = _held_terms(variant, held)
        if _waits_behind_nobody(variant):
            # Every waiting message gets a pod of its own, so the busy ones do not count for it.
            terms[0], holding = f"{terms[0]} + {holding[0]}", holding[1:]
        terms += holding
    terms += [term for trigger in named_extra_triggers(variant) if (term := extra_term(trigger))]
    return terms[0] if len(terms) == 1 else f"max({', '.join(terms)})"


def _waits_behind_nobody(variant: Variant) -> bool:
    """Whether a pod takes no more waiting messages than it works on at once, and busy pods are held one by one.

    The most of backlog and in-flight would let a single message wait for the end of an hour-long task while there may
    be more pods. Their sum is the outstanding work, which does not grow when a message is taken, so it does not run
    away.
    """
    return variant.scaling.hold == "pods" and variant.scaling.list_length <= variant.held


def _backlog_terms(variant: Variant, backlog: str) -> list[str]:
    length, activation = variant.scaling.list_length, variant.scaling.activation_list_length
    shares = [_divided(backlog, length)]
    if length > _SMALLEST_SHARE:
        shares.append(f"min({backlog}, 1) / 100")
    # An activation value of the formula as a whole would also let go of pods that still hold work.
    return [f"({backlog} > {activation} ? {share} : 0)" if activation else share for share in shares]


def _held_terms(variant: Variant, held: str) -> list[str]:
    slots = 1 if variant.scaling.hold == "pods" else variant.held
    terms = [f"min({_divided(held, slots)}, max(pods, 1))"]
    if slots > _SMALLEST_SHARE:
        terms.append(f"min({held}, 1) / 100")
    return terms


def _divided(number: str, by: int) -> str:
    return number if by == 1 else f"{number} / {by}"


def named_extra_triggers(variant: Variant) -> tuple[Trigger, ...]:
    """The user's own triggers, each with a name that a formula can use."""
    found = []
    for number, trigger in enumerate(variant.scaling.extra_triggers):
        name = f"{trigger['type'].replace('-', '_')}_{number}"
        found.append(
            {"type": trigger["type"], "name": name, **trigger} if trigger["type"] in FORMULA_TYPES else trigger
        )
    return tuple(found)


#: Types of further triggers that have a term in the formula, and those that the HPA reads beside it.
FORMULA_TYPES = ("cron", "prometheus")
RESOURCE_TYPES = ("cpu", "memory")


def extra_term(trigger: Trigger) -> str:
    """What a trigger of the user's asks for, as a term of the formula; empty for one that the HPA reads beside it."""
    name, metadata = trigger.get("name", ""), trigger["metadata"]
    if trigger["type"] == "cron":
        # Outside of its time it reads 1, which must not keep a pod.
        return f"({name} > 1 ? {name} : 0)"
    if trigger["type"] == "prometheus":
        return _prometheus_term(name, metadata)
    return ""


def _prometheus_term(name: str, metadata: dict[str, str]) -> str:
    threshold, activation = metadata.get("threshold", "1"), metadata.get("activationThreshold", "0")
    # A large threshold makes shares that KEDA would cut to nothing.
    share = f"max({name} / {threshold}, min({name}, 1) / 100)"
    return f"({name} > {activation} ? {share} : 0)"


def _redis_source(broker: Broker, variant: Variant, namespace: str) -> _Source:
    kind, address = "redis", {"address": f"{resolvable(broker.host, namespace)}:{broker.port}"}
    if broker.type == "redis-sentinel":
        kind = "redis-sentinel"
        address = {
            "addresses": ",".join(sentinel_addresses(broker, namespace)),
            "sentinelMaster": broker.master_name or "",
        }
        if broker.sentinel_username:
            address["sentinelUsername"] = broker.sentinel_username
    base = {**address, "databaseIndex": str(broker.database), **_encryption(broker)}
    lists = [name for queue in variant.queues for name in physical_lists(broker, queue)]
    held = [f"{key_prefix(broker)}{variant.unacked.hash}"] if variant.unacked else []
    waiting, hashes = ([_Reading(kind, {**base, "listName": name}) for name in names] for names in (lists, held))
    return _Source(tuple(waiting), tuple(hashes), (), "listLength", "activationListLength")


def _encryption(broker: Broker) -> dict[str, str]:
    if broker.tls is None:
        return {}
    return {"enableTLS": "true", **({"unsafeSsl": "true"} if broker.tls.insecure_skip_verify else {})}


def _rabbitmq_source(broker: Broker, variant: Variant, namespace: str) -> _Source:
    """Through the management API, which tells unacknowledged messages; AMQP tells only those that wait."""
    base = {
        "protocol": "http",
        "host": management_url(broker, namespace or "default"),
        "vhostName": broker.virtual_host,
        "mode": "QueueLength",
    }
    if broker.tls is not None and broker.tls.insecure_skip_verify:
        base["unsafeSsl"] = "true"
    waiting = [
        _Reading("rabbitmq", {**base, "queueName": queue, "excludeUnacknowledged": "true"}) for queue in variant.queues
    ]
    total = [_Reading("rabbitmq", {**base, "queueName": queue}) for queue in variant.queues]
    return _Source(tuple(waiting), (), tuple(total), "value", "activationValue")


def _sqs_source(broker: Broker, variant: Variant, namespace: str) -> _Source:
    base = {"awsRegion": broker.region or ""}
    if broker.endpoint:
        base["awsEndpoint"] = endpoint_of(broker, namespace)
    urls = [sqs_queue_url(broker, queue, namespace) for queue in variant.queues]
    readings = {
        flag: tuple(_Reading("aws-sqs-queue", {**base, "queueURL": url, "scaleOnInFlight": flag}) for url in urls)
        for flag in ("false", "true")
    }
    return _Source(readings["false"], (), readings["true"], "queueLength", "activationQueueLength")


_SOURCES: dict[str, Callable[[Broker, Variant, str], _Source]] = {
    "redis": _redis_source,
    "redis-sentinel": _redis_source,
    "rabbitmq": _rabbitmq_source,
    "sqs": _sqs_source,
}
