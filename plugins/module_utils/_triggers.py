# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: whether KEDA could work with a ScaledObject. Pure functions of the manifest.

KEDA 2.20 ignores metadata keys that it does not know, and a server goes on without KEDA's admission webhook when that
does not answer. So everything that the webhook would say of the object alone is said here, and what nobody says.
A message shows numbers, switches and schedules, and never a value of free text: it may hold a password.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._kubernetes import quantity
from ansible_collections.queueops.celery.plugins.module_utils._names import LONGEST_SCALED_OBJECT
from ansible_collections.queueops.celery.plugins.module_utils._problems import Problems, suggest
from ansible_collections.queueops.celery.plugins.module_utils._values import (
    _CREDENTIALS,
    URL_WITH_PASSWORD,
    names_secret,
)
from ansible_collections.queueops.celery.plugins.module_utils._versions import Version, as_text, older

#: Where KEDA looks for a parameter. C(ENV) is the key C(<parameter>FromEnv), the name of an environment variable.
METADATA, AUTH, ENV = "the metadata", "a TriggerAuthentication", "the environment"
_FROM_ENV = "FromEnv"

#: Triggers that the HPA measures itself. All others are external metrics, which KEDA serves.
_RESOURCE_TYPES = ("cpu", "memory")

#: KEDA cuts a target to thousandths, so anything smaller is 0, which no HPA takes.
_SMALLEST_TARGET = 0.001
_INT32 = 2**31 - 1
_INT64 = 2**63 - 1

#: Go's strconv.ParseBool.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_GO_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DURATION = re.compile(r"[0-9]+|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True)
class _Kind:
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


def _choice(*words: str) -> _Kind:
    return _Kind(lambda text: text in words, f"one of {', '.join(words)}")


def _choices(*words: str) -> _Kind:
    return _Kind(
        lambda text: {part.strip() for part in text.split(",")} <= set(words),
        f"one or more of {', '.join(words)}, with commas between them",
    )


_TEXT = _Kind()
_INTEGER = _Kind(_is_whole, "a whole number in quotes, such as '5'")
_FLOAT = _Kind(_is_number, "a number in quotes, such as '5' or '0.5'")
_BOOLEAN = _Kind(lambda text: text in _TRUE + _FALSE, "'true' or 'false', in quotes")
_PERIOD = _Kind(lambda text: bool(_DURATION.fullmatch(text)), "a duration such as '3s', or milliseconds such as '3000'")
_PAIRS = _Kind(_is_pairs)


@dataclass(frozen=True)
class _Parameter:
    """One parameter of a scaler, as KEDA's source declares it.

    :param sources: where KEDA looks for it; the first that has a value wins.
    :param least: the smallest value that works.
    :param target: whether it is what the HPA compares with; with a formula nobody reads that.
    :param instead: what to write where it stands in the metadata and KEDA does not look there.
    """

    kind: _Kind = _TEXT
    sources: tuple[str, ...] = (METADATA,)
    required: bool = False
    least: float | None = None
    target: bool = False
    instead: str = "move it there"


def _target(kind: _Kind, required: bool = False) -> _Parameter:
    return _Parameter(kind, required=required, least=1 if kind is _INTEGER else _SMALLEST_TARGET, target=True)


def _auth_only(*names: str) -> dict[str, _Parameter]:
    return {name: _Parameter(sources=(AUTH,)) for name in names}


_Table = Mapping[str, _Parameter]
_REDIS: _Table = {
    "listName": _Parameter(required=True),
    "listLength": _target(_INTEGER),
    "activationListLength": _Parameter(_INTEGER),
    **{name: _Parameter(sources=(METADATA, AUTH, ENV)) for name in ("address", "addresses")},
    **{name: _Parameter(sources=(METADATA, ENV, AUTH)) for name in ("host", "hosts", "port", "ports")},
    **{name: _Parameter(sources=(METADATA, ENV, AUTH)) for name in ("username", "password")},
    "enableTLS": _Parameter(_BOOLEAN),
    "unsafeSsl": _Parameter(_BOOLEAN),
    "tls": _Parameter(sources=(AUTH,), instead="in the metadata TLS is switched on with enableTLS: 'true' alone"),
    **_auth_only("ca", "cert", "key", "keyPassword"),
}
_DATABASE: _Table = {"databaseIndex": _Parameter(_INTEGER, least=0)}
_SENTINEL: _Table = {
    name: _Parameter(sources=(METADATA, AUTH, ENV), required=name == "sentinelMaster")
    for name in ("sentinelMaster", "sentinelUsername", "sentinelPassword")
}
_RESOURCE: _Table = {"value": _Parameter(required=True), "containerName": _Parameter()}
_RABBITMQ_HTTP_MODES = ("MessageRate", "DeliverGetRate", "PublishedToDeliveredRatio", "ExpectedQueueConsumptionTime")
_AWS: _Table = {
    "identityOwner": _Parameter(_choice("pod", "operator")),
    **{name: _Parameter(sources=(AUTH, ENV)) for name in ("awsAccessKeyID", "awsSecretAccessKey")},
    **_auth_only("awsSessionToken", "awsRoleArn"),
}

