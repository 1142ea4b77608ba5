# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ScaledObject as KEDA reads it, with all of its defaults (KEDA 2.20)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .formula import Worked, cut, worked

#: Where a trigger has its target, KEDA's default for it, and where it has its activation value.
_TARGETS = {
    "redis": ("listLength", 5.0, "activationListLength"),
    "redis-sentinel": ("listLength", 5.0, "activationListLength"),
    "redis-cluster": ("listLength", 5.0, "activationListLength"),
    "rabbitmq": ("value", 20.0, "activationValue"),
    "aws-sqs-queue": ("queueLength", 5.0, "activationQueueLength"),
    "prometheus": ("threshold", 1.0, "activationThreshold"),
    "kubernetes-workload": ("value", 1.0, "activationValue"),
    "cron": ("", 1.0, ""),
}
#: They connect when they are made, so KEDA cannot make them while the broker refuses connections.
_CONNECTING = ("redis", "redis-sentinel", "redis-cluster")
_RESOURCES = ("cpu", "memory")
_PAUSED = "autoscaling.keda.sh/paused"


class Closed(float):
    """What a cron trigger reads outside of its time. It never counts as active, whatever the number is."""


@dataclass(frozen=True)
class Trigger:
    """What KEDA reads, and what it makes of the number.

    :param target: what one pod is to get.
    :param activation: the number above which it is active.
    :param is_value: whether the target is for all pods together (C(metricType: Value)).
    :param connects: whether it can only be made while what it reads can be reached.
    :param is_cached: whether the HPA gets the number of the last poll.
    """

    type: str
    name: str
    metadata: Mapping[str, str]
    target: float
    activation: float = 0.0
    is_value: bool = False
    connects: bool = False
    is_cached: bool = False

    def is_active_by(self, number: float | None) -> bool:
        """Whether a number that it read wakes pods."""
        return number is not None and not isinstance(number, Closed) and cut(number) > self.activation


@dataclass(frozen=True)
class Fallback:
    """What holds while a trigger cannot be read."""

    threshold: int
    replicas: int
    behavior: str = "static"


@dataclass(frozen=True)
class Modifiers:
    """A formula over all triggers.

    :param work: what works it out.
    :param target: what one pod is to get of its result.
    :param is_whole: whether the target is a whole number; without that KEDA's fallback is off.
    """

    work: Worked
    target: float
    activation: float
    is_value: bool
    is_whole: bool


@dataclass(frozen=True)
class ScaledObject:
    """How KEDA scales one Deployment. Times are seconds.

    :param triggers: those that KEDA itself reads; not CPU and memory.
    :param only_resources: whether there are none but CPU and memory, which always count as active.
    :param resources: types of the triggers that the HPA reads beside KEDA, which nothing here simulates.
    :param behavior: of the HPA, as it is written; None for none.
    :param paused_at: pods while it is paused; None leaves those that are there.
    """

    triggers: tuple[Trigger, ...]
    least: int = 0
    most: int = 100
    idle: int | None = None
    polling: float = 30.0
    cooldown: float = 300.0
    initial_cooldown: float = 0.0
    fallback: Fallback | None = None
    modifiers: Modifiers | None = None
    behavior: Mapping[str, Any] | None = None
    resources: tuple[str, ...] = ()
    is_paused: bool = False
    paused_at: int | None = None
    pauses_in: bool = False
    pauses_out: bool = False
    forces_activation: bool = False
    formula: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def only_resources(self) -> bool:
        """Whether KEDA itself reads nothing."""
        return not self.triggers


