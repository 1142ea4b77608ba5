# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Prometheus finds Flower and the exporter: ServiceMonitors or PodMonitors of the Prometheus Operator."""

from __future__ import annotations

from typing import Any

from .._model.fleet import Fleet, Server
from .._model.names import EXPORTER, FLOWER, ownership_labels
from .._model.observed import NOTHING, Observed
from .._model.watching import Flower, ServiceMonitor
from .exporter import METRICS_PATH
from .flower import metrics_path
from .resources import resource

#: Processes that send tasks are named so in events (celery.utils.nodenames.anon_nodename, 5.6).
PRODUCER = r"gen[0-9]+@.*"

#: Kind by the key C(type). Annotations are no object of their own.
MONITOR_KINDS = {"service_monitor": "ServiceMonitor", "pod_monitor": "PodMonitor"}


def monitor_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """One monitor for all Flowers of a fleet, and one for all exporters."""
    monitoring, monitor = fleet.monitoring, fleet.monitoring.service_monitor
    if monitor is None or MONITOR_KINDS.get(monitor.type, "") in ("", *observed.missing_kinds):
        return []
    found = []
    if monitoring.flowers:
        path = metrics_path(monitoring.flower or Flower())
        found.append(_monitor(fleet, monitor, monitoring.flowers[0], FLOWER, path, observed))
    if monitoring.exporters:
        found.append(_monitor(fleet, monitor, monitoring.exporters[0], EXPORTER, METRICS_PATH, observed))
    return found


def _monitor(
    fleet: Fleet, monitor: ServiceMonitor, server: Server, component: str, path: str, observed: Observed
) -> dict[str, Any]:
    kind = MONITOR_KINDS[monitor.type]
    labels = ownership_labels(fleet.name, component=component)
    endpoint: dict[str, Any] = {"port": "http", "path": path, "interval": monitor.interval}
    if monitor.scrape_timeout:
        endpoint["scrapeTimeout"] = monitor.scrape_timeout
    if monitor.relabelings:
        endpoint["relabelings"] = list(monitor.relabelings)
    dropped = [{"sourceLabels": ["worker"], "regex": PRODUCER, "action": "drop"}] if monitor.drop_producers else []
    series = [*dropped, *monitor.metric_relabelings]
    if series:
        endpoint["metricRelabelings"] = series
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    spec = {
        "selector": {"matchLabels": labels},
        "namespaceSelector": {"matchNames": [fleet.namespace]},
        endpoints: [endpoint],
    }
    live = observed.find(kind, server.name)
    return resource(kind, fleet, server.name, labels, component, live, spec, monitor.labels)
