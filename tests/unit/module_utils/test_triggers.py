# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ScaledObjects that KEDA could not work with are found before they reach it, each with what to write instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.scalers import scaler_resources
from ansible_collections.queueops.celery.plugins.module_utils._check import cron as _cron
from ansible_collections.queueops.celery.plugins.module_utils._check.scaled_objects import check_scaled_object
from ansible_collections.queueops.celery.plugins.module_utils._check.triggers import read_trigger
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems

from tests.unit.inventories import SCALED, fleet_of, of_kind, one_variant

Json = dict[str, Any]

#: What a real cluster with KEDA gave back.
FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "fixtures"
LIVE = FIXTURES / "live-scaledobject.json"
EXCHANGES = FIXTURES / "api-exchanges.json"

SECRET = "hunter2-of-the-test"

#: One good trigger of each type.
TRIGGERS: dict[str, Json] = {
    "redis": {"metadata": {"address": "redis.shop.svc:6379", "listName": "celery"}},
    "redis-sentinel": {"metadata": {"address": "a:26379,b:26379", "listName": "celery", "sentinelMaster": "main"}},
    "redis-cluster": {"metadata": {"addresses": "a:6379,b:6379", "listName": "celery"}},
    "rabbitmq": {
        "metadata": {"host": "http://rabbit.shop:15672", "queueName": "celery", "mode": "QueueLength", "value": "10"}
    },
    "aws-sqs-queue": {"metadata": {"queueURL": "celery", "awsRegion": "eu-west-1", "identityOwner": "operator"}},
    "prometheus": {
        "metadata": {
            "serverAddress": "http://prometheus:9090",
            "query": "sum(up)",
            "threshold": "1.5",
            "ignoreNullValues": "false",
        }
    },
    "cron": {"metadata": {"timezone": "UTC", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "3"}},
    "cpu": {"metadata": {"value": "60"}, "metricType": "Utilization"},
    "memory": {"metadata": {"value": "1Gi"}, "metricType": "AverageValue"},
    "kubernetes-workload": {"metadata": {"podSelector": "app=shop", "value": "0.5"}},
    "kafka": {"metadata": {"topic": "orders"}},
}
AUTHENTICATED: Json = {"authenticationRef": {"name": "broker"}}


def without_none(values: Mapping[str, Any]) -> Json:
    """A dict in which None takes a key out."""
    return {key: value for key, value in values.items() if value is not None}


