# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line in a dataclass is one key of the inventory.

A field made by L(key) holds the check, the default and the sentence of the key reference, so that parsing,
suggestions and documentation cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

from .layers import Branch, Leaf, Node
from .problems import Problems
from .scalars import (
    Check,
    Invalid,
    as_flag,
    refuse,
    unknown_key,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Key:
    """What is known of one key.

    :param default_text: the default in words, where it depends on other keys.
    """

    check: Check
    doc: str
    default_text: str = ""


def key(check: Check, doc: str, default: Any = None, default_text: str = "") -> Any:
    """A dataclass field that is a key of the inventory.

    :param check: the rule of its value.
    :param doc: one or two sentences for the key reference, with unit and source of a rule.
    :param default: what holds when nobody writes the key. Dicts and lists are given as tuples or factories.
    """
    metadata = {"key": Key(check, doc, default_text)}
    # The linter wants field() inside a dataclass; this function is called nowhere else.
    # pylint: disable=invalid-field-call
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def key_of(item: Field[Any]) -> Key | None:
    """The key that a dataclass field stands for; None for fields that the model computes."""
    found = item.metadata.get("key")
    return found if isinstance(found, Key) else None


@cache
def keys_of(cls: type) -> tuple[tuple[str, Key], ...]:
    """The keys of a dataclass by name."""
    return tuple((item.name, found) for item in fields(cls) if (found := key_of(item)) is not None)


def key_names(*classes: type) -> set[str]:
    """All keys of some dataclasses."""
    return {name for cls in classes for name, _key in keys_of(cls)}


def read(cls: type[T], node: Branch, problems: Problems, **computed: Any) -> T:
    """Read a dataclass from the keys of a dict. Keys of other dataclasses are left to their own readers.

    A refused value gives its key's default, so that later checks have something to work with;
    the noted problem stops the run anyway.
    """
    values: dict[str, Any] = dict(computed)
    for name, found in keys_of(cls):  # type: ignore[arg-type]  # every class is hashable
        # Most keys are written nowhere.
        child = node.get(name) if name in node.children else None
        if child is None:
            continue
        value = found.check(child, problems)
        if not isinstance(value, Invalid):
            values[name] = value
    return cls(**values)


def refuse_unknown(owner: str, node: Branch, known: Iterable[str], problems: Problems) -> None:
    """Note every key of a dict that nothing reads. A null is no exception: the name is still wrong."""
    names = set(known)
    for name, child in node.children.items():
        if name not in names:
            unknown_key(owner, name, child.path, names, problems)


@dataclass(frozen=True)
class Section:
    """A dict of keys of its own; C(true) takes its defaults, C(false) leaves the whole thing out.

    :param word: a key that may stand for the whole: C(probe: none) is C(probe: {type: none}).
    :param switchable: whether C(true) and C(false) are taken.
    """

    cls: type
    word: str = ""
    switchable: bool = True

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The dataclass, or None when switched off."""
        flag = as_flag(node) if self.switchable else None
        if flag is False and not self.word:
            return None
        if isinstance(node, Leaf):
            if flag is True:
                return self.cls()
            if self.word and (isinstance(node.value, str) or node.value is False):
                node = Branch({self.word: node}, node.path)
        if not isinstance(node, Branch):
            return refuse(self, node, problems)
        refuse_unknown(node.path.rpartition(".")[2], node, key_names(self.cls), problems)
        return read(self.cls, node, problems)

    def describe(self) -> str:
        """The keys."""
        short = f"a {self.word}, or " if self.word else "true, false, or " if self.switchable else ""
        return f"{short}a dict of {', '.join(sorted(key_names(self.cls)))}"
