# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch. Neither changes what it is given."""

from __future__ import annotations

from typing import Any

from ._schema import fields_of, item_type
from ._status import Json, bad_request

_DIRECTIVES = ("$setElementOrder/", "$deleteFromPrimitiveList/")


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
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [item for item in merged.get(field, []) if item not in value]
        elif key == "$retainKeys" or key.startswith(_DIRECTIVES):
            continue
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(fields.get(key, "any"), merged.get(key), value)
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
        return [*current, *(value for value in patch if value not in current)]
    if {"$patch": "replace"} in patch:
        return [entry for entry in patch if entry != {"$patch": "replace"}]
    merged = list(current)
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise bad_request(f"map: {entry} does not contain declared merge key: {key}")
        _merge_entry(item, key, merged, entry)
    return merged


def _merge_entry(item: str, key: str, merged: list[Any], entry: Json) -> None:
    place = next((i for i, old in enumerate(merged) if old.get(key) == entry[key]), None)
    if entry.get("$patch") == "delete":
        if place is not None:
            del merged[place]
    elif place is None:
        merged.append(_merge_struct(item, {}, entry))
    else:
        merged[place] = _merge_struct(item, merged[place], entry)
