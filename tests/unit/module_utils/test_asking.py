# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pods are asked before a key moves: nothing held goes on, held work stops the run or is drained."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._asking import AtRisk, ready_pod, work_at_risk
from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet

from tests.unit.inventories import SCALED, TRACKED, Manifest, fleet_of, one_variant
from tests.unit.running_pods import answering, cluster_of, let_pods_say, observed, pod_of, running

OFF = fleet_of(**one_variant(SCALED))
ON = fleet_of(**one_variant(TRACKED))
RAISED = fleet_of(**one_variant({**TRACKED, "termination_grace_period": 3600}))


def risk(before: Fleet, after: Fleet, policy: str, *extra: Manifest, pods: bool = True) -> AtRisk:
    """What a run of the second inventory finds while the first one runs."""
    deployments = [*running(before), *extra]
    objects = [*deployments, *(pod_of(item) for item in deployments if pods)]
    return work_at_risk(cluster_of(*objects), after, observed(*deployments), policy)


@pytest.mark.parametrize("policy", ["stop", "drain"])
def test_a_key_under_which_nothing_is_held_may_move(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    let_pods_say(monkeypatch, answering(held=0))
    assert risk(OFF, ON, policy) == AtRisk()


def test_held_messages_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, answering(held=3))
    found = risk(OFF, ON, "stop")
    assert "the workers of Deployment billing-worker hold 3 messages under 'unacked'" in found.problems[0]
    assert found.drains == []


def test_held_messages_are_drained_by_a_worker_that_stays_on_the_old_key(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, answering(held=3))
    found = risk(OFF, ON, "drain")
    assert [item["metadata"]["name"] for item in found.drains] == ["billing-worker-drain"]
    assert found.problems == []


def test_who_accepts_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_pods_say(monkeypatch, answering(held=3))
    assert risk(OFF, ON, "accept") == AtRisk()
    assert asked == []


@pytest.mark.parametrize(
    ("output", "errors", "said"),
    [
        (
            "",
            "Traceback\nModuleNotFoundError: celery\n",
            "billing-worker-1 gave no answer (ModuleNotFoundError: celery); "
            "check that its image has Celery and that its app imports",
        ),
        (
            "",
            "",
            "billing-worker-1 gave no answer (no output); check that its image has Celery and that its app imports",
        ),
    ],
)
def test_what_cannot_be_found_out_counts_as_held(
    monkeypatch: pytest.MonkeyPatch, output: str, errors: str, said: str
) -> None:
    let_pods_say(monkeypatch, lambda _pod, _question: (output, errors))
    assert f"may hold messages (not found out: {said})" in risk(OFF, ON, "stop").problems[0]


def test_a_pod_into_which_nobody_may_run_a_command_counts_as_holding_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_pod: str, _question: dict[str, Any]) -> tuple[str, str]:
        raise PermissionError("pods/exec is forbidden")

    let_pods_say(monkeypatch, refused)
    assert "pods/exec is forbidden" in risk(OFF, ON, "stop").problems[0]


def test_where_no_pod_is_ready_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, answering(held=0))
    assert "not found out: no pod is ready" in risk(OFF, ON, "stop", pods=False).problems[0]


@pytest.mark.parametrize(("policy", "kind"), [("stop", "problems"), ("drain", "warnings")])
def test_a_grace_period_that_comes_too_late_cannot_be_drained(
    monkeypatch: pytest.MonkeyPatch, policy: str, kind: str
) -> None:
    let_pods_say(monkeypatch, answering(held=1))
    found = risk(ON, RAISED, policy)
    assert "they are killed 600 s after they are replaced" in getattr(found, kind)[0]
    assert found.drains == []


def test_a_run_that_changes_no_key_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_pods_say(monkeypatch, answering(held=3))
    assert risk(ON, ON, "stop") == AtRisk()
    assert asked == []


@pytest.mark.parametrize("policy", ["stop", "drain", "accept"])
@pytest.mark.parametrize(("held", "busy"), [(0, []), (2, ["2 messages"]), (None, ["not known: "])])
def test_a_worker_that_drains_is_busy_until_its_key_is_empty(
    monkeypatch: pytest.MonkeyPatch, held: int | None, busy: list[str], policy: str
) -> None:
    let_pods_say(monkeypatch, answering(held=3))
    (drain,) = risk(OFF, ON, "drain").drains
    asked = let_pods_say(monkeypatch, answering(held=held))
    found = risk(ON, ON, policy, drain)
    assert [part in text for part, text in zip(busy, found.busy.values(), strict=True)] == [True] * len(busy)
    assert [(pod, question["hash"]) for pod, _container, question in asked] == [("billing-worker-drain-1", "unacked")]


def test_the_workers_own_container_is_asked_and_not_a_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = {"sidecars": [{"name": "proxy", "image": "x"}]}
    asked = let_pods_say(monkeypatch, answering(held=0))
    risk(fleet_of(**one_variant({**SCALED, **sidecar})), ON, "stop")
    assert [container for _pod, container, _question in asked] == ["worker"]


def test_only_a_pod_that_runs_is_ready_and_stays_is_asked() -> None:
    (deployment,) = running(ON)
    leaving = pod_of(deployment, "a")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = [leaving, pod_of(deployment, "b", ready=False), pod_of(deployment, "c", phase="Failed")]
    assert ready_pod(pods) is None
    wanted = pod_of(deployment, "d")
    assert ready_pod([pod_of(deployment, "e"), *pods, wanted]) == wanted
