# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that follow from task times: their values, the sentence that explains each, and values by hand that win."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Variant

from tests.unit.inventories import SCALED, TRACKED, container_with, fleet_of, problems_with, variant_of

SAFE = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}

#: A variant that goes to zero although nobody sees its running work.
BLIND_ZERO = {"enable_keda": True, "min_replicas": 0, "accept_risks": ["invisible-work"]}


def value_of(variant: Variant, key: str) -> Any:
    """The value of a key, wherever the model keeps it."""
    parts = (variant.process, variant.pod, variant.scaling, variant.knowledge)
    return next(getattr(part, key) for part in parts if hasattr(part, key))


#: Key, keys that it follows from, its value, the sentence, and another value by hand.
DERIVED: list[tuple[str, dict[str, Any], Any, str, Any]] = [
    (
        "list_length",
        {**TRACKED, "task_seconds": 20, "concurrency": 4},
        102,
        "list_length 102: 4 slots * (max_wait_seconds 600 - 90 to start) / task_seconds 20",
        7,
    ),
    (
        "list_length",
        {**TRACKED, "task_seconds": 7, "max_wait_seconds": 60, "extra_params": ["-c3"]},
        12,
        "list_length 12: 3 slots * (max_wait_seconds 60 - 30 to start) / task_seconds 7",
        7,
    ),
    (
        "list_length",
        {**TRACKED, "task_seconds": 20, "polling_interval": 5, "start_seconds": 200},
        38,
        "list_length 38: 2 slots * (max_wait_seconds 600 - 220 to start) / task_seconds 20",
        7,
    ),
    (
        "list_length",
        {**SCALED, "task_seconds": 5000},
        1,
        "list_length 1: 2 slots * (max_wait_seconds 600 - 90 to start) / task_seconds 5000",
        2,
    ),
    ("time_limit", {"longest_task_seconds": 90.5}, 91, "time_limit 91: longest_task_seconds 91", 95),
    (
        "termination_grace_period",
        {"longest_task_seconds": 90.5},
        121,
        "termination_grace_period 121: longest_task_seconds 91 + 30 to shut down",
        500,
    ),
    (
        "termination_grace_period",
        {"longest_task_seconds": 5},
        60,
        "termination_grace_period 60: longest_task_seconds 5 + 30 to shut down",
        40,
    ),
    (
        "cooldown_period",
        {**BLIND_ZERO, "longest_task_seconds": 400},
        400,
        "cooldown_period 400: longest_task_seconds 400, which the scaler does not see",
        900,
    ),
    (
        "pod_annotations",
        {"longest_task_seconds": 571},
        SAFE,
        "pod_annotations: longest_task_seconds 571: prevents node eviction during the task",
        {"karpenter.sh/do-not-disrupt": "false", "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
    ),
    (
        "soft_shutdown_timeout",
        {**TRACKED, "longest_task_seconds": 4000, "termination_grace_period": 300},
        270,
        "soft_shutdown_timeout 270: the grace period of 300 s is below longest_task_seconds",
        200,
    ),
]
IDS = [f"{row[0]}-{number}" for number, row in enumerate(DERIVED)]


@pytest.mark.parametrize(("key", "keys", "value", "reason", "_by_hand"), DERIVED, ids=IDS)
def test_a_setting_follows_from_task_times_and_says_how(
    key: str, keys: dict[str, Any], value: Any, reason: str, _by_hand: Any
) -> None:
    variant = variant_of(keys)
    assert value_of(variant, key) == value
    assert reason in variant.sizing


@pytest.mark.parametrize(("key", "keys", "_value", "_reason", "by_hand"), DERIVED, ids=IDS)
def test_a_setting_by_hand_wins_and_is_not_explained(
    key: str, keys: dict[str, Any], _value: Any, _reason: str, by_hand: Any
) -> None:
    variant = variant_of({**keys, key: by_hand})
    assert value_of(variant, key) == by_hand
    assert not [reason for reason in variant.sizing if reason.startswith(f"{key} ") or reason.startswith(f"{key}:")]


def test_without_task_times_nothing_is_worked_out() -> None:
    assert variant_of(TRACKED).sizing == ()


@pytest.mark.parametrize(
    ("keys", "explained"),
    [
        ({}, set()),
        ({"scaler": "hpa"}, {"behavior"}),
        (SCALED, {"list_length", "behavior"}),
        (TRACKED, {"list_length", "behavior", "cooldown_period"}),
        (BLIND_ZERO, {"list_length", "behavior", "cooldown_period"}),
    ],
)
def test_what_no_scaler_reads_is_not_explained(keys: dict[str, Any], explained: set[str]) -> None:
    variant = variant_of({**keys, "task_seconds": 20, "longest_task_seconds": 900})
    found = {reason.split(":")[0].split(" ")[0] for reason in variant.sizing}
    # What begins with pods says why the behavior is no other.
    assert found - {"time_limit", "termination_grace_period", "pod_annotations", "pods"} == explained


def test_a_scaler_that_sees_running_work_may_cool_down_sooner_than_the_longest_task() -> None:
    assert variant_of({**TRACKED, "longest_task_seconds": 4000}).scaling.cooldown_period == 60
    assert variant_of({**SCALED, "longest_task_seconds": 4000}).scaling.cooldown_period == 4000


@pytest.mark.parametrize(("longest", "evicts"), [(570, True), (571, False)])
def test_a_node_does_not_go_under_a_task_that_outlasts_the_patience_of_the_cluster_autoscaler(
    longest: int, evicts: bool
) -> None:
    annotations = variant_of({"longest_task_seconds": longest}).pod.pod_annotations
    assert (annotations == {}) is evicts


@pytest.mark.parametrize(("longest", "window", "period"), [(601, 601, 300), (900, 900, 450), (9000, 3600, 1800)])
def test_of_long_tasks_one_pod_at_a_time_is_taken_away_and_both_directions_stay_complete(
    longest: int, window: int, period: int
) -> None:
    behavior = variant_of({**SCALED, "longest_task_seconds": longest}).scaling.behavior
    assert behavior["scaleDown"] == {
        "stabilizationWindowSeconds": window,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": period}],
    }
    assert behavior["scaleUp"]["policies"]


ONE_IN_TWO_MINUTES = {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}

#: Keys, and the seconds without work after which pods go.
IDLE: list[tuple[dict[str, Any], int]] = [
    ({"profile": "long"}, 60),
    ({"profile": "long", "start_seconds": 90}, 90),
    ({"profile": "long", "start_seconds": 20}, 60),
    ({"profile": "long", "polling_interval": 200}, 400),
    ({"profile": "long", "longest_task_seconds": 7200}, 60),
    ({"profile": "long", "concurrency": 4}, 60),
    ({"longest_task_seconds": 20}, 60),
    ({"longest_task_seconds": 20, "start_seconds": 300}, 300),
    ({"longest_task_seconds": 4000, "start_seconds": 5000}, 5000),
    ({"longest_task_seconds": 900, "termination_grace_period": 900}, 60),
    (
        {
            "longest_task_seconds": 100,
            "termination_grace_period": 160,
            "lifecycle": {"preStop": {"sleep": {"seconds": 60}}},
        },
        60,
    ),
]


@pytest.mark.parametrize(("keys", "seconds"), IDLE)
def test_pods_without_work_go_when_another_one_costs_less_where_those_that_go_end_their_tasks(
    keys: dict[str, Any], seconds: int
) -> None:
    variant = variant_of({**TRACKED, **keys})
    window = min(3600, seconds)
    assert variant.scaling.behavior["scaleDown"] == {**ONE_IN_TWO_MINUTES, "stabilizationWindowSeconds": window}
    assert variant.scaling.cooldown_period == seconds
    assert any(line.startswith(f"behavior: scaleDown after {window} s, ") for line in variant.sizing)


#: Keys, seconds of the window, of the cooldown, and why they are no shorter.
SLOW: list[tuple[dict[str, Any], int, int, str]] = [
    ({"profile": "long", "idempotent": False}, 3600, 1800, "the scaler does not see running work (idempotent is false"),
    (
        {"profile": "long", "termination_grace_period": 600},
        3600,
        1800,
        "the grace period of 600 s is shorter than the longest task of 14400 s",
    ),
    (
        {"longest_task_seconds": 900, "termination_grace_period": 600},
        900,
        300,
        "the grace period of 600 s is shorter than the longest task of 900 s",
    ),
    (
        {
            "longest_task_seconds": 700,
            "termination_grace_period": 700,
            "lifecycle": {"preStop": {"sleep": {"seconds": 60}}},
        },
        700,
        300,
        "the grace period of 640 s is shorter than the longest task of 700 s",
    ),
    ({"start_seconds": 60}, 600, 300, "nobody has said how long tasks take (longest_task_seconds)"),
]


@pytest.mark.parametrize(("keys", "window", "cooldown", "reason"), SLOW)
def test_where_a_pod_that_goes_might_cut_a_task_scaling_down_stays_slow_and_says_why(
    keys: dict[str, Any], window: int, cooldown: int, reason: str
) -> None:
    variant = variant_of({**TRACKED, "accept_risks": ["short-grace"], **keys})
    assert variant.scaling.behavior["scaleDown"]["stabilizationWindowSeconds"] == window
    assert variant.scaling.cooldown_period == cooldown
    (line,) = [line for line in variant.sizing if line.startswith("pods without work stay")]
    assert line.startswith(f"pods without work stay for {window} s, whatever start_seconds is: {reason}")


@pytest.mark.parametrize("keys", [{}, {"profile": "fast"}, {"task_seconds": 5}, {"max_replicas": 3}])
def test_who_says_nothing_of_long_tasks_keeps_the_times_there_were(keys: dict[str, Any]) -> None:
    scaling = variant_of({**TRACKED, **keys}).scaling
    assert scaling.behavior["scaleDown"] == {**ONE_IN_TWO_MINUTES, "stabilizationWindowSeconds": 600}
    assert scaling.cooldown_period == 300


def up_of(keys: dict[str, Any]) -> list[int]:
    """Seconds after which pods may come again, of each policy."""
    up = variant_of(keys).scaling.behavior["scaleUp"]
    return [policy["periodSeconds"] for policy in up["policies"]]


def test_pods_come_as_fast_as_the_wait_asks_for_where_somebody_says_how_long_tasks_take() -> None:
    assert up_of({**TRACKED, "task_seconds": 20, "max_wait_seconds": 120}) == [30, 30]
    assert up_of({**SCALED, "task_seconds": 20}) == [30, 30]
    for keys in ({}, {"max_wait_seconds": 120}, {"profile": "fast"}, {"longest_task_seconds": 20}):
        assert up_of({**TRACKED, **keys}) == [60, 60]
    # What says nothing of waits keeps its pace, and so does what is written by hand.
    assert up_of({"scaler": "hpa", "task_seconds": 20}) == [60, 60]
    by_hand = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 90}]}}
    assert up_of({**TRACKED, "task_seconds": 20, "behavior": by_hand}) == [90]


