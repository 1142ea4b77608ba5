# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a variant asks for and nothing reads is said, with the key that would make it count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import SCALED, TRACKED, fleet_of, one_variant, problems_with

_KEDA_ALONE: dict[str, Any] = {
    "list_length": 5,
    "activation_list_length": 5,
    "polling_interval": 5,
    "cooldown_period": 60,
    "initial_cooldown_period": 60,
    "idle_replicas": 0,
    "hold": "pods",
    "fallback": {"replicas": 2},
    "extra_triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
    "scaled_object_annotations": {"team": "shop"},
}
_BEHAVIOR = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}
_UNSCALED = {**_KEDA_ALONE, **_BEHAVIOR, "min_replicas": 1, "max_replicas": 5, "paused": True}
_HPA = {"scaler": "hpa", "min_replicas": 2}
_SOLO = {"pool": "solo", "probe": "none"}
_JOBS = {"run_as": "jobs", "idempotent": True, "longest_task_seconds": 600}
_HOLD = {"hold": "pods", "min_replicas": 1}
_CHECKS = ("period_seconds", "failures", "timeout_seconds", "startup_seconds")
_OAUTH = {"provider": "google", "client_id": "a", "redirect_uri": "https://f.example/login", "allow": "a@example.org"}
_RABBITMQ = {"type": "rabbitmq", "host": "rabbit", "consumer_timeout": 0}


def _warnings(keys: dict[str, Any], key: str) -> list[str]:
    return [text for text in fleet_of(**one_variant(keys)).warnings if f"{key} of variant default" in text]


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        *(({key: value}, key, "without enable_keda: true nothing scales") for key, value in _UNSCALED.items()),
        *(({**_HPA, key: value}, key, "Kubernetes scales by CPU and memory") for key, value in _KEDA_ALONE.items()),
        ({**SCALED, "memory_utilization": 80}, "memory_utilization", "scaler: hpa reads it alone"),
        ({**SCALED, "replicas": 3}, "replicas", "the scaler decides"),
        ({"probe": {"heartbeat_seconds": 30}}, "heartbeat_seconds", "type: heartbeat"),
        ({"probe": {"type": "heartbeat", "consuming_seconds": 30}}, "consuming_seconds", "type: consuming"),
        ({"max_starts": 3}, "max_starts", "Write acks_late: true"),
        ({**_SOLO, "concurrency": 4}, "concurrency", "one task at a time"),
        *(({**_SOLO, key: 7}, key, "no child processes") for key in ("max_tasks_per_child", "max_memory_per_child")),
        ({"pool": "threads", "optimization": "default"}, "optimization", "write pool: prefork"),
        ({"extra_params": ["--pool=threads"], "max_tasks_per_child": 7}, "max_tasks_per_child", "write pool: prefork"),
        ({**_JOBS, "pool": "threads", "max_tasks_per_child": 7}, "max_tasks_per_child", "write pool: prefork"),
        ({**SCALED, "hold": "pods"}, "hold", "write idempotent: true"),
        ({**TRACKED, **_HOLD, "in_flight": False}, "hold", "(in_flight is false); leave in_flight out"),
        ({**TRACKED, **_HOLD, "acks_late": False}, "hold", "leave acks_late out"),
        *(({"probe": {"type": "none", key: 33}}, key, "no check with type none") for key in _CHECKS),
        *(({"probe": {"type": "ping", key: 33}}, key, "write liveness: true") for key in _CHECKS[:2]),
        ({"probe": {"type": "heartbeat", "liveness": False, "failures": 9}}, "failures", "write liveness: true"),
    ],
)
def test_a_key_that_nothing_reads_is_a_warning(keys: dict[str, Any], key: str, reason: str) -> None:
    (warning,) = _warnings(keys, key)
    assert reason in warning


@pytest.mark.parametrize("key", [*_KEDA_ALONE, "behavior"])
def test_what_a_scaler_reads_is_no_warning(key: str) -> None:
    assert _warnings({**SCALED, "idempotent": True, key: _UNSCALED[key]}, key) == []


@pytest.mark.parametrize("key", [*_KEDA_ALONE, "behavior"])
def test_defaults_of_all_variants_may_be_for_others(key: str) -> None:
    found = fleet_of(**one_variant({}), queue_defaults={key: _UNSCALED[key]}).warnings
    assert not [text for text in found if "has no effect" in text]


