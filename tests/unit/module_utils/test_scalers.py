# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ScaledObjects and TriggerAuthentications: KEDA counts the right list with the right credentials and keeps pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import (
    SCALED,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    scaled_object_with,
)

#: A broker whose app has no priorities.
ONE_LIST = {"host": "redis", "priority_steps": [0]}


def trigger_with(keys: Any = None, **rest: Any) -> dict[str, Any]:
    found: dict[str, Any] = scaled_object_with(keys, **rest)["spec"]["triggers"][0]
    return found


def test_a_trigger_counts_the_list_that_the_worker_takes_its_messages_from() -> None:
    broker = {"host": "redis", "database": 3, "global_keyprefix": "shop_", "priority_steps": [0]}
    assert trigger_with({"list_length": 7, "activation_list_length": 2, "queues": ["edx.lms"]}, broker=broker) == {
        "type": "redis",
        "name": "backlog",
        "metadata": {
            "address": "redis.shop.svc:6379",
            "databaseIndex": "3",
            "listName": "shop_edx.lms",
            "listLength": "7",
            "activationListLength": "2",
        },
    }


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("redis", "redis.shop.svc:6379"),
        ("redis.databases.svc", "redis.databases.svc:6379"),
        ("10.0.0.7", "10.0.0.7:6379"),
        ("fe80::1", "[fe80::1]:6379"),
    ],
)
def test_the_address_is_one_that_keda_resolves_in_its_own_namespace(host: str, address: str) -> None:
    assert trigger_with(broker={"host": host})["metadata"]["address"] == address


@pytest.mark.parametrize(
    ("broker", "references"),
    [
        ({"host": "redis"}, None),
        ({"host": "redis", "password": True}, [("password", "shop-celery-broker", "password")]),
        (
            {"host": "redis", "password": True, "username": "me"},
            [("username", "shop-celery-broker", "username"), ("password", "shop-celery-broker", "password")],
        ),
        ({"host": "redis", "secret": {"name": "x", "password_key": "pw"}}, [("password", "x", "pw")]),
        ({"host": "redis", "secret": {"name": "x"}}, None),
        ({"host": "redis", "tls": {"ca_secret": "ca"}}, [("ca", "ca", "ca.crt")]),
    ],
)
def test_credentials_are_references_to_secrets(broker: dict[str, Any], references: Any) -> None:
    manifests = manifests_with(SCALED, broker=broker)
    found = of_kind(manifests, "TriggerAuthentication")
    trigger = of_kind(manifests, "ScaledObject")[0]["spec"]["triggers"][0]
    if references is None:
        assert found == []
        assert "authenticationRef" not in trigger
        return
    assert trigger["authenticationRef"] == {"name": found[0]["metadata"]["name"]}
    secrets = found[0]["spec"]["secretTargetRef"]
    assert [(item["parameter"], item["name"], item["key"]) for item in secrets] == references


def test_tls_is_switched_on_and_certificates_are_checked_unless_told_otherwise() -> None:
    assert trigger_with(broker={"host": "redis", "tls": True})["metadata"]["enableTLS"] == "true"
    assert "unsafeSsl" not in trigger_with(broker={"host": "redis", "tls": True})["metadata"]
    unsafe = trigger_with(broker={"host": "redis", "tls": {"insecure_skip_verify": True}})["metadata"]
    assert unsafe["unsafeSsl"] == "true"


def test_several_lists_are_counted_together_in_units_of_pods() -> None:
    """Only with a whole number as target does KEDA's fallback work beside a formula."""
    spec = scaled_object_with({"queues": ["a", "b"], "list_length": 5}, broker=ONE_LIST)["spec"]
    assert [trigger["name"] for trigger in spec["triggers"]] == ["backlog_a", "backlog_b"]
    assert spec["advanced"]["scalingModifiers"] == {
        "formula": "(backlog_a + backlog_b) / 5",
        "target": "1",
        "metricType": "AverageValue",
    }


def test_a_trigger_of_the_user_is_in_the_formula_because_the_hpa_reads_no_other() -> None:
    cron = {
        "type": "cron",
        "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *", "desiredReplicas": "3"},
    }
    spec = scaled_object_with({"queues": ["a", "b"], "extra_triggers": [cron]}, broker=ONE_LIST)["spec"]
    assert "cron_0" in spec["advanced"]["scalingModifiers"]["formula"]
    assert spec["triggers"][2] == {**cron, "name": "cron_0"}


