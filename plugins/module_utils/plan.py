# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run does, as data: an ordered list of steps that hold only what differs from the cluster.

Pure: the same fleet and the same cluster give the same plan. Nothing here reads or writes a cluster, or knows a secret.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ._build.alerts import alert_table
from ._build.dashboards import dashboard_file, dashboard_text
from ._build.flower import flower_table
from ._build.routing import (
    RoutingOptions,
    routing_resources,
    routing_table,
    routing_warnings,
    tutor_plugin,
)
from ._build.scalers import scaler_resources
from ._build.secret_table import secret_table
from ._build.secrets import generated, secret_names
from ._build.watching import watching_resources
from ._build.workers import (
    handovers,
    present_places,
    worker_resources,
    worker_table,
)
from ._celery.adoption import (
    adoptions,
    cut_by_adoption,
    releases,
    unseen_adoptions,
)
from ._check.preflight import (
    Findings,
    describe_object,
    preflight,
    removal_of,
    wanted_objects,
)
from ._cluster.asking import AtRisk
from ._cluster.changes import identity
from ._cluster.readiness import deployment_waits, scaled_object_waits
from ._model.fleet import Fleet
from ._model.names import (
    SECRETS_ANNOTATION,
    SERVICE_LABEL,
    VARIANT_LABEL,
    scaled_object_name,
)
from ._model.observed import (
    LAST_APPLIED,
    NOTHING,
    Leftovers,
    Observed,
    ObservedObject,
    definition,
    leftovers,
    removal_order,
    without_replicas,
)
from ._schema.kubernetes_values import OWN_DOMAIN
from ._schema.placeholders import placeholder_message, placeholders

Object = dict[str, Any]
#: What an API server returned, by kind and name.
Live = Mapping[tuple[str, str], Object]
#: kubernetes.core's three-way merge of last applied, wanted and live: the patch that it would send.
Merge = Callable[[Object, Object, Object], Object]

#: What a step does with its objects.
DELETE, PATCH, APPLY, WAIT, ASK, WRITE = "delete", "patch", "apply", "wait", "ask", "write"
SCALERS = ("ScaledObject", "HorizontalPodAutoscaler")

#: Stands for the version of a Secret that this run sends, until it is sent.
TO_COME = "changes"


