# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the emulated cluster. Whoever holds one must not change it: a change is a new object."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from typing import Any

from ._kinds import BY_NAME, CONFIG_MAP, CRD, KINDS, NAMESPACE, Kind, crd_for
from ._status import Json

Key = tuple[str, str]


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clone(value: Any) -> Any:
    """A deep copy; far faster than copy.deepcopy for plain data."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def key_of(obj: Json) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Store:
    """Tables of objects, and the one counter of resource versions."""

    def __init__(self) -> None:
        self.version = 10000
        self._tables: dict[Kind, dict[Key, Json]] = {kind: {} for kind in KINDS}
        #: Built-in kinds that this cluster is too old for.
        self.unknown: set[Kind] = set()

    def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return self._tables[kind].get((namespace, name))

    def select(self, kind: Kind, namespace: str = "") -> list[Json]:
        """The objects of one namespace, or of all, in the order of a server."""
        table = self._tables[kind]
        return [table[key] for key in sorted(table) if not namespace or key[0] == namespace]

    def everything(self) -> Iterator[tuple[Kind, Json]]:
        for kind, table in self._tables.items():
            for obj in list(table.values()):
                yield kind, obj

    def put(self, kind: Kind, obj: Json) -> Json:
        """Store the object under the next resource version."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._tables[kind][key_of(obj)] = obj
        return obj

    def remove(self, kind: Kind, obj: Json) -> None:
        if self._tables[kind].pop(key_of(obj), None) is not None:
            self.version += 1

    def clear(self) -> None:
        self.unknown.clear()
        for table in self._tables.values():
            table.clear()

    def snapshot(self) -> dict[Kind, dict[Key, Json]]:
        """What is stored now. No object of it is ever changed."""
        return {kind: dict(table) for kind, table in self._tables.items()}

    def restore(self, snapshot: dict[Kind, dict[Key, Json]]) -> None:
        self.version += 1
        self._tables = {kind: dict(table) for kind, table in snapshot.items()}

    def serves(self, kind: Kind) -> bool:
        """A custom resource is served as long as its definition is there."""
        return (not kind.custom and kind not in self.unknown) or ("", kind.qualified) in self._tables[CRD]

    def served(self) -> Iterator[Kind]:
        return (kind for kind in KINDS if self.serves(kind))

    def add_definition(self, kind: Kind) -> None:
        if not self.serves(kind):
            self.put(CRD, seeded(CRD, crd_for(kind)))

    def add_namespace(self, name: str) -> None:
        if self.get(NAMESPACE, "", name) is None:
            labels = {"kubernetes.io/metadata.name": name}
            obj: Json = {"metadata": {"name": name, "labels": labels}, "spec": {"finalizers": ["kubernetes"]}}
            self.put(NAMESPACE, seeded(NAMESPACE, {**obj, "status": {"phase": "Active"}}))

    def add_root_certificate(self, namespace: str) -> None:
        """What a server puts into every namespace that somebody makes."""
        if self.get(CONFIG_MAP, namespace, "kube-root-ca.crt") is None:
            metadata = {"name": "kube-root-ca.crt", "namespace": namespace}
            self.put(CONFIG_MAP, seeded(CONFIG_MAP, {"metadata": metadata, "data": {"ca.crt": "(a certificate)"}}))


def seeded(kind: Kind, obj: Json) -> Json:
    """An object as a server would have created it: identity, time and generation."""
    metadata = {**obj["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if kind.has_generation:
        metadata["generation"] = 1
    return {"kind": kind.name, "apiVersion": kind.api_version, **obj, "metadata": metadata}


def kind_of(obj: Json) -> Kind:
    kind = BY_NAME.get(obj.get("kind", ""))
    if kind is None or kind.api_version != obj.get("apiVersion"):
        raise ValueError(f"the emulator has no {obj.get('kind')} of {obj.get('apiVersion')}")
    return kind
