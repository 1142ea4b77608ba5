# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety rules: grace periods, cooldowns and time limits beside how long tasks take."""

from __future__ import annotations

import math
from collections import defaultdict

from .._celery.command import (
    effective_pool,
    has_remote_control,
    limits_in_force,
    limits_of_pool,
    written_options,
)
from .._celery.sizing import (
    NODE_GRACE,
    SAFE_TO_EVICT,
    SHUTDOWN_RESERVE,
    SOFT_SHUTDOWN_RESERVE,
    pre_stop_seconds,
)
from .._model.fleet import Fleet, Variant, titles_of
from .._model.variant_keys import ZERO_TIMES
from .._schema.problems import Problems
from .risks import Case, place_of_variant, with_rule


def judge_grace(case: Case) -> None:
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
    # Without sight of in-flight work nothing is held.
    is_held = variant.uses_keda and variant.sees_in_flight and variant.scaling.hold == "pods"
    # Nothing scales a Job in.
    is_held = is_held or variant.runs_as_jobs
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
    _judge_soft_shutdown(case, grace, hook, after)


def _judge_soft_shutdown(case: Case, grace: int, hook: int, after: str) -> None:
    soft = case.variant.process.soft_shutdown_timeout or 0
    if soft and soft > grace - SOFT_SHUTDOWN_RESERVE:
        case.refuse(
            "soft-shutdown",
            "soft_shutdown_timeout",
            f"soft_shutdown_timeout {soft} s of {case.who} leaves less than {SOFT_SHUTDOWN_RESERVE} s of its grace "
            f"period of {grace} s{after} to give tasks back. Lower it to {max(1, grace - SHUTDOWN_RESERVE)}, or raise "
            f"termination_grace_period to {soft + SHUTDOWN_RESERVE + hook}.",
        )
    if soft and not case.variant.acknowledges_late:
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


def judge_long_grace(case: Case) -> None:
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


def judge_cooldown(case: Case) -> None:
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


def judge_idle_limits(case: Case) -> None:
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


def judge_heartbeat(case: Case) -> None:
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


def judge_slow_drain(case: Case) -> None:
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


def judge_time_limits(fleet: Fleet, problems: Problems) -> None:
    """One warning for all, because most fleets have many such variants or none."""
    endless = [
        variant
        for variant in fleet.variants
        if variant.is_counted
        and not variant.adopted
        and "no-time-limit" not in variant.knowledge.accept_risks
        and not limits_in_force(variant.args)
    ]
    able = [place_of_variant(variant) for variant in endless if limits_of_pool(effective_pool(variant.process))]
    if able:
        message = (
            f"a task of {', '.join(able)} that never ends holds its pod for ever. Set longest_task_seconds or "
            "time_limit on them, or under celery_workers_queue_defaults for all."
        )
        problems.warn("celery_workers_config", with_rule(message, "no-time-limit"))
    # Who wrote a limit all the same has been told already.
    unable = [
        f"{place_of_variant(variant)} ({effective_pool(variant.process)})"
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


def judge_idle_times(fleet: Fleet, problems: Problems) -> None:
    """Times of the way to zero that somebody wrote and no variant goes by."""
    for key in ZERO_TIMES:
        idle: dict[str, list[Variant]] = defaultdict(list)
        read = set()
        for variant in fleet.variants:
            for path in variant.written:
                if variant.is_counted and key in variant.written_keys and path.endswith(f".{key}"):
                    idle[path].append(variant)
                    read |= {path} if key in variant.times_in_force else set()
        for path in sorted(set(idle) - read):
            if path.startswith("celery_workers_"):
                problems.warn(
                    path,
                    f"{key} has no effect, because {titles_of(idle[path])} never goes to 0 pods. Leave it out.",
                )
