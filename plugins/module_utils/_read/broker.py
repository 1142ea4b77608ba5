# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a broker from its keys, or from its URL, and says what is wrong with it.

One mistake is one problem: a check looks at keys only while none of them was refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._celery.broker_urls import (
    FAULTS,
    SCHEMES,
    BrokerUrl,
    UrlFault,
    read_url,
)
from .._celery.brokers import TYPED_OPTIONS, host_and_port
from .._model.broker import BROKER_TYPES, Broker, ScalerLogin, Tls
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.kubernetes_rules import is_address
from .._schema.layers import Branch, nested
from .._schema.problems import Problems, suggest
from .broker_options import (
    OPTIONS,
    refusal_of_option,
)

#: Keys that only some types have. A key on the wrong type would be read by nobody.
_REDIS_KEYS = {"database", "priority_steps", "sep", "global_keyprefix"}
_SENTINEL_KEYS = {"hosts", "master_name", "sentinel_username", "sentinel_password"}
_RABBITMQ_KEYS = {"virtual_host", "management", "queue_type", "delivery_limit", "consumer_timeout"}
_SQS_KEYS = {"region", "account", "endpoint", "pod_identity", "access_key_id", "secret_access_key"}
_KEYS_OF_TYPE = {
    "redis": _REDIS_KEYS,
    "redis-sentinel": _REDIS_KEYS | _SENTINEL_KEYS,
    "rabbitmq": _RABBITMQ_KEYS,
    "sqs": _SQS_KEYS,
}
_UNACKED_OPTIONS = ("unacked_key", "unacked_index_key", "unacked_mutex_key")

#: Names that an option after the question mark may have for what is the path of a URL.
_PATH_OPTIONS = {"redis": ("db", "database", "virtual_host", "vhost"), "rabbitmq": ("virtual_host", "vhost")}
#: Words for how a certificate is checked, and whether it is: for a client OPTIONAL is REQUIRED (Python's ssl).
_CERTIFICATE_CHECKS = {"required": True, "cert_required": True, "optional": True, "cert_optional": True}
_NO_CERTIFICATE_CHECKS = {"none": False, "cert_none": False}


def read_broker(tree: Branch, described: bool, own_secret: str, namespace: str, problems: Problems) -> Broker | None:
    """Read a broker from its keys.

    :param described: whether anybody says anything of a broker at all.
    :param own_secret: name of the Secret that the role makes for it.
    :param namespace: of the fleet.
    """
    if not described:
        return None
    reading = _Reading(tree)
    written = {name: tree.children[name].path for name in written_keys(tree)}
    broker = Broker(own_secret=own_secret, namespace=namespace, path=tree.path, written=written)
    broker = reading.read(broker)
    problems.found.extend(reading.problems.found)
    problems.warnings.extend(reading.problems.warnings)
    return replace(broker, is_sound=not reading.problems.found)


def refused_broker(path: str) -> Broker:
    """Stands for a broker that cannot be read at all."""
    return Broker(path=path, is_sound=False)


def written_keys(tree: Branch) -> set[str]:
    """Keys that the inventory wrote, not the preset."""
    return {
        key
        for key, child in tree.children.items()
        if child.path.startswith("celery_workers_") and tree.get(key) is not None
    }


