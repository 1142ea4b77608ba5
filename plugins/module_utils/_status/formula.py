# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out a formula as KEDA does, and writes it with its numbers in place.

Knows what the collection sends: names, numbers, + - * /, comparisons, C(a > b ? x : y), max and min (expr-lang).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .data import Formula

_WORD = re.compile(r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[<>=!]=|.))", re.DOTALL)
_FUNCTIONS: dict[str, Callable[..., float]] = {"max": max, "min": min}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
#: KEDA cuts the result to thousandths (2.20).
_CUT = 1000


class FormulaError(ValueError):
    """A formula that is none of ours, or a reading that is not there."""


@dataclass(frozen=True)
class _Part:
    """A part of a formula.

    :param is_one: whether it is shown as one number: a reading, a sum of readings, or a bound of one.
    """

    value: float
    text: str
    is_one: bool = False
    is_plain: bool = False


def number(value: float) -> str:
    """A number as people write it."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _one(value: float) -> _Part:
    return _Part(value, number(value), is_one=True)


class _Reader:
    """Recursive descent over the words of a formula."""

    def __init__(self, formula: str, readings: Mapping[str, float]) -> None:
        self._words = [match.group(match.lastgroup or 0) for match in _WORD.finditer(formula.strip())]
        self._readings = readings

    def whole(self) -> _Part:
        """All of it."""
        found = self._choice()
        if self._words:
            raise FormulaError(f"{self._words[0]!r} comes too late")
        return found

    def _take(self, *wanted: str) -> str | None:
        return self._words.pop(0) if self._words and self._words[0] in wanted else None

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise FormulaError(f"{word!r} is missing")

    def _choice(self) -> _Part:
        condition = self._comparison()
        if not self._take("?"):
            return condition
        yes = self._choice()
        self._need(":")
        no = self._choice()
        value = yes.value if condition.value else no.value
        return _Part(value, f"{condition.text} ? {yes.text} : {no.text}")

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._take(*_COMPARISONS)
        if sign is None:
            return left
        right = self._sum()
        return _Part(float(_COMPARISONS[sign](left.value, right.value)), f"{left.text} {sign} {right.text}")

    def _sum(self) -> _Part:
        found = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = found.value + other.value if sign == "+" else found.value - other.value
            # What is only added up is one number: the lists of a queue, say.
            joined = found.is_one and other.is_one
            found = _one(value) if joined else _Part(value, f"{found.text} {sign} {other.text}")
        return found

    def _product(self) -> _Part:
        found = self._value()
        while sign := self._take("*", "/"):
            other = self._value()
            if sign == "/" and not other.value:
                raise FormulaError("it divides by zero")
            value = found.value * other.value if sign == "*" else found.value / other.value
            found = _Part(value, f"{found.text}{sign}{other.text}")
        return found

    def _value(self) -> _Part:
        if not self._words:
            raise FormulaError("it ends too early")
        word = self._words.pop(0)
        if word == "(":
            inner = self._choice()
            self._need(")")
            return inner if inner.is_one else _Part(inner.value, f"({inner.text})")
        if word in _FUNCTIONS and self._take("("):
            return self._call(word)
        if word[0].isdigit():
            return _Part(float(word), word, is_one=True, is_plain=True)
        if word not in self._readings:
            raise FormulaError(f"{word} was not read")
        return _one(float(self._readings[word]))

    def _call(self, name: str) -> _Part:
        parts = [self._choice()]
        while self._take(","):
            parts.append(self._choice())
        self._need(")")
        value = float(_FUNCTIONS[name](*[part.value for part in parts])) if len(parts) > 1 else parts[0].value
        # A bound on one reading, such as at least one pod, is that number.
        if all(part.is_one for part in parts) and any(part.is_plain for part in parts):
            return _one(value)
        return _Part(value, f"{name}({', '.join(part.text for part in parts)})")


def worked_out(formula: str, readings: Mapping[str, float], least: int, most: int) -> Formula:
    """A formula with its numbers, its result, and the pods that KEDA and the HPA make of it.

    :param readings: by the name that they have in the formula.
    :raises FormulaError: if a reading is missing, or if it is not a formula of ours.
    """
    whole = _Reader(formula, readings).whole()
    result = math.floor(whole.value * _CUT) / _CUT
    unlimited = max(0, math.ceil(result))
    return Formula(whole.text, result, min(max(unlimited, least), most), unlimited)


def in_words(formula: Formula, most: int) -> str:
    """The formula, its result and the pods, in one line; empty where nothing is known."""
    if formula.result is None:
        return ""
    return f"{formula.text} = {number(formula.result)} → {formula.wants} of {most}"


def names_in(formula: str) -> set[str]:
    """The readings that a formula needs."""
    return {match["name"] for match in _WORD.finditer(formula) if match["name"]} - set(_FUNCTIONS)
