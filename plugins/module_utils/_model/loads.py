# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a load: the work that a simulation sends to a variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .._schema.keys import Section, key
from .._schema.layers import Leaf, Node, elements, items, plain
from .._schema.problems import Problems
from .._schema.scalars import INVALID, SECONDS, Choice, Integer, Invalid, Number, Text, refuse

#: Hours of a day.
DAY = 24.0
#: Pods that are simulated at most, and the largest rate and share.
MOST_PODS, _MOST = 10000, 1e8


@dataclass(frozen=True)
class _ByNumber:
    """A dict whose keys are numbers: C({0: 100, 8: 2000}).

    :param most: the largest key that is taken.
    :param is_share: whether keys are whole numbers, and values say how much of everything each of them gets.
    """

    keys: str
    values: str
    most: float
    is_share: bool = False

    def __call__(self, node: Node, problems: Problems) -> tuple[tuple[float, float], ...] | Invalid:
        """Pairs in the order of their keys."""
        value = plain(node)
        try:
            found = sorted((float(name), float(number)) for name, number in value.items())
        except (AttributeError, TypeError, ValueError, OverflowError):
            return refuse(self, node, problems)
        in_range = all(0 <= name <= self.most and 0 <= number <= _MOST for name, number in found)
        if not found or not in_range or (self.is_share and not self._shares_out(found)):
            return refuse(self, node, problems)
        return tuple(found)

    @staticmethod
    def _shares_out(found: Sequence[tuple[float, float]]) -> bool:
        return all(name.is_integer() for name, _other in found) and any(number for _other, number in found)

    def describe(self) -> str:
        """Both halves."""
        return f"a dict of {self.keys} to {self.values}"


@dataclass(frozen=True)
class TaskTimes:
    """How long tasks take, in seconds: all the same, half of them below C(p50) and 95 % below C(p95), or one of a list.

    :param listed: times of which each task has one, all as likely.
    """

    p50: float = 1.0
    p95: float = 1.0
    listed: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Times:
    """A number, C({p50, p95}), or a list of numbers."""

    def __call__(self, node: Node, problems: Problems) -> TaskTimes | Invalid:
        """The times."""
        value, before = plain(node), len(problems.found)
        if isinstance(value, list) and isinstance(node, Leaf) and value:
            listed = [_seconds(item, problems) for item in elements(node)]
            return INVALID if len(problems.found) > before else TaskTimes(listed=tuple(listed))
        if not isinstance(value, dict):
            number = _SECONDS(node, problems) if not isinstance(value, list) else refuse(self, node, problems)
            return number if isinstance(number, Invalid) else TaskTimes(number, number)
        if set(value) != {"p50", "p95"}:
            return refuse(self, node, problems)
        p50, p95 = (_seconds(child, problems) for _other, child in sorted(items(node), key=lambda item: item[0]))
        if len(problems.found) > before:
            return INVALID
        return TaskTimes(p50, p95) if p50 <= p95 else refuse(self, node, problems)

    def describe(self) -> str:
        """All three."""
        return "a number of seconds, a dict of p50 and p95 (p50 not above p95), or a list of numbers"


_SECONDS = Number(SECONDS)


def _seconds(node: Node, problems: Problems) -> float:
    """A number of seconds; 0 for one that was refused."""
    found = _SECONDS(node, problems)
    return 0.0 if isinstance(found, Invalid) else found


@dataclass(frozen=True)
class Daily:
    """A day that comes again every day."""

    low: float = key(Number("tasks an hour", 0.0), "Tasks an hour where it is calmest.", 0.0)
    high: float = key(Number("tasks an hour", 0.0), "Tasks an hour at the peak.", 0.0)
    peak_hour: float = key(Number("hours after the start", 0.0, DAY), "When the peak is.", 14.0)
    noise: float = key(Number("share", 0.0, 1.0), "Share by which ten minutes differ from the curve.", 0.0)


