# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a number comes from: the layer that decided, the preset, the profile, the rule, or nobody."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._read.origins import explained

from tests.unit.inventories import IMAGE, fleet_of


def lines(config: dict[str, Any], **more: Any) -> dict[str, tuple[str, str]]:
    """Value and origin of each number of the variant high."""
    layers: dict[str, Any] = {
        "services": {"billing": {"image": IMAGE, "idempotent": True, "longest_task_seconds": 300}},
        "broker": {"host": "redis"},
        "config": {"billing": {"high": {"enable_keda": True, **config}}},
        **more,
    }
    found = explained(fleet_of(**layers).variants)
    assert found[0] == "billing.high"
    numbers: dict[str, tuple[str, str]] = {}
    for line in found[1:]:
        if line[2] != " ":
            name, value, *words = line.split()
        else:
            # A long origin goes on in the next line.
            words += line.split()
        numbers[name] = (value, " ".join(words))
    return numbers


def test_the_layer_that_decided_is_named() -> None:
    numbers = lines(
        {"max_replicas": 8, "concurrency": 4},
        config__50_group={"billing": {"high": {"max_replicas": 12}}},
        config__90_host={"billing": {"high": {"max_replicas": 25}}},
        queue_defaults={"polling_interval": 20},
    )
    assert numbers["max_replicas"] == ("25", "celery_workers_config__90_host.billing.high.max_replicas")
    assert numbers["concurrency"] == ("4", "celery_workers_config.billing.high.concurrency")
    assert numbers["polling_interval"] == ("20", "celery_workers_queue_defaults.polling_interval")
    assert numbers["longest_task_seconds"] == ("300", "celery_workers_services.billing.longest_task_seconds")


def test_a_rule_a_profile_and_a_default_are_told_apart() -> None:
    numbers = lines({"profile": "fast", "task_seconds": 20, "max_wait_seconds": 120})
    assert numbers["list_length"] == ("6", "2 slots * (max_wait_seconds 120 - 60 to start) / task_seconds 20")
    assert numbers["termination_grace_period"] == ("330", "longest_task_seconds 300 + 30 to shut down")
    assert numbers["max_replicas"] == ("20", "profile fast")
    assert numbers["min_replicas"] == ("0", "default, because the scaler sees running work")
    assert numbers["initial_cooldown_period"] == ("300", "default")
    assert numbers["max_memory_per_child"][1].startswith("KiB of the memory limit")


def test_a_key_that_is_written_wins_over_the_rule_and_says_so() -> None:
    numbers = lines({"task_seconds": 20, "list_length": 7, "longest_task_seconds": 60, "time_limit": 50})
    assert numbers["list_length"] == ("7", "celery_workers_config.billing.high.list_length")
    assert numbers["time_limit"] == ("50", "celery_workers_config.billing.high.time_limit")
    # A null takes a number back to what it would be.
    back = lines({"list_length": 7}, config__90_host={"billing": {"high": {"list_length": None}}})
    assert back["list_length"] == ("40", "default")


def test_a_number_that_nothing_reads_is_not_explained() -> None:
    fixed = lines({"enable_keda": False, "replicas": 3, "list_length": 5})
    assert fixed["replicas"] == ("3", "celery_workers_config.billing.high.replicas")
    assert {"list_length", "max_replicas", "polling_interval", "cpu_utilization"} & set(fixed) == set()
    hpa = lines({"enable_keda": None, "scaler": "hpa", "min_replicas": 1, "cpu_utilization": 70})
    assert {"cpu_utilization", "max_replicas"} <= set(hpa)
    assert {"list_length", "cooldown_period", "replicas"} & set(hpa) == set()


def test_the_preset_is_a_source_of_its_own() -> None:
    layers: dict[str, Any] = {
        "services": {name: {"image": IMAGE} for name in ("lms", "cms")},
        "broker": {"host": "redis"},
        "config": {"lms": {"high": {}}},
    }
    found = explained(fleet_of(preset="openedx", **layers).variants)
    assert "lms.high" in found
    assert not [line for line in found if "collection defaults" in line]
    assert max(map(len, found)) <= 93
