# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for workers that run as Jobs: what KEDA cannot count, what a Job does not have, and what it costs.

Sources: KEDA 2.20, Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .._celery.command import written_options
from .._model.fleet import Service, Variant
from .._model.job_keys import JOBS
from .._model.names import WORKER_CONTAINER
from .._schema.problems import Problems
from .risks import Case, PathOf
from .without_effect import is_own

#: Seconds for which a message may be held for its ETA. Celery's own longest delay of a retry (retry_backoff_max).
LONGEST_ETA = 600

#: Keys that nothing reads where workers run as Jobs, each with the reason.
_ENDS_BY_ITSELF = "a Job ends by itself (idle_seconds, max_age_seconds) and is never scaled in"
_COUNTS = "KEDA starts a Job for each outstanding message"
_IDLE_KEYS = {
    "behavior": _ENDS_BY_ITSELF,
    "cooldown_period": _ENDS_BY_ITSELF,
    "cpu_utilization": _COUNTS,
    "fallback": "KEDA has none for Jobs",
    "hold": _ENDS_BY_ITSELF,
    "idle_first": _ENDS_BY_ITSELF,
    "idle_replicas": _ENDS_BY_ITSELF,
    "initial_cooldown_period": _ENDS_BY_ITSELF,
    "memory_utilization": _COUNTS,
    "replicas": _COUNTS,
    "scaled_object_annotations": "there is no ScaledObject; annotations go on the ScaledJob",
    "strategy": "running Jobs are not replaced; new ones start with what was deployed last",
}
Fault = tuple[str, str]


def check_jobs(variant: Variant, service: Service, path_of: PathOf, problems: Problems) -> None:
    """Note what a variant asks for that a Job cannot be, or that only a Job has."""
    if not variant.runs_as_jobs:
        _warn_of_keys(variant, path_of, problems)
        return
    path = path_of("run_as")
    refused = _impossible(variant, service)
    if refused:
        problems.add(path, refused)
        return
    for rule in _RULES:
        for key, message in rule(variant):
            # A value that was refused has its problem.
            if not problems.has(path_of(key)):
                problems.add(path_of(key), message)


def _warn_of_keys(variant: Variant, path_of: PathOf, problems: Problems) -> None:
    for key in ("idle_seconds", "max_age_seconds"):
        path = path_of(key)
        if is_own(variant, path, key):
            problems.warn(path, f"{key} of {variant.title} has no effect without run_as: {JOBS}. Leave it out.")


def _impossible(variant: Variant, service: Service) -> str:
    """Why workers of a variant cannot run as Jobs at all; empty if they can."""
    if variant.adopted:
        return (
            f"{variant.title} is adopted, so its workers stay pods of the Deployment {variant.deployment}; leave "
            "run_as out, or adopt."
        )
    broker = service.broker
    if broker is not None and broker.is_sound and broker.type == "sqs":
        return (
            f"SQS tells how many messages workers hold only roughly and late, so KEDA would start too many Jobs for "
            f"{variant.title}, or too few. Leave run_as out."
        )
    if not variant.sees_in_flight and variant.blind_reason != "the broker is not known":
        return (
            f"KEDA counts Jobs against what waits and what workers hold, and of {variant.title} it cannot see the "
            f"second: {variant.blind_reason}. Write idempotent: true if every task may run twice and leave in_flight "
            "and acks_late out, or leave run_as out."
        )
    return ""


def _keys_without_effect(variant: Variant) -> Iterator[Fault]:
    for key, reason in _IDLE_KEYS.items():
        if is_own(variant, variant.path_of(key), key):
            yield key, f"{key} of {variant.title} has no effect with run_as: {JOBS}: {reason}. Leave it out."


