# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cluster does after a write: Deployments become available, KEDA takes ScaledObjects over, owners cascade.

On a real server this happens some time after the answer. Here it happens at once, yet after the answer was made.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._admission import hpa_name, target_of
from ._defaults import apply_defaults
from ._jobs import finished, is_active, is_finished, job_of, jobs_to_start, pod_of_job
from ._kinds import BY_PATH, CRD, DEPLOYMENT, HPA, JOB, NAMESPACE, POD, REPLICA_SET, SCALED_JOB, SCALED_OBJECT, Kind
from ._status import Json
from ._store import Key, Store, clone, now, seeded
from ._workloads import REVISION, Unavailable, is_ready, pod, pod_names, replica_set, replica_set_name, victims_last

FINALIZER = "finalizer.keda.sh"
_LABEL = "scaledobject.keda.sh/name"
_PAUSED = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")
_NOT_IN_METRIC_NAMES = re.compile(r"[/.:%()]")
# The trigger metadata that names what is measured, and the one that holds the target value with its default.
_SUBJECTS = ("listName", "queueName", "metricName", "queueURL")
_TARGETS = {"redis": ("listLength", "5"), "rabbitmq": ("value", "20"), "aws-sqs-queue": ("queueLength", "5")}


@dataclass
class Controllers:
    store: Store
    keda_operator: bool = True
    unavailable: dict[Key, Unavailable] = field(default_factory=dict)
    _templates: dict[str, tuple[str, int]] = field(default_factory=dict)
    _job_numbers: Iterator[int] = field(default_factory=itertools.count)

    def wrote(self, kind: Kind, obj: Json) -> None:
        if kind is DEPLOYMENT:
            self.sync_deployment(obj)
            self._retry_scaled_objects(obj)
        elif kind is SCALED_OBJECT:
            self.sync_scaled_object(obj)
        elif kind is SCALED_JOB:
            self.sync_scaled_job(obj)
        elif kind is NAMESPACE:
            self.store.add_root_certificate(obj["metadata"]["name"])

    def removed(self, kind: Kind, obj: Json, orphan: bool = False) -> None:
        if kind is CRD:
            self._drop_instances(obj["spec"])
        if kind is NAMESPACE:
            self._empty_namespace(obj["metadata"]["name"])
        # Nothing belongs to a pod, and there may be many of them.
        if not orphan and kind is not POD:
            self._collect(obj["metadata"]["uid"])

    # Deployments

    def sync_deployment(self, obj: Json) -> None:
        key = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        template, revision = self._revision(obj)
        status = _deployment_status(obj, template, self.unavailable.get(key))
        annotations = {**obj["metadata"].get("annotations", {}), REVISION: str(revision)}
        synced = clone(obj)
        synced["status"], synced["metadata"]["annotations"] = status, annotations
        if synced != obj:
            self.store.put(DEPLOYMENT, synced)
        self._sync_pods(synced, template, self.unavailable.get(key))

    def _revision(self, obj: Json) -> tuple[str, int]:
        """The hash of the pod template and how many templates there were."""
        text = json.dumps(obj["spec"]["template"], sort_keys=True)
        template = hashlib.sha256(text.encode()).hexdigest()[:10]
        before, revision = self._templates.get(obj["metadata"]["uid"], ("", 0))
        if template != before:
            revision += 1
            self._templates[obj["metadata"]["uid"]] = template, revision
        return template, revision

    def _sync_pods(self, deployment: Json, template: str, why: Unavailable | None) -> None:
        owner = self._sync_replica_set(deployment, template, why)
        count = deployment["spec"]["replicas"] if why is None or why.pods else 0
        own = _owned(self.store.select(POD, owner["metadata"]["namespace"]), owner["metadata"]["uid"])
        kept = [] if why is not None else [one for one in victims_last(own) if is_ready(one)][:count]
        for one in own:
            if one not in kept:
                self.store.remove(POD, one)
        taken = {one["metadata"]["name"] for one in kept}
        free = (name for name in pod_names(owner, count + len(kept)) if name not in taken)
        for name in itertools.islice(free, count - len(kept)):
            self.store.put(POD, pod(owner, name, why))

    def _sync_replica_set(self, deployment: Json, template: str, why: Unavailable | None) -> Json:
        namespace, name = deployment["metadata"]["namespace"], replica_set_name(deployment, template)
        for old in _owned(self.store.select(REPLICA_SET, namespace), deployment["metadata"]["uid"]):
            if old["metadata"]["name"] != name:
                self._delete(REPLICA_SET, old)
        wanted, live = replica_set(deployment, template, why), self.store.get(REPLICA_SET, namespace, name)
        if live is None:
            return self.store.put(REPLICA_SET, seeded(REPLICA_SET, wanted))
        changed = {**live, **wanted, "metadata": {**live["metadata"], **wanted["metadata"]}}
        return live if changed == live else self.store.put(REPLICA_SET, changed)

    # KEDA

    def _retry_scaled_objects(self, deployment: Json) -> None:
        """KEDA tries again when a missing target appears."""
        name = deployment["metadata"]["name"]
        for obj in self.store.select(SCALED_OBJECT, deployment["metadata"]["namespace"]):
            if target_of(obj["spec"]["scaleTargetRef"])[1:] == ("Deployment", name) and not is_ready(obj):
                self.sync_scaled_object(obj)

    def sync_scaled_object(self, obj: Json) -> None:
        if not self.keda_operator:
            return
        if "deletionTimestamp" in obj["metadata"]:
            self._release(obj)
            return
        synced = clone(obj)
        metadata = synced["metadata"]
        if FINALIZER not in metadata.setdefault("finalizers", []):
            metadata["finalizers"].append(FINALIZER)
        metadata.setdefault("labels", {})[_LABEL] = metadata["name"]
        target = self._target(obj)
        synced["status"] = _scaled_object_status(synced, target)
        if synced != obj:
            self.store.put(SCALED_OBJECT, synced)
        self._sync_hpa(synced, target)

    def _target(self, obj: Json) -> Json | None:
        _group, kind, name = target_of(obj["spec"]["scaleTargetRef"])
        return self.store.get(DEPLOYMENT, obj["metadata"]["namespace"], name) if kind == "Deployment" else None

    def _sync_hpa(self, obj: Json, target: Json | None) -> None:
        wanted = None if target is None or is_paused(obj) else _hpa(obj, target)
        for hpa in _owned(self.store.select(HPA, obj["metadata"]["namespace"]), obj["metadata"]["uid"]):
            if wanted is None or hpa["metadata"]["name"] != wanted["metadata"]["name"]:
                self.store.remove(HPA, hpa)
        if wanted is None:
            return
        live = self.store.get(HPA, obj["metadata"]["namespace"], wanted["metadata"]["name"])
        if live is None:
            self.store.put(HPA, seeded(HPA, wanted))
        elif live["spec"] != wanted["spec"] or live["metadata"].get("labels") != wanted["metadata"]["labels"]:
            # Whoever it belonged to before: KEDA writes the whole object anew, annotations and owner too.
            kept = {key: value for key, value in live["metadata"].items() if key != "annotations"}
            self.store.put(HPA, {**live, **wanted, "metadata": {**kept, **wanted["metadata"]}})

    def sync_scaled_job(self, obj: Json, values: Mapping[str, float] | None = None) -> None:
        """KEDA takes a ScaledJob over.

        :param values: what its triggers read, at a poll.
        """
        if not self.keda_operator:
            return
        if "deletionTimestamp" in obj["metadata"]:
            self._release(obj, SCALED_JOB)
            return
        synced = clone(obj)
        metadata = synced["metadata"]
        if FINALIZER not in metadata.setdefault("finalizers", []):
            metadata["finalizers"].append(FINALIZER)
        active = is_active(obj["spec"], values) if values is not None else None
        synced["status"] = _scaled_job_status(synced, active)
        if synced != obj:
            synced = self.store.put(SCALED_JOB, synced)
        if values is not None and not is_paused(obj):
            own = [job for job in self._jobs(obj) if not is_finished(job)]
            for _number in range(jobs_to_start(obj["spec"], values, len(own))):
                self._start_job(synced)

    def _jobs(self, obj: Json) -> list[Json]:
        return _owned(self.store.select(JOB, obj["metadata"]["namespace"]), obj["metadata"]["uid"])

    def _start_job(self, obj: Json) -> None:
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        job = self.store.put(JOB, job_of(obj, next(self._job_numbers)))
        why = self.unavailable.get(key)
        if why is None or why.pods:
            self.store.put(POD, pod_of_job(job, why))

    def end_job(self, job: Json, failed: bool) -> None:
        """The worker of a Job has ended; its pod stays, as that of every Job."""
        self.store.put(JOB, finished(job, failed))
        for one in _owned(self.store.select(POD, job["metadata"]["namespace"]), job["metadata"]["uid"]):
            self.store.put(POD, {**one, "status": {"phase": "Failed" if failed else "Succeeded"}})

    def _release(self, obj: Json, kind: Kind = SCALED_OBJECT) -> None:
        """KEDA gives a ScaledObject or ScaledJob free that is being deleted."""
        finalizers = [name for name in obj["metadata"].get("finalizers", []) if name != FINALIZER]
        if obj["spec"].get("advanced", {}).get("restoreToOriginalReplicaCount"):
            self._restore_replicas(obj)
        if finalizers:
            metadata = {**obj["metadata"], "finalizers": finalizers}
            if metadata != obj["metadata"]:
                self.store.put(kind, {**obj, "metadata": metadata})
            return
        self.store.remove(kind, obj)
        self.removed(kind, obj)

    def _restore_replicas(self, obj: Json) -> None:
        target, original = self._target(obj), obj.get("status", {}).get("originalReplicaCount")
        if target is None or original is None or target["spec"]["replicas"] == original:
            return
        scaled = clone(target)
        scaled["spec"]["replicas"] = original
        scaled["metadata"]["generation"] += 1
        self.sync_deployment(self.store.put(DEPLOYMENT, scaled))

    # Garbage collection

    def _collect(self, uid: str) -> None:
        for kind, obj in list(self.store.everything()):
            if any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences", [])):
                self._delete(kind, obj)

    def _empty_namespace(self, namespace: str) -> None:
        for kind, obj in list(self.store.everything()):
            if obj["metadata"].get("namespace") == namespace:
                self._delete(kind, obj)

    def _drop_instances(self, spec: Json) -> None:
        for version in spec.get("versions", []):
            kind = BY_PATH.get((spec["group"], version["name"], spec["names"]["plural"]))
            if kind is None:
                continue
            for obj in self.store.select(kind):
                self.store.remove(kind, obj)
                self._collect(obj["metadata"]["uid"])

    def _delete(self, kind: Kind, obj: Json) -> None:
        if obj["metadata"].get("finalizers"):
            self.wrote(kind, self.store.put(kind, marked_for_deletion(kind, obj)))
        else:
            self.store.remove(kind, obj)
            self.removed(kind, obj)


