# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample inventories deploy as they stand, again without a change, and one number changes one object."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cluster import (
    FLEET_LABEL,
    Cluster,
    Json,
    namespaces,
    new_namespace_name,
    path_of,
    with_contexts,
)
from tests.integration.playbook import Player, Run, extra_vars, sample_inventory, write_inventory
from tests.support.kubernetes_emulator import RecordedRequest

OPENEDX_DEPLOYMENTS = {
    "lms-worker",
    "lms-worker-high",
    "lms-worker-high-mem",
    "cms-worker",
    "cms-worker-high",
    "cms-worker-low",
}


@dataclass(frozen=True)
class Step:
    """A run, and what the namespace looked like after it."""

    run: Run
    versions: dict[str, str]
    requests: tuple[RecordedRequest, ...] = ()
    writes: int = 0


def worker_arguments(cluster: Cluster, namespace: str, name: str) -> list[str]:
    deployment = cluster.get("Deployment", namespace, name)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return [*container.get("command", []), *container.get("args", [])]


def triggers(cluster: Cluster, namespace: str, deployment: str) -> list[Json]:
    spec = cluster.get("ScaledObject", namespace, f"{deployment}-scaledobject")["spec"]
    return [trigger["metadata"] for trigger in spec["triggers"]]


def most_pods(cluster: Cluster, namespace: str, deployment: str) -> int:
    return int(cluster.get("ScaledObject", namespace, f"{deployment}-scaledobject")["spec"]["maxReplicaCount"])


