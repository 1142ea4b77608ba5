# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From inventory variables to a Fleet. The only place that reads them.

Merge order of a variant: collection defaults, profile, what follows from known task times, preset, queue_defaults,
the service's own keys, config. Within each variable its numbered layers come last, ascending.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._build.pods import (
    WORKER_CONTAINER,
    PodContext,
    beat_overrides,
    beat_pod,
    worker_pod,
)
from .._build.routing import lost_routes
from .._build.scalers import check_scalers
from .._celery.adoption import command_line, narrowed
from .._celery.brokers import (
    answers_ping,
    deciding_variables,
    is_same_place,
    is_second_broker,
    transport_options,
    use_ssl,
    visible_value,
)
from .._celery.command import (
    check_extra_params,
    check_settings,
    effective_pool,
    has_remote_control,
    held_by,
    limits_of_pool,
    slots_of,
    worker_args,
)
from .._celery.in_flight import (
    blind_reason,
    unacked_keys,
    visibility_timeout,
    with_late_acknowledgement,
)
from .._celery.sizing import (
    Sizing,
    longest_run,
    memory_per_child,
    pre_stop_seconds,
    resources_in_force,
    sized,
    soft_shutdown,
)
from .._celery.start import celery_command
from .._check.pods import check_finished_pod
from .._check.references import (
    check_beat_references,
    check_variant_references,
)
from .._check.rules import (
    OWN_VOLUMES,
    check_fleet,
    check_second_brokers,
    check_variant,
    plain_secret,
)
from .._check.safety import check_safety, check_safety_of_fleet
from .._model.fleet import (
    DEFAULT_BEHAVIOR,
    DEFAULT_RESOURCES,
    DEFAULT_STRATEGY,
    Broker,
    Consumption,
    Fleet,
    Knowledge,
    Pod,
    Process,
    Route,
    Scaling,
    Service,
    ServiceKeys,
    UnackedKeys,
    Variant,
    Watch,
)
from .._model.names import (
    beat_name,
    deployment_name,
    fleet_broker_secret_name,
    secret_env_name,
    service_broker_secret_name,
)
from .._model.observed import NOTHING, Observed
from .._model.sources import Source
from .._model.watching import PARTS
from .._openedx.tasks import (
    RELEASES,
    recommended_routes,
    setting_for,
)
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.kubernetes import DNS_LABEL
from .._schema.layers import (
    EMPTY,
    LAYER_NAME,
    PREFIX,
    Branch,
    Layer,
    Leaf,
    Node,
    layers_of,
    nested,
    overlay,
    stack,
)
from .._schema.problems import Problems, suggest
from .._schema.scalars import MISPLACED, SECRET_FAULTS, Text
from .._schema.secret_signs import URL_WITH_PASSWORD
from .._schema.versions import Version, Versions, read_versions
from .broker import read_broker, refused_broker
from .presets import PRESETS, PROFILES, Preset
from .variable_names import PLAYBOOK_VARIABLES, meant_variable
from .watching import read_monitoring

VARIANT_CLASSES = (Consumption, Process, Pod, Scaling, Knowledge, Watch)
#: Keys that only one variant can have.
_ONE_VARIANT_KEYS = {"name", "queues", "adopt"}
_SERVICE_ONLY_KEYS = {*key_names(ServiceKeys), "broker"}

#: How many levels of a variable name services and variants, below which a null is no value but one without keys.
NULL_DEPTH = {"services": 1, "config": 2}
#: What may become of other autoscalers on our Deployments.
CONFLICT_POLICIES = ("fail", "transfer", "remove")
#: How producers get their routes.
DELIVERIES = ("none", "tutor_plugin", "settings_overlay", "task_routes")
LAYERED = ("services", "config", "queue_defaults", "broker", *PARTS)

