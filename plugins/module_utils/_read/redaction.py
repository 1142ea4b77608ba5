# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secret values out of inventory data, before any module gets it.

Modules print their arguments at -vvv, and Ansible's no_log masks equal strings elsewhere in a result (a password
C(redis) turns C(type: redis) into asterisks). So values are taken out on the controller before a module is called.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from datetime import date
from functools import lru_cache
from typing import Any

from .._celery.broker_urls import UrlFault, split_url
from .._model.broker import BROKER_SECRETS, Broker, SecretReference, Tls
from .._model.names import EXPORTER, FLOWER
from .._model.prometheus import Prometheus, PrometheusSecret
from .._model.watching import (
    GENERATED_KEYS,
    Exporter,
    Flower,
    FlowerOauth,
    FlowerSecret,
    ServerPod,
)
from .._schema.keys import key_names
from .._schema.layers import PREFIX
from .._schema.scalars import (
    BOOLEAN,
    DATE,
    LINE_BREAK,
    MISPLACED,
    NO_TEXT,
    NUMBER,
    REFERENCE,
    WHITE_SPACE,
    text_of,
)
from .._schema.secret_signs import (
    REFERENCE_TEXT,
    holds_login,
    is_secret_header,
    looks_secret,
    names_secret,
    variable_names_secret,
    without_url_passwords,
)

#: A key that is nearly one of these is masked too: it is one typing mistake away.
_SECRET_KEYS = ("secret_env", "password")
_SECRET_NAMES = (SecretReference, Tls, FlowerSecret, PrometheusSecret)
#: Keys of that look that hold names.
_NAMES_ONLY = {*(item.name for cls in _SECRET_NAMES for item in fields(cls)), "tls_secret"}


def without_secrets(value: Any, masks_env: bool = True) -> Any:
    """A copy of inventory data in which no secret value is left.

    Values of secret_env become C(true); those that stand where no secret belongs become L(MISPLACED), which the model
    refuses with the place where they were written.

    :param masks_env: whether env entries that look secret are masked too; not where the user says that they are none.
    """
    if isinstance(value, Mapping):
        return {text_of(key): _masked(text_of(key), item, masks_env) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item, masks_env) for item in value]
    if isinstance(value, str) or _is_vaulted(value):
        return without_url_passwords(text_of(value), MISPLACED)
    return value


def _masked(key: str, value: Any, masks_env: bool) -> Any:
    if key == "env":
        return _env_masked(value, masks_env)
    near = len(key) < 20 and _is_near_secret(key.lower())
    if key == "secret_env" and isinstance(value, Mapping):
        return {text_of(name): _marker(item) for name, item in value.items()}
    if value is None or key in _NAMES_ONLY:
        return without_secrets(value, masks_env)
    holds_text = not isinstance(value, (Mapping, list, tuple, bool))
    named = names_secret(key) or key == "access_key_id"
    return MISPLACED if near or (holds_text and named) else without_secrets(value, masks_env)


@lru_cache(maxsize=1024)
def _is_near_secret(key: str) -> bool:
    """Whether a key is one that holds secrets, or nearly so. The same few keys stand below every variant."""
    return bool(difflib.get_close_matches(key, _SECRET_KEYS, n=1, cutoff=0.8))


def _marker(value: Any) -> Any:
    """What stands for a secret value. References to existing Secrets and nulls are no secrets."""
    if isinstance(value, Mapping):
        return {
            text_of(name): text_of(item) if name in ("secret", "key") else MISPLACED for name, item in value.items()
        }
    # A key of several lines ends with a line break, and may begin and end with blanks as much as any other text.
    return None if value is None else secret_fault(value, is_password=False) or True


def secret_fault(value: Any, is_password: bool = True) -> str:
    """What would change a secret on its way, as the marker that stands for it; empty for a secret that arrives whole.

    :param is_password: whether it is read by KEDA or typed by people, so that white space around it is a mistake.
    """
    if not isinstance(value, str) and not _is_vaulted(value):
        return _fault_of_kind(value)
    text = text_of(value)
    lines = text.splitlines()
    if text.endswith(("\n", "\r")) and (is_password or len(lines) < 2):
        return LINE_BREAK
    return WHITE_SPACE if is_password and text != text.strip() else ""


