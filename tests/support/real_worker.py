# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Celery workers, each started from the exact command, arguments, environment and files of its Deployment.

What Kubernetes does around them is done here: Secrets become environment variables, volumes become folders, probes run
beside the worker, and a pod that is told to stop gets a signal.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ansible_collections.queueops.celery.plugins.module_utils._build.idle_first import idle_first_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX, Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from celery import Celery

from tests.support.real_redis import RedisServer
from tests.support.secret_manifests import secret_manifests
from tests.support.waiting import PATIENCE, wait_until
from tests.support.warm_celery import WarmProcess, warm_process, warm_programs

Manifest = dict[str, Any]

#: The tasks of most tests. Each run writes a line when it starts and a line when it is done. One takes a while, the
#: other as long as the test wants.
TASKS = """
import os
import time


def note(word, number):
    with open("events", "a") as stream:
        stream.write(f"{word} {number}\\n")


@app.task
def nap(seconds, number):
    note("start", number)
    time.sleep(seconds)
    note("done", number)


@app.task
def held(number):
    note("start", number)
    while not (os.path.exists("let-go") or os.path.exists(f"let-go-{number}")):
        time.sleep(0.05)
    note("done", number)
"""

APP = f"""
from celery import Celery

app = Celery("shop")
{TASKS}
"""

#: Where each container has a file of its own, and a test gives each pod one.
_BEAT_FILE = "/tmp/celery-heartbeat"
#: Where a program reads the token of its pod.
TOKENS = "/var/run/secrets/celery-launcher"


@dataclass(frozen=True)
class Manifests:
    """What the collection makes of an inventory.

    :param secrets: the Secrets of the namespace, name to key to value: those that the role makes, and existing ones.
    """

    fleet: Fleet
    resources: tuple[Manifest, ...]
    secrets: dict[str, dict[str, str]]

    def variant(self, name: str = "") -> Variant:
        """One variant; the first without a name."""
        return next(variant for variant in self.fleet.variants if name in ("", variant.name))

    def find(self, kind: str, name: str) -> Manifest:
        return next(item for item in self.resources if item["kind"] == kind and item["metadata"]["name"] == name)


def manifests_for(
    variables: Mapping[str, Any], secrets: Mapping[str, dict[str, str]] | None = None, enabled: tuple[str, ...] = ()
) -> Manifests:
    """The manifests of an inventory.

    :param variables: as a user writes them, with secret values, and without the prefix C(celery_workers_).
    :param secrets: Secrets that exist already.
    :param enabled: parts beside the workers that are wanted.
    """
    layers = [{"name": PREFIX + name, "value": value} for name, value in variables.items()]
    own = {
        item["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
        for item in secret_manifests(layers, "shop", enabled=enabled)
    }
    seen = tuple(Layer(item["name"], item["value"]) for item in redacted_layers(layers))
    fleet = parse_fleet(Inventory("shop", layers=seen, enabled=enabled))
    builders = (idle_first_resources, worker_resources, scaler_resources, watching_resources)
    resources = tuple(item for build in builders for item in build(fleet))
    return Manifests(fleet, resources, {**(secrets or {}), **own})


def shop(
    broker: Mapping[str, Any],
    variants: Mapping[str, Any] | None = None,
    secrets: Mapping[str, dict[str, str]] | None = None,
    **service: Any,
) -> Manifests:
    """A fleet of one service C(shop), whose scaler sees in-flight work.

    :param variants: keys of each variant, one C(default) without keys if not given.
    :param service: keys of the service.
    """
    variables = {
        "broker": dict(broker),
        "services": {"shop": {"app": "shop:app", "image": "shop:1", "idempotent": True, "enable_keda": True} | service},
        "config": {"shop": {"default": {}} if variants is None else dict(variants)},
    }
    return manifests_for(variables, secrets)


def broker_of(server: RedisServer, database: int = 0) -> dict[str, Any]:
    """The broker as a user describes it."""
    return {"host": "127.0.0.1", "port": server.port, "password": server.password, "database": database}


@dataclass
class Worker:
    """A pod without Kubernetes.

    :param folder: log and other files of the pod's own.
    :param app_folder: the folder in which the container starts.
    :param mounts: path in the container to folder here.
    """

    container: Manifest
    grace: int
    folder: Path
    app_folder: Path
    environment: dict[str, str]
    mounts: dict[str, Path]
    process: subprocess.Popen[bytes] | WarmProcess
    host: str = field(default_factory=socket.gethostname)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether it says that it consumes. A probe says the same, and takes seconds."""
        return f"@{self.host} ready." in self.log

    def probe(self, kind: str = "startupProbe", seconds: float = PATIENCE) -> int:
        """What the probe of the manifest says, run as the kubelet does: 0 is well.

        :param seconds: after which it has failed. Those of the manifest are for a machine that is not as busy.
        """
        command = [here(word, self.mounts) for word in self.container[kind]["exec"]["command"]]
        try:
            return subprocess.run(
                command, env=self.environment, cwd="/", capture_output=True, check=False, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            return 1

    def wait_until_ready(self) -> Self:
        """Wait until it consumes."""
        wait_until(lambda: self.is_ready or not self.is_running, lambda: self.log)
        assert self.is_ready, self.log
        return self

    def wait_until_probed(self) -> Self:
        """Wait until the startup probe passes, as Kubernetes does."""
        # A probe that asks too early waits for its own timeout.
        self.wait_until_ready()
        wait_until(lambda: self.probe() == 0 or not self.is_running, lambda: self.log)
        assert self.is_running, self.log
        return self

    def run(self, command: list[str], seconds: float = PATIENCE) -> str:
        """What a command prints that is run in the container, as C(kubectl exec) does."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.app_folder, capture_output=True, check=True, text=True,
            timeout=seconds,
        )  # fmt: skip
        return done.stdout

    def tell_to_stop(self) -> None:
        """The first half of the end of a pod."""
        self.process.send_signal(signal.SIGTERM)

    def wait_until_stopped(self) -> int:
        """The second half: its exit code, provided that it ended within its grace period.

        A busy machine may take longer than the shortest of them.
        """
        seconds = max(self.grace, 60)
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds} s: {self.log}") from None

    def stop(self) -> int:
        """The end of a pod."""
        self.tell_to_stop()
        return self.wait_until_stopped()

    def kill(self) -> None:
        """The end of its node: nothing of the pod runs any more."""
        if self.is_running:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)


