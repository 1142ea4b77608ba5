# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is: what its queues hold, why there are so many pods, what differs, and how that reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.boosts import Boost, boosted
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import LAST_APPLIED
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus, as_data, from_data
from ansible_collections.queueops.celery.plugins.module_utils._status.formula import in_words
from ansible_collections.queueops.celery.plugins.module_utils._status.judging import status_of
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import WIDTH, page

from tests.unit.inventories import TRACKED, fleet_of, one_variant
from tests.unit.status_cases import KEYS, NOW, SCALED_OBJECT, WORKER, Site, ago, fleet_with

# What queues hold


def test_what_KEDA_has_read_is_told_with_the_formula() -> None:
    variant = Site(numbers={"backlog": 25, "inflight": 14, "pods": 3}).variant
    assert (variant.work.waiting, variant.work.in_flight, variant.work.source) == (25, 14, "keda")
    assert in_words(variant.formula, variant.pods.max) == "max(25/10, min(14/2, 3)) = 3 → 3 of 30"


def test_on_rabbitmq_in_flight_is_what_does_not_wait() -> None:
    fleet = fleet_of(**one_variant({**KEYS}, broker={"type": "rabbitmq", "host": "rabbit"}))
    work = Site(fleet, numbers={"backlog": 25, "total": 39, "pods": 3}).variant.work
    assert (work.waiting, work.in_flight) == (25, 14)


def test_what_a_pod_has_counted_takes_the_same_formula() -> None:
    site = Site(numbers=None, answers={WORKER: Answer(waiting=25, held=14, active=6, later=8)})
    work = site.variant.work
    assert (work.waiting, work.in_flight, work.running, work.held_for_eta) == (25, 14, 6, 8)
    assert in_words(site.variant.formula, 30) == "max(25/10, min(14/2, 3)) = 3 → 3 of 30"
    assert site.status().numbers == ("a pod of each variant was asked",)


def test_where_the_broker_does_not_tell_what_workers_hold_they_do() -> None:
    site = Site(numbers=None, answers={WORKER: Answer(waiting=3, active=2, reserved=4, later=1)})
    work = site.variant.work
    assert (work.in_flight, work.running, work.held_for_eta) == (7, 2, 1)


def test_the_lists_of_priorities_are_counted_together() -> None:
    site = Site(fleet_of(**one_variant(KEYS)), numbers=None, answers={WORKER: Answer(waiting=25, held=0)})
    assert site.variant.formula.result == 2.5


def test_what_nobody_knows_is_not_zero() -> None:
    site = Site(numbers=None, doubts={WORKER: "KEDA's metrics in namespace keda may not be read"})
    variant = site.variant
    assert (variant.work.waiting, variant.work.in_flight, variant.work.source) == (None, None, "unknown")
    assert variant.formula.result is None
    assert "may not be read" in variant.work.reason
    data = as_data(site.status())["variants"][0]
    assert data["work"]["waiting"] is None
    assert "unknown  unknown" in "\n".join(page([site.status()], NOW))


def test_what_the_broker_says_itself_takes_the_same_formula() -> None:
    site = Site(numbers=None, counted={WORKER: Answer(waiting=25, held=14)})
    work = site.variant.work
    assert (work.waiting, work.in_flight, work.running, work.source) == (25, 14, None, "broker")
    assert in_words(site.variant.formula, 30) == "max(25/10, min(14/2, 3)) = 3 → 3 of 30"
    assert site.status().numbers == ("the broker itself, from this machine",)


def test_a_broker_that_gave_no_answer_is_not_zero() -> None:
    site = Site(numbers=None, counted={WORKER: Answer(error="the broker gave no answer: ConnectionError: refused")})
    work = site.variant.work
    assert (work.waiting, work.source) == (None, "unknown")
    assert work.reason == "the broker gave no answer: ConnectionError: refused"


def test_a_pod_that_failed_to_answer_says_why() -> None:
    site = Site(numbers=None, answers={WORKER: Answer(error="billing-worker-0 gave no answer")})
    assert (site.variant.work.waiting, site.variant.work.reason) == (None, "billing-worker-0 gave no answer")


