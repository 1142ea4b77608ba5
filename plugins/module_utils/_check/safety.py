# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The safety rules, which find what would lose, hide or repeat work before anything is sent.

Each has an id, which its message names and accept_risks takes, and a section on the page "Safety rules".
Figures and sources: Celery 5.4 to 5.7, kombu 5.7, KEDA 2.20, Kubernetes 1.36.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .._build.demand import (
    FORMULA_TYPES,
    RESOURCE_TYPES,
    needs_formula,
)
from .._celery.brokers import (
    address_of,
    answers_ping,
    physical_queue,
    place_of,
)
from .._celery.command import (
    effective_pool,
    has_remote_control,
    limits_in_force,
    limits_of_pool,
    unknown_settings,
    written_options,
)
from .._celery.in_flight import (
    DEFAULT_VISIBILITY,
    LONGEST_SQS_VISIBILITY,
)
from .._celery.sizing import (
    NODE_GRACE,
    SAFE_TO_EVICT,
    SHUTDOWN_RESERVE,
    SMALLEST_CHILD,
    SOFT_SHUTDOWN_RESERVE,
    child_share,
    longest_run,
    pre_stop_seconds,
    resources_in_force,
)
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant, titles_of
from .._model.variant_keys import ZERO_TIMES
from .._schema.problems import Problems, suggest
from .._schema.versions import (
    OLDEST,
    Versions,
    as_text,
    at_least,
    below_oldest,
    older,
)

#: Every rule that accept_risks may name, with what it is about.
RULES = {
    "autoscale": "--autoscale beside a scaler",
    "child-lost": "late acknowledgement that gives the task of a killed child up",
    "child-memory": "processes that get too little memory, or more than there is",
    "connections": "more connections than the broker or the database accepts",
    "control-queues": "RabbitMQ 4.3 refuses the queues that a worker makes for remote control",
    "consumer-timeout": "RabbitMQ takes a message away before its task is done",
    "delivery-limit": "RabbitMQ drops a message that was returned too often",
    "disable-prefetch": "disable_prefetch with early acknowledgement, or where it does not hold",
    "early-acknowledgement": "in-flight tracking with early acknowledgement",
    "endless-timeout": "a task that reaches its time limit begins again, for ever",
    "eta-limit": "worker_eta_task_limit",
    "eta-prefetch": "waiting ETA tasks that fill what a worker may take",
    "fallback-zero": "a fallback of no pods",
    "heartbeat-off": "no worker heartbeats while something needs them",
    "invisible-work": "scale to zero while running work is invisible to the scaler",
    "long-grace": "a grace period that node scale-down does not honour",
    "no-time-limit": "no time limit that holds",
    "plain-secret": "an environment value that looks like a secret",
    "prefetch": "reserved messages that a scaler does not see",
    "secret-argument": "a secret on a worker's command line",
    "selector-overlap": "two Deployments whose pods one autoscaler counts together",
    "shared-queue": "two variants consume one queue",
    "short-cooldown": "scale to zero sooner than the longest task takes",
    "short-grace": "a pod is killed before its longest task is done",
    "slow-drain": "one pod's share of the queue takes longer than anybody should wait",
    "soft-shutdown": "a soft shutdown that does not fit into the grace period",
    "unknown-setting": "a setting that Celery does not have",
    "version": "a version that is too old, as a whole or for a feature",
    "visibility-timeout": "a message is delivered again while its task still runs or waits",
}

