# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may follow the question mark of a broker URL.

kombu takes four names there and fails with a TypeError at every other (5.7); among its transport options it takes many
more. So an option goes there in the type that kombu and the client behind it read, or it is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._schema.problems import suggest


@dataclass(frozen=True)
class Option:
    """How the text of an option becomes a value.

    :param read: the value; None if the text is none.
    """

    words: str
    read: Callable[[str], Any]


def _number(text: str) -> float | int | None:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    found = float(text) if re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", text) else math.nan
    return None if math.isnan(found) else found


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _flag(text: str) -> bool | None:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())


def _text(text: str) -> str | None:
    return text or None


def _flag_or_text(text: str) -> bool | str | None:
    flag = _flag(text)
    return _text(text) if flag is None else flag


def _numbers(text: str) -> list[int] | None:
    parts = [part.strip() for part in text.strip("[]").split(",")]
    return [int(part) for part in parts] if all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts) else None


_SECONDS = Option("a number of seconds", _number)
_WHOLE = Option("a whole number", _whole)
_FLAG = Option("true or false", _flag)
_TEXT = Option("text", _text)

_REDIS = {
    "visibility_timeout": _WHOLE,
    "global_keyprefix": _TEXT,
    "sep": _TEXT,
    "priority_steps": Option("a list of whole numbers such as 0,3,6,9", _numbers),
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _FLAG,
    "health_check_interval": _SECONDS,
    "retry_on_timeout": _FLAG,
    "max_connections": _WHOLE,
    "client_name": _TEXT,
    "fanout_prefix": Option("true, false or text", _flag_or_text),
    "fanout_patterns": _FLAG,
    "queue_order_strategy": _TEXT,
    "polling_interval": _SECONDS,
    "unacked_restore_limit": _WHOLE,
    "unacked_restore_interval": _WHOLE,
    "unacked_restore_throttle": _WHOLE,
    "unacked_mutex_expire": _WHOLE,
}
_RABBITMQ = {
    "heartbeat": _SECONDS,
    "connect_timeout": _SECONDS,
    "read_timeout": _SECONDS,
    "write_timeout": _SECONDS,
    "channel_max": _WHOLE,
    "frame_max": _WHOLE,
    "confirm_publish": _FLAG,
    "login_method": _TEXT,
}

#: What goes on as a transport option, by type of broker (kombu 5.7, py-amqp 5).
OPTIONS: Mapping[str, Mapping[str, Option]] = {"redis": _REDIS, "rabbitmq": _RABBITMQ}

_CA = "put the certificate into a Secret and name it with tls: {ca_secret: …}"
_CERTIFICATE = "put certificate and key into a Secret and name it with tls: {certificate_secret: …}"
_CHECK = "write tls: {insecure_skip_verify: true} to switch the check of certificates off, and nothing to have it"
_TLS = "write rediss:// or amqps://, or tls: true"
_LOGIN = "write username and password before the '@' or as keys of the broker"
_SENTINELS = "write sentinels as parts: type: redis-sentinel with hosts and master_name"

#: Options that people write and that have another place, with what to do instead.
_INSTEAD = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ca_certs", "cacertfile", "cafile"), _CA),
    **dict.fromkeys(("ssl_certfile", "ssl_keyfile", "certfile", "keyfile"), _CERTIFICATE),
    **dict.fromkeys(("ssl_check_hostname", "verify", "cert_reqs", "ssl_verify", "verify_ssl"), _CHECK),
    **dict.fromkeys(("ssl", "tls", "use_ssl", "protocol"), _TLS),
    **dict.fromkeys(("password", "passwd", "pass", "username", "user", "userid", "auth"), _LOGIN),
    **dict.fromkeys(("master_name", "sentinel", "sentinels", "service_name"), _SENTINELS),
    "credential_provider": "name it in the settings of the app, and set inject_env: ''",
}
_INSTEAD_OF_TYPE = {
    "redis": {
        "connection_timeout": "write socket_connect_timeout, which is what the client of Redis calls it",
        "connect_timeout": "write socket_connect_timeout, which is what the client of Redis calls it",
        "timeout": "write socket_timeout or socket_connect_timeout, in seconds",
        "heartbeat": "only RabbitMQ has heartbeats; write health_check_interval",
        **dict.fromkeys(
            ("unacked_key", "unacked_index_key", "unacked_mutex_key"),
            "every variant gets a key of its own for what its workers hold; leave it out",
        ),
    },
    "rabbitmq": {
        "connection_timeout": "write connect_timeout, in seconds",
        "timeout": "write connect_timeout, in seconds",
        "socket_timeout": "write read_timeout and write_timeout, or connect_timeout, in seconds",
        "socket_connect_timeout": "write connect_timeout, in seconds",
        "auth_mechanism": "write login_method, such as PLAIN or EXTERNAL",
        "visibility_timeout": "RabbitMQ has none; write consumer_timeout as a key of the broker",
    },
}


def refusal_of_option(name: str, kind: str) -> str:
    """Why an option is refused, with what to write instead."""
    instead = _INSTEAD_OF_TYPE[kind].get(name) or _INSTEAD.get(name)
    if instead:
        return f"{name} after '?' is not taken over; {instead}."
    known = [*OPTIONS[kind], "ssl_cert_reqs"]
    near = suggest(name, known)
    return (
        f"{name} after '?' means nothing to a worker on {kind}; "
        f"{near if near.startswith('did you mean') else 'leave it out, or write it under transport_options.'}"
    )
