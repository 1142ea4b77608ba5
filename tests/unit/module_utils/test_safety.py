# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety rules: each says what would lose, hide or repeat work, with the values and the mend, until it is accepted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._safety import RULES

from tests.unit.inventories import IMAGE, SCALED, TRACKED, fleet_of, one_variant, variant_of

#: Rules that need a cluster to be broken.
IN_THE_CLUSTER = {
    # Found by the preflight, among the Deployments that run.
    "selector-overlap",
}

WHO = "variant default of service billing"
REDIS = {"host": "redis"}
RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}
QUORUM = {**RABBITMQ, "queue_type": "quorum"}
#: A variant that goes to zero with work that nobody sees, and whose user knows that.
BLIND_ZERO = {"enable_keda": True, "min_replicas": 0, "accept_risks": ["invisible-work"]}


@dataclass(frozen=True)
class Case:
    """One inventory that breaks one rule.

    :param says: what the message must hold: both values and the mend.
    :param mend: keys that the message tells to write.
    :param at: what the problem's path ends in.
    :param high: keys of a second variant.
    :param other: keys of a second service on the same broker.
    """

    rule: str
    keys: Mapping[str, Any]
    says: tuple[str, ...]
    mend: Mapping[str, Any] = field(default_factory=dict)
    at: str = "config.billing.default"
    refused: bool = True
    who: str = WHO
    broker: Mapping[str, Any] = field(default_factory=lambda: REDIS)
    broker_mend: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    high: Mapping[str, Any] | None = None
    other: Mapping[str, Any] | None = None

    def inventory(self, accepts: bool = False, mended: bool = False) -> dict[str, Any]:
        """Its variables."""
        keys = {**self.keys, **(self.mend if mended else {})}
        broker = {**self.broker, **(self.broker_mend if mended else {})}
        variables: dict[str, Any] = {**one_variant(keys, self.service, broker), "versions": self.versions}
        if self.high is not None:
            variables["config"]["billing"]["high"] = dict(self.high)
        if self.other is not None:
            variables["services"]["mail"] = {"image": IMAGE}
            variables["config"]["mail"] = {"default": dict(self.other)}
        if accepts:
            for variants in variables["config"].values():
                for variant in variants.values():
                    variant["accept_risks"] = [*variant.get("accept_risks", []), self.rule]
        return copy.deepcopy(variables)


