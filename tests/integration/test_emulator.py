# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Kubernetes API emulator does beyond the recorded exchanges."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support._quantity import canonical
from tests.support.api_client import STRATEGIC_PATCH, ApiClient
from tests.support.kubernetes_emulator import DEFAULT_TOKEN, FORBIDDEN_TOKEN, Emulator

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
PODS = "/api/v1/namespaces/shop/pods"


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
        assert worker["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]

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
        assert client.get(PODS).body["items"] == []

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


class TestAbsentKinds:
    def test_a_removed_kind_is_not_served(self, emulator: Emulator, client: ApiClient) -> None:
        client.post(DEPLOYMENTS, deployment())
        client.post(SCALED_OBJECTS, scaled_object())
        emulator.remove_kind("ScaledObject")
        listed = {resource["kind"] for resource in client.get("/apis/keda.sh/v1alpha1").body["resources"]}
        assert listed == {"TriggerAuthentication", "ClusterTriggerAuthentication"}
        reply = client.get(SCALED_OBJECTS)
        assert (reply.status, reply.body) == (404, "404 page not found\n")
        assert emulator.objects("HorizontalPodAutoscaler") == []

        emulator.add_crds("ScaledObject")
        assert names(client.get(SCALED_OBJECTS).body) == []

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
            ("GET", "/apis/batch/v1/namespaces/shop/jobs"),
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
        started = time.perf_counter()
        for number in range(200):
            assert client.get(f"{CONFIG_MAPS}/c{number}").status == 200
        each = (time.perf_counter() - started) / 200
        # A delayed acknowledgement alone would cost 40 ms.
        assert each < 0.02
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
                    assert process.wait(timeout=5) == 0
            finally:
                process.kill()
        assert not pid_file.exists()
