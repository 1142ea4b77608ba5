# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of alert: which variants have it, for which of them one rule does, and what that rule says.

What differs from variant to variant anyway (max_replicas, poison_starts, drain_seconds) is compared as a number for
each. All else that differs makes a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from .alert_cases import DEPLOYMENT, TITLE, VALUE, Case, Kind, Rule
from .alert_quarantine import has_quarantines, in_quarantine
from .promql import (
    DONE,
    ENDED,
    duration,
    keda,
    keda_increase,
    memory_kills,
    restarts,
    select,
)
from .recordings import (
    EVENTS,
    HELD,
    INFO,
    ON_DEPLOYMENT,
    SUCCEEDED,
    WAITING,
    WINDOW,
    Members,
    ended,
    unless_limited,
    unpaused,
)


def texts_of(case: Case) -> dict[str, str]:
    """What descriptions say of a variant that is no label of its alerts."""
    found = {"queues": ", ".join(case.variant.queues)}
    return found | ({"allowed": duration(case.drain)} if _drains(case) else {})


def _only(members: Members, cases: list[Case]) -> str:
    return members.select([case.variant.deployment for case in cases])


def _limit(members: Members, cases: list[Case], number: Callable[[Case], float], labels: str) -> str:
    """A threshold on the right of a comparison: one number, or that of each variant.

    :param labels: those that the left side keeps or gets; without any it gets its place alone.
    """
    found: dict[float, list[Case]] = {}
    for case in cases:
        found.setdefault(number(case), []).append(case)
    if len(found) == 1:
        return f"{next(iter(found)):g}"
    each = [f"{value:g} * {INFO}{_only(members, alike)}" for value, alike in found.items()]
    return f"{ON_DEPLOYMENT} {labels}({' or '.join(each)})"


def _state(members: Members, which: str) -> str:
    """Pods of Deployments, as kube-state-metrics tells."""
    return select(f"kube_deployment_{which}", members.scope.in_namespace)


def _grows(members: Members, cases: list[Case]) -> Rule:
    grows, namespace = duration(cases[0].limits.at_maximum_seconds), members.fleet.namespace
    pods = f"min_over_time({_state(members, 'spec_replicas')}[{grows}])"
    most = _limit(members, cases, lambda case: case.variant.scaling.max_replicas, "group_left () ")
    waiting = f"{WAITING}{_only(members, cases)}"
    return Rule(
        _with_queues(
            members, f"{waiting} > {waiting} offset {grows} and {ON_DEPLOYMENT} {pods} >= {most} {unpaused(members)}"
        ),
        60,
        f"The backlog of {TITLE} grows although it has all its pods.",
        f"{VALUE} messages wait in {{{{$labels.queues}}}}, more than {grows} ago, and Deployment {DEPLOYMENT} in "
        f"{namespace} has had max_replicas pods all that time.",
        ("queues",),
    )


def _with_queues(members: Members, series: str) -> str:
    return f"({series}) * {ON_DEPLOYMENT} group_left (queues) {INFO}{members.select()}"


def _no_workers(members: Members, cases: list[Case]) -> Rule:
    first = cases[0]
    work = f"{WAITING}{_only(members, cases)} > {first.waits_above}"
    if first.variant.sees_in_flight:
        work = f"({work} or {HELD}{_only(members, cases)} > 0)"
    available = _state(members, "status_replicas_available")
    return Rule(
        _with_queues(members, f"{work} and {ON_DEPLOYMENT} {available} == 0 {unpaused(members)}"),
        first.limits.no_workers_seconds,
        f"There is work for {TITLE} and no worker.",
        f"{VALUE} messages of {{{{$labels.queues}}}} wait or are held, and Deployment {DEPLOYMENT} in "
        f"{members.fleet.namespace} has had no available pod for {duration(first.limits.no_workers_seconds)}.",
        ("queues",),
    )


def _drains(case: Case) -> bool:
    return case.variant.uses_keda and case.flower is not None


