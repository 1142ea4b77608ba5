# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has sent of an object, as the server keeps it beside the object."""

from __future__ import annotations

import json
from typing import Any

from .observed import LAST_APPLIED


def applied_manifest(item: Any) -> Any:
    """The manifest that was applied last, of an object as the server returned it; None if none can be read."""
    try:
        return json.loads(item["metadata"]["annotations"][LAST_APPLIED])
    except (KeyError, TypeError, ValueError):
        return None
