# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows messages in quarantine, gives them back to their queues, or drops them. It runs behind C(survey.py).

Arguments of tasks are not shown, because they may hold secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .survey import Place, task_message

#: Header of a message in quarantine, and what the name of such a queue adds to that of the queue.
QUARANTINE_HEADER, QUARANTINE_SUFFIX = "x-quarantine", ".quarantine"
#: Messages that are moved in one transaction, and how often one is tried again that another change came before.
AT_ONCE, TRIES_AT_ONCE = 100, 20


def quarantine_row(queue: str, headers: dict[str, Any]) -> dict[str, Any]:
    """What is told of one message."""
    found = headers.get(QUARANTINE_HEADER)
    details = found if isinstance(found, dict) else {}
    origin = details.get("queue") or queue[: -len(QUARANTINE_SUFFIX)]
    known = {name: details.get(name) for name in ("starts", "since", "node")}
    return {
        "queue": queue,
        "origin": str(origin),
        "id": str(headers.get("id") or ""),
        "task": str(headers.get("task") or ""),
        "done": False,
        **known,
    }


class QuarantineWish:
    """What becomes of messages in quarantine.

    :param question: C(quarantines), C(quarantine_do) (C(return), C(drop), or empty to show them) and C(quarantine_ids),
        which are those of all messages if there are none.
    """

    def __init__(self, question: dict[str, Any]) -> None:
        self.queues, self.do = question["quarantines"], question["quarantine_do"]
        self.ids = set(question["quarantine_ids"])

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether a message is meant."""
        return not self.ids or row["id"] in self.ids


def fresh(message: dict[str, Any]) -> dict[str, Any]:
    """A message that starts as if it had never been delivered."""
    headers = message.get("headers")
    if isinstance(headers, dict):
        headers.pop(QUARANTINE_HEADER, None)
        headers.pop("redelivered", None)
    info = (message.get("properties") or {}).get("delivery_info")
    if isinstance(info, dict):
        info.pop("redelivered", None)
    return message


class ListQuarantine:
    """Quarantines that are lists of Redis."""

    def __init__(self, client: Any, place: Place) -> None:
        self.client, self.place = client, place

    def handle(self, wish: QuarantineWish) -> list[dict[str, Any]]:
        """Every message that is meant, the oldest first."""
        return [row for queue in wish.queues for row in self.of_queue(queue, wish)]

    def of_queue(self, queue: str, wish: QuarantineWish) -> list[dict[str, Any]]:
        """The messages of one queue."""
        found = []
        for text in reversed(self.client.lrange(self.place.prefix + queue, 0, -1)):
            message = task_message(text)
            row = quarantine_row(queue, message.get("headers") or {})
            if message and wish.takes(row):
                found.append((text, message, row))
        for begin in range(0, len(found), AT_ONCE) if wish.do else ():
            self.change(queue, found[begin : begin + AT_ONCE], wish.do)
        return [row for _text, _message, row in found]

    def change(self, queue: str, some: Iterable[tuple[Any, dict[str, Any], dict[str, Any]]], do: str) -> None:
        """Take messages out, each in one transaction with what becomes of it, unless somebody else was first."""
        from redis import WatchError

        key = self.place.prefix + queue
        for _try in range(TRIES_AT_ONCE):
            with self.client.pipeline() as pipe:
                try:
                    pipe.watch(key)
                    there = set(pipe.lrange(key, 0, -1))
                    taken = [item for item in some if item[0] in there]
                    pipe.multi()
                    for text, message, row in taken:
                        pipe.lrem(key, 1, text)
                        if do == "return":
                            target = self.place.list_of(row["origin"], self.place.step_of(message))
                            pipe.lpush(target, json.dumps(fresh(message)))
                    pipe.execute()
                    for _text, _message, row in taken:
                        row["done"] = True
                    return
                except WatchError:
                    continue


class RabbitQuarantine:
    """Quarantines that are queues of RabbitMQ."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def handle(self, wish: QuarantineWish) -> list[dict[str, Any]]:
        """Every message that is meant, the oldest first."""
        return [row for queue in wish.queues for row in self.of_queue(queue, wish)]

    def of_queue(self, queue: str, wish: QuarantineWish) -> list[dict[str, Any]]:
        """The messages of one queue. What stays goes back to its place when the channel is closed."""
        found: list[dict[str, Any]] = []
        with self.connection.channel() as channel:
            try:
                size = int(channel.queue_declare(queue=queue, passive=True).message_count)
            except self.connection.channel_errors as error:
                if getattr(error, "reply_code", getattr(error, "code", None)) == 404:
                    return found
                raise
            for _message in range(size):
                message = channel.basic_get(queue)
                if message is None:
                    break
                headers = (message.properties or {}).get("application_headers") or {}
                row = quarantine_row(queue, headers)
                if wish.takes(row):
                    found.append(row)
                    self.change(channel, message, row, wish.do)
        return found

    @staticmethod
    def change(channel: Any, message: Any, row: dict[str, Any], do: str) -> None:
        """Publish a message to its queue, which must exist, and only then take it out; or just take it out."""
        if not do:
            return
        if do == "return":
            message.properties["application_headers"].pop(QUARANTINE_HEADER, None)
            channel.basic_publish_confirm(message, exchange="", routing_key=row["origin"], mandatory=True)
        channel.basic_ack(message.delivery_tag)
        row["done"] = True
