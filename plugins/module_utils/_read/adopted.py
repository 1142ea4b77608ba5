# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which queues are left to adopted Deployments."""

from __future__ import annotations

from dataclasses import replace

from .._celery.adoption import command_line, narrowed
from .._celery.command import (
    held_by,
    slots_of,
)
from .._model.fleet import (
    Service,
    Variant,
)
from .._model.observed import Observed
from .._schema.problems import Problems


def with_queues_left(services: tuple[Service, ...], observed: Observed, problems: Problems) -> tuple[Service, ...]:
    """Adopted variants with the queues that nobody else serves, and those that are left alone with all of theirs.

    Coverage decides: an adopted Deployment keeps every queue that has no other consumer.
    """
    _refuse_second_keys(services, problems)
    running = [item for service in services for item in service.variants]

    def settled(service: Service, variant: Variant) -> Variant:
        live = observed.find("Deployment", variant.deployment)
        line = command_line(live) if live is not None else None
        named = line.queues if line is not None else ()
        if variant.consumption.adopt is False:
            return replace(variant, queues=named or service.known_queues or variant.queues)
        if not variant.adopted:
            return variant
        others = {queue for item in running if item is not variant for queue in item.queues}
        every = dict.fromkeys([*named, *service.known_queues, *variant.queues])
        queues = variant.consumption.queues or tuple(queue for queue in every if queue not in others)
        if not queues:
            problems.add(
                f"{variant.path}.queues",
                f"other variants serve every queue of Deployment {variant.deployment}, so nothing would be left for "
                f"it; write {{adopt: false}} and let its owner stop it, or name the queues it keeps.",
            )
        words = line.words if line is not None and line.words else ("celery", f"--app={service.app}", "worker")
        args = narrowed(words, queues)
        return replace(variant, queues=queues, args=args, slots=slots_of(args), held=held_by(args))

    return tuple(
        replace(
            service,
            variants=tuple(settled(service, variant) for variant in service.variants),
            left=tuple(settled(service, variant) for variant in service.left),
        )
        for service in services
    )


def _refuse_second_keys(services: tuple[Service, ...], problems: Problems) -> None:
    for service in services:
        tracked = [item for item in service.variants if item.adopted and item.unacked is not None]
        for variant in tracked[1:]:
            problems.add(
                f"{variant.path}.in_flight",
                f"{tracked[0].title} and {variant.title} are both adopted, and the settings of a service name one key; "
                "leave in_flight out on one of them.",
            )
