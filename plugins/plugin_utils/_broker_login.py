# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How this machine logs in to the brokers of a fleet, as far as the variables of its host say."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secrets_of
from ansible_collections.queueops.celery.plugins.module_utils._celery.brokers import place_of
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reaching import (
    LibraryError,
    Login,
    count_directly,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import HostVariables

#: Seconds to wait for a broker that is asked beside other things.
_SHORT = 2


def login_of(fleet: Fleet, variables: HostVariables, broker: Broker, timeout: float = 10) -> Login:
    """The login that the variables hold."""
    for secret in secrets_of(fleet, variables.layers):
        if secret["metadata"]["name"] == broker.own_secret:
            data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
            return Login(data.get("password", ""), data.get("sentinel_password", ""), timeout=timeout)
    return Login(timeout=timeout)


def unreachable(broker: Broker | None) -> str:
    """Why a broker cannot be asked from here; empty where it can be tried."""
    if broker is not None and broker.secret is not None:
        return f"its login is in Secret {broker.secret.name}, which only pods read"
    if broker is None or not broker.is_known:
        return "the inventory does not say where it is"
    tls = broker.tls
    if tls is not None and (tls.ca_secret or tls.certificate_secret):
        return f"its certificates are in Secret {tls.ca_secret or tls.certificate_secret}, which only pods read"
    return ""


def count_from_here(fleet: Fleet, variables: HostVariables, variants: Iterable[Variant]) -> dict[str, Answer]:
    """What the queues of some variants hold, by Deployment. Each broker is asked once, and not for long."""
    groups: dict[str, tuple[Broker | None, list[Variant]]] = {}
    for variant in variants:
        broker = fleet.service_of(variant).broker
        groups.setdefault(place_of(broker), (broker, []))[1].append(variant)
    found: dict[str, Answer] = {}
    for broker, own in groups.values():
        why = unreachable(broker)
        try:
            if broker is not None and not why:
                found |= count_directly(broker, login_of(fleet, variables, broker, _SHORT), own)
        except LibraryError as error:
            why = str(error)
        found |= {item.deployment: Answer(error=f"the broker was not asked: {why}") for item in own if why}
    return found
