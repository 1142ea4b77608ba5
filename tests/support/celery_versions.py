# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments with other versions of Celery than the tests' own, made once and kept under build/."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from .environments import environment_with

#: What is installed for each version. Celery 5.4 alone would bring a kombu that refuses the redis it brings.
REQUIREMENTS = {
    "5.4": ("celery[redis]==5.4.0", "kombu==5.4.2"),
    "5.5": ("celery[redis]==5.5.3",),
    "5.6": ("celery[redis]==5.6.3",),
    "5.7": ("celery[redis]==5.7.0", "gevent"),
}


def celery_environment(version: str) -> Path:
    """The folder of an environment with that version, whose bin/ has celery and python."""
    if REQUIREMENTS[version] == (f"celery[redis]=={metadata.version('celery')}",):
        # The tests' own has the newest of all that it needs as well.
        return Path(sys.prefix)
    return environment_with(f"celery-{version}", REQUIREMENTS[version])
