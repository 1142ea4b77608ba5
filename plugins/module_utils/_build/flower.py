# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flower and the objects beside it. Pure functions of Fleet and Observed.

Source: Flower 2.2 for options, pages and what they read; its image works as user 1000 in /data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._celery.brokers import management_url
from .._model.fleet import Fleet, Monitoring, Server
from .._model.names import (
    FLOWER,
    flower_claim_name,
    flower_secret_name,
)
from .._model.observed import NOTHING, Observed
from .._model.watching import (
    Flower,
    FlowerIngress,
    FlowerOauth,
    FlowerRoute,
)
from .containers import broker_url_source, from_secret, own_broker_secret, sentinel_env
from .pods import ServerContext, server_pod
from .servers import (
    ServerObjects,
    SettingsFile,
    environment,
    server_objects,
    settings_file,
)

PORT = 5555
#: Working folder of the image, where it keeps its list of tasks.
DATA = "/data"
SETTINGS_MOUNT = "/etc/flower"
SETTINGS_MODULE = "flower_celery"

#: Environment that brings the password to the value of FLOWER_BASIC_AUTH.
_PASSWORD = "CELERY_FLOWER_PASSWORD"

_PROVIDERS = {
    "google": "flower.views.auth.GoogleAuth2LoginHandler",
    "github": "flower.views.auth.GithubLoginHandler",
    "gitlab": "flower.views.auth.GitLabLoginHandler",
    "okta": "flower.views.auth.OktaLoginHandler",
}
_DOMAINS = {"github": "FLOWER_GITHUB_OAUTH_DOMAIN", "gitlab": "FLOWER_GITLAB_OAUTH_DOMAIN"}

#: All of Flower's pages (flower.urls, 2.2) but C(/metrics) and C(/healthcheck), which ask for no password. A list of
#: what may pass works on every controller; one of what may not would need a controller's own annotations.
PAGES = ("workers", "worker", "tasks", "task", "broker", "api", "static", "login", "logout")

#: A rule of an HTTPRoute takes eight matches in older releases of the Gateway API.
_MATCHES = 8


