# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a worker that runs as a Job: when it has had nothing to do for some time, or after its task once it is old.

A ConfigMap brings this file into the worker's container. Idle means that nothing runs, nothing is taken to run next,
and no message is held, not even one that waits for its ETA: otherwise KEDA would start another Job for that message.

A task whose worker was killed stays among the messages that are held until a live worker gives it back, which takes the
visibility timeout. KEDA counts it all that time, so one idle Job stays and keeps a key in Redis that says so. Without
it one Job after the other would start, find nothing and end. No worker stays for what a live
one says that it holds.

A worker that is old first consumes from no queue, and ends once it has finished what it runs. It must not be told to
stop before: older Celery sends no heartbeats from then on, so RabbitMQ would give its task to another worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from .watching import monotonic, say, watched

NAME = "run_jobs"
#: Part of the time without work after which the key of a keeper that died is gone, so that the next Job takes over.
_KEPT = 2 / 3


class Keeper:
    """Whether this worker stays although it has nothing to do.

    :param hash_name: where the workers of the variant keep what they hold.
    :param idle: seconds after which a worker without work ends.
    :param connect: opens Redis.
    """

    def __init__(self, hash_name: str, idle: float, connect: Callable[[], Any]) -> None:
        self.hash = hash_name
        self.key = f"{hash_name}.keeper"
        #: Messages that live workers hold, with the time at which they said so.
        self.holders = f"{hash_name}.holders"
        #: In thousandths of a second.
        self.lifetime = max(1000, int(idle * _KEPT * 1000))
        self.name = f"{os.uname().nodename}.{os.getpid()}".encode()
        self._connect = connect
        self._redis: Any = None

    def stays(self) -> bool:
        """Whether a message is held that no live worker holds, and no other worker stays for it."""
        return bool(self._with_redis(self._is_needed))

    def tell(self, held: Iterable[str]) -> None:
        """Say what this worker holds."""
        if names := list(held):
            self._with_redis(lambda: self._tell(names))

    def _with_redis(self, work: Callable[[], Any]) -> Any:
        if self._redis is None:
            self._redis = self._connect()
        try:
            return work()
        except Exception:
            self._redis = None
            raise

    def _is_needed(self) -> bool:
        # Read first: what is taken and said meanwhile must not look like something that nobody holds.
        held = set(self._redis.hkeys(self.hash))
        if held.difference(self._redis.zrangebyscore(self.holders, self._oldest, "+inf")):
            return self._takes()
        self._leave()
        return False

    def _tell(self, held: list[str]) -> None:
        oldest = self._oldest
        self._redis.zadd(self.holders, dict.fromkeys(held, oldest + self.lifetime / 1000))
        self._redis.zremrangebyscore(self.holders, "-inf", f"({oldest}")
        self._redis.pexpire(self.holders, self.lifetime)

    @property
    def _oldest(self) -> float:
        """The time of Redis before which a worker that said what it holds may be dead."""
        seconds, millionths = self._redis.time()
        return float(seconds + millionths / 1e6 - self.lifetime / 1000)

    def _takes(self) -> bool:
        if self._redis.set(self.key, self.name, nx=True, px=self.lifetime):
            return True
        if self._redis.get(self.key) != self.name:
            return False
        self._redis.pexpire(self.key, self.lifetime)
        return True

    def _leave(self) -> None:
        if self._redis.get(self.key) == self.name:
            self._redis.delete(self.key)


