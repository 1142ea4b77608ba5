# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wrote reaches a pod as it was written, or the run stops. Its mask never does."""

from __future__ import annotations

import base64
import json
import re
from datetime import date
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_resources
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils._schema.placeholders import (
    exit_without_placeholders,
    placeholders,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._schema.scalars import MISPLACED
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from hypothesis import given
from hypothesis import strategies as st

from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import IMAGE

URL = "postgres://shop:hunter2@db/shop"
ACCEPTED = {"accept_risks": ["plain-secret"]}
#: Places of a container with an environment, in both forms that it may have.
CONTAINER = {"name": "x", "image": IMAGE}
FORMS: list[Any] = [{"DATABASE_URL": URL}, [{"name": "DATABASE_URL", "value": URL}]]


def layers(**variables: Any) -> list[dict[str, Any]]:
    """Variables of the role, over a service with one variant."""
    given = {
        "broker": {"host": "redis"},
        "services": {"billing": {"image": IMAGE}},
        "config": {"billing": {"default": {}}},
        **variables,
    }
    return [{"name": f"celery_workers_{name}", "value": value} for name, value in given.items()]


def service(**keys: Any) -> dict[str, Any]:
    return {"services": {"billing": {"image": IMAGE, **keys}}}


def variant(**keys: Any) -> dict[str, Any]:
    return {"config": {"billing": {"default": keys}}}


def resources(enabled: tuple[str, ...] = (), **variables: Any) -> list[dict[str, Any]]:
    """Everything that a run of the role would send but Secrets."""
    seen = redacted_layers(layers(**variables))
    inventory = Inventory("shop", layers=tuple(Layer(item["name"], item["value"]) for item in seen), enabled=enabled)
    fleet = parse_fleet(inventory)
    return [*worker_resources(fleet, NOTHING), *watching_resources(fleet, NOTHING)]


def refused(enabled: tuple[str, ...] = (), **variables: Any) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        resources(enabled, **variables)
    assert "hunter2" not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def containers(**variables: Any) -> dict[str, dict[str, Any]]:
    """Containers of all Deployments by their name."""
    found: dict[str, dict[str, Any]] = {}
    for item in resources(**variables):
        if item["kind"] == "Deployment":
            spec = item["spec"]["template"]["spec"]
            found |= {entry["name"]: entry for entry in [*spec.get("initContainers", []), *spec["containers"]]}
    return found


def places(env: Any) -> list[tuple[str, dict[str, Any]]]:
    """Every place where the environment of a container may be written, with the name of its variable."""
    listed = [{"name": name, "value": value} for name, value in env.items()] if isinstance(env, dict) else env
    inner = {**CONTAINER, "env": listed}
    return [
        ("services", service(env=env)),
        ("queue_defaults", {"queue_defaults": {"env": env}}),
        ("config", variant(env=env)),
        ("config__50_campus", {"config__50_campus": {"billing": {"default": {"env": env}}}}),
        ("services", service(env=env, beat=True)),
        ("services", service(sidecars=[inner])),
        ("config", variant(init_containers=[inner])),
        ("queue_defaults", {"queue_defaults": {"pod_overrides": {"containers": [{"name": "worker", "env": listed}]}}}),
        ("config", variant(pod_overrides={"initContainers": [inner]})),
        ("flower", {"flower": {"env": env}, "enabled": ("flower",)}),
        ("exporter", {"exporter": {"env": env}, "enabled": ("exporter",)}),
        ("flower", {"flower": {"pod_overrides": {"containers": [inner]}}, "enabled": ("flower",)}),
    ]


@pytest.mark.parametrize("form", FORMS, ids=["dict", "list"])
@pytest.mark.parametrize("place", range(len(places({}))))
def test_a_password_in_a_url_of_an_environment_is_refused_wherever_it_is_written(form: Any, place: int) -> None:
    variable, written = places(form)[place]
    (problem,) = refused(**written)
    assert problem.startswith(f"celery_workers_{variable}.")
    assert "DATABASE_URL looks like a secret" in problem
    assert "secretKeyRef" in problem or "secret_env" in problem


@pytest.mark.parametrize(
    "accepting", [{"queue_defaults": ACCEPTED}, {"services": ACCEPTED}, {"config": ACCEPTED}], ids=str
)
@pytest.mark.parametrize("form", FORMS, ids=["dict", "list"])
@pytest.mark.parametrize("place", range(9))
def test_an_accepted_value_arrives_exactly_as_it_was_written(accepting: dict[str, Any], form: Any, place: int) -> None:
    written = dict(places(form)[place][1])
    base = {"services": service()["services"], "config": variant()["config"], **written}
    for name, risks in accepting.items():
        keys = {"services": {"billing": risks}, "config": {"billing": {"default": risks}}}.get(name, risks)
        base[f"{name}__90_accept"] = keys
    text = json.dumps(resources(**base))
    assert URL in text
    assert MISPLACED not in text


def test_a_value_that_another_variant_accepts_is_still_refused_here() -> None:
    found = refused(
        **service(env={"DATABASE_URL": URL}), config={"billing": {"default": {}, "high": {"queues": ["h"], **ACCEPTED}}}
    )
    assert [item.partition(":")[0] for item in found] == ["celery_workers_services.billing.env"]


def test_a_variant_that_accepts_nothing_of_its_own_shows_its_value_to_no_module() -> None:
    shown = redacted_layers(
        layers(config={"billing": {"default": {"env": {"DATABASE_URL": URL}}, "high": {"queues": ["h"], **ACCEPTED}}})
    )
    assert "hunter2" not in str(shown)


@pytest.mark.parametrize("name", ["env", "billing"])
@pytest.mark.parametrize(
    "keys",
    [
        {"extra_params": ["--pidfile=redis://me:hunter2@redis"]},
        {"settings": {"result_backend": "redis://me:hunter2@redis"}},
        {"settings": {"env": {"A": "redis://me:hunter2@redis"}}},
        {"pod_annotations": {"example.org/a.env.b": "redis://me:hunter2@redis"}},
        {"labels": {"env": "redis://me:hunter2@redis"}},
        {"sidecars": [{**CONTAINER, "args": ["--option=redis://user:hunter2@host"]}]},
        {"init_containers": [{**CONTAINER, "command": ["sh", "-c", "run redis://user:hunter2@host"]}]},
        {"lifecycle": {"preStop": {"exec": {"command": ["curl", "http://me:hunter2@host"]}}}},
        {"beat": {"extra_params": ["--pidfile=redis://me:hunter2@redis"]}},
    ],
    ids=str,
)
def test_a_password_anywhere_else_is_refused_also_below_a_service_named_env(name: str, keys: dict[str, Any]) -> None:
    found = refused(services={name: {"image": IMAGE, **keys}}, config={name: {name: {"queues": ["q"]}}})
    assert found[0].startswith(f"celery_workers_services.{name}.")


@pytest.mark.parametrize(
    "form",
    [
        {"DATABASE_URL": "postgres://shop:$(DB)@db/shop"},
        [{"name": "DATABASE_URL", "value": "postgres://shop:$(DB)@db/shop"}],
    ],
)
def test_what_an_environment_refers_to_is_before_it(form: Any) -> None:
    env = containers(**service(env=form, secret_env={"OTHER": "x", "DB": "hunter2"}, beat=True))
    for name in ("worker", "beat"):
        names = [entry["name"] for entry in env[name]["env"]]
        assert names.index("DB") < names.index("DATABASE_URL")
        assert {"name": "DATABASE_URL", "value": "postgres://shop:$(DB)@db/shop"} in env[name]["env"]


def test_an_environment_without_references_keeps_its_order() -> None:
    written = {"B": "1", "A": "$$(B)", "C": "3"}
    names = [entry["name"] for entry in containers(**service(env=written, secret_env={"Z": "x"}))["worker"]["env"]]
    assert [name for name in names if name in "ABCZ"] == ["B", "A", "C", "Z"]


@pytest.mark.parametrize(
    "env",
    [{"A": "$(MISSING)"}, {"A": "$(B)", "B": "$(A)"}, {"PATH": "/opt/bin:$(PATH)"}, {"A": "postgres://u:$(PW)@h"}],
)
@pytest.mark.parametrize("place", [0, 2, 4, 5, 6, 9])
def test_a_reference_that_nothing_can_follow_is_refused(env: dict[str, str], place: int) -> None:
    variable, written = places(env)[place]
    found = refused(**written)
    assert all(item.startswith(f"celery_workers_{variable}.") and " refers to $(" in item for item in found)


@pytest.mark.parametrize(
    "keys",
    [
        {"env": {"A": "$(X)"}, "env_from": [{"secretRef": {"name": "x"}}]},
        {"env": {"A": "$(KUBERNETES_SERVICE_HOST)"}},
        {"env": {"A": "$$(X) and $(date +%s)"}},
        {"env": {"A": "$(CELERY_BROKER_URL)"}},
    ],
    ids=str,
)
def test_a_reference_that_may_be_followed_is_taken(keys: dict[str, Any]) -> None:
    assert {"name": "A", "value": keys["env"]["A"]} in containers(**service(**keys))["worker"]["env"]


def test_a_secret_on_the_command_line_is_written_as_a_reference_where_its_risk_is_accepted() -> None:
    keys = {
        "secret_env": {"CACHE": "hunter2"},
        "settings": {
            "result_backend": "redis://:$(CACHE)@cache/1",
            "result_backend_transport_options": {"a": "$(CACHE)"},
        },
        "extra_params": ["--pidfile=/tmp/$(CACHE)"],
    }
    found = refused(**service(**keys))
    assert len(found) == 2
    assert all("accept_risks: [secret-argument]" in item for item in found)
    args = containers(**service(**keys, accept_risks=["secret-argument"]))["worker"]["args"]
    assert "result.backend=(string)redis://:$(CACHE)@cache/1" in args
    assert "--pidfile=/tmp/$(CACHE)" in args


def test_a_reference_to_what_is_no_secret_needs_no_acceptance() -> None:
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "PLAIN", "value": "x"}]
    args = containers(**service(env=env, extra_params=["--pidfile=/tmp/$(POD)-$(PLAIN)"]))["worker"]["args"]
    assert "--pidfile=/tmp/$(POD)-$(PLAIN)" in args


