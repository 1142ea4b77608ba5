# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts secret values into Secret objects, for the one task that sends them."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .._celery.broker_urls import encoded_password, split_url
from .._celery.brokers import broker_url, tls_files
from .._model.broker import BROKER_SECRETS, Broker
from .._model.fleet import Fleet, Service
from .._model.names import (
    FLOWER,
    KEYS_ANNOTATION,
    SERVER_LABEL,
    beat_name,
    flower_secret_name,
    ownership_labels,
    people_labels,
    service_broker_secret_name,
)
from .._model.observed import NOTHING, Observed
from .._model.variant_keys import Pod
from .._model.watching import GENERATED_KEYS
from .._schema.layers import (
    NULL_DEPTH,
    PREFIX,
    Layer,
    layers_of,
    overlay,
    plain,
    stack,
    without_nulls,
)
from .._schema.masks import MASK
from .._schema.placeholders import placeholders
from .._schema.problems import InventoryError, Problem
from .._schema.scalars import text_of
from .._schema.secret_signs import without_values
from .containers import env_secret_name
from .exporter import SENTINEL_PASSWORD_JSON, as_json
from .flower import flower_secret_keys

#: Of a value that is generated: 128 bits, in letters that nothing reads as its own.
_GENERATED_BYTES = 16
#: Keys of a broker's Secret that hold no secret: user names are shown elsewhere, and are parts of many other names.
USER_NAME, _SCALER_NAME, _SCALER_TLS = "username", "scaler_username", "scaler_tls"
_SHOWN = frozenset({USER_NAME, _SCALER_NAME, _SCALER_TLS})


def secrets_of(
    fleet: Fleet, layers: list[dict[str, Any]], observed: Observed = NOTHING, output: str = "cluster"
) -> list[dict[str, Any]]:
    """The Secrets that a fleet needs, with their values. For the one task that sends them, and for nothing else.

    A value that nobody gives is generated here, unless the cluster has one.

    :param layers: the variables that the fleet was read from, with their secret values.
    :param output: C(manifests) keeps nothing that is generated.
    :raises InventoryError: for a value that cannot be written as it is.
    """
    values = _Values(_as_layers(layers))
    own = [
        _secret(fleet, name, service, data)
        for name, service, data in [*_broker_secrets(fleet, values), *_env_secrets(fleet, values)]
    ]
    found = [*own, *_flower_secrets(fleet, values, observed, output)]
    masked = [place for secret in found for place in _masked_values(secret)]
    if masked:
        raise InventoryError(
            [Problem(place, "the value is the mask of a hidden one, not the value.") for place in masked]
        )
    return found


def _masked_values(secret: dict[str, Any]) -> Iterator[str]:
    texts = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    return placeholders(texts, f"Secret {secret['metadata']['name']}")


