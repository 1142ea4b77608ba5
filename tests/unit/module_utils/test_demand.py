# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA reads and how many pods that asks for: the right lists, in-flight work that holds pods and adds none."""

from __future__ import annotations

import ast
import importlib.util
import re
import string
from pathlib import Path
from typing import Any

import pytest
from celery.loaders.base import BaseLoader
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.transport.redis import Channel, PrefixedStrictRedis
from kombu.utils.encoding import safe_str

from tests.support.thorough import examples
from tests.unit.formulas import asked, names_in, next_pods
from tests.unit.inventories import (
    SCALED,
    TRACKED,
    fleet_of,
    manifests_of,
    of_kind,
    one_variant,
    problems_with,
    variant_of,
)

ONE_LIST = {"host": "redis", "priority_steps": [0]}
RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}
SQS = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}
SENTINEL = {"type": "redis-sentinel", "hosts": ["a", "b.example:26380"], "master_name": "main"}
WORKDAY = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 18 * * *", "desiredReplicas": "3"}
CRON = {"type": "cron", "metadata": WORKDAY}
PROMETHEUS = {
    "type": "prometheus",
    "metadata": {"serverAddress": "http://prometheus:9090", "query": "sum(up)", "threshold": "20"},
}


def spec_with(keys: Any = None, **rest: Any) -> dict[str, Any]:
    rest.setdefault("broker", ONE_LIST)
    (found,) = of_kind(manifests_of(fleet_of(**one_variant({**TRACKED, **(keys or {})}, **rest))), "ScaledObject")
    spec: dict[str, Any] = found["spec"]
    return spec


def formula_with(keys: Any = None, **rest: Any) -> str:
    found: str = spec_with(keys, **rest)["advanced"]["scalingModifiers"]["formula"]
    return found


def pods_for(keys: Any, running: int, backlog: int = 0, inflight: int = 0, seen: int | None = None) -> int:
    """Pods after one round.

    :param seen: pods that KEDA counts, terminating ones included, where that is not what runs.
    """
    readings = {"backlog": backlog, "inflight": inflight, "pods": running if seen is None else seen}
    return next_pods(asked(formula_with(keys), readings), running)


LONG = {"hold": "pods", "list_length": 1, "concurrency": 1}
NO_ETA: dict[str, Any] = {"list_length": 1, "concurrency": 1, "longest_eta_seconds": 0}

