# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scaler reads of a variant's work, and the formula that makes pods of it.

Backlog asks for pods; in-flight work holds the ones that are there and wakes one from zero, but never adds any by
itself (measured with KEDA 2.20: as a demand of its own it gave six pods for sixty waiting ETA tasks, five idle).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .._celery.brokers import (
    endpoint_of,
    key_prefix,
    management_url,
    physical_lists,
    resolvable,
    sentinel_addresses,
    sqs_queue_url,
)
from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .budgets import Share
from .pod_triggers import identifiers, pods_trigger
from .wait_goal import WaitGoal, goal_in_words
from .windows import Windows

Trigger = dict[str, Any]

#: KEDA cuts a formula's result to thousandths (2.20), so a smaller share of a pod would read as no work at all.
_SMALLEST_SHARE = 1000


@dataclass(frozen=True)
class Demand:
    """Triggers of a ScaledObject, and the formula over them.

    :param formula: pods that the work asks for; empty where one trigger says it by itself.
    :param waiting: names of the triggers whose numbers, added up, are the messages that wait.
    :param held: the same of messages that workers hold.
    :param total: the same of both together, for brokers that do not tell them apart.
    """

    triggers: tuple[Trigger, ...]
    formula: str = ""
    waiting: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    total: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """One number that KEDA reads: the trigger's type and metadata, without a target.

    :param queue: the queue it belongs to.
    :param step: its priority step, where the queue has several lists.
    """

    type: str
    metadata: dict[str, str]
    queue: str = ""
    step: int | None = None


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


def demand_of(
    variant: Variant,
    service: Service,
    namespace: str,
    selector: dict[str, str],
    reference: str,
    share: Share | None = None,
    goal: WaitGoal | None = None,
) -> Demand:
    """What the scaler of a variant reads.

    :param selector: labels of the variant's pods.
    :param reference: name of the TriggerAuthentication; empty for none.
    :param share: what the variant may have of its budget.
    :param goal: how long its messages may wait, where that decides.
    """
    broker, extra = service.broker, named_extra_triggers(variant)
    if broker is None:
        return Demand(extra)
    source, limits = _SOURCES[broker.type](broker, variant, namespace), Limits(windows_of(variant), share)
    own = _Triggers(source, reference)
    if len(source.waiting) == 1 and not variant.sees_in_flight and limits.are_none and goal is None:
        scaling = variant.scaling
        plain = own.named("backlog", source.waiting[0], scaling.list_length, scaling.activation_list_length)
        return Demand((plain, *scaling.extra_triggers), waiting=_names([plain]))
    backlog, there = own.of_queues("backlog", source.waiting), pods_trigger("pods", selector)
    measured = goal.triggers if goal is not None else ()
    if not variant.sees_in_flight:
        counted = [there] if limits.read_pods or goal is not None else []
        formula = _formula(variant, _sum(backlog), "", limits, goal)
        triggers = (*backlog, *counted, *measured, *limits.triggers, *extra)
        return Demand(triggers, _guarded(goal, formula, [*backlog, *extra]), _names(backlog))
    held, total = own.of_queues("inflight", source.held), own.of_queues("total", source.total)
    # Without one the other tells it.
    holding = _sum(held) if held else f"({_sum(total)} - {_sum(backlog)})"
    triggers = (*backlog, *(held or total), there, *measured, *limits.triggers, *extra)
    formula = _formula(variant, _sum(backlog), holding, limits, goal)
    formula = _guarded(goal, formula, [*backlog, *(held or total), *extra])
    return Demand(triggers, formula, _names(backlog), _names(held), () if held else _names(total))


def _guarded(goal: WaitGoal | None, formula: str, triggers: Iterable[Trigger]) -> str:
    """The formula, and what holds while one of some triggers fails that it cannot do without."""
    if goal is None:
        return formula
    return goal.guarded(formula, _names(item for item in triggers if item["type"] not in (*RESOURCE_TYPES, "cron")))