def test_seconds_of_a_probe_that_variants_share_are_for_those_that_read_them() -> None:
    shared = {"probe": {"type": "heartbeat", "heartbeat_seconds": 60}}
    found = fleet_of(**one_variant({"probe": {"type": "none"}}), queue_defaults=shared).warnings
    assert not [text for text in found if "heartbeat_seconds" in text]


def test_seconds_of_a_probe_that_a_layer_of_the_variant_switches_off_are_a_warning() -> None:
    variables = one_variant({"probe": {"type": "heartbeat", "heartbeat_seconds": 60}})
    upper = {"billing": {"default": {"probe": {"type": "none"}}}}
    (warning,) = [t for t in fleet_of(**variables, config__50_test=upper).warnings if "heartbeat_seconds" in t]
    assert "has no effect with type none" in warning


def test_a_pause_that_the_autoscaler_does_not_know_is_refused() -> None:
    (problem,) = problems_with({**_HPA, "paused": True})
    assert problem.startswith("celery_workers_config.billing.default.paused: Kubernetes' own autoscaler scales variant")
    variables = {**one_variant(_HPA), "queue_defaults": {"paused": True}}
    assert any("has no pause" in text for text in fleet_of(**variables).warnings)


def test_starts_of_tasks_that_are_acknowledged_early_are_not_limited() -> None:
    (problem,) = problems_with({"max_starts": 3, "acks_late": False})
    assert problem.startswith("celery_workers_config.billing.default.max_starts: variant default")
    assert "Write acks_late: true" in problem


@pytest.mark.parametrize(("broker", "reason"), [(_RABBITMQ, "consumer_timeout"), ({}, "write celery_workers_broker")])
def test_a_visibility_timeout_that_no_broker_knows_is_a_warning(broker: dict[str, Any], reason: str) -> None:
    variables = one_variant({"visibility_timeout": 9000}, broker=broker)
    (warning,) = [text for text in fleet_of(**variables).warnings if "has no effect" in text]
    assert warning.startswith("celery_workers_config.billing.default.visibility_timeout: ")
    assert reason in warning


@pytest.mark.parametrize(
    "keys",
    [
        {"concurrency": 4, "max_tasks_per_child": 7, "optimization": "default", "visibility_timeout": 9000},
        {**SCALED, "idempotent": True, "hold": "pods"},
        {"probe": {"type": "heartbeat", "period_seconds": 33, "failures": 9, "startup_seconds": 60}},
        {"probe": {"type": "ping", "liveness": True, "period_seconds": 33}},
    ],
)
def test_what_a_worker_reads_is_no_warning(keys: dict[str, Any]) -> None:
    assert not [text for text in fleet_of(**one_variant(keys)).warnings if "has no effect" in text]


def test_defaults_of_all_workers_may_be_for_other_pools_and_probes() -> None:
    shared = {"concurrency": 4, "max_tasks_per_child": 7, "hold": "pods", "visibility_timeout": 9000}
    shared["probe"] = {"type": "heartbeat", "failures": 9}
    own = {"pool": "solo", "probe": {"type": "none"}}
    variables = one_variant(own, broker=_RABBITMQ)
    assert not [text for text in fleet_of(**variables, queue_defaults=shared).warnings if "has no effect" in text]


_PARTS: dict[str, dict[str, Any]] = {
    "flower": {"max_tasks": 500},
    "exporter": {"worker_timeout": 30},
    "service_monitor": {"labels": {"release": "prometheus"}},
    "prometheus_rule": {"labels": {"release": "prometheus"}},
    "dashboard": {"title": "Workers"},
}


@pytest.mark.parametrize("part", _PARTS)
def test_keys_of_a_part_that_is_off_are_one_warning(part: str) -> None:
    def told(enabled: tuple[str, ...], keys: Any, name: str = part) -> list[str]:
        found = fleet_of(**one_variant({}), enabled=enabled, **{name: keys}).warnings
        return [text for text in found if "has no effect" in text]

    (warning,) = told((), {**_PARTS[part], "labels": {"team": "shop"}})
    assert warning == (f"celery_workers_{part}: this has no effect: celery_workers_{part}_enabled is not true.")
    assert told((), {}) == []
    assert told((part, "flower"), _PARTS[part]) == []
    (warning,) = told((), _PARTS[part], f"{part}__50_site")
    assert warning.startswith(f"celery_workers_{part}__50_site: ")


