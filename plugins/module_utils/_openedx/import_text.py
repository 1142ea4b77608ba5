# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of an imported site, as text with comments for the person who will own it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from .._celery.command import check_extra_params, read_arguments, slots_of
from .._model.names import scaled_object_name
from .._model.variant_keys import Process
from .._schema.documents import as_yaml
from .._schema.problems import Problems
from .kustomize_patches import pod_spec
from .tutor import SERVICES, VARIABLE, TutorBroker, TutorProject, broker_of, lms_host
from .tutor_routes import routes_file, routes_of
from .tutor_workers import TutorScaler, TutorWorker, other_workers, workers_of

#: The variable that a vault holds, where the site's Redis wants a password.
PASSWORD = "vault_celery_redis_password"
#: Numbers that tutor-contrib-celery gives where nobody writes any: fewest pods, most pods (default, others), messages.
_PLUGIN_FEWEST, _PLUGIN_MOST, _PLUGIN_LENGTH = 0, {True: 10, False: 30}, 40
#: The variant of grade reports, for which a profile is suggested.
_REPORTS = "high_mem"
_REPORTS_NOTE = (
    "Grade reports may run for hours. profile: long gives a pod one task, 4 hours to stop, and at most 5 pods. Take "
    "the # away for it."
)
_WIDTH = 118
_VARIANT = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


def comment(*sentences: str, indent: int = 0) -> list[str]:
    """Sentences as comment lines; each starts a line of its own."""
    margin = " " * indent
    lines = (textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) for text in sentences)
    return [f"{margin}# {line}" for wrapped in lines for line in wrapped]


def yaml_lines(value: Any, indent: int = 0) -> list[str]:
    """A dict as YAML, lists indented as linters want them."""
    margin = " " * indent
    lines: list[str] = []
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [margin + as_yaml({name: None}).replace(" null\n", ""), *yaml_lines(item, indent + 2)]
        elif isinstance(item, (list, tuple)) and item:
            lines += [margin + as_yaml({name: None}).replace(" null\n", "")]
            lines += [f"{margin}  {as_yaml([entry]).rstrip()}" for entry in item]
        else:
            lines += [margin + line for line in as_yaml({name: item}).rstrip("\n").split("\n")]
    return lines


def _suggestion(value: Any) -> list[str]:
    """A dict as YAML behind comment signs."""
    return [f"# {line}" for line in yaml_lines(value)]


def variables_of(project: TutorProject, site: str) -> str:
    workers = workers_of(project)
    sections = [
        _head(project),
        _place(project),
        _broker(project, site),
        _images(workers),
        _config(project, workers),
        _ownership(workers),
        _rivals(workers),
        _routes(project),
        _flower(project),
        _left(project),
    ]
    return "\n".join("\n".join([*lines, ""]) for lines in sections if lines)


def _head(project: TutorProject) -> list[str]:
    version = f" (Tutor {project.version})" if project.version else ""
    return comment(
        f"From the Tutor project {_root(project)}{version}. Read it once; what only you can know is marked with Check.",
        "Then see what a run would do: ansible-playbook queueops.celery.deploy -i <this inventory> --check --diff",
    )


def _root(project: TutorProject) -> str:
    return os.path.abspath(project.root)


def _place(project: TutorProject) -> list[str]:
    return [
        *yaml_lines({"celery_workers_preset": "openedx", "celery_workers_namespace": project.namespace}),
        *comment("Check: the kubeconfig context of the site's cluster. Without it the current one counts."),
        *_suggestion({"celery_workers_context": "my-cluster"}),
        "",
        *comment("Manifest files take image, settings and volumes from what Tutor rendered here (tutor config save)."),
        *yaml_lines({VARIABLE: _root(project)}),
    ]


def _broker(project: TutorProject, site: str) -> list[str]:
    broker, other = broker_of(project), broker_of(project, "cms")
    keys, notes = _broker_keys(broker), ["The Redis that holds the queues, as the settings of LMS name it."]
    if broker.transport != "redis":
        notes = [
            f"Check: the settings of LMS name a broker that is reached through {broker.transport}, on {broker.host}. "
            "Write it here by hand; the key reference has the keys of every kind of broker."
        ]
    if other != broker:
        notes += [
            f"Check: CMS has another one, {other.transport} on {other.host}:{other.port}, database {other.database}. "
            "Write it under celery_workers_services.cms.broker."
        ]
    if "password" in keys:
        notes += [
            "Its password is not in this file. Put it into a vault beside it, once:",
            f"ansible-vault create host_vars/{site}/vault.yml, with the line {PASSWORD}: and the password, which this "
            "prints: tutor config printvalue REDIS_PASSWORD",
        ]
    return [*comment(*notes), *yaml_lines({"celery_workers_broker": keys})]


