# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA over a ScaledJob: how many Jobs it starts at a poll (KEDA 2.20). Jobs end by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .autoscaler import Decision, Pods
from .control import Written
from .formula import cut
from .keda import Numbers
from .scaled_object import Trigger, is_on, read_trigger

#: How the numbers of several triggers become one.
_CALCULATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
    "avg": lambda numbers: math.fsum(numbers) / len(numbers),
}


@dataclass(frozen=True)
class ScaledJob:
    """How KEDA starts Jobs. Times are seconds.

    :param most: Jobs that there may be at the same time.
    :param calculation: how the numbers of the active triggers become one: max, min, avg or sum.
    """

    triggers: tuple[Trigger, ...]
    most: int = 100
    polling: float = 30.0
    calculation: str = "max"
    is_paused: bool = False


def read_scaled_job(spec: Mapping[str, Any], annotations: Mapping[str, str]) -> ScaledJob:
    """A ScaledJob from its manifest.

    :param spec: its C(spec).
    """
    strategy = spec.get("scalingStrategy") or {}
    return ScaledJob(
        triggers=tuple(read_trigger(item) for item in spec["triggers"]),
        most=int(spec.get("maxReplicaCount") or 100),
        polling=float(spec.get("pollingInterval") or 30),
        calculation=strategy.get("multipleScalersCalculation") or "max",
        is_paused=is_on(annotations, "autoscaling.keda.sh/paused"),
    )


class JobControl:
    """KEDA over one ScaledJob.

    :param first_poll: when it looks for the first time, in seconds.
    """

    next_sync = float("inf")

    def __init__(self, spec: ScaledJob, first_poll: float) -> None:
        self.spec = spec
        self.next_poll = first_poll
        #: What KEDA decided at its last look, also where it started nothing. There is no HPA.
        self.keda_said = self.hpa_said = Decision(None, None, "")

    def look(self, now: float, pods: Callable[[], Pods], read: Callable[[], Numbers]) -> list[Written]:
        """What is due now: the number of Jobs with those that it starts.

        :param pods: of Jobs that have not ended.
        :param read: what the triggers read.
        """
        self.next_poll += self.spec.polling
        there = pods().wanted
        new = 0 if self.spec.is_paused else self.new_jobs(there, read())
        why = "work waits that no Job is for" if new else "paused" if self.spec.is_paused else "enough Jobs"
        self.keda_said = Decision(None, None, why)
        return [Written(now, "KEDA", there, there + new, why)] if new else []

    def new_jobs(self, there: int, numbers: Numbers) -> int:
        """Jobs that are started, with the strategy C(default).

        :param there: Jobs that have not ended.
        """
        pairs = zip(self.spec.triggers, numbers, strict=True)
        active = [
            (cut(number), trigger.target)
            for trigger, number in pairs
            if number is not None and trigger.is_active_by(number)
        ]
        if not active:
            return 0
        calculate, most = _CALCULATIONS[self.spec.calculation], self.spec.most
        waiting = math.ceil(calculate([number for number, _other in active]))
        wanted = math.ceil(min(most, calculate([min(most, number / target) for number, target in active])))
        return max(0, min(wanted - there, most - there, waiting))
