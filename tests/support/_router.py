# SPDX-License-Identifier: GPL-3.0-or-later
"""From an HTTP request to the operation it asks for: paths, users, bodies, representations."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from . import _kinds
from ._api import APPLY_PATCH, Answer, Api, Place, WriteOptions
from ._exec import Execution
from ._http import HttpRequest, Upgrade
from ._kinds import BY_PATH, KINDS, NAMESPACE, RBAC_KINDS, SERVICE, Kind
from ._operator_metrics import OperatorMetrics, proxied
from ._policies import Caller
from ._rights import Authorizer, Target, accesses, target_of
from ._status import ApiError, Json, PageNotFound, bad_request, not_implemented
from ._store import Store
from ._tokens import Tokens

ANONYMOUS = "system:anonymous"
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_OUR_GROUPS = frozenset(kind.group for kind in KINDS)
# Groups that a real server has and the emulator does not serve: they are refused aloud, not reported as absent.
_OTHER_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        *(
            "authentication",
            "authorization",
            "certificates",
            "coordination",
        ),
        *("discovery", "events", "external.metrics", "flowcontrol.apiserver", "metrics", "node"),
        *("resource", "scheduling", "storage"),
    )
) | {"eventing.keda.sh"}


@dataclass(frozen=True)
class Users:
    """Who a bearer token is. Without an accepted token everybody may do everything."""

    token: str | None
    forbidden_token: str
    forbidden_user: str
    tokens: Tokens

    def caller(self, authorization: str) -> Caller:
        """Who it is as admission sees it."""
        extra = self.tokens.extra(authorization.removeprefix("Bearer "))
        return Caller(self.user(authorization) or "admin", extra)

    def user(self, authorization: str) -> str | None:
        """None for the user who may do everything; Unauthorized for a token that nobody has."""
        if self.token is None:
            return None
        if not authorization:
            return ANONYMOUS
        token = authorization.removeprefix("Bearer ")
        if token == self.token:
            return None
        if token == self.forbidden_token:
            return self.forbidden_user
        found = self.tokens.user(token)
        if found:
            return found
        raise ApiError(401, "Unauthorized", "Unauthorized")


class Router:
    """Takes a request to what answers it.

    :param enforces: whether an account may only do what roles allow it. Else it may do everything.
    """

    def __init__(
        self,
        store: Store,
        api: Api,
        execution: Execution,
        metrics: OperatorMetrics,
        users: Users,
        address: str,
        enforces: bool,
    ) -> None:
        self._store = store
        self._api = api
        self._execution = execution
        self._metrics = metrics
        self._users = users
        self._address = address
        self._authorizer = Authorizer(store)
        self._enforces = enforces

    def answer(self, request: HttpRequest) -> Answer | Upgrade:
        user = self._users.user(request.authorization)
        path = request.path.rstrip("/")
        if path in _PUBLIC:
            return Answer(200, dict(_kinds.VERSION) if path == "/version" else "ok")
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        target = target_of(segments)
        if target is None:
            return self._discovery(request, segments, user)
        # Before the kind is looked for, as on a server.
        self._authorize(request, target, user)
        place = self._place(target)
        self._check_grant(request, place, user)
        if place.subresource == "exec":
            return self._exec(request, place)
        if place.subresource == "proxy":
            return self._proxy(request, place, "/".join(target.below[1:]))
        if place.subresource == "token":
            return self._token(request, place)
        return _represented(self._operation(request, place), request.accept)

    def _authorize(self, request: HttpRequest, target: Target, user: str | None) -> None:
        if user is None or (user.startswith("system:serviceaccount:") and not self._is_checked(user)):
            return
        for access in accesses(request, target, self._creates(request, target)):
            self._authorizer.check(user, access)

    def _check_grant(self, request: HttpRequest, place: Place, user: str | None) -> None:
        if place.kind in RBAC_KINDS and request.method in ("POST", "PUT", "PATCH") and user and self._is_checked(user):
            live = self._store.get(place.kind, place.namespace, place.name) or {}
            self._authorizer.check_grant(user, {**live, "kind": place.kind.name, **_body(request)}, place.namespace)

    def _is_checked(self, user: str) -> bool:
        return self._enforces or user == self._users.forbidden_user

    def _creates(self, request: HttpRequest, target: Target) -> bool:
        """Whether a request is a server-side apply of what is not there."""
        kind = BY_PATH.get((target.group, target.version, target.resource))
        if kind is None or request.method != "PATCH" or request.content_type != APPLY_PATCH:
            return False
        return self._store.get(kind, target.namespace, target.name) is None

    # Discovery

    def _discovery(self, request: HttpRequest, segments: list[str], user: str | None) -> Answer:
        if user == ANONYMOUS:
            message = f'forbidden: User "{user}" cannot get path "{request.path}"'
            raise ApiError(403, "Forbidden", message, {})
        if request.method != "GET":
            raise _method_not_allowed()
        document = self._document(segments)
        if document is None:
            raise PageNotFound
        return Answer(200, document)

    def _document(self, segments: list[str]) -> Json | None:
        served = list(self._store.served())
        match segments:
            case ["api"]:
                return _kinds.api_versions(self._address)
            case ["api", version]:
                return _kinds.resource_list(served, "", version)
            case ["apis"]:
                return _kinds.group_list(served)
            case ["apis", group, *_] if group in _OTHER_GROUPS:
                raise not_implemented(f"the API group {group}")
            case ["apis", group]:
                return _kinds.group_document(served, group)
            case ["apis", group, version]:
                return _kinds.resource_list(served, group, version)
        return None

    # Objects

    def _place(self, target: Target) -> Place:
        kind = self._served_kind(target.group, target.version, target.resource)
        namespace, name, below = target.namespace, target.name, target.below
        # What comes after a proxy is a path of what is behind it.
        subresource = "/".join(below[:1] if kind is SERVICE and below[:1] == ("proxy",) else below)
        if (namespace and not kind.namespaced) or (kind.namespaced and name and not namespace):
            raise PageNotFound
        if subresource and subresource not in kind.subresources:
            raise not_implemented(f"{kind.plural}/{subresource}")
        return Place(kind, "" if kind is NAMESPACE else namespace, name, subresource)

    def _served_kind(self, group: str, version: str, plural: str) -> Kind:
        kind = BY_PATH.get((group, version, plural))
        if kind is not None and self._store.serves(kind):
            return kind
        if kind is None and (group in _OUR_GROUPS or group in _OTHER_GROUPS):
            raise not_implemented(f"{plural} of {group or 'core'}/{version}")
        raise PageNotFound

    def _operation(self, request: HttpRequest, place: Place) -> Answer:
        if request.method == "GET":
            return self._read(request, place)
        options = replace(_write_options(request), caller=self._users.caller(request.authorization))
        if request.method == "DELETE":
            if not place.name:
                raise not_implemented("deletion of a collection")
            return self._api.delete(place, _body(request) if request.data else {}, options)
        if request.method == "POST" and not place.name:
            if place.kind.namespaced and not place.namespace:
                raise _method_not_allowed()
            return self._api.create(place, _object_body(request), options)
        if request.method == "PUT" and place.name:
            return self._api.replace(place, _object_body(request), options)
        if request.method == "PATCH" and place.name:
            return self._api.patch(place, _parsed(request.data), request.content_type, options)
        raise _method_not_allowed()

    def _exec(self, request: HttpRequest, place: Place) -> Answer | Upgrade:
        if request.method not in ("GET", "POST"):
            raise _method_not_allowed()
        return self._execution.answer(request, place.namespace, place.name)

    def _token(self, request: HttpRequest, place: Place) -> Answer:
        if request.method != "POST":
            raise _method_not_allowed()
        return self._users.tokens.issue(place, _body(request))

    def _proxy(self, request: HttpRequest, place: Place, path: str) -> Answer:
        if request.method != "GET":
            raise not_implemented(f"{request.method} through a proxy")
        return Answer(200, proxied(self._store, self._metrics, place.namespace, place.name, path))

    def _read(self, request: HttpRequest, place: Place) -> Answer:
        if request.parameter("watch") in ("1", "true"):
            raise not_implemented("watch")
        if place.name:
            return self._api.get(place)
        return self._api.select(place, request.parameter("labelSelector"), request.parameter("fieldSelector"))


def _write_options(request: HttpRequest) -> WriteOptions:
    dry_run = request.query.get("dryRun", [])
    if any(value != "All" for value in dry_run):
        raise bad_request(f'invalid dryRun: Unsupported value: "{dry_run[0]}": supported values: "All"')
    return WriteOptions(bool(dry_run), request.parameter("fieldValidation") or "Warn")


def _object_body(request: HttpRequest) -> Json:
    if request.content_type not in ("", "application/json"):
        if request.content_type == "application/yaml":
            raise not_implemented("bodies in YAML")
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise ApiError(415, "UnsupportedMediaType", message)
    return _body(request)


def _body(request: HttpRequest) -> Json:
    body = _parsed(request.data)
    if not isinstance(body, dict):
        raise bad_request("the body of the request is no JSON object")
    return body


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise bad_request(f"the body of the request is no JSON: {error}") from error


def _method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def _represented(answer: Answer, accept: str) -> Answer:
    """The answer in the form that the client asked for: whole objects, or their metadata only."""
    wanted = {part.strip() for part in accept.partition(",")[0].split(";")}
    if not isinstance(answer.body, dict) or not any(part.startswith("as=PartialObjectMetadata") for part in wanted):
        return answer
    if answer.body["kind"] == "Status":
        return answer
    is_list = "items" in answer.body
    if ("as=PartialObjectMetadataList" in wanted) is not is_list:
        message = "only the following media types are accepted: application/json, application/yaml"
        raise ApiError(406, "NotAcceptable", message)
    if not is_list:
        return Answer(answer.code, _partial(answer.body), answer.warnings)
    items = [_partial(item) for item in answer.body["items"]]
    envelope = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    return Answer(answer.code, {**envelope, "metadata": answer.body["metadata"], "items": items}, answer.warnings)


def _partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
