# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tutor-contrib-celery left in a cluster becomes ours in place, without a queue that nobody consumes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import FLEET_LABEL, Cluster
from tests.integration.playbook import Player, Run, extra_vars
from tests.integration.tutor import (
    ACCEPT,
    ADOPTED,
    ADOPTED_BY,
    OWN,
    QUEUES,
    queues_in,
    site_inventory,
    snapshot,
    start,
    worker,
)
from tests.support.consumers import queues_without_consumer
from tests.support.kubernetes_emulator import RecordedRequest
from tests.support.real_tutor import manifests, plugin_site, render

Json = dict[str, Any]

TAKE_OVER: Json = {"celery_workers_take_over": True}
#: Flower as the plugin makes it, and what takes its place.
PLUGIN_FLOWER: Json = {"CELERY_FLOWER": True, "CELERY_FLOWER_SERVICE_MONITOR": True}
FLOWER: Json = {
    "celery_workers_flower_enabled": True,
    "celery_workers_service_monitor_enabled": True,
    "celery_workers_service_monitor": {"labels": {"release": "prometheus"}},
}
WATCHING = ("Deployment", "Service", "ServiceMonitor")


@dataclass
class Story:
    """The site with the plugin, then without it, and what a run makes of what stayed."""

    refused: Run
    taken: Run
    again: Run
    refused_writes: list[RecordedRequest]
    taken_requests: list[RecordedRequest]
    plugin: dict[str, Json]
    plugin_scalers: dict[str, Json]
    tutor: dict[str, Json] = field(default_factory=dict)
    after: dict[str, Json] = field(default_factory=dict)
    scalers: dict[str, Json] = field(default_factory=dict)
    disabled: list[str] = field(default_factory=list)
    #: Flower's objects by their kind: the plugin's, and what became of them.
    plugin_flower: dict[str, Json] = field(default_factory=dict)
    flower: dict[str, Json] = field(default_factory=dict)


