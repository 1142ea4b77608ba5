# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formulas as KEDA works them out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._simulation.formula import FormulaError, names_in, worked
from hypothesis import given
from hypothesis import strategies as st

READINGS = {"a": 25.0, "b": 14.0, "pods": 3.0, "gone": None}


@pytest.mark.parametrize(
    ("formula", "result"),
    [
        ("a + b * 2 - 1", 52.0),
        ("(a + b) * 2", 78.0),
        ("a / 40", 0.625),
        ("7 / 2", 3.5),
        ("2 ** 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("- a + b", -11.0),
        ("max(a, b, pods)", 25.0),
        ("min([a, b])", 14.0),
        ("floor(a / 10) + ceil(a / 10) + round(a / 10)", 8.0),
        ("round(0 - a / 10)", -3.0),
        ("int(a / 10) + abs(b - a)", 13.0),
        ("sum([a, b, pods]) + mean([a, b])", 61.5),
        ("a > b ? 1 : 0", 1.0),
        ("a > b and b > pods ? a > 30 ? 1 : 2 : 3", 2.0),
        ("not (a > b) || pods == 3 ? 5 : 6", 5.0),
        ("a != 25 ? 5 : 6", 6.0),
        ("gone ?? 7", 7.0),
        ("a ?? 7", 25.0),
        ("gone ?? pods + 1", 4.0),
        ("gone == nil ? 1 : 2", 1.0),
        ("gone", None),
        ("a / 1000 + 0.0009", 0.025),
        ("0 - 1 / 300", -0.003),
        (".5 + 1_000 + 0x10 + 1e2", 1116.5),
        ("a /* all that waits */ + 1 // and one", 26.0),
    ],
)
def test_the_result_is_what_KEDA_works_out(formula: str, result: float | None) -> None:
    assert worked(formula)(READINGS) == (None if result is None else pytest.approx(result, abs=1e-9))


@pytest.mark.parametrize(
    "formula",
    ["a / other", "a / 0", "max(a", "a 3", "sqrt(a)", "", "a +", "gone + 1", "max(gone, 1)", "a > b", "a % 2", "[a]"],
)
def test_what_cannot_be_worked_out_is_not_guessed(formula: str) -> None:
    with pytest.raises(FormulaError):
        worked(formula)(READINGS)


def test_the_names_of_a_formula_are_its_triggers() -> None:
    assert names_in("max((p0 + p3) / 10, min(inflight, max(pods, 1)), rate ?? nil)") == {
        *("p0", "p3", "inflight", "pods", "rate")
    }


NUMBERS = st.sampled_from(["a", "b", "pods", "1", "2.5", "40"])
FORMULAS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join),
        st.tuples(inner, inner).map(lambda pair: f"max({pair[0]}, {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"min({pair[0]}, {pair[1]})"),
        inner.map(lambda part: f"({part}) / 4"),
        inner.map(lambda part: f"({part})"),
        inner.map(lambda part: f"floor({part})"),
    ),
    max_leaves=12,
)


@given(FORMULAS)
def test_arithmetic_means_what_it_means_in_python(formula: str) -> None:
    known: dict[str, Any] = {"floor": math.floor, "max": max, "min": min, **READINGS}
    assert worked(formula)(READINGS) == pytest.approx(eval(formula, {}, known), abs=0.0011)
