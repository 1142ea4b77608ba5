# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches a fleet and could not work is refused before anything is sent, with its place and the mend."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import ALERTS, PARTS
from flower.utils.authentication import validate_auth_option

from tests.unit.inventories import fleet_of, one_variant, problems_of
from tests.unit.watching import INGRESS, OAUTH, RABBITMQ, ROUTE, SENTINEL, SQS, services_with, watched, watching_of

FLOWER = "celery_workers_flower"
EXPORTER = "celery_workers_exporter"
SHUT_OUT = (
    "the policy would keep out your ingress controller and Prometheus; name their namespaces: "
    "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]."
)
TWO_SECRETS = "secret names an existing Secret and password makes one; write one of them."
UNREAD_COOKIE = "nothing would read it here; leave it out, or take secret.cookie_secret_key out and log in with oauth."
SECRET_ENV = (
    "looks like a secret, and anyone who can read Deployments would see it; take it from an existing Secret: "
    "{name: …, valueFrom: {secretKeyRef: {name: …, key: …}}}. Or accept it with accept_risks: [plain-secret] if it is "
    "none."
)


def without(name: str) -> dict[str, Any]:
    return {"oauth": {key: value for key, value in OAUTH.items() if key != name}}


#: Keys of Flower, the only problem that they are.
REFUSED: list[tuple[dict[str, Any], str]] = [
    (without("provider"), f"{FLOWER}.oauth.provider: it is needed; write one of google, github, gitlab, okta."),
    (without("client_id"), f"{FLOWER}.oauth.client_id: it is needed; write the id that the provider gave."),
    (without("redirect_uri"), f"{FLOWER}.oauth.redirect_uri: it is needed; write https://<host>/login."),
    (without("allow"), f"{FLOWER}.oauth.allow: it is needed; write who may enter, for example .*@example.org."),
    (
        without("client_secret"),
        f"{FLOWER}.oauth.client_secret: it is needed; write it, or name an existing Secret with secret.",
    ),
    (
        {"oauth": OAUTH, "secret": {"name": "login"}},
        f"{FLOWER}.oauth.client_secret: it is set here, and secret names an existing Secret; write one of them.",
    ),
    (
        {"oauth": OAUTH, "password": True},
        f"{FLOWER}.password: people log in at the provider; leave password out, or oauth.",
    ),
    (
        {"oauth": {**OAUTH, "provider": "okta"}},
        f"{FLOWER}.oauth.base_url: name Okta's server, for example https://example.okta.com/oauth2.",
    ),
    (
        {"oauth": {**OAUTH, "domain": "git.example.org"}},
        f"{FLOWER}.oauth.domain: it belongs to github and gitlab; leave it out.",
    ),
    (
        {"oauth": {**OAUTH, "base_url": "https://example.okta.com/oauth2"}},
        f"{FLOWER}.oauth.base_url: it belongs to okta; leave it out.",
    ),
    (
        {"oauth": {**OAUTH, "provider": "github", "gitlab_groups": ["shop"]}},
        f"{FLOWER}.oauth.gitlab_groups: it belongs to gitlab; leave it out.",
    ),
    (
        {"oauth": {**OAUTH, "allow": ".*@example.org|me@example.com"}},
        f"{FLOWER}.oauth.allow: Flower takes one '*', or several addresses with '|' between them, not both.",
    ),
    ({"secret": {"name": "login"}, "password": True}, f"{FLOWER}.secret: {TWO_SECRETS}"),
    ({"secret": {"password_key": "pw"}}, f"{FLOWER}.secret: name the existing Secret."),
    (
        {"secret": {"name": "flower-auth"}},
        f"{FLOWER}.secret.name: flower-auth is the Secret that the role makes itself, and what is generated in it "
        "stays; leave secret out, or name another one.",
    ),
    ({"secret": {"name": "login"}, "cookie_secret": True}, f"{FLOWER}.cookie_secret: {UNREAD_COOKIE}"),
    (
        {
            "oauth": {**OAUTH, "client_secret": None},
            "secret": {"name": "login", "cookie_secret_key": "c"},
            "cookie_secret": True,
        },
        f"{FLOWER}.cookie_secret: {UNREAD_COOKIE}",
    ),
    ({"ingress": {}}, f"{FLOWER}.ingress.host: name the host, for example flower.example.org."),
    (
        {"http_route": {"gateway": "public"}},
        f"{FLOWER}.http_route.host: name the host, for example flower.example.org.",
    ),
    (
        {"http_route": {"host": "flower.example.org"}},
        f"{FLOWER}.http_route.gateway: name the Gateway that the route belongs to.",
    ),
    ({**INGRESS, "network_policy": True}, f"{FLOWER}.network_policy.allow_from: {SHUT_OUT}"),
    ({**ROUTE, "network_policy": {}}, f"{FLOWER}.network_policy.allow_from: {SHUT_OUT}"),
    ({"runtime_buckets": [1, 5, 2]}, f"{FLOWER}.runtime_buckets: write the bounds in ascending order."),
    ({"env": {"API_TOKEN": "x"}}, f"{FLOWER}.env: API_TOKEN {SECRET_ENV}"),
    ({"env": [{"name": "DATABASE", "value": "mysql://me:pw@mysql/x"}]}, f"{FLOWER}.env: DATABASE {SECRET_ENV}"),
    (
        {"env": {"API_TOKEN": 5}},
        f"{FLOWER}.env.API_TOKEN: this looks like a secret; take it from an existing Secret, with valueFrom.",
    ),
    ({"env": {"FLOWER_PORT": "80"}}, f"{FLOWER}.env: FLOWER_PORT is refused: the port is 5555."),
    (
        {"env": {"FLOWER_BASIC_AUTH": "me:pw"}},
        f"{FLOWER}.env: FLOWER_BASIC_AUTH is refused: set username and password.",
    ),
    (
        {"pod_overrides": {"containers": [{"name": "flower", "env": [{"name": "API_TOKEN", "value": "x"}]}]}},
        f"{FLOWER}.pod_overrides: API_TOKEN {SECRET_ENV}",
    ),
    (
        {"pod_overrides": {"containers": [{"name": "flower", "args": ["--debug"]}]}},
        f"{FLOWER}.pod_overrides: args of its container is ours; write extra_params instead.",
    ),
    (
        {"pod_overrides": {"containers": [{"name": "flower", "command": ["sh"]}]}},
        f"{FLOWER}.pod_overrides: command of its container is ours; write extra_params instead.",
    ),
    (
        {"name": "billing-worker"},
        "celery_workers_config.billing.default.name: variant default of service billing and flower of billing would "
        "share the Deployment 'billing-worker'; set name on one of them.",
    ),
    (
        {"name": "1flower"},
        f"{FLOWER}.name: '1flower' cannot be the name of a Service, which begins with a letter and has at most 63 "
        "characters; write another name.",
    ),
]


