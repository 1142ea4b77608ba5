# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA over real workers that run as Jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

from tests.support._jobs import jobs_to_start
from tests.support.real_readings import Scaler
from tests.support.real_worker import Pods, Worker


class JobScaler:
    """KEDA for the ScaledJob of one variant. Each Job is one worker, started from the exact pod.

    :param poll: seconds between two readings; as the ScaledJob says if not given.
    """

    def __init__(self, pods: Pods, variant: str = "", poll: float = 0) -> None:
        self.pods, self.variant, self.scaler = pods, variant, Scaler(pods.manifests, variant)
        self.poll: float = poll or self.scaler.spec["pollingInterval"]
        self.jobs: list[Worker] = []
        #: Most Jobs at the same time so far.
        self.highest = 0
        self._next = 0.0
        self._names = count()

    @property
    def running(self) -> list[Worker]:
        """Jobs that have not ended."""
        return [job for job in self.jobs if job.is_running]

    def step(self) -> None:
        """One reading, if it is time for one."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.poll
        for _number in range(jobs_to_start(self.scaler.spec, self.scaler.readings(), len(self.running))):
            name = f"{self.pods.manifests.variant(self.variant).deployment}-{next(self._names):05d}-abcde"
            self.jobs.append(self.pods.start(self.variant, name))
        self.highest = max(self.highest, len(self.running))

    def run(self, seconds: float) -> Iterator[float]:
        """Go on for some time, in small steps; each yields the seconds that have gone."""
        start = time.monotonic()
        while (gone := time.monotonic() - start) < seconds:
            self.step()
            yield gone
            time.sleep(0.1)
