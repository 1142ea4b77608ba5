# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the starts of tasks can be limited, and what becomes of quarantine queues."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import rule_groups
from ansible_collections.queueops.celery.plugins.module_utils._celery.survey_texts import unconsumed
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import QueueRow, Survey

from tests.support.promtool import Expected, Scene, Series, play, require_promtool
from tests.unit.inventories import (
    container_with,
    fleet_of,
    manifests_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_of,
    problems_with,
)
from tests.unit.watching import watching_of

RABBITMQ = {"type": "rabbitmq", "host": "rabbit", "queue_type": "quorum", "delivery_limit": 0}
ONE_SLOT = {"max_starts": 3, "concurrency": 1}


def told(keys: Any = None, **rest: Any) -> Any:
    """What the launcher is told of the limit."""
    env = {entry["name"]: entry.get("value") for entry in container_with(keys, **rest).get("env", [])}
    return json.loads(env.get("CELERY_LAUNCHER", "{}")).get("max_starts")


def test_starts_are_counted_under_a_name_of_the_variant_and_for_longer_than_messages_stay_away() -> None:
    found = told({"max_starts": 4, "visibility_timeout": 86400})
    assert (found["most"], found["store"], found["key"]) == (4, "redis", "starts:shop.billing.default")
    assert found["seconds"] > 3 * 86400


def test_a_variant_without_a_limit_is_started_as_before() -> None:
    manifests = manifests_with({})
    assert told({}) is None
    assert not of_kind(manifests, "ConfigMap")


def test_all_that_a_worker_with_several_features_imports_is_mounted() -> None:
    (files,) = of_kind(manifests_with({"max_starts": 3, "probe": "consuming"}), "ConfigMap")
    assert {"start.py", "watching.py", "consuming.py", "check_consuming.py", "max_starts.py"} <= set(files["data"])


def test_a_quorum_queue_counts_for_a_worker_with_one_slot() -> None:
    assert told(ONE_SLOT, broker=RABBITMQ) == {"most": 3, "store": "queue"}


def test_a_limit_of_starts_may_be_the_limit_of_deliveries() -> None:
    """A message that was returned as often as the broker allows is delivered once more, and put aside then."""
    assert told(ONE_SLOT, broker={**RABBITMQ, "delivery_limit": 3}) == {"most": 3, "store": "queue"}


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"max_starts": 3}, RABBITMQ, "write concurrency: 1; or leave"),
    ({**ONE_SLOT, "prefetch_multiplier": 2}, RABBITMQ, "write prefetch_multiplier: 1; or leave"),
    (ONE_SLOT, {**RABBITMQ, "queue_type": "classic"}, "write celery_workers_broker.queue_type: quorum"),
    ({"max_starts": 3}, {"type": "rabbitmq", "host": "rabbit"}, "declares such queues, concurrency: 1; or leave"),
    ({**ONE_SLOT, "acks_late": True, "soft_shutdown_timeout": 60}, RABBITMQ, "soft_shutdown_timeout: 0; or leave"),
    (
        {**ONE_SLOT, "max_starts": 4, "accept_risks": ["delivery-limit"]},
        {**RABBITMQ, "delivery_limit": 3},
        "Write max_starts: 3 or less",
    ),
    ({"max_starts": 3}, {"type": "sqs", "region": "eu-west-1"}, "a redrive policy with maxReceiveCount 3"),
    ({"max_starts": 3}, {}, "Set celery_workers_broker, for example"),
]


@pytest.mark.parametrize(("keys", "broker", "message"), REFUSED)
def test_a_limit_that_nothing_counts_for_is_refused_with_what_to_write(
    keys: dict[str, Any], broker: dict[str, Any], message: str
) -> None:
    (problem,) = problems_with(keys, broker=broker)
    assert problem.startswith("celery_workers_config.billing.default.max_starts: ")
    assert message in problem


def test_a_limit_that_variants_share_is_for_those_that_acknowledge_late() -> None:
    variables = one_variant({"acks_late": False})
    variables["config"]["billing"]["late"] = {}
    fleet = fleet_of(**variables, queue_defaults={"max_starts": 3, "acks_late": True})
    limits = {item.name: item.process.max_starts for item in fleet.variants}
    assert limits == {"default": None, "late": 3}
    assert not [text for text in fleet.warnings if "max_starts" in text]
    early, late = of_kind(manifests_of(fleet), "Deployment")
    assert "max_starts" not in json.dumps(early)
    assert "max_starts" in json.dumps(late)


def test_shared_defaults_that_limit_starts_and_acknowledge_early_are_a_warning() -> None:
    fleet = fleet_of(**one_variant({}), queue_defaults={"max_starts": 3, "acks_late": False})
    (warning,) = [text for text in fleet.warnings if "max_starts" in text]
    assert warning.startswith("celery_workers_queue_defaults.max_starts: ")
    assert "Write acks_late: true" in warning


