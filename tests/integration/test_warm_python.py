# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is started warm behaves as one that is started as usual."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.checks import layout
from tests.support.waiting import wait_until
from tests.support.warm_celery import WarmProcess, warm_process, warm_programs
from tests.support.warm_python import warm_command

from .playbook import VENV_TEST

SAYS = """
import json, os, sys
print(json.dumps({
    "name": __name__, "argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[0], "environment": dict(os.environ),
    "input": sys.stdin.read(), "hash": hash("lms"),
    "packages": sorted(name for name in sys.modules if name.startswith("ansible_collections") and "utils" not in name),
}))
print("a warning", file=sys.stderr)
sys.exit(7)
"""

WAITS = """
import atexit, os, sys, time
atexit.register(lambda: open("ended", "w").close())
# In a with block: a signal that comes while a file is thrown away is lost.
with open("pid", "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""


def program(folder: Path, text: str) -> list[str]:
    script = folder / "program.py"
    script.write_text(text, encoding="utf-8")
    return [str(script), "--option", "a b"]


def started(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A program that waits, and its process ID."""
    process = subprocess.Popen(warm_command(program(folder, WAITS)), cwd=folder, stderr=subprocess.PIPE, text=True)
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    return process, int((folder / "pid").read_text())


def said(folder: Path, command: list[str]) -> dict[str, Any]:
    environment = {**layout.environment(VENV_TEST), "ANSIBLE_HOME": str(folder), "ONLY": "this"}
    done = subprocess.run(
        command, cwd=folder, env=environment, input="typed", capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr) == (7, "a warning\n"), done
    found: dict[str, Any] = json.loads(done.stdout)
    # A shell and the C locale add some, or change them.
    kept = environment.keys() - {"_", "SHLVL", "PWD", "OLDPWD"}
    found["environment"] = {name: value for name, value in found["environment"].items() if name in kept}
    return found


def test_it_sees_and_says_what_it_does_otherwise(tmp_path: Path) -> None:
    command = program(tmp_path, SAYS)
    cold = said(tmp_path, [sys.executable, *command])
    warm = said(tmp_path, warm_command(command))
    del cold["hash"], warm["hash"]
    assert warm == cold


def test_the_order_of_sets_differs_from_one_run_to_the_next(tmp_path: Path) -> None:
    command = program(tmp_path, SAYS)
    assert said(tmp_path, warm_command(command))["hash"] != said(tmp_path, warm_command(command))["hash"]


STARTS = f"""
import subprocess, sys
from pathlib import Path
Path("started.py").write_text({SAYS!r})
said = subprocess.run([sys.executable, "started.py", "--x"], stdin=sys.stdin, stdout=subprocess.PIPE, text=True)
subprocess.run([sys.executable, "-c", "import sys; assert sys.stdin.read() == ''"], check=True)
print(said.stdout, end="")
sys.exit(said.returncode)
"""


def test_what_it_starts_with_its_interpreter_is_as_it_would_be(tmp_path: Path) -> None:
    command = program(tmp_path, STARTS)
    cold = said(tmp_path, [sys.executable, *command])
    warm = said(tmp_path, warm_command(command))
    del cold["hash"], warm["hash"]
    assert warm == cold
    assert warm["argv"] == ["started.py", "--x"]


SPOILS = """
import os, socket, sys
import yaml
from kubernetes.client import Configuration
print(*(word for word, found in {
    "environment": "SPOILED" in os.environ, "attribute": hasattr(yaml, "spoiled"), "path": "added" in sys.path,
    "modules": "made" in sys.modules, "timeout": socket.getdefaulttimeout() is not None, "folder": os.getcwd() == "/",
    "connection": Configuration.get_default_copy().host != Configuration().host,
}.items() if found))
os.environ["SPOILED"] = yaml.spoiled = "yes"
sys.path.append("added")
sys.modules["made"] = yaml
socket.setdefaulttimeout(7)
other = Configuration()
other.host = "https://other.example.org"
Configuration.set_default(other)
os.chdir("/")
"""

RUNS_TWO = f"""
import pathlib, subprocess, sys
pathlib.Path("module.py").write_text({SPOILS!r})
for _ in range(2):
    subprocess.run([sys.executable, "module.py"], check=True)
"""


