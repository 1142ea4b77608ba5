# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites that a real Tutor rendered, started in a test's cluster, and the sample inventory for them."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.integration.cluster import Cluster
from tests.integration.playbook import sample_inventory
from tests.support.api_client import KubeconfigClient
from tests.support.real_tutor import apply

Json = dict[str, Any]

ADOPTED_BY = "celery.queueops.io/adopted-by"
ADOPTION = "celery.queueops.io/adoption"
#: In the emulator's pods runs nothing that could be asked what it holds.
ACCEPT: Json = {"celery_workers_key_change": "accept"}

VARIANTS = {"lms": ("default", "high", "high_mem"), "cms": ("default", "high", "low")}
QUEUES = {f"edx.{service}.core.{variant}" for service, variants in VARIANTS.items() for variant in variants}
#: What Tutor makes, and what the sample inventory adds.
ADOPTED = {"lms-worker", "cms-worker"}
OWN = {"lms-worker-high", "lms-worker-high-mem", "cms-worker-high", "cms-worker-low"}


def site_inventory(folder: Path, hosts: Mapping[str, Json], name: str = "inventory") -> Path:
    """The sample inventory with other hosts, each with what differs from the sample."""
    target = folder / name
    shutil.copytree(sample_inventory("openedx"), target)
    content = {"celery_fleets": {"hosts": dict(hosts)}}
    (target / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return target


def sample_config(**defaults: object) -> Json:
    """`celery_workers_config` of the sample, with other keys of the default variants."""
    text = (sample_inventory("openedx") / "group_vars" / "celery_fleets.yml").read_text(encoding="utf-8")
    config: Json = yaml.safe_load(text)["celery_workers_config"]
    for service in config.values():
        service["default"] = {**service["default"], **defaults}
    return config


def moved(objects: Iterable[Json], namespace: str) -> list[Json]:
    """Rendered objects as Tutor would render them for another namespace."""
    found = copy.deepcopy(list(objects))
    for item in found:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = namespace
    return found


def start(cluster: Cluster, objects: Iterable[Json]) -> list[str]:
    """What `tutor k8s start` does."""
    return apply(KubeconfigClient(cluster.kubeconfig), objects)


def snapshot(cluster: Cluster, namespace: str, kind: str = "Deployment") -> dict[str, Json]:
    """Objects of a kind by their names."""
    return {item["metadata"]["name"]: item for item in cluster.select(kind, namespace)}


def worker(deployment: Json) -> Json:
    """The only container of a Deployment."""
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def queues_in(deployment: Json) -> list[str]:
    """Every mention of queues on a worker's command line."""
    return [word for word in worker(deployment)["args"] if word.startswith(("--queues", "-Q"))]


def without_ours(deployment: Json) -> Json:
    """The spec of an adopted Deployment without what is ours: its queues, its grace period, the number of its pods."""
    spec: Json = copy.deepcopy(deployment["spec"])
    spec.pop("replicas")
    pod = spec["template"]["spec"]
    pod.pop("terminationGracePeriodSeconds")
    pod["containers"][0]["args"] = [word for word in pod["containers"][0]["args"] if not word.startswith("--queues=")]
    return spec


def noted(deployment: Json) -> Json:
    """What was written down about a Deployment when it was adopted."""
    found: Json = json.loads(deployment["metadata"]["annotations"][ADOPTION])
    return found
