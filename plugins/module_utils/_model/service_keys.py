# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a service and of its scheduler: types, defaults and the sentences of the key reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._schema.keys import Section, key
from .._schema.kubernetes import Kubernetes, VolumeSource
from .._schema.kubernetes_values import (
    DNS_SUBDOMAIN,
)
from .._schema.scalars import (
    SECONDS,
    Choice,
    Flag,
    Integer,
    ListOf,
    Text,
)
from .variant_keys import QUEUE


@dataclass(frozen=True)
class Database:
    """The database that tasks of a service work on."""

    name: str = key(Text("a name"), "Services with the same name share the database.", "default")
    max_connections: int | None = key(
        Integer(1), "Connections that it accepts. A fleet that could need more is refused.", default_text="not checked"
    )


@dataclass(frozen=True)
class Beat:
    """The scheduler of a service: always one pod, never inside a worker, never scaled."""

    enabled: bool = key(Flag(), "Whether it runs.", True)
    scheduler: str | None = key(
        Text("a scheduler class, module:Class"), "Scheduler class.", default_text="Celery's own, with a schedule file"
    )
    schedule_file: str = key(
        Text("a path"), "Schedule file of Celery's own scheduler.", "/var/run/celery-beat/schedule"
    )
    schedule_volume: dict[str, Any] = key(
        VolumeSource(),
        "Source of the volume that keeps the schedule file, without a name. A claim keeps it over restarts.",
        {"emptyDir": {}},
    )
    max_interval: int | None = key(Integer(1, unit=SECONDS), "Longest sleep between two looks at the schedule.")
    liveness: bool | None = key(
        Flag(),
        "Restart a scheduler that no longer ticks, which is found by C(celery inspect ping) (Celery 5.7 or later; not "
        "with Sentinel, SQS, a C(global_keyprefix) and RabbitMQ with TLS).",
        default_text="true where celery_workers_celery_version says 5.7 or later",
    )
    probe: str | None = key(
        Choice(("ping", "tick", "none")),
        "How Kubernetes learns that it still ticks. V(ping) is O(liveness). V(tick) reads a file in which beat notes "
        "when its next tick is due, with every Celery, broker and scheduler class; beat is then started by C(python) "
        "from a mounted file, and restarted where a tick is two minutes late while the broker can be reached.",
        default_text="ping where liveness is true, else none",
    )
    loglevel: str = key(Choice(("debug", "info", "warning", "error", "critical", "fatal")), "Log level.", "info")
    extra_params: tuple[str, ...] = key(
        ListOf(Text("one command-line argument")), "Further arguments of C(celery beat).", ()
    )
    resources: dict[str, Any] = key(
        Kubernetes("ResourceRequirements"),
        "Requests and limits.",
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
    )


@dataclass(frozen=True)
class ServiceKeys:
    """Keys of a service beside the keys of a variant, which stand here as defaults of all its variants."""

    app: str | None = key(
        Text("a Celery app, module or module:attribute", r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?"),
        "The Celery app.",
        default_text="the service's name",
    )
    queue_name: str = key(
        Text(
            "a template with {variant}, and {service} if wanted",
            r"(?=.*\{variant\})([^\s,{}\x00-\x1f]|\{service\}|\{variant\})+",
        ),
        "Queue of a variant that names none.",
        "{variant}",
    )
    known_queues: tuple[str, ...] = key(
        ListOf(QUEUE, unique=True), "Queues the app sends to. Each must have a consumer, or the run fails.", ()
    )
    known_tasks: tuple[str, ...] = key(
        ListOf(Text("a task name"), unique=True),
        "Names of tasks beside those that the preset knows, so that a mistyped one in a route is found.",
        (),
    )
    inherit_from: str | None = key(
        DNS_SUBDOMAIN,
        "A Deployment that the workers are made like: image, environment, volumes, security contexts, pull Secrets, "
        "service account and scheduling are read from it at each run, and single keys written here go over them.",
        default_text="nothing; in the preset openedx, where no image is written, <service>-worker or else <service>",
    )
    beat: Beat | None = key(Section(Beat), "The scheduler.", default_text="false")
    database: Database = key(
        Section(Database, switchable=False), "The database of its tasks.", Database(), "not checked"
    )
