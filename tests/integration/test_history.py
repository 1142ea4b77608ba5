# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a fleet, what status makes of it, and runs that end with exit code 2 where something differs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, path_of
from tests.integration.playbook import Player, Run, write_inventory

DEPLOYMENT, PASSWORD = "shop-worker", "s3cr3t-Tr0ub4dor"
#: By the clock, with its day if midnight has passed since.
MOMENT = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d"
DRIFT = "-e=celery_workers_fail_on_drift=true"


@dataclass
class Story:
    """Runs by name, and what each wrote."""

    runs: dict[str, Run] = field(default_factory=dict)
    writes: dict[str, list[str]] = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)


class TestHistoryAndDrift:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Story:
        power, story = cluster.power, Story()
        name = f"{namespace}-celery-history"
        variables: Json = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "redis", "password": PASSWORD},
            "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
            "celery_workers_config": {"shop": {"default": {"replicas": 1}}},
        }
        inventory = write_inventory(folder, {"one": variables})

        def step(title: str, playbook: str, *options: str, json_output: bool = True) -> None:
            power.requests.clear()
            story.runs[title] = player.play(playbook, inventory, *options, json_output=json_output)
            story.writes[title] = [one.path for one in cluster.writes_to(namespace) if not one.path.endswith("/exec")]

        # Another run is faster each time that this one creates its Secret, and takes it away before it can be seen.
        secrets = f"{path_of('Secret', namespace)}$"
        power.fail("POST", secrets, status=409, reason="AlreadyExists", message="it exists", times=2)
        step("overtaken", "deploy")
        step("first", "deploy")
        step("again", "deploy")
        step("seen", "status", DRIFT, json_output=False)
        cluster.set_image(namespace, DEPLOYMENT, "registry.example/shop:2")
        step("drifted", "status", DRIFT, json_output=False)
        step("checked", "deploy", "--check", DRIFT)
        step("orders", "deploy", "-e=celery_workers_pause_until=2h")
        power.fail("PATCH", f"configmaps/{name}$", status=403, reason="Forbidden", message="configmaps is forbidden")
        step("repaired", "deploy")
        story.history = json.loads(cluster.get("ConfigMap", namespace, name)["data"]["history.json"])
        step("removed", "remove")
        return story

    def test_a_secret_that_another_run_created_meanwhile_is_not_taken_for_ours(self, story: Story) -> None:
        run = story.runs["overtaken"]
        assert run.code == 2
        assert "was refused: Conflict: another one created it at the same time" in run.message("one")
        assert story.runs["first"].code == 0

    def test_a_run_that_changes_something_leaves_a_record_and_an_unchanged_one_writes_nothing(
        self, story: Story
    ) -> None:
        (record,) = story.history
        assert record["what"] == "deploy"
        assert record["by"]
        assert f"Deployment {DEPLOYMENT}" in record["created"]["names"]
        assert story.runs["again"].changed("one") == 0
        assert story.writes["again"] == []
        assert PASSWORD not in json.dumps(story.history)

    def test_status_tells_of_the_last_deploy(self, story: Story) -> None:
        run = story.runs["seen"]
        assert run.code == 0
        by, count = re.escape(story.history[0]["by"]), story.history[0]["created"]["count"]
        told = rf"last deploy: {MOMENT} by {by}, {count} created \(collection \d+\.\d+\.\d+\)"
        assert re.search(told, run.stdout)

    def test_drift_ends_a_status_with_code_2_and_says_since_when_it_may_be(self, story: Story) -> None:
        run = story.runs["drifted"]
        assert run.code == 2
        said = " ".join(run.stdout.split())
        assert re.search(
            rf"not as the inventory says since the deploy of {MOMENT}: Deployment shop-worker spec\S+image: ", said
        )
        assert f"1 object is not as the inventory says: Deployment {DEPLOYMENT}." in said
        assert story.writes["drifted"] == []

    def test_drift_ends_a_deploy_in_check_mode_with_code_2(self, story: Story) -> None:
        run = story.runs["checked"]
        assert run.code == 2
        assert f"1 object is not as the inventory says: Deployment {DEPLOYMENT}." in run.message("one")
        assert story.writes["checked"] == []

    def test_an_order_for_another_playbook_stops_a_deploy(self, story: Story) -> None:
        assert story.runs["orders"].code == 2
        said = story.runs["orders"].message("one")
        assert "celery_workers_pause_until: this run does not read it; only queueops.celery.pause does." in said
        assert story.writes["orders"] == []

    def test_a_history_that_may_not_be_written_fails_nothing(self, story: Story) -> None:
        run = story.runs["repaired"]
        assert run.code == 0
        assert run.changed("one") == 1
        assert "The history of the fleet lacks this run: ConfigMap " in run.warnings
        assert "configmaps is forbidden" in run.warnings

    def test_a_removal_takes_the_history_away(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert story.runs["removed"].code == 0
        assert cluster.find("ConfigMap", namespace, f"{namespace}-celery-history") is None
