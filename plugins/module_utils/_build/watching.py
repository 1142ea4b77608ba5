# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that watches a fleet but Flower itself. Pure functions of Fleet and Observed."""

from __future__ import annotations

from typing import Any

from .._model.fleet import Fleet
from .._model.observed import API_VERSIONS, NOTHING, Observed
from .alerts import rule_resources
from .dashboards import dashboard_kind, dashboard_resources
from .exporter import exporter_resources
from .flower import flower_resources
from .monitors import MONITOR_KINDS, monitor_resources


def monitoring_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Exporter, monitors, alerts and dashboard, in the order in which they are applied."""
    return [
        *exporter_resources(fleet, observed),
        *monitor_resources(fleet, observed),
        *rule_resources(fleet, observed),
        *dashboard_resources(fleet, observed),
    ]


def watching_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Everything beside the workers."""
    return [*flower_resources(fleet, observed), *monitoring_resources(fleet, observed)]


def skipped(fleet: Fleet, observed: Observed) -> list[str]:
    """What is wanted and cannot be made, because the cluster does not know its kind; each with what to do."""
    return [
        f"The cluster does not know {kind} ({API_VERSIONS[kind]}), so {variable} makes none. {mend}"
        for kind, (variable, mend) in _wanted_kinds(fleet).items()
        if kind in observed.missing_kinds
    ]


def _wanted_kinds(fleet: Fleet) -> dict[str, tuple[str, str]]:
    """Kinds of which a cluster may know nothing, each with who asks for it and the ways out."""
    monitoring, found = fleet.monitoring, {}
    flower, monitor, dashboard = monitoring.flower, monitoring.service_monitor, monitoring.dashboard
    operator = "Install the Prometheus Operator"
    if flower is not None and flower.http_route is not None:
        found["HTTPRoute"] = (
            "celery_workers_flower.http_route",
            "Install the Gateway API, or expose Flower with ingress.",
        )
    if monitor is not None and monitor.type in MONITOR_KINDS:
        found[MONITOR_KINDS[monitor.type]] = (
            "celery_workers_service_monitor",
            f"{operator}, or write celery_workers_service_monitor: {{type: annotations}}.",
        )
    if monitoring.prometheus_rule is not None:
        found["PrometheusRule"] = (
            "celery_workers_prometheus_rule",
            f"{operator}, or give the rules to Prometheus as a file, as docs/monitoring.md shows.",
        )
    if dashboard is not None and dashboard_kind(dashboard) == "GrafanaDashboard":
        found["GrafanaDashboard"] = (
            "celery_workers_dashboard",
            "Install the Grafana operator, or write celery_workers_dashboard: {delivery: config_map}.",
        )
    return found