class _Values:
    """The merged inventory with its secret values."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        names = ("services", "config", "queue_defaults", "broker", FLOWER)
        self.trees = {name: self._tree(name, layers) for name in names}

    @staticmethod
    def _tree(name: str, layers: tuple[Layer, ...]) -> Any:
        node = stack()
        for layer in layers_of(PREFIX + name, layers):
            if isinstance(layer.value, Mapping):
                node = stack(overlay(node, without_nulls(layer.value, NULL_DEPTH.get(name, 0)), layer.name))
        return plain(node)

    def broker(self, service: str | None) -> dict[str, Any]:
        """Raw keys of the fleet's broker or of one service's own."""
        tree = self.trees["broker"] if service is None else self.trees["services"][service]["broker"]
        return dict(tree)

    def secret_env(self, service: str, variant: str | None) -> dict[str, Any]:
        """Secret environment of a variant, or of the service itself."""
        places = [self.trees["queue_defaults"], self.trees["services"].get(service, {})]
        if variant is not None:
            places.append(self.trees["config"].get(service, {}).get(variant, {}))
        found: dict[str, Any] = {}
        for place in places:
            found.update(place.get("secret_env") or {})
        return found


def _broker_secrets(fleet: Fleet, values: _Values) -> Iterator[tuple[str, str, dict[str, str]]]:
    seen: set[str] = set()
    exporters = fleet.monitoring.exporters
    for service in fleet.services:
        broker = service.broker
        if broker is None or not broker.has_own_secret or broker.own_secret in seen:
            continue
        seen.add(broker.own_secret)
        shared = broker.own_secret != service_broker_secret_name(service.name)
        raw = values.broker(None if shared else service.name)
        data = _broker_data(broker, raw)
        if "sentinel_password" in data and any(one.broker.own_secret == broker.own_secret for one in exporters):
            data[SENTINEL_PASSWORD_JSON] = as_json(data["sentinel_password"])
        yield broker.own_secret, "" if shared else service.name, data


def _broker_data(broker: Broker, raw: dict[str, Any]) -> dict[str, str]:
    """Everything that workers and scaler read of one broker's credentials."""
    found: dict[str, str] = {}
    if broker.password:
        written = raw.get("password")
        password = text_of(written) if written is not None else split_url(text_of(raw.get("url") or ""))[1] or ""
        found = {"url": broker_url(broker, password), "password": password}
        if broker.username:
            found[USER_NAME] = broker.username
    for key in BROKER_SECRETS[1:]:
        if raw.get(key) is not None and text_of(raw[key]):
            found[key] = text_of(raw[key])
    if broker.scaler is not None and broker.scaler.password:
        found["scaler_password"] = text_of(raw["scaler"]["password"])
        if broker.scaler.username:
            found[_SCALER_NAME] = broker.scaler.username
    if broker.type == "rabbitmq" and tls_files(broker):
        # KEDA's RabbitMQ scaler uses certificates only where a Secret says so (2.20).
        found[_SCALER_TLS] = "enable"
    return found


def _env_secrets(fleet: Fleet, values: _Values) -> Iterator[tuple[str, str, dict[str, str]]]:
    seen: set[str] = set()
    for service in fleet.services:
        for deployment, variant in _deployments(service):
            pod = _pod_of(service, variant)
            names = [name for name, reference in pod.secret_env.items() if not reference]
            own = env_secret_name(pod, deployment)
            if names and own not in seen:
                seen.add(own)
                raw = values.secret_env(service.name, variant)
                yield own, service.name, {name: text_of(raw[name]) for name in names}


def _flower_secrets(fleet: Fleet, values: _Values, observed: Observed, output: str) -> Iterator[dict[str, Any]]:
    keys = _keys_of_flower(fleet)
    given = _given_to_flower(values.trees[FLOWER], keys)
    if "," in given.get("password", ""):
        # Flower takes several logins in one value, with commas between them (2.2).
        problem = Problem(f"{PREFIX}flower.password", "Flower would cut it at the comma; write one without.")
        raise InventoryError([problem])
    for server in fleet.monitoring.flowers if keys else ():
        name = flower_secret_name(server.name)
        kept = kept_keys(fleet, observed, name) & set(keys)
        missing = set(keys) & set(GENERATED_KEYS) - kept - set(given) if output == "cluster" else set()
        data = {**given, **{key: secrets.token_hex(_GENERATED_BYTES) for key in sorted(missing)}}
        yield _secret(fleet, name, "", data, FLOWER, {SERVER_LABEL: server.name}, kept)


def _keys_of_flower(fleet: Fleet) -> tuple[str, ...]:
    """Keys of the Secrets that the role makes for Flower; none where it makes none."""
    flower = fleet.monitoring.flower
    return flower_secret_keys(flower) if flower is not None else ()


def _given_to_flower(raw: Mapping[str, Any], keys: Collection[str]) -> dict[str, str]:
    """Those of its secret values that somebody wrote."""
    oauth = raw.get("oauth") or {}
    written = {**{key: raw.get(key) for key in GENERATED_KEYS}, "client_secret": oauth.get("client_secret")}
    texts = {key: text_of(written[key]) for key in keys if written[key] is not None}
    return {key: text for key, text in texts.items() if text}


def kept_keys(fleet: Fleet, observed: Observed, name: str) -> set[str]:
    """Keys that a Secret of ours has in the cluster. What was generated once stays."""
    live = observed.find("Secret", name)
    if live is None or not live.is_ours(fleet.name):
        return set()
    return set(live.annotations.get(KEYS_ANNOTATION, "").split(",")) & set(GENERATED_KEYS)


