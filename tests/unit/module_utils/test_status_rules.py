# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sentence a problem, with what to do about it; none on a healthy site."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus
from ansible_collections.queueops.celery.plugins.module_utils._status.rules import FLEET_RULES, RULES

from tests.unit.inventories import SCALED, fleet_of, one_variant
from tests.unit.status_cases import KEYS, WORKER, Fault, Site, ago, fleet_with

PAGE = Path(__file__).parents[3] / "docs" / "status-problems.md"
FIXED = {"replicas": 2}
LOGIN = {"name": "redis-login", "password_key": "password"}
BY_CPU = {"scaler": "hpa", "min_replicas": 1, "max_replicas": 4}


def waiting(reason: str, message: str = "") -> Fault:
    def change(site: Site) -> None:
        site.set_pods(3, ready=2)
        site.container(2)["state"] = {"waiting": {"reason": reason, "message": message}}

    return change


def unschedulable(site: Site) -> None:
    site.set_pods(3, ready=2)
    lacks = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient memory."}
    site.pods[WORKER][2]["status"] = {"conditions": [lacks]}


def refused(message: str) -> Fault:
    def change(site: Site) -> None:
        site.set_pods(2, ready=2)
        site.deployment["spec"]["replicas"] = 3
        site.deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": message}]

    return change


def stuck(site: Site) -> None:
    site.set_pods(3, ready=2)
    progress = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    site.deployment["status"]["conditions"] = [progress]


def ended(reason: str, restarts: int, **span: float) -> Fault:
    def change(site: Site) -> None:
        end = {"reason": reason, "exitCode": 137, "finishedAt": ago(**span)}
        site.container().update(restartCount=restarts, lastState={"terminated": end})

    return change


def crashing(site: Site) -> None:
    site.set_pods(3, ready=2)
    end = {"reason": "Error", "exitCode": 1, "message": "KeyError: 'SITE'", "finishedAt": ago(seconds=20)}
    back_off = {"waiting": {"reason": "CrashLoopBackOff"}}
    site.container(2).update(restartCount=4, state=back_off, lastState={"terminated": end})


def not_ready(site: Site) -> None:
    site.set_pods(3, ready=2)


#: KEDA 2.20 of a queue that no message has made.
NO_QUEUE = (
    "error inspecting RabbitMQ: error requesting RabbitMQ API status: 404 Not Found, response: "
    '{"error":"Object Not Found","reason":"Not Found"}, from: http://user:password@rabbit:15672/api/queues/%2F/jobs'
)


def failing(message: str) -> Fault:
    return lambda site: site.event("KEDAScalerFailed", message, ago(minutes=2))


def worked_again(site: Site) -> None:
    failing("404 Not Found")(site)
    site.event("ScaledJobActive", "Scaling is performed because triggers are active", ago(minutes=1))


def fallback(site: Site) -> None:
    site.conditions({"type": "Fallback", "status": "True", "reason": "FallbackExists", "message": "one trigger fails"})


def unmeasured(site: Site) -> None:
    """Prometheus fails, which KEDA counts as a fallback, and the queue can be read."""
    fallback(site)
    triggers = site.scaled_object["spec"]["triggers"]
    site.scaled_object["status"]["health"] = {
        f"s{len(triggers)}-prometheus": {"numberOfFailures": 9, "status": "Failing"},
        "s0-redis-default": {"numberOfFailures": 0, "status": "Happy"},
    }
    triggers.append({"type": "prometheus", "name": "measured_seconds"})


def hpa_says(kind: str, reason: str, message: str, status: str = "False", **more: Any) -> Fault:
    def change(site: Site) -> None:
        one = {"type": kind, "status": status, "reason": reason, "message": message, **more}
        site.hpa.setdefault("status", {}).setdefault("conditions", []).append(one)

    return change


def full(site: Site) -> None:
    site.set_pods(30)
    site.numbers = {"backlog": 340, "inflight": 60, "pods": 30}
    since = ago(minutes=12)
    hpa_says("ScalingLimited", "TooManyReplicas", "", "True", lastTransitionTime=since)(site)


