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
from ansible_collections.queueops.celery.plugins.module_utils._check.risks import RULES
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError

from tests.unit.inventories import IMAGE, SCALED, TRACKED, fleet_of, one_variant, problems_of, variant_of

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
        "blocked-eviction",
        {**SCALED, "max_replicas": 4, "pdb": {"min_available": 5}},
        ("pdb.min_available 5 of", "4 pods that it can have", "no pod may be evicted", "min_available: 3."),
        {"pdb": {"min_available": 3}},
        "default.pdb",
        refused=False,
    ),
    Case(
        "blocked-eviction",
        {"replicas": 2, "pdb": {"min_available": 2}},
        ("pdb.min_available 2 of", "Write max_unavailable: 1"),
        {"pdb": {"max_unavailable": 1}},
        "default.pdb",
        refused=False,
    ),
    Case(
        "blocked-eviction",
        {"pdb": {"max_unavailable": 0}},
        ("pdb.max_unavailable 0 of", "Write pdb: false."),
        {"pdb": False},
        "default.pdb",
        refused=False,
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
        "child-memory",
        {"concurrency": 16},
        (
            "may have 40 MiB",
            "has 52 MiB",
            "replaces it after nearly every task",
            "memory limit 1Gi is for 16 of them",
            "to 1607Mi or more, or concurrency to 10.",
        ),
        {"concurrency": 10},
        "default.resources",
        refused=False,
    ),
    Case(
        "child-memory",
        {"concurrency": 16},
        ("set resources.limits.memory to 1607Mi or more",),
        {"resources": {"limits": {"memory": "1607Mi"}}},
        "default.resources",
        refused=False,
    ),
    Case(
        # Wherever the limit was written.
        "child-memory",
        {
            "pod_overrides": {
                "containers": [
                    {"name": "worker", "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}}
                ]
            }
        },
        ("may have 40 MiB", "The memory limit 128Mi is for 2 of them", "to 201Mi or more, or concurrency to 1."),
        {"pod_overrides": {"resources": {"limits": {"memory": "1Gi"}}}},
        "default.resources",
        refused=False,
    ),
    Case(
        "child-memory",
        {"max_memory_per_child": 65535},
        ("may have 63 MiB", "Write 65536 (KiB) or more."),
        {"max_memory_per_child": 65536},
        "default.max_memory_per_child",
        refused=False,
    ),
    Case(
        "child-memory",
        {"max_memory_per_child": 0, "concurrency": 16},
        ("may have 48 MiB", "the kernel kills one", "to 1607Mi or more"),
        {"resources": {"limits": {"memory": "2Gi"}}},
        "default.resources",
        refused=False,
    ),
    Case(
        "child-memory",
        {"max_memory_per_child": 600000},
        ("2 processes", "may grow to 585 MiB each", "is 1Gi", "the kernel kills one first", "or write 334233 (KiB)"),
        {"max_memory_per_child": 334233},
        "default.max_memory_per_child",
        refused=False,
    ),
    Case(
        "child-memory",
        {"extra_params": ["--max-memory-per-child=600000"]},
        ("may grow to 585 MiB each", "Leave extra_params out"),
        {"resources": {"limits": {"memory": "1300M"}}},
        "default.extra_params",
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
        "consumer-timeout",
        {**TRACKED, "longest_task_seconds": 2000},
        (
            "closes the channel",
            "Classic queues of RabbitMQ 4.3 have no such limit: say so with celery_workers_rabbitmq",
        ),
        at="default.longest_task_seconds",
        broker=RABBITMQ,
        broker_mend={"consumer_timeout": 0},
    ),
    Case(
        "consumer-timeout",
        {**TRACKED, "longest_task_seconds": 2000},
        ("RabbitMQ cancels the consumer of a worker", "consumer_timeout 1800 s"),
        at="default.longest_task_seconds",
        broker={**QUORUM, "delivery_limit": 0},
        broker_mend={"consumer_timeout": 2400},
        versions={"rabbitmq": "4.3.7"},
    ),
    Case(
        "control-queues",
        {},
        ("RabbitMQ 4.3 refuses the queues that Celery 5.5.3 makes", "Upgrade Celery to 5.7, or write settings"),
        {"settings": {"worker_enable_remote_control": False}},
        "default.settings",
        broker=RABBITMQ,
        versions={"rabbitmq": "4.3", "celery": "5.5.3"},
    ),
    Case(
        "control-queues",
        {"settings": {"control.queue_exclusive": True}},
        ("RabbitMQ 4.3.1 refuses the queues", "Write settings: {event_queue_exclusive: true}."),
        {"settings": {"control_queue_exclusive": True, "event_queue_exclusive": True}},
        "default.settings",
        broker=RABBITMQ,
        versions={"rabbitmq": "4.3.1", "celery": "5.6.3"},
    ),
    Case(
        "control-queues",
        {"settings": {"control_queue_exclusive": False}},
        ("Write settings: {control_queue_exclusive: true}.",),
        {"settings": {}},
        "default.settings",
        broker=RABBITMQ,
        versions={"rabbitmq": "4.3", "celery": "5.7"},
    ),
    Case(
        "control-queues",
        {"settings": {"worker_enable_remote_control": False}, "without_gossip": False},
        ("leave without_gossip and without_mingle at true",),
        {"without_gossip": True},
        "default.settings",
        broker=RABBITMQ,
        versions={"rabbitmq": "4.3", "celery": "5.4"},
    ),
    Case(
        "delivery-limit",
        TRACKED,
        ("after 20 rejects", "rejects the tasks of children that were killed", "say so with delivery_limit: 0."),
        {"reject_on_worker_lost": False},
        at="celery_workers_broker.delivery_limit",
        refused=False,
        broker=QUORUM,
        versions={"rabbitmq": "4.3"},
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
        "disable-prefetch",
        {"disable_prefetch": True, "acks_late": True},
        ("Celery 5.6.3 forgets disable_prefetch when it connects to Redis again", "Upgrade Celery to 5.7."),
        {"disable_prefetch": False},
        "default.disable_prefetch",
        refused=False,
        versions={"celery": "5.6.3"},
    ),
    Case(
        "disable-prefetch",
        {"disable_prefetch": True, "acks_late": True},
        ("on Redis only and ignores this", "whose broker is of type rabbitmq", "Leave disable_prefetch out."),
        {"disable_prefetch": False},
        "default.disable_prefetch",
        refused=False,
        broker=RABBITMQ,
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
        "eta-jobs",
        {"run_as": "jobs", "idempotent": True, "longest_eta_seconds": 3600},
        ("up to 3600 s, may start one Job after the other", "up to 600 s are accepted", "run_as: deployment"),
        {"run_as": "deployment"},
        "default.longest_eta_seconds",
    ),
    Case(
        "job-slots",
        {"run_as": "jobs", "idempotent": True, "concurrency": 4},
        ("runs up to 4 tasks", "may wait until its longest task is done", "Write concurrency: 1."),
        {"concurrency": 1},
        "default.concurrency",
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
        "endless-timeout",
        {"settings": {"task_acks_on_timeout": False}},
        ("reaches its time limit goes back to the queue and begins again, for ever", "Leave task_acks_on_timeout out."),
        {"settings": {"task_acks_on_failure": False}},
        "default.settings.task_acks_on_timeout",
    ),
    Case(
        "endless-timeout",
        {"settings": {"task.acks_on_failure_or_timeout": False}, "acks_late": True},
        ("goes back to the queue", "Leave task_acks_on_failure_or_timeout out."),
        {"settings": {"task_acks_on_failure_or_timeout": False, "task_acks_on_timeout": True}},
        "default.settings.task_acks_on_failure_or_timeout",
    ),
    Case(
        "eta-prefetch",
        {"longest_eta_seconds": 600, "prefetch_multiplier": 3},
        ("6 waiting ETA tasks", "classic queue of RabbitMQ 4.1", "wait up to 600 s behind them", "Use quorum queues"),
        at="default.longest_eta_seconds",
        refused=False,
        broker=RABBITMQ,
        broker_mend={"queue_type": "quorum"},
        versions={"rabbitmq": "4.1"},
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
        "no-time-limit",
        {**SCALED, "pool": "threads", "longest_task_seconds": 60},
        ("a task of billing.default (threads) that never ends", "this pool has no time limit", "Write pool: prefork"),
        {"pool": "prefork"},
        "celery_workers_config",
        refused=False,
        who="billing.default",
    ),
    Case(
        "no-time-limit",
        {**SCALED, "pool": "solo", "time_limit": 60, "soft_time_limit": 50},
        ("time_limit and soft_time_limit of", "have no effect: the pool solo ends no task", "Write pool: prefork"),
        {"pool": "prefork"},
        "default.time_limit",
        refused=False,
    ),
    Case(
        "no-time-limit",
        {"extra_params": ["--pool=eventlet", "--time-limit=60"]},
        ("time_limit of", "has no effect: the pool eventlet ends no task"),
        {"extra_params": ["--time-limit=60"]},
        "default.extra_params",
        refused=False,
    ),
    Case(
        "no-time-limit",
        {"pool": "gevent", "time_limit": 60, "soft_time_limit": 50},
        ("soft_time_limit of", "the pool gevent knows time_limit alone", "Write time_limit."),
        {"soft_time_limit": None},
        "default.soft_time_limit",
        refused=False,
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
        "unknown-setting",
        {"settings": {"task_trak_started": True}},
        ("task_trak_started of", "no setting of Celery", "did you mean 'task_track_started'?"),
        {"settings": {"task_track_started": True}},
        "default.settings",
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
            "although variant default of service billing has 7200 s",
            "transport_options: {visibility_timeout: 7200} on the broker",
        ),
        {"visibility_timeout": None},
        "default.visibility_timeout",
        high={},
    ),
    Case(
        "visibility-timeout",
        {"visibility_timeout": 60},
        ("60 s of variant default of service billing, although variant high of service billing has 3600 s",),
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
    Gate(
        "initial_cooldown_period", {**TRACKED, "initial_cooldown_period": 60, "fallback": False}, "keda", "2.13", "2.14"
    ),
    Gate("budget", {**TRACKED, "budget": {"name": "database", "pods": 3}, "max_replicas": 3}, "keda", "2.12.1", "2.13"),
    Gate("activation_list_length", {**TRACKED, "activation_list_length": 3}, "keda", "2.12.1", "2.13"),
    Gate(
        "extra_triggers",
        {
            **TRACKED,
            "extra_triggers": [
                {
                    "type": "cron",
                    "metadata": {
                        "timezone": "Europe/Berlin",
                        "start": "0 8 * * 1-5",
                        "end": "0 18 * * 1-5",
                        "desiredReplicas": "2",
                    },
                }
            ],
        },
        "keda",
        "2.12.1",
        "2.13",
    ),
    Gate("fallback", {**TRACKED, "fallback": {"behavior": "currentReplicas"}}, "keda", "2.16.1", "2.17"),
    Gate("paused", {**TRACKED, "paused": "scale_in", "fallback": False}, "keda", "2.17", "2.18"),
    Gate(
        "behavior",
        {**TRACKED, "behavior": {"scaleDown": {"tolerance": "0.05"}}},
        "kubernetes",
        "1.34.2",
        "1.35",
    ),
    Gate(
        "behavior",
        {**TRACKED, "behavior": {"scaleUp": {"tolerance": "0.05"}}, "fallback": False},
        "keda",
        "2.17.3",
        "2.18",
    ),
    Gate("Redis", {}, "redis", "6.0.16", "6.2"),
    Gate(
        "settings.task_retry_on_worker_lost",
        {"settings": {"task_retry_on_worker_lost": True}},
        "celery",
        "5.6.3",
        "5.7",
    ),
    Gate("settings.event_queue_exclusive", {"settings": {"event.queue_exclusive": True}}, "celery", "5.5.3", "5.6"),
]
CASES += [
    Case(
        "version",
        gate.keys,
        (gate.key, gate.old),
        at=f"celery_workers_{gate.software}_version" if gate.key.lower() == gate.software else "config.billing.default",
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


#: Inventories that a later or an earlier release makes harmless: rule, keys, broker, versions.
HARMLESS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, str]]] = [
    ("consumer-timeout", {**TRACKED, "longest_task_seconds": 9000}, RABBITMQ, {"rabbitmq": "4.3"}),
    ("delivery-limit", TRACKED, QUORUM, {"rabbitmq": "3.13.7"}),
    ("control-queues", {}, RABBITMQ, {"rabbitmq": "4.2.9", "celery": "5.5"}),
    ("control-queues", {}, RABBITMQ, {"celery": "5.5"}),
    ("control-queues", {}, RABBITMQ, {"rabbitmq": "4.3", "celery": "5.7"}),
    ("control-queues", {}, RABBITMQ, {"rabbitmq": "4.3"}),
    ("control-queues", {}, REDIS, {"rabbitmq": "4.3", "celery": "5.5"}),
    ("eta-prefetch", {"longest_eta_seconds": 600}, RABBITMQ, {"rabbitmq": "3.13"}),
    ("eta-prefetch", {"longest_eta_seconds": 600}, RABBITMQ, {"rabbitmq": "4.1", "kombu": "5.6.2"}),
    ("eta-prefetch", {"longest_eta_seconds": 0}, RABBITMQ, {"rabbitmq": "4.1"}),
    ("disable-prefetch", {"disable_prefetch": True, "acks_late": True}, REDIS, {"celery": "5.7"}),
    ("endless-timeout", {"settings": {"task_acks_on_timeout": False}, "acks_late": False}, REDIS, {}),
    ("version", {}, REDIS, {"kombu": "5.7"}),
    ("version", {}, REDIS, {"redis": "6.0", "kombu": "5.6.2", "celery": "5.6"}),
    ("version", {}, RABBITMQ, {"redis": "5.0", "kombu": "5.7"}),
]


