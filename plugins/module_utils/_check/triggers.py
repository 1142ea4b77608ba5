# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KEDA could work with a ScaledObject. Pure functions of the manifest.

KEDA 2.20 ignores metadata keys that it does not know, and a server goes on without KEDA's admission webhook when that
does not answer. So everything that the webhook would say of the object alone is said here, and what nobody says.
A message shows numbers, switches and schedules, and never a value of free text: it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._schema.problems import Problems, suggest
from .._schema.quantities import quantity
from .._schema.secret_signs import has_url_with_password, is_secret_header, names_secret
from .cron import check_schedule, check_timezone, check_window
from .trigger_parameters import (
    AUTH,
    DIGITS,
    ENV,
    FROM_ENV,
    GONE,
    METADATA,
    RABBITMQ_HTTP_MODES,
    SMALLEST_TARGET,
    TABLES,
    TRUE_WORDS,
    Parameter,
    Table,
    _is_number,
    _is_whole,
    shown,
)

#: Triggers that the HPA measures itself. All others are external metrics, which KEDA serves.
_RESOURCE_TYPES = ("cpu", "memory")

#: Metadata keys that hold a secret, beside those that are named like one.
_CREDENTIALS = {"connection", "connectionString"}

LARGEST_INTEGER = 2**31 - 1


IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]+):([0-9]{1,5})")


_TRIGGER_KEYS = {"type", "name", "metadata", "authenticationRef", "metricType", "useCachedMetrics"}


@dataclass(frozen=True)
class Trigger:
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
        return any(key in self.written or key + FROM_ENV in self.written for key in keys)

    @property
    def later_keys(self) -> Iterable[tuple[str, str]]:
        """The metadata keys that older KEDAs do not read, each with the first that does."""
        table = TABLES.get(self.type, {})
        return [(key, table[key].since) for key in self.metadata if key in table and table[key].since]

    def number(self, key: str) -> float | None:
        """A metadata value as a number; None if it is none."""
        text = self.metadata.get(key, "")
        return float(text) if _is_number(text) else None

    def is_true(self, key: str) -> bool:
        """Whether a metadata value switches something on."""
        return self.metadata.get(key) in TRUE_WORDS


def read_trigger(trigger: Any, path: str, problems: Problems, in_formula: bool) -> Trigger | None:
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
    read = Trigger(
        path=path,
        type=kind,
        name=text_at(trigger, "name", path, problems),
        metadata=_read_metadata(metadata, path, problems),
        written=frozenset(str(key) for key, value in written.items() if value is not None and str(value).strip()),
        metric_type=text_at(trigger, "metricType", path, problems),
        has_authentication=_check_authentication(trigger.get("authenticationRef"), path, problems),
        in_formula=in_formula and kind not in _RESOURCE_TYPES,
    )
    _check_metric_type(read, problems)
    _check_cached_metrics(read, trigger.get("useCachedMetrics"), problems)
    _check_parameters(read, problems)
    if kind in _CHECKS:
        _CHECKS[kind](read, problems)
    return read


def text_at(owner: Mapping[str, Any], key: str, path: str, problems: Problems) -> str:
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
    return named or has_url_with_password(value) or (key == "customHeaders" and _has_secret_header(value))


def _has_secret_header(headers: str) -> bool:
    return any(is_secret_header(part.partition("=")[0]) for part in headers.split(","))


def _check_metric_type(trigger: Trigger, problems: Problems) -> None:
    """KEDA 2.20: a resource needs one of two types; an external metric is of type AverageValue if nothing is said."""
    allowed = ("AverageValue", "Value") if trigger.is_external else ("Utilization", "AverageValue")
    if trigger.metric_type in allowed or (trigger.is_external and not trigger.metric_type):
        return
    what = "needs" if not trigger.metric_type else "takes"
    problems.add(f"{trigger.path}.metricType", f"a {trigger.type} trigger {what} {' or '.join(allowed)} here.")


def _check_cached_metrics(trigger: Trigger, value: Any, problems: Problems) -> None:
    if value is not None and not isinstance(value, bool):
        problems.add(f"{trigger.path}.useCachedMetrics", "write true or false, without quotes.")
    elif value and trigger.type in (*_RESOURCE_TYPES, "cron"):
        problems.add(
            f"{trigger.path}.useCachedMetrics", f"KEDA refuses it on a {trigger.type} trigger; take it out there."
        )


def _check_parameters(trigger: Trigger, problems: Problems) -> None:
    """The metadata against the table of the trigger's type."""
    table = TABLES.get(trigger.type)
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


