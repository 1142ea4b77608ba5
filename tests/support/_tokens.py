# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of ServiceAccounts: the subresource that makes them, and who somebody is that shows one."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ._api import Answer, Place
from ._kinds import POD, SERVICE_ACCOUNT
from ._status import ApiError, FieldError, Json, invalid, not_found
from ._store import Store

_SHORTEST, _USUAL = 600, 3600


@dataclass
class Tokens:
    """What was issued: a token to the account that it is for.

    :param longest: seconds that the server grants at most; 0 grants what is asked for.
    """

    store: Store
    longest: int = 0
    _issued: dict[str, Json] = field(default_factory=dict)

    def clear(self) -> None:
        self._issued.clear()

    def issue(self, place: Place, body: Json) -> Answer:
        account = self.store.get(SERVICE_ACCOUNT, place.namespace, place.name)
        if account is None:
            raise not_found(SERVICE_ACCOUNT, place.name)
        seconds = (body.get("spec") or {}).get("expirationSeconds") or _USUAL
        if seconds < _SHORTEST:
            why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            cause = FieldError("spec.expirationSeconds", "FieldValueInvalid", why)
            raise invalid("TokenRequest.authentication.k8s.io", "", [cause])
        granted = min(seconds, self.longest) if self.longest else seconds
        bound = (body.get("spec") or {}).get("boundObjectRef")
        claims = _claims(account, granted, self._pod(place, bound) if bound else None)
        token = ".".join([_encoded({"alg": "RS256", "kid": "emulator"}), _encoded(claims), secrets.token_urlsafe(48)])
        self._issued[token] = claims
        end = datetime.fromtimestamp(claims["exp"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        spec = {"audiences": claims["aud"], "expirationSeconds": granted, "boundObjectRef": bound}
        status = {"token": token, "expirationTimestamp": end}
        kind = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        return Answer(201, {**kind, "metadata": {"creationTimestamp": None}, "spec": spec, "status": status})

    def _pod(self, place: Place, bound: Json) -> Json:
        """The pod that a token is for: it ends with it."""
        found = self.store.get(POD, place.namespace, bound["name"]) if bound.get("kind") == POD.name else None
        if found is None:
            raise not_found(POD, bound["name"])
        return found

    def extra(self, token: str) -> dict[str, list[str]]:
        """What a server knows of who shows a token, beside his name."""
        pod = self._issued.get(token, {}).get("kubernetes.io", {}).get("pod")
        if pod is None:
            return {}
        return {f"authentication.kubernetes.io/pod-{key}": [value] for key, value in pod.items()}

    def user(self, token: str) -> str:
        """Empty for a token that nobody was given.

        :raises ApiError: for one that has ended, or whose account was deleted.
        """
        claims = self._issued.get(token)
        if claims is None:
            return ""
        own = claims["kubernetes.io"]
        account = self.store.get(SERVICE_ACCOUNT, own["namespace"], own["serviceaccount"]["name"])
        is_valid = account is not None and account["metadata"]["uid"] == own["serviceaccount"]["uid"]
        if "pod" in own:
            pod = self.store.get(POD, own["namespace"], own["pod"]["name"])
            is_valid = is_valid and pod is not None and pod["metadata"]["uid"] == own["pod"]["uid"]
        if not is_valid or claims["exp"] <= time.time():
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return str(claims["sub"])


def _claims(account: Json, seconds: int, pod: Json | None) -> Json:
    metadata, started = account["metadata"], int(time.time())
    issuer = "https://kubernetes.default.svc.cluster.local"
    return {
        "aud": [issuer],
        "exp": started + seconds,
        "iat": started,
        "iss": issuer,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
            **({"pod": {key: pod["metadata"][key] for key in ("name", "uid")}} if pod else {}),
        },
        "nbf": started,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
    }


def _encoded(content: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")
