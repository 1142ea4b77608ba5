# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that would leave behind what running workers hold.

Only workers of a key restore what that key holds, so a worker on a new key strands the old one's messages (measured),
and a pod that is replaced dies under its own grace period, not under the new one. Both are found before anything is
sent.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._celery.adoption import can_be_taken_over
from .._celery.brokers import key_prefix, place_of, same_identity
from .._celery.command import app_of, written_options
from .._celery.in_flight import SHARED_HASH
from .._celery.inquiry import Question, settings_in
from .._model.broker import Broker
from .._model.fleet import Fleet, Service, Variant, variant_title
from .._model.names import (
    COMPONENT_LABEL,
    DRAIN,
    DRAINS_LABEL,
    SERVICE_LABEL,
    UNACKED_ANNOTATION,
    VARIANT_LABEL,
    drain_name,
    ownership_labels,
    people_labels,
)
from .._model.observed import WORKER_KINDS, Observed, ObservedObject
from .._model.sources import app_container

#: What a run may do about it.
POLICIES = ("stop", "drain", "accept")
#: Stands for a policy where workers have taken nothing new and finished what they ran.
FINISHED = "finished"


@dataclass(frozen=True)
class KeyChange:
    """A Deployment whose running workers hold messages that the next ones would not look after.

    :param before: identity of the old key; empty where workers use the broker's shared one.
    :param after: identity of the new key; empty where it is tracked no more.
    :param is_idle: whether it has no pods, but for such that are still on their way out.
    :param old_grace: seconds of the running pods, where only that is too short.
    :param rewritten_secret: the Secret that this run fills with the login of another broker, if it goes to another one.
    """

    service: str
    variant: str
    deployment: str
    before: str
    after: str
    old_hash: str
    is_shared: bool
    queues: tuple[str, ...]
    is_removed: bool = False
    is_idle: bool = False
    old_grace: int | None = None
    new_grace: int = 0
    rewritten_secret: str = ""
    kind: str = "Deployment"

    @property
    def title(self) -> str:
        """The variant as messages name it."""
        return variant_title(self.service, self.variant)

    @property
    def moves_key(self) -> bool:
        """Whether the key changes, and not only the grace period."""
        return self.before != self.after


def key_changes(fleet: Fleet, observed: Observed, prunes: bool = False) -> list[KeyChange]:
    """Every Deployment with pods whose key or grace period this run would change, those that become ours among them.

    :param prunes: whether the run will also remove Deployments that no variant owns.
    """
    found = _removals(fleet, observed) if prunes else []
    for service in fleet.services:
        for variant in service.variants:
            for kind in WORKER_KINDS:
                change = _change(fleet, service, variant, observed.find(kind, variant.deployment))
                if change is not None:
                    found.append(change)
    return found


def _removals(fleet: Fleet, observed: Observed) -> list[KeyChange]:
    """Deployments that prune would delete while only their own workers know where their messages are."""
    wanted = {variant.deployment for variant in fleet.variants}
    found = []
    for item in observed.ours(fleet.name):
        before = item.annotations.get(UNACKED_ANNOTATION, "")
        # A ScaledJob has as many pods as there is work.
        has_pods = bool(item.replicas) if item.kind == "Deployment" else item.kind in WORKER_KINDS
        if has_pods and item.name not in wanted and before:
            place = (item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, ""))
            old_hash = _with_prefix(before, before.rpartition(" ")[2])
            found.append(
                KeyChange(
                    *place,
                    item.name,
                    before,
                    "",
                    old_hash,
                    is_shared=False,
                    queues=(),
                    is_removed=True,
                    is_idle=item.kind == "ScaledJob",
                    kind=item.kind,
                )
            )
    return found


def _change(fleet: Fleet, service: Service, variant: Variant, live: ObservedObject | None) -> KeyChange | None:
    if live is None or variant.adopted or not (live.is_ours(fleet.name) or can_be_taken_over(fleet, live)):
        return None
    before = same_identity(live.annotations.get(UNACKED_ANNOTATION, ""), fleet.namespace)
    # Without a pod nobody holds anything: a scaler that sees the hash goes to zero only once it is empty. Pods that
    # were told to stop may still hold something, of a key that is known.
    if (not live.replicas and not before) or (service.broker is None and not before):
        return None
    after = variant.unacked.identity if variant.unacked is not None else ""
    grace = variant.pod.termination_grace_period
    # Who gives way to Jobs finishes first what it runs.
    shorter = live.grace is not None and live.grace < grace and not variant.runs_as_jobs
    if before == after and not (after and shorter and live.replicas):
        return None
    if not before and not (service.broker is not None and service.broker.is_redis):
        return None
    prefix = key_prefix(service.broker) if service.broker is not None else ""
    old_hash = before.rpartition(" ")[2] if before else f"{prefix}{SHARED_HASH}"
    return KeyChange(
        variant.service,
        variant.name,
        variant.deployment,
        before,
        after,
        _with_prefix(before, old_hash),
        is_shared=not before,
        queues=variant.queues,
        old_grace=live.grace if before == after else None,
        new_grace=grace,
        is_idle=not live.replicas,
        kind=live.kind,
        rewritten_secret=_rewritten_secret(service.broker, before),
    )


