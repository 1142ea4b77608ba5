# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: the safety rules, which find what would lose, hide or repeat work before anything is sent.

Each has an id, which its message names and accept_risks takes, and a section on the page "Safety rules".
Figures and sources: Celery 5.4 to 5.7, kombu 5.7, KEDA 2.20, Kubernetes 1.36.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansible_collections.queueops.celery.plugins.module_utils._brokers import address_of, physical_queue, place_of
from ansible_collections.queueops.celery.plugins.module_utils._command import has_remote_control, written_options
from ansible_collections.queueops.celery.plugins.module_utils._demand import (
    FORMULA_TYPES,
    RESOURCE_TYPES,
    needs_formula,
)
from ansible_collections.queueops.celery.plugins.module_utils._in_flight import (
    DEFAULT_VISIBILITY,
    LONGEST_SQS_VISIBILITY,
)
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker, Fleet, Service, Variant, titles_of
from ansible_collections.queueops.celery.plugins.module_utils._problems import Problems, suggest
from ansible_collections.queueops.celery.plugins.module_utils._sizing import (
    NODE_GRACE,
    SAFE_TO_EVICT,
    SHUTDOWN_RESERVE,
    SOFT_SHUTDOWN_RESERVE,
    longest_run,
)
from ansible_collections.queueops.celery.plugins.module_utils._versions import Versions, as_text, older

#: Every rule that accept_risks may name, with what it is about.
RULES = {
    "autoscale": "--autoscale beside a scaler",
    "child-lost": "late acknowledgement that gives the task of a killed child up",
    "connections": "more connections than the broker or the database accepts",
    "consumer-timeout": "RabbitMQ takes a message away before its task is done",
    "delivery-limit": "RabbitMQ drops a message that was returned too often",
    "disable-prefetch": "disable_prefetch with early acknowledgement",
    "early-acknowledgement": "in-flight tracking with early acknowledgement",
    "eta-limit": "worker_eta_task_limit",
    "fallback-zero": "a fallback of no pods",
    "heartbeat-off": "no worker heartbeats while something needs them",
    "invisible-work": "scale to zero while running work is invisible to the scaler",
    "long-grace": "a grace period that node scale-down does not honour",
    "no-time-limit": "no time limit beside a scaler",
    "plain-secret": "an environment value that looks like a secret",
    "prefetch": "reserved messages that a scaler does not see",
    "secret-argument": "a secret on a worker's command line",
    "selector-overlap": "two Deployments whose pods one autoscaler counts together",
    "shared-queue": "two variants consume one queue",
    "short-cooldown": "scale to zero sooner than the longest task takes",
    "short-grace": "a pod is killed before its longest task is done",
    "slow-drain": "one pod's share of the queue takes longer than anybody should wait",
    "soft-shutdown": "a soft shutdown that does not fit into the grace period",
    "version": "a feature that the installed version does not have",
    "visibility-timeout": "a message is delivered again while its task still runs or waits",
}

#: Deliveries after which a quorum queue of RabbitMQ 4 drops a message.
DELIVERY_LIMIT = 20

PathOf = Callable[[str], str]


@dataclass(frozen=True)
class _Case:
    """One variant before its judges."""

    variant: Variant
    service: Service
    versions: Versions
    path_of: PathOf
    problems: Problems

    @property
    def who(self) -> str:
        return self.variant.title

    @property
    def broker(self) -> Broker | None:
        """The service's broker, as far as there is nothing wrong with it."""
        broker = self.service.broker
        return broker if broker is not None and broker.is_sound else None

    def accepts(self, rule: str) -> bool:
        return rule in self.variant.knowledge.accept_risks

    def refuse(self, rule: str, key: str, message: str) -> None:
        """Stop the run, unless the user accepts the risk."""
        if not self.accepts(rule):
            self.problems.add(self.path_of(key), with_rule(message, rule))

    def warn(self, rule: str, key: str, message: str) -> None:
        """Say it, unless the user accepts the risk."""
        if not self.accepts(rule):
            self.problems.warn(self.path_of(key), with_rule(message, rule))


