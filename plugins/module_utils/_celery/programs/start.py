# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Celery as its own command does, touches a file at every worker heartbeat, and installs features.

A ConfigMap brings this file into the worker's container. What the command line sets is set over the app's own settings,
which win where they stand under a prefix (CELERY_). The password of Redis sentinels goes from the environment into the
settings, because a command line would show it.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import sys
import types
from typing import Any

BEAT_FILE = "/tmp/celery-heartbeat"

#: Environment in which the credentials of sentinels reach the worker.
SENTINEL_USERNAME = "CELERY_SENTINEL_USERNAME"
SENTINEL_PASSWORD = "CELERY_SENTINEL_PASSWORD"

#: Environment with the features of this worker as JSON, each with what it is told.
FEATURES_ENV = "CELERY_LAUNCHER"
#: Package that the files beside this one are imported as, so that none of them hides a module of the app.
PACKAGE = "celery_launcher"


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
    from celery import signals

    # Not before: gevent and eventlet take the place of Python's own first, or a worker of theirs waits seconds for each
    # message.
    signals.celeryd_init.connect(_remember_queues, weak=False)


def _remember_queues(**_: Any) -> None:
    from celery.worker.consumer import Consumer

    by_celery = Consumer.add_task_queue

    def add_task_queue(consumer: Any, queue: str, *args: Any, **options: Any) -> None:
        by_celery(consumer, queue, *args, **options)
        queues = consumer.app.amqp.queues
        if queues._consume_from is not None and queue in queues:
            queues._consume_from[queue] = queues[queue]

    Consumer.add_task_queue = add_task_queue


def install_features(folder: str) -> None:
    """Install what this worker is to do beside its tasks. No error of a feature keeps the worker from its tasks.

    :param folder: with a file for each feature.
    """
    package = types.ModuleType(PACKAGE)
    package.__path__ = [folder]
    sys.modules[PACKAGE] = package
    name = FEATURES_ENV
    try:
        for name, settings in json.loads(os.environ.get(FEATURES_ENV) or "{}").items():
            install_feature(name, settings)
    except Exception as error:
        say_off(name, error)


def install_feature(name: str, settings: dict[str, Any]) -> None:
    """Install one feature, or say why not."""
    try:
        importlib.import_module(f"{PACKAGE}.{name}").install(settings)
    except Exception as error:
        say_off(name, error)


def say_off(name: str, error: Exception) -> None:
    """One line in the log of the worker."""
    why = " ".join(f"{type(error).__name__}: {error}".split())
    sys.stderr.write(f"celery-launcher: {name} is off, and the worker runs without it ({why})\n")


def main() -> None:
    """Run Celery with the arguments of the container."""
    # Not the folder of this file, but the one that the image starts in.
    sys.path.pop(0)
    from celery.__main__ import main as celery

    follow_heartbeats()
    enforce_settings()
    if "worker" in sys.argv:
        remember_queues()
    if {"worker", "beat"} & set(sys.argv):
        install_features(os.path.dirname(os.path.abspath(__file__)))
    # The arguments begin with the word celery, which is the program's name.
    sys.argv = sys.argv[1:]
    raise SystemExit(celery())


if __name__ == "__main__":
    main()
