# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tutor_inventory: writes, finds nothing to do, leaves what a person changed; check mode only says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.modules.running import run
from tests.unit.tutor_trees import project

VARIABLES = "host_vars/learn.example.com/celery.yml"


def write(tmp_path: Path, check: bool = False, **rendered: Any) -> dict[str, Any]:
    root = project(tmp_path / "site", **rendered)
    return run("tutor_inventory", check=check, root=str(root), path=str(tmp_path / "inventory"))


def test_write_again_and_follow_the_project(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert (first["changed"], first["written"], first["site"]) == (True, ["hosts.yml", VARIABLES], "learn.example.com")
    assert first["variables"] == VARIABLES
    again = write(tmp_path)
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])
    moved = write(tmp_path, namespace="campus")
    assert (moved["changed"], moved["written"]) == (True, [VARIABLES])
    assert not [found for found in (first, again, moved) if found["warnings"]]


def test_check_mode_says_what_it_would_write_and_writes_nothing(tmp_path: Path) -> None:
    checked = write(tmp_path, check=True)
    assert not (tmp_path / "inventory").exists()
    real = write(tmp_path)
    assert {key: checked[key] for key in ("changed", "written", "diff")} == {
        key: real[key] for key in ("changed", "written", "diff")
    }


def test_what_a_person_changed_is_named_with_the_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "inventory" / VARIABLES
    path.write_text("mine: true\n")
    found = write(tmp_path)
    assert (found["written"], found["beside"]) == ([f"{VARIABLES}.new"], {VARIABLES: f"{VARIABLES}.new"})
    assert f"{path} was changed by hand" in str(found["warnings"])
    assert f"{path}.new" in str(found["warnings"])
    assert found["diff"][0]["before"] == "mine: true\n"
    assert path.read_text() == "mine: true\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text("")
    assert "cannot be written" in write(tmp_path)["msg"]


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    found = run("tutor_inventory", root=str(tmp_path), path=str(tmp_path / "inventory"))
    assert found["msg"].startswith("celery_workers_tutor_root: ")
