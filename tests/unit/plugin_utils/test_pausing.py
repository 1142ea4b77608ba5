# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pausing and resuming over a namespace in memory, and what deploys make of a pause."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.names import PAUSE_ANNOTATION
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, operate, refused, run

PAUSED = "autoscaling.keda.sh/paused"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
FLEET: Object = {
    "services": {
        name: {"image": IMAGE, "app": f"{name}.celery", "queue_name": "{service}.{variant}"} for name in ("lms", "cms")
    },
    "config": {"lms": {"default": SCALED, "high": SCALED, "low": {"replicas": 2}}, "cms": {"default": SCALED}},
    "broker": {"host": "redis"},
}


def at(hours: float = 0) -> Callable[[], datetime]:
    """A clock that tells a time so many hours after noon."""
    return lambda: NOW + timedelta(hours=hours)


def deployed(**variables: Any) -> ModelCluster:
    """A site that an hour ago was deployed for the first time."""
    cluster = ModelCluster()
    if variables:
        done(run(cluster, clock=at(-1), **{**FLEET, **variables}))
    else:
        cluster.objects, cluster.version = copy.deepcopy(_usual()), 1000
    cluster.scale("lms-worker-high", 3)
    return cluster


@functools.cache
def _usual() -> dict[tuple[str, str], Object]:
    cluster = ModelCluster()
    done(run(cluster, clock=at(-1), **FLEET))
    return cluster.objects


def notes(cluster: ModelCluster, deployment: str = "lms-worker-high") -> dict[str, str]:
    """Annotations of a ScaledObject that are about pauses."""
    found = cluster.objects["ScaledObject", f"{deployment}-scaledobject"]["metadata"]["annotations"]
    return {name: value for name, value in found.items() if name.startswith(PAUSED) or name == PAUSE_ANNOTATION}


def annotate(cluster: ModelCluster, deployment: str = "lms-worker-high", **values: str) -> None:
    """What a person does with kubectl annotate."""
    item = cluster.objects["ScaledObject", f"{deployment}-scaledobject"]
    item["metadata"]["annotations"] |= {
        f"autoscaling.keda.sh/{name.replace('_', '-')}": values[name] for name in values
    }


def pause(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    return operate(cluster, "pause", clock=at(hours), **{**FLEET, **variables})


def resume(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    return operate(cluster, "resume", clock=at(hours), **{**FLEET, **variables})


def deploy(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    return run(cluster, clock=at(hours), **{**FLEET, **variables})


HIGH: Object = {"only": ["lms/high"]}


def test_a_variant_is_paused_at_its_current_number_and_the_object_says_who_why_and_until_when() -> None:
    cluster = deployed()
    found = done(pause(cluster, **HIGH, pause_until="2h", pause_reason="release 42"))
    assert found["changed"]
    assert notes(cluster)[PAUSED] == "true"
    told = json.loads(notes(cluster)[PAUSE_ANNOTATION])
    assert told == {
        "by": "anna",
        "pods": 3,
        "reason": "release 42",
        "set": {PAUSED: "true"},
        "since": "2026-11-30T12:00:00Z",
        "until": "2026-11-30T14:00:00Z",
    }
    assert found["notes"] == [
        "lms/high: paused at 3 pods by anna until 2026-11-30 14:00 UTC (release 42); resume it with ansible-playbook "
        "queueops.celery.resume -e celery_workers_only=lms/high"
    ]
    assert not notes(cluster, "lms-worker")
    assert not notes(cluster, "cms-worker")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ([], {"lms-worker", "lms-worker-high", "cms-worker"}),
        (["lms"], {"lms-worker", "lms-worker-high"}),
        ("cms, lms/high", {"cms-worker", "lms-worker-high"}),
        (["lms/default"], {"lms-worker"}),
    ],
)
def test_a_fleet_a_service_or_a_variant_is_paused(only: Any, expected: set[str]) -> None:
    cluster = deployed()
    done(pause(cluster, only=only))
    assert {name for name in ("lms-worker", "lms-worker-high", "cms-worker") if notes(cluster, name)} == expected


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ({"pause_replicas": 5}, f"{PAUSED}-replicas", "5"),
        ({"pause_replicas": "0"}, f"{PAUSED}-replicas", "0"),
        ({"pause_direction": "scale_in"}, f"{PAUSED}-scale-in", "true"),
        ({"pause_direction": "scale_out"}, f"{PAUSED}-scale-out", "true"),
    ],
)
def test_it_is_paused_at_a_number_or_in_one_direction(variables: Object, name: str, value: str) -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, **variables))
    assert {key: item for key, item in notes(cluster).items() if key != PAUSE_ANNOTATION} == {name: value}


