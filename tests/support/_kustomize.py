# SPDX-License-Identifier: GPL-3.0-or-later
"""What `kubectl kustomize` makes of the kustomizations that Tutor writes. What they do not use is refused aloud."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ._schema import fields_of, item_type
from ._status import Json
from ._store import clone

_KNOWN = {
    *("apiVersion", "kind", "resources", "namespace", "commonAnnotations", "labels"),
    *("configMapGenerator", "patches", "patchesStrategicMerge"),
}
_CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PersistentVolume", "StorageClass"}
_WITH_PODS = {"DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"}
# A Job's selector is made by the server, and only labelled where it is given.
_WITH_SELECTOR = _WITH_PODS - {"Job"}
# The order of what is printed, and so of what is applied; other kinds follow by group, version and name.
_KINDS_IN_ORDER = (
    *("Namespace", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "ServiceAccount"),
    *("PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret"),
    *("Endpoints", "Service", "LimitRange", "PriorityClass", "PersistentVolume", "PersistentVolumeClaim"),
    *("Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget"),
)
# kustomize writes these letters instead of those that make words out of a hash.
_HASH_LETTERS = str.maketrans("013ae", "ghkmt")


class _Loader(yaml.SafeLoader):
    """Reads scalars as kustomize does: no dates, and of the words only `true` and `false` are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp") and not (tag.endswith(":bool") and first not in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def kustomized(folder: Path) -> list[Json]:
    """The objects of a kustomization, in the order in which kubectl prints and applies them."""
    kustomization = next(_documents(folder / "kustomization.yml"))
    if unknown := set(kustomization) - _KNOWN:
        raise NotImplementedError(f"{folder}: kustomize is not imitated for {', '.join(sorted(unknown))}")
    objects = [obj for path in kustomization.get("resources") or [] for obj in _documents(folder / path)]
    generators = kustomization.get("configMapGenerator") or []
    objects += [_generated(folder, generator) for generator in generators]
    for patch in _patches(folder, kustomization):
        _apply_patch(objects, patch)
    for obj in objects:
        _set_namespace(obj, kustomization.get("namespace"))
        for labels in kustomization.get("labels") or []:
            _add_labels(obj, labels)
        _add_annotations(obj, kustomization.get("commonAnnotations") or {})
    hashed = {generator["name"]: obj for generator, obj in zip(generators, _maps(objects, generators), strict=True)}
    renamed = {name: f"{name}-{_content_hash(obj)}" for name, obj in hashed.items()}
    for name, obj in hashed.items():
        obj["metadata"]["name"] = renamed[name]
    for obj in objects:
        _rename_references(_pod_spec(obj), renamed)
    return sorted(objects, key=_place)


def _place(obj: Json) -> tuple[int, str, str]:
    group, _slash, version = obj["apiVersion"].rpartition("/")
    known = obj["kind"] in _KINDS_IN_ORDER
    place = _KINDS_IN_ORDER.index(obj["kind"]) if known else len(_KINDS_IN_ORDER)
    return place, f"{group or '~G'}_{version}_{obj['kind']}", obj["metadata"]["name"]


def read_objects(text: str) -> Iterator[Json]:
    """The documents of a YAML text, read as kustomize reads them."""
    return (document for document in yaml.load_all(text, _Loader) if document is not None)


def _documents(path: Path) -> Iterator[Json]:
    return read_objects(path.read_text(encoding="utf-8"))


# ConfigMaps