def test_an_argument_that_refers_to_nothing_is_refused() -> None:
    (problem,) = refused(**service(settings={"result_backend": "redis://:$(CACHE)@cache/1"}))
    assert problem.startswith("celery_workers_services.billing.settings: $(CACHE) refers to a variable that variant")


def expanded(text: str, values: dict[str, str]) -> str:
    """What Kubernetes makes of a text (third_party/forked/golang/expansion)."""
    found, index = "", 0
    while index < len(text):
        following = text[index + 1 : index + 2]
        if text[index] == "$" and following == "$":
            found, index = f"{found}$", index + 2
        elif text[index] == "$" and following == "(" and ")" in text[index:]:
            name = text[index + 2 : text.index(")", index)]
            found, index = found + values.get(name, f"$({name})"), index + len(name) + 3
        else:
            found, index = found + text[index], index + 1
    return found


@pytest.mark.parametrize(
    ("written", "arrives"),
    [("a$b", "a$b"), ("a$$b", "a$$b"), ("$(date +%s)", "$(date +%s)"), ("$$(X)", "$(X)"), ("$$$", "$$$"), ("$(", "$(")],
)
def test_a_setting_arrives_as_it_was_written(written: str, arrives: str) -> None:
    args = containers(**service(settings={"result_backend": written}))["worker"]["args"]
    (word,) = [item for item in args if item.startswith("result.backend=(string)")]
    assert expanded(word.removeprefix("result.backend=(string)"), {"X": "wrong", "date +%s": "wrong"}) == arrives