def with_rule(message: str, rule: str) -> str:
    """A message with the rule that it comes from, as accept_risks takes it."""
    return f"{message} Or accept it with accept_risks: [{rule}]."


def check_safety(variant: Variant, service: Service, versions: Versions, path_of: PathOf, problems: Problems) -> None:
    """Rules within one variant.

    :param path_of: where a key of this variant was written.
    """
    case = _Case(variant, service, versions, path_of, problems)
    for judge in _JUDGES:
        judge(case)


def _known_risks(case: _Case) -> None:
    for risk in case.variant.knowledge.accept_risks:
        if risk not in RULES:
            case.problems.add(case.path_of("accept_risks"), f"there is no rule {risk!r}; {suggest(risk, RULES)}")


def _invisible_work(case: _Case) -> None:
    variant = case.variant
    if not variant.goes_to_zero or variant.sees_in_flight:
        return
    mend = "Set min_replicas: 1" if variant.scaling.min_replicas == 0 else "Leave idle_replicas out"
    eta = variant.knowledge.longest_eta_seconds
    waiting = (
        f" Tasks with an ETA of up to {eta:g} s leave the queue at once, so it would also go to 0 and back until they "
        "are due."
        if eta
        else ""
    )
    case.refuse(
        "invisible-work",
        "min_replicas",
        f"{case.who} would go to 0 pods while tasks still run, because its scaler sees waiting messages only "
        f"({variant.blind_reason}).{waiting} {mend}, or idempotent: true if every task may run twice.",
    )


def _early_acknowledgement(case: _Case) -> None:
    variant = case.variant
    if not variant.sees_in_flight:
        if variant.scaling.in_flight and not variant.knowledge.idempotent:
            case.problems.add(
                case.path_of("in_flight"),
                "in_flight needs late acknowledgement, after which a task may run twice; set idempotent: true for "
                f"{case.who} if every task bears that.",
            )
        elif (
            variant.uses_keda
            and variant.knowledge.idempotent
            and variant.process.acks_late is False
            and variant.scaling.in_flight is None
        ):
            case.warn(
                "early-acknowledgement",
                "acks_late",
                f"{case.who} is idempotent and has acks_late: false, so its scaler does not see running work and one "
                "pod stays up. Leave acks_late out.",
            )
        return
    if variant.process.acks_late is False:
        case.refuse(
            "early-acknowledgement",
            "acks_late",
            f"{case.who} tracks in-flight work and has acks_late: false, so running tasks are invisible to its scaler "
            "and lost with their pod. Leave acks_late out, or set in_flight: false, which keeps one pod up.",
        )


def _child_lost(case: _Case) -> None:
    process = case.variant.process
    if process.acks_late and process.reject_on_worker_lost is False and case.variant.sees_in_flight:
        case.warn(
            "child-lost",
            "reject_on_worker_lost",
            f"{case.who} acknowledges late and has reject_on_worker_lost: false, so the task of a child that the "
            "kernel kills is acknowledged as failed and gone. Leave reject_on_worker_lost out.",
        )


def _disable_prefetch(case: _Case) -> None:
    variant = case.variant
    off = variant.process.disable_prefetch or "disable-prefetch" in written_options(variant.args)
    if off and not variant.acknowledges_late:
        key = "disable_prefetch" if variant.process.disable_prefetch else "extra_params"
        case.refuse(
            "disable-prefetch",
            key,
            f"with early acknowledgement and without prefetch a killed worker of {case.who} loses its tasks without "
            "trace; set acks_late: true, or leave disable_prefetch out.",
        )


def _prefetch(case: _Case) -> None:
    variant = case.variant
    options = written_options(variant.args)
    written = options.get("prefetch-multiplier") or "1"
    if not variant.uses_keda or not written.isdigit() or written == "1":
        return
    by_hand = "prefetch-multiplier" in written_options(variant.process.extra_params)
    key = "extra_params" if by_hand else "prefetch_multiplier"
    if written == "0":
        case.refuse(
            "prefetch",
            key,
            f"prefetch multiplier 0 lets the first pod of {case.who} take the whole queue, so that its scaler sees no "
            "backlog and adds no pod. Write 1 or more.",
        )
    elif not variant.sees_in_flight and "disable-prefetch" not in options:
        case.warn(
            "prefetch",
            key,
            f"each pod of {case.who} reserves {int(written) * variant.slots} messages, which its scaler does not see. "
            "Write prefetch_multiplier: 1.",
        )


