# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One description of a broker, and what follows from it for workers and for the scaler."""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from .._model.broker import Broker, SecretReference, UnackedKeys
from .._schema.scalars import MISPLACED
from .broker_urls import SCHEMES, UrlFault, read_url

#: Where the certificates of the broker are mounted in a worker.
TLS_MOUNT = "/celery-broker-tls"

#: kombu's own priority steps and separator (5.7, kombu.transport.redis).
PRIORITY_STEPS = (0, 3, 6, 9)
SEPARATOR = "\x06\x16"

#: Transport options of kombu that have a key of their own.
TYPED_OPTIONS = ("priority_steps", "sep", "global_keyprefix", "master_name", "region")

#: What Redis may do when its memory is full.
REDIS_POLICIES = (
    "allkeys-lfu",
    "allkeys-lru",
    "allkeys-random",
    "noeviction",
    "volatile-lfu",
    "volatile-lru",
    "volatile-random",
    "volatile-ttl",
)

#: Environment variables from which Celery takes a broker, whatever its settings say (5.4 to 5.7). C(BROKER_URL) is that
#: of the option C(--broker).
BROKER_VARIABLES = ("BROKER_URL", "CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")

#: What boto3 takes for the address of SQS.
AWS_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")
#: What boto3 takes for the region. It does not read C(AWS_REGION), as AWS itself and other clients do (botocore 1.44).
AWS_REGION_VARIABLES = ("AWS_DEFAULT_REGION",)


def deciding_variables(broker: Broker | None) -> set[str]:
    """Environment variables that decide on a worker's broker, beside or in place of what the inventory says of it."""
    if broker is None:
        return set()
    # An endpoint that the inventory names goes over them in boto3, and one that only they name would be the workers'.
    endpoints = AWS_ENDPOINT_VARIABLES if broker.type == "sqs" and not broker.endpoint else ()
    regions = AWS_REGION_VARIABLES if broker.type == "sqs" else ()
    return {*BROKER_VARIABLES, *endpoints, *regions, broker.inject_env} - {""}


def is_second_broker(broker: Broker, name: str, value: str | None) -> bool:
    """Whether an environment entry would give workers another broker than their scaler.

    :param value: None where it cannot be seen.
    """
    if name not in deciding_variables(broker):
        return False
    if name == broker.inject_env or name in AWS_ENDPOINT_VARIABLES:
        return True
    if name in AWS_REGION_VARIABLES:
        return value != broker.region
    # Where the inventory leaves the broker's name to the app, what it hides is its own affair.
    return broker.inject_env != "" if value is None else not is_same_place(broker, value)


def visible_value(entry: Mapping[str, Any]) -> str | None:
    """The value of an environment entry, as far as it stands there."""
    value = entry.get("value")
    return value if isinstance(value, str) and "$(" not in value and MISPLACED not in value else None


def is_same_place(broker: Broker, url: str) -> bool:
    """Whether a URL names this broker and its database or virtual host."""
    found = read_url(url)
    if isinstance(found, UrlFault):
        return False
    kind, encrypted = SCHEMES[found.scheme]
    port = found.port or (6379 if kind == "redis" else 5671 if encrypted else 5672)
    if (kind, port) != (broker.type, broker.port):
        return False
    if same_host(found.host, broker.namespace) != same_host(broker.host, broker.namespace):
        return False
    if kind == "redis":
        return (found.path or "0") == str(broker.database)
    return (found.path or "/") == broker.virtual_host


def broker_url(broker: Broker, password: str | None = None) -> str:
    """The broker's URL with its parts percent-encoded, so that C(@ : / #) in a password do not end the host."""
    if broker.type == "sqs":
        # boto3 takes keys and region from the environment, and kombu the address of an endpoint from the URL.
        return f"sqs://{endpoint_of(broker).partition('://')[2]}"
    login = ""
    if password is not None:
        login = f"{quote(broker.username or '', safe='')}:{quote(password, safe='')}@"
    if broker.type == "redis-sentinel":
        return ";".join(f"sentinel://{login}{host}/{broker.database}" for host in sentinel_addresses(broker))
    scheme = {"redis": "redis", "rabbitmq": "amqp"}[broker.type] + ("s" if broker.tls else "")
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    tail = str(broker.database) + _tls_query(broker) if broker.is_redis else quote(broker.virtual_host, safe="")
    return f"{scheme}://{login}{host}:{broker.port}/{tail}"