def trigger(kind: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Json:
    """The good trigger of a type with some changes."""
    good = TRIGGERS[kind]
    merged = without_none({**good["metadata"], **(metadata or {})})
    return without_none({**good, "type": kind, "metadata": merged, **fields})


def scaled_object(metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    """A good ScaledObject with some changes."""
    good = {
        "scaleTargetRef": {"kind": "Deployment", "name": "worker"},
        "minReplicaCount": 1,
        "maxReplicaCount": 9,
        "triggers": [trigger("redis", name="waiting")],
    }
    return {"metadata": {"name": "worker", **(metadata or {})}, "spec": without_none({**good, **spec})}


def said_of(item: Json, keda: tuple[int, ...] | None = None) -> tuple[list[str], list[str]]:
    """Problems and warnings of a trigger or a ScaledObject, as a person reads them."""
    problems = Problems()
    if "spec" in item:
        check_scaled_object(item, "worker", problems, keda)
    else:
        read_trigger(item, "trigger", problems, in_formula=False)
    return [str(problem) for problem in problems.found], problems.warnings


def assert_one(messages: list[str], path: str, words: str) -> None:
    assert len(messages) == 1, messages
    where, message = messages[0].split(": ", 1)
    assert where == path
    assert words in message
    assert message.endswith((".", "?"))


@pytest.mark.parametrize("kind", TRIGGERS)
def test_a_good_trigger_is_taken(kind: str) -> None:
    assert said_of(trigger(kind)) == ([], [])


METADATA_RULES: list[tuple[str, Json, Json, str, str]] = [
    # All types.
    ("redis", {"listLenght": "5"}, {"listLength": "5"}, "listLenght", "did you mean 'listLength'?"),
    ("redis", {"zzzz": "5"}, {"zzzz": ""}, "zzzz", "there is activationListLength, address"),
    ("redis", {"listLength": 5}, {"listLength": "5"}, "listLength", "in quotes"),
    ("kafka", {"lagThreshold": 5}, {"lagThreshold": "5"}, "lagThreshold", "in quotes"),
    ("kafka", {"password": SECRET}, {"passwordFromEnv": "PASSWORD"}, "password", "authenticationRef"),
    ("kafka", {"url": f"http://me:{SECRET}@host"}, {"url": "http://host:80/"}, "url", "authenticationRef"),
    ("kafka", {"connection": SECRET}, {"connectionFromEnv": "URL"}, "connection", "authenticationRef"),
    ("redis", {"metricName": "x"}, {}, "metricName", "KEDA names the metric itself since 2.12"),
    # Redis.
    ("redis", {"listName": None}, {}, "", "needs listName"),
    ("redis", {"listName": " "}, {}, "", "needs listName"),
    ("redis", {"listNameFromEnv": "LIST"}, {}, "listNameFromEnv", "KEDA takes listName from the metadata"),
    ("redis", {"listLength": "1.5"}, {"listLength": " 2 "}, "listLength", "a whole number"),
    ("redis", {"listLength": "05"}, {"listLength": "50"}, "listLength", "a whole number"),
    ("redis", {"listLength": "9" * 19}, {"listLength": "9" * 18}, "listLength", "a whole number"),
    ("redis", {"listLength": "0"}, {"listLength": "1"}, "listLength", "write 1 or more"),
    ("redis", {"activationListLength": "x"}, {"activationListLength": "0"}, "activationListLength", "a whole number"),
    ("redis", {"databaseIndex": "-1"}, {"databaseIndex": "0"}, "databaseIndex", "write 0 or more"),
    ("redis-cluster", {"databaseIndex": "1"}, {}, "databaseIndex", "only redis or redis-sentinel does"),
    ("redis", {"sentinelMaster": "main"}, {}, "sentinelMaster", "only redis-sentinel does"),
    ("redis-sentinel", {"sentinelMaster": None}, {"sentinelMaster": "main"}, "", "needs sentinelMaster"),
    ("redis-sentinel", {"sentinelPassword": SECRET}, {"sentinelPasswordFromEnv": "A"}, "sentinelPassword", "Secret"),
    ("redis", {"password": SECRET}, {"passwordFromEnv": "PASSWORD"}, "password", "everybody may read"),
    ("redis", {"address": f"redis://:{SECRET}@host:1"}, {}, "address", "everybody may read"),
    ("redis", {"enableTLS": "yes"}, {"enableTLS": "T"}, "enableTLS", "'true' or 'false'"),
    ("redis", {"unsafeSsl": "tRUE"}, {"unsafeSsl": "0"}, "unsafeSsl", "'true' or 'false'"),
    ("redis", {"tls": "enable"}, {"enableTLS": "true"}, "tls", "enableTLS: 'true'"),
    ("redis", {"tls": "enable", "enableTLS": "true"}, {"enableTLS": "true"}, "tls", "enableTLS: 'true'"),
    ("redis", {"key": SECRET}, {}, "key", "from a TriggerAuthentication only"),
    ("redis", {"address": None}, {"address": None, "addressFromEnv": "ADDRESS"}, "", "needs address"),
    ("redis", {"address": None, "host": "a"}, {"address": None, "host": "a", "port": "1"}, "", "go together"),
    (
        "redis",
        {"address": None, "port": "1"},
        {"address": None, "hostFromEnv": "A", "portFromEnv": "B"},
        "",
        "together",
    ),
    ("redis", {"address": "redis"}, {"address": "10.0.0.7:6379"}, "address", "<host>:<port>"),
    ("redis", {"address": "redis://a:1"}, {"address": "[fe80::1]:6379"}, "address", "without a scheme"),
    ("redis", {"address": None, "host": "a", "port": "9" * 5000}, {}, "port", "from 1 to 65535"),
    ("redis", {"address": "redis:66000"}, {"address": "redis:65535"}, "address", "<host>:<port>"),
    ("redis-cluster", {"addresses": "a:1, b"}, {"addresses": "a:1, b:2"}, "addresses", "<host>:<port>"),
    ("redis", {"host": "a", "port": "1"}, {}, "", "take host and port out"),
    (
        "redis-cluster",
        {"addresses": None, "hosts": "a,b", "ports": "1"},
        {"addresses": None, "hosts": "a,b", "ports": "1,2"},
        "",
        "2 hosts and 1 ports",
    ),
    (
        "redis",
        {"address": None, "host": "a", "port": "redis"},
        {"address": None, "host": "a", "port": "6379"},
        "port",
        "from 1 to 65535",
    ),
    # RabbitMQ.
    ("rabbitmq", {"queueName": None}, {}, "", "needs queueName"),
    ("rabbitmq", {"host": None}, {"host": None, "hostFromEnv": "URL"}, "", "needs host"),
    ("rabbitmq", {"host": f"http://me:{SECRET}@a"}, {}, "host", "everybody may read"),
    ("rabbitmq", {"host": "rabbit:15672"}, {"host": "amqps://rabbit"}, "host", "begin the URL with amqp://"),
    ("rabbitmq", {"host": "tcp://rabbit"}, {"host": "HTTPS://rabbit"}, "host", "begin the URL with amqp://"),
    ("rabbitmq", {"protocol": "https"}, {"protocol": "auto"}, "protocol", "one of auto, amqp, http"),
    ("rabbitmq", {"protocol": "amqp"}, {"protocol": "http"}, "protocol", "does not fit the host"),
    ("rabbitmq", {"mode": "queueLength"}, {"mode": "QueueLength"}, "mode", "one of QueueLength, MessageRate"),
    ("rabbitmq", {"mode": None}, {"mode": None, "value": None}, "", "value needs mode"),
    ("rabbitmq", {"value": None}, {}, "", "mode needs value"),
    ("rabbitmq", {"value": "0"}, {"value": "0.5"}, "value", "KEDA takes 0 as not written"),
    ("rabbitmq", {"value": "-1"}, {"value": "1e2"}, "value", "above 0"),
    ("rabbitmq", {"value": ".5"}, {"value": "5"}, "value", "a number in quotes"),
    ("rabbitmq", {"queueLength": "5"}, {}, "queueLength", "excludes mode and value"),
    ("rabbitmq", {"host": "amqp://a", "useRegex": "true"}, {"useRegex": "true"}, "useRegex", "over http only"),
    (
        "rabbitmq",
        {"host": "amqp://a", "excludeUnacknowledged": "True"},
        {"host": "amqp://a", "excludeUnacknowledged": "false"},
        "excludeUnacknowledged",
        "over http only",
    ),
    ("rabbitmq", {"host": "amqp://a", "mode": "MessageRate"}, {"mode": "MessageRate"}, "mode", "over http only"),
    ("rabbitmq", {"host": "amqp://a", "timeout": "3s"}, {"timeout": "3000"}, "timeout", "amqp has no timeout"),
    ("rabbitmq", {"timeout": "3 s"}, {"timeout": "1m30s"}, "timeout", "a duration"),
    ("rabbitmq", {"timeout": "-3s"}, {"timeout": "1.5s"}, "timeout", "a duration"),
    ("rabbitmq", {"pageSize": "0"}, {"pageSize": "1"}, "pageSize", "write 1 or more"),
    ("rabbitmq", {"operation": "mean"}, {"operation": "avg"}, "operation", "one of sum, avg, max"),
    ("rabbitmq", {"username": "me"}, {}, "username", "from a TriggerAuthentication or the environment only"),
    ("rabbitmq", {"usernameFromEnv": "U"}, {"usernameFromEnv": "U", "passwordFromEnv": "P"}, "", "together"),
    ("rabbitmq", {"password": SECRET}, {}, "password", "everybody may read"),
    ("rabbitmq", {"enableTLS": "true"}, {}, "enableTLS", "KEDA ignores it"),
    # Amazon SQS.
    ("aws-sqs-queue", {"queueURL": None}, {"queueURL": None, "queueURLFromEnv": "URL"}, "", "needs queueURL"),
    ("aws-sqs-queue", {"awsRegion": None}, {}, "", "needs awsRegion"),
    (
        "aws-sqs-queue",
        {"queueURL": "https://sqs.eu-west-1.amazonaws.com/celery"},
        {"queueURL": "https://sqs.eu-west-1.amazonaws.com/123/celery.fifo"},
        "queueURL",
        "https://<server>/<account>/<queue>",
    ),
    ("aws-sqs-queue", {"queueURL": "https://a/1/b/c"}, {"queueURL": "a-b_c"}, "queueURL", "<account>/<queue>"),
    ("aws-sqs-queue", {"queueURL": "a/1/celery"}, {"queueURL": "http://a:1/1/b"}, "queueURL", "<account>/<queue>"),
    ("aws-sqs-queue", {"queueLength": "0"}, {"queueLength": "1"}, "queueLength", "write 1 or more"),
    ("aws-sqs-queue", {"queueLength": "2.5"}, {"queueLength": "2"}, "queueLength", "a whole number"),
    ("aws-sqs-queue", {"scaleOnInFlight": "no"}, {"scaleOnInFlight": "false"}, "scaleOnInFlight", "'true' or"),
    ("aws-sqs-queue", {"identityOwner": "me"}, {}, "identityOwner", "one of pod, operator"),
    ("aws-sqs-queue", {"awsAccessKeyID": SECRET}, {}, "awsAccessKeyID", "everybody may read"),
    ("aws-sqs-queue", {"awsSecretAccessKey": SECRET}, {}, "awsSecretAccessKey", "everybody may read"),
    (
        "aws-sqs-queue",
        {"identityOwner": None},
        {"identityOwner": None, "awsAccessKeyIDFromEnv": "A", "awsSecretAccessKeyFromEnv": "B"},
        "",
        "no AWS credentials",
    ),
    # Prometheus.
    ("prometheus", {"serverAddress": None}, {}, "", "needs serverAddress"),
    ("prometheus", {"serverAddress": "prometheus:9090"}, {"serverAddress": "https://a"}, "serverAddress", "http://"),
    ("prometheus", {"query": None}, {}, "", "needs query"),
    ("prometheus", {"threshold": None}, {}, "", "needs threshold"),
    ("prometheus", {"threshold": "0"}, {"threshold": "0.001"}, "threshold", "above 0"),
    ("prometheus", {"threshold": "NaN"}, {"threshold": "10"}, "threshold", "a number in quotes"),
    ("prometheus", {"threshold": "1e999"}, {"threshold": "1e9"}, "threshold", "a number in quotes"),
    ("prometheus", {"ignoreNullValues": "no"}, {"ignoreNullValues": "false"}, "ignoreNullValues", "'true' or"),
    ("prometheus", {"customHeaders": "X-Id"}, {"customHeaders": "X-Id=a,X-B=c"}, "customHeaders", "name=value"),
    ("prometheus", {"customHeaders": f"Authorization=Bearer {SECRET}"}, {}, "customHeaders", "everybody may read"),
    ("prometheus", {"customHeaders": f"X-Id=1,X-Api-Key={SECRET}"}, {}, "customHeaders", "everybody may read"),
    ("prometheus", {"apiKey": SECRET}, {}, "apiKey", "everybody may read"),
    ("prometheus", {"authModes": "basic"}, {}, "authModes", "add authenticationRef"),
    ("prometheus", {"cortexOrgID": "x"}, {}, "cortexOrgID", "customHeaders"),
    # Cron.
    *(("cron", {key: None}, {}, "", f"needs {key}") for key in ("timezone", "start", "end", "desiredReplicas")),
    ("cron", {"end": "0 8 * * 1-5"}, {}, "end", "are the same"),
    ("cron", {"start": "0 8 * *"}, {"start": "0  8 * * *"}, "start", "five fields"),
    ("cron", {"start": "@daily"}, {"start": "?,5 */2 1-15/3 jan-MAR sun"}, "start", "five fields"),
    ("cron", {"start": "0 8 * * */" + "9" * 5000}, {}, "start", "is no day of the week"),
    ("cron", {"start": "60 8 * * *"}, {"start": "59 8 * * *"}, "start", "'60' is no minute"),
    ("cron", {"start": "0 8 0 * *"}, {"start": "0 8 31 * *"}, "start", "'0' is no day of the month"),
    ("cron", {"start": "0 8 * * 7"}, {"start": "0 8 * * 0"}, "start", "'7' is no day of the week"),
    ("cron", {"start": "0 9-8 * * *"}, {"start": "0 8-9 * * *"}, "start", "'9-8' is no hour"),
    ("cron", {"start": "*/0 8 * * *"}, {"start": "*/1 8 * * *"}, "start", "'*/0' is no minute"),
    ("cron", {"timezone": "+02:00"}, {"timezone": "America/Argentina/Buenos_Aires"}, "timezone", "no offset"),
    ("cron", {"start": "0 8 * * mon", "end": "0 8 * * 1"}, {}, "end", "are the same"),
    ("cron", {"start": "*/30 8 * * *", "end": "0,30  8 * * *"}, {}, "end", "are the same"),
    ("cron", {"start": "0 8 30 2 *"}, {"start": "0 8 29 2 *"}, "start", "never comes"),
    ("cron", {"start": "0 8 31 4,6 *"}, {"start": "0 8 31 4,7 *"}, "start", "never comes"),
    ("cron", {"start": "0 8 31 4/7 *"}, {"start": "0 8 31 4 mon"}, "start", "never comes"),
    ("cron", {"timezone": "Europe/Berln"}, {"timezone": "US/Eastern"}, "timezone", "did you mean 'Europe/Berlin'?"),
    ("cron", {"timezone": "europe/berlin"}, {"timezone": "UTC"}, "timezone", "did you mean 'Europe/Berlin'?"),
    ("cron", {"timezone": "CEST"}, {"timezone": "Etc/GMT-2"}, "timezone", "there is no time zone 'CEST'"),
    ("cron", {"desiredReplicas": "0"}, {"desiredReplicas": "1"}, "desiredReplicas", "write 1 or more"),
    # cpu and memory.
    ("cpu", {"value": None}, {}, "", "needs value"),
    ("cpu", {"value": "60%"}, {"value": "60"}, "value", "a percentage"),
    ("cpu", {"value": "0"}, {"value": "1"}, "value", "a percentage"),
    ("cpu", {"type": "Utilization"}, {}, "type", "metricType beside type"),
    ("cpu", {"activationValue": "5"}, {"containerName": "worker"}, "activationValue", "KEDA ignores it"),
    ("memory", {"value": "1gb"}, {"value": "500M"}, "value", "an amount for each pod"),
    ("memory", {"value": "1e" + "9" * 5000}, {}, "value", "an amount for each pod"),
    ("memory", {"value": "0"}, {"value": "1"}, "value", "an amount for each pod"),
    # Pods.
    ("kubernetes-workload", {"podSelector": None}, {}, "", "needs podSelector"),
    ("kubernetes-workload", {"value": None}, {}, "", "needs value"),
    ("kubernetes-workload", {"value": "0"}, {"value": "3"}, "value", "above 0"),
    ("kubernetes-workload", {"namespace": "shop"}, {}, "namespace", "KEDA ignores it"),
    ("kubernetes-workload", {"groupByNode": "yes"}, {"groupByNode": "true"}, "groupByNode", "'true' or 'false'"),
]


@pytest.mark.parametrize(
    ("known", "problem", "warning"),
    [
        # A controller without any table cannot tell.
        ((), "", ""),
        # One whose system keeps old names in a package of their own.
        (("UTC", "Europe/Berlin"), "", "the controller knows no time zone 'Asia/Calcutta'"),
        (("UTC", "US/Eastern"), "there is no time zone 'Asia/Calcutta'", ""),
    ],
)
def test_a_time_zone_is_refused_only_by_a_controller_that_knows_them_all(
    monkeypatch: pytest.MonkeyPatch, known: tuple[str, ...], problem: str, warning: str
) -> None:
    monkeypatch.setattr(_cron, "_time_zones", lambda: frozenset(known))
    problems, warnings = said_of(trigger("cron", {"timezone": "Asia/Calcutta"}))
    assert [problem in text for text in problems] == [True] * bool(problem)
    assert [warning in text for text in warnings] == [True] * bool(warning)


@pytest.mark.parametrize(("kind", "bad", "good", "key", "words"), METADATA_RULES)
def test_metadata_that_keda_could_not_use_is_found(kind: str, bad: Json, good: Json, key: str, words: str) -> None:
    problems, _warnings = said_of(trigger(kind, bad))
    assert_one(problems, f"trigger.metadata.{key}" if key else "trigger.metadata", words)
    assert SECRET not in problems[0]
    assert said_of(trigger(kind, good))[0] == []


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("redis", {"address": None}),
        ("redis", {"address": None, "host": "redis"}),
        ("redis-sentinel", {"sentinelMaster": None}),
        ("rabbitmq", {"host": None}),
        ("rabbitmq", {"usernameFromEnv": "U"}),
        ("aws-sqs-queue", {"awsRegion": None, "identityOwner": None}),
        ("prometheus", {"authModes": "basic,tls"}),
    ],
)
def test_a_trigger_authentication_may_give_what_the_metadata_lacks(kind: str, missing: Json) -> None:
    assert said_of(trigger(kind, missing))[0] != []
    assert said_of(trigger(kind, missing, **AUTHENTICATED)) == ([], [])


