# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From zero pods to many and back: real workers, real Redis, and the ScaledObject's formula between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.celery_versions import celery_environment
from tests.support.real_readings import Scaler
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import Pods, Worker, broker_of, shop
from tests.support.waiting import PATIENCE
from tests.unit.formulas import next_pods

#: Looks in a row at which nothing is left, after which the last pod goes: KEDA's cooldown, whatever the machine takes
#: for one. A message that a worker has just taken is in no list yet.
COOLDOWN = 10


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server("secret") as server:
        yield server


class Autoscaler:
    """KEDA and the HPA for one Deployment, looking all the time and without patience on the way down.

    A pod that is told to stop counts until it is gone, and is killed when its grace period is over.
    """

    def __init__(self, pods: Pods) -> None:
        self.pods, self.scaler = pods, Scaler(pods.manifests)
        self.most: int = self.scaler.spec["maxReplicaCount"]
        self.wanted: list[Worker] = []
        self.leaving: dict[int, float] = {}
        #: Pods that were wanted, without repetitions.
        self.history = [0]
        self._idle = 0

    def step(self) -> None:
        """One look, and what follows from it."""
        there = [worker for worker in self.pods.workers if worker.is_running]
        assert all(worker.is_running for worker in self.wanted), self.pods.logs()
        wish = self.scaler.wish(len(there))
        now = time.monotonic()
        self._idle = 0 if wish > 0 else self._idle + 1
        number = min(next_pods(wish, len(self.wanted)), self.most)
        if number == 0 and self._idle < COOLDOWN:
            number = min(1, len(self.wanted))
        if number == 0 and self.wanted:
            assert self.scaler.both() == (0, 0), "the last pod was to go while there was work"
        while len(self.wanted) < number:
            self.wanted.append(self.pods.start())
        while len(self.wanted) > number:
            # The oldest, which is the one with the longest tasks.
            # As the first process of a container, a worker does not end by a signal before Celery answers to it. Here
            # Python would end it.
            worker = self.wanted.pop(0).wait_until_ready()
            worker.tell_to_stop()
            self.leaving[worker.process.pid] = time.monotonic() + worker.grace
        for worker in there:
            if now > self.leaving.get(worker.process.pid, now):
                worker.kill()
        if number != self.history[-1]:
            self.history.append(number)

    def run_until_zero(self) -> None:
        """Look until no pod is left."""
        end = time.monotonic() + PATIENCE
        while len(self.history) < 2 or self.wanted or any(worker.is_running for worker in self.pods.workers):
            self.step()
            assert time.monotonic() < end, (self.history, self.scaler.readings(), self.pods.logs())
            time.sleep(0.2)


def test_a_burst_and_its_long_tasks_are_done_once_and_then_no_pod_is_left(tmp_path: Path, broker: RedisServer) -> None:
    manifests = shop(broker_of(broker), {"default": {"concurrency": 2, "list_length": 10, "max_replicas": 3}})
    with Pods(tmp_path, manifests, environment=celery_environment("5.6")) as pods:
        scaler = Autoscaler(pods)
        for number in range(20):
            pods.send(0.3, number)
        for name in ("long-0", "long-1"):
            pods.send(6, name)
        scaler.run_until_zero()
        expected = sorted([*map(str, range(20)), "long-0", "long-1"])
        assert sorted(pods.events("start")) == expected, f"no task began twice: {scaler.history} {pods.logs()}"
        assert sorted(pods.events("done")) == expected
        assert scaler.scaler.both() == (0, 0)
        assert scaler.history[0] == scaler.history[-1] == 0
        assert max(scaler.history) > 1, "the backlog asked for more than one pod"
        assert {worker.process.returncode for worker in pods.workers} == {0}, "each pod ended by itself"


def test_countdown_tasks_hold_one_pod_until_they_are_done(tmp_path: Path, broker: RedisServer) -> None:
    manifests = shop(broker_of(broker), {"default": {"concurrency": 2, "list_length": 60, "max_replicas": 6}})
    with Pods(tmp_path, manifests, environment=celery_environment("5.6")) as pods:
        scaler = Autoscaler(pods)
        for number in range(60):
            pods.send(0, number, countdown=6)
        scaler.run_until_zero()
        assert scaler.history == [0, 1, 0], "one pod holds all of them"
        assert sorted(pods.events("start")) == sorted(map(str, range(60)))
        assert sorted(pods.events("done")) == sorted(map(str, range(60)))