#: What each type of trigger reads in KEDA 2.20. Of other types only what holds for all triggers is checked.
_TABLES: Mapping[str, _Table] = {
    "redis": {**_REDIS, **_DATABASE},
    "redis-sentinel": {**_REDIS, **_DATABASE, **_SENTINEL},
    "redis-cluster": _REDIS,
    "rabbitmq": {
        "queueName": _Parameter(required=True),
        "host": _Parameter(sources=(METADATA, AUTH, ENV), required=True),
        "protocol": _Parameter(_choice("auto", "amqp", "http"), sources=(METADATA, AUTH)),
        "vhostName": _Parameter(sources=(METADATA, AUTH)),
        "mode": _Parameter(_choice("QueueLength", *_RABBITMQ_HTTP_MODES)),
        **{name: _Parameter(_FLOAT) for name in ("value", "queueLength", "activationValue")},
        **{name: _Parameter(_BOOLEAN) for name in ("useRegex", "excludeUnacknowledged", "unsafeSsl")},
        "pageSize": _Parameter(_INTEGER, least=1),
        "operation": _Parameter(_choice("sum", "avg", "max")),
        "timeout": _Parameter(_PERIOD),
        **{name: _Parameter(sources=(AUTH, ENV)) for name in ("username", "password")},
        **_auth_only("tls", "ca", "cert", "key", "keyPassword", "workloadIdentityResource"),
        **_auth_only("oauthTokenURI", "clientID", "clientSecret", "scopes", "endpointParams"),
    },
    "aws-sqs-queue": {
        "queueURL": _Parameter(sources=(METADATA, ENV), required=True),
        "awsRegion": _Parameter(sources=(METADATA, AUTH), required=True),
        "awsEndpoint": _Parameter(),
        "queueLength": _target(_INTEGER),
        "activationQueueLength": _Parameter(_INTEGER),
        "scaleOnInFlight": _Parameter(_BOOLEAN),
        "scaleOnDelayed": _Parameter(_BOOLEAN),
        **_AWS,
    },
    "prometheus": {
        "serverAddress": _Parameter(required=True),
        "query": _Parameter(required=True),
        "threshold": _target(_FLOAT, required=True),
        "activationThreshold": _Parameter(_FLOAT),
        "namespace": _Parameter(),
        "queryParameters": _Parameter(_PAIRS),
        "customHeaders": _Parameter(_PAIRS),
        "ignoreNullValues": _Parameter(_BOOLEAN),
        "unsafeSsl": _Parameter(_BOOLEAN),
        "timeout": _Parameter(_PERIOD),
        "awsRegion": _Parameter(sources=(METADATA, AUTH)),
        **{
            name: _Parameter(_choices("basic", "bearer", "tls", "custom", "apiKey", "oauth"), sources=(METADATA, AUTH))
            for name in ("authModes", "authMode")
        },
        "method": _Parameter(_choice("header", "query"), sources=(METADATA, AUTH)),
        "keyParamName": _Parameter(sources=(METADATA, AUTH)),
        # The name of an environment variable with Google credentials, or of one with a path to them.
        "credentials": _Parameter(sources=(AUTH, ENV)),
        "credentialsFromEnvFile": _Parameter(),
        **_auth_only("bearerToken", "token", "username", "password", "ca", "cert", "key", "apiKey"),
        **_auth_only("oauthTokenURI", "clientID", "clientSecret", "scopes", "endpointParams"),
        **_auth_only("customAuthHeader", "customAuthValue"),
        **_AWS,
    },
    "cron": {
        **{name: _Parameter(required=True) for name in ("timezone", "start", "end")},
        "desiredReplicas": _Parameter(_INTEGER, required=True, least=1),
    },
    "cpu": _RESOURCE,
    "memory": _RESOURCE,
    "kubernetes-workload": {
        "podSelector": _Parameter(required=True),
        "value": _target(_FLOAT, required=True),
        "activationValue": _Parameter(_FLOAT),
    },
}

#: Keys that KEDA once read, by type ("" for all): what came in their place.
_GONE: Mapping[tuple[str, str], str] = {
    ("", "metricName"): "KEDA names the metric itself since 2.12; remove it.",
    ("cpu", "type"): "KEDA 2.18 took it away; write metricType beside type, not in the metadata.",
    ("memory", "type"): "KEDA 2.18 took it away; write metricType beside type, not in the metadata.",
    ("prometheus", "cortexOrgID"): "KEDA took it away; write customHeaders: X-Scope-OrgID=<name>.",
}

_TRIGGER_KEYS = {"type", "name", "metadata", "authenticationRef", "metricType", "useCachedMetrics"}


@dataclass(frozen=True)
class _Trigger:
    """One trigger, as far as it has the right shape.

    :param metadata: its texts as KEDA reads them: trimmed, without empty ones and without those that were refused.
    :param written: every metadata key that has a value, refused or not.
    :param has_authentication: whether a TriggerAuthentication may give what the metadata lacks.
    :param in_formula: whether a formula stands between the trigger and the HPA.
    """

    path: str
    type: str
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    metric_type: str = ""
    has_authentication: bool = False
    in_formula: bool = False

    @property
    def is_external(self) -> bool:
        """Whether KEDA serves its value; only such triggers wake a workload and take part in a formula."""
        return self.type not in _RESOURCE_TYPES

    def at(self, key: str = "") -> str:
        """Where a metadata key stands."""
        return f"{self.path}.metadata.{key}" if key else f"{self.path}.metadata"

    def gives(self, *keys: str) -> bool:
        """Whether the trigger itself gives one of some parameters, or says which environment variable does."""
        return any(key in self.written or key + _FROM_ENV in self.written for key in keys)

    def number(self, key: str) -> float | None:
        """A metadata value as a number; None if it is none."""
        text = self.metadata.get(key, "")
        return float(text) if _is_number(text) else None

    def is_true(self, key: str) -> bool:
        """Whether a metadata value switches something on."""
        return self.metadata.get(key) in _TRUE


def check_trigger(trigger: Mapping[str, Any], path: str, problems: Problems) -> None:
    """Everything that can be said of one KEDA trigger alone (KEDA 2.20).

    :param path: how messages name the trigger.
    """
    _check_trigger(trigger, path, problems, in_formula=False)


def _check_trigger(trigger: Any, path: str, problems: Problems, in_formula: bool) -> _Trigger | None:
    """The trigger, read as far as possible; None if it has no type."""
    if not isinstance(trigger, Mapping):
        problems.add(path, "a trigger is a dict with type and metadata.")
        return None
    for name in sorted(set(map(str, trigger)) - _TRIGGER_KEYS):
        problems.add(f"{path}.{name}", f"a KEDA trigger has no {name!r}; {suggest(name, _TRIGGER_KEYS)}")
    kind = trigger.get("type")
    if not isinstance(kind, str) or not kind:
        problems.add(path, "a trigger needs type, a text such as redis.")
        return None
    metadata = trigger.get("metadata")
    written = metadata if isinstance(metadata, Mapping) else {}
    read = _Trigger(
        path=path,
        type=kind,
        name=_text_of(trigger, "name", path, problems),
        metadata=_read_metadata(metadata, path, problems),
        written=frozenset(str(key) for key, value in written.items() if value is not None and str(value).strip()),
        metric_type=_text_of(trigger, "metricType", path, problems),
        has_authentication=_check_authentication(trigger.get("authenticationRef"), path, problems),
        in_formula=in_formula and kind not in _RESOURCE_TYPES,
    )
    _check_metric_type(read, problems)
    _check_cached_metrics(read, trigger.get("useCachedMetrics"), problems)
    _check_parameters(read, problems)
    if kind in _CHECKS:
        _CHECKS[kind](read, problems)
    return read


def _text_of(owner: Mapping[str, Any], key: str, path: str, problems: Problems) -> str:
    value = owner.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    problems.add(f"{path}.{key}", "the server takes text only; write it in quotes.")
    return ""


