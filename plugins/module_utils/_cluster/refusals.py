# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an API server does not let in what KEDA and Kubernetes want to create: their events say so, or a full quota."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from .._schema.quantities import quantity
from .events import in_order
from .reading import Cluster, ClusterError

Object = dict[str, Any]
#: Kind of what creates something to the reasons of its events that tell that it could not, and to what a quota counts.
#: KEDA has that event since 2.19.
_CREATES = {
    "ScaledJob": (("KEDAJobCreateFailed",), ("count/jobs.batch",)),
    "Job": (("FailedCreate",), ("pods", "count/pods")),
}


def refusals(cluster: Cluster, kind: str, names: Collection[str]) -> dict[str, str]:
    """What an API server has said of what some objects wanted to create, as far as that may be read.

    :param kind: C(ScaledJob) or C(Job).
    :returns: a text for each of them of which something is known.
    """
    reasons, counts = _CREATES[kind]
    said = _last_messages(_read(cluster, "Event", f"involvedObject.kind={kind}"), reasons)
    found = {name: said[kind, name] for name in names if (kind, name) in said}
    if len(found) < len(names):
        full = " ".join(_full(_read(cluster, "ResourceQuota"), counts))
        found |= {name: full for name in names if full and name not in found}
    return found


def _read(cluster: Cluster, kind: str, fields: str | None = None) -> list[Object]:
    """Objects that say more where they may be read."""
    try:
        return cluster.list_objects(kind, "v1", fields=fields) or []
    except ClusterError as error:
        if error.passes:
            raise
        return []


def _last_messages(events: Iterable[Object], reasons: Collection[str]) -> dict[tuple[str, str], str]:
    """The last message of each object, of events with some reasons."""
    told = [event for event in events if event.get("reason") in reasons]
    found = {}
    for event in in_order(told):
        about = event.get("involvedObject") or {}
        found[str(about.get("kind")), str(about.get("name"))] = str(event.get("message") or "")
    return found


def _full(quotas: Iterable[Object], counts: Collection[str]) -> Iterator[str]:
    """Quotas that let no more of something in, each as a sentence."""
    for item in quotas:
        status = item.get("status") or {}
        for name in counts:
            most, used = ((status.get(part) or {}).get(name) for part in ("hard", "used"))
            limit, now = quantity(most), quantity(used)
            if limit is not None and now is not None and now >= limit:
                yield f"exceeded quota: {item['metadata']['name']}, used: {name}={used}, limited: {name}={most}."
