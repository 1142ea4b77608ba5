# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the programs of an environment in half the time: they are forked from a process that knows its imports.

In a test:

    process = subprocess.Popen(warm_command([str(VENV / "bin" / "ansible-playbook"), ...]), env=..., cwd=...)

Or on the command line, for a program that starts ansible-playbook by itself:

    python -m tests.support.warm_python molecule test --all

The command is a small client: it hands its arguments, environment, folder and streams to the server, and ends as the
program ends. So it can be waited for, interrupted and killed like the program itself.

Imported before the fork are libraries, Ansible itself, and what our plugins compute with. Ansible reads its settings
when it is imported; each run reads its own once more, and one in which a setting differs that Ansible may have taken
over already is started as usual. The plugins are loaded anew by each run, as always; what is kept is how their source
compiles, because Ansible compiles every file of a collection at every start, and what their documentation says. Two
servers take turns: in each, sets and dictionaries have another order of hashes, so that what depends on it differs from
run to run, as it would from process to process.

Modules that a playbook starts on this machine are warm as well: sys.executable of a playbook is a command that hands
them to a third server. That one has imported nothing of Ansible, since a module brings its own.
"""

from __future__ import annotations

import array
import ast
import atexit
import builtins
import contextlib
import functools
import gc
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
import types
import zipimport
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from tests.checks import layout

_SERVERS = 2
#: This file, also where it is run as a program.
_MODULE = "tests.support.warm_python"

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
    "ansible.cli.playbook",
    "ansible.executor.powershell",
    "ansible.utils.collection_loader",
)
#: Settings that Ansible looks up whenever it needs them. Others it may take over at its import.
_LOOKED_UP = frozenset(
    (
        "ANSIBLE_HOME",
        "ANSIBLE_NOCOWS",
        "CACHE_PLUGIN_CONNECTION",
        "COLLECTIONS_PATHS",
        "CONFIG_FILE",
        "DEFAULT_FORKS",
        "DEFAULT_INTERNAL_POLL_INTERVAL",
        "DEFAULT_LOCAL_TMP",
        "DEFAULT_STDOUT_CALLBACK",
        "GALAXY_CACHE_DIR",
        "GALAXY_TOKEN_PATH",
        "HOST_KEY_CHECKING",
        "INTERPRETER_PYTHON",
        "PERSISTENT_CONTROL_PATH_DIR",
        "RETRY_FILES_ENABLED",
        "VERBOSE_TO_STDERR",
        "config",
    )
)
#: Kinds of plugins whose documentation Ansible reads at every start.
_DOCUMENTED = ("become", "cache", "callback", "connection", "inventory", "shell", "strategy", "vars")

#: Stands for an interpreter: a script is run warm, all else as usual.
_INTERPRETER = """\
#!/bin/sh
case "$1" in
    *.py) exec {python} -I -S {client} {address} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""

#: Stands for ansible-playbook. The servers take turns by the process ID.
_PLAYBOOK = """\
#!/bin/sh
case $(($$ % 2)) in
    0) exec {python} -I -S {client} {even} {program} "$@" ;;
    *) exec {python} -I -S {client} {odd} {program} "$@" ;;
esac
"""

#: The room of module_utils that needs Ansible.
_CLUSTER = "_cluster"

#: The root of the checkout is where this package is found, and not where its programs look for theirs.
_SERVER = """
import importlib, sys
root, module = sys.argv.pop(1), sys.argv.pop(1)
sys.path.insert(0, root)
found = importlib.import_module(module)
sys.path.remove(root)
found.main()
"""

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


