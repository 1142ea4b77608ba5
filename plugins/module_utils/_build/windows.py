# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits for some time: cron triggers of KEDA's, and what they say in a formula.

Outside of its time KEDA's cron reads 0 since 2.18 and 1 before, so beside a formula every reading of a time is 2 or
more, and the formula asks whether it is above 1. How many pods that means, the formula says itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._model.schedules import MISSED_CEILING, MISSED_FLOOR, ScheduleWindow

#: Patterns of the names of triggers in whose time no pod starts, or none above a number.
PAUSE_TRIGGERS, CEILING_TRIGGERS = "schedule_[0-9]+_pause", "schedule_[0-9]+_ceiling"
#: A change that the HPA acts on, whose tolerance is a tenth.
_BEYOND = 1.101
#: Where a term has no limit: max_replicas ends there.
_NO_LIMIT = 10000


def cron_trigger(name: str, start: str, end: str, timezone: str, pods: int, in_formula: bool = True) -> dict[str, Any]:
    """A time in which a trigger reads a number of pods.

    :param in_formula: whether a formula reads it; else the HPA does.
    """
    desired = max(2, pods) if in_formula else pods
    metadata = {"timezone": timezone, "start": start, "end": end, "desiredReplicas": str(desired)}
    return {"type": "cron", "name": name, "metadata": metadata}


def floor_term(name: str, pods: int, is_exact: bool) -> str:
    """Pods that there are at least in a time.

    A tenth more than is there, until it is reached, where the HPA would take it for as good as reached.

    :param is_exact: whether the HPA acts on each pod, or the formula cannot read how many there are.
    """
    plain = is_exact or pods < MISSED_FLOOR
    return f"({name} > 1 ? {pods if plain else f'(pods < {pods} ? max({pods}, pods * {_BEYOND}) : {pods})'} : 0)"


@dataclass(frozen=True)
class Windows:
    """The schedule of a variant as its scaler reads it.

    :param exact_up: whether the HPA acts on each pod more, also where that is a tenth or less.
    :param exact_down: the same of each pod less.
    """

    schedule: tuple[ScheduleWindow, ...]
    exact_up: bool = False
    exact_down: bool = False

    @property
    def triggers(self) -> tuple[dict[str, Any], ...]:
        """One trigger for each window."""
        return tuple(
            cron_trigger(name, window.start, window.end, window.timezone, window.floor)
            for name, window in self._named()
        )

    @property
    def floors(self) -> list[str]:
        """Terms that ask for pods."""
        return [floor_term(name, window.floor, self.exact_up) for name, window in self._named() if window.floor]

    @property
    def ceilings(self) -> list[str]:
        """Numbers that what is asked for must not pass."""
        return [
            f"({name} > 1 ? {self._ceiling(window.ceiling, window.floor or 0)} : {_NO_LIMIT})"
            for name, window in self._named()
            if window.ceiling is not None
        ]

    @property
    def reads_pods(self) -> bool:
        """Whether its terms read the number of pods."""
        return any("pods" in term for term in (*self.floors, *self.ceilings))

    def _named(self) -> Iterable[tuple[str, ScheduleWindow]]:
        for number, window in enumerate(self.schedule):
            ceiling = window.ceiling
            kind = "" if ceiling is None else "_ceiling" if ceiling else "_pause"
            yield f"schedule_{number}{kind}", window

    def _ceiling(self, pods: int, floor: int) -> str:
        """A ceiling that the HPA does not take for as good as kept.

        It makes no way for a floor of the same window: where the HPA acts on neither one pod more nor one pod less,
        there is rather one too many.
        """
        below = str(pods)
        if not self.exact_up and floor >= MISSED_FLOOR and pods < floor * _BEYOND:
            below = f"(pods < {floor} ? max({pods}, pods * {_BEYOND}) : {pods})"
        if self.exact_down or pods < MISSED_CEILING:
            return below
        above = f"min({pods}, pods * 0.899)"
        return f"(pods > {pods} ? {f'max({floor}, {above})' if floor else above} : {below})"
