# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of pods passes between people and scalers, and nothing that runs is stopped on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, Json, path_of
from tests.integration.playbook import Player, Run, write_inventory

HIGH, LOW = "shop-worker-high", "shop-worker-low"
OLD_SELECTOR: Json = {"app": "old-worker"}
SCALED: Json = {"enable_keda": True, "min_replicas": 1, "max_replicas": 9}


@dataclass
class Story:
    """Runs by name, and what was seen after each."""

    runs: dict[str, Run] = field(default_factory=dict)
    pods: dict[str, dict[str, int]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    #: What was written to the spec.replicas of each Deployment; a missing one is not listed.
    written: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)


def written_replicas(cluster: Cluster, namespace: str) -> list[tuple[str, Any]]:
    """Name and spec.replicas of every write to a Deployment that carries the field, null included."""
    prefix = path_of("Deployment", namespace)
    return [
        (request.path.rpartition("/")[2], request.body["spec"]["replicas"])
        for request in cluster.writes_to(namespace)
        if request.path.startswith(prefix) and "replicas" in ((request.body or {}).get("spec") or {})
    ]


@dataclass
class Stage:
    """Runs one step after the other in one namespace."""

    cluster: Cluster
    player: Player
    namespace: str
    story: Story = field(default_factory=Story)

    def step(self, name: str, high: Json, low: Json, *options: str) -> None:
        if self.cluster.emulator:
            self.cluster.emulator.requests.clear()
        shared = {
            "celery_workers_namespace": self.namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "redis"},
            "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
            "celery_workers_config": {"shop": {"high": high, "low": low}},
        }
        run = self.player.deploy(write_inventory(self.player.folder, {"shop": {}}, shared), *options)
        story = self.story
        story.runs[name] = run
        if self.cluster.emulator:
            story.written[name] = written_replicas(self.cluster, self.namespace)
        story.pods[name] = {one: self.cluster.replicas(self.namespace, one) for one in (HIGH, LOW)}
        story.versions[name] = self.cluster.versions(self.namespace)


class TestNumberOfPods:
    @pytest.fixture(scope="class")
    @classmethod
    def stage(cls, cluster: Cluster, player: Player, namespace: str) -> Stage:
        stage = Stage(cluster, player, namespace)
        stage.step("fixed", {"replicas": 3}, SCALED)
        stage.step("check", SCALED, SCALED, "--check", "--diff")
        stage.step("scaled", SCALED, SCALED)
        cluster.scale(namespace, HIGH, 5)
        cluster.scale(namespace, LOW, 0)
        stage.step("later", SCALED, SCALED)
        stage.step("off", {}, {})
        stage.step("again", {}, {})
        return stage

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, stage: Stage) -> Story:
        return stage.story

    def test_a_fixed_number_is_written(self, story: Story) -> None:
        assert story.runs["fixed"].changed("shop") > 0
        assert story.pods["fixed"] == {HIGH: 3, LOW: 1}

    def test_check_mode_promises_no_other_number(self, story: Story) -> None:
        run = story.runs["check"]
        assert run.changed("shop") > 0
        diffs = run.diffs("shop")
        assert "ScaledObject shop-worker-high-scaledobject" in diffs
        assert f"Deployment {HIGH}" not in diffs, diffs[f"Deployment {HIGH}"]
        assert story.versions["check"] == story.versions["fixed"]

    def test_a_scaler_takes_over_the_pods_that_run(self, story: Story) -> None:
        assert story.runs["scaled"].changed("shop") > 0
        assert story.pods["scaled"] == {HIGH: 3, LOW: 1}
        assert "ScaledObject shop-worker-high-scaledobject" in story.versions["scaled"]

    def test_the_takeover_never_writes_a_number(self, cluster: Cluster, story: Story) -> None:
        assert cluster.power
        # Not even null: an API server makes 1 of it.
        assert story.written["scaled"] == []

    def test_later_runs_leave_the_scaler_its_number(self, story: Story) -> None:
        assert story.runs["later"].changed("shop") == 0
        assert story.pods["later"] == {HIGH: 5, LOW: 0}
        assert story.written.get("later", []) == []

    def test_a_scaler_that_is_switched_off_leaves_its_pods(
        self, cluster: Cluster, namespace: str, story: Story
    ) -> None:
        assert story.runs["off"].changed("shop") > 0
        assert story.pods["off"][HIGH] == 5
        assert cluster.select("ScaledObject", namespace) == []

    def test_switching_off_at_no_pods_brings_one(self, story: Story) -> None:
        assert story.runs["off"].code == 0
        assert story.pods["off"][LOW] == 1

    def test_after_that_runs_are_unchanged(self, story: Story) -> None:
        assert story.runs["again"].changed("shop") == 0
        assert story.versions["again"] == story.versions["off"]
        assert story.pods["again"] == {HIGH: 5, LOW: 1}