def test_a_scaled_object_with_other_triggers_tells_nothing_of_ours() -> None:
    site = Site(numbers={"trigger_0": 5})
    assert site.variant.work.waiting is None


def test_the_formula_that_KEDA_has_counts_and_not_the_one_it_would_get() -> None:
    site = Site(numbers={"backlog": 25, "inflight": 0, "pods": 3})
    site.scaled_object["spec"]["advanced"]["scalingModifiers"]["formula"] = "backlog / 5"
    assert site.variant.formula.text == "25/5"
    assert [drift.fields for drift in site.variant.drift] == [("spec.advanced.scalingModifiers.formula",)]


def test_what_jobs_do_is_told_as_work_jobs_and_what_keda_makes_of_it() -> None:
    site = Site(fleet_with({"run_as": "jobs", "idempotent": True, "max_replicas": 5}))
    site.numbers = {"backlog": 4, "inflight": 2}
    site.set_jobs(2, failed=1)
    found = site.variant
    assert (found.exists, found.work.waiting, found.work.in_flight, found.work.source) == (True, 4, 2, "keda")
    assert (found.pods.ready, found.pods.wanted, found.pods.min, found.pods.max) == (2, 2, 0, 5)
    assert (found.formula.result, found.formula.wants) == (6, 5)
    assert (found.scaler.kind, found.scaler.state) == ("keda", "active")
    assert found.drift == ()


def test_a_job_whose_worker_failed_several_times_is_one_job() -> None:
    site = Site(fleet_with({"run_as": "jobs", "idempotent": True, "max_replicas": 5}))
    site.set_jobs(1, failed=4)
    for pod in site.pods[WORKER][-3:]:
        pod["metadata"]["ownerReferences"][0]["name"] = "billing-worker-again"
    assert site.variant.pods.failed_jobs == 2


# Pods


def test_who_set_the_number_and_when() -> None:
    site = Site()
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    site.deployment["metadata"]["managedFields"] = [
        {"manager": "OpenAPI-Generator", "time": ago(hours=9), "fieldsV1": {"f:spec": {"f:template": {}}}},
        {"manager": "kubectl-scale", "time": ago(hours=3), "fieldsV1": fields, "subresource": "scale"},
        {"manager": "kube-controller-manager", "time": ago(minutes=4), "fieldsV1": fields, "subresource": "scale"},
    ]
    pods = site.variant.pods
    assert (pods.set_by, pods.since) == ("the HPA", ago(minutes=4))


def test_restarts_and_kills_are_counted_over_the_pods_that_are_there() -> None:
    site = Site()
    for number in (0, 1):
        end = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": ago(minutes=10 + number)}
        site.container(number).update(restartCount=2, lastState={"terminated": end})
    site.pods[WORKER][1]["metadata"]["deletionTimestamp"] = ago(seconds=5)
    pods = site.variant.pods
    assert (pods.restarts, pods.oom_kills, pods.last_end) == (2, 1, ago(minutes=10))


def test_the_last_changes_of_the_number_are_told_with_their_reason_the_newest_first() -> None:
    site = Site()
    selector = "(&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},})"
    site.event(
        "SuccessfulRescale",
        f"New size: 3; reason: external metric s0-composite-metric{selector} above target",
        ago(minutes=5),
        "HorizontalPodAutoscaler",
    )
    site.event(
        "KEDAScaleTargetActivated",
        "Scaled apps/v1.Deployment shop/billing-worker from 0 to 1, triggered by s0-redis-default",
        ago(minutes=6),
    )
    site.event("KEDAScalersStarted", "Started scalers watch", ago(minutes=1))
    found = [(one.by, one.what) for one in site.variant.rescales]
    assert found == [
        ("HPA", "New size: 3; reason: external metric s0-composite-metric above target"),
        ("KEDA", "Scaled from 0 to 1, triggered by s0-redis-default"),
    ]


# Scalers


