# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of the emulator with a real worker in them: started as their manifest says, and open to commands."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from celery import Celery

from tests.support._exec import ExecRequest, ExecResult
from tests.support._local_exec import run_locally
from tests.support.kubernetes_emulator import Emulator
from tests.support.real_redis import RedisServer
from tests.support.waiting import PATIENCE, wait_until
from tests.support.warm_celery import WarmProcess, warm_process, warm_programs

#: The image of the pods: the environment that tests run in.
IMAGE = Path(sys.prefix)
#: An image with a Python that knows nothing of Celery.
WITHOUT_CELERY = "/usr/bin:/bin"


def with_celery() -> str:
    """The PATH for a command: where the image has its celery command, and the interpreter that it runs with."""
    return f"{warm_programs(IMAGE)}:/usr/bin:/bin"


@dataclass
class LiveWorker:
    """The worker of a pod, as a process."""

    process: subprocess.Popen[bytes] | WarmProcess
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """End it as the node's kernel does, with all its children: nothing is given back."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)

    def wait_until_ready(self) -> None:
        wait_until(lambda: " ready." in self.log or self.process.poll() is not None, lambda: self.log)
        assert self.process.poll() is None, self.log


@dataclass
class LivePods:
    """What runs in the pods of one emulator.

    :param folder: the working directory of every container, with the apps in it.
    :param paths: namespace to the PATH of its containers, where that is not the usual one.
    """

    emulator: Emulator
    folder: Path
    paths: dict[str, str] = field(default_factory=dict)
    workers: list[LiveWorker] = field(default_factory=list)

    def run(self, request: ExecRequest) -> ExecResult:
        """The emulator's exec handler."""
        return run_locally(request, self.folder, self.paths.get(request.namespace) or with_celery())

    def start(self, namespace: str, deployment: str, pod: str = "") -> LiveWorker:
        """Start what one pod of a Deployment runs. Nodes are named after their variant, so one of each is enough.

        :param pod: name that the worker takes its host for, as it would in that pod.
        """
        found = self.emulator.get("Deployment", deployment, namespace)
        assert found is not None, f"there is no Deployment {deployment} in {namespace}"
        container = found["spec"]["template"]["spec"]["containers"][0]
        environment = {entry["name"]: self._value(namespace, entry) for entry in container.get("env", [])}
        args = [word.replace("%h", pod) if pod else word for word in container["args"]]
        return self.begin([*container.get("command", []), *args], environment, f"{namespace}-{deployment}")

    def begin(self, words: Sequence[str], environment: Mapping[str, str], name: str) -> LiveWorker:
        """Start a worker, whose log has this name."""
        outer = {"HOME": str(self.folder), "PATH": f"{IMAGE / 'bin'}:/usr/bin:/bin"}
        log = self.folder / f"log-{name}-{len(self.workers)}"
        with log.open("wb") as stream:
            process = warm_process(words, IMAGE, self.folder, {**outer, **environment}, stream)
        self.workers.append(LiveWorker(process, log))
        return self.workers[-1]

    def _value(self, namespace: str, entry: dict[str, Any]) -> str:
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        secret = self.emulator.get("Secret", reference["name"], namespace)
        assert secret is not None, f"there is no Secret {reference['name']} in {namespace}"
        return base64.b64decode(secret["data"][reference["key"]]).decode()


@contextmanager
def live_pods(emulator: Emulator, folder: Path) -> Iterator[LivePods]:
    """Answer the commands that are sent to pods, and end every worker at the end."""
    pods = LivePods(emulator, folder)
    emulator.exec_handler = pods.run
    try:
        yield pods
    finally:
        emulator.exec_handler = None
        for worker in pods.workers:
            worker.kill()


@dataclass(frozen=True)
class Database:
    """One database of a Redis server: what producers send to it, and what workers hold there."""

    server: RedisServer
    number: int

    @property
    def url(self) -> str:
        return f"redis://:{quote(self.server.password, safe='')}@127.0.0.1:{self.server.port}/{self.number}"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.server.port, password=self.server.password, db=self.number, decode_responses=True)

    def app(self, **transport_options: object) -> Celery:
        """A producer's app."""
        app = Celery("producer", broker=self.url, set_as_current=False)
        app.conf.broker_transport_options = transport_options
        return app

    def send(
        self, queue: str, task: str, *arguments: object, countdown: float | None = None, **options: object
    ) -> None:
        """Send one message as a producer does."""
        self.app(**options).send_task(task, arguments, queue=queue, countdown=countdown, ignore_result=True)

    def hold(self, queue: str, count: int = 1, **transport_options: object) -> None:
        """Take messages as a worker does that dies before it acknowledges them."""
        app = self.app(**transport_options)
        for _number in range(count):
            app.send_task("shop.note", queue=queue, ignore_result=True)
        with app.connection_for_read() as connection:
            channel = connection.default_channel
            # A worker that is killed gives nothing back.
            channel.do_restore = False
            for _number in range(count):
                assert channel.basic_get(queue) is not None

    def let_the_timeout_pass(self, index: str = "unacked_index") -> None:
        """Make what workers hold look as if it had been delivered long ago, so that it is given back."""
        client: Any = self.client
        client.zadd(index, dict.fromkeys(client.zrange(index, 0, -1), 1.0))

    def held(self, key: str = "unacked") -> int:
        """Messages that workers hold under a key."""
        client: Any = self.client
        return int(client.hlen(key))

    def waiting(self, queue: str) -> int:
        """Messages that nobody has taken."""
        client: Any = self.client
        return int(client.llen(queue))
