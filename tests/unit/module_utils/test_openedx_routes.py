# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recommended table of Open edX, release by release, and what is known of who sends and who runs a task."""

from __future__ import annotations

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tasks import (
    DEFAULT_SETTINGS,
    EXPLICIT_IN_CODE,
    KNOWN_TASKS,
    RELEASES,
    SENT_BY_STUDIO,
    first_release,
    is_later,
    moved_along,
    recommended_routes,
    runs_on,
    sent_by,
    setting_for,
)

GRADES = "lms.djangoapps.grades.tasks."
QUEUES = {
    "lms": {f"edx.lms.core.{variant}" for variant in ("default", "high", "high_mem")},
    "cms": {f"edx.cms.core.{variant}" for variant in ("default", "high", "low")},
}


def tasks_of(release: str) -> set[str]:
    return {route.task for route in recommended_routes(release)}


def test_the_newest_release_is_the_default() -> None:
    assert recommended_routes() == recommended_routes(RELEASES[-1])


@pytest.mark.parametrize("release", RELEASES)
def test_each_route_leads_from_a_sender_to_a_queue_whose_workers_run_the_task(release: str) -> None:
    for route in recommended_routes(release):
        owners = [service for service, queues in QUEUES.items() if route.queue in queues]
        assert len(owners) == 1, route
        assert owners[0] in runs_on(route.task), route
        assert route.producer in sent_by(route.task), route
        assert route.task in KNOWN_TASKS
        assert route.reason
        assert not route.path


@pytest.mark.parametrize("release", RELEASES)
def test_a_producer_sends_a_task_to_one_queue(release: str) -> None:
    routes = [(route.producer, route.task) for route in recommended_routes(release)]
    assert len(set(routes)) == len(routes)


@pytest.mark.parametrize("release", RELEASES)
def test_a_default_follows_from_the_platforms_own_settings(release: str) -> None:
    own = {"edx.lms.core.default", "edx.cms.core.default"}
    high = {"lms.djangoapps.bulk_email.tasks.send_course_email": "edx.lms.core.high"}
    for route in recommended_routes(release):
        if route.is_default and route.queue not in own:
            setting = DEFAULT_SETTINGS["lms"][route.task]
            assert (setting == "GRADES_DOWNLOAD_ROUTING_KEY") == (route.queue == "edx.lms.core.high_mem")
            assert route.queue == high.get(route.task, "edx.lms.core.high_mem")


@pytest.mark.parametrize(
    ("task", "release"),
    [
        ("openedx.core.djangoapps.content.search.tasks.update_content_library_index_docs", "redwood"),
        ("cms.djangoapps.contentstore.tasks.check_broken_links", "teak"),
        ("cms.djangoapps.contentstore.tasks.create_or_update_upstream_links", "teak"),
        ("openedx.core.djangoapps.content_libraries.tasks.send_events_after_publish", "teak"),
        ("openedx.core.djangoapps.content.search.tasks.upsert_course_blocks_docs", "ulmo"),
        ("openedx.core.djangoapps.content.search.tasks.rebuild_index_incremental", "verawood"),
    ],
)
def test_a_task_is_left_out_before_the_release_that_brought_it(task: str, release: str) -> None:
    place = RELEASES.index(release)
    assert first_release(task) == release
    assert [task in tasks_of(name) for name in RELEASES] == [name in RELEASES[place:] for name in RELEASES]
    assert is_later(release, RELEASES[place - 1])
    assert not is_later(release, release)
    assert not is_later(release, "")


def test_what_every_release_has_has_no_first_one() -> None:
    assert first_release(f"{GRADES}compute_all_grades_for_course") == ""
    assert not is_later("", RELEASES[0])


def test_an_unknown_release_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        recommended_routes("zebrawood")


