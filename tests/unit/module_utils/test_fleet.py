# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From variables to a Fleet: what wins over what, what is refused, and how a message leads to the mend."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.unit.inventories import (
    IMAGE,
    REDIS,
    fleet_of,
    inventory,
    one_variant,
    problems_of,
    problems_with,
    variant_of,
)

OPENEDX = {"preset": "openedx", "services": {"lms": {"image": "openedx:22"}, "cms": {"image": "openedx:22"}}}


def test_the_defaults_are_those_of_the_tutor_plugin() -> None:
    fleet = fleet_of(**one_variant(variant="high"))
    scaling = fleet.variants[0].scaling
    assert (scaling.max_replicas, scaling.list_length) == (30, 40)
    assert (scaling.enable_keda, scaling.scaler, fleet.variants[0].process.extra_params) == (False, "none", ())
    assert variant_of(variant="default").scaling.max_replicas == 10


@pytest.mark.parametrize(
    ("keys", "fewest"),
    [
        ({}, 1),
        ({"enable_keda": True}, 1),
        ({"idempotent": True}, 1),
        ({"enable_keda": True, "idempotent": True}, 0),
        ({"enable_keda": True, "idempotent": True, "in_flight": False}, 1),
        ({"enable_keda": True, "idempotent": True, "acks_late": False}, 1),
        ({"enable_keda": True, "idempotent": True, "min_replicas": 2}, 2),
    ],
)
def test_only_a_variant_whose_running_work_is_seen_goes_to_zero_by_default(keys: dict[str, Any], fewest: int) -> None:
    assert variant_of(keys).scaling.min_replicas == fewest


def test_the_configuration_of_the_tutor_plugins_readme_is_taken_as_it_is() -> None:
    config = {
        "lms": {
            "high": {},
            "high_mem": {},
            "default": {"min_replicas": 0, "max_replicas": 10, "list_length": 40, "enable_keda": True},
        },
        "cms": {
            "high": {"extra_params": ["--pool=gevent", "--concurrency=100"]},
            "low": {},
            "default": {"enable_keda": True, "min_replicas": 1, "max_replicas": 5, "list_length": 10},
        },
    }
    fleet = fleet_of(**OPENEDX, config=config)
    assert [variant.deployment for variant in fleet.variants] == [
        "lms-worker",
        "lms-worker-high",
        "lms-worker-high-mem",
        "cms-worker",
        "cms-worker-high",
        "cms-worker-low",
    ]
    high = next(variant for variant in fleet.variants if variant.deployment == "cms-worker-high")
    assert high.slots == 100
    assert [variant.deployment for variant in fleet.variants if variant.has_scaler] == ["lms-worker", "cms-worker"]


ORDER: list[tuple[str, dict[str, Any], int]] = [
    ("the profile wins over the collection", {"config": {"profile": "standard"}}, 10),
    ("known task times win over the profile", {"config": {"profile": "standard", "task_seconds": 60}}, 17),
    ("queue_defaults win over known task times", {"config": {"task_seconds": 60}, "queue_defaults": 7}, 7),
    ("the service wins over queue_defaults", {"config": {}, "queue_defaults": 7, "service": 8}, 8),
    ("config wins over the service", {"config": {"list_length": 9}, "queue_defaults": 7, "service": 8}, 9),
]


@pytest.mark.parametrize(("variables", "expected"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_of_two_values_the_nearer_one_wins(variables: dict[str, Any], expected: int) -> None:
    service = {"list_length": variables["service"]} if "service" in variables else {}
    everything = one_variant(variables["config"], service)
    if "queue_defaults" in variables:
        everything["queue_defaults"] = {"list_length": variables["queue_defaults"]}
    assert fleet_of(**everything).variants[0].scaling.list_length == expected


def test_a_preset_wins_over_the_collection_and_the_profile_and_loses_to_queue_defaults() -> None:
    limits = {"limits": {"memory": "3Gi"}}
    assert fleet_of(**OPENEDX).variants[0].pod.resources["limits"] == limits["limits"]
    mine = fleet_of(**OPENEDX, queue_defaults={"resources": {"limits": {"memory": "5Gi"}}}).variants[0].pod.resources
    assert mine == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "5Gi"}}


