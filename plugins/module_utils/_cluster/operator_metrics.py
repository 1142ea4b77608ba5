# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA's operator has read of every queue, from its own metrics: one request for all variants.

KEDA's external metrics API must not be asked instead: of a ScaledObject with a formula it answers the result of the
formula whatever metric it is asked for (2.20).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._model.names import MEASURES
from .._model.observed import PAUSED, pauses
from .._model.pauses import PAUSED_REPLICAS
from .._model.rights import OPERATOR, OPERATOR_PORTS
from .direct import DirectCluster, StatusError
from .lacking import GRANTED_BY

Object = dict[str, Any]

#: Where KEDA is installed, if nobody says otherwise.
DEFAULT_NAMESPACE = "keda"
#: Says in which namespace KEDA's metrics server is, and so KEDA.
_API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
_VALUE = "keda_scaler_metrics_value"
_SERIES = re.compile(rf"^{_VALUE}\{{(?P<labels>.*)\}} +(?P<value>\S+)")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:\\.|[^"\\])*)"')
_ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True)
class Series:
    """One number that KEDA's operator has read.

    :param scaler: name of the trigger, or the type of one that has no name.
    :param metric: name of the metric, as the status of the ScaledObject has it.
    """

    scaler: str
    index: str
    metric: str
    value: float


@dataclass(frozen=True)
class OperatorMetrics:
    """What the operator tells of one namespace.

    :param series: name of a ScaledObject to what was read for it. What was deleted stays there until KEDA restarts.
    :param place: where it was asked, for people; empty where it could not be.
    :param refusal: why it could not be asked.
    :param advice: what to do about that.
    :param is_down: whether that is because no pod of it is ready.
    """

    series: Mapping[str, tuple[Series, ...]] = field(default_factory=dict)
    place: str = ""
    refusal: str = ""
    advice: str = ""
    is_down: bool = False


def parsed(text: str, namespace: str) -> dict[str, tuple[Series, ...]]:
    """The numbers of the ScaledObjects and ScaledJobs of a namespace, in the text that Prometheus scrapes."""
    found: dict[str, list[Series]] = {}
    # Names of metrics may hold control characters that other ways to split would take for the end of a line.
    for line in text.split("\n"):
        if not line.startswith(_VALUE) or (match := _SERIES.match(line)) is None:
            continue
        labels = {name: _unescaped(value) for name, value in _LABEL.findall(match["labels"])}
        kind = labels.get("type", "scaledobject")
        if labels.get("namespace") != namespace or kind not in ("scaledobject", "scaledjob"):
            continue
        value = _number(match["value"])
        if value is not None:
            own = Series(labels.get("scaler", ""), labels.get("triggerIndex", ""), labels.get("metric", ""), value)
            # The name of a ScaledJob has the label of that name, too.
            name = labels.get("scaledObject", "")
            found.setdefault(name if kind == "scaledobject" else job_series(name), []).append(own)
    return {name: tuple(series) for name, series in found.items()}


def job_series(scaled_job: str) -> str:
    """Under what the numbers of a ScaledJob are found, which may have the name of a ScaledObject."""
    return f"scaledjob/{scaled_job}"


def _unescaped(text: str) -> str:
    return re.sub(r"\\.", lambda pair: _ESCAPED.get(pair[0], pair[0]), text) if "\\" in text else text


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def trigger_names(triggers: Collection[Object]) -> list[str]:
    """A name for each trigger: its own, or one by its place."""
    return [str(trigger.get("name") or f"trigger_{index}") for index, trigger in enumerate(triggers)]


def distrust(scaled_object: Object) -> str:
    """Why the operator's numbers of a ScaledObject are not those of today; empty if they are.

    The operator keeps the last number that it has read, for as long as it runs.
    """
    status = scaled_object.get("status") or {}
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    if not conditions:
        return f"KEDA has not looked at the {_kind_of(scaled_object)} yet"
    notes = scaled_object["metadata"].get("annotations") or {}
    if any(name in _STOPPING and pauses(name, str(value)) for name, value in notes.items()):
        return f"KEDA reads nothing while the {_kind_of(scaled_object)} is paused"
    if failing_readings(scaled_object) or (conditions.get("Ready") or {}).get("status") == "False":
        return "KEDA cannot read the queue"
    return ""


def _kind_of(worker: Object) -> str:
    return "ScaledJob" if "jobTargetRef" in (worker.get("spec") or {}) else "ScaledObject"


def is_without_work(worker: Object) -> bool:
    """Whether KEDA works and finds that nothing waits, nor is held, for a ScaledObject or ScaledJob."""
    conditions = {item.get("type"): item.get("status") for item in (worker.get("status") or {}).get("conditions") or []}
    # The formula goes on without Prometheus, and KEDA calls that a fallback as well.
    falls_back = conditions.get("Fallback") == "True" and not is_unmeasured(worker)
    works = conditions.get("Ready") == "True" and not falls_back and not distrust(worker)
    return works and conditions.get("Active") == "False"


def is_failing(health: Mapping[str, Any]) -> bool:
    """Whether KEDA could not read a trigger the last time it tried."""
    return health.get("status") == "Failing" or int(health.get("numberOfFailures") or 0) > 0


def failing_readings(scaled_object: Object) -> list[str]:
    """Metrics that KEDA could not read and that a formula cannot do without."""
    return [name for name in _failing(scaled_object) if not _is_measure(scaled_object, name)]


