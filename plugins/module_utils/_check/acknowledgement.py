# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety rules: what would lose, hide or repeat a message."""

from __future__ import annotations

import math

from .._celery.command import (
    has_remote_control,
    unknown_settings,
    written_options,
)
from .._celery.in_flight import (
    DEFAULT_VISIBILITY,
    LONGEST_SQS_VISIBILITY,
)
from .._celery.sizing import (
    longest_run,
)
from .._model.broker import Broker
from .._model.fleet import Variant
from .._schema.versions import (
    as_text,
    at_least,
    older,
)
from .risks import Case, with_rule
from .times import _longest_key

#: Deliveries after which a quorum queue of RabbitMQ 4 drops a message.
DELIVERY_LIMIT = 20
#: The RabbitMQ whose classic queues have no consumer timeout, whose quorum queues count only what is rejected, and that
#: refuses queues which are neither durable nor exclusive (from its release notes).
_STRICT_RABBITMQ = "4.3"


def judge_invisible_work(case: Case) -> None:
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


def judge_early_acknowledgement(case: Case) -> None:
    variant = case.variant
    if not variant.sees_in_flight:
        if variant.scaling.in_flight and not variant.knowledge.idempotent:
            case.problems.add(
                case.path_of("in_flight"),
                "in_flight needs late acknowledgement, after which a task may run twice; set idempotent: true for "
                f"{case.who} if that is safe for every task.",
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


def judge_child_lost(case: Case) -> None:
    process = case.variant.process
    is_retried = case.settings.get("task_retry_on_worker_lost") is True and not older(case.versions.celery, "5.7")
    if process.acks_late and process.reject_on_worker_lost is False and case.variant.sees_in_flight and not is_retried:
        case.warn(
            "child-lost",
            "reject_on_worker_lost",
            f"{case.who} acknowledges late and has reject_on_worker_lost: false, so the task of a child that the "
            "kernel kills is acknowledged as failed and gone. Leave reject_on_worker_lost out.",
        )


def judge_disable_prefetch(case: Case) -> None:
    variant = case.variant
    off = variant.process.disable_prefetch or "disable-prefetch" in written_options(variant.args)
    if not off:
        return
    key, broker = "disable_prefetch" if variant.process.disable_prefetch else "extra_params", case.broker
    if broker is not None and not broker.is_redis:
        case.warn(
            "disable-prefetch",
            key,
            f"Celery can work without prefetch on Redis only and ignores this for {case.who}, whose broker is of type "
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


def judge_prefetch(case: Case) -> None:
    variant = case.variant
    options = written_options(variant.args)
    written = options.get("prefetch-multiplier") or "1"
    if not variant.is_counted or not written.isdigit() or written == "1":
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
    elif variant.runs_as_jobs and "disable-prefetch" not in options:
        case.refuse(
            "prefetch",
            key,
            f"each Job of {case.who} takes {variant.held} messages for {variant.slots} "
            f"{'slot' if variant.slots == 1 else 'slots'}, so that some wait behind a long task while the Jobs that "
            "KEDA starts for them find nothing. Write prefetch_multiplier: 1.",
        )
    elif not variant.sees_in_flight and "disable-prefetch" not in options:
        case.warn(
            "prefetch",
            key,
            f"each pod of {case.who} reserves {int(written) * variant.slots} messages, which its scaler does not see. "
            "Write prefetch_multiplier: 1.",
        )


def judge_unknown_settings(case: Case) -> None:
    for name, hint in unknown_settings(case.variant.process):
        case.refuse(
            "unknown-setting",
            "settings",
            f"{name} of {case.who} is no setting of Celery, so Celery would take it and do nothing; {hint} Leave it "
            "out unless code of your own reads it.",
        )


def judge_visibility(case: Case) -> None:
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


def judge_consumer_timeout(case: Case) -> None:
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


def judge_delivery_limit(case: Case) -> None:
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


def judge_control_queues(case: Case) -> None:
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


def judge_eta_prefetch(case: Case) -> None:
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


def judge_fallback(case: Case) -> None:
    fallback = case.variant.scaling.fallback
    if case.variant.uses_keda and fallback is not None and fallback.replicas == 0:
        case.refuse(
            "fallback-zero",
            "fallback",
            f"fallback.replicas 0 lets an outage of the broker take the last pod of {case.who} while it works. Leave "
            "it out, or write 1 or more.",
        )


def judge_autoscale(case: Case) -> None:
    if (case.variant.has_scaler or case.variant.runs_as_jobs) and "autoscale" in written_options(case.variant.args):
        case.refuse(
            "autoscale",
            "extra_params",
            f"--autoscale beside the scaler of {case.who} is two control loops on one pool. Leave it out.",
        )


def judge_eta_limit(case: Case) -> None:
    if "worker_eta_task_limit" in case.settings:
        case.refuse(
            "eta-limit",
            "settings",
            f"at worker_eta_task_limit a worker of {case.who} takes no task at all, due ones included (measured, "
            "Celery 5.6). Leave it out.",
        )


def judge_endless_timeout(case: Case) -> None:
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
