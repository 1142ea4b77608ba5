# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: filters of the role that tell what became of objects that were sent. No secret value leaves them."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._changes import (
    identity,
    is_change,
    list_results,
    readable,
    without_env_secrets,
)

Objects = list[dict[str, Any]]


def report_of(
    resources: Objects,
    sent: Objects,
    applied: Any,
    secrets: Objects,
    secrets_sent: Any,
    observed: dict[str, Any],
    shows_diff: bool,
) -> dict[str, Any]:
    """Input of change_report: what was sent and what became of it, without secret values.

    Only what a diff will show travels whole: thousands of objects would otherwise reach the module to be counted.
    """
    secret_results = list_results(secrets_sent)
    keys_only = [readable(secret) for secret in secrets]
    sent_secrets = keys_only[: len(secret_results)]
    pairs = [
        *zip(sent_secrets, [_without_values(item) for item in secret_results], strict=False),
        *zip(sent, list_results(applied), strict=False),
    ]
    trimmed = [_trimmed(definition, item, shows_diff) for definition, item in pairs]
    travelled = {identity(definition) for definition in (*sent_secrets, *sent)}
    return {
        "sent": [definition for definition, _item in trimmed],
        "results": [item for _definition, item in trimmed],
        "not_sent": [item for item in (*keys_only, *resources) if identity(item) not in travelled],
        "existing": [f"{item['kind']} {item['name']}" for item in observed["objects"]],
    }


def _trimmed(
    definition: dict[str, Any], item: dict[str, Any], shows_diff: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    if shows_diff and is_change(item):
        return definition, without_env_secrets(item)
    name = {"kind": definition["kind"], "metadata": {"name": definition["metadata"]["name"]}}
    kept: dict[str, Any] = {key: item[key] for key in ("changed", "error", "method", "warnings") if key in item}
    return name, {"result": {}, **kept, "changed": is_change(item)}


def _without_values(item: dict[str, Any]) -> dict[str, Any]:
    shown = readable(item.get("result") or {})
    return {"changed": bool(item.get("changed")), "method": item.get("method", ""), "result": shown}


def with_secret_versions(observed: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """What runs, with the Secrets as they are after a task has sent them.

    A dry run does not move a version, so a Secret that would change counts as one of another version.
    """
    objects = list(observed["objects"])
    for item in list_results(result):
        metadata = (item.get("result") or {}).get("metadata") or {}
        if not metadata.get("name"):
            continue
        earlier = next((old for old in objects if (old["kind"], old["name"]) == ("Secret", metadata["name"])), None)
        version = str(metadata.get("resourceVersion") or "")
        if item.get("changed") and version == (earlier["resource_version"] if earlier else ""):
            version = "changes"
        objects = [old for old in objects if old is not earlier]
        labels = {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}
        # What an earlier run wrote down about its keys stays: by it a generated value is known to be there already.
        notes = {"annotations": earlier["annotations"]} if earlier and earlier.get("annotations") else {}
        mark = {"kind": "Secret", "name": str(metadata["name"]), "labels": labels, "resource_version": version}
        objects.append({**mark, **notes})
    return {**observed, "objects": objects}
