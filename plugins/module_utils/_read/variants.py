# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant: what was written of it, and the numbers and arguments that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    read_arguments,
    slots_of,
    worker_args,
)
from .._celery.in_flight import (
    blind_reason,
    starts_key,
    unacked_keys,
    visibility_timeout,
    with_late_acknowledgement,
)
from .._celery.sizing import (
    Idle,
    Sizing,
    behavior_in_force,
    for_break_even,
    for_growth,
    for_jobs,
    for_slots,
    longest_run,
    memory_per_child,
    pre_stop_seconds,
    resources_in_force,
    sized,
    soft_shutdown,
)
from .._celery.start import celery_command
from .._model.broker import Broker, UnackedKeys
from .._model.fleet import Origin, Service, Variant, variant_title
from .._model.job_keys import Jobs
from .._model.names import (
    deployment_name,
)
from .._model.sources import Source
from .._model.variant_keys import (
    DEFAULT_BEHAVIOR,
    DEFAULT_RESOURCES,
    DEFAULT_STRATEGY,
    Consumption,
    Knowledge,
    Pod,
    Process,
    Scaling,
    Watch,
)
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.layers import (
    PREFIX,
    Branch,
    Leaf,
    nested,
    stack,
    without_layer,
)
from .._schema.problems import Problems
from .._schema.versions import Version
from .inherited import with_environment
from .origins import origins
from .presets import PROFILES, Preset
from .reader import VARIANT_CLASSES, Reader

#: Keys of a variant that say something of an adopted Deployment. All others are its owner's.
ADOPTED_KEYS = (key_names(Consumption, Scaling, Knowledge, Watch) | {"termination_grace_period", "pdb"}) - {
    "idle_first"
}


def completed(tree: Branch, defaults: dict[str, Any]) -> Branch:
    """Lay a tree over the defaults. A null on top resets to the default, so it must not hide it."""
    kept = {key: child for key, child in tree.children.items() if not (isinstance(child, Leaf) and child.value is None)}
    strategy = kept.get("strategy")
    below: dict[str, Any] = dict(defaults)
    # What is merged key by key. A key that is not written at all has its default anyway.
    if "resources" in kept:
        below.setdefault("resources", DEFAULT_RESOURCES)
    if "strategy" in kept:
        below.setdefault("strategy", DEFAULT_STRATEGY)
    # Both directions stay complete, whichever of them a profile or a task time has changed.
    below["behavior"] = {**DEFAULT_BEHAVIOR, **defaults.get("behavior", {})}
    kind = strategy.get("type") if isinstance(strategy, Branch) else None
    if isinstance(kind, Leaf) and kind.value != DEFAULT_STRATEGY["type"]:
        # Recreate takes no rollingUpdate, and ours is for the default type.
        below["strategy"] = {}
    return stack(nested(below, "collection defaults"), Branch(kept, tree.path))


