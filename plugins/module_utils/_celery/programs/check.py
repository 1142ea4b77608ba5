# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes while the worker beats, while it finishes its last tasks, and while the broker cannot be reached.

A ConfigMap brings this file into the worker's container. The file that it looks at is touched by C(start.py).
"""

from __future__ import annotations

import pathlib
import socket
import sys
import time

BEAT_FILE = "/tmp/celery-heartbeat"


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _colon, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def main(limit: str, *addresses: str) -> int:
    """Exit code of the probe.

    :param limit: seconds after which the file is stale.
    :param addresses: host and port of the broker, or of each sentinel.
    """
    beat = pathlib.Path(BEAT_FILE)
    if pathlib.Path(f"{BEAT_FILE}-leaving").exists():
        return 0
    if not beat.exists():
        sys.stdout.write("the worker is not ready yet\n")
        return 1
    age = time.time() - beat.stat().st_mtime
    if age <= float(limit) or (addresses and not any(answers(address) for address in addresses)):
        return 0
    sys.stdout.write(f"the last heartbeat is {age:.0f} seconds old\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
