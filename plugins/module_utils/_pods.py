# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: the pod of a worker or of beat."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from ansible_collections.queueops.celery.plugins.module_utils._heartbeat import (
    HEARTBEAT_MOUNT,
    check_command,
    start_command,
)
from ansible_collections.queueops.celery.plugins.module_utils._kubernetes import merge
from ansible_collections.queueops.celery.plugins.module_utils._model import Beat, Broker, Pod, Service, Variant
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    CONFIG_ANNOTATION,
    REVISION_ANNOTATION,
    SECRETS_ANNOTATION,
    heartbeat_name,
    secret_env_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import Observed

#: The worker's own container, which pod_overrides and kubectl logs name.
WORKER_CONTAINER = "worker"

#: Environment of the ping probe where the broker is not in the worker's own environment.
PROBE_BROKER_ENV = "CELERY_PROBE_BROKER_URL"

_RESTRICTED_POD: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_RESTRICTED_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_BASELINE_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False}


@dataclass(frozen=True)
class PodContext:
    """What a pod is made from beside its own keys.

    :param people: labels for people; the user's own go over them.
    :param selector: labels that select the pod; nothing goes over them.
    """

    service: Service
    deployment: str
    people: dict[str, str]
    selector: dict[str, str]
    observed: Observed
    config_hash: str = ""


def worker_pod(variant: Variant, context: PodContext) -> dict[str, Any]:
    """Pod template of a variant."""
    pod, broker = variant.pod, context.service.broker
    container = _container(WORKER_CONTAINER, list(variant.args), pod, broker, context)
    if pod.probe.type == "heartbeat":
        container["command"] = start_command(pod.probe.python)
        container.setdefault("volumeMounts", []).append(
            {"name": "celery-heartbeat", "mountPath": HEARTBEAT_MOUNT, "readOnly": True}
        )
    container.update(_probes(variant, broker))
    if pod.lifecycle:
        container["lifecycle"] = pod.lifecycle
    spec = _spec(pod, [container, *(_hardened(item, pod) for item in pod.sidecars)], context)
    spec["terminationGracePeriodSeconds"] = pod.termination_grace_period
    if pod.probe.type == "heartbeat":
        volume = {
            "name": "celery-heartbeat",
            "configMap": {"name": heartbeat_name(variant.service), "defaultMode": 0o444},
        }
        spec["volumes"] = [*spec.get("volumes", []), volume]
    return _template(spec, pod, context)


def beat_pod(beat: Beat, context: PodContext) -> dict[str, Any]:
    """Pod template of a service's scheduler: the service's image and environment, beat's own resources."""
    service, pod = context.service, context.service.pod
    args = ["celery", f"--app={service.app}", "beat", f"--loglevel={beat.loglevel}", "--pidfile="]
    if beat.scheduler:
        args.append(f"--scheduler={beat.scheduler}")
    else:
        args.append(f"--schedule={beat.schedule_file}")
    if beat.max_interval:
        args.append(f"--max-interval={beat.max_interval}")
    container = _container("beat", [*args, *beat.extra_params], pod, service.broker, context)
    container["resources"] = _without_empty(beat.resources)
    spec = _spec(pod, [container], context)
    if not beat.scheduler:
        folder = beat.schedule_file.rpartition("/")[0] or "/"
        container.setdefault("volumeMounts", []).append({"name": "celery-schedule", "mountPath": folder})
        spec["volumes"] = [*spec.get("volumes", []), {"name": "celery-schedule", **beat.schedule_volume}]
    return _template(spec, replace(pod, pod_overrides=_for_beat(pod.pod_overrides)), context)


def _for_beat(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides of the pod, without those of containers that only a worker's pod has."""
    containers = [item for item in overrides.get("containers", []) if item["name"] == "beat"]
    kept = {key: item for key, item in overrides.items() if key != "containers"}
    return {**kept, "containers": containers} if containers else kept


def _container(name: str, args: list[str], pod: Pod, broker: Broker | None, context: PodContext) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": pod.image, "args": args}
    if pod.image_pull_policy:
        container["imagePullPolicy"] = pod.image_pull_policy
    if pod.working_dir:
        container["workingDir"] = pod.working_dir
    env = [*_broker_env(broker, pod), *pod.env, *_secret_env(pod, context.deployment)]
    if env:
        container["env"] = _unique(env)
    if pod.env_from:
        container["envFrom"] = list(pod.env_from)
    if pod.volume_mounts:
        container["volumeMounts"] = list(pod.volume_mounts)
    container["resources"] = _without_empty(pod.resources)
    security = _container_security(pod)
    if security:
        container["securityContext"] = security
    return container


def _unique(env: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a name. The user's own entry stands after ours and wins."""
    return list({entry["name"]: entry for entry in env}.values())


def _broker_env(broker: Broker | None, pod: Pod) -> list[dict[str, Any]]:
    if broker is None:
        return []
    names = [broker.inject_env] if broker.inject_env else []
    if pod.probe.type == "ping" and broker.inject_env != "CELERY_BROKER_URL":
        names.append(PROBE_BROKER_ENV)
    return [{"name": name, **_broker_url_source(broker)} for name in names]


def _broker_url_source(broker: Broker) -> dict[str, Any]:
    if broker.secret is not None:
        return {"valueFrom": {"secretKeyRef": {"name": broker.secret.name, "key": broker.secret.url_key}}}
    if broker.password:
        return {"valueFrom": {"secretKeyRef": {"name": broker.own_secret, "key": "url"}}}
    return {"value": broker_url(broker)}


def broker_url(broker: Broker, password: str | None = None) -> str:
    """The broker's URL with its parts percent-encoded, so that C(@ : / #) in a password do not end the host."""
    scheme = {"redis": "redis", "rabbitmq": "amqp"}[broker.type] + ("s" if broker.tls else "")
    login = ""
    if password is not None:
        login = f"{quote(broker.username or '', safe='')}:{quote(password, safe='')}@"
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    tail = str(broker.database) if broker.type == "redis" else quote(broker.virtual_host, safe="")
    return f"{scheme}://{login}{host}:{broker.port}/{tail}"


def _secret_env(pod: Pod, deployment: str) -> list[dict[str, Any]]:
    own = secret_env_name(deployment)
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.get("secret", own), "key": ref.get("key", name)}}}
        for name, ref in pod.secret_env.items()
    ]


