# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: one description of a broker, and what follows from it for workers and for the scaler."""

from __future__ import annotations

import ipaddress
import re
import string
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from ansible_collections.queueops.celery.plugins.module_utils._keys import key_names, read, refuse_unknown
from ansible_collections.queueops.celery.plugins.module_utils._kubernetes import is_address
from ansible_collections.queueops.celery.plugins.module_utils._layers import Branch, nested
from ansible_collections.queueops.celery.plugins.module_utils._model import (
    BROKER_TYPES,
    Broker,
    ScalerLogin,
    SecretReference,
    Tls,
    UnackedKeys,
)
from ansible_collections.queueops.celery.plugins.module_utils._problems import Problems, suggest

#: Where the certificates of the broker are mounted in a worker.
TLS_MOUNT = "/celery-broker-tls"

#: kombu's own priority steps and separator (5.7, kombu.transport.redis).
PRIORITY_STEPS = (0, 3, 6, 9)
SEPARATOR = "\x06\x16"

#: Keys that only some types have. A key on the wrong type would be read by nobody.
_REDIS_KEYS = {"database", "priority_steps", "sep", "global_keyprefix"}
_SENTINEL_KEYS = {"hosts", "master_name", "sentinel_username", "sentinel_password"}
_RABBITMQ_KEYS = {"virtual_host", "management", "queue_type", "delivery_limit", "consumer_timeout"}
_SQS_KEYS = {"region", "account", "pod_identity", "access_key_id", "secret_access_key"}
_KEYS_OF_TYPE = {
    "redis": _REDIS_KEYS,
    "redis-sentinel": _REDIS_KEYS | _SENTINEL_KEYS,
    "rabbitmq": _RABBITMQ_KEYS,
    "sqs": _SQS_KEYS,
}
#: Transport options of kombu that have a key of their own.
_TYPED_OPTIONS = ("priority_steps", "sep", "global_keyprefix", "master_name", "region")

_SCHEMES = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "amqp": ("rabbitmq", False),
    "amqps": ("rabbitmq", True),
}


def read_broker(tree: Branch, described: bool, own_secret: str, problems: Problems) -> Broker | None:
    """Read a broker from its keys.

    :param described: whether anybody says anything of a broker at all.
    :param own_secret: name of the Secret that the role makes for it.
    """
    if not described:
        return None
    refuse_unknown("a broker", tree, key_names(Broker), problems)
    broker = read(Broker, tree, problems, own_secret=own_secret)
    before = len(problems.found)
    if broker.url is not None:
        broker = _from_url(broker, tree, problems)
    _check_type(broker, tree, problems)
    broker = _typed_options(broker, tree, problems)
    ports = {"redis": 6379, "redis-sentinel": 26379, "rabbitmq": 5671 if broker.tls else 5672, "sqs": 443}
    broker = replace(broker, port=broker.port or ports[broker.type], username=broker.username or None)
    if len(problems.found) == before:
        _check_address(broker, tree.path, problems)
    _check_login(broker, tree.path, problems)
    return broker


def _check_type(broker: Broker, tree: Branch, problems: Problems) -> None:
    """Keys of other types would be read by nobody."""
    own = _KEYS_OF_TYPE[broker.type]
    for name in sorted(written_keys(tree) & (set().union(*_KEYS_OF_TYPE.values()) - own)):
        types = " and ".join(kind for kind in BROKER_TYPES if name in _KEYS_OF_TYPE[kind])
        problems.add(
            tree.children[name].path, f"{name} belongs to {types}, and this broker is {broker.type}; leave it out."
        )


def _typed_options(broker: Broker, tree: Branch, problems: Problems) -> Broker:
    """Options may stand under transport_options, as kombu has them, or as keys of their own; not under both."""
    options, changes = dict(broker.transport_options), {}
    for name in _TYPED_OPTIONS:
        if name not in options:
            continue
        path = f"{tree.path}.transport_options.{name}"
        if getattr(broker, name) is not None:
            problems.add(path, f"{name} stands here and as a key of the broker; write it once, as broker.{name}.")
            continue
        value = options.pop(name)
        changes[name] = _option(name, value, path, problems)
    for name in sorted({"unacked_key", "unacked_index_key", "unacked_mutex_key"} & set(options)):
        problems.add(
            f"{tree.path}.transport_options.{name}",
            "every variant gets a key of its own for what its workers hold; leave it out.",
        )
    timeout = options.get("visibility_timeout", 1800)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        problems.add(f"{tree.path}.transport_options.visibility_timeout", "write a whole number of seconds, 1 or more.")
        options.pop("visibility_timeout")
    return replace(broker, transport_options=options, **changes)