def is_reference(text: str) -> bool:
    """Whether a text is nothing but C($(NAME)), which stands for another variable in the environment of a container."""
    return re.fullmatch(r"\s*\$\([A-Za-z_][A-Za-z0-9_.-]*\)\s*", text) is not None


def _fault_of_kind(value: Any) -> str:
    """What YAML made of a text that was not in quotes."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, (int, float)):
        return NUMBER
    return DATE if isinstance(value, date) else NO_TEXT


def _env_masked(env: Any, masks_env: bool) -> Any:
    """An environment in which entries that look secret keep their name only, so that they are refused by it."""
    if isinstance(env, Mapping):
        return {text_of(name): _env_value(text_of(name), item, masks_env) for name, item in env.items()}
    # A text in another form, such as NAME=value, may well hold a secret, and is refused anyway.
    if not isinstance(env, (list, tuple)):
        return None if env is None else MISPLACED
    return [_env_entry(entry, masks_env) if isinstance(entry, Mapping) else MISPLACED for entry in env]


def _env_entry(entry: Mapping[Any, Any], masks_env: bool) -> dict[str, Any]:
    name = text_of(entry.get("name", ""))
    return {
        text_of(key): _env_value(name, item, masks_env) if key == "value" else without_secrets(item, masks_env)
        for key, item in entry.items()
    }


def _env_value(name: str, value: Any, masks_env: bool) -> Any:
    """A value as it was written, or the marker by which it is refused. Nothing in between may reach a container."""
    if isinstance(value, str) or _is_vaulted(value):
        text = text_of(value)
        return MISPLACED if masks_env and looks_secret(name, text) else text
    # What YAML made a number is refused anyway, and must not be shown in that message.
    if value is not None and not isinstance(value, bool) and masks_env and variable_names_secret(name):
        return MISPLACED
    return without_secrets(value, masks_env)


_BROKER_KEYS = key_names(Broker)
_FLOWER_KEYS = key_names(Flower, ServerPod)
_OAUTH_KEYS = key_names(FlowerOauth)
_EXPORTER_KEYS = key_names(Exporter, ServerPod)


def broker_without_secrets(value: Any, masks_env: bool = True) -> Any:
    """The same for a broker, whose URL is taken apart: user name and address stay. An empty password is none."""
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    apart = {"scaler", *BROKER_SECRETS} | ({"url"} if value.get("url") is not None else set())
    kept = {key: item for key, item in value.items() if key not in apart}
    result = without_secrets(kept, masks_env)
    for key, item in result.items():
        # A text under secret, or under a name that nothing reads, may well be the password itself.
        if isinstance(item, (str, int)) and not isinstance(item, bool) and (key == "secret" or key not in _BROKER_KEYS):
            result[key] = MISPLACED
    if value.get("url") is not None:
        result["url"], password = split_url(text_of(value["url"]))
        if password is not None:
            result["password"] = True
            if value.get("password") is not None and text_of(value["password"]):
                result["url"] = UrlFault("", "twice").shown
            elif is_reference(password):
                result["url"] = UrlFault("", "reference").shown
            elif secret_fault(password):
                result["url"] = UrlFault("", "edge").shown
    for key in BROKER_SECRETS:
        if key in value:
            given = value[key]
            is_text = isinstance(given, str) or _is_vaulted(given)
            known = REFERENCE if is_text and is_reference(text_of(given)) else None
            result[key] = known or _secret_marker(given, result.get(key))
    if "scaler" in value:
        result["scaler"] = _login_without_secrets(value["scaler"], masks_env)
    return result


def _secret_marker(given: Any, otherwise: Any) -> Any:
    """What stands for a secret of a broker. Empty text is none; null leaves it to what else says so."""
    if given is None:
        return otherwise
    return (secret_fault(given) or True) if text_of(given) else None


def _login_without_secrets(value: Any, masks_env: bool) -> Any:
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    rest = {key: item for key, item in value.items() if key != "password"}
    shown = {
        key: MISPLACED if not isinstance(item, Mapping) and key != "username" else item
        for key, item in without_secrets(rest, masks_env).items()
    }
    return {**shown, "password": _secret_marker(value["password"], None)} if "password" in value else shown


def flower_without_secrets(value: Any, masks_env: bool = True) -> Any:
    """The same for Flower, whose secrets stand in its own keys and in those of C(oauth)."""
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    named = {key: value[key] for key in GENERATED_KEYS if key in value}
    rest = {key: item for key, item in value.items() if key not in named and key != "oauth"}
    result = _server_without_secrets(rest, _FLOWER_KEYS, masks_env)
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


def exporter_without_secrets(value: Any, masks_env: bool = True) -> Any:
    """The same for the exporter, which has no secret of its own."""
    if not isinstance(value, Mapping):
        return None if value is None else MISPLACED
    return _server_without_secrets(value, _EXPORTER_KEYS, masks_env)


def prometheus_without_secrets(value: Any) -> Any:
    """The same for Prometheus, whose login is in a Secret of the user's."""
    if isinstance(value, (list, tuple)):
        # Refused as a whole, so nothing of it needs to be seen.
        return []
    if not isinstance(value, Mapping):
        return _address_masked(value)
    found = _known_without_secrets(value, key_names(Prometheus))
    secret, headers = found.get("secret"), found.get("headers")
    if "url" in found:
        found["url"] = _address_masked(value["url"])
    if isinstance(secret, Mapping):
        found["secret"] = _known_without_secrets(secret, key_names(PrometheusSecret))
    elif secret is not None:
        found["secret"] = MISPLACED
    if isinstance(headers, Mapping):
        found["headers"] = {name: MISPLACED if is_secret_header(name) else text for name, text in headers.items()}
    elif headers is not None:
        found["headers"] = MISPLACED
    return found