_NAME = Text("lower case letters and digits, with '-' or '_' between them", r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", 63)


@dataclass(frozen=True)
class Inventory:
    """The raw variables of one host, as the modules get them.

    :param variables: base variables and layers by name, with the C(celery_workers_) prefix.
    :param openedx_routing: which routes of the preset hold beside those of the inventory; empty for none.
    :param openedx_release: name of the Open edX release, empty for the newest.
    :param observed: what runs, where services take over from it; None while nobody has looked yet.
    :param enabled: names of the parts beside the workers that are wanted.
    :param output: where the objects go; only a cluster keeps what is generated.
    :param versions: what is installed, name to version, as far as the user says so.
    :param known_variables: names of all variables that a role may have; empty where nobody checks.
    :param variable_names: names of the variables that are defined; those of other roles are left alone.
    """

    namespace: str
    fleet: str = ""
    preset: str = ""
    layers: tuple[Layer, ...] = ()
    explicit_queues: Any = None
    versions: Mapping[str, Any] = field(default_factory=dict)
    known_variables: tuple[str, ...] = ()
    variable_names: tuple[str, ...] = ()
    openedx_routing: str = ""
    openedx_release: str = ""
    routing_delivery: str = "none"
    autoscaler_conflict: str = "fail"
    take_over: bool = False
    enabled: tuple[str, ...] = ()
    output: str = "cluster"
    observed: Observed | None = None


@dataclass
class _Reader:
    """Carries the trees and the collected problems through the reading of one inventory."""

    inventory: Inventory
    preset: Preset
    problems: Problems = field(default_factory=Problems)
    versions: Versions = field(default_factory=Versions)

    @property
    def fleet(self) -> str:
        """The fleet's id."""
        return self.inventory.fleet or self.inventory.namespace

    def tree(self, name: str) -> Branch:
        """One variable with its layers merged, variants and services that are null made empty."""
        node: Node = Branch({}, PREFIX + name)
        for layer in layers_of(PREFIX + name, self.inventory.layers):
            if layer.value is None:
                continue
            if not isinstance(layer.value, Mapping):
                example = ", for example url: redis://redis:6379/0" if name == "broker" else ""
                self.problems.add(layer.name, f"this is not a dict; write keys and values under it{example}.")
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
    name = reader.fleet
    reader.versions = read_versions(inventory.versions, PREFIX, problems)
    DNS_LABEL(Leaf(name, f"{PREFIX}fleet"), problems)
    fleet_broker = _fleet_broker(reader)
    services = _read_services(reader, fleet_broker)
    if not services and not may_be_empty:
        problems.add(
            f"{PREFIX}services",
            "there is no service, so nothing would run. Name one, or remove a fleet with celery_workers_state: absent.",
        )
    services = _with_queues_left(services, inventory.observed or NOTHING, problems)
    routes = _routes(reader, services)
    fleet = Fleet(
        name,
        namespace if isinstance(namespace, str) else "",
        services,
        versions=reader.versions,
        routes=routes,
        routing_delivery=inventory.routing_delivery,
        autoscaler_conflict=inventory.autoscaler_conflict,
        take_over=inventory.take_over,
        monitoring=read_monitoring(
            {part: reader.tree(part) for part in PARTS},
            inventory.enabled,
            services,
            fleet_broker,
            inventory.output,
            problems,
        ),
    )
    # After every other reader, so that nothing is said twice.
    check_second_brokers(fleet, problems)
    _refuse_misplaced_secrets(inventory, problems)
    check_fleet(fleet, problems)
    for text in lost_routes(fleet, inventory.openedx_release) if inventory.preset == "openedx" else []:
        written, _colon, message = text.partition(": ")
        problems.add(written, message)
    check_safety_of_fleet(fleet, problems)
    check_scalers(fleet, problems)
    problems.raise_any()
    return replace(fleet, warnings=tuple(dict.fromkeys(problems.warnings)))


def _fleet_broker(reader: _Reader) -> Broker | None:
    """The broker of all services that have none of their own."""
    problems, preset = reader.problems, dict(reader.preset.broker)
    before = len(problems.found)
    written = reader.tree("broker")
    if len(problems.found) > before:
        return refused_broker(problems.found[-1].path)
    kind = written.get("type")
    if isinstance(kind, Leaf) and kind.value != preset.get("type"):
        # Of a broker of another type only this holds, that the app's settings name it.
        preset = {name: value for name, value in preset.items() if name == "inject_env"}
    tree = stack(nested(preset, f"preset {reader.inventory.preset}"), written)
    secret = fleet_broker_secret_name(reader.fleet)
    described = bool(written.children) or bool(reader.preset.broker)
    return read_broker(tree, described, secret, reader.inventory.namespace, problems)


def _check_variables(inventory: Inventory, problems: Problems) -> None:
    """Every C(celery_workers_*) variable must be one that something reads."""
    known = {*inventory.known_variables, *PLAYBOOK_VARIABLES} if inventory.known_variables else set()
    for name in sorted(inventory.variable_names):
        if not known or name in known or LAYER_NAME.match(name):
            continue
        meant = meant_variable(name, known)
        base = next((item for item in _LAYERED_NAMES if name.startswith(item)), "")
        if meant:
            problems.add(name, f"this name is not one of the role's, which all begin with {PREFIX}; write {meant}.")
        elif not name.startswith(PREFIX):
            continue
        elif base and (name.startswith(f"{base}__") or re.fullmatch(r"_*[0-9]+(_.*)?", name.removeprefix(base))):
            problems.add(
                name,
                f"a layer's name is {base}__<two digits>_<name>; did you mean {_layer_name(base, name)}? Layers are "
                "merged in the order of their digits.",
            )
        elif "__" in name:
            problems.add(name, f"only {', '.join(PREFIX + layered for layered in LAYERED)} have layers.")
        elif base and name.removeprefix(f"{base}_") in _KEYS_OF_VARIABLE[base.removeprefix(PREFIX)]:
            key = name.removeprefix(f"{base}_")
            problems.add(name, f"the role has no variable of this name; write {key} as a key under {base}.")
        else:
            problems.add(name, f"the role has no variable of this name; {suggest(name, known)}")


#: Names of variables with layers, the longest first, because one may begin with another.
_LAYERED_NAMES = sorted((PREFIX + name for name in LAYERED), key=len, reverse=True)
_KEYS_OF_VARIABLE: dict[str, set[str]] = defaultdict(
    set, broker=key_names(Broker), queue_defaults=key_names(*VARIANT_CLASSES)
)


def _layer_name(base: str, name: str) -> str:
    """The name of a layer that was perhaps meant."""
    rest = name.removeprefix(base).strip("_")
    word = rest.lstrip("0123456789")
    digits = rest.removesuffix(word)
    return f"{base}__{int(digits or 50) % 100:02}_{word.strip('_') or 'name'}"


_BROKER_URL_PATH = re.compile(r"^celery_workers_(broker(__\d\d_\w+)?|services(__\d\d_\w+)?\.[^.]+\.broker)\.url$")


def _refuse_misplaced_secrets(inventory: Inventory, problems: Problems) -> None:
    """A secret in a URL, in a command line or in an annotation is there for everybody who may read Deployments."""
    refused = {_without_layer(problem.path) for problem in problems.found}
    for layer in inventory.layers:
        names = NULL_DEPTH.get(_base_of(layer), 0)
        for path, text in _texts(layer.value, layer.name, names):
            # What is wrong with a broker's URL is said where it is read, if it is read at all.
            hidden = MISPLACED in text and not _BROKER_URL_PATH.search(path)
            if _without_layer(path) not in refused and (hidden or URL_WITH_PASSWORD.search(text)):
                problems.add(
                    path,
                    SECRET_FAULTS.get(
                        text,
                        "don't put a password here: anyone who can read Deployments would see it. Secrets go into "
                        "secret_env, the broker's into celery_workers_broker.",
                    ),
                )
        for path, name, text in _environment_texts(layer.value, layer.name, names):
            # What is accepted arrives as it was written, so a marker is always one that nobody accepts.
            named = any(problem.message.startswith(f"{name} ") for problem in problems.found)
            if MISPLACED in text and not named and _without_layer(path) not in refused:
                problems.add(path, plain_secret(name, "env"))


def _without_layer(path: str) -> str:
    """A path as it would be if the variable had no layers: the same key is one mistake in however many it stands."""
    return re.sub(r"^(celery_workers_[a-z_]*?)__\d\d_[A-Za-z0-9_]+", r"\1", path)


def _base_of(layer: Layer) -> str:
    return layer.name.partition("__")[0].removeprefix(PREFIX)


def _texts(value: Any, path: str, names: int) -> Iterable[tuple[str, str]]:
    """Every text but those of an environment, which has a rule of its own that knows what the user accepts.

    :param names: how many levels of keys are names that the user chose: a service may be called env.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if names > 0 or key != "env" or not isinstance(item, (Mapping, list, tuple)):
                yield from _texts(item, f"{path}.{key}", names - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]", 0)
    elif isinstance(value, str):
        yield path, value


def _environment_texts(value: Any, path: str, names: int) -> Iterable[tuple[str, str, str]]:
    """Path, name and text of every entry of an environment."""
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _environment_texts(item, f"{path}[{index}]", 0)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if names > 0 or key != "env":
            yield from _environment_texts(item, f"{path}.{key}", names - 1)
        elif isinstance(item, Mapping):
            yield from (
                (inner, str(name), text)
                for name, child in item.items()
                for inner, text in _texts(child, f"{path}.env.{name}", 0)
            )
        elif isinstance(item, (list, tuple)):
            for index, entry in enumerate(item):
                name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
                yield from ((inner, name, text) for inner, text in _texts(entry, f"{path}.env[{index}]", 0))


def _read_services(reader: _Reader, fleet_broker: Broker | None) -> tuple[Service, ...]:
    problems = reader.problems
    written, config = reader.tree("services"), reader.tree("config")
    queue_defaults = stack(nested(reader.preset.queue_defaults, "preset"), EMPTY)
    _refuse_single_keys(reader.tree("queue_defaults"), problems)
    refuse_unknown("queue_defaults", reader.tree("queue_defaults"), _shared_keys() | _ONE_VARIANT_KEYS, problems)
    names = list(dict.fromkeys([*reader.preset.services, *written.children]))
    for name, node in config.children.items():
        if name not in names:
            problems.add(node.path, _no_service(name, node, names))
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
    broker = _service_broker(reader, merged, fleet_broker, name)
    above = stack(_only_variant_keys(reader.tree("queue_defaults")), _only_variant_keys(own or EMPTY))
    inherits = _inherits(reader, name, keys.inherit_from, stack(preset_service, above), config)
    source = _source(reader, inherits, f"{path}.inherit_from")
    below = stack(preset_defaults, _only_variant_keys(preset_service), _inherited(source))
    service = Service(
        name=name,
        app=keys.app or name.replace("-", "_"),
        variants=(),
        broker=broker,
        beat=keys.beat if keys.beat and keys.beat.enabled else None,
        pod=_with_environment(reader, name, source, broker, read(Pod, _complete(stack(below, above), {}), problems)),
        known_queues=keys.known_queues,
        database=keys.database,
        path=path,
        inherits=inherits,
        known_tasks=keys.known_tasks,
    )
    variants: list[Variant] = []
    left: list[Variant] = []
    origins = {"": _secret_origins(stack(below, above))}
    for variant, preset_node, node in _variants_of(reader, name, config, problems):
        tree = stack(below, preset_node, above, node)
        origins[variant] = _secret_origins(tree)
        if isinstance(_NAME(Leaf(variant, node.path), problems), str):
            found = _read_variant(reader, service, variant, tree, node.path, keys.queue_name, source)
            if found.consumption.enabled:
                (left if found.consumption.adopt is False else variants).append(found)
            if found.adopted:
                _refuse_keys_of_owner(found, node, problems)
                _warn_of_requests(found, problems)
    _check_source(source, broker, [service.pod] if service.beat else [], variants, path, problems)
    shared = _complete(stack(below, above), {})
    _check_finished_beat(service, lambda key: _path_of(shared, key, path), problems)
    if not variants and not left and service.beat is None and not (isinstance(config, Branch) and config.children):
        problems.add(
            path, f"the service has no variant, so nothing would run; write {PREFIX}config.{name}.default: {{}}."
        )
    service = _with_shared_secrets(replace(service, variants=tuple(variants), left=tuple(left)), origins)
    check_beat_references(service, problems)
    return service


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


def _inherits(
    reader: _Reader, service: str, written: str | None, shared: Branch, config: Node | None
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


def _source(reader: _Reader, inherits: tuple[str, ...], path: str) -> Source | None:
    """The Deployment that workers are made like; None if there is none, or while nobody has looked."""
    observed = reader.inventory.observed
    if not inherits or observed is None:
        return None
    found = [source for name in inherits if (source := observed.source(name)) is not None]
    if not found:
        names = " or ".join(f"Deployment {name}" for name in inherits)
        reader.problems.add(
            path,
            f"there is no {names} of somebody else to make the workers like. Start the site first (with Tutor: tutor "
            f"k8s start), name another Deployment of {reader.inventory.namespace}, or write image, env and volumes on "
            "the service. For manifest files, which are made without a cluster, name a rendered Tutor project as "
            f"{PREFIX}tutor_root.",
        )
    return found[0] if found else None


#: Lists of a Deployment that the inventory adds to, each with what makes two entries the same.
_INHERITED_LISTS = {"env": "name", "volumes": "name", "volume_mounts": "mountPath", "env_from": None}


def _inherited(source: Source | None) -> Branch:
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


def _with_environment(reader: _Reader, service: str, source: Source | None, broker: Broker | None, pod: Pod) -> Pod:
    """A pod with what its image cannot start without: from the Deployment it is made like, and from the preset."""
    return _with_preset_env(_with_source(pod, source, broker), reader.preset.env.get(service, {}))


def _check_source(
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
        if broker.inject_env:
            problems.warn(
                path,
                f"Deployment {source.deployment} has {name} of another broker. Workers and scaler take that of "
                f"{broker.path}; whoever sends tasks must send them there too.",
            )
        else:
            problems.add(
                path,
                f"Deployment {source.deployment} has {name} of another broker than {broker.path}, which the scaler "
                "reads, and the workers would take it over. Write its broker there, or set inject_env: "
                "CELERY_BROKER_URL on the broker to give the workers the one of the inventory.",
            )


#: Keys of a variant that say something of an adopted Deployment. All others are its owner's.
_ADOPTED_KEYS = key_names(Consumption, Scaling, Knowledge, Watch) | {"termination_grace_period", "pdb"}


def _refuse_keys_of_owner(variant: Variant, node: Branch, problems: Problems) -> None:
    for name in sorted(set(node.children) - _ADOPTED_KEYS):
        if node.get(name) is not None and name in key_names(*VARIANT_CLASSES):
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


def _with_queues_left(services: tuple[Service, ...], observed: Observed, problems: Problems) -> tuple[Service, ...]:
    """Adopted variants with the queues that nobody else serves, and those that are left alone with all of theirs.

    Coverage decides: an adopted Deployment keeps every queue that has no other consumer.
    """
    for service in services:
        tracked = [item for item in service.variants if item.adopted and item.unacked is not None]
        for variant in tracked[1:]:
            problems.add(
                f"{variant.path}.in_flight",
                f"{tracked[0].title} and {variant.title} are both adopted, and the settings of a service name one key; "
                "leave in_flight out on one of them.",
            )
    running = [item for service in services for item in service.variants]

    def settled(service: Service, variant: Variant) -> Variant:
        live = observed.find("Deployment", variant.deployment)
        line = command_line(live) if live is not None else None
        named = line.queues if line is not None else ()
        if variant.consumption.adopt is False:
            return replace(variant, queues=named or service.known_queues or variant.queues)
        if not variant.adopted:
            return variant
        others = {queue for item in running if item is not variant for queue in item.queues}
        every = dict.fromkeys([*named, *service.known_queues, *variant.queues])
        queues = variant.consumption.queues or tuple(queue for queue in every if queue not in others)
        if not queues:
            problems.add(
                f"{variant.path}.queues",
                f"other variants serve every queue of Deployment {variant.deployment}, so nothing would be left for "
                f"it; write {{adopt: false}} and let its owner stop it, or name the queues it keeps.",
            )
        words = line.words if line is not None and line.words else ("celery", f"--app={service.app}", "worker")
        args = narrowed(words, queues)
        return replace(variant, queues=queues, args=args, slots=slots_of(args), held=held_by(args))

    return tuple(
        replace(
            service,
            variants=tuple(settled(service, variant) for variant in service.variants),
            left=tuple(settled(service, variant) for variant in service.left),
        )
        for service in services
    )


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


def _complete(tree: Branch, defaults: dict[str, Any]) -> Branch:
    """Lay a tree over the defaults. A null on top resets to the default, so it must not hide it."""
    kept = {key: child for key, child in tree.children.items() if not (isinstance(child, Leaf) and child.value is None)}
    strategy = kept.get("strategy")
    below = {"resources": DEFAULT_RESOURCES, "strategy": DEFAULT_STRATEGY, **defaults}
    # Both directions stay complete, whichever of them a profile or a task time has changed.
    below["behavior"] = {**DEFAULT_BEHAVIOR, **defaults.get("behavior", {})}
    kind = strategy.get("type") if isinstance(strategy, Branch) else None
    if isinstance(kind, Leaf) and kind.value != DEFAULT_STRATEGY["type"]:
        # Recreate takes no rollingUpdate, and ours is for the default type.
        below["strategy"] = {}
    return stack(nested(below, "collection defaults"), Branch(kept, tree.path))


def _read_variant(
    reader: _Reader,
    service: Service,
    name: str,
    tree: Branch,
    path: str,
    queue_template: str,
    source: Source | None,
) -> Variant:
    problems = reader.problems
    refuse_unknown("a variant", tree, key_names(*VARIANT_CLASSES), problems)
    knowledge = read(Knowledge, tree, problems)
    blind = _blind_reason(service.broker, tree, knowledge)
    defaults = _variant_defaults(name, knowledge, blind)
    process = read(Process, _complete(tree, defaults), problems)
    if process.task_events is None and {"flower", "exporter"} & set(reader.inventory.enabled):
        process = replace(process, task_events=True)
    estimate = _args(service, name, Pod(), (), Consumption(), process, None, {})
    ends_tasks = "time-limit" in limits_of_pool(effective_pool(process))
    hook = pre_stop_seconds(read(Pod, _complete(tree, {}), Problems()))
    usual = int(defaults.get("termination_grace_period", Pod().termination_grace_period))
    sizing = sized(knowledge, slots_of(estimate), not blind, ends_tasks, hook, usual)
    complete = _complete(tree, {**defaults, **sizing.keys})
    consumption = read(Consumption, complete, problems)
    queues = consumption.queues or (queue_template.replace("{service}", service.name).replace("{variant}", name),)
    adopted = consumption.adopt is True
    pod = _with_environment(reader, service.name, source, service.broker, read(Pod, complete, problems))
    pod = _adopted_pod(pod) if adopted else pod
    scaling = _resolved_scaling(read(Scaling, complete, problems), path, problems)
    check_extra_params(process, _path_of(complete, "extra_params", path), problems)
    check_settings(process, _path_of(complete, "settings", path), problems)
    process = replace(process, enforce_settings=process.enforce_settings and not adopted)
    left = pod.termination_grace_period - (0 if adopted else hook)
    process = _with_shutdown(process, knowledge, left, sizing, blind, reader.versions.celery)
    unacked = None
    if not blind and service.broker is not None:
        rounds = -(-held_by(estimate) // slots_of(estimate))
        longest = longest_run(knowledge, _args(service, name, Pod(), (), Consumption(), process, None, {}))
        eta, grace = knowledge.longest_eta_seconds or 0.0, pod.termination_grace_period
        visibility = visibility_timeout(process, longest, eta, grace, service.broker, rounds)
        process = replace(process, visibility_timeout=visibility if service.broker.type != "rabbitmq" else None)
        if service.broker.is_redis:
            unacked = unacked_keys(reader.fleet, service.name, name, service.broker)
    memory = memory_per_child(process, resources_in_force(pod), slots_of(estimate))
    settings = _broker_settings(reader.preset, service.broker, unacked, process.visibility_timeout)
    args = _args(service, name, pod, queues, consumption, process, memory, settings)
    written = frozenset(name for name in tree.children if tree.get(name) is not None)
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
        watch=read(Watch, complete, problems),
        args=args,
        slots=slots_of(args),
        held=held_by(args),
        path=path,
        written_keys=written,
        written=frozenset(child.path for child in tree.children.values()),
        sees_in_flight=not blind,
        blind_reason=blind,
        unacked=unacked,
        sizing=_explained(sizing, written, scaling, adopted),
        adopted=adopted,
    )
    if adopted and scaling.in_flight and reader.inventory.routing_delivery != "tutor_plugin":
        problems.add(
            _path_of(complete, "in_flight", path),
            f"{variant.title} is adopted, so its key must stand in settings that Tutor renders: write "
            f"{PREFIX}routing_delivery: tutor_plugin, or leave in_flight out, which keeps one pod.",
        )
    if consumption.enabled and consumption.adopt is not False:
        _check_overrides(variant, _path_of(complete, "pod_overrides", path), problems)
        check_variant(variant, service, lambda key: _path_of(complete, key, path), problems)
        check_safety(variant, service, reader.versions, lambda key: _path_of(complete, key, path), problems)
        check_variant_references(variant, service, lambda key: _path_of(complete, key, path), problems)
        if not adopted:
            _check_finished(variant, service, lambda key: _path_of(complete, key, path), problems)
    return variant


def _blind_reason(broker: Broker | None, tree: Branch, knowledge: Knowledge) -> str:
    """Why the scaler would not see what workers hold, from the keys as far as they are known so early."""
    silent = Problems()
    if read(Consumption, tree, silent).adopt and read(Scaling, tree, silent).in_flight is not True:
        return "adopted, so its owner may put his own command line back"
    scaling = _resolved_scaling(read(Scaling, tree, silent), "", silent)
    if read(Process, tree, silent).acks_late is False and scaling.in_flight is None:
        return "acks_late is false, so running work is invisible"
    return blind_reason(broker, scaling, knowledge)


def _variant_defaults(name: str, knowledge: Knowledge, blind: str) -> dict[str, Any]:
    profile = PROFILES.get(knowledge.profile or "", {})
    # Only who sees running work may take the last pod away.
    return {"max_replicas": 10 if name == "default" else 30, "min_replicas": 1 if blind else 0, **profile}


def _with_shutdown(
    process: Process, knowledge: Knowledge, grace: int, sizing: Sizing, blind: str, celery: Version | None
) -> Process:
    """What follows for the end of a task and of a pod, where it is not written by hand."""
    process = replace(process, time_limit=process.time_limit or sizing.keys.get("time_limit"))
    if not blind:
        process = with_late_acknowledgement(process, effective_pool(process), celery)
    timeout = soft_shutdown(process, knowledge, grace)
    if timeout and timeout != process.soft_shutdown_timeout:
        sizing.set("soft_shutdown_timeout", timeout, f"the grace period of {grace} s is below longest_task_seconds")
    return replace(process, soft_shutdown_timeout=timeout)


def _explained(sizing: Sizing, written: frozenset[str], scaling: Scaling, adopted: bool) -> tuple[str, ...]:
    """What was worked out and holds, because nobody wrote it by hand and somebody reads it."""
    unread = set() if scaling.scaler == "keda" else {"list_length", "cooldown_period"}
    unread |= {"behavior"} if scaling.scaler == "none" else set()
    unread |= {"cooldown_period"} if scaling.min_replicas and scaling.idle_replicas is None else set()
    unread |= set(sizing.keys) - _ADOPTED_KEYS if adopted else set()
    shown = {name: value for name, value in sizing.keys.items() if name not in written | unread}
    return tuple(
        f"{name}: {sizing.reasons[name]}" if isinstance(value, dict) else f"{name} {value}: {sizing.reasons[name]}"
        for name, value in shown.items()
    )


def _broker_settings(
    preset: Preset, broker: Broker | None, unacked: UnackedKeys | None, visibility: int | None
) -> dict[str, Any]:
    """Settings of a worker that follow from its broker.

    What the preset knows of the app's own options is repeated only where ours replace them.
    """
    options = transport_options(broker, unacked, visibility)
    if options:
        options = {**preset.transport_options, **options}
    return {"broker_use_ssl": use_ssl(broker), "broker_transport_options": options}


def _check_overrides(variant: Variant, path: str, problems: Problems) -> None:
    """What pod_overrides cannot change."""
    for name in sorted({"terminationGracePeriodSeconds"} & set(variant.pod.pod_overrides)):
        problems.add(
            f"{path}.{name}", "write termination_grace_period instead, which the other times are checked with."
        )
    for container in variant.pod.pod_overrides.get("containers", []):
        for name in sorted({"args", "command"} & set(container)) if container.get("name") == WORKER_CONTAINER else ():
            problems.add(
                path,
                f"{name} of the worker's container would replace what the scaler, the probe and the key of its "
                "messages "
                "count on; write extra_params, settings and the keys of the process instead.",
            )


def _check_finished(variant: Variant, service: Service, path_of: Callable[[str], str], problems: Problems) -> None:
    """The pod as a whole, unless one of its keys is wrong already."""
    if not variant.pod.image or _has_problem(path_of, problems):
        return
    context = PodContext(service, variant.deployment, {}, {}, NOTHING)
    spec = worker_pod(variant, context)["spec"]
    check_finished_pod(spec, WORKER_CONTAINER, variant.pod.pod_overrides, path_of, problems)


def _check_finished_beat(service: Service, path_of: Callable[[str], str], problems: Problems) -> None:
    """The same for the scheduler, which has the pod keys of its service and resources of its own."""
    if service.beat is None or not service.pod.image or _has_problem(path_of, problems):
        return
    context = PodContext(service, beat_name(service.name), {}, {}, NOTHING)
    spec = beat_pod(service.beat, context)["spec"]

    def written(key: str) -> str:
        return f"{service.path}.beat.resources" if key == "resources" else path_of(key)

    check_finished_pod(spec, "beat", beat_overrides(service.pod.pod_overrides), written, problems)


def _has_problem(path_of: Callable[[str], str], problems: Problems) -> bool:
    """Whether one of a pod's keys is wrong already."""
    paths = tuple(path_of(name) for name in key_names(Pod))
    return any(_is_below(problem.path, paths) for problem in problems.found)


def _is_below(path: str, paths: Iterable[str]) -> bool:
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in paths)


