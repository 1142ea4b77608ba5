# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a broker is asked of all its queues, and what it answers. Nothing secret is in either."""

from __future__ import annotations

import base64
import inspect
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from .inquiry import FIND_PYTHON, FOR_READERS, answered
from .programs import ask, quarantine, survey, tidy

#: Messages of one hash that are looked at.
MOST = 20000


@dataclass(frozen=True)
class SurveyQuestion:
    """What is asked.

    :param app: the app whose broker it is.
    :param has_other_apps: whether other apps have the same broker, which may say other things of it.
    :param settings: the worker's settings as its command line has them.
    :param enforced: whether the worker sets them over the app's own.
    :param queues: queues that are told even where they are empty.
    :param used: hash of held messages that workers use, to the seconds after which these are nobody's.
    :param own: what the names of the fleet's own hashes begin with. One that is not used belongs to nobody.
    :param min_age: seconds for which a message of such a hash must have been there.
    :param pods: names of the pods that there are.
    :param management: address of RabbitMQ's management API; empty for none.
    :param asks_nodes: whether workers are asked over remote control.
    :param audits: whether to look for what is left over.
    :param quiet: seconds for which something must be unused to be left over.
    :param removes: whether what is left over is taken away, and what is stranded given back.
    :param quarantines: quarantine queues; where some are named, nothing else is looked at.
    :param quarantine_do: C(return) or C(drop); empty shows what is in them.
    :param quarantine_ids: tasks that this is done to; empty for all.
    """

    app: str
    has_other_apps: bool = False
    settings: tuple[str, ...] = ()
    enforced: bool = False
    queues: tuple[str, ...] = ()
    used: Mapping[str, float] = field(default_factory=dict)
    own: str = ""
    min_age: float = 3600
    pods: tuple[str, ...] = ()
    management: str = ""
    asks_nodes: bool = True
    audits: bool = False
    quiet: float = 0
    removes: bool = False
    quarantines: tuple[str, ...] = ()
    quarantine_do: str = ""
    quarantine_ids: tuple[str, ...] = ()
    most: int = MOST
    timeout: int = 10


@dataclass(frozen=True)
class QueueRow:
    """One queue. What is not known is None, and never 0.

    :param steps: messages that wait, by priority step; empty where the broker does not tell.
    :param held: messages that workers have and have not acknowledged.
    :param later: of these, those that wait for their ETA.
    :param oldest_waiting: seconds since the oldest message was sent; C(oldest_held) since it was delivered.
    :param nodes: workers that say that they consume it; None where they were not asked.
    """

    name: str
    waiting: int | None = None
    steps: Mapping[str, int] = field(default_factory=dict)
    held: int | None = None
    later: int | None = None
    consumers: int | None = None
    oldest_waiting: int | None = None
    oldest_held: int | None = None
    nodes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class HashRow:
    """One hash of messages that workers of Redis hold.

    :param oldest: seconds since the oldest was delivered.
    :param is_used: whether some worker uses it; None where that is not known.
    :param stranded: queue to messages of it that no worker will acknowledge or give back.
    :param unplaced: such messages whose queue cannot be told, which stay.
    :param given_back: queue to messages that were given back.
    :param is_read: whether it was small enough to be looked into.
    """

    key: str
    messages: int
    oldest: int | None = None
    is_used: bool | None = None
    stranded: Mapping[str, int] = field(default_factory=dict)
    unplaced: int = 0
    given_back: Mapping[str, int] = field(default_factory=dict)
    is_read: bool = True


@dataclass(frozen=True)
class Leftover:
    """What is left over of one kind.

    :param kind: C(reply), C(node) or C(event).
    :param what: C(queue) or C(binding).
    :param names: the first few.
    :param removed: how many were taken away.
    """

    kind: str
    what: str
    count: int
    messages: int = 0
    removed: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """One message in quarantine.

    :param origin: the queue that it came from.
    :param starts: how often its task was started; None where the message does not say so.
    :param since: when it was put there.
    :param done: whether it was given back or dropped.
    """

    queue: str
    origin: str
    id: str
    task: str
    starts: int | None = None
    since: str | None = None
    node: str | None = None
    done: bool = False


