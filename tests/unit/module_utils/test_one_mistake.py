# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One mistake is one problem, for every key of the model and wherever it is written.

The inventories use most keys, and their keys depend on each other: where one of them is refused or mistyped, nothing
may be said of what follows from it.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.service_keys import ServiceKeys
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import VARIANT_CLASSES
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.keys import key_names, keys_of
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX, nested
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problem, Problems
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.unit.inventories import IMAGE, inventory

Keys = dict[str, Any]

#: Everything that one variant can say of itself, so that each key has others that depend on it.
_RICH: Keys = {
    "queues": ["billing", "reports"],
    "exclude_queues": ["other"],
    "name": "billing-main",
    "concurrency": 4,
    "max_memory_per_child": 150000,
    "time_limit": 900,
    "soft_time_limit": 800,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "settings": {"task_track_started": True},
    "image": IMAGE,
    "env": {"SHOP": "a", "LOG": "$(SHOP)", "CARD": "$(PAY_TOKEN)"},
    "secret_env": {"PAY_TOKEN": "4711"},
    "volumes": [{"name": "data", "emptyDir": {}}],
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "init_containers": [{"name": "init", "image": IMAGE, "volumeMounts": [{"name": "data", "mountPath": "/d"}]}],
    "sidecars": [{"name": "side", "image": IMAGE, "resources": {"requests": {"cpu": "10m"}}}],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "termination_grace_period": 1200,
    "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
    "probe": {"type": "exec", "command": ["true"]},
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
    "scaler": "keda",
    "in_flight": True,
    "idempotent": True,
    "min_replicas": 1,
    "idle_replicas": 0,
    "max_replicas": 20,
    "fallback": {"replicas": 12},
    "extra_triggers": [
        {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}},
        {
            "type": "cron",
            "name": "night",
            "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *", "desiredReplicas": "15"},
        },
    ],
    "profile": "standard",
    "longest_task_seconds": 600,
    "task_seconds": 10,
    "cooldown_period": 700,
}
#: Work at risk, which only accept_risks lets through.
_RISKY: Keys = {
    "queues": ["billing", "reports"],
    "enable_keda": True,
    "min_replicas": 0,
    "longest_task_seconds": 3600,
    "termination_grace_period": 60,
    "env": {"DB_PASSWORD": "x"},
    "extra_params": ["--loglevel=$(PAY_TOKEN)"],
    "secret_env": {"PAY_TOKEN": "4711"},
    "accept_risks": ["invisible-work", "short-cooldown", "short-grace", "plain-secret", "secret-argument"],
}
_POD_AUTOSCALED: Keys = {
    "queues": ["billing", "reports"],
    "scaler": "hpa",
    "min_replicas": 2,
    "memory_utilization": 70,
    "resources": {"requests": {"memory": "1Gi"}},
}
_ADOPTED: Keys = {"queues": ["billing", "reports"], "adopt": True, "scaler": "keda", "min_replicas": 1}
_THREADS: Keys = {
    "queues": ["billing", "reports"],
    "pool": "threads",
    "probe": "heartbeat",
    "command_prefix": ["/venv/bin/python", "-m", "celery"],
    "enforce_settings": True,
}
_BASES = {"rich": _RICH, "risky": _RISKY, "hpa": _POD_AUTOSCALED, "adopted": _ADOPTED, "threads": _THREADS}
_OF_ONE_VARIANT = {"name", "queues", "adopt"}
_VARIANT_KEYS = sorted(key_names(*VARIANT_CLASSES))
_SHARED_KEYS = sorted(key_names(*VARIANT_CLASSES) - _OF_ONE_VARIANT)

#: What no key takes, or not every key.
_REFUSED: list[Any] = [["a b"], {"junk_key": {"a": 1}}, "no such-word,", [{"junk": 1}], -5, {"a b": "c"}, [None]]


def _variables(place: str, keys: Keys) -> Keys:
    """An inventory with the keys of a variant at a place that its service, or all services, share."""
    keys = copy.deepcopy(keys)
    own = {name: keys.pop(name) for name in tuple(keys) if place == "variant" or name in _OF_ONE_VARIANT}
    return {
        "services": {
            "billing": {
                "known_queues": ["billing", "reports"],
                "queue_name": "billing.{variant}",
                **({} if own.get("adopt") or "image" in {**own, **keys} else {"image": IMAGE}),
                **(keys if place == "service" else {}),
            }
        },
        "config": {"billing": {"default": own}},
        "queue_defaults": keys if place == "queue_defaults" else {},
        "broker": {"host": "redis"},
    }


