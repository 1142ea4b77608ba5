# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two small files that a ConfigMap brings into the worker's container, for the heartbeat and for settings.

The worker is started by one of them and not by an environment variable: an injected PYTHONPATH would replace the
image's own.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence

from .._model.broker import Broker
from .._model.fleet import Variant
from .brokers import sentinel_addresses
from .programs import check, start

HEARTBEAT_MOUNT = "/celery-heartbeat"
LAUNCHER = f"{HEARTBEAT_MOUNT}/start.py"
SENTINEL_USERNAME, SENTINEL_PASSWORD = start.SENTINEL_USERNAME, start.SENTINEL_PASSWORD

#: What the ConfigMap holds.
FILES = {"start.py": inspect.getsource(start), "check.py": inspect.getsource(check)}


def files_hash() -> str:
    """Changes when the files change, so that pods roll with them."""
    content = "\0".join(f"{name}\0{text}" for name, text in sorted(FILES.items()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def needs_launcher(variant: Variant, broker: Broker | None) -> bool:
    """Whether the worker is started by one of our files."""
    wanted = variant.pod.probe.type == "heartbeat" or variant.process.enforce_settings
    return wanted or bool(sentinel_password(broker))


def sentinel_password(broker: Broker | None) -> tuple[str, str] | None:
    """Secret and key with the password of the sentinels themselves."""
    if broker is None or broker.type != "redis-sentinel":
        return None
    if broker.secret is not None and broker.secret.sentinel_password_key:
        return broker.secret.name, broker.secret.sentinel_password_key
    return (broker.own_secret, "sentinel_password") if broker.sentinel_password else None


def start_command(python: Sequence[str]) -> list[str]:
    """Command of the container; its arguments stay those of C(celery)."""
    return [*python, LAUNCHER]


def check_command(python: str, limit: int, broker: Broker | None) -> list[str]:
    """Command of the probe.

    :param limit: seconds after which the file is stale.
    """
    return [python, f"{HEARTBEAT_MOUNT}/check.py", str(limit), *broker_addresses(broker)]


def broker_addresses(broker: Broker | None) -> list[str]:
    """Host and port of the broker, or of each sentinel; empty where nobody says."""
    if broker is None:
        return []
    if broker.hosts:
        return sentinel_addresses(broker)
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    return [f"{host}:{broker.port}"] if host else []