@pytest.mark.parametrize(("keys", "expected"), REFUSED, ids=[f"{n}-{sorted(row[0])}" for n, row in enumerate(REFUSED)])
def test_keys_of_flower_that_could_not_work_are_refused_with_the_mend(keys: dict[str, Any], expected: str) -> None:
    assert problems_of(**watched("flower", flower=keys)) == [expected]


@pytest.mark.parametrize("name", ["PYTHONPATH", "CELERY_CONFIG_MODULE"])
def test_environment_does_not_hide_the_settings_by_which_flower_reaches_its_broker(name: str) -> None:
    keys = {"env": {name: "/srv/own"}}
    assert problems_of(**watched("flower", flower=keys, broker={"host": "redis", "tls": True})) == [
        f"{FLOWER}.env: {name} would hide the settings by which flower reaches its broker; leave it out, or write app, "
        "whose own settings count."
    ]
    with_app = {**keys, "app": "shop.celery"}
    assert fleet_of(**watched("flower", flower=with_app, broker={"host": "redis", "tls": True})).monitoring.flowers
    assert fleet_of(**watched("flower", flower=keys)).monitoring.flowers, "nothing is hidden where there is none"


def test_two_flowers_do_not_share_one_claim() -> None:
    keys = {"persistence": {"existing_claim": "mine"}}
    two = {"billing": None, "search": RABBITMQ}
    assert problems_of(**services_with(two, enabled=("flower",), flower=keys)) == [
        f"{FLOWER}.persistence.existing_claim: flower and search-flower would write to one claim, each over the list "
        "of the other; leave it out, so that each gets a claim of its own."
    ]
    assert fleet_of(**services_with({"billing": None}, enabled=("flower",), flower=keys)).monitoring.flowers