def _unread(key: str, kind: str, table: Table) -> str:
    """Why KEDA does not read a metadata key; empty if it does."""
    base = key.removesuffix(FROM_ENV)
    if key in table:
        if METADATA in table[key].sources:
            return ""
        return f"KEDA takes it from {' or '.join(table[key].sources)} only and ignores it here; {table[key].instead}."
    if base in table:
        if ENV in table[base].sources:
            return ""
        return f"KEDA takes {base} from {' or '.join(table[base].sources)} and ignores this; write it there."
    gone = GONE.get((kind, key)) or GONE.get(("", key))
    if gone:
        return gone
    family = [name for name, others in TABLES.items() if name.startswith("redis") and base in others]
    if family and kind.startswith("redis"):
        return f"a {kind} trigger does not read it, only {' or '.join(family)} does; change the type or take it out."
    return f"a {kind} trigger has no {key!r}, so KEDA ignores it; {nearest(key, _written_names(table))}"


def _written_names(table: Table) -> list[str]:
    """The keys that may stand in metadata."""
    plain = [key for key, parameter in table.items() if METADATA in parameter.sources]
    return plain + [key + FROM_ENV for key, parameter in table.items() if ENV in parameter.sources]


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, else all of them: those of KEDA stand in no reference of ours."""
    names = sorted(set(known))
    near = suggest(name, names)
    return near if near.startswith("did you mean") else f"there is {', '.join(names) or 'nothing'}."


def _check_value(trigger: Trigger, key: str, parameter: Parameter, problems: Problems) -> None:
    text = trigger.metadata[key]
    if not parameter.kind.reads(text):
        if parameter.kind.words:
            problems.add(trigger.at(key), f"KEDA cannot read {shown(text)}; write {parameter.kind.words}.")
        else:
            problems.add(trigger.at(key), "KEDA cannot read this; write name=value, with commas between several.")
        return
    number = trigger.number(key)
    counts = not (parameter.target and trigger.in_formula)
    if parameter.least is not None and number is not None and number < parameter.least and counts:
        lowest = "a number above 0" if parameter.least == SMALLEST_TARGET else f"{parameter.least:g} or more"
        problems.add(trigger.at(key), f"{shown(text)} is too low; write {lowest}.")


def _is_missing(trigger: Trigger, key: str, parameter: Parameter) -> bool:
    if key in trigger.written or (ENV in parameter.sources and key + FROM_ENV in trigger.written):
        return False
    # KEDA lets a pod count without a target stand in a formula; the threshold of Prometheus it wants always.
    if trigger.in_formula and parameter.target and trigger.type == "kubernetes-workload":
        return False
    return not (trigger.has_authentication and AUTH in parameter.sources)


def _warn_two_sources(trigger: Trigger, key: str, parameter: Parameter, problems: Problems) -> None:
    """A password of the environment and a TriggerAuthentication, which may hold another one."""
    both = trigger.has_authentication and key + FROM_ENV in trigger.metadata
    if both and names_secret(key) and {AUTH, ENV} <= set(parameter.sources):
        winner = min((AUTH, ENV), key=parameter.sources.index)
        problems.warn(
            trigger.at(key + FROM_ENV),
            f"there is a TriggerAuthentication as well; where both give {key}, KEDA takes that of {winner}.",
        )


def _parts(trigger: Trigger, *keys: str) -> list[str]:
    """A comma list that has two names; the first that is written counts."""
    written = next((trigger.metadata[key] for key in keys if key in trigger.metadata), "")
    return [part.strip() for part in written.split(",")] if written else []


def _check_redis(trigger: Trigger, problems: Problems) -> None:
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


def _check_addresses(trigger: Trigger, addresses: list[str], ports: list[str], problems: Problems) -> None:
    def is_port(text: str) -> bool:
        return bool(DIGITS.fullmatch(text)) and 1 <= int(text) <= 65535

    matches = [_HOST_AND_PORT.fullmatch(address) for address in addresses]
    if not all(match and is_port(match[2]) for match in matches):
        key = "address" if "address" in trigger.metadata else "addresses"
        problems.add(trigger.at(key), "write <host>:<port>, without a scheme, user or path: redis.shop.svc:6379.")
    if not all(is_port(port) for port in ports):
        key = "port" if "port" in trigger.metadata else "ports"
        problems.add(trigger.at(key), "a port is a number from 1 to 65535, in quotes.")


def _check_rabbitmq(trigger: Trigger, problems: Problems) -> None:
    _check_rabbitmq_target(trigger, problems)
    if _rabbitmq_protocol(trigger, problems) == "amqp":
        _check_http_only(trigger, problems)
    given = {key for key in ("username", "password") if key + FROM_ENV in trigger.written}
    if not trigger.has_authentication and len(given) == 1:
        problems.add(trigger.at(), "KEDA takes username and password together; give both, or neither.")


def _rabbitmq_protocol(trigger: Trigger, problems: Problems) -> str:
    """How KEDA asks RabbitMQ: amqp or http; empty if that cannot be seen here."""
    written = trigger.metadata.get("protocol", "auto")
    host = trigger.metadata.get("host")
    scheme = host.partition("://")[0].lower() if host and "://" in host else ""
    by_host = {"amqp": "amqp", "amqps": "amqp", "http": "http", "https": "http"}.get(scheme, "")
    if host and not by_host:
        problems.add(trigger.at("host"), "begin the URL with amqp://, amqps://, http:// or https://.")
    elif by_host and written in ("amqp", "http") and written != by_host:
        problems.add(
            trigger.at("protocol"),
            f"{written} does not fit the host, whose URL is of {by_host}; change one of the two.",
        )
    return written if written in ("amqp", "http") else by_host


def _check_http_only(trigger: Trigger, problems: Problems) -> None:
    """What KEDA 2.20 does through the management API only."""
    reason = "KEDA does this over http only; write protocol: http and the host of the management API."
    for key in ("useRegex", "excludeUnacknowledged"):
        if trigger.is_true(key):
            problems.add(trigger.at(key), reason)
    if trigger.metadata.get("mode") in RABBITMQ_HTTP_MODES:
        problems.add(trigger.at("mode"), reason)
    if "timeout" in trigger.metadata:
        problems.add(trigger.at("timeout"), "amqp has no timeout of its own; take it out, or use protocol: http.")


def _check_rabbitmq_target(trigger: Trigger, problems: Problems) -> None:
    """The two ways to say how many messages a pod takes exclude each other (KEDA 2.20)."""
    mode, value, length = (key in trigger.written for key in ("mode", "value", "queueLength"))
    for key in ("value", "queueLength"):
        number = trigger.number(key)
        if number == 0:
            problems.add(trigger.at(key), "KEDA takes 0 as not written; write a number above 0.")
        elif number is not None and number < SMALLEST_TARGET and not trigger.in_formula:
            problems.add(trigger.at(key), f"{shown(trigger.metadata[key])} is too low; write a number above 0.")
    if length and (mode or value):
        problems.add(trigger.at("queueLength"), "it excludes mode and value; take it out.")
    elif length:
        problems.warn(trigger.at("queueLength"), "KEDA is giving it up; write mode: QueueLength and value instead.")
    elif mode != value:
        written, missing = ("mode", "value") if mode else ("value", "mode")
        problems.add(trigger.at(), f"{written} needs {missing} beside it.")


def _check_sqs(trigger: Trigger, problems: Problems) -> None:
    """KEDA 2.20 takes the queue's name, or a URL whose path is its account and name."""
    url = trigger.metadata.get("queueURL")
    by_name = r"[A-Za-z0-9_-]{1,80}(\.fifo)?"
    if url and not re.fullmatch(rf"{by_name}|[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#]+/[^/\s?#]+/{by_name}", url):
        problems.add(
            trigger.at("queueURL"),
            "write the queue's name, or its URL of server, account and name: https://<server>/<account>/<queue>.",
        )
    _check_aws(trigger, problems)