def is_unmeasured(scaled_object: Object) -> bool:
    """Whether KEDA could not ask Prometheus for what has been measured of the tasks."""
    return any(_is_measure(scaled_object, name) for name in _failing(scaled_object))


def _failing(scaled_object: Object) -> list[str]:
    health = (scaled_object.get("status") or {}).get("health") or {}
    return [str(name) for name, one in health.items() if is_failing(one)]


def _is_measure(scaled_object: Object, metric: str) -> bool:
    """Whether a metric is what has been measured of the tasks. KEDA puts the place of the trigger before its name."""
    place = re.match(r"s([0-9]+)-", metric)
    triggers = (scaled_object.get("spec") or {}).get("triggers") or []
    index = int(place[1]) if place else len(triggers)
    return index < len(triggers) and triggers[index].get("name") in MEASURES


#: Annotations by which KEDA stops reading, while those that pause one direction let it go on.
_STOPPING = (PAUSED, PAUSED_REPLICAS)


def numbers_of(scaled_object: Object, series: Collection[Series]) -> dict[str, float]:
    """What was read for each trigger that a ScaledObject has today, by the name of the trigger."""
    triggers = (scaled_object.get("spec") or {}).get("triggers") or []
    found = {}
    for index, (name, trigger) in enumerate(zip(trigger_names(triggers), triggers, strict=True)):
        for one in series:
            # Of a trigger that had this place before, the name differs; one without a name has that of its type.
            if one.index == str(index) and one.scaler == trigger.get("name", one.scaler) and one.metric != _COMPOSITE:
                found[name] = one.value
    return found


#: The result of the formula is a series of its own.
_COMPOSITE = "composite-metric"


def ask_operator(cluster: DirectCluster, written: str) -> OperatorMetrics:
    """Ask KEDA's operator, through the API server.

    :param written: namespace of KEDA, where the inventory names one.
    """
    first = written or DEFAULT_NAMESPACE
    found = _asked_often(cluster, first)
    if found.place or written:
        return found
    # KEDA may be elsewhere, and its registration says where.
    other = registered_namespace(cluster)
    return _asked_often(cluster, other) if other not in ("", first) else found


#: Of several operators one works, and the API server asks any of them.
_TRIES = 3


def _asked_often(cluster: DirectCluster, namespace: str) -> OperatorMetrics:
    found = _asked_in(cluster, namespace)
    for _try in range(_TRIES - 1):
        if found.series or not found.place:
            break
        found = _asked_in(cluster, namespace)
    return found


def _asked_in(cluster: DirectCluster, namespace: str) -> OperatorMetrics:
    found = OperatorMetrics()
    for port in OPERATOR_PORTS:
        try:
            text = cluster.text_at(f"/api/v1/namespaces/{namespace}/services/{OPERATOR}:{port}/proxy/metrics")
        except StatusError as error:
            # The first port is a number, and a server knows whether the Service has that. Of a name it only says that
            # nothing is behind it, in the very words that stand for a Service without pods.
            found = found if found.refusal and error.status == 503 else _refused(namespace, error)
            if error.status != 503:
                break
            continue
        if f"\n{_BUILD}" in f"\n{text}" or _VALUE in text:
            return OperatorMetrics(parsed(text, cluster.namespace), f"{OPERATOR} in {namespace}")
        reason = f"Service {OPERATOR} in namespace {namespace} answers something else than KEDA's metrics"
        return OperatorMetrics(refusal=reason, advice="set celery_workers_keda_namespace to the namespace of KEDA")
    return found


#: What an API server says of a Service that has the port and no pod behind it (1.36).
_NO_POD = "no endpoints available"
#: In every answer of KEDA's.
_BUILD = "keda_build_info"


def _refused(namespace: str, error: StatusError) -> OperatorMetrics:
    """Why the operator could not be asked, and what to do about it."""
    where = f"Service {OPERATOR} in namespace {namespace}"
    if error.status == 403:
        reason = f"KEDA's metrics in namespace {namespace} may not be read"
        return OperatorMetrics(
            refusal=reason, advice=f"grant get on services/proxy in namespace {namespace}, as {GRANTED_BY} does"
        )
    if error.status == 404:
        advice = "set celery_workers_keda_namespace to the namespace of KEDA"
        return OperatorMetrics(refusal=f"there is no {where}", advice=advice)
    if error.status == 503 and _NO_POD in str(error):
        return OperatorMetrics(
            refusal=f"no pod of {where} is ready",
            advice=f"read kubectl get pods --namespace {namespace}, and the log of the operator",
            is_down=True,
        )
    if error.status == 503:
        advice = "set prometheus.operator.enabled: true in KEDA's chart, and check that its operator runs"
        return OperatorMetrics(refusal=f"{where} does not offer its metrics", advice=advice)
    return OperatorMetrics(refusal=f"{where} did not answer ({error})", advice="check that KEDA's operator runs")


def registered_namespace(cluster: DirectCluster) -> str:
    """Where KEDA is, as the registration of its metrics server says; empty where it cannot be read."""
    try:
        spec = json.loads(cluster.text_at(_API_SERVICE)).get("spec") or {}
    except (StatusError, ValueError):
        return ""
    return str((spec.get("service") or {}).get("namespace") or "")