class TestTakeover:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Story:
        root = plugin_site("22.0.3", folder / "site", {"K8S_NAMESPACE": namespace, **PLUGIN_FLOWER})
        start(cluster, manifests(root))
        plugin_flower = {kind: cluster.get(kind, namespace, "flower") for kind in WATCHING}
        plugin, plugin_scalers = (snapshot(cluster, namespace, kind) for kind in ("Deployment", "ScaledObject"))
        variables = {
            "celery_workers_namespace": namespace,
            "celery_workers_tutor_plugins_root": str(folder / "plugins"),
            "celery_workers_wait": False,
        }
        inventory = site_inventory(folder, {"site": {**variables, **ACCEPT, **FLOWER}})
        cluster.power.requests.clear()
        refused = player.deploy(inventory)
        refused_writes = cluster.writes_to(namespace)
        # As an operator disables it; what kubectl is not told about stays.
        render("22.0.3", root)
        disabled = start(cluster, manifests(root))
        tutor = snapshot(cluster, namespace)
        begin = len(cluster.power.requests)
        taken = player.deploy(inventory, "-vvv", "--diff", extra_vars(TAKE_OVER))
        flower = {kind: cluster.get(kind, namespace, "flower") for kind in WATCHING}
        story = Story(
            refused,
            taken,
            player.deploy(inventory, extra_vars(TAKE_OVER)),
            refused_writes,
            list(cluster.power.requests[begin:]),
            plugin,
            plugin_scalers,
            tutor,
            disabled=disabled,
            plugin_flower=plugin_flower,
            flower=flower,
        )
        story.after, story.scalers = (snapshot(cluster, namespace, kind) for kind in ("Deployment", "ScaledObject"))
        return story

    def test_the_plugins_site_is_what_this_is_about(self, story: Story) -> None:
        assert story.plugin.keys() >= OWN | ADOPTED
        assert set(story.plugin_scalers) == {f"{name}-scaledobject" for name in OWN | ADOPTED}
        assert all("labels" not in item["metadata"] or FLEET_LABEL not in item["metadata"]["labels"]
                   for item in (*story.plugin.values(), *story.plugin_scalers.values()))  # fmt: skip
        # The plugin disabled, Tutor's own workers take all queues again, and nothing of the plugin's went.
        assert story.tutor.keys() >= OWN | ADOPTED
        assert queues_in(story.tutor["lms-worker"]) == [
            "--queues=edx.lms.core.default,edx.lms.core.high,edx.lms.core.high_mem"
        ]
        assert not any("worker-high" in line for line in story.disabled)

    def test_unasked_it_stops_and_names_all_of_it(self, story: Story) -> None:
        message = story.refused.message("site")
        for name in OWN:
            assert f"Deployment {name} in" in message
        for name in OWN | ADOPTED:
            assert f"ScaledObject {name}-scaledobject in" in message
        for kind in WATCHING:
            assert f"{kind} flower in" in message
        for name in ADOPTED:
            assert f"Deployment {name} in" not in message
        assert "celery_workers_take_over: true" in message
        assert story.refused_writes == []

    def test_no_deployment_is_deleted_and_selectors_stay(self, story: Story) -> None:
        assert story.taken.changed("site") > 0
        deleted = [one.path for one in story.taken_requests if one.method == "DELETE"]
        assert deleted == []
        for name in OWN:
            before, after = story.plugin[name], story.after[name]
            assert after["metadata"]["uid"] == before["metadata"]["uid"]
            assert after["spec"]["selector"] == before["spec"]["selector"]
            labels = after["spec"]["template"]["metadata"]["labels"]
            assert before["spec"]["selector"]["matchLabels"].items() <= labels.items()

    def test_the_plugins_workers_become_ours(self, story: Story) -> None:
        for name in OWN:
            found = story.after[name]
            assert found["metadata"]["labels"][FLEET_LABEL]
            assert worker(found)["name"] == "worker"
            assert worker(story.plugin[name])["name"] == name
            assert worker(found)["image"] == worker(story.after[f"{name.partition('-')[0]}-worker"])["image"]
            # The plugin's node names hold a literal percent sign, the same in every pod.
            assert not any("%%h" in word for word in worker(found)["args"])
        assert queues_in(story.after["lms-worker-high-mem"]) == ["--queues=edx.lms.core.high_mem"]

    def test_tutors_workers_are_adopted_not_taken(self, story: Story) -> None:
        for name in ADOPTED:
            labels = story.after[name]["metadata"]["labels"]
            assert ADOPTED_BY in labels
            assert FLEET_LABEL not in labels
            assert worker(story.after[name])["name"] == name
            assert queues_in(story.after[name]) == [f"--queues=edx.{name.partition('-')[0]}.core.default"]

    def test_scaled_objects_become_ours_with_our_triggers(self, story: Story) -> None:
        assert set(story.scalers) == set(story.plugin_scalers)
        for name, found in story.scalers.items():
            assert found["metadata"]["uid"] == story.plugin_scalers[name]["metadata"]["uid"]
            assert found["metadata"]["labels"][FLEET_LABEL]
            (before,) = story.plugin_scalers[name]["spec"]["triggers"]
            triggers = found["spec"]["triggers"]
            assert before not in triggers
            lists = [item["metadata"].get("listName") for item in triggers]
            assert before["metadata"]["listName"] in lists
        # All that the default worker of a plugin's site may not do.
        assert story.plugin_scalers["lms-worker-scaledobject"]["spec"]["minReplicaCount"] == 0
        assert story.scalers["lms-worker-scaledobject"]["spec"]["minReplicaCount"] == 1

    def test_the_plugins_flower_becomes_ours_in_place(self, story: Story) -> None:
        for kind, before in story.plugin_flower.items():
            after = story.flower[kind]
            assert FLEET_LABEL not in before["metadata"]["labels"]
            assert after["metadata"]["labels"][FLEET_LABEL]
            assert after["metadata"]["uid"] == before["metadata"]["uid"]
        before, after = story.plugin_flower["Deployment"], story.flower["Deployment"]
        assert after["spec"]["selector"] == before["spec"]["selector"]
        assert after["spec"]["strategy"] == {"type": "Recreate"}
        pod = after["spec"]["template"]["metadata"]["labels"]
        service, monitor = story.flower["Service"], story.flower["ServiceMonitor"]
        assert service["spec"]["selector"].items() <= pod.items()
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ports = [port["name"] for port in service["spec"]["ports"]]
        assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == ports

    def test_no_password_stays_in_plain_sight(self, story: Story) -> None:
        before, after = (
            {entry["name"]: entry for entry in worker(item["Deployment"])["env"]}
            for item in (story.plugin_flower, story.flower)
        )
        shown = [before[name]["value"] for name in ("CELERY_BROKER_URL", "FLOWER_BASIC_AUTH")]
        password = shown[1].partition(":")[2]
        assert password
        assert "value" not in after["CELERY_BROKER_URL"] or "@" not in after["CELERY_BROKER_URL"]["value"]
        assert after["FLOWER_BASIC_AUTH"]["value"] == "flower:$(CELERY_FLOWER_PASSWORD)"
        assert password not in json.dumps(story.flower)
        for run in (story.refused, story.taken, story.again):
            assert password not in run.output

    def test_the_same_run_again_changes_nothing(self, story: Story) -> None:
        assert story.again.changed("site") == 0

    def test_every_queue_has_a_consumer_at_every_moment(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert story.taken_requests
        assert queues_without_consumer(cluster.requests_of(namespace), namespace, QUEUES) == {}