def _check_authentication(reference: Any, path: str, problems: Problems) -> bool:
    if reference is None:
        return False
    if not isinstance(reference, Mapping) or not isinstance(reference.get("name"), str) or not reference["name"]:
        problems.add(f"{path}.authenticationRef", "name the TriggerAuthentication; write {name: …}.")
        return True
    for name in sorted(set(map(str, reference)) - {"name", "kind"}):
        problems.add(
            f"{path}.authenticationRef.{name}", f"there is no {name!r} here; {suggest(name, ('name', 'kind'))}"
        )
    kinds = ("TriggerAuthentication", "ClusterTriggerAuthentication")
    if reference.get("kind") not in (None, *kinds):
        problems.add(f"{path}.authenticationRef.kind", f"the kind is one of {', '.join(kinds)}.")
    return True


def _read_metadata(metadata: Any, path: str, problems: Problems) -> dict[str, str]:
    """The texts of the metadata without credentials, so that no later message can show one."""
    if not isinstance(metadata, Mapping):
        problems.add(f"{path}.metadata", "a trigger needs metadata, a dict of text.")
        return {}
    found: dict[str, str] = {}
    for key, value in metadata.items():
        where = f"{path}.metadata.{key}"
        if not isinstance(key, str) or not isinstance(value, str):
            problems.add(where, "the server takes text only; write the value in quotes.")
        elif value.strip() and _is_credential(key, value):
            problems.add(
                where,
                "credentials do not belong into trigger metadata, which everybody may read; put them into a Secret "
                "and use authenticationRef.",
            )
        elif value.strip():
            found[key] = value.strip()
    return found


def _is_credential(key: str, value: str) -> bool:
    named = names_secret(key) or key in _CREDENTIALS or key.lower() == "awsaccesskeyid"
    return named or bool(URL_WITH_PASSWORD.search(value)) or (key == "customHeaders" and _has_secret_header(value))


def _has_secret_header(headers: str) -> bool:
    names = [part.partition("=")[0].strip().lower() for part in headers.split(",")]
    return any(
        name in ("authorization", "proxy-authorization", "cookie") or names_secret(name.replace("-", "_"))
        for name in names
    )


def _check_metric_type(trigger: _Trigger, problems: Problems) -> None:
    """KEDA 2.20: a resource needs one of two types; an external metric is of type AverageValue if nothing is said."""
    allowed = ("AverageValue", "Value") if trigger.is_external else ("Utilization", "AverageValue")
    if trigger.metric_type in allowed or (trigger.is_external and not trigger.metric_type):
        return
    what = "needs" if not trigger.metric_type else "takes"
    problems.add(f"{trigger.path}.metricType", f"a {trigger.type} trigger {what} {' or '.join(allowed)} here.")


def _check_cached_metrics(trigger: _Trigger, value: Any, problems: Problems) -> None:
    if value is not None and not isinstance(value, bool):
        problems.add(f"{trigger.path}.useCachedMetrics", "write true or false, without quotes.")
    elif value and trigger.type in (*_RESOURCE_TYPES, "cron"):
        problems.add(
            f"{trigger.path}.useCachedMetrics", f"KEDA refuses it on a {trigger.type} trigger; take it out there."
        )


def _check_parameters(trigger: _Trigger, problems: Problems) -> None:
    """The metadata against the table of the trigger's type."""
    table = _TABLES.get(trigger.type)
    if table is None:
        return
    for key in trigger.metadata:
        fault = _unread(key, trigger.type, table)
        if fault:
            problems.add(trigger.at(key), fault)
        elif key in table:
            _check_value(trigger, key, table[key], problems)
    for key, parameter in table.items():
        if parameter.required and _is_missing(trigger, key, parameter):
            problems.add(trigger.at(), f"a {trigger.type} trigger needs {key}.")
        _warn_two_sources(trigger, key, parameter, problems)


def _unread(key: str, kind: str, table: _Table) -> str:
    """Why KEDA does not read a metadata key; empty if it does."""
    base = key.removesuffix(_FROM_ENV)
    if key in table:
        if METADATA in table[key].sources:
            return ""
        return f"KEDA takes it from {' or '.join(table[key].sources)} only and ignores it here; {table[key].instead}."
    if base in table:
        if ENV in table[base].sources:
            return ""
        return f"KEDA takes {base} from {' or '.join(table[base].sources)} and ignores this; write it there."
    gone = _GONE.get((kind, key)) or _GONE.get(("", key))
    if gone:
        return gone
    family = [name for name, others in _TABLES.items() if name.startswith("redis") and base in others]
    if family and kind.startswith("redis"):
        return f"a {kind} trigger does not read it, {' and '.join(family)} does; change the type or take it out."
    return f"a {kind} trigger has no {key!r}, so KEDA ignores it; {_nearest(key, _written_names(table))}"


def _written_names(table: _Table) -> list[str]:
    """The keys that may stand in metadata."""
    plain = [key for key, parameter in table.items() if METADATA in parameter.sources]
    return plain + [key + _FROM_ENV for key, parameter in table.items() if ENV in parameter.sources]


