# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References C($(NAME)) of a container, which Kubernetes expands.

In an environment it knows only the entries before the one that refers, and everything of envFrom. In command and args
it knows the whole environment. What it does not know it leaves as it is written (kubelet 1.36).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .secret_signs import references

#: Variables that every container has, of the Service of the API server.
_GIVEN = "KUBERNETES_"

Entries = list[dict[str, Any]]


def in_order(entries: Entries) -> Entries:
    """The same entries, each after those that it refers to. What refers to nothing keeps its place."""
    named = {entry["name"]: entry for entry in entries}
    done: dict[str, dict[str, Any]] = {}

    def place(entry: dict[str, Any], above: frozenset[str]) -> None:
        name = entry["name"]
        if name in done or name in above:
            return
        for wanted in _wanted(entry):
            if wanted in named:
                place(named[wanted], above | {name})
        done[name] = entry

    for entry in entries:
        place(entry, frozenset())
    # A name that is there twice is the server's to judge, and stays so.
    return list(done.values()) if len(named) == len(entries) else entries


def lost_references(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name of each entry of an environment that refers to what it cannot know, with the name that it refers to."""
    if container.get("envFrom"):
        return
    known: set[str] = set()
    for entry in container.get("env", ()):
        for wanted in _wanted(entry):
            if wanted not in known and not wanted.startswith(_GIVEN):
                yield entry["name"], wanted
        known.add(entry["name"])


def lost_reference(name: str, wanted: str, keys: str = "secret_env or env") -> str:
    """What becomes of a reference that Kubernetes cannot follow.

    :param keys: where a variable can be added.
    """
    return (
        f"{name} refers to $({wanted}), and no other entry of its container is {wanted}, so the app would read the "
        f"text $({wanted}). Kubernetes does not know variables of the image. Add {wanted} to {keys}, or "
        f"write $$({wanted}) if you mean the text."
    )


def secret_references(words: Iterable[str], container: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each name that words refer to and whose value is a secret or unknown, with whether it is there at all."""
    entries = {entry["name"]: entry for entry in container.get("env", ())}
    for name in dict.fromkeys(name for word in words for name in references(word)):
        entry = entries.get(name)
        if entry is None:
            yield name, bool(container.get("envFrom")) or name.startswith(_GIVEN)
        elif "secretKeyRef" in entry.get("valueFrom", {}) or _wanted(entry):
            yield name, True


def _wanted(entry: Mapping[str, Any]) -> list[str]:
    value = entry.get("value")
    return list(dict.fromkeys(references(value))) if isinstance(value, str) else []
