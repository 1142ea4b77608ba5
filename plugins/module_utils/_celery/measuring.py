# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variants go by what has been measured of their tasks, and by what."""

from __future__ import annotations

from collections.abc import Collection

from .._model.broker import Broker
from .._model.fleet import Variant
from .._model.names import EXPORTER, FLOWER
from .._schema.versions import Version, older

#: KEDA knows since 2.20 how to do without one reading, but several that failed could end its operator (2.20.0).
_OLDEST, _BROKEN = "2.20", (2, 20, 0)


def source_of(enabled: Collection[str]) -> str:
    """What counts the tasks of a fleet: the first of Flower and the exporter that it has; empty for neither."""
    return next((name for name in (FLOWER, EXPORTER) if name in enabled), "")


def wants_goal(variant: Variant) -> bool:
    """Whether somebody has said how long messages of a variant may wait."""
    return "max_wait_seconds" in variant.written_keys


def is_too_old(keda: Version | None) -> bool:
    """Whether an outage of Prometheus would stop all scaling."""
    return older(keda, _OLDEST) or keda == _BROKEN


def why_not(variant: Variant, broker: Broker | None, keda: Version | None) -> str:
    """Why a variant that KEDA scales, and that has a wait goal, does not go by what is measured; empty if it does."""
    if not wants_goal(variant) or not variant.uses_keda:
        return "it has no wait goal, or KEDA does not decide on its pods by a formula"
    if "list_length" in variant.written_keys:
        return "it is written"
    if broker is None or broker.type == "sqs":
        return "SQS has no events, so nothing measures its tasks"
    if variant.scaling.fallback is None:
        return "fallback is false, and an outage of Prometheus would stop the scaling"
    return "KEDA before 2.20.1 cannot scale while Prometheus is away" if is_too_old(keda) else ""
