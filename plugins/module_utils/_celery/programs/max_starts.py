# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a task that was lost again and again to a quarantine queue, instead of starting it once more.

A ConfigMap brings this file into the worker's container. A start is counted in the worker's main process, before the
task starts, and only where the broker says that the message was delivered before, so that ordinary tasks cost nothing.
A start that ended well, or that was given back in good order, does not count.

In Redis each task that was lost has a key of its own that expires. A quorum queue of RabbitMQ counts by itself.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .watching import monotonic, new_lock, say, sleep, start_thread, watched

#: Header of a message in quarantine: where it came from, and why.
HEADER = "x-quarantine"
#: What the name of a quarantine queue adds to that of the queue.
SUFFIX = ".quarantine"
#: Seconds for which the store is waited for, and for which starts are taken back that it could not be told of.
PATIENCE, KEEPING = 5, 300
#: Seconds between two looks whether a task may start alone.
LOOK = 0.2


def install(settings: dict[str, Any]) -> None:
    """Limit the starts of tasks in the worker of this process.

    :param settings: C(most) starts of a task, the C(store) of the counts, and for Redis the C(key) that they begin with
        and the C(seconds) for which they are kept.
    """
    watched.before_start("max_starts", Limit(settings).install)


class RedisCounts:
    """How often tasks were started that had been delivered before.

    It is 0 for a task that was started once, and less where it was given back in good order since.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.key, self.seconds = settings["key"], int(settings["seconds"])
        self._client: Any = None

    def client(self) -> tuple[Any, str]:
        """Redis without kombu's prefix, and that prefix."""
        if self._client is None:
            import redis

            connection = watched.worker.app.connection_for_write()
            limits = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
            connection.transport_options = {**connection.transport_options, **limits}
            channel = connection.default_channel
            client = redis.Redis(connection_pool=channel.client.connection_pool)
            # The connection owns the pool.
            self._client = client, getattr(channel, "global_keyprefix", "") or "", connection
        return self._client[0], self._client[1]

    def name(self, task: str) -> str:
        """The key of a task."""
        return f"{self.client()[1]}{self.key}:{task}"

    def starts(self, request: Any) -> int:
        """Starts before this one that were lost."""
        return max(0, 1 + int(self.client()[0].get(self.name(request.id)) or 0))

    def add(self, tasks: Iterable[str], number: int) -> None:
        """Count one start more or less of each task."""
        with self.client()[0].pipeline() as pipe:
            for task in tasks:
                pipe.incrby(self.name(task), number)
                pipe.expire(self.name(task), self.seconds)
            pipe.execute()

    def forget(self, task: str) -> None:
        """A start has ended well."""
        self.client()[0].unlink(self.name(task))

    def move(self, request: Any, queue: str, details: dict[str, Any]) -> None:
        """Put a message into the quarantine and take it from what is unacknowledged, in one transaction."""
        client, prefix = self.client()
        channel, message = watched.task_consumer.channel, request.message
        payload = json.loads(json.dumps(message._raw))
        payload.setdefault("headers", {})[HEADER] = details
        with client.pipeline() as pipe:
            pipe.lpush(f"{prefix}{queue}{SUFFIX}", json.dumps(payload))
            pipe.zrem(f"{prefix}{channel.unacked_index_key}", message.delivery_tag)
            pipe.hdel(f"{prefix}{channel.unacked_key}", message.delivery_tag)
            pipe.unlink(self.name(request.id))
            pipe.execute()


