# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of inventory variables, merged without forgetting who wrote what.

A dict merges key by key, everything else replaces. Each value keeps the path of the variable that
wrote it, so that a message can name C(celery_workers_config__50_campus.lms.high.max_replicas) and
the reader knows which file to open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeAlias, TypeGuard

#: What every variable of the role begins with.
PREFIX = "celery_workers_"
#: Names of numbered layers: C(celery_workers_config__50_campus). Two digits, so that names sort as numbers do.
LAYER_NAME = re.compile(
    r"^(?P<base>celery_workers_(?:services|config|queue_defaults|broker|flower|exporter|service_monitor|prometheus_rule"
    r"|dashboard|prometheus))__(?P<order>\d\d)_\w+$"
)


@dataclass(frozen=True)
class Layer:
    """One inventory variable as the role hands it over: its name and its value."""

    name: str
    value: Any


@dataclass(frozen=True)
class Leaf:
    """A value that replaces what lies below: a scalar, a list, or null."""

    value: Any
    path: str


@dataclass(frozen=True)
class Branch:
    """A dict. Its path is that of the layer that wrote to it last."""

    children: Mapping[str, Node]
    path: str

    def get(self, key: str) -> Node | None:
        """The child of that name; null counts as not written."""
        child = self.children.get(key)
        return None if isinstance(child, Leaf) and child.value is None else child

    def only(self, *keys: str) -> Branch:
        """The same with some keys alone, as far as they are there."""
        return Branch({key: self.children[key] for key in keys if key in self.children}, self.path)


Node: TypeAlias = Leaf | Branch

EMPTY = Branch({}, "")
#: Keys that take a word in place of a dict, and what that word is in the dict: C(probe: ping) is C({type: ping}).
SHORT_FORMS = {"probe": "type"}


def overlay(lower: Node | None, value: Any, path: str) -> Node:
    """Lay one raw value over what is there.

    :param lower: what lies below, if anything.
    :param value: the raw value of the upper layer.
    :param path: where the upper layer wrote it.
    """
    if not _is_dict(value):
        return Leaf(value, path)
    children: dict[str, Node] = dict(lower.children) if isinstance(lower, Branch) else {}
    for key, item in value.items():
        name, place = str(key), f"{path}.{key}"
        if _is_dict(item):
            children[name] = overlay(_in_full(name, children.get(name)), item, place)
        else:
            children[name] = Leaf(item, place)
    return Branch(children, path)


def _is_dict(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    # Most values are texts and numbers, and to ask those whether they are mappings takes longest.
    return not isinstance(value, (str, int, float, list, NoneType)) and isinstance(value, (dict, Mapping))


def _in_full(key: str, lower: Node | None) -> Node | None:
    """What lies below a dict, with a word that is short for a dict written in full, so that it is not lost."""
    word = SHORT_FORMS.get(key)
    is_word = isinstance(lower, Leaf) and (isinstance(lower.value, str) or lower.value is False)
    return Branch({word: lower}, lower.path) if word and lower is not None and is_word else lower


def stack(*nodes: Node | None) -> Branch:
    """Lay merged trees over each other, the last one on top; each value keeps its own path."""
    result: Node = EMPTY
    for node in nodes:
        if node is not None:
            result = _lay(result, node)
    return result if isinstance(result, Branch) else EMPTY


def _lay(lower: Node | None, upper: Node) -> Node:
    if isinstance(upper, Leaf) or not isinstance(lower, Branch):
        return upper
    children: dict[str, Node] = dict(lower.children)
    for key, item in upper.children.items():
        below = children.get(key)
        children[key] = _lay(_in_full(key, below) if isinstance(item, Branch) else below, item)
    return Branch(children, upper.path)


def plain(node: Node | None) -> Any:
    """The tree as plain data. A null inside a dict is a reset, so its key is left out."""
    if isinstance(node, Branch):
        return {
            key: plain(child)
            for key, child in node.children.items()
            if not (isinstance(child, Leaf) and child.value is None)
        }
    return None if node is None else node.value


def items(node: Node) -> Iterator[tuple[str, Node]]:
    """Key and value of a dict, wherever it was written: as a layer's dict or inside a list."""
    if isinstance(node, Branch):
        for key in node.children:
            child = node.get(key)
            if child is not None:
                yield key, child
    elif isinstance(node.value, Mapping):
        for key, value in node.value.items():
            if value is not None:
                yield str(key), nested(value, f"{node.path}.{key}")


def elements(node: Leaf) -> Iterator[Node]:
    """The elements of a list, each with its own path."""
    for index, value in enumerate(node.value):
        yield nested(value, f"{node.path}[{index}]")


def nested(value: Any, path: str) -> Node:
    """A raw value as a tree of its own."""
    return overlay(None, value, path)


def layers_of(base: str, layers: Iterable[Layer]) -> list[Layer]:
    """The layers of one variable in the order they are merged: the plain name, then its numbers ascending.

    The names alone decide, because Ansible's own precedence does not reach into the values.
    """
    mine = [layer for layer in layers if layer.name == base or _base_of(layer.name) == base]
    return sorted(mine, key=lambda layer: (layer.name != base, layer.name))


def without_layer(path: str) -> str:
    """A path as it would be if the variable had no layers: the same key is one mistake in however many it stands."""
    return _LAYER_IN_PATH.sub(r"\1", path)


_LAYER_IN_PATH = re.compile(rf"^({PREFIX}[a-z_]*?)__\d\d_[A-Za-z0-9_]+")


def _base_of(name: str) -> str | None:
    match = LAYER_NAME.match(name)
    return match["base"] if match else None


#: How many levels of a variable name services and variants, below which a null is no value but one without keys.
NULL_DEPTH = {"services": 1, "config": 2}


def no_dicts(lower: Node, value: Any, depth: int) -> Iterator[Leaf]:
    """Services and variants that are no dict, where a layer covers them with one: nothing else looks at them."""
    if depth and isinstance(lower, Branch) and isinstance(value, Mapping):
        for key, item in value.items():
            below = lower.children.get(str(key))
            if isinstance(below, Branch):
                yield from no_dicts(below, item, depth - 1)
            elif below is not None and (item is None or isinstance(item, Mapping)):
                yield below


def without_nulls(value: Any, depth: int) -> Any:
    """A service or variant that is null is one without keys of its own; C(high:) is the natural way to write it."""
    if depth == 0 or not isinstance(value, Mapping):
        return value
    return {key: without_nulls({} if item is None else item, depth - 1) for key, item in value.items()}
