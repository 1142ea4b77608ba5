# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run does, as data: an ordered list of steps that hold only what differs from the cluster.

Pure: the same fleet and the same cluster give the same plan. Nothing here reads or writes a cluster, or knows a secret.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from ._build.workers import (
    present_places,
)
from ._celery.adoption import (
    releases,
)
from ._check.missing_secrets import missing_secrets
from ._check.preflight import (
    describe_object,
    preflight,
    wanted_objects,
)
from ._cluster.lacking import GRANTED_BY
from ._model.fleet import Fleet
from ._model.names import (
    SECRETS_ANNOTATION,
    attached_names,
    history_name,
)
from ._model.observed import (
    LAST_APPLIED,
    Leftovers,
    Observed,
    ObservedObject,
    leftovers,
    removal_order,
    template_of,
)
from ._plan.boosting import boost_notes, boost_warnings
from ._plan.data import SCALERS, TO_COME, Merge, Object, Plan, Sight, Wishes
from ._plan.described import described, with_manifests
from ._plan.draining import drain_warnings
from ._plan.pausing import pause_notes, pause_warnings
from ._plan.steps import (
    Making,
    deletion,
    deletions,
    emptying,
    giving_back,
    recount,
    resting,
    with_steps,
    without_data,
)
from ._plan.switching import held_back
from ._plan.trying import unseen
from ._schema.placeholders import placeholder_message, placeholders


def plan(
    fleet: Fleet,
    sight: Sight,
    wishes: Wishes,
    merge: Merge,
    secrets: Collection[Object] = (),
    stale_secrets: Collection[str] = (),
) -> Plan:
    """What a run does to bring a fleet into its cluster.

    :param secrets: the Secrets of the fleet, each with its keys only.
    :param stale_secrets: names of those that are not in the cluster as they should be.
    """
    findings = preflight(fleet, sight.observed, wishes.creates_namespace, wishes.prunes, wishes.waits)
    said = described(fleet, sight.observed, wishes)
    unwanted = _leftovers(fleet, sight, wishes)
    said = replace(
        said,
        problems=(*findings.problems, *held_back(fleet, sight.observed), *sight.risk.problems, *sight.left.problems),
        missing=findings.missing,
        draining=tuple(sight.risk.busy.values()),
        notes=tuple(_notes(fleet, sight, unwanted, wishes)),
        warnings=(*said.warnings, *findings.warnings, *_warnings(fleet, sight, unwanted, wishes)),
    )
    if said.problems or (said.missing and not wishes.checks):
        return said
    # A Secret that is about to be sent has a version to come; pods that read it roll with it.
    seen = with_versions(sight.observed, dict.fromkeys(stale_secrets, TO_COME), secrets)
    found = with_manifests(said, fleet, seen, wishes.checks)
    unfound = missing_secrets(found.manifests, said.secrets, fleet, sight.observed)
    found = replace(found, warnings=(*found.warnings, *unfound))
    masked = [
        *placeholders(found.manifests),
        *placeholders([found.adoptions, sight.risk.drains, releases(fleet, seen)]),
    ]
    if masked:
        return replace(found, problems=(placeholder_message(masked),))
    seen_sight = replace(sight, observed=seen)
    making = Making(fleet, seen_sight, wishes, found, findings, unwanted, secrets, stale_secrets, merge)
    return with_steps(making)


def plan_removal(fleet: Fleet, sight: Sight, wishes: Wishes) -> Plan:
    """What takes a fleet away, found by label and never computed, whatever the inventory says by now."""
    left, every = sight.left, removal_order(sight.observed.ours(fleet.name))
    own = without_data(every, wishes)
    # The scalers of workers that have nothing to do go after these.
    early = [item for item in own if item.kind in SCALERS and not _is_of(item, left.idle)]
    rest = [item for item in own if item not in early]
    drains = wishes.key_change == "drain"
    steps = [
        deletion("Remove scalers", early, fleet.namespace),
        # Before any worker goes, so that no queue is without a consumer.
        *giving_back(releases(fleet, sight.observed), wishes),
        *emptying(
            rest, left, fleet.namespace, drains=drains or bool(left.moves), now=sight.observed.now, looks_again=drains
        ),
        recount(left, "The scalers of busy workers are removed, and nothing else is"),
        *deletions("Remove everything else that carries the fleet's label", rest, left, fleet.namespace),
        resting(left),
    ]
    busy = () if wishes.key_change == "accept" else sight.risk.busy.values()
    problems = (*sight.risk.problems, *busy, *left.problems)
    return Plan(
        steps=tuple(step for step in steps if step is not None and step.objects),
        problems=problems,
        notes=(*left.notes, *_kept_claims(every, wishes)),
        warnings=tuple(_hidden(fleet, sight.observed)),
    )


