# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two mistakes of one variant that have nothing to do with each other come together, whatever keys they are about.

One is a value that no key of its kind takes, so that its variant could not be judged as it was meant. The other one is
wrong beside the variant's other keys.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.inventories import IMAGE, REDIS, SCALED, TRACKED, one_variant, problems_of
from tests.unit.module_utils.test_rules import REFUSED
from tests.unit.module_utils.test_safety import CASES, said_of

Keys = dict[str, Any]

#: Values that are refused, of keys that decide on nothing which the mistakes beside them are about.
UNREAD: list[tuple[str, Any]] = [
    ("without_gossip", "perhaps"),
    ("polling_interval", "often"),
    ("optimization", "best"),
    ("start_seconds", -5),
    ("strategy", "Sideways"),
    ("node_selector", ["a"]),
    ("task_seconds", "long"),
    ("initial_cooldown_period", {"a": 1}),
]
_WINDOW = {"start": "0 8 * * *", "end": "0 18 * * *", "min_replicas": 3}
_CRON = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "12"}


def _scheduled(**window: Any) -> Keys:
    return {**SCALED, "max_replicas": 9, "schedule": [{**_WINDOW, **window}]}


#: What is wrong with a schedule and with triggers.
_TIMES: list[Keys] = [
    _scheduled(start="0 99 * * *"),
    _scheduled(end=_WINDOW["start"]),
    _scheduled(timezone="Mars/Olympus"),
    _scheduled(min_replicas=None),
    _scheduled(min_replicas=12),
    _scheduled(min_replicas=5, max_replicas=4),
    {**SCALED, "max_replicas": 9, "extra_triggers": [{"type": "cron", "metadata": _CRON}]},
    {**TRACKED, "max_replicas": 9, "extra_triggers": [{"type": "kafka", "metadata": {}}]},
]
_ALONE = [case for case in CASES if case.refused and case.high is None and case.other is None]
_INVENTORIES = [
    *(one_variant(keys) for keys in _TIMES),
    *(one_variant(keys) for _key, keys, _message in REFUSED),
    *(case.inventory() for case in _ALONE),
]


def _other(inventory: Keys, number: int) -> tuple[str, Any]:
    """One of the values above, of a key that an inventory does not have."""
    own = inventory["config"]["billing"]["default"] or {}
    free = [(key, value) for key, value in UNREAD if key not in own]
    return free[number % len(free)]


#: Each with another one, so that every kind of value meets many mistakes.
_PAIRS = [(inventory, *_other(inventory, number)) for number, inventory in enumerate(_INVENTORIES)]
#: And what an inventory says of time with every one of them.
_PAIRS += [
    (one_variant(_TIMES[0]), *unread)
    for unread in (*UNREAD, ("extra_params", 5), ("settings", "x"), ("concurrency", "four"))
]


def _paths(inventory: Keys) -> list[str]:
    return [text.partition(": ")[0] for text in said_of(copy.deepcopy(inventory))[0]]


@pytest.mark.parametrize(("inventory", "key", "value"), _PAIRS)
def test_both_mistakes_are_told_at_once(inventory: Keys, key: str, value: Any) -> None:
    alone = _paths(inventory)
    assert len(alone) == 1
    with_both = copy.deepcopy(inventory)
    with_both["config"]["billing"]["default"][key] = value
    assert sorted(_paths(with_both)) == sorted([*alone, f"celery_workers_config.billing.default.{key}"])


def test_what_may_follow_from_a_refused_value_is_not_told() -> None:
    keys = {"enable_keda": True, "min_replicas": 0, "idempotent": "perhaps"}
    assert _paths(one_variant(keys)) == ["celery_workers_config.billing.default.idempotent"]


def test_a_mistake_that_variants_share_hides_none_of_theirs() -> None:
    variables = {
        **one_variant({**SCALED, "max_replicas": 9, "schedule": [{**_WINDOW, "start": "soon"}]}),
        "queue_defaults": {"polling_interval": "often"},
    }
    variables["config"]["billing"]["high"] = {**SCALED, "min_replicas": 30, "max_replicas": 2}
    assert sorted(_paths(variables)) == [
        "celery_workers_config.billing.default.schedule[0].start",
        "celery_workers_config.billing.high.min_replicas",
        "celery_workers_queue_defaults.polling_interval",
    ]


def _fleet(**services: Keys) -> Keys:
    """Variables of some services, each with its variants."""
    return {"services": {name: {"image": IMAGE} for name in services}, "config": services, "broker": REDIS}


_TYPO: Keys = {"concurrency": "two"}
_OLD = {"versions": {"kombu": "5.3"}}


def test_a_mistake_beside_a_refused_value_of_another_variant_has_no_second_problem() -> None:
    variables = _fleet(lms={"a": _TYPO, "b": {**SCALED, "min_replicas": 5, "max_replicas": 3}})
    assert _paths(variables) == ["celery_workers_config.lms.a.concurrency", "celery_workers_config.lms.b.min_replicas"]


@pytest.mark.parametrize(
    "variables",
    [
        _fleet(s1={"a": {"accept_risks": ["version"]}}, s2={"a": _TYPO}) | _OLD,
        _fleet(s1={"a": {"accept_risks": ["version"], **_TYPO}, "b": {}}) | _OLD,
        _fleet(s1={"a": {"accept_risks": ["version"], **_TYPO}}, s2={"a": {}}) | _OLD,
        _fleet(
            s1={"a": {"queues": ["q"], "accept_risks": ["shared-queue"]}},
            s2={"a": {"queues": ["q"]}, "b": {"queues": ["q"], **_TYPO}},
        ),
    ],
)
def test_a_risk_that_one_variant_accepts_for_others_stays_accepted_beside_a_refused_value(variables: Keys) -> None:
    (problem,) = problems_of(**variables)
    assert ".concurrency: 'two' is not valid" in problem
