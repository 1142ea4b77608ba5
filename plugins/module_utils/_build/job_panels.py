# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row of the dashboard about workers that run as Jobs."""

from __future__ import annotations

from .grafana import Panel, Query, Row
from .promql import BACKLOG, IN_FLIGHT, TOTAL, Scope, duration, newly_failed, select

_NO_KEDA = "no data: is KEDA's operator scraped?"
_NO_JOBS = "no Job: is kube-state-metrics scraped?"
#: Seconds for which a failure is shown.
_NEWS = 3600


def jobs_row(scope: Scope) -> Row:
    """Outstanding work and the Jobs for it.

    :param scope: the variants that the page chooses.
    """
    job = scope.of_deployment("job_name", "-[a-z0-9]+")
    active = f"{select('kube_job_status_active', scope.in_namespace, job)} == 1"
    new = newly_failed(scope, duration(_NEWS), job)
    return Row(
        "Jobs: ${variant}",
        (
            Panel(
                "Outstanding work of Jobs",
                "Messages that wait and that workers hold, as KEDA reads them to know how many Jobs there should be.",
                (
                    Query(_read(scope, BACKLOG), "{{namespace}} waiting"),
                    Query(_read(scope, IN_FLIGHT), "{{namespace}} in flight"),
                    Query(_read(scope, TOTAL), "{{namespace}} waiting and in flight"),
                ),
                width=12,
                no_value=_NO_KEDA,
            ),
            Panel(
                "Jobs",
                "Jobs that have not ended, started or not, and those whose worker failed in the last hour.",
                (
                    Query(f"count by (namespace) ({active})", "{{namespace}} running or starting"),
                    Query(f"count by (namespace) ({new})", "{{namespace}} failed"),
                ),
                width=12,
                steps=True,
                no_value=_NO_JOBS,
            ),
        ),
    )


def _read(scope: Scope, triggers: str) -> str:
    """What KEDA reads for triggers whose names have a pattern."""
    metric, own = "keda_scaler_metrics_value", scope.of_deployment("scaledObject")
    kinds = (own, 'type="scaledjob"', f'scaler=~"{triggers}"')
    exported = select(metric, scope.match("exported_namespace", scope.namespace), *kinds)
    honoured = select(metric, 'exported_namespace=""', scope.in_namespace, *kinds)
    named = f'label_replace({exported} or {honoured}, "namespace", "$1", "exported_namespace", "(.+)")'
    return f"sum by (namespace) ({named})"
