# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API does with a request on an object: decode, default, validate, admit, store, answer."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import _patches
from ._admission import admit_scaled_object, pod_security_warnings
from ._controllers import Controllers, marked_for_deletion
from ._decode import Undecodable, decode
from ._defaults import apply_defaults, initial_status
from ._kinds import DEPLOYMENT, JOB, NAMESPACE, POD, SCALED_OBJECT, Kind
from ._policies import Caller, admit
from ._selectors import parse_field_selector, parse_label_selector, selector_text
from ._status import (
    ApiError,
    FieldError,
    Json,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    not_implemented,
    object_details,
    stale,
)
from ._store import Store, clone, now
from ._validation import validate

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"

# Metadata that only the server writes.
_SERVER_METADATA = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True)
class WriteOptions:
    dry_run: bool = False
    field_validation: str = "Warn"
    caller: Caller = field(default_factory=Caller)


@dataclass(frozen=True)
class Place:
    """Where a request goes: the kind, the namespace ("" for none) and the name ("" for a list)."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass
class Answer:
    code: int
    body: Json | str
    warnings: list[str] = field(default_factory=list)


class Api:
    def __init__(self, store: Store, controllers: Controllers, accepts_apply: bool = False) -> None:
        self._store = store
        self._controllers = controllers
        self._accepts_apply = accepts_apply

    # Reading

    def get(self, place: Place) -> Answer:
        live = self._existing(place)
        return Answer(200, _scale_of(live) if place.subresource == "scale" else live)

    def select(self, place: Place, label_selector: str, field_selector: str) -> Answer:
        labels = parse_label_selector(label_selector)
        fields = parse_field_selector(field_selector, place.kind.name)
        items = [
            item
            for item in self._store.select(place.kind, place.namespace)
            if all(holds(item["metadata"].get("labels", {})) for holds in labels)
            and all(holds(item) for holds in fields)
        ]
        if not place.kind.custom:
            # The items of a built-in list carry no kind of their own.
            items = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
        metadata = {"resourceVersion": str(self._store.version)}
        kind, version = f"{place.kind.name}List", place.kind.api_version
        return Answer(200, {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})

    # Writing

    def create(self, place: Place, body: Json, options: WriteOptions) -> Answer:
        _check_identity(place, body)
        obj, warnings = self._decoded(place.kind, body, options)
        obj["metadata"] = _new_metadata(place, obj["metadata"])
        obj.pop("status", None)
        if (status := initial_status(place.kind.name)) is not None:
            obj["status"] = clone(status)
        name = obj["metadata"].get("name", "")
        self._check_namespace(place)
        apply_defaults(obj, None)
        validate(place.kind, obj, None)
        warnings += self._admit(place.kind, obj, None, options)
        if self._store.get(place.kind, place.namespace, name) is not None:
            raise already_exists(place.kind, name)
        if options.dry_run:
            return Answer(201, obj, warnings)
        self._store.put(place.kind, obj)
        self._controllers.wrote(place.kind, obj)
        return Answer(201, obj, warnings)

    def replace(self, place: Place, body: Json, options: WriteOptions) -> Answer:
        if place.subresource == "scale":
            return self._write_scale(place, body, options)
        _check_identity(place, body)
        live = self._existing(place)
        obj, warnings = self._decoded(place.kind, body, options)
        return self._update(place, live, obj, warnings, options)

    def patch(self, place: Place, patch: Any, content_type: str, options: WriteOptions) -> Answer:
        is_apply = content_type == APPLY_PATCH and self._accepts_apply
        merge = _patcher(place.kind, _merged_as(place.kind) if is_apply else content_type)
        if not isinstance(patch, dict):
            raise bad_request("the patch is no JSON object")
        if is_apply and self._store.get(place.kind, place.namespace, place.name) is None:
            return self.create(place, patch, options)
        live = self._existing(place)
        if place.subresource == "scale":
            return self._write_scale(place, _patches.merge_patch(_scale_of(live), patch), options)
        merged = merge(live, patch)
        _check_identity(place, merged)
        try:
            obj, warnings = self._decoded(place.kind, merged, options)
        except _Unusable as error:
            shown = json.dumps(json.dumps(merged, separators=(",", ":")))
            cause = FieldError("patch", "FieldValueInvalid", f"Invalid value: {shown}: {error.why}")
            raise invalid("", "", [cause]) from error
        return self._update(place, live, obj, warnings, options)

    def _update(self, place: Place, live: Json, obj: Json, warnings: list[str], options: WriteOptions) -> Answer:
        kind = place.kind
        _check_version(place, live, obj["metadata"])
        obj["metadata"] = _updated_metadata(live["metadata"], obj["metadata"])
        if place.subresource == "status":
            obj = {**live, "status": obj.get("status", {})}
        else:
            obj.pop("status", None)
            if "status" in live:
                obj["status"] = live["status"]
            apply_defaults(obj, live)
            validate(kind, obj, live)
            warnings += self._admit(kind, obj, live, options)
        admit(self._store, place.kind, place.subresource, live, obj, options.caller)
        if obj == live:
            return Answer(200, live, warnings)
        if kind.has_generation and _is_new_generation(kind, live, obj):
            obj["metadata"] = {**obj["metadata"], "generation": live["metadata"]["generation"] + 1}
        if options.dry_run:
            return Answer(200, obj, warnings)
        obj["metadata"] = dict(obj["metadata"])
        self._store.put(kind, obj)
        if "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers"):
            self._store.remove(kind, obj)
            self._controllers.removed(kind, obj)
        elif place.subresource != "status":
            self._controllers.wrote(kind, obj)
        return Answer(200, obj, warnings)

    def _write_scale(self, place: Place, scale: Json, options: WriteOptions) -> Answer:
        live = self._existing(place)
        replicas = scale.get("spec", {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            error = FieldError(
                "spec.replicas", "FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0"
            )
            raise invalid("Scale.autoscaling", place.name, [error])
        scaled = clone(live)
        scaled["spec"]["replicas"] = replicas
        scaled["metadata"]["resourceVersion"] = scale.get("metadata", {}).get("resourceVersion", "")
        main = Place(place.kind, place.namespace, place.name)
        answer = self._update(main, live, scaled, [], options)
        assert isinstance(answer.body, dict)
        return Answer(200, _scale_of(answer.body))

    def delete(self, place: Place, body: Json, options: WriteOptions) -> Answer:
        kind, live = place.kind, self._existing(place)
        _check_preconditions(place, live, body.get("preconditions") or {})
        policy = body.get("propagationPolicy")
        held = bool(live["metadata"].get("finalizers"))
        answer = _deletion_answer(kind, live, held or policy == "Foreground" or kind in (POD, NAMESPACE))
        if options.dry_run:
            return answer
        if held:
            if "deletionTimestamp" not in live["metadata"]:
                assert isinstance(answer.body, dict)
                self._controllers.wrote(kind, self._store.put(kind, answer.body))
            return answer
        self._store.remove(kind, live)
        # A Job is the one kind whose pods stay unless the request says otherwise.
        orphan = policy == "Orphan" or (kind is JOB and policy is None)
        self._controllers.removed(kind, live, orphan=orphan)
        return answer

    # Steps

    def _existing(self, place: Place) -> Json:
        live = self._store.get(place.kind, place.namespace, place.name)
        if live is None:
            raise not_found(place.kind, place.name)
        return live

    def _check_namespace(self, place: Place) -> None:
        if place.kind.namespaced and self._store.get(NAMESPACE, "", place.namespace) is None:
            raise not_found(NAMESPACE, place.namespace)

    def _decoded(self, kind: Kind, body: Json, options: WriteOptions) -> tuple[Json, list[str]]:
        try:
            obj, unknown = decode(kind, body)
        except Undecodable as error:
            raise _Unusable(kind, str(error)) from error
        obj.setdefault("metadata", {}).pop("managedFields", None)
        problems = [f'unknown field "{path}"' for path in unknown]
        if problems and options.field_validation == "Strict":
            raise _Unusable(kind, f"strict decoding error: {', '.join(problems)}")
        return obj, problems if options.field_validation == "Warn" else []

    def _admit(self, kind: Kind, obj: Json, live: Json | None, options: WriteOptions) -> list[str]:
        if kind is SCALED_OBJECT and "deletionTimestamp" not in obj["metadata"]:
            admit_scaled_object(obj, live, self._store, dry_run=options.dry_run)
        return pod_security_warnings(obj, self._store) if kind.name in ("Deployment", "ReplicaSet", "Pod") else []


class _Unusable(ApiError):
    """A body that its kind cannot be read from."""

    def __init__(self, kind: Kind, why: str) -> None:
        what = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
        super().__init__(400, "BadRequest", f"{what}: {why}")
        self.why = why


def _check_identity(place: Place, body: Json) -> None:
    kind, metadata = place.kind, body.get("metadata") or {}
    if not isinstance(metadata, dict):
        return  # the decoder words this one
    for key, wanted in (("kind", kind.name), ("apiVersion", kind.api_version)):
        if key not in body and kind.custom:
            raise bad_request(f"Object '{key}' is missing in '{json.dumps(body)}'")
        if body.get(key, wanted) != wanted:
            raise bad_request(f"the {key} in the data ({body[key]}) does not match the expected {key} ({wanted})")
    if metadata.get("namespace", place.namespace) != place.namespace and kind.namespaced:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if place.name and metadata.get("name", place.name) != place.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({place.name})"
        )


def _new_metadata(place: Place, given: Json) -> Json:
    metadata = {key: value for key, value in given.items() if key not in (*_SERVER_METADATA, "resourceVersion")}
    if place.kind.namespaced:
        metadata["namespace"] = place.namespace
    else:
        metadata.pop("namespace", None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
    if place.kind.has_generation:
        metadata["generation"] = 1
    return metadata


def _updated_metadata(live: Json, given: Json) -> Json:
    metadata = {key: value for key, value in given.items() if key not in _SERVER_METADATA}
    kept = (*_SERVER_METADATA, "resourceVersion", "name", "namespace")
    return metadata | {key: live[key] for key in kept if key in live}


def _check_version(place: Place, live: Json, metadata: Json) -> None:
    _check_preconditions(place, live, {"uid": metadata.get("uid")})
    version = metadata.get("resourceVersion")
    if version and version != live["metadata"]["resourceVersion"]:
        raise stale(place.kind, place.name)


def _check_preconditions(place: Place, live: Json, preconditions: Json) -> None:
    for key, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        wanted, found = preconditions.get(key), live["metadata"][key]
        if wanted is not None and wanted != found:
            why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
            raise conflict(place.kind, place.name, why)


def _is_new_generation(kind: Kind, live: Json, obj: Json) -> bool:
    """Metadata and status are no part of it, but a Deployment's annotations are."""
    if kind is DEPLOYMENT and obj["metadata"].get("annotations") != live["metadata"].get("annotations"):
        return True
    return _content(obj) != _content(live)