def test_another_pause_takes_the_place_of_the_first() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_replicas=5))
    assert done(pause(cluster, **HIGH, pause_direction="scale_in"))["changed"]
    assert set(notes(cluster)) == {f"{PAUSED}-scale-in", PAUSE_ANNOTATION}
    assert not done(pause(cluster, hours=1, **HIGH, pause_direction="scale_in"))["changed"]


def test_check_mode_says_what_would_change() -> None:
    cluster = deployed()
    found = done(operate(cluster, "pause", clock=at(), checks=True, **FLEET, **HIGH))
    assert found["updated"] == ["ScaledObject lms-worker-high-scaledobject"]


@pytest.mark.parametrize(
    ("only", "hint"),
    [
        ("lms/hihg", "service lms has no variant 'hihg'; did you mean 'high'?"),
        ("lsm/high", "the fleet has no service 'lsm'; did you mean 'lms'?"),
        ("high", "'high' is no service but a variant; write lms/high."),
        ("default", "'default' is no service but a variant; write lms/default or cms/default."),
    ],
)
@pytest.mark.parametrize("operation", ["pause", "resume"])
def test_a_name_that_does_not_exist_is_told_with_the_one_that_was_meant(operation: str, only: str, hint: str) -> None:
    cluster = deployed()
    cluster.lists.clear()
    assert f"celery_workers_only: {hint}" in refused(operate(cluster, operation, clock=at(), **FLEET, only=only))
    assert not cluster.lists


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"pause_until": "2026-11-30T18:00"}, "celery_workers_pause_until: '2026-11-30T18:00' has no time zone"),
        ({"pause_until": "2026-11-30T11:59Z"}, "is in the past: it is 2026-11-30 12:00 UTC now"),
        ({"pause_until": "2026-11-30T12:30+01:00"}, "is in the past"),
        ({"pause_until": "tomorrow"}, "celery_workers_pause_until: 'tomorrow' is no time; write a duration such as 2h"),
        ({"pause_until": "2 hours"}, "'2 hours' is no time"),
        ({"pause_until": "999999999w"}, "more than ten years away"),
        ({"pause_replicas": 9}, "lms/high: celery_workers_pause_replicas is 9, and max_replicas is 8"),
        ({"pause_replicas": 2, "pause_direction": "scale_in"}, "Leave one of them out"),
        (
            {"pause_direction": "scale_in", "keda_version": "2.17"},
            "celery_workers_pause_direction: scale_in needs KEDA 2.18, and 2.17 is installed",
        ),
        ({"only": ["lms/low"]}, "lms/low: it has no scaler (scaler: none), so its number of pods does not change."),
        ({"output": "manifests"}, "celery_workers_output: manifests writes files"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(variables: Object, said: str) -> None:
    cluster = deployed()
    cluster.sent.clear()
    assert said in refused(pause(cluster, **{**HIGH, **variables}))
    assert not cluster.sent


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("90m", "2026-11-30T13:30:00Z"),
        ("1d12h", "2026-12-02T00:00:00Z"),
        ("30 min", "2026-11-30T12:30:00Z"),
        ("1w", "2026-12-07T12:00:00Z"),
        ("2026-11-30T18:00+01:00", "2026-11-30T17:00:00Z"),
        ("2026-11-30 18:00Z", "2026-11-30T18:00:00Z"),
    ],
)
def test_an_end_is_a_duration_or_a_time_with_its_zone(until: str, expected: str) -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_until=until))
    assert json.loads(notes(cluster)[PAUSE_ANNOTATION])["until"] == expected