def _broker_keys(broker: TutorBroker) -> dict[str, Any]:
    if broker.transport != "redis":
        # A run stops here and shows the hint.
        return {"host": "{{ undef(hint='Write the broker of the site into celery_workers_broker.') }}"}
    keys: dict[str, Any] = {"host": broker.host, "port": broker.port, "database": broker.database}
    if broker.uses_tls:
        keys["tls"] = True
    if broker.has_password:
        keys |= {**({"username": broker.username} if broker.username else {}), "password": f"{{{{ {PASSWORD} }}}}"}
    return keys


def _images(workers: Iterable[TutorWorker]) -> list[str]:
    own = [worker for worker in workers if worker.is_default]
    found = ", ".join(f"{worker.deployment} has {worker.image}" for worker in own if worker.image)
    return comment(
        "Image, env and volumes of the workers are those of lms-worker and cms-worker, read again at each run"
        + (f" (now {found})." if found else "."),
        "So there is nothing to write here. Another Deployment of the site: celery_workers_services.lms.inherit_from.",
    )


def _config(project: TutorProject, workers: tuple[TutorWorker, ...]) -> list[str]:
    lines = comment(
        "Tutor's own workers keep the default queue: they stay Tutor's, and are narrowed to it. Every other queue gets "
        "a Deployment of its own.",
        "Check: how long tasks take decides how long a pod may take to stop, and more. Write longest_task_seconds.",
    )
    if any(worker.scaler and set(_scaling(worker, worker.scaler)) == {"enable_keda"} for worker in workers):
        lines += comment(
            "Numbers of a scaler that were the plugin's defaults (0 to 10 pods for default, 0 to 30 for others, 40 "
            "messages a pod) are left out, so that those of this collection hold."
        )
    lines += ["celery_workers_config:"]
    for service in SERVICES:
        lines += [f"  {service}:"]
        own = sorted((item for item in workers if item.service == service), key=lambda item: not item.is_default)
        if not any(item.is_default for item in own):
            own = [TutorWorker(service, "default", f"{service}-worker"), *own]
        for worker in own:
            lines += _variant_lines(worker, rendered=worker in workers)
        if service == "lms" and not any(item.variant == _REPORTS for item in own):
            lines += [*comment(_REPORTS_NOTE, indent=4), f"    # {_REPORTS}: {{profile: long}}"]
    if not any(worker.scaler for worker in workers):
        lines += [
            "",
            *comment(
                "Nothing scales these workers yet. With KEDA in the cluster, scale them on the work that they hold:"
            ),
            *_suggestion({"celery_workers_queue_defaults": {"enable_keda": True}}),
        ]
    return lines


def _variant_lines(worker: TutorWorker, rendered: bool) -> list[str]:
    notes: list[str] = []
    keys: dict[str, Any] = {}
    if worker.is_default and rendered:
        keys["adopt"] = True
    elif worker.is_default:
        notes.append(f"Tutor renders no {worker.deployment}, so the role makes it.")
    keys |= _naming(worker)
    if worker.scaler is not None:
        keys |= _scaling(worker, worker.scaler)
        if worker.scaler.others:
            notes.append(
                f"Check: {worker.scaler.name} has more triggers ({', '.join(worker.scaler.others)}). Write them under "
                "extra_triggers."
            )
    accepted, refused = _extra_params(worker)
    if accepted:
        keys["extra_params"] = accepted
    if refused:
        notes.append(f"Check: not taken over from its command line: {', '.join(refused)}.")
    if not _VARIANT.fullmatch(worker.variant):
        return comment(f"Check: {worker.deployment} has a name that no variant can have.", indent=4)
    body, profile = yaml_lines(keys, 6), []
    # With more slots than one the numbers of the profile would not be those of its arguments.
    if worker.service == "lms" and worker.variant == _REPORTS and body and slots_of(accepted) == 1:
        notes.append(_REPORTS_NOTE)
        profile = ["      # profile: long"]
    return [*comment(*notes, indent=4), f"    {worker.variant}:{'' if body else ' {}'}", *body, *profile]


def _naming(worker: TutorWorker) -> dict[str, Any]:
    """Name and queues, where they are not those that the preset gives."""
    if worker.is_default:
        return {}
    keys: dict[str, Any] = {}
    if worker.deployment != f"{worker.service}-worker-{worker.variant.replace('_', '-')}":
        keys["name"] = worker.deployment
    if worker.queues and worker.queues != (f"edx.{worker.service}.core.{worker.variant}",):
        keys["queues"] = list(worker.queues)
    return keys


def _scaling(worker: TutorWorker, scaler: TutorScaler) -> dict[str, Any]:
    """What a person chose of a scaler: numbers that are not the plugin's defaults."""
    chosen = {
        "min_replicas": (scaler.fewest, _PLUGIN_FEWEST),
        "max_replicas": (scaler.most, _PLUGIN_MOST[worker.is_default]),
        "list_length": (scaler.list_length, _PLUGIN_LENGTH),
        "polling_interval": (scaler.polling_interval, None),
        "cooldown_period": (scaler.cooldown_period, None),
    }
    kept = {name: value for name, (value, usual) in chosen.items() if value is not None and value != usual}
    return {"enable_keda": True, **kept}


