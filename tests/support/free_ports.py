# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free ports of this machine, for servers that a test starts.

A server takes its port a while after that was found free. Until then no other test may get it, and no connection: ports
of connections come from a range of their own, which begins at 32768 on Linux, and higher elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

_PORTS = range(20_000, 32_000)
#: The files that say that a port is taken, locked until this process ends.
_held: list[IO[str]] = []


def free_ports(count: int) -> list[int]:
    """As many different loopback ports as asked for, for this process alone."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        if _take(port):
            found.append(port)
    raise RuntimeError(f"there are no {count} free ports")


def _take(port: int) -> bool:
    """Whether nobody has a port, which is ours from now on."""
    folder = Path(tempfile.gettempdir()) / f"ports-of-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        lock.close()
        return False
    _held.append(lock)
    return True
