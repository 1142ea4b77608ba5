# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a formula of KEDA's scalingModifiers as expr-lang does (KEDA 2.20), and works it out.

Knows numbers, names of triggers, C(nil), + - * / ^, comparisons, C(and or not), C(a ? b : c), C(a ?? b), lists, and the
functions of L(FUNCTIONS). Every reading is a floating-point number, as KEDA hands them over.
"""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._check.formulas import tokens_of

#: A number, or nothing where the trigger has failed; comparisons give true or false.
Value: TypeAlias = "float | None"
Readings = Mapping[str, Value]
#: What works a formula out, and a part of one.
Worked = Callable[[Readings], Value]
_Step = Callable[[Readings], Any]

#: KEDA cuts a number to thousandths, towards zero.
_CUT = 1000
#: The sign of numbers that C(??) chooses between binds closest of all.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("or", "||"),
    ("and", "&&"),
    ("==", "!=", "<", ">", "<=", ">="),
    ("+", "-"),
    ("*", "/"),
)


class FormulaError(ValueError):
    """A formula that is none of ours, a reading that is not there, or a result that is no number."""


@dataclass(frozen=True)
class Literal:
    """A number as it is written; None is C(nil)."""

    value: Value
    text: str


@dataclass(frozen=True)
class Name:
    """The reading of a trigger."""

    name: str


@dataclass(frozen=True)
class Operation:
    """Two parts and the sign between them."""

    sign: str
    left: Part
    right: Part


@dataclass(frozen=True)
class Prefixed:
    """C(-), C(+) or C(not) before a part."""

    sign: str
    part: Part


@dataclass(frozen=True)
class Choice:
    """C(condition ? yes : no)."""

    condition: Part
    yes: Part
    no: Part


@dataclass(frozen=True)
class Call:
    """A function and what it is given."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Grouped:
    """A part in brackets."""

    part: Part


Part: TypeAlias = "Literal | Name | Operation | Prefixed | Choice | Call | Grouped"


def _rounded(number: float) -> float:
    """Halves go away from zero, as in Go."""
    return math.copysign(math.floor(abs(number) + 0.5), number)


#: Functions over any number of numbers, and over one.
_OF_MANY: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "min": min,
    "sum": math.fsum,
    "mean": statistics.fmean,
    "median": statistics.median,
}
_OF_ONE: dict[str, Callable[[float], float]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round": _rounded,
    "abs": abs,
    "int": math.trunc,
    "float": float,
}
FUNCTIONS = frozenset(_OF_MANY) | frozenset(_OF_ONE)
#: What works out two parts, by the sign between them.
_ARITHMETIC: dict[str, Callable[[_Step, _Step], _Step]] = {
    "+": lambda left, right: lambda readings: left(readings) + right(readings),
    "-": lambda left, right: lambda readings: left(readings) - right(readings),
    "*": lambda left, right: lambda readings: left(readings) * right(readings),
    "/": lambda left, right: lambda readings: left(readings) / right(readings),
    "^": lambda left, right: lambda readings: float(left(readings) ** right(readings)),
    "<": lambda left, right: lambda readings: left(readings) < right(readings),
    ">": lambda left, right: lambda readings: left(readings) > right(readings),
    "<=": lambda left, right: lambda readings: left(readings) <= right(readings),
    ">=": lambda left, right: lambda readings: left(readings) >= right(readings),
    "==": lambda left, right: lambda readings: left(readings) == right(readings),
    "!=": lambda left, right: lambda readings: left(readings) != right(readings),
    "or": lambda left, right: lambda readings: bool(left(readings)) or bool(right(readings)),
    "and": lambda left, right: lambda readings: bool(left(readings)) and bool(right(readings)),
    "??": lambda left, right: lambda readings: right(readings) if (first := left(readings)) is None else first,
}
_SAME = {"||": "or", "&&": "and"}
COMPARISONS = frozenset(_LEVELS[2])


