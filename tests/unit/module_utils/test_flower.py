# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flower: one a broker, with every option as its keys say, and reachable from outside where its pages are only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.flower import flower_table
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed, ObservedObject
from flower import urls
from flower.options import default_options
from flower.utils.broker import validate_broker_api
from flower.views import auth

from tests.unit.ingress_paths import reaches, route_reaches
from tests.unit.inventories import Manifest, fleet_of, of_kind, one_variant, problems_of
from tests.unit.watching import (
    INGRESS,
    OAUTH,
    RABBITMQ,
    ROUTE,
    SENTINEL,
    SQS,
    container_of,
    env_of,
    flower_with,
    one_of,
    pod_of,
    services_with,
    watched,
    watching_of,
)

OWN = {"host": "other"}


def flowers_of(brokers: dict[str, Any], **more: Any) -> dict[str, tuple[str, ...]]:
    """Name of each Flower, and the services that it shows."""
    fleet = fleet_of(**services_with(brokers, enabled=("flower",), **more))
    names = [item["metadata"]["name"] for item in of_kind(watching_of(fleet), "Deployment")]
    found = {server.name: server.services for server in fleet.monitoring.flowers}
    assert names == list(found)
    return found


@pytest.mark.parametrize(
    ("brokers", "more", "expected"),
    [
        ({"a": None}, {}, {"flower": ("a",)}),
        ({"a": None, "b": None, "c": None}, {}, {"flower": ("a", "b", "c")}),
        ({"a": None, "b": OWN, "c": None}, {}, {"flower": ("a", "c"), "b-flower": ("b",)}),
        ({"b_b": OWN, "a": None}, {}, {"flower": ("a",), "b-b-flower": ("b_b",)}),
        ({"a": None, "b": {"host": "redis"}}, {}, {"flower": ("a", "b")}),
        # The names of one Service within and without its namespace.
        ({"a": None, "b": {"host": "redis.shop"}}, {}, {"flower": ("a", "b")}),
        (
            {"a": None, "b": {"host": "redis.shop.svc.cluster.local"}, "c": {"host": "redis.shop.svc."}},
            {},
            {"flower": ("a", "b", "c")},
        ),
        ({"a": None, "b": {"host": "redis.blog"}}, {}, {"flower": ("a",), "b-flower": ("b",)}),
        ({"a": None, "b": {"host": "redis", "database": 1}}, {}, {"flower": ("a",), "b-flower": ("b",)}),
        ({"a": OWN, "b": OWN}, {}, {"flower": ("a", "b")}),
        ({"a": OWN, "b": RABBITMQ}, {}, {"flower": ("a",), "b-flower": ("b",)}),
        ({"a": None, "b": SQS}, {}, {"flower": ("a",)}),
        ({"a": SQS, "b": OWN}, {}, {"flower": ("b",)}),
        ({"b": OWN, "a": None}, {"flower": {"name": "watch"}}, {"watch": ("a",), "b-flower": ("b",)}),
    ],
)
def test_there_is_one_flower_a_broker_and_that_of_the_fleets_broker_has_the_plain_name(
    brokers: dict[str, Any], more: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    assert flowers_of(brokers, **more) == expected


def test_without_being_enabled_there_is_no_flower() -> None:
    assert watching_of(fleet_of(**watched(flower=INGRESS))) == []


def test_every_flower_listens_to_its_own_broker_and_selects_its_own_pod_alone() -> None:
    keys = {"network_policy": {"allow_from": [{"podSelector": {}}]}, "persistence": True}
    fleet = fleet_of(**services_with({"a": None, "b": OWN}, enabled=("flower",), flower=keys))
    manifests = watching_of(fleet)
    pods = {item["metadata"]["name"]: item["spec"]["template"] for item in of_kind(manifests, "Deployment")}
    urls_of = {
        name: next(entry["value"] for entry in pod["spec"]["containers"][0]["env"] if entry["name"].endswith("_URL"))
        for name, pod in pods.items()
    }
    assert urls_of == {"flower": "redis://redis:6379/0", "b-flower": "redis://other:6379/0"}
    selectors = [
        *(
            (item["metadata"]["name"], item["spec"]["selector"]["matchLabels"])
            for item in of_kind(manifests, "Deployment")
        ),
        *((item["metadata"]["name"], item["spec"]["selector"]) for item in of_kind(manifests, "Service")),
        *(
            (item["metadata"]["name"], item["spec"]["podSelector"]["matchLabels"])
            for item in of_kind(manifests, "NetworkPolicy")
        ),
    ]
    assert len(selectors) == 6
    for owner, selector in selectors:
        chosen = [name for name, pod in pods.items() if selector.items() <= pod["metadata"]["labels"].items()]
        assert chosen == [owner]
    claims = [pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] for pod in pods.values()]
    assert claims == ["flower-data", "b-flower-data"]
    assert [item["metadata"]["name"] for item in of_kind(manifests, "PersistentVolumeClaim")] == claims


