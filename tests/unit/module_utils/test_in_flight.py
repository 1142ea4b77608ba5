# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In-flight work: who has a key of its own, what its workers are told, and why a scaler sees nothing."""

from __future__ import annotations

from typing import Any

import pytest
from celery.loaders.base import BaseLoader

from tests.unit.inventories import TRACKED, deployment_with, fleet_of, one_variant, variant_of

RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}
SQS = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}


def settings_with(keys: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """The worker's settings as Celery's own parser reads them from the command line."""
    args = variant_of({**TRACKED, **keys}, **rest).args
    return dict(BaseLoader(None).cmdline_config_parser(list(args[args.index("--") + 1 :])))


BLIND: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"in_flight": False}, {}, "in_flight is false"),
    ({"idempotent": False}, {}, "idempotent is false, so running work is invisible"),
    ({"acks_late": False}, {}, "acks_late is false, so running work is invisible"),
    ({"enable_keda": False}, {}, "no scaler asks"),
    ({"enable_keda": False, "scaler": "hpa"}, {}, "no scaler asks"),
    ({"enable_keda": False}, {"broker": {"secret": {"name": "x"}}}, "the broker is not known"),
]


@pytest.mark.parametrize(("keys", "rest", "reason"), BLIND, ids=[row[2] for row in BLIND])
def test_a_variant_whose_work_is_not_seen_says_why_and_changes_nothing_of_its_workers(
    keys: dict[str, Any], rest: dict[str, Any], reason: str
) -> None:
    variant = variant_of({**TRACKED, **keys}, **rest)
    assert (variant.sees_in_flight, variant.blind_reason, variant.unacked) == (False, reason, None)
    assert "unacked" not in str(variant.args)
    assert "annotations" not in deployment_with({**TRACKED, **keys}, **rest)["metadata"]


@pytest.mark.parametrize("keys", [{}, {"enable_keda": False, "in_flight": True}])
def test_a_variant_whose_work_is_seen_has_keys_that_name_fleet_service_and_variant(keys: dict[str, Any]) -> None:
    """Fleets may share a database; names that begin with kombu's own are covered by an ACL of C(~unacked*)."""
    options = settings_with(keys)["broker_transport_options"]
    assert options["unacked_key"] == "unacked:shop.billing.default"
    assert options["unacked_index_key"] == "unacked_index:shop.billing.default"
    assert options["unacked_mutex_key"] == "unacked_mutex:shop.billing.default"


def test_no_two_variants_of_two_fleets_have_a_key_in_common() -> None:
    variables = one_variant(TRACKED)
    variables["services"]["mail"] = {**variables["services"]["billing"], "queue_name": "mail.{variant}"}
    variables["config"] = {name: {"default": TRACKED, "high": TRACKED} for name in ("billing", "mail")}
    variants = [variant for name in ("north", "south") for variant in fleet_of(fleet=name, **variables).variants]
    keys = [name for item in variants if item.unacked for name in (item.unacked.hash, item.unacked.index)]
    assert len(set(keys)) == len(keys) == 16


def test_the_deployment_says_where_its_workers_keep_what_they_hold() -> None:
    broker = {"host": "redis", "database": 3, "global_keyprefix": "shop_"}
    annotations = deployment_with(TRACKED, broker=broker)["metadata"]["annotations"]
    assert annotations["celery.queueops.io/unacked"] == "redis redis:6379/3 shop_ unacked:shop.billing.default"


def test_a_tracked_worker_acknowledges_late_gives_back_and_stops_what_it_lost() -> None:
    found = settings_with({})
    assert found["task_acks_late"] is True
    assert found["task_reject_on_worker_lost"] is True
    assert found["worker_cancel_long_running_tasks_on_connection_loss"] is True
    assert found["broker_transport_options"]["unacked_restore_throttle"] == 1


@pytest.mark.parametrize("name", ["worker_cancel_long_running_tasks_on_connection_loss"])
def test_a_setting_by_hand_stands_there_once_and_wins(name: str) -> None:
    args = variant_of({**TRACKED, "settings": {name: False}}).args
    assert [word for word in args if "cancel_long_running" in word] == [
        "worker.cancel_long_running_tasks_on_connection_loss=(bool)false"
    ]


