# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that are about to go: they finish what they run, and take work again where they stay after all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import identity
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import Cluster, ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import DELETE, PATCH, Step
from ansible_collections.queueops.celery.plugins.modules.worker_drain import said, tell
from ansible_collections.queueops.celery.plugins.plugin_utils._draining import StepError, forgetting

Object = dict[str, Any]
Worker = tuple[str, str]


@dataclass
class Stopping:
    """What was told to take nothing, or to start nothing, and is still there.

    :param cluster: opens the cluster.
    :param patch: sends patches.
    :param timeout: seconds until running tasks are waited for no longer.
    """

    cluster: Callable[[], Cluster]
    patch: Callable[[list[Object]], None]
    namespace: str
    checks: bool
    timeout: int
    warnings: list[str]
    workers: list[Worker] = field(default_factory=list)
    undo: list[Object] = field(default_factory=list)
    #: What takes away the notes of Deployments whose workers were told.
    notes: list[Object] = field(default_factory=list)

    def finish(self, workers: list[Worker]) -> None:
        """Let workers finish what they run.

        :param workers: kind and name of each.
        :raises StepError: if some still run something when the time is over.
        """
        consumes, timeout = ("", 0) if self.checks else ("pause", self.timeout)
        # Some are told before the server goes away, should it.
        self.workers = [] if self.checks else workers
        found = self._told(workers, consumes, timeout)
        busy = [said(name, answer) for name, answer in found.items() if answer.running != ()]
        if busy and not self.checks:
            raise StepError(
                f"After {self.timeout} seconds these workers still run tasks, so they take work again and nothing is "
                f"replaced. {'; '.join(busy)}. Run again later, with a larger celery_workers_wait_timeout, or with "
                "celery_workers_key_change: accept, which cuts them."
            )

    def _told(self, workers: list[Worker], consumes: str, timeout: float) -> dict[str, Answer]:
        """What workers run that were told whether to take work."""
        found: dict[str, Answer] = {}
        for kind in dict.fromkeys(kind for kind, _name in workers):
            names = [name for own, name in workers if own == kind]
            found.update(tell(self.cluster(), names, consumes, timeout, kind))
        return found

    def follow(self, step: Step) -> None:
        """Note what a step has done to them."""
        gone = {identity(item) for item in step.objects} if step.action == DELETE else set()
        if step.action == PATCH or (gone and self.are_gone(step)):
            self.workers = []
        new = [*self.undo, *self.notes, *(() if self.checks else step.undo)]
        left = [item for item in new if identity(item) not in gone]
        self.undo = [item for item in left if item["kind"] != "Deployment"]
        self.notes = [item for item in left if item["kind"] == "Deployment"]

    def are_gone(self, step: Step) -> bool:
        """Whether a step removes all workers that take nothing."""
        return {f"{kind} {name}" for kind, name in self.workers} <= {identity(item) for item in step.objects}

    def take_back(self) -> None:
        """Let those that stay after all take work again. A warning says of which that is not sure."""
        self._start_again()
        workers, self.workers = self.workers, []
        # Jobs that take nothing end by themselves, and KEDA starts others. Who has no note of this run was drained by a
        # person, and stays so.
        noted = {str(item["metadata"]["name"]) for item in self.notes}
        names = [name for kind, name in workers if kind == "Deployment" and name in noted]
        if not names:
            return
        try:
            found = tell(self.cluster(), names, "resume", 0)
            left = [name for name, answer in found.items() if answer.error]
            self.warnings.extend(forgetting(self.cluster(), [name for name in names if name not in left]))
        except ClusterError:
            left = names
        self._forget([name for name in names if name not in left])
        if left:
            self.warnings.append(
                f"These workers were told to take no work, and could not be told to take work again: "
                f"{', '.join(left)}. "
                "Their pods take none until they are told: run again once the API server answers, or restart them "
                f"with kubectl rollout restart deployment {' '.join(left)} --namespace {self.namespace}."
            )

    def _forget(self, names: Collection[str]) -> None:
        """Take away the notes of workers that take work again. One that stays makes the next deploy tell them so."""
        notes = [item for item in self.notes if item["metadata"]["name"] in names]
        self.notes = []
        if notes:
            with suppress(ClusterError, StepError):
                self.patch(notes)

    def _start_again(self) -> None:
        """Let KEDA start Jobs again of what stays after all."""
        undo, self.undo = self.undo, []
        if not undo:
            return
        names = [str(item["metadata"]["name"]) for item in undo]
        try:
            self.patch(undo)
        except (ClusterError, StepError):
            self.warnings.append(
                f"ScaledJob {', '.join(names)} was paused before it was to go, and it could not be resumed: KEDA "
                "starts no Job of it. Run again once the API server answers, or resume it with kubectl annotate "
                f"scaledjob {' '.join(names)} autoscaling.keda.sh/paused- --namespace {self.namespace}."
            )