@dataclass(frozen=True)
class Step:
    """One thing that a run does, with what it does it to.

    :param objects: manifests to apply, patches, definitions to delete, or what is waited for or asked. A Secret shows
        its keys only.
    :param is_strategic: of patches, whether lists in them are merged by key.
    :param hides: whether what comes back may show what others keep in plain sight.
    :param reason: what a failing wait is about.
    """

    name: str
    action: str
    objects: tuple[Object, ...] = ()
    is_strategic: bool = False
    hides: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Wishes:
    """What a run is asked for beside the inventory.

    :param checks: whether nothing may be changed (check mode).
    """

    checks: bool = False
    creates_namespace: bool = False
    prunes: bool = False
    key_change: str = "stop"
    waits: bool = True
    verifies: bool = False
    output: str = "cluster"
    on_openedx: bool = False
    openedx_release: str = ""
    redis_policy: str = ""
    disable_hpa: bool = False
    tutor_plugins_root: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run does and what it says.

    :param manifests: everything that should be there, Secrets left out.
    :param steps: what the run does, in this order.
    :param problems: why the run stops before its first step.
    :param missing: what a real run stops at and a dry run goes on without.
    :param unchanged: kind and name of what is as it should be.
    :param not_sent: what a dry run cannot send, because its namespace or its kind does not exist.
    :param adoptions: patches of Deployments that others made, for manifest files.
    """

    manifests: tuple[Object, ...] = ()
    steps: tuple[Step, ...] = ()
    rows: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    draining: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    not_sent: tuple[Object, ...] = ()
    adoptions: tuple[Object, ...] = ()
    secrets: tuple[str, ...] = ()
    secret_uses: tuple[dict[str, Any], ...] = ()
    generated: tuple[str, ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    flowers: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    deployments: tuple[str, ...] = ()
    scaled_objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sight:
    """What a run knows of its cluster.

    :param live: the objects as the API server returned them, as far as the fleet asks for them.
    :param risk: what running workers said.
    """

    observed: Observed = NOTHING
    live: Live = field(default_factory=dict)
    risk: AtRisk = field(default_factory=AtRisk)


def covers(live: Any, patch: Any) -> bool:
    """Whether a patch changes nothing: everything in it is there already, and every null is absent.

    Servers fill in defaults, also inside of lists, so a live object holds more than what was sent.
    """
    if isinstance(patch, Mapping):
        if not isinstance(live, Mapping):
            return not patch and live is None
        return all(covers(live.get(name), item) for name, item in patch.items())
    if isinstance(patch, list):
        if not patch:
            return not live
        same = isinstance(live, list) and len(live) == len(patch)
        return same and all(covers(one, item) for one, item in zip(live, patch, strict=True))
    return bool(live == patch and isinstance(live, bool) == isinstance(patch, bool))


def differs(wanted: Object, live: Object | None, merge: Merge) -> bool:
    """Whether an object must be sent: it is not there, or a field that we send is not as it should be.

    The record of the last apply counts too: by it a later run knows what it may take away.
    """
    if live is None:
        return True
    try:
        applied = json.loads(live["metadata"]["annotations"][LAST_APPLIED])
    except (KeyError, TypeError, ValueError):
        return True
    return bool(applied != wanted or not covers(live, merge(applied, wanted, live)))


def all_resources(fleet: Fleet, observed: Observed, is_dry: bool = False) -> tuple[Object, ...]:
    """Everything of a fleet but Secrets, in the order in which it is applied: routes before workers that load them."""
    return (
        *routing_resources(fleet),
        *worker_resources(fleet, observed, is_dry),
        *scaler_resources(fleet, observed),
        *watching_resources(fleet, observed),
    )


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
    findings = preflight(fleet, sight.observed, wishes.creates_namespace, wishes.prunes)
    said = _described(fleet, sight.observed, wishes)
    unwanted = _leftovers(fleet, sight)
    said = replace(
        said,
        problems=(*findings.problems, *sight.risk.problems),
        missing=findings.missing,
        draining=tuple(sight.risk.busy.values()),
        warnings=(*said.warnings, *sight.risk.warnings, *findings.warnings, *_orphan_warnings(fleet, unwanted, wishes)),
    )
    if said.problems or (said.missing and not wishes.checks):
        return said
    # A Secret that is about to be sent has a version to come; pods that read it roll with it.
    seen = with_versions(sight.observed, dict.fromkeys(stale_secrets, TO_COME), secrets)
    found = _with_manifests(said, fleet, seen, wishes.checks)
    masked = [
        *placeholders(found.manifests),
        *placeholders([found.adoptions, sight.risk.drains, releases(fleet, seen)]),
    ]
    if masked:
        return replace(found, problems=(placeholder_message(masked),))
    return _with_steps(
        fleet, replace(sight, observed=seen), wishes, merge, found, findings, unwanted, secrets, stale_secrets
    )


def plan_files(fleet: Fleet, observed: Observed, wishes: Wishes, before: Iterable[Object] = ()) -> Plan:
    """What manifest files hold and say. No cluster is asked.

    :param observed: what a rendered Tutor project says of a cluster.
    :param before: Deployments of ours in the files of the run before.
    """
    written = list(written_before(fleet, before))
    said = _described(fleet, observed, wishes)
    problems = (*other_namespace(fleet, observed), *exchanged_files(fleet, written))
    if problems:
        return replace(said, problems=problems)
    steps = tuple(_delivery(fleet, wishes)) + tuple(_dashboard(fleet))
    found = replace(_with_manifests(said, fleet, with_selectors(observed, written)), steps=steps)
    masked = [*placeholders(found.manifests), *placeholders(found.adoptions)]
    return replace(found, problems=(placeholder_message(masked),)) if masked else found


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
            yield ObservedObject("Deployment", name, own, selector=chosen)


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def with_selectors(observed: Observed, written: Iterable[ObservedObject]) -> Observed:
    """What is known of a cluster, with the selectors that files of ours have brought into it.

    A selector is immutable, so a file with another one could not be applied over the one of before.
    """
    objects = {(item.kind, item.name): item for item in observed.objects}
    for item in written:
        key = (item.kind, item.name)
        objects[key] = replace(objects[key], selector=item.selector) if key in objects else item
    return replace(observed, objects=tuple(objects.values()))


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


def _with_manifests(said: Plan, fleet: Fleet, observed: Observed, is_dry: bool = False) -> Plan:
    """A plan with everything that should be there."""
    manifests = all_resources(fleet, observed, is_dry)
    return replace(
        said,
        manifests=manifests,
        adoptions=tuple(adoptions(fleet, observed)),
        secret_uses=tuple(secret_table(manifests, said.secrets)),
    )


def plan_removal(fleet: Fleet, observed: Observed, wishes: Wishes) -> Plan:
    """What takes a fleet away, found by label and never computed, whatever the inventory says by now."""
    own = removal_order(observed.ours(fleet.name))
    back = releases(fleet, observed)
    given = tuple(str(item["metadata"]["name"]) for item in back)
    steps = [
        _deletion("Remove scalers", [item for item in own if item.kind in SCALERS], fleet.namespace),
        # Before any worker goes, so that no queue is without a consumer.
        *_giving_back(back, given, wishes),
        _deletion(
            "Remove everything else that carries the fleet's label",
            [item for item in own if item.kind not in SCALERS],
            fleet.namespace,
        ),
    ]
    return Plan(steps=tuple(step for step in steps if step is not None))


def _described(fleet: Fleet, observed: Observed, wishes: Wishes) -> Plan:
    """A plan that says what is to run, and does nothing yet."""
    own = (*fleet.warnings, *unseen_adoptions(fleet, observed))
    routes = routing_warnings(fleet, wishes.openedx_release, wishes.on_openedx)
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    wanted = {name for kind, name in wanted_objects(fleet) if kind == "Deployment"}
    return Plan(
        rows=tuple(worker_table(fleet, observed)),
        warnings=(*own, *routes),
        secrets=tuple(secret_names(fleet)),
        generated=tuple(generated(fleet, observed, wishes.output)),
        routes=tuple(routing_table(fleet)),
        flowers=tuple(flower_table(fleet)),
        alerts=tuple(alert_table(fleet)),
        deployments=tuple(sorted(wanted | adopted)),
        scaled_objects=tuple(sorted(scaled_object_name(item.deployment) for item in fleet.variants if item.uses_keda)),
    )


def _leftovers(fleet: Fleet, sight: Sight) -> Leftovers:
    risk = sight.risk
    busy = [("Deployment", name) for name in risk.busy]
    return leftovers(
        sight.observed, fleet.name, [*wanted_objects(fleet), *busy, *sorted(risk.needed)], present_places(fleet)
    )


def _orphan_warnings(fleet: Fleet, unwanted: Leftovers, wishes: Wishes) -> Iterator[str]:
    names = [describe_object(item) for item in unwanted.orphans]
    if fleet.services and names and not wishes.prunes:
        yield (
            f"The inventory does not ask for {', '.join(names)} of fleet {fleet.name}, so nobody looks after them. "
            "Remove them with celery_workers_prune: true."
        )


def _with_steps(
    fleet: Fleet,
    sight: Sight,
    wishes: Wishes,
    merge: Merge,
    found: Plan,
    findings: Findings,
    unwanted: Leftovers,
    secrets: Collection[Object],
    stale_secrets: Collection[str],
) -> Plan:
    observed = sight.observed
    can_send = observed.namespace_exists or not wishes.checks
    sendable, not_sent = _sendable(found.manifests, observed, findings, unwanted, wishes)
    changed = [item for item in sendable if differs(item, sight.live.get(_key(item)), merge)]
    stale = [secret for secret in secrets if secret["metadata"]["name"] in stale_secrets]
    kept = [secret for secret in secrets if secret not in stale]
    retired = [item for item in unwanted.retired if item.kind in SCALERS]
    back = releases(fleet, observed)
    before = [
        *_namespace(fleet, observed, wishes),
        Step("Send the Secrets", APPLY, tuple(stale) if can_send else (), hides=True),
        # The old workers' key keeps one worker of its own, until a later run finds it empty.
        Step("Leave a worker on keys that change", APPLY, tuple(sight.risk.drains)),
        *_delivery(fleet, wishes),
        # Two autoscalers on one Deployment fight, and KEDA refuses the second one.
        Step(
            "Remove autoscalers of others", DELETE, tuple(removal_of(item, fleet.namespace) for item in findings.doomed)
        ),
        # A scaler that is switched off must not scale what is about to get a fixed number of pods.
        _deletion("Remove scalers that are switched off", removal_order(retired), fleet.namespace),
        *_giving_back(back, tuple(str(item["metadata"]["name"]) for item in back), wishes),
        # Only the record of the last apply is changed. Without this the next step would set one pod.
        Step("Hand the number of pods over to who decides on it now", PATCH, _handed_over(fleet, observed, wishes)),
        Step("Apply everything but Secrets", APPLY, tuple(changed), hides=fleet.take_over),
        # An HPA that found no pod was woken with a number, which is its own to decide from now on.
        Step("Hand over the number of pods that were woken", PATCH, _woken(fleet, changed, wishes)),
        *_dashboard(fleet),
    ]
    after = [
        *_narrowing(fleet, observed, wishes, found.adoptions),
        # Only now: until then pods of the version before may still start, and need it.
        _deletion(
            "Remove what variants do not need any more",
            removal_order(item for item in unwanted.retired if item.kind not in SCALERS),
            fleet.namespace,
        ),
        *_pruning(fleet, unwanted, wishes),
    ]
    first = [step for step in before if step is not None and step.objects]
    writes = any(step.action in (APPLY, PATCH, DELETE) for step in first)
    waits = [_waiting(found)] if _must_wait(found, sight, wishes, writes) else []
    ask = [Step("Ask the workers what is in force", ASK)] if wishes.verifies and not wishes.checks else []
    last = [step for step in after if step is not None and (step.objects or step.action == WAIT)]
    untouched = (*kept, *(item for item in sendable if item not in changed)) if can_send else ()
    return replace(
        found,
        steps=(*first, *waits, *last, *ask),
        unchanged=tuple(identity(item) for item in untouched),
        not_sent=(*(() if can_send else secrets), *not_sent),
    )


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


def _deletion(name: str, doomed: Iterable[ObservedObject], namespace: str) -> Step | None:
    objects = tuple(definition(item, namespace) for item in doomed)
    return Step(name, DELETE, objects) if objects else None


def _giving_back(back: list[Object], names: tuple[str, ...], wishes: Wishes) -> Iterator[Step]:
    """Command lines and grace periods of their owners come back; what these have changed since stays."""
    if not back:
        return
    yield Step("Give back what is adopted no more", PATCH, tuple(back), is_strategic=True, hides=True)
    if wishes.waits and not wishes.checks:
        reason = (
            "These Deployments were given back and have not come up, so nothing else is removed. A second run waits "
            "again."
        )
        yield Step("Wait until it runs as before", WAIT, _deployments_of(names), reason=reason)


def _deployments_of(names: Iterable[str]) -> tuple[Object, ...]:
    return tuple({"kind": "Deployment", "metadata": {"name": name}} for name in names)


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
    scalers = ({"kind": "ScaledObject", "metadata": {"name": item}} for item in found.scaled_objects)
    return Step(name, WAIT, (*_deployments_of(found.deployments), *scalers))


def _must_wait(found: Plan, sight: Sight, wishes: Wishes, writes: bool) -> bool:
    """Whether there is something to wait for; what was read says so, unless something is sent."""
    # What is narrowed leaves its queues to the others, so these must be up in any case.
    if wishes.checks or not (wishes.waits or found.adoptions):
        return False
    return writes or not is_up(found, sight.live)


def is_up(found: Plan, live: Live) -> bool:
    """Whether every Deployment and ScaledObject of a plan was up when the cluster was read."""
    deployments = [live.get(("Deployment", name)) for name in found.deployments]
    scalers = [live.get(("ScaledObject", name)) for name in found.scaled_objects]
    up = all(item is None or deployment_waits(item, ()) is None for item in deployments)
    return up and all(item is None or scaled_object_waits(item) is None for item in scalers)


def _narrowing(fleet: Fleet, observed: Observed, wishes: Wishes, patches: tuple[Object, ...]) -> Iterator[Step]:
    """Every other worker is up by now, so that each queue keeps a consumer."""
    if not patches:
        return
    cut = [item.deployment for item in cut_by_adoption(fleet, observed)]
    if wishes.key_change == "drain" and cut:
        yield Step("Let its workers finish what they run", ASK, _deployments_of(cut))
    yield Step("Narrow adopted Deployments", PATCH, patches, is_strategic=True, hides=True)
    if wishes.waits and not wishes.checks:
        names = sorted(variant.deployment for variant in fleet.variants if variant.adopted)
        yield Step("Wait until what was adopted is up", WAIT, _deployments_of(names))


def _pruning(fleet: Fleet, unwanted: Leftovers, wishes: Wishes) -> Iterator[Step | None]:
    if wishes.prunes:
        yield _deletion("Remove what no variant owns", removal_order(unwanted.orphans), fleet.namespace)


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
    pod = ((item.get("spec") or {}).get("template") or {}).get("metadata") or {}
    note = (pod.get("annotations") or {}).get(SECRETS_ANNOTATION)
    if not note or TO_COME not in note:
        return item
    told = json.loads(note)
    known = {name: versions.get(name, version) if version == TO_COME else version for name, version in told.items()}
    made = copy.deepcopy(item)
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    made["spec"]["template"]["metadata"]["annotations"][SECRETS_ANNOTATION] = text
    return made
