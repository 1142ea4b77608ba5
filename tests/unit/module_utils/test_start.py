# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Celery started in another way: by a virtual environment, a tool or a script, with all that follows it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Question, command_of
from ansible_collections.queueops.celery.plugins.module_utils._celery.launcher import LAUNCHER
from ansible_collections.queueops.celery.plugins.module_utils._celery.start import python_in

from tests.unit.inventories import container_with, manifests_with, of_kind, problems_with, variant_of

VENV = ["/venv/bin/python", "-m", "celery"]
POETRY = ["poetry", "run", "celery"]
PROGRAM = ["/venv/bin/celery"]
SCRIPT = ["./start.sh", "celery"]
SENTRY = ["sentry", "run"]


def ping_of(container: dict[str, Any]) -> str:
    return str(container["startupProbe"]["exec"]["command"][2])


@pytest.mark.parametrize("prefix", [VENV, POETRY, PROGRAM, SCRIPT])
def test_the_arguments_of_a_worker_follow_its_prefix(prefix: list[str]) -> None:
    container = container_with({"command_prefix": prefix, "probe": "none"})
    count = len(prefix)
    assert container["args"][:count] == prefix
    assert container["args"][count : count + 2] == ["--app=billing", "worker"]
    assert "command" not in container


@pytest.mark.parametrize("prefix", [VENV, POETRY, PROGRAM, SCRIPT])
def test_the_probe_asks_with_the_same_prefix(prefix: list[str]) -> None:
    assert f" {' '.join(prefix)} inspect ping " in ping_of(container_with({"command_prefix": prefix}))


def test_a_prefix_with_a_space_in_a_word_stays_one_word_in_the_probes_shell() -> None:
    assert " '/my app/celery' inspect ping " in ping_of(container_with({"command_prefix": ["/my app/celery"]}))


@pytest.mark.parametrize(
    ("prefix", "python", "check"),
    [
        (VENV, ["/venv/bin/python"], "/venv/bin/python"),
        (PROGRAM, ["/venv/bin/python"], "/venv/bin/python"),
        (POETRY, ["poetry", "run", "python"], "python"),
        (SCRIPT, ["./start.sh", "python"], "python"),
        (["celery"], ["python"], "python"),
    ],
)
def test_the_launcher_takes_the_place_of_celery_behind_the_prefix(
    prefix: list[str], python: list[str], check: str
) -> None:
    container = container_with({"command_prefix": prefix, "probe": "heartbeat"})
    assert container["command"] == [*python, LAUNCHER]
    assert container["args"][:3] == ["celery", "--app=billing", "worker"]
    assert container["livenessProbe"]["exec"]["command"][0] == check


def test_a_python_written_by_hand_goes_over_that_of_the_prefix() -> None:
    probe = {"type": "heartbeat", "python": "python3.12"}
    container = container_with({"command_prefix": POETRY, "probe": probe})
    assert container["command"] == ["poetry", "run", "python3.12", LAUNCHER]
    assert container["startupProbe"]["exec"]["command"][0] == "python3.12"


def test_a_program_that_knows_its_app_is_not_told_of_one() -> None:
    container = container_with({"command_prefix": SENTRY, "pass_app": False})
    assert container["args"][:3] == ["sentry", "run", "worker"]
    assert not [word for word in container["args"] if word.startswith("--app")]
    # The program need not know how to ask, and Celery does.
    assert " python -m celery inspect ping " in ping_of(container)


def test_slots_are_read_behind_the_prefix() -> None:
    variant = variant_of({"command_prefix": POETRY, "concurrency": 7})
    assert variant.slots == 7


def test_beat_takes_the_prefix_of_its_service_and_a_variant_has_its_own() -> None:
    manifests = manifests_with({"command_prefix": VENV}, service={"beat": True, "command_prefix": POETRY})
    worker, beat = (item["spec"]["template"]["spec"]["containers"][0] for item in of_kind(manifests, "Deployment"))
    assert worker["args"][:4] == [*VENV, "--app=billing"]
    assert beat["args"][:5] == [*POETRY, "--app=billing", "beat"]


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ({"command_prefix": []}, "command_prefix", "at least one element"),
        ({"command_prefix": "poetry run celery"}, "command_prefix", "write a list"),
        ({"command_prefix": ["celery", "--app=shop"]}, "command_prefix", "must end where Celery's own arguments begin"),
        ({"command_prefix": ["poetry", "run", "celery", "worker"]}, "command_prefix", "follow by themselves"),
        ({"command_prefix": ["$(TOOL)", "celery"]}, "command_prefix", "write the value"),
        ({"command_prefix": SENTRY, "pass_app": False, "probe": "heartbeat"}, "command_prefix", "Celery's Python"),
        ({"command_prefix": ["./start.sh"], "enforce_settings": True}, "command_prefix", "Celery's Python"),
        ({"pass_app": False}, "pass_app", "celery needs its app"),
    ],
)
def test_a_prefix_that_cannot_work_is_refused(keys: dict[str, Any], path: str, words: str) -> None:
    (problem,) = problems_with(keys)
    assert problem.startswith(f"celery_workers_config.billing.default.{path}: ")
    assert words in problem


@pytest.mark.parametrize(
    ("line", "python"),
    [
        (["celery", "--app=lms.celery", "worker"], None),
        ([*VENV, "--app=a", "worker"], ["/venv/bin/python"]),
        ([*POETRY, "--app=a", "worker"], ["poetry", "run", "python"]),
        ([*SENTRY, "worker"], None),
        (["python", LAUNCHER, "celery", "worker"], ["python"]),
        (["poetry", "run", "python", LAUNCHER, "celery", "worker"], ["poetry", "run", "python"]),
    ],
)
def test_a_running_worker_is_asked_with_the_python_of_its_command_line(
    line: list[str], python: list[str] | None
) -> None:
    assert python_in(line, LAUNCHER) == python


def test_a_question_is_asked_without_a_shell_where_the_python_is_known() -> None:
    question = Question(app="shop:app", group="shop.default@%h")
    assert command_of(question, ["/venv/bin/python"])[:2] == ["/venv/bin/python", "-c"]
    assert command_of(question)[:2] == ["sh", "-c"]
