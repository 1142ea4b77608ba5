# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description of a broker: what kombu and KEDA get of it, what is refused, and which brokers are the same."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._brokers import place_of
from ansible_collections.queueops.celery.plugins.module_utils._model import Broker
from celery.loaders.base import BaseLoader
from kombu.utils.url import parse_url

from tests.unit.inventories import (
    SCALED,
    TRACKED,
    container_with,
    deployment_with,
    fleet_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_with,
    variant_of,
)

RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}
SQS = {"type": "sqs", "region": "eu-central-1"}
SENTINEL = {"type": "redis-sentinel", "hosts": ["a", "b:26380"], "master_name": "main"}
CERTIFICATES = {"ca_secret": "ca", "certificate_secret": "client", "private_key_key": "key.pem"}


def broker_of(broker: dict[str, Any]) -> Broker:
    found = fleet_of(**one_variant(broker=broker)).services[0].broker
    assert found is not None
    return found


def settings_with(broker: dict[str, Any], keys: Any = None) -> dict[str, Any]:
    args = variant_of(keys, broker=broker).args
    return dict(BaseLoader(None).cmdline_config_parser(list(args[args.index("--") + 1 :]) if "--" in args else []))


def url_with(broker: dict[str, Any]) -> str:
    env = {entry["name"]: entry.get("value", "") for entry in container_with(broker=broker)["env"]}
    return str(env["CELERY_BROKER_URL"])


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({**RABBITMQ, "database": 1}, "database", "database belongs to redis and redis-sentinel, and this broker is rabb"),
    ({**RABBITMQ, "global_keyprefix": "x"}, "global_keyprefix", "belongs to redis and redis-sentinel"),
    ({**SQS, "priority_steps": [0]}, "priority_steps", "belongs to redis and redis-sentinel"),
    ({"host": "redis", "virtual_host": "x"}, "virtual_host", "virtual_host belongs to rabbitmq, and this broker is re"),
    ({"host": "redis", "hosts": ["a"]}, "hosts", "hosts belongs to redis-sentinel, and this broker is redis"),
    ({"host": "redis", "sentinel_password": True}, "sentinel_password", "belongs to redis-sentinel"),
    ({"host": "redis", "region": "eu"}, "region", "region belongs to sqs, and this broker is redis"),
    ({**RABBITMQ, "access_key_id": True, "secret_access_key": True}, "access_key_id", "access_key_id belongs to sqs"),
    ({**SENTINEL, "consumer_timeout": 5}, "consumer_timeout", "consumer_timeout belongs to rabbitmq"),
    ({"type": "redis-sentinel", "master_name": "main"}, "hosts", "name the sentinels"),
    ({"type": "redis-sentinel", "hosts": ["a"]}, "master_name", "name the master as the sentinels know it"),
    ({**SENTINEL, "host": "redis"}, "host", "the sentinels stand under hosts"),
    ({"type": "sqs"}, "region", "name the region of the queues"),
    ({**SQS, "host": "x"}, "host", "SQS is found by its region"),
    ({**SQS, "access_key_id": True}, "access_key_id", "belong together; write both"),
    ({**SQS, "secret_access_key": True}, "access_key_id", "belong together; write both"),
    ({**SQS, "password": True}, "password", "SQS has no password"),
    ({**RABBITMQ, "management": {"host": "rabbit:15672"}}, "host", "is not a host name; write the port under port."),
    ({"host": "redis", "scaler": {"password": True, "secret": {"name": "x"}}}, "scaler.secret", "write one of them"),
    ({"host": "redis", "scaler": {"secret": {}}}, "scaler.secret.name", "name the existing Secret."),
    ({"url": "sentinel://a:26379/0"}, "url", "write sentinels as parts: type: redis-sentinel"),
    ({"url": "sqs://"}, "url", "write SQS as parts: type: sqs with region."),
    (
        {"host": "redis", "sep": ":", "transport_options": {"sep": ";"}},
        "transport_options.sep",
        "stands here and as a key of the broker; write it once, as broker.sep.",
    ),
    ({"host": "redis", "transport_options": {"priority_steps": [0, 0]}}, "transport_options.priority_steps", "0"),
    (
        {"host": "redis", "transport_options": {"unacked_key": "x"}},
        "transport_options.unacked_key",
        "every variant gets a key of its own",
    ),
    (
        {"host": "redis", "transport_options": {"visibility_timeout": "1h"}},
        "transport_options.visibility_timeout",
        "write a whole number of seconds, 1 or more.",
    ),
    (
        {"host": "redis", "transport_options": {"visibility_timeout": True}},
        "transport_options.visibility_timeout",
        "write a whole number of seconds, 1 or more.",
    ),
]


@pytest.mark.parametrize(("broker", "key", "message"), REFUSED, ids=[f"{row[1]}-{n}" for n, row in enumerate(REFUSED)])
def test_what_a_broker_of_its_kind_does_not_have_is_refused(broker: dict[str, Any], key: str, message: str) -> None:
    problem = problems_with(broker=broker)[0]
    assert problem.startswith(f"celery_workers_broker.{key}: ")
    assert message in problem