#: Deliveries after which a quorum queue of RabbitMQ 4 drops a message.
DELIVERY_LIMIT = 20
#: The RabbitMQ whose classic queues have no consumer timeout, whose quorum queues count only what is rejected, and that
#: refuses queues which are neither durable nor exclusive (from its release notes).
_STRICT_RABBITMQ = "4.3"

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

    @property
    def settings(self) -> dict[str, Any]:
        """The Celery settings that the user wrote, under their names of today."""
        return {name.lower().replace(".", "_"): value for name, value in self.variant.process.settings.items()}

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
    is_retried = case.settings.get("task_retry_on_worker_lost") is True and not older(case.versions.celery, "5.7")
    if process.acks_late and process.reject_on_worker_lost is False and case.variant.sees_in_flight and not is_retried:
        case.warn(
            "child-lost",
            "reject_on_worker_lost",
            f"{case.who} acknowledges late and has reject_on_worker_lost: false, so the task of a child that the "
            "kernel kills is acknowledged as failed and gone. Leave reject_on_worker_lost out.",
        )


def _disable_prefetch(case: _Case) -> None:
    variant = case.variant
    off = variant.process.disable_prefetch or "disable-prefetch" in written_options(variant.args)
    if not off:
        return
    key, broker = "disable_prefetch" if variant.process.disable_prefetch else "extra_params", case.broker
    if broker is not None and not broker.is_redis:
        case.warn(
            "disable-prefetch",
            key,
            f"Celery does without prefetch on Redis alone and ignores this for {case.who}, whose broker is of type "
            f"{broker.type}. Leave disable_prefetch out.",
        )
    elif at_least(case.versions.celery, "5.6") and older(case.versions.celery, "5.7"):
        case.warn(
            "disable-prefetch",
            key,
            f"Celery {as_text(case.versions.celery)} forgets disable_prefetch when it connects to Redis again, so a "
            f"worker of {case.who} reserves messages from then on. Upgrade Celery to 5.7.",
        )
    if not variant.acknowledges_late:
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


def _unknown_settings(case: _Case) -> None:
    for name, hint in unknown_settings(case.variant.process):
        case.refuse(
            "unknown-setting",
            "settings",
            f"{name} of {case.who} is no setting of Celery, so Celery would take it and do nothing; {hint} Leave it "
            "out unless code of your own reads it.",
        )


