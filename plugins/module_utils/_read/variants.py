# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant: what was written of it, and the numbers and arguments that follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .._celery.brokers import (
    answers_ping,
    transport_options,
    use_ssl,
)
from .._celery.command import (
    check_extra_params,
    check_settings,
    effective_pool,
    has_remote_control,
    held_by,
    limits_of_pool,
    slots_of,
    worker_args,
)
from .._celery.in_flight import (
    blind_reason,
    unacked_keys,
    visibility_timeout,
    with_late_acknowledgement,
)
from .._celery.sizing import (
    Sizing,
    longest_run,
    memory_per_child,
    pre_stop_seconds,
    resources_in_force,
    sized,
    soft_shutdown,
)
from .._celery.start import celery_command
from .._model.fleet import (
    DEFAULT_BEHAVIOR,
    DEFAULT_RESOURCES,
    DEFAULT_STRATEGY,
    Broker,
    Consumption,
    Knowledge,
    Origin,
    Pod,
    Process,
    Scaling,
    Service,
    UnackedKeys,
    Variant,
    Watch,
)
from .._model.names import (
    deployment_name,
)
from .._model.sources import Source
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.layers import (
    PREFIX,
    Branch,
    Leaf,
    nested,
    stack,
)
from .._schema.problems import Problems
from .._schema.versions import Version
from .inherited import with_environment
from .origins import origins
from .presets import PROFILES, Preset
from .reader import VARIANT_CLASSES, Reader

#: Keys of a variant that say something of an adopted Deployment. All others are its owner's.
ADOPTED_KEYS = key_names(Consumption, Scaling, Knowledge, Watch) | {"termination_grace_period", "pdb"}


def completed(tree: Branch, defaults: dict[str, Any]) -> Branch:
    """Lay a tree over the defaults. A null on top resets to the default, so it must not hide it."""
    kept = {key: child for key, child in tree.children.items() if not (isinstance(child, Leaf) and child.value is None)}
    strategy = kept.get("strategy")
    below = {"resources": DEFAULT_RESOURCES, "strategy": DEFAULT_STRATEGY, **defaults}
    # Both directions stay complete, whichever of them a profile or a task time has changed.
    below["behavior"] = {**DEFAULT_BEHAVIOR, **defaults.get("behavior", {})}
    kind = strategy.get("type") if isinstance(strategy, Branch) else None
    if isinstance(kind, Leaf) and kind.value != DEFAULT_STRATEGY["type"]:
        # Recreate takes no rollingUpdate, and ours is for the default type.
        below["strategy"] = {}
    return stack(nested(below, "collection defaults"), Branch(kept, tree.path))


