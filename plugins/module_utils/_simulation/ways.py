# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways of scaling the same work: what others take by default, and one queue for all variants of a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .._model.fleet import Variant
from .._schema.moments import duration
from .._schema.text_tables import laid_out
from .loads import Arrivals, merged
from .results import Result, summary_of, windows_of
from .simulate import Case, simulate_with_waits
from .tables import percent

#: Seconds that a pod has to stop where nobody writes it.
_GRACE = 30.0
#: Types of triggers to the key of their target.
_TARGETS = {"rabbitmq": "value", "aws-sqs-queue": "queueLength", "redis": "listLength"}
TODAY, SUGGESTED, SHARED, OWN = "today", "as suggested", "in one shared queue", "in queues of their own"


@dataclass(frozen=True)
class Defaults:
    """What somebody takes where nothing is written: one trigger on the queue, and no sight of running work.

    :param most: pods.
    :param length: messages for a pod.
    :param of_redis: whether it knows no broker but Redis.
    """

    name: str
    most: int
    length: int
    of_redis: bool = False


TUTOR, KEDA = Defaults("Tutor plugin's defaults", 30, 40, True), Defaults("KEDA's defaults", 100, 5)
#: Pods of the Tutor plugin's variant of this name.
_FEWER = {"default": 10}


@dataclass(frozen=True)
class Way:
    """What came of one way of scaling some work. Times are seconds.

    :param title: the variant, or the service.
    :param wait_p95: None where it is told of each variant.
    :param peak_pods: None, and so the rest, where other variants share the pods.
    """

    title: str
    way: str
    wait_p95: float | None = None
    share_within: float | None = None
    peak_pods: int | None = None
    pod_seconds: float | None = None
    ratio: float | None = None
    interrupted: int | None = None
    unfinished: int | None = None

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a module's result."""
        rounded = {"wait_p95": 1, "pod_seconds": 1, "share_within": 4, "ratio": 3}
        return {
            name: value if value is None or name not in rounded else round(value, rounded[name])
            for name, value in asdict(self).items()
        }


def way_of(result: Result, way: str, least: float | None) -> Way:
    """A row of a variant.

    :param least: pod-seconds of the least possible, which is the same for every way.
    """
    return Way(
        result.title,
        way,
        result.waits.p95,
        result.share_within,
        result.peak_pods,
        result.pod_seconds,
        result.pod_seconds / least if least else None,
        result.interrupted,
        result.unfinished,
    )


def by_default(case: Case, defaults: Defaults, trigger: tuple[str, Mapping[str, str]]) -> Case:
    """The same workers with the defaults of others: a pod that goes has as long as Kubernetes gives it.

    :param trigger: type and metadata of their one trigger.
    """
    kind, metadata = trigger
    most = _FEWER.get(case.variant, defaults.most) if defaults.of_redis else defaults.most
    written = {"type": kind, "metadata": {**metadata, _TARGETS[kind]: str(defaults.length)}}
    spec = {"maxReplicaCount": most, "triggers": [written]}
    worker = replace(case.worker, grace=_GRACE, soft=None, idle_first=False, idle=None, age=None)
    return replace(case, spec=spec, annotations={}, worker=worker, is_job=False)


def largest_of(variants: Sequence[Variant]) -> dict[str, Any]:
    """Keys of the one Deployment that does the work of several: the largest number that one of them has."""
    scalings = [variant.scaling for variant in variants]
    names = ("min_replicas", "max_replicas", "list_length", "cooldown_period")
    keys: dict[str, Any] = {name: max(getattr(scaling, name) for scaling in scalings) for name in names}
    keys["concurrency"] = max(variant.slots for variant in variants)
    keys["termination_grace_period"] = max(variant.pod.termination_grace_period for variant in variants)
    longest = [one.knowledge.longest_task_seconds for one in variants]
    known = [seconds for seconds in longest if seconds is not None]
    # Where one of them may run for ever, all may.
    keys["longest_task_seconds"] = max(known) if len(known) == len(longest) else None
    return keys


def in_one_queue(case: Case, works: Mapping[str, tuple[Arrivals, float]], hours: float, seed: int) -> Iterator[Way]:
    """The work of several variants in one queue: the cost of all, then the waits of each.

    :param case: the one Deployment that works on it.
    :param works: titles of the variants to their tasks and to the seconds within which these are to begin.
    """
    together, owners = merged([work for work, _goal in works.values()])
    result, waits = simulate_with_waits(case, together, hours, seed)
    yield replace(way_of(result, SHARED, None), title=case.service, wait_p95=None, share_within=None)
    for number, (title, (work, goal)) in enumerate(works.items()):
        own = [wait for wait, owner in zip(waits, owners, strict=True) if owner == number]
        windows, within = windows_of(work.times, own, goal)
        yield Way(title, SHARED, summary_of(own).p95, within / windows if windows else 1.0)


def in_own_queues(service: str, results: Sequence[Result]) -> Way:
    """What the variants of a service cost together as they are."""
    return Way(
        service,
        OWN,
        pod_seconds=sum(one.pod_seconds for one in results),
        interrupted=sum(one.interrupted for one in results),
        unfinished=sum(one.unfinished for one in results),
    )


MEANING = (
    "The defaults of others: late acknowledgement, the same task times and slots, and the 30 seconds that Kubernetes "
    "gives a pod to stop. One shared queue: one Deployment with the largest settings of the service's variants, first "
    "the cost of all, then how long the tasks of each wait in it."
)
COLUMNS = ("compared", "way", "wait p95", "in time", "most pods", "pod-hours", "x least", "runs cut", "not done")


def cells_of(way: Way) -> tuple[str, ...]:
    """One way, as people read it."""
    return (
        way.title,
        way.way,
        _shown(way.wait_p95, lambda wait: duration(round(wait, 1))),
        _shown(way.share_within, percent),
        _shown(way.peak_pods, str),
        _shown(way.pod_seconds, lambda seconds: f"{seconds / 3600:.1f}"),
        _shown(way.ratio, lambda ratio: f"{ratio:.2f}"),
        _shown(way.interrupted, str),
        _shown(way.unfinished, str),
    )


def _shown(value: Any, how: Any) -> str:
    return "" if value is None else str(how(value))


def lines_of(ways: Sequence[Way]) -> list[str]:
    """All of them as a table; nothing where nothing was compared."""
    if not ways:
        return []
    cells = [list(COLUMNS), *(list(cells_of(way)) for way in ways)]
    return laid_out(cells, [max(len(line[index]) for line in cells) for index in range(len(COLUMNS))])
