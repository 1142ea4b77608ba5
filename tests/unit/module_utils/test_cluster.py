# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a namespace: what is ours or adopted, what workers are made like, and what a Redis forgets."""

from __future__ import annotations

import json
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    Cluster,
    ClusterError,
    fleet_deployments,
    fleet_pods,
    read_observed,
    wait_for_fleet,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ADOPTED_LABEL, FLEET_LABEL
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    IDLE_FIRST_KINDS,
    LAST_APPLIED,
    OPTIONAL_KINDS,
    Autoscaler,
    Observed,
)

from tests.unit.inventories import Manifest
from tests.unit.others import deployment
from tests.unit.running_pods import cluster_of, pod_of


class _RefusedError(Exception):
    status = 403


class _MissingError(Exception):
    status = 404


class Api:
    """As much of kubernetes.core's client as reads a namespace.

    :param refused: kinds that nobody may read.
    """

    def __init__(self, objects: Collection[Manifest], refused: Collection[str] = ()) -> None:
        self.objects = objects
        self.refused = refused
        self.configuration = SimpleNamespace(host="https://cluster.example")
        self.asked: list[tuple[str, str]] = []

    def resource(self, kind: str, _api_version: str) -> str:
        return kind

    def get(self, resource: str, namespace: str = "", name: str = "", **_options: Any) -> Any:
        self.asked.append((resource, name))
        if resource in self.refused:
            raise _RefusedError(f"{resource} is forbidden")
        found = [item for item in self.objects if item["kind"] == resource]
        if not name:
            return SimpleNamespace(to_dict=lambda: {"items": found})
        named = [item for item in found if item["metadata"]["name"] == name]
        if not named and resource != "Namespace":
            raise _MissingError(name)
        return SimpleNamespace(to_dict=lambda: named[0])


def read(*objects: Manifest, refused: Collection[str] = (), **more: Any) -> Observed:
    return read_observed(Cluster(Api(objects, refused), "shop"), "shop", more.pop("names", ()), **more)


def config_map(name: str, **data: str) -> Manifest:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def redis(name: str = "redis", config: str | None = "redis-config") -> Manifest:
    volumes: list[dict[str, Any]] = [{"name": "data", "persistentVolumeClaim": {"claimName": "redis"}}]
    if config is not None:
        volumes.append({"name": "config", "configMap": {"name": config}})
    return deployment(name, words=["redis-server"], pod={"volumes": volumes})


POLICY = "# comment\nmaxmemory 4gb\n  maxmemory-policy allkeys-lru\nrequirepass hunter2\n"


def test_what_a_redis_does_when_its_memory_is_full_is_read_from_the_file_it_mounts() -> None:
    found = read(redis(), config_map("redis-config", **{"redis.conf": POLICY}), redis_hosts={"redis"})
    assert found.redis_policies == {"redis": "allkeys-lru"}
    assert "hunter2" not in str(found)


def test_the_last_policy_counts() -> None:
    text = f"{POLICY}maxmemory-policy noeviction\n#maxmemory-policy allkeys-lfu\n"
    found = read(redis(), config_map("redis-config", **{"redis.conf": text}), redis_hosts={"redis"})
    assert found.redis_policies == {"redis": "noeviction"}


@pytest.mark.parametrize(
    ("objects", "hosts"),
    [
        ((redis(), config_map("redis-config", **{"redis.conf": POLICY})), set()),
        ((redis(), config_map("redis-config", **{"redis.conf": POLICY})), {"other"}),
        ((redis(),), {"redis"}),
        ((redis(config=None),), {"redis"}),
        ((redis(), config_map("redis-config", **{"redis.conf": "maxmemory 1gb\n"})), {"redis"}),
        ((redis(), config_map("redis-config")), {"redis"}),
    ],
    ids=["nobody asks", "another host", "gone", "no file", "no policy", "empty"],
)
def test_without_a_file_that_says_so_nothing_is_known(objects: tuple[Manifest, ...], hosts: set[str]) -> None:
    assert read(*objects, redis_hosts=hosts).redis_policies == {}


