# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers a question inside a worker's container: what the worker holds, runs, knows and consumes.

It runs with the image's own Python, of 3.8 or later, as C(python -c program question), and prints the answer as JSON.
Keys of question and answer are those of L(Question) and L(Answer) in C(inquiry.py). Nothing secret is in the answer.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterable
from typing import Any

#: Stands before the answer, since apps print what they like while they are imported.
MARK = "celery-worker-answer:"

#: Seconds in which everybody may answer. All of it passes, because nobody knows how many there are.
EVERYBODY = 3

#: Environment in which the credentials of sentinels reach the worker.
SENTINEL_LOGIN = {"username": "CELERY_SENTINEL_USERNAME", "password": "CELERY_SENTINEL_PASSWORD"}


def told(value: Any) -> Any:
    """A value as JSON can hold it."""
    return list(value) if isinstance(value, (tuple, set, frozenset, range)) else value


def texts(values: Iterable[Any]) -> list[Any]:
    """What Redis returned, as text."""
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def raw_client(connection: Any) -> Any:
    """The Redis of a connection, without the prefix that kombu puts before every key."""
    import redis

    return redis.Redis(connection_pool=connection.default_channel.client.connection_pool)


def prefix_of(channel: Any) -> str:
    """What kombu puts before every key."""
    return getattr(channel, "global_keyprefix", "") or ""


def queues_of(channel: Any, exchange: str, key: str) -> set[str]:
    """Queues that a message may be of: it does not carry its queue. Where no binding fits, all of its exchange."""
    table = channel.get_table(exchange) if exchange else []
    fitting = {row[2] for row in table if row[0] == key or (row[1] and re.match(row[1], key))}
    return fitting or {row[2] for row in table} or {key}