@pytest.mark.parametrize("nobody", ["*@example.org", "me*@example.org", "example.org", "*"])
def test_an_address_by_which_flower_lets_nobody_in_is_refused(nobody: str) -> None:
    assert problems_of(**watched("flower", flower={"oauth": {**OAUTH, "allow": nobody}})) == [
        f"{FLOWER}.oauth.allow: {nobody!r} is not valid here; write one address, several with '|' between them, or "
        ".*@example.org."
    ]


@pytest.mark.parametrize(
    ("part", "keys", "expected"),
    [
        ("exporter", {"runtime_buckets": [2, 1]}, f"{EXPORTER}.runtime_buckets: write the bounds in ascending order."),
        ("exporter", {"env": {"API_TOKEN": "x"}}, f"{EXPORTER}.env: API_TOKEN {SECRET_ENV}"),
        ("exporter", {"env": {"CE_PORT": "80"}}, f"{EXPORTER}.env: CE_PORT is refused: the port is 9808."),
        (
            "exporter",
            {"env": {"CE_BROKER_TRANSPORT_OPTION": "a=b"}},
            f"{EXPORTER}.env: CE_BROKER_TRANSPORT_OPTION is refused: set transport_options on celery_workers_broker.",
        ),
        (
            "exporter",
            {"env": {"CE_RETRY_INTERVAL": "60"}},
            f"{EXPORTER}.env: CE_RETRY_INTERVAL has no effect, because the command line has --retry-interval; write it "
            "in extra_params.",
        ),
        (
            "exporter",
            {"pod_overrides": {"containers": [{"name": "exporter", "args": []}]}},
            f"{EXPORTER}.pod_overrides: args of its container is ours; write extra_params instead.",
        ),
        (
            "exporter",
            {"name": "billing-worker"},
            "celery_workers_config.billing.default.name: variant default of service billing and exporter of billing "
            "would share the Deployment 'billing-worker'; set name on one of them.",
        ),
        (
            "service_monitor",
            {},
            "celery_workers_service_monitor_enabled: there is nothing to scrape; write "
            "celery_workers_flower_enabled: true as well.",
        ),
    ],
)
def test_keys_of_the_other_parts_that_could_not_work_are_refused_with_the_mend(
    part: str, keys: dict[str, Any], expected: str
) -> None:
    assert problems_of(**watched(part, **{part: keys})) == [expected]


#: Words that somebody may write for Flower and for the exporter, and why they are refused.
FLOWER_WORDS = [
    ("--port=80", "--port is refused: the port is 5555."),
    ("--basic_auth=me:pw", "--basic-auth is refused: set username and password."),
    ("-basic-auth=me:pw", "--basic-auth is refused: set username and password."),
    ("--oauth2_secret=x", "--oauth2-secret is refused: set oauth; a command line shows secrets."),
    ("--cookie-secret=x", "--cookie-secret is refused: set cookie_secret; a command line shows secrets."),
    ("--url_prefix=x", "--url-prefix is refused: set url_prefix, which probes and monitors follow."),
    ("--read-only", "--read-only is refused: set read_only."),
    ("--conf=x.py", "--conf is refused: the settings are environment variables; set env."),
    ("debug", "'debug' is no argument; write --name=value."),
]
EXPORTER_WORDS = [
    ("--port=80", "--port is refused: the port is 9808."),
    (
        "--broker-url=redis://redis",
        "--broker-url is refused: the broker is the fleet's; set celery_workers_broker.",
    ),
    ("--buckets=1", "--buckets is refused: set runtime_buckets."),
    (
        "--metric-prefix=x",
        "--metric-prefix is refused: dashboard and alerts know the names that begin with celery_.",
    ),
    ("1", "'1' is no argument; write --name=value."),
    ("-Q=celery", "-Q is refused: the queues are those of the variants."),
    (
        "--broker-transport-option=a=b",
        "--broker-transport-option is refused: set transport_options on celery_workers_broker.",
    ),
    ("--broker-ssl-option=a=b", "--broker-ssl-option is refused: set tls on celery_workers_broker."),
]