@pytest.mark.parametrize(
    ("annotation", "state"),
    [
        ("paused", "paused"),
        ("paused-replicas", "paused"),
        ("paused-scale-in", "scale-in paused"),
        ("paused-scale-out", "scale-out paused"),
    ],
)
def test_a_pause_is_told_with_who_set_it_and_since_when(annotation: str, state: str) -> None:
    site = Site()
    site.annotate(f"autoscaling.keda.sh/{annotation}", "3", "kubectl-annotate", ago(days=2))
    scaler = site.variant.scaler
    assert (scaler.state, scaler.paused_by, scaler.since) == (state, "kubectl-annotate", ago(days=2))
    assert scaler.annotations == (f"autoscaling.keda.sh/{annotation}=3",)


@pytest.mark.parametrize(("active", "state"), [("True", "active"), ("False", "idle"), ("Unknown", "starting")])
def test_the_state_of_a_scaler_that_works(active: str, state: str) -> None:
    site = Site()
    site.conditions({"type": "Active", "status": active, "message": "as KEDA says it"})
    assert site.variant.scaler.state == state


# Drift


def test_fields_that_differ_are_named_and_values_are_not() -> None:
    site = Site()
    container = site.deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"memory": "9Gi"}}
    container["args"] = ["sleep", "600"]
    site.scaled_object["spec"]["maxReplicaCount"] = 77
    found = {drift.object: set(drift.fields) for drift in site.variant.drift}
    assert found["ScaledObject billing-worker-scaledobject"] == {"spec.maxReplicaCount"}
    worker = "spec.template.spec.containers[worker]"
    assert {f"{worker}.args", f"{worker}.resources.limits.memory"} <= found["Deployment billing-worker"]
    assert "9Gi" not in str(found)


def test_what_the_server_adds_is_no_drift() -> None:
    site = Site()
    site.deployment["spec"]["template"]["spec"]["schedulerName"] = "default-scheduler"
    site.deployment["spec"]["revisionHistoryLimit"] = 10
    site.deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"
    assert site.variant.drift == ()


def test_what_a_run_would_take_away_differs() -> None:
    site = Site()
    applied = json.loads(site.deployment["metadata"]["annotations"][LAST_APPLIED])
    applied["metadata"]["annotations"] = {"old": "note"}
    site.deployment["metadata"]["annotations"] |= {LAST_APPLIED: json.dumps(applied), "old": "note"}
    assert site.variant.drift[0].fields == ("metadata.annotations.old",)


def test_a_boost_in_force_is_no_drift_and_is_part_of_the_formula() -> None:
    site = Site(numbers={"backlog": 25, "inflight": 0, "pods": 3, "queueops_boost": 8})
    manifest = json.loads(site.scaled_object["metadata"]["annotations"][LAST_APPLIED])
    raised = boosted(manifest, Boost(8, NOW - timedelta(hours=1), NOW + timedelta(hours=1)))
    status = site.scaled_object["status"]
    site.live["ScaledObject", SCALED_OBJECT] = {**json.loads(json.dumps(raised)), "status": status}
    site.scaled_object["metadata"]["annotations"][LAST_APPLIED] = json.dumps(raised)
    assert site.variant.drift == ()
    assert (site.variant.formula.result, site.variant.formula.wants) == (8, 8)


def test_an_object_that_is_not_there_is_told_without_fields() -> None:
    site = Site()
    del site.live["PodDisruptionBudget", WORKER]
    assert [(drift.object, drift.fields) for drift in site.variant.drift] == [
        ("PodDisruptionBudget billing-worker", ())
    ]


def test_a_look_at_some_variants_leaves_the_others_out_and_calls_nothing_of_them_drift() -> None:
    fleet = fleet_of(
        services={"billing": {"image": "billing:1"}},
        config={"billing": {"default": KEYS, "mail": KEYS}},
        broker={"host": "redis", "priority_steps": [0]},
    )
    site = Site(fleet)
    found = status_of(fleet, site.readings(), {}, NOW, chosen=fleet.variants[:1])
    assert [variant.variant for variant in found.variants] == ["default"]
    assert (found.drift, found.all_problems) == ((), ())


# As data, and as a page


