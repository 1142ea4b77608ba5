# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's command line: Celery understands it, free arguments replace keys, and the scaler counts what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.command import read_arguments, slots_of
from celery.bin.worker import worker as celery_worker
from celery.loaders.base import BaseLoader

from tests.unit.inventories import SCALED, problems_with, variant_of


def options_of(args: tuple[str, ...]) -> dict[str, Any]:
    """The options as Celery's own command line parser reads them."""
    words = list(args[args.index("worker") + 1 :])
    if "--" in words:
        words = words[: words.index("--")]
    parser = celery_worker.make_parser(celery_worker.make_context("worker", [], resilient_parsing=True))
    found: dict[str, Any]
    found, rest, _order = parser.parse_args(args=words)
    assert rest == []
    return found


def settings_of(args: tuple[str, ...]) -> dict[str, Any]:
    """The settings as Celery's own parser reads them."""
    words = list(args[args.index("--") + 1 :]) if "--" in args else []
    return dict(BaseLoader(None).cmdline_config_parser(words))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"concurrency": "2", "pool": "prefork", "prefetch_multiplier": "1", "optimization": "fair"}),
        ({"concurrency": 4, "pool": "threads"}, {"concurrency": "4", "pool": "threads"}),
        ({"pool": "solo", "concurrency": 9}, {"concurrency": "1", "pool": "solo"}),
        ({"time_limit": 60, "soft_time_limit": 50}, {"time_limit": "60", "soft_time_limit": "50"}),
        ({"longest_task_seconds": 59.5}, {"time_limit": "60"}),
        ({"max_tasks_per_child": 7}, {"max_tasks_per_child": "7"}),
        ({"max_memory_per_child": 1000}, {"max_memory_per_child": "1000"}),
        ({"queues": ["a", "b"], "exclude_queues": ["c"]}, {"queues": "a,b", "exclude_queues": "c"}),
        ({"loglevel": "debug"}, {"loglevel": "debug"}),
    ],
)
def test_celery_reads_the_keys_as_they_are_meant(keys: dict[str, Any], expected: dict[str, str]) -> None:
    found = options_of(variant_of(keys).args)
    assert {name: found.get(name) for name in expected} == expected


def test_only_prefork_gets_options_of_prefork() -> None:
    for keys in ({"pool": "gevent"}, {"extra_params": ["--pool=gevent"]}):
        assert not {"optimization", "max_tasks_per_child", "max_memory_per_child"} & set(
            options_of(variant_of(keys).args)
        )


def test_a_child_is_replaced_at_its_share_of_the_memory_limit() -> None:
    """0.85 of an equal share of three quarters of 1 GiB, for two children."""
    assert options_of(variant_of().args)["max_memory_per_child"] == str(int(1024 * 1024 * 0.75 / 2 * 0.85))
    assert "max_memory_per_child" not in options_of(variant_of({"max_memory_per_child": 0}).args)


@pytest.mark.parametrize(
    "override",
    [
        {"containers": [{"name": "worker", "resources": {"limits": {"memory": "2Gi"}}}]},
        # A limit of the container goes over one of the pod.
        {
            "resources": {"limits": {"memory": "8Gi"}},
            "containers": [{"name": "worker", "resources": {"limits": {"memory": "2Gi"}}}],
        },
    ],
)
def test_a_memory_limit_counts_wherever_it_was_written(override: dict[str, Any]) -> None:
    share = str(int(2 * 1024 * 1024 * 0.75 / 2 * 0.85))
    assert options_of(variant_of({"pod_overrides": override}).args)["max_memory_per_child"] == share
    of_pod = {"resources": {"limits": {"memory": None}}, "pod_overrides": {"resources": {"limits": {"memory": "2Gi"}}}}
    assert options_of(variant_of(of_pod).args)["max_memory_per_child"] == share


@pytest.mark.parametrize("words", [["--concurrency=auto"], ["-c", "auto"], ["-cauto"]])
def test_a_number_of_slots_that_only_the_pod_knows_is_refused(words: list[str]) -> None:
    (problem,) = problems_with({"extra_params": words})
    assert problem.startswith("celery_workers_config.billing.default.extra_params: ")
    assert "counts the processors inside the pod, and the scaler needs the number; write the CPU limit" in problem


