# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of workers and beat: environment, probes, security."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._celery.brokers import (
    broker_url,
)
from .._celery.launcher import (
    SENTINEL_PASSWORD,
    SENTINEL_USERNAME,
    STUCK_GRACE,
    broker_addresses,
    check_command,
    consuming_command,
    needs_launcher,
    sentinel_password,
    started_command,
)
from .._celery.start import (
    check_python,
    ping_words,
)
from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .._model.names import (
    secret_env_name,
)
from .._model.observed import Observed
from .._model.variant_keys import Pod
from .._schema.kubernetes import merge
from .._schema.versions import Version

#: Seconds that a ping has to start its Python, beside the time for its answer. That takes one second of the processor,
#: and many more where the container's tasks use up what its limit or its node gives. A worker that never answered in
#: time would be restarted in the middle of them.
_STARTING_PYTHON = 20
#: Environment of the ping probe where the broker is not in the worker's own environment.
PROBE_BROKER_ENV = "CELERY_PROBE_BROKER_URL"
#: A container that fails shows the end of its log where people look first: in C(kubectl describe pod).
LAST_WORDS = "FallbackToLogsOnError"
#: Environment variable that tells Celery what a SIGTERM means.
REMAP = "REMAP_SIGTERM"
_RESTRICTED_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_BASELINE_CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False}


@dataclass(frozen=True)
class RouteFiles:
    """The ConfigMap with the routes of a service, as its pods mount it.

    :param config_map: its name; empty for none.
    :param content_hash: stands for its content, because it is read at start only.
    :param settings_module: Django settings module in it that goes over the app's own; empty if it holds none.
    """

    config_map: str = ""
    content_hash: str = ""
    settings_module: str = ""


@dataclass(frozen=True)
class PodContext:
    """What a pod is made from beside its own keys.

    :param people: labels for people; the user's own go over them.
    :param config_hash: stands for the content of the files that a worker is started with; empty without.
    :param routes: files by which workers, who send tasks too, find their routes.
    :param selector: labels that select the pod; nothing goes over them.
    :param celery: Celery in the image; None where nobody says.
    """

    service: Service
    deployment: str
    people: dict[str, str]
    selector: dict[str, str]
    observed: Observed
    config_hash: str = ""
    routes: RouteFiles = RouteFiles()
    celery: Version | None = None
    #: ServiceAccount of workers that mark their own pods.
    account: str = ""


def container_of(name: str, args: list[str], pod: Pod, broker: Broker | None, context: PodContext) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": pod.image, "args": args}
    container["terminationMessagePolicy"] = LAST_WORDS
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
    container["resources"] = without_empty(pod.resources)
    security = container_security(pod)
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
    env = [{"name": name, **broker_url_source(broker)} for name in names]
    env += sentinel_env(broker)
    return [*env, *_aws_env(broker)] if broker.inject_env else env


def sentinel_env(broker: Broker) -> list[dict[str, Any]]:
    """Credentials of the sentinels, for the launcher that puts them into the settings."""
    place = sentinel_password(broker)
    if place is None:
        return []
    user = [{"name": SENTINEL_USERNAME, "value": broker.sentinel_username}] if broker.sentinel_username else []
    return [*user, {"name": SENTINEL_PASSWORD, **from_secret(*place)}]


def broker_url_source(broker: Broker) -> dict[str, Any]:
    """The broker's URL as the value of an environment entry."""
    if broker.secret is not None and broker.type != "sqs":
        return from_secret(broker.secret.name, broker.secret.url_key)
    if broker.password:
        return from_secret(broker.own_secret, "url")
    return {"value": broker_url(broker)}


def _aws_env(broker: Broker) -> list[dict[str, Any]]:
    """Region and keys as boto3 reads them. Without keys it takes those of the pod's service account."""
    if broker.type != "sqs":
        return []
    env: list[dict[str, Any]] = [{"name": "AWS_DEFAULT_REGION", "value": broker.region or ""}]
    for name, (secret, key) in aws_keys(broker).items():
        env.append({"name": name, **from_secret(secret, key)})
    return env


def aws_keys(broker: Broker) -> dict[str, tuple[str, str]]:
    """Environment variables of AWS credentials, each with its Secret and key."""
    if broker.secret is not None and broker.secret.access_key_id_key and broker.secret.secret_access_key_key:
        return {
            "AWS_ACCESS_KEY_ID": (broker.secret.name, broker.secret.access_key_id_key),
            "AWS_SECRET_ACCESS_KEY": (broker.secret.name, broker.secret.secret_access_key_key),
        }
    if broker.secret_access_key:
        return {
            "AWS_ACCESS_KEY_ID": (broker.own_secret, "access_key_id"),
            "AWS_SECRET_ACCESS_KEY": (broker.own_secret, "secret_access_key"),
        }
    return {}


def from_secret(name: str, key: str) -> dict[str, Any]:
    """A key of a Secret as the value of an environment entry."""
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _secret_env(pod: Pod, deployment: str) -> list[dict[str, Any]]:
    own = env_secret_name(pod, deployment)
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.get("secret", own), "key": ref.get("key", name)}}}
        for name, ref in pod.secret_env.items()
    ]


