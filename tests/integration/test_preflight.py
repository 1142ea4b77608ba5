# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a run before anything is sent: one host for each reason, all in one run.

Each message names what is wrong and says what to do, and nothing is written anywhere.
"""

from __future__ import annotations

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
    with_server,
    with_token,
)
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import FORBIDDEN_TOKEN

SHARED: Json = {
    "celery_workers_wait": False,
    "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": {}, "high": {"enable_keda": True, "min_replicas": 1}}},
}
WITHOUT_KEDA: Json = {"shop": {"default": {}, "high": {}}}
BAD_INVENTORY: Json = {
    "celery_workers_config": {
        "shop": {
            "default": {"max_replicaz": 5},
            "high": {"enable_keda": True, "min_replicas": 9, "max_replicas": 3},
            "low": {"concurrency": "many"},
        }
    }
}

#: What watches the fleet, with a mistake in each part.
BAD_WATCHING: Json = {
    "celery_workers_flower_enabled": True,
    "celery_workers_flower": {
        "pasword": "mistyped-and-not-shown",
        "ingress": {"class_name": "nginx"},
        "http_route": {"host": "flower.example.org"},
        "network_policy": {},
        "extra_params": ["--basic-auth=me:argument-and-not-shown"],
    },
    "celery_workers_exporter_enabled": True,
    "celery_workers_exporter": {"runtime_buckets": [5, 1]},
    "celery_workers_service_monitor_enabled": True,
    "celery_workers_service_monitor": {"interval": "often"},
    "celery_workers_prometheus_rule_enabled": True,
    "celery_workers_prometheus_rule": {"severities": {"CeleryTasksFial": "critical"}},
    "celery_workers_dashboard_enabled": True,
    "celery_workers_dashboard": {"delivery": "by_hand"},
}

#: Host to the words that its message must hold.
EXPECTED: dict[str, list[str]] = {
    "unreachable": ["127.0.0.1", "cannot be reached", "celery_workers_kubeconfig"],
    "unauthorized": ["refused the credentials", "celery_workers_kubeconfig"],
    "forbidden": ["forbidden", "The account lacks: list on", "queueops.celery.rbac"],
    "nowhere": ["does not exist", "celery_workers_create_namespace: true"],
    "kedaless": ["ScaledObject", "shop-worker-high", "Install KEDA"],
    "deployment": ["Deployment shop-worker", "not ours", "helm", "name"],
    "secret": ["Secret", "celery-broker", "not ours", "delete"],
    "scaledobject": ["ScaledObject shop-worker-high-scaledobject", "not ours"],
    "hpa": ["HorizontalPodAutoscaler odd-name", "shop-worker-high", "autoscaler_conflict: transfer", "remove"],
    "inventory": ["max_replicaz", "max_replicas", "min_replicas 9", "low.concurrency"],
    "both": ["max_replicaz", "min_replicas 9", "low.concurrency"],
    "mistyped": ["celery_workers_namespce", "celery_workers_namespace"],
    "watching": [
        "celery_workers_flower.pasword",
        "celery_workers_flower.ingress.host",
        "celery_workers_flower.http_route.gateway",
        "celery_workers_flower.network_policy.allow_from",
        "--basic-auth is refused",
        "celery_workers_exporter.runtime_buckets",
        "celery_workers_service_monitor.interval",
        "CeleryTasksFail",
        "celery_workers_dashboard.delivery",
    ],
}
#: Hosts that need what only the emulator has.
EMULATED = {"forbidden", "kedaless", "keda_off"}


@dataclass(frozen=True)
class Outcome:
    run: Run
    names: dict[str, str]
    places: dict[str, Cluster]
    before: dict[str, dict[str, str]]


def foreign(kind: str, namespace: str, name: str, **content: Json) -> Json:
    api = {"Deployment": "apps/v1", "Secret": "v1", "ScaledObject": "keda.sh/v1alpha1"}
    api["HorizontalPodAutoscaler"] = "autoscaling/v2"
    labels = {"app.kubernetes.io/managed-by": "helm"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": api[kind], "kind": kind, "metadata": metadata, **content}


def foreign_objects(names: dict[str, str]) -> Iterator[Json]:
    """What somebody else has in the way of four hosts."""
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "registry.example/other:1"}]},
    }
    target: Json = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-worker-high"}}
    deployment: Json = {"selector": {"matchLabels": {"a": "b"}}, "template": pod}
    yield foreign("Deployment", names["deployment"], "shop-worker", spec=deployment)
    yield foreign("Secret", names["secret"], f"{names['secret']}-celery-broker", data={"password": "bWluZQ=="})
    trigger = {"type": "redis", "metadata": {"address": "r:6379", "listName": "q", "listLength": "1"}}
    yield foreign(
        "ScaledObject", names["scaledobject"], "shop-worker-high-scaledobject", spec=target | {"triggers": [trigger]}
    )
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    hpa: Json = target | {"maxReplicas": 3, "metrics": [metric]}
    yield foreign("HorizontalPodAutoscaler", names["hpa"], "odd-name", spec=hpa)


def unauthorized(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig with a token that nobody knows.

    The emulator gets another name, so that no other host of the run has filled the discovery cache for it.
    """
    target = folder / "unauthorized"
    if cluster.emulator:
        with_server(cluster.kubeconfig, target, cluster.emulator.url.replace("127.0.0.1", "localhost"))
        return with_token(target, target, "wrong-token")
    return with_token(cluster.kubeconfig, target, "wrong-token")


