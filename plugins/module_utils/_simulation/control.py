# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA and the HPA together, on their clocks: who looks when, and what each writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._schema.versions import Versions
from .autoscaler import SYNC_PERIOD, Autoscaler, Decision, Pods
from .behavior import read_behavior
from .keda import Keda, Numbers
from .scaled_object import ScaledObject


@dataclass(frozen=True)
class Written:
    """A change of the number of pods.

    :param by: C(KEDA) or C(HPA).
    :param before: pods that were wanted until then.
    """

    at: float
    by: str
    before: int
    replicas: int
    reason: str


class Control:
    """KEDA and its HPA over one Deployment.

    :param first_poll: when KEDA looks for the first time, in seconds.
    :param first_sync: the same of the HPA.
    :param active_before: when a trigger was active last; None for a ScaledObject that is new.
    """

    def __init__(
        self,
        spec: ScaledObject,
        versions: Versions,
        first_poll: float,
        first_sync: float,
        active_before: float | None = None,
    ) -> None:
        self.spec = spec
        self.next_poll = first_poll
        # Paused, KEDA takes the HPA away.
        self.next_sync = float("inf") if spec.is_paused else first_sync
        #: What each decided at its last look, also where it wrote nothing.
        self.keda_said = self.hpa_said = Decision(None, None, "")
        self._keda = Keda(spec, versions.keda, active_before)
        behavior = read_behavior(spec.behavior, versions.kubernetes)
        self._autoscaler = Autoscaler(max(1, spec.least), spec.most, behavior, versions.kubernetes)

    def look(self, now: float, pods: Callable[[], Pods], read: Callable[[], Numbers]) -> list[Written]:
        """What is due now. KEDA looks before the HPA does; where KEDA wrote, the HPA is due still.

        :param pods: the pods as they are, which may have changed between the two.
        :param read: what the triggers read.
        """
        found = []
        if self.next_poll <= now:
            self.next_poll += self.spec.polling
            seen = pods()
            self.keda_said = self._keda.poll(now, seen.wanted, seen.ready, read())
            found += self._written(now, "KEDA", seen, self.keda_said)
        if self.next_sync <= now and not found:
            self.next_sync += SYNC_PERIOD
            found += self._sync(now, pods(), read)
        return found

    def _sync(self, now: float, seen: Pods, read: Callable[[], Numbers]) -> list[Written]:
        # At zero the HPA does not look at its metrics.
        metrics = self._keda.metrics(seen.wanted, seen.ready, read()) if seen.wanted else []
        self.hpa_said = self._autoscaler.sync(now, seen, metrics)
        return self._written(now, "HPA", seen, self.hpa_said)

    @staticmethod
    def _written(now: float, by: str, seen: Pods, decision: Decision) -> list[Written]:
        if decision.replicas is None or decision.replicas == seen.wanted:
            return []
        return [Written(now, by, seen.wanted, decision.replicas, decision.reason)]