@dataclass(frozen=True)
class Survey:
    """What a broker holds.

    :param unread: what of it could not be read, and why.
    :param error: why it is not known at all, or not to its end.
    """

    broker: str = ""
    queues: tuple[QueueRow, ...] = ()
    hashes: tuple[HashRow, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    unread: str = ""
    error: str = ""


def survey_from(data: Mapping[str, Any]) -> Survey:
    """A survey in what the program told."""
    return Survey(
        broker=str(data.get("broker") or ""),
        queues=tuple(_queue_row(name, row) for name, row in sorted((data.get("queues") or {}).items())),
        hashes=tuple(_hash_row(row) for row in data.get("hashes") or ()),
        leftovers=tuple(Leftover(**{**row, "names": tuple(row["names"])}) for row in data.get("leftovers") or ()),
        quarantined=tuple(Quarantined(**row) for row in data.get("quarantine") or ()),
        unread=str(data.get("unread") or ""),
        error=str(data.get("error") or ""),
    )


def _queue_row(name: str, row: Mapping[str, Any]) -> QueueRow:
    known = {key: row.get(key) for key in survey.ROW}
    nodes = tuple(row["nodes"]) if row.get("nodes") is not None else None
    return QueueRow(name, steps=row.get("steps") or {}, nodes=nodes, **known)


def _hash_row(row: Mapping[str, Any]) -> HashRow:
    known = {key: row[key] for key in ("is_used", "stranded", "unplaced", "given_back") if key in row}
    return HashRow(row["key"], row["messages"], row.get("oldest"), is_read=bool(row.get("read", True)), **known)


def answer_from(output: str) -> Survey | None:
    """The survey in what the command printed; None if there is none."""
    data = answered(output)
    return survey_from(data) if data is not None else None


# The program


#: What the parts of the program take from each other: they travel as one.
_IMPORTS = re.compile(r"^from (?:__future__|\.\w+) import (?:\([^)]*\)|.*)\n", re.MULTILINE)
_START = re.compile(r'^if __name__ == "__main__":\n.*\Z', re.MULTILINE | re.DOTALL)


@cache
def program() -> str:
    """The program that answers, as one that unpacks itself: it travels in the address of a request."""
    first, *others = (FOR_READERS.sub("", inspect.getsource(part)) for part in (ask, survey, quarantine, tidy))
    parts = [_START.sub("", first), *(_IMPORTS.sub("", text) for text in others)]
    parts[1] = _START.sub("", parts[1])
    packed = base64.b64encode(zlib.compress("\n".join(parts).encode(), 9)).decode()
    return f"import base64,zlib\nexec(zlib.decompress(base64.b64decode('{packed}')))"


def command_of(question: SurveyQuestion, python: Sequence[str] | None = None) -> list[str]:
    """The command that asks in a container.

    :param python: the words that start the Python of its Celery, where its command line says so.
    """
    asked = json.dumps(asdict(question), sort_keys=True)
    return [*python, "-c", program(), asked] if python else ["sh", "-c", FIND_PYTHON, program(), asked]


# For programs


def as_data(found: Survey) -> dict[str, Any]:
    """A survey as modules return it."""
    return {
        "type": found.broker,
        "queues": [_queue_data(row) for row in found.queues],
        "unacked": [_hash_data(row) for row in found.hashes],
        "leaks": [
            {
                "kind": f"{item.kind}_{item.what}",
                "count": item.count,
                "messages": item.messages,
                "names": list(item.names),
                "removed": item.removed,
            }
            for item in found.leftovers
        ],
        "unread": found.unread,
    }


def quarantined_data(found: Survey) -> list[dict[str, Any]]:
    """Messages in quarantine as a run returns them."""
    return [asdict(row) for row in found.quarantined]


def _queue_data(row: QueueRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "waiting": row.waiting,
        "by_priority": dict(row.steps),
        "unacked": row.held,
        "held_for_eta": row.later,
        "consumers": row.consumers,
        "workers": None if row.nodes is None else list(row.nodes),
        "oldest_waiting_seconds": row.oldest_waiting,
        "oldest_unacked_seconds": row.oldest_held,
    }


def _hash_data(row: HashRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "messages": row.messages,
        "oldest_seconds": row.oldest,
        "in_use": row.is_used,
        "stranded": dict(row.stranded),
        "stranded_without_queue": row.unplaced,
        "given_back": dict(row.given_back),
    }
