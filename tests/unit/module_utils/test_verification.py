# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running worker says of itself: each difference from the inventory is found, and its worst comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.verification import (
    Finding,
    question_for,
    verified,
)

from tests.unit.inventories import SCALED, TRACKED, fleet_of, one_variant

LATE, EARLY, LOST = (True, True), (False, False), (True, False)
WHO = "variant default of service billing: "
GOOD: dict[str, Any] = {
    "tasks": {"a": LATE, "b": LATE},
    "consumed": ("default",),
    "answered": True,
    "canary": "held",
    "held": 0,
}


def finding(answer: Mapping[str, Any], keys: Any = None, broker: Any = None) -> Finding:
    """What is made of a good answer with some changes."""
    fleet = fleet_of(**one_variant(TRACKED if keys is None else keys, broker=broker))
    return verified(fleet.variants[0], fleet.services[0], "pod-1", Answer(**{**GOOD, **answer}))


def test_a_worker_that_does_what_the_inventory_promises_has_nothing_said_of_it() -> None:
    assert finding({}) == Finding("billing-worker", "pod-1", tasks=2)


@pytest.mark.parametrize("keys", [{}, SCALED, {**TRACKED, "in_flight": False}])
def test_early_acknowledgement_is_no_fault_where_nobody_counts_on_late(keys: dict[str, Any]) -> None:
    found = finding({"tasks": {"a": EARLY, "b": LOST}}, keys)
    assert (found.problems, found.warnings) == ((), ())
    assert found.early_tasks == ("a",)


def test_a_task_that_keeps_early_acknowledgement_is_a_problem_where_the_last_pod_may_go() -> None:
    (problem,) = finding({"tasks": {"a": LATE, "mail.send": EARLY}}).problems
    assert problem.startswith(f"{WHO}mail.send keep early acknowledgement")
    assert "set task_acks_late in the app's own settings" in problem
    assert "accept_early_ack_tasks" in problem


def test_where_one_pod_stays_it_is_a_warning() -> None:
    found = finding({"tasks": {"mail.send": EARLY}}, {**TRACKED, "min_replicas": 1})
    assert found.problems == ()
    assert "mail.send keep early acknowledgement" in found.warnings[0]


def test_an_early_task_that_the_inventory_accepts_is_told_and_is_no_problem() -> None:
    found = finding({"tasks": {"mail.send": EARLY}}, {**TRACKED, "accept_early_ack_tasks": ["mail.send"]})
    assert (found.problems, found.warnings, found.early_tasks) == ((), (), ("mail.send",))


def test_of_many_tasks_five_are_named_and_the_others_counted() -> None:
    (problem,) = finding({"tasks": {f"t{number}": EARLY for number in range(8)}}).problems
    assert problem.startswith(f"{WHO}t0, t1, t2, t3, t4 and 3 more keep")


def test_a_late_task_that_is_not_given_back_when_its_child_dies_is_warned_of() -> None:
    found = finding({"tasks": {"a": LATE, "b": LOST}})
    assert found.problems == ()
    (warning,) = found.warnings
    assert warning.startswith(f"{WHO}b acknowledge late and are not given back")
    own_choice = {**TRACKED, "reject_on_worker_lost": False}
    assert finding({"tasks": {"b": LOST}}, own_choice).warnings == ()


@pytest.mark.parametrize(
    ("consumed", "said"),
    [
        (("celery",), "the worker consumes celery, and the inventory says default."),
        (("default", "other"), "the worker consumes default, other, and the inventory says default."),
        ((), "the worker consumes nothing, and the inventory says default."),
    ],
)
def test_other_queues_than_those_of_the_inventory_are_a_problem(consumed: tuple[str, ...], said: str) -> None:
    assert finding({"consumed": consumed}).problems == (WHO + said,)


def test_a_worker_that_does_not_answer_is_a_problem_and_its_queues_are_not_guessed_at() -> None:
    (problem,) = finding({"answered": False, "consumed": (), "tasks": {}}).problems
    assert "did not answer over remote control" in problem
    assert "worker_enable_remote_control" in problem