def flower_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Everything of every Flower of a fleet, in the order in which it is applied."""
    found: list[dict[str, Any]] = []
    if fleet.monitoring.flower is not None:
        for server in fleet.monitoring.flowers:
            found.extend(_of_server(fleet, fleet.monitoring.flower, server, observed))
    return found


def _of_server(fleet: Fleet, flower: Flower, server: Server, observed: Observed) -> Iterator[dict[str, Any]]:
    settings = settings_file(server.broker, SETTINGS_MODULE) if flower.app is None else None
    objects = ServerObjects(fleet, server, FLOWER, observed)
    if settings is not None:
        yield objects.config_map(settings)
    persistence = flower.persistence
    if persistence is not None and persistence.existing_claim is None:
        claim: dict[str, Any] = {
            "accessModes": [persistence.access_mode],
            "resources": {"requests": {"storage": persistence.size}},
        }
        if persistence.storage_class:
            claim["storageClassName"] = persistence.storage_class
        yield objects.make("PersistentVolumeClaim", flower_claim_name(server.name), claim)
    template = server_pod(server.pod, _pod_context(flower, server, objects, settings))
    yield from server_objects(objects, template, PORT, metrics_path(flower))
    if flower.ingress is not None:
        yield _ingress(objects, server, flower, flower.ingress)
    if flower.http_route is not None and "HTTPRoute" not in observed.missing_kinds:
        yield _route(objects, server, flower, flower.http_route)
    if flower.network_policy is not None:
        # Its own namespace, so that people may forward the port of a Service and pods may ask its API.
        peers = [{"podSelector": {}}, *flower.network_policy.allow_from]
        spec = {
            "podSelector": {"matchLabels": objects.selector},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}],
        }
        yield objects.make("NetworkPolicy", server.name, spec)


def _pod_context(
    flower: Flower, server: Server, objects: ServerObjects, settings: SettingsFile | None
) -> ServerContext:
    claim = (
        flower.persistence.existing_claim or flower_claim_name(server.name) if flower.persistence is not None else ""
    )
    data: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    app = [f"--app={flower.app}"] if flower.app else []
    own = [flower_secret_name(server.name)] if flower_secret_keys(flower) else []
    return ServerContext(
        part=FLOWER,
        args=("celery", *app, "flower", *flower.extra_params),
        env=(*_broker_env(flower, server, settings), *_options(flower, server), *_login(flower, server)),
        port=PORT,
        health_path=f"{prefix(flower)}/healthcheck",
        broker=server.broker,
        people=objects.people,
        selector=objects.selector,
        observed=objects.observed,
        secrets=(*own_broker_secret(server.broker), *own),
        files=objects.config_map_name if settings is not None else "",
        mount=SETTINGS_MOUNT,
        config_hash=settings.content_hash if settings is not None else "",
        volumes={DATA: data, "/tmp": {"emptyDir": {}}},
    )


def _broker_env(flower: Flower, server: Server, settings: SettingsFile | None) -> list[dict[str, Any]]:
    env = [{"name": "CELERY_BROKER_URL", **broker_url_source(server.broker)}]
    if settings is not None:
        env += [*environment({"CELERY_CONFIG_MODULE": SETTINGS_MODULE, "PYTHONPATH": SETTINGS_MOUNT})]
    return [*env, *sentinel_env(server.broker)]


def _options(flower: Flower, server: Server) -> list[dict[str, Any]]:
    """Flower's options as environment: every one may be named so."""
    options = {
        # A Service of the name flower would otherwise set it to an address (measured, 2.2).
        "port": str(PORT),
        "read_only": "true" if flower.read_only else "false",
        "max_tasks": str(flower.max_tasks),
        "max_workers": str(flower.max_workers),
        "purge_offline_workers": str(flower.purge_offline_workers),
        "inspect_timeout": f"{flower.inspect_timeout * 1000:g}",
        "task_runtime_metric_buckets": ",".join(f"{bound:g}" for bound in flower.runtime_buckets),
    }
    if flower.url_prefix:
        options["url_prefix"] = flower.url_prefix
    if flower.persistence is not None:
        options |= {
            "persistent": "true",
            "db": f"{DATA}/flower",
            "state_save_interval": str(flower.persistence.save_seconds * 1000),
        }
    if server.broker.type == "rabbitmq" and (server.broker.management.host or server.broker.host):
        # Without a login in it Flower takes that of the broker's URL (2.2).
        options["broker_api"] = f"{management_url(server.broker)}/api/"
    if flower.ingress is not None or flower.http_route is not None:
        options["xheaders"] = "true"
    return environment({f"FLOWER_{name.upper()}": value for name, value in options.items()})


def _login(flower: Flower, server: Server) -> list[dict[str, Any]]:
    own = flower_secret_name(server.name)
    session = _session(flower, own)
    if flower.oauth is not None:
        return [*session, *_oauth(flower, flower.oauth, own)]
    # Kubernetes puts the value in when it starts the container, so that no object shows it.
    basic = {"name": "FLOWER_BASIC_AUTH", "value": f"{flower.username}:$({_PASSWORD})"}
    return [*session, {"name": _PASSWORD, **from_secret(*_password_place(flower, own))}, basic]


def _password_place(flower: Flower, own: str) -> tuple[str, str]:
    """Name and key of the Secret with the password."""
    return (own, "password") if flower.secret is None else (flower.secret.name, flower.secret.password_key)


def _session(flower: Flower, own: str) -> list[dict[str, Any]]:
    """The secret of the session cookie. Without one Flower makes one at each start, and people log in again."""
    if flower.secret is not None and flower.secret.cookie_secret_key:
        place = (flower.secret.name, flower.secret.cookie_secret_key)
    elif "cookie_secret" in flower_secret_keys(flower):
        place = (own, "cookie_secret")
    else:
        return []
    reference = from_secret(*place)
    reference["valueFrom"]["secretKeyRef"]["optional"] = True
    return [{"name": "FLOWER_COOKIE_SECRET", **reference}]


def _oauth(flower: Flower, oauth: FlowerOauth, own: str) -> list[dict[str, Any]]:
    provider = oauth.provider or ""
    place = (own, "client_secret") if flower.secret is None else (flower.secret.name, flower.secret.client_secret_key)
    plain = {
        "FLOWER_AUTH_PROVIDER": _PROVIDERS.get(provider, ""),
        "FLOWER_AUTH": oauth.allow or "",
        "FLOWER_OAUTH2_KEY": oauth.client_id or "",
        "FLOWER_OAUTH2_REDIRECT_URI": oauth.redirect_uri or "",
    }
    if oauth.domain and provider in _DOMAINS:
        plain[_DOMAINS[provider]] = oauth.domain
    if oauth.base_url:
        plain["FLOWER_OAUTH2_OKTA_BASE_URL"] = oauth.base_url
    if oauth.gitlab_groups:
        plain["FLOWER_GITLAB_AUTH_ALLOWED_GROUPS"] = ",".join(oauth.gitlab_groups)
    return [*environment(plain), {"name": "FLOWER_OAUTH2_SECRET", **from_secret(*place)}]


