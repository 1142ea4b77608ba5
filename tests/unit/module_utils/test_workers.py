# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments and what stands beside them: who decides on the number of pods, which pods a selector means, budgets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import (
    handovers,
    worker_resources,
    worker_table,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    LAST_APPLIED,
    NOTHING,
    Observed,
    ObservedObject,
)

from tests.unit.inventories import (
    IMAGE,
    SCALED,
    deployment_with,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    scaled_object_with,
)

OURS = ownership_labels("shop", "billing", "default")


def running(replicas: int | None = 3, applied: int | None = None, **fields: Any) -> Observed:
    """A cluster with the Deployment of the one variant."""
    record = {"spec": {"paused": False, "replicas": applied}}
    live = ObservedObject(
        kind="Deployment",
        name="billing-worker",
        labels=fields.pop("labels", OURS),
        replicas=replicas,
        last_applied="" if applied is None else json.dumps(record),
        **fields,
    )
    return Observed((live,))


def replicas_of(keys: Any, observed: Observed = NOTHING) -> int | None:
    found: int | None = deployment_with(keys, observed)["spec"].get("replicas")
    return found


NUMBER_OF_PODS: list[tuple[str, dict[str, Any], Observed, int | None]] = [
    ("a new Deployment without a number starts with the server's 1", {}, NOTHING, None),
    ("a new Deployment with a number has it", {"replicas": 4}, NOTHING, 4),
    ("a number of 0 is a number", {"replicas": 0}, running(3), 0),
    ("under a scaler there is never a number", {**SCALED, "replicas": 4}, running(3, applied=4), None),
    ("without a number what runs stays", {}, running(3), None),
    ("a number that was applied and still holds stays", {}, running(5, applied=5), 5),
    ("a number that somebody has changed since is left to them", {}, running(3, applied=5), None),
    ("a variant that a scaler left at zero comes back", {}, running(0), 1),
    ("a variant at zero with an applied number comes back", {}, running(0, applied=5), 1),
]


@pytest.mark.parametrize(
    ("keys", "observed", "expected"), [row[1:] for row in NUMBER_OF_PODS], ids=[row[0] for row in NUMBER_OF_PODS]
)
def test_who_decides_on_the_number_of_pods(keys: dict[str, Any], observed: Observed, expected: int | None) -> None:
    assert replicas_of(keys, observed) == expected


def test_before_a_scaler_takes_over_the_deployment_forgets_the_number_that_was_applied() -> None:
    fleet = fleet_of(**one_variant(SCALED))
    (patch,) = handovers(fleet, running(3, applied=5))
    assert (patch["apiVersion"], patch["kind"]) == ("apps/v1", "Deployment")
    assert set(patch) == {"apiVersion", "kind", "metadata"}
    assert set(patch["metadata"]) == {"name", "namespace", "annotations"}
    assert json.loads(patch["metadata"]["annotations"][LAST_APPLIED]) == {"spec": {"paused": False}}


@pytest.mark.parametrize(
    ("keys", "observed"),
    [
        (SCALED, NOTHING),
        (SCALED, running(3)),
        ({}, running(5, applied=5)),
        (SCALED, running(3, applied=5, labels={"app": "somebody"})),
    ],
)
def test_nothing_is_handed_over_where_nothing_was_applied_or_nothing_is_ours(keys: Any, observed: Observed) -> None:
    assert handovers(fleet_of(**one_variant(keys)), observed) == []


def test_who_scales_without_us_is_not_overruled_by_a_number_that_was_applied_once() -> None:
    """Dropping it from the manifest alone would set one pod; the record of the last apply has to go first."""
    (patch,) = handovers(fleet_of(**one_variant({})), running(3, applied=5))
    assert "replicas" not in json.loads(patch["metadata"]["annotations"][LAST_APPLIED])["spec"]


def test_a_dry_run_shows_the_number_that_runs_where_a_handover_will_be_sent() -> None:
    fleet = fleet_of(**one_variant(SCALED))
    deployment = of_kind(worker_resources(fleet, running(3, applied=5), True), "Deployment")[0]
    assert deployment["spec"]["replicas"] == 3


