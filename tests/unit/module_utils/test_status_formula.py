# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formula with live numbers: what KEDA works out, and how it reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.demand import demand_of, without_formula
from ansible_collections.queueops.celery.plugins.module_utils._status.formula import (
    FormulaError,
    in_words,
    names_in,
    worked_out,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import SCALED, TRACKED, fleet_of, one_variant

READINGS = {"backlog": 25.0, "inflight": 14.0, "pods": 3.0}


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("max(backlog / 10, min(inflight / 2, max(pods, 1)))", "max(25/10, min(14/2, 3)) = 3 → 3 of 30"),
        ("max(backlog / 10, inflight)", "max(25/10, 14) = 14 → 14 of 30"),
        ("backlog / 10", "25/10 = 2.5 → 3 of 30"),
        ("(backlog > 30 ? backlog / 10 : 0)", "(25 > 30 ? 25/10 : 0) = 0 → 0 of 30"),
        ("backlog + min(inflight, max(pods, 1))", "25 + min(14, 3) = 28 → 28 of 30"),
        ("backlog * 2", "25*2 = 50 → 30 of 30"),
        ("(inflight - backlog) / 2", "-11/2 = -5.5 → 0 of 30"),
    ],
)
def test_a_formula_is_shown_with_its_numbers_its_result_and_the_pods(formula: str, shown: str) -> None:
    assert in_words(worked_out(formula, READINGS, 0, 30), 30) == shown


def test_the_lists_of_a_queue_are_one_number() -> None:
    readings = {"backlog_p0": 20, "backlog_p3": 5, "backlog_p6": 0, "backlog_p9": 0}
    found = worked_out("(backlog_p0 + backlog_p3 + backlog_p6 + backlog_p9) / 10", readings, 0, 30)
    assert (found.text, found.result, found.wants) == ("25/10", 2.5, 3)


def test_the_limits_hold() -> None:
    low, high = worked_out("backlog", {"backlog": 0}, 2, 5), worked_out("backlog", {"backlog": 9}, 2, 5)
    assert (low.wants, low.unlimited, high.wants, high.unlimited) == (2, 0, 5, 9)


@pytest.mark.parametrize(
    "formula",
    ["backlog / other", "backlog / 0", "max(backlog", "backlog 3", "sqrt(backlog)", "", "backlog +"],
)
def test_what_cannot_be_worked_out_is_not_guessed(formula: str) -> None:
    with pytest.raises(FormulaError):
        worked_out(formula, READINGS, 0, 30)


#: Inventories whose formulas are as different as those that the collection sends.
SENT: list[dict[str, Any]] = [
    one_variant(SCALED),
    one_variant(TRACKED),
    one_variant({**TRACKED, "hold": "slots", "concurrency": 4, "list_length": 40, "activation_list_length": 5}),
    one_variant({**TRACKED, "queues": ["invoices", "mail"], "list_length": 1, "hold": "pods"}),
    one_variant({**TRACKED, "list_length": 1, "hold": "pods", "longest_eta_seconds": 60}),
    one_variant({**TRACKED, "list_length": 2, "longest_eta_seconds": 0, "activation_list_length": 3}),
    one_variant(TRACKED, broker={"type": "rabbitmq", "host": "rabbit"}),
    one_variant({**SCALED, "list_length": 5000}),
]


@given(st.data())
@pytest.mark.parametrize("number", range(len(SENT)))
def test_every_formula_that_is_sent_gives_what_KEDA_gives(number: int, data: st.DataObject) -> None:
    fleet = fleet_of(**SENT[number])
    service, variant = fleet.services[0], fleet.variants[0]
    demand = demand_of(variant, service, fleet.namespace, {}, "")
    formula = demand.formula or without_formula(demand.triggers)
    readings = {name: data.draw(st.integers(0, 5000)) for name in sorted(names_in(formula))}
    found = worked_out(formula, readings, 0, 10**9)
    # What is not chosen is 0 in each of them, so that Python's own words stand for the choice.
    result = math.floor(eval(formula.replace(" ? ", " and ").replace(" : ", " or "), {}, readings) * 1000) / 1000
    assert found.result == pytest.approx(result)
    assert found.wants == max(0, math.ceil(result))


def test_without_a_formula_the_share_of_each_trigger_counts() -> None:
    triggers: list[dict[str, Any]] = [
        {"type": "redis", "name": "backlog", "metadata": {"listLength": "40"}},
        {"type": "cron", "metadata": {"desiredReplicas": "5"}},
        {"type": "cpu", "metadata": {"value": "80"}},
        {"type": "prometheus", "metadata": {"threshold": "2.5"}},
    ]
    assert without_formula(triggers) == "max(backlog / 40, trigger_1, trigger_3 / 2.5)"
