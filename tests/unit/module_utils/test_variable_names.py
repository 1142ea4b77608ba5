# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables with a mistyped prefix are found; those of other roles are left alone."""

from __future__ import annotations

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._read.variable_names import meant_variable, role_variables

KNOWN = (
    "celery_workers_broker",
    "celery_workers_config",
    "celery_workers_flower",
    "celery_workers_flower_enabled",
    "celery_workers_namespace",
    "celery_workers_state",
    "celery_workers_wait",
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("celery_worker_config", "celery_workers_config"),
        ("celeryworkers_config", "celery_workers_config"),
        ("celery-workers_config", "celery_workers_config"),
        ("celery_workes_config", "celery_workers_config"),
        ("celery_wrokers_config", "celery_workers_config"),
        ("celary_workers_namespace", "celery_workers_namespace"),
        ("Celery_Workers_namespace", "celery_workers_namespace"),
        ("celery_workersconfig", "celery_workers_config"),
        ("celery_worker_flower_enabled", "celery_workers_flower_enabled"),
        ("celery_worker_config__90_host", "celery_workers_config__90_host"),
        ("celery_worker_hosts", "celery_workers_hosts"),
    ],
)
def test_a_mistyped_prefix_leads_to_the_variable_that_was_meant(name: str, meant: str) -> None:
    assert meant_variable(name, (*KNOWN, "celery_workers_hosts")) == meant
    assert role_variables([name], KNOWN) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "celery_broker",
        "celery_config",
        "celery_namespace",
        "celery_beat_config",
        "celery_workflow_state",
        "celery_worker_count",
        "celery_worker",
        "celery_flower",
        "workers_config",
        "docker_workers_config",
        "wait",
        "config",
    ],
)
def test_a_variable_of_another_role_is_left_alone(name: str) -> None:
    assert meant_variable(name, KNOWN) == ""
    assert role_variables([name], KNOWN) == []


def test_a_right_prefix_is_ours_whatever_follows() -> None:
    names = ["celery_workers_confg", "celery_workers_config", "celery_workers_config__50_x", "celery_workers_"]
    assert role_variables(names, KNOWN) == names[:3]
    assert [meant_variable(name, KNOWN) for name in names] == ["", "", "", ""]


def test_a_private_variable_is_not_taken_for_a_mistyped_one() -> None:
    assert role_variables(["_celery_workers_hosts", "celery_worker_hosts"], KNOWN) == ["celery_worker_hosts"]
