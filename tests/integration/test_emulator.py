# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Kubernetes API emulator does beyond the recorded exchanges."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config as kubernetes_config
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from websocket import ABNF, WebSocket, WebSocketBadStatusException

from tests.support import real_tutor
from tests.support._kustomize import read_objects
from tests.support._local_exec import run_locally
from tests.support._quantity import canonical
from tests.support.api_client import STRATEGIC_PATCH, ApiClient, KubeconfigClient, Reply
from tests.support.consumers import consumed_queues, consumers_over_time, queues_without_consumer
from tests.support.kubectl_apply import LAST_APPLIED, ApplyError
from tests.support.kubernetes_emulator import DEFAULT_TOKEN, FORBIDDEN_TOKEN, Emulator, ExecRequest, ExecResult

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
LIVE_AUTOSCALERS = ROOT.parent / "shared" / "fixtures" / "live-hpa-list.json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
PODS = "/api/v1/namespaces/shop/pods"
REPLICA_SETS = "/apis/apps/v1/namespaces/shop/replicasets"


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(namespaces=["shop"]) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    running.reset()
    return running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[ApiClient]:
    with ApiClient(emulator.url, DEFAULT_TOKEN) as client:
        yield client


def deployment(name: str = "worker", **spec: Any) -> Json:
    container = {"name": "worker", "image": "shop:1", "env": [{"name": "A", "value": "1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": {"tier": name, "app": "shop"}},
        "spec": {
            "selector": {"matchLabels": {"tier": name}},
            "template": {"metadata": {"labels": {"tier": name}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


def scaled_object(name: str = "scaler", target: str = "worker", **spec: Any) -> Json:
    trigger = {"type": "redis", "metadata": {"address": "redis:6379", "listName": "jobs", "listLength": "40"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"scaleTargetRef": {"name": target}, "triggers": [trigger], **spec},
    }


def config_map(name: str, labels: dict[str, str] | None = None) -> Json:
    metadata: Json = {"name": name, "namespace": "shop", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def names(body: Json) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def uids(body: Json) -> set[str]:
    return {item["metadata"]["uid"] for item in body["items"]}


def stored(emulator: Emulator, kind: str, name: str) -> Json:
    obj = emulator.get(kind, name, "shop")
    assert obj is not None, f"{kind} {name} is not stored"
    return obj


class TestWrites:
    def test_dry_runs_store_nothing(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        before = {kind: emulator.objects(kind) for kind in ("Deployment", "ScaledObject", "HorizontalPodAutoscaler")}
        worker = f"{DEPLOYMENTS}/worker?dryRun=All"

        assert client.post(f"{DEPLOYMENTS}?dryRun=All", deployment("other")).status == 201
        assert client.patch(worker, {"spec": {"replicas": 5}}).body["spec"]["replicas"] == 5
        assert client.put(worker, deployment(replicas=7)).body["spec"]["replicas"] == 7
        scale = client.patch(f"{DEPLOYMENTS}/worker/scale?dryRun=All", {"spec": {"replicas": 6}})
        assert scale.body["spec"] == {"replicas": 6}
        assert client.delete(worker).status == 200
        assert client.delete(f"{SCALED_OBJECTS}/scaler?dryRun=All").status == 200

        assert {kind: emulator.objects(kind) for kind in before} == before

    def test_a_dry_run_is_still_validated(self, client: ApiClient) -> None:
        assert client.post(f"{DEPLOYMENTS}?dryRun=All", deployment("Bad_Name")).status == 422

    @pytest.mark.parametrize("method", ["merge", "strategic", "put"])
    def test_a_write_that_changes_nothing_moves_no_version(
        self, emulator: Emulator, client: ApiClient, method: str
    ) -> None:
        client.post(DEPLOYMENTS, deployment())
        before = stored(emulator, "Deployment", "worker")
        path, same = f"{DEPLOYMENTS}/worker", deployment()
        if method == "put":
            same["metadata"]["annotations"] = before["metadata"]["annotations"]
            reply = client.put(path, same)
        elif method == "merge":
            reply = client.patch(path, same)
        else:
            reply = client.patch(path, same, STRATEGIC_PATCH)

        assert reply.status == 200
        assert reply.body == before
        assert stored(emulator, "Deployment", "worker") == before

    def test_generation_follows_the_spec_and_not_the_labels(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        path = f"{DEPLOYMENTS}/worker"
        first = client.get(path).body["metadata"]

        labelled = client.patch(path, {"metadata": {"labels": {"new": "label"}}}).body["metadata"]
        assert labelled["generation"] == first["generation"]
        assert labelled["resourceVersion"] != first["resourceVersion"]
        assert client.patch(path, {"spec": {"replicas": 4}}).body["metadata"]["generation"] == first["generation"] + 1

    def test_replicas_null_means_one(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment(replicas=3))
        assert client.patch(f"{DEPLOYMENTS}/worker", {"spec": {"replicas": None}}).body["spec"]["replicas"] == 1

    def test_null_removes_annotations_and_labels(self, emulator: Emulator, client: ApiClient) -> None:
        obj = deployment()
        obj["metadata"]["annotations"] = {"ours": "1", "theirs": "2"}
        obj["metadata"]["labels"] |= {"ours": "1"}
        obj["spec"]["template"]["metadata"]["annotations"] = {"ours": "1"}
        client.post(DEPLOYMENTS, obj)
        metadata = {"annotations": {"ours": None}, "labels": {"ours": None, "never-there": None}}
        template = {"metadata": {"annotations": {"ours": None}}}
        reply = client.patch(f"{DEPLOYMENTS}/worker", {"metadata": metadata, "spec": {"template": template}})
        assert reply.status == 200
        live = stored(emulator, "Deployment", "worker")
        assert live["metadata"]["annotations"] == {"theirs": "2", "deployment.kubernetes.io/revision": "2"}
        assert live["metadata"]["labels"] == {"tier": "worker", "app": "shop"}
        assert "annotations" not in live["spec"]["template"]["metadata"]

    def test_quantities_are_stored_in_their_canonical_form(self, client: ApiClient) -> None:
        requests = {"cpu": "1500m", "memory": "1.5Gi", "ephemeral-storage": "1000M"}
        resources = {"requests": requests, "limits": {"cpu": 2, "memory": "2048Mi"}}
        obj = deployment()
        obj["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
        kept = client.post(DEPLOYMENTS, obj).body["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert kept["requests"] == {"cpu": "1500m", "memory": "1536Mi", "ephemeral-storage": "1G"}
        assert kept["limits"] == {"cpu": "2", "memory": "2Gi"}

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("0", "0"),
            (2, "2"),
            ("1e3", "1e3"),
            ("100e-3", "100e-3"),
            ("1024Mi", "1Gi"),
            ("1.0005Ki", "1025"),
            ("0.5Mi", "512Ki"),
            ("512e6", "512e6"),
            ("0.0000000001", "1n"),
        ],
    )
    def test_canonical_quantities(self, written: str | int, kept: str) -> None:
        assert canonical(written) == kept

    def test_probes_and_volumes_get_their_defaults(self, client: ApiClient) -> None:
        obj = deployment()
        pod = obj["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
        pod["containers"][0]["livenessProbe"] = {"httpGet": {"port": 80}, "periodSeconds": 60}
        pod["containers"][0]["env"] = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
        pod["containers"][0]["image"] = "registry.example:5000/shop"
        kept = client.post(DEPLOYMENTS, obj).body["spec"]["template"]["spec"]
        container = kept["containers"][0]
        assert kept["volumes"] == [{"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}]
        assert container["livenessProbe"] == {
            "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 60,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
        assert container["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "status.podIP"}
        assert container["imagePullPolicy"] == "Always"

    def test_an_unknown_field_is_dropped_with_a_warning(self, client: ApiClient) -> None:
        obj = deployment()
        obj["spec"]["template"]["spec"]["containers"][0]["immage"] = "typo"
        reply = client.post(DEPLOYMENTS, obj)
        assert reply.warnings == [r'299 - "unknown field \"spec.template.spec.containers[0].immage\""']
        assert "immage" not in reply.body["spec"]["template"]["spec"]["containers"][0]
        strict = client.post(f"{DEPLOYMENTS}?fieldValidation=Strict", obj)
        assert (strict.status, strict.body["reason"]) == (400, "BadRequest")

    def test_an_unknown_field_of_a_scaled_object_is_dropped_with_a_warning(self, client: ApiClient) -> None:
        reply = client.post(SCALED_OBJECTS, scaled_object(poolingInterval=5))
        assert reply.warnings == [r'299 - "unknown field \"spec.poolingInterval\""']
        assert "poolingInterval" not in reply.body["spec"]

    def test_scale_is_written_through(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        scale = client.get(f"{DEPLOYMENTS}/worker/scale").body
        scale["spec"]["replicas"] = 3
        assert client.put(f"{DEPLOYMENTS}/worker/scale", scale).body["spec"] == {"replicas": 3}
        assert stored(emulator, "Deployment", "worker")["spec"]["replicas"] == 3
        assert client.put(f"{DEPLOYMENTS}/worker/scale", scale).body["reason"] == "Conflict"

    def test_a_stale_patch_is_refused(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        patch = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}}
        assert client.patch(f"{DEPLOYMENTS}/worker", patch).body["reason"] == "Conflict"

    def test_delete_honours_preconditions(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        wrong = client.delete(f"{DEPLOYMENTS}/worker", {"preconditions": {"uid": "another"}})
        assert wrong.body["reason"] == "Conflict"
        right = {"preconditions": {"uid": stored(emulator, "Deployment", "worker")["metadata"]["uid"]}}
        assert client.delete(f"{DEPLOYMENTS}/worker", right).body["status"] == "Success"
        assert emulator.objects("Deployment") == []

    def test_deleting_a_namespace_deletes_what_is_in_it(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(CONFIG_MAPS, config_map("a"))
        assert client.delete("/api/v1/namespaces/shop").body["status"] == {"phase": "Terminating"}
        assert emulator.objects("ConfigMap") == []
        assert client.post(CONFIG_MAPS, config_map("a")).status == 404


class TestStrategicMerge:
    def test_containers_and_env_merge_by_name(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        env = [{"name": "B", "value": "2"}]
        containers = [{"name": "worker", "env": env}, {"name": "side", "image": "side:1"}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        patched = client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH).body["spec"]["template"]["spec"]
        worker, side = patched["containers"]
        assert (worker["image"], side["name"]) == ("shop:1", "side")
        # As on a server: what the patch brings goes before what it does not name.
        assert worker["env"] == [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]

    def test_a_patch_may_say_the_order(self, client: ApiClient) -> None:
        obj = deployment()
        container = obj["spec"]["template"]["spec"]["containers"][0]
        container["env"] = [{"name": name, "value": "1"} for name in "AXB"]
        client.post(DEPLOYMENTS, obj)
        change = {"name": "worker", "env": [{"name": "C", "value": "2"}]}
        change["$setElementOrder/env"] = [{"name": name} for name in "BCA"]
        patch = {"spec": {"template": {"spec": {"containers": [change]}}}}
        patched = client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH).body["spec"]["template"]["spec"]
        # X, which only the server has, stays before B, which it preceded.
        assert "".join(entry["name"] for entry in patched["containers"][0]["env"]) == "XBCA"

    def test_args_and_the_grace_period_of_one_container(self, client: ApiClient) -> None:
        obj = deployment(replicas=3)
        side = {"name": "side", "image": "side:1", "args": ["serve"]}
        container = obj["spec"]["template"]["spec"]["containers"][0]
        container["args"] = ["celery", "worker", "--queues=a,b", "--without-gossip"]
        obj["spec"]["template"]["spec"]["containers"].append(side)
        before = client.post(DEPLOYMENTS, obj).body["spec"]
        spec = {"containers": [{"name": "worker", "args": ["celery", "worker", "--queues=a"]}]}
        patch = {"spec": {"template": {"spec": {**spec, "terminationGracePeriodSeconds": 600}}}}
        after = client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH).body["spec"]

        before["template"]["spec"]["terminationGracePeriodSeconds"] = 600
        before["template"]["spec"]["containers"][0]["args"] = ["celery", "worker", "--queues=a"]
        assert after == before
        pods = client.get(PODS).body["items"]
        assert [pod["spec"]["containers"][0]["args"][-1] for pod in pods] == ["--queues=a"] * 3

    def test_tolerations_are_replaced_whole(self, client: ApiClient) -> None:
        obj = deployment()
        obj["spec"]["template"]["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
        client.post(DEPLOYMENTS, obj)
        patch = {"spec": {"template": {"spec": {"tolerations": [{"key": "b", "operator": "Exists"}]}}}}
        patched = client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH).body
        assert patched["spec"]["template"]["spec"]["tolerations"] == [{"key": "b", "operator": "Exists"}]

    def test_an_entry_is_deleted_by_its_key(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        container = {"name": "worker", "env": [{"name": "A", "$patch": "delete"}]}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        patched = client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH).body
        assert "env" not in patched["spec"]["template"]["spec"]["containers"][0]

    def test_a_merge_patch_replaces_the_list(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "only:1"}]}}}}
        patched = client.patch(f"{DEPLOYMENTS}/worker", patch).body
        assert [c["name"] for c in patched["spec"]["template"]["spec"]["containers"]] == ["only"]


class TestLists:
    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("fleet=one", ["a"]),
            ("fleet==one", ["a"]),
            ("fleet!=one", ["b", "c"]),
            ("fleet", ["a", "b"]),
            ("!fleet", ["c"]),
            ("fleet in (one, two)", ["a", "b"]),
            ("fleet notin (one)", ["b", "c"]),
            ("fleet in (one,two),queue=high", ["b"]),
            ("fleet=none", []),
        ],
    )
    def test_label_selectors(self, client: ApiClient, selector: str, found: list[str]) -> None:
        for name, labels in (("a", {"fleet": "one"}), ("b", {"fleet": "two", "queue": "high"}), ("c", {})):
            client.post(CONFIG_MAPS, config_map(name, labels))
        query = selector.replace(" ", "%20").replace("!", "%21")
        assert names(client.get(f"{CONFIG_MAPS}?labelSelector={query}").body) == found

    def test_a_malformed_label_selector_is_refused(self, client: ApiClient) -> None:
        assert client.get(f"{CONFIG_MAPS}?labelSelector=a%20like%20b").status == 400

    def test_field_selector_on_the_name(self, client: ApiClient) -> None:
        for name in ("a", "b"):
            client.post(CONFIG_MAPS, config_map(name))
        assert names(client.get(f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Db").body) == ["b"]
        assert client.get(f"{CONFIG_MAPS}?fieldSelector=data.a%3D1").status == 400

    def test_all_namespaces(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.add_namespaces("other")
        emulator.add(config_map("a"), {**config_map("b"), "metadata": {"name": "b", "namespace": "other"}})
        assert names(client.get("/api/v1/configmaps").body) == ["b", "a"]
        assert names(client.get(CONFIG_MAPS).body) == ["a"]

    def test_metadata_only(self, client: ApiClient) -> None:
        client.post(CONFIG_MAPS, config_map("a", {"fleet": "one"}))
        accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        body = client.get(CONFIG_MAPS, accept=accept).body
        assert (body["kind"], body["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
        item = body["items"][0]
        assert set(item) == {"kind", "apiVersion", "metadata"}
        assert item["metadata"]["labels"] == {"fleet": "one"}
        one = client.get(f"{CONFIG_MAPS}/a", accept=accept.replace("List", "")).body
        assert one == item


class TestControllers:
    def test_a_deployment_becomes_available(self, client: ApiClient) -> None:
        created = client.post(DEPLOYMENTS, deployment(replicas=2)).body
        assert created["status"] == {}
        live = client.get(f"{DEPLOYMENTS}/worker").body
        counts = {
            key: live["status"][key] for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        }
        assert set(counts.values()) == {2}
        assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
        assert int(live["metadata"]["resourceVersion"]) == int(created["metadata"]["resourceVersion"]) + 1

    def test_an_unavailable_deployment_has_waiting_pods(self, emulator: Emulator, client: ApiClient) -> None:
        reason, message = "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
        emulator.make_unavailable("shop", "worker", reason=reason, message=message)
        client.post(DEPLOYMENTS, deployment(replicas=2))

        status = client.get(f"{DEPLOYMENTS}/worker").body["status"]
        assert status["unavailableReplicas"] == 2
        assert "availableReplicas" not in status
        assert {c["type"]: c["status"] for c in status["conditions"]} == {"Available": "False", "Progressing": "True"}
        pods = client.get(f"{PODS}?labelSelector=tier%3Dworker").body["items"]
        waiting = [pod["status"]["containerStatuses"][0]["state"]["waiting"] for pod in pods]
        assert waiting == [{"reason": reason, "message": message}] * 2

        emulator.make_available("shop", "worker")
        assert client.get(f"{DEPLOYMENTS}/worker").body["status"]["availableReplicas"] == 2
        assert {pod["status"]["phase"] for pod in client.get(PODS).body["items"]} == {"Running"}

    def test_an_available_deployment_has_running_pods(self, client: ApiClient) -> None:
        obj = deployment(replicas=3)
        owner = client.post(DEPLOYMENTS, obj).body["metadata"]
        client.post(DEPLOYMENTS, deployment("other"))
        pods = client.get(f"{PODS}?labelSelector=tier%3Dworker").body["items"]
        assert len(pods) == 3
        pod, container = pods[0], obj["spec"]["template"]["spec"]["containers"][0]
        assert container.items() <= pod["spec"]["containers"][0].items()
        assert pod["status"]["phase"] == "Running"
        assert {c["type"]: c["status"] for c in pod["status"]["conditions"]}["Ready"] == "True"
        state = pod["status"]["containerStatuses"][0]
        assert (state["name"], state["ready"], list(state["state"])) == ("worker", True, ["running"])

        reference = pod["metadata"]["ownerReferences"][0]
        assert (reference["kind"], reference["controller"]) == ("ReplicaSet", True)
        replica_set = client.get(f"{REPLICA_SETS}/{reference['name']}").body
        assert replica_set["metadata"]["uid"] == reference["uid"]
        assert replica_set["metadata"]["ownerReferences"][0]["uid"] == owner["uid"]

    def test_pods_stay_when_their_number_changes(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment(replicas=3))
        before = uids(client.get(PODS).body)
        for replicas in (5, 2, 0):
            client.patch(f"{DEPLOYMENTS}/worker/scale", {"spec": {"replicas": replicas}})
            now = uids(client.get(PODS).body)
            assert (len(now), len(now & before)) == (replicas, min(replicas, 3))

    def test_a_new_template_brings_new_pods(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment(replicas=2))
        before = uids(client.get(PODS).body)
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "shop:2"}]}}}}
        client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH)
        pods = client.get(PODS).body
        assert {pod["spec"]["containers"][0]["image"] for pod in pods["items"]} == {"shop:2"}
        assert (len(pods["items"]), uids(pods) & before) == (2, set())
        assert len(client.get(REPLICA_SETS).body["items"]) == 1

    def test_a_deleted_deployment_takes_its_pods_along(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment(replicas=2))
        client.delete(f"{DEPLOYMENTS}/worker")
        assert (emulator.objects("ReplicaSet"), emulator.objects("Pod")) == ([], [])

    def test_keda_takes_a_scaled_object_over(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        created = client.post(SCALED_OBJECTS, scaled_object(minReplicaCount=2, maxReplicaCount=9)).body
        assert "finalizers" not in created["metadata"]
        live = client.get(f"{SCALED_OBJECTS}/scaler").body
        assert live["metadata"]["finalizers"] == ["finalizer.keda.sh"]
        assert live["metadata"]["generation"] == created["metadata"]["generation"]
        hpa = client.get(f"{HPAS}/keda-hpa-scaler").body
        assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 9)
        assert hpa["spec"]["metrics"][0]["external"]["target"] == {"type": "AverageValue", "averageValue": "40"}
        owner = hpa["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"]) == ("ScaledObject", live["metadata"]["uid"])

    def test_a_scaled_object_becomes_ready_when_its_target_appears(self, client: ApiClient) -> None:
        client.post(SCALED_OBJECTS, scaled_object())
        path = f"{SCALED_OBJECTS}/scaler"
        assert client.get(path).body["status"]["conditions"][0]["status"] == "False"
        client.post(DEPLOYMENTS, deployment())
        assert client.get(path).body["status"]["conditions"][0]["status"] == "True"

    def test_a_deleted_scaled_object_takes_its_hpa_along(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        assert names(client.get(HPAS).body) == ["keda-hpa-scaler"]
        assert "deletionTimestamp" in client.delete(f"{SCALED_OBJECTS}/scaler").body["metadata"]
        assert client.get(f"{SCALED_OBJECTS}/scaler").status == 404
        assert names(client.get(HPAS).body) == []

    def test_without_kedas_operator_the_finalizer_holds(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        emulator.stop_keda()
        path = f"{SCALED_OBJECTS}/scaler"
        client.delete(path)
        assert "deletionTimestamp" in client.get(path).body["metadata"]
        assert names(client.get(HPAS).body) == ["keda-hpa-scaler"]

        client.patch(path, {"metadata": {"finalizers": None}})
        assert client.get(path).status == 404
        assert names(client.get(HPAS).body) == []

    def test_kedas_return_ends_the_waiting(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(SCALED_OBJECTS, scaled_object())
        emulator.stop_keda()
        client.delete(f"{SCALED_OBJECTS}/scaler")
        emulator.start_keda()
        assert client.get(f"{SCALED_OBJECTS}/scaler").status == 404

    def test_a_pause_removes_the_hpa(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        patch = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
        client.patch(f"{SCALED_OBJECTS}/scaler", patch)
        conditions = client.get(f"{SCALED_OBJECTS}/scaler").body["status"]["conditions"]
        assert {c["type"]: c["status"] for c in conditions}["Paused"] == "True"
        assert names(client.get(HPAS).body) == []

    def test_set_status_is_seen(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        emulator.set_status("Deployment", "worker", {"replicas": 9}, "shop")
        assert client.get(f"{DEPLOYMENTS}/worker").body["status"] == {"replicas": 9}


def autoscaler(**spec: Any) -> Json:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "maxReplicas": 5,
            **spec,
        },
    }


def resource_metric(type_: str = "Utilization", **target: Any) -> Json:
    return {"type": "Resource", "resource": {"name": "cpu", "target": {"type": type_, **target}}}


def policy(seconds: int = 60, value: int = 1, type_: str = "Pods") -> Json:
    return {"type": type_, "value": value, "periodSeconds": seconds}


class TestAutoscalers:
    def test_a_plain_one_gets_the_servers_defaults(self, client: ApiClient) -> None:
        spec = client.post(HPAS, autoscaler()).body["spec"]
        assert spec["minReplicas"] == 1
        assert spec["metrics"] == [resource_metric(averageUtilization=80)]
        assert "behavior" not in spec
        assert names(client.get(HPAS).body) == ["scaler"]

    def test_behavior_is_filled_in_where_it_is_present(self, client: ApiClient) -> None:
        given = {"scaleUp": {"policies": [policy()], "tolerance": "0.050"}}
        behavior = client.post(HPAS, autoscaler(behavior=given)).body["spec"]["behavior"]
        assert behavior == {
            "scaleUp": {
                "policies": [policy()],
                "selectPolicy": "Max",
                "stabilizationWindowSeconds": 0,
                "tolerance": "50m",
            },
            "scaleDown": {"policies": [policy(15, 100, "Percent")], "selectPolicy": "Max"},
        }
        client.delete(f"{HPAS}/scaler")
        up = client.post(HPAS, autoscaler(behavior={"scaleDown": {"selectPolicy": "Disabled"}})).body
        assert up["spec"]["behavior"]["scaleUp"]["policies"] == [policy(15, 4), policy(15, 100, "Percent")]
        assert up["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"

    def test_patch_and_delete(self, client: ApiClient) -> None:
        created = client.post(HPAS, autoscaler(metrics=[resource_metric(averageUtilization=60)])).body
        path = f"{HPAS}/scaler"
        assert client.patch(path, autoscaler(metrics=[resource_metric(averageUtilization=60)])).body == created
        change = {"spec": {"minReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}}
        patched = client.patch(path, change).body["spec"]
        assert (patched["minReplicas"], patched["behavior"]["scaleDown"]["stabilizationWindowSeconds"]) == (2, 60)
        assert "behavior" not in client.patch(path, {"spec": {"behavior": None}}).body["spec"]
        assert client.delete(path).body["status"] == "Success"
        assert client.get(HPAS).body["items"] == []

    @pytest.mark.parametrize(
        ("spec", "field", "message"),
        [
            ({"minReplicas": 0}, "spec.minReplicas", "Invalid value: 0: must be greater than or equal to 1"),
            (
                {"minReplicas": 6},
                "spec.maxReplicas",
                "Invalid value: 5: must be greater than or equal to `minReplicas`",
            ),
            (
                {"scaleTargetRef": {"kind": "Deployment", "name": "worker"}},
                "spec.scaleTargetRef.apiVersion",
                'Invalid value: "": apiVersion must specify API group',
            ),
            (
                {"metrics": [resource_metric()]},
                "spec.metrics[0].resource.target.averageUtilization",
                "Required value: must set either a target raw value or a target utilization",
            ),
            (
                {"metrics": [resource_metric("AverageValue", averageValue="0")]},
                "spec.metrics[0].resource.target.averageValue",
                'Invalid value: "0": must be positive',
            ),
            (
                {"metrics": [{"type": "External", "resource": resource_metric(averageUtilization=1)["resource"]}]},
                "spec.metrics[0].external",
                "Required value: must populate information for the given metric source",
            ),
            (
                {"behavior": {"scaleUp": {"policies": [policy(1801)]}}},
                "spec.behavior.scaleUp.policies[0].periodSeconds",
                "Invalid value: 1801: must be less than or equal to 1800",
            ),
            (
                {"behavior": {"scaleUp": {"policies": [policy(0)]}}},
                "spec.behavior.scaleUp.policies[0].periodSeconds",
                "Invalid value: 0: must be greater than zero",
            ),
            (
                {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}},
                "spec.behavior.scaleDown.stabilizationWindowSeconds",
                "Invalid value: 3601: must be less than or equal to 3600",
            ),
            (
                {"behavior": {"scaleDown": {"selectPolicy": "Least"}}},
                "spec.behavior.scaleDown.selectPolicy",
                'Unsupported value: "Least": supported values: "Disabled", "Max", "Min"',
            ),
        ],
    )
    def test_common_mistakes_are_refused(self, client: ApiClient, spec: Json, field: str, message: str) -> None:
        reply = client.post(HPAS, autoscaler(**spec))
        assert reply.status == 422
        causes = [(cause["field"], cause["message"]) for cause in reply.body["details"]["causes"]]
        assert causes == [(field, message)]

    def test_a_real_one_is_accepted_unchanged(self, client: ApiClient) -> None:
        if not LIVE_AUTOSCALERS.is_file():
            pytest.skip(f"no recorded objects at {LIVE_AUTOSCALERS}")
        for live in json.loads(LIVE_AUTOSCALERS.read_text(encoding="utf-8"))["items"]:
            metadata = {"name": live["metadata"]["name"], "namespace": "shop"}
            assert client.post(HPAS, {**live, "metadata": metadata}).body["spec"] == live["spec"]

    def test_keda_writes_its_own_through_the_same_defaults(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        config = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}
        client.post(SCALED_OBJECTS, scaled_object(advanced={"horizontalPodAutoscalerConfig": config}))
        behavior = client.get(f"{HPAS}/keda-hpa-scaler").body["spec"]["behavior"]
        assert behavior["scaleDown"]["policies"] == [policy(15, 100, "Percent")]
        assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0


TRANSFER = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}


def owning(name: str, annotations: dict[str, str] | None = None, target: str = "worker", hpa: str = "") -> Json:
    """A ScaledObject with annotations, and with a name for its HPA."""
    advanced = {"horizontalPodAutoscalerConfig": {"name": hpa}} if hpa else {}
    obj = scaled_object(name, target, advanced=advanced)
    obj["metadata"]["annotations"] = annotations or {}
    return obj


def denial(reply: Reply) -> str:
    """Why KEDA's webhook denied a request."""
    assert (reply.status, reply.body["reason"]) == (403, "Forbidden")
    start = 'admission webhook "vscaledobject.kb.io" denied the request: '
    assert reply.body["message"].startswith(start)
    return str(reply.body["message"].removeprefix(start))


@pytest.mark.parametrize("query", ["", "?dryRun=All"])
class TestHpaOwnership:
    """KEDA refuses a second owner of a workload, and takes an HPA over where that is asked for."""

    MANAGED = "the workload 'worker' of type 'apps/v1.Deployment' is already managed by the"

    @pytest.fixture(autouse=True)
    def _workload(self, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(HPAS, autoscaler(minReplicas=3, maxReplicas=6))

    def test_a_workload_with_another_hpa(self, client: ApiClient, query: str) -> None:
        assert denial(client.post(SCALED_OBJECTS + query, owning("so"))) == f"{self.MANAGED} hpa 'scaler'"
        # The name alone transfers nothing, nor does an annotation that is not on the HPA.
        unchecked = {"validations.keda.sh/hpa-ownership": "false"}
        for noted in ({}, unchecked, dict.fromkeys(TRANSFER, "false")):
            reply = client.post(SCALED_OBJECTS + query, owning("so", noted, hpa="scaler"))
            assert "is already managed by the hpa 'scaler'" in denial(reply)
        assert client.get(f"{SCALED_OBJECTS}/so").status == 404

    def test_an_update_is_checked_too(self, client: ApiClient, query: str) -> None:
        client.post(DEPLOYMENTS, deployment("other"))
        client.post(SCALED_OBJECTS, owning("so", target="other"))
        patch = {"spec": {"scaleTargetRef": {"name": "worker"}}}
        assert denial(client.patch(f"{SCALED_OBJECTS}/so{query}", patch)) == f"{self.MANAGED} hpa 'scaler'"

    def test_a_transfer_needs_the_name(self, client: ApiClient, query: str) -> None:
        for hpa in ("", "another"):
            why = denial(client.post(SCALED_OBJECTS + query, owning("so", TRANSFER, hpa=hpa)))
            assert why.startswith(
                "the existing hpa 'scaler' for workload 'worker' of type 'apps/v1.Deployment' must be"
            )
            assert why.endswith("specified by name in advanced settings to enable ownership transfer")

    def test_a_transfer(self, client: ApiClient, query: str) -> None:
        before = client.get(f"{HPAS}/scaler").body
        assert client.post(SCALED_OBJECTS + query, owning("so", TRANSFER, hpa="scaler")).status == 201
        after = client.get(f"{HPAS}/scaler").body
        assert names(client.get(HPAS).body) == ["scaler"]
        if query:
            assert after == before
            return
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        owner = after["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("ScaledObject", "so", True)
        assert after["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "keda-operator"
        assert after["metadata"]["annotations"] == TRANSFER
        assert (after["spec"]["minReplicas"], after["spec"]["maxReplicas"]) == (1, 100)
        assert [metric["type"] for metric in after["spec"]["metrics"]] == ["External"]
        # It is KEDA's now: it goes with its ScaledObject.
        client.delete(f"{SCALED_OBJECTS}/so")
        assert names(client.get(HPAS).body) == []

    def test_the_transfer_off(self, client: ApiClient, query: str) -> None:
        client.post(SCALED_OBJECTS, owning("so", TRANSFER, hpa="scaler"))
        off = {"metadata": {"annotations": dict.fromkeys(TRANSFER)}, "spec": {"advanced": None}}
        assert client.patch(f"{SCALED_OBJECTS}/so{query}", off).status == 200
        assert names(client.get(HPAS).body) == ["scaler" if query else "keda-hpa-so"]

    def test_two_scaled_objects(self, client: ApiClient, query: str) -> None:
        client.delete(f"{HPAS}/scaler")
        client.post(DEPLOYMENTS, deployment("other"))
        client.post(SCALED_OBJECTS, owning("first", hpa="shared"))
        for noted in ({}, TRANSFER):
            second = owning("second", noted, hpa="shared")
            assert denial(client.post(SCALED_OBJECTS + query, second)) == f"{self.MANAGED} ScaledObject 'first'"
        elsewhere = owning("second", target="other", hpa="shared")
        why = "the HPA 'shared' is already managed by the ScaledObject 'first'"
        assert denial(client.post(SCALED_OBJECTS + query, elsewhere)) == why

    def test_an_hpa_that_says_so_is_not_checked(self, client: ApiClient, query: str) -> None:
        unchecked = {"metadata": {"annotations": {"validations.keda.sh/hpa-ownership": "false"}}}
        client.patch(f"{HPAS}/scaler", unchecked)
        assert client.post(SCALED_OBJECTS + query, owning("so")).status == 201
        # Now two scale one workload, which is what the check is for.
        assert names(client.get(HPAS).body) == (["scaler"] if query else ["keda-hpa-so", "scaler"])

    def test_long_names(self, client: ApiClient, query: str) -> None:
        client.delete(f"{HPAS}/scaler")
        why = denial(client.post(SCALED_OBJECTS + query, owning("s" * 55)))
        assert why.startswith(f'HPA name "keda-hpa-{"s" * 55}" derived from scaledobject is 64 characters long')
        assert "scaledobject name" in denial(client.post(SCALED_OBJECTS + query, owning("s" * 64, hpa="short")))
        assert client.post(SCALED_OBJECTS + query, owning("s" * 54)).status == 201

    def test_resource_triggers(self, client: ApiClient, query: str) -> None:
        client.delete(f"{HPAS}/scaler")
        cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}
        obj = scaled_object("so", triggers=[cpu], minReplicaCount=1)
        if query:
            # A dry run may come before the workload itself.
            assert client.post(SCALED_OBJECTS + query, obj).status == 201
            return
        why = "the scaledobject has a cpu trigger but the container worker doesn't have the cpu request defined"
        assert denial(client.post(SCALED_OBJECTS, obj)) == why
        resources = {"requests": {"cpu": "100m"}}
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "worker", "resources": resources}]}}}}
        client.patch(f"{DEPLOYMENTS}/worker", patch, STRATEGIC_PATCH)
        assert client.post(SCALED_OBJECTS, obj).status == 201


class TestAdmission:
    def test_a_compliant_pod_draws_no_warning(self, client: ApiClient) -> None:
        label = {"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}}
        client.patch("/api/v1/namespaces/shop", label)
        assert "would violate PodSecurity" in client.post(DEPLOYMENTS, deployment()).warnings[0]
        obj = deployment("good")
        pod = obj["spec"]["template"]["spec"]
        pod["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        pod["containers"][0]["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        reply = client.post(DEPLOYMENTS, obj)
        assert (reply.status, reply.warnings) == (201, [])

    def test_a_formula_may_name_its_triggers(self, client: ApiClient) -> None:
        obj = scaled_object(advanced={"scalingModifiers": {"formula": "max(jobs, 1) + 2.5", "target": "1"}})
        obj["spec"]["triggers"][0]["name"] = "jobs"
        assert client.post(SCALED_OBJECTS, obj).status == 201


CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
MONITORS = "/apis/monitoring.coreos.com/v1/namespaces/shop/servicemonitors"
DASHBOARDS = "/apis/grafana.integreatly.org/v1beta1/namespaces/shop/grafanadashboards"


def watching(kind: str, api_version: str, spec: Json) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "flower", "namespace": "shop"}, "spec": spec}


def claim(size: str = "1Gi") -> Json:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return watching("PersistentVolumeClaim", "v1", spec)


def dashboard(**spec: Any) -> Json:
    selector = {"matchLabels": {"dashboards": "grafana"}}
    return watching(
        "GrafanaDashboard", "grafana.integreatly.org/v1beta1", {"instanceSelector": selector, "json": "{}", **spec}
    )


class TestWatching:
    """Kinds of what watches a fleet: what a server fills in, and what it refuses."""

    def test_a_claim_is_completed_and_then_fixed(self, client: ApiClient) -> None:
        made = client.post(CLAIMS, claim("1024Mi")).body["spec"]
        assert made == {**claim()["spec"], "volumeMode": "Filesystem"}
        path = f"{CLAIMS}/flower"
        assert client.patch(path, {"metadata": {"labels": {"a": "b"}}}).status == 200
        for change in ({"storageClassName": "fast"}, {"resources": {"requests": {"storage": "2Gi"}}}):
            refused = client.patch(path, {"spec": change})
            assert refused.status == 422
            assert "spec is immutable after creation" in refused.body["message"]

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ({"path": "/"}, "pathType: Required value: pathType must be specified"),
            ({"path": "/", "pathType": "Regex"}, 'pathType: Unsupported value: "Regex"'),
            ({"path": "flower", "pathType": "Prefix"}, 'path: Invalid value: "flower": must be an absolute path'),
        ],
    )
    def test_paths_of_an_ingress_are_checked(self, client: ApiClient, path: Json, message: str) -> None:
        backend = {"service": {"name": "flower", "port": {"name": "http"}}}
        spec = {"rules": [{"host": "flower.example.org", "http": {"paths": [{**path, "backend": backend}]}}]}
        refused = client.post(INGRESSES, watching("Ingress", "networking.k8s.io/v1", spec))
        assert refused.status == 422
        assert f"spec.rules[0].http.paths[0].{message}" in refused.body["message"]

    def test_a_network_policy_is_completed(self, client: ApiClient) -> None:
        spec = {"podSelector": {}, "ingress": [{"ports": [{"port": 5555}]}]}
        made = client.post(POLICIES, watching("NetworkPolicy", "networking.k8s.io/v1", spec)).body["spec"]
        assert made["policyTypes"] == ["Ingress"]
        assert made["ingress"] == [{"ports": [{"port": 5555, "protocol": "TCP"}]}]

    def test_a_route_is_completed(self, client: ApiClient) -> None:
        spec = {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [{"name": "flower", "port": 5555}]}]}
        made = client.post(ROUTES, watching("HTTPRoute", "gateway.networking.k8s.io/v1", spec)).body["spec"]
        assert made == {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"group": "", "kind": "Service", "name": "flower", "port": 5555, "weight": 1}],
                }
            ],
        }

    def test_a_relabeling_gets_its_action(self, client: ApiClient) -> None:
        spec = {"selector": {}, "endpoints": [{"port": "http", "metricRelabelings": [{"targetLabel": "a"}]}]}
        made = client.post(MONITORS, watching("ServiceMonitor", "monitoring.coreos.com/v1", spec)).body["spec"]
        assert made["endpoints"][0]["metricRelabelings"] == [{"targetLabel": "a", "action": "replace"}]
        assert set(made["endpoints"][0]) == {"port", "metricRelabelings"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"instanceSelector": {"matchLabels": {"dashboards": "other"}}}, "spec.instanceSelector is immutable"),
            ({"uid": "another-one"}, "spec.uid is immutable"),
            ({"allowCrossNamespaceImport": False}, "disabling spec.allowCrossNamespaceImport requires a recreate"),
        ],
    )
    def test_a_dashboard_keeps_what_cannot_change(self, client: ApiClient, change: Json, message: str) -> None:
        made = client.post(DASHBOARDS, dashboard(allowCrossNamespaceImport=True))
        assert made.status == 201
        path = f"{DASHBOARDS}/flower"
        assert client.patch(path, {"spec": {"json": "[]", "folder": "Celery"}}).status == 200
        refused = client.patch(path, {"spec": change})
        assert refused.status == 422
        assert message in refused.body["message"]

    def test_a_dashboard_stays_in_its_namespace_by_default(self, client: ApiClient) -> None:
        assert client.post(DASHBOARDS, dashboard()).body["spec"]["allowCrossNamespaceImport"] is False

    def test_an_environment_entry_has_one_value(self, client: ApiClient) -> None:
        obj = deployment()
        source = {"secretKeyRef": {"name": "s", "key": "k"}}
        obj["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1", "valueFrom": source}]
        refused = client.post(DEPLOYMENTS, obj)
        assert refused.status == 422
        assert "env[0].valueFrom" in refused.body["message"]
        assert "may not be specified when `value` is not empty" in refused.body["message"]


