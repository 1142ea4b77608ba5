# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks pause and resume on a site, and the deploys between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json
from tests.integration.playbook import Player, Run, extra_vars, write_inventory

PAUSED, OURS = "autoscaling.keda.sh/paused", "celery.queueops.io/pause"
HIGH = "shop-worker-high-scaledobject"


@dataclass
class Story:
    """Runs by name, and the annotations of the variant high after each."""

    runs: dict[str, Run] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    writes: dict[str, set[str]] = field(default_factory=dict)


class TestPauseAndResume:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Story:
        story = Story()
        scaled: Json = {"enable_keda": True, "min_replicas": 1, "max_replicas": 6}
        variables: Json = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "redis"},
            "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
            "celery_workers_config": {"shop": {"default": {"replicas": 1}, "high": scaled, "low": scaled}},
        }
        inventory = write_inventory(folder, {"one": variables})

        def step(name: str, playbook: str, *options: str, json_output: bool = True, **given: object) -> None:
            before = cluster.versions(namespace)
            own = [extra_vars({f"celery_workers_{key}": value for key, value in given.items()})] if given else []
            story.runs[name] = player.play(playbook, inventory, *own, *options, json_output=json_output)
            after = cluster.versions(namespace)
            changed = {item for item in after if before.get(item) != after[item]}
            # A real KEDA sets the number of pods by it.
            story.writes[name] = {item for item in changed if cluster.emulator or not item.startswith("Deployment ")}
            live = cluster.find("ScaledObject", namespace, HIGH)
            found = (live or {"metadata": {}})["metadata"].get("annotations") or {}
            story.notes[name] = {key: value for key, value in found.items() if key.startswith((PAUSED, OURS))}

        step("first", "deploy")
        step("check", "pause", "--check", only="shop/high", pause_replicas=3)
        step("pause", "pause", only="shop/high", pause_replicas=3, pause_until="2h", pause_reason="release 42")
        step("kept", "deploy")
        step("screen", "deploy", json_output=False)
        told = json.loads(story.notes["kept"][OURS]) | {"until": "2026-01-01T00:00:00Z"}
        cluster.patch("ScaledObject", namespace, HIGH, {"metadata": {"annotations": {OURS: json.dumps(told)}}})
        step("ended", "deploy")
        step("again", "deploy")
        step("one way", "pause", pause_direction="scale_in")
        step("resume", "resume")
        step("typo", "pause", only="shop/hihg")
        step("remove", "remove", only="shop/high")
        return story

    def test_one_variant_is_paused_and_nothing_else_is_written(self, story: Story) -> None:
        assert story.runs["check"].changed("one") == 1
        assert not story.writes["check"]
        assert story.runs["pause"].changed("one") == 1
        assert story.writes["pause"] == {f"ScaledObject {HIGH}"}
        assert story.notes["pause"][f"{PAUSED}-replicas"] == "3"
        assert json.loads(story.notes["pause"][OURS])["reason"] == "release 42"

    def test_a_deploy_keeps_it_and_changes_nothing(self, story: Story) -> None:
        assert story.runs["kept"].changed("one") == 0
        assert story.notes["kept"] == story.notes["pause"]
        assert not story.writes["kept"]

    def test_people_read_of_it(self, story: Story) -> None:
        said = " ".join(story.runs["screen"].output.split())
        assert "[WARNING]: one: shop/high: paused at 3 pods by " in said
        assert "(release 42); resume it with ansible-playbook queueops.celery.resume" in said

    def test_the_first_deploy_after_its_end_takes_it_away(self, story: Story) -> None:
        assert story.runs["ended"].changed("one") == 1
        assert story.notes["ended"] == {}
        assert story.runs["again"].changed("one") == 0

    def test_a_fleet_is_paused_in_one_direction_and_resumed(self, story: Story) -> None:
        assert {item.split()[0] for item in story.writes["one way"]} == {"ScaledObject"}
        assert len(story.writes["one way"]) == 2
        assert story.notes["one way"][f"{PAUSED}-scale-in"] == "true"
        assert story.notes["resume"] == {}

    def test_a_choice_that_cannot_be_is_refused(self, story: Story) -> None:
        assert "did you mean 'high'?" in story.runs["typo"].message("one")
        assert "removes the whole fleet, and not only shop/high" in story.runs["remove"].message("one")
        assert not story.writes["typo"] | story.writes["remove"]
