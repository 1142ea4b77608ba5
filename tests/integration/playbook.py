# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the shipped playbooks as a user does, and reads what they printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.checks import layout
from tests.support.warm_python import warm_command

Json = dict[str, Any]

VENV_TEST = layout.ROOT / ".venv-test"
VENV = layout.ROOT / ".venv"

#: No image of these tests runs on a real cluster, so no pod could tell what waits.
_MAY_LEAVE = ("--extra-vars=celery_workers_key_change=accept",) if os.environ.get("KUBECONFIG") else ()

_SHOWN = 2000  # characters of one result

_RECAP = re.compile(r"^(?P<host>\S+)\s+:\s+ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+).*failed=(?P<failed>\d+)", re.M)


@dataclass(frozen=True)
class Run:
    """One finished ansible-playbook."""

    command: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return f"{self.stdout}\n{self.stderr}"

    def __str__(self) -> str:
        shown = "\n".join(self._lines()) if self.stdout.lstrip().startswith("{") else self.stdout
        return f"$ {' '.join(self.command)}\n{shown}\n{self.stderr}\n(exit code {self.code})"

    def _lines(self) -> Iterator[str]:
        """What the json callback printed, as lines for people: no skipped task, no bookkeeping."""
        for play in self.data["plays"]:
            for task in play["tasks"]:
                for host, result in task["hosts"].items():
                    if not result.get("skipped"):
                        kept = {name: result[name] for name in ("failed", "changed", "msg", "diff") if result.get(name)}
                        yield f"{task['task']['name'].rpartition(' : ')[2]} [{host}] {kept}"[:_SHOWN]
        yield f"recap {self.data['stats']}"

    @cached_property
    def data(self) -> Json:
        """What the json callback printed."""
        start = self.stdout.find("{\n")
        assert start >= 0, f"no JSON in the output\n{self}"
        found: Json = json.loads(self.stdout[start:])
        return found

    @property
    def warnings(self) -> str:
        """Warnings as one line, without the breaks that ansible puts between words.

        The json callback keeps those of a module in its result, others print them.
        """
        tasks = [one for play in self.data["plays"] for one in play["tasks"]] if "{\n" in self.stdout else []
        kept = [text for one in tasks for result in one["hosts"].values() for text in result.get("warnings") or []]
        return " ".join(" ".join([*map(str, kept), self.stderr]).split())

    def changed(self, host: str) -> int:
        """The number after `changed=` in the recap; the host must not have failed."""
        found: Json = self.data["stats"][host]
        assert not found["failures"], f"{host} failed\n{self.message(host)}"
        assert not found["unreachable"], f"{host} was unreachable"
        return int(found["changed"])

    def results(self, host: str, task: str = "") -> list[Json]:
        """Results of a host's tasks, of all or of those whose name ends so."""
        tasks = [one for play in self.data["plays"] for one in play["tasks"] if one["task"]["name"].endswith(task)]
        return [one["hosts"][host] for one in tasks if host in one["hosts"]]

    def said(self, host: str, name: str) -> list[str]:
        """Lines of a table or of notes that a run showed of a host; none if it showed none."""
        return [line for result in self.results(host) for line in result.get(name) or []]

    def message(self, host: str) -> str:
        """What the failed task of a host said; empty if none failed."""
        failed = [item for item in self.results(host) if item.get("failed")]
        return "\n".join(str(item.get("msg", "")) for item in failed)

    def diffs(self, host: str) -> dict[str, tuple[str, str]]:
        """Before and after of every object or file that a diff was shown of."""
        found = {}
        for result in self.results(host):
            shown = result.get("diff") or []
            for item in shown if isinstance(shown, list) else [shown]:
                header = item.get("after_header") or item.get("before_header") or ""
                if item.get("before") or item.get("after"):
                    found[header] = (str(item.get("before", "")), str(item.get("after", "")))
        return found

    @cached_property
    def recap(self) -> dict[str, Json]:
        """The recap of the default callback."""
        return {
            found["host"]: {name: int(found[name]) for name in ("ok", "changed", "failed")}
            for found in _RECAP.finditer(self.stdout)
        }


