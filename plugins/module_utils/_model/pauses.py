# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses of scaling: KEDA's annotations, and ours that says who paused, why and until when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._schema.counted import counted
from .._schema.moments import from_kept, kept, shown
from .fleet import Fleet, Variant
from .names import GOING_ANNOTATION, PAUSE_ANNOTATION
from .observed import PAUSED, Observed, ObservedObject

#: KEDA's annotations (2.20). A number of pods wins over a pause without one.
PAUSED_REPLICAS, PAUSED_SCALE_IN, PAUSED_SCALE_OUT = (
    f"{PAUSED}-{end}" for end in ("replicas", "scale-in", "scale-out")
)
#: What a pause may stop, and the annotation for it.
DIRECTIONS = {"both": PAUSED, "scale_in": PAUSED_SCALE_IN, "scale_out": PAUSED_SCALE_OUT}


@dataclass(frozen=True)
class Pause:
    """What the playbook pause has done to a ScaledObject.

    :param notes: KEDA's annotations that it set, with their values.
    :param pods: those there were at that time; None where that is not known.
    :param drains: whether it belongs to a drain, which is told of instead.
    """

    notes: dict[str, str] = field(default_factory=dict)
    pods: int | None = None
    by: str = ""
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    drains: bool = False

    def is_over(self, now: datetime) -> bool:
        """Whether its time has passed."""
        return self.until is not None and self.until <= now

    def is_like(self, other: Pause) -> bool:
        """Whether both ask for the same, whoever asked for it and when."""
        return (self.notes, self.until, self.reason) == (other.notes, other.until, other.reason)

    @property
    def annotation(self) -> str:
        """Itself as the value of our annotation."""
        told = {
            "set": self.notes,
            "pods": self.pods,
            "by": self.by,
            "since": kept(self.since) if self.since else "",
            "until": kept(self.until) if self.until else "",
            "reason": self.reason,
            "drains": self.drains or None,
        }
        return json.dumps({name: value for name, value in told.items() if value not in ("", None)}, sort_keys=True)

    @property
    def how(self) -> str:
        """What is paused, in words."""
        return how(self.notes, self.pods)

    @property
    def origin(self) -> str:
        """Who paused it, until when and why, in words."""
        by = f" by {self.by}" if self.by else ""
        until = f" until {shown(self.until)}" if self.until else ""
        return f"{by}{until}{f' ({self.reason})' if self.reason else ''}"


def how(notes: Mapping[str, str], pods: int | None) -> str:
    """What KEDA's annotations pause, in words."""
    if PAUSED_REPLICAS in notes:
        number = notes[PAUSED_REPLICAS]
        return f"paused at {counted(int(number), 'pod') if number.isdigit() else number}"
    if PAUSED in notes:
        return f"paused at {counted(pods, 'pod')}" if pods is not None else "paused"
    ways = [name.removeprefix(f"{PAUSED}-").replace("-", " ") for name in sorted(notes)]
    return f"{' and '.join(ways)} paused"


def pause_of(live: ObservedObject) -> Pause | None:
    """The pause that our annotation tells of; None if there is none that can be read."""
    try:
        told: Any = json.loads(live.annotations.get(PAUSE_ANNOTATION, ""))
    except ValueError:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("set"), dict):
        return None
    pods = told.get("pods")
    return Pause(
        notes={str(name): str(value) for name, value in told["set"].items() if str(name).startswith(PAUSED)},
        pods=pods if isinstance(pods, int) else None,
        by=str(told.get("by") or ""),
        since=from_kept(told.get("since")),
        until=from_kept(told.get("until")),
        reason=str(told.get("reason") or ""),
        drains=told.get("drains") is True,
    )


def written_pauses(variant: Variant) -> dict[str, str]:
    """KEDA's annotations by which the inventory pauses a variant."""
    scaling = variant.scaling
    found = {f"autoscaling.keda.sh/{scaling.paused}": "true"} if scaling.paused else {}
    own = scaling.scaled_object_annotations if not variant.runs_as_jobs else {}
    return found | {name: value for name, value in own.items() if name.startswith(PAUSED)}


def pauses_of_others(variant: Variant, live: ObservedObject) -> dict[str, str]:
    """KEDA's annotations that neither the inventory nor the playbook pause nor a deploy has set: a person has."""
    written, own = written_pauses(variant), pause_of(live)
    ours = (own.notes if own else {}) | going_pauses(live)
    return {name: value for name, value in live.paused.items() if name not in written and ours.get(name) != value}


def going_pauses(live: ObservedObject) -> dict[str, str]:
    """KEDA's annotation that a run has set because a ScaledJob was to go, and that is still there."""
    value = live.paused.get(PAUSED)
    return {PAUSED: value} if GOING_ANNOTATION in live.annotations and value is not None else {}


def pauses_of_ours(variant: Variant, live: ObservedObject) -> dict[str, str]:
    """KEDA's annotations that the playbook pause has set and that are still there."""
    own, written = pause_of(live), written_pauses(variant)
    if own is None:
        return {}
    return {name: value for name, value in own.notes.items() if live.paused.get(name) == value and name not in written}


def paused_variants(fleet: Fleet, observed: Observed) -> Iterator[tuple[Variant, ObservedObject, Pause]]:
    """Variants whose ScaledObject or ScaledJob has our annotation."""
    for variant in fleet.variants:
        live = observed.find(*variant.keda_object) if variant.keda_object is not None else None
        pause = pause_of(live) if live is not None else None
        if live is not None and pause is not None:
            yield variant, live, pause