def _grace(case: _Case) -> None:
    variant = case.variant
    hook = pre_stop_seconds(variant.pod)
    longest, grace = variant.knowledge.longest_task_seconds, variant.pod.termination_grace_period - hook
    after = f", after the {hook} s of its preStop hook" if hook else ""
    if grace <= 0:
        case.refuse(
            "short-grace",
            "termination_grace_period",
            f"the preStop hook of {case.who} takes {hook} s, and its grace period of {grace + hook} s is over before "
            f"the worker is told to stop. Set termination_grace_period to {hook + 600}, or shorten the hook.",
        )
        return
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
            f"a pod of {case.who} is killed {grace} s after it was told to stop{after}, and its longest task takes "
            f"{longest:g} s. Set termination_grace_period to {math.ceil(longest) + SHUTDOWN_RESERVE + hook} or "
            f"more{requeue}, or, where in-flight work is seen, hold: pods, which keeps the scaler from taking busy "
            "pods.",
        )
    if soft and soft > grace - SOFT_SHUTDOWN_RESERVE:
        case.refuse(
            "soft-shutdown",
            "soft_shutdown_timeout",
            f"soft_shutdown_timeout {soft} s of {case.who} leaves less than {SOFT_SHUTDOWN_RESERVE} s of its grace "
            f"period of {grace} s{after} to give tasks back. Lower it to {max(1, grace - SHUTDOWN_RESERVE)}, or raise "
            f"termination_grace_period to {soft + SHUTDOWN_RESERVE + hook}.",
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
    release = case.versions.rabbitmq
    if broker.queue_type == "classic" and at_least(release, _STRICT_RABBITMQ):
        return
    eta = variant.knowledge.longest_eta_seconds or 0
    longest = longest_run(variant.knowledge, variant.args) if variant.acknowledges_late else 0
    if longest + eta > broker.consumer_timeout:
        what = "cancels the consumer" if at_least(release, "4.3.7") else "closes the channel"
        newer = (
            f" Classic queues of RabbitMQ {_STRICT_RABBITMQ} have no such limit: say so with "
            "celery_workers_rabbitmq_version."
            if release is None and broker.queue_type == "classic"
            else ""
        )
        case.refuse(
            "consumer-timeout",
            _longest_key(variant) if longest else "longest_eta_seconds",
            f"RabbitMQ {what} of a worker of {case.who} that holds a message for more than "
            f"consumer_timeout {broker.consumer_timeout} s, and its tasks hold one for up to {longest + eta:g} s "
            f"(longest task + ETA). Raise consumer_timeout on the server to {math.ceil((longest + eta) * 1.2)} s (it "
            f"is in milliseconds there) and say so with celery_workers_broker.consumer_timeout.{newer}",
        )


def _delivery_limit(case: _Case) -> None:
    broker, release = case.broker, case.versions.rabbitmq
    if broker is None or broker.queue_type != "quorum" or not case.variant.acknowledges_late:
        return
    only_rejects = at_least(release, _STRICT_RABBITMQ)
    if older(release, "4.0") or (only_rejects and not case.variant.process.reject_on_worker_lost):
        return
    if broker.delivery_limit is None and not case.accepts("delivery-limit"):
        what, counted = (
            ("rejects", f"each pod of {case.who} rejects the tasks of children that were killed")
            if only_rejects
            else ("deliveries", f"each pod of {case.who} that is stopped returns what it holds")
        )
        message = (
            f"a quorum queue of RabbitMQ 4 drops a message after {DELIVERY_LIMIT} {what}, and {counted}. Set a policy "
            "(delivery-limit: -1, or a dead letter exchange) and say so with delivery_limit: 0."
        )
        case.problems.warn(broker.at("delivery_limit"), with_rule(message, "delivery-limit"))


def _control_queues(case: _Case) -> None:
    """RabbitMQ 4.3 answers 541 to a worker that makes queues of the old kind (from Celery's sources, 5.5 to 5.7)."""
    variant, celery = case.variant, case.versions.celery
    if case.broker is None or case.broker.type != "rabbitmq" or variant.adopted:
        return
    release, options = case.versions.rabbitmq, written_options(variant.args)
    talks = has_remote_control(variant.process) or not {"without-gossip", "without-mingle"} <= set(options)
    if not talks or not at_least(release, _STRICT_RABBITMQ):
        return
    if older(celery, "5.6"):
        case.refuse(
            "control-queues",
            "settings",
            f"RabbitMQ {as_text(release)} refuses the queues that Celery {as_text(celery)} makes for remote control, "
            f"so no worker of {case.who} would start. Upgrade Celery to 5.7, or write settings: "
            "{worker_enable_remote_control: false} and leave without_gossip and without_mingle at true.",
        )
        return
    exclusive = ("control_queue_exclusive", "event_queue_exclusive")
    # Before 5.7 they are false unless somebody writes them.
    usual = not older(celery, "5.7")
    wanted = [name for name in exclusive if case.settings.get(name, usual) is not True]
    if wanted:
        case.refuse(
            "control-queues",
            "settings",
            f"RabbitMQ {as_text(release)} refuses the queues that a worker of {case.who} makes for remote control, so "
            f"it would not start. Write settings: {{{', '.join(f'{name}: true' for name in wanted)}}}.",
        )


def _eta_prefetch(case: _Case) -> None:
    """kombu 5.7 does not raise the prefetch count of a consumer on RabbitMQ 4 (from its source)."""
    variant, broker, eta = case.variant, case.broker, case.variant.knowledge.longest_eta_seconds
    if broker is None or broker.type != "rabbitmq" or broker.queue_type != "classic" or not eta:
        return
    if at_least(case.versions.rabbitmq, "4.0") and not older(case.versions.kombu, "5.7"):
        case.warn(
            "eta-prefetch",
            "longest_eta_seconds",
            f"{variant.held} waiting ETA tasks may fill all that a pod of {case.who} takes from a classic queue of "
            f"RabbitMQ {as_text(case.versions.rabbitmq)}, and due tasks would wait up to {eta:g} s behind them. Use "
            "quorum queues, where RabbitMQ itself holds such tasks back (queue_type: quorum), or give them a queue and "
            "variant of their own.",
        )


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
    if "worker_eta_task_limit" in case.settings:
        case.refuse(
            "eta-limit",
            "settings",
            f"at worker_eta_task_limit a worker of {case.who} takes no task at all, due ones included (measured, "
            "Celery 5.6). Leave it out.",
        )


def _endless_timeout(case: _Case) -> None:
    """A task that its hard limit has cut is given back where nobody acknowledges it (Celery 5.7, from its source)."""
    settings, old = case.settings, "task_acks_on_failure_or_timeout"
    decides = "task_acks_on_timeout" if settings.get("task_acks_on_timeout") is not None else old
    if settings.get(decides) is False and case.variant.process.acks_late is not False:
        case.refuse(
            "endless-timeout",
            f"settings.{decides}",
            f"a task of {case.who} that reaches its time limit goes back to the queue and begins again, for ever. "
            f"Leave {decides} out.",
        )


def _child_memory(case: _Case) -> None:
    variant, process = case.variant, case.variant.process
    if variant.adopted or effective_pool(process) != "prefork":
        return
    by_hand = "max-memory-per-child" in written_options(process.extra_params)
    key = "extra_params" if by_hand else "max_memory_per_child"
    is_written = by_hand or process.max_memory_per_child is not None
    mark = _whole(written_options(variant.args).get("max-memory-per-child"))
    resources, slots = resources_in_force(variant.pod), variant.slots
    share, limit = child_share(resources, slots), resources["limits"].get("memory")
    # A share is three quarters of what there is for each.
    if share and mark * 3 > share * 4:
        case.warn(
            "child-memory",
            key,
            f"{slots} processes of {case.who} may grow to {_mebibytes(mark)} each before Celery replaces them, and the "
            f"memory limit of the container is {limit}: the kernel kills one first. Leave {key} out, or write "
            f"{int(share * 0.85)} (KiB) or less.",
        )
    room = mark or share
    if not room or room >= SMALLEST_CHILD:
        return
    consequence = "Celery replaces it after nearly every task" if mark else "the kernel kills one"
    least = math.ceil(SMALLEST_CHILD / 0.85 / 0.75 * slots / 1024)
    fewer = f", or concurrency to {max(1, slots * room // SMALLEST_CHILD)}" if slots > 1 else ""
    case.warn(
        "child-memory",
        key if is_written and mark else "resources",
        f"each process of {case.who} may have {_mebibytes(room)}, and one that has loaded nothing but Celery has "
        f"{_EMPTY_CHILD} MiB, so {consequence}. "
        + (
            f"Write {SMALLEST_CHILD} (KiB) or more."
            if is_written and mark
            else f"The memory limit {limit} is for {slots} of them: set resources.limits.memory to {least}Mi or "
            f"more{fewer}."
        ),
    )


#: MiB of a child whose app has one empty task (measured, Celery 5.6).
_EMPTY_CHILD = 52


def _whole(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text) else 0


def _mebibytes(kibibytes: int) -> str:
    return f"{kibibytes // 1024} MiB"


def _idle_limits(case: _Case) -> None:
    """Time limits that the pool does not enforce (threads, solo: measured; gevent, eventlet: from Celery's source)."""
    process, pool = case.variant.process, effective_pool(case.variant.process)
    by_hand, known = written_options(process.extra_params), limits_of_pool(pool)
    typed = {"time-limit": process.time_limit, "soft-time-limit": process.soft_time_limit}
    idle = [option for option, value in typed.items() if option not in known and (option in by_hand or value)]
    if not idle or case.variant.adopted:
        return
    keys = ["extra_params" if option in by_hand else option.replace("-", "_") for option in idle]
    names = " and ".join(option.replace("-", "_") for option in idle)
    reason, mend = (
        ("the pool gevent knows time_limit alone, and ends a task by it only where that waits", "Write time_limit")
        if known
        else (
            f"the pool {pool} ends no task",
            "Write pool: prefork, or give the calls in the tasks timeouts of their own",
        )
    )
    case.warn("no-time-limit", keys[0], f"{names} of {case.who} {_has(idle)} no effect: {reason}. {mend}.")


def _has(things: list[str]) -> str:
    return "has" if len(things) == 1 else "have"


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
    variant, versions = case.variant, case.versions
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
    ]
    if variant.uses_keda:
        wanted += _keda_features(variant)
    if variant.has_scaler:
        tolerance = any("tolerance" in part for part in scaling.behavior.values() if isinstance(part, dict))
        wanted.append((tolerance, "kubernetes", "1.35", "behavior", "leave tolerance out"))
    wanted += [
        (True, "celery", since, f"settings.{name}", "leave it out")
        for name, since in _SETTINGS_SINCE.items()
        if name in case.settings
    ]
    for used, software, needed, key, mend in wanted:
        found = getattr(versions, software)
        # What is too old for everything is said once, for the fleet.
        if used and older(found, needed) and not below_oldest(software, found):
            case.refuse(
                "version",
                key,
                f"{key} of {case.who} needs {_SOFTWARE[software]} {needed}, and {as_text(found)} is installed: "
                f"{mend}, or upgrade.",
            )


