# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe a fleet, the same for every module that computes from one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .._celery.brokers import REDIS_POLICIES
from .._model.observed import Observed
from .._model.watching import PARTS
from .._schema.layers import PREFIX, Layer
from .._schema.versions import Versions
from .inventory import CONFLICT_POLICIES, DELIVERIES
from .reader import LAYERED, Inventory


def fleet_options(required: bool = True) -> dict[str, Any]:
    """Argument spec of the fleet options; the documentation is the fragment of the same name.

    :param required: whether the namespace must be given.
    """
    return {
        "namespace": {"type": "str", "required": required},
        "fleet": {"type": "str", "default": ""},
        "preset": {"type": "str", "default": "", "choices": ["", "openedx"]},
        "services": {"type": "dict", "default": {}},
        "config": {"type": "dict", "default": {}},
        "queue_defaults": {"type": "dict", "default": {}},
        "broker": {"type": "dict", "default": {}},
        "explicit_queues": {"type": "dict", "default": {}},
        "openedx_routing": {"type": "str", "default": "", "choices": ["", "recommended"]},
        "openedx_release": {"type": "str", "default": ""},
        "routing_delivery": {"type": "str", "default": "none", "choices": list(DELIVERIES)},
        "autoscaler_conflict": {"type": "str", "default": "fail", "choices": list(CONFLICT_POLICIES)},
        "take_over": {"type": "bool", "default": False},
        **{part: {"type": "dict", "default": {}} for part in PARTS},
        **{f"{part}_enabled": {"type": "bool", "default": False} for part in PARTS},
        "prometheus": {"type": "raw", "default": {}},
        "output": {"type": "str", "default": "cluster", "choices": ["cluster", "manifests"]},
        "versions": {
            "type": "dict",
            "default": {},
            "options": {item.name: {"type": "raw", "default": ""} for item in fields(Versions)},
        },
        "layers": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"name": {"type": "str", "required": True}, "value": {"type": "raw"}},
        },
        "variable_names": {"type": "list", "elements": "str", "default": []},
        "known_variables": {"type": "list", "elements": "str", "default": []},
    }


def observed_option() -> dict[str, Any]:
    """Argument spec of the option that hands over what runs."""
    return {"observed": {"type": "dict", "default": {}}}


def routing_options() -> dict[str, Any]:
    """Argument spec of the options of a generated Tutor plugin."""
    return {
        "disable_hpa": {"type": "bool", "default": False},
        "redis_policy": {"type": "str", "default": "", "choices": ["", *REDIS_POLICIES]},
    }


def inventory_from(params: Mapping[str, Any], observed: Observed | None = None) -> Inventory:
    """The inventory that a module's parameters describe.

    :param observed: what runs; None while nobody has looked, so that nothing is asked of what only a cluster knows.
    """
    base = tuple(Layer(PREFIX + name, params[name]) for name in LAYERED if params[name])
    layers = tuple(Layer(layer["name"], layer["value"]) for layer in params["layers"])
    return Inventory(
        namespace=params["namespace"] or "",
        fleet=params["fleet"],
        preset=params["preset"],
        layers=base + layers,
        explicit_queues=params["explicit_queues"],
        openedx_routing=params["openedx_routing"],
        openedx_release=params["openedx_release"],
        routing_delivery=params["routing_delivery"],
        autoscaler_conflict=params["autoscaler_conflict"],
        take_over=params["take_over"],
        enabled=tuple(part for part in PARTS if params[f"{part}_enabled"]),
        output=params["output"],
        observed=observed,
        versions=params["versions"],
        known_variables=tuple(params["known_variables"]),
        variable_names=tuple(params["variable_names"]),
    )
