# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that nothing reads, because of what other keys of the variant say.

Only where they stand on the variant itself: in shared defaults they are for the variants that read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from .._celery.command import effective_pool
from .._model.broker import Broker
from .._model.fleet import Variant
from .._model.probes import Probe
from .._model.variant_keys import Scaling
from .._schema.problems import Problems
from .risks import PathOf

#: Keys that a run with any number of pods is told of, because people write them first.
_COUNTS = ("min_replicas", "max_replicas")
#: Keys by which KEDA scales, and nothing else.
_KEDA = (
    "list_length",
    "activation_list_length",
    "polling_interval",
    "cooldown_period",
    "initial_cooldown_period",
    "idle_replicas",
    "hold",
    "fallback",
    "extra_triggers",
    "scaled_object_annotations",
)
#: Keys by which Kubernetes' own autoscaler scales, and nothing else.
_RESOURCES = ("cpu_utilization", "memory_utilization")
_DEFAULTS = {item.name: item.default for item in fields(Scaling)}
#: Keys of a probe that one type reads alone.
_TYPES = {"heartbeat_seconds": "heartbeat", "consuming_seconds": "consuming"}
#: Keys of the checks themselves; the first two are those of liveness alone.
_CHECKS = ("period_seconds", "failures", "timeout_seconds", "startup_seconds")
#: What makes a scaler see what workers hold, by how the reason begins why it does not.
_TO_SEE = {
    "in_flight is": "leave in_flight out",
    "acks_late is": "leave acks_late out",
    "idempotent is": "write idempotent: true if every task may run twice",
}
#: Keys of a pool with child processes.
_CHILDREN = ("optimization", "max_tasks_per_child", "max_memory_per_child")


def is_own(variant: Variant, path: str, key: str) -> bool:
    """Whether a key was written on the variant itself, and not for several."""
    return path.endswith(f".{variant.service}.{variant.name}.{key}") and path in variant.written


def _is_own_of_probe(variant: Variant, key: str) -> bool:
    """The same for a key of its probe, of which each may come from another layer."""
    end = f".{variant.service}.{variant.name}.probe.{key}"
    return any(path.endswith(end) for path in variant.probe_written)


def check_without_effect(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    """Note what is asked of a scaler, or of a probe, that does not read it."""
    for names, reason in _unread(variant):
        for name in names:
            path = path_of(name)
            asks = name in _COUNTS or getattr(variant.scaling, name) != _DEFAULTS[name]
            if asks and is_own(variant, path, name):
                problems.warn(path, f"{name} of {variant.title} has no effect: {reason}.")
    if variant.scaling.scaler == "hpa" and variant.scaling.paused:
        _refuse_pause(variant, path_of("paused"), problems)
    probe = variant.pod.probe
    for name, kind in _TYPES.items():
        asks = getattr(probe, name) != getattr(Probe(), name) and probe.type != kind
        if asks and _is_own_of_probe(variant, name):
            problems.warn(
                path_of("probe"),
                f"{name} of {variant.title} has no effect with type {probe.type}. Write type: {kind}, or leave it out.",
            )


def check_unread_by_worker(variant: Variant, broker: Broker | None, path_of: PathOf, problems: Problems) -> None:
    """Note what is asked of a worker, of a Deployment or of Jobs, whose pool, broker or probe does not read it."""
    for name, reason in [*_unread_of_process(variant, broker), *_unread_of_checks(variant.pod.probe)]:
        path = path_of(name)
        if is_own(variant, path, name):
            problems.warn(path, f"{name} of {variant.title} has no effect: {reason}.")
        elif _is_own_of_probe(variant, name):
            problems.warn(path_of("probe"), f"{name} of {variant.title} has no effect: {reason}.")


def _unread(variant: Variant) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys that are not read, and why."""
    if variant.has_scaler:
        yield ("replicas",), "the scaler decides on the number of pods"
    else:
        yield (*_COUNTS, *_KEDA, "behavior", "paused"), "without enable_keda: true nothing scales"
    if variant.scaling.scaler == "hpa":
        yield _KEDA, "with scaler: hpa Kubernetes scales by CPU and memory"
    else:
        yield _RESOURCES, "scaler: hpa reads it alone"


def _unread_of_process(variant: Variant, broker: Broker | None) -> Iterator[tuple[str, str]]:
    """Keys that its pool, its broker or its scaler does not read, and why."""
    pool = effective_pool(variant.process)
    if pool == "solo":
        yield "concurrency", "the pool solo runs one task at a time; write another pool"
    if pool != "prefork":
        for name in _CHILDREN:
            yield name, f"the pool {pool} has no child processes; write pool: prefork"
    if broker is not None and broker.is_sound and broker.type == "rabbitmq":
        yield "visibility_timeout", "RabbitMQ has none, and its own limit is consumer_timeout of the broker"
    if broker is None:
        yield "visibility_timeout", "no broker is known; write celery_workers_broker"
    if variant.uses_keda and not variant.sees_in_flight:
        yield "hold", f"the scaler does not see what workers hold ({variant.blind_reason}); {_to_see(variant)}"


def _to_see(variant: Variant) -> str:
    """What to write so that its scaler sees what workers hold."""
    found = (advice for words, advice in _TO_SEE.items() if variant.blind_reason.startswith(words))
    return next(found, "leave hold out")


def _unread_of_checks(probe: Probe) -> Iterator[tuple[str, str]]:
    """Numbers of checks that are not made, and why."""
    if probe.type == "none":
        for name in _CHECKS:
            yield name, "there is no check with type none; write another type"
    elif probe.liveness is False or (probe.liveness is None and probe.type == "ping"):
        for name in _CHECKS[:2]:
            yield name, "only liveness reads it, and that is off; write liveness: true, or a type with it"


def _refuse_pause(variant: Variant, path: str, problems: Problems) -> None:
    message = (
        f"Kubernetes' own autoscaler scales {variant.title}, and has no pause. Set min_replicas and max_replicas to "
        "the same number instead, or write scaler: keda."
    )
    if is_own(variant, path, "paused"):
        problems.add(path, message)
    else:
        problems.warn(path, message)
