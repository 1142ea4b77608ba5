# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that the integration tests work on: an emulator of their own, or the one that KUBECONFIG names.

Tests read and prepare it through plain HTTP in both cases, so that they prove the same on either.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException

from tests.support.kubernetes_emulator import Emulator, RecordedRequest

Json = dict[str, Any]

FLEET_LABEL = "celery.queueops.io/fleet"
SERVICE_LABEL = "celery.queueops.io/service"
VARIANT_LABEL = "celery.queueops.io/variant"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

REAL_CLUSTER = os.environ.get("KUBECONFIG", "")

_PATHS = {
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ScaledObject": ("/apis/keda.sh/v1alpha1", "scaledobjects"),
    "ScaledJob": ("/apis/keda.sh/v1alpha1", "scaledjobs"),
    "Job": ("/apis/batch/v1", "jobs"),
    "TriggerAuthentication": ("/apis/keda.sh/v1alpha1", "triggerauthentications"),
    "Service": ("/api/v1", "services"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "ServiceMonitor": ("/apis/monitoring.coreos.com/v1", "servicemonitors"),
    "PodMonitor": ("/apis/monitoring.coreos.com/v1", "podmonitors"),
    "PrometheusRule": ("/apis/monitoring.coreos.com/v1", "prometheusrules"),
    "GrafanaDashboard": ("/apis/grafana.integreatly.org/v1beta1", "grafanadashboards"),
}
#: What a server puts into every namespace, OpenShift's among them.
_SERVERS_OWN = {"ConfigMap kube-root-ca.crt", "ConfigMap openshift-service-ca.crt"}
#: How the name of the ConfigMap ends in which runs leave what they have done.
_HISTORY = "-celery-history"
#: What annotations begin with that are read by KEDA, or by us.
_NOTES = ("autoscaling.keda.sh/", "celery.queueops.io/")
#: With these, KEDA takes its autoscaler away.
_PAUSED = {"autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"}
#: Kinds that the collection makes. A cluster may know nothing of some.
MADE_KINDS = tuple(kind for kind in _PATHS if kind not in ("HorizontalPodAutoscaler", "Job"))


def path_of(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural = _PATHS[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}{f'/{name}' if name else ''}"


@functools.cache
def _client(kubeconfig: Path, _written: int) -> Any:
    """One for all requests: to read a kubeconfig takes longer than a request."""
    return kubernetes_config.new_client_from_config(str(kubeconfig))


@dataclass(frozen=True)
class Cluster:
    """What a test may know of the cluster. `emulator` is None on a real one."""

    kubeconfig: Path
    emulator: Emulator | None

    # Any cluster

    def request(self, method: str, path: str, body: Json | None = None) -> Json:
        """Send one request; an answer of 400 or more raises ApiException."""
        client = _client(self.kubeconfig, self.kubeconfig.stat().st_mtime_ns)
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        parts = client.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"], query_params=[]
        )
        answer = client.call_api(*parts)
        text = answer.read()
        # A test may stop the server before the next request.
        client.rest_client.pool_manager.clear()
        if answer.status >= 400:
            raise ApiException(http_resp=answer, body=text)
        found: Json = json.loads(text)
        return found

    def needs(self, kind: str) -> None:
        """Skip the test where the cluster does not know a kind, which a stranger's need not."""
        prefix, _plural = _PATHS[kind]
        try:
            self.request("GET", prefix)
        except ApiException as error:
            if error.status != 404:
                raise
            pytest.skip(f"the cluster has no {kind} ({prefix.removeprefix('/apis/')})")

    def select(self, kind: str, namespace: str) -> list[Json]:
        """All objects of a kind; none where the cluster does not know the kind."""
        try:
            return list(self.request("GET", path_of(kind, namespace))["items"])
        except ApiException as error:
            if error.status == 404:
                return []
            raise

    def find(self, kind: str, namespace: str, name: str) -> Json | None:
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def get(self, kind: str, namespace: str, name: str) -> Json:
        found = self.find(kind, namespace, name)
        assert found is not None, f"{kind} {name} does not exist in {namespace}"
        return found

    def has_namespace(self, name: str) -> bool:
        try:
            self.request("GET", f"/api/v1/namespaces/{name}")
        except ApiException as error:
            if error.status == 404:
                return False
            raise
        return True

    def create(self, manifest: Json) -> Json:
        metadata = manifest["metadata"]
        return self.request("POST", path_of(manifest["kind"], metadata["namespace"]), manifest)

    def patch(self, kind: str, namespace: str, name: str, change: Json) -> Json:
        return self.request("PATCH", path_of(kind, namespace, name), change)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Set the number of pods as an autoscaler does."""
        path = f"{path_of('Deployment', namespace, name)}/scale"
        self.request("PATCH", path, {"spec": {"replicas": replicas}})

    def set_image(self, namespace: str, name: str, image: str) -> None:
        """Change the image of a Deployment's only container, as kubectl does."""
        (container,) = self.get("Deployment", namespace, name)["spec"]["template"]["spec"]["containers"]
        change = {"spec": {"template": {"spec": {"containers": [{**container, "image": image}]}}}}
        self.patch("Deployment", namespace, name, change)

    def names(self, namespace: str) -> set[str]:
        """Kind and name of everything that an inventory asks for. The history and Kubernetes' own are left out."""
        found = {f"{kind} {item['metadata']['name']}" for kind in MADE_KINDS for item in self.select(kind, namespace)}
        return {name for name in found - _SERVERS_OWN if not name.endswith(_HISTORY)}

    def names_of(self, kind: str, namespace: str) -> set[str]:
        """The names of all objects of a kind."""
        return {str(item["metadata"]["name"]) for item in self.select(kind, namespace)}

    def versions(self, namespace: str) -> dict[str, str]:
        """What changes of every object when somebody writes it. The history and Kubernetes' own are left out."""
        self._let_keda_follow(namespace)
        found = {
            f"{kind} {item['metadata']['name']}": self._version(item)
            for kind in (*MADE_KINDS, "HorizontalPodAutoscaler")
            for item in self.select(kind, namespace)
        }
        kept = set(found) - _SERVERS_OWN
        return {name: version for name, version in found.items() if name in kept and not name.endswith(_HISTORY)}

    def _version(self, item: Json) -> str:
        """On a real cluster every status update moves the resourceVersion, and not every kind has a generation."""
        if self.emulator:
            return str(item["metadata"]["resourceVersion"])
        content = {key: value for key, value in item.items() if key not in ("metadata", "status")}
        notes = item["metadata"].get("annotations") or {}
        content["notes"] = {name: notes[name] for name in notes if name.startswith(_NOTES)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _let_keda_follow(self, namespace: str) -> None:
        """Wait until KEDA has made the autoscaler of each ScaledObject, and removed those of others.

        A real KEDA takes some seconds for it, and makes none while it finds something wrong with a ScaledObject.
        """
        end = time.monotonic() + (0 if self.emulator else 20)
        while time.monotonic() < end:
            wanted = {
                item["metadata"]["uid"]
                for item in self.select("ScaledObject", namespace)
                if _PAUSED.isdisjoint(item["metadata"].get("annotations") or {})
            }
            owners = [
                item["metadata"].get("ownerReferences") or [{}]
                for item in self.select("HorizontalPodAutoscaler", namespace)
            ]
            if wanted == {owner[0]["uid"] for owner in owners if owner[0].get("kind") == "ScaledObject"}:
                return
            time.sleep(1)

    def deployment_env(self, namespace: str, name: str) -> dict[str, Json]:
        container = self.get("Deployment", namespace, name)["spec"]["template"]["spec"]["containers"][0]
        return {entry["name"]: entry for entry in container.get("env", [])}

    def replicas(self, namespace: str, name: str) -> int:
        return int(self.get("Deployment", namespace, name)["spec"]["replicas"])

    # The emulator only

    @property
    def power(self) -> Emulator:
        """The emulator, for a test that needs more than a cluster gives."""
        if self.emulator is None:
            pytest.skip("needs the emulator: a real cluster does not fail, count or change on request")
        return self.emulator

    def requests_of(self, namespace: str) -> list[RecordedRequest]:
        """Requests about a namespace or about objects in it."""
        own = f"/namespaces/{namespace}"
        return [
            request
            for request in list(self.power.requests)
            if request.path.endswith(own) or f"{own}/" in request.path or _creates_namespace(request, namespace)
        ]

    def writes_to(self, namespace: str) -> list[RecordedRequest]:
        """Requests that would change something; a dry run does not."""
        return [one for one in self.requests_of(namespace) if one.is_write and not one.is_dry_run]


def _creates_namespace(request: RecordedRequest, namespace: str) -> bool:
    if not request.path.endswith("/api/v1/namespaces") or not isinstance(request.body, dict):
        return False
    return bool(request.body.get("metadata", {}).get("name") == namespace)


def new_namespace_name(story: str) -> str:
    return f"test-{story}-{uuid.uuid4().hex[:6]}"


@contextmanager
def namespaces(cluster: Cluster, *names: str, existing: bool = True) -> Iterator[None]:
    """Create namespaces, and remove them with all that is in them. An emulator's log starts after it."""
    for name in names if existing else ():
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        cluster.request("POST", "/api/v1/namespaces", manifest)
    if cluster.emulator:
        cluster.emulator.requests.clear()
    try:
        yield
    finally:
        for name in names:
            if cluster.has_namespace(name):
                cluster.request("DELETE", f"/api/v1/namespaces/{name}")


def with_contexts(kubeconfig: Path, target: Path, *contexts: str) -> Path:
    """A kubeconfig with further names for its current context."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    current = next(item for item in content["contexts"] if item["name"] == content["current-context"])
    content["contexts"] += [{"name": name, "context": copy.deepcopy(current["context"])} for name in contexts]
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return target


def with_server(kubeconfig: Path, target: Path, server: str) -> Path:
    """A kubeconfig that leads to another address."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    content["clusters"] = [{**item, "cluster": {"server": server}} for item in content["clusters"]]
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return target


def with_token(kubeconfig: Path, target: Path, token: str) -> Path:
    """A kubeconfig with another token as its only credentials."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    content["users"] = [{"name": item["name"], "user": {"token": token}} for item in content["users"]]
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return target
