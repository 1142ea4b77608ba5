# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a cluster stands in the way of a fleet. A pure function of Fleet and Observed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .._build.idle_first import idle_first_resources
from .._build.routing import routing_resources
from .._build.scalers import scaler_resources
from .._build.secrets import secret_names
from .._build.watching import skipped, watching_resources
from .._build.workers import worker_resources
from .._celery.adoption import (
    TAKEN_OVER,
    can_be_taken_over,
    command_line,
    has_fleet,
)
from .._model.fleet import Fleet, Variant
from .._model.names import (
    ADOPTED_LABEL,
    COMPONENT_LABEL,
    SERVICE_LABEL,
    VARIANT_LABEL,
    flower_claim_name,
    flower_secret_name,
    ownership_labels,
    settings_name,
)
from .._model.observed import (
    API_VERSIONS,
    KEDA_KINDS,
    WORKER_KINDS,
    Autoscaler,
    Observed,
    ObservedObject,
)
from .._model.pauses import pauses_of_others
from .config_maps import missing_config_maps
from .missing_secrets import missing_logins
from .risks import with_rule


@dataclass(frozen=True)
class Findings:
    """What a preflight found.

    :param problems: what stops the run.
    :param missing: what a real run would stop at, but a dry run can go on without.
    :param warnings: what works and should be known.
    """

    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Other autoscalers that are to be removed before anything else.
    doomed: tuple[Autoscaler, ...] = ()


@dataclass
class _Wanted:
    """The objects of the fleet that was asked about last: a run asks about the same one several times."""

    fleet: Fleet | None = None
    objects: tuple[tuple[str, str], ...] = ()


_WANTED = _Wanted()


def wanted_objects(fleet: Fleet) -> list[tuple[str, str]]:
    """Kind and name of every object that a fleet asks for."""
    if _WANTED.fleet is not fleet:
        _WANTED.objects = tuple(_wanted(fleet))
        _WANTED.fleet = fleet
    return list(_WANTED.objects)


def _wanted(fleet: Fleet) -> Iterator[tuple[str, str]]:
    yield from (("Secret", name) for name in secret_names(fleet))
    for build in (idle_first_resources, routing_resources, worker_resources, scaler_resources, watching_resources):
        yield from ((item["kind"], item["metadata"]["name"]) for item in build(fleet))


def named_objects(fleet: Fleet) -> set[tuple[str, str]]:
    """Kind and name of every object that a fleet makes, adopts or leaves alone."""
    others = [variant for service in fleet.services for variant in (*service.variants, *service.left)]
    return {*wanted_objects(fleet), *(("Deployment", variant.deployment) for variant in others)}


def source_names(fleet: Fleet) -> set[str]:
    """Deployments that workers may be made like."""
    return {name for service in fleet.services for name in service.inherits}


def redis_hosts(fleet: Fleet) -> set[str]:
    """Brokers that are Services of the fleet's namespace, by their short or long name."""
    found = set()
    for service in fleet.services:
        if service.broker is not None and service.broker.is_redis:
            name, _dot, rest = service.broker.host.partition(".")
            if name and rest.partition(".")[0] in ("", fleet.namespace):
                found.add(name)
    return found


def preflight(
    fleet: Fleet, observed: Observed, creates_namespace: bool, prunes: bool = False, waits: bool = True
) -> Findings:
    """Check a fleet against the cluster, before anything is sent.

    :param creates_namespace: whether the role may create the namespace.
    :param prunes: whether the role will remove what the inventory does not ask for.
    :param waits: whether everything has to work at the end. Else something may still bring what is not there.
    """
    logins = tuple(missing_logins(fleet, observed))
    missing = []
    if not observed.namespace_exists and not creates_namespace:
        missing.append(no_namespace(fleet.namespace))
    missing += [*_missing_kinds(fleet, observed), *(logins if waits else ())]
    conflicts = _conflicts(fleet, observed)
    problems = [
        *_foreign(fleet, observed),
        *_unfit_for_adoption(fleet, observed),
        *(problem for _item, problem in conflicts if problem),
        *_overlapping_selectors(fleet, observed),
        *missing_config_maps(fleet, observed),
    ]
    if not prunes:
        problems += _renamed(fleet, observed)
    warnings = (
        *_vertical_autoscalers(fleet, observed),
        *_evicting_redis(fleet, observed),
        *_owners_replicas(fleet, observed),
        *_paused_by_hand(fleet, observed),
        *skipped(fleet, observed),
        *(() if waits else logins),
    )
    doomed = tuple(dict.fromkeys(item for item, _problem in conflicts)) if _removes(fleet) else ()
    return Findings(tuple(problems), tuple(missing), warnings, doomed)


