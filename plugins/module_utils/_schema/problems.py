# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the collection says what is wrong with an inventory.

A run reports all problems at once, so nothing raises at the first one: every check writes
into one L(Problems) collector, and the model raises at the end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .masks import without_queries


def is_within(path: str, place: str) -> bool:
    """Whether a path is that of a place, or of a part of what was written there."""
    return path == place or path.startswith((f"{place}.", f"{place}["))


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to fix.

    :param path: where it was written, as the user knows it: ``celery_workers_config.lms.high.max_replicas``.
    :param message: what is wrong and what to write instead, in one sentence or two.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InventoryError(Exception):
    """The inventory cannot be used. Carries every problem that was found, in a stable order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys(problems))
        super().__init__(describe_problems(self.problems))


@dataclass
class Problems:
    """Collects problems and warnings while the inventory is read.

    :param settled: paths that already have a problem, so that no second one is noted there.
    :param meant: paths that mistyped ones stand for. What is written there counts as refused.
    """

    found: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settled: frozenset[str] = frozenset()
    meant: set[str] = field(default_factory=set)

    def add(self, path: str, message: str) -> None:
        """Note a problem and go on."""
        if path not in self.settled:
            self.found.append(Problem(path, without_queries(message)))

    def has(self, path: str) -> bool:
        """Whether what was written at a path, or a part of it, was refused."""
        return any(is_within(item.path, path) for item in self.found)

    def warn(self, path: str, message: str) -> None:
        """Note something that works but that the user should know of."""
        self.warnings.append(f"{path}: {without_queries(message)}")

    def raise_any(self) -> None:
        """:raises InventoryError: if anything was noted."""
        if self.found:
            raise InventoryError(self.found)


def describe_problems(problems: Iterable[Problem]) -> str:
    """All problems as one text for a person: a count, then one line each."""
    lines = [str(problem) for problem in problems]
    if len(lines) == 1:
        return f"The inventory has 1 problem.\n{lines[0]}"
    return "\n".join(
        [f"The inventory has {len(lines)} problems.", *(f"{n}. {line}" for n, line in enumerate(lines, 1))]
    )


#: What people call a key elsewhere, in Celery, Helm charts, Docker Compose or Kubernetes, and what it is called here.
#: The first name that is known at the place counts.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    # The broker.
    "address": ("host", "url"), "addr": ("host", "url"), "hostname": ("host",), "server": ("host",),
    "service": ("host",), "endpoint": ("host", "url"), "endpoint_url": ("endpoint",), "sentinels": ("hosts",),
    "sentinel_hosts": ("hosts",), "sentinel": ("hosts",), "master": ("master_name",), "service_name": ("master_name",),
    "master_set": ("master_name",), "mastername": ("master_name",), "db": ("database",), "db_number": ("database",),
    "db_index": ("database",), "database_index": ("database",), "vhost": ("virtual_host",), "user": ("username",),
    "userid": ("username",), "login": ("username",), "pass": ("password",), "passwd": ("password",),
    "pwd": ("password",), "auth": ("password",), "ssl": ("tls",), "use_ssl": ("tls",), "use_tls": ("tls",),
    "broker_use_ssl": ("tls",), "encryption": ("tls",), "uri": ("url",), "broker_url": ("url",),
    "connection_string": ("url",), "dsn": ("url",), "kind": ("type",), "transport": ("type",), "driver": ("type",),
    "engine": ("type",), "key_prefix": ("global_keyprefix",), "keyprefix": ("global_keyprefix",),
    "prefix": ("global_keyprefix",), "options": ("transport_options",), "broker_transport_options": (
        "transport_options",
    ),
    "existing_secret": ("secret",), "secret_name": ("secret", "name"), "aws_access_key_id": ("access_key_id",),
    "aws_secret_access_key": ("secret_access_key",), "access_key": ("access_key_id",), "aws_region": ("region",),
    "account_id": ("account",), "insecure": ("insecure_skip_verify",), "verify": ("insecure_skip_verify",),
    "ca": ("ca_secret",), "ca_certs": ("ca_secret",), "ca_cert": ("ca_secret",), "cert": ("certificate_secret",),
    "certfile": ("certificate_secret",), "keyfile": ("certificate_secret",), "visibility": ("visibility_timeout",),
    "management_port": ("management",), "management_url": ("management",), "api_port": ("management",),
    # What runs.
    "queue": ("queues",), "queue_names": ("queues",), "consume": ("queues",), "tag": ("image",), "version": ("image",),
    "container_image": ("image",), "command": ("command_prefix", "extra_params"), "cmd": ("extra_params",),
    "args": ("extra_params",), "arguments": ("extra_params",), "extra_args": ("extra_params",),
    "params": ("extra_params",), "module": ("app",), "celery_app": ("app",), "application": ("app",),
    "environment": ("env",), "env_vars": ("env",), "vars": ("env",), "envs": ("env",), "secrets": ("secret_env",),
    "env_secrets": ("secret_env",), "config_map": ("env_from",), "configmap": ("env_from",),
    "workers": ("concurrency",), "processes": ("concurrency",), "threads": ("concurrency",),
    "worker_concurrency": ("concurrency",), "prefetch": ("prefetch_multiplier",),
    "worker_prefetch_multiplier": ("prefetch_multiplier",), "timeout": ("time_limit",),
    "task_time_limit": ("time_limit",), "task_soft_time_limit": ("soft_time_limit",), "task_acks_late": ("acks_late",),
    "log_level": ("loglevel",), "verbosity": ("loglevel",), "celery_config": ("settings",), "conf": ("settings",),
    # Where and how it runs.
    "cpu": ("resources",), "memory": ("resources",), "mem": ("resources",), "requests": ("resources",),
    "limits": ("resources",), "cpu_request": ("resources",), "cpu_limit": ("resources",),
    "memory_request": ("resources",), "memory_limit": ("resources",), "grace_period": ("termination_grace_period",),
    "termination_grace_period_seconds": ("termination_grace_period",), "service_account": ("service_account_name",),
    "priority_class": ("priority_class_name",), "pull_policy": ("image_pull_policy",),
    "pull_secrets": ("image_pull_secrets",), "pull_secret": ("image_pull_secrets",), "nodes": ("node_selector",),
    "liveness_probe": ("probe",), "readiness_probe": ("probe",), "startup_probe": ("probe",),
    "healthcheck": ("probe",), "pod_disruption_budget": ("pdb",), "mounts": ("volume_mounts",),
    # How many.
    "min": ("min_replicas",), "max": ("max_replicas",), "replicas_min": ("min_replicas",),
    "replicas_max": ("max_replicas",), "min_pods": ("min_replicas",), "max_pods": ("max_replicas",),
    "minimum": ("min_replicas",), "maximum": ("max_replicas",), "min_workers": ("min_replicas",),
    "max_workers": ("max_replicas",), "min_replica_count": ("min_replicas",), "max_replica_count": ("max_replicas",),
    "count": ("replicas",), "replica_count": ("replicas",), "pods": ("replicas",), "instances": ("replicas",),
    "keda": ("enable_keda",), "autoscale": ("enable_keda",), "autoscaling": ("enable_keda",),
    "keda_enabled": ("enable_keda",), "autoscaler": ("scaler",), "hpa": ("scaler",), "queue_length": ("list_length",),
    "threshold": ("list_length",), "target": ("list_length",), "cooldown": ("cooldown_period",),
    "polling": ("polling_interval",), "interval": ("polling_interval",), "triggers": ("extra_triggers",),
    "disabled": ("enabled",), "enable": ("enabled",), "scheduler": ("beat",), "schedule": ("beat",),
    # Words of the role's variables.
    "deleted": ("absent",), "delete": ("absent",), "removed": ("absent",), "remove": ("absent",),
    "gone": ("absent",), "started": ("present",), "created": ("present",), "deployed": ("present",),
    "files": ("manifests",), "file": ("manifests",), "yaml": ("manifests",), "gitops": ("manifests",),
    "kubernetes": ("cluster",), "k8s": ("cluster",), "apply": ("cluster",), "open_edx": ("openedx",),
    "edx": ("openedx",), "tutor": ("openedx", "tutor_plugin"), "plugin": ("tutor_plugin",),
    "wait": ("drain",), "ignore": ("accept",), "delete_hpa": ("remove",), "takeover": ("transfer",),
}  # fmt: skip


_LONGEST_NAME = 200


def suggest(name: str, known: Iterable[str]) -> str:
    """A half sentence that leads from a mistyped name to the right one.

    What people mean by the name, or else the nearest known one, or else all of them while they are few enough to read.
    """
    candidates = sorted(set(known))
    near = nearest(name, candidates)
    if near:
        return f"did you mean {near!r}?"
    if len(candidates) > 12:
        return "no known name is like it; the key reference lists them all."
    return f"known here: {', '.join(candidates)}." if candidates else "nothing is known here."


def nearest(name: str, known: Iterable[str]) -> str:
    """What people mean by a name, or else the known one that is most like it; empty if none is."""
    # Nothing is called so, and to compare a long text with all names takes long.
    if len(name) > _LONGEST_NAME:
        return ""
    candidates = sorted(set(known))
    meant = next((found for found in _SYNONYMS.get(_snake_case(name), ()) if found in candidates), None)
    near = [meant] if meant else difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return near[0] if near else ""


def _snake_case(name: str) -> str:
    """C(minReplicas), C(min-replicas) and C(MIN_REPLICAS) as C(min_replicas)."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
