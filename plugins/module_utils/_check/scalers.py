# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ScaledObject of a fleet, checked as KEDA would, with the user's own place for each problem."""

from __future__ import annotations

import re
from typing import Any

from .._build.scalers import scaled_object
from .._model.fleet import Fleet, Variant
from .._model.observed import NOTHING
from .._schema.problems import Problems, is_within
from .scaled_objects import check_scaled_object


def check_scalers(fleet: Fleet, problems: Problems) -> None:
    """Check every ScaledObject as KEDA would, and closer: it ignores what it does not know.

    Messages about triggers of the user's own name the place where these were written.
    """
    blamed = [item.path for item in problems.found]
    for service in fleet.services:
        broker = service.broker
        # What is wrong already would be said a second time, of the ScaledObject that follows from it.
        if broker is None or not broker.is_sound or not broker.is_known or broker.wrote(blamed):
            continue
        for variant in service.variants:
            is_sound = not any(
                f".{service.name}.{variant.name}." in f"{path}." or is_within(path, variant.path_of("schedule"))
                for path in blamed
            )
            if variant.uses_keda and is_sound:
                _check_scaled_object(variant, scaled_object(fleet, service, variant, NOTHING), fleet, problems)


def _check_scaled_object(variant: Variant, manifest: dict[str, Any], fleet: Fleet, problems: Problems) -> None:
    found, accepted, keda = Problems(), variant.knowledge.accept_risks, fleet.versions.keda
    check_scaled_object(manifest, variant.path, found, None if "version" in accepted else keda)
    places = _places(variant, len(manifest["spec"]["triggers"]))
    for problem in found.found:
        if "fallback-zero" in accepted and problem.message.endswith("(fallback-zero)."):
            continue
        problems.add(_user_path(problem.path, variant.path, places), problem.message)
    for warning in found.warnings:
        path, _colon, message = warning.partition(": ")
        problems.warn(_user_path(path, variant.path, places), message)


def _places(variant: Variant, triggers: int) -> dict[int, str]:
    """Triggers that the user wrote, each with its place: windows, and at the end triggers as KEDA has them."""
    written, schedule = variant.path_of("extra_triggers"), variant.path_of("schedule")
    first = triggers - len(variant.scaling.extra_triggers)
    places = {first + number: f"{written}[{number}]" for number in range(triggers - first)}
    windows = len(variant.scaling.schedule)
    return places | {first - windows + number: f"{schedule}[{number}]" for number in range(windows)}


def _user_path(path: str, variant: str, places: dict[int, str]) -> str:
    """Where the user wrote what a ScaledObject holds under a path."""
    match = re.fullmatch(re.escape(variant) + r"\.triggers\[(\d+)\](.*)", path)
    place = places.get(int(match[1])) if match else None
    if match is None or place is None:
        return path
    # A window has no metadata of its own.
    return place + (match[2].removeprefix(".metadata") if ".schedule[" in place else match[2])
