# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of brokers, and of what watches a fleet, that nothing reads because of what other keys say.

Keys of variants are in L(_check.without_effect).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from .._model.broker import Broker, SecretReference, Tls
from .._model.fleet import Fleet, Monitoring
from .._model.watching import PARTS, Dashboard, Flower, FlowerPersistence, FlowerSecret, ServiceMonitor
from .._schema.layers import PREFIX
from .._schema.problems import Problems
from .without_effect import is_own

#: Path of a key, the key itself, and why nothing reads it.
_Unread = Iterator[tuple[str, str, str]]

#: Keys of a ServiceMonitor that annotations have no place for.
_OF_MONITOR = ("labels", "interval", "scrape_timeout", "drop_producers", "relabelings", "metric_relabelings")
#: Keys of the dashboard to the deliveries that read them.
_OF_DELIVERY = {
    "labels": ("config_map", "grafana_dashboard"),
    "annotations": ("config_map", "grafana_dashboard"),
    "folder": ("grafana_dashboard",),
    "instance_selector": ("grafana_dashboard",),
    "file": ("file",),
}
#: Keys of a broker's Secret to the types of brokers that read them.
_OF_TYPE = {
    "sentinel_password_key": ("redis-sentinel",),
    "tls_key": ("rabbitmq",),
    "access_key_id_key": ("sqs",),
    "secret_access_key_key": ("sqs",),
}
#: Keys of tls to the key that names their Secret.
_OF_CERTIFICATES = {
    "ca_key": "ca_secret",
    "certificate_key": "certificate_secret",
    "private_key_key": "certificate_secret",
}


def check_unread_keys(fleet: Fleet, problems: Problems) -> None:
    """Note what is written, and what nothing reads."""
    found = [*_switched_off(fleet.monitoring), *_of_parts(fleet.monitoring), *_of_variants(fleet)]
    brokers = [service.broker for service in fleet.services if service.broker is not None and service.broker.is_sound]
    found += chain.from_iterable(map(_of_broker, brokers))
    # Services may share a broker.
    for path, name, reason in dict.fromkeys(found):
        problems.warn(path, f"{name} has no effect: {reason}.")


def _asked(value: object, names: Iterable[str]) -> list[str]:
    """Those of some keys of a dataclass that ask for other than the default."""
    plain = type(value)()
    return [name for name in names if getattr(value, name) != getattr(plain, name)]


def _switched_off(monitoring: Monitoring) -> _Unread:
    """Parts that have keys and are off."""
    for part in PARTS:
        paths = [path for name, path in monitoring.paths.items() if name.startswith(f"{part}.")]
        if paths and not monitoring.is_enabled(part):
            # The variable, or the layer of it, that the first key is in.
            variable = paths[0].partition(".")[0]
            yield variable, "this", f"{PREFIX}{part}_enabled is not true"


def _of_variants(fleet: Fleet) -> _Unread:
    """Thresholds of alerts, where no alerts are made."""
    for variant in fleet.variants if not fleet.monitoring.is_enabled("prometheus_rule") else ():
        path = variant.path_of("alerts")
        if is_own(variant, path, "alerts") and variant.watch.alerts is not None:
            yield path, f"alerts of {variant.title}", f"{PREFIX}prometheus_rule_enabled is not true"


def _of_parts(monitoring: Monitoring) -> _Unread:
    if monitoring.flower is not None:
        yield from _of_flower(monitoring.flower, monitoring)
    if monitoring.service_monitor is not None:
        yield from _of_service_monitor(monitoring.service_monitor, monitoring)
    if monitoring.dashboard is not None:
        yield from _of_dashboard(monitoring.dashboard, monitoring)


def _of_flower(flower: Flower, monitoring: Monitoring) -> _Unread:
    """Logins of the other kind, and what a claim or a host of another kind does not need."""
    with_oauth, basic = "people log in at the provider (oauth)", "only a login at a provider reads it; write oauth"
    secret = flower.secret or FlowerSecret()
    if flower.oauth is not None:
        for name in _asked(flower, ["username"]):
            yield monitoring.path_of("flower", name), name, with_oauth
        for name in _asked(secret, ["password_key"]):
            yield f"{monitoring.path_of('flower', 'secret')}.{name}", name, with_oauth
    else:
        for name in _asked(flower, ["cookie_secret"]) if flower.secret is None else ():
            yield monitoring.path_of("flower", name), name, basic
        for name in _asked(secret, ["client_secret_key"]):
            yield f"{monitoring.path_of('flower', 'secret')}.{name}", name, basic
    claim = flower.persistence or FlowerPersistence()
    for name in _asked(claim, ["size", "storage_class", "access_mode"]) if claim.existing_claim else ():
        yield f"{monitoring.path_of('flower', 'persistence')}.{name}", name, "existing_claim names a claim of your own"
    if flower.ingress is not None and not flower.ingress.tls and flower.ingress.tls_secret:
        yield f"{monitoring.path_of('flower', 'ingress')}.tls_secret", "tls_secret", "tls is false"


def _of_service_monitor(monitor: ServiceMonitor, monitoring: Monitoring) -> _Unread:
    for name in _asked(monitor, _OF_MONITOR) if monitor.type == "annotations" else ():
        reason = "with type annotations the scrape configuration of your Prometheus decides on it"
        yield monitoring.path_of("service_monitor", name), name, reason


def _of_dashboard(dashboard: Dashboard, monitoring: Monitoring) -> _Unread:
    for name in _asked(dashboard, _OF_DELIVERY):
        if dashboard.delivery not in _OF_DELIVERY[name]:
            reason = f"it is for delivery {' or '.join(_OF_DELIVERY[name])}, and delivery is {dashboard.delivery}"
            yield monitoring.path_of("dashboard", name), name, reason


def _of_broker(broker: Broker) -> _Unread:
    """Names of keys in a Secret that is not named, or of a login that this broker has not."""
    tls = broker.tls or Tls()
    for name in _asked(tls, _OF_CERTIFICATES):
        if not getattr(tls, _OF_CERTIFICATES[name]):
            yield f"{broker.at('tls')}.{name}", name, f"{_OF_CERTIFICATES[name]} names no Secret"
    for path, secret in _secrets_of(broker):
        for name in _asked(secret, _OF_TYPE):
            if broker.type not in _OF_TYPE[name]:
                yield f"{path}.{name}", name, f"only a broker of type {_OF_TYPE[name][0]} has that"
    if broker.delivery_limit is not None and broker.queue_type != "quorum":
        yield broker.at("delivery_limit"), "delivery_limit", "only quorum queues have one; write queue_type: quorum"


def _secrets_of(broker: Broker) -> Iterator[tuple[str, SecretReference]]:
    """Where Secrets of a broker are named, and how."""
    if broker.secret is not None:
        yield broker.at("secret"), broker.secret
    if broker.scaler is not None and broker.scaler.secret is not None:
        yield f"{broker.at('scaler')}.secret", broker.scaler.secret