@dataclass(frozen=True)
class Limits:
    """What stands between the wish for pods and the pods, beside the range of the variant."""

    windows: Windows
    share: Share | None = None

    @property
    def are_none(self) -> bool:
        """Whether nothing does."""
        return not self.windows.schedule and self.share is None

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """What they read, but for the variant's own pods."""
        return (*(self.share.triggers if self.share is not None else ()), *self.windows.triggers)

    @property
    def read_pods(self) -> bool:
        """Whether they read the variant's own pods."""
        return self.windows.reads_pods or (self.share is not None and "pods" in self.share.limit)

    @property
    def ceilings(self) -> list[str]:
        """Terms that what is asked for must not pass."""
        return [*self.windows.ceilings, *([self.share.limit] if self.share is not None else [])]


def windows_of(variant: Variant) -> Windows:
    """The schedule of a variant, exact where the HPA's tolerance is switched off."""
    up, down = (variant.scaling.behavior.get(way) or {} for way in ("scaleUp", "scaleDown"))
    return Windows(variant.scaling.schedule, *(str(way.get("tolerance", "")) == "0" for way in (up, down)))


def job_triggers(variant: Variant, service: Service, namespace: str, reference: str) -> tuple[Trigger, ...]:
    """What KEDA adds up to know how many Jobs the outstanding work asks for: what waits, and what workers hold.

    A Job that works counts among those that there are, so its message must be counted as well.

    :param reference: name of the TriggerAuthentication; empty for none.
    """
    broker = service.broker
    if broker is None:
        return ()
    source = _SOURCES[broker.type](broker, variant, namespace)
    own, length = _Triggers(source, reference), variant.scaling.list_length
    if source.total:
        return tuple(own.of_queues("total", source.total, length, variant.scaling.activation_list_length))
    waiting = own.of_queues("backlog", source.waiting, length, variant.scaling.activation_list_length)
    return (*waiting, *own.of_queues("inflight", source.held, length))


def job_demand(variant: Variant, service: Service, namespace: str) -> Demand:
    """What decides on the number of Jobs, as a formula: KEDA itself adds up, and needs none."""
    triggers = job_triggers(variant, service, namespace, "")
    waiting, held, total = (
        tuple(name for name in _names(triggers) if name.startswith(word)) for word in ("backlog", "inflight", "total")
    )
    text = _divided(f"({' + '.join(_names(triggers))})", variant.scaling.list_length)
    return Demand(triggers, text if triggers else "", waiting, held, total)


def _names(triggers: Iterable[Trigger]) -> tuple[str, ...]:
    return tuple(str(trigger["name"]) for trigger in triggers)


#: Where a trigger has what one pod is to get, so that the HPA divides by it.
_TARGETS = {
    "redis": "listLength",
    "redis-sentinel": "listLength",
    "rabbitmq": "value",
    "aws-sqs-queue": "queueLength",
    "prometheus": "threshold",
}


def without_formula(triggers: Iterable[Trigger]) -> str:
    """What the HPA makes of triggers that no formula joins, written as one: the highest of their shares."""
    shares = []
    for index, trigger in enumerate(triggers):
        if trigger["type"] in RESOURCE_TYPES:
            continue
        name = trigger.get("name") or f"trigger_{index}"
        # A cron trigger reads the number of pods by itself.
        target = str(trigger["metadata"].get(_TARGETS.get(trigger["type"], ""), "1")).strip()
        shares.append(_divided(name, int(target)) if target.isdecimal() else f"{name} / {target}")
    return shares[0] if len(shares) == 1 else f"max({', '.join(shares)})"


