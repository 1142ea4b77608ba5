# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Secrets of an inventory, as the role takes them from its variables: redacted, read, and filled in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secrets_of
from ansible_collections.queueops.celery.plugins.module_utils._model.names import EXPORTER, FLOWER
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet


def secret_manifests(
    layers: list[dict[str, Any]],
    namespace: str,
    fleet: str = "",
    preset: str = "",
    observed: Observed = NOTHING,
    enabled: Collection[str] = (),
    output: str = "cluster",
) -> list[dict[str, Any]]:
    """The Secrets that a fleet needs, with their values. For the one task that sends them, and for nothing else.

    A value that nobody gives is generated here, unless the cluster has one.

    :param enabled: parts beside the workers that are wanted.
    :param output: as for the model.
    :raises InventoryError: for an inventory that no module would take either.
    """
    inventory = Inventory(
        namespace,
        fleet,
        preset,
        tuple(Layer(layer["name"], layer["value"]) for layer in redacted_layers(layers)),
        routing_delivery="tutor_plugin",
        enabled=tuple(set(enabled) & {FLOWER, EXPORTER}),
        output=output,
    )
    return secrets_of(parse_fleet(inventory), layers, observed, output)
