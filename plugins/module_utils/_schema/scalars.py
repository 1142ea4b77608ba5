# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that turn one inventory value into a typed one, or say what to write instead.

A check is called with the tree node that holds the value. It returns the value, or notes a problem and
returns L(INVALID), so that reading goes on and all problems come together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from .layers import Leaf, Node, elements, items, plain
from .problems import Problems, nearest, suggest


class Invalid:
    """Stands for a value that was refused."""


INVALID = Invalid()

#: Unit of a number, for the key reference.
SECONDS = "seconds"

#: What templating makes of booleans: C(True), C(yes) and the like arrive as text.
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_INTEGER = re.compile(r"^[+-]?\d{1,18}$")


class Check(Protocol):
    """One rule for one value."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The typed value, or L(INVALID) after noting a problem."""

    def describe(self) -> str:
        """The rule in a few words, for messages and for the key reference."""


#: Stands for a secret at a place where none belongs. Whatever holds it is refused.
MISPLACED = "REMOVED:SECRET"

#: Stand for a secret that would not arrive as it was meant. Modules do not see its value, only what is wrong with it.
NUMBER, BOOLEAN, DATE, NO_TEXT = (f"{MISPLACED}:{fault}" for fault in ("NUMBER", "BOOLEAN", "DATE", "NO TEXT"))
LINE_BREAK, WHITE_SPACE = f"{MISPLACED}:LINE BREAK", f"{MISPLACED}:WHITE SPACE"
REFERENCE = f"{MISPLACED}:REFERENCE"
SECRET_FAULTS = {
    NUMBER: "YAML reads this secret as a number, which changes it (a leading 0 means octal); write it in quotes.",
    BOOLEAN: "YAML reads this secret as true or false and not as text; write it in quotes.",
    DATE: "YAML reads this secret as a date, which changes it; write it in quotes.",
    NO_TEXT: "this secret is a list or a dict, and must be text; write it in quotes.",
    LINE_BREAK: "this secret ends with a line break, which would become part of it. In a vault: encrypt it again with "
    "printf %s instead of echo (printf %s 'the secret' | ansible-vault encrypt_string). In YAML: write |- and not |.",
    WHITE_SPACE: "this secret begins or ends with white space, which KEDA cuts off and Celery keeps; write it without.",
    REFERENCE: "$(NAME) is expanded in env only, and a secret is kept in a Secret, where these letters would be the "
    "secret itself. Write its value, or name the existing Secret that holds it with secret.",
}


def show(node: Node) -> str:
    """A value as a message shows it: short, and never the whole of a long one."""
    text = repr(plain(node))
    return text if len(text) <= 60 else f"{text[:57]}..."


def refuse(check: Check, node: Node, problems: Problems, near: str = "") -> Invalid:
    """Note that a value does not follow its rule.

    :param near: the value that was probably meant.
    """
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, str) and value in SECRET_FAULTS:
        problems.add(node.path, SECRET_FAULTS[value])
        return INVALID
    hidden = value == MISPLACED
    shown = "the value (hidden, it may be a secret)" if hidden else show(node)
    meant = f"did you mean {near!r}? Write" if near else "write"
    problems.add(node.path, f"{shown} is not valid here; {meant} {check.describe()}.")
    return INVALID


def as_integer(node: Node) -> int | None:
    """The whole number a node holds; text that templating made of one counts, a YAML boolean does not."""
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER.match(value.strip()):
        return int(value)
    return None