def test_numbered_layers_win_by_their_numbers_in_whatever_order_they_come() -> None:
    layers = {
        "config": {"billing": {"default": {"max_replicas": 1, "list_length": 1, "polling_interval": 1}}},
        "config__10_platform": {"billing": {"default": {"max_replicas": 10, "list_length": 10}}},
        "config__90_host": {"billing": {"default": {"max_replicas": 90}}},
    }
    for names in itertools.permutations(layers):
        variables = {"services": {"billing": {"image": IMAGE}}, **{name: layers[name] for name in names}}
        scaling = fleet_of(**variables).variants[0].scaling
        assert (scaling.max_replicas, scaling.list_length, scaling.polling_interval) == (90, 10, 1)


def test_a_dict_gains_keys_from_every_layer_and_a_list_is_replaced() -> None:
    variables = one_variant({"node_selector": {"zone": "a"}, "tolerations": [{"operator": "Exists"}]})
    variables["queue_defaults"] = {
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
    }
    pod = fleet_of(**variables).variants[0].pod
    assert pod.node_selector == {"disk": "ssd", "zone": "a"}
    assert list(pod.tolerations) == [{"operator": "Exists"}]


@pytest.mark.parametrize("empty", [None, {}])
def test_a_variant_without_keys_takes_all_defaults(empty: Any) -> None:
    assert variant_of(empty, variant="high").deployment == "billing-worker-high"


def test_a_variant_that_is_null_in_an_upper_layer_keeps_what_lies_below() -> None:
    variables = {**one_variant({"max_replicas": 4}), "config__50_group": {"billing": {"default": None}}}
    assert fleet_of(**variables).variants[0].scaling.max_replicas == 4


@pytest.mark.parametrize(("variant", "expected"), [("default", 10), ("high", 30)])
def test_a_key_that_is_null_goes_back_to_its_default(variant: str, expected: int) -> None:
    variables = one_variant({"max_replicas": None}, {"max_replicas": 4}, variant=variant)
    assert fleet_of(**variables).variants[0].scaling.max_replicas == expected


def test_a_key_that_is_null_goes_back_to_the_default_of_its_profile() -> None:
    assert variant_of({"profile": "long", "max_replicas": None}, service={"max_replicas": 9}).scaling.max_replicas == 5


def test_a_whole_dict_that_is_null_goes_back_to_its_default() -> None:
    variant = variant_of({"resources": None}, service={"resources": {"limits": {"memory": "9Gi"}}})
    assert variant.pod.resources == {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}


def test_a_part_of_resources_that_is_null_is_left_out() -> None:
    """The key documentation of resources says so: it is the only way to run without a limit."""
    assert variant_of({"resources": {"limits": None}}).pod.resources == {"requests": {"cpu": "250m", "memory": "512Mi"}}
    only_memory = variant_of({"resources": {"requests": {"cpu": None}}}).pod.resources
    assert only_memory == {"requests": {"memory": "512Mi"}, "limits": {"memory": "1Gi"}}


def test_a_nested_key_of_ours_that_is_null_goes_back_to_its_default() -> None:
    variant = variant_of({"probe": {"startup_seconds": None}}, service={"probe": {"startup_seconds": 60}})
    assert variant.pod.probe.startup_seconds == 300


@pytest.mark.parametrize(
    ("written", "expected"),
    [("4", 4), (" 4 ", 4), (4, 4)],
)
def test_numbers_that_templating_turned_into_text_count(written: Any, expected: int) -> None:
    assert variant_of({"max_replicas": written}).scaling.max_replicas == expected


