# SPDX-License-Identifier: GPL-3.0-or-later
"""A handler of commands in pods that runs them as local processes, for scripts that need a real interpreter.

emulator.exec_handler = functools.partial(run_locally, folder=tmp_path, path=os.environ["PATH"])
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from ._exec import CannotStart, ExecRequest, ExecResult

TIME_LIMIT = 240.0


def run_locally(request: ExecRequest, folder: Path, path: str, time_limit: float = TIME_LIMIT) -> ExecResult:
    """Run the command in a folder, with the container's environment and nothing of the test's own."""
    environment = {**request.environment, "PATH": path, "HOSTNAME": request.pod}
    try:
        process = subprocess.Popen(
            request.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise CannotStart(f'exec: "{request.command[0]}": executable file not found in $PATH') from error
    except PermissionError as error:
        raise CannotStart(f'exec: "{request.command[0]}": permission denied') from error
    with process:
        return _result(process, request.stdin, time_limit)


def _result(process: subprocess.Popen[str], stdin: str, time_limit: float) -> ExecResult:
    late = ""
    try:
        stdout, stderr = process.communicate(stdin, time_limit)
    except subprocess.TimeoutExpired:
        late = f"killed after {time_limit:g} seconds\n"
        _kill(process)
        stdout, stderr = process.communicate()
    # A shell reports a signal as 128 and its number.
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return ExecResult(stdout, stderr + late, code)


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process and what it started: a child that lives on would keep the output open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
