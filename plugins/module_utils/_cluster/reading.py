# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a namespace through kubernetes.core's client. Sends nothing but GETs, one LIST per kind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .._model.names import (
    ADOPTED_LABEL,
    COMPONENT_LABEL,
    FLEET_LABEL,
    IDLE_FIRST,
    OWN_LABELS,
    idle_first_policy_name,
)
from .._model.observed import (
    API_VERSIONS,
    CLUSTER_KINDS,
    FOREIGN_VERSIONS,
    IDLE_FIRST_KINDS,
    METADATA_ONLY,
    OPTIONAL_KINDS,
    Autoscaler,
    Observed,
    autoscaler,
    observed_object,
    template_of,
)
from .._model.sources import source_of
from .._schema.secret_signs import without_values
from .changes import first_cause, lost_connection
from .lacking import missing_rights
from .readiness import (
    Looks,
    Waiting,
    deployment_waits,
    mounted,
    new_pods,
    scaled_object_waits,
)

METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


def utc_now() -> datetime:
    """The time at which a look at a cluster begins, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class ClusterError(Exception):
    """The cluster cannot be read; the text says why and what to check.

    :param passes: whether asking again later may help: the server is away, or overloaded.
    """

    def __init__(self, text: str, passes: bool = False) -> None:
        super().__init__(text)
        self.passes = passes


@dataclass(frozen=True)
class Cluster:
    """One namespace of a cluster.

    :param client: kubernetes.core's K8SClient.
    """

    client: Any
    namespace: str
    #: Secret values that the server's texts may repeat.
    hidden: frozenset[str] = field(default=frozenset(), kw_only=True, repr=False)

    def namespace_exists(self) -> bool:
        """Whether the namespace exists. Who may not read namespaces is believed that it does.

        :raises ClusterError: if the API cannot be reached or refuses the credentials.
        """
        try:
            self._read_namespace()
        except Exception as error:  # the client raises one class per status, and others for the network
            status = getattr(error, "status", None)
            if status in (403, 404):
                return bool(status == 403)
            raise self._explained(error) from error
        return True

    def _read_namespace(self) -> None:
        self.client.get(self._resource("Namespace", "v1"), name=self.namespace)

    def list_objects(
        self,
        kind: str,
        api_version: str,
        metadata_only: bool = False,
        selector: str | None = None,
        fields: str | None = None,
    ) -> list[dict[str, Any]] | None:
        """All objects of a kind in the namespace; None if the cluster does not know the kind.

        :param selector: what their labels have to be.
        :param fields: what some of their fields have to be.
        :raises ClusterError: if they cannot be read.
        """
        options: dict[str, Any] = {"header_params": {"Accept": METADATA_LIST}} if metadata_only else {}
        if selector:
            options["label_selector"] = selector
        if fields:
            options["field_selector"] = fields
        try:
            resource = self._resource(kind, api_version)
            if resource is None:
                return None
            listed = self.client.get(resource, namespace=self.namespace, **options)
        except ClusterError:
            raise
        except Exception as error:  # as above
            if getattr(error, "status", None) == 404:
                # Discovery is cached on disk, so a kind that was removed still seems known.
                return None
            raise self._explained(error, f"list {kind} in {self.namespace}") from error
        return [dict(item) for item in listed.to_dict().get("items") or []]

    def named_object(self, kind: str, api_version: str, name: str) -> list[dict[str, Any]]:
        """One object of a kind that is in no namespace, if it is there.

        :raises ClusterError: if it cannot be read.
        """
        try:
            return self._named(kind, api_version, name)
        except Exception as error:  # as above
            if getattr(error, "status", None) == 404:
                return []
            raise self._explained(error, f"get {kind} {name}") from error

    def _named(self, kind: str, api_version: str, name: str) -> list[dict[str, Any]]:
        resource = self._resource(kind, api_version)
        return [] if resource is None else [dict(self.client.get(resource, name=name).to_dict())]

    def pods_selected_by(self, worker: dict[str, Any]) -> list[dict[str, Any]]:
        """The pods of a Deployment, by its own selector, or of a ScaledJob.

        :raises ClusterError: if they cannot be read.
        """
        labels, _is_job = selected_by(worker)
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        return pods_of(worker, self.list_objects("Pod", "v1", selector=selector) or []) if selector else []

    def config_map_texts(self, name: str) -> list[str]:
        """The files of a ConfigMap; none if it cannot be read."""
        try:
            found = self.client.get(self._resource("ConfigMap", "v1"), name=name, namespace=self.namespace)
        except Exception:  # as above; what it would tell is only a warning
            return []
        return [str(text) for text in (found.to_dict().get("data") or {}).values()]

    def _resource(self, kind: str, api_version: str) -> Any:
        try:
            return self.client.resource(kind, api_version)
        except Exception as error:
            if type(error).__name__ in ("ResourceNotFoundError", "ResourceNotUniqueError"):
                return None
            raise self._explained(error) from error

    def _explained(self, error: Exception, doing: str = "") -> ClusterError:
        host = getattr(self.client.configuration, "host", "the API server")
        return explained(error, host, doing, self.hidden | credentials_of(self.client))


def credentials_of(client: Any) -> frozenset[str]:
    """Tokens and passwords by which a client logs in."""
    configuration = getattr(client, "configuration", None)
    keys = getattr(configuration, "api_key", None)
    found = list(keys.values()) if isinstance(keys, Mapping) else []
    found += [getattr(configuration, "password", None)]
    words = [str(text).rpartition(" ")[2] for text in found if isinstance(text, str)]
    return frozenset(filter(None, words))


#: Where the client's network library was going.
_ADDRESS = re.compile(r"host='([^']+)', port=(\d+)")


def explained(
    error: Exception, host: str = "The API server", doing: str = "", hidden: Collection[str] = ()
) -> ClusterError:
    """What went wrong between us and the API, and what to check.

    :param hidden: secret values that the server may repeat.
    """
    status = getattr(error, "status", None)
    cause = first_cause({"msg": without_values(str(getattr(error, "body", None) or error), hidden)})
    connection = "Check celery_workers_kubeconfig, celery_workers_context and the K8S_AUTH_* environment"
    if status == 401:
        return ClusterError(f"{host} refused the credentials ({cause}). {connection}.")
    if status == 403:
        advice = "" if missing_rights(cause) else " Grant get and list on it."
        return ClusterError(f"{host} does not allow to {doing or 'read the API'}: {cause}.{advice}")
    if status is not None:
        passes = status == 429 or (isinstance(status, int) and status >= 500)
        return ClusterError(f"{host} failed to {doing or 'answer'}: {cause}", passes)
    found = _ADDRESS.search(str(error))
    place = f"{host} {found[1]}:{found[2]}" if found and "://" not in host else host
    why = lost_connection(str(error)) or cause.removesuffix(".")
    return ClusterError(f"{place} cannot be reached: {why}. {connection}, and the network.", passes=True)


def address_of(cluster: Cluster | None) -> str:
    """The address of the API server, for messages; empty if it is not known."""
    client = getattr(cluster, "client", None)
    return str(getattr(getattr(client, "configuration", None), "host", None) or "")


def open_cluster(connect: Callable[[], Any], namespace: str) -> Cluster:
    """Connect, which already asks the API for its version.

    :param connect: kubernetes.core's own way to a client.
    :raises ClusterError: if there is no way to the API.
    """
    try:
        return Cluster(connect(), namespace)
    except Exception as error:  # a client raises what its network library raises
        raise explained(error) from error


def read_observed(
    cluster: Cluster,
    fleet: str,
    names: Collection[tuple[str, str]],
    sources: Collection[str] = (),
    redis_hosts: Collection[str] = (),
) -> Observed:
    """Read what the builders need: one LIST per kind.

    :param names: kind and name of what the inventory asks for; objects that carry them are read whoever owns them.
    :param sources: names of Deployments that workers are made like.
    :param redis_hosts: brokers in the namespace, whose Deployments may tell what they do when memory is full.
    """
    exists = cluster.namespace_exists()
    listed, hidden = _listed(cluster, fleet, {kind for kind, _name in names})
    present = {kind: items for kind, items in listed.items() if items is not None}
    found = (observed_object(kind, raw) for kind, items in present.items() for raw in items)
    autoscalers = [
        autoscaler(kind, raw) for kind in ("ScaledObject", "HorizontalPodAutoscaler") for raw in present.get(kind, ())
    ]
    deployments = present.get("Deployment", [])
    # Never one of a fleet: made like themselves, workers would keep for ever what their site has changed.
    foreign = [raw for raw in deployments if FLEET_LABEL not in (raw["metadata"].get("labels") or {})]
    return Observed(
        objects=tuple(
            item for item in found if item.is_ours(fleet) or item.is_adopted(fleet) or (item.kind, item.name) in names
        ),
        autoscalers=tuple(item for item in [*autoscalers, *_foreign_autoscalers(cluster)] if item is not None),
        namespace_exists=exists,
        missing_kinds=tuple(kind for kind, items in listed.items() if items is None),
        hidden_kinds=hidden,
        sources=tuple(source_of(raw) for raw in foreign if raw["metadata"]["name"] in sources),
        redis_policies=_redis_policies(cluster, deployments, redis_hosts),
        config_maps=tuple(str(raw["metadata"]["name"]) for raw in present.get("ConfigMap", ())),
        secrets=tuple(str(raw["metadata"]["name"]) for raw in present.get("Secret", ())),
    )


def _listed(
    cluster: Cluster, fleet: str, wanted: Collection[str]
) -> tuple[dict[str, list[dict[str, Any]] | None], tuple[str, ...]]:
    """Every object of each kind, None for a kind that the cluster does not know; and kinds that are hidden.

    :param wanted: kinds that the inventory asks for. Some others may be hidden from who runs this, and what lets idle
        pods go first in any case.
    :raises ClusterError: with every kind that must be read and may not be.
    """
    listed: dict[str, list[dict[str, Any]] | None] = {}
    refused: list[str] = []
    hidden: list[str] = []
    for kind, api_version in API_VERSIONS.items():
        is_everywhere = kind in CLUSTER_KINDS
        if is_everywhere and kind not in wanted and not _marks_pods(listed, fleet):
            continue
        try:
            if is_everywhere:
                name = idle_first_policy_name(cluster.namespace, fleet)
                listed[kind] = cluster.named_object(kind, api_version, name)
            else:
                listed[kind] = cluster.list_objects(kind, api_version, kind in METADATA_ONLY)
        except ClusterError as error:
            if kind not in OPTIONAL_KINDS or (kind in wanted and kind not in IDLE_FIRST_KINDS):
                refused.append(str(error))
            else:
                hidden.append(kind)
    if refused:
        raise ClusterError("\n".join(dict.fromkeys(refused)))
    return listed, tuple(hidden)


def _marks_pods(listed: Mapping[str, list[dict[str, Any]] | None], fleet: str) -> bool:
    """Whether the namespace has something by which workers of a fleet mark their pods."""
    own = {FLEET_LABEL: fleet, COMPONENT_LABEL: IDLE_FIRST}.items()
    every = (raw for kind in IDLE_FIRST_KINDS for raw in listed.get(kind) or ())
    return any(own <= (raw["metadata"].get("labels") or {}).items() for raw in every)


def _foreign_autoscalers(cluster: Cluster) -> list[Autoscaler | None]:
    """Autoscalers of kinds that we never make. Who may not read them goes without the warning."""
    found: list[Autoscaler | None] = []
    for kind, api_version in FOREIGN_VERSIONS.items():
        try:
            listed = cluster.list_objects(kind, api_version) or []
        except ClusterError:
            continue
        found.extend(autoscaler(kind, raw) for raw in listed)
    return found


_POLICY = re.compile(r"^\s*maxmemory-policy\s+(\S+)", re.MULTILINE)


def _redis_policies(cluster: Cluster, deployments: list[dict[str, Any]], hosts: Collection[str]) -> dict[str, str]:
    """What each Redis of the namespace does when its memory is full, as far as the ConfigMaps it mounts say so.

    Of these nothing else is kept: such a file may hold a password.
    """
    found: dict[str, str] = {}
    for raw in deployments:
        pod = ((raw.get("spec") or {}).get("template") or {}).get("spec") or {}
        for volume in (pod.get("volumes") or []) if raw["metadata"]["name"] in hosts else []:
            name = (volume.get("configMap") or {}).get("name")
            texts = cluster.config_map_texts(name) if name else []
            named = [match[1] for text in texts for match in _POLICY.finditer(text)]
            if named:
                # The last one counts (Redis 7).
                found[raw["metadata"]["name"]] = named[-1]
    return found


def wait_for_fleet(
    cluster: Cluster,
    fleet: str,
    deployments: Collection[str],
    scaled_objects: Collection[str],
    timeout: float,
    pause: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    scaled_jobs: Collection[str] = (),
) -> list[Waiting]:
    """Wait until everything is up, or until the time is over, or until waiting longer is pointless.

    :param timeout: seconds.
    :param pause: seconds between two looks.
    :returns: what is still not up.
    """
    start, looks = clock(), Looks()
    end = start + timeout
    while True:
        waiting = look(cluster, fleet, deployments, scaled_objects, clock() - start >= MOUNTED_SOON, scaled_jobs)
        if not waiting or looks.pointless(waiting, clock()) or clock() >= end:
            return waiting
        sleep(min(pause, max(0.0, end - clock())))


#: Seconds in which volumes are mounted. Only afterwards is it worth two requests to see what is not there.
MOUNTED_SOON = 10


def look(
    cluster: Cluster,
    fleet: str,
    deployments: Collection[str],
    scaled_objects: Collection[str],
    looks_for_mounts: bool = False,
    scaled_jobs: Collection[str] = (),
) -> list[Waiting]:
    """What is not up.

    :param looks_for_mounts: whether to ask if what pods mount exists, which their status does not tell.
    """
    selector = f"{FLEET_LABEL}={fleet}"
    found = fleet_deployments(cluster, fleet)
    if not set(deployments) <= {item["metadata"]["name"] for item in found}:
        # Some are not ours, or not any more.
        found = cluster.list_objects("Deployment", "apps/v1") or []
    behind = [item for item in found if item["metadata"]["name"] in deployments and deployment_waits(item, [])]
    pods = fleet_pods(cluster, fleet, behind) if behind else []
    own = {item["metadata"]["name"]: pods_of(item, pods, with_ended=True) for item in behind}
    new = {item["metadata"]["name"]: new_pods(item, own[item["metadata"]["name"]]) for item in behind}
    missing = missing_mounts(cluster, new) if looks_for_mounts else {}
    waits = [
        deployment_waits(item, own[item["metadata"]["name"]], missing.get(item["metadata"]["name"], ()))
        for item in behind
    ]
    for kind, names in (("ScaledObject", scaled_objects), ("ScaledJob", scaled_jobs)):
        listed = (cluster.list_objects(kind, API_VERSIONS[kind], selector=selector) or []) if names else []
        waits += [scaled_object_waits(item, kind) for item in listed if item["metadata"]["name"] in names]
    return [item for item in waits if item is not None]


def missing_mounts(cluster: Cluster, pods: Mapping[str, Iterable[dict[str, Any]]]) -> dict[str, set[tuple[str, str]]]:
    """What pods mount and what does not exist. Only names are read.

    :param pods: those of each worker, by its name.
    """
    wanted = {name: {source for pod in own for source in mounted(pod)} for name, own in pods.items()}
    there: set[tuple[str, str]] = set()
    for kind in {kind for sources in wanted.values() for kind, _name in sources}:
        try:
            listed = cluster.list_objects(kind, "v1", metadata_only=True) or []
        except ClusterError:
            # Not being allowed to look is no proof of anything.
            return {}
        there |= {(kind, item["metadata"]["name"]) for item in listed}
    return {name: sources - there for name, sources in wanted.items() if sources - there}


def fleet_deployments(cluster: Cluster, fleet: str) -> list[dict[str, Any]]:
    """Deployments of a fleet, and those that it has adopted."""
    selectors = (f"{FLEET_LABEL}={fleet}", f"{ADOPTED_LABEL}={fleet}")
    return [item for each in selectors for item in cluster.list_objects("Deployment", "apps/v1", selector=each) or []]


def fleet_pods(cluster: Cluster, fleet: str, deployments: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pods of a fleet, and those of Deployments that do not carry its label."""
    found = cluster.list_objects("Pod", "v1", selector=f"{FLEET_LABEL}={fleet}") or []
    for item in deployments:
        if (item["metadata"].get("labels") or {}).get(FLEET_LABEL) != fleet:
            found += cluster.pods_selected_by(item)
    return found