def _grace(case: _Case) -> None:
    variant = case.variant
    longest, grace = variant.knowledge.longest_task_seconds, variant.pod.termination_grace_period
    soft = variant.process.soft_shutdown_timeout or 0
    # Without sight of in-flight work nothing is held.
    is_held = variant.uses_keda and variant.sees_in_flight and variant.scaling.hold == "pods"
    if longest and grace < longest and not _gives_back(variant) and not is_held:
        requeue = (
            f", or, with acks_late: true, soft_shutdown_timeout: {grace - SHUTDOWN_RESERVE}, which gives the task "
            "back in time"
            if grace > SHUTDOWN_RESERVE
            else ""
        )
        case.refuse(
            "short-grace",
            "termination_grace_period",
            f"a pod of {case.who} is killed {grace} s after it was told to stop, and its longest task takes "
            f"{longest:g} s. Set termination_grace_period to {math.ceil(longest) + SHUTDOWN_RESERVE} or "
            f"more{requeue}, or, where in-flight work is seen, hold: pods, which keeps the scaler from taking busy "
            "pods.",
        )
    if soft and soft > grace - SOFT_SHUTDOWN_RESERVE:
        case.refuse(
            "soft-shutdown",
            "soft_shutdown_timeout",
            f"soft_shutdown_timeout {soft} s of {case.who} leaves less than {SOFT_SHUTDOWN_RESERVE} s of its grace "
            f"period of {grace} s to give tasks back. Lower it to {max(1, grace - SHUTDOWN_RESERVE)}, or raise "
            f"termination_grace_period to {soft + SHUTDOWN_RESERVE}.",
        )
    if soft and not variant.acknowledges_late:
        case.refuse(
            "soft-shutdown",
            "soft_shutdown_timeout",
            f"after soft_shutdown_timeout {soft} s {case.who} drops the tasks that still run, because they are "
            "acknowledged already. Set acks_late: true if every task may run twice, or leave it out.",
        )


def _gives_back(variant: Variant) -> bool:
    """Whether a stopping worker returns tasks that it cannot finish. Late acknowledgement alone does not (measured)."""
    remapped = [entry.get("value") for entry in variant.pod.env if entry["name"] == "REMAP_SIGTERM"]
    stops = remapped == ["SIGQUIT"] if remapped else bool(variant.process.soft_shutdown_timeout)
    return variant.acknowledges_late and stops


def _long_grace(case: _Case) -> None:
    variant, grace = case.variant, case.variant.pod.termination_grace_period
    if grace > NODE_GRACE and not variant.adopted and variant.pod.pod_annotations.get(SAFE_TO_EVICT) != "false":
        case.warn(
            "long-grace",
            "termination_grace_period",
            f"{case.who} has a grace period of {grace} s, and the cluster autoscaler ends a pod after {NODE_GRACE} s "
            f"when it takes its node away. Set profile: long, or pod_annotations: {{{SAFE_TO_EVICT}: 'false'}}.",
        )


def _longest_key(variant: Variant) -> str:
    return "longest_task_seconds" if variant.knowledge.longest_task_seconds else "time_limit"


def _visibility(case: _Case) -> None:
    variant, broker = case.variant, case.broker
    if broker is None or broker.type not in DEFAULT_VISIBILITY:
        return
    timeout, eta = _visibility_in_force(variant, broker), variant.knowledge.longest_eta_seconds or 0
    # With early acknowledgement a message is held until its task begins.
    longest = longest_run(variant.knowledge, variant.args) if variant.acknowledges_late else 0
    if timeout < eta + longest:
        parts = [f"{name} {seconds:g} s" for name, seconds in (("ETA", eta), ("longest task", longest)) if seconds]
        case.refuse(
            "visibility-timeout",
            "visibility_timeout",
            f"the visibility timeout of {case.who} is {timeout} s, and a worker holds a message for up to "
            f"{eta + longest:g} s ({' + '.join(parts)}): the broker gives it to a second worker meanwhile, and the "
            "task starts twice. "
            f"{_visibility_mend(variant, broker, max(longest * 2, eta + longest))}",
        )


