# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real workers that live and take nothing, and tasks that kill whatever runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.quarantine import (
    ListQuarantine,
    QuarantineWish,
    RabbitQuarantine,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.survey import Place

from tests.support.celery_versions import celery_environment
from tests.support.real_rabbitmq import RabbitServer
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import APP, Pods, Worker, broker_of, shop
from tests.support.waiting import PATIENCE, wait_until

#: A worker whose connection a file lets open anew, between two looks of its loop as the library of Redis does it; and
#: tasks that kill processes. kombu before 5.7 takes nothing ever after, and answers pings.
BREAKABLE = f"""{APP}
import signal
import threading

from celery import signals


@signals.worker_ready.connect
def wait_for_file(sender, **_):
    with open("main", "w") as stream:
        stream.write(str(os.getpid()))

    def open_anew():
        connection = sender.task_consumer.channel.client.connection
        connection.disconnect()
        connection.connect()
        note("broken", 0)

    def break_it():
        while not os.path.exists("break"):
            time.sleep(0.05)
        sender.hub.call_soon(open_anew)

    threading.Thread(target=break_it, daemon=True).start()


@app.task
def kill_child(number):
    note("start", number)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def kill_worker(number):
    note("start", number)
    time.sleep(0.2)
    os.kill(int(open("main").read()), signal.SIGKILL)
"""

CONSUMING = {"type": "consuming", "consuming_seconds": 10}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    require_redis()
    with redis_server("secret") as server:
        yield server


def said_by(pods: Pods) -> list[str]:
    """What the launcher said."""
    return [line for line in pods.logs().splitlines() if line.startswith("celery-launcher:")]


def wish(do: str = "", ids: Iterable[str] = ()) -> QuarantineWish:
    """What is to become of messages in the quarantine of the one variant."""
    question = {"quarantines": ["default.quarantine"], "quarantine_do": do, "quarantine_ids": list(ids)}
    return QuarantineWish(question)


