# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides on the number of pods, how that is, and what it did last. In KEDA's and Kubernetes' own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from .._cluster.events import event_time, in_order
from .._cluster.operator_metrics import failing_readings, is_unmeasured
from .._cluster.readiness import condition
from .._model.fleet import Variant
from .._model.observed import PAUSED, observed_object, pauses
from .._model.pauses import PAUSED_REPLICAS, PAUSED_SCALE_IN, PAUSED_SCALE_OUT, pause_of
from .._schema.moments import kept
from .data import Rescale, Scaler
from .moments import seconds_since
from .texts import cleaned, printable
from .workloads import writer_of

Object = dict[str, Any]

#: Seconds for which an error that KEDA reported is one of now. Kubernetes lets one of the same kind through every five
#: minutes, and a scaler that works again says nothing.
_RECENT = 360
#: The same where its HPA works, which asks the scaler every fifteen seconds.
_RECENT_BUT_WORKING = 60
#: Events that tell of a change, and those of an error.
_RESCALES = ("SuccessfulRescale", "KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated", "KEDAJobsCreated")
_ERRORS = (
    "KEDAScalerFailed",
    "ScaledObjectCheckFailed",
    "ScaledJobCheckFailed",
    "KEDAJobCreateFailed",
    "KEDAScaleTargetActivationFailed",
    "KEDAScaleTargetDeactivationFailed",
)
#: Error of a reading, and the event that KEDA sends of the first reading that works after it and finds work (2.20).
_UNREAD, _WORKED = "KEDAScalerFailed", "ScaledJobActive"
#: Seconds by which that is later: one reading of several may fail in the same look.
_LATER = 5
_SHOWN_RESCALES = 3
#: An HPA at no pods does nothing, which is no fault: KEDA wakes it.
_ASLEEP = "ScalingDisabled"
_TARGET = re.compile(r"\bapps/v1\.Deployment \S+ ")
#: What each annotation of KEDA's does, in a word.
_PAUSES = {
    PAUSED_REPLICAS: "paused",
    PAUSED: "paused",
    PAUSED_SCALE_IN: "scale-in paused",
    PAUSED_SCALE_OUT: "scale-out paused",
}


def keda_scaler(scaled_object: Object | None, hpa: Object | None, events: Iterable[Object], now: datetime) -> Scaler:
    """How KEDA scales a variant.

    :param hpa: the one that KEDA has made for it.
    :param events: of both.
    """
    if scaled_object is None:
        return Scaler("keda", "missing")
    notes = _pausing(scaled_object)
    manager, since = _paused_by(scaled_object, notes)
    # What our own playbook has noted says more than the server knows.
    pause = pause_of(observed_object("ScaledObject", scaled_object)) if notes else None
    if pause is not None:
        manager, since = pause.by or manager, kept(pause.since) if pause.since else since
    fault, word = hpa_fault(hpa)
    common = Scaler(
        "keda",
        annotations=tuple(f"{name}={value}" for name, value in notes.items()),
        paused_by=manager,
        pause=f"{pause.how}{pause.origin}" if pause is not None else "",
        hpa_fault=fault,
        hpa_reason=word,
        is_limited=_is_limited(hpa),
        limited_since=condition(hpa, "ScalingLimited").get("lastTransitionTime") if _is_limited(hpa) else None,
        is_unmeasured=is_unmeasured(scaled_object),
    )
    works = condition(hpa, "ScalingActive").get("status") == "True"
    is_ready = condition(scaled_object, "Ready").get("status") == "True"
    error = _last_error(events, now, _RECENT_BUT_WORKING if works else _RECENT, is_ready)
    state, reason, started = _state(scaled_object, notes, error)
    return replace(common, state=state, reason=reason, since=since if "paused" in state else started)


def _state(scaled_object: Object, notes: Mapping[str, str], error: str) -> tuple[str, str, str | None]:
    """Its state, why in KEDA's words, and since when."""
    active, ready = condition(scaled_object, "Active"), condition(scaled_object, "Ready")
    stopped = [name for name in notes if _PAUSES.get(name) == "paused"]
    if stopped:
        return "paused", "", None
    failing = [printable(name) for name in failing_readings(scaled_object)]
    falls_back = condition(scaled_object, "Fallback").get("status") == "True"
    # The formula goes on without Prometheus, and KEDA calls that a fallback as well.
    if falls_back and (failing or not is_unmeasured(scaled_object)):
        text = error or str(condition(scaled_object, "Fallback").get("message") or "")
        return "fallback", cleaned(text), _since(condition(scaled_object, "Fallback"))
    if ready.get("status") == "False" or failing or error:
        said = str(ready.get("message") or "") if ready.get("status") == "False" else ""
        return "failing", cleaned(error or said or f"KEDA could not read {', '.join(failing)}"), _since(ready)
    if not ready:
        return "unknown", "KEDA has not looked at it yet", None
    if active.get("status") not in ("True", "False"):
        # Its first look at the queues is still to come.
        return _PAUSES.get(next(iter(notes), ""), "starting"), "", None
    state = "active" if active.get("status") == "True" else "idle"
    state = _PAUSES.get(next(iter(notes), ""), state)
    return state, cleaned(str(active.get("message") or "")), _since(active)


