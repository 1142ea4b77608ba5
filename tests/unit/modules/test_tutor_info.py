# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tutor_info: reads a project, warns of what it does not apply, refuses what is none, and shows no password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.modules.running import run
from tests.unit.tutor_trees import PASSWORD, default_workers, deployment, project


@pytest.mark.parametrize("check", [False, True])
def test_a_project_is_read_in_check_mode_too(check: bool, tmp_path: Path) -> None:
    found = run("tutor_info", check=check, root=str(project(tmp_path)))
    assert (found["changed"], found["namespace"], found["tutor_version"]) == (False, "openedx", "22.0.3")
    assert [item["name"] for item in found["observed"]["objects"]] == ["lms-worker", "cms-worker"]
    assert [item["deployment"] for item in found["observed"]["sources"]] == ["lms-worker", "cms-worker"]
    assert set(found["inventory"]) == {"hosts.yml", "host_vars/learn.example.com/celery.yml"}
    assert found["warnings"] == []


def test_its_deployments_are_enough_for_workers_without_a_cluster(tmp_path: Path) -> None:
    found = run("tutor_info", root=str(project(tmp_path)))
    adopted = {"default": {"adopt": True}}
    made = run(
        "worker_specs",
        preset="openedx",
        namespace=found["namespace"],
        observed=found["observed"],
        config={"lms": adopted, "cms": adopted},
    )
    images = {
        item["spec"]["template"]["spec"]["containers"][0]["image"]
        for item in made["resources"]
        if item["kind"] == "Deployment"
    }
    assert images == {"registry.example/openedx:1"}


def test_what_is_not_applied_is_a_warning(tmp_path: Path) -> None:
    found = run("tutor_info", root=str(project(tmp_path, namePrefix="x-")))
    assert "namePrefix is not applied here" in str(found["warnings"])


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    found = run("tutor_info", root=str(tmp_path))
    assert found["msg"].startswith(f"celery_workers_tutor_root: {tmp_path} has no config.yml")


def test_no_password_is_returned(tmp_path: Path) -> None:
    flower = deployment("flower", env=[{"name": "LOGIN", "value": f"flower:{PASSWORD}"}])
    settings = {"CELERY_FLOWER_BASIC_AUTH": f"flower:{PASSWORD}", "REDIS_PASSWORD": PASSWORD}
    root = project(tmp_path, [*default_workers(), flower], settings, {"CELERY_BROKER_PASSWORD": PASSWORD})
    assert PASSWORD not in json.dumps(run("tutor_info", root=str(root)))
