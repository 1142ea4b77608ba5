# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys of brokers: what is asked, what is made of the answer, and what people read. Real brokers are surveyed in
tests/integration/test_real_leftovers.py."""

from __future__ import annotations

import ast
import json
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.flower import flower_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.survey import (
    Place,
    eta_of,
    row_of,
    sent_at,
    task_message,
    why,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.tidy import Surveying, settle_times
from ansible_collections.queueops.celery.plugins.module_utils._celery.survey_texts import (
    age,
    findings,
    queue_cells,
    unconsumed,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import (
    HashRow,
    Leftover,
    QueueRow,
    Survey,
    SurveyQuestion,
    answer_from,
    as_data,
    command_of,
    program,
    survey_from,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.surveying import (
    SurveyWish,
    broker_groups,
    survey_fleet,
    used_hashes,
)

from tests.unit.inventories import fleet_of, of_kind
from tests.unit.running_pods import MARK, answering, cluster_of, let_pods_say, pod_of, running

SHOP: dict[str, Any] = {
    "services": {"shop": {"app": "shop:app", "image": "shop:1", "idempotent": True, "enable_keda": True}},
    "config": {"shop": {"default": {}, "high": {}}},
}


# The program


def test_the_parts_of_the_program_are_one_that_runs_by_itself(tmp_path: Path) -> None:
    """In a folder and a Python that know nothing of the collection: there is no such app."""
    command = command_of(SurveyQuestion("nowhere:app"), [sys.executable])
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True, timeout=60)
    found = answer_from(done.stdout)
    assert found is not None
    assert found.error.startswith("ModuleNotFoundError")


def test_the_program_is_small_enough_for_the_address_of_a_request() -> None:
    assert len(program()) < 20_000


def test_the_program_is_one_for_python_3_8() -> None:
    folder = Path(__file__).parents[3] / "plugins/module_utils/_celery/programs"
    for name in ("ask", "survey", "quarantine", "tidy"):
        ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))


# What is read


PLACE = Place("own:", ":", (9, 0, 3))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1f.reply.celery.pidbox", "reply"),
        ("shop.default@host.celery.pidbox", "node"),
        ("celeryev.1f", "event"),
        ("celeryev", ""),
        ("reply.celery", ""),
        ("default", ""),
    ],
)
def test_queues_of_celery_itself_are_told_from_those_of_tasks(name: str, kind: str) -> None:
    assert PLACE.own_kind(name) == kind


@pytest.mark.parametrize("priority", [0, 2, 3, 8, 9, 99, -1, None])
def test_a_message_is_given_back_at_the_step_that_kombu_takes_for_it(priority: int | None) -> None:
    from kombu.transport.redis import Channel

    class Plain(Channel):  # type: ignore[misc]
        """As much of it as works out steps."""

        def __init__(self) -> None:
            self.priority_steps = [0, 3, 9]

    message = {"properties": {"priority": priority}}
    wanted = Plain().priority(Plain()._get_message_priority(message, reverse=False))
    assert PLACE.step_of(message) == wanted
    assert PLACE.list_of("q", wanted) == ("own:q" if not wanted else f"own:q:{wanted}")
    assert PLACE.queue_of(PLACE.list_of("q", wanted).removeprefix("own:")) == "q"


def test_times_are_those_that_messages_tell() -> None:
    assert eta_of({"headers": {"eta": "2026-11-30T12:00:00Z"}}) == eta_of({"headers": {"eta": "2026-11-30T12:00:00"}})
    assert eta_of({"headers": {"eta": "2026-11-30T14:00:00+02:00"}}) == 1796040000
    assert [eta_of(message) for message in ({}, {"headers": {"eta": None}}, {"headers": None})] == [0, 0, 0]
    assert [sent_at(message) for message in ({}, {"properties": {"timestamp": 5}})] == [0, 5]


@pytest.mark.parametrize("text", [None, "plain", "[1]", '{"body": 1}', b"\xff"])
def test_a_list_of_others_is_no_queue(text: Any) -> None:
    assert task_message(text) == {}


def test_an_error_shows_no_login() -> None:
    assert why(ValueError("no way to redis://:secret@host\nmore")) == "no way to redis"


def test_what_the_app_decides_is_filled_in() -> None:
    question: dict[str, Any] = {"used": {"unacked": 3660, "unacked:a": 120, "unacked:b": 0}}
    settle_times(question, 7200)
    assert question["used"] == {"unacked": 7260, "unacked:a": 120, "unacked:b": 7260}
    question = {"used": {"unacked": 9000}}
    settle_times(question)
    assert question["used"] == {"unacked": 9000}


def test_where_an_app_may_say_more_no_message_is_given_back() -> None:
    """Whose own time is on the command line of its workers is known all the same."""
    question: dict[str, Any] = {"used": {"unacked": 3660, "unacked:a": 120, "unacked:b": 0}}
    settle_times(question, 7200, is_known=False)
    assert question["used"] == {"unacked": float("inf"), "unacked:a": 120, "unacked:b": float("inf")}


def test_a_message_of_any_shape_has_no_eta() -> None:
    assert [eta_of({"headers": headers}) for headers in (None, ["x"], "x", {"eta": 1})] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("use_ssl", "mode"),
    [
        (None, ssl.CERT_REQUIRED),
        (True, ssl.CERT_REQUIRED),
        ({"cert_reqs": ssl.CERT_REQUIRED}, ssl.CERT_REQUIRED),
        ({"cert_reqs": ssl.CERT_NONE}, ssl.CERT_NONE),
    ],
)
def test_the_certificate_of_the_management_api_is_checked_unless_told_otherwise(use_ssl: Any, mode: int) -> None:
    app = SimpleNamespace(conf=SimpleNamespace(broker_use_ssl=use_ssl))
    surveying = Surveying(app, {"management": "https://rabbit:15671", "timeout": 2})
    found = surveying.management(SimpleNamespace(userid="u", password="p", virtual_host="/"))
    assert found is not None
    assert found.context.verify_mode == mode


# What is asked


def test_hashes_of_the_inventory_and_of_whatever_runs_are_used() -> None:
    fleet = fleet_of(broker={"host": "redis"}, **SHOP)
    own = "unacked:shop."
    left = {"spec": {"args": [f'(dict){{"unacked_key":"{own}shop.left","visibility_timeout":90}}']}}
    found = used_hashes(fleet.variants, [left], own)
    assert found[f"{own}shop.default"] == 3660
    assert found[f"{own}shop.left"] == 150
    assert f"{own}shop.gone" not in found
    # Whatever has no hash of its own may have the longest time of all.
    assert found["unacked"] == 3660
    assert used_hashes((), [], own) == {"unacked": 0}


def test_services_that_share_a_broker_are_surveyed_once() -> None:
    services = {name: {"app": f"{name}:app", "image": "shop:1"} for name in ("a", "b", "c")}
    services["c"]["broker"] = {"host": "other"}  # type: ignore[assignment]
    config = {name: {"default": {"queues": [name]}} for name in services}
    fleet = fleet_of(broker={"host": "redis"}, services=services, config=config)
    groups = broker_groups(fleet)
    assert [(group.title, group.queues) for group in groups] == [
        ("redis redis:6379/0", ("a", "b")),
        ("redis other:6379/0", ("c",)),
    ]


def test_one_ready_pod_of_each_broker_is_asked_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_of(broker={"host": "redis"}, **SHOP)
    deployments = running(fleet)
    pods = [pod_of(deployments[0], ready=False), pod_of(deployments[1]), pod_of(deployments[1], "done")]
    pods[2]["status"]["phase"] = "Succeeded"
    asked = let_pods_say(monkeypatch, answering(broker="redis", queues={"default": {"waiting": 3}}))
    [found] = survey_fleet(cluster_of(*deployments, *pods), fleet, SurveyWish(audits=True, removes=True, quiet=7))
    [(pod, _container, question)] = asked
    assert (found.asked, found.survey.queues[0].waiting) == (pod, 3)
    assert (question["queues"], question["own"]) == (["default", "high"], "unacked:shop.")
    assert (question["removes"], question["quiet"]) == (True, 7)
    # A pod that is not ready may work; one that has ended does not.
    assert len(question["pods"]) == 2


@pytest.mark.parametrize(("ready", "app"), [(("shop-beat", "flower"), "shop:app"), (("flower",), "")])
def test_beat_and_flower_are_asked_while_no_worker_is_up(
    monkeypatch: pytest.MonkeyPatch, ready: tuple[str, ...], app: str
) -> None:
    services = {"shop": {**SHOP["services"]["shop"], "beat": {"enabled": True}}}
    fleet = fleet_of(broker={"host": "redis"}, **{**SHOP, "services": services}, enabled=("flower",))
    deployments = of_kind([*worker_resources(fleet), *flower_resources(fleet)], "Deployment")
    pods = [pod_of(item) for item in deployments if item["metadata"]["name"] in ready]
    asked = let_pods_say(monkeypatch, answering(broker="redis"))
    [found] = survey_fleet(cluster_of(*deployments, *pods), fleet, SurveyWish())
    assert found.asked == f"{ready[0]}-1"
    assert [question["app"] for _pod, _container, question in asked] == [app]


def test_without_a_ready_pod_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_of(broker={"host": "redis"}, **SHOP)
    asked = let_pods_say(monkeypatch, answering())
    [found] = survey_fleet(cluster_of(*running(fleet)), fleet, SurveyWish())
    assert "no pod that reaches it is ready" in found.survey.error
    assert asked == []


@pytest.mark.parametrize(
    ("output", "errors", "said"),
    [
        ("", "ImportError: redis://u:secret@h\n", "gave no answer (ImportError: redis)"),
        (f'{MARK}{{"running": [], "error": "there is no Python"}}\n', "", "gave no answer (there is no Python)"),
        (f"{MARK}no json\n", "", "gave no answer (no output)"),
    ],
)
def test_a_pod_that_cannot_answer_says_why(
    monkeypatch: pytest.MonkeyPatch, output: str, errors: str, said: str
) -> None:
    fleet = fleet_of(broker={"host": "redis"}, **SHOP)
    deployments = running(fleet)
    let_pods_say(monkeypatch, lambda _pod, _question: (output, errors))
    [found] = survey_fleet(cluster_of(*deployments, pod_of(deployments[0])), fleet, SurveyWish())
    assert said in found.survey.error
    assert "secret" not in found.survey.error


# What is made of it


def test_what_is_not_known_is_null_and_never_zero() -> None:
    found = survey_from({"broker": "rabbitmq", "queues": {"q": row_of(waiting=2)}})
    [row] = as_data(found)["queues"]
    assert {name: row[name] for name in ("unacked", "held_for_eta", "consumers", "oldest_waiting_seconds")} == {
        "unacked": None,
        "held_for_eta": None,
        "consumers": None,
        "oldest_waiting_seconds": None,
    }
    cells = queue_cells(found.queues[0], ())
    assert (cells["waiting"], cells["unacked"], cells["consumers"], cells["oldest"]) == ("2", "unknown", "unknown", "-")


def test_priorities_are_shown_where_there_are_some() -> None:
    rows = [QueueRow("a", 3, {"0": 1, "3": 2}), QueueRow("b", 3, {"0": 3, "3": 0})]
    assert [queue_cells(row, ())["by priority"] for row in rows] == ["0: 1, 3: 2", "-"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (200000, "2 d")]
)
def test_ages_have_one_unit(seconds: int | None, shown: str) -> None:
    assert age(seconds) == shown


def test_only_queues_that_nothing_consumes_are_named() -> None:
    rows = [
        QueueRow("own", 4, consumers=0),
        QueueRow("consumed", 4, consumers=1),
        QueueRow("empty", 0, consumers=0),
        QueueRow("celery_delayed_3", 4, consumers=0),
        QueueRow("left", 4, consumers=0),
        QueueRow("unseen", 4, consumers=None),
    ]
    assert [row.name for row in unconsumed(Survey(queues=tuple(rows)), ["own"])] == ["left", "unseen"]


LEFT = Survey(
    queues=(QueueRow("old", 1, consumers=0),),
    hashes=(
        HashRow("unacked:f.s.gone", 11, 9, False, {"old": 3, "own": 1}, 1, {"old": 2, "own": 1}),
        HashRow("unacked", 1, 9, True, {"own": 1}, 0, {"own": 1}),
    ),
    leftovers=(
        Leftover("reply", "queue", 1, 2, 1, ("a.reply.celery.pidbox",)),
        Leftover("node", "binding", 7, 0, 7, tuple("abcde")),
    ),
    unread="its management API gives no answer (HTTP Error 401: Unauthorized)",
)


def test_a_run_that_only_looks_says_what_it_would_do() -> None:
    assert findings(LEFT, ["own"], removes=False) == [
        "3 messages in unacked:f.s.gone, which no worker uses any more: would go back to queue old, which no variant "
        "consumes.",
        "1 message in unacked:f.s.gone, which no worker uses any more: would go back to queue own.",
        "6 messages in unacked:f.s.gone, which no worker uses any more: delivered less than celery_workers_gc_min_age "
        "seconds ago, so nothing is done yet.",
        "1 message in unacked:f.s.gone, which no worker uses any more: not given back, because no binding names the "
        "queue. Start a worker of the app once, which binds its queues, and run again.",
        "1 message in unacked, past its visibility timeout: would go back to queue own.",
        "1 reply queue that nobody reads, with 2 messages of remote control: would be deleted (a.reply.celery.pidbox).",
        "7 bindings of queues of nodes that are gone: would be taken out (a, b, c, d, e and 2 more).",
        "1 message waits in queue old, which no variant of this fleet and no worker consumes. Let a variant "
        "consume it (key queues).",
        "What else is there is not known: its management API gives no answer (HTTP Error 401: Unauthorized).",
    ]


def test_a_run_that_cleans_up_says_what_it_did() -> None:
    said = findings(LEFT, ["own"], removes=True)
    assert said[:2] == [
        "2 messages of unacked:f.s.gone, which no worker uses any more: back in queue old, which no variant consumes.",
        "1 message of unacked:f.s.gone changed in this moment; run again.",
    ]
    assert "1 reply queue that nobody reads, with 2 messages of remote control: deleted 1 (a.reply" in said[6]
    assert "7 bindings of queues of nodes that are gone: took out 7 (a, b, c, d, e and 2 more)." in said


def test_a_survey_that_found_nothing_says_nothing() -> None:
    assert findings(Survey(queues=(QueueRow("own", 4, consumers=0),)), ["own"], removes=True) == []


def test_a_question_holds_nothing_but_names() -> None:
    asked = json.loads(command_of(SurveyQuestion("shop:app"), ["python"])[-1])
    assert not [name for name in asked if "password" in name or "url" in name]
