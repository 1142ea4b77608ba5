# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list that is sent while the server goes away: what became of each object is kept."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import Told, argument_spec
from urllib3.exceptions import MaxRetryError, ProtocolError


class _Server:
    """kubernetes.core's way to send one object, of a server that goes away after some of them."""

    def __init__(self, answers: int, cause: Exception) -> None:
        self.answers, self.cause, self.asked = answers, cause, 0

    def __call__(self, *_arguments: Any) -> dict[str, Any]:
        self.asked += 1
        if self.asked <= self.answers:
            return {"changed": True}
        raise CoreException(f"Failed to retrieve requested object: {self.cause}") from self.cause


def _retries() -> MaxRetryError:
    return MaxRetryError(None, "/api/v1", ProtocolError("Connection aborted."))  # type: ignore[arg-type]


def _sent(server: _Server, count: int) -> list[dict[str, Any]]:
    """What kubernetes.core's runner makes of a list."""
    told, results = Told(server), []
    for _ in range(count):
        try:
            results.append(told())
        except CoreException as error:
            found = {"msg": str(error)}
            if hasattr(error.__cause__, "reason"):
                found["reason"] = error.__cause__.reason
            results.append({"changed": False, "error": found})
    return results


def test_a_cause_that_is_no_text_reaches_the_result_as_text() -> None:
    results = _sent(_Server(2, _retries()), 3)
    assert [item["changed"] for item in json.loads(json.dumps(results))] == [True, True, False]
    assert "Connection aborted" in results[2]["error"]["msg"]


def test_nothing_more_is_tried_once_no_try_was_answered() -> None:
    server = _Server(1, _retries())
    results = _sent(server, 5)
    assert server.asked == 2
    assert [bool(item.get("error")) for item in results] == [False, True, True, True, True]


def test_one_answer_that_is_lost_does_not_keep_the_others_from_being_sent() -> None:
    server = _Server(0, ProtocolError("Connection aborted."))
    _sent(server, 3)
    assert server.asked == 3


@pytest.mark.parametrize("name", sorted(argument_spec()))
def test_an_option_is_one_of_kubernetes_core(name: str) -> None:
    theirs = importlib.import_module("ansible_collections.kubernetes.core.plugins.modules.k8s").argspec()
    own = argument_spec()[name]
    assert name in theirs
    for key in ("choices", "default"):
        assert own.get(key) == theirs[name].get(key)
