# SPDX-License-Identifier: GPL-3.0-or-later
"""What `kubectl apply` does, as `tutor k8s start` calls it: client-side, with a three-way merge against the last run.

What an earlier manifest had and this one lacks goes away; what others added stays; what the manifest says wins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ._kinds import Kind
from ._schema import fields_of, item_type
from ._status import Json
from ._store import clone, kind_of
from .api_client import MERGE_PATCH, STRATEGIC_PATCH, Api, Reply

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_COMPONENT = "app.kubernetes.io/component"
# tutor k8s start leaves these to other commands.
_OTHER_COMPONENTS = ("job", "namespace")
# Structs that are one of several things: a patch says which of their fields may stay.
_UNIONS = ("DeploymentStrategy", "Volume")


def apply(api: Api, manifests: Iterable[Json]) -> list[str]:
    """Apply the manifests that `tutor k8s start` applies, and return what kubectl prints about each.

    Jobs and the namespace are not among them; the namespace has to be there. What a server refuses does not keep the
    rest from being applied; it is raised at the end, as ApplyError.
    """
    lines, refused = [], []
    for manifest in manifests:
        if not _is_left_out(manifest):
            try:
                lines.append(_apply(api, manifest))
            except _Refused as error:
                refused.append(str(error))
    if refused:
        raise ApplyError(lines, refused)
    return lines


class ApplyError(Exception):
    """Some objects were refused. `lines` is about the others, as apply() returns it."""

    def __init__(self, lines: list[str], refused: list[str]) -> None:
        super().__init__("\n".join(refused))
        self.lines = lines
        self.refused = refused


class _Refused(Exception):
    pass


def _is_left_out(manifest: Json) -> bool:
    return manifest["metadata"].get("labels", {}).get(_COMPONENT) in _OTHER_COMPONENTS


def _apply(api: Api, manifest: Json) -> str:
    kind, wanted = kind_of(manifest), with_last_applied(manifest)
    name = manifest["metadata"]["name"]
    collection = _collection(kind, manifest["metadata"].get("namespace", ""))
    found = api.request("GET", f"{collection}/{name}")
    if found.status == 404 and _is_absent_object(found):
        _check(api.request("POST", collection, wanted), f"create {kind.name} {name}")
        return f"{kind.qualified_kind.lower()}/{name} created"
    _check(found, f"read {kind.name} {name}")
    patch = three_way_patch(kind, wanted, found.body)
    if not patch:
        return f"{kind.qualified_kind.lower()}/{name} unchanged"
    content_type = MERGE_PATCH if kind.custom else STRATEGIC_PATCH
    patched = api.request("PATCH", f"{collection}/{name}", patch, content_type=content_type)
    _check(patched, f"patch {kind.name} {name}")
    return f"{kind.qualified_kind.lower()}/{name} configured"


def _collection(kind: Kind, namespace: str) -> str:
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{prefix}/namespaces/{namespace}/{kind.plural}" if kind.namespaced else f"{prefix}/{kind.plural}"


def _is_absent_object(reply: Reply) -> bool:
    """Not where the kind itself is absent: then the answer is no JSON."""
    return isinstance(reply.body, dict)


def _check(reply: Reply, what: str) -> None:
    if reply.status >= 400:
        message = reply.body.get("message") if isinstance(reply.body, dict) else reply.body
        raise _Refused(f"cannot {what}: {reply.status} {message}")


def with_last_applied(manifest: Json) -> Json:
    """The manifest with itself as an annotation, by which the next run knows what this one said."""
    wanted: Json = clone(manifest)
    annotations = wanted["metadata"].setdefault("annotations", {})
    text = json.dumps(wanted, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    annotations[LAST_APPLIED] = f"{text}\n"
    return wanted


def three_way_patch(kind: Kind, wanted: Json, live: Json) -> Json:
    """The patch that brings the live object to what is wanted; empty where it is that already."""
    before = json.loads(live["metadata"].get("annotations", {}).get(LAST_APPLIED, "{}"))
    identity = ("apiVersion", "kind")
    wanted, before = ({key: part[key] for key in part if key not in identity} for part in (wanted, before))
    return _patch("" if kind.custom else kind.name, before, wanted, live)


def _patch(type_: str, before: Json, wanted: Json, live: Json) -> Json:
    """`type_` is the name of a struct; other maps, and all of a custom resource, have none."""
    fields = fields_of(type_) if type_[:1].isupper() else {}
    patch: Json = {}
    for name, value in wanted.items():
        if name not in live:
            patch[name] = value
        else:
            patch |= _field_patch(name, fields.get(name, ""), before.get(name), value, live[name])
    patch |= {name: None for name in before if name not in wanted and name in live}
    if patch and type_ in _UNIONS:
        patch["$retainKeys"] = sorted(wanted)
    return patch


def _field_patch(name: str, type_: str, before: Any, wanted: Any, live: Any) -> Json:
    if isinstance(wanted, dict) and isinstance(live, dict):
        inner = _patch(type_, before if isinstance(before, dict) else {}, wanted, live)
        return {name: inner} if inner else {}
    if isinstance(wanted, list) and isinstance(live, list) and type_.startswith("[]"):
        item, key = item_type(type_)
        if key == ".":
            return _value_list_patch(name, before or [], wanted, live)
        if key is not None:
            return _list_patch(name, item, key, before or [], wanted, live)
    return {} if wanted == live else {name: wanted}


def _list_patch(name: str, item: str, key: str, before: list[Json], wanted: list[Json], live: list[Json]) -> Json:
    old, new, now = ({entry[key]: entry for entry in part} for part in (before, wanted, live))
    changes = [
        {**change, key: place}
        for place, entry in new.items()
        if (change := _patch(item, old.get(place, {}), entry, now[place]) if place in now else entry)
    ]
    changes += [{"$patch": "delete", key: place} for place in old if place not in new and place in now]
    order = {f"$setElementOrder/{name}": [{key: place} for place in new]}
    if not changes:
        return {} if [place for place in now if place in new] == list(new) else order
    return {name: changes, **order}


def _value_list_patch(name: str, before: list[Any], wanted: list[Any], live: list[Any]) -> Json:
    patch: Json = {}
    if added := [value for value in wanted if value not in live]:
        patch[name] = added
    if gone := [value for value in before if value not in wanted and value in live]:
        patch[f"$deleteFromPrimitiveList/{name}"] = gone
    return {**patch, f"$setElementOrder/{name}": wanted} if patch else {}
