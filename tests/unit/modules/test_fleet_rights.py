# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin "fleet_rights". Whole runs are in tests/unit/plugin_utils and tests/integration/test_rights.py."""

from __future__ import annotations

import importlib
from pathlib import Path

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import FEATURES

NAME = "fleet_rights"
ROLE = Path(__file__).parents[3] / "roles" / "celery_workers"


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    assert not yaml.safe_load(documented)["options"]


def test_the_role_names_every_feature() -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    described = " ".join(specs["variables"]["options"]["celery_workers_rbac_features"]["description"])
    assert [name for name in FEATURES if f"V({name})" not in described] == []
