# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin "fleet_queues" and its documentation. Whole runs are in tests/integration/test_broker_runs.py."""

from __future__ import annotations

import importlib

import yaml

NAME = "fleet_queues"


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    assert list(yaml.safe_load(documented)["options"]) == ["state"]
