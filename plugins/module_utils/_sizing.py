# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: settings that follow from what people know of their tasks."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._kubernetes import quantity
from ansible_collections.queueops.celery.plugins.module_utils._model import Knowledge, Process

#: Time beyond the longest task in which a stopping worker returns what it holds and says goodbye.
SHUTDOWN_RESERVE = 30


def sized(knowledge: Knowledge, slots: int) -> dict[str, Any]:
    """Defaults that replace the profile's and the collection's.

    :param slots: tasks a pod runs at once.
    :returns: keys of a variant. list_length is what one pod works off within max_wait_seconds; the grace period
        covers the longest task (Celery's warm shutdown waits for it); without sight of running work the cooldown
        must too.
    """
    found: dict[str, Any] = {}
    if knowledge.task_seconds:
        found["list_length"] = min(
            2**31 - 1, max(1, math.floor(knowledge.max_wait_seconds * slots / knowledge.task_seconds))
        )
    if knowledge.longest_task_seconds:
        longest = math.ceil(knowledge.longest_task_seconds)
        found["termination_grace_period"] = max(60, longest + SHUTDOWN_RESERVE)
        found["cooldown_period"] = max(300, longest)
    return found


def memory_per_child(process: Process, resources: dict[str, Any], children: int) -> int | None:
    """KiB after which a prefork child is replaced.

    A quarter of the limit is the parent's, the rest is shared, and 15 % are left because Celery looks only after a
    task.

    :returns: None where nothing is to be set.
    """
    if process.max_memory_per_child is not None:
        return process.max_memory_per_child or None
    limit = quantity(resources.get("limits", {}).get("memory"))
    if not limit:
        return None
    return int(limit / 1024 * Decimal("0.75") / children * Decimal("0.85")) or None
