# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real worker that marks its pod, on an API that enforces roles and the policy, over TLS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.idle_first import ANNOTATION
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun
from ansible_collections.queueops.celery.plugins.plugin_utils._rights_run import RightsRun

from tests.integration.test_rights import Core
from tests.support.api_client import ApiClient
from tests.support.certificates import make_certificates
from tests.support.kubernetes_emulator import Emulator
from tests.support.real_redis import redis_server, require_redis
from tests.support.real_worker import Pods, broker_of, shop
from tests.support.waiting import wait_until
from tests.unit.model_cluster import host_run

NAMESPACE, ACCOUNT = "shop", "shop-celery-idle-first"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
VARIANT = {"idle_first": True, "replicas": 2, "concurrency": 1}


@dataclass
class Site:
    """A cluster with a fleet of two pods.

    :param names: of its pods; the worker runs in the second, which a ReplicaSet takes first if neither is marked.
    """

    emulator: Emulator
    admin: ApiClient
    manifests: Any
    authority: Path
    names: list[str]

    def token(self, pod: str) -> str:
        """What the kubelet brings into a pod."""
        uid = self.pod(pod)["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
        body = {"spec": {"expirationSeconds": 3600, "boundObjectRef": bound}}
        reply = self.admin.post(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token", body)
        return str(reply.body["status"]["token"])

    def pod(self, name: str) -> dict[str, Any]:
        found = self.emulator.get("Pod", name, NAMESPACE)
        assert found is not None, f"there is no pod {name}"
        return found

    def written(self, name: str) -> list[str]:
        """Every cost that the pod has written of itself."""
        bodies = [one.body for one in self.emulator.requests if one.method == "PATCH" and one.path.endswith(f"/{name}")]
        return [body["metadata"]["annotations"][ANNOTATION] for body in bodies if isinstance(body, dict)]

    def cost(self, name: str) -> str | None:
        found = self.pod(name)["metadata"].get("annotations", {}).get(ANNOTATION)
        return None if found is None else str(found)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    require_redis()
    made = make_certificates(tmp_path / "tls")
    with (
        redis_server("secret") as broker,
        Emulator(
            namespaces=[NAMESPACE], enforces_rights=True, certificate=(str(made.server), str(made.server_key))
        ) as emulator,
    ):
        manifests = shop(broker_of(broker), {"default": VARIANT}, enable_keda=False)
        address = emulator.url.replace("http://", "https://")
        with ApiClient(address, emulator.token, str(made.authority)) as admin:
            emulator.add(*(item for item in manifests.resources if item["kind"] != "Deployment"))
            deployment = manifests.find("Deployment", "shop-worker")
            assert admin.post(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", deployment).status == 201
            names = [pod["metadata"]["name"] for pod in emulator.objects("Pod", NAMESPACE)]
            yield Site(emulator, admin, manifests, made.authority, names)


def scaled(site: Site, replicas: int) -> list[str]:
    """Pods that are left once the ReplicaSet has so many."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/shop-worker"
    assert site.admin.patch(path, {"spec": {"replicas": replicas}}).status == 200
    return [pod["metadata"]["name"] for pod in site.emulator.objects("Pod", NAMESPACE)]


def started(site: Site, pods: Pods, name: str) -> Any:
    """The worker in one of the pods."""
    pods.projected = {"token": site.token(name), "ca.crt": site.authority.read_text(encoding="utf-8")}
    host, _colon, port = site.emulator.url.removeprefix("http://").partition(":")
    pods.outer = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    return pods.start().wait_until_ready()


def test_a_busy_pod_is_spared_and_the_worker_goes_on_without_the_API(site: Site, tmp_path: Path) -> None:
    idle, busy = site.names
    with Pods(tmp_path / "pods", site.manifests) as pods:
        worker = started(site, pods, busy)
        pods.send("first", task="shop.held")
        wait_until(lambda: site.written(busy)[:1] == ["2"], pods.logs)
        assert site.cost(idle) is None
        wait_until(lambda: int(site.cost(busy) or 0) > 10**9, pods.logs)
        assert scaled(site, 1) == [busy]
        assert (pods.events("start"), pods.events("done")) == (["first"], [])
        pods.let_go()
        wait_until(lambda: site.cost(busy) == "1", pods.logs)
        site.emulator.fail("PATCH", "/pods/", times=None)
        pods.send(1, "second")
        wait_until(lambda: "cannot mark this pod" in worker.log, pods.logs)
        pods.send(0, "third")
        wait_until(lambda: "third" in pods.events("done"), pods.logs)
        assert worker.stop() == 0
        assert worker.log.count("celery-launcher") == 1
        assert "Traceback" not in worker.log


def changes_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Every kind of change to a pod that is not its cost alone."""
    container = pod["spec"]["containers"][0]
    own = "celery.queueops.io/config-hash"
    metadata: list[dict[str, Any]] = [
        *({"labels": {name: "a"}} for name in ("app", "pod-template-hash", "celery.queueops.io/variant")),
        {"labels": {"pod-template-hash": None}},
        {"labels": None},
        *({"annotations": {name: "1"}} for name in ("a", f"{ANNOTATION}x", "kubectl.kubernetes.io/restartedAt", own)),
        {"annotations": {ANNOTATION: "7", "other": "1"}},
        {"annotations": {own: None}},
        {"annotations": {own: "0", ANNOTATION: "7"}},
        {"annotations": None},
        {"finalizers": ["example.com/held"]},
        {"ownerReferences": None},
        {"ownerReferences": []},
    ]
    spec: list[dict[str, Any]] = [
        {"containers": [{**container, "image": "evil:1"}]},
        {"activeDeadlineSeconds": 1},
        {"tolerations": [{"operator": "Exists"}]},
        {"terminationGracePeriodSeconds": 1},
        {"serviceAccountName": "default"},
    ]
    return [*({"metadata": one} for one in metadata), *({"spec": one} for one in spec)]


def forbidden(site: Site, own: str, other: str) -> list[tuple[str, str, Any]]:
    """What a token of a pod must not do: method, path and body of each attempt."""
    costs = [{"metadata": {"annotations": {ANNOTATION: str(cost)}}} for cost in range(50)]
    changes = changes_of(site.pod(own))
    found: list[tuple[str, str, Any]] = [("PATCH", f"{PODS}/{own}", change) for change in changes]
    found += [("PATCH", f"{PODS}/{other}", change) for change in (*changes, *costs)]
    found += [("PATCH", f"/api/v1/namespaces/{name}/pods/{own}", costs[0]) for name in ("default", "kube-system")]
    found += [(method, f"{PODS}/{name}", {}) for name in (own, other) for method in ("GET", "PUT", "DELETE")]
    found += [("PATCH", f"{PODS}/{own}/{part}", {"status": {"phase": "Failed"}}) for part in ("exec", "status")]
    found += [("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token", {"spec": {}})]
    core = ("secrets", "configmaps", "serviceaccounts", "services", "events", "persistentvolumeclaims")
    grouped = {
        "apps/v1": ("deployments", "replicasets"),
        "rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
        "keda.sh/v1alpha1": ("scaledobjects",),
        "policy/v1": ("poddisruptionbudgets",),
    }
    paths = [f"/api/v1/namespaces/{NAMESPACE}/{kind}" for kind in core]
    paths += [f"/apis/{group}/namespaces/{NAMESPACE}/{kind}" for group, kinds in grouped.items() for kind in kinds]
    paths += [f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic{end}" for end in ("ies", "ybindings")]
    paths += ["/api/v1/namespaces", "/api/v1/nodes", f"/apis/{'rbac.authorization.k8s.io/v1'}/clusterrolebindings"]
    found += [(method, path, {}) for path in (*paths, PODS) for method in ("GET", "POST")]
    return found + [(method, f"{path}/any", {}) for path in paths for method in ("GET", "PUT", "PATCH", "DELETE")]


def test_a_pod_may_change_the_cost_of_itself_and_nothing_else(site: Site) -> None:
    own, other = site.names
    before = {kind: site.emulator.objects(kind) for kind in ("Pod", "Deployment", "RoleBinding", "Secret")}
    attempts = forbidden(site, own, other)
    assert len(attempts) >= 200
    address = site.emulator.url.replace("http://", "https://")
    with ApiClient(address, site.token(own), str(site.authority)) as client:
        passed = []
        for method, path, body in attempts:
            content = "application/merge-patch+json" if method == "PATCH" else None
            reply = client.request(method, path, body, content_type=content)
            if reply.status not in (403, 422):
                passed.append((reply.status, method, path, body))
        assert passed == []
        assert {kind: site.emulator.objects(kind) for kind in before} == before
        for cost, _twice in itertools.product(("2", "1930000000", "1", None), range(2)):
            assert client.patch(f"{PODS}/{own}", {"metadata": {"annotations": {ANNOTATION: cost}}}).status == 200
            assert site.cost(own) == cost
    assert site.emulator.get("Pod", own, NAMESPACE) is not None


# What runs make of it. They run in this process, and over HTTP.

OBJECTS = {
    ("ServiceAccount", ACCOUNT),
    ("Role", ACCOUNT),
    ("RoleBinding", ACCOUNT),
    ("ValidatingAdmissionPolicy", f"shop.{ACCOUNT}"),
    ("ValidatingAdmissionPolicyBinding", f"shop.{ACCOUNT}"),
}
WANTED: dict[str, Any] = {
    "namespace": NAMESPACE,
    "broker": {"host": "redis"},
    "services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "config": {"shop": {"default": {"idle_first": True, "replicas": 2}}},
    "wait": False,
}
UNWANTED = {**WANTED, "config": {"shop": {"default": {"replicas": 2}}}}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(namespaces=[NAMESPACE], enforces_rights=True) as found:
        yield found


@pytest.fixture
def admin(emulator: Emulator, tmp_path: Path) -> Core:
    return Core(emulator.write_kubeconfig(tmp_path / "admin"))


def deployed(core: Core, variables: dict[str, Any], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = host_run(FleetRun, core, {**variables, **more}, core.checks).apply()
    assert not result.get("failed"), result["msg"]
    return result


def made(emulator: Emulator) -> set[tuple[str, str]]:
    """What there is of it."""
    kinds = {kind for kind, _name in OBJECTS}
    every = [(kind, item["metadata"]["name"]) for kind in kinds for item in emulator.objects(kind)]
    return {found for found in every if found[1].endswith(ACCOUNT)}


def pod_account(emulator: Emulator) -> str | None:
    found = emulator.get("Deployment", "shop-worker", NAMESPACE)
    assert found is not None
    account = found["spec"]["template"]["spec"].get("serviceAccountName")
    return None if account is None else str(account)


def test_it_comes_stays_and_goes_with_the_inventory(emulator: Emulator, admin: Core) -> None:
    deployed(admin, WANTED)
    assert made(emulator) == OBJECTS
    assert pod_account(emulator) == ACCOUNT
    assert not deployed(admin, WANTED)["changed"]
    sent = [one for one in emulator.requests if one.method == "POST" and not one.is_dry_run]
    created = [one.path.rpartition("/")[2] for one in sent]
    assert created.index("validatingadmissionpolicybindings") < created.index("rolebindings")
    deployed(admin, UNWANTED)
    assert made(emulator) == set()
    # Left out, it would stay: servers take it back from an older name of the field.
    assert pod_account(emulator) == "default"
    assert not deployed(admin, UNWANTED)["changed"]


def test_a_removal_takes_what_is_in_no_namespace_and_leaves_that_of_other_namespaces(
    emulator: Emulator, admin: Core
) -> None:
    emulator.add_namespaces("other")
    deployed(admin, WANTED)
    deployed(admin, WANTED, namespace="other", fleet="shop")
    deployed(admin, {"namespace": NAMESPACE, "state": "absent", "key_change": "accept"})
    assert made(emulator) == {(kind, name.replace("shop.", "other.")) for kind, name in OBJECTS}


def test_a_check_sends_nothing_and_shows_it(emulator: Emulator, admin: Core) -> None:
    result = deployed(Core(admin.kubeconfig, checks=True), WANTED)
    assert f"ValidatingAdmissionPolicy shop.{ACCOUNT}" in result["created"]
    assert made(emulator) == set()


def test_an_older_cluster_runs_without_it_and_is_told_so(emulator: Emulator, admin: Core) -> None:
    emulator.remove_kind("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    (warning,) = deployed(admin, WANTED)["warnings"]
    assert "idle_first of variant default of service shop is left off: the cluster has no Validating" in warning
    assert "Kubernetes 1.30" in warning
    assert made(emulator) == set()
    assert pod_account(emulator) is None


def logged_in(emulator: Emulator, admin: Core, folder: Path, features: list[str]) -> Core:
    """The account of a fleet, with the rights of some features."""
    login = folder / "login.yml"
    wanted = {**WANTED, "rbac_kubeconfig": str(login), "rbac_features": features}
    result = host_run(RightsRun, admin, wanted).bring()
    assert not result.get("failed"), result["msg"]
    return Core(login)


def test_an_account_without_the_rights_names_them_and_runs_without_it(
    emulator: Emulator, admin: Core, tmp_path: Path
) -> None:
    account = logged_in(emulator, admin, tmp_path, ["deploy"])
    (warning,) = deployed(account, WANTED)["warnings"]
    assert "is left off: the account lacks " in warning
    for right in (
        "create on serviceaccounts in namespace shop",
        "create on roles.rbac.authorization.k8s.io in namespace shop",
        "create on validatingadmissionpolicies.admissionregistration.k8s.io in the whole cluster",
    ):
        assert right in warning
    assert "queueops.celery.rbac" in warning
    assert made(emulator) == set()
    assert pod_account(emulator) is None


def test_an_account_with_the_rights_brings_it_and_takes_it_away(
    emulator: Emulator, admin: Core, tmp_path: Path
) -> None:
    account = logged_in(emulator, admin, tmp_path, ["deploy", "remove", "idle_first"])
    assert "warnings" not in deployed(account, WANTED)
    assert made(emulator) == OBJECTS
    assert not deployed(account, WANTED)["changed"]
    deployed(account, {"namespace": NAMESPACE, "state": "absent", "key_change": "accept"})
    assert made(emulator) == set()
    host_run(RightsRun, admin, {**WANTED, "rbac_state": "absent"}).bring()
    kinds = ("ClusterRole", "ClusterRoleBinding", "Role")
    assert not [item for kind in kinds for item in emulator.objects(kind)]


def test_an_account_that_may_only_look_keeps_what_an_administrator_has_made(
    emulator: Emulator, admin: Core, tmp_path: Path
) -> None:
    deployed(admin, WANTED)
    account = logged_in(emulator, admin, tmp_path, ["deploy"])
    result = deployed(account, WANTED)
    assert "warnings" not in result
    assert not result["changed"]
    assert pod_account(emulator) == ACCOUNT


def test_a_right_that_is_not_held_is_not_granted(emulator: Emulator, admin: Core, tmp_path: Path) -> None:
    account = logged_in(emulator, admin, tmp_path, ["deploy", "idle_first"])
    role = emulator.get("Role", "celery-workers", NAMESPACE)
    assert role is not None
    kept = [rule for rule in role["rules"] if rule["resources"] != ["pods"]]
    emulator.add({**role, "rules": kept})
    (warning,) = deployed(account, WANTED)["warnings"]
    assert "the account may not let workers patch pods" in warning
    assert made(emulator) == set()
