# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a run: what goes first, what waits, and what may go only then."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import chain

from .._build.dashboards import dashboard_file, dashboard_text
from .._build.routing import (
    RoutingOptions,
    tutor_plugin,
)
from .._build.workers import (
    handovers,
)
from .._celery.adoption import (
    cut_by_adoption,
    releases,
    replaced_by_adoption,
)
from .._check.preflight import (
    Findings,
    removal_of,
)
from .._cluster.changes import identity
from .._cluster.leaving import Leaving, Left, Move
from .._cluster.readiness import deployment_waits, scaled_object_waits
from .._model.drains import AFTER_DRAIN, PARALLEL, SERIAL
from .._model.fleet import Fleet
from .._model.names import VARIANT_LABEL, scaled_object_name
from .._model.observed import (
    LAST_APPLIED,
    WORKER_KINDS,
    Leftovers,
    Observed,
    ObservedObject,
    definition,
    removal_order,
    without_replicas,
)
from .comparing import differs
from .data import (
    APPLY,
    ASK,
    COUNT,
    DELETE,
    DRAIN_AGAIN,
    LOOK,
    MOVE,
    PATCH,
    REST,
    SCALERS,
    TAKE_BACK,
    WAIT,
    WRITE,
    Live,
    Merge,
    Object,
    Plan,
    Sight,
    Step,
    Wishes,
)
from .draining import drain_pauses, drained_again
from .pausing import resumptions
from .rolling import Wave, interrupted, order_note, replaces, undrainable, wave_steps, waves_of, without_waves
from .switching import as_workers, clearing, finishing, stopped, switches
from .trying import changed_trial, trial


@dataclass(frozen=True)
class Making:
    """What the steps of one run are made from.

    :param found: the plan so far, with its manifests.
    :param unwanted: objects of the fleet that nothing asks for.
    :param secrets: the Secrets of the fleet, each with its keys only.
    :param stale_secrets: names of those that are not in the cluster as they should be.
    :param merge: kubernetes.core's three-way merge.
    """

    fleet: Fleet
    sight: Sight
    wishes: Wishes
    found: Plan
    findings: Findings
    unwanted: Leftovers
    secrets: Collection[Object]
    stale_secrets: Collection[str]
    merge: Merge

    @property
    def observed(self) -> Observed:
        """The cluster as it was read."""
        return self.sight.observed

    @property
    def can_send(self) -> bool:
        """Whether there is a namespace, or will be."""
        return self.observed.namespace_exists or not self.wishes.checks

    @property
    def stale(self) -> list[Object]:
        """The Secrets that are sent."""
        return [secret for secret in self.secrets if secret["metadata"]["name"] in self.stale_secrets]


def with_steps(making: Making) -> Plan:
    """The plan with its steps: what is sent, what is waited for, and what goes only then."""
    sendable, not_sent = _sendable(
        making.found.manifests, making.observed, making.findings, making.unwanted, making.wishes
    )
    live, observed, wishes = making.sight.live, making.observed, making.wishes
    changed = [item for item in sendable if differs(item, live.get(_key(item)), making.merge)]
    waves = waves_of(making.fleet, observed, live, changed, making.merge, wishes)
    problems = tuple(undrainable(making.fleet, observed, waves, wishes))
    if problems:
        return replace(making.found, problems=(*making.found.problems, *problems))
    first = [step for step in _before_waiting(making, changed, waves) if step is not None and step.objects]
    writes = any(step.action in (APPLY, PATCH, DELETE, TAKE_BACK) for step in first)
    switched = bool(making.unwanted.switched)
    must_wait = _must_wait(making.found, making.sight, making.wishes, writes, switched)
    waits = [_waiting(making.found)] if must_wait else []
    last = [one for one in _after_waiting(making, changed) if one is not None and (one.objects or one.action == WAIT)]
    ask = wishes.verifies and not wishes.checks
    kept = [secret for secret in making.secrets if secret not in making.stale]
    untouched = (*kept, *(item for item in sendable if item not in changed)) if making.can_send else ()
    return replace(
        making.found,
        notes=(*making.found.notes, *order_note(waves, wishes)),
        warnings=(*making.found.warnings, *_undrained(making, changed)),
        steps=(*first, *waits, *last, *([Step("Ask the workers what is in force", ASK)] if ask else [])),
        unchanged=tuple(identity(item) for item in untouched),
        not_sent=(*(() if making.can_send else making.secrets), *not_sent),
    )


