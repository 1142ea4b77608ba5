# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret values: in Secrets, and in nothing else, whatever they look like."""

from __future__ import annotations

import base64
import json
import re
import ssl
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import (
    generated,
    redact,
    secret_names,
    without_stale_keys,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.broker_urls import split_url
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import (
    flower_without_secrets,
    redacted_layers,
    without_secrets,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from kombu.utils.url import parse_url

from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import IMAGE, fleet_of, one_variant, problems_of
from tests.unit.watching import OAUTH

PASSWORDS = ["redis", "lms", "a", "p@:/#%", "äß €", "with space", "true", "123"]


class Vaulted:
    """A value as ansible-core before 2.19 hands it over: text that is decrypted when asked for."""

    def __init__(self, text: str) -> None:
        self._ciphertext = b"3132"
        self.text = text

    def __str__(self) -> str:
        return self.text


def layers(broker: Any = None, service: Any = None, keys: Any = None, name: str = "broker") -> list[dict[str, Any]]:
    return [
        {"name": f"celery_workers_{name}", "value": broker or {"host": "redis"}},
        {"name": "celery_workers_services", "value": {"billing": {"image": IMAGE, **(service or {})}}},
        {"name": "celery_workers_config", "value": {"billing": {"default": keys}}},
    ]


def values_of(found: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    return {
        item["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
        for item in found
    }


@pytest.mark.parametrize("wrap", [str, Vaulted])
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_is_in_the_secret_and_nowhere_in_what_modules_see(password: str, wrap: type) -> None:
    broker = {"host": "example.org", "username": "shop", "password": wrap(password)}
    written = layers(broker, keys={"secret_env": {"PAY_KEY": wrap(password)}})
    seen = redacted_layers(written)
    assert seen[0]["value"] == {"host": "example.org", "username": "shop", "password": True}
    assert seen[2]["value"] == {"billing": {"default": {"secret_env": {"PAY_KEY": True}}}}
    found = values_of(secret_manifests(written, "shop"))
    assert found["shop-celery-broker"]["password"] == password
    assert found["billing-worker-env"] == {"PAY_KEY": password}


@pytest.mark.parametrize("password", PASSWORDS)
def test_kombu_reads_the_url_of_the_secret_as_it_was_meant(password: str) -> None:
    broker = {"host": "redis", "port": 6380, "database": 3, "username": "me@shop", "password": password}
    url = values_of(secret_manifests(layers(broker), "shop"))["shop-celery-broker"]["url"]
    parts = parse_url(url)
    assert (parts["hostname"], parts["port"], parts["virtual_host"]) == ("redis", 6380, "3")
    assert (parts["userid"], parts["password"]) == ("me@shop", password)


@pytest.mark.parametrize("virtual_host", ["/", "shop", "/shop", "a b"])
def test_kombu_reads_the_virtual_host_as_it_was_meant(virtual_host: str) -> None:
    broker = {"type": "rabbitmq", "host": "rabbit", "virtual_host": virtual_host, "username": "me", "password": "x"}
    url = values_of(secret_manifests(layers(broker), "shop"))["shop-celery-broker"]["url"]
    assert parse_url(url)["virtual_host"] == virtual_host


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0", None),
        ("redis://:pw@redis/0", "redis://redis/0", "pw"),
        ("redis://me:pw@redis/0", "redis://me@redis/0", "pw"),
        ("redis://me:p%40%3A%2F%23%25@redis/0", "redis://me@redis/0", "p@:/#%"),
        ("redis://me:p:w@redis/0", "redis://me@redis/0", "p:w"),
        ("redis://:@redis/0", "redis://redis/0", None),
        ("REDIS://:pw@Redis/0", "redis://Redis/0", "pw"),
        ("rediss://:pw@[fd00::1]:6380/1?ssl_cert_reqs=none", "rediss://[fd00::1]:6380/1?ssl_cert_reqs=none", "pw"),
        ("redis://h/0?token=pw&db=0", "redis://h/0?token=REMOVED:SECRET&db=0", None),
        ("redis://me@redis/0", "redis://me@redis/0", None),
    ],
)
def test_a_url_is_split_into_what_may_be_seen_and_the_password(url: Any, shown: Any, password: str | None) -> None:
    assert split_url(url) == (shown, password)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@x@redis/0",
        "redis://me:hunter2/x@redis/0",
        "redis://me:123/hunter2@redis/0",
        "redis://me:hunter2#x@redis/0",
        "redis://me:hunter2?x@redis/0",
        "redis://:hunter2;x@redis/0",
        "redis://:hunter2,x/0",
        "redis://:hunter2",
        "redis://me:hunter2@redis:x/0",
        "redis://me:hunter2@",
        "redis://me:hunter2 x@redis/0",
        "redis://me:hunter2@redis/0\n",
        "redis://me:hunter2%ff@redis/0",
        "redis://redis/0?password=hunter2",
        "amqp://a:hunter2@h1//;amqp://a:hunter2@h2//",
        "sentinel://:hunter2@a:1/0;sentinel://:hunter2@b:2/0",
        "redis+socket://:hunter2@/tmp/x.sock",
        "confluentkafka://me:hunter2@kafka:9092",
        "me:hunter2@redis:6379",
        "hunter2",
    ],
)
def test_a_url_that_is_not_understood_shows_no_password_and_gives_none(url: str) -> None:
    shown, password = split_url(url)
    assert "hunter2" not in shown
    assert password is None
    broker = redacted_layers(layers({"url": url}))[0]["value"]
    (problem,) = problems_of(**one_variant({"enable_keda": True, "min_replicas": 1}, broker=broker))
    assert problem.startswith("celery_workers_broker.url: ")
    assert "hunter2" not in problem
    assert "a password does not belong here" not in problem


