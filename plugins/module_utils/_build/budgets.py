# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Budgets: variants that share a number of pods, without anything that decides for all of them.

Each scaler sees the pods of all, and may add its part of what is free: the parts of all together are what is free, so
all may rise at the same moment. To take whatever the others leave would overshoot then (simulated: 40 above 10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._model.fleet import Fleet, Variant
from .._model.observed import NOTHING, Observed
from .pod_triggers import identifiers, pods_trigger
from .workers import selector_of

#: What the names of triggers begin with that count the pods of others.
BUDGET_READING = "budget_of_"


@dataclass(frozen=True)
class Member:
    """Another variant of the budget.

    :param reading: name of the trigger that counts its pods.
    """

    reading: str
    deployment: str
    selector: dict[str, str]
    reserve: int


@dataclass(frozen=True)
class Share:
    """What a variant may have of a budget.

    :param place: which part of what is free it may add, where that is no whole number for each: the highest place has
        the largest part, so that it can fill the budget to the last pod.
    """

    pods: int
    reserve: int
    place: int
    others: tuple[Member, ...]

    @property
    def triggers(self) -> tuple[dict[str, Any], ...]:
        """What counts the pods of the others."""
        return tuple(pods_trigger(member.reading, member.selector) for member in self.others)

    @property
    def limit(self) -> str:
        """Pods that the variant may have, as a term of its formula.

        Pods that are kept for a variant count as used, whether they are there or not.
        """
        members = len(self.others) + 1
        if members == 1:
            return str(self.pods)
        used = [("pods", self.reserve), *((member.reading, member.reserve) for member in self.others)]
        free = " - ".join([str(self.pods), *(f"max({reading}, {reserve})" for reading, reserve in used)])
        part = f"floor(({free}{f' + {self.place}' if self.place else ''}) / {members})"
        return f"max({self.reserve}, pods + {part})"


def members_of(fleet: Fleet, name: str) -> list[Variant]:
    """The variants that share a budget."""
    budgets = ((variant, variant.scaling.budget) for variant in fleet.variants if variant.uses_keda)
    return [variant for variant, budget in budgets if budget is not None and budget.name == name]


def share_of(fleet: Fleet, variant: Variant, observed: Observed = NOTHING) -> Share | None:
    """What a variant may have of its budget; None without one."""
    budget = variant.scaling.budget
    if budget is None:
        return None
    members = members_of(fleet, budget.name)
    places = [(member.service, member.name) for member in members]
    # Between them stands what no name holds: a_b.c is not a.b_c.
    words = identifiers(map("/".join, places))
    others = tuple(
        Member(
            f"{BUDGET_READING}{words[f'{member.service}/{member.name}']}",
            member.deployment,
            selector_of(fleet, member, observed),
            member.reserve,
        )
        for member in members
        if (member.service, member.name) != (variant.service, variant.name)
    )
    # The first of the inventory has the highest place.
    place = len(members) - 1 - places.index((variant.service, variant.name))
    return Share(budget.pods, variant.reserve, place, others)
