# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services: their own keys, and which variants they have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from .._model.broker import Broker
from .._model.fleet import Service, Variant
from .._model.names import (
    secret_env_name,
    service_broker_secret_name,
)
from .._model.service_keys import ServiceKeys
from .._model.sources import Source
from .._model.variant_keys import Pod
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.layers import (
    EMPTY,
    PREFIX,
    Branch,
    Leaf,
    Node,
    nested,
    stack,
    without_layer,
)
from .._schema.problems import Problems, nearest, suggest
from .._schema.scalars import Text
from .broker import read_broker, refused_broker
from .inherited import check_source, inherited_keys, inherits_of, source_for, with_environment
from .reader import VARIANT_CLASSES, Reader
from .variants import ADOPTED_KEYS, Written, completed, read_variant, written_paths

#: Keys that only one variant can have.
_ONE_VARIANT_KEYS = {"name", "queues", "adopt"}
_SERVICE_ONLY_KEYS = {*key_names(ServiceKeys), "broker"}
_NO_SERVICE = (
    "there is no service, so nothing would run. Name one, or remove a fleet with celery_workers_state: absent."
)
_NAME = Text("lower case letters and digits, with '-' or '_' between them", r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", 63)


def read_services(reader: Reader, fleet_broker: Broker | None, may_be_empty: bool = False) -> tuple[Service, ...]:
    """All services.

    :param may_be_empty: whether an inventory without any is one.
    """
    problems = reader.problems
    written, config = reader.tree("services"), reader.tree("config")
    queue_defaults = stack(nested(reader.preset.queue_defaults, "preset"), EMPTY)
    _refuse_single_keys(reader.tree("queue_defaults"), problems)
    refuse_unknown("queue_defaults", reader.tree("queue_defaults"), _shared_keys() | _ONE_VARIANT_KEYS, problems)
    names = list(dict.fromkeys([*reader.preset.services, *written.children]))
    sound = [name for name in names if _is_service(name, written.children.get(name), problems)]
    _refuse_unknown_services(config, names, sound, problems)
    services = [
        _read_service(reader, name, own, config.children.get(name), queue_defaults, fleet_broker)
        for name in sound
        if not isinstance(own := written.children.get(name), Leaf)
    ]
    # One that was refused, or whose name is mistyped, is not missing.
    if not names and config.children:
        meant = ", ".join(config.children)
        problems.add(f"{PREFIX}services", f"there is no service, and {PREFIX}config has {meant}. Write it here, too.")
    elif not names and not may_be_empty:
        problems.add(f"{PREFIX}services", _NO_SERVICE)
    return tuple(services)


def _is_service(name: str, own: Node | None, problems: Problems) -> bool:
    """Whether what is written under services can be read as a service."""
    if isinstance(own, Leaf):
        problems.add(own.path, "a service is a dict of keys; see the key reference.")
        return False
    return isinstance(_NAME(Leaf(name, own.path if own else f"{PREFIX}services.{name}"), problems), str)


def _refuse_unknown_services(config: Branch, names: list[str], sound: list[str], problems: Problems) -> None:
    """Note what stands under config and is no service, unless it may be one whose own name was refused."""
    refused = [name.lower() for name in names if name not in sound]
    for name, node in config.children.items() if names else ():
        if name not in names and not nearest(name, refused):
            problems.add(node.path, _no_service(name, node, names))
            near = nearest(name, names)
            # Without one that it is like, it may be any of them.
            problems.meant.update(f"{PREFIX}config.{service}" for service in ([near] if near else names))


def _read_service(
    reader: Reader,
    name: str,
    own: Branch | None,
    config: Node | None,
    preset_defaults: Branch,
    fleet_broker: Broker | None,
) -> Service:
    problems = reader.problems
    preset_service = stack(nested(reader.preset.services.get(name, {}), f"preset.{name}"))
    merged = stack(preset_service, own)
    path = own.path if own else f"{PREFIX}services.{name}"
    _refuse_service_keys(merged, problems)
    keys = read(ServiceKeys, merged, problems)
    broker = _service_broker(reader, merged, fleet_broker, name)
    above = stack(_only_variant_keys(reader.tree("queue_defaults")), _only_variant_keys(own or EMPTY))
    inherits = inherits_of(reader, name, keys.inherit_from, stack(preset_service, above), config)
    source = source_for(reader, inherits, f"{path}.inherit_from")
    below = stack(preset_defaults, _only_variant_keys(preset_service), inherited_keys(source))
    shared = completed(stack(below, above), {})
    service = Service(
        name=name,
        app=keys.app or name.replace("-", "_"),
        variants=(),
        broker=broker,
        beat=keys.beat if keys.beat and keys.beat.enabled else None,
        pod=with_environment(reader, name, source, broker, read(Pod, shared, problems)),
        known_queues=keys.known_queues,
        database=keys.database,
        path=path,
        inherits=inherits,
        known_tasks=keys.known_tasks,
        paths=written_paths(shared),
    )
    written = list(_written_variants(reader, service, (below, above), config, keys.queue_name, source))
    service = _with_variants(reader, service, written)
    check_source(source, broker, [service.pod] if service.beat else [], list(service.variants), path, problems)
    _refuse_nothing(service, config, problems)
    origins = {"": _secret_origins(stack(below, above))}
    return _with_shared_secrets(service, origins | {item.name: _secret_origins(item.tree) for item in written})


def _refuse_nothing(service: Service, config: Node | None, problems: Problems) -> None:
    runs = service.variants or service.left or service.beat is not None
    # A service whose variants were refused, or whose name is mistyped there, has some.
    place = f"{PREFIX}config.{service.name}"
    refused = any(without_layer(item.path) == place for item in problems.found) or place in problems.meant
    if not runs and not refused and not (isinstance(config, Branch) and config.children):
        example = f"{PREFIX}config.{service.name}.default: {{}}"
        problems.add(service.path, f"the service has no variant, so nothing would run; write {example}.")


def _with_variants(reader: Reader, service: Service, written: Iterable[Written]) -> Service:
    """A service with the variants that are enabled: those that run here, and those that are left to their owner."""
    named = [item for item in written if isinstance(_NAME(Leaf(item.name, item.path), reader.problems), str)]
    found = [_read_variant(reader, item) for item in named]
    enabled = [item for item in found if item.consumption.enabled]
    return replace(
        service,
        variants=tuple(item for item in enabled if item.consumption.adopt is not False),
        left=tuple(item for item in enabled if item.consumption.adopt is False),
    )


def _read_variant(reader: Reader, written: Written) -> Variant:
    variant = read_variant(reader, written)
    if variant.adopted:
        _refuse_keys_of_owner(variant, written.own, reader.problems)
        _warn_of_requests(variant, reader.problems)
    return variant


def _secret_origins(tree: Branch) -> frozenset[tuple[str, str]]:
    """Name and place of every secret value that a Secret of ours keeps. Values that were written once are equal."""
    written = tree.get("secret_env")
    children = written.children.items() if isinstance(written, Branch) else ()
    return frozenset(
        (name, child.path) for name, child in children if isinstance(child, Leaf) and child.value is not None
    )


def _with_shared_secrets(service: Service, origins: Mapping[str, frozenset[tuple[str, str]]]) -> Service:
    """A service in which variants, and beat, with the same secret environment read one Secret.

    It has the name that it would have for the variant default, or else for the first by name, so that no other variant
    changes it.
    """
    groups: dict[frozenset[tuple[str, str]], list[Variant]] = {}
    for variant in service.variants:
        if not variant.adopted:
            groups.setdefault(origins[variant.name], []).append(variant)
    names = {
        key: secret_env_name(min(group, key=lambda item: (item.name != "default", item.deployment)).deployment)
        for key, group in groups.items()
        if key and (len(group) > 1 or (service.beat is not None and key == origins[""]))
    }

    def shared(pod: Pod, name: str) -> Pod:
        return replace(pod, shared_secret=names.get(origins[name], ""))

    variants = [item if item.adopted else replace(item, pod=shared(item.pod, item.name)) for item in service.variants]
    return replace(service, pod=shared(service.pod, ""), variants=tuple(variants))


def _refuse_keys_of_owner(variant: Variant, node: Branch, problems: Problems) -> None:
    for name in sorted(set(node.children) - ADOPTED_KEYS):
        written = node.get(name)
        # What is refused already has its problem.
        if written is not None and name in key_names(*VARIANT_CLASSES) and not problems.has(written.path):
            problems.add(
                node.children[name].path,
                f"{variant.title} is adopted, and {name} of Deployment {variant.deployment} is its owner's: set it "
                "there (with Tutor: a patch of k8s-override), or leave it out.",
            )


def _warn_of_requests(variant: Variant, problems: Problems) -> None:
    if variant.scaling.scaler == "hpa":
        problems.warn(
            f"{variant.path}.scaler",
            f"the HPA of {variant.title} measures against the requests of Deployment {variant.deployment}, which are "
            "its owner's: without them it scales nothing (with Tutor: a patch of k8s-override).",
        )


def _written_variants(
    reader: Reader,
    service: Service,
    places: tuple[Branch, Branch],
    config: Node | None,
    queue_name: str,
    source: Source | None,
) -> Iterator[Written]:
    """Each variant of the preset and of the inventory, with everything that is written of it.

    :param places: what lies below the preset's own keys of a variant, and what lies between these and the inventory's.
    """
    below, above = places
    for name, preset, node in _variants_of(reader, service.name, config, reader.problems):
        tree = stack(below, preset, above, node)
        yield Written(service, name, tree, node, queue_name, source)


def _variants_of(
    reader: Reader, service: str, config: Node | None, problems: Problems
) -> Iterable[tuple[str, Branch | None, Branch]]:
    """Variants of the preset and of the inventory, each with what both say of it."""
    preset = stack(nested(reader.preset.config.get(service, {}), f"preset.{service}"))
    if isinstance(config, Leaf):
        problems.add(config.path, "write variants as keys: {default: {}, high: {}}.")
        config = None
    written = config.children if isinstance(config, Branch) else {}
    for name in dict.fromkeys([*preset.children, *written]):
        node = written.get(name, Branch({}, f"{PREFIX}config.{service}.{name}"))
        lower = preset.children.get(name)
        misplaced = _key_beside_variants(name, node)
        if misplaced:
            problems.add(node.path, misplaced.format(service=service))
        elif isinstance(node, Leaf):
            problems.add(node.path, "a variant is a dict of keys; write {} for one without any.")
        else:
            yield name, lower if isinstance(lower, Branch) else None, node


def _key_beside_variants(name: str, node: Node) -> str:
    """What is wrong with a key that was written one level too high; empty for what may be a variant."""
    holds_keys = isinstance(node, Branch) and set(node.children) <= key_names(*VARIANT_CLASSES)
    # A null is a variant without keys, but nobody calls one max_replicas.
    if isinstance(node, Branch) and holds_keys and (node.children or "_" not in name):
        return ""
    if name in key_names(*VARIANT_CLASSES):
        return f"{name} is a key of a variant; indent it below one, for example default:."
    if name in _SERVICE_ONLY_KEYS:
        return f"{name} is a key of a service; write it under {PREFIX}services.{{service}}."
    return ""


def _no_service(name: str, node: Node, names: list[str]) -> str:
    """What is wrong with something under config that is no service."""
    example = names[0] if names else "<service>"
    if name in key_names(*VARIANT_CLASSES) and not _holds_variants(node):
        return (
            f"{name} is a key of a variant; indent it below a service and a variant, for example {example}: default:."
        )
    if isinstance(node, Branch) and node.children and not _holds_variants(node) and name not in names:
        known = key_names(*VARIANT_CLASSES)
        if set(node.children) & known and not difflib.get_close_matches(name, names, cutoff=0.8):
            return f"there is no service {name!r}; variants are indented below their service, for example {example}:."
    return f"there is no service {name!r}; {suggest(name, names)}"


def _holds_variants(node: Node) -> bool:
    """Whether everything below is a dict, as variants are."""
    return isinstance(node, Branch) and all(
        isinstance(child, Branch) or child.value is None for child in node.children.values()
    )


def _shared_keys() -> set[str]:
    return key_names(*VARIANT_CLASSES) - _ONE_VARIANT_KEYS


def _refuse_single_keys(node: Branch, problems: Problems) -> None:
    for name in sorted(_ONE_VARIANT_KEYS & set(node.children)):
        problems.add(node.children[name].path, f"{name} belongs to a variant; write it under {PREFIX}config.")


def _refuse_service_keys(merged: Branch, problems: Problems) -> None:
    _refuse_single_keys(merged, problems)
    refuse_unknown("a service", merged, _shared_keys() | _SERVICE_ONLY_KEYS | _ONE_VARIANT_KEYS, problems)


def _only_variant_keys(node: Branch) -> Branch:
    """Keys that variants take over. Unknown ones stay behind: they are refused where they were written."""
    known = _shared_keys()
    return Branch({key: child for key, child in node.children.items() if key in known}, node.path)


def _service_broker(reader: Reader, merged: Branch, fleet_broker: Broker | None, name: str) -> Broker | None:
    own = merged.get("broker")
    if own is None:
        return fleet_broker
    if isinstance(own, Leaf):
        reader.problems.add(own.path, "a broker is a dict of keys such as type, host and port; write url: … under it.")
        return refused_broker(own.path)
    secret = service_broker_secret_name(name)
    return read_broker(own, True, secret, reader.inventory.namespace, reader.problems)
