# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each trigger of a ScaledObject reads of simulated queues and pods."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .._build.budgets import BUDGET_READING
from .._build.wait_goal import ARRIVALS_WINDOW, RUN_TIME_WINDOW
from .._model.names import MEASURES, RUN_TIME
from .._schema.versions import Version
from .cron import CronReading
from .formula import cut
from .results import MONDAY
from .scaled_object import Trigger
from .workers import Site

#: What works a reading out of what is there.
Reading = Callable[[Site], float]


@dataclass(frozen=True)
class Places:
    """Where a variant's messages are, by the names that triggers know.

    :param lists: Redis list to the place of its priority step; None for a list that the load does not fill.
    :param hashes: Redis hashes of what workers hold.
    :param queues: queues of RabbitMQ and SQS.
    :param empty: those of them that the load does not fill.
    :param start: the moment at which the simulation starts.
    :param numbers: what other triggers read, by their names.
    """

    lists: Mapping[str, int | None] = field(default_factory=dict)
    hashes: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    start: datetime = MONDAY
    numbers: Mapping[str, float] = field(default_factory=dict)


def readings_of(
    triggers: Iterable[Trigger], resources: Iterable[str], places: Places, keda: Version | None
) -> tuple[list[Reading], list[str]]:
    """One reading for each trigger, and what is to be said of them.

    :param resources: types of the triggers that the HPA reads beside them.
    """
    found: list[Reading] = []
    warnings: list[str] = []
    for trigger in triggers:
        reading = _reading(trigger, places, keda)
        if reading is None:
            number = places.numbers.get(trigger.name, 0.0)
            if trigger.name not in places.numbers:
                warnings.append(
                    f"trigger {trigger.name or trigger.type} ({trigger.type}) is taken to read 0, because nothing here "
                    "knows what it reads."
                )
            reading = _constant(number)
        found.append(reading)
    warnings += [f"the {kind} trigger is left out; nothing here knows the load of a processor." for kind in resources]
    return found, warnings


def _constant(number: float) -> Reading:
    whole = cut(number)
    return lambda site: whole


def _reading(trigger: Trigger, places: Places, keda: Version | None) -> Reading | None:
    kind, metadata = trigger.type, trigger.metadata
    # What counts the pods of other variants of a budget has a name of its own.
    if kind == "kubernetes-workload" and not trigger.name.startswith(BUDGET_READING):
        return lambda site: len(site.pods)
    if kind == "cron":
        cron = CronReading(metadata, places.start, keda)
        return lambda site: cron(site.now)
    if trigger.name in MEASURES:
        measured = _Measured()
        return measured.run_time if trigger.name == RUN_TIME else measured.received
    if kind.startswith("redis"):
        return _of_redis(metadata.get("listName", ""), places)
    if metadata.get("queueName", metadata.get("queueURL")) in places.empty:
        return _constant(0.0)
    if kind == "rabbitmq" and metadata.get("queueName") in places.queues:
        only_ready = metadata.get("excludeUnacknowledged", "false").lower() == "true" or trigger.connects
        return _waiting if only_ready else _both
    if kind == "aws-sqs-queue" and metadata.get("queueURL") in places.queues:
        return _waiting if metadata.get("scaleOnInFlight", "true").lower() == "false" else _both
    return None


class _Measured:
    """What Prometheus tells of tasks, from what it has read of Flower or the exporter at each scrape."""

    #: Seconds between two scrapes, as our monitors have it.
    _SCRAPE = 30.0

    def __init__(self) -> None:
        self._scrapes: deque[tuple[float, float, float]] = deque()

    def _grown(self, site: Site, window: float, one: float, other: float) -> tuple[float, float]:
        """How much two counters have grown in a window, as far as scrapes tell."""
        now, scrapes = site.now, self._scrapes
        if not scrapes or now - scrapes[-1][0] >= self._SCRAPE:
            scrapes.append((now, one, other))
        while len(scrapes) > 1 and scrapes[1][0] <= now - window:
            scrapes.popleft()
        return scrapes[-1][1] - scrapes[0][1], scrapes[-1][2] - scrapes[0][2]

    def run_time(self, site: Site) -> float:
        """The mean run time; 0 while no task has ended."""
        seconds, runs = self._grown(site, RUN_TIME_WINDOW, site.done_seconds, float(site.counts.done))
        return cut(seconds / runs) if runs else 0.0

    def received(self, site: Site) -> float:
        """Tasks that workers have received."""
        return self._grown(site, ARRIVALS_WINDOW, float(site.received), 0.0)[0]


def _of_redis(name: str, places: Places) -> Reading | None:
    if name in places.hashes:
        return lambda site: site.unacknowledged
    if name not in places.lists:
        return None
    step = places.lists[name]
    return _constant(0.0) if step is None else lambda site: len(site.lists[step])


def _waiting(site: Site) -> float:
    return site.waiting


def _both(site: Site) -> float:
    return site.waiting + site.unacknowledged
