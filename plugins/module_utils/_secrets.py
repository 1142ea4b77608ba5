# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: keeps secret values out of everything but Secrets.

Modules print their arguments at -vvv, and Ansible's no_log masks equal strings elsewhere in a result (a password
C(redis) turns C(type: redis) into asterisks). So values are taken out on the controller before a module is called,
and put into Secret objects by one separate task.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.queueops.celery.plugins.module_utils._brokers import broker_url, tls_files
from ansible_collections.queueops.celery.plugins.module_utils._fleet import (
    NULL_DEPTH,
    PREFIX,
    Inventory,
    parse_fleet,
    without_nulls,
)
from ansible_collections.queueops.celery.plugins.module_utils._flower import flower_secret_keys
from ansible_collections.queueops.celery.plugins.module_utils._keys import key_names
from ansible_collections.queueops.celery.plugins.module_utils._layers import Layer, layers_of, overlay, plain, stack
from ansible_collections.queueops.celery.plugins.module_utils._model import (
    Broker,
    Fleet,
    SecretReference,
    Service,
    Tls,
)
from ansible_collections.queueops.celery.plugins.module_utils._monitoring_keys import (
    Flower,
    FlowerOauth,
    FlowerSecret,
    ServerPod,
)
from ansible_collections.queueops.celery.plugins.module_utils._names import (
    EXPORTER,
    FLOWER,
    KEYS_ANNOTATION,
    SERVER_LABEL,
    beat_name,
    flower_secret_name,
    ownership_labels,
    people_labels,
    secret_env_name,
    service_broker_secret_name,
)
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._problems import InventoryError, Problem
from ansible_collections.queueops.celery.plugins.module_utils._values import (
    MISPLACED,
    URL_WITH_PASSWORD,
    looks_secret,
    names_secret,
)

#: Keys of Flower whose values are generated where nobody gives them: 128 bits, in letters that nothing reads as its
#: own.
GENERATED_KEYS = ("password", "cookie_secret")
_GENERATED_BYTES = 16

#: A key that is nearly one of these is masked too: it is one typing mistake away.
_SECRET_KEYS = ("secret_env", "password")
#: Keys of that look that hold names.
_NAMES_ONLY = {*(item.name for cls in (SecretReference, Tls, FlowerSecret) for item in fields(cls)), "tls_secret"}


def without_secrets(value: Any, masks_env: bool = True) -> Any:
    """A copy of inventory data in which no secret value is left.

    Values of secret_env become C(true); those that stand where no secret belongs become L(MISPLACED), which the model
    refuses with the place where they were written.

    :param masks_env: whether env entries that look secret are masked too; not where the user says that they are none.
    """
    if isinstance(value, Mapping):
        return {_text(key): _masked(_text(key), item, masks_env) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item, masks_env) for item in value]
    if isinstance(value, str) or _is_vaulted(value):
        return URL_WITH_PASSWORD.sub(lambda found: f"{found[0].partition('://')[0]}://{MISPLACED}@", _text(value))
    return value


def _masked(key: str, value: Any, masks_env: bool) -> Any:
    if key == "env":
        return _env_masked(value, masks_env)
    near = difflib.get_close_matches(key.lower(), _SECRET_KEYS, n=1, cutoff=0.8)
    if key == "secret_env" and isinstance(value, Mapping):
        return {_text(name): _marker(item) for name, item in value.items()}
    if value is None or key in _NAMES_ONLY:
        return without_secrets(value, masks_env)
    holds_text = not isinstance(value, (Mapping, list, tuple, bool))
    named = names_secret(key) or key == "access_key_id"
    return MISPLACED if near or (holds_text and named) else without_secrets(value, masks_env)


def _marker(value: Any) -> Any:
    """What stands for a secret value. References to existing Secrets and nulls are no secrets."""
    if isinstance(value, Mapping):
        return {_text(name): _text(item) if name in ("secret", "key") else MISPLACED for name, item in value.items()}
    return None if value is None else True


def _env_masked(env: Any, masks_env: bool) -> Any:
    """An environment in which entries that look secret keep their name only, so that they are refused by it."""
    if isinstance(env, Mapping):
        return {_text(name): _env_value(_text(name), item, masks_env) for name, item in env.items()}
    if not isinstance(env, (list, tuple)):
        return without_secrets(env, masks_env)
    return [_env_entry(entry, masks_env) if isinstance(entry, Mapping) else entry for entry in env]


