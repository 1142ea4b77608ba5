# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small inventories whose workers are watched, and the objects that come of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed

from tests.unit.inventories import IMAGE, Manifest, fleet_of, of_kind, one_variant

#: Brokers that two services may share, and one that is a single service's own.
SENTINEL: dict[str, Any] = {"type": "redis-sentinel", "hosts": ["one", "two:26380"], "master_name": "main"}
RABBITMQ: dict[str, Any] = {"type": "rabbitmq", "host": "rabbit", "virtual_host": "shop"}
SQS: dict[str, Any] = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}
OAUTH: dict[str, Any] = {
    "provider": "google",
    "client_id": "abc.apps.example",
    "client_secret": True,
    "redirect_uri": "https://flower.example.org/login",
    "allow": ".*@example.org",
}
INGRESS = {"ingress": {"host": "flower.example.org"}}
ROUTE = {"http_route": {"host": "flower.example.org", "gateway": "public"}}


def watched(*parts: str, broker: Any = None, **more: Any) -> dict[str, Any]:
    """Variables of one service whose workers are watched by these parts.

    :param more: keys of parts, and any other variable.
    """
    return {**one_variant({}, broker=broker), "enabled": parts, **more}


def services_with(brokers: Mapping[str, Any], broker: Any = None, **more: Any) -> dict[str, Any]:
    """Variables of several services.

    :param brokers: service to a broker of its own; None for the fleet's.
    """
    return {
        "services": {
            name: {"image": IMAGE, "queue_name": "{service}.{variant}", **({"broker": own} if own else {})}
            for name, own in brokers.items()
        },
        "config": {name: {"default": {}} for name in brokers},
        "broker": {"host": "redis"} if broker is None else broker,
        **more,
    }


def watching_of(fleet: Fleet, observed: Observed = NOTHING) -> list[Manifest]:
    """Every object that watches a fleet."""
    return watching_resources(fleet, observed)


def flower_with(keys: Any = None, observed: Observed = NOTHING, **rest: Any) -> list[Manifest]:
    """Every object of the one Flower of an inventory."""
    return watching_of(fleet_of(**watched("flower", flower=keys or {}, **rest)), observed)


def exporter_with(keys: Any = None, observed: Observed = NOTHING, **rest: Any) -> list[Manifest]:
    """Every object of the one exporter of an inventory."""
    return watching_of(fleet_of(**watched("exporter", exporter=keys or {}, **rest)), observed)


def one_of(manifests: list[Manifest], kind: str) -> Manifest:
    """The only object of a kind."""
    (found,) = of_kind(manifests, kind)
    return found


def pod_of(manifests: list[Manifest]) -> Manifest:
    """The pod of the only Deployment."""
    found: Manifest = one_of(manifests, "Deployment")["spec"]["template"]["spec"]
    return found


def container_of(manifests: list[Manifest]) -> Manifest:
    """The container of the only Deployment."""
    (found,) = pod_of(manifests)["containers"]
    container: Manifest = found
    return container


def env_of(manifests: list[Manifest]) -> dict[str, Any]:
    """Environment of that container: name to text, or to the Secret and key that hold it."""
    found = {}
    for entry in container_of(manifests)["env"]:
        reference = entry.get("valueFrom", {}).get("secretKeyRef", {})
        found[entry["name"]] = entry["value"] if "value" in entry else (reference["name"], reference["key"])
    return found
