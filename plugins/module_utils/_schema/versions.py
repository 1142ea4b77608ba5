# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of what the fleet works with, and what needs which.

A version that nobody gives counts as new enough: the collection cannot look into an image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .problems import Problems

Version = tuple[int, ...]

#: The oldest release that the collection works with, whatever keys are used.
OLDEST = {"celery": "5.4", "keda": "2.12", "kubernetes": "1.23"}


@dataclass(frozen=True)
class Versions:
    """What is installed; None where nobody says."""

    celery: Version | None = None
    kombu: Version | None = None
    keda: Version | None = None
    kubernetes: Version | None = None
    rabbitmq: Version | None = None
    redis: Version | None = None


def read_versions(written: Mapping[str, Any], prefix: str, problems: Problems) -> Versions:
    """Versions from their variables, C(5.6) or C(v1.36.2).

    :param written: name of the software to its version; empty is not known.
    """
    found = {}
    for name in (item.name for item in fields(Versions)):
        value, path = written.get(name), f"{prefix}{name}_version"
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", value.strip()) if isinstance(value, str) else None
        if match is not None:
            found[name] = tuple(int(part) for part in match.groups() if part is not None)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            problems.add(
                path,
                f"{value} is a number, and YAML reads 2.20 as 2.2; write the version in quotes, for example '2.20'.",
            )
        else:
            problems.add(path, f"{str(value)!r} is no version; write it as '5.6' or '5.6.3', in quotes.")
    return Versions(**found)


def older(version: Version | None, wanted: str) -> bool:
    """Whether a version is known and older than the one that is wanted."""
    return version is not None and version < tuple(int(part) for part in wanted.split("."))


def at_least(version: Version | None, wanted: str) -> bool:
    """Whether a version is known and not older than the one that is wanted."""
    return version is not None and not older(version, wanted)


def as_text(version: Version | None) -> str:
    """A version as people write it."""
    return ".".join(str(part) for part in version or ())


def below_oldest(software: str, version: Version | None) -> bool:
    """Whether a version is known, and older than the collection works with at all."""
    return software in OLDEST and older(version, OLDEST[software])