@pytest.mark.parametrize(
    ("kind", "missing", "words"),
    [
        ("redis", {"listName": None}, "needs listName"),
        ("rabbitmq", {"queueName": None}, "needs queueName"),
        ("aws-sqs-queue", {"queueURL": None}, "needs queueURL"),
        ("prometheus", {"authModes": "basic,bearer"}, "exclude each other"),
    ],
)
def test_a_trigger_authentication_does_not_give_everything(kind: str, missing: Json, words: str) -> None:
    problems, _warnings = said_of(trigger(kind, missing, **AUTHENTICATED))
    assert len(problems) == 1
    assert words in problems[0]


FIELD_RULES: list[tuple[str, Json, Json, str, str]] = [
    ("redis", {"metadta": {}}, {}, ".metadta", "did you mean 'metadata'?"),
    ("redis", {"type": None}, {}, "", "needs type"),
    ("kafka", {"metadata": None}, {"metadata": {}}, ".metadata", "needs metadata"),
    ("redis", {"name": 5}, {"name": "any-name"}, ".name", "in quotes"),
    ("redis", {"metricType": "Utilization"}, {"metricType": "Value"}, ".metricType", "AverageValue or Value"),
    ("kafka", {"metricType": "averageValue"}, {"metricType": "AverageValue"}, ".metricType", "takes AverageValue"),
    ("cpu", {"metricType": None}, {}, ".metricType", "needs Utilization or AverageValue"),
    ("memory", {"metricType": "Value"}, {}, ".metricType", "takes Utilization or AverageValue"),
    *(
        (kind, {"useCachedMetrics": True}, {"useCachedMetrics": False}, ".useCachedMetrics", "KEDA refuses it")
        for kind in ("cpu", "memory", "cron")
    ),
    ("redis", {"useCachedMetrics": "true"}, {"useCachedMetrics": True}, ".useCachedMetrics", "without quotes"),
    ("redis", {"authenticationRef": {}}, AUTHENTICATED, ".authenticationRef", "name the TriggerAuthentication"),
    (
        "redis",
        {"authenticationRef": {"name": "a", "kind": "Secret"}},
        {"authenticationRef": {"name": "a", "kind": "ClusterTriggerAuthentication"}},
        ".authenticationRef.kind",
        "ClusterTriggerAuthentication",
    ),
    ("redis", {"authenticationRef": {"name": "a", "nam": "b"}}, AUTHENTICATED, ".authenticationRef.nam", "mean 'name'"),
]


