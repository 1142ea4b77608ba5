# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes API emulator: enough of a server for kubernetes.core and for this collection's tests.

In a test:

    with Emulator(namespaces=["shop"]) as emulator:
        kubeconfig = emulator.write_kubeconfig(tmp_path / "kubeconfig")
        ...
        assert not [r for r in emulator.requests if r.method == "PATCH"]

From a shell: `python -m tests.support.kubernetes_emulator --kubeconfig FILE`, ended by SIGTERM.

With `enforces_rights`, an account may do what its roles allow: log in with a token that the subresource `token` of its
ServiceAccount has made. The token of `write_kubeconfig` may do everything in any case.

Commands in pods are run by the test: `emulator.exec_handler` takes an ExecRequest and returns an ExecResult; the
handler of _local_exec runs them as local processes.

It proves which requests are sent, and that a second run changes nothing. How a cluster reacts is proved on a cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import yaml

from ._api import APPLY_PATCH, Answer, Api
from ._controllers import Controllers
from ._defaults import apply_defaults
from ._exec import CannotStart, ExecHandler, ExecRequest, ExecResult, Execution
from ._http import HttpRequest, HttpResponse, HttpServer, Upgrade
from ._jobs import is_finished
from ._kinds import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    API_SERVICE,
    CRD,
    DEPLOYMENT,
    EVENT,
    JOB,
    KINDS,
    SCALED_JOB,
    SCALED_OBJECT,
    find_kind,
)
from ._operator_metrics import API_SERVICE as EXTERNAL_METRICS
from ._operator_metrics import OperatorMetrics, operator_objects
from ._rights import Access, accesses, target_of
from ._router import Router, Users
from ._status import ApiError, Json, PageNotFound
from ._store import Store, clone, kind_of, now, seeded
from ._tokens import Tokens
from ._workloads import Ends, Unavailable

__all__ = ["Access", "CannotStart", "Emulator", "Ends", "ExecRequest", "ExecResult", "RecordedRequest"]

DEFAULT_TOKEN = "emulator-token"
FORBIDDEN_TOKEN = "forbidden-token"
FORBIDDEN_USER = "system:serviceaccount:default:nobody"
_BUILT_IN_NAMESPACES = ("default", "kube-system")


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it arrived. `status` is 0 when the connection was dropped.

    `state` has the Deployments and ScaledObjects as they were after it: the emulator's own, not to be changed.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    content_type: str
    body: Any
    status: int
    has_token: bool
    state: tuple[Json, ...] = field(default=(), repr=False, compare=False)
    #: What it needed, as rules of roles word it; nothing where it was about no object.
    needs: tuple[Access, ...] = ()

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_dry_run(self) -> bool:
        return "dryRun" in self.query


