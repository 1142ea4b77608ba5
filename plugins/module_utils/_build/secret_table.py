# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Secrets a fleet reads, as its finished objects name them. No value is known here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from .._model.observed import WORKER_KINDS, template_of

#: Stands for every key of a Secret.
ALL = "all"


def secret_table(manifests: Iterable[Mapping[str, Any]], own: Collection[str]) -> list[dict[str, Any]]:
    """One row per Secret: its keys that are read, who reads them, and who makes it.

    :param own: names of the Secrets that the role makes.
    """
    keys: dict[str, set[str]] = defaultdict(set)
    readers: dict[str, dict[str, None]] = defaultdict(dict)
    for item in manifests:
        for name, key in _read_by(item):
            keys[name].add(key)
            readers[name][f"{item['kind']} {item['metadata']['name']}"] = None
    return [
        {
            "secret": name,
            "keys": sorted(keys[name]),
            "used_by": list(readers[name]),
            "made_by": "the role" if name in own else "you",
        }
        for name in sorted(keys, key=lambda name: (name not in own, name))
    ]


def needed_secrets(manifests: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, None]]:
    """Name of each Secret without which an object does not work to the objects that read it."""
    found: dict[str, dict[str, None]] = {}
    for item in manifests:
        for name, _key in _read_by(item, with_optional=False):
            found.setdefault(name, {})[f"{item['kind']} {item['metadata']['name']}"] = None
    return found


def _read_by(item: Mapping[str, Any], with_optional: bool = True) -> Iterator[tuple[str, str]]:
    """Name and key of everything that an object reads from Secrets.

    :param with_optional: whether what may be missing counts.
    """
    if item["kind"] == "TriggerAuthentication":
        yield from ((ref["name"], ref["key"]) for ref in item["spec"].get("secretTargetRef", ()))
    if item["kind"] not in WORKER_KINDS:
        return
    pod = template_of(item["kind"], item["spec"])["spec"]
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        for entry in container.get("env", ()):
            reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
            if reference and (with_optional or not reference.get("optional")):
                yield reference["name"], reference["key"]
        for source in container.get("envFrom", ()):
            whole = source.get("secretRef")
            if whole and (with_optional or not whole.get("optional")):
                yield whole["name"], ALL
    for volume in pod.get("volumes", ()):
        yield from _read_by_volume(volume, with_optional)


def _read_by_volume(volume: Mapping[str, Any], with_optional: bool) -> Iterator[tuple[str, str]]:
    for part in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
        source = part.get("secret") or {}
        name = source.get("secretName") or source.get("name")
        if name and (with_optional or not source.get("optional")):
            yield from ((name, entry["key"]) for entry in source.get("items") or [{"key": ALL}])