def _address_masked(value: Any) -> Any:
    """An address as it was written, unless it may hold a login, with a scheme or without."""
    return MISPLACED if value is not None and holds_login(text_of(value)) else without_secrets(value)


def _server_without_secrets(value: Mapping[Any, Any], known: Collection[str], masks_env: bool) -> dict[str, Any]:
    result = _known_without_secrets(value, known, masks_env)
    if "extra_params" in result:
        words = result["extra_params"]
        result["extra_params"] = [*map(_argument_masked, words)] if isinstance(words, list) else _argument_masked(words)
    return result


#: Arguments that would show a login or a secret, by their name or by what is in their value. They are refused, and must
#: not be shown until then.
_SECRET_ARGUMENT = re.compile(
    r"(--?[a-z0-9_-]*(?:auth|secret|password)[a-z0-9_-]*=|--?[^=]+=(?=.*(?:secret|passw|token))).+",
    re.IGNORECASE | re.DOTALL,
)


_REFERENCES = re.compile(rf"=(?:{REFERENCE_TEXT})+$")


def _argument_masked(word: Any) -> Any:
    # What does not begin with a dash is the value of the argument before it. It is refused, as all but text is.
    if isinstance(word, str) and word.startswith("-"):
        # A reference is no secret, and has a rule of its own.
        kept = _REFERENCES.search(word)
        return word if kept else _SECRET_ARGUMENT.sub(lambda found: found[1] + MISPLACED, word)
    return None if word is None else MISPLACED


def _known_without_secrets(value: Mapping[Any, Any], known: Collection[str], masks_env: bool = True) -> dict[str, Any]:
    """A text under a name that nothing reads, or a list of texts, may well be a secret whose key is mistyped."""
    return {
        key: item if key in known or isinstance(item, (Mapping, bool, type(None))) else MISPLACED
        for key, item in without_secrets(value, masks_env).items()
    }


