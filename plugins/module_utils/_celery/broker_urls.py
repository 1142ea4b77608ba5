# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that takes a broker URL apart.

The role does it while the password is still in the URL, and the model does it with what is left. Nothing is guessed: of
a URL that can be read in two ways only the scheme and the name of its fault are left, so that no part of a password
shows and the model can say what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from .._schema.scalars import MISPLACED

#: Schemes that are taken, each with the type of broker and whether it is encrypted.
SCHEMES = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "amqp": ("rabbitmq", False),
    "amqps": ("rabbitmq", True),
    "pyamqp": ("rabbitmq", False),
}

#: Names after the question mark whose values are no secret, because we know what they are.
SAFE_OPTIONS = {
    "ack_emulation", "ca_certs", "cacertfile", "certfile", "channel_max", "client_name", "confirm_publish",
    "connect_timeout", "connection_timeout", "database", "db", "fanout_patterns", "fanout_prefix", "frame_max",
    "global_keyprefix", "health_check_interval", "heartbeat", "keyfile", "login_method", "master_name",
    "max_connections", "polling_interval", "priority_steps", "protocol", "queue_order_strategy", "read_timeout",
    "retry_on_timeout", "sep", "socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl", "ssl_ca_certs",
    "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile", "timeout", "tls", "unacked_mutex_expire",
    "unacked_restore_interval", "unacked_restore_limit", "unacked_restore_throttle", "verify", "vhost", "virtual_host",
    "visibility_timeout", "write_timeout",
}  # fmt: skip

#: What is wrong with a URL, and what to write instead. A message never shows the URL itself.
FAULTS = {
    "form": "this is not a URL; write for example redis://redis:6379/0.",
    "end": "it begins or ends with a line break or a space; take it off (echo adds one, echo -n and printf do not).",
    "edge": (
        "the password in it begins or ends with white space, which KEDA cuts off and Celery keeps; write it without."
    ),
    "reference": (
        "$(NAME) in it would not be expanded, because that happens in env only. Write the value, or for a password "
        "name the existing Secret that holds it with secret."
    ),
    "space": "there is white space in it; percent-encode a space in a user name or password as %20.",
    "several": (
        "';' separates several brokers, and workers and scaler need the same one. Write one broker, for example the "
        "address of a Service in front of them; a ';' in a password is percent-encoded as %3B."
    ),
    "cluster": (
        "there are several hosts in it, and Celery talks to one: it does not work with Redis Cluster. Write one host, "
        "or type: redis-sentinel with hosts and master_name; a ',' in a password is percent-encoded as %2C."
    ),
    "login": (
        "it can be read in two ways. In user name, password and options percent-encode @ as %40, / as %2F, # as %23 "
        "and ? as %3F, or write host, username and password as keys, where nothing is encoded."
    ),
    "fragment": "everything after '#' is ignored; percent-encode a # in user name and password as %23.",
    "encoding": "the text after a % is not UTF-8; percent-encode user name and password again.",
    "host": "it names no host; write for example redis://redis:6379/0.",
    "address": (
        "what follows the login is not a host and a port; write for example redis://:<password>@redis:6379/0, and an "
        "IPv6 address in brackets."
    ),
    "port": "the port is a number from 1 to 65535.",
    "twice": "there is a password in it and one under password; write it once.",
    "sentinel": "write sentinels as parts: type: redis-sentinel with hosts and master_name.",
    "sqs": "write SQS as parts: type: sqs with region (and endpoint for an address of your own).",
    "socket": "the scaler reaches no socket of a worker's pod; write the host of the broker.",
    "valkey": "kombu has no such scheme; Valkey speaks the protocol of Redis, so write redis:// or rediss://.",
    "cluster-scheme": "Celery does not work with Redis Cluster; write one host, or type: redis-sentinel.",
}

