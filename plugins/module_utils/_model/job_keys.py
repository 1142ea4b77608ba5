# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a variant whose workers run as Jobs: as many as there is work, each of which ends by itself."""

from __future__ import annotations

from dataclasses import dataclass

from .._schema.keys import key
from .._schema.scalars import SECONDS, Choice, Integer

DEPLOYMENT, JOBS = "deployment", "jobs"

#: Jobs that KEDA keeps after their end, for people who look for what they did.
DONE_JOBS, FAILED_JOBS = 3, 10
#: Times that Kubernetes starts the pod of a Job again after a failure: after 10, 20, 40 and 80 seconds.
RESTARTS = 4


@dataclass(frozen=True)
class Jobs:
    """What runs the workers of a variant."""

    run_as: str = key(
        Choice((DEPLOYMENT, JOBS)),
        "V(jobs) makes a KEDA ScaledJob in place of a Deployment: each Job takes tasks until there are none, so no "
        "worker is ever scaled in while it works. For long tasks; needs O(idempotent).",
        DEPLOYMENT,
    )
    idle_seconds: int = key(
        Integer(5, unit=SECONDS),
        "O(run_as) V(jobs): time without work after which a Job ends. By default two readings of KEDA, so that the "
        "next task finds a Job that is up.",
        30,
    )
    max_age_seconds: int = key(
        Integer(60, unit=SECONDS),
        "O(run_as) V(jobs): age after which a Job takes nothing more and ends after its task. Until then it works on "
        "the version that it has started with.",
        3600,
    )

    @property
    def are_used(self) -> bool:
        """Whether the workers run as Jobs."""
        return self.run_as == JOBS
