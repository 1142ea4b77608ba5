# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites of real Tutor releases: their environments, what they render, and the cluster after `tutor k8s start`.

In a test:

    root = render("22.0.3", tmp_path / "site", settings={"K8S_NAMESPACE": namespace})
    apply(client, manifests(root))

A site is a folder. Rendering it again keeps its ID, its passwords and the settings that are not given anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ._kustomize import kustomized
from .environments import environment_with
from .kubectl_apply import apply
from .warm_tutor import warm_tutor

__all__ = ["VERSIONS", "apply", "manifests", "plugin_site", "render", "tutor_environment"]

Json = dict[str, Any]

#: What is installed for each release of Tutor: itself, and the plugins that a call may enable by name.
REQUIREMENTS = {
    "21.0.9": ("tutor==21.0.9", "tutor-contrib-celery==21.0.0", "tutor-contrib-pod-autoscaling==21.0.0"),
    "22.0.3": ("tutor==22.0.3", "tutor-contrib-celery==22.0.0", "tutor-contrib-pod-autoscaling==22.1.0"),
}
VERSIONS = tuple(REQUIREMENTS)

# The filter of tutor-contrib-celery can be filled from Python only.
_WORKERS = """\
from tutorcelery.hooks import CELERY_WORKERS_CONFIG

VARIANTS = {"lms": ("default", "high", "high_mem"), "cms": ("default", "high", "low")}


@CELERY_WORKERS_CONFIG.add()
def _workers(config):
    return {
        service: {variant: {**config.get(service, {}).get(variant, {}), "enable_keda": True} for variant in variants}
        for service, variants in VARIANTS.items()
    }
"""


def tutor_environment(version: str, *packages: str) -> Path:
    """The folder of an environment with that release, whose bin/ has tutor and python.

    Further packages make an environment of their own; each needs a version, as in `tutor-mfe==22.0.0`.
    """
    name = "-".join(["tutor", version, *(package.replace("==", "-") for package in sorted(packages))])
    return environment_with(name, [*REQUIREMENTS[version], *sorted(packages)])


def render(
    version: str,
    root: Path,
    plugins: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    plugin_files: Mapping[str, str] | None = None,
    packages: Sequence[str] = (),
) -> Path:
    """Render a site with the real tutor, and return its folder; below env/ is what kubectl would be given.

    `plugins` are names of installed plugins; `plugin_files` are texts by file name (`site.yml`, `workers.py`; without
    an extension it is Python). Together they are all that is enabled, also on a site that was rendered before.
    A setting that is a string is YAML, as on the command line: `"true"` and `True` are the same.
    New sites of a release have the same ID and passwords.
    """
    environment = tutor_environment(version, *packages)
    folder = root / "plugins"
    if not (root / "config.yml").exists():
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(_secrets(environment), root / "config.yml")
    enabled = [*plugins, *_write_plugins(folder, plugin_files or {})]
    _enable(root / "config.yml", enabled)
    options = [f"--set={name}={_as_text(value)}" for name, value in (settings or {}).items()]
    _run(environment, root, "config", "save", *options)
    return root


def manifests(root: Path) -> list[Json]:
    """The objects that `kubectl kustomize` prints for a rendered site."""
    return kustomized(root / "env")


def plugin_site(
    version: str,
    root: Path,
    settings: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    plugin_files: Mapping[str, str] | None = None,
) -> Path:
    """Render a site that runs every queue of Open edX in a Deployment of its own, through tutor-contrib-celery.

    It has the Deployments lms-worker-high, lms-worker-high-mem, cms-worker-high and cms-worker-low beside those of
    Tutor, and a ScaledObject for each of the six; those of the default queue are named `lms-worker-scaledobject` and
    `cms-worker-scaledobject`.
    """
    files = {"workers.py": _WORKERS, **(plugin_files or {})}
    return render(version, root, ("celery", *plugins), settings, files)


def _secrets(environment: Path) -> Path:
    """What Tutor makes up for a new site, made once: its RSA key alone takes seconds of processor time."""
    kept = environment / "secrets.yml"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="tutor-", dir=environment) as name:
            root = Path(name)
            _enable(root / "config.yml", [])
            _run(environment, root, "config", "save")
            (root / "config.yml").replace(kept)
    return kept


def _write_plugins(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Leave these plugin files and no others, and return their plugins' names."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = []
    for name, text in files.items():
        path = folder / name
        if not path.suffix:
            path = path.with_suffix(".py")
        if path.suffix not in (".py", ".yml"):
            raise ValueError(f"{name}: Tutor reads plugins from .py and .yml files only")
        path.write_text(text, encoding="utf-8")
        names.append(path.stem)
    return names


def _enable(config: Path, plugins: Sequence[str]) -> None:
    """Name the enabled plugins before Tutor looks: else it takes the default ones, which are not installed."""
    content: Json = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else {}
    config.write_text(yaml.safe_dump({**content, "PLUGINS": sorted(plugins)}), encoding="utf-8")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _run(environment: Path, root: Path, *arguments: str) -> None:
    dropped = ("TUTOR_", "PYTHONPATH", "PYTHONHOME")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    variables |= {"TUTOR_ROOT": str(root), "TUTOR_PLUGINS_ROOT": str(root / "plugins"), "NO_COLOR": "1"}
    command = [*warm_tutor(environment), *arguments]
    ran = subprocess.run(
        command, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, check=False
    )
    # A plugin that cannot be loaded is a warning to Tutor, and a site without it proves nothing.
    if ran.returncode or "Failed to" in ran.stderr:
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
