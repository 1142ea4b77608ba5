# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The public interface agrees with itself: defaults, action groups, tests per module, generated files."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster import connection as _connection
from ansible_collections.queueops.celery.plugins.module_utils._read.module_options import fleet_options

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "celery_workers"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


OPTIONS: dict[str, Any] = load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["variables"]["options"]
DEFAULTS: dict[str, Any] = load(ROLE / "defaults" / "main.yml")


def test_every_option_of_the_role_that_is_not_required_has_its_default_in_both_files() -> None:
    specified = {name: option["default"] for name, option in OPTIONS.items() if not option.get("required")}
    assert specified == DEFAULTS


def test_a_required_option_has_no_default() -> None:
    required = {name for name, option in OPTIONS.items() if option.get("required")}
    assert required == {"celery_workers_namespace"}
    assert not [name for name in required if "default" in OPTIONS[name] or name in DEFAULTS]


def test_every_option_of_the_role_has_its_prefix_a_type_and_a_description() -> None:
    assert not [
        name
        for name, option in OPTIONS.items()
        if not name.startswith("celery_workers_") or not option.get("type") or not option.get("description")
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test(module: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "unit" / "modules").glob("test_*.py")]
    assert any(f'"{module}"' in text for text in texts)


@pytest.mark.parametrize("module", MODULES)
def test_the_documented_options_of_a_module_are_those_it_takes(module: str) -> None:
    found = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{module}")
    assert yaml.safe_load(found.DOCUMENTATION)["module"] == module
    assert yaml.safe_load(found.EXAMPLES)
    assert yaml.safe_load(found.RETURN)


GROUPS: dict[str, list[str]] = load(ROOT / "meta" / "runtime.yml")["action_groups"]


def test_action_groups_name_modules_that_exist() -> None:
    assert not {module for members in GROUPS.values() for module in members} - set(MODULES)


@pytest.mark.parametrize("module", GROUPS["fleet"])
def test_a_member_of_the_fleet_group_takes_every_option_that_describes_a_fleet(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(fleet_options()) <= set(_argument_spec(module, monkeypatch))


@pytest.mark.parametrize("module", GROUPS["cluster"])
def test_a_member_of_the_cluster_group_takes_every_option_of_the_connection(module: str) -> None:
    common = importlib.import_module("ansible_collections.kubernetes.core.plugins.module_utils.args_common")
    found = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{module}")
    assert set(common.AUTH_ARG_SPEC) <= set(found.argument_spec())


class _Seen(Exception):
    """Carries the argument spec out of a module."""


def _argument_spec(module: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{module}")
    # Modules that read a cluster are made by _connection.
    maker = _connection if module in GROUPS["cluster"] else found

    def stop(argument_spec: dict[str, Any], **_options: Any) -> None:
        raise _Seen(argument_spec)

    monkeypatch.setattr(maker, "AnsibleModule", stop)
    with pytest.raises(_Seen) as seen:
        found.main()
    spec: dict[str, Any] = seen.value.args[0]
    return spec


def test_the_file_of_kubernetes_types_is_the_one_that_its_schema_gives() -> None:
    script = ROOT / "tests" / "checks" / "kubernetes_types.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