def generated(fleet: Fleet, observed: Observed, output: str) -> list[str]:
    """Secret and key of each value that the next run generates. Files keep nothing that is generated."""
    if output != "cluster":
        return []
    wanted = {
        key for key in _keys_of_flower(fleet) if key in GENERATED_KEYS and not getattr(fleet.monitoring.flower, key)
    }
    return [
        f"Secret {name}, key {key}"
        for name in (flower_secret_name(server.name) for server in fleet.monitoring.flowers)
        for key in sorted(wanted - kept_keys(fleet, observed, name))
    ]


def _deployments(service: Service) -> Iterator[tuple[str, str | None]]:
    for variant in service.variants:
        yield variant.deployment, variant.name
    if service.beat is not None:
        yield beat_name(service.name), None


def _pod_of(service: Service, variant: str | None) -> Pod:
    """The pod of a variant, or of the service's beat."""
    if variant is None:
        return service.pod
    return next(item.pod for item in service.variants if item.name == variant)


def _secret(
    fleet: Fleet,
    name: str,
    service: str,
    data: dict[str, str],
    component: str = "",
    marks: Mapping[str, str] | None = None,
    kept: Collection[str] = (),
) -> dict[str, Any]:
    """One Secret.

    :param kept: keys whose values stay as they are in the cluster.
    """
    own = {**ownership_labels(fleet.name, service, component=component), **(marks or {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": fleet.namespace,
            "labels": {**people_labels(fleet.name, name, component or "secret"), **own},
            "annotations": {KEYS_ANNOTATION: ",".join(sorted({*data, *kept}))},
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def without_stale_keys(manifests: list[dict[str, Any]], observed: Observed) -> list[dict[str, Any]]:
    """The same Secrets, with a null for each key that an earlier run wrote and nobody asks for any more.

    They are sent as a merge patch, which takes away only what it names.
    """
    found = []
    for secret in manifests:
        live = observed.find("Secret", secret["metadata"]["name"])
        written = set((live.annotations.get(KEYS_ANNOTATION) or "").split(",")) - {""} if live else set()
        wanted = set(secret["metadata"]["annotations"][KEYS_ANNOTATION].split(","))
        stale = dict.fromkeys(sorted(written - wanted))
        found.append({**secret, "data": {**secret["data"], **stale}})
    return found


def secret_names(fleet: Fleet) -> list[str]:
    """Names of the Secrets that the role makes for a fleet."""
    names = [
        service.broker.own_secret for service in fleet.services if service.broker and service.broker.has_own_secret
    ]
    for service in fleet.services:
        for deployment, variant in _deployments(service):
            pod = _pod_of(service, variant)
            own = any(not reference for reference in pod.secret_env.values())
            names += [env_secret_name(pod, deployment)] if own else []
    if _keys_of_flower(fleet):
        names += [flower_secret_name(server.name) for server in fleet.monitoring.flowers]
    return list(dict.fromkeys(names))


_GENERATED = re.compile(rf"\b[0-9a-f]{{{2 * _GENERATED_BYTES}}}\b|\b[A-Za-z0-9+/]{{43}}=")


def redact(text: str, manifests: list[dict[str, Any]]) -> str:
    """A message without any value of these Secrets, also as base64 and as part of a URL."""
    # What a task has generated nobody else knows, but it always looks the same.
    return _GENERATED.sub(MASK, without_values(text, secret_values(manifests)))


def secret_values(manifests: list[dict[str, Any]]) -> set[str]:
    """Every value of these Secrets that is secret."""
    found = set()
    for secret in manifests:
        # The Secret with the environment of an app may have a secret by any name.
        shown = _SHOWN if secret["metadata"]["name"].endswith("-broker") else frozenset()
        found |= {value for name, value in secret.get("data", {}).items() if value and name not in shown}
    texts = {base64.b64decode(value).decode() for value in found}
    return {*texts, *map(encoded_password, texts)}


def _as_layers(layers: list[dict[str, Any]]) -> tuple[Layer, ...]:
    return tuple(Layer(text_of(layer["name"]), layer["value"]) for layer in layers)