def _too_slowly(members: Members, cases: list[Case]) -> Rule:
    first = cases[0]
    window = first.pace_window
    waiting = f"{WAITING}{_only(members, cases)}"
    # Workers that end nothing at all have no series, and theirs is the slowest pace of all.
    pace = f"(({ended(window)}{members.select()} or {WAITING}{members.select()} * 0) / {window})"
    limit = _limit(members, cases, lambda case: case.drain, "group_left (queues, allowed) ")
    if not limit.startswith("on "):
        limit = f"{ON_DEPLOYMENT} group_left (queues, allowed) ({limit} * {INFO}{members.select()})"
    return Rule(
        f"({waiting} > {first.waits_above}) / {pace} > {limit} and {first.flower_knows} {unpaused(members)}"
        + unless_limited(members),
        _drain_lasts(first),
        f"The backlog of {TITLE} takes too long.",
        f"At the pace of the last {duration(window)}, what waits in {{{{$labels.queues}}}} needs "
        "{{ $value | humanizeDuration }}; the inventory allows {{$labels.allowed}}.",
        ("queues", "allowed"),
    )


def _drain_lasts(case: Case) -> float:
    # After a time without work the first tasks must have had the time to end.
    return max(WINDOW, case.pace_window)


def _scaler_errors(members: Members, cases: list[Case]) -> Rule:
    first, scope = cases[0], members.scope
    recent, own = duration(first.recent), [case.variant.deployment for case in cases]
    errors = scope.total(keda_increase(scope, "keda_scaled_object_errors_total", recent))
    return Rule(
        f"{members.joined(errors, own)} > 0",
        _errors_last(first),
        f"KEDA cannot read the queues of {TITLE}.",
        f"KEDA counted {VALUE} errors of ScaledObject {DEPLOYMENT}-scaledobject in {members.fleet.namespace} in "
        f"{recent}. The number of pods does not follow the work until it can read the broker again.",
    )


def _errors_last(case: Case) -> float:
    # After the last error the expression still holds for that long, which is no part of the outage.
    return case.limits.scaler_errors_seconds + case.recent


def _fallback(members: Members, cases: list[Case]) -> Rule:
    lasts, namespace = cases[0].limits.scaler_errors_seconds, members.fleet.namespace
    series = f'kube_scaledobject_status_condition{{namespace="{namespace}", type="Fallback"}}'
    named = f'label_replace({series}, "deployment", "$1", "scaledobject", "(.+)-scaledobject")'
    condition = f"max by (deployment) ({named})"
    summary = f"KEDA has fallen back to a fixed number of pods for {TITLE}."
    meaning = "its numbers do not come from the broker."
    if _is_measured(cases[0]):
        summary = f"KEDA goes on for {TITLE} without what it cannot read."
        meaning = (
            "it cannot read Prometheus, so list_length decides, or the broker, so the number of pods stays. "
            "queueops.celery.status tells which."
        )
    return Rule(
        f"{members.joined(condition, [case.variant.deployment for case in cases])} == 1",
        lasts,
        summary,
        f"ScaledObject {DEPLOYMENT}-scaledobject in {namespace} has been in fallback for {duration(lasts)}: {meaning}",
    )


def _is_measured(case: Case) -> bool:
    return bool(case.variant.measured_by)


def _paused(members: Members, cases: list[Case]) -> Rule:
    lasts = cases[0].limits.paused_seconds
    paused = f"max by (deployment) ({keda(members.scope, 'keda_scaled_object_paused')})"
    return Rule(
        f"{members.joined(paused, [case.variant.deployment for case in cases])} == 1",
        lasts,
        f"Scaling of {TITLE} is paused.",
        f"ScaledObject {DEPLOYMENT}-scaledobject in {members.fleet.namespace} has been paused for {duration(lasts)}. "
        "Resume it with queueops.celery.resume, or in the inventory.",
    )


def _hpa_style(case: Case) -> Hashable:
    return case.taken_hpa or case.variant.uses_keda


