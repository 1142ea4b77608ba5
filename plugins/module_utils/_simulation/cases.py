# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant as it would be sent, made ready for a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._build.jobs import scaled_job
from .._build.scalers import scaled_object
from .._celery.brokers import key_prefix, physical_lists, sqs_queue_url
from .._celery.in_flight import DEFAULT_VISIBILITY
from .._model.fleet import Fleet, Service, Variant
from .._model.loads import START_SECONDS, Load, pod_start
from .._model.observed import NOTHING, Observed
from .._schema.counted import counted
from .._schema.versions import older
from .pods import Worker
from .readings import Places
from .simulate import Case

#: Connections of one worker to Redis, by the flags that spare some (measured: Celery 5.7).
_CONNECTIONS, _SPARED = 10, ("without-gossip", "without-mingle", "without-heartbeat")


def case_of(fleet: Fleet, variant: Variant, loads: Sequence[Load] = (), observed: Observed = NOTHING) -> Case:
    """What is to be simulated of a variant.

    :param loads: of the variant, for how fast its pods start and how many the nodes have room for.
    """
    service, scaling = fleet.service_of(variant), variant.scaling
    # The default is at least 1, and what runs decides otherwise.
    replicas = scaling.min_replicas if scaling.scaler == "hpa" else scaling.replicas
    case = Case(
        variant.service,
        variant.name,
        _worker(service, variant, loads),
        variant.knowledge.max_wait_seconds,
        replicas=1 if replicas is None else replicas,
        places=_places(fleet, service, variant),
        versions=fleet.versions,
    )
    if not variant.is_counted and not variant.runs_as_jobs:
        return case
    manifest: dict[str, Any]
    if variant.runs_as_jobs:
        manifest = scaled_job(fleet, service, variant, observed, "")
    else:
        manifest = scaled_object(fleet, service, variant, observed)
    annotations = manifest["metadata"].get("annotations") or {}
    return replace(case, spec=manifest["spec"], annotations=annotations, is_job=variant.runs_as_jobs)


def _worker(service: Service, variant: Variant, loads: Sequence[Load]) -> Worker:
    process, broker = variant.process, service.broker
    kind = broker.type if broker is not None else "redis"
    late, slots = variant.acknowledges_late, variant.slots
    # With early acknowledgement what runs is no longer held, and as much again is reserved (measured: Celery 5.6).
    without = any(word.startswith("--disable-prefetch") for word in variant.args)
    visibility = process.visibility_timeout or DEFAULT_VISIBILITY.get(kind)
    rooms = [load.most_pods for load in loads if load.most_pods is not None]
    is_redis = broker is not None and broker.type.startswith("redis")
    return Worker(
        slots=slots,
        holds=variant.held if late or without else variant.held + slots,
        acks_late=late,
        steps=tuple(physical_lists(broker, "q")) if is_redis and broker is not None else (0,),
        grace=float(variant.pod.termination_grace_period),
        soft=float(process.soft_shutdown_timeout) if process.soft_shutdown_timeout else None,
        visibility=float(visibility) if visibility is not None and kind != "rabbitmq" else None,
        start=pod_start(loads, variant.knowledge.start_seconds),
        room=min(rooms, default=None),
        idle=float(variant.jobs.idle_seconds) if variant.runs_as_jobs else None,
        age=float(variant.jobs.max_age_seconds) if variant.runs_as_jobs else None,
        connections=_CONNECTIONS - 2 * sum(any(flag in word for word in variant.args) for flag in _SPARED),
    )


def _places(fleet: Fleet, service: Service, variant: Variant) -> Places:
    """Where its messages are. The first of its queues gets all of them, because only their sum counts."""
    broker = service.broker
    if broker is None:
        return Places()
    lists: dict[str, int | None] = {}
    if broker.type.startswith("redis"):
        for number, queue in enumerate(variant.queues):
            for place, name in enumerate(physical_lists(broker, queue).values()):
                lists[name] = None if number else place
    hashes = {f"{key_prefix(broker)}{variant.unacked.hash}"} if variant.unacked is not None else set()
    urls = (
        {sqs_queue_url(broker, queue, fleet.namespace) for queue in variant.queues} if broker.type == "sqs" else set()
    )
    first = {url for url in urls if url == sqs_queue_url(broker, variant.queues[0], fleet.namespace)} if urls else set()
    rest = frozenset({*variant.queues[1:], *(urls - first)})
    return Places(lists, frozenset(hashes), frozenset({*variant.queues[:1], *first}), empty=rest)


def plain_trigger(fleet: Fleet, service: Service, variant: Variant) -> tuple[str, dict[str, str]]:
    """What others take for a variant: the type of their one trigger, and its metadata but for the target."""
    broker, queue = service.broker, variant.queues[0]
    if broker is not None and broker.type == "rabbitmq":
        return "rabbitmq", {"queueName": queue, "protocol": "amqp"}
    if broker is not None and broker.type == "sqs":
        return "aws-sqs-queue", {"queueURL": sqs_queue_url(broker, queue, fleet.namespace)}
    name = next(iter(physical_lists(broker, queue).values())) if broker is not None else queue
    return "redis", {"listName": name}


def assumptions_of(fleet: Fleet, variant: Variant, loads: Sequence[Load]) -> list[str]:
    """What is taken for granted because nobody says it, and what is left out."""
    title, found = f"{variant.service}/{variant.name}", []
    if not variant.knowledge.task_seconds and any(load.task_seconds is None and load.csv is None for load in loads):
        found.append(f"{title}: tasks are taken to run 10 s each. Write task_seconds into the load or the variant.")
    if variant.knowledge.start_seconds is None and all(load.start_seconds is None for load in loads):
        found.append(
            f"{title}: pods are taken to begin work {START_SECONDS:g} s after their creation. Write start_seconds into "
            "the load or the variant."
        )
    if variant.process.acks_late is None:
        found.append(
            f"{title}: the app decides on acks_late; taken for early acknowledgement, Celery's default, so that a kill "
            "loses what runs."
        )
    if variant.scaling.paused == "paused":
        found.append(f"{title}: its scaling is paused, so that {_while_paused(variant, loads)}.")
    if variant.scaling.scaler == "hpa":
        found.append(
            f"{title}: scaler hpa goes by the load of processors, which nothing here knows; taken for min_replicas."
        )
    if older(fleet.versions.keda, "2.12") and variant.uses_keda:
        found.append(f"{title}: KEDA before 2.12 knows no formula.")
    shared = [
        other.title for other in fleet.variants if other is not variant and set(other.queues) & set(variant.queues)
    ]
    if shared:
        found.append(f"{title}: {', '.join(shared)} consumes the same queue; simulated as if it did not.")
    return found


def _while_paused(variant: Variant, loads: Sequence[Load]) -> str:
    """What a variant does whose scaling is paused."""
    if variant.runs_as_jobs:
        return "no Job starts"
    if any(load.replicas is not None for load in loads):
        return "the pods that there were stay"
    pods = max(1, variant.scaling.min_replicas or 0)
    return f"the pods that are there stay; taken for {counted(pods, 'pod')}"
