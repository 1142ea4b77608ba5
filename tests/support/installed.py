# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that tests start and do not install."""

from __future__ import annotations

import os
import shutil

import pytest


def require_command(command: str, package: str) -> None:
    """Skip where a command is not installed; a pipeline must have it, so there it is an error.

    :param package: of Debian, that has it.
    """
    if shutil.which(command) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{command} is not installed")
        pytest.skip(f"{command} is not installed (Debian: apt-get install {package})")