def _nearest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, else all of them: those of KEDA stand in no reference of ours."""
    names = sorted(set(known))
    near = suggest(name, names)
    return near if near.startswith("did you mean") else f"there is {', '.join(names) or 'nothing'}."


def _check_value(trigger: _Trigger, key: str, parameter: _Parameter, problems: Problems) -> None:
    text = trigger.metadata[key]
    if not parameter.kind.reads(text):
        if parameter.kind.words:
            problems.add(trigger.at(key), f"KEDA cannot read {_shown(text)}; write {parameter.kind.words}.")
        else:
            problems.add(trigger.at(key), "KEDA cannot read this; write name=value, with commas between several.")
        return
    number = trigger.number(key)
    counts = not (parameter.target and trigger.in_formula)
    if parameter.least is not None and number is not None and number < parameter.least and counts:
        lowest = "a number above 0" if parameter.least == _SMALLEST_TARGET else f"{parameter.least:g} or more"
        problems.add(trigger.at(key), f"{_shown(text)} is too low; write {lowest}.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _is_missing(trigger: _Trigger, key: str, parameter: _Parameter) -> bool:
    if key in trigger.written or (ENV in parameter.sources and key + _FROM_ENV in trigger.written):
        return False
    # KEDA lets a pod count without a target stand in a formula; the threshold of Prometheus it wants always.
    if trigger.in_formula and parameter.target and trigger.type == "kubernetes-workload":
        return False
    return not (trigger.has_authentication and AUTH in parameter.sources)


def _warn_two_sources(trigger: _Trigger, key: str, parameter: _Parameter, problems: Problems) -> None:
    """A password of the environment and a TriggerAuthentication, which may hold another one."""
    both = trigger.has_authentication and key + _FROM_ENV in trigger.metadata
    if both and names_secret(key) and {AUTH, ENV} <= set(parameter.sources):
        winner = min((AUTH, ENV), key=parameter.sources.index)
        problems.warn(
            trigger.at(key + _FROM_ENV),
            f"a TriggerAuthentication stands beside it; where both give {key}, KEDA takes that of {winner}.",
        )


def _parts(trigger: _Trigger, *keys: str) -> list[str]:
    """A comma list that has two names; the first that is written counts."""
    written = next((trigger.metadata[key] for key in keys if key in trigger.metadata), "")
    return [part.strip() for part in written.split(",")] if written else []


def _check_redis(trigger: _Trigger, problems: Problems) -> None:
    """Where Redis is: addresses, or as many hosts as ports (KEDA 2.20)."""
    addresses, hosts, ports = (
        _parts(trigger, name, plural)
        for name, plural in (("address", "addresses"), ("host", "hosts"), ("port", "ports"))
    )
    has_host, has_port = trigger.gives("host", "hosts"), trigger.gives("port", "ports")
    if not trigger.has_authentication:
        if has_host != has_port:
            problems.add(trigger.at(), "host and port go together; write both, or address: <host>:<port>.")
        elif not has_host and not trigger.gives("address", "addresses"):
            problems.add(trigger.at(), f"a {trigger.type} trigger needs address: <host>:<port>, or host and port.")
    _check_addresses(trigger, addresses, ports, problems)
    if hosts and ports and len(hosts) != len(ports):
        problems.add(trigger.at(), f"there are {len(hosts)} hosts and {len(ports)} ports; write a port for each host.")
    if trigger.type == "redis" and addresses and has_host:
        problems.add(trigger.at(), "a redis trigger asks one server, that of the address; take host and port out.")
    if trigger.type == "redis" and max(len(addresses), len(hosts)) > 1:
        problems.warn(trigger.at(), "a redis trigger asks the first server only; take the others out.")


def _check_addresses(trigger: _Trigger, addresses: list[str], ports: list[str], problems: Problems) -> None:
    def is_port(text: str) -> bool:
        return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535

    matches = [_HOST_AND_PORT.fullmatch(address) for address in addresses]
    if not all(match and is_port(match[2]) for match in matches):
        key = "address" if "address" in trigger.metadata else "addresses"
        problems.add(trigger.at(key), "write <host>:<port>, without a scheme, user or path: redis.shop.svc:6379.")
    if not all(is_port(port) for port in ports):
        key = "port" if "port" in trigger.metadata else "ports"
        problems.add(trigger.at(key), "a port is a number from 1 to 65535, in quotes.")


def _check_rabbitmq(trigger: _Trigger, problems: Problems) -> None:
    _check_rabbitmq_target(trigger, problems)
    if _rabbitmq_protocol(trigger, problems) == "amqp":
        _check_http_only(trigger, problems)
    if not trigger.has_authentication and trigger.gives("username") != trigger.gives("password"):
        problems.add(trigger.at(), "KEDA takes username and password together; give both, or neither.")


def _rabbitmq_protocol(trigger: _Trigger, problems: Problems) -> str:
    """How KEDA asks RabbitMQ: amqp or http; empty if that cannot be seen here."""
    written = trigger.metadata.get("protocol", "auto")
    host = trigger.metadata.get("host")
    scheme = host.partition("://")[0].lower() if host and "://" in host else ""
    by_host = {"amqp": "amqp", "amqps": "amqp", "http": "http", "https": "http"}.get(scheme, "")
    if host and not by_host:
        problems.add(trigger.at("host"), "begin the URL with amqp://, amqps://, http:// or https://.")
    elif by_host and written in ("amqp", "http") and written != by_host:
        problems.add(
            trigger.at("protocol"), f"{written} does not fit the host, whose URL is of {by_host}; change one of both."
        )
    return written if written in ("amqp", "http") else by_host


def _check_http_only(trigger: _Trigger, problems: Problems) -> None:
    """What KEDA 2.20 does through the management API only."""
    reason = "KEDA does this over http only; write protocol: http and the host of the management API."
    for key in ("useRegex", "excludeUnacknowledged"):
        if trigger.is_true(key):
            problems.add(trigger.at(key), reason)
    if trigger.metadata.get("mode") in _RABBITMQ_HTTP_MODES:
        problems.add(trigger.at("mode"), reason)
    if "timeout" in trigger.metadata:
        problems.add(trigger.at("timeout"), "amqp has no timeout of its own; take it out, or use protocol: http.")


def _check_rabbitmq_target(trigger: _Trigger, problems: Problems) -> None:
    """The two ways to say how many messages a pod takes exclude each other (KEDA 2.20)."""
    mode, value, length = (key in trigger.written for key in ("mode", "value", "queueLength"))
    for key in ("value", "queueLength"):
        number = trigger.number(key)
        if number == 0:
            problems.add(trigger.at(key), "KEDA takes 0 as not written; write a number above 0.")
        elif number is not None and number < _SMALLEST_TARGET and not trigger.in_formula:
            problems.add(trigger.at(key), f"{_shown(trigger.metadata[key])} is too low; write a number above 0.")
    if length and (mode or value):
        problems.add(trigger.at("queueLength"), "it excludes mode and value; take it out.")
    elif length:
        problems.warn(trigger.at("queueLength"), "KEDA is giving it up; write mode: QueueLength and value instead.")
    elif mode != value:
        written, missing = ("mode", "value") if mode else ("value", "mode")
        problems.add(trigger.at(), f"{written} needs {missing} beside it.")


def _check_sqs(trigger: _Trigger, problems: Problems) -> None:
    """KEDA 2.20 takes the queue's name, or a URL whose path is its account and name."""
    url = trigger.metadata.get("queueURL")
    by_name = r"[A-Za-z0-9_-]{1,80}(\.fifo)?"
    if url and not re.fullmatch(rf"{by_name}|[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#]+/[^/\s?#]+/{by_name}", url):
        problems.add(
            trigger.at("queueURL"),
            "write the queue's name, or its URL of server, account and name: https://<server>/<account>/<queue>.",
        )
    _check_aws(trigger, problems)


def _check_aws(trigger: _Trigger, problems: Problems) -> None:
    keys = ("awsAccessKeyID", "awsSecretAccessKey")
    given = [trigger.gives(key) for key in keys]
    if trigger.has_authentication or trigger.metadata.get("identityOwner") == "operator" or all(given):
        return
    problems.add(
        trigger.at(),
        "KEDA has no AWS credentials for it; name a TriggerAuthentication in authenticationRef, or write "
        "identityOwner: operator for those of KEDA itself.",
    )


