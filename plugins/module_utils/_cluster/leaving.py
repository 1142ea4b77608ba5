# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run would leave in queues that no worker consumes afterwards.

A worker that goes, or a variant whose queues change, leaves behind what waits in its queues. A command in a pod asks
the broker for the number: nothing else is sure to reach it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._celery.brokers import place_of
from .._celery.command import app_of
from .._celery.inquiry import Answer, Question, settings_in
from .._model.fleet import Fleet
from .._model.names import (
    COMPONENT_LABEL,
    SERVICE_LABEL,
    UNACKED_ANNOTATION,
    VARIANT_LABEL,
    scaled_object_name,
)
from .._model.observed import API_VERSIONS, PAUSED, WORKER_KINDS, Observed, ObservedObject, observed_object
from .._schema.counted import counted, messages_wait
from .asking import ask, ready_pod, worker_words_of
from .operator_metrics import distrust, is_without_work
from .readiness import condition
from .reading import Cluster, fleet_deployments, fleet_pods, fleet_workers, pods_of

Object = dict[str, Any]

#: What this run does to a Deployment.
PRUNED, REMOVED, CHANGED = "prune removes", "this removal deletes", "this run changes"
#: Seconds that one command moves messages; a longer one might be cut by a proxy in between.
_PATIENCE = 60


@dataclass(frozen=True)
class Leaving:
    """A Deployment whose worker leaves queues, with those that no other worker of the fleet consumes afterwards.

    :param what: one of the words above.
    """

    deployment: str
    service: str
    variant: str
    queues: tuple[str, ...]
    what: str
    is_tracked: bool = False
    kind: str = "Deployment"

    @property
    def goes(self) -> bool:
        """Whether the Deployment itself goes."""
        return self.what != CHANGED

    @property
    def title(self) -> str:
        """The variant, in short."""
        return f"{self.service}/{self.variant}" if self.service else f"{self.kind} {self.deployment}"


@dataclass(frozen=True)
class Move:
    """Messages that are moved before their worker goes.

    :param deployment: the one that leaves the queues.
    :param others: Deployments whose pods reach the same broker.
    """

    deployment: str
    others: tuple[str, ...]
    queues: tuple[str, ...]
    to: str


