# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of workers: what one holds, when it starts and goes, and which goes first.

Sources: Kubernetes 1.36 for the order in which a ReplicaSet takes pods, Celery 5.6 and kombu 5.7 for what workers do.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Worker:
    """How the pods of a variant work. Times are seconds.

    :param slots: tasks that a pod runs at once.
    :param holds: messages that a pod takes at most, running ones included, those with an ETA not.
    :param acks_late: whether a message is acknowledged after its task, so that a killed task comes back.
    :param steps: priority steps of the broker's lists, the first one is served first.
    :param grace: time that a stopping pod has.
    :param soft: time after which a stopping worker gives its tasks back; None where it waits for them.
    :param visibility: time after which an unacknowledged message goes to another worker; None where the broker gives
        it back as soon as the connection is gone (RabbitMQ).
    :param start: time from a pod's creation to its first task.
    :param room: pods that the nodes have room for.
    :param idle_first: whether busy pods have the higher deletion cost.
    :param connections: to the broker, of one pod.
    :param idle: time without work after which a pod ends by itself; None where it never does.
    :param age: time after which such a pod takes nothing more, and ends when nothing runs in it.
    """

    slots: int = 1
    holds: int = 1
    acks_late: bool = True
    steps: tuple[int, ...] = (0,)
    grace: float = 600.0
    soft: float | None = None
    visibility: float | None = 3600.0
    start: float = 20.0
    room: int | None = None
    idle_first: bool = False
    connections: int = 6
    idle: float | None = None
    age: float | None = None


class Pod:
    """One pod.

    :ivar tasks: those that it runs, with the time when each began.
    :ivar held: messages that it has taken, those with an ETA that is not due yet not counted.
    :ivar reserved: tasks that wait in it for a slot.
    :ivar etas: tasks that wait in it for their time.
    :ivar idle_since: when it had nothing to do any more, or was ready.
    :ivar is_listed: whether it waits for a message of the broker.
    """

    __slots__ = (
        *("busy", "busy_since", "created", "etas", "held", "identity", "idle_since", "is_gone", "is_leaving"),
        *("is_listed", "ready_at", "reserved", "tasks"),
    )

    def __init__(self, created: float, ready_at: float, identity: float) -> None:
        self.created = created
        self.ready_at = ready_at
        self.identity = identity
        self.tasks: dict[int, float] = {}
        self.held = 0
        self.reserved: deque[int] = deque()
        self.etas: set[int] = set()
        self.is_listed = self.is_leaving = self.is_gone = False
        self.busy = 0.0
        self.busy_since = 0.0
        self.idle_since = ready_at

    def __lt__(self, other: Pod) -> bool:
        return self.identity < other.identity

    def is_ready(self, now: float) -> bool:
        """Whether it works."""
        return self.ready_at <= now


def first_to_go(pods: Iterable[Pod], number: int, now: float, idle_first: bool) -> list[Pod]:
    """The pods that a ReplicaSet takes: those that are not ready, those of the lowest deletion cost, the young.

    Ages are compared by their powers of two; within one of them chance decides, by the pods' ids.
    """

    def rank(pod: Pod) -> tuple[bool, int, int, float]:
        ready = pod.is_ready(now)
        age = now - (pod.ready_at if ready else pod.created)
        cost = 1 if idle_first and pod.tasks else 0
        return (ready, cost, math.floor(math.log2(age)) if age >= 1 else 0, pod.identity)

    return sorted(pods, key=rank)[: max(0, number)]


def identities(seed: int, name: str) -> random.Random:
    """Where the ids of pods come from."""
    return random.Random(f"{seed}/{name}/pods")
