# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Flower, started from the exact arguments, environment and files of its Deployment.

As in its pod, nothing but its volumes can be written to. Only the port is another one, because all share one machine.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.free_ports import free_ports
from tests.support.real_worker import Manifest, Manifests, here
from tests.support.waiting import wait_until

_DEPENDENT = re.compile(r"\$\(([A-Za-z_]\w*)\)")


@dataclass(frozen=True)
class Answer:
    """What a request got."""

    status: int
    body: str

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class RealFlower:
    """A Flower that runs."""

    manifest: Manifest
    environment: dict[str, str]
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def container(self) -> Manifest:
        container: Manifest = self.manifest["spec"]["template"]["spec"]["containers"][0]
        return container

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def login(self) -> str:
        """User name and password, as its environment has them."""
        return self.environment["FLOWER_BASIC_AUTH"]

    def get(self, path: str, login: str | None = None) -> Answer:
        """What a path gives.

        :param login: user name and password; none if not given.
        """
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if login is not None:
            request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(errors="replace"))

    def probe(self, kind: str) -> int:
        """Status of the path of a probe."""
        return self.get(self.container[kind]["httpGet"]["path"]).status

    def is_up(self) -> bool:
        try:
            return self.probe("startupProbe") == 200
        except OSError:
            return False

    def stop(self) -> None:
        """The end of its pod."""
        self.process.terminate()
        try:
            self.process.wait(timeout=self.manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])
        finally:
            self.process.kill()


@contextmanager
def real_flower(manifests: Manifests, folder: Path, name: str = "flower") -> Iterator[RealFlower]:
    """Start it, wait until its startup probe passes, and stop it.

    :param folder: what its volumes hold is kept there, so a second start finds it.
    """
    require_unshare()
    manifest = manifests.find("Deployment", name)
    spec = manifest["spec"]["template"]["spec"]
    container = spec["containers"][0]
    mounts = _mounts(manifests, spec, folder)
    [port] = free_ports(1)
    environment = _environment(manifests, container, mounts) | {"FLOWER_PORT": str(port)}
    program = Path(sys.executable).parent
    outer = {"HOME": str(mounts["/tmp"]), "LANG": "C.UTF-8", "PATH": f"{program}:/usr/bin:/bin"}
    command = _read_only([here(word, mounts) for word in container["args"]], list(mounts.values()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=mounts["/data"],
            env=outer | environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    flower = RealFlower(manifest, environment, port, folder, process)
    try:
        wait_until(lambda: flower.is_up() or process.poll() is not None, lambda: flower.log)
        assert process.poll() is None, flower.log
        yield flower
    finally:
        flower.stop()


def require_unshare() -> None:
    """Skip where a process cannot get a file system view of its own; a pipeline must have it."""
    works = (
        shutil.which("unshare") is not None
        and subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )
    if not works:
        if os.environ.get("CI"):
            pytest.fail("unshare does not work here")
        pytest.skip("unshare --mount does not work here, so the read-only root file system cannot be tried")


_UNSHARE = ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "--mount"]


def _read_only(words: list[str], writable: list[Path]) -> list[str]:
    """A command that can write to some folders and to nothing else."""
    binds = "; ".join(f'mount --bind "{folder}" "{folder}"' for folder in writable)
    return [*_UNSHARE, "sh", "-ec", f'{binds}; mount -o remount,bind,ro /; cd "$PWD"; exec "$@"', "sh", *words]


def _mounts(manifests: Manifests, spec: Manifest, folder: Path) -> dict[str, Path]:
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    found = {}
    for mount in spec["containers"][0].get("volumeMounts", []):
        place = found[mount["mountPath"]] = folder / mount["name"]
        place.mkdir(parents=True, exist_ok=True)
    for mount in spec["containers"][0].get("volumeMounts", []):
        for name, content in _files(manifests, volumes[mount["name"]]).items():
            (found[mount["mountPath"]] / name).write_text(here(content, found), encoding="utf-8")
    return found


def _files(manifests: Manifests, volume: Manifest) -> dict[str, str]:
    if "configMap" in volume:
        data: dict[str, str] = manifests.find("ConfigMap", volume["configMap"]["name"])["data"]
        return data
    return {
        item["path"]: manifests.secrets[source["secret"]["name"]][item["key"]]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }


def _environment(manifests: Manifests, container: Manifest, mounts: dict[str, Path]) -> dict[str, str]:
    """Environment as the kubelet makes it: Secrets, and values that name what stands before them."""
    found: dict[str, str] = {}
    for entry in container["env"]:
        if "value" in entry:
            value = _DEPENDENT.sub(lambda match: found.get(match[1], match[0]), entry["value"])
        else:
            reference = entry["valueFrom"]["secretKeyRef"]
            secret = manifests.secrets.get(reference["name"], {})
            if reference["key"] not in secret and reference.get("optional"):
                continue
            value = secret[reference["key"]]
        found[entry["name"]] = value
    return {name: str(mounts[value]) if value in mounts else here(value, mounts) for name, value in found.items()}