@pytest.mark.parametrize("place", ["services", "config"])
def test_a_broker_with_a_password_in_env_is_told_of_once_and_not_to_move_to_secret_env(place: str) -> None:
    keys = {"env": {"CELERY_BROKER_URL": "redis://:hunter2@other/0"}}
    written = layers(service=keys if place == "services" else None, keys=keys if place == "config" else {})
    seen = {layer["name"].removeprefix("celery_workers_"): layer["value"] for layer in redacted_layers(written)}
    (problem,) = problems_of(**seen)
    assert "CELERY_BROKER_URL would send variant default of service billing to a broker of their own" in problem
    assert "hunter2" not in problem


def test_two_passwords_for_one_broker_are_one_too_many() -> None:
    broker = redacted_layers(layers({"url": "redis://:one@redis/0", "password": "two"}))[0]["value"]
    (problem,) = problems_of(**one_variant(broker=broker))
    assert problem == "celery_workers_broker.url: there is a password in it and one under password; write it once."


def test_a_broken_url_below_one_that_counts_is_no_problem() -> None:
    variables = one_variant(broker={"url": "redis://a;b/0"})
    written = [
        *layers({"url": "redis://:hunter2@a;b/0"}),
        {"name": "celery_workers_broker__50_campus", "value": {"url": "redis://:pw@redis/0"}},
    ]
    seen = {layer["name"].removeprefix("celery_workers_"): layer["value"] for layer in redacted_layers(written)}
    broker = fleet_of(**{**variables, **seen}).services[0].broker
    assert broker is not None
    assert broker.host == "redis"


def test_a_password_in_a_url_reaches_the_secret() -> None:
    found = values_of(secret_manifests(layers({"url": Vaulted("redis://me:p%40ss@redis:6379/1")}), "shop"))
    assert found == {
        "shop-celery-broker": {"url": "redis://me:p%40ss@redis:6379/1", "username": "me", "password": "p@ss"}
    }


@pytest.mark.parametrize(
    ("url", "checks"), [("rediss://:pw@h/1?ssl_cert_reqs=none", ssl.CERT_NONE), ("rediss://:pw@h/1", ssl.CERT_REQUIRED)]
)
def test_how_a_url_checks_certificates_reaches_the_secret(url: str, checks: ssl.VerifyMode) -> None:
    written = values_of(secret_manifests(layers({"url": url}), "shop"))["shop-celery-broker"]["url"]
    assert parse_url(written)["ssl"] == {"ssl_cert_reqs": checks}
    assert parse_url(written)["password"] == "pw"


@pytest.mark.parametrize("value", ["redis://:hunter2@redis:6379/0", ["redis"], 5])
def test_a_broker_that_is_no_dict_is_one_problem(value: Any) -> None:
    seen = redacted_layers([{"name": "celery_workers_broker", "value": value}])[0]["value"]
    variants = {name: {"enable_keda": True, "min_replicas": 0, "idempotent": True} for name in ("a", "b")}
    (problem,) = problems_of(services={"billing": {"image": IMAGE}}, config={"billing": variants}, broker=seen)
    assert problem == (
        "celery_workers_broker: this is not a dict; write keys and values under it, for example url: "
        "redis://redis:6379/0."
    )


@pytest.mark.parametrize(
    "broker",
    [
        {"url": "redis:/:hunter2@redis"},
        {"url": "me:hunter2@redis:6379"},
        {"ulr": "redis://me:hunter2@redis"},
        {"host": "redis", "passwrd": "hunter2"},
        {"host": "redis", "secret": "hunter2"},
        {"url": "redis://me:x@hunter2@redis"},
    ],
)
def test_a_mistyped_broker_still_shows_no_password(broker: dict[str, Any]) -> None:
    assert "hunter2" not in json.dumps(redacted_layers(layers(broker)))


