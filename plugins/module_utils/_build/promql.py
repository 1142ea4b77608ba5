# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PromQL that alerts and dashboard share. Pure functions of text.

Every source is used for what it knows: KEDA 2.20 for what waits and what workers hold, kube-state-metrics for pods, and
Flower 2.2 for tasks. Their series meet in two labels, C(namespace) and C(deployment): a ScaledObject is named after its
Deployment, and a pod, whose name is the end of a worker's, as well.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What follows after a Deployment's name in the name of a pod: the hash of the ReplicaSet and a random end.
POD_END = "-[a-z0-9]+-[a-z0-9]+"

#: A worker's name up to its pod's: C(<service>.<variant>@), or C(celery@edx.lms.core.default.) of Tutor's own.
_NODE_START = ".*@(?:.*[.])?"

#: Names of the triggers that count what waits, what workers hold, and both together: C(backlog), C(backlog_p3),
#: C(backlog_invoices_p3). Earlier releases numbered them (C(backlog_0)), and KEDA's operator keeps such a series with
#: its last value until it is restarted, so it must not be added.
BACKLOG, IN_FLIGHT, TOTAL = "backlog(_.*[^0-9].*)?", "inflight", "total(_.*[^0-9].*)?"

#: Events after which a task is over, or this run of it. A task whose process was killed sends C(task-rejected) only.
ENDED = "task-(succeeded|failed|retried|revoked)"
#: Events of which one or the other ends a task for good.
DONE = "task-(succeeded|failed)"


@dataclass(frozen=True)
class Scope:
    """Which Deployments a query is about.

    :param namespace: a namespace, or a pattern.
    :param deployment: a Deployment, or a pattern; empty for every Deployment of the namespace.
    :param is_pattern: whether they are patterns.
    :param by: labels that tell the series of a result apart; without any it is a single one without labels.
    """

    namespace: str
    deployment: str
    is_pattern: bool = False
    by: tuple[str, ...] = ()

    @property
    def _equals(self) -> str:
        return "=~" if self.is_pattern else "="

    @property
    def names_deployment(self) -> bool:
        """Whether series need a label with their Deployment, which not every source gives them."""
        return "deployment" in self.by

    def match(self, label: str, value: str) -> str:
        """A matcher of one label."""
        return f'{label}{self._equals}"{value}"'

    def of_deployment(self, label: str, ending: str = "") -> str:
        """A matcher of a label that begins with the Deployment's name; empty for every Deployment."""
        return self.match(label, f"{self.deployment}{ending}") if self.deployment else ""

    @property
    def in_namespace(self) -> str:
        """Matcher of the namespace."""
        return self.match("namespace", self.namespace)

    @property
    def workers(self) -> str:
        """Matcher of Flower's workers; empty for every Deployment."""
        return f'worker=~"{_NODE_START}{self.deployment}{POD_END}"' if self.deployment else ""

    @property
    def pods(self) -> str:
        """Matcher of the pods of kube-state-metrics; empty for every Deployment."""
        return f'pod=~"{self.deployment}{POD_END}"' if self.deployment else ""

    def total(self, vector: str, *labels: str) -> str:
        """The sum over everything but the scope's labels and those given."""
        by = (*self.by, *labels)
        return f"sum by ({', '.join(by)}) ({vector})" if by else f"sum({vector})"


def select(metric: str, *matchers: str) -> str:
    """A selector of a metric. Empty matchers are left out."""
    return f"{metric}{{{', '.join(filter(None, matchers))}}}"


def keda(scope: Scope, metric: str, scaler: str = "", moved: str = "") -> str:
    """A gauge of KEDA's operator.

    Where Prometheus does not honour labels, the namespace that KEDA means arrives as C(exported_namespace).

    :param scaler: pattern of the trigger's name; empty for metrics of the whole ScaledObject.
    :param moved: an offset or a range that follows the selector.
    """
    return _with_deployment(scope, _keda_pair(scope, metric, scaler, moved, "{}"))


def keda_increase(scope: Scope, metric: str, window: str) -> str:
    """How much a counter of KEDA's operator grew."""
    return _with_deployment(scope, _keda_pair(scope, metric, "", f"[{window}]", "increase({})"))


def keda_job_errors(scope: Scope, window: str) -> str:
    """How often KEDA failed to read the triggers of ScaledJobs."""
    metric = "keda_scaled_job_errors_total"
    exported = f"increase({select(metric, scope.match('exported_namespace', scope.namespace))}[{window}])"
    honoured = select(metric, 'exported_namespace=""', scope.in_namespace)
    counted = f"{exported} or increase({honoured}[{window}])"
    return f'label_replace({counted}, "deployment", "$1", "scaledJob", "(.+)")'