def _generated(folder: Path, generator: Json) -> Json:
    if unknown := set(generator) - {"name", "files", "options"}:
        raise NotImplementedError(f"configMapGenerator with {', '.join(sorted(unknown))}")
    data = {}
    for entry in generator.get("files") or []:
        key, _equals, path = entry.rpartition("=")
        data[key or Path(path).name] = (folder / path).read_text(encoding="utf-8")
    options = generator.get("options") or {}
    if unknown := set(options) - {"labels", "annotations"}:
        raise NotImplementedError(f"configMapGenerator with options {', '.join(sorted(unknown))}")
    metadata = {"name": generator["name"], **{key: dict(value) for key, value in options.items()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _maps(objects: list[Json], generators: list[Json]) -> list[Json]:
    return objects[len(objects) - len(generators) :]


def _content_hash(obj: Json) -> str:
    # The name is no part of it: kustomize leaves it empty.
    content = {"data": obj["data"], "kind": "ConfigMap", "name": ""}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_HASH_LETTERS)


def _rename_references(pod: Json, renamed: dict[str, str]) -> None:
    references = [volume["configMap"] for volume in pod.get("volumes") or [] if "configMap" in volume]
    for volume in pod.get("volumes") or []:
        sources = volume.get("projected", {}).get("sources", [])
        references += [source["configMap"] for source in sources if "configMap" in source]
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        references += [one["configMapRef"] for one in container.get("envFrom") or [] if "configMapRef" in one]
        sources = [one.get("valueFrom") or {} for one in container.get("env") or []]
        references += [source["configMapKeyRef"] for source in sources if "configMapKeyRef" in source]
    for reference in references:
        reference["name"] = renamed.get(reference["name"], reference["name"])


# Patches


def _patches(folder: Path, kustomization: Json) -> Iterator[Json]:
    for path in kustomization.get("patchesStrategicMerge") or []:
        yield from _documents(folder / path)
    for patch in kustomization.get("patches") or []:
        if set(patch) == {"path"}:
            yield from _documents(folder / patch["path"])
        elif set(patch) == {"patch"}:
            yield from read_objects(patch["patch"])
        else:
            raise NotImplementedError(f"patches with {', '.join(sorted(patch))}")


def _apply_patch(objects: list[Json], patch: Json) -> None:
    key = _key(patch)
    found = next((place for place, obj in enumerate(objects) if _key(obj) == key), None)
    if found is None:
        raise ValueError(f"no resource matches the patch of {' '.join(key)}")
    if patch.get("$patch") == "delete":
        del objects[found]
    else:
        objects[found] = _merged(patch["kind"], objects[found], patch)


def _key(obj: Json) -> tuple[str, str, str]:
    return obj["apiVersion"].rpartition("/")[0], obj["kind"], obj["metadata"]["name"]


def _merged(type_: str, current: Any, patch: Any) -> Any:
    """The strategic merge of kustomize, which puts entries that are new into the front of a list."""
    if isinstance(patch, list) and isinstance(current, list):
        item, key = item_type(type_) if type_.startswith("[]") else ("any", None)
        return _merged_list(item, key, current, patch) if key else patch
    if not isinstance(patch, dict) or not isinstance(current, dict) or patch.get("$patch") == "replace":
        return _without_directives(patch)
    fields = fields_of(type_) if type_[:1].isupper() else {}
    merged = dict(current)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif name in merged:
            merged[name] = _merged(fields.get(name, "any"), merged[name], value)
        else:
            merged[name] = _without_directives(value)
    return merged


def _merged_list(item: str, key: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if key == ".":
        return [*patch, *(value for value in current if value not in patch)]
    if {"$patch": "replace"} in patch:
        return [entry for entry in patch if entry != {"$patch": "replace"}]
    known = {entry[key]: entry for entry in current}
    given = {entry[key]: entry for entry in patch}
    kept = [_merged(item, known.get(name, {}), entry) for name, entry in given.items() if "$patch" not in entry]
    return [*kept, *(entry for entry in current if entry[key] not in given)]


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_directives(item) for key, item in value.items() if key != "$patch" and item is not None}
    return [_without_directives(item) for item in value] if isinstance(value, list) else value


# What every object gets


def _set_namespace(obj: Json, namespace: str | None) -> None:
    if namespace is None or obj["kind"] in _CLUSTER_WIDE:
        return
    obj["metadata"]["name" if obj["kind"] == "Namespace" else "namespace"] = namespace


def _add_labels(obj: Json, entry: Json) -> None:
    if unknown := set(entry) - {"pairs", "includeSelectors", "includeTemplates"}:
        raise NotImplementedError(f"labels with {', '.join(sorted(unknown))}")
    pairs, kind = entry["pairs"], obj["kind"]
    _extend(obj["metadata"], "labels", pairs)
    if kind in _WITH_PODS and (entry.get("includeTemplates") or entry.get("includeSelectors")):
        _extend(obj["spec"]["template"].setdefault("metadata", {}), "labels", pairs)
    if not entry.get("includeSelectors"):
        return
    if kind == "Service":
        _extend(obj["spec"], "selector", pairs)
    if kind in _WITH_SELECTOR:
        _extend(obj["spec"].setdefault("selector", {}), "matchLabels", pairs)
    if kind in ("Job", "PodDisruptionBudget") and "matchLabels" in obj["spec"].get("selector", {}):
        _extend(obj["spec"]["selector"], "matchLabels", pairs)
    pod = _pod_spec(obj) if kind in ("Deployment", "StatefulSet") else {}
    for selector in _placement_selectors([pod.get("affinity"), pod.get("topologySpreadConstraints")]):
        _extend(selector, "matchLabels", pairs)


def _placement_selectors(value: Any) -> Iterator[Json]:
    """The selectors in rules about where pods may run; kustomize adds to those that match labels already."""
    if isinstance(value, dict):
        if "matchLabels" in value.get("labelSelector", {}):
            yield value["labelSelector"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _placement_selectors(item)


def _add_annotations(obj: Json, annotations: dict[str, str]) -> None:
    if not annotations:
        return
    _extend(obj["metadata"], "annotations", annotations)
    if obj["kind"] in _WITH_PODS:
        _extend(obj["spec"]["template"].setdefault("metadata", {}), "annotations", annotations)


def _extend(parent: Json, field: str, pairs: dict[str, str]) -> None:
    parent[field] = {**(parent.get(field) or {}), **clone(pairs)}


def _pod_spec(obj: Json) -> Json:
    spec: Json = obj.get("spec", {}).get("template", {}).get("spec", {}) if obj["kind"] in _WITH_PODS else {}
    return spec
