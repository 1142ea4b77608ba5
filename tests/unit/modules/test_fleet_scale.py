# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin "fleet_scale": who runs it. Whole runs are in tests/unit/plugin_utils."""

from __future__ import annotations

import importlib

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.plugin_utils._history import run_by

NAME = "fleet_scale"


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    assert list(yaml.safe_load(documented)["options"]) == ["state"]


def test_a_user_of_a_controller_is_named_before_the_one_it_runs_as(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "runner")
    assert run_by({}) == "runner"
    assert run_by({"tower_user_name": "bea"}) == "bea"
    assert run_by({"tower_user_name": "bea", "awx_user_name": "anna"}) == "anna"


def test_a_user_without_a_name_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert run_by({}) == ""
