# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast an HPA may go: its C(behavior) with all defaults filled in, and what follows from it (Kubernetes 1.37)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._schema.quantities import quantity
from .._schema.versions import Version, older

#: What the controller takes for noise where nothing says otherwise (--horizontal-pod-autoscaler-tolerance).
TOLERANCE = 0.1
#: Seconds (--horizontal-pod-autoscaler-downscale-stabilization).
DOWN_WINDOW = 300.0


@dataclass(frozen=True)
class Policy:
    """How much may change within a time.

    :param is_percent: whether the value is percent of the pods at the start of the period, or pods.
    :param period: seconds.
    """

    is_percent: bool
    value: int
    period: float


@dataclass(frozen=True)
class Rules:
    """One direction.

    :param window: seconds whose wishes all count.
    :param select: which policy counts: C(Max) is the largest change, C(Min) the smallest, C(Disabled) allows none.
    :param tolerance: share of the target by which a metric may be off without any change.
    """

    window: float
    policies: tuple[Policy, ...]
    select: str = "Max"
    tolerance: float = TOLERANCE


_UP = Rules(0.0, (Policy(False, 4, 15.0), Policy(True, 100, 15.0)))
_DOWN = Rules(DOWN_WINDOW, (Policy(True, 100, 15.0),))


@dataclass(frozen=True)
class Behavior:
    """Both directions.

    :param is_written: whether the HPA has a C(behavior); without one it goes by older rules.
    """

    up: Rules = field(default_factory=lambda: _UP)
    down: Rules = field(default_factory=lambda: _DOWN)
    is_written: bool = True


def read_behavior(written: Mapping[str, Any] | None, kubernetes: Version | None = None) -> Behavior:
    """A C(behavior) as the API server completes it.

    :param written: as the ScaledObject or the HPA has it; None where it has none.
    :param kubernetes: tolerances are dropped in silence before 1.35, where their feature gate is off.
    """
    if written is None:
        return Behavior(is_written=False)
    tolerates = not older(kubernetes, "1.35")
    up, down = written.get("scaleUp") or {}, written.get("scaleDown") or {}
    return Behavior(_rules(up, _UP, tolerates), _rules(down, _DOWN, tolerates))


def _rules(written: Mapping[str, Any], defaults: Rules, tolerates: bool) -> Rules:
    window, policies = written.get("stabilizationWindowSeconds"), written.get("policies")
    tolerance = written.get("tolerance") if tolerates else None
    found = defaults.policies
    if policies is not None:
        found = tuple(
            Policy(item["type"] == "Percent", int(item["value"]), float(item["periodSeconds"])) for item in policies
        )
    return Rules(
        defaults.window if window is None else float(window),
        found,
        written.get("selectPolicy") or defaults.select,
        TOLERANCE if tolerance is None else float(quantity(tolerance) or 0),
    )


def is_near(ratio: float, behavior: Behavior, kubernetes: Version | None = None) -> bool:
    """Whether a metric is so near to its target that nothing changes."""
    if older(kubernetes, "1.33"):
        # The difference was compared, which in binary numbers makes 1.1 further away than a tenth.
        return abs(1.0 - ratio) <= TOLERANCE
    return 1.0 - behavior.down.tolerance <= ratio <= 1.0 + behavior.up.tolerance


@dataclass
class Changes:
    """Pods that the HPA added, or took away, and when.

    The controller keeps a change until it needs its place for another one, so a change may count for longer than the
    policies of its own direction look back.
    """

    _kept: list[tuple[float, int, bool]] = field(default_factory=list)

    def within(self, period: float, now: float) -> int:
        """Pods that were changed in the last seconds."""
        return sum(pods for when, pods, _old in self._kept if when > now - period)

    def store(self, pods: int, rules: Rules, now: float) -> None:
        """Note a change, in the place of one that its own direction no longer needs."""
        longest = max((policy.period for policy in rules.policies), default=0.0)
        self._kept = [(when, number, old or when < now - longest) for when, number, old in self._kept]
        free = [index for index, (_when, _pods, old) in enumerate(self._kept) if old]
        if free:
            self._kept[free[-1]] = (now, pods, False)
        else:
            self._kept.append((now, pods, False))


def up_limit(current: int, added: Changes, removed: Changes, rules: Rules, now: float) -> int:
    """The most pods that there may be now."""
    if rules.select == "Disabled" or not rules.policies:
        return current
    limits = []
    for policy in rules.policies:
        start = current - added.within(policy.period, now) + removed.within(policy.period, now)
        limits.append(math.ceil(start * (1 + policy.value / 100)) if policy.is_percent else start + policy.value)
    return max(current, min(limits) if rules.select == "Min" else max(limits))


def down_limit(current: int, added: Changes, removed: Changes, rules: Rules, now: float) -> int:
    """The fewest pods that there may be now."""
    if rules.select == "Disabled" or not rules.policies:
        return current
    limits = []
    for policy in rules.policies:
        start = current - added.within(policy.period, now) + removed.within(policy.period, now)
        limits.append(int(start * (1 - policy.value / 100)) if policy.is_percent else start - policy.value)
    return min(current, max(limits) if rules.select == "Min" else min(limits))
