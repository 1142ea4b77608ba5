# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of an inventory: which count, which queues they ask for, and which would lose their messages."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Route
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tasks import RELEASES, recommended_routes

from tests.unit.inventories import fleet_of, one_variant, problems_of

GRADES = "lms.djangoapps.instructor_task.tasks.calculate_grades_csv"
OPENEDX: dict[str, Any] = {"preset": "openedx", "services": {name: {"image": "openedx:22"} for name in ("lms", "cms")}}


def openedx(**variables: Any) -> Fleet:
    return fleet_of(**{**OPENEDX, **variables})


def route_of(fleet: Fleet, task: str, producer: str = "lms") -> Route:
    (found,) = [route for route in fleet.routes if (route.producer, route.task) == (producer, task)]
    return found


def test_without_asking_for_them_no_recommended_route_holds() -> None:
    assert openedx().routes == ()


@pytest.mark.parametrize("release", ["", *RELEASES])
def test_the_recommended_routes_are_those_of_the_release(release: str) -> None:
    fleet = openedx(openedx_routing="recommended", openedx_release=release)
    assert fleet.routes == recommended_routes(release)


def test_a_route_of_the_inventory_goes_over_the_recommended_one_of_the_same_producer() -> None:
    written = {"lms": {GRADES: {"queue": "edx.lms.core.high"}}}
    fleet = openedx(openedx_routing="recommended", explicit_queues=written)
    found = route_of(fleet, GRADES)
    assert (found.queue, found.path) == ("edx.lms.core.high", f"celery_workers_explicit_queues.lms.{GRADES}")
    assert not found.is_default
    assert len(fleet.routes) == len(recommended_routes())


def test_a_release_that_does_not_exist_is_refused_with_the_nearest() -> None:
    (problem,) = problems_of(**OPENEDX, openedx_routing="recommended", openedx_release="verawod")
    assert problem.startswith("celery_workers_openedx_release: there is no release 'verawod'; did you mean 'verawood'?")


def test_the_recommended_routes_are_those_of_open_edx() -> None:
    (problem,) = problems_of(**one_variant({}), openedx_routing="recommended")
    assert problem.startswith("celery_workers_openedx_routing: these are the tasks of Open edX; write")


def test_a_queue_that_a_recommended_route_names_needs_a_consumer() -> None:
    config = {"lms": {"high_mem": {"enabled": False}}}
    services = {"lms": {"image": "x:1", "known_queues": ["edx.lms.core.default"]}, "cms": {"image": "x:1"}}
    found = problems_of(preset="openedx", services=services, config=config, openedx_routing="recommended")
    assert [text.partition(":")[0] for text in found] == ["celery_workers_openedx_routing"]
    assert "no variant consumes the queue 'edx.lms.core.high_mem'" in found[0]


def test_the_path_of_a_written_route_counts_where_both_name_a_queue() -> None:
    config = {"lms": {"high_mem": {"enabled": False}}}
    services = {"lms": {"image": "x:1", "known_queues": ["edx.lms.core.default"]}, "cms": {"image": "x:1"}}
    written = {"lms": {"site.tasks.report": "edx.lms.core.high_mem"}}
    found = problems_of(
        preset="openedx",
        services=services,
        config=config,
        openedx_routing="recommended",
        explicit_queues=written,
    )
    assert found[0].startswith("celery_workers_explicit_queues.lms.site.tasks.report: no variant consumes")


def test_a_route_whose_messages_would_be_lost_is_a_problem_where_it_is_written() -> None:
    written = {"lms": {GRADES: {"queue": "edx.cms.core.default"}}}
    (problem,) = problems_of(**OPENEDX, explicit_queues=written)
    assert problem.startswith(f"celery_workers_explicit_queues.lms.{GRADES}: workers of cms take from queue")
    assert "its messages would be lost" in problem


def test_another_app_may_name_its_tasks_as_it_likes() -> None:
    fleet = fleet_of(**one_variant({}), explicit_queues={"billing": {GRADES: "default"}})
    assert route_of(fleet, GRADES, "billing").setting == ""


def consuming(queues: list[str], **more: Any) -> list[str]:
    """Warnings of a variant that takes from these queues of an app that knows some."""
    variables = one_variant({"queues": queues}, service={"known_queues": ["reports"]})
    return [text for text in fleet_of(**variables, **more).warnings if "consumes" in text]


def test_a_consumed_queue_that_nobody_sends_to_is_a_warning() -> None:
    (warning,) = consuming(["reports", "report"])
    assert warning.startswith(
        "celery_workers_config.billing.default.queues: variant default of service billing consumes 'report', which"
    )
    assert "did you mean 'reports'?" in warning


def test_a_route_makes_a_queue_known() -> None:
    assert consuming(["reports", "mails"], explicit_queues={"billing": {"a.task": "mails"}}) == []


def test_where_the_app_knows_no_queue_nobody_can_tell() -> None:
    fleet = fleet_of(**one_variant({"queues": ["anything"]}))
    assert [text for text in fleet.warnings if "consumes" in text] == []