@pytest.mark.parametrize("written", ["True", "yes", "on", "true", True])
def test_booleans_that_templating_turned_into_text_count(written: Any) -> None:
    assert variant_of({"enable_keda": written}).has_scaler is True


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("max_replicas", {"max_replicas": True}, "True is not valid here; write a whole number, 1 to 10000."),
    ("max_replicas", {"max_replicas": 0}, "0 is not valid here; write a whole number, 1 to 10000."),
    ("max_replicas", {"max_replicas": 2.5}, "2.5 is not valid here; write a whole number, 1 to 10000."),
    ("max_replicas", {"max_replicas": "many"}, "'many' is not valid here; write a whole number, 1 to 10000."),
    ("enable_keda", {"enable_keda": 1}, "1 is not valid here; write true or false."),
    ("concurrency", {"concurrency": [4]}, "[4] is not valid here; write a whole number, 1 to 10000."),
    ("queues", {"queues": "high"}, "'high' is not valid here; write a list of at least one element"),
    ("queues", {"queues": ["a", "a"]}, "a is written here more than once; write it once."),
    (
        "pool",
        {"pool": "greenlets"},
        "'greenlets' is not valid here; did you mean 'eventlet'? Write one of prefork, threads, gevent, eventlet,",
    ),
    ("max_replica", {"max_replica": 3}, "a variant has no 'max_replica'; did you mean 'max_replicas'?"),
    ("max_replica", {"max_replica": None}, "a variant has no 'max_replica'; did you mean 'max_replicas'?"),
]


@pytest.mark.parametrize(("key", "keys", "message"), REFUSED)
def test_a_wrong_value_is_named_with_its_path_and_what_to_write(key: str, keys: dict[str, Any], message: str) -> None:
    (problem,) = problems_with(keys)
    assert problem.startswith(f"celery_workers_config.billing.default.{key}: {message}")


def test_a_message_names_the_layer_that_wrote_the_value() -> None:
    variables = {
        **one_variant({"max_replicas": 4}),
        "config__50_campus": {"billing": {"default": {"max_replicas": "x"}}},
    }
    (problem,) = problems_of(**variables)
    assert problem.startswith("celery_workers_config__50_campus.billing.default.max_replicas: ")


def test_a_rule_between_keys_names_the_layer_that_wrote_the_key() -> None:
    variables = {
        **one_variant({"min_replicas": 2}),
        "config__50_campus": {"billing": {"default": {"min_replicas": 12}}},
    }
    (problem,) = problems_of(**variables)
    assert problem.startswith(
        "celery_workers_config__50_campus.billing.default.min_replicas: min_replicas 12 of variant"
    )