@pytest.mark.parametrize(("kind", "bad", "good", "where", "words"), FIELD_RULES)
def test_fields_of_a_trigger_have_the_shape_that_keda_takes(
    kind: str, bad: Json, good: Json, where: str, words: str
) -> None:
    assert_one(said_of(without_none({**trigger(kind), **bad}))[0], f"trigger{where}", words)
    assert said_of({**trigger(kind), **good}) == ([], [])


@pytest.mark.parametrize(
    ("kind", "bad", "good", "path", "words"),
    [
        (
            "redis",
            {"passwordFromEnv": "P", **AUTHENTICATED},
            {"passwordFromEnv": "P"},
            "trigger.metadata.passwordFromEnv",
            "KEDA takes that of the environment",
        ),
        (
            "rabbitmq",
            {"usernameFromEnv": "U", "passwordFromEnv": "P", **AUTHENTICATED},
            {"usernameFromEnv": "U", "passwordFromEnv": "P"},
            "trigger.metadata.passwordFromEnv",
            "KEDA takes that of a TriggerAuthentication",
        ),
        ("redis", {"address": "a:1,b:2"}, {"address": "a:1"}, "trigger.metadata", "the first server only"),
        (
            "rabbitmq",
            {"mode": None, "value": None, "queueLength": "5"},
            {"mode": "QueueLength", "value": "5"},
            "trigger.metadata.queueLength",
            "mode: QueueLength",
        ),
        ("prometheus", {"ignoreNullValues": None}, {"ignoreNullValues": "true"}, "trigger.metadata", "a dead exporter"),
    ],
)
def test_what_works_otherwise_than_one_thinks_is_a_warning(
    kind: str, bad: Json, good: Json, path: str, words: str
) -> None:
    fields = {key: value for key, value in bad.items() if key == "authenticationRef"}
    problems, warnings = said_of(trigger(kind, {key: bad[key] for key in bad.keys() - fields}, **fields))
    assert problems == []
    assert_one(warnings, path, words)
    assert said_of(trigger(kind, good)) == ([], [])


