# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two small files that a ConfigMap brings into the worker's container, for the heartbeat and for settings.

The worker is started by one of them and not by an environment variable: an injected PYTHONPATH would replace the
image's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .._model.broker import Broker
from .._model.fleet import Variant
from .brokers import sentinel_addresses

HEARTBEAT_MOUNT = "/celery-heartbeat"
LAUNCHER = f"{HEARTBEAT_MOUNT}/start.py"
_BEAT_FILE = "/tmp/celery-heartbeat"

#: Environment in which the credentials of sentinels reach the worker.
SENTINEL_USERNAME = "CELERY_SENTINEL_USERNAME"
SENTINEL_PASSWORD = "CELERY_SENTINEL_PASSWORD"

START_SCRIPT = f'''\
"""Starts Celery as its own command does, and touches a file at every worker heartbeat.

What the command line sets is set over the app's own settings, which win where they stand under a prefix (CELERY_).
The password of Redis sentinels goes from the environment into the settings, because a command line would show it.
"""

import os
import pathlib
import sys

from celery import Celery, signals
from celery.__main__ import main

BEAT = pathlib.Path({_BEAT_FILE!r})
LEAVING = pathlib.Path({_BEAT_FILE!r} + "-leaving")
BEAT.unlink(missing_ok=True)
LEAVING.unlink(missing_ok=True)


@signals.worker_ready.connect(weak=False)
@signals.heartbeat_sent.connect(weak=False)
def alive(**_):
    BEAT.touch()


@signals.worker_shutting_down.connect(weak=False)
def leaving(**_):
    LEAVING.touch()


def put(conf, name, value):
    prefix = getattr(conf, "prefix", None) or ""
    conf[name] = value
    if prefix:
        conf[prefix + (name.upper() if prefix.isupper() else name)] = value


def config_from_cmdline(app, argv, namespace="celery"):
    # Before any task reads its settings; a signal of the worker would come too late for acks_late.
    by_command(app, argv, namespace)
    for word in argv:
        name = word.partition("=")[0].lower().replace(".", "_")
        put(app.conf, name, app.conf.changes[name])
    login = {{"username": os.environ.get("{SENTINEL_USERNAME}"), "password": os.environ.get("{SENTINEL_PASSWORD}")}}
    if login["password"]:
        given = {{name: value for name, value in login.items() if value}}
        put(app.conf, "broker_transport_options", {{**app.conf.broker_transport_options, "sentinel_kwargs": given}})


by_command = Celery.config_from_cmdline
Celery.config_from_cmdline = config_from_cmdline


if __name__ == "__main__":
    sys.path.pop(0)
    # The container's arguments begin with the word celery, which is the program's name.
    sys.argv = sys.argv[1:]
    sys.exit(main())
'''

CHECK_SCRIPT = f'''\
"""Passes while the worker beats, while it finishes its last tasks, and while the broker cannot be reached."""

import pathlib
import socket
import sys
import time

BEAT = pathlib.Path({_BEAT_FILE!r})
LEAVING = pathlib.Path({_BEAT_FILE!r} + "-leaving")


def answers(address):
    host, _colon, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def main(limit, *addresses):
    if LEAVING.exists():
        return 0
    if not BEAT.exists():
        print("the worker is not ready yet")
        return 1
    age = time.time() - BEAT.stat().st_mtime
    if age <= float(limit) or (addresses and not any(answers(address) for address in addresses)):
        return 0
    print(f"the last heartbeat is {{age:.0f}} seconds old")
    return 1


sys.exit(main(*sys.argv[1:]))
'''

FILES = {"start.py": START_SCRIPT, "check.py": CHECK_SCRIPT}


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
