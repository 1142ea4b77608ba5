# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster holds, as plain data that the builders can work with.

Read once per run. Empty for manifests output, where every builder works from the inventory alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from .._schema.kubernetes_values import OWN_DOMAIN
from .names import (
    ADOPTED_LABEL,
    COMPONENT_LABEL,
    DRAIN,
    FLEET_LABEL,
    HISTORY,
    IDLE_FIRST,
    RIGHTS,
    SERVICE_LABEL,
    VARIANT_LABEL,
    WATCHING,
    attached_names,
)
from .sources import (
    Source,
    app_container,
    holds_password,
    source_from_data,
)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

#: Kinds the collection makes, in the order in which they are applied.
API_VERSIONS: dict[str, str] = {
    "ConfigMap": "v1",
    "Secret": "v1",
    "ServiceAccount": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "TriggerAuthentication": "keda.sh/v1alpha1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "Ingress": "networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "ScaledJob": "keda.sh/v1alpha1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "GrafanaDashboard": "grafana.integreatly.org/v1beta1",
}
#: Kinds in no namespace. Each is read by its name, and only where something else of C(idle_first) is there or wanted.
CLUSTER_KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
#: Kinds of what lets idle pods go first. Who lacks a right on one goes without it.
IDLE_FIRST_KINDS = ("ServiceAccount", "Role", *CLUSTER_KINDS, "RoleBinding")
#: Kinds of what watches a fleet. Who does not ask for it needs no right to read them.
WATCHING_KINDS = (
    "PersistentVolumeClaim",
    "Service",
    "Ingress",
    "HTTPRoute",
    "NetworkPolicy",
    "ServiceMonitor",
    "PodMonitor",
    "PrometheusRule",
    "GrafanaDashboard",
)
#: Kinds that a run does without where it may not read them, unless its inventory asks for them.
OPTIONAL_KINDS = (*WATCHING_KINDS, *IDLE_FIRST_KINDS, "ScaledJob")
#: Kinds that start workers, each with the way to the template of its pods.
WORKER_KINDS = {"Deployment": ("template",), "ScaledJob": ("jobTargetRef", "template")}
#: What the annotations of KEDA begin with that pause a ScaledObject.
PAUSED = "autoscaling.keda.sh/paused"
KEDA_KINDS = ("TriggerAuthentication", "ScaledObject")
#: Kinds that the collection never makes and that act on Deployments all the same.
FOREIGN_VERSIONS = {"VerticalPodAutoscaler": "autoscaling.k8s.io/v1"}
#: Kinds of which only the metadata is read: nobody needs their content, and Secrets' must not travel.
METADATA_ONLY = (
    "ConfigMap",
    "Secret",
    "PodDisruptionBudget",
    "TriggerAuthentication",
    *WATCHING_KINDS,
    *IDLE_FIRST_KINDS,
)


def plural(kind: str) -> str:
    """The name of a kind in paths."""
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