class TestOpenEdx:
    """First run, second run, and a run with a layer that sets one number."""

    @pytest.fixture(scope="class")
    @classmethod
    def steps(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> list[Step]:
        values = extra_vars({"celery_workers_namespace": namespace, "celery_workers_wait": bool(cluster.emulator)})
        layer = {"celery_workers_config__90_host": {"lms": {"high": {"max_replicas": 25}}}}
        tuned = write_inventory(folder, {"openedx": layer}, name="tuned")
        found = []
        for options in ([values], [values], [values, f"--inventory={tuned}"]):
            if cluster.emulator:
                cluster.emulator.requests.clear()
            run = player.deploy(sample_inventory("openedx"), *options)
            sent = tuple(cluster.requests_of(namespace)) if cluster.emulator else ()
            writes = len(cluster.writes_to(namespace)) if cluster.emulator else 0
            found.append(Step(run, cluster.versions(namespace), sent, writes))
        return found

    def test_the_first_run_makes_every_object(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.changed("openedx") > 0
        assert cluster.names(namespace) == {
            *(f"Deployment {name}" for name in OPENEDX_DEPLOYMENTS),
            *(f"PodDisruptionBudget {name}" for name in OPENEDX_DEPLOYMENTS),
            *(f"ScaledObject {name}-scaledobject" for name in OPENEDX_DEPLOYMENTS),
        }

    def test_the_second_run_changes_nothing(self, steps: list[Step]) -> None:
        assert steps[1].run.changed("openedx") == 0
        assert steps[1].versions == steps[0].versions

    def test_a_layer_with_one_number_changes_one_object(
        self, cluster: Cluster, namespace: str, steps: list[Step]
    ) -> None:
        before, after = steps[1].versions, steps[2].versions
        moved = {name for name in after if after[name] != before.get(name)}
        # KEDA carries the number on into the HPA that it keeps.
        assert {name for name in moved if not name.startswith("HorizontalPodAutoscaler")} == {
            "ScaledObject lms-worker-high-scaledobject"
        }
        assert set(after) == set(before)
        assert steps[2].run.changed("openedx") > 0
        assert most_pods(cluster, namespace, "lms-worker-high") == 25

    def test_each_object_is_written_once(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        objects = len(cluster.power.objects("Deployment", namespace)) * 3
        for title, step in zip(("first run", "unchanged run", "one number"), steps, strict=True):
            sent = len(step.requests)
            print(f"{title}: {sent} requests, {step.writes} writes, {sent / objects:.1f} requests an object")
        assert steps[0].writes == objects
        assert steps[1].writes <= objects
        assert steps[2].writes <= objects
        # Three requests an object, and two readings of seven lists and the namespace.
        assert max(len(step.requests) for step in steps) <= 3 * objects + 20

    def test_a_run_reads_each_kind_with_one_list(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert cluster.power
        lists = Counter(
            request.path
            for request in steps[1].requests
            if request.method == "GET" and "labelSelector" not in request.query
        )
        # Once to plan, and once after waiting.
        assert lists[path_of("Secret", namespace)] <= 2
        assert lists[path_of("Deployment", namespace)] <= 2

    def test_workers_consume_the_queues_of_open_edx(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.code == 0
        for name, queue in (
            ("lms-worker", "edx.lms.core.default"),
            ("lms-worker-high-mem", "edx.lms.core.high_mem"),
            ("cms-worker-low", "edx.cms.core.low"),
        ):
            assert f"--queues={queue}" in worker_arguments(cluster, namespace, name)
            assert [found["listName"] for found in triggers(cluster, namespace, name)] == [queue]
        assert "--app=lms.celery" in worker_arguments(cluster, namespace, "lms-worker")
        env = cluster.deployment_env(namespace, "cms-worker-high")
        assert env["SERVICE_VARIANT"]["value"] == "cms"
        assert "CELERY_BROKER_URL" not in env

    def test_numbers_arrive_where_they_belong(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.code == 0
        expected = {"lms-worker": (10, 10), "lms-worker-high-mem": (5, 1), "cms-worker-low": (3, 10)}
        for name, (most, length) in expected.items():
            assert most_pods(cluster, namespace, name) == most
            assert [found["listLength"] for found in triggers(cluster, namespace, name)] == [str(length)]
        spec = cluster.get("Deployment", namespace, "lms-worker-high-mem")["spec"]["template"]["spec"]
        assert spec["containers"][0]["resources"] == {
            "requests": {"cpu": "500m", "memory": "3Gi"},
            "limits": {"memory": "4Gi"},
        }
        assert spec["terminationGracePeriodSeconds"] >= 7200

    def test_no_scaled_deployment_is_written_with_replicas(
        self, cluster: Cluster, namespace: str, steps: list[Step]
    ) -> None:
        assert steps[0].run.code == 0
        for name in OPENEDX_DEPLOYMENTS:
            note = cluster.get("Deployment", namespace, name)["metadata"]["annotations"]
            assert '"replicas"' not in note["kubectl.kubernetes.io/last-applied-configuration"]


class TestGenericRedis:
    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, cluster: Cluster, player: Player, namespace: str) -> Run:
        values = extra_vars({"celery_workers_namespace": namespace, "celery_workers_wait": False})
        return player.deploy(sample_inventory("generic-redis"), values)

    def test_every_object_is_there(self, cluster: Cluster, namespace: str, run: Run) -> None:
        assert run.changed("shop") > 0
        found = cluster.names(namespace)
        deployments = {name for name in found if name.startswith("Deployment ")}
        assert deployments == {
            "Deployment billing-worker",
            "Deployment billing-worker-invoices",
            "Deployment billing-beat",
            "Deployment search-worker",
            "Deployment search-worker-index",
        }
        assert {name for name in found if name.startswith("ScaledObject ")} == {
            "ScaledObject billing-worker-invoices-scaledobject",
            "ScaledObject search-worker-index-scaledobject",
        }
        assert f"Secret {namespace}-celery-broker" in found
        assert all(item["metadata"]["labels"][FLEET_LABEL] == namespace for item in cluster.select("Secret", namespace))

    def test_fixed_and_scaled_numbers_of_pods(self, cluster: Cluster, namespace: str, run: Run) -> None:
        assert run.code == 0
        assert cluster.replicas(namespace, "billing-worker") == 2
        assert cluster.replicas(namespace, "billing-beat") == 1
        assert most_pods(cluster, namespace, "billing-worker-invoices") == 8
        assert most_pods(cluster, namespace, "search-worker-index") == 4
        arguments = worker_arguments(cluster, namespace, "search-worker-index")
        assert "--pool=threads" in arguments
        assert "--concurrency=8" in arguments
        assert "--queues=search.index" in arguments

    def test_workers_and_scaler_read_the_password_from_one_secret(
        self, cluster: Cluster, namespace: str, run: Run
    ) -> None:
        assert run.code == 0
        secret = cluster.get("Secret", namespace, f"{namespace}-celery-broker")
        values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        assert values["password"] == "not-a-real-password"
        assert values["username"] == "shop"
        assert values["url"] == "redis://shop:not-a-real-password@redis.databases.svc:6379/2"
        for name in ("billing-worker", "search-worker-index"):
            source = cluster.deployment_env(namespace, name)["CELERY_BROKER_URL"]["valueFrom"]["secretKeyRef"]
            assert source == {"name": f"{namespace}-celery-broker", "key": "url"}
        trigger = cluster.get("ScaledObject", namespace, "search-worker-index-scaledobject")["spec"]["triggers"][0]
        authentication = cluster.get("TriggerAuthentication", namespace, trigger["authenticationRef"]["name"])
        found = {item["parameter"]: (item["name"], item["key"]) for item in authentication["spec"]["secretTargetRef"]}
        assert found["password"] == (f"{namespace}-celery-broker", "password")
        assert trigger["metadata"]["address"] == "redis.databases.svc:6379"


class TestFleetOfSites:
    """Five hosts in five namespaces, worked on at the same time."""

    SITES = ("north", "south", "west", "acme", "globex")

    @pytest.fixture(scope="class")
    @classmethod
    def prefix(cls, cluster: Cluster) -> Iterator[str]:
        found = new_namespace_name("fleet")
        with namespaces(cluster, *(f"{found}-{site}" for site in cls.SITES)):
            yield found

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, cluster: Cluster, player: Player, folder: Path, prefix: str) -> Run:
        player.kubeconfig = with_contexts(cluster.kubeconfig, folder / "kubeconfig", "globex")
        values = {
            "celery_workers_namespace": f"{prefix}-{{{{ inventory_hostname }}}}",
            "celery_workers_wait": False,
        }
        return player.deploy(sample_inventory("fleet"), extra_vars(values))

    def test_every_site_gets_its_three_workers(self, cluster: Cluster, prefix: str, run: Run) -> None:
        for site in self.SITES:
            assert run.changed(site) > 0
            found = {item["metadata"]["name"] for item in cluster.select("Deployment", f"{prefix}-{site}")}
            assert found == {"courses-worker", "courses-worker-mail", "courses-worker-reports"}

    def test_layered_numbers_arrive_where_they_should(self, cluster: Cluster, prefix: str, run: Run) -> None:
        assert run.code == 0
        # Platform 10, then the campuses 20, then the host north 35; mail is 20 by its profile and 40 for companies.
        expected = {
            "north": (35, 20, 5),
            "south": (20, 20, 5),
            "west": (20, 20, 5),
            "acme": (10, 40, 5),
            "globex": (10, 40, 2),
        }
        found = {
            site: tuple(
                most_pods(cluster, f"{prefix}-{site}", name)
                for name in ("courses-worker", "courses-worker-mail", "courses-worker-reports")
            )
            for site in self.SITES
        }
        assert found == expected

    def test_scalers_look_at_the_redis_of_their_own_site(self, cluster: Cluster, prefix: str, run: Run) -> None:
        assert run.code == 0
        for site in self.SITES:
            found = triggers(cluster, f"{prefix}-{site}", "courses-worker-mail")
            assert [item["address"] for item in found] == [f"redis.{prefix}-{site}.svc:6379"]