@pytest.mark.parametrize(
    ("part", "word", "message"),
    [*(("flower", *row) for row in FLOWER_WORDS), *(("exporter", *row) for row in EXPORTER_WORDS)],
)
def test_an_argument_that_has_a_key_of_its_own_is_refused(part: str, word: str, message: str) -> None:
    assert problems_of(**watched(part, **{part: {"extra_params": [word]}})) == [
        f"celery_workers_{part}.extra_params: {message}"
    ]


@pytest.mark.parametrize(
    ("part", "word"), [("flower", "--natural_time=true"), ("flower", "--debug"), ("exporter", "--log-level=DEBUG")]
)
def test_any_other_argument_is_taken(part: str, word: str) -> None:
    found = watching_of(fleet_of(**watched(part, **{part: {"extra_params": [word]}})))
    assert found[0]["spec"]["template"]["spec"]["containers"][0]["args"][-1] == word


@pytest.mark.parametrize("part", ["flower", "exporter"])
@pytest.mark.parametrize(
    ("broker", "message"),
    [
        (SQS, "SQS has neither events nor remote control, so there is nothing to show; leave it out."),
        ({}, "no broker is known, and it listens to one; write celery_workers_broker."),
    ],
)
def test_a_broker_that_nothing_can_listen_to_is_refused(part: str, broker: dict[str, Any], message: str) -> None:
    assert problems_of(**watched(part, broker=broker)) == [f"celery_workers_{part}_enabled: {message}"]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("extra_params", ["--log-level=DEBUG"]),
        ("extra_params", ["--log-level=trace"]),
        ("env", {"CE_LOG_LEVEL": "DEBUG"}),
    ],
)
def test_an_exporter_that_would_log_the_password_of_the_sentinels_is_refused(key: str, written: Any) -> None:
    keys = {key: written}
    word = written[0] if key == "extra_params" else "CE_LOG_LEVEL=DEBUG"
    assert problems_of(**watched("exporter", exporter=keys, broker={**SENTINEL, "sentinel_password": True})) == [
        f"{EXPORTER}.{key}: with {word} the exporter writes the password of the sentinels to its log; write INFO."
    ]
    assert watching_of(fleet_of(**watched("exporter", exporter=keys, broker=SENTINEL)))


ACCEPT = "Or accept it with accept_risks: [version]."
READ_ONLY = (
    "ignores read_only, so everyone who logs in could revoke tasks and stop workers; write Flower 2.1 or later, or "
    "read_only: false."
)


