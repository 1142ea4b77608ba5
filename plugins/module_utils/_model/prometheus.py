# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus that scalers ask for run times and arrivals."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._schema.keys import Section, key
from .._schema.kubernetes_values import DNS_SUBDOMAIN, SECRET_KEY
from .._schema.scalars import Flag, MapOf, Text


@dataclass(frozen=True)
class PrometheusSecret:
    """Names an existing Secret and the keys in it."""

    name: str = key(DNS_SUBDOMAIN, "Name of an existing Secret in the fleet's namespace.", "")
    token_key: str | None = key(SECRET_KEY, "Key that holds a bearer token.")
    username_key: str | None = key(SECRET_KEY, "Key that holds a user name. With C(password_key).")
    password_key: str | None = key(SECRET_KEY, "Key that holds the password.")
    ca_key: str | None = key(
        SECRET_KEY, "Key that holds the certificate of an authority of your own. KEDA reads it only beside a login."
    )


@dataclass(frozen=True)
class Prometheus:
    """Where KEDA asks for what Flower or the exporter has measured."""

    url: str = key(
        Text("a URL such as http://prometheus.monitoring:9090", r"\S+", 2048),
        "Address of its HTTP API, without C(/api/v1). The host is one that KEDA reaches; a name without a dot is a "
        "Service of the fleet's namespace.",
        "",
    )
    secret: PrometheusSecret | None = key(
        Section(PrometheusSecret, switchable=False), "The login.", default_text="none"
    )
    insecure_skip_verify: bool = key(
        Flag(),
        "Accept any certificate (KEDA's C(unsafeSsl)). Anybody between KEDA and Prometheus can then read along.",
        False,
    )
    headers: dict[str, str] = key(
        MapOf(
            Text("the name of a header", r"[A-Za-z0-9-]+", 128), Text("text without ',' and '='", r"[^,=\r\n]+", 512)
        ),
        "Further headers, such as C(X-Scope-OrgID) of a Prometheus with tenants. Nothing that is secret.",
        {},
    )
    #: Where each key was written; computed.
    paths: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def path_of(self, name: str) -> str:
        """Where a key was written; where it would be written if nobody wrote it."""
        return self.paths.get(name, f"celery_workers_prometheus.{name}")