def read_scaled_object(spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> ScaledObject:
    """A ScaledObject from its manifest.

    :param spec: its C(spec).
    :raises FormulaError: if its formula cannot be worked out here.
    """
    notes, advanced = annotations or {}, spec.get("advanced") or {}
    paused_at = notes.get(f"{_PAUSED}-replicas")
    pauses_in, pauses_out = is_on(notes, f"{_PAUSED}-scale-in"), is_on(notes, f"{_PAUSED}-scale-out")
    written = (advanced.get("horizontalPodAutoscalerConfig") or {}).get("behavior")
    modifiers = advanced.get("scalingModifiers") or {}
    triggers = spec["triggers"]
    return ScaledObject(
        triggers=tuple(read_trigger(item) for item in triggers if item["type"] not in _RESOURCES),
        least=int(spec.get("minReplicaCount") or 0),
        most=int(spec.get("maxReplicaCount") or 100),
        idle=spec.get("idleReplicaCount"),
        polling=float(spec.get("pollingInterval") or 30),
        cooldown=float(_given(spec.get("cooldownPeriod"), 300)),
        initial_cooldown=float(_given(spec.get("initialCooldownPeriod"), 0)),
        fallback=_fallback(spec.get("fallback")),
        modifiers=_modifiers(modifiers) if modifiers.get("formula") else None,
        behavior=_held_back(written, pauses_in, pauses_out),
        resources=tuple(item["type"] for item in triggers if item["type"] in _RESOURCES),
        is_paused=paused_at is not None or is_on(notes, _PAUSED),
        paused_at=int(paused_at) if paused_at is not None and paused_at.lstrip("-").isdigit() else None,
        pauses_in=pauses_in,
        pauses_out=pauses_out,
        forces_activation=is_on(notes, "autoscaling.keda.sh/force-activation"),
        formula=str(modifiers.get("formula") or ""),
        annotations=notes,
    )


def _given(value: Any, default: float) -> Any:
    return default if value is None else value


def is_on(annotations: Mapping[str, str], name: str) -> bool:
    """Whether an annotation is on. What is no boolean counts as true."""
    value = annotations.get(name)
    return value is not None and str(value) not in ("0", "f", "F", "false", "FALSE", "False")


def read_trigger(written: Mapping[str, Any]) -> Trigger:
    """A trigger, with KEDA's defaults."""
    kind, metadata = str(written["type"]), {key: str(value) for key, value in (written.get("metadata") or {}).items()}
    target, default, activation = _TARGETS.get(kind, ("threshold", 1.0, "activationThreshold"))
    # It is counted by its queue's number where the older key is written.
    names = [target, "queueLength"] if kind == "rabbitmq" else [target]
    by_amqp = metadata.get("protocol") == "amqp" or (
        metadata.get("protocol", "auto") == "auto" and metadata.get("host", "").startswith("amqp")
    )
    return Trigger(
        type=kind,
        name=str(written.get("name") or ""),
        metadata=metadata,
        target=next((float(metadata[name]) for name in names if metadata.get(name, "").strip()), default),
        activation=float(metadata.get(activation) or 0),
        is_value=written.get("metricType") == "Value",
        connects=kind in _CONNECTING or (kind == "rabbitmq" and by_amqp),
        is_cached=bool(written.get("useCachedMetrics")),
    )


def _fallback(written: Mapping[str, Any] | None) -> Fallback | None:
    if written is None:
        return None
    return Fallback(int(written["failureThreshold"]), int(written["replicas"]), written.get("behavior") or "static")


def _modifiers(written: Mapping[str, Any]) -> Modifiers:
    target = str(written.get("target") or "0")
    return Modifiers(
        worked(str(written["formula"])),
        float(target),
        float(written.get("activationTarget") or 0),
        written.get("metricType") == "Value",
        target.isdecimal() and int(target) > 0,
    )


def _held_back(behavior: Mapping[str, Any] | None, pauses_in: bool, pauses_out: bool) -> Mapping[str, Any] | None:
    """The behavior that KEDA writes while one direction is paused."""
    found = behavior
    for is_paused, direction in ((pauses_in, "scaleDown"), (pauses_out, "scaleUp")):
        if is_paused:
            found = {**(found or {}), direction: {**((found or {}).get(direction) or {}), "selectPolicy": "Disabled"}}
    return found
