# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP client for tests that speak to a Kubernetes API directly."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from kubernetes import config as kubernetes_config

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    warnings: list[str]


class Api(Protocol):
    """What helpers need of a client, whichever it is. An answer of any status is a Reply."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str = "application/json",
    ) -> Reply: ...


class ApiClient:
    """One connection that is kept alive. `token=None` sends no credentials."""

    def __init__(self, url: str, token: str | None, authority: str = "") -> None:
        place = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(place, timeout=60)
        if authority:
            context = ssl.create_default_context(cafile=authority)
            self._connection = http.client.HTTPSConnection(place, timeout=60, context=context)
        self._token = token

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str = "application/json",
    ) -> Reply:
        headers = {"Accept": accept}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = content_type or "application/json"
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        is_json = (response.headers.get("Content-Type") or "").startswith("application/json")
        warnings = response.headers.get_all("Warning") or []
        return Reply(response.status, json.loads(text) if is_json else text, warnings)

    def get(self, path: str, *, accept: str = "application/json") -> Reply:
        return self.request("GET", path, accept=accept)

    def post(self, path: str, body: Any) -> Reply:
        return self.request("POST", path, body)

    def put(self, path: str, body: Any) -> Reply:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> Reply:
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str, body: Any = None) -> Reply:
        return self.request("DELETE", path, body)


class KubeconfigClient:
    """The same for any cluster that a kubeconfig leads to, with whatever credentials and certificates it names."""

    def __init__(self, kubeconfig: str | os.PathLike[str]) -> None:
        self._client = kubernetes_config.new_client_from_config(os.fspath(kubeconfig))

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str = "application/json",
    ) -> Reply:
        headers = {"Accept": accept, "Content-Type": content_type or "application/json"}
        split = urlsplit(path)
        query = parse_qsl(split.query, keep_blank_values=True)
        settings = ["BearerToken"]
        parts = self._client.param_serialize(
            method, split.path, header_params=headers, body=body, auth_settings=settings, query_params=query
        )
        answer = self._client.call_api(*parts)
        text = answer.read().decode()
        received = answer.getheaders()
        is_json = (received.get("Content-Type") or "").startswith("application/json")
        warnings = received.getlist("Warning") if "Warning" in received else []
        return Reply(answer.status, json.loads(text) if is_json else text, warnings)