def _tls_query(broker: Broker) -> str:
    """For C(celery inspect), which takes no settings (kombu reads C(ssl_…) from the URL)."""
    settings = use_ssl(broker)
    return f"?{urlencode(settings, safe='/')}" if settings else ""


def sentinel_addresses(broker: Broker, namespace: str = "") -> list[str]:
    """Host and port of each sentinel.

    :param namespace: given for a reader in another namespace, where a bare Service name means nothing.
    """
    found = []
    for written in broker.hosts:
        host, port = host_and_port(written, broker.port or 26379)
        found.append(f"{resolvable(host, namespace) if namespace else host}:{port}")
    return found


def host_and_port(written: str, default: int) -> tuple[str, int]:
    """Host and port of a sentinel as the inventory writes it."""
    host, _colon, port = written.rpartition(":")
    return (host, int(port)) if host and ":" not in host and port.isdigit() else (written, default)


def resolvable(host: str, namespace: str) -> str:
    """The host as KEDA's own namespace resolves it: a bare Service name is known in its namespace only."""
    if ":" in host:
        return f"[{host}]"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        is_local = "." not in host or _is_pod(host.lower().removesuffix("."), namespace)
        return f"{host.removesuffix('.')}.{namespace}.svc" if is_local and host != "localhost" else host
    return host


def management_url(broker: Broker, namespace: str = "") -> str:
    """Address of RabbitMQ's management API, without a login.

    :param namespace: as for L(sentinel_addresses).
    """
    management = broker.management
    encrypted = management.tls if management.tls is not None else broker.tls is not None
    port = management.port or (15671 if encrypted else 15672)
    host = management.host or broker.host
    shown = resolvable(host, namespace) if namespace else f"[{host}]" if ":" in host else host
    return f"{'https' if encrypted else 'http'}://{shown}:{port}"


#: A Service of some namespace under its full name: C(redis.shop.svc), C(redis.shop.svc.cluster.local).
_SERVICE = re.compile(r"(?P<service>[^.]+(\.[^.]+)*)\.(?P<namespace>[^.]+)\.svc(\..+)?")


#: A pod of a StatefulSet by its Service: C(redis-0.redis), C(redis-node-1.redis-headless).
_POD = re.compile(r"(?P<word>[a-z0-9]+)(-[a-z0-9-]+)?-[0-9]+\.(?P<service>[a-z0-9-]+)")


def _is_pod(name: str, namespace: str) -> bool:
    """Whether a name with one dot is a pod of the fleet's own namespace, and not a Service of another one.

    Charts name the Service after the StatefulSet, and nothing else tells the two apart.
    """
    match = _POD.fullmatch(name)
    if match is None or match["service"] == namespace:
        return False
    return match["service"].partition("-")[0] == match["word"]


def same_host(host: str, namespace: str) -> str:
    """One name for all names of a host: C(redis), C(redis.shop.svc.cluster.local.) and C(REDIS.shop) in namespace shop.

    A Service of the fleet's own namespace keeps its bare name, and one of another namespace C(.svc).
    """
    name = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    match = _SERVICE.fullmatch(name)
    service, owner = (match["service"], match["namespace"]) if match else ("", "")
    if not match and _is_pod(name, namespace):
        service, owner = name, namespace
    elif not match and name.count(".") == 1:
        # What has one dot is a Service and its namespace for every pod of a cluster, before it is anything else.
        service, _dot, owner = name.partition(".")
    if not service:
        return name
    return service if owner == namespace and "." not in service else f"{service}.{owner}.svc"


def _same_addresses(broker: Broker) -> str:
    found = [host_and_port(written, broker.port or 26379) for written in broker.hosts]
    return ",".join(sorted(f"{same_host(host, broker.namespace)}:{port}" for host, port in found))


def same_identity(identity: str, namespace: str) -> str:
    """A place that an earlier run has written down, perhaps with another name of the same host."""
    found = re.match(r"(redis|redis-sentinel) (secret \S+ )?(?P<hosts>[^\s/]+)", identity)
    if found is None:
        return identity
    parts = [part.rpartition(":") for part in found["hosts"].split(",")]
    hosts = ",".join(sorted(f"{same_host(host, namespace)}{colon}{port}" for host, colon, port in parts))
    return f"{identity[: found.start('hosts')]}{hosts}{identity[found.end('hosts') :]}"