def everything() -> Site:
    """A site that has something of all that is told."""
    site = Site(numbers={"backlog": 340, "inflight": 60, "pods": 30}, unread=("list Event is not allowed",))
    site.set_pods(30, ready=28)
    site.annotate("autoscaling.keda.sh/paused-scale-in", "true", "kubectl-annotate", ago(days=2))
    site.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    site.event("SuccessfulRescale", "New size: 30; reason: above target", ago(minutes=12), "HorizontalPodAutoscaler")
    return site


def test_data_keeps_all_of_it() -> None:
    found = everything().status()
    assert from_data(json.loads(json.dumps(as_data(found)))) == found
    failed = FleetStatus("north", failed="The API server cannot be reached.")
    assert from_data(as_data(failed)) == failed


def test_data_has_sentences_for_programs_that_pass_them_on() -> None:
    data = as_data(everything().status())
    assert {"rule", "severity", "where", "what", "fix", "sentence"} <= set(data["problems"][0])
    assert set(data["variants"][0]["problems"]) <= {problem["rule"] for problem in data["problems"]}


LONG: dict[str, Any] = {
    **TRACKED,
    "queues": ["edx.lms.core.high_mem_and_a_long_name", "edx.lms.core.another_long_name", "edx.lms.core.third", "d"],
}


@pytest.mark.parametrize("site", [everything(), Site(fleet_with(LONG))], ids=["everything", "long names"])
def test_a_page_keeps_within_a_hundred_columns(site: Site) -> None:
    lines = page([site.status()], NOW, shows_all=True)
    assert max(map(len, lines)) <= WIDTH
    many = [replace(site.status(), host=f"site{number}") for number in range(3)]
    assert max(map(len, page(many, NOW))) <= WIDTH


def test_a_page_says_where_numbers_come_from_and_what_is_wrong_before_the_table() -> None:
    lines = "\n".join(page([replace(everything().status(), host="north")], NOW))
    assert lines.index("numbers from: KEDA's metrics (keda-operator in keda)") < lines.index("[pods-not-ready]")
    assert lines.index("[pods-not-ready]") < lines.index("variant  ")
    assert "rescales  13:48:00 by HPA: New size: 30" in lines
    assert "no problems" in "\n".join(page([Site().status()], NOW))


def test_details_of_a_large_fleet_are_those_with_problems() -> None:
    small = everything().status()
    healthy = Site().variant
    large = replace(small, variants=(*small.variants, *[replace(healthy, variant=f"v{n}") for n in range(20)]))
    lines = page([large], NOW)
    assert sum("(Deployment billing-worker;" in line for line in lines) == 1
    assert "20 variants without a problem: -v shows their details" in "\n".join(lines)
    assert sum("(Deployment billing-worker;" in line for line in page([large], NOW, shows_all=True)) == 21


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ("The inventory has 1 problem.\ncelery_workers_only: wrong", "celery_workers_only: wrong"),
        ("The inventory has 2 problems.\n1. celery_workers_only: wrong\n2. more", "celery_workers_only: wrong"),
    ],
)
def test_a_site_whose_inventory_is_wrong_says_what_is_wrong(failed: str, told: str) -> None:
    lines = page([Site().status(), FleetStatus("down", failed=failed)], NOW)
    assert f"!! down: not known: {told}" in lines


def test_many_sites_are_one_table_the_worst_first_and_one_that_is_down_hides_none() -> None:
    paused = Site()
    paused.annotate("autoscaling.keda.sh/paused", "true")
    statuses = [
        replace(Site().status(), host="fine"),
        replace(paused.status(), host="slow"),
        replace(everything().status(), host="broken"),
        FleetStatus("down", failed="https://api cannot be reached: connection refused\nmore"),
    ]
    lines = page(statuses, NOW)
    assert [line.split()[0] for line in lines[1:5]] == ["down", "broken", "slow", "fine"]
    assert "!! down: not known: https://api cannot be reached: connection refused" in lines
    assert any(line.startswith("!! broken billing default: 28 of 30 pods ready") for line in lines)
    assert lines[-1] == "4 hosts, 3 variants: 3 with problems, 1 of them could not be read"