def test_a_service_leads_to_the_port_that_flower_is_told_to_listen_on() -> None:
    manifests = flower_with()
    (port,) = one_of(manifests, "Service")["spec"]["ports"]
    (opened,) = container_of(manifests)["ports"]
    assert port["targetPort"] == opened["name"]
    assert str(opened["containerPort"]) == str(port["port"]) == env_of(manifests)["FLOWER_PORT"] == "5555"
    assert pod_of(manifests)["enableServiceLinks"] is False


SECRET_SERVICE = {"password": True, "username": "shop", "host": "redis"}


@pytest.mark.parametrize(
    ("keys", "broker", "expected"),
    [
        ({}, None, {"CELERY_BROKER_URL": "redis://redis:6379/0"}),
        ({}, SECRET_SERVICE, {"CELERY_BROKER_URL": ("shop-celery-broker", "url")}),
        ({}, {"host": "redis", "secret": {"name": "x", "url_key": "u"}}, {"CELERY_BROKER_URL": ("x", "u")}),
        ({}, {**RABBITMQ, "password": True}, {"FLOWER_BROKER_API": "http://rabbit:15672/api/"}),
        ({}, {**RABBITMQ, "tls": True}, {"FLOWER_BROKER_API": "https://rabbit:15671/api/"}),
        (
            {},
            {**RABBITMQ, "management": {"host": "api.rabbit", "port": 8080, "tls": False}},
            {"FLOWER_BROKER_API": "http://api.rabbit:8080/api/"},
        ),
        ({}, {"type": "rabbitmq", "secret": {"name": "x"}}, {"FLOWER_BROKER_API": None}),
        ({}, None, {"FLOWER_BROKER_API": None, "FLOWER_XHEADERS": None, "FLOWER_URL_PREFIX": None}),
        (
            {},
            None,
            {
                "FLOWER_READ_ONLY": "true",
                "FLOWER_MAX_TASKS": "10000",
                "FLOWER_MAX_WORKERS": "1000",
                "FLOWER_PURGE_OFFLINE_WORKERS": "300",
                "FLOWER_INSPECT_TIMEOUT": "1000",
            },
        ),
        (
            {"read_only": False, "max_tasks": 7, "max_workers": 8, "purge_offline_workers": 9, "inspect_timeout": 1.5},
            None,
            {
                "FLOWER_READ_ONLY": "false",
                "FLOWER_MAX_TASKS": "7",
                "FLOWER_MAX_WORKERS": "8",
                "FLOWER_PURGE_OFFLINE_WORKERS": "9",
                "FLOWER_INSPECT_TIMEOUT": "1500",
            },
        ),
        ({"runtime_buckets": [0.5, 60, 86400]}, None, {"FLOWER_TASK_RUNTIME_METRIC_BUCKETS": "0.5,60,86400"}),
        ({"url_prefix": "ops/flower"}, None, {"FLOWER_URL_PREFIX": "ops/flower"}),
        (INGRESS, None, {"FLOWER_XHEADERS": "true"}),
        (ROUTE, None, {"FLOWER_XHEADERS": "true"}),
        ({}, None, {"FLOWER_PERSISTENT": None, "FLOWER_DB": None, "FLOWER_STATE_SAVE_INTERVAL": None}),
        (
            {"persistence": {"save_seconds": 60}},
            None,
            {"FLOWER_PERSISTENT": "true", "FLOWER_DB": "/data/flower", "FLOWER_STATE_SAVE_INTERVAL": "60000"},
        ),
        (
            {"username": "ops"},
            None,
            {
                "FLOWER_BASIC_AUTH": "ops:$(CELERY_FLOWER_PASSWORD)",
                "CELERY_FLOWER_PASSWORD": ("flower-auth", "password"),
                "FLOWER_COOKIE_SECRET": ("flower-auth", "cookie_secret"),
            },
        ),
        (
            {"secret": {"name": "login", "password_key": "pw"}},
            None,
            # A login by password keeps no session, so there is none to sign.
            {"CELERY_FLOWER_PASSWORD": ("login", "pw"), "FLOWER_COOKIE_SECRET": None},
        ),
        (
            {"secret": {"name": "login", "cookie_secret_key": "c"}},
            None,
            {"FLOWER_COOKIE_SECRET": ("login", "c")},
        ),
        (
            {"oauth": OAUTH},
            None,
            {
                "FLOWER_AUTH_PROVIDER": "flower.views.auth.GoogleAuth2LoginHandler",
                "FLOWER_AUTH": ".*@example.org",
                "FLOWER_OAUTH2_KEY": "abc.apps.example",
                "FLOWER_OAUTH2_SECRET": ("flower-auth", "client_secret"),
                "FLOWER_OAUTH2_REDIRECT_URI": "https://flower.example.org/login",
                "FLOWER_BASIC_AUTH": None,
                "CELERY_FLOWER_PASSWORD": None,
            },
        ),
        (
            {"oauth": {**OAUTH, "client_secret": None}, "secret": {"name": "login", "client_secret_key": "cs"}},
            None,
            {"FLOWER_OAUTH2_SECRET": ("login", "cs")},
        ),
        (
            {"oauth": {**OAUTH, "provider": "github", "domain": "git.example.org"}},
            None,
            {"FLOWER_GITHUB_OAUTH_DOMAIN": "git.example.org"},
        ),
        (
            {
                "oauth": {
                    **OAUTH,
                    "provider": "gitlab",
                    "domain": "git.example.org",
                    "gitlab_groups": ["shop/ops", "a"],
                }
            },
            None,
            {
                "FLOWER_GITLAB_OAUTH_DOMAIN": "git.example.org",
                "FLOWER_GITLAB_AUTH_ALLOWED_GROUPS": "shop/ops,a",
            },
        ),
        (
            {"oauth": {**OAUTH, "provider": "okta", "base_url": "https://example.okta.com/oauth2"}},
            None,
            {"FLOWER_OAUTH2_OKTA_BASE_URL": "https://example.okta.com/oauth2"},
        ),
        ({"env": {"TZ": "Europe/Berlin"}}, None, {"TZ": "Europe/Berlin"}),
    ],
)
def test_the_environment_follows_the_keys(keys: dict[str, Any], broker: Any, expected: dict[str, Any]) -> None:
    found = env_of(flower_with(keys, broker=broker))
    assert {name: found.get(name) for name in expected} == expected


