# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variants that share a number of pods: never more together, whatever the order in which they are looked at.

Each autoscaler decides by itself, every fifteen seconds, and what it decides on is there some seconds later.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_table
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schema.manifest_schemas import assert_accepted
from tests.unit.formulas import asked, names_in
from tests.unit.inventories import IMAGE, TRACKED, Manifest, fleet_of, manifests_of, of_kind, problems_of
from tests.unit.status_cases import KEYS, Site

ONE_LIST = {"host": "redis", "priority_steps": [0]}
NAMES = ("a", "b", "c", "d", "e")


def fleet_with(pods: int, variants: dict[str, Any], **variables: Any) -> Fleet:
    return fleet_of(**inventory(pods, variants), **variables)


def inventory(pods: int, variants: dict[str, Any]) -> dict[str, Any]:
    """Variants that share pods; each may have further keys, and a reserve."""
    config = {}
    for name, keys in variants.items():
        own = dict(keys)
        reserve = {"reserve": own.pop("reserve")} if "reserve" in own else {}
        budget = {"name": "database", "pods": pods, **reserve}
        config[name] = {**TRACKED, "list_length": 1, "concurrency": 1, "max_replicas": 50, "budget": budget, **own}
    return {"services": {"billing": {"image": IMAGE}}, "config": {"billing": config}, "broker": ONE_LIST}


def scalers(fleet: Fleet) -> dict[str, Manifest]:
    """ScaledObjects by the name of their variant."""
    found = of_kind(manifests_of(fleet), "ScaledObject")
    assert_accepted(found)
    return {item["metadata"]["labels"]["celery.queueops.io/variant"]: item["spec"] for item in found}


def formula_of(spec: Manifest) -> str:
    found: str = spec["advanced"]["scalingModifiers"]["formula"]
    return found


class Cluster:
    """Pods of variants that share a budget, and what each of their scalers makes of what it sees."""

    def __init__(self, fleet: Fleet, lag: float) -> None:
        self.formulas = {name: formula_of(spec) for name, spec in scalers(fleet).items()}
        self.reserves = {variant.name: variant.reserve for variant in fleet.variants}
        self.there = dict.fromkeys(self.formulas, 0)
        self.wanted = dict.fromkeys(self.formulas, 0)
        self.lag = lag
        self.due: dict[str, float] = {}

    @property
    def pods(self) -> int:
        """Pods that there are or will be."""
        return sum(max(self.there[name], self.wanted[name]) for name in self.there)

    def scale(self, name: str, waiting: int, busy: int, now: float) -> None:
        """One look of one scaler. What it starts can be seen after some seconds, what it ends is gone."""
        for other in [other for other, due in self.due.items() if due <= now]:
            self.there[other] = self.wanted[other]
            del self.due[other]
        readings = {f"budget_of_billing_{other}": float(count) for other, count in self.there.items() if other != name}
        held = min(busy, self.there[name])
        readings |= {"backlog": waiting, "inflight": held, "pods": self.there[name]}
        wish = asked(self.formulas[name], readings)
        assert wish >= held, "a busy pod would have to go"
        self.wanted[name] = min(50, math.ceil(wish))
        if self.wanted[name] > self.there[name]:
            self.due[name] = now + self.lag
        else:
            self.there[name] = self.wanted[name]


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(0, 25),
    st.sampled_from([0.0, 1.0, 2.9]),
    st.integers(0, 2**32),
)
def test_there_are_never_more_pods_than_the_budget_and_each_variant_gets_its_reserve(
    reserves: list[int], more: int, lag: float, seed: int
) -> None:
    pods, dice = sum(reserves) + more, random.Random(seed)
    fleet = fleet_with(pods, {name: {"reserve": kept} for name, kept in zip(NAMES, reserves, strict=False)})
    cluster = Cluster(fleet, lag)
    # Each has its own beat, and what waits for it comes and goes.
    beats = {name: dice.uniform(0, 15) for name in cluster.formulas}
    waiting = dict.fromkeys(cluster.formulas, 0)
    for turn in range(30):
        for name in sorted(beats, key=lambda name: beats[name]):
            if dice.random() < 0.3:
                waiting[name] = dice.choice([0, 1, 3, 500])
            cluster.scale(name, waiting[name], dice.choice([0, 0, 2, 50]), 15 * turn + beats[name])
            assert cluster.pods <= pods
            assert cluster.wanted[name] >= min(waiting[name], cluster.reserves[name])


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_the_first_of_the_inventory_can_fill_the_budget_to_the_last_pod(members: int) -> None:
    cluster = Cluster(fleet_with(12, {name: {} for name in NAMES[:members]}), 0)
    for turn in range(20):
        cluster.scale("a", 500, 0, 15.0 * turn)
    assert cluster.wanted["a"] == 12 - (members - 1)


def test_all_may_rise_at_once_and_together_they_take_what_there_is() -> None:
    cluster = Cluster(fleet_with(10, {name: {} for name in NAMES}), 2)
    for turn in range(10):
        for name in NAMES:
            cluster.scale(name, 500, 0, 15.0 * turn)
    assert cluster.pods == 10
    assert min(cluster.wanted.values()) >= 1


def test_a_budget_that_was_lowered_is_reached_as_work_ends_and_no_busy_pod_goes() -> None:
    cluster = Cluster(fleet_with(6, {"a": {}, "b": {}}), 0)
    cluster.there = {"a": 9, "b": 5}
    cluster.scale("a", 500, 9, 0)
    assert cluster.wanted["a"] == 9
    for turn in range(1, 8):
        for name in ("a", "b"):
            cluster.scale(name, 500, 0, 15.0 * turn)
    assert cluster.pods <= 6


