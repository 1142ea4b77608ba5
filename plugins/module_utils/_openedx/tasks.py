# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of Open edX's tasks: where they are sent, who sends them, who can run them.

Facts only, from the sources of edx-platform by release; nothing here reads an inventory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .._model.fleet import Route

#: Releases of Open edX in order, newest last: Tutor 17 to 22.
RELEASES: tuple[str, ...] = ("quince", "redwood", "sumac", "teak", "ulmo", "verawood")

_LMS = "edx.lms.core."
_CMS = "edx.cms.core."
_INSTRUCTOR = "lms.djangoapps.instructor_task.tasks."
_STUDIO = "cms.djangoapps.contentstore.tasks."
_GRADES = "lms.djangoapps.grades.tasks."
_CORE = "openedx.core.djangoapps."

#: Tasks whose code passes `queue=` itself, and the setting that it takes the queue from. No routing table reaches them.
EXPLICIT_IN_CODE: Mapping[str, str] = {
    # compute_all_grades_for_course sends it, in whichever service runs that one (all releases since quince).
    f"{_GRADES}compute_grades_for_course_v2": "POLICY_CHANGE_GRADES_ROUTING_KEY",
}


@dataclass(frozen=True)
class _Advice:
    """One line of the recommended table.

    :param since: first release that has the tasks; empty for all of L(RELEASES).
    :param is_default: whether the platform sends them there by itself, by its own table or by the default queue.
    """

    tasks: tuple[str, ...]
    queue: str
    producers: tuple[str, ...]
    reason: str
    since: str = ""
    is_default: bool = False