@pytest.mark.parametrize(
    "mask", [MISPLACED, "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "********", "redis://me:********@h"]
)
def test_no_mask_of_a_value_leaves_a_module(mask: str) -> None:
    class Module:
        """Keeps what a module ends with."""

        def __init__(self) -> None:
            self.failed = ""
            self.result: dict[str, Any] = {}

        def fail_json(self, msg: str, **_result: Any) -> None:
            self.failed = msg
            raise SystemExit(1)

        def exit_json(self, **result: Any) -> None:
            self.result = result

    module = Module()
    found = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"files": ["b", mask]}}
    with pytest.raises(SystemExit):
        exit_without_placeholders(module, resources=[found])
    assert "ConfigMap a.data.files[1]" in module.failed
    clean = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"stars": "* * * * *", "note": "**bold**"}}
    exit_without_placeholders(module, resources=[clean])
    assert module.result == {"resources": [clean]}


#: Texts that a mask is in, and texts that are none although they look like it or are written in a strange way.
TEXTS = st.sampled_from(
    [
        MISPLACED,
        f"a{MISPLACED}b",
        "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
        "redis://u:********@h",
        "********",
        "********\n",
    ]
) | st.sampled_from(["*******", "a ********", '"********"', 'ü\n\t"\\', "", "REMOVED"])
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MASK = re.compile(rf"{MISPLACED}|VALUE_SPECIFIED_IN_NO_LOG_PARAMETER|:\*{{8}}@|^\*{{8}}$")