ROUNDS: list[tuple[str, dict[str, Any], dict[str, int], int]] = [
    ("60 countdown tasks that one pod holds keep that pod and add none", {}, {"running": 1, "inflight": 60}, 1),
    ("60 countdown tasks that three pods hold keep all three", {}, {"running": 3, "inflight": 60}, 3),
    ("work in flight alone wakes a variant at zero", {}, {"running": 0, "inflight": 1}, 1),
    ("one waiting message wakes a variant at zero", {}, {"running": 0, "backlog": 1}, 1),
    ("without any work there is no pod", {}, {"running": 3}, 0),
    ("a message more than a tenth above what pods take adds one", {}, {"running": 1, "backlog": 45}, 2),
    ("44 waiting at 40 a pod are within the tolerance of the HPA", {}, {"running": 1, "backlog": 44}, 1),
    ("44 waiting at 40 a pod take two of three pods", {}, {"running": 3, "backlog": 44}, 2),
    ("400 waiting at 40 a pod take ten", {}, {"running": 2, "backlog": 400}, 10),
    ("work in flight is not added to what waits", {}, {"running": 2, "backlog": 80, "inflight": 4}, 2),
    ("a rollout whose old pods still run adds none", {}, {"running": 3, "inflight": 6, "seen": 6}, 3),
    ("tasks that fill one pod's slots let the others go", {}, {"running": 3, "inflight": 2}, 1),
    ("what a pod reserves counts as held by it", {"prefetch_multiplier": 4}, {"running": 3, "inflight": 16}, 2),
    ("hold: pods keeps a pod for every task", {"hold": "pods"}, {"running": 3, "inflight": 3}, 3),
    ("hold: pods lets idle pods go", {"hold": "pods"}, {"running": 3, "inflight": 1}, 1),
    ("hold: pods adds no pod for held tasks", {"hold": "pods"}, {"running": 1, "inflight": 60}, 1),
    ("a long task's queue gets a pod for a message while others are busy", LONG,
     {"running": 3, "backlog": 1, "inflight": 3}, 4),
    ("a message that was taken asks for no further pod", LONG, {"running": 4, "inflight": 4}, 4),
    ("of four tasks of which none has an ETA two run, and the two that wait get a pod each", NO_ETA,
     {"running": 2, "backlog": 2, "inflight": 2}, 4),
    ("a pod whose slots are all busy does not count for a message", {**NO_ETA, "concurrency": 4, "list_length": 4},
     {"running": 1, "backlog": 4, "inflight": 4}, 2),
    ("where nothing is said of ETAs the higher number counts", {**NO_ETA, "longest_eta_seconds": None},
     {"running": 2, "backlog": 2, "inflight": 2}, 2),
    ("where there are ETAs the higher number counts", {**NO_ETA, "longest_eta_seconds": 60},
     {"running": 2, "backlog": 2, "inflight": 2}, 2),
    ("who gives a pod more messages than slots lets them wait for it", {**NO_ETA, "list_length": 2},
     {"running": 2, "backlog": 2, "inflight": 2}, 2),
    ("also where a pod reserves them", {**NO_ETA, "list_length": 2, "prefetch_multiplier": 4},
     {"running": 2, "backlog": 2, "inflight": 8}, 2),
    ("one message beside 20 tasks that wait for their ETA adds no pod", {**NO_ETA, "longest_eta_seconds": 3600},
     {"running": 1, "backlog": 1, "inflight": 20}, 1),
    ("long tasks that run do not count for a message, also where others have an ETA",
     {**LONG, "longest_eta_seconds": 3600}, {"running": 3, "backlog": 1, "inflight": 3}, 4),
    ("where a pod takes several messages one more waits for a busy pod", {"hold": "pods", "list_length": 4},
     {"running": 3, "backlog": 1, "inflight": 3}, 3),
    ("a share below a thousandth still wakes", {"list_length": 5000}, {"running": 0, "backlog": 1}, 1),
    ("a share below a thousandth still keeps the last pod", {"pool": "gevent", "concurrency": 5000},
     {"running": 1, "inflight": 1}, 1),
    ("a share below a thousandth asks for one pod only", {"list_length": 5000}, {"running": 2, "backlog": 90}, 1),
    ("up to the activation value nothing wakes", {"activation_list_length": 5}, {"running": 0, "backlog": 5}, 0),
    ("above the activation value it wakes", {"activation_list_length": 5}, {"running": 0, "backlog": 6}, 1),
    ("an activation value does not let go of held work", {"activation_list_length": 5},
     {"running": 2, "backlog": 3, "inflight": 3}, 2),
    ("with hold: pods it does not either", {**LONG, "activation_list_length": 5},
     {"running": 2, "backlog": 3, "inflight": 2}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "state", "expected"), [row[1:] for row in ROUNDS], ids=[row[0] for row in ROUNDS])
def test_pods_follow_what_waits_and_stay_for_what_runs(
    keys: dict[str, Any], state: dict[str, int], expected: int
) -> None:
    assert pods_for(keys, **state) == expected


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({}, 1),
        ({"hold": "pods"}, 1),
        (LONG, 12),
        (NO_ETA, 12),
        ({**LONG, "longest_eta_seconds": 60}, 12),
        ({"list_length": 3}, 4),
        ({"concurrency": 16}, 1),
    ],
)
def test_a_burst_is_worked_off_with_the_pods_that_its_messages_asked_for(keys: dict[str, Any], most: int) -> None:
    """In-flight work as a demand of its own would answer each new pod with the wish for another one."""
    pods, backlog, inflight, seen = 0, 12, 0, []
    held = variant_of({**TRACKED, **keys}).held
    for round_number in range(60):
        pods = pods_for(keys, pods, backlog, inflight)
        taken = min(backlog, pods * held - inflight)
        backlog, inflight = backlog - taken, inflight + taken
        seen.append(pods)
        if round_number % 4 == 3:
            inflight = 0
    assert (backlog, inflight, pods) == (0, 0, 0)
    assert max(seen) == most


def test_without_sight_of_held_work_only_what_waits_counts() -> None:
    formula = formula_with({"in_flight": False, "queues": ["a", "b"], "list_length": 5})
    assert asked(formula, {"backlog_a": 7, "backlog_b": 8}) == 3


def test_one_list_without_sight_of_held_work_needs_no_formula() -> None:
    spec = spec_with({"in_flight": False, "list_length": 7})
    assert "scalingModifiers" not in spec["advanced"]
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["listLength"] == "7"


