# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is wanted differs from what runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._model.observed import (
    LAST_APPLIED,
)
from .data import Merge, Object


def covers(live: Any, patch: Any) -> bool:
    """Whether a patch changes nothing: everything in it is there already, and every null is absent.

    Servers fill in defaults, also inside of lists, so a live object holds more than what was sent.
    """
    if isinstance(patch, Mapping):
        if not isinstance(live, Mapping):
            return not patch and live is None
        return all(covers(live.get(name), item) for name, item in patch.items())
    if isinstance(patch, list):
        if not patch:
            return not live
        same = isinstance(live, list) and len(live) == len(patch)
        return same and all(covers(one, item) for one, item in zip(live, patch, strict=True))
    return bool(live == patch and isinstance(live, bool) == isinstance(patch, bool))


def differs(wanted: Object, live: Object | None, merge: Merge) -> bool:
    """Whether an object must be sent: it is not there, or a field that we send is not as it should be.

    The record of the last apply counts too: by it a later run knows what it may take away.
    """
    if live is None:
        return True
    try:
        applied = json.loads(live["metadata"]["annotations"][LAST_APPLIED])
    except (KeyError, TypeError, ValueError):
        return True
    return bool(applied != wanted or not covers(live, merge(applied, wanted, live)))