def failed_jobs(scope: Scope, window: str) -> str:
    """Jobs of which a pod failed in the window, of each Deployment or ScaledJob."""
    new = newly_failed(scope, window)
    return f'count by (deployment) (label_replace({new}, "deployment", "$1", "job_name", "(.+)-[a-z0-9]+"))'


def newly_failed(scope: Scope, window: str, *conditions: str) -> str:
    """Jobs of which a pod failed in the window, and none before it.

    What is counted are pods; once the Job itself has failed it is 1 under the reason of that.
    """
    failed = select("kube_job_status_failed", scope.in_namespace, *conditions)
    new, old = (f"max by (namespace, job_name) ({failed}{when}) > 0" for when in ("", f" offset {window}"))
    return f"({new}) unless ({old})"


def fully_paused(scope: Scope) -> str:
    """Deployments whose scaling is paused in both directions.

    KEDA counts a pause of one direction too, and removes the HPA for a pause of both (2.20).
    """
    paused = f"max by (deployment) ({keda(scope, 'keda_scaled_object_paused')}) == 1"
    scaled = select("kube_horizontalpodautoscaler_spec_max_replicas", scope.in_namespace)
    hpa = f'label_replace({scaled}, "deployment", "$1", "horizontalpodautoscaler", "keda-hpa-(.+)-scaledobject")'
    return f"{paused} unless on (deployment) {hpa}"


def in_window(scope: Scope, triggers: str) -> str:
    """Deployments of which a window is open whose trigger has such a name."""
    return f"max by (deployment) ({keda(scope, 'keda_scaler_metrics_value', triggers)}) > 1"


def _keda_pair(scope: Scope, metric: str, scaler: str, moved: str, function: str) -> str:
    own = scope.of_deployment("scaledObject", "-scaledobject")
    kind = f'scaler=~"{scaler}"' if scaler else ""
    exported = select(metric, scope.match("exported_namespace", scope.namespace), own, kind) + moved
    honoured = select(metric, 'exported_namespace=""', scope.in_namespace, own, kind) + moved
    return f"{function.format(exported)} or {function.format(honoured)}"


def _with_deployment(scope: Scope, series: str) -> str:
    if not scope.names_deployment:
        return series
    named = series
    if "namespace" in scope.by:
        named = f'label_replace({series}, "namespace", "$1", "exported_namespace", "(.+)")'
    return f'label_replace({named}, "deployment", "$1", "scaledObject", "(.+)-scaledobject")'


def backlog(scope: Scope, moved: str = "") -> str:
    """Messages that wait in the broker, lists of priorities included."""
    return scope.total(keda(scope, "keda_scaler_metrics_value", BACKLOG, moved))


def in_flight_of_broker(scope: Scope, is_redis: bool) -> str:
    """Messages that workers hold, as the broker knows them.

    :param is_redis: whether it tells them by themselves; others tell them together with those that wait.
    """
    if is_redis:
        return scope.total(keda(scope, "keda_scaler_metrics_value", IN_FLIGHT))
    return f"({scope.total(keda(scope, 'keda_scaler_metrics_value', TOTAL))} - {backlog(scope)})"


def in_flight(scope: Scope) -> str:
    """The same whatever the broker, and what Flower knows of workers whose broker does not tell.

    The first that knows a Deployment counts, so the scope must tell Deployments apart.
    """
    return f"({in_flight_of_broker(scope, True)} or {in_flight_of_broker(scope, False)} or {executing(scope)})"


def executing(scope: Scope) -> str:
    """Tasks that workers run, from their heartbeats."""
    return scope.total(of_workers(scope, "flower_worker_number_of_currently_executing_tasks"))


def of_workers(scope: Scope, metric: str, *matchers: str) -> str:
    """A gauge of Flower's, of workers whose pod is still there.

    A worker that was killed keeps its last value until Flower forgets it. Where Prometheus knows no pods of the
    namespace, all workers count.
    """
    selected = select(metric, scope.in_namespace, scope.workers, *matchers)
    named = f'label_replace({selected}, "pod", "$1", "worker", "{_NODE_START}([^.@]+)")'
    pods = f"kube_pod_info{{{scope.in_namespace}}}"
    alive = f"({named} and on (namespace, pod) {pods}) or ({named} unless on (namespace) {pods})"
    return worker_deployment(scope, alive)


def worker_deployment(scope: Scope, series: str) -> str:
    """Series of workers with the Deployment that each belongs to."""
    if not scope.names_deployment:
        return series
    return f'label_replace({series}, "deployment", "$1", "worker", "{_NODE_START}([^.@]+){POD_END}")'


def events(scope: Scope, kinds: str, window: int | str, *labels: str) -> str:
    """Tasks that had an event of some kind in a window of so many seconds."""
    selector = select("flower_events_total", scope.in_namespace, scope.workers, of_type(kinds))
    return scope.total(worker_deployment(scope, growth(scope, selector, window)), *labels)


