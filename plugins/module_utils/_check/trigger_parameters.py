# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the triggers that KEDA has, by type: where it looks for each, and what the value has to be.

Source: KEDA 2.20, the metadata structures of its scalers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: KEDA cuts a target to thousandths, so anything smaller is 0, which no HPA takes.
SMALLEST_TARGET = 0.001
DIGITS = re.compile(r"[0-9]{1,5}")

#: Where KEDA looks for a parameter. C(ENV) is the key C(<parameter>FromEnv), the name of an environment variable.
METADATA, AUTH, ENV = "the metadata", "a TriggerAuthentication", "the environment"
FROM_ENV = "FromEnv"
_INT64 = 2**63 - 1
#: Go's strconv.ParseBool.
TRUE_WORDS = ("1", "t", "T", "true", "TRUE", "True")
FALSE_WORDS = ("0", "f", "F", "false", "FALSE", "False")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
GO_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DURATION = re.compile(r"[0-9]+|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+")


@dataclass(frozen=True)
class ValueKind:
    """What the text of a value has to be.

    :param words: the same for people; empty for free text, whose value no message shows.
    """

    reads: Callable[[str], bool] = lambda text: True
    words: str = ""


def _is_whole(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text)) and -_INT64 <= int(text) <= _INT64


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def _is_pairs(text: str) -> bool:
    return all(part.count("=") == 1 for part in text.split(","))


def _choice(*words: str) -> ValueKind:
    return ValueKind(lambda text: text in words, f"one of {', '.join(words)}")


def _choices(*words: str) -> ValueKind:
    return ValueKind(
        lambda text: {part.strip() for part in text.split(",")} <= set(words),
        f"one or more of {', '.join(words)}, with commas between them",
    )