class Ending:
    """Looks at the worker from time to time, and ends it.

    :param idle: seconds without work after which it ends.
    :param age: seconds after which it takes nothing more.
    :param keeper: says whether it stays all the same; None where the broker itself gives back what a killed one held.
    """

    def __init__(self, idle: float, age: float, keeper: Keeper | None) -> None:
        self.idle, self.age, self.keeper = idle, age, keeper
        self.pause = min(1.0, idle / 10)
        self.born = self.busy_at = monotonic()
        self.kept_until = self._tells_at = 0.0
        self._is_old = False
        self._accepted = 0
        self._has_begun = False
        self._says_why = True

    def begin(self, **_: Any) -> None:
        """Look from now on. It is called at each new connection."""
        if self._has_begun:
            return
        self._has_begun = True
        self.born = self.busy_at = monotonic()
        # Where gevent has put its own in place of threads, this is one of its own, among whose sockets Redis' belong.
        threading.Thread(target=self._look, name=NAME, daemon=True).start()

    def _look(self) -> None:
        while not watched.is_stopping:
            try:
                why = self.why_it_ends(monotonic())
            except Exception as error:
                say(NAME, f"could not look at its worker ({type(error).__name__}: {error})")
                why = ""
                self.busy_at = monotonic()
            if why:
                say(NAME, f"ends its worker: {why}")
                end_worker()
                return
            time.sleep(self.pause)

    def why_it_ends(self, now: float) -> str:
        """Why the worker ends now; empty while it goes on."""
        is_busy = self.is_busy()
        if is_busy:
            self.busy_at = now
            self._tell(now)
        if now - self.born >= self.age:
            return f"it is {now - self.born:.0f} s old, and others go on" if self._is_done() else ""
        if is_busy:
            return ""
        without = now - self.busy_at
        if without < self.idle or self._stays(now):
            return ""
        return f"nothing to do for {without:.0f} s"

    def is_busy(self) -> bool:
        """Whether it has something to do, or has done something since the last look."""
        accepted, before = watched.accepted, self._accepted
        self._accepted = accepted
        return accepted != before or bool(watched.active or watched.reserved or watched.later or watched.unacked)

    def _is_done(self) -> bool:
        """Whether an old worker takes and runs nothing more. What it holds for an ETA is given back at its end."""
        if not self._is_old:
            self._is_old = True
            say(NAME, "takes nothing more, for it is old")
        if watched.queues:
            take_nothing_more()
            return False
        return not (watched.active or watched.reserved or watched.unacked > watched.later)

    def _tell(self, now: float) -> None:
        """Say what it holds, often enough."""
        if self.keeper is None or now < self._tells_at:
            return
        self._tells_at = now + self.keeper.lifetime / 3000
        try:
            self.keeper.tell(watched.held or ())
        except Exception as error:
            say(NAME, f"could not say in Redis what it holds ({type(error).__name__})")

    def _stays(self, now: float) -> bool:
        if self.keeper is None:
            return False
        if now < self.kept_until:
            return True
        try:
            stays = self.keeper.stays()
        except Exception as error:
            # KEDA cannot count either.
            say(NAME, f"could not ask Redis whether a message is held ({type(error).__name__})")
            return False
        if stays:
            self.kept_until = now + self.keeper.lifetime / 3000
            if self._says_why:
                say(NAME, "has nothing to do, and stays because a message is held by no live worker")
        self._says_why = not stays
        return stays


def take_nothing_more() -> None:
    """Consume from no queue, as C(cancel_consumer) does, in the thread of the connection, which stays alive."""
    consumer = watched.consumer
    for queue in watched.queues:
        consumer.call_soon(_cancel, consumer, queue)


def _cancel(consumer: Any, queue: str) -> None:
    # While it connects anew there is nothing to cancel, and the next look says it again.
    if consumer.task_consumer is not None:
        consumer.cancel_task_queue(queue)


def end_worker() -> None:
    """Stop as after a SIGTERM: take nothing more, finish what runs, give back the rest."""
    from celery.worker import state

    state.should_stop = 0


def redis_of_broker() -> Any:
    """A client of the worker's own broker, with names as they are: kombu puts the key prefix before some of them."""
    from redis import Redis

    channel = watched.worker.app.connection_for_write().default_channel
    return Redis(connection_pool=channel.client.connection_pool)


def install(settings: dict[str, Any]) -> None:
    """End this worker by itself.

    :param settings: C(idle) and C(age) in seconds, and on Redis C(hash), where held messages are kept.
    """
    from celery import signals

    idle = float(settings["idle"])
    keeper = Keeper(str(settings["hash"]), idle, redis_of_broker) if settings.get("hash") else None
    watched.follow()
    signals.worker_ready.connect(Ending(idle, float(settings["age"]), keeper).begin, weak=False)
