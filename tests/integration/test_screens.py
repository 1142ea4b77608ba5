# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run prints with Ansible's own callback and configuration: one host in full, many hosts as one table."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checks import screens
from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, extra_vars, write_inventory

SHARED: Json = {
    "celery_workers_broker": {"host": "redis"},
    "celery_workers_services": {"shop": {"image": "registry.example/shop:1", "longest_task_seconds": 60}},
    "celery_workers_config": {"shop": {"default": {"enable_keda": True}, "high": {}}},
}
TABLE = re.compile(r"^host +variants +pods ", re.MULTILINE)
SECOND_TASK = "Say what was done"


def the_end(run: Run) -> str:
    """What comes after the last task's name and before the recap."""
    return run.stdout.rpartition(SECOND_TASK)[2].partition("PLAY RECAP")[0]


def json_lines(run: Run) -> list[str]:
    """Lines that show a result as JSON. The message of a host that fails is Ansible's own, and has no other way."""
    return [line for line in run.stdout.splitlines() if "=> {" in line and not line.startswith("fatal: ")]


@dataclass(frozen=True)
class Runs:
    dry: Run
    first: Run
    again: Run


class TestOneHost:
    """A run of one host, looked at, done and done again."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Runs:
        wait = bool(cluster.emulator)
        inventory = write_inventory(
            folder, {"north": {"celery_workers_namespace": namespace, "celery_workers_wait": wait}}, SHARED
        )
        explains = extra_vars({"celery_workers_explain": True})
        return Runs(
            player.deploy(inventory, "--check", "--diff", json_output=False),
            player.deploy(inventory, explains, json_output=False),
            player.deploy(inventory, json_output=False),
        )

    def test_a_dry_run_shows_the_table_after_the_diffs(self, runs: Runs) -> None:
        table = runs.dry.stdout.index("service  variant")
        assert runs.dry.stdout.rindex("+++ after: ") < table
        assert runs.dry.stdout.count("service  variant") == 1
        assert "would be created: 4" in the_end(runs.dry)

    def test_a_run_says_what_was_done_where_numbers_come_from_and_what_comes_next(self, runs: Runs) -> None:
        found = the_end(runs.first)
        for words in ("created: 4", "Deployment shop-worker, shop-worker-high", "next: "):
            assert words in found
        assert re.search(r"max_replicas +10 +default\n", found)
        assert re.search(r"termination_grace_period +90 +longest_task_seconds 60 ", found)
        assert re.search(r"longest_task_seconds +60 +celery_workers_services\.shop\.longest_task_seconds\n", found)
        again = the_end(runs.again)
        assert "nothing changed" in again
        assert "numbers come from" not in again

    def test_no_line_is_json_or_of_a_step_that_is_skipped(self, runs: Runs) -> None:
        for run in (runs.dry, runs.first, runs.again):
            assert run.code == 0
            assert "skipping" not in run.stdout
            assert json_lines(run) == []
            assert max(map(len, the_end(run).splitlines()[1:])) < 100  # columns of the screen


FAILS = {"celery_workers_config__90_x": {"shop": {"high": {"max_replica": 3}}}}


class TestManyHosts:
    """Hosts that succeed and hosts that fail, all of them in one table."""

    @pytest.fixture(scope="class")
    @classmethod
    def report(cls, folder: Path) -> Path:
        return folder / "report.json"

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, cluster: Cluster, player: Player, folder: Path, report: Path) -> Iterator[Run]:
        names = {host: new_namespace_name(host) for host in ("north", "south")}
        hosts: dict[str, Json] = {host: {"celery_workers_namespace": name} for host, name in names.items()}
        hosts["typo"] = {"celery_workers_namespace": "anywhere", **FAILS}
        hosts["nowhere"] = {"celery_workers_namespace": new_namespace_name("nowhere")}
        risky = {"celery_workers_services__50_risky": {"shop": {"longest_task_seconds": None}}}
        more = {"celery_workers_wait": False, "celery_workers_report_file": str(report)}
        with namespaces(cluster, *names.values()):
            yield player.deploy(write_inventory(folder, hosts, {**SHARED, **more, **risky}), json_output=False)

    def test_every_host_has_its_row_with_the_first_cause_of_a_failure(self, run: Run) -> None:
        assert run.code != 0
        found = the_end(run)
        assert len(TABLE.findall(run.stdout)) == 1
        rows = {line.split()[0]: line.split()[1:5] for line in found.splitlines()[2:6] if line[:1].strip()}
        assert rows["north"][:3] == ["2", "2-11", "4"]
        assert "celery_workers_config__90_x.shop.high.max_replica:" in found
        assert "does not exist. Create it" in " ".join(found.split())
        assert "4 hosts: 2 changed, 0 unchanged, 2 failed" in found
        assert "service  variant" not in run.stdout

    def test_a_warning_of_several_hosts_is_told_once_with_their_names(self, run: Run) -> None:
        assert run.warnings.count("that never ends") == 2, run.warnings  # of both, and of one that fails
        assert "[WARNING]: north, south: " in run.warnings

    def test_programs_get_the_same(self, run: Run, report: Path) -> None:
        assert run.code != 0
        hosts = {host["host"]: host for host in json.loads(report.read_text(encoding="utf-8"))["hosts"]}
        assert list(hosts) == ["north", "south", "typo", "nowhere"]
        assert len(hosts["north"]["created"]) == 4  # the objects of two variants, one of them scaled
        assert hosts["typo"]["cause"].startswith("celery_workers_config__90_x.shop.high.max_replica")
        assert [bool(host["failed"]) for host in hosts.values()] == [False, False, True, True]


def own_play(hosts: str, **keywords: Any) -> Json:
    return {"hosts": hosts, "gather_facts": False, "connection": "local", **keywords}


ROLE = {"roles": ["queueops.celery.celery_workers"]}
PLAYS = [
    own_play("fine", serial=1, **ROLE),
    own_play("fine", strategy="free", **ROLE),
    own_play("fine:typo", serial=2, any_errors_fatal=True, **ROLE),
    own_play(
        "other",
        pre_tasks=[{"ansible.builtin.fail": {"msg": "early"}, "when": "inventory_hostname == 'd'"}],
        tasks=[{"ansible.builtin.include_role": {"name": "queueops.celery.celery_workers"}}],
    ),
    own_play("typo", **ROLE),
]


class TestOwnPlays:
    """However a play goes through its hosts, it ends with one table."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, player: Player, folder: Path) -> dict[int, Run]:
        values = {
            **SHARED,
            "celery_workers_output": "manifests",
            "celery_workers_namespace": "{{ inventory_hostname }}",
        }
        inventory = folder / "own.yml"
        groups: Json = {
            "fine": {"hosts": {"a": {}, "b": {}, "c": {}}},
            "typo": {"hosts": {"e": dict(FAILS), "f": dict(FAILS)}},
            "other": {"hosts": {"d": {}, "g": {}, "h": {}}},
        }
        inventory.write_text(yaml.safe_dump({"all": {"vars": values, "children": groups}}), encoding="utf-8")
        found = {}
        for number, play in enumerate(PLAYS):
            # A play in which all hosts fail ends its playbook, so each is one of its own.
            path = folder / f"play{number}.yml"
            path.write_text(yaml.safe_dump([play]), encoding="utf-8")
            found[number] = player.play(str(path), inventory, json_output=False)
        return found

    @pytest.mark.parametrize(
        ("number", "counts"),
        [
            (0, "3 hosts: 3 changed, 0 unchanged, 0 failed"),
            (1, "3 hosts: 0 changed, 3 unchanged, 0 failed"),
            (2, "4 hosts: 0 changed, 3 unchanged, 1 failed"),
            (3, "3 hosts: 2 changed, 0 unchanged, 1 failed"),
            (4, "2 hosts: 0 changed, 0 unchanged, 2 failed"),
        ],
        ids=["serial", "free", "stops", "include", "all fail"],
    )
    def test_one_table_holds_all_hosts(self, runs: dict[int, Run], number: int, counts: str) -> None:
        run = runs[number]
        assert len(TABLE.findall(run.stdout)) == 1, run
        assert counts in run.stdout, run


