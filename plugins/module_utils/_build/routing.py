# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What producers must load so that their tasks go where the inventory says. Pure functions of Fleet.

The queue of a task is chosen by the process that sends it, so all of this is for web pods, Jobs and workers that send
tasks; a worker that only consumes needs none of it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._celery.brokers import transport_options
from .._model.broker import Broker
from .._model.fleet import Fleet, Route, Service, Variant
from .._model.names import ownership_labels
from .._openedx.tasks import (
    KNOWN_TASKS,
    SENT_BY_STUDIO,
    first_release,
    is_later,
    moved_along,
    sent_by,
)
from .._schema.problems import suggest
from .containers import RouteFiles
from .pods import ROUTES_MOUNT
from .resources import resource

#: Name of the Tutor plugin, and of its file.
TUTOR_PLUGIN = "queueops_celery"
#: Services whose settings Tutor has patches for.
TUTOR_SERVICES = ("lms", "cms")
OVERLAY_FILE = "celery_settings.py"
ROUTES_FILE = "celery_routes.py"
_TRANSPORT = "BROKER_TRANSPORT_OPTIONS"
_VISIBILITY = "visibility_timeout"
_PLATFORM = ("lms.", "cms.", "common.", "openedx.")


@dataclass(frozen=True)
class RoutingOptions:
    """What producers get beside their routes.

    :param redis_policy: maxmemory-policy of Tutor's Redis; empty leaves it.
    :param disable_hpa: whether tutor-contrib-pod-autoscaling lets go of workers that a scaler of ours has.
    :param transport_options: service to kombu transport options that its settings get.
    """

    redis_policy: str = ""
    disable_hpa: bool = False
    transport_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def routes_name(service: str) -> str:
    """ConfigMap with the routes of a service."""
    return f"{service}-worker-routes".replace("_", "-")


def tutor_plugin(fleet: Fleet, options: RoutingOptions | None = None) -> str:
    """A Tutor plugin in one file, for Tutor 18 to 22.

    Beside the routes it holds what adopted workers need in their settings, because we do not make their command line.
    """
    options = options or RoutingOptions()
    patches: list[tuple[str, str]] = []
    for service in TUTOR_SERVICES:
        keys = [f"{name}: {_quoted(queue)}" for name, queue in _setting_queues(fleet, service).items()]
        settings = _settings(fleet, service, options)
        if keys:
            patches.append((f"{service}-env", "\n".join(keys)))
        if settings:
            patches.append((f"openedx-{service}-production-settings", "\n".join(settings)))
    if options.redis_policy:
        patches.append(("redis-conf", f"maxmemory-policy {options.redis_policy}"))
    scaled = sorted({variant.deployment for variant in fleet.variants if variant.has_scaler})
    switch = options.disable_hpa and bool(scaled)
    if switch:
        patches.append(("k8s-override", _KEPT_RESOURCES))
    parts = [_TUTOR_HEAD, "from tutor import hooks\n"]
    if patches:
        parts.append(f"{_PATCHES_HEAD}{''.join(_patch(name, text) for name, text in patches)}    ]\n)\n")
    if switch:
        parts.append(_SWITCH.replace("NAMES", _python(scaled)))
    return "\n".join(parts)


def settings_overlay(fleet: Fleet, service: str, base_module: str, options: RoutingOptions | None = None) -> str:
    """A Django settings module over another one, for a site without Tutor."""
    entries = _entries(fleet, service)
    keys = _setting_queues(fleet, service)
    # The other module has read its settings already, so what follows a setting has to be told.
    for name, queue in keys.items():
        entries |= {task: queue for task in moved_along(name, side_named(fleet, service)) if task not in entries}
    lines = [f"{name} = {_quoted(queue)}" for name, queue in keys.items()]
    lines += _settings(fleet, service, options or RoutingOptions(), entries)
    return f"{_OVERLAY_HEAD}from {base_module} import *  # noqa: F403\n\n" + "".join(f"{line}\n" for line in lines)


def task_routes_module(fleet: Fleet, service: str) -> str:
    """A module with the C(task_routes) of any Celery app, in the order of the inventory: the first pattern counts."""
    entries = {route.task: route.queue for route in _delivered(fleet, service) if not route.setting}
    return f"{_ROUTES_HEAD}task_routes = {_table(entries)}\n"


def routing_resources(fleet: Fleet) -> list[dict[str, Any]]:
    """ConfigMaps with what producers load, one for each service that sends something elsewhere."""
    contents = {service.name: _files_of(fleet, service) for service in fleet.services}
    return [_config_map(fleet, name, files) for name, files in contents.items() if files]


