# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: celery-exporter (danihodovic), a second source of metrics. Pure functions of Fleet and Observed.

Source: celery-exporter 0.10 for arguments and metrics. Every option is also an environment variable CE_<OPTION>.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._brokers import transport_options, use_ssl
from ansible_collections.queueops.celery.plugins.module_utils._model import Fleet, Server
from ansible_collections.queueops.celery.plugins.module_utils._monitoring_keys import Exporter
from ansible_collections.queueops.celery.plugins.module_utils._names import EXPORTER
from ansible_collections.queueops.celery.plugins.module_utils._observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._pods import (
    ServerContext,
    broker_url_source,
    own_broker_secret,
    server_pod,
)
from ansible_collections.queueops.celery.plugins.module_utils._servers import ServerObjects, server_objects

PORT = 9808
METRICS_PATH = "/metrics"


def exporter_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Deployment and Service of every exporter of a fleet."""
    exporter = fleet.monitoring.exporter
    found: list[dict[str, Any]] = []
    for server in fleet.monitoring.exporters if exporter is not None else ():
        objects = ServerObjects(fleet, server, EXPORTER, observed)
        context = ServerContext(
            part=EXPORTER,
            args=tuple(_arguments(exporter or Exporter(), fleet, server)),
            env=({"name": "CE_BROKER_URL", **broker_url_source(server.broker)},),
            port=PORT,
            # Its own /health fails while the broker is down, and a restart would mend nothing.
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
    queues = dict.fromkeys(queue for variant in variants for queue in variant.queues)
    if queues:
        # Otherwise a queue has a series only once a worker was seen on it, so not one that is at zero.
        yield f"--queues={','.join(queues)}"
    yield f"--buckets={','.join(f'{bound:g}' for bound in exporter.runtime_buckets)}"
    yield f"--worker-timeout={exporter.worker_timeout}"
    yield f"--purge-offline-worker-metrics={exporter.purge_offline_workers}"
    # One name for all producers; each would have a series of its own.
    yield "--generic-hostname-task-sent-metric"
    yield "--retry-interval=5"
    for name, value in transport_options(server.broker, None, None).items():
        yield f"--broker-transport-option={name}={_text(value)}"
    for name, value in use_ssl(server.broker).items():
        yield f"--broker-ssl-option={name}={_text(value)}"
    yield from exporter.extra_params


def _text(value: Any) -> str:
    """A value as the exporter reads it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
