# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that nobody asks for any more: named, pruned on request, removed with the fleet; those of others never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.idle_pods import idle_pods
from tests.support.kubernetes_emulator import Emulator, RecordedRequest

SCALED: Json = {"enable_keda": True, "min_replicas": 1}
#: Host, which is also the name of its fleet, to its service: two fleets share a namespace.
SERVICES = {"one": "shop", "two": "blog"}


def fleet(host: str, variants: dict[str, Json]) -> Json:
    service = SERVICES[host]
    return {
        "celery_workers_fleet": host,
        "celery_workers_wait": False,
        # No image of these tests runs on a real cluster, so no pod could tell what waits.
        **({"celery_workers_key_change": "accept"} if REAL_CLUSTER else {}),
        "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
        "celery_workers_services": {service: {"app": "shop.celery", "image": "registry.example/shop:1"}},
        "celery_workers_config": {service: variants},
    }


def fleet_objects(found: set[str], host: str) -> set[str]:
    return {name for name in found if name.split()[1].startswith((f"{SERVICES[host]}-worker", f"{host}-celery-broker"))}


@dataclass
class Story:
    runs: dict[str, Run] = field(default_factory=dict)
    found: dict[str, set[str]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    writes: dict[str, list[RecordedRequest]] = field(default_factory=dict)


class TestPruneAndRemove:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> Story:
        story = Story()
        all_three = {"default": {}, "high": SCALED, "low": SCALED}
        less = {"default": {}, "high": {"enabled": False, **SCALED}}
        note: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "of-others", "namespace": namespace},
        }
        cluster.create(note | {"data": {"a": "1"}})

        def step(name: str, variants: dict[str, Json], *options: str, playbook: str = "deploy") -> None:
            hosts = {"one": fleet("one", variants), "two": fleet("two", {"default": {}, "high": SCALED})}
            inventory = write_inventory(folder, hosts, {"celery_workers_namespace": namespace})
            if cluster.emulator:
                cluster.emulator.requests.clear()
            story.runs[name] = player.play(playbook, inventory, *options)
            story.writes[name] = cluster.writes_to(namespace) if cluster.emulator else []
            story.found[name] = cluster.names(namespace)
            story.versions[name] = cluster.versions(namespace)

        step("both", all_three)
        step("less", less, "--limit=one")
        step("prune", less, "--limit=one", "--extra-vars=celery_workers_prune=true")
        step("absent", less, "--limit=one", playbook="remove")
        step("again", less, "--limit=one", playbook="remove")
        return story

    def test_two_fleets_live_in_one_namespace(self, story: Story) -> None:
        assert story.runs["both"].changed("one") > 0
        assert story.runs["both"].changed("two") > 0
        assert {"Deployment shop-worker", "Deployment blog-worker"} <= story.found["both"]

    def test_without_prune_leftovers_are_named_and_stay(self, story: Story) -> None:
        assert story.runs["less"].changed("one") == 0
        assert story.found["less"] == story.found["both"]
        warnings = story.runs["less"].warnings
        for name in ("Deployment shop-worker-high", "Deployment shop-worker-low", "celery_workers_prune"):
            assert name in warnings
        assert "blog-worker" not in warnings

    def test_prune_removes_them_and_nothing_else(self, story: Story) -> None:
        assert story.runs["prune"].changed("one") > 0
        gone = story.found["less"] - story.found["prune"]
        assert {
            "Deployment shop-worker-high",
            "Deployment shop-worker-low",
            "ScaledObject shop-worker-high-scaledobject",
            "ScaledObject shop-worker-low-scaledobject",
        } <= gone
        assert all("shop-worker-high" in name or "shop-worker-low" in name or "trigger-auth" in name for name in gone)
        kept = {name: version for name, version in story.versions["prune"].items() if name in story.versions["less"]}
        assert kept == {name: story.versions["less"][name] for name in kept}
        assert "shop-worker-high" not in story.runs["prune"].warnings

    def test_scalers_go_before_what_they_scale(self, cluster: Cluster, story: Story) -> None:
        assert cluster.power
        for name in ("prune", "absent"):
            deleted = [one.path for one in story.writes[name] if one.method == "DELETE"]
            scalers = [number for number, path in enumerate(deleted) if "/scaledobjects/" in path]
            deployments = [number for number, path in enumerate(deleted) if "/deployments/" in path]
            assert deployments
            assert all(number < min(deployments) for number in scalers)

    def test_absent_removes_the_whole_fleet(self, story: Story) -> None:
        assert story.runs["absent"].changed("one") > 0
        assert fleet_objects(story.found["absent"], "one") == set()

    def test_absent_touches_nothing_else(self, story: Story) -> None:
        assert story.runs["absent"].code == 0
        assert "ConfigMap of-others" in story.found["absent"]
        left = fleet_objects(story.found["both"], "two")
        assert fleet_objects(story.found["absent"], "two") == left
        for name in left:
            assert story.versions["absent"][name] == story.versions["both"][name]

    def test_absent_twice_changes_nothing(self, story: Story) -> None:
        assert story.runs["again"].changed("one") == 0
        assert story.versions["again"] == story.versions["absent"]

    def test_each_removed_object_is_reported(self, story: Story) -> None:
        deleted = [name for result in story.runs["absent"].results("one") for name in result.get("deleted", [])]
        assert set(deleted) == fleet_objects(story.found["prune"], "one") | {"ConfigMap one-celery-history"}


class TestRemovalWithoutKeda:
    """KEDA's operator is gone, so nobody takes its finalizer off: the wait is bounded and the message names it."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, player: Player, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
        if REAL_CLUSTER:
            pytest.skip("needs the emulator: nobody switches KEDA off on a real cluster")
        with Emulator() as emulator:
            kubeconfig = emulator.write_kubeconfig(tmp_path_factory.mktemp("stuck") / "kubeconfig")
            emulator.exec_handler = idle_pods
            cluster = Cluster(kubeconfig, emulator)
            name = new_namespace_name("stuck")
            player.kubeconfig = kubeconfig
            variables = {"celery_workers_namespace": name, "celery_workers_wait_timeout": 5}
            inventory = write_inventory(folder, {"one": fleet("one", {"high": SCALED})}, variables)
            with namespaces(cluster, name):
                assert player.deploy(inventory).changed("one") > 0
                emulator.stop_keda()
                yield player.remove(inventory)
                emulator.start_keda()

    def test_the_message_names_the_finalizer(self, run: Run) -> None:
        message = run.message("one")
        assert "ScaledObject shop-worker-high-scaledobject" in message
        assert "finalizer.keda.sh" in message
        assert "operator" in message
        assert "Traceback" not in run.output
