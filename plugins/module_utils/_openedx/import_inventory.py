# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory for a Tutor project, as text with comments for the person who will own it.

Once a person has changed a file, it is theirs: what a later import would write goes beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._celery.command import check_extra_params, read_arguments
from .._model.fleet import Process
from .._model.names import scaled_object_name
from .._schema.documents import as_yaml
from .._schema.problems import Problems
from .kustomization import (
    KustomizationError,
    pod_spec,
    read_documents,
)
from .tutor import (
    SERVICES,
    VARIABLE,
    TutorBroker,
    TutorError,
    TutorProject,
    TutorScaler,
    TutorWorker,
    broker_of,
    lms_host,
    other_workers,
    routes_file,
    routes_of,
    workers_of,
)

HOSTS = "hosts.yml"
GROUP = "celery_fleets"
#: The variable that a vault holds, where the site's Redis wants a password.
PASSWORD = "vault_celery_redis_password"

_WIDTH = 118
_SITE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VARIANT = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_MARK = re.compile(
    r"^# Suggested by queueops\.celery\.import_tutor, fingerprint (?P<fingerprint>[0-9a-f]{16})\..*$", re.M
)
#: Numbers that tutor-contrib-celery gives where nobody writes any: fewest pods, most pods (default, others), messages.
_PLUGIN_FEWEST, _PLUGIN_MOST, _PLUGIN_LENGTH = 0, {True: 10, False: 30}, 40


def site_name(project: TutorProject, wanted: str = "") -> str:
    """Name of the inventory host.

    :raises TutorError: if the wanted one cannot be one.
    """
    name = wanted or lms_host(project) or project.namespace
    if not _SITE.fullmatch(name):
        raise TutorError(f"{name!r} cannot be the name of an inventory host; write letters, digits, '.', '-' and '_'.")
    return name


def variables_file(site: str) -> str:
    """Where the variables of a site stand: a folder, so that a vault can stand beside them."""
    return f"host_vars/{site}/celery.yml"


def suggested_inventory(project: TutorProject, site: str = "") -> dict[str, str]:
    """The files of an inventory for one site, by their path below its folder."""
    name = site_name(project, site)
    return {HOSTS: _hosts(name), variables_file(name): _variables(project, name)}


# Files


@dataclass(frozen=True)
class ImportPlan:
    """What an import does to an inventory.

    :param files: content of the files to write, by their path below it.
    :param before: what each of them is compared with in a diff.
    :param beside: files that a person changed, each with the one that the news go to.
    """

    files: Mapping[str, str]
    before: Mapping[str, str]
    beside: Mapping[str, str]


def planned_import(folder: Path, project: TutorProject, site: str = "") -> ImportPlan:
    """Compare a suggestion with the inventory that is there.

    :raises TutorError: if Ansible would not read the files together with those that are there.
    """
    name = site_name(project, site)
    suggestion = suggested_inventory(project, name)
    for ending in (".yml", ".yaml", ".json", ""):
        other = folder / "host_vars" / f"{name}{ending}"
        if other.is_file():
            raise TutorError(
                f"{other} stands beside the folder {other.with_name(name)}, where the import writes, and Ansible reads "
                f"only one of them. Move it to {other.with_name(name)}/main.yml"
            )
    wanted, before, beside = {}, {}, {}
    hosts = _hosts_file(folder, name)
    if hosts:
        wanted[hosts] = suggestion[HOSTS]
    path = variables_file(name)
    text, there = suggestion[path], _content(folder / path)
    if there is None or _fingerprint_in(there) == _fingerprint(_body(there)):
        wanted[path] = text
        before[path] = there or ""
    elif _fingerprint_in(there) != _fingerprint_in(text):
        beside[path] = f"{path}.new"
        wanted[beside[path]] = text
        before[beside[path]] = there
    changed = {path: text for path, text in wanted.items() if _content(folder / path) != text}
    return ImportPlan(changed, before, beside)


def write_import(folder: Path, plan: ImportPlan) -> None:
    """Write what is planned."""
    for name, content in plan.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def import_diff(folder: Path, plan: ImportPlan) -> list[dict[str, str]]:
    """One entry a file. What goes beside a file that a person changed is compared with that file."""
    yours = {new: name for name, new in plan.beside.items()}
    return [
        {
            "before_header": f"{folder / yours.get(name, name)}",
            "after_header": f"{folder / name}",
            "before": plan.before.get(name, ""),
            "after": content,
        }
        for name, content in plan.files.items()
    ]


def _hosts_file(folder: Path, site: str) -> str:
    """Where the host is to be named; empty if it is named already. A file that is there is nobody's to change."""
    for path in (HOSTS, f"hosts-{site}.yml"):
        if _content(folder / path) is None:
            return path
        try:
            documents = read_documents(folder, path)
        except KustomizationError:
            continue  # with a vault in it, for example
        if any(_names_host(document, site) for document in documents):
            return ""
    return ""


def _names_host(value: Any, site: str) -> bool:
    if not isinstance(value, dict):
        return False
    hosts = value.get("hosts")
    return (isinstance(hosts, dict) and site in hosts) or any(_names_host(item, site) for item in value.values())


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _marked(body: str) -> str:
    return (
        f"---\n# Suggested by queueops.celery.import_tutor, fingerprint {_fingerprint(body)}. "
        f"Edit it as you like: it is yours then.\n{body}"
    )


