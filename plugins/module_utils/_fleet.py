# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: from inventory variables to a Fleet. The only place that reads them.

Merge order of a variant: collection defaults, profile, what follows from known task times, preset, queue_defaults,
the service's own keys, config. Within each variable its numbered layers come last, ascending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.queueops.celery.plugins.module_utils._checks import Text
from ansible_collections.queueops.celery.plugins.module_utils._command import (
    check_extra_params,
    check_settings,
    effective_pool,
    slots_of,
    worker_args,
)
from ansible_collections.queueops.celery.plugins.module_utils._keys import key_names, read, refuse_unknown
from ansible_collections.queueops.celery.plugins.module_utils._kubernetes import DNS_LABEL, Kubernetes, is_address
from ansible_collections.queueops.celery.plugins.module_utils._layers import (
    EMPTY,
    LAYER_NAME,
    Branch,
    Layer,
    Leaf,
    Node,
    layers_of,
    nested,
    overlay,
    stack,
)
from ansible_collections.queueops.celery.plugins.module_utils._model import (
    DEFAULT_BEHAVIOR,
    DEFAULT_RESOURCES,
    DEFAULT_STRATEGY,
    Broker,
    Consumption,
    Fleet,
    Knowledge,
    Pod,
    Process,
    Scaling,
    Service,
    ServiceKeys,
    Tls,
    Variant,
)
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    deployment_name,
    fleet_broker_secret_name,
    service_broker_secret_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING
from ansible_collections.queueops.celery.plugins.module_utils._pods import PodContext, worker_pod
from ansible_collections.queueops.celery.plugins.module_utils._presets import PRESETS, PROFILES, Preset
from ansible_collections.queueops.celery.plugins.module_utils._problems import Problems, suggest
from ansible_collections.queueops.celery.plugins.module_utils._rules import check_fleet, check_variant
from ansible_collections.queueops.celery.plugins.module_utils._sizing import memory_per_child, sized
from ansible_collections.queueops.celery.plugins.module_utils._values import MISPLACED, URL_WITH_PASSWORD

VARIANT_CLASSES = (Consumption, Process, Pod, Scaling, Knowledge)
#: Keys that only one variant can have.
_ONE_VARIANT_KEYS = {"name", "queues"}
_SERVICE_ONLY_KEYS = {*key_names(ServiceKeys), "broker"}

PREFIX = "celery_workers_"
#: How many levels of a variable name services and variants, below which a null is no value but one without keys.
NULL_DEPTH = {"services": 1, "config": 2}
LAYERED = ("services", "config", "queue_defaults", "broker")