def test_a_value_that_follows_from_task_times_and_is_too_large_names_the_key_that_asked_for_it() -> None:
    (problem,) = problems_with({"task_seconds": 1e-9})
    assert problem.startswith("celery_workers_config.billing.default.task_seconds: ")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"config": {"billin": {"default": {}}}},
            "celery_workers_config.billin: there is no service 'billin'; did you mean 'billing'?",
        ),
        ({"queue_defaults": {"memory": 1}}, "celery_workers_queue_defaults.memory: queue_defaults has no 'memory'"),
        ({"broker": {"hots": "x"}}, "celery_workers_broker.hots: a broker has no 'hots'; did you mean 'hosts'?"),
        (
            {"services": {"billing": {"imge": "x"}}},
            "celery_workers_services.billing.imge: a service has no 'imge'; did you mean 'image'?",
        ),
        (
            {"services": {"billing": {"queues": ["x"]}}},
            "celery_workers_services.billing.queues: queues belongs to a variant",
        ),
        ({"services": {"billing": [1]}}, "celery_workers_services.billing: a service is a dict of keys"),
        ({"config": {"billing": ["default"]}}, "celery_workers_config.billing: write variants as keys"),
        ({"config": {"billing": {"default": 3}}}, "celery_workers_config.billing.default: a variant is a dict of keys"),
        ({"config": "none"}, "celery_workers_config: this is not a dict"),
        (
            {"explicit_queues": {"lms": {"a.task": {"queue": "default"}}}},
            "celery_workers_explicit_queues.lms: there is no service 'lms'",
        ),
        (
            {"explicit_queues": {"billing": {"a.task": {"que": "x"}}}},
            "celery_workers_explicit_queues.billing.a.task: write {queue: <name>}.",
        ),
        ({"explicit_queues": ["x"]}, "celery_workers_explicit_queues: write service, task and queue"),
        ({"namespace": "Shop"}, "celery_workers_namespace: 'Shop' is not valid here"),
        ({"fleet": "a b"}, "celery_workers_fleet: 'a b' is not valid here"),
        ({"preset": "openedxx"}, "celery_workers_preset: there is no preset 'openedxx'; did you mean 'openedx'?"),
    ],
)
def test_a_name_that_nothing_knows_is_named_with_the_nearest_one(variables: dict[str, Any], expected: str) -> None:
    found = problems_of(**{**one_variant(), **variables})
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("celery_workers_confg", "the role has no variable of this name; did you mean 'celery_workers_config'?"),
        ("celery_workers_config__5_x", "a layer's name is celery_workers_config__<two digits>_<name>"),
        ("celery_workers_prune__50_x", "only celery_workers_services, celery_workers_config"),
        ("celery_worker_config", "this name is not one of the role's, which all begin with celery_workers_; write"),
        ("celery_worker_config__90_host", "this name is not one of the role's"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(name: str, message: str) -> None:
    known = ("celery_workers_config", "celery_workers_prune")
    layers = inventory(**one_variant()).layers
    with pytest.raises(InventoryError) as caught:
        parse_fleet(Inventory("shop", layers=layers, known_variables=known, variable_names=(name, known[0])))
    (problem,) = caught.value.problems
    assert problem.path == name
    assert problem.message.startswith(message)


@pytest.mark.parametrize("name", ["queue_defaults", "services"])
def test_one_mistyped_key_is_one_problem(name: str) -> None:
    variables = one_variant()
    variables[name] = {"zzz": 1} if name == "queue_defaults" else {"billing": {"image": IMAGE, "zzz": 1}}
    assert len(problems_of(**variables)) == 1


def test_all_problems_come_in_one_error_with_their_count() -> None:
    variables = one_variant(
        {"max_replicas": True, "pol": "x", "min_replicas": 3, "env": {"A": 1}}, broker={"host": "a b"}
    )
    with pytest.raises(InventoryError) as caught:
        fleet_of(**variables)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"The inventory has {len(caught.value.problems)} problems."
    assert [line.split(": ")[0].split(" ")[1].rpartition(".")[2] for line in lines[1:]] == [
        problem.path.rpartition(".")[2] for problem in caught.value.problems
    ]
    assert {problem.path.rpartition(".")[2] for problem in caught.value.problems} == {
        "max_replicas",
        "pol",
        "A",
        "host",
    }


@pytest.mark.parametrize(
    ("services", "config", "name"),
    [
        ({"a": {}}, {"a": {"high_mem": {}, "high-mem": {}}}, "a-worker-high-mem"),
        (
            {"a-b": {}, "a_b": {"queue_name": "x.{variant}"}},
            {"a-b": {"default": {}}, "a_b": {"default": {}}},
            "a-b-worker",
        ),
        ({"a": {"beat": True}}, {"a": {"default": {"name": "a-beat"}}}, "a-beat"),
        ({"a": {}}, {"a": {"default": {}, "high": {"name": "a-worker"}}}, "a-worker"),
    ],
)
def test_two_variants_never_share_a_deployment(services: dict[str, Any], config: dict[str, Any], name: str) -> None:
    services = {key: {"image": IMAGE, **keys} for key, keys in services.items()}
    found = problems_of(services=services, config=config)
    assert any(f"would share the Deployment '{name}'" in problem for problem in found), found


def test_two_services_never_share_the_objects_beside_their_deployments() -> None:
    """`a-b` and `a_b` are two services, and every object of theirs is named after them."""
    service = {"image": IMAGE, "queue_name": "{service}.{variant}", "probe": "heartbeat"}
    config = {"a-b": {"default": {"name": "one"}}, "a_b": {"default": {"name": "two"}}}
    found = problems_of(services={"a-b": service, "a_b": service}, config=config)
    assert any("a-b" in problem and "a_b" in problem for problem in found), found


@pytest.mark.parametrize(("keys", "longest"), [({}, 63), ({"enable_keda": True, "min_replicas": 1}, 41)])
def test_a_deployment_name_that_is_too_long_is_refused(keys: dict[str, Any], longest: int) -> None:
    assert variant_of({**keys, "name": "a" * longest}).deployment == "a" * longest
    (problem,) = problems_with({**keys, "name": "a" * (longest + 1)})
    assert f"has {longest + 1} characters, {longest} are allowed" in problem or longest == 63


def test_a_service_without_variants_is_refused_unless_it_has_beat() -> None:
    (problem,) = problems_of(services={"billing": {"image": IMAGE}})
    assert problem.startswith("celery_workers_services.billing: the service has no variant")
    assert fleet_of(services={"billing": {"image": IMAGE, "beat": True}}).services[0].beat is not None


def test_a_variant_that_is_switched_off_is_not_in_the_fleet() -> None:
    variables = one_variant({"enabled": False})
    variables["config"]["billing"]["high"] = None
    assert [variant.name for variant in fleet_of(**variables).variants] == ["high"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis:6379/2", ("redis", "redis", 6379, 2, None, False)),
        ("redis://redis", ("redis", "redis", 6379, 0, None, False)),
        ("rediss://me@redis.example:6380/1", ("redis", "redis.example", 6380, 1, "me", True)),
        ("amqp://me@rabbit:5673/shop", ("rabbitmq", "rabbit", 5673, 0, "me", False)),
        ("amqps://rabbit/%2F", ("rabbitmq", "rabbit", 5671, 0, None, True)),
    ],
)
def test_a_broker_url_means_the_same_as_its_parts(url: str, expected: tuple[Any, ...]) -> None:
    keys = {"url": url, **({"password": True} if "@" in url else {})}
    broker = fleet_of(**one_variant(broker=keys)).services[0].broker
    assert broker is not None
    found = (broker.type, broker.host, broker.port, broker.database, broker.username, broker.tls is not None)
    assert found == expected


