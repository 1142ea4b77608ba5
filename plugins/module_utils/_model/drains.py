# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drained variants: their workers take nothing new. An annotation of ours on the Deployment says since when and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._schema.moments import from_kept, kept, shown
from .fleet import Fleet, Variant
from .names import DRAINED_ANNOTATION
from .observed import Observed, ObservedObject

#: How a deploy replaces pods whose template changes: all at once, one Deployment after the other, or each once its
#: workers run nothing.
ROLLOUTS = PARALLEL, SERIAL, AFTER_DRAIN = "parallel", "serial", "after_drain"


@dataclass(frozen=True)
class Drained:
    """That a variant takes nothing new.

    :param told: pods whose worker was told so, each with how often its container had restarted by then. A worker that
        has started since takes from its queues as its command line says.
    :param by_deploy: whether a deploy did it, to replace the pods once they run nothing.
    :param before: annotations that its ScaledObject had, which are given back; None for those it had not.
    """

    by: str = ""
    since: datetime | None = None
    reason: str = ""
    told: Mapping[str, int] = field(default_factory=dict)
    by_deploy: bool = False
    before: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def annotation(self) -> str:
        """Itself as the value of our annotation."""
        known = {
            "by": self.by,
            "since": kept(self.since) if self.since else "",
            "reason": self.reason,
            "told": dict(self.told),
            "by_deploy": self.by_deploy,
            "before": dict(self.before),
        }
        return json.dumps({name: value for name, value in known.items() if value}, sort_keys=True)

    @property
    def words(self) -> str:
        """Since when, by whom and why, in words."""
        since = f" since {shown(self.since)}" if self.since else ""
        by = f" by {self.by}" if self.by else ""
        return f"drained{since}{by}{f' ({self.reason})' if self.reason else ''}"


def drained_from(annotations: Mapping[str, str]) -> Drained | None:
    """The drain that a Deployment's annotations tell of; None if there is none that can be read."""
    try:
        told: Any = json.loads(annotations.get(DRAINED_ANNOTATION, ""))
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    pods, before = told.get("told"), told.get("before")
    return Drained(
        by=str(told.get("by") or ""),
        since=from_kept(told.get("since")),
        reason=str(told.get("reason") or ""),
        told={str(name): number for name, number in pods.items() if isinstance(number, int)}
        if isinstance(pods, dict)
        else {},
        by_deploy=told.get("by_deploy") is True,
        before={str(name): None if value is None else str(value) for name, value in before.items()}
        if isinstance(before, dict)
        else {},
    )


def drained_of(variant: Variant, observed: Observed) -> Drained | None:
    """How a variant is drained; None if it is not."""
    live = observed.find("Deployment", variant.deployment)
    return drained_from(live.annotations) if live is not None else None


def drained_variants(fleet: Fleet, observed: Observed) -> Iterator[tuple[Variant, ObservedObject, Drained]]:
    """Variants whose Deployment has our annotation."""
    for variant in fleet.variants:
        live, found = observed.find("Deployment", variant.deployment), drained_of(variant, observed)
        if live is not None and found is not None:
            yield variant, live, found
