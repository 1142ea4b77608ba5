# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the messages that workers hold: how many they hold, and who gets them when a pod goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.celery_versions import celery_environment
from tests.support.real_readings import Scaler
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import Pods, broker_of, let_the_timeout_pass, shop
from tests.support.waiting import wait_until

NEWEST = "5.7"
MEASURED = "5.6"


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server("secret") as server:
        yield server


@pytest.mark.parametrize("version", [MEASURED, NEWEST])
def test_a_pod_that_is_told_to_stop_gives_waiting_eta_tasks_back(
    tmp_path: Path, broker: RedisServer, version: str
) -> None:
    manifests = shop(broker_of(broker))
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment(version)) as pods:
        worker = pods.start()
        for number in range(5):
            pods.send(0, number, countdown=600)
        wait_until(lambda: scaler.both() == (0, 5), why=pods.logs)
        assert worker.stop() == 0
        assert scaler.both() == (5, 0)


def test_messages_of_a_killed_worker_come_back_to_its_own_variant_and_no_other(
    tmp_path: Path, broker: RedisServer
) -> None:
    keys = {"concurrency": 1, "visibility_timeout": 3600}
    manifests = shop(broker_of(broker), {"reports": keys, "mails": keys})
    reports, mails = Scaler(manifests, "reports"), Scaler(manifests, "mails")
    with Pods(tmp_path, manifests, environment=celery_environment(MEASURED)) as pods:
        for variant in ("reports", "mails"):
            pods.send(600, variant, variant=variant)
            pods.start(variant)
        wait_until(lambda: len(pods.events("start")) == 2, pods.logs)
        for worker in pods.workers:
            worker.kill()
        assert (reports.both(), mails.both()) == ((0, 1), (0, 1)), "nobody else has them"

        for variant in ("reports", "mails"):
            let_the_timeout_pass(broker, manifests, variant)
        # The next look comes within ten seconds.
        other = pods.start("mails").wait_until_ready()
        wait_until(lambda: pods.events("start").count("mails") == 2, pods.logs)
        assert reports.both() == (0, 1), "a worker that looked for its own variant's messages left these alone"
        assert pods.events("start").count("reports") == 1

        pods.start("reports").wait_until_ready()
        wait_until(lambda: pods.events("start").count("reports") == 2, pods.logs)
        assert reports.both() == (0, 1)
        assert other.is_running


@dataclass(frozen=True)
class Held:
    """What pods of one kind held while there was enough to do."""

    promised: int
    most: int
    done: int
    log: str


#: Keys of a variant, and tasks that it runs at once.
POOLS: dict[str, tuple[dict[str, Any], int]] = {
    "prefork": ({"pool": "prefork", "concurrency": 2}, 2),
    "threads": ({"pool": "threads", "concurrency": 3}, 3),
    "gevent": ({"pool": "gevent", "concurrency": 5}, 5),
    "solo": ({"pool": "solo"}, 1),
    "prefetch": ({"pool": "prefork", "concurrency": 2, "prefetch_multiplier": 2}, 2),
}


@pytest.fixture(scope="module")
def held_by_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Held]]:
    """One worker per pool, all at once, each with more tasks than it can hold."""
    require_redis()
    folder = tmp_path_factory.mktemp("pools")
    with redis_server("secret") as server, ThreadPoolExecutor(len(POOLS)) as pool:
        waiting = {
            name: pool.submit(_hold, folder / name, broker_of(server, number), name)
            for number, name in enumerate(POOLS)
        }
        yield {name: future.result() for name, future in waiting.items()}


def _hold(folder: Path, broker: dict[str, Any], name: str) -> Held:
    keys, _at_once = POOLS[name]
    manifests = shop(broker, {"default": keys})
    scaler, held = Scaler(manifests), manifests.variant().held
    sent, samples = 2 * held, [0]

    def has_done(count: int, waiting: int, in_flight: int) -> bool:
        found = scaler.both()
        samples.append(found[1])
        assert worker.is_running, worker.log
        return len(pods.events("done")) == count and found == (waiting, in_flight)

    with Pods(folder, manifests, environment=celery_environment(NEWEST)) as pods:
        for number in range(sent):
            pods.send(number, task="shop.held")
        worker = pods.start()
        wait_until(lambda: has_done(0, held, held), lambda: (samples[-1], worker.log))
        # One more would come at once.
        time.sleep(1)
        assert has_done(0, held, held), samples[-1]
        pods.let_go()
        wait_until(lambda: has_done(sent, 0, 0), lambda: (samples[-1], worker.log))
        return Held(held, max(samples), len(pods.events("done")), worker.log)


@pytest.mark.parametrize("pool", list(POOLS))
def test_a_busy_pod_holds_as_many_messages_as_the_formula_divides_by(held_by_pool: dict[str, Held], pool: str) -> None:
    found = held_by_pool[pool]
    multiplier = POOLS[pool][0].get("prefetch_multiplier", 1)
    assert found.promised == POOLS[pool][1] * multiplier
    assert found.most == found.promised, found.log
    assert found.done == 2 * found.promised


def cut_connections(broker: RedisServer) -> None:
    """End every connection of other clients, as a network or a proxy does."""
    client = broker.client()
    for kind in ("normal", "pubsub"):
        client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize("version", [MEASURED, NEWEST])
def test_tasks_complete_once_and_stay_visible_when_connections_are_cut(
    tmp_path: Path, broker: RedisServer, version: str
) -> None:
    manifests = shop(broker_of(broker), {"default": {"concurrency": 2}})
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment(version)) as pods:
        for number in range(2):
            pods.send(number, task="shop.held")
        worker = pods.start()
        wait_until(lambda: len(pods.events("start")) == 2, pods.logs)
        cut_connections(broker)
        wait_until(lambda: len(pods.events("start")) == 4, pods.logs)
        assert scaler.both() == (0, 2), "both run again, and are seen"
        pods.let_go()
        wait_until(lambda: scaler.both() == (0, 0), pods.logs)
        # A first run that was not stopped is let go as well, and finished before the worker ends.
        assert worker.stop() == 0, worker.log
        assert sorted(pods.events("done")) == ["0", "1"]
        assert scaler.both() == (0, 0)


def test_a_worker_with_threads_outlives_cut_connections(tmp_path: Path, broker: RedisServer) -> None:
    manifests = shop(broker_of(broker), {"default": {"pool": "threads", "concurrency": 2}})
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment(MEASURED)) as pods:
        pods.send("before", task="shop.held")
        worker = pods.start()
        wait_until(lambda: pods.events("start"), pods.logs)
        cut_connections(broker)
        pods.send(0, "after")
        pods.let_go()
        wait_until(lambda: "after" in pods.events("done") and scaler.both() == (0, 0), pods.logs)
        assert "before" in pods.events("done")
        assert worker.is_running


@pytest.mark.parametrize("version", ["5.5", "5.6", "5.7"])
def test_a_pod_that_cannot_wait_for_its_task_gives_it_back_before_it_is_killed(
    tmp_path: Path, broker: RedisServer, version: str
) -> None:
    keys = {
        "concurrency": 1,
        "longest_task_seconds": 600,
        "termination_grace_period": 60,
        "soft_shutdown_timeout": 1,
    }
    manifests = shop(broker_of(broker), {"default": keys})
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment(version)) as pods:
        pods.send(600, "long")
        worker = pods.start()
        wait_until(lambda: pods.events("start"), pods.logs)
        assert scaler.both() == (0, 1)
        worker.stop()
        assert scaler.both() == (1, 0), worker.log
