# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is wanted differs from what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._model.applied import applied_manifest
from .._model.observed import LAST_APPLIED
from .data import Merge, Object


def covers(live: Any, patch: Any) -> bool:
    """Whether a patch changes nothing: everything in it is there already, and every null is absent.

    Servers fill in defaults, also inside of lists, so a live object holds more than what was sent.
    """
    # Most of what is compared are texts and numbers, and to ask those whether they are mappings takes longest.
    if isinstance(patch, (str, int, float)):
        return bool(live == patch and isinstance(live, bool) == isinstance(patch, bool))
    if isinstance(patch, (dict, Mapping)):
        if not isinstance(live, (dict, Mapping)):
            return not patch and live is None
        return all(map(covers, map(live.get, patch), patch.values()))
    if isinstance(patch, list):
        if not patch:
            return not live
        same = isinstance(live, list) and len(live) == len(patch)
        return same and all(map(covers, live, patch))
    return bool(live == patch)


def differs(wanted: Object, live: Object | None, merge: Merge) -> bool:
    """Whether an object must be sent: it is not there, or a field that we send is not as it should be.

    The record of the last apply counts too: by it a later run knows what it may take away.
    """
    if live is None:
        return True
    applied = applied_manifest(live)
    if applied is None:
        return True
    # Where nothing was taken out of it, what is there already needs no merge, which takes most of the time.
    return bool(applied != wanted or not (covers(live, wanted) or covers(live, merge(applied, wanted, live))))


def differing_fields(wanted: Object, live: Object | None, merge: Merge) -> list[str]:
    """Names of the fields for which an object would be sent; none for one that is not there.

    The record of the last apply is named where it is all that differs.
    """
    if live is None or not differs(wanted, live, merge):
        return []
    patch = merge(applied_manifest(live) or {}, wanted, live)
    return patched_fields(patch, live) or [f"metadata.annotations[{LAST_APPLIED}]"]


def patched_fields(patch: Object, live: Object) -> list[str]:
    """Names of the fields that a patch changes."""
    return list(dict.fromkeys(_patched(patch, live, "")))


def _patched(patch: Any, live: Any, path: str) -> Iterator[str]:
    if covers(live, patch):
        return
    if isinstance(patch, Mapping) and isinstance(live, Mapping):
        for name, item in patch.items():
            yield from _patched(item, live.get(name), _below(path, str(name)))
    elif _has_names(patch) and _has_names(live):
        known = {item["name"]: item for item in live}
        for item in patch:
            place = f"{path}[{item['name']}]"
            yield from _patched(item, known[item["name"]], place) if item["name"] in known else (place,)
        kept = {item["name"] for item in patch}
        yield from (f"{path}[{name}]" for name in known if name not in kept)
    else:
        yield path


def _below(path: str, name: str) -> str:
    # Names of annotations have dots and slashes of their own.
    if "." in name or "/" in name:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def _has_names(value: Any) -> bool:
    """Whether a list is one of containers, variables or volumes, whose items have names."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) and "name" in one for one in value)