def test_the_users_own_triggers_are_counted_in_pods_beside_the_queues() -> None:
    formula = formula_with({"extra_triggers": [CRON, PROMETHEUS], "list_length": 10})
    quiet = {"backlog": 0, "inflight": 0, "pods": 1, "cron_0": 1, "prometheus_1": 0}
    assert asked(formula, quiet) == 0
    assert asked(formula, {**quiet, "cron_0": 3}) == 3
    assert asked(formula, {**quiet, "prometheus_1": 90}) == 4.5
    assert asked(formula, {**quiet, "cron_0": 3, "prometheus_1": 20, "backlog": 50}) == 5


def test_a_name_that_the_user_gave_a_trigger_is_the_one_in_the_formula() -> None:
    spec = spec_with({"extra_triggers": [{**CRON, "name": "office"}]})
    assert "office" in names_in(spec["advanced"]["scalingModifiers"]["formula"])
    assert spec["triggers"][-1]["name"] == "office"


@pytest.mark.parametrize("keys", [{}, {"in_flight": False, "queues": ["a", "b"]}, {"hold": "pods"}])
@pytest.mark.parametrize("broker", [{"host": "redis"}, ONE_LIST, SENTINEL, RABBITMQ, SQS])
def test_the_formula_uses_every_number_that_keda_reads_for_it_and_no_other(
    keys: dict[str, Any], broker: dict[str, Any]
) -> None:
    cpu = {"type": "cpu", "metadata": {"value": "80"}, "metricType": "Utilization"}
    spec = spec_with({"queues": ["a", "b"], "extra_triggers": [CRON, PROMETHEUS, cpu], **keys}, broker=broker)
    triggers = [trigger for trigger in spec["triggers"] if trigger["type"] != "cpu"]
    names = [trigger["name"] for trigger in triggers]
    assert len(set(names)) == len(names)
    assert names_in(spec["advanced"]["scalingModifiers"]["formula"]) == set(names)


@pytest.mark.parametrize("keys", [TRACKED, {**SCALED, "queues": ["a", "b"]}])
def test_a_trigger_of_another_type_is_refused_where_the_hpa_would_not_read_it(keys: dict[str, Any]) -> None:
    kafka = {"type": "kafka", "metadata": {"topic": "orders"}}
    found = problems_with({**keys, "extra_triggers": [CRON, kafka]}, broker=ONE_LIST)
    assert found[0].startswith("celery_workers_config.billing.default.extra_triggers[1]: KEDA reads a kafka trigger")
    assert "variant default of service billing needs one" in found[0]


@pytest.mark.parametrize("outside", [0, 1], ids=["from KEDA 2.18 on", "before KEDA 2.18"])
@pytest.mark.parametrize("wanted", [1, 2, 7])
def test_a_schedule_keeps_its_pods_in_its_time_and_none_outside_of_it_whatever_cron_reads_there(
    wanted: int, outside: int
) -> None:
    cron = {"type": "cron", "name": "office", "metadata": {**WORKDAY, "desiredReplicas": str(wanted)}}
    spec = spec_with({"extra_triggers": [cron]})
    (sent,) = (item for item in spec["triggers"] if item["name"] == "office")
    formula = spec["advanced"]["scalingModifiers"]["formula"]
    idle = {"backlog": 0, "inflight": 0, "pods": 0}
    assert asked(formula, {**idle, "office": outside}) == 0
    # Inside of its time KEDA's cron reads what it was told.
    assert asked(formula, {**idle, "office": int(sent["metadata"]["desiredReplicas"])}) == wanted


def test_without_a_formula_a_schedule_of_one_pod_is_sent_as_it_was_written() -> None:
    one = {"type": "cron", "metadata": {**WORKDAY, "desiredReplicas": "1"}}
    keys = {"in_flight": False, "accept_risks": ["invisible-work"], "min_replicas": 0, "extra_triggers": [one]}
    assert spec_with(keys)["triggers"][1] == one


NAMES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, ONE_LIST, ["backlog", "inflight", "pods"]),
    ({}, {"host": "redis"}, ["backlog_p0", "backlog_p3", "backlog_p6", "backlog_p9", "inflight", "pods"]),
    ({}, {"host": "redis", "priority_steps": [0, 5]}, ["backlog_p0", "backlog_p5", "inflight", "pods"]),
    ({"queues": ["b.x", "a"]}, ONE_LIST, ["backlog_b_x", "backlog_a", "inflight", "pods"]),
    (
        {"queues": ["a", "b"]},
        {"host": "redis", "priority_steps": [0, 3]},
        ["backlog_a_p0", "backlog_a_p3", "backlog_b_p0", "backlog_b_p3", "inflight", "pods"],
    ),
    (
        {"queues": ["a-b", "a.b", "7"]},
        ONE_LIST,
        ["backlog_a_b", "backlog_a_b_2", "backlog_queue_7", "inflight", "pods"],
    ),
    ({"queues": ["a", "b"]}, SQS, ["backlog_a", "backlog_b", "total_a", "total_b", "pods"]),
    ({}, RABBITMQ, ["backlog", "total", "pods"]),
]