def _check_prometheus(trigger: _Trigger, problems: Problems) -> None:
    address = trigger.metadata.get("serverAddress")
    if address and not re.match(r"https?://[^\s/]", address, re.IGNORECASE):
        problems.add(trigger.at("serverAddress"), "begin the address with http:// or https://.")
    for key in ("authModes", "authMode"):
        modes = _parts(trigger, key)
        if modes and not trigger.has_authentication:
            problems.add(trigger.at(key), "what it needs is taken from a TriggerAuthentication; add authenticationRef.")
        if len({"basic", "bearer", "oauth"} & set(modes)) > 1:
            problems.add(trigger.at(key), "basic, bearer and oauth exclude each other; write one of them.")
    if "ignoreNullValues" not in trigger.metadata:
        problems.warn(
            trigger.at(),
            "an answer without a value counts as 0, so a dead exporter looks like no work; write "
            "ignoreNullValues: 'false', or 'true' to have it so.",
        )


@dataclass(frozen=True)
class _CronField:
    """One of the five fields of a schedule, with the limits of the parser that KEDA 2.20 uses.

    That parser counts the days of a week from 0 to 6 only: 7 is no Sunday.
    """

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def reads(self, text: str) -> bool:
        """Whether the field has this form: C(*), C(5), C(1-5), C(*/10), C(mon-fri), and lists of them."""
        return all(self._reads_range(part) for part in text.split(","))

    def _reads_range(self, text: str) -> bool:
        span, slash, step = text.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
            return False
        if span in ("*", "?"):
            return True
        ends = [self._number(end) for end in span.split("-")]
        return len(ends) <= 2 and None not in ends and ends == sorted(end for end in ends if end is not None)

    def _number(self, text: str) -> int | None:
        if text.lower() in self.words:
            return self.first + self.words.index(text.lower())
        number = int(text) if text.isascii() and text.isdigit() else -1
        return number if self.first <= number <= self.last else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_FIELDS = (
    _CronField("minute", 0, 59),
    _CronField("hour", 0, 23),
    _CronField("day of the month", 1, 31),
    _CronField("month", 1, 12, _MONTHS),
    _CronField("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def _check_cron(trigger: _Trigger, problems: Problems) -> None:
    start, end = trigger.metadata.get("start"), trigger.metadata.get("end")
    for key, schedule in (("start", start), ("end", end)):
        if schedule:
            _check_schedule(trigger.at(key), schedule, problems)
    if start and start == end:
        problems.add(trigger.at("end"), "start and end are the same; write when the time ends.")
    timezone = trigger.metadata.get("timezone")
    if timezone and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", timezone):
        problems.add(trigger.at("timezone"), "write the name of a time zone such as UTC or Europe/Berlin, no offset.")


def _check_schedule(path: str, schedule: str, problems: Problems) -> None:
    parts = schedule.split()
    if len(parts) != len(_CRON_FIELDS):
        names = ", ".join(item.name for item in _CRON_FIELDS)
        problems.add(
            path, f"a schedule has five fields ({names}), this has {len(parts)}; write one such as '0 8 * * *'."
        )
        return
    for item, part in zip(_CRON_FIELDS, parts, strict=True):
        if not item.reads(part):
            problems.add(
                path, f"{_shown(part)} is no {item.name}; write *, or numbers from {item.first} to {item.last}."
            )


def _check_resource(trigger: _Trigger, problems: Problems) -> None:
    """KEDA 2.20: percent of what the containers request, or an amount for each pod."""
    value = trigger.metadata.get("value")
    if value is None:
        return
    if trigger.metric_type == "Utilization":
        if not (_is_whole(value) and 1 <= int(value) <= _INT32):
            problems.add(trigger.at("value"), "Utilization is a percentage; write a whole number such as '60'.")
    elif trigger.metric_type == "AverageValue" and (quantity(value) or 0) <= 0:
        problems.add(trigger.at("value"), "AverageValue is an amount for each pod; write one such as 500m or 1Gi.")


_CHECKS: Mapping[str, Callable[[_Trigger, Problems], None]] = {
    "redis": _check_redis,
    "redis-sentinel": _check_redis,
    "redis-cluster": _check_redis,
    "rabbitmq": _check_rabbitmq,
    "aws-sqs-queue": _check_sqs,
    "prometheus": _check_prometheus,
    "cron": _check_cron,
    "cpu": _check_resource,
    "memory": _check_resource,
}


@dataclass(frozen=True)
class _ScaledObject:
    """A ScaledObject, as far as it has the right shape. Parts that are not written are empty."""

    path: str
    name: str
    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    advanced: Mapping[str, Any]
    pod_autoscaler: Mapping[str, Any]
    modifiers: Mapping[str, Any]
    fallback: Mapping[str, Any] | None
    keda: Version | None

    @property
    def formula(self) -> str:
        """The formula; empty if there is none."""
        formula = self.modifiers.get("formula")
        return formula.strip() if isinstance(formula, str) else ""

    def at(self, key: str) -> str:
        """Where a key of the spec stands."""
        return f"{self.path}.{key}"


_MODIFIERS = "advanced.scalingModifiers"
_POD_AUTOSCALER = "advanced.horizontalPodAutoscalerConfig"
_FALLBACK_BEHAVIORS = (
    "static",
    "currentReplicas",
    "currentReplicasIfHigher",
    "currentReplicasIfLower",
    "scalingModifiers",
)


def check_scaled_object(
    manifest: Mapping[str, Any], path: str, problems: Problems, keda: tuple[int, ...] | None = None
) -> None:
    """Everything that can be said of a ScaledObject without a cluster (KEDA 2.20).

    :param path: how messages name the object; the keys of its spec follow it: ``<path>.triggers[0].metadata.listName``.
    :param keda: the installed KEDA; None if nobody knows, which counts as new enough.
    """
    scaled = _read_scaled_object(manifest, path, problems, keda)
    if scaled is None:
        return
    triggers = _check_triggers(scaled, problems)
    _check_unknown_fields(scaled, problems)
    _check_name(scaled, problems)
    _check_annotations(scaled, problems)
    _check_numbers(scaled, triggers, problems)
    _check_modifiers(scaled, problems)
    _check_fallback(scaled, triggers, problems)
    if scaled.formula:
        _check_formula(scaled, triggers, problems)
    _check_version(scaled, triggers, problems)


def _read_scaled_object(
    manifest: Mapping[str, Any], path: str, problems: Problems, keda: Version | None
) -> _ScaledObject | None:
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        problems.add(path, "a ScaledObject needs spec, a dict with scaleTargetRef and triggers.")
        return None
    metadata = _part(manifest, "metadata", path, problems)
    advanced = _part(spec, "advanced", path, problems)
    where = f"{path}.advanced"
    target = _part(spec, "scaleTargetRef", path, problems)
    if not target.get("name"):
        problems.add(f"{path}.scaleTargetRef", "name what is scaled; write {kind: Deployment, name: …}.")
    return _ScaledObject(
        path=path,
        name=str(metadata.get("name") or ""),
        annotations=_part(metadata, "annotations", f"{path}.metadata", problems),
        spec=spec,
        advanced=advanced,
        pod_autoscaler=_part(advanced, "horizontalPodAutoscalerConfig", where, problems),
        modifiers=_part(advanced, "scalingModifiers", where, problems),
        fallback=None if spec.get("fallback") is None else _part(spec, "fallback", path, problems),
        keda=keda,
    )


def _part(owner: Mapping[str, Any], key: str, path: str, problems: Problems) -> Mapping[str, Any]:
    value = owner.get(key)
    if isinstance(value, Mapping):
        return value
    if value is not None:
        problems.add(f"{path}.{key}", "this is a dict; write its keys below it.")
    return {}


def _check_triggers(scaled: _ScaledObject, problems: Problems) -> list[_Trigger]:
    """Every trigger alone, then their names. Those that can be read are returned."""
    written = scaled.spec.get("triggers")
    if not isinstance(written, (list, tuple)) or not written:
        problems.add(scaled.at("triggers"), "a ScaledObject needs a list of at least one trigger.")
        return []
    found = [
        _check_trigger(item, scaled.at(f"triggers[{number}]"), problems, in_formula=bool(scaled.formula))
        for number, item in enumerate(written)
    ]
    _warn_same(written, scaled, problems)
    triggers = [trigger for trigger in found if trigger is not None]
    names = [trigger.name for trigger in triggers]
    for number, trigger in enumerate(triggers):
        if trigger.name and trigger.name in names[:number]:
            problems.add(
                f"{trigger.path}.name", f"another trigger is called {trigger.name!r} already; names are unique."
            )
    return triggers


def _warn_same(written: Iterable[Any], scaled: _ScaledObject, problems: Problems) -> None:
    """Triggers that differ in nothing but their names."""
    seen: list[Any] = []
    for number, item in enumerate(written):
        plain = {key: value for key, value in item.items() if key != "name"} if isinstance(item, Mapping) else {}
        if plain and plain in seen:
            path = scaled.at(f"triggers[{number}]")
            problems.warn(path, f"it asks the same as triggers[{seen.index(plain)}]; take one of them out.")
        seen.append(plain)


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "": (
        "scaleTargetRef",
        "pollingInterval",
        "cooldownPeriod",
        "initialCooldownPeriod",
        "idleReplicaCount",
        "minReplicaCount",
        "maxReplicaCount",
        "advanced",
        "triggers",
        "fallback",
    ),
    "fallback": ("failureThreshold", "replicas", "behavior"),
    "advanced": ("horizontalPodAutoscalerConfig", "restoreToOriginalReplicaCount", "scalingModifiers"),
    _POD_AUTOSCALER: ("name", "behavior"),
    _MODIFIERS: ("formula", "target", "activationTarget", "metricType"),
}


def _check_unknown_fields(scaled: _ScaledObject, problems: Problems) -> None:
    """Fields that look mistyped. The server drops them in silence; others may be of a newer KEDA."""
    parts = (scaled.spec, scaled.fallback or {}, scaled.advanced, scaled.pod_autoscaler, scaled.modifiers)
    for (place, known), part in zip(_FIELDS.items(), parts, strict=True):
        for key in sorted(set(map(str, part)) - set(known)):
            near = suggest(key, known)
            if near.startswith("did you mean"):
                problems.add(scaled.at(f"{place}.{key}".lstrip(".")), f"a ScaledObject has no {key!r} here; {near}")


def _check_name(scaled: _ScaledObject, problems: Problems) -> None:
    """Both names become values of labels, which end at 63 characters; KEDA says so since 2.20."""
    autoscaler = scaled.pod_autoscaler.get("name")
    if isinstance(autoscaler, str) and len(autoscaler) > 63:
        problems.add(
            scaled.at(f"{_POD_AUTOSCALER}.name"),
            f"the name has {len(autoscaler)} characters, 63 are allowed; shorten it.",
        )
    longest = 63 if autoscaler else LONGEST_SCALED_OBJECT
    if len(scaled.name) > longest:
        problems.add(
            f"{scaled.path}.metadata.name",
            f"the name {scaled.name!r} has {len(scaled.name)} characters, {longest} are allowed; shorten it.",
        )


_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_NEW_SWITCHES = tuple(
    f"autoscaling.keda.sh/{name}" for name in ("paused-scale-in", "paused-scale-out", "force-activation")
)


def _check_annotations(scaled: _ScaledObject, problems: Problems) -> None:
    for name, value in scaled.annotations.items():
        path = f"{scaled.path}.metadata.annotations.{name}"
        if not isinstance(value, str):
            problems.add(path, "the server takes text only; write the value in quotes.")
        elif name == _PAUSED and value not in _TRUE + _FALSE:
            problems.add(path, f"KEDA takes {_shown(value)} as true and stops scaling; write 'true' or 'false'.")
        elif name in _NEW_SWITCHES and value not in _TRUE + _FALSE:
            problems.add(path, f"{_shown(value)} is no boolean; write 'true' or 'false'.")
        elif name == _PAUSED_REPLICAS and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= _INT32):
            problems.add(path, f"{_shown(value)} is no number of pods; write a whole number in quotes, such as '0'.")


