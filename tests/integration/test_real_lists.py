# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the Redis lists and hashes that triggers read, compared with those that Celery writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.celery_versions import REQUIREMENTS, celery_environment
from tests.support.real_readings import Scaler
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import APP, Pods, broker_of, shop
from tests.support.waiting import wait_until

#: How the app names its lists, and the same as the inventory says it.
OPTIONS: dict[str, dict[str, Any]] = {
    "kombu's own": {},
    "the app's own": {"global_keyprefix": "shop_", "sep": ":", "priority_steps": [0, 5]},
    "one list": {"priority_steps": [0]},
    "a prefix": {"global_keyprefix": "{shop}:"},
}
VERSIONS = pytest.mark.parametrize("version", sorted(REQUIREMENTS))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    require_redis()
    with redis_server("secret") as started:
        yield started


@pytest.fixture
def broker(server: RedisServer) -> dict[str, Any]:
    """An empty database that is not the first, as KEDA takes it if nobody names one."""
    server.client().flushall()
    return broker_of(server, 3)


@VERSIONS
def test_the_backlog_counts_messages_of_every_priority(tmp_path: Path, broker: dict[str, Any], version: str) -> None:
    for number, options in enumerate(OPTIONS.values()):
        own = {**broker, "database": number}
        scaler = Scaler(shop({**own, **options}))
        app = f"{APP}\napp.conf.broker_transport_options = {options!r}\n"
        with Pods(tmp_path / str(number), shop({**own, **options}), app, celery_environment(version)) as pods:
            queue = pods.manifests.variant().queues[0]
            pods.run_python(
                "import shop\n"
                f"for priority in range(10): shop.nap.apply_async((0, 0), queue={queue!r}, priority=priority)\n"
                f"shop.nap.apply_async((0, 0), queue={queue!r})\n"
            )
        readings = scaler.readings()
        assert sum(readings.values()) == 11, (options, readings)
        waiting = [count for name, count in readings.items() if name.startswith("backlog")]
        assert all(waiting), f"{options}: a list that nobody fills is not read: {readings}"


def test_in_flight_work_is_seen_under_a_prefix(tmp_path: Path, broker: dict[str, Any]) -> None:
    options = OPTIONS["the app's own"]
    manifests = shop({**broker, **options})
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment("5.6")) as pods:
        pods.sender(broker_transport_options=options)
        for number, priority in enumerate((0, 4, 9)):
            pods.send(number, task="shop.held", priority=priority)
        assert scaler.both() == (3, 0)
        worker = pods.start()
        wait_until(lambda: scaler.both() == (1, 2), pods.logs)
        pods.let_go()
        # Between two tasks a worker has one in its hand for a moment, which is in no list.
        wait_until(lambda: len(pods.events("done")) == 3, pods.logs)
        wait_until(lambda: scaler.both() == (0, 0), pods.logs)
        assert sorted(pods.events("done")) == ["0", "1", "2"]
        assert worker.stop() == 0