def test_a_config_map_that_nobody_may_read_is_no_problem() -> None:
    cluster = Cluster(Api((redis(),), {"ConfigMap"}), "shop")
    assert cluster.config_map_texts("redis-config") == []


VPA = {
    "kind": "VerticalPodAutoscaler",
    "metadata": {"name": "vpa"},
    "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "lms-worker"}},
}


def test_vertical_autoscalers_are_read_where_that_is_allowed() -> None:
    assert read(VPA).autoscalers == (
        Autoscaler("VerticalPodAutoscaler", "vpa", "lms-worker", owner="an unknown owner", mode="Auto"),
    )


def test_who_may_not_read_vertical_autoscalers_goes_without_them() -> None:
    found = read(VPA, deployment(), refused={"VerticalPodAutoscaler"}, names={("Deployment", "lms-worker")})
    assert found.autoscalers == ()
    assert [item.name for item in found.objects] == ["lms-worker"]


def test_what_the_fleet_needs_must_be_readable() -> None:
    with pytest.raises(ClusterError, match="list Deployment in shop"):
        read(deployment(), refused={"Deployment"})


def test_only_what_is_ours_adopted_or_asked_for_is_kept() -> None:
    objects = (
        deployment("ours", labels={FLEET_LABEL: "shop"}),
        deployment("adopted", labels={ADOPTED_LABEL: "shop"}),
        deployment("asked"),
        deployment("others", labels={ADOPTED_LABEL: "other", FLEET_LABEL: "other"}),
    )
    found = read(*objects, names={("Deployment", "asked")})
    assert [item.name for item in found.objects] == ["ours", "adopted", "asked"]
    assert [item.name for item in found.adopted("shop")] == ["adopted"]
    assert [item.name for item in found.ours("shop")] == ["ours"]


def test_only_deployments_that_workers_are_made_like_are_read_in_full() -> None:
    found = read(deployment("lms"), deployment("mysql"), sources={"lms", "missing"})
    assert [item.deployment for item in found.sources] == ["lms"]
    assert found.source("lms") == found.sources[0]
    assert found.source("mysql") is None
    assert found.objects == ()


def test_adopted_deployments_and_their_pods_belong_to_the_fleet() -> None:
    ours = deployment("ours", labels={FLEET_LABEL: "shop"})
    ours["spec"]["template"]["metadata"]["labels"][FLEET_LABEL] = "shop"
    theirs = deployment("adopted", labels={ADOPTED_LABEL: "shop"})
    cluster = cluster_of(ours, theirs, deployment("other"), *map(pod_of, (ours, theirs, deployment("other"))))
    found = fleet_deployments(cluster, "shop")
    assert [item["metadata"]["name"] for item in found] == ["ours", "adopted"]
    assert [item["metadata"]["name"] for item in fleet_pods(cluster, "shop", found)] == ["ours-1", "adopted-1"]


def test_a_deployment_of_a_fleet_is_never_what_workers_are_made_like() -> None:
    theirs, ours = deployment("lms"), deployment("lms-worker", labels={FLEET_LABEL: "shop"})
    assert [item.deployment for item in read(theirs, ours, sources={"lms", "lms-worker"}).sources] == ["lms"]


def test_of_a_foreign_last_apply_no_environment_value_is_kept() -> None:
    applied = {
        "spec": {
            "replicas": 1,
            "template": {
                "spec": {"containers": [{"name": "x", "env": [{"name": "SMTP_PASSWORD", "value": "hunter2"}]}]}
            },
        }
    }
    raw = deployment(annotations={LAST_APPLIED: json.dumps(applied)})
    found = read(raw, names={("Deployment", "lms-worker")})
    assert found.objects[0].applied_replicas == 1
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("kind", IDLE_FIRST_KINDS)
def test_what_lets_idle_pods_go_first_may_be_hidden_although_the_fleet_asks_for_it(kind: str) -> None:
    found = read(deployment("ours", labels={FLEET_LABEL: "shop"}), refused={kind}, names={(kind, "any")})
    assert found.hidden_kinds == (kind,)


