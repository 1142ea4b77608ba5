# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubernetes.core list task did, as a person wants to read it.

A list task prints no diff, and its errors carry the API's text without saying which object they belong to.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from .._model.observed import LAST_APPLIED
from .._schema.documents import as_yaml
from .._schema.secret_signs import looks_secret, without_secret_values

#: Metadata that the server keeps for itself.
_SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


@dataclass(frozen=True)
class Report:
    """What happened to the objects of a list task."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    #: Written in a way that is no change for people, as the record of the last apply.
    prepared: list[str] = field(default_factory=list)
    #: Of those that failed, what the server gave no answer to: kind and name.
    lost: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def counts(self) -> str:
        """How far a run has come, for one that ends early."""
        written = {*self.created, *self.changed, *self.prepared}
        kept = [name for name in self.unchanged if name not in written]
        removed = f", {len(self.deleted)} were removed" if self.deleted else ""
        return f"{len(written)} were written, {len(kept)} needed no change{removed}"

    @property
    def summary(self) -> str:
        """One line."""
        counts = {
            "created": self.created,
            "changed": self.changed,
            "deleted": self.deleted,
            "unchanged": self.unchanged,
            "failed": self.failed,
        }
        parts = [f"{len(names)} {word}" for word, names in counts.items() if names]
        return ", ".join(parts) or "nothing to do"


def report(
    sent: list[dict[str, Any]],
    result: dict[str, Any],
    not_sent: list[dict[str, Any]],
    existing: Collection[str] | None,
    shows_diff: bool = True,
) -> Report:
    """Match the results of a list task with what was sent.

    :param sent: definitions, in the order sent.
    :param result: the registered result; one object gives another shape than several.
    :param not_sent: definitions that a dry run could not send, because their namespace or kind does not exist yet.
    :param existing: kind and name of the objects that existed before; None if that is not known.
    :param shows_diff: whether anybody will see the diffs, which take most of the time.
    """
    found = Report()
    results = list_results(result)
    if result.get("failed") and not results:
        found.failed.append(f"the whole task: {first_cause(result)}")
    for definition, item in zip(sent, results, strict=False):
        existed = _existed(item) if existing is None else identity(definition) in existing
        _note(found, definition, item, existed)
        if shows_diff and is_change(item) and not item.get("error"):
            found.diff.append(_diff(definition, *_sides(definition, item, existed)))
    for definition in not_sent:
        found.created.append(identity(definition))
        if shows_diff:
            found.diff.append(_diff(definition, {}, _shortened(readable(definition))))
    return found


def without_env_secrets(value: Any) -> Any:
    """A result in which no environment entry that looks like a secret shows its value.

    Deployments that somebody else made may have such entries. The record of the last apply repeats them all.
    """
    if isinstance(value, list):
        return [without_env_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    if looks_secret(str(value.get("name", "")), value.get("value")):
        return {**value, "value": "********"}
    return {name: "********" if name == LAST_APPLIED else without_env_secrets(item) for name, item in value.items()}


def _existed(item: dict[str, Any]) -> bool:
    """Whether an object was there before, as far as its result tells: a diff of a new one has nothing before."""
    diff = item.get("diff")
    return item.get("method") != "create" and not (isinstance(diff, dict) and "before" in diff and not diff["before"])


#: What changes by itself between two readings of an object, and the record of what was applied.
_MOVING_METADATA = {"resourceVersion", "generation", "managedFields"}
_MOVING_ANNOTATIONS = {"deployment.kubernetes.io/revision", LAST_APPLIED}


def is_change(item: dict[str, Any]) -> bool:
    """Whether a result is a change of ours: kubernetes.core also counts a status that moved meanwhile."""
    diff = item.get("diff")
    if not item.get("changed") or not isinstance(diff, dict) or not diff.get("before"):
        return bool(item.get("changed"))
    return any(_is_ours(diff.get(side) or {}) for side in ("before", "after"))


def _is_ours(side: dict[str, Any]) -> bool:
    if set(side) - {"metadata", "status"}:
        return True
    metadata = side.get("metadata") or {}
    annotations = set(metadata.get("annotations") or {})
    return bool(set(metadata) - _MOVING_METADATA - {"annotations"}) or bool(annotations - _MOVING_ANNOTATIONS)


def list_results(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One entry per object, whatever shape kubernetes.core gave the result; none for a skipped task."""
    inner = result.get("result")
    if isinstance(inner, dict) and isinstance(inner.get("results"), list):
        several: list[dict[str, Any]] = inner["results"]
        return several
    if "result" not in result and "error" not in result:
        return []
    # One object lies flat, so a task with changed_when has written over what became of it. Its diff still tells.
    return [{**result, "changed": bool(result.get("changed") or result.get("diff"))}]


