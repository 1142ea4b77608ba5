# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of workers and beat, with the objects beside them. Pure functions of Fleet and Observed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._celery.idle_first import account_of, marks_itself
from .._celery.launcher import (
    beat_features,
    features_of,
    files_hash,
    needs_launcher,
    service_files,
)
from .._model.fleet import Fleet, Service, Variant
from .._model.names import (
    beat_name,
    heartbeat_name,
    idle_first_name,
    ownership_labels,
    people_labels,
    unacked_annotation,
)
from .._model.observed import (
    API_VERSIONS,
    LAST_APPLIED,
    NOTHING,
    Observed,
    ObservedObject,
    without_replicas,
)
from .._model.service_keys import Beat
from .containers import PodContext
from .pods import beat_pod, worker_pod
from .resources import resource, strategy_over
from .routing import route_files


def worker_resources(fleet: Fleet, observed: Observed = NOTHING, dry_run: bool = False) -> list[dict[str, Any]]:
    """ConfigMaps, Deployments and PodDisruptionBudgets of a fleet, in the order in which they are applied.

    :param dry_run: the handovers will not be sent, so a Deployment that needs one shows the number that runs; without
        it a dry run would promise one pod.
    """
    found: list[dict[str, Any]] = []
    for service in fleet.services:
        files = service_files(service)
        if files:
            found.append(_launcher_files(fleet, service, files))
        for variant in service.variants:
            if not variant.adopted and not variant.runs_as_jobs:
                found.append(worker_deployment(fleet, service, variant, observed, dry_run))
            budget = disruption_budget(fleet, variant, observed)
            if budget is not None:
                found.append(budget)
        if service.beat is not None:
            found.append(beat_deployment(fleet, service, service.beat, observed))
    return found


def worker_deployment(
    fleet: Fleet, service: Service, variant: Variant, observed: Observed, dry_run: bool = False
) -> dict[str, Any]:
    """Deployment of a variant."""
    live = observed.find("Deployment", variant.deployment)
    labels = ownership_labels(fleet.name, service.name, variant.name)
    selector = _selector(live, labels)
    people = people_labels(fleet.name, variant.deployment, "worker")
    launched = needs_launcher(variant, service.broker)
    files = files_hash(features_of(variant, service.broker)) if launched else ""
    routes = route_files(fleet, service)
    account = account_of(variant, fleet.name) if marks_itself(variant) else _account_after(fleet, live)
    context = PodContext(
        service, variant.deployment, people, {**labels, **selector}, observed, files, routes, account=account
    )
    spec: dict[str, Any] = {}
    replicas = fixed_replicas(variant, live)
    if dry_run and live is not None and needs_handover(variant, live):
        replicas = live.replicas
    if replicas is not None:
        spec["replicas"] = replicas
    spec["selector"] = {"matchLabels": selector}
    spec["strategy"] = strategy_over(live, variant.pod.strategy)
    spec["template"] = worker_pod(variant, context)
    deadline = progress_deadline(spec["template"]["spec"])
    if deadline > DEFAULT_DEADLINE:
        spec["progressDeadlineSeconds"] = deadline
    extra = variant.pod.labels
    annotations = {**variant.pod.annotations, **unacked_annotation(variant.unacked)}
    return resource("Deployment", fleet, variant.deployment, labels, "worker", live, spec, extra, annotations)


#: Seconds after which Kubernetes reports a rollout without progress as failed.
DEFAULT_DEADLINE = 600
#: Seconds for what comes before a container starts: finding a node, pulling the image.
_BEFORE_START = 300


def progress_deadline(pod: dict[str, Any]) -> int:
    """Seconds that a rollout may stand still: the longest start of a container, and what comes before it."""
    probes = [container.get("startupProbe", {}) for container in pod["containers"]]
    starts = [
        probe.get("initialDelaySeconds", 0) + probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        for probe in probes
        if probe
    ]
    return max(starts, default=0) + _BEFORE_START


def _account_after(fleet: Fleet, live: ObservedObject | None) -> str:
    """The account of pods for which the inventory names none any more; empty where nothing need be said.

    An account that is left out stays: servers keep it under an older name of the field, and take it back from there.
    """
    is_ours = live is not None and (live.account_applied or live.account in (idle_first_name(fleet.name), "default"))
    return "default" if is_ours else ""


