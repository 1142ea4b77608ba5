# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the Prometheus that scalers ask, and which variants go by what it has measured."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from .._celery.brokers import resolvable
from .._celery.measuring import source_of, wants_goal, why_not
from .._celery.sizing import fast_policies, growth_reason
from .._model.fleet import Service, Variant
from .._model.prometheus import Prometheus, PrometheusSecret
from .._model.variant_keys import DEFAULT_BEHAVIOR, Scaling
from .._schema.keys import key_names, read, refuse_unknown
from .._schema.layers import PREFIX, Branch, Leaf, plain
from .._schema.problems import Problems
from .._schema.scalars import MISPLACED, text_of
from .._schema.secret_signs import holds_login, is_secret_header
from .._schema.versions import Version
from .variants import written_paths

_VARIABLE = f"{PREFIX}prometheus"


def read_prometheus(tree: Branch, namespace: str, problems: Problems) -> Prometheus | None:
    """The Prometheus of a fleet; None where there is none, or none that can be read.

    :param namespace: of the fleet, in which a bare name of a Service is known.
    """
    if not tree.children:
        return None
    before = len(problems.found)
    refuse_unknown(_VARIABLE, tree, key_names(Prometheus), problems)
    found = read(Prometheus, _without_logins(tree, problems), problems, paths=written_paths(tree))
    if not problems.has(found.path_of("url")):
        _check_url(found, problems)
    if not problems.has(found.path_of("secret")):
        _check_login(found, problems)
    for name in filter(is_secret_header, found.headers):
        path = f"{found.path_of('headers')}.{name}"
        problems.add(path, _IN_SECRET)
    return replace(found, url=_reached(found.url, namespace)) if len(problems.found) == before else None


_IN_SECRET = (
    "don't put a login here: anyone who can read ScaledObjects would see it. Put it into a Secret, and write "
    "secret: {name: …, token_key: …}, or username_key and password_key."
)


def _without_logins(tree: Branch, problems: Problems) -> Branch:
    """The keys without what may hold a login in plain sight. Of that, no message may show a part."""
    url, headers = tree.get("url"), tree.get("headers")
    children = dict(tree.children)
    if url is not None and holds_login(text_of(plain(url))):
        problems.add(url.path, _IN_SECRET)
        del children["url"]
    if isinstance(headers, Leaf):
        children["headers"] = Leaf(MISPLACED, headers.path)
    return Branch(children, tree.path)


def _check_url(prometheus: Prometheus, problems: Problems) -> None:
    url, path = prometheus.url, prometheus.path_of("url")
    example = "write one such as http://prometheus.monitoring:9090."
    if not url:
        problems.add(path, f"the address of Prometheus is missing; {example}")
        return
    parts = _split(url)
    if parts is None:
        problems.add(path, f"{url!r} is no address of Prometheus; {example}")
    elif parts.query or parts.fragment or re.search(r"/api/v1\b", parts.path):
        login = f" A login is no part of it: {_IN_SECRET}" if parts.query or parts.fragment else ""
        problems.add(
            path, f"KEDA adds /api/v1/query itself; write {parts.scheme}://{parts.netloc} and the prefix alone.{login}"
        )


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None for none that HTTP knows."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_one else None


def _reached(url: str, namespace: str) -> str:
    """The address as KEDA's own namespace resolves it, to which KEDA adds a path."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{resolvable(parts.hostname or '', namespace)}{port}{parts.path.rstrip('/')}"


def _check_login(prometheus: Prometheus, problems: Problems) -> None:
    secret, path = prometheus.secret, prometheus.path_of("secret")
    if secret is None:
        return
    fault = _login_fault(secret)
    if fault:
        problems.add(path, fault)
    elif secret.ca_key and prometheus.insecure_skip_verify:
        problems.add(
            prometheus.path_of("insecure_skip_verify"),
            "it accepts any certificate, and secret.ca_key names who signs the right one; leave one of them out.",
        )


def _login_fault(secret: PrometheusSecret) -> str:
    """What is wrong with a reference to a login; empty if nothing is."""
    if not secret.name:
        return "name the Secret that holds the login; write name: …."
    if secret.token_key and (secret.username_key or secret.password_key):
        return "a token and a user name exclude each other; leave one of them out."
    if bool(secret.username_key) != bool(secret.password_key):
        return "username_key and password_key go together; write both."
    if not secret.token_key and not secret.username_key:
        return "it names no login; write token_key, or username_key and password_key."
    return ""


def with_measures(
    services: tuple[Service, ...], prometheus: Prometheus | None, enabled: Collection[str], keda: Version | None
) -> tuple[Service, ...]:
    """Services whose variants know what measures their tasks."""
    if prometheus is None:
        return services
    return tuple(
        replace(service, variants=tuple(_measured(variant, service, enabled, keda) for variant in service.variants))
        for service in services
    )


def _measured(variant: Variant, service: Service, enabled: Collection[str], keda: Version | None) -> Variant:
    source, length = source_of(enabled), variant.scaling.list_length
    reason = why_not(variant, service.broker, keda)
    if not source or not (wants_goal(variant) and variant.uses_keda):
        return variant
    if reason:
        note = f"list_length {length}, and not max_wait_seconds: {reason}"
        return replace(variant, sizing=(*variant.sizing, note))
    note = (
        f"max_wait_seconds {variant.knowledge.max_wait_seconds:g}, by run times and arrivals that {source} has "
        f"measured; list_length {length} while Prometheus does not tell them"
    )
    scaling, notes = _fast(variant)
    return replace(variant, scaling=scaling, measured_by=source, sizing=(*variant.sizing, *notes, note))


def _fast(variant: Variant) -> tuple[Scaling, list[str]]:
    """Let pods come as fast as the goal counts on, where nothing else says how fast, and what is to be said of it."""
    behavior = variant.scaling.behavior
    up = behavior.get("scaleUp") or {}
    if "behavior" in variant.written_keys or up.get("policies") != DEFAULT_BEHAVIOR["scaleUp"]["policies"]:
        return variant.scaling, []
    faster = {**behavior, "scaleUp": {**up, "policies": fast_policies()}}
    return replace(variant.scaling, behavior=faster), [f"behavior: {growth_reason(variant.knowledge)}"]
