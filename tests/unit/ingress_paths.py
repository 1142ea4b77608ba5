# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths an Ingress or an HTTPRoute lets through, by the rules of Kubernetes and of the Gateway API."""

from __future__ import annotations

from tests.unit.inventories import Manifest


def reaches(ingress: Manifest, path: str) -> bool:
    """Whether a request for a path reaches the backend of an Ingress (networking.k8s.io/v1)."""
    if "defaultBackend" in ingress["spec"]:
        return True
    rules = [rule for rule in ingress["spec"].get("rules", []) if "http" in rule]
    return any(_fits(item["pathType"], item["path"], path) for rule in rules for item in rule["http"]["paths"])


def route_reaches(route: Manifest, path: str) -> bool:
    """Whether a request for a path reaches the backend of an HTTPRoute (gateway.networking.k8s.io/v1)."""
    for rule in route["spec"].get("rules", [{}]):
        # A rule without matches takes every path, and so does a match without a path.
        for match in rule.get("matches") or [{}]:
            wanted = {"type": "PathPrefix", "value": "/", **match.get("path", {})}
            if _fits(wanted["type"].removeprefix("Path"), wanted["value"], path):
                return True
    return False


def _fits(kind: str, wanted: str, path: str) -> bool:
    """Both APIs compare whole elements of a path: the prefix /task is none of /tasks."""
    if kind == "Exact":
        return path == wanted
    assert kind == "Prefix", f"what {kind} means depends on the controller"
    start = [part for part in wanted.split("/") if part]
    return [part for part in path.split("/") if part][: len(start)] == start
