# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Autoscalers of others on Tutor's workers: found by what they scale, and removed or taken over when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run
from tests.integration.tutor import ACCEPT, moved, sample_config, site_inventory, snapshot, start
from tests.support.kubernetes_emulator import RecordedRequest
from tests.support.real_tutor import manifests, render

Json = dict[str, Any]

POLICIES = {"removing": "remove", "transferring": "transfer"}
#: The plugin names an HPA like its Deployment, other tools do not.
RIVALS = {"lms-worker": "lms-worker", "cms-worker-hpa": "cms-worker"}
WEB = {"lms", "cms"}
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"

VERTICAL: Json = {
    "apiVersion": "autoscaling.k8s.io/v1",
    "kind": "VerticalPodAutoscaler",
    "metadata": {"name": "workers"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "lms-worker"},
        "updatePolicy": {"updateMode": "Auto"},
    },
}


def renamed(objects: list[Json]) -> list[Json]:
    """The HPA of cms-worker under a name that another tool gives."""
    for item in objects:
        if item["kind"] == "HorizontalPodAutoscaler" and item["metadata"]["name"] == "cms-worker":
            item["metadata"]["name"] = "cms-worker-hpa"
    return objects


@dataclass
class Story:
    names: dict[str, str]
    runs: dict[str, Run] = field(default_factory=dict)
    hpas: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)
    scaled: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)
    versions: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    writes: dict[tuple[str, str], list[RecordedRequest]] = field(default_factory=dict)


class TestAutoscalerConflicts:
    """Two sites with the plugin pod-autoscaling, one for each way out that the run itself can take."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Story]:
        story = Story({host: new_namespace_name(host) for host in POLICIES})
        objects = renamed(manifests(render("22.0.3", folder / "site", plugins=("pod-autoscaling",))))
        config = sample_config()
        hosts = {
            host: {
                "celery_workers_namespace": name,
                "celery_workers_tutor_plugins_root": str(folder / "plugins" / host),
                "celery_workers_wait": False,
                "celery_workers_routing_delivery": "none",
                "celery_workers_config": config,
                **ACCEPT,
            }
            for host, name in story.names.items()
        }
        failing = site_inventory(folder, hosts, "failing")
        chosen = {host: {**hosts[host], "celery_workers_autoscaler_conflict": POLICIES[host]} for host in hosts}
        deciding = site_inventory(folder, chosen, "deciding")

        def step(name: str, inventory: Path, only: tuple[str, ...] = tuple(POLICIES)) -> None:
            cluster.power.requests.clear()
            story.runs[name] = player.deploy(inventory, f"--limit={','.join(only)}")
            for host in only:
                space = story.names[host]
                story.writes[name, host] = cluster.writes_to(space)
                story.hpas[name, host] = snapshot(cluster, space, "HorizontalPodAutoscaler")
                story.scaled[name, host] = snapshot(cluster, space, "ScaledObject")
                story.versions[name, host] = cluster.versions(space)

        cluster.power.add_crds("VerticalPodAutoscaler")
        with namespaces(cluster, *story.names.values()):
            for space in story.names.values():
                start(cluster, moved(objects, space))
            vertical = {**VERTICAL, "metadata": {"name": "workers", "namespace": story.names["removing"]}}
            cluster.power.add(vertical)
            step("failing", failing)
            step("deciding", deciding)
            step("again", deciding)
            step("back at fail", failing, only=("transferring",))
            yield story

    @pytest.mark.parametrize("host", POLICIES)
    def test_by_default_both_are_named_with_three_ways_out_and_nothing_is_sent(self, story: Story, host: str) -> None:
        message = story.runs["failing"].message(host)
        for name, target in RIVALS.items():
            assert f"HorizontalPodAutoscaler {name} (tutor) already scales Deployment {target}" in message
        for way in ("enable_hpa", "celery_workers_autoscaler_conflict: transfer", "or remove", "enable_keda: false"):
            assert way in message
        assert message.count("already scales") == len(RIVALS)
        assert story.writes["failing", host] == []
        assert set(story.hpas["failing", host]) == {*RIVALS, *WEB}

    def test_removing_deletes_the_rivals_and_nothing_else(self, story: Story) -> None:
        assert story.runs["deciding"].changed("removing") > 0
        writes = story.writes["deciding", "removing"]
        assert {one.path.rpartition("/")[2] for one in writes if one.method == "DELETE"} == set(RIVALS)
        assert writes[0].method == writes[1].method == "DELETE"
        found = story.hpas["deciding", "removing"]
        assert found.keys() >= WEB
        for target in RIVALS.values():
            (only,) = [item for item in found.values() if item["spec"]["scaleTargetRef"]["name"] == target]
            assert only["metadata"]["name"] == f"keda-hpa-{target}-scaledobject"

    def test_transferring_hands_the_rivals_over_to_keda(self, story: Story) -> None:
        assert story.runs["deciding"].changed("transferring") > 0
        writes = story.writes["deciding", "transferring"]
        assert [one.path for one in writes if one.method == "DELETE"] == []
        before, found = story.hpas["failing", "transferring"], story.hpas["deciding", "transferring"]
        for name, target in RIVALS.items():
            scaled = story.scaled["deciding", "transferring"][f"{target}-scaledobject"]
            assert scaled["metadata"]["annotations"][TRANSFER] == "true"
            assert scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] == name
            assert found[name]["metadata"]["uid"] == before[name]["metadata"]["uid"]
            (owner,) = found[name]["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"]) == ("ScaledObject", f"{target}-scaledobject")
            assert f"keda-hpa-{target}-scaledobject" not in found
        # Where nobody was first there is nothing to take over.
        others = story.scaled["deciding", "transferring"]["lms-worker-high-scaledobject"]
        assert TRANSFER not in others["metadata"].get("annotations", {})

    @pytest.mark.parametrize(
        ("step", "host"), [("again", "removing"), ("again", "transferring"), ("back at fail", "transferring")]
    )
    def test_afterwards_nothing_changes(self, story: Story, step: str, host: str) -> None:
        assert story.runs[step].changed(host) == 0
        assert story.versions[step, host] == story.versions["deciding", host]

    def test_an_autoscaler_that_restarts_pods_is_a_warning(self, story: Story) -> None:
        for step in ("failing", "deciding"):
            found = " ".join(story.runs[step].said("removing", "warnings"))
            assert "VerticalPodAutoscaler workers (an unknown owner) has updateMode Auto" in found
            assert "Deployment lms-worker" in found
        assert "VerticalPodAutoscaler" not in str(story.runs["failing"].said("transferring", "warnings"))