TEXT = ValueKind()
INTEGER = ValueKind(_is_whole, "a whole number in quotes, such as '5'")
FLOAT = ValueKind(_is_number, "a number in quotes, such as '5' or '0.5'")
BOOLEAN = ValueKind(lambda text: text in TRUE_WORDS + FALSE_WORDS, "'true' or 'false', in quotes")
_PERIOD = ValueKind(
    lambda text: bool(_DURATION.fullmatch(text)), "a duration such as '3s', or milliseconds such as '3000'"
)
_PAIRS = ValueKind(_is_pairs)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a scaler, as KEDA's source declares it.

    :param sources: where KEDA looks for it; the first that has a value wins.
    :param least: the smallest value that works.
    :param target: whether it is what the HPA compares with; with a formula nobody reads that.
    :param instead: what to write where it stands in the metadata and KEDA does not look there.
    :param since: the first KEDA that reads it; empty for all that the collection knows.
    """

    kind: ValueKind = TEXT
    sources: tuple[str, ...] = (METADATA,)
    required: bool = False
    least: float | None = None
    target: bool = False
    instead: str = "move it there"
    since: str = ""


def _target(kind: ValueKind, required: bool = False) -> Parameter:
    return Parameter(kind, required=required, least=1 if kind is INTEGER else SMALLEST_TARGET, target=True)


def _auth_only(*names: str) -> dict[str, Parameter]:
    return {name: Parameter(sources=(AUTH,)) for name in names}


Table = Mapping[str, Parameter]
_REDIS: Table = {
    "listName": Parameter(required=True),
    "listLength": _target(INTEGER),
    "activationListLength": Parameter(INTEGER),
    **{name: Parameter(sources=(METADATA, AUTH, ENV)) for name in ("address", "addresses")},
    **{name: Parameter(sources=(METADATA, ENV, AUTH)) for name in ("host", "hosts", "port", "ports")},
    **{name: Parameter(sources=(METADATA, ENV, AUTH)) for name in ("username", "password")},
    "enableTLS": Parameter(BOOLEAN),
    "unsafeSsl": Parameter(BOOLEAN),
    "tls": Parameter(sources=(AUTH,), instead="in the metadata TLS is switched on with enableTLS: 'true' alone"),
    **_auth_only("ca", "cert", "key", "keyPassword"),
}
_DATABASE: Table = {"databaseIndex": Parameter(INTEGER, least=0)}
_SENTINEL: Table = {
    name: Parameter(sources=(METADATA, AUTH, ENV), required=name == "sentinelMaster")
    for name in ("sentinelMaster", "sentinelUsername", "sentinelPassword")
}
_RESOURCE: Table = {"value": Parameter(required=True), "containerName": Parameter()}
RABBITMQ_HTTP_MODES = ("MessageRate", "DeliverGetRate", "PublishedToDeliveredRatio", "ExpectedQueueConsumptionTime")
_AWS: Table = {
    "identityOwner": Parameter(_choice("pod", "operator")),
    **{name: Parameter(sources=(AUTH, ENV)) for name in ("awsAccessKeyID", "awsSecretAccessKey")},
    **_auth_only("awsSessionToken", "awsRoleArn"),
}
#: What each type of trigger reads in KEDA 2.20. Of other types only what holds for all triggers is checked.
TABLES: Mapping[str, Table] = {
    "redis": {**_REDIS, **_DATABASE},
    "redis-sentinel": {**_REDIS, **_DATABASE, **_SENTINEL},
    "redis-cluster": _REDIS,
    "rabbitmq": {
        "queueName": Parameter(required=True),
        "host": Parameter(sources=(METADATA, AUTH, ENV), required=True),
        "protocol": Parameter(_choice("auto", "amqp", "http"), sources=(METADATA, AUTH)),
        "vhostName": Parameter(sources=(METADATA, AUTH)),
        "mode": Parameter(_choice("QueueLength", *RABBITMQ_HTTP_MODES)),
        **{name: Parameter(FLOAT) for name in ("value", "queueLength", "activationValue")},
        **{name: Parameter(BOOLEAN) for name in ("useRegex", "excludeUnacknowledged", "unsafeSsl")},
        "pageSize": Parameter(INTEGER, least=1),
        "operation": Parameter(_choice("sum", "avg", "max")),
        "timeout": Parameter(_PERIOD),
        **{name: Parameter(sources=(AUTH, ENV)) for name in ("username", "password")},
        **_auth_only("tls", "ca", "cert", "key", "keyPassword", "workloadIdentityResource"),
        **_auth_only("oauthTokenURI", "clientID", "clientSecret", "scopes", "endpointParams"),
    },
    "aws-sqs-queue": {
        "queueURL": Parameter(sources=(METADATA, ENV), required=True),
        "awsRegion": Parameter(sources=(METADATA, AUTH), required=True),
        "awsEndpoint": Parameter(),
        "queueLength": _target(INTEGER),
        "activationQueueLength": Parameter(INTEGER),
        "scaleOnInFlight": Parameter(BOOLEAN),
        "scaleOnDelayed": Parameter(BOOLEAN),
        **_AWS,
    },
    "prometheus": {
        "serverAddress": Parameter(required=True),
        "query": Parameter(required=True),
        "threshold": _target(FLOAT, required=True),
        "activationThreshold": Parameter(FLOAT),
        "namespace": Parameter(),
        "queryParameters": Parameter(_PAIRS),
        "customHeaders": Parameter(_PAIRS),
        "ignoreNullValues": Parameter(BOOLEAN),
        "unsafeSsl": Parameter(BOOLEAN),
        "timeout": Parameter(_PERIOD),
        "awsRegion": Parameter(sources=(METADATA, AUTH)),
        **{
            name: Parameter(_choices("basic", "bearer", "tls", "custom", "apiKey", "oauth"), sources=(METADATA, AUTH))
            for name in ("authModes", "authMode")
        },
        "method": Parameter(_choice("header", "query"), sources=(METADATA, AUTH)),
        "keyParamName": Parameter(sources=(METADATA, AUTH)),
        # The name of an environment variable with Google credentials, or of one with a path to them.
        "credentials": Parameter(sources=(AUTH, ENV)),
        "credentialsFromEnvFile": Parameter(),
        **_auth_only("bearerToken", "token", "username", "password", "ca", "cert", "key", "apiKey"),
        **_auth_only("oauthTokenURI", "clientID", "clientSecret", "scopes", "endpointParams"),
        **_auth_only("customAuthHeader", "customAuthValue"),
        **_AWS,
    },
    "cron": {
        **{name: Parameter(required=True) for name in ("timezone", "start", "end")},
        "desiredReplicas": Parameter(INTEGER, required=True, least=1),
    },
    "cpu": _RESOURCE,
    "memory": _RESOURCE,
    "kubernetes-workload": {
        "podSelector": Parameter(required=True),
        "value": _target(FLOAT, required=True),
        "activationValue": Parameter(FLOAT),
        "groupByNode": Parameter(BOOLEAN, since="2.20"),
    },
}
#: Keys that KEDA once read, by type ("" for all): what came in their place.
GONE: Mapping[tuple[str, str], str] = {
    ("", "metricName"): "KEDA names the metric itself since 2.12; remove it.",
    ("cpu", "type"): "KEDA 2.18 took it away; write metricType beside type, not in the metadata.",
    ("memory", "type"): "KEDA 2.18 took it away; write metricType beside type, not in the metadata.",
    ("prometheus", "cortexOrgID"): "KEDA took it away; write customHeaders: X-Scope-OrgID=<name>.",
}


def shown(text: str) -> str:
    """A value in a message, cut where it is long."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
