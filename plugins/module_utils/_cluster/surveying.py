# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys the brokers of a fleet, each through a pod that reaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .._celery.brokers import management_url, place_of
from .._celery.command import app_of, has_remote_control, written_options
from .._celery.in_flight import SHARED_HASH, quarantine_of, quarantines_of
from .._celery.inquiry import NO_PYTHON, settings_in
from .._celery.launcher import LAUNCHER, needs_launcher
from .._celery.programs.tidy import MARGIN
from .._celery.surveys import Survey, SurveyQuestion, answer_from, command_of
from .._model.fleet import Fleet, Service, Variant
from .._model.names import FLEET_LABEL, beat_name
from .asking import no_answer, ready_pod, run_in, worker_words_of
from .reading import Cluster, has_ended, pods_of

Object = dict[str, Any]

#: Seconds that a survey may take beside the time for which it looks at leftovers.
_PATIENCE = 120

_VISIBILITY = re.compile(r"visibility_timeout\W+(\d+)")


@dataclass(frozen=True)
class SurveyWish:
    """What is wanted of a survey.

    :param audits: whether to look for what is left over.
    :param removes: whether that is taken away, and what is stranded given back.
    :param quiet: seconds for which something must be unused to be left over.
    :param min_age: seconds since a message was delivered that is held for a variant that is gone.
    :param quarantines: quarantine queues that are looked at instead, C(quarantine_do) and C(quarantine_ids) as in
        L(SurveyQuestion).
    """

    audits: bool = False
    removes: bool = False
    quiet: float = 0
    min_age: float = 3600
    quarantines: tuple[str, ...] = ()
    quarantine_do: str = ""
    quarantine_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokerGroup:
    """Services that share a broker, as far as the inventory says.

    :param place: address and database, without a login; empty where only the app knows.
    :param flowers: Deployments of Flower that listen there.
    """

    place: str
    services: tuple[Service, ...]
    flowers: tuple[str, ...] = ()

    @property
    def ways(self) -> Iterator[tuple[str, str, bool]]:
        """Deployments whose pods reach it, each with its app and whether it sets settings over the app's own."""
        for service in self.services:
            for variant in (*service.variants, *service.left):
                yield variant.deployment, service.app, needs_launcher(variant, service.broker)
        # Workers may have gone to zero.
        for service in self.services:
            if service.beat is not None:
                yield beat_name(service.name), service.app, False
        for name in self.flowers:
            yield name, "", False

    @property
    def title(self) -> str:
        """The broker as messages name it."""
        broker = self.services[0].broker
        if broker is not None and not broker.is_known and broker.secret is not None:
            return f"the broker of Secret {broker.secret.name}"
        return self.place or f"the broker of {', '.join(service.name for service in self.services)}"

    @property
    def variants(self) -> list[Variant]:
        """Every worker that consumes there, those of others among them."""
        return [variant for service in self.services for variant in (*service.variants, *service.left)]

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that they consume."""
        return tuple(dict.fromkeys(queue for variant in self.variants for queue in variant.queues))

    @property
    def quarantines(self) -> tuple[str, ...]:
        """The quarantine queues that belong to them."""
        return tuple(dict.fromkeys(queue for variant in self.variants for queue in quarantines_of(variant)))


def broker_groups(fleet: Fleet) -> list[BrokerGroup]:
    """The brokers of a fleet."""
    found: dict[str, list[Service]] = {}
    for service in fleet.services:
        found.setdefault(place_of(service.broker) or f" {service.name}", []).append(service)
    groups = []
    for place, own in found.items():
        names = {service.name for service in own}
        flowers = tuple(item.name for item in fleet.monitoring.flowers if names & set(item.services))
        groups.append(BrokerGroup("" if place.startswith(" ") else place, tuple(own), flowers))
    return groups


@dataclass(frozen=True)
class Surveyed:
    """One broker and what it holds.

    :param asked: the pod that was asked; empty where none was.
    """

    group: BrokerGroup
    survey: Survey
    asked: str = ""


def survey_fleet(cluster: Cluster, fleet: Fleet, wish: SurveyWish) -> Iterator[Surveyed]:
    """Survey every broker of a fleet through a pod.

    :raises ClusterError: if the namespace cannot be read.
    """
    deployments = cluster.list_objects("Deployment", "apps/v1") or []
    pods = cluster.list_objects("Pod", "v1") or []
    for group in broker_groups(fleet):
        question = question_about(group, fleet.name, deployments, pods, wish)
        yield _through_a_pod(cluster, group, question, deployments, pods)


def question_about(
    group: BrokerGroup, fleet: str, deployments: list[Object], pods: list[Object], wish: SurveyWish
) -> SurveyQuestion:
    """What is asked of a broker, but for the app.

    :param deployments: those of the namespace, as its C(pods) are: their workers use hashes.
    """
    broker = group.services[0].broker
    known = broker is not None and broker.type == "rabbitmq" and broker.is_known
    has_control = broker is None or broker.type != "sqs"
    own = f"{SHARED_HASH}:{fleet}."
    return SurveyQuestion(
        app="",
        has_other_apps=len({service.app for service in group.services}) > 1,
        queues=(*group.queues, *group.quarantines),
        used=used_hashes(group.variants, [*deployments, *pods], own),
        own=own,
        min_age=wish.min_age,
        pods=_names(pods),
        management=management_url(broker) if known and broker is not None else "",
        asks_nodes=has_control and any(has_remote_control(variant.process) for variant in group.variants),
        audits=wish.audits or wish.removes,
        quiet=wish.quiet,
        removes=wish.removes,
        quarantines=tuple(queue for queue in wish.quarantines if queue in map(quarantine_of, group.queues)),
        quarantine_do=wish.quarantine_do,
        quarantine_ids=wish.quarantine_ids,
    )


def _names(pods: Iterable[Object]) -> tuple[str, ...]:
    """Pods in which something may run."""
    return tuple(sorted(str(pod["metadata"]["name"]) for pod in pods if not has_ended(pod)))


def used_hashes(variants: Iterable[Variant], objects: Iterable[Object], own: str) -> dict[str, float]:
    """Hashes that workers use, with the seconds after which a message in them is nobody's; 0 as the app says.

    Whatever names a hash uses it: better one too many.
    """
    found: dict[str, float] = {}
    texts = [json.dumps([item.get("spec"), (item.get("metadata") or {}).get("annotations")]) for item in objects]
    for variant in variants:
        texts.append(json.dumps(list(variant.args)))
        if variant.unacked is not None:
            found[variant.unacked.hash] = _visible_after(variant.args, variant.unacked.hash)
    for text in texts:
        for name in re.findall(re.escape(own) + r"[A-Za-z0-9_.-]+", text):
            found[name] = max(found.get(name, 0), _visible_after([text], name))
    # Whoever has none of its own shares one, and the longest of all times holds for it.
    return {**found, SHARED_HASH: _visible_after(texts, "")}


def _visible_after(texts: Iterable[str], name: str) -> float:
    times = [int(match) for text in texts if name in text for match in _VISIBILITY.findall(text)]
    return max(times) + MARGIN if times else 0


def _through_a_pod(
    cluster: Cluster, group: BrokerGroup, question: SurveyQuestion, deployments: list[Object], pods: list[Object]
) -> Surveyed:
    by_name = {str(item["metadata"]["name"]): item for item in deployments}
    for name, app, enforced in group.ways:
        live = by_name.get(name)
        pod = ready_pod(pods_of(live, pods)) if live is not None else None
        if live is not None and pod is not None:
            words = worker_words_of(live)
            asked = replace(question, app=app_of(words) or app, settings=settings_in(words), enforced=enforced)
            return Surveyed(group, survey_through(cluster, pod, asked), str(pod["metadata"]["name"]))
    return Surveyed(group, Survey(error="no pod that reaches it is ready, so none can be asked"))


def survey_through(cluster: Cluster, pod: Mapping[str, Any], question: SurveyQuestion) -> Survey:
    """Survey a broker through a pod."""
    patience = round(question.quiet) + _PATIENCE
    output, errors, fault = run_in(cluster, pod, partial(command_of, question), patience=patience)
    if fault:
        return Survey(error=fault)
    survey, name = answer_from(output), str(pod["metadata"]["name"])
    if survey is None:
        return Survey(error=no_answer(name, errors))
    return replace(survey, error=no_answer(name, NO_PYTHON)) if survey.error == NO_PYTHON else survey


def survey_deployment(
    cluster: Cluster, name: str, wish: SurveyWish, queues: Iterable[str], timeout: int
) -> tuple[Survey, str, set[str]]:
    """Survey a broker through a pod of one Deployment, where no inventory says anything.

    :returns: what it holds, the pod, and the queues that some Deployment of the namespace consumes.
    """
    deployments = {str(item["metadata"]["name"]): item for item in cluster.list_objects("Deployment", "apps/v1") or []}
    live = deployments.get(name)
    if live is None:
        return Survey(error=f"there is no Deployment {name} in {cluster.namespace}"), "", set()
    pods = cluster.list_objects("Pod", "v1") or []
    pod = ready_pod(pods_of(live, pods))
    if pod is None:
        return Survey(error=f"no pod of Deployment {name} is ready"), "", set()
    words = worker_words_of(live)
    if not app_of(words):
        return Survey(error=f"Deployment {name} runs no Celery worker"), "", set()
    consumed = {queue for item in deployments.values() for queue in _queues_in(item)}
    fleet = (live["metadata"].get("labels") or {}).get(FLEET_LABEL)
    own = f"{SHARED_HASH}:{fleet}." if fleet else ""
    question = SurveyQuestion(
        app=app_of(words),
        settings=settings_in(words),
        enforced=LAUNCHER in words,
        queues=tuple(dict.fromkeys([*_queues_in(live), *queues])),
        used=used_hashes((), [*deployments.values(), *pods], own) if own else {},
        own=own,
        pods=_names(pods),
        audits=wish.audits,
        quiet=wish.quiet,
        timeout=timeout,
    )
    return survey_through(cluster, pod, question), str(pod["metadata"]["name"]), consumed


def _queues_in(live: Object) -> list[str]:
    """Queues that the worker of a Deployment consumes, as its command line names them."""
    words = worker_words_of(live)
    found = written_options(words).get("queues") if app_of(words) else ""
    return [name for name in (found or "").split(",") if name]
