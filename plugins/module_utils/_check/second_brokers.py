# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker beside that of the inventory, which would give workers another one than their scaler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from .._celery.brokers import (
    AWS_ENDPOINT_VARIABLES,
    AWS_REGION_VARIABLES,
    is_second_broker,
    visible_value,
)
from .._model.broker import Broker
from .._model.fleet import Fleet, Service
from .._model.names import (
    WORKER_CONTAINER,
)
from .._model.variant_keys import Pod
from .._schema.problems import Problems


def check_second_brokers(fleet: Fleet, problems: Problems) -> None:
    """Variables that would send workers to another broker than the one that their scaler reads."""
    for service in fleet.services:
        if service.broker is not None and service.broker.is_sound:
            _check_second_broker(service, service.broker, problems)


def _check_second_broker(service: Service, broker: Broker, problems: Problems) -> None:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for variant in service.variants:
        for key, name in _second_brokers(variant.pod, WORKER_CONTAINER, broker) if not variant.adopted else ():
            found[variant.written_at(key), name].append(f"variant {variant.name}")
    if service.beat is not None:
        for key, name in _second_brokers(service.pod, "beat", broker):
            path = service.variants[0].written_at(key) if service.variants else f"{service.path}.{key}"
            found[path, name].append("beat")
    for (path, name), owners in found.items():
        ours, other = _instead(name, broker)
        problems.add(
            path,
            f"{name} would send {' and '.join(owners)} of service {service.name} to a broker of their own, which no "
            f"scaler reads. Leave it out: {ours}.{other}",
        )


def _instead(name: str, broker: Broker) -> tuple[str, str]:
    """Why a variable is not needed, and what to write where it means something else."""
    if name in AWS_REGION_VARIABLES:
        where = f"SQS is in {broker.region} ({broker.at('region')}), and workers and scaler go there"
        return where, " If the app uses something else of AWS in another region, name that region to its client."
    if name in AWS_ENDPOINT_VARIABLES:
        return "workers and scaler find SQS by its region", (
            f" If SQS has this address for workers and scaler, write it as {broker.at('endpoint')}."
        )
    ours = f"they get it as {broker.inject_env} from {broker.path}" if broker.inject_env else "the app names it"
    if name == broker.inject_env:
        return ours, f" If the app means something else by {name}, set inject_env on the broker to another name."
    return ours, ""


def _second_brokers(pod: Pod, container: str, broker: Broker) -> Iterable[tuple[str, str]]:
    """Key and name of each entry that names a broker for the container that runs Celery."""
    entries = [("env", entry) for entry in pod.env]
    entries += [
        ("pod_overrides", entry)
        for item in pod.pod_overrides.get("containers", ())
        if item.get("name") == container
        for entry in item.get("env", ())
    ]
    for key, entry in entries:
        if is_second_broker(broker, entry["name"], visible_value(entry)):
            yield key, entry["name"]
    for name in pod.secret_env:
        if is_second_broker(broker, name, None):
            yield "secret_env", name
