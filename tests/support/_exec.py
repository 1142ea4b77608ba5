# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in the containers of pods: `pods/exec` over a WebSocket, as an API server and a kubelet answer it.

What a command does is up to the handler of the test. The handler runs without the emulator's lock, so it may take
its time and may use the API itself.
"""

from __future__ import annotations

import contextlib
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from ._api import Answer
from ._environment import MissingReference, Resolver
from ._http import HttpRequest, Upgrade
from ._kinds import POD
from ._status import ApiError, Json, bad_request, not_found, not_implemented
from ._store import Store
from ._websocket import WebSocket

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
# Version 5 lets a client end one channel: this byte, and the number of the channel.
_END_OF_STDIN = bytes([255, _STDIN])
# A server passes output on in pieces of this size, without regard for characters that it cuts in two.
_PIECE = 32 * 1024
_CLOSING_SECONDS = 2


@dataclass(frozen=True)
class ExecRequest:
    """A command that somebody runs in a container, with the environment that the container has."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    environment: dict[str, str]
    stdin: str = ""


@dataclass(frozen=True)
class ExecResult:
    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


class CannotStart(Exception):
    """The command is not there or may not be run. A server reports that without an exit code."""


ExecHandler = Callable[[ExecRequest], ExecResult]
# What came out, and the status that the error channel gives.
Outcome = tuple[ExecResult, Json]


def nothing_runs(request: ExecRequest) -> ExecResult:
    """What happens as long as a test sets no handler."""
    return ExecResult(stderr=f"{request.command[0]}: nothing runs in the pods of the emulator\n", exit_code=126)


class Execution:
    """Takes requests for commands. `handler` is whatever the test has put there, or None."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.handler: ExecHandler | None = None

    def answer(self, request: HttpRequest, namespace: str, name: str) -> Answer | Upgrade:
        pod = self._store.get(POD, namespace, name)
        if pod is None:
            raise not_found(POD, name)
        container = _container(pod, request.parameter("container"))
        if not request.websocket_key:
            raise bad_request("Upgrade request required")
        protocol = _protocol(request)
        streams = _Streams.wanted(request, protocol)
        environment = self._environment(pod, container)
        if environment is None:
            return _container_not_found(container["name"], protocol, streams)
        command = tuple(request.query.get("command", []))
        if not command:
            raise bad_request("you must specify at least one command for the container")
        asked = ExecRequest(namespace, name, container["name"], command, environment)
        outcome = partial(_run, self.handler or nothing_runs, asked)
        return Upgrade(protocol, _Session(streams, outcome).serve)

    def _environment(self, pod: Json, container: Json) -> dict[str, str] | None:
        """None for a container that does not run."""
        if not _runs(pod, container["name"]):
            return None
        try:
            return Resolver(self._store, pod).environment(container)
        except MissingReference:
            return None


def _container(pod: Json, wanted: str) -> Json:
    name, spec = pod["metadata"]["name"], pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    every: dict[str, Json] = {one["name"]: one for kind in kinds for one in spec.get(kind, [])}
    if wanted:
        if wanted not in every:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
    elif len(spec["containers"]) == 1:
        wanted = spec["containers"][0]["name"]
    else:
        names = " ".join(every)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{names}]")
    if "nodeName" not in spec and not _runs(pod, wanted):
        raise bad_request(f"pod {name} does not have a host assigned")
    return every[wanted]


def _runs(pod: Json, container: str) -> bool:
    status = pod.get("status", {})
    kinds = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    found = [one for kind in kinds for one in status.get(kind, []) if one["name"] == container]
    return any("running" in one.get("state", {}) for one in found)


def _protocol(request: HttpRequest) -> str:
    """Version 5 goes first wherever it stands in the client's list, as on a server."""
    for protocol in (V5, V4):
        if protocol in request.protocols:
            return protocol
    offered = " ".join(request.protocols)
    raise bad_request(f"unable to negotiate protocol: client supports [{offered}], server accepts [{V5} {V4}]")