def run(command: Sequence[str]) -> int:
    """Run a command for which ansible-playbook is warm, and return its exit code."""
    client, addresses = _servers()
    folder = client.with_name("bin")
    folder.mkdir()
    program = folder / "ansible-playbook"
    real = Path(sys.executable).with_name(program.name)
    words = {
        "python": sys.executable,
        "client": client,
        "even": next(addresses),
        "odd": next(addresses),
        "program": real,
    }
    write_program(program, _PLAYBOOK, {"python": sys.executable, **words})
    environment = {**os.environ, "PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}
    return subprocess.run(command, env=environment, check=False).returncode


def write_program(path: Path, text: str, words: Mapping[str, object]) -> None:
    """Write a shell script, whose words are quoted."""
    path.write_text(text.format(**{name: shlex.quote(str(word)) for name, word in words.items()}), encoding="utf-8")
    path.chmod(0o700)


@functools.cache
def _servers() -> tuple[Path, itertools.cycle[str]]:
    """The client's file, and the addresses of the servers in turn."""
    folder, client = new_folder()
    interpreter, modules = folder / "python", folder / "modules"
    write_program(interpreter, _INTERPRETER, {"python": sys.executable, "client": client, "address": modules})
    start_server(modules)
    return client, itertools.cycle([start_server(folder / str(one), interpreter) for one in range(_SERVERS)])


def new_folder() -> tuple[Path, Path]:
    """A folder that goes when this process ends, and the client's file in it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client = folder / "client.py"
    client.write_text(_CLIENT, encoding="utf-8")
    return folder, client


def start_server(*arguments: Path, python: Path = Path(sys.executable), module: str = _MODULE) -> str:
    """Start a server that ends when this process ends, and return where it listens.

    :param arguments: where it listens, and what its programs take for their interpreter; without it they run modules.
    :param module: whose main() it is.
    """
    # The settings of the checks, which most runs have, and no plugins of a user.
    settings = layout.environment(Path(sys.prefix), ANSIBLE_HOME=str(arguments[0].with_name("home")))
    environment = {name: value for name, value in settings.items() if not name.startswith("PYTHON")}
    server = subprocess.Popen(
        [str(python), "-P", "-c", _SERVER, str(layout.ROOT), module, *map(str, arguments)],
        env={**environment, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    if server.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{module} did not start")

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)

    atexit.register(end)
    return str(arguments[0])


def send_request(server: socket.socket, request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """What the client sends, for who needs no process of its own for it."""
    text = json.dumps(request).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams).tobytes())
    server.sendmsg([len(text).to_bytes(8, "big")], [rights])
    server.sendall(text)


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
    manager: Any = importlib.import_module("ansible.config.manager").ConfigManager
    definitions = functools.cache(functools.partial(manager._read_config_yaml_file, None))
    manager._read_config_yaml_file = lambda _self, file: definitions(file)
    for name in (*_OF_MODULES, *_OF_PLAYBOOKS):
        importlib.import_module(name)
    _import_rooms()
    constants: Any = importlib.import_module("ansible.constants")
    # The run removes a folder of its own.
    atexit.unregister(importlib.import_module("ansible.config.manager").cleanup_tmp_file)
    shutil.rmtree(constants.DEFAULT_LOCAL_TMP)
    finder: Any = importlib.import_module("ansible.utils.collection_loader._collection_finder")
    finder.compile = functools.partial(_compiled, cache)
    finder._meta_yml_to_dict = functools.partial(_parsed, cache, finder._meta_yml_to_dict)
    loader: Any = importlib.import_module("ansible.plugins.loader")
    loader.yaml = _Documentation(loader)
    packer: Any = importlib.import_module("ansible.executor.module_common")
    packer.compile = _Trees(Path(packer.__file__).parent.parent)


def _read_settings() -> bool:
    """Let Ansible read the settings of this run. Returns whether it did, or has to start anew for it."""
    constants: Any = sys.modules["ansible.constants"]
    before = dict(vars(constants))
    importlib.reload(constants)
    loaders = [one for one in vars(sys.modules["ansible.plugins.loader"]).values() if hasattr(one, "class_name")]
    for name, found in before.items():
        new = getattr(constants, name)
        if name.endswith("_PATH") and isinstance(found, list):
            for loader in loaders:
                if loader.config is found:
                    loader.config = new
        elif not name.startswith("_") and not callable(found) and name not in _LOOKED_UP and new != found:
            return False
    for module in list(sys.modules.values()):
        if getattr(module, "config", None) is before["config"]:
            vars(module)["config"] = constants.config
    return True


class _Documentation:
    """Stands for the module yaml where Ansible loads plugins: what their documentation says is known.

    A run reads each once, and may write into it.
    """

    def __init__(self, loader: Any) -> None:
        self._yaml = loader.yaml
        self._known: dict[tuple[str, str], Any] = {}
        tags = loader._tags
        for kind in _DOCUMENTED:
            for file in sorted(Path(loader.__file__).with_name(kind).glob("*.py")):
                for text in _documentation(file):
                    tagged = tags.Origin(path=str(file)).tag(tags.TrustedAsTemplate().tag(text))
                    self._known[str(file), text] = self._yaml.load(tagged, Loader=loader.AnsibleLoader)
        self._origin: Any = tags.Origin

    def load(self, text: Any, Loader: Any) -> Any:
        known = self._known.pop((getattr(self._origin.get_tag(text), "path", ""), str(text)), None)
        return self._yaml.load(text, Loader=Loader) if known is None else known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._yaml, name)


def _documentation(file: Path) -> list[str]:
    """A plugin's constant DOCUMENTATION, if it has one."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assigned = [one for one in tree.body if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)]
    found = {getattr(target, "id", ""): ast.literal_eval(one.value) for one in assigned for target in one.targets}
    return [found["DOCUMENTATION"]] if "DOCUMENTATION" in found else []


class _Trees:
    """Stands for compile() where Ansible packs modules: the trees of what is packed with every module are known."""

    def __init__(self, ansible: Path) -> None:
        self._known: dict[str, ast.Module] = {}
        places = [
            ansible / "module_utils",
            *ansible.parent.glob("ansible_collections/kubernetes/core/plugins/module_utils"),
        ]
        for place in places:
            for file in place.rglob("*.py"):
                text = file.read_text(encoding="utf-8")
                self._known[text] = ast.parse(text)

    def __call__(self, source: str | bytes, *arguments: Any) -> Any:
        known = self._known.get(source.decode() if isinstance(source, bytes) else str(source))
        return builtins.compile(source, *arguments) if known is None else known


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
    sys.path.insert(0, "" if sys.argv[0] == "-c" else os.path.dirname(os.path.abspath(sys.argv[0])))


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
                _kill(pid)
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
            _kill(running[client])  # its client was killed
        if listener in readable:
            client = listener.accept()[0]
            request, streams = _receive(client)
            pid = os.fork()
            if request.get("leads"):
                # In both, so that for either it is done before anything goes on.
                with contextlib.suppress(ProcessLookupError):
                    os.setpgid(pid, pid)
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


def _kill(pid: int) -> None:
    """End a program, with its group if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    address, interpreter = sys.argv[1], sys.argv[2:]
    cache = Path(__file__).resolve().parents[2] / "build" / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    prepare = _prepare_for_playbooks if interpreter else _prepare_for_modules
    prepare(cache)
    serve_programs(address, interpreter)


def serve_programs(address: str, interpreter: Sequence[str] = (), looked_up: Iterable[str] = ()) -> None:
    """Fork for each client until this process is told to end, and run its program in the fork.

    :param interpreter: what the programs take for theirs, which are playbooks; without it they are any.
    :param looked_up: variables that were looked up during the imports, and are not set here. A program that has one
        is started anew.
    """
    gc.freeze()  # a fork neither searches nor copies what is here already
    program = _serve(address)
    if program is None:
        return
    if interpreter:
        if not _read_settings():
            os.execv(sys.executable, [sys.executable, *sys.argv])
        sys.executable = interpreter[0]
    if not os.environ.keys().isdisjoint(looked_up):
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if program[0] == "-c":
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(sys.argv.pop(1), "<string>", "exec"), vars(sys.modules["__main__"]))
        return
    runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
