# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request body to the object that a server would hold: types, unknown fields, quantities, empty values."""

from __future__ import annotations

import re
from typing import Any

from . import _quantity
from ._kinds import Kind
from ._schema import fields_of, item_type
from ._status import FieldError, Json, invalid

_OMIT: Any = object()
_INDEX = re.compile(r"\[[^\]]*\]")
_GO_TYPES = {"int": "int32", "bool": "bool", "string": "string"}
_ZERO = {"string": "", "int": 0, "bool": False}
_UNCHECKED = FieldError(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


class Undecodable(Exception):
    """The body is no object of its kind; the message is the decoder's."""


def decode(kind: Kind, body: Json) -> tuple[Json, list[str]]:
    """The object, and the paths of the fields that its kind does not have (they are dropped)."""
    decoder = _CustomDecoder() if kind.custom else _Decoder()
    known = {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}
    decoded = decoder.struct(kind.name, known, "")
    if isinstance(decoder, _CustomDecoder) and decoder.errors:
        name = str(body.get("metadata", {}).get("name", ""))
        raise invalid(kind.qualified_kind, name, [*decoder.errors, _UNCHECKED])
    return {"kind": kind.name, "apiVersion": kind.api_version, **decoded}, decoder.unknown


class _Decoder:
    """Built-in kinds: decoded like Go structs, the first wrong type ends it."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def struct(self, name: str, value: Json, path: str) -> Json:
        fields = fields_of(name)
        # metadata is a typed struct for every kind, so its empty labels and annotations vanish everywhere.
        decoded: Json = {}
        for key, item in value.items():
            field = f"{path}.{key}" if path else key
            type_ = fields.get(key, fields.get("*"))
            if type_ is None:
                self.unknown.append(field)
                continue
            cleaned = self.value(type_, item, field, name)
            if cleaned is not _OMIT:
                decoded[key] = cleaned
        return decoded

    def value(self, type_: str, value: Any, path: str, struct: str) -> Any:
        if type_ == "any":
            return _OMIT if value is None and self.drops_null(struct) else value
        if value is None and self.drops_null(struct):
            return _OMIT
        if type_.startswith("[]"):
            return self._list(type_, value, path, struct)
        if type_.startswith("{}"):
            return self._map(type_, value, path, struct)
        if type_ == "quantity":
            return self._quantity(value, path, struct)
        if type_ == "intorstring":
            return value if _is_int(value) or isinstance(value, str) else self.mismatch("string", value, path, struct)
        if type_.rstrip("?") in _ZERO:
            return self._scalar(type_, value, path, struct)
        return self.struct(type_, value, path) if isinstance(value, dict) else self.mismatch(type_, value, path, struct)

    def _scalar(self, type_: str, value: Any, path: str, struct: str) -> Any:
        name = type_.rstrip("?")
        good = {"string": isinstance(value, str), "int": _is_int(value), "bool": isinstance(value, bool)}[name]
        if not good:
            return self.mismatch(name, value, path, struct)
        return _OMIT if type_.endswith("?") and value == _ZERO[name] else value

    def _list(self, type_: str, value: Any, path: str, struct: str) -> Any:
        if not isinstance(value, list):
            return self.mismatch("array", value, path, struct)
        item, _default = item_type(type_)
        cleaned = [self.value(item, entry, f"{path}[{index}]", struct) for index, entry in enumerate(value)]
        kept = [entry for entry in cleaned if entry is not _OMIT]
        return kept if kept or not self.drops_empty(struct) else _OMIT

    def _map(self, type_: str, value: Any, path: str, struct: str) -> Any:
        if not isinstance(value, dict):
            return self.mismatch("object", value, path, struct)
        item = type_.removeprefix("{}")
        cleaned = {key: self.value(item, entry, self.key_path(path, key), struct) for key, entry in value.items()}
        # Go reads a null inside a map as the zero value.
        kept = {key: "" if entry is _OMIT else entry for key, entry in cleaned.items()}
        return kept if kept or not self.drops_empty(struct) else _OMIT

    def _quantity(self, value: Any, path: str, struct: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return self.mismatch("string", value, path, struct)
        try:
            return _quantity.canonical(value)
        except ValueError as error:
            raise Undecodable(str(error)) from error

    def drops_null(self, struct: str) -> bool:
        return True

    def drops_empty(self, struct: str) -> bool:
        return True

    def key_path(self, path: str, key: str) -> str:
        """Go's decoder names a map's field, not its key."""
        return path

    def mismatch(self, wanted: str, value: Any, path: str, struct: str) -> Any:
        go_type = _GO_TYPES.get(wanted, f"v1.{wanted}" if wanted[0].isupper() else wanted)
        field = _INDEX.sub("", path)
        found = _go_value(value)
        raise Undecodable(f"json: cannot unmarshal {found} into Go struct field {struct}.{field} of type {go_type}")


class _CustomDecoder(_Decoder):
    """Custom resources: checked against a schema, all errors at once, spec values kept as written."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[FieldError] = []

    def drops_null(self, struct: str) -> bool:
        return struct == "ObjectMeta"

    def drops_empty(self, struct: str) -> bool:
        return struct in ("ObjectMeta", "OwnerReference")

    def key_path(self, path: str, key: str) -> str:
        return f"{path}.{key}"

    def mismatch(self, wanted: str, value: Any, path: str, struct: str) -> Any:
        if struct == "ObjectMeta":
            return super().mismatch(wanted, value, path, struct)
        names = {"int": "integer", "bool": "boolean", "string": "string", "array": "array"}
        found = _schema_type(value)
        message = f'Invalid value: "{found}": {path} in body must be of type {names.get(wanted, "object")}: "{found}"'
        self.errors.append(FieldError(path, "FieldValueTypeInvalid", message))
        return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _go_value(value: Any) -> str:
    """How Go's decoder calls what it found."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return f"number {value}"
    return {int: "number", str: "string", list: "array", dict: "object"}.get(type(value), "null")


def _schema_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
