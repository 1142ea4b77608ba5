# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of Secrets that were sent, without any of their values."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import redact
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import (
    first_cause,
    identity,
    list_results,
    lost_connection,
)

Objects = list[dict[str, Any]]


def refused_secrets(result: dict[str, Any], secrets: Objects) -> list[str]:
    """Each Secret that the API refused, with its first cause, from which every value is taken out."""
    items = list_results(result)
    if not items and result.get("msg") and not result.get("skipped"):
        return [f"The Secrets were not sent: {_cause(result, secrets)}"]
    return [
        f"{identity(secret)} was refused: {_cause(item['error'], secrets)}"
        for secret, item in zip(secrets, items, strict=False)
        if item.get("error") and not lost_connection(item["error"])
    ]


def _cause(error: Any, secrets: Objects) -> str:
    """The first cause, cleaned before it is shortened and after."""
    text = str(error.get("msg") or error.get("reason") or "") if isinstance(error, dict) else str(error)
    return redact(first_cause({"msg": redact(text, secrets)}), secrets)