@dataclass
class Started:
    """An ansible-playbook that is still running."""

    command: tuple[str, ...]
    process: subprocess.Popen[str]

    def finish(self, timeout: float = 900) -> Run:
        try:
            stdout, stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            stderr += f"\nEnded after {timeout} seconds."
        return Run(self.command, self.process.returncode, stdout, stderr)


@dataclass
class Player:
    """Runs playbooks of the collection in a folder of its own.

    :param kubeconfig: handed over as K8S_AUTH_KUBECONFIG; None hands over none.
    """

    folder: Path
    kubeconfig: Path | None = None
    runs: list[Run] = field(default_factory=list)

    def deploy(self, inventory: Path, *options: str, **settings: Any) -> Run:
        return self.play("deploy", inventory, *options, **settings)

    def remove(self, inventory: Path, *options: str, **settings: Any) -> Run:
        return self.play("remove", inventory, *options, *_MAY_LEAVE, **settings)

    def play(self, playbook: str, inventory: Path, *options: str, **settings: Any) -> Run:
        """Run to the end one of the collection's, or a file. Settings are those of start()."""
        return self.keep(self.start(playbook, inventory, *options, **settings).finish())

    def keep(self, run: Run) -> Run:
        """Remember a run, so that a failing test shows its output."""
        self.runs.append(run)
        return run

    def start(
        self,
        playbook: str,
        inventory: Path,
        *options: str,
        json_output: bool = True,
        venv: Path = VENV_TEST,
        env: Mapping[str, str] | None = None,
    ) -> Started:
        command = (
            str(venv / "bin" / "ansible-playbook"),
            playbook if playbook.endswith(".yml") else f"queueops.celery.{playbook}",
            f"--inventory={inventory}",
            *options,
        )
        process = subprocess.Popen(
            warm_command(command) if venv == VENV_TEST else command,
            cwd=self.folder,
            env=self._environment(venv, json_output) | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        return Started(command, process)

    def _environment(self, venv: Path, json_output: bool) -> dict[str, str]:
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        extra = {
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_FORKS": "10",
            # Long lines are not broken, so that a message can be searched.
            "COLUMNS": "10000",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PWD": str(self.folder),
            "TMPDIR": str(temporary),
        }
        if json_output:
            extra["ANSIBLE_STDOUT_CALLBACK"] = "ansible.posix.json"
        if self.kubeconfig is not None:
            extra["K8S_AUTH_KUBECONFIG"] = str(self.kubeconfig)
        return layout.environment(venv, **extra)


def write_inventory(folder: Path, hosts: Mapping[str, Json], shared: Json | None = None, name: str = "hosts") -> Path:
    """An inventory with a group celery_fleets: variables of each host, and of all of them."""
    target = folder / f"{name}.yml"
    group = {"hosts": dict(hosts), "vars": dict(shared or {})}
    target.write_text(yaml.safe_dump({"celery_fleets": group}, sort_keys=False), encoding="utf-8")
    return target


def sample_inventory(name: str) -> Path:
    return layout.ROOT / "playbooks" / "inventory" / name


def extra_vars(values: Json) -> str:
    return f"--extra-vars={json.dumps(values)}"


def vaulted(folder: Path, password_file: Path, values: Mapping[str, str]) -> str:
    """YAML of variables that ansible-vault encrypted."""
    # Strings and their names are matched by their order.
    words = [*values.values(), *(f"--name={name}" for name in values)]
    done = subprocess.run(
        [
            str(VENV_TEST / "bin" / "ansible-vault"),
            "encrypt_string",
            "--vault-password-file",
            str(password_file),
            *words,
        ],
        cwd=folder,
        env=layout.environment(VENV_TEST, ANSIBLE_HOME=str(folder / "ansible-home"), HOME=str(folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def mode_of(path: Path) -> str:
    return oct(os.stat(path).st_mode & 0o777)
