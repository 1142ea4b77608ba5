# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small inventories for the tests: one service `billing` with one variant, and what the model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX, Layer
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

Manifest = dict[str, Any]

REDIS = {"host": "redis"}
IMAGE = "registry.example/billing:1.4"
#: The keys of the Tutor plugin that switch scaling on, with one pod that stays.
SCALED = {"enable_keda": True, "min_replicas": 1}


#: The same where every task may run twice, so that KEDA sees running work and may go to zero.
TRACKED = {"enable_keda": True, "idempotent": True}


#: Variables that have no layers, and what runs.
_OPTIONS = (
    "observed",
    "openedx_routing",
    "openedx_release",
    "routing_delivery",
    "autoscaler_conflict",
    "take_over",
    "enabled",
    "output",
)


def inventory(
    namespace: str = "shop",
    fleet: str = "",
    preset: str = "",
    explicit_queues: Any = None,
    versions: Mapping[str, Any] | None = None,
    **variables: Any,
) -> Inventory:
    """An inventory from its variables, without their prefix: C(services=…, config__50_campus=…)."""
    options = {name: variables.pop(name) for name in _OPTIONS if name in variables}
    layers = tuple(Layer(PREFIX + name, value) for name, value in variables.items())
    return Inventory(namespace, fleet, preset, layers, explicit_queues, versions or {}, **options)


def one_variant(
    keys: Any = None, service: Mapping[str, Any] | None = None, broker: Any = None, variant: str = "default"
) -> dict[str, Any]:
    """Variables of one service with one variant."""
    return {
        "services": {"billing": {"image": IMAGE, **(service or {})}},
        "config": {"billing": {variant: keys}},
        "broker": REDIS if broker is None else broker,
    }


def fleet_of(**variables: Any) -> Fleet:
    """What the model makes of an inventory."""
    return parse_fleet(inventory(**variables))


def variant_of(keys: Any = None, **rest: Any) -> Variant:
    """The one variant of an inventory."""
    return fleet_of(**one_variant(keys, **rest)).variants[0]


def problems_of(**variables: Any) -> list[str]:
    """Every problem of an inventory, as a person reads it."""
    with pytest.raises(InventoryError) as caught:
        parse_fleet(inventory(**variables))
    return [str(problem) for problem in caught.value.problems]


def problems_with(keys: Any = None, **rest: Any) -> list[str]:
    """Every problem of an inventory with one variant."""
    return problems_of(**one_variant(keys, **rest))


def manifests_of(fleet: Fleet, observed: Observed = NOTHING) -> list[Manifest]:
    """Everything that a fleet asks for, in the order in which it is applied."""
    return [*worker_resources(fleet, observed), *scaler_resources(fleet, observed)]


def manifests_with(keys: Any = None, observed: Observed = NOTHING, **rest: Any) -> list[Manifest]:
    """Manifests of an inventory with one variant."""
    return manifests_of(fleet_of(**one_variant(keys, **rest)), observed)


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """The manifests of one kind."""
    return [item for item in manifests if item["kind"] == kind]


def deployment_with(keys: Any = None, observed: Observed = NOTHING, **rest: Any) -> Manifest:
    """The Deployment of the one variant."""
    return of_kind(manifests_with(keys, observed, **rest), "Deployment")[0]


def container_with(keys: Any = None, **rest: Any) -> Manifest:
    """The worker's container of the one variant."""
    containers: list[Manifest] = deployment_with(keys, **rest)["spec"]["template"]["spec"]["containers"]
    return containers[0]


def scaled_object_with(keys: Mapping[str, Any] | None = None, **rest: Any) -> Manifest:
    """The ScaledObject of the one variant."""
    return of_kind(manifests_with({**SCALED, **(keys or {})}, **rest), "ScaledObject")[0]