class QueueCounts:
    """What a quorum queue of RabbitMQ counts by itself: every lost start, with one slot and a prefetch of one."""

    def __init__(self, _settings: dict[str, Any]) -> None:
        self._said = False

    def starts(self, request: Any) -> int:
        """Starts before this one that were lost."""
        found = (request.message.headers or {}).get("x-delivery-count")
        if found is None and not self._said:
            self._said = True
            queue = (request.delivery_info or {}).get("routing_key")
            say("max_starts", f"queue {queue} counts no deliveries, so nothing is limited: it is no quorum queue")
        return int(found or 0)

    def add(self, tasks: Iterable[str], number: int) -> None:
        """RabbitMQ counts by itself."""

    def forget(self, task: str) -> None:
        """RabbitMQ counts by itself."""

    def move(self, request: Any, queue: str, details: dict[str, Any]) -> None:
        """Publish a message to the quarantine, and wait until RabbitMQ has it."""
        from kombu.compression import compress

        message, target = request.message, f"{queue}{SUFFIX}"
        headers = {**(message.headers or {}), HEADER: details}
        for name in ("x-delivery-count", "x-acquired-count"):
            headers.pop(name, None)
        body = message.body
        if headers.get("compression"):  # kombu has unpacked it.
            body, headers["compression"] = compress(body, headers["compression"])
        with watched.worker.app.connection_for_write() as connection:
            declare(connection, target)
            channel = connection.default_channel
            own = ("application_headers", "content_type", "content_encoding", "priority")
            sent = channel.prepare_message(
                body if isinstance(body, (str, bytes)) else bytes(body),
                priority=message.properties.get("priority"),
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=headers,
                properties={name: value for name, value in message.properties.items() if name not in own},
            )
            channel.basic_publish_confirm(sent, exchange="", routing_key=target, mandatory=True)


def declare(connection: Any, queue: str) -> None:
    """Make a quarantine queue of RabbitMQ, unless there is one.

    A classic one: a quorum queue would count each look into it, and drop what was looked at too often.
    """
    # RabbitMQ closes the channel that asked for a queue that does not exist.
    with connection.channel() as channel:
        try:
            channel.queue_declare(queue=queue, passive=True)
            return
        except connection.channel_errors as error:
            if getattr(error, "reply_code", getattr(error, "code", None)) != 404:
                raise
    with connection.channel() as channel:
        channel.queue_declare(queue=queue, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})


STORES: dict[str, Callable[[dict[str, Any]], RedisCounts | QueueCounts]] = {
    "redis": RedisCounts,
    "queue": QueueCounts,
}


