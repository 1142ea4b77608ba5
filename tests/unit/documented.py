# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returns, beside what it says that it returns."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

#: What Ansible itself explains, of any module, and of those that write files.
_OF_ANSIBLE = {"changed", "failed", "msg", "warnings", "deprecations", "diff", "invocation", "exception", "skipped"}
_OF_FILES = {"gid", "group", "mode", "owner", "size", "state", "uid"}


def undocumented(name: str, result: Mapping[str, Any], rows: bool = False) -> list[str]:
    """Keys of a result that the documentation of its module lacks, also those of rows that it explains.

    :param rows: whether all rows have to be explained.
    """
    own = {key: value for key, value in result.items() if key not in _OF_ANSIBLE | _OF_FILES}
    return sorted(set(_lacking(_returned(name), own, "", rows)))


@functools.cache
def _returned(name: str) -> Mapping[str, Any]:
    module = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{name}")
    found: Mapping[str, Any] = yaml.safe_load(module.RETURN)
    return found


def _lacking(documented: Mapping[str, Any], found: Mapping[str, Any], place: str, all_rows: bool) -> Iterator[str]:
    for key, value in found.items():
        if key not in documented:
            yield f"{place}{key}"
            continue
        rows = [row for row in (value if isinstance(value, list) else [value]) if isinstance(row, Mapping)]
        # A dict whose keys are names has no more to say of them.
        for row in rows if "contains" in documented[key] else ():
            yield from _lacking(documented[key]["contains"], row, f"{place}{key}.", all_rows)
        if all_rows and isinstance(value, list) and rows and "contains" not in documented[key]:
            yield f"{place}{key}, whose rows are not explained"