@pytest.mark.parametrize("item", [None, "redis", [], 5, {"type": {}}, {"type": "redis", "metadata": []}])
def test_no_shape_of_a_trigger_stops_the_checks(item: Any) -> None:
    assert said_of(scaled_object(triggers=[item, trigger("redis")]))[0] != []


def modifiers(formula: Any = "waiting + 1", target: Any = "2", **rest: Any) -> Json:
    return {"scalingModifiers": without_none({"formula": formula, "target": target, **rest})}


def fallback(**changes: Any) -> Json:
    return without_none({"failureThreshold": 3, "replicas": 2, **changes})


def annotated(name: str, value: Any) -> Json:
    return {"metadata": {"annotations": {name: value}}}


PAUSED = "autoscaling.keda.sh/paused"
LONG = "n" * 55
CPU = trigger("cpu")
NAMED = [trigger("redis", name="waiting"), trigger("redis", {"listName": "unacked"}, name="running")]

OBJECT_RULES: list[tuple[Json, Json, str, str]] = [
    # Triggers.
    ({"triggers": []}, {}, "triggers", "at least one trigger"),
    ({"triggers": None}, {}, "triggers", "at least one trigger"),
    (
        {"triggers": [trigger("redis"), trigger("redis", {"listName": "b", "listLenght": "5"})]},
        {"triggers": [trigger("redis"), trigger("redis", {"listName": "b"})]},
        "triggers[1].metadata.listLenght",
        "did you mean 'listLength'?",
    ),
    (
        {"triggers": [trigger("redis", name="a"), trigger("cron", name="a")]},
        {"triggers": [trigger("redis", name="a"), trigger("cron", name="b")]},
        "triggers[1].name",
        "names are unique",
    ),
    ({"scaleTargetRef": {"kind": "Deployment"}}, {}, "scaleTargetRef", "name what is scaled"),
    # Numbers.
    ({"minReplicaCount": 10}, {"minReplicaCount": 9}, "minReplicaCount", "above maxReplicaCount 9"),
    (
        {"minReplicaCount": 101, "maxReplicaCount": None},
        {"minReplicaCount": 100, "maxReplicaCount": None},
        "minReplicaCount",
        "KEDA's default",
    ),
    ({"maxReplicaCount": 0, "minReplicaCount": 0}, {}, "maxReplicaCount", "1 or more"),
    ({"minReplicaCount": "1"}, {"minReplicaCount": 1}, "minReplicaCount", "without quotes"),
    ({"minReplicaCount": -1}, {"minReplicaCount": 0}, "minReplicaCount", "0 or more"),
    ({"maxReplicaCount": True}, {"maxReplicaCount": 1}, "maxReplicaCount", "without quotes"),
    ({"idleReplicaCount": 1}, {"idleReplicaCount": 0}, "idleReplicaCount", "below minReplicaCount"),
    (
        {"idleReplicaCount": 0, "minReplicaCount": None},
        {"idleReplicaCount": 0, "minReplicaCount": 0},
        "idleReplicaCount",
        "write minReplicaCount: 1",
    ),
    ({"pollingInterval": 0}, {"pollingInterval": 1}, "pollingInterval", "1 or more"),
    ({"cooldownPeriod": -1}, {"cooldownPeriod": 0}, "cooldownPeriod", "0 or more"),
    ({"initialCooldownPeriod": 1.5}, {"initialCooldownPeriod": 0}, "initialCooldownPeriod", "a whole number"),
    ({"triggers": [CPU], "minReplicaCount": 0}, {"triggers": [CPU]}, "minReplicaCount", "KEDA refuses 0"),
    (
        {"triggers": [CPU], "minReplicaCount": None},
        {"triggers": [CPU, trigger("cron")], "minReplicaCount": None},
        "minReplicaCount",
        "KEDA refuses 0",
    ),
    # Names.
    ({"metadata": {"name": LONG}}, {"metadata": {"name": LONG[1:]}}, "metadata.name", "54 are allowed"),
    (
        {"metadata": {"name": "n" * 64}, "advanced": {"horizontalPodAutoscalerConfig": {"name": "short"}}},
        {"metadata": {"name": LONG}, "advanced": {"horizontalPodAutoscalerConfig": {"name": "short"}}},
        "metadata.name",
        "63 are allowed",
    ),
    (
        {"advanced": {"horizontalPodAutoscalerConfig": {"name": "n" * 64}}},
        {"advanced": {"horizontalPodAutoscalerConfig": {"name": "n" * 63}}},
        "advanced.horizontalPodAutoscalerConfig.name",
        "63 are allowed",
    ),
    # Fields that the server would drop.
    ({"minReplicasCount": 1}, {"somethingNew": 1}, "minReplicasCount", "did you mean"),
    ({"advanced": {"scalingModifier": {}}}, {}, "advanced.scalingModifier", "did you mean 'scalingModifiers'?"),
    ({"fallback": fallback(replica=1)}, {"fallback": fallback()}, "fallback.replica", "did you mean 'replicas'?"),
    ({"advanced": []}, {"advanced": {}}, "advanced", "a dict"),
    # Annotations.
    (annotated(PAUSED, "no"), annotated(PAUSED, "false"), f"metadata.annotations.{PAUSED}", "takes 'no' as true"),
    (annotated(PAUSED, True), annotated(PAUSED, "true"), f"metadata.annotations.{PAUSED}", "in quotes"),
    (
        annotated(f"{PAUSED}-replicas", "some"),
        annotated(f"{PAUSED}-replicas", "0"),
        f"metadata.annotations.{PAUSED}-replicas",
        "no number of pods",
    ),
    (
        annotated(f"{PAUSED}-scale-in", "yes"),
        annotated(f"{PAUSED}-scale-in", "True"),
        f"metadata.annotations.{PAUSED}-scale-in",
        "no boolean",
    ),
    # Fallback.
    ({"fallback": fallback(failureThreshold=-1)}, {"fallback": fallback()}, "fallback.failureThreshold", "0 or more"),
    ({"fallback": fallback(replicas=-1)}, {"fallback": fallback(replicas=1)}, "fallback.replicas", "0 or more"),
    ({"fallback": fallback(replicas=0)}, {"fallback": fallback(failureThreshold=0)}, "fallback.replicas", "-zero"),
    ({"fallback": fallback(replicas=None)}, {"fallback": fallback()}, "fallback", "needs replicas"),
    ({"fallback": fallback(failureThreshold=None)}, {}, "fallback", "needs failureThreshold"),
    (
        {"fallback": fallback(behavior="currentReplica")},
        {"fallback": fallback(behavior="currentReplicas")},
        "fallback.behavior",
        "did you mean",
    ),
    ({"fallback": fallback(behavior=5)}, {"fallback": fallback(behavior="static")}, "fallback.behavior", "one of"),
    (
        {"fallback": fallback(behavior="scalingModifiers")},
        {"fallback": fallback(behavior="scalingModifiers"), "advanced": modifiers("waiting ?? 1")},
        "fallback.behavior",
        "needs a formula",
    ),
    (
        {"fallback": fallback(), "triggers": [CPU]},
        {"fallback": fallback(), "triggers": [CPU, trigger("redis")]},
        "fallback",
        "no fallback for cpu and memory",
    ),
    # Scaling modifiers.
    ({"advanced": modifiers(target=None)}, {"advanced": modifiers()}, "advanced.scalingModifiers", "needs target"),
    ({"advanced": modifiers(None)}, {"advanced": {"scalingModifiers": {}}}, "advanced.scalingModifiers", "formula"),
    (
        {"advanced": modifiers(target=2)},
        {"advanced": modifiers(target="2")},
        "advanced.scalingModifiers.target",
        "in quotes",
    ),
    ({"advanced": modifiers(target="0")}, {}, "advanced.scalingModifiers.target", "above 0"),
    ({"advanced": modifiers(target="many")}, {}, "advanced.scalingModifiers.target", "above 0"),
    (
        {"advanced": modifiers(target="2.5"), "fallback": fallback()},
        {"advanced": modifiers(target="2.5")},
        "advanced.scalingModifiers.target",
        "fallback-target",
    ),
    (
        {"advanced": modifiers(target="2.0"), "fallback": fallback()},
        {"advanced": modifiers(target="2"), "fallback": fallback()},
        "advanced.scalingModifiers.target",
        "fallback-target",
    ),
    (
        {"advanced": modifiers(activationTarget="x")},
        {"advanced": modifiers(activationTarget="0.5")},
        "advanced.scalingModifiers.activationTarget",
        "a number in quotes",
    ),
    (
        {"advanced": modifiers(metricType="Utilization")},
        {"advanced": modifiers(metricType="Value")},
        "advanced.scalingModifiers.metricType",
        "AverageValue or Value",
    ),
    # Names in a formula.
    (
        {"advanced": modifiers("waiting"), "triggers": [*NAMED[:1], trigger("cron")]},
        {"advanced": modifiers("waiting"), "triggers": [trigger("redis", name="waiting"), CPU]},
        "triggers[1].name",
        "needs a name",
    ),
    (
        {"advanced": modifiers("a-b"), "triggers": [trigger("redis", name="a-b")]},
        {"advanced": modifiers("a_b"), "triggers": [trigger("redis", name="a_b")]},
        "triggers[0].name",
        "letters, digits and '_'",
    ),
    (
        {"advanced": modifiers("in"), "triggers": [trigger("redis", name="in")]},
        {"advanced": modifiers("inn"), "triggers": [trigger("redis", name="inn")]},
        "triggers[0].name",
        "a word of the formula's language",
    ),
    (
        {"advanced": modifiers("waiting + heat"), "triggers": [*NAMED[:1], {**CPU, "name": "heat"}]},
        {"advanced": modifiers("waiting"), "triggers": [*NAMED[:1], {**CPU, "name": "heat"}]},
        "advanced.scalingModifiers.formula",
        "heat is a cpu or memory trigger",
    ),
]