@pytest.mark.parametrize(
    ("broker", "port"),
    [
        ({"host": "redis"}, 6379),
        (SENTINEL, 26379),
        (RABBITMQ, 5672),
        ({**RABBITMQ, "tls": True}, 5671),
        ({"host": "redis", "port": 7000}, 7000),
    ],
)
def test_the_port_follows_the_kind_unless_it_is_given(broker: dict[str, Any], port: int) -> None:
    assert broker_of(broker).port == port


@pytest.mark.parametrize("name", ["sep", "priority_steps", "global_keyprefix"])
def test_an_option_means_the_same_as_a_key_and_among_the_transport_options(name: str) -> None:
    value = {"sep": ":", "priority_steps": [0, 5], "global_keyprefix": "shop_"}[name]
    as_key = manifests_with(TRACKED, broker={"host": "redis", name: value})
    as_option = manifests_with(TRACKED, broker={"host": "redis", "transport_options": {name: value}})
    assert as_key == as_option
    assert settings_with({"host": "redis", name: value})["broker_transport_options"] == {name: value}


def test_sentinels_are_told_to_kombu_one_by_one() -> None:
    urls = url_with({**SENTINEL, "database": 2}).split(";")
    assert [(found["hostname"], found["port"], found["virtual_host"]) for found in map(parse_url, urls)] == [
        ("a", 26379, "2"),
        ("b", 26380, "2"),
    ]
    assert settings_with(SENTINEL)["broker_transport_options"] == {"master_name": "main"}


def test_the_password_of_sentinels_stands_on_no_command_line() -> None:
    broker = {**SENTINEL, "sentinel_username": "me", "sentinel_password": True}
    container = container_with(TRACKED, broker=broker)
    env = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
    assert env["CELERY_SENTINEL_PASSWORD"] == {
        "secretKeyRef": {"name": "shop-celery-broker", "key": "sentinel_password"}
    }
    assert env["CELERY_SENTINEL_USERNAME"] == "me"
    assert container["command"][-1].endswith("/start.py")
    assert "sentinel_kwargs" not in str(container["args"])


@pytest.mark.parametrize("where", ["url", "settings"])
@pytest.mark.parametrize(
    ("tls", "mode"), [(True, ssl.CERT_REQUIRED), ({"insecure_skip_verify": True}, ssl.CERT_NONE)], ids=["safe", "not"]
)
def test_kombu_checks_the_certificate_of_an_encrypted_redis_unless_told_otherwise(
    tls: Any, mode: ssl.VerifyMode, where: str
) -> None:
    """Where nobody asks for a check kombu takes any certificate."""
    broker = {"host": "redis", "tls": tls}
    url = url_with(broker)
    if where == "settings":
        url = f"rediss://redis?ssl_cert_reqs={settings_with(broker)['broker_use_ssl']['ssl_cert_reqs']}"
    assert parse_url(url)["ssl"]["ssl_cert_reqs"] == mode


@pytest.mark.parametrize(("tls", "mode"), [(True, ssl.CERT_REQUIRED), ({"insecure_skip_verify": True}, ssl.CERT_NONE)])
def test_an_encrypted_rabbitmq_is_checked_with_the_number_that_its_client_takes(tls: Any, mode: ssl.VerifyMode) -> None:
    assert settings_with({**RABBITMQ, "tls": tls})["broker_use_ssl"] == {"cert_reqs": mode.value}


