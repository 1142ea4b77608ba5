# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: what in a cluster stands in the way of a fleet. A pure function of Fleet and Observed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    COMPONENT_LABEL,
    SERVICE_LABEL,
    VARIANT_LABEL,
    ownership_labels,
    scaled_object_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import KEDA_KINDS, Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._safety import with_rule
from ansible_collections.queueops.celery.plugins.module_utils._scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._secrets import secret_names
from ansible_collections.queueops.celery.plugins.module_utils._workers import worker_resources


@dataclass(frozen=True)
class Findings:
    """What a preflight found.

    :param problems: what stops the run.
    :param missing: what a real run would stop at, but a dry run can go on without.
    """

    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def wanted_objects(fleet: Fleet) -> list[tuple[str, str]]:
    """Kind and name of every object that a fleet asks for."""
    manifests = [*worker_resources(fleet), *scaler_resources(fleet)]
    secrets = [("Secret", name) for name in secret_names(fleet)]
    return [*secrets, *((item["kind"], item["metadata"]["name"]) for item in manifests)]


def preflight(fleet: Fleet, observed: Observed, creates_namespace: bool, prunes: bool = False) -> Findings:
    """Check a fleet against the cluster, before anything is sent.

    :param creates_namespace: whether the role may create the namespace.
    :param prunes: whether the role will remove what the inventory does not ask for.
    """
    missing = []
    if not observed.namespace_exists and not creates_namespace:
        missing.append(
            f"The namespace {fleet.namespace} does not exist. Create it, correct celery_workers_namespace, or set "
            "celery_workers_create_namespace: true."
        )
    scaled = [variant.deployment for variant in fleet.variants if variant.uses_keda]
    absent = sorted(set(KEDA_KINDS) & set(observed.missing_kinds))
    if scaled and absent:
        missing.append(
            f"The cluster does not know {' and '.join(absent)} (keda.sh/v1alpha1), which {_some(scaled)} need. "
            "Install KEDA, or set enable_keda: false for them."
        )
    problems = [
        *_foreign(fleet, observed),
        *_second_autoscalers(fleet, observed),
        *_overlapping_selectors(fleet, observed),
    ]
    if not prunes:
        problems += _renamed(fleet, observed)
    return Findings(tuple(problems), tuple(missing))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _foreign(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Objects with one of our names that are not ours. They are never written."""
    for kind, name in wanted_objects(fleet):
        live = observed.find(kind, name)
        if live is not None and not live.is_ours(fleet.name):
            mend = "Give the variant another name" if kind in ("Deployment", "ScaledObject") else "Choose other names"
            yield (
                f"{live.identity} in {fleet.namespace} exists and is not ours: it belongs to {live.owner}. {mend} "
                "(key name), or delete that object first; a run never overwrites it."
            )
    yield from _exchanged(fleet, observed)


def _exchanged(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """A Deployment of ours that now stands for another variant would keep a selector that means the old one."""
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment)
        if live is None or not live.is_ours(fleet.name) or COMPONENT_LABEL in live.labels:
            continue
        place = (live.labels.get(SERVICE_LABEL, ""), live.labels.get(VARIANT_LABEL, ""))
        if place != (variant.service, variant.name):
            yield (
                f"Deployment {live.name} runs variant {place[1]} of service {place[0]}, and the inventory gives its "
                f"name to variant {variant.name} of service {variant.service}. Set name on the new variant, or remove "
                "the old Deployment first (celery_workers_prune)."
            )


def _renamed(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """A variant under a new name beside its old Deployment: both would have one selector, and no HPA would scale."""
    for variant in fleet.variants:
        for item in observed.ours(fleet.name):
            place = (item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, ""))
            if item.kind != "Deployment" or item.name == variant.deployment or COMPONENT_LABEL in item.labels:
                continue
            if place == (variant.service, variant.name) and item.selector == _selector_of(fleet, variant):
                yield (
                    f"variant {variant.name} of service {variant.service} runs as Deployment {item.name} and would "
                    f"run as {variant.deployment} beside it. Keep its name, or run with celery_workers_prune: true, "
                    "which removes the old one once the new one is up."
                )


def _selector_of(fleet: Fleet, variant: Variant) -> dict[str, str]:
    return ownership_labels(fleet.name, variant.service, variant.name)


def _second_autoscalers(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Autoscalers of somebody else on our Deployments, found by what they scale, whatever their name."""
    for variant in fleet.variants:
        own = scaled_object_name(variant.deployment)
        live = observed.find("ScaledObject", own)
        is_own_live = live is not None and live.is_ours(fleet.name)
        ours = {item.name for item in observed.ours(fleet.name) if item.kind == "HorizontalPodAutoscaler"}
        for item in observed.autoscalers:
            belongs = own in (item.scaled_object, item.name) and (is_own_live or item.kind == "ScaledObject")
            belongs = belongs or (item.kind == "HorizontalPodAutoscaler" and item.name in ours)
            if item.target != variant.deployment or belongs:
                continue
            if not variant.has_scaler and variant.scaling.replicas is None:
                continue
            decides = "its scaler" if variant.has_scaler else "the fixed number of replicas"
            yield (
                f"{item.kind} {item.name} already scales Deployment {variant.deployment}; {decides} would fight with "
                f"it. Delete that {item.kind}, or leave the number of pods to it: enable_keda: false and no replicas "
                f"for variant {variant.name} of service {variant.service}."
            )


def _overlapping_selectors(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Deployments whose selector, which cannot be changed, also fits another one's pods.

    An HPA that sees pods of two HPAs does nothing (AmbiguousSelector).
    """
    scaled = [variant for variant in fleet.variants if variant.has_scaler]
    pods = _pod_labels(fleet, observed)
    for variant in scaled:
        if "selector-overlap" in variant.knowledge.accept_risks:
            continue
        live = observed.find("Deployment", variant.deployment)
        if live is None or live.selector in ({}, _selector_of(fleet, variant)):
            # Our own selector names the variant, and no other pod can carry that.
            continue
        selector = live.selector
        for other in scaled:
            if other is not variant and selector.items() <= pods[other.deployment].items():
                text = ", ".join(f"{name}={value}" for name, value in sorted(selector.items()))
                yield with_rule(
                    f"Deployment {variant.deployment} selects pods by {text}, which the pods of {other.deployment} "
                    "carry as well, so neither would be scaled. A selector cannot be changed: set name on one of the "
                    "two variants, so that it gets a Deployment of its own, or take the label out of pod_labels.",
                    "selector-overlap",
                )


def _pod_labels(fleet: Fleet, observed: Observed) -> dict[str, dict[str, str]]:
    """Labels of the pods of every Deployment that the fleet asks for."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in worker_resources(fleet, observed)
        if item["kind"] == "Deployment"
    }


def describe_object(item: ObservedObject) -> str:
    """An object and whose variant it was, for warnings."""
    service, variant = item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, "")
    place = f" (variant {variant} of service {service})" if variant else f" (service {service})" if service else ""
    return f"{item.identity}{place}"