#: Keys of Flower that together set all of its environment.
EVERY_LOGIN: list[dict[str, Any]] = [
    {**INGRESS, "persistence": True, "url_prefix": "flower"},
    {"oauth": {**OAUTH, "provider": "github", "domain": "git.example.org"}},
    {"oauth": {**OAUTH, "provider": "gitlab", "domain": "git.example.org", "gitlab_groups": ["a"]}},
    {"oauth": {**OAUTH, "provider": "okta", "base_url": "https://example.okta.com/oauth2"}},
    {"oauth": OAUTH},
]


@pytest.mark.parametrize("keys", EVERY_LOGIN)
def test_every_variable_of_the_environment_is_one_that_flower_reads_and_takes(keys: dict[str, Any]) -> None:
    source = Path(auth.__file__).read_text(encoding="utf-8")
    for name, value in env_of(flower_with(keys, broker=RABBITMQ)).items():
        if not name.startswith("FLOWER_") or f'"{name}"' in source or f"'{name}'" in source:
            continue
        option = default_options._options[name.removeprefix("FLOWER_").lower().replace("_", "-")]
        if isinstance(value, str):
            # As flower.command.apply_env_options reads it.
            words = value.split(",") if option.multiple else [value]
            assert value in ("true", "false") if option.type is bool else [option.type(word) for word in words]
    api = env_of(flower_with(keys, broker=RABBITMQ))["FLOWER_BROKER_API"]
    validate_broker_api(api)