def of_type(kinds: str) -> str:
    """Matcher of one kind of event, or of several with C(|) between them."""
    return f'type=~"{kinds}"' if "|" in kinds else f'type="{kinds}"'


def happened(scope: Scope, kind: str, window: int) -> str:
    """The Deployments of which a task had an event in a window of so many seconds; the numbers mean nothing.

    Shorter than to count them. What is new, and what began anew, is as for C(growth).
    """
    selector = select("flower_events_total", scope.in_namespace, scope.workers, of_type(kind))
    appeared = f"{selector} unless {selector} offset {window}s and on (namespace, job) ({_known_new(scope, window)})"
    return scope.total(worker_deployment(scope, f"changes({selector}[{window}s]) > 0 or {appeared}"))


def _known_new(scope: Scope, window: int | str) -> str:
    """Targets of which a series that is new in a window began in it."""
    place = f"{{{scope.in_namespace}}}"
    return f"up{place} offset {window}s == 1 or time() - process_start_time_seconds{place} < {window}"


def growth(scope: Scope, selector: str, window: int | str) -> str:
    """How much counters of Flower grew in a window, those that began in it included.

    C(increase) does not see the first value of a series. Each pod has series of its own, and one that runs a single
    task would not count at all. So a series that is new counts with its last value, where it is known to be new:
    Prometheus read the target before the window already, or Flower itself began in the window. One that Prometheus has
    just begun to read may be a year old. A counter that is lower than before began anew, and one that went away in the
    window counts with its last value.

    :param window: seconds, or a variable that stands for them.
    """
    last = f"last_over_time({selector}[{window}s])"
    grown = f"{last} - {selector} offset {window}s >= 0"
    new = f"{last} and on (namespace, job) ({_known_new(scope, window)})"
    return f"((({grown}) or ({new})) unless resets({selector}[{window}s]) > 0 or increase({selector}[{window}s]))"


def quantile(scope: Scope, share: float, window: int | str, *labels: str) -> str:
    """The runtime, in seconds, that so many of the tasks stay below. Flower knows it of tasks that succeeded."""
    buckets = worker_deployment(scope, growth(scope, _runtime(scope, "bucket"), window))
    return f"histogram_quantile({share:g}, {scope.total(buckets, 'le', *labels)})"


def mean_runtime(scope: Scope, window: int | str, *labels: str) -> str:
    """The mean runtime in seconds of tasks that succeeded."""
    total, count = (
        scope.total(worker_deployment(scope, growth(scope, _runtime(scope, part), window)), *labels)
        for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


def _runtime(scope: Scope, part: str) -> str:
    return select(f"flower_task_runtime_seconds_{part}", scope.in_namespace, scope.workers)


def deployment_replicas(scope: Scope, which: str) -> str:
    """Pods of a Deployment, as kube-state-metrics tells: C(spec_replicas), C(status_replicas_available) and others."""
    return scope.total(select(f"kube_deployment_{which}", scope.in_namespace, scope.of_deployment("deployment")))


def most_replicas(scope: Scope) -> str:
    """Most pods of each Deployment, from whichever HPA scales it."""
    limits = f"kube_horizontalpodautoscaler_spec_max_replicas{{{scope.in_namespace}}}"
    target = scope.match("scaletargetref_name", scope.deployment)
    info = f'kube_horizontalpodautoscaler_info{{{scope.in_namespace}, scaletargetref_kind="Deployment", {target}}}'
    joined = f"{limits} * on (namespace, horizontalpodautoscaler) group_left (scaletargetref_name) {info}"
    named = (
        f'label_replace({joined}, "deployment", "$1", "scaletargetref_name", "(.+)")'
        if scope.names_deployment
        else joined
    )
    return scope.total(named)


def restarts(scope: Scope, window: str) -> str:
    """Restarts of the containers of workers."""
    return _of_pods(scope, f"increase({_restarts(scope)}[{window}])")


def memory_kills(scope: Scope, window: str) -> str:
    """Containers that started anew in the window because they had used too much memory."""
    reason = "kube_pod_container_status_last_terminated_reason"
    last = select(reason, scope.in_namespace, scope.pods, 'reason="OOMKilled"')
    restarted = f"increase({_restarts(scope)}[{window}]) > 0"
    return _of_pods(scope, f"({restarted}) and on (namespace, pod, container) ({last} == 1)")


def _restarts(scope: Scope) -> str:
    return select("kube_pod_container_status_restarts_total", scope.in_namespace, scope.pods)


def _of_pods(scope: Scope, series: str) -> str:
    if not scope.names_deployment:
        return scope.total(series)
    return scope.total(f'label_replace({series}, "deployment", "$1", "pod", "(.+){POD_END}")')


def duration(seconds: float) -> str:
    """A time as Prometheus writes it."""
    whole = round(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
