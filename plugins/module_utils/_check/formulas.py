# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a formula of KEDA's scalingModifiers (expr-lang, as in KEDA 2.20) well enough to find mistakes."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class _Token:
    """A word of a formula.

    :param kind: number, text, name, pointer, open, close or operator; C(wrong) for what the language does not have.
    """

    kind: str
    text: str
    position: int


# The language of github.com/expr-lang/expr, as far as formulas need it.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>0[xX][0-9A-Fa-f_]+|([0-9][0-9_]*(\.(?!\.)[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?)
    |(?P<text>"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`)
    |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    |(?P<pointer>\#[A-Za-z0-9_]*)
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])
    |(?P<operator>\?\?|\?\.|\?:|\*\*|\.\.|&&|\|\||[=!<>]=|[-+*/%^<>!?:,;.|=])
    |(?P<wrong>.)""",
    re.VERBOSE | re.DOTALL,
)
_PAIR = {"(": ")", "[": "]", "{": "}"}
_WORD_VALUES = {"true", "false", "nil"}
_WORD_OPERATORS = {"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith"}
WORDS = _WORD_VALUES | _WORD_OPERATORS | {"let", "if", "else"}
#: Functions that make a number of numbers, or of a list of them.
FUNCTIONS = {
    *("abs", "ceil", "floor", "round", "int", "float", "max", "min", "mean", "median", "sum"),
    *("all", "any", "one", "none", "count", "filter", "map", "reduce", "first", "last", "len", "get"),
    *("find", "findLast", "now", "date", "duration", "bitand", "bitor"),
}


def tokens_of(formula: str) -> list[_Token]:
    return [
        _Token(str(match.lastgroup), match[0], match.start() + 1)
        for match in _TOKEN.finditer(formula)
        if match.lastgroup != "space"
    ]


def writing_fault(tokens: list[_Token]) -> str:
    """What is no part of the language, or a bracket without its other half; empty if nothing is."""
    opened: list[_Token] = []
    for token in tokens:
        if token.kind == "wrong":
            return f"a formula has no {token.text!r} (character {token.position})."
        if token.kind == "open":
            opened.append(token)
        elif token.kind == "close":
            if not opened or _PAIR[opened[-1].text] != token.text:
                return f"the {token.text!r} at character {token.position} closes nothing."
            opened.pop()
    if opened:
        return f"the {opened[-1].text!r} at character {opened[-1].position} is never closed."
    return ""


def order_fault(tokens: list[_Token]) -> str:
    """Two values without an operator between them, or an operator without a value.

    Only plain arithmetic is looked at: blocks and variables of the language have an order of their own.
    """
    if any(token.kind in ("text", "pointer") or token.text in ("{", "let", "if", "else") for token in tokens):
        return ""
    before = _Token("operator", "", 0)
    for token in tokens:
        if not _may_follow(before, token):
            return f"{token.text!r} at character {token.position} is where {_expected(before)} belongs."
        before = token
    return f"the formula ends after {before.text!r}; a value is missing." if not _ends_value(before) else ""


def _ends_value(token: _Token) -> bool:
    if token.kind == "name":
        return token.text not in _WORD_OPERATORS
    return token.kind in ("number", "close")


def _expected(before: _Token) -> str:
    return "an operator" if _ends_value(before) else "a value"


def _may_follow(before: _Token, token: _Token) -> bool:
    after_value = _ends_value(before)
    if token.kind == "number" or (token.kind == "name" and token.text not in _WORD_OPERATORS):
        return not after_value
    if token.text == "(":
        return not after_value or before.kind == "name"
    if token.text == "[":
        return True
    if token.kind == "close":
        # Calls and lists may be empty, and end in a comma.
        return after_value or before.kind == "open" or before.text == ","
    if token.text in ("-", "+", "!", "not", ":"):
        return True
    return after_value or (token.text == "in" and before.text == "not")


def names_of(tokens: list[_Token]) -> tuple[set[str], set[str]]:
    """What a formula names and what it calls, without its own variables and members."""
    names: set[str] = set()
    functions: set[str] = set()
    own: set[str] = set()
    for number, token in enumerate(tokens):
        before = tokens[number - 1].text if number else ""
        after = tokens[number + 1].text if number + 1 < len(tokens) else ""
        if token.kind != "name" or token.text in WORDS or before in (".", "?."):
            continue
        (own if before == "let" else functions if after == "(" else names).add(token.text)
    return names - own, functions