def _extra_params(worker: TutorWorker) -> tuple[list[str], list[str]]:
    """Words of a command line that a variant takes as they are, and the names of those that it does not."""
    if worker.is_default:
        return [], []
    options, _strange = read_arguments(worker.options)
    accepted: list[str] = []
    refused = list(worker.unread)
    for option in options:
        problems = Problems()
        check_extra_params(Process(extra_params=option.words), "", problems)
        if problems.found:
            refused.append(f"--{option.name}")
        else:
            accepted += option.words
    return accepted, refused


def _ownership(workers: Iterable[TutorWorker]) -> list[str]:
    made = [worker.deployment for worker in workers if not worker.is_default]
    made += [item.name for item in _scalers(workers)]
    if not made:
        return []
    return [
        *comment(
            f"The site has {', '.join(made)} already. With this they become the collection's for good, in place.",
            "Check: as long as the plugin that makes them is enabled, tutor k8s start applies its own again. Take its "
            "variants out once the workers run.",
        ),
        *yaml_lines({"celery_workers_take_over": True}),
    ]


def _scalers(workers: Iterable[TutorWorker]) -> list[TutorScaler]:
    """ScaledObjects with the names that the collection gives."""
    found = [(worker, worker.scaler) for worker in workers]
    return [item for worker, item in found if item is not None and item.name == scaled_object_name(worker.deployment)]


def _rivals(workers: tuple[TutorWorker, ...]) -> list[str]:
    rivals = [f"{item.kind} {item.name} scales {worker.deployment}" for worker in workers for item in worker.rivals]
    taken = _scalers(workers)
    foreign = [
        (worker, worker.scaler) for worker in workers if worker.scaler is not None and worker.scaler not in taken
    ]
    rivals += [f"ScaledObject {item.name} scales {worker.deployment}" for worker, item in foreign if item is not None]
    if not rivals:
        return []
    return [
        *comment(
            f"Check: {'; '.join(rivals)}. Two scalers of one Deployment work against each other.",
            "fail: a run that would scale it too stops. transfer: KEDA takes an HPA over, without a gap. remove: it is "
            "deleted first.",
            "Switch it off in the plugin that makes it as well, or tutor k8s start brings it back.",
        ),
        *yaml_lines({"celery_workers_autoscaler_conflict": "fail"}),
    ]


def _routes(project: TutorProject) -> list[str]:
    found = {service: routes_of(project, service) for service in SERVICES}
    queues = {service: routes.queues for service, routes in found.items() if routes.queues}
    lines: list[str] = []
    if queues:
        lines += comment(
            "Where tasks go, as the rendered settings of the producers say. Every queue must have a consumer."
        )
        tasks = {
            service: {task: {"queue": queue} for task, queue in sorted(routes.items())}
            for service, routes in queues.items()
        }
        lines += yaml_lines({"celery_workers_explicit_queues": tasks})
    for service, routes in found.items():
        if routes.unread:
            lines += comment(
                f"Check: env/{routes_file(service)} also changes EXPLICIT_QUEUES in line "
                f"{', '.join(map(str, routes.unread))}, in a way that only Python can read."
            )
    return [
        *lines,
        *comment(
            "Reports, mail and imports in queues of their own: the routes that this collection knows for Open edX. "
            "They are delivered as a Tutor plugin, which the run names.",
        ),
        *_suggestion(
            {"celery_workers_openedx_routing": "recommended", "celery_workers_routing_delivery": "tutor_plugin"}
        ),
    ]


def _flower(project: TutorProject) -> list[str]:
    deployment = next((item for item in project.rendered.of_kind("Deployment") if _name(item) == "flower"), None)
    if deployment is None:
        return []
    containers = pod_spec(deployment).get("containers") or [{}]
    words = [f"image {containers[0].get('image', 'unknown')}"]
    # Its Deployment and Service have the names that ours have.
    wanted: dict[str, Any] = {"celery_workers_flower_enabled": True, "celery_workers_take_over": True}
    if project.settings.get("CELERY_FLOWER_EXPOSE_SERVICE") is True:
        host = project.setting("CELERY_FLOWER_HOST") or f"flower.{lms_host(project)}"
        words.append(f"public as {host}")
        wanted["celery_workers_flower"] = {"ingress": {"host": host}}
    if project.settings.get("CELERY_FLOWER_SERVICE_MONITOR") is True:
        words.append("with a ServiceMonitor")
        wanted["celery_workers_service_monitor_enabled"] = True
        wanted["celery_workers_service_monitor"] = {"labels": {"release": "prometheus"}}
    return [
        *comment(
            f"Flower ({', '.join(words)}): stays with Tutor, with its login in plain sight. To run it from here, set "
            "CELERY_FLOWER: false there first.",
        ),
        *_suggestion(wanted),
    ]


def _name(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["name"])


def _left(project: TutorProject) -> list[str]:
    others = other_workers(project)
    notes = [f"Check: {warning}" for warning in project.rendered.warnings]
    if others:
        notes.append(f"Celery workers of other apps, which nothing here touches: {', '.join(others)}.")
    return comment(*notes)
