# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers as Jobs: real workers and real Redis, started as many as KEDA would start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.celery_versions import celery_environment
from tests.support.keda_jobs import JobScaler
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import Pods, broker_of, let_the_timeout_pass, shop
from tests.support.waiting import PATIENCE

#: Seconds between two readings, and without work.
POLL, IDLE = 1, 5


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server("secret") as server:
        yield server


def jobs_of(folder: Path, broker: RedisServer, options: object = None, **keys: object) -> Pods:
    """:param options: transport options of the broker."""
    variant = {"run_as": "jobs", "max_replicas": 4, "idle_seconds": IDLE, "polling_interval": POLL, **keys}
    place = broker_of(broker) | ({"transport_options": options} if options else {})
    return Pods(folder, shop(place, {"default": variant}), environment=celery_environment("5.6"))


def test_long_tasks_get_a_job_each_are_done_once_and_leave_no_job(tmp_path: Path, broker: RedisServer) -> None:
    with jobs_of(tmp_path, broker) as pods:
        keda = JobScaler(pods)
        for number in range(6):
            pods.send(4, number)
        pods.send(0, "later", countdown=12)
        for _gone in keda.run(PATIENCE):
            if keda.jobs and not keda.running and len(pods.events("done")) == 7:
                break
        expected = sorted([*map(str, range(6)), "later"])
        assert sorted(pods.events("start")) == expected, f"no task began twice: {pods.logs()}"
        assert sorted(pods.events("done")) == expected, f"no task was cut: {pods.logs()}"
        assert keda.highest == 4, "as many as may be"
        assert not keda.running, f"no Job is left: {pods.logs()}"
        assert {job.process.returncode for job in keda.jobs} == {0}, f"each ended by itself: {pods.logs()}"
        assert keda.scaler.both() == (0, 0)


def test_one_idle_job_waits_for_the_task_of_a_killed_one(tmp_path: Path, broker: RedisServer) -> None:
    restored_soon = {"unacked_restore_interval": 1}
    with jobs_of(tmp_path, broker, restored_soon, visibility_timeout=3600) as pods:
        keda = JobScaler(pods)
        pods.send("killed", task="shop.held")
        for _gone in keda.run(PATIENCE):
            if pods.events("start"):
                keda.running[0].kill()
                pods.let_go()
                break
        for _gone in keda.run(PATIENCE):
            if len(keda.jobs) > 1 and "stays because a message is held" in keda.jobs[1].log:
                let_the_timeout_pass(broker, pods.manifests)
                break
        for _gone in keda.run(PATIENCE):
            if pods.events("done") and not keda.running:
                break
        assert pods.events("start") == ["killed", "killed"], pods.logs()
        assert pods.events("done") == ["killed"], pods.logs()
        assert (len(keda.jobs), keda.highest) == (2, 1), f"one keeper, none that found nothing: {pods.logs()}"
        assert "stays because a message is held" in keda.jobs[1].log
        assert (keda.running, keda.jobs[1].process.returncode, keda.scaler.both()) == ([], 0, (0, 0)), pods.logs()