def selector_of(fleet: Fleet, variant: Variant, observed: Observed = NOTHING) -> dict[str, str]:
    """The labels that select a variant's pods."""
    labels = ownership_labels(fleet.name, variant.service, variant.name)
    return _selector(observed.find("Deployment", variant.deployment), labels)


def beat_deployment(fleet: Fleet, service: Service, beat: Beat, observed: Observed) -> dict[str, Any]:
    """Deployment of a service's scheduler: one pod, replaced before the next one starts, never scaled."""
    name = beat_name(service.name)
    live = observed.find("Deployment", name)
    labels = ownership_labels(fleet.name, service.name, component="beat")
    selector = _selector(live, labels)
    people = people_labels(fleet.name, name, "beat")
    routes = route_files(fleet, service)
    # Files that a beat without features is started with have never rolled it.
    features = beat_features(service)
    files = files_hash(features) if features else ""
    context = PodContext(service, name, people, {**labels, **selector}, observed, files, routes, fleet.versions.celery)
    spec: dict[str, Any] = {
        "replicas": 1,
        "selector": {"matchLabels": selector},
        "strategy": strategy_over(live, {"type": "Recreate"}),
        "template": beat_pod(beat, context),
    }
    return resource("Deployment", fleet, name, labels, "beat", live, spec, service.pod.labels, service.pod.annotations)


def fixed_replicas(variant: Variant, live: ObservedObject | None) -> int | None:
    """The number to write, or None to leave it to whoever else decides.

    A number once applied cannot just be dropped: a client-side apply would then reset it to 1 (measured on 1.36). It
    stays while it is still true, and is handed over where somebody has changed it.
    """
    if variant.scaling.scaler == "hpa" and live is not None and live.replicas == 0:
        # An HPA is switched off at zero pods and would leave it there.
        return max(1, variant.scaling.min_replicas)
    if variant.has_scaler:
        return None
    if variant.scaling.replicas is not None:
        return variant.scaling.replicas
    if live is None or live.replicas is None:
        return None
    if live.replicas == 0:
        return 1
    return live.replicas if live.replicas == live.applied_replicas else None


def needs_handover(variant: Variant, live: ObservedObject | None) -> bool:
    """Whether an applied number of replicas must be forgotten, because somebody else decides on it now."""
    return live is not None and bool(live.last_applied) and fixed_replicas(variant, live) is None


def handovers(fleet: Fleet, observed: Observed) -> list[dict[str, Any]]:
    """Patches that make Deployments forget an applied number of replicas, before a scaler takes over.

    Only the record of the last apply is changed, so the running workers stay as they are.
    """
    found = []
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment) if not variant.runs_as_jobs else None
        if live is not None and needs_handover(variant, live) and live.is_ours(fleet.name):
            metadata = {
                "name": variant.deployment,
                "namespace": fleet.namespace,
                "annotations": {LAST_APPLIED: without_replicas(live.last_applied)},
            }
            found.append({"apiVersion": API_VERSIONS["Deployment"], "kind": "Deployment", "metadata": metadata})
    return found


def disruption_budget(fleet: Fleet, variant: Variant, observed: Observed) -> dict[str, Any] | None:
    """One pod at a time during a node drain. None where there is one pod, which a budget would nail to its node.

    Jobs end by themselves, so a drain waits for them.
    """
    budget = variant.pod.pdb
    most = variant.most_pods
    given = budget is not None and (budget.max_unavailable is not None or budget.min_available is not None)
    if budget is None or (most < 2 and not given and not variant.runs_as_jobs):
        return None
    live = observed.find("Deployment", variant.deployment)
    labels = ownership_labels(fleet.name, variant.service, variant.name)
    # The pods of Jobs have our labels, whatever a Deployment selects that they take the place of.
    selector = labels if variant.runs_as_jobs else _selector(live, labels)
    spec: dict[str, Any] = {"selector": {"matchLabels": selector}}
    if variant.runs_as_jobs:
        # Of pods of Jobs Kubernetes takes a whole number that must stay, and nothing else. This one lets none go.
        spec["minAvailable"] = most if budget.min_available is None else budget.min_available
    elif budget.min_available is not None:
        spec["minAvailable"] = budget.min_available
    else:
        spec["maxUnavailable"] = 1 if budget.max_unavailable is None else budget.max_unavailable
    existing = observed.find("PodDisruptionBudget", variant.deployment)
    return resource(
        "PodDisruptionBudget", fleet, variant.deployment, labels, "worker", existing, spec, variant.pod.labels
    )