@pytest.mark.parametrize("kind", OPTIONAL_KINDS)
def test_who_may_not_read_a_kind_that_nobody_asks_for_goes_without_it(kind: str) -> None:
    found = read(deployment("ours", labels={FLEET_LABEL: "shop"}), refused={kind})
    assert [item.name for item in found.objects] == ["ours"]
    assert found.missing_kinds == ()


@pytest.mark.parametrize("kind", [one for one in OPTIONAL_KINDS if one not in IDLE_FIRST_KINDS])
def test_a_kind_that_the_fleet_asks_for_must_be_readable(kind: str) -> None:
    with pytest.raises(ClusterError, match=f"list {kind} in shop"):
        read(deployment(), refused={kind}, names={(kind, "flower")})


@pytest.mark.parametrize("kind", [kind for kind in API_VERSIONS if kind not in OPTIONAL_KINDS])
def test_a_kind_that_workers_need_must_be_readable_whatever_the_fleet_asks_for(kind: str) -> None:
    with pytest.raises(ClusterError, match=f"list {kind} in shop"):
        read(deployment(), refused={kind})


def test_what_nobody_asks_for_and_may_not_be_read_is_known_to_be_hidden() -> None:
    assert read(refused=["Ingress", "PrometheusRule"]).hidden_kinds == ("Ingress", "PrometheusRule")
    assert read().hidden_kinds == ()


def test_every_kind_that_is_refused_is_named_at_once() -> None:
    with pytest.raises(ClusterError) as caught:
        read(refused={"Service", "Ingress", "HTTPRoute"}, names={("Service", "flower"), ("Ingress", "flower")})
    assert [line.partition(" in shop")[0].rpartition(" ")[2] for line in str(caught.value).splitlines()] == [
        "Service",
        "Ingress",
    ]


def test_what_watches_is_read_where_it_is_ours_or_has_a_name_that_is_asked_for() -> None:
    def service(name: str, **labels: str) -> Manifest:
        return {"kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": {"selector": {"a": "b"}}}

    found = read(
        service("flower", **{FLEET_LABEL: "shop"}),
        service("celery-exporter"),
        service("redis"),
        names={("Service", "celery-exporter")},
    )
    assert [item.name for item in found.objects] == ["flower", "celery-exporter"]


def test_a_secret_that_pods_mount_and_that_does_not_exist_ends_the_wait() -> None:
    """The status of such a pod only says that its container is being created."""
    worker = deployment()
    worker["metadata"]["labels"] = {FLEET_LABEL: "shop"}
    worker["status"] = {"observedGeneration": 9, "replicas": 1, "updatedReplicas": 1}
    worker["spec"]["template"]["spec"]["volumes"] = [{"name": "key", "secret": {"secretName": "signing"}}]
    creating = [{"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    pod = pod_of(worker, ready=False, containerStatuses=creating)
    pod["metadata"]["labels"] = {**worker["spec"]["selector"]["matchLabels"], FLEET_LABEL: "shop"}
    now = [0.0]

    def waited(*more: Manifest) -> tuple[float, str]:
        now[0] = 0.0
        found = wait_for_fleet(
            cluster_of(worker, pod, *more),
            "shop",
            [worker["metadata"]["name"]],
            [],
            timeout=300,
            pause=5,
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
            clock=lambda: now[0],
        )
        return now[0], found[0].reason

    seconds, reason = waited()
    assert seconds < 60, reason
    assert "Its pods mount Secret signing, which the namespace does not have." in reason
    seconds, reason = waited({"kind": "Secret", "metadata": {"name": "signing"}})
    assert (seconds, "mount" in reason) == (300, False)