def _numbers(variant: Variant) -> Iterator[Fault]:
    scaling, jobs = variant.scaling, variant.jobs
    if scaling.min_replicas:
        yield (
            "min_replicas",
            f"min_replicas is {scaling.min_replicas}, and a Job of {variant.title} ends when nothing is left to do, so "
            "that KEDA would start it again and again. Write min_replicas: 0 on the variant, or leave run_as out.",
        )
    if jobs.max_age_seconds <= jobs.idle_seconds:
        yield (
            "max_age_seconds",
            f"max_age_seconds {jobs.max_age_seconds} of {variant.title} must be above idle_seconds "
            f"{jobs.idle_seconds}; raise one or lower the other.",
        )
    if scaling.paused in ("paused-scale-in", "paused-scale-out"):
        yield (
            "paused",
            f"KEDA pauses Jobs as a whole, and no single direction: write paused: true for {variant.title}, or leave "
            "it out.",
        )


def _triggers(variant: Variant) -> Iterator[Fault]:
    if variant.scaling.extra_triggers:
        yield (
            "extra_triggers",
            f"what a further trigger asks for would be added to the outstanding work of {variant.title}, and each Job "
            "that starts for it ends idle. Write extra_triggers: [] on the variant, or leave run_as out.",
        )


def _schedule(variant: Variant) -> Iterator[Fault]:
    if variant.scaling.schedule:
        yield (
            "schedule",
            f"KEDA adds up what asks for Jobs, so that {variant.title} has no floor and no ceiling by the hour. Write "
            "schedule: [] on the variant, or leave run_as out.",
        )


def _containers(variant: Variant) -> Iterator[Fault]:
    names = ", ".join(str(item.get("name")) for item in variant.pod.sidecars)
    if names:
        yield (
            "sidecars",
            f"the sidecar {names} would keep a Job of {variant.title} from ending when its worker ends. Write it under "
            "init_containers with restartPolicy: Always, which Kubernetes stops after the worker (1.29 or later).",
        )
    overrides = variant.pod.pod_overrides
    others = [str(item.get("name")) for item in overrides.get("containers", []) if item.get("name") != WORKER_CONTAINER]
    if others:
        yield (
            "pod_overrides",
            f"the container {', '.join(others)} would keep a Job of {variant.title} from ending when its worker ends. "
            "Write it under init_containers with restartPolicy: Always.",
        )
    if overrides.get("restartPolicy", "Never") != "Never":
        yield (
            "pod_overrides",
            f"restartPolicy of a Job of {variant.title} must be Never, so that KEDA counts one that failed as ended. "
            "Leave it out.",
        )


def _budget(variant: Variant) -> Iterator[Fault]:
    budget = variant.pod.pdb
    if budget is None:
        return
    if budget.max_unavailable is not None or isinstance(budget.min_available, str):
        yield (
            "pdb",
            f"of pods of Jobs, as those of {variant.title}, Kubernetes takes a whole number that must stay, and "
            f"neither max_unavailable nor percent. Leave pdb out, which keeps all of them until they end, write "
            "min_available: <number>, or pdb: false.",
        )


_RULES: tuple[Callable[[Variant], Iterator[Fault]], ...] = (
    _keys_without_effect,
    _numbers,
    _triggers,
    _schedule,
    _containers,
    _budget,
)


def judge_jobs_eta(case: Case) -> None:
    """Each message that a worker holds for its ETA counts as outstanding, so KEDA starts a Job that finds nothing."""
    variant, eta = case.variant, case.variant.knowledge.longest_eta_seconds or 0.0
    if variant.runs_as_jobs and eta > LONGEST_ETA:
        case.refuse(
            "eta-jobs",
            "longest_eta_seconds",
            f"each task of {case.who} that waits for its ETA, up to {eta:g} s, may start one Job after the other that "
            f"finds nothing to do; up to {LONGEST_ETA} s are accepted. Give such tasks a queue and variant of their "
            "own with run_as: deployment, or leave run_as out.",
        )


def judge_job_slots(case: Case) -> None:
    """A Job at its maximum age takes nothing more, and counts until its last task is done."""
    variant = case.variant
    if not variant.runs_as_jobs or variant.slots == 1:
        return
    key = "extra_params" if "concurrency" in written_options(variant.process.extra_params) else "concurrency"
    case.warn(
        "job-slots",
        key,
        f"each Job of {case.who} runs up to {variant.slots} tasks. One that is about to end takes nothing more and "
        "still counts, so a message may wait until its longest task is done. Write concurrency: 1.",
    )
