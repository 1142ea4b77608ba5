# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulation of work that has been, beside the pods that there were then."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .results import Result


@dataclass(frozen=True)
class Replayed:
    """How far a simulation is from what was.

    :param samples: moments that were compared.
    :param equal: share of them with the same number of pods.
    :param apart: pods that they differ by on average.
    :param cost_off: by how much of the real pod-seconds the simulated ones differ; negative for too few.
    """

    title: str
    samples: int
    equal: float
    apart: float
    cost_off: float

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{self.title}: pods as they were in {self.equal * 100:.1f} % of {self.samples} samples, "
            f"{self.apart:.2f} apart on average, pod-hours off by {self.cost_off * 100:+.1f} %."
        )


def compared_with(result: Result, real: Sequence[tuple[float, float]]) -> Replayed | None:
    """A simulation beside the pods that there were; None where there is nothing to compare.

    :param real: seconds after the start, and pods.
    """
    within = [(at, pods) for at, pods in real if 0 <= at <= result.seconds]
    if not within:
        return None
    times = [one.at for one in result.changes]
    first = result.series.wanted[0] if result.series.wanted else 0
    wanted = [first, *(one.replicas for one in result.changes)]
    pairs = [(wanted[bisect_right(times, at)], pods) for at, pods in within]
    total = sum(pods for _other, pods in pairs)
    return Replayed(
        result.title,
        len(pairs),
        sum(simulated == pods for simulated, pods in pairs) / len(pairs),
        sum(abs(simulated - pods) for simulated, pods in pairs) / len(pairs),
        (sum(simulated for simulated, _other in pairs) - total) / total if total else 0.0,
    )
