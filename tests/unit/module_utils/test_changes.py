# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list task did, for people: every shape of its result, causes in one line, and no secret value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import (
    Report,
    failure_message,
    first_cause,
    list_results,
    readable,
    report,
    without_env_secrets,
)

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
OTHER = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "1"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}
STATUS = {
    "kind": "Status",
    "code": 422,
    "reason": "Invalid",
    "message": 'Deployment "a" is invalid: spec.x',
    "details": {
        "causes": [
            {"reason": "FieldValueInvalid", "message": "Invalid value: -1: must be 0 or more", "field": "spec.x"}
        ]
    },
}


def done(definition: Any, changed: bool = True, **more: Any) -> dict[str, Any]:
    return {"changed": changed, "result": definition, "method": "apply", **more}


def several(*results: dict[str, Any]) -> dict[str, Any]:
    return {"changed": True, "result": {"results": list(results)}}


@pytest.mark.parametrize(
    ("result", "count"),
    [
        (several(done(MAP), done(OTHER)), 2),
        (several(), 0),
        (done(MAP), 1),
        ({"changed": False, "result": {}, "error": {"msg": "x"}}, 1),
        ({"skipped": True, "changed": False}, 0),
        ({}, 0),
    ],
)
def test_a_result_has_one_entry_per_object_whatever_its_shape(result: dict[str, Any], count: int) -> None:
    assert len(list_results(result)) == count


def test_objects_are_sorted_by_what_happened_to_them() -> None:
    changed = done(OTHER, diff={"before": {"data": {"x": "0"}}, "after": {"data": {"x": "1"}}})
    third = {**MAP, "metadata": {"name": "c"}}
    found = report([MAP, OTHER, third], several(done(MAP), changed, done(third, False)), [], {"ConfigMap b"})
    assert (found.created, found.changed, found.unchanged) == (["ConfigMap a"], ["ConfigMap b"], ["ConfigMap c"])
    assert found.summary == "1 created, 1 changed, 1 unchanged"
    assert [(entry["before"], entry["after"]) for entry in found.diff][1] == ("data:\n  x: '0'\n", "data:\n  x: '1'\n")
    assert found.diff[0]["before"] == ""
    assert "kind: ConfigMap" in found.diff[0]["after"]


def test_a_skipped_task_did_nothing() -> None:
    found = report([MAP], {"skipped": True, "changed": False}, [], set())
    assert (found.summary, found.diff) == ("nothing to do", [])


def test_what_a_dry_run_could_not_send_will_be_created() -> None:
    found = report([], {"skipped": True}, [MAP], set())
    assert (found.created, len(found.diff)) == (["ConfigMap a"], 1)


def test_what_was_deleted_is_shown_as_going() -> None:
    found = report([MAP], done({}, method="delete"), [], {"ConfigMap a"})
    assert (found.deleted, found.diff[0]["after"]) == (["ConfigMap a"], "")


BOARD = {**MAP, "data": {"x": "1", "board.json": "line of a dashboard\n" * 2000}}


@pytest.mark.parametrize(
    ("found", "side"),
    [
        (report([BOARD], done(BOARD), [], set()), "after"),
        (report([], {"skipped": True}, [BOARD], set()), "after"),
        (report([BOARD], done({}, method="delete"), [], {"ConfigMap a"}), "before"),
    ],
    ids=["created", "not sent", "deleted"],
)
def test_of_what_is_new_or_goes_a_long_text_is_shown_as_the_number_of_its_lines(found: Report, side: str) -> None:
    (entry,) = found.diff
    assert "(2000 lines, not shown)" in entry[side]
    assert "line of a dashboard" not in entry[side]
    assert "x: '1'" in entry[side]


def test_a_text_that_a_person_can_read_is_shown_as_it_is() -> None:
    script = {**MAP, "data": {"start.py": "print(1)\n" * 90}}
    assert report([script], done(script), [], set()).diff[0]["after"].count("print(1)") == 90


def test_of_a_long_text_that_changed_its_lines_are_compared() -> None:
    diff = {"before": {"data": {"x": "a\n" * 300}}, "after": {"data": {"x": "a\n" * 299 + "b\n"}}}
    (entry,) = report([BOARD], done(BOARD, diff=diff), [], {"ConfigMap a"}).diff
    assert "not shown" not in str(entry)
    assert "b" in entry["after"]


def test_a_diff_of_a_secret_shows_names_of_keys_only() -> None:
    diff = {"before": {"data": {"password": "b2xk"}}, "after": {"data": {"password": "aHVudGVyMg=="}}}
    for existing in ({"Secret s"}, set[str]()):
        found = report([SECRET], done(SECRET, diff=diff), [], existing)
        assert "aHVudGVyMg" not in str(found)
        assert "b2xk" not in str(found)
        assert "password" in str(found.diff)