def test_without_a_formula_the_users_trigger_stays_as_it_is() -> None:
    kafka = {"type": "kafka", "metadata": {"topic": "orders"}}
    spec = scaled_object_with({"extra_triggers": [kafka]}, broker=ONE_LIST)["spec"]
    assert "scalingModifiers" not in spec["advanced"]
    assert spec["triggers"][1] == kafka


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"min_replicas": 0, "accept_risks": ["invisible-work"]}, True),
        ({"min_replicas": 1}, False),
        ({"min_replicas": 1, "idle_replicas": 0, "accept_risks": ["invisible-work"]}, True),
    ],
)
def test_keda_polls_and_cools_down_only_where_it_may_go_to_zero(keys: dict[str, Any], expected: bool) -> None:
    spec = scaled_object_with(keys)["spec"]
    assert ({"pollingInterval", "cooldownPeriod", "initialCooldownPeriod"} <= set(spec)) is expected
    assert spec.get("idleReplicaCount") == keys.get("idle_replicas")


TIMES = {"polling_interval": 30, "cooldown_period": 60, "initial_cooldown_period": 90}


def test_times_that_mean_nothing_are_not_sent_and_who_wrote_them_is_told() -> None:
    fleet = fleet_of(**one_variant({**SCALED, "time_limit": 60, **TIMES}))
    (scaled,) = of_kind(manifests_of(fleet), "ScaledObject")
    assert not {"pollingInterval", "cooldownPeriod", "initialCooldownPeriod"} & set(scaled["spec"])
    assert list(fleet.warnings) == [
        f"celery_workers_config.billing.default.{key}: {key} has no effect, because variant default of service billing "
        "never goes to 0 pods. Leave it out."
        for key in TIMES
    ]


def test_times_of_all_variants_are_no_mistake_where_one_of_them_goes_to_zero() -> None:
    variables = one_variant({**SCALED, "time_limit": 60})
    variables["config"]["billing"]["high"] = {**SCALED, "min_replicas": 0, "idempotent": True, "time_limit": 60}
    variables["queue_defaults"] = TIMES
    fleet = fleet_of(**variables)
    assert fleet.warnings == ()
    default, high = of_kind(manifests_of(fleet), "ScaledObject")
    assert "pollingInterval" not in default["spec"]
    assert (high["spec"]["pollingInterval"], high["spec"]["cooldownPeriod"]) == (30, 60)


def test_a_metric_that_keda_keeps_is_read_at_its_interval_whatever_the_fewest_pods() -> None:
    query = {"serverAddress": "http://p:9090", "query": "sum(up)", "threshold": "2", "ignoreNullValues": "false"}
    kept = {"type": "prometheus", "metadata": query, "useCachedMetrics": True}
    fleet = fleet_of(**one_variant({**SCALED, "time_limit": 60, "polling_interval": 30, "extra_triggers": [kept]}))
    (scaled,) = of_kind(manifests_of(fleet), "ScaledObject")
    assert fleet.warnings == ()
    assert scaled["spec"]["pollingInterval"] == 30
    assert "cooldownPeriod" not in scaled["spec"]


@pytest.mark.parametrize(
    ("keys", "replicas"),
    [
        ({"min_replicas": 0, "idempotent": True}, 1),
        ({"min_replicas": 3}, 3),
        ({"fallback": {"replicas": 6}}, 6),
    ],
)
def test_an_outage_of_the_broker_never_scales_to_zero(keys: dict[str, Any], replicas: int) -> None:
    assert scaled_object_with(keys)["spec"]["fallback"]["replicas"] == replicas
    assert "fallback" not in scaled_object_with({"fallback": False})["spec"]


@pytest.mark.parametrize(
    ("keda", "behavior"),
    [("", "currentReplicasIfHigher"), ("2.17", "currentReplicasIfHigher"), ("2.16.1", "static")],
)
def test_the_fallback_that_nobody_wrote_is_one_that_the_installed_keda_has(keda: str, behavior: str) -> None:
    fleet = fleet_of(**one_variant(SCALED), versions={"keda": keda})
    (scaled,) = of_kind(manifests_of(fleet), "ScaledObject")
    assert scaled["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": behavior}


