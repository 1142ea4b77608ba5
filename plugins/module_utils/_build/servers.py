# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Flower and the exporter have in common: a Deployment of one pod, its Service, and its settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._celery.brokers import transport_options, use_ssl
from .._celery.launcher import (
    SENTINEL_PASSWORD,
    SENTINEL_USERNAME,
    sentinel_password,
)
from .._model.broker import Broker
from .._model.fleet import Fleet, Server
from .._model.names import (
    SERVER_LABEL,
    ownership_labels,
    people_labels,
    settings_name,
)
from .._model.observed import Observed
from .resources import resource, strategy_over


@dataclass(frozen=True)
class SettingsFile:
    """A Python module with Celery settings, for a process without the app's own.

    :param content_hash: changes when the file changes, so that the pod rolls with it.
    """

    name: str
    text: str

    @property
    def content_hash(self) -> str:
        """A short hash of the content, which holds no secret."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def settings_file(broker: Broker, module: str) -> SettingsFile | None:
    """How to reach a broker whose URL does not say everything; None where it does.

    Passwords are read from the environment, because a ConfigMap shows its content.
    """
    ssl, options = use_ssl(broker), transport_options(broker, None, None)
    if not ssl and not options and sentinel_password(broker) is None:
        return None
    lines = ['"""How Celery reaches the broker."""', "", "import os", ""]
    if ssl:
        lines.append(f"broker_use_ssl = {ssl!r}")
    lines.append(f"broker_transport_options = {options!r}")
    if sentinel_password(broker) is not None:
        lines += [
            f'names = {{"username": "{SENTINEL_USERNAME}", "password": "{SENTINEL_PASSWORD}"}}',
            "login = {key: os.environ[name] for key, name in names.items() if os.environ.get(name)}",
            'broker_transport_options["sentinel_kwargs"] = login',
        ]
    return SettingsFile(f"{module}.py", "\n".join(lines) + "\n")


@dataclass(frozen=True)
class ServerObjects:
    """Makes the objects of one Flower or exporter."""

    fleet: Fleet
    server: Server
    component: str
    observed: Observed

    @property
    def labels(self) -> dict[str, str]:
        """Our own labels, which select the pod as well."""
        return {**ownership_labels(self.fleet.name, component=self.component), SERVER_LABEL: self.server.name}

    @property
    def people(self) -> dict[str, str]:
        """Labels for people."""
        return people_labels(self.fleet.name, self.server.name, self.component)

    @property
    def selector(self) -> dict[str, str]:
        """Labels that select the pod. Selectors are immutable: a Deployment keeps the one it has."""
        live = self.observed.find("Deployment", self.server.name)
        return dict(live.selector) if live is not None and live.selector else self.labels

    @property
    def config_map_name(self) -> str:
        """ConfigMap with the settings."""
        return settings_name(self.server.name)

    def make(
        self, kind: str, name: str, spec: dict[str, Any], annotations: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One object."""
        live = self.observed.find(kind, name)
        extra, notes = self.server.pod.labels, dict(annotations or {})
        return resource(kind, self.fleet, name, self.labels, self.component, live, spec, extra, notes)

    def config_map(self, settings: SettingsFile) -> dict[str, Any]:
        """The ConfigMap with the settings."""
        made = self.make("ConfigMap", self.config_map_name, {})
        del made["spec"]
        return {**made, "data": {settings.name: settings.text}}


def server_objects(
    objects: ServerObjects, template: dict[str, Any], port: int, metrics_path: str
) -> Iterator[dict[str, Any]]:
    """Deployment and Service."""
    labels = {**template["metadata"]["labels"], **objects.labels, **objects.selector}
    template = {**template, "metadata": {**template["metadata"], "labels": labels}}
    name = objects.server.name
    live = objects.observed.find("Deployment", name)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": objects.selector},
        # Two at a time would count every event twice, and a claim may be mounted once.
        "strategy": strategy_over(live, {"type": "Recreate"}),
        "template": template,
    }
    yield objects.make("Deployment", name, spec, objects.server.pod.annotations)
    ports = [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}]
    service = {"type": "ClusterIP", "selector": objects.selector, "ports": ports}
    yield objects.make("Service", name, service, _scrape_annotations(objects.fleet, port, metrics_path))


def _scrape_annotations(fleet: Fleet, port: int, path: str) -> dict[str, str]:
    """By which a Prometheus without the operator finds a Service."""
    monitor = fleet.monitoring.service_monitor
    if monitor is None or monitor.type != "annotations":
        return {}
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": path}


def environment(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Environment entries."""
    return [{"name": name, "value": value} for name, value in values.items()]
