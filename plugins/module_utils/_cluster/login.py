# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an account logs in: a token that the API server makes for it, and the kubeconfig that holds it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .._schema.documents import as_yaml, documents_of
from .._schema.moments import from_kept
from .direct import DirectCluster
from .reading import ClusterError

#: What keeps in a kubeconfig for how long its token was asked for. A server may grant less.
_EXTENSION = "celery.queueops.io/token"
_CLUSTER = "cluster"


@dataclass(frozen=True)
class Token:
    """A token of an account.

    :param begins: when it was made; None where the token does not say.
    :param uid: of the ServiceAccount: one that was deleted and made again does not take the tokens of before.
    """

    text: str = field(repr=False)
    ends: datetime
    begins: datetime | None = None
    account: str = ""
    uid: str = ""

    def is_good(self, account: str, uid: str, now: datetime) -> bool:
        """Whether it still logs this account in, for at least half of its time."""
        lasts = self.ends - self.begins if self.begins is not None else timedelta()
        return (self.account, self.uid) == (account, uid) and self.ends - now >= lasts / 2 > timedelta()


@dataclass(frozen=True)
class Server:
    """Where a client finds an API server, and how it knows it."""

    url: str
    authority: str = ""
    trusts_any: bool = False
    server_name: str = ""
    proxy: str = ""

    @classmethod
    def of(cls, configuration: Any) -> Server:
        """That of a connected client.

        :raises OSError: if the certificate of its authority cannot be read.
        """
        path = getattr(configuration, "ssl_ca_cert", None)
        text = Path(path).read_bytes() if isinstance(path, str) and path else b""
        return cls(
            url=str(configuration.host),
            authority=base64.b64encode(text).decode(),
            trusts_any=getattr(configuration, "verify_ssl", True) is False,
            server_name=str(getattr(configuration, "tls_server_name", None) or ""),
            proxy=str(getattr(configuration, "proxy", None) or ""),
        )

    def described(self) -> dict[str, Any]:
        """As a kubeconfig describes it."""
        found: dict[str, Any] = {"server": self.url}
        if self.trusts_any:
            found["insecure-skip-tls-verify"] = True
        elif self.authority:
            found["certificate-authority-data"] = self.authority
        named = {"tls-server-name": self.server_name, "proxy-url": self.proxy}
        return found | {name: value for name, value in named.items() if value}


def kubeconfig(server: Server, account: str, namespace: str, token: str, lifetime: timedelta) -> str:
    """A kubeconfig that logs an account in, as text.

    :param lifetime: for how long the token was asked for.
    """
    name = f"{account}@{namespace}"
    asked = {"name": _EXTENSION, "extension": {"seconds": int(lifetime.total_seconds())}}
    context = {"cluster": _CLUSTER, "user": account, "namespace": namespace, "extensions": [asked]}
    return as_yaml(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": _CLUSTER, "cluster": server.described()}],
            "users": [{"name": account, "user": {"token": token}}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        }
    )


def is_ours(text: str) -> bool:
    """Whether a text is a kubeconfig that was made here."""
    try:
        extensions = documents_of(text)[0]["contexts"][0]["context"]["extensions"]
        return bool(extensions[0]["name"] == _EXTENSION)
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def token_in(text: str) -> Token | None:
    """The token of a kubeconfig of ours; None if it holds none that can be read."""
    try:
        token = str(documents_of(text)[0]["users"][0]["user"]["token"])
        claims = json.loads(base64.urlsafe_b64decode(_padded(token.split(".")[1])))
        own = claims["kubernetes.io"]["serviceaccount"]
        begins, ends = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "exp"))
        return Token(token, ends, begins, str(claims["sub"]), str(own["uid"]))
    except (binascii.Error, ValueError, KeyError, IndexError, TypeError, OverflowError, OSError):
        return None


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def user_name(account: str, namespace: str) -> str:
    """What the API server calls a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{account}"


def request_token(cluster: DirectCluster, account: str, lifetime: timedelta) -> Token:
    """Ask the API server for a token.

    :raises ClusterError: if it gives none.
    """
    spec = {"expirationSeconds": int(lifetime.total_seconds())}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    status = cluster.create_below("serviceaccounts", account, "token", body).get("status") or {}
    if not status.get("token"):
        raise ClusterError(f"The API server made no token for ServiceAccount {account}.")
    ends = from_kept(status.get("expirationTimestamp"))
    return Token(str(status["token"]), ends or datetime.max.replace(tzinfo=UTC))


def uid_of(live: Mapping[str, Any] | None) -> str:
    """What tells an object from one of the same name that was there before."""
    return str((live or {}).get("metadata", {}).get("uid") or "")
