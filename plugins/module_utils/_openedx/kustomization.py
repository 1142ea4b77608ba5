# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What C(kubectl kustomize) makes of a folder, as far as workers need it, without kubectl.

Measured with kustomize 5.5. What a kustomization asks for and this does not do becomes a warning.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from .kustomize_patches import (
    KustomizationError,
    Manifest,
    annotated,
    extended,
    labelled,
    name_of,
    patched,
    renamed,
    replicated,
    unknown_directives,
    with_image,
)

with contextlib.suppress(ImportError):  # modules look at HAS_YAML first
    import yaml


KUSTOMIZATION = "kustomization.yml"

_APPLIED = {
    *("resources", "namespace", "labels", "commonLabels", "commonAnnotations", "configMapGenerator"),
    *("generatorOptions", "patches", "patchesStrategicMerge", "images", "replicas"),
}
_WITHOUT_EFFECT = {"apiVersion", "kind", "metadata", "sortOptions"}
#: kustomize writes these letters instead of those that make words out of a hash.
_HASH_LETTERS = str.maketrans("013ae", "ghkmt")


@dataclass(frozen=True)
class Kustomized:
    """The objects of a kustomization.

    :param objects: its resources. ConfigMaps that it generates are not among them.
    :param texts: contents of every generated ConfigMap, by the name that it has in the cluster. They may be secret.
    """

    namespace: str = ""
    objects: tuple[Manifest, ...] = field(default=(), repr=False)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[Manifest, ...]:
        """All objects of a kind, in the order of the resources."""
        return tuple(item for item in self.objects if item["kind"] == kind)


def kustomized(folder: Path) -> Kustomized:
    """Read a folder that holds a kustomization.

    :raises KustomizationError: if a file is missing, is no YAML or lies outside of the folder.
    """
    documents = read_documents(folder, KUSTOMIZATION)
    if not documents:
        raise KustomizationError(f"{folder / KUSTOMIZATION} is empty.")
    return _Build(folder, documents[0]).run()


def read_documents(folder: Path, name: str) -> list[Manifest]:
    """The YAML documents of a file, those that are no dict left out.

    :raises KustomizationError: if there is none, or if it is no YAML.
    """
    return list(_parsed(read_bytes(folder, name), str(folder / name)))


def read_bytes(folder: Path, name: str) -> bytes:
    """A file below a folder. Links that lead out of it are not followed, as in kustomize."""
    path = folder / name
    try:
        if folder.resolve() not in path.resolve().parents:
            raise KustomizationError(f"{path} lies outside of {folder}.")
        return path.read_bytes()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be read"
        raise KustomizationError(f"{path} cannot be read: {reason}.") from error


def config_map_hash(data: Mapping[str, str], binary: Mapping[str, str] | None = None) -> str:
    """The end of a generated ConfigMap's name.

    :param binary: contents that are no text, in base64.
    """
    # The name is no part of it: kustomize leaves it empty. A ConfigMap without texts has an empty text for them.
    content: dict[str, Any] = {"data": data or "", "kind": "ConfigMap", "name": ""}
    if binary:
        content["binaryData"] = binary
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    # Go escapes what could end a script in HTML.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_HASH_LETTERS)


def _parsed(content: bytes | str, place: str) -> Iterator[Manifest]:
    try:
        for document in yaml.load_all(content, _loader()):
            if isinstance(document, dict):
                yield document
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise KustomizationError(f"{place}{line}: this is no YAML.") from error


@cache
def _loader() -> Any:
    """Reads scalars as kustomize does: no dates, and of the words only true and false are booleans."""

    class Loader(yaml.SafeLoader):
        """Of its own, so that nobody else's YAML is read so."""

    def is_read(tag: str, first: str) -> bool:
        return not tag.endswith(":timestamp") and (not tag.endswith(":bool") or first in "tTfF")

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if is_read(tag, first)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