def _visibility_in_force(variant: Variant, broker: Broker) -> int:
    own = variant.process.visibility_timeout
    if own is not None:
        return own
    return int(broker.transport_options.get("visibility_timeout", DEFAULT_VISIBILITY.get(broker.type, 0)))


def _visibility_mend(variant: Variant, broker: Broker, wanted: float) -> str:
    if broker.type == "sqs" and wanted > LONGEST_SQS_VISIBILITY:
        return f"SQS takes {LONGEST_SQS_VISIBILITY} s at most, so send such tasks another way, in steps."
    if variant.unacked is not None or broker.type == "sqs":
        return f"Set visibility_timeout: {math.ceil(wanted)}."
    return (
        f"Set transport_options: {{visibility_timeout: {math.ceil(wanted)}}} on the broker, for workers and producers."
    )


def _consumer_timeout(case: _Case) -> None:
    variant, broker = case.variant, case.broker
    if broker is None or broker.type != "rabbitmq" or not broker.consumer_timeout:
        return
    eta = variant.knowledge.longest_eta_seconds or 0
    longest = longest_run(variant.knowledge, variant.args) if variant.acknowledges_late else 0
    if longest + eta > broker.consumer_timeout:
        case.refuse(
            "consumer-timeout",
            _longest_key(variant) if longest else "longest_eta_seconds",
            f"RabbitMQ closes the channel of a worker of {case.who} that holds a message for more than "
            f"consumer_timeout {broker.consumer_timeout} s, and its tasks hold one for up to {longest + eta:g} s "
            f"(longest task + ETA). Raise consumer_timeout on the server to {math.ceil((longest + eta) * 1.2)} s (it "
            "is in milliseconds there) and say so with celery_workers_broker.consumer_timeout.",
        )


def _delivery_limit(case: _Case) -> None:
    broker = case.broker
    if broker is None or broker.queue_type != "quorum" or not case.variant.acknowledges_late:
        return
    if broker.delivery_limit is None and not case.accepts("delivery-limit"):
        message = (
            f"a quorum queue of RabbitMQ 4 drops a message after {DELIVERY_LIMIT} deliveries, and each pod of "
            f"{case.who} that is stopped returns what it holds. Set a policy (delivery-limit: -1, or a dead letter "
            "exchange) and say so with delivery_limit: 0."
        )
        case.problems.warn(broker.at("delivery_limit"), with_rule(message, "delivery-limit"))


def _cooldown(case: _Case) -> None:
    variant = case.variant
    longest = variant.knowledge.longest_task_seconds
    if not variant.goes_to_zero or variant.sees_in_flight or not longest:
        return
    if variant.scaling.cooldown_period < longest:
        case.refuse(
            "short-cooldown",
            "cooldown_period",
            f"{case.who} goes to 0 pods {variant.scaling.cooldown_period} s after the last waiting message was taken, "
            f"and its longest task takes {longest:g} s. Set cooldown_period to {math.ceil(longest)} or more.",
        )


def _fallback(case: _Case) -> None:
    fallback = case.variant.scaling.fallback
    if case.variant.uses_keda and fallback is not None and fallback.replicas == 0:
        case.refuse(
            "fallback-zero",
            "fallback",
            f"fallback.replicas 0 lets an outage of the broker take the last pod of {case.who} while it works. Leave "
            "it out, or write 1 or more.",
        )


def _autoscale(case: _Case) -> None:
    if case.variant.has_scaler and "autoscale" in written_options(case.variant.args):
        case.refuse(
            "autoscale",
            "extra_params",
            f"--autoscale beside the scaler of {case.who} is two control loops on one pool. Leave it out.",
        )