def in_words(variant: Variant) -> str:
    """What the scaler of a variant does, as sentences for people who look at its ScaledObject."""
    scaling = variant.scaling
    waiting = f"One pod for {_each(scaling.list_length, 'waiting message')}"
    if scaling.activation_list_length:
        waiting += f" where more than {scaling.activation_list_length} wait"
    sentences = goal_in_words(variant, waiting) if variant.measured_by else [waiting]
    if variant.sees_in_flight:
        slots = 1 if scaling.hold == "pods" else variant.held
        messages = _each(slots, "message")
        holding = f"one for {messages} that workers hold, though no more than the pods that are there (at least 1)"
        if _are_added(variant) and not variant.measured_by:
            sentences = [f"{waiting}, and {holding}"]
        else:
            sentences.append(f"{holding[0].upper()}{holding[1:]}")
    for written, read in zip(scaling.extra_triggers, named_extra_triggers(variant), strict=True):
        sentences.append(_trigger_in_words(written, read.get("name", written["type"])))
    # The range is not told: a change of it would show twice in a diff.
    highest = ["The highest number counts"] if len(sentences) > 1 else []
    limits = [
        *(window.words for window in scaling.schedule),
        *([scaling.budget.words(variant.reserve)] if scaling.budget is not None else []),
    ]
    return f"{'. '.join([*sentences, *highest, *limits])}."


def _each(number: int, what: str) -> str:
    return f"each {what}" if number == 1 else f"every {number} {what}s"


def _trigger_in_words(trigger: Trigger, name: str) -> str:
    metadata, kind = trigger["metadata"], trigger["type"]
    if kind == "cron":
        number = metadata.get("desiredReplicas", "").strip()
        return f"{number} pod{'' if number == '1' else 's'} in the time of {name}"
    if kind == "prometheus":
        return f"One pod for every {metadata.get('threshold', '1').strip()} that the query of {name} gives"
    return f"What the {kind} trigger asks for"


def needs_formula(variant: Variant, broker: Broker | None) -> bool:
    """Whether the variant's own triggers need a formula, beside which the HPA sees no other external metric."""
    if broker is None:
        return False
    limits = variant.scaling.schedule or variant.scaling.budget is not None
    if variant.sees_in_flight or limits or variant.measured_by:
        return True
    return len(_SOURCES[broker.type](broker, variant, "").waiting) > 1


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

    def of_queues(
        self, name: str, readings: tuple[_Reading, ...], target: int = 1, activation: int = 0
    ) -> list[Trigger]:
        """One trigger each, named after what it counts: C(backlog), C(backlog_p3), C(backlog_invoices_p3)."""
        queues = identifiers(reading.queue for reading in readings)
        found = []
        for reading in readings:
            queue = f"_{queues[reading.queue]}" if len(queues) > 1 else ""
            step = "" if reading.step is None else f"_p{reading.step}"
            found.append(self.named(f"{name}{queue}{step}", reading, target, activation))
        return found


def _sum(triggers: list[Trigger]) -> str:
    names = [trigger["name"] for trigger in triggers]
    return names[0] if len(names) == 1 else f"({' + '.join(names)})"


def _formula(variant: Variant, backlog: str, held: str, limits: Limits, goal: WaitGoal | None) -> str:
    """Pods, as an expression of KEDA's scalingModifiers (2.12 or later; expr-lang).

    A ceiling is for what asks for pods. What holds the ones that are there stands outside of it, so that none that is
    busy has to go.
    """
    terms, holding = _backlog_terms(variant, backlog), _held_terms(variant, held) if held else []
    beside = holding
    if held and _are_added(variant):
        terms[0], beside = f"{terms[0]} + {holding[0]}", holding[1:]
    if goal is not None:
        busy = holding[0] if held and _may_be_added(variant) else ""
        static, activation = _one_of("max", terms), variant.scaling.activation_list_length
        terms, beside = [goal.asked(backlog, static, busy, activation)], holding
    own = zip(variant.scaling.extra_triggers, named_extra_triggers(variant), strict=True)
    asked = [
        term for written, read in own if (term := _extra_term(written, read.get("name", "")))
    ] + limits.windows.floors
    if not limits.ceilings:
        return _one_of("max", [*terms, *beside, *asked])
    limited = _one_of("min", [_one_of("max", [*terms, *asked]), *limits.ceilings])
    return _one_of("max", [limited, *holding])