@pytest.mark.parametrize(("keys", "broker", "names"), NAMES)
def test_a_trigger_is_named_after_what_it_counts(
    keys: dict[str, Any], broker: dict[str, Any], names: list[str]
) -> None:
    assert [trigger["name"] for trigger in spec_with(keys, broker=broker)["triggers"]] == names


@settings(max_examples=examples(40))
@given(queues=st.lists(st.text("ab7_.-/é", min_size=1, max_size=4), min_size=2, max_size=6, unique=True))
def test_whatever_queues_are_called_their_triggers_have_names_of_their_own_that_a_formula_can_hold(
    queues: list[str],
) -> None:
    names: dict[str, str] = {}
    for order in (queues, queues[::-1]):
        triggers = spec_with({"queues": order}, broker=ONE_LIST)["triggers"]
        found = {item["metadata"]["listName"]: item["name"] for item in triggers if item["name"].startswith("backlog")}
        assert len(set(found.values())) == len(queues)
        assert all(re.fullmatch(r"backlog_[A-Za-z0-9_]+", name) for name in found.values())
        # Numbers alone are the names of earlier releases, whose series KEDA still tells.
        assert not any(re.fullmatch(r"backlog_[0-9]+", name) for name in found.values())
        assert names in ({}, found)
        names = found


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"list_length": 20, "max_replicas": 8},
            "One pod for every 20 waiting messages. One for every 2 messages that workers hold, though no more than "
            "the pods that are there (at least 1). The highest number counts.",
        ),
        (
            LONG,
            "One pod for each waiting message, and one for each message that workers hold, though no more than the "
            "pods that are there (at least 1).",
        ),
        (
            {"concurrency": 4, "list_length": 4, "longest_eta_seconds": 0},
            "One pod for every 4 waiting messages, and one for every 4 messages that workers hold, though no more than "
            "the pods that are there (at least 1).",
        ),
        (
            {
                "in_flight": False,
                "activation_list_length": 5,
                "extra_triggers": [{**CRON, "name": "office"}, PROMETHEUS],
            },
            "One pod for every 40 waiting messages where more than 5 wait. 3 pods in the time of office. One pod for "
            "every 20 that the query of prometheus_1 gives. The highest number counts.",
        ),
    ],
)
def test_a_scaled_object_says_its_formula_in_words(keys: dict[str, Any], expected: str) -> None:
    variables = one_variant({**TRACKED, **keys}, broker=ONE_LIST)
    (found,) = of_kind(manifests_of(fleet_of(**variables)), "ScaledObject")
    assert found["metadata"]["annotations"]["celery.queueops.io/formula"] == expected


@pytest.mark.parametrize("name", ["backlog", "backlog_3", "inflight", "total_0", "pods"])
def test_a_trigger_of_the_user_cannot_take_a_name_of_ours(name: str) -> None:
    (problem,) = problems_with({**TRACKED, "extra_triggers": [{**CRON, "name": name}]})
    assert f"the trigger name {name} is taken" in problem


def channel_of(args: tuple[str, ...]) -> Channel:
    """kombu's channel as it is in a worker with these arguments, without a connection."""
    settings = dict(BaseLoader(None).cmdline_config_parser(list(args[args.index("--") + 1 :]) if "--" in args else []))
    channel = Channel.__new__(Channel)
    for name, value in settings.get("broker_transport_options", {}).items():
        if name in Channel.from_transport_options:
            setattr(channel, name, value)
    return channel


def keys_of(channel: Channel, command: str, *names: str) -> set[str]:
    """The keys that kombu's client sends to Redis for these names."""
    client = PrefixedStrictRedis.__new__(PrefixedStrictRedis)
    client.global_keyprefix = channel.global_keyprefix
    return {client._prefix_args([command, name])[1] for name in names}