def _eta_limit(case: _Case) -> None:
    for name in case.variant.process.settings:
        if name.lower().replace(".", "_") == "worker_eta_task_limit":
            case.refuse(
                "eta-limit",
                "settings",
                f"at worker_eta_task_limit a worker of {case.who} takes no task at all, due ones included (measured, "
                "Celery 5.6). Leave it out.",
            )


def _heartbeat(case: _Case) -> None:
    if case.variant.pod.probe.type == "ping" and not has_remote_control(case.variant.process):
        case.refuse(
            "heartbeat-off",
            "probe",
            f"the probe of {case.who} asks the worker over remote control, and worker_enable_remote_control: false "
            "switches that off: no pod would ever be ready. Set probe: heartbeat, or take the setting out.",
        )
    if case.variant.pod.probe.type == "heartbeat" and "without-heartbeat" in written_options(case.variant.args):
        case.refuse(
            "heartbeat-off",
            "extra_params",
            f"the probe of {case.who} waits for worker heartbeats, and --without-heartbeat switches them off: every "
            "pod would be restarted. Take it out of extra_params.",
        )


def _slow_drain(case: _Case) -> None:
    variant, knowledge = case.variant, case.variant.knowledge
    if not variant.uses_keda or not knowledge.task_seconds:
        return
    seconds = variant.scaling.list_length * knowledge.task_seconds / variant.slots
    # The length that sizing finds is rounded down to whole messages, and at least 1.
    if seconds > knowledge.max_wait_seconds and variant.scaling.list_length > 1:
        fitting = max(1, math.floor(knowledge.max_wait_seconds * variant.slots / knowledge.task_seconds))
        case.warn(
            "slow-drain",
            "list_length",
            f"one pod of {case.who} needs {seconds:g} s for list_length {variant.scaling.list_length} messages of "
            f"{knowledge.task_seconds:g} s in {variant.slots} slots, and max_wait_seconds is "
            f"{knowledge.max_wait_seconds:g}. Set list_length: {fitting}.",
        )


def _versions(case: _Case) -> None:
    variant, broker, versions = case.variant, case.broker, case.versions
    process, scaling = variant.process, variant.scaling
    wanted: list[_Feature] = [
        (process.disable_prefetch, "celery", "5.6", "disable_prefetch", "leave it out"),
        (
            process.soft_shutdown_timeout,
            "celery",
            "5.5",
            "soft_shutdown_timeout",
            "raise termination_grace_period instead",
        ),
        (variant.sees_in_flight, "celery", "5.1", "in_flight", "set in_flight: false"),
        (broker is not None and broker.queue_type == "quorum", "celery", "5.5", "queues", "use classic queues"),
    ]
    if variant.uses_keda:
        wanted += _keda_features(variant, broker)
    if variant.has_scaler:
        tolerance = any("tolerance" in part for part in scaling.behavior.values() if isinstance(part, dict))
        wanted.append((tolerance, "kubernetes", "1.33", "behavior", "leave tolerance out"))
    for used, software, needed, key, mend in wanted:
        found = getattr(versions, software)
        if used and older(found, needed):
            case.refuse(
                "version",
                key,
                f"{key} of {case.who} needs {_SOFTWARE[software]} {needed}, and {as_text(found)} is installed: "
                f"{mend}, or upgrade.",
            )


#: Whether it is used, the software, the version it needs, the key, and the mend.
_Feature = tuple[object, str, str, str, str]

_SOFTWARE = {"celery": "Celery", "keda": "KEDA", "kubernetes": "Kubernetes"}


def _keda_features(variant: Variant, broker: Broker | None) -> list[_Feature]:
    scaling = variant.scaling
    paused = (scaling.paused or "").startswith("paused-scale")
    behavior = scaling.fallback is not None and scaling.fallback.behavior not in (None, "static")
    return [
        (
            needs_formula(variant, broker),
            "keda",
            "2.12",
            "in_flight",
            "set in_flight: false and priority_steps: [0] on the broker",
        ),
        ("initial_cooldown_period" in variant.written_keys, "keda", "2.14", "initial_cooldown_period", "leave it out"),
        (behavior, "keda", "2.17", "fallback", "write fallback: {behavior: static}"),
        (paused, "keda", "2.18", "paused", "write paused: true"),
    ]