def redacted_layers(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Base variables and layers as modules may see them."""
    accepting = _accepting(layers)
    parts = {_base_of(layer) for layer in layers if _accepts(layer["value"])} & {FLOWER, EXPORTER}
    return [{"name": text_of(layer["name"]), "value": _redacted(layer, accepting, parts)} for layer in layers]


def secret_texts(layers: list[dict[str, Any]], redacted: list[dict[str, Any]] | None = None) -> frozenset[str]:
    """Every value that was taken out of the layers, the passwords of URLs as well.

    :param redacted: the same layers as modules may see them, where they are known already.
    """
    pairs = zip(layers, redacted_layers(layers) if redacted is None else redacted, strict=True)
    found = {text for layer, safe in pairs for text in _taken_out(layer["value"], safe["value"])}
    passwords = {split_url(text)[1] for text in found if "://" in text}
    return frozenset(text for text in {*found, *passwords} if text)


def _taken_out(raw: Any, shown: Any) -> Iterator[str]:
    if isinstance(raw, Mapping):
        for name, item in raw.items():
            yield from _taken_out(item, shown.get(text_of(name)) if isinstance(shown, Mapping) else None)
    elif isinstance(raw, (list, tuple)):
        others = shown if isinstance(shown, list) and len(shown) == len(raw) else [None] * len(raw)
        for item, other in zip(raw, others, strict=True):
            yield from _taken_out(item, other)
    elif raw is not None and not isinstance(raw, bool) and raw != shown:
        yield text_of(raw)


def _base_of(layer: dict[str, Any]) -> str:
    return text_of(layer["name"]).partition("__")[0].removeprefix(PREFIX)


def _redacted(layer: dict[str, Any], accepting: set[tuple[str, str]], parts: set[str]) -> Any:
    """One layer.

    :param parts: those of Flower and the exporter that accept secrets in their environment.
    """
    base, value = _base_of(layer), layer["value"]
    if base == "broker":
        return broker_without_secrets(value)
    if base == FLOWER:
        return flower_without_secrets(value, masks_env=FLOWER not in parts)
    if base == EXPORTER:
        return exporter_without_secrets(value, masks_env=EXPORTER not in parts)
    if base == "prometheus":
        return prometheus_without_secrets(value)
    if base == "queue_defaults":
        return without_secrets(value, masks_env=not accepting)
    if base not in ("services", "config") or not isinstance(value, Mapping):
        return without_secrets(value)
    if base == "services":
        return {text_of(name): _service_redacted(text_of(name), item, accepting) for name, item in value.items()}
    return {text_of(name): _variants_redacted(text_of(name), item, accepting) for name, item in value.items()}


def _service_redacted(name: str, service: Any, accepting: set[tuple[str, str]]) -> Any:
    """Its environment reaches every variant, so it is shown where one of them accepts it; the others refuse it."""
    safe = without_secrets(service, masks_env=not {owner for owner, _variant in accepting} & {"", name})
    if isinstance(service, Mapping) and "broker" in service:
        safe["broker"] = broker_without_secrets(service["broker"])
    return safe


def _variants_redacted(service: str, variants: Any, accepting: set[tuple[str, str]]) -> Any:
    if not isinstance(variants, Mapping):
        return without_secrets(variants)
    above = {("", ""), (service, "")}
    return {
        text_of(name): without_secrets(keys, masks_env=not accepting & {*above, (service, text_of(name))})
        for name, keys in variants.items()
    }


def _accepting(layers: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Service and variant of those that accept secrets in their environment; an empty name stands for all."""
    found: set[tuple[str, str]] = set()
    for layer in layers:
        base, value = _base_of(layer), layer["value"]
        if base == "queue_defaults" and _accepts(value):
            found.add(("", ""))
        for service, keys in value.items() if base in ("services", "config") and isinstance(value, Mapping) else ():
            if base == "services":
                found |= {(text_of(service), "")} if _accepts(keys) else set()
            elif isinstance(keys, Mapping):
                found |= {(text_of(service), text_of(name)) for name, item in keys.items() if _accepts(item)}
    return found


def _accepts(keys: Any) -> bool:
    accepted = keys.get("accept_risks") if isinstance(keys, Mapping) else None
    return isinstance(accepted, (list, tuple)) and "plain-secret" in [text_of(item) for item in accepted]


def _is_vaulted(value: Any) -> bool:
    """A value that a vault still holds (ansible-core before 2.19); it reads as text once asked for it."""
    return hasattr(value, "_ciphertext")
