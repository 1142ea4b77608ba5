# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments with other versions of Celery than the tests' own, made once and kept under build/."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checks import layout

#: What is installed for each version. Celery 5.4 alone would bring a kombu that refuses the redis it brings.
REQUIREMENTS = {
    "5.4": ("celery[redis]==5.4.0", "kombu==5.4.2", "gevent"),
    "5.5": ("celery[redis]==5.5.3", "gevent"),
    "5.6": ("celery[redis]==5.6.3", "gevent"),
    "5.7": ("celery[redis]==5.7.0", "gevent"),
}


def celery_environment(version: str) -> Path:
    """The folder of an environment with that version, whose bin/ has celery and python.

    It is made with the interpreter in use, the first time in up to half a minute. Several callers at once wait for one.
    """
    requirements = REQUIREMENTS[version]
    folder = layout.BUILD / f"celery-{version}"
    layout.BUILD.mkdir(exist_ok=True)
    stamp = folder / "stamp"
    content = "\n".join([sys.version, str(folder), *requirements])
    with (layout.BUILD / f"celery-{version}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == content:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        python = str(folder / "bin" / "python")
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, timeout=600)
        stamp.write_text(content, encoding="utf-8")
    return folder