def _env_entry(entry: Mapping[Any, Any], masks_env: bool) -> dict[str, Any]:
    name = _text(entry.get("name", ""))
    return {
        _text(key): _env_value(name, item, masks_env) if key == "value" else without_secrets(item, masks_env)
        for key, item in entry.items()
    }


def _env_value(name: str, value: Any, masks_env: bool) -> Any:
    if masks_env and value is not None and looks_secret(name, _text(value)):
        return MISPLACED
    return without_secrets(value, masks_env)


_BROKER_KEYS = key_names(Broker)
_FLOWER_KEYS = key_names(Flower, ServerPod)
_OAUTH_KEYS = key_names(FlowerOauth)


#: Keys of a broker that hold a secret, which the role keeps in one Secret.
BROKER_SECRETS = ("password", "sentinel_password", "access_key_id", "secret_access_key")


def broker_without_secrets(value: Any, masks_env: bool = True) -> Any:
    """The same for a broker, whose URL is taken apart: user name and address stay. An empty password is none."""
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    kept = {key: item for key, item in value.items() if key not in ("url", "scaler", *BROKER_SECRETS)}
    result = without_secrets(kept, masks_env)
    for key, item in result.items():
        # A text under secret, or under a name that nothing reads, may well be the password itself.
        if isinstance(item, (str, int)) and not isinstance(item, bool) and (key == "secret" or key not in _BROKER_KEYS):
            result[key] = MISPLACED
    if "url" in value:
        shown, password = split_url(value["url"])
        result["url"] = shown
        if password is not None:
            result["password"] = True
    for key in BROKER_SECRETS:
        if key in value:
            result[key] = _secret_marker(value[key], result.get(key))
    if "scaler" in value:
        result["scaler"] = _login_without_secrets(value["scaler"], masks_env)
    return result


def _secret_marker(given: Any, otherwise: Any) -> Any:
    """What stands for a secret of a broker. Empty text is none; null leaves it to what else says so."""
    if given is None:
        return otherwise
    return True if _text(given) else None


def _login_without_secrets(value: Any, masks_env: bool) -> Any:
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    rest = {key: item for key, item in value.items() if key != "password"}
    shown = {
        key: MISPLACED if not isinstance(item, Mapping) and key != "username" else item
        for key, item in without_secrets(rest, masks_env).items()
    }
    return {**shown, "password": _secret_marker(value["password"], None)} if "password" in value else shown


def flower_without_secrets(value: Any) -> Any:
    """The same for Flower, whose secrets stand in its own keys and in those of C(oauth)."""
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    named = {key: value[key] for key in GENERATED_KEYS if key in value}
    rest = {key: item for key, item in value.items() if key not in named and key != "oauth"}
    result = _known_without_secrets(rest, _FLOWER_KEYS)
    if "extra_params" in result:
        words = result["extra_params"]
        result["extra_params"] = [*map(_argument_masked, words)] if isinstance(words, list) else _argument_masked(words)
    result |= {key: _secret_marker(item, None) for key, item in named.items()}
    if "oauth" in value:
        oauth = value["oauth"]
        if isinstance(oauth, Mapping):
            rest = {key: item for key, item in oauth.items() if key != "client_secret"}
            marked = {"client_secret": _secret_marker(oauth["client_secret"], None)} if "client_secret" in oauth else {}
            result["oauth"] = {**_known_without_secrets(rest, _OAUTH_KEYS), **marked}
        else:
            result["oauth"] = None if oauth is None else MISPLACED
    return result


#: Arguments of Flower that would show a login or a secret. They are refused, and must not be shown until then.
_SECRET_ARGUMENT = re.compile(r"(--?[a-z0-9_-]*(?:auth|secret|password)[a-z0-9_-]*=).+", re.IGNORECASE | re.DOTALL)


def _argument_masked(word: Any) -> Any:
    # What does not begin with a dash is the value of the argument before it. It is refused, as all but text is.
    if isinstance(word, str) and word.startswith("-"):
        return _SECRET_ARGUMENT.sub(lambda found: found[1] + MISPLACED, word)
    return None if word is None else MISPLACED


def _known_without_secrets(value: Mapping[Any, Any], known: Collection[str]) -> dict[str, Any]:
    """A text under a name that nothing reads may well be a secret whose key is mistyped."""
    return {
        key: item if key in known or isinstance(item, (Mapping, list, bool, type(None))) else MISPLACED
        for key, item in without_secrets(value).items()
    }


