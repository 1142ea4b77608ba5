# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each number of a variant comes from: the variable that decided, or the rule that worked it out."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from .._model.fleet import Origin, Variant
from .._schema.keys import key_of
from .._schema.layers import PREFIX, Branch, Leaf

#: What only one kind of scaler reads.
_KEDA_ONLY = (
    "activation_list_length",
    "cooldown_period",
    "idle_replicas",
    "initial_cooldown_period",
    "list_length",
    "polling_interval",
)
_HPA_ONLY = ("cpu_utilization", "memory_utilization")
_SCALED_ONLY = ("max_replicas", "min_replicas")


def origins(
    parts: Collection[Any],
    tree: Branch,
    rules: Mapping[str, tuple[Any, str]],
    profile: tuple[str, Collection[str]],
    scaler: str,
) -> Iterator[Origin]:
    """Each number that is in force, in the order of the keys.

    :param parts: what was read: process, pod, scaling and so on.
    :param tree: all layers over each other, each value with the place where it was written.
    :param rules: what was worked out: key to value and reason.
    :param profile: its name and the keys that it sets.
    """
    for part in parts:
        for name in _read_keys(type(part), scaler):  # type: ignore[arg-type]  # every class is hashable
            value = getattr(part, name)
            written = _written(tree, name)
            if name in rules and not written:
                value, source = rules[name]
            else:
                source = written or _default(name, profile)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield Origin(name, value, source)


@cache
def _read_keys(cls: type, scaler: str) -> tuple[str, ...]:
    """The keys of a dataclass that count with a scaler, in their order."""
    unread = (
        *(_KEDA_ONLY if scaler != "keda" else ()),
        *(_HPA_ONLY if scaler != "hpa" else ()),
        *(_SCALED_ONLY if scaler == "none" else ("replicas",)),
    )
    return tuple(item.name for item in fields(cls) if key_of(item) is not None and item.name not in unread)


def _written(tree: Branch, name: str) -> str:
    """The variable that wrote a key, with the way to it; empty if none did."""
    node = tree.children.get(name)
    if node is None or (isinstance(node, Leaf) and node.value is None):
        return ""
    if node.path.startswith(PREFIX):
        return node.path
    place = node.path.removesuffix(f".{name}")
    if place.startswith("preset."):
        return f"the preset, {place.removeprefix('preset.')}"
    return "" if place.startswith("collection defaults") else place


def _default(name: str, profile: tuple[str, Collection[str]]) -> str:
    title, keys = profile
    return f"profile {title}" if name in keys else "default"


#: Columns that lines keep within, so that they can be indented.
_WIDTH = 93


def explained(variants: Collection[Variant]) -> list[str]:
    """The numbers of variants as lines."""
    found: list[str] = []
    for variant in variants:
        found.append(f"{variant.service}.{variant.name}")
        width = max((len(origin.name) for origin in variant.origins), default=0)
        most = max((len(_text(origin.value)) for origin in variant.origins), default=0)
        for origin in variant.origins:
            first = f"  {origin.name.ljust(width)}  {_text(origin.value).rjust(most)}  "
            lines = textwrap.wrap(
                origin.source, max(20, _WIDTH - len(first)), break_long_words=False, break_on_hyphens=False
            )
            found += [f"{' ' * len(first) if number else first}{line}" for number, line in enumerate(lines)]
    return found


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