def test_pods_that_come_faster_go_no_faster() -> None:
    """A profile for long tasks scales down slowly where the scaler does not see what runs."""
    slow = variant_of({**SCALED, "profile": "long", "task_seconds": 600}).scaling.behavior
    assert slow["scaleDown"] == variant_of({**SCALED, "profile": "long"}).scaling.behavior["scaleDown"]
    assert slow["scaleDown"]["stabilizationWindowSeconds"] == 3600
    long = variant_of({**SCALED, "longest_task_seconds": 900, "task_seconds": 60})
    assert long.scaling.behavior["scaleDown"]["stabilizationWindowSeconds"] == 900
    (line,) = [line for line in long.sizing if line.startswith("behavior: ")]
    assert "longest_task_seconds 900" in line
    assert "scaleUp every 30 s, for max_wait_seconds 600" in line


def test_times_by_hand_win_over_those_that_a_start_takes() -> None:
    keys = {**TRACKED, "profile": "long", "cooldown_period": 1800}
    slow = {"scaleDown": {"stabilizationWindowSeconds": 3600}}
    variant = variant_of({**keys, "behavior": slow})
    assert variant.scaling.cooldown_period == 1800
    assert variant.scaling.behavior["scaleDown"]["stabilizationWindowSeconds"] == 3600
    assert not [line for line in variant.sizing if line.startswith(("behavior", "cooldown_period", "pods"))]


