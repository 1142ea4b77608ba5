# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: filters of the role. They run on the controller, where secret values may be, and keep them there."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.queueops.celery.plugins.module_utils._changes import (
    first_cause,
    identity,
    is_change,
    list_results,
    readable,
    without_env_secrets,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import observed_from_data
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._secrets import (
    redact,
    redacted_layers,
    secret_manifests,
    without_stale_keys,
)
from ansible_collections.queueops.celery.plugins.module_utils._yaml import as_yaml

Objects = list[dict[str, Any]]


def manifests_of_secrets(
    layers: Objects,
    namespace: str,
    fleet: str = "",
    preset: str = "",
    observed: dict[str, Any] | None = None,
    enabled: list[str] | None = None,
    output: str = "cluster",
) -> Objects:
    """Secret objects of a fleet, with their values, and a null for each key that only an earlier run wrote."""
    live, parts = observed_from_data(observed), [str(part) for part in enabled or []]
    try:
        secrets = secret_manifests(layers, str(namespace), str(fleet), str(preset), live, parts, str(output))
        return without_stale_keys(secrets, live)
    except InventoryError as error:
        raise AnsibleFilterError(str(error)) from None


def secret_keys(secrets: Objects) -> Objects:
    """Secret objects without their values."""
    return [readable(secret) for secret in secrets]


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
    sent_secrets = secret_keys(secrets[: len(secret_results)])
    pairs = [
        *zip(sent_secrets, [_without_values(item) for item in secret_results], strict=False),
        *zip(sent, list_results(applied), strict=False),
    ]
    trimmed = [_trimmed(definition, item, shows_diff) for definition, item in pairs]
    travelled = {identity(definition) for definition in (*sent_secrets, *sent)}
    return {
        "sent": [definition for definition, _item in trimmed],
        "results": [item for _definition, item in trimmed],
        "not_sent": [item for item in (*secret_keys(secrets), *resources) if identity(item) not in travelled],
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


def refused_secrets(result: dict[str, Any], secrets: Objects) -> list[str]:
    """Each Secret that the API refused, with its first cause, from which every value is taken out."""
    items = list_results(result)
    if not items and result.get("msg") and not result.get("skipped"):
        return [f"The Secrets were not sent: {_cause(result, secrets)}"]
    return [
        f"{identity(secret)} was refused: {_cause(item['error'], secrets)}"
        for secret, item in zip(secrets, items, strict=False)
        if item.get("error")
    ]


def _cause(error: Any, secrets: Objects) -> str:
    """The first cause, cleaned before it is shortened and after."""
    text = str(error.get("msg") or error.get("reason") or "") if isinstance(error, dict) else str(error)
    return redact(first_cause({"msg": redact(text, secrets)}), secrets)


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


def with_files(rows: Objects, tree: dict[str, Any]) -> Objects:
    """Rows of workers, each with the file of its Deployment, as seen from where the run was started."""
    folder = near_path(tree["path"])
    return [{**row, "file": f"{folder}/{tree['files'].get('Deployment ' + row['deployment'], '')}"} for row in rows]


def near_path(path: str) -> str:
    """A path as a person would type it: relative where that leads down, absolute otherwise."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def table(rows: Objects, columns: list[str]) -> list[str]:
    """Rows as lines of text, one column under the other."""
    cells = [[title.replace("_", " ") for title in columns]]
    cells += [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)


def yaml_documents(objects: Objects) -> str:
    """Objects as one file of several documents."""
    return "---\n".join(as_yaml(item) for item in objects)


class FilterModule:
    """Names as the role writes them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """All of them."""
        return {
            "near_path": near_path,
            "refused_secrets": refused_secrets,
            "report_of": report_of,
            "secret_manifests": manifests_of_secrets,
            "table": table,
            "with_files": with_files,
            "with_secret_versions": with_secret_versions,
            "without_secrets": redacted_layers,
            "yaml_documents": yaml_documents,
        }