class TestSelectorsAndLabelsOfOthers:
    """What an existing object has and cannot change, or what somebody else gave it, stays."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> list[Run]:
        labels = {
            "celery.queueops.io/fleet": namespace,
            "celery.queueops.io/service": "shop",
            "celery.queueops.io/variant": "high",
            "app.kubernetes.io/part-of": "the-platform",
        }
        container = {"name": "worker", "image": "registry.example/shop:0"}
        cluster.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": HIGH, "namespace": namespace, "labels": labels},
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": OLD_SELECTOR},
                    "template": {"metadata": {"labels": OLD_SELECTOR}, "spec": {"containers": [container]}},
                },
            }
        )
        shared = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
            "celery_workers_config": {"shop": {"high": {}, "low": {"replicas": 2}}},
        }
        inventory = write_inventory(folder, {"shop": {}}, shared)
        first = player.deploy(inventory)
        change = {
            "metadata": {"labels": {"app.kubernetes.io/name": "renamed", "app.kubernetes.io/managed-by": "someone"}}
        }
        cluster.patch("Deployment", namespace, LOW, change)
        return [first, player.deploy(inventory), player.deploy(inventory)]

    def test_an_older_selector_is_kept(self, cluster: Cluster, namespace: str, runs: list[Run]) -> None:
        assert runs[0].changed("shop") > 0
        spec = cluster.get("Deployment", namespace, HIGH)["spec"]
        assert spec["selector"]["matchLabels"] == OLD_SELECTOR
        assert spec["template"]["metadata"]["labels"].items() >= OLD_SELECTOR.items()
        assert spec["template"]["metadata"]["labels"]["celery.queueops.io/variant"] == "high"
        assert spec["template"]["spec"]["containers"][0]["image"] == "registry.example/shop:1"

    def test_pods_of_an_existing_deployment_stay(self, cluster: Cluster, namespace: str, runs: list[Run]) -> None:
        assert runs[0].code == 0
        assert cluster.replicas(namespace, HIGH) == 2

    def test_labels_for_people_stay_as_somebody_set_them(
        self, cluster: Cluster, namespace: str, runs: list[Run]
    ) -> None:
        assert runs[1].code == 0
        assert runs[2].changed("shop") == 0
        assert (
            cluster.get("Deployment", namespace, HIGH)["metadata"]["labels"]["app.kubernetes.io/part-of"]
            == "the-platform"
        )
        labels = cluster.get("Deployment", namespace, LOW)["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "renamed"
        assert labels["app.kubernetes.io/managed-by"] == "someone"
        assert labels["celery.queueops.io/variant"] == "low"

    def test_a_disruption_budget_covers_the_pods_of_its_deployment(
        self, cluster: Cluster, namespace: str, runs: list[Run]
    ) -> None:
        assert runs[2].code == 0
        budget = cluster.get("PodDisruptionBudget", namespace, LOW)["spec"]["selector"]["matchLabels"]
        pods = cluster.get("Deployment", namespace, LOW)["spec"]["template"]["metadata"]["labels"]
        assert budget.items() <= pods.items(), json.dumps([budget, pods])