@pytest.mark.parametrize(
    "value",
    [
        {"billing": {"default": {"settings": {"result_backend": "redis://me:hunter2@redis"}}}},
        {"billing": {"default": {"settings": {"result_backend": "redis://me:x@hunter2@redis"}}}},
        {"billing": {"default": {"secret_evn": {"A": "hunter2"}}}},
        {"billing": {"default": {"env": [{"name": "URL", "value": "amqp://me:hunter2@rabbit"}]}}},
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown_either(value: dict[str, Any]) -> None:
    assert "hunter2" not in json.dumps(redacted_layers([{"name": "celery_workers_config", "value": value}]))


def test_what_is_no_secret_stays_as_it_is() -> None:
    value = {
        "env": {"MODE": "a:b@c"},
        "secret_env": {"A": {"secret": "pay", "key": "token"}, "B": None},
        "broker": {"secret": {"name": "x", "password_key": "p"}},
        "numbers": [1, 2.5, True, None],
    }
    assert without_secrets(value) == value


def test_a_reference_to_an_existing_secret_makes_no_secret() -> None:
    written = layers(
        {"host": "redis", "secret": {"name": "broker"}}, keys={"secret_env": {"A": {"secret": "s", "key": "k"}}}
    )
    assert secret_manifests(written, "shop") == []


def test_a_mistyped_reference_to_a_secret_is_refused_and_not_taken_for_a_value() -> None:
    written = layers(keys={"secret_env": {"A": {"secret": "pay", "keey": "token"}}})
    with pytest.raises(InventoryError, match=r"secret_env\.A"):
        secret_manifests(written, "shop")


def test_an_empty_password_is_none_or_refused_but_never_another_one() -> None:
    """C({{ redis_password | default('') }}) is how people write a broker with an optional password."""
    problem, found = "", {}
    try:
        found = values_of(secret_manifests(layers({"host": "redis", "password": ""}), "shop"))
    except InventoryError as error:
        problem = str(error)
    assert "celery_workers_broker.password" in problem or found in (
        {},
        {"shop-celery-broker": {"url": "redis://:@redis:6379/0", "password": ""}},
    )


def test_a_password_in_a_numbered_layer_is_kept_too() -> None:
    written = [*layers(), {"name": "celery_workers_broker__90_host", "value": {"password": "mine"}}]
    assert redacted_layers(written)[-1]["value"] == {"password": True}
    assert values_of(secret_manifests(written, "shop"))["shop-celery-broker"]["password"] == "mine"


def test_a_services_own_broker_has_a_secret_of_its_own() -> None:
    service = {"broker": {"host": "other", "password": "own"}}
    found = values_of(secret_manifests(layers({"host": "redis", "password": "fleet"}, service), "shop"))
    assert {name: data["password"] for name, data in found.items()} == {"billing-worker-broker": "own"}


def test_beat_and_workers_get_their_secret_environment_from_their_layers() -> None:
    written = layers(service={"beat": True, "secret_env": {"A": "1", "B": "2"}}, keys={"secret_env": {"B": "3"}})
    written.append({"name": "celery_workers_queue_defaults", "value": {"secret_env": {"A": "0", "C": "9"}}})
    assert values_of(secret_manifests(written, "shop")) == {
        "billing-worker-env": {"A": "1", "B": "3", "C": "9"},
        "billing-beat-env": {"A": "1", "B": "2", "C": "9"},
    }


def test_the_names_of_secrets_are_those_that_are_made() -> None:
    written = layers({"host": "redis", "password": "x"}, {"beat": True, "secret_env": {"A": "1"}})
    variables = {layer["name"].removeprefix("celery_workers_"): layer["value"] for layer in redacted_layers(written)}
    assert secret_names(fleet_of(**variables)) == list(values_of(secret_manifests(written, "shop")))


@pytest.mark.parametrize("password", ["redis", "p@:/#%", "lms", "a", 'with "quotes"', "line\nbreak"])
def test_a_message_is_redacted_of_every_form_of_a_value(password: str) -> None:
    secrets = secret_manifests(layers({"host": "h", "password": password}), "shop")
    (secret,) = secrets
    encoded = secret["data"]["password"]
    url = base64.b64decode(secret["data"]["url"]).decode()
    text = redact(f"refused {encoded} and <{password}> and {url}", secrets)
    assert encoded not in text
    assert f"<{password}>" not in text
    assert url not in text
    assert text.startswith("refused ********")


def test_a_user_name_is_no_secret_and_stays_in_other_names() -> None:
    broker = {"type": "rabbitmq", "host": "rabbit", "username": "celery", "password": "Tr0ub4dor&3"}
    secrets = secret_manifests(layers(broker), "shop")
    text = "Pod shop-celery-worker-1: login of celery with Tr0ub4dor&3 was refused"
    assert redact(text, secrets) == "Pod shop-celery-worker-1: login of celery with ******** was refused"
    scaled = secret_manifests(layers({**broker, "scaler": {"username": "keda", "password": "x7Tr0ub4dor"}}), "shop")
    assert redact("keda cannot log in with x7Tr0ub4dor", scaled) == "keda cannot log in with ********"


def test_a_secret_of_the_apps_environment_is_one_by_any_name() -> None:
    secrets = secret_manifests(layers({"host": "redis"}, {"secret_env": {"username": "Tr0ub4dor&3"}}), "shop")
    assert redact("Tr0ub4dor&3 is refused", secrets) == "******** is refused"


def test_redaction_of_a_short_value_leaves_words_readable() -> None:
    secrets = secret_manifests(layers({"host": "h", "password": "a"}), "shop")
    assert redact("cannot handle data", secrets) == "cannot handle data"


def test_the_longest_id_of_a_fleet_gives_a_secret_that_a_server_takes() -> None:
    (secret,) = secret_manifests(layers({"host": "redis", "password": "x"}), "shop", "n" * 63)
    assert secret["metadata"]["name"] == secret["metadata"]["name"].lower().replace("_", "-")
    assert not [value for value in secret["metadata"]["labels"].values() if len(value) > 63]


def test_a_null_password_leaves_the_one_in_the_url() -> None:
    written = layers({"url": "redis://:hunter2@redis:6379/0", "password": None})
    (secret,) = secret_manifests(written, "shop")
    assert base64.b64decode(secret["data"]["password"]).decode() == "hunter2"


@pytest.mark.parametrize(
    "keys",
    [
        {"settings": {"redis_password": "hunter2"}},
        {"settings": {"result_backend_transport_options": {"sentinelPassword": "hunter2"}}},
        {"extra_triggers": [{"type": "redis", "metadata": {"token": "hunter2"}}]},
    ],
)
def test_a_password_under_any_name_of_one_reaches_no_module(keys: dict[str, Any]) -> None:
    assert "hunter2" not in str(redacted_layers(layers({"host": "redis"}, keys=keys)))


@pytest.mark.parametrize(
    "value", ["hunter2", {"host": "redis", "pass": "hunter2"}, {"host": "redis", "secret": "hunter2"}]
)
def test_a_broker_that_is_written_wrong_keeps_its_password_too(value: Any) -> None:
    assert "hunter2" not in str(redacted_layers([{"name": "celery_workers_broker__50_x", "value": value}]))


def test_who_accepts_the_risk_for_one_service_does_not_accept_it_for_another() -> None:
    accepting = {"a": {"x": {"env": {"TOKEN": "shown"}, "accept_risks": ["plain-secret"]}}}
    other = {"b": {"y": {"env": {"TOKEN": "hunter2"}}}}
    shown = str(redacted_layers([{"name": "celery_workers_config", "value": {**accepting, **other}}]))
    assert "shown" in shown
    assert "hunter2" not in shown


def test_a_key_that_nobody_wants_any_more_is_taken_out_of_its_secret() -> None:
    (secret,) = secret_manifests(layers({"host": "redis"}, keys={"secret_env": {"A": "1"}}), "shop")
    name = secret["metadata"]["name"]
    live = ObservedObject("Secret", name, annotations={"celery.queueops.io/keys": "A,B"})
    (sent,) = without_stale_keys([secret], Observed((live,)))
    assert sent["data"] == {**secret["data"], "B": None}


SENTINEL = {"type": "redis-sentinel", "hosts": ["a"], "master_name": "main"}
SQS = {"type": "sqs", "region": "eu-central-1"}

#: A broker with a secret of each kind, and the keys under which the one Secret keeps them.
BROKER_SECRETS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("scaler", {"host": "redis", "scaler": {"password": "hunter2"}}, {"scaler_password": "hunter2"}),
    (
        "scaler with a name",
        {"host": "redis", "scaler": {"username": "ro", "password": "hunter2"}},
        {"scaler_username": "ro", "scaler_password": "hunter2"},
    ),
    ("sentinels", {**SENTINEL, "sentinel_password": "hunter2"}, {"sentinel_password": "hunter2"}),
    (
        "aws",
        {**SQS, "access_key_id": "hunter2", "secret_access_key": "hunter2/x"},
        {"access_key_id": "hunter2", "secret_access_key": "hunter2/x"},
    ),
    (
        "rabbitmq with certificates",
        {
            "type": "rabbitmq",
            "host": "rabbit",
            "username": "me",
            "password": "hunter2",
            "tls": {"ca_secret": "ca"},
        },
        {
            "url": "amqps://me:hunter2@rabbit:5671/%2F",
            "username": "me",
            "password": "hunter2",
            "scaler_tls": "enable",
        },
    ),
    (
        "sentinels with a master's password",
        {**SENTINEL, "password": "p@ss"},
        {"url": "sentinel://:p%40ss@a:26379/0", "password": "p@ss"},
    ),
]


@pytest.mark.parametrize("wrap", [str, Vaulted])
@pytest.mark.parametrize(
    ("broker", "expected"), [row[1:] for row in BROKER_SECRETS], ids=[row[0] for row in BROKER_SECRETS]
)
def test_every_secret_of_a_broker_is_in_its_one_secret_and_reaches_no_module(
    broker: dict[str, Any], expected: dict[str, str], wrap: type
) -> None:
    def wrapped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: wrapped(item) for key, item in value.items()}
        return wrap(value) if isinstance(value, str) and "hunter2" in value else value

    written = layers(wrapped(broker))
    assert "hunter2" not in str(redacted_layers(written))
    assert values_of(secret_manifests(written, "shop")) == {"shop-celery-broker": expected}