def _files_of(fleet: Fleet, service: Service) -> dict[str, str]:
    """The files of a service's ConfigMap; none where nothing is delivered by one."""
    if not any(_delivered(fleet, service.name)):
        return {}
    if fleet.routing_delivery == "settings_overlay":
        return {OVERLAY_FILE: settings_overlay(fleet, service.name, base_module_of(service))}
    if fleet.routing_delivery == "task_routes":
        return {ROUTES_FILE: task_routes_module(fleet, service.name)}
    return {}


def route_files(fleet: Fleet, service: Service) -> RouteFiles:
    """The same ConfigMap as the pods of a service mount it, because workers send tasks too."""
    files = _files_of(fleet, service)
    if not files:
        return RouteFiles()
    content = hashlib.sha256("\0".join(files.values()).encode()).hexdigest()[:16]
    module = OVERLAY_FILE.removesuffix(".py") if OVERLAY_FILE in files else ""
    return RouteFiles(routes_name(service.name), content, module)


def base_module_of(service: Service) -> str:
    """The settings module that a service runs with, by its environment; else where edx-platform has it."""
    named = [entry.get("value") for entry in service.pod.env if entry.get("name") == "DJANGO_SETTINGS_MODULE"]
    overlay = OVERLAY_FILE.removesuffix(".py")
    # A web Deployment that workers are made like may load the overlay already, and it must not stand on itself.
    return str(named[-1]) if named and named[-1] not in (None, "", overlay) else f"{side_of(service)}.envs.production"


def routing_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row per route, for people."""
    return [
        {
            "task": route.task,
            "queue": route.queue,
            "producer": route.producer,
            "loaded_by": _loaded_by(route),
            "reason": route.reason,
        }
        for route in fleet.routes
    ]


def routing_warnings(fleet: Fleet, release: str = "", openedx: bool = True) -> list[str]:
    """What is probably not meant. Only routes that the inventory wrote are looked at.

    :param release: release of Open edX, empty for the newest.
    :param openedx: whether the services are those of Open edX, whose tasks and producers are known.
    """
    found = [*_unreached_by_tutor(fleet)]
    if not openedx:
        return found
    written = [route for route in fleet.routes if route.path]
    known = KNOWN_TASKS.union(*(service.known_tasks for service in fleet.services))
    for route in written:
        texts = [
            *_name_warnings(route, known, release),
            *_setting_warnings(fleet, route),
            *_producer_warnings(fleet, route),
        ]
        found += [f"{route.path}: {text}" for text in texts]
    return found


def _loaded_by(route: Route) -> str:
    if route.is_default:
        return "upstream default"
    return f"setting {route.setting}" if route.setting else "entry"


def _delivered(fleet: Fleet, service: str) -> list[Route]:
    return [route for route in fleet.routes if route.producer == service and not route.is_default]


def _entries(fleet: Fleet, service: str) -> dict[str, str]:
    """Task to queue, sorted: the order of an inventory must not restart a site."""
    return dict(sorted((route.task, route.queue) for route in _delivered(fleet, service) if not route.setting))


def _setting_queues(fleet: Fleet, service: str) -> dict[str, str]:
    return dict(sorted((route.setting, route.queue) for route in _delivered(fleet, service) if route.setting))


def _settings(
    fleet: Fleet, service: str, options: RoutingOptions, entries: Mapping[str, str] | None = None
) -> list[str]:
    """Lines that stand below a service's own production settings."""
    table = _entries(fleet, service) if entries is None else dict(sorted(entries.items()))
    lines = []
    if table:
        lines += ["# Where this service sends its tasks.", f"EXPLICIT_QUEUES.update({_table(table)})"]
    late, timeout = _late_acknowledgement(fleet, service)
    if late:
        lines += ["# A task whose worker is lost goes to another one.", *late]
    own = {**_adopted_keys(fleet, service), **options.transport_options.get(service, {})}
    if timeout or own:
        lines += [
            "# For workers that have none of it on their command line.",
            f"{_TRANSPORT} = dict(globals().get({_quoted(_TRANSPORT)}, {{}}))",
        ]
    if timeout:
        # Never below what the site has: a message that comes too early runs twice.
        longest = f"max({timeout}, {_TRANSPORT}.get({_quoted(_VISIBILITY)}, 0))"
        lines.append(f"{_TRANSPORT}[{_quoted(_VISIBILITY)}] = {longest}")
    if own:
        lines.append(f"{_TRANSPORT}.update({_python(own)})")
    return lines


