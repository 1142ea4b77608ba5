# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Flower from the collection's own manifests: who gets in, what it sees, and what it keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import make_certificates
from tests.support.real_flower import RealFlower, real_flower
from tests.support.real_rabbitmq import RabbitServer
from tests.support.real_redis import RedisServer, redis_sentinels, redis_server, require_redis
from tests.support.real_worker import Manifests, Pods, broker_of, manifests_for
from tests.support.waiting import wait_until
from tests.unit.ingress_paths import reaches, route_reaches

#: A password with everything that a URL reads as its own.
ODD = "p@:/#%w"
POD = "shop-worker-6c9d8f7b5-aaaaa"
EXPOSED: dict[str, Any] = {
    "password": ODD,
    "url_prefix": "tools/flower",
    "ingress": {"host": "flower.example"},
    "http_route": {"host": "flower.example", "gateway": "web"},
}


def shop(broker: dict[str, Any], flower: dict[str, Any], secrets: dict[str, dict[str, str]] | None = None) -> Manifests:
    """A fleet of one service whose broker Flower listens to."""
    variables = {
        "broker": broker,
        "services": {"shop": {"app": "shop:app", "image": "shop:1", "idempotent": True, "enable_keda": True}},
        "config": {"shop": {"default": {"concurrency": 1, "longest_task_seconds": 60}}},
        "flower": flower,
    }
    return manifests_for(variables, secrets, enabled=("flower",))


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    require_redis()
    with redis_server(ODD) as server:
        yield server


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory, broker: RedisServer) -> Iterator[RealFlower]:
    """With a password of the user's, under a prefix."""
    manifests = shop(broker_of(broker), EXPOSED)
    with real_flower(manifests, tmp_path_factory.mktemp("flower")) as server:
        yield server


