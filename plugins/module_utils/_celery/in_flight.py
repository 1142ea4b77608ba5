# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the messages that a variant's workers hold become visible to its scaler.

kombu's Redis transport keeps every message that is delivered and not acknowledged in a hash, which all workers of a
database share. Each variant gets a hash of its own through its command line; KEDA counts it. With late acknowledgement
running tasks are in it as well (measured: Celery 5.6, kombu 5.7, KEDA 2.20). RabbitMQ and SQS tell the same themselves.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .._model.broker import Broker, UnackedKeys
from .._model.fleet import Variant
from .._model.variant_keys import Knowledge, Process, Scaling
from .._schema.versions import Version, older
from .brokers import place_of
from .programs import max_starts

#: The key that workers use which nobody gave one.
SHARED_HASH = "unacked"

_STOPPING_POOLS = ("prefork", "gevent", "eventlet")

#: A setting that the user may have written by hand.
_CANCEL = "worker_cancel_long_running_tasks_on_connection_loss"

#: Seconds that SQS takes at most, twelve hours.
LONGEST_SQS_VISIBILITY = 43200

#: kombu's own visibility timeouts, in seconds (5.7).
DEFAULT_VISIBILITY = {"redis": 3600, "redis-sentinel": 3600, "sqs": 1800}


def blind_reason(broker: Broker | None, scaling: Scaling, knowledge: Knowledge) -> str:
    """Why a scaler does not see what workers hold; empty where it does."""
    if scaling.in_flight is False:
        return "in_flight is false"
    # What was refused of a broker may well be its address.
    if broker is None or (broker.is_sound and not broker.is_known):
        return "the broker is not known"
    if not knowledge.idempotent:
        return "idempotent is false, so running work is invisible"
    if scaling.scaler != "keda" and scaling.in_flight is None:
        return "no scaler asks"
    return ""


def unacked_keys(fleet: str, service: str, variant: str, broker: Broker) -> UnackedKeys:
    """The keys of one variant. They hold the fleet's name, because fleets may share a database."""
    own = f"{fleet}.{service}.{variant}"
    return UnackedKeys(
        hash=f"{SHARED_HASH}:{own}", index=f"unacked_index:{own}", mutex=f"unacked_mutex:{own}", place=place_of(broker)
    )


def starts_key(fleet: str, service: str, variant: str) -> str:
    """What the keys of Redis begin with in which the lost starts of a variant's tasks are counted."""
    return f"starts:{fleet}.{service}.{variant}"


def quarantine_of(queue: str) -> str:
    """The queue in which messages lie whose tasks were lost too often."""
    return f"{queue}{max_starts.SUFFIX}"


def origin_of(quarantine: str) -> str:
    """The queue that a quarantine belongs to."""
    return quarantine.removesuffix(max_starts.SUFFIX)


def quarantines_of(variant: Variant) -> tuple[str, ...]:
    """The quarantine queues of a variant's own; none where nothing limits the starts of its tasks."""
    return tuple(map(quarantine_of, variant.queues)) if variant.process.max_starts is not None else ()


def with_late_acknowledgement(process: Process, pool: str, celery: Version | None) -> Process:
    """The process with the three settings that keep running tasks visible, unless the user has written others.

    Acknowledge after the task; give back the task of a child that was killed; stop a task whose message the broker has
    given to somebody else, or it would run twice (measured: Celery 5.6 after its connections were cut). Threads and
    solo cannot stop a task, and a worker that is asked to dies of it (measured: Celery 5.6); gevent can from 5.5 on.

    :param pool: the pool of the final arguments.
    :param celery: version in the image, None if unknown.
    """
    stops_tasks = pool in _STOPPING_POOLS and not (pool == "gevent" and older(celery, "5.5"))
    late = process.acks_late is not False
    written = {name.lower().replace(".", "_") for name in process.settings}
    return replace(
        process,
        acks_late=late,
        reject_on_worker_lost=late if process.reject_on_worker_lost is None else process.reject_on_worker_lost,
        cancel_on_connection_loss=late and stops_tasks and _CANCEL not in written,
    )


def visibility_timeout(
    process: Process, longest: float, eta: float, grace: int, broker: Broker, rounds: int = 1
) -> int:
    """Seconds after which an unacknowledged message goes to another worker.

    A message is held while it waits for its ETA, then behind others that the worker has reserved, and then while its
    task runs; a shorter time would start that task a second time (measured: Celery 5.6, kombu 5.7).

    :param longest: seconds that a task may run.
    :param eta: longest ETA in seconds.
    :param rounds: tasks one after the other that a worker has reserved for each slot.
    """
    if process.visibility_timeout is not None:
        return process.visibility_timeout
    written = broker.transport_options.get("visibility_timeout")
    if isinstance(written, int) and not isinstance(written, bool):
        return written
    wanted = math.ceil(max(3600, (rounds + 1) * longest, eta + rounds * longest, grace))
    return min(wanted, LONGEST_SQS_VISIBILITY) if broker.type == "sqs" else wanted
