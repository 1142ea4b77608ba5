# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Celery as its own command does, and touches a file at every worker heartbeat.

A ConfigMap brings this file into the worker's container. What the command line sets is set over the app's own settings,
which win where they stand under a prefix (CELERY_). The password of Redis sentinels goes from the environment into the
settings, because a command line would show it.
"""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Any

BEAT_FILE = "/tmp/celery-heartbeat"

#: Environment in which the credentials of sentinels reach the worker.
SENTINEL_USERNAME = "CELERY_SENTINEL_USERNAME"
SENTINEL_PASSWORD = "CELERY_SENTINEL_PASSWORD"


def follow_heartbeats() -> None:
    """Touch the file while the worker lives, and another one once it is told to stop."""
    from celery import signals

    beat, leaving = pathlib.Path(BEAT_FILE), pathlib.Path(f"{BEAT_FILE}-leaving")
    beat.unlink(missing_ok=True)
    leaving.unlink(missing_ok=True)

    def is_alive(**_: Any) -> None:
        beat.touch()

    def is_leaving(**_: Any) -> None:
        leaving.touch()

    signals.worker_ready.connect(is_alive, weak=False)
    signals.heartbeat_sent.connect(is_alive, weak=False)
    signals.worker_shutting_down.connect(is_leaving, weak=False)


def put(conf: Any, name: str, value: Any) -> None:
    """Set one of the settings, under the app's prefix, too."""
    prefix = getattr(conf, "prefix", None) or ""
    conf[name] = value
    if prefix:
        conf[prefix + (name.upper() if prefix.isupper() else name)] = value


def enforce_settings() -> None:
    """Let the command line win. Before any task reads its settings: a signal of the worker comes too late for that."""
    from celery import Celery

    by_command = Celery.config_from_cmdline

    def config_from_cmdline(app: Any, argv: list[str], namespace: str = "celery") -> None:
        by_command(app, argv, namespace)
        for word in argv:
            name = word.partition("=")[0].lower().replace(".", "_")
            put(app.conf, name, app.conf.changes[name])
        login = {"username": os.environ.get(SENTINEL_USERNAME), "password": os.environ.get(SENTINEL_PASSWORD)}
        if login["password"]:
            given = {name: value for name, value in login.items() if value}
            put(app.conf, "broker_transport_options", {**app.conf.broker_transport_options, "sentinel_kwargs": given})

    Celery.config_from_cmdline = config_from_cmdline


def remember_queues() -> None:
    """Let a worker that takes work again go on doing so after it has lost its broker.

    Who was told to take nothing from a queue, and then to take from it again, forgets the second (Celery 5.6) when it
    connects anew, and takes nothing ever after.
    """
    from celery.worker.consumer import Consumer

    by_celery = Consumer.add_task_queue

    def add_task_queue(consumer: Any, queue: str, *args: Any, **options: Any) -> None:
        by_celery(consumer, queue, *args, **options)
        queues = consumer.app.amqp.queues
        if queues._consume_from is not None and queue in queues:
            queues._consume_from[queue] = queues[queue]

    Consumer.add_task_queue = add_task_queue


def main() -> None:
    """Run Celery with the arguments of the container."""
    # Not the folder of this file, but the one that the image starts in.
    sys.path.pop(0)
    from celery.__main__ import main as celery

    follow_heartbeats()
    enforce_settings()
    if "worker" in sys.argv:
        remember_queues()
    # The arguments begin with the word celery, which is the program's name.
    sys.argv = sys.argv[1:]
    raise SystemExit(celery())


if __name__ == "__main__":
    main()