@dataclass(frozen=True)
class ObservedObject:
    """One object of the namespace that is ours or carries one of our names."""

    kind: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    resource_version: str = ""
    owner: str = ""
    replicas: int | None = None
    selector: dict[str, str] = field(default_factory=dict)
    #: Seconds that a Deployment's pods have to stop.
    grace: int | None = None
    #: The last applied configuration of a Deployment that had C(spec.replicas) applied.
    last_applied: str = ""
    #: Of a Deployment that is not ours: its container with the app, and its words by field, args or command.
    container: str = ""
    words: dict[str, list[str]] = field(default_factory=dict)
    #: Queues that the worker of a Deployment or ScaledJob consumes, as its command line says.
    queues: list[str] = field(default_factory=list)
    #: ServiceAccount of a Deployment's pods, if it names one.
    account: str = ""
    #: Whether an apply has named that account.
    account_applied: bool = False
    #: Annotations by which a ScaledObject or ScaledJob is paused and that no apply has written: name and value.
    paused: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Kind and name, as messages write them."""
        return f"{self.kind} {self.name}"

    @property
    def applied_replicas(self) -> int | None:
        """The number of replicas that was applied last."""
        number = _applied_spec(self.last_applied).get("replicas")
        return number if isinstance(number, int) else None

    def is_ours(self, fleet: str) -> bool:
        """Whether it carries the ownership label of a fleet.

        KEDA copies labels to its HPAs, which stay KEDA's. The account of a fleet is not a run's to take away.
        """
        made_by_keda = self.kind == "HorizontalPodAutoscaler" and self.owner.startswith("ScaledObject ")
        is_account = self.labels.get(COMPONENT_LABEL) == RIGHTS
        return self.labels.get(FLEET_LABEL) == fleet and not made_by_keda and not is_account

    def is_adopted(self, fleet: str) -> bool:
        """Whether a fleet narrows and scales it although somebody else made it."""
        return self.kind == "Deployment" and self.labels.get(ADOPTED_LABEL) == fleet


@dataclass(frozen=True)
class Autoscaler:
    """Something that decides on the replicas of a Deployment, or on the resources of its pods.

    :param scaled_object: name of the ScaledObject that an HPA belongs to, if any.
    :param owner: whose it is, for messages.
    :param mode: how a VerticalPodAutoscaler applies what it finds.
    """

    kind: str
    name: str
    target: str
    scaled_object: str = ""
    owner: str = ""
    mode: str = ""

    @property
    def identity(self) -> str:
        """Kind, name and owner, as messages write them."""
        return f"{self.kind} {self.name} ({self.owner})" if self.owner else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Observed:
    """The namespace as it was read.

    :param now: when it was read; None where nothing depends on the time.
    :param sources: Deployments that workers are made like.
    :param redis_policies: host of a broker in the namespace to its C(maxmemory-policy), as far as it was found.
    """

    objects: tuple[ObservedObject, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    namespace_exists: bool = True
    missing_kinds: tuple[str, ...] = ()
    #: Kinds of what watches a fleet that may not be listed.
    hidden_kinds: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    redis_policies: dict[str, str] = field(default_factory=dict)
    now: datetime | None = None
    #: Where a rendered project is to run; empty for a cluster, which is read in the namespace of the fleet.
    namespace: str = ""
    #: Names of the ConfigMaps that there are; None where nobody has looked.
    config_maps: tuple[str, ...] | None = None
    #: The same of Secrets.
    secrets: tuple[str, ...] | None = None

    def source(self, deployment: str) -> Source | None:
        """What workers take over from a Deployment, if it is there."""
        return next((item for item in self.sources if item.deployment == deployment), None)

    def find(self, kind: str, name: str) -> ObservedObject | None:
        """The object of that kind and name."""
        return self._by_name.get((kind, name))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], ObservedObject]:
        # The first of a name counts, so it is put in last.
        return {(item.kind, item.name): item for item in reversed(self.objects)}

    @cached_property
    def scaled_by(self) -> dict[str, list[Autoscaler]]:
        """Autoscalers by what they scale."""
        found: dict[str, list[Autoscaler]] = {}
        for item in self.autoscalers:
            found.setdefault(item.target, []).append(item)
        return found

    def ours(self, fleet: str) -> tuple[ObservedObject, ...]:
        """All objects of a fleet."""
        return tuple(item for item in self.objects if item.is_ours(fleet))

    def adopted(self, fleet: str) -> tuple[ObservedObject, ...]:
        """All Deployments that a fleet has adopted."""
        return tuple(item for item in self.objects if item.is_adopted(fleet))


NOTHING = Observed()


def observed_from_data(data: dict[str, Any] | None) -> Observed:
    """The counterpart of L(observed_as_data), for modules that get it as an option."""
    if not data:
        return NOTHING
    return Observed(
        objects=tuple(ObservedObject(**item) for item in data.get("objects", [])),
        autoscalers=tuple(Autoscaler(**item) for item in data.get("autoscalers", [])),
        namespace_exists=bool(data.get("namespace_exists", True)),
        missing_kinds=tuple(data.get("missing_kinds", ())),
        sources=tuple(source_from_data(item) for item in data.get("sources", [])),
        redis_policies=dict(data.get("redis_policies") or {}),
    )


def observed_object(kind: str, raw: dict[str, Any]) -> ObservedObject:
    """What matters of one object that an API server returned."""
    metadata = raw.get("metadata", {})
    spec = raw.get("spec") or {}
    annotations = dict(metadata.get("annotations") or {})
    last_applied = annotations.pop(LAST_APPLIED, "")
    own = {name: value for name, value in annotations.items() if name.startswith(OWN_DOMAIN)}
    pod = template_of(kind, spec).get("spec") or {}
    is_foreign = kind == "Deployment" and FLEET_LABEL not in (metadata.get("labels") or {})
    return ObservedObject(
        kind=kind,
        name=metadata["name"],
        labels=dict(metadata.get("labels") or {}),
        annotations=annotations if kind == "Deployment" else own,
        resource_version=metadata.get("resourceVersion", "") if kind == "Secret" else "",
        owner=_owner(metadata),
        replicas=spec.get("replicas") if kind == "Deployment" else None,
        selector=dict((spec.get("selector") or {}).get("matchLabels") or {}) if kind == "Deployment" else {},
        grace=_grace(spec) if kind == "Deployment" else None,
        account=str(pod.get("serviceAccountName") or ""),
        account_applied='"serviceAccountName"' in last_applied,
        last_applied=_kept(last_applied, is_foreign) if kind == "Deployment" else "",
        container=str(app_container(pod, metadata["name"]).get("name", "")) if is_foreign else "",
        words=_words(app_container(pod, metadata["name"])) if is_foreign else {},
        queues=queues_in(app_container(pod, metadata["name"])) if kind in WORKER_KINDS else [],
        paused=_paused_by_hand(annotations, last_applied) if kind in ("ScaledObject", "ScaledJob") else {},
    )


def template_of(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The template of the pods that an object starts; empty for one that starts none."""
    found = spec
    for name in WORKER_KINDS.get(kind, ()):
        found = found.get(name) or {}
    return found if kind in WORKER_KINDS else {}


