# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds what is left over in a broker, and takes it away where it is told to. It runs behind C(survey.py).

What a live process may still use is not touched: it counts as left over only if it was there, and nobody had read it,
each time that it was looked at for a while. No message of a task is ever deleted, only given back to its queue.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from .ask import EVERYBODY, Asked, main, prefix_of, raw_client, size_of, texts
from .quarantine import ListQuarantine, QuarantineWish, RabbitQuarantine
from .survey import Held, Lists, Management, Place, RabbitQueues, opened, row_of, tls_context, why

#: How often leftovers are looked at, and how many of them are named.
LOOKS, SHOWN = 6, 3
#: How often a change is tried again that another one came before.
TRIES = 20
#: Seconds after which kombu gives back what nobody has acknowledged (5.7), and a little more: live workers come first.
DEFAULT_VISIBILITY, MARGIN = 3600, 60
#: The hash of workers which nobody gave one of their own.
SHARED = "unacked"


def told(kind: str, what: str, names: Iterable[str], messages: int = 0, removed: int = 0) -> dict[str, Any]:
    """What is said of leftovers of one kind."""
    every = sorted(names)
    row = {"kind": kind, "what": what, "count": len(every), "messages": messages, "removed": removed}
    return {**row, "names": every[:SHOWN]}


class ListLeftovers:
    """What is left over in Redis of remote control and of events.

    :param nodes: tells the nodes that answer; None where nobody can ask them.
    """

    def __init__(self, lists: Lists, pods: Iterable[str], nodes: Callable[[], set[str]] | None) -> None:
        self.lists, self.client, self.place = lists, lists.client, lists.place
        self.pods, self.nodes = set(pods), nodes
        self.alive: set[str] = set()
        #: Queue to the message that is read next, and to how many there are.
        self.unread: dict[str, tuple[Any, int]] = {}
        self.bound: dict[str, set[Any]] = {}

    def watch(self, seconds: float) -> None:
        """Look several times, and keep what was there, and unread, each time."""
        for look in range(LOOKS):
            if look:
                time.sleep(seconds / (LOOKS - 1))
            found = self.look([name for name in self.lists.own if not look or name in self.unread])
            if look:
                # What is read is taken from this end.
                kept = {name for name, (end, _size) in found.items() if self.unread[name][0] == end}
                found = {name: found[name] for name in kept}
            self.unread = found
            for kind in ("reply", "node", "event"):
                members = set(self.client.sscan_iter(self.place.table(self.place.exchange(kind)), count=1000))
                self.bound[kind] = members & self.bound[kind] if look else members
            if self.nodes is not None and look in (0, LOOKS - 1):
                self.alive |= self.nodes()
        self.bound["node"] = {one for one in self.bound["node"] if self.nodes is not None and self.is_gone(one)}
        self.bound["event"] = self.bound["event"] if self.nodes is not None and self.no_receivers() else set()
        self.unread = {name: item for name, item in self.unread.items() if not self.is_alive(name)}

    def look(self, names: Iterable[str]) -> dict[str, tuple[Any, int]]:
        """Lists that are there, with what is read next."""
        found = {}
        for name in names:
            end = self.client.lindex(self.place.prefix + name, -1)
            if end is not None:
                found[name] = (end, int(self.client.llen(self.place.prefix + name)))
        return found

    def is_alive(self, queue: str) -> bool:
        """Whether the node that a queue belongs to answers, or its pod is there."""
        if self.place.own_kind(queue) != "node":
            return False
        node = queue[: -len("." + self.place.control + ".pidbox")]
        return node in self.alive or any(pod in node for pod in self.pods)

    def is_gone(self, member: Any) -> bool:
        """Whether a binding is that of a node of which nothing is left."""
        queue = texts([member])[0].split(self.place.separator)[-1]
        return self.place.own_kind(queue) == "node" and not self.is_alive(queue)

    def no_receivers(self) -> bool:
        """Whether nobody listens to events: every subscription is that of a node to its own box.

        A binding does not say whose it is. Somebody who listens may have any of them.
        """
        try:
            clients = self.client.client_list()
            database = self.client.connection_pool.connection_kwargs.get("db", 0)
            own = [one for one in clients if str(one.get("db")) == str(database)]
            return sum(int(one.get("psub", 0)) + int(one.get("sub", 0)) for one in own) <= len(self.alive)
        except refusals():  # an account may not be allowed to see who is connected
            return False

    def say(self, removes: bool) -> list[dict[str, Any]]:
        """What is left over, by kind."""
        found = []
        for kind in ("reply", "node", "event"):
            own = {name: size for name, (_end, size) in self.unread.items() if self.place.own_kind(name) == kind}
            if own:
                gone = sum(map(self.delete, own)) if removes else 0
                found.append(told(kind, "queue", own, sum(own.values()), gone))
            if self.bound[kind]:
                gone = self.unbind(kind) if removes else 0
                found.append(told(kind, "binding", (self.queue_in(one) for one in self.bound[kind]), removed=gone))
        return found

    def queue_in(self, member: Any) -> str:
        """The queue that a binding names."""
        return str(texts([member])[0].split(self.place.separator)[-1])

    def delete(self, name: str) -> int:
        """Delete a list that still nobody reads."""
        from redis import WatchError

        key = self.place.prefix + name
        for _try in range(TRIES):
            with self.client.pipeline() as pipe:
                try:
                    pipe.watch(key)
                    if pipe.lindex(key, -1) != self.unread[name][0]:
                        return 0
                    pipe.multi()
                    pipe.delete(key)
                    pipe.execute()
                    return 1
                except WatchError:
                    continue
        return 0

    def unbind(self, kind: str) -> int:
        """Take dead bindings out of a table, and out of the one beside it that kombu 5.7 keeps."""
        exchange, members, gone = self.place.exchange(kind), sorted(self.bound[kind]), 0
        for begin in range(0, len(members), 500):
            some = members[begin : begin + 500]
            gone += int(self.client.srem(self.place.table(exchange), *some))
            self.client.srem(self.place.table(exchange, "binding_permanent"), *some)
        return gone