LISTS: list[dict[str, Any]] = [
    {},
    {"priority_steps": [0]},
    {"priority_steps": [0, 5]},
    {"priority_steps": [1, 9]},
    {"sep": ":"},
    {"global_keyprefix": "shop_"},
    {"global_keyprefix": "{shop} ", "sep": "-p-", "priority_steps": [0, 1, 2]},
    {"transport_options": {"global_keyprefix": "shop_", "sep": ":", "priority_steps": [0, 7]}},
]


@pytest.mark.parametrize("kind", [{"host": "redis"}, SENTINEL], ids=["redis", "sentinel"])
@pytest.mark.parametrize("keys", [{}, {"in_flight": False}], ids=["tracked", "untracked"])
@pytest.mark.parametrize("broker", LISTS)
def test_keda_counts_exactly_the_keys_that_kombu_uses(
    broker: dict[str, Any], keys: dict[str, Any], kind: dict[str, Any]
) -> None:
    variables = one_variant({**TRACKED, "queues": ["edx.lms.core.high", "mail"], **keys}, broker={**kind, **broker})
    fleet = fleet_of(**variables)
    channel = channel_of(fleet.variants[0].args)
    (scaled,) = of_kind(manifests_of(fleet), "ScaledObject")
    counted = [item["metadata"]["listName"] for item in scaled["spec"]["triggers"] if "listName" in item["metadata"]]
    steps = channel.priority_steps
    lists = [channel._q_for_pri(queue, step) for queue in ("edx.lms.core.high", "mail") for step in steps]
    held = keys_of(channel, "HSET", channel.unacked_key) if not keys else set()
    assert len(set(counted)) == len(counted)
    assert set(counted) == keys_of(channel, "LPUSH", *lists) | held


def test_keda_looks_for_the_master_where_the_sentinels_are() -> None:
    broker = {**SENTINEL, "database": 2, "sentinel_username": "me", "sentinel_password": True, "tls": True}
    (backlog, *_rest) = spec_with(broker=broker)["triggers"]
    assert backlog["type"] == "redis-sentinel"
    wanted = {
        "addresses": "a.shop.svc:26379,b.example:26380",
        "sentinelMaster": "main",
        "sentinelUsername": "me",
        "databaseIndex": "2",
        "enableTLS": "true",
        "listName": "default",
    }
    assert wanted.items() <= backlog["metadata"].items()
    assert "address" not in backlog["metadata"]


def test_rabbitmq_tells_what_is_held_as_the_total_less_what_is_ready() -> None:
    spec = spec_with({"queues": ["a", "b"]}, broker=RABBITMQ)
    formula = spec["advanced"]["scalingModifiers"]["formula"]
    ready = {"backlog_a": 3, "backlog_b": 1, "pods": 5}
    assert asked(formula, {**ready, "total_a": 3, "total_b": 9}) == 4
    assert asked(formula, {**ready, "total_a": 3, "total_b": 1}) == 0.1
    flags = {item["name"]: item["metadata"].get("excludeUnacknowledged") for item in spec["triggers"]}
    assert flags == {"backlog_a": "true", "backlog_b": "true", "total_a": None, "total_b": None, "pods": None}


@pytest.mark.parametrize(
    ("broker", "host"),
    [
        ({}, "http://rabbit.shop.svc:15672"),
        ({"tls": True}, "https://rabbit.shop.svc:15671"),
        ({"management": {"port": 8080}}, "http://rabbit.shop.svc:8080"),
        ({"management": {"host": "api.example", "tls": True}}, "https://api.example:15671"),
        ({"tls": True, "management": {"tls": False}}, "http://rabbit.shop.svc:15672"),
    ],
)
def test_rabbitmq_is_read_through_its_management_api_because_amqp_tells_what_waits_only(
    broker: dict[str, Any], host: str
) -> None:
    triggers = spec_with(broker={**RABBITMQ, "virtual_host": "shop", **broker})["triggers"]
    asked_of = [item["metadata"] for item in triggers if item["type"] == "rabbitmq"]
    assert {(item["protocol"], item["host"], item["vhostName"]) for item in asked_of} == {("http", host, "shop")}


def test_sqs_tells_what_waits_and_what_is_in_flight_in_two_readings() -> None:
    triggers = spec_with(broker=SQS)["triggers"]
    flags = {item["name"]: item["metadata"].get("scaleOnInFlight") for item in triggers}
    assert flags == {"backlog": "false", "total": "true", "pods": None}
    assert {item["metadata"].get("awsRegion") for item in triggers} == {"eu-central-1", None}


