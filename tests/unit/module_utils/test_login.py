# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubeconfig of an account: a client can log in with it, and its token is known for what it is."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import (
    advised,
    grants,
    missing_rights,
    refusal_in,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.login import (
    Server,
    Token,
    is_ours,
    kubeconfig,
    token_in,
    user_name,
)
from kubernetes import config as kubernetes_config

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
USER = "system:serviceaccount:shop:celery-workers"
MONTH = timedelta(days=30)


def jwt(begins: datetime = NOW, lasts: timedelta = MONTH, **claims: Any) -> str:
    own = {"namespace": "shop", "serviceaccount": {"name": "celery-workers", "uid": "u-1"}}
    times = {"iat": int(begins.timestamp()), "exp": int((begins + lasts).timestamp())}
    content = {"sub": USER, "kubernetes.io": own, **times, **claims}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip('=')}.c2ln"


def written(token: str) -> str:
    return kubeconfig(Server("https://k8s.example"), "celery-workers", "shop", token, MONTH)


def test_a_client_logs_in_with_it(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(written(jwt()), encoding="utf-8")
    configuration = kubernetes_config.new_client_from_config(str(path)).configuration
    assert configuration.host == "https://k8s.example"
    assert jwt() in str(configuration.api_key)
    contexts, current = kubernetes_config.list_kube_config_contexts(str(path))
    assert current["context"]["namespace"] == "shop"
    assert len(contexts) == 1


def test_the_server_is_known_by_what_the_administrator_knows_it_by(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("a certificate", encoding="utf-8")
    found = Server.of(SimpleNamespace(host="https://k8s", ssl_ca_cert=str(authority), verify_ssl=True, proxy=None))
    assert base64.b64decode(found.described()["certificate-authority-data"]) == b"a certificate"
    trusting = Server.of(SimpleNamespace(host="https://k8s", ssl_ca_cert=str(authority), verify_ssl=False))
    assert trusting.described() == {"server": "https://k8s", "insecure-skip-tls-verify": True}
    named = Server.of(SimpleNamespace(host="https://k8s", tls_server_name="api", proxy="http://proxy"))
    assert named.described() == {"server": "https://k8s", "tls-server-name": "api", "proxy-url": "http://proxy"}


def test_a_token_is_read_back_and_not_shown() -> None:
    found = token_in(written(jwt()))
    assert found == Token(jwt(), NOW + MONTH, NOW, USER, "u-1")
    assert jwt() not in repr(found)


@pytest.mark.parametrize(
    ("account", "uid", "now", "good"),
    [
        (USER, "u-1", NOW, True),
        (USER, "u-1", NOW + timedelta(days=15), True),
        (USER, "u-1", NOW + timedelta(days=16), False),
        (USER, "u-1", NOW + timedelta(days=31), False),
        # The account was deleted and made again, or has another name.
        (USER, "u-2", NOW, False),
        (user_name("other", "shop"), "u-1", NOW, False),
    ],
)
def test_a_token_is_good_for_its_account_in_the_first_half_of_its_time(
    account: str, uid: str, now: datetime, good: bool
) -> None:
    token = token_in(written(jwt()))
    assert token is not None
    assert token.is_good(account, uid, now) is good


@pytest.mark.parametrize(
    "text", ["", "a: [", "users: []", written("no token"), written("a.b.c"), written(jwt(exp="soon")), "- 1"]
)
def test_what_holds_no_token_that_can_be_read_is_no_error(text: str) -> None:
    assert token_in(text) is None


def test_a_kubeconfig_of_others_is_told_from_ours() -> None:
    assert is_ours(written(jwt()))
    content = yaml.safe_load(written(jwt()))
    del content["contexts"][0]["context"]["extensions"]
    for text in (yaml.safe_dump(content), "", "a: [", "5"):
        assert not is_ours(text)


# What a server says of missing rights

DENIED = f'User "{USER}" cannot {{verb}} resource "{{resource}}" in API group "{{group}}" {{where}}'


def denied(verb: str, resource: str, group: str = "", where: str = 'in the namespace "shop"') -> str:
    return DENIED.format(verb=verb, resource=resource, group=group, where=where)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (denied("list", "secrets"), "list on secrets in namespace shop"),
        (denied("patch", "deployments", "apps"), "patch on deployments.apps in namespace shop"),
        (denied("create", "pods/exec"), "create on pods/exec in namespace shop"),
        (denied("get", "deployments/scale", "apps"), "get on deployments.apps/scale in namespace shop"),
        (denied("list", "nodes", where="at the cluster scope"), "list on nodes in the whole cluster"),
        (json.dumps({"message": f"pods is forbidden: {denied('list', 'pods')}"}), "list on pods in namespace shop"),
    ],
)
def test_a_missing_right_is_named_with_verb_resource_and_namespace(text: str, right: str) -> None:
    assert missing_rights(f"x: {text}. {text}") == [right]
    assert f"The account lacks: {right}. " in advised(text)
    assert "queueops.celery.rbac" in advised(text)
    assert right in grants(text)


@pytest.mark.parametrize(
    "text",
    [
        'admission webhook "policy" denied the request: User of the image cannot be root',
        "exceeded quota: pods, requested: 1",
        "connection refused",
        "",
    ],
)
def test_another_refusal_is_no_missing_right(text: str) -> None:
    assert advised(text) == text
    assert grants(text) == refusal_in(text) == ""


def test_many_missing_rights_are_one_sentence() -> None:
    text = "\n".join(denied("list", f"things{number}") for number in range(9))
    assert " and 4 more. An administrator" in advised(text)


def test_who_grants_what_he_does_not_hold_is_told_so() -> None:
    text = 'roles "x" is forbidden: user "bob" is attempting to grant RBAC permissions not currently held:\n{...}'
    assert advised(text, "Be an administrator.").endswith("\nBe an administrator.")
    assert advised(denied("create", "roles"), "Be an administrator.").endswith("\nBe an administrator.")
