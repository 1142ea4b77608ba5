# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A floor for some time: a cron window in a ScaledObject that ends by itself.

It is a change of the manifest that was applied, so that a boost brings nothing else of the inventory into the cluster,
and a deploy makes the same of what it builds.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .._model.fleet import Fleet, Variant
from .._model.names import BOOST_ANNOTATION, FORMULA_ANNOTATION, scaled_object_name
from .._model.observed import Observed, ObservedObject
from .._schema.counted import counted
from .._schema.moments import from_kept, kept, shown
from .windows import cron_trigger, floor_term

Manifest = dict[str, Any]

#: Name of its trigger.
TRIGGER = "queueops_boost"
#: A schedule has no year, so a longer window would be another one.
LONGEST = timedelta(days=300)

_TERM = re.compile(rf"max\((.*), \({TRIGGER} > 1 \? (?:\d+|\(pods < [^:]*: \d+\)) : 0\)\)", re.DOTALL)
_WORDS = re.compile(r" At least \d+ pods? until [^.]* \(boost\)\.$")


@dataclass(frozen=True)
class Boost:
    """A floor for some time.

    :param floor: pods that there are at least.
    """

    floor: int
    since: datetime
    until: datetime
    by: str = ""
    reason: str = ""

    @property
    def annotation(self) -> str:
        """Itself as the value of our annotation."""
        told = {"by": self.by, "min": self.floor, "reason": self.reason}
        times = {"since": kept(self.since), "until": kept(self.until)}
        return json.dumps({**{name: value for name, value in told.items() if value}, **times}, sort_keys=True)

    @property
    def words(self) -> str:
        """What it does, for messages."""
        by = f" by {self.by}" if self.by else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"at least {counted(self.floor, 'pod')}{by} until {shown(self.until)}{reason}"

    @property
    def schedules(self) -> tuple[str, str]:
        """The minute in which it begins, and the one after its end: one window a year."""
        end = self.until.replace(second=0, microsecond=0)
        if end < self.until or end <= self.since:
            end += timedelta(minutes=1)
        return _schedule(self.since), _schedule(end)


def _schedule(moment: datetime) -> str:
    return f"{moment.minute} {moment.hour} {moment.day} {moment.month} *"


def boost_of(live: ObservedObject | None) -> Boost | None:
    """The boost that our annotation tells of; None if there is none that can be read."""
    try:
        told: Any = json.loads(live.annotations.get(BOOST_ANNOTATION, "") if live is not None else "")
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    floor, since, until = told.get("min"), from_kept(told.get("since")), from_kept(told.get("until"))
    if not isinstance(floor, int) or floor < 1 or since is None or until is None:
        return None
    return Boost(floor, since, until, str(told.get("by") or ""), str(told.get("reason") or ""))


def boost_in_force(observed: Observed, variant: Variant) -> Boost | None:
    """The boost of a variant whose time has not passed."""
    found = boost_of(observed.find("ScaledObject", scaled_object_name(variant.deployment)))
    return found if found is not None and observed.now is not None and observed.now < found.until else None


def boosted(item: Manifest, boost: Boost | None) -> Manifest:
    """A ScaledObject with the floor of a boost; without one it is the same."""
    if boost is None:
        return item
    made = unboosted(item)
    spec, notes = made["spec"], made["metadata"].setdefault("annotations", {})
    modifiers = (spec.get("advanced") or {}).get("scalingModifiers") or {}
    start, end = boost.schedules
    formula = modifiers.get("formula")
    trigger = cron_trigger(TRIGGER, start, end, "UTC", boost.floor, in_formula=bool(formula))
    spec["triggers"] = [*spec["triggers"], trigger]
    if formula:
        modifiers["formula"] = f"max({formula}, {floor_term(TRIGGER, boost.floor, _is_exact(spec))})"
    notes[BOOST_ANNOTATION] = boost.annotation
    if FORMULA_ANNOTATION in notes:
        notes[FORMULA_ANNOTATION] += f" At least {counted(boost.floor, 'pod')} until {shown(boost.until)} (boost)."
    return made


def _is_exact(spec: Manifest) -> bool:
    """Whether the HPA acts on each pod more, or the formula cannot know how many there are."""
    config = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    up = (config.get("behavior") or {}).get("scaleUp") or {}
    return str(up.get("tolerance", "")) == "0" or "pods" not in {trigger.get("name") for trigger in spec["triggers"]}


def unboosted(item: Manifest) -> Manifest:
    """A ScaledObject as it is without a boost."""
    made = copy.deepcopy(item)
    spec, notes = made["spec"], made["metadata"].get("annotations") or {}
    spec["triggers"] = [trigger for trigger in spec["triggers"] if trigger.get("name") != TRIGGER]
    modifiers = (spec.get("advanced") or {}).get("scalingModifiers") or {}
    found = _TERM.fullmatch(modifiers.get("formula", ""))
    if found:
        modifiers["formula"] = found[1]
    notes.pop(BOOST_ANNOTATION, None)
    if FORMULA_ANNOTATION in notes:
        notes[FORMULA_ANNOTATION] = _WORDS.sub("", notes[FORMULA_ANNOTATION])
    return made


def ended_boosts(fleet: Fleet, observed: Observed) -> list[tuple[Variant, Boost]]:
    """Variants that still have a boost whose time has passed."""
    found = []
    for variant in fleet.variants:
        boost = boost_of(observed.find("ScaledObject", scaled_object_name(variant.deployment)))
        if variant.uses_keda and boost is not None and boost_in_force(observed, variant) is None:
            found.append((variant, boost))
    return found