def masks_in(value: Any) -> int:
    """How many keys and values of plain data hold a mask."""
    if isinstance(value, dict):
        return sum(masks_in(key) + masks_in(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(masks_in, value))
    return int(isinstance(value, str) and MASK.search(value) is not None)


@given(DATA)
def test_every_mask_is_found_wherever_it_is_and_nothing_else(data: Any) -> None:
    assert len(list(placeholders(data))) == masks_in(data)


#: Every place where the text of a secret is written.
SECRETS: list[tuple[str, Any]] = [
    ("broker.password", lambda value: {"broker": {"host": "redis", "password": value}}),
    ("broker.scaler.password", lambda value: {"broker": {
        "host": "redis", "scaler": {"username": "s", "password": value}}}),
    ("broker.sentinel_password", lambda value: {"broker": {
        "type": "redis-sentinel", "hosts": ["a"], "master_name": "m", "sentinel_password": value}}),
    ("broker.secret_access_key", lambda value: {"broker": {
        "type": "sqs", "region": "eu-central-1", "access_key_id": "x", "secret_access_key": value}}),
    ("broker.access_key_id", lambda value: {"broker": {
        "type": "sqs", "region": "eu-central-1", "access_key_id": value, "secret_access_key": "x"}}),
    ("services.billing.broker.password", lambda value: service(broker={"host": "redis", "password": value})),
    ("services.billing.secret_env.PIN", lambda value: service(secret_env={"PIN": value})),
    ("queue_defaults.secret_env.PIN", lambda value: {"queue_defaults": {"secret_env": {"PIN": value}}}),
    ("config.billing.default.secret_env.PIN", lambda value: variant(secret_env={"PIN": value})),
    ("flower.password", lambda value: {"flower": {"password": value}, "enabled": ("flower",)}),
    ("flower.cookie_secret", lambda value: {"flower": {"cookie_secret": value}, "enabled": ("flower",)}),
    ("flower.oauth.client_secret", lambda value: {"flower": {"oauth": {
        "provider": "github", "client_id": "i", "redirect_uri": "https://h/login", "allow": "a@b.c",
        "client_secret": value}}, "enabled": ("flower",)}),
]  # fmt: skip
CHANGED: list[tuple[Any, str]] = [
    (0o123456, "as a number"),
    (1e5, "as a number"),
    (1.10, "as a number"),
    (True, "as true or false"),
    (False, "as true or false"),
    (date(2024, 1, 2), "as a date"),
    (["hunter2"], "must be text"),
    ("hunter2\n", "ends with a line break"),
    ("hunter2\r\n", "ends with a line break"),
]


class Vaulted:
    """A value as ansible-core before 2.19 hands it over: text that is decrypted when asked for."""

    def __init__(self, text: str) -> None:
        self._ciphertext = b"3132"
        self.text = text

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(("value", "said"), CHANGED, ids=[repr(row[0]) for row in CHANGED])
@pytest.mark.parametrize(("path", "write"), SECRETS, ids=[row[0] for row in SECRETS])
def test_a_secret_that_would_arrive_as_another_one_is_refused(path: str, write: Any, value: Any, said: str) -> None:
    (problem,) = refused(**write(value))
    assert problem.startswith(f"celery_workers_{path}: ")
    assert said in problem
    assert "42798" not in problem


@pytest.mark.parametrize(("path", "write"), SECRETS, ids=[row[0] for row in SECRETS])
def test_a_vaulted_secret_is_checked_like_any_other(path: str, write: Any) -> None:
    (problem,) = refused(**write(Vaulted("hunter2\n")))
    assert problem.startswith(f"celery_workers_{path}: ")
    assert "printf %s" in problem
    assert resources(**write(Vaulted("0123456")))


@pytest.mark.parametrize(("path", "write"), [row for row in SECRETS if "secret_env" not in row[0]])
@pytest.mark.parametrize("value", [" hunter2", "hunter2 ", "\thunter2"])
def test_a_password_with_white_space_around_it_is_refused_because_keda_cuts_it_off(
    path: str, write: Any, value: str
) -> None:
    (problem,) = refused(**write(value))
    assert problem.startswith(f"celery_workers_{path}: this secret begins or ends with white space")


@pytest.mark.parametrize("name", ["shop\n", " shop"])
def test_a_user_name_with_white_space_around_it_is_refused_too(name: str) -> None:
    (problem,) = refused(broker={"host": "redis", "username": name, "password": "x"})
    assert problem.startswith("celery_workers_broker.username: ")


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@redis/0\n", "redis://:hunter2%0A@redis/0", "redis://:%20hunter2@redis/0"]
)
def test_a_password_in_a_url_is_checked_like_any_other(url: str) -> None:
    (problem,) = refused(broker={"url": url})
    assert problem.startswith("celery_workers_broker.url: ")
    assert "begins or ends with" in problem


@pytest.mark.parametrize(
    "value", ["-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "a b ", "", "0123456", "yes", "ä\n\nb"]
)
def test_a_secret_of_an_environment_that_may_be_meant_is_kept_to_the_letter(value: str) -> None:
    (secret,) = secret_manifests(layers(**service(secret_env={"KEY": value})), "shop")
    assert resources(**service(secret_env={"KEY": value}))
    assert secret["data"]["KEY"] == base64.b64encode(value.encode()).decode()
