# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From inventory variables to a Fleet. The only place that reads them.

Merge order of a variant: collection defaults, profile, what follows from known task times, preset, queue_defaults,
the service's own keys, config. Within each variable its numbered layers come last, ascending.
"""

from __future__ import annotations

from .._model.broker import Broker
from .._model.fleet import Fleet
from .._model.names import (
    fleet_broker_secret_name,
)
from .._model.observed import NOTHING
from .._model.watching import PARTS
from .._schema.kubernetes_values import DNS_LABEL
from .._schema.layers import (
    PREFIX,
    Leaf,
    nested,
    stack,
)
from .._schema.problems import Problems, nearest, suggest
from .._schema.versions import read_versions
from .adopted import with_queues_left
from .broker import read_broker, refused_broker
from .presets import PRESETS
from .prometheus import read_prometheus, with_measures
from .reader import LAYERED, Inventory, Reader
from .routes import read_routes
from .services import read_services
from .variable_names import check_variables
from .watching import read_monitoring

#: What may become of other autoscalers on our Deployments.
CONFLICT_POLICIES = ("fail", "transfer", "remove")
#: How producers get their routes.
DELIVERIES = ("none", "tutor_plugin", "settings_overlay", "task_routes")


def read_inventory(inventory: Inventory, problems: Problems, may_be_empty: bool = False) -> Fleet:
    """The fleet that an inventory describes, as far as it can be read. Nothing is judged here but what is written.

    :param may_be_empty: whether an inventory without services is one; computed from, it would ask for nothing at all.
    :raises InventoryError: where too little can be read to go on.
    """
    meant = inventory.preset if inventory.preset in PRESETS else nearest(inventory.preset, filter(None, PRESETS))
    reader = Reader(inventory, PRESETS[meant], problems)
    check_variables(inventory, problems)
    _check_preset(inventory, problems)
    namespace = DNS_LABEL(Leaf(inventory.namespace, f"{PREFIX}namespace"), problems)
    reader.versions = read_versions(inventory.versions, PREFIX, problems)
    if reader.fleet != inventory.namespace:
        DNS_LABEL(Leaf(reader.fleet, f"{PREFIX}fleet"), problems)
    fleet_broker = _fleet_broker(reader)
    _stop_without(reader, meant)
    services = read_services(reader, fleet_broker, may_be_empty)
    services = with_queues_left(services, inventory.observed or NOTHING, problems)
    prometheus = read_prometheus(reader.tree("prometheus"), inventory.namespace, problems)
    services = with_measures(services, prometheus, inventory.enabled, reader.versions.keda)
    routes = read_routes(reader, services)
    return Fleet(
        reader.fleet,
        namespace if isinstance(namespace, str) else "",
        services,
        versions=reader.versions,
        routes=routes,
        routing_delivery=inventory.routing_delivery,
        autoscaler_conflict=inventory.autoscaler_conflict,
        take_over=inventory.take_over,
        monitoring=read_monitoring(
            {part: reader.tree(part) for part in PARTS},
            inventory.enabled,
            services,
            fleet_broker,
            problems,
        ),
        prometheus=prometheus,
    )


def _stop_without(reader: Reader, preset: str) -> None:
    """Go no further where a part is missing that decides on all others: what is found in them would be no mistake.

    :raises InventoryError: with what was found so far.
    """
    for layered in LAYERED:
        reader.tree(layered)
    lacks_preset = not preset and any(problem.path == f"{PREFIX}preset" for problem in reader.problems.found)
    if lacks_preset or reader.refused & {"services", "config", "queue_defaults"}:
        reader.problems.raise_any()


def _check_preset(inventory: Inventory, problems: Problems) -> None:
    if inventory.preset not in PRESETS:
        near = suggest(inventory.preset, filter(None, PRESETS))
        problems.add(f"{PREFIX}preset", f"there is no preset {inventory.preset!r}; {near}")


def _fleet_broker(reader: Reader) -> Broker | None:
    """The broker of all services that have none of their own."""
    problems, preset = reader.problems, dict(reader.preset.broker)
    before = len(problems.found)
    written = reader.tree("broker")
    if len(problems.found) > before:
        return refused_broker(problems.found[-1].path)
    kind = written.get("type")
    if isinstance(kind, Leaf) and kind.value != preset.get("type"):
        # Of a broker of another type only this holds, that the app's settings name it.
        preset = {name: value for name, value in preset.items() if name == "inject_env"}
    tree = stack(nested(preset, f"preset {reader.inventory.preset}"), written)
    secret = fleet_broker_secret_name(reader.fleet)
    described = bool(written.children) or bool(reader.preset.broker)
    return read_broker(tree, described, secret, reader.inventory.namespace, problems)