def test_thresholds_of_a_variant_without_alerts_are_a_warning() -> None:
    keys = {"alerts": {"restarts": 9}}
    (warning,) = [text for text in fleet_of(**one_variant(keys)).warnings if "has no effect" in text]
    assert warning.startswith("celery_workers_config.billing.default.alerts: ")
    assert "celery_workers_prometheus_rule_enabled is not true" in warning
    for variables in (
        {**one_variant(keys), "enabled": ("prometheus_rule",)},
        {**one_variant({}), "queue_defaults": keys},
        one_variant({"alerts": False}),
    ):
        assert not [text for text in fleet_of(**variables).warnings if "has no effect" in text]


@pytest.mark.parametrize(
    ("part", "keys", "path"),
    [
        ("flower", {"cookie_secret": True}, "cookie_secret"),
        ("flower", {"secret": {"name": "f", "client_secret_key": "c"}}, "secret.client_secret_key"),
        ("flower", {"oauth": _OAUTH, "secret": {"name": "f", "password_key": "p"}}, "secret.password_key"),
        ("flower", {"oauth": _OAUTH, "secret": {"name": "f"}, "username": "anna"}, "username"),
        ("flower", {"persistence": {"existing_claim": "c", "size": "3Gi"}}, "persistence.size"),
        ("flower", {"persistence": {"existing_claim": "c", "storage_class": "s"}}, "persistence.storage_class"),
        ("flower", {"ingress": {"host": "f.example", "tls": False, "tls_secret": "t"}}, "ingress.tls_secret"),
        ("service_monitor", {"type": "annotations", "interval": "10s"}, "interval"),
        ("service_monitor", {"type": "annotations", "drop_producers": False}, "drop_producers"),
        ("dashboard", {"folder": "Celery"}, "folder"),
        ("dashboard", {"delivery": "file", "labels": {"a": "b"}}, "labels"),
        ("dashboard", {"delivery": "grafana_dashboard", "file": "shop.json"}, "file"),
    ],
)
def test_a_key_of_a_part_that_another_one_switches_off_is_a_warning(part: str, keys: dict[str, Any], path: str) -> None:
    found = fleet_of(**one_variant({}), enabled=(part, "flower"), **{part: keys}).warnings
    (warning,) = [text for text in found if "has no effect" in text]
    assert warning.startswith(f"celery_workers_{part}.{path}: {path.rpartition('.')[2]} has no effect: ")


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("flower", {"username": "anna", "persistence": {"size": "3Gi"}, "ingress": {"host": "f.e", "tls_secret": "t"}}),
        ("flower", {"oauth": {**_OAUTH, "client_secret": True}, "cookie_secret": True}),
        ("service_monitor", {"interval": "10s", "labels": {"a": "b"}}),
        ("dashboard", {"delivery": "grafana_dashboard", "folder": "Celery", "instance_selector": {"a": "b"}}),
        ("dashboard", {"delivery": "file", "file": "shop.json"}),
    ],
)
def test_what_a_part_reads_is_no_warning(part: str, keys: dict[str, Any]) -> None:
    found = fleet_of(**one_variant({}), enabled=(part, "flower"), **{part: keys}).warnings
    assert not [text for text in found if "has no effect" in text]


@pytest.mark.parametrize(
    ("broker", "path"),
    [
        ({"host": "r", "tls": {"ca_key": "c"}}, "tls.ca_key"),
        ({"host": "r", "tls": {"ca_secret": "c", "private_key_key": "k"}}, "tls.private_key_key"),
        ({"host": "r", "secret": {"name": "s", "sentinel_password_key": "k"}}, "secret.sentinel_password_key"),
        ({"host": "r", "scaler": {"secret": {"name": "s", "tls_key": "k"}}}, "scaler.secret.tls_key"),
        ({**_RABBITMQ, "secret": {"name": "s", "access_key_id_key": "k"}}, "secret.access_key_id_key"),
        ({**_RABBITMQ, "delivery_limit": 3}, "delivery_limit"),
    ],
)
def test_a_key_that_this_broker_does_not_read_is_one_warning(broker: dict[str, Any], path: str) -> None:
    variables = one_variant({}, broker=broker)
    variables["services"]["other"] = {"image": "other"}
    variables["config"]["other"] = {"mail": {}}
    (warning,) = [text for text in fleet_of(**variables).warnings if "has no effect" in text]
    assert warning.startswith(f"celery_workers_broker.{path}: ")