@dataclass(frozen=True)
class _Streams:
    stdin: bool
    stdout: bool
    stderr: bool

    @classmethod
    def wanted(cls, request: HttpRequest, protocol: str) -> _Streams:
        if _flag(request, "tty", False):
            raise not_implemented("commands with a terminal")
        streams = cls(_flag(request, "stdin", False), _flag(request, "stdout", True), _flag(request, "stderr", True))
        if not (streams.stdin or streams.stdout or streams.stderr):
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        if streams.stdin and protocol == V4:
            raise not_implemented(f"stdin over {V4}: it has no way to say where the input ends")
        return streams

    @property
    def first(self) -> int:
        """The channel whose empty message tells the client that the connection stands."""
        return _STDOUT if self.stdout else _STDERR if self.stderr else _ERROR


def _flag(request: HttpRequest, name: str, default: bool) -> bool:
    """As a server reads it: everything but "0" and "false" is true, in any case."""
    return request.parameter(name).lower() not in ("0", "false") if name in request.query else default


@dataclass
class _Session:
    """One command, from the handshake to the end of the connection. `outcome` takes the input and runs it."""

    streams: _Streams
    outcome: Callable[[str], Outcome]
    _input: bytes = b""
    _client_left: bool = False
    _input_ended: threading.Event = field(default_factory=threading.Event)

    def serve(self, socket: WebSocket) -> None:
        listener = threading.Thread(target=self._listen, args=(socket,), daemon=True)
        listener.start()
        socket.send(bytes([self.streams.first]))
        if self.streams.stdin:
            self._input_ended.wait()
        # Whoever leaves before the end of the input never sees what the command does with it.
        if not (self.streams.stdin and self._client_left):
            for message in self._messages():
                socket.send(message)
        socket.close()
        # A connection that ends before the client's last word was read may lose what was sent to it.
        listener.join(_CLOSING_SECONDS)

    def _listen(self, socket: WebSocket) -> None:
        # An error here says no more than the end of the messages: the client is gone.
        with contextlib.suppress(OSError, ValueError):
            for message in socket.messages():
                if message == _END_OF_STDIN:
                    self._input_ended.set()
                elif message[:1] == bytes([_STDIN]):
                    self._input += message[1:]
        self._client_left = not self._input_ended.is_set()
        self._input_ended.set()

    def _messages(self) -> Iterator[bytes]:
        result, status = self.outcome(self._input.decode(errors="replace"))
        if self.streams.stdout:
            yield from _pieces(_STDOUT, result.stdout)
        if self.streams.stderr:
            yield from _pieces(_STDERR, result.stderr)
        yield bytes([_ERROR]) + json.dumps(status, separators=(",", ":")).encode()


def _run(handler: ExecHandler, request: ExecRequest, stdin: str) -> Outcome:
    try:
        result = handler(replace(request, stdin=stdin))
    except CannotStart as error:
        why = f"error executing command in container: failed to exec in container: {error}"
        # The API server wraps the kubelet's failure once more.
        return ExecResult(), _internal_error(f"Internal error occurred: {why}")
    except Exception as error:
        # A handler that fails must reach the test as an answer, not as a lost connection.
        traceback.print_exc()
        return ExecResult(), _internal_error(f"the exec handler failed: {error!r}")
    return result, _exit_status(result.exit_code)


def _exit_status(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _internal_error(why: str) -> Json:
    error = ApiError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})
    # A status on the error channel names neither its kind nor its version.
    return {key: value for key, value in error.body().items() if key not in ("kind", "apiVersion")}


def _container_not_found(name: str, protocol: str, streams: _Streams) -> Answer | Upgrade:
    """Version 4 is the kubelet's own refusal; with version 5 the server has accepted before it asks the kubelet."""
    why = f'container not found ("{name}")'
    if protocol == V4:
        return Answer(500, f"{why}\n")
    outcome = ExecResult(), _internal_error(f"unable to upgrade connection: {why}")
    return Upgrade(protocol, _Session(replace(streams, stdin=False), lambda _stdin: outcome).serve)


def _pieces(channel: int, text: str) -> Iterator[bytes]:
    data = text.encode()
    for start in range(0, len(data), _PIECE):
        yield bytes([channel]) + data[start : start + _PIECE]
