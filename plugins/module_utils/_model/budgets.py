# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A number of pods that variants share, such as those that a database has connections for."""

from __future__ import annotations

from dataclasses import dataclass

from .._schema.counted import counted
from .._schema.keys import key
from .._schema.scalars import Integer, Text


@dataclass(frozen=True)
class Budget:
    """What a variant has to do with the others of its budget."""

    name: str = key(
        Text("a name of letters, digits, '-' and '_'", r"[A-Za-z0-9][A-Za-z0-9_-]*", 63),
        "Name of the budget. All variants of the fleet that name it share its pods. Required.",
        "",
    )
    pods: int = key(Integer(1, 10000), "Pods of all its variants together. Required; the same on each of them.", 0)
    reserve: int = key(
        Integer(1, 10000),
        "Pods that only this variant may use. At least O(min_replicas), also those of its O(schedule).",
        1,
    )

    def words(self, reserve: int) -> str:
        """What it does for a variant, as a sentence without its point.

        :param reserve: pods that are kept for the variant.
        """
        return f"Of the {counted(self.pods, 'pod')} of budget {self.name} its part, {reserve} at least"
