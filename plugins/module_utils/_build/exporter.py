# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Celery-exporter (danihodovic), a second source of metrics. Pure functions of Fleet and Observed.

Source: celery-exporter 0.12.2 (src/cli.py, src/exporter.py) for arguments and metrics. Every option is also an
environment variable CE_<OPTION>, which counts only where the command line does not have the option.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .._celery.brokers import transport_options, use_ssl
from .._celery.in_flight import quarantines_of
from .._celery.launcher import SENTINEL_PASSWORD, sentinel_password
from .._model.broker import Broker
from .._model.fleet import Fleet, Server
from .._model.names import EXPORTER
from .._model.observed import NOTHING, Observed
from .._model.watching import Exporter
from .containers import broker_url_source, from_secret, own_broker_secret
from .pods import ServerContext, server_pod
from .servers import ServerObjects, server_objects

PORT = 9808
METRICS_PATH = "/metrics"

#: Key of our own Secret that holds the password of the sentinels as the exporter reads it.
SENTINEL_PASSWORD_JSON = "sentinel_password_json"


def exporter_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Deployment and Service of every exporter of a fleet."""
    exporter = fleet.monitoring.exporter
    found: list[dict[str, Any]] = []
    for server in fleet.monitoring.exporters if exporter is not None else ():
        objects = ServerObjects(fleet, server, EXPORTER, observed)
        context = ServerContext(
            part=EXPORTER,
            args=tuple(_arguments(exporter or Exporter(), fleet, server)),
            env=({"name": "CE_BROKER_URL", **broker_url_source(server.broker)}, *_sentinel_env(server.broker)),
            port=PORT,
            # Its own /health fails while the broker is down, and a restart would not help.
            health_path="/",
            broker=server.broker,
            people=objects.people,
            selector=objects.selector,
            observed=observed,
            secrets=tuple(own_broker_secret(server.broker)),
            volumes={"/tmp": {"emptyDir": {}}},
        )
        found.extend(server_objects(objects, server_pod(server.pod, context), PORT, METRICS_PATH))
    return found


def _arguments(exporter: Exporter, fleet: Fleet, server: Server) -> Iterator[str]:
    variants = [item for service in fleet.services if service.name in server.services for item in service.variants]
    queues = dict.fromkeys(queue for variant in variants for queue in (*variant.queues, *quarantines_of(variant)))
    if queues:
        # Otherwise a queue has a series only once a worker was seen on it, so not one that is at zero.
        yield f"--queues={','.join(queues)}"
    yield f"--buckets={','.join(f'{bound:g}' for bound in exporter.runtime_buckets)}"
    yield f"--worker-timeout={exporter.worker_timeout}"
    yield f"--purge-offline-worker-metrics={exporter.purge_offline_workers}"
    # One name for all producers; each would have a series of its own.
    yield "--generic-hostname-task-sent-metric"
    yield "--retry-interval=5"
    if sentinel_password(server.broker) is None:
        for name, value in transport_options(server.broker, None, None).items():
            yield f"--broker-transport-option={name}={_text(value)}"
    for name, value in use_ssl(server.broker).items():
        yield f"--broker-ssl-option={name}={value}"
    yield from exporter.extra_params


def _sentinel_env(broker: Broker) -> Iterator[dict[str, Any]]:
    """All transport options as environment, where one of them is the password of the sentinels.

    A command line would show it, and options on the command line would take all of the environment out. The exporter
    splits the value at spaces.
    """
    place = sentinel_password(broker)
    if place is None:
        return
    own = broker.secret is None or not broker.secret.sentinel_password_key
    # A Secret of the user's holds the password as it is; ours also holds it as JSON, in which any password fits.
    key = SENTINEL_PASSWORD_JSON if own else place[1]
    yield {"name": SENTINEL_PASSWORD, **from_secret(place[0], key)}
    login = f'"password":$({SENTINEL_PASSWORD})' if own else f'"password":"$({SENTINEL_PASSWORD})"'
    if broker.sentinel_username:
        login = f'"username":{as_json(broker.sentinel_username)},{login}'
    words = [f"{name}={_text(value)}" for name, value in transport_options(broker, None, None).items()]
    words.append(f"sentinel_kwargs={{{login}}}")
    yield {"name": "CE_BROKER_TRANSPORT_OPTION", "value": " ".join(words)}


def _text(value: Any) -> str:
    """A value as the exporter reads it: as JSON, where it would read the text itself as something else."""
    return value if isinstance(value, str) and _is_plain(value) else as_json(value)


def _is_plain(text: str) -> bool:
    """Whether the exporter takes a text for what it is: not for JSON, and not for two options."""
    try:
        json.loads(text)
    except ValueError:
        return bool(text) and not text.isnumeric() and text.split() == [text] and "$" not in text
    return False


def as_json(value: Any) -> str:
    """JSON without spaces, and without a dollar, which Kubernetes would take for the beginning of a reference."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace(" ", "\\u0020").replace("$", "\\u0024")