def _hidden(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """What a removal could not find."""
    if observed.hidden_kinds:
        yield (
            f"The account may not list {', '.join(observed.hidden_kinds)} in namespace {fleet.namespace}. What the "
            f"fleet has of these stays there. An administrator grants the rights with {GRANTED_BY}."
        )


def _is_of(scaler: ObservedObject, deployments: Collection[str]) -> bool:
    return any(scaler.name in attached_names(name) for name in deployments)


def _leftovers(fleet: Fleet, sight: Sight, wishes: Wishes) -> Leftovers:
    risk = sight.risk
    busy = [("Deployment", name) for name in risk.busy]
    history = [("ConfigMap", history_name(fleet.name))] if wishes.history else []
    wanted = [*wanted_objects(fleet), *busy, *sorted(risk.needed), *history]
    return leftovers(sight.observed, fleet.name, wanted, present_places(fleet))


def _notes(fleet: Fleet, sight: Sight, unwanted: Leftovers, wishes: Wishes) -> Iterator[str]:
    yield from pause_notes(fleet, sight.observed)
    yield from boost_notes(fleet, sight.observed)
    yield from sight.left.notes
    yield from _kept_claims((*unwanted.retired, *(unwanted.orphans if wishes.prunes else ())), wishes)


def _kept_claims(going: Iterable[ObservedObject], wishes: Wishes) -> Iterator[str]:
    """Claims that stay although nothing uses them any more."""
    names = [item.name for item in going if item.kind == "PersistentVolumeClaim"]
    if names and not wishes.removes_data:
        yield (
            f"PersistentVolumeClaim {', '.join(names)} stays, with the data in its volume. Remove it with "
            "celery_workers_remove_data: true."
        )


def _warnings(fleet: Fleet, sight: Sight, unwanted: Leftovers, wishes: Wishes) -> Iterator[str]:
    yield from sight.risk.warnings
    yield from pause_warnings(fleet, sight.observed)
    yield from drain_warnings(fleet, sight.observed)
    yield from boost_warnings(fleet, sight.observed)
    yield from () if wishes.waits else unseen(fleet, unwanted.switched)
    yield from _orphan_warnings(fleet, unwanted, wishes)


def _orphan_warnings(fleet: Fleet, unwanted: Leftovers, wishes: Wishes) -> Iterator[str]:
    names = [describe_object(item) for item in unwanted.orphans]
    if fleet.services and names and not wishes.prunes:
        yield (
            f"The inventory does not ask for {', '.join(names)} of fleet {fleet.name}, so nothing updates them. "
            "Remove them with celery_workers_prune: true."
        )


def with_versions(observed: Observed, versions: Mapping[str, str], secrets: Iterable[Object] = ()) -> Observed:
    """What runs, with other versions of some Secrets.

    :param secrets: those that may not be there yet.
    """
    if not versions:
        return observed
    labels = {str(item["metadata"]["name"]): dict(item["metadata"].get("labels") or {}) for item in secrets}
    objects = []
    left = dict(versions)
    for item in observed.objects:
        version = left.pop(item.name, None) if item.kind == "Secret" else None
        objects.append(item if version is None else replace(item, resource_version=version))
    objects += [
        ObservedObject("Secret", name, labels.get(name, {}), resource_version=version) for name, version in left.items()
    ]
    return replace(observed, objects=tuple(objects))


def filled_in(item: Object, versions: Mapping[str, str]) -> Object:
    """A manifest whose pods name the versions that Secrets have, now that they are sent.

    :param versions: name of a Secret that was sent to its version.
    """
    record = (item["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if record:
        filled = json.dumps(filled_in(json.loads(record), versions), separators=(",", ":"), sort_keys=True)
        notes = {**item["metadata"]["annotations"], LAST_APPLIED: filled}
        return {**item, "metadata": {**item["metadata"], "annotations": notes}}
    kind = str(item.get("kind"))
    pod = template_of(kind, item.get("spec") or {}).get("metadata") or {}
    note = (pod.get("annotations") or {}).get(SECRETS_ANNOTATION)
    if not note or TO_COME not in note:
        return item
    told = json.loads(note)
    known = {name: versions.get(name, version) if version == TO_COME else version for name, version in told.items()}
    made = copy.deepcopy(item)
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    template_of(kind, made["spec"])["metadata"]["annotations"][SECRETS_ANNOTATION] = text
    return made
