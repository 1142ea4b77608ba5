# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description of a broker: what kombu and KEDA get of it, what is refused, and which brokers are the same."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.brokers import place_of
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from celery.loaders.base import BaseLoader
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.utils.url import parse_url

from tests.support.thorough import examples
from tests.unit.inventories import (
    IMAGE,
    SCALED,
    TRACKED,
    container_with,
    deployment_with,
    fleet_of,
    manifests_with,
    of_kind,
    one_variant,
    problems_of,
    problems_with,
    scaled_object_with,
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


#: Keys that a kind of broker does not have.
FOREIGN = {
    "redis": ["virtual_host", "region", "master_name", "consumer_timeout"],
    "sentinel": ["virtual_host", "region", "consumer_timeout"],
    "rabbitmq": ["database", "region", "master_name"],
    "sqs": ["database", "virtual_host", "master_name"],
}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({**RABBITMQ, "database": 1}, "database", "database belongs to redis and redis-sentinel, and this broker is rabb"),
    ({**RABBITMQ, "global_keyprefix": "x"}, "global_keyprefix", "belongs to redis and redis-sentinel"),
    ({**SQS, "priority_steps": [0]}, "priority_steps", "belongs to redis and redis-sentinel"),
    ({"host": "redis", "virtual_host": "x"}, "virtual_host", "virtual_host belongs to rabbitmq, and this broker is re"),
    ({"host": "redis", "hosts": ["a"]}, "hosts", "hosts belongs to redis-sentinel, and this broker is redis"),
    ({"host": "redis", "sentinel_password": True}, "sentinel_password", "belongs to redis-sentinel"),
    ({"host": "redis", "region": "eu"}, "region", "region belongs to sqs, and this broker is redis"),
    ({**RABBITMQ, "access_key_id": True}, "access_key_id", "access_key_id belongs to sqs"),
    ({**SENTINEL, "consumer_timeout": 5}, "consumer_timeout", "consumer_timeout belongs to rabbitmq"),
    ({"type": "redis-sentinel", "master_name": "main"}, "hosts", "name the sentinels"),
    ({"type": "redis-sentinel", "hosts": ["a"]}, "master_name", "name the master as the sentinels know it"),
    ({**SENTINEL, "host": "redis"}, "host", "sentinels belong under hosts"),
    ({"type": "redis-sentinel", "master_name": "main", "host": "redis"}, "host", "write hosts: [redis] instead."),
    ({"type": "sqs"}, "region", "name the region of the queues"),
    ({**SQS, "host": "x"}, "host", "SQS is found by its region"),
    ({**SQS, "access_key_id": True}, "access_key_id", "belong together; write both"),
    ({**SQS, "secret_access_key": True}, "secret_access_key", "belong together; write both"),
    ({**SQS, "password": True}, "password", "SQS has no password"),
    (
        {**RABBITMQ, "management": {"host": "rabbit:15672"}},
        "management.host",
        "is not a host name; write the port under port.",
    ),
    ({"host": "redis", "scaler": {"password": True, "secret": {"name": "x"}}}, "scaler.secret", "write one of them"),
    ({"host": "redis", "scaler": {"secret": {}}}, "scaler.secret.name", "name the existing Secret."),
    ({"url": "sentinel://a:26379/0"}, "url", "write sentinels as parts: type: redis-sentinel"),
    ({"url": "sqs://"}, "url", "write SQS as parts: type: sqs with region"),
    (
        {"host": "redis", "sep": ":", "transport_options": {"sep": ";"}},
        "transport_options.sep",
        "is written here and as a key of the broker; write it once, as broker.sep.",
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
    (problem,) = problems_with(SCALED, broker=broker)
    assert problem.startswith(f"celery_workers_broker.{key}: ")
    assert message in problem


URLS: list[tuple[str, str]] = [
    ("redis://:a@b@redis/0", "percent-encode @ as %40"),
    ("redis://me:a/b@redis/0", "percent-encode @ as %40, / as %2F"),
    ("redis://redis/0#x", "percent-encode a # in user name and password as %23"),
    ("redis://redis/0\n", "it begins or ends with a line break or a space"),
    ("redis://re dis/0", "there is white space in it"),
    ("redis:///1", "it names no host"),
    ("redis://::1:6379/0", "an IPv6 address in brackets"),
    ("redis://redis:0/0", "the port is a number from 1 to 65535"),
    ("redis://a:1,b:2", "it does not work with Redis Cluster"),
    ("amqp://a@h1//;amqp://a@h2//", "';' separates several brokers"),
    ("sentinel://a:1;sentinel://b:2", "write sentinels as parts: type: redis-sentinel with hosts and master_name"),
    ("unix:///tmp/redis.sock", "the scaler reaches no socket"),
    ("redis+socket:///tmp/redis.sock", "the scaler reaches no socket"),
    ("valkey://h/0", "Valkey speaks the protocol of Redis, so write redis://"),
    ("confluentkafka://kafka:9092", "confluentkafka:// is not supported; known here: amqp, amqps"),
    ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs after '?' is not one of required, optional and none"),
    ("redis://h?ssl_cert_reqs=none", "needs an encrypted connection; write rediss:// or amqps://"),
    ("rediss://h?ssl_ca_certs=/etc/ca.crt", "ssl_ca_certs after '?' is not taken over; put the certificate into a Se"),
    ("rediss://h?ssl_certfile=/a", "name it with tls: {certificate_secret: …}"),
    ("redis://h?password=x", "password after '?' is not taken over; write username and password before"),
    ("redis://h?connection_timeout=5", "connection_timeout after '?' is not taken over; write socket_connect_timeout"),
    ("redis://h?heartbeat=30", "only RabbitMQ has heartbeats"),
    ("redis://h?socket_timeot=5", "did you mean 'socket_timeout'?"),
    ("redis://h?socket_timeout=soon", "socket_timeout after '?' is not a number of seconds."),
    ("redis://h?db=1&db=2", "db is written after '?' more than once"),
    ("redis://h/1?db=2", "its path and db after '?' are not the same"),
    ("redis://h?unacked_key=x", "every variant gets a key of its own"),
    ("redis://h?priority_steps=0,300", "300"),
    ("amqp://h?connection_timeout=5", "write connect_timeout, in seconds"),
    ("amqps://h?cacertfile=/ca.crt", "cacertfile after '?' is not taken over; put the certificate into a Secret"),
    ("amqp://h?heartbeat=x", "heartbeat after '?' is not a number of seconds."),
]


@pytest.mark.parametrize(("url", "message"), URLS)
def test_what_a_url_cannot_say_here_is_refused_once_and_with_what_to_write(url: str, message: str) -> None:
    (problem,) = problems_with(SCALED, broker={"url": url})
    assert problem.startswith("celery_workers_broker.url: ")
    assert message in problem


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "redis://h/1?socket_timeout=5&socket_connect_timeout=2.5&health_check_interval=25&socket_keepalive=true",
            {
                "socket_timeout": 5,
                "socket_connect_timeout": 2.5,
                "health_check_interval": 25,
                "socket_keepalive": True,
            },
        ),
        ("redis://h/1?visibility_timeout=7200", {"visibility_timeout": 7200}),
        (
            "redis://h/1?global_keyprefix=shop_&sep=%3A&priority_steps=0,5",
            {"global_keyprefix": "shop_", "sep": ":", "priority_steps": [0, 5]},
        ),
        ("amqp://h//?heartbeat=30&connect_timeout=7", {"heartbeat": 30, "connect_timeout": 7}),
    ],
)
def test_an_option_after_the_question_mark_reaches_the_worker_in_the_type_it_has(
    url: str, options: dict[str, Any]
) -> None:
    assert settings_with({"url": url})["broker_transport_options"] == options


