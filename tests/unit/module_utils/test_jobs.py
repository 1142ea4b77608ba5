# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variants whose workers run as Jobs: their ScaledJob, and what they must not be asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from hypothesis import given
from hypothesis import strategies as st

from tests.support._jobs import jobs_to_start
from tests.unit.inventories import (
    Manifest,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_with,
    variant_of,
)
from tests.unit.others import deployment, seen

JOBS = {"run_as": "jobs", "idempotent": True}
RABBIT = {
    "type": "rabbitmq",
    "host": "rabbit",
    "secret": {"name": "login", "url_key": "url", "username_key": "username", "password_key": "password"},
}


def scaled_job_with(keys: Any = None, **rest: Any) -> Manifest:
    return of_kind(manifests_with({**JOBS, **(keys or {})}, **rest), "ScaledJob")[0]


def problem_with(keys: Any, **rest: Any) -> str:
    found = problems_with({**JOBS, **keys}, **rest)
    assert len(found) == 1, found
    return found[0]


def test_a_variant_without_the_key_stays_what_it_was() -> None:
    keys = {"enable_keda": True, "idempotent": True}
    assert manifests_with({**keys, "run_as": "deployment"}) == manifests_with(keys)


def test_jobs_take_the_place_of_deployment_and_scaler() -> None:
    kinds = [item["kind"] for item in manifests_with(JOBS)]
    assert kinds == ["ConfigMap", "PodDisruptionBudget", "ScaledJob"]


def test_its_job_runs_the_pod_of_the_deployment_once() -> None:
    keys: dict[str, Any] = {
        "resources": {"limits": {"memory": "2Gi"}},
        "secret_env": {"KEY": {"secret": "own", "key": "key"}},
    }
    keys |= {"volumes": [{"name": "data", "emptyDir": {}}], "service_account_name": "worker"}
    job = scaled_job_with(keys)["spec"]["jobTargetRef"]
    pods = of_kind(manifests_with({"enable_keda": True, "idempotent": True, "concurrency": 1, **keys}), "Deployment")
    usual = pods[0]["spec"]["template"]["spec"]
    assert {name: job[name] for name in ("parallelism", "completions", "backoffLimit")} == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 4,
    }
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    launched = ("containers", "volumes", "restartPolicy")
    assert {k: v for k, v in pod.items() if k not in launched} == {k: v for k, v in usual.items() if k not in launched}
    own, other = pod["containers"][0], usual["containers"][0]
    assert own["resources"] == other["resources"]
    assert [entry for entry in own["env"] if entry["name"] != "CELERY_LAUNCHER"] == other["env"]
    assert own["args"] == other["args"]


def test_keda_adds_up_every_list_and_what_workers_hold() -> None:
    spec = scaled_job_with({"queues": ["a", "b"]})["spec"]
    lists = [trigger["metadata"]["listName"] for trigger in spec["triggers"]]
    waiting = {f"{name}{end}" for name in "ab" for end in ("", "\x06\x163", "\x06\x166", "\x06\x169")}
    assert set(lists) == {*waiting, "unacked:shop.billing.default"}
    assert len(lists) == len(waiting) + 1
    assert {trigger["metadata"]["listLength"] for trigger in spec["triggers"]} == {"1"}
    # KEDA refuses a ScaledJob whose triggers have one.
    assert not [trigger for trigger in spec["triggers"] if "metricType" in trigger]


def test_on_rabbitmq_waiting_and_held_messages_are_one_number() -> None:
    spec = scaled_job_with(broker=RABBIT)["spec"]
    metadata = [trigger["metadata"] for trigger in spec["triggers"]]
    assert [item["queueName"] for item in metadata] == ["default"]
    assert "excludeUnacknowledged" not in metadata[0]
    assert [trigger["authenticationRef"]["name"] for trigger in spec["triggers"]] == ["billing-worker-trigger-auth"]


