# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""worker_drain: workers finish what they run and take nothing new; who is still busy takes work again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.modules import worker_drain
from ansible_collections.queueops.celery.plugins.modules.worker_drain import argument_spec

from tests.unit.inventories import Manifest
from tests.unit.modules.running import run
from tests.unit.others import deployment
from tests.unit.running_pods import Says, answering, cluster_of, let_pods_say, pod_of

#: Nothing listens on the discard port.
CLOSED: dict[str, Any] = {"host": "http://127.0.0.1:9", "api_key": "x"}
LMS, CMS = deployment(), deployment("cms-worker", words=["celery", "--app=cms.celery", "worker", "-Q", "low,default"])

Asked = list[tuple[str, str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def let_run(monkeypatch: pytest.MonkeyPatch, says: Says, *objects: Manifest) -> Asked:
    """Put a cluster with these objects in the place of the connection; without any, two Deployments run."""
    found = objects or (LMS, CMS, pod_of(LMS), pod_of(CMS))
    monkeypatch.setattr(worker_drain, "open_cluster", lambda _connect, _namespace: cluster_of(*found))
    return let_pods_say(monkeypatch, says)


def drain(*names: str, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"wait_timeout": 0, **options}
    return run("worker_drain", check, namespace="shop", deployments=list(names), **given, **CLOSED)


def told(asked: Asked) -> list[tuple[str, str]]:
    """Which pod was told what."""
    return [(pod, question["consumes"]) for pod, _container, question in asked]


def test_idle_workers_take_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_run(monkeypatch, answering(running=[]))
    result = drain("lms-worker", "cms-worker")
    assert (result["changed"], result["idle"], result["running"]) == (True, ["lms-worker", "cms-worker"], [])
    assert told(asked) == [("lms-worker-1", "pause"), ("cms-worker-1", "pause")]
    assert [question["pods"] for _pod, _container, question in asked] == [["lms-worker-1"], ["cms-worker-1"]]


def test_workers_that_are_still_busy_take_work_again_and_the_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_run(monkeypatch, lambda pod, _: answering(running=["a.task"] if "cms" in pod else [])(pod, {}))
    result = drain("lms-worker", "cms-worker")
    assert result["failed"]
    assert result["msg"].startswith("After 0 seconds these workers still run tasks, so they take work again")
    assert "cms-worker: a.task." in result["msg"]
    assert (result["idle"], result["running"]) == (["lms-worker"], ["cms-worker: a.task"])
    assert told(asked) == [
        ("lms-worker-1", "pause"),
        ("cms-worker-1", "pause"),
        ("lms-worker-1", "resume"),
        ("cms-worker-1", "resume"),
    ]


def test_workers_that_finish_in_time_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["a.task"], ["a.task"], []])
    asked = let_run(monkeypatch, lambda pod, _: answering(running=next(answers))(pod, {}))
    result = drain("lms-worker", wait_timeout=900)
    assert (result["changed"], result["idle"]) == (True, ["lms-worker"])
    assert told(asked) == [("lms-worker-1", "pause")] * 3
    # First everybody is told, then waited for.
    assert [question["patience"] for _pod, _container, question in asked] == [0, 60, 60]


def test_who_cannot_be_asked_may_be_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    let_run(monkeypatch, lambda _pod, _question: ("", "OSError: no route\n"))
    result = drain("lms-worker", wait_timeout=900)
    assert result["failed"]
    assert "lms-worker: not found out: lms-worker-1 gave no answer (OSError: no route)" in result["msg"]


def test_a_deployment_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    let_run(monkeypatch, answering(running=[]))
    assert "there is no Deployment lmsworker in shop" in drain("lmsworker")["msg"]


def test_a_deployment_without_pods_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_run(monkeypatch, answering(running=["a"]), LMS)
    assert drain("lms-worker")["idle"] == ["lms-worker"]
    assert asked == []


@pytest.mark.parametrize("state", ["drained", "resumed"])
def test_check_mode_asks_and_tells_nobody(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    asked = let_run(monkeypatch, answering(running=["a.task"]))
    result = drain("lms-worker", check=True, state=state, wait_timeout=900)
    assert not result.get("failed")
    assert (result["changed"], result["idle"], result["running"]) == (False, [], ["lms-worker: a.task"])
    assert told(asked) == [("lms-worker-1", "")]
    assert [question["patience"] for _pod, _container, question in asked] == [0]


def test_resumed_workers_take_from_the_queues_of_their_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_run(monkeypatch, answering(running=["a.task"]))
    result = drain("cms-worker", state="resumed", wait_timeout=900)
    assert result["changed"]
    assert not result.get("failed")
    assert told(asked) == [("cms-worker-1", "resume")]
    assert asked[0][2]["queues"] == ["low", "default"]


def test_workers_whose_command_line_names_no_queue_are_not_told_to_take_from_a_nameless_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = deployment(words=["celery", "--app=a", "worker"])
    asked = let_run(monkeypatch, answering(running=[]), raw, pod_of(raw))
    drain("lms-worker", state="resumed")
    assert "" not in asked[0][2]["queues"]


def test_every_deployment_is_told_before_anybody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["a.task"], [], [], [], []])
    asked = let_run(monkeypatch, lambda pod, _: answering(running=next(answers))(pod, {}))
    drain("lms-worker", "cms-worker", wait_timeout=900)
    assert told(asked)[:2] == [("lms-worker-1", "pause"), ("cms-worker-1", "pause")]


def test_without_deployments_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_run(monkeypatch, answering(running=[]))
    assert (drain()["changed"], asked) == (False, [])


def test_a_cluster_that_cannot_be_reached_is_told_with_what_to_check() -> None:
    result = drain("lms-worker")
    assert result["failed"]
    assert "celery_workers_kubeconfig" in result["msg"] or "Failed to get client" in result["msg"]


def test_all_options_of_the_connection_are_taken() -> None:
    assert {"kubeconfig", "context", "host", "api_key", "validate_certs", "ca_cert", "proxy"} <= set(argument_spec())
