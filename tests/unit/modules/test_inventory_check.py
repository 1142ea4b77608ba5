# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as ansible-playbook sees them: limits, patterns, and variables that only a play has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.run_counter import RunCounter
from tests.support.warm_python import warm_command

MODULE = "inventory_check"

SHARED = {
    "celery_workers_broker": {"host": "redis"},
    "celery_workers_services": {"shop": {"image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": None}},
}


def play(
    folder: Path,
    inventory: dict[str, Any],
    task: dict[str, Any],
    *options: str,
    environment: Mapping[str, str] | None = None,
    **keywords: Any,
) -> Any:
    """Run one play with one task of the module, and return its exit code and what it printed."""
    (folder / "hosts.yml").write_text(yaml.safe_dump({"celery_fleets": {"hosts": inventory, "vars": SHARED}}))
    written = {"hosts": "celery_fleets", "connection": "local", "gather_facts": False, **keywords}
    written.setdefault("tasks", [{f"queueops.celery.{MODULE}": task}])
    (folder / "play.yml").write_text(yaml.safe_dump([written]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml", *options]
    # What is counted starts as a program of its own.
    command = command if environment else warm_command(command)
    environment = {**os.environ, **(environment or {}), "ANSIBLE_HOME": str(folder / "home"), "HOME": str(folder)}
    environment["COLUMNS"] = "10000"
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


#: The role in a play of somebody's own, where no play before it has looked.
ROLE = {
    "ansible.builtin.import_role": {"name": "queueops.celery.celery_workers"},
    "vars": {"celery_workers_output": "manifests"},
}


@pytest.mark.parametrize("keywords", [{}, {"tasks": [ROLE]}], ids=["the module", "the role"])
def test_many_hosts_are_not_looked_at_from_each_of_them(tmp_path: Path, keywords: dict[str, Any]) -> None:
    hosts = {f"host{number}": {"celery_workers_namespace": f"shop{number}"} for number in range(4)}
    counter = RunCounter(tmp_path / "counted")
    environment = {**counter.environment(os.environ), "ANSIBLE_FORKS": "1"}
    assert play(tmp_path, hosts, {}, environment=environment, **keywords).returncode == 0
    # Once for all, and each host for itself.
    assert counter.counts().places == 2 * len(hosts)


def test_a_host_is_where_its_own_task_sees_it(tmp_path: Path) -> None:
    hosts = {name: {"celery_workers_namespace": name} for name in ("north", "south")}
    moved = {"ansible.builtin.set_fact": {"celery_workers_namespace": "north"}, "when": "inventory_hostname == 'south'"}
    done = play(tmp_path, hosts, {}, pre_tasks=[moved])
    assert done.returncode == 2
    assert "north and south describe one fleet" in done.stdout + done.stderr


def test_hosts_that_another_play_is_for_do_not_count(tmp_path: Path) -> None:
    assert play(tmp_path, TWINS, {}, hosts="south").returncode == 0


def test_a_host_that_cannot_be_templated_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    hosts = {"north": {"celery_workers_namespace": "{{ nowhere }}"}, "south": {"celery_workers_namespace": "shop"}}
    assert play(tmp_path, hosts, {}, "--limit=south").returncode == 0