def _inactive(members: Members, cases: list[Case]) -> Rule:
    """An HPA that does nothing, as it should at zero pods and not otherwise."""
    first, namespace = cases[0], members.fleet.namespace
    start, end = ("keda-hpa-", "-scaledobject") if first.variant.uses_keda else ("", "-hpa")
    name, known = (first.taken_hpa, first.taken_hpa) if first.taken_hpa else (f"{start}(.+){end}", "")
    matchers = [f'namespace="{namespace}"', 'condition="ScalingActive"', 'status="false"']
    series = f"kube_horizontalpodautoscaler_status_condition{{{', '.join(matchers)}}}"
    owner = first.variant.deployment if known else "$1"
    named = f'label_replace({series}, "deployment", "{owner}", "horizontalpodautoscaler", "{name}")'
    condition = members.joined(f"max by (deployment) ({named})", [case.variant.deployment for case in cases])
    return Rule(
        f"{condition} == 1 and {ON_DEPLOYMENT} {_state(members, 'spec_replicas')} > 0",
        600,
        f"The autoscaler of {TITLE} does nothing.",
        f"HorizontalPodAutoscaler {known or f'{start}{DEPLOYMENT}{end}'} in {namespace} has not been active for 10 "
        f"minutes, so Deployment {DEPLOYMENT} in {namespace} keeps the pods that it has. Its conditions say why.",
    )


def _of_kind(select: str, kinds: str) -> str:
    """Tasks that had an event of some kind in the window."""
    equals = "=~" if "|" in kinds else "="
    return f'sum without (type) ({EVENTS}{select[:-1]}, type{equals}"{kinds}"}})'


def _fail(members: Members, cases: list[Case]) -> Rule:
    limits = cases[0].limits
    failed = _of_kind(_only(members, cases), "task-failed")
    return Rule(
        f"{failed} / {_of_kind(members.select(), DONE)} > {limits.failure_ratio:g} and {failed} >= "
        f"{limits.failure_minimum}",
        60,
        f"Many tasks of {TITLE} fail.",
        f"{{{{ $value | humanizePercentage }}}} of the tasks that workers of Deployment {DEPLOYMENT} in "
        f"{members.fleet.namespace} ended in {duration(WINDOW)} failed; the inventory allows "
        f"{limits.failure_ratio * 100:g}%.",
    )


def _stall(members: Members, cases: list[Case]) -> Rule:
    first = cases[0]
    return Rule(
        f"{HELD}{_only(members, cases)} > 0 unless {ON_DEPLOYMENT} {SUCCEEDED}{members.select()} "
        f"and {first.flower_knows}",
        first.stalled,
        f"Workers of {TITLE} hold work and finish none of it.",
        f"Workers of Deployment {DEPLOYMENT} in {members.fleet.namespace} hold {VALUE} messages, and no task has "
        f"succeeded for {duration(first.stalled)}, which is longer than the longest task.",
    )


def _do_not_end(members: Members, cases: list[Case]) -> Rule:
    started, window = _of_kind(_only(members, cases), "task-started"), duration(WINDOW)
    # An empty result is no zero.
    over = f"({_of_kind(members.select(), ENDED)} or {started} * 0)"
    limit = _limit(members, cases, lambda case: case.starts, "group_left () ")
    return Rule(
        f"{started} - {over} > {limit}",
        60,
        f"Tasks of {TITLE} start again and again.",
        f"{VALUE} more tasks started than ended in {window} in workers of Deployment {DEPLOYMENT} in "
        f"{members.fleet.namespace}. A task that kills its process is given back and starts again, and sends no "
        "failure.",
    )


def _restart(members: Members, cases: list[Case]) -> Rule:
    own, window = [case.variant.deployment for case in cases], duration(WINDOW)
    return Rule(
        f"{members.joined(restarts(members.scope, window), own)} >= {cases[0].limits.restarts}",
        0,
        f"Workers of {TITLE} restart.",
        f"Containers of Deployment {DEPLOYMENT} in {members.fleet.namespace} restarted {VALUE} times in {window}. A "
        "scale-down does not count.",
    )


def _out_of_memory(members: Members, cases: list[Case]) -> Rule:
    window = duration(WINDOW)
    return Rule(
        f"{members.joined(memory_kills(members.scope, window))} > 0",
        0,
        f"A worker of {TITLE} used too much memory and was killed.",
        f"A container of Deployment {DEPLOYMENT} in {members.fleet.namespace} was killed for its memory in the last "
        f"{window}. Raise resources.limits.memory, or lower concurrency or max_memory_per_child.",
    )


