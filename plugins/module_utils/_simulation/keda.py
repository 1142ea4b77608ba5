# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA over one ScaledObject: what a poll writes, and which numbers the HPA gets (KEDA 2.20)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .._schema.versions import Version, older
from .autoscaler import Decision, Metric
from .formula import FormulaError, cut
from .scaled_object import ScaledObject, Trigger

#: What each trigger reads, in their order; None where it cannot be read.
Numbers = Sequence[float | None]
#: Results of a formula that are kept.
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class _Answer:
    """What KEDA makes of one trigger's number.

    :param value: None where there is none, and for a formula that is to do without it.
    :param is_error: whether the trigger counts as failed.
    :param falls_back: whether the number is the fallback's.
    :param is_active: whether the number wakes pods.
    """

    value: float | None
    is_error: bool = False
    falls_back: bool = False
    is_active: bool = False


@dataclass
class Keda:
    """KEDA between two polls.

    :param last_active: when a trigger was active last; None for never.
    :param created: when the ScaledObject was made.
    """

    spec: ScaledObject
    version: Version | None = None
    last_active: float | None = None
    created: float = 0.0
    _failures: list[int] = field(default_factory=list)
    _is_built: bool = True
    _cached: list[_Answer] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _is_well: bool = False
    _known: dict[tuple[float | None, ...], float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._failures = [0] * len(self.spec.triggers)
        self._names = [trigger.name for trigger in self.spec.triggers]
        self._settle()

    def poll(self, now: float, replicas: int, ready: int, numbers: Numbers) -> Decision:
        """One round of the scale loop: the pods that it writes, if any."""
        spec = self.spec
        if spec.is_paused:
            wanted = spec.paused_at if spec.paused_at != replicas else None
            return Decision(wanted, None, "paused")
        if self._is_well and None not in numbers:
            if self._is_active_by(numbers) or spec.forces_activation:
                return self._active(now, replicas, is_error=False)
            return self._inactive(now, replicas, is_error=False)
        if not self._build(numbers):
            return Decision(None, None, "the triggers cannot be made while the broker refuses connections")
        answers = [
            self._answer(index, trigger, number, replicas, ready)
            for index, (trigger, number) in enumerate(zip(spec.triggers, numbers, strict=True))
        ]
        self._cached = answers
        is_error = any(answer.is_error for answer in answers)
        self._is_built = not is_error
        self._settle()
        if self._is_active(answers, is_error) or spec.forces_activation:
            return self._active(now, replicas, is_error)
        return self._inactive(now, replicas, is_error)

    def _settle(self) -> None:
        """Note whether everything can be read, so that the shortest way is the right one."""
        cached = any(trigger.is_cached for trigger in self.spec.triggers)
        self._is_well = self._is_built and not cached and not any(self._failures)

    def _is_active_by(self, numbers: Numbers) -> bool:
        """Whether numbers that could all be read wake pods."""
        spec = self.spec
        if spec.modifiers is not None:
            result = self._result(numbers)
            return result is not None and result > spec.modifiers.activation
        if spec.only_resources:
            return True
        pairs = zip(spec.triggers, numbers, strict=True)
        return any(trigger.is_active_by(number) for trigger, number in pairs)

    def _result(self, numbers: Numbers) -> float | None:
        """What the formula makes of numbers that could all be read; most often it has seen the same before."""
        key = tuple(numbers)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._worked_out(numbers)
        return self._known[key]

    def _active(self, now: float, replicas: int, is_error: bool) -> Decision:
        spec = self.spec
        # The API server keeps whole seconds.
        moment = float(math.floor(now))
        if replicas == 0 or (spec.idle is not None and replicas < spec.least):
            if spec.pauses_out:
                return Decision(None, None, "active, and scaling out is paused")
            self.last_active = moment
            return Decision(max(spec.least, 1), None, "a trigger is active")
        if not is_error:
            self.last_active = moment
        return Decision(None, None, "active")

    def _inactive(self, now: float, replicas: int, is_error: bool) -> Decision:
        spec = self.spec
        if is_error and (spec.fallback is None or spec.fallback.replicas != 0):
            return Decision(None, None, "a trigger cannot be read")
        if (spec.idle is not None and replicas > spec.idle) or (replicas > 0 and spec.least == 0):
            if spec.pauses_in:
                return Decision(None, None, "nothing is active, and scaling in is paused")
            if self._has_cooled_down(now):
                wanted = spec.least if spec.idle is None else spec.idle
                return Decision(wanted, None, "nothing was active for long enough")
            return Decision(None, None, "cooling down")
        if spec.idle is None and replicas < spec.least:
            return Decision(spec.least, None, "below the fewest pods")
        return Decision(None, None, "nothing is active")

    def _has_cooled_down(self, now: float) -> bool:
        if self.last_active is None:
            return self.created + self.spec.initial_cooldown < now
        return self.last_active + self.spec.cooldown < now

    def metrics(self, replicas: int, ready: int, numbers: Numbers) -> list[Metric]:
        """What the HPA is told at a sync."""
        spec = self.spec
        if spec.modifiers is not None:
            is_well = self._is_well and None not in numbers
            value = self._result(numbers) if is_well else self._composite(replicas, ready, numbers)
            return [Metric(value, spec.modifiers.target, spec.modifiers.is_value)]
        found = []
        for index, (trigger, number) in enumerate(zip(spec.triggers, numbers, strict=True)):
            if trigger.is_cached and self._cached:
                answer = self._cached[index]
            elif self._build(numbers):
                answer = self._answer(index, trigger, number, replicas, ready)
                self._is_built = not answer.is_error
            else:
                answer = _Answer(None, is_error=True)
            found.append(Metric(answer.value, trigger.target, trigger.is_value))
        self._settle()
        return found

    def _composite(self, replicas: int, ready: int, numbers: Numbers) -> float | None:
        """The result of the formula, as the HPA gets it."""
        if not self._build(numbers):
            return None
        answers = [
            self._cached[index]
            if trigger.is_cached and self._cached
            else self._answer(index, trigger, number, replicas, ready)
            for index, (trigger, number) in enumerate(zip(self.spec.triggers, numbers, strict=True))
        ]
        is_error = any(answer.is_error for answer in answers)
        self._is_built = not is_error
        self._settle()
        if is_error and not any(answer.falls_back for answer in answers):
            return None
        return self._modified(answers)

    def _build(self, numbers: Numbers) -> bool:
        """Make the triggers again after a failure; false where one of them cannot be made."""
        if not self._is_built:
            pairs = zip(self.spec.triggers, numbers, strict=True)
            self._is_built = not any(trigger.connects and number is None for trigger, number in pairs)
        return self._is_built

    def _answer(self, index: int, trigger: Trigger, number: float | None, replicas: int, ready: int) -> _Answer:
        if number is not None:
            self._failures[index] = 0
            return _Answer(cut(number), is_active=trigger.is_active_by(number))
        if not self._may_fall_back:
            return _Answer(None, is_error=True)
        fallback = self.spec.fallback
        self._failures[index] += 1
        if fallback is None or self._failures[index] <= fallback.threshold:
            return _Answer(None, is_error=True)
        if fallback.behavior == "scalingModifiers":
            return _Answer(None)
        modifiers = self.spec.modifiers
        target, is_value = (
            (trigger.target, trigger.is_value) if modifiers is None else (modifiers.target, modifiers.is_value)
        )
        if is_value and not ready:
            return _Answer(None, is_error=True)
        held = _fallback_replicas(fallback.behavior, fallback.replicas, replicas)
        return _Answer(cut(target * held / (ready if is_value else 1)), falls_back=True)

    @property
    def _may_fall_back(self) -> bool:
        fallback, modifiers = self.spec.fallback, self.spec.modifiers
        if fallback is None or fallback.threshold < 0 or fallback.replicas < 0:
            return False
        return modifiers is None or modifiers.is_whole

    def _is_active(self, answers: Sequence[_Answer], is_error: bool) -> bool:
        spec = self.spec
        if spec.modifiers is not None:
            if is_error:
                return False
            result = self._modified(answers)
            return result is not None and result > spec.modifiers.activation
        if spec.only_resources:
            return True
        # A fallback wakes pods since KEDA 2.19.
        wakes = not older(self.version, "2.19")
        return any(wakes if answer.falls_back else answer.is_active for answer in answers)

    def _modified(self, answers: Sequence[_Answer]) -> float | None:
        """What the formula makes of the numbers; None where it makes nothing of them."""
        held = next((answer.value for answer in answers if answer.falls_back), None)
        return self._worked_out([answer.value for answer in answers]) if held is None else held

    def _worked_out(self, numbers: Numbers) -> float | None:
        modifiers, fallback = self.spec.modifiers, self.spec.fallback
        if modifiers is None:
            return None
        try:
            result = modifiers.work(dict(zip(self._names, numbers, strict=True)))
        except FormulaError:
            return None
        if result is None and fallback is not None:
            return fallback.replicas * modifiers.target
        return result


def _fallback_replicas(behavior: str, wanted: int, current: int) -> int:
    """Pods that a fallback stands for."""
    if behavior == "currentReplicas":
        return current
    if behavior == "currentReplicasIfHigher":
        return max(current, wanted)
    return min(current, wanted) if behavior == "currentReplicasIfLower" else wanted
