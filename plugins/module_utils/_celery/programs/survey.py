# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what the queues of a broker hold. It runs behind C(ask.py) in a container, or wherever the broker is reached.

With Python 3.8 or later. What cannot be told is null, and never 0.
"""

from __future__ import annotations

import base64
import calendar
import http.client
import json
import re
import ssl
import time
import urllib.parse
from bisect import bisect
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from .ask import texts

#: What a row of a queue has.
ROW = ("waiting", "held", "later", "consumers", "oldest_waiting", "oldest_held")


def row_of(**known: Any) -> dict[str, Any]:
    """A queue of which nothing else is known."""
    return {"steps": {}, **dict.fromkeys(ROW), **known}


def why(error: BaseException) -> str:
    """The first line of an error, without what follows an address: it may hold a login."""
    return str(error).split("\n", maxsplit=1)[0].split("://", maxsplit=1)[0][:200]


def eta_of(message: dict[str, Any]) -> float:
    """When a message may start; 0 for at once."""
    headers = message.get("headers")
    try:
        eta = headers.get("eta") if isinstance(headers, dict) else None
        found = datetime.fromisoformat(str(eta).replace("Z", "+00:00"))
    except ValueError:
        return 0
    return found.timestamp() if found.tzinfo else calendar.timegm(found.timetuple())


def sent_at(message: dict[str, Any]) -> float:
    """When a message was sent; 0 if it does not say so, which Celery leaves to the app."""
    for part in (message.get("properties"), message.get("headers")):
        found = part.get("timestamp") if isinstance(part, dict) else None
        if isinstance(found, (int, float)) and found > 0:
            return float(found)
    return 0


def task_message(text: Any) -> dict[str, Any]:
    """A message as it is in Redis; empty for what is none."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    is_message = isinstance(found, dict) and "body" in found and isinstance(found.get("properties"), dict)
    return found if is_message else {}


class Place:
    """Where things are in a broker.

    :param prefix: before every key of Redis.
    :param separator: between a queue and its priority step.
    :param control: name of remote control.
    :param events: what the names of queues of events begin with, and their exchange.
    """

    def __init__(
        self,
        prefix: str,
        separator: str,
        steps: Iterable[int],
        control: str = "celery",
        events: tuple[str, str] = ("celeryev", "celeryev"),
    ) -> None:
        self.prefix, self.separator, self.steps = prefix, separator, sorted(steps)
        self.control, self.events = control, events

    def own_kind(self, name: str) -> str:
        """Which of Celery's own queues a name is: C(reply), C(node) or C(event); empty for a queue of tasks."""
        if name.endswith(".reply." + self.control + ".pidbox"):
            return "reply"
        if name.endswith("." + self.control + ".pidbox"):
            return "node"
        return "event" if name.startswith(self.events[0] + ".") else ""

    def exchange(self, kind: str) -> str:
        """The exchange that such queues are bound to."""
        boxes = {"reply": "reply." + self.control + ".pidbox", "node": self.control + ".pidbox"}
        return boxes.get(kind, self.events[1])

    def list_of(self, queue: str, step: int) -> str:
        """The list of a queue at a priority step."""
        return self.prefix + queue + (self.separator + str(step) if step else "")

    def step_of(self, message: dict[str, Any]) -> int:
        """The priority step of a message, as kombu works it out."""
        try:
            priority = max(0, min(9, int(message["properties"]["priority"])))
        except (KeyError, TypeError, ValueError):
            priority = 0
        return int(self.steps[bisect(self.steps, priority) - 1])

    def queue_of(self, name: str) -> str:
        """The queue that a list is of."""
        queue, _separator, step = name.rpartition(self.separator)
        return queue if queue and step.isdigit() and int(step) in self.steps else name

    def table(self, exchange: str, kind: str = "binding") -> str:
        """The key of an exchange's bindings."""
        return self.prefix + "_kombu." + kind + "." + exchange

    def index_of(self, held: str) -> str:
        """The key of the times of a hash."""
        return self.prefix + "unacked_index" + held[len("unacked") :]