@pytest.mark.parametrize(
    ("broker", "message"),
    [
        ({"url": "redis://redis/0", "port": 1}, "celery_workers_broker.url: url is written beside port"),
        ({"url": "http://redis"}, "celery_workers_broker.url: http:// is not supported"),
        ({"url": "redis://redis/shop"}, "celery_workers_broker.url: a Redis URL ends in the database's number"),
        ({"url": "redis://redis/²"}, "celery_workers_broker.url: a Redis URL ends in the database's number"),
        ({"url": "redis://redis:x/0"}, "celery_workers_broker.url: what follows the login is not a host and a port"),
        ({"url": "redis://u:secret@redis/0"}, "celery_workers_broker.url: a password must not reach a module"),
        ({"host": "redis:6379"}, "celery_workers_broker.host: "),
        ({"host": "redis", "username": "me"}, "celery_workers_broker.username: a user name needs a password"),
        ({"host": "redis", "password": True, "secret": {"name": "x"}}, "celery_workers_broker.secret: secret names"),
        ({"host": "redis", "secret": {}}, "celery_workers_broker.secret.name: name the existing Secret."),
        ({"port": 6379}, "celery_workers_broker.host: name the broker's host"),
        (
            {"host": "redis", "password": "hunter2"},
            "celery_workers_broker.password: a secret value must not reach a module",
        ),
    ],
)
def test_a_broker_that_cannot_be_reached_as_written_is_refused(broker: dict[str, Any], message: str) -> None:
    found = problems_of(**one_variant(broker=broker))
    assert found[0].startswith(message)
    assert "hunter2" not in str(found)


