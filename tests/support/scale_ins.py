# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale-ins of a ReplicaSet whose pods mark themselves, over random work, in simulated time.

The pods decide by the launcher's own code; the ReplicaSet ranks by cost alone and draws lots among equals.

From a shell: `python -m tests.support.scale_ins --count 1000 --seeds 4`.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.idle_first import Costs, Keeper

#: Seconds that a write takes to be seen, at most, and that a start takes to be noticed.
WRITE, NOTICE = 0.05, 0.05
#: Seconds after which a busy pod must be spared, and an idle one must be known.
BUSY, IDLE = 5.0, 1.0


@dataclass(frozen=True)
class Load:
    """Random work: seconds that a task takes, and tasks a second for each slot."""

    shortest: float
    longest: float
    rate: float
    slots: int = 1


#: From a trickle of short tasks to pods that are nearly always busy.
LOADS = (
    Load(1.5, 40, 0.03),
    Load(0.05, 2, 0.5),
    Load(1, 12, 0.1),
    Load(20, 300, 0.003),
    Load(1.5, 40, 0.02, slots=4),
)


@dataclass
class SimulatedPod:
    """One pod: what it runs, and what its annotation says."""

    number: int
    born: float
    running: dict[int, float] = field(default_factory=dict)
    accepted: int = 0
    idle_since: float = 0.0
    cost: int = 0
    writes: int = 0
    waits_for_start: bool = True
    look_number: int = 0


@dataclass
class Found:
    """What scale-ins hit."""

    scale_ins: int = 0
    #: Victims that were busy for longer than they may be, while a pod was known to be idle.
    wrong: int = 0
    #: Victims that were busy at all, while a pod was known to be idle.
    busy: int = 0
    #: Scale-ins for which there was nothing to choose: no pod was idle.
    without_choice: int = 0
    writes: int = 0
    pod_seconds: float = 0.0


class Simulation:
    """Pods that take tasks from one queue, and a ReplicaSet that loses one now and then and makes a new one."""

    def __init__(self, seed: int, load: Load, pods: int = 8, marks: bool = True) -> None:
        self.random, self.load, self.marks = random.Random(seed), load, marks
        self.found = Found()
        self._events: list[tuple[float, int, str, Any]] = []
        self._numbers = itertools.count()
        self._waiting = 0
        self._pods: dict[int, SimulatedPod] = {}
        self._keepers: dict[int, Keeper] = {}
        self.now = 0.0
        for _pod in range(pods):
            self._begin()
        self._later(0.0, "arrive")
        self._later(20.0, "scale in")

    def run(self, scale_ins: int) -> Found:
        """Go on until the ReplicaSet has lost so many pods."""
        actions: dict[str, Callable[..., None]] = {
            "arrive": self._arrive,
            "end": self._end,
            "look": self._look,
            "scale in": self._scale_in,
            "begin": self._begin,
            "seen": self._seen,
        }
        while self.found.scale_ins < scale_ins:
            self.now, _number, what, about = heapq.heappop(self._events)
            actions[what](*about)
        return self.found

    def _later(self, seconds: float, what: str, *about: Any) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), what, about))

    def _begin(self) -> None:
        pod = SimulatedPod(next(self._numbers), self.now, idle_since=self.now)
        self._pods[pod.number] = pod
        self._keepers[pod.number] = Keeper(_Writer(self, pod), Costs())
        if self.marks:
            self._later(0.0, "look", pod.number, 0)
        self._take(pod)

    def _arrive(self) -> None:
        self._waiting += 1
        pods = len(self._pods) or 1
        self._later(self.random.expovariate(self.load.rate * pods * self.load.slots), "arrive")
        free = [pod for pod in self._pods.values() if len(pod.running) < self.load.slots]
        if free:
            self._take(self.random.choice(free))

    def _take(self, pod: SimulatedPod) -> None:
        while self._waiting and len(pod.running) < self.load.slots:
            self._waiting -= 1
            task = next(self._numbers)
            pod.running[task] = self.now
            pod.accepted += 1
            self._later(self.random.uniform(self.load.shortest, self.load.longest), "end", pod.number, task)
            if self.marks and pod.waits_for_start:
                pod.waits_for_start = False
                pod.look_number += 1
                self._later(self.random.uniform(0, NOTICE), "look", pod.number, pod.look_number)

    def _end(self, number: int, task: int) -> None:
        pod = self._pods.get(number)
        if pod is None:
            return
        del pod.running[task]
        if not pod.running:
            pod.idle_since = self.now
        self._take(pod)

    def _look(self, number: int, look_number: int) -> None:
        pod = self._pods.get(number)
        if pod is None or look_number != pod.look_number:
            return
        oldest = min(pod.running.values(), default=None)
        # The times of day of a worker are years away from nothing.
        day = 1_800_000_000.0
        start = None if oldest is None else day + oldest
        wait = self._keepers[number].look(day + self.now, 1000.0 + self.now, start, pod.accepted)
        pod.waits_for_start = oldest is None
        pod.look_number += 1
        self._later(max(wait, 0.001), "look", number, pod.look_number)

    def _seen(self, number: int, cost: int) -> None:
        if number in self._pods:
            self._pods[number].cost = cost

    def _scale_in(self) -> None:
        found, pods = self.found, list(self._pods.values())
        least = min(pod.cost for pod in pods)
        victim = self.random.choice([pod for pod in pods if pod.cost == least])
        is_idle = any(not pod.running and self.now - pod.idle_since > IDLE for pod in pods)
        found.scale_ins += 1
        found.without_choice += not is_idle
        found.busy += bool(is_idle and victim.running)
        found.wrong += bool(is_idle and victim.running and self.now - min(victim.running.values()) > BUSY)
        del self._pods[victim.number]
        found.writes += victim.writes
        found.pod_seconds += self.now - victim.born
        self._waiting += len(victim.running)
        self._later(self.random.uniform(2, 8), "begin")
        self._later(self.random.uniform(5, 30), "scale in")

    def write(self, pod: SimulatedPod, cost: int | None) -> None:
        """A pod writes its annotation."""
        pod.writes += 1
        self._later(self.random.uniform(0.003, WRITE), "seen", pod.number, cost or 0)


@dataclass
class _Writer:
    simulation: Simulation
    pod: SimulatedPod

    def write(self, cost: int | None) -> None:
        self.simulation.write(self.pod, cost)


def main() -> None:
    """Print what happened, with and without marks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    for marks in (False, True):
        total: Counter[str] = Counter()
        for seed in range(arguments.seeds):
            for load in LOADS:
                found = Simulation(seed, load, marks=marks).run(arguments.count // len(LOADS))
                total.update({name: value for name, value in vars(found).items() if name != "pod_seconds"})
                pace = found.writes / max(1.0, found.pod_seconds) * 60
                said = f"{found.wrong} wrong, {found.busy} busy, {pace:.1f} writes a minute and pod"
                print(f"marks {marks!s:5} seed {seed} {load}: {said}")
        print(f"marks {marks}: {dict(total)}")


if __name__ == "__main__":
    main()
