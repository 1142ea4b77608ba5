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
from collections.abc import Callable

from .._build.demand import (
    FORMULA_TYPES,
    RESOURCE_TYPES,
    needs_formula,
)
from .._celery.brokers import (
    address_of,
    physical_queue,
    place_of,
)
from .._celery.command import (
    effective_pool,
    written_options,
)
from .._celery.sizing import (
    SMALLEST_CHILD,
    child_share,
    resources_in_force,
)
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant, titles_of
from .._schema.counted import counted
from .._schema.problems import Problems
from .._schema.versions import (
    Versions,
)
from .acknowledgement import (
    _visibility_in_force,
    judge_autoscale,
    judge_child_lost,
    judge_consumer_timeout,
    judge_control_queues,
    judge_delivery_limit,
    judge_disable_prefetch,
    judge_early_acknowledgement,
    judge_endless_timeout,
    judge_eta_limit,
    judge_eta_prefetch,
    judge_fallback,
    judge_invisible_work,
    judge_prefetch,
    judge_unknown_settings,
    judge_visibility,
)
from .budgets import judge_budgets, most_processes
from .jobs import judge_job_slots, judge_jobs_eta
from .risks import Case, PathOf, is_accepted, known_risks, with_rule
from .schedules import judge_schedule, judge_schedules_without_keda
from .times import (
    judge_cooldown,
    judge_grace,
    judge_heartbeat,
    judge_idle_limits,
    judge_idle_times,
    judge_long_grace,
    judge_slow_drain,
    judge_time_limits,
)
from .versions import (
    judge_beat_liveness,
    judge_old_celery,
    judge_old_kombu,
    judge_old_redis,
    judge_too_old,
    judge_versions,
)


def check_safety(variant: Variant, service: Service, versions: Versions, path_of: PathOf, problems: Problems) -> None:
    """Rules within one variant.

    :param path_of: where a key of this variant was written.
    """
    case = Case(variant, service, versions, path_of, problems)
    for judge in _JUDGES:
        judge(case)


def _child_memory(case: Case) -> None:
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


def _blocked_eviction(case: Case) -> None:
    """A budget by which no pod may ever go, so that the node drains of a cluster's update wait until somebody looks."""
    budget, most = case.variant.pod.pdb, case.variant.most_pods
    # Jobs end by themselves, and none may be evicted unless the user lets some go.
    if budget is None or case.variant.runs_as_jobs:
        return
    least, away = budget.min_available, budget.max_unavailable
    if least == "100%" or (isinstance(least, int) and least >= most):
        said = f"pdb.min_available {least} of {case.who} is not below the {counted(most, 'pod')} that it can have"
    elif away in (0, "0%"):
        said = f"pdb.max_unavailable {away} of {case.who} lets no pod be away"
    else:
        return
    instead = f"Write max_unavailable: 1, or min_available: {most - 1}." if most > 1 else "Write pdb: false."
    case.warn(
        "blocked-eviction", "pdb", f"{said}, so no pod may be evicted, and the drain of its node waits. {instead}"
    )


def _extra_triggers(case: Case) -> None:
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
                "priorities, several queues, a schedule or a budget). Take it in as a prometheus trigger, or give it "
                "a variant of its own.",
            )
        elif kind == "cron":
            _desired_replicas(case, trigger["metadata"].get("desiredReplicas", ""), f"{path}.metadata.desiredReplicas")


def _desired_replicas(case: Case, written: str, path: str) -> None:
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


_JUDGES: tuple[Callable[[Case], None], ...] = (
    known_risks,
    judge_invisible_work,
    judge_early_acknowledgement,
    judge_child_lost,
    judge_disable_prefetch,
    judge_prefetch,
    judge_unknown_settings,
    judge_grace,
    judge_long_grace,
    judge_visibility,
    judge_consumer_timeout,
    judge_delivery_limit,
    judge_control_queues,
    judge_eta_prefetch,
    judge_cooldown,
    judge_jobs_eta,
    judge_job_slots,
    judge_fallback,
    judge_autoscale,
    judge_eta_limit,
    judge_endless_timeout,
    _child_memory,
    _blocked_eviction,
    judge_idle_limits,
    judge_heartbeat,
    judge_slow_drain,
    judge_versions,
    _extra_triggers,
    judge_schedule,
)


def check_safety_of_fleet(fleet: Fleet, problems: Problems) -> None:
    """Rules between variants."""
    _shared_queues(fleet, problems)
    _shared_index(fleet, problems)
    _broker_connections(fleet, problems)
    _database_connections(fleet, problems)
    judge_time_limits(fleet, problems)
    judge_old_kombu(fleet, problems)
    judge_old_redis(fleet, problems)
    judge_beat_liveness(fleet, problems)
    judge_idle_times(fleet, problems)
    judge_schedules_without_keda(fleet, problems)
    judge_budgets(fleet, problems)
    judge_too_old(fleet, problems)
    judge_old_celery(fleet, problems)


def _shared_queues(fleet: Fleet, problems: Problems) -> None:
    """A queue with two consumers is scaled twice, and a task that reaches an app without it is discarded by Celery."""
    consumers: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for variant in fleet.variants:
        broker = fleet.service_of(variant).broker
        for queue in variant.queues if broker is None or broker.is_sound else ():
            consumers[(place_of(broker), physical_queue(broker, queue))].append(variant)
    for (_place, queue), variants in consumers.items():
        if len(variants) < 2 or is_accepted("shared-queue", variants):
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
        if own and len(set(timeouts.values())) > 1 and not is_accepted("visibility-timeout", variants):
            shortest = min(variants, key=lambda variant: timeouts[variant.path])
            longest = max(variants, key=lambda variant: timeouts[variant.path])
            message = (
                f"{titles_of(variants)} share one index of unacknowledged messages, so the shortest visibility timeout "
                f"counts for all of them: {timeouts[shortest.path]} s of {shortest.title}, although {longest.title} "
                f"has {timeouts[longest.path]} s. Leave visibility_timeout out, and set transport_options: "
                f"{{visibility_timeout: {timeouts[longest.path]}}} on the broker."
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
    needed = math.ceil(most_processes(variants) * 1.25)
    if needed <= limit or is_accepted("connections", variants):
        return
    largest = max(variants, key=lambda variant: variant.most_pods * variant.slots)
    message = (
        f"all pods of {len(variants)} variants together could open {needed} connections (Σ max_replicas * slots * "
        f"1.25), and {what} accepts {limit}. Lower max_replicas, first of {largest.title} with {largest.most_pods} "
        f"pods * {largest.slots} slots, or raise the limit."
    )
    problems.add(path, with_rule(message, "connections"))