def test_the_secrets_of_a_broker_of_one_service_are_kept_apart_from_the_fleets() -> None:
    service = {"broker": {"host": "other", "scaler": {"password": "hunter2"}}}
    written = layers(service=service)
    assert "hunter2" not in str(redacted_layers(written))
    assert values_of(secret_manifests(written, "shop")) == {"billing-worker-broker": {"scaler_password": "hunter2"}}


@pytest.mark.parametrize(
    "broker",
    [
        {"host": "redis", "scaler": "hunter2"},
        {"host": "redis", "scaler": {"pass": "hunter2"}},
        {"host": "redis", "scaler": {"secret": "hunter2"}},
        {"host": "redis", "secret_acess_key": "hunter2"},
        {"host": "redis", "sentinelpassword": "hunter2"},
        {"host": "redis", "transport_options": {"sentinel_kwargs": {"password": "hunter2"}}},
        {"host": "redis", "transport_options": {"aws_secret_access_key": "hunter2"}},
        {"url": "sentinel://:hunter2@a:26379;sentinel://:hunter2@b:26379/0"},
        {"url": "sqs://id:hunter2@"},
    ],
)
def test_a_secret_of_a_broker_in_the_wrong_place_is_refused_without_being_shown(broker: dict[str, Any]) -> None:
    written = layers(broker)
    assert "hunter2" not in str(redacted_layers(written))
    with pytest.raises(InventoryError) as caught:
        secret_manifests(written, "shop")
    assert str(caught.value.problems[0]).startswith("celery_workers_broker")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "broker"),
    [
        ("sentinel_password", {"host": "redis"}),
        ("access_key_id", {"host": "redis"}),
        ("secret_access_key", {"type": "rabbitmq", "host": "rabbit"}),
        ("password", SQS),
    ],
)
def test_a_secret_that_a_broker_of_its_kind_does_not_have_is_refused(key: str, broker: dict[str, Any]) -> None:
    with pytest.raises(InventoryError) as caught:
        secret_manifests(layers({**broker, key: "hunter2"}), "shop")
    assert f"celery_workers_broker.{key}: " in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["sentinel_password", "password"])
