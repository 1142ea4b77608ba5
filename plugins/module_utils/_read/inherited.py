# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of a service take over from a Deployment of another owner (C(inherit_from))."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._celery.brokers import (
    AWS_REGION_VARIABLES,
    deciding_variables,
    is_same_place,
    is_second_broker,
    visible_value,
)
from .._model.broker import Broker
from .._model.fleet import Variant
from .._model.names import (
    OWN_VOLUMES,
)
from .._model.sources import Source
from .._model.variant_keys import Pod
from .._schema.layers import (
    EMPTY,
    PREFIX,
    Branch,
    Node,
    nested,
    stack,
)
from .._schema.problems import Problems
from .reader import Reader


def inherits_of(
    reader: Reader, service: str, written: str | None, shared: Branch, config: Node | None
) -> tuple[str, ...]:
    """Deployments that a service's workers may be made like, the first that exists counts.

    What the preset knows holds only where a variant would be without an image.
    """
    if written:
        return (written,)
    nodes = config.children if isinstance(config, Branch) else {}
    preset = reader.preset.config.get(service, {})
    with_image = {name for name, node in nodes.items() if isinstance(node, Branch) and node.get("image") is not None}
    if shared.get("image") is not None or ({*preset, *nodes} and {*preset, *nodes} <= with_image):
        return ()
    return reader.preset.inherits.get(service, ())


def source_for(reader: Reader, inherits: tuple[str, ...], path: str) -> Source | None:
    """The Deployment that workers are made like; None if there is none, or while nobody has looked."""
    observed = reader.inventory.observed
    if not inherits or observed is None:
        return None
    found = [source for name in inherits if (source := observed.source(name)) is not None]
    if not found:
        names = " or ".join(f"Deployment {name}" for name in inherits)
        reader.problems.add(
            path,
            f"there is no {names} to copy the workers' settings from. Start the site first (with Tutor: tutor "
            f"k8s start), name another Deployment of {reader.inventory.namespace}, or write image, env and volumes on "
            "the service. For manifest files, which are made without a cluster, name a rendered Tutor project as "
            f"{PREFIX}tutor_root.",
        )
    return found[0] if found else None


#: Lists of a Deployment that the inventory adds to, each with what makes two entries the same.
_INHERITED_LISTS = {"env": "name", "volumes": "name", "volume_mounts": "mountPath", "env_from": None}


def inherited_keys(source: Source | None) -> Branch:
    """What is read from a Deployment, as a layer below the inventory's own."""
    if source is None:
        return EMPTY
    keys = {name: value for name, value in source.keys.items() if name not in _INHERITED_LISTS}
    # Its own security contexts count, to the letter: hardening them could keep its image from starting.
    return stack(nested({"pod_security": "none", **keys}, f"Deployment {source.deployment}"))


def _with_source(pod: Pod, source: Source | None, broker: Broker | None) -> Pod:
    """A pod with the lists of the Deployment that it is made like; its own entries go over those of the same name."""
    if source is None:
        return pod
    lists: dict[str, Any] = {}
    for name, identity in _INHERITED_LISTS.items():
        own = list(getattr(pod, name))
        # What an earlier run of ours, or of its docs, has put into the Deployment is put there again.
        theirs = [item for item in source.keys.get(name, []) if item.get("name") not in OWN_VOLUMES]
        if name == "env" and broker is not None:
            # The inventory names the broker, and goes over the Deployment there as everywhere.
            theirs = [item for item in theirs if not is_second_broker(broker, item["name"], visible_value(item))]
        taken = {item.get(identity) for item in own} | (set(pod.secret_env) if name == "env" else set())
        kept = [item for item in theirs if (item not in own if identity is None else item[identity] not in taken)]
        lists[name] = (*kept, *own)
    return replace(pod, **lists)


def with_environment(reader: Reader, service: str, source: Source | None, broker: Broker | None, pod: Pod) -> Pod:
    """A pod with what its image cannot start without: from the Deployment it is made like, and from the preset."""
    return _with_preset_env(_with_source(pod, source, broker), reader.preset.env.get(service, {}))


def check_source(
    source: Source | None,
    broker: Broker | None,
    pods: list[Pod],
    variants: list[Variant],
    path: str,
    problems: Problems,
) -> None:
    """What a Deployment has that workers cannot take over."""
    if source is None:
        return
    pods = [*pods, *(variant.pod for variant in variants if not variant.adopted)]
    if broker is not None and broker.is_sound and pods:
        _check_source_broker(source, broker, f"{path}.inherit_from", problems)
    ours = deciding_variables(broker) if broker is not None and broker.inject_env else set()
    for name in source.secret_env:
        if name not in ours and any(
            name not in pod.secret_env and name not in {entry["name"] for entry in pod.env} for pod in pods
        ):
            problems.add(
                f"{path}.secret_env",
                f"Deployment {source.deployment} has {name} in plain sight, and it looks like a secret, so it is not "
                f"taken over. Write {name} here: its value, or {{secret, key}} of an existing Secret.",
            )
    if source.left_out and pods:
        problems.warn(
            path,
            f"Deployment {source.deployment} also has {', '.join(source.left_out)}, which workers are made without. "
            "Write init_containers or sidecars if they need them.",
        )


def _check_source_broker(source: Source, broker: Broker, path: str, problems: Problems) -> None:
    """Where a Deployment names a broker in plain sight, it is the one that the scaler reads."""
    for entry in source.keys.get("env", []):
        name, url = entry["name"], visible_value(entry)
        if name not in deciding_variables(broker) or url is None or is_same_place(broker, url):
            continue
        if name in AWS_REGION_VARIABLES and not is_second_broker(broker, name, url):
            continue
        if broker.inject_env:
            problems.warn(
                path,
                f"Deployment {source.deployment} has {name} of another broker. Workers and scaler take that of "
                f"{broker.path}; the processes that send tasks must use it too.",
            )
        else:
            problems.add(
                path,
                f"Deployment {source.deployment} has {name} of another broker than {broker.path}, which the scaler "
                "reads, and the workers would take it over. Write its broker there, or set inject_env: "
                "CELERY_BROKER_URL on the broker to give the workers the one of the inventory.",
            )


def _with_preset_env(pod: Pod, preset_env: dict[str, str]) -> Pod:
    """A list of env replaces lower layers as a whole, but an image does not start without what its preset knows."""
    named = {entry.get("name") for entry in pod.env} | set(pod.secret_env)
    missing = [{"name": name, "value": value} for name, value in preset_env.items() if name not in named]
    return replace(pod, env=(*missing, *pod.env))