def test_an_update_is_no_creation_also_where_nobody_looked_before() -> None:
    """C(existing) is optional: kubernetes.core's own diff says that the object existed."""
    diff = {"before": {"data": {"x": "0"}}, "after": {"data": {"x": "1"}}}
    assert report([MAP], done(MAP, diff=diff), [], None).changed == ["ConfigMap a"]


def test_what_no_person_wrote_is_not_shown() -> None:
    server = {"managedFields": [1], "resourceVersion": "1", "uid": "x", "generation": 2, "creationTimestamp": "t"}
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    raw = {**MAP, "metadata": {"name": "a", **server, "annotations": {**last, "mine": "x"}}, "status": {"x": 1}}
    assert readable(raw) == {**MAP, "metadata": {"name": "a", "annotations": {"mine": "x"}}}


ERRORS: list[tuple[Any, str]] = [
    ({"msg": f"Failed: {json.dumps(STATUS)}"}, "Invalid: spec.x: Invalid value: -1: must be 0 or more"),
    (
        {"msg": f"Failed: {json.dumps(STATUS).encode()!r} trailing"},
        "Invalid: spec.x: Invalid value: -1: must be 0 or more",
    ),
    (
        {"msg": "Failed: " + repr(json.dumps({**STATUS, "message": 'it\'s "q"'}).encode())},
        "Invalid: spec.x: Invalid value: -1: must be 0 or more",
    ),
    (
        {"msg": "Failed: " + repr(json.dumps({**STATUS, "details": {}}).encode())},
        'Invalid: Deployment "a" is invalid: spec.x',
    ),
    (
        {"msg": f"Handshake status 403 Forbidden -+-+- {{'content-length': '9'}} -+-+- {json.dumps(STATUS)}"},
        "Invalid: spec.x: Invalid value: -1: must be 0 or more",
    ),
    ({"msg": "b'no json' and nothing else"}, "b'no json' and nothing else"),
    ({"reason": "Forbidden"}, "Forbidden"),
    ({}, "unknown error"),
    ("two\n  lines", "two lines"),
    ({"msg": "x" * 900}, "x" * 497 + "..."),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=[str(number) for number in range(len(ERRORS))])
def test_a_refusal_is_told_by_its_first_cause_in_one_line(error: Any, expected: str) -> None:
    assert first_cause(error) == expected


def test_a_scaler_that_does_not_go_is_told_with_its_finalizer() -> None:
    text = first_cause({"msg": 'Timed out waiting on "ScaledObject x"'})
    assert "finalizer.keda.sh" in text


def test_a_failure_names_each_object_and_how_many_were_written() -> None:
    failed = {"changed": False, "result": {}, "error": {"msg": "boom"}}
    found = report([MAP, OTHER], several(done(MAP), failed), [], set())
    assert failure_message(found) == (
        "The API refused 1 of 2 objects; 1 were written, 0 needed no change. A second run continues from here.\n"
        "ConfigMap b: boom"
    )


def test_warnings_of_the_api_are_told_with_their_object() -> None:
    assert report([MAP], done(MAP, warnings=["deprecated"]), [], set()).warnings == ["ConfigMap a: deprecated"]


def test_a_status_that_moves_by_itself_is_no_change() -> None:
    moved = {"status": {"lastActiveTime": "t"}, "metadata": {"resourceVersion": "2"}}
    result = done(MAP, diff={"before": moved, "after": moved})
    assert report([MAP], result, [], {"ConfigMap a"}).unchanged == ["ConfigMap a"]


def test_a_change_beside_a_moving_status_is_one() -> None:
    moved = {"status": {"x": 1}, "metadata": {"labels": {"a": "b"}}}
    result = done(MAP, diff={"before": moved, "after": {**moved, "metadata": {"labels": {"a": "c"}}}})
    assert report([MAP], result, [], {"ConfigMap a"}).changed == ["ConfigMap a"]


def test_what_somebody_else_keeps_in_plain_sight_does_not_show() -> None:
    container = {"name": "app", "env": [{"name": "SMTP_PASSWORD", "value": "hunter2"}, {"name": "TZ", "value": "UTC"}]}
    last = {"kubectl.kubernetes.io/last-applied-configuration": '{"password": "hunter2"}', "note": "x"}
    shown = without_env_secrets({"diff": {"before": {"containers": [container], "annotations": last}}})
    assert "hunter2" not in str(shown)
    before = shown["diff"]["before"]
    assert before["containers"][0]["env"][1] == {"name": "TZ", "value": "UTC"}
    assert before["annotations"]["note"] == "x"
