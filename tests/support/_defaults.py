# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that a server fills in. Every function changes the object that it is given."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator

from ._status import Json

_NODE_PORTS = itertools.count(30000)
_CLUSTER_IPS = itertools.count(10)


def apply_defaults(obj: Json, live: Json | None) -> None:
    if (fill := _BY_KIND.get(obj["kind"])) is not None:
        fill(obj, live or {})


def _deployment(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _pod_template(spec.setdefault("template", {}))


def _replica_set(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _pod_template(spec.setdefault("template", {}))


def _job(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completions", 1)
    spec.setdefault("parallelism", 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    _pod_template(spec.setdefault("template", {}))


def _pod_template(template: Json) -> None:
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _pod(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("enableServiceLinks", True)
    _pod_spec(spec)


def _pod_spec(spec: Json) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    # The deprecated twin of serviceAccountName comes back from a server.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        _container(container)
    for volume in spec.get("volumes", []):
        _volume(volume)


def _container(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    resources = container.setdefault("resources", {})
    for name, limit in resources.get("limits", {}).items():
        resources.setdefault("requests", {}).setdefault(name, limit)
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _probe(container[probe])
    for handler in container.get("lifecycle", {}).values():
        _http_get(handler)
    for entry in container.get("env", []):
        _env_source(entry.get("valueFrom", {}))


def _pull_policy(image: str) -> str:
    name = image.rsplit("/", 1)[-1]
    tagged_latest = "@" not in name and name.partition(":")[2] in ("", "latest")
    return "Always" if tagged_latest else "IfNotPresent"


def _probe(probe: Json) -> None:
    defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    for field, value in defaults.items():
        probe.setdefault(field, value)
    _http_get(probe)


def _http_get(handler: Json) -> None:
    if isinstance(handler, dict) and "httpGet" in handler:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")


def _env_source(source: Json) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")


def _volume(volume: Json) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 420)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if len(volume) == 1:
        volume["emptyDir"] = {}


def _secret(obj: Json, live: Json) -> None:
    for key, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    obj.setdefault("type", "Opaque")


def _service(obj: Json, live: Json) -> None:
    spec, was = obj.setdefault("spec", {}), live.get("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", was.get("ipFamilies", ["IPv4"]))
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    # A write without the allocated address keeps it, as a real server does.
    spec.setdefault("clusterIP", was.get("clusterIP") or _next_cluster_ip())
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
        _node_ports(spec, was)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _next_cluster_ip() -> str:
    number = next(_CLUSTER_IPS)
    return f"10.96.{number // 256 % 256}.{number % 256}"


def _node_ports(spec: Json, was: Json) -> None:
    known = {port["port"]: port["nodePort"] for port in was.get("ports", []) if "nodePort" in port}
    for port in spec.get("ports", []):
        port.setdefault("nodePort", known.get(port["port"]) or next(_NODE_PORTS))


def _namespace(obj: Json, live: Json) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _network_policy(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for port in (rule or {}).get("ports") or []:
            port.setdefault("protocol", "TCP")


def _claim(obj: Json, live: Json) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _http_route(obj: Json, live: Json) -> None:
    """The defaults of the Gateway API's definition (1.4)."""
    spec = obj.setdefault("spec", {})
    for parent in spec.get("parentRefs", []):
        parent.setdefault("group", "gateway.networking.k8s.io")
        parent.setdefault("kind", "Gateway")
    for rule in spec.setdefault("rules", [{}]):
        for match in rule.setdefault("matches", [{}]):
            path = match.setdefault("path", {})
            path.setdefault("type", "PathPrefix")
            path.setdefault("value", "/")
        for backend in rule.get("backendRefs", []):
            for field, default in {"group": "", "kind": "Service", "weight": 1}.items():
                backend.setdefault(field, default)


def _monitor(obj: Json, live: Json) -> None:
    spec = obj.get("spec", {})
    for endpoint in [*spec.get("endpoints", []), *spec.get("podMetricsEndpoints", [])]:
        for relabeling in [*endpoint.get("relabelings", []), *endpoint.get("metricRelabelings", [])]:
            relabeling.setdefault("action", "replace")


def _dashboard(obj: Json, live: Json) -> None:
    obj.setdefault("spec", {}).setdefault("allowCrossNamespaceImport", False)


def _hpa(obj: Json, live: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if "behavior" in spec:
        _hpa_rules(spec["behavior"].setdefault("scaleUp", {}), [("Pods", 4), ("Percent", 100)], 0)
        _hpa_rules(spec["behavior"].setdefault("scaleDown", {}), [("Percent", 100)], None)


def _hpa_rules(rules: Json, policies: list[tuple[str, int]], window: int | None) -> None:
    rules.setdefault("selectPolicy", "Max")
    if window is not None:
        rules.setdefault("stabilizationWindowSeconds", window)
    default = [{"type": type_, "value": value, "periodSeconds": 15} for type_, value in policies]
    rules.setdefault("policies", default)


def _scaled_object(obj: Json, live: Json) -> None:
    fallback = obj.get("spec", {}).get("fallback")
    if isinstance(fallback, dict):
        fallback.setdefault("behavior", "static")


_BY_KIND: dict[str, Callable[[Json, Json], None]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Pod": _pod,
    "Job": _job,
    "Secret": _secret,
    "Service": _service,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "PersistentVolumeClaim": _claim,
    "HorizontalPodAutoscaler": _hpa,
    "ScaledObject": _scaled_object,
    "HTTPRoute": _http_route,
    "ServiceMonitor": _monitor,
    "PodMonitor": _monitor,
    "GrafanaDashboard": _dashboard,
}

_INITIAL_STATUS: dict[str, Json] = {
    "Deployment": {},
    "Namespace": {"phase": "Active"},
    "Pod": {"phase": "Pending", "qosClass": "BestEffort"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "PodDisruptionBudget": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    "HorizontalPodAutoscaler": {"desiredReplicas": 0, "currentMetrics": None},
    "ReplicaSet": {"replicas": 0},
    "CustomResourceDefinition": {"conditions": [{"type": "Established", "status": "True"}]},
}


def initial_status(kind: str) -> Json | None:
    """The status of a new object; custom resources have none until a controller writes one."""
    return _INITIAL_STATUS.get(kind)


def pod_specs(obj: Json) -> Iterator[tuple[str, Json]]:
    """The pod spec inside an object, with its field path."""
    if obj["kind"] in ("Deployment", "ReplicaSet"):
        yield "spec.template.spec", obj["spec"]["template"]["spec"]
    elif obj["kind"] == "Pod":
        yield "spec", obj["spec"]
    elif obj["kind"] == "Job":
        yield "spec.template.spec", obj["spec"]["template"]["spec"]
