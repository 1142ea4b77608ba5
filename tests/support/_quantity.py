# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource quantities: parsing, and the canonical form that a server stores (`0.5` becomes `500m`)."""

from __future__ import annotations

import math
import re
from fractions import Fraction

PATTERN_MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

_QUANTITY = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][-+]?[0-9]+)?$")
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NANO = 10**9


def parse(text: str) -> tuple[Fraction, str]:
    """The value and the suffix as written; ValueError when it is no quantity."""
    match = _QUANTITY.match(text.strip())
    if match is None:
        raise ValueError(PATTERN_MESSAGE)
    number, suffix = Fraction(match[1]), match[2] or ""
    if suffix in _BINARY:
        value = number * Fraction(1024) ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        value = number * Fraction(1000) ** _DECIMAL[suffix]
    else:
        value = number * Fraction(10) ** int(suffix[1:])
    # A server keeps nothing below one nano, and rounds up so that a request never becomes none.
    return Fraction(math.ceil(value * _NANO), _NANO), suffix


def canonical(written: str | int | float) -> str:
    value, suffix = parse(str(written))
    if suffix in _BINARY and abs(value) >= 1024:
        return _scaled(Fraction(math.ceil(value)), 1024, list(_BINARY.items()))
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return _exponent(value)
    return _scaled(value, 1000, list(_DECIMAL.items()))


def _scaled(value: Fraction, base: int, suffixes: list[tuple[str, int]]) -> str:
    """The largest suffix that leaves a whole number."""
    if value == 0:
        return "0"
    for suffix, power in reversed(suffixes):
        number = value / Fraction(base) ** power
        if number.denominator == 1:
            return f"{number.numerator}{suffix}"
    return str(value.numerator)


def _exponent(value: Fraction) -> str:
    if value == 0:
        return "0"
    for power in range(18, -10, -3):
        number = value / Fraction(10) ** power
        if number.denominator == 1:
            return f"{number.numerator}e{power}" if power else str(number.numerator)
    return str(value)