def _late_acknowledgement(fleet: Fleet, name: str) -> tuple[list[str], int]:
    """Settings for workers whose command line is not ours, and the visibility timeout, 0 for none.

    Only where every task of the service may run twice.
    """
    services = [service for service in fleet.services if service.name == name]
    variants = [variant for service in services for variant in service.variants]
    if not variants or any(not item.knowledge.idempotent or item.process.acks_late is False for item in variants):
        return [], 0
    lines = ["CELERY_ACKS_LATE = True"]
    if all(variant.process.reject_on_worker_lost is not False for variant in variants):
        lines.append("CELERY_REJECT_ON_WORKER_LOST = True")
    return lines, _longest_timeout(fleet)


def _adopted_keys(fleet: Fleet, service: str) -> dict[str, Any]:
    """Where adopted workers keep what they hold. Only settings can say it, and the model sees to it that one asks."""
    tracked = [item for item in fleet.variants if item.adopted and item.unacked is not None and item.service == service]
    return transport_options(Broker(), tracked[0].unacked, None) if tracked else {}


def _longest_timeout(fleet: Fleet) -> int:
    """One number for all services: workers that share an index restore each other's messages."""
    timeouts = [variant.process.visibility_timeout for variant in fleet.variants]
    for service in fleet.services:
        if service.broker is not None and isinstance(service.broker.transport_options.get(_VISIBILITY), int):
            timeouts.append(service.broker.transport_options[_VISIBILITY])
    return max((timeout for timeout in timeouts if timeout is not None), default=0)


def _config_map(fleet: Fleet, service: str, files: dict[str, str]) -> dict[str, Any]:
    labels = ownership_labels(fleet.name, service)
    config_map = resource("ConfigMap", fleet, routes_name(service), labels, "worker", None, {})
    del config_map["spec"]
    return {**config_map, "data": files}


def side_of(service: Service) -> str:
    """The Django project of a service: both C(lms) and C(lms-reports) may run C(lms.celery)."""
    return service.app.partition(":")[0].partition(".")[0]


def side_named(fleet: Fleet, service: str) -> str:
    return next((side_of(item) for item in fleet.services if item.name == service), service)


def consumers_of(fleet: Fleet, queue: str) -> Iterable[tuple[Service, Variant]]:
    for service in fleet.services:
        for variant in (*service.variants, *service.left):
            if queue in variant.queues:
                yield service, variant


def _unreached_by_tutor(fleet: Fleet) -> list[str]:
    if fleet.routing_delivery != "tutor_plugin":
        return []
    return [
        f"{route.path}: a Tutor plugin reaches the settings of lms and cms only, so nothing delivers this route to "
        f"{route.producer}."
        for route in fleet.routes
        if route.producer not in TUTOR_SERVICES and not route.is_default
    ]


def _name_warnings(route: Route, known: frozenset[str], release: str) -> list[str]:
    task = route.task
    if any(character in task for character in "*?["):
        return [f"Open edX takes exact names only, so {task!r} matches no task. Name each task."]
    if task in known:
        late = first_release(task)
        missing = is_later(late, release)
        return [f"this task came with release {late}, so {release} never sends it."] if missing else []
    ours = task.startswith(_PLATFORM)
    # A site has tasks of its own; only what is nearly a known name is probably a slip.
    if not ours and not difflib.get_close_matches(task, known, n=1, cutoff=0.9):
        return []
    near = suggest(task, known)
    if not near.startswith("did you mean"):
        near = "if it is one of your own, name it in known_tasks of the service."
    return [f"no task {task!r} is known; {near}"]


def _setting_warnings(fleet: Fleet, route: Route) -> list[str]:
    if not route.setting:
        return []
    own = {item.task for item in _delivered(fleet, route.producer)}
    side = side_named(fleet, route.producer)
    moved = [task for task in moved_along(route.setting, side) if task not in own]
    also = f" The same setting moves {' and '.join(moved)} to {route.queue}; name them too if they must stay."
    return [
        f"the code of this task names the queue itself, so the route is delivered as the setting {route.setting} of "
        f"{route.producer}.{also if moved else ''}"
    ]


def _producer_warnings(fleet: Fleet, route: Route) -> list[str]:
    side, senders = side_named(fleet, route.producer), sent_by(route.task)
    if side in TUTOR_SERVICES and side not in senders:
        name = next(iter(senders))
        return [f"{route.producer} never sends this task, so the route changes nothing; write it under {name}."]
    if route.task in SENT_BY_STUDIO and side == "lms":
        others = {side_named(fleet, item.producer) for item in fleet.routes if item.task == route.task}
        if "cms" not in others and "cms" in {side_of(service) for service in fleet.services}:
            return [f"Studio sends this task, so write it under cms too: {{cms: {{{route.task}: ...}}}}."]
    return []