def _missing_kinds(fleet: Fleet, observed: Observed) -> Iterator[str]:
    """Kinds of KEDA that the cluster does not know and that variants need."""
    scaled = [variant.deployment for variant in fleet.variants if variant.uses_keda]
    absent = sorted(set(KEDA_KINDS) & set(observed.missing_kinds))
    if scaled and absent:
        yield (
            f"The cluster does not know {' and '.join(absent)} (keda.sh/v1alpha1), which {_some(scaled)} need. "
            "Install KEDA, or set enable_keda: false for them."
        )
    jobs = [variant.deployment for variant in fleet.variants if variant.runs_as_jobs]
    absent = sorted({"ScaledJob", "TriggerAuthentication"} & set(observed.missing_kinds))
    if jobs and absent:
        yield (
            f"The cluster does not know {' and '.join(absent)} (keda.sh/v1alpha1), which {_some(jobs)} need. Install "
            "KEDA, or leave run_as out for them."
        )


def no_namespace(name: str) -> str:
    """What to do where a namespace does not exist."""
    return (
        f"The namespace {name} does not exist. Create it, correct celery_workers_namespace, or set "
        "celery_workers_create_namespace: true."
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _foreign(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Objects with one of our names that are not ours. They are written only when asked for."""
    servers: dict[str, str] = {}
    for server in fleet.monitoring.servers:
        mend = (
            f"Give it another name (celery_workers_{server.part}.name)"
            if server.is_first
            else f"Rename the service {server.services[0]}"
        )
        claim = f"{mend}, name it as persistence.existing_claim"
        own = dict.fromkeys((server.name, settings_name(server.name), flower_secret_name(server.name)), mend)
        servers |= {**own, flower_claim_name(server.name): claim}
    for kind, name in wanted_objects(fleet):
        live = observed.find(kind, name)
        if live is None or live.is_ours(fleet.name) or can_be_taken_over(fleet, live):
            continue
        mend = "Give the variant another name (key name)" if kind in TAKEN_OVER else "Choose other names"
        mend = servers.get(name, mend)
        ways = f"{mend}, or delete that object first"
        if kind == "ScaledJob":
            ways = "Give the variant another name (key name), or delete that object first"
        if kind == "Deployment" and not has_fleet(live) and name not in servers:
            ways = (
                "Write adopt: true on the variant to narrow and scale it where its owner keeps it (Tutor's own "
                "workers), adopt: false to leave it alone, or celery_workers_take_over: true to make it ours for good "
                "(what tutor-contrib-celery left); or give the variant another name (key name)"
            )
        elif kind in TAKEN_OVER and not has_fleet(live):
            ways = f"Write celery_workers_take_over: true to make it ours. {mend}, or delete that object first"
        yield (
            f"{live.identity} in {fleet.namespace} exists and is not ours: it belongs to {live.owner}. {ways}; until "
            "then a run never overwrites it."
        )
    yield from _exchanged(fleet, observed)
    yield from _beside_jobs(fleet, observed)


def _beside_jobs(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Deployments of others that have the name of a variant which runs as Jobs: their workers would go on beside it."""
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment) if variant.runs_as_jobs else None
        if live is not None and not live.is_ours(fleet.name):
            yield (
                f"{live.identity} in {fleet.namespace} exists and is not ours: it belongs to {live.owner}. Beside it "
                f"{variant.title} would run as Jobs, and both would take its work. Make it ours first with run_as: "
                "deployment (celery_workers_take_over: true), and write run_as: jobs in a second run; or delete it; or "
                "give the variant another name (key name)."
            )


def _unfit_for_adoption(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Deployments that a variant adopts, or leaves alone, and that are not there or start no worker."""
    for variant in (variant for service in fleet.services for variant in (*service.variants, *service.left)):
        if variant.consumption.adopt is None:
            continue
        live, name = observed.find("Deployment", variant.deployment), variant.deployment
        word = "true" if variant.adopted else "false"
        if live is None:
            yield (
                f"{variant.title}: adopt is {word}, and there is no Deployment {name} in {fleet.namespace}. Start the "
                "site first (with Tutor: tutor k8s start), correct name, or leave adopt out, so that the role makes it."
            )
        elif has_fleet(live):
            whose = "this fleet" if live.is_ours(fleet.name) else live.owner
            yield (
                f"{variant.title}: adopt is {word}, but Deployment {name} was made by {whose}, so there is no other "
                "owner to adopt it from. Leave adopt out."
            )
        elif live.labels.get(ADOPTED_LABEL) not in (None, fleet.name):
            yield f"{variant.title}: the fleet {live.labels[ADOPTED_LABEL]} has adopted Deployment {name} already."
        elif variant.adopted and not command_line(live).words:
            yield (
                f"{variant.title}: Deployment {name} cannot be adopted, because the command line of its container "
                f"{live.container} does not start a Celery worker word by word, or shows a password. Fix it there, "
                "or give the variant another name (key name)."
            )


def _exchanged(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """A Deployment of ours that now stands for another variant would keep a selector that means the old one."""
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment)
        if live is None or not live.is_ours(fleet.name) or COMPONENT_LABEL in live.labels or variant.adopted:
            continue
        place = (live.labels.get(SERVICE_LABEL, ""), live.labels.get(VARIANT_LABEL, ""))
        if place != (variant.service, variant.name):
            yield (
                f"Deployment {live.name} runs variant {place[1]} of service {place[0]}, and the inventory gives its "
                f"name to variant {variant.name} of service {variant.service}. Set name on the new variant, or remove "
                "the old Deployment first (celery_workers_prune)."
            )


def _renamed(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """A variant under a new name beside its old workers: both would have one selector, and no HPA would scale."""
    workers: dict[tuple[str, str], list[ObservedObject]] = {}
    for item in observed.ours(fleet.name):
        if item.kind in WORKER_KINDS and COMPONENT_LABEL not in item.labels:
            place = (item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, ""))
            workers.setdefault(place, []).append(item)
    for variant in fleet.variants:
        for item in workers.get((variant.service, variant.name), ()):
            same = item.kind == "ScaledJob" or variant.runs_as_jobs or item.selector == _selector_of(fleet, variant)
            if item.name != variant.deployment and same:
                yield (
                    f"variant {variant.name} of service {variant.service} runs as {item.kind} {item.name} and would "
                    f"run as {variant.deployment} beside it. Keep its name, or run with celery_workers_prune: true, "
                    "which removes the old one once the new one is up."
                )


def _selector_of(fleet: Fleet, variant: Variant) -> dict[str, str]:
    return ownership_labels(fleet.name, variant.service, variant.name)


def _conflicts(fleet: Fleet, observed: Observed) -> list[tuple[Autoscaler, str]]:
    """Autoscalers of somebody else on our Deployments, each with why the run stops; empty where it goes on."""
    found = []
    for variant in fleet.variants:
        if not variant.has_scaler and variant.scaling.replicas is None:
            continue
        scaled_by = observed.scaled_by.get(variant.deployment, ())
        rivals = [item for item in scaled_by if _is_rival(item, fleet, variant, observed)]
        for item in rivals:
            found.append((item, _refusal(item, rivals, fleet, variant)))
    return found


def _is_rival(item: Autoscaler, fleet: Fleet, variant: Variant, observed: Observed) -> bool:
    """Whether an autoscaler of a variant's Deployment is a second one, whatever its name."""
    if item.kind == "VerticalPodAutoscaler":
        return False
    live = observed.find(item.kind, item.name)
    if live is not None and (live.is_ours(fleet.name) or can_be_taken_over(fleet, live)):
        return False
    # KEDA's own HPA goes with its ScaledObject, which is judged by itself.
    return item.kind == "ScaledObject" or not item.scaled_object


def _refusal(item: Autoscaler, rivals: list[Autoscaler], fleet: Fleet, variant: Variant) -> str:
    """Why the run stops because of a second autoscaler; empty where it knows what to do."""
    policy = fleet.autoscaler_conflict
    if policy == "remove":
        return ""
    hpas = [rival for rival in rivals if rival.kind == "HorizontalPodAutoscaler"]
    if policy == "transfer" and variant.uses_keda and item in hpas[:1]:
        return ""
    decides = "its scaler" if variant.has_scaler else "the fixed number of replicas"
    said = (
        f"{item.identity} already scales Deployment {variant.deployment}, and {decides} of {variant.title} would fight "
        "with it."
    )
    if policy == "transfer":
        why = (
            "KEDA takes over one HPA only"
            if item in hpas and variant.uses_keda
            else "Only KEDA can take over, and only an HPA"
        )
        return f"{said} {why}: remove it, or write celery_workers_autoscaler_conflict: remove."
    return (
        f"{said} Ways out: switch it off where it comes from (with Tutor: enable_hpa of pod-autoscaling) and delete "
        "it; celery_workers_autoscaler_conflict: transfer, by which KEDA takes over the HPA under its name; or remove, "
        "by which the run deletes it. Or leave the number of pods to it: enable_keda: false and no replicas."
    )


def _removes(fleet: Fleet) -> bool:
    return fleet.autoscaler_conflict == "remove"


def _vertical_autoscalers(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """VerticalPodAutoscalers that evict pods of ours, and with them what these work on."""
    names = {variant.deployment: variant for variant in fleet.variants}
    for item in observed.autoscalers:
        if item.kind == "VerticalPodAutoscaler" and item.target in names and item.mode not in ("Off", "Initial"):
            yield (
                f"{item.identity} has updateMode {item.mode}: it restarts pods of Deployment {item.target} while they "
                "work, and fights with a scaler by CPU or memory. Set its updateMode to Off or Initial."
            )


def _paused_by_hand(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Scalers that a person has paused and that look as if they worked: an apply leaves the annotation alone."""
    for variant in fleet.variants:
        live = observed.find(*variant.keda_object) if variant.keda_object is not None else None
        paused = pauses_of_others(variant, live) if live is not None else {}
        if live is not None and paused:
            notes = ", ".join(f"{name}: {value!r}" for name, value in paused.items())
            taken = " ".join(f"{name}-" for name in paused)
            yield (
                f"{variant.title}: {live.identity} was paused by hand (annotation {notes}), so KEDA does not scale it "
                f"as the inventory says. Resume it with kubectl annotate {live.kind.lower()} {live.name} --namespace "
                f"{fleet.namespace} {taken}, or write the pause into the inventory (key paused)."
            )


def _owners_replicas(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Owners who write a number of pods, and reset with it what a scaler has decided."""
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment) if variant.adopted and variant.has_scaler else None
        if live is not None and live.applied_replicas is not None:
            yield (
                f"{variant.title}: the owner of Deployment {live.name} writes replicas: {live.applied_replicas} into "
                "it, so each apply scales it back to that number and ends the extra pods, even while they work. Take "
                "replicas out there."
            )


def _evicting_redis(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """A Redis that throws away queues when its memory is full. They have no time to live, so volatile-* spares them."""
    for host, policy in observed.redis_policies.items():
        if host in redis_hosts(fleet) and policy.startswith("allkeys-"):
            yield (
                f"Redis {host} has maxmemory-policy {policy}: when its memory is full it throws away whole queues, "
                "with every task that waits or runs. Set volatile-lru or noeviction (with Tutor: the patch redis-conf, "
                "which celery_workers_tutor_redis_policy writes into the generated plugin)."
            )


def _overlapping_selectors(fleet: Fleet, observed: Observed) -> Iterable[str]:
    """Deployments whose selector, which cannot be changed, also fits another one's pods.

    An HPA that sees pods of two HPAs does nothing (AmbiguousSelector).
    """
    scaled = [variant for variant in fleet.variants if variant.has_scaler]
    # Our own selector names the variant, and no other pod can carry that.
    strange = [
        (variant, live.selector)
        for variant in scaled
        if "selector-overlap" not in variant.knowledge.accept_risks
        and (live := observed.find("Deployment", variant.deployment)) is not None
        and live.selector not in ({}, _selector_of(fleet, variant))
    ]
    pods = _pod_labels(fleet, observed) if strange else {}
    for variant, selector in strange:
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
    found: dict[str, dict[str, str]] = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in worker_resources(fleet, observed)
        if item["kind"] == "Deployment"
    }
    for variant in fleet.variants:
        live = observed.find("Deployment", variant.deployment)
        # Pods of an adopted Deployment carry at least what selects them.
        found.setdefault(variant.deployment, dict(live.selector) if live is not None else {})
    return found


def describe_object(item: ObservedObject) -> str:
    """An object and whose variant it was, for warnings."""
    service, variant = item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, "")
    place = f" (variant {variant} of service {service})" if variant else f" (service {service})" if service else ""
    return f"{item.identity}{place}"


def removal_of(item: Autoscaler, namespace: str) -> dict[str, object]:
    """Just enough of an autoscaler to delete it."""
    return {
        "apiVersion": API_VERSIONS[item.kind],
        "kind": item.kind,
        "metadata": {"name": item.name, "namespace": namespace},
    }
