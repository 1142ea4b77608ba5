# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a variant asks for and nothing reads is said, with the key that would make it count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import SCALED, fleet_of, one_variant, problems_with

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