def sqs_entity_name(name: str) -> str:
    """kombu's own rule, from the text of a module that cannot be imported without boto3."""
    found = importlib.util.find_spec("kombu.transport.SQS")
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    wanted: list[ast.stmt] = [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.Assign) and "CHARS_REPLACE_TABLE" in ast.unparse(node.targets[0]))
        or (isinstance(node, ast.FunctionDef) and node.name == "entity_name")
    ]
    names: dict[str, Any] = {"string": string, "safe_str": safe_str}
    exec(compile(ast.Module(wanted, []), found.origin, "exec"), names)
    result: str = names["entity_name"](None, name)
    return result


@pytest.mark.parametrize("prefix", ["", "shop."])
@pytest.mark.parametrize("queue", ["default", "edx.lms.core.high_mem", "a-b_c", "mail:high/1", "orders.fifo", "a@b+c"])
def test_the_name_of_a_queue_is_the_one_that_kombu_gives_it_in_sqs(queue: str, prefix: str) -> None:
    broker = {**SQS, "transport_options": {"queue_name_prefix": prefix}}
    (backlog, *_rest) = spec_with({"queues": [queue]}, broker=broker)["triggers"]
    assert backlog["metadata"]["queueURL"] == sqs_entity_name(prefix + queue)


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ({"account": "123456789012"}, "https://sqs.eu-central-1.amazonaws.com/123456789012/edx-lms"),
        (
            {"transport_options": {"predefined_queues": {"edx-lms": {"url": "https://q.example/1/1"}}}},
            "https://q.example/1/1",
        ),
        (
            {"transport_options": {"predefined_queues": {"edx.lms": {"url": "https://q.example/1/2"}}}},
            "https://q.example/1/2",
        ),
        ({"transport_options": {"predefined_queues": {"other": {"url": "https://q.example/1/3"}}}}, "edx-lms"),
    ],
)
def test_keda_gets_the_url_of_a_queue_where_that_is_known(broker: dict[str, Any], url: str) -> None:
    (backlog, *_rest) = spec_with({"queues": ["edx.lms"]}, broker={**SQS, **broker})["triggers"]
    assert backlog["metadata"]["queueURL"] == url


def test_the_pods_that_are_counted_are_those_of_the_variant() -> None:
    variables = one_variant(TRACKED)
    variables["config"]["billing"]["high"] = TRACKED
    manifests = manifests_of(fleet_of(**variables))
    deployments = {item["metadata"]["name"]: item for item in of_kind(manifests, "Deployment")}
    for scaled in of_kind(manifests, "ScaledObject"):
        (pods,) = (item for item in scaled["spec"]["triggers"] if item["name"] == "pods")
        selector = deployments[scaled["spec"]["scaleTargetRef"]["name"]]["spec"]["selector"]["matchLabels"]
        assert dict(pair.split("=") for pair in pods["metadata"]["podSelector"].split(",")) == selector


HELD: list[tuple[dict[str, Any], int, int]] = [
    ({"concurrency": 3}, 3, 3),
    ({"concurrency": 3, "prefetch_multiplier": 4}, 3, 12),
    ({"extra_params": ["-c", "5"], "prefetch_multiplier": 2}, 5, 10),
    ({"extra_params": ["-c5", "--prefetch-multiplier=3"]}, 5, 15),
    ({"extra_params": ["--pool=gevent", "-c50"]}, 50, 50),
    ({"pool": "solo", "concurrency": 8, "prefetch_multiplier": 4}, 1, 4),
    ({"extra_params": ["--pool=solo", "-c8"]}, 1, 1),
    ({"concurrency": 3, "prefetch_multiplier": 4, "disable_prefetch": True}, 3, 3),
    ({"concurrency": 3, "prefetch_multiplier": 4, "extra_params": ["--disable-prefetch"]}, 3, 3),
    ({"extra_params": ["--autoscale=8,2"], "prefetch_multiplier": 2, "accept_risks": ["autoscale"]}, 8, 16),
    ({"extra_params": ["--prefetch-multiplier=0"], "accept_risks": ["prefetch"]}, 2, 2),
]


@pytest.mark.parametrize(("keys", "slots", "held"), HELD)
def test_what_makes_a_pod_full_follows_from_the_final_arguments(keys: dict[str, Any], slots: int, held: int) -> None:
    variant = variant_of({**TRACKED, **keys})
    assert (variant.slots, variant.held) == (slots, held)
    readings = {"backlog": 0, "inflight": 3 * held, "pods": 9}
    assert asked(formula_with(keys), readings) == 3
