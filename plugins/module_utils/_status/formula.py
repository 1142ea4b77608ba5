# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out a formula as KEDA does, and writes it with its numbers in place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._simulation.formula import (
    COMPARISONS,
    Call,
    Choice,
    FormulaError,
    Grouped,
    Literal,
    Name,
    Operation,
    Part,
    Readings,
    compiled,
    names_in,
    parsed,
    parts_of,
    worked,
)
from .data import Formula

__all__ = ["FormulaError", "in_words", "names_in", "number", "worked_out"]


@dataclass(frozen=True)
class _Shown:
    """A part of a formula with its numbers.

    :param is_one: whether it is shown as one number: a reading, a sum of readings, or a bound of one.
    """

    text: str
    is_one: bool = False
    is_plain: bool = False


def number(value: float) -> str:
    """A number as people write it."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _shown(part: Part, readings: Readings) -> _Shown:
    """A part with its numbers in place."""
    chosen = _chosen(part, readings)
    if chosen is not None:
        return _shown(chosen, readings)
    inner = [_shown(item, readings) for item in parts_of(part)]
    if isinstance(part, Literal):
        return _Shown(part.text, is_one=True, is_plain=True)
    if isinstance(part, Name) or _is_one(part, inner):
        return _Shown(number(compiled(part)(readings) or 0), is_one=True)
    if isinstance(part, Grouped):
        return _Shown(f"({inner[0].text})")
    if isinstance(part, Choice):
        return _Shown(f"{inner[0].text} ? {inner[1].text} : {inner[2].text}")
    if isinstance(part, Call):
        return _Shown(f"{part.name}({', '.join(item.text for item in inner)})")
    if isinstance(part, Operation):
        space = " " if part.sign in ("+", "-", "??", "and", "or", "&&", "||", *COMPARISONS) else ""
        return _Shown(f"{inner[0].text}{space}{part.sign}{space}{inner[1].text}")
    return _Shown(f"{part.sign} {inner[0].text}" if part.sign == "not" else f"{part.sign}{inner[0].text}")


def _chosen(part: Part, readings: Readings) -> Part | None:
    """What is left of a part that asks whether there is a reading; None for one that does not ask."""
    inner = part.part if isinstance(part, Grouped) else part
    if isinstance(inner, Choice) and _asks_for_a_reading(inner.condition):
        return inner.yes if compiled(inner.condition)(readings) else inner.no
    if isinstance(inner, Operation) and inner.sign == "??":
        return inner.right if compiled(inner.left)(readings) is None else inner.left
    return None


def _asks_for_a_reading(part: Part) -> bool:
    """Whether a condition asks if there is a reading at all, so that only what follows from it is shown."""
    if isinstance(part, Literal):
        return part.value is None
    if isinstance(part, Operation) and part.sign == "??":
        return True
    return any(map(_asks_for_a_reading, parts_of(part)))


def _is_one(part: Part, inner: list[_Shown]) -> bool:
    """Whether a part is one number for people."""
    if not inner or not all(item.is_one for item in inner):
        return False
    if isinstance(part, Call):
        # A bound on one reading, such as at least one pod, is that number.
        return part.name in ("max", "min") and any(item.is_plain for item in inner)
    # What is only added up is one number: the lists of a queue, say.
    return isinstance(part, Grouped) or (isinstance(part, Operation) and part.sign in ("+", "-"))


def worked_out(formula: str, readings: Readings, least: int, most: int) -> Formula:
    """A formula with its numbers, its result, and the pods that KEDA and the HPA make of it.

    :param readings: by the name that they have in the formula; None for one that has failed.
    :raises FormulaError: if a reading is missing, or if it is not a formula of ours.
    """
    result = worked(formula)(readings) or 0.0
    unlimited = max(0, math.ceil(result))
    return Formula(_shown(parsed(formula), readings).text, result, min(max(unlimited, least), most), unlimited)


def in_words(formula: Formula, most: int) -> str:
    """The formula, its result and the pods, in one line; empty where nothing is known."""
    if formula.result is None:
        return ""
    return f"{formula.text} = {number(formula.result)} → {formula.wants} of {most}"
