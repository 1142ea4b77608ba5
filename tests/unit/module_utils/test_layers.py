# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of variables: merged by their numbers, key by key, and every value remembers who wrote it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import (
    EMPTY,
    Branch,
    Layer,
    Leaf,
    Node,
    layers_of,
    overlay,
    plain,
    stack,
)

CONFIG = "celery_workers_config"


def merged(*values: Any) -> Any:
    return plain(stack(*(overlay(None, value, f"layer{number}") for number, value in enumerate(values))))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (({"a": {"b": 1}}, {"a": {"c": 2}}), {"a": {"b": 1, "c": 2}}),
        (({"a": {"b": 1}}, {"a": {"b": 2}}), {"a": {"b": 2}}),
        (({"a": [1, 2]}, {"a": [3]}), {"a": [3]}),
        (({"a": {"b": 1}}, {"a": 5}), {"a": 5}),
        (({"a": 5}, {"a": {"b": 1}}), {"a": {"b": 1}}),
        (({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}), {"a": {"c": 2}}),
        (({"a": {"b": 1}}, {"a": None}, {"a": {"c": 2}}), {"a": {"c": 2}}),
        (({1: "x"}, {"1": "y"}), {"1": "y"}),
    ],
)
def test_dicts_merge_deeply_and_everything_else_replaces(values: tuple[Any, ...], expected: Any) -> None:
    assert merged(*values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (({"probe": "heartbeat"}, {"probe": {"failures": 3}}), {"probe": {"type": "heartbeat", "failures": 3}}),
        (({"probe": False}, {"probe": {"failures": 3}}), {"probe": {"type": False, "failures": 3}}),
        (({"probe": "heartbeat"}, {"probe": {"type": "ping"}}), {"probe": {"type": "ping"}}),
        (({"probe": {"failures": 3}}, {"probe": "heartbeat"}), {"probe": "heartbeat"}),
        (({"probe": "heartbeat"}, {"probe": None}, {"probe": {"failures": 3}}), {"probe": {"failures": 3}}),
    ],
)
def test_a_word_that_is_short_for_a_dict_is_part_of_it(values: tuple[Any, ...], expected: Any) -> None:
    """A layer, or a place below another, that writes one more key of the dict keeps what the word says."""
    assert merged(*values) == expected
    layers = [Layer(f"celery_workers_config__{number}0_x", value) for number, value in enumerate(values)]
    node: Node = EMPTY
    for layer in layers:
        node = overlay(node, layer.value, layer.name)
    assert plain(node) == expected


def test_layers_are_merged_by_their_numbers_whatever_their_order() -> None:
    names = [CONFIG, f"{CONFIG}__10_platform", f"{CONFIG}__50_campus", f"{CONFIG}__90_host"]
    for order in itertools.permutations(names):
        assert [layer.name for layer in layers_of(CONFIG, [Layer(name, {}) for name in order])] == names


@pytest.mark.parametrize(
    "name",
    [
        f"{CONFIG}__5_short",
        f"{CONFIG}__500_long",
        f"{CONFIG}__host",
        f"{CONFIG}_10_one_line",
        "celery_workers_services",
    ],
)
def test_a_variable_that_is_no_layer_of_another_is_left_out(name: str) -> None:
    assert layers_of(CONFIG, [Layer(name, {})]) == []


def test_a_value_keeps_the_path_of_the_layer_that_wrote_it() -> None:
    lower = overlay(None, {"lms": {"high": {"max_replicas": 1, "list_length": 2}}}, CONFIG)
    upper = overlay(lower, {"lms": {"high": {"max_replicas": 3}}}, f"{CONFIG}__50_campus")
    high = upper
    for key in ("lms", "high"):
        assert isinstance(high, Branch)
        high = high.children[key]
    assert isinstance(high, Branch)
    assert high.children == {
        "max_replicas": Leaf(3, f"{CONFIG}__50_campus.lms.high.max_replicas"),
        "list_length": Leaf(2, f"{CONFIG}.lms.high.list_length"),
    }


def test_merging_changes_no_layer() -> None:
    lower: dict[str, Any] = {"a": {"b": [1]}}
    merged(lower, {"a": {"b": [2], "c": 1}})
    assert lower == {"a": {"b": [1]}}
