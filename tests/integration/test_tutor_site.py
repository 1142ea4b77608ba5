# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample inventory on sites of the real Tutor: adopted, made like Tutor's, routed, changed by Tutor, given back."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.cluster import FLEET_LABEL, Cluster, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, extra_vars
from tests.integration.tutor import (
    ACCEPT,
    ADOPTED,
    ADOPTED_BY,
    ADOPTION,
    OWN,
    QUEUES,
    VARIANTS,
    noted,
    queues_in,
    sample_config,
    site_inventory,
    snapshot,
    start,
    without_ours,
    worker,
)
from tests.support.consumers import queues_without_consumer
from tests.support.kubernetes_emulator import RecordedRequest
from tests.support.real_tutor import manifests, render

Json = dict[str, Any]

VOLATILE_REDIS = """\
name: site
version: 1.0.0
patches:
  redis-conf: |
    maxmemory-policy volatile-lru
"""


def rendered_deployments(root: Path) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in manifests(root) if item["kind"] == "Deployment"}


def config_maps(deployment: Json) -> dict[str, str]:
    """Volume to the ConfigMap in it, as far as Tutor made them."""
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    found = {item["name"]: item["configMap"]["name"] for item in volumes if "configMap" in item}
    return {name: value for name, value in found.items() if value.startswith("openedx-")}


def assert_is_like(own: Json, source: Json) -> None:
    """Image, settings, mounts and security of a worker that we made are those of Tutor's worker."""
    ours, theirs = own["spec"]["template"]["spec"], source["spec"]["template"]["spec"]
    assert ours["securityContext"] == theirs["securityContext"] == {"runAsUser": 1000, "runAsGroup": 1000}
    assert [item for item in ours["volumes"] if item in theirs["volumes"]] == theirs["volumes"]
    mine, other = worker(own), worker(source)
    assert mine["image"] == other["image"]
    assert mine["securityContext"] == other["securityContext"]
    assert [item for item in mine["env"] if item in other["env"]] == other["env"]
    assert [item for item in mine["volumeMounts"] if item in other["volumeMounts"]] == other["volumeMounts"]


@dataclass
class Story:
    """Runs by name, and what the cluster had after each step."""

    root: Path
    plugins: Path
    runs: dict[str, Run] = field(default_factory=dict)
    deployments: dict[str, dict[str, Json]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    requests: dict[str, list[RecordedRequest]] = field(default_factory=dict)
    scaled_objects: dict[str, Json] = field(default_factory=dict)
    plugin_in_check_mode: bool = False

    def changes(self, before: str, after: str) -> set[str]:
        """What was made, changed or deleted between two steps."""
        old, new = self.versions[before], self.versions[after]
        return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}

    def writes(self, step: str) -> list[RecordedRequest]:
        return [one for one in self.requests[step] if one.is_write and not one.is_dry_run]


