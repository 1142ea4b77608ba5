# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the programs of an environment in half the time: they are forked from a process that knows its imports.

In a test:

    process = subprocess.Popen(warm_command([str(VENV / "bin" / "ansible-playbook"), ...]), env=..., cwd=...)

The command is a small client: it hands its arguments, environment, folder and streams to the server, and ends as the
program ends. So it can be waited for, interrupted and killed like the program itself.

What is imported before the fork reads no setting: libraries, of Ansible only what comes before its configuration, and
what our plugins compute with. The plugins are loaded anew by each run, as always; what is kept of them is how their
source compiles, because Ansible compiles every file of a collection at every start. Two servers take turns: in each,
sets and dictionaries have another order of hashes, so that what depends on it differs from run to run, as it would from
process to process.

Modules that a playbook starts on this machine are warm as well: sys.executable of a playbook is a command that hands
them to a third server. That one has imported nothing of Ansible, since a module brings its own.
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
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipimport
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

_SERVERS = 2

#: What a module of kubernetes.core imports sooner or later, by the biggest parts.
_OF_MODULES = (
    "concurrent.futures",
    "kubernetes",
    "kubernetes.dynamic",
    "kubernetes_validate",
    "multiprocessing.queues",
    "packaging.version",
    "yaml",
)
#: What a playbook of this collection imports beside it.
_OF_PLAYBOOKS = (
    "cryptography.hazmat.primitives.ciphers",
    "jinja2.nativetypes",
    "jinja2.sandbox",
    "ansible.config.manager",
    "ansible.errors",
    "ansible.executor.powershell",
    "ansible.utils.collection_loader",
)

#: Stands for an interpreter: a script is run warm, all else as usual.
_INTERPRETER = """\
#!/bin/sh
case "$1" in
    *.py) exec {python} -I -S {client} {address} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""

#: The room of module_utils that needs Ansible.
_CLUSTER = "_cluster"

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
    client, addresses = _servers()
    return [sys.executable, "-I", "-S", str(client), next(addresses), *command]


@functools.cache
def _servers() -> tuple[Path, itertools.cycle[str]]:
    """The client's file, and the addresses of the servers in turn."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client, interpreter, modules = folder / "client.py", folder / "python", folder / "modules"
    client.write_text(_CLIENT, encoding="utf-8")
    words = {"python": sys.executable, "client": client, "address": modules}
    interpreter.write_text(_INTERPRETER.format(**{name: shlex.quote(str(one)) for name, one in words.items()}))
    interpreter.chmod(0o700)
    _start_server(modules)
    return client, itertools.cycle([_start_server(folder / str(one), interpreter) for one in range(_SERVERS)])


def _start_server(*arguments: Path) -> str:
    """Start a server that ends when this process ends, and return where it listens.

    :param arguments: where it listens, and what its programs take for their interpreter; without it they run modules.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, *map(str, arguments)],
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
    return str(arguments[0])


# The server


def _prepare_for_modules(cache: Path) -> None:
    for name in _OF_MODULES:
        importlib.import_module(name)
    if "ansible" in sys.modules:
        raise RuntimeError("a part of Ansible was imported before the fork")
    # A module is a packed file, in a folder of another name each time.
    archive: Any = zipimport
    archive._compile_source = lambda path, source: _compiled(
        cache, source.replace(b"\r\n", b"\n"), path.rpartition(".zip")[2], "exec", dont_inherit=True
    )


def _prepare_for_playbooks(cache: Path) -> None:
    for name in (*_OF_MODULES, *_OF_PLAYBOOKS):
        importlib.import_module(name)
    _import_rooms()
    # It would have read this process's environment, and no run would read its own.
    if "ansible.constants" in sys.modules:
        raise RuntimeError("Ansible's configuration was imported before the fork")
    finder: Any = importlib.import_module("ansible.utils.collection_loader._collection_finder")
    finder.compile = functools.partial(_compiled, cache)
    finder._meta_yml_to_dict = functools.partial(_parsed, cache, finder._meta_yml_to_dict)


def _import_rooms() -> None:
    """Import what plugins compute with. The packages around it are left to Ansible, which makes its own."""
    tree = Path(__file__).resolve().parents[2] / "build" / "tree"
    rooms = tree / "ansible_collections" / "queueops" / "celery" / "plugins" / "module_utils"
    sys.path.insert(0, str(tree))
    for file in sorted(rooms.rglob("*.py")):
        parts = file.relative_to(tree).with_suffix("").parts
        if _CLUSTER not in parts and file.name != "__init__.py":
            importlib.import_module(".".join(parts))
    sys.path.remove(str(tree))
    for name in list(sys.modules):
        if name.startswith("ansible_collections") and ".module_utils" not in name:
            del sys.modules[name]


def _parsed(cache: Path, parse: Callable[[bytes | str, Any], Any], text: bytes | str, content: Any) -> Any:
    """What a collection says of itself, kept on disk. It is mappings, lists and strings."""
    words = repr((content, text))
    kept = cache / hashlib.sha256(words.encode()).hexdigest()
    with contextlib.suppress(OSError, ValueError, EOFError):
        return marshal.loads(kept.read_bytes())
    found = parse(text, content)
    _keep(kept, found)
    return found


def _keep(target: Path, content: Any) -> None:
    spare = target.with_suffix(f".{os.getpid()}")
    spare.write_bytes(marshal.dumps(content))
    spare.replace(target)


def _compiled(cache: Path, source: str | bytes, filename: str, mode: str, **options: Any) -> CodeType:
    """What compile() returns, kept on disk by all that goes into it."""
    text = source if isinstance(source, bytes) else source.encode()
    words = repr((filename, mode, sorted(options.items()), sys.version))
    kept = cache / hashlib.sha256(words.encode() + b"\0" + text).hexdigest()
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: CodeType = marshal.loads(kept.read_bytes())
        return found
    code: CodeType = builtins.compile(source, filename, mode, **options)
    _keep(kept, code)
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
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))


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
    address, interpreter = sys.argv[1], sys.argv[2:]
    cache = Path(__file__).resolve().parents[2] / "build" / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    prepare = _prepare_for_playbooks if interpreter else _prepare_for_modules
    prepare(cache)
    program = _serve(address)
    if program is None:
        return
    if interpreter:
        sys.executable = interpreter[0]
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
