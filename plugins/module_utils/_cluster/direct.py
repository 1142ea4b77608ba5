# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace that is read with plain requests: no discovery, and every object as the server sent it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .._model.observed import API_VERSIONS, CLUSTER_KINDS, plural
from .reading import METADATA_LIST, Cluster, ClusterError

Object = dict[str, Any]

#: Read whole only by the fleet's label: of others nothing but names and labels may travel.
CONTENTS = ("ConfigMap", "Secret", "PersistentVolumeClaim")


@dataclass(frozen=True)
class DirectCluster(Cluster):
    """A namespace that is read with one plain GET per kind, without asking first which kinds there are.

    :param live: every object that was listed whole, by kind and name.
    """

    live: dict[tuple[str, str], Object] = field(default_factory=dict)

    def _read_namespace(self) -> None:
        self._get(f"/api/v1/namespaces/{self.namespace}")

    def list_objects(
        self,
        kind: str,
        api_version: str,
        metadata_only: bool = False,
        selector: str | None = None,
        fields: str | None = None,
    ) -> list[Object] | None:
        """As of L(Cluster). Kinds without secrets are read whole, and kept for comparing."""
        only_names = metadata_only and kind in CONTENTS
        options: dict[str, Any] = {"header_params": {"Accept": METADATA_LIST}} if only_names else {}
        if selector:
            options["label_selector"] = selector
        if fields:
            options["field_selector"] = fields
        prefix = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
        try:
            listed = self._get(f"{prefix}/namespaces/{self.namespace}/{plural(kind)}", **options)
        except Exception as error:  # the client raises one class per status, and others for the network
            if getattr(error, "status", None) == 404:
                return None
            raise self._explained(error, f"list {kind} in {self.namespace}") from error
        # The objects of a list do not say of what kind they are.
        found = [{"apiVersion": api_version, "kind": kind, **item} for item in listed.get("items") or []]
        if not only_names:
            self.live.update({(kind, str(item["metadata"]["name"])): item for item in found})
        return found

    def _named(self, kind: str, api_version: str, name: str) -> list[Object]:
        found = self._get(f"/apis/{api_version}/{plural(kind)}/{name}")
        self.live[kind, name] = found
        return [found]

    def serves(self, kind: str) -> bool:
        """Whether the cluster knows a kind, as its API group tells everybody.

        :raises ClusterError: if it cannot be asked.
        """
        try:
            found = self._get(f"/apis/{API_VERSIONS[kind]}")
        except Exception as error:  # as above
            if getattr(error, "status", None) == 404:
                return False
            raise self._explained(error, f"read /apis/{API_VERSIONS[kind]}") from error
        return any(item.get("kind") == kind for item in found.get("resources") or [])

    def refusal(self, wanted: Object, exists: bool) -> str:
        """Why the server would not take an object; empty if it would. Nothing is changed.

        :param exists: whether there is such an object, which would then be patched.
        :raises ClusterError: if there is no server to ask.
        """
        kind, metadata = str(wanted["kind"]), wanted["metadata"]
        prefix = "/api/v1" if wanted["apiVersion"] == "v1" else f"/apis/{wanted['apiVersion']}"
        place = "" if kind in CLUSTER_KINDS else f"/namespaces/{self.namespace}"
        path = f"{prefix}{place}/{plural(kind)}{'/' + metadata['name'] if exists else ''}"
        method = "PATCH" if exists else "POST"
        options = {"content_type": "application/merge-patch+json"} if exists else {}
        try:
            self.client.client.request(method, path, body=wanted, dry_run="All", serialize=False, **options)
        except Exception as error:  # as above
            found = self._explained(error, f"{'patch' if exists else 'create'} {kind} {metadata['name']}")
            if getattr(error, "status", None) is None:
                raise found from error
            return str(found)
        return ""

    def read_contents(self, kind: str, selector: str) -> dict[str, Object]:
        """Objects of a kind by name, with their content."""
        found = self.list_objects(kind, API_VERSIONS[kind], selector=selector) or []
        return {str(item["metadata"]["name"]): item for item in found}

    def config_map_texts(self, name: str) -> list[str]:
        """As of L(Cluster)."""
        try:
            found = self._get(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")
        except Exception:  # as above; what it would tell is only a warning
            return []
        return [str(text) for text in (found.get("data") or {}).values()]

    def text_at(self, path: str) -> str:
        """What a path answers, as text.

        :raises ClusterError: with the status, if it answers nothing of use.
        """
        try:
            answer = self.client.client.request("GET", path, serialize=False)
        except Exception as error:  # as above
            raise StatusError(self._explained(error, f"read {path}"), getattr(error, "status", None)) from error
        return bytes(answer.data).decode("utf-8", "replace")

    def create_below(self, resource: str, name: str, subresource: str, body: Object) -> Object:
        """What the server makes of a request to a subresource of a core object, such as a token. It keeps nothing.

        :raises ClusterError: if it refuses it.
        """
        path = f"/api/v1/namespaces/{self.namespace}/{resource}/{name}/{subresource}"
        try:
            answer = self.client.client.request("POST", path, body=body, serialize=False)
        except Exception as error:  # as above
            raise self._explained(error, f"create {resource}/{subresource} in {self.namespace}") from error
        found: Object = json.loads(answer.data)
        return found

    def _get(self, path: str, **options: Any) -> Object:
        answer = self.client.client.request("GET", path, serialize=False, **options)
        found: Object = json.loads(answer.data)
        return found


class StatusError(ClusterError):
    """A path did not answer; the text says why.

    :param status: what the server said; None where there was no server.
    """

    def __init__(self, cause: ClusterError, status: int | None) -> None:
        super().__init__(str(cause), cause.passes)
        self.status = status
