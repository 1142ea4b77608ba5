# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Idle pods go first: what a pod says of itself, what it may say, and where that is switched on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.idle_first import idle_first_resources
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.idle_first import (
    ANNOTATION,
    Costs,
    Keeper,
    check_answer,
    cost_of,
    place_in,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.watching import Watched
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    Observed,
    ObservedObject,
    observed_object,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support._cel import CelError, evaluate
from tests.support.scale_ins import LOADS, Simulation
from tests.unit.inventories import (
    deployment_with,
    fleet_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_with,
)

ON = {"idle_first": True}
ACCOUNT = "shop-celery-idle-first"
#: A time of day, and one that nobody sets.
DAY, CLOCK = 1_800_000_000.0, 5000.0


# What a pod says of itself


def test_the_pod_whose_task_started_first_costs_most() -> None:
    starts = [DAY, DAY + 1, DAY + 3600, DAY + 86400 * 365 * 20]
    costs = [cost_of(start) for start in starts]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
    assert 2 < min(costs) <= max(costs) < 2**31


class Written:
    """A pod that keeps what is written, or that cannot be written."""

    def __init__(self) -> None:
        self.costs: list[int | None] = []
        self.tries = 0
        self.error: Exception | None = None

    def write(self, cost: int | None) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.costs.append(cost)


def lived(tasks: list[tuple[float, float]], until: float, pod: Written | None = None) -> list[tuple[float, int | None]]:
    """What is written, and when, while one slot runs tasks that begin and end at these times."""
    pod = Written() if pod is None else pod
    keeper, found, now = Keeper(pod, Costs()), [], 0.0
    while now < until:
        running = [begin for begin, end in tasks if begin <= now < end]
        accepted = sum(begin <= now for begin, _end in tasks)
        count = len(pod.costs)
        wait = keeper.look(DAY + now, CLOCK + now, DAY + running[0] if running else None, accepted)
        found += [(round(now, 1), cost) for cost in pod.costs[count:]]
        begins = [begin for begin, _end in tasks if begin > now]
        now = min([now + max(wait, 0.01), *(begins[:1] if not running else [])])
    return found


def test_a_long_task_is_marked_at_once_by_its_start_and_forgotten_after_a_while() -> None:
    written = lived([(1.0, 31.0)], 60)
    assert [cost for _when, cost in written] == [2, cost_of(DAY + 1), 1, None]
    times = [when for when, _cost in written]
    assert times[0] == 1.0
    assert 4 <= times[1] - 1 <= 5
    assert times[2] - 31 < 1
    assert 15 <= times[3] - 31 <= 17


def test_nothing_is_written_while_one_task_runs_for_hours() -> None:
    assert len(lived([(0.5, 7200.0)], 7000)) == 2


def test_a_pod_that_goes_on_with_the_next_task_is_not_said_to_be_idle_in_between() -> None:
    costs = [cost for _when, cost in lived([(1.0, 20.0), (20.05, 40.0)], 39)]
    assert costs == [2, cost_of(DAY + 1), cost_of(DAY + 20.05)]


def test_many_short_tasks_are_few_writes() -> None:
    tasks = [(number * 0.5, number * 0.5 + 0.1) for number in range(1, 1200)]
    assert len(lived(tasks, 600)) <= 120


def test_an_idle_pod_writes_nothing() -> None:
    assert lived([], 3600) == []


def test_what_an_earlier_container_of_the_pod_has_written_is_taken_away() -> None:
    pod = Written()
    keeper = Keeper(pod, Costs(1_930_000_000))
    for second in range(40):
        keeper.look(DAY + second, CLOCK + second, None, 0)
    assert pod.costs == [1, None]


def test_an_API_that_does_not_answer_is_one_line_and_is_asked_ever_more_seldom(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pod = Written()
    pod.error = OSError("the API server answered 401: Unauthorized")
    lived([(1.0, 3600.0)], 3600, pod)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("celery-launcher: idle_first: cannot mark this pod")
    assert "401: Unauthorized" in line
    assert 30 <= pod.tries <= 80


def test_an_API_that_answers_again_is_told_how_it_is_by_then() -> None:
    pod = Written()
    pod.error = OSError("away")
    keeper = Keeper(pod, Costs())
    keeper.look(DAY + 1, CLOCK + 1, DAY + 1, 1)
    pod.error = None
    for second in range(2, 30):
        keeper.look(DAY + second, CLOCK + second, DAY + 1, 1)
    assert pod.costs == [cost_of(DAY + 1)]


@pytest.mark.parametrize("load", LOADS)
def test_no_pod_that_is_busy_for_long_is_taken_while_one_is_idle(load: Any) -> None:
    """A small form of C(python -m tests.support.scale_ins)."""
    found = Simulation(7, load).run(15)
    assert found.wrong == 0
    assert found.scale_ins == 15


def test_without_marks_such_pods_are_taken() -> None:
    assert Simulation(7, LOADS[0], marks=False).run(30).wrong > 5


# What it sends


def test_the_place_of_a_pod_stands_in_its_token() -> None:
    claims = {"kubernetes.io": {"namespace": "shop", "pod": {"name": "worker-1", "uid": "u"}}}
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert place_in(f"head.{part}.sign") == ("shop", "worker-1")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no answer"),
        (b"nonsense", "no answer"),
        (b'HTTP/1.1 403 Forbidden\r\n\r\n{"message":"pods is forbidden"}', "403: pods is forbidden"),
        (b"HTTP/1.1 503 Busy\r\nA: b\r\n\r\n<html>", "503"),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_what_the_server_says(answer: bytes, said: str) -> None:
    with pytest.raises(OSError, match=said):
        check_answer(answer)


def test_an_answer_is_fine_whatever_is_in_it() -> None:
    check_answer(b"HTTP/1.1 200 OK\r\n\r\n{")


def test_nobody_waits_for_a_start_that_has_been(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "accepted", 3)
    watched = Watched()
    assert watched.wait_for_start(60, accepted=2)
    assert not watched.wait_for_start(0.01, accepted=3)


# What the policy lets through

_TEXTS = st.dictionaries(st.sampled_from(["a", "b", ANNOTATION]), st.sampled_from(["1", "2"]))
_PODS = st.builds(
    lambda name, metadata, spec: {"metadata": {"name": name, **metadata}, "spec": {"image": spec}},
    st.sampled_from(["own", "other"]),
    st.fixed_dictionaries(
        {},
        optional={
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "finalizers": st.lists(st.just("held"), max_size=1),
            "ownerReferences": st.lists(st.just("set"), max_size=1),
        },
    ),
    st.sampled_from(["good", "evil"]),
)


def lets(policy: dict[str, Any], before: dict[str, Any], after: dict[str, Any], extra: dict[str, Any]) -> bool:
    variables: dict[str, Any] = {}
    scope = {
        "object": after,
        "oldObject": before,
        "request": {"userInfo": {"username": f"system:serviceaccount:shop:{ACCOUNT}", "extra": extra}},
        "variables": variables,
    }
    assert all(evaluate(one["expression"], scope) for one in policy["spec"]["matchConditions"])
    try:
        for one in policy["spec"]["variables"]:
            variables[one["name"]] = evaluate(one["expression"], scope)
        return all(evaluate(one["expression"], scope) is True for one in policy["spec"]["validations"])
    except CelError:
        return False


@given(before=_PODS, after=_PODS)
def test_the_policy_lets_a_pod_change_its_own_cost_and_nothing_else(before: Any, after: Any) -> None:
    (policy,) = of_kind(idle_first_resources(fleet_of(**one_variant(ON))), "ValidatingAdmissionPolicy")

    def rest(pod: Any) -> Any:
        notes = {name: value for name, value in pod["metadata"].get("annotations", {}).items() if name != ANNOTATION}
        return {**pod, "metadata": {**pod["metadata"], "annotations": notes}}

    # A request changes the object that it names.
    before = {**before, "metadata": {**before["metadata"], "name": after["metadata"]["name"]}}
    is_allowed = after["metadata"]["name"] == "own" and rest(before) == rest(after)
    assert lets(policy, before, after, {"authentication.kubernetes.io/pod-name": ["own"]}) == is_allowed
    assert not lets(policy, before, after, {})


def test_the_policy_is_in_force_for_the_accounts_of_the_workers_alone() -> None:
    (policy,) = of_kind(idle_first_resources(fleet_of(**one_variant(ON))), "ValidatingAdmissionPolicy")
    (condition,) = policy["spec"]["matchConditions"]
    for user, is_meant in ((f"system:serviceaccount:shop:{ACCOUNT}", True), ("system:node:a", False)):
        assert evaluate(condition["expression"], {"request": {"userInfo": {"username": user}}}) is is_meant


# Where it is on


def template_with(keys: dict[str, Any], **more: Any) -> dict[str, Any]:
    return dict(deployment_with(keys, **more)["spec"]["template"])


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert manifests_with({}) == manifests_with({"idle_first": False})
    assert idle_first_resources(fleet_of(**one_variant({}))) == []
    assert "serviceAccountName" not in template_with({})["spec"]


def test_a_pod_gets_a_token_of_its_own_and_its_other_containers_none() -> None:
    keys = {**ON, "sidecars": [{"name": "proxy", "image": "proxy:1"}]}
    spec = template_with(keys)["spec"]
    worker, sidecar = spec["containers"]
    assert spec["serviceAccountName"] == ACCOUNT
    assert spec["automountServiceAccountToken"] is False
    (volume,) = (item for item in spec["volumes"] if "projected" in item)
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["path"], token["expirationSeconds"]) == ("token", 3600)
    assert volume["name"] in [mount["name"] for mount in worker["volumeMounts"]]
    assert volume["name"] not in [mount["name"] for mount in sidecar.get("volumeMounts", [])]


@pytest.mark.parametrize(
    "keys", [{"service_account_name": "cloud"}, {"pod_overrides": {"serviceAccountName": "cloud"}}]
)
def test_a_variant_with_an_account_of_its_own_keeps_it(keys: dict[str, Any]) -> None:
    keys = {**ON, **keys}
    assert template_with(keys)["spec"]["serviceAccountName"] == "cloud"
    made = idle_first_resources(fleet_of(**one_variant(keys)))
    assert [item["kind"] for item in made if item["kind"] == "ServiceAccount"] == []
    (binding,) = of_kind(made, "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["cloud"]
    (policy,) = of_kind(made, "ValidatingAdmissionPolicy")
    assert "'system:serviceaccount:shop:cloud'" in policy["spec"]["matchConditions"][0]["expression"]


def test_the_right_is_never_there_without_the_policy() -> None:
    kinds = [item["kind"] for item in idle_first_resources(fleet_of(**one_variant(ON)))]
    assert kinds[-1] == "RoleBinding"
    assert {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} < set(kinds)


def test_fleets_of_one_name_have_policies_of_their_own() -> None:
    names = set()
    for namespace, fleet in (("a", "b"), ("a-b", "c"), ("a", "b-c"), ("c", "b")):
        made = idle_first_resources(fleet_of(**one_variant(ON), namespace=namespace, fleet=fleet))
        names.add(of_kind(made, "ValidatingAdmissionPolicy")[0]["metadata"]["name"])
    assert len(names) == 4


def test_an_older_cluster_runs_without_it_and_is_told_so() -> None:
    fleet = fleet_of(**one_variant(ON), versions={"kubernetes": "1.29"})
    assert idle_first_resources(fleet) == []
    (warning,) = (text for text in fleet.warnings if "idle_first" in text)
    assert "idle_first of variant default of service billing is left off: it needs Kubernetes 1.30" in warning


def test_an_adopted_deployment_cannot_mark_its_pods() -> None:
    problems = problems_with({**ON, "adopt": True}, service={"app": "billing"})
    assert [text for text in problems if "idle_first of Deployment billing-worker is its owner's" in text]


def test_an_annotation_that_is_written_by_hand_stands_in_its_way() -> None:
    (problem,) = problems_with({**ON, "pod_annotations": {ANNOTATION: "-1"}})
    assert problem.startswith("celery_workers_config.billing.default.pod_annotations: ")
    assert "idle_first: false" in problem


def test_pods_that_mark_themselves_no_more_get_the_usual_account_back() -> None:
    """A server takes an account that is left out back from an older name of the field."""

    def account(live: str) -> Any:
        observed = Observed((ObservedObject("Deployment", "billing-worker", account=live),))
        return template_with({}, observed=observed)["spec"].get("serviceAccountName")

    assert [account(live) for live in ("", "cloud", ACCOUNT, "default")] == [None, None, "default", "default"]


def test_an_account_that_the_inventory_names_no_more_does_not_stay() -> None:
    spec = {"template": {"spec": {"serviceAccountName": "cloud", "containers": []}}}
    applied = json.dumps({"spec": spec}, separators=(",", ":"))
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    live = observed_object(
        "Deployment", {"metadata": {"name": "billing-worker", "annotations": annotations}, "spec": spec}
    )
    assert template_with({}, observed=Observed((live,)))["spec"]["serviceAccountName"] == "default"
    kept = template_with({"service_account_name": "cloud"}, observed=Observed((live,)))
    assert kept["spec"]["serviceAccountName"] == "cloud"
