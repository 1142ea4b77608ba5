# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules with an id that a user may accept, and how they are said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .._schema.problems import Problems, suggest
from .._schema.versions import (
    Versions,
)

#: Every rule that accept_risks may name, with what it is about.
RULES = {
    "autoscale": "--autoscale beside a scaler",
    "blocked-eviction": "a disruption budget that lets no pod go",
    "child-lost": "late acknowledgement that gives the task of a killed child up",
    "child-memory": "processes that get too little memory, or more than there is",
    "connections": "more connections than the broker or the database accepts",
    "control-queues": "RabbitMQ 4.3 refuses the queues that a worker makes for remote control",
    "consumer-timeout": "RabbitMQ takes a message away before its task is done",
    "delivery-limit": "RabbitMQ drops a message that was returned too often",
    "disable-prefetch": "disable_prefetch with early acknowledgement, or where it does not hold",
    "early-acknowledgement": "in-flight tracking with early acknowledgement",
    "endless-timeout": "a task that reaches its time limit begins again, for ever",
    "eta-jobs": "tasks that wait for their ETA and start idle Jobs",
    "eta-limit": "worker_eta_task_limit",
    "eta-prefetch": "waiting ETA tasks that fill what a worker may take",
    "fallback-zero": "a fallback of no pods",
    "heartbeat-off": "no worker heartbeats while something needs them",
    "invisible-work": "scale to zero while running work is invisible to the scaler",
    "job-slots": "Jobs that run several tasks at once",
    "long-grace": "a grace period that node scale-down does not honour",
    "no-time-limit": "no time limit that holds",
    "plain-secret": "an environment value that looks like a secret",
    "prefetch": "reserved messages that a scaler does not see",
    "secret-argument": "a secret on a worker's command line",
    "selector-overlap": "two Deployments whose pods one autoscaler counts together",
    "shared-queue": "two variants consume one queue",
    "short-cooldown": "scale to zero sooner than the longest task takes",
    "short-grace": "a pod is killed before its longest task is done",
    "slow-drain": "one pod's share of the queue takes longer than anybody should wait",
    "soft-shutdown": "a soft shutdown that does not fit into the grace period",
    "unknown-setting": "a setting that Celery does not have",
    "version": "a version that is too old, as a whole or for a feature",
    "visibility-timeout": "a message is delivered again while its task still runs or waits",
}
PathOf = Callable[[str], str]


@dataclass(frozen=True)
class Case:
    """One variant before its judges."""

    variant: Variant
    service: Service
    versions: Versions
    path_of: PathOf
    problems: Problems

    @property
    def who(self) -> str:
        return self.variant.title

    @property
    def broker(self) -> Broker | None:
        """The service's broker, as far as there is nothing wrong with it."""
        broker = self.service.broker
        return broker if broker is not None and broker.is_sound else None

    @property
    def settings(self) -> dict[str, Any]:
        """The Celery settings that the user wrote, under their names of today."""
        return {name.lower().replace(".", "_"): value for name, value in self.variant.process.settings.items()}

    def accepts(self, rule: str) -> bool:
        return rule in self.variant.knowledge.accept_risks

    def refuse(self, rule: str, key: str, message: str) -> None:
        """Stop the run, unless the user accepts the risk."""
        if not self.accepts(rule):
            self.problems.add(self.path_of(key), with_rule(message, rule))

    def warn(self, rule: str, key: str, message: str) -> None:
        """Say it, unless the user accepts the risk."""
        if not self.accepts(rule):
            self.problems.warn(self.path_of(key), with_rule(message, rule))


def with_rule(message: str, rule: str) -> str:
    """A message with the rule that it comes from, as accept_risks takes it."""
    return f"{message} Or accept it with accept_risks: [{rule}]."


def known_risks(case: Case) -> None:
    for risk in case.variant.knowledge.accept_risks:
        if risk not in RULES:
            case.problems.add(case.path_of("accept_risks"), f"there is no rule {risk!r}; {suggest(risk, RULES)}")


def place_of_variant(variant: Variant) -> str:
    return f"{variant.service}.{variant.name}"


def is_accepted(rule: str, variants: Iterable[Variant]) -> bool:
    return any(rule in variant.knowledge.accept_risks for variant in variants)
