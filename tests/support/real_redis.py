# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Redis server for the time of a test, alone or watched by sentinels, on free loopback ports."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from tests.support.certificates import Certificates
from tests.support.free_ports import free_ports
from tests.support.installed import require_command
from tests.support.waiting import PATIENCE, wait_until

#: A password with every character that a URL must quote.
PASSWORD = "p@:/#%"


@dataclass(frozen=True)
class RedisServer:
    """Where the server is, and how to stop it in the middle of a test."""

    port: int
    password: str
    process: subprocess.Popen[bytes]
    certificates: Certificates | None = None

    def client(self) -> redis.Redis:
        """A client of this server, whose answers are text."""
        return _client(self.port, self.password, self.certificates)

    def stop(self) -> None:
        """End the server as a broker outage does."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE)


@dataclass(frozen=True)
class RedisSentinels:
    """A master with one replica, and the sentinels that choose another master when it is gone."""

    servers: tuple[RedisServer, ...]
    sentinel_ports: tuple[int, ...]
    password: str
    sentinel_password: str
    master_name: str = "mymaster"

    def url(self, user: str = "") -> str:
        """What Celery takes: every sentinel, each with the password of the servers behind it."""
        login = f"{quote(user, safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        return ";".join(f"sentinel://{login}127.0.0.1:{port}/0" for port in self.sentinel_ports)

    def master(self) -> RedisServer:
        """The server that the sentinels call the master now."""
        client = _client(self.sentinel_ports[0], self.sentinel_password)
        address = _ask_sentinel(client, "GET-MASTER-ADDR-BY-NAME", self.master_name)
        return next(server for server in self.servers if server.port == int(address[1]))

    def fail_over(self) -> RedisServer:
        """End the master, wait for the sentinels to choose the replica, and return it."""
        old = self.master()
        old.stop()
        _wait_until(lambda: self.master() is not old)
        return self.master()


def require_redis() -> None:
    """Skip where Redis is not installed, and fail there in a pipeline."""
    require_command("redis-server", "redis-server")


@contextmanager
def redis_server(
    password: str, certificates: Certificates | None = None, client_certificates: bool = False
) -> Iterator[RedisServer]:
    """Start the server, wait until it answers, and stop it.

    :param certificates: makes it speak TLS, and nothing else.
    :param client_certificates: makes it refuse clients that have no certificate of the same authority.
    """
    [port] = free_ports(1)
    command = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--requirepass", password]
    if certificates is None:
        command += ["--port", str(port)]
    else:
        command += ["--port", "0", "--tls-port", str(port)]
        command += ["--tls-ca-cert-file", str(certificates.authority)]
        command += ["--tls-cert-file", str(certificates.server), "--tls-key-file", str(certificates.server_key)]
        command += ["--tls-auth-clients", "yes" if client_certificates else "no"]
    with _running(command) as process:
        server = RedisServer(port, password, process, certificates)
        _wait_until(server.client().ping)
        yield server


@contextmanager
def redis_sentinels(password: str = "", sentinel_password: str = "") -> Iterator[RedisSentinels]:
    """Start two servers and three sentinels, wait until they know each other, and stop all.

    :param password: of the master and the replica.
    :param sentinel_password: of the sentinels themselves.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinels-")))
        master, replica, *sentinels = free_ports(5)
        servers = []
        for port in (master, replica):
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
            command += ["--dir", str(folder), "--repl-diskless-sync-delay", "0"]
            if password:
                command += ["--requirepass", password, "--masterauth", password]
            if port == replica:
                command += ["--replicaof", "127.0.0.1", str(master)]
            servers.append(RedisServer(port, password, stack.enter_context(_running(command))))
        group = RedisSentinels(tuple(servers), tuple(sentinels), password, sentinel_password)
        # A sentinel asks the master for its replicas when it starts, and then every ten seconds.
        _wait_until(lambda: servers[1].client().info("replication")["master_link_status"] == "up")
        for port in sentinels:
            # The sentinels write into their files.
            file = folder / f"sentinel-{port}.conf"
            file.write_text(_sentinel_file(port, master, group), encoding="utf-8")
            stack.enter_context(_running(["redis-server", str(file), "--sentinel"]))
        for port in sentinels:
            _wait_until(partial(_knows_the_others, _client(port, sentinel_password), group.master_name))
        yield group


def _ask_sentinel(client: redis.Redis, *words: str) -> Any:
    command: Callable[..., Any] = client.execute_command
    return command("SENTINEL", *words)


def _knows_the_others(sentinel: redis.Redis, master_name: str) -> bool:
    others = _ask_sentinel(sentinel, "SENTINELS", master_name)
    replicas = _ask_sentinel(sentinel, "REPLICAS", master_name)
    return (
        len(others) == 2
        and len(replicas) == 1
        and str(_ask_sentinel(sentinel, "CKQUORUM", master_name)).startswith("OK 3")
    )


def _sentinel_file(port: int, master: int, group: RedisSentinels) -> str:
    name = group.master_name
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"sentinel monitor {name} 127.0.0.1 {master} 2",
        # On a busy machine a server may be silent for a second or two.
        f"sentinel down-after-milliseconds {name} 5000",
        f"sentinel failover-timeout {name} 3000",
    ]
    if group.password:
        lines.append(f"sentinel auth-pass {name} {_quoted(group.password)}")
    if group.sentinel_password:
        lines.append(f"requirepass {_quoted(group.sentinel_password)}")
        lines.append(f"sentinel sentinel-pass {_quoted(group.sentinel_password)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """As the files of Redis want it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=PATIENCE)


def _client(port: int, password: str, certificates: Certificates | None = None) -> redis.Redis:
    if certificates is None:
        return redis.Redis(port=port, password=password or None, decode_responses=True)
    return redis.Redis(
        port=port,
        password=password or None,
        decode_responses=True,
        ssl=True,
        # A server with a wrong certificate is up as well.
        ssl_cert_reqs="none",
        ssl_certfile=str(certificates.client),
        ssl_keyfile=str(certificates.client_key),
    )


def _wait_until(holds: Callable[[], object]) -> None:
    """Wait for a server to answer, and to say what is wanted."""
    problems: list[Exception] = []

    def answers() -> object:
        try:
            return holds()
        except (redis.RedisError, KeyError) as error:
            problems.append(error)
            return False

    wait_until(answers, lambda: problems[-1:])
