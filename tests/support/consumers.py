# SPDX-License-Identifier: GPL-3.0-or-later
"""Which queues had a consumer, at every moment of an emulator's log of requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ._admission import target_of
from ._controllers import is_paused
from ._status import Json
from .kubernetes_emulator import RecordedRequest

#: What a worker consumes that names no queue, unless its application says otherwise.
DEFAULT_QUEUE = "celery"

_QUEUES, _EXCLUDED = ("-Q", "--queues"), ("-X", "--exclude-queues")


@dataclass(frozen=True)
class Moment:
    """What was so from one request to the next: each consumed queue with the names of its Deployments."""

    request: RecordedRequest
    consumers: Mapping[str, frozenset[str]]

    @property
    def queues(self) -> frozenset[str]:
        return frozenset(self.consumers)

    def __str__(self) -> str:
        queues = ", ".join(f"{queue} ({' '.join(sorted(names))})" for queue, names in sorted(self.consumers.items()))
        return f"after {self.request.method} {self.request.path}: {queues or 'no consumer'}"


def consumers_over_time(log: Iterable[RecordedRequest], namespace: str) -> list[Moment]:
    """The moments of a log, oldest first. A new one begins where the consumers change.

    A Deployment consumes as long as it has replicas, or a ScaledObject that is not paused and so may start some.
    The first moment is the state after the log's first request.
    """
    moments: list[Moment] = []
    seen: tuple[Json, ...] | None = None
    for request in list(log):
        if request.state is seen:
            continue
        seen = request.state
        consumers = _consumers([obj for obj in seen if obj["metadata"]["namespace"] == namespace])
        if not moments or consumers != moments[-1].consumers:
            moments.append(Moment(request, consumers))
    return moments


def queues_without_consumer(log: Iterable[RecordedRequest], namespace: str, queues: Iterable[str]) -> dict[str, str]:
    """Those of the queues that nobody consumed at some moment, each with the request that brought it about."""
    wanted, found = set(queues), dict[str, str]()
    for moment in consumers_over_time(log, namespace):
        for queue in wanted - moment.queues - set(found):
            found[queue] = str(moment)
    return found


def consumed_queues(deployment: Json, default: str = DEFAULT_QUEUE) -> frozenset[str]:
    """What the Celery workers of a Deployment consume, by their command lines; nothing where it runs none."""
    found: set[str] = set()
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        words = [*container.get("command", []), *container.get("args", [])]
        if any(word.rpartition("/")[2] == "celery" for word in words) and "worker" in words:
            named, excluded = (list(_values(words, options)) for options in (_QUEUES, _EXCLUDED))
            # Of several options, Celery takes the last.
            queues = named[-1] if named else default
            found |= set(_split(queues)) - set(_split(excluded[-1] if excluded else ""))
    return frozenset(found)


def _consumers(objects: list[Json]) -> dict[str, frozenset[str]]:
    scaled = {
        target_of(obj["spec"]["scaleTargetRef"])[1:]
        for obj in objects
        if obj["kind"] == "ScaledObject" and "deletionTimestamp" not in obj["metadata"] and not is_paused(obj)
    }
    found: dict[str, frozenset[str]] = {}
    for obj in objects:
        name = obj["metadata"]["name"]
        if obj["kind"] == "Deployment" and (obj["spec"]["replicas"] > 0 or ("Deployment", name) in scaled):
            for queue in consumed_queues(obj):
                found[queue] = found.get(queue, frozenset()) | {name}
    return found


def _values(words: list[str], options: tuple[str, str]) -> Iterator[str]:
    short, long = options
    for place, word in enumerate(words):
        if word in options:
            yield from words[place + 1 : place + 2]
        elif word.startswith(f"{long}="):
            yield word.removeprefix(f"{long}=")
        elif word.startswith(short):
            yield word.removeprefix(short)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
