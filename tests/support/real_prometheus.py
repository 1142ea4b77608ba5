# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus for the time of a test, and a source of series that stands for what a cluster has."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.support.free_ports import free_ports
from tests.support.installed import require_command
from tests.support.waiting import PATIENCE, wait_until

Json = dict[str, Any]

#: One series of a result: its labels without the name, and its value.
Sample = tuple[dict[str, str], float]
#: Seconds since 1970 and value.
Moments = list[tuple[float, float]]


@dataclass(frozen=True)
class Prometheus:
    """A server that runs."""

    port: int

    def _ask(self, path: str, **parameters: str) -> Json:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                found: Json = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()} for {parameters}") from None
        assert found["status"] == "success", found
        return found

    def query(self, expr: str) -> list[Sample]:
        """What an expression gives now."""
        found = self._ask("query", query=expr)["data"]
        assert found["resultType"] == "vector", expr
        return [
            ({name: text for name, text in item["metric"].items() if name != "__name__"}, float(item["value"][1]))
            for item in found["result"]
        ]

    def value(self, expr: str) -> float | None:
        """The one value of an expression; None where there is none."""
        found = self.query(expr)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def by(self, label: str, expr: str) -> dict[str, float]:
        """Values by one label."""
        found = self.query(expr)
        values = {labels.get(label, ""): value for labels, value in found}
        assert len(values) == len(found), found
        return values

    def history(self, expr: str, start: float, end: float, step: float) -> list[tuple[dict[str, str], Moments]]:
        """What an expression gave over time, each series with its labels."""
        found = self._ask("query_range", query=expr, start=str(start), end=str(end), step=str(step))["data"]["result"]
        return [(item["metric"], [(at, float(value)) for at, value in item["values"]]) for item in found]

    def rules(self) -> list[Json]:
        """All rules with what became of their last evaluation."""
        groups = self._ask("rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """Health of every target, by job."""
        return {item["labels"]["job"]: item["health"] for item in self._ask("targets")["data"]["activeTargets"]}


def require_prometheus() -> None:
    """Skip where Prometheus is not installed, and fail there in a pipeline."""
    require_command("prometheus", "prometheus")


@contextmanager
def real_prometheus(folder: Path, scrapes: list[Json], rules: list[Json], interval: str = "1s") -> Iterator[Prometheus]:
    """Start it, wait until it is ready and has scraped everything once, and stop it.

    :param scrapes: scrape configurations as Prometheus writes them.
    :param rules: groups of rules.
    """
    [port] = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": rules}), encoding="utf-8")
    config = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "scrape_configs": scrapes,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    server = Prometheus(port)
    try:
        wait_until(lambda: _is_ready(server, process), lambda: (folder / "log").read_text(encoding="utf-8"))
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield server
    finally:
        process.kill()
        process.wait(timeout=PATIENCE)


def _is_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/-/ready", timeout=30):
            return all(health == "up" for health in server.targets().values())
    except OSError:
        return False


def scrape_of_monitor(monitor: Json, port: int, labels: dict[str, str]) -> Json:
    """The scrape configuration that the Prometheus Operator makes of a ServiceMonitor, for one target.

    :param labels: those that it gives every target, such as the namespace.
    """
    endpoint = monitor["spec"].get("endpoints", monitor["spec"].get("podMetricsEndpoints"))[0]
    return {
        "job_name": monitor["metadata"]["name"],
        "metrics_path": endpoint["path"],
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
        "metric_relabel_configs": [_snake(item) for item in endpoint.get("metricRelabelings", [])],
    }


def _snake(item: Json) -> Json:
    return {
        re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in item.items()
    }


@contextmanager
def series_server(text: Callable[[], str]) -> Iterator[int]:
    """Serves whatever series a function gives, in Prometheus' text format, and gives the port.

    :param text: called at each scrape.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """A scrape each second is no news."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join(timeout=PATIENCE)


def series_line(name: str, value: float, /, **labels: str) -> str:
    """One line of the text format."""
    named = ",".join(f'{label}="{text}"' for label, text in sorted(labels.items()))
    return f"{name}{{{named}}} {value:g}"