@given(
    waiting=st.integers(0, 60),
    held=st.integers(0, 60),
    slots=st.integers(1, 5),
    most=st.integers(1, 40),
    data=st.data(),
)
def test_jobs_that_are_there_and_that_start_are_enough_for_the_work_and_never_too_many(
    waiting: int, held: int, slots: int, most: int, data: st.DataObject
) -> None:
    spec = scaled_job_with({"concurrency": slots, "max_replicas": most})["spec"]
    running = data.draw(st.integers(0, most))
    started = jobs_to_start(spec, {"backlog_p0": waiting, "inflight": held}, running)
    needed = -(-(waiting + held) // slots)
    assert running + started == max(running, min(needed, most))


def test_the_default_strategy_is_left_out_for_releases_that_refuse_its_name() -> None:
    assert scaled_job_with()["spec"]["scalingStrategy"] == {"multipleScalersCalculation": "sum"}


def test_the_budget_of_jobs_selects_their_own_pods_whatever_the_deployment_before_them_selects() -> None:
    live = deployment("billing-worker")
    made = worker_resources(fleet_of(**one_variant(JOBS)), seen(live))
    (budget,) = of_kind(made, "PodDisruptionBudget")
    pods = scaled_job_with()["spec"]["jobTargetRef"]["template"]["metadata"]["labels"]
    assert live["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "billing-worker"}
    assert budget["spec"]["selector"]["matchLabels"].items() <= pods.items()
    assert "app.kubernetes.io/name" not in budget["spec"]["selector"]["matchLabels"]


def test_running_jobs_are_not_touched_by_a_change() -> None:
    assert scaled_job_with()["spec"]["rollout"] == {"strategy": "gradual"}


def test_no_running_job_is_evicted_and_the_budget_is_one_that_kubernetes_takes() -> None:
    budget = of_kind(manifests_with({**JOBS, "max_replicas": 7}), "PodDisruptionBudget")[0]
    assert budget["spec"]["minAvailable"] == 7
    assert "maxUnavailable" not in budget["spec"]
    assert of_kind(manifests_with({**JOBS, "pdb": False}), "PodDisruptionBudget") == []


def test_the_worker_is_told_when_to_end_and_where_held_messages_are() -> None:
    broker = {"host": "redis", "transport_options": {"global_keyprefix": "shop:"}}
    keys = {**JOBS, "idle_seconds": 20, "max_age_seconds": 900, "probe": "none"}
    job = of_kind(manifests_of(fleet_of(**one_variant(keys, broker=broker))), "ScaledJob")[0]
    env = {e["name"]: e.get("value") for e in job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]["env"]}
    told = json.loads(env["CELERY_LAUNCHER"] or "")["run_jobs"]
    assert told == {"idle": 20, "age": 900, "hash": "shop:unacked:shop.billing.default"}
    assert told["hash"] in [trigger["metadata"]["listName"] for trigger in job["spec"]["triggers"]]


def test_a_job_has_one_slot_and_as_many_messages_unless_somebody_says_otherwise() -> None:
    plain = variant_of({**JOBS, "task_seconds": 10})
    assert (plain.slots, plain.scaling.list_length) == (1, 1)
    wide = variant_of({**JOBS, "concurrency": 4})
    assert (wide.slots, wide.scaling.list_length) == (4, 4)
    assert variant_of({**JOBS, "list_length": 3}).scaling.list_length == 3


def test_messages_that_wait_for_an_eta_are_told_in_the_table() -> None:
    assert any("300 s at most" in line for line in variant_of({**JOBS, "longest_eta_seconds": 300}).sizing)


@pytest.mark.parametrize(
    ("keys", "key", "fix"),
    [
        ({"idempotent": False}, "run_as", "idempotent: true"),
        ({"in_flight": False}, "run_as", "leave in_flight"),
        ({"acks_late": False}, "run_as", "acks_late out"),
        ({"scaler": "hpa"}, "scaler", "leave scaler out"),
        ({"scaler": "none"}, "scaler", "leave scaler out"),
        ({"min_replicas": 1}, "min_replicas", "min_replicas: 0"),
        ({"paused": "scale_in"}, "paused", "paused: true"),
        ({"prefetch_multiplier": 4}, "prefetch_multiplier", "prefetch_multiplier: 1"),
        ({"extra_params": ["--autoscale=4,1"]}, "extra_params", "Leave it out"),
        ({"longest_eta_seconds": 601}, "longest_eta_seconds", "run_as: deployment"),
        ({"max_age_seconds": 60, "idle_seconds": 60}, "max_age_seconds", "raise one"),
        ({"pdb": {"max_unavailable": 1}}, "pdb", "pdb: false"),
        ({"pdb": {"min_available": "50%"}}, "pdb", "min_available: <number>"),
        ({"sidecars": [{"name": "proxy", "image": "proxy:1"}]}, "sidecars", "restartPolicy: Always"),
        (
            {"pod_overrides": {"containers": [{"name": "proxy", "image": "proxy:1"}]}},
            "pod_overrides",
            "restartPolicy: Always",
        ),
        ({"pod_overrides": {"restartPolicy": "Always"}}, "pod_overrides", "Leave it out"),
        (
            {"extra_triggers": [{"type": "cpu", "metadata": {"value": "50"}, "metricType": "Utilization"}]},
            "extra_triggers",
            "extra_triggers: []",
        ),
        ({"schedule": [{"start": "0 8 * * *", "end": "0 18 * * *", "min_replicas": 1}]}, "schedule", "schedule: []"),
        ({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}}}, "behavior", "Leave it out"),
        ({"hold": "pods"}, "hold", "Leave it out"),
        ({"replicas": 2}, "replicas", "Leave it out"),
        ({"fallback": {"replicas": 2}}, "fallback", "Leave it out"),
        ({"strategy": {"type": "Recreate"}}, "strategy", "Leave it out"),
        ({"name": "a" * 52}, "name", "51 are allowed"),
    ],
)
def test_what_a_job_cannot_be_is_refused_at_its_key(keys: Any, key: str, fix: str) -> None:
    found = problem_with(keys)
    assert found.startswith(f"celery_workers_config.billing.default.{key}: ")
    assert fix in found