def _without_consumer(members: Members, cases: list[Case]) -> Rule:
    first, variants = cases[0], f"{INFO}{_only(members, cases)}"
    wanted, available = (
        f"{ON_DEPLOYMENT} {_state(members, which)}" for which in ("spec_replicas", "status_replicas_available")
    )
    # Without kube-state-metrics every Deployment is missing, which says nothing of this one.
    scraped = "on () count(kube_deployment_spec_replicas) > 0"
    gone = f"{variants} unless {wanted} and {scraped}"
    if first.variant.goes_to_zero:
        unscaled = f"unless {ON_DEPLOYMENT} {WAITING}{members.select()} and on () count(keda_scaler_metrics_value) > 0"
        other = f"{variants} and {wanted} == 0 {unscaled}"
    else:
        other = f"{variants} and {available} == 0"
    if any(case.variant.uses_keda for case in cases):
        other += f" {unpaused(members)}"
    return Rule(
        f"{gone} or {other}",
        first.limits.no_workers_seconds,
        "No worker takes messages from {{$labels.queues}}.",
        f"The workers of {TITLE} are gone: Deployment {DEPLOYMENT} in {members.fleet.namespace} has no available "
        "pod although it should, or does not exist, or nothing scales it.",
        ("queues", *(["allowed"] if any(_drains(case) for case in cases) else [])),
    )


def _as_pods(case: Case) -> bool:
    return not case.variant.runs_as_jobs


def _nothing(_case: Case) -> Hashable:
    return None


def _keda(case: Case) -> bool:
    return case.variant.uses_keda


def _flower(case: Case) -> bool:
    return case.flower is not None


KINDS = (
    Kind(
        "CeleryBacklogGrowsAtMaximum",
        "warning",
        _keda,
        lambda case: 60,
        lambda case: case.limits.at_maximum_seconds,
        _grows,
    ),
    Kind(
        "CeleryWorkWithoutWorkers",
        "critical",
        _keda,
        lambda case: case.limits.no_workers_seconds,
        lambda case: (case.waits_above, case.variant.sees_in_flight),
        _no_workers,
    ),
    Kind("CeleryScalerErrors", "warning", _keda, _errors_last, lambda case: case.recent, _scaler_errors),
    Kind(
        "CeleryScalerFallback",
        "warning",
        _keda,
        lambda case: case.limits.scaler_errors_seconds,
        _is_measured,
        _fallback,
    ),
    Kind("CeleryScalerPaused", "info", _keda, lambda case: case.limits.paused_seconds, _nothing, _paused),
    Kind(
        "CeleryAutoscalerInactive",
        "warning",
        lambda case: case.variant.has_scaler,
        lambda case: 600,
        _hpa_style,
        _inactive,
    ),
    Kind(
        "CeleryDrainsTooSlowly",
        "warning",
        _drains,
        _drain_lasts,
        lambda case: (case.pace_window, case.waits_above, case.flower_knows),
        _too_slowly,
    ),
    Kind(
        "CeleryTasksFail",
        "warning",
        _flower,
        lambda case: 60,
        lambda case: (case.limits.failure_ratio, case.limits.failure_minimum),
        _fail,
    ),
    Kind("CeleryTasksStall", "warning", _flower, lambda case: case.stalled, lambda case: case.flower_knows, _stall),
    Kind("CeleryTasksDoNotEnd", "warning", _flower, lambda case: 60, _nothing, _do_not_end),
    Kind("CeleryTasksInQuarantine", "warning", has_quarantines, lambda case: 0, _nothing, in_quarantine),
    Kind("CeleryWorkersRestart", "warning", _as_pods, lambda case: 0, lambda case: case.limits.restarts, _restart),
    Kind("CeleryWorkerOutOfMemory", "warning", _as_pods, lambda case: 0, _nothing, _out_of_memory),
    Kind(
        "CeleryQueueWithoutConsumer",
        "critical",
        lambda case: case.variant.scaling.replicas != 0 and _as_pods(case),
        lambda case: case.limits.no_workers_seconds,
        lambda case: case.variant.goes_to_zero,
        _without_consumer,
    ),
)