@dataclass
class _Build:
    """One kustomization on its way to objects, in the order in which kustomize works."""

    folder: Path
    wanted: Manifest
    warnings: list[str] = field(default_factory=list)

    def run(self) -> Kustomized:
        for name in sorted(set(self.wanted) - _APPLIED - _WITHOUT_EFFECT):
            self._warn(name, "is not applied here")
        generators = self._generators()
        objects = [*self._resources(), *generators.values()]
        for patch in self._patches():
            objects = patch(objects)
        maps = {name: next((item for item in objects if _is_map(item, name)), None) for name in generators}
        namespace = str(self.wanted.get("namespace") or "")
        names = {name: self._final_name(name, item) for name, item in maps.items() if item is not None}
        kept = [item for item in objects if not any(_is_map(item, name) for name in generators)]
        return Kustomized(
            namespace,
            tuple(renamed(item, names) for item in self._transformed(kept, namespace)),
            {names[name]: tuple(_texts(item)) for name, item in maps.items() if item is not None},
            tuple(dict.fromkeys(self.warnings)),
        )

    def _warn(self, subject: str, what: str) -> None:
        self.warnings.append(
            f"{self.folder / KUSTOMIZATION}: {subject} {what}, so Deployments may look different in the cluster. "
            f"Compare with: kubectl kustomize {self.folder}"
        )

    def _entries(self, name: str) -> list[Any]:
        found = self.wanted.get(name) or []
        if isinstance(found, list):
            return found
        self._warn(name, "is no list and is left out")
        return []

    def _mappings(self, name: str, known: Iterable[str]) -> Iterator[Manifest]:
        """Entries of a list that are dicts, with a warning for keys that are not known."""
        for entry in self._entries(name):
            if not isinstance(entry, dict):
                self._warn(name, "has an entry that is no dict and is left out")
                continue
            for key in sorted(set(entry) - set(known)):
                self._warn(f"{name} with {key}", "is not applied here")
            yield entry

    # What there is

    def _resources(self) -> Iterator[Manifest]:
        for name in self._entries("resources"):
            if not isinstance(name, str) or "://" in name or (self.folder / name).is_dir():
                self._warn(f"the resource {name}", "is no file and is left out")
                continue
            yield from self._objects(read_documents(self.folder, name), name)

    def _objects(self, documents: Iterable[Manifest], place: str) -> Iterator[Manifest]:
        for document in documents:
            if isinstance(document.get("items"), list) and str(document.get("kind")).endswith("List"):
                yield from self._objects([item for item in document["items"] if isinstance(item, dict)], place)
            elif isinstance(document.get("kind"), str) and name_of(document):
                yield document
            elif document:
                self._warn(f"{place}", "holds something without kind or name, which is left out")

    def _generators(self) -> dict[str, Manifest]:
        """The ConfigMaps that are made, by name."""
        found: dict[str, Manifest] = {}
        known = {"name", "namespace", "files", "literals", "envs", "env", "options", "behavior"}
        for entry in self._mappings("configMapGenerator", known):
            name = str(entry.get("name") or "")
            if entry.get("behavior", "create") != "create":
                self._warn(f"behavior {entry['behavior']} of the ConfigMap {name}", "is not applied here")
            data: dict[str, str] = {}
            binary: dict[str, str] = {}
            for key, content in self._contents(entry):
                try:
                    data[key] = content.decode("utf-8")
                except UnicodeDecodeError:
                    binary[key] = base64.b64encode(content).decode("ascii")
            found[name] = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                **({"data": data} if data else {}),
                **({"binaryData": binary} if binary else {}),
            }
        return found

    def _contents(self, entry: Manifest) -> Iterator[tuple[str, bytes]]:
        for written in entry.get("files") or []:
            key, equals, path = str(written).partition("=")
            yield (key, read_bytes(self.folder, path)) if equals else (Path(key).name, read_bytes(self.folder, key))
        for literal in entry.get("literals") or []:
            key, _equals, value = str(literal).partition("=")
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            yield key, (value[1:-1] if quoted else value).encode()
        for path in [*(entry.get("envs") or []), *filter(None, [entry.get("env")])]:
            for line in read_bytes(self.folder, str(path)).decode("utf-8", "replace").splitlines():
                key, equals, value = line.lstrip().partition("=")
                if equals and not key.startswith("#"):
                    yield key, value.encode()
                elif key and not key.startswith("#"):
                    self._warn(f"{path}", f"takes {key} from the environment of kubectl, which is not read")

    def _final_name(self, name: str, item: Manifest) -> str:
        entries = [entry for entry in self._entries("configMapGenerator") if entry.get("name") == name]
        options = [self.wanted.get("generatorOptions") or {}, *((entry.get("options") or {}) for entry in entries)]
        if any(option.get("disableNameSuffixHash") for option in options):
            return name
        return f"{name}-{config_map_hash(item.get('data') or {}, item.get('binaryData'))}"

    # What is changed in it

    def _patches(self) -> Iterator[Callable[[list[Manifest]], list[Manifest]]]:
        for written in self._entries("patchesStrategicMerge"):
            yield from self._patch(written if "\n" in str(written) else None, str(written), {})
        for entry in self._mappings("patches", ("path", "patch", "target", "options")):
            target = entry.get("target") or {}
            if entry.get("options"):
                self._warn("patches with options", "is not applied here")
            yield from self._patch(entry.get("patch"), str(entry.get("path")), target)

    def _patch(self, inline: Any, path: str, target: Manifest) -> Iterator[Callable[[list[Manifest]], list[Manifest]]]:
        content = inline.encode() if isinstance(inline, str) else read_bytes(self.folder, path)
        place = f"a patch of {self.folder / KUSTOMIZATION}" if isinstance(inline, str) else str(self.folder / path)
        title = "a patch" if isinstance(inline, str) else path
        unread = sorted(set(target) - {"group", "version", "kind", "name"})
        if unread:
            self._warn(f"{title} with target.{unread[0]}", "is not applied here")
            return
        documents = list(_parsed(content, place))
        if not documents and content.strip().startswith((b"-", b"[")) and b"op" in content:
            self._warn(f"{title} (JSON 6902)", "is not applied here")
        for document in documents:
            if unknown_directives(document):
                self._warn(f"{title} with {', '.join(unknown_directives(document))}", "is only applied in part")
            yield partial(self._apply, patch=document, target=target, title=title)

    def _apply(self, objects: list[Manifest], patch: Manifest, target: Manifest, title: str) -> list[Manifest]:
        chosen = [
            item for item in objects if (_selects(target, item) if target else _identity(item) == _identity(patch))
        ]
        if not chosen and not target:
            self._warn(f"{title} for {patch.get('kind')} {name_of(patch)}", "finds no such object")
        if patch.get("$patch") == "delete":
            return [item for item in objects if item not in chosen]
        return [patched(item, patch) if item in chosen else item for item in objects]

    def _transformed(self, objects: Iterable[Manifest], namespace: str) -> Iterator[Manifest]:
        """Namespace, labels, annotations, numbers and images of every object."""
        changes = [
            *self._label_changes(),
            *([annotated(self.wanted["commonAnnotations"])] if self.wanted.get("commonAnnotations") else []),
            *(replicated(entry) for entry in self._mappings("replicas", ("name", "count"))),
            *(with_image(entry) for entry in self._mappings("images", ("name", "newName", "newTag", "digest"))),
        ]
        for item in objects:
            if namespace and item["kind"] != "Namespace":
                item = extended(item, ("metadata",), {"namespace": namespace})
            for change in changes:
                item = change(item)
            yield item

    def _label_changes(self) -> Iterator[Callable[[Manifest], Manifest]]:
        if self.wanted.get("commonLabels"):
            yield labelled({"pairs": self.wanted["commonLabels"], "includeSelectors": True})
        for entry in self._mappings("labels", ("pairs", "includeSelectors", "includeTemplates")):
            yield labelled(entry)


# Objects


def _identity(item: Manifest) -> tuple[str, str, str]:
    return str(item.get("apiVersion")).rpartition("/")[0], str(item.get("kind")), name_of(item)


def _is_map(item: Manifest, name: str) -> bool:
    return _identity(item) == ("", "ConfigMap", name)


def _texts(item: Manifest) -> list[str]:
    return [str(text) for text in (item.get("data") or {}).values()]


def _selects(target: Manifest, item: Manifest) -> bool:
    group, kind, name = _identity(item)
    version = str(item.get("apiVersion")).rpartition("/")[2]
    found = {"group": group, "version": version, "kind": kind, "name": name}
    return all(re.fullmatch(str(wanted), found[key]) for key, wanted in target.items())


# Patches


# What every object gets