def _option(name: str, value: Any, path: str, problems: Problems) -> Any:
    """A transport option as its own key reads it."""
    probe = Problems()
    tree = Branch({name: nested(value, path)}, path.rpartition(".")[0])
    found = getattr(read(Broker, tree, probe), name)
    problems.found.extend(probe.found)
    return found


def _check_address(broker: Broker, path: str, problems: Problems) -> None:
    if broker.type == "redis-sentinel":
        if not broker.hosts and not broker.secret:
            problems.add(
                f"{path}.hosts", "name the sentinels: hosts: [redis-sentinel-0.redis, redis-sentinel-1.redis]."
            )
        if not broker.master_name:
            problems.add(f"{path}.master_name", "name the master as the sentinels know it, for example mymaster.")
        if broker.host:
            problems.add(f"{path}.host", "the sentinels stand under hosts, a list; leave host out.")
    elif broker.type == "sqs":
        if not broker.region:
            problems.add(f"{path}.region", "name the region of the queues, for example eu-central-1.")
        if broker.host:
            problems.add(f"{path}.host", "SQS is found by its region; leave host out.")
    elif not broker.host and not broker.secret:
        problems.add(f"{path}.host", "name the broker's host (or give url, or secret).")
    for host in filter(None, (broker.host, broker.management.host)):
        if ":" in host and not is_address(host):
            problems.add(f"{path}.host", f"{host!r} is not a host name; write the port under port.")


def _check_login(broker: Broker, path: str, problems: Problems) -> None:
    if broker.password and broker.secret:
        problems.add(f"{path}.secret", "secret names an existing Secret and password makes one; write one of them.")
    if broker.username and not broker.password and broker.secret is None:
        problems.add(f"{path}.username", "a user name needs a password beside it, or secret.")
    if broker.access_key_id != broker.secret_access_key:
        problems.add(f"{path}.access_key_id", "access_key_id and secret_access_key belong together; write both.")
    steps = broker.priority_steps or ()
    if list(steps) != sorted(steps):
        problems.add(f"{path}.priority_steps", "write the steps in ascending order; kombu finds them by bisection.")
    if broker.scaler is not None:
        _check_scaler_login(broker, broker.scaler, f"{path}.scaler", problems)
    if broker.type == "sqs" and broker.password:
        problems.add(f"{path}.password", "SQS has no password; write access_key_id and secret_access_key.")
    for place, reference in (("secret", broker.secret), ("scaler.secret", _login_secret(broker.scaler))):
        if reference is not None and not reference.name:
            problems.add(f"{path}.{place}.name", "name the existing Secret.")


def _check_scaler_login(broker: Broker, login: ScalerLogin, path: str, problems: Problems) -> None:
    if login.password and login.secret:
        problems.add(f"{path}.secret", "secret and password stand side by side; write one of them.")
    if login.username and not login.password and login.secret is None:
        problems.add(f"{path}.username", "a user name needs a password beside it, or secret.")
    if broker.type == "rabbitmq" and login.password and not login.username:
        problems.add(f"{path}.username", "KEDA takes user name and password of RabbitMQ together; write both.")
    if broker.type == "sqs":
        problems.add(
            path, "the scaler of SQS takes access_key_id and secret_access_key, or pod_identity; leave it out."
        )


def _login_secret(login: ScalerLogin | None) -> Any:
    return login.secret if login is not None else None


def _from_url(broker: Broker, tree: Branch, problems: Problems) -> Broker:
    """Take a URL apart. The role has taken a password out of it before; one that is still there is refused unseen."""
    path = tree.children["url"].path
    try:
        url = urlsplit(broker.url or "")
        port = url.port
    except ValueError:
        problems.add(path, "this is not a URL; write for example redis://redis:6379/0.")
        return broker
    if url.password:
        problems.add(
            path,
            "a password must not reach a module; let the role take it out, or name an existing Secret with secret.",
        )
        return broker
    if url.scheme == "sentinel":
        problems.add(path, "write sentinels as parts: type: redis-sentinel with hosts and master_name.")
        return replace(broker, type="redis-sentinel")
    if url.scheme == "sqs":
        problems.add(path, "write SQS as parts: type: sqs with region.")
        return replace(broker, type="sqs")
    if url.scheme not in _SCHEMES:
        problems.add(path, f"{url.scheme}:// is not supported; {suggest(url.scheme, _SCHEMES)}")
        return broker
    twice = sorted({"type", "host", "port", "database", "virtual_host", "username"} & written_keys(tree))
    if twice:
        problems.add(path, f"url stands beside {', '.join(twice)}; write the URL or its parts.")
    kind, encrypted = _SCHEMES[url.scheme]
    parts = replace(
        broker,
        type=kind,
        host=url.hostname or "",
        port=port,
        username=unquote(url.username) if url.username else None,
        tls=broker.tls or (Tls() if encrypted else None),
    )
    tail = unquote(url.path.removeprefix("/"))
    if url.query:
        problems.add(path, "options after '?' are not taken over; write them under transport_options.")
    if kind == "redis" and tail and not (re.fullmatch(r"[0-9]{1,5}", tail) and int(tail) < 65536):
        problems.add(path, f"a Redis URL ends in the database's number, not in {tail!r}.")
        return parts
    return replace(parts, virtual_host=tail or "/") if kind == "rabbitmq" else replace(parts, database=int(tail or 0))


