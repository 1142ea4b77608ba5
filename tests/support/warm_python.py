# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the programs of an environment in half the time: they are forked from a process that knows its imports.

In a test:

    process = subprocess.Popen(warm_command([str(VENV / "bin" / "ansible-playbook"), ...]), env=..., cwd=...)

The command is a small client: it hands its arguments, environment, folder and streams to the server, and ends as the
program ends. So it can be waited for, interrupted and killed like the program itself.

What is imported before the fork reads no setting: libraries, and of Ansible only what comes before its configuration.
The collections are loaded anew by each run, as always; what is kept of them is how their source compiles, because
Ansible compiles every file of a collection at every start. Two servers take turns: in each, sets and dictionaries have
another order of hashes, so that what depends on it differs from run to run, as it would from process to process.
"""

from __future__ import annotations

import array
import atexit
import builtins
import contextlib
import functools
import hashlib
import importlib
import itertools
import json
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any

_SERVERS = 2

#: What a playbook of this collection imports sooner or later, by the biggest parts.
_IMPORTED = (
    "concurrent.futures",
    "cryptography.hazmat.primitives.ciphers",
    "jinja2.nativetypes",
    "jinja2.sandbox",
    "kubernetes",
    "kubernetes.dynamic",
    "kubernetes_validate",
    "multiprocessing.queues",
    "packaging.version",
    "yaml",
    "ansible.config.manager",
    "ansible.errors",
    "ansible.executor.powershell",
    "ansible.utils.collection_loader",
)

# Runs with -I -S: it starts in ten milliseconds.
_CLIENT = """
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
request = json.dumps({"argv": sys.argv[2:], "env": dict(os.environ), "cwd": os.getcwd()}).encode()
streams = array.array("i", [0, 1, 2]).tobytes()
server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(request)
pid = int.from_bytes(server.recv(8), "big")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _frame: os.kill(pid, number))
code = server.recv(8)
if not code:
    sys.exit(f"{sys.argv[1]} has gone away")
code = int.from_bytes(code, "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def warm_command(command: Sequence[str]) -> list[str]:
    """The command that runs a Python script of this interpreter's environment, as `command` would."""
    return [sys.executable, "-I", "-S", "-c", _CLIENT, next(_turns()), *command]


@functools.cache
def _turns() -> itertools.cycle[str]:
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return itertools.cycle([_start_server(folder / str(number)) for number in range(_SERVERS)])


def _start_server(address: Path) -> str:
    """Start a server that ends when this process ends, and return where it listens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, str(address)],
        env={**environment, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    if server.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{__file__} did not start")

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)

    atexit.register(end)
    return str(address)


# The server


def _prepare(cache: Path) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    # It would have read this process's environment, and no run would read its own.
    if "ansible.constants" in sys.modules:
        raise RuntimeError("Ansible's configuration was imported before the fork")
    finder: Any = importlib.import_module("ansible.utils.collection_loader._collection_finder")
    finder.compile = functools.partial(_compiled, cache)


def _compiled(cache: Path, source: str | bytes, filename: str, mode: str, **options: Any) -> CodeType:
    """What compile() returns, kept on disk by all that goes into it."""
    text = source if isinstance(source, bytes) else source.encode()
    words = repr((filename, mode, sorted(options.items()), sys.version))
    kept = cache / hashlib.sha256(words.encode() + b"\0" + text).hexdigest()
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: CodeType = marshal.loads(kept.read_bytes())
        return found
    code: CodeType = builtins.compile(source, filename, mode, **options)
    spare = kept.with_suffix(f".{os.getpid()}")
    spare.write_bytes(marshal.dumps(code))
    spare.replace(kept)
    return code


def _receive(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    streams = array.array("i")
    head, ancillary, _flags, _address = client.recvmsg(8, socket.CMSG_LEN(3 * streams.itemsize))
    for _level, _type, data in ancillary:
        streams.frombytes(data)
    left = int.from_bytes(head, "big")
    parts = []
    while left:
        parts.append(client.recv(min(left, 65536)))
        left -= len(parts[-1])
    request: dict[str, Any] = json.loads(b"".join(parts))
    return request, list(streams)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Make this fork the program: its streams, folder, environment and arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = list(request["argv"])
    sys.path.insert(0, os.path.dirname(sys.argv[0]))


def _serve(address: str) -> list[str] | None:
    """Fork for each client. Returns the arguments of a program in its fork, and nothing in the server, at its end."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # A terminal interrupts all of its processes. The programs end by themselves, and this one when its stdin does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.write(1, b"ready\n")
    running: dict[socket.socket, int] = {}
    while True:
        watched: list[Any] = [0, woken, listener, *running]
        readable = select.select(watched, [], [])[0]
        if 0 in readable:
            for pid in running.values():
                os.kill(pid, signal.SIGKILL)
            return None
        if woken in readable:
            woken.recv(4096)
            for client, pid in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    with contextlib.suppress(OSError):
                        client.sendall(code.to_bytes(8, "big", signed=True))
                    client.close()
                    del running[client]
        for client in [one for one in running if one in readable]:
            os.kill(running[client], signal.SIGKILL)  # its client was killed
        if listener in readable:
            client = listener.accept()[0]
            request, streams = _receive(client)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for one in (woken, wake, listener, client, *running):
                    one.close()
                _become(request, streams)
                return sys.argv
            for stream in streams:
                os.close(stream)
            client.sendall(pid.to_bytes(8, "big"))
            running[client] = pid


def main() -> None:
    cache = Path(__file__).resolve().parents[2] / "build" / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    _prepare(cache)
    program = _serve(sys.argv[1])
    if program is not None:
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