def test_what_a_url_says_of_keys_that_the_scaler_knows_reaches_the_scaler() -> None:
    broker = {"url": "rediss://h/1?ssl_cert_reqs=none&global_keyprefix=shop_&priority_steps=0"}
    (trigger,) = of_kind(manifests_with(SCALED, broker=broker), "ScaledObject")[0]["spec"]["triggers"]
    metadata = trigger["metadata"]
    assert (metadata["listName"], metadata["databaseIndex"], metadata["unsafeSsl"]) == ("shop_default", "1", "true")
    assert settings_with(broker)["broker_use_ssl"]["ssl_cert_reqs"] == "none"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://h?db=3", {"host": "h", "database": 3}),
        ("redis://h/3?virtual_host=3", {"host": "h", "database": 3}),
        ("REDIS://H:6380", {"host": "h", "port": 6380}),
        ("redis://:@h/2", {"host": "h", "database": 2}),
        ("redis://[fd00::1]:6379/1", {"host": "fd00::1", "database": 1}),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", {"host": "h", "tls": {"insecure_skip_verify": True}}),
        ("rediss://h?ssl_cert_reqs=optional", {"host": "h", "tls": True}),
        ("pyamqp://h/shop", {**RABBITMQ, "host": "h", "virtual_host": "shop"}),
        ("amqp://h//", {**RABBITMQ, "host": "h"}),
        ("amqp://h/%2Fshop", {**RABBITMQ, "host": "h", "virtual_host": "/shop"}),
        ("amqp://h?vhost=shop", {**RABBITMQ, "host": "h", "virtual_host": "shop"}),
        ("amqps://h?ssl_cert_reqs=none", {**RABBITMQ, "host": "h", "tls": {"insecure_skip_verify": True}}),
    ],
)
def test_a_url_and_its_parts_are_the_same_broker(url: str, parts: dict[str, Any]) -> None:
    assert manifests_with(TRACKED, broker={"url": url}) == manifests_with(TRACKED, broker=parts)