class TestTutorSite:
    """Tutor's newest release, from the first run to the last."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Story:
        def observe(step: str) -> None:
            story.deployments[step] = snapshot(cluster, namespace)
            story.versions[step] = cluster.versions(namespace)
            story.names[step] = cluster.names(namespace)

        def step(name: str, *options: str) -> None:
            begin = len(cluster.power.requests)
            story.runs[name] = player.deploy(inventory, *options)
            story.requests[name] = list(cluster.power.requests[begin:])
            observe(name)

        def start_tutor(name: str, **settings: object) -> None:
            render("22.0.3", story.root, settings={"K8S_NAMESPACE": namespace, **settings})
            start(cluster, manifests(story.root))
            observe(name)

        story = Story(folder / "site", folder / "plugins")
        variables = {"celery_workers_namespace": namespace, "celery_workers_tutor_plugins_root": str(story.plugins)}
        inventory = site_inventory(folder, {"site": {**variables, **ACCEPT}})
        unwaited: Json = {"celery_workers_wait": False}
        start_tutor("tutor")
        cluster.power.requests.clear()
        step("check", "--check", "--diff")
        story.plugin_in_check_mode = story.plugins.exists()
        step("first")
        story.scaled_objects = snapshot(cluster, namespace, "ScaledObject")
        step("second", extra_vars(unwaited))
        start_tutor("tutor again", PLATFORM_NAME="Another name")
        step("third", extra_vars(unwaited))
        step("fourth", extra_vars(unwaited))
        config = {**sample_config(), "lms": sample_config(adopt=False)["lms"]}
        left = extra_vars({"celery_workers_config": config, **unwaited})
        step("left alone", left)
        step("left alone again", left)
        step("adopted again", extra_vars(unwaited))
        step("absent", extra_vars({"celery_workers_state": "absent"}))
        return story

    def test_check_mode_shows_the_adoption_and_changes_nothing(self, story: Story) -> None:
        assert story.runs["check"].changed("site") > 0
        assert story.writes("check") == []
        assert story.versions["check"] == story.versions["tutor"]
        assert not story.plugin_in_check_mode
        shown = [pair for name, pair in story.runs["check"].diffs("site").items() if name.endswith("lms-worker")]
        assert any("--queues=edx.lms.core.default\n" in after for _before, after in shown), shown

    def test_tutors_own_workers_keep_everything_but_queues_and_grace_period(self, story: Story) -> None:
        assert story.runs["first"].changed("site") > 0
        for name in ADOPTED:
            service = name.removesuffix("-worker")
            before, after = story.deployments["tutor"][name], story.deployments["first"][name]
            queues = ",".join(f"edx.{service}.core.{variant}" for variant in VARIANTS[service])
            assert queues_in(before) == [f"--queues={queues}"]
            assert queues_in(after) == [f"--queues=edx.{service}.core.default"]
            assert without_ours(after) == without_ours(before)
            assert after["spec"]["replicas"] == before["spec"]["replicas"]
            assert after["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 930
            assert noted(after)["words"] == worker(before)["args"]
            assert noted(after)["grace"] == 30
            assert FLEET_LABEL not in after["metadata"]["labels"]

    def test_new_workers_are_like_tutors(self, story: Story) -> None:
        found = story.deployments["first"]
        rendered = story.deployments["tutor"]
        assert found.keys() - rendered.keys() == OWN
        for name in OWN:
            assert_is_like(found[name], rendered[f"{name.partition('-')[0]}-worker"])
        queues = {name: queues_in(found[name]) for name in OWN}
        assert queues["lms-worker-high-mem"] == ["--queues=edx.lms.core.high_mem"]

    def test_everything_is_scaled_and_adopted_workers_keep_one_pod(self, story: Story) -> None:
        found = story.scaled_objects
        assert set(found) == {f"{name}-scaledobject" for name in ADOPTED | OWN}
        least = {name: item["spec"]["minReplicaCount"] for name, item in found.items()}
        assert {name for name, count in least.items() if count == 1} == {f"{name}-scaledobject" for name in ADOPTED}
        for name, item in found.items():
            assert item["spec"]["scaleTargetRef"]["name"] == name.removesuffix("-scaledobject")

    def test_routes_are_delivered_as_a_plugin(self, story: Story) -> None:
        text = (story.plugins / "queueops_celery.py").read_text(encoding="utf-8")
        assert "edx.lms.core.high_mem" in text

    def test_a_redis_that_throws_queues_away_is_named(self, story: Story) -> None:
        assert "Redis redis has maxmemory-policy allkeys-lru" in story.runs["first"].warnings

    @pytest.mark.parametrize("step", ["second", "fourth", "left alone again"])
    def test_the_same_run_again_changes_nothing(self, story: Story, step: str) -> None:
        assert story.runs[step].changed("site") == 0
        before = {"second": "first", "fourth": "third", "left alone again": "left alone"}[step]
        assert story.changes(before, step) == set()

    def test_tutor_writes_its_own_command_line_back(self, story: Story) -> None:
        """What the next test is about did happen."""
        for name in ADOPTED:
            again = story.deployments["tutor again"][name]
            assert worker(again)["args"] == worker(story.deployments["tutor"][name])["args"]
            assert config_maps(again) != config_maps(story.deployments["first"][name])

    def test_after_a_new_start_of_tutor_workers_follow_and_nothing_else_moves(self, story: Story) -> None:
        assert story.runs["third"].changed("site") > 0
        assert story.changes("tutor again", "third") == {f"Deployment {name}" for name in ADOPTED | OWN}
        before, after = story.deployments["tutor again"], story.deployments["third"]
        for name in ADOPTED:
            assert queues_in(after[name]) == [f"--queues=edx.{name.partition('-')[0]}.core.default"]
            assert without_ours(after[name]) == without_ours(before[name])
            assert noted(after[name])["words"] == worker(before[name])["args"]
            # Tutor writes none, so ours stood there, and that is not what was before.
            assert noted(after[name])["grace"] == 30
        for name in OWN:
            source = after[f"{name.partition('-')[0]}-worker"]
            assert_is_like(after[name], source)
            assert config_maps(after[name]) == config_maps(source)

    def test_without_adoption_tutor_has_its_worker_back_and_the_rest_stays(self, story: Story) -> None:
        assert story.runs["left alone"].changed("site") > 0
        restored(story, "left alone", "lms-worker")
        lms = {f"{kind} lms-worker" for kind in ("Deployment", "PodDisruptionBudget")}
        gone = {"ScaledObject lms-worker-scaledobject", "PodDisruptionBudget lms-worker"}
        assert story.names["fourth"] - story.names["left alone"] == gone
        hpa = "HorizontalPodAutoscaler keda-hpa-lms-worker-scaledobject"
        assert story.changes("fourth", "left alone") == lms | gone | {hpa}
        kept = story.deployments["left alone"]["cms-worker"]
        assert queues_in(kept) == ["--queues=edx.cms.core.default"]

    def test_it_can_be_adopted_again(self, story: Story) -> None:
        again = story.deployments["adopted again"]["lms-worker"]
        assert again["spec"]["template"] == story.deployments["fourth"]["lms-worker"]["spec"]["template"]
        assert noted(again) == noted(story.deployments["fourth"]["lms-worker"])
        assert story.names["adopted again"] == story.names["fourth"]

    def test_the_end_is_tutors_site_as_it_was(self, story: Story) -> None:
        assert story.runs["absent"].changed("site") > 0
        assert story.names["absent"] == story.names["tutor again"] - (story.names["first"] - story.names["tutor"])
        for name in ADOPTED:
            restored(story, "absent", name)
        deleted = [one.path for one in story.writes("absent") if one.method == "DELETE" and "/deployments/" in one.path]
        assert {path.rpartition("/")[2] for path in deleted} == OWN

    def test_every_queue_has_a_consumer_at_every_moment(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert len(story.requests["absent"]) > 0
        assert queues_without_consumer(cluster.requests_of(namespace), namespace, QUEUES) == {}


def restored(story: Story, step: str, name: str) -> None:
    """A Deployment is as Tutor has it, without a trace of ours."""
    found, wanted = story.deployments[step][name], copy.deepcopy(story.deployments["tutor again"][name]["spec"])
    wanted["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    assert found["spec"] == wanted
    assert worker(found)["args"] == worker(rendered_deployments(story.root)[name])["args"]
    assert ADOPTED_BY not in found["metadata"]["labels"]
    assert ADOPTION not in found["metadata"]["annotations"]


@dataclass
class OlderStory:
    """Two runs on a cluster, and one that writes files."""

    root: Path
    folder: Path
    tutor: dict[str, Json]
    first: Run
    second: Run
    files: Run
    patches: dict[str, Json]
    deployments: dict[str, Json]
    empty: str
    empty_requests: list[RecordedRequest]

    @property
    def kustomization(self) -> Path:
        (found,) = self.folder.rglob("patches")
        return found.parent


class TestOlderTutor:
    """The release before, whose Redis was told to keep queues; and a namespace without a site."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> OlderStory:
        root = render(
            "21.0.9",
            folder / "site",
            settings={"K8S_NAMESPACE": namespace},
            plugin_files={"site.yml": VOLATILE_REDIS},
        )
        start(cluster, manifests(root))
        tutor = snapshot(cluster, namespace)
        shared = {"celery_workers_tutor_plugins_root": str(folder / "plugins"), **ACCEPT}
        empty = new_namespace_name("empty")
        hosts = {
            "site": {"celery_workers_namespace": namespace, "celery_workers_openedx_release": "ulmo", **shared},
            "empty": {"celery_workers_namespace": empty, **shared},
        }
        inventory = site_inventory(folder, hosts)
        with namespaces(cluster, empty):
            first = player.deploy(inventory)
            patches = {
                one.path.rpartition("/")[2]: one.body
                for one in cluster.writes_to(namespace)
                if one.method == "PATCH" and one.path.rpartition("/")[2] in ADOPTED and "/deployments/" in one.path
            }
            empty_requests = cluster.writes_to(empty)
        second = player.deploy(inventory, "--limit=site", extra_vars({"celery_workers_wait": False}))
        deployments = snapshot(cluster, namespace)
        output = {"celery_workers_output": "manifests", "celery_workers_manifests_dir": str(folder / "files")}
        rendered = {**output, "celery_workers_tutor_root": str(root)}
        files = player.deploy(inventory, "--limit=site", extra_vars(rendered))
        return OlderStory(
            root, folder / "files", tutor, first, second, files, patches, deployments, empty, empty_requests
        )

    def test_it_is_adopted_and_inherited_once(self, story: OlderStory) -> None:
        assert story.first.changed("site") > 0
        assert story.second.changed("site") == 0
        assert story.deployments.keys() - story.tutor.keys() == OWN
        for name in ADOPTED:
            assert queues_in(story.deployments[name]) == [f"--queues=edx.{name.partition('-')[0]}.core.default"]
            assert without_ours(story.deployments[name]) == without_ours(story.tutor[name])
        for name in OWN:
            assert_is_like(story.deployments[name], story.deployments[f"{name.partition('-')[0]}-worker"])
        assert worker(story.deployments["lms-worker-high"])["image"].endswith("openedx:21.0.9")

    def test_a_redis_that_keeps_queues_is_not_named(self, story: OlderStory) -> None:
        assert "maxmemory-policy" not in story.first.warnings

    def test_without_a_site_the_message_says_what_to_do_and_nothing_is_sent(self, story: OlderStory) -> None:
        message = story.first.message("empty")
        assert "inherit_from" in message
        assert "lms-worker" in message
        assert "tutor k8s start" in message
        assert story.empty in message
        assert story.empty_requests == []

    def test_files_from_the_rendered_project_are_what_the_cluster_run_sends(self, story: OlderStory) -> None:
        assert story.files.changed("site") > 0
        kustomization = yaml.safe_load((story.kustomization / "kustomization.yaml").read_text(encoding="utf-8"))
        assert not kustomization.get("patches"), "a patch without its target among the resources fails the build"
        for name in ADOPTED:
            text = (story.kustomization / "patches" / f"deployment-{name}.yaml").read_text(encoding="utf-8")
            assert yaml.safe_load(text) == story.patches[name]

    def test_files_name_the_config_maps_that_kustomize_makes(self, story: OlderStory) -> None:
        rendered = rendered_deployments(story.root)
        found = {}
        for file in story.kustomization.rglob("*.yaml"):
            for item in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                if item and item.get("kind") == "Deployment" and "patches" not in file.parts:
                    found[item["metadata"]["name"]] = item
        assert set(found) == OWN
        for name, item in found.items():
            source = rendered[f"{name.partition('-')[0]}-worker"]
            assert config_maps(item) == config_maps(source)
            assert worker(item)["image"] == worker(source)["image"] == worker(story.deployments[name])["image"]
            assert worker(item)["args"] == worker(story.deployments[name])["args"]
