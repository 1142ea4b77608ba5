# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod keys that the user writes: volumes, mounts, containers and environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._celery.brokers import (
    is_second_broker,
    visible_value,
)
from .._model.broker import Broker
from .._model.names import (
    OWN_VOLUMES,
    WORKER_CONTAINER,
)
from .._model.variant_keys import Pod
from .._schema.problems import Problems
from .._schema.secret_signs import looks_secret, plain_secret
from .risks import PathOf

#: Bytes of all annotations of an object together.
LONGEST_ANNOTATIONS = 262144


def check_pod(
    pod: Pod,
    path_of: PathOf,
    problems: Problems,
    accepted: bool,
    broker: Broker | None = None,
    unread: frozenset[str] = frozenset(),
) -> None:
    """Rules between the parts of a pod, as the API server checks them.

    :param broker: whose variables have a rule of their own.
    :param unread: keys that were refused.
    """
    _check_env(pod, path_of, problems, accepted, broker)
    if pod.pdb and pod.pdb.max_unavailable is not None and pod.pdb.min_available is not None:
        problems.add(path_of("pdb"), "a PodDisruptionBudget takes max_unavailable or min_available, not both.")
    _check_volumes(pod, path_of, problems, unread)
    for place, containers in (("init_containers", pod.init_containers), ("sidecars", pod.sidecars)):
        _check_containers(path_of(place), containers, problems)
    for name, notes in (("annotations", pod.annotations), ("pod_annotations", pod.pod_annotations)):
        size = sum(len(key.encode()) + len(value.encode()) for key, value in notes.items())
        # An apply writes all of them a second time, as what it applied last.
        if size > LONGEST_ANNOTATIONS // 2:
            problems.add(
                path_of(name),
                f"{size} bytes are too many; a server takes {LONGEST_ANNOTATIONS} with all copies of them.",
            )
    beside = [container["name"] for container in pod.sidecars]
    names = [*(container["name"] for container in pod.init_containers), *beside]
    for name in sorted({name for name in names if names.count(name) > 1 or name == WORKER_CONTAINER}):
        place = path_of("sidecars" if name in beside else "init_containers")
        problems.add(place, f"the container name {name!r} is taken; every container of a pod has its own.")


def _check_volumes(pod: Pod, path_of: PathOf, problems: Problems, unread: frozenset[str]) -> None:
    volumes = [volume["name"] for volume in pod.volumes]
    volumes += [volume["name"] for volume in pod.pod_overrides.get("volumes", [])]
    for reserved in sorted(set(OWN_VOLUMES) & set(volumes)):
        problems.add(path_of("volumes"), f"the volume name {reserved} is ours; choose another.")
    mounted = [(path_of("volume_mounts"), mount) for mount in pod.volume_mounts]
    for place, containers in (("init_containers", pod.init_containers), ("sidecars", pod.sidecars)):
        mounted += [(path_of(place), mount) for container in containers for mount in container.get("volumeMounts", [])]
    for path, mount in mounted if not unread & {"volumes", "pod_overrides"} else ():
        if mount["name"] not in {*volumes, *OWN_VOLUMES}:
            problems.add(
                path, f"{mount['mountPath']} mounts the volume {mount['name']!r}, which volumes does not have."
            )


def _check_containers(path: str, containers: Iterable[dict[str, Any]], problems: Problems) -> None:
    for container in containers:
        if not container.get("image"):
            problems.add(path, f"the container {container['name']!r} has no image.")


def _check_env(pod: Pod, path_of: PathOf, problems: Problems, accepted: bool, broker: Broker | None) -> None:
    for key, entries in environments_of(pod):
        for entry in entries:
            if broker is not None and is_second_broker(broker, entry["name"], visible_value(entry)):
                continue
            if looks_secret(entry["name"], entry.get("value")) and not accepted:
                problems.add(path_of(key), plain_secret(entry["name"], key))
    for name in sorted({entry["name"] for entry in pod.env} & set(pod.secret_env)):
        problems.add(path_of("env"), f"{name} is in env and in secret_env; write it once.")


def environments_of(pod: Pod) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Every list of environment entries that the user wrote, with the key it stands under."""
    yield "env", list(pod.env)
    places = (
        ("init_containers", pod.init_containers),
        ("sidecars", pod.sidecars),
        ("pod_overrides", pod.pod_overrides.get("containers", ())),
        ("pod_overrides", pod.pod_overrides.get("initContainers", ())),
    )
    for key, containers in places:
        for container in containers:
            yield key, container.get("env", [])