class TestAbsentKinds:
    def test_a_removed_kind_is_not_served(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        emulator.remove_kind("ScaledObject")
        listed = {resource["kind"] for resource in client.get("/apis/keda.sh/v1alpha1").body["resources"]}
        assert listed == {"ScaledJob", "TriggerAuthentication", "ClusterTriggerAuthentication"}
        reply = client.get(SCALED_OBJECTS)
        assert (reply.status, reply.body) == (404, "404 page not found\n")
        assert emulator.objects("HorizontalPodAutoscaler") == []

        emulator.add_crds("ScaledObject")
        assert names(client.get(SCALED_OBJECTS).body) == []

    def test_vertical_autoscalers_are_served_where_they_are_installed(
        self, emulator: Emulator, client: ApiClient
    ) -> None:
        path = "/apis/autoscaling.k8s.io/v1/namespaces/shop/verticalpodautoscalers"
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
        spec = {"targetRef": target, "updatePolicy": {"updateMode": "Off"}}
        obj = {"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler", "spec": spec}
        obj["metadata"] = {"name": "worker", "namespace": "shop"}
        assert client.get(path).body == "404 page not found\n"

        emulator.add_crds("VerticalPodAutoscaler")
        assert client.post(path, obj).body["spec"] == spec
        assert names(client.get(path).body) == ["worker"]
        emulator.remove_kind("VerticalPodAutoscaler")
        assert client.get(path).status == 404

    def test_a_group_without_kinds_disappears(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.remove_kind("ServiceMonitor", "PodMonitor", "PrometheusRule")
        assert "monitoring.coreos.com" not in {group["name"] for group in client.get("/apis").body["groups"]}
        assert client.get("/apis/monitoring.coreos.com/v1").status == 404

    def test_only_custom_kinds_can_be_removed(self, emulator: Emulator) -> None:
        with pytest.raises(ValueError, match="built in"):
            emulator.remove_kind("Deployment")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", f"{DEPLOYMENTS}?watch=true"),
            ("DELETE", DEPLOYMENTS),
            ("GET", "/apis/batch/v1/namespaces/shop/cronjobs"),
            ("GET", "/apis/apps/v1/namespaces/shop/statefulsets"),
            ("GET", f"{PODS}/one/log"),
        ],
    )
    def test_what_is_not_implemented_is_refused_aloud(self, client: ApiClient, method: str, path: str) -> None:
        reply = client.request(method, path)
        assert (reply.status, reply.body["reason"]) == (501, "NotImplemented")