def test_sqs_is_refused_with_the_reason() -> None:
    found = problem_with({}, broker={"type": "sqs", "region": "eu-west-1", "pod_identity": True})
    assert found.startswith("celery_workers_config.billing.default.run_as: SQS tells")


def test_an_adopted_deployment_stays_one() -> None:
    assert "adopted" in problem_with({"adopt": True, "in_flight": None})


def test_a_native_sidecar_goes_with_a_job() -> None:
    sidecar = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
    pod = scaled_job_with({"init_containers": [sidecar]})["spec"]["jobTargetRef"]["template"]["spec"]
    assert [item["restartPolicy"] for item in pod["initContainers"]] == ["Always"]


def test_a_grace_period_below_the_longest_task_is_right_because_nothing_is_scaled_in() -> None:
    keys = {"longest_task_seconds": 7200, "termination_grace_period": 60, "soft_shutdown_timeout": 0}
    assert "short-grace" in problems_with({"enable_keda": True, "idempotent": True, **keys})[0]
    assert variant_of({**JOBS, **keys}).pod.termination_grace_period == 60


@pytest.mark.parametrize("key", ["idle_seconds", "max_age_seconds"])
def test_keys_of_jobs_without_jobs_are_told(key: str) -> None:
    warnings = fleet_of(**one_variant({key: 90})).warnings
    assert any(text.startswith(f"celery_workers_config.billing.default.{key}: ") for text in warnings), warnings


def test_the_risk_of_etas_may_be_accepted() -> None:
    assert variant_of({**JOBS, "longest_eta_seconds": 3600, "accept_risks": ["eta-jobs"]}).runs_as_jobs
