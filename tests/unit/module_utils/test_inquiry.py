# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The question in a worker's container: it runs with the image's Python, and whatever apps print hides no answer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import (
    Answer,
    Question,
    answer_from,
    command_of,
    settings_in,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import ask as program

from tests.unit.running_pods import MARK

APP = """
from celery import Celery

app = Celery("shop", broker="memory://me:hunter2@nowhere//")
"""


def ask(folder: Path, question: Question, app: str = APP) -> Answer:
    """Run the question as it runs in a container, with an app of the test's own."""
    (folder / "shop.py").write_text(app, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command_of(question), cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )
    found = answer_from(done.stdout)
    assert found is not None, done.stderr
    assert "hunter2" not in done.stdout
    return found


def test_an_app_tells_the_options_of_its_own_settings_and_the_values_of_those_that_move_messages(
    tmp_path: Path,
) -> None:
    own = 'app.conf.broker_transport_options = {"sep": ":", "priority_steps": (0, 5), "login": "hunter2"}\n'
    found = ask(tmp_path, Question("shop", "billing.default"), APP + own)
    assert found.own_options == ("login", "priority_steps", "sep")
    assert found.own_places == {"sep": ":", "priority_steps": [0, 5]}
    assert found.error == ""


def test_the_messages_of_all_its_queues_are_counted_and_a_queue_that_is_not_there_has_none(tmp_path: Path) -> None:
    sends = "for queue in ('mail', 'mail', 'films'): app.send_task('shop.note', queue=queue)\n"
    found = ask(
        tmp_path, Question("shop", "billing.default", queues=("mail", "films", "new"), counts=True), APP + sends
    )
    assert (found.waiting, found.error) == (3, "")


def test_workers_that_do_not_answer_leave_it_unknown_what_they_run(tmp_path: Path) -> None:
    question = Question(
        "shop", "billing.default", queues=("mail",), counts=True, nodes=("billing.default@a",), timeout=1
    )
    found = ask(tmp_path, question)
    assert (found.waiting, found.active, found.later, found.error) == (0, None, None, "")


class SlowNodes:
    """An app whose nodes answer, on a clock of its own, after some seconds. An answer that comes too late is lost."""

    def __init__(self, seconds: float) -> None:
        self.control, self.now, self._seconds = self, 1000.0, seconds

    def inspect(self, timeout: float) -> SlowNodes:
        self.now += timeout
        self._timeout = timeout
        return self

    def ping(self) -> dict[str, object]:
        return {"shop.default@a-1": {}, "shop.default@b-1": {}} if self._timeout >= self._seconds else {}


@pytest.mark.parametrize(("needed", "limit"), [(1, 1), (2, 3), (4, 7)])
def test_a_node_on_a_busy_machine_is_waited_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch, needed: float, limit: float
) -> None:
    app = SlowNodes(needed)
    monkeypatch.setattr(time, "time", lambda: app.now)
    asked = program.Asked(app, {"timeout": 10, "pods": ["a-1", "b-1"]})
    assert asked.nodes_by_pod() == {"shop.default@a-1": "a-1", "shop.default@b-1": "b-1"}
    assert app.now - 1000 == limit


def test_a_node_that_never_answers_is_waited_for_as_long_as_the_question_says(monkeypatch: pytest.MonkeyPatch) -> None:
    app = SlowNodes(60)
    monkeypatch.setattr(time, "time", lambda: app.now)
    assert program.Asked(app, {"timeout": 10, "pods": ["a-1"]}).nodes_by_pod() == {}
    assert app.now - 1000 == 10


def test_what_an_app_prints_while_it_is_imported_does_not_hide_the_answer(tmp_path: Path) -> None:
    loud = f'print("loading")\nprint("{MARK}nonsense")\nimport atexit\natexit.register(print, "bye")\n'
    assert ask(tmp_path, Question("shop", "billing.default"), loud + APP).error == ""


@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("raise ValueError('cannot reach redis://me:hunter2@redis:6379')", "cannot reach redis"),
        ("import not_there", "No module named 'not_there'"),
    ],
)
def test_an_app_that_cannot_be_imported_is_an_error_without_a_password(tmp_path: Path, app: str, error: str) -> None:
    found = ask(tmp_path, Question("shop", "billing.default"), app)
    assert error in found.error
    assert (found.held, found.answered) == (None, False)


@pytest.mark.parametrize("enforced", [False, True])
def test_settings_of_an_app_with_a_prefix_that_win_over_the_command_line_are_told_unless_the_worker_sets_them(
    tmp_path: Path, enforced: bool
) -> None:
    own = (
        "class Settings:\n    CELERY_TASK_ACKS_LATE = False\n    CELERY_TIMEZONE = 'UTC'\n"
        "app.config_from_object(Settings, namespace='CELERY')\n"
    )
    settings = ("task.acks_late=true", "task.reject_on_worker_lost=true")
    found = ask(tmp_path, Question("shop", "billing.default", settings, enforced=enforced), APP + own)
    assert found.shadowed == (() if enforced else ("task_acks_late",))


ANSWERS: list[tuple[str, str, Answer | None]] = [
    ("nothing", "", None),
    ("only noise", "loading\n", None),
    ("no JSON", f"{MARK}oops\n", None),
    ("an empty answer", f"{MARK}{{}}", Answer()),
    ("the last of two", f'{MARK}{{"held": 1}}\n{MARK}{{"held": 2}}\nbye\n', Answer(held=2)),
    (
        "tasks",
        f'{MARK}{{"tasks": {{"a": [true, false]}}, "answered": true}}',
        Answer(tasks={"a": (True, False)}, answered=True),
    ),
]


@pytest.mark.parametrize(("output", "expected"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_the_answer_is_found_in_what_was_printed(output: str, expected: Answer | None) -> None:
    assert answer_from(output) == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            ["celery", "--app=a", "worker", "-c2", "--", "task.acks_late=true", "x.y=(int)1"],
            ("task.acks_late=true", "x.y=(int)1"),
        ),
        (["celery", "--app=a", "worker", "-c2"], ()),
        ([], ()),
    ],
)
def test_the_settings_of_a_worker_stand_after_the_two_dashes(args: list[str], expected: tuple[str, ...]) -> None:
    assert settings_in(args) == expected


def test_the_text_of_a_question_is_no_code_of_a_shell() -> None:
    command: list[Any] = command_of(Question("$(reboot)", "billing.default"))
    assert command[:2] == ["sh", "-c"]
    assert "reboot" not in command[2]
    assert "reboot" not in command[3]
    assert "$(reboot)" in command[4]