def test_a_scaler_of_kubernetes_is_not_paused_and_that_is_said() -> None:
    config = {"lms": {"default": {"scaler": "hpa", "resources": {"requests": {"cpu": "1"}}}, "high": SCALED}}
    variables: Object = {"config": config, "services": {"lms": FLEET["services"]["lms"]}}
    cluster = deployed(**variables)
    why = "lms/default: HorizontalPodAutoscaler lms-worker-hpa scales it, and Kubernetes has no pause for that."
    assert why in refused(pause(cluster, **variables, only=["lms/default"]))
    found = done(pause(cluster, **variables))
    assert any(why in text for text in found["warnings"])
    assert notes(cluster)


def test_a_fleet_without_any_scaler_cannot_be_paused() -> None:
    variables: Object = {"config": {"lms": {"high": {"replicas": 1}}}, "services": {"lms": FLEET["services"]["lms"]}}
    assert "No variant that was chosen has a scaler" in refused(pause(deployed(**variables), **variables))


def test_what_was_never_deployed_cannot_be_paused() -> None:
    said = refused(pause(ModelCluster(), **HIGH))
    assert said == "lms/high: there is no ScaledObject lms-worker-high-scaledobject in shop. Deploy it first."


# Deploys


def test_a_deploy_keeps_a_pause_says_so_and_finds_nothing_to_change() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_until="2h", pause_reason="release 42"))
    before = notes(cluster)
    found = done(deploy(cluster, hours=1.9))
    assert notes(cluster) == before
    assert not found["changed"]
    kept = [text for text in found["warnings"] if "lms/high" in text]
    assert kept == [
        "one: lms/high: paused at 3 pods by anna until 2026-11-30 14:00 UTC (release 42); resume it with "
        "ansible-playbook queueops.celery.resume -e celery_workers_only=lms/high"
    ]
    assert not any("by hand" in text for text in found["warnings"])


def test_the_first_deploy_after_its_end_takes_a_pause_away() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_until="2h"))
    found = done(deploy(cluster, hours=2))
    assert not notes(cluster)
    assert found["updated"] == ["ScaledObject lms-worker-high-scaledobject"]
    assert "lms/high: resumed, because it was paused at 3 pods by anna until 2026-11-30 14:00 UTC" in found["notes"]
    again = done(deploy(cluster, hours=3))
    assert not again["changed"]
    assert not [text for text in (*again["notes"], *again.get("warnings", [])) if "paused" in text]


def test_a_changed_scaler_stays_paused() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH))
    config = {**FLEET["config"], "lms": {**FLEET["config"]["lms"], "high": {**SCALED, "max_replicas": 20}}}
    assert done(deploy(cluster, config=config))["changed"]
    assert notes(cluster)[PAUSED] == "true"


@pytest.mark.parametrize("name", ["paused", "paused_replicas", "paused_scale_in"])
def test_a_pause_by_hand_is_never_taken_away_by_a_deploy(name: str) -> None:
    cluster = deployed()
    annotate(cluster, **{name: "1"})
    before = notes(cluster)
    found = done(deploy(cluster, hours=9999))
    assert notes(cluster) == before
    assert not found["changed"]
    assert any("was paused by hand" in text for text in found["warnings"])


def test_a_number_that_a_person_changed_outlives_the_end_of_the_pause() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_replicas=5, pause_until="1h"))
    annotate(cluster, paused_replicas="6")
    done(deploy(cluster, hours=2))
    assert notes(cluster) == {f"{PAUSED}-replicas": "6"}


def test_a_pause_that_was_taken_off_by_hand_is_forgotten() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH))
    del cluster.objects["ScaledObject", "lms-worker-high-scaledobject"]["metadata"]["annotations"][PAUSED]
    done(deploy(cluster))
    assert not notes(cluster)
    assert not done(deploy(cluster))["changed"]


