# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells Kubernetes which pod may go first: an idle one, then the one whose oldest task started last.

A ConfigMap brings this file into the worker's container. It writes one annotation of its own pod, by which a ReplicaSet
ranks the pods that it takes away: none while idle, 2 at once when a task starts, a number that orders by the start of
the oldest task once that has run for some seconds, 1 when idle again. It writes on edges only, and never often. It is
help, and no guard: where the API is away, the worker goes on, and any pod may go.
"""

from __future__ import annotations

import _socket
import base64
import json
import os
import time
from typing import Any

from . import watching
from .watching import watched

NAME = "idle_first"
#: Where the pod's own token is, and the certificate of the API server.
FOLDER = "/var/run/secrets/celery-launcher"
TOKEN, AUTHORITY = "token", "ca.crt"
ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
#: Environment with what the annotation said when the container was started: one that restarts keeps its pod.
COST_ENV = "CELERY_POD_DELETION_COST"

#: Costs of a pod that has just become idle, and of one that has just become busy. A pod without one costs 0.
JUST_IDLE, JUST_BUSY = 1, 2
#: Costs are numbers of 32 bits; seconds are counted from 2020, so that the oldest start costs most.
_MOST, _EPOCH = 2**31 - 1, 1577836800
#: Seconds after which a task counts as long, and after which an idle pod looks as if it had never worked.
LONG, FORGOTTEN = 4.0, 15.0
#: Seconds in which the next task may follow, so that the pod does not become idle in between.
_BETWEEN_LONG, _BETWEEN_SHORT = 0.3, 1.0
#: Seconds between two writes: of what changes who goes first, and of everything else.
_SOON, _SELDOM = 0.5, 10.0
#: Seconds between two looks at a busy worker, and at an idle one that nothing is to be written of.
_LOOK, _REST = 0.2, 30.0
#: Seconds that a request may take, and after which it is tried again at first and at most.
_PATIENCE, _AGAIN, _LONGEST = 5.0, 5.0, 60.0
#: Bytes of an answer that are read: its head, and why a server refuses something.
_LONGEST_ANSWER = 65536

find_address = _socket.getaddrinfo
new_socket = _socket.socket


def cost_of(start: float) -> int:
    """The cost of a pod by the start of its oldest task, in seconds since 1970."""
    return max(JUST_BUSY + 1, min(_MOST, _MOST - int(start - _EPOCH)))


class Costs:
    """What the pod should cost, from what its worker does.

    :param said: what the annotation says; None without one.
    """

    def __init__(self, said: int | None = None) -> None:
        self.said = said
        self.idle_since = 0.0
        self._was_busy = False

    def wanted(self, now: float, oldest: float | None, worked: bool = False) -> int | None:
        """What the annotation should say.

        :param oldest: start of the oldest task that runs; None if none runs.
        :param worked: whether a task has started since the last look.
        """
        if oldest is not None:
            self._was_busy = True
            if now - oldest >= LONG:
                return cost_of(oldest)
            return JUST_BUSY if self.said in (None, JUST_IDLE) else self.said
        if self._was_busy or worked or not self.idle_since:
            self._was_busy, self.idle_since = False, now
        return self._of_idle(now - self.idle_since)

    def _of_idle(self, seconds: float) -> int | None:
        if self.said is None or seconds >= FORGOTTEN:
            return None
        between = _BETWEEN_SHORT if self.said == JUST_BUSY else _BETWEEN_LONG
        return JUST_IDLE if self.said == JUST_IDLE or seconds >= between else self.said

    def pause(self, wanted: int | None) -> float:
        """Seconds that have to lie between the last write and this one."""
        is_long = [cost is not None and cost > JUST_BUSY for cost in (self.said, wanted)]
        from_idle = self.said in (None, JUST_IDLE) and wanted == JUST_BUSY
        return _SOON if is_long[0] != is_long[1] or from_idle else _SELDOM

    def next_look(self, now: float) -> float:
        """Seconds for which an idle worker need not be looked at, unless a task starts."""
        seconds = now - self.idle_since
        if self.said is None:
            return _REST
        if self.said == JUST_IDLE:
            return max(_LOOK, FORGOTTEN - seconds)
        return _LOOK


class Pod:
    """The pod that this worker runs in, as the API server knows it."""

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder
        self._guard = ForkGuard()

    def write(self, cost: int | None) -> None:
        """Let the annotation say a cost, or take it away.

        :raises Exception: whatever keeps it from that; the text says what.
        """
        token = self._token()
        namespace, name = place_in(token)
        value = None if cost is None else str(cost)
        body = json.dumps({"metadata": {"annotations": {ANNOTATION: value}}}).encode()
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        head = [
            f"PATCH /api/v1/namespaces/{namespace}/pods/{name}?fieldManager=celery-launcher HTTP/1.1",
            f"Host: {f'[{host}]' if ':' in host else host}:{port}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/merge-patch+json",
            "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        request = "\r\n".join(head).encode() + b"\r\n\r\n" + body
        conversation = Conversation(host, int(port), f"{self._folder}/{AUTHORITY}", self._guard)
        check_answer(conversation.ask(request))

    def _token(self) -> str:
        """Read anew each time: the kubelet renews it."""
        with open(f"{self._folder}/{TOKEN}", encoding="ascii") as stream:
            return stream.read().strip()


class Conversation:
    """One request over TLS. What is encrypted stays in memory, so that the socket is Python's own, and never gevent's.

    :param guard: held while OpenSSL works.
    """

    def __init__(self, host: str, port: int, authority: str, guard: ForkGuard) -> None:
        import ssl  # Not before gevent has put its own in place, which does not like that.

        self._ssl = ssl
        self._guard = guard
        self._end = watching.monotonic() + _PATIENCE
        with guard:
            context = ssl.create_default_context(cafile=authority)
            # The authorities of many clusters are older than what Python 3.13 asks of them.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        family, kind, protocol, _name, self._address = find_address(host, port, 0, _socket.SOCK_STREAM)[0]
        self._plain = new_socket(family, kind, protocol)

    def ask(self, request: bytes) -> bytes:
        """The answer, as far as it matters.

        :raises OSError: without one.
        """
        try:
            self._plain.settimeout(left(self._end))
            self._plain.connect(self._address)
            self._until_done(self._session.do_handshake)
            self._until_done(self._session.write, request)
            self._send()
            return self._answer()
        finally:
            self._plain.close()

    def _answer(self) -> bytes:
        answer = b""
        while len(answer) < _LONGEST_ANSWER:
            try:
                found = self._until_done(self._session.read, _LONGEST_ANSWER)
            except (self._ssl.SSLZeroReturnError, self._ssl.SSLEOFError):
                break
            if not found:
                break
            answer += found
        return answer

    def _until_done(self, call: Any, *arguments: Any) -> Any:
        while True:
            try:
                with self._guard:
                    return call(*arguments)
            except self._ssl.SSLWantReadError:
                self._send()
                self._receive()

    def _send(self) -> None:
        data = self._outgoing.read()
        while data:
            self._plain.settimeout(left(self._end))
            data = data[self._plain.send(data) :]

    def _receive(self) -> None:
        self._plain.settimeout(left(self._end))
        found = self._plain.recv(_LONGEST_ANSWER)
        if found:
            self._incoming.write(found)
        else:
            self._incoming.write_eof()


def left(end: float) -> float:
    """Seconds that are left of a request's time.

    :raises OSError: if none is.
    """
    seconds = end - watching.monotonic()
    if seconds <= 0:
        raise OSError("the API server takes too long")
    return seconds


def place_in(token: str) -> tuple[str, str]:
    """Namespace and name of the pod that a token was made for."""
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["kubernetes.io"]
    return claims["namespace"], claims["pod"]["name"]


def check_answer(answer: bytes) -> None:
    """Make an error of an answer that is one.

    :raises OSError: with what the server says.
    """
    head, _blank, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        raise OSError("the API server gave no answer")
    if words[1] != "200":
        found = body.decode("utf-8", "replace")
        start, end = found.find("{"), found.rfind("}")
        try:
            said = str(json.loads(found[start : end + 1]).get("message", ""))
        except ValueError:
            said = ""
        raise OSError(f"the API server answered {words[1]}{': ' if said else ''}{said[:300]}")


class ForkGuard:
    """Keeps a pool from forking a process while this thread is inside of OpenSSL, whose locks the child would inherit.

    It is held for moments only, never while something is waited for.
    """

    def __init__(self) -> None:
        self._lock = watching.new_lock()
        self._is_held = False
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_raised: object) -> None:
        self._lock.release()

    def _before(self) -> None:
        self._is_held = self._lock.acquire(True, 1)

    def _after(self) -> None:
        if self._is_held:
            self._is_held = False
            self._lock.release()


class Keeper:
    """Lets the annotation follow the worker.

    :param pod: what writes it.
    """

    def __init__(self, pod: Any, costs: Costs) -> None:
        self.pod = pod
        self.costs = costs
        self._written = 0.0
        self._failures = 0
        self._accepted = 0

    def follow(self) -> None:
        """Go on until the worker stops."""
        while not watched.is_stopping:
            accepted = watched.accepted
            oldest = watched.oldest_start
            wait = self.look(time.time(), watching.monotonic(), oldest, accepted)
            if oldest is None:
                watched.wait_for_start(wait, accepted)
            else:
                watching.sleep(wait)

    def look(self, now: float, clock: float, oldest: float | None, accepted: int) -> float:
        """Look once; return the seconds after which it is worth to look again.

        :param now: the time of day, by which starts of tasks are told.
        :param clock: a time that nobody sets.
        """
        wanted = self.costs.wanted(now, oldest, accepted != self._accepted)
        self._accepted = accepted
        if wanted == self.costs.said:
            return _LOOK if oldest is not None else self.costs.next_look(now)
        pause = self.costs.pause(wanted)
        if self._failures:
            pause = max(pause, min(_LONGEST, _AGAIN * 2 ** min(self._failures - 1, 10)))
        missing = pause - (clock - self._written)
        if self._written and missing > 0:
            return _LOOK if oldest is not None else max(_LOOK, missing)
        self._written = clock
        self._write(wanted)
        return 0.0 if self.costs.said == wanted else _LOOK

    def _write(self, wanted: int | None) -> None:
        try:
            self.pod.write(wanted)
        except Exception as error:
            # Once, however often it is tried until it works again.
            if not self._failures:
                text = f"cannot mark this pod, so that it may be taken while it works ({type(error).__name__}: {error})"
                watching.say(NAME, text)
            self._failures += 1
            return
        self._failures = 0
        self.costs.said = wanted


def install(_settings: dict[str, Any]) -> None:
    """Follow the worker from the time when it consumes."""
    said = os.environ.get(COST_ENV, "")
    known = int(said) if said.lstrip("-").isdigit() else None
    watched.run(NAME, Keeper(Pod(), Costs(known)).follow)
