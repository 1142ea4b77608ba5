# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boosting as steps, and what a deploy says of boosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .._build.boosts import LONGEST, Boost, boost_in_force, boost_of, boosted, ended_boosts, unboosted
from .._model.applied import applied_manifest
from .._model.fleet import Fleet, Variant
from .._model.observed import PAUSED, Observed, ObservedObject
from .._model.pauses import PAUSED_REPLICAS, PAUSED_SCALE_OUT, pauses_of_others, pauses_of_ours, written_pauses
from .._model.selection import Selection
from .data import Live, Object, Plan
from .pausing import Said, command, scaler_of, short_name

_FOR_HPA = "no window can be set there. Raise min_replicas and deploy, or use scaler: keda."


@dataclass(frozen=True)
class BoostWish:
    """What the playbook boost is asked for.

    :param floor: pods that there are at least; 0 ends a boost, None was not given.
    """

    now: datetime
    floor: int | None
    until: datetime | None
    reason: str = ""
    by: str = ""


#: Why a variant that runs as Jobs is not boosted.
_NO_FLOOR = (
    "its workers run as Jobs, which end when nothing is left to do, so there is no floor. KEDA starts one for each "
    "message anyway; raise max_replicas and deploy where there are too few."
)


def plan_boost(fleet: Fleet, chosen: Selection, observed: Observed, live: Live, wish: BoostWish) -> Plan:
    """What gives the chosen variants a floor for some time, or ends one.

    :param live: the objects as the API server returned them.
    """
    said = Said()
    said.problems += _impossible(wish)
    for variant in chosen.variants if not said.problems else ():
        named = chosen.names(variant)
        if variant.runs_as_jobs:
            said.refuse(named, f"{short_name(variant)}: {_NO_FLOOR}")
            continue
        found = scaler_of(fleet, variant, observed, named, said, _FOR_HPA)
        if found is not None:
            applied = _applied(live.get(("ScaledObject", found.name)))
            _boost(said, variant, found, applied, wish, named)
    return said.plan("Boost", "No variant that was chosen has a scaler that could be boosted.", "no variant is boosted")


def _impossible(wish: BoostWish) -> Iterable[str]:
    minimum, until = "celery_workers_boost_min", "celery_workers_boost_until"
    if wish.floor is None:
        yield f"{minimum}: this is not set. Write the number of pods that there are at least, or 0 to end a boost."
    elif wish.floor and wish.until is None:
        yield f"{until}: this is not set. Write when the floor ends, such as 2h or 2026-11-30T18:00Z."
    elif wish.floor and wish.until is not None and wish.until > wish.now + LONGEST:
        yield f"{until}: a boost lasts {LONGEST.days} days at most. Write a nearer time, or raise min_replicas."


def _applied(raw: Object | None) -> Object | None:
    """The manifest that was applied last; None if there is none."""
    found = applied_manifest(raw)
    return found if isinstance(found, dict) and isinstance((found.get("spec") or {}).get("triggers"), list) else None


def _boost(
    said: Said, variant: Variant, live: ObservedObject, applied: Object | None, wish: BoostWish, named: bool
) -> None:
    own, before = short_name(variant), boost_of(live)
    if not wish.floor or wish.until is None:
        if before is None or applied is None:
            said.unchanged.append(live.identity)
            said.notes += [f"{own}: it was not boosted"] if named else []
        else:
            said.applied.append(unboosted(applied))
            said.notes.append(f"{own}: its boost has ended; it was {before.words}")
        return
    why, counts = _refusal(variant, live, applied, wish.floor)
    if why or applied is None:
        said.refuse(named or counts, f"{own}: {why}")
        return
    boost = Boost(wish.floor, wish.now, wish.until, wish.by, wish.reason)
    if before is not None and (before.floor, before.until, before.reason) == (boost.floor, boost.until, boost.reason):
        said.unchanged.append(live.identity)
        boost = before
    else:
        said.applied.append(boosted(applied, boost))
    said.notes.append(f"{own}: {boost.words}; end it with {command('boost', variant)} -e celery_workers_boost_min=0")


def _refusal(variant: Variant, live: ObservedObject, applied: Object | None, floor: int) -> tuple[str, bool]:
    """Why a variant is not boosted, and whether that stops the run whatever was named; empty where it is."""
    if applied is None:
        return f"{live.identity} was not applied by a deploy of this collection. Deploy it first.", True
    least, most = applied["spec"].get("minReplicaCount", 0), applied["spec"].get("maxReplicaCount", 100)
    if floor > most:
        return (
            f"celery_workers_boost_min is {floor}, and max_replicas is {most}. Write {most} at most, or raise "
            "max_replicas and deploy."
        ), True
    if floor <= least:
        return f"celery_workers_boost_min is {floor}, and min_replicas is {least} already.", False
    paused = {**written_pauses(variant), **pauses_of_others(variant, live), **pauses_of_ours(variant, live)}
    if paused.keys() & {PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_OUT}:
        return f"it is paused, so a floor would do nothing. Resume it first: {command('resume', variant)}", False
    return "", False


# What a deploy says of boosts


def boost_warnings(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Boosts that a deploy keeps."""
    for variant in fleet.variants:
        boost = boost_in_force(observed, variant) if variant.uses_keda else None
        if boost is not None:
            ends = f"end it with {command('boost', variant)} -e celery_workers_boost_min=0"
            yield f"{short_name(variant)}: {boost.words}; {ends}"


def boost_notes(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Boosts that a deploy takes away."""
    for variant, boost in ended_boosts(fleet, observed):
        yield f"{short_name(variant)}: its boost has ended; it was {boost.words}"
