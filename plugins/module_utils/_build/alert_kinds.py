# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of alert: which variants have it, for which of them one rule does, and what that rule says.

What differs from variant to variant anyway (max_replicas, poison_starts, drain_seconds) is compared as a number for
each. All else that differs makes a rule of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from .._celery.in_flight import quarantines_of
from .._model.fleet import Fleet, Server, Variant
from .._model.watching import Alerts
from .promql import (
    DONE,
    ENDED,
    Scope,
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

#: Templates of Prometheus.
_TITLE = "{{$labels.service}}.{{$labels.variant}}"
_DEPLOYMENT = "{{$labels.deployment}}"
_VALUE = "{{ $value | humanize }}"


@dataclass(frozen=True)
class Case:
    """One variant, and what its alerts go by.

    :param taken_hpa: the HPA that was taken over, if its name is another one than KEDA's own.
    """

    fleet: Fleet
    variant: Variant
    limits: Alerts
    taken_hpa: str = ""

    @property
    def flower(self) -> Server | None:
        """The Flower that listens to the variant's broker."""
        return next((one for one in self.fleet.monitoring.flowers if self.variant.service in one.services), None)

    @property
    def flower_knows(self) -> str:
        """Holds unless that Flower knows no worker at all, or nobody scrapes it, so that it tells nothing."""
        labels = Scope(self.fleet.namespace, "").in_namespace
        if self.flower is not None and len(self.fleet.monitoring.flowers) > 1:
            names = "|".join(item.deployment for item in self.fleet.variants if item.service in self.flower.services)
            labels += f", {Scope(self.fleet.namespace, f'(?:{names})').workers}"
        return f"on () count(flower_worker_online{{{labels}}}) > 0"

    @property
    def held_by(self) -> str:
        """Where it is known what workers hold: C(redis) tells it apart from what waits, another C(broker) does not."""
        broker = self.fleet.service_of(self.variant).broker
        if broker is not None and self.variant.uses_keda and self.variant.sees_in_flight:
            return "redis" if broker.is_redis else "broker"
        return "flower"

    @property
    def longest(self) -> float:
        """Seconds that the longest task takes, as far as the inventory says: with C(profile: long) the grace period."""
        said = self.variant.knowledge.longest_task_seconds or self.variant.process.time_limit
        if not said and self.variant.knowledge.profile == "long":
            return float(self.variant.pod.termination_grace_period)
        return said or 0.0

    @property
    def stalled(self) -> int:
        """Seconds in which a task must have succeeded where some are held. One that waits for its ETA is held too."""
        if self.limits.stalled_seconds:
            return self.limits.stalled_seconds
        eta = self.variant.knowledge.longest_eta_seconds
        return round((self.longest or 3600) + (3600 if eta is None else eta) + 300)

    @property
    def pace_window(self) -> int:
        """With long tasks hardly any ends in ten minutes, and the pace would be a matter of chance."""
        return max(600, round(self.longest))

    @property
    def drain(self) -> int:
        """Seconds that the backlog may need."""
        return self.limits.drain_seconds or round(max(self.variant.knowledge.max_wait_seconds, self.longest))

    @property
    def starts(self) -> int:
        """Tasks that may start and not end."""
        return self.limits.poison_starts or max(20, 2 * self.variant.slots * self.variant.most_pods)

    @property
    def recent(self) -> int:
        """Seconds that are wide enough for two readings of the broker."""
        return 60 * math.ceil((self.variant.scaling.polling_interval + 90) / 60)

    @property
    def waits_above(self) -> int:
        """Messages that may wait for ever."""
        return self.variant.scaling.activation_list_length


@dataclass(frozen=True)
class Rule:
    """What a rule says of some variants.

    :param lasts: seconds that the expression must hold.
    :param summary: one sentence.
    :param description: what is known, with the number, and what it means.
    :param texts: labels of the variants that only the description needs.
    """

    expr: str
    lasts: float
    summary: str
    description: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of alert.

    :param applies: whether something gives numbers for a variant.
    :param lasts: seconds that it must hold.
    :param others: what must be the same, beside that time, for variants to share a rule.
    :param say: makes the rule of some variants that are alike.
    """

    name: str
    severity: str
    applies: Callable[[Case], bool]
    lasts: Callable[[Case], float]
    others: Callable[[Case], Hashable]
    say: Callable[[Members, list[Case]], Rule]

    def alike(self, case: Case) -> Hashable:
        """Equal for variants that one rule does for."""
        return self.lasts(case), self.others(case)

    def rule(self, members: Members, cases: list[Case]) -> Rule:
        """The rule of some variants that are alike."""
        return self.say(members, cases)


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
        f"The backlog of {_TITLE} grows although it has all its pods.",
        f"{_VALUE} messages wait in {{{{$labels.queues}}}}, more than {grows} ago, and Deployment {_DEPLOYMENT} in "
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
        f"There is work for {_TITLE} and no worker.",
        f"{_VALUE} messages of {{{{$labels.queues}}}} wait or are held, and Deployment {_DEPLOYMENT} in "
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
        f"The backlog of {_TITLE} takes too long.",
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
        f"KEDA cannot read the queues of {_TITLE}.",
        f"KEDA counted {_VALUE} errors of ScaledObject {_DEPLOYMENT}-scaledobject in {members.fleet.namespace} in "
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
    return Rule(
        f"{members.joined(condition, [case.variant.deployment for case in cases])} == 1",
        lasts,
        f"KEDA has fallen back to a fixed number of pods for {_TITLE}.",
        f"ScaledObject {_DEPLOYMENT}-scaledobject in {namespace} has been in fallback for {duration(lasts)}: its "
        "numbers do not come from the broker.",
    )


def _paused(members: Members, cases: list[Case]) -> Rule:
    lasts = cases[0].limits.paused_seconds
    paused = f"max by (deployment) ({keda(members.scope, 'keda_scaled_object_paused')})"
    return Rule(
        f"{members.joined(paused, [case.variant.deployment for case in cases])} == 1",
        lasts,
        f"Scaling of {_TITLE} is paused.",
        f"ScaledObject {_DEPLOYMENT}-scaledobject in {members.fleet.namespace} has been paused for {duration(lasts)}. "
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
        f"The autoscaler of {_TITLE} does nothing.",
        f"HorizontalPodAutoscaler {known or f'{start}{_DEPLOYMENT}{end}'} in {namespace} has not been active for 10 "
        f"minutes, so Deployment {_DEPLOYMENT} in {namespace} keeps the pods that it has. Its conditions say why.",
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
        f"Many tasks of {_TITLE} fail.",
        f"{{{{ $value | humanizePercentage }}}} of the tasks that workers of Deployment {_DEPLOYMENT} in "
        f"{members.fleet.namespace} ended in {duration(WINDOW)} failed; the inventory allows "
        f"{limits.failure_ratio * 100:g}%.",
    )


def _stall(members: Members, cases: list[Case]) -> Rule:
    first = cases[0]
    return Rule(
        f"{HELD}{_only(members, cases)} > 0 unless {ON_DEPLOYMENT} {SUCCEEDED}{members.select()} "
        f"and {first.flower_knows}",
        first.stalled,
        f"Workers of {_TITLE} hold work and finish none of it.",
        f"Workers of Deployment {_DEPLOYMENT} in {members.fleet.namespace} hold {_VALUE} messages, and no task has "
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
        f"Tasks of {_TITLE} start again and again.",
        f"{_VALUE} more tasks started than ended in {window} in workers of Deployment {_DEPLOYMENT} in "
        f"{members.fleet.namespace}. A task that kills its process is given back and starts again, and sends no "
        "failure.",
    )


def _restart(members: Members, cases: list[Case]) -> Rule:
    own, window = [case.variant.deployment for case in cases], duration(WINDOW)
    return Rule(
        f"{members.joined(restarts(members.scope, window), own)} >= {cases[0].limits.restarts}",
        0,
        f"Workers of {_TITLE} restart.",
        f"Containers of Deployment {_DEPLOYMENT} in {members.fleet.namespace} restarted {_VALUE} times in {window}. A "
        "scale-down does not count.",
    )


def _out_of_memory(members: Members, cases: list[Case]) -> Rule:
    window = duration(WINDOW)
    return Rule(
        f"{members.joined(memory_kills(members.scope, window))} > 0",
        0,
        f"A worker of {_TITLE} used too much memory and was killed.",
        f"A container of Deployment {_DEPLOYMENT} in {members.fleet.namespace} was killed for its memory in the last "
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
        f"The workers of {_TITLE} are gone: Deployment {_DEPLOYMENT} in {members.fleet.namespace} has no available "
        "pod although it should, or does not exist, or nothing scales it.",
        ("queues", *(["allowed"] if any(_drains(case) for case in cases) else [])),
    )


def _in_quarantine(members: Members, cases: list[Case]) -> Rule:
    """Each variant names its own queues, because the exporter knows of no variants."""
    namespace = members.scope.in_namespace
    each = []
    for case in cases:
        queues = [json.dumps(queue, ensure_ascii=False) for queue in quarantines_of(case.variant)]
        lengths = " or ".join(select("celery_queue_length", namespace, f"queue_name={queue}") for queue in queues)
        total = f"sum (max by (queue_name) ({lengths}))"
        each.append(f'label_replace({total}, "deployment", "{case.variant.deployment}", "", "")')
    lengths = members.joined(f"({' or '.join(each)})", [case.variant.deployment for case in cases])
    return Rule(
        f"{lengths} > 0",
        0,
        f"Tasks of {_TITLE} are in quarantine.",
        f"{_VALUE} tasks of Deployment {_DEPLOYMENT} in {members.fleet.namespace} killed the process that ran them, as "
        "often as max_starts allows, and were put aside. Look at them, give them back or drop them with "
        "queueops.celery.quarantine.",
    )


def _quarantines(case: Case) -> bool:
    exporters = case.fleet.monitoring.exporters if case.fleet.monitoring.exporter is not None else ()
    return bool(quarantines_of(case.variant)) and any(case.variant.service in one.services for one in exporters)


def _always(_case: Case) -> bool:
    return True


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
    Kind("CeleryScalerFallback", "warning", _keda, lambda case: case.limits.scaler_errors_seconds, _nothing, _fallback),
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
    Kind("CeleryTasksInQuarantine", "warning", _quarantines, lambda case: 0, _nothing, _in_quarantine),
    Kind("CeleryWorkersRestart", "warning", _always, lambda case: 0, lambda case: case.limits.restarts, _restart),
    Kind("CeleryWorkerOutOfMemory", "warning", _always, lambda case: 0, _nothing, _out_of_memory),
    Kind(
        "CeleryQueueWithoutConsumer",
        "critical",
        lambda case: case.variant.scaling.replicas != 0,
        lambda case: case.limits.no_workers_seconds,
        lambda case: case.variant.goes_to_zero,
        _without_consumer,
    ),
)