@dataclass
class _Scripted:
    """An answer that a test put in place of the real one."""

    method: str
    path: re.Pattern[str]
    response: HttpResponse | None
    times: int | None
    skip: int

    def takes(self, request: HttpRequest) -> bool:
        if self.times == 0 or self.method not in ("*", request.method) or not self.path.search(request.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Emulator:
    """A running emulator. Use it as a context manager, or call start() and stop()."""

    def __init__(
        self,
        *,
        port: int = 0,
        namespaces: Iterable[str] = (),
        without_kinds: Iterable[str] = (),
        token: str | None = DEFAULT_TOKEN,
        forbidden_token: str = FORBIDDEN_TOKEN,
        forbidden_user: str = FORBIDDEN_USER,
        accepts_apply: bool = False,
        pace: Mapping[str, float] | None = None,
        enforces_rights: bool = False,
        longest_token: int = 0,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        """A cluster that has nothing in it but namespaces.

        :param accepts_apply: whether `kubectl apply --server-side` is answered. The emulator knows no owners of fields,
            so nothing that an apply leaves out goes away, and no conflict arises: good for measuring only.
        :param enforces_rights: whether an account may only do what its roles allow.
        :param longest_token: seconds for which the token of an account is good at most; 0 for as long as was asked.
        :param certificate: files of a certificate and its key, with which it speaks TLS.
        :param pace: seconds after which requests are answered, by method, LIST and APPLY among them.
        """
        self._pace = pace or {}
        self.token = token
        self.forbidden_token = forbidden_token
        self.requests: list[RecordedRequest] = []
        self._namespaces = tuple(namespaces)
        self._without_kinds = tuple(without_kinds)
        self._lock = threading.RLock()
        self._scripted: list[_Scripted] = []
        self._store = Store()
        self._state_version = -1
        self._last_state: tuple[Json, ...] = ()
        self._controllers = Controllers(self._store)
        self._server = HttpServer(port, self._handle, certificate)
        self._tokens = Tokens(self._store, longest_token)
        users = Users(token, forbidden_token, forbidden_user, self._tokens)
        self._execution = Execution(self._store)
        api = Api(self._store, self._controllers, accepts_apply)
        self._metrics = OperatorMetrics(self._store)
        address = self._server.address
        self._router = Router(self._store, api, self._execution, self._metrics, users, address, enforces_rights)
        self.reset()

    # Life

    def start(self) -> Emulator:
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def reset(self) -> None:
        """Back to the state after the start: no objects, no log, no failures, nothing unavailable, no exec handler."""
        with self._lock:
            self._store.clear()
            self._state_version = -1
            self._scripted.clear()
            self.requests.clear()
            self._controllers.unavailable.clear()
            self._controllers.keda_operator = True
            self._execution.handler = None
            self._metrics.clear()
            self._tokens.clear()
            self.add_namespaces(*_BUILT_IN_NAMESPACES, *self._namespaces)
            self.add_crds()
            self.remove_kind(*self._without_kinds)

    def snapshot(self) -> Any:
        """All objects as they are now, to come back to them."""
        with self._lock:
            return self._store.snapshot()

    def restore(self, snapshot: Any) -> None:
        """The objects of a snapshot, and no others. No controller acts."""
        with self._lock:
            self._store.restore(snapshot)

    def forget(self, kind: str, name: str, namespace: str = "") -> None:
        """Take an object away without any controller that acts on it."""
        with self._lock:
            found = find_kind(kind)
            obj = self._store.get(found, namespace, name)
            if obj is not None:
                self._store.remove(found, obj)

    # Connection

    @property
    def url(self) -> str:
        return f"http://{self._server.address}"

    def write_kubeconfig(
        self, path: str | os.PathLike[str], token: str | None = None, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig for the accepted token, or for another one; `""` writes none (anonymous)."""
        chosen = self.token if token is None else token
        user = {"token": chosen} if chosen else {}
        context = {"cluster": "emulator", "user": "emulator", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "emulator", "cluster": {"server": self.url}}],
            "users": [{"name": "emulator", "user": user}],
            "contexts": [{"name": "emulator", "context": context}],
            "current-context": "emulator",
        }
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whoever waits for the file must never read half of it.
        partial = target.with_name(f"{target.name}.partial")
        partial.write_text(yaml.safe_dump(config), encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(target)
        return target

    # Kinds

    def add_crds(self, *names: str) -> None:
        """Serve these custom kinds; without names, all that the emulator knows but VerticalPodAutoscaler."""
        with self._lock:
            for kind in [find_kind(name) for name in names] or [kind for kind in KINDS if kind.installed]:
                self._store.add_definition(kind)

    def remove_kind(self, *names: str) -> None:
        """Stop serving custom kinds, as a cluster that lacks their definitions. Their objects go too."""
        with self._lock:
            for name in names:
                kind = find_kind(name)
                if kind in (ADMISSION_POLICY, ADMISSION_BINDING):
                    self._store.unknown.add(kind)
                    continue
                if not kind.custom:
                    raise ValueError(f"{name} is built in and cannot be absent")
                definition = self._store.get(CRD, "", kind.qualified)
                if definition is not None:
                    self._store.remove(CRD, definition)
                    self._controllers.removed(CRD, definition)

    # Objects

    def add_namespaces(self, *names: str) -> None:
        with self._lock:
            for name in names:
                self._store.add_namespace(name)

    def add(self, *objects: Json) -> None:
        """Put objects as they are: defaulted, unchecked, no controller acts, status kept."""
        with self._lock:
            for obj in objects:
                kind = kind_of(obj)
                stored = seeded(kind, clone(obj))
                if kind.namespaced:
                    stored["metadata"].setdefault("namespace", "default")
                apply_defaults(stored, None)
                self._store.put(kind, stored)

    def objects(self, kind: str, namespace: str = "") -> list[Json]:
        """Copies of the stored objects of a kind, of one namespace or of all."""
        with self._lock:
            return [clone(obj) for obj in self._store.select(find_kind(kind), namespace)]

    def get(self, kind: str, name: str, namespace: str = "") -> Json | None:
        with self._lock:
            obj = self._store.get(find_kind(kind), namespace, name)
            return None if obj is None else dict(clone(obj))

    def set_status(self, kind: str, name: str, status: Json, namespace: str = "") -> None:
        """Replace the status, as a controller would. The next write to a Deployment or ScaledObject makes it anew."""
        with self._lock:
            found = find_kind(kind)
            obj = self._store.get(found, namespace, name)
            if obj is None:
                raise KeyError(f"{kind} {namespace}/{name}")
            self._store.put(found, {**clone(obj), "status": clone(status)})

    # The cluster's behaviour

    def make_unavailable(
        self,
        namespace: str,
        name: str,
        *,
        reason: str = "",
        message: str = "",
        deadline_exceeded: bool = False,
        ends: Ends | None = None,
    ) -> None:
        """Keep a Deployment, present or future, without ready pods. A reason makes Pods that wait with it."""
        with self._lock:
            why = Unavailable(reason, message, bool(reason), deadline_exceeded, ends)
            self._controllers.unavailable[namespace, name] = why
            self._sync_deployment(namespace, name)

    def make_available(self, namespace: str, name: str) -> None:
        with self._lock:
            self._controllers.unavailable.pop((namespace, name), None)
            self._sync_deployment(namespace, name)

    def _sync_deployment(self, namespace: str, name: str) -> None:
        if (deployment := self._store.get(DEPLOYMENT, namespace, name)) is not None:
            self._controllers.sync_deployment(deployment)

    @property
    def exec_handler(self) -> ExecHandler | None:
        """What runs the commands that are sent to pods; without one they end with exit code 126.

        It may raise CannotStart for a command that the container does not have.
        """
        return self._execution.handler

    @exec_handler.setter
    def exec_handler(self, handler: ExecHandler | None) -> None:
        self._execution.handler = handler

    def stop_keda(self) -> None:
        """KEDA's operator is gone: new ScaledObjects stay untouched, deleted ones keep their finalizer."""
        with self._lock:
            self._controllers.keda_operator = False

    def start_keda(self) -> None:
        with self._lock:
            self._controllers.keda_operator = True
            for obj in self._store.select(SCALED_OBJECT):
                self._controllers.sync_scaled_object(obj)
            for obj in self._store.select(SCALED_JOB):
                self._controllers.sync_scaled_job(obj)

    def poll_scaled_job(self, namespace: str, name: str, **readings: float) -> None:
        """KEDA reads the triggers of a ScaledJob, and starts the Jobs that these ask for."""
        with self._lock:
            self.set_reading(namespace, name, **readings)
            found = self._store.get(SCALED_JOB, namespace, name)
            assert found is not None, f"there is no ScaledJob {name} in {namespace}"
            self._controllers.sync_scaled_job(found, self._metrics.of(namespace, name))

    def end_jobs(self, namespace: str, failed: bool = False) -> None:
        """The workers of all Jobs end."""
        with self._lock:
            for job in self._store.select(JOB, namespace):
                if not is_finished(job):
                    self._controllers.end_job(job, failed)

    def install_keda(self, namespace: str = "keda", offers_metrics: bool = True) -> None:
        """The Service of KEDA's operator, and the registration of its metrics server."""
        with self._lock:
            self._store.add_namespace(namespace)
            for kind, obj in operator_objects(namespace, offers_metrics):
                self._store.put(kind, obj)
            service = {"name": "keda-operator-metrics-apiserver", "namespace": namespace, "port": 443}
            spec = {"group": "external.metrics.k8s.io", "version": "v1beta1", "service": service}
            obj = {"metadata": {"name": EXTERNAL_METRICS}, "spec": spec}
            self._store.put(API_SERVICE, seeded(API_SERVICE, obj))

    def set_reading(self, namespace: str, scaled_object: str, **readings: float) -> None:
        """What KEDA reads from now on, by the name of the trigger."""
        with self._lock:
            for trigger, value in readings.items():
                self._metrics.readings[namespace, scaled_object, trigger] = value

    def add_event(
        self, namespace: str, kind: str, name: str, reason: str, message: str, *, time: str = "", warns: bool = False
    ) -> None:
        """Something that a controller says of an object."""
        with self._lock:
            happened = time or now()
            obj = seeded(
                EVENT,
                {
                    "metadata": {"name": f"{name}.{self._store.version:x}", "namespace": namespace},
                    "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
                    "reason": reason,
                    "message": message,
                    "type": "Warning" if warns else "Normal",
                    "count": 1,
                    "firstTimestamp": happened,
                    "lastTimestamp": happened,
                    "source": {"component": "keda-operator" if kind == "ScaledObject" else "horizontal-pod-autoscaler"},
                },
            )
            self._store.put(EVENT, obj)

    # Scripted answers

    def fail(
        self,
        method: str,
        path: str,
        *,
        status: int = 503,
        reason: str | None = "ServiceUnavailable",
        message: str = "the server is currently unable to handle the request",
        times: int | None = 1,
        skip: int = 0,
        drop: bool = False,
    ) -> None:
        """Fail requests of a method (`*`: any) whose path matches a regular expression.

        `times` is None for ever; the first `skip` matches pass; `drop` closes the connection without an answer.
        """
        error = ApiError(status, reason, message)
        response = None if drop else HttpResponse(status, error.body())
        self._script(_Scripted(method, re.compile(path), response, times, skip))

    def recover(self) -> None:
        """Answer every request again."""
        with self._lock:
            self._scripted.clear()

    def respond(self, method: str, path: str, body: Json | str, *, status: int = 200, times: int | None = None) -> None:
        """Answer with a fixed body, for paths that the emulator does not implement."""
        self._script(_Scripted(method, re.compile(path), HttpResponse(status, body), times, 0))

    def _script(self, scripted: _Scripted) -> None:
        with self._lock:
            self._scripted.append(scripted)

    # Requests

    def _handle(self, request: HttpRequest) -> HttpResponse | Upgrade | None:
        if self._pace:
            time.sleep(self._pace.get(_pace_of(request), 0))
        with self._lock:
            scripted = next((one for one in self._scripted if one.takes(request)), None)
            response = scripted.response if scripted else self._answer(request)
            self.requests.append(_recorded(request, response.status if response else 0, self._state()))
            return response

    def _state(self) -> tuple[Json, ...]:
        """What is stored of the kinds that make consumers; one tuple for as long as nothing changes."""
        if self._store.version != self._state_version:
            self._state_version = self._store.version
            kinds = (DEPLOYMENT, SCALED_OBJECT, SCALED_JOB)
            self._last_state = tuple(obj for kind in kinds for obj in self._store.select(kind))
        return self._last_state

    def _answer(self, request: HttpRequest) -> HttpResponse | Upgrade:
        try:
            answer = self._router.answer(request)
        except PageNotFound:
            answer = Answer(404, "404 page not found\n")
        except ApiError as error:
            answer = Answer(error.code, error.body())
        except Exception as error:
            # A gap of the emulator must reach the test as an answer, not as a lost connection.
            traceback.print_exc()
            failure = ApiError(500, "InternalError", f"the emulator failed: {error!r}")
            answer = Answer(failure.code, failure.body())
        if isinstance(answer, Upgrade):
            return answer
        return HttpResponse(answer.code, answer.body, answer.warnings)


def _pace_of(request: HttpRequest) -> str:
    """What a request counts as where requests take time."""
    if request.content_type == APPLY_PATCH:
        return "APPLY"
    # A list ends with the plural of its kind, below the namespace.
    is_list = request.method == "GET" and request.path.partition("/namespaces/")[2].count("/") == 1
    return "LIST" if is_list else request.method


def _recorded(request: HttpRequest, status: int, state: tuple[Json, ...]) -> RecordedRequest:
    try:
        body = json.loads(request.data) if request.data else None
    except ValueError:
        body = request.data.decode(errors="replace")
    has_token = bool(request.authorization)
    seen = (request.method, request.path, request.query, request.content_type)
    return RecordedRequest(*seen, body, status, has_token, state, needs_of(request))


def needs_of(request: HttpRequest) -> tuple[Access, ...]:
    """What a request needs; nothing where it is about no object."""
    target = target_of([unquote(segment) for segment in request.path.rstrip("/").split("/")[1:]])
    return tuple(accesses(request, target)) if target is not None else ()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kubernetes_emulator", description="Emulate a Kubernetes API for tests.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="file to write when requests are served")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--pid-file", type=Path, help="file to hold the process id while the emulator runs")
    parser.add_argument("--namespace", action="append", default=[], help="namespace that exists; may be repeated")
    parser.add_argument("--without-kind", action="append", default=[], help="custom kind to leave out; may be repeated")
    parser.add_argument("--token", default=DEFAULT_TOKEN, help="bearer token that is accepted")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments(argv)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    emulator = Emulator(
        port=arguments.port,
        namespaces=arguments.namespace,
        without_kinds=arguments.without_kind,
        token=arguments.token,
    )
    with emulator:
        if arguments.pid_file:
            arguments.pid_file.parent.mkdir(parents=True, exist_ok=True)
            arguments.pid_file.write_text(f"{os.getpid()}\n", encoding="utf-8")
        emulator.write_kubeconfig(arguments.kubeconfig)
        print(emulator.url, flush=True)
        stopped.wait()
    if arguments.pid_file:
        arguments.pid_file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