class Asked:
    """One app and what is asked of it."""

    def __init__(self, app: Any, question: dict[str, Any]) -> None:
        self.app = app
        self.question = question
        self.timeout = question["timeout"]

    def answer(self, answer: dict[str, Any]) -> None:
        """Fill the answer, so that what was found before an error is kept."""
        question, app = self.question, self.app
        own = dict(app.conf.broker_transport_options or {})
        answer["own_options"] = sorted(own)
        answer["own_hash"] = own.get("unacked_key", "")
        answer["own_places"] = {name: told(own[name]) for name in question["places"] if name in own}
        sent = self.send_canary() if question["canary"] else None
        if question["settings"]:
            answer["shadowed"] = self.settle()
        self.log_in_to_sentinels()
        self.read_broker(answer)
        if sent:
            answer["canary"] = self.look_for(sent)
        if question["moves_to"]:
            Moving(app, question, answer).move()
        if question["leaves"]:
            with app.connection_for_read() as connection:
                answer["by_queue"] = {queue: size_of(connection, queue) for queue in question["queues"]}
            answer["consumers"] = self.other_consumers()
        if question["watches"]:
            answer["works"] = self.watched()
        elif question["pods"]:
            nodes = self.nodes()
            self.consume(nodes)
            answer["running"] = self.running(nodes)
            if question["leaves"]:
                replies = app.control.inspect(destination=nodes, timeout=self.timeout).scheduled() or {}
                answer["scheduled"] = sum(map(len, replies.values()))
        if question["inspects"]:
            self.inspect(answer)

    def read_broker(self, answer: dict[str, Any]) -> None:
        """Count messages that are held and that wait, and tasks."""
        if self.question["hash"]:
            with self.app.connection_for_read() as connection:
                answer["held"] = self.held(connection)
        if self.question["counts"]:
            with self.app.connection_for_read() as connection:
                answer["waiting"] = sum(size_of(connection, queue) for queue in self.question["queues"])
        if self.question["nodes"]:
            self.count_tasks(answer)

    def other_consumers(self) -> dict[str, list[str]]:
        """Nodes of other pods that consume the queues."""
        found: dict[str, list[str]] = {}
        for node, queues in (self.app.control.inspect(timeout=EVERYBODY).active_queues() or {}).items():
            for queue in queues:
                if queue["name"] in self.question["queues"] and not any(pod in node for pod in self.question["pods"]):
                    found.setdefault(queue["name"], []).append(node)
        return found

    def settle(self) -> list[str]:
        """Set what the command line sets, as the worker has it; return what the app's own settings win over.

        Settings of the app under a prefix win over the command line before Celery 5.7.
        """
        app, words = self.app, self.question["settings"]
        names = [word.partition("=")[0].lower().replace(".", "_") for word in words]
        app.config_from_cmdline(list(words), namespace="worker")
        prefix = getattr(app.conf, "prefix", None) or ""
        named = [name for name in names if prefix and prefix + name.upper() in app.loader.conf]
        if self.question["enforced"]:
            for name in named:
                app.conf[prefix + name.upper()] = app.conf.changes[name]
        return [name for name in named if app.conf[name] != app.conf.changes[name]]

    def log_in_to_sentinels(self) -> None:
        """Use the credentials of sentinels where the worker has some."""
        given = {key: os.environ[name] for key, name in SENTINEL_LOGIN.items() if os.environ.get(name)}
        if "password" in given:
            options = self.app.conf.broker_transport_options
            self.app.conf.broker_transport_options = {**options, "sentinel_kwargs": given}

    def held(self, connection: Any) -> int:
        """Messages in the hash of what is held; of a shared one only those of the variant's queues."""
        client, channel = raw_client(connection), connection.default_channel
        if not self.question["is_shared"]:
            return int(client.hlen(self.question["hash"]))
        count = 0
        for _tag, value in client.hscan_iter(prefix_of(channel) + channel.unacked_key):
            _message, exchange, key = json.loads(value)
            count += not queues_of(channel, exchange, key).isdisjoint(self.question["queues"])
        return count

    def count_tasks(self, answer: dict[str, Any]) -> None:
        """Count what the nodes run, will run next and hold for later, unless one of them keeps silent."""
        nodes = self.question["nodes"]
        inspect = self.app.control.inspect(destination=nodes, timeout=self.timeout)
        counted = {}
        for name, asks in (("active", inspect.active), ("reserved", inspect.reserved), ("later", inspect.scheduled)):
            reply = asks() or {}
            if len(reply) < len(nodes):
                # Who keeps silent once would be waited for each time.
                return
            counted[name] = sum(map(len, reply.values()))
        answer.update(counted)

    def send_canary(self) -> str:
        """Send a harmless message; return its name."""
        name, queue = str(uuid.uuid4()), self.question["queues"][0]
        self.app.send_task(
            "celery.accumulate",
            args=(1,),
            task_id=name,
            queue=queue,
            countdown=self.timeout,
            expires=120,
            ignore_result=True,
        )
        return name

    def look_for(self, name: str) -> str:
        """Where the canary shows."""
        end = time.time() + self.timeout
        with self.app.connection_for_read() as connection:
            client = raw_client(connection)
            while time.time() < end:
                held = texts(value for _tag, value in client.hscan_iter(self.question["hash"]))
                if any(name in text for text in held):
                    return "held"
                time.sleep(0.5)
            return "waiting" if self.waits(client, connection.default_channel, name) else "elsewhere"

    def waits(self, client: Any, channel: Any, name: str) -> bool:
        """Whether a message is still in its list: busy workers take nothing new."""
        queue = self.question["queues"][0]
        lists = {prefix_of(channel) + channel._q_for_pri(queue, step) for step in channel.priority_steps}
        return any(name in text for key in lists for text in texts(client.lrange(key, 0, 9999)))

    def nodes(self) -> list[str]:
        """Nodes of the asked pods: a node of Kubernetes has its pod's name somewhere in its own."""
        found = self.nodes_by_pod()
        silent = sorted(set(self.question["pods"]) - set(found.values()))
        if silent:
            raise RuntimeError("no answer over remote control from " + ", ".join(silent))
        return sorted(found)

    def nodes_by_pod(self) -> dict[str, str]:
        """Node to pod, of those that answer within the time that a question may take."""
        end, pods = time.time() + self.timeout, self.question["pods"]
        found: dict[str, str] = {}
        seconds = 1.0
        while True:
            # A ping to everybody takes its whole time, so a short one first. Later answers to it are lost, and on a
            # busy machine all are late: each of the next ones waits longer.
            nodes = self.app.control.inspect(timeout=seconds).ping() or {}
            found.update({node: pod for node in nodes for pod in pods if pod in node})
            left = end - time.time()
            if set(pods) <= set(found.values()) or left <= 0:
                return found
            seconds = max(1.0, min(2 * seconds, left))

    def watched(self) -> dict[str, Any]:
        """What the workers of each pod hold: once that is another than at first, or nothing, or patience is over."""
        end, first = time.time() + self.question["patience"], None
        while True:
            nodes = self.nodes_by_pod()
            # Not once its time is over: the workers may have been told something else meanwhile.
            if first is None or time.time() < end:
                self.consume(sorted(nodes))
            found = self.works(nodes)
            seen = {pod: [work["ids"], work["reserved"]] for pod, work in found.items()}
            first = seen if first is None else first
            is_busy = len(found) < len(self.question["pods"]) or any(ids or count for ids, count in seen.values())
            if seen != first or not is_busy or time.time() >= end:
                return {pod: {key: work[key] for key in work if key != "ids"} for pod, work in found.items()}

    def works(self, nodes: dict[str, str]) -> dict[str, Any]:
        """What the workers of each pod hold; those that stop answering are not among them. No argument of a task."""
        inspect = self.app.control.inspect(destination=sorted(nodes), timeout=self.timeout)
        active, reserved, later = inspect.active() or {}, inspect.reserved() or {}, inspect.scheduled() or {}
        queues, now = inspect.active_queues() or {}, time.time()
        return {
            nodes[node]: {
                "ids": sorted(task["id"] for task in active[node]),
                "running": [[task["name"], max(0, now - (task.get("time_start") or now))] for task in active[node]],
                "reserved": len(reserved[node]),
                "later": len(later[node]),
                "queues": len(queues[node]),
            }
            for node in nodes
            if node in active and node in reserved and node in later and node in queues
        }

    def consume(self, nodes: list[str]) -> None:
        """Let the nodes take nothing new, or take from their queues again."""
        app, wanted = self.app, self.question["consumes"]
        inspect = app.control.inspect(destination=nodes, timeout=self.timeout)
        for node, queues in ((inspect.active_queues() or {}) if wanted == "pause" else {}).items():
            for queue in queues:
                app.control.cancel_consumer(queue["name"], destination=[node], reply=True, timeout=self.timeout)
        named = [one for one in self.question["queues"] or app.amqp.queues if one not in self.question["excluded"]]
        for queue in named if wanted == "resume" else []:
            app.control.add_consumer(queue, destination=nodes, reply=True, timeout=self.timeout)

    def running(self, nodes: list[str]) -> list[str]:
        """Tasks that the nodes run, once they run none or patience is at its end."""
        end = time.time() + self.question["patience"]
        inspect = self.app.control.inspect(destination=nodes, timeout=self.timeout)
        while True:
            replies = [inspect.active()] + ([inspect.reserved()] if self.question["consumes"] == "pause" else [])
            if any(len(reply or {}) < len(nodes) for reply in replies):
                raise RuntimeError("a worker stopped answering")
            found = [task["name"] for reply in replies for tasks in reply.values() for task in tasks]
            if not found or time.time() >= end:
                return sorted(found)
            time.sleep(1)

    def own_node(self) -> str:
        """The worker's node, as Celery expands the name that a command line gives."""
        host, given = socket.gethostname(), self.question["group"]
        name, _dot, domain = host.partition(".")
        if "%" not in given:
            return f"{given}@{host}"
        for mark, value in (("%h", host), ("%n", name), ("%d", domain)):
            given = given.replace(mark, value)
        return given if "@" in given else f"celery@{given}"

    def inspect(self, answer: dict[str, Any]) -> None:
        """Ask the worker itself for its tasks and queues."""
        node = self.own_node()
        inspect = self.app.control.inspect(destination=[node], timeout=self.timeout)
        replies = inspect.registered("acks_late", "reject_on_worker_lost") or {}
        answer["tasks"] = dict(flags_of(line) for line in replies.get(node, []))
        queues = (inspect.active_queues() or {}).get(node)
        answer["answered"] = queues is not None
        answer["consumed"] = sorted(queue["name"] for queue in queues or [])