def probes_of(variant: Variant, broker: Broker | None) -> dict[str, Any]:
    probe = variant.pod.probe
    command = {
        "exec": list(probe.command),
        "heartbeat": check_command(check_python(variant.pod), probe.heartbeat_seconds, broker),
        "consuming": consuming_command(check_python(variant.pod), variant.pod.termination_grace_period),
        "ping": _ping_command(variant, broker, probe.timeout_seconds),
    }.get(probe.type or "none")
    if not command:
        return {}
    action = {"exec": {"command": command}}
    timing = {"timeoutSeconds": probe.timeout_seconds, "successThreshold": 1}
    tries = -(-probe.startup_seconds // 10)
    # Where our file starts the worker, it notes that it is ready. A ping starts Celery, every ten seconds: many pods
    # that start together on a full node would take the time from one another, and none would be ready in time.
    noted = probe.type == "ping" and needs_launcher(variant, broker)
    first = {"exec": {"command": started_command()}} if noted else action
    startup = {**first, **timing, "periodSeconds": 10, "failureThreshold": tries}
    if probe.type == "ping" and not noted:
        startup["timeoutSeconds"] += _STARTING_PYTHON
    found: dict[str, Any] = {"startupProbe": startup}
    # A heartbeat also stops while the broker is down, which the check can tell only if it knows where that is.
    safe = probe.type in ("exec", "consuming") or (probe.type == "heartbeat" and bool(broker_addresses(broker)))
    liveness = safe if probe.liveness is None else probe.liveness
    if liveness:
        found["livenessProbe"] = {
            **action,
            **timing,
            **probe.timing,
        }
        if probe.type == "consuming":
            # By now its tasks have had their time, and a worker that hangs acknowledges nothing that still runs.
            found["livenessProbe"]["terminationGracePeriodSeconds"] = STUCK_GRACE
    return found


def _ping_command(variant: Variant, broker: Broker | None, timeout: int) -> list[str]:
    return ping_of(f"{variant.service}.{variant.name}@$HOSTNAME", variant.pod, broker, timeout)


def ping_of(node: str, pod: Pod, broker: Broker | None, timeout: int) -> list[str]:
    """Ask this pod's Celery for a reply without importing the app (0.9 s instead of 3 CPU seconds with Django).

    A shell is needed for the pod's name alone; Django's settings are taken away, because Celery would import them.
    """
    ours = broker is not None and broker.inject_env != "CELERY_BROKER_URL"
    url = f' CELERY_BROKER_URL="${PROBE_BROKER_ENV}"' if ours else ""
    wait = max(1, timeout - 5)
    celery = shlex.join(ping_words(pod))
    script = f'exec env -u DJANGO_SETTINGS_MODULE{url} {celery} inspect ping --destination "{node}" --timeout {wait}'
    return ["sh", "-c", script]


def container_security(pod: Pod) -> dict[str, Any]:
    base = {"restricted": _RESTRICTED_CONTAINER, "baseline": _BASELINE_CONTAINER}.get(pod.pod_security, {})
    if pod.read_only_root_filesystem:
        base = {**base, "readOnlyRootFilesystem": True}
    merged: dict[str, Any] = merge("SecurityContext", base, pod.container_security_context)
    return merged


def hardened(container: dict[str, Any], pod: Pod) -> dict[str, Any]:
    """A container of the user's, admitted where the worker is, and with its last words where the worker has them."""
    base = {"restricted": _RESTRICTED_CONTAINER, "baseline": _BASELINE_CONTAINER}.get(pod.pod_security, {})
    security = merge("SecurityContext", base, container.get("securityContext", {}))
    kept = {name: value for name, value in container.items() if name != "securityContext"}
    found = {"terminationMessagePolicy": LAST_WORDS, **kept}
    return {**found, "securityContext": security} if security else found


def own_secrets(pod: Pod, broker: Broker | None, deployment: str) -> Iterable[str]:
    """Names of the Secrets of ours that a pod reads."""
    env = _broker_env(broker, pod)
    if broker is not None and any(_secret_of(entry) == broker.own_secret for entry in env):
        yield broker.own_secret
    if any(not reference for reference in pod.secret_env.values()):
        yield env_secret_name(pod, deployment)


def env_secret_name(pod: Pod, deployment: str) -> str:
    """Name of the Secret of ours with the secret environment of a pod."""
    return pod.shared_secret or secret_env_name(deployment)


def own_broker_secret(broker: Broker) -> Iterable[str]:
    """Name of the Secret of ours that holds a broker's URL or the password of its sentinels, if it does."""
    entries = [{"name": "", **broker_url_source(broker)}, *sentinel_env(broker)]
    if broker.own_secret and any(_secret_of(entry) == broker.own_secret for entry in entries):
        yield broker.own_secret


def _secret_of(entry: dict[str, Any]) -> str:
    return str(entry.get("valueFrom", {}).get("secretKeyRef", {}).get("name", ""))


def without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in (None, {}, [], "", ())}
