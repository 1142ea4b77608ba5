# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs start and ask for. Counted, never timed: `make bench` has the seconds."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import send

from tests.checks import layout
from tests.support.run_counter import Counts, RunCounter

from .cluster import Cluster, namespaces, new_namespace_name
from .playbook import VENV_TEST, Player, write_inventory

Json = dict[str, Any]

CANARY = "canary-Tr0ub4dor"
#: The controller's Python, and the same one under another name: with it modules run as they do on another machine.
HERE, THERE = "{{ ansible_playbook_python }}", str(VENV_TEST / "bin" / "python3")
SPECS = ("worker_specs", "keda_specs", "fleet_specs")
GOOD: Json = {
    "namespace": "shop",
    "services": {"shop": {"image": "shop:1", "queue_name": "{variant}"}},
    "config": {"shop": {"default": {"enable_keda": True}, "high": {"replicas": 2}}},
    "broker": {"host": "redis"},
}
#: Refused by the model, by the argument spec, for a key that there is not, and for one that is missing.
BAD: list[Json] = [
    {**GOOD, "config": {"shop": {"default": {"replicas": -1}}}},
    {**GOOD, "output": "nowhere"},
    {**GOOD, "namespac": "shop"},
    {},
]


def run(folder: Path, *command: str, calls: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook, counted. Not from a process that is warm already, which is counted no more."""
    env = layout.environment(VENV_TEST, HOME=str(folder), ANSIBLE_HOME=str(folder / "home"), **environment)
    env |= RunCounter(folder / "counted", calls).environment({})
    return subprocess.run(
        ["ansible-playbook", *command], env=env, capture_output=True, text=True, check=False, cwd=folder
    )


def plays(folder: Path, interpreters: Mapping[str, str], tasks: Callable[[str], list[Json]]) -> Path:
    """A playbook that runs tasks on localhost, once with each interpreter."""
    content = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": interpreter},
            "tasks": tasks(name),
        }
        for name, interpreter in interpreters.items()
    ]
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def asking(folder: Path, title: str) -> list[Json]:
    """Tasks that give modules what is right and what is wrong, and write what they return into a file."""
    calls = [(name, GOOD, False) for name in SPECS]
    calls += [("worker_specs", GOOD, True), *(("worker_specs", bad, False) for bad in BAD)]
    tasks: list[Json] = [
        {
            "name": title,
            f"queueops.celery.{name}": given,
            "register": f"said{number}",
            "ignore_errors": True,
            "check_mode": checks,
        }
        for number, (name, given, checks) in enumerate(calls)
    ]
    names = ", ".join(str(task["register"]) for task in tasks)
    content = f"{{{{ [{names}] | to_json }}}}"
    return [*tasks, {"ansible.builtin.copy": {"content": content, "dest": str(folder / f"{title}.json")}}]


def test_modules_that_only_compute_take_no_process_and_say_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, str(plays(tmp_path, {"here": HERE, "there": THERE}, partial(asking, tmp_path))))
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = (json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in ("here", "there"))
    programs = RunCounter(tmp_path / "counted").counts().programs
    helpers = ("rm -f", "chmod")
    started = [one for one in programs if "_specs" in one and not any(word in one for word in helpers)]
    assert [one for one in started if f"{THERE} " not in one] == []
    assert len(started) >= len(there)
    assert [answer["failed"] for answer in here] == [False] * (len(SPECS) + 1) + [True] * len(BAD)
    assert here == there


def test_a_secret_that_they_refuse_is_not_printed(tmp_path: Path) -> None:
    given = {**GOOD, "broker": {"host": "redis", "password": CANARY}}
    tasks = [{f"queueops.celery.{name}": given, "ignore_errors": True} for name in ("worker_specs", "fleet_specs")]
    done = Player(tmp_path).play(str(plays(tmp_path, {"here": HERE}, lambda _name: tasks)), tmp_path, "-vvvv")
    assert done.stdout.count("must not reach a module") >= len(tasks)
    assert CANARY not in done.stdout + done.stderr


def test_an_unchanged_run_starts_no_program_and_asks_as_often_for_any_size(cluster: Cluster, folder: Path) -> None:
    names = {queues: new_namespace_name(f"costs-{queues}") for queues in (1, 6)}
    hosts: dict[str, Json] = {
        f"size{queues}": {
            "celery_workers_namespace": name,
            "celery_workers_config": {
                "shop": {f"queue{number}": {"enable_keda": True, "min_replicas": 1} for number in range(queues)}
            },
        }
        for queues, name in names.items()
    }
    shared = {
        "celery_workers_services": GOOD["services"],
        "celery_workers_broker": {"host": "redis"},
        "celery_workers_wait": False,
        "ansible_python_interpreter": HERE,
    }
    inventory = write_inventory(folder, hosts, shared)
    with namespaces(cluster, *names.values()):
        start = len(cluster.emulator.requests) if cluster.emulator else 0
        sending = deploy(cluster, folder, inventory, changes=len(hosts))
        made = [request for request in _since(cluster, start) if request.is_write]
        looked = [request for request in _since(cluster, start) if "/shop-worker" in request.path]
        before = len(cluster.emulator.requests) if cluster.emulator else 0
        counts = deploy(cluster, folder, inventory, changes=0)
        paths = [request.path for request in _since(cluster, before)]
    # What is known to be missing is created: nothing looks for it once more.
    assert {request.method for request in made} <= {"POST"}
    assert looked == []
    assert not [command for run in (sending, counts) for command in run.programs if "ansible-tmp" in command]
    assert counts.parses == len(hosts)
    # Each file is compiled by the first run, and once. Plugins that Ansible loads by itself are few and small.
    first, second = ([name for name in run.compiled if "/plugins/module_utils/" in name] for run in (sending, counts))
    assert len(first) == len(set(first)) > 100
    assert second == []
    # On a real cluster nobody logs requests.
    small, large = ([path.replace(name, "") for path in paths if name in path] for name in names.values())
    assert small == large
    others = Counter(path for path in paths if not any(name in path for name in names.values()))
    assert max(others.values(), default=0) <= len(hosts), "what is of no namespace is asked for once a host"


@pytest.mark.parametrize("applies", [True, False])
def test_an_object_that_has_come_meanwhile_is_changed_into_what_was_to_be_created(
    cluster: Cluster, applies: bool
) -> None:
    name = new_namespace_name("meanwhile")
    with namespaces(cluster, name):
        found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "routes", "namespace": name}}
        cluster.create({**found, "data": {"theirs": "1"}})
        wanted = {**found, "data": {"ours": "2"}}
        arguments = {"definition": [wanted], "apply": applies, "kubeconfig": str(cluster.kubeconfig)}
        arguments |= {"hidden_fields": ["metadata.managedFields"], "merge_type": ["merge"]}
        result = send(arguments, is_check=False, new={"ConfigMap routes"})
        assert [item["changed"] for item in result["result"]["results"]] == [True]
        assert cluster.get("ConfigMap", name, "routes")["data"] == {"theirs": "1", "ours": "2"}
        assert not result.get("warnings")


def deploy(cluster: Cluster, folder: Path, inventory: Path, changes: int) -> Counts:
    """:param changes: hosts that are changed; the calls of a run without any are counted."""
    command = ("-i", str(inventory), "queueops.celery.deploy")
    done = run(folder, *command, calls=not changes, K8S_AUTH_KUBECONFIG=str(cluster.kubeconfig))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.partition("PLAY RECAP")[2].count("changed=1 ") == changes
    return RunCounter(folder / "counted").counts()


def _since(cluster: Cluster, before: int) -> list[Any]:
    return cluster.emulator.requests[before:] if cluster.emulator else []