def restart_until(pods: Pods, worker: Worker, holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Do as Kubernetes does: start a container again whenever its worker has ended."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, pods.logs()
        if not worker.is_running:
            worker.kill()
            worker = pods.start()
        time.sleep(0.1)


def test_a_worker_that_takes_nothing_ends_and_the_next_one_does_the_work(tmp_path: Path, redis: RedisServer) -> None:
    options = {"global_keyprefix": "prefix_", "sep": ":"}
    manifests = shop({**broker_of(redis), "transport_options": options}, {"default": {"probe": CONSUMING}})
    with Pods(tmp_path, manifests, BREAKABLE, celery_environment("5.5")) as pods:
        worker = pods.start().wait_until_ready()
        pods.sender(broker_transport_options=options)
        (pods.app_folder / "break").touch()
        wait_until(lambda: pods.events("broken"), why=pods.logs)
        (pods.app_folder / "break").unlink()
        assert worker.probe("livenessProbe") == 0
        for number in range(4):
            pods.send(0, number, priority=9)
        restart_until(pods, worker, lambda: sorted(pods.events("done")) == ["0", "1", "2", "3"])
        assert worker.process.returncode == 0
        (line,) = said_by(pods)
        assert "took nothing for 1" in line
        assert "messages wait in default and 2 of its 2 slots are free" in line


def test_a_worker_is_left_alone_that_has_a_reason_to_take_nothing(tmp_path: Path, redis: RedisServer) -> None:
    manifests = shop(
        broker_of(redis), {"default": {"probe": CONSUMING}, "busy": {"probe": CONSUMING, "concurrency": 1}}
    )
    with Pods(tmp_path, manifests, BREAKABLE) as pods:
        drained, busy = pods.start("default", "drained"), pods.start("busy", "busy")
        drained.wait_until_ready()
        busy.wait_until_ready()
        pods.sender().control.cancel_consumer("default", destination=["shop.default@drained"], reply=True, timeout=120)
        pods.send(0, "later", variant="default")
        for number in range(2):
            pods.send(number, task="shop.held", variant="busy")
        time.sleep(16)
        assert (drained.is_running, busy.is_running, said_by(pods)) == (True, True, [])
        pods.sender().control.add_consumer("default", destination=["shop.default@drained"], reply=True, timeout=120)
        pods.let_go()
        wait_until(lambda: "later" in pods.events("done"), why=pods.logs)


@pytest.mark.parametrize("task", ["kill_child", "kill_worker"])
def test_a_task_that_kills_starts_three_times_and_its_neighbours_are_done(
    tmp_path: Path, redis: RedisServer, task: str
) -> None:
    keys = {"max_starts": 3, "visibility_timeout": 5, "probe": "none"}
    broker = {**broker_of(redis), "transport_options": {"unacked_restore_interval": 1}}
    manifests = shop(broker, {"default": keys})
    with Pods(tmp_path, manifests, BREAKABLE) as pods:
        worker = pods.start().wait_until_ready()
        pods.send(1, "neighbour")
        pods.send("poison", task=f"shop.{task}")
        for number in range(3):
            pods.send(0, number)
        client: Any = redis.client()
        done = {"neighbour", "0", "1", "2"}
        restart_until(pods, worker, lambda: done <= set(pods.events("done")) and client.llen("default.quarantine") == 1)
        assert pods.events("start").count("poison") == 3
        unacked = manifests.variant().unacked
        assert unacked is not None
        assert client.hlen(unacked.hash) == 0
        assert client.keys("starts:*") == []
        place = Place("", "\x06\x16", (0, 3, 6, 9))
        quarantine = ListQuarantine(client, place)
        (row,) = quarantine.handle(wish())
        assert (row["task"], row["starts"], row["origin"], row["done"]) == (f"shop.{task}", 3, "default", False)
        pods.kill()
        # Redis would give what comes back to a worker whose end it has not seen yet.
        wait_until(lambda: not [one for one in client.client_list() if one["cmd"] == "brpop"])
        assert not quarantine.handle(wish("drop", ["another"]))
        assert [item["done"] for item in quarantine.handle(wish("return", [row["id"]]))] == [True]
        assert client.llen("default.quarantine") == 0
        (message,) = client.lrange("default", 0, -1)
        assert task in str(message)
        assert "redelivered" not in str(message)
        (line,) = said_by(pods)
        assert "was started 3 times and lost each time. It is in queue default.quarantine now." in line


def has_started(pods: Pods, times: int) -> bool:
    return len(pods.events("start")) == times


def counts_of(redis: RedisServer) -> list[int]:
    """Every count of lost starts."""
    client: Any = redis.client()
    return [int(client.get(key)) for key in client.keys("starts:*")]


def test_a_pod_that_is_stopped_counts_for_nothing_also_if_its_time_is_too_short(
    tmp_path: Path, redis: RedisServer
) -> None:
    keys = {"max_starts": 2, "visibility_timeout": 2, "probe": "none", "pool": "threads", "concurrency": 1}
    broker = {**broker_of(redis), "transport_options": {"unacked_restore_interval": 1}}
    with Pods(tmp_path, shop(broker, {"default": keys}), BREAKABLE) as pods:
        pods.send("long", task="shop.held")
        for eviction in range(1, 3):
            worker = pods.start().wait_until_ready()
            wait_until(partial(has_started, pods, eviction), pods.logs)
            worker.tell_to_stop()
            wait_until(lambda: counts_of(redis) == [-1], pods.logs)
            worker.kill()
        pods.let_go()
        pods.start()
        wait_until(lambda: pods.events("done") == ["long"], pods.logs)
        wait_until(lambda: not counts_of(redis))
        assert redis.client().llen("default.quarantine") == 0


QUORUM = {"task_create_missing_queue_type": "quorum", "task_create_missing_queue_exchange_type": "topic"}


def test_a_quorum_queue_counts_the_starts_of_a_task_that_kills_its_worker(tmp_path: Path, rabbit: RabbitServer) -> None:
    keys = {"max_starts": 3, "concurrency": 1, "probe": CONSUMING, "settings": QUORUM}
    broker = {**rabbit.broker, "queue_type": "quorum", "delivery_limit": 0}
    with Pods(tmp_path, shop(broker, {"default": keys}), BREAKABLE, celery_environment("5.6")) as pods:
        sender = pods.sender(**QUORUM)
        worker = pods.start().wait_until_ready()
        pods.send("poison", task="shop.kill_worker")
        for number in range(3):
            pods.send(0, number)
        restart_until(pods, worker, lambda: {"0", "1", "2"} <= set(pods.events("done")))
        assert pods.events("start").count("poison") == 3
        with sender.connection_for_write() as connection:
            quarantine = RabbitQuarantine(connection)
            for _look in range(2):
                (row,) = quarantine.handle(wish())
                assert (row["task"], row["starts"], row["origin"]) == ("shop.kill_worker", 3, "default")
            pods.kill()
            assert [item["done"] for item in quarantine.handle(wish("drop", [row["id"]]))] == [True]
            assert quarantine.handle(wish()) == []
