# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers on a Redis with TLS, an authority of its own, client certificates and a difficult password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.celery_versions import celery_environment
from tests.support.certificates import Certificates, make_certificates
from tests.support.real_readings import Scaler
from tests.support.real_redis import RedisServer, redis_server, require_redis
from tests.support.real_worker import Manifests, Pods, broker_of, shop
from tests.support.waiting import wait_until

#: Every character that ends a part of a URL.
PASSWORD = "p@:/#%"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[RedisServer]:
    require_redis()
    with redis_server(PASSWORD, certificates, client_certificates=True) as started:
        yield started


def fleet(server: RedisServer, authority: Certificates, database: int = 0) -> Manifests:
    """A fleet with a client certificate that the server takes.

    :param authority: whose server the workers take.
    """
    assert server.certificates is not None
    secrets = {
        "redis-ca": {"ca.crt": authority.authority.read_text()},
        "redis-client": {
            "tls.crt": server.certificates.client.read_text(),
            "tls.key": server.certificates.client_key.read_text(),
        },
    }
    tls = {"ca_secret": "redis-ca", "certificate_secret": "redis-client"}
    return shop({**broker_of(server, database), "tls": tls}, secrets=secrets)


@pytest.mark.parametrize("version", ["5.4", "5.7"])
def test_worker_probe_and_scaler_reach_a_redis_with_tls(tmp_path: Path, server: RedisServer, version: str) -> None:
    assert server.certificates is not None
    manifests = fleet(server, server.certificates, 1 if version == "5.4" else 2)
    scaler = Scaler(manifests)
    with Pods(tmp_path, manifests, environment=celery_environment(version)) as pods:
        pods.send("task", task="shop.held")
        assert scaler.both() == (1, 0)
        worker = pods.start()
        wait_until(lambda: scaler.both() == (0, 1), pods.logs)
        worker.wait_until_probed()
        pods.let_go()
        wait_until(lambda: pods.events("done") == ["task"] and scaler.both() == (0, 0), pods.logs)
        assert PASSWORD not in worker.log
        assert worker.stop() == 0


def test_a_worker_refuses_a_server_of_another_authority(tmp_path: Path, server: RedisServer) -> None:
    manifests = fleet(server, make_certificates(tmp_path / "other"))
    with Pods(tmp_path / "fleet", manifests, environment=celery_environment("5.6")) as pods:
        worker = pods.start()
        wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in worker.log, pods.logs)
        assert worker.probe(seconds=worker.container["startupProbe"]["timeoutSeconds"]) != 0
        assert not worker.is_ready
