# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run takes, by size of the fleet, beside the least that kubernetes.core needs for the same objects.

Baseline, named "bare": a playbook of one kubernetes.core.k8s task that applies the same manifests from a file.
The API is the emulator, which answers in about a millisecond: compare the figures with each other, not with a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.support.kubernetes_emulator import Emulator

SIZES = (1, 10, 100, 1000)
NAMESPACE = "bench"

DEPLOY = "queueops.celery.deploy"
BARE = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - kubernetes.core.k8s:
        apply: true
        definition: "{{ lookup('ansible.builtin.file', manifests) | from_yaml_all }}"
"""


@dataclass(frozen=True)
class Measured:
    """One playbook run."""

    seconds: float
    changed: int
    requests: int
    processes: int


def variables(variants: int) -> dict[str, Any]:
    """An inventory of that many scaled variants in services of up to fifty."""
    services = {
        f"service{number}": {"image": "bench:1", "queue_name": "{service}.{variant}"}
        for number in range(-(-variants // 50))
    }
    config: dict[str, dict[str, Any]] = {name: {} for name in services}
    for number in range(variants):
        config[f"service{number // 50}"][f"v{number}"] = {"enable_keda": True, "min_replicas": 1, "probe": "none"}
    return {
        "celery_workers_namespace": NAMESPACE,
        "celery_workers_broker": {"host": "redis"},
        "celery_workers_services": services,
        "celery_workers_config": config,
    }


def manifests(variants: int) -> tuple[list[dict[str, Any]], float]:
    """The manifests of such an inventory, and the seconds they took to compute."""
    given = variables(variants)
    layers = tuple(Layer(name, value) for name, value in given.items() if name != "celery_workers_namespace")
    start = time.perf_counter()
    fleet = parse_fleet(Inventory(NAMESPACE, layers=layers))
    found = [*worker_resources(fleet), *scaler_resources(fleet)]
    return found, time.perf_counter() - start


def play(emulator: Emulator, folder: Path, arguments: list[str]) -> Measured:
    """Run a playbook and count what it did."""
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "K8S_AUTH_KUBECONFIG": str(folder / "kubeconfig"),
        "TMPDIR": str(folder),
    }
    before = len(emulator.requests)
    start = time.perf_counter()
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "hosts.yml"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    data = json.loads(done.stdout[done.stdout.index("{\n") :])
    results = [item["hosts"]["bench"] for shown in data["plays"] for item in shown["tasks"] if "bench" in item["hosts"]]
    modules = [item for item in results if not item.get("skipped") and str(item.get("action", "")) in MODULES]
    return Measured(seconds, data["stats"]["bench"]["changed"], len(emulator.requests) - before, len(modules))


#: Modules that start a Python process; everything else runs in Ansible itself.
MODULES = {
    "kubernetes.core.k8s",
    "queueops.celery.worker_info",
    "queueops.celery.worker_specs",
    "queueops.celery.keda_specs",
    "queueops.celery.change_report",
}


def prepare(folder: Path, emulator: Emulator, variants: int) -> list[dict[str, Any]]:
    """Files of one size."""
    emulator.write_kubeconfig(folder / "kubeconfig")
    host = {**variables(variants), "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"celery_fleets": {"hosts": {"bench": host}}}))
    (folder / "bare.yml").write_text(BARE)
    found, _seconds = manifests(variants)
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(found))
    return found


def measure(variants: int) -> str:
    """One line of the table."""
    computed = min(manifests(variants)[1] for _attempt in range(3))
    with tempfile.TemporaryDirectory() as name, Emulator(namespaces=[NAMESPACE]) as emulator:
        folder = Path(name)
        objects = len(prepare(folder, emulator, variants))
        bare = [str(folder / "bare.yml"), "-e", f"manifests={folder}/manifests.yaml"]
        bare_first, bare_again = play(emulator, folder, bare), play(emulator, folder, bare)
        emulator.reset()
        first = play(emulator, folder, [DEPLOY])
        versions = [item["metadata"]["resourceVersion"] for item in emulator.objects("Deployment", NAMESPACE)]
        again = play(emulator, folder, [DEPLOY])
        moved = versions != [item["metadata"]["resourceVersion"] for item in emulator.objects("Deployment", NAMESPACE)]
    if again.changed or moved:
        sys.exit(f"{variants} variants: a second run changed something")
    return (
        f"{variants:>8} {objects:>8} {computed:>9.3f} {first.seconds:>8.1f} {again.seconds:>8.1f} "
        f"{bare_first.seconds:>8.1f} {bare_again.seconds:>8.1f} {first.seconds / bare_first.seconds:>6.2f} "
        f"{again.seconds / bare_again.seconds:>6.2f} {first.requests / objects:>9.2f} {again.requests / objects:>9.2f} "
        f"{again.processes:>9}"
    )


def main() -> None:
    """Print the table. Sizes may be given as arguments."""
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    print("Seconds; ratios are the role's time over the bare task's. The second run changed nothing in any line.")
    print(
        f"{'variants':>8} {'objects':>8} {'compute':>9} {'first':>8} {'second':>8} {'bare 1st':>8} {'bare 2nd':>8} "
        f"{'ratio':>6} {'ratio':>6} {'req/obj 1':>9} {'req/obj 2':>9} {'processes':>9}"
    )
    for size in sizes:
        print(measure(size), flush=True)


if __name__ == "__main__":
    main()