#: Settings that an older Celery takes in silence and does not know (from the sources of 5.5 to 5.7).
_SETTINGS_SINCE = {
    "beat_enable_remote_control": "5.7",
    "control_queue_exclusive": "5.6",
    "event_queue_exclusive": "5.6",
    "task_acks_on_failure": "5.7",
    "task_acks_on_timeout": "5.7",
    "task_create_missing_queue_type": "5.6",
    "task_create_missing_queue_exchange_type": "5.6",
    "task_retry_on_worker_lost": "5.7",
    "worker_pool_start_method": "5.7",
}

#: Whether it is used, the software, the version it needs, the key, and the mend.
_Feature = tuple[object, str, str, str, str]

_SOFTWARE = {"celery": "Celery", "keda": "KEDA", "kubernetes": "Kubernetes"}


def _keda_features(variant: Variant) -> list[_Feature]:
    scaling = variant.scaling
    paused = (scaling.paused or "").startswith("paused-scale")
    behavior = scaling.fallback is not None and scaling.fallback.behavior not in (None, "static")
    return [
        ("initial_cooldown_period" in variant.written_keys, "keda", "2.14", "initial_cooldown_period", "leave it out"),
        (behavior, "keda", "2.17", "fallback", "write fallback: {behavior: static}"),
        (paused, "keda", "2.18", "paused", "write paused: true"),
    ]