#: A host, perhaps a port, and then the rest of the URL: an @ that follows belongs to no login.
_ADDRESS_ONLY = re.compile(r"[^/@:?#]+(:[0-9]+)?([/?#]|$)")


def split_url(url: Any) -> tuple[Any, str | None]:
    """A URL without its password, and the password."""
    if url is None:
        return None, None
    text = _text(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return (MISPLACED if "@" in text else text), None
    # Options after a question mark may hold a password too, and are refused all the same.
    rest = f"{rest.partition('?')[0]}?" if "?" in rest.rpartition("@")[2] else rest
    if _ADDRESS_ONLY.match(rest) or "@" not in rest:
        return f"{scheme}://{rest}", None
    # The last @ ends the login, so that a password with an unescaped @ or / in it does not show.
    login, _at, address = rest.rpartition("@")
    user, colon, password = login.partition(":")
    shown = f"{scheme}://{user}@{address}" if user else f"{scheme}://{address}"
    return shown, unquote(password) if colon and password else None


def redacted_layers(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Base variables and layers as modules may see them."""
    accepting = _accepting(layers)
    return [{"name": _text(layer["name"]), "value": _redacted(layer, accepting)} for layer in layers]


def _redacted(layer: dict[str, Any], accepting: set[str]) -> Any:
    base, value = _text(layer["name"]).partition("__")[0].removeprefix(PREFIX), layer["value"]
    if base == "broker":
        return broker_without_secrets(value)
    if base == FLOWER:
        return flower_without_secrets(value)
    if base not in ("services", "config") or not isinstance(value, Mapping):
        return without_secrets(value, masks_env="" not in accepting)
    safe = {
        _text(name): without_secrets(service, masks_env=not {"", _text(name)} & accepting)
        for name, service in value.items()
    }
    for name, service in value.items():
        if base == "services" and isinstance(service, Mapping) and "broker" in service:
            safe[_text(name)]["broker"] = broker_without_secrets(service["broker"])
    return safe


def _accepting(layers: list[dict[str, Any]]) -> set[str]:
    """Services that accept secrets in their environment; an empty name stands for all."""
    found: set[str] = set()
    for layer in layers:
        base, value = _text(layer["name"]).partition("__")[0], layer["value"]
        if base == f"{PREFIX}queue_defaults" and _mentions(value, "plain-secret"):
            found.add("")
        elif isinstance(value, Mapping):
            found |= {_text(name) for name, service in value.items() if _mentions(service, "plain-secret")}
    return found


def _mentions(value: Any, risk: str) -> bool:
    """Whether a risk is accepted anywhere."""
    if isinstance(value, Mapping):
        accepted = value.get("accept_risks")
        named = isinstance(accepted, (list, tuple)) and risk in [_text(item) for item in accepted]
        return named or any(_mentions(item, risk) for item in value.values())
    return False


def secret_manifests(
    layers: list[dict[str, Any]],
    namespace: str,
    fleet: str = "",
    preset: str = "",
    observed: Observed = NOTHING,
    enabled: Collection[str] = (),
    output: str = "cluster",
) -> list[dict[str, Any]]:
    """The Secrets that a fleet needs, with their values. For the one task that sends them, and for nothing else.

    A value that nobody gives is generated here, unless the cluster has one.

    :param enabled: parts beside the workers that are wanted.
    :param output: as for the model.
    :raises InventoryError: for an inventory that no module would take either.
    """
    # Modules have checked the whole inventory by now; of how routes are delivered no Secret depends.
    inventory = Inventory(
        namespace,
        fleet,
        preset,
        _as_layers(redacted_layers(layers)),
        routing_delivery="tutor_plugin",
        enabled=tuple(set(enabled) & {FLOWER, EXPORTER}),
        output=output,
    )
    model = parse_fleet(inventory)
    values = _Values(_as_layers(layers))
    own = [
        _secret(model, name, service, data)
        for name, service, data in [*_broker_secrets(model, values), *_env_secrets(model, values)]
    ]
    return [*own, *_flower_secrets(model, values, observed, output)]


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
    for service in fleet.services:
        broker = service.broker
        if broker is None or not broker.has_own_secret or broker.own_secret in seen:
            continue
        seen.add(broker.own_secret)
        shared = broker.own_secret != service_broker_secret_name(service.name)
        raw = values.broker(None if shared else service.name)
        yield broker.own_secret, "" if shared else service.name, _broker_data(broker, raw)


def _broker_data(broker: Broker, raw: dict[str, Any]) -> dict[str, str]:
    """Everything that workers and scaler read of one broker's credentials."""
    found: dict[str, str] = {}
    if broker.password:
        password = _text(raw["password"]) if raw.get("password") is not None else split_url(raw.get("url"))[1] or ""
        found = {"url": broker_url(broker, password), "password": password}
        if broker.username:
            found["username"] = broker.username
    for key in BROKER_SECRETS[1:]:
        if raw.get(key) is not None and _text(raw[key]):
            found[key] = _text(raw[key])
    if broker.scaler is not None and broker.scaler.password:
        found["scaler_password"] = _text(raw["scaler"]["password"])
        if broker.scaler.username:
            found["scaler_username"] = broker.scaler.username
    if broker.type == "rabbitmq" and tls_files(broker):
        # KEDA's RabbitMQ scaler uses certificates only where a Secret says so (2.20).
        found["scaler_tls"] = "enable"
    return found


def _env_secrets(fleet: Fleet, values: _Values) -> Iterator[tuple[str, str, dict[str, str]]]:
    for service in fleet.services:
        for deployment, variant in _deployments(service):
            wanted = service.pod.secret_env if variant is None else _variant_env(service, variant)
            names = [name for name, reference in wanted.items() if not reference]
            if names:
                raw = values.secret_env(service.name, variant)
                yield secret_env_name(deployment), service.name, {name: _text(raw[name]) for name in names}


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
    texts = {key: _text(written[key]) for key in keys if written[key] is not None}
    return {key: text for key, text in texts.items() if text}


def kept_keys(fleet: Fleet, observed: Observed, name: str) -> set[str]:
    """Keys that a Secret of ours has in the cluster. What was generated once stays."""
    live = observed.find("Secret", name)
    if live is None or not live.is_ours(fleet.name):
        return set()
    return set(live.annotations.get(KEYS_ANNOTATION, "").split(",")) & set(GENERATED_KEYS)


def generated(fleet: Fleet, observed: Observed) -> list[str]:
    """Secret and key of each value that the next run generates."""
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


def _variant_env(service: Service, name: str) -> dict[str, Any]:
    return next(variant.pod.secret_env for variant in service.variants if variant.name == name)


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
            wanted = service.pod.secret_env if variant is None else _variant_env(service, variant)
            names += [secret_env_name(deployment)] if any(not reference for reference in wanted.values()) else []
    if _keys_of_flower(fleet):
        names += [flower_secret_name(server.name) for server in fleet.monitoring.flowers]
    return list(dict.fromkeys(names))


_GENERATED = re.compile(rf"\b[0-9a-f]{{{2 * _GENERATED_BYTES}}}\b|\b[A-Za-z0-9+/]{{43}}=")


def redact(text: str, manifests: list[dict[str, Any]]) -> str:
    """A message without any value of these Secrets, also as base64 and as part of a URL."""
    for value in sorted(_secret_strings(manifests), key=len, reverse=True):
        # A very short value would cut words apart; one that stands alone is still covered.
        pattern = re.escape(value) if len(value) > 3 else rf"(?<![\w-]){re.escape(value)}(?![\w-])"
        text = re.sub(pattern, "********", text)
    # What a task has generated nobody else knows, but it always looks the same.
    return _GENERATED.sub("********", text)


def _secret_strings(manifests: list[dict[str, Any]]) -> set[str]:
    found: set[str] = set()
    for secret in manifests:
        for encoded in filter(None, secret.get("data", {}).values()):
            value = base64.b64decode(encoded).decode()
            # As it is, and as JSON and Python write it inside of a text.
            found |= {encoded, value, json.dumps(value)[1:-1], repr(value)[1:-1]}
            password = urlsplit(value).netloc.rpartition("@")[0].partition(":")[2] if "://" in value else ""
            found |= {password} if password else set()
    return {value for value in found if value}


def _as_layers(layers: list[dict[str, Any]]) -> tuple[Layer, ...]:
    return tuple(Layer(_text(layer["name"]), layer["value"]) for layer in layers)


def _is_vaulted(value: Any) -> bool:
    """A value that a vault still holds (ansible-core before 2.19); it reads as text once asked for it."""
    return hasattr(value, "_ciphertext")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