def test_a_key_that_is_too_new_for_two_of_them_is_one_problem() -> None:
    keys = {**TRACKED, "behavior": {"scaleUp": {"tolerance": "0.05"}}, "fallback": False}
    (problem,) = problems_of(**one_variant(keys), versions={"kubernetes": "1.34", "keda": "2.17"})
    assert "needs Kubernetes 1.35" in problem


@pytest.mark.parametrize(("rule", "keys", "broker", "versions"), HARMLESS)
def test_a_rule_is_silent_for_releases_that_it_is_not_about(
    rule: str, keys: dict[str, Any], broker: dict[str, Any], versions: dict[str, str]
) -> None:
    problems, warnings = said_of({**one_variant(keys, broker=broker), "versions": versions})
    assert problems == []
    assert [text for text in of_rule(warnings, rule) if not text.startswith("celery_workers_kombu_version")] == []


@pytest.mark.parametrize(("kombu", "warned"), [("5.4", True), ("5.6.2", True), ("5.7", False), ("", False)])
def test_a_kombu_that_may_stop_taking_messages_is_a_warning_on_redis(kombu: str, warned: bool) -> None:
    for broker, expected in ((REDIS, warned), (RABBITMQ, False)):
        variables = {**one_variant(broker=broker), "versions": {"kombu": kombu}}
        found = of_rule(list(fleet_of(**variables).warnings), "version")
        assert [f"kombu {kombu} may live and take no more messages" in text for text in found] == [True] * expected
        variables["config"]["billing"]["default"] = {"accept_risks": ["version"]}
        assert of_rule(list(fleet_of(**variables).warnings), "version") == []


