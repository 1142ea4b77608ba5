# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard of a fleet: its rows and panels, and the object that brings it to Grafana."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from .._model.fleet import Fleet
from .._model.names import MONITORING, dashboard_name, ownership_labels
from .._model.observed import NOTHING, Observed
from .._model.watching import Dashboard
from .grafana import (
    Board,
    Choice,
    Found,
    Panel,
    Query,
    Row,
    as_json,
)
from .job_panels import jobs_row
from .promql import (
    DONE,
    ENDED,
    Scope,
    backlog,
    deployment_replicas,
    events,
    executing,
    in_flight,
    keda,
    keda_increase,
    mean_runtime,
    memory_kills,
    most_replicas,
    of_workers,
    quantile,
    restarts,
)
from .resources import resource

#: Series that the page chooses: namespaces and variants, and the seconds in which tasks are counted.
PAGE = Scope("$namespace", "${variant}", is_pattern=True, by=("namespace", "deployment"))
#: The same by the name of the task, and all together.
BY_TASK, TOGETHER = replace(PAGE, by=("task",)), replace(PAGE, by=())
WINDOW = "${window}"
#: Seconds in which the tasks that were received tell what the waiting ones are.
_MIX = 3600
#: Time in which it is looked for the moment when a queue was empty.
_EMPTY = "6h"

_VARIANT = "{{namespace}} {{deployment}}"

_NO_KEDA = "no data: is KEDA's operator scraped?"
_NO_FLOWER = "no data: is Flower scraped, and did a task run?"
_NO_PODS = "no data: is kube-state-metrics scraped?"


def dashboard_kind(dashboard: Dashboard) -> str:
    """Kind of the object that brings it; empty for a file."""
    return {"config_map": "ConfigMap", "grafana_dashboard": "GrafanaDashboard", "file": ""}[dashboard.delivery]


def dashboard_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """The object that brings the dashboard to Grafana."""
    dashboard = fleet.monitoring.dashboard
    kind = dashboard_kind(dashboard) if dashboard is not None else ""
    if dashboard is None or not kind or kind in observed.missing_kinds:
        return []
    text, name = dashboard_text(fleet), dashboard_name(fleet.name)
    labels, live = ownership_labels(fleet.name, component=MONITORING), observed.find(kind, name)
    if kind == "ConfigMap":
        extra = dashboard.labels or {"grafana_dashboard": "1"}
        made = resource(kind, fleet, name, labels, MONITORING, live, {}, extra, dashboard.annotations)
        del made["spec"]
        return [{**made, "data": {f"{name}.json": text}}]
    spec: dict[str, Any] = {
        "instanceSelector": {"matchLabels": dashboard.instance_selector or {"dashboards": "grafana"}},
        # Grafana runs elsewhere as a rule, and this cannot be taken back later (Grafana operator 5).
        "allowCrossNamespaceImport": True,
        "resyncPeriod": "10m0s",
        "json": text,
    }
    if dashboard.folder:
        spec["folder"] = dashboard.folder
    return [resource(kind, fleet, name, labels, MONITORING, live, spec, dashboard.labels, dashboard.annotations)]


def dashboard_text(fleet: Fleet) -> str:
    """The JSON that Grafana imports; the same fleet gives the same bytes."""
    return json.dumps(as_json(board_of(fleet)), indent=1, ensure_ascii=False) + "\n"


def dashboard_file(fleet: Fleet) -> str:
    """Where the JSON goes; empty where an object brings it."""
    keys = fleet.monitoring.dashboard
    if keys is None or keys.delivery != "file":
        return ""
    return keys.file or f"dashboards/{fleet.name}.json"


def dashboard_uid(fleet: str) -> str:
    """An id that is always the same, and short enough: Grafana takes 40 characters."""
    return f"celery-{hashlib.sha256(fleet.encode()).hexdigest()[:20]}"


def board_of(fleet: Fleet) -> Board:
    """The dashboard of a fleet."""
    keys = fleet.monitoring.dashboard or Dashboard()
    variants = {f"{item.service}.{item.name}": item.deployment for item in fleet.variants}
    rows = [_overview(), _queues(), _tasks(), _workers()]
    if any(variant.runs_as_jobs for variant in fleet.variants):
        rows.append(jobs_row(PAGE))
    if fleet.monitoring.exporter is not None:
        rows.append(_exporter())
    names = "|".join(variants.values())
    return Board(
        uid=keys.uid or dashboard_uid(fleet.name),
        title=keys.title or f"Celery workers: {fleet.name}",
        description="Queues and workers of Celery: what waits, what runs, who works on it, and what becomes of it.",
        rows=tuple(rows),
        variables=(
            Found(
                "namespace",
                "Namespace",
                f'label_values(kube_deployment_spec_replicas{{deployment=~"{names}"}}, namespace)',
                fleet.namespace,
            ),
            Choice("variant", "Variant", variants, several=True),
            Choice(
                "window",
                "Tasks of the last",
                {"5 minutes": "300", "15 minutes": "900", "1 hour": "3600", "6 hours": "21600"},
                "900",
            ),
        ),
        datasource=keys.datasource or "",
        refresh=keys.refresh,
        tags=("celery", "queueops"),
    )


