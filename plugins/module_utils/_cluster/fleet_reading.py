# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads how a fleet is: its objects, pods and events, and what its queues hold. One request a kind, whatever its size.

Only where KEDA's operator does not tell what a queue holds is a pod of that variant asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from .._celery.brokers import key_prefix
from .._celery.in_flight import SHARED_HASH
from .._celery.inquiry import Answer, Question
from .._model.fleet import Fleet, Service, Variant
from .._model.names import ADOPTED_LABEL, FLEET_LABEL
from .._model.observed import Observed
from .asking import ask, ready_pod
from .direct import CONTENTS, DirectCluster
from .operator_metrics import OperatorMetrics, ask_operator, distrust, job_series, numbers_of
from .reading import ClusterError, pods_of, selected_by
from .verification import question_for

Object = dict[str, Any]

#: Pods that are asked at the same time, seconds that one may take, and all of them together.
_AT_ONCE, _PATIENCE, _LONGEST = 8, 30, 60
#: What of the events says why the number of pods changed, or could not.
_EVENT_KINDS = ("HorizontalPodAutoscaler", "ScaledObject")


#: Counts what waits for some variants, and what they hold, by Deployment.
Count = Callable[[Collection[Variant]], Mapping[str, Answer]]


@dataclass(frozen=True)
class Readings:
    """What was read of a fleet.

    :param live: objects as the API server returned them, by kind and name.
    :param pods: by the name of their Deployment.
    :param events: of the scalers, in no order.
    :param numbers: Deployment to what KEDA has read for each of its triggers.
    :param answers: Deployment to what one of its pods said.
    :param doubts: Deployment to why its numbers are not known.
    :param counted: Deployment to what its broker said itself, where neither KEDA nor a pod did.
    :param keda: where KEDA was asked; empty where it could not be.
    :param keda_advice: what to do so that it can be.
    :param keda_down: why KEDA's operator works on nothing; empty where it works, and where that is not known.
    :param unread: what could not be read, with the right to grant.
    """

    observed: Observed
    live: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    pods: Mapping[str, list[Object]] = field(default_factory=dict)
    events: tuple[Object, ...] = ()
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    counted: Mapping[str, Answer] = field(default_factory=dict)
    keda: str = ""
    keda_advice: str = ""
    keda_down: str = ""
    unread: tuple[str, ...] = ()

    def find(self, kind: str, name: str) -> Object | None:
        """An object by kind and name."""
        return self.live.get((kind, name))


def read_fleet_state(
    cluster: DirectCluster,
    fleet: Fleet,
    observed: Observed,
    keda_namespace: str,
    asked: Collection[Variant],
    chosen: Collection[Variant] = (),
    count: Count | None = None,
) -> Readings:
    """Read what the status of a fleet is made from, beside what was read of its namespace.

    :param observed: what was read through this cluster, whose objects it keeps.
    :param keda_namespace: where KEDA is, if the inventory says so.
    :param asked: variants of which a pod is asked for what KEDA does not tell.
    :param chosen: variants whose brokers are asked for what neither KEDA nor a pod tells, with C(count).
    :raises ClusterError: if the fleet's ConfigMaps or claims cannot be read.
    """
    _read_contents(cluster, fleet, observed)
    unread: list[str] = []
    pods = _pods(cluster, fleet, unread)
    runs_jobs = any(item.runs_as_jobs for item in fleet.variants)
    events = _events(cluster, (*_EVENT_KINDS, "ScaledJob") if runs_jobs else _EVENT_KINDS, unread)
    scaled = {item.deployment for item in fleet.variants if item.is_counted}
    keda = ask_operator(cluster, keda_namespace) if scaled else OperatorMetrics()
    numbers, doubts = _told_by_keda(cluster, fleet, keda)
    answers = _ask_pods(cluster, fleet, [item for item in asked if item.deployment not in numbers], pods)
    return Readings(
        observed=observed,
        live=cluster.live,
        pods=pods,
        events=tuple(events),
        numbers=numbers,
        answers=answers,
        doubts={name: text for name, text in doubts.items() if name not in answers},
        counted=_counted(chosen, numbers, answers, count),
        keda=keda.place,
        keda_advice=keda.advice,
        keda_down=keda.refusal if keda.is_down else "",
        unread=tuple(unread),
    )


def _counted(
    chosen: Iterable[Variant], numbers: Collection[str], answers: Mapping[str, Answer], count: Count | None
) -> Mapping[str, Answer]:
    """What the brokers say of variants of which nothing else tells."""
    told = {*numbers, *(name for name, answer in answers.items() if answer.waiting is not None)}
    unknown = [item for item in chosen if item.deployment not in told]
    return count(unknown) if count is not None and unknown else {}


def _read_contents(cluster: DirectCluster, fleet: Fleet, observed: Observed) -> None:
    """Read what was listed by its name only, such as routes. No Secret is."""
    ours = {item.kind for item in observed.ours(fleet.name)}
    for kind in CONTENTS:
        if kind in ours and kind != "Secret":
            cluster.read_contents(kind, f"{FLEET_LABEL}={fleet.name}")