def _named(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{name}" for name in names)


_ADVICE: tuple[_Advice, ...] = (
    _Advice(
        _named(_INSTRUCTOR, "calculate_grades_csv", "calculate_problem_grade_report", "generate_certificates"),
        f"{_LMS}high_mem",
        ("lms",),
        "works through a whole course, up to hours",
        is_default=True,
    ),
    _Advice(
        _named(
            _INSTRUCTOR,
            "calculate_problem_responses_csv.v2",
            "calculate_students_features_csv",
            "calculate_may_enroll_csv",
            "calculate_inactive_enrolled_students_info_csv",
            "course_survey_report_csv",
            "proctored_exam_results_csv",
            "generate_anonymous_ids_for_course",
            "cohort_students",
        ),
        f"{_LMS}high_mem",
        ("lms",),
        "a report on a whole course",
    ),
    _Advice(
        _named(_INSTRUCTOR, "export_ora2_data", "export_ora2_submission_files", "export_ora2_summary"),
        f"{_LMS}high_mem",
        ("lms",),
        "large archives",
    ),
    _Advice(
        _named(
            _INSTRUCTOR, "rescore_problem", "reset_problem_attempts", "delete_problem_state", "override_problem_score"
        ),
        f"{_LMS}high_mem",
        ("lms",),
        "loops over the learners of a course",
    ),
    _Advice(
        _named(_INSTRUCTOR, "send_bulk_course_email"),
        f"{_LMS}high",
        ("lms",),
        "splits a mailing into batches, which go to high as well",
    ),
    _Advice(
        ("lms.djangoapps.bulk_email.tasks.send_course_email",),
        f"{_LMS}high",
        ("lms",),
        "a batch of a mailing",
        is_default=True,
    ),
    _Advice(
        _named(_GRADES, "compute_all_grades_for_course"),
        f"{_LMS}high_mem",
        ("cms", "lms"),
        "Studio sends it when a grading policy changes; it fans out over all learners",
    ),
    _Advice(
        _named(_GRADES, "compute_grades_for_course_v2"),
        f"{_LMS}high_mem",
        ("lms", "cms"),
        "grades a batch of learners, up to 20 minutes",
    ),
    _Advice(
        _named(_GRADES, "recalculate_course_and_subsection_grades_for_user"),
        f"{_LMS}default",
        ("lms",),
        "one learner; without the entry it would follow POLICY_CHANGE_GRADES_ROUTING_KEY",
    ),
    _Advice(
        (f"{_CORE}content.course_overviews.tasks.async_course_overview_update",),
        f"{_LMS}high_mem",
        ("lms",),
        "many courses at once",
        is_default=True,
    ),
    _Advice(
        _named(_GRADES, "recalculate_subsection_grade_v3"),
        f"{_LMS}default",
        ("lms",),
        "after every answer of every learner; a queue of its own on a large site",
        is_default=True,
    ),
    _Advice(
        ("lms.djangoapps.certificates.tasks.generate_certificate",),
        f"{_LMS}default",
        ("lms",),
        "one learner",
        is_default=True,
    ),
    _Advice(
        _named(f"{_CORE}notifications.tasks.", "send_notifications", "delete_expired_notifications"),
        f"{_LMS}default",
        ("lms",),
        "bulk work; a queue of its own on a large site",
        is_default=True,
    ),
    _Advice(
        _named(f"{_CORE}notifications.tasks.", "send_notifications"),
        f"{_CMS}default",
        ("cms",),
        "bulk work; a queue of its own on a large site",
        is_default=True,
    ),
    _Advice(
        (f"{_CORE}credentials.tasks.v1.tasks.send_grade_to_credentials",),
        f"{_LMS}default",
        ("lms",),
        "one learner; the platform's own entry names a module that is gone",
        is_default=True,
    ),
    _Advice(
        _named(_STUDIO, "import_olx", "export_olx", "rerun_course"),
        f"{_CMS}high",
        ("cms",),
        "an author waits for it, and it takes much memory",
    ),
    _Advice(
        _named(_STUDIO, "check_broken_links"),
        f"{_CMS}low",
        ("cms",),
        "crawls other sites",
        since="teak",
    ),
    _Advice(
        _named(_STUDIO, "update_search_index"),
        f"{_CMS}low",
        ("cms",),
        "a full reindex keeps exports waiting",
    ),
    _Advice(
        _named(_STUDIO, "update_library_index", "update_all_outlines_from_modulestore_task"),
        f"{_CMS}low",
        ("cms",),
        "bulk work",
    ),
    _Advice(
        _named(_STUDIO, "create_or_update_upstream_links"),
        f"{_CMS}low",
        ("cms",),
        "bulk work",
        since="teak",
    ),
    _Advice(
        _named(f"{_CORE}content.search.tasks.", "update_content_library_index_docs"),
        f"{_CMS}low",
        ("cms",),
        "indexes a whole library",
        since="redwood",
    ),
    _Advice(
        _named(f"{_CORE}content.search.tasks.", "upsert_course_blocks_docs"),
        f"{_CMS}low",
        ("cms",),
        "indexes a whole course",
        since="ulmo",
    ),
    _Advice(
        _named(f"{_CORE}content.search.tasks.", "rebuild_index_incremental"),
        f"{_CMS}low",
        ("cms",),
        "indexes everything, up to a day",
        since="verawood",
    ),
    _Advice(
        _named(_STUDIO, "update_special_exams_and_publish", "update_outline_from_modulestore_task"),
        f"{_CMS}default",
        ("cms",),
        "part of publishing, which must stay quick",
        is_default=True,
    ),
    _Advice(
        _named(f"{_CORE}content_libraries.tasks.", "send_events_after_publish"),
        f"{_CMS}default",
        ("cms",),
        "part of publishing, which must stay quick",
        since="teak",
        is_default=True,
    ),
    _Advice(
        _named(f"{_CORE}content_libraries.tasks.", "send_change_events_for_modified_entities"),
        f"{_CMS}default",
        ("cms",),
        "part of publishing, which must stay quick",
        since="verawood",
        is_default=True,
    ),
    _Advice(
        (f"{_CORE}content.block_structure.tasks.update_course_in_cache_v2",),
        f"{_LMS}default",
        ("cms", "lms"),
        "Studio sends it when a course is published, and learners wait for it",
        is_default=True,
    ),
)


def recommended_routes(release: str = "") -> tuple[Route, ...]:
    """The recommended table of a release.

    :param release: one of L(RELEASES); empty is the newest.
    """
    place = _place(release)
    return tuple(
        Route(producer, task, advice.queue, setting_for(task, producer, release), advice.is_default, advice.reason)
        for advice in _ADVICE
        if _place(advice.since or RELEASES[0]) <= place
        for task in advice.tasks
        for producer in advice.producers
    )


def setting_for(task: str, producer: str, release: str = "") -> str:
    """Setting that must be delivered for a task because its code names the queue; empty where an entry is enough.

    :param producer: service that sends it. Both services read the setting under the same name.
    :param release: one of L(RELEASES); empty is the newest. No release differs so far.
    """
    _place(release)
    return EXPLICIT_IN_CODE.get(task, "")


def first_release(task: str) -> str:
    """The first of L(RELEASES) that has a task of the recommended table; empty for all, and for other tasks."""
    return next((advice.since for advice in _ADVICE if task in advice.tasks), "")


def is_later(release: str, than: str) -> bool:
    """Whether a release came after another one.

    An empty first one came before all of them, an empty second one is the newest.
    """
    return bool(release) and _place(release) > _place(than)


def _place(release: str) -> int:
    return RELEASES.index(release or RELEASES[-1])


#: Modules of the LMS whose tasks a CMS worker has as well: their apps are in Studio's INSTALLED_APPS, or are imported
#: when it starts (contentstore imports grades). Seen in the start message of such workers too.
_LMS_TASKS_IN_CMS = (
    _GRADES,
    "lms.djangoapps.discussion.",
    "lms.djangoapps.instructor.tasks.",
    "lms.djangoapps.program_enrollments.tasks.",
    "lms.djangoapps.verify_student.tasks.",
)

#: Tasks of shared code that work on one side only, by the beginning of their names.
_ONE_SIDED: Mapping[str, str] = {
    # Studio alone installs it.
    f"{_CORE}content.search.tasks.": "cms",
    # Registered on both sides, and refuses to run in the LMS.
    f"{_CORE}content_libraries.tasks.": "cms",
    # The platform itself sends these from Studio to the LMS; in Studio they fail.
    f"{_CORE}content.block_structure.tasks.update_course_in_cache": "lms",
    "completion_aggregator.tasks.update_aggregators": "lms",
    # Without the app of grades, which Studio does not install, it returns without doing anything.
    f"{_GRADES}recalculate_course_and_subsection_grades_for_user": "lms",
    # The LMS alone installs it.
    "common.djangoapps.third_party_auth.tasks.": "lms",
}


def runs_on(task: str) -> frozenset[str]:
    """Services whose workers do the work of a task. Others throw the message away, or fail, and the work is lost.

    A task that is not known is taken to run everywhere.
    """
    for beginning, service in _ONE_SIDED.items():
        if task.startswith(beginning):
            return frozenset({service})
    return sent_by(task)


#: What Studio sends, so that a route for the LMS alone reaches less than half of it.
SENT_BY_STUDIO: frozenset[str] = frozenset({f"{_GRADES}compute_all_grades_for_course"})


def sent_by(task: str) -> frozenset[str]:
    """Services that can send a task: those that have its code."""
    if task.startswith("cms."):
        return frozenset({"cms"})
    if task.startswith("lms.") and not task.startswith(_LMS_TASKS_IN_CMS):
        return frozenset({"lms"})
    return frozenset({"lms", "cms"})


#: Settings that upstream's own entries of EXPLICIT_QUEUES take their queues from, by service; they can be set in YAML.
DEFAULT_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "lms": {
        f"{_CORE}content.course_overviews.tasks.async_course_overview_update": "GRADES_DOWNLOAD_ROUTING_KEY",
        "lms.djangoapps.bulk_email.tasks.send_course_email": "BULK_EMAIL_ROUTING_KEY",
        f"{_CORE}heartbeat.tasks.sample_task": "HEARTBEAT_CELERY_ROUTING_KEY",
        f"{_INSTRUCTOR}calculate_grades_csv": "GRADES_DOWNLOAD_ROUTING_KEY",
        f"{_INSTRUCTOR}calculate_problem_grade_report": "GRADES_DOWNLOAD_ROUTING_KEY",
        f"{_INSTRUCTOR}generate_certificates": "GRADES_DOWNLOAD_ROUTING_KEY",
        "lms.djangoapps.verify_student.tasks.send_verification_status_email": "ACE_ROUTING_KEY",
        "lms.djangoapps.verify_student.tasks.send_ace_message": "ACE_ROUTING_KEY",
        "lms.djangoapps.verify_student.tasks.send_request_to_ss_for_user": "SOFTWARE_SECURE_VERIFICATION_ROUTING_KEY",
        f"{_CORE}schedules.tasks._recurring_nudge_schedule_send": "ACE_ROUTING_KEY",
        f"{_CORE}schedules.tasks._upgrade_reminder_schedule_send": "ACE_ROUTING_KEY",
        f"{_CORE}schedules.tasks._course_update_schedule_send": "ACE_ROUTING_KEY",
        "common.djangoapps.entitlements.tasks.expire_old_entitlements": "ENTITLEMENTS_EXPIRATION_ROUTING_KEY",
        f"{_GRADES}recalculate_course_and_subsection_grades_for_user": "POLICY_CHANGE_GRADES_ROUTING_KEY",
        f"{_GRADES}recalculate_subsection_grade_v3": "SINGLE_LEARNER_COURSE_REGRADE_ROUTING_KEY",
        f"{_CORE}programs.tasks.award_program_certificates": "PROGRAM_CERTIFICATES_ROUTING_KEY",
        f"{_CORE}programs.tasks.revoke_program_certificates": "PROGRAM_CERTIFICATES_ROUTING_KEY",
        f"{_CORE}programs.tasks.update_certificate_available_date_on_course_update": "PROGRAM_CERTIFICATES_ROUTING_KEY",
        f"{_CORE}programs.tasks.award_course_certificate": "PROGRAM_CERTIFICATES_ROUTING_KEY",
        "openassessment.workflow.tasks.update_workflows_for_all_blocked_submissions_task": (
            "ORA_WORKFLOW_UPDATE_ROUTING_KEY"
        ),
        "openassessment.workflow.tasks.update_workflows_for_course_task": "ORA_WORKFLOW_UPDATE_ROUTING_KEY",
        "openassessment.workflow.tasks.update_workflows_for_ora_block_task": "ORA_WORKFLOW_UPDATE_ROUTING_KEY",
        "openassessment.workflow.tasks.update_workflow_for_submission_task": "ORA_WORKFLOW_UPDATE_ROUTING_KEY",
    },
    "cms": {
        f"{_GRADES}compute_all_grades_for_course": "POLICY_CHANGE_GRADES_ROUTING_KEY",
        f"{_GRADES}recalculate_course_and_subsection_grades_for_user": "SINGLE_LEARNER_COURSE_REGRADE_ROUTING_KEY",
        f"{_STUDIO}update_search_index": "UPDATE_SEARCH_INDEX_JOB_QUEUE",
    },
}


