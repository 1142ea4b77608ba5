# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at queues right before their last workers go, and right after: what a plan has counted may be minutes old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from ansible_collections.queueops.celery.plugins.module_utils._cluster.leaving import (
    REMOVED,
    Leaving,
    Rest,
    come_meanwhile,
    rests,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import Cluster, ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import Step
from ansible_collections.queueops.celery.plugins.plugin_utils._draining import StepError


@dataclass
class LastLooks:
    """Both looks of one run.

    :param cluster: opens the cluster.
    :param key_change: what becomes of work that would be left behind.
    :param before: what was counted before they went, where that was accepted.
    """

    cluster: Callable[[], Cluster]
    fleet: Fleet
    key_change: str
    notes: list[str]
    warnings: list[str]
    before: list[Rest] = field(default_factory=list)

    def count(self, step: Step) -> None:
        """Count what has come since the plan was made.

        :raises StepError: where something has.
        """
        leaving = _leaving_of(step)
        if self.key_change == "accept":
            # Who accepts it is told of it, and these pods may be the last that know.
            self.before = list(rests(self.cluster(), self.fleet.name, leaving))
            return
        drains = self.key_change == "drain" and leaving[0].what == REMOVED
        found = come_meanwhile(self.cluster(), self.fleet, leaving, drains)
        if found:
            raise StepError("\n".join([step.reason, *found]))

    def tell(self, step: Step) -> None:
        """Say what stays where no worker consumes it any more."""
        try:
            after = {rest.queue: rest for rest in rests(self.cluster(), self.fleet.name, _leaving_of(step))}
        except ClusterError:
            # What was to be done is done.
            after = {}
        before = {rest.queue: rest for rest in self.before}
        known = {queue: rest for queue, rest in after.items() if rest.number is not None}
        if self.key_change == "accept":
            self.notes += filter(None, (rest.accepted for rest in {**after, **before, **known}.values()))
        else:
            self.warnings += filter(None, (rest.surprise for rest in known.values()))


def _leaving_of(step: Step) -> list[Leaving]:
    return [Leaving(**{name: item[name] for name in _LEAVING}) for item in step.objects]


_LEAVING = tuple(item.name for item in fields(Leaving))