WRITTEN = [
    (["-c4"], "concurrency", "4"),
    (["-c", "4"], "concurrency", "4"),
    (["--concurrency=4"], "concurrency", "4"),
    (["--concurrency", "4"], "concurrency", "4"),
    (["-Ec4"], "concurrency", "4"),
    (["-P", "threads"], "pool", "threads"),
    (["-Pthreads"], "pool", "threads"),
    (["--pool=threads"], "pool", "threads"),
    (["-Odefault"], "optimization", "default"),
    (["--prefetch-multiplier", "8"], "prefetch_multiplier", "8"),
    (["-l", "ERROR"], "loglevel", "ERROR"),
    (["--max-tasks-per-child=3"], "max_tasks_per_child", "3"),
    (["--max-memory-per-child=3"], "max_memory_per_child", "3"),
    (["--time-limit=3"], "time_limit", "3"),
]


@pytest.mark.parametrize(("words", "name", "value"), WRITTEN, ids=[" ".join(row[0]) for row in WRITTEN])
def test_a_free_argument_replaces_its_key_however_it_is_written(words: list[str], name: str, value: str) -> None:
    keys = {"extra_params": words, "concurrency": 3, "time_limit": 99}
    args = variant_of(keys).args
    assert options_of(args)[name] == value
    names = [option.name for option in read_arguments(args[3:])[0]]
    assert len(set(names)) == len(names)
    assert [word for word in args if word in words] == words


@pytest.mark.parametrize("flag", ["--without-gossip", "--without-mingle"])
def test_a_flag_that_a_key_sets_too_stands_there_once(flag: str) -> None:
    assert list(variant_of({"extra_params": [flag]}).args).count(flag) == 1


@pytest.mark.parametrize(
    ("keys", "told"), [({"task_events": True}, True), ({"task_events": False}, False), ({}, False)]
)
def test_workers_tell_of_their_tasks_where_they_are_told_to(keys: dict[str, Any], told: bool) -> None:
    assert ("--task-events" in variant_of(keys).args) is told


@pytest.mark.parametrize("word", ["-E", "--task-events"])
def test_workers_that_already_tell_of_their_tasks_are_told_so_once(word: str) -> None:
    args = variant_of({"task_events": True, "extra_params": [word]}).args
    assert [found for found in args if found in ("-E", "--task-events")] == [word]


@pytest.mark.parametrize(
    ("keys", "slots"),
    [
        ({"concurrency": 3}, 3),
        ({"extra_params": ["-c", "5"], "concurrency": 3}, 5),
        ({"extra_params": ["-Ec5"], "concurrency": 3}, 5),
        ({"extra_params": ["--autoscale=8,2"]}, 8),
        ({"extra_params": ["--autoscale", "8"]}, 8),
        ({"extra_params": ["-P", "solo", "-c8"]}, 1),
        ({"pool": "solo", "concurrency": 8}, 1),
        ({"pool": "gevent", "concurrency": 100}, 100),
    ],
)
def test_slots_are_those_of_the_final_arguments(keys: dict[str, Any], slots: int) -> None:
    variant = variant_of(keys)
    assert variant.slots == slots_of(variant.args) == slots


def test_the_words_of_a_setting_are_no_options() -> None:
    assert slots_of(["celery", "--app=a", "worker", "-c3", "--", "worker.x=(string)-c9"]) == 3


REFUSED = [
    ("-Abilling", "the app is the service's"),
    ("--app=billing", "the app is the service's"),
    ("-bredis://x", "the broker is the fleet's"),
    ("-nworker@%h", "the node name must be unique per pod"),
    ("--hostname=x", "the node name must be unique per pod"),
    ("-Qhigh", "the queues decide what the scaler watches"),
    ("-Xlow", "set exclude_queues"),
    ("-B", "every pod would schedule every periodic task"),
    ("--beat", "every pod would schedule every periodic task"),
    ("-EB", "every pod would schedule every periodic task"),
    ("-s/tmp/x", "that belongs to beat"),
    ("--scheduler=x", "that belongs to beat"),
    ("-D", "the container would end at once"),
    ("--purge", "every start of a pod would delete all waiting work"),
    ("--discard", "every start of a pod would delete all waiting work"),
    ("--result-backend=x", "settings: {result_backend"),
    ("--config=x", "it comes before the word worker"),
    ("--loader=x", "it comes before the word worker"),
    ("--workdir=x", "set working_dir"),
    ("--no-color", "it comes before the word worker"),
    ("-q", "it comes before the word worker"),
    ("--uid=1", "set security_context.runAsUser"),
    ("--gid=1", "set security_context.runAsGroup"),
    ("-f/tmp/log", "logs go to the container's output"),
    ("--concurrency=0", "needs a number above 0"),
    ("--concurrency=abc", "needs a number above 0"),
    ("-c=4", "needs a number above 0"),
    ("--autoscale=many", "needs MAX or MAX,MIN"),
    ("--autoscale=0,0", "--autoscale=0,0"),
    ("--pool=greenlets", "greenlets"),
    ("--pool", "'--pool' needs a value."),
    ("--pool gevent", "write '--pool' and the value as two elements"),
    ("--", "write it under settings"),
    ("worker.prefetch_multiplier=1", "write it under settings"),
    ("--conncurrency=4", "did you mean '--concurrency'?"),
    ("high", "celery worker has no argument 'high'"),
]