@pytest.mark.parametrize("keys", EVERY_LOGIN[1:])
def test_the_login_handler_of_every_provider_is_one_that_flower_has(keys: dict[str, Any]) -> None:
    name = env_of(flower_with(keys))["FLOWER_AUTH_PROVIDER"]
    assert name.rpartition(".")[0] == auth.__name__
    assert issubclass(getattr(auth, name.rpartition(".")[2]), auth.BaseHandler)


def test_the_app_is_named_before_the_command_and_arguments_after_it() -> None:
    plain = container_of(flower_with({"extra_params": ["--natural_time=true"]}))
    assert plain["args"] == ["celery", "flower", "--natural_time=true"]
    with_app = container_of(flower_with({"app": "billing.celery:app"}, broker={**SENTINEL}))
    assert with_app["args"] == ["celery", "--app=billing.celery:app", "flower"]


def test_who_brings_the_app_gets_no_settings_but_the_apps_own() -> None:
    manifests = flower_with({"app": "billing.celery"}, broker=SENTINEL)
    assert of_kind(manifests, "ConfigMap") == []
    assert "CELERY_CONFIG_MODULE" not in env_of(manifests)


@pytest.mark.parametrize("prefix", ["", "ops", "ops/flower"])
def test_probes_and_address_follow_the_prefix(prefix: str) -> None:
    keys = {**INGRESS, **({"url_prefix": prefix} if prefix else {})}
    start = f"/{prefix}" if prefix else ""
    container = container_of(flower_with(keys))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": f"{start}/healthcheck", "port": "http"}
    (row,) = flower_table(fleet_of(**watched("flower", flower=keys)))
    assert row["address"] == f"https://flower.example.org{start}/"


# What is reachable from outside.


def pages() -> list[str]:
    """A path of each of Flower's pages, as its own list of handlers has them."""
    found = []
    for handler in urls.handlers:
        pattern = handler.regex.pattern.removesuffix("$") if hasattr(handler, "regex") else handler[0]
        if pattern != ".*":
            found.append(re.sub(r"\(\.[+*]\)", "some.name", pattern.replace("/?", "")))
    return found


HIDDEN = ("/metrics", "/healthcheck")


def from_ingress(keys: dict[str, Any]) -> Callable[[str], bool]:
    ingress = one_of(flower_with({**INGRESS, **keys}), "Ingress")
    return lambda path: reaches(ingress, path)


def from_route(keys: dict[str, Any]) -> Callable[[str], bool]:
    route = one_of(flower_with({**ROUTE, **keys}), "HTTPRoute")
    return lambda path: route_reaches(route, path)


@pytest.mark.parametrize("prefix", ["", "ops", "ops/flower"])
@pytest.mark.parametrize("outside", [from_ingress, from_route])
def test_every_page_is_reached_from_outside_and_neither_metrics_nor_health_check(
    outside: Callable[[dict[str, Any]], Callable[[str], bool]], prefix: str
) -> None:
    reached = outside({"url_prefix": prefix} if prefix else {})
    start = f"/{prefix}" if prefix else ""
    found = pages()
    assert len(found) > 25
    assert set(HIDDEN) <= set(found)
    for page in found:
        assert reached(f"{start}{page}") is (page not in HIDDEN), page
    for hidden in HIDDEN:
        for path in (f"{start}{hidden}/", f"{start}{hidden}/x", hidden, f"{start}/metricsandmore"):
            assert not reached(path), path
    assert reached(f"{start}/")
    assert reached(start or "/")
    assert reached(f"{start}/login/")
    if prefix:
        for page in ("/", *found):
            assert not reached(page), page