#: One mistake in a broker that is whole otherwise, or that it would be whole without.
_WHOLE: dict[str, dict[str, Any]] = {
    "redis": {"host": "redis", "port": 6379, "database": 1, "username": "me", "password": True, "tls": True},
    "sentinel": {**SENTINEL, "database": 1, "sentinel_password": True},
    "rabbitmq": {**RABBITMQ, "virtual_host": "shop", "username": "me", "password": True, "management": {"port": 1}},
    "sqs": {**SQS, "pod_identity": True, "account": "123456789012"},
}
_WRONG: list[Any] = ["", [], {}, "x y", -1, "a:b", {"x": 1}, [1], 1.5, "REMOVED:SECRET"]


@settings(max_examples=examples(300))
@given(st.data())
def test_one_mistake_in_a_broker_is_one_problem(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(_WHOLE)))
    whole = _WHOLE[kind]
    needed = {
        "redis": ["host"],
        "rabbitmq": ["host", "type"],
        "sqs": ["region", "type"],
        "sentinel": ["hosts", "master_name", "type"],
    }[kind]
    mistake = data.draw(st.sampled_from(["unknown", "wrong", "missing", "foreign"]))
    name = data.draw(st.sampled_from(sorted(whole)))
    if mistake == "unknown":
        broker = {f"{key}_" if key == name else key: value for key, value in whole.items()}
    elif mistake == "missing":
        name = data.draw(st.sampled_from(needed))
        broker = {key: value for key, value in whole.items() if key != name}
    elif mistake == "wrong":
        broker = {**whole, name: data.draw(st.sampled_from(_WRONG))}
    else:
        broker = {**whole, data.draw(st.sampled_from([*FOREIGN[kind]])): 1}
    where = data.draw(st.sampled_from(["broker", "broker__50_campus"]))
    variants = {name: {"enable_keda": True, "min_replicas": 0, "idempotent": True} for name in ("a", "b")}
    try:
        fleet_of(services={"billing": {"image": IMAGE}}, config={"billing": variants}, **{where: broker})
    except InventoryError as error:
        (problem,) = error.problems
        assert problem.path.startswith(f"celery_workers_{where}")
    else:
        assert mistake in ("wrong", "unknown")


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
    *(
        ({"host": "redis"}, {"host": host})
        for host in (
            "REDIS",
            "redis.shop",
            "redis.shop.svc",
            "redis.shop.svc.cluster.local",
            "redis.shop.svc.",
            "Redis.",
        )
    ),
    ({"host": "redis"}, {"url": "redis://redis.shop.svc.cluster.local"}),
    ({"host": "redis.db"}, {"host": "redis.db.svc.example.org"}),
    ({"host": "redis-0.redis.db.svc"}, {"host": "redis-0.redis.db.svc.cluster.local"}),
    ({"host": "redis-0.redis"}, {"host": "redis-0.redis.shop.svc.cluster.local"}),
    ({"host": "fd00::1"}, {"host": "fd00:0:0::1"}),
    (SENTINEL, {**SENTINEL, "hosts": ["b.shop.svc:26380", "A.shop"]}),
    (RABBITMQ, {"url": "amqp://rabbit.shop:5672//"}),
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
    ({"host": "redis"}, {"host": "redis.db"}),
    ({"host": "redis.example.org"}, {"host": "redis.example"}),
    ({"host": "redis"}, {"host": "redis-0.redis"}),
    ({"host": "redis-0.redis"}, {"host": "redis-0.redis.redis.svc"}),
    ({"host": "redis-1.cache"}, {"host": "redis-1.cache.shop.svc"}),
    ({**SQS, "pod_identity": True}, {**SQS, "pod_identity": True, "endpoint": "http://localstack:4566"}),
]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(*row, True) for row in SAME] + [(*r, False) for r in DIFFERENT]
)
def test_brokers_are_the_same_by_address_database_and_prefix_whoever_logs_in(
    one: dict[str, Any], other: dict[str, Any], expected: bool
) -> None:
    assert (place_of(broker_of(one)) == place_of(broker_of(other))) is expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("redis-0.redis", "redis-0.redis.shop.svc"),
        ("redis-node-1.redis-headless", "redis-node-1.redis-headless.shop.svc"),
        ("redis-1.cache", "redis-1.cache"),
        ("redis.db", "redis.db"),
        ("redis-0.shop", "redis-0.shop"),
    ],
)
def test_a_pod_of_a_stateful_set_has_an_address_that_another_namespace_resolves(host: str, address: str) -> None:
    scaled = scaled_object_with(broker={"host": host})
    assert {trigger["metadata"]["address"] for trigger in scaled["spec"]["triggers"]} == {f"{address}:6379"}