class Moving:
    """Moves what waits to another queue, so that no message is lost and none is there twice.

    The answer counts them as they go, so that it is right even where it ends early.
    """

    def __init__(self, app: Any, question: dict[str, Any], answer: dict[str, Any]) -> None:
        self.app = app
        self.queues, self.target = question["queues"], question["moves_to"]
        self.answer = answer
        self.end = time.time() + question["patience"]
        answer["moved"] = 0

    def move(self) -> None:
        """Move, until nothing is left or patience is at its end."""
        for queue in self.queues:
            with self.app.connection_for_write() as connection:
                channel = connection.default_channel
                if hasattr(channel, "_q_for_pri"):
                    self.move_lists(raw_client(connection), channel, queue)
                elif hasattr(channel, "basic_publish_confirm"):
                    self.publish_again(channel, queue)
                else:
                    raise RuntimeError("messages of this broker cannot be moved")

    def move_lists(self, client: Any, channel: Any, queue: str) -> None:
        """Move the lists of a queue in Redis, each batch in one transaction.

        The oldest is taken first and put behind what waits already, so they keep their order.
        """
        from redis import WatchError

        for step in channel.priority_steps:
            old, new = (prefix_of(channel) + channel._q_for_pri(name, step) for name in (queue, self.target))
            while time.time() < self.end:
                with client.pipeline() as pipe:
                    try:
                        pipe.watch(old)
                        batch = pipe.lrange(old, -50, -1)
                        if not batch:
                            break
                        pipe.multi()
                        for message in reversed(batch):
                            pipe.rpop(old)
                            pipe.lpush(new, readdressed(message, self.target))
                        pipe.execute()
                        self.answer["moved"] += len(batch)
                    except WatchError:
                        continue

    def publish_again(self, channel: Any, queue: str) -> None:
        """Move a queue of RabbitMQ: it confirms that it has each message before the old one is acknowledged."""
        channel.queue_declare(self.target, passive=True)
        while time.time() < self.end:
            message = channel.basic_get(queue)
            if message is None:
                return
            channel.basic_publish_confirm(message, exchange="", routing_key=self.target, mandatory=True)
            channel.basic_ack(message.delivery_tag)
            self.answer["moved"] += 1