def test_a_rule_of_a_route_has_no_more_matches_than_every_release_of_its_api_takes() -> None:
    rules = one_of(flower_with({**ROUTE, "url_prefix": "ops"}), "HTTPRoute")["spec"]["rules"]
    assert max(len(rule["matches"]) for rule in rules) <= 8


def test_an_ingress_leads_to_the_service_by_its_port_and_has_tls_unless_told_otherwise() -> None:
    manifests = flower_with(
        {"ingress": {"host": "flower.example.org", "class_name": "nginx", "annotations": {"a": "b"}}}
    )
    ingress = one_of(manifests, "Ingress")
    service = one_of(manifests, "Service")
    backends = [item["backend"]["service"] for item in ingress["spec"]["rules"][0]["http"]["paths"]]
    assert {item["name"] for item in backends} == {service["metadata"]["name"]}
    assert {item["port"]["name"] for item in backends} == {service["spec"]["ports"][0]["name"]}
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["flower.example.org"], "secretName": "flower-tls"}]
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    plain = one_of(flower_with({"ingress": {"host": "flower.example.org", "tls": False}}), "Ingress")
    assert "tls" not in plain["spec"]


def test_a_route_belongs_to_a_listener_with_tls_and_leads_to_the_service() -> None:
    keys = {"http_route": {**ROUTE["http_route"], "gateway_namespace": "edge", "annotations": {"a": "b"}}}
    route = one_of(flower_with(keys), "HTTPRoute")
    (parent,) = route["spec"]["parentRefs"]
    assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("edge", "public", "https")
    assert route["spec"]["hostnames"] == ["flower.example.org"]
    backends = [item for rule in route["spec"]["rules"] for item in rule["backendRefs"]]
    assert {(item["kind"], item["name"], item["port"]) for item in backends} == {("Service", "flower", 5555)}
    assert route["metadata"]["annotations"] == {"a": "b"}
    (parent,) = one_of(flower_with(ROUTE), "HTTPRoute")["spec"]["parentRefs"]
    assert "namespace" not in parent


def test_several_flowers_have_hosts_and_certificates_of_their_own() -> None:
    keys = {"ingress": {"host": "flower.example.org", "tls_secret": "mine"}, **ROUTE}
    variables = services_with({"a": None, "b": OWN}, enabled=("flower",), flower=keys)
    manifests = watching_of(fleet_of(**variables))
    tls = [item["spec"]["tls"][0] for item in of_kind(manifests, "Ingress")]
    assert tls == [
        {"hosts": ["flower.example.org"], "secretName": "mine"},
        {"hosts": ["b-flower.flower.example.org"], "secretName": "b-flower-tls"},
    ]
    hosts = [item["spec"]["hostnames"] for item in of_kind(manifests, "HTTPRoute")]
    assert hosts == [["flower.example.org"], ["b-flower.flower.example.org"]]
    assert [row["address"] for row in flower_table(fleet_of(**variables))] == [
        "https://flower.example.org/",
        "https://b-flower.flower.example.org/",
    ]


def test_a_cluster_without_the_gateway_api_gets_no_route_and_everything_else() -> None:
    found = flower_with(ROUTE, Observed(missing_kinds=("HTTPRoute",)))
    assert [item["kind"] for item in found] == ["Deployment", "Service"]


@pytest.mark.parametrize(
    ("keys", "address", "login"),
    [
        ({}, "http://flower.shop.svc:5555/", "user flower, password in Secret flower-auth, key password"),
        (
            {"secret": {"name": "login", "password_key": "pw"}, "username": "ops", "url_prefix": "x"},
            "http://flower.shop.svc:5555/x/",
            "user ops, password in Secret login, key pw",
        ),
        (
            {"ingress": {"host": "flower.example.org", "tls": False}},
            "http://flower.example.org/",
            "user flower, password in Secret flower-auth, key password",
        ),
        ({**ROUTE, "oauth": OAUTH}, "https://flower.example.org/", "google, .*@example.org"),
    ],
)
def test_people_are_told_where_flower_is_and_how_they_get_in(keys: dict[str, Any], address: str, login: str) -> None:
    assert flower_table(fleet_of(**watched("flower", flower=keys))) == [
        {"name": "flower", "services": ["billing"], "address": address, "login": login}
    ]