def test_the_port_of_a_broker_follows_its_type_also_over_a_preset() -> None:
    broker = (
        fleet_of(**OPENEDX, broker={"type": "rabbitmq", "host": "rabbit", "consumer_timeout": 9000}).services[0].broker
    )
    assert broker is not None
    assert broker.port == 5672


def test_a_services_own_broker_replaces_the_fleets() -> None:
    fleet = fleet_of(**one_variant(service={"broker": {"host": "other", "database": 3}}))
    broker = fleet.services[0].broker
    assert broker is not None
    assert (broker.host, broker.database) == ("other", 3)


def test_the_open_edx_preset_names_queues_as_the_platform_does() -> None:
    fleet = fleet_of(**OPENEDX)
    assert [queue for variant in fleet.variants for queue in variant.queues] == [
        "edx.lms.core.default",
        "edx.lms.core.high",
        "edx.lms.core.high_mem",
        "edx.cms.core.default",
        "edx.cms.core.high",
        "edx.cms.core.low",
    ]
    assert [service.app for service in fleet.services] == ["lms.celery", "cms.celery"]


def test_a_preset_gives_the_environment_that_its_image_needs_unless_the_inventory_names_it() -> None:
    fleet = fleet_of(**OPENEDX, config={"lms": {"high": {"env": {"SERVICE_VARIANT": "mine"}}}})
    env = {item.name: {entry["name"]: entry["value"] for entry in item.pod.env} for item in fleet.variants[:2]}
    assert env["default"] == {"SERVICE_VARIANT": "lms", "DJANGO_SETTINGS_MODULE": "lms.envs.tutor.production"}
    assert env["high"] == {"SERVICE_VARIANT": "mine", "DJANGO_SETTINGS_MODULE": "lms.envs.tutor.production"}


@pytest.mark.parametrize(
    "broker",
    [
        {"type": "redis-sentinel", "hosts": ["a"], "master_name": "main"},
        {
            "type": "sqs",
            "region": "eu-central-1",
            "pod_identity": True,
            "transport_options": {"visibility_timeout": 9000},
        },
    ],
)
def test_of_a_broker_of_another_type_the_presets_address_is_forgotten(broker: dict[str, Any]) -> None:
    found = fleet_of(**OPENEDX, broker=broker).services[0].broker
    assert found is not None
    assert (found.host, found.inject_env) == ("", "")


@pytest.mark.parametrize(
    ("config", "path", "message"),
    [
        (
            {"billing": {"max_replicas": 5}},
            "billing.max_replicas",
            "max_replicas is a key of a variant; indent it below",
        ),
        (
            {"billing": {"max_replicas": None}},
            "billing.max_replicas",
            "max_replicas is a key of a variant; indent it be",
        ),
        (
            {"billing": {"resources": {"limits": {"memory": "1Gi"}}}},
            "billing.resources",
            "is a key of a variant; indent",
        ),
        (
            {"billing": {"queues": ["a"], "default": {}}},
            "billing.queues",
            "queues is a key of a variant; indent it below",
        ),
        (
            {"billing": {"app": "x"}},
            "billing.app",
            "app is a key of a service; write it under celery_workers_services.b",
        ),
        (
            {"billing": {"broker": {"host": "x"}}},
            "billing.broker",
            "broker is a key of a service; write it under celery",
        ),
        ({"max_replicas": 5}, "max_replicas", "below a service and a variant, for example billing: default:."),
        (
            {"default": {"max_replicas": 5}},
            "default",
            "variants are indented below their service, for example billing:.",
        ),
        (
            {"biling": {"default": {"max_replicas": 5}}},
            "biling",
            "there is no service 'biling'; did you mean 'billing'?",
        ),
    ],
)
def test_a_key_one_level_too_high_is_told_where_it_belongs(config: Any, path: str, message: str) -> None:
    problem = next(
        text
        for text in problems_of(services={"billing": {"image": IMAGE}}, config=config, broker=REDIS)
        if text.startswith(f"celery_workers_config.{path}: ")
    )
    assert message in problem


