# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA's operator as an API server's proxy shows it: a Service with two ports, and the metrics behind one of them.

The numbers are those that a test sets; without one a trigger reads 0. As on a real operator, what was read stays,
also of a ScaledObject that was deleted or paused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ._controllers import is_paused, metric_names
from ._kinds import SCALED_JOB, SCALED_OBJECT, SERVICE, Kind
from ._status import ApiError, Json, not_found
from ._store import Store, seeded

OPERATOR = "keda-operator"
METRICS_PORT = 8080
API_SERVICE = "v1beta1.external.metrics.k8s.io"
# What a trigger without a name is called: the type of KEDA's own scaler.
_SCALERS = {"redis": "redisScaler", "rabbitmq": "rabbitMQScaler", "kubernetes-workload": "kubernetesWorkloadScaler"}
_COMPOSITE = "composite-metric"
_Key = tuple[str, str, str]


@dataclass
class OperatorMetrics:
    """What the operator has read: namespace, ScaledObject and labels to a number."""

    store: Store
    readings: dict[_Key, float] = field(default_factory=dict)
    _series: dict[tuple[str, str, str], dict[str, float]] = field(default_factory=dict)

    def clear(self) -> None:
        self.readings.clear()
        self._series.clear()

    def of(self, namespace: str, name: str) -> dict[str, float]:
        """What is read for one object, by the name of the trigger."""
        return {key[2]: value for key, value in self.readings.items() if key[:2] == (namespace, name)}

    def text(self) -> str:
        """What a scrape answers."""
        for kind in (SCALED_OBJECT, SCALED_JOB):
            for obj in self.store.select(kind):
                if not is_paused(obj):
                    self._read(obj, kind.name.lower())
        lines = [
            "# HELP keda_build_info Info metric, with static information about KEDA build like: version, git commit.",
            "# TYPE keda_build_info gauge",
            'keda_build_info{git_commit="",goarch="amd64",goos="linux",goversion="go1.26.6",version="2.20.2"} 1',
            "# HELP keda_scaler_metrics_value The current value for each scaler's metric.",
            "# TYPE keda_scaler_metrics_value gauge",
        ]
        for series in self._series.values():
            lines += [f"keda_scaler_metrics_value{{{labels}}} {value:g}" for labels, value in series.items()]
        return "\n".join(lines) + "\n"

    def _read(self, obj: Json, kind: str) -> None:
        metadata = obj["metadata"]
        key = metadata["namespace"], metadata["name"]
        kept = self._series.setdefault((kind, *key), {})
        for scaler, index, metric in _triggers(obj):
            labels = (
                f'metric="{metric}",namespace="{key[0]}",scaledObject="{key[1]}",scaler="{scaler}",'
                f'triggerIndex="{index}",type="{kind}"'
            )
            kept[labels] = self.readings.get((*key, scaler), 0)


def _triggers(obj: Json) -> Iterator[tuple[str, int, str]]:
    """Name, place and metric of each trigger, and of the formula."""
    external = [(at, one) for at, one in enumerate(obj["spec"]["triggers"]) if one["type"] not in ("cpu", "memory")]
    for (index, trigger), metric in zip(external, metric_names(obj), strict=True):
        yield trigger.get("name") or _SCALERS.get(trigger["type"], trigger["type"]), index, metric
    if obj["spec"].get("advanced", {}).get("scalingModifiers", {}).get("formula"):
        yield _COMPOSITE, 0, _COMPOSITE


def operator_objects(namespace: str, offers_metrics: bool) -> Iterator[tuple[Kind, Json]]:
    """The operator's Service. KEDA's chart gives it the port of the metrics only if asked to."""
    ports = [{"name": "metricsservice", "port": 9666, "protocol": "TCP", "targetPort": 9666}]
    if offers_metrics:
        ports.append({"name": "metrics", "port": METRICS_PORT, "protocol": "TCP", "targetPort": METRICS_PORT})
    spec = {"ports": ports, "selector": {"app": OPERATOR}, "type": "ClusterIP"}
    yield SERVICE, seeded(SERVICE, {"metadata": {"name": OPERATOR, "namespace": namespace}, "spec": spec})


def proxied(store: Store, metrics: OperatorMetrics, namespace: str, name: str, path: str) -> str:
    """What a Service answers through the API server. Behind every Service but the operator's is nothing."""
    parts = name.split(":")
    service_name, port = (parts[1], parts[2]) if len(parts) == 3 else (parts[0], parts[1] if len(parts) > 1 else "")
    service = store.get(SERVICE, namespace, service_name)
    if service is None:
        raise not_found(SERVICE, service_name)
    ports = service["spec"].get("ports", [])
    if port and not any(port in (str(one["port"]), one.get("name")) for one in ports):
        raise _unavailable(f'no service port "{port}" found for service "{service_name}"')
    if service_name != OPERATOR or port not in (str(METRICS_PORT), "metrics"):
        raise _unavailable(f'no endpoints available for service "{name}"')
    if path != "metrics":
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    return metrics.text()


def _unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)
