# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a message may wait, as a formula over what has been measured of the tasks.

Two numbers of Prometheus come in: how long tasks run, and how many arrive. With the fallback behavior
C(scalingModifiers), KEDA 2.20 gives C(nil) for a reading that has failed for long enough. The formula then goes on
without it: without Prometheus by C(list_length), without the broker with the pods that are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._celery.sizing import seconds_for_work
from .._model.fleet import Fleet, Variant
from .._model.names import FLOWER, RECEIVED, RUN_TIME, prometheus_authentication_name
from .._model.prometheus import Prometheus
from .._model.variant_keys import Fallback
from .promql import POD_END, Scope, events, growth, mean_runtime, select

Trigger = dict[str, Any]

#: Seconds in which arrivals are counted, and seconds of which the tasks have a run time, at least.
ARRIVALS_WINDOW, RUN_TIME_WINDOW = 300, 3600
#: KEDA cuts what it reads to thousandths, and a message that waits must never be cut to none.
_LEAST = 100
#: Stands for a reading that has failed. What a user's own trigger reads may be below 0, but not so far.
_FAILED = -1_000_000_000


@dataclass(frozen=True)
class WaitGoal:
    """What the formula of a variant says of its goal.

    :param seconds: in which what waits is to be worked off: those that a message may wait, less the start of a pod.
    :param slots: tasks that a pod works on at once.
    :param kept: pods while the broker cannot be read.
    """

    seconds: float
    slots: int
    triggers: tuple[Trigger, ...]
    kept: str

    def asked(self, backlog: str, static: str, holding: str, activation: int) -> str:
        """Pods that the work asks for: what waits, and what arrives.

        A task that takes longer than the goal counts as one that takes as long: each message then gets a slot. More
        pods would not begin sooner.

        :param static: the same as C(list_length) has it, where no run time is known.
        :param holding: pods that are busy and of no use to what waits; empty where that is not known.
        :param activation: messages that may wait without a pod.
        """
        goal = _number(self.seconds)
        if holding:
            share = f"({_divided(backlog, self.slots)} + {holding}) * min({RUN_TIME}, {goal}) / {goal}"
        else:
            share = f"{backlog} * min({RUN_TIME}, {goal}) / {_number(self.seconds * self.slots)}"
        waiting = f"max({share}, min({backlog}, 1) / {_LEAST})"
        if activation:
            waiting = f"({backlog} > {activation} ? {waiting} : 0)"
        return f"(({RUN_TIME} ?? 0) > 0 ? max({waiting}, {self._arriving}) : {static})"

    @property
    def _arriving(self) -> str:
        """Pods that what arrives keeps busy. The last pod is not theirs to keep: that one goes by what is there.

        Of tasks that run for longer than arrivals are counted, those that have arrived are still running.
        """
        arriving = f"({RECEIVED} ?? 0) * min({RUN_TIME}, {ARRIVALS_WINDOW}) / {ARRIVALS_WINDOW * self.slots}"
        return f"({arriving} > 1 ? {arriving} : 0)"

    def guarded(self, formula: str, readings: Iterable[str]) -> str:
        """The formula, and the pods that are there while one of some readings fails.

        The pods themselves are not among them: KEDA counts those in its own memory.
        """
        known = [f"({name} ?? {_FAILED})" for name in readings]
        least = known[0] if len(known) == 1 else f"min({', '.join(known)})"
        return f"({least} <= {_FAILED} ? {self.kept} : {formula})"


def _number(value: float) -> str:
    """A number as the language of formulas has it, without an exponent."""
    return str(int(value)) if value == int(value) else f"{value:f}".rstrip("0")


def _divided(number: str, by: int) -> str:
    return number if by == 1 else f"{number} / {by}"