def _keys_at(place: str, variables: Keys) -> tuple[Keys, str]:
    """The keys that stand at a place, and its path."""
    if place == "variant":
        return variables["config"]["billing"]["default"], "celery_workers_config.billing.default"
    if place == "service":
        return variables["services"]["billing"], "celery_workers_services.billing"
    return variables["queue_defaults"], "celery_workers_queue_defaults"


def _problems(variables: Keys) -> list[Problem]:
    layers = redacted_layers([{"name": PREFIX + name, "value": value} for name, value in variables.items()])
    try:
        parse_fleet(inventory(**{layer["name"].removeprefix(PREFIX): layer["value"] for layer in layers}))
    except InventoryError as error:
        return list(error.problems)
    return []


def _refused_value(key: str) -> Any:
    """A value that the key's own check refuses, with one problem."""
    check = next(item.check for cls in (*VARIANT_CLASSES, ServiceKeys) for name, item in keys_of(cls) if name == key)
    for value in _REFUSED:
        problems = Problems()
        check(nested(value, "place"), problems)
        if len(problems.found) == 1:
            return copy.deepcopy(value)
    raise AssertionError(f"every value is fine for {key}")


@pytest.mark.parametrize("place", ["variant", "service", "queue_defaults"])
@pytest.mark.parametrize("base", _BASES)
def test_the_inventories_have_no_mistake(base: str, place: str) -> None:
    assert _problems(_variables(place, _BASES[base])) == []


def _assert_one(variables: Keys, path: str) -> None:
    found = _problems(variables)
    assert len(found) == 1, "\n".join(map(str, found))
    assert found[0].path == path or found[0].path.startswith((f"{path}.", f"{path}[")), found[0]


@pytest.mark.parametrize("key", _VARIANT_KEYS)
@pytest.mark.parametrize("base", _BASES)
def test_a_refused_value_of_a_variant_is_one_problem(base: str, key: str) -> None:
    variables = _variables("variant", _BASES[base])
    keys, path = _keys_at("variant", variables)
    keys[key] = _refused_value(key)
    _assert_one(variables, f"{path}.{key}")


@pytest.mark.parametrize("key", [*_SHARED_KEYS, *sorted(key_names(ServiceKeys))])
def test_a_refused_value_of_a_service_is_one_problem(key: str) -> None:
    variables = _variables("service", _RICH)
    keys, path = _keys_at("service", variables)
    keys[key] = _refused_value(key)
    _assert_one(variables, f"{path}.{key}")


@pytest.mark.parametrize("key", _SHARED_KEYS)
def test_a_refused_default_of_all_queues_is_one_problem(key: str) -> None:
    variables = _variables("queue_defaults", _RICH)
    keys, path = _keys_at("queue_defaults", variables)
    keys[key] = _refused_value(key)
    _assert_one(variables, f"{path}.{key}")


@pytest.mark.parametrize("place", ["variant", "service", "queue_defaults"])
@pytest.mark.parametrize("key", sorted({*_RICH, *_RISKY}))
def test_a_mistyped_key_is_one_problem(key: str, place: str) -> None:
    base = _RICH if key in _RICH else _RISKY
    variables = _variables(place, base)
    keys, path = _keys_at(place, variables)
    if key not in keys:
        keys, path = _keys_at("variant", variables)
    typo = key[:-1] + "qq" + key[-1]
    keys[typo] = keys.pop(key)
    _assert_one(variables, f"{path}.{typo}")


@pytest.mark.parametrize("layer", ["config", "config__50_campus"])
@pytest.mark.parametrize("value", [["no dict"], "no dict"])
def test_a_variant_that_is_no_dict_is_one_problem(value: Any, layer: str) -> None:
    variables = _variables("service", {**_THREADS, "queues": ["billing"]})
    variables |= {layer: {"billing": {"default": {"queues": ["billing"]}, "reports": value}}}
    _assert_one(variables, f"celery_workers_{layer}.billing.reports")


@pytest.mark.parametrize("config", [{"biling": {"default": {}}}, {"billing": "default"}, {"billing": ["default"]}])
def test_variants_that_cannot_be_read_are_one_problem(config: Keys) -> None:
    variables = {**_variables("service", _THREADS), "config": config}
    found = _problems(variables)
    assert [item.path for item in found] == [f"celery_workers_config.{name}" for name in config]