@pytest.mark.parametrize("release", ["", *RELEASES])
@pytest.mark.parametrize("producer", ["lms", "cms"])
def test_only_a_setting_moves_a_task_whose_code_names_the_queue(release: str, producer: str) -> None:
    task = f"{GRADES}compute_grades_for_course_v2"
    assert setting_for(task, producer, release) == "POLICY_CHANGE_GRADES_ROUTING_KEY"
    assert setting_for(f"{GRADES}recalculate_subsection_grade_v3", producer, release) == ""
    routes = [route for route in recommended_routes(release) if route.task == task]
    assert {(route.producer, route.setting, route.is_default) for route in routes} == {
        ("lms", EXPLICIT_IN_CODE[task], False),
        ("cms", EXPLICIT_IN_CODE[task], False),
    }


def test_what_follows_a_setting_is_named() -> None:
    fan_out = (f"{GRADES}compute_all_grades_for_course",)
    for_user = (f"{GRADES}recalculate_course_and_subsection_grades_for_user",)
    assert moved_along("POLICY_CHANGE_GRADES_ROUTING_KEY", "cms") == fan_out
    assert moved_along("POLICY_CHANGE_GRADES_ROUTING_KEY", "lms") == for_user
    assert moved_along("POLICY_CHANGE_GRADES_ROUTING_KEY", "billing") == ()


@pytest.mark.parametrize("producer", ["lms", "cms"])
def test_the_recommended_table_leaves_nothing_to_follow_a_setting_unseen(producer: str) -> None:
    routes = [route for route in recommended_routes() if route.producer == producer]
    entries = {route.task for route in routes if not route.is_default and not route.setting}
    for route in routes:
        assert not route.setting or set(moved_along(route.setting, producer)) <= entries


@pytest.mark.parametrize(
    ("task", "services"),
    [
        ("lms.djangoapps.instructor_task.tasks.rescore_problem", {"lms"}),
        ("lms.djangoapps.certificates.tasks.generate_certificate", {"lms"}),
        ("cms.djangoapps.contentstore.tasks.import_olx", {"cms"}),
        (f"{GRADES}compute_all_grades_for_course", {"lms", "cms"}),
        (f"{GRADES}compute_grades_for_course_v2", {"lms", "cms"}),
        (f"{GRADES}recalculate_course_and_subsection_grades_for_user", {"lms"}),
        ("lms.djangoapps.discussion.tasks.update_discussions_map", {"lms", "cms"}),
        ("lms.djangoapps.verify_student.tasks.send_verification_status_email", {"lms", "cms"}),
        ("common.djangoapps.third_party_auth.tasks.fetch_saml_metadata", {"lms"}),
        ("common.djangoapps.entitlements.tasks.expire_old_entitlements", {"lms", "cms"}),
        ("openedx.core.djangoapps.content.block_structure.tasks.update_course_in_cache_v2", {"lms"}),
        ("openedx.core.djangoapps.content.search.tasks.upsert_xblock_index_doc", {"cms"}),
        ("openedx.core.djangoapps.content_libraries.tasks.backup_library", {"cms"}),
        ("openedx.core.djangoapps.notifications.tasks.send_notifications", {"lms", "cms"}),
        ("site_plugin.tasks.anything", {"lms", "cms"}),
    ],
)
def test_who_runs_a_task(task: str, services: set[str]) -> None:
    assert runs_on(task) == services


def test_who_sends_a_task() -> None:
    assert sent_by("cms.djangoapps.contentstore.tasks.import_olx") == {"cms"}
    assert sent_by("lms.djangoapps.bulk_email.tasks.send_course_email") == {"lms"}
    assert sent_by("site_plugin.tasks.anything") == {"lms", "cms"}
    for task in SENT_BY_STUDIO:
        assert "cms" in sent_by(task)


def test_known_names_are_names_of_tasks() -> None:
    assert len(KNOWN_TASKS) > 140
    for task in KNOWN_TASKS:
        assert task.count(".") >= 2
        assert task.isascii()
        assert not task.endswith(".")
