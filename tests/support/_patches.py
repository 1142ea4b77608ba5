# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch. Neither changes what it is given."""

from __future__ import annotations

from typing import Any

from ._schema import fields_of, item_type
from ._status import Json, bad_request

_ORDER, _DELETE_VALUES = "$setElementOrder/", "$deleteFromPrimitiveList/"


def merge_patch(current: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge_patch(kind: str, current: Json, patch: Json) -> Json:
    return _merge_struct(kind, current, patch)


def _merge_struct(struct: str, current: Json, patch: Json) -> Json:
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    fields, merged = fields_of(struct), dict(current)
    if (retained := patch.get("$retainKeys")) is not None:
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_VALUES):
            field = key.removeprefix(_DELETE_VALUES)
            merged[field] = [item for item in merged.get(field, []) if item not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(fields.get(key, "any"), merged.get(key), value)
    for key, order in patch.items():
        if key.startswith(_ORDER) and (field := key.removeprefix(_ORDER)) in merged:
            _item, by = item_type(fields.get(field, "any"))
            merged[field] = _in_order(merged[field], order, current.get(field) or [], by)
    return merged


def _merge_value(type_: str, current: Any, patch: Any) -> Any:
    if isinstance(patch, list):
        item, key = item_type(type_) if type_.startswith("[]") else ("any", None)
        return _merge_list(item, key, current or [], patch) if key else patch
    if isinstance(patch, dict):
        base = current if isinstance(current, dict) else {}
        return _merge_struct(type_, base, patch) if type_[0].isupper() else merge_patch(base, patch)
    return patch


def _merge_list(item: str, key: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if key == ".":
        return _in_order([*current, *(value for value in patch if value not in current)], patch, current, key)
    if {"$patch": "replace"} in patch:
        return [entry for entry in patch if entry != {"$patch": "replace"}]
    merged = list(current)
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise bad_request(f"map: {entry} does not contain declared merge key: {key}")
        _merge_entry(item, key, merged, entry)
    return _in_order(merged, [entry for entry in patch if "$patch" not in entry], current, key)


def _in_order(merged: list[Any], order: list[Any], before: list[Any], key: str | None) -> list[Any]:
    """The merged list: what the patch names in the patch's order, and the rest where the server had it.

    Of two entries that the server did not both have, the one that the patch names goes first.
    """

    def identity(entry: Any) -> Any:
        return entry.get(key) if isinstance(entry, dict) and key else entry

    wanted, had = [identity(entry) for entry in order], [identity(entry) for entry in before]
    named = [entry for entry in merged if identity(entry) in wanted]
    named.sort(key=lambda entry: wanted.index(identity(entry)))
    others = [entry for entry in merged if identity(entry) not in wanted]
    ordered = []
    while named and others:
        first, second = identity(named[0]), identity(others[0])
        behind = first in had and second in had and had.index(second) < had.index(first)
        ordered.append((others if behind else named).pop(0))
    return [*ordered, *named, *others]


def _merge_entry(item: str, key: str, merged: list[Any], entry: Json) -> None:
    place = next((i for i, old in enumerate(merged) if old.get(key) == entry[key]), None)
    if entry.get("$patch") == "delete":
        if place is not None:
            del merged[place]
    elif place is None:
        merged.append(_merge_struct(item, {}, entry))
    else:
        merged[place] = _merge_struct(item, merged[place], entry)
