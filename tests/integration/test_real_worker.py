# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Celery worker, started from the exact command, arguments and environment of the manifest, on a real Redis."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import Pods, Worker, broker_of, manifests_for
from tests.support.waiting import wait_until

#: Every character that ends a part of a URL.
PASSWORD = "p@:/#%"

#: How a test gets a worker and its fleet: from the keys of its variant.
Start = Callable[..., tuple[Pods, Worker]]


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server(PASSWORD) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, broker: RedisServer) -> Iterator[Start]:
    started: list[Pods] = []

    def make(is_cold: bool = False, **variant: object) -> tuple[Pods, Worker]:
        variables = {
            "broker": broker_of(broker),
            "services": {"shop": {"app": "shop:app", "image": "shop:1"}},
            "config": {"shop": {"default": variant}},
        }
        pods = Pods(tmp_path / f"fleet-{len(started)}", manifests_for(variables), is_cold=is_cold)
        started.append(pods)
        return pods, pods.start()

    yield make
    for pods in started:
        pods.kill()


@pytest.mark.parametrize("probe", ["ping", "heartbeat"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_starts_and_its_probe_passes_once_it_consumes(start: Start, probe: str, pool: str) -> None:
    # Those of one pool as a container starts them, with every import of their own.
    is_cold = pool == "prefork"
    pods, worker = start(is_cold, pool=pool, probe=probe, acks_late=True, settings={"task_track_started": True})
    worker.wait_until_probed()
    assert f"shop.default@{socket.gethostname()} ready" in worker.log
    pods.send(0, "task")
    wait_until(lambda: pods.events("done") == ["task"], why=pods.logs)


@pytest.mark.parametrize("probe", ["ping", "heartbeat"])
@pytest.mark.parametrize("words", [["python", "-m", "celery"], ["env", "CELERY_STARTED_BY=script", "celery"]])
def test_a_worker_that_is_started_in_another_way_starts_and_its_probe_passes(
    start: Start, words: list[str], probe: str
) -> None:
    pods, worker = start(command_prefix=words, probe=probe)
    worker.wait_until_probed()
    pods.send(0, "task")
    wait_until(lambda: pods.events("done") == ["task"], why=pods.logs)
    if words[0] == "env":
        environment = Path(f"/proc/{worker.process.pid}/environ").read_text(encoding="utf-8")
        assert "CELERY_STARTED_BY=script" in environment


def test_extra_arguments_replace_typed_ones_and_celery_takes_them(start: Start) -> None:
    _pods, worker = start(concurrency=4, extra_params=["--pool=threads", "-c", "3", "-E"], probe="heartbeat")
    worker.wait_until_probed()
    assert "concurrency: 3 (thread)" in worker.log
    assert "task events: ON" in worker.log


def test_settings_reach_the_worker_with_their_types(start: Start) -> None:
    _pods, worker = start(
        probe="heartbeat",
        acks_late=True,
        settings={"broker_connection_timeout": 4.5, "task_default_queue": "fallback", "result_expires": 60},
    )
    worker.wait_until_probed()
    node = f"shop.default@{socket.gethostname()}"
    shown = worker.run(
        ["celery", "--app=shop:app", "inspect", "conf", "--json", "--timeout=120", f"--destination={node}"]
    )
    for expected in (
        '"task_acks_late": true',
        '"broker_connection_timeout": 4.5',
        '"task_default_queue": "fallback"',
        '"result_expires": 60',
    ):
        assert expected in shown


def test_a_heartbeat_passes_during_a_broker_outage(start: Start, broker: RedisServer) -> None:
    _pods, worker = start(probe={"type": "heartbeat", "heartbeat_seconds": 10})
    worker.wait_until_probed()
    broker.stop()
    os.utime(worker.folder / "beat", (0, 0))
    assert worker.probe("livenessProbe") == 0, "an outage must not restart workers"


def test_a_stale_heartbeat_fails_while_the_broker_is_up(start: Start) -> None:
    _pods, worker = start(probe={"type": "heartbeat", "heartbeat_seconds": 10})
    worker.wait_until_probed()
    # Stopped as a hung process is: alive, and silent.
    os.killpg(worker.process.pid, signal.SIGSTOP)
    os.utime(worker.folder / "beat", (0, 0))
    assert worker.probe("livenessProbe") != 0


def test_a_worker_that_takes_work_again_does_so_after_it_has_lost_its_broker(start: Start, broker: RedisServer) -> None:
    pods, worker = start(probe="heartbeat")
    worker.wait_until_ready()
    control = pods.sender().control
    control.cancel_consumer("default", reply=True, timeout=120, limit=1)
    control.add_consumer("default", reply=True, timeout=120, limit=1)
    wait_until(lambda: "Started consuming from default" in worker.log, why=pods.logs)
    with broker.client() as client:
        own = client.client_id()
        for one in client.client_list():
            if int(one["id"]) != own:
                client.client_kill_filter(_id=one["id"])
    wait_until(lambda: worker.log.count("Connected to redis") >= 2, why=pods.logs)
    pods.send(0, "task")
    wait_until(lambda: pods.events("done") == ["task"], why=pods.logs)


@pytest.mark.parametrize("probe", ["none", "heartbeat"])
def test_sigterm_lets_the_running_task_finish(start: Start, probe: str) -> None:
    pods, worker = start(probe=probe, concurrency=1)
    if probe == "heartbeat":
        worker.wait_until_probed()
    pods.send("task", task="shop.held")
    wait_until(lambda: pods.events("start"), why=pods.logs)
    worker.tell_to_stop()
    if probe == "heartbeat":
        wait_until(lambda: "Warm shutdown" in worker.log, why=pods.logs)
        assert worker.probe("livenessProbe") == 0, "a worker that finishes its tasks must not be restarted"
    pods.let_go()
    assert worker.wait_until_stopped() == 0
    assert pods.events("done") == ["task"]