def test_a_formula_reads_the_pods_of_all_others_and_nothing_that_is_not_there() -> None:
    for name, spec in scalers(
        fleet_with(10, {"a": {}, "b-1": {}, "b_1": {"idempotent": False, "name": "other"}})
    ).items():
        names = {trigger["name"]: trigger["metadata"].get("podSelector", "") for trigger in spec["triggers"]}
        assert names_in(formula_of(spec)) == set(names)
        counted = {selector.rpartition("=")[2] for selector in names.values() if selector}
        assert counted == {"a", "b-1", "b_1"}, name


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        ({}, 1),
        ({"reserve": 3}, 3),
        ({"min_replicas": 4, "reserve": 3}, 4),
        ({"schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "min_replicas": 5}]}, 5),
    ],
)
def test_what_a_variant_is_promised_elsewhere_is_kept_for_it(keys: dict[str, Any], kept: int) -> None:
    fleet = fleet_with(10, {"a": keys, "b": {}})
    assert f"max(budget_of_billing_a, {kept})" in formula_of(scalers(fleet)["b"])
    words = f"Of the 10 pods of budget database its part, {kept} at least"
    (row, _other) = worker_table(fleet)
    assert row["sizing"][-1] == f"billing.a: budget: {words}"
    assert "budget" in row["sees"]
    (scaler, _b) = of_kind(manifests_of(fleet), "ScaledObject")
    assert scaler["metadata"]["annotations"]["celery.queueops.io/formula"].endswith(f"{words}.")


CONFIG = "celery_workers_config.billing"
FAULTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no pods", {"a": {"budget": {"name": "db"}}}, [f"{CONFIG}.a.budget: a budget needs pods; write one such as"]),
    ("no name", {"a": {"budget": {"pods": 3}}}, [f"{CONFIG}.a.budget: a budget needs name"]),
    (
        "two numbers",
        {"a": {}, "b": {"budget": {"name": "database", "pods": 7}}},
        [f"{CONFIG}.b.budget.pods: budget database has 7 pods here and 5 at {CONFIG}.a.budget.pods"],
    ),
    (
        "more is kept than there is",
        {"a": {"reserve": 4}, "b": {"min_replicas": 2}},
        [f"{CONFIG}.a.budget: variant a of service billing and variant b of service billing keep 6 pods of budget"],
    ),
    (
        "a reserve that is never used",
        {"a": {"reserve": 3, "max_replicas": 2}, "b": {}},
        [f"{CONFIG}.a.budget.reserve: 3 pods are kept for variant a"],
    ),
    (
        "without KEDA",
        {"a": {}, "b": {}, "c": {"enable_keda": False}},
        [f"{CONFIG}.c.budget: budget database cannot limit variant c of service billing"],
    ),
    (
        "beside a trigger on CPU",
        {
            "a": {},
            "b": {
                "extra_triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
                "resources": {"requests": {"cpu": "1"}},
            },
        },
        [f"{CONFIG}.b.budget: the trigger cpu of variant b"],
    ),
    (
        "a fallback above the reserve",
        {"a": {"fallback": {"replicas": 4}}, "b": {}},
        [f"{CONFIG}.a.fallback: fallback.replicas 4 of variant a of service billing is above the 1 pods"],
    ),
]


@pytest.mark.parametrize(("variants", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_budget_that_cannot_be_kept_is_refused(variants: dict[str, Any], expected: list[str]) -> None:
    found = problems_of(**inventory(5, variants))
    assert len(found) == len(expected), found
    for problem, text in zip(found, expected, strict=True):
        assert problem.startswith(text), problem


def test_members_whose_names_are_alike_when_joined_are_counted_each() -> None:
    budget = {"name": "database", "pods": 5}
    config: dict[str, dict[str, Any]] = {"a": {"b_c": {}}, "a_b": {"c": {}}, "z": {"default": {}}}
    keys = {**TRACKED, "max_replicas": 5, "budget": budget}
    fleet = fleet_of(
        services={name: {"image": IMAGE, "queue_name": f"{name}.{{variant}}"} for name in config},
        config={name: dict.fromkeys(variants, keys) for name, variants in config.items()},
        broker=ONE_LIST,
    )
    spec = scalers(fleet)["default"]
    others = [trigger for trigger in spec["triggers"] if trigger["name"].startswith("budget_of_")]
    assert len({trigger["name"] for trigger in others}) == 2
    assert len({trigger["metadata"]["podSelector"] for trigger in others}) == 2


def test_a_budget_of_one_is_told() -> None:
    assert any(
        "is the only variant of budget database" in text
        for text in fleet_with(5, {"a": {}, "b": {"budget": False}}).warnings
    )


def test_connections_are_counted_by_the_budget_and_not_by_what_each_could_have_alone() -> None:
    variables = inventory(8, {"a": {}, "b": {}})
    variables["services"]["billing"]["database"] = {"name": "main", "max_connections": 10}
    assert not [text for text in fleet_of(**variables).warnings if "connections" in text]
    variables["services"]["billing"]["database"]["max_connections"] = 9
    (problem,) = problems_of(**variables)
    assert "could open 10 connections" in problem


def test_status_counts_the_pods_of_the_others() -> None:
    keys = {**KEYS, "list_length": 1, "budget": {"name": "database", "pods": 10}}
    fleet = fleet_of(
        services={"billing": {"image": IMAGE}},
        config={"billing": {"default": keys, "reports": keys}},
        broker=ONE_LIST,
    )
    site = Site(fleet, numbers={"backlog": 90, "inflight": 0, "pods": 3})
    site.pods["billing-worker-reports"] = site.pods["billing-worker"][:2]
    status = next(item for item in site.status().variants if item.variant == "default")
    # 3 that are there, and of 10 - 3 - 2 that are free the larger half.
    assert status.formula.result == 6