def _extra_triggers(case: _Case) -> None:
    """Beside a formula the HPA reads no other external metric, so each needs a term in it."""
    variant = case.variant
    if not variant.uses_keda or not needs_formula(variant, case.broker):
        return
    for number, trigger in enumerate(variant.scaling.extra_triggers):
        path, kind = f"{case.path_of('extra_triggers')}[{number}]", trigger["type"]
        if kind not in (*FORMULA_TYPES, *RESOURCE_TYPES):
            case.problems.add(
                path,
                f"KEDA reads a {kind} trigger only without a formula, and {case.who} needs one (in-flight work, "
                "priorities or several queues). Take it in as a prometheus trigger, or give it a variant of its own.",
            )
        elif kind == "cron" and trigger["metadata"].get("desiredReplicas") == "1":
            case.problems.add(
                path,
                "a cron trigger reads 1 outside of its time too, so desiredReplicas '1' means nothing. Write 2 or "
                "more, or min_replicas: 1.",
            )


_JUDGES: tuple[Callable[[_Case], None], ...] = (
    _known_risks,
    _invisible_work,
    _early_acknowledgement,
    _child_lost,
    _disable_prefetch,
    _prefetch,
    _grace,
    _long_grace,
    _visibility,
    _consumer_timeout,
    _delivery_limit,
    _cooldown,
    _fallback,
    _autoscale,
    _eta_limit,
    _heartbeat,
    _slow_drain,
    _versions,
    _extra_triggers,
)


def check_safety_of_fleet(fleet: Fleet, problems: Problems) -> None:
    """Rules between variants."""
    _shared_queues(fleet, problems)
    _shared_index(fleet, problems)
    _broker_connections(fleet, problems)
    _database_connections(fleet, problems)
    _time_limits(fleet, problems)
    _old_kombu(fleet, problems)


def _old_kombu(fleet: Fleet, problems: Problems) -> None:
    variants = [item for item in fleet.variants if (broker := fleet.service_of(item).broker) and broker.is_redis]
    if variants and older(fleet.versions.kombu, "5.4") and not _accepted("version", variants):
        message = (
            f"kombu {as_text(fleet.versions.kombu)} hangs after a restart of Redis (mended in 5.4.0), and "
            f"{titles_of(variants)} would wait for ever. Upgrade kombu to 5.4 or later."
        )
        problems.add("celery_workers_kombu_version", with_rule(message, "version"))


def _time_limits(fleet: Fleet, problems: Problems) -> None:
    """One warning for all, because most fleets have many such variants or none."""
    endless = [
        f"{variant.service}.{variant.name}"
        for variant in fleet.variants
        if variant.uses_keda
        and not variant.adopted
        and "no-time-limit" not in variant.knowledge.accept_risks
        and not {"time-limit", "soft-time-limit"} & set(written_options(variant.args))
    ]
    if endless:
        message = (
            f"a task of {', '.join(endless)} that never ends holds its pod for ever. Set longest_task_seconds or "
            "time_limit on them, or under celery_workers_queue_defaults for all."
        )
        problems.warn("celery_workers_config", with_rule(message, "no-time-limit"))


def _shared_queues(fleet: Fleet, problems: Problems) -> None:
    """A queue with two consumers is scaled twice, and a task that reaches an app without it is discarded by Celery."""
    consumers: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for variant in fleet.variants:
        broker = fleet.service_of(variant).broker
        for queue in variant.queues if broker is None or broker.is_sound else ():
            consumers[(place_of(broker), physical_queue(broker, queue))].append(variant)
    for (_place, queue), variants in consumers.items():
        if len(variants) < 2 or _accepted("shared-queue", variants):
            continue
        names = " and ".join(variant.title for variant in variants)
        if len({variant.service for variant in variants}) > 1:
            message = (
                f"{names} consume the queue {queue!r} of one broker: a worker discards tasks that its app does not "
                "have, so they would be lost. Give each service queues of its own, for example "
                "celery_workers_services.<service>.queue_name: '{service}.{variant}'."
            )
        else:
            message = (
                f"{names} consume the queue {queue!r}: both count the same messages, and neither restores what the "
                "other one held. Give each variant queues of its own."
            )
        problems.add(f"{variants[-1].path}.queues", with_rule(message, "shared-queue"))


