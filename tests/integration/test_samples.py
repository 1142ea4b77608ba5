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
    MADE_KINDS,
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


def scaling(cluster: Cluster, namespace: str, deployment: str) -> Json:
    """The spec of a Deployment's ScaledObject."""
    spec: Json = cluster.get("ScaledObject", namespace, f"{deployment}-scaledobject")["spec"]
    return spec


def triggers(cluster: Cluster, namespace: str, deployment: str) -> dict[str, Json]:
    """Metadata of the triggers, by the names that the formula uses."""
    return {item["name"]: item["metadata"] for item in scaling(cluster, namespace, deployment)["triggers"]}


def lists(cluster: Cluster, namespace: str, deployment: str) -> list[str]:
    """The Redis lists that a scaler counts as waiting, one per priority."""
    found = triggers(cluster, namespace, deployment)
    return [metadata["listName"] for name, metadata in found.items() if name.startswith("backlog")]


def with_priorities(queue: str) -> list[str]:
    """The lists of a queue as kombu names them."""
    return [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]


def formula(cluster: Cluster, namespace: str, deployment: str) -> str:
    """What the pods are computed with; the target is one pod, or a fallback would multiply it."""
    modifiers = scaling(cluster, namespace, deployment)["advanced"]["scalingModifiers"]
    assert (modifiers["target"], modifiers["metricType"]) == ("1", "AverageValue")
    return str(modifiers["formula"])


def most_pods(cluster: Cluster, namespace: str, deployment: str) -> int:
    return int(scaling(cluster, namespace, deployment)["maxReplicaCount"])


def least_pods(cluster: Cluster, namespace: str, deployment: str) -> int:
    return int(scaling(cluster, namespace, deployment)["minReplicaCount"])


def scalers_at_work(cluster: Cluster, namespace: str) -> set[str]:
    """ScaledObjects that KEDA has accepted and scales by."""
    found = cluster.select("ScaledObject", namespace)
    for item in found if cluster.emulator else []:
        conditions = {one["type"]: one["status"] for one in item["status"]["conditions"]}
        assert conditions["Ready"] == "True", item
        assert item["status"]["hpaName"] == f"keda-hpa-{item['metadata']['name']}"
    return {item["metadata"]["name"] for item in found}


#: The sample on a site that Tutor does not run: nothing to be made like, nothing to adopt.
WITHOUT_TUTOR: Json = {
    "celery_workers_services": {name: {"image": "registry.example/openedx:22"} for name in ("lms", "cms")},
    "celery_workers_routing_delivery": "none",
    "celery_workers_config__80_without_tutor": {
        "lms": {
            "default": {"adopt": None},
            "high_mem": {"resources": {"requests": {"memory": "3Gi"}, "limits": {"memory": "4Gi"}}},
        },
        "cms": {"default": {"adopt": None}},
    },
}


#: Kinds that a run reads: those that the collection makes, two that others make, and what lets pods mark themselves in
#: their namespace: an account, its Role and the binding.
KINDS_READ = len(MADE_KINDS) + 2 + 3