@pytest.mark.parametrize(
    "broker",
    [
        {"host": "redis", "password": "$(REDIS_PASSWORD)"},
        {"host": "redis", "username": "$(REDIS_USER)", "password": "x"},
        {"url": "redis://:$(REDIS_PASSWORD)@redis/0"},
        {"url": "redis://$(REDIS_USER):x@redis/0"},
        {"url": "amqp://shop:x@rabbit/$(VHOST)"},
        {**RABBITMQ, "virtual_host": "$(VHOST)"},
    ],
    ids=str,
)
def test_a_reference_that_nothing_expands_is_refused(broker: dict[str, Any]) -> None:
    layers = redacted_layers([{"name": "celery_workers_broker", "value": broker}])
    (problem,) = problems_with(SCALED, broker=layers[0]["value"])
    assert problem.startswith("celery_workers_broker.")
    assert "$(NAME)" in problem


@pytest.mark.parametrize("password", ["a$(b", "pa$(X)b", "$()", "$$(x)"])
def test_a_password_may_hold_what_is_no_reference(password: str) -> None:
    layers = redacted_layers([{"name": "celery_workers_broker", "value": {"host": "redis", "password": password}}])
    assert broker_of(layers[0]["value"]).password


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def test_an_endpoint_in_env_that_only_workers_would_take_is_refused(name: str) -> None:
    keys = {**SCALED, "env": {name: "http://localstack:4566"}}
    broker = {**SQS, "pod_identity": True}
    (problem,) = problems_with(keys, broker=broker)
    assert f"{name} would send variant default of service billing" in problem
    assert "write it as celery_workers_broker.endpoint" in problem
    # boto3 goes by an address that it is given before it looks into the environment.
    assert variant_of(keys, broker={**broker, "endpoint": "http://localstack:4566"})


@pytest.mark.parametrize("region", ["ap-south-1", SQS["region"]])
@pytest.mark.parametrize("broker", [{"host": "redis"}, {**SQS, "pod_identity": True}])
def test_a_region_that_celery_does_not_read_may_be_in_env(broker: Any, region: str) -> None:
    assert variant_of({**SCALED, "env": {"AWS_REGION": region}}, broker=broker)


@pytest.mark.parametrize("place", ["env", "secret_env", "pod_overrides"])
def test_a_region_in_env_that_only_workers_would_take_is_refused(place: str) -> None:
    broker, name = {**SQS, "pod_identity": True}, "AWS_DEFAULT_REGION"

    def keys(region: str) -> Any:
        entry = {"name": name, "value": region}
        return {
            "env": {"env": {name: region}},
            "secret_env": {"secret_env": {name: True}},
            "pod_overrides": {"pod_overrides": {"containers": [{"name": "worker", "env": [entry]}]}},
        }[place]

    (problem,) = problems_with({**SCALED, **keys("ap-south-1")}, broker=broker)
    assert problem.startswith(f"celery_workers_config.billing.default.{place}: {name} would send variant default of")
    assert f"SQS is in {SQS['region']} (celery_workers_broker.region)" in problem
    if place != "secret_env":
        assert variant_of({**SCALED, **keys(SQS["region"])}, broker=broker)
    assert variant_of(keys("ap-south-1"), broker={"host": "redis"})


@pytest.mark.parametrize("host", ["redis.shop", "redis.shop.svc.cluster.local", "Redis."])
def test_two_services_that_share_a_queue_under_two_names_of_one_broker_are_refused(host: str) -> None:
    services = {name: {"image": IMAGE, "broker": {"host": at}} for name, at in (("a", "redis"), ("b", host))}
    (problem,) = problems_of(services=services, config={"a": {"default": {}}, "b": {"default": {}}})
    assert "consume the queue 'default' of one broker" in problem
    assert "accept_risks: [shared-queue]" in problem