def _rewritten_secret(broker: Broker | None, before: str) -> str:
    """The Secret that gets another broker's address in this run, if there is one."""
    return broker.own_secret if broker is not None and _place(before) not in ("", place_of(broker)) else ""


def _place(identity: str) -> str:
    return identity.rpartition(" ")[0]


def _with_prefix(identity: str, name: str) -> str:
    """The hash as Redis has it. A place ends in C(/<database> <prefix>) where there is a prefix."""
    found = re.search(r"/[0-9]+ (.*) \S+$", identity)
    return f"{found[1]}{name}" if found else name


def _consumed(change: KeyChange, args: Iterable[str]) -> tuple[str, ...]:
    """Queues whose messages a worker may hold: those of the inventory, and those that its own arguments name."""
    own = (written_options(args).get("queues") or "").split(",")
    return tuple(dict.fromkeys([*change.queues, *filter(None, own)]))


def question_about(change: KeyChange, args: Iterable[str]) -> Question:
    """What is asked in a pod that runs: how much its key still holds."""
    words = tuple(args)
    group = (written_options(words).get("hostname") or "").partition("@")[0]
    return Question(
        app=app_of(words),
        group=group,
        settings=settings_in(words),
        hash=change.old_hash,
        is_shared=change.is_shared,
        queues=_consumed(change, words),
    )


def refusal(change: KeyChange, held: int | None, reason: str, has_finished: bool = False) -> str:
    """Why the run stops, and the ways on.

    :param held: messages in the old hash; None if that could not be found out.
    :param reason: why it could not.
    :param has_finished: whether the workers take nothing new, and run nothing any more.
    """
    who = change.title
    what = _held(held, reason)
    if not change.moves_key:
        return (
            f"{who}: the pods of {change.kind} {change.deployment} {what}, and they are killed {change.old_grace} s "
            f"after they are replaced, although termination_grace_period is {change.new_grace} s from now on. Run "
            "again when they are idle, or with celery_workers_key_change: accept; their tasks then start again on "
            "the new pods."
        )
    if change.is_removed and has_finished:
        return (
            f"{who}: the workers of {change.kind} {change.deployment} {what} under '{change.before}', although they "
            "run nothing any more: tasks for later, for example. Messages left there would be lost, so it stays, and "
            "its workers take work again. Run again when they hold nothing, or with celery_workers_key_change: accept."
        )
    if change.is_removed:
        return (
            f"{who}: the workers of {change.kind} {change.deployment} {what} under '{change.before}', and this run "
            f"would delete it. Messages left there would be lost. {_ways(change, 'lets them be finished first')}."
        )
    becomes = f"the key would become '{change.after}'" if change.after else "they would have no key of their own"
    return (
        f"{who}: the workers of {change.kind} {change.deployment} {what} under '{change.before or change.old_hash}', "
        f"and {becomes}. Messages left there would be lost. "
        f"{_ways(change, 'leaves one worker on the old key until it is empty')}. Where only the address of the same "
        "broker is written differently, celery_workers_key_change: accept is right."
    )


def _ways(change: KeyChange, drains: str) -> str:
    """How to go on.

    :param drains: what the policy for it does.
    """
    idle = "Run again when they are idle"
    # Jobs end by themselves, so that none can be left on a key.
    return idle if change.kind == "ScaledJob" else f"{idle}, or with celery_workers_key_change: drain, which {drains}"


def _held(held: int | None, reason: str) -> str:
    return f"hold {held} messages" if held is not None else f"may hold messages (unknown: {reason})"


_KINDS = {
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
}


