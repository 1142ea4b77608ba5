# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until what was sent has come up, and says why it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import grants
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import (
    Looks,
    Waiting,
    patience,
    probe_failure,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    MOUNTED_SOON,
    Cluster,
    ClusterError,
    fleet_deployments,
    look,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.started_jobs import look_at_jobs
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import covers
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import TRY, Step
from ansible_collections.queueops.celery.plugins.module_utils._plan.trying import untried, untried_changes
from ansible_collections.queueops.celery.plugins.plugin_utils._draining import StepError
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import progress_line

#: Seconds between two looks at what is not up yet; the last one repeats.
_PAUSES = (0.5, 1.0, 2.0, 5.0)
#: Seconds after which a line says again what is waited for.
_SAY_AGAIN = 15
#: Kinds that KEDA says of whether it works by them.
_KEDA = ("ScaledObject", "ScaledJob")
#: What is waited for where nothing can be read.
_SERVER = "the API server"

Look = Callable[[bool], list[Waiting]]


@dataclass
class Waits:
    """Waits for what steps name.

    :param cluster: opens the cluster.
    :param timeout: seconds to wait, longer where a worker is given longer to start.
    :param tell: shows a line while it waits.
    :param clean: takes secret values out of a text.
    :param waited: seconds that all of it has taken.
    """

    cluster: Callable[[], Cluster]
    fleet: Fleet
    timeout: int
    tell: Callable[[str], None]
    clean: Callable[[str], str]
    notes: list[str]
    warnings: list[str]
    waited: int = 0
    _untried: dict[str, str] = field(default_factory=dict)
    _left: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def until_up(self, step: Step) -> None:
        """Wait until Deployments, ScaledObjects and ScaledJobs are up.

        :raises StepError: if one of them is not.
        """
        names = [item["metadata"]["name"] for item in step.objects if item["kind"] == "Deployment"]
        objects, jobs = (_named(step, kind) for kind in _KEDA)
        count = len(names) + len(objects) + len(jobs)

        def seen(looks_for_mounts: bool) -> list[Waiting]:
            return look(self.cluster(), self.fleet.name, names, objects, looks_for_mounts, jobs)

        self._wait(step, seen, count)

    def until_tried(self, step: Step) -> None:
        """Wait until a pod has come up of each worker that takes over, or has changed, where KEDA starts one.

        :raises StepError: if KEDA has to start one, and it does not come up.
        """
        jobs, deployments = _named(step, "ScaledJob"), _named(step, "Deployment")
        start, self._untried, self._left = time.monotonic(), {}, {}
        if jobs:
            self._wait(step, lambda mounts: self._unproven(step, mounts, time.monotonic() - start), len(jobs))
        if deployments:
            self._wait(step, lambda _mounts: self._asleep(deployments), len(deployments))
        if step.action == TRY:
            self.notes += untried(self.fleet, self._untried)
        else:
            self.notes += untried_changes(self.fleet, self._untried, self._left)

    def _asleep(self, names: Collection[str]) -> list[Waiting]:
        """Notes which of some Deployments have no pod to be seen. There is nothing to wait for but the answer."""
        listed = fleet_deployments(self.cluster(), self.fleet.name)
        asleep = {item["metadata"]["name"] for item in listed if item["spec"].get("replicas") == 0}
        self._untried |= {name: "nothing waits" for name in names if name in asleep}
        return []

    def _unproven(self, step: Step, looks_for_mounts: bool, waited: float) -> list[Waiting]:
        """Which of some ScaledJobs have no Job that has come up, although KEDA starts some.

        :param waited: seconds since the first look.
        """
        names, takes_over = _named(step, "ScaledJob"), step.action == TRY
        try:
            found = look_at_jobs(self.cluster(), self.fleet.name, names, covers, looks_for_mounts, takes_over)
        except ClusterError as error:
            way = grants(str(error))
            if not way:
                raise
            giving = ", and workers give way to them" if takes_over else ""
            self.warnings.append(
                f"Whether a Job of {', '.join(names)} has come up is not known{giving}: {error} "
                f"See the first one with kubectl get pods; or {way}."
            )
            return []
        # Jobs that this run does not change are waited for where they are there, as the pods of a Deployment are.
        same = {item["metadata"]["name"] for item in step.objects if not item.get("changed", True)}
        found = {name: trial for name, trial in found.items() if trial.has_jobs or name not in same}
        # A run that waits for less time than that believes it earlier.
        patient = patience(self.fleet, self.timeout) / 2
        settled = {name for name, trial in found.items() if trial.untried and waited >= min(trial.settles, patient)}
        self._untried = {name: found[name].untried for name in settled}
        self._left = {name: found[name].left for name in settled}
        return [trial.waiting for name, trial in found.items() if trial.waiting is not None and name not in settled]

    def _wait(self, step: Step, seen: Look, count: int) -> None:
        start = time.monotonic()
        waiting, ends = self._until_none(seen, count, start)
        seconds = round(time.monotonic() - start)
        self.waited += seconds
        if waiting:
            said = [f"{item.name}: {self.clean(self._with_probe(item))}" for item in [*ends, *waiting]]
            raise StepError("\n".join([_why_it_ends(step, waiting, bool(ends), seconds), *dict.fromkeys(said)]))

    def _with_probe(self, item: Waiting) -> str:
        """Why something is not up, with what the kubelet says of a probe that fails. Not to be told it is no fault."""
        if not item.probed:
            return item.reason
        try:
            events = self.cluster().list_objects("Event", "v1", fields=f"involvedObject.name={item.probed}")
        except ClusterError:
            events = None
        return " ".join(part for part in (item.reason, probe_failure(events or [])) if part)

    def _until_none(self, seen: Look, count: int, start: float) -> tuple[list[Waiting], list[Waiting]]:
        """What is not up in the end, and what of it does not come up by itself."""
        pauses, said_at, said_last, looks = iter(_PAUSES), start, "", Looks()
        pause, timeout = 0.0, patience(self.fleet, self.timeout)
        while True:
            waiting = _seen(seen, time.monotonic() - start >= MOUNTED_SOON)
            now = time.monotonic()
            ends = looks.pointless(waiting, now)
            if not waiting or ends or now - start >= timeout:
                return waiting, ends
            line = progress_line(waiting, count)
            if line != said_last or now - said_at >= _SAY_AGAIN:
                self.tell(f"{line}, after {round(now - start)} s" if said_last else line)
                said_at, said_last = now, line
            pause = next(pauses, pause)
            time.sleep(max(0.0, min(pause, start + timeout - now)))


def _named(step: Step, kind: str) -> list[str]:
    return [str(item["metadata"]["name"]) for item in step.objects if item["kind"] == kind]


def _seen(seen: Look, looks_for_mounts: bool) -> list[Waiting]:
    """What is not up. A server that is away is waited for too: it may be its own update."""
    try:
        return seen(looks_for_mounts)
    except ClusterError as error:
        if not error.passes:
            raise
        return [Waiting(name=_SERVER, reason=str(error), progress="the API server does not answer")]


def _why_it_ends(step: Step, waiting: Collection[Waiting], early: bool, seconds: int) -> str:
    # What a step says of its objects is not known while the server does not answer.
    if step.reason and any(item.name != _SERVER for item in waiting):
        return step.reason
    if early:
        return (
            "Everything is applied, but this does not come up by itself, so the run waits no longer. Fix the cause "
            "below; a second run waits again."
        )
    return f"Everything is applied, but after {seconds} seconds this is not up. A second run waits again."