def moved_along(setting: str, producer: str) -> tuple[str, ...]:
    """Tasks that a service sends elsewhere too when a setting changes, unless they have an entry of their own."""
    return tuple(task for task, name in DEFAULT_SETTINGS.get(producer, {}).items() if name == setting)


_OTHERS: tuple[str, ...] = (
    *_named(
        _INSTRUCTOR,
        # Until the Juniper release; its like is still in old notes.
        "calculate_problem_responses_csv",
    ),
    *_named(_GRADES, "compute_grades_for_course"),
    *_named(
        _STUDIO,
        "delete_v1_library",
        "handle_create_xblock_upstream_link",
        "handle_unlink_upstream_block",
        "handle_unlink_upstream_container",
        "handle_update_xblock_upstream_link",
        "migrate_course_legacy_library_blocks_to_item_bank",
        "replace_all_library_source_blocks_ids_for_course",
        "undo_all_library_source_blocks_ids_for_course",
        "update_course_rerun_links",
        "validate_all_library_source_blocks_ids_for_course",
    ),
    *_named(
        "cms.djangoapps.",
        "cms_user_tasks.tasks.send_task_complete_email",
        "coursegraph.tasks.dump_course_to_neo4j",
        "export_course_metadata.tasks.export_course_metadata_task",
        "modulestore_migrator.tasks.bulk_migrate_from_modulestore",
        "modulestore_migrator.tasks.migrate_from_modulestore",
    ),
    *_named(
        "common.djangoapps.",
        "entitlements.tasks.expire_and_create_entitlements",
        "third_party_auth.tasks.fetch_saml_metadata",
        "third_party_auth.tasks.update_saml_users_social_auth_uid",
    ),
    *_named(
        "lms.djangoapps.",
        "ccx.tasks.send_ccx_course_published",
        "discussion.rest_api.tasks.delete_course_post_for_user",
        "discussion.rest_api.tasks.send_response_endorsed_notifications",
        "discussion.rest_api.tasks.send_response_notifications",
        "discussion.rest_api.tasks.send_thread_created_notification",
        "discussion.tasks.send_ace_message",
        "discussion.tasks.send_ace_message_for_reported_content",
        "discussion.tasks.update_discussions_map",
        "gating.tasks.task_evaluate_subsection_completion_milestones",
        "instructor.tasks.update_exam_completion_task",
        "lti_provider.tasks.send_composite_outcome",
        "lti_provider.tasks.send_leaf_outcome",
        "program_enrollments.tasks.expire_waiting_enrollments",
        "support.tasks.reset_student_course",
        "support.tasks.send_reset_course_completion_email",
    ),
    *_named(
        _CORE,
        "bookmarks.tasks.update_xblocks_cache",
        "ccxcon.tasks.update_ccxcon",
        "content.block_structure.tasks.get_course_in_cache",
        "content.block_structure.tasks.get_course_in_cache_v2",
        "content.block_structure.tasks.update_course_in_cache",
        "content.search.tasks.delete_course_index_docs",
        "content.search.tasks.delete_library_block_index_doc",
        "content.search.tasks.delete_library_container_index_doc",
        "content.search.tasks.delete_xblock_index_doc",
        "content.search.tasks.update_library_collection_index_doc",
        "content.search.tasks.update_library_components_collections",
        "content.search.tasks.update_library_container_index_doc",
        "content.search.tasks.update_library_containers_collections",
        "content.search.tasks.upsert_library_block_index_doc",
        "content.search.tasks.upsert_xblock_index_doc",
        "content_libraries.tasks.backup_library",
        "content_libraries.tasks.check_container_content_changes",
        "content_libraries.tasks.duplicate_children",
        "content_libraries.tasks.import_blocks_from_course",
        "content_libraries.tasks.restore_library",
        "content_libraries.tasks.send_collections_changed_events",
        "content_libraries.tasks.send_events_after_revert",
        "content_libraries.tasks.sync_from_library",
        "content_staging.tasks.delete_expired_clipboards",
        "credentials.tasks.v1.tasks.handle_notify_credentials",
        "credit.tasks.update_credit_course_requirements",
        "discussions.tasks.update_discussions_settings_from_course_task",
        "notifications.email.tasks.send_user_digest_email_task",
        "notifications.tasks.delete_notifications",
        "programs.tasks.revoke_program_certificates",
        "programs.tasks.update_credentials_course_certificate_configuration_available_date",
        "schedules.tasks.ScheduleCourseNextSectionUpdate",
        "schedules.tasks.ScheduleCourseUpdate",
        "schedules.tasks.ScheduleRecurringNudge",
        "schedules.tasks.ScheduleUpgradeReminder",
        "schedules.tasks.update_course_schedules",
        "user_authn.tasks.check_pwned_password_and_send_track_event",
        "user_authn.tasks.send_activation_email",
    ),
    "openedx.features.enterprise_support.tasks.clear_enterprise_customer_data_consent_share_cache",
    "openedx.features.survey_report.tasks.generate_survey_report",
    "celery_utils.tasks.mark_resolved",
    "completion_aggregator.tasks.update_aggregators",
    "edx_name_affirmation.tasks.delete_verified_name_task",
    "edx_name_affirmation.tasks.idv_update_verified_name_task",
    "edx_name_affirmation.tasks.proctoring_update_verified_name_task",
    "edx_sga.tasks.zip_student_submissions",
    "enterprise.tasks.create_enterprise_enrollment",
    "enterprise.tasks.send_enterprise_email_notification",
    "event_routing_backends.tasks.dispatch_event",
    "eventtracking.tasks.send_event",
    "user_tasks.tasks.purge_old_user_tasks",
)

#: Names of the platform's tasks and of some that come with it, of all releases. For "did you mean" only: sites have
#: tasks of their own.
KNOWN_TASKS: frozenset[str] = frozenset(
    [
        *(task for advice in _ADVICE for task in advice.tasks),
        *(task for entries in DEFAULT_SETTINGS.values() for task in entries),
        *_OTHERS,
    ]
)