def test_a_key_one_level_too_high_is_one_problem() -> None:
    (problem,) = problems_of(
        services={"billing": {"image": IMAGE}}, config={"billing": {"max_replicas": 5}}, broker=REDIS
    )
    assert problem == (
        "celery_workers_config.billing.max_replicas: max_replicas is a key of a variant; indent it below one, for "
        "example default:."
    )


@pytest.mark.parametrize("name", ["high", "probe", "alerts", "labels"])
def test_a_variant_may_be_called_like_a_key(name: str) -> None:
    fleet = fleet_of(services={"billing": {"image": IMAGE}}, config={"billing": {name: {"concurrency": 1}}})
    assert [variant.name for variant in fleet.variants] == [name]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("celery_workers_config_90_host", "celery_workers_config__90_host"),
        ("celery_workers_config__5_x", "celery_workers_config__05_x"),
        ("celery_workers_config__high", "celery_workers_config__50_high"),
        ("celery_workers_config_50", "celery_workers_config__50_name"),
        ("celery_workers_config__50", "celery_workers_config__50_name"),
        ("celery_workers_queue_defaults_10_platform", "celery_workers_queue_defaults__10_platform"),
        ("celery_workers_broker90_host", "celery_workers_broker__90_host"),
    ],
)
def test_a_mistyped_layer_is_told_the_name_it_was_meant_to_have(name: str, meant: str) -> None:
    known = ("celery_workers_config", "celery_workers_queue_defaults", "celery_workers_broker")
    plain = inventory(**one_variant())
    with pytest.raises(InventoryError) as caught:
        parse_fleet(replace(plain, known_variables=known, variable_names=(name,)))
    (problem,) = caught.value.problems
    assert problem.path == name
    assert f"did you mean {meant}?" in problem.message


def test_a_key_of_a_dict_that_was_written_as_a_variable_is_told_so() -> None:
    plain = inventory(**one_variant())
    names = ("celery_workers_broker_url", "celery_workers_queue_defaults_max_replicas")
    with pytest.raises(InventoryError) as caught:
        parse_fleet(replace(plain, known_variables=("celery_workers_broker",), variable_names=names))
    assert [problem.message.partition("; ")[2] for problem in caught.value.problems] == [
        "write url as a key under celery_workers_broker.",
        "write max_replicas as a key under celery_workers_queue_defaults.",
    ]


@pytest.mark.parametrize(
    ("place", "written", "meant"),
    [
        *(
            ("broker", *row)
            for row in (
                ("db", "database"),
                ("vhost", "virtual_host"),
                ("ssl", "tls"),
                ("hostname", "host"),
                ("user", "username"),
                ("pass", "password"),
                ("pwd", "password"),
                ("db_number", "database"),
                ("sentinels", "hosts"),
                ("master", "master_name"),
                ("uri", "url"),
                ("broker_url", "url"),
                ("virtualHost", "virtual_host"),
                ("key-prefix", "global_keyprefix"),
            )
        ),
        *(
            ("variant", *row)
            for row in (
                ("replicas_min", "min_replicas"),
                ("maxReplicas", "max_replicas"),
                ("cpu", "resources"),
                ("memory", "resources"),
                ("queue", "queues"),
                ("environment", "env"),
                ("command", "command_prefix"),
                ("keda", "enable_keda"),
            )
        ),
    ],
)
def test_a_suggestion_knows_what_people_call_a_key_elsewhere(place: str, written: str, meant: str) -> None:
    value: Any = "hunter2"
    variables = one_variant({written: value}) if place == "variant" else one_variant(broker={**REDIS, written: value})
    layers = [{"name": f"celery_workers_{name}", "value": item} for name, item in variables.items()]
    seen = {item["name"].removeprefix("celery_workers_"): item["value"] for item in redacted_layers(layers)}
    (problem,) = problems_of(**seen)
    assert problem.endswith(f"did you mean {meant!r}?")
    assert "hunter2" not in problem