@pytest.mark.parametrize(("word", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_an_argument_that_would_break_a_promise_is_refused_with_the_reason(word: str, reason: str) -> None:
    (problem,) = problems_with({"extra_params": [word]})
    assert problem.startswith("celery_workers_config.billing.default.extra_params: ")
    assert reason in problem


def test_autoscale_beside_a_scaler_is_refused() -> None:
    (problem,) = problems_with({**SCALED, "extra_params": ["--autoscale=8,2"]})
    assert "two control loops on one pool" in problem


def test_an_argument_given_twice_is_refused() -> None:
    (problem,) = problems_with({"extra_params": ["-c4", "--concurrency=8"]})
    assert problem.endswith("--concurrency is written there more than once; write it once.")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("task_track_started", True, ("task_track_started", True)),
        ("task.track_started", False, ("task_track_started", False)),
        ("WORKER_LOST_WAIT", 5, ("worker_lost_wait", 5)),
        ("broker_connection_timeout", 2.5, ("broker_connection_timeout", 2.5)),
        ("result_backend", "redis://redis/1", ("result_backend", "redis://redis/1")),
        ("task_default_queue", "a=(int)b c", ("task_default_queue", "a=(int)b c")),
        ("accept_content", ["json", "pickle"], ("accept_content", ["json", "pickle"])),
        ("task_routes", {"a.b": {"queue": "x"}}, ("task_routes", {"a.b": {"queue": "x"}})),
    ],
)
def test_celery_reads_a_setting_with_the_value_and_type_written(
    name: str, value: Any, expected: tuple[str, Any]
) -> None:
    assert settings_of(variant_of({"settings": {name: value}}).args) == dict([expected])


def test_acknowledgement_keys_are_settings_that_celery_reads() -> None:
    found = settings_of(variant_of({"acks_late": True, "reject_on_worker_lost": "no"}).args)
    assert found == {"task_acks_late": True, "task_reject_on_worker_lost": False}
    assert settings_of(variant_of().args) == {}


def test_transport_options_reach_the_worker_as_a_whole() -> None:
    options = {"visibility_timeout": 7200, "global_keyprefix": "shop_"}
    found = settings_of(variant_of(broker={"host": "redis", "transport_options": options}).args)
    assert found == {"broker_transport_options": options}
    assert (
        json.dumps(options, sort_keys=True, separators=(",", ":"))
        in variant_of(broker={"host": "redis", "transport_options": options}).args[-1]
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("worker_concurrency", 4, "write concurrency instead"),
        ("WORKER_POOL", "solo", "write pool instead"),
        ("task_acks_late", True, "write acks_late instead"),
        ("broker_url", "redis://x", "write celery_workers_broker instead"),
        ("CELERYD_PREFETCH_MULTIPLIER", 4, "write prefetch_multiplier instead"),
    ],
)
def test_a_setting_that_has_a_key_or_cannot_be_set_is_refused(name: str, value: Any, reason: str) -> None:
    (problem,) = problems_with({"settings": {name: value}})
    assert problem.startswith(f"celery_workers_config.billing.default.settings.{name}: ")
    assert reason in problem


def test_a_setting_with_a_password_in_plain_sight_is_refused() -> None:
    """A command line is in the Deployment, which everybody may read."""
    found = problems_with({"settings": {"result_backend": "redis://user:hunter2@redis/1"}})
    assert found
    assert "hunter2" not in str(found)


def test_the_node_name_is_unique_per_pod_and_says_whose_it_is() -> None:
    assert "--hostname=billing.default@%h" in variant_of().args