_NAME = Text("lower case letters and digits, with '-' or '_' between them", r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", 63)


@dataclass(frozen=True)
class Inventory:
    """The raw variables of one host, as the modules get them.

    :param variables: base variables and layers by name, with the C(celery_workers_) prefix.
    :param known_variables: names of all variables that a role may have; empty where nobody checks.
    :param variable_names: names of all C(celery_workers_*) variables that are defined.
    """

    namespace: str
    fleet: str = ""
    preset: str = ""
    layers: tuple[Layer, ...] = ()
    explicit_queues: Any = None
    known_variables: tuple[str, ...] = ()
    variable_names: tuple[str, ...] = ()


@dataclass
class _Reader:
    """Carries the trees and the collected problems through the reading of one inventory."""

    inventory: Inventory
    preset: Preset
    problems: Problems = field(default_factory=Problems)

    def tree(self, name: str) -> Branch:
        """One variable with its layers merged, variants and services that are null made empty."""
        node: Node = Branch({}, PREFIX + name)
        for layer in layers_of(PREFIX + name, self.inventory.layers):
            if layer.value is None:
                continue
            if not isinstance(layer.value, Mapping):
                self.problems.add(layer.name, "this is not a dict; write keys and values under it.")
                continue
            node = overlay(node, without_nulls(layer.value, NULL_DEPTH.get(name, 0)), layer.name)
        return node if isinstance(node, Branch) else EMPTY


def without_nulls(value: Any, depth: int) -> Any:
    """A service or variant that is null is one without keys of its own; C(high:) is the natural way to write it."""
    if depth == 0 or not isinstance(value, Mapping):
        return value
    return {key: without_nulls({} if item is None else item, depth - 1) for key, item in value.items()}


def parse_fleet(inventory: Inventory, may_be_empty: bool = False) -> Fleet:
    """Read an inventory.

    :param may_be_empty: whether an inventory without services is one; computed from, it would ask for nothing at all.
    :raises InventoryError: with every problem that was found.
    """
    preset = PRESETS.get(inventory.preset, Preset())
    reader = _Reader(inventory, preset)
    problems = reader.problems
    _check_variables(inventory, problems)
    if inventory.preset not in PRESETS:
        problems.add(
            f"{PREFIX}preset",
            f"there is no preset {inventory.preset!r}; {suggest(inventory.preset, filter(None, PRESETS))}",
        )
    namespace = DNS_LABEL(Leaf(inventory.namespace, f"{PREFIX}namespace"), problems)
    name = inventory.fleet or inventory.namespace
    DNS_LABEL(Leaf(name, f"{PREFIX}fleet"), problems)
    fleet_broker = _read_broker(
        stack(nested(preset.broker, f"preset {inventory.preset}"), reader.tree("broker")),
        bool(reader.tree("broker").children) or bool(preset.broker),
        fleet_broker_secret_name(name),
        problems,
    )
    services = _read_services(reader, fleet_broker)
    if not services and not may_be_empty:
        problems.add(
            f"{PREFIX}services",
            "there is no service, so nothing would run. Name one, or remove a fleet with celery_workers_state: absent.",
        )
    _refuse_misplaced_secrets(inventory, problems)
    fleet = Fleet(name, namespace if isinstance(namespace, str) else "", services)
    check_fleet(fleet, _routes(inventory, services, problems), problems)
    problems.raise_any()
    return replace(fleet, warnings=tuple(dict.fromkeys(problems.warnings)))


#: Variables that the design has and this release does not read.
_LATER_VARIABLES = {
    PREFIX + name + end
    for name in ("flower", "service_monitor", "prometheus_rule", "dashboard")
    for end in ("", "_enabled")
}


def _check_variables(inventory: Inventory, problems: Problems) -> None:
    """Every C(celery_workers_*) variable must be one that something reads."""
    known = set(inventory.known_variables)
    for name in sorted(inventory.variable_names):
        if not known or name in known or LAYER_NAME.match(name):
            continue
        base, is_layer, _rest = name.partition("__")
        if is_layer and base in {PREFIX + layered for layered in LAYERED}:
            problems.add(name, f"a layer's name is {base}__<two digits>_<name>, for example {base}__50_campus.")
        elif name in _LATER_VARIABLES:
            problems.add(name, "this is not part of this release; leave it out.")
        elif is_layer:
            problems.add(name, f"only {', '.join(PREFIX + layered for layered in LAYERED)} have layers.")
        else:
            problems.add(name, f"the role has no variable of this name; {suggest(name, known)}")


#: Environment has a rule of its own, which names the entry and knows what the user accepts.
_ENV_PATH = re.compile(r"\.env(\.|\[)")


def _refuse_misplaced_secrets(inventory: Inventory, problems: Problems) -> None:
    """A secret in a URL, in a command line or in an annotation is there for everybody who may read Deployments."""
    for layer in inventory.layers:
        for path, text in _texts(layer.value, layer.name):
            if not _ENV_PATH.search(path) and (MISPLACED in text or URL_WITH_PASSWORD.search(text)):
                problems.add(
                    path,
                    "a password does not belong here, where everybody who may read Deployments would read it. Secrets "
                    "go into secret_env, the broker's into celery_workers_broker.",
                )


def _texts(value: Any, path: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value


def _read_services(reader: _Reader, fleet_broker: Broker | None) -> tuple[Service, ...]:
    problems = reader.problems
    written, config = reader.tree("services"), reader.tree("config")
    queue_defaults = stack(nested(reader.preset.queue_defaults, "preset"), EMPTY)
    _refuse_single_keys(reader.tree("queue_defaults"), problems)
    refuse_unknown("queue_defaults", reader.tree("queue_defaults"), _shared_keys() | _ONE_VARIANT_KEYS, problems)
    names = list(dict.fromkeys([*reader.preset.services, *written.children]))
    for name, node in config.children.items():
        if name not in names:
            problems.add(node.path, f"there is no service {name!r}; {suggest(name, names)}")
    services = []
    for name in names:
        own = written.children.get(name)
        if isinstance(own, Leaf):
            problems.add(own.path, "a service is a dict of keys; see the key reference.")
            continue
        if isinstance(_NAME(Leaf(name, own.path if own else f"{PREFIX}services.{name}"), problems), str):
            services.append(_read_service(reader, name, own, config.children.get(name), queue_defaults, fleet_broker))
    return tuple(services)


def _read_service(
    reader: _Reader,
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
    broker = _service_broker(merged, fleet_broker, name, problems)
    below = stack(preset_defaults, _only_variant_keys(preset_service))
    above = stack(_only_variant_keys(reader.tree("queue_defaults")), _only_variant_keys(own or EMPTY))
    service = Service(
        name=name,
        app=keys.app or name.replace("-", "_"),
        variants=(),
        broker=broker,
        beat=keys.beat if keys.beat and keys.beat.enabled else None,
        pod=_with_preset_env(read(Pod, _complete(stack(below, above), {}), problems), reader.preset.env.get(name, {})),
        known_queues=keys.known_queues,
        path=path,
    )
    variants = []
    for variant, preset_node, node in _variants_of(reader, name, config, problems):
        tree = stack(below, preset_node, above, node)
        if isinstance(_NAME(Leaf(variant, node.path), problems), str):
            found = _read_variant(reader, service, variant, tree, node.path, keys.queue_name)
            if found.consumption.enabled:
                variants.append(found)
    if not variants and service.beat is None and not (isinstance(config, Branch) and config.children):
        problems.add(
            path, f"the service has no variant, so nothing would run; write {PREFIX}config.{name}.default: {{}}."
        )
    return replace(service, variants=tuple(variants))


def _variants_of(
    reader: _Reader, service: str, config: Node | None, problems: Problems
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
        if isinstance(node, Leaf):
            problems.add(node.path, "a variant is a dict of keys; write {} for one without any.")
        else:
            yield name, lower if isinstance(lower, Branch) else None, node


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


def _complete(tree: Branch, defaults: dict[str, Any]) -> Branch:
    """Lay a tree over the defaults. A null on top resets to the default, so it must not hide it."""
    kept = {key: child for key, child in tree.children.items() if not (isinstance(child, Leaf) and child.value is None)}
    strategy = kept.get("strategy")
    below = {"resources": DEFAULT_RESOURCES, "behavior": DEFAULT_BEHAVIOR, "strategy": DEFAULT_STRATEGY, **defaults}
    kind = strategy.get("type") if isinstance(strategy, Branch) else None
    if isinstance(kind, Leaf) and kind.value != DEFAULT_STRATEGY["type"]:
        # Recreate takes no rollingUpdate, and ours is for the default type.
        below["strategy"] = {}
    return stack(nested(below, "collection defaults"), Branch(kept, tree.path))


def _read_variant(
    reader: _Reader, service: Service, name: str, tree: Branch, path: str, queue_template: str
) -> Variant:
    problems = reader.problems
    refuse_unknown("a variant", tree, key_names(*VARIANT_CLASSES), problems)
    silent = Problems()
    profile = PROFILES.get(read(Knowledge, tree, silent).profile or "", {})
    defaults: dict[str, Any] = {"max_replicas": 10 if name == "default" else 30, **profile}
    knowledge = read(Knowledge, tree, problems)
    process = read(Process, _complete(tree, defaults), problems)
    estimate = _args(service, name, (), Consumption(), process, None)
    complete = _complete(tree, {**defaults, **sized(knowledge, slots_of(estimate))})
    consumption = read(Consumption, complete, problems)
    queues = consumption.queues or (queue_template.replace("{service}", service.name).replace("{variant}", name),)
    pod = _with_preset_env(read(Pod, complete, problems), reader.preset.env.get(service.name, {}))
    scaling = _resolved_scaling(read(Scaling, complete, problems), path, problems)
    check_extra_params(process, scaling.scaler == "keda", _path_of(complete, "extra_params", path), problems)
    check_settings(process, _path_of(complete, "settings", path), problems)
    process = _with_time_limit(process, knowledge)
    memory = memory_per_child(process, pod.resources, slots_of(estimate))
    args = _args(service, name, queues, consumption, process, memory)
    variant = Variant(
        service=service.name,
        name=name,
        deployment=consumption.name or deployment_name(service.name, name),
        queues=queues,
        consumption=consumption,
        process=process,
        pod=_with_probe(pod, process, service.broker),
        scaling=scaling,
        knowledge=knowledge,
        args=args,
        slots=slots_of(args),
        path=path,
        written_keys=frozenset(name for name in tree.children if tree.get(name) is not None),
        written=frozenset(child.path for child in tree.children.values()),
    )
    if consumption.enabled:
        _check_overrides(variant, service, _path_of(complete, "pod_overrides", path), problems)
        check_variant(variant, service, lambda key: _path_of(complete, key, path), problems)
    return variant


def _check_overrides(variant: Variant, service: Service, path: str, problems: Problems) -> None:
    """What pod_overrides leave out, the rest of the pod must have: the finished pod is checked as a whole."""
    if not variant.pod.pod_overrides or not variant.pod.image:
        return
    context = PodContext(service, variant.deployment, {}, {}, NOTHING)
    spec = worker_pod(variant, context)["spec"]
    Kubernetes("PodSpec")(nested(spec, path), problems)
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        if not container.get("image"):
            problems.add(path, f"the container {container['name']!r} has no image; the worker's is named worker.")


def _path_of(tree: Branch, key: str, path: str) -> str:
    """Where a key was written; where it would be written if nobody wrote it."""
    node = tree.children.get(key)
    return node.path if node is not None and node.path.startswith(PREFIX) else f"{path}.{key}"


def _args(
    service: Service, name: str, queues: tuple[str, ...], consumption: Consumption, process: Process, memory: int | None
) -> tuple[str, ...]:
    options = service.broker.transport_options if service.broker else {}
    return worker_args(service.app, f"{service.name}.{name}", queues, consumption, process, memory, options)


def _with_time_limit(process: Process, knowledge: Knowledge) -> Process:
    """The longest task is also the longest that may run, unless a limit is given by hand."""
    if process.time_limit or not knowledge.longest_task_seconds:
        return process
    return replace(process, time_limit=int(knowledge.longest_task_seconds + 0.999))


def _with_preset_env(pod: Pod, preset_env: dict[str, str]) -> Pod:
    """A list of env replaces lower layers as a whole, but an image does not start without what its preset knows."""
    named = {entry.get("name") for entry in pod.env} | set(pod.secret_env)
    missing = [{"name": name, "value": value} for name, value in preset_env.items() if name not in named]
    return replace(pod, env=(*missing, *pod.env))


def _with_probe(pod: Pod, process: Process, broker: Broker | None) -> Pod:
    """Settle on a probe. A ping needs a broker it reaches as the worker does, and a worker that listens while busy."""
    if pod.probe.type is not None:
        return pod
    reachable = (
        broker is not None
        and bool(broker.host or broker.secret)
        and not broker.transport_options.get("global_keyprefix")
    )
    kind = "ping" if reachable and effective_pool(process) != "solo" else "none"
    return replace(pod, probe=replace(pod.probe, type=kind))


def _resolved_scaling(scaling: Scaling, path: str, problems: Problems) -> Scaling:
    if scaling.enable_keda and scaling.scaler == "none":
        problems.add(f"{path}.scaler", "scaler is none and enable_keda is true; write one of them.")
    return replace(scaling, scaler=scaling.scaler or ("keda" if scaling.enable_keda else "none"))


def _service_broker(merged: Branch, fleet_broker: Broker | None, name: str, problems: Problems) -> Broker | None:
    own = merged.get("broker")
    if own is None:
        return fleet_broker
    if isinstance(own, Leaf):
        problems.add(own.path, "a broker is a dict of keys such as type, host and port.")
        return fleet_broker
    return _read_broker(own, True, service_broker_secret_name(name), problems)


def _read_broker(tree: Branch, described: bool, own_secret: str, problems: Problems) -> Broker | None:
    if not described:
        return None
    refuse_unknown("a broker", tree, key_names(Broker), problems)
    broker = read(Broker, tree, problems, own_secret=own_secret)
    path, before = tree.path, len(problems.found)
    if broker.url is not None:
        broker = _from_url(broker, tree, problems)
    defaults = {"redis": 6379, "rabbitmq": 5671 if broker.tls else 5672}
    broker = replace(broker, port=broker.port or defaults[broker.type], username=broker.username or None)
    if not broker.host and not broker.secret and len(problems.found) == before:
        problems.add(f"{path}.host", "name the broker's host (or give url, or secret).")
    if ":" in broker.host and not is_address(broker.host):
        problems.add(f"{path}.host", f"{broker.host!r} is not a host name; write the port under port.")
    if broker.password and broker.secret:
        problems.add(f"{path}.secret", "secret names an existing Secret and password makes one; write one of them.")
    if broker.username and not broker.password and broker.secret is None:
        problems.add(f"{path}.username", "a user name needs a password beside it, or secret.")
    if broker.secret is not None and not broker.secret.name:
        problems.add(f"{path}.secret.name", "name the existing Secret.")
    return broker


_SCHEMES = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "amqp": ("rabbitmq", False),
    "amqps": ("rabbitmq", True),
}


def _from_url(broker: Broker, tree: Branch, problems: Problems) -> Broker:
    """Take a URL apart. The role has taken a password out of it before; one that is still there is refused unseen."""
    path = tree.children["url"].path
    try:
        url = urlsplit(broker.url or "")
        port = url.port
    except ValueError:
        problems.add(path, "this is not a URL; write for example redis://redis:6379/0.")
        return broker
    if url.password:
        problems.add(
            path,
            "a password must not reach a module; let the role take it out, or name an existing Secret with secret.",
        )
        return broker
    if url.scheme not in _SCHEMES:
        problems.add(path, f"{url.scheme}:// is not supported; {suggest(url.scheme, _SCHEMES)}")
        return broker
    twice = sorted({"type", "host", "port", "database", "virtual_host", "username"} & _written(tree))
    if twice:
        problems.add(path, f"url stands beside {', '.join(twice)}; write the URL or its parts.")
    kind, encrypted = _SCHEMES[url.scheme]
    parts = replace(
        broker,
        type=kind,
        host=url.hostname or "",
        port=port,
        username=unquote(url.username) if url.username else None,
        tls=broker.tls or (Tls() if encrypted else None),
    )
    tail = unquote(url.path.removeprefix("/"))
    if url.query:
        problems.add(path, "options after '?' are not taken over; write them under transport_options.")
    if kind == "redis" and tail and not (re.fullmatch(r"[0-9]{1,5}", tail) and int(tail) < 65536):
        problems.add(path, f"a Redis URL ends in the database's number, not in {tail!r}.")
        return parts
    return replace(parts, virtual_host=tail or "/") if kind == "rabbitmq" else replace(parts, database=int(tail or 0))


def _written(tree: Branch) -> set[str]:
    """Keys that the inventory wrote, not the preset."""
    return {key for key, child in tree.children.items() if child.path.startswith(PREFIX) and tree.get(key) is not None}


def _routes(inventory: Inventory, services: tuple[Service, ...], problems: Problems) -> dict[str, str]:
    """Queues that explicit routes lead to, each with the path of its first route."""
    path = f"{PREFIX}explicit_queues"
    found: dict[str, str] = {}
    if inventory.explicit_queues is None:
        return found
    if not isinstance(inventory.explicit_queues, Mapping):
        problems.add(path, "write service, task and queue: {lms: {some.task: {queue: edx.lms.core.high}}}.")
        return found
    names = [service.name for service in services]
    for service, tasks in inventory.explicit_queues.items():
        if service not in names:
            problems.add(f"{path}.{service}", f"there is no service {service!r}; {suggest(str(service), names)}")
        if not isinstance(tasks, Mapping):
            problems.add(f"{path}.{service}", "write task names and their queue: {some.task: {queue: high}}.")
            continue
        for task, route in tasks.items():
            queue = route.get("queue") if isinstance(route, Mapping) and set(route) == {"queue"} else route
            if isinstance(queue, str) and queue:
                found.setdefault(queue, f"{path}.{service}.{task}")
            else:
                problems.add(f"{path}.{service}.{task}", "write {queue: <name>}.")
    return found