SETTINGS = """
import json, sys
from ansible import constants
from ansible.plugins import loader
from ansible.utils.display import config
def plain(found):
    return found if isinstance(found, (bool, int, str, list, tuple, type(None))) else repr(type(found))
print(json.dumps({
    "settings": {name: plain(found) for name, found in vars(constants).items() if name.isupper()},
    "places": {name: found.config for name, found in vars(loader).items() if hasattr(found, "class_name")},
    "one": config is constants.config, "defined": sorted(constants.config.get_configuration_definitions()),
    "log": [type(one).__name__ for one in __import__("logging").getLogger("ansible").handlers],
    "no_log": __import__("ansible.playbook.task").playbook.task.Task().no_log,
}))
"""


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"ANSIBLE_HOME": "other-home", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORKS": "3"},
        {"ANSIBLE_NO_LOG": "true", "ANSIBLE_TASK_TIMEOUT": "7", "ANSIBLE_ACTION_PLUGINS": "plugins:more"},
    ],
    ids=["none", "looked-up", "taken-over"],
)
def test_a_run_reads_its_own_settings(tmp_path: Path, own: dict[str, str]) -> None:
    environment = layout.environment(VENV_TEST, **{"ANSIBLE_HOME": str(tmp_path / "home"), **own})

    def read(command: list[str]) -> dict[str, Any]:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["settings"].pop("DEFAULT_LOCAL_TMP").startswith(found["settings"]["ANSIBLE_HOME"])
        return found

    command = program(tmp_path, SETTINGS)
    cold = read([sys.executable, *command])
    for _round in range(2):  # each server once
        assert read(warm_command(command)) == cold


@pytest.mark.parametrize("text", [SPOILS, RUNS_TWO], ids=["program", "module"])
def test_a_run_sees_nothing_of_the_one_before(tmp_path: Path, text: str) -> None:
    command = program(tmp_path, text)
    for _round in range(4):  # each server twice
        done = subprocess.run(warm_command(command), cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.split() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_it(tmp_path: Path, number: signal.Signals) -> None:
    process, _pid = started(tmp_path)
    process.send_signal(number)
    stderr = process.communicate(timeout=240)[1]
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in stderr
        assert (tmp_path / "ended").exists()
    else:
        assert process.returncode == -signal.SIGTERM


def test_it_is_killed_with_its_command(tmp_path: Path) -> None:
    process, pid = started(tmp_path)
    process.kill()
    process.communicate(timeout=240)
    end = time.monotonic() + 240
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


# Celery

#: Writes what a program sees into its log, as a worker does.
TELLS = (
    f"{SAYS.replace('sys.exit(7)', '')}\nimport celery._state\nprint(celery.__version__, celery._state.default_app)\n"
)


def told_by(process: subprocess.Popen[bytes] | WarmProcess, log: Path) -> tuple[int, dict[str, Any], list[str]]:
    code = process.wait(timeout=240)
    first, *others = [line for line in log.read_text(encoding="utf-8").splitlines() if line != "a warning"]
    found: dict[str, Any] = json.loads(first)
    del found["hash"], found["packages"]
    return code, found, others


@pytest.mark.parametrize("own", [{}, {"REMAP_SIGTERM": "SIGQUIT"}], ids=["none", "looked-up"])
def test_a_script_of_celery_sees_what_it_does_otherwise(tmp_path: Path, own: dict[str, str]) -> None:
    command = ["python", *program(tmp_path, TELLS)]
    environment = {"PATH": f"{sys.prefix}/bin", "LANG": "C.UTF-8", "ONLY": "this", **own}
    found = []
    for image in (None, Path(sys.prefix)):
        log = tmp_path / "log"
        with log.open("wb") as stream:
            process = warm_process(command, image, tmp_path, environment, stream)
        found.append(told_by(process, log))
    assert found[0] == found[1]
    assert found[0][0] == 0
    assert isinstance(process, WarmProcess)


REMAPPED = "from billiard.common import REMAP_SIGTERM\nprint(REMAP_SIGTERM)\n"


def test_what_celery_takes_over_from_its_environment_reaches_a_warm_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "remapped.py").write_text(REMAPPED, encoding="utf-8")
    for value in ("SIGQUIT", ""):
        with log.open("wb") as stream:
            environment = {"PATH": "/bin"} | ({"REMAP_SIGTERM": value} if value else {})
            command = ["python", str(tmp_path / "remapped.py")]
            assert warm_process(command, Path(sys.prefix), tmp_path, environment, stream).wait(240) == 0
        assert log.read_text(encoding="utf-8").strip() == (value or "None")


def test_a_question_beside_a_worker_is_asked_by_the_same_python(tmp_path: Path) -> None:
    code = "import os, sys\nprint(sys.argv, sys.executable, os.environ['ONLY'], __name__)\nsys.exit(3)"
    said = []
    for folder in (f"{sys.prefix}/bin", str(warm_programs(Path(sys.prefix)))):
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "ONLY": "this"}
        done = subprocess.run(
            ["python", "-c", code, "a b"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert said[0][0] == 3


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that has ended may still be in the table."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text(encoding="utf-8")


def test_a_signal_and_an_end_reach_a_warm_process_and_what_it_started(tmp_path: Path) -> None:
    starts = f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {WAITS!r}])\nchild.wait()\n"
    with (tmp_path / "log").open("wb") as log:
        process = warm_process(["python", *program(tmp_path, starts)], Path(sys.prefix), tmp_path, {}, log)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=240) == -signal.SIGKILL
    wait_until(lambda: not is_alive(child))