def _since(found: Object) -> str | None:
    # KEDA 2.20 keeps no times with its conditions; others may.
    return found.get("lastTransitionTime")


def _pausing(scaled_object: Object) -> dict[str, str]:
    """The annotations that pause it, the one that wins first."""
    notes = scaled_object["metadata"].get("annotations") or {}
    return {name: str(notes[name]) for name in _PAUSES if name in notes and pauses(name, str(notes[name]))}


def _paused_by(scaled_object: Object, notes: Mapping[str, str]) -> tuple[str | None, str | None]:
    for name in notes:
        return writer_of(scaled_object, ("f:metadata", "f:annotations", f"f:{name}"))
    return None, None


def pod_scaler(hpa: Object | None) -> Scaler:
    """How Kubernetes' own autoscaler scales a variant."""
    if hpa is None:
        return Scaler("hpa", "missing")
    fault, word = hpa_fault(hpa)
    limited = condition(hpa, "ScalingLimited")
    return Scaler(
        "hpa",
        "failing" if fault else "active",
        since=condition(hpa, "ScalingActive").get("lastTransitionTime"),
        reason=fault,
        hpa_fault=fault,
        hpa_reason=word,
        is_limited=_is_limited(hpa),
        limited_since=limited.get("lastTransitionTime") if _is_limited(hpa) else None,
    )


def hpa_fault(hpa: Object | None) -> tuple[str, str]:
    """Why an HPA cannot scale, in its words, and its reason; empty if it can, or if it sleeps."""
    for kind in ("AbleToScale", "ScalingActive"):
        found = condition(hpa, kind)
        if found.get("status") == "False" and found.get("reason") != _ASLEEP:
            return cleaned(str(found.get("message") or found.get("reason") or "")), str(found.get("reason") or "")
    return "", ""


def _is_limited(hpa: Object | None) -> bool:
    found = condition(hpa, "ScalingLimited")
    return found.get("status") == "True" and found.get("reason") == "TooManyReplicas"


# Events


def _last_error(events: Iterable[Object], now: datetime, age: float, is_ready: bool) -> str:
    """The last error that KEDA has reported, if it is one of now: recent, and not followed by a reading that worked."""
    recent: list[tuple[float, str]] = []
    aged = [(seconds_since(event_time(event), now), event) for event in events]
    told = [(seconds, event) for seconds, event in aged if seconds is not None and seconds <= age]
    worked = min((seconds for seconds, event in told if event.get("reason") == _WORKED), default=age)
    for seconds, event in told:
        is_over = event.get("reason") == _UNREAD and is_ready and seconds > worked + _LATER
        if event.get("reason") in _ERRORS and not is_over:
            recent.append((seconds, str(event.get("message") or "")))
    return min(recent)[1] if recent else ""


def rescales(events: Iterable[Object]) -> tuple[Rescale, ...]:
    """The last changes of the number of pods, the newest first."""
    found = in_order(event for event in events if event.get("reason") in _RESCALES)[::-1]
    return tuple(
        Rescale(
            event_time(event),
            "HPA" if event.get("reason") == "SuccessfulRescale" else "KEDA",
            cleaned(_TARGET.sub("", str(event.get("message") or ""))),
        )
        for event in found[:_SHOWN_RESCALES]
    )


def events_by_object(events: Iterable[Object]) -> dict[tuple[str, str], list[Object]]:
    """Events by kind and name of what they are about."""
    found: dict[tuple[str, str], list[Object]] = {}
    for event in events:
        about = event.get("involvedObject") or {}
        found.setdefault((str(about.get("kind")), str(about.get("name"))), []).append(event)
    return found


def hpa_of(variant: Variant, autoscalers: Mapping[str, list[Object]]) -> Object | None:
    """The HPA that acts on a variant's Deployment."""
    found = autoscalers.get(variant.deployment, [])
    return found[0] if found else None