_REFUSED_SCHEMES = {
    "sentinel": "sentinel",
    "redis+sentinel": "sentinel",
    "redis-sentinel": "sentinel",
    "sqs": "sqs",
    "unix": "socket",
    "socket": "socket",
    "redis+socket": "socket",
    "valkey": "valkey",
    "valkeys": "valkey",
    "redis+cluster": "cluster-scheme",
    "redis-cluster": "cluster-scheme",
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?\.?)(:(?P<port>[0-9]*))?")


@dataclass(frozen=True)
class BrokerUrl:
    """A URL and its parts, percent-decoded.

    :param shown: the URL without its password and without the values of options that nobody knows.
    :param path: what follows the first slash.
    """

    shown: str
    scheme: str
    host: str
    port: int | None
    username: str | None
    password: str | None
    path: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class UrlFault:
    """Why a URL is not taken apart.

    :param name: one of L(FAULTS), or C(scheme) for a scheme that is not supported.
    """

    scheme: str
    name: str

    @property
    def shown(self) -> str:
        """What a module may see instead of the URL; reading it gives the same fault."""
        return f"{self.scheme or 'url'}://{MISPLACED}#{self.name}"


def read_url(text: str) -> BrokerUrl | UrlFault:
    """Take a URL apart, or say why not."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.strip().lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        return UrlFault("", "form")
    if rest.startswith(f"{MISPLACED}#"):
        return UrlFault(scheme, rest.partition("#")[2])
    if scheme in _REFUSED_SCHEMES:
        return UrlFault(scheme, _REFUSED_SCHEMES[scheme])
    if scheme not in SCHEMES:
        return UrlFault(scheme, "scheme")
    found = _read_rest(scheme, rest) if not re.search(r"[\s\x00-\x1f\x7f]", text) else _white_space(text)
    return UrlFault(scheme, found) if isinstance(found, str) else found


def _white_space(text: str) -> str:
    return "space" if re.search(r"[\s\x00-\x1f\x7f]", text.strip()) else "end"


def _read_rest(scheme: str, rest: str) -> BrokerUrl | str:
    """The parts of a URL whose scheme is known, or the name of its fault."""
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(head) :]
    if ";" in rest:
        return "several"
    if "@" in tail or head.count("@") > 1:
        return "login"
    if "#" in tail:
        return "fragment" if "@" in head or _ADDRESS.fullmatch(head) else "login"
    login, _at, address = head.rpartition("@")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return "cluster" if "," in address else "address" if address else "host"
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        return "port"
    path, _question, query = tail.partition("?")
    user, colon, password = login.partition(":")
    try:
        decoded = [unquote(part, errors="strict") for part in (user, password, path.removeprefix("/"))]
        options = tuple(parse_qsl(query, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        return "encoding"
    if any(re.search(r"\$\([A-Za-z_][A-Za-z0-9_.-]*\)", part) for part in (decoded[0], decoded[2])):
        return "reference"
    return BrokerUrl(
        shown=f"{scheme}://{user + '@' if user else ''}{address}{path}{_shown_query(query)}",
        scheme=scheme,
        host=match["host"].strip("[]").lower(),
        port=port,
        username=decoded[0] or None,
        password=decoded[1] if colon else None,
        path=decoded[2],
        options=options,
    )


def _shown_query(query: str) -> str:
    """Options with the values that are surely no secret; the names of all of them stay, to be refused by name."""
    words = [
        word if word.partition("=")[0] in SAFE_OPTIONS else f"{word.partition('=')[0]}={MISPLACED}"
        for word in query.split("&")
        if word
    ]
    return f"?{'&'.join(words)}" if words else ""


def split_url(text: str) -> tuple[str, str | None]:
    """A URL as a module may see it, and its password; an empty one is none."""
    found = read_url(text)
    if isinstance(found, UrlFault):
        return found.shown, None
    return found.shown, found.password or None


def encoded_password(text: str) -> str:
    """The password in a URL of any scheme as it stands there; empty where there is none."""
    _scheme, separator, rest = text.partition("://")
    login = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[0]
    return login.partition(":")[2] if separator else ""