def test_sqs_has_no_remote_control_so_silence_is_no_fault() -> None:
    sqs = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}
    found = finding({"answered": False, "consumed": (), "tasks": {}, "canary": ""}, broker=sqs)
    assert (found.problems, found.warnings) == ((), ())


def test_an_error_is_told_instead_of_the_silence_that_follows_from_it() -> None:
    assert finding({"answered": False, "consumed": (), "tasks": {}, "error": "ImportError: x"}).problems == (
        f"{WHO}ImportError: x.",
    )


def test_a_message_that_does_not_show_under_the_variants_key_is_a_problem() -> None:
    (problem,) = finding({"canary": "elsewhere"}).problems
    assert "did not show under unacked:shop.billing.default" in problem


def test_a_message_that_nobody_took_in_time_says_nothing_about_the_key() -> None:
    found = finding({"canary": "waiting"})
    assert found.problems == ()
    assert "no worker took a message from default in time" in found.warnings[0]


OPTIONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"global_keyprefix": "shop_"}, {"host": "redis"}, "celery_workers_broker.global_keyprefix."),
    ({"sep": ":"}, {"host": "redis", "sep": ";"}, "celery_workers_broker.sep."),
    ({"priority_steps": [0, 5]}, {"host": "redis"}, "celery_workers_broker.priority_steps."),
    ({"queue_name_prefix": "x"}, {"host": "redis"}, "celery_workers_broker.transport_options.queue_name_prefix."),
]


@pytest.mark.parametrize(("own", "broker", "mend"), OPTIONS)
def test_an_option_of_the_app_that_the_command_line_has_replaced_is_a_problem(
    own: dict[str, Any], broker: dict[str, Any], mend: str
) -> None:
    (problem,) = finding({"own_places": own}, broker=broker).problems
    (name, value), *_others = own.items()
    assert f"the app's own settings say {name} = {value!r}" in problem
    assert problem.endswith(f"Write it under {mend}")


@pytest.mark.parametrize(
    ("own", "broker"),
    [
        ({"global_keyprefix": "shop_"}, {"host": "redis", "global_keyprefix": "shop_"}),
        ({"priority_steps": [0, 5]}, {"host": "redis", "priority_steps": [0, 5]}),
        ({"global_keyprefix": "", "sep": "\x06\x16", "priority_steps": [0, 3, 6, 9]}, {"host": "redis"}),
    ],
)
def test_an_option_of_the_app_that_says_the_same_is_no_problem(own: dict[str, Any], broker: dict[str, Any]) -> None:
    assert finding({"own_places": own}, broker=broker).problems == ()


def test_without_a_key_of_its_own_the_command_line_replaces_nothing() -> None:
    assert finding({"own_places": {"sep": ":"}}, SCALED).problems == ()


def test_settings_of_the_app_that_win_over_the_command_line_are_a_problem() -> None:
    (problem,) = finding({"shadowed": ("task_acks_late",)}).problems
    assert "task_acks_late. Set enforce_settings: true" in problem


def test_a_worker_is_asked_about_its_own_key_and_queues() -> None:
    broker = {"host": "redis", "global_keyprefix": "shop_"}
    fleet = fleet_of(**one_variant({**TRACKED, "queues": ["a", "b"]}, {"app": "shop.app"}, broker))
    question = question_for(fleet.variants[0], fleet.services[0], canaries=True)
    assert (question.app, question.group) == ("shop.app", "billing.default")
    assert (question.hash, question.is_shared) == ("shop_unacked:shop.billing.default", False)
    assert (question.queues, question.canary, question.inspects) == (("a", "b"), True, True)
    assert "task.acks_late=true" in question.settings


@pytest.mark.parametrize(("keys", "canaries"), [(TRACKED, False), (SCALED, True), ({}, True)])
def test_no_message_is_sent_where_nobody_asked_for_it_or_no_key_would_show_it(
    keys: dict[str, Any], canaries: bool
) -> None:
    fleet = fleet_of(**one_variant(keys))
    assert question_for(fleet.variants[0], fleet.services[0], canaries).canary is False
