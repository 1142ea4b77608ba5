# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_status: a namespace is read, compared with the inventory, and told as data, as sentences and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import LAST_APPLIED, NOTHING
from ansible_collections.queueops.celery.plugins.module_utils._plan.described import all_resources

from tests.support.kubernetes_emulator import DEFAULT_TOKEN, Emulator
from tests.unit.inventories import IMAGE, fleet_of
from tests.unit.modules.running import run
from tests.unit.status_cases import KEYS, SCALED_OBJECT, WORKER

NAME = "fleet_status"
INVENTORY: dict[str, Any] = {
    "broker": {"host": "redis", "priority_steps": [0]},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": KEYS}},
}


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with Emulator(namespaces=["shop"]) as started:
        for manifest in all_resources(fleet_of(**INVENTORY), NOTHING):
            notes = {**manifest["metadata"].get("annotations", {}), LAST_APPLIED: json.dumps(manifest)}
            made = {**manifest, "metadata": {**manifest["metadata"], "annotations": notes}}
            if manifest["kind"] == "Deployment":
                made["status"] = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
            if manifest["kind"] == "ScaledObject":
                active = {"type": "Active", "status": "True"}
                made["status"] = {"conditions": [{"type": "Ready", "status": "True"}, active]}
            started.add(made)
        started.install_keda()
        yield started


def look(emulator: Emulator, **options: Any) -> dict[str, Any]:
    connection: dict[str, Any] = {"host": emulator.url, "api_key": DEFAULT_TOKEN}
    return run(NAME, **{"namespace": "shop", **INVENTORY, **options, **connection})


def test_a_fleet_is_told_as_data_as_sentences_and_as_a_page(emulator: Emulator) -> None:
    emulator.set_reading("shop", SCALED_OBJECT, backlog=25, inflight=14, pods=3)
    found = look(emulator)
    (variant,) = found["status"]["variants"]
    assert (found["changed"], found["problems"], found["status"]["problems"]) == (False, [], [])
    assert (variant["work"]["waiting"], variant["work"]["in_flight"], variant["drift"]) == (25, 14, [])
    assert variant["formula"]["text"] == "max(25/10, min(14/2, 3))"
    assert "    formula   max(25/10, min(14/2, 3)) = 3 → 3 of 30" in found["page"]


def test_it_only_reads(emulator: Emulator) -> None:
    look(emulator)
    assert {request.method for request in emulator.requests} == {"GET"}


def test_what_is_wrong_is_a_sentence(emulator: Emulator) -> None:
    emulator.fail("GET", "/pods$", status=403, reason="Forbidden", message="pods is forbidden", times=None)
    emulator.set_status("Deployment", WORKER, {"replicas": 1, "readyReplicas": 0}, "shop")
    found = look(emulator, ask_pods=False)
    assert found["problems"][0].startswith("billing default: 0 of 1 pod ready")
    assert "pods is forbidden" in found["problems"][1]


def test_an_inventory_that_a_deployment_would_refuse_is_looked_at_all_the_same(emulator: Emulator) -> None:
    risky = {"billing": {"default": {**KEYS, "acks_late": False}}}
    assert not look(emulator, config=risky).get("failed")


def test_a_namespace_that_is_not_there_is_told(emulator: Emulator) -> None:
    found = look(emulator, namespace="elsewhere")
    assert found["failed"]
    assert found["msg"].startswith("Namespace elsewhere does not exist.")


def test_KEDA_is_asked_where_the_inventory_says(emulator: Emulator) -> None:
    found = look(emulator, keda_namespace="autoscaling", ask_pods=False)
    asked = [request.path for request in emulator.requests if "/proxy/" in request.path]
    assert [path.split("/")[4] for path in asked] == ["autoscaling"]
    assert found["status"]["variants"][0]["work"]["waiting"] is None
