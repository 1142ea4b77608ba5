# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small folders of the shape that Tutor's have, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

PASSWORD = "only-for-this-test"


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    """Files by name: text and bytes as they are, a dict as YAML, a list as its documents."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            documents = content if isinstance(content, list) else [content]
            path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    return folder


def deployment(name: str, *args: str, pod: Json | None = None, **container: Any) -> Json:
    """A Deployment with one container of its name."""
    own = {"name": name, "image": "registry.example/openedx:1", **({"args": list(args)} if args else {}), **container}
    labels = {"app.kubernetes.io/name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [own], **(pod or {})}},
        },
    }


def worker(service: str, name: str, *queues: str, options: tuple[str, ...] = (), **container: Any) -> Json:
    """A Deployment that runs a Celery worker."""
    words = ["celery", f"--app={service}.celery", "worker", "--loglevel=info", f"--queues={','.join(queues)}"]
    pod = {"volumes": [{"name": "config", "configMap": {"name": "openedx-config"}}]}
    return deployment(name, *words, *options, pod=pod, **container)


def default_workers(*lms: str) -> list[Json]:
    """Tutor's own two."""
    queues = {"lms": lms or ("default", "high", "high_mem"), "cms": ("default", "high", "low")}
    return [
        worker(service, f"{service}-worker", *(f"edx.{service}.core.{name}" for name in names))
        for service, names in queues.items()
    ]


def scaled_object(target: str, queue: str, name: str = "", **spec: Any) -> Json:
    """A ScaledObject as tutor-contrib-celery writes it."""
    metadata = {"address": "redis:6379", "listName": queue, "listLength": str(spec.pop("listLength", 40))}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name or f"{target}-scaledobject"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": target},
            "minReplicaCount": 0,
            "maxReplicaCount": 10 if queue.endswith(".default") else 30,
            "triggers": [{"type": "redis", "metadata": metadata}],
            **spec,
        },
    }


def autoscaler(target: str, name: str = "") -> Json:
    """A HorizontalPodAutoscaler."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name or target},
        "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 6},
    }


def project(
    root: Path,
    objects: list[Json] | None = None,
    settings: Json | None = None,
    platform: Json | None = None,
    production: Mapping[str, str] | None = None,
    **kustomization: Any,
) -> Path:
    """A rendered project.

    :param settings: more of config.yml.
    :param platform: more of the YAML settings of LMS and CMS.
    :param production: Python settings by service.
    """
    wanted = {
        "resources": ["k8s/deployments.yml"],
        "namespace": "openedx",
        "configMapGenerator": [{"name": "openedx-config", "files": ["apps/openedx/config/lms.env.yml"]}],
        **kustomization,
    }
    yaml_settings = {
        "LMS_BASE": "learn.example.com",
        "CELERY_BROKER_TRANSPORT": "redis",
        "CELERY_BROKER_HOSTNAME": "redis:6379",
        "CELERY_BROKER_VHOST": "0",
        "CELERY_BROKER_USER": "",
        "CELERY_BROKER_PASSWORD": "",
        **(platform or {}),
    }
    files: Json = {
        "config.yml": {"ID": "abcdefgh", "OPENEDX_SECRET_KEY": PASSWORD, **(settings or {})},
        "env/version": "22.0.3\n",
        "env/kustomization.yml": {name: value for name, value in wanted.items() if value is not None},
        "env/k8s/deployments.yml": default_workers() if objects is None else objects,
    }
    for service in ("lms", "cms"):
        files[f"env/apps/openedx/config/{service}.env.yml"] = yaml_settings
        files[f"env/apps/openedx/settings/{service}/production.py"] = (production or {}).get(service, "")
    return write(root, files)