# Settings for brokers of which a URL does not say everything.

SETTINGS: list[tuple[dict[str, Any], dict[str, Any], Any]] = [
    (SENTINEL, {"master_name": "main"}, None),
    (
        {**SENTINEL, "sentinel_username": "reader", "sentinel_password": True},
        {"master_name": "main", "sentinel_kwargs": {"username": "reader", "password": "hunter2"}},
        None,
    ),
    (
        {**SENTINEL, "sentinel_password": True},
        {"master_name": "main", "sentinel_kwargs": {"password": "hunter2"}},
        None,
    ),
    ({"host": "redis", "global_keyprefix": "shop:"}, {"global_keyprefix": "shop:"}, None),
    (
        {"host": "redis", "priority_steps": [0, 5], "sep": ":", "transport_options": {"visibility_timeout": 60}},
        {"priority_steps": [0, 5], "sep": ":", "visibility_timeout": 60},
        None,
    ),
    (
        {"host": "redis", "tls": {"ca_secret": "ca", "certificate_secret": "client"}},
        {},
        {
            "ssl_ca_certs": "/celery-broker-tls/ca.crt",
            "ssl_certfile": "/celery-broker-tls/tls.crt",
            "ssl_keyfile": "/celery-broker-tls/tls.key",
            "ssl_cert_reqs": "required",
        },
    ),
    ({"host": "redis", "tls": {"insecure_skip_verify": True}}, {}, {"ssl_cert_reqs": "none"}),
    (
        {**RABBITMQ, "tls": {"ca_secret": "ca"}},
        {},
        {"ca_certs": "/celery-broker-tls/ca.crt", "cert_reqs": 2},
    ),
]

READ = """
import json
from celery import current_app
settings = current_app.conf
print(json.dumps([settings.broker_transport_options, settings.broker_use_ssl or None, settings.broker_url]))
"""


@pytest.mark.parametrize(("broker", "options", "ssl"), SETTINGS)
def test_celery_reads_of_the_settings_file_how_to_reach_the_broker(
    broker: dict[str, Any], options: dict[str, Any], ssl: Any, tmp_path: Path
) -> None:
    """By Flower's own environment: the name of the module, where it is, and what the Secrets hold."""
    manifests = flower_with(broker=broker)
    files = one_of(manifests, "ConfigMap")
    for name, text in files["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = env_of(manifests)
    (mount,) = [item for item in container_of(manifests)["volumeMounts"] if item["name"] == "settings"]
    assert found["PYTHONPATH"] == mount["mountPath"]
    (volume,) = [item for item in pod_of(manifests)["volumes"] if item["name"] == "settings"]
    assert volume["configMap"]["name"] == files["metadata"]["name"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "PYTHON"))}
    env = {name: value if isinstance(value, str) else "hunter2" for name, value in found.items()}
    said = subprocess.run(
        [sys.executable, "-c", READ],
        env={**kept, **env, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(said.stdout) == [options, ssl, env["CELERY_BROKER_URL"]]
    assert "hunter2" not in str(manifests)


@pytest.mark.parametrize("broker", [{"host": "redis"}, RABBITMQ, {"host": "redis", "password": True}])
def test_a_broker_of_which_the_url_says_everything_needs_no_settings_file(broker: dict[str, Any]) -> None:
    manifests = flower_with(broker=broker)
    assert of_kind(manifests, "ConfigMap") == []
    assert not {"CELERY_CONFIG_MODULE", "PYTHONPATH"} & set(env_of(manifests))


def annotations_of(manifests: list[Manifest]) -> dict[str, str]:
    found: dict[str, str] = one_of(manifests, "Deployment")["spec"]["template"]["metadata"].get("annotations", {})
    return found


def test_the_pod_rolls_when_its_settings_change_and_only_then() -> None:
    one, same, other = (
        annotations_of(flower_with(keys, broker={"host": "redis", "global_keyprefix": prefix}))
        for keys, prefix in (({}, "a"), ({"labels": {"a": "b"}}, "a"), ({}, "b"))
    )
    assert one == same
    assert one["celery.queueops.io/config-hash"] != other["celery.queueops.io/config-hash"]


@pytest.mark.parametrize(
    ("keys", "broker", "secret"),
    [
        ({}, None, "flower-auth"),
        ({}, {"host": "redis", "password": True}, "shop-celery-broker"),
        ({}, {**SENTINEL, "sentinel_password": True}, "shop-celery-broker"),
    ],
)
def test_the_pod_rolls_when_a_secret_of_ours_changes(keys: dict[str, Any], broker: Any, secret: str) -> None:
    def with_version(version: str) -> dict[str, str]:
        live = ObservedObject("Secret", secret, ownership_labels("shop"), resource_version=version)
        return annotations_of(flower_with(keys, Observed((live,)), broker=broker))

    assert with_version("1") != with_version("2")
    assert with_version("1") == with_version("1")


def test_certificates_are_mounted_where_the_settings_name_them() -> None:
    manifests = flower_with(broker={"host": "redis", "tls": {"ca_secret": "ca", "ca_key": "root.pem"}})
    (volume,) = [item for item in pod_of(manifests)["volumes"] if "projected" in item]
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "ca", "items": [{"key": "root.pem", "path": "ca.crt"}]}}
    ]
    mounts = {item["name"]: item["mountPath"] for item in container_of(manifests)["volumeMounts"]}
    assert f"{mounts[volume['name']]}/ca.crt" in one_of(manifests, "ConfigMap")["data"]["flower_celery.py"]