def test_an_empty_secret_of_a_broker_is_none(key: str) -> None:
    assert secret_manifests(layers({**SENTINEL, key: ""}), "shop") == []


@pytest.mark.parametrize(("name", "password"), [("a b", "p@:/#%?&+"), ("me@shop", "ä€"), ("", ":")])
@pytest.mark.parametrize(
    "broker",
    [{"type": "rabbitmq", "host": "rabbit", "virtual_host": "a/b c"}, {"host": "fe80::1", "tls": True}, SENTINEL],
)
def test_every_part_of_a_url_is_encoded_so_that_kombu_reads_it_back(
    broker: dict[str, Any], name: str, password: str
) -> None:
    written = layers({**broker, "username": name, "password": password})
    parts = parse_url(values_of(secret_manifests(written, "shop"))["shop-celery-broker"]["url"])
    assert (parts["userid"] or "", parts["password"]) == (name, password)
    assert parts["hostname"] == (broker.get("host") or "a")
    assert parts["virtual_host"] == broker.get("virtual_host", "0")


# Flower.

LOGIN = {**OAUTH, "client_secret": "cs-hunter2"}
EXISTING = {"secret": {"name": "x"}}


def flower_layers(flower: Any = None, broker: Any = None) -> list[dict[str, Any]]:
    return [*layers(broker), {"name": "celery_workers_flower", "value": flower or {}}]


def flower_secrets(flower: Any = None, observed: Observed = NOTHING, output: str = "cluster") -> list[dict[str, Any]]:
    """Secrets of an inventory with Flower, as they are sent."""
    found = secret_manifests(flower_layers(flower), "shop", "", "", observed, ["flower"], output)
    return without_stale_keys(found, observed)


def sent(flower: Any = None, observed: Observed = NOTHING, output: str = "cluster") -> dict[str, str | None]:
    """Keys of Flower's Secret with their values, null for those that are taken out of it."""
    (secret,) = flower_secrets(flower, observed, output)
    assert secret["metadata"]["name"] == "flower-auth"
    return {key: None if value is None else base64.b64decode(value).decode() for key, value in secret["data"].items()}


def kept(keys: str = "cookie_secret,password", fleet: str = "shop") -> Observed:
    """A cluster in which an earlier run has made Flower's Secret."""
    annotations = {"celery.queueops.io/keys": keys}
    return Observed((ObservedObject("Secret", "flower-auth", ownership_labels(fleet), annotations),))