def _whole(owner: Mapping[str, Any], key: str, path: str, problems: Problems, least: int = 0) -> int | None:
    """A whole number as the server takes it; None if it is not written or not one."""
    value = owner.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _INT32:
        problems.add(f"{path}.{key}", f"write a whole number without quotes, {least} or more.")
        return None
    return int(value)


def _check_numbers(scaled: _ScaledObject, triggers: list[_Trigger], problems: Problems) -> None:
    """Seconds and numbers of pods (KEDA 2.20)."""
    for key, least in (("pollingInterval", 1), ("cooldownPeriod", 0), ("initialCooldownPeriod", 0)):
        _whole(scaled.spec, key, scaled.path, problems, least)
    largest = _whole(scaled.spec, "maxReplicaCount", scaled.path, problems, least=1)
    smallest = _whole(scaled.spec, "minReplicaCount", scaled.path, problems)
    idle = _whole(scaled.spec, "idleReplicaCount", scaled.path, problems)
    limit, said = (100, " (KEDA's default)") if largest is None else (largest, "")
    if smallest is not None and smallest > limit:
        problems.add(
            scaled.at("minReplicaCount"), f"{smallest} is above maxReplicaCount {limit}{said}; lower it or raise that."
        )
    if idle is not None:
        _check_idle(scaled, idle, smallest, problems)
    may_be_none = scaled.spec.get("minReplicaCount") in (None, 0)
    if triggers and may_be_none and not any(trigger.is_external for trigger in triggers):
        problems.add(
            scaled.at("minReplicaCount"),
            "cpu and memory cannot wake a workload of no pods, so KEDA refuses 0; write 1, or add another trigger.",
        )


