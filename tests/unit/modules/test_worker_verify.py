# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""worker_verify: one ready pod of every variant is asked, what it says is judged, and nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import ask_fleet
from ansible_collections.queueops.celery.plugins.modules import worker_verify
from ansible_collections.queueops.celery.plugins.modules.worker_verify import argument_spec

from tests.unit.inventories import IMAGE, TRACKED, fleet_of, one_variant
from tests.unit.modules.running import run
from tests.unit.running_pods import MARK, answering, cluster_of, let_pods_say, pod_of, running

#: Nothing listens on the discard port.
CLOSED: dict[str, Any] = {"host": "http://127.0.0.1:9", "api_key": "x"}
INVENTORY: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE, "time_limit": 60}},
    "config": {"billing": {"default": dict(TRACKED)}},
}
FLEET = fleet_of(**one_variant({**TRACKED, "time_limit": 60}))
ANSWER: dict[str, Any] = {
    "tasks": {"a": [True, True], "b": [True, True]},
    "consumed": ["default"],
    "answered": True,
    "canary": "held",
    "held": 0,
}


@pytest.fixture(autouse=True)
def _no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def let_the_fleet_run(monkeypatch: pytest.MonkeyPatch, pods: bool = True) -> None:
    """Put a cluster in which the fleet runs in the place of the connection."""
    deployments = running(FLEET)
    cluster = cluster_of(*deployments, *(pod_of(item) for item in deployments if pods))
    monkeypatch.setattr(worker_verify, "open_cluster", lambda _connect, _namespace: cluster)


def test_workers_that_do_what_the_inventory_promises_are_told_with_their_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_the_fleet_run(monkeypatch)
    asked = let_pods_say(monkeypatch, answering(**ANSWER))
    result = run("worker_verify", **INVENTORY, **CLOSED)
    assert (result["changed"], result["problems"], result["not_asked"]) == (False, [], [])
    assert result["asked"] == [
        {"deployment": "billing-worker", "pod": "billing-worker-1", "tasks": 2, "early_tasks": []}
    ]
    assert not result["warnings"]
    ((_pod, _container, question),) = asked
    assert (question["canary"], question["hash"]) == (True, "unacked:shop.billing.default")


def test_what_would_lose_work_is_a_problem_and_the_rest_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_fleet_run(monkeypatch)
    let_pods_say(monkeypatch, answering(**{**ANSWER, "tasks": {"a": [False, False], "b": [True, False]}}))
    result = run("worker_verify", **INVENTORY, **CLOSED)
    assert ["a keep early acknowledgement" in problem for problem in result["problems"]] == [True]
    assert "b acknowledge late and are not given back" in str(result["warnings"])
    assert result["asked"][0]["early_tasks"] == ["a"]


@pytest.mark.parametrize(
    ("check", "options"), [(True, {}), (False, {"canary": False})], ids=["check mode", "switched off"]
)
def test_no_message_is_sent_in_check_mode_or_where_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, check: bool, options: dict[str, Any]
) -> None:
    let_the_fleet_run(monkeypatch)
    asked = let_pods_say(monkeypatch, answering(**{**ANSWER, "canary": ""}))
    result = run("worker_verify", check, **INVENTORY, **options, **CLOSED)
    assert result["problems"] == []
    assert [question["canary"] for _pod, _container, question in asked] == [False]


def test_a_deployment_without_a_ready_pod_is_named_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_fleet_run(monkeypatch, pods=False)
    asked = let_pods_say(monkeypatch, answering(**ANSWER))
    result = run("worker_verify", **INVENTORY, **CLOSED)
    assert (result["asked"], result["not_asked"], asked) == ([], ["billing-worker"], [])


def test_a_pod_without_an_answer_is_a_problem_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_fleet_run(monkeypatch)
    let_pods_say(monkeypatch, lambda _pod, _question: ("", "sh: celery: not found\n"))
    result = run("worker_verify", **INVENTORY, **CLOSED)
    assert result["problems"] == [
        "variant default of service billing: billing-worker-1 gave no answer (sh: celery: not found); "
        "check that its image has Celery and that its app imports."
    ]


def test_every_variant_is_asked_in_a_pod_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = one_variant(TRACKED)
    variables["config"]["billing"]["high"] = TRACKED
    fleet = fleet_of(**variables)
    deployments = running(fleet)
    asked = let_pods_say(
        monkeypatch,
        lambda pod, question: (MARK + json.dumps({**ANSWER, "consumed": question["queues"]}), ""),
    )
    found, silent = ask_fleet(cluster_of(*deployments, *map(pod_of, deployments)), fleet, True)
    assert [(pod, question["group"]) for pod, _container, question in asked] == [
        ("billing-worker-1", "billing.default"),
        ("billing-worker-high-1", "billing.high"),
    ]
    assert [finding.problems for finding in found] == [(), ()]
    assert silent == []


def test_the_inventory_is_checked_before_the_first_request() -> None:
    result = run("worker_verify", namespace="shop", config={"billing": {}}, **CLOSED)
    assert "celery_workers_services: there is no service, and celery_workers_config has billing" in result["msg"]


def test_a_cluster_that_cannot_be_reached_is_told_with_what_to_check() -> None:
    result = run("worker_verify", **INVENTORY, **CLOSED)
    assert result["failed"]
    assert "celery_workers_kubeconfig" in result["msg"] or "Failed to get client" in result["msg"]


def test_an_unknown_option_is_refused() -> None:
    assert "Unsupported parameters" in run("worker_verify", **INVENTORY, canaries=False, **CLOSED)["msg"]


def test_all_options_of_the_connection_are_taken() -> None:
    assert {"kubeconfig", "context", "host", "api_key", "validate_certs", "ca_cert", "proxy"} <= set(argument_spec())