class Limit:
    """Decides of each task that was delivered before whether it starts, waits or goes to the quarantine."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.most, self.settings = int(settings["most"]), settings
        self.store = STORES[settings["store"]](settings)
        #: Tasks of this process that were counted and have not ended, by id.
        self.counted: dict[str, Any] = {}
        #: Tasks whose start could not be taken back yet.
        self.owed: deque[str] = deque()
        self.lane = Lane(self)
        self.start: Any = None
        self._is_told = False
        self._done = new_lock()

    # In the worker's own process, where Celery calls

    def install(self) -> None:
        """Stand before Celery's own start of a task, and learn how tasks end."""
        from celery.worker.worker import WorkController

        self.start = WorkController._process_task

        def process_task(worker: Any, request: Any) -> None:
            if self.lane.is_open and not request.delivery_info.get("redelivered"):
                self.start(worker, request)
            else:
                self.consider(worker, request)

        WorkController._process_task = process_task
        self.watch_stops()
        self.watch_losses()

    def watch_stops(self) -> None:
        """Learn that the worker is told to stop, by a signal or from inside."""
        from celery import signals
        from celery.worker.worker import WorkController

        by_celery = WorkController.signal_consumer_close

        def signal_consumer_close(worker: Any) -> Any:
            self.guard(self.see_stop)
            self.guard(self.wait_for_thread)
            return by_celery(worker)

        WorkController.signal_consumer_close = signal_consumer_close
        signals.worker_shutting_down.connect(lambda **_: self.guard(self.see_stop), weak=False)

    def watch_losses(self) -> None:
        """Learn of tasks that fail, and of a connection that is lost."""
        from celery.worker.consumer.consumer import Consumer
        from celery.worker.request import Request

        by_failure, by_close = Request.on_failure, Consumer.on_close
        by_loss = Consumer.on_connection_error_after_connected

        def on_failure(request: Any, exc_info: Any, *args: Any, **options: Any) -> Any:
            done = by_failure(request, exc_info, *args, **options)
            self.guard(self.see_failure, request, exc_info)
            return done

        def on_loss(consumer: Any, *args: Any) -> Any:
            # What was delivered comes again, whatever its tasks do now.
            self.guard(self.give_back)
            return by_loss(consumer, *args)

        def on_close(consumer: Any) -> Any:
            self.lane.clear()
            return by_close(consumer)

        Request.on_failure, Consumer.on_close = on_failure, on_close
        Consumer.on_connection_error_after_connected = on_loss

    @staticmethod
    def guard(work: Any, *args: Any) -> Any:
        """Do something that must not harm the worker. An error is one line in its log."""
        try:
            return work(*args)
        except Exception as error:
            say("max_starts", f"{type(error).__name__}: {str(error).split('://', maxsplit=1)[0]}")
            return None

    def consider(self, worker: Any, request: Any) -> None:
        """Start a task, let it wait, or move it away."""
        if not self.guard(self.decide, worker, request):
            self.start(worker, request)

    def decide(self, worker: Any, request: Any) -> bool:
        """Whether something else was done with a task than to start it now."""
        if not self.lane.is_open:
            self.lane.hold(worker, request)
            return True
        if not request.delivery_info.get("redelivered"):
            return False
        if request.revoked():
            release_slot(worker)
            return True
        self.settle()
        starts = self.store.starts(request)
        if starts >= self.most:
            self.quarantine(worker, request, starts)
            return True
        if starts == self.most - 1 and watched.slots > 1:
            self.lane.wait(worker, request)
            return True
        self.count(request)
        return False

    def count(self, request: Any) -> None:
        """Count a start that follows now. A task that is acknowledged has ended, or will not come back."""
        self.store.add([request.id], 1)
        self.counted[request.id] = request
        by_celery = request.acknowledge

        def acknowledge() -> None:
            by_celery()
            if self.counted.pop(request.id, None) is not None:
                self.guard(self.store.forget, request.id)

        request.acknowledge = acknowledge

    def quarantine(self, worker: Any, request: Any, starts: int) -> None:
        """Move a task away: its message first, and then what the worker keeps of it."""
        from celery.worker.state import task_ready

        queue = queue_of(request)
        details = {
            "queue": queue,
            "starts": starts,
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "node": str(worker.hostname),
        }
        self.store.move(request, queue, details)
        say(
            "max_starts",
            f"{request.name}[{request.id}] was started {starts} times and lost each time. It is in queue "
            f"{queue}{SUFFIX} now.",
        )
        request.acknowledge()
        task_ready(request)
        release_slot(worker)
        request.send_event("task-rejected", requeue=False)

    def see_failure(self, request: Any, exc_info: Any) -> None:
        """Take a start back whose task has asked for that. A child that was lost is what is counted."""
        from celery.exceptions import Reject

        reason = exc_info.exception
        reason = getattr(reason, "exc", reason)
        if isinstance(reason, Reject) and reason.requeue:
            self.counted.pop(request.id, None)
            self.take_back([request.id])
        else:
            self.counted.pop(request.id, None)

    def see_stop(self) -> None:
        """The worker is told to stop: whatever becomes of its tasks now, none of them is to blame."""
        if not self._is_told:
            self._is_told = True
            self.give_back()

    def give_back(self) -> None:
        """Take back the starts of everything that this worker has and has not acknowledged."""
        started = set(self.counted)
        self.counted.clear()
        self.take_back([task for task, was_before in unacknowledged() if not was_before or task in started])

    # Beside it

    def take_back(self, tasks: Iterable[str]) -> None:
        """Count one start less of each task, in a thread: the broker may be away."""
        self.owed.extend(tasks)
        if self.owed and self._done.acquire(False):
            start_thread(self.settle_for_a_while, ())

    def settle_for_a_while(self) -> None:
        """Tell the store what it is owed, while that may help."""
        end = monotonic() + KEEPING
        try:
            while self.owed and monotonic() < end:
                try:
                    self.settle(STORES[self.settings["store"]](self.settings))
                except Exception as error:
                    why, last = f"{type(error).__name__}", monotonic() + 1 >= end
                    if last:
                        say("max_starts", f"{len(self.owed)} starts were not taken back ({why})")
                    sleep(1)
        finally:
            self._done.release()

    def settle(self, store: Any = None) -> None:
        """Tell the store what it is owed."""
        some = []
        while self.owed:
            some.append(self.owed.popleft())
        try:
            if some:
                (store or self.store).add(some, -1)
        except Exception:
            self.owed.extend(some)
            raise

    def wait_for_thread(self) -> None:
        """Before the process ends."""
        if self._done.acquire(True, 2 * PATIENCE):
            self._done.release()


