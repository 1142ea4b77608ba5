# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: which of them are sent, and what is told of that without any of their values."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import redact
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import (
    first_cause,
    identity,
    list_results,
    lost_connection,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import CONTENTS, DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import (
    COMPONENT_LABEL,
    FLEET_LABEL,
    HISTORY,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import covers

Objects = list[dict[str, Any]]


def stale_secrets(cluster: DirectCluster, fleet: Fleet, observed: Observed, secrets: Objects) -> list[str]:
    """Read what was listed by name only, and find the Secrets that are not as they should be. No value is kept."""
    ours = {item.kind for item in observed.ours(fleet.name) if item.labels.get(COMPONENT_LABEL) != HISTORY}
    live: dict[str, Any] = {}
    for kind in CONTENTS:
        if kind in ours:
            contents = cluster.read_contents(kind, f"{FLEET_LABEL}={fleet.name}")
            live = contents if kind == "Secret" else live
    names = [str(item["metadata"]["name"]) for item in secrets if not covers(live.get(item["metadata"]["name"]), item)]
    for name in live:
        cluster.live.pop(("Secret", name), None)
    return names


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