class Pods:
    """Starts pods of one fleet on this machine, and kills what is left of them in the end.

    :param app: the module C(shop) of the image.
    :param environment: folder of the virtual environment that is in the image; by default the one that tests run in.
    :param is_cold: whether they are started as a container starts them, which costs a second of imports each time.
    """

    def __init__(
        self,
        folder: Path,
        manifests: Manifests,
        app: str = APP,
        environment: Path | None = None,
        is_cold: bool = False,
    ) -> None:
        self.manifests = manifests
        self.workers: list[Worker] = []
        self.app_folder = folder / "app"
        self._folder = folder
        self._image = environment or Path(sys.prefix)
        self._is_cold = is_cold
        self._sender: Any = None
        #: What Kubernetes itself brings into a pod: environment, and files of projected volumes.
        self.outer: dict[str, str] = {}
        self.projected: dict[str, str] = {}
        self.app_folder.mkdir(parents=True)
        (self.app_folder / "shop.py").write_text(app, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.kill()

    def kill(self) -> None:
        """The end of all of them, as Worker.kill does it."""
        if self._sender is not None:
            self._sender.close()
        for worker in self.workers:
            worker.kill()

    def start(self, variant: str = "", pod: str = "") -> Worker:
        """Start what the Deployment or ScaledJob of a variant says, and nothing else.

        :param pod: name of the pod, which is the host name of its containers; this machine's if not given.
        """
        spec = self._pod(variant)
        container = spec["containers"][0]
        folder = self._folder / f"pod-{len(self.workers)}"
        mounts = self._mount(spec, folder)
        environment = self._environment(container, mounts)
        host = pod or socket.gethostname()
        words = [*container.get("command", []), *(word.replace("@%h", f"@{host}") for word in container["args"])]
        with (folder / "log").open("wb") as log:
            image = None if self._is_cold else self._image
            process = warm_process([here(word, mounts) for word in words], image, self.app_folder, environment, log)
        # For what is run beside it.
        environment = environment | {"PATH": self._path(beside=True)}
        grace = spec["terminationGracePeriodSeconds"]
        self.workers.append(Worker(container, grace, folder, self.app_folder, environment, mounts, process, host))
        return self.workers[-1]

    def send(self, *arguments: object, task: str = "shop.nap", variant: str = "", **options: Any) -> None:
        """Send a task into the queue of a variant."""
        queue = self.manifests.variant(variant).queues[0]
        self.sender().send_task(task, arguments, queue=queue, **options)

    def sender(self, **settings: Any) -> Any:
        """A Celery app without tasks, on the broker that the workers' environment names.

        :param settings: of Celery, the first time only.
        """
        if self._sender is None:
            self._sender = Celery("sender", broker=self.environment()["CELERY_BROKER_URL"], set_as_current=False)
            self._sender.conf.update(settings)
        return self._sender

    def environment(self, variant: str = "") -> dict[str, str]:
        """The environment of a pod, for what else runs beside the workers."""
        spec = self._pod(variant)
        return self._environment(spec["containers"][0], self._mount(spec, self._folder / "beside"))

    def run_python(self, code: str) -> str:
        """What a piece of Python prints that runs where the workers run."""
        done = subprocess.run(
            ["python", "-c", code], env=self.environment() | {"PATH": self._path(beside=True)}, cwd=self.app_folder,
            capture_output=True, check=False, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def let_go(self, *numbers: object) -> None:
        """Let tasks end that are held: those with these numbers, or all of them, also those that come."""
        for name in [f"let-go-{number}" for number in numbers] or ["let-go"]:
            (self.app_folder / name).touch()

    def events(self, word: str) -> list[str]:
        """Numbers of the tasks that wrote this word, in the order of writing."""
        file = self.app_folder / "events"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == word]

    def logs(self) -> str:
        return "\n".join(worker.log for worker in self.workers)

    def _pod(self, variant: str) -> Manifest:
        found = self.manifests.variant(variant)
        worker = self.manifests.find("ScaledJob" if found.runs_as_jobs else "Deployment", found.deployment)["spec"]
        template = worker["jobTargetRef"]["template"] if found.runs_as_jobs else worker["template"]
        spec: Manifest = template["spec"]
        return spec

    def _environment(self, container: Manifest, mounts: dict[str, Path]) -> dict[str, str]:
        """Nothing of this machine's own environment."""
        outer = {
            "HOME": str(self._folder),
            "HOSTNAME": socket.gethostname(),
            "LANG": "C.UTF-8",
            "PATH": self._path(),
        }
        outer |= self.outer
        return outer | {entry["name"]: here(self._value(entry), mounts) for entry in container.get("env", [])}

    def _path(self, beside: bool = False) -> str:
        programs = warm_programs(self._image) if beside and not self._is_cold else self._image / "bin"
        return f"{programs}:/usr/bin:/bin"

    def _value(self, entry: Manifest) -> str:
        if "value" in entry:
            return str(entry["value"])
        if "fieldRef" in entry["valueFrom"]:
            # The annotation of a pod that is new.
            return ""
        reference = entry["valueFrom"]["secretKeyRef"]
        return self.manifests.secrets[reference["name"]][reference["key"]]

    def _mount(self, spec: Manifest, folder: Path) -> dict[str, Path]:
        """Fill a folder for each volume that the worker mounts."""
        folder.mkdir(exist_ok=True)
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        own = spec["containers"][0].get("volumeMounts", [])
        mounts = {mount["mountPath"]: folder / mount["name"] for mount in own}
        for mount in own:
            place = mounts[mount["mountPath"]]
            place.mkdir(exist_ok=True)
            for name, content in self._files(volumes[mount["name"]]).items():
                text = content.replace(_BEAT_FILE, f"{folder}/beat").replace(TOKENS, str(mounts.get(TOKENS, TOKENS)))
                (place / name).write_text(text, encoding="utf-8")
        return mounts

    def _files(self, volume: Manifest) -> dict[str, str]:
        if "configMap" in volume:
            data: dict[str, str] = self.manifests.find("ConfigMap", volume["configMap"]["name"])["data"]
            return data
        if any("serviceAccountToken" in source for source in volume["projected"]["sources"]):
            return self.projected
        return {
            item["path"]: self.manifests.secrets[source["secret"]["name"]][item["key"]]
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }


def let_the_timeout_pass(server: RedisServer, manifests: Manifests, variant: str = "") -> None:
    """Make what a variant holds look as if it had been delivered long ago."""
    unacked = manifests.variant(variant).unacked
    assert unacked is not None
    client: Any = server.client()
    index = unacked.hash.replace("unacked:", "unacked_index:")
    tags = client.zrange(index, 0, -1)
    assert tags
    client.zadd(index, dict.fromkeys(tags, 1.0))


def here(word: str, mounts: Mapping[str, Path]) -> str:
    """A word of the container's with its mounted files where they are on this machine."""
    if not mounts:
        return word
    # In one go, because a folder here may contain the path of another mount.
    paths = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
    return re.sub(rf"({paths})/", lambda match: f"{mounts[match[1]]}/", word)