class Stranded:
    """Messages in hashes of Redis that no worker will acknowledge or give back any more.

    :param used: hash that some worker uses to the seconds after which kombu itself gives its messages back.
    :param own: what the names of a fleet's own hashes begin with. One that is not used belongs to nobody.
    :param min_age: seconds since such a message was delivered. A message without a time has been there for long enough.
    :param queues: the fleet's own.
    :param alive: nodes that answer. Those of a variant begin with its name, wherever they run.
    """

    def __init__(
        self,
        lists: Lists,
        used: dict[str, float],
        own: str,
        min_age: float,
        queues: Iterable[str],
        alive: Iterable[str] = (),
    ) -> None:
        self.lists, self.client, self.queues = lists, lists.client, set(queues)
        self.used, self.own, self.min_age = dict(used), own, min_age
        for node in alive if own else ():
            self.used.setdefault(own + node.split("@")[0], self.used.get(SHARED, DEFAULT_VISIBILITY + MARGIN))

    def say(self, removes: bool) -> None:
        """Note in the row of each hash what is stranded, and what of it was given back."""
        for row in self.lists.hashes:
            key = row["key"]
            row["is_used"] = key in self.used if key in self.used or self.is_ours(key) else None
            row.update(stranded={}, unplaced=0, given_back={})
            if row["is_used"] is None or not row["read"]:
                continue
            for tag, queue in self.found(key, row["is_used"]):
                if not queue:
                    row["unplaced"] += 1
                    continue
                row["stranded"][queue] = row["stranded"].get(queue, 0) + 1
                if removes and self.give_back(key, tag, queue, row["is_used"]):
                    row["given_back"][queue] = row["given_back"].get(queue, 0) + 1
            if removes and not row["is_used"]:
                self.forget_times(key)

    def is_ours(self, key: str) -> bool:
        """Whether a hash is one of the fleet's."""
        return bool(self.own) and key.startswith(self.own)

    def found(self, key: str, is_used: bool) -> list[tuple[str, str]]:
        """Tag and queue of what is stranded, the oldest last: what is given back last is taken first."""
        every = [(at, tag, queue) for tag, at, _message, queue in Held(self.lists, key).entries()]
        return [
            (tag, queue)
            for at, tag, queue in sorted(every, reverse=True)
            # Workers of others share this one, and may hold theirs for longer.
            if (key != SHARED or queue in self.queues) and self.is_over(key, at, is_used)
        ]

    def is_over(self, key: str, at: float, is_used: bool) -> bool:
        """Whether a message that was delivered then is nobody's now."""
        if not at:
            return not is_used
        return time.time() - at >= (self.used[key] if is_used else self.min_age)

    def give_back(self, key: str, tag: str, queue: str, is_used: bool) -> bool:
        """Give one message back to its queue, unless it is acknowledged or given back in this moment."""
        from redis import WatchError

        place = self.lists.place
        name, index = place.prefix + key, place.index_of(key)
        for _try in range(TRIES):
            with self.client.pipeline() as pipe:
                try:
                    pipe.watch(name, index)
                    message, found = opened(pipe.hget(name, tag), self.lists)
                    if found != queue or not self.is_over(key, float(pipe.zscore(index, tag) or 0), is_used):
                        return False
                    pipe.multi()
                    pipe.zrem(index, tag)
                    pipe.hdel(name, tag)
                    pipe.rpush(place.list_of(queue, place.step_of(message)), json.dumps(marked(message)))
                    pipe.execute()
                    return True
                except WatchError:
                    continue
        return False

    def forget_times(self, key: str) -> None:
        """Delete the times of a hash of which nothing is left."""
        from redis import WatchError

        name = self.lists.place.prefix + key
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(name)
                if pipe.exists(name):
                    return
                pipe.multi()
                pipe.delete(self.lists.place.index_of(key))
                pipe.execute()
            except WatchError:
                return


