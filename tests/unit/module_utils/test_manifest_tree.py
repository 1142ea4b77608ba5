# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of manifest files: the same bytes for the same input, ours alone, and never anything outside of it."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import adoptions
from ansible_collections.queueops.celery.plugins.module_utils._cluster.manifest_tree import (
    INDEX,
    OutsideError,
    empty_tree,
    plan_tree,
    tree_diff,
    write_tree,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import as_yaml
from ruamel.yaml import YAML

from tests.unit import others
from tests.unit.inventories import SCALED, fleet_of, manifests_with, one_variant

MANIFESTS = manifests_with(SCALED)


def written(root: Path, manifests: list[dict[str, Any]]) -> dict[str, bytes]:
    write_tree(root, plan_tree(root, manifests))
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_tree_holds_every_object_and_a_kustomization_that_lists_them(tmp_path: Path) -> None:
    files = written(tmp_path, MANIFESTS)
    resources = yaml.safe_load(files["kustomization.yaml"])["resources"]
    assert sorted(resources) == sorted(set(files) - {"kustomization.yaml", INDEX})
    assert [yaml.safe_load(files[name]) for name in resources] == MANIFESTS
    assert "billing/deployment-billing-worker.yaml" in resources


def test_a_second_run_changes_nothing_and_another_folder_gets_the_same_bytes(tmp_path: Path) -> None:
    first = written(tmp_path / "a", MANIFESTS)
    plan = plan_tree(tmp_path / "a", MANIFESTS)
    assert (plan.changed, plan.stale, plan.foreign) == ([], (), ())
    assert tree_diff(tmp_path / "a", plan) == []
    assert written(tmp_path / "b", MANIFESTS) == first


def test_a_file_that_nothing_asks_for_any_more_goes_with_its_folder(tmp_path: Path) -> None:
    written(tmp_path, MANIFESTS)
    plan = plan_tree(tmp_path, [])
    assert "billing/deployment-billing-worker.yaml" in plan.stale
    write_tree(tmp_path, plan)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([INDEX, "kustomization.yaml"])


def test_files_of_others_are_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "deployment-billing-worker.yaml").write_text("theirs")
    (tmp_path / "notes.txt").write_text("theirs")
    assert plan_tree(tmp_path, MANIFESTS).foreign == ("billing/deployment-billing-worker.yaml",)
    assert plan_tree(tmp_path, []).stale == ()


@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/hostname", "a/../../outside.yaml", "", ".", 5, None])
def test_an_index_leads_to_nothing_outside_of_the_tree(tmp_path: Path, name: Any) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    outside = tmp_path / "outside.yaml"
    outside.write_text("theirs")
    (root / INDEX).write_text(json.dumps({"files": [name]}))
    for plan in (plan_tree(root, []), empty_tree(root)):
        assert set(plan.stale) <= {INDEX}
        write_tree(root, plan)
    assert outside.read_text() == "theirs"


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", '{"files": null}', '{"files": 5}'])
def test_a_broken_index_owns_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    (tmp_path / "a").write_text("theirs")
    assert plan_tree(tmp_path, []).stale == ()


def test_a_link_in_the_tree_is_not_followed_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.yaml").write_text("theirs")
    root = tmp_path / "tree"
    root.mkdir()
    (root / "sub").symlink_to(outside)
    (root / INDEX).write_text(json.dumps({"files": ["sub/x.yaml"]}))
    write_tree(root, plan_tree(root, []))
    assert (outside / "x.yaml").exists()


@pytest.mark.parametrize(
    "metadata", [{"name": "../../x"}, {"name": "a/b"}, {"name": "x", "labels": {"celery.queueops.io/service": "../.."}}]
)
def test_no_name_of_an_object_leads_out_of_the_tree(tmp_path: Path, metadata: dict[str, Any]) -> None:
    root = tmp_path / "deep" / "tree"
    with contextlib.suppress(OutsideError):
        write_tree(root, plan_tree(root, [{"kind": "ConfigMap", "metadata": metadata}]))
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and root not in path.parents]
    assert outside == []


def test_everything_of_an_earlier_run_goes_and_the_folder_with_it(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    written(root, MANIFESTS)
    write_tree(root, empty_tree(root))
    assert not root.exists()
    assert empty_tree(root).stale == ()


def test_files_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        written(tmp_path, MANIFESTS)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o640}


def test_files_of_another_task_are_listed_and_never_touched(tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text("theirs")
    plan = plan_tree(tmp_path, MANIFESTS, ["secrets.yaml"])
    write_tree(tmp_path, plan)
    assert "secrets.yaml" in yaml.safe_load((tmp_path / "kustomization.yaml").read_text())["resources"]
    assert (tmp_path / "secrets.yaml").read_text() == "theirs"
    assert plan_tree(tmp_path, MANIFESTS).stale == ("secrets.yaml",)


def test_a_secret_that_goes_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text("kind: Secret\ndata:\n  password: aHVudGVyMg==\n")
    (tmp_path / INDEX).write_text(json.dumps({"files": ["secrets.yaml"]}))
    assert "aHVudGVyMg" not in str(tree_diff(tmp_path, plan_tree(tmp_path, [])))


PATCHES = adoptions(
    fleet_of(**one_variant({**SCALED, "adopt": True}), observed=others.seen(others.deployment("billing-worker"))),
    others.seen(others.deployment("billing-worker")),
)


def test_patches_of_others_objects_stand_beside_and_in_no_kustomization(tmp_path: Path) -> None:
    """kustomize would refuse a patch of an object that the tree does not have."""
    write_tree(tmp_path, plan_tree(tmp_path, MANIFESTS, patches=PATCHES))
    (name,) = [str(path.relative_to(tmp_path)) for path in (tmp_path / "patches").rglob("*.yaml")]
    assert yaml.safe_load((tmp_path / name).read_text()) == PATCHES[0]
    resources = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())["resources"]
    assert not [item for item in resources if item.startswith("patches")]
    assert "billing/deployment-billing-worker.yaml" in resources
    assert name in json.loads((tmp_path / INDEX).read_text())["files"]


def test_a_patch_that_nothing_asks_for_any_more_goes_with_its_folder(tmp_path: Path) -> None:
    write_tree(tmp_path, plan_tree(tmp_path, MANIFESTS, patches=PATCHES))
    assert plan_tree(tmp_path, MANIFESTS, patches=PATCHES).changed == []
    plan = plan_tree(tmp_path, MANIFESTS)
    assert [name.partition("/")[0] for name in plan.stale] == ["patches"]
    write_tree(tmp_path, plan)
    assert not (tmp_path / "patches").exists()


@pytest.mark.parametrize(
    "text", ["1e3", "12e45", "1.5e3", "0o17", "0x1F", "1_000", "1:30", "yes", "null", "~", "=", "01", ".5", ""]
)
def test_text_stays_text_for_every_reader_of_yaml(text: str) -> None:
    """kubectl and kustomize read YAML 1.2, PyYAML 1.1: what one takes for text may be a number to the other."""
    document = as_yaml({"value": text})
    assert yaml.safe_load(document) == {"value": text}
    assert YAML(typ="safe", pure=True).load(document) == {"value": text}


def test_a_long_text_stays_on_one_line() -> None:
    text = "celery " * 60 + "worker"
    assert as_yaml({"args": [text]}) == f"args:\n- {text}\n"