@dataclass(frozen=True)
class Load:
    """Work that is sent to one variant. Exactly one of the first six keys says when it comes."""

    per_hour: float | None = key(Number("tasks an hour", 0.0), "As many tasks an hour, all the time.")
    burst: int | None = key(Integer(1, 10**7), "As many tasks at once, at O(at_hour) and again every O(every_hours).")
    steps: tuple[tuple[float, float], ...] | None = key(
        _ByNumber("hours after the start", "tasks an hour from then on", 8760.0),
        "Hours after the start to tasks an hour from then on.",
    )
    daily: Daily | None = key(Section(Daily, switchable=False), "A curve over the day.")
    csv: str | None = key(
        Text("the path of a file"),
        "A file with a line per task: C(seconds) after the start, and if known C(task_seconds), C(priority) and "
        "C(eta_seconds).",
    )
    prometheus: str | None = key(
        Text("the path of a file"),
        "A file with the answer of Prometheus to a range query, as JSON: tasks that came in each step.",
    )
    replicas: str | None = key(
        Text("the path of a file"),
        "The same of the pods that there were. The simulation starts with the first of them, and is compared with all.",
        default_text="compares nothing",
    )
    waiting: str | None = key(
        Text("the path of a file"),
        "The same of the messages that waited. How long they waited follows from it, and is compared.",
        default_text="compares no waits",
    )
    at_hour: float = key(Number("hours after the start", 0.0), "When a burst comes.", 0.0)
    every_hours: float | None = key(Number("hours"), "Time after which a burst comes again.", default_text="never")
    spread: str = key(
        Choice(("random", "even")), "Whether tasks come at random moments, or at even distances.", "random"
    )
    task_seconds: TaskTimes | None = key(
        _Times(), "How long tasks take.", default_text="task_seconds of the variant, else 10"
    )
    priorities: tuple[tuple[float, float], ...] | None = key(
        _ByNumber("priorities (whole numbers from 0 to 9)", "their share, at least one of them above 0", 9.0, True),
        "Priority to its share.",
        default_text="none has one",
    )
    eta_share: float = key(Number("share", 0.0, 1.0), "Share of the tasks that are sent with an ETA or countdown.", 0.0)
    eta_seconds: float = key(Number(SECONDS), "How far ahead that is.", 60.0)
    failure_share: float = key(Number("share", 0.0, 1.0), "Share of the runs that fail and are retried.", 0.0)
    retries: int = key(Integer(0, 1000), "How often a task is retried at most.", 3)
    retry_seconds: float = key(Number(SECONDS, 0.0), "Countdown of a retry.", 180.0)
    start_seconds: float | None = key(
        Number(SECONDS, 0.0),
        "Time from a pod's creation to its first task, image pull included.",
        default_text="start_seconds of the variant, else 20",
    )
    most_pods: int | None = key(
        Integer(1, MOST_PODS), "Pods that the nodes have room for; others wait.", default_text="no limit"
    )
    #: Where it is written.
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Sample:
    """What Prometheus had at a time, in seconds since 1970."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """A task of a file.

    :param at: seconds after the start.
    :param seconds: how long it takes; None where the file does not say it.
    """

    at: float
    seconds: float | None = None
    priority: int = 0
    eta: float = 0.0


#: Hours that are simulated at most: five weeks.
MOST_HOURS = DAY * 35
#: Keys of which a load has exactly one.
KINDS = ("per_hour", "burst", "steps", "daily", "csv", "prometheus")
START_SECONDS, TASK_SECONDS = 20.0, 10.0


def kinds_of(load: Load) -> list[str]:
    """All keys that say when tasks come; a load that is right has one."""
    return [name for name in KINDS if getattr(load, name) is not None]


def pod_start(loads: Sequence[Load], of_variant: float | None) -> float:
    """Seconds from a pod's creation to its first task: as a load says, else as the variant does, else a guess.

    :param of_variant: C(start_seconds) of the variant.
    """
    known = [load.start_seconds for load in loads if load.start_seconds is not None]
    return max(known, default=START_SECONDS if of_variant is None else of_variant)
