# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""manifest_files: writes, finds nothing to do, removes; check mode only says so; wrong input is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.inventories import manifests_with
from tests.unit.modules.running import run

MANIFESTS = manifests_with({})
DEPLOYMENT = "billing/deployment-billing-worker.yaml"


def write(folder: Path, resources: Any = None, **options: Any) -> dict[str, Any]:
    given = MANIFESTS if resources is None else resources
    return run("manifest_files", path=str(folder), name="shop", resources=given, **options)


def test_create_again_change_remove_again(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert (first["changed"], first["written"], first["removed"]) == (True, [DEPLOYMENT, "kustomization.yaml"], [])
    assert first["files"] == {"Deployment billing-worker": DEPLOYMENT}
    assert (tmp_path / "shop" / DEPLOYMENT).is_file()
    again = write(tmp_path)
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])
    changed = write(tmp_path, manifests_with({"replicas": 2, "pdb": False}))
    assert (changed["changed"], changed["written"]) == (True, [DEPLOYMENT])
    assert "replicas: 2" in changed["diff"][0]["after"]
    removed = write(tmp_path, [], state="absent")
    assert removed["changed"]
    assert not (tmp_path / "shop").exists()
    assert write(tmp_path, [], state="absent")["changed"] is False
    assert not [result for result in (first, again, changed, removed) if result.get("warnings")]


def test_check_mode_says_what_it_would_write_and_writes_nothing(tmp_path: Path) -> None:
    checked = write(tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []
    real = write(tmp_path)
    assert {key: checked[key] for key in ("changed", "written", "diff")} == {
        key: real[key] for key in ("changed", "written", "diff")
    }
    write(tmp_path, [], state="absent", check=True)
    assert (tmp_path / "shop" / DEPLOYMENT).is_file()


def test_secrets_are_refused(tmp_path: Path) -> None:
    result = write(tmp_path, [{"kind": "Secret", "metadata": {"name": "x"}}])
    assert result["msg"].startswith("resources holds a Secret; write Secrets with a task of their own")


def test_a_file_of_somebody_else_is_named(tmp_path: Path) -> None:
    target = tmp_path / "shop" / DEPLOYMENT
    target.parent.mkdir(parents=True)
    target.write_text("theirs")
    assert write(tmp_path)["msg"].startswith(f"{DEPLOYMENT} in {tmp_path}/shop was not written by an earlier run")
    assert target.read_text() == "theirs"


def test_a_file_of_somebody_else_that_is_no_text_is_named_too(tmp_path: Path) -> None:
    target = tmp_path / "shop" / DEPLOYMENT
    target.parent.mkdir(parents=True)
    target.write_bytes(b"\xff\xfe\x00")
    assert write(tmp_path)["failed"]
    assert target.read_bytes() == b"\xff\xfe\x00"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = write(tmp_path / "file")
    assert "cannot be written" in result["msg"]


@pytest.mark.parametrize("resource", [{}, {"kind": "ConfigMap"}, {"kind": "ConfigMap", "metadata": {}}])
def test_a_resource_that_is_no_object_is_refused_in_one_line(tmp_path: Path, resource: dict[str, Any]) -> None:
    result = write(tmp_path, [resource])
    assert result["failed"]
    assert "\n" not in result["msg"]


@pytest.mark.parametrize("name", ["../outside", "/absolute", ""])
def test_a_tree_stays_below_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep"
    run("manifest_files", path=str(folder), name=name, resources=MANIFESTS, check=True)
    result = run("manifest_files", path=str(folder), name=name, resources=[], state="absent", check=True)
    assert result.get("failed") or Path(result["path"]).resolve().is_relative_to(folder.resolve())


def test_patches_are_written_beside_and_go_when_they_are_not_given_any_more(tmp_path: Path) -> None:
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "lms-worker", "namespace": "shop"}}
    written = write(tmp_path, patches=[patch])["written"]
    assert "patches/deployment-lms-worker.yaml" in written
    assert "lms-worker" not in (tmp_path / "shop" / "kustomization.yaml").read_text()
    assert write(tmp_path, patches=[patch])["changed"] is False
    assert write(tmp_path)["removed"] == ["patches/deployment-lms-worker.yaml"]
