# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod of a worker or of beat."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .._celery.brokers import (
    TLS_MOUNT,
    answers_ping,
    tls_files,
    transport_options,
    use_ssl,
)
from .._celery.command import broker_words
from .._celery.idle_first import marks_itself
from .._celery.launcher import (
    FEATURES_ENV,
    HEARTBEAT_MOUNT,
    beat_features,
    features_of,
    features_value,
    needs_launcher,
    start_command,
    tick_command,
)
from .._celery.programs import idle_first
from .._celery.start import (
    CELERY,
    celery_command,
    check_python,
    python_words,
)
from .._model.broker import Broker
from .._model.fleet import Variant
from .._model.names import (
    BEAT_CONTAINER,
    CONFIG_ANNOTATION,
    REVISION_ANNOTATION,
    SECRETS_ANNOTATION,
    WORKER_CONTAINER,
    heartbeat_name,
)
from .._model.observed import Observed
from .._model.service_keys import Beat
from .._model.variant_keys import Pod
from .._schema.kubernetes import merge
from .._schema.references import in_order
from .._schema.versions import at_least
from .containers import (
    LAST_WORDS,
    REMAP,
    PodContext,
    RouteFiles,
    _unique,
    container_of,
    container_security,
    hardened,
    own_secrets,
    ping_of,
    probes_of,
    without_empty,
)

#: Volume with the certificates of the broker.
TLS_VOLUME = "celery-broker-tls"

#: Volume with the routes of a service, and where it is mounted.
ROUTES_VOLUME = "celery-routes"
ROUTES_MOUNT = "/etc/celery/routes"

#: Volume with the token by which a worker marks its own pod, and seconds for which it is good; the kubelet renews it.
TOKEN_VOLUME = "celery-launcher-token"
TOKEN_LIFETIME = 3600

#: Volume for what is written beside the image, and where it is mounted.
TEMPORARY_VOLUME = "celery-tmp"
TEMPORARY_MOUNT = "/tmp"


_RESTRICTED_POD: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@dataclass(frozen=True)
class ServerContext:
    """What the pod of a Flower or an exporter is made from beside its own keys.

    :param people: labels for people; the user's own go over them.
    :param selector: labels that select the pod; nothing goes over them.
    :param secrets: Secrets of ours that it reads.
    :param files: ConfigMap with files, mounted at C(mount); empty for none.
    :param volumes: folders that it may write to, path to source.
    """

    part: str
    args: tuple[str, ...]
    env: tuple[dict[str, Any], ...]
    port: int
    health_path: str
    broker: Broker
    people: dict[str, str]
    selector: dict[str, str]
    observed: Observed
    secrets: tuple[str, ...] = ()
    files: str = ""
    mount: str = ""
    config_hash: str = ""
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)


#: Seconds in which a Flower or an exporter has to stop.
SERVER_GRACE = 30


def server_pod(pod: Pod, context: ServerContext) -> dict[str, Any]:
    """Pod template of a process that listens to a broker and serves HTTP."""
    container: dict[str, Any] = {"name": context.part, "image": pod.image, "args": list(context.args)}
    container["terminationMessagePolicy"] = LAST_WORDS
    if pod.image_pull_policy:
        container["imagePullPolicy"] = pod.image_pull_policy
    container["env"] = _unique([*context.env, *pod.env])
    container["ports"] = [{"name": "http", "containerPort": context.port, "protocol": "TCP"}]
    container["resources"] = without_empty(pod.resources)
    container["securityContext"] = container_security(pod)
    probe: dict[str, Any] = {"httpGet": {"path": context.health_path, "port": "http"}, "timeoutSeconds": 5}
    container["startupProbe"] = {**probe, "periodSeconds": 5, "failureThreshold": 24}
    container["readinessProbe"] = {**probe, "periodSeconds": 10, "failureThreshold": 3}
    container["livenessProbe"] = {**probe, "periodSeconds": 30, "failureThreshold": 3}
    mounts: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    for number, (path, source) in enumerate(context.volumes.items()):
        name = f"{context.part}-{number}"
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path})
    if context.files:
        volumes.append({"name": "settings", "configMap": {"name": context.files, "defaultMode": 0o444}})
        mounts.append({"name": "settings", "mountPath": context.mount, "readOnly": True})
    if mounts:
        container["volumeMounts"] = mounts
    spec = _spec(pod, [container], context.selector)
    if volumes:
        spec["volumes"] = volumes
    spec["terminationGracePeriodSeconds"] = SERVER_GRACE
    _mount_certificates(spec, container, context.broker)
    rolls = _roll_annotations(pod, context.secrets, context.observed, context.config_hash)
    return _finished(spec, pod, context, rolls)


