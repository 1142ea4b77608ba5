# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors of list requests."""

from __future__ import annotations

import re
from collections.abc import Callable

from ._status import Json, bad_request

Labels = dict[str, str]
Requirement = Callable[[Labels], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!]*)$")
_KEY = re.compile(r"^(?P<not>!?)\s*(?P<key>[A-Za-z0-9][-A-Za-z0-9_./]*)$")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")

_FIELDS = {
    "Event": (*(f"involvedObject.{key}" for key in ("kind", "name", "namespace", "uid")), "reason", "type"),
    "Pod": ("status.phase", "spec.nodeName", "spec.restartPolicy"),
    "Secret": ("type",),
}


def parse_label_selector(text: str) -> list[Requirement]:
    parts = [part.strip() for part in _COMMA_OUTSIDE_PARENTHESES.split(text)]
    return [_label_requirement(part) for part in parts if part]


def _label_requirement(part: str) -> Requirement:
    if match := _SET.match(part):
        key, wanted = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["op"] == "in":
            return lambda labels: key in labels and labels[key] in wanted
        return lambda labels: key not in labels or labels[key] not in wanted
    if match := _EQUAL.match(part):
        key, value = match["key"], match["value"]
        if match["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _KEY.match(part):
        key, absent = match["key"], bool(match["not"])
        return lambda labels: (key in labels) is not absent
    raise bad_request(f"unable to parse requirement: found '{part}', expected: ',' or 'end of string'")


def parse_field_selector(text: str, kind: str) -> list[Callable[[Json], bool]]:
    return [_field_requirement(part.strip(), kind) for part in text.split(",") if part.strip()]


def _field_requirement(part: str, kind: str) -> Callable[[Json], bool]:
    match = _EQUAL.match(part)
    if match is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, value, negated = match["key"], match["value"], match["op"] == "!="
    if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(kind, ())):
        raise bad_request(f"field label not supported: {path}")
    return lambda item: (_at(item, path) == value) is not negated


def _at(item: Json, path: str) -> str:
    value: object = item
    for key in path.split("."):
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)


def matches_label_selector(selector: Json, labels: Labels) -> bool:
    """A LabelSelector object (matchLabels, matchExpressions) against labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions", []))


def _expression_holds(expression: Json, labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values", [])
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    return (key in labels) is (operator == "Exists")


def selector_text(selector: Json) -> str:
    """A LabelSelector as the `/scale` sub-resource writes it."""
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for expression in selector.get("matchExpressions", []):
        key, operator, values = expression["key"], expression["operator"], ",".join(expression.get("values", []))
        text = {"Exists": key, "DoesNotExist": f"!{key}", "In": f"{key} in ({values})"}
        parts.append(text.get(operator, f"{key} notin ({values})"))
    return ",".join(parts)