def _pods(cluster: DirectCluster, fleet: Fleet, unread: list[str]) -> dict[str, list[Object]]:
    """Pods by Deployment: one list of the fleet's, or of all where a Deployment of others has none of its labels."""
    own = {item.deployment: cluster.live.get(item.worker_object) for item in fleet.variants}
    foreign = any(
        live is not None and ADOPTED_LABEL in (live["metadata"].get("labels") or {}) for live in own.values()
    ) or any(item.adopted for item in fleet.variants)
    try:
        listed = cluster.list_objects("Pod", "v1", selector=None if foreign else f"{FLEET_LABEL}={fleet.name}") or []
    except ClusterError as error:
        unread.append(str(error))
        return {}
    by_label = _by_label(listed)
    found = {}
    for name, live in own.items():
        if live is not None:
            found[name] = pods_of(live, _candidates(live, by_label, listed), with_ended=True)
    return found


def _by_label(pods: Iterable[Object]) -> dict[tuple[str, str], list[Object]]:
    """Pods by each of their labels, so that a thousand Deployments need not look at a thousand pods each."""
    found: dict[tuple[str, str], list[Object]] = {}
    for pod in pods:
        for label in (pod["metadata"].get("labels") or {}).items():
            found.setdefault(label, []).append(pod)
    return found


def _candidates(
    deployment: Object, by_label: Mapping[tuple[str, str], list[Object]], every: list[Object]
) -> list[Object]:
    wanted, _is_job = selected_by(deployment)
    return min((by_label.get(label, []) for label in wanted.items()), key=len, default=every)


def _events(cluster: DirectCluster, kinds: Iterable[str], unread: list[str]) -> list[Object]:
    found: list[Object] = []
    for kind in kinds:
        try:
            found += cluster.list_objects("Event", "v1", fields=f"involvedObject.kind={kind}") or []
        except ClusterError as error:
            unread.append(str(error))
            break
    return found


def _told_by_keda(
    cluster: DirectCluster, fleet: Fleet, keda: OperatorMetrics
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """What the operator says of each variant, and why it says nothing of the others."""
    numbers: dict[str, dict[str, float]] = {}
    doubts: dict[str, str] = {}
    for variant in fleet.variants:
        live = cluster.live.get(variant.keda_object) if variant.keda_object is not None else None
        if live is None:
            doubts[variant.deployment] = "KEDA does not scale it"
            continue
        name = str(live["metadata"]["name"])
        series = keda.series.get(job_series(name) if variant.runs_as_jobs else name, ())
        doubt = keda.refusal or distrust(live)
        read = numbers_of(live, series) if not doubt else {}
        if read:
            numbers[variant.deployment] = read
        else:
            doubts[variant.deployment] = doubt or f"{keda.place} has no number of it"
    return numbers, doubts


# Pods


def counting_question(service: Service, variant: Variant, pods: Iterable[Object]) -> Question:
    """What a pod is asked: how many messages wait, and what the workers of its variant hold."""
    asked = question_for(variant, service, canaries=False)
    broker = service.broker
    is_redis = broker is not None and broker.type in ("redis", "redis-sentinel")
    shared = f"{key_prefix(broker)}{SHARED_HASH}" if is_redis and broker is not None else ""
    names = sorted(str(pod["metadata"]["name"]) for pod in pods if ready_pod([pod]) is not None)
    nodes = tuple(f"{asked.group}@{name}" for name in names) if asked.inspects and "%" not in asked.group else ()
    return replace(
        asked,
        hash=asked.hash or shared,
        is_shared=not asked.hash and bool(shared),
        inspects=False,
        counts=True,
        nodes=nodes,
        timeout=5,
    )


def _ask_pods(
    cluster: DirectCluster, fleet: Fleet, variants: Iterable[Variant], pods: Mapping[str, list[Object]]
) -> dict[str, Answer]:
    """Ask one pod of each of these variants, several at the same time. One that takes too long has not answered."""
    services = {service.name: service for service in fleet.services}
    work: dict[str, Callable[[], Answer]] = {}
    for variant in variants:
        own = pods.get(variant.deployment, [])
        pod = ready_pod(own)
        if pod is not None:
            question = counting_question(services[variant.service], variant, own)
            work[variant.deployment] = _asking(cluster, pod, question)
    if not work:
        return {}
    pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
    try:
        started: dict[str, Future[Answer]] = {name: pool.submit(one) for name, one in work.items()}
        wait(started.values(), timeout=_LONGEST)
        late = Answer(error=f"not answered within {_LONGEST} s")
        return {name: one.result() if one.done() else late for name, one in started.items()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _asking(cluster: DirectCluster, pod: Object, question: Question) -> Callable[[], Answer]:
    return lambda: ask(cluster, pod, question, _PATIENCE)