def _before_waiting(making: Making, changed: list[Object], waves: Sequence[Wave]) -> Iterator[Step | None]:
    """Everything until the new workers run. At no step is a queue without a consumer, or a scaler without sight."""
    fleet, observed, wishes = making.fleet, making.observed, making.wishes
    yield from _namespace(fleet, observed, wishes)
    yield Step("Send the Secrets", APPLY, tuple(making.stale) if making.can_send else (), hides=True)
    # The old workers' key keeps one worker of its own, until a later run finds it empty.
    yield Step("Leave a worker on keys that change", APPLY, tuple(making.sight.risk.drains))
    yield from _delivery(fleet, wishes)
    # Two autoscalers on one Deployment fight, and KEDA refuses the second one.
    doomed = tuple(removal_of(item, fleet.namespace) for item in making.findings.doomed)
    yield Step("Remove autoscalers of others", DELETE, doomed)
    # A scaler that is switched off must not scale what is about to get a fixed number of pods.
    retired = [item for item in making.unwanted.retired if item.kind in SCALERS]
    yield deletion("Remove scalers that are switched off", removal_order(retired), fleet.namespace)
    back = releases(fleet, observed)
    yield from giving_back(back, wishes)
    # Only the record of the last apply is changed. Without this the next step would set one pod.
    yield Step("Hand the number of pods over to who decides on it now", PATCH, _handed_over(fleet, observed, wishes))
    sent = without_waves(changed, waves)
    replaced = [item for item in sent if replaces(item, making.sight.live.get(_key(item)), making.merge)]
    yield from interrupted(fleet, observed, waves, replaced, wishes)
    yield Step("Apply everything but Secrets", APPLY, tuple(_in_rows(sent)), hides=fleet.take_over)
    # With what the inventory says of them by now, and not before.
    ended = tuple(resumptions(fleet, observed))
    yield Step("Resume what was paused until now", PATCH, ended, is_change=True)
    yield Step(
        "Pause the scalers of what is drained", PATCH, drain_pauses(fleet, observed, wishes.checks), is_change=True
    )
    # An HPA that found no pod was woken with a number, which is its own to decide from now on.
    yield Step("Hand over the number of pods that were woken", PATCH, _woken(fleet, sent, wishes))
    made = [str(item["metadata"]["name"]) for item in sent if item["kind"] == "Deployment"]
    yield from wave_steps(fleet, observed, waves, [*made, *_not_up(making, waves)], wishes)
    yield from _dashboard(fleet)
    yield clearing(fleet, observed)


def _not_up(making: Making, waves: Sequence[Wave]) -> Iterator[str]:
    """Deployments that did not come up in an earlier run that went one by one, and that this one does not replace."""
    own = {wave.variant.deployment for wave in waves}
    for name in making.found.deployments if making.wishes.rollout == SERIAL else ():
        live = making.sight.live.get(("Deployment", name))
        if name not in own and live is not None and deployment_waits(live, ()) is not None:
            yield name


def _after_waiting(making: Making, changed: list[Object]) -> Iterator[Step | None]:
    """What may go, or leave a queue to others, once the new workers are up."""
    fleet, unwanted = making.fleet, making.unwanted
    if making.wishes.waits and not making.wishes.checks:
        # Before anything leaves a queue to these Jobs.
        yield changed_trial(fleet, making.sight.live, changed, making.merge, unwanted.switched)
    yield from _narrowing(fleet, making.observed, making.wishes, making.found.adoptions)
    # Pods that have started in this run take work, until they are told not to.
    again = drained_again(fleet, making.observed, _rolled(making, changed))
    yield Step("Drain again what was drained", DRAIN_AGAIN, again if making.wishes.waits else ())
    if making.wishes.waits and not making.wishes.checks:
        yield trial(fleet, unwanted.switched)
    yield from switches(unwanted.switched, fleet.namespace, making.wishes.key_change == "accept", making.observed.now)
    # Only now: until then pods of the version before may still start, and need it.
    yield deletion(
        "Remove what variants do not need any more",
        removal_order(without_data((item for item in unwanted.retired if item.kind not in SCALERS), making.wishes)),
        fleet.namespace,
    )
    yield from _pruning(fleet, unwanted, making.wishes, making.sight.left, making.observed.now)
    yield resting(making.sight.left)