_QUEUES = re.compile(r"(?:^|\s)(?:--queues[=\s]|-Q\s*)(\S+)")


def queues_in(container: dict[str, Any]) -> list[str]:
    """Queues that a container's command line names; the last option counts."""
    words = [str(word) for field_name in ("command", "args") for word in container.get(field_name) or ()]
    found = _QUEUES.findall(" ".join(words))
    return [name for name in found[-1].strip("'\"").split(",") if name] if found else []


def _paused_by_hand(annotations: dict[str, str], last_applied: str) -> dict[str, str]:
    """What pauses a ScaledObject although nothing that was applied says so."""
    try:
        applied = json.loads(last_applied or "{}").get("metadata", {}).get("annotations") or {}
    except (ValueError, AttributeError):
        applied = {}
    found = {name: value for name, value in sorted(annotations.items()) if name.startswith(PAUSED)}
    return {name: value for name, value in found.items() if pauses(name, value) and applied.get(name) != value}


def pauses(name: str, value: str) -> bool:
    """Whether KEDA heeds a pause: a number of pods always, anything else unless Go reads it as false."""
    return name == f"{PAUSED}-replicas" or value.lower() not in ("false", "f", "0")


def _kept(last_applied: str, is_foreign: bool) -> str:
    """A last applied configuration that had replicas. Of somebody else's no value of the environment is kept."""
    if "replicas" not in _applied_spec(last_applied):
        return ""
    return json.dumps(_without_values(json.loads(last_applied)), sort_keys=True) if is_foreign else last_applied