def _check_aws(trigger: Trigger, problems: Problems) -> None:
    keys = ("awsAccessKeyID", "awsSecretAccessKey")
    given = [trigger.gives(key) for key in keys]
    if trigger.has_authentication or trigger.metadata.get("identityOwner", "pod") != "pod" or all(given):
        return
    problems.add(
        trigger.at(),
        "KEDA has no AWS credentials for it; name a TriggerAuthentication in authenticationRef, or write "
        "identityOwner: operator for those of KEDA itself.",
    )


def _check_prometheus(trigger: Trigger, problems: Problems) -> None:
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


def _check_cron(trigger: Trigger, problems: Problems) -> None:
    times = []
    for key in ("start", "end"):
        schedule = trigger.metadata.get(key)
        if schedule:
            times.append(check_schedule(trigger.at(key), schedule, problems))
    if len(times) == 2 and times[0] and times[0] == times[1]:
        problems.add(trigger.at("end"), "start and end are the same; write when the time ends.")
    timezone = trigger.metadata.get("timezone")
    if not timezone:
        return
    before = len(problems.found)
    check_timezone(trigger.at("timezone"), timezone, problems)
    if len(times) == 2 and all(times) and times[0] != times[1] and len(problems.found) == before:
        start, end = trigger.metadata["start"], trigger.metadata["end"]
        check_window(trigger.at(), start, end, timezone, problems.warn)


def _check_resource(trigger: Trigger, problems: Problems) -> None:
    """KEDA 2.20: percent of what the containers request, or an amount for each pod."""
    value = trigger.metadata.get("value")
    if value is None:
        return
    if trigger.metric_type == "Utilization":
        if not (_is_whole(value) and 1 <= int(value) <= LARGEST_INTEGER):
            problems.add(trigger.at("value"), "Utilization is a percentage; write a whole number such as '60'.")
    elif trigger.metric_type == "AverageValue" and (quantity(value) or 0) <= 0:
        problems.add(trigger.at("value"), "AverageValue is an amount for each pod; write one such as 500m or 1Gi.")


_CHECKS: Mapping[str, Callable[[Trigger, Problems], None]] = {
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