def host_variables(names: dict[str, str], cluster: Cluster, bare: Cluster | None, folder: Path) -> dict[str, Json]:
    away = str(with_server(cluster.kubeconfig, folder / "away", "http://127.0.0.1:1"))
    hosts: dict[str, Json] = {host: {"celery_workers_namespace": name} for host, name in names.items()}
    hosts["unreachable"]["celery_workers_kubeconfig"] = away
    hosts["unauthorized"]["celery_workers_kubeconfig"] = str(unauthorized(cluster, folder))
    hosts["inventory"] |= BAD_INVENTORY
    hosts["both"] |= BAD_INVENTORY | {"celery_workers_kubeconfig": away}
    hosts["mistyped"]["celery_workers_namespce"] = "shop"
    # No request could be answered, so the message came before any.
    hosts["watching"] |= BAD_WATCHING | {"celery_workers_kubeconfig": away}
    if bare is not None:
        hosts["forbidden"]["celery_workers_kubeconfig"] = str(
            with_token(cluster.kubeconfig, folder / "forbidden", FORBIDDEN_TOKEN)
        )
        hosts["kedaless"]["celery_workers_kubeconfig"] = str(bare.kubeconfig)
        hosts["keda_off"] |= {
            "celery_workers_kubeconfig": str(bare.kubeconfig),
            "celery_workers_config": WITHOUT_KEDA,
        }
    return hosts


class TestReasonsToStop:
    @pytest.fixture(scope="class")
    @classmethod
    def outcome(cls, cluster: Cluster, bare: Cluster | None, player: Player, folder: Path) -> Iterator[Outcome]:
        hosts = [host for host in (*EXPECTED, "keda_off") if bare is not None or host not in EMULATED]
        names = {host: new_namespace_name(host.replace("_", "-")) for host in hosts}
        places = {host: bare if bare and host in ("kedaless", "keda_off") else cluster for host in hosts}
        here = [names[host] for host in hosts if places[host] is cluster and host != "nowhere"]
        there = [names[host] for host in hosts if places[host] is not cluster]
        with namespaces(cluster, *here), namespaces(bare or cluster, *there):
            for manifest in foreign_objects(names):
                cluster.create(manifest)
            before = {host: places[host].versions(names[host]) for host in hosts}
            for place in {id(place): place for place in places.values()}.values():
                if place.emulator:
                    place.emulator.requests.clear()
            inventory = write_inventory(folder, host_variables(names, cluster, bare, folder), SHARED)
            yield Outcome(player.deploy(inventory), names, places, before)

    @pytest.mark.parametrize("host", EXPECTED)
    def test_the_message_says_what_and_what_to_do(self, outcome: Outcome, host: str) -> None:
        if host not in outcome.names:
            pytest.skip("needs the emulator")
        message = outcome.run.message(host)
        assert message, f"{host} did not fail"
        assert ".py" not in message, "a stack trace is in the message"
        for words in EXPECTED[host]:
            assert words in message

    @pytest.mark.parametrize("host", EXPECTED)
    def test_nothing_is_written(self, outcome: Outcome, host: str) -> None:
        if host not in outcome.names:
            pytest.skip("needs the emulator")
        cluster, name = outcome.places[host], outcome.names[host]
        assert cluster.versions(name) == outcome.before[host]
        assert outcome.run.data["stats"][host]["changed"] == 0
        if cluster.emulator:
            assert [(one.method, one.path) for one in cluster.requests_of(name) if one.is_write] == []

    def test_a_cluster_without_keda_is_enough_where_nothing_uses_it(self, outcome: Outcome) -> None:
        if "keda_off" not in outcome.names:
            pytest.skip("needs a cluster without KEDA")
        assert outcome.run.changed("keda_off") > 0
        found = outcome.places["keda_off"].select("Deployment", outcome.names["keda_off"])
        assert {item["metadata"]["name"] for item in found} == {"shop-worker", "shop-worker-high"}

    def test_all_problems_of_an_inventory_come_together(self, outcome: Outcome) -> None:
        for host in ("inventory", "both"):
            message = outcome.run.message(host)
            assert "celery_workers_config.shop.default.max_replicaz" in message
            assert "celery_workers_config.shop.high" in message
            assert "celery_workers_config.shop.low.concurrency" in message

    def test_no_traceback_and_no_password(self, outcome: Outcome) -> None:
        assert "Traceback" not in outcome.run.output
        for secret in ("only-for-this-test", "mistyped-and-not-shown", "argument-and-not-shown"):
            assert secret not in outcome.run.output

    def test_objects_of_others_stay_theirs(self, cluster: Cluster, outcome: Outcome) -> None:
        found = cluster.get("Deployment", outcome.names["deployment"], "shop-worker")
        assert FLEET_LABEL not in found["metadata"]["labels"]
