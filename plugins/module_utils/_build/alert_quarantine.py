# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert for tasks that were put aside because they were lost too often."""

from __future__ import annotations

import json

from .._celery.in_flight import quarantines_of
from .alert_cases import DEPLOYMENT, TITLE, VALUE, Case, Rule
from .promql import select
from .recordings import Members


def in_quarantine(members: Members, cases: list[Case]) -> Rule:
    """Each variant names its own queues, because the exporter knows of no variants."""
    namespace = members.scope.in_namespace
    each = []
    for case in cases:
        queues = [json.dumps(queue, ensure_ascii=False) for queue in quarantines_of(case.variant)]
        lengths = " or ".join(select("celery_queue_length", namespace, f"queue_name={queue}") for queue in queues)
        total = f"sum (max by (queue_name) ({lengths}))"
        each.append(f'label_replace({total}, "deployment", "{case.variant.deployment}", "", "")')
    lengths = members.joined(f"({' or '.join(each)})", [case.variant.deployment for case in cases])
    return Rule(
        f"{lengths} > 0",
        0,
        f"Tasks of {TITLE} are in quarantine.",
        f"{VALUE} tasks of Deployment {DEPLOYMENT} in {members.fleet.namespace} killed the process that ran them, as "
        "often as max_starts allows, and were put aside. Look at them, give them back or drop them with "
        "queueops.celery.quarantine.",
    )


def has_quarantines(case: Case) -> bool:
    """Whether a variant has some, and something measures them."""
    exporters = case.fleet.monitoring.exporters if case.fleet.monitoring.exporter is not None else ()
    return bool(quarantines_of(case.variant)) and any(case.variant.service in one.services for one in exporters)
