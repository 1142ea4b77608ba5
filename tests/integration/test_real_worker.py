# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Celery worker, started from the exact command, arguments and environment of the manifest, on a real Redis."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._fleet import Inventory, parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils._layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils._secrets import secret_manifests
from ansible_collections.queueops.celery.plugins.module_utils._workers import worker_resources

from tests.support.real_redis import RedisServer, redis_server, require_redis

#: Every character that ends a part of a URL.
PASSWORD = "p@:/#%"

APP = """
import os, time
from celery import Celery

app = Celery("shop")


@app.task
def note(path):
    with open(path, "w") as stream:
        stream.write("done")


@app.task
def nap(seconds, path):
    time.sleep(seconds)
    note(path)
"""


@pytest.fixture
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server(PASSWORD) as server:
        yield server


@dataclass
class Worker:
    """A worker pod without Kubernetes: its process, and what Kubernetes would run beside it."""

    container: dict[str, Any]
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def probe(self, kind: str = "startupProbe") -> int:
        command = local(self.folder, self.container[kind]["exec"]["command"])
        try:
            return subprocess.run(
                command,
                env=self.environment,
                cwd="/",
                capture_output=True,
                check=False,
                timeout=self.container[kind]["timeoutSeconds"],
            ).returncode
        except subprocess.TimeoutExpired:
            return 1

    def wait_until_ready(self) -> None:
        end = time.monotonic() + 60
        while self.probe() != 0:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.5)

    def send(self, task: str, *arguments: object, queue: str = "default") -> None:
        code = f"import shop; shop.app.send_task({task!r}, {arguments!r}, queue={queue!r})"
        subprocess.run([sys.executable, "-c", code], env=self.environment, cwd=self.folder, check=True, timeout=30)

    def wait_for_file(self, name: str) -> None:
        end = time.monotonic() + 30
        while not (self.folder / name).exists():
            assert time.monotonic() < end, self.log
            time.sleep(0.1)


