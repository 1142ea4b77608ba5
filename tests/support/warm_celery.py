# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Celery and Python of an environment without their imports: forked from a process that has done these.

In a test:

    process = warm_process(["celery", "--app=shop", "worker"], environment, cwd=..., env=..., log=...)

A worker runs the command line, the environment and the files that it would have otherwise, in a process group of its
own whose first process it is. What it imports of Celery and of the libraries below has been imported already; no app,
no setting and no connection is among it.

A folder for the PATH has commands that do the same for what is asked beside a worker:

    env = {"PATH": f"{warm_programs(environment)}:/usr/bin:/bin"}
"""

from __future__ import annotations

import functools
import importlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support import warm_python

#: What a worker imports, by the biggest parts.
_OF_WORKERS = (
    "billiard.heap",
    "billiard.popen_fork",
    "billiard.sharedctypes",
    "billiard.synchronize",
    "celery.__main__",
    "celery.app.amqp",
    "celery.app.builtins",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.loaders.default",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.strategy",
    "kombu.asynchronous.hub",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "redis.sentinel",
)
#: Pools that take the place of Python's own modules before these are imported.
_PATCHING = ("--pool=gevent", "--pool=eventlet")

#: Stands for the interpreter of an environment: what is asked of Celery is warm, all else as usual.
_PYTHON = """\
#!/bin/sh
case "$1" in
    -c | */celery) exec {real} -I -S {client} {address} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""


def warm_programs(environment: Path) -> Path:
    """A folder with the commands celery and python of an environment."""
    return _server(environment)[1]


def warm_process(
    command: Sequence[str], environment: Path | None, cwd: Path, env: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes] | WarmProcess:
    """Start a command of an environment in a process group of its own. One that cannot be warm is started as usual.

    :param environment: without it, it is not warm.
    """
    words = _script(command, environment) if environment else None
    cannot = set(_PATCHING) & set(command) or any(name.startswith("PYTHON") for name in env)
    if environment is None or words is None or cannot:
        return subprocess.Popen(
            list(command), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return WarmProcess(_server(environment)[0], words, cwd, env, log)


def _script(command: Sequence[str], environment: Path) -> list[str] | None:
    """The script and its arguments, if a command is one of this environment's Python."""
    if command[0] == "celery":
        return [str(environment / "bin" / "celery"), *command[1:]]
    if command[0] == "python" and command[1].endswith(".py"):
        return list(command[1:])
    return None


class WarmProcess:
    """A process that a server has forked, with what subprocess.Popen has of one."""

    def __init__(self, address: str, argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: IO[bytes]) -> None:
        self.args = list(argv)
        self.returncode: int | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        with Path(os.devnull).open("rb") as nothing:
            request = {"argv": self.args, "env": dict(env), "cwd": str(cwd), "leads": True}
            warm_python.send_request(self._server, request, [nothing.fileno(), log.fileno(), log.fileno()])
            self.pid = int.from_bytes(self._server.recv(8), "big")

    def poll(self) -> int | None:
        """Its exit code, or nothing while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._server], [], [], timeout)[0]:
            code = self._server.recv(8)
            self._server.close()
            if not code:
                raise RuntimeError(f"the server of {self.args} has gone away")
            self.returncode = int.from_bytes(code, "big", signed=True)
        return self.returncode


@functools.cache
def _server(environment: Path) -> tuple[str, Path]:
    """Where the server of an environment listens, and its folder of commands."""
    folder, client = warm_python.new_folder()
    programs = environment / "bin"
    address = warm_python.start_server(folder / "celery-server", python=programs / "python", module=__name__)
    commands = folder / "bin"
    commands.mkdir()
    python = commands / "python"
    words = {"real": sys.executable, "python": programs / "python", "client": client, "address": address}
    warm_python.write_program(python, _PYTHON, words)
    (commands / "python3").symlink_to(python)
    celery = commands / "celery"
    _first, _line, rest = (programs / "celery").read_text(encoding="utf-8").partition("\n")
    celery.write_text(f"#!{python}\n{rest}", encoding="utf-8")
    shutil.copymode(programs / "celery", celery)
    return address, commands


# The server


def main() -> None:
    looked_up = _looked_up()
    state: Any = importlib.import_module("celery._state")
    if state.default_app is not None or list(state._apps) or threading.active_count() > 1:
        raise RuntimeError("something of an app was made before the fork")
    warm_python.serve_programs(sys.argv[1], looked_up=looked_up)


def _looked_up() -> set[str]:
    """Import what workers import; return the variables that were looked up meanwhile, and are not set."""
    kind: Any = type(os.environ)
    look_up, found = kind.__getitem__, set()

    def noted(environment: Any, name: str) -> str:
        if name not in list(environment):
            found.add(name)
        value: str = look_up(environment, name)
        return value

    kind.__getitem__ = noted
    try:
        for name in _OF_WORKERS:
            importlib.import_module(name)
    finally:
        kind.__getitem__ = look_up
    return found
