# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""worker_info: an inventory is checked before the first request, and an unreachable cluster is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import Findings
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import AtRisk
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import patience
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed
from ansible_collections.queueops.celery.plugins.modules.worker_info import argument_spec, describe

from tests.unit.inventories import SCALED, fleet_of, one_variant
from tests.unit.module_utils.test_preflight import item
from tests.unit.modules.running import run

#: Nothing listens on the discard port.
CLOSED: dict[str, Any] = {"host": "http://127.0.0.1:9", "api_key": "x"}


@pytest.fixture(autouse=True)
def _no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def test_the_inventory_is_checked_before_the_first_request() -> None:
    result = run("worker_info", namespace="shop", config={"billing": {}}, **CLOSED)
    assert result["msg"].startswith("The inventory has 1 problem.\ncelery_workers_services: there is no service, and ")
    assert len(result["problems"]) == 1


def test_a_cluster_that_cannot_be_reached_is_told_with_what_to_check() -> None:
    result = run("worker_info", namespace="shop", **CLOSED)
    assert result["failed"]
    assert "celery_workers_kubeconfig" in result["msg"] or "Failed to get client" in result["msg"]
    assert "Traceback" not in json.dumps(result["msg"])


def test_an_unknown_option_is_refused() -> None:
    assert "Unsupported parameters" in run("worker_info", namespace="shop", namespaces="x", **CLOSED)["msg"]


def test_what_is_ours_is_returned_in_the_order_of_its_removal() -> None:
    fleet = fleet_of(**one_variant(SCALED))
    objects = (
        item("Deployment", "billing-worker"),
        item("ScaledObject", "old-scaledobject"),
        item("Secret", "s", variant="gone"),
    )
    found: dict[str, Any] = describe(fleet, Observed(objects), AtRisk(), Findings())
    assert [entry["kind"] for entry in found["owned"]] == ["ScaledObject", "Deployment", "Secret"]
    assert found["retired"] == [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "old-scaledobject", "namespace": "shop"},
        }
    ]
    assert found["orphan_names"] == ["Secret s (variant gone of service billing)"]


def test_all_options_of_the_connection_are_taken() -> None:
    assert {"kubeconfig", "context", "host", "api_key", "validate_certs", "ca_cert", "proxy"} <= set(argument_spec())


@pytest.mark.parametrize(
    ("probe", "timeout", "seconds"),
    [({}, 60, 60), ({"startup_seconds": 900}, 300, 900), ({"startup_seconds": 900}, 1200, 1200),
     ({"type": "none", "startup_seconds": 900}, 300, 300)],
)  # fmt: skip
def test_a_run_waits_for_a_worker_that_may_start_slowly(probe: dict[str, Any], timeout: int, seconds: int) -> None:
    assert patience(fleet_of(**one_variant({"probe": probe})), timeout) == seconds
