# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A HorizontalPodAutoscaler: what one sync makes of its metrics (Kubernetes 1.23 to 1.37)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .._schema.versions import Version
from .behavior import DOWN_WINDOW, Behavior, Changes, down_limit, is_near, up_limit

#: Seconds between two syncs (--horizontal-pod-autoscaler-sync-period).
SYNC_PERIOD = 15.0
#: Numbers reach the HPA in thousandths, rounded up.
_THOUSANDTHS = 1000


class Metric(NamedTuple):
    """One metric, as a sync reads it.

    :param value: None where it could not be read.
    :param target: for one pod, or for all of them where C(is_value).
    """

    value: float | None
    target: float
    is_value: bool = False


class Pods(NamedTuple):
    """The pods of the target.

    :param wanted: C(spec.replicas).
    :param counted: C(status.replicas), which terminating pods are no part of.
    :param ready: pods that run and are ready.
    """

    wanted: int
    counted: int
    ready: int


class Decision(NamedTuple):
    """What a sync decided, and why.

    :param replicas: None where nothing is written.
    :param wish: what the metrics ask for; None where they could not be read, or were not.
    """

    replicas: int | None
    wish: int | None
    reason: str


@dataclass
class Window:
    """The highest, or the lowest, of the wishes that are young enough.

    :param sign: 1 for the highest, -1 for the lowest.
    """

    sign: int
    _kept: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, wish: int) -> None:
        """Note a wish. Earlier ones that it exceeds can never count again."""
        kept, sign = self._kept, self.sign
        while kept and (wish - kept[-1][1]) * sign >= 0:
            kept.pop()
        kept.append((now, wish))

    def of(self, wish: int, cutoff: float) -> int:
        """A wish, or a stronger one that was noted after a time."""
        kept = self._kept
        # A sync is always a little late, so what is as old as the window counts no more.
        while kept and kept[0][0] <= cutoff:
            kept.popleft()
        if not kept or (wish - kept[0][1]) * self.sign >= 0:
            return wish
        return kept[0][1]

    def next(self, now: float, wish: int, width: float) -> int:
        """Note a wish, and say which one holds: it or a stronger one that was noted within so many seconds."""
        if width <= 0:
            return wish
        found = self.of(wish, now - width)
        self.add(now, wish)
        return found


@dataclass
class Autoscaler:
    """An HPA between two syncs.

    :param least: C(minReplicas).
    :param most: C(maxReplicas).
    """

    least: int
    most: int
    behavior: Behavior
    kubernetes: Version | None = None
    _has_looked: bool = False
    _highest: Window = field(default_factory=lambda: Window(1))
    _lowest: Window = field(default_factory=lambda: Window(-1))
    _added: Changes = field(default_factory=Changes)
    _removed: Changes = field(default_factory=Changes)

    def sync(self, now: float, pods: Pods, metrics: Sequence[Metric]) -> Decision:
        """One sync: what is written, if anything."""
        current = pods.wanted
        if not self._has_looked:
            self._has_looked = True
            self._highest.add(now, current)
            self._lowest.add(now, current)
        if current == 0 and self.least != 0:
            return Decision(None, None, "scaling is off at zero pods")
        if current > self.most:
            return self._written(now, current, self.most, None, "above the most pods")
        if current < self.least:
            return self._written(now, current, self.least, None, "below the fewest pods")
        wish = self.wish(pods, metrics)
        if wish is None:
            return Decision(None, None, "a metric could not be read")
        if not self.behavior.is_written:
            wanted = self._plain(now, current, wish)
        else:
            wanted = self._with_behavior(now, current, wish)
        return self._written(now, current, wanted, wish, _why(current, wish, wanted))

    def wish(self, pods: Pods, metrics: Sequence[Metric]) -> int | None:
        """Pods that the metrics ask for: the most that one of them asks for; None where too little could be read."""
        wishes = [self._wish(pods, metric) for metric in metrics]
        known = [wish for wish in wishes if wish is not None]
        if not known or (len(known) < len(wishes) and max(known) < pods.wanted):
            return None
        return max(known)

    def _wish(self, pods: Pods, metric: Metric) -> int | None:
        if metric.value is None:
            return None
        used = math.ceil(metric.value * _THOUSANDTHS - 1e-6)
        target = metric.target * _THOUSANDTHS
        if metric.is_value:
            if not pods.wanted:
                return math.ceil(used / target)
            near = is_near(used / target, self.behavior, self.kubernetes)
            return pods.wanted if near else math.ceil(used / target * pods.ready)
        if pods.counted and is_near(used / (target * pods.counted), self.behavior, self.kubernetes):
            return pods.counted
        return math.ceil(used / target)

    def _plain(self, now: float, current: int, wish: int) -> int:
        """Without a C(behavior): the highest wish of five minutes, and at most twice the pods."""
        stable = self._highest.next(now, wish, DOWN_WINDOW)
        return max(self.least, min(stable, self.most, max(2 * current, 4)))

    def _with_behavior(self, now: float, current: int, wish: int) -> int:
        up, down = self.behavior.up, self.behavior.down
        lowest = self._lowest.next(now, wish, up.window)
        highest = self._highest.next(now, wish, down.window)
        stable = min(max(current, lowest), highest)
        if stable > current:
            return min(stable, self.most, up_limit(current, self._added, self._removed, up, now))
        if stable < current:
            return max(stable, self.least, down_limit(current, self._added, self._removed, down, now))
        return stable

    def _written(self, now: float, current: int, wanted: int, wish: int | None, reason: str) -> Decision:
        if wanted == current:
            return Decision(None, wish, reason)
        if self.behavior.is_written:
            if wanted > current:
                self._added.store(wanted - current, self.behavior.up, now)
            else:
                self._removed.store(current - wanted, self.behavior.down, now)
        return Decision(wanted, wish, reason)


def _why(current: int, wish: int, wanted: int) -> str:
    """Why a sync did what it did, in words."""
    if wanted == wish:
        return "as the metrics ask" if wanted != current else "enough pods"
    if wish > wanted:
        return "wants more: the window, a policy or the most pods hold it"
    return "wants fewer: the window, a policy or the fewest pods hold it"