def _path_of(tree: Branch, key: str, path: str) -> str:
    """Where a key was written; where it would be written if nobody wrote it."""
    node = tree.children.get(key)
    return node.path if node is not None and node.path.startswith(PREFIX) else f"{path}.{key}"


def _args(
    service: Service,
    name: str,
    pod: Pod,
    queues: tuple[str, ...],
    consumption: Consumption,
    process: Process,
    memory: int | None,
    settings: dict[str, Any],
) -> tuple[str, ...]:
    return worker_args(
        celery_command(pod, service.app), f"{service.name}.{name}", queues, consumption, process, memory, settings
    )


def _adopted_pod(pod: Pod) -> Pod:
    """What is ours of an adopted Deployment's pods."""
    return Pod(termination_grace_period=pod.termination_grace_period, pdb=pod.pdb)


def _with_preset_env(pod: Pod, preset_env: dict[str, str]) -> Pod:
    """A list of env replaces lower layers as a whole, but an image does not start without what its preset knows."""
    named = {entry.get("name") for entry in pod.env} | set(pod.secret_env)
    missing = [{"name": name, "value": value} for name, value in preset_env.items() if name not in named]
    return replace(pod, env=(*missing, *pod.env))


def _with_probe(pod: Pod, process: Process, broker: Broker | None) -> Pod:
    """Settle on a probe. A ping needs a broker it reaches as the worker does, and a worker that listens while busy."""
    if pod.probe.type is not None:
        return pod
    listens = effective_pool(process) != "solo" and has_remote_control(process)
    kind = "ping" if broker is not None and answers_ping(broker) and listens else "none"
    return replace(pod, probe=replace(pod.probe, type=kind))


