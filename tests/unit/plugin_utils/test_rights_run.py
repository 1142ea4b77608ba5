# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbook rbac that need no cluster: files for an administrator, and kubeconfigs that stay as they are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster.login import Server, kubeconfig
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, account, done, refused

FLEET: Object = {
    "services": {"billing": {"image": IMAGE, "app": "billing.celery"}},
    "config": {"billing": {"default": {"replicas": 1}, "high": {"enable_keda": True, "min_replicas": 1}}},
    "broker": {"host": "redis.data.svc"},
}


def run(checks: bool = False, shared: HostFolder | None = None, host: str = "one", **variables: Any) -> Object:
    """A run that must not look at any cluster."""
    cluster = ModelCluster()
    found = account(cluster, checks=checks, shared=shared, host=host, **{**FLEET, **variables})
    assert not cluster.sent
    assert not cluster.lists
    return found


def files(folder: Path) -> list[Object]:
    return list(yaml.safe_load_all((folder / "one-rbac.yml").read_text(encoding="utf-8")))


def test_an_administrator_gets_a_file_beside_the_folder_of_the_host(tmp_path: Path) -> None:
    wanted: Object = {"output": "manifests", "manifests_dir": str(tmp_path)}
    assert done(run(checks=True, **wanted))["changed"]
    assert not list(tmp_path.iterdir())
    found = done(run(**wanted))
    assert found["changed"]
    assert any("kubectl apply --filename" in note for note in found["notes"])
    made = {(item["kind"], item["metadata"]["namespace"]) for item in files(tmp_path)}
    assert made == {
        *(("ServiceAccount", "shop"), ("Role", "shop"), ("RoleBinding", "shop")),
        *(("Role", "keda"), ("RoleBinding", "keda")),
    }
    assert not done(run(**wanted))["changed"]
    assert done(run(**wanted, rbac_state="absent"))["changed"]
    assert not list(tmp_path.iterdir())


def test_features_decide_what_is_granted(tmp_path: Path) -> None:
    done(run(output="manifests", manifests_dir=str(tmp_path), rbac_features="pause, boost", rbac_account="night"))
    account_, role, _binding = files(tmp_path)
    assert account_["metadata"]["name"] == role["metadata"]["name"] == "night"
    resources = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert resources == {"deployments", "scaledjobs", "scaledobjects"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("rbac_features", ["deploy", "stauts"], "did you mean 'status'?"),
        ("rbac_account", "Celery_Workers", "DNS label"),
        ("rbac_kubeconfig_lifetime", "5m", "10 minutes or more"),
        ("rbac_kubeconfig_lifetime", "soon", "a duration such as 30d"),
        ("rbac_state", "gone", "did you mean 'absent'?"),
        ("only", "billing/high", "the whole fleet"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object, told: str) -> None:
    given: Object = {name: value}
    message = refused(run(**given))
    assert f"celery_workers_{name}" in message
    assert told in message


def test_a_kubeconfig_of_others_is_never_written_over(tmp_path: Path) -> None:
    """It may be the one by which the administrator logs in."""
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    for state in ("present", "absent"):
        message = refused(run(rbac_kubeconfig=str(path), rbac_state=state))
        assert "was not written by this playbook, so it stays as it is" in message
    assert path.read_text(encoding="utf-8") == "apiVersion: v1\nkind: Config\n"


def test_a_kubeconfig_of_another_account_is_never_written_over(tmp_path: Path) -> None:
    from tests.unit.module_utils.test_login import jwt

    path = tmp_path / "config"
    text = kubeconfig(
        Server("https://k8s"), "celery-workers", "cms", jwt(sub="system:serviceaccount:cms:x"), timedelta(1)
    )
    path.write_text(text, encoding="utf-8")
    assert "logs in as system:serviceaccount:cms:x" in refused(run(rbac_kubeconfig=str(path)))
    assert path.read_text(encoding="utf-8") == text


def test_two_hosts_write_two_kubeconfigs(tmp_path: Path) -> None:
    shared = HostFolder(tmp_path / "shared")
    shared.write("two", {"path": str(tmp_path / "config")})
    message = refused(run(shared=shared, rbac_kubeconfig=str(tmp_path / "config")))
    assert "is also the file of two" in message
    assert "{{ inventory_hostname }}" in message