def _fingerprint(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _fingerprint_in(text: str) -> str:
    found = _MARK.search(text)
    return found["fingerprint"] if found else ""


def _body(text: str) -> str:
    """What stands below the mark."""
    found = _MARK.search(text)
    return text[found.end() + 1 :] if found else text


# Text


def _comment(*sentences: str, indent: int = 0) -> list[str]:
    """Sentences as comment lines; each starts a line of its own."""
    margin = " " * indent
    lines = (textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) for text in sentences)
    return [f"{margin}# {line}" for wrapped in lines for line in wrapped]


def _yaml(value: Any, indent: int = 0) -> list[str]:
    """A dict as YAML, lists indented as linters want them."""
    margin = " " * indent
    lines: list[str] = []
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [margin + as_yaml({name: None}).replace(" null\n", ""), *_yaml(item, indent + 2)]
        elif isinstance(item, (list, tuple)) and item:
            lines += [margin + as_yaml({name: None}).replace(" null\n", "")]
            lines += [f"{margin}  {as_yaml([entry]).rstrip()}" for entry in item]
        else:
            lines += [margin + line for line in as_yaml({name: item}).rstrip("\n").split("\n")]
    return lines


def _suggestion(value: Any) -> list[str]:
    """A dict as YAML behind comment signs."""
    return [f"# {line}" for line in _yaml(value)]


def _hosts(site: str) -> str:
    lines = [
        "---",
        *_comment("One host is one Open edX site: one namespace of one cluster."),
        f"{GROUP}:",
        "  hosts:",
        *[f"    {line}" for line in as_yaml({site: None}).replace(" null", "").rstrip().split("\n")],
    ]
    return "\n".join([*lines, ""])


def _variables(project: TutorProject, site: str) -> str:
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
    return _marked("\n".join("\n".join([*lines, ""]) for lines in sections if lines))


def _head(project: TutorProject) -> list[str]:
    version = f" (Tutor {project.version})" if project.version else ""
    return _comment(
        f"From the Tutor project {_root(project)}{version}. Read it once; what only you can know is marked with Check.",
        "Then see what a run would do: ansible-playbook queueops.celery.deploy -i <this inventory> --check --diff",
    )


def _root(project: TutorProject) -> str:
    return os.path.abspath(project.root)


def _place(project: TutorProject) -> list[str]:
    return [
        *_yaml({"celery_workers_preset": "openedx", "celery_workers_namespace": project.namespace}),
        *_comment("Check: the kubeconfig context of the site's cluster. Without it the current one counts."),
        *_suggestion({"celery_workers_context": "my-cluster"}),
        "",
        *_comment("Manifest files take image, settings and volumes from what Tutor rendered here (tutor config save)."),
        *_yaml({VARIABLE: _root(project)}),
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
    return [*_comment(*notes), *_yaml({"celery_workers_broker": keys})]


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
    return _comment(
        "Image, env and volumes of the workers are those of lms-worker and cms-worker, read again at each run"
        + (f" (now {found})." if found else "."),
        "So there is nothing to write here. Another Deployment of the site: celery_workers_services.lms.inherit_from.",
    )


# Variants


def _config(project: TutorProject, workers: tuple[TutorWorker, ...]) -> list[str]:
    lines = _comment(
        "Tutor's own workers keep the default queue: they stay Tutor's, and are narrowed to it. Every other queue gets "
        "a Deployment of its own.",
        "Check: how long tasks take decides how long a pod may take to stop, and more. Write longest_task_seconds.",
    )
    if any(worker.scaler and set(_scaling(worker, worker.scaler)) == {"enable_keda"} for worker in workers):
        lines += _comment(
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
    if not any(worker.scaler for worker in workers):
        lines += [
            "",
            *_comment(
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
        return _comment(f"Check: {worker.deployment} has a name that no variant can have.", indent=4)
    body = _yaml(keys, 6)
    return [*_comment(*notes, indent=4), f"    {worker.variant}:{'' if body else ' {}'}", *body]


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


# Around the workers


def _ownership(workers: Iterable[TutorWorker]) -> list[str]:
    made = [worker.deployment for worker in workers if not worker.is_default]
    made += [item.name for item in _scalers(workers)]
    if not made:
        return []
    return [
        *_comment(
            f"The site has {', '.join(made)} already. With this they become the collection's for good, in place.",
            "Check: as long as the plugin that makes them is enabled, tutor k8s start applies its own again. Take its "
            "variants out once the workers run.",
        ),
        *_yaml({"celery_workers_take_over": True}),
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
        *_comment(
            f"Check: {'; '.join(rivals)}. Two scalers of one Deployment work against each other.",
            "fail: a run that would scale it too stops. transfer: KEDA takes an HPA over, without a gap. remove: it is "
            "deleted first.",
            "Switch it off in the plugin that makes it as well, or tutor k8s start brings it back.",
        ),
        *_yaml({"celery_workers_autoscaler_conflict": "fail"}),
    ]


def _routes(project: TutorProject) -> list[str]:
    found = {service: routes_of(project, service) for service in SERVICES}
    queues = {service: routes.queues for service, routes in found.items() if routes.queues}
    lines: list[str] = []
    if queues:
        lines += _comment(
            "Where tasks go, as the rendered settings of the producers say. Every queue must have a consumer."
        )
        tasks = {
            service: {task: {"queue": queue} for task, queue in sorted(routes.items())}
            for service, routes in queues.items()
        }
        lines += _yaml({"celery_workers_explicit_queues": tasks})
    for service, routes in found.items():
        if routes.unread:
            lines += _comment(
                f"Check: env/{routes_file(service)} also changes EXPLICIT_QUEUES in line "
                f"{', '.join(map(str, routes.unread))}, in a way that only Python can read."
            )
    return [
        *lines,
        *_comment(
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
        *_comment(
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
    return _comment(*notes)
