# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run writes nothing and shows what a real run would do: `--check --diff` before the first deployment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, write_inventory

CONFIG: Json = {
    "billing": {"default": {"replicas": 2}, "mail": {"enable_keda": True, "min_replicas": 1, "max_replicas": 7}}
}
FLEET: Json = {
    "celery_workers_broker": {"host": "redis", "password": "not-to-be-shown"},
    "celery_workers_services": {"billing": {"app": "billing.celery", "image": "registry.example/billing:1"}},
    "celery_workers_config": CONFIG,
}


@dataclass(frozen=True)
class DryRun:
    run: Run
    #: Host to its namespace, and host to the cluster that it is in.
    names: dict[str, str]
    places: dict[str, Cluster]


class TestFirstRun:
    """An empty namespace, one that the run would create, and a cluster without KEDA."""

    @pytest.fixture(scope="class")
    @classmethod
    def dry(cls, cluster: Cluster, bare: Cluster | None, player: Player, folder: Path) -> Iterator[DryRun]:
        names = {host: new_namespace_name(host) for host in ("empty", "absent", "bare")}
        places = {"empty": cluster, "absent": cluster}
        hosts: dict[str, Json] = {
            "empty": {"celery_workers_namespace": names["empty"]},
            "absent": {"celery_workers_namespace": names["absent"], "celery_workers_create_namespace": True},
        }
        if bare is not None:
            places["bare"] = bare
            hosts["bare"] = {
                "celery_workers_namespace": names["bare"],
                "celery_workers_kubeconfig": str(bare.kubeconfig),
            }
        with namespaces(cluster, names["empty"]), namespaces(bare or cluster, names["bare"]):
            run = player.deploy(write_inventory(folder, hosts, FLEET), "--check", "--diff")
            yield DryRun(run, names, places)

    @pytest.mark.parametrize("host", ["empty", "absent", "bare"])
    def test_no_write_reaches_the_server(self, dry: DryRun, host: str) -> None:
        if host not in dry.places:
            pytest.skip("needs a cluster without KEDA")
        cluster, name = dry.places[host], dry.names[host]
        assert dry.run.code == 0
        assert cluster.names(name) == set()
        assert cluster.has_namespace(name) == (host != "absent")
        if cluster.emulator:
            assert [(one.method, one.path) for one in cluster.writes_to(name)] == []

    @pytest.mark.parametrize("host", ["empty", "absent", "bare"])
    def test_every_object_is_shown_as_created(self, dry: DryRun, host: str) -> None:
        if host not in dry.places:
            pytest.skip("needs a cluster without KEDA")
        diffs = dry.run.diffs(host)
        assert {
            f"Secret {dry.names[host]}-celery-broker",
            "TriggerAuthentication billing-worker-trigger-auth",
            "Deployment billing-worker",
            "Deployment billing-worker-mail",
            "PodDisruptionBudget billing-worker",
            "PodDisruptionBudget billing-worker-mail",
            "ScaledObject billing-worker-mail-scaledobject",
        } == set(diffs)
        for name, (before, after) in diffs.items():
            assert before == "", name
            assert f"kind: {name.split()[0]}\n" in after
            assert f"name: {name.split()[1]}\n" in after
        assert dry.run.changed(host) > 0

    def test_diffs_are_for_people(self, dry: DryRun) -> None:
        for host in dry.places:
            for name, (_before, after) in dry.run.diffs(host).items():
                for noise in (
                    "managedFields",
                    "last-applied",
                    "resourceVersion",
                    "uid:",
                    "creationTimestamp",
                    "status:",
                ):
                    assert noise not in after, f"{noise} in the diff of {name} for {host}"
            assert "\n  replicas: 2\n" in dry.run.diffs(host)["Deployment billing-worker"][1]
            assert "\n  replicas:" not in dry.run.diffs(host)["Deployment billing-worker-mail"][1]

    def test_a_secret_is_shown_by_its_keys(self, dry: DryRun) -> None:
        for host in dry.places:
            _before, after = dry.run.diffs(host)[f"Secret {dry.names[host]}-celery-broker"]
            assert "password:" in after
            assert "url:" in after
        assert "not-to-be-shown" not in dry.run.output

    def test_it_says_what_a_real_run_would_stop_at(self, dry: DryRun) -> None:
        if "bare" not in dry.places:
            pytest.skip("needs a cluster without KEDA")
        said = " ".join(dry.run.said("bare", "warnings"))
        assert "ScaledObject" in said
        assert "Install KEDA" in said
        assert "would stop" in said
        assert "would stop" not in " ".join(dry.run.said("empty", "warnings"))


class TestFleetOfOneObject:
    """kubernetes.core tells of one object in another shape than of several."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, player: Player, folder: Path, namespace: str) -> list[Run]:
        variables: Json = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_services": {"billing": {"app": "billing.celery", "image": "registry.example/billing:1"}},
            "celery_workers_config": {"billing": {"default": {}}},
        }
        inventory = write_inventory(folder, {"one": variables})
        return [player.deploy(inventory, *options) for options in (["--check", "--diff"], ["--diff"], ["--diff"])]

    def test_its_creation_is_shown_and_counted(self, runs: list[Run]) -> None:
        for run in runs[:2]:
            assert run.changed("one") > 0
            assert [name for result in run.results("one") for name in result.get("created", [])] == [
                "Deployment billing-worker"
            ]
            assert "Deployment billing-worker" in run.diffs("one")

    def test_a_second_run_changes_nothing(self, runs: list[Run]) -> None:
        assert runs[2].changed("one") == 0
        assert runs[2].diffs("one") == {}
