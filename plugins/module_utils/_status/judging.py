# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fleet and what was read of it to its status. Pure: the same readings at the same time give the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .._build.budgets import share_of
from .._build.demand import Demand, demand_of, job_demand, without_formula
from .._build.wait_goal import goal_of
from .._cluster.fleet_reading import Readings
from .._model.fleet import Fleet, Service, Variant
from .._model.history import fingerprint
from .._model.names import MEASURES
from .._schema.cron import is_open
from .._schema.moments import kept
from .data import (
    BY_BROKER,
    BY_KEDA,
    BY_NOBODY,
    BY_POD,
    Drift,
    FleetStatus,
    Formula,
    Pods,
    Scaler,
    VariantStatus,
    Work,
)
from .formula import FormulaError, worked_out
from .past import history_of, since_deploy
from .rules import Case, fleet_problems, problems_of
from .scalers import events_by_object, hpa_of, keda_scaler, pod_scaler, rescales
from .workloads import drain_of, image_of, least_pods, pods_of_jobs, pods_of_variant

Object = dict[str, Any]
#: Service and variant to what of its objects is not as the inventory says. Both are empty for what is of the fleet.
Drifts = Mapping[tuple[str, str], Sequence[Drift]]


def status_of(
    fleet: Fleet,
    readings: Readings,
    drifts: Drifts,
    now: datetime,
    host: str = "",
    chosen: Collection[Variant] | None = None,
) -> FleetStatus:
    """How a fleet is.

    :param chosen: variants that it is about; None for all.
    """
    history, inventory = history_of(fleet.name, readings), fingerprint(fleet)
    sight = _Sight(fleet, readings, drifts, now, since_deploy(history, inventory, now))
    wanted = {(item.service, item.name) for item in (fleet.variants if chosen is None else chosen)}
    variants = tuple(
        sight.variant(service, variant)
        for service in fleet.services
        for variant in service.variants
        if (variant.service, variant.name) in wanted
    )
    names = {(item.service, item.name) for item in fleet.variants}
    found = FleetStatus(
        host=host,
        namespace=fleet.namespace,
        fleet=fleet.name,
        at=kept(now),
        numbers=_sources(variants, readings),
        variants=variants,
        drift=tuple(drift for place, own in drifts.items() if place not in names for drift in own),
        inventory=inventory,
        history=history,
    )
    return replace(found, problems=fleet_problems(found, readings, sight.since))


@dataclass
class _Sight:
    """What all variants of a fleet are judged by."""

    fleet: Fleet
    readings: Readings
    drifts: Drifts
    now: datetime
    since: str = ""

    def __post_init__(self) -> None:
        self.events = events_by_object(self.readings.events)
        self.autoscalers: dict[str, list[Object]] = {}
        for (kind, _name), item in self.readings.live.items():
            if kind == "HorizontalPodAutoscaler":
                target = ((item.get("spec") or {}).get("scaleTargetRef") or {}).get("name")
                self.autoscalers.setdefault(str(target), []).append(item)

    def variant(self, service: Service, variant: Variant) -> VariantStatus:
        """How one variant is."""
        readings = self.readings
        live = readings.find(*variant.worker_object)
        hpa = None if variant.runs_as_jobs else hpa_of(variant, self.autoscalers)
        events = self._events_of(variant, hpa)
        scaler = self._scaler(variant, hpa, events)
        demand = self._demand(service, variant)
        pods = Pods(min=least_pods(variant), max=variant.most_pods)
        image, since = None, None
        if live is not None:
            scaled_at = ((hpa or {}).get("status") or {}).get("lastScaleTime")
            own = readings.pods.get(variant.deployment, [])
            count = pods_of_jobs(variant, own) if variant.runs_as_jobs else None
            pods = count or pods_of_variant(variant, live, own, scaled_at)
            image, since = image_of(live)
        numbers, work = self._work(variant, demand, pods)
        found = VariantStatus(
            service=variant.service,
            variant=variant.name,
            deployment=variant.deployment,
            queues=variant.queues,
            exists=live is not None,
            work=work,
            pods=pods,
            formula=self._formula(variant, demand, numbers) if variant.is_counted else Formula(),
            scaler=scaler,
            drain=drain_of(live, readings.pods.get(variant.deployment, [])),
            image=image,
            image_since=since,
            drift=tuple(self.drifts.get((variant.service, variant.name), ())),
            rescales=rescales(events),
        )
        return replace(found, problems=problems_of(Case(found, variant, self.now, self.since)))

    def _demand(self, service: Service, variant: Variant) -> Demand:
        if variant.runs_as_jobs:
            return job_demand(variant, service, self.fleet.namespace)
        share, goal = share_of(self.fleet, variant), goal_of(self.fleet, variant)
        return demand_of(variant, service, self.fleet.namespace, {}, "", share, goal)

    def _events_of(self, variant: Variant, hpa: Object | None) -> list[Object]:
        found = list(self.events.get(variant.keda_object or ("ScaledObject", ""), ()))
        if hpa is not None:
            found += self.events.get(("HorizontalPodAutoscaler", str(hpa["metadata"]["name"])), ())
        return found

    def _scaler(self, variant: Variant, hpa: Object | None, events: Iterable[Object]) -> Scaler:
        if variant.keda_object is not None:
            found = keda_scaler(self.readings.find(*variant.keda_object), hpa, events, self.now)
            opened = [
                window.words
                for window in variant.scaling.schedule
                if is_open(window.start, window.end, window.timezone, self.now)
            ]
            return replace(found, window="; ".join(opened))
        return pod_scaler(hpa) if variant.has_scaler else Scaler()

    def _work(self, variant: Variant, demand: Demand, pods: Pods) -> tuple[dict[str, float], Work]:
        """What is known of its messages, as the formula reads it and as people do."""
        told = self.readings.numbers.get(variant.deployment)
        if told is not None:
            return dict(told), _from_keda(demand, told)
        answer = self.readings.answers.get(variant.deployment)
        doubt = self.readings.doubts.get(variant.deployment, "")
        counted = self.readings.counted.get(variant.deployment)
        if counted is not None and counted.waiting is not None:
            numbers = _named_numbers(demand, counted.waiting, counted.held, pods.wanted)
            return numbers, Work(counted.waiting, counted.held, source=BY_BROKER)
        if answer is None and counted is not None:
            return {}, Work(reason=counted.error)
        if answer is None:
            missing = "no pod is ready to be asked" if not pods.ready else "no pod was asked"
            return {}, Work(reason=f"{doubt}, and {missing}" if doubt else missing)
        numbers = _named_numbers(demand, answer.waiting, answer.held, pods.wanted)
        known = answer.waiting is not None or answer.held is not None
        running = answer.active if not variant.adopted else None
        in_flight = answer.held
        if in_flight is None and answer.active is not None:
            # Brokers that do not tell it: what the workers say they have.
            in_flight = answer.active + (answer.reserved or 0) + (answer.later or 0)
        source = BY_POD if known else BY_NOBODY
        return numbers, Work(answer.waiting, in_flight, running, answer.later, source, answer.error)

    def _formula(self, variant: Variant, demand: Demand, numbers: Mapping[str, float]) -> Formula:
        """What KEDA works out: by the formula that it has, or by the one that it would get."""
        scaled_object = self.readings.find(*(variant.keda_object or ("ScaledObject", "")))
        spec = (scaled_object or {}).get("spec") or {}
        modifiers = (spec.get("advanced") or {}).get("scalingModifiers") or {}
        own = modifiers.get("formula") or (without_formula(spec["triggers"]) if spec.get("triggers") else "")
        own = "" if variant.runs_as_jobs else own
        scaling = variant.scaling
        share = share_of(self.fleet, variant)
        others = () if share is None else share.others
        known: dict[str, float | None] = {
            member.reading: float(len(self.readings.pods.get(member.deployment, ()))) for member in others
        }
        known |= {**_times(demand.triggers, self.now), **_times(spec.get("triggers") or (), self.now), **numbers}
        # KEDA shows what a formula does without as -1.
        known |= {name: None for name in MEASURES if (known.get(name) or 0) < 0}
        for text in filter(None, (own, demand.formula or without_formula(demand.triggers))):
            try:
                return worked_out(text, known, scaling.min_replicas, scaling.max_replicas)
            except FormulaError:
                continue
        return Formula()


