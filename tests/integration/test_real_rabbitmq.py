# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers on a real RabbitMQ, and what the scaler reads there over the management interface."""

from __future__ import annotations

import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.celery_versions import celery_environment
from tests.support.real_rabbitmq import RabbitServer
from tests.support.real_readings import Scaler
from tests.support.real_worker import Pods, shop
from tests.support.waiting import wait_until

#: With characters that a URL must quote.
ODD = "größe:50%#1&2"
QUORUM = {"task_create_missing_queue_type": "quorum", "task_create_missing_queue_exchange_type": "topic"}


def reads(scaler: Scaler, backlog: int, held: int) -> bool:
    """Whether the scaler sees these numbers. It fails while there is no queue, as KEDA's does."""
    try:
        return scaler.both() == (backlog, held)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False


def test_backlog_is_what_is_ready_and_in_flight_work_what_is_not_acknowledged(
    tmp_path: Path, rabbit_server: RabbitServer
) -> None:
    with rabbit_server.host(ODD) as rabbit:
        _read_classic_queue(tmp_path, rabbit)


def _read_classic_queue(folder: Path, rabbit: RabbitServer) -> None:
    manifests = shop(rabbit.broker, {"default": {"concurrency": 2}})
    scaler = Scaler(manifests)
    queue = manifests.variant().queues[0]
    with Pods(folder, manifests, environment=celery_environment("5.6")) as pods:
        worker = pods.start().wait_until_ready()
        for number in range(4):
            pods.send(number, task="shop.held")
        wait_until(lambda: reads(scaler, 2, 2), pods.logs)
        found = rabbit.queue(queue)
        assert found is not None
        assert found.kind == "classic"
        pods.let_go(*pods.events("start"))
        wait_until(lambda: reads(scaler, 0, 2), pods.logs)
        pods.let_go()
        wait_until(lambda: reads(scaler, 0, 0), pods.logs)
        assert sorted(pods.events("done")) == ["0", "1", "2", "3"]
        assert worker.stop() == 0


def test_quorum_queues_are_read_alike(tmp_path: Path, rabbit: RabbitServer) -> None:
    with ThreadPoolExecutor() as pool:
        for finished in [pool.submit(_read_quorum_queue, tmp_path, rabbit, version) for version in ("5.6", "5.7")]:
            finished.result()


def _read_quorum_queue(folder: Path, server: RabbitServer, version: str) -> None:
    name = f"quorum-{version.replace('.', '-')}"
    keys = {"concurrency": 2, "settings": QUORUM}
    manifests = shop({**server.broker, "queue_type": "quorum", "delivery_limit": 0}, {name: keys})
    scaler = Scaler(manifests)
    with Pods(folder / name, manifests, environment=celery_environment(version)) as pods:
        pods.sender(**QUORUM)
        pods.start().wait_until_ready()
        for number in range(3):
            pods.send(number, task="shop.held")
        wait_until(lambda: reads(scaler, 1, 2), pods.logs)
        found = server.queue(manifests.variant().queues[0])
        assert found is not None
        assert found.kind == "quorum"
        pods.let_go()
        wait_until(lambda: sorted(pods.events("done")) == ["0", "1", "2"], pods.logs)
        wait_until(lambda: reads(scaler, 0, 0), pods.logs)


def test_messages_of_a_killed_worker_come_back_at_once(tmp_path: Path, rabbit: RabbitServer) -> None:
    manifests = shop(rabbit.broker, {"killed": {"concurrency": 1}})
    with Pods(tmp_path, manifests, environment=celery_environment("5.6")) as pods:
        first = pods.start().wait_until_ready()
        pods.send(600, "long")
        wait_until(lambda: pods.events("start"), pods.logs)
        first.kill()
        pods.start()
        wait_until(lambda: len(pods.events("start")) == 2, pods.logs)