class Lists:
    """Queues that are lists of Redis.

    :param client: without any prefix of its own.
    :param queues: that are counted even where they are empty.
    :param most: messages of a hash that are looked at.
    """

    def __init__(self, client: Any, place: Place, queues: Iterable[str], most: int) -> None:
        self.client, self.place, self.most = client, place, most
        self.queues = {queue: self.lengths(queue) for queue in queues}
        self.hashes: list[dict[str, Any]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.own: list[str] = []

    def keys(self, kind: str, begin: str = "") -> list[str]:
        """Names of keys of a type, without the prefix."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.place.prefix + begin) + "*"
        return [key[len(self.place.prefix) :] for key in texts(self.client.scan_iter(pattern, 1000, kind))]

    def read(self) -> None:
        """Find every queue and every hash of what is held."""
        names = self.keys("list")
        begin = len(self.place.prefix)
        known = {self.place.list_of(queue, step)[begin:] for queue in self.queues for step in self.place.steps}
        others = [name for name in names if name not in known]
        # A queue of tasks may be called like those of events.
        self.own = sorted(name for name in others if self.place.own_kind(name) and not self.is_of_tasks(name))
        others = [name for name in others if name not in self.own]
        for queue in sorted(set(map(self.place.queue_of, others))):
            if queue not in self.queues and self.holds_tasks(queue):
                self.queues[queue] = self.lengths(queue)
        self.hashes = [Held(self, key).row for key in sorted(self.keys("hash", "unacked"))]
        if all(item["read"] for item in self.hashes):
            self.join_held()

    def lengths(self, queue: str) -> dict[str, Any]:
        """What waits in a queue."""
        steps = {step: int(self.client.llen(self.place.list_of(queue, step))) for step in self.place.steps}
        # The next one of each list is the oldest in it.
        next_ones = [self.client.lindex(self.place.list_of(queue, step), -1) for step in steps if steps[step]]
        times = [sent_at(task_message(text)) for text in next_ones]
        oldest = round(time.time() - min(times)) if times and all(times) else None
        waiting = sum(steps.values())
        return row_of(steps={str(step): size for step, size in steps.items()}, waiting=waiting, oldest_waiting=oldest)

    def holds_tasks(self, queue: str) -> bool:
        """Whether a list is a queue: other programs may keep lists of their own."""
        return any(task_message(self.client.lindex(self.place.list_of(queue, step), -1)) for step in self.place.steps)

    def is_of_tasks(self, name: str) -> bool:
        """Whether the next message of a list is a task."""
        headers = task_message(self.client.lindex(self.place.prefix + name, -1)).get("headers")
        return isinstance(headers, dict) and bool(headers.get("task"))

    def join_held(self) -> None:
        """Say of each queue what of it is held."""
        for item in self.hashes:
            for queue in item["queues"]:
                if queue and queue not in self.queues:
                    self.queues[queue] = self.lengths(queue)
        for queue, row in self.queues.items():
            own = [item["queues"][queue] for item in self.hashes if queue in item["queues"]]
            row["held"], row["later"] = sum(one["held"] for one in own), sum(one["later"] for one in own)
            row["oldest_held"] = max((one["oldest"] for one in own if one["oldest"] is not None), default=None)

    def queue_for(self, exchange: str, key: str) -> str:
        """The queue that a message came from, which does not say so; empty unless there is just one that it may be."""
        if not exchange:
            return key
        if exchange not in self.tables:
            members = texts(self.client.smembers(self.place.table(exchange)))
            self.tables[exchange] = [member.split(self.place.separator) for member in members]
        rows = [row for row in self.tables[exchange] if len(row) == 3]
        fitting = {row[2] for row in rows if row[0] == key or (row[1] and re.match(row[1], key))}
        # A queue of Celery's own has the names of its exchange and of its key.
        return fitting.pop() if len(fitting) == 1 else key if not fitting and key in self.queues else ""


class Held:
    """One hash of messages that were delivered and not acknowledged."""

    def __init__(self, lists: Lists, key: str) -> None:
        self.lists, self.key = lists, key
        self.name = lists.place.prefix + key
        size = int(lists.client.hlen(self.name))
        self.row: dict[str, Any] = {"key": key, "messages": size, "oldest": None, "read": size <= lists.most}
        self.row["queues"] = {}
        if self.row["read"]:
            self.count()

    def count(self) -> None:
        """Count them by queue."""
        now = time.time()
        for _tag, at, message, queue in self.entries():
            row = self.row["queues"].setdefault(queue, {"held": 0, "later": 0, "oldest": None})
            age = max(0, round(now - at)) if at else None
            row["held"] += 1
            row["later"] += eta_of(message) > now
            for item in (row, self.row):
                item["oldest"] = age if item["oldest"] is None else max(item["oldest"], age or 0)

    def entries(self) -> Iterator[tuple[str, float, dict[str, Any], str]]:
        """Tag, time of delivery (0 where it is not known), message and queue of each."""
        client, index = self.lists.client, self.lists.place.index_of(self.key)
        times = {texts([tag])[0]: float(score) for tag, score in client.zrange(index, 0, -1, withscores=True)}
        for tag, value in client.hscan_iter(self.name, count=500):
            name = texts([tag])[0]
            message, queue = opened(value, self.lists)
            yield name, times.get(name, 0), message, queue


def opened(value: Any, lists: Lists) -> tuple[dict[str, Any], str]:
    """A held message and its queue; empty where they cannot be told."""
    try:
        message, exchange, key = json.loads(value)
        return (message, lists.queue_for(exchange or "", key or "")) if isinstance(message, dict) else ({}, "")
    except (TypeError, ValueError, re.error):
        return {}, ""


class Management:
    """RabbitMQ's management API.

    :param context: how its certificate is checked; None for plain HTTP.
    """

    def __init__(self, address: str, login: tuple[str, str], virtual_host: str, timeout: float, context: Any) -> None:
        self.address, self.virtual_host, self.timeout = address, virtual_host, timeout
        self.header = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self.context = context

    def connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        if scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.context)
        return http.client.HTTPConnection(host, port, timeout=self.timeout)

    def queues(self) -> list[dict[str, Any]]:
        """Every queue of the virtual host."""
        parts = urllib.parse.urlsplit(self.address)
        path = parts.path.rstrip("/") + "/api/queues/" + urllib.parse.quote(self.virtual_host, safe="")
        connection = self.connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request("GET", path, headers={"Authorization": self.header})
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError("HTTP status " + str(answer.status) + " " + str(answer.reason))
        found = json.loads(text)
        return [item for item in found if isinstance(item, dict) and isinstance(item.get("name"), str)]


def tls_context(authority: str, checks: bool) -> ssl.SSLContext:
    """How the certificate of a server is checked."""
    context = ssl.create_default_context(cafile=authority or None)
    if not checks:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class RabbitQueues:
    """Queues of RabbitMQ.

    :param connection: what channels are opened on.
    :param management: None where only queues that are named can be counted.
    """

    def __init__(self, connection: Any, place: Place, queues: Iterable[str], management: Management | None) -> None:
        self.connection, self.place, self.management = connection, place, management
        self.queues = {queue: self.declared(queue) for queue in queues}
        self.named = frozenset(self.queues)
        self.own: dict[str, dict[str, Any]] = {}

    def is_own(self, item: dict[str, Any]) -> bool:
        """Whether a queue is one of Celery's own, by its name: no queue that a variant consumes.

        Where an app has another name for queues of events, a queue of tasks may have it too, so one with messages is
        none of events.
        """
        kind = self.place.own_kind(item["name"])
        is_sure = kind != "event" or self.place.events[0] == "celeryev" or not item.get("messages")
        return bool(kind) and item["name"] not in self.named and is_sure

    def declared(self, queue: str) -> dict[str, Any]:
        """What a queue holds; of one that does not exist there is nothing."""
        # The server closes the channel that asked for such a queue.
        with self.connection.channel() as channel:
            try:
                found = channel.queue_declare(queue=queue, passive=True)
            except self.connection.channel_errors as error:
                if getattr(error, "reply_code", getattr(error, "code", None)) == 404:
                    return row_of(waiting=0, consumers=0, held=0)
                raise
        return row_of(waiting=int(found.message_count), consumers=int(found.consumer_count))

    def read(self) -> None:
        """Find every queue."""
        for item in self.management.queues() if self.management is not None else ():
            if self.is_own(item):
                self.own[item["name"]] = item
                continue
            # Its numbers are some seconds old, so what was counted just now stays.
            row = self.queues.setdefault(item["name"], row_of())
            for name, key in (("waiting", "messages_ready"), ("consumers", "consumers")):
                row[name] = item.get(key) if row[name] is None else row[name]
            row["held"] = item.get("messages_unacknowledged")
            sent = item.get("head_message_timestamp")
            row["oldest_waiting"] = max(0, round(time.time() - sent)) if isinstance(sent, int) and sent > 0 else None
