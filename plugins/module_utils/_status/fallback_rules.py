# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of scalers that go on without what they cannot read."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from .._schema.counted import counted
from .data import VariantStatus
from .drain_rules import Finding
from .moments import lasting


class Look(Protocol):
    """What these rules look at."""

    @property
    def status(self) -> VariantStatus:
        """How the variant is."""

    @property
    def now(self) -> datetime:
        """The moment of the look."""


def fallback_active(case: Look) -> Finding | None:
    """That KEDA's fallback decides, and what to do."""
    scaler = case.status.scaler
    if scaler.state != "fallback":
        return None
    why = f" ({scaler.reason.rstrip(' .')})" if scaler.reason else ""
    what = f"the fallback is active{lasting(scaler.since, case.now)}: KEDA cannot read the queue{why}"
    kept = counted(case.status.pods.wanted, "pod")
    return f"{what}, and keeps {kept}", "check that the broker runs, and the scaler's login"


def unmeasured(case: Look) -> Finding | None:
    """That the scaler goes by list_length because Prometheus tells it nothing, and what to do."""
    if not case.status.scaler.is_unmeasured:
        return None
    what = "KEDA cannot ask Prometheus for run times and arrivals, so list_length decides"
    return what, "check that Prometheus runs, that KEDA's namespace may connect to it, and celery_workers_prometheus"