def paused_at_none(site: Site) -> None:
    site.set_pods(0)
    site.numbers, site.answers = {"backlog": 12, "inflight": 0, "pods": 0}, {}
    site.annotate("autoscaling.keda.sh/paused-scale-out", "true")


def paused(site: Site) -> None:
    site.annotate("autoscaling.keda.sh/paused", "true", "kubectl-annotate", ago(days=3))


def drained(*, left_out: int = 0) -> Fault:
    """Drained by our playbook; so many of its pods have started since."""

    def change(site: Site) -> None:
        for pod in site.pods[WORKER]:
            pod["status"]["phase"] = "Running"
        names = [pod["metadata"]["name"] for pod in site.pods[WORKER]]
        told = {"by": "ann", "since": ago(hours=1), "reason": "node 7", "told": dict.fromkeys(names[left_out:], 0)}
        site.deployment["metadata"]["annotations"]["celery.queueops.io/drained"] = json.dumps(told)
        paused(site)
        many_wait(site)

    return change


def without(kind: str) -> Fault:
    def change(site: Site) -> None:
        for key in [key for key in site.live if key[0] == kind]:
            del site.live[key]

    return change


def drifted(site: Site) -> None:
    site.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"


def silent(site: Site) -> None:
    site.scaled_object["status"] = {}


def many_wait(site: Site) -> None:
    site.numbers = None
    site.answers = {WORKER: Answer(waiting=340, held=2)}


JOBS = {"run_as": "jobs", "idempotent": True, "list_length": 1}

#: Rule, keys of the variant, what is wrong, and words of the sentence.
CASES: list[tuple[str, Any, Fault, str]] = [
    ("not-deployed", KEYS, without("Deployment"), "billing default: Deployment billing-worker does not exist: run"),
    (
        "image-pull",
        KEYS,
        waiting("ImagePullBackOff", "not found"),
        "billing default: 2 of 3 pods ready. Pod billing-worker-2, container worker: ImagePullBackOff: not found: "
        "check image and image_pull_secrets",
    ),
    ("config-missing", KEYS, waiting("CreateContainerConfigError", 'secret "env" not found'), 'secret "env" not found'),
    ("unschedulable", KEYS, unschedulable, "3 Insufficient memory: check resources, node_selector and tolerations"),
    ("quota", KEYS, refused('pods "x" is forbidden: exceeded quota: memory'), "exceeded quota: memory"),
    ("pods-refused", KEYS, refused('pods "x" is forbidden: violates PodSecurity'), "violates PodSecurity"),
    ("crash-loop", KEYS, crashing, "it has ended 5 times, the last time with exit code 1: read its log"),
    ("rollout-stuck", KEYS, stuck, "2 of 3 pods ready. timed out"),
    ("pods-not-ready", KEYS, not_ready, "2 of 3 pods ready for 5 h: read kubectl describe pods"),
    ("out-of-memory", KEYS, ended("OOMKilled", 1, minutes=10), "killed for want of memory, the last one 10 min ago"),
    ("restarts", KEYS, ended("Error", 3, minutes=50), "restarted 3 times, the last time 50 min ago"),
    (
        "failed-jobs",
        JOBS,
        lambda site: site.set_jobs(2, failed=3),
        "workers of 3 Jobs have failed, the last one 10 min ago: read kubectl logs --prefix --selector "
        "celery.queueops.io/service=billing,celery.queueops.io/variant=default",
    ),
    ("scaler-missing", KEYS, without("ScaledObject"), "it has no ScaledObject, so nothing scales its 3 pods"),
    ("keda-silent", KEYS, silent, "KEDA has not looked at its ScaledObject yet"),
    (
        "scaler-login",
        KEYS,
        failing("connection to redis failed: WRONGPASS invalid username-password pair or user is disabled."),
        "the scaler cannot log in to the broker (connection to redis failed: WRONGPASS invalid",
    ),
    ("scaler-unreachable", KEYS, failing("dial tcp 10.0.0.9:6379: connect: connection refused"), "stays at 3 pods"),
    ("queue-missing", KEYS, failing(NO_QUEUE), "RabbitMQ knows no such queue in this virtual host"),
    ("scaler-failing", KEYS, failing("unknown trigger type"), "KEDA cannot scale it (unknown trigger type)"),
    ("fallback-active", KEYS, fallback, "the fallback is active: KEDA cannot read the queue (one trigger fails)"),
    ("unmeasured", KEYS, unmeasured, "KEDA cannot ask Prometheus for run times and arrivals, so list_length decides"),
    ("ambiguous-selector", KEYS, hpa_says("ScalingActive", "AmbiguousSelector", "two"), "two HPAs select its pods"),
    (
        "hpa-cannot-scale",
        KEYS,
        hpa_says("ScalingActive", "FailedGetExternalMetric", "unable to get external metric"),
        "(FailedGetExternalMetric: unable to get external metric)",
    ),
    (
        "drained",
        KEYS,
        drained(),
        "drained since 2026-11-30 13:00 UTC by ann (node 7); 340 messages wait: run queueops.celery.resume -e "
        "celery_workers_only=billing/default",
    ),
    (
        "drained-in-part",
        KEYS,
        drained(left_out=1),
        "but 1 of 3 pods was started or restarted since, or never told, so it takes work (billing-worker-0): run "
        "queueops.celery.drain -e celery_workers_only=billing/default",
    ),
    ("nothing-consumes", KEYS, paused_at_none, "12 messages wait in default and nothing consumes them"),
    (
        "at-maximum",
        KEYS,
        full,
        "billing default: 340 messages wait, 30 of 30 pods for 12 min: raise max_replicas or list_length",
    ),
    ("unscaled-backlog", FIXED, many_wait, "340 messages wait for 3 pods, and its number is fixed"),
    (
        "paused",
        KEYS,
        paused,
        "paused since Friday 14:00 UTC by annotation (autoscaling.keda.sh/paused=true) by kubectl",
    ),
    ("drifted", KEYS, drifted, "Deployment billing-worker spec.template.spec.containers[worker].image"),
]