def marked(message: dict[str, Any]) -> dict[str, Any]:
    """A message that says of itself that it was delivered before, as kombu marks it."""
    for part in (message.get("headers"), (message.get("properties") or {}).get("delivery_info")):
        if isinstance(part, dict):
            part["redelivered"] = True
    return message


class RabbitLeftovers:
    """What is left over in RabbitMQ of remote control and of events. Messages it gives back by itself."""

    def __init__(self, queues: RabbitQueues) -> None:
        self.queues = queues
        self.unread: dict[str, int] = {}

    def watch(self, seconds: float) -> None:
        """Look several times, and keep what nobody consumed each time."""
        management, found = self.queues.management, self.queues.own
        self.unread = self.look(found.values())
        for _look in range(1, LOOKS) if management is not None and self.unread else ():
            time.sleep(seconds / (LOOKS - 1))
            again = self.look(management.queues() if management is not None else ())
            self.unread = {name: size for name, size in again.items() if name in self.unread}

    def look(self, items: Iterable[dict[str, Any]]) -> dict[str, int]:
        """Queues of Celery's own that nobody consumes. An exclusive one goes with its connection."""
        return {
            str(item["name"]): int(item.get("messages") or 0)
            for item in items
            if self.queues.is_own(item) and item.get("consumers") == 0 and not item.get("exclusive")
        }

    def say(self, removes: bool) -> list[dict[str, Any]]:
        """What is left over, by kind."""
        found = []
        for kind in ("reply", "node", "event"):
            own = {name: size for name, size in self.unread.items() if self.queues.place.own_kind(name) == kind}
            if own:
                gone = sum(map(self.delete, own)) if removes else 0
                found.append(told(kind, "queue", own, sum(own.values()), gone))
        return found

    def delete(self, name: str) -> int:
        """Delete a queue, unless somebody consumes it in this moment, which the server refuses."""
        connection = self.queues.connection
        with connection.channel() as channel:
            try:
                channel.queue_delete(name, if_unused=True)
            except connection.channel_errors:
                return 0
        return 1


class Surveying(Asked):
    """A survey in a worker's container."""

    def __init__(self, app: Any, question: dict[str, Any]) -> None:
        super().__init__(app, question)
        #: Nodes that answer, each with the queues that it consumes.
        self.consumed: dict[str, Any] = {}

    def answer(self, answer: dict[str, Any]) -> None:
        """Fill the answer, so that what was found before an error is kept."""
        conf = self.app.conf
        # What the app says without the command line of this worker holds for those that share a hash.
        visibility = (conf.broker_transport_options or {}).get("visibility_timeout")
        if self.question["settings"]:
            self.settle()
        self.log_in_to_sentinels()
        settle_times(self.question, visibility, bool(self.question["app"]) and not self.question["has_other_apps"])
        asks = self.question["asks_nodes"]
        # First: who answers now is alive, even if it is too busy to answer later.
        self.consumed = (self.app.control.inspect(timeout=EVERYBODY).active_queues() or {}) if asks else {}
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            steps, separator = getattr(channel, "priority_steps", (0,)), getattr(channel, "sep", "")
            events = (conf.event_queue_prefix, conf.event_exchange)
            place = Place(prefix_of(channel), separator, steps, conf.control_exchange, events)
            if hasattr(channel, "_q_for_pri"):
                nodes = self.answering if asks else None
                survey_lists(raw_client(connection), place, self.question, answer, nodes, self.consumed)
            elif hasattr(channel, "basic_publish_confirm"):
                survey_rabbit(connection, place, self.management(connection), self.question, answer)
            else:
                answer["broker"] = "other"
                answer["queues"] = {one: row_of(waiting=size_of(connection, one)) for one in self.question["queues"]}
                answer["unread"] = "this kind of broker only tells how much waits in queues that are named"
        if asks:
            self.add_consumers(answer)

    def answering(self) -> set[str]:
        """Nodes that answer now, or did so before."""
        return {*self.consumed, *(self.app.control.inspect(timeout=EVERYBODY).ping() or {})}

    def add_consumers(self, answer: dict[str, Any]) -> None:
        """Say which nodes consume each queue, as they say it themselves."""
        found: dict[str, list[str]] = {}
        for node, queues in self.consumed.items():
            for queue in queues or ():
                found.setdefault(queue["name"], []).append(node)
        is_rabbit = answer.get("broker") == "rabbitmq"
        later = (self.app.control.inspect(timeout=EVERYBODY).scheduled() or {}) if is_rabbit else {}
        for queue, row in answer.get("queues", {}).items():
            row["nodes"] = nodes = sorted(found.get(queue, ()))
            if not is_rabbit:
                row["consumers"] = len(nodes)
            elif row["consumers"] == len(nodes) and set(nodes) <= set(later):
                # RabbitMQ does not know it, and only if all of its consumers answer is it known.
                row["later"] = sum(is_of(task, queue) for node in nodes for task in later[node])

    def management(self, connection: Any) -> Management | None:
        """The management API, with the worker's own login."""
        address = self.question["management"]
        if not address:
            return None
        tls = self.app.conf.broker_use_ssl
        options = tls if isinstance(tls, dict) else {}
        context = None
        if address.startswith("https:"):
            context = tls_context(str(options.get("ca_certs") or ""), bool(options.get("cert_reqs", True)))
        login = (connection.userid or "guest", connection.password or "guest")
        return Management(address, login, connection.virtual_host or "/", self.timeout, context)


