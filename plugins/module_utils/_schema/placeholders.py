# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last look at what is about to leave a module: no mask of a hidden value may ever reach a cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from .scalars import MISPLACED

#: What stands for a hidden value: our own marker, and those of Ansible where a task with no_log was registered.
_MASK = re.compile(rf"{MISPLACED}|VALUE_SPECIFIED_IN_NO_LOG_PARAMETER|:\*{{8}}@|^\*{{8}}$")

#: What a text of many values holds wherever one of them is a mask, and seldom else.
_MAY_MASK = re.compile(rf"{MISPLACED}|VALUE_SPECIFIED_IN_NO_LOG_PARAMETER|\*{{8}}")


class _Module(Protocol):
    """As much of an AnsibleModule as is needed here."""

    def fail_json(self, msg: str, **result: Any) -> Any:
        """End with a message."""

    def exit_json(self, **result: Any) -> Any:
        """End with a result."""


def exit_without_placeholders(module: _Module, **result: Any) -> None:
    """End a module with its result, unless that holds the mask of a value in the value's place."""
    refuse_placeholders(module, **result)
    module.exit_json(**result)


def refuse_placeholders(module: _Module, **objects: Any) -> None:
    """Fail if what is about to be sent or written holds the mask of a value in the value's place."""
    found = [place for key, value in objects.items() for place in placeholders(value, key)]
    if found:
        module.fail_json(msg=placeholder_message(found), problems=found)


def placeholder_message(places: list[str]) -> str:
    """Why a run stops here."""
    return (
        "The mask of a hidden value would take the place of the value itself, so nothing was sent or written: "
        f"{'; '.join(places)}. Look for a variable that holds the result of a task with no_log. If there is none, this "
        "is a fault of queueops.celery: please report these places."
    )


def placeholders(value: Any, path: str = "") -> Iterator[str]:
    """Every place in plain data that holds a mask. Objects are named by kind and name."""
    # Hardly ever is there one. To look at all of it as one text takes a tenth of the time.
    if _MAY_MASK.search(json.dumps(value, ensure_ascii=False, default=str)):
        yield from _masked_places(value, path)


def _masked_places(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if _MASK.search(value):
            yield path
    elif isinstance(value, Mapping):
        name = _identity(value)
        for key, item in value.items():
            yield from _masked_places(key, f"{name or path}.{key}")
            yield from _masked_places(item, f"{name or path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _masked_places(item, f"{path}[{index}]")


def _identity(value: Mapping[Any, Any]) -> str:
    metadata = value.get("metadata")
    named = isinstance(metadata, Mapping) and "name" in metadata and "kind" in value
    return f"{value['kind']} {metadata['name']}" if named and isinstance(metadata, Mapping) else ""