@dataclass
class Left:
    """What a run would leave behind.

    :param problems: why it stops.
    :param notes: what was found out, for people.
    :param moves: what is moved before anything goes.
    :param leaving: every Deployment whose worker leaves a queue, which is looked at once more before and after it goes.
    :param idle: those of them that go and have nothing to do, as their scaler says, which knows it as long as it stays.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    leaving: list[Leaving] = field(default_factory=list)
    idle: frozenset[str] = frozenset()


def leavings(fleet: Fleet, observed: Observed, prunes: bool, removes: bool = False) -> list[Leaving]:
    """Every Deployment and ScaledJob of the fleet whose worker leaves a queue without a consumer.

    :param prunes: whether the run removes Deployments that no variant owns.
    :param removes: whether it removes the whole fleet.
    """
    variants = {} if removes else {variant.deployment: variant for variant in fleet.variants}
    own = [item for item in observed.ours(fleet.name) if item.kind in WORKER_KINDS and _is_worker(item)]
    stay = [item for item in own if not (removes or prunes or item.name in variants)]
    found = []
    for item in own:
        variant = variants.get(item.name)
        if item in stay or not item.queues:
            continue
        kept = set(variant.queues) if variant is not None else set()
        after = kept | _consumed_by_others(fleet, item, stay, removes)
        queues = tuple(queue for queue in item.queues if queue not in after)
        if queues:
            what = REMOVED if removes else PRUNED if variant is None else CHANGED
            place = (item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, ""))
            found.append(Leaving(item.name, *place, queues, what, UNACKED_ANNOTATION in item.annotations, item.kind))
    return found


def _is_worker(item: ObservedObject) -> bool:
    return VARIANT_LABEL in item.labels and COMPONENT_LABEL not in item.labels


def _consumed_by_others(fleet: Fleet, item: ObservedObject, stay: Iterable[ObservedObject], removes: bool) -> set[str]:
    """Queues that workers of the same broker consume after the run."""
    found = {queue for other in stay if other.replicas != 0 or _is_scaled(other) for queue in other.queues}
    if removes:
        return found
    home = next((one for one in fleet.services if one.name == item.labels.get(SERVICE_LABEL)), None)
    places = {place_of(one.broker) for one in fleet.services if one.broker is not None}
    for service in fleet.services:
        if service.broker is None:
            continue
        same = len(places) == 1 or (home is not None and home.broker is not None and _same(home, service))
        if same:
            found |= {queue for variant in service.variants for queue in variant.queues}
    return found


def _same(one: Any, other: Any) -> bool:
    return bool(place_of(one.broker) == place_of(other.broker))


def _is_scaled(item: ObservedObject) -> bool:
    """Whether a Deployment without a pod may get one again. A number that was applied does not change by itself."""
    return item.applied_replicas is None


def left_behind(
    cluster: Cluster,
    fleet: Fleet,
    observed: Observed,
    found: list[Leaving],
    live: Mapping[tuple[str, str], Object],
    drains: bool = False,
    move_to: str = "",
    asks_all: bool = False,
) -> Left:
    """Ask how much waits in the queues that are left.

    :param live: the objects as the API server returned them.
    :param drains: whether workers finish what they run before they go.
    :param move_to: queue that it is moved to; empty for none.
    :param asks_all: whether a scaler's word, which is some seconds old, counts only where no pod can be asked.
    """
    idle = frozenset(item.deployment for item in found if _is_known_empty(item, observed, live))
    left = Left(leaving=list(found), idle=frozenset(item.deployment for item in found if item.goes) & idle)
    unsure = [item for item in found if asks_all or item.deployment not in idle]
    if not unsure:
        return left
    deployments = fleet_workers(cluster, fleet.name, {item.kind for item in unsure})
    pods = fleet_pods(cluster, fleet.name, deployments.values())
    never = [item for item in unsure if _never_was_up(deployments.get(item.deployment) or {})]
    left.notes += [_never(item, "its workers have never been up") for item in never]
    for service in dict.fromkeys(item.service for item in unsure):
        own = [item for item in unsure if item.service == service and item not in never]
        others = _of_service(service, deployments)
        answer = _count(cluster, own, others, deployments, pods) if own else Answer()
        for item in own:
            if answer.by_queue is not None or item.deployment not in idle:
                scaler = deployments.get(item.deployment) if item.kind == "ScaledJob" else None
                _settle(left, item, _with_scaler(answer, scaler), others, drains, move_to)
    return left


def _never_was_up(live: Object) -> bool:
    """Whether no rollout of a Deployment has ever come to its end, so that its workers have taken nothing yet."""
    status, notes = live.get("status") or {}, (live.get("metadata") or {}).get("annotations") or {}
    progress = condition(live, "Progressing").get("reason")
    return (
        bool(progress)
        and notes.get("deployment.kubernetes.io/revision", "1") == "1"
        and progress != "NewReplicaSetAvailable"
        and not status.get("availableReplicas")
        and not status.get("readyReplicas")
    )


def _is_known_empty(item: Leaving, observed: Observed, live: Mapping[tuple[str, str], Object]) -> bool:
    """Whether KEDA says that nothing waits: it keeps no pod, works, and finds none of its triggers active."""
    worker = observed.find(item.kind, item.deployment)
    place = ("ScaledJob", item.deployment)
    if item.kind == "Deployment":
        place = ("ScaledObject", scaled_object_name(item.deployment))
    scaler = live.get(place)
    has_pods = worker is None or (item.kind == "Deployment" and worker.replicas != 0)
    if has_pods or scaler is None or len(item.queues) == 0:
        return False
    spec = scaler.get("spec") or {}
    # Fewer messages than wake a pod may wait for ever.
    waits = "activation" in json.dumps(spec.get("triggers") or []) or re.search(
        r"backlog[^?]*> \d", json.dumps(spec.get("advanced") or {})
    )
    return is_without_work(scaler) and not waits


def _of_service(service: str, deployments: Mapping[str, Object]) -> tuple[str, ...]:
    """Deployments whose pods reach the broker of a service."""
    labels = {name: item["metadata"].get("labels") or {} for name, item in deployments.items()}
    return tuple(name for name, own in labels.items() if own.get(SERVICE_LABEL) == service)


def _count(
    cluster: Cluster, own: list[Leaving], others: Iterable[str], deployments: Mapping[str, Object], every: list[Object]
) -> Answer:
    """How much waits in the queues of some Deployments of one service, and what their workers run."""
    queues = tuple(dict.fromkeys(queue for item in own for queue in item.queues))
    going = [deployments[item.deployment] for item in own if item.goes and item.deployment in deployments]
    names = sorted(
        str(pod["metadata"]["name"])
        for item in going
        for pod in pods_of(item, every)
        if (pod.get("status") or {}).get("phase") == "Running"
    )
    order = [item.deployment for item in own] + list(others)
    return _ask_one(cluster, order, deployments, every, queues, pods=tuple(names), leaves=True)


def _ask_one(
    cluster: Cluster,
    names: Iterable[str],
    deployments: Mapping[str, Object],
    every: list[Object],
    queues: tuple[str, ...],
    **asked: Any,
) -> Answer:
    """Ask in the first of some Deployments that has a ready pod."""
    for name in dict.fromkeys(names):
        live = deployments.get(name)
        pod = ready_pod(pods_of(live, every)) if live is not None else None
        if live is not None and pod is not None:
            words = worker_words_of(live)
            if not app_of(words):
                continue
            question = Question(app=app_of(words), group="", settings=settings_in(words), queues=queues, **asked)
            return ask(cluster, pod, question)
    return Answer(error="no pod is ready that could be asked")


def _settle(left: Left, item: Leaving, answer: Answer, others: tuple[str, ...], drains: bool, move_to: str) -> None:
    if answer.by_queue is None and answer.running == ():
        left.notes.append(_never(item, "there is no Celery in its image"))
        return
    if answer.by_queue is None:
        left.problems.append(_unknown(item, answer.error))
        return
    free = [queue for queue in item.queues if not answer.consumers.get(queue)]
    waiting = {queue: answer.by_queue.get(queue, 0) for queue in free if answer.by_queue.get(queue, 0)}
    for queue, nodes in answer.consumers.items():
        if queue in item.queues and answer.by_queue.get(queue):
            left.notes.append(
                f"{item.title}: {messages_wait(answer.by_queue[queue])} in queue {queue}, which {nodes[0]} consumes "
                "too."
            )
    own = tuple(queue for queue in free if queue != move_to)
    if move_to and answer.scheduled and item.goes:
        left.problems.append(_scheduled(item, answer.scheduled))
    elif move_to and own:
        left.moves.append(Move(item.deployment, others, own, move_to))
        left.notes += [f"{item.title}: {messages_wait(waiting[queue])} in queue {queue}." for queue in waiting]
    if move_to:
        return
    judges = item.goes and not item.is_tracked and not drains
    runs = list(answer.running or ()) if judges else []
    unknown = answer.error if judges and answer.running is None else ""
    if waiting or runs or unknown:
        left.problems.append(_refusal(item, waiting, runs, unknown))


def _with_scaler(answer: Answer, scaler: Object | None) -> Answer:
    """An answer that says as well why KEDA, which knows what waits without a pod, does not tell it."""
    why = distrust(scaler) if scaler is not None and answer.by_queue is None else ""
    return replace(answer, error=f"{answer.error}, and {why}") if why else answer


def _refusal(item: Leaving, waiting: Mapping[str, int], runs: list[str], unknown: str) -> str:
    parts = [f"{messages_wait(number)} in queue {queue}" for queue, number in waiting.items()]
    if runs:
        parts.append(f"the workers that go run {', '.join(sorted(set(runs)))}")
    if unknown:
        parts.append(f"what the workers that go run is not known ({unknown})")
    return (
        f"{item.title}: {' and '.join(parts)}, and {item.what} {item.kind} {item.deployment}, after which no worker "
        f"consumes {_queues(item.queues)}. {_ways(item)}"
    )


def _scheduled(item: Leaving, number: int) -> str:
    return (
        f"{item.title}: its workers hold {counted(number, 'task')} until their ETA, which would go back to the old "
        "queue after the move. Run again when they have started, or with celery_workers_key_change: accept."
    )


def _ways(item: Leaving) -> str:
    moves = "celery_workers_prune: move and celery_workers_move_to, which moves the messages to another queue first"
    accepts = "celery_workers_key_change: accept, which leaves them there"
    wait = "Run again when it is empty"
    if item.what != REMOVED:
        wait = "Let another variant consume it (key queues), or run again when it is empty"
    return f"{wait}; or run with {moves}; or with {accepts}."


def _queues(queues: tuple[str, ...]) -> str:
    return "it" if len(queues) == 1 else "these queues"


def _named(item: Leaving) -> str:
    return f"queue {item.queues[0]}" if len(item.queues) == 1 else f"the queues {', '.join(item.queues)}"


def _never(item: Leaving, why: str) -> str:
    return f"{item.title}: {why}, so {_named(item)} lost no consumer; what waits there is not known, and stays."


def _unknown(item: Leaving, error: str) -> str:
    return (
        f"{item.title}: how many messages wait in {_named(item)} is not known ({error}), and {item.what} {item.kind} "
        f"{item.deployment}, after which no worker consumes {_queues(item.queues)}. {_how_to_know(item, error)}; or "
        "run with celery_workers_key_change: accept, which leaves behind whatever is there."
    )


def _how_to_know(item: Leaving, error: str) -> str:
    """What to do so that a later run knows what waits."""
    if item.kind == "ScaledJob":
        resume = f"kubectl annotate scaledjob {item.deployment} {PAUSED}-"
        resumes = f"Resume it with {resume}, and then r" if "is paused" in error else "R"
        return f"{resumes}un again once KEDA says that it is not active, or while one of its Jobs is ready"
    return (
        "Start a pod that can be asked, for example with kubectl scale deployment "
        f"{item.deployment} --replicas 1, and run again"
    )


def move_messages(cluster: Cluster, fleet: str, moves: Iterable[Move]) -> Iterator[tuple[Move, Answer]]:
    """Move messages until none is left; each move with what became of it."""
    deployments = {item["metadata"]["name"]: item for item in fleet_deployments(cluster, fleet)}
    pods = fleet_pods(cluster, fleet, deployments.values())
    for move in moves:
        names, total = (move.deployment, *move.others), 0
        while True:
            answer = _ask_one(
                cluster, names, deployments, pods, move.queues, moves_to=move.to, leaves=True, patience=_PATIENCE
            )
            total += answer.moved
            left = sum((answer.by_queue or {}).values())
            if answer.error or answer.by_queue is None or not left or not answer.moved:
                break
        yield move, Answer(by_queue=answer.by_queue, moved=total, error=answer.error)


# Once more, just before and after workers go


def come_meanwhile(cluster: Cluster, fleet: Fleet, leaving: list[Leaving], drains: bool) -> list[str]:
    """Why Deployments must not go although a run has seen before that they may: work has come since.

    :param drains: whether their workers have finished what they ran.
    """
    kinds = {"Deployment", "ScaledObject", *(item.kind for item in leaving)}
    listed = {kind: cluster.list_objects(kind, API_VERSIONS[kind]) or [] for kind in sorted(kinds)}
    workers = [observed_object(kind, raw) for kind in listed if kind in WORKER_KINDS for raw in listed[kind]]
    observed = Observed(tuple(workers))
    live = {(kind, str(raw["metadata"]["name"])): raw for kind, raws in listed.items() for raw in raws}
    return left_behind(cluster, fleet, observed, leaving, live, drains, asks_all=True).problems


@dataclass(frozen=True)
class Rest:
    """What waits in a queue that no worker consumes.

    :param number: messages; None where that is not known, with the reason in C(error).
    """

    item: Leaving
    queue: str
    number: int | None
    error: str = ""

    @property
    def accepted(self) -> str:
        """What stays, where that was accepted; empty where nothing does."""
        if self.number is None:
            return f"{self.item.title}: how many messages stay in queue {self.queue} is not known ({self.error})."
        stay = f"{counted(self.number, 'message')} {'stays' if self.number == 1 else 'stay'}"
        return f"{self.item.title}: {stay} in queue {self.queue}, which no worker consumes." if self.number else ""

    @property
    def surprise(self) -> str:
        """What has come too late for the run to stop; empty where nothing has."""
        if not self.number:
            return ""
        return (
            f"{self.item.title}: {counted(self.number, 'message')} came into queue {self.queue} while it lost its last "
            "worker, and no worker consumes it now. Let a variant consume it (key queues) until it is empty."
        )


def rests(cluster: Cluster, fleet: str, leaving: list[Leaving]) -> Iterator[Rest]:
    """What waits in queues whose workers leave them, or have left them, as any pod that is there says."""
    deployments = fleet_workers(cluster, fleet, {item.kind for item in leaving})
    pods = fleet_pods(cluster, fleet, deployments.values())
    for service in dict.fromkeys(item.service for item in leaving):
        own = [item for item in leaving if item.service == service]
        queues = tuple(dict.fromkeys(queue for item in own for queue in item.queues))
        names = [*(item.deployment for item in own), *_of_service(service, deployments)]
        answer = _ask_one(cluster, names, deployments, pods, queues, leaves=True)
        for item in own:
            for queue in item.queues:
                if answer.by_queue is None:
                    yield Rest(item, queue, None, answer.error)
                elif all(_goes(node, leaving) for node in answer.consumers.get(queue, ())):
                    yield Rest(item, queue, answer.by_queue.get(queue, 0))


def _goes(node: str, leaving: list[Leaving]) -> bool:
    """Whether a node is of a Deployment that goes. Pods are named after it, and nodes after their pods."""
    names = "|".join(re.escape(item.deployment) for item in leaving if item.goes)
    return bool(names) and re.search(rf"(?:^|[@.])(?:{names})-[a-z0-9]{{1,10}}-[a-z0-9]{{5}}$", node) is not None
