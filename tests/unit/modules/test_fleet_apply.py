# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin "fleet_apply": how far a run goes by its tags. Whole runs are in tests/unit/plugin_utils."""

from __future__ import annotations

import importlib

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.action.fleet_apply import stage_of

NAME = "fleet_apply"


@pytest.mark.parametrize(
    ("only", "skipped", "expected"),
    [
        (["all"], [], "apply"),
        (["validate"], [], "validate"),
        (["plan"], [], "plan"),
        (["apply"], [], "apply"),
        (["plan", "apply"], [], "apply"),
        (["all"], ["apply"], "validate"),
        (["something-else"], [], "validate"),
        (["celery"], [], "apply"),
        (["all"], ["celery"], "validate"),
        (["tagged"], [], "apply"),
    ],
)
def test_a_run_goes_as_far_as_its_tags_ask_for(only: list[str], skipped: list[str], expected: str) -> None:
    assert stage_of(["always", "celery"], only, skipped) == expected


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    names = ["only_verify", "only_report", "only_status", "only_status_page"]
    assert list(yaml.safe_load(documented)["options"]) == names