def _resolved_scaling(scaling: Scaling, path: str, problems: Problems) -> Scaling:
    if scaling.enable_keda and scaling.scaler in ("none", "hpa"):
        problems.add(f"{path}.scaler", f"scaler is {scaling.scaler} and enable_keda is true; write one of them.")
    return replace(scaling, scaler=scaling.scaler or ("keda" if scaling.enable_keda else "none"))


def _service_broker(reader: _Reader, merged: Branch, fleet_broker: Broker | None, name: str) -> Broker | None:
    own = merged.get("broker")
    if own is None:
        return fleet_broker
    if isinstance(own, Leaf):
        reader.problems.add(own.path, "a broker is a dict of keys such as type, host and port; write url: … under it.")
        return refused_broker(own.path)
    secret = service_broker_secret_name(name)
    return read_broker(own, True, secret, reader.inventory.namespace, reader.problems)


def _routes(reader: _Reader, services: tuple[Service, ...]) -> tuple[Route, ...]:
    """Where producers send tasks: routes of the inventory, and below them those of the preset."""
    own = _explicit_routes(reader, services)
    written = {(route.producer, route.task) for route in own}
    return (*own, *(route for route in _preset_routes(reader) if (route.producer, route.task) not in written))


def _preset_routes(reader: _Reader) -> tuple[Route, ...]:
    inventory, problems = reader.inventory, reader.problems
    if inventory.openedx_release and inventory.openedx_release not in RELEASES:
        near = suggest(inventory.openedx_release, RELEASES)
        problems.add(f"{PREFIX}openedx_release", f"there is no release {inventory.openedx_release!r}; {near}")
        return ()
    if not inventory.openedx_routing:
        return ()
    if inventory.preset != "openedx":
        problems.add(
            f"{PREFIX}openedx_routing",
            f"these are the tasks of Open edX; write {PREFIX}preset: openedx, or {PREFIX}explicit_queues for another "
            "app.",
        )
        return ()
    return recommended_routes(inventory.openedx_release)


