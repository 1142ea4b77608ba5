# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a formula of KEDA's scalingModifiers as expr-lang does, and makes pods of its result as KEDA and the HPA do.

Knows what the collection writes: names, numbers, + - * / > < ( ), max, min and C(a > b ? x : y).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?)|([A-Za-z_]\w*)|(.))")
_FUNCTIONS = {"max": max, "min": min}


class _Reader:
    """Recursive descent over the words of a formula."""

    def __init__(self, formula: str, readings: Mapping[str, float]) -> None:
        self.words = [next(filter(None, groups)) for groups in _TOKEN.findall(formula)]
        self.readings = readings

    def take(self, *wanted: str) -> str | None:
        """The next word if it is one of these."""
        return self.words.pop(0) if self.words and self.words[0] in wanted else None

    def need(self, word: str) -> None:
        """The next word must be this one."""
        assert self.take(word), f"{word!r} is missing before {self.words}"

    def choice(self) -> float:
        condition = self.comparison()
        if not self.take("?"):
            return condition
        yes = self.choice()
        self.need(":")
        no = self.choice()
        return yes if condition else no

    def comparison(self) -> float:
        left = self.sum()
        sign = self.take(">", "<")
        if sign is None:
            return left
        right = self.sum()
        return float(left > right if sign == ">" else left < right)

    def sum(self) -> float:
        found = self.product()
        while sign := self.take("+", "-"):
            found += self.product() if sign == "+" else -self.product()
        return found

    def product(self) -> float:
        found = self.value()
        while sign := self.take("*", "/"):
            found = found * self.value() if sign == "*" else found / self.value()
        return found

    def value(self) -> float:
        word = self.words.pop(0)
        if word == "(":
            found = self.choice()
            self.need(")")
            return found
        if word in _FUNCTIONS and self.take("("):
            arguments = [self.choice()]
            while self.take(","):
                arguments.append(self.choice())
            self.need(")")
            return float(_FUNCTIONS[word](arguments))
        return float(word) if word[0].isdigit() else float(self.readings[word])


def asked(formula: str, readings: Mapping[str, float]) -> float:
    """What a formula asks for. KEDA cuts it to thousandths (2.20)."""
    reader = _Reader(formula, readings)
    found = reader.choice()
    assert not reader.words, f"{formula!r} goes on after its end: {reader.words}"
    return math.floor(found * 1000) / 1000


def next_pods(wish: float, running: int) -> int:
    """Pods after one round of KEDA (from and to zero) and the HPA (target 1, tolerance of a tenth)."""
    if running == 0 or wish == 0:
        return int(wish > 0)
    return running if 0.9 <= wish / running <= 1.1 else math.ceil(wish)


def names_in(formula: str) -> set[str]:
    """The readings that a formula uses."""
    return set(re.findall(r"[A-Za-z_]\w*", formula)) - set(_FUNCTIONS)