def _probes(variant: Variant, broker: Broker | None) -> dict[str, Any]:
    probe = variant.pod.probe
    command = {
        "exec": list(probe.command),
        "heartbeat": check_command(probe.python, probe.heartbeat_seconds, broker),
        "ping": _ping_command(variant, broker, probe.timeout_seconds),
    }.get(probe.type or "none")
    if not command:
        return {}
    action = {"exec": {"command": command}}
    timing = {"timeoutSeconds": probe.timeout_seconds, "successThreshold": 1}
    tries = -(-probe.startup_seconds // 10)
    found: dict[str, Any] = {"startupProbe": {**action, **timing, "periodSeconds": 10, "failureThreshold": tries}}
    liveness = probe.liveness if probe.liveness is not None else probe.type != "ping"
    if liveness:
        found["livenessProbe"] = {
            **action,
            **timing,
            "periodSeconds": probe.period_seconds,
            "failureThreshold": probe.failures,
        }
    return found


def _ping_command(variant: Variant, broker: Broker | None, timeout: int) -> list[str]:
    """Ask this pod's worker for a reply without importing the app (0.9 s instead of 3 CPU seconds with Django).

    A shell is needed for the pod's name alone; Django's settings are taken away, because Celery would import them.
    """
    node = f"{variant.service}.{variant.name}@$HOSTNAME"
    ours = broker is not None and broker.inject_env != "CELERY_BROKER_URL"
    url = f' CELERY_BROKER_URL="${PROBE_BROKER_ENV}"' if ours else ""
    wait = max(1, timeout - 5)
    script = f'exec env -u DJANGO_SETTINGS_MODULE{url} celery inspect ping --destination "{node}" --timeout {wait}'
    return ["sh", "-c", script]


def _container_security(pod: Pod) -> dict[str, Any]:
    base = {"restricted": _RESTRICTED_CONTAINER, "baseline": _BASELINE_CONTAINER}.get(pod.pod_security, {})
    merged: dict[str, Any] = merge("SecurityContext", base, pod.container_security_context)
    return merged


def _hardened(container: dict[str, Any], pod: Pod) -> dict[str, Any]:
    """A container of the user's, admitted where the worker is."""
    base = {"restricted": _RESTRICTED_CONTAINER, "baseline": _BASELINE_CONTAINER}.get(pod.pod_security)
    if base is None:
        return container
    return {**container, "securityContext": merge("SecurityContext", base, container.get("securityContext", {}))}


def _spec(pod: Pod, containers: list[dict[str, Any]], context: PodContext) -> dict[str, Any]:
    spec: dict[str, Any] = {
        # Service links would inject FLOWER_PORT=tcp://… and the like into apps that read such names.
        "enableServiceLinks": False,
        "containers": containers,
    }
    security = merge(
        "PodSecurityContext", _RESTRICTED_POD if pod.pod_security == "restricted" else {}, pod.security_context
    )
    optional: dict[str, Any] = {
        "securityContext": security,
        "initContainers": [_hardened(item, pod) for item in pod.init_containers],
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
        "nodeSelector": pod.node_selector,
        "tolerations": list(pod.tolerations),
        "affinity": pod.affinity,
        "topologySpreadConstraints": [_spread(item, context.selector) for item in pod.topology_spread_constraints],
        "priorityClassName": pod.priority_class_name,
        "serviceAccountName": pod.service_account_name,
        "volumes": list(pod.volumes),
    }
    spec.update(_without_empty(optional))
    return spec


def _spread(constraint: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    return constraint if "labelSelector" in constraint else {**constraint, "labelSelector": {"matchLabels": selector}}


def _template(spec: dict[str, Any], pod: Pod, context: PodContext) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {**context.people, **pod.pod_labels, **context.selector}}
    annotations = {**_roll_annotations(pod, context), **pod.pod_annotations}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": merge("PodSpec", spec, pod.pod_overrides)}


def _roll_annotations(pod: Pod, context: PodContext) -> dict[str, str]:
    """Pods roll when something they read at start has changed. A Secret is never hashed: a hash can be guessed at."""
    versions = {
        name: item.resource_version
        for name in own_secrets(pod, context.service.broker, context.deployment)
        if (item := context.observed.find("Secret", name)) is not None and item.resource_version
    }
    found = {
        SECRETS_ANNOTATION: json.dumps(versions, sort_keys=True, separators=(",", ":")) if versions else "",
        CONFIG_ANNOTATION: context.config_hash if pod.probe.type == "heartbeat" else "",
        REVISION_ANNOTATION: pod.secret_revision or "",
    }
    return {name: value for name, value in found.items() if value}


def own_secrets(pod: Pod, broker: Broker | None, deployment: str) -> Iterable[str]:
    """Names of the Secrets of ours that a pod reads."""
    if broker is not None and broker.password and any(entry for entry in _broker_env(broker, pod)):
        yield broker.own_secret
    if any(not reference for reference in pod.secret_env.values()):
        yield secret_env_name(deployment)


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in (None, {}, [], "", ())}