def _check_idle(scaled: _ScaledObject, idle: int, smallest: int | None, problems: Problems) -> None:
    if smallest is None and scaled.spec.get("minReplicaCount") is not None:
        return
    # KEDA counts a written 0 as 1 here, and a minimum that nobody wrote as 0.
    if idle >= (0 if smallest is None else max(1, smallest)):
        problems.add(
            scaled.at("idleReplicaCount"), f"{idle} must be below minReplicaCount; write minReplicaCount: {idle + 1}."
        )
    elif idle:
        problems.warn(scaled.at("idleReplicaCount"), "the HPA cannot hold that number of pods; only 0 is of use.")


def _check_modifiers(scaled: _ScaledObject, problems: Problems) -> None:
    """A formula needs a target and the reverse (KEDA 2.20)."""
    modifiers, path = scaled.modifiers, scaled.at(_MODIFIERS)
    if not modifiers:
        return
    texts = {key: _text_of(modifiers, key, path, problems).strip() for key in _FIELDS[_MODIFIERS]}
    for key in ("formula", "target"):
        if modifiers.get(key) is None or modifiers[key] == "":
            problems.add(path, f"scalingModifiers needs {key}; formula and target go together.")
    if texts["target"]:
        _check_target(scaled, texts["target"], problems)
    if texts["activationTarget"] and not _GO_NUMBER.fullmatch(texts["activationTarget"]):
        problems.add(f"{path}.activationTarget", "write a number in quotes, such as '0'.")
    if texts["metricType"] not in ("", "AverageValue", "Value"):
        problems.add(f"{path}.metricType", "a formula gives an external metric; write AverageValue or Value.")


def _check_target(scaled: _ScaledObject, target: str, problems: Problems) -> None:
    path = scaled.at(f"{_MODIFIERS}.target")
    if not _GO_NUMBER.fullmatch(target) or not _SMALLEST_TARGET <= float(target) < math.inf:
        problems.add(path, f"{_shown(target)} is no target; write a number above 0 in quotes, such as '1'.")
    elif scaled.fallback is not None and not re.fullmatch(r"\+?[0-9]+", target):
        problems.add(
            path,
            f"KEDA drops the fallback without a word unless the target is a whole number; multiply formula and target "
            f"until {_shown(target)} is one (fallback-target).",
        )


def _check_fallback(scaled: _ScaledObject, triggers: list[_Trigger], problems: Problems) -> None:
    fallback, path = scaled.fallback, scaled.at("fallback")
    if fallback is None:
        return
    for key in ("failureThreshold", "replicas"):
        if fallback.get(key) is None:
            problems.add(path, f"a fallback needs {key}.")
        elif _whole(fallback, key, path, problems) == 0 and key == "replicas":
            problems.add(
                f"{path}.replicas",
                "an outage of what KEDA asks would stop every pod; write 1 or more (fallback-zero).",
            )
    behavior = fallback.get("behavior")
    if behavior not in (None, *_FALLBACK_BEHAVIORS):
        hint = _nearest_of(behavior, _FALLBACK_BEHAVIORS)
        problems.add(f"{path}.behavior", f"there is no such behavior; {hint}")
    if behavior == "scalingModifiers":
        _check_formula_fallback(scaled, problems)
    if triggers and not scaled.formula and not any(trigger.is_external for trigger in triggers):
        problems.add(path, "KEDA has no fallback for cpu and memory; take it out, or add another trigger.")


def _nearest_of(value: Any, known: Iterable[str]) -> str:
    return suggest(value, known) if isinstance(value, str) else f"write one of {', '.join(known)}."


def _check_formula_fallback(scaled: _ScaledObject, problems: Problems) -> None:
    path = scaled.at("fallback.behavior")
    if not scaled.formula:
        problems.add(path, "scalingModifiers needs a formula; write one, or take another behavior.")
    elif "??" not in scaled.formula and "nil" not in scaled.formula:
        problems.warn(
            path,
            "a trigger that fails is nil in the formula, which has no number for that; write <name> ?? <number>.",
        )


@dataclass(frozen=True)
class _Token:
    """A word of a formula.

    :param kind: number, text, name, pointer, open, close or operator; C(wrong) for what the language does not have.
    """

    kind: str
    text: str
    position: int


