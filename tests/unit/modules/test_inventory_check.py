# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as ansible-playbook sees them: limits, patterns, and variables that only a play has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

MODULE = "inventory_check"

SHARED = {
    "celery_workers_broker": {"host": "redis"},
    "celery_workers_services": {"shop": {"image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": None}},
}


def play(folder: Path, inventory: dict[str, Any], task: dict[str, Any], *options: str, **keywords: Any) -> Any:
    """Run one play with one task of the module, and return its exit code and what it printed."""
    (folder / "hosts.yml").write_text(yaml.safe_dump({"celery_fleets": {"hosts": inventory, "vars": SHARED}}))
    written = {"hosts": "celery_fleets", "connection": "local", "gather_facts": False, **keywords}
    written["tasks"] = [{f"queueops.celery.{MODULE}": task}]
    (folder / "play.yml").write_text(yaml.safe_dump([written]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "play.yml", *options]
    environment = {**os.environ, "ANSIBLE_HOME": str(folder / "home"), "HOME": str(folder), "COLUMNS": "10000"}
    for name in ("KUBECONFIG", "K8S_AUTH_KUBECONFIG", "K8S_AUTH_CONTEXT"):
        environment.pop(name, None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


TWINS = {"north": {"celery_workers_namespace": "shop"}, "south": {"celery_workers_namespace": "shop"}}


@pytest.mark.parametrize("keywords", [{}, {"serial": 1}, {"strategy": "free"}], ids=json.dumps)
def test_a_twin_outside_of_the_limit_is_found(tmp_path: Path, keywords: dict[str, Any]) -> None:
    done = play(tmp_path, TWINS, {}, "--limit=south", **keywords)
    assert done.returncode == 2
    assert "north and south describe one fleet" in done.stdout + done.stderr


def test_a_namespace_that_only_the_play_names_counts(tmp_path: Path) -> None:
    hosts = {"north": {"site": "x"}, "south": {"site": "x"}, "west": {"site": "y"}}
    shared = {"vars": {"celery_workers_namespace": "learn-{{ site }}"}}
    done = play(tmp_path, hosts, {}, "--limit=south,west", **shared)
    assert "north and south describe one fleet: namespace learn-x" in done.stdout + done.stderr
    assert "west                       : ok=1" in done.stdout


def test_hosts_that_another_play_is_for_do_not_count(tmp_path: Path) -> None:
    assert play(tmp_path, TWINS, {}, hosts="south").returncode == 0


def test_a_host_that_cannot_be_templated_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    hosts = {"north": {"celery_workers_namespace": "{{ nowhere }}"}, "south": {"celery_workers_namespace": "shop"}}
    assert play(tmp_path, hosts, {}, "--limit=south").returncode == 0
