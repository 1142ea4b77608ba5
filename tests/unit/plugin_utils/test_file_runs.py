# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that write files: selectors of the files before, the namespace of a Tutor project, and hosts that are gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import PLAN

from tests.unit import tutor_trees
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, run

QUEUE = "edx.lms.core.high_mem"
#: One that tutor-contrib-celery makes.
CONTRIB = "lms-worker-high-mem"
SERVICE = {"image": IMAGE, "app": "billing.celery", "idempotent": True, "longest_task_seconds": 60}
BROKER = {"host": "redis", "secret": {"name": "redis", "password_key": "password"}}


def files(folder: Path, **variables: Any) -> Object:
    """One run that writes files for the host one."""
    given = {"output": "manifests", "manifests_dir": str(folder / "build"), **variables}
    return run(ModelCluster(), **given)


def billing(folder: Path, **variables: Any) -> Object:
    """The same for one service."""
    config = variables.pop("config", {"default": {"replicas": 2, "pdb": {}}})
    given = {"services": {"billing": SERVICE}, "config": {"billing": config}, "broker": BROKER, **variables}
    return files(folder, **given)


def done(result: Object) -> Object:
    assert not result.get("failed"), result["msg"]
    return result


def made(folder: Path, name: str) -> Object:
    """The Deployment in the files of the host."""
    [path] = (folder / "build/one").rglob(f"deployment-{name}.yaml")
    found: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def site(root: Path, *more: Object, namespace: str = "openedx") -> str:
    objects = [*tutor_trees.default_workers(), *more]
    return str(tutor_trees.project(root, objects, namespace=namespace))


def platform(folder: Path, root: str, **variables: Any) -> Object:
    """A run over a Tutor site that takes over what tutor-contrib-celery has made."""
    given = {
        "preset": "openedx",
        "namespace": "openedx",
        "take_over": True,
        "tutor_root": root,
        "versions": {},
        "config": {"lms": {"high_mem": {"name": CONTRIB, "replicas": 2}}},
        **variables,
    }
    return files(folder, **given)


def test_a_file_that_took_a_deployment_over_keeps_its_selector_when_the_plugin_is_gone(tmp_path: Path) -> None:
    theirs = tutor_trees.worker("lms", CONTRIB, QUEUE)
    done(platform(tmp_path, site(tmp_path / "before", theirs)))
    first = made(tmp_path, CONTRIB)
    assert first["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": CONTRIB}
    root = site(tmp_path / "after")
    done(platform(tmp_path, root))
    after = made(tmp_path, CONTRIB)
    assert after["spec"]["selector"] == first["spec"]["selector"]
    assert after["spec"]["template"]["metadata"]["labels"] == first["spec"]["template"]["metadata"]["labels"]
    assert done(platform(tmp_path, root))["changed"] is False


def rewritten(folder: Path, name: str, selector: Object) -> None:
    """The Deployment file of a run before that had another selector."""
    [path] = (folder / "build/one").rglob(f"deployment-{name}.yaml")
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["spec"]["selector"]["matchLabels"] = selector
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")


@pytest.mark.parametrize("name", ["billing-worker", "flower", "billing-beat"])
def test_every_deployment_keeps_the_selector_of_its_file_and_its_pods_carry_it(tmp_path: Path, name: str) -> None:
    variables: Object = {
        "services": {"billing": {**SERVICE, "beat": {}}},
        "flower_enabled": True,
        "flower": {"secret": {"name": "flower"}},
    }
    done(billing(tmp_path, **variables))
    rewritten(tmp_path, name, {"app": "old"})
    done(billing(tmp_path, **variables))
    found = made(tmp_path, name)
    assert found["spec"]["selector"]["matchLabels"] == {"app": "old"}
    assert found["spec"]["template"]["metadata"]["labels"]["app"] == "old"
    # A file of ours says nothing of a server's defaults.
    assert None not in found["spec"]["strategy"].values()


def test_a_selector_in_a_file_that_the_index_does_not_list_says_nothing(tmp_path: Path) -> None:
    done(billing(tmp_path))
    wanted = made(tmp_path, "billing-worker")
    other = tmp_path / "build/one/mine/deployment-billing-worker.yaml"
    other.parent.mkdir()
    foreign = {**wanted, "spec": {**wanted["spec"], "selector": {"matchLabels": {"app": "mine"}}}}
    other.write_text(yaml.safe_dump(foreign), encoding="utf-8")
    assert done(billing(tmp_path))["changed"] is False