@pytest.mark.parametrize(("rule", "keys", "fault", "words"), CASES, ids=[case[0] for case in CASES])
def test_what_is_wrong_is_one_sentence_with_its_fix(rule: str, keys: Any, fault: Fault, words: str) -> None:
    site = Site(fleet_with(keys))
    fault(site)
    found = [problem for problem in site.status().all_problems if problem.rule == rule]
    assert [words in problem.sentence for problem in found] == [True], [problem.sentence for problem in found]
    assert found[0].fix


@pytest.mark.parametrize("keys", [KEYS, SCALED, FIXED, BY_CPU], ids=["tracked", "scaled", "fixed", "by CPU"])
def test_a_healthy_site_has_no_problem(keys: Any) -> None:
    site = Site(fleet_with(keys), pods_wanted=2)
    if keys in (FIXED, BY_CPU):
        many_wait(site)
        site.answers = {WORKER: Answer(waiting=3, held=0)}
    if keys == SCALED:
        site.numbers = {"backlog": 0}
    assert site.status().all_problems == ()


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == {rule.name for rule in RULES}


# What is no problem


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda site: site.set_pods(30), id="many pods and no message"),
        pytest.param(ended("OOMKilled", 1, hours=30), id="killed yesterday"),
        pytest.param(ended("Error", 2, minutes=1), id="restarted twice"),
        pytest.param(hpa_says("ScalingActive", "ScalingDisabled", "zero"), id="an HPA that sleeps"),
        pytest.param(
            lambda site: site.event("KEDAScalerFailed", "refused", ago(minutes=30)), id="an error half an hour ago"
        ),
        pytest.param(worked_again, id="an error before KEDA has started Jobs"),
        pytest.param(lambda site: site.annotate("autoscaling.keda.sh/paused", "false"), id="a pause that says false"),
    ],
)
def test_what_passes_or_has_passed_is_no_problem(fault: Fault) -> None:
    site = Site()
    fault(site)
    assert site.rules == []


