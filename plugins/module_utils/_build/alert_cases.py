# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of alert is, and what it goes by."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from .._model.fleet import Fleet, Server, Variant
from .._model.watching import Alerts
from .promql import Scope
from .recordings import Members

#: Templates of Prometheus.
TITLE = "{{$labels.service}}.{{$labels.variant}}"
DEPLOYMENT = "{{$labels.deployment}}"
VALUE = "{{ $value | humanize }}"


@dataclass(frozen=True)
class Case:
    """One variant, and what its alerts go by.

    :param taken_hpa: the HPA that was taken over, if its name is another one than KEDA's own.
    """

    fleet: Fleet
    variant: Variant
    limits: Alerts
    taken_hpa: str = ""

    @property
    def flower(self) -> Server | None:
        """The Flower that listens to the variant's broker."""
        return next((one for one in self.fleet.monitoring.flowers if self.variant.service in one.services), None)

    @property
    def flower_knows(self) -> str:
        """Holds unless that Flower knows no worker at all, or nobody scrapes it, so that it tells nothing."""
        labels = Scope(self.fleet.namespace, "").in_namespace
        if self.flower is not None and len(self.fleet.monitoring.flowers) > 1:
            names = "|".join(item.deployment for item in self.fleet.variants if item.service in self.flower.services)
            labels += f", {Scope(self.fleet.namespace, f'(?:{names})').workers}"
        return f"on () count(flower_worker_online{{{labels}}}) > 0"

    @property
    def held_by(self) -> str:
        """Where it is known what workers hold: C(redis) tells it apart from what waits, another C(broker) does not."""
        broker = self.fleet.service_of(self.variant).broker
        if broker is not None and self.variant.uses_keda and self.variant.sees_in_flight:
            return "redis" if broker.is_redis else "broker"
        return "flower"

    @property
    def longest(self) -> float:
        """Seconds that the longest task takes, as far as the inventory says: with C(profile: long) the grace period."""
        said = self.variant.knowledge.longest_task_seconds or self.variant.process.time_limit
        if not said and self.variant.knowledge.profile == "long":
            return float(self.variant.pod.termination_grace_period)
        return said or 0.0

    @property
    def stalled(self) -> int:
        """Seconds in which a task must have succeeded where some are held. One that waits for its ETA is held too."""
        if self.limits.stalled_seconds:
            return self.limits.stalled_seconds
        eta = self.variant.knowledge.longest_eta_seconds
        return round((self.longest or 3600) + (3600 if eta is None else eta) + 300)

    @property
    def pace_window(self) -> int:
        """With long tasks hardly any ends in ten minutes, and the pace would be a matter of chance."""
        return max(600, round(self.longest))

    @property
    def drain(self) -> int:
        """Seconds that the backlog may need."""
        return self.limits.drain_seconds or round(max(self.variant.knowledge.max_wait_seconds, self.longest))

    @property
    def starts(self) -> int:
        """Tasks that may start and not end."""
        return self.limits.poison_starts or max(20, 2 * self.variant.slots * self.variant.most_pods)

    @property
    def recent(self) -> int:
        """Seconds that are wide enough for two readings of the broker."""
        return 60 * math.ceil((self.variant.scaling.polling_interval + 90) / 60)

    @property
    def waits_above(self) -> int:
        """Messages that may wait for ever."""
        return self.variant.scaling.activation_list_length


@dataclass(frozen=True)
class Rule:
    """What a rule says of some variants.

    :param lasts: seconds that the expression must hold.
    :param summary: one sentence.
    :param description: what is known, with the number, and what it means.
    :param texts: labels of the variants that only the description needs.
    """

    expr: str
    lasts: float
    summary: str
    description: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of alert.

    :param applies: whether something gives numbers for a variant.
    :param lasts: seconds that it must hold.
    :param others: what must be the same, beside that time, for variants to share a rule.
    :param say: makes the rule of some variants that are alike.
    """

    name: str
    severity: str
    applies: Callable[[Case], bool]
    lasts: Callable[[Case], float]
    others: Callable[[Case], Hashable]
    say: Callable[[Members, list[Case]], Rule]

    def alike(self, case: Case) -> Hashable:
        """Equal for variants that one rule does for."""
        return self.lasts(case), self.others(case)

    def rule(self, members: Members, cases: list[Case]) -> Rule:
        """The rule of some variants that are alike."""
        return self.say(members, cases)
