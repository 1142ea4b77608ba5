# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys by which Kubernetes learns that a worker is up, and that it works."""

from __future__ import annotations

from dataclasses import dataclass

from .._schema.keys import key
from .._schema.scalars import SECONDS, Choice, Flag, Integer, ListOf, Text


@dataclass(frozen=True)
class Probe:
    """How Kubernetes learns that a worker is up."""

    type: str | None = key(
        Choice(("ping", "heartbeat", "consuming", "exec", "none")),
        "V(ping) asks the worker through the broker without importing the app. V(heartbeat) reads a file that the "
        "worker touches, costs next to nothing and passes while the broker is down; the worker is then started by "
        "C(python) from a mounted file. V(consuming) ends a worker that takes nothing for O(consuming_seconds) "
        "although messages wait and it has a free slot; it is started by C(python) from a mounted file, too. V(exec) "
        "runs O(command).",
        default_text="ping; none for pool solo, without a broker, with a global_keyprefix, and for Sentinel, SQS and "
        "RabbitMQ with TLS",
    )
    command: tuple[str, ...] = key(ListOf(Text("one argument")), "Command of type V(exec).", ())
    liveness: bool | None = key(
        Flag(),
        "Restart a worker that stops answering. Not with V(ping): a broker outage would restart all workers together.",
        default_text="true for exec and consuming, and for heartbeat where the broker's address is known; false for "
        "ping",
    )
    startup_seconds: int = key(
        Integer(10, unit=SECONDS),
        "Time a worker has to come up. Above 300 C(progressDeadlineSeconds) of the Deployment grows with it.",
        300,
    )
    period_seconds: int | None = key(
        Integer(1, unit=SECONDS), "Time between two liveness checks.", default_text="30; 10 for consuming"
    )
    timeout_seconds: int = key(
        Integer(1, unit=SECONDS),
        "Time one check may take. A ping at start has 20 seconds more, to start its Python.",
        10,
    )
    failures: int | None = key(
        Integer(1),
        "Failed checks in a row after which the container is restarted.",
        default_text="5; 1 for consuming, which fails only after many looks",
    )
    heartbeat_seconds: int = key(Integer(10, unit=SECONDS), "Age at which the heartbeat file counts as stale.", 120)
    consuming_seconds: int = key(
        Integer(10, unit=SECONDS),
        "Time for which a worker with a free slot may take nothing although messages wait.",
        45,
    )
    python: str | None = key(
        Text("a path or name of a program"),
        "Python of the image, for the types V(heartbeat) and V(consuming), for O(enforce_settings) and "
        "O(max_starts), and for V(ping) where O(command_prefix) does not end in C(celery).",
        default_text="that of command_prefix where it names one, else python",
    )

    @property
    def timing(self) -> dict[str, int]:
        """When the liveness check runs, and how often it may fail."""
        period, failures = (10, 1) if self.type == "consuming" else (30, 5)
        return {
            "periodSeconds": period if self.period_seconds is None else self.period_seconds,
            "failureThreshold": failures if self.failures is None else self.failures,
        }
