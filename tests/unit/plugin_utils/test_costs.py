# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must not do more often than it has to. Counted, never timed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils import fleet
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils import _fleet_run

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, run
from tests.unit.others import deployment

KEDA_NAME = "scaledobject.keda.sh/name"


def scaled(queues: int) -> Object:
    """An inventory of that many scaled queues."""
    config = {f"queue{number}": {"enable_keda": True, "min_replicas": 1} for number in range(queues)}
    return {"services": {"billing": {"image": IMAGE}}, "config": {"billing": config}, "broker": {"host": "redis"}}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every inventory that a run reads."""
    found: list[Any] = []

    def counted(inventory: Any, *more: Any, **named: Any) -> Any:
        found.append(inventory)
        return parse_fleet(inventory, *more, **named)

    for module in (_fleet_run, fleet):
        monkeypatch.setattr(module, "parse_fleet", counted)
    return found


@pytest.mark.parametrize("checks", [False, True])
def test_an_inventory_is_parsed_once(parsed: list[Any], checks: bool) -> None:
    cluster = ModelCluster()
    run(cluster, **scaled(3))
    parsed.clear()
    assert not run(cluster, checks=checks, **scaled(3)).get("failed")
    assert len(parsed) == 1


def test_only_what_a_cluster_decides_is_parsed_once_more(parsed: list[Any]) -> None:
    cluster = ModelCluster()
    cluster.put(deployment("web", labels={}))
    given = scaled(2)
    given["services"]["billing"] = {"inherit_from": "web"}
    assert not run(cluster, **given).get("failed")
    assert len(parsed) == 2


def test_a_larger_fleet_reads_its_cluster_as_often_as_a_small_one() -> None:
    reads = []
    for queues in (1, 12):
        cluster = ModelCluster()
        run(cluster, **scaled(queues))
        cluster.lists.clear()
        cluster.sent.clear()
        assert not run(cluster, **scaled(queues)).get("failed")
        assert cluster.sent == []
        reads.append(cluster.lists)
    assert reads[0] == reads[1]


def test_a_first_run_is_one_task_however_large_the_fleet_is() -> None:
    cluster = ModelCluster()
    run(cluster, **scaled(12))
    assert len(cluster.sent) == 1


def test_where_numbers_come_from_is_told_to_those_who_ask() -> None:
    cluster = ModelCluster()
    told = run(cluster, explain=True, **scaled(2))
    assert [line for line in told["explained"] if not line.startswith(" ")] == ["billing.queue0", "billing.queue1"]
    assert any(line.split()[:2] == ["min_replicas", "1"] and "queue0" in line for line in told["explained"])
    assert "explained" not in run(cluster, **scaled(2))


def touched_by_others(cluster: ModelCluster) -> None:
    """What KEDA, its autoscalers and the API server write to the objects of a fleet. Taken from a live cluster."""
    for (kind, name), before in list(cluster.objects.items()):
        item = copy.deepcopy(before)
        metadata = item["metadata"]
        metadata.update(uid="9080c078", creationTimestamp="2026-11-22T08:11:20Z", generation=4)
        metadata["managedFields"] = [{"manager": "keda", "operation": "Update", "fieldsV1": {"f:spec": {}}}]
        if kind == "ScaledObject":
            metadata["finalizers"] = ["finalizer.keda.sh"]
            metadata["labels"][KEDA_NAME] = name
            item["status"] = {
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Paused", "status": "Unknown"}],
                "hpaName": f"keda-hpa-{name}",
                "originalReplicaCount": 1,
            }
            cluster.objects["HorizontalPodAutoscaler", f"keda-hpa-{name}"] = autoscaler(item)
        if kind == "Deployment":
            metadata["annotations"]["deployment.kubernetes.io/revision"] = "1"
            item["spec"].update(progressDeadlineSeconds=600, revisionHistoryLimit=10, replicas=7)
            pod = item["spec"]["template"]["spec"]
            for field, default in (("dnsPolicy", "ClusterFirst"), ("schedulerName", "default-scheduler")):
                pod.setdefault(field, default)
            for container in pod["containers"]:
                container.setdefault("resources", {})
                container.setdefault("imagePullPolicy", "IfNotPresent")
                for variable in container.get("env", []):
                    variable.get("valueFrom", {}).get("fieldRef", {}).setdefault("apiVersion", "v1")
            up = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 7)
            item["status"] = {"observedGeneration": 4, **up}
        cluster.objects[kind, name] = item


def autoscaler(scaled_object: Object) -> Object:
    """The HPA that KEDA makes: with all labels and annotations of its ScaledObject."""
    name, target = scaled_object["metadata"]["name"], scaled_object["spec"]["scaleTargetRef"]["name"]
    labels = {"app.kubernetes.io/managed-by": "keda-operator", "app.kubernetes.io/part-of": name}
    owner = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "name": name,
        "uid": "9080c078",
        "controller": True,
    }
    metadata = {
        "name": f"keda-hpa-{name}",
        "namespace": scaled_object["metadata"]["namespace"],
        "labels": {**scaled_object["metadata"]["labels"], **labels},
        "annotations": dict(scaled_object["metadata"]["annotations"]),
        "ownerReferences": [owner],
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 30},
    }


@pytest.mark.parametrize("checks", [False, True])
def test_what_others_write_to_our_objects_is_no_change_of_ours(checks: bool) -> None:
    cluster = ModelCluster()
    run(cluster, prune=True, **scaled(2))
    touched_by_others(cluster)
    cluster.sent.clear()
    second = run(cluster, checks=checks, prune=True, **scaled(2))
    assert not second.get("failed"), second["msg"]
    assert cluster.sent == []
    assert not second["changed"]


def test_a_field_that_we_send_and_others_changed_is_set_back() -> None:
    cluster = ModelCluster()
    run(cluster, **scaled(2))
    touched_by_others(cluster)
    cluster.objects["ScaledObject", "billing-worker-queue1-scaledobject"]["spec"]["maxReplicaCount"] = 99
    second = run(cluster, **scaled(2))
    assert second["updated"] == ["ScaledObject billing-worker-queue1-scaledobject"]
