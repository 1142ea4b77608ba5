# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbooks that change how variants are scaled and whether they take work, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import missing_rights
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    Observed,
    observed_object,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.selection import Selection, select
from ansible_collections.queueops.celery.plugins.module_utils._plan.boosting import BoostWish, plan_boost
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import Plan
from ansible_collections.queueops.celery.plugins.module_utils._plan.draining import DrainWish, plan_drain, plan_resume
from ansible_collections.queueops.celery.plugins.module_utils._plan.pausing import (
    PauseWish,
    plan_pause,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.moments import read_moment
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun, Result
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore

#: Kinds that such a run reads.
_KINDS = ("Deployment", "ScaledObject")
_JOBS = "ScaledJob"
#: What the plan of one operation is made from.
_Planner = Callable[[Fleet, Selection, Observed, Problems], Plan]


class DayTwoRun(FleetRun):
    """One such run over one host."""

    cluster: DirectCluster | None = None

    def pause(self) -> Result:
        """Pause the chosen variants."""
        return self._guarded(lambda: self._change(self._pause), "pause")

    def boost(self) -> Result:
        """Give them a floor for some time."""
        return self._guarded(lambda: self._change(self._boost), "boost")

    def drain(self) -> Result:
        """Let them take nothing new, and wait until they run nothing."""
        return self._guarded(lambda: self._change(self._drain), "drain")

    def resume(self) -> Result:
        """Resume them."""
        return self._guarded(lambda: self._change(self._resume), "resume")

    def _pause(self, fleet: Fleet, chosen: Selection, observed: Observed, problems: Problems) -> Plan:
        variables = self.variables
        wish = PauseWish(
            now=self.now,
            direction=variables.text("pause_direction"),
            replicas=variables.value("pause_replicas"),
            until=self._until("pause_until", problems),
            reason=variables.text("pause_reason"),
            by=self.by,
        )
        return plan_pause(fleet, chosen, observed, wish)

    def _boost(self, fleet: Fleet, chosen: Selection, observed: Observed, problems: Problems) -> Plan:
        variables = self.variables
        wish = BoostWish(
            now=self.now,
            floor=variables.value("boost_min"),
            until=self._until("boost_until", problems),
            reason=variables.text("boost_reason"),
            by=self.by,
        )
        problems.raise_any()
        return plan_boost(fleet, chosen, observed, self.cluster.live if self.cluster is not None else {}, wish)

    def _drain(self, fleet: Fleet, chosen: Selection, observed: Observed, _problems: Problems) -> Plan:
        return plan_drain(fleet, chosen, observed, DrainWish(self.now, self.variables.text("drain_reason"), self.by))

    @staticmethod
    def _resume(fleet: Fleet, chosen: Selection, observed: Observed, _problems: Problems) -> Plan:
        return plan_resume(fleet, chosen, observed)

    def _until(self, name: str, problems: Problems) -> datetime | None:
        """The time that a variable names; None if it is empty."""
        text = self.variables.text(name)
        try:
            return read_moment(text, self.now) if text else None
        except ValueError as error:
            problems.add(f"celery_workers_{name}", f"{error}.")
            return None

    def _change(self, planner: _Planner) -> None:
        variables, problems = self.variables, Problems()
        if variables.text("output") == "manifests":
            problems.add(
                "celery_workers_output",
                "manifests writes files, and this playbook changes what runs in a cluster. Write it into the inventory "
                "(keys paused and min_replicas), or run it with -e celery_workers_output=cluster.",
            )
            problems.raise_any()
        fleet = parse_fleet(variables.inventory())
        chosen = select(fleet, variables.value("only"), problems)
        core = self.connect(variables.connection)
        observed = Observed() if problems.found else self._observed(core, fleet)
        found = planner(fleet, chosen, observed, problems)
        problems.raise_any()
        self._carry_out(core, fleet, observed, found)

    def _observed(self, core: KubernetesCore, fleet: Fleet) -> Observed:
        self.cluster = core.open(fleet.namespace, self.variables.hidden)
        needs_jobs = any(variant.runs_as_jobs for variant in fleet.variants)
        listed = [(kind, self.cluster.list_objects(kind, API_VERSIONS[kind])) for kind in _KINDS]
        listed.append((_JOBS, _scaled_jobs(self.cluster, needs_jobs)))
        objects = tuple(observed_object(kind, raw) for kind, items in listed for raw in items or ())
        return Observed(objects, now=self.now)

    def _carry_out(self, core: KubernetesCore, fleet: Fleet, observed: Observed, found: Plan) -> None:
        self.warnings.extend(found.warnings)
        if found.problems:
            self.result.update(failed=True, msg="\n".join(found.problems), problems=list(found.problems))
            return
        try:
            self._execute(core, self.cluster, fleet, observed, found, [])
        finally:
            # What single steps have said, also where a later one failed.
            self.screen.show(self.result["notes"])
        said = list(found.notes)
        if self.checks and found.steps:
            dry = "check mode: nothing was sent"
            said.insert(0, f"{dry}. Without --check:" if said else f"{dry}, and no worker was told to stop")
        self._say(said)
        self.screen.show(said)


def _scaled_jobs(cluster: DirectCluster, are_needed: bool) -> list[dict[str, Any]] | None:
    """The ScaledJobs. An inventory that asks for none has those that it asked for before, until it is deployed."""
    try:
        return cluster.list_objects(_JOBS, API_VERSIONS[_JOBS])
    except ClusterError as error:
        if are_needed or not missing_rights(str(error)):
            raise
        return None
