# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole site without Kubernetes: real Redis, workers, Flower and Prometheus, all from the collection's own manifests.

What only a cluster has is told from what really runs here: KEDA's series from the same lists and hashes of Redis that
its triggers name, those of kube-state-metrics from the worker processes that are alive. Their form is the one that KEDA
2.20 and kube-state-metrics 2 give (see the fixtures that are shared with this project).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import rule_groups
from ansible_collections.queueops.celery.plugins.module_utils._build.dashboards import dashboard_text
from ansible_collections.queueops.celery.plugins.module_utils._model.names import scaled_object_name

from tests.support.real_flower import RealFlower, real_flower
from tests.support.real_prometheus import (
    Json,
    Prometheus,
    real_prometheus,
    scrape_of_monitor,
    series_line,
    series_server,
)
from tests.support.real_readings import Scaler
from tests.support.real_redis import RedisServer
from tests.support.real_worker import Manifests, Pods, Worker, broker_of, manifests_for

NAMESPACE = "shop"

#: The tasks of a site: some end well, some fail, one is tried again, one kills its process.
TASKS = """
import os
import signal
import time

from celery import Celery

app = Celery("shop")
app.conf.task_send_sent_event = True


@app.task
def charge(seconds):
    time.sleep(seconds)


@app.task
def remind(seconds):
    time.sleep(seconds)
    raise ValueError("no such customer")


@app.task(bind=True, max_retries=1)
def fetch(self):
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task
def poison():
    os.kill(os.getpid(), signal.SIGKILL)
"""

ENABLED = ("flower", "service_monitor", "prometheus_rule", "dashboard")


@dataclass
class Site:
    """What runs.

    :param limits: most pods of each Deployment, as an HPA has them.
    """

    manifests: Manifests
    redis: RedisServer
    pods: Pods
    flower: RealFlower
    prometheus: Prometheus
    named: dict[str, list[Worker]] = field(default_factory=dict)
    scalers: dict[str, Scaler] = field(default_factory=dict)

    def scaler(self, variant: str) -> Scaler:
        """What KEDA sees of a variant, over a connection that stays."""
        return self.scalers.setdefault(variant, Scaler(self.manifests, variant))

    def start(self, variant: str, end: str) -> Worker:
        """Start a pod of a variant.

        :param end: the random end of its name.
        """
        deployment = self.manifests.variant(variant).deployment
        worker = self.pods.start(variant, f"{deployment}-6c9d8f7b5-{end}")
        self.named.setdefault(deployment, []).append(worker)
        return worker

    def alive(self, deployment: str) -> list[Worker]:
        return [worker for worker in self.named.get(deployment, []) if worker.is_running]

    def panels(self) -> list[Json]:
        """Panels of the dashboard, with its variables filled in."""
        board = json.loads(dashboard_text(self.manifests.fleet))
        return [panel for panel in board["panels"] if panel["type"] != "row"]


#: Seconds in which tasks are counted. A slow machine may take minutes from the first of them to the last.
COUNTED = 900


def filled(expr: str, variants: list[str], window: int = COUNTED, namespaces: str = NAMESPACE) -> str:
    """A query as Grafana sends it."""
    chosen = f"({'|'.join(variants)})" if len(variants) > 1 else variants[0]
    for name, value in (("${variant}", chosen), ("$namespace", namespaces), ("${window}", str(window))):
        expr = expr.replace(name, value)
    assert "$" not in expr.replace('"$1"', ""), expr
    return expr


