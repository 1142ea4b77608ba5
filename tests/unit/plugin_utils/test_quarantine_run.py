# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbook quarantine over a namespace in memory. Real brokers are in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import Object, done, refused
from tests.unit.plugin_utils.test_broker_run import play, site
from tests.unit.running_pods import answering

POISON: Object = {"queue": "a.quarantine", "origin": "a", "id": "1f", "task": "lms.crash", "starts": 3, "done": False}
SERVICES: Object = {"services": {"lms": {"image": IMAGE, "app": "lms.celery"}}}
TWO: Object = {
    **SERVICES,
    "config": {"lms": {"default": {"queues": ["a"]}, "high": {"queues": ["b"], "max_starts": 3}}},
}


def quarantine(monkeypatch: pytest.MonkeyPatch, checks: bool = False, rows: Any = None, **variables: Any) -> Any:
    """The result of a run, and what was asked."""
    rows = [POISON] if rows is None else rows

    def says(pod: str, question: Object) -> tuple[str, str]:
        changed = [{**row, "done": bool(question["quarantine_do"])} for row in rows]
        return answering(broker="redis", quarantine=changed)(pod, question)

    cluster, questions = site(monkeypatch, says, **TWO)
    return play(cluster, "quarantine", checks, **TWO, **variables), questions


def test_without_an_order_messages_are_shown_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    found, [question] = quarantine(monkeypatch)
    assert not done(found)["changed"]
    assert question["quarantine_do"] == ""
    # Also of a variant that has no limit now.
    assert question["quarantines"] == ["a.quarantine", "b.quarantine"]
    text = "\n".join(found["notes"])
    assert "1 message in quarantine" in text
    assert "lms.crash" in text
    assert "Nothing was changed. Give them back with -e celery_workers_quarantine_do=return" in text


@pytest.mark.parametrize(
    ("variables", "checks", "order", "changed", "said"),
    [
        ({"quarantine_do": "return"}, False, "return", True, "back in their queues: 1 of 1."),
        ({"quarantine_do": "return"}, True, "", True, "Check mode: nothing was changed. Run it without --check."),
        ({"quarantine_do": "drop"}, False, "", False, "confirm it with -e celery_workers_quarantine_confirm=true."),
        ({"quarantine_do": "drop", "quarantine_confirm": True}, False, "drop", True, "dropped: 1 of 1."),
        ({"quarantine_do": "drop", "quarantine_confirm": True}, True, "", True, "Check mode: nothing was changed."),
        ({"quarantine_confirm": True}, False, "", False, "Nothing was changed. Give them back"),
    ],
)
def test_messages_go_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, variables: Object, checks: bool, order: str, changed: bool, said: str
) -> None:
    found, [question] = quarantine(monkeypatch, checks, **variables)
    assert question["quarantine_do"] == order
    assert done(found)["changed"] is changed
    assert any(said in line for line in found["notes"])


def test_some_messages_can_be_named_and_those_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found, [question] = quarantine(monkeypatch, quarantine_do="return", quarantine_ids="1f, 2e")
    assert question["quarantine_ids"] == ["1f", "2e"]
    assert "  not in quarantine: 2e." in found["notes"]
    # What is there was given back all the same.
    assert "  back in their queues: 1 of 1." in found["notes"]
    assert "not in quarantine: 2e." in refused(found)


def test_a_message_that_could_not_be_given_back_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(pod: str, question: Object) -> tuple[str, str]:
        return answering(broker="redis", quarantine=[POISON])(pod, question)

    cluster, _questions = site(monkeypatch, says, **TWO)
    found = play(cluster, "quarantine", False, **TWO, quarantine_do="return")
    assert "not given back, because they changed in this moment: 1f. Run it again." in refused(found)


def test_only_chosen_variants_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    _found, [question] = quarantine(monkeypatch, only=["lms/high"])
    assert question["quarantines"] == ["b.quarantine"]


def test_a_word_that_is_no_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found, questions = quarantine(monkeypatch, quarantine_do="retrun")
    assert not questions
    assert "celery_workers_quarantine_do" in refused(found)


def test_an_empty_quarantine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _questions = quarantine(monkeypatch, rows=[], quarantine_do="return")
    assert (done(found)["changed"], len(found["notes"])) == (False, 1)