class Lane:
    """Lets a task run alone that has its last start, so that no other one is taken for what was lost with it.

    Everything happens in the thread of the worker's loop.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.suspects: deque[tuple[Any, Any]] = deque()
        self.held: deque[tuple[Any, Any]] = deque()
        self.alone: Any = None

    @property
    def is_open(self) -> bool:
        """Whether tasks may start."""
        return self.alone is None and not self.suspects

    def wait(self, worker: Any, request: Any) -> None:
        """Start a task once nothing else runs, and nothing else before it has ended."""
        is_first = self.is_open
        self.suspects.append((worker, request))
        if is_first:
            self.look(worker)

    def hold(self, worker: Any, request: Any) -> None:
        """Start a task later."""
        self.held.append((worker, request))

    def clear(self) -> None:
        """Nothing of what was delivered can be acknowledged any more."""
        self.suspects.clear()
        self.held.clear()
        self.alone = None

    def look(self, worker: Any) -> None:
        """Start who may start, and look again soon while somebody waits."""
        self.limit.guard(self.advance)
        if not self.is_open:
            worker.consumer.timer.call_after(LOOK, self.look, (worker,))

    def advance(self) -> None:
        """Start who may start."""
        from celery.worker import state

        if self.alone is not None and state.requests.get(self.alone.id) is self.alone:
            return
        self.alone = None
        # One that was tried alone while others were held has been counted meanwhile.
        if self.suspects:
            if not others_run([request for _worker, request in self.suspects]):
                worker, request = self.suspects.popleft()
                self.limit.guard(self.limit.count, request)
                self.alone = request
                self.limit.start(worker, request)
            return
        while self.held and self.is_open:
            self.limit.consider(*self.held.popleft())


def others_run(waiting: list[Any]) -> bool:
    """Whether a task runs, or was given to the pool and will run."""
    names = {request.id for request in waiting}
    return any(
        request.id not in names and (request.time_start or request._apply_result is not None)
        for request in watched.active + watched.reserved
    )


def release_slot(worker: Any) -> None:
    """Give the slot back that was taken for a task which does not start."""
    release = getattr(worker, "_quick_release", None)
    if release is not None:
        release()


def queue_of(request: Any) -> str:
    """The queue that a message came from, which it does not carry."""
    info = request.delivery_info or {}
    exchange, key = info.get("exchange") or "", info.get("routing_key") or ""
    queues = list(watched.task_consumer.queues)
    names = [str(queue.name) for queue in queues]
    if key in names or len(names) == 1:
        return key if key in names else names[0]
    bound = [str(one.name) for one in queues if one.exchange.name == exchange and one.routing_key == key]
    bound += [str(one.name) for one in queues if one.exchange.name == exchange]
    return (bound or names)[0]


def unacknowledged() -> list[tuple[str, bool]]:
    """The id of each task that this worker has and has not acknowledged, and whether it was delivered before."""
    qos = getattr(getattr(watched.task_consumer, "channel", None), "qos", None)
    delivered = getattr(qos, "_delivered", None)
    if qos is None or delivered is None:
        return []
    gone = set(watched.all_of(qos._dirty))
    messages = [message for tag, message in watched.all_of(delivered.items()) if tag not in gone]
    found = [((message.headers or {}).get("id"), message.delivery_info or {}) for message in messages]
    return [(str(task), bool(info.get("redelivered"))) for task, info in found if task]
