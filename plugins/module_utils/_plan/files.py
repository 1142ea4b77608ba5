# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans whose objects become files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .._check.config_maps import missing_config_maps
from .._check.preflight import (
    wanted_objects,
)
from .._model.drains import PARALLEL
from .._model.fleet import Fleet
from .._model.names import (
    FLEET_LABEL,
    SERVICE_LABEL,
    VARIANT_LABEL,
)
from .._model.observed import (
    Observed,
    ObservedObject,
)
from .._schema.kubernetes_values import OWN_DOMAIN
from .._schema.placeholders import placeholder_message, placeholders
from .data import Object, Plan, Wishes
from .described import described, with_manifests
from .steps import _dashboard, _delivery


def plan_files(fleet: Fleet, observed: Observed, wishes: Wishes, before: Iterable[Object] = ()) -> Plan:
    """What manifest files hold and say. No cluster is asked.

    :param observed: what a rendered Tutor project says of a cluster.
    :param before: Deployments of ours in the files of the run before.
    """
    written = list(written_before(fleet, before))
    said = described(fleet, observed, wishes)
    problems = (
        *other_namespace(fleet, observed),
        *missing_config_maps(fleet, observed),
        *other_fleet(fleet, written),
        *exchanged_files(fleet, written),
    )
    if problems:
        return replace(said, problems=problems)
    steps = tuple(_delivery(fleet, wishes)) + tuple(_dashboard(fleet))
    said = replace(said, warnings=(*said.warnings, *_no_order(wishes)))
    found = replace(with_manifests(said, fleet, with_selectors(observed, written)), steps=steps)
    masked = [*placeholders(found.manifests), *placeholders(found.adoptions)]
    return replace(found, problems=(placeholder_message(masked),)) if masked else found


def _no_order(wishes: Wishes) -> Iterator[str]:
    if wishes.rollout != PARALLEL:
        yield (
            f"celery_workers_rollout: {wishes.rollout} has no effect on files: what applies them decides on the order. "
            "Leave it out, or run with celery_workers_output: cluster."
        )


def written_before(fleet: Fleet, before: Iterable[Object]) -> Iterator[ObservedObject]:
    """Labels of ours and selectors of Deployments that the files of the run before have in the fleet's namespace."""
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    for raw in before:
        metadata = _mapping(raw.get("metadata"))
        name = str(metadata.get("name"))
        labels = _mapping(metadata.get("labels"))
        selector = _mapping(_mapping(_mapping(raw.get("spec")).get("selector")).get("matchLabels"))
        if selector and name not in adopted and metadata.get("namespace") == fleet.namespace:
            # Labels for people are free to change, so that those of before say nothing.
            own = {str(label): str(value) for label, value in labels.items() if str(label).startswith(OWN_DOMAIN)}
            chosen = {str(label): str(value) for label, value in selector.items()}
            pod = _mapping(_mapping(_mapping(raw.get("spec")).get("template")).get("spec"))
            account = str(pod.get("serviceAccountName") or "")
            yield ObservedObject(
                "Deployment", name, own, selector=chosen, account=account, account_applied=bool(account)
            )


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def with_selectors(observed: Observed, written: Iterable[ObservedObject]) -> Observed:
    """What is known of a cluster, with the selectors that files of ours have brought into it.

    A selector is immutable, so a file with another one could not be applied over the one of before.
    """
    objects = {(item.kind, item.name): item for item in observed.objects}
    for item in written:
        key = (item.kind, item.name)
        known = objects.get(key)
        objects[key] = item if known is None else replace(known, selector=item.selector, account=item.account)
    return replace(observed, objects=tuple(objects.values()))


def other_fleet(fleet: Fleet, written: Iterable[ObservedObject]) -> Iterator[str]:
    """Files of a fleet that had another name would keep selectors by that name, under labels with the new one."""
    wanted = {name for kind, name in wanted_objects(fleet) if kind == "Deployment"}
    before = {item.name: item.selector.get(FLEET_LABEL, fleet.name) for item in written if item.name in wanted}
    names = [name for name, owner in before.items() if owner != fleet.name]
    if names:
        old = before[names[0]]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield (
            f"celery_workers_fleet: the files were written for the fleet {old}, and this run is for {fleet.name}. The "
            f"selector of Deployment {names[0]}{more} names {old}, and a selector cannot be changed. Write "
            f"celery_workers_fleet: {old}, or remove the fleet {old} from the cluster and its files first "
            "(celery_workers_state: absent)."
        )


def exchanged_files(fleet: Fleet, written: Iterable[ObservedObject]) -> Iterator[str]:
    """A Deployment file that is now for another variant would keep a selector that means the old one."""
    selectors = {item.name: item.selector for item in written}
    for variant in fleet.variants:
        selector = selectors.get(variant.deployment, {})
        place = (selector.get(SERVICE_LABEL, variant.service), selector.get(VARIANT_LABEL, variant.name))
        if place != (variant.service, variant.name):
            yield (
                f"{variant.title}: the file of Deployment {variant.deployment} was written for variant {place[1]} of "
                f"service {place[0]}, and its selector, which cannot be changed, means that one. Set name on variant "
                f"{variant.name}, or delete the Deployment from the cluster and its file before."
            )


def other_namespace(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """Whether a rendered project runs in another namespace than what is made out of its Deployments."""
    if observed.namespace in ("", fleet.namespace):
        return
    deployments = {item.name for item in observed.objects if item.kind == "Deployment"}
    wanted = {name for kind, name in wanted_objects(fleet) if kind == "Deployment"}
    uses = [
        *(
            f"the workers of service {service.name} are made like Deployment {' or '.join(service.inherits)}"
            for service in fleet.services
            if service.inherits
        ),
        *(f"{item.title} adopts Deployment {item.deployment}" for item in fleet.variants if item.adopted),
        *(f"Deployment {name} is taken over" for name in sorted(wanted & deployments) if fleet.take_over),
    ]
    if uses:
        yield (
            f"celery_workers_namespace: {'; '.join(uses)}, and the project in celery_workers_tutor_root runs in the "
            f"namespace {observed.namespace}, not in {fleet.namespace}. Pods can only use what is in their own "
            f"namespace. Write celery_workers_namespace: {observed.namespace}, or name the project that runs in "
            f"{fleet.namespace}."
        )