def test_a_deployment_in_another_namespace_is_another_one(tmp_path: Path) -> None:
    done(billing(tmp_path))
    wanted = made(tmp_path, "billing-worker")["spec"]["selector"]
    rewritten(tmp_path, "billing-worker", {"app": "old"})
    done(billing(tmp_path, namespace="elsewhere"))
    assert made(tmp_path, "billing-worker")["spec"]["selector"] == wanted


def test_a_file_before_that_is_no_yaml_stops_the_run_before_anything_is_written(tmp_path: Path) -> None:
    done(billing(tmp_path))
    [path] = (tmp_path / "build/one").rglob("deployment-billing-worker.yaml")
    path.write_text("<<<<<<< ours\na: [\n", encoding="utf-8")
    found = billing(tmp_path)
    assert found["failed"]
    assert found["msg"].startswith(f"{path} is no YAML any more")
    assert path.read_text(encoding="utf-8") == "<<<<<<< ours\na: [\n"


def test_a_name_that_moves_to_another_variant_is_refused(tmp_path: Path) -> None:
    done(billing(tmp_path, config={"default": {"name": "payer"}}))
    config = {"default": {"name": "clerk"}, "high": {"name": "payer"}}
    found = billing(tmp_path, config=config)
    [problem] = found["problems"]
    assert "the file of Deployment payer was written for variant default of service billing" in problem
    assert "Set name on variant high" in problem


def test_a_project_of_another_namespace_is_refused_with_both_names(tmp_path: Path) -> None:
    root = site(tmp_path / "site", namespace="learning")
    found = platform(tmp_path, root)
    [problem] = found["problems"]
    assert problem.startswith("celery_workers_namespace: ")
    assert "runs in the namespace learning, not in openedx" in problem
    assert "Write celery_workers_namespace: learning" in problem
    assert not (tmp_path / "build").exists()
    done(platform(tmp_path, root, namespace="learning"))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"services": {"billing": {**SERVICE, "inherit_from": "lms"}}}, "are made like Deployment lms"),
        ({"config": {"default": {"adopt": True, "name": "lms-worker"}}}, "adopts Deployment lms-worker"),
        (
            {"config": {"default": {"name": "lms-worker"}}, "take_over": True},
            "Deployment lms-worker is taken over",
        ),
    ],
)
def test_each_use_of_a_project_needs_its_namespace(tmp_path: Path, variables: Object, words: str) -> None:
    objects = (tutor_trees.deployment("lms"),)
    root = site(tmp_path / "site", *objects, namespace="learning")
    found = billing(tmp_path, tutor_root=root, **variables)
    assert len(found["problems"]) == 1
    assert words in found["problems"][0]


def test_workers_that_use_nothing_of_a_project_may_run_anywhere(tmp_path: Path) -> None:
    done(billing(tmp_path, tutor_root=site(tmp_path / "site", namespace="learning"), take_over=True))


HOSTS = ("one", "two")


def left_behind(folder: Path, name: str = "north") -> Path:
    """A folder that a run has written for another host."""
    done(billing(folder))
    (folder / "build/one").rename(folder / f"build/{name}")
    return folder / "build" / name


@pytest.mark.parametrize("state", ["present", "absent"])
def test_the_folder_of_a_host_that_is_gone_is_named_and_stays(tmp_path: Path, state: str) -> None:
    folder = left_behind(tmp_path)
    before = sorted(folder.rglob("*"))
    [warning] = done(billing(tmp_path, hosts=HOSTS, state=state))["warnings"]
    assert f"{folder} was written for a host that is no longer in the inventory" in warning
    assert "celery_workers_manifests_prune: true" in warning
    assert sorted(folder.rglob("*")) == before


