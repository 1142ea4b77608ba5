# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories of any size, clusters to run them on, and the clock of one run."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import LAST_APPLIED
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.checks import layout
from tests.integration.cluster import Cluster, namespaces, new_namespace_name
from tests.support.kubernetes_emulator import Emulator
from tests.support.run_counter import Counts, RunCounter

Json = dict[str, Any]

DEPLOY, STATUS = "queueops.celery.deploy", "queueops.celery.status"
_NAMESPACE = "celery_workers_namespace"
#: What a server of Kubernetes 1.36 took, in seconds. 16 LISTs took 0.105 s together, 300 requests of an unchanged
#: apply 1.15 s, a hundred creations 2.4 s. An apply on the server's side takes what remained of kubectl's 1.95 s for
#: a hundred objects.
RECORDED_PACE = {"LIST": 0.0065, "GET": 0.003, "PATCH": 0.004, "POST": 0.022, "APPLY": 0.016}


def variables(variants: int) -> Json:
    """An inventory of that many scaled variants in services of up to fifty, without its namespace."""
    services = {
        f"service{number}": {"image": "bench:1", "queue_name": "{service}.{variant}"}
        for number in range(-(-variants // 50))
    }
    config: dict[str, Json] = {name: {} for name in services}
    for number in range(variants):
        config[f"service{number // 50}"][f"v{number}"] = {"enable_keda": True, "min_replicas": 1, "probe": "none"}
    return {
        "celery_workers_broker": {"host": "redis"},
        "celery_workers_services": services,
        "celery_workers_config": config,
        # kubectl does not wait for pods either.
        "celery_workers_wait": False,
    }


def manifests(variants: int, namespace: str) -> list[Json]:
    """The manifests of such an inventory."""
    layers = tuple(Layer(name, value) for name, value in variables(variants).items() if name != "celery_workers_wait")
    fleet = parse_fleet(Inventory(namespace, layers=layers))
    return [*worker_resources(fleet), *scaler_resources(fleet)]


@dataclass(frozen=True)
class Measured:
    """One program that was run to its end.

    :param processor: seconds of processor time, of it and of all that it started.
    :param emulator: seconds of processor time that the emulator took meanwhile.
    """

    seconds: float
    processor: float
    emulator: float
    requests: int = 0


@dataclass
class Bench:
    """A folder, a cluster and a checkout of the collection that is measured on it."""

    folder: Path
    cluster: Cluster
    tree: Path = layout.TREE
    opened: ExitStack = field(default_factory=ExitStack)

    def namespace(self, story: str) -> str:
        """A new namespace in which nothing of the server's own is still to come."""
        name = new_namespace_name(story)
        self.opened.enter_context(namespaces(self.cluster, name))
        deadline = time.monotonic() + 30
        while not self.cluster.emulator and time.monotonic() < deadline:
            # Each namespace gets this ConfigMap from the server.
            if self.cluster.find("ConfigMap", name, "kube-root-ca.crt"):
                break
            time.sleep(0.2)
        return name

    def inventory(self, name: str, hosts: Mapping[str, Json], shared: Json) -> Path:
        """An inventory file."""
        path = self.folder / f"{name}.yml"
        group = {"hosts": dict(hosts), "vars": {**shared, "ansible_python_interpreter": sys.executable}}
        path.write_text(yaml.safe_dump({"celery_fleets": group}, sort_keys=False), encoding="utf-8")
        return path

    def running(self, variants: int) -> Path:
        """An inventory whose fleet runs already: put there where that can be done, because sending takes longer."""
        mine = self.namespace("bench")
        inventory = self.inventory(f"running-{variants}", {"bench": {**variables(variants), _NAMESPACE: mine}}, {})
        emulator = self.cluster.emulator
        if emulator is None:
            self.deploy(inventory)
            return inventory
        emulator.install_keda()
        made = manifests(variants, mine)
        for manifest in made:
            record = {LAST_APPLIED: json.dumps(manifest, sort_keys=True, separators=(",", ":"))}
            notes = {**(manifest["metadata"].get("annotations") or {}), **record}
            emulator.add({**manifest, "metadata": {**manifest["metadata"], "annotations": notes}})
        for manifest in made:
            if manifest["kind"] == "Deployment":
                emulator.make_available(mine, manifest["metadata"]["name"])
        emulator.start_keda()
        return inventory

    def deploy(self, inventory: Path, playbook: str = DEPLOY, **environment: str) -> Measured:
        """Run the role over an inventory."""
        return self._timed(["ansible-playbook", f"--inventory={inventory}", playbook], environment)

    def counted(self, inventory: Path, playbook: str = DEPLOY) -> Counts:
        """Run it again with an eye on what it does. That takes longer, so it is never timed."""
        counter = RunCounter(self.folder / "counted")
        self.deploy(inventory, playbook, **counter.environment({}))
        return counter.counts()

    def kubectl(self, path: Path) -> Measured:
        """What `kubectl apply --server-side` takes for a file."""
        options = ["apply", "--server-side", "--force-conflicts", f"--filename={path}"]
        # The emulator has no description of its fields to check against.
        options += ["--validate=false"] if self.cluster.emulator else []
        return self._timed(["kubectl", f"--kubeconfig={self.cluster.kubeconfig}", *options], {})

    def _timed(self, command: list[str], environment: Mapping[str, str]) -> Measured:
        emulator = self.cluster.emulator
        env = layout.environment(
            layout.ROOT / ".venv-test",
            ANSIBLE_COLLECTIONS_PATH=str(self.tree),
            ANSIBLE_HOME=str(self.folder / "home"),
            HOME=str(self.folder),
            K8S_AUTH_KUBECONFIG=str(self.cluster.kubeconfig),
            TMPDIR=str(self.folder),
            **environment,
        )
        requests = len(emulator.requests) if emulator else 0
        before, own, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time(), time.perf_counter()
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        seconds, own = time.perf_counter() - start, time.process_time() - own
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"$ {' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Measured(seconds, processor, own, len(emulator.requests) - requests if emulator else 0)


@contextmanager
def bench(folder: Path, kubeconfig: str = "", tree: Path = layout.TREE, paced: bool = False) -> Iterator[Bench]:
    """A bench on the cluster of a kubeconfig, or else on an emulator.

    :param paced: whether the emulator takes its time as a recorded server did.
    """
    with ExitStack() as opened:
        if kubeconfig:
            cluster = Cluster(Path(kubeconfig).resolve(), None)
        else:
            # kubectl sends no token without TLS.
            pace = RECORDED_PACE if paced else None
            emulator = opened.enter_context(Emulator(token=None, accepts_apply=True, pace=pace))
            cluster = Cluster(emulator.write_kubeconfig(folder / "kubeconfig"), emulator)
        # Namespaces go before the emulator does.
        yield Bench(folder, cluster, tree, opened.enter_context(ExitStack()))


def has_kubectl() -> bool:
    """Whether there is something to compare with."""
    return any(os.access(Path(part) / "kubectl", os.X_OK) for part in layout.plain_path())
