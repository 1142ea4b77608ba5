# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches and transformers of a kustomization, one object at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._schema.kubernetes_types import TYPES

Manifest = dict[str, Any]
#: Fields that hold the name of a ConfigMap under C(name).
_REFERENCES = ("configMap", "configMapRef", "configMapKeyRef")
#: Lists that merge by two keys, which the table of types does not name.
_TWO_KEYS = {
    "[ContainerPort]": ("containerPort", "protocol"),
    "[TopologySpreadConstraint]": ("topologyKey", "whenUnsatisfiable"),
}


class KustomizationError(ValueError):
    """A kustomization cannot be read. The message holds no content of a file: that may be secret."""


def name_of(item: Manifest) -> str:
    metadata = item.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def pod_spec(item: Manifest) -> Manifest:
    """A Deployment's pod spec; empty if it has none."""
    value: Any = item
    for name in ("spec", "template", "spec"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) and item.get("kind") == "Deployment" else {}


def with_pod(item: Manifest, pod: Manifest) -> Manifest:
    spec = item["spec"]
    return {**item, "spec": {**spec, "template": {**spec["template"], "spec": pod}}}


def extended(item: Any, path: tuple[str, ...], pairs: Mapping[str, Any]) -> Any:
    """A copy with more entries in the dict at a path, which is made where it is missing."""
    if not path:
        return {**(item or {}), **pairs}
    return {**(item or {}), path[0]: extended((item or {}).get(path[0]), path[1:], pairs)}


def patched(item: Manifest, patch: Manifest) -> Manifest:
    # The name in a patch with a target is no new name.
    patch = {**patch, "metadata": {**(patch.get("metadata") or {}), "name": name_of(item)}}
    merged: Manifest = _merged("", item, {name: value for name, value in patch.items() if name != "apiVersion"})
    pod, wanted = pod_spec(item), pod_spec({**patch, "kind": item["kind"]})
    above = (patch.get("spec") or {}, (patch.get("spec") or {}).get("template") or {})
    if not pod or not wanted or any("$patch" in level for level in above):
        return merged
    return with_pod(merged, _merged("PodSpec", pod, wanted))


def _merged(kind: str, lower: Any, patch: Any) -> Any:
    """The strategic merge of kustomize: what a patch names comes first in its list, and it may take things away.

    :param kind: the type of both, as C(_kubernetes_types) names it.
    """
    kind = kind.rstrip("!")
    if isinstance(lower, dict) and isinstance(patch, dict) and patch.get("$patch") != "replace":
        fields = TYPES.get(kind, {})
        kept = {name: value for name, value in lower.items() if name not in patch or not _takes_away(patch[name])}
        added = {name: value for name, value in without_directives(patch).items() if name not in kept}
        both = {name: _merged(fields.get(name, ""), kept[name], patch[name]) for name in kept if name in patch}
        return {**kept, **both, **added}
    element, _at, name = kind.strip("[]").partition("@")
    keys = (name,) if name else _TWO_KEYS.get(kind, ())
    if not (keys and isinstance(lower, list) and isinstance(patch, list)) or {"$patch": "replace"} in patch:
        return without_directives(patch)
    named = {_values(entry, keys): entry for entry in patch}
    known = {_values(entry, keys): entry for entry in lower}
    first = [_merged(element, known.get(key, {}), entry) for key, entry in named.items() if not _takes_away(entry)]
    return [*first, *(entry for key, entry in known.items() if key not in named)]


def _values(entry: Any, keys: Iterable[str]) -> tuple[Any, ...]:
    return tuple(entry.get(key) for key in keys) if isinstance(entry, dict) else (str(entry),)


def _takes_away(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("$patch") == "delete")


def without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_directives(item)
            for name, item in value.items()
            if not name.startswith("$") and not _takes_away(item)
        }
    if isinstance(value, list):
        return [without_directives(item) for item in value if not (isinstance(item, dict) and "$patch" in item)]
    return value


