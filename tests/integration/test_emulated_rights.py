# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts of the Kubernetes API emulator: their tokens, and what roles allow them, in the words of a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api_client import MERGE_PATCH, ApiClient, Reply
from tests.support.kubernetes_emulator import DEFAULT_TOKEN, Access, Emulator

Json = dict[str, Any]

NAMESPACED = "/api/v1/namespaces/shop"
CONFIG_MAPS, DEPLOYMENTS = f"{NAMESPACED}/configmaps", "/apis/apps/v1/namespaces/shop/deployments"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
TOKEN = f"{NAMESPACED}/serviceaccounts/night/token"
USER = "system:serviceaccount:shop:night"
CONFIG_MAP: Json = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"a": "b"}}
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(namespaces=["shop", "keda"], enforces_rights=True, accepts_apply=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    running.reset()
    running.add({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "night", "namespace": "shop"}})
    return running


@pytest.fixture
def admin(emulator: Emulator) -> Iterator[ApiClient]:
    with ApiClient(emulator.url, DEFAULT_TOKEN) as client:
        yield client


@pytest.fixture
def night(emulator: Emulator, admin: ApiClient) -> Iterator[ApiClient]:
    """Logged in as the account."""
    with ApiClient(emulator.url, token(admin)) as client:
        yield client


def token(admin: ApiClient, seconds: int = 3600) -> str:
    reply = admin.post(TOKEN, {"kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})
    assert reply.status == 201
    return str(reply.body["status"]["token"])


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> Json:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split(), **more}


def grant(admin: ApiClient, *rules: Json, namespace: str = "shop", role: str = "Role") -> None:
    """A role, bound in a namespace."""
    at = f"{RBAC}/namespaces/{namespace}"
    roles = f"{at}/roles" if role == "Role" else f"{RBAC}/clusterroles"
    assert admin.post(roles, {"kind": role, "metadata": {"name": "r"}, "rules": list(rules)}).status == 201
    binding: Json = {
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "night", "namespace": "shop"}],
    }
    assert admin.post(f"{at}/rolebindings", binding).status == 201


def refused(reply: Reply) -> str:
    assert (reply.status, reply.body["reason"]) == (403, "Forbidden")
    return str(reply.body["message"])


def test_an_account_without_a_role_may_discover_and_nothing_else(night: ApiClient) -> None:
    assert night.get("/apis").status == 200
    assert refused(night.get(DEPLOYMENTS)) == (
        f'deployments.apps is forbidden: User "{USER}" cannot list resource "deployments" in API group "apps" in the '
        'namespace "shop"'
    )
    assert refused(night.get(f"{CONFIG_MAPS}/a")) == (
        f'configmaps "a" is forbidden: User "{USER}" cannot get resource "configmaps" in API group "" in the '
        'namespace "shop"'
    )
    assert refused(night.get("/api/v1/namespaces/shop")).endswith('in API group "" in the namespace "shop"')
    assert refused(night.get("/api/v1/namespaces")).endswith('in API group "" at the cluster scope')


def test_a_kind_that_is_not_there_is_refused_before_it_is_looked_for(admin: ApiClient, night: ApiClient) -> None:
    path = "/apis/autoscaling.k8s.io/v1/namespaces/shop/verticalpodautoscalers"
    assert admin.get(path).status == 404
    assert night.get(path).status == 403


@pytest.mark.parametrize(
    ("verb", "method", "path", "status"),
    [
        ("get", "GET", f"{CONFIG_MAPS}/a", 200),
        ("list", "GET", CONFIG_MAPS, 200),
        ("watch", "GET", f"{CONFIG_MAPS}?watch=1", 501),
        ("create", "POST", CONFIG_MAPS, 409),
        ("update", "PUT", f"{CONFIG_MAPS}/a", 200),
        ("patch", "PATCH", f"{CONFIG_MAPS}/a", 200),
        ("delete", "DELETE", f"{CONFIG_MAPS}/a", 200),
        ("deletecollection", "DELETE", CONFIG_MAPS, 501),
    ],
)
def test_each_request_needs_its_own_verb(
    emulator: Emulator, admin: ApiClient, night: ApiClient, verb: str, method: str, path: str, status: int
) -> None:
    admin.post(CONFIG_MAPS, CONFIG_MAP)
    body = CONFIG_MAP if method in ("POST", "PUT", "PATCH") else None
    kind = MERGE_PATCH if method == "PATCH" else None
    others = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} - {verb}
    grant(admin, rule(" ".join(others), "configmaps"))
    assert f"cannot {verb} resource" in refused(night.request(method, path, body, content_type=kind))
    admin.delete(f"{RBAC}/namespaces/shop/roles/r")
    admin.delete(f"{RBAC}/namespaces/shop/rolebindings/r")
    grant(admin, rule(verb, "configmaps"))
    assert night.request(method, path, body, content_type=kind).status == status
    assert [need.verb for need in emulator.requests[-1].needs] == [verb]


