# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs return is what the documentation of their modules says. The other modules are looked at where they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.documented import undocumented
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, operate, run
from tests.unit.plugin_utils.test_broker_run import LEFT, play, site
from tests.unit.plugin_utils.test_quarantine_run import POISON
from tests.unit.plugin_utils.test_rights_run import run as account
from tests.unit.running_pods import answering

#: Asks for everything that a run tells of.
FLEET: Object = {
    "services": {"shop": {"image": IMAGE, "app": "shop.celery", "idempotent": True}},
    "config": {
        "shop": {
            "default": {"replicas": 1},
            "high": {"enable_keda": True, "max_replicas": 4, "longest_task_seconds": 60},
            "reports": {"run_as": "jobs", "max_replicas": 4, "longest_task_seconds": 900},
        }
    },
    "broker": {"host": "redis", "password": "only-for-this-test"},
    "flower_enabled": True,
    "flower": {"password": "only-for-this-test"},
    "prometheus_rule_enabled": True,
    "explicit_queues": {"shop": {"shop.note": {"queue": "high"}}},
    "routing_delivery": "task_routes",
    "explain": True,
}


def test_a_deploy_and_its_files_return_what_is_documented(tmp_path: Path) -> None:
    cluster = ModelCluster()
    for variables in (
        {},
        {"output": "manifests", "manifests_dir": str(tmp_path)},
        {"state": "absent", "key_change": "accept"},
    ):
        found = done(run(cluster, **{**FLEET, **variables}))
        assert undocumented("fleet_apply", found, rows=True) == []
    assert undocumented("fleet_apply", run(cluster, **{**FLEET, "only": ["shop"]})) == []


@pytest.mark.parametrize("playbook", ["pause", "resume", "boost"])
def test_what_changes_scaling_returns_what_is_documented(playbook: str) -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    found = operate(cluster, playbook, **FLEET, only=["shop/high"], boost_pods=2, boost_until="1h")
    assert undocumented("fleet_scale", found) == []


@pytest.mark.parametrize(
    ("playbook", "answer"),
    [
        ("list_queues", LEFT),
        ("clean", LEFT),
        ("quarantine", {**LEFT, "quarantine": [POISON]}),
        ("clean", {"error": "x"}),
    ],
)
def test_what_reads_a_broker_returns_what_is_documented(
    monkeypatch: pytest.MonkeyPatch, playbook: str, answer: Any
) -> None:
    cluster, _questions = site(monkeypatch, answering(**answer))
    found = play(cluster, playbook)
    assert found["brokers"]
    assert undocumented("fleet_queues", found, rows=True) == []


def test_what_makes_an_account_returns_what_is_documented(tmp_path: Path) -> None:
    found = done(account(output="manifests", manifests_dir=str(tmp_path)))
    assert undocumented("fleet_rights", found) == []