def test_a_time_limit_follows_from_the_longest_task_only_where_the_pool_enforces_it() -> None:
    for pool, expected in (("prefork", 60), ("gevent", 60), ("threads", None), ("eventlet", None), ("solo", None)):
        variant = variant_of({"pool": pool, "longest_task_seconds": 60})
        assert variant.process.time_limit == expected
        assert any(text.startswith("time_limit") for text in variant.sizing) is (expected is not None)


@pytest.mark.parametrize("keys", [TRACKED, {**SCALED, "queues": ["a", "b"]}, SCALED])
def test_a_schedule_that_the_bounds_do_not_let_through_is_named(keys: dict[str, Any]) -> None:
    def said(desired: str) -> tuple[list[str], list[str]]:
        times = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": desired}
        cron = {"type": "cron", "metadata": times}
        return said_of(one_variant({**keys, "max_replicas": 4, "time_limit": 9, "extra_triggers": [cron]}))

    path = "celery_workers_config.billing.default.extra_triggers[0].metadata.desiredReplicas"
    assert said("4") == ([], [])
    assert said("5") == (
        [
            f"{path}: 5 pods are above max_replicas 4 of {WHO}, which no trigger passes. Lower it, or raise "
            "max_replicas."
        ],
        [],
    )
    warned = [
        f"{path}: min_replicas 1 of {WHO} keeps as many pods at every time, so the trigger has no effect. Write 2 "
        "or more, or lower min_replicas."
    ]
    assert said("1") == ([], [] if keys == TRACKED else warned)


@pytest.mark.parametrize(
    "keys",
    [
        {**SCALED, "max_replicas": 4, "pdb": {"min_available": 3}},
        {**SCALED, "pdb": {"min_available": "50%"}},
        {**SCALED, "pdb": True},
        {"run_as": "jobs", "idempotent": True, "max_replicas": 4, "pdb": {"min_available": 4}},
    ],
)
def test_a_budget_that_lets_some_pods_go_is_taken(keys: dict[str, Any]) -> None:
    assert of_rule(said_of(one_variant(keys))[1], "blocked-eviction") == []


def test_a_lost_child_that_celery_tries_again_is_not_given_up() -> None:
    keys = {**TRACKED, "reject_on_worker_lost": False, "settings": {"task_retry_on_worker_lost": True}}
    assert of_rule(list(fleet_of(**one_variant(keys)).warnings), "child-lost") == []


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
        f"run twice; set idempotent: true for {WHO} if that is safe for every task."
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