def worker_pod(variant: Variant, context: PodContext) -> dict[str, Any]:
    """Pod template of a variant."""
    pod, broker = variant.pod, context.service.broker
    container = container_of(WORKER_CONTAINER, list(variant.args), pod, broker, context)
    if needs_launcher(variant, broker):
        _mount_launcher(container, pod, features_of(variant, broker))
    container.update(probes_of(variant, broker))
    if pod.lifecycle:
        container["lifecycle"] = pod.lifecycle
    if variant.process.soft_shutdown_timeout and not any(entry["name"] == REMAP for entry in container.get("env", [])):
        # Without it Celery's SIGTERM waits for tasks without end, and soft shutdown never begins (5.5 and later).
        container["env"] = [*container.get("env", []), {"name": REMAP, "value": "SIGQUIT"}]
    spec = _spec(pod, [container, *(hardened(item, pod) for item in pod.sidecars)], context.selector)
    _mount_certificates(spec, container, broker)
    _mount_routes(spec, container, context.routes)
    spec["terminationGracePeriodSeconds"] = pod.termination_grace_period
    if needs_launcher(variant, broker):
        _add_launcher(spec, variant.service)
    if context.account:
        spec.setdefault("serviceAccountName", context.account)
    if marks_itself(variant):
        _add_token(spec, container)
    return _template(spec, pod, context)


def beat_pod(beat: Beat, context: PodContext) -> dict[str, Any]:
    """Pod template of a service's scheduler: the service's image and environment, beat's own resources."""
    service, pod = context.service, context.service.pod
    args = [*celery_command(pod, service.app), "beat", f"--loglevel={beat.loglevel}", "--pidfile="]
    if beat.scheduler:
        args.append(f"--scheduler={beat.scheduler}")
    else:
        args.append(f"--schedule={beat.schedule_file}")
    if beat.max_interval:
        args.append(f"--max-interval={beat.max_interval}")
    probe = _beat_probe(beat, context)
    if probe and beat.probe != "tick":
        args.append("--enable-remote-control")
        pod = replace(pod, probe=replace(pod.probe, type="ping"))
    args += beat.extra_params
    # Beat sends through the same broker, whose name of the master or certificates no URL can hold.
    settings = {"broker_use_ssl": use_ssl(service.broker)}
    if service.broker is not None and service.broker.type == "redis-sentinel":
        settings["broker_transport_options"] = transport_options(service.broker, None, None)
    words = broker_words(settings)
    container = container_of(BEAT_CONTAINER, [*args, *(["--", *words] if words else [])], pod, service.broker, context)
    features = beat_features(service)
    if features is not None:
        _mount_launcher(container, pod, features)
    container["resources"] = without_empty(beat.resources)
    container.update(probe)
    spec = _spec(pod, [container], context.selector)
    _mount_certificates(spec, container, service.broker)
    _mount_routes(spec, container, context.routes)
    if features is not None:
        _add_launcher(spec, service.name)
    if not beat.scheduler:
        folder = beat.schedule_file.rpartition("/")[0] or "/"
        container.setdefault("volumeMounts", []).append({"name": "celery-schedule", "mountPath": folder})
        spec["volumes"] = [*spec.get("volumes", []), {"name": "celery-schedule", **beat.schedule_volume}]
    return _template(spec, replace(pod, pod_overrides=beat_overrides(pod.pod_overrides)), context)


