# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the page of a simulation on the controller."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.queueops.celery.plugins.module_utils._report.page import Report, page_text
from ansible_collections.queueops.celery.plugins.plugin_utils._files import near_path, real_path, write_text


def own_path(path: str, host: str, hosts: int) -> str:
    """The path of the page of a host, with its name in it where the play has several hosts: they never share a file."""
    if hosts < 2:
        return real_path(path)
    given = Path(real_path(path))
    return str(given.with_name(f"{given.stem}-{host.replace('/', '_')}{given.suffix}"))


def write_page(path: str, report: Report, checks: bool) -> tuple[bool, str]:
    """Write it if it is not as it should be.

    :returns: whether it changes, and what is to be said of it.
    :raises TreeError: if it cannot be written.
    """
    near = near_path(path)
    if not report.results:
        return False, f"{near} is not written: nothing was simulated."
    changed, _diff = write_text(path, page_text(report), checks)
    if changed and checks:
        return True, f"{near} would be written."
    return changed, f"{near} has the same with pictures. Open it in a browser."
