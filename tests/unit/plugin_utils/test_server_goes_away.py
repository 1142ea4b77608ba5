# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that goes away in the middle of a run: what was written, what was not, and that a second run continues."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import lost_connection
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import APPLY, ASK, PATCH, Plan, Step
from ansible_collections.queueops.celery.plugins.plugin_utils import _draining, _executor, _stopping, _waiting

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, run

CANARY = "canary-Tr0ub4dor"
REFUSED = (
    "HTTPConnectionPool(host='x', port=1): Max retries exceeded (Caused by NewConnectionError: Connection refused)"
)
#: What a module says whose result holds an exception.
WHOLE = {"failed": True, "msg": "Value of unknown type: <class 'urllib3.exceptions.NewConnectionError'>, Errno 111"}
FLEET: Object = {
    "services": {"billing": {"image": IMAGE, "app": "billing.celery", "longest_task_seconds": 60}},
    "config": {"billing": {"default": {"replicas": 2}, "high": {"replicas": 1, "secret_env": {"KEY": CANARY}}}},
    "broker": {"host": "redis", "password": CANARY},
}


def cut(cluster: ModelCluster, kind: str, after: int, whole: bool = False) -> None:
    """From the object of this number in the first task with this kind on, nothing answers."""
    send = cluster.send
    is_gone: list[bool] = []

    def failing(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        definitions = arguments["definition"]
        assert not is_gone, "a server that is gone was asked again"
        if kind not in {item["kind"] for item in definitions}:
            return send(arguments, hides, new)
        is_gone.append(True)
        if whole:
            return dict(WHOLE)
        results = send({**arguments, "definition": definitions[:after]}, hides, new)["result"]["results"]
        lost = {"changed": False, "result": {}, "error": {"msg": f"{REFUSED} {CANARY}"}}
        return {"result": {"results": [*results, *[lost] * (len(definitions) - after)]}}

    cluster.send = failing  # type: ignore[method-assign]


def test_the_message_says_where_it_ended_what_was_written_and_what_was_not_sent() -> None:
    cluster = ModelCluster()
    cut(cluster, "Deployment", after=1)
    found = run(cluster, **FLEET)
    message = found["msg"]
    written = len(found["created"])
    assert written == len(cluster.objects)
    assert "could not be reached any more at" in message
    assert "connection refused; " in message
    assert f"{written} were written" in message
    assert "Not sent (" in message
    assert "A second run continues" in message
    assert "NewConnectionError" not in message
    assert "refused 1 of" not in message


def test_a_task_that_failed_as_a_whole_says_that_its_objects_are_not_known() -> None:
    cluster = ModelCluster()
    cut(cluster, "Deployment", after=0, whole=True)
    message = run(cluster, **FLEET)["msg"]
    assert "could not be reached any more: connection refused" in message
    assert "Deployment billing-worker first" in message
    assert f"Before them {len(cluster.objects)} were written" in message
    assert "A second run continues" in message
    assert "unknown type" not in message


@pytest.mark.parametrize("whole", [False, True])
def test_a_secret_that_found_no_server_shows_no_value(whole: bool) -> None:
    cluster = ModelCluster()
    cut(cluster, "Secret", after=1, whole=whole)
    found = run(cluster, **FLEET)
    assert found["failed"]
    assert "Secret " in found["msg"]
    assert f"{0 if whole else 1} were written" in found["msg"]
    assert "Deployment billing-worker" in found["msg"]
    assert CANARY not in json.dumps(found)


def test_a_second_run_continues() -> None:
    cluster = ModelCluster()
    send = cluster.send
    cut(cluster, "Deployment", after=1)
    assert run(cluster, **FLEET)["failed"]
    cluster.send = send  # type: ignore[method-assign]
    assert not run(cluster, **FLEET).get("failed")
    assert run(cluster, **FLEET)["changed"] is False


class _Away(ModelCluster):
    """A server that does not answer a number of looks after the last object was sent."""

    looks: int = 0

    def list_objects(self, *arguments: Any, **options: Any) -> list[Object]:
        if self.sent and self.looks:
            self.looks -= 1
            raise ClusterError("https://api:6443 cannot be reached: connection refused", passes=True)
        return super().list_objects(*arguments, **options)


@pytest.mark.parametrize("looks", [2, -1])
def test_waiting_goes_on_while_the_server_is_away(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "_PAUSES", (0.01,))
    cluster = _Away()
    cluster.looks = looks
    found = run(cluster, **FLEET, wait=True, wait_timeout=1)
    if looks > 0:
        assert not found.get("failed"), found["msg"]
        return
    assert "Everything is applied" in found["msg"]
    assert "https://api:6443 cannot be reached" in found["msg"]


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [
        (REFUSED, True),
        ("('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))", True),
        ("ReadTimeoutError: Read timed out. (read timeout=5)", True),
        ('"ScaledObject" "x": Timed out waiting on resource', False),
        ('{"kind": "Status", "code": 500, "message": "failed calling webhook: connection refused"}', False),
        ("Forbidden", False),
    ],
)
def test_an_answer_of_the_server_is_no_lost_connection(text: str, is_lost: bool) -> None:
    assert bool(lost_connection({"msg": text})) == is_lost


class _Told:
    """Workers that are told to take no work, and then to take it again."""

    def __init__(self, resumed: dict[str, Answer] | ClusterError) -> None:
        self.resumed = resumed
        self.said: list[str] = []

    def __call__(
        self, _cluster: Any, names: list[str], consumes: str, _timeout: float, _kind: str = "Deployment"
    ) -> dict[str, Answer]:
        self.said.append(consumes)
        if consumes == "pause":
            return {name: Answer(running=()) for name in names}
        if isinstance(self.resumed, ClusterError):
            raise self.resumed
        return self.resumed


_OLD, _NEW = ({"kind": "Deployment", "metadata": {"name": name}} for name in ("shop-worker", "shop-worker-high"))


@pytest.mark.parametrize(
    ("resumed", "left"),
    [
        (ClusterError("gone"), "shop-worker shop-worker-high"),
        ({"shop-worker": Answer(), "shop-worker-high": Answer(error="no pod")}, "shop-worker-high"),
        ({"shop-worker": Answer(), "shop-worker-high": Answer()}, ""),
    ],
)
def test_workers_that_take_no_work_and_were_not_replaced_are_named(
    resumed: dict[str, Answer] | ClusterError, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _Told(resumed)
    monkeypatch.setattr(_stopping, "tell", told)

    def send(arguments: Object, _hides: bool, _new: Collection[str]) -> Object:
        """The server takes notes, and is away when the workers are to be replaced."""
        if arguments.get("state") != "patched":
            return dict(WHOLE)
        return {"result": {"results": [{"changed": True, "result": item} for item in arguments["definition"]]}}

    executor = _executor.Executor(
        send=send,
        cluster=ModelCluster(),  # type: ignore[arg-type]
        fleet=Fleet("shop", "shop", ()),
        observed=NOTHING,
        secrets=[],
        tell=lambda _line: None,
        checks=False,
        shows_diff=False,
        timeout=1,
    )
    both = (_OLD, _NEW)
    steps = (Step("note", PATCH, both, undo=both), Step("drain", ASK, both), Step("workers", APPLY, both))
    with pytest.raises(_draining.StepError, match="could not be reached any more"):
        executor.run(Plan(steps=steps))
    assert told.said == ["pause", "resume"]
    assert len(executor.warnings) == bool(left)
    for warning in executor.warnings:
        assert "could not be told to take work again" in warning
        assert f"kubectl rollout restart deployment {left} --namespace shop" in warning
