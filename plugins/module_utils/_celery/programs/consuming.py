# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a worker that lives and takes no tasks, although some wait and it has a free slot.

A ConfigMap brings this file into the worker's container. The worker ends as on a SIGTERM, and Kubernetes starts its
container anew. Where it no longer listens, C(check_consuming.py) fails by the file that is written here.
"""

from __future__ import annotations

import os
import time
from typing import Any

from .watching import RUN, monotonic, say, sleep, watched

#: Says since when the worker is stuck, and how many tasks it runs.
STUCK_FILE = "/tmp/celery-heartbeat-stuck"

#: A worker that has lost its broker tries again after at most 30 seconds (kombu), so one without a connection has this
#: long at least.
RECONNECTING = 60.0

#: Queues from which one worker alone takes everything, while others wait in vain for messages.
SINGLE = "x-single-active-consumer"


def install(settings: dict[str, Any]) -> None:
    """Look after the worker of this process.

    :param settings: C(seconds) for which it may take nothing.
    """
    # A folder that outlives the container may hold the file of the one before.
    if os.path.exists(STUCK_FILE):
        os.unlink(STUCK_FILE)
    watch = ConsumingWatch(float(settings["seconds"]))
    watched.before_start("consuming", watch.count_messages)
    watched.run("consuming", watch.look_for_ever)


class ConsumingWatch:
    """What was seen of a worker since it last took a message, or had a reason to take none.

    :param seconds: for which it may take nothing.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pause = max(0.5, min(5.0, seconds / 9))
        self.received = 0
        self.since = self.last = monotonic()
        self.seen: Any = None
        #: When it was found to be stuck, in seconds since 1970.
        self.stuck_since: float | None = None
        self._said = ""

    def count_messages(self) -> None:
        """Count every message that arrives, also those that start no task."""
        from celery.worker.consumer.consumer import Consumer

        by_celery = Consumer.create_task_handler

        def create_task_handler(consumer: Any, *args: Any, **options: Any) -> Any:
            handle = by_celery(consumer, *args, **options)

            def on_message(*message: Any, **details: Any) -> Any:
                self.received += 1
                return handle(*message, **details)

            return on_message

        Consumer.create_task_handler = create_task_handler

    def look_for_ever(self) -> None:
        """Look until the process ends. What fails is looked at again: it proves nothing."""
        while True:
            sleep(self.pause)
            try:
                self.look()
            except Exception as error:
                self.begin_again()
                why = f"{type(error).__name__}: {str(error).split('://', maxsplit=1)[0]}"
                if why != self._said:
                    self._said = why
                    say("consuming", f"cannot tell whether the worker takes tasks, and looks again ({why})")

    def look(self) -> None:
        """Look once, and end the worker if it is stuck."""
        now = monotonic()
        # Where this process did not run for a while, neither did its worker.
        was_away, self.last = now - self.last > 4 * self.pause + 5, now
        if self.stuck_since is not None:
            self.write()
            return
        seen = self.received, watched.accepted
        if was_away or seen != self.seen or not self.could_take():
            self.seen = seen
            self.begin_again()
        elif now - self.since >= self.seconds / 2:
            queue = self.waiting()
            # It took something while the broker was asked.
            if not queue or (self.received, watched.accepted) != self.seen or not self.could_take():
                self.begin_again()
            elif monotonic() - self.since >= self.allowed:
                self.end(queue)

    def begin_again(self) -> None:
        """Count from now on."""
        self.since = self.last = monotonic()

    @property
    def allowed(self) -> float:
        """Seconds that it may take nothing."""
        connected = getattr(getattr(watched.consumer, "connection", None), "connected", False)
        return self.seconds if connected else max(self.seconds, RECONNECTING)

    def could_take(self) -> bool:
        """Whether nothing keeps the worker from taking a message: no drain, no full slots, no limit."""
        blueprint = getattr(watched.worker, "blueprint", None)
        if watched.is_stopping or getattr(blueprint, "state", None) != RUN or not watched.queues:
            return False
        return len(watched.active) < watched.slots and watched.may_take

    def waiting(self) -> str:
        """A queue that messages wait in which this worker could take; empty if there is none."""
        names = [
            str(queue.name)
            for queue in list(watched.task_consumer.queues)
            if not (queue.queue_arguments or {}).get(SINGLE)
        ]
        with watched.worker.app.connection_for_read() as connection:
            return next((name for name in names if size_of(connection, name)), "")

    def end(self, queue: str) -> None:
        """End the worker as a SIGTERM does: what runs is finished, and what is reserved is given back."""
        from celery.worker import state

        self.stuck_since = time.time()
        self.write()
        seconds, free = round(monotonic() - self.since), watched.slots - len(watched.active)
        say(
            "consuming",
            f"the worker took nothing for {seconds} s although messages wait in {queue} and {free} of its "
            f"{watched.slots} slots are free. It ends, and its container starts anew.",
        )
        state.should_stop = 0

    def write(self) -> None:
        """Say it to the probe."""
        text = f"{self.stuck_since} {len(watched.active)}"
        with open(f"{STUCK_FILE}.new", "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(f"{STUCK_FILE}.new", STUCK_FILE)


def size_of(connection: Any, queue: str) -> int:
    """Messages that wait, of all priorities. A queue that its broker does not have holds none."""
    # RabbitMQ closes the channel that asked for such a queue.
    with connection.channel() as channel:
        if hasattr(channel, "_size"):
            return int(channel._size(queue))
        try:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors as error:
            if getattr(error, "reply_code", getattr(error, "code", None)) == 404:
                return 0
            raise