def address_of(broker: Broker) -> str:
    """What tells servers apart, whatever database or virtual host is used on them."""
    hosts = _same_addresses(broker) or f"{same_host(broker.host, broker.namespace)}:{broker.port}"
    secret = broker.secret.name if broker.secret is not None and not broker.is_known else ""
    return f"{broker.type} {secret}{hosts}"


def physical_queue(broker: Broker | None, queue: str) -> str:
    """The queue as its broker knows it: SQS gives two names of Celery's one of its own."""
    return sqs_queue_name(broker, queue) if broker is not None and broker.type == "sqs" else queue


def place_of(broker: Broker | None) -> str:
    """What tells brokers apart: address, database and key prefix, without credentials."""
    if broker is None:
        return ""
    if broker.type == "sqs":
        return f"sqs {broker.region}/{broker.account or ''}{f' {endpoint_of(broker)}' if broker.endpoint else ''}"
    secret = f"secret {broker.secret.name} " if broker.secret is not None and not broker.is_known else ""
    host = f"{same_host(broker.host, broker.namespace)}:{broker.port}"
    if broker.type == "rabbitmq":
        return f"rabbitmq {secret}{host}/{broker.virtual_host}"
    address = f"{_same_addresses(broker)} {broker.master_name}" if broker.hosts else host
    prefix = f" {key_prefix(broker)}" if key_prefix(broker) else ""
    return f"{broker.type} {secret}{address}/{broker.database}{prefix}"


def key_prefix(broker: Broker) -> str:
    """What kombu puts before every Redis key."""
    return broker.global_keyprefix or ""


def physical_lists(broker: Broker, queue: str) -> dict[int, str]:
    """The Redis lists of one queue by priority step, the step 0 under the queue's own name (kombu 5.7)."""
    steps = sorted(broker.priority_steps if broker.priority_steps is not None else PRIORITY_STEPS)
    separator = SEPARATOR if broker.sep is None else broker.sep
    return {step: f"{key_prefix(broker)}{queue}{separator + str(step) if step else ''}" for step in steps}


def sqs_queue_name(broker: Broker, queue: str) -> str:
    """The queue as SQS has it: kombu 5.7 makes dots to dashes and other punctuation to C(_)."""
    written = f"{broker.transport_options.get('queue_name_prefix', '')}{queue}"
    suffix = ".fifo" if written.endswith(".fifo") else ""
    return written.removesuffix(".fifo").translate(_SQS_NAME) + suffix


_SQS_NAME = {ord(char): "_" for char in string.punctuation if char not in "-_."} | {ord("."): "-"}


def sqs_queue_url(broker: Broker, queue: str, namespace: str = "") -> str:
    """What KEDA takes for a queue: its URL where that is known, else its bare name.

    :param namespace: as for L(sentinel_addresses).
    """
    name = sqs_queue_name(broker, queue)
    predefined = broker.transport_options.get("predefined_queues")
    if isinstance(predefined, dict):
        entry = predefined.get(name, predefined.get(queue))
        if isinstance(entry, dict) and entry.get("url"):
            return str(entry["url"])
    server = endpoint_of(broker, namespace) or f"https://{sqs_host(broker.region or '')}"
    return f"{server}/{broker.account}/{name}" if broker.account else name


#: Domains of AWS by the beginning of a region's name; all other regions are of the first partition.
_AWS_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}


