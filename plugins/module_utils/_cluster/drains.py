# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of a Deployment hold, and telling them whether to take work. A command in one of their pods asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._celery.command import app_of, written_options
from .._celery.inquiry import Question, settings_in
from .._model.sources import app_container
from .._schema.counted import counted
from .._schema.moments import duration
from .asking import ask, ready_pod, runs, worker_words_of
from .readiness import condition
from .reading import Cluster, pods_of

Object = dict[str, Any]

#: What workers are told: to take nothing, or to take from the queues of their command line again.
PAUSE, RESUME = "pause", "resume"
#: Seconds that one look may wait for an answer. Who works on a busy machine takes some.
_ANSWER = 6
#: Seconds that a command may take beside its patience: the import of the app, and its questions.
_OVERHEAD = 120
#: Names of tasks are shown as far as this.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class PodWork:
    """What the worker of one pod holds.

    :param running: names of the tasks that run, each with the seconds since its start.
    :param reserved: messages that it has taken to run next.
    :param later: tasks that it holds until their ETA.
    :param takes: whether it takes from any queue.
    """

    running: tuple[tuple[str, float], ...] = ()
    reserved: int = 0
    later: int = 0
    takes: bool = False


@dataclass(frozen=True)
class Held:
    """What the workers of one Deployment hold.

    :param pods: those that run, each with how often its worker has restarted.
    :param works: by pod; those that do not answer have none.
    :param starting: pods that are about to run, and take work then.
    :param down: how many others do not run, and take work if they ever do.
    :param leaving: pods that were told to stop. They take nothing, answer no more, and may still run something.
    :param waiting: messages in the queues that the command line names; None if that is not known.
    :param error: why it is not known.
    """

    pods: Mapping[str, int] = field(default_factory=dict)
    works: Mapping[str, PodWork] = field(default_factory=dict)
    starting: tuple[str, ...] = ()
    down: int = 0
    leaving: tuple[str, ...] = ()
    waiting: int | None = None
    error: str = ""

    @property
    def silent(self) -> list[str]:
        """Pods whose worker does not answer."""
        return [pod for pod in self.pods if pod not in self.works]

    @property
    def told(self) -> dict[str, int]:
        """Pods whose worker has answered and takes nothing, each with its restarts."""
        return {pod: self.pods[pod] for pod, work in self.works.items() if not work.takes and pod in self.pods}

    @property
    def running(self) -> list[tuple[str, float]]:
        """Tasks that run, the oldest first."""
        return sorted((task for work in self.works.values() for task in work.running), key=lambda task: -task[1])

    @property
    def reserved(self) -> int:
        """Messages that are taken and do not run yet."""
        return sum(work.reserved for work in self.works.values())

    @property
    def later(self) -> int:
        """Tasks that are held until their ETA."""
        return sum(work.later for work in self.works.values())

    @property
    def is_drained(self) -> bool:
        """Whether nothing runs, nothing is about to, and nothing is taken."""
        quiet = all(not (work.running or work.reserved or work.takes) for work in self.works.values())
        return quiet and not self.error and not self.silent and not self.starting

    @property
    def takes_all(self) -> bool:
        """Whether every worker takes work."""
        return not self.error and not self.silent and all(work.takes for work in self.works.values())

    @property
    def signature(self) -> tuple[object, ...]:
        """What of it is news when it changes."""
        pods = tuple(sorted((pod, len(work.running), work.reserved) for pod, work in self.works.items()))
        return pods, tuple(self.silent), self.starting, self.leaving, self.error

    def said(self, seconds: float = 0) -> str:
        """What is waited for, in words.

        :param seconds: how long ago it was asked.
        """
        if self.error:
            return f"what its workers run is not known ({self.error})"
        parts = [
            *_running(self, seconds),
            *_reserved(self.reserved),
            *_silent(self),
            *_others(self),
            *_later(self.later),
        ]
        return "; ".join(parts) or "its workers run nothing"


def _running(held: Held, seconds: float) -> Iterable[str]:
    if held.running:
        name, age = held.running[0]
        busy, count = sum(bool(work.running) for work in held.works.values()), len(held.running)
        short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
        longest = short if count == 1 else f"longest {short}"
        verb = "runs" if count == 1 else "run"
        place = f"{busy} of {counted(len(held.pods), 'pod')}"
        yield f"{counted(count, 'task')} {verb} on {place}, {longest} for {duration(age + seconds)}"