def _extra_triggers(case: _Case) -> None:
    variant = case.variant
    if not variant.uses_keda:
        return
    formula = needs_formula(variant, case.broker)
    for number, trigger in enumerate(variant.scaling.extra_triggers):
        path, kind = f"{case.path_of('extra_triggers')}[{number}]", trigger["type"]
        if formula and kind not in (*FORMULA_TYPES, *RESOURCE_TYPES):
            # Beside a formula the HPA reads no other external metric, so each needs a term in it.
            case.problems.add(
                path,
                f"KEDA reads a {kind} trigger only without a formula, and {case.who} needs one (in-flight work, "
                "priorities or several queues). Take it in as a prometheus trigger, or give it a variant of its own.",
            )
        elif kind == "cron":
            _desired_replicas(case, trigger["metadata"].get("desiredReplicas", ""), f"{path}.metadata.desiredReplicas")


def _desired_replicas(case: _Case, written: str, path: str) -> None:
    """Pods that a cron trigger asks for, against the bounds that no trigger passes."""
    scaling = case.variant.scaling
    if not re.fullmatch(r"[0-9]{1,9}", written.strip()):
        return
    wanted = int(written)
    if wanted > scaling.max_replicas:
        case.problems.add(
            path,
            f"{wanted} pods are above max_replicas {scaling.max_replicas} of {case.who}, which no trigger passes. "
            "Lower it, or raise max_replicas.",
        )
    elif 0 < wanted <= scaling.min_replicas and scaling.idle_replicas is None:
        case.problems.warn(
            path,
            f"min_replicas {scaling.min_replicas} of {case.who} keeps as many pods at every time, so the trigger has "
            f"no effect. Write {scaling.min_replicas + 1} or more, or lower min_replicas.",
        )