# The pod, and what is beside it.


def test_the_list_of_tasks_is_kept_on_a_claim_if_wanted() -> None:
    keys = {"persistence": {"size": "5Gi", "storage_class": "fast", "access_mode": "ReadWriteMany"}}
    manifests = flower_with(keys)
    claim = one_of(manifests, "PersistentVolumeClaim")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }
    assert folder_of(manifests, "/data") == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    mine = flower_with({"persistence": {"existing_claim": "mine"}})
    assert of_kind(mine, "PersistentVolumeClaim") == []
    assert folder_of(mine, "/data") == {"persistentVolumeClaim": {"claimName": "mine"}}
    assert folder_of(flower_with(), "/data") == {"emptyDir": {}}


def folder_of(manifests: list[Manifest], path: str) -> Manifest:
    """What is mounted at a path, without the name of its volume."""
    (mount,) = [item for item in container_of(manifests)["volumeMounts"] if item["mountPath"] == path]
    (volume,) = [item for item in pod_of(manifests)["volumes"] if item["name"] == mount["name"]]
    assert not mount.get("readOnly")
    return {key: value for key, value in volume.items() if key != "name"}


def test_the_database_lies_in_a_folder_that_flower_may_write_to() -> None:
    manifests = flower_with({"persistence": True})
    assert folder_of(manifests, env_of(manifests)["FLOWER_DB"].rpartition("/")[0])