def _beat_probe(beat: Beat, context: PodContext) -> dict[str, Any]:
    """A liveness check by which a scheduler that no longer ticks is started anew.

    Beat notes its ticks in a file, or (Celery 5.7) it answers no ping while its last tick is too old. It is restarted
    slowly, so that a broker that has just come back does not count.
    """
    broker = context.service.broker
    if beat.probe == "none":
        return {}
    if beat.probe == "tick":
        command = tick_command(check_python(context.service.pod), broker)
        timing = {"initialDelaySeconds": 60, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 3}
        return {"livenessProbe": {"exec": {"command": command}, **timing}}
    able = broker is not None and answers_ping(broker)
    asked = True if beat.probe == "ping" else beat.liveness
    if not able or not (at_least(context.celery, "5.7") if asked is None else asked):
        return {}
    command = ping_of("celerybeat@$HOSTNAME", context.service.pod, broker, _BEAT_TIMEOUT)
    timing = {"initialDelaySeconds": 60, "periodSeconds": 60, "timeoutSeconds": _BEAT_TIMEOUT, "failureThreshold": 5}
    return {"livenessProbe": {"exec": {"command": command}, **timing}}


#: Seconds in which a beat has to answer.
_BEAT_TIMEOUT = 30


def _mount_launcher(container: dict[str, Any], pod: Pod, features: dict[str, dict[str, Any]]) -> None:
    """Start the container by one of our files, in place of the celery that the command prefix ends in.

    :param features: what the file does beside that.
    """
    container["command"] = start_command(python_words(pod) or [pod.probe.python or "python"])
    container["args"] = [CELERY, *container["args"][len(pod.command_prefix) :]]
    mount = {"name": "celery-heartbeat", "mountPath": HEARTBEAT_MOUNT, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
    if features:
        entry = {"name": FEATURES_ENV, "value": features_value(features)}
        container["env"] = _unique([*container.get("env", []), entry])


def _add_launcher(spec: dict[str, Any], service: str) -> None:
    volume = {"name": "celery-heartbeat", "configMap": {"name": heartbeat_name(service), "defaultMode": 0o444}}
    spec["volumes"] = [*spec.get("volumes", []), volume]


def _add_token(spec: dict[str, Any], container: dict[str, Any]) -> None:
    """A token of the pod's own for its launcher, and what its pod costs now, should the container be started anew."""
    token = {"path": idle_first.TOKEN, "expirationSeconds": TOKEN_LIFETIME}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": idle_first.AUTHORITY}]}
    sources = [{"serviceAccountToken": token}, {"configMap": authority}]
    volume = {"name": TOKEN_VOLUME, "projected": {"defaultMode": 0o444, "sources": sources}}
    spec["volumes"] = [*spec.get("volumes", []), volume]
    mount = {"name": TOKEN_VOLUME, "mountPath": idle_first.FOLDER, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
    cost = {"fieldRef": {"fieldPath": f"metadata.annotations['{idle_first.ANNOTATION}']"}}
    container["env"] = _unique([*container.get("env", []), {"name": idle_first.COST_ENV, "valueFrom": cost}])


def _mount_certificates(spec: dict[str, Any], container: dict[str, Any], broker: Broker | None) -> None:
    """The files that the worker's command line names for an encrypted broker."""
    files = tls_files(broker)
    if not files:
        return
    sources: dict[str, list[dict[str, str]]] = {}
    for path, (secret, key) in files.items():
        sources.setdefault(secret, []).append({"key": key, "path": path})
    volume = {
        "name": TLS_VOLUME,
        "projected": {
            "defaultMode": 0o444,
            "sources": [{"secret": {"name": name, "items": items}} for name, items in sources.items()],
        },
    }
    spec["volumes"] = [*spec.get("volumes", []), volume]
    mount = {"name": TLS_VOLUME, "mountPath": TLS_MOUNT, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]


def _mount_routes(spec: dict[str, Any], container: dict[str, Any], routes: RouteFiles) -> None:
    """The file with the routes, and what makes Django read it over the app's own settings."""
    if not routes.config_map:
        return
    volume = {"name": ROUTES_VOLUME, "configMap": {"name": routes.config_map, "defaultMode": 0o444}}
    spec["volumes"] = [*spec.get("volumes", []), volume]
    mount = {"name": ROUTES_VOLUME, "mountPath": ROUTES_MOUNT, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
    if routes.settings_module:
        env = {entry["name"]: entry for entry in container.get("env", [])}
        own = env.get("PYTHONPATH", {}).get("value")
        path = ":".join(dict.fromkeys([ROUTES_MOUNT, *filter(None, (own or "").split(":"))]))
        env["PYTHONPATH"] = {"name": "PYTHONPATH", "value": path}
        env["DJANGO_SETTINGS_MODULE"] = {"name": "DJANGO_SETTINGS_MODULE", "value": routes.settings_module}
        container["env"] = list(env.values())


def beat_overrides(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides of the pod, without those of containers that only a worker's pod has."""
    containers = [item for item in overrides.get("containers", []) if item["name"] == BEAT_CONTAINER]
    kept = {key: item for key, item in overrides.items() if key != "containers"}
    return {**kept, "containers": containers} if containers else kept


def _spec(pod: Pod, containers: list[dict[str, Any]], selector: dict[str, str]) -> dict[str, Any]:
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
        "initContainers": [hardened(item, pod) for item in pod.init_containers],
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
        "nodeSelector": pod.node_selector,
        "tolerations": list(pod.tolerations),
        "affinity": pod.affinity,
        "topologySpreadConstraints": [_spread(item, selector) for item in pod.topology_spread_constraints],
        "priorityClassName": pod.priority_class_name,
        "serviceAccountName": pod.service_account_name,
        "automountServiceAccountToken": pod.automount_service_account_token,
        "volumes": list(pod.volumes),
    }
    spec.update(without_empty(optional))
    return spec


def _spread(constraint: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    return constraint if "labelSelector" in constraint else {**constraint, "labelSelector": {"matchLabels": selector}}


def _template(spec: dict[str, Any], pod: Pod, context: PodContext) -> dict[str, Any]:
    secrets = own_secrets(pod, context.service.broker, context.deployment)
    config = ",".join(filter(None, (context.config_hash, context.routes.content_hash)))
    template = _finished(spec, pod, context, _roll_annotations(pod, secrets, context.observed, config))
    return {**template, "spec": _with_temporary_files(template["spec"], spec["containers"][0]["name"])}


def _with_temporary_files(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """The pod with a place to write to, where its container may write nowhere else.

    Celery's prefork pool does not start without one (measured), and the heartbeat is a file.
    """
    container = next(item for item in spec["containers"] if item["name"] == name)
    mounts = container.get("volumeMounts", [])
    taken = {mount["mountPath"].rstrip("/") for mount in mounts}
    if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True or TEMPORARY_MOUNT in taken:
        return spec
    mounts = [*mounts, {"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_MOUNT}]
    containers = [{**item, "volumeMounts": mounts} if item["name"] == name else item for item in spec["containers"]]
    volumes = [*spec.get("volumes", []), {"name": TEMPORARY_VOLUME, "emptyDir": {}}]
    return {**spec, "containers": containers, "volumes": volumes}


def _finished(
    spec: dict[str, Any], pod: Pod, context: PodContext | ServerContext, rolls: dict[str, str]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {**context.people, **pod.pod_labels, **context.selector}}
    annotations = {**rolls, **pod.pod_annotations}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": _with_ordered_env(merge("PodSpec", spec, pod.pod_overrides))}


def _with_ordered_env(spec: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes expands C($(NAME)) only from entries before it, so what is referred to goes first."""
    found = dict(spec)
    for key in ("initContainers", "containers"):
        if key in spec:
            found[key] = [{**item, "env": in_order(item["env"])} if item.get("env") else item for item in spec[key]]
    return found


def _roll_annotations(pod: Pod, secrets: Iterable[str], observed: Observed, config: str) -> dict[str, str]:
    """Pods roll when something they read at start has changed. A Secret is never hashed: a hash can be guessed at.

    :param secrets: names of the Secrets of ours that the pod reads.
    :param config: stands for the content of the ConfigMaps that it reads.
    """
    versions = {
        name: item.resource_version
        for name in secrets
        if (item := observed.find("Secret", name)) is not None and item.resource_version
    }
    found = {
        SECRETS_ANNOTATION: json.dumps(versions, sort_keys=True, separators=(",", ":")) if versions else "",
        CONFIG_ANNOTATION: config,
        REVISION_ANNOTATION: pod.secret_revision or "",
    }
    return {name: value for name, value in found.items() if value}