def written_keys(tree: Branch) -> set[str]:
    """Keys that the inventory wrote, not the preset."""
    return {
        key
        for key, child in tree.children.items()
        if child.path.startswith("celery_workers_") and tree.get(key) is not None
    }


def broker_url(broker: Broker, password: str | None = None) -> str:
    """The broker's URL with its parts percent-encoded, so that C(@ : / #) in a password do not end the host."""
    if broker.type == "sqs":
        # boto3 takes keys and region from the environment.
        return "sqs://"
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
        host, port = _host_and_port(written, broker.port or 26379)
        found.append(f"{resolvable(host, namespace) if namespace else host}:{port}")
    return found


def _host_and_port(written: str, default: int) -> tuple[str, int]:
    host, _colon, port = written.rpartition(":")
    return (host, int(port)) if host and ":" not in host and port.isdigit() else (written, default)


def resolvable(host: str, namespace: str) -> str:
    """The host as KEDA's own namespace resolves it: a bare Service name is known in its namespace only."""
    if ":" in host:
        return f"[{host}]"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if "." in host or host == "localhost" else f"{host}.{namespace}.svc"
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


def address_of(broker: Broker) -> str:
    """What tells servers apart, whatever database or virtual host is used on them."""
    hosts = ",".join(sorted(sentinel_addresses(broker))) or f"{broker.host}:{broker.port}"
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
        return f"sqs {broker.region}/{broker.account or ''}"
    secret = f"secret {broker.secret.name} " if broker.secret is not None and not broker.is_known else ""
    hosts = ",".join(sorted(sentinel_addresses(broker))) + f" {broker.master_name}" if broker.hosts else ""
    if broker.type == "rabbitmq":
        return f"rabbitmq {secret}{broker.host}:{broker.port}/{broker.virtual_host}"
    address = hosts or f"{broker.host}:{broker.port}"
    prefix = f" {key_prefix(broker)}" if key_prefix(broker) else ""
    return f"{broker.type} {secret}{address}/{broker.database}{prefix}"


def key_prefix(broker: Broker) -> str:
    """What kombu puts before every Redis key."""
    return broker.global_keyprefix or ""


def physical_lists(broker: Broker, queue: str) -> list[str]:
    """The Redis lists of one queue: one per priority step, the step 0 under the queue's own name (kombu 5.7)."""
    steps = sorted(broker.priority_steps if broker.priority_steps is not None else PRIORITY_STEPS)
    separator = SEPARATOR if broker.sep is None else broker.sep
    return [f"{key_prefix(broker)}{queue}{separator + str(step) if step else ''}" for step in steps]


def sqs_queue_name(broker: Broker, queue: str) -> str:
    """The queue as SQS has it: kombu 5.7 makes dots to dashes and other punctuation to C(_)."""
    written = f"{broker.transport_options.get('queue_name_prefix', '')}{queue}"
    suffix = ".fifo" if written.endswith(".fifo") else ""
    return written.removesuffix(".fifo").translate(_SQS_NAME) + suffix


_SQS_NAME = {ord(char): "_" for char in string.punctuation if char not in "-_."} | {ord("."): "-"}


def sqs_queue_url(broker: Broker, queue: str) -> str:
    """What KEDA takes for a queue: its URL where that is known, else its bare name."""
    name = sqs_queue_name(broker, queue)
    predefined = broker.transport_options.get("predefined_queues")
    if isinstance(predefined, dict):
        entry = predefined.get(name, predefined.get(queue))
        if isinstance(entry, dict) and entry.get("url"):
            return str(entry["url"])
    return f"https://sqs.{broker.region}.amazonaws.com/{broker.account}/{name}" if broker.account else name


def transport_options(broker: Broker | None, unacked: UnackedKeys | None, visibility: int | None) -> dict[str, Any]:
    """The C(broker_transport_options) of a worker's command line. They replace the app's own as a whole.

    :param unacked: the variant's own keys, if it has some.
    :param visibility: seconds; None leaves what the inventory says.
    """
    if broker is None:
        return {}
    options = dict(broker.transport_options)
    typed = {name: getattr(broker, name) for name in _TYPED_OPTIONS}
    options.update({name: _as_json(value) for name, value in typed.items() if value is not None})
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