def _one_of(function: str, terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"{function}({', '.join(terms)})"


def _are_added(variant: Variant) -> bool:
    """Whether backlog and in-flight work are added: a waiting message cannot use a slot that is busy.

    The larger of both would let a message wait for the end of a long task while there may be more pods. It counts only
    where a pod is to take no more messages than it works on at once. The sum is the outstanding work, which does not
    grow when a message is taken. But tasks that wait for an ETA are held without filling a slot, and each message
    beside them would add a pod that stays: so people must have said that there are none, or want a pod for each task
    (C(hold) C(pods)), where a pod too many is better than a task behind an hour-long one.
    """
    most = variant.held if variant.scaling.hold == "pods" else variant.slots
    return _may_be_added(variant) and variant.scaling.list_length <= most


def _may_be_added(variant: Variant) -> bool:
    """Whether no pod too many stays where backlog and in-flight work are added, or somebody wants that."""
    return variant.scaling.hold == "pods" or variant.knowledge.longest_eta_seconds == 0


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
    """The user's own triggers as a formula reads them, each with a name.

    Outside of its time KEDA's cron reads 0 since KEDA 2.18 and 1 before. So that one pod can be told from none, a cron
    trigger of one pod asks KEDA for two; its term counts them as one.
    """
    found = []
    for number, trigger in enumerate(variant.scaling.extra_triggers):
        if trigger["type"] not in FORMULA_TYPES:
            found.append(trigger)
            continue
        read = {"type": trigger["type"], "name": f"{trigger['type'].replace('-', '_')}_{number}", **trigger}
        if _is_one_pod(trigger):
            read["metadata"] = {**trigger["metadata"], "desiredReplicas": "2"}
        found.append(read)
    return tuple(found)


def _is_one_pod(trigger: Trigger) -> bool:
    return trigger["type"] == "cron" and str(trigger["metadata"].get("desiredReplicas", "")).strip() == "1"


#: Types of further triggers that have a term in the formula, and those that the HPA reads beside it.
FORMULA_TYPES = ("cron", "prometheus")
RESOURCE_TYPES = ("cpu", "memory")


def _extra_term(trigger: Trigger, name: str) -> str:
    """What a trigger of the user's asks for, as a term of the formula; empty for one that the HPA reads beside it.

    :param trigger: as the user wrote it.
    :param name: the name that it has in the formula.
    """
    if trigger["type"] == "cron":
        # Before KEDA 2.18 it reads 1 outside of its time, which must not keep a pod.
        return f"({name} > 1 ? {1 if _is_one_pod(trigger) else name} : 0)"
    if trigger["type"] == "prometheus":
        return _prometheus_term(name, trigger["metadata"])
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
    waiting = []
    for queue in variant.queues:
        lists = physical_lists(broker, queue)
        for step, name in lists.items():
            waiting.append(_Reading(kind, {**base, "listName": name}, queue, step if len(lists) > 1 else None))
    held = [
        _Reading(kind, {**base, "listName": f"{key_prefix(broker)}{key.hash}"}) for key in (variant.unacked,) if key
    ]
    return _Source(tuple(waiting), tuple(held), (), "listLength", "activationListLength")


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
        _Reading("rabbitmq", {**base, "queueName": queue, "excludeUnacknowledged": "true"}, queue)
        for queue in variant.queues
    ]
    total = [_Reading("rabbitmq", {**base, "queueName": queue}, queue) for queue in variant.queues]
    return _Source(tuple(waiting), (), tuple(total), "value", "activationValue")


def _sqs_source(broker: Broker, variant: Variant, namespace: str) -> _Source:
    base = {"awsRegion": broker.region or ""}
    if broker.endpoint:
        base["awsEndpoint"] = endpoint_of(broker, namespace)
    urls = {queue: sqs_queue_url(broker, queue, namespace) for queue in variant.queues}
    readings = {
        flag: tuple(
            _Reading("aws-sqs-queue", {**base, "queueURL": url, "scaleOnInFlight": flag}, queue)
            for queue, url in urls.items()
        )
        for flag in ("false", "true")
    }
    return _Source(readings["false"], (), readings["true"], "queueLength", "activationQueueLength")


_SOURCES: dict[str, Callable[[Broker, Variant, str], _Source]] = {
    "redis": _redis_source,
    "redis-sentinel": _redis_source,
    "rabbitmq": _rabbitmq_source,
    "sqs": _sqs_source,
}