def as_flag(node: Node) -> bool | None:
    """The boolean a node holds, also as the text that templating made of it."""
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, bool):
        return value
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds. The unit is for people."""

    minimum: int = 0
    maximum: int = 2**31 - 1
    unit: str = ""

    def __call__(self, node: Node, problems: Problems) -> int | Invalid:
        """The number."""
        number = as_integer(node)
        if number is None or not self.minimum <= number <= self.maximum:
            return refuse(self, node, problems)
        return number

    def describe(self) -> str:
        """Bounds and unit."""
        upper = f" to {self.maximum}" if self.maximum < 2**31 - 1 else " or more"
        return f"a whole number, {self.minimum}{upper}{f' ({self.unit})' if self.unit else ''}"


@dataclass(frozen=True)
class Number:
    """A number with or without a fraction: from a thousandth, or 0 where that is said, to three years of seconds."""

    unit: str
    minimum: float = 0.001
    maximum: float = 1e8

    def __call__(self, node: Node, problems: Problems) -> float | Invalid:
        """The number."""
        value = node.value if isinstance(node, Leaf) else None
        try:
            number = math.nan if isinstance(value, bool) or value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and self.minimum <= number <= self.maximum):
            return refuse(self, node, problems)
        return number

    def describe(self) -> str:
        """Unit."""
        return f"a number from {self.minimum:g} to {self.maximum:.0f} ({self.unit})"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def __call__(self, node: Node, problems: Problems) -> bool | Invalid:
        """The boolean."""
        flag = as_flag(node)
        return refuse(self, node, problems) if flag is None else flag

    def describe(self) -> str:
        """Always the same."""
        return "true or false"


@dataclass(frozen=True)
class Text:
    """Text that follows a pattern.

    :param rule: the pattern in words.
    """

    rule: str = "text that is not empty"
    pattern: str = r".+"
    maximum: int = 4096

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The text."""
        value = node.value if isinstance(node, Leaf) else None
        if not isinstance(value, str) or len(value) > self.maximum or not self._compiled.fullmatch(value):
            return refuse(self, node, problems)
        return str(value)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.DOTALL)

    def describe(self) -> str:
        """The rule."""
        return self.rule


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The word."""
        value = node.value if isinstance(node, Leaf) else None
        # YAML reads the word none as text but off, no and false as booleans.
        word = "none" if value is False and "none" in self.values else value
        if not isinstance(word, str) or word not in self.values:
            near = nearest(word, filter(None, self.values)) if isinstance(word, str) and word else ""
            return refuse(self, node, problems, near)
        return str(word)

    def describe(self) -> str:
        """The words."""
        return f"one of {', '.join(self.values)}"


@dataclass(frozen=True)
class ListOf:
    """A list, each element checked; the result is a tuple."""

    check: Check
    unique: bool = False
    minimum: int = 0

    def __call__(self, node: Node, problems: Problems) -> tuple[Any, ...] | Invalid:
        """The elements."""
        if not isinstance(node, Leaf) or not isinstance(node.value, (list, tuple)) or len(node.value) < self.minimum:
            return refuse(self, node, problems)
        values = [self.check(element, problems) for element in elements(node)]
        if any(isinstance(value, Invalid) for value in values):
            return INVALID
        if self.unique:
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                problems.add(node.path, f"{', '.join(twice)} is written here more than once; write it once.")
                return INVALID
        return tuple(values)

    def describe(self) -> str:
        """What the elements are."""
        return f"a list{' of at least one element' if self.minimum else ''}, each {self.check.describe()}"


@dataclass(frozen=True)
class MapOf:
    """A dict with free keys, keys and values checked."""

    key: Check
    value: Check
    forbidden: Callable[[str], str | None] | None = None

    def __call__(self, node: Node, problems: Problems) -> dict[str, Any] | Invalid:
        """The dict, in the order written."""
        if isinstance(node, Leaf) and not isinstance(node.value, Mapping):
            return refuse(self, node, problems)
        result: dict[str, Any] = {}
        valid = True
        for name, child in items(node):
            key = self.key(Leaf(name, child.path), problems)
            value = self.value(child, problems)
            reason = self.forbidden(name) if self.forbidden else None
            if reason:
                problems.add(child.path, reason)
            if reason or isinstance(key, Invalid) or isinstance(value, Invalid):
                valid = False
            else:
                result[key] = value
        return result if valid else INVALID

    def describe(self) -> str:
        """What keys and values are."""
        return f"a dict whose keys are {self.key.describe()} and whose values are {self.value.describe()}"


@dataclass(frozen=True)
class Plain:
    """Plain data of any shape that JSON can hold."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The data."""
        value = plain(node)
        return value if _is_json(value) else refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return "plain data (text, numbers, booleans, lists, dicts)"


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_json(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int))


def unknown_key(owner: str, name: str, path: str, known: set[str], problems: Problems) -> None:
    """Note a key that nothing reads, with the nearest one that something does.

    :param owner: what lacks it, as a sentence begins: ``a variant``.
    """
    problems.add(path, f"{owner} has no {name!r}; {suggest(name, known)}")
    near = nearest(name, known)
    if near:
        problems.meant.add(f"{path.removesuffix(name)}{near}")


def text_of(value: Any) -> str:
    """A value of the inventory as the text that a Secret holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