def test_it_is_removed_on_request_and_files_of_others_stay(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    theirs = folder / "billing/notes.txt"
    theirs.write_text("mine", encoding="utf-8")
    checked = done(billing(tmp_path, hosts=HOSTS, manifests_prune=True, checks=True))
    assert (folder / "kustomization.yaml").is_file()
    found = done(billing(tmp_path, hosts=HOSTS, manifests_prune=True))
    gone = [item["before_header"] for item in found["diff"] if item["after_header"] == "/dev/null"]
    assert f"{folder}/kustomization.yaml" in gone
    assert checked["diff"] == found["diff"]
    assert "would be removed" in " ".join(checked["notes"])
    assert "is removed" in " ".join(found["notes"])
    assert (checked["changed"], found["changed"]) == (True, True)
    assert [path for path in folder.rglob("*") if path.is_file()] == [theirs]
    assert done(billing(tmp_path, hosts=HOSTS, manifests_prune=True))["changed"] is False


def test_its_folder_goes_when_nothing_else_is_in_it(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    done(billing(tmp_path, hosts=HOSTS, manifests_prune=True))
    assert not folder.exists()
    assert made(tmp_path, "billing-worker")


def test_hosts_of_the_inventory_and_folders_of_others_are_never_touched(tmp_path: Path) -> None:
    left_behind(tmp_path, "two")
    for name, content in (("theirs", None), ("broken", "{"), ("other", json.dumps({"files": "all"}))):
        (tmp_path / "build" / name).mkdir()
        (tmp_path / "build" / name / "file.yaml").write_text("a: 1", encoding="utf-8")
        if content is not None:
            (tmp_path / "build" / name / ".celery-manifests.json").write_text(content, encoding="utf-8")
    target = tmp_path / "elsewhere"
    (tmp_path / "build/two").rename(target)
    (tmp_path / "build/link").symlink_to(target)
    left_behind(tmp_path, "two")
    before = sorted(path for path in tmp_path.rglob("*") if "build/one" not in str(path))
    found = done(billing(tmp_path, hosts=HOSTS, manifests_prune=True))
    assert "warnings" not in found
    assert sorted(path for path in tmp_path.rglob("*") if "build/one" not in str(path)) == before


def test_a_run_that_only_plans_removes_nothing(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    done(billing(tmp_path, hosts=HOSTS, manifests_prune=True, reaches=PLAN))
    assert (folder / "kustomization.yaml").is_file()


_MOUNTED: Object = {
    "volumes": [{"name": "settings", "configMap": {"name": "openedx-settings-lms"}}],
    "volume_mounts": [{"name": "settings", "mountPath": "/openedx/settings"}],
}


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("volumes", _MOUNTED),
        (
            "volumes",
            {
                "volumes": [
                    {"name": "s", "projected": {"sources": [{"configMap": {"name": "openedx-config-0123456789"}}]}}
                ]
            },
        ),
        ("env_from", {"env_from": [{"configMapRef": {"name": "openedx-settings-cms"}}]}),
        (
            "sidecars",
            {"sidecars": [{"name": "s", "image": "s:1", "envFrom": [{"configMapRef": {"name": "openedx-config"}}]}]},
        ),
        ("pod_overrides", {"pod_overrides": {"volumes": _MOUNTED["volumes"]}}),
    ],
)
@pytest.mark.parametrize("place", ["services", "config"])
def test_a_config_map_of_a_site_in_another_namespace_is_refused(
    tmp_path: Path, place: str, key: str, keys: Object
) -> None:
    root = site(tmp_path / "site", tutor_trees.deployment("lms"), namespace="learning")
    own = {"services": {"billing": {**SERVICE, **keys}}} if place == "services" else {"config": {"default": keys}}
    found = billing(tmp_path, tutor_root=root, **own)
    [problem] = found["problems"]
    written = "services.billing" if place == "services" else "config.billing.default"
    assert problem.startswith(f"celery_workers_{written}.{key}: there is no ConfigMap openedx-")
    assert "Tutor's are in learning" in problem
    assert not (tmp_path / "build").exists()


def test_a_config_map_that_may_be_missing_is_taken(tmp_path: Path) -> None:
    root = site(tmp_path / "site", tutor_trees.deployment("lms"), namespace="learning")
    keys = {"env_from": [{"configMapRef": {"name": "openedx-config", "optional": True}}]}
    done(billing(tmp_path, tutor_root=root, config={"default": keys}))


def test_files_of_a_fleet_that_had_another_name_are_refused(tmp_path: Path) -> None:
    done(billing(tmp_path, config={"default": {}, "high": {}}))
    before = made(tmp_path, "billing-worker")
    found = billing(tmp_path, fleet="renamed", config={"default": {}, "high": {}})
    [problem] = found["problems"]
    assert problem.startswith("celery_workers_fleet: the files were written for the fleet shop, and this run is for")
    assert "Write celery_workers_fleet: shop, or" in problem
    assert made(tmp_path, "billing-worker") == before
    done(billing(tmp_path, fleet="shop", config={"default": {}, "high": {}}))
