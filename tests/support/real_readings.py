# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the triggers of ScaledObjects and ScaledJobs from real brokers as KEDA does (2.20), with its credentials."""

from __future__ import annotations

import base64
import json
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import redis
import redis.sentinel
from ansible_collections.queueops.celery.plugins.module_utils._model.names import scaled_object_name

from tests.support.real_worker import Manifest, Manifests
from tests.unit.formulas import asked

#: KEDA's redis scaler asks for the type first.
_COUNTERS = {"list": "LLEN", "hash": "HLEN", "set": "SCARD", "zset": "ZCARD"}


class Scaler:
    """What KEDA sees of one variant."""

    def __init__(self, manifests: Manifests, variant: str = "") -> None:
        self._manifests = manifests
        found = manifests.variant(variant)
        place = ("ScaledObject", scaled_object_name(found.deployment))
        if found.runs_as_jobs:
            place = ("ScaledJob", found.deployment)
        self.spec: Manifest = manifests.find(*place)["spec"]
        self._clients: dict[str, redis.Redis] = {}

    @property
    def triggers(self) -> dict[str, Manifest]:
        """Triggers by name, without the one that counts pods."""
        return {item["name"]: item for item in self.spec["triggers"] if item["type"] != "kubernetes-workload"}

    def readings(self) -> dict[str, int]:
        """One number per trigger."""
        return {name: self._read(trigger) for name, trigger in self.triggers.items()}

    def backlog(self) -> int:
        """Messages that wait."""
        return sum(self._read(trigger) for name, trigger in self.triggers.items() if name.startswith("backlog"))

    def in_flight(self) -> int:
        """Messages that workers hold."""
        return self.both()[1]

    def both(self) -> tuple[int, int]:
        """Messages that wait, and those that workers hold."""
        found = self.readings()
        backlog = sum(number for name, number in found.items() if name.startswith("backlog"))
        held = sum(number for name, number in found.items() if name.startswith("inflight"))
        total = sum(number for name, number in found.items() if name.startswith("total"))
        return backlog, total - backlog if total else held

    def wish(self, pods: int) -> float:
        """What the formula asks for while so many pods are there."""
        formula = self.spec["advanced"]["scalingModifiers"]["formula"]
        return asked(formula, {**self.readings(), "pods": pods})

    def _read(self, trigger: Manifest) -> int:
        login, metadata = self._login(trigger), trigger["metadata"]
        if trigger["type"] == "rabbitmq":
            return _rabbitmq(metadata, login)
        client = self._client(trigger["type"], metadata, login)
        kind = client.type(metadata["listName"])
        if kind == "none":
            return 0
        count: Callable[..., Any] = client.execute_command
        return int(count(_COUNTERS[str(kind)], metadata["listName"]))

    def _login(self, trigger: Manifest) -> dict[str, str]:
        """The parameters that the TriggerAuthentication gives."""
        if "authenticationRef" not in trigger:
            return {}
        reference = self._manifests.find("TriggerAuthentication", trigger["authenticationRef"]["name"])
        return {
            item["parameter"]: self._manifests.secrets[item["name"]][item["key"]]
            for item in reference["spec"]["secretTargetRef"]
        }

    def _client(self, kind: str, metadata: dict[str, str], login: dict[str, str]) -> redis.Redis:
        key = json.dumps([kind, metadata.get("address"), metadata["databaseIndex"]])
        if key not in self._clients:
            self._clients[key] = (_redis if kind == "redis" else _sentinel)(metadata, login)
        return self._clients[key]


def _redis(metadata: dict[str, str], login: dict[str, str]) -> redis.Redis:
    host, _colon, port = metadata["address"].rpartition(":")
    options: dict[str, Any] = {
        "host": host,
        "port": int(port),
        "db": int(metadata["databaseIndex"]),
        "username": login.get("username"),
        "password": login.get("password"),
        "decode_responses": True,
    }
    if metadata.get("enableTLS") != "true":
        return redis.Redis(**options)
    verifies = metadata.get("unsafeSsl") != "true"
    with tempfile.TemporaryDirectory(prefix="scaler-") as folder:
        files = {name: Path(folder) / name for name in ("ca", "cert", "key") if name in login}
        for name, file in files.items():
            file.write_text(login[name], encoding="utf-8")
        client = redis.Redis(
            **options,
            ssl=True,
            ssl_cert_reqs="required" if verifies else "none",
            ssl_ca_certs=str(files["ca"]) if "ca" in files else None,
            ssl_certfile=str(files["cert"]) if "cert" in files else None,
            ssl_keyfile=str(files["key"]) if "key" in files else None,
        )
        # It keeps this connection, and reads the files once.
        client.ping()
    return client


def _sentinel(metadata: dict[str, str], login: dict[str, str]) -> redis.Redis:
    addresses = [address.rpartition(":") for address in metadata["addresses"].split(",")]
    make: Callable[..., Any] = redis.sentinel.Sentinel
    sentinel = make(
        [(host, int(port)) for host, _colon, port in addresses],
        sentinel_kwargs={"password": login.get("sentinelPassword"), "username": metadata.get("sentinelUsername")},
        password=login.get("password"),
        username=login.get("username"),
        db=int(metadata["databaseIndex"]),
        decode_responses=True,
    )
    master: redis.Redis = sentinel.master_for(metadata["sentinelMaster"])
    return master


def _rabbitmq(metadata: dict[str, str], login: dict[str, str]) -> int:
    """A queue's numbers over the management interface. What it does not tell yet reads as zero, as in Go."""
    assert metadata["protocol"] == "http", "AMQP does not tell what workers hold"
    path = f"/api/queues/{quote_plus(metadata['vhostName'])}/{quote_plus(metadata['queueName'])}"
    token = base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
    request = urllib.request.Request(metadata["host"] + path, headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    wanted = "messages_ready" if metadata.get("excludeUnacknowledged") == "true" else "messages"
    return int(found.get(wanted) or 0)
