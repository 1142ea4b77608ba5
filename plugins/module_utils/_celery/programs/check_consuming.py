# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes unless the worker was found to be stuck and did not end by itself.

A ConfigMap brings this file into the worker's container. C(consuming.py) writes the file that it looks at.
"""

from __future__ import annotations

import pathlib
import sys
import time

BEAT_FILE = "/tmp/celery-heartbeat"


def main(idle: str, busy: str) -> int:
    """Exit code of the probe.

    :param idle: seconds that a stuck worker has to end that runs no task.
    :param busy: seconds that it has while tasks still run.
    """
    if not pathlib.Path(BEAT_FILE).exists():
        sys.stdout.write("the worker is not ready yet\n")
        return 1
    try:
        since, active = pathlib.Path(f"{BEAT_FILE}-stuck").read_text(encoding="utf-8").split()
        stuck = time.time() - float(since)
        if stuck <= float(busy if int(active) else idle):
            return 0
    except (OSError, ValueError):
        return 0
    sys.stdout.write(f"the worker takes no tasks, and has not ended for {stuck:.0f} seconds\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