def test_there_is_never_a_second_flower_on_the_same_broker() -> None:
    spec = one_of(flower_with({"persistence": True}), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_the_pod_is_one_that_pod_security_restricted_admits_and_writes_to_its_folders_only() -> None:
    manifests = flower_with()
    pod, container = pod_of(manifests), container_of(manifests)
    security = container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert {item["mountPath"] for item in container["volumeMounts"]} == {"/data", "/tmp"}
    assert pod["automountServiceAccountToken"] is False
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_keys_of_the_pod_go_over_what_it_has_by_itself() -> None:
    keys = {
        "image": "registry.example/flower:1",
        "image_pull_policy": "Always",
        "image_pull_secrets": ["registry"],
        "resources": {"limits": {"memory": "1Gi"}},
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "ops", "operator": "Exists"}],
        "priority_class_name": "low",
        "service_account_name": "flower",
        "labels": {"team": "a"},
        "annotations": {"note": "b"},
        "pod_labels": {"team": "c"},
        "pod_annotations": {"note": "d"},
        "security_context": {"runAsUser": 7},
        "container_security_context": {"readOnlyRootFilesystem": False},
        "pod_overrides": {"dnsPolicy": "Default", "containers": [{"name": "flower", "tty": True}]},
    }
    manifests = flower_with(keys)
    deployment, pod, container = one_of(manifests, "Deployment"), pod_of(manifests), container_of(manifests)
    template = deployment["spec"]["template"]["metadata"]
    assert (container["image"], container["imagePullPolicy"]) == ("registry.example/flower:1", "Always")
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "ops", "operator": "Exists"}]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("low", "flower")
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (7, True)
    assert container["securityContext"]["readOnlyRootFilesystem"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert (pod["dnsPolicy"], container["tty"]) == ("Default", True)
    assert {item["metadata"]["labels"]["team"] for item in manifests} == {"a"}
    assert deployment["metadata"]["annotations"] == {"note": "b"}
    assert (template["labels"]["team"], template["annotations"]["note"]) == ("c", "d")


def test_a_network_policy_lets_in_the_own_namespace_and_who_is_named_to_the_one_port() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    manifests = flower_with({"network_policy": {"allow_from": [peer]}})
    policy = one_of(manifests, "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"from": [{"podSelector": {}}, peer], "ports": [{"protocol": "TCP", "port": 5555}]}]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["podSelector"] == one_of(manifests, "Deployment")["spec"]["selector"]
    (alone,) = one_of(flower_with({"network_policy": True}), "NetworkPolicy")["spec"]["ingress"]
    assert alone["from"] == [{"podSelector": {}}]


def test_a_deployment_that_is_taken_over_keeps_its_selector_and_everything_follows_it() -> None:
    theirs = {"app": "flower", "release": "old"}
    live = ObservedObject("Deployment", "flower", labels={"app.kubernetes.io/name": "theirs"}, selector=theirs)
    keys: dict[str, Any] = {"network_policy": {"allow_from": [{"podSelector": {}}]}}
    manifests = flower_with(keys, Observed((live,)), take_over=True)
    deployment = one_of(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == theirs
    assert theirs.items() <= labels.items()
    assert {"celery.queueops.io/fleet": "shop", "celery.queueops.io/component": "flower"}.items() <= labels.items()
    assert one_of(manifests, "Service")["spec"]["selector"] == theirs
    assert one_of(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == theirs
    assert deployment["metadata"]["labels"]["app.kubernetes.io/name"] == "theirs"


@pytest.mark.parametrize("keys", [{}, {"oauth": OAUTH}, {"secret": {"name": "login"}}])
@pytest.mark.parametrize(
    "broker",
    [
        {"host": "redis", "username": "shop", "password": True},
        {**SENTINEL, "password": True, "sentinel_password": True},
        {**RABBITMQ, "username": "shop", "password": True},
    ],
)
def test_every_credential_is_a_reference_to_a_secret_and_none_is_optional_but_the_session_secret(
    keys: dict[str, Any], broker: dict[str, Any]
) -> None:
    manifests = flower_with(keys, broker=broker)
    wanted = ("_URL", "_SECRET", "_PASSWORD")
    for entry in container_of(manifests)["env"]:
        if entry["name"].endswith(wanted):
            reference = entry["valueFrom"]["secretKeyRef"]
            assert bool(reference.get("optional")) is (entry["name"] == "FLOWER_COOKIE_SECRET")
    assert not of_kind(manifests, "Secret")


def test_the_password_stands_before_the_login_that_names_it_or_kubernetes_would_leave_the_name_there() -> None:
    names = [entry["name"] for entry in container_of(flower_with({"env": {"TZ": "UTC"}}))["env"]]
    assert names.index("CELERY_FLOWER_PASSWORD") < names.index("FLOWER_BASIC_AUTH")


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "BROKER_URL", "FLOWER_BROKER"])
def test_flower_listens_to_no_other_broker_than_the_fleets(name: str) -> None:
    (problem,) = problems_of(
        **one_variant(), flower={"env": [{"name": name, "value": "redis://other/0"}]}, enabled=("flower",)
    )
    assert problem == (
        f"celery_workers_flower.env: {name} is refused: the broker is the fleet's; set celery_workers_broker."
    )