def pods_of(worker: dict[str, Any], pods: list[dict[str, Any]], with_ended: bool = False) -> list[dict[str, Any]]:
    """The pods that a Deployment or ScaledJob has. Those of a variant carry the same labels, whichever it is.

    :param with_ended: whether pods that have ended are of interest. Nothing runs in them: KEDA keeps those of Jobs.
    """
    wanted, is_job = selected_by(worker)
    return [
        pod
        for pod in pods
        if _is_of_job(pod) == is_job
        and wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        and (with_ended or not has_ended(pod))
    ]


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has ended for good, well or not."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def selected_by(worker: dict[str, Any]) -> tuple[dict[str, str], bool]:
    """The labels of a worker's pods, and whether these belong to Jobs."""
    spec = worker.get("spec") or {}
    if "jobTargetRef" in spec:
        labels = (template_of("ScaledJob", spec).get("metadata") or {}).get("labels") or {}
        return {name: value for name, value in labels.items() if name in OWN_LABELS}, True
    return dict((spec.get("selector") or {}).get("matchLabels") or {}), False


def _is_of_job(pod: dict[str, Any]) -> bool:
    return any(owner.get("kind") == "Job" for owner in pod["metadata"].get("ownerReferences") or [])


def fleet_workers(cluster: Cluster, fleet: str, kinds: Collection[str]) -> dict[str, dict[str, Any]]:
    """Deployments of a fleet, and its ScaledJobs where there are some, by their name.

    :param kinds: the kinds that there are.
    """
    selector = f"{FLEET_LABEL}={fleet}"
    jobs = (
        cluster.list_objects("ScaledJob", API_VERSIONS["ScaledJob"], selector=selector) if "ScaledJob" in kinds else []
    )
    return {str(item["metadata"]["name"]): item for item in [*(jobs or []), *fleet_deployments(cluster, fleet)]}
