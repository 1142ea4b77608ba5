# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA makes of a formula, and pods of its result, as KEDA and the HPA do in one round."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ansible_collections.queueops.celery.plugins.module_utils._simulation.formula import names_in, worked

__all__ = ["asked", "names_in", "next_pods"]


def asked(formula: str, readings: Mapping[str, float]) -> float:
    """What a formula asks for."""
    found = worked(formula)(readings)
    assert found is not None, f"{formula!r} gives nothing"
    return found


def next_pods(wish: float, running: int) -> int:
    """Pods after one round of KEDA (from and to zero) and the HPA (target 1, tolerance of a tenth)."""
    if running == 0 or wish == 0:
        return int(wish > 0)
    return running if 0.9 <= wish / running <= 1.1 else math.ceil(wish)