def _explicit_routes(reader: _Reader, services: tuple[Service, ...]) -> tuple[Route, ...]:
    path, written, problems = f"{PREFIX}explicit_queues", reader.inventory.explicit_queues, reader.problems
    if written is None:
        return ()
    if not isinstance(written, Mapping):
        problems.add(path, "write service, task and queue: {lms: {some.task: {queue: edx.lms.core.high}}}.")
        return ()
    found = []
    names = [service.name for service in services]
    for service, tasks in written.items():
        if service not in names:
            problems.add(f"{path}.{service}", f"there is no service {service!r}; {suggest(str(service), names)}")
        if not isinstance(tasks, Mapping):
            problems.add(f"{path}.{service}", "write task names and their queue: {some.task: {queue: high}}.")
            continue
        for task, route in tasks.items():
            queue = route.get("queue") if isinstance(route, Mapping) and set(route) == {"queue"} else route
            if isinstance(queue, str) and queue:
                setting = _deciding_setting(reader.inventory, str(task), str(service))
                found.append(Route(str(service), str(task), queue, setting, path=f"{path}.{service}.{task}"))
            else:
                problems.add(f"{path}.{service}.{task}", "write {queue: <name>}.")
    return tuple(found)


def _deciding_setting(inventory: Inventory, task: str, producer: str) -> str:
    """The setting that decides on a task whose code names a queue itself."""
    known = inventory.preset == "openedx" and (not inventory.openedx_release or inventory.openedx_release in RELEASES)
    return setting_for(task, producer, inventory.openedx_release) if known else ""