def _pace(kinds: str = ENDED, scope: Scope = PAGE) -> str:
    """Tasks per second."""
    return f"({events(scope, kinds, WINDOW)} / ${{window}})"


def _drain() -> str:
    return f"{backlog(PAGE)} / {_pace()}"


def _oldest() -> str:
    """About how long the oldest message has waited, in seconds.

    Two bounds are known, and the smaller one counts. The queue was empty at some time, and no message is older than
    that. And a queue is worked on in its order, so what waits is what has arrived since the oldest one did; what
    arrives is what is worked on and what the queue grows by. Where neither is known, the oldest one has waited at least
    as long as the queue was seen.
    """
    waits = f"({backlog(PAGE)} > 0)"
    empty = f"max_over_time(timestamp({backlog(PAGE)} == 0)[{_EMPTY}:1m])"
    since_empty = f"(time() - {empty} and {waits})"
    grown = f"({backlog(PAGE)} - {backlog(PAGE, f' offset {WINDOW}s')}) / ${{window}}"
    arriving = f"({_pace()} + {grown}) or {_pace()} or {grown}"
    arrived = f"({waits} / (({arriving}) > 0))"
    seen = f"(time() - min_over_time(timestamp({backlog(PAGE)})[{_EMPTY}:1m]) and {waits})"
    return f"({since_empty} <= {arrived}) or {arrived} or {since_empty} or {seen}"


def _queue_by_task() -> str:
    """The backlog of each variant, divided among tasks as those were that its workers took."""
    received = events(PAGE, "task-received", _MIX, "task")
    every = events(PAGE, "task-received", _MIX)
    joined = "on (namespace, deployment) group_left ()"
    return f"sum by (task) (({received} > 0) / {joined} ({every} > 0) * {joined} {backlog(PAGE)})"


def _share(total: str, part: str) -> str:
    """A part of a total. What never happened, such as the success of a task that only fails, has no series: it is 0."""
    return f"({part} or 0 * {total}) / ({total} > 0)"


def _prefetch_time() -> str:
    """Little's law: tasks that wait in a worker, by those that start in a second.

    Flower's own gauge is set back to 0 when a task ends, so a scrape hardly ever sees it.
    """
    waiting = PAGE.total(f"avg_over_time(({of_workers(PAGE, 'flower_worker_prefetched_tasks')})[{WINDOW}s:1m])")
    return f"clamp_min({waiting}, 0) / ({_pace('task-started')} > 0)"


def _overview() -> Row:
    every, failed = events(TOGETHER, DONE, WINDOW), events(TOGETHER, "task-failed", WINDOW)
    return Row(
        "Overview",
        (
            _stat("Waiting", "Messages that wait in the broker, in all chosen queues.", backlog(TOGETHER), _NO_KEDA),
            _stat(
                "In flight",
                "Messages that workers hold: running, reserved, or kept for an ETA.",
                f"sum({in_flight(PAGE)})",
                _NO_KEDA,
            ),
            _stat(
                "Workers ready",
                "Pods that are ready, of all chosen variants.",
                deployment_replicas(TOGETHER, "status_replicas_ready"),
                _NO_PODS,
            ),
            _stat(
                "Tasks per minute",
                "Tasks that ended in the chosen window, by minute.",
                f"{_pace(scope=TOGETHER)} * 60",
                _NO_FLOWER,
                decimals=1,
            ),
            _stat(
                "Failed",
                "Failed tasks, of all that ended in the chosen window.",
                _share(every, failed),
                "no task ended",
                unit="percentunit",
                warns_above=0.1,
                decimals=1,
            ),
            _stat(
                "Longest drain time",
                "Time that the slowest of the chosen queues needs for what waits, at the pace of the chosen window.",
                f"max({_drain()})",
                "nothing waits, or nothing ends",
                unit="s",
                decimals=0,
            ),
            Panel(
                "Queue length, total",
                "Messages that wait in the broker, as KEDA reads it, lists of priorities included. While KEDA cannot "
                "read the broker it repeats the last value: see Scaler errors.",
                (Query(backlog(TOGETHER), "waiting"), Query(f"sum({in_flight(PAGE)})", "in flight")),
                no_value=_NO_KEDA,
            ),
            Panel(
                "Queue length by variant",
                "Messages that wait in the broker for each variant, as KEDA reads it.",
                (Query(backlog(PAGE), _VARIANT),),
                stacked=True,
                no_value=_NO_KEDA,
            ),
            Panel(
                "In flight by variant",
                "Messages that workers hold: running, reserved, or kept for an ETA. From the broker where the scaler "
                "sees them there, else what workers say that they run.",
                (Query(in_flight(PAGE), _VARIANT),),
                stacked=True,
                no_value=_NO_KEDA,
            ),
        ),
    )