def goal_of(fleet: Fleet, variant: Variant) -> WaitGoal | None:
    """The goal of a variant; None where its C(list_length) decides."""
    prometheus, fallback = fleet.prometheus, variant.scaling.fallback
    if prometheus is None or fallback is None or not variant.measured_by:
        return None
    scope = Scope(fleet.namespace, variant.deployment)
    run_time, received = _measures(scope, variant)
    named = {RUN_TIME: run_time, RECEIVED: received}
    return WaitGoal(
        seconds_for_work(variant.knowledge, variant.scaling.polling_interval),
        variant.slots,
        tuple(_trigger(name, query, prometheus, fleet.name) for name, query in named.items()),
        _kept(fallback_replicas(variant, fallback), fallback),
    )


def goal_in_words(variant: Variant, static: str) -> list[str]:
    """What the formula says of the goal, as sentences.

    :param static: what holds while nothing is measured.
    """
    return [
        f"So many pods that no message waits for more than {variant.knowledge.max_wait_seconds:g} s, by the run time "
        f"that {variant.measured_by} has measured; without one, {static[0].lower()}{static[1:]}",
        "As many as the tasks that arrive keep busy, if that is more than one",
    ]


def fallback_replicas(variant: Variant, fallback: Fallback) -> int:
    """At least one: with 0 an outage would scale to zero before the threshold is reached (KEDA 2.20)."""
    return max(1, variant.scaling.min_replicas) if fallback.replicas is None else fallback.replicas


def _kept(replicas: int, fallback: Fallback) -> str:
    """Pods while the broker cannot be read, as KEDA's other behaviors have them."""
    behavior = fallback.behavior or "currentReplicasIfHigher"
    return {
        "static": str(replicas),
        "currentReplicas": "pods",
        "currentReplicasIfHigher": f"max(pods, {replicas})",
        "currentReplicasIfLower": f"min(pods, {replicas})",
    }[behavior]


def _measures(scope: Scope, variant: Variant) -> tuple[str, str]:
    """Queries: the mean run time in seconds, and the tasks that were received in the window of arrivals."""
    longest = variant.knowledge.longest_task_seconds or variant.process.time_limit or 0
    window = max(RUN_TIME_WINDOW, math.ceil(2 * longest))
    if variant.measured_by == FLOWER:
        return mean_runtime(scope, window), events(scope, "task-received", ARRIVALS_WINDOW)
    total, count = (_of_exporter(scope, f"task_runtime_{part}", window) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)", _of_exporter(scope, "task_received_total", ARRIVALS_WINDOW)


def _of_exporter(scope: Scope, metric: str, window: int) -> str:
    """How much counters of the exporter grew. It names workers by their host: the pod, or what Tutor puts before it."""
    host = f'hostname=~"(?:.*[.])?{scope.deployment}{POD_END}"'
    return scope.total(growth(scope, select(f"celery_{metric}", scope.in_namespace, host), window))


def _trigger(name: str, query: str, prometheus: Prometheus, fleet: str) -> Trigger:
    """What is not measured reads 0, by which the formula goes on without it."""
    metadata = {"serverAddress": prometheus.url, "query": query, "threshold": "1", "ignoreNullValues": "true"}
    if prometheus.insecure_skip_verify:
        metadata["unsafeSsl"] = "true"
    if prometheus.headers:
        metadata["customHeaders"] = ",".join(f"{header}={text}" for header, text in prometheus.headers.items())
    trigger: Trigger = {"type": "prometheus", "name": name, "metadata": metadata}
    if prometheus.secret is not None:
        metadata["authModes"] = "bearer" if prometheus.secret.token_key else "basic"
        trigger["authenticationRef"] = {"name": prometheus_authentication_name(fleet)}
    return trigger


def prometheus_login(prometheus: Prometheus) -> list[dict[str, str]]:
    """KEDA's authentication parameters, each with the Secret and the key that hold it."""
    secret = prometheus.secret
    if secret is None:
        return []
    keys = {
        "bearerToken": secret.token_key,
        "username": secret.username_key,
        "password": secret.password_key,
        "ca": secret.ca_key,
    }
    return [{"parameter": name, "name": secret.name, "key": place} for name, place in keys.items() if place]