def flower_secret_keys(flower: Flower) -> tuple[str, ...]:
    """Keys of the Secret that the role makes for a Flower; none where it makes none."""
    found = []
    if flower.oauth is None and flower.secret is None:
        found.append("password")
    if flower.oauth is not None and flower.secret is None:
        found.append("client_secret")
    # Only OAuth keeps people logged in by a cookie, so beside a Secret of the user's it is made for OAuth alone.
    if flower.secret is None or (flower.oauth is not None and not flower.secret.cookie_secret_key):
        found.append("cookie_secret")
    return tuple(found)


def prefix(flower: Flower) -> str:
    """What stands before the path of every page."""
    return f"/{flower.url_prefix}" if flower.url_prefix else ""


def metrics_path(flower: Flower) -> str:
    """Path of the metrics."""
    return f"{prefix(flower)}/metrics"


def host_of(server: Server, host: str) -> str:
    """The host name of one of several Flowers."""
    return host if server.is_first else f"{server.name}.{host}"


def _paths(flower: Flower) -> list[tuple[str, str]]:
    """Type and path of everything that may be reached from outside."""
    start = prefix(flower)
    roots = [("Exact", f"{start}/"), *([("Exact", start)] if start else [])]
    return [*roots, *(("Prefix", f"{start}/{page}") for page in PAGES)]


def _ingress(objects: ServerObjects, server: Server, flower: Flower, ingress: FlowerIngress) -> dict[str, Any]:
    host = host_of(server, ingress.host or "")
    backend = {"service": {"name": server.name, "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": kind, "backend": backend} for kind, path in _paths(flower)]
    spec: dict[str, Any] = {"rules": [{"host": host, "http": {"paths": paths}}]}
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls:
        secret = ingress.tls_secret if server.is_first and ingress.tls_secret else f"{server.name}-tls"
        spec["tls"] = [{"hosts": [host], "secretName": secret}]
    return objects.make("Ingress", server.name, spec, ingress.annotations)


def _route(objects: ServerObjects, server: Server, flower: Flower, route: FlowerRoute) -> dict[str, Any]:
    kinds = {"Exact": "Exact", "Prefix": "PathPrefix"}
    matches = [{"path": {"type": kinds[kind], "value": path}} for kind, path in _paths(flower)]
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        **({"namespace": route.gateway_namespace} if route.gateway_namespace else {}),
        "name": route.gateway or "",
        "sectionName": route.section_name,
    }
    # With the defaults that the API fills in.
    backend = {"group": "", "kind": "Service", "name": server.name, "port": PORT, "weight": 1}
    spec = {
        "parentRefs": [parent],
        "hostnames": [host_of(server, route.host or "")],
        "rules": [
            {"matches": matches[start : start + _MATCHES], "backendRefs": [backend]}
            for start in range(0, len(matches), _MATCHES)
        ],
    }
    return objects.make("HTTPRoute", server.name, spec, route.annotations)


def flower_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row a Flower: where it is, and how one gets in."""
    return [_row(fleet.namespace, fleet.monitoring, server) for server in fleet.monitoring.flowers]


def _row(namespace: str, monitoring: Monitoring, server: Server) -> dict[str, Any]:
    flower = monitoring.flower or Flower()
    start = prefix(flower)
    address = f"http://{server.name}.{namespace}.svc:{PORT}{start}/"
    if flower.http_route is not None:
        address = f"https://{host_of(server, flower.http_route.host or '')}{start}/"
    if flower.ingress is not None:
        scheme = "https" if flower.ingress.tls else "http"
        address = f"{scheme}://{host_of(server, flower.ingress.host or '')}{start}/"
    if flower.oauth is not None:
        login = f"{flower.oauth.provider}, {flower.oauth.allow}"
    else:
        secret, key = _password_place(flower, flower_secret_name(server.name))
        login = f"user {flower.username}, password in Secret {secret}, key {key}"
    return {"name": server.name, "services": list(server.services), "address": address, "login": login}