def _stat(
    title: str,
    description: str,
    expr: str,
    no_value: str,
    unit: str = "short",
    decimals: int | None = None,
    warns_above: float | None = None,
) -> Panel:
    return Panel(
        title,
        description,
        (Query(expr, title),),
        unit,
        "stat",
        width=4,
        height=4,
        no_value=no_value,
        decimals=decimals,
        warns_above=warns_above,
    )


def _queues() -> Row:
    fallback = (
        'kube_scaledobject_status_condition{namespace=~"$namespace", scaledobject=~"${variant}-scaledobject", '
        'type="Fallback"}'
    )
    return Row(
        "Queue: ${variant}",
        (
            Panel(
                "Work and pods",
                "What waits and what is in flight (left), and the pods that are wanted, ready and allowed at most "
                "(right), on one time axis. Most pods are those of the HPA, which is not there while scaling is "
                "paused.",
                (
                    Query(backlog(PAGE), "{{namespace}} waiting"),
                    Query(in_flight(PAGE), "{{namespace}} in flight"),
                    Query(deployment_replicas(PAGE, "spec_replicas"), "{{namespace}} pods wanted", True),
                    Query(deployment_replicas(PAGE, "status_replicas_ready"), "{{namespace}} pods ready", True),
                    Query(most_replicas(PAGE), "{{namespace}} pods at most", True),
                ),
                width=12,
                steps=True,
                no_value=_NO_KEDA,
            ),
            Panel(
                "Oldest waiting work and drain time",
                "Drain time: what waits, at the pace of the chosen window. Oldest: about how long the oldest "
                "message has waited, estimated from when the queue was empty and from what has arrived since.",
                (
                    Query(_oldest(), "{{namespace}} oldest, about"),
                    Query(_drain(), "{{namespace}} drain time"),
                ),
                unit="s",
                width=12,
                no_value="nothing waits, or nothing ends",
            ),
            Panel(
                "Throughput",
                "Tasks per minute that succeeded, failed, or will be tried again.",
                tuple(
                    Query(f"{_pace(f'task-{kind}')} * 60", f"{{{{namespace}}}} {kind}")
                    for kind in ("succeeded", "failed", "retried")
                ),
                width=6,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Runtime",
                "Half of the tasks, and 95 of 100, took less than this. Tasks that succeeded in the chosen window.",
                (
                    Query(quantile(PAGE, 0.5, WINDOW), "{{namespace}} p50"),
                    Query(quantile(PAGE, 0.95, WINDOW), "{{namespace}} p95"),
                ),
                unit="s",
                width=6,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Scaler errors, pauses and fallback",
                "Errors of KEDA in 5 minutes, whether scaling is paused (1), and whether KEDA has fallen back (1). "
                "The last one needs kube-state-metrics to read conditions of ScaledObjects: see the page Monitoring.",
                (
                    Query(
                        PAGE.total(keda_increase(PAGE, "keda_scaled_object_errors_total", "5m")), "{{namespace}} errors"
                    ),
                    Query(PAGE.total(keda(PAGE, "keda_scaled_object_paused")), "{{namespace}} paused"),
                    Query(
                        PAGE.total(
                            f'label_replace({fallback}, "deployment", "$1", "scaledobject", "(.+)-scaledobject")'
                        ),
                        "{{namespace}} fallback",
                    ),
                ),
                width=6,
                steps=True,
                no_value=_NO_KEDA,
            ),
            Panel(
                "Restarts and kills for memory",
                "Restarts of the workers' containers in 15 minutes, and containers that were killed for their memory. "
                "Pods that a scaler takes away are none of these.",
                (
                    Query(restarts(PAGE, "15m"), "{{namespace}} restarts"),
                    Query(f"{memory_kills(PAGE, '15m')} or 0 * {restarts(PAGE, '15m')}", "{{namespace}} out of memory"),
                ),
                width=6,
                steps=True,
                no_value=_NO_PODS,
            ),
        ),
        repeat="variant",
    )