def test_an_hpa_does_not_see_work_so_its_pods_go_no_sooner() -> None:
    keys = {"scaler": "hpa", "idempotent": True, "longest_task_seconds": 900, "start_seconds": 60}
    assert variant_of(keys).scaling.behavior["scaleDown"]["stabilizationWindowSeconds"] == 900


MANY_SLOTS: list[tuple[dict[str, Any], int]] = [
    ({"concurrency": 4}, 4),
    ({"pool": "threads", "concurrency": 8}, 8),
    ({"extra_params": ["--pool=gevent", "--concurrency=100"]}, 100),
    ({"extra_params": ["-c", "3"]}, 3),
]


@pytest.mark.parametrize(("keys", "slots"), MANY_SLOTS)
def test_what_a_profile_says_of_one_slot_is_not_said_of_many(keys: dict[str, Any], slots: int) -> None:
    variant = variant_of({**TRACKED, "profile": "long", **keys})
    assert (variant.slots, variant.scaling.list_length, variant.scaling.hold) == (slots, slots, "slots")
    # The rest of the profile has nothing to do with slots.
    assert (variant.scaling.max_replicas, variant.pod.termination_grace_period) == (5, 14400)
    assert f"list_length {slots}: profile long, 1 message for each of {slots} slots" in variant.sizing
    sources = {origin.name: f"{origin.value:g} {origin.source}" for origin in variant.origins}
    assert sources["list_length"] == f"{slots} profile long, 1 message for each of {slots} slots"
    assert sources["concurrency"].startswith(f"{slots} ")
    assert "profile" not in sources["concurrency"]


