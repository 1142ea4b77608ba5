# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: filters of the role. They run on the controller, where secret values may be, and keep them there.

Every task that uses one of them loads this file anew, in a process of its own. So it is kept light: what needs the
model is imported when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._yaml import as_yaml

Objects = list[dict[str, Any]]


def imported(module: str, name: str) -> Callable[..., Any]:
    """A filter of another file of the collection."""

    def call(*values: Any) -> Any:
        return getattr(import_module(f"ansible_collections.queueops.celery.plugins.{module}"), name)(*values)

    return call


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
            "refused_secrets": imported("plugin_utils._secret_objects", "refused_secrets"),
            "report_of": imported("plugin_utils._reports", "report_of"),
            "role_variables": imported("module_utils._variable_names", "role_variables"),
            "secret_manifests": imported("plugin_utils._secret_objects", "manifests_of_secrets"),
            "table": table,
            "with_files": with_files,
            "with_secret_versions": imported("plugin_utils._reports", "with_secret_versions"),
            "without_secrets": imported("module_utils._redaction", "redacted_layers"),
            "yaml_documents": yaml_documents,
        }