def _table(entries: Mapping[str, str]) -> str:
    """A Python dict of task to C({"queue": …}), one line each."""
    lines = [f"    {_quoted(task)}: {{{_quoted('queue')}: {_quoted(queue)}}},\n" for task, queue in entries.items()]
    return f"{{\n{''.join(lines)}}}" if lines else "{}"


def _python(value: Any) -> str:
    """A value as Python source, in one line."""
    if isinstance(value, Mapping):
        # A key stands between two braces, so that they never begin an expression of Jinja.
        return f"{{{', '.join(f'{_quoted(str(name))}: {_python(item)}' for name, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_python(item) for item in value)}]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(int(value))
    return json.dumps(float(value))


def _quoted(text: str) -> str:
    """A text that Python, YAML and Jinja all read the same: printable ASCII, with escapes that both languages share.

    No brace and no single quote is left in it: Tutor renders patches as templates, and they stand in a raw string.
    """
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F and character not in "\"'\\{}":
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _patch(name: str, text: str) -> str:
    return f"        (\n            \"{name}\",\n            r'''\n{text}\n''',\n        ),\n"


_TUTOR_HEAD = f'''\
"""Where Open edX sends its tasks: a Tutor plugin, generated by the Ansible collection queueops.celery.

Do not edit it: the next run writes it anew. Put it into the folder that `tutor plugins printroot` names, and then:

    tutor plugins enable {TUTOR_PLUGIN}
    tutor config save
    tutor k8s start

The queue is chosen where a task is sent, so every producer must restart with the new settings: lms, cms, their workers
and their beat. `tutor k8s start` replaces the pods of Tutor; run the collection again for the workers that it made.
"""
'''

_PATCHES_HEAD = """\
hooks.Filters.ENV_PATCHES.add_items(
    [
"""

#: The plugin for HPAs writes resources only where it makes an HPA, and without them its workers would have none.
_KEPT_RESOURCES = """\
{%- if iter_autoscaling_config is defined %}
{%- for name, values in iter_autoscaling_config().items() if values.get("queueops_resources") %}
{%- if name not in POD_AUTOSCALING_EXTRA_SERVICES %}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ name }}
spec:
  template:
    spec:
      containers:
        - name: {{ name }}
          resources: {{ values["queueops_resources"] | tojson }}
{%- endif %}
{%- endfor %}
{%- endif %}"""

_SWITCH = """\
try:
    from tutorpod_autoscaling.hooks import AUTOSCALING_CONFIG
except ImportError:  # tutor-contrib-pod-autoscaling is not installed
    pass
else:
    # A Deployment with two autoscalers stops scaling, so these HPAs go. Those that run must be deleted once:
    # `tutor k8s start` does not. What stands in POD_AUTOSCALING_EXTRA_SERVICES cannot be changed from here.
    SCALED = NAMES

    # Last of all, so that what other plugins say of these workers is known.
    @AUTOSCALING_CONFIG.add(priority=hooks.priorities.LOW)
    def _let_go(config):
        for name in SCALED:
            values = config.get(name)
            if values and values.get("enable_hpa"):
                config[name] = {**values, "enable_hpa": False, "queueops_resources": _resources(values)}
        return config

    def _resources(values):
        found = {}
        for kind in ("request", "limit"):
            amounts = {"memory": values.get(f"memory_{kind}"), "cpu": values.get(f"cpu_{kind}")}
            found[f"{kind}s"] = {name: str(amount) for name, amount in amounts.items() if amount}
        return found
"""

_OVERLAY_HEAD = f'''\
"""Settings of a producer with its routes, generated by the Ansible collection queueops.celery. Do not edit.

Mount it in every pod that sends tasks, web pods and workers alike, and set there:

    PYTHONPATH={ROUTES_MOUNT}
    DJANGO_SETTINGS_MODULE={OVERLAY_FILE.removesuffix(".py")}
"""

'''

_ROUTES_HEAD = f'''\
"""Routes of a producer, generated by the Ansible collection queueops.celery. Do not edit.

Mount it in every pod that sends tasks, web pods and workers alike, and load it where the app is made:

    import runpy
    app.conf.task_routes = runpy.run_path("{ROUTES_MOUNT}/{ROUTES_FILE}")["task_routes"]
"""

'''
