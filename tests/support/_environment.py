# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that a container is started with, from its spec and from the objects that it refers to."""

from __future__ import annotations

import base64
import re

from ._kinds import CONFIG_MAP, SECRET
from ._status import Json, not_implemented
from ._store import Store

Environment = dict[str, str]

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_MAP_ENTRY = re.compile(r"^(?P<map>.+)\['(?P<key>[^']+)'\]$")


class MissingReference(Exception):
    """The container needs what does not exist: a kubelet would not start it."""


class Resolver:
    """Resolves the environment of one pod's containers."""

    def __init__(self, store: Store, pod: Json) -> None:
        self._store = store
        self._pod = pod

    def environment(self, container: Json) -> Environment:
        found: Environment = {}
        for source in container.get("envFrom", []):
            found |= {source.get("prefix", "") + name: value for name, value in self._all_of(source).items()}
        for entry in container.get("env", []):
            if "valueFrom" not in entry:
                found[entry["name"]] = _expanded(entry.get("value", ""), found)
            elif (value := self._referred(entry["valueFrom"])) is not None:
                found[entry["name"]] = value
        return found

    def _all_of(self, source: Json) -> Environment:
        if "secretRef" in source:
            return self._secret(source["secretRef"]) or {}
        return self._config_map(source["configMapRef"]) or {}

    def _referred(self, source: Json) -> str | None:
        """The value; None where the reference is optional and leads nowhere."""
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        if "secretKeyRef" in source:
            reference, data = source["secretKeyRef"], self._secret(source["secretKeyRef"])
        elif "configMapKeyRef" in source:
            reference, data = source["configMapKeyRef"], self._config_map(source["configMapKeyRef"])
        else:
            raise not_implemented(f"an environment from {', '.join(source)}")
        if data is not None and reference["key"] in data:
            return data[reference["key"]]
        if reference.get("optional"):
            return None
        raise MissingReference(f"{reference['name']} has no key {reference['key']}")

    def _secret(self, reference: Json) -> Environment | None:
        obj = self._store.get(SECRET, self._pod["metadata"]["namespace"], reference["name"])
        data = _data(obj, reference)
        return None if data is None else {key: base64.b64decode(text).decode() for key, text in data.items()}

    def _config_map(self, reference: Json) -> Environment | None:
        return _data(self._store.get(CONFIG_MAP, self._pod["metadata"]["namespace"], reference["name"]), reference)

    def _field(self, path: str) -> str:
        key = ""
        if match := _MAP_ENTRY.match(path):
            path, key = match["map"], match["key"]
        value: object = self._pod
        for step in [*path.split("."), *([key] if key else [])]:
            value = value.get(step, "") if isinstance(value, dict) else ""
        return str(value)


def _data(obj: Json | None, reference: Json) -> Environment | None:
    if obj is not None:
        return dict(obj.get("data", {}))
    if reference.get("optional"):
        return None
    raise MissingReference(f"{reference['name']} does not exist")


def _expanded(text: str, known: Environment) -> str:
    """`$(NAME)` is replaced where the name is known, and `$$` is one dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else known.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)