def test_an_error_that_lasts_is_one_whatever_KEDA_says_after_it() -> None:
    """It tells of Jobs that it created where the server refused them all; and one of several readings may fail."""
    site = Site()
    site.event("KEDAJobCreateFailed", "exceeded quota: small", ago(minutes=2))
    site.event("KEDAJobsCreated", "Created 3 jobs", ago(minutes=2))
    site.event("ScaledJobActive", "Scaling is performed because triggers are active", ago(minutes=1))
    assert site.rules == ["scaler-failing"]
    partly = Site()
    worked_again(partly)
    partly.conditions({"type": "Ready", "status": "Unknown", "reason": "PartialTriggerError"})
    assert partly.rules == ["scaler-failing"]


def test_an_error_that_is_over_is_no_problem_where_the_HPA_says_that_the_scaler_works() -> None:
    site = Site()
    failing("connection refused")(site)
    assert site.rules == ["scaler-unreachable"]
    hpa_says("ScalingActive", "ValidMetricFound", "", "True")(site)
    assert site.rules == []


def test_a_burst_is_no_problem_and_five_minutes_at_the_maximum_are() -> None:
    site = Site()
    full(site)
    site.hpa["status"]["conditions"][0]["lastTransitionTime"] = ago(minutes=4)
    assert site.rules == []
    site.hpa["status"]["conditions"][0]["lastTransitionTime"] = ago(minutes=5)
    assert site.rules == ["at-maximum"]


def test_pods_that_start_have_time_to() -> None:
    site = Site()
    not_ready(site)
    site.pods[WORKER][2]["metadata"]["creationTimestamp"] = ago(seconds=60)
    assert site.rules == []


def test_work_that_KEDA_is_about_to_start_pods_for_is_no_problem() -> None:
    site = Site(pods_wanted=0, numbers={"backlog": 12, "inflight": 0, "pods": 0})
    assert site.rules == []


def test_one_cause_is_one_problem() -> None:
    """A scaler that cannot log in makes the HPA fail and the fallback start as well."""
    site = Site()
    failing("WRONGPASS invalid username-password pair")(site)
    fallback(site)
    hpa_says("ScalingActive", "FailedGetExternalMetric", "unable to get external metric")(site)
    assert site.rules == ["scaler-login"]
    assert "so it falls back to 3 pods" in site.status().all_problems[0].sentence


def test_prometheus_and_the_broker_away_are_a_problem_each() -> None:
    site = Site()
    unmeasured(site)
    assert "fallback-active" not in site.rules
    site.scaled_object["status"]["health"]["s0-redis-default"] = {"numberOfFailures": 9, "status": "Failing"}
    assert {"fallback-active", "unmeasured"} <= set(site.rules)


def test_the_worst_comes_first() -> None:
    site = Site()
    drifted(site)
    paused(site)
    waiting("ImagePullBackOff")(site)
    drifted(site)
    assert site.rules[0] == "image-pull"
    assert set(site.rules) == {"image-pull", "paused", "drifted"}


def test_a_secret_in_what_a_server_says_is_not_told() -> None:
    site = Site()
    failing("error: amqp://shop:s3cr3t-Pa55@rabbit:5672: connection refused")(site)
    assert "s3cr3t" not in str(site.status())
    assert "connection refused" in site.status().all_problems[0].sentence


def test_a_secret_in_what_keeps_a_pod_down_is_not_told() -> None:
    site = Site()
    waiting("ErrImagePull", "GET https://shop:s3cr3t-Pa55@registry.example/v2/: unauthorized")(site)
    assert "s3cr3t" not in str(site.status())


def test_the_way_to_end_a_pause_is_a_command_or_the_key_that_wrote_it() -> None:
    by_hand, written = Site(), Site(fleet_with({**KEYS, "paused": True}))
    paused(by_hand)
    assert by_hand.status().all_problems[0].fix == ("run queueops.celery.resume -e celery_workers_only=billing/default")
    assert written.status().all_problems[0].fix.startswith("take paused out of the inventory")


def test_a_pause_of_the_playbook_is_told_with_who_until_when_and_why() -> None:
    site = Site()
    site.annotate("autoscaling.keda.sh/paused", "true", "OpenAPI-Generator", ago(hours=1))
    told = {"set": {"autoscaling.keda.sh/paused": "true"}, "pods": 3, "by": "ann", "since": ago(hours=1)}
    told |= {"until": "2026-11-30T18:00:00Z", "reason": "release 42"}
    site.annotate("celery.queueops.io/pause", json.dumps(told))
    (problem,) = site.status().all_problems
    assert problem.what == ("paused at 3 pods by ann until 2026-11-30 18:00 UTC (release 42), since Monday 13:00 UTC")
    assert (site.variant.scaler.paused_by, site.variant.scaler.since) == ("ann", ago(hours=1))
    assert site.variant.drift == ()