@pytest.mark.parametrize(("bad", "good", "path", "words"), OBJECT_RULES)
def test_what_keda_refuses_or_drops_is_found(bad: Json, good: Json, path: str, words: str) -> None:
    assert_one(said_of(scaled_object(**bad))[0], f"worker.{path}", words)
    assert said_of(scaled_object(**good)) == ([], [])


@pytest.mark.parametrize(
    "formula",
    [
        "waiting + running",
        "max((waiting + running) / 10, running / 2.5)",
        "max([waiting, running])",
        "waiting > 5 ? running : -1",
        "float(waiting < 2 ? waiting + running >= 2 ? 5 : 10 : 0)",
        "count([waiting, running], {# > 1}) > 1 ? 5 : 0",
        "waiting ?? running ?? nil ?? 5",
        "min(abs(waiting), ceil(running), floor(1.5), round(.5), int(1e3), sum([1, 2,]))",
        "not (waiting > 1 and running in [1, 2]) || !(running == 3) ? 0x1F : 1_000",
        "waiting not in [1] ? running ** 2 : running % 3",
        "let half = waiting / 2; half + running",
        "if waiting > 1 { waiting } else { running }",
        "waiting // no comment names absent\n + running /* nor absent */",
        'waiting + running + len("absent (")',
        "waiting + running + now().Year()",
    ],
)
def test_a_formula_of_the_language_is_taken(formula: str) -> None:
    assert said_of(scaled_object(triggers=NAMED, advanced=modifiers(formula))) == ([], [])


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("waiting + runing + running", "no trigger is called 'runing'; did you mean 'running'?"),
        ("waiting + running + x", "no trigger is called 'x'; there is running, waiting."),
        ("(waiting + running", "the '(' at character 1 is never closed"),
        ("waiting + running)", "the ')' at character 18 closes nothing"),
        ("max([waiting, running)]", "the ')' at character 22 closes nothing"),
        ("maxx(waiting, running)", "no function 'maxx'; did you mean 'max'?"),
        ("waiting @ running", "no '@' (character 9)"),
        ("waiting running", "'running' at character 9 is where an operator belongs"),
        ("waiting + * running", "'*' at character 11 is where a value belongs"),
        ("waiting 2", "where an operator belongs"),
        ("(waiting) (running)", "'(' at character 11 is where an operator belongs"),
        ("waiting + running +", "the formula ends after '+'"),
        ("max(waiting, running +)", "')' at character 23 is where a value belongs"),
    ],
)
def test_a_formula_that_keda_could_not_compile_is_found(formula: str, words: str) -> None:
    problems, warnings = said_of(scaled_object(triggers=NAMED, advanced=modifiers(formula)))
    assert_one(problems, "worker.advanced.scalingModifiers.formula", words)
    assert warnings == []


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"triggers": NAMED, "advanced": modifiers("waiting")}, "triggers[1]", "the formula does not name running"),
        ({"triggers": [NAMED[0], {**NAMED[0], "name": "again"}]}, "triggers[1]", "the same as triggers[0]"),
        ({"minReplicaCount": 2, "idleReplicaCount": 1}, "idleReplicaCount", "only 0 is of use"),
        (
            {"advanced": modifiers(), "fallback": fallback(behavior="scalingModifiers")},
            "fallback.behavior",
            "a trigger that fails is nil",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(changes: Json, path: str, words: str) -> None:
    problems, warnings = said_of(scaled_object(**changes))
    assert problems == []
    assert_one(warnings, f"worker.{path}", words)


def test_a_formula_takes_the_place_of_the_targets_of_its_triggers() -> None:
    pods = trigger("kubernetes-workload", {"value": None}, name="pods")
    backlog = trigger("redis", {"listLength": "0"}, name="waiting")
    assert said_of(scaled_object(triggers=[pods, backlog], advanced=modifiers("waiting / pods"))) == ([], [])
    assert len(said_of(scaled_object(triggers=[pods, backlog]))[0]) == 2


@pytest.mark.parametrize("changes", [{}, {"value": "0"}])
def test_a_formula_does_not_take_the_place_of_what_keda_always_wants(changes: Json) -> None:
    query = trigger("prometheus", {"threshold": None}, name="waiting")
    queue = trigger("rabbitmq", {"value": "0"}, name="running")
    cpu = trigger("cpu", {"value": "0"})
    problems, _warnings = said_of(scaled_object(triggers=[query, queue, cpu], advanced=modifiers("waiting + running")))
    assert [problem.split(": ")[0] for problem in problems] == [
        "worker.triggers[0].metadata",
        "worker.triggers[1].metadata.value",
        "worker.triggers[2].metadata.value",
    ]


@pytest.mark.parametrize(
    ("changes", "path", "since"),
    [
        ({"initialCooldownPeriod": 60}, "initialCooldownPeriod", (2, 14)),
        ({"fallback": fallback(behavior="currentReplicasIfHigher")}, "fallback.behavior", (2, 17)),
        (annotated(f"{PAUSED}-scale-in", "true"), f"metadata.annotations.{PAUSED}-scale-in", (2, 18)),
        (annotated(f"{PAUSED}-scale-out", "true"), f"metadata.annotations.{PAUSED}-scale-out", (2, 18)),
        (
            annotated("autoscaling.keda.sh/force-activation", "true"),
            "metadata.annotations.autoscaling.keda.sh/force-activation",
            (2, 18),
        ),
        (
            annotated("scaledobject.keda.sh/hpa-excluded-labels", "app"),
            "metadata.annotations.scaledobject.keda.sh/hpa-excluded-labels",
            (2, 18),
        ),
        ({"fallback": fallback(), "triggers": [trigger("redis", metricType="Value")]}, "fallback", (2, 18)),
        ({"fallback": fallback(), "advanced": modifiers(metricType="Value")}, "fallback", (2, 18)),
        (
            {"advanced": modifiers("waiting ?? 1"), "fallback": fallback(behavior="scalingModifiers")},
            "fallback.behavior",
            (2, 20),
        ),
        (
            {"triggers": [trigger("redis"), trigger("kubernetes-workload", {"groupByNode": "true"})]},
            "triggers[1].metadata.groupByNode",
            (2, 20),
        ),
    ],
)
def test_what_the_installed_keda_lacks_is_found(changes: Json, path: str, since: tuple[int, ...]) -> None:
    item = scaled_object(**changes)
    before = (since[0], since[1] - 1, 9)
    assert_one(said_of(item, before)[0], f"worker.{path}", f"needs KEDA {since[0]}.{since[1]}, and {before[0]}.")
    for enough in (since, (*since, 1), None):
        assert said_of(item, enough) == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"fallback": fallback(behavior="static"), "initialCooldownPeriod": 0},
        annotated(f"{PAUSED}-scale-in", "false"),
        annotated(PAUSED, "true"),
    ],
)
def test_an_old_keda_is_enough_for_what_is_as_old(changes: Json) -> None:
    assert said_of(scaled_object(**changes), (2, 11)) == ([], [])


