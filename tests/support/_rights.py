# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request needs, and who may do it: role-based access control as an API server enforces it.

A server looks at the path before it looks for the kind, so that who lacks a right is told that, and never that a kind
does not exist. Who makes a role or binds one must hold what is in it. Roles are not aggregated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ._http import HttpRequest
from ._kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from ._status import ApiError, Json
from ._store import Store

_SUBRESOURCES_OF_NAMESPACES = ("status", "finalize")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class Target:
    """What the path of a request means, whether or not the server knows such a kind.

    :param below: what follows the name: a subresource, and for a proxy a path of what is behind it.
    """

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    below: tuple[str, ...] = ()


def target_of(segments: list[str]) -> Target | None:
    """None for a path that leads to no object and no list of objects."""
    if segments[0] not in ("api", "apis") or len(segments) < (3 if segments[0] == "api" else 4):
        return None
    start = 1 if segments[0] == "api" else 2
    group, version, rest = segments[1] if start == 2 else "", segments[start], segments[start + 1 :]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in _SUBRESOURCES_OF_NAMESPACES):
        namespace, rest = rest[1], rest[2:]
    return Target(group, version, rest[0], namespace, rest[1] if len(rest) > 1 else "", tuple(rest[2:]))


@dataclass(frozen=True)
class Access:
    """One thing that a request does, as a rule of a role words it."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def forbidden(self, user: str) -> ApiError:
        main = self.resource.partition("/")[0]
        qualified = f"{main}.{self.group}" if self.group else main
        named = f' "{self.name}"' if self.name else ""
        scope = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        message = (
            f'{qualified}{named} is forbidden: User "{user}" cannot {self.verb} resource "{self.resource}" '
            f'in API group "{self.group}" {scope}'
        )
        details = {"name": self.name} if self.name else {}
        details |= {"group": self.group} if self.group else {}
        return ApiError(403, "Forbidden", message, {**details, "kind": main})


def accesses(request: HttpRequest, target: Target, creates: bool = False) -> Iterator[Access]:
    """What a request needs.

    :param creates: whether it is a server-side apply of an object that is not there.
    """
    subresource = f"/{target.below[0]}" if target.below else ""
    # A namespace is looked for in its own roles.
    namespace = target.name if (target.group, target.resource) == ("", "namespaces") else target.namespace
    name = target.name or request.parameter("fieldSelector").partition("metadata.name=")[2].partition(",")[0]
    access = Access(_verb(request, target), target.group, f"{target.resource}{subresource}", namespace, name)
    yield access
    # A command needs `create` whichever way the client opens its stream (Kubernetes 1.35).
    is_stream = subresource in ("/exec", "/attach", "/portforward") and access.verb != "create"
    if creates or is_stream:
        yield replace(access, verb="create")


def _verb(request: HttpRequest, target: Target) -> str:
    if request.method in ("GET", "HEAD"):
        watches = request.parameter("watch") in ("1", "true")
        return "watch" if watches else "get" if target.name else "list"
    return _VERBS.get(request.method, "delete" if target.name else "deletecollection")


@dataclass(frozen=True)
class Authorizer:
    """Who may do what, by the roles and bindings that are stored."""

    store: Store

    def check(self, user: str, access: Access) -> None:
        if not any(_permits(rule, access) for rule in self._rules(user, access.namespace)):
            raise access.forbidden(user)

    def check_grant(self, user: str, obj: Json, namespace: str) -> None:
        """Nobody grants what he may not do himself."""
        kind = str(obj.get("kind", ""))
        rules = obj.get("rules") or []
        if kind.endswith("Binding"):
            reference = obj["roleRef"]
            is_role, name = reference["kind"] == "Role", str(reference["name"])
            resource = "roles" if is_role else "clusterroles"
            binds = Access("bind", "rbac.authorization.k8s.io", resource, namespace if is_role else "", name)
            if any(_permits(own, binds) for own in self._rules(user, namespace)):
                return
            role = self.store.get(*((ROLE, namespace) if is_role else (CLUSTER_ROLE, "")), name)
            if role is None:
                # Else the server has to know what is granted.
                message = f'{resource}.rbac.authorization.k8s.io "{name}" not found'
                raise ApiError(404, "NotFound", message, {"name": name, "kind": resource})
            rules = role.get("rules", [])
        for rule in rules:
            for access in _accesses_of(rule, namespace):
                if not any(_permits(own, access) for own in self._rules(user, namespace)):
                    what = f"{{APIGroups:[{access.group!r}], Resources:[{access.resource!r}], Verbs:[{access.verb!r}]}}"
                    name = obj["metadata"]["name"]
                    message = (
                        f'{kind.lower()}s.rbac.authorization.k8s.io "{name}" is forbidden: user "{user}" is attempting '
                        f"to grant RBAC permissions not currently held:\n{what}"
                    )
                    raise ApiError(403, "Forbidden", message, {"name": name, "kind": f"{kind.lower()}s"})

    def _rules(self, user: str, namespace: str) -> Iterator[Json]:
        bindings = self.store.select(CLUSTER_ROLE_BINDING)
        if namespace:
            bindings = [*bindings, *self.store.select(ROLE_BINDING, namespace)]
        for binding in bindings:
            if any(_means(subject, user) for subject in binding.get("subjects", [])):
                reference = binding["roleRef"]
                is_role = reference["kind"] == "Role"
                place = (ROLE, namespace) if is_role else (CLUSTER_ROLE, "")
                role = self.store.get(*place, reference["name"])
                yield from (role or {}).get("rules", [])


def _accesses_of(rule: Json, namespace: str) -> Iterator[Access]:
    for verb in rule["verbs"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    yield Access(verb, group, resource, namespace, name)


def _means(subject: Json, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user == f"system:serviceaccount:{subject.get('namespace', '')}:{subject['name']}"
    if subject["kind"] == "Group":
        return str(subject["name"]) in _groups(user)
    return user == str(subject["name"])


def _groups(user: str) -> set[str]:
    parts = user.split(":")
    if parts[:2] == ["system", "serviceaccount"]:
        return {"system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"}
    return {"system:unauthenticated" if user == "system:anonymous" else "system:authenticated"}


def _permits(rule: Json, access: Access) -> bool:
    _main, _slash, subresource = access.resource.partition("/")
    resources = {"*", access.resource, *([f"*/{subresource}"] if subresource else [])}
    names = rule.get("resourceNames", [])
    return (
        bool({"*", access.verb} & set(rule.get("verbs", [])))
        and bool({"*", access.group} & set(rule.get("apiGroups", [])))
        and bool(resources & set(rule.get("resources", [])))
        # The name of what is about to be made is not known yet, so a rule with names permits no creation.
        and (not names or access.name in names)
    )