def read_by(spec: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Kind and name of the Secrets and ConfigMaps that a pod reads."""
    return {*_read_as_environment(spec), *_read_as_volumes(spec)}


def _read_as_environment(spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        values = [entry.get("valueFrom") or {} for entry in container.get("env") or []]
        for source in [*values, *(container.get("envFrom") or [])]:
            for key in _KINDS.keys() & source.keys():
                yield _KINDS[key], str(source[key].get("name"))


def _read_as_volumes(spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for volume in spec.get("volumes") or []:
        for part in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            if part.get("configMap"):
                yield "ConfigMap", str(part["configMap"].get("name"))
            if part.get("secret"):
                yield "Secret", str(part["secret"].get("secretName") or part["secret"].get("name"))


def drains_already(change: KeyChange, item: ObservedObject) -> bool:
    """Whether an earlier run has left this worker on the key, and ended before it changed the Deployment."""
    return item.name == drain_name(change.deployment) and _drained(item).get("hash") == change.old_hash


def drain_obstacle(change: KeyChange, live: Mapping[str, Any], taken: Collection[str]) -> str:
    """Why no worker can be left on the old key; empty where one can.

    :param live: the Deployment as the API server returned it.
    :param taken: names of Deployments that the worker must not have.
    """
    if change.kind == "ScaledJob":
        return "they are Jobs, which end by themselves"
    if drain_name(change.deployment) in taken:
        return (
            f"its name {drain_name(change.deployment)} is taken, by a worker that still drains an earlier key or by a "
            "variant"
        )
    if change.rewritten_secret and ("Secret", change.rewritten_secret) in read_by(live["spec"]["template"]["spec"]):
        return f"Secret {change.rewritten_secret}, from which it would read its broker's address, gets the new broker's"
    return ""


def no_drain(change: KeyChange, held: int | None, reason: str, obstacle: str) -> str:
    """Why the run stops although it may drain, and the ways on. The other parameters are those of L(refusal).

    :param obstacle: what L(drain_obstacle) says.
    """
    return (
        f"{change.title}: the workers of {change.kind} {change.deployment} {_held(held, reason)} under "
        f"'{change.before or change.old_hash}', and no worker can be left on that key: {obstacle}. Run again when "
        "they are idle, or with celery_workers_key_change: accept."
    )


def draining(fleet: str, observed: Observed) -> list[ObservedObject]:
    """Workers that an earlier run has left on an old key."""
    return [
        item for item in observed.ours(fleet) if item.kind == "Deployment" and item.labels.get(COMPONENT_LABEL) == DRAIN
    ]


def question_to(item: ObservedObject, args: Iterable[str]) -> Question:
    """What is asked in a worker that drains."""
    told = _drained(item)
    change = KeyChange(
        "", "", item.name, "", "", str(told.get("hash", "")), bool(told.get("shared")), tuple(told.get("queues", ()))
    )
    return question_about(change, args)


def _drained(item: ObservedObject) -> dict[str, Any]:
    """What the worker looks after that an earlier run has left."""
    found: dict[str, Any] = json.loads(item.annotations.get(f"{UNACKED_ANNOTATION}-drain") or "{}")
    return found


def drain_worker(fleet: Fleet, change: KeyChange, live: Mapping[str, Any]) -> dict[str, Any]:
    """One worker that looks after the old key: the live Deployment, on a queue that nobody sends to.

    kombu puts a message that it restores back into its own queue, whatever queues the worker consumes (5.7).

    :param live: the Deployment as the API server returned it.
    """
    name = drain_name(change.deployment)
    labels = ownership_labels(fleet.name, change.service, component=DRAIN)
    selector = {**labels, DRAINS_LABEL: change.variant}
    template = copy.deepcopy(dict(live["spec"]["template"]))
    worker = app_container(template["spec"], change.deployment)
    queue, queues = f"{fleet.name}.{change.service}.{change.variant}.{DRAIN}", _consumed(change, worker.get("args", []))
    worker["args"] = [f"--queues={queue}" if word.startswith("--queues=") else word for word in worker.get("args", [])]
    metadata = template.setdefault("metadata", {})
    metadata.pop("creationTimestamp", None)
    # What the old Deployment selects by must not stay, nor what the next one would: neither may count this pod.
    selected = {VARIANT_LABEL, *((live["spec"].get("selector") or {}).get("matchLabels") or {})}
    own = metadata.get("labels") or {}
    metadata["labels"] = {**{key: value for key, value in own.items() if key not in selected}, **selector}
    told = {"hash": change.old_hash, "shared": change.is_shared, "queues": list(queues)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": fleet.namespace,
            "labels": {**people_labels(fleet.name, name, DRAIN), **labels},
            "annotations": {f"{UNACKED_ANNOTATION}-drain": json.dumps(told, sort_keys=True)},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "Recreate"},
            "template": template,
        },
    }