CASES = [
    Case(
        "autoscale",
        {**SCALED, "extra_params": ["--autoscale=8,2"]},
        ("--autoscale beside the scaler", "two control loops", "Leave it out."),
        {"extra_params": []},
        "default.extra_params",
    ),
    Case(
        "child-lost",
        {**TRACKED, "reject_on_worker_lost": False},
        ("acknowledges late", "reject_on_worker_lost: false", "Leave reject_on_worker_lost out."),
        {"reject_on_worker_lost": None},
        "default.reject_on_worker_lost",
        refused=False,
    ),
    Case(
        "connections",
        SCALED,
        ("could open 25 connections", "the broker accepts 24", "Lower max_replicas", "10 pods * 2 slots"),
        {"max_replicas": 9},
        "celery_workers_broker.max_connections",
        broker={**REDIS, "max_connections": 24},
    ),
    Case(
        "connections",
        SCALED,
        ("could open 25 connections", "the database main accepts 24", "Lower max_replicas", "10 pods * 2 slots"),
        {"concurrency": 1},
        "celery_workers_services.billing.database.max_connections",
        service={"database": {"name": "main", "max_connections": 24}},
    ),
    Case(
        "consumer-timeout",
        {**TRACKED, "longest_task_seconds": 1500, "longest_eta_seconds": 600},
        ("consumer_timeout 1800 s", "up to 2100 s", "Raise consumer_timeout on the server to 2520 s"),
        at="default.longest_task_seconds",
        broker=RABBITMQ,
        broker_mend={"consumer_timeout": 2520},
    ),
    Case(
        "consumer-timeout",
        {"longest_task_seconds": 9000, "termination_grace_period": 9000, "longest_eta_seconds": 2000},
        ("consumer_timeout 1800 s", "up to 2000 s", "to 2400 s"),
        at="default.longest_eta_seconds",
        broker=RABBITMQ,
        broker_mend={"consumer_timeout": 2400},
    ),
    Case(
        "delivery-limit",
        TRACKED,
        ("after 20 deliveries", "each pod", "say so with delivery_limit: 0."),
        at="celery_workers_broker.delivery_limit",
        refused=False,
        broker=QUORUM,
        broker_mend={"delivery_limit": 0},
    ),
    Case(
        "disable-prefetch",
        {"disable_prefetch": True},
        ("with early acknowledgement and without prefetch", "set acks_late: true, or leave disable_prefetch out."),
        {"acks_late": True},
        "default.disable_prefetch",
    ),
    Case(
        "disable-prefetch",
        {"extra_params": ["--disable-prefetch"], "acks_late": False},
        ("with early acknowledgement and without prefetch", "set acks_late: true"),
        {"acks_late": True},
        "default.extra_params",
    ),
    Case(
        "early-acknowledgement",
        {**TRACKED, "in_flight": True, "acks_late": False},
        ("tracks in-flight work and has acks_late: false", "Leave acks_late out, or set in_flight: false"),
        {"acks_late": None},
        "default.acks_late",
    ),
    Case(
        "early-acknowledgement",
        {**TRACKED, "in_flight": True, "acks_late": False},
        ("Leave acks_late out, or set in_flight: false, which keeps one pod up.",),
        {"in_flight": False},
        "default.acks_late",
    ),
    Case(
        "early-acknowledgement",
        {**TRACKED, "acks_late": False},
        ("is idempotent and has acks_late: false", "one pod stays up", "Leave acks_late out."),
        {"acks_late": None},
        "default.acks_late",
        refused=False,
    ),
    Case(
        "eta-limit",
        {"settings": {"worker_eta_task_limit": 10}},
        ("at worker_eta_task_limit a worker of", "takes no task at all", "Leave it out."),
        {"settings": {}},
        "default.settings",
    ),
    Case(
        "fallback-zero",
        {**SCALED, "fallback": {"replicas": 0}},
        ("fallback.replicas 0", "the last pod", "Leave it out, or write 1 or more."),
        {"fallback": {"replicas": 1}},
        "default.fallback",
    ),
    Case(
        "heartbeat-off",
        {"probe": "heartbeat", "extra_params": ["--without-heartbeat"]},
        ("waits for worker heartbeats", "--without-heartbeat", "Take it out of extra_params."),
        {"extra_params": []},
        "default.extra_params",
    ),
    Case(
        "invisible-work",
        {"enable_keda": True, "min_replicas": 0},
        ("go to 0 pods", "idempotent is false", "Set min_replicas: 1, or idempotent: true"),
        {"min_replicas": 1},
        "default.min_replicas",
    ),
    Case(
        "invisible-work",
        {"enable_keda": True, "min_replicas": 0, "longest_eta_seconds": 900},
        ("an ETA of up to 900 s leave the queue at once", "or idempotent: true if every task may run twice"),
        {"idempotent": True},
        "default.min_replicas",
    ),
    Case(
        "invisible-work",
        {**TRACKED, "in_flight": False, "min_replicas": 2, "idle_replicas": 0},
        ("go to 0 pods", "in_flight is false", "Leave idle_replicas out"),
        {"idle_replicas": None},
        "default.min_replicas",
    ),
    Case(
        "long-grace",
        {"termination_grace_period": 900},
        ("a grace period of 900 s", "ends a pod after 600 s", "Set profile: long, or pod_annotations"),
        {"profile": "long"},
        "default.termination_grace_period",
        refused=False,
    ),
    Case(
        "long-grace",
        {"termination_grace_period": 900},
        ("pod_annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: 'false'}",),
        {"pod_annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
        "default.termination_grace_period",
        refused=False,
    ),
    Case(
        "no-time-limit",
        SCALED,
        ("a task of billing.default that never ends holds its pod for ever", "Set longest_task_seconds or time_limit"),
        {"time_limit": 60},
        "celery_workers_config",
        refused=False,
        who="billing.default",
    ),
    Case(
        "plain-secret",
        {"env": {"API_TOKEN": "hunter2"}},
        ("API_TOKEN looks like a secret", "move it to secret_env"),
        {"env": {}, "secret_env": {"API_TOKEN": True}},
        "celery_workers_config.billing.default.env",
        who="",
    ),
    Case(
        "prefetch",
        {**SCALED, "extra_params": ["--prefetch-multiplier=0"]},
        ("prefetch multiplier 0", "take the whole queue", "Write 1 or more."),
        {"extra_params": ["--prefetch-multiplier=1"]},
        "default.extra_params",
    ),
    Case(
        "prefetch",
        {**SCALED, "concurrency": 3, "prefetch_multiplier": 4},
        ("reserves 12 messages", "its scaler does not see", "Write prefetch_multiplier: 1."),
        {"prefetch_multiplier": 1},
        "default.prefetch_multiplier",
        refused=False,
    ),
    Case(
        "secret-argument",
        {"secret_env": {"CACHE": True}, "settings": {"result_backend": "redis://:$(CACHE)@cache/1"}},
        ("$(CACHE) puts a secret on the command line", "Let the app read CACHE from its environment."),
        {"settings": {}},
        "default.settings",
    ),
    Case(
        "shared-queue",
        {"queues": ["a", "b"]},
        ("variant high of service billing", "consume the queue 'b'", "Give each variant queues of its own."),
        {"queues": ["a"]},
        "config.billing.high.queues",
        high={"queues": ["b"]},
    ),
    Case(
        "shared-queue",
        {"queues": ["a"]},
        ("variant default of service mail", "consume the queue 'a'", "Give each service queues of its own"),
        {"queues": ["b"]},
        "config.mail.default.queues",
        other={"queues": ["a"]},
    ),
    Case(
        "short-cooldown",
        {**BLIND_ZERO, "longest_task_seconds": 400, "cooldown_period": 30},
        ("goes to 0 pods 30 s after", "longest task takes 400 s", "Set cooldown_period to 400 or more."),
        {"cooldown_period": 400},
        "default.cooldown_period",
    ),
    Case(
        "short-grace",
        {"longest_task_seconds": 500, "termination_grace_period": 60},
        ("is killed 60 s after", "longest task takes 500 s", "Set termination_grace_period to 530 or more"),
        {"termination_grace_period": 530},
        "default.termination_grace_period",
    ),
    Case(
        "short-grace",
        {"idempotent": True, "longest_task_seconds": 500, "termination_grace_period": 60},
        ("is killed 60 s after", "longest task takes 500 s", "with acks_late: true, soft_shutdown_timeout: 30"),
        {"acks_late": True, "soft_shutdown_timeout": 30},
        "default.termination_grace_period",
    ),
    Case(
        # Without sight of in-flight work nothing is held, whatever hold says.
        "short-grace",
        {**SCALED, "hold": "pods", "longest_task_seconds": 500, "termination_grace_period": 60},
        ("is killed 60 s after", "longest task takes 500 s", "where in-flight work is seen, hold: pods,"),
        {"idempotent": True},
        "default.termination_grace_period",
    ),
    Case(
        "slow-drain",
        {**SCALED, "task_seconds": 60, "list_length": 40},
        ("needs 1200 s for list_length 40 messages of 60 s in 2 slots", "is 600", "Set list_length: 20."),
        {"list_length": 20},
        "default.list_length",
        refused=False,
    ),
    Case(
        "soft-shutdown",
        {"acks_late": True, "soft_shutdown_timeout": 590},
        ("soft_shutdown_timeout 590 s", "grace period of 600 s", "Lower it to 570"),
        {"soft_shutdown_timeout": 570},
        "default.soft_shutdown_timeout",
    ),
    Case(
        "soft-shutdown",
        {"acks_late": True, "soft_shutdown_timeout": 590},
        ("or raise termination_grace_period to 620.",),
        {"termination_grace_period": 620},
        "default.soft_shutdown_timeout",
    ),
    Case(
        "soft-shutdown",
        {"soft_shutdown_timeout": 60},
        ("after soft_shutdown_timeout 60 s", "drops the tasks that still run", "Set acks_late: true"),
        {"acks_late": True},
        "default.soft_shutdown_timeout",
    ),
    Case(
        "visibility-timeout",
        {**TRACKED, "visibility_timeout": 100, "longest_task_seconds": 200},
        ("visibility timeout", "is 100 s", "for up to 200 s (longest task 200 s)", "Set visibility_timeout: 400."),
        {"visibility_timeout": 400},
        "default.visibility_timeout",
    ),
    Case(
        "visibility-timeout",
        {**TRACKED, "visibility_timeout": 250, "longest_task_seconds": 200, "longest_eta_seconds": 100},
        ("is 250 s", "for up to 300 s (ETA 100 s + longest task 200 s)", "Set visibility_timeout: 400."),
        {"visibility_timeout": 400},
        "default.visibility_timeout",
    ),
    Case(
        "visibility-timeout",
        {"longest_eta_seconds": 7200},
        ("is 3600 s", "for up to 7200 s (ETA 7200 s)", "transport_options: {visibility_timeout: 7200} on the broker"),
        at="default.visibility_timeout",
        broker_mend={"transport_options": {"visibility_timeout": 7200}},
    ),
    Case(
        "visibility-timeout",
        {"longest_eta_seconds": 2000},
        ("is 1800 s", "for up to 2000 s (ETA 2000 s)", "Set visibility_timeout: 2000."),
        at="default.visibility_timeout",
        broker={"type": "sqs", "region": "eu-central-1"},
        broker_mend={"transport_options": {"visibility_timeout": 2000}},
    ),
    Case(
        "visibility-timeout",
        {"visibility_timeout": 7200},
        (
            "variant high of service billing share one index",
            "3600 s of variant high of service billing",
            "says 7200 s",
            "transport_options: {visibility_timeout: 7200} on the broker",
        ),
        {"visibility_timeout": None},
        "default.visibility_timeout",
        high={},
    ),
]


@dataclass(frozen=True)
class Gate:
    """A key that needs a version."""

    key: str
    keys: Mapping[str, Any]
    software: str
    old: str
    new: str
    broker: Mapping[str, Any] = field(default_factory=lambda: REDIS)


GATES = [
    Gate("kombu", {}, "kombu", "5.3.7", "5.4"),
    Gate("disable_prefetch", {"disable_prefetch": True, "acks_late": True}, "celery", "5.5.3", "5.6"),
    Gate("soft_shutdown_timeout", {"acks_late": True, "soft_shutdown_timeout": 60}, "celery", "5.4", "5.5.0"),
    Gate("in_flight", TRACKED, "celery", "5.0.5", "5.1"),
    Gate(
        "initial_cooldown_period", {**TRACKED, "initial_cooldown_period": 60, "fallback": False}, "keda", "2.13", "2.14"
    ),
    Gate("fallback", {**TRACKED, "fallback": {"behavior": "currentReplicas"}}, "keda", "2.16.1", "2.17"),
    Gate("paused", {**TRACKED, "paused": "scale_in", "fallback": False}, "keda", "2.17", "2.18"),
    Gate(
        "behavior",
        {**TRACKED, "behavior": {"scaleDown": {"tolerance": "0.05"}}},
        "kubernetes",
        "1.32.4",
        "1.33",
    ),
]
CASES += [
    Case(
        "version",
        gate.keys,
        (gate.key, gate.old),
        at="celery_workers_kombu_version" if gate.software == "kombu" else "config.billing.default",
        versions={gate.software: gate.old},
    )
    for gate in GATES
]
IDS = [f"{case.rule}-{number}" for number, case in enumerate(CASES)]


def said_of(variables: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Problems and warnings of an inventory."""
    try:
        return [], list(fleet_of(**variables).warnings)
    except InventoryError as error:
        return [str(problem) for problem in error.problems], []


def of_rule(said: list[str], rule: str) -> list[str]:
    return [message for message in said if f"accept_risks: [{rule}]" in message]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_rule_that_is_broken_says_for_whom_with_which_values_and_what_to_write(case: Case) -> None:
    problems, warnings = said_of(case.inventory())
    (message,) = of_rule(problems if case.refused else warnings, case.rule)
    path, _colon, text = message.partition(": ")
    assert path.startswith("celery_workers_")
    assert case.at in path
    assert case.who in text
    for part in case.says:
        assert part in text


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_rule_that_is_accepted_is_silent_and_the_fleet_is_taken(case: Case) -> None:
    problems, warnings = said_of(case.inventory(accepts=True))
    assert problems == []
    assert of_rule(warnings, case.rule) == []


MENDED = [case for case in CASES if case.mend or case.broker_mend]


@pytest.mark.parametrize("case", MENDED, ids=[f"{case.rule}-{number}" for number, case in enumerate(MENDED)])
def test_who_writes_what_the_message_says_is_rid_of_it(case: Case) -> None:
    problems, warnings = said_of(case.inventory(mended=True))
    assert problems == []
    assert of_rule(warnings, case.rule) == []


@pytest.mark.parametrize("gate", GATES, ids=[f"{gate.key}-{gate.software}" for gate in GATES])
def test_a_feature_is_taken_with_the_first_version_that_has_it_and_where_nobody_says(gate: Gate) -> None:
    for versions in ({gate.software: gate.new}, {}):
        problems, _warnings = said_of({**one_variant(gate.keys, broker=gate.broker), "versions": versions})
        assert problems == []


def test_a_formula_needs_a_keda_that_has_formulas() -> None:
    keys = {**TRACKED, "fallback": False}
    problems, _warnings = said_of({**one_variant(keys), "versions": {"keda": "2.11.2"}})
    (message,) = (text for text in of_rule(problems, "version") if "in_flight of" in text)
    assert "needs KEDA 2.12, and 2.11.2 is installed: set in_flight: false and priority_steps: [0]" in message
    plain = {**keys, "in_flight": False}
    assert said_of({**one_variant(plain, broker={**REDIS, "priority_steps": [0]}), "versions": {"keda": "2.11.2"}}) == (
        [],
        of_rule(list(fleet_of(**one_variant(plain)).warnings), "no-time-limit"),
    )


@pytest.mark.parametrize("rule", sorted(set(RULES) - IN_THE_CLUSTER))
def test_every_rule_that_can_be_accepted_has_an_inventory_that_breaks_it(rule: str) -> None:
    assert rule in {case.rule for case in CASES}


def test_every_rule_that_a_message_names_can_be_accepted() -> None:
    assert {case.rule for case in CASES} | IN_THE_CLUSTER == set(RULES)


def test_a_risk_that_is_accepted_for_one_variant_is_not_accepted_for_another() -> None:
    variables = one_variant({"termination_grace_period": 900, "accept_risks": ["long-grace"]})
    variables["config"]["billing"]["high"] = {"termination_grace_period": 900}
    (warning,) = fleet_of(**variables).warnings
    assert "variant high of service billing" in warning


@pytest.mark.parametrize(
    "keys",
    [
        {"acks_late": True},
        {"acks_late": True, "soft_shutdown_timeout": 30},
        {"acks_late": True, "env": {"REMAP_SIGTERM": "SIGQUIT"}},
        {**TRACKED, "hold": "pods"},
        {**TRACKED},
    ],
)
def test_a_short_grace_period_is_taken_where_tasks_are_given_back_or_pods_are_held(keys: dict[str, Any]) -> None:
    variant = variant_of({"longest_task_seconds": 500, "termination_grace_period": 60, **keys})
    assert variant.pod.termination_grace_period == 60


def test_reserved_messages_that_the_scaler_sees_are_no_risk() -> None:
    for keys in ({**TRACKED, "prefetch_multiplier": 4}, {"prefetch_multiplier": 4}):
        assert of_rule(list(fleet_of(**one_variant(keys)).warnings), "prefetch") == []


def test_what_reserves_nothing_is_not_warned_of_its_multiplier() -> None:
    keys = {**SCALED, "prefetch_multiplier": 4, "disable_prefetch": True, "acks_late": True}
    assert of_rule(list(fleet_of(**one_variant(keys)).warnings), "prefetch") == []


def test_in_flight_tracking_without_idempotent_tasks_is_refused_and_cannot_be_accepted() -> None:
    problems, _warnings = said_of(one_variant({**SCALED, "in_flight": True}))
    assert problems == [
        "celery_workers_config.billing.default.in_flight: in_flight needs late acknowledgement, after which a task may "
        f"run twice; set idempotent: true for {WHO} if every task bears that."
    ]


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.rule == "connections"],
    ids=["broker", "database"],
)
def test_connections_are_taken_up_to_the_limit(case: Case) -> None:
    variables = case.inventory()
    limited = variables["broker"] if "max_connections" in case.broker else variables["services"]["billing"]["database"]
    limited["max_connections"] = 25
    assert said_of(variables)[0] == []


def test_connections_of_all_services_of_one_database_are_added_up() -> None:
    service = {"image": IMAGE, "queue_name": "{service}.{variant}", "database": {"name": "main", "max_connections": 24}}
    variables: dict[str, Any] = {
        "services": {"billing": service, "mail": {**service, "database": {"name": "main"}}},
        "config": {name: {"default": {**SCALED, "max_replicas": 5}} for name in ("billing", "mail")},
        "broker": REDIS,
    }
    (problem,) = said_of(variables)[0]
    assert "all pods of 2 variants together could open 25 connections" in problem
    apart = copy.deepcopy(variables)
    apart["services"]["mail"]["database"] = {"name": "other"}
    assert said_of(apart)[0] == []