@pytest.mark.parametrize("keys", [KEYS, FIXED, BY_CPU], ids=["tracked", "fixed", "by CPU"])
def test_a_drain_explains_what_waits_and_that_scaling_is_paused(keys: Any) -> None:
    site = Site(fleet_with(keys), pods_wanted=2)
    if keys == KEYS:
        drained()(site)
    else:
        told = {"since": ago(hours=1), "told": {f"{WORKER}-{number}": 0 for number in range(3)}}
        site.deployment["metadata"]["annotations"]["celery.queueops.io/drained"] = json.dumps(told)
        many_wait(site)
    assert site.rules == ["drained"]
    assert site.variant.drift == ()


def test_a_drain_of_a_deploy_ends_with_that_deploy() -> None:
    site = Site()
    told = {"since": ago(minutes=5), "by_deploy": True, "reason": "until its pods are replaced"}
    site.deployment["metadata"]["annotations"]["celery.queueops.io/drained"] = json.dumps(told)
    for pod in site.pods[WORKER]:
        pod["status"]["phase"] = "Running"
    (problem,) = site.status().all_problems
    assert problem.rule == "drained"
    assert problem.fix.startswith("wait for the deploy that does so")


def test_a_worker_that_has_restarted_takes_work_again() -> None:
    site = Site()
    drained()(site)
    site.container(2)["restartCount"] = 1
    assert site.rules == ["drained-in-part"]
    assert site.variant.drain.taking == (f"{WORKER}-2",)


# The fleet


def test_numbers_that_nobody_knows_are_told_once_with_the_right_to_grant() -> None:
    site = Site(numbers=None, doubts={WORKER: "KEDA's metrics in namespace keda may not be read"}, pods_wanted=0)
    site.keda_advice = "grant get on services/proxy in namespace keda"
    (problem,) = site.status().all_problems
    assert problem.rule == "numbers-unknown"
    assert "billing default hold (KEDA's metrics in namespace keda may not be read, and no pod is ready" in problem.what
    assert problem.fix == "grant get on services/proxy in namespace keda"


def test_an_operator_that_does_not_run_is_told_once_whatever_the_last_states_of_its_objects_say() -> None:
    down = "no pod of Service keda-operator in namespace keda is ready"
    site = Site(numbers=None, doubts={WORKER: down}, pods_wanted=0, keda_down=down, keda_advice="look")
    (problem,) = site.status().all_problems
    assert (problem.rule, problem.severity, problem.fix) == ("keda-down", "critical", "look")
    assert down in problem.what


def test_what_may_not_be_read_is_told() -> None:
    site = Site(unread=("the server does not allow to list Event: grant get and list on it.",))
    assert site.rules == ["not-readable"]


def test_a_right_that_is_missing_is_told_with_who_grants_it() -> None:
    text = 'Forbidden: User "night" cannot list resource "events" in API group "" in the namespace "n"'
    (problem,) = Site(unread=(text,)).status().problems
    assert problem.fix == (
        "grant list on events in namespace n, as ansible-playbook queueops.celery.rbac does; without it the status "
        "shows less"
    )


def test_objects_of_no_variant_that_differ_are_told_of_the_fleet() -> None:
    site = Site(fleet_of(**one_variant(KEYS, broker={"host": "redis", "priority_steps": [0], "secret": LOGIN})))
    without("TriggerAuthentication")(site)
    found: FleetStatus = site.status()
    assert [problem.rule for problem in found.problems] == ["fleet-drifted"]


def test_every_rule_is_in_the_table_of_the_docs_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\w+ \| .+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = {rule.name: f"{rule.severity} | {rule.summary}" for rule in RULES}
    wanted |= {name: f"{severity} | {summary}" for name, severity, summary in FLEET_RULES}
    assert rows == wanted
