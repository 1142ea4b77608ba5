# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as data: its steps, what it is made from, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._cluster.asking import AtRisk
from .._cluster.leaving import Left
from .._model.drains import PARALLEL
from .._model.observed import (
    NOTHING,
    Observed,
)

Object = dict[str, Any]
#: What an API server returned, by kind and name.
Live = Mapping[tuple[str, str], Object]
#: kubernetes.core's three-way merge of last applied, wanted and live: the patch that it would send.
Merge = Callable[[Object, Object, Object], Object]
#: What a step does with its objects.
DELETE, PATCH, APPLY, WAIT, ASK, WRITE, MOVE = "delete", "patch", "apply", "wait", "ask", "write", "move"
#: Waits until a pod of what takes over has come up, where its scaler starts one.
TRY = "try"
#: The same of Jobs that the run has changed, beside those that go on as they were.
TRY_CHANGED = "try changed"
#: Looks once more at what workers hold that have finished what they ran.
LOOK = "look"
#: Tells workers to take nothing, and waits until they run nothing; tells those that have started since; and tells them
#: to take work again.
DRAIN, DRAIN_AGAIN, RESUME = "drain", "drain again", "resume"
#: Undoes the drains that an earlier deploy has left. Who does not answer keeps its note, and stops nothing.
TAKE_BACK = "take back"
#: Deletes Jobs that never started and are not wanted as they are.
CLEAR = "clear"
#: Counts once more what waits where workers are about to go, and says afterwards what stays there.
COUNT, REST = "count", "rest"
SCALERS = ("ScaledObject", "HorizontalPodAutoscaler")
#: Stands for the version of a Secret that this run sends, until it is sent.
TO_COME = "changes"


@dataclass(frozen=True)
class Step:
    """One thing that a run does, with what it does it to.

    :param objects: manifests to apply, patches, definitions to delete, or what is waited for or asked. A Secret shows
        its keys only.
    :param is_strategic: of patches, whether lists in them are merged by key.
    :param is_change: of merge patches, whether they change what people see, and not only the record of the last apply.
    :param hides: whether what comes back may show what others keep in plain sight.
    :param reason: what a failing wait is about.
    :param undo: patches that take it back where the run ends before something is removed.
    :param wave: the Deployment that it is about, of steps that are left out where its workers do not finish in time.
    """

    name: str
    action: str
    objects: tuple[Object, ...] = ()
    is_strategic: bool = False
    is_change: bool = False
    hides: bool = False
    reason: str = ""
    undo: tuple[Object, ...] = ()
    wave: str = ""


@dataclass(frozen=True)
class Wishes:
    """What a run is asked for beside the inventory.

    :param checks: whether nothing may be changed (check mode).
    :param move_to: queue for what waits where no worker consumes any more; empty moves nothing.
    :param removes_data: whether claims go too, with what is in their volumes.
    :param history: runs of which a record is kept; 0 keeps none.
    """

    checks: bool = False
    creates_namespace: bool = False
    prunes: bool = False
    move_to: str = ""
    removes_data: bool = False
    key_change: str = "stop"
    waits: bool = True
    rollout: str = PARALLEL
    verifies: bool = False
    output: str = "cluster"
    on_openedx: bool = False
    openedx_release: str = ""
    redis_policy: str = ""
    disable_hpa: bool = False
    tutor_plugins_root: str = ""
    history: int = 0


@dataclass(frozen=True)
class Plan:
    """What a run does and what it says.

    :param manifests: everything that should be there, Secrets left out.
    :param steps: what the run does, in this order.
    :param notes: what is said of what the steps do.
    :param problems: why the run stops before its first step.
    :param missing: what a real run stops at and a dry run goes on without.
    :param unchanged: kind and name of what is as it should be.
    :param not_sent: what a dry run cannot send, because its namespace or its kind does not exist.
    :param adoptions: patches of Deployments that others made, for manifest files.
    """

    manifests: tuple[Object, ...] = ()
    steps: tuple[Step, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    not_sent: tuple[Object, ...] = ()
    adoptions: tuple[Object, ...] = ()
    secrets: tuple[str, ...] = ()
    secret_uses: tuple[dict[str, Any], ...] = ()
    generated: tuple[str, ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    flowers: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    deployments: tuple[str, ...] = ()
    scaled_objects: tuple[str, ...] = ()
    scaled_jobs: tuple[str, ...] = ()

    @property
    def workers(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Kinds that start workers, each with their names."""
        return ("Deployment", self.deployments), ("ScaledJob", self.scaled_jobs)


@dataclass(frozen=True)
class Sight:
    """What a run knows of its cluster.

    :param live: the objects as the API server returned them, as far as the fleet asks for them.
    :param risk: what running workers said.
    :param left: what waits in queues that the run leaves.
    """

    observed: Observed = NOTHING
    live: Live = field(default_factory=dict)
    risk: AtRisk = field(default_factory=AtRisk)
    left: Left = field(default_factory=Left)