def wanted_of(flower: Any = None, **more: Any) -> list[str]:
    """What the next run generates, as people are told before it."""
    seen = {
        layer["name"].removeprefix("celery_workers_"): layer["value"]
        for layer in redacted_layers(flower_layers(flower))
    }
    output = more.get("output", "cluster")
    return generated(fleet_of(**seen, enabled=("flower",), output=output), more.get("observed", NOTHING), output)


def test_files_keep_nothing_that_is_generated() -> None:
    assert wanted_of({"password": "x"}) == ["Secret flower-auth, key cookie_secret"]
    assert wanted_of({"password": "x"}, output="manifests") == []


def test_credentials_of_flower_that_nobody_gives_are_generated_and_never_twice_the_same() -> None:
    first, second = sent(), sent()
    assert set(first) == {"password", "cookie_secret"}
    values = [*first.values(), *second.values()]
    assert len(set(values)) == 4
    # 128 bits, in letters that neither a URL nor Flower's list of logins takes for its own.
    assert all(value is not None and re.fullmatch("[0-9a-f]{32}", value) for value in values)


def test_what_was_generated_once_stays_as_it_is_in_the_cluster() -> None:
    assert sent(observed=kept()) == {}
    (secret,) = flower_secrets(observed=kept())
    assert secret["metadata"]["annotations"] == {"celery.queueops.io/keys": "cookie_secret,password"}
    assert set(sent(observed=kept("cookie_secret"))) == {"password"}


@pytest.mark.parametrize(
    ("flower", "observed", "expected"),
    [
        ({}, NOTHING, ["Secret flower-auth, key cookie_secret", "Secret flower-auth, key password"]),
        ({}, kept(), []),
        ({}, kept("password"), ["Secret flower-auth, key cookie_secret"]),
        ({"password": "x"}, NOTHING, ["Secret flower-auth, key cookie_secret"]),
        ({"password": ""}, kept("cookie_secret"), ["Secret flower-auth, key password"]),
        ({"oauth": LOGIN}, NOTHING, ["Secret flower-auth, key cookie_secret"]),
        (EXISTING, NOTHING, []),
        ({**EXISTING, "oauth": OAUTH | {"client_secret": None}}, NOTHING, ["Secret flower-auth, key cookie_secret"]),
        ({"secret": {"name": "x", "cookie_secret_key": "c"}}, NOTHING, []),
        ({"name": "watch"}, kept(), ["Secret watch-auth, key cookie_secret", "Secret watch-auth, key password"]),
    ],
)
def test_people_are_told_before_what_a_run_generates_and_it_generates_just_that(
    flower: dict[str, Any], observed: Observed, expected: list[str]
) -> None:
    assert wanted_of(flower, observed=observed) == expected
    made = [
        f"Secret {secret['metadata']['name']}, key {key}"
        for secret in flower_secrets(flower, observed)
        for key, value in secret["data"].items()
        if value is not None and re.fullmatch("[0-9a-f]{32}", base64.b64decode(value).decode())
    ]
    assert sorted(made) == expected


def test_a_secret_of_another_fleet_keeps_nothing_for_ours() -> None:
    assert {key for key, value in sent(observed=kept(fleet="other")).items() if value} == {"password", "cookie_secret"}


@pytest.mark.parametrize("wrap", [str, Vaulted])
@pytest.mark.parametrize("observed", [NOTHING, kept()])
def test_a_value_that_somebody_gives_wins_over_one_that_was_generated(observed: Observed, wrap: type) -> None:
    found = sent({"password": wrap("mine"), "cookie_secret": wrap("of the session")}, observed)
    assert found == {"password": "mine", "cookie_secret": "of the session"}


def test_a_value_that_is_not_given_any_more_stays_and_nobody_is_locked_out() -> None:
    assert sent({}, kept()) == {}
    assert sent({"cookie_secret": "new"}, kept()) == {"cookie_secret": "new"}


def test_an_empty_password_is_one_that_nobody_gives() -> None:
    assert re.fullmatch("[0-9a-f]{32}", sent({"password": ""})["password"] or "")


@pytest.mark.parametrize("password", ["a,b", ",", "hunter2,"])
def test_a_password_with_a_comma_is_refused_because_flower_would_cut_it(password: str) -> None:
    with pytest.raises(InventoryError) as caught:
        flower_secrets({"password": password})
    assert [str(problem) for problem in caught.value.problems] == [
        "celery_workers_flower.password: Flower would cut it at the comma; write one without."
    ]


@pytest.mark.parametrize("password", ["p@:/#%", "$(HOME)", "äß €", "with space", "true", "123"])
def test_any_other_password_is_kept_as_it_is(password: str) -> None:
    assert sent({"password": password})["password"] == password


@pytest.mark.parametrize(
    ("flower", "before", "expected"),
    [
        ({"oauth": LOGIN}, "cookie_secret,password", {"client_secret": "cs-hunter2", "password": None}),
        ({**EXISTING, "oauth": OAUTH | {"client_secret": None}}, "cookie_secret,password", {"password": None}),
        ({"password": "new"}, "client_secret,cookie_secret", {"password": "new", "client_secret": None}),
        ({}, "cookie_secret,password,old", {"old": None}),
    ],
)
def test_a_key_that_flower_needs_no_more_is_taken_out_and_one_that_it_keeps_is_not(
    flower: dict[str, Any], before: str, expected: dict[str, Any]
) -> None:
    assert sent(flower, kept(before)) == expected