def _rolled(making: Making, changed: Iterable[Object]) -> list[str]:
    """Deployments that get new pods."""
    fields, live = ("spec.template", "spec.replicas"), making.sight.live
    own = [item for item in changed if replaces(item, live.get(_key(item)), making.merge, fields)]
    return [str(item["metadata"]["name"]) for item in [*own, *making.found.adoptions]]


def _undrained(making: Making, changed: Iterable[Object]) -> Iterator[str]:
    """Drained variants whose new pods are not told, because nothing waits for them."""
    if not making.wishes.waits:
        for item in drained_again(making.fleet, making.observed, _rolled(making, changed)):
            yield f"{item['title']}: it is drained, and its new pods take work: drain it again once they are up"


def _key(item: Object) -> tuple[str, str]:
    return str(item["kind"]), str(item["metadata"]["name"])


def _sendable(
    manifests: Iterable[Object], observed: Observed, findings: Findings, unwanted: Leftovers, wishes: Wishes
) -> tuple[list[Object], list[Object]]:
    """What can be sent, and what a dry run cannot send."""
    manifests = list(manifests)
    if wishes.checks and not observed.namespace_exists:
        return [], manifests
    held_back: set[str] = set()
    if wishes.checks:
        # In a dry run an autoscaler that gives way is still there, and KEDA refuses a second one.
        held_back = {scaled_object_name(item.target) for item in findings.doomed}
        held_back |= {
            scaled_object_name(item.name.removesuffix("-hpa"))
            for item in unwanted.retired
            if item.kind == "HorizontalPodAutoscaler"
        }
    sent: list[Object] = []
    left: list[Object] = []
    for item in manifests:
        kind, name = _key(item)
        (left if kind in observed.missing_kinds or name in held_back else sent).append(item)
    return sent, left


def _namespace(fleet: Fleet, observed: Observed, wishes: Wishes) -> Iterator[Step]:
    if wishes.creates_namespace and not observed.namespace_exists and not wishes.checks:
        yield Step("Create the namespace", APPLY, (namespace_manifest(fleet.namespace),))