def settle_times(question: dict[str, Any], visibility: Any = None, is_known: bool = True) -> None:
    """Fill in the seconds after which messages are nobody's, where the app decides on that.

    :param visibility: what the app says; None is kombu's own.
    :param is_known: whether every app of the broker says so. Where one may say more, messages are never nobody's.
    """
    seconds = float(visibility) if isinstance(visibility, (int, float)) and visibility > 0 else DEFAULT_VISIBILITY
    seconds = seconds if is_known else float("inf")
    found = {key: given or seconds + MARGIN for key, given in question["used"].items()}
    if SHARED in found:
        # Some of those that share it may have this from their command line, and others from the app.
        found[SHARED] = max(found[SHARED], seconds + MARGIN)
    question["used"] = found


def is_of(task: dict[str, Any], queue: str) -> bool:
    """Whether a task that a node holds for later came from a queue."""
    return ((task.get("request") or {}).get("delivery_info") or {}).get("routing_key") == queue


def refusals() -> type[Exception]:
    """What Redis answers to who may not do something."""
    from redis import ResponseError

    return ResponseError


def survey_lists(
    client: Any,
    place: Place,
    question: dict[str, Any],
    answer: dict[str, Any],
    nodes: Callable[[], set[str]] | None = None,
    alive: Iterable[str] = (),
) -> None:
    """Survey a Redis.

    :param nodes: as for L(ListLeftovers).
    :param alive: as for L(Stranded).
    """
    answer["broker"] = "redis"
    if question["quarantines"]:
        answer["quarantine"] = ListQuarantine(client, place).handle(QuarantineWish(question))
        return
    lists = Lists(client, place, question["queues"], question["most"])
    answer["queues"] = lists.queues
    try:
        lists.read()
    except refusals() as error:  # an account may count its queues and list no keys
        answer["unread"] = "its keys cannot be listed (" + why(error) + ")"
        return
    answer["hashes"] = lists.hashes
    known = (question["used"], question["own"], question["min_age"], question["queues"])
    Stranded(lists, *known, alive).say(question["removes"])
    if question["audits"]:
        leftovers = ListLeftovers(lists, question["pods"], nodes)
        leftovers.watch(question["quiet"])
        answer["leftovers"] = leftovers.say(question["removes"])


def survey_rabbit(
    connection: Any, place: Place, management: Management | None, question: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Survey a RabbitMQ."""
    answer["broker"] = "rabbitmq"
    if question["quarantines"]:
        answer["quarantine"] = RabbitQuarantine(connection).handle(QuarantineWish(question))
        return
    queues = RabbitQueues(connection, place, question["queues"], management)
    answer["queues"] = queues.queues
    try:
        queues.read()
    except (OSError, ValueError) as error:
        answer["unread"] = "its management API gives no answer (" + why(error) + ")"
        return
    if management is None:
        answer["unread"] = "without its management API it tells of queues that are named, and of no others"
        return
    if question["audits"]:
        leftovers = RabbitLeftovers(queues)
        leftovers.watch(question["quiet"])
        answer["leftovers"] = leftovers.say(question["removes"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Surveying)
