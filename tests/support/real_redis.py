# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Redis server for the time of a test, on a free loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import redis


@dataclass(frozen=True)
class RedisServer:
    """Where the server is, and how to stop it in the middle of a test."""

    port: int
    password: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server as a broker outage does."""
        self.process.kill()
        self.process.wait(timeout=10)


def require_redis() -> None:
    """Skip where Redis is not installed; a pipeline must have it, so there it is an error."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")


@contextmanager
def redis_server(password: str) -> Iterator[RedisServer]:
    """Start the server, wait until it answers, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", password]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, password)
        yield RedisServer(port, password, process)
    finally:
        process.kill()
        process.wait(timeout=10)


def _wait_for(port: int, password: str) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            redis.Redis(port=port, password=password).ping()
            return
        except redis.RedisError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
