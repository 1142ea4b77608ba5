# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of the Common Expression Language as admission policies of this collection use, evaluated over plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:(?P<text>'[^']*')|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||==|!=|[][(){}.,?:!]))")
#: What an expression is once it is read.
Value = Callable[[Mapping[str, Any]], Any]


class CelError(Exception):
    """An expression that cannot be read, or that fails."""


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """The value of an expression.

    :raises CelError: if it has none.
    """
    reader = _Reader(expression)
    value = reader.choice()
    if reader.peek():
        raise CelError(f"{reader.peek()!r} is left of {expression!r}")
    return value(variables)


def _tokens(expression: str) -> list[str]:
    found, place, text = [], 0, expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise CelError(f"cannot read {text[place:]!r}")
        found.append(match[0].strip())
        place = match.end()
    return found


class _Reader:
    def __init__(self, expression: str) -> None:
        self._left = _tokens(expression)

    def peek(self) -> str:
        return self._left[0] if self._left else ""

    def take(self, wanted: str = "") -> str:
        if not self._left or wanted not in ("", self._left[0]):
            raise CelError(f"expected {wanted or 'more'}, found {self.peek()!r}")
        return self._left.pop(0)

    def skip(self, wanted: str) -> bool:
        if self.peek() == wanted:
            self.take()
            return True
        return False

    def choice(self) -> Value:
        condition = self._either()
        if not self.skip("?"):
            return condition
        yes = self.choice()
        self.take(":")
        no = self.choice()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    def _either(self) -> Value:
        parts = [self._both()]
        while self.skip("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda scope: any(part(scope) for part in parts)

    def _both(self) -> Value:
        parts = [self._relation()]
        while self.skip("&&"):
            parts.append(self._relation())
        return parts[0] if len(parts) == 1 else lambda scope: all(part(scope) for part in parts)

    def _relation(self) -> Value:
        one = self._unary()
        if self.peek() not in ("==", "!=", "in"):
            return one
        sign, other = self.take(), self._unary()
        return {
            "==": lambda scope: one(scope) == other(scope),
            "!=": lambda scope: one(scope) != other(scope),
            "in": lambda scope: one(scope) in other(scope),
        }[sign]

    def _unary(self) -> Value:
        if self.skip("!"):
            inner = self._unary()
            return lambda scope: not inner(scope)
        value = self._primary()
        while self.peek() in (".", "["):
            value = self._member(value) if self.take() == "." else self._item(value)
        return value

    def _member(self, owner: Value) -> Value:
        name = self.take()
        if name == "all" and self.skip("("):
            variable = self.take()
            self.take(",")
            holds = self.choice()
            self.take(")")
            return lambda scope: all(holds({**scope, variable: item}) for item in owner(scope))
        return lambda scope: _field(owner(scope), name)

    def _item(self, owner: Value) -> Value:
        key = self.choice()
        self.take("]")
        return lambda scope: _field(owner(scope), key(scope))

    def _primary(self) -> Value:
        token = self.take()
        if token.startswith("'"):
            return lambda _scope: token[1:-1]
        if token == "(":
            value = self.choice()
            self.take(")")
            return value
        if token == "[":
            items = []
            while not self.skip("]"):
                items.append(self.choice())
                self.skip(",")
            return lambda scope: [item(scope) for item in items]
        if token == "{":
            self.take("}")
            return lambda _scope: {}
        if token == "has" and self.skip("("):
            value = self.choice()
            self.take(")")
            return lambda scope: _is_there(value, scope)
        return lambda scope: _field(scope, token)


def _field(owner: Any, name: Any) -> Any:
    if not isinstance(owner, Mapping) or name not in owner:
        raise CelError(f"no such key: {name}")
    return owner[name]


def _is_there(value: Value, scope: Mapping[str, Any]) -> bool:
    try:
        value(scope)
    except CelError:
        return False
    return True
