# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What features of the launcher know of the worker that they run in, and the threads that they look from.

A ConfigMap brings this file into the worker's container. It is imported before Celery starts, so that what it takes
from Python is Python's own: gevent and eventlet put their own in its place, which must not be used from other threads.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

start_thread = _thread.start_new_thread
new_lock = _thread.allocate_lock
sleep = time.sleep
monotonic = time.monotonic
write = os.write

#: State of a blueprint of Celery that runs.
RUN = 1


def say(feature: str, text: str) -> None:
    """One line in the log of the worker. Not through Celery's streams: their locks may be those of gevent."""
    line = " ".join(text.split())
    try:
        write(2, f"celery-launcher: {feature}: {line}\n".encode())
    except OSError:
        return


def say_off(feature: str, error: Exception) -> None:
    """A feature cannot do its work, and the worker does its own."""
    say(feature, f"is off, and the worker runs without it ({type(error).__name__}: {error})")


class Watched:
    """The worker of this process. Everything may be read from any thread, before it starts and while it stops."""

    def __init__(self) -> None:
        #: The WorkController, once there is one.
        self.worker: Any = None
        #: What is done once gevent or eventlet has had its way, and before the worker starts.
        self._before_start: list[Callable[[], None]] = []
        #: What only that is done once the worker consumes for the first time.
        self._on_ready: list[Callable[[], None]] = []
        #: Locks of those who wait for the next start of a task.
        self._waiting: list[Any] = []
        self._follows = False
        self._is_told_to_stop = False

    def follow(self) -> None:
        """Learn of the worker from Celery. Does nothing the second time."""
        if self._follows:
            return
        self._follows = True
        from celery import signals

        signals.celeryd_init.connect(self._see_worker, weak=False)
        signals.worker_ready.connect(self._see_ready, weak=False)
        signals.worker_shutting_down.connect(self._see_stop, weak=False)

    def run(self, feature: str, work: Callable[[], None]) -> None:
        """Do something in a thread of its own once the worker consumes. An error is one line in the log.

        Only then, because the processes of a pool are forked before that.
        """

        def do() -> None:
            try:
                work()
            except Exception as error:
                say_off(feature, error)

        def begin() -> None:
            start_thread(do, ())

        self.follow()
        self._on_ready.append(begin)

    def before_start(self, feature: str, work: Callable[[], None]) -> None:
        """Do something before the worker starts. An error is one line in the log.

        It is not done before gevent or eventlet has put its own in Python's place.
        """

        def do() -> None:
            try:
                work()
            except Exception as error:
                say_off(feature, error)

        self.follow()
        self._before_start.append(do)

    def wait_for_start(self, seconds: float, accepted: int) -> bool:
        """Wait until a task starts; return whether one did. It costs a worker that is busy nothing.

        :param accepted: what C(self.accepted) was when the caller looked, so that no start since then is missed.
        """
        lock = new_lock()
        lock.acquire()
        self._waiting.append(lock)
        if self.accepted == accepted:
            lock.acquire(True, seconds)
        with contextlib.suppress(ValueError):  # It rang.
            self._waiting.remove(lock)
        return self.accepted != accepted

    @property
    def accepted(self) -> int:
        """Tasks that have been started since the worker started."""
        from celery.worker import state

        return int(state.all_total_count[0])

    @property
    def active(self) -> list[Any]:
        """Requests that run now."""
        from celery.worker import state

        return self.all_of(state.active_requests)

    @property
    def reserved(self) -> list[Any]:
        """Requests that will run as soon as a slot is free."""
        from celery.worker import state

        running = set(self.active)
        return [request for request in self.all_of(state.reserved_requests) if request not in running]

    @property
    def oldest_start(self) -> float | None:
        """When the oldest of the tasks that run was started, in seconds since 1970; None if none runs."""
        # A request whose slot is taken has its time a moment before it is active.
        return min((request.time_start for request in self.active if request.time_start), default=None)

    @property
    def later(self) -> int:
        """Requests that are held for an ETA, a countdown or a rate limit."""
        schedule = getattr(getattr(self.consumer, "timer", None), "schedule", None)
        entries = [item.entry for item in self.all_of(getattr(schedule, "_queue", ()))]
        return sum(1 for entry in entries if entry.args and hasattr(entry.args[0], "task_id"))

    @property
    def unacked(self) -> int:
        """Messages that are delivered and not acknowledged, as far as the transport keeps count of them.

        RabbitMQ's does not, so there it is what Celery holds.
        """
        held = self.held
        return len(self.active) + len(self.reserved) + self.later if held is None else len(held)

    @property
    def held(self) -> set[str] | None:
        """The tags of those messages, by which Redis keeps them; None where the transport keeps none."""
        qos: Any = getattr(getattr(self.task_consumer, "channel", None), "qos", None)
        delivered = getattr(qos, "_delivered", None)
        return None if delivered is None else set(self.all_of(delivered)) - set(self.all_of(qos._dirty))

    @property
    def consumer(self) -> Any:
        """The worker's consumer. It stays the same when it connects anew; None before it is made."""
        return getattr(self.worker, "consumer", None)

    @property
    def task_consumer(self) -> Any:
        """What takes messages from the broker; None while the worker is not connected."""
        return getattr(self.consumer, "task_consumer", None)

    @property
    def queues(self) -> list[str]:
        """Queues that it takes tasks from now; none while it drains or is not connected."""
        return [str(queue.name) for queue in getattr(self.task_consumer, "queues", None) or ()]

    @property
    def slots(self) -> int:
        """Tasks that can run at once."""
        pool = getattr(self.worker, "pool", None)
        # A green pool counts what runs in it.
        slots = getattr(pool, "limit" if getattr(pool, "is_green", False) else "num_processes", None)
        return int(slots or 1)

    @property
    def may_take(self) -> bool:
        """Whether the prefetch count lets it take one more message, as far as can be told: a false no is harmless."""
        qos = getattr(getattr(self.task_consumer, "channel", None), "qos", None)
        can_consume = getattr(qos, "can_consume", None)
        if can_consume is not None:
            return bool(can_consume())
        # RabbitMQ counts on its own side.
        most = self.consumer.initial_prefetch_count
        held = sum(1 for request in self.active + self.reserved if not request.acknowledged)
        limited = sum(len(bucket.contents) for bucket in self.all_of(self.consumer.task_buckets.values()) if bucket)
        return not most or held + limited + self.later < most

    @property
    def is_running(self) -> bool:
        """Whether the blueprints of worker and consumer run: connected, and not on the way to an end."""
        blueprints = [getattr(part, "blueprint", None) for part in (self.worker, self.consumer)]
        return all(getattr(blueprint, "state", None) == RUN for blueprint in blueprints) and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop, by a signal or from inside."""
        from celery.worker import state

        told = [flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate)]
        return self._is_told_to_stop or any(told)

    def _see_worker(self, instance: Any = None, **_: Any) -> None:
        self.worker = instance
        while self._before_start:
            self._before_start.pop(0)()
        from celery.worker.request import Request

        by_celery, waiting = Request.on_accepted, self._waiting

        def on_accepted(request: Any, pid: Any, time_accepted: Any) -> Any:
            done = by_celery(request, pid, time_accepted)
            if waiting:
                self._ring()
            return done

        Request.on_accepted = on_accepted

    def _ring(self) -> None:
        """Wake those who wait for a start."""
        while self._waiting:
            try:
                self._waiting.pop().release()
            except (IndexError, RuntimeError):
                return  # Another thread was first.

    def _see_ready(self, **_: Any) -> None:
        # It is sent at each new connection.
        while self._on_ready:
            self._on_ready.pop(0)()

    def _see_stop(self, **_: Any) -> None:
        self._is_told_to_stop = True

    @staticmethod
    def all_of(things: Any) -> list[Any]:
        """What is in a collection that the worker changes meanwhile."""
        for _try in range(100):
            try:
                return list(things)
            except RuntimeError:
                sleep(0.001)
        return list(things)


#: The one of this process.
watched = Watched()