def test_every_certificate_that_the_worker_is_told_of_is_mounted_where_it_is_told() -> None:
    broker = {"host": "redis", "tls": CERTIFICATES}
    told = {name: path for name, path in settings_with(broker)["broker_use_ssl"].items() if name != "ssl_cert_reqs"}
    assert set(told) == {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
    spec = deployment_with(broker=broker)["spec"]["template"]["spec"]
    (volume,) = (item["projected"]["sources"] for item in spec["volumes"] if item["name"] == "celery-broker-tls")
    (mount,) = (item for item in spec["containers"][0]["volumeMounts"] if item["name"] == "celery-broker-tls")
    found = {
        f"{mount['mountPath']}/{item['path']}": (source["secret"]["name"], item["key"])
        for source in volume
        for item in source["secret"]["items"]
    }
    assert found == {
        told["ssl_ca_certs"]: ("ca", "ca.crt"),
        told["ssl_certfile"]: ("client", "tls.crt"),
        told["ssl_keyfile"]: ("client", "key.pem"),
    }


REFERENCES: list[tuple[dict[str, Any], dict[str, tuple[str, str]]]] = [
    (
        {**SENTINEL, "password": True, "sentinel_password": True},
        {
            "password": ("shop-celery-broker", "password"),
            "sentinelPassword": ("shop-celery-broker", "sentinel_password"),
        },
    ),
    (
        {**SENTINEL, "secret": {"name": "x", "password_key": "p", "sentinel_password_key": "s"}},
        {"password": ("x", "p"), "sentinelPassword": ("x", "s")},
    ),
    (
        {"host": "redis", "password": True, "scaler": {"username": "ro", "password": True}},
        {
            "username": ("shop-celery-broker", "scaler_username"),
            "password": ("shop-celery-broker", "scaler_password"),
        },
    ),
    (
        {"host": "redis", "password": True, "scaler": {"secret": {"name": "ro", "password_key": "p"}}},
        {"password": ("ro", "p")},
    ),
    (
        {**RABBITMQ, "username": "me", "password": True, "tls": {"ca_secret": "ca"}},
        {
            "username": ("shop-celery-broker", "username"),
            "password": ("shop-celery-broker", "password"),
            "ca": ("ca", "ca.crt"),
            "tls": ("shop-celery-broker", "scaler_tls"),
        },
    ),
    (
        {**SQS, "access_key_id": True, "secret_access_key": True},
        {
            "awsAccessKeyID": ("shop-celery-broker", "access_key_id"),
            "awsSecretAccessKey": ("shop-celery-broker", "secret_access_key"),
        },
    ),
    (
        {**SQS, "secret": {"name": "aws", "access_key_id_key": "id", "secret_access_key_key": "key"}},
        {"awsAccessKeyID": ("aws", "id"), "awsSecretAccessKey": ("aws", "key")},
    ),
]


@pytest.mark.parametrize(("broker", "expected"), REFERENCES)
def test_keda_gets_every_credential_by_reference_under_its_own_name(
    broker: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    (found,) = of_kind(manifests_with(SCALED, broker=broker), "TriggerAuthentication")
    entries = found["spec"]["secretTargetRef"]
    assert {item["parameter"]: (item["name"], item["key"]) for item in entries} == expected


def test_with_the_identity_of_its_pod_keda_needs_no_keys() -> None:
    (found,) = of_kind(manifests_with(SCALED, broker={**SQS, "pod_identity": True}), "TriggerAuthentication")
    assert found["spec"] == {"podIdentity": {"provider": "aws"}}


def test_workers_of_sqs_get_their_keys_from_the_secret() -> None:
    env = container_with(broker={**SQS, "access_key_id": True, "secret_access_key": True})["env"]
    found = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in env if "valueFrom" in entry}
    assert found == {
        "AWS_ACCESS_KEY_ID": {"name": "shop-celery-broker", "key": "access_key_id"},
        "AWS_SECRET_ACCESS_KEY": {"name": "shop-celery-broker", "key": "secret_access_key"},
    }
    assert {"name": "CELERY_BROKER_URL", "value": "sqs://"} in env


@pytest.mark.parametrize(
    ("broker", "pings"),
    [
        ({"host": "redis"}, True),
        ({"host": "redis", "tls": True}, True),
        ({"host": "redis", "global_keyprefix": "x"}, False),
        (SENTINEL, False),
        (RABBITMQ, True),
        ({**RABBITMQ, "tls": True}, False),
        ({**SQS, "pod_identity": True}, False),
    ],
)
def test_a_worker_is_pinged_only_where_the_url_alone_reaches_it(broker: dict[str, Any], pings: bool) -> None:
    assert ("startupProbe" in container_with(broker=broker)) is pings


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"host": "redis"}, {"url": "redis://redis:6379/0"}),
    ({"host": "redis"}, {"host": "redis", "password": True, "username": "me"}),
    ({"host": "redis"}, {"host": "redis", "priority_steps": [0], "max_connections": 900}),
    ({"host": "redis", "global_keyprefix": "a"}, {"host": "redis", "transport_options": {"global_keyprefix": "a"}}),
    (SENTINEL, {**SENTINEL, "hosts": ["b:26380", "a:26379"]}),
    (RABBITMQ, {"url": "amqp://rabbit"}),
]
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"host": "redis"}, {"host": "redis", "database": 1}),
    ({"host": "redis"}, {"host": "redis", "port": 6380}),
    ({"host": "redis"}, {"host": "redis", "global_keyprefix": "a"}),
    ({"host": "redis", "global_keyprefix": "a"}, {"host": "redis", "global_keyprefix": "a "}),
    (SENTINEL, {**SENTINEL, "master_name": "other"}),
    (SENTINEL, {**SENTINEL, "database": 1}),
    (RABBITMQ, {**RABBITMQ, "virtual_host": "shop"}),
    ({**SQS, "pod_identity": True}, {"type": "sqs", "region": "us-east-1", "pod_identity": True}),
    ({"secret": {"name": "one"}}, {"secret": {"name": "two"}}),
]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(*row, True) for row in SAME] + [(*r, False) for r in DIFFERENT]
)
def test_brokers_are_the_same_by_address_database_and_prefix_whoever_logs_in(
    one: dict[str, Any], other: dict[str, Any], expected: bool
) -> None:
    assert (place_of(broker_of(one)) == place_of(broker_of(other))) is expected