def _without_values(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    entries = value.get("env")
    kept = {name: _without_values(item) for name, item in value.items() if name != "env"}
    if isinstance(entries, list):
        kept["env"] = [{k: v for k, v in item.items() if k != "value"} for item in entries if isinstance(item, dict)]
    return kept


def _words(container: dict[str, Any]) -> dict[str, list[str]]:
    """What a container runs. A command line that shows a password is left out."""
    found = {name: [str(word) for word in container[name]] for name in ("command", "args") if container.get(name)}
    return {} if any(holds_password(words) for words in found.values()) else found


def _grace(spec: dict[str, Any]) -> int | None:
    pod = (spec.get("template") or {}).get("spec") or {}
    found = pod.get("terminationGracePeriodSeconds", 30)
    return found if isinstance(found, int) else None


def autoscaler(kind: str, raw: dict[str, Any]) -> Autoscaler | None:
    """What an HPA, ScaledObject or VerticalPodAutoscaler acts on; None if it is no Deployment."""
    spec = raw.get("spec") or {}
    target = spec.get("targetRef" if kind == "VerticalPodAutoscaler" else "scaleTargetRef") or {}
    if target.get("kind", "Deployment") != "Deployment" or not target.get("apiVersion", "apps/v1").startswith("apps/"):
        return None
    owners = raw["metadata"].get("ownerReferences") or []
    owner = next((item["name"] for item in owners if item.get("kind") == "ScaledObject"), "")
    # Without a mode it evicts pods (autoscaling.k8s.io/v1).
    mode = (spec.get("updatePolicy") or {}).get("updateMode", "Auto") if kind == "VerticalPodAutoscaler" else ""
    return Autoscaler(kind, raw["metadata"]["name"], target.get("name", ""), owner, _owner(raw["metadata"]), mode)


def without_replicas(last_applied: str) -> str:
    """The last applied configuration as if C(spec.replicas) had never been in it."""
    applied = json.loads(last_applied)
    applied["spec"].pop("replicas", None)
    return json.dumps(applied, separators=(",", ":"), sort_keys=True)


def _applied_spec(last_applied: str) -> dict[str, Any]:
    """The spec of a last applied configuration; empty if there is none that can be read."""
    try:
        found = json.loads(last_applied or "{}").get("spec")
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _owner(metadata: dict[str, Any]) -> str:
    """Whose an object seems to be, for a message: its managing tool, or what its labels say."""
    labels = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or []
    if owners:
        return f"{owners[0].get('kind')} {owners[0].get('name')}"
    if labels.get(FLEET_LABEL):
        return f"the fleet {labels[FLEET_LABEL]}"
    if labels.get("app.kubernetes.io/managed-by"):
        return str(labels["app.kubernetes.io/managed-by"])
    managers = [item.get("manager") for item in metadata.get("managedFields") or [] if item.get("manager")]
    return str(managers[0]) if managers else "an unknown owner"


@dataclass(frozen=True)
class Leftovers:
    """Objects of ours that the inventory does not ask for any more.

    :param retired: of a variant that is still there (its scaler was switched off, say), or of what watches the fleet:
        always removed.
    :param orphans: of a variant or service that is gone: removed by prune only.
    :param switched: workers of a variant that is still there and runs them in another way, with their scalers: they go
        once the new ones are up.
    """

    retired: tuple[ObservedObject, ...] = ()
    orphans: tuple[ObservedObject, ...] = ()
    switched: tuple[ObservedObject, ...] = ()


def leftovers(
    observed: Observed, fleet: str, wanted: Iterable[tuple[str, str]], present: set[tuple[str, str]]
) -> Leftovers:
    """Sort what is ours and unwanted.

    :param wanted: kind and name of every object the inventory asks for.
    :param present: service and variant of everything in the inventory; variant is empty for objects of a service.
    """
    names = set(wanted)
    # Without its account, no pod of a worker that drains could be made anew.
    drains = [item for item in observed.ours(fleet) if item.labels.get(COMPONENT_LABEL) == DRAIN]
    names |= {("ServiceAccount", item.account) for item in drains}
    every = [item for item in observed.ours(fleet) if (item.kind, item.name) not in names]
    # What watches a fleet holds no work, so it goes as soon as it is switched off. So do the history and idle_first.
    watching = [item for item in every if item.labels.get(COMPONENT_LABEL) in (*WATCHING, HISTORY, IDLE_FIRST)]
    switched = _switched(every, names)
    unwanted = [item for item in every if item not in watching and item not in switched]
    # Workers that are not wanted any more may hold work, and what scales and guards them stays with them. A worker that
    # drained is wanted until its key is empty.
    left = [item.name for item in unwanted if item.kind in WORKER_KINDS and item.labels.get(COMPONENT_LABEL) != DRAIN]
    with_it = {name for deployment in left for name in (deployment, *attached_names(deployment))}
    gone = [item for item in unwanted if item.name in with_it or _place(item) not in present]
    # What a whole service shares stays as long as something of that service runs that nobody asks for any more.
    busy = {_place(item)[0] for item in gone}
    kept = [item for item in unwanted if item not in gone and not _place(item)[1] and _place(item)[0] in busy]
    retired = [item for item in unwanted if item not in gone and item not in kept]
    return Leftovers((*retired, *watching), (*gone, *kept), tuple(switched))


def _switched(unwanted: Iterable[ObservedObject], wanted: set[tuple[str, str]]) -> list[ObservedObject]:
    """Workers that run now as another kind under the same name, and what scales them."""
    items = list(unwanted)
    workers = [item for item in items if any((kind, item.name) in wanted for kind in _other_kinds(item.kind))]
    attached = {name for item in workers for name in attached_names(item.name)}
    scalers = [item for item in items if item.kind in _SCALERS and item.name in attached]
    return [*scalers, *workers]


def _other_kinds(kind: str) -> tuple[str, ...]:
    return tuple(other for other in WORKER_KINDS if other != kind) if kind in WORKER_KINDS else ()


_SCALERS = ("ScaledObject", "HorizontalPodAutoscaler")


def _place(item: ObservedObject) -> tuple[str, str]:
    return item.labels.get(SERVICE_LABEL, ""), item.labels.get(VARIANT_LABEL, "")


#: Scalers go first, so that nothing brings back what is removed; then what they scaled, then the rest.
_REMOVAL_ORDER = (
    "ScaledObject",
    "HorizontalPodAutoscaler",
    # Nobody is sent, alarmed or scraped while the rest goes.
    "Ingress",
    "HTTPRoute",
    "PrometheusRule",
    "ServiceMonitor",
    "PodMonitor",
    "GrafanaDashboard",
    "Deployment",
    "ScaledJob",
    "PodDisruptionBudget",
    "TriggerAuthentication",
    "Service",
    "NetworkPolicy",
    # The right goes before the policy that narrows it. By the other two a later run finds what is left.
    "RoleBinding",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "Role",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "ConfigMap",
    "Secret",
)


def removal_order(objects: Iterable[ObservedObject]) -> list[ObservedObject]:
    """Objects in the order in which they are to be removed. The history goes last: a run that ends early is noted."""
    places = {kind: number for number, kind in enumerate(_REMOVAL_ORDER)}
    return sorted(objects, key=lambda item: (item.labels.get(COMPONENT_LABEL) == HISTORY, places[item.kind], item.name))


def definition(item: ObservedObject, namespace: str) -> dict[str, Any]:
    """Just enough of an object to delete it."""
    metadata = {"name": item.name, **({} if item.kind in CLUSTER_KINDS else {"namespace": namespace})}
    return {"apiVersion": API_VERSIONS[item.kind], "kind": item.kind, "metadata": metadata}