def test_what_the_user_says_of_transport_options_is_repeated_because_ours_replace_them() -> None:
    broker = {
        "host": "redis",
        "sep": ":",
        "priority_steps": [0, 5],
        "global_keyprefix": "shop_",
        "transport_options": {"socket_keepalive": True, "unacked_restore_throttle": 10},
    }
    options = settings_with({}, broker=broker)["broker_transport_options"]
    assert {name: options[name] for name in ("sep", "priority_steps", "global_keyprefix", "socket_keepalive")} == {
        "sep": ":",
        "priority_steps": [0, 5],
        "global_keyprefix": "shop_",
        "socket_keepalive": True,
    }
    assert options["unacked_restore_throttle"] == 10


@pytest.mark.parametrize(
    "keys", [{}, {"in_flight": False, "visibility_timeout": 7200, "accept_risks": ["visibility-timeout"]}]
)
def test_what_a_preset_knows_of_the_apps_own_options_is_repeated_where_ours_replace_them(
    keys: dict[str, Any],
) -> None:
    fleet = fleet_of(
        preset="openedx",
        services={"lms": {"image": "openedx:22"}, "cms": {"image": "openedx:22"}},
        config={"lms": {"high": {"enable_keda": True, **keys}}},
    )
    args = next(variant for variant in fleet.variants if (variant.service, variant.name) == ("lms", "high")).args
    settings = dict(BaseLoader(None).cmdline_config_parser(list(args[args.index("--") + 1 :])))
    options = settings["broker_transport_options"]
    assert (options["fanout_patterns"], options["fanout_prefix"]) == (True, True)


VISIBILITY: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("an hour is the least", {}, {}, 3600),
    ("twice the longest task", {"longest_task_seconds": 2000}, {}, 4000),
    ("a part of a second is rounded up", {"longest_task_seconds": 2000.2}, {}, 4001),
    ("the longest ETA", {"longest_eta_seconds": 40000}, {}, 40000),
    ("an ETA and then the task", {"longest_eta_seconds": 7200, "longest_task_seconds": 3000}, {}, 10200),
    ("tasks behind reserved ones", {"longest_task_seconds": 3600, "prefetch_multiplier": 4}, {}, 18000),
    ("the time limit", {"time_limit": 7200}, {}, 14400),
    ("the grace period", {"termination_grace_period": 5000}, {}, 5000),
    ("what the broker says", {"longest_task_seconds": 2000}, {"transport_options": {"visibility_timeout": 2500}}, 2500),
    ("what the variant says", {"visibility_timeout": 100}, {"transport_options": {"visibility_timeout": 2500}}, 100),
]


@pytest.mark.parametrize("kind", [{"host": "redis"}, SQS], ids=["redis", "sqs"])
@pytest.mark.parametrize(
    ("keys", "broker", "expected"), [row[1:] for row in VISIBILITY], ids=[row[0] for row in VISIBILITY]
)
def test_a_message_is_not_delivered_again_while_its_task_may_still_run(
    keys: dict[str, Any], broker: dict[str, Any], expected: int, kind: dict[str, Any]
) -> None:
    options = settings_with(keys, broker={**kind, **broker})["broker_transport_options"]
    assert options["visibility_timeout"] == expected


@pytest.mark.parametrize("broker", [RABBITMQ, SQS], ids=["rabbitmq", "sqs"])
def test_a_broker_that_tells_in_flight_work_itself_needs_no_key(broker: dict[str, Any]) -> None:
    variant = variant_of(TRACKED, broker=broker)
    assert variant.sees_in_flight
    assert variant.unacked is None
    assert "unacked_key" not in str(variant.args)
    assert "task.acks_late=true" in variant.args


def test_rabbitmq_knows_no_visibility_timeout() -> None:
    assert "broker_transport_options" not in settings_with({}, broker=RABBITMQ)
