# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the starts of tasks can be limited, and what may not be done with a quarantine."""

from __future__ import annotations

from collections.abc import Iterator

from .._celery.brokers import physical_queue, place_of
from .._celery.in_flight import quarantines_of
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant
from .._schema.problems import Problems
from .._schema.versions import Versions, as_text, at_least
from .risks import PathOf
from .without_effect import is_own

#: The RabbitMQ whose quorum queues count only what is rejected, and not what was lost with its worker.
_COUNTS_REJECTS = "4.3"


def check_max_starts(variant: Variant, service: Service, path_of: PathOf, problems: Problems) -> None:
    """Refuse a limit that nothing could count for."""
    most, broker = variant.process.max_starts, service.broker
    if most is None or (broker is not None and not broker.is_sound):
        return
    if variant.process.acks_late is False:
        problems.add(
            path_of("max_starts"),
            f"{variant.title} acknowledges early, so a task whose process is killed is gone, and never starts again. "
            "Write acks_late: true if every task may run twice, or leave max_starts out.",
        )
        return
    if variant.process.acks_late is None and is_own(variant, path_of("max_starts"), "max_starts"):
        problems.warn(path_of("max_starts"), _only_late(f"max_starts of {variant.title}"))
    if broker is None:
        problems.add(
            path_of("max_starts"),
            f"the starts of {variant.title} are counted in its broker, and the inventory does not say which one that "
            "is. Set celery_workers_broker, for example {type: redis, host: redis}.",
        )
    elif broker.type == "sqs":
        problems.add(
            path_of("max_starts"),
            f"SQS counts deliveries itself. Leave max_starts of {variant.title} out, and give the queue a redrive "
            f"policy with maxReceiveCount {most}.",
        )
    elif broker.type == "rabbitmq":
        _check_deliveries(variant, broker, most, path_of("max_starts"), problems)


def _only_late(limit: str) -> str:
    """What to know of a limit where it is not known whether tasks are acknowledged late."""
    return (
        f"{limit} holds for tasks that the app acknowledges late; one that is acknowledged early never starts again. "
        "Write acks_late: true if every task may run twice."
    )


def check_shared_max_starts(fleet: Fleet, problems: Problems) -> None:
    """Note a limit that variants share, where none of those that read it says how tasks are acknowledged."""
    readers: dict[str, list[Variant]] = {}
    for variant in fleet.variants:
        path = variant.path_of("max_starts")
        if variant.process.max_starts is not None and not is_own(variant, path, "max_starts"):
            readers.setdefault(path, []).append(variant)
    for path, variants in readers.items():
        if all(variant.process.acks_late is None for variant in variants):
            problems.warn(path, _only_late("max_starts"))


def _check_deliveries(variant: Variant, broker: Broker, most: int, path: str, problems: Problems) -> None:
    """What RabbitMQ counts, and when it drops a message by itself."""
    wanted = list(_lacking(variant, broker))
    if wanted:
        problems.add(
            path,
            "on RabbitMQ only a quorum queue counts lost starts, and it counts everything that a lost worker held. "
            f"For {variant.title} write {', '.join(wanted)}; or leave max_starts out.",
        )
    elif broker.delivery_limit and most > broker.delivery_limit:
        # A limit that variants share is one mistake, however many of them read it.
        who = variant.title if is_own(variant, path, "max_starts") else "a worker"
        problems.add(
            path,
            f"RabbitMQ drops a message after {broker.delivery_limit} deliveries (delivery_limit), so before "
            f"{who} has started its task {most} times. Write max_starts: {broker.delivery_limit} or "
            "less, or raise the limit of the policy and delivery_limit.",
        )


def _lacking(variant: Variant, broker: Broker) -> Iterator[str]:
    """What to write so that each delivery that RabbitMQ counts is a start that was lost."""
    if broker.queue_type != "quorum":
        yield "celery_workers_broker.queue_type: quorum, if the app declares such queues"
    if variant.slots > 1:
        yield "concurrency: 1"
    if variant.held > variant.slots:
        yield "prefetch_multiplier: 1"
    if variant.process.soft_shutdown_timeout:
        yield "a termination_grace_period above longest_task_seconds and soft_shutdown_timeout: 0"


def check_quarantines(fleet: Fleet, problems: Problems) -> None:
    """Refuse what would start tasks again that were put aside, and servers that do not count."""
    owners: dict[tuple[str, str], Variant] = {}
    for variant in fleet.variants:
        broker = fleet.service_of(variant).broker
        for queue in quarantines_of(variant):
            owners[place_of(broker), physical_queue(broker, queue)] = variant
        if variant.process.max_starts is not None:
            _judge_release(variant, broker, fleet.versions, problems)
    for variant in fleet.variants:
        broker = fleet.service_of(variant).broker
        for queue in variant.queues:
            owner = owners.get((place_of(broker), physical_queue(broker, queue)))
            if owner is not None:
                problems.add(
                    variant.path_of("queues"),
                    f"{variant.title} consumes {queue!r}, the quarantine of {owner.title}, and would start the tasks "
                    "again that were put there. Take it out, or leave max_starts out.",
                )


def _judge_release(variant: Variant, broker: Broker | None, versions: Versions, problems: Problems) -> None:
    if broker is None or broker.type != "rabbitmq" or not at_least(versions.rabbitmq, _COUNTS_REJECTS):
        return
    problems.add(
        variant.path_of("max_starts"),
        f"quorum queues of RabbitMQ {as_text(versions.rabbitmq)} count only messages that are rejected, and not those "
        f"of a worker that was killed, so nothing would limit the starts of {variant.title}. Leave max_starts out.",
    )