# The language of github.com/expr-lang/expr, as far as formulas need it.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<number>0[xX][0-9A-Fa-f_]+|([0-9][0-9_]*(\.(?!\.)[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?)
    |(?P<text>"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`)
    |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    |(?P<pointer>\#[A-Za-z0-9_]*)
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])
    |(?P<operator>\?\?|\?\.|\?:|\*\*|\.\.|&&|\|\||[=!<>]=|[-+*/%^<>!?:,;.|=])
    |(?P<wrong>.)""",
    re.VERBOSE | re.DOTALL,
)
_PAIR = {"(": ")", "[": "]", "{": "}"}
_WORD_VALUES = {"true", "false", "nil"}
_WORD_OPERATORS = {"and", "or", "not", "in", "matches", "contains", "startsWith", "endsWith"}
_WORDS = _WORD_VALUES | _WORD_OPERATORS | {"let", "if", "else"}
#: Functions that make a number of numbers, or of a list of them.
_FUNCTIONS = {
    *("abs", "ceil", "floor", "round", "int", "float", "max", "min", "mean", "median", "sum"),
    *("all", "any", "one", "none", "count", "filter", "map", "reduce", "first", "last", "len", "get"),
    *("find", "findLast", "now", "date", "duration", "bitand", "bitor"),
}


def _tokens(formula: str) -> list[_Token]:
    return [
        _Token(str(match.lastgroup), match[0], match.start() + 1)
        for match in _TOKEN.finditer(formula)
        if match.lastgroup != "space"
    ]


def _check_formula(scaled: _ScaledObject, triggers: list[_Trigger], problems: Problems) -> None:
    """KEDA compiles the formula with the names of all triggers that are no cpu or memory trigger (2.20)."""
    path = scaled.at(f"{_MODIFIERS}.formula")
    tokens = _tokens(scaled.formula)
    fault = _syntax_fault(tokens)
    if fault:
        problems.add(path, fault)
    named = _check_names(triggers, problems)
    if fault or not named:
        return
    names, functions = _names_of(tokens)
    for function in sorted(functions - _FUNCTIONS):
        problems.add(path, f"there is no function {function!r}; {_nearest(function, _FUNCTIONS)}")
    external = {trigger.name for trigger in triggers if trigger.is_external}
    resources = {trigger.name for trigger in triggers if not trigger.is_external and trigger.name}
    for name in sorted(names - external):
        if name in resources:
            problems.add(
                path, f"{name} is a cpu or memory trigger, which the HPA reads beside the formula; take it out."
            )
        else:
            hint = _nearest(name, external)
            problems.add(path, f"no trigger is called {name!r}; {hint}")
    for trigger in triggers:
        if trigger.is_external and trigger.name not in names:
            problems.warn(
                trigger.path,
                f"the formula does not name {trigger.name}, so it has no effect; use it there or take the trigger out.",
            )


def _check_names(triggers: list[_Trigger], problems: Problems) -> bool:
    """Whether a formula can name every trigger that KEDA reads for it."""
    good = True
    for trigger in triggers:
        if not trigger.is_external:
            continue
        fault = ""
        if not trigger.name:
            fault = "with a formula each trigger needs a name; give it one, and use it in the formula."
        elif not _IDENTIFIER.fullmatch(trigger.name):
            fault = f"a formula cannot name {trigger.name!r}; use letters, digits and '_', a letter first."
        elif trigger.name in _WORDS:
            fault = f"{trigger.name!r} is a word of the formula's language; take another name."
        if fault:
            problems.add(f"{trigger.path}.name", fault)
            good = False
    return good


def _syntax_fault(tokens: list[_Token]) -> str:
    """Why a formula cannot be read; empty if nothing speaks against it."""
    for token in tokens:
        if token.kind == "wrong":
            return f"a formula has no {token.text!r} (character {token.position})."
    return _bracket_fault(tokens) or _order_fault(tokens)


def _bracket_fault(tokens: list[_Token]) -> str:
    opened: list[_Token] = []
    for token in tokens:
        if token.kind == "open":
            opened.append(token)
        elif token.kind == "close":
            if not opened or _PAIR[opened[-1].text] != token.text:
                return f"the {token.text!r} at character {token.position} closes nothing."
            opened.pop()
    if opened:
        return f"the {opened[-1].text!r} at character {opened[-1].position} is never closed."
    return ""


def _order_fault(tokens: list[_Token]) -> str:
    """Two values without an operator between them, or an operator without a value.

    Only plain arithmetic is looked at: blocks and variables of the language have an order of their own.
    """
    if any(token.kind in ("text", "pointer") or token.text in ("{", "let", "if", "else") for token in tokens):
        return ""
    before = _Token("operator", "", 0)
    for token in tokens:
        if not _may_follow(before, token):
            return f"{token.text!r} at character {token.position} stands where {_expected(before)} belongs."
        before = token
    return f"the formula ends after {before.text!r}; a value is missing." if not _ends_value(before) else ""


def _ends_value(token: _Token) -> bool:
    if token.kind == "name":
        return token.text not in _WORD_OPERATORS
    return token.kind in ("number", "close")


def _expected(before: _Token) -> str:
    return "an operator" if _ends_value(before) else "a value"


def _may_follow(before: _Token, token: _Token) -> bool:
    after_value = _ends_value(before)
    if token.kind == "number" or (token.kind == "name" and token.text not in _WORD_OPERATORS):
        return not after_value
    if token.text == "(":
        return not after_value or before.kind == "name"
    if token.text == "[":
        return True
    if token.kind == "close":
        # Calls and lists may be empty, and end in a comma.
        return after_value or before.kind == "open" or before.text == ","
    if token.text in ("-", "+", "!", "not", ":"):
        return True
    return after_value or (token.text == "in" and before.text == "not")


def _names_of(tokens: list[_Token]) -> tuple[set[str], set[str]]:
    """What a formula names and what it calls, without its own variables and members."""
    names: set[str] = set()
    functions: set[str] = set()
    own: set[str] = set()
    for number, token in enumerate(tokens):
        before = tokens[number - 1].text if number else ""
        after = tokens[number + 1].text if number + 1 < len(tokens) else ""
        if token.kind != "name" or token.text in _WORDS or before in (".", "?."):
            continue
        (own if before == "let" else functions if after == "(" else names).add(token.text)
    return names - own, functions


@dataclass(frozen=True)
class _Feature:
    """Something that an older KEDA ignores or refuses."""

    path: str
    since: str
    what: str


def _check_version(scaled: _ScaledObject, triggers: list[_Trigger], problems: Problems) -> None:
    """What the installed KEDA does not have yet."""
    for feature in _features(scaled, triggers):
        if older(scaled.keda, feature.since):
            problems.add(
                feature.path,
                f"{feature.what} needs KEDA {feature.since}, and {as_text(scaled.keda)} is installed; "
                "take it out or install a newer KEDA.",
            )


def _features(scaled: _ScaledObject, triggers: list[_Trigger]) -> list[_Feature]:
    found = []
    if scaled.modifiers:
        found.append(_Feature(scaled.at(_MODIFIERS), "2.12", "a formula"))
    if scaled.spec.get("initialCooldownPeriod"):
        found.append(_Feature(scaled.at("initialCooldownPeriod"), "2.14", "initialCooldownPeriod"))
    for name in _NEW_SWITCHES:
        if scaled.annotations.get(name, "false") not in _FALSE:
            found.append(_Feature(f"{scaled.path}.metadata.annotations.{name}", "2.18", name))
    labels = "scaledobject.keda.sh/hpa-excluded-labels"
    if labels in scaled.annotations:
        found.append(_Feature(f"{scaled.path}.metadata.annotations.{labels}", "2.18", labels))
    if scaled.fallback is not None:
        found += _fallback_features(scaled, scaled.fallback, triggers)
    return found


def _fallback_features(
    scaled: _ScaledObject, fallback: Mapping[str, Any], triggers: list[_Trigger]
) -> Iterable[_Feature]:
    behavior = fallback.get("behavior")
    if behavior == "scalingModifiers":
        yield _Feature(scaled.at("fallback.behavior"), "2.20", "the fallback behavior scalingModifiers")
    elif behavior not in (None, "static"):
        yield _Feature(scaled.at("fallback.behavior"), "2.17", "a fallback behavior other than static")
    types = [scaled.modifiers.get("metricType")] if scaled.formula else [trigger.metric_type for trigger in triggers]
    if "Value" in types:
        yield _Feature(scaled.at("fallback"), "2.18", "a fallback with metricType Value")