def _note(found: Report, definition: dict[str, Any], item: dict[str, Any], existed: bool) -> None:
    name = identity(definition)
    found.warnings.extend(f"{name}: {text}" for text in item.get("warnings") or [])
    if item.get("error"):
        gone = lost_connection(item["error"])
        found.failed.append(f"{name}: {gone or first_cause(item['error'])}")
        found.lost.extend([name] if gone else [])
    elif not is_change(item):
        found.unchanged.append(name)
    elif item.get("method") == "delete":
        found.deleted.append(name)
    else:
        (found.changed if existed else found.created).append(name)


def _sides(definition: dict[str, Any], item: dict[str, Any], existed: bool) -> tuple[Any, Any]:
    """Before and after: of a change only what differs, as kubernetes.core found it."""
    if item.get("method") == "delete":
        return _shortened(readable(definition)), {}
    if not existed:
        return {}, _shortened(readable(definition))
    diff, kind = item.get("diff"), str(definition.get("kind", ""))
    if not isinstance(diff, dict):
        return {}, readable(item.get("result") or {}, kind)
    return readable(diff.get("before") or {}, kind), readable(diff.get("after") or {}, kind)


#: Lines of a text above which nobody reads it as a whole: a dashboard has thousands. Of a change all are compared.
_LONG_TEXT = 100


def _shortened(value: Any) -> Any:
    """An object that is new or goes, with its long texts as the number of their lines."""
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    lines = value.count("\n") if isinstance(value, str) else 0
    return f"({lines} lines, not shown)" if lines > _LONG_TEXT else value


def _diff(definition: dict[str, Any], before: Any, after: Any) -> dict[str, str]:
    name = identity(definition)
    return {"before_header": name, "after_header": name, "before": _as_text(before), "after": _as_text(after)}


def _as_text(value: Any) -> str:
    if not value:
        return ""
    return as_yaml(value)


def identity(definition: dict[str, Any]) -> str:
    """Kind and name."""
    return f"{definition.get('kind', 'object')} {definition.get('metadata', {}).get('name', '')}"


def readable(value: Any, kind: str = "") -> Any:
    """An object without what no person wrote: status, server metadata, the last apply. Of a Secret only its keys."""
    if not isinstance(value, dict):
        return value
    shown = {key: item for key, item in value.items() if key != "status"}
    if isinstance(shown.get("metadata"), dict):
        metadata = {key: item for key, item in shown["metadata"].items() if key not in _SERVER_METADATA}
        notes = {key: item for key, item in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED}
        metadata.pop("annotations", None)
        shown["metadata"] = {**metadata, **({"annotations": notes} if notes else {})}
        if not shown["metadata"]:
            del shown["metadata"]
    if "Secret" in (kind, value.get("kind")):
        for key in ("data", "stringData"):
            if isinstance(shown.get(key), dict):
                shown[key] = dict.fromkeys(shown[key], "(not shown)")
    return shown


def first_cause(error: Any) -> str:
    """The API's first cause in one line, from whatever kubernetes.core made of it, without what looks like a secret."""
    return _one_line(without_secret_values(_cause(error)))