def marked_for_deletion(kind: Kind, obj: Json) -> Json:
    """The object as it stays while its finalizers hold it."""
    if "deletionTimestamp" in obj["metadata"]:
        return obj
    marked: Json = clone(obj)
    marked["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
    if kind.has_generation:
        marked["metadata"]["generation"] += 1
    return marked


def _owned(objects: Iterable[Json], uid: str) -> list[Json]:
    return [o for o in objects if any(owner["uid"] == uid for owner in o["metadata"].get("ownerReferences", []))]


def _deployment_status(obj: Json, template: str, why: Unavailable | None) -> Json:
    replicas = obj["spec"]["replicas"]
    counts = {"replicas": replicas, "updatedReplicas": replicas}
    if why is None:
        counts |= {"readyReplicas": replicas, "availableReplicas": replicas}
    else:
        counts |= {"unavailableReplicas": replicas}
    status: Json = {"observedGeneration": obj["metadata"]["generation"], "terminatingReplicas": 0}
    status |= {name: count for name, count in counts.items() if count}
    replica_set = f'ReplicaSet "{obj["metadata"]["name"]}-{template}"'
    wanted = _conditions(replica_set, why if replicas else None)
    status["conditions"] = _keep_times(wanted, obj.get("status", {}).get("conditions", []))
    return status


def _conditions(replica_set: str, why: Unavailable | None) -> list[Json]:
    if why is None:
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        progress = ("True", "NewReplicaSetAvailable", f"{replica_set} has successfully progressed.")
    else:
        available = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        progress = ("True", "ReplicaSetUpdated", f"{replica_set} is progressing.")
        if why.deadline_exceeded:
            progress = ("False", "ProgressDeadlineExceeded", f"{replica_set} has timed out progressing.")
    return [_condition("Progressing", *progress), _condition("Available", *available)]


def _condition(type_: str, status: str, reason: str, message: str) -> Json:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def _keep_times(wanted: list[Json], before: list[Json]) -> list[Json]:
    """Conditions with the times of those they continue, so that an unchanged status stays equal."""
    known = {condition["type"]: condition for condition in before}
    return [_with_times(condition, known.get(condition["type"], {})) for condition in wanted]


def _with_times(condition: Json, old: Json) -> Json:
    time = now()
    transition = old.get("lastTransitionTime", time) if old.get("status") == condition["status"] else time
    same = all(old.get(key) == value for key, value in condition.items())
    update = old.get("lastUpdateTime", time) if same else time
    return condition | {"lastTransitionTime": transition, "lastUpdateTime": update}


def is_paused(obj: Json) -> bool:
    annotations = obj["metadata"].get("annotations", {})
    return annotations.get(_PAUSED[0]) == "true" or _PAUSED[1] in annotations


def metric_names(obj: Json) -> list[str]:
    return [
        f"s{index}-{trigger['type']}-{_NOT_IN_METRIC_NAMES.sub('-', _subject(trigger))}".rstrip("-")
        for index, trigger in enumerate(obj["spec"]["triggers"])
        if trigger["type"] not in ("cpu", "memory")
    ]


def _subject(trigger: Json) -> str:
    metadata = trigger["metadata"]
    return next((str(metadata[key]) for key in _SUBJECTS if key in metadata), "")


def _scaled_object_status(obj: Json, target: Json | None) -> Json:
    before = obj.get("status", {})
    active = _condition("Active", "Unknown", "UnknownState", "ScaledObject check failed")
    fallback = _condition("Fallback", "False", "NoFallbackFound", "No fallbacks are active on this scaled object")
    paused: Json = {"type": "Paused", "status": "False"}
    if is_paused(obj):
        paused = _condition("Paused", "True", "ScaledObjectPaused", "ScaledObject is paused")
    if target is not None:
        message = "Scaling is not performed because triggers are not active"
        active = _condition("Active", "False", "ScalerNotActive", message)
    if target is None:
        name = obj["spec"]["scaleTargetRef"]["name"]
        why = f'ScaledObject doesn\'t have correct scaleTargetRef specification: deployments.apps "{name}" not found'
        ready = _condition("Ready", "False", "ScaledObjectCheckFailed", why)
        return {**before, "conditions": [ready, active, fallback, paused]}
    message = "ScaledObject is defined correctly and is ready for scaling"
    ready = _condition("Ready", "True", "ScaledObjectReady", message)
    metrics = metric_names(obj)
    references = [trigger["authenticationRef"] for trigger in obj["spec"]["triggers"] if "authenticationRef" in trigger]
    return {
        "authenticationsTypes": ",".join(sorted({ref.get("kind", "TriggerAuthentication") for ref in references})),
        "conditions": [ready, active, fallback, paused],
        "externalMetricNames": metrics,
        "hpaName": hpa_name(obj),
        "originalReplicaCount": before.get("originalReplicaCount", target["spec"]["replicas"]),
        "scaleTargetGVKR": {"group": "apps", "kind": "Deployment", "resource": "deployments", "version": "v1"},
        "scaleTargetKind": "apps/v1.Deployment",
        "triggersActivity": {name: {"isActive": False} for name in metrics},
        "triggersTypes": ",".join(dict.fromkeys(trigger["type"] for trigger in obj["spec"]["triggers"])),
    }


def _scaled_job_status(obj: Json, active: bool | None) -> Json:
    """What KEDA says of a ScaledJob.

    :param active: what a poll has found; None where there was none.
    """
    before = {one["type"]: one for one in obj.get("status", {}).get("conditions", [])}
    paused: Json = {"type": "Paused", "status": "False"}
    if is_paused(obj):
        paused = _condition("Paused", "True", "ScaledJobPaused", "ScaledJob is paused")
        active = None
    idle = _condition("Active", "False", "ScalerNotActive", "Scaling is not performed because triggers are not active")
    now_active = before.get("Active", idle) if active is None else idle
    if active:
        now_active = _condition("Active", "True", "ScalerActive", "Scaling is performed because triggers are active")
    ready = _condition("Ready", "True", "ScaledJobReady", "ScaledJob is defined correctly and is ready to scaling")
    types = ",".join(dict.fromkeys(trigger["type"] for trigger in obj["spec"]["triggers"]))
    return {"conditions": [ready, now_active, paused], "triggersTypes": types}


def _hpa_config(obj: Json) -> Json:
    config: Json = obj["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    return config


def _hpa(obj: Json, target: Json) -> Json:
    metadata, spec = obj["metadata"], obj["spec"]
    api_version, kind, name = target_of(spec["scaleTargetRef"])
    # Labels of the ScaledObject win.
    labels = {
        "app.kubernetes.io/managed-by": "keda-operator",
        "app.kubernetes.io/name": hpa_name(obj),
        "app.kubernetes.io/part-of": metadata["name"],
        "app.kubernetes.io/version": "2.20.2",
        **metadata.get("labels", {}),
    }
    owner = {"apiVersion": SCALED_OBJECT.api_version, "kind": "ScaledObject", "name": metadata["name"]}
    hpa_metadata: Json = {"name": hpa_name(obj), "namespace": metadata["namespace"], "labels": labels}
    hpa_metadata["ownerReferences"] = [owner | {"uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}]
    if "annotations" in metadata:
        hpa_metadata["annotations"] = dict(metadata["annotations"])
    hpa_spec: Json = {
        "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": name},
        "minReplicas": max(spec.get("minReplicaCount", 0), 1),
        "maxReplicas": spec.get("maxReplicaCount", 100),
        "metrics": _hpa_metrics(obj),
    }
    if behavior := _hpa_config(obj).get("behavior"):
        hpa_spec["behavior"] = clone(behavior)
    replicas = target["spec"]["replicas"]
    status = {"conditions": _hpa_conditions(replicas), "currentReplicas": replicas, "desiredReplicas": replicas}
    status["currentMetrics"] = None
    hpa = {"kind": HPA.name, "metadata": hpa_metadata, "spec": hpa_spec, "status": status}
    apply_defaults(hpa, None)
    return hpa


def _hpa_conditions(replicas: int) -> list[Json]:
    """As the controller leaves them. It does nothing as long as its target has no pod."""
    able = _condition("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
    scaling = _condition("ScalingActive", "True", "ValidMetricFound", "the HPA was able to compute the replica count")
    limited = _condition("ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the range")
    if not replicas:
        why = "scaling is disabled since the replica count of the target is zero"
        scaling, limited = _condition("ScalingActive", "False", "ScalingDisabled", why), {}
    time = now()
    return [{**one, "lastTransitionTime": time} for one in (able, scaling, limited) if one]


def _hpa_metrics(obj: Json) -> list[Json]:
    selector = {"matchLabels": {_LABEL: obj["metadata"]["name"]}}
    modifiers = obj["spec"].get("advanced", {}).get("scalingModifiers", {})
    triggers = obj["spec"]["triggers"]
    resources = [_resource_metric(trigger) for trigger in triggers if trigger["type"] in ("cpu", "memory")]
    if modifiers.get("formula"):
        target = _metric_target(modifiers.get("metricType", "AverageValue"), str(modifiers.get("target", "1")))
        return [*resources, _external_metric("s0-composite-metric", selector, target)]
    external = [trigger for trigger in triggers if trigger["type"] not in ("cpu", "memory")]
    targets = [_metric_target(trigger.get("metricType", "AverageValue"), _threshold(trigger)) for trigger in external]
    named = zip(metric_names(obj), targets, strict=True)
    return [*resources, *(_external_metric(name, selector, target) for name, target in named)]


def _threshold(trigger: Json) -> str:
    key, default = _TARGETS.get(trigger["type"], ("threshold", "1"))
    return str(trigger["metadata"].get(key, default))


def _metric_target(type_: str, value: str) -> Json:
    return {"type": type_, "value" if type_ == "Value" else "averageValue": value}


def _external_metric(name: str, selector: Json, target: Json) -> Json:
    return {"type": "External", "external": {"metric": {"name": name, "selector": selector}, "target": target}}


def _resource_metric(trigger: Json) -> Json:
    value: Any = trigger["metadata"].get("value", "80")
    target: Json = {"type": "Utilization", "averageUtilization": int(value)}
    if trigger.get("metricType") == "AverageValue":
        target = _metric_target("AverageValue", str(value))
    return {"type": "Resource", "resource": {"name": trigger["type"], "target": target}}