@dataclass
class _Reading:
    """The keys of one broker while they are read, and what is wrong with them."""

    tree: Branch
    problems: Problems = field(default_factory=Problems)
    #: Where an option of the transport was written, if not under transport_options.
    origins: dict[str, str] = field(default_factory=dict)
    is_complete: bool = True

    def at(self, name: str) -> str:
        """Where a key was written, or would be."""
        child = self.tree.children.get(name)
        return child.path if child is not None and name in written_keys(self.tree) else f"{self.tree.path}.{name}"

    def add(self, name: str, message: str) -> None:
        """Note a problem of a key; a part of a URL is a problem of the URL."""
        in_url = name in ("host", "username", "password") and "url" in written_keys(self.tree)
        self.problems.add(self.at("url" if in_url and name not in written_keys(self.tree) else name), message)

    def is_fine(self, *names: str) -> bool:
        """Whether nothing in these keys was refused."""
        roots = [child.path for name in names if (child := self.tree.children.get(name)) is not None]
        return not any(
            problem.path == root or problem.path.startswith((f"{root}.", f"{root}["))
            for problem in self.problems.found
            for root in roots
        )

    def read(self, blank: Broker) -> Broker:
        """The broker, as far as it can be read."""
        refuse_unknown("a broker", self.tree, key_names(Broker), self.problems)
        # What is missing may well be what stands there under a mistyped name.
        self.is_complete = not self.problems.found
        computed = {name: getattr(blank, name) for name in ("own_secret", "namespace", "path", "written")}
        broker = read(Broker, self.tree, self.problems, **computed)
        if broker.url is not None and self.is_fine("url"):
            broker = self._from_url(broker)
        says_type = self.is_written("type") or self.is_written("url")
        if self.is_fine("type", "url") and (says_type or self.is_complete):
            self._check_type(broker, says_type)
        broker = self._typed_options(broker)
        ports = {"redis": 6379, "redis-sentinel": 26379, "rabbitmq": 5671 if broker.tls else 5672, "sqs": 443}
        broker = replace(broker, port=broker.port or ports[broker.type], username=broker.username or None)
        self._check_hosts(broker)
        if not self.problems.found:
            self._check_address(broker)
        self._check_login(broker)
        return broker

    def _check_type(self, broker: Broker, says_type: bool) -> None:
        """Keys of other types would be read by nobody."""
        own = _KEYS_OF_TYPE[broker.type]
        foreign = written_keys(self.tree) & (set().union(*_KEYS_OF_TYPE.values()) - own)
        fitting = [kind for kind in BROKER_TYPES if foreign <= _KEYS_OF_TYPE[kind]]
        for name in sorted(foreign):
            types = " and ".join(kind for kind in BROKER_TYPES if name in _KEYS_OF_TYPE[kind])
            other = f", or write type: {fitting[0]}" if fitting and not says_type else ""
            if self.is_fine(name):
                self.add(name, f"{name} belongs to {types}, and this broker is {broker.type}; leave it out{other}.")
            if other:
                # The type is what is missing, once, however many keys say so.
                break

    def _typed_options(self, broker: Broker) -> Broker:
        """Options may stand under transport_options, as kombu has them, or as keys of their own; not under both."""
        options, changes = dict(broker.transport_options), {}
        for name in TYPED_OPTIONS:
            if name not in options:
                continue
            value, path = options.pop(name), self._path_of_option(name)
            if getattr(broker, name) is not None:
                self.problems.add(
                    path, f"{name} is written here and as a key of the broker; write it once, as broker.{name}."
                )
                continue
            changes[name] = self._option(name, value, path)
        for name in sorted(set(_UNACKED_OPTIONS) & set(options)):
            self.problems.add(
                self._path_of_option(name),
                "every variant gets a key of its own for what its workers hold; leave it out.",
            )
        timeout = options.get("visibility_timeout", 1800)
        if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
            self.problems.add(self._path_of_option("visibility_timeout"), "write a whole number of seconds, 1 or more.")
            options.pop("visibility_timeout")
        return replace(broker, transport_options=options, **changes)

    def _path_of_option(self, name: str) -> str:
        return self.origins.get(name, f"{self.at('transport_options')}.{name}")

    def _option(self, name: str, value: Any, path: str) -> Any:
        """A transport option as its own key reads it."""
        probe = Problems()
        found = getattr(read(Broker, Branch({name: nested(value, path)}, ""), probe), name)
        for problem in probe.found:
            # An element of a list has a path of its own only where the list was written as one.
            self.problems.add(path if name in self.origins else problem.path, problem.message)
        return found

    def _check_hosts(self, broker: Broker) -> None:
        if self.is_fine("host") and _has_port(broker.host):
            self.add("host", f"{broker.host!r} is not a host name; write the port under port.")
        if self.is_fine("management") and broker.management.host and _has_port(broker.management.host):
            path = f"{self.at('management')}.host"
            self.problems.add(path, f"{broker.management.host!r} is not a host name; write the port under port.")
        for written in broker.hosts if self.is_fine("hosts") else ():
            host, port = host_and_port(written, 26379)
            if _has_port(host) or not 1 <= port <= 65535:
                self.add("hosts", f"{written!r} is not a host, or a host with a port from 1 to 65535.")

    def _check_address(self, broker: Broker) -> None:
        """What is missing, which nothing says while a key is mistyped."""
        if broker.type == "redis-sentinel":
            if broker.host:
                self.add("host", f"sentinels belong under hosts, a list; write hosts: [{broker.host}] instead.")
            elif not broker.hosts and not broker.secret:
                self.add(
                    "hosts",
                    "name the sentinels: hosts: [sentinel-0.redis.databases.svc, sentinel-1.redis.databases.svc].",
                )
            if not broker.master_name:
                self.add("master_name", "name the master as the sentinels know it, for example mymaster.")
        elif broker.type == "sqs":
            if not broker.region:
                self.add("region", "name the region of the queues, for example eu-central-1.")
            if broker.host:
                self.add("host", "SQS is found by its region; leave host out, or write an address under endpoint.")
        elif not broker.host and not broker.secret:
            self.add("host", "name the broker's host (or give url, or secret).")

    def _check_login(self, broker: Broker) -> None:
        if broker.password and broker.secret and self.is_fine("password", "secret", "url"):
            self.add("secret", "secret names an existing Secret and password makes one; write one of them.")
        has_login = broker.password or broker.secret is not None or not self.is_complete
        if broker.username and not has_login and self.is_fine("username", "password", "secret", "url"):
            self.add("username", "a user name needs a password beside it, or secret.")
        both = broker.access_key_id == broker.secret_access_key or not self.is_complete
        if not both and self.is_fine("access_key_id", "secret_access_key"):
            written = "access_key_id" if broker.access_key_id else "secret_access_key"
            self.add(written, "access_key_id and secret_access_key belong together; write both.")
        steps = broker.priority_steps or ()
        if list(steps) != sorted(steps):
            path = (
                self.at("priority_steps")
                if self.is_written("priority_steps")
                else self._path_of_option("priority_steps")
            )
            self.problems.add(path, "write the steps in ascending order; kombu finds them by bisection.")
        if broker.scaler is not None and self.is_fine("scaler", "type", "url"):
            self._check_scaler_login(broker, broker.scaler)
        if broker.type == "sqs" and broker.password and self.is_fine("type", "url", "password"):
            self.add("password", "SQS has no password; write access_key_id and secret_access_key.")
        if broker.secret is not None and not broker.secret.name and self.is_fine("secret"):
            self.problems.add(f"{self.at('secret')}.name", "name the existing Secret.")

    def is_written(self, name: str) -> bool:
        """Whether the inventory wrote a key."""
        return name in written_keys(self.tree)

    def _check_scaler_login(self, broker: Broker, login: ScalerLogin) -> None:
        path = self.at("scaler")
        if broker.type == "sqs":
            self.problems.add(
                path, "the scaler of SQS takes access_key_id and secret_access_key, or pod_identity; leave it out."
            )
            return
        if login.password and login.secret:
            self.problems.add(f"{path}.secret", "secret and password are both set; write one of them.")
        if login.username and not login.password and login.secret is None:
            self.problems.add(f"{path}.username", "a user name needs a password beside it, or secret.")
        if broker.type == "rabbitmq" and login.password and not login.username:
            self.problems.add(f"{path}.username", "KEDA takes user name and password of RabbitMQ together; write both.")
        if login.secret is not None and not login.secret.name:
            self.problems.add(f"{path}.secret.name", "name the existing Secret.")

    def _from_url(self, broker: Broker) -> Broker:
        """Take a URL apart. The role has taken a password out of it before; one that is still there is refused."""
        url = read_url(broker.url or "")
        if isinstance(url, UrlFault):
            known = f"{url.scheme}:// is not supported; {suggest(url.scheme, SCHEMES)}"
            self.add("url", FAULTS.get(url.name, known))
            return broker
        if url.password:
            self.add(
                "url",
                "a password must not reach a module; let the role take it out, or name an existing Secret with secret.",
            )
            return broker
        twice = sorted({"type", "host", "port", "database", "virtual_host", "username"} & written_keys(self.tree))
        if twice:
            self.add("url", f"url is written beside {', '.join(twice)}; write the URL or its parts.")
            return broker
        kind, encrypted = SCHEMES[url.scheme]
        if encrypted and broker.tls is None and self.is_written("tls"):
            self.add("url", f"{url.scheme}:// is encrypted and tls is false; leave tls out, or write the other scheme.")
        parts = replace(
            broker,
            type=kind,
            host=url.host,
            port=url.port,
            username=url.username,
            tls=broker.tls or (Tls() if encrypted else None),
        )
        return self._with_options(self._with_path(parts, url), url)

    def _with_path(self, broker: Broker, url: BrokerUrl) -> Broker:
        """The broker with its database or virtual host, from the path or from an option that means the same."""
        named = {name: value for name, value in url.options if name in _PATH_OPTIONS[broker.type]}
        found = {url.path, *named.values()} if url.path else set(named.values())
        if len(found) > 1:
            self.add("url", f"its path and {', '.join(named)} after '?' are not the same; write the path alone.")
            return broker
        tail = next(iter(found), "")
        if broker.type == "rabbitmq":
            return replace(broker, virtual_host=tail or "/")
        if tail and not (re.fullmatch(r"[0-9]{1,5}", tail) and int(tail) < 65536):
            self.add("url", f"a Redis URL ends in the database's number, not in {tail!r}.")
            return broker
        return replace(broker, database=int(tail or 0))

    def _with_options(self, broker: Broker, url: BrokerUrl) -> Broker:
        """The broker with what stands after the question mark. Nothing of it is dropped."""
        options = dict(broker.transport_options)
        names = [name for name, _value in url.options]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.add("url", f"{name} is written after '?' more than once; write it once.")
        for name, value in dict(url.options).items():
            if name in _PATH_OPTIONS[broker.type]:
                continue
            if name == "ssl_cert_reqs":
                broker = self._with_certificate_check(broker, value)
            elif name in OPTIONS[broker.type]:
                if name in options:
                    self.add("url", f"{name} is written after '?' and under transport_options; write it once.")
                    continue
                options[name] = OPTIONS[broker.type][name].read(value)
                self.origins[name] = self.at("url")
                if options[name] is None:
                    self.add("url", f"{name} after '?' is not {OPTIONS[broker.type][name].words}.")
                    del options[name]
            else:
                self.add("url", refusal_of_option(name, broker.type))
        return replace(broker, transport_options=options)

    def _with_certificate_check(self, broker: Broker, word: str) -> Broker:
        checks: Mapping[str, bool] = {**_CERTIFICATE_CHECKS, **_NO_CERTIFICATE_CHECKS}
        checked = checks.get(word.lower())
        if checked is None:
            self.add("url", "ssl_cert_reqs after '?' is not one of required, optional and none.")
        elif broker.tls is None:
            self.add("url", "ssl_cert_reqs after '?' needs an encrypted connection; write rediss:// or amqps://.")
        elif self.is_written("tls") and broker.tls.insecure_skip_verify is checked:
            self.add(
                "url",
                "ssl_cert_reqs after '?' and tls say different things; write tls: {insecure_skip_verify: true}, or "
                "nothing for a check.",
            )
        else:
            return replace(broker, tls=replace(broker.tls, insecure_skip_verify=not checked))
        return broker


def _has_port(host: str) -> bool:
    return ":" in host and not is_address(host)