@pytest.mark.parametrize(
    "manifest", [{}, {"spec": None}, {"spec": []}, {"spec": {}}, {"metadata": 5, "spec": {"x": 1}}]
)
def test_no_shape_of_an_object_stops_the_checks(manifest: Json) -> None:
    problems = Problems()
    check_scaled_object(manifest, "worker", problems)
    assert problems.found != []


@pytest.mark.skipif(not LIVE.is_file(), reason="no recorded ScaledObject in ../shared/fixtures")
def test_an_object_that_runs_on_a_cluster_is_taken() -> None:
    assert said_of(json.loads(LIVE.read_text(encoding="utf-8")), (2, 20, 2)) == ([], [])


@pytest.mark.skipif(not EXCHANGES.is_file(), reason="no recorded exchanges in ../shared/fixtures")
def test_a_server_with_keda_and_these_checks_refuse_the_same_objects() -> None:
    exchanges = json.loads(EXCHANGES.read_text(encoding="utf-8"))["exchanges"]
    sent = [item for item in exchanges if (item["request"].get("body") or {}).get("kind") == "ScaledObject"]
    created = [item for item in sent if item["request"]["method"] == "POST"]
    # Whether another object scales the same target is known to the cluster only.
    alone = [item for item in created if "already managed" not in item["body"].get("message", "")]
    refused = {item["note"] for item in alone if item["status"] >= 400}
    assert len(refused) >= 4
    assert {item["note"] for item in alone if said_of(item["request"]["body"])[0]} == refused