def _times(triggers: Iterable[Object], now: datetime) -> dict[str, float]:
    """What cron triggers read, which follows from the time alone."""
    found: dict[str, float] = {}
    for trigger in triggers:
        told = trigger.get("metadata") or {}
        if trigger.get("type") != "cron" or not trigger.get("name"):
            continue
        pods = str(told.get("desiredReplicas", "")).strip()
        start, end, timezone = (str(told.get(key, "")) for key in ("start", "end", "timezone"))
        opened = is_open(start, end, timezone, now)
        if opened is not None and pods.isdecimal():
            found[str(trigger["name"])] = float(pods) if opened else 0.0
    return found


def _from_keda(demand: Demand, told: Mapping[str, float]) -> Work:
    waiting, held = _sum_of(demand.waiting, told), _sum_of(demand.held, told)
    total = _sum_of(demand.total, told)
    if total is not None and waiting is not None:
        held = max(0, total - waiting)
    reason = "" if waiting is not None else "the ScaledObject has other triggers than the inventory"
    if waiting is None and total is not None:
        reason = f"KEDA reads {total} messages, those that wait and those that workers hold together"
    return Work(waiting, held, source=BY_KEDA if waiting is not None else BY_NOBODY, reason=reason)


def _sum_of(names: Iterable[str], told: Mapping[str, float]) -> int | None:
    """The sum of some numbers; None if there are none, or if one is not known."""
    listed = list(names)
    if not listed or any(name not in told for name in listed):
        return None
    return round(sum(told[name] for name in listed))


def _named_numbers(demand: Demand, waiting: int | None, held: int | None, pods: int) -> dict[str, float]:
    """What a pod has counted, under the names that the formula has for it. Only sums matter there."""
    found: dict[str, float] = {"pods": pods}
    for names, count in (
        (demand.waiting, waiting),
        (demand.held, held),
        (demand.total, None if waiting is None or held is None else waiting + held),
    ):
        if count is not None:
            found |= dict.fromkeys(names[1:], 0) | dict.fromkeys(names[:1], count)
    return found


def _sources(variants: Sequence[VariantStatus], readings: Readings) -> tuple[str, ...]:
    """Where the numbers come from, in sentences."""
    count = len(variants)
    sources = (BY_KEDA, BY_POD, BY_BROKER, BY_NOBODY)
    by = {source: [item for item in variants if item.work.source == source] for source in sources}
    found = []
    if by[BY_KEDA]:
        found.append(f"KEDA's metrics ({readings.keda}){_of(by[BY_KEDA], count)}")
    if by[BY_POD]:
        found.append(f"a pod of each variant was asked{_of(by[BY_POD], count)}")
    if by[BY_BROKER]:
        found.append(f"the broker itself, from this machine{_of(by[BY_BROKER], count)}")
    if by[BY_NOBODY]:
        found.append(f"unknown{_of(by[BY_NOBODY], count)}")
    return tuple(found)


def _of(found: Sequence[VariantStatus], count: int) -> str:
    return f": {len(found)} of {count} variants" if len(found) != count else ""