class TestScriptedAnswers:
    def test_failure_skips_then_ends(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.fail("GET", "/deployments$", status=500, reason="InternalError", message="boom", times=2, skip=1)
        assert client.post(CONFIG_MAPS, config_map("a")).status == 201
        assert [client.get(DEPLOYMENTS).status for _attempt in range(4)] == [200, 500, 500, 200]

    def test_a_failed_write_is_not_stored(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.fail("POST", "/configmaps$", status=403, reason="Forbidden", message="no", times=None)
        reply = client.post(CONFIG_MAPS, config_map("a"))
        assert (reply.status, reply.body["message"], reply.body["code"]) == (403, "no", 403)
        assert emulator.objects("ConfigMap") == []

    def test_a_connection_is_dropped(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.fail("GET", "/deployments", drop=True)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.get(DEPLOYMENTS)
        with ApiClient(emulator.url, DEFAULT_TOKEN) as again:
            assert again.get(DEPLOYMENTS).status == 200
        assert [request.status for request in emulator.requests] == [0, 200]

    def test_a_gap_of_the_emulator_is_an_answer(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.add({**scaled_object(), "spec": {}})
        reply = client.post(SCALED_OBJECTS, scaled_object("other"))
        assert (reply.status, reply.body["reason"]) == (500, "InternalError")

    def test_a_fixed_answer_stands_in_for_what_is_not_implemented(self, emulator: Emulator, client: ApiClient) -> None:
        path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/s0"
        emulator.respond("GET", "/external.metrics.k8s.io/", {"kind": "ExternalMetricValueList", "items": []})
        assert client.get(path).body["kind"] == "ExternalMetricValueList"


class TestRequestLog:
    def test_requests_are_recorded(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
        with ApiClient(emulator.url, None) as anonymous:
            anonymous.get(CONFIG_MAPS)
        write, read = emulator.requests
        assert (write.method, write.path, write.status) == ("POST", CONFIG_MAPS, 201)
        assert (write.is_write, write.is_dry_run, write.has_token) == (True, True, True)
        assert write.body["metadata"]["name"] == "a"
        assert write.content_type == "application/json"
        assert (read.is_write, read.status, read.has_token) == (False, 403, False)

    def test_a_forbidden_user_may_discover_and_nothing_else(self, emulator: Emulator) -> None:
        with ApiClient(emulator.url, FORBIDDEN_TOKEN) as client:
            assert client.get("/apis").status == 200
            assert client.get(f"{DEPLOYMENTS}/worker").status == 403


class TestServer:
    def test_many_objects_stay_quick(self, emulator: Emulator, client: ApiClient) -> None:
        emulator.add(*(config_map(f"c{number}") for number in range(3000)))
        took = []
        for number in range(200):
            started = time.perf_counter()
            assert client.get(f"{CONFIG_MAPS}/c{number}").status == 200
            took.append(time.perf_counter() - started)
        # A delayed acknowledgement alone would cost each of them 40 ms. A busy machine delays some, and never all.
        assert min(took) < 0.02
        assert len(client.get(CONFIG_MAPS).body["items"]) == 3000

    def test_reset_forgets_everything(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(CONFIG_MAPS, config_map("a"))
        emulator.remove_kind("ScaledObject")
        emulator.fail("*", ".", times=None)
        emulator.reset()
        assert emulator.requests == []
        assert client.get(CONFIG_MAPS).body["items"] == []
        assert client.get(SCALED_OBJECTS).status == 200

    def test_the_command_serves_until_it_is_told_to_stop(self, tmp_path: Path) -> None:
        kubeconfig, pid_file = tmp_path / "kube" / "config", tmp_path / "pid"
        command = [sys.executable, "-m", "tests.support.kubernetes_emulator", "--kubeconfig", str(kubeconfig)]
        command += ["--pid-file", str(pid_file), "--namespace", "shop", "--without-kind", "ScaledObject"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
                assert config["clusters"][0]["cluster"]["server"] == url
                assert int(pid_file.read_text(encoding="utf-8")) == process.pid
                with ApiClient(url, config["users"][0]["user"]["token"]) as client:
                    assert client.post(CONFIG_MAPS, config_map("a")).status == 201
                    assert client.get(SCALED_OBJECTS).status == 404
                    os.kill(process.pid, signal.SIGTERM)
                    assert process.wait(timeout=60) == 0
            finally:
                process.kill()
        assert not pid_file.exists()


@dataclass
class Ran:
    """What a client saw of one command."""

    stdout: str
    stderr: str
    status: Json

    @property
    def exit_code(self) -> int:
        if self.status["status"] == "Success":
            return 0
        return int(self.status["details"]["causes"][0]["message"])


BROKER: Json = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "broker", "namespace": "shop"},
    "stringData": {"url": "redis://:p@ss@broker/0"},
}


@pytest.fixture
def kube(emulator: Emulator, client: ApiClient, tmp_path: Path) -> CoreV1Api:
    """The kubernetes client, on a cluster with one worker that runs as two pods."""
    obj = deployment(replicas=2)
    secret = {"name": "BROKER", "valueFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
    name = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}}
    both = {"name": "BOTH", "value": "$(A) $(BROKER) $(UNKNOWN) $$(A)"}
    obj["spec"]["template"]["spec"]["containers"][0]["env"] += [secret, name, both]
    client.post("/api/v1/namespaces/shop/secrets", BROKER)
    client.post(DEPLOYMENTS, obj)
    kubeconfig = emulator.write_kubeconfig(tmp_path / "kubeconfig")
    return CoreV1Api(kubernetes_config.new_client_from_config(str(kubeconfig)))


def opened(kube: CoreV1Api, pod: str, *command: str, **options: Any) -> Any:
    """The open connection of a command, as kubernetes.core.k8s_exec makes it."""
    settings = {"stdout": True, "stderr": True, "stdin": False, "tty": False, **options}
    connect = kube.connect_get_namespaced_pod_exec
    return stream(connect, pod, "shop", command=list(command), _preload_content=False, **settings)


def finished(connection: Any) -> Ran:
    connection.run_forever(timeout=120)
    assert not connection.is_open()
    status = json.loads(connection.read_channel(3))
    return Ran(connection.read_channel(1), connection.read_channel(2), status)


def run(kube: CoreV1Api, pod: str, *command: str, **options: Any) -> Ran:
    return finished(opened(kube, pod, *command, **options))


def first_pod(emulator: Emulator) -> str:
    return str(emulator.objects("Pod")[0]["metadata"]["name"])


class TestExec:
    def test_the_handler_gets_the_command_and_its_output_comes_back(self, emulator: Emulator, kube: CoreV1Api) -> None:
        seen: list[ExecRequest] = []

        def handler(request: ExecRequest) -> ExecResult:
            seen.append(request)
            return ExecResult("out ä\n", "err\n", 0)

        emulator.exec_handler = handler
        pod = first_pod(emulator)
        assert run(kube, pod, "echo", "a b", "") == Ran("out ä\n", "err\n", {"metadata": {}, "status": "Success"})
        environment = {
            "A": "1",
            "BROKER": "redis://:p@ss@broker/0",
            "NAME": "worker",
            "BOTH": "1 redis://:p@ss@broker/0 $(UNKNOWN) $(A)",
        }
        assert seen == [ExecRequest("shop", pod, "worker", ("echo", "a b", ""), environment)]
        recorded = emulator.requests[-1]
        assert (recorded.method, recorded.path, recorded.status) == ("GET", f"{PODS}/{pod}/exec", 101)

    def test_the_simple_form_returns_all_output(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.exec_handler = lambda _request: ExecResult("out", "err")
        connect = kube.connect_get_namespaced_pod_exec
        text = stream(connect, first_pod(emulator), "shop", command=["x"], stdout=True, stderr=True)
        assert text == "outerr"

    def test_the_exit_code_is_a_status(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.exec_handler = lambda _request: ExecResult(exit_code=3)
        ran = run(kube, first_pod(emulator), "false")
        assert (ran.exit_code, ran.status["status"], ran.status["reason"]) == (3, "Failure", "NonZeroExitCode")
        assert ran.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]

    def test_without_a_handler_nothing_runs(self, emulator: Emulator, kube: CoreV1Api) -> None:
        ran = run(kube, first_pod(emulator), "true")
        assert (ran.exit_code, ran.stdout) == (126, "")
        assert "nothing runs in the pods of the emulator" in ran.stderr

    def test_only_the_streams_that_were_asked_for_come(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.exec_handler = lambda _request: ExecResult("out", "err")
        ran = run(kube, first_pod(emulator), "x", stderr=False)
        assert (ran.stdout, ran.stderr) == ("out", "")

    def test_large_output_arrives_whole(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.exec_handler = lambda _request: ExecResult("x" * 300_000)
        assert len(run(kube, first_pod(emulator), "x").stdout) == 300_000

    @pytest.mark.parametrize("length", [3, 300, 70_000])
    def test_input_up_to_its_end(self, emulator: Emulator, kube: CoreV1Api, length: int) -> None:
        emulator.exec_handler = lambda request: ExecResult(str(len(request.stdin)))
        connection = opened(kube, first_pod(emulator), "wc", stdin=True)
        connection.write_stdin("a" * length)
        connection.write_stdin("b")
        connection.close_channel(0)
        assert finished(connection).stdout == str(length + 1)

    def test_pings_are_answered(self, emulator: Emulator, kube: CoreV1Api) -> None:
        connection = opened(kube, first_pod(emulator), "cat", stdin=True)
        connection.sock.recv_data_frame()  # the empty message that comes first
        connection.sock.ping("still there?")
        opcode, frame = connection.sock.recv_data_frame(control_frame=True)
        assert (opcode, frame.data) == (ABNF.OPCODE_PONG, b"still there?")
        connection.close()

    def test_the_emulator_answers_others_meanwhile(
        self, emulator: Emulator, client: ApiClient, kube: CoreV1Api
    ) -> None:
        def handler(_request: ExecRequest) -> ExecResult:
            return ExecResult(str(client.get(f"{DEPLOYMENTS}/worker").status))

        emulator.exec_handler = handler
        assert run(kube, first_pod(emulator), "x").stdout == "200"

    def test_clients_that_know_version_4_only(self, emulator: Emulator) -> None:
        emulator.add(pod_of("one"))
        emulator.exec_handler = lambda _request: ExecResult("out")
        messages = messages_of_version_4(emulator, "one")
        assert messages[:2] == [b"\x01", b"\x01out"]
        assert json.loads(messages[2][1:])["status"] == "Success"
        assert len(messages) == 3

    @pytest.mark.parametrize(
        ("pod", "options", "status", "message"),
        [
            ("none", {}, 404, 'pods \\"none\\" not found'),
            ("two", {}, 400, "a container name must be specified for pod two, choose one of: [c1 c2]"),
            ("one", {"container": "c2"}, 400, "container c2 is not valid for pod one"),
            ("unscheduled", {}, 400, "pod unscheduled does not have a host assigned"),
            ("one", {"stdout": False, "stderr": False}, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ],
    )
    def test_refusals(
        self, emulator: Emulator, kube: CoreV1Api, pod: str, options: Json, status: int, message: str
    ) -> None:
        emulator.add(pod_of("one"), pod_of("two", "c1", "c2"), {**pod_of("unscheduled"), "status": {}})
        with pytest.raises(ApiException) as raised:
            run(kube, pod, "true", **options)
        assert f"Handshake status {status}" in str(raised.value)
        assert message in str(raised.value)

    def test_a_container_can_be_chosen(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.add(pod_of("two", "c1", "c2"))
        emulator.exec_handler = lambda request: ExecResult(request.container)
        assert run(kube, "two", "x", container="c2").stdout == "c2"

    def test_a_container_that_does_not_run(self, emulator: Emulator, kube: CoreV1Api) -> None:
        emulator.make_unavailable("shop", "worker", reason="CrashLoopBackOff")
        status = run(kube, first_pod(emulator), "true").status
        why = 'unable to upgrade connection: container not found ("worker")'
        assert (status["code"], status["message"]) == (500, f"Internal error occurred: {why}")
        with pytest.raises(WebSocketBadStatusException, match=r"Handshake status 500.*container not found"):
            messages_of_version_4(emulator, first_pod(emulator))

    def test_a_container_whose_secret_is_missing_does_not_run(
        self, emulator: Emulator, client: ApiClient, kube: CoreV1Api
    ) -> None:
        client.delete("/api/v1/namespaces/shop/secrets/broker")
        assert "container not found" in run(kube, first_pod(emulator), "true").status["message"]

    def test_a_forbidden_user_runs_nothing(self, emulator: Emulator, kube: CoreV1Api) -> None:
        with ApiClient(emulator.url, FORBIDDEN_TOKEN) as client:
            reply = client.get(f"{PODS}/{first_pod(emulator)}/exec?command=true")
        assert reply.status == 403
        assert 'cannot get resource "pods/exec"' in reply.body["message"]

    def test_it_needs_a_websocket(self, emulator: Emulator, client: ApiClient, kube: CoreV1Api) -> None:
        reply = client.post(f"{PODS}/{first_pod(emulator)}/exec?command=true", {})
        assert (reply.status, reply.body["message"]) == (400, "Upgrade request required")

    def test_a_handler_that_fails_is_reported(self, emulator: Emulator, kube: CoreV1Api) -> None:
        def handler(_request: ExecRequest) -> ExecResult:
            raise RuntimeError("boom")

        emulator.exec_handler = handler
        status = run(kube, first_pod(emulator), "x").status
        assert status["reason"] == "InternalError"
        assert "boom" in status["message"]


class TestLocalExec:
    @pytest.fixture(autouse=True)
    def _local(self, emulator: Emulator, tmp_path: Path) -> None:
        emulator.exec_handler = functools.partial(run_locally, folder=tmp_path, path=os.environ["PATH"])

    def test_the_command_has_the_containers_environment(
        self, emulator: Emulator, kube: CoreV1Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OF_THE_TEST", "1")
        script = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"
        pod = first_pod(emulator)
        folder, environment = json.loads(run(kube, pod, sys.executable, "-c", script).stdout)
        assert Path(folder) == tmp_path
        # The C locale makes Python itself add one.
        environment.pop("LC_CTYPE", None)
        expected = {"A", "BROKER", "NAME", "BOTH", "PATH", "HOSTNAME"}
        assert (set(environment), environment["HOSTNAME"]) == (expected, pod)

    def test_output_input_and_exit_code(self, emulator: Emulator, kube: CoreV1Api) -> None:
        connection = opened(kube, first_pod(emulator), "sh", "-c", "cat; echo wrong >&2; exit 4", stdin=True)
        connection.write_stdin("in\n")
        connection.close_channel(0)
        ran = finished(connection)
        assert (ran.stdout, ran.stderr, ran.exit_code) == ("in\n", "wrong\n", 4)

    def test_a_signal_is_an_exit_code(self, emulator: Emulator, kube: CoreV1Api) -> None:
        assert run(kube, first_pod(emulator), "sh", "-c", "kill -TERM $$").exit_code == 143

    def test_a_command_that_is_not_there(self, emulator: Emulator, kube: CoreV1Api) -> None:
        status = run(kube, first_pod(emulator), "no-such-command").status
        assert status["reason"] == "InternalError"
        assert 'exec: "no-such-command": executable file not found in $PATH' in status["message"]

    def test_what_takes_too_long_is_killed_with_its_children(self, tmp_path: Path) -> None:
        request = ExecRequest("shop", "p", "c", ("sh", "-c", "echo begun; sleep 60 & sleep 60"), {})
        started = time.monotonic()
        result = run_locally(request, tmp_path, os.environ["PATH"], time_limit=0.5)
        assert (result.stdout, result.exit_code) == ("begun\n", 137)
        assert "killed after 0.5 seconds" in result.stderr
        assert time.monotonic() - started < 10


def pod_of(name: str, *containers: str) -> Json:
    """A pod that runs without a Deployment."""
    every = containers or ("c1",)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": one, "image": "i:1"} for one in every]},
        "status": {"containerStatuses": [{"name": one, "state": {"running": {}}} for one in every]},
    }


def messages_of_version_4(emulator: Emulator, pod: str) -> list[bytes]:
    """The messages up to the server's close, for a client as they were before version 5."""
    headers = [f"Authorization: Bearer {DEFAULT_TOKEN}", "Sec-WebSocket-Protocol: v4.channel.k8s.io"]
    url = f"ws{emulator.url.removeprefix('http')}{PODS}/{pod}/exec?command=x&stdout=true&stderr=true"
    connection: Any = WebSocket()
    connection.connect(url, header=headers)
    try:
        assert connection.getheaders()["sec-websocket-protocol"] == "v4.channel.k8s.io"
        messages = []
        while (received := connection.recv_data())[0] != ABNF.OPCODE_CLOSE:
            messages.append(received[1])
        return messages
    finally:
        connection.close()


def worker(name: str, queues: str = "", **spec: Any) -> Json:
    """A Deployment whose container is a Celery worker."""
    obj = deployment(name, **spec)
    container = obj["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["celery", "--app=shop", "worker", *([f"--queues={queues}"] if queues else [])]
    return obj


class TestConsumers:
    @pytest.mark.parametrize(
        ("command", "args", "queues"),
        [
            ([], ["celery", "--app=a", "worker", "--queues=a,b"], {"a", "b"}),
            (["celery"], ["worker", "-Q", "a, b"], {"a", "b"}),
            (["/venv/bin/celery", "worker"], ["-Qa", "--loglevel=info"], {"a"}),
            # The plugin's narrowed worker has two, and Celery takes the last.
            ([], ["celery", "worker", "--queues=a,b,c", "--queues", "a"], {"a"}),
            ([], ["celery", "worker", "--queues=a,b", "--exclude-queues=b"], {"a"}),
            ([], ["celery", "worker"], {"celery"}),
            ([], ["celery", "beat"], set()),
            ([], ["redis-server"], set()),
        ],
    )
    def test_the_queues_of_a_command_line(self, command: list[str], args: list[str], queues: set[str]) -> None:
        obj = deployment()
        obj["spec"]["template"]["spec"]["containers"][0] |= {"command": command, "args": args}
        assert consumed_queues(obj) == queues

    def test_a_safe_order_leaves_no_queue_alone(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, worker("all", "default,high"))
        emulator.requests.clear()
        client.post(DEPLOYMENTS, worker("high", "high"))
        client.get(PODS)
        client.patch(f"{DEPLOYMENTS}/all", worker("all", "default"))
        assert queues_without_consumer(emulator.requests, "shop", ["default", "high"]) == {}
        moments = consumers_over_time(emulator.requests, "shop")
        assert [dict(moment.consumers) for moment in moments] == [
            {"default": {"all"}, "high": {"all", "high"}},
            {"default": {"all"}, "high": {"high"}},
        ]

    def test_an_unsafe_order_is_found(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, worker("all", "default,high"))
        emulator.requests.clear()
        client.get(DEPLOYMENTS)
        client.patch(f"{DEPLOYMENTS}/all", worker("all", "default"))
        client.post(DEPLOYMENTS, worker("high", "high"))
        alone = queues_without_consumer(emulator.requests, "shop", ["default", "high", "never"])
        assert set(alone) == {"high", "never"}
        assert alone["high"].startswith(f"after PATCH {DEPLOYMENTS}/all: default (all)")
        moments = consumers_over_time(emulator.requests, "shop")
        assert [sorted(moment.queues) for moment in moments] == [["default", "high"], ["default"], ["default", "high"]]

    def test_without_pods_only_a_scaled_object_keeps_a_consumer(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, worker("worker", "jobs", replicas=0))
        client.post(SCALED_OBJECTS, scaled_object())
        paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
        client.patch(f"{SCALED_OBJECTS}/scaler", paused)
        client.patch(f"{DEPLOYMENTS}/worker/scale", {"spec": {"replicas": 1}})
        client.delete(f"{DEPLOYMENTS}/worker")
        moments = consumers_over_time(emulator.requests, "shop")
        assert [(moment.request.method, moment.request.path.rpartition("/")[2]) for moment in moments] == [
            ("POST", "deployments"),
            ("POST", "scaledobjects"),
            ("PATCH", "scaler"),
            ("PATCH", "scale"),
            ("DELETE", "worker"),
        ]
        assert [bool(moment.consumers) for moment in moments] == [False, True, False, True, False]

    def test_what_is_refused_or_dry_changes_nothing(self, emulator: Emulator, client: ApiClient) -> None:
        client.get(DEPLOYMENTS)
        client.post(f"{DEPLOYMENTS}?dryRun=All", worker("a", "a"))
        emulator.fail("POST", "/deployments$")
        client.post(DEPLOYMENTS, worker("a", "a"))
        emulator.add_namespaces("other")
        elsewhere = worker("a", "a")
        elsewhere["metadata"]["namespace"] = "other"
        assert client.post(DEPLOYMENTS.replace("shop", "other"), elsewhere).status == 201
        assert [dict(moment.consumers) for moment in consumers_over_time(emulator.requests, "shop")] == [{}]


EXTRAS = """\
name: extras
version: 1.0.0
patches:
  k8s-override: |
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: lms-worker
      annotations: {note: "yes"}
    spec:
      replicas: 3
      template:
        spec:
          topologySpreadConstraints:
            - maxSkew: 1
              topologyKey: zone
              whenUnsatisfiable: ScheduleAnyway
              labelSelector:
                matchLabels: {app.kubernetes.io/name: lms-worker}
          containers:
            - name: lms-worker
              env: [{name: EXTRA, value: "1"}, {name: SERVICE_VARIANT, value: other}]
              volumeMounts: [{name: extra, mountPath: /extra}]
            - name: side
              image: side:1
              envFrom: [{configMapRef: {name: openedx-config}}]
          volumes: [{name: extra, emptyDir: {}}]
  k8s-deployments: |
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: beat
      labels: {app.kubernetes.io/name: beat}
    spec:
      selector:
        matchLabels: {app.kubernetes.io/name: beat}
      template:
        metadata:
          labels: {app.kubernetes.io/name: beat}
        spec:
          containers:
            - name: beat
              image: shop:1
              env: [{name: CONF, valueFrom: {configMapKeyRef: {name: redis-config, key: redis.conf}}}]
          volumes:
            - name: all
              projected: {sources: [{configMap: {name: openedx-settings-lms}}]}
"""
SIX_WORKERS = {
    "lms-worker": "lms-worker-scaledobject",
    "lms-worker-high": "lms-worker-high-scaledobject",
    "lms-worker-high-mem": "lms-worker-high-mem-scaledobject",
    "cms-worker": "cms-worker-scaledobject",
    "cms-worker-high": "cms-worker-high-scaledobject",
    "cms-worker-low": "cms-worker-low-scaledobject",
}
IN_SHOP = {"K8S_NAMESPACE": "shop"}


def needs_kubectl() -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl to compare with")
    return kubectl


def named(objects: list[Json], kind: str, name: str = "") -> list[Json]:
    return [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"].startswith(name)]


def args_of(emulator: Emulator, name: str) -> list[str]:
    args: list[str] = stored(emulator, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"]
    return args


def outcome(emulator: Emulator) -> dict[tuple[str, str], Json]:
    """What an apply left behind, without what differs from one server to the next."""
    found: dict[tuple[str, str], Json] = {}
    for kind in ("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "ScaledObject"):
        for obj in emulator.objects(kind, "shop"):
            metadata = obj["metadata"]
            volatile = ("uid", "creationTimestamp", "resourceVersion", "ownerReferences", "generation")
            kept = {key: value for key, value in metadata.items() if key not in volatile}
            if LAST_APPLIED in (annotations := dict(metadata.get("annotations", {}))):
                annotations[LAST_APPLIED] = json.loads(annotations[LAST_APPLIED])
            found[kind, metadata["name"]] = {**obj, "metadata": {**kept, "annotations": annotations}, "status": None}
    return found


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sites")


@pytest.mark.parametrize("version", real_tutor.VERSIONS)
class TestTutor:
    """The sites of real_tutor, and what applying them does."""

    @pytest.fixture
    def site(self, sites: Path, version: str) -> Path:
        """A site with the celery plugin, each time as it was in the beginning."""
        root, first = sites / version, sites / f"{version}-first"
        if first.exists():
            shutil.rmtree(root)
        else:
            made = real_tutor.plugin_site(version, root, settings={**IN_SHOP, "LMS_HOST": "one.example"})
            made.rename(first)
        return shutil.copytree(first, root)

    @pytest.mark.parametrize("plugins", [[], ["celery"], ["celery", "pod-autoscaling"]])
    def test_the_manifests_are_those_of_kubectl(self, tmp_path: Path, version: str, plugins: list[str]) -> None:
        kubectl = needs_kubectl()
        settings = {"CELERY_FLOWER": "true", "LMS_HOST": "a<b>&c.example"}
        root = real_tutor.render(version, tmp_path, plugins, settings, {"extras.yml": EXTRAS} if plugins else {})
        command = [kubectl, "kustomize", str(root / "env")]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
        assert real_tutor.manifests(root) == list(read_objects(printed))

    def test_the_sites_keep_their_secrets_and_change_their_settings(self, site: Path, version: str) -> None:
        before = real_tutor.manifests(site)
        real_tutor.plugin_site(version, site, settings={"LMS_HOST": "two.example", "OPENEDX_CELERY_REDIS_DB": "5"})
        after = real_tutor.manifests(site)
        names_before, names_after = ({one["metadata"]["name"] for one in part} for part in (before, after))
        gone = {name.rpartition("-")[0] for name in names_before - names_after}
        assert {"openedx-config", "openedx-settings-lms", "openedx-settings-cms"} <= gone
        assert gone == {name.rpartition("-")[0] for name in names_after - names_before}
        assert not any(name.startswith("redis-config") for name in names_before ^ names_after)
        selectors = [[obj["spec"]["selector"] for obj in named(part, "Deployment")] for part in (before, after)]
        assert selectors[0] == selectors[1]
        config = yaml.safe_load(named(after, "ConfigMap", "openedx-config")[0]["data"]["lms.env.yml"])
        assert config["CELERY_BROKER_VHOST"] in (5, "5")

    def test_a_site_with_the_plugin(self, site: Path, version: str) -> None:
        objects = real_tutor.manifests(site)
        assert {obj["metadata"]["name"] for obj in named(objects, "Deployment")} > set(SIX_WORKERS)
        scaled = {obj["spec"]["scaleTargetRef"]["name"]: obj for obj in named(objects, "ScaledObject")}
        assert {target: obj["metadata"]["name"] for target, obj in scaled.items()} == SIX_WORKERS
        assert not any("app.kubernetes.io/name" in obj["metadata"]["labels"] for obj in scaled.values())
        queues = {name: consumed_queues(named(objects, "Deployment", name)[0]) for name in SIX_WORKERS}
        assert queues["lms-worker"] == {"edx.lms.core.default"}
        assert queues["lms-worker-high-mem"] == {"edx.lms.core.high_mem"}
        assert queues["cms-worker-low"] == {"edx.cms.core.low"}

    def test_applying_makes_what_tutor_starts(
        self, emulator: Emulator, client: ApiClient, site: Path, version: str
    ) -> None:
        lines = real_tutor.apply(client, real_tutor.manifests(site))
        assert {line.rpartition(" ")[2] for line in lines} == {"created"}
        assert "deployment.apps/lms-worker created" in lines
        assert not any("job" in line for line in lines)
        for name, scaler in SIX_WORKERS.items():
            assert stored(emulator, "Deployment", name)["status"]["readyReplicas"] == 1
            conditions = stored(emulator, "ScaledObject", scaler)["status"]["conditions"]
            assert {one["type"]: one["status"] for one in conditions}["Ready"] == "True"
        emulator.requests.clear()
        again = real_tutor.apply(client, real_tutor.manifests(site))
        assert {line.rpartition(" ")[2] for line in again} == {"unchanged"}
        assert not [request for request in emulator.requests if request.is_write]

    def test_applying_again_takes_back_what_is_tutors_and_keeps_the_rest(
        self, emulator: Emulator, client: ApiClient, site: Path, version: str
    ) -> None:
        real_tutor.apply(client, real_tutor.manifests(site))
        theirs = args_of(emulator, "lms-worker")
        meddle(client)
        assert args_of(emulator, "lms-worker") == ["changed"]
        maps = {obj["metadata"]["name"] for obj in emulator.objects("ConfigMap", "shop")}
        real_tutor.plugin_site(version, site, settings={"LMS_HOST": "two.example"})
        real_tutor.apply(client, real_tutor.manifests(site))

        assert args_of(emulator, "lms-worker") == theirs
        live = stored(emulator, "Deployment", "lms-worker")
        pod = live["spec"]["template"]["spec"]
        assert live["spec"]["replicas"] == 4
        assert pod["terminationGracePeriodSeconds"] == 900
        assert live["metadata"]["annotations"]["ours"] == live["metadata"]["labels"]["ours"] == "1"
        env = {entry["name"] for entry in pod["containers"][0]["env"]}
        assert env == {"OURS", "SERVICE_VARIANT", "DJANGO_SETTINGS_MODULE"}
        assert [one["name"] for one in pod["containers"]] == ["lms-worker", "ours"]
        volumes = {one["name"]: one.get("configMap", {}).get("name", "") for one in pod["volumes"]}
        assert "ours" in volumes
        assert volumes["settings-lms"] not in maps
        assert {obj["metadata"]["name"] for obj in emulator.objects("ConfigMap", "shop")} > {
            *maps,
            volumes["settings-lms"],
        }

    def test_what_is_no_longer_rendered_is_taken_away(
        self, emulator: Emulator, client: ApiClient, tmp_path: Path, version: str
    ) -> None:
        root = real_tutor.render(version, tmp_path, settings=IN_SHOP, plugin_files={"extras.yml": EXTRAS})
        real_tutor.apply(client, real_tutor.manifests(root))
        assert stored(emulator, "Deployment", "lms-worker")["spec"]["replicas"] == 3
        real_tutor.render(version, root)
        real_tutor.apply(client, real_tutor.manifests(root))
        live = stored(emulator, "Deployment", "lms-worker")
        pod = live["spec"]["template"]["spec"]
        assert live["spec"]["replicas"] == 1
        assert "note" not in live["metadata"]["annotations"]
        assert "topologySpreadConstraints" not in pod
        assert [one["name"] for one in pod["containers"]] == ["lms-worker"]
        assert "extra" not in {one["name"] for one in pod["volumes"]}
        assert {"name": "SERVICE_VARIANT", "value": "lms"} in pod["containers"][0]["env"]
        # kubectl apply removes fields, not objects.
        assert emulator.get("Deployment", "beat", "shop") is not None

    def test_kubectl_does_the_same(
        self, emulator: Emulator, client: ApiClient, site: Path, version: str, tmp_path: Path
    ) -> None:
        kubectl = needs_kubectl()
        # kubectl sends no token over plain HTTP.
        with Emulator(namespaces=["shop"], token=None) as other, ApiClient(other.url, None) as their_client:
            kubeconfig, path = other.write_kubeconfig(tmp_path / "kubeconfig"), tmp_path / "objects.json"
            command = [kubectl, "--kubeconfig", str(kubeconfig), "apply", "--validate=false", "-f", str(path)]
            for settings in (IN_SHOP, {"LMS_HOST": "two.example"}, {}):
                real_tutor.plugin_site(version, site, settings=settings)
                objects = [obj for obj in real_tutor.manifests(site) if obj["kind"] not in ("Job", "Namespace")]
                ours = real_tutor.apply(client, objects)
                path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}), encoding="utf-8")
                ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
                assert (ran.returncode, ran.stdout.splitlines()) == (0, ours), ran.stderr
                assert outcome(emulator) == outcome(other)
                for one in (client, their_client):
                    meddle(one)

    def test_a_second_autoscaler_is_refused_and_the_rest_applied(
        self, emulator: Emulator, client: ApiClient, tmp_path: Path, version: str
    ) -> None:
        site = real_tutor.plugin_site(version, tmp_path, IN_SHOP, plugins=["pod-autoscaling"])
        with pytest.raises(ApplyError) as raised:
            real_tutor.apply(client, real_tutor.manifests(site))
        assert len(raised.value.refused) == 2
        assert all("is already managed by the hpa" in message for message in raised.value.refused)
        applied = {obj["metadata"]["name"] for obj in emulator.objects("ScaledObject", "shop")}
        assert applied == set(SIX_WORKERS.values()) - {"lms-worker-scaledobject", "cms-worker-scaledobject"}
        resources = stored(emulator, "Deployment", "lms-worker")["spec"]["template"]["spec"]["containers"][0]
        assert resources["resources"]["requests"] == {"cpu": "500m", "memory": "750Mi"}

    def test_any_cluster_can_be_applied_to(
        self, emulator: Emulator, client: ApiClient, site: Path, version: str, tmp_path: Path
    ) -> None:
        anybody = KubeconfigClient(emulator.write_kubeconfig(tmp_path / "kubeconfig"))
        real_tutor.apply(anybody, real_tutor.manifests(site))
        meddle(client)
        lines = real_tutor.apply(anybody, real_tutor.manifests(site))
        assert [line for line in lines if line.endswith(" configured")] == ["deployment.apps/lms-worker configured"]
        missing = [{**obj, "metadata": {**obj["metadata"], "namespace": "none"}} for obj in real_tutor.manifests(site)]
        with pytest.raises(ApplyError, match='namespaces "none" not found'):
            real_tutor.apply(anybody, missing)

    def test_commands_run_in_tutors_pods(
        self, emulator: Emulator, client: ApiClient, site: Path, version: str, tmp_path: Path
    ) -> None:
        real_tutor.apply(client, real_tutor.manifests(site))
        seen: list[ExecRequest] = []

        def handler(request: ExecRequest) -> ExecResult:
            seen.append(request)
            return ExecResult("pong")

        emulator.exec_handler = handler
        kubeconfig = emulator.write_kubeconfig(tmp_path / "kubeconfig")
        kube = CoreV1Api(kubernetes_config.new_client_from_config(str(kubeconfig)))
        label = "app.kubernetes.io/name%3Dlms-worker"
        (pod,) = names(client.get(f"{PODS}?labelSelector={label}").body)
        assert run(kube, pod, "celery", "inspect", container="lms-worker").stdout == "pong"
        assert run(kube, pod, "celery", "inspect").stdout == "pong"
        environment = {"SERVICE_VARIANT": "lms", "DJANGO_SETTINGS_MODULE": "lms.envs.tutor.production"}
        assert seen == [ExecRequest("shop", pod, "lms-worker", ("celery", "inspect"), environment)] * 2
        with pytest.raises(ApiException, match="container worker is not valid"):
            run(kube, pod, "true", container="worker")


def meddle(client: ApiClient) -> None:
    """Change the worker of the LMS as somebody else might."""
    container = {"name": "lms-worker", "args": ["changed"], "env": [{"name": "OURS", "value": "1"}]}
    containers = [container, {"name": "ours", "image": "ours:1"}]
    pod = {"containers": containers, "terminationGracePeriodSeconds": 900, "volumes": [{"name": "ours"}]}
    change = {"spec": {"replicas": 4, "template": {"spec": pod}}}
    change["metadata"] = {"annotations": {"ours": "1"}, "labels": {"ours": "1"}}
    assert client.patch(f"{DEPLOYMENTS}/lms-worker", change, STRATEGIC_PATCH).status == 200
