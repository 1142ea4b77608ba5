# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker on Redis Sentinel, and a module: servers have a password, sentinels another one, and the master changes."""

from __future__ import annotations

from pathlib import Path

from tests.support.celery_versions import celery_environment
from tests.support.real_readings import Scaler
from tests.support.real_redis import redis_sentinels, require_redis
from tests.support.real_worker import Pods, shop
from tests.support.waiting import wait_until
from tests.unit.modules.running import run

PASSWORD = "p@:/#%"
SENTINEL_PASSWORD = "s@:/#%"
TASKS = 6


def test_no_task_is_lost_when_another_server_becomes_the_master(tmp_path: Path) -> None:
    require_redis()
    with redis_sentinels(PASSWORD, SENTINEL_PASSWORD) as group:
        broker = {
            "type": "redis-sentinel",
            "hosts": [f"127.0.0.1:{port}" for port in group.sentinel_ports],
            "master_name": group.master_name,
            "password": PASSWORD,
            "sentinel_password": SENTINEL_PASSWORD,
        }
        manifests = shop(broker, {"default": {"concurrency": 2, "visibility_timeout": 5}})
        scaler = Scaler(manifests)
        with Pods(tmp_path, manifests, environment=celery_environment("5.6")) as pods:
            sentinel = {"password": SENTINEL_PASSWORD}
            pods.sender(broker_transport_options={"master_name": group.master_name, "sentinel_kwargs": sentinel})
            for number in range(TASKS):
                pods.send(number, task="shop.held")
            assert scaler.both() == (TASKS, 0)
            told = run("queue_info", broker=broker, audit=False)
            assert [(row["name"], row["waiting"], row["unacked"]) for row in told["queues"]] == [("default", TASKS, 0)]
            worker = pods.start()
            wait_until(lambda: scaler.both() == (TASKS - 2, 2), pods.logs)
            group.fail_over()
            pods.let_go()
            wait_until(lambda: len(set(pods.events("done"))) == TASKS, pods.logs)
            wait_until(lambda: scaler.both() == (0, 0), pods.logs)
            assert worker.is_running
            assert SENTINEL_PASSWORD not in worker.log
            assert SENTINEL_PASSWORD not in " ".join(worker.container["args"])