def test_two_names_of_one_broker_get_one_flower() -> None:
    services = {
        name: {"image": IMAGE, "broker": {"host": at}} for name, at in (("a", "redis"), ("b", "redis.shop.svc"))
    }
    config = {"a": {"default": {"queues": ["a"]}}, "b": {"default": {"queues": ["b"]}}}
    flowers = fleet_of(services=services, config=config, enabled=("flower",)).monitoring.flowers
    assert [(server.name, server.services) for server in flowers] == [("flower", ("a", "b"))]


@pytest.mark.parametrize(
    ("region", "server"),
    [
        ("eu-central-1", "sqs.eu-central-1.amazonaws.com"),
        ("cn-north-1", "sqs.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "sqs.us-gov-west-1.amazonaws.com"),
    ],
)
def test_a_queue_is_found_in_the_partition_of_its_region(region: str, server: str) -> None:
    broker = {"type": "sqs", "region": region, "account": "123456789012", "pod_identity": True}
    (trigger,) = of_kind(manifests_with(SCALED, broker=broker), "ScaledObject")[0]["spec"]["triggers"]
    assert trigger["metadata"]["queueURL"] == f"https://{server}/123456789012/default"
    assert "awsEndpoint" not in trigger["metadata"]


@pytest.mark.parametrize(
    ("endpoint", "worker", "secure", "scaler"),
    [
        ("https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com/", "vpce-1.sqs.eu-central-1.vpce.amazonaws.com", True, ""),
        ("http://localstack:4566", "localstack:4566", False, "http://localstack.shop.svc:4566"),
    ],
)
def test_workers_and_scaler_take_the_same_way_to_sqs(endpoint: str, worker: str, secure: bool, scaler: str) -> None:
    broker = {**SQS, "account": "123456789012", "pod_identity": True, "endpoint": endpoint}
    assert url_with(broker) == f"sqs://{worker}"
    assert settings_with(broker)["broker_transport_options"] == {"region": "eu-central-1", "is_secure": secure}
    (trigger,) = of_kind(manifests_with(SCALED, broker=broker), "ScaledObject")[0]["spec"]["triggers"]
    expected = scaler or endpoint.rstrip("/")
    assert trigger["metadata"]["awsEndpoint"] == expected
    assert trigger["metadata"]["queueURL"] == f"{expected}/123456789012/default"


@pytest.mark.parametrize(
    "endpoint", ["localstack:4566", "https://sqs.example.org/path", "sqs://localstack", "https://me:x@localstack"]
)
def test_an_endpoint_that_one_of_both_would_not_take_is_refused(endpoint: str) -> None:
    (problem,) = problems_with(SCALED, broker={**SQS, "pod_identity": True, "endpoint": endpoint})
    assert problem.startswith("celery_workers_broker.endpoint: ")


@pytest.mark.parametrize(
    ("broker", "probe", "message"),
    [
        (
            SENTINEL,
            "ping",
            "the name of the sentinels' master cannot be part of it. Write probe: heartbeat, exec or none.",
        ),
        ({**SQS, "pod_identity": True}, "ping", "SQS has no remote control. Write probe: exec with a command"),
        (
            {**RABBITMQ, "tls": True},
            "ping",
            "no certificates for RabbitMQ over TLS. Write probe: heartbeat, exec or no",
        ),
        (
            {"host": "redis", "global_keyprefix": "x"},
            "ping",
            "global_keyprefix cannot be part of it. Write probe: heart",
        ),
        ({**SQS, "pod_identity": True}, "heartbeat", "SQS has no events. Write probe: exec with a command"),
    ],
)
@pytest.mark.parametrize("where", ["variant", "service", "queue_defaults"])
def test_a_probe_that_no_worker_could_pass_is_refused_with_those_that_it_could(
    broker: dict[str, Any], probe: str, message: str, where: str
) -> None:
    places: dict[str, dict[str, Any]] = {
        "variant": {"config": {"billing": {"default": {"probe": probe}}}},
        "service": {"services": {"billing": {"image": IMAGE, "probe": probe}}},
        "queue_defaults": {"queue_defaults": {"probe": probe}},
    }
    paths = {
        "variant": "celery_workers_config.billing.default.probe",
        "service": "celery_workers_services.billing.probe",
        "queue_defaults": "celery_workers_queue_defaults.probe",
    }
    variables = {**one_variant(broker=broker), "config": {"billing": {"default": {}, "high": {}}}, **places[where]}
    (problem,) = problems_of(**variables)
    assert problem.startswith(f"{paths[where]}: ")
    assert message in problem