def test_a_behavior_is_merged_over_the_default() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    found = scaled_object_with({"behavior": behavior})["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert found["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert found["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]
    assert found["scaleUp"]["policies"][0] == {"type": "Pods", "value": 4, "periodSeconds": 60}


@pytest.mark.parametrize("keys", [{}, {"longest_task_seconds": 3000}, {"profile": "long"}])
def test_the_way_up_waits_for_no_window_whose_smallest_wish_would_count(keys: dict[str, Any]) -> None:
    config = scaled_object_with(keys)["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert config["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert config["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 600


CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}
NEW = {"kubernetes": "1.35", "keda": "2.20"}


@pytest.mark.parametrize(
    ("versions", "keys", "tolerance"),
    [
        (NEW, {}, "0"),
        ({"kubernetes": "1.36.2"}, {}, "0"),
        (NEW, {"longest_task_seconds": 3000}, "0"),
        (NEW, {"behavior": {"scaleUp": {"tolerance": "0.05"}}}, "0.05"),
        (NEW, {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}}}, "0"),
        ({"kubernetes": "1.34.9"}, {}, None),
        ({}, {}, None),
        ({"kubernetes": "1.35", "keda": "2.17"}, {}, None),
        # It would hold for the noise of CPU as well.
        (NEW, {"extra_triggers": [CPU]}, None),
    ],
)
def test_a_tenth_of_the_work_is_no_noise_where_the_server_can_be_told_so(
    versions: dict[str, str], keys: dict[str, Any], tolerance: str | None
) -> None:
    (scaled,) = of_kind(manifests_of(fleet_of(**one_variant({**SCALED, **keys}), versions=versions)), "ScaledObject")
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"].get("tolerance") == tolerance
    assert "tolerance" not in behavior["scaleDown"]


def test_an_hpa_that_measures_cpu_keeps_its_tolerance() -> None:
    (hpa,) = of_kind(manifests_of(fleet_of(**one_variant({"scaler": "hpa"}), versions=NEW)), "HorizontalPodAutoscaler")
    assert "tolerance" not in hpa["spec"]["behavior"]["scaleUp"]


@pytest.mark.parametrize(
    ("paused", "annotation"),
    [(True, "paused"), ("scale_in", "paused-scale-in"), ("scale_out", "paused-scale-out"), (False, None)],
)
def test_scaling_is_paused_by_an_annotation(paused: Any, annotation: str | None) -> None:
    found = scaled_object_with({"paused": paused})["metadata"]["annotations"]
    of_keda = {name: value for name, value in found.items() if name.startswith("autoscaling.keda.sh/")}
    assert of_keda == ({f"autoscaling.keda.sh/{annotation}": "true"} if annotation else {})


def test_only_variants_that_ask_for_it_are_scaled_and_each_once() -> None:
    variables = one_variant({})
    variables["config"]["billing"].update({"high": SCALED, "low": {**SCALED, "scaler": "keda", "enable_keda": False}})
    scaled = of_kind(manifests_of(fleet_of(**variables)), "ScaledObject")
    assert [item["spec"]["scaleTargetRef"]["name"] for item in scaled] == ["billing-worker-high", "billing-worker-low"]
    assert [item["metadata"]["name"] for item in scaled] == [
        "billing-worker-high-scaledobject",
        "billing-worker-low-scaledobject",
    ]


def hpa_with(keys: dict[str, Any]) -> dict[str, Any]:
    (found,) = of_kind(manifests_with({"scaler": "hpa", **keys}), "HorizontalPodAutoscaler")
    return found


def measured(keys: dict[str, Any]) -> dict[str, int]:
    return {
        metric["resource"]["name"]: metric["resource"]["target"]["averageUtilization"]
        for metric in hpa_with(keys)["spec"]["metrics"]
    }


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"cpu": 80}),
        ({"cpu_utilization": 60}, {"cpu": 60}),
        ({"memory_utilization": 70}, {"memory": 70}),
        ({"cpu_utilization": 60, "memory_utilization": 70}, {"cpu": 60, "memory": 70}),
    ],
)
def test_an_hpa_measures_what_it_is_told_to_and_cpu_otherwise(keys: dict[str, Any], expected: dict[str, int]) -> None:
    assert measured(keys) == expected


def test_an_hpa_scales_the_deployment_of_its_variant_between_one_and_the_most_pods() -> None:
    found = hpa_with({"max_replicas": 6})
    assert found["metadata"]["name"] == "billing-worker-hpa"
    assert found["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "billing-worker"}
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (1, 6)
    assert found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600


def test_beside_an_hpa_there_is_no_object_of_keda_and_no_number_of_pods() -> None:
    manifests = manifests_with({"scaler": "hpa", "replicas": 3}, broker={"host": "redis", "password": True})
    assert {item["kind"] for item in manifests} == {"Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    assert "replicas" not in of_kind(manifests, "Deployment")[0]["spec"]