def test_the_client_secret_of_a_login_is_in_the_secret_with_a_session_secret_of_ours() -> None:
    found = sent({"oauth": LOGIN})
    assert set(found) == {"client_secret", "cookie_secret"}
    assert found["client_secret"] == "cs-hunter2"


def test_where_an_existing_secret_holds_everything_none_is_made() -> None:
    secret = {"name": "x", "cookie_secret_key": "c"}
    # A login by password has no session that a cookie keeps.
    assert flower_secrets(EXISTING) == []
    assert flower_secrets(EXISTING, output="manifests") == []
    assert flower_secrets({"secret": secret}) == []
    assert flower_secrets({"secret": secret, "oauth": OAUTH | {"client_secret": None}}) == []


@pytest.mark.parametrize(
    ("flower", "expected"),
    [
        ({"password": "mine"}, {"password": "mine"}),
        ({"password": "mine", "cookie_secret": "c"}, {"password": "mine", "cookie_secret": "c"}),
        ({"oauth": LOGIN, "cookie_secret": "c"}, {"client_secret": "cs-hunter2", "cookie_secret": "c"}),
    ],
)
def test_files_hold_what_is_given_and_nothing_that_is_generated(
    flower: dict[str, Any], expected: dict[str, str]
) -> None:
    assert sent(flower, output="manifests") == expected


def test_every_flower_has_credentials_of_its_own_and_those_that_are_given_hold_for_all() -> None:
    written = [
        {"name": "celery_workers_broker", "value": {"host": "redis"}},
        {
            "name": "celery_workers_services",
            "value": {name: {"image": IMAGE, "queue_name": "{service}.{variant}"} for name in ("a", "b")},
        },
        {"name": "celery_workers_services__50_x", "value": {"b": {"broker": {"host": "other"}}}},
        {"name": "celery_workers_config", "value": {"a": {"default": {}}, "b": {"default": {}}}},
        {"name": "celery_workers_flower", "value": {"password": "mine"}},
    ]
    found = values_of(secret_manifests(written, "shop", enabled=["flower"]))
    assert set(found) == {"flower-auth", "b-flower-auth"}
    assert [data["password"] for data in found.values()] == ["mine", "mine"]
    assert len({data["cookie_secret"] for data in found.values()}) == 2


def test_without_flower_its_keys_make_no_secret() -> None:
    assert secret_manifests(flower_layers({"password": "mine"}), "shop") == []
    assert secret_manifests(flower_layers({"password": "mine"}), "shop", enabled=["exporter"]) == []


@pytest.mark.parametrize("flower", [{}, {"oauth": LOGIN}, {"secret": {"name": "x"}}, {"password": "mine"}])
def test_the_names_of_flowers_secrets_are_those_that_are_made(flower: dict[str, Any]) -> None:
    written = flower_layers(flower, {"host": "redis", "password": "x"})
    variables = {layer["name"].removeprefix("celery_workers_"): layer["value"] for layer in redacted_layers(written)}
    made = [item["metadata"]["name"] for item in secret_manifests(written, "shop", enabled=["flower"])]
    assert secret_names(fleet_of(**variables, enabled=("flower",))) == made


def test_secrets_of_flower_go_with_it_and_are_nobody_elses() -> None:
    (secret,) = flower_secrets()
    labels = secret["metadata"]["labels"]
    assert labels["celery.queueops.io/fleet"] == "shop"
    assert labels["celery.queueops.io/component"] == "flower"
    assert "celery.queueops.io/service" not in labels


@pytest.mark.parametrize("flower", [{}, {"oauth": LOGIN}])
def test_what_was_generated_shows_in_no_message_even_where_nobody_knows_it(flower: dict[str, Any]) -> None:
    made = flower_secrets(flower)
    text = json.dumps(made)
    for value in made[0]["data"].values():
        plain = base64.b64decode(value).decode()
        if re.fullmatch("[0-9a-f]{32}", plain):
            said = redact(f"refused {plain}, {value} and '{value}' in {text}", [])
            assert plain not in said
            assert value not in said
            assert said.startswith("refused ********, ********")


def test_other_long_words_of_a_message_stay_readable() -> None:
    text = "pod billing-worker-6d4cf56db6-x2x9k of 0f3a9c and registry.example/app@sha256:" + "a1" * 32
    assert redact(text, []) == text


