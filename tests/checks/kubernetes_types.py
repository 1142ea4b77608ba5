# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes plugins/module_utils/_schema/kubernetes_types.py: fields of the types that users write verbatim.

The names and types come from the schema that kubernetes-validate ships. Without them a mistyped
C(tolerations[0].operater) would reach the server, which drops it with a warning that nobody reads.

Run with C(--write) to renew the file after a new Kubernetes release, without it to check that it is up to date.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

RELEASE = "1.36"
ROOTS = (
    "io.k8s.api.core.v1.PodSpec",
    "io.k8s.api.apps.v1.DeploymentStrategy",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior",
    "io.k8s.api.networking.v1.NetworkPolicyPeer",
)
#: Part of pod types by reference only; nobody writes them in an inventory.
LEFT_OUT = {"ManagedFieldsEntry", "FieldsV1", "EphemeralContainer"}
TARGET = Path(__file__).parents[2] / "plugins" / "module_utils" / "_schema" / "kubernetes_types.py"

HEADER = '''\
# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of Kubernetes {release} types. Written by tests/checks/kubernetes_types.py; do not edit.

A field's type is C(str), C(int), C(bool), C(number), C(Quantity), C(IntOrString), C(Time), the name of another
type, C([X]) for a list, C([X@key]) for a list that merges by that key, or C(map X) for a map of strings to X.
A trailing C(!) marks a required field.
"""

from __future__ import annotations

TYPES: dict[str, dict[str, str]] = {{
'''


def main() -> int:
    """Write or compare; the exit code is 1 when the file is stale."""
    text = render()
    if "--write" in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET.name} is stale: run python tests/checks/kubernetes_types.py --write")
        return 1
    return 0


def render() -> str:
    """The whole file."""
    definitions = load()
    lines = [HEADER.format(release=RELEASE)]
    for name in sorted(reachable(definitions), key=short):
        lines.append(f'    "{short(name)}": {{\n')
        required = set(definitions[name].get("required", []))
        for key, schema in sorted(definitions[name].get("properties", {}).items()):
            kind = type_of(schema)
            if kind is not None:
                lines.append(f'        "{key}": "{kind}{"!" if key in required else ""}",\n')
        lines.append("    },\n")
    lines.append("}\n")
    return "".join(lines)


def load() -> dict[str, Any]:
    """The definitions of the release."""
    path = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{RELEASE}.0-local-strict" / "_definitions.json"
    definitions: dict[str, Any] = json.loads(path.read_text())["$defs"]
    return definitions


def short(name: str) -> str:
    """C(io.k8s.api.core.v1.Toleration) is C(Toleration) here; no two types in use share a short name."""
    return name.rsplit(".", 1)[1]


def reachable(definitions: dict[str, Any]) -> set[str]:
    """The types that the roots refer to, directly or not."""
    found: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found or short(name) in LEFT_OUT or "properties" not in definitions[name]:
            continue
        found.add(name)
        for schema in definitions[name]["properties"].values():
            waiting.extend(references(schema))
    return found


def references(schema: Any) -> list[str]:
    """Names of the types that a schema mentions."""
    if isinstance(schema, dict):
        own = [schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else []
        return own + [name for value in schema.values() for name in references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in references(value)]
    return []


def type_of(schema: dict[str, Any]) -> str | None:
    """The short notation of a field's schema; None for fields that are left out."""
    named = references({key: schema[key] for key in ("$ref", "oneOf", "anyOf", "allOf") if key in schema})
    if named:
        return None if short(named[0]) in LEFT_OUT else short(named[0])
    kinds = schema.get("type", "object")
    kind = next(k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null")
    if kind == "array":
        element = type_of(schema["items"])
        # A list that is kept by two keys cannot be merged by one.
        single = len(schema.get("x-kubernetes-list-map-keys", [""])) == 1
        key = schema.get("x-kubernetes-patch-merge-key") if single else None
        return None if element is None else f"[{element}@{key}]" if key else f"[{element}]"
    if kind == "object":
        return f"map {type_of(schema.get('additionalProperties', {'type': 'string'}))}"
    return {"string": "str", "integer": "int", "boolean": "bool", "number": "number"}[kind]


if __name__ == "__main__":
    sys.exit(main())
