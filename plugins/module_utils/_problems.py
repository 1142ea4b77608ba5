# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: how the collection says what is wrong with an inventory.

A run reports all problems at once, so nothing raises at the first one: every check writes
into one L(Problems) collector, and the model raises at the end.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend.

    :param path: where it was written, as the user knows it: ``celery_workers_config.lms.high.max_replicas``.
    :param message: what is wrong and what to write instead, in one sentence or two.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InventoryError(Exception):
    """The inventory cannot be used. Carries every problem that was found, in a stable order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys(problems))
        super().__init__(describe_problems(self.problems))


@dataclass
class Problems:
    """Collects problems and warnings while the inventory is read."""

    found: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Note a problem and go on."""
        self.found.append(Problem(path, message))

    def warn(self, path: str, message: str) -> None:
        """Note something that works but that the user should know of."""
        self.warnings.append(f"{path}: {message}")

    def raise_any(self) -> None:
        """:raises InventoryError: if anything was noted."""
        if self.found:
            raise InventoryError(self.found)


def describe_problems(problems: Iterable[Problem]) -> str:
    """All problems as one text for a person: a count, then one line each."""
    lines = [str(problem) for problem in problems]
    if len(lines) == 1:
        return f"The inventory has 1 problem.\n{lines[0]}"
    return "\n".join(
        [f"The inventory has {len(lines)} problems.", *(f"{n}. {line}" for n, line in enumerate(lines, 1))]
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """A half sentence that leads from a mistyped name to the right one.

    The nearest known name if one is near, else all of them while they are few enough to read.
    """
    candidates = sorted(set(known))
    near = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if len(candidates) > 12:
        return "no known name is like it; the key reference lists them all."
    return f"known here: {', '.join(candidates)}." if candidates else "nothing is known here."