def _content(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _merged_as(kind: Kind) -> str:
    """The patch that comes nearest to a server-side apply, of which the emulator keeps no owners of fields."""
    return MERGE_PATCH if kind.custom else STRATEGIC_PATCH


def _patcher(kind: Kind, content_type: str) -> Callable[[Json, Json], Json]:
    if content_type in (JSON_PATCH, APPLY_PATCH):
        raise not_implemented(f"patches of type {content_type}")
    if content_type == MERGE_PATCH:
        return _patches.merge_patch
    if content_type == STRATEGIC_PATCH and not kind.custom:
        return lambda live, patch: _patches.strategic_merge_patch(kind.name, live, patch)
    accepted = [JSON_PATCH, MERGE_PATCH, *([] if kind.custom else [STRATEGIC_PATCH]), APPLY_PATCH]
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    raise ApiError(415, "UnsupportedMediaType", message)


def _scale_of(obj: Json) -> Json:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = obj["spec"]["replicas"]
    status = {"replicas": obj.get("status", {}).get("replicas", 0), "selector": selector_text(obj["spec"]["selector"])}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _deletion_answer(kind: Kind, live: Json, with_object: bool) -> Answer:
    if not with_object:
        details = object_details(kind, live["metadata"]["name"], uid=live["metadata"]["uid"])
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Answer(200, status)
    marked = marked_for_deletion(kind, live)
    if kind is NAMESPACE:
        marked = {**marked, "status": {"phase": "Terminating"}}
    return Answer(200, marked)
