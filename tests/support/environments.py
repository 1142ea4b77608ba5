# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments with other packages than the tests' own, made once and kept under build/."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.checks import layout


def environment_with(name: str, requirements: Sequence[str]) -> Path:
    """The folder of an environment with these packages, whose bin/ has python and their commands.

    It is made with the interpreter in use, the first time in up to half a minute. Several callers at once wait for one.
    """
    folder = layout.BUILD / name
    layout.BUILD.mkdir(exist_ok=True)
    stamp = folder / "stamp"
    content = "\n".join([sys.version, str(folder), *requirements])
    with (layout.BUILD / f"{name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == content:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        if not _filled_by_uv(folder, requirements):
            _fill_by_pip(folder, requirements)
        stamp.write_text(content, encoding="utf-8")
    return folder


def _filled_by_uv(folder: Path, requirements: Sequence[str]) -> bool:
    """Whether uv made the environment: it may not be there, or not reach the index that pip reaches."""
    uv = layout.find_uv()
    if uv is None:
        return False
    made = [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    filled = [str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *requirements]
    return all(subprocess.run(command, check=False, timeout=600).returncode == 0 for command in (made, filled))


def _fill_by_pip(folder: Path, requirements: Sequence[str]) -> None:
    """Our own pip installs into it, and Python compiles what it imports."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "-qq", "--no-compile", *requirements], check=True, timeout=600)