def readdressed(message: Any, target: str) -> Any:
    """A message of Redis that says of itself that it belongs to the queue: retries and what is given back go there."""
    try:
        found = json.loads(message)
        found["properties"]["delivery_info"].update(exchange="", routing_key=target)
    except (ValueError, KeyError, TypeError, AttributeError):
        return message
    return json.dumps(found)


def size_of(connection: Any, queue: str) -> int:
    """Messages that wait. A queue that its broker does not have yet holds none."""
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


def flags_of(line: str) -> tuple[str, list[bool]]:
    """A registered task, and whether it acknowledges late and is given back when its child dies."""
    name, _space, flags = line.partition(" [")
    return name, ["acks_late=True" in flags, "reject_on_worker_lost=True" in flags]


def main(question: dict[str, Any], kind: type[Asked] = Asked) -> None:
    """Print the answer, or what of it was found before an error."""
    answer: dict[str, Any] = {}
    sys.path.insert(0, os.getcwd())
    try:
        from celery import current_app
        from celery.app.utils import find_app

        # Flower has no app, and its environment says where the broker is.
        kind(find_app(question["app"]) if question["app"] else current_app, question).answer(answer)
    except ImportError as error:
        # Where Celery is missing nobody runs a task.
        answer["error"] = type(error).__name__ + ": " + str(error).split("\n", maxsplit=1)[0][:200]
        if "'celery" in str(error):
            answer["running"] = []
    except (Exception, SystemExit) as error:  # whatever an app does while it is imported
        text = str(error).split("\n", maxsplit=1)[0].split("://", maxsplit=1)[0]
        answer["error"] = f"{type(error).__name__}: {text[:200]}"
    sys.stdout.write(MARK + json.dumps(answer, default=str) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
