"""Run the checks of this repository: run_checks <check>... [--jobs N], or run_checks --exec <command>...

One check alone prints as it goes. Several run side by side, each into its own log under build/logs; the logs of those
that failed are printed in full at the end. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.checks import layout

VENV = layout.ROOT / os.environ.get("VENV_TEST", ".venv-test")
LOGS = layout.BUILD / "logs"
# It ends what hangs. Two busy cores need half an hour for the integration tests.
TIME_LIMIT = 45 * 60  # seconds, for one check
# pytest -ra, ansible-test and our own scripts name what they did not run, and why.
NOT_RUN = re.compile(r"^(?:NOT RUN|SKIPPED \[|WARNING: Skipping).*$", re.M)


def pytest(suite: str, *options: str) -> list[str]:
    """A suite, whose log names what took longest."""
    return ["python", "-m", "pytest", f"tests/{suite}", "--durations=15", *options]


def script(name: str) -> list[str]:
    """One that imports the collection, in the environment that has it."""
    return ["python", "-m", "tests.checks.run_checks", "--exec", "python", f"tests/checks/{name}.py"]


# Longest first, so that none of them starts last.
CHECKS: dict[str, list[list[str]]] = {
    "sanity-newest": [["python", "-m", "tests.sanity.run", "--newest"]],
    "integration": [pytest("integration", "-n", "3")],
    "unit": [pytest("unit", "@workers")],
    "sanity": [["python", "-m", "tests.sanity.run"]],
    "lint": [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "@typed"],
        ["yamllint", "--strict", "."],
        ["ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor"],
    ],
    "schema": [pytest("schema", "@workers")],
    "molecule": [["python", "-m", "tests.support.warm_python", "molecule", "test", "--all"]],
    "package": [["python", "-m", "tests.checks.package"]],
    "pages": [script("key_reference"), script("rights_table"), script("examples"), script("kubernetes_types")],
    "demo": [["make", "--no-print-directory", "demo"]],
}

# Left to `make test-all`, which the hosted pipeline runs: minutes more, for what sanity on 2.19 has not found yet. It
# also reads the tests, which ruff and mypy have read, and compiles and imports with every Python that is found. The
# suites try more there, too: tests/support/thorough.py.
SLOW = {"sanity-newest"}
SETS = {"most": [name for name in CHECKS if name not in SLOW], "all": list(CHECKS)}

# Folders that mypy reads: the collection under its full name, and the tests.
TYPED = (
    "build/tree/ansible_collections/queueops/celery/plugins/module_utils",
    "build/tree/ansible_collections/queueops/celery/plugins/modules",
    "build/tree/ansible_collections/queueops/celery/plugins/action",
    "build/tree/ansible_collections/queueops/celery/plugins/plugin_utils",
    "tests",
)


@dataclass
class Outcome:
    name: str
    ok: bool = False
    seconds: float = 0.0
    processor: float = 0.0  # seconds of all its processes: what a check costs, also on a busy machine
    output: str = ""
    not_run: list[str] = field(default_factory=list)


def fill(step: list[str], alone: bool) -> list[str]:
    """Replace "@typed" by those typed folders that hold Python files, and "@workers" by the processes of a suite.

    Each of them reads all tests of the suite first. Beside other checks that would only take their time.
    """
    words = {
        "@typed": [folder for folder in TYPED if next((layout.ROOT / folder).glob("**/*.py"), None)],
        "@workers": ["-n", "auto"] if alone else [],
    }
    return [word for part in step for word in words.get(part, [part])]


def run_step(step: list[str], log: Path, env: dict[str, str], echo: bool, deadline: float) -> tuple[int, float]:
    """Run one command in its own process group, write what it prints into the log, and end it at the deadline.

    Returns its exit code and the processor seconds of all its processes.
    """
    with log.open("a", encoding="utf-8") as sink:

        def write(text: str) -> None:
            sink.write(text)
            sink.flush()
            if echo:
                sys.stdout.write(text)
                sys.stdout.flush()

        write(f"$ {' '.join(step)}\n")
        with subprocess.Popen(
            step,
            cwd=layout.ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            late = threading.Event()

            def end() -> None:
                late.set()
                os.killpg(process.pid, signal.SIGKILL)

            timer = threading.Timer(max(1.0, deadline - time.monotonic()), end)
            timer.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    write(line)
                status, used = os.wait4(process.pid, 0)[1:]
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            finally:
                timer.cancel()
        if late.is_set():
            write(f"Ended after {TIME_LIMIT} seconds.\n")
        return 1 if late.is_set() else process.returncode, used.ru_utime + used.ru_stime


def run_check(name: str, alone: bool, extra: dict[str, str]) -> Outcome:
    """Run every step of a check, also after one has failed: all problems come at once."""
    outcome = Outcome(name, ok=True)
    log = LOGS / f"{name}.log"
    log.write_text("", encoding="utf-8")
    env = layout.environment(VENV, **extra)
    start = time.monotonic()
    for step in CHECKS[name]:
        code, processor = run_step(fill(step, alone), log, env, alone, start + TIME_LIMIT)
        outcome.ok = outcome.ok and code == 0
        outcome.processor += processor
    outcome.seconds = time.monotonic() - start
    outcome.output = log.read_text(encoding="utf-8")
    outcome.not_run = NOT_RUN.findall(outcome.output)
    return outcome


def run_all(names: list[str], jobs: int, extra: dict[str, str]) -> list[Outcome]:
    alone = len(names) == 1
    say = threading.Lock()

    def one(name: str) -> Outcome:
        if not alone:
            with say:
                print(f"start   {name}", flush=True)
        outcome = run_check(name, alone, extra)
        with say:
            if not alone:
                print(f"{'passed' if outcome.ok else 'FAILED':7} {name} ({outcome.seconds:.0f} s)", flush=True)
        return outcome

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return list(pool.map(one, names))


def report(outcomes: list[Outcome]) -> None:
    if len(outcomes) > 1:
        for outcome in outcomes:
            if not outcome.ok:
                print(f"\n===== {outcome.name} failed, its log (build/logs/{outcome.name}.log):\n{outcome.output}")
    not_run = [f"  {outcome.name}: {line}" for outcome in outcomes for line in dict.fromkeys(outcome.not_run)]
    if not_run:
        print("\nNot run:")
        print("\n".join(not_run))
    print("\nChecks:")
    for outcome in outcomes:
        word = "passed" if outcome.ok else "FAILED"
        print(f"  {word}  {outcome.name:<13} {outcome.seconds:6.1f} s, {outcome.processor:6.1f} s of processor")


def main(argv: list[str]) -> int:
    if argv[:1] == ["--exec"]:
        layout.link_tree()
        env = layout.environment(VENV, PYTHONPATH=os.pathsep.join([str(layout.ROOT), str(layout.TREE)]))
        if os.environ.get("KUBECONFIG"):  # a cluster that the caller named on purpose
            env["KUBECONFIG"] = os.environ["KUBECONFIG"]
        os.chdir(layout.ROOT)
        os.execvpe(argv[1], argv[1:], env)
    parser = argparse.ArgumentParser(description="Run the checks of this repository.")
    choices = [*CHECKS, *SETS]
    jobs = min(4, max(2, os.cpu_count() or 2))
    parser.add_argument("checks", nargs="+", choices=choices, metavar="check", help=", ".join(choices))
    parser.add_argument("--jobs", type=int, default=jobs, help="how many checks run side by side")
    args = parser.parse_args(argv)
    names = list(dict.fromkeys(name for word in args.checks for name in SETS.get(word, [word])))
    LOGS.mkdir(parents=True, exist_ok=True)
    layout.link_tree()
    start = time.monotonic()
    outcomes = run_all(names, args.jobs, {"THOROUGH": "1"} if "all" in args.checks else {})
    report(outcomes)
    failed = [outcome.name for outcome in outcomes if not outcome.ok]
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
        return 1
    if len(outcomes) > 1:
        print(f"\nAll {len(outcomes)} checks passed in {time.monotonic() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
