# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""change_report: a summary and a diff per object, and a failure that names what the API refused."""

from __future__ import annotations

import pytest

from tests.unit.modules.running import run

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}


@pytest.mark.parametrize("check", [False, True])
def test_what_was_created_is_told_with_a_diff(check: bool) -> None:
    result = run(
        "change_report", check, sent=[MAP], result={"changed": True, "result": MAP, "method": "apply"}, existing=[]
    )
    assert (result["changed"], result["created"], result["summary"]) == (True, ["ConfigMap a"], "1 created")
    assert result["diff"][0]["after_header"] == "ConfigMap a"
    assert not result.get("warnings")


def test_nothing_sent_is_nothing_changed() -> None:
    result = run("change_report", sent=[], result={"skipped": True})
    assert (result["changed"], result["summary"], result["diff"]) == (False, "nothing to do", [])


def test_a_refused_object_fails_the_task_and_keeps_the_rest_of_the_report() -> None:
    refused = {"changed": False, "result": {}, "error": {"msg": "boom"}}
    sent = [MAP, {**MAP, "metadata": {"name": "b"}}]
    results = {"result": {"results": [{"changed": True, "result": MAP, "method": "apply"}, refused]}}
    result = run("change_report", sent=sent, result=results, existing=[])
    assert result["msg"].startswith("The API refused 1 of 2 objects; 1 were written")
    assert result["failed_objects"] == ["ConfigMap b: boom"]
    assert result["created"] == ["ConfigMap a"]


def test_a_task_that_failed_as_a_whole_is_no_success() -> None:
    result = run("change_report", sent=[MAP], result={"failed": True, "msg": "cannot reach the API server"})
    assert result.get("failed")
    assert "cannot reach the API server" in result["msg"]


def test_a_warning_of_the_api_is_passed_on() -> None:
    done = {"changed": True, "result": MAP, "method": "apply", "warnings": ["old version"]}
    assert "ConfigMap a: old version" in str(run("change_report", sent=[MAP], result=done)["warnings"])


def test_sent_is_required() -> None:
    assert run("change_report")["msg"] == "missing required arguments: sent"