def sqs_host(region: str) -> str:
    """SQS in a region, in whatever partition of AWS that is."""
    domain = next((found for start, found in _AWS_DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    return f"sqs.{region}.{domain}"


def endpoint_of(broker: Broker, namespace: str = "") -> str:
    """The address of SQS that the inventory names, as a URL without a path; empty where AWS's own counts.

    :param namespace: as for L(sentinel_addresses).
    """
    scheme, _separator, address = (broker.endpoint or "").rstrip("/").partition("://")
    if not address:
        return ""
    host, colon, port = address.partition(":")
    return f"{scheme}://{resolvable(host, namespace) if namespace else host}{colon}{port}"


def transport_options(broker: Broker | None, unacked: UnackedKeys | None, visibility: int | None) -> dict[str, Any]:
    """The C(broker_transport_options) of a worker's command line. They replace the app's own as a whole.

    :param unacked: the variant's own keys, if it has some.
    :param visibility: seconds; None leaves what the inventory says.
    """
    if broker is None:
        return {}
    options = dict(broker.transport_options)
    typed = {name: getattr(broker, name) for name in TYPED_OPTIONS}
    options.update({name: _as_json(value) for name, value in typed.items() if value is not None})
    if broker.endpoint:
        # Without it kombu speaks plain HTTP to an endpoint (5.7).
        options["is_secure"] = broker.endpoint.startswith("https://")
    if unacked is not None:
        options.update(
            unacked_key=unacked.hash,
            unacked_index_key=unacked.index,
            unacked_mutex_key=unacked.mutex,
            # Look for messages of killed workers each time, not each tenth time (kombu after 5.6.2).
            unacked_restore_throttle=options.get("unacked_restore_throttle", 1),
        )
    if visibility is not None:
        options["visibility_timeout"] = visibility
    return options


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def tls_files(broker: Broker | None) -> dict[str, tuple[str, str]]:
    """Certificates that a worker needs as files: file name to Secret and key."""
    if broker is None or broker.tls is None:
        return {}
    tls, found = broker.tls, {}
    if tls.ca_secret:
        found["ca.crt"] = (tls.ca_secret, tls.ca_key)
    if tls.certificate_secret:
        found["tls.crt"] = (tls.certificate_secret, tls.certificate_key)
        found["tls.key"] = (tls.certificate_secret, tls.private_key_key)
    return found


def scaler_login(broker: Broker) -> dict[str, tuple[str, str]]:
    """The scaler's user name and password, each as Secret and key: its own if it has some, else the workers'."""
    own = broker.scaler
    if own is not None and own.secret is not None:
        return _referenced(own.secret)
    if own is not None and own.password:
        login = {"password": (broker.own_secret, "scaler_password")}
        return {"username": (broker.own_secret, "scaler_username"), **login} if own.username else login
    if broker.secret is not None:
        return _referenced(broker.secret)
    if broker.password:
        login = {"password": (broker.own_secret, "password")}
        return {"username": (broker.own_secret, "username"), **login} if broker.username else login
    return {}


def _referenced(secret: SecretReference) -> dict[str, tuple[str, str]]:
    keys = {"username": secret.username_key, "password": secret.password_key}
    return {parameter: (secret.name, key) for parameter, key in keys.items() if key}


def scaler_tls(broker: Broker) -> tuple[str, str] | None:
    """Secret and key with the word C(enable), without which KEDA's RabbitMQ scaler uses no certificates (2.20)."""
    for secret in (broker.scaler.secret if broker.scaler is not None else None, broker.secret):
        if secret is not None and secret.tls_key:
            return secret.name, secret.tls_key
    return (broker.own_secret, "scaler_tls") if broker.has_own_secret else None


def use_ssl(broker: Broker | None) -> dict[str, Any]:
    """The C(broker_use_ssl) of a worker.

    kombu takes any certificate where nobody asks for a check, C(rediss://) or not (5.3 to 5.7), so one is asked for.
    """
    if broker is None or broker.tls is None:
        return {}
    files = tls_files(broker)
    names = {"ca.crt": "ca_certs", "tls.crt": "certfile", "tls.key": "keyfile"}
    # Redis takes a word, RabbitMQ the number of ssl.CERT_REQUIRED or CERT_NONE (py-amqp 5).
    prefix, modes = ("ssl_", ("required", "none")) if broker.is_redis else ("", (2, 0))
    found: dict[str, Any] = {f"{prefix}{names[file]}": f"{TLS_MOUNT}/{file}" for file in files}
    return {**found, f"{prefix}cert_reqs": modes[1] if broker.tls.insecure_skip_verify else modes[0]}


def answers_ping(broker: Broker) -> bool:
    """Whether C(celery inspect ping) without the app reaches the workers through the broker's URL alone.

    A prefix and a master's name stand in transport options, which it does not take; SQS has no remote control.
    """
    if broker.type in ("sqs", "redis-sentinel") or broker.global_keyprefix:
        return False
    return bool(broker.host or broker.secret) and (broker.is_redis or not broker.tls)