class TestFiles:
    """Forty hosts as files, without a cluster."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, player: Player, folder: Path) -> Run:
        hosts: dict[str, Json] = {f"site{number:02d}": {} for number in range(1, 41)}
        values = {"celery_workers_output": "manifests", "celery_workers_namespace": "{{ inventory_hostname }}"}
        return player.deploy(write_inventory(folder, hosts, {**SHARED, **values}), json_output=False)

    def test_the_output_fits_three_screens(self, run: Run) -> None:
        assert run.code == 0
        # A line a host where it is worked on, in the table and in the recap.
        assert len(run.stdout.splitlines()) < 3 * 40 + 25, run
        assert len(TABLE.findall(run.stdout)) == 1

    def test_a_plan_of_files_is_shown(self, player: Player, folder: Path) -> None:
        values = {"celery_workers_output": "manifests", "celery_workers_namespace": "shop"}
        inventory = write_inventory(folder, {"one": values}, SHARED, name="one")
        run = player.deploy(inventory, "--tags=plan", json_output=False)
        assert "service  variant  queues" in the_end(run)
        assert "planned: nothing was sent or written" in the_end(run)
        assert not (folder / "manifests" / "one").exists()


def test_the_documented_screens_are_what_runs_print() -> None:
    """After a change of what runs say: make docs."""
    for path, made in screens.make().items():
        page = path.read_text(encoding="utf-8").splitlines()
        assert list(difflib.unified_diff(page, made.splitlines(), path.name, "today", lineterm="")) == []
        assert re.search("<!-- (screen|told): ", made)