@pytest.mark.parametrize("value", [["default"], "default", 5])
@pytest.mark.parametrize("below", ["billing", "billing.default"])
def test_what_is_no_dict_is_one_problem_although_a_layer_covers_it(below: str, value: Any) -> None:
    wrong: Keys = {"billing": value} if below == "billing" else {"billing": {"default": value}}
    layer = {"config__50_campus": {"billing": {"default": {"queues": ["billing", "reports"]}}}}
    _assert_one({**_variables("service", _THREADS), "config": wrong, **layer}, f"celery_workers_config.{below}")


@pytest.mark.parametrize(
    ("services", "path"),
    [
        ({"billing": "registry.example/billing:1"}, "celery_workers_services.billing"),
        ({"Billing": {"image": IMAGE}}, "celery_workers_services.Billing"),
        ({}, "celery_workers_services"),
    ],
)
def test_services_that_cannot_be_read_are_one_problem(services: Keys, path: str) -> None:
    _assert_one({**_variables("variant", _THREADS), "services": services}, path)


def test_variants_under_an_unknown_service_are_one_problem() -> None:
    variables = {**_variables("variant", _THREADS), "config": {"shop": {"default": {}}}}
    _assert_one(variables, "celery_workers_config.shop")


@pytest.mark.parametrize("value", [{"secret": "pay", "kei": "token"}, {"secret": "pay", "key": "a b"}])
def test_a_mistake_in_the_place_of_a_secret_value_is_one_problem(value: Keys) -> None:
    variables = _variables("variant", _THREADS)
    variables["config"]["billing"]["default"]["secret_env"] = {"PAY_TOKEN": value}
    _assert_one(variables, "celery_workers_config.billing.default.secret_env.PAY_TOKEN")


def test_a_trigger_without_its_fields_is_one_problem() -> None:
    variables = _variables("variant", {**_RICH, "extra_triggers": [{"name": "mine"}]})
    _assert_one(variables, "celery_workers_config.billing.default.extra_triggers[0]")


@pytest.mark.parametrize("secret", [{"name": "{{ name }}"}, {"password_key": "password"}])
def test_a_secret_of_the_broker_without_a_name_is_one_problem(secret: Keys) -> None:
    variables = {**_variables("variant", _RICH), "broker": {"host": "redis", "secret": secret}}
    variables["services"]["billing"] |= {"image": IMAGE, "beat": True}
    _assert_one(variables, "celery_workers_broker.secret.name")


@pytest.mark.parametrize("broker", ["redis://redis:6379/0", {"type": "redos", "host": "redis"}])
def test_a_broker_of_a_service_that_cannot_be_read_is_one_problem(broker: Any) -> None:
    variables = _variables("variant", _THREADS)
    variables["services"]["billing"] |= {"broker": broker, "beat": {"liveness": True}}
    _assert_one(variables, "celery_workers_services.billing.broker")


@pytest.mark.parametrize("broker", [{"typ": "rabbitmq", "host": "rabbit"}, {"type": "rabbit", "host": "rabbit"}])
def test_a_type_of_a_broker_that_cannot_be_read_is_one_problem(broker: Keys) -> None:
    variables = {**_variables("variant", _THREADS), "broker": broker, "versions": {"redis": "6.0", "kombu": "5.7"}}
    with pytest.raises(InventoryError) as caught:
        parse_fleet(inventory(**variables))
    assert [item.path for item in caught.value.problems] == [f"celery_workers_broker.{next(iter(broker))}"]


def test_a_risk_that_cannot_be_read_may_have_been_accepted_for_the_variants_beside_it() -> None:
    keys = {"visibility_timeout": 60, "queues": ["reports"]}
    variables = _variables("variant", {**_THREADS, "queues": ["billing"], "accept_risks": ["visibility-timeout", 5]})
    variables["config"]["billing"] |= {"short": keys, "other": {"queues": ["third"]}}
    _assert_one(variables, "celery_workers_config.billing.default.accept_risks")


def test_mistakes_that_have_nothing_to_do_with_each_other_come_together() -> None:
    variables = _variables("variant", {**_RICH, "concurrency": "four", "labels": "no dict", "env": {"API_TOKEN": "x"}})
    variables["config"]["billing"]["default"]["volume_mounts"] = [{"name": "lost", "mountPath": "/x"}]
    path = "celery_workers_config.billing.default"
    found = {item.path for item in _problems(variables)}
    assert {f"{path}.{key}" for key in ("concurrency", "labels", "env", "volume_mounts")} == found