def _shared_index(fleet: Fleet, problems: Problems) -> None:
    """Among workers that share one index the shortest visibility timeout restores everybody's messages (kombu 5.7)."""
    groups: dict[str, list[Variant]] = defaultdict(list)
    for variant in fleet.variants:
        broker = fleet.service_of(variant).broker
        if broker is not None and broker.is_sound and broker.is_redis and variant.unacked is None:
            groups[place_of(broker)].append(variant)
    for variants in groups.values():
        timeouts = {variant.path: _visibility_in_force(variant, _broker_of(fleet, variant)) for variant in variants}
        own = [variant for variant in variants if variant.process.visibility_timeout is not None]
        if own and len(set(timeouts.values())) > 1 and not _accepted("visibility-timeout", variants):
            shortest = min(variants, key=lambda variant: timeouts[variant.path])
            message = (
                f"{titles_of(variants)} share one index of unacknowledged messages, so the shortest visibility timeout "
                f"counts for all of them: {timeouts[shortest.path]} s of {shortest.title}, although {own[0].title} "
                f"says {timeouts[own[0].path]} s. Leave it out there, and set transport_options: "
                f"{{visibility_timeout: {max(timeouts.values())}}} on the broker."
            )
            problems.add(f"{own[0].path}.visibility_timeout", with_rule(message, "visibility-timeout"))


def _broker_of(fleet: Fleet, variant: Variant) -> Broker:
    broker = fleet.service_of(variant).broker
    return Broker() if broker is None else broker


def _broker_connections(fleet: Fleet, problems: Problems) -> None:
    groups: dict[str, list[Variant]] = defaultdict(list)
    limits: dict[str, tuple[int, str]] = {}
    for service in fleet.services:
        broker = service.broker
        if broker is not None and broker.is_sound and broker.max_connections:
            limit, address = (broker.max_connections, broker.at("max_connections")), address_of(broker)
            limits[address] = min(limit, limits.get(address, limit))
            groups[address].extend(service.variants)
    for address, variants in groups.items():
        _judge_connections(variants, *limits[address], "the broker", problems)


def _database_connections(fleet: Fleet, problems: Problems) -> None:
    groups: dict[str, list[Variant]] = defaultdict(list)
    limits: dict[str, list[int]] = defaultdict(list)
    paths: dict[str, str] = {}
    for service in fleet.services:
        groups[service.database.name].extend(service.variants)
        if service.database.max_connections:
            limits[service.database.name].append(service.database.max_connections)
            paths[service.database.name] = f"{service.path}.database.max_connections"
    for name, found in limits.items():
        _judge_connections(groups[name], min(found), paths[name], f"the database {name}", problems)


def _judge_connections(variants: list[Variant], limit: int, path: str, what: str, problems: Problems) -> None:
    """Each process holds a connection, and a rollout runs a quarter more pods than the most."""
    needed = math.ceil(sum(variant.most_pods * variant.slots for variant in variants) * 1.25)
    if needed <= limit or _accepted("connections", variants):
        return
    largest = max(variants, key=lambda variant: variant.most_pods * variant.slots)
    message = (
        f"all pods of {len(variants)} variants together could open {needed} connections (Σ max_replicas * slots * "
        f"1.25), and {what} accepts {limit}. Lower max_replicas, first of {largest.title} with {largest.most_pods} "
        f"pods * {largest.slots} slots, or raise the limit."
    )
    problems.add(path, with_rule(message, "connections"))


def _accepted(rule: str, variants: Iterable[Variant]) -> bool:
    return any(rule in variant.knowledge.accept_risks for variant in variants)