@pytest.mark.parametrize(
    ("part", "keys", "key", "message"),
    [
        (
            "flower",
            {"image": "mher/flower:1.2.0"},
            "image",
            "Flower 1.2.0 does not know the options that this role sets; write Flower 2.1 or later.",
        ),
        (
            "flower",
            {"image": f"registry.example:5000/mirror/flower:0.9.7@sha256:{'ab' * 32}"},
            "image",
            "Flower 0.9.7 does not know the options that this role sets; write Flower 2.1 or later.",
        ),
        ("flower", {"image": "docker.io/mher/flower:2.0.1"}, "image", f"Flower 2.0.1 {READ_ONLY}"),
        ("flower", {"image": "mher/flower:v2.0-alpine"}, "image", f"Flower 2.0 {READ_ONLY}"),
        (
            "exporter",
            {"image": "danihodovic/celery-exporter:0.9.1"},
            "image",
            "celery-exporter 0.9.1 does not know the arguments that this role sets; write 0.10 or later.",
        ),
        (
            "exporter",
            {"image": "danihodovic/celery-exporter:0.10.13", "extra_params": ["--static-label=a=b"]},
            "extra_params",
            "--static-label needs 0.11, and celery-exporter 0.10.13 would not start with it; leave it out.",
        ),
        (
            "exporter",
            {"extra_params": ["--queue-wait-buckets=1,2"]},
            "extra_params",
            "--queue-wait-buckets needs a release after 0.12.2, and celery-exporter 0.12.2 would not start with it; "
            "leave it out.",
        ),
    ],
)
def test_an_image_that_is_too_old_for_what_it_is_told_is_refused_unless_the_risk_is_accepted(
    part: str, keys: dict[str, Any], key: str, message: str
) -> None:
    variables = watched(part, **{part: keys})
    assert problems_of(**variables) == [f"celery_workers_{part}.{key}: {message} {ACCEPT}"]
    variables["config"] = {"billing": {"default": {"accept_risks": ["version"]}}}
    assert watching_of(fleet_of(**variables))


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("flower", {"image": "mher/flower:2.0.1", "read_only": False}),
        ("flower", {"image": "mher/flower:2"}),
        ("flower", {"image": "registry.example/flower:1"}),
        ("flower", {"image": "mher/flower:2.1.0"}),
        ("flower", {"image": "mher/flower"}),
        ("flower", {"image": "mher/flower:latest"}),
        ("flower", {"image": f"mher/flower@sha256:{'ab' * 32}"}),
        # The version of an image with another name is its own.
        ("flower", {"image": "registry.example/shop/billing-flower:1.4.2"}),
        ("exporter", {"image": "ghcr.io/danihodovic/celery-exporter:0.11", "extra_params": ["--static-label=a=b"]}),
        ("exporter", {"image": "danihodovic/celery-exporter:0.13.0", "extra_params": ["--queue-wait-buckets=1"]}),
    ],
)
def test_any_other_image_is_taken(part: str, keys: dict[str, Any]) -> None:
    found = watching_of(fleet_of(**watched(part, **{part: keys})))
    assert found[0]["spec"]["template"]["spec"]["containers"][0]["image"] == keys["image"]


@pytest.mark.parametrize("part", ["flower", "exporter"])
def test_the_image_names_its_registry(part: str) -> None:
    found = watching_of(fleet_of(**watched(part)))
    assert found[0]["spec"]["template"]["spec"]["containers"][0]["image"].startswith("docker.io/")


