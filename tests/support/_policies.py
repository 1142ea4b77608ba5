# SPDX-License-Identifier: GPL-3.0-or-later
"""Admission policies: what a server refuses of a change because a ValidatingAdmissionPolicy says so.

On a real server a policy is in force some time after it is written. Here it is in force at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._cel import CelError, evaluate
from ._kinds import ADMISSION_BINDING, ADMISSION_POLICY, Kind
from ._status import ApiError, Json
from ._store import Store


@dataclass(frozen=True)
class Caller:
    """Who sends a request, and what his token says of him."""

    name: str = "admin"
    extra: Mapping[str, list[str]] = field(default_factory=dict)


def admit(store: Store, kind: Kind, subresource: str, live: Json, obj: Json, caller: Caller) -> None:
    """Refuse a change that a policy refuses.

    :raises ApiError: with what the policy says.
    """
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    for binding in store.select(ADMISSION_BINDING):
        policy = store.get(ADMISSION_POLICY, "", binding["spec"]["policyName"])
        if policy is None or "Deny" not in binding["spec"]["validationActions"]:
            continue
        spec = policy["spec"]
        if not any(_fits(rule, kind, resource) for rule in spec["matchConstraints"]["resourceRules"]):
            continue
        user = {"username": caller.name, "extra": dict(caller.extra)}
        scope: dict[str, Any] = {"object": obj, "oldObject": live, "request": {"userInfo": user}}
        if all(evaluate(one["expression"], scope) for one in spec.get("matchConditions", [])):
            _validate(policy, binding, scope, kind, caller)


def _fits(rule: Json, kind: Kind, resource: str) -> bool:
    resources = {resource, "*", "*/*", f"{resource.partition('/')[0]}/*" if "/" in resource else resource}
    return (
        bool({kind.group, "*"} & set(rule["apiGroups"]))
        and bool({"UPDATE", "*"} & set(rule["operations"]))
        and bool(resources & set(rule["resources"]))
    )


def _validate(policy: Json, binding: Json, scope: dict[str, Any], kind: Kind, caller: Caller) -> None:
    spec, name = policy["spec"], scope["object"]["metadata"]["name"]
    variables: dict[str, Any] = {}
    scope = {**scope, "variables": variables}
    for one in spec.get("variables", []):
        variables[one["name"]] = evaluate(one["expression"], scope)
    for one in spec["validations"]:
        try:
            holds, why = evaluate(one["expression"], scope) is True, str(one.get("message", ""))
        except CelError as error:
            # As failurePolicy says: Fail.
            holds, why = False, f"expression '{one['expression']}' resulted in error: {error}"
        if not holds:
            where = f"ValidatingAdmissionPolicy '{policy['metadata']['name']}' with binding"
            text = f"{where} '{binding['metadata']['name']}' denied request: {why}"
            message = f'{kind.plural} "{name}" is forbidden: {text}'
            raise ApiError(422, "Invalid", message, {"name": name, "kind": kind.plural})