#: Places of Flower where somebody may write a secret, rightly or by mistake.
PLACES: list[dict[str, Any]] = [
    {"password": "hunter2"},
    {"cookie_secret": "hunter2"},
    {"oauth": {"client_secret": "hunter2"}},
    {"pasword": "hunter2"},
    {"cookie_secert": "hunter2"},
    {"passwd": "hunter2"},
    {"secret": "hunter2"},
    {"oauth": "hunter2"},
    {"oauth": {"client_secert": "hunter2"}},
    {"oauth": {"secret": "hunter2"}},
    {"oauth": {"password": "hunter2"}},
    {"oauth": {"cookie_secret": "hunter2"}},
    {"client_secret": "hunter2"},
    {"basic_auth": "me:hunter2"},
    {"env": {"FLOWER_BASIC_AUTH": "me:hunter2"}},
    {"env": {"API_TOKEN": "hunter2"}},
    {"env": [{"name": "FLOWER_COOKIE_SECRET", "value": "hunter2"}]},
    {"env": ["FLOWER_BASIC_AUTH=me:hunter2"]},
    {"env": "API_TOKEN=hunter2"},
    {"basic_auth": ["me:hunter2"]},
    {"secret": {"password": "hunter2"}},
    {"pod_overrides": {"containers": [{"name": "flower", "env": [{"name": "TOKEN", "value": "hunter2"}]}]}},
    {"extra_params": ["--broker-api=http://me:hunter2@rabbit:15672/api/"]},
    {"extra_params": ["--basic-auth=me:hunter2"]},
    {"extra_params": ["--basic-auth", "me:hunter2"]},
    {"extra_params": "--oauth2_secret=hunter2"},
    {"extra_params": {"--basic-auth": "me:hunter2"}},
    {"extra_params": ['--inspect-kwargs={"password": "hunter2"}']},
]


@pytest.mark.parametrize("wrap", [str, Vaulted])
@pytest.mark.parametrize("name", ["celery_workers_flower", "celery_workers_flower__50_campus"])
@pytest.mark.parametrize("value", PLACES, ids=[str(row) for row in PLACES])
def test_a_secret_of_flower_reaches_no_module_wherever_it_is_written(
    value: dict[str, Any], name: str, wrap: type
) -> None:
    def wrapped(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: wrapped(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [wrapped(inner) for inner in item]
        return wrap(item) if isinstance(item, str) and "hunter2" in item else item

    assert "hunter2" not in json.dumps(redacted_layers([{"name": name, "value": wrapped(value)}]))


@pytest.mark.parametrize("value", PLACES[3:], ids=[str(row) for row in PLACES[3:]])
def test_a_secret_of_flower_in_the_wrong_place_is_refused_without_being_shown(value: dict[str, Any]) -> None:
    with pytest.raises(InventoryError) as caught:
        flower_secrets(value)
    assert str(caught.value.problems[0]).startswith("celery_workers_flower")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        {"pasword": "hunter2"},
        {"env": ["API_TOKEN=hunter2"]},
        {"extra_params": ['--broker-transport-option=sentinel_kwargs={"password": "hunter2"}']},
        {"extra_params": ["--redbeat-redis-option=password=hunter2"]},
        {"extra_params": ["--broker-url", "me:hunter2"]},
    ],
    ids=str,
)
def test_a_secret_of_the_exporter_is_refused_without_being_shown(value: Any) -> None:
    shown = redacted_layers([*layers(), {"name": "celery_workers_exporter", "value": value}])
    assert "hunter2" not in json.dumps(shown)
    with pytest.raises(InventoryError) as caught:
        fleet_of(
            **{item["name"].removeprefix("celery_workers_"): item["value"] for item in shown}, enabled=("exporter",)
        )
    assert str(caught.value.problems[0]).startswith("celery_workers_exporter")


@pytest.mark.parametrize("written", [["DB=me:hunter2"], "DB=me:hunter2"], ids=str)
def test_environment_in_another_form_is_refused_without_being_shown(written: Any) -> None:
    with pytest.raises(
        InventoryError, match=r"default\.env(\[0\])?: the value \(hidden, it may be a secret\)"
    ) as caught:
        secret_manifests(layers(keys={"env": written}), "shop")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], 5])
def test_a_flower_that_is_no_dict_shows_nothing_of_it(value: Any) -> None:
    shown = redacted_layers([{"name": "celery_workers_flower", "value": value}])
    assert "hunter2" not in str(shown)
    with pytest.raises(InventoryError, match="celery_workers_flower: this is not a dict"):
        fleet_of(**{layer["name"].removeprefix("celery_workers_"): layer["value"] for layer in [*shown, *layers()]})


def test_what_is_no_secret_of_flower_stays_as_it_is() -> None:
    value = {
        "username": "ops",
        "secret": {"name": "x", "password_key": "pw", "cookie_secret_key": "c", "client_secret_key": "cs"},
        "oauth": {name: item for name, item in OAUTH.items() if name != "client_secret"},
        "ingress": {"host": "flower.example.org", "tls_secret": "mine"},
        "env": {"TZ": "UTC"},
        "runtime_buckets": [1, 2.5],
        "labels": {"team": "a"},
        "persistence": True,
        "max_tasks": None,
    }
    assert flower_without_secrets(value) == value
    assert flower_without_secrets(None) is None