class _Reader:
    """Recursive descent over the words of a formula."""

    def __init__(self, formula: str) -> None:
        self._words = [token.text for token in tokens_of(formula)]
        self._kinds = [token.kind for token in tokens_of(formula)]
        self._at = 0

    def whole(self) -> Part:
        """All of it."""
        found = self._choice()
        if self._at < len(self._words):
            raise FormulaError(f"{self._words[self._at]!r} comes too late")
        return found

    def _take(self, *wanted: str) -> str | None:
        if self._at < len(self._words) and self._words[self._at] in wanted:
            self._at += 1
            return self._words[self._at - 1]
        return None

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise FormulaError(f"{word!r} is missing")

    def _choice(self) -> Part:
        condition = self._level(0)
        if not self._take("?"):
            return condition
        yes = self._choice()
        self._need(":")
        return Choice(condition, yes, self._choice())

    def _level(self, number: int) -> Part:
        if number == len(_LEVELS):
            return self._prefixed()
        found = self._level(number + 1)
        while sign := self._take(*_LEVELS[number]):
            found = Operation(sign, found, self._level(number + 1))
        return found

    def _prefixed(self) -> Part:
        if sign := self._take("not", "!"):
            return Prefixed("not", self._level(3) if sign == "not" else self._prefixed())
        if sign := self._take("-", "+"):
            return Prefixed(sign, self._prefixed())
        base = self._chosen()
        return Operation("^", base, self._prefixed()) if self._take("^", "**") else base

    def _chosen(self) -> Part:
        found = self._value()
        while self._take("??"):
            sign = self._take("-", "+")
            other = self._value()
            found = Operation("??", found, Prefixed(sign, other) if sign else other)
        return found

    def _value(self) -> Part:
        if self._at >= len(self._words):
            raise FormulaError("it ends too early")
        word, kind = self._words[self._at], self._kinds[self._at]
        self._at += 1
        if word == "(":
            inner = self._choice()
            self._need(")")
            return Grouped(inner)
        if word == "[":
            return Call("list", self._parts("]"))
        if kind == "number":
            return Literal(_number(word), word)
        if word == "nil":
            return Literal(None, word)
        if kind != "name":
            raise FormulaError(f"{word!r} is where a value belongs")
        if not self._take("("):
            return Name(word)
        if word not in FUNCTIONS:
            raise FormulaError(f"the function {word!r} is not known here")
        return Call(word, self._parts(")"))

    def _parts(self, end: str) -> tuple[Part, ...]:
        found = [self._choice()]
        while self._take(","):
            found.append(self._choice())
        self._need(end)
        return tuple(found)


def _number(word: str) -> float:
    plain = word.replace("_", "")
    return float(int(plain, 16)) if plain[:2].lower() == "0x" else float(plain)


@functools.lru_cache(maxsize=512)
def parsed(formula: str) -> Part:
    """A formula as its parts.

    :raises FormulaError: if it is none that can be worked out here.
    """
    return _Reader(formula).whole()


def names_in(formula: str) -> set[str]:
    """The readings that a formula needs."""
    found: set[str] = set()

    def look(part: Part) -> None:
        if isinstance(part, Name):
            found.add(part.name)
        for inner in parts_of(part):
            look(inner)

    look(parsed(formula))
    return found


def parts_of(part: Part) -> tuple[Part, ...]:
    """What a part consists of."""
    if isinstance(part, Operation):
        return (part.left, part.right)
    if isinstance(part, Choice):
        return (part.condition, part.yes, part.no)
    if isinstance(part, (Prefixed, Grouped)):
        return (part.part,)
    return part.parts if isinstance(part, Call) else ()


@functools.lru_cache(maxsize=2048)
def compiled(part: Part) -> _Step:
    """What works a part out, again and again; L(worked) makes errors of what goes wrong in it."""
    if isinstance(part, Grouped):
        return compiled(part.part)
    if isinstance(part, Literal):
        number = part.value
        return lambda readings: number
    if isinstance(part, Name):
        return operator.itemgetter(part.name)
    if isinstance(part, Prefixed):
        inner = compiled(part.part)
        if part.sign == "not":
            return lambda readings: not inner(readings)
        return (lambda readings: -inner(readings)) if part.sign == "-" else inner
    if isinstance(part, Choice):
        condition, yes, no = compiled(part.condition), compiled(part.yes), compiled(part.no)
        return lambda readings: yes(readings) if condition(readings) else no(readings)
    if isinstance(part, Operation):
        return _ARITHMETIC[_SAME.get(part.sign, part.sign)](compiled(part.left), compiled(part.right))
    return _called(part)


def _called(part: Call) -> _Step:
    """What works out a function."""
    if part.name == "list":
        raise FormulaError("a list is where a number is needed")
    given: tuple[Part, ...] = part.parts
    if len(given) == 1 and isinstance(given[0], Call) and given[0].name == "list":
        given = given[0].parts
    steps = [compiled(item) for item in given]
    if part.name in _OF_ONE:
        if len(steps) != 1:
            raise FormulaError(f"{part.name} takes one number")
        one, first = _OF_ONE[part.name], steps[0]
        return lambda readings: float(one(first(readings)))
    many = _OF_MANY[part.name]
    if len(steps) == 2:
        left, right = steps
        return lambda readings: many((left(readings), right(readings)))
    return lambda readings: many([step(readings) for step in steps])


def cut(value: float) -> float:
    """A number as KEDA hands it over: in thousandths, what is beyond them cut off."""
    return int(value * _CUT) / _CUT


def worked(formula: str) -> Worked:
    """What works a whole formula out, cut as KEDA cuts it; nothing where the formula gives C(nil).

    :raises FormulaError: if it is none that can be worked out here.
    """
    step = compiled(parsed(formula))

    def result(readings: Readings) -> Value:
        try:
            found = step(readings)
            if isinstance(found, bool):
                raise FormulaError("its result is no number")
            return None if found is None else cut(found)
        except KeyError as error:
            raise FormulaError(f"{error.args[0]} was not read") from None
        except TypeError:
            raise FormulaError("a reading is missing where a number is needed") from None
        except ZeroDivisionError:
            raise FormulaError("it divides by zero") from None
        except OverflowError:
            raise FormulaError("its result is too large") from None

    return result
