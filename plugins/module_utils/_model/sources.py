# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of a service take over from a Deployment that somebody else made (C(inherit_from)).

Tutor puts a hash into the names of its ConfigMaps, so only the Deployment that runs knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._schema.secret_signs import has_url_with_password, looks_secret

#: Our keys of a pod, each with the field of a pod spec that it is taken from.
_FROM_POD = {
    "volumes": "volumes",
    "security_context": "securityContext",
    "service_account_name": "serviceAccountName",
    "node_selector": "nodeSelector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "topology_spread_constraints": "topologySpreadConstraints",
    "priority_class_name": "priorityClassName",
}
#: The same for the worker's container.
_FROM_CONTAINER = {
    "image": "image",
    "image_pull_policy": "imagePullPolicy",
    "working_dir": "workingDir",
    "env": "env",
    "env_from": "envFrom",
    "volume_mounts": "volumeMounts",
    "container_security_context": "securityContext",
}


@dataclass(frozen=True)
class Source:
    """A Deployment that workers are made like.

    :param keys: our keys of a variant, with the values that the Deployment has.
    :param secret_env: names of plain environment values that look like secrets; the values are left out.
    :param left_out: init containers and sidecars, which are not taken over.
    """

    deployment: str
    keys: dict[str, Any] = field(default_factory=dict)
    secret_env: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def source_of(deployment: Mapping[str, Any]) -> Source:
    """What workers can take over from a Deployment.

    :param deployment: the Deployment as an API server returned it, or as it was rendered.
    """
    name = str(deployment["metadata"]["name"])
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    container = app_container(pod, name)
    keys: dict[str, Any] = {key: pod[field_name] for key, field_name in _FROM_POD.items() if pod.get(field_name)}
    keys |= {key: container[field_name] for key, field_name in _FROM_CONTAINER.items() if container.get(field_name)}
    if pod.get("imagePullSecrets"):
        keys["image_pull_secrets"] = [item["name"] for item in pod["imagePullSecrets"]]
    secrets = [item["name"] for item in container.get("env") or [] if looks_secret(item["name"], item.get("value"))]
    if secrets:
        keys["env"] = [item for item in keys["env"] if item["name"] not in secrets]
    others = [
        *(pod.get("initContainers") or []),
        *(item for item in pod.get("containers") or [] if item is not container),
    ]
    return Source(name, keys, tuple(secrets), tuple(str(item.get("name")) for item in others))


def app_container(pod: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The container of the app: the one that has its Deployment's name (Tutor), or the name worker, else the first.

    :param owner: name of the Deployment, or of a pod, which begins with it.
    """
    containers: list[dict[str, Any]] = pod.get("containers") or [{}]
    like_owner = [item for item in containers if f"{owner}-".startswith(f"{item.get('name')}-")]
    named = [*like_owner, *(item for item in containers if item.get("name") == "worker")]
    return named[0] if named else containers[0]


def holds_password(words: Iterable[str]) -> bool:
    """Whether a command line names a URL with a password in it."""
    return any(has_url_with_password(word) for word in words)


def source_from_data(data: Mapping[str, Any]) -> Source:
    """The counterpart of C(dataclasses.asdict), for modules that get it as an option."""
    return Source(
        deployment=str(data["deployment"]),
        keys=dict(data.get("keys") or {}),
        secret_env=tuple(data.get("secret_env") or ()),
        left_out=tuple(data.get("left_out") or ()),
    )
