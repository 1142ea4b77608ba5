# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list that is sent: several of a kind together, kinds one after the other, and what became of each is kept."""

from __future__ import annotations

import json
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.service import K8sService
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import TOGETHER, Sender, _perform
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from urllib3.exceptions import MaxRetryError, ProtocolError

Json = dict[str, Any]


def _objects(kind: str, count: int) -> list[Json]:
    return [{"apiVersion": "v1", "kind": kind, "metadata": {"name": f"{kind}-{number}"}} for number in range(count)]


class _Server:
    """kubernetes.core's way to send one object, of a server that goes away after some of them."""

    def __init__(self, answers: int, cause: Exception) -> None:
        self.answers, self.cause, self.asked = answers, cause, 0
        self.lock = threading.Lock()

    def __call__(self, definition: Json) -> Json:
        with self.lock:
            self.asked += 1
            answers = self.asked <= self.answers
        if answers:
            return {"changed": True, "result": definition}
        raise CoreException(f"Failed to retrieve requested object: {self.cause}") from self.cause


def _retries() -> MaxRetryError:
    return MaxRetryError(None, "/api/v1", ProtocolError("Connection aborted."))  # type: ignore[arg-type]


def test_a_cause_that_is_no_text_reaches_the_result_as_text() -> None:
    results = Sender(_Server(2, _retries())).send(_objects("A", 1) + _objects("B", 1) + _objects("C", 1))
    assert [item["changed"] for item in json.loads(json.dumps(results))] == [True, True, False]
    assert "Connection aborted" in results[2]["error"]["msg"]


def test_nothing_more_is_tried_once_no_try_was_answered() -> None:
    server = _Server(1, _retries())
    results = Sender(server).send(_objects("A", 1) + _objects("B", 40) + _objects("C", 40))
    # The first of a kind goes alone, so nothing else was on its way.
    assert server.asked == 2
    assert [bool(item.get("error")) for item in results] == [False] + [True] * 80


def test_one_answer_that_is_lost_does_not_keep_the_others_from_being_sent() -> None:
    server = _Server(0, ProtocolError("Connection aborted."))
    Sender(server).send(_objects("A", 30))
    assert server.asked == 30


def test_results_come_in_the_order_of_the_objects() -> None:
    sent = _objects("A", 30) + _objects("B", 30)
    assert [item["result"] for item in Sender(_Server(60, _retries())).send(sent)] == sent


def test_objects_of_a_kind_go_together_and_the_next_kind_waits_for_them() -> None:
    together, order, lock = threading.Barrier(TOGETHER), [], threading.Lock()

    def perform(definition: Json) -> Json:
        with lock:
            order.append(definition["kind"])
        if definition["metadata"]["name"] not in ("A-0", "B-0"):
            # It opens once as many have come as may go together.
            together.wait(timeout=30)
        return {"changed": True}

    results = Sender(perform).send(_objects("A", 1 + 2 * TOGETHER) + _objects("B", 1 + TOGETHER))
    assert all(item["changed"] for item in results)
    assert order == sorted(order)


class _Overtaken:
    """kubernetes.core's client on a server where others do something between two requests of ours."""

    dry_run = False

    def resource(self, kind: str, api_version: str) -> Any:
        return SimpleNamespace(kind=kind, group_version=api_version)

    def get(self, _resource: Any, **_where: Any) -> Any:
        raise NotFoundError(ApiException(status=404))

    def create(self, _resource: Any, _definition: Json, **_options: Any) -> Any:
        raise ConflictError(ApiException(status=409))


@pytest.mark.parametrize(("state", "cause"), [("present", "Conflict: another one created"), ("patched", "NotFound: ")])
def test_what_kubernetes_core_passes_over_is_no_success(state: str, cause: str) -> None:
    """It takes a creation that another one was faster with for done, and a patch of what is gone for unchanged."""
    params = {"state": state, "merge_type": ["merge"]}
    module = SimpleNamespace(params=params, check_mode=False, warn=lambda _text: None, _diff=False)
    service = K8sService(_Overtaken(), module)
    (result,) = Sender(partial(_perform, service, (), False)).send(_objects("Secret", 1))
    assert not result["changed"]
    assert result["error"]["msg"].startswith(cause)


class _Taken(_Overtaken):
    """A server to which another run has sent the same object just before."""

    def __init__(self) -> None:
        self.patched: list[Json] = []

    def get(self, _resource: Any, **_where: Any) -> Any:
        live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ConfigMap-0"}, "data": {"a": "theirs"}}
        return SimpleNamespace(to_dict=lambda: live)

    def patch(self, _resource: Any, body: Json, **_options: Any) -> Any:
        self.patched.append(body)
        return SimpleNamespace(to_dict=lambda: body)


@pytest.mark.parametrize("only_new", [False, True])
def test_what_is_only_to_be_made_is_left_alone_where_another_run_was_faster(only_new: bool) -> None:
    client = _Taken()
    params = {"state": "present", "merge_type": ["merge"], "apply": False, "hidden_fields": [], "force": False}
    params |= {"continue_on_error": False, "wait": False, "server_side_apply": None, "generate_name": None}
    module = SimpleNamespace(params=params, check_mode=False, warn=lambda _text: None, _diff=False)
    item = {**_objects("ConfigMap", 1)[0], "data": {"a": "ours"}}
    send_it = partial(_perform, K8sService(client, module), ["ConfigMap ConfigMap-0"], only_new)
    (result,) = Sender(send_it).send([item])
    assert bool(client.patched) != only_new
    assert (result.get("error") or {}).get("msg", "").startswith("Conflict: ") == only_new