def test_what_the_inventory_pauses_stays_when_a_pause_ends() -> None:
    cluster = deployed()
    done(pause(cluster, **HIGH, pause_until="1h"))
    config = {**FLEET["config"], "lms": {**FLEET["config"]["lms"], "high": {**SCALED, "paused": True}}}
    done(deploy(cluster, hours=0.5, config=config))
    done(deploy(cluster, hours=2, config=config))
    assert notes(cluster) == {PAUSED: "true"}
    assert not done(deploy(cluster, hours=3, config=config))["changed"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_run_over_the_whole_fleet_refuses_a_choice(state: str) -> None:
    cluster = deployed()
    cluster.sent.clear()
    said = refused(deploy(cluster, **HIGH, state=state))
    assert "celery_workers_only: this run" in said
    assert "the whole fleet, and not only lms/high" in said
    assert not cluster.sent


# Resuming


def test_resuming_takes_away_what_the_pause_set_and_nothing_else() -> None:
    cluster = deployed()
    done(pause(cluster))
    found = done(resume(cluster, **HIGH))
    assert not notes(cluster)
    assert notes(cluster, "cms-worker")[PAUSED] == "true"
    assert found["notes"] == ["lms/high: resumed; it was paused at 3 pods by anna"]
    again = done(resume(cluster, **HIGH))
    assert not again["changed"]
    assert again["notes"] == ["lms/high: it was not paused"]


def test_resuming_takes_away_a_pause_by_hand_and_says_so() -> None:
    cluster = deployed()
    annotate(cluster, paused="true")
    found = done(resume(cluster))
    assert not notes(cluster)
    assert "lms/high: resumed; it was paused by hand" in found["notes"]


def test_what_the_inventory_pauses_is_not_resumed() -> None:
    config = {**FLEET["config"], "lms": {**FLEET["config"]["lms"], "high": {**SCALED, "paused": True}}}
    cluster = deployed(config=config)
    assert "the inventory pauses it (key paused)" in refused(resume(cluster, config=config, **HIGH))
    assert "the inventory pauses it already" in refused(pause(cluster, config=config, **HIGH))
    found = done(resume(cluster, config=config))
    assert any("the inventory pauses it" in text for text in found["warnings"])


def test_a_pause_by_hand_is_not_written_over() -> None:
    cluster = deployed()
    annotate(cluster, paused_replicas="2")
    assert "was paused by hand already" in refused(pause(cluster, pause_replicas=5))
    found = done(pause(cluster))
    assert notes(cluster) == {f"{PAUSED}-replicas": "2"}
    assert notes(cluster, "lms-worker")[PAUSED] == "true"
    assert any("was paused by hand already" in text for text in found["warnings"])


VARIANTS = st.dictionaries(
    st.sampled_from(["default", "high", "low"]),
    st.sampled_from([SCALED, {"enable_keda": True}, {"enable_keda": True, "paused": "scale_in"}, {"replicas": 2}]),
    min_size=1,
)


@settings(max_examples=12, deadline=None)
@given(
    config=st.dictionaries(st.sampled_from(["lms", "cms"]), VARIANTS, min_size=1),
    how=st.sampled_from([{}, {"pause_replicas": 1}, {"pause_direction": "scale_in"}]),
    until=st.sampled_from(["", "1h", "3h"]),
    hours=st.sampled_from([0.0, 2.0, 4.0]),
)
def test_a_paused_fleet_stays_paused_through_deploys_until_its_end(
    config: Object, how: Object, until: str, hours: float
) -> None:
    """And the second deploy changes nothing, whatever the inventory."""
    variables: Object = {"config": config, "services": {name: FLEET["services"][name] for name in config}}
    cluster = ModelCluster()
    done(run(cluster, clock=at(-1), **{**FLEET, **variables}))
    paused = pause(cluster, **variables, **how, pause_until=until)
    names = [name.removesuffix("-scaledobject") for kind, name in cluster.objects if kind == "ScaledObject"]
    ours = {name: notes(cluster, name) for name in names if PAUSE_ANNOTATION in notes(cluster, name)}
    assert bool(ours) == (not paused.get("failed") and paused["changed"])
    first = done(deploy(cluster, hours, **variables))
    ends = bool(until) and hours >= int(until[0])
    assert first["changed"] == (ends and bool(ours))
    for name, before in ours.items():
        assert (notes(cluster, name) == before) == (not ends)
    second = done(deploy(cluster, hours, **variables))
    assert not second["changed"]
    assert not second["updated"]


def test_a_resume_that_finds_no_pause_says_so() -> None:
    result = done(operate(deployed(), "resume", clock=at(0), **FLEET))
    assert result["notes"] == ["no variant is paused"]
    assert not result["changed"]


def test_check_mode_says_that_nothing_was_paused() -> None:
    cluster = deployed()
    result = done(operate(cluster, "pause", clock=at(0), checks=True, **FLEET))
    assert result["notes"][0] == "check mode: nothing was sent. Without --check:"