@dataclass(frozen=True)
class Written:
    """What was written of one variant.

    :param tree: its keys with those of all places below it.
    :param own: its keys alone.
    :param queue_template: the queue of a variant that names none.
    :param source: the Deployment that its workers are made like.
    """

    service: Service
    name: str
    tree: Branch
    own: Branch
    queue_template: str
    source: Source | None

    @property
    def path(self) -> str:
        """Where the variant itself was written."""
        return self.own.path

    def args(
        self,
        process: Process,
        pod: Pod | None = None,
        queues: tuple[str, ...] = (),
        consumption: Consumption | None = None,
        memory: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """The arguments of its workers, as far as they are known: enough to count slots with, or all of them."""
        command = celery_command(pod or Pod(), self.service.app)
        name = f"{self.service.name}.{self.name}"
        return worker_args(command, name, queues, consumption or Consumption(), process, memory, dict(settings or {}))


@dataclass(frozen=True)
class _Numbers:
    """What follows from what people know of their tasks.

    :param jobs: what runs the workers.
    :param blind: why the scaler does not see running work; empty if it does.
    :param process: the process before its end is settled.
    :param pre_stop: seconds of a hook before the worker is told to stop.
    :param keys: everything that holds: written, worked out, or a default.
    """

    knowledge: Knowledge
    jobs: Jobs
    blind: str
    process: Process
    pre_stop: int
    sizing: Sizing
    keys: Branch


@dataclass(frozen=True)
class _Parts:
    """A variant in the making."""

    consumption: Consumption
    scaling: Scaling
    pod: Pod
    process: Process
    unacked: UnackedKeys | None
    memory: int | None
    args: tuple[str, ...]

    @property
    def is_adopted(self) -> bool:
        """Whether the Deployment is its owner's."""
        return self.consumption.adopt is True


def read_variant(reader: Reader, written: Written) -> Variant:
    """A variant: its numbers first, then its process and pod, and the arguments that follow from all of them."""
    refuse_unknown("a variant", written.tree, key_names(*VARIANT_CLASSES), reader.problems)
    numbers = _numbers(reader, written)
    parts = _parts(reader, written, numbers)
    variant = _variant(reader, written, numbers, parts)
    if reader.inventory.explains:
        variant = replace(variant, origins=tuple(_origins(variant, numbers, parts.memory)))
    if variant.adopted and variant.scaling.in_flight and reader.inventory.routing_delivery != "tutor_plugin":
        reader.problems.add(
            variant.path_of("in_flight"),
            f"{variant.title} is adopted, so its key must be in the settings that Tutor renders: write "
            f"{PREFIX}routing_delivery: tutor_plugin, or leave in_flight out, which keeps one pod.",
        )
    return variant


def _numbers(reader: Reader, written: Written) -> _Numbers:
    tree, problems = written.tree, reader.problems
    knowledge, jobs = read(Knowledge, tree, problems), read(Jobs, tree, problems)
    blind = _blind_reason(written.service.broker, tree, knowledge, jobs)
    defaults = _variant_defaults(written.name, knowledge, blind, jobs)
    early = completed(tree, defaults)
    process = read(Process, early, problems)
    if process.task_events is None and {"flower", "exporter"} & set(reader.inventory.enabled):
        process = replace(process, task_events=True)
    pre_stop = pre_stop_seconds(read(Pod, tree.only("lifecycle", "pod_overrides"), Problems()))
    ends_tasks = "time-limit" in limits_of_pool(effective_pool(process))
    grace = int(defaults.get("termination_grace_period", Pod().termination_grace_period))
    slots = slots_of(written.args(process))
    profile = PROFILES.get(knowledge.profile or "", {})
    polling = read(Scaling, early.only("polling_interval"), Problems()).polling_interval
    sizing = sized(knowledge, slots, not blind, ends_tasks, pre_stop, grace, polling)
    for_slots(sizing, knowledge.profile or "", profile, slots)
    if jobs.are_used:
        for_jobs(sizing, slots, knowledge.longest_eta_seconds or 0.0)
    else:
        _for_pace(sizing, knowledge, blind, completed(tree, sizing.over(defaults)), pre_stop)
    return _Numbers(knowledge, jobs, blind, process, pre_stop, sizing, completed(tree, sizing.over(defaults)))


def _for_pace(sizing: Sizing, knowledge: Knowledge, blind: str, keys: Branch, pre_stop: int) -> None:
    """How soon pods come, and go without work, for those who have said something of their tasks.

    :param keys: what holds so far.
    """
    profile = PROFILES.get(knowledge.profile or "", {})
    asked = knowledge.longest_task_seconds or knowledge.start_seconds or "behavior" in profile
    if not asked and not knowledge.task_seconds:
        return
    known = keys.only("polling_interval", *_SCALERS)
    scaling = _resolved_scaling(read(Scaling, known, Problems()), Jobs(), "", Problems())
    if scaling.scaler != "keda":
        return
    if knowledge.task_seconds:
        for_growth(sizing, knowledge)
    if not asked:
        return
    # A profile that scales down slowly has a grace period for the longest task that it is made for.
    made_for = profile["termination_grace_period"] if "behavior" in profile else 0
    grace = read(Pod, keys.only("termination_grace_period"), Problems()).termination_grace_period - pre_stop
    longest = knowledge.longest_task_seconds or made_for
    idle = Idle(knowledge.start_seconds, scaling.polling_interval, longest, grace, blind)
    for_break_even(sizing, idle, profile)


def _parts(reader: Reader, written: Written, numbers: _Numbers) -> _Parts:
    keys, problems, service, process = numbers.keys, reader.problems, written.service, numbers.process
    consumption = read(Consumption, keys, problems)
    adopted = consumption.adopt is True
    pod = with_environment(reader, service.name, written.source, service.broker, read(Pod, keys, problems))
    pod = _adopted_pod(pod) if adopted else pod
    scaling = _resolved_scaling(read(Scaling, keys, problems), numbers.jobs, written.path, problems)
    scaling = replace(scaling, behavior=behavior_in_force(scaling, reader.versions))
    paths = written_paths(keys)
    check_extra_params(process, paths.get("extra_params", f"{written.path}.extra_params"), problems)
    check_settings(process, paths.get("settings", f"{written.path}.settings"), problems)
    process = _with_launcher(reader, written, process, adopted)
    left = pod.termination_grace_period - (0 if adopted else numbers.pre_stop)
    process = _with_shutdown(process, numbers.knowledge, left, numbers.sizing, numbers.blind, reader.versions.celery)
    process, unacked = _with_visibility(reader, written, numbers, process, pod)
    memory = memory_per_child(process, resources_in_force(pod), slots_of(written.args(numbers.process)))
    settings = _broker_settings(reader.preset, service.broker, unacked, process.visibility_timeout)
    args = written.args(process, pod, _queues(written, consumption), consumption, memory, settings)
    return _Parts(consumption, scaling, pod, process, unacked, memory, args)


def _with_launcher(reader: Reader, written: Written, process: Process, adopted: bool) -> Process:
    """The process with what is done by the file that starts it, which cannot be in a pod of somebody else's.

    Starts of tasks that are acknowledged early cannot be limited, so a limit that variants share is for the others.
    """
    if adopted:
        return replace(process, enforce_settings=False, max_starts=None)
    if process.max_starts is None:
        return process
    if process.acks_late is False and written.own.get("max_starts") is None:
        _warn_of_starts(reader, written)
        return replace(process, max_starts=None)
    return replace(process, starts_key=starts_key(reader.fleet, written.service.name, written.name))


def _warn_of_starts(reader: Reader, written: Written) -> None:
    """Say that a limit of starts has no effect where the same defaults acknowledge early."""
    paths = written_paths(written.tree)
    limit, early = (without_layer(paths.get(name, "")).rpartition(".")[0] for name in ("max_starts", "acks_late"))
    if limit and limit == early:
        reader.problems.warn(
            paths["max_starts"],
            f"max_starts of {variant_title(written.service.name, written.name)} has no effect: acks_late is false "
            "there, too. Write acks_late: true if every task may run twice.",
        )


def _with_visibility(
    reader: Reader, written: Written, numbers: _Numbers, process: Process, pod: Pod
) -> tuple[Process, UnackedKeys | None]:
    """The process with the visibility timeout that its tasks need, and the keys by which the scaler sees them."""
    broker = written.service.broker
    if numbers.blind or broker is None:
        return process, None
    estimate = written.args(numbers.process)
    rounds = -(-held_by(estimate) // slots_of(estimate))
    longest = longest_run(numbers.knowledge, written.args(process))
    eta = numbers.knowledge.longest_eta_seconds or 0.0
    visibility = visibility_timeout(process, longest, eta, pod.termination_grace_period, broker, rounds)
    process = replace(process, visibility_timeout=visibility if broker.type != "rabbitmq" else None)
    keys = unacked_keys(reader.fleet, written.service.name, written.name, broker) if broker.is_redis else None
    return process, keys


def _queues(written: Written, consumption: Consumption) -> tuple[str, ...]:
    template = written.queue_template
    return consumption.queues or (
        template.replace("{service}", written.service.name).replace("{variant}", written.name),
    )


def _variant(reader: Reader, written: Written, numbers: _Numbers, parts: _Parts) -> Variant:
    tree, service = written.tree, written.service
    written_keys = frozenset(name for name in tree.children if tree.get(name) is not None)
    return Variant(
        service=service.name,
        name=written.name,
        deployment=parts.consumption.name or deployment_name(service.name, written.name),
        queues=_queues(written, parts.consumption),
        consumption=parts.consumption,
        process=parts.process,
        pod=_with_probe(parts.pod, parts.process, service.broker),
        scaling=parts.scaling,
        knowledge=numbers.knowledge,
        watch=read(Watch, numbers.keys, reader.problems),
        jobs=numbers.jobs,
        args=parts.args,
        slots=slots_of(parts.args),
        held=held_by(parts.args),
        path=written.path,
        written_keys=written_keys,
        written=frozenset(child.path for child in tree.children.values()),
        probe_written=frozenset(_probe_paths(tree)),
        paths=written_paths(numbers.keys),
        sees_in_flight=not numbers.blind,
        blind_reason=numbers.blind,
        unacked=parts.unacked,
        sizing=_explained(numbers, written_keys, parts.scaling, parts.is_adopted),
        adopted=parts.is_adopted,
    )


def _origins(variant: Variant, numbers: _Numbers, memory: int | None) -> Iterator[Origin]:
    """Where the numbers of a variant come from, those included that follow from others."""
    sizing = numbers.sizing
    rules = {name: (value, sizing.reasons[name]) for name, value in sizing.keys.items()}
    least = variant.blind_reason or "the scaler sees running work"
    found = {"min_replicas": (variant.scaling.min_replicas, f"default, because {least}"), **rules}
    found |= _of_arguments(variant.process, variant.paths.get("extra_params", "extra_params"))
    if memory is not None:
        found["max_memory_per_child"] = (memory, "KiB of the memory limit that one child may have")
    if variant.process.visibility_timeout is not None:
        found["visibility_timeout"] = (
            variant.process.visibility_timeout,
            "an hour at least, and longer than the tasks and the grace period, or of the broker's transport_options",
        )
    own_jobs = (variant.jobs,) if variant.runs_as_jobs else ()
    parts = (variant.process, variant.pod, variant.scaling, *own_jobs, variant.knowledge)
    name = variant.knowledge.profile or ""
    own = parts[1:] if variant.adopted else parts
    return origins(own, numbers.keys, found, (name, PROFILES.get(name, {})), variant.scaling.scaler or "none")


def _of_arguments(process: Process, path: str) -> dict[str, tuple[float, str]]:
    """Numbers of the process that an argument of its own replaces."""
    extra, _strange = read_arguments(process.extra_params)
    options = {option.name.replace("-", "_"): option.value or "" for option in extra}
    numbers = key_names(Process) & set(options)
    return {name: (int(options[name]), path) for name in numbers if options[name].isdecimal()}


#: What names the scaler.
_SCALERS = ("scaler", "enable_keda")


def _blind_reason(broker: Broker | None, tree: Branch, knowledge: Knowledge, jobs: Jobs) -> str:
    """Why the scaler would not see what workers hold, from the keys as far as they are known so early."""
    silent = Problems()
    scaling = _resolved_scaling(read(Scaling, tree.only("in_flight", *_SCALERS), silent), jobs, "", silent)
    if read(Consumption, tree.only("adopt"), silent).adopt and scaling.in_flight is not True:
        return "adopted, so its owner may restore its own arguments"
    if read(Process, tree.only("acks_late"), silent).acks_late is False and scaling.in_flight is None:
        return "acks_late is false, so running work is invisible"
    return blind_reason(broker, scaling, knowledge)


def _variant_defaults(name: str, knowledge: Knowledge, blind: str, jobs: Jobs) -> dict[str, Any]:
    profile = PROFILES.get(knowledge.profile or "", {})
    if jobs.are_used:
        # One task a Job: with more, what waits cannot use the free slots of one that ends after its task.
        return {"max_replicas": 10 if name == "default" else 30, "concurrency": 1, **profile, "min_replicas": 0}
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


def _explained(numbers: _Numbers, written: frozenset[str], scaling: Scaling, adopted: bool) -> tuple[str, ...]:
    """What was worked out and holds, because nobody wrote it by hand and somebody reads it."""
    sizing = numbers.sizing
    unread = set() if scaling.scaler == "keda" else {"list_length", "cooldown_period"}
    unread |= set() if scaling.scaler == "keda" and not numbers.blind else {"hold"}
    unread |= {"behavior"} if scaling.scaler == "none" or numbers.jobs.are_used else set()
    unread |= {"hold", "cooldown_period"} if numbers.jobs.are_used else set()
    unread |= {"cooldown_period"} if scaling.min_replicas and scaling.idle_replicas is None else set()
    unread |= set(sizing.keys) - ADOPTED_KEYS if adopted else set()
    shown = {name: value for name, value in sizing.keys.items() if name not in written | unread}
    lines = (
        f"{name}: {sizing.reasons[name]}" if isinstance(value, dict) else f"{name} {value}: {sizing.reasons[name]}"
        for name, value in shown.items()
    )
    return (*lines, *(() if "behavior" in written | unread else sizing.notes))


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


def _probe_paths(tree: Branch) -> Iterator[str]:
    """Where each key of the probe was written."""
    probe = tree.get("probe")
    if isinstance(probe, Branch):
        yield from (child.path for child in probe.children.values())


def written_paths(tree: Branch) -> dict[str, str]:
    """Where the inventory wrote each key that it wrote."""
    return {key: node.path for key, node in tree.children.items() if node.path.startswith(PREFIX)}


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


def _resolved_scaling(scaling: Scaling, jobs: Jobs, path: str, problems: Problems) -> Scaling:
    if jobs.are_used:
        if scaling.scaler in ("none", "hpa"):
            problems.add(
                f"{path}.scaler",
                f"scaler is {scaling.scaler} and run_as is jobs, whose number KEDA decides on; leave scaler out.",
            )
        return replace(scaling, scaler="keda")
    if scaling.enable_keda and scaling.scaler in ("none", "hpa"):
        problems.add(f"{path}.scaler", f"scaler is {scaling.scaler} and enable_keda is true; write one of them.")
    return replace(scaling, scaler=scaling.scaler or ("keda" if scaling.enable_keda else "none"))
