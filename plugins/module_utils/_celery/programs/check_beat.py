# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes while beat ticks in time, and while the broker cannot be reached, without which a tick takes for ever.

A ConfigMap brings this file into the container of beat. The file that it reads is written by C(beat_tick.py).
"""

from __future__ import annotations

import pathlib
import socket
import sys
import time

TICK_FILE = "/tmp/celery-heartbeat-tick"


def answers(address: str) -> bool:
    """Whether something listens there."""
    host, _colon, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def main(*addresses: str) -> int:
    """Exit code of the probe.

    :param addresses: host and port of the broker, or of each sentinel.
    """
    try:
        late = time.time() - float(pathlib.Path(TICK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        why = "beat has not ticked yet"
    else:
        if late <= 0:
            return 0
        why = f"the next tick is {late:.0f} seconds late"
    if addresses and not any(answers(address) for address in addresses):
        return 0
    sys.stdout.write(why + "\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