def _cause(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    text = str(error.get("msg") or error.get("reason") or "unknown error")
    if "Timed out waiting" in text and ("ScaledObject" in text or "ScaledJob" in text):
        return (
            "it is marked for deletion and still there. Its finalizer finalizer.keda.sh is taken off by KEDA's "
            "operator: check that it runs; if KEDA is gone for good, remove the finalizer by hand."
        )
    status = status_in(text)
    if status is None:
        return text
    causes = (status.get("details") or {}).get("causes") or []
    first = causes[0] if causes and isinstance(causes[0], dict) else {}
    if first.get("message"):
        place = f"{first['field']}: " if first.get("field") and first["field"] != "<nil>" else ""
        return f"{status.get('reason') or status.get('code')}: {place}{first['message']}"
    return f"{status.get('reason') or status.get('code')}: {status.get('message') or text}"


def status_in(text: str) -> dict[str, Any] | None:
    """The Status object that an exception's text quotes, as JSON or as Python bytes."""
    for match in re.finditer(r"b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\"", text, re.DOTALL):
        try:
            return _status(ast.literal_eval(match[0]).decode())
        except (ValueError, SyntaxError, UnicodeDecodeError):
            continue
    # A refused stream quotes its headers before the answer.
    starts = (match.start() for match in re.finditer(r"\{", text))
    return next((found for start in starts if (found := _status(text[start:])) is not None), None)


def _status(text: str) -> dict[str, Any] | None:
    try:
        found, _end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == "Status" else None


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 500 else f"{line[:497]}..."


#: What the ways in which a connection ends are called, the most telling first.
_ENDS = (
    (r"Connection ?refused|Errno 111", "connection refused"),
    (
        r"getaddrinfo|NameResolutionError|Name or service not known|name resolution|nodename nor servname",
        "connection not possible, its name is not found",
    ),
    (r"No route to host|Network is unreachable|Errno 1(?:01|13)\b", "connection not possible, there is no route"),
    (
        r"Connection ?reset|RemoteDisconnected|Connection aborted|Broken ?pipe|IncompleteRead|EOF occurred",
        "connection closed without an answer",
    ),
    (
        r"ReadTimeout|ConnectTimeout|Read timed out|connect timeout|connection timed out|Errno 110",
        "connection without an answer in time",
    ),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", "connection not trusted, the certificate does not fit"),
    (r"NewConnectionError|MaxRetryError|Max retries exceeded|ProtocolError", "connection lost"),
)


def lost_connection(error: Any) -> str:
    """How the connection to the server ended, in fixed words; empty if the error is an answer of the server.

    An answer may quote a connection of the server's own, as that to a webhook.
    """
    text = f"{error.get('msg') or ''} {error.get('exception') or ''}" if isinstance(error, dict) else str(error)
    if status_in(text) is not None:
        return ""
    return next((words for pattern, words in _ENDS if re.search(pattern, text, re.IGNORECASE)), "")


def failure_message(found: Report, address: str = "", later: Collection[str] = ()) -> str:
    """What a person needs to know when the API refused something, or gave no answer any more.

    :param address: of the API server.
    :param later: kind and name of what was not sent after it.
    """
    refused = len(found.failed) - len(found.lost)
    lines = []
    if found.lost:
        first = next(text for text in found.failed if text.partition(": ")[0] == found.lost[0])
        server = f"The API server{f' {address}' if address else ''}"
        lines.append(
            f"{server} could not be reached any more at {first}; {found.counts}. A second run continues from here."
        )
    if refused:
        lines.append(
            f"The API refused {refused} of {_total(found)} objects; {found.counts}. A second run continues from here."
        )
    lines += [text for text in found.failed if text.partition(": ")[0] not in found.lost]
    return "\n".join([*lines, *not_sent_lines([*found.lost[1:], *later])])


def not_sent_lines(names: Collection[str]) -> list[str]:
    """One line on what was not sent, with the first names; none if nothing is left."""
    first = list(names)[:5]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return [f"Not sent ({len(names)}): {', '.join(first)}{more}."] if names else []


def _total(found: Report) -> int:
    return sum(len(names) for names in (found.created, found.changed, found.deleted, found.unchanged, found.failed))
