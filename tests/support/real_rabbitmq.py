# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real RabbitMQ server for the time of a test, on free loopback ports, with its management interface."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.certificates import Certificates
from tests.support.free_ports import free_ports
from tests.support.waiting import PATIENCE

# Debian's command of this name changes to a user of its own. This is the one behind it.
_DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

USER = "celery"
#: What its user may do in a virtual host.
_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}

#: RabbitMQ counts the messages of a queue every five seconds if not told otherwise, and for tests that is too slow.
_ADVANCED = """
[{rabbit, [{collect_statistics_interval, 1000}]},
 {rabbitmq_management_agent,
  [{sample_retention_policies, [{global, [{605, 1}]}, {basic, [{605, 1}]}, {detailed, [{10, 1}]}]}]},
 {rabbitmq_management,
  [{sample_retention_policies, [{global, [{605, 1}]}, {basic, [{605, 1}]}, {detailed, [{10, 1}]}]}]}].
"""


@dataclass(frozen=True)
class Queue:
    """What the management interface says of a queue. The numbers are up to two seconds old."""

    kind: str
    messages: int
    ready: int
    unacknowledged: int


@dataclass(frozen=True)
class RabbitServer:
    """Where the server is, and how to stop it in the middle of a test."""

    port: int
    management_port: int
    tls_port: int
    password: str
    process: subprocess.Popen[bytes]
    user: str = USER
    virtual_host: str = "/"

    @property
    def url(self) -> str:
        """What Celery takes."""
        return f"amqp://{self._login()}@127.0.0.1:{self.port}/{quote(self.virtual_host, safe='')}"

    @property
    def tls_url(self) -> str:
        """The same for the port that speaks TLS."""
        return f"amqps://{self._login()}@127.0.0.1:{self.tls_port}/{quote(self.virtual_host, safe='')}"

    @property
    def broker(self) -> dict[str, Any]:
        """The broker as a user describes it."""
        return {
            "type": "rabbitmq",
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.user,
            "password": self.password,
            "virtual_host": self.virtual_host,
            "management": {"port": self.management_port},
        }

    @contextmanager
    def host(self, name: str) -> Iterator[RabbitServer]:
        """A virtual host of that name, which has nothing in it, for the time of a test."""
        quoted = quote(name, safe="")
        self._send("PUT", f"/api/vhosts/{quoted}")
        self._send("PUT", f"/api/permissions/{quoted}/{self.user}", _EVERYTHING)
        try:
            yield replace(self, virtual_host=name)
        finally:
            self._send("DELETE", f"/api/vhosts/{quoted}")

    def _login(self) -> str:
        return f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"

    def get(self, path: str) -> Any:
        """What the management interface answers; a path such as /api/overview."""
        return json.loads(self._send("GET", path))

    def _send(self, method: str, path: str, body: Any = None) -> bytes:
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def queue_names(self) -> set[str]:
        """Queues of the virtual host."""
        return {item["name"] for item in self.get(f"/api/queues/{quote(self.virtual_host, safe='')}")}

    def queue(self, name: str) -> Queue | None:
        """One queue, or nothing while it does not exist or has not been counted yet."""
        try:
            found = self.get(f"/api/queues/{quote(self.virtual_host, safe='')}/{quote(name, safe='')}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None
        if found.get("messages") is None:
            return None
        return Queue(found["type"], found["messages"], found["messages_ready"], found["messages_unacknowledged"])

    def stop(self) -> None:
        """End the server as a broker outage does."""
        _kill(self.process)


def require_rabbitmq() -> None:
    """Skip where RabbitMQ is not installed; a pipeline must have it, so there it is an error."""
    if _program() is None or shutil.which("epmd") is None:
        if os.environ.get("CI"):
            pytest.fail("rabbitmq-server is not installed")
        pytest.skip("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)")


@contextmanager
def rabbitmq_server(password: str, certificates: Certificates | None = None) -> Iterator[RabbitServer]:
    """Start the server with one user, wait until it answers, and stop it. That takes ten seconds of processor time.

    :param certificates: opens a second port, which speaks TLS and wants a client certificate of the same authority.
    """
    program = _program()
    assert program is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True)))
        port, management_port, tls_port, cluster_port, mapper_port = free_ports(5)
        if certificates is None:
            tls_port = 0
        _write_files(folder, port, management_port, password)
        if certificates is not None:
            with (folder / "rabbitmq.conf").open("a", encoding="utf-8") as stream:
                stream.write(_tls_lines(tls_port, certificates))
        environment = _environment(folder, f"test{port}@localhost", cluster_port, mapper_port)
        # Erlang's list of nodes. RabbitMQ would start one that outlives it.
        stack.enter_context(
            _running(["epmd", "-port", str(mapper_port), "-address", "127.0.0.1"], environment, folder / "epmd.log")
        )
        process = stack.enter_context(_running([program], environment, folder / "server.log"))
        server = RabbitServer(port, management_port, tls_port, password, process)
        _wait_for(server, folder / "server.log")
        yield server


def _program() -> str | None:
    return str(_DEBIAN) if _DEBIAN.exists() else shutil.which("rabbitmq-server")


def _write_files(folder: Path, port: int, management_port: int, password: str) -> None:
    # The main file has no quotes: a password with a # in it would end there.
    definitions = {
        "users": [{"name": USER, "password": password, "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": USER, "vhost": "/", **_EVERYTHING}],
    }
    (folder / "definitions.json").write_text(json.dumps(definitions), encoding="utf-8")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n", encoding="utf-8")
    (folder / "advanced.config").write_text(_ADVANCED, encoding="utf-8")
    lines = [
        f"listeners.tcp.1 = 127.0.0.1:{port}",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {management_port}",
        f"load_definitions = {folder}/definitions.json",
        "disk_free_limit.absolute = 50MB",
        "log.file = false",
        "log.console = true",
        "log.console.level = warning",
    ]
    (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tls_lines(port: int, certificates: Certificates) -> str:
    lines = [
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {certificates.authority}",
        f"ssl_options.certfile = {certificates.server}",
        f"ssl_options.keyfile = {certificates.server_key}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    ]
    return "\n".join(lines) + "\n"


def _environment(folder: Path, node: str, cluster_port: int, mapper_port: int) -> dict[str, str]:
    """Everything that the server would otherwise look for, or write, outside of the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapper_port),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_DIST_PORT": str(cluster_port),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        # No busy waiting, and no port that other machines reach.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    }


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)


def _wait_for(server: RabbitServer, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            server.get("/api/overview")
            return
        except OSError as error:
            if server.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"RabbitMQ did not start: {log.read_text(encoding='utf-8')[-2000:]}") from error
            time.sleep(0.1)