def test_a_scraped_flower_behind_a_policy_must_name_who_scrapes_it() -> None:
    closed = {"network_policy": True}
    assert problems_of(**watched("flower", "service_monitor", flower=closed)) == [
        f"{FLOWER}.network_policy.allow_from: {SHUT_OUT}"
    ]
    assert watching_of(fleet_of(**watched("flower", flower=closed)))
    opened = {"network_policy": {"allow_from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}}
    assert watching_of(fleet_of(**watched("flower", "service_monitor", flower=opened)))


@pytest.mark.parametrize(
    ("keys", "generated", "instead"),
    [
        ({}, "password", "name an existing Secret with secret"),
        ({"cookie_secret": True}, "password", "name an existing Secret with secret"),
        ({"oauth": OAUTH}, "cookie_secret", "name an existing Secret with secret"),
        (
            {
                "oauth": {key: value for key, value in OAUTH.items() if key != "client_secret"},
                "secret": {"name": "login"},
            },
            "cookie_secret",
            "name its key in secret",
        ),
    ],
)
def test_manifest_files_want_every_credential_given_because_nothing_keeps_one_that_is_generated(
    keys: dict[str, Any], generated: str, instead: str
) -> None:
    variables = watched("flower", flower=keys)
    assert problems_of(**variables, output="manifests") == [
        f"{FLOWER}.{generated}: manifest files cannot keep a {generated} that is generated; write one, or {instead}."
    ]
    assert watching_of(fleet_of(**variables, output="cluster"))


@pytest.mark.parametrize(
    "keys",
    [
        {"password": True},
        {"secret": {"name": "login"}},
        {"oauth": OAUTH, "cookie_secret": True},
        {
            "oauth": {key: value for key, value in OAUTH.items() if key != "client_secret"},
            "secret": {"name": "login", "cookie_secret_key": "c"},
        },
    ],
)
def test_manifest_files_are_written_once_every_credential_is_given(keys: dict[str, Any]) -> None:
    assert watching_of(fleet_of(**watched("flower", flower=keys), output="manifests"))


#: Keys of each part that only their rules refuse, and those that the part does not have.
WRONG_TOGETHER: dict[str, dict[str, Any]] = {
    "flower": {"oauth": {}, "ingress": {}, "extra_params": ["x"], "runtime_buckets": [2, 1], "env": {"TOKEN": "x"}},
    "exporter": {"extra_params": ["x"], "runtime_buckets": [2, 1]},
    "service_monitor": {"interval": "30s", "scrape_timeout": "1m"},
}


@pytest.mark.parametrize("part", WRONG_TOGETHER)
def test_a_part_that_is_switched_off_may_hold_keys_that_do_not_go_together(part: str) -> None:
    assert watching_of(fleet_of(**watched(**{part: WRONG_TOGETHER[part]}))) == []
    assert problems_of(**watched(part, **{part: WRONG_TOGETHER[part]}))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("on", [False, True])
def test_a_key_that_a_part_does_not_have_is_refused_whether_it_is_on_or_off(part: str, on: bool) -> None:
    others = ("flower",) if part == "service_monitor" else ()
    variables = watched(*((part, *others) if on else ()), **{part: {"lables": {"a": "b"}}})
    (problem,) = problems_of(**variables)
    assert problem == f"celery_workers_{part}.lables: celery_workers_{part} has no 'lables'; did you mean 'labels'?"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_a_dict_of_keys(part: str) -> None:
    assert problems_of(**watched(**{part: "yes"})) == [
        f"celery_workers_{part}: this is not a dict; write keys and values under it."
    ]


@pytest.mark.parametrize("on", [False, True])
def test_a_wrong_alert_and_its_wrong_severity_are_named_together(on: bool) -> None:
    path = "celery_workers_prometheus_rule.severities.CeleryTasksFails"
    parts = ("prometheus_rule",) if on else ()
    assert problems_of(**watched(*parts, prometheus_rule={"severities": {"CeleryTasksFails": "loud"}})) == [
        f"{path}: 'loud' is not valid here; write one of critical, warning, info, none.",
        f"{path}: there is no alert of that name; write one of {', '.join(ALERTS)}.",
    ]


def test_every_problem_of_every_part_comes_at_once() -> None:
    found = problems_of(
        **one_variant({"max_replicas": 0}),
        enabled=PARTS,
        flower={"ingress": {}, "extra_params": ["--port=1"], "max_tasks": 0},
        exporter={"worker_timeout": "soon"},
        service_monitor={"interval": "often"},
        prometheus_rule={"severities": {"CeleryNothing": "info"}},
        dashboard={"delivery": "pigeon"},
    )
    assert {problem.partition(": ")[0] for problem in found} == {
        "celery_workers_config.billing.default.max_replicas",
        f"{FLOWER}.ingress.host",
        f"{FLOWER}.extra_params",
        f"{FLOWER}.max_tasks",
        f"{EXPORTER}.worker_timeout",
        "celery_workers_service_monitor.interval",
        "celery_workers_prometheus_rule.severities.CeleryNothing",
        "celery_workers_dashboard.delivery",
    }


def test_layers_of_a_part_are_merged_by_their_numbers_and_a_null_takes_the_default_back() -> None:
    fleet = fleet_of(
        **watched("flower", flower={"max_tasks": 10, "max_workers": 20, "labels": {"a": "1"}}),
        flower__90_host={"max_tasks": 30, "max_workers": None},
        flower__10_all={"max_tasks": 40, "labels": {"b": "2"}, "read_only": False},
    )
    flower = fleet.monitoring.flower
    assert flower is not None
    assert (flower.max_tasks, flower.max_workers, flower.read_only) == (30, 1000, False)
    assert fleet.monitoring.flowers[0].pod.labels == {"a": "1", "b": "2"}


def test_a_problem_of_a_layer_names_the_layer() -> None:
    variables = watched("flower", flower__50_campus={"ingress": {"tls": True}})
    assert problems_of(**variables) == [
        "celery_workers_flower__50_campus.ingress.host: name the host, for example flower.example.org."
    ]


@pytest.mark.parametrize(
    ("written", "good"),
    [("30s", True), ("1m30s", True), ("1h", True), ("500ms", True), ("30", False), ("1s1m", False), ("", False)],
)
def test_a_duration_is_one_that_the_prometheus_operator_takes(written: str, good: bool) -> None:
    variables = watched("flower", "service_monitor", service_monitor={"interval": written})
    if good:
        assert watching_of(fleet_of(**variables))
    else:
        (problem,) = problems_of(**variables)
        assert problem.endswith(f"{written!r} is not valid here; write a duration such as 30s or 1m.")


@pytest.mark.parametrize("key", ["relabelings", "metric_relabelings"])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("drop", "[0]: 'drop' is not valid here; write a relabeling (sourceLabels, "),
        ({"action": "dorp"}, "[0].action: 'dorp' is not valid here; write an action such as keep or drop"),
        (
            {"source_labels": ["a"]},
            "[0].source_labels: a relabeling has no 'source_labels'; did you mean 'sourceLabels'?",
        ),
        ({"sourceLabels": "a"}, "[0].sourceLabels: 'a' is not valid here; write a list"),
        ({"regex": 5}, "[0].regex: 5 is not valid here; write text"),
    ],
)
def test_a_relabeling_is_one_that_the_prometheus_operator_takes(key: str, written: Any, message: str) -> None:
    variables = watched("flower", "service_monitor", service_monitor={key: [written]})
    (problem,) = problems_of(**variables)
    assert problem.startswith(f"celery_workers_service_monitor.{key}{message}")