def test_a_selector_is_the_templates_labels_and_no_other_deployments() -> None:
    variables = one_variant({})
    variables["config"]["billing"].update({"high": {}, "low": {}})
    variables["services"]["billing"]["beat"] = True
    deployments = of_kind(manifests_of(fleet_of(**variables)), "Deployment")
    assert len(deployments) == 4
    for one in deployments:
        matched = [
            other["metadata"]["name"]
            for other in deployments
            if one["spec"]["selector"]["matchLabels"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert matched == [one["metadata"]["name"]]


def test_a_deployment_keeps_the_selector_that_it_has_and_its_pods_still_match() -> None:
    selector = {"app.kubernetes.io/name": "lms-worker", "tier": "x"}
    keys = {"pod_labels": {"app.kubernetes.io/name": "mine"}, "replicas": 2}
    manifests = manifests_with(keys, running(selector=selector))
    deployment, budget = of_kind(manifests, "Deployment")[0], of_kind(manifests, "PodDisruptionBudget")[0]
    assert deployment["spec"]["selector"] == {"matchLabels": selector}
    assert budget["spec"]["selector"] == {"matchLabels": selector}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert {**OURS, **selector}.items() <= labels.items()


def test_an_object_says_to_which_installation_it_belongs_and_who_looks_after_it() -> None:
    for manifest in manifests_with({"replicas": 2}):
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "queueops.celery"
        # An Application of Argo CD that is named like the namespace must not take it for its own.
        assert labels["app.kubernetes.io/instance"] == "shop-celery"
    live = running(labels={**OURS, "app.kubernetes.io/instance": "site", "app.kubernetes.io/managed-by": "tutor"})
    labels = deployment_with(None, live)["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "site"
    assert labels["app.kubernetes.io/managed-by"] == "tutor"
    assert not [name for name in deployment_with()["spec"]["selector"]["matchLabels"] if name.startswith("app.")]


def test_labels_for_people_that_an_object_has_stay_unless_the_user_sets_them() -> None:
    live = running(labels={**OURS, "app.kubernetes.io/part-of": "tutor", "app.kubernetes.io/name": "old"})
    labels = deployment_with({"labels": {"app.kubernetes.io/name": "mine"}}, live)["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "tutor"
    assert labels["app.kubernetes.io/name"] == "mine"
    assert OURS.items() <= labels.items()


BUDGETS: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({}, None),
    ({"replicas": 1}, None),
    ({"replicas": 2}, {"maxUnavailable": 1}),
    (SCALED, {"maxUnavailable": 1}),
    ({**SCALED, "max_replicas": 1}, None),
    ({"replicas": 2, "pdb": False}, None),
    ({"replicas": 1, "pdb": {"min_available": 1}}, {"minAvailable": 1}),
    ({"replicas": 4, "pdb": {"max_unavailable": "50%"}}, {"maxUnavailable": "50%"}),
    ({"replicas": 4, "pdb": True}, {"maxUnavailable": 1}),
]


@pytest.mark.parametrize(("keys", "expected"), BUDGETS)
def test_a_drain_takes_one_pod_at_a_time_where_there_is_more_than_one(keys: Any, expected: Any) -> None:
    budgets = of_kind(manifests_with(keys), "PodDisruptionBudget")
    found = [{key: value for key, value in item["spec"].items() if key != "selector"} for item in budgets]
    assert found == ([] if expected is None else [expected])


def test_beat_is_one_pod_that_goes_before_the_next_one_comes() -> None:
    beat = of_kind(manifests_with({}, service={"beat": True}), "Deployment")[1]
    assert beat["metadata"]["name"] == "billing-beat"
    assert (beat["spec"]["replicas"], beat["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_the_table_says_what_runs_and_who_decides() -> None:
    variables = one_variant({**SCALED, "max_replicas": 8, "longest_task_seconds": 90, "list_length": 5})
    variables["config"]["billing"]["low"] = {"replicas": 2}
    first, second = worker_table(fleet_of(**variables))
    assert first == {
        "service": "billing",
        "variant": "default",
        "queues": ["default"],
        "deployment": "billing-worker",
        "replicas": "1-8",
        "list_length": 5,
        "scaler": "keda",
        "sees": "backlog",
        "to_zero": "no, idempotent is false, so running work is invisible",
        "slots": 2,
        "sizing": [
            "billing.default: time_limit 90: longest_task_seconds 90",
            "billing.default: termination_grace_period 120: longest_task_seconds 90 + 30 to shut down",
        ],
    }
    assert (second["replicas"], second["scaler"], second["list_length"]) == ("2", "none", None)


SEEN: list[tuple[dict[str, Any], str, str]] = [
    ({"enable_keda": True, "idempotent": True}, "backlog, in-flight", "yes, in-flight work is seen"),
    ({"enable_keda": True, "idempotent": True, "min_replicas": 1}, "backlog, in-flight", "no, min_replicas 1"),
    (
        {"enable_keda": True, "min_replicas": 0, "accept_risks": ["invisible-work"]},
        "backlog",
        "yes, invisible-work is accepted",
    ),
    ({"enable_keda": True, "idempotent": True, "in_flight": False}, "backlog", "no, in_flight is false"),
    ({"scaler": "hpa"}, "CPU", "no, only KEDA goes to 0"),
    ({"scaler": "hpa", "memory_utilization": 70}, "memory", "no, only KEDA goes to 0"),
    ({}, "", "no, only KEDA goes to 0"),
]


@pytest.mark.parametrize(("keys", "sees", "to_zero"), SEEN)
def test_the_table_says_what_a_scaler_sees_and_why_it_goes_to_zero_or_does_not(
    keys: dict[str, Any], sees: str, to_zero: str
) -> None:
    (row,) = worker_table(fleet_of(**one_variant(keys)))
    assert (row["sees"], row["to_zero"]) == (sees, to_zero)


@pytest.mark.parametrize("keys", [{"probe": "heartbeat"}, {"probe": "heartbeat", **SCALED}])
def test_labels_stay_labels_whatever_the_length_of_a_name(keys: dict[str, Any]) -> None:
    """A label has 63 characters at most; a name that is longer must not become one."""
    name = "s" * (50 if "enable_keda" not in keys else 34)
    fleet = fleet_of(
        namespace="n" * 60,
        services={name: {"image": IMAGE, "beat": True}},
        config={name: {"default": keys}},
        broker={"host": "redis", "password": True},
    )
    for item in manifests_of(fleet):
        assert not [value for value in item["metadata"]["labels"].values() if len(value) > 63]


def test_annotations_and_labels_of_the_user_are_on_the_objects_they_are_for() -> None:
    keys = {
        **SCALED,
        "labels": {"team": "a"},
        "annotations": {"note": "b"},
        "pod_labels": {"team": "c"},
        "pod_annotations": {"note": "d"},
        "scaled_object_annotations": {"note": "e"},
    }
    deployment, scaled = deployment_with(keys), scaled_object_with(keys)
    template = deployment["spec"]["template"]["metadata"]
    assert (deployment["metadata"]["labels"]["team"], deployment["metadata"]["annotations"]) == ("a", {"note": "b"})
    assert (template["labels"]["team"], template["annotations"]["note"]) == ("c", "d")
    assert scaled["metadata"]["annotations"]["note"] == "e"