@pytest.mark.parametrize("place", ["queue_defaults", "service"])
def test_whether_the_app_acknowledges_late_is_asked_once_where_no_variant_says_it(place: str) -> None:
    shared = {"max_starts": 3}
    variables = one_variant({}, service=shared if place == "service" else {})
    variables["config"]["billing"]["other"] = {}
    more = {} if place == "service" else {"queue_defaults": shared}
    (warning,) = [text for text in fleet_of(**variables, **more).warnings if "max_starts" in text]
    path = "celery_workers_services.billing" if place == "service" else "celery_workers_queue_defaults"
    assert warning.startswith(f"{path}.max_starts: ")
    assert "Write acks_late: true" in warning
    # Where one of them says it, the others are those whose app decides.
    variables["config"]["billing"]["late"] = {"acks_late": True}
    assert not [text for text in fleet_of(**variables, **more).warnings if "max_starts" in text]


def test_a_shared_limit_above_that_of_deliveries_is_one_problem() -> None:
    variables = one_variant({}, broker={**RABBITMQ, "delivery_limit": 3})
    variables["config"]["billing"]["other"] = {}
    shared = {**ONE_SLOT, "max_starts": 4, "accept_risks": ["delivery-limit"]}
    (problem,) = problems_of(**variables, queue_defaults=shared)
    assert problem.startswith("celery_workers_queue_defaults.max_starts: ")
    assert "Write max_starts: 3 or less" in problem


def test_a_rabbitmq_that_counts_no_killed_workers_is_refused() -> None:
    settings = {"control_queue_exclusive": True, "event_queue_exclusive": True}
    variables = one_variant({**ONE_SLOT, "settings": settings}, broker=RABBITMQ)
    (problem,) = problems_of(**variables, versions={"rabbitmq": "4.3", "celery": "5.7"})
    assert "count only messages that are rejected" in problem


@pytest.mark.parametrize("number", [0, 1, 21])
def test_a_task_has_two_starts_at_least(number: int) -> None:
    (problem,) = problems_with({"max_starts": number})
    assert "celery_workers_config.billing.default.max_starts" in problem


def test_a_quarantine_that_the_app_knows_needs_no_consumer() -> None:
    keys, known = {"max_starts": 3}, ["default", "default.quarantine"]
    assert fleet_of(**one_variant(keys, service={"known_queues": known})).variants
    (problem,) = problems_with({}, service={"known_queues": known})
    assert "no variant consumes the queue 'default.quarantine'" in problem


def test_a_variant_that_would_start_quarantined_tasks_again_is_refused() -> None:
    variables = one_variant({"max_starts": 3})
    variables["config"]["billing"]["again"] = {"queues": ["again", "default.quarantine"]}
    (problem,) = problems_of(**variables)
    assert problem.startswith("celery_workers_config.billing.again.queues: ")
    assert "the quarantine of variant default of service billing" in problem


# What is told of a quarantine


def rules_of(keys: Any = None, **variants: Any) -> list[dict[str, Any]]:
    """Groups of rules of a fleet with an exporter."""
    variables = one_variant({"max_starts": 3} if keys is None else keys)
    variables["config"]["billing"] |= variants
    return rule_groups(fleet_of(**variables, enabled=("exporter", "prometheus_rule")))


def alerts_in(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"] if rule.get("alert") == "CeleryTasksInQuarantine"]


def test_an_alert_names_the_variant_whose_tasks_are_in_quarantine() -> None:
    require_promtool()
    groups = rules_of(high={"max_starts": 3, "queues": ['o"dd', "high"]}, plain={})
    place = {"namespace": "shop"}
    lengths = {"default": "9", "default.quarantine": "0", 'o"dd.quarantine': "2", "plain": "4"}
    series = [Series("celery_queue_length", {**place, "queue_name": name}, (n,) * 9) for name, n in lengths.items()]
    asked = 'count by (variant) (ALERTS{alertname="CeleryTasksInQuarantine", alertstate="firing"})'
    found = play([Scene("one of three", series, [Expected(3, asked, {'{variant="high"}': 1})], groups=groups)])
    assert not found, found


def test_there_is_no_alert_where_nothing_is_put_aside_or_measured() -> None:
    assert not alerts_in(rules_of({}))
    assert not alerts_in(rule_groups(fleet_of(**one_variant({"max_starts": 3}), enabled=("prometheus_rule",))))


def test_the_exporter_measures_quarantines() -> None:
    variables = one_variant({"max_starts": 3})
    manifests = watching_of(fleet_of(**variables, enabled=("exporter",)))
    (deployment,) = of_kind(manifests, "Deployment")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--queues=default,default.quarantine" in args


def test_a_quarantine_is_no_queue_that_waits_for_a_consumer() -> None:
    rows = tuple(QueueRow(name, waiting=2, consumers=0) for name in ("default.quarantine", "other.quarantine"))
    found = unconsumed(Survey("redis", rows), ["default"])
    assert [row.name for row in found] == ["other.quarantine"]