def unknown_directives(value: Any) -> list[str]:
    """Directives other than to delete and to replace."""
    if isinstance(value, list):
        return sorted({name for item in value for name in unknown_directives(item)})
    if not isinstance(value, dict):
        return []
    own = {name for name in value if name.startswith("$") and name != "$patch"}
    own |= {"$patch: merge"} if value.get("$patch") not in (None, "delete", "replace") else set()
    return sorted(own.union(*(unknown_directives(item) for item in value.values())))


def labelled(entry: Manifest) -> Callable[[Manifest], Manifest]:
    pairs = entry.get("pairs") or {}
    selects = bool(entry.get("includeSelectors"))

    def change(item: Manifest) -> Manifest:
        item = extended(item, ("metadata", "labels"), pairs)
        if not pod_spec(item) or not (selects or entry.get("includeTemplates")):
            return item
        item = extended(item, ("spec", "template", "metadata", "labels"), pairs)
        if not selects:
            return item
        item = extended(item, ("spec", "selector", "matchLabels"), pairs)
        placement = {
            name: pod_spec(item)[name] for name in ("affinity", "topologySpreadConstraints") if name in pod_spec(item)
        }
        return with_pod(item, {**pod_spec(item), **_selecting(placement, pairs)})

    return change


def _selecting(value: Any, pairs: Mapping[str, Any]) -> Any:
    """Rules about where pods may run: those that select by labels select by these, too."""
    if isinstance(value, list):
        return [_selecting(item, pairs) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _selecting(item, pairs) for name, item in value.items()}
    if isinstance(found.get("labelSelector"), dict) and "matchLabels" in found["labelSelector"]:
        found["labelSelector"] = extended(found["labelSelector"], ("matchLabels",), pairs)
    return found


def annotated(pairs: Mapping[str, Any]) -> Callable[[Manifest], Manifest]:
    def change(item: Manifest) -> Manifest:
        item = extended(item, ("metadata", "annotations"), pairs)
        return extended(item, ("spec", "template", "metadata", "annotations"), pairs) if pod_spec(item) else item

    return change


def replicated(entry: Manifest) -> Callable[[Manifest], Manifest]:
    def change(item: Manifest) -> Manifest:
        wanted = pod_spec(item) and name_of(item) == entry.get("name")
        return extended(item, ("spec",), {"replicas": entry.get("count")}) if wanted else item

    return change


_IMAGE = re.compile(r"(?P<name>.+?)(?P<tag>:[^/:@]+)?(?P<digest>@.+)?")


def with_image(entry: Manifest) -> Callable[[Manifest], Manifest]:
    def image(written: str) -> str:
        found = _IMAGE.fullmatch(written)
        if found is None or found["name"] != str(entry.get("name")):
            return written
        tag, digest = entry.get("newTag"), entry.get("digest")
        name = str(entry.get("newName") or found["name"])
        if not tag and not digest:
            return f"{name}{found['tag'] or ''}{found['digest'] or ''}"
        return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    def change(item: Manifest) -> Manifest:
        pod = pod_spec(item)
        changed = {
            field_name: [
                {**container, "image": image(str(container["image"]))} if container.get("image") else container
                for container in pod[field_name]
            ]
            for field_name in ("containers", "initContainers")
            if pod.get(field_name)
        }
        return with_pod(item, {**pod, **changed}) if changed else item

    return change


def renamed(item: Manifest, names: Mapping[str, str]) -> Manifest:
    """A Deployment that refers to generated ConfigMaps by the names that they get."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        found = {name: change(entry) for name, entry in value.items()}
        for field_name in _REFERENCES:
            if isinstance(found.get(field_name), dict) and found[field_name].get("name") in names:
                found[field_name] = {**found[field_name], "name": names[found[field_name]["name"]]}
        return found

    return with_pod(item, change(pod_spec(item))) if pod_spec(item) else item