@pytest.mark.parametrize(("interval", "timeout"), [("30s", "31s"), ("1m", "1m1ms"), ("500ms", "1s"), ("1h", "1d")])
def test_a_scrape_that_may_take_longer_than_its_interval_is_refused(interval: str, timeout: str) -> None:
    keys = {"interval": interval, "scrape_timeout": timeout}
    assert problems_of(**watched("flower", "service_monitor", service_monitor=keys)) == [
        f"celery_workers_service_monitor.scrape_timeout: a scrape must not take longer than the interval of {interval}"
        ", or Prometheus takes none of it; shorten it."
    ]
    keys = {"interval": timeout, "scrape_timeout": interval}
    assert fleet_of(**watched("flower", "service_monitor", service_monitor=keys)).monitoring.service_monitor


def test_a_service_whose_name_is_too_long_for_another_flower_is_named() -> None:
    long = "n" * 57
    variables = services_with({"a": None, long: {"host": "other"}}, enabled=("flower",))
    variables["config"][long]["default"] = {"name": "short"}
    assert problems_of(**variables) == [
        f"{FLOWER}_enabled: '{long}-flower' cannot be the name of a Service, which begins with a letter and has at "
        "most 63 characters; rename the service."
    ]


ALLOWED = ["me@example.org", "me@example.org|you@example.org", ".*@example.org", ".*.*@example.org", "*@x.org|a@x.org"]


@pytest.mark.parametrize("allow", ALLOWED)
def test_who_may_enter_is_written_as_flower_itself_takes_it(allow: str) -> None:
    variables = watched("flower", flower={"oauth": {**OAUTH, "allow": allow}})
    if validate_auth_option(allow):
        assert watching_of(fleet_of(**variables))
    else:
        (problem,) = problems_of(**variables)
        assert problem.startswith(f"{FLOWER}.oauth.allow: ")


def test_an_ingress_without_tls_is_a_warning_and_with_tls_is_none() -> None:
    plain = fleet_of(**watched("flower", flower={"ingress": {"host": "flower.example.org", "tls": False}}))
    assert plain.warnings == (
        f"{FLOWER}.ingress.tls: without TLS anyone on the network path can read Flower's password.",
    )
    assert fleet_of(**watched("flower", flower=INGRESS)).warnings == ()


@pytest.mark.parametrize(
    ("parts", "keys", "expected"),
    [
        ((), {}, None),
        (("flower",), {}, True),
        (("exporter",), {}, True),
        (("prometheus_rule",), {}, None),
        (("flower",), {"task_events": False}, False),
        ((), {"task_events": True}, True),
    ],
)
def test_workers_tell_of_their_tasks_where_somebody_listens(
    parts: tuple[str, ...], keys: dict[str, Any], expected: bool | None
) -> None:
    fleet = fleet_of(**{**one_variant(keys), "enabled": parts})
    assert fleet.variants[0].process.task_events is expected
    assert ("--task-events" in fleet.variants[0].args) is bool(expected)
