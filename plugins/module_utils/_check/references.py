# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for references C($(NAME)), judged on the finished pod."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._build.containers import PodContext
from .._build.pods import ServerContext, beat_pod, server_pod, worker_pod
from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .._model.names import FLOWER, WORKER_CONTAINER, beat_name
from .._model.observed import NOTHING
from .._model.variant_keys import Pod
from .._schema.problems import Problems
from .._schema.references import (
    lost_reference,
    lost_references,
    secret_references,
)
from .._schema.secret_signs import references
from .risks import PathOf, is_accepted, with_rule

#: Keys that say which variables a container has.
_ENVIRONMENT = {"env", "secret_env", "env_from", "init_containers", "sidecars", "pod_overrides"}


def check_variant_references(variant: Variant, service: Service, unread: frozenset[str], problems: Problems) -> None:
    """References of a variant's pod, and those of its worker's arguments.

    :param unread: its keys that were refused.
    """
    path_of = variant.path_of
    if variant.adopted or unread & _ENVIRONMENT or not _refers((variant.pod, variant.process)):
        return
    context = PodContext(service, variant.deployment, {}, {}, NOTHING)
    spec = worker_pod(variant, context)["spec"]
    keys = {item["name"]: key for key in ("init_containers", "sidecars") for item in getattr(variant.pod, key)}
    _check_containers(spec, {WORKER_CONTAINER: "env", **keys}, path_of, problems)
    worker = next(item for item in spec["containers"] if item["name"] == WORKER_CONTAINER)
    accepted = "secret-argument" in variant.knowledge.accept_risks or "accept_risks" in unread
    for key, value in (("extra_params", variant.process.extra_params), ("settings", variant.process.settings)):
        _check_arguments(variant.title, _texts(value), worker, path_of(key), accepted, problems)


def check_beat_references(service: Service, unread: frozenset[str], problems: Problems) -> None:
    """The same for the scheduler of a service, which shares its environment."""
    if service.beat is None or unread & _ENVIRONMENT or not _refers((service.pod, service.beat)):
        return
    context = PodContext(service, beat_name(service.name), {}, {}, NOTHING)
    # The environment alone: other containers are those of the variants, and checked there.
    pod = replace(service.pod, init_containers=(), sidecars=(), pod_overrides={})
    spec = beat_pod(service.beat, replace(context, service=replace(service, pod=pod)))["spec"]
    _check_containers(spec, {"beat": "env"}, service.path_of, problems)
    accepted = "accept_risks" in unread or is_accepted("secret-argument", service.variants)
    path = f"{service.path}.beat.extra_params"
    words = service.beat.extra_params
    _check_arguments(f"beat of service {service.name}", words, spec["containers"][0], path, accepted, problems)


@dataclass(frozen=True)
class ServerWords:
    """What is judged of the pod of Flower or of the exporter beside its environment.

    :param words: further arguments.
    :param accepted: whether a secret may be among them.
    :param ours: how the variables begin that the role adds.
    """

    words: tuple[str, ...]
    accepted: bool
    ours: tuple[str, ...]


def check_server_references(part: str, pod: Pod, given: ServerWords, path_of: PathOf, problems: Problems) -> None:
    """The same for the pod of Flower or of the exporter."""
    spec = server_pod(pod, ServerContext(part, (), (), 1, "/", Broker(), {}, {}, NOTHING))["spec"]
    main = next(item for item in spec["containers"] if item["name"] == part)
    written = {entry["name"] for entry in pod.env}
    for name, wanted in lost_references(main):
        if not wanted.startswith(given.ours):
            problems.add(path_of("env" if name in written else "pod_overrides"), lost_reference(name, wanted, "env"))
    others = {**spec, "containers": [item for item in spec["containers"] if item is not main]}
    _check_containers(others, {}, path_of, problems)
    title = "Flower" if part == FLOWER else f"the {part}"
    for name, is_there in secret_references(given.words, main):
        known = is_there or name.startswith(given.ours)
        _say_argument(title, name, known, given.accepted, path_of("extra_params"), problems)


def _check_containers(spec: Mapping[str, Any], keys: Mapping[str, str], path_of: PathOf, problems: Problems) -> None:
    """References that lead nowhere: of environments, and of the words of containers that the user writes as a whole.

    :param keys: container to the key that it is written under; others are in pod_overrides.
    """
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        path = path_of(keys.get(container["name"], "pod_overrides"))
        for name, wanted in lost_references(container):
            problems.add(path, lost_reference(name, wanted))
        if keys.get(container["name"]) == "env":
            continue
        for name, is_there in secret_references([*container.get("command", ()), *container.get("args", ())], container):
            if not is_there:
                problems.add(
                    path,
                    f"$({name}) refers to a variable that the container {container['name']} does not have, so it would "
                    f"read the text $({name}). Add {name} to its env, or write $$({name}) if you mean the text.",
                )


def _check_arguments(
    who: str, words: Iterable[str], container: Mapping[str, Any], path: str, accepted: bool, problems: Problems
) -> None:
    for name, is_there in secret_references(words, container):
        _say_argument(who, name, is_there, accepted, path, problems)


def _say_argument(who: str, name: str, is_there: bool, accepted: bool, path: str, problems: Problems) -> None:
    if not is_there:
        problems.add(
            path,
            f"$({name}) refers to a variable that {who} does not have, so the program would read the text $({name}). "
            f"Add {name} to its environment, or write $$({name}) if you mean the text.",
        )
    elif not accepted:
        problems.add(
            path,
            with_rule(
                f"$({name}) puts a secret on the command line of {who}, where anyone who can list its processes "
                f"sees it. Let the app read {name} from its environment.",
                "secret-argument",
            ),
        )


def _refers(value: Any) -> bool:
    return any(references(text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """Every text of a dataclass, a dict or a list."""
    if isinstance(value, str):
        yield value
    elif value is None or isinstance(value, (int, float)):
        # Most keys hold such a value, and to ask those whether they are mappings takes longest.
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif hasattr(value, "__dataclass_fields__"):
        for item in vars(value).values():
            yield from _texts(item)
