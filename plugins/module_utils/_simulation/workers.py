# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers and their broker, task by task: what waits, what is held, what runs, and what is cut.

A task is a number, its place in L(Arrivals). L(Site.advance) works out everything that happens between two times.
"""

from __future__ import annotations

import random
from array import array
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from .loads import Arrivals
from .pods import Pod, Worker, first_to_go

_NEVER = float("inf")
#: What is at the head of no ends of tasks.
_NO_END = (_NEVER, -1, Pod(0.0, _NEVER, 0.0))
#: A live worker looks for messages to give back every 100 s; on average half of it passes (kombu 5.7).
_SWEEP = 50.0
#: Kinds of what is to come, in the order in which they count at the same time.
_READY, _DUE, _BACK, _SOFT, _KILL, _IDLE, _AGE = range(7)


@dataclass
class Counts:
    """What became of messages.

    :param done: runs that ended well.
    :param failed: runs that ended with a failure.
    :param retried: failed runs whose task was sent again.
    :param interrupted: runs that were cut by a kill.
    :param given_back: runs that a stopping worker gave back.
    :param lost: tasks that are gone for ever, because they were acknowledged before they ended.
    :param repeated: tasks whose message was delivered once more while they ran.
    :param starts: pods that were created.
    """

    done: int = 0
    failed: int = 0
    retried: int = 0
    interrupted: int = 0
    given_back: int = 0
    lost: int = 0
    repeated: int = 0
    starts: int = 0


class Site:
    """One variant's queues and pods.

    :param chance: where random choices come from.
    """

    def __init__(self, worker: Worker, arrivals: Arrivals, chance: random.Random) -> None:
        self.worker, self.arrivals = worker, arrivals
        self.counts = Counts()
        self.now = 0.0
        #: When each task began first; below zero for one that has not begun.
        self.began = array("d", [-1.0]) * len(arrivals.times)
        self.lists: tuple[deque[int], ...] = tuple(deque() for _other in worker.steps)
        self.pods: list[Pod] = []
        #: Messages whose worker was killed: when they are given back at the earliest.
        self.stranded: dict[int, float] = {}
        self.last_end = 0.0
        self.pod_seconds = self.busy_seconds = 0.0
        #: How long the runs took that ended well.
        self.done_seconds = 0.0
        #: Pods that work and may go on.
        self.ready = 0
        self._chance = chance
        self._next = 0
        self._free: deque[Pod] = deque()
        self._ends: list[tuple[float, int, Pod]] = []
        self._coming: list[tuple[float, int, int, Pod | None]] = []
        self._tries: dict[int, int] = {}
        self._due = dict(arrivals.due)
        self._repeats: set[int] = set()
        self._homes = [self._home(priority) for priority in range(10)]
        self._seconds = arrivals.seconds
        longest = max(arrivals.seconds, default=0.0)
        is_repeated = worker.acks_late and worker.visibility is not None and longest > worker.visibility
        #: Whether tasks only come, run and end.
        self._is_plain = not (arrivals.due or arrivals.may_fail or is_repeated or worker.idle is not None)

    def _home(self, priority: int) -> int:
        """Place of the list for a priority, which is rounded down to a step."""
        below = [place for place, step in enumerate(self.worker.steps) if step <= priority]
        return below[-1] if below else 0

    # What others see

    @property
    def waiting(self) -> int:
        """Messages in the broker's lists."""
        return sum(map(len, self.lists))

    @property
    def running(self) -> int:
        """Tasks that run."""
        return sum(len(pod.tasks) for pod in self.pods)

    @property
    def received(self) -> int:
        """Messages that workers have taken so far, those that came back included."""
        return self._next + self.counts.retried + self.counts.given_back - self.waiting

    @property
    def unacknowledged(self) -> int:
        """Messages that are delivered and not acknowledged, those of killed workers included."""
        late, held = self.worker.acks_late, len(self.stranded)
        for pod in self.pods:
            held += pod.held + len(pod.etas) - (0 if late else len(pod.tasks))
        return held

    @property
    def outstanding(self) -> int:
        """Messages that have not come to an end, and tasks that run."""
        return self.waiting + sum(pod.held + len(pod.etas) for pod in self.pods) + len(self.stranded)

    @property
    def live(self) -> list[Pod]:
        """Pods that nobody has told to stop."""
        return [pod for pod in self.pods if not pod.is_leaving]

    @property
    def oldest(self) -> float:
        """Seconds that the oldest waiting message has waited; 0 where none waits."""
        heads = [self.arrivals.times[line[0]] for line in self.lists if line]
        return self.now - min(heads) if heads else 0.0

    @property
    def undone(self) -> int:
        """Tasks that have not come to an end, those that are still to come included."""
        return self.outstanding + len(self.arrivals.times) - self._next

    @property
    def next_change(self) -> float:
        """When something is due that is neither an arrival nor the end of a task."""
        return self._coming[0][0] if self._coming else _NEVER

    @property
    def has_more(self) -> bool:
        """Whether tasks are still to come."""
        return self._next < len(self.arrivals.times)

    # Pods come and go

    def begin_with(self, number: int) -> None:
        """Pods that have been there for long, as far as there is room for them."""
        for place in range(number):
            self._create()
            if self.worker.room is None or place < self.worker.room:
                self.pods[-1].ready_at = self.now
                self._start_up(self.pods[-1])

    def scale(self, wanted: int) -> None:
        """Bring the pods to a number, as a ReplicaSet does."""
        live = self.live
        for _other in range(wanted - len(live)):
            self._create()
        for pod in first_to_go(live, len(live) - wanted, self.now, self.worker.idle_first):
            self._stop(pod)
        self._place()

    def start(self, number: int) -> None:
        """Create pods beside those that are there, as new Jobs do."""
        for _other in range(number):
            self._create()
        self._place()

    def _create(self) -> None:
        self.counts.starts += 1
        self.pods.append(Pod(self.now, _NEVER, self._chance.random()))

    def _place(self) -> None:
        """Give pods without a node one, where there is room."""
        pending = [pod for pod in self.pods if pod.ready_at == _NEVER]
        room = self.worker.room
        free = len(pending) if room is None else max(0, room - (len(self.pods) - len(pending)))
        for pod in pending[:free]:
            pod.ready_at = self.now + self.worker.start
            self._later(pod.ready_at, _READY, pod=pod)

    def _later(self, when: float, kind: int, task: int = -1, pod: Pod | None = None) -> None:
        heappush(self._coming, (when, kind, task, pod))

    def _stop(self, pod: Pod) -> None:
        """Tell a pod to stop."""
        self._retire(pod)
        if pod.is_gone:
            return
        worker = self.worker
        if worker.soft is not None and worker.soft < worker.grace:
            self._later(self.now + worker.soft, _SOFT, pod=pod)
        else:
            self._later(self.now + worker.grace, _KILL, pod=pod)
        self._hand_out()

    def _retire(self, pod: Pod) -> None:
        """Let a pod take nothing more, and give back what it has not begun. It goes when nothing runs in it."""
        pod.is_leaving = True
        self.ready -= pod.is_ready(self.now)
        for task in [*pod.etas, *reversed(pod.reserved)]:
            self.lists[self._list_of(task)].appendleft(task)
        pod.held -= len(pod.reserved)
        pod.reserved.clear()
        pod.etas.clear()
        if not pod.tasks:
            self._leave(pod)

    def _leave(self, pod: Pod) -> None:
        pod.is_gone = pod.is_leaving = True
        self.pods.remove(pod)
        self.pod_seconds += self.now - pod.created
        self.busy_seconds += pod.busy
        if self.worker.room is not None:
            self._place()
        if self.waiting:
            self._hand_out()

    def _cut(self, pod: Pod, gives_back: bool) -> None:
        """End a pod whose tasks still run."""
        worker, counts = self.worker, self.counts
        for task, began in pod.tasks.items():
            if not worker.acks_late:
                counts.interrupted += 1
                counts.lost += 1
            elif gives_back or worker.visibility is None:
                counts.given_back += gives_back
                counts.interrupted += not gives_back
                self.lists[self._list_of(task)].appendleft(task)
            else:
                counts.interrupted += 1
                self.stranded[task] = max(self.now, began + worker.visibility)
                self._later(self.stranded[task], _BACK, task)
        if pod.tasks:
            pod.busy += self.now - pod.busy_since
            pod.tasks.clear()
        pod.held = 0
        self._leave(pod)

    def close(self) -> None:
        """Count what the pods that are still there have cost."""
        for pod in self.pods:
            self.pod_seconds += self.now - pod.created
            self.busy_seconds += pod.busy + (self.now - pod.busy_since if pod.tasks else 0.0)

    # Messages

    def _list_of(self, task: int) -> int:
        priorities = self.arrivals.priorities
        return self._homes[priorities[task]] if priorities else 0

    def _hand_out(self) -> None:
        """Give waiting messages to the pods that wait for them, the longest waiting first."""
        free, lists, holds = self._free, self.lists, self.worker.holds
        while free:
            for line in lists:
                if line:
                    break
            else:
                return
            pod = free.popleft()
            if pod.is_leaving:
                pod.is_listed = False
                continue
            self._deliver(pod, line.popleft())
            if pod.held < holds:
                free.append(pod)
            else:
                pod.is_listed = False

    def _deliver(self, pod: Pod, task: int) -> None:
        if self._due and self._due.get(task, 0.0) > self.now:
            # It is taken beyond what a worker holds otherwise, and waits there.
            pod.etas.add(task)
            self._later(self._due[task], _DUE, task, pod)
            return
        pod.held += 1
        if len(pod.tasks) < self.worker.slots:
            self._begin(pod, task)
        else:
            pod.reserved.append(task)

    def _begin(self, pod: Pod, task: int) -> None:
        now, seconds = self.now, self.arrivals.seconds[task]
        if not pod.tasks:
            pod.busy_since = now
        pod.tasks[task] = now
        if self.began[task] < 0:
            self.began[task] = now
        heappush(self._ends, (now + seconds, task, pod))
        visibility = self.worker.visibility
        if visibility is not None and seconds > visibility and self.worker.acks_late and task not in self._repeats:
            self._repeats.add(task)
            self._later(now + visibility + _SWEEP, _BACK, task)

    def _end(self, pod: Pod, task: int) -> None:
        """A run has come to its end."""
        del pod.tasks[task]
        pod.held -= 1
        self.last_end = self.now
        if pod.reserved:
            self._begin(pod, pod.reserved.popleft())
        elif not pod.tasks:
            pod.busy += self.now - pod.busy_since
            self._rest(pod)
        self._count(task)
        if pod.is_leaving:
            if not pod.tasks:
                self._leave(pod)
        elif not pod.is_listed and pod.held < self.worker.holds:
            pod.is_listed = True
            self._free.append(pod)
            self._hand_out()

    def _rest(self, pod: Pod) -> None:
        """Note that a pod has nothing to do, if it is one that ends then."""
        if self.worker.idle is not None:
            pod.idle_since = self.now
            self._later(self.now + self.worker.idle, _IDLE, pod=pod)

    def _end_idle(self, pod: Pod) -> None:
        """End a pod that has had nothing to do for long enough."""
        is_idle = not (pod.is_leaving or pod.tasks or pod.etas)
        if is_idle and self.worker.idle is not None and self.now >= pod.idle_since + self.worker.idle - 1e-9:
            self._retire(pod)

    def _count(self, task: int) -> None:
        share, most, after = self.arrivals.fails_of(task)
        if not share or self._chance.random() >= share:
            self.counts.done += 1
            self.done_seconds += self.arrivals.seconds[task]
            return
        self.counts.failed += 1
        tries = self._tries.get(task, 0)
        if tries < most:
            self._tries[task] = tries + 1
            self.counts.retried += 1
            # A retry is sent with a countdown, and taken at once.
            self._due[task] = self.now + after
            self.lists[self._list_of(task)].append(task)
            self._hand_out()

    # Time

    def advance(self, until: float) -> None:
        """Everything up to a time, that time included."""
        coming = self._coming
        while True:
            reached = self._work(min(until, coming[0][0]) if coming else until)
            if coming and coming[0][0] <= reached:
                _when, kind, task, pod = heappop(coming)
                self._happen(kind, task, pod)
            elif reached >= until:
                return

    def _happen(self, kind: int, task: int, pod: Pod | None) -> None:
        if kind == _BACK:
            self._give_back(task)
        elif pod is None or pod.is_gone:
            return
        elif kind == _READY:
            self._start_up(pod)
        elif kind == _DUE:
            if task in pod.etas:
                pod.etas.remove(task)
                self._deliver(pod, task)
        elif kind == _IDLE:
            self._end_idle(pod)
        elif kind == _AGE:
            if not pod.is_leaving:
                self._retire(pod)
                self._hand_out()
        else:
            self._cut(pod, gives_back=kind == _SOFT)

    def _start_up(self, pod: Pod) -> None:
        if pod.is_leaving:
            return
        pod.is_listed = True
        self.ready += 1
        self._rest(pod)
        if self.worker.age is not None:
            self._later(self.now + self.worker.age, _AGE, pod=pod)
        self._free.append(pod)
        for task, due in self.stranded.items():
            # A new worker looks for such messages after ten seconds.
            self._later(max(due, self.now + 10.0), _BACK, task)
        self._hand_out()

    def _give_back(self, task: int) -> None:
        """The broker gives a message to somebody else, if a worker is there that looks for such messages."""
        if task in self.stranded:
            if self.stranded[task] <= self.now and self.ready:
                del self.stranded[task]
                self.lists[self._list_of(task)].append(task)
                self._hand_out()
        elif any(task in pod.tasks for pod in self.pods):
            self.counts.repeated += 1

    def _work(self, until: float) -> float:
        """Arrivals and ends of tasks up to a time, or up to what they bring about; the busiest loop of all."""
        times, ends, free, lists = self.arrivals.times, self._ends, self._free, self.lists
        homes, priorities = self._homes, self.arrivals.priorities
        count, place, is_plain, go_on = len(times), self._next, self._is_plain, self._go_on
        arrival = times[place] if place < count else _NEVER
        while True:
            when, task, pod = ends[0] if ends else _NO_END
            if when <= arrival:
                if when > until:
                    break
                if task not in pod.tasks:
                    heappop(ends)
                    continue
                self.now = when
                if not (is_plain and go_on(pod, task, when)):
                    heappop(ends)
                    self._end(pod, task)
                    until = min(until, self.next_change)
                continue
            if arrival > until:
                break
            self.now = arrival
            self._next = place + 1
            if not (free and is_plain and self._begin_at_once(place, arrival)):
                lists[homes[priorities[place]] if priorities else 0].append(place)
                if free:
                    self._hand_out()
                    until = min(until, self.next_change)
            place += 1
            arrival = times[place] if place < count else _NEVER
        self.now = max(self.now, until)
        return self.now

    def _begin_at_once(self, task: int, now: float) -> bool:
        """Let the pod that waits longest begin a task that comes; false where that is not so simple."""
        free = self._free
        pod = free[0]
        tasks, worker = pod.tasks, self.worker
        if pod.is_leaving or len(tasks) >= worker.slots:
            return False
        if not tasks:
            pod.busy_since = now
        tasks[task] = self.began[task] = now
        heappush(self._ends, (now + self._seconds[task], task, pod))
        pod.held += 1
        if pod.held < worker.holds:
            free.rotate(-1)
        else:
            free.popleft()
            pod.is_listed = False
        return True

    def _go_on(self, pod: Pod, task: int, now: float) -> bool:
        """End a task, and let its pod begin the next one that waits; false where that is not so simple.

        While messages wait, no other pod waits for one.
        """
        if pod.reserved or pod.is_leaving:
            return False
        tasks = pod.tasks
        del tasks[task]
        self.counts.done += 1
        self.done_seconds += self.arrivals.seconds[task]
        self.last_end = now
        for line in self.lists:
            if line:
                new = line.popleft()
                tasks[new] = now
                if self.began[new] < 0:
                    self.began[new] = now
                heapreplace(self._ends, (now + self._seconds[new], new, pod))
                return True
        heappop(self._ends)
        pod.held -= 1
        if not tasks:
            pod.busy += now - pod.busy_since
        if not pod.is_listed:
            pod.is_listed = True
            self._free.append(pod)
        return True