_JUDGES: tuple[Callable[[_Case], None], ...] = (
    _known_risks,
    _invisible_work,
    _early_acknowledgement,
    _child_lost,
    _disable_prefetch,
    _prefetch,
    _unknown_settings,
    _grace,
    _long_grace,
    _visibility,
    _consumer_timeout,
    _delivery_limit,
    _control_queues,
    _eta_prefetch,
    _cooldown,
    _fallback,
    _autoscale,
    _eta_limit,
    _endless_timeout,
    _child_memory,
    _idle_limits,
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
    _old_redis(fleet, problems)
    _beat_liveness(fleet, problems)
    _idle_times(fleet, problems)
    _too_old(fleet, problems)
    _old_celery(fleet, problems)


def _old_celery(fleet: Fleet, problems: Problems) -> None:
    variants = [
        item
        for item in fleet.variants
        if (broker := fleet.service_of(item).broker) and broker.is_sound and broker.queue_type == "quorum"
    ]
    found = fleet.versions.celery
    if variants and older(found, "5.5") and not below_oldest("celery", found) and not _accepted("version", variants):
        message = (
            f"{titles_of(variants)} on quorum queues needs Celery 5.5, and {as_text(found)} is "
            "installed: RabbitMQ would end the connection again and again (540 NOT_IMPLEMENTED). Use classic queues, "
            "or upgrade Celery."
        )
        problems.add("celery_workers_celery_version", with_rule(message, "version"))


def _too_old(fleet: Fleet, problems: Problems) -> None:
    """Releases that nothing here was ever made for."""
    made = [variant for variant in fleet.variants if not variant.adopted]
    concerned = {
        "celery": made,
        "keda": [variant for variant in fleet.variants if variant.uses_keda],
        "kubernetes": list(fleet.variants),
    }
    for software, variants in concerned.items():
        found = getattr(fleet.versions, software)
        refusing = [variant for variant in variants if "version" not in variant.knowledge.accept_risks]
        if refusing and below_oldest(software, found):
            message = (
                f"{_SOFTWARE[software]} {as_text(found)} is older than {OLDEST[software]}, the oldest that works for "
                f"{titles_of(refusing)}. Upgrade it, or correct the version."
            )
            problems.add(f"celery_workers_{software}_version", with_rule(message, "version"))


def _old_kombu(fleet: Fleet, problems: Problems) -> None:
    variants = [item for item in fleet.variants if (broker := fleet.service_of(item).broker) and broker.is_redis]
    kombu = fleet.versions.kombu
    if not variants or not older(kombu, "5.7") or _accepted("version", variants):
        return
    path = "celery_workers_kombu_version"
    if older(kombu, "5.4"):
        message = (
            f"kombu {as_text(kombu)} hangs after a restart of Redis (reported; better since 5.4.0), and "
            f"{titles_of(variants)} would wait for ever. Upgrade kombu to 5.7, or at least to 5.4."
        )
        problems.add(path, with_rule(message, "version"))
    else:
        message = (
            f"after Redis was away, a worker with kombu {as_text(kombu)} may live and take no more messages "
            f"(reported). That concerns {titles_of(variants)}. Upgrade kombu to 5.7."
        )
        problems.warn(path, with_rule(message, "version"))


def _old_redis(fleet: Fleet, problems: Problems) -> None:
    """kombu 5.7 needs Redis 6.2 (from its requirements); a kombu that nobody names counts as new."""
    variants = [item for item in fleet.variants if (broker := fleet.service_of(item).broker) and broker.is_redis]
    redis, kombu = fleet.versions.redis, fleet.versions.kombu
    if variants and older(redis, "6.2") and not older(kombu, "5.7") and not _accepted("version", variants):
        message = (
            f"kombu {as_text(kombu) or '5.7'} needs Redis 6.2, and {as_text(redis)} is installed: no worker of "
            f"{titles_of(variants)} could take a message. Upgrade Redis, or write celery_workers_kombu_version if "
            "an older kombu is in the images."
        )
        problems.add("celery_workers_redis_version", with_rule(message, "version"))


def _beat_liveness(fleet: Fleet, problems: Problems) -> None:
    for service in fleet.services:
        path = f"{service.path}.beat.liveness"
        if service.beat is None or not service.beat.liveness:
            continue
        if service.broker is None or not answers_ping(service.broker):
            problems.add(path, f"no ping reaches the beat of service {service.name} over its broker; leave it out.")
        elif older(fleet.versions.celery, "5.7") and not _accepted("version", service.variants):
            message = (
                f"beat.liveness of service {service.name} needs Celery 5.7, and {as_text(fleet.versions.celery)} is "
                "installed: leave it out, or upgrade."
            )
            problems.add(path, with_rule(message, "version"))


def _time_limits(fleet: Fleet, problems: Problems) -> None:
    """One warning for all, because most fleets have many such variants or none."""
    endless = [
        variant
        for variant in fleet.variants
        if variant.uses_keda
        and not variant.adopted
        and "no-time-limit" not in variant.knowledge.accept_risks
        and not limits_in_force(variant.args)
    ]
    able = [_place(variant) for variant in endless if limits_of_pool(effective_pool(variant.process))]
    if able:
        message = (
            f"a task of {', '.join(able)} that never ends holds its pod for ever. Set longest_task_seconds or "
            "time_limit on them, or under celery_workers_queue_defaults for all."
        )
        problems.warn("celery_workers_config", with_rule(message, "no-time-limit"))
    # Who wrote a limit all the same has been told already.
    unable = [
        f"{_place(variant)} ({effective_pool(variant.process)})"
        for variant in endless
        if not limits_of_pool(effective_pool(variant.process))
        and not {"time-limit", "soft-time-limit"} & set(written_options(variant.args))
    ]
    if unable:
        message = (
            f"a task of {', '.join(unable)} that never ends holds its pod for ever, and this pool has no time limit "
            "that would end it. Write pool: prefork, or give the calls in the tasks timeouts of their own."
        )
        problems.warn("celery_workers_config", with_rule(message, "no-time-limit"))


def _place(variant: Variant) -> str:
    return f"{variant.service}.{variant.name}"


def _idle_times(fleet: Fleet, problems: Problems) -> None:
    """Times of the way to zero that somebody wrote and no variant goes by."""
    for key in ZERO_TIMES:
        idle: dict[str, list[Variant]] = defaultdict(list)
        read = set()
        for variant in fleet.variants:
            for path in variant.written:
                if variant.uses_keda and key in variant.written_keys and path.endswith(f".{key}"):
                    idle[path].append(variant)
                    read |= {path} if key in variant.times_in_force else set()
        for path in sorted(set(idle) - read):
            if path.startswith("celery_workers_"):
                problems.warn(
                    path,
                    f"{key} has no effect, because {titles_of(idle[path])} never goes to 0 pods. Leave it out.",
                )


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