def _tasks() -> Row:
    ratio = _share(events(BY_TASK, DONE, WINDOW), events(BY_TASK, "task-succeeded", WINDOW))
    return Row(
        "Tasks",
        (
            Panel(
                "Queue length by task",
                "An estimate: a broker does not tell names. What waits for each variant is divided among tasks as "
                "those were that its workers took in the last hour.",
                (Query(_queue_by_task(), "{{task}}"),),
                stacked=True,
                no_value="nothing waits, or no task was taken in the last hour",
            ),
            Panel(
                "Success ratio by task",
                "Tasks that succeeded, of those that ended in the chosen window.",
                (Query(ratio, "{{task}}"),),
                unit="percentunit",
                maximum=1,
                no_value="no task ended",
            ),
            Panel(
                "Failure ratio by task",
                "Tasks that failed, of those that ended in the chosen window. A task that is tried again has not "
                "failed yet.",
                (Query(f"1 - ({ratio})", "{{task}}"),),
                unit="percentunit",
                maximum=1,
                no_value="no task ended",
            ),
            Panel(
                "Runtime by task",
                "Mean runtime of tasks that succeeded in the chosen window.",
                (Query(mean_runtime(BY_TASK, WINDOW), "{{task}}"),),
                unit="s",
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Runtime by task, 95 of 100",
                "95 of 100 tasks took less than this, of those that succeeded in the chosen window.",
                (Query(quantile(BY_TASK, 0.95, WINDOW), "{{task}}"),),
                unit="s",
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Tasks by name",
                "Tasks per minute that ended in the chosen window.",
                (Query(f"{_pace(scope=BY_TASK)} * 60", "{{task}}"),),
                stacked=True,
                no_value=_NO_FLOWER,
            ),
        ),
    )


def _workers() -> Row:
    worker = "{{worker}}"
    return Row(
        "Workers",
        (
            Panel(
                "Worker status",
                "Workers that Flower hears, and pods that are ready. The first may be behind for some seconds.",
                (
                    Query(PAGE.total(f"({of_workers(PAGE, 'flower_worker_online')}) == 1"), f"{_VARIANT} online"),
                    Query(deployment_replicas(PAGE, "status_replicas_ready"), f"{_VARIANT} ready"),
                ),
                steps=True,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Tasks executing at worker",
                "Tasks that each worker runs, from its last heartbeat. A worker whose pod is gone is left out.",
                (Query(of_workers(PAGE, "flower_worker_number_of_currently_executing_tasks"), worker),),
                stacked=True,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Tasks executing by variant",
                "The same, together.",
                (Query(executing(PAGE), _VARIANT),),
                stacked=True,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Tasks prefetched at worker",
                "Tasks that a worker has taken and not started. Those that wait for an ETA do not count.",
                (
                    Query(
                        "sum by (namespace, worker) "
                        f"(clamp_min({of_workers(PAGE, 'flower_worker_prefetched_tasks')}, 0))",
                        worker,
                    ),
                ),
                stacked=True,
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Prefetch time",
                "Mean time that a task waits in a worker before it starts: prefetched tasks by those that start in a "
                "second.",
                (Query(_prefetch_time(), _VARIANT),),
                unit="s",
                no_value=_NO_FLOWER,
            ),
            Panel(
                "Task runtime at worker",
                "Mean runtime of the tasks that succeeded in the chosen window, by variant.",
                (Query(mean_runtime(PAGE, WINDOW), _VARIANT),),
                unit="s",
                no_value=_NO_FLOWER,
            ),
        ),
    )


def _exporter() -> Row:
    place = '{namespace=~"$namespace"}'
    return Row(
        "Queues, as the exporter sees them",
        (
            Panel(
                "Queue length",
                "Messages that wait, by queue. On Redis without those that have a priority: the exporter counts one "
                "list.",
                (
                    Query(
                        f"sum by (namespace, queue_name) (celery_queue_length{place})", "{{namespace}} {{queue_name}}"
                    ),
                ),
                width=12,
                no_value="no data: is the exporter scraped?",
            ),
            Panel(
                "Workers of a queue",
                "Workers that consume each queue. A queue without any shows 0.",
                (
                    Query(
                        f"sum by (namespace, queue_name) (celery_active_worker_count{place})",
                        "{{namespace}} {{queue_name}}",
                    ),
                ),
                width=12,
                steps=True,
                no_value="no data: is the exporter scraped?",
            ),
        ),
    )
