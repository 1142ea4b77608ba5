# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what watches a fleet.

Keys of a part that is switched off are checked for their names and types only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from .._celery.brokers import place_of
from .._model.broker import Broker
from .._model.fleet import Monitoring, Server, Service
from .._model.names import server_name
from .._model.variant_keys import Pod
from .._model.watching import (
    SERVER_RISKS,
    Dashboard,
    Exporter,
    Flower,
    PrometheusRule,
    ServerPod,
    ServiceMonitor,
)
from .._schema.keys import key_names, key_of, read, refuse_unknown
from .._schema.kubernetes import merge
from .._schema.layers import Branch, nested, stack
from .._schema.problems import Problems

_VARIABLE = "celery_workers_"
_POD_KEYS = key_names(ServerPod)
_CLASSES: dict[str, type] = {
    "flower": Flower,
    "exporter": Exporter,
    "service_monitor": ServiceMonitor,
    "prometheus_rule": PrometheusRule,
    "dashboard": Dashboard,
}
_Part = TypeVar("_Part")

#: Names of Services are stricter than those of Deployments.
_SERVICE_NAME = re.compile(r"[a-z][-a-z0-9]{0,62}")


def read_monitoring(
    trees: Mapping[str, Branch],
    enabled: Collection[str],
    services: tuple[Service, ...],
    fleet_broker: Broker | None,
    problems: Problems,
) -> Monitoring:
    """What watches a fleet.

    :param trees: keys of each part.
    :param enabled: parts that are switched on.
    """
    reader = _Reader(trees, set(enabled), services, fleet_broker, problems)
    flower, flowers = reader.server("flower", Flower)
    exporter, exporters = reader.server("exporter", Exporter)
    return Monitoring(
        flower,
        exporter,
        reader.part("service_monitor", ServiceMonitor),
        reader.part("prometheus_rule", PrometheusRule),
        reader.part("dashboard", Dashboard),
        flowers,
        exporters,
        pods=reader.pods,
        accepted=reader.accepted,
        paths={f"{part}.{name}": node.path for part, tree in trees.items() for name, node in tree.children.items()},
    )


class _Reader:
    """Carries trees and problems through the reading of all parts."""

    def __init__(
        self,
        trees: Mapping[str, Branch],
        enabled: set[str],
        services: tuple[Service, ...],
        fleet_broker: Broker | None,
        problems: Problems,
    ) -> None:
        self.trees, self.enabled, self.services, self.problems = trees, enabled, services, problems
        self.fleet_broker = fleet_broker
        self.pods: dict[str, Pod] = {}
        self.accepted: dict[str, frozenset[str]] = {}

    def path(self, part: str, name: str) -> str:
        """Where a key of a part was written, or would be."""
        node = self.trees[part].children.get(name)
        return node.path if node is not None else f"{_VARIABLE}{part}.{name}"

    def part(self, part: str, cls: type[_Part]) -> _Part | None:
        """A part without pods; None where it is switched off."""
        tree = self.trees[part]
        with_pods = part in ("flower", "exporter")
        known = key_names(_CLASSES[part]) | (_POD_KEYS if with_pods else set())
        refuse_unknown(f"{_VARIABLE}{part}", tree, known, self.problems)
        keys = read(cls, tree, self.problems)
        return keys if part in self.enabled else None

    def server(self, part: str, cls: type[_Part]) -> tuple[_Part | None, tuple[Server, ...]]:
        """A part that runs beside each broker."""
        keys, written = self.part(part, cls), self._pod(part)
        if keys is None:
            return None, ()
        refused = self.problems.has(self.path(part, "accept_risks"))
        # Which risks would be accepted is not known, and what follows from that is not said.
        self.accepted[part] = frozenset(SERVER_RISKS if refused else written.accept_risks)
        pod = self.pods[part] = Pod(**{**_values(written), "image": getattr(keys, "image", "")})
        return keys, self._servers(part, getattr(keys, "name", None), pod)

    def _pod(self, part: str) -> ServerPod:
        tree, below = self.trees[part], {"resources": ServerPod().resources}
        kept = {name: child for name, child in tree.children.items() if tree.get(name) is not None}
        return read(ServerPod, stack(nested(below, "collection defaults"), Branch(kept, tree.path)), self.problems)

    def _servers(self, part: str, name: str | None, pod: Pod) -> tuple[Server, ...]:
        """One a broker. The first one has the plain name: that of the fleet's own broker, if anybody uses it."""
        places: dict[str, list[Service]] = {}
        sound = [service for service in self.services if service.broker is None or service.broker.is_sound]
        for service in sound:
            if service.broker is not None and service.broker.type != "sqs":
                places.setdefault(place_of(service.broker), []).append(service)
        if not places and len(sound) == len(self.services):
            kinds = {service.broker.type for service in self.services if service.broker is not None}
            why = (
                "SQS has neither events nor remote control, so there is nothing to show; leave it out."
                if kinds
                else f"no broker is known, and it listens to one; write {_VARIABLE}broker."
            )
            self.problems.add(f"{_VARIABLE}{part}_enabled", why)
        found = []
        shared = place_of(self.fleet_broker)
        for number, place in enumerate(sorted(places, key=lambda place: place != shared)):
            sharing = places[place]
            broker, names = sharing[0].broker, tuple(service.name for service in sharing)
            if broker is not None:
                own = server_name(part, "" if number == 0 else names[0])
                found.append(Server(part, name if name and number == 0 else own, broker, names, pod, number == 0))
        for server in found:
            if not _SERVICE_NAME.fullmatch(server.name):
                self.problems.add(
                    self.path(part, "name") if server.is_first else f"{_VARIABLE}{part}_enabled",
                    f"{server.name!r} cannot be the name of a Service, which begins with a letter and has at most 63 "
                    f"characters; {'write another name' if server.is_first else 'rename the service'}.",
                )
        return tuple(found)


def _values(pod: ServerPod) -> dict[str, Any]:
    values = {item.name: getattr(pod, item.name) for item in fields(ServerPod) if key_of(item)}
    del values["accept_risks"]
    ids = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
    values["security_context"] = merge("PodSecurityContext", ids, pod.security_context, keep_nulls=True)
    values["container_security_context"] = merge(
        "SecurityContext", {"readOnlyRootFilesystem": True}, pod.container_security_context, keep_nulls=True
    )
    return values