def start(folder: Path, broker: RedisServer, variant: dict[str, Any]) -> Worker:
    """Start what the Deployment of a variant says, and nothing else."""
    layers: list[dict[str, Any]] = [
        {
            "name": "celery_workers_broker",
            "value": {"host": "127.0.0.1", "port": broker.port, "password": broker.password},
        },
        {"name": "celery_workers_services", "value": {"shop": {"app": "shop:app", "image": "shop:1"}}},
        {"name": "celery_workers_config", "value": {"shop": {"default": variant}}},
    ]
    secrets = {item["metadata"]["name"]: item["data"] for item in secret_manifests(layers, "shop")}
    layers[0]["value"]["password"] = True
    fleet = parse_fleet(Inventory("shop", layers=tuple(Layer(item["name"], item["value"]) for item in layers)))
    resources = {item["kind"]: item for item in worker_resources(fleet)}
    container = resources["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    (folder / "mounted").mkdir()
    (folder / "shop.py").write_text(APP)
    for name, content in resources.get("ConfigMap", {"data": {}})["data"].items():
        # Each test has a file of its own where each container has a /tmp of its own.
        (folder / "mounted" / name).write_text(content.replace("/tmp/celery-heartbeat", f"{folder}/beat"))
    environment = {
        **os.environ,
        "HOSTNAME": socket.gethostname(),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    environment.pop("PYTHONPATH", None)
    environment.update({entry["name"]: _value(entry, secrets) for entry in container["env"]})
    process = subprocess.Popen(
        local(folder, [*container.get("command", []), *container["args"]]),
        cwd=folder,
        env=environment,
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Worker(container, folder, environment, process)


def local(folder: Path, words: list[str]) -> list[str]:
    """A command of the container with its mounted files where this test has put them."""
    return [word.replace("/celery-heartbeat/", f"{folder}/mounted/") for word in words]


def _value(entry: dict[str, Any], secrets: dict[str, dict[str, str]]) -> str:
    if "value" in entry:
        return str(entry["value"])
    reference = entry["valueFrom"]["secretKeyRef"]
    return base64.b64decode(secrets[reference["name"]][reference["key"]]).decode()


@pytest.fixture
def workers(tmp_path: Path, broker: RedisServer) -> Iterator[Any]:
    started: list[Worker] = []

    def make(**variant: Any) -> Worker:
        started.append(start(tmp_path, broker, variant))
        return started[-1]

    yield make
    for worker in started:
        if worker.process.poll() is None:
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait(timeout=10)


@pytest.mark.parametrize("probe", ["ping", "heartbeat"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_starts_and_its_probe_passes_once_it_consumes(workers: Any, probe: str, pool: str) -> None:
    worker = workers(pool=pool, probe=probe, acks_late=True, settings={"task_track_started": True})
    worker.wait_until_ready()
    assert f"shop.default@{socket.gethostname()} ready" in worker.log
    worker.send("shop.note", str(worker.folder / "noted"))
    worker.wait_for_file("noted")


def test_extra_arguments_replace_typed_ones_and_celery_takes_them(workers: Any) -> None:
    worker = workers(concurrency=4, extra_params=["--pool=threads", "-c", "3", "-E"], probe="heartbeat")
    worker.wait_until_ready()
    assert "concurrency: 3 (thread)" in worker.log
    assert "task events: ON" in worker.log


def test_settings_reach_the_worker_with_their_types(workers: Any) -> None:
    worker = workers(
        probe="heartbeat",
        acks_late=True,
        settings={"broker_connection_timeout": 4.5, "task_default_queue": "fallback", "result_expires": 60},
    )
    worker.wait_until_ready()
    command = ["celery", "--app=shop:app", "inspect", "conf", "--json", "--timeout=5"]
    shown = subprocess.run(
        command, env=worker.environment, cwd=worker.folder, capture_output=True, check=False, text=True, timeout=30
    )
    for expected in (
        '"task_acks_late": true',
        '"broker_connection_timeout": 4.5',
        '"task_default_queue": "fallback"',
        '"result_expires": 60',
    ):
        assert expected in shown.stdout, shown.stdout + shown.stderr


def test_a_heartbeat_passes_during_a_broker_outage_and_a_ping_does_not(workers: Any, broker: RedisServer) -> None:
    worker = workers(probe={"type": "heartbeat", "heartbeat_seconds": 10})
    worker.wait_until_ready()
    broker.stop()
    os.utime(worker.folder / "beat", (0, 0))
    assert worker.probe("livenessProbe") == 0, "an outage must not restart workers"


def test_a_stale_heartbeat_fails_while_the_broker_is_up(workers: Any) -> None:
    worker = workers(probe={"type": "heartbeat", "heartbeat_seconds": 10})
    worker.wait_until_ready()
    # Stopped as a hung process is: alive, and silent.
    os.killpg(worker.process.pid, signal.SIGSTOP)
    os.utime(worker.folder / "beat", (0, 0))
    assert worker.probe("livenessProbe") != 0


@pytest.mark.parametrize("probe", ["none", "heartbeat"])
def test_sigterm_lets_the_running_task_finish(workers: Any, probe: str) -> None:
    worker = workers(probe=probe, concurrency=1)
    if probe == "heartbeat":
        worker.wait_until_ready()
    worker.send("shop.nap", 3, str(worker.folder / "napped"))
    end = time.monotonic() + 30
    while "Task shop.nap[" not in worker.log:
        assert time.monotonic() < end, worker.log
        time.sleep(0.1)
    worker.process.send_signal(signal.SIGTERM)
    if probe == "heartbeat":
        time.sleep(1)
        assert worker.probe("livenessProbe") == 0, "a worker that finishes its tasks must not be restarted"
    assert worker.process.wait(timeout=30) == 0
    assert (worker.folder / "napped").exists()
