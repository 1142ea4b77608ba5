# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures as a Kubernetes API server words them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._kinds import Kind

Json = dict[str, Any]


@dataclass(frozen=True)
class FieldError:
    """One cause inside a 422 answer."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def wrong(field: str, value: Any, why: str) -> FieldError:
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Names are shown with their escapes as written; only the quotes of JSON are wanted.
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


def required(field: str, why: str = "") -> FieldError:
    return FieldError(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def unsupported(field: str, value: str, supported: Iterable[str]) -> FieldError:
    names = ", ".join(f'"{name}"' for name in supported)
    return FieldError(field, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {names}')


def forbidden(field: str, why: str) -> FieldError:
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {why}")


class ApiError(Exception):
    """A failure that is answered as a Status object."""

    def __init__(self, code: int, reason: str | None, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Json:
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        if self.reason is not None:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class PageNotFound(Exception):
    """A path that no API group serves: the server answers in plain text."""


def object_details(kind: Kind, name: str | None = None, **more: Any) -> Json:
    details: Json = {}
    if name:
        details["name"] = name
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.plural
    details.update(more)
    return details


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_implemented(what: str) -> ApiError:
    return ApiError(501, "NotImplemented", f"the emulator does not implement {what}")


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{kind.qualified} "{name}" not found', object_details(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', object_details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, object_details(kind, name))


def stale(kind: Kind, name: str) -> ApiError:
    return conflict(
        kind, name, "the object has been modified; please apply your changes to the latest version and try again"
    )


def invalid(qualified_kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    texts = [str(error) for error in errors]
    why = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind, _dot, group = qualified_kind.partition(".")
    details: Json = {"name": name, "kind": kind}
    if group:
        details["group"] = group
    details["causes"] = [{"reason": e.reason, "message": e.message, "field": e.field} for e in errors]
    return ApiError(422, "Invalid", f'{qualified_kind} "{name}" is invalid: {why}', details)


def denied_by_webhook(webhook: str, why: str) -> ApiError:
    return ApiError(403, "Forbidden", f'admission webhook "{webhook}" denied the request: {why}')
