# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What starts Celery in a container, and the features that it is started with."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery import launcher
from ansible_collections.queueops.celery.plugins.module_utils._celery.launcher import FEATURES_ENV, Feature
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import start

from tests.checks import layout
from tests.unit.inventories import fleet_of, manifests_of, of_kind

IMAGE = "billing:1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where features are, with the modules that they are imported as forgotten in the end."""
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == start.PACKAGE]:
        del sys.modules[name]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(FEATURES_ENV, value)
    start.install_features(str(folder))


def test_each_feature_is_installed_with_what_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "one.py").write_text("from . import notes\ndef install(settings): notes.told = settings\n")
    (folder / "notes.py").write_text("told = None\n")
    install(folder, monkeypatch, json.dumps({"one": {"seconds": 5}}))
    assert vars(sys.modules[f"{start.PACKAGE}.notes"])["told"] == {"seconds": 5}


def test_a_worker_without_features_installs_none(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start.install_features(str(folder))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def install(settings): raise ValueError('two\\nlines')\n", "ValueError: two lines"),
        ("import a_module_that_is_not_there\n", "ModuleNotFoundError: "),
        ("this is no Python\n", "SyntaxError: "),
        ("", "AttributeError: "),
    ],
)
def test_a_feature_that_fails_is_one_line_and_the_next_one_is_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    (folder / "broken.py").write_text(text)
    (folder / "good.py").write_text("def install(settings): open(settings['file'], 'w').close()\n")
    install(folder, monkeypatch, json.dumps({"broken": {}, "good": {"file": str(folder / "installed")}}))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("celery-launcher: broken is off, and the worker runs without it (")
    assert why in line
    assert (folder / "installed").exists()


@pytest.mark.parametrize("value", ["{", "[]", "7", '"text"'])
def test_what_is_no_list_of_features_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], value: str
) -> None:
    install(folder, monkeypatch, value)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_feature_hides_no_module_of_the_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop_settings.py").write_text("def install(settings): pass\n")
    install(folder, monkeypatch, '{"shop_settings": {}}')
    assert "shop_settings" not in sys.modules
    assert str(folder) not in sys.path


#: Prints what of Celery's worker is imported before gevent has put its own in Python's place.
_BEFORE_CELERY = """
import os, sys
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import start
start.follow_heartbeats()
start.enforce_settings()
start.remember_queues()
start.install_features(os.path.dirname(start.__file__))
print([name for name in sys.modules if name.startswith(("celery.worker", "kombu.asynchronous"))])
"""


def test_nothing_of_the_worker_is_imported_before_gevent_has_its_way() -> None:
    features = json.dumps({"consuming": {"seconds": 45}})
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE_CELERY],
        env={**os.environ, FEATURES_ENV: features, "PYTHONPATH": str(layout.TREE)},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    # A worker of gevent then waits for seconds between two messages.
    assert done.stdout == "[]\n"
    assert "celery-launcher" not in done.stderr


# What pods of a service get, with one feature that variants use whose loglevel is debug.


@pytest.fixture
def feature(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A feature, as a file beside the launcher."""
    (folder / "made_up.py").write_text("SECONDS = 1\n")
    package = ModuleType(start.PACKAGE)
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, start.PACKAGE, package)
    program = importlib.import_module(f"{start.PACKAGE}.made_up")

    def settings_of(variant: Any, _broker: Any) -> dict[str, Any] | None:
        return {"name": variant.name} if variant.process.loglevel == "debug" else None

    monkeypatch.setattr(launcher, "FEATURES", (Feature(program, settings_of),))
    return program


def billing(**variants: Any) -> list[dict[str, Any]]:
    variables = {"services": {"billing": {"image": IMAGE}}, "config": {"billing": variants}, "broker": {"host": "r"}}
    return manifests_of(fleet_of(**variables))


def pod_of(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (item for item in of_kind(manifests, "Deployment") if item["metadata"]["name"] == name)
    return dict(found["spec"]["template"])


HEARTBEAT, USES = {"probe": "heartbeat"}, {"loglevel": "debug"}


@pytest.mark.usefixtures("feature")
def test_a_variant_with_a_feature_is_launched_with_it_and_its_settings() -> None:
    manifests = billing(default=USES)
    container = pod_of(manifests, "billing-worker")["spec"]["containers"][0]
    assert container["command"] == ["python", launcher.LAUNCHER]
    assert {"name": FEATURES_ENV, "value": '{"made_up":{"name":"default"}}'} in container["env"]
    (config_map,) = of_kind(manifests, "ConfigMap")
    assert set(config_map["data"]) == {"start.py", "check.py", "watching.py", "made_up.py"}


@pytest.mark.usefixtures("feature")
@pytest.mark.parametrize("keys", [{}, HEARTBEAT])
def test_a_pod_without_a_feature_is_the_same_whatever_others_of_its_service_use(keys: dict[str, Any]) -> None:
    alone = pod_of(billing(default=keys), "billing-worker")
    assert pod_of(billing(default=keys, high=USES), "billing-worker") == alone


@pytest.mark.usefixtures("feature")
def test_files_of_features_are_there_only_where_a_variant_uses_one() -> None:
    (config_map,) = of_kind(billing(default=HEARTBEAT, high={}), "ConfigMap")
    assert set(config_map["data"]) == {"start.py", "check.py"}


def test_pods_roll_with_the_files_of_their_own_features(feature: ModuleType) -> None:
    def annotations() -> list[Any]:
        manifests = billing(default=HEARTBEAT, high=USES)
        return [pod_of(manifests, f"billing-worker{end}")["metadata"]["annotations"] for end in ("", "-high")]

    before = annotations()
    Path(str(feature.__file__)).write_text("SECONDS = 20\n")
    after = annotations()
    assert after[0] == before[0]
    assert after[1] != before[1]
