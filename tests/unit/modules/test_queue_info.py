# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""queue_info: a ready pod is asked, or the broker directly. Real brokers are in tests/integration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.modules import queue_info
from ansible_collections.queueops.celery.plugins.modules.queue_info import broker_from, broker_options

from tests.unit.modules.running import run
from tests.unit.others import deployment
from tests.unit.running_pods import Says, answering, cluster_of, let_pods_say, pod_of

#: Nothing listens on the discard port.
CLOSED: dict[str, Any] = {"host": "http://127.0.0.1:9", "api_key": "x"}
WORDS = ["celery", "--app=lms.celery", "worker", "-Q", "default"]
LMS = deployment(words=WORDS)
OTHER = deployment("cms-worker", words=[*WORDS[:3], "-Q", "low"])
ROW: dict[str, Any] = {"steps": {"0": 1, "3": 10}, "waiting": 11, "held": 0, "consumers": 0, "nodes": []}


@pytest.fixture(autouse=True)
def _no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def ask(monkeypatch: pytest.MonkeyPatch, says: Says, name: str = "lms-worker", **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(queue_info, "open_cluster", lambda _connect, _namespace: cluster_of(LMS, OTHER, pod_of(LMS)))
    let_pods_say(monkeypatch, says)
    return run("queue_info", namespace="shop", deployment=name, **options, **CLOSED)


def test_a_pod_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = {"default": ROW, "low": ROW, "left": ROW}
    result = ask(monkeypatch, answering(broker="redis", queues=queues))
    assert (result["changed"], result["type"], result["asked"]) == (False, "redis", "lms-worker-1")
    assert [row["name"] for row in result["queues"]] == ["default", "left", "low"]
    assert result["queues"][0]["by_priority"] == {"0": 1, "3": 10}
    # What another Deployment of the namespace consumes will be consumed.
    assert result["unconsumed"] == ["left"]


def test_a_number_or_a_name_that_equals_a_password_is_not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is the token of the cluster, which is hidden in the arguments all the same."""
    queues = {"x": ROW}
    result = ask(monkeypatch, answering(broker="redis", queues=queues))
    assert result["queues"][0]["name"] == CLOSED["api_key"]
    assert result["invocation"]["module_args"]["api_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def test_who_cannot_be_asked_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no Deployment lms in shop" in ask(monkeypatch, answering(), "lms")["msg"]
    assert "no pod of Deployment cms-worker is ready" in ask(monkeypatch, answering(), "cms-worker")["msg"]
    found = ask(monkeypatch, answering(broker="redis", error="ConnectionError: refused"))
    assert found["msg"] == "The broker could not be read: ConnectionError: refused"


@pytest.mark.parametrize("options", [{}, {"namespace": "shop"}, {"namespace": "a", "deployment": "b", "broker": {}}])
def test_one_way_to_the_broker_is_given(options: dict[str, Any]) -> None:
    assert run("queue_info", **options)["failed"]


def broker_of(**options: Any) -> Any:
    defaults = {name: option.get("default") for name, option in broker_options().items()}
    return broker_from({**defaults, **options})


def test_a_url_is_read_like_its_parts() -> None:
    assert broker_of(url="rediss://u:p%40@h/2") == broker_of(
        host="h", database=2, username="u", password="p@", tls=True
    )
    parts = {"type": "rabbitmq", "host": "h", "username": "u", "password": "p", "virtual_host": "v"}
    assert broker_of(url="amqp://u:p@h/v") == broker_of(**parts)


@pytest.mark.parametrize("url", ["redis://:se@cret@h", "redis://:secret@h/name", "kafka://:secret@h", ":secret@h"])
def test_a_url_that_is_refused_is_not_shown(url: str) -> None:
    result = run("queue_info", broker={"url": url})
    assert result["msg"].startswith("broker.url: ")
    assert "secret" not in str(result)
    assert "cret" not in result["msg"].replace("secret", "").replace("Secret", "")


@pytest.mark.parametrize(("kind", "library"), [("redis", "redis"), ("rabbitmq", "amqp")])
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    message = run("queue_info", broker={"type": kind})["msg"]
    assert message.startswith(f"Failed to import the required Python library ({library})")


def test_a_broker_that_is_not_there_is_told_without_a_login() -> None:
    result = run("queue_info", broker={"host": "127.0.0.1", "port": 9, "password": "topsecret"})
    assert "The broker could not be read: ConnectionError" in result["msg"]
    assert "topsecret" not in str(result)


def test_sentinels_are_named() -> None:
    assert run("queue_info", broker={"type": "redis-sentinel"})["msg"] == "broker.hosts: name the sentinels."


@pytest.mark.parametrize("url", ["rabbit:15672", "http://me:topsecret@rabbit:15672", "ftp://rabbit", "//rabbit"])
def test_a_login_goes_to_no_server_that_was_not_meant(url: str) -> None:
    result = run("queue_info", broker={"type": "rabbitmq", "management_url": url, "password": "topsecret"})
    assert result["msg"].startswith("broker.management_url: write http://host:15672")
    assert "topsecret" not in str(result)