@pytest.mark.parametrize("kind", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_every_probe_passes_without_a_login(flower: RealFlower, kind: str) -> None:
    assert flower.probe(kind) == 200


@pytest.mark.parametrize(
    "page", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length"]
)
def test_no_page_opens_without_the_password(flower: RealFlower, page: str) -> None:
    assert flower.get(f"/tools/flower{page}").status == 401
    assert flower.get(f"/tools/flower{page}", "flower:wrong").status == 401
    assert flower.get(f"/tools/flower{page}", flower.login).status == 200


def _exposed(path: str) -> bool:
    """Whether a path comes through the Ingress, and through the HTTPRoute, which must agree."""
    manifests = shop({"host": "redis"}, EXPOSED)
    passes = reaches(manifests.find("Ingress", "flower"), path)
    assert passes == route_reaches(manifests.find("HTTPRoute", "flower"), path)
    return passes


@pytest.mark.parametrize("path", ["/metrics", "/healthcheck", "/tools/flower/metrics", "/tools/flower/healthcheck"])
def test_what_opens_without_a_password_is_not_exposed(flower: RealFlower, path: str) -> None:
    assert flower.get("/tools/flower/metrics").status == 200, "Flower asks for none"
    assert not _exposed(path)


LINK = re.compile(r"""(?:href|src|action)=["'](/[^"'?#]*)""")


def test_every_link_of_every_page_is_exposed_and_asks_for_the_password(flower: RealFlower) -> None:
    pages = [flower.get(f"/tools/flower{page}", flower.login).body for page in ("/", "/tasks", "/broker")]
    links = {link for page in pages for link in LINK.findall(page)}
    assert {"/tools/flower/tasks", "/tools/flower/broker"} <= {link.rstrip("/") for link in links}
    assert {link for link in links if not _exposed(link)} == set()
    opened = {link for link in links if flower.get(link).status == 200}
    assert all(link.startswith("/tools/flower/static/") for link in opened), opened


def test_a_password_with_odd_characters_is_the_password(flower: RealFlower) -> None:
    assert flower.login == f"flower:{ODD}"


def test_the_broker_is_reached_with_an_odd_password(flower: RealFlower) -> None:
    assert flower.get("/tools/flower/api/queues/length", flower.login).status == 200
    assert "Failed to capture events" not in flower.log


def test_operations_are_switched_off(flower: RealFlower) -> None:
    assert flower.environment["FLOWER_READ_ONLY"] == "true"
    request = "/tools/flower/api/worker/shutdown/any@where"
    assert flower.get(request, flower.login).status in (403, 405)


def test_the_log_holds_no_password(flower: RealFlower) -> None:
    assert ODD not in flower.log
    assert "p%40" not in flower.log


def test_a_generated_password_opens_it(tmp_path: Path, broker: RedisServer) -> None:
    manifests = shop(broker_of(broker), {})
    with real_flower(manifests, tmp_path) as server:
        password = manifests.secrets["flower-auth"]["password"]
        assert len(password) == 32
        assert server.get("/", f"flower:{password}").status == 200
        assert server.get("/").status == 401
        assert password not in json.dumps(manifests.resources)


def test_tasks_are_remembered_over_a_restart(tmp_path: Path, broker: RedisServer) -> None:
    manifests = shop(broker_of(broker, 1), {"persistence": True})
    with Pods(tmp_path / "pods", manifests) as pods:
        with real_flower(manifests, tmp_path / "flower") as server:
            pods.start(pod=POD)
            wait_until(lambda: _hears(server), lambda: (server.log, pods.logs()))
            pods.send(0, 1)
            wait_until(lambda: _succeeded(server) == ["shop.nap"], lambda: server.log)
        with real_flower(manifests, tmp_path / "flower") as server:
            assert _succeeded(server) == ["shop.nap"]


def _succeeded(server: RealFlower) -> list[str]:
    tasks = server.get("/api/tasks", server.login).data.values()
    return [task["name"] for task in tasks if task["state"] == "SUCCESS"]


def _sees_a_worker(manifests: Manifests, folder: Path, length: int = 2, **producer: Any) -> None:
    """Flower hears a worker of the same inventory, and knows how long its queue is.

    :param length: what the broker counts of three messages of which one is being worked on.
    :param producer: settings of the app that sends.
    """
    with Pods(folder / "pods", manifests) as pods, real_flower(manifests, folder / "flower") as server:
        pods.sender(**producer)
        pods.start(pod=POD)
        wait_until(lambda: _hears(server), lambda: (server.log, pods.logs()))
        pods.send(0, 1)
        wait_until(lambda: _succeeded(server) == ["shop.nap"], lambda: (server.log, pods.logs()))
        wait_until(lambda: _workers(server) == [f"shop.default@{POD}"], lambda: server.log)
        for number in range(3):
            pods.send(number, task="shop.held")
        wait_until(lambda: _length(server) == length, lambda: (server.log, _length(server)))


def _hears(server: RealFlower) -> bool:
    """Whether events of the worker arrive. What happened before is never told."""
    found: dict[str, bool] = server.get("/api/workers?status=1", server.login).data
    return found == {f"shop.default@{POD}": True}


def _workers(server: RealFlower) -> list[str]:
    return sorted(server.get("/api/workers?refresh=1", server.login).data)


def _length(server: RealFlower) -> int:
    queues = server.get("/api/queues/length", server.login).data["active_queues"]
    return int(next((item["messages"] for item in queues if item["name"] == "default"), -1))


def test_it_sees_workers_on_redis(tmp_path: Path, broker: RedisServer) -> None:
    _sees_a_worker(shop(broker_of(broker, 2), {}), tmp_path)


def test_it_sees_workers_behind_tls_with_a_key_prefix(tmp_path: Path) -> None:
    require_redis()
    certificates = make_certificates(tmp_path / "certificates")
    with redis_server(ODD, certificates) as server:
        broker = broker_of(server) | {"tls": {"ca_secret": "ca"}, "global_keyprefix": "shop:"}
        secrets = {"ca": {"ca.crt": certificates.authority.read_text(encoding="utf-8")}}
        producer = {"global_keyprefix": "shop:"}
        _sees_a_worker(shop(broker, {}, secrets), tmp_path, broker_transport_options=producer)


def test_it_sees_workers_behind_sentinels_with_passwords(tmp_path: Path) -> None:
    require_redis()
    with redis_sentinels("of-redis", "of-sentinels") as group:
        broker = {
            "type": "redis-sentinel",
            "hosts": [f"127.0.0.1:{port}" for port in group.sentinel_ports],
            "master_name": group.master_name,
            "password": group.password,
            "sentinel_password": group.sentinel_password,
        }
        producer = {"master_name": group.master_name, "sentinel_kwargs": {"password": group.sentinel_password}}
        _sees_a_worker(shop(broker, {}), tmp_path, broker_transport_options=producer)


def test_it_sees_workers_and_queues_of_rabbitmq(tmp_path: Path, rabbit_server: RabbitServer) -> None:
    manifests = shop(rabbit_server.broker, {})
    assert rabbit_server.password not in json.dumps(manifests.resources)
    # RabbitMQ counts what is not acknowledged as well.
    _sees_a_worker(manifests, tmp_path, length=3)
