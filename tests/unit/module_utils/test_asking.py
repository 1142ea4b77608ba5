# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pods are asked before a key moves: nothing held goes on, held work stops the run or is drained."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import AtRisk, ready_pod, work_at_risk
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed, observed_object

from tests.unit.inventories import SCALED, TRACKED, Manifest, fleet_of, manifests_with, of_kind, one_variant
from tests.unit.others import deployment, seen
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
    assert f"may hold messages (unknown: {said})" in risk(OFF, ON, "stop").problems[0]


def test_a_pod_into_which_nobody_may_run_a_command_counts_as_holding_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_pod: str, _question: dict[str, Any]) -> tuple[str, str]:
        raise PermissionError("pods/exec is forbidden")

    let_pods_say(monkeypatch, refused)
    assert "pods/exec is forbidden" in risk(OFF, ON, "stop").problems[0]


def test_who_may_run_commands_in_no_pod_is_told_so_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    said = 'User "night" cannot create resource "pods/exec" in API group "" in the namespace "shop"'

    def refused(pod: str, _question: dict[str, Any]) -> tuple[str, str]:
        raise PermissionError(f'pods "{pod}" is forbidden: {said}')

    let_pods_say(monkeypatch, refused)
    assert f"(unknown: no pod could be asked: Forbidden: {said})" in risk(OFF, ON, "stop").problems[0]


def test_where_no_pod_is_ready_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, answering(held=0))
    assert "unknown: no pod is ready" in risk(OFF, ON, "stop", pods=False).problems[0]


JOBS = {"run_as": "jobs", "idempotent": True}
ELSEWHERE = {"host": "redis", "database": 5}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("how", ["pruned", "another key"])
def test_jobs_that_have_ended_hold_nothing_and_need_not_be_asked(how: str, phase: str) -> None:
    after = fleet_of(**one_variant({**JOBS, "name": "other"} if how == "pruned" else JOBS, broker=ELSEWHERE))
    assert ended_jobs(after, phase, is_active="False") == AtRisk()


def test_what_waits_for_a_job_stops_the_run_although_all_jobs_have_ended() -> None:
    after = fleet_of(**one_variant(JOBS, broker=ELSEWHERE))
    (problem,) = ended_jobs(after, "Failed", is_active="True").problems
    assert "ScaledJob billing-worker may hold messages (unknown: KEDA says that there is work" in problem
    # No worker can be left on the key of Jobs.
    assert "celery_workers_key_change: drain" not in problem


def ended_jobs(after: Fleet, phase: str, is_active: str) -> AtRisk:
    """What a run of an inventory finds where Jobs have run, of which KEDA keeps some with their pods."""
    (live,) = of_kind(manifests_with(JOBS), "ScaledJob")
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": is_active}]
    live["status"] = {"conditions": conditions}
    pod = pod_of({**live, "spec": live["spec"]["jobTargetRef"]}, ready=False, phase=phase)
    pod["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "billing-worker-x7k2p"}]
    found = Observed((observed_object("ScaledJob", live),))
    return work_at_risk(cluster_of(live, pod), after, found, "stop", prunes=True)


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


# Deployments that are adopted.

ADOPTS = {**SCALED, "adopt": True}


def cut(policy: str, *pods: Manifest, raw: Manifest | None = None) -> AtRisk:
    """What a run finds that adopts a Deployment whose pods have 30 seconds to stop."""
    theirs = raw or deployment("billing-worker", grace=30)
    found = seen(theirs)
    fleet = fleet_of(**one_variant(ADOPTS), observed=found)
    return work_at_risk(cluster_of(theirs, *pods), fleet, found, policy)


THEIRS = deployment("billing-worker", grace=30)


def test_pods_that_would_be_killed_over_their_tasks_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_pods_say(monkeypatch, answering(running=["a", "b"]))
    (problem,) = cut("stop", pod_of(THEIRS)).problems
    assert "replaces its pods, which run 2 tasks (a, b) and are killed 30 s after" in problem
    ((_pod, _container, question),) = asked
    assert (question["pods"], question["consumes"], question["app"]) == (["billing-worker-1"], "", "lms.celery")


def test_idle_pods_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, answering(running=[]))
    assert cut("stop", pod_of(THEIRS)) == AtRisk()


@pytest.mark.parametrize("policy", ["drain", "accept"])
def test_who_drains_or_accepts_is_not_asked_about_adopted_pods(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    asked = let_pods_say(monkeypatch, answering(running=["a"]))
    assert cut(policy, pod_of(THEIRS)) == AtRisk()
    assert asked == []


def test_adopted_pods_that_cannot_be_asked_count_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    let_pods_say(monkeypatch, lambda _pod, _question: ("", "Traceback\nOSError: no route\n"))
    (problem,) = cut("stop", pod_of(THEIRS)).problems
    assert "may run tasks (unknown: billing-worker-1 gave no answer (OSError: no route)" in problem
    (problem,) = cut("stop", pod_of(THEIRS, ready=False)).problems
    assert "unknown: no pod is ready" in problem


def test_a_deployment_without_pods_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_pods_say(monkeypatch, answering(running=["a"]))
    assert cut("stop") == AtRisk()
    assert cut("stop", pod_of(THEIRS, phase="Pending", ready=False)) == AtRisk()
    assert asked == []


def test_every_running_pod_is_asked_about_through_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = let_pods_say(monkeypatch, answering(running=[]))
    cut("stop", pod_of(THEIRS, "b", ready=False), pod_of(THEIRS, "a"))
    assert [(pod, question["pods"]) for pod, _container, question in asked] == [("a", ["a", "b"])]


def test_the_container_of_the_app_is_asked_where_a_proxy_stands_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does Istio with holdApplicationUntilProxyStarts."""
    asked = let_pods_say(monkeypatch, answering(running=[]))
    pod = copy.deepcopy(pod_of(THEIRS))
    pod["spec"]["containers"].insert(0, {"name": "istio-proxy", "image": "x"})
    cut("stop", pod)
    assert [container for _pod, container, _question in asked] == ["billing-worker"]