def test_a_formula_whose_triggers_have_no_names_says_what_is_missing() -> None:
    problems, _warnings = said_of(scaled_object(triggers=[trigger("redis")], advanced=modifiers("nope + 1")))
    assert [problem.split(": ")[0] for problem in problems] == [
        "worker.triggers[0].name",
        "worker.advanced.scalingModifiers.formula",
    ]
    assert "no trigger is called 'nope'; none of them has a name." in problems[1]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"keys": {"queues": ["a", "b"]}},
        {"keys": {"fallback": {"replicas": 6}, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
        {"keys": {"min_replicas": 0, "accept_risks": ["invisible-work"]}},
        {"keys": {"paused": "scale_in", "extra_triggers": [trigger("cron")]}},
        {"broker": {"host": "redis", "password": True, "username": "me"}},
        {"broker": {"host": "fe80::1", "tls": {"insecure_skip_verify": True}, "database": 3}},
    ],
)
def test_what_the_collection_makes_is_taken(variables: Json) -> None:
    keys = {**SCALED, **variables.get("keys", {})}
    fleet = fleet_of(**one_variant(keys, broker=variables.get("broker")))
    found = of_kind(scaler_resources(fleet), "ScaledObject")
    assert found != []
    for item in found:
        assert said_of(item) == ([], [])