def _launcher_files(fleet: Fleet, service: Service, files: dict[str, str]) -> dict[str, Any]:
    labels = ownership_labels(fleet.name, service.name)
    config_map = resource("ConfigMap", fleet, heartbeat_name(service.name), labels, "worker", None, {})
    del config_map["spec"]
    return {**config_map, "data": files}


def _selector(live: ObservedObject | None, labels: dict[str, str]) -> dict[str, str]:
    """Selectors are immutable: a Deployment keeps the one it has."""
    return dict(live.selector) if live is not None and live.selector else labels


def worker_table(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """One row per variant, for people."""
    rows = []
    for variant in fleet.variants:
        scaling = variant.scaling
        rows.append(
            {
                "service": variant.service,
                "variant": variant.name,
                "queues": list(variant.queues),
                "deployment": variant.deployment,
                "replicas": _pods_in_words(variant, observed),
                "list_length": scaling.list_length if variant.has_scaler or variant.runs_as_jobs else None,
                "scaler": "keda, as jobs" if variant.runs_as_jobs else scaling.scaler or "none",
                "sees": ", ".join(seen_by(variant)),
                "to_zero": zero_reason(variant),
                "slots": variant.slots,
                "sizing": [f"{variant.service}.{variant.name}: {reason}" for reason in _explained(variant)],
            }
        )
    return rows


def _explained(variant: Variant) -> Iterable[str]:
    """How its numbers come about, and when it has others."""
    yield from variant.sizing
    if variant.uses_keda:
        yield from (f"schedule: {window.words}" for window in variant.scaling.schedule)
        budget = variant.scaling.budget
        yield from () if budget is None else (f"budget: {budget.words(variant.reserve)}",)


def _pods_in_words(variant: Variant, observed: Observed) -> str:
    """How many pods a variant has: the least and the most, or the number."""
    if variant.has_scaler or variant.runs_as_jobs:
        return f"{variant.scaling.min_replicas}-{variant.scaling.max_replicas}"
    live = observed.find("Deployment", variant.deployment)
    fixed = fixed_replicas(variant, live)
    running = live.replicas if live is not None and live.replicas is not None else 1
    return str(running if fixed is None else fixed)


def seen_by(variant: Variant) -> list[str]:
    """What the scaler of a variant reads, in words."""
    scaling = variant.scaling
    if scaling.scaler == "hpa":
        names = {"CPU": scaling.cpu_utilization or not scaling.memory_utilization, "memory": scaling.memory_utilization}
        return [name for name, wanted in names.items() if wanted]
    if not variant.is_counted:
        return []
    found = ["backlog", "in-flight"] if variant.sees_in_flight else ["backlog"]
    found += ["run time", "arrivals"] if variant.measured_by else []
    found += [name for name in ("schedule", "budget") if getattr(scaling, name)]
    return [*found, *(item["type"] for item in scaling.extra_triggers)]


def zero_reason(variant: Variant) -> str:
    """Why a variant may go to zero pods, or why not."""
    if variant.runs_as_jobs:
        return "yes, each Job ends by itself"
    if not variant.uses_keda:
        return "no, only KEDA goes to 0"
    if variant.goes_to_zero:
        return "yes, in-flight work is seen" if variant.sees_in_flight else "yes, invisible-work is accepted"
    return f"no, {variant.blind_reason}" if variant.blind_reason else f"no, min_replicas {variant.scaling.min_replicas}"


def present_places(fleet: Fleet) -> set[tuple[str, str]]:
    """Service and variant of everything in the inventory; variant is empty for what belongs to a service."""
    variants = [variant for service in fleet.services for variant in (*service.variants, *service.left)]
    return {(service.name, "") for service in fleet.services} | {(item.service, item.name) for item in variants}
