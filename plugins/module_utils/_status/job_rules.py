# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of workers that run as Jobs, and where such workers write."""

from __future__ import annotations

from datetime import datetime

from .._model.fleet import Variant
from .._model.names import SERVICE_LABEL, VARIANT_LABEL
from .._schema.counted import counted
from .data import Pods
from .moments import ago, seconds_since

#: Seconds for which a failure is news.
_NEWS = 3600


def failed_jobs(variant: Variant, pods: Pods, now: datetime) -> tuple[str, str] | None:
    """Jobs whose workers have failed of late, and what to do; None if none has."""
    seconds = seconds_since(pods.last_end, now)
    if not pods.failed_jobs or seconds is None or seconds > _NEWS:
        return None
    what = f"workers of {counted(pods.failed_jobs, 'Job')} have failed, the last one {ago(pods.last_end, now)}"
    return what, f"read {logs_of(variant)}"


def logs_of(variant: Variant) -> str:
    """The command that shows what the workers of a variant write."""
    kind, name = variant.worker_object
    if kind == "Deployment":
        return f"kubectl logs deployment/{name}"
    place = f"{SERVICE_LABEL}={variant.service},{VARIANT_LABEL}={variant.name}"
    return f"kubectl logs --prefix --selector {place}"


def not_looked_at(variant: Variant) -> str:
    """What is wrong where KEDA has not looked at its object yet."""
    kind = "ScaledJob" if variant.runs_as_jobs else "ScaledObject"
    return f"KEDA has not looked at its {kind} yet, so nothing scales it"
