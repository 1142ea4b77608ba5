# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secret values: in Secrets, and in nothing else, whatever they look like."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._observed import Observed, ObservedObject
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._secrets import (
    redact,
    redacted_layers,
    secret_manifests,
    secret_names,
    split_url,
    without_secrets,
    without_stale_keys,
)
from kombu.utils.url import parse_url

from tests.unit.inventories import IMAGE, fleet_of

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
        ("redis://me:p@ss:w/rd@redis/0", "redis://me@redis/0", "p@ss:w/rd"),
        ("redis://me@redis/0", "redis://me@redis/0", None),
        ("redis://redis:6379/0?client=a@b", "redis://redis:6379/0?client=a@b", None),
        (None, None, None),
    ],
)
def test_a_url_is_split_into_what_may_be_seen_and_the_password(url: Any, shown: Any, password: str | None) -> None:
    assert split_url(url) == (shown, password)


def test_a_password_in_a_url_reaches_the_secret() -> None:
    found = values_of(secret_manifests(layers({"url": Vaulted("redis://me:p%40ss@redis:6379/1")}), "shop"))
    assert found == {
        "shop-celery-broker": {"url": "redis://me:p%40ss@redis:6379/1", "username": "me", "password": "p@ss"}
    }


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
