# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Series that Prometheus computes once for all variants of a fleet, so that each alert is one short rule.

Every source has labels of its own (a ScaledObject, a pod, a worker). The recorded series have those of an alert: fleet,
namespace, service, variant and deployment. C(celery_variant:info) says which variants there are, and is joined to all
others, so nothing of another Deployment of the namespace comes in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._model.fleet import Fleet, Variant
from .promql import (
    ENDED,
    Scope,
    backlog,
    duration,
    events,
    executing,
    fully_paused,
    happened,
    in_flight_of_broker,
    in_window,
)
from .windows import CEILING_TRIGGERS, PAUSE_TRIGGERS

INFO = "celery_variant:info"
WAITING = "celery_variant:waiting"
HELD = "celery_variant:held"
EVENTS = "celery_variant:events:15m"
SUCCEEDED = "celery_variant:succeeded:5m"
#: Variants that are paused in both directions, so that no number of theirs can follow the work.
PAUSED = "celery_variant:paused"

#: Seconds in which tasks are counted.
WINDOW = 900

#: All sources are asked for one namespace, so that they meet in the Deployment.
ON_DEPLOYMENT = "on (deployment)"
#: Further labels of an alert.
NAMES = ("fleet", "namespace", "service", "variant")
#: Label of the group where a fleet has several. No alert has it.
PART = "part"


def ended(window: int) -> str:
    """Name of the series of tasks that ended in so many seconds."""
    return f"celery_variant:ended:{duration(window)}"


@dataclass(frozen=True)
class Members:
    """The variants that one group of rules is about.

    :param part: tells them from those of other groups of the same fleet; empty where there is one group.
    """

    fleet: Fleet
    deployments: tuple[str, ...]
    part: str = ""

    @property
    def scope(self) -> Scope:
        """Every Deployment of the namespace; which ones count, the join with the variants decides."""
        return Scope(self.fleet.namespace, "", by=("deployment",))

    @property
    def labels(self) -> dict[str, str]:
        """Labels that all series of the group have."""
        place = {"fleet": self.fleet.name, "namespace": self.fleet.namespace}
        return place | self.of_part

    @property
    def of_part(self) -> dict[str, str]:
        """The label by which groups of one fleet differ."""
        return {PART: self.part} if self.part else {}

    def select(self, deployments: Iterable[str] | None = None) -> str:
        """Matchers of recorded series: of some variants, or of all of these."""
        matchers = [f'{name}="{value}"' for name, value in self.labels.items()]
        wanted = self.deployments if deployments is None else tuple(deployments)
        if set(wanted) != set(self.deployments):
            matchers.append(f'deployment="{wanted[0]}"' if len(wanted) == 1 else f'deployment=~"{"|".join(wanted)}"')
        return f"{{{', '.join(matchers)}}}"

    def joined(self, series: str, deployments: Iterable[str] | None = None) -> str:
        """Series of Deployments with the labels of their variants."""
        names = (*NAMES, PART) if self.part else NAMES
        return f"{series} * {ON_DEPLOYMENT} group_left ({', '.join(names)}) {INFO}{self.select(deployments)}"


def info(members: Members, variant: Variant, texts: dict[str, str]) -> dict[str, Any]:
    """Says that a variant is there, with the labels of its alerts.

    :param texts: what descriptions say of it; no alert has them as labels.
    """
    own = {"service": variant.service, "variant": variant.name, "deployment": variant.deployment}
    return {"record": INFO, "expr": "vector(1)", "labels": {**members.labels, **own, **texts}}


def recordings(
    members: Members, held: dict[str, list[str]], windows: Iterable[int], needed: Iterable[str]
) -> list[dict[str, Any]]:
    """Rules of those series that the alerts need.

    :param held: Deployments by where it is known what their workers hold: C(redis), C(broker), or C(flower).
    :param windows: in which ended tasks are counted for the pace.
    :param needed: expressions of the alerts.
    """
    scope = members.scope
    found = {
        WAITING: members.joined(backlog(scope)),
        HELD: " or ".join(members.joined(_held(scope, how), deployments) for how, deployments in held.items()),
        EVENTS: members.joined(events(scope, f"task-started|{ENDED}", WINDOW, "type")),
        PAUSED: members.joined(f"({_paused(members)})"),
        SUCCEEDED: happened(scope, "task-succeeded", 300),
        **{ended(window): members.joined(events(scope, ENDED, window)) for window in windows},
    }
    asked = "\n".join(needed)
    # Whether a task succeeded is asked of Deployments only, so nothing is joined to it.
    rules = []
    for name, expr in found.items():
        labels = members.labels if name == SUCCEEDED else members.of_part
        if f"{name}{{" in asked:
            rules.append({"record": name, "expr": expr, **({"labels": labels} if labels else {})})
    return rules


def _paused(members: Members) -> str:
    """Deployments that start no pod for messages, because a person or a schedule said so."""
    paused = fully_paused(members.scope)
    return f"({paused}) or {in_window(members.scope, PAUSE_TRIGGERS)}" if 0 in _ceilings(members) else paused


def unpaused(members: Members) -> str:
    """Leaves out what is paused: it does not follow the work, as was asked for."""
    return f"unless {ON_DEPLOYMENT} {PAUSED}{members.select()}"


def unless_limited(members: Members) -> str:
    """Leaves out the time in which a schedule keeps the number of pods down."""
    if not any(_ceilings(members)):
        return ""
    return f" unless {ON_DEPLOYMENT} ({in_window(members.scope, CEILING_TRIGGERS)})"


def _ceilings(members: Members) -> set[int]:
    """The ceilings of all windows."""
    own = [item for item in members.fleet.variants if item.uses_keda and item.deployment in members.deployments]
    ceilings = {window.ceiling for item in own for window in item.scaling.schedule}
    return {ceiling for ceiling in ceilings if ceiling is not None}


def _held(scope: Scope, how: str) -> str:
    """Messages that workers hold."""
    return executing(scope) if how == "flower" else in_flight_of_broker(scope, how == "redis")