def read_variant(
    reader: Reader,
    service: Service,
    name: str,
    tree: Branch,
    path: str,
    queue_template: str,
    source: Source | None,
) -> Variant:
    problems = reader.problems
    refuse_unknown("a variant", tree, key_names(*VARIANT_CLASSES), problems)
    knowledge = read(Knowledge, tree, problems)
    blind = _blind_reason(service.broker, tree, knowledge)
    defaults = _variant_defaults(name, knowledge, blind)
    process = read(Process, completed(tree, defaults), problems)
    if process.task_events is None and {"flower", "exporter"} & set(reader.inventory.enabled):
        process = replace(process, task_events=True)
    estimate = _args(service, name, Pod(), (), Consumption(), process, None, {})
    ends_tasks = "time-limit" in limits_of_pool(effective_pool(process))
    hook = pre_stop_seconds(read(Pod, completed(tree, {}), Problems()))
    usual = int(defaults.get("termination_grace_period", Pod().termination_grace_period))
    sizing = sized(knowledge, slots_of(estimate), not blind, ends_tasks, hook, usual)
    complete = completed(tree, {**defaults, **sizing.keys})
    consumption = read(Consumption, complete, problems)
    queues = consumption.queues or (queue_template.replace("{service}", service.name).replace("{variant}", name),)
    adopted = consumption.adopt is True
    pod = with_environment(reader, service.name, source, service.broker, read(Pod, complete, problems))
    pod = _adopted_pod(pod) if adopted else pod
    scaling = _resolved_scaling(read(Scaling, complete, problems), path, problems)
    paths = written_paths(complete)
    check_extra_params(process, paths.get("extra_params", f"{path}.extra_params"), problems)
    check_settings(process, paths.get("settings", f"{path}.settings"), problems)
    process = replace(process, enforce_settings=process.enforce_settings and not adopted)
    left = pod.termination_grace_period - (0 if adopted else hook)
    process = _with_shutdown(process, knowledge, left, sizing, blind, reader.versions.celery)
    unacked = None
    if not blind and service.broker is not None:
        rounds = -(-held_by(estimate) // slots_of(estimate))
        longest = longest_run(knowledge, _args(service, name, Pod(), (), Consumption(), process, None, {}))
        eta, grace = knowledge.longest_eta_seconds or 0.0, pod.termination_grace_period
        visibility = visibility_timeout(process, longest, eta, grace, service.broker, rounds)
        process = replace(process, visibility_timeout=visibility if service.broker.type != "rabbitmq" else None)
        if service.broker.is_redis:
            unacked = unacked_keys(reader.fleet, service.name, name, service.broker)
    memory = memory_per_child(process, resources_in_force(pod), slots_of(estimate))
    settings = _broker_settings(reader.preset, service.broker, unacked, process.visibility_timeout)
    args = _args(service, name, pod, queues, consumption, process, memory, settings)
    written = frozenset(name for name in tree.children if tree.get(name) is not None)
    variant = Variant(
        service=service.name,
        name=name,
        deployment=consumption.name or deployment_name(service.name, name),
        queues=queues,
        consumption=consumption,
        process=process,
        pod=_with_probe(pod, process, service.broker),
        scaling=scaling,
        knowledge=knowledge,
        watch=read(Watch, complete, problems),
        args=args,
        slots=slots_of(args),
        held=held_by(args),
        path=path,
        written_keys=written,
        written=frozenset(child.path for child in tree.children.values()),
        paths=paths,
        sees_in_flight=not blind,
        blind_reason=blind,
        unacked=unacked,
        sizing=_explained(sizing, written, scaling, adopted),
        adopted=adopted,
    )
    worked_out = {name: (value, sizing.reasons[name]) for name, value in sizing.keys.items()}
    variant = replace(variant, origins=tuple(_origins(variant, complete, worked_out, memory)))
    if adopted and scaling.in_flight and reader.inventory.routing_delivery != "tutor_plugin":
        problems.add(
            variant.path_of("in_flight"),
            f"{variant.title} is adopted, so its key must stand in settings that Tutor renders: write "
            f"{PREFIX}routing_delivery: tutor_plugin, or leave in_flight out, which keeps one pod.",
        )
    return variant


def _origins(variant: Variant, tree: Branch, rules: dict[str, tuple[Any, str]], memory: int | None) -> Iterator[Origin]:
    """Where the numbers of a variant come from, those included that follow from others."""
    least = variant.blind_reason or "the scaler sees running work"
    found = {"min_replicas": (variant.scaling.min_replicas, f"default, because {least}"), **rules}
    if memory is not None:
        found["max_memory_per_child"] = (memory, "KiB of the memory limit that one child may have")
    if variant.process.visibility_timeout is not None:
        found["visibility_timeout"] = (
            variant.process.visibility_timeout,
            "an hour at least, and longer than the tasks and the grace period, or of the broker's transport_options",
        )
    parts = (variant.process, variant.pod, variant.scaling, variant.knowledge)
    name = variant.knowledge.profile or ""
    own = parts[1:] if variant.adopted else parts
    return origins(own, tree, found, (name, PROFILES.get(name, {})), variant.scaling.scaler or "none")


def _blind_reason(broker: Broker | None, tree: Branch, knowledge: Knowledge) -> str:
    """Why the scaler would not see what workers hold, from the keys as far as they are known so early."""
    silent = Problems()
    if read(Consumption, tree, silent).adopt and read(Scaling, tree, silent).in_flight is not True:
        return "adopted, so its owner may restore its own arguments"
    scaling = _resolved_scaling(read(Scaling, tree, silent), "", silent)
    if read(Process, tree, silent).acks_late is False and scaling.in_flight is None:
        return "acks_late is false, so running work is invisible"
    return blind_reason(broker, scaling, knowledge)


def _variant_defaults(name: str, knowledge: Knowledge, blind: str) -> dict[str, Any]:
    profile = PROFILES.get(knowledge.profile or "", {})
    # Only who sees running work may take the last pod away.
    return {"max_replicas": 10 if name == "default" else 30, "min_replicas": 1 if blind else 0, **profile}


def _with_shutdown(
    process: Process, knowledge: Knowledge, grace: int, sizing: Sizing, blind: str, celery: Version | None
) -> Process:
    """What follows for the end of a task and of a pod, where it is not written by hand."""
    process = replace(process, time_limit=process.time_limit or sizing.keys.get("time_limit"))
    if not blind:
        process = with_late_acknowledgement(process, effective_pool(process), celery)
    timeout = soft_shutdown(process, knowledge, grace)
    if timeout and timeout != process.soft_shutdown_timeout:
        sizing.set("soft_shutdown_timeout", timeout, f"the grace period of {grace} s is below longest_task_seconds")
    return replace(process, soft_shutdown_timeout=timeout)


def _explained(sizing: Sizing, written: frozenset[str], scaling: Scaling, adopted: bool) -> tuple[str, ...]:
    """What was worked out and holds, because nobody wrote it by hand and somebody reads it."""
    unread = set() if scaling.scaler == "keda" else {"list_length", "cooldown_period"}
    unread |= {"behavior"} if scaling.scaler == "none" else set()
    unread |= {"cooldown_period"} if scaling.min_replicas and scaling.idle_replicas is None else set()
    unread |= set(sizing.keys) - ADOPTED_KEYS if adopted else set()
    shown = {name: value for name, value in sizing.keys.items() if name not in written | unread}
    return tuple(
        f"{name}: {sizing.reasons[name]}" if isinstance(value, dict) else f"{name} {value}: {sizing.reasons[name]}"
        for name, value in shown.items()
    )


def _broker_settings(
    preset: Preset, broker: Broker | None, unacked: UnackedKeys | None, visibility: int | None
) -> dict[str, Any]:
    """Settings of a worker that follow from its broker.

    What the preset knows of the app's own options is repeated only where ours replace them.
    """
    options = transport_options(broker, unacked, visibility)
    if options:
        options = {**preset.transport_options, **options}
    return {"broker_use_ssl": use_ssl(broker), "broker_transport_options": options}


def written_paths(tree: Branch) -> dict[str, str]:
    """Where the inventory wrote each key that it wrote."""
    return {key: node.path for key, node in tree.children.items() if node.path.startswith(PREFIX)}


def _args(
    service: Service,
    name: str,
    pod: Pod,
    queues: tuple[str, ...],
    consumption: Consumption,
    process: Process,
    memory: int | None,
    settings: dict[str, Any],
) -> tuple[str, ...]:
    return worker_args(
        celery_command(pod, service.app), f"{service.name}.{name}", queues, consumption, process, memory, settings
    )


def _adopted_pod(pod: Pod) -> Pod:
    """What is ours of an adopted Deployment's pods."""
    return Pod(termination_grace_period=pod.termination_grace_period, pdb=pod.pdb)


def _with_probe(pod: Pod, process: Process, broker: Broker | None) -> Pod:
    """Settle on a probe. A ping needs a broker it reaches as the worker does, and a worker that listens while busy."""
    if pod.probe.type is not None:
        return pod
    listens = effective_pool(process) != "solo" and has_remote_control(process)
    kind = "ping" if broker is not None and answers_ping(broker) and listens else "none"
    return replace(pod, probe=replace(pod.probe, type=kind))


def _resolved_scaling(scaling: Scaling, path: str, problems: Problems) -> Scaling:
    if scaling.enable_keda and scaling.scaler in ("none", "hpa"):
        problems.add(f"{path}.scaler", f"scaler is {scaling.scaler} and enable_keda is true; write one of them.")
    return replace(scaling, scaler=scaling.scaler or ("keda" if scaling.enable_keda else "none"))