def namespace_manifest(name: str) -> Object:
    """The Namespace of a fleet. It carries no label of ours: the role never removes one."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deletion(name: str, doomed: Iterable[ObservedObject], namespace: str) -> Step | None:
    objects = tuple(definition(item, namespace) for item in doomed)
    return Step(name, DELETE, objects) if objects else None


def giving_back(back: list[Object], wishes: Wishes) -> Iterator[Step]:
    """Command lines and grace periods of their owners come back; what these have changed since stays."""
    if not back:
        return
    yield Step("Give back what is adopted no more", PATCH, tuple(back), is_strategic=True, hides=True)
    if wishes.waits and not wishes.checks:
        reason = (
            "These Deployments were given back and have not come up, so nothing else is removed. A second run waits "
            "again."
        )
        names = [str(item["metadata"]["name"]) for item in back]
        yield Step("Wait until it runs as before", WAIT, _deployments_of(names), reason=reason)


def _deployments_of(names: Iterable[str]) -> tuple[Object, ...]:
    return tuple({"kind": "Deployment", "metadata": {"name": name}} for name in names)


def _in_rows(changed: Iterable[Object]) -> Iterator[Object]:
    """The same with the budgets of variants behind all their Deployments: what is of one kind and in a row is sent
    together."""
    budgets: list[Object] = []
    for item in changed:
        if item["kind"] == "PodDisruptionBudget":
            budgets.append(item)
            continue
        if item["kind"] != "Deployment":
            yield from budgets
            budgets.clear()
        yield item
    yield from budgets


def _handed_over(fleet: Fleet, observed: Observed, wishes: Wishes) -> tuple[Object, ...]:
    return () if wishes.checks else tuple(handovers(fleet, observed))


def _woken(fleet: Fleet, changed: Iterable[Object], wishes: Wishes) -> tuple[Object, ...]:
    """Patches that make Deployments forget the number by which this run has woken them."""
    scaled = {variant.deployment for variant in fleet.variants if variant.has_scaler}
    found = []
    for item in changed if not wishes.checks else ():
        if item["kind"] == "Deployment" and item["metadata"]["name"] in scaled and "replicas" in item["spec"]:
            notes = {LAST_APPLIED: without_replicas(json.dumps(item))}
            metadata = {"name": item["metadata"]["name"], "namespace": fleet.namespace, "annotations": notes}
            found.append({"apiVersion": item["apiVersion"], "kind": "Deployment", "metadata": metadata})
    return tuple(found)


def _waiting(found: Plan, name: str = "Wait until the workers are up") -> Step:
    named = (("ScaledObject", found.scaled_objects), ("ScaledJob", found.scaled_jobs))
    scalers = ({"kind": kind, "metadata": {"name": item}} for kind, names in named for item in names)
    return Step(name, WAIT, (*_deployments_of(found.deployments), *scalers))


def _must_wait(found: Plan, sight: Sight, wishes: Wishes, writes: bool, switched: bool) -> bool:
    """Whether there is something to wait for; what was read says so, unless something is sent."""
    # What is narrowed, or gives way, leaves its queues to the others, so these must be up in any case.
    if wishes.checks or not (wishes.waits or found.adoptions or switched):
        return False
    return writes or not is_up(found, sight.live)


def is_up(found: Plan, live: Live) -> bool:
    """Whether every Deployment, ScaledObject and ScaledJob of a plan was up when the cluster was read."""
    deployments = [live.get(("Deployment", name)) for name in found.deployments]
    scalers = [live.get(("ScaledObject", name)) for name in found.scaled_objects]
    jobs = [live.get(("ScaledJob", name)) for name in found.scaled_jobs]
    up = all(item is None or deployment_waits(item, ()) is None for item in deployments)
    return up and all(item is None or scaled_object_waits(item) is None for item in (*scalers, *jobs))


def _narrowing(fleet: Fleet, observed: Observed, wishes: Wishes, patches: tuple[Object, ...]) -> Iterator[Step]:
    """Every other worker is up by now, so that each queue keeps a consumer."""
    if not patches:
        return
    cut = {item.deployment for item in cut_by_adoption(fleet, observed)} if wishes.key_change == "drain" else set()
    if wishes.rollout == AFTER_DRAIN:
        cut = replaced_by_adoption(fleet, observed)
    # Where the others wait for it, each is narrowed once the one before is up.
    for some in [(patch,) for patch in patches] if wishes.rollout != PARALLEL else [patches]:
        forgets: tuple[Object, ...] = ()
        names = [str(patch["metadata"]["name"]) for patch in some]
        if cut & set(names):
            busy = [item for item in observed.objects if item.kind == "Deployment" and item.name in cut & set(names)]
            steps = list(finishing("Let its workers finish what they run", busy, fleet.namespace, observed.now))
            yield from steps
            forgets = tuple(chain.from_iterable(step.undo for step in steps))
        yield Step("Narrow adopted Deployments", PATCH, some, is_strategic=True, hides=True)
        # Its new pods take work.
        yield Step("Forget that they took nothing new", PATCH, forgets)
        if wishes.waits and not wishes.checks:
            every = sorted(variant.deployment for variant in fleet.variants if variant.adopted)
            yield Step("Wait until what was adopted is up", WAIT, _deployments_of(every if some == patches else names))


def _pruning(
    fleet: Fleet, unwanted: Leftovers, wishes: Wishes, left: Left, now: datetime | None
) -> Iterator[Step | None]:
    if wishes.prunes:
        orphans = removal_order(without_data(unwanted.orphans, wishes))
        yield from emptying(orphans, left, fleet.namespace, drains=bool(left.moves), now=now)
        yield recount(left, "Everything is applied, and nothing that no variant owns is removed")
        rest = [item for item in orphans if not (left.moves and item.kind in SCALERS)]
        yield from deletions("Remove what no variant owns", rest, left, fleet.namespace)


def recount(left: Left, done: str) -> Step | None:
    """What has come since the run began into queues whose workers go. What is moved has been counted by that.

    :param done: what the run has done, for one that stops there.
    """
    moved = {move.deployment for move in left.moves}
    going = tuple(_as_object(item) for item in left.leaving if item.goes and item.deployment not in moved)
    reason = f"{done}, because work has come since the run began."
    return Step("Count once more what waits for workers that go", COUNT, going, reason=reason) if going else None


def resting(left: Left) -> Step:
    """What stays in queues that lost their worker."""
    return Step("Count what stays without a worker", REST, tuple(map(_as_object, left.leaving)))


def deletions(name: str, doomed: Collection[ObservedObject], left: Left, namespace: str) -> Iterator[Step | None]:
    """Workers that have nothing to do go before their scalers: only these know it, should the run end in between."""
    idle = [item for item in doomed if item.kind in WORKER_KINDS and item.name in left.idle]
    yield deletion("Remove workers that have nothing to do", idle, namespace)
    yield deletion(name, [item for item in doomed if item not in idle], namespace)


def emptying(
    going: Collection[ObservedObject],
    left: Left,
    namespace: str,
    drains: bool,
    now: datetime | None,
    looks_again: bool = False,
) -> Iterator[Step | None]:
    """What happens before workers go: they finish what they run, and what waits in their queues is moved.

    Their scalers first, so that none of them gets another pod meanwhile.

    :param drains: whether they finish what they run.
    :param now: when the run has begun.
    :param looks_again: whether it was not judged before what they hold.
    """
    workers = [item for item in going if item.kind in WORKER_KINDS and VARIANT_LABEL in item.labels]
    if left.moves or drains:
        # Who has nothing to do is not paused: KEDA would read its queues no more, and nothing else knows what comes.
        yield from stopped([item for item in workers if item.name not in left.idle], namespace)
    if left.moves:
        yield deletion("Remove the scalers of what goes", [item for item in going if item.kind in SCALERS], namespace)
    if drains and workers:
        yield from finishing("Let the workers that go finish what they run", workers, namespace, now)
    if looks_again and workers:
        yield Step("See that the workers that go hold nothing", LOOK, as_workers(workers))
    if left.moves:
        yield Step("Move what waits to another queue", MOVE, tuple(map(_as_object, left.moves)))


def _as_object(item: Move | Leaving) -> Object:
    told = asdict(item)
    return {**told, "kind": told.get("kind", "Deployment"), "metadata": {"name": item.deployment}}


def without_data(items: Iterable[ObservedObject], wishes: Wishes) -> list[ObservedObject]:
    """Objects that are removed: what is in volumes stays until it is asked for."""
    return [item for item in items if wishes.removes_data or item.kind != "PersistentVolumeClaim"]


def _delivery(fleet: Fleet, wishes: Wishes) -> Iterator[Step]:
    """The queue is chosen where a task is sent, so web pods and workers alike load what is made here."""
    if fleet.routing_delivery == "tutor_plugin":
        text = tutor_plugin(fleet, RoutingOptions(wishes.redis_policy, wishes.disable_hpa))
        path = f"{wishes.tutor_plugins_root}/queueops_celery.py"
        yield Step("Write the Tutor plugin", WRITE, ({"path": path, "content": text},))


def _dashboard(fleet: Fleet) -> Iterator[Step]:
    path = dashboard_file(fleet)
    if path:
        yield Step("Write the dashboard", WRITE, ({"path": path, "content": dashboard_text(fleet)},))