def _reserved(count: int) -> Iterable[str]:
    if count:
        yield f"{counted(count, 'message')} already taken from the queue {'runs' if count == 1 else 'run'} next"


def _silent(held: Held) -> Iterable[str]:
    if held.silent:
        verb = "does" if len(held.silent) == 1 else "do"
        yield f"{len(held.silent)} of {counted(len(held.pods), 'pod')} {verb} not answer ({', '.join(held.silent[:2])})"


def _others(held: Held) -> Iterable[str]:
    if held.starting:
        verb = "starts, and takes" if len(held.starting) == 1 else "start, and take"
        yield f"{counted(len(held.starting), 'pod')} {verb} work until told not to ({', '.join(held.starting[:2])})"
    if held.leaving:
        verb = "stops" if len(held.leaving) == 1 else "stop"
        yield f"{counted(len(held.leaving), 'pod')} {verb}, and may still run a task ({', '.join(held.leaving[:2])})"


def _later(count: int) -> Iterable[str]:
    if count:
        does, whose = ("is", "its") if count == 1 else ("are", "their")
        yield f"{counted(count, 'task')} {does} held until {whose} ETA"


#: What becomes of tasks that workers hold until their ETA.
LATER = "Tasks that are held until their ETA run then in these pods, or go back to the queue when the pods stop."


def ask_held(cluster: Cluster, deployment: Object, consumes: str = "", patience: int = 0) -> Held:
    """Ask what the workers of a Deployment hold.

    :param consumes: what they are told: one of L(PAUSE) and L(RESUME), or nothing.
    :param patience: seconds in which something may change, or come to its end.
    :raises ClusterError: if its pods cannot be listed.
    """
    listed = pods_of(deployment, cluster.pods_selected_by(deployment))
    alive = [pod for pod in listed if not pod["metadata"].get("deletionTimestamp")]
    own = [pod for pod in alive if runs(pod)]
    pods = {str(pod["metadata"]["name"]): restarts_of(pod) for pod in own}
    starting = _names(pod for pod in alive if _starts(pod))
    found = Held(
        pods,
        starting=starting,
        down=len(alive) - len(own) - len(starting),
        leaving=_names(pod for pod in listed if pod["metadata"].get("deletionTimestamp") and runs(pod)),
    )
    asked = ready_pod(own)
    if asked is None:
        return replace(found, error="no pod is ready" if own else "")
    answer = ask(cluster, asked, _question(deployment, pods, consumes, patience), patience + _OVERHEAD)
    if answer.works is None and answer.running == ():
        # Where there is no Celery, nothing runs.
        return Held()
    works = {
        pod: PodWork(
            tuple((str(name), float(seconds)) for name, seconds in work["running"]),
            int(work["reserved"]),
            int(work["later"]),
            bool(work["queues"]),
        )
        for pod, work in (answer.works or {}).items()
    }
    return replace(found, works=works, waiting=answer.waiting, error=answer.error)


def _names(pods: Iterable[Object]) -> tuple[str, ...]:
    return tuple(sorted(str(pod["metadata"]["name"]) for pod in pods))


def _starts(pod: Object) -> bool:
    """Whether a pod that does not run has a node, and nothing keeps it from running soon."""
    status = pod.get("status") or {}
    states = [item.get("state") or {} for item in status.get("containerStatuses") or []]
    reasons = {(state.get("waiting") or {}).get("reason", "ContainerCreating") for state in states}
    has_node = condition(pod, "PodScheduled").get("status") == "True"
    return status.get("phase") == "Pending" and has_node and reasons <= {"ContainerCreating", "PodInitializing"}


def restarts_of(pod: Object) -> int:
    """How often the worker of a pod has started again."""
    name = app_container(pod["spec"], str(pod["metadata"]["name"])).get("name")
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(item.get("restartCount") or 0) for item in statuses if item.get("name") == name)


def _question(deployment: Object, pods: Iterable[str], consumes: str, patience: int) -> Question:
    words = worker_words_of(deployment)
    options = written_options(words)
    queues = _named(options.get("queues"))
    return Question(
        app=app_of(words),
        group="",
        settings=settings_in(words),
        queues=queues,
        excluded=_named(options.get("exclude-queues")),
        pods=tuple(sorted(pods)),
        consumes=consumes,
        counts=bool(queues),
        watches=True,
        patience=patience,
        timeout=_ANSWER,
    )


def _named(option: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (option or "").split(",")))