@contextmanager
def real_site(
    folder: Path,
    redis: RedisServer,
    config: Json,
    services: Json | None = None,
    flower: Json | None = None,
    honors_labels: bool = True,
) -> Iterator[Site]:
    """Start everything but the workers.

    :param config: variants of the service C(shop) to their keys.
    :param honors_labels: whether Prometheus keeps the namespace that KEDA gives; else it arrives as exported_namespace.
    """
    keys: dict[str, Any] = {"app": "shop:app", "image": "shop:1", "idempotent": True, **(services or {})}
    variables = {
        "broker": broker_of(redis),
        "services": {"shop": keys},
        "config": {"shop": config},
        "flower": {"purge_offline_workers": 20, **(flower or {})},
    }
    manifests = manifests_for(variables, enabled=ENABLED)
    with ExitStack() as stack:
        pods = stack.enter_context(Pods(folder / "pods", manifests, app=TASKS))
        server = stack.enter_context(real_flower(manifests, folder / "flower"))
        site = Site(manifests, redis, pods, server, Prometheus(0))
        keda = stack.enter_context(series_server(lambda: keda_series(site)))
        state = stack.enter_context(series_server(lambda: state_series(site)))
        monitor = manifests.find("ServiceMonitor", "flower")
        scrapes = [
            scrape_of_monitor(monitor, server.port, {"namespace": NAMESPACE, "service": "flower"}),
            _scrape("keda", keda, {"namespace": "keda"}, honors_labels),
            _scrape("kube-state-metrics", state, {"namespace": "monitoring"}, True),
        ]
        groups = rule_groups(manifests.fleet)
        site.prometheus = stack.enter_context(real_prometheus(folder / "prometheus", scrapes, groups))
        yield site


def _scrape(job: str, port: int, labels: dict[str, str], honors_labels: bool) -> Json:
    targets = {"targets": [f"127.0.0.1:{port}"], "labels": labels}
    return {"job_name": job, "honor_labels": honors_labels, "static_configs": [targets]}


def keda_series(site: Site) -> str:
    """What KEDA's operator tells of every ScaledObject, from the broker that it reads."""
    lines = []
    for variant in site.manifests.fleet.variants:
        if not variant.uses_keda:
            continue
        labels = {"namespace": NAMESPACE, "scaledObject": scaled_object_name(variant.deployment)}
        for number, (name, value) in enumerate(site.scaler(variant.name).readings().items()):
            own = {"metric": f"s{number}-redis-{name}", "scaler": name, "triggerIndex": str(number)}
            lines.append(series_line("keda_scaler_metrics_value", value, **labels, **own, type="scaledobject"))
        lines.append(series_line("keda_scaled_object_errors_total", 0, **labels))
        lines.append(series_line("keda_scaled_object_paused", 0, **labels))
    return "\n".join(lines) + "\n"


def state_series(site: Site) -> str:
    """What kube-state-metrics tells of Deployments, pods and HPAs, from the processes that run."""
    lines = []
    for variant in site.manifests.fleet.variants:
        alive = site.alive(variant.deployment)
        labels = {"namespace": NAMESPACE, "deployment": variant.deployment}
        for metric in ("spec_replicas", "status_replicas", "status_replicas_available", "status_replicas_ready"):
            lines.append(series_line(f"kube_deployment_{metric}", len(alive), **labels))
        for worker in alive:
            pod = {"namespace": NAMESPACE, "pod": worker.host}
            lines.append(series_line("kube_pod_info", 1, **pod, node="one", uid=worker.host))
            lines.append(series_line("kube_pod_container_status_restarts_total", 0, **pod, container="worker"))
        scaler = {"namespace": NAMESPACE, "horizontalpodautoscaler": f"keda-hpa-{variant.deployment}-scaledobject"}
        target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": variant.deployment}
        limit = variant.scaling.max_replicas
        lines.append(series_line("kube_horizontalpodautoscaler_spec_max_replicas", limit, **scaler))
        lines.append(series_line("kube_horizontalpodautoscaler_info", 1, **scaler, **target))
        condition = {"condition": "ScalingActive", "status": "false"}
        lines.append(
            series_line("kube_horizontalpodautoscaler_status_condition", int(not alive), **scaler, **condition)
        )
        named = {"namespace": NAMESPACE, "scaledobject": scaled_object_name(variant.deployment)}
        lines.append(series_line("kube_scaledobject_status_condition", 0, **named, type="Fallback"))
    return "\n".join(lines) + "\n"