class TestOpenEdx:
    """First run, second run, and a run with a layer that sets one number. With Tutor: test_tutor_site.py."""

    @pytest.fixture(scope="class")
    @classmethod
    def steps(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> list[Step]:
        wait = bool(cluster.emulator)
        values = extra_vars({"celery_workers_namespace": namespace, "celery_workers_wait": wait, **WITHOUT_TUTOR})
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
        # And the history once by each run that changes something.
        assert steps[0].writes == objects + 1
        # What is as it should be is not sent.
        assert (steps[1].writes, steps[2].writes) == (0, 2)
        # Three requests an object that is sent, one a kind to plan, and what waiting takes until all are up.
        for step, sent in zip(steps, (objects + 1, 0, 2), strict=True):
            waiting = [one for one in step.requests if "labelSelector" in one.query]
            assert len(step.requests) - len(waiting) <= 3 * sent + KINDS_READ + 3

    def test_an_unchanged_run_reads_each_kind_with_one_list_and_nothing_else(
        self, cluster: Cluster, namespace: str, steps: list[Step]
    ) -> None:
        assert cluster.power
        counts = Counter(request.path for request in steps[1].requests)
        assert {request.method for request in steps[1].requests} == {"GET"}
        assert set(counts.values()) == {1}
        # The namespace itself is the one that is no list.
        assert len(counts) == KINDS_READ + 1
        assert path_of("Secret", namespace) in counts

    def test_workers_consume_the_queues_of_open_edx(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.code == 0
        for name, queue in (
            ("lms-worker", "edx.lms.core.default"),
            ("lms-worker-high-mem", "edx.lms.core.high_mem"),
            ("cms-worker-low", "edx.cms.core.low"),
        ):
            assert f"--queues={queue}" in worker_arguments(cluster, namespace, name)
            assert lists(cluster, namespace, name) == with_priorities(queue)
        assert "--app=lms.celery" in worker_arguments(cluster, namespace, "lms-worker")
        env = cluster.deployment_env(namespace, "cms-worker-high")
        assert env["SERVICE_VARIANT"]["value"] == "cms"
        assert "CELERY_BROKER_URL" not in env

    def test_numbers_arrive_where_they_belong(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.code == 0
        waiting = "(backlog_p0 + backlog_p3 + backlog_p6 + backlog_p9)"
        expected = {
            "lms-worker": (10, f"max({waiting} / 10, min(inflight / 2, max(pods, 1)))"),
            "lms-worker-high-mem": (5, f"{waiting} + min(inflight, max(pods, 1))"),
            "cms-worker-low": (3, f"max({waiting} / 10, min(inflight / 2, max(pods, 1)))"),
        }
        for name, (most, pods) in expected.items():
            assert most_pods(cluster, namespace, name) == most
            assert formula(cluster, namespace, name) == pods
            # A target of another number would be divided by once more.
            targets = [trigger["metadata"] for trigger in scaling(cluster, namespace, name)["triggers"]]
            assert {found.get("listLength", found.get("value")) for found in targets} == {"1"}
        spec = cluster.get("Deployment", namespace, "lms-worker-high-mem")["spec"]["template"]["spec"]
        assert spec["containers"][0]["resources"] == {
            "requests": {"cpu": "500m", "memory": "3Gi"},
            "limits": {"memory": "4Gi"},
        }
        assert spec["terminationGracePeriodSeconds"] >= 7200

    def test_workers_keep_what_they_hold_where_their_scaler_looks(
        self, cluster: Cluster, namespace: str, steps: list[Step]
    ) -> None:
        assert steps[0].run.code == 0
        for name, variant in (("lms-worker", "lms.default"), ("lms-worker-high-mem", "lms.high_mem")):
            key = f"unacked:{namespace}.{variant}"
            assert triggers(cluster, namespace, name)["inflight"]["listName"] == key
            arguments = worker_arguments(cluster, namespace, name)
            assert "task.acks_late=true" in arguments
            assert f'"unacked_key":"{key}"' in arguments[-1]
            assert least_pods(cluster, namespace, name) == 0

    def test_keda_takes_every_scaler(self, cluster: Cluster, namespace: str, steps: list[Step]) -> None:
        assert steps[0].run.code == 0
        assert scalers_at_work(cluster, namespace) == {f"{name}-scaledobject" for name in OPENEDX_DEPLOYMENTS}

    def test_the_run_tells_what_each_scaler_sees(self, steps: list[Step]) -> None:
        shown = steps[0].run.said("openedx", "scaling")
        rows = {tuple(line.split()[:2]): " ".join(line.split()[2:]) for line in shown}
        assert rows["service", "variant"] == "deployment replicas sees to zero"
        assert rows["lms", "high_mem"] == "lms-worker-high-mem 0-5 backlog, in-flight yes, in-flight work is seen"
        assert len(shown) == 1 + len(OPENEDX_DEPLOYMENTS)

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
        assert scalers_at_work(cluster, namespace) == {
            "billing-worker-invoices-scaledobject",
            "search-worker-index-scaledobject",
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

    def test_only_a_service_whose_tasks_may_run_twice_goes_to_zero(
        self, cluster: Cluster, namespace: str, run: Run
    ) -> None:
        assert run.code == 0
        waiting = "(backlog_p0 + backlog_p3 + backlog_p6 + backlog_p9)"
        assert least_pods(cluster, namespace, "billing-worker-invoices") == 1
        assert formula(cluster, namespace, "billing-worker-invoices") == f"{waiting} / 51"
        assert not any("unacked" in word for word in worker_arguments(cluster, namespace, "billing-worker-invoices"))
        assert least_pods(cluster, namespace, "search-worker-index") == 0
        expected = f"max({waiting} / 100, min(inflight / 8, max(pods, 1)))"
        assert formula(cluster, namespace, "search-worker-index") == expected
        shown = run.said("shop", "scaling")
        assert any("idempotent is false, so running work is invisible" in line for line in shown)

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


class TestGenericRabbitMq:
    """Workers speak AMQP, and the scaler asks the management API with a login of its own."""

    DEPLOYMENTS = ("media-worker-thumbnails", "media-worker-films")

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, cluster: Cluster, player: Player, namespace: str) -> list[Run]:
        values = extra_vars({"celery_workers_namespace": namespace, "celery_workers_wait": bool(cluster.emulator)})
        return [player.deploy(sample_inventory("generic-rabbitmq"), values) for _round in range(2)]

    def test_keda_takes_every_scaler_and_a_second_run_changes_nothing(
        self, cluster: Cluster, namespace: str, runs: list[Run]
    ) -> None:
        assert runs[0].changed("shop") > 0
        assert runs[1].changed("shop") == 0
        assert scalers_at_work(cluster, namespace) == {f"{name}-scaledobject" for name in self.DEPLOYMENTS}

    def test_the_scaler_tells_waiting_messages_from_held_ones(
        self, cluster: Cluster, namespace: str, runs: list[Run]
    ) -> None:
        assert runs[0].code == 0
        for name, queue in zip(self.DEPLOYMENTS, ("thumbnails", "films"), strict=True):
            found = triggers(cluster, namespace, name)
            backlog, total = found["backlog"], found["total"]
            assert (backlog["queueName"], backlog["excludeUnacknowledged"]) == (queue, "true")
            assert total["queueName"] == queue
            assert "excludeUnacknowledged" not in total
            for metadata in (backlog, total):
                assert metadata["host"] == "http://rabbitmq.messaging.svc:15672"
                assert (metadata["vhostName"], metadata["value"]) == ("media", "1")
            assert "(total - backlog)" in formula(cluster, namespace, name)
            assert least_pods(cluster, namespace, name) == 0

    def test_the_scaler_logs_in_with_fewer_rights_than_the_workers(
        self, cluster: Cluster, namespace: str, runs: list[Run]
    ) -> None:
        assert runs[0].code == 0
        secret = cluster.get("Secret", namespace, f"{namespace}-celery-broker")
        values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        assert values["url"] == "amqp://media:not-a-real-password@rabbitmq.messaging.svc:5672/media"
        trigger = scaling(cluster, namespace, self.DEPLOYMENTS[0])["triggers"][0]
        authentication = cluster.get("TriggerAuthentication", namespace, trigger["authenticationRef"]["name"])
        login = {item["parameter"]: values[item["key"]] for item in authentication["spec"]["secretTargetRef"]}
        assert login == {"username": "media-scaler", "password": "not-a-real-password"}
        assert "not-a-real-password" not in "".join(str(run.data) for run in runs)


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
            assert scalers_at_work(cluster, f"{prefix}-{site}") == {f"{name}-scaledobject" for name in found}

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
            address = f"redis.{prefix}-{site}.svc:6379"
            assert {item["address"] for name, item in found.items() if name != "pods"} == {address}
            assert set(found) == {"backlog_p0", "backlog_p3", "backlog_p6", "backlog_p9", "inflight", "pods"}