@pytest.mark.parametrize("keys", [{}, {"pool": "solo"}, {"pool": "threads"}, {"extra_params": ["--concurrency=1"]}])
def test_with_one_slot_a_profile_is_as_it_is_written(keys: dict[str, Any]) -> None:
    variant = variant_of({**TRACKED, "profile": "long", **keys})
    assert (variant.slots, variant.scaling.list_length, variant.scaling.hold) == (1, 1, "pods")


def test_numbers_by_hand_and_task_times_win_over_a_profile_with_any_slots() -> None:
    by_hand = variant_of({**TRACKED, "profile": "long", "concurrency": 4, "list_length": 2, "hold": "pods"})
    assert (by_hand.scaling.list_length, by_hand.scaling.hold) == (2, "pods")
    timed = variant_of({**TRACKED, "profile": "long", "concurrency": 4, "task_seconds": 60})
    assert timed.scaling.list_length == 33


@pytest.mark.parametrize("keys", [{"scaler": "hpa"}, SCALED])
def test_what_would_be_held_is_not_told_where_the_scaler_holds_nothing(keys: dict[str, Any]) -> None:
    variant = variant_of({**keys, "profile": "long", "concurrency": 4})
    assert not [line for line in variant.sizing if line.startswith("hold ")]


@pytest.mark.parametrize("service", ["lms", "cms"])
@pytest.mark.parametrize("name", ["default", "high", "high_mem", "low"])
def test_the_preset_keeps_the_numbers_that_the_tutor_plugin_documents(service: str, name: str) -> None:
    image = {service: {"image": "registry.example/openedx:1"} for service in ("lms", "cms")}
    fleet = fleet_of(preset="openedx", services=image, config={service: {name: {"enable_keda": True}}})
    (variant,) = (item for item in fleet.variants if (item.service, item.name) == (service, name))
    scaling = variant.scaling
    most = 10 if name == "default" else 30
    assert (scaling.min_replicas, scaling.max_replicas, scaling.list_length) == (0, most, 40)
    assert (variant.knowledge.profile, scaling.hold) == (None, "slots")


def test_a_behavior_by_hand_is_merged_over_the_one_that_was_worked_out() -> None:
    keys = {**SCALED, "longest_task_seconds": 900, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}
    scale_down = variant_of(keys).scaling.behavior["scaleDown"]
    assert scale_down["stabilizationWindowSeconds"] == 60
    assert scale_down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 450}]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"acks_late": True}, 30),
        ({"idempotent": True, "enable_keda": True}, 30),
        ({"acks_late": True, "soft_shutdown_timeout": 40}, 40),
        ({"acks_late": True, "termination_grace_period": 500}, None),
        ({"accept_risks": ["short-grace"]}, None),
        ({"acks_late": True, "termination_grace_period": 30, "accept_risks": ["short-grace"]}, None),
    ],
)
def test_tasks_that_outlast_the_grace_period_go_back_where_they_may_run_twice(
    keys: dict[str, Any], expected: int | None
) -> None:
    variant = variant_of({"longest_task_seconds": 500, "termination_grace_period": 60, **keys})
    assert variant.process.soft_shutdown_timeout == expected


def test_a_soft_shutdown_begins_because_the_worker_takes_the_signal_for_one() -> None:
    """Without it Celery's SIGTERM waits for tasks without end (5.5 and later)."""
    keys = {**TRACKED, "longest_task_seconds": 4000, "termination_grace_period": 300}
    container = container_with(keys)
    assert {"name": "REMAP_SIGTERM", "value": "SIGQUIT"} in container["env"]
    assert "worker.soft_shutdown_timeout=(int)270" in container["args"]
    (problem,) = problems_with({**keys, "env": {"REMAP_SIGTERM": "SIGTERM"}})
    assert "[short-grace]" in problem


@pytest.mark.parametrize(
    ("keys", "kibibytes"),
    [
        ({"concurrency": 4, "resources": {"limits": {"memory": "4Gi"}}}, 668467),
        ({"concurrency": 2, "extra_params": ["-c4"], "resources": {"limits": {"memory": "4Gi"}}}, 668467),
        ({"concurrency": 4, "resources": {"limits": {"memory": "4Gi"}}, "max_memory_per_child": 1000}, 1000),
        ({"resources": {"limits": {"memory": None}}}, None),
        ({"resources": {"limits": {"memory": "4Gi"}}, "max_memory_per_child": 0}, None),
    ],
)
def test_a_child_has_its_share_of_three_quarters_of_the_limit_less_a_reserve(
    keys: dict[str, Any], kibibytes: int | None
) -> None:
    """4 GiB * 0.75 / 4 * 0.85 is 668467.2 KiB."""
    words = [word for word in variant_of(keys).args if word.startswith("--max-memory-per-child")]
    assert words == ([] if kibibytes is None else [f"--max-memory-per-child={kibibytes}"])