def test_a_server_side_apply_of_what_is_not_there_also_needs_create(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("patch", "configmaps"))
    path = f"{CONFIG_MAPS}/a"
    assert "cannot create resource" in refused(night.request("PATCH", path, CONFIG_MAP, content_type=APPLY))
    admin.post(CONFIG_MAPS, CONFIG_MAP)
    assert night.request("PATCH", path, CONFIG_MAP, content_type=APPLY).status == 200


def test_a_subresource_has_rights_of_its_own(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("get list create patch", "pods"))
    assert 'cannot get resource "pods/exec"' in refused(night.get(f"{NAMESPACED}/pods/p/exec?command=x"))
    assert 'cannot create resource "serviceaccounts/token"' in refused(night.post(TOKEN, {}))


def test_a_command_needs_create_whichever_way_its_stream_is_opened(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("get", "pods/exec"))
    assert 'cannot create resource "pods/exec"' in refused(night.get(f"{NAMESPACED}/pods/p/exec?command=x"))


def test_a_rule_may_be_about_names(emulator: Emulator, admin: ApiClient, night: ApiClient) -> None:
    emulator.install_keda()
    grant(admin, rule("get", "services/proxy", resourceNames=["keda-operator:8080"]), namespace="keda")
    proxies = "/api/v1/namespaces/keda/services"
    assert night.get(f"{proxies}/keda-operator:8080/proxy/metrics").status == 200
    assert night.get(f"{proxies}/keda-operator:9666/proxy/metrics").status == 403
    assert emulator.requests[-1].needs == (Access("get", "", "services/proxy", "keda", "keda-operator:9666"),)


def test_a_role_counts_in_the_namespace_of_its_binding_only(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("list", "configmaps"), role="ClusterRole")
    assert night.get(CONFIG_MAPS).status == 200
    assert night.get("/api/v1/namespaces/keda/configmaps").status == 403
    assert night.get("/api/v1/configmaps").status == 403


def test_a_namespace_is_looked_for_in_its_own_roles(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("get", "namespaces"))
    assert night.get("/api/v1/namespaces/shop").status == 200
    assert night.get("/api/v1/namespaces/keda").status == 403


def test_a_token_is_of_an_account_that_is_there(admin: ApiClient, night: ApiClient) -> None:
    grant(admin, rule("list", "configmaps"))
    assert night.get(CONFIG_MAPS).status == 200
    account = f"{NAMESPACED}/serviceaccounts/night"
    admin.delete(account)
    assert night.get(CONFIG_MAPS).status == 401
    admin.post(f"{NAMESPACED}/serviceaccounts", {"kind": "ServiceAccount", "metadata": {"name": "night"}})
    assert night.get(CONFIG_MAPS).status == 401
    assert admin.post(f"{NAMESPACED}/serviceaccounts/day/token", {}).status == 404


def test_a_token_lasts_ten_minutes_at_least(admin: ApiClient) -> None:
    reply = admin.post(TOKEN, {"kind": "TokenRequest", "spec": {"expirationSeconds": 60}})
    assert reply.status == 422
    assert "may not specify a duration less than 10 minutes" in reply.body["message"]


def test_a_binding_keeps_its_role(admin: ApiClient) -> None:
    grant(admin, rule("list", "pods"))
    other = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "other"}}
    path = f"{RBAC}/namespaces/shop/rolebindings/r"
    reply = admin.request("PATCH", path, other, content_type=MERGE_PATCH)
    assert (reply.status, "cannot change roleRef" in reply.body["message"]) == (422, True)


def test_without_enforcement_an_account_may_do_everything() -> None:
    with Emulator(namespaces=["shop"]) as emulator:
        emulator.add({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "night", "namespace": "shop"}})
        with ApiClient(emulator.url, DEFAULT_TOKEN) as admin, ApiClient(emulator.url, token(admin)) as night:
            assert night.get(CONFIG_MAPS).status == 200
