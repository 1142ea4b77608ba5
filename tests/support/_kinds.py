# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds that the emulator serves, and the discovery documents that announce them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ._status import Json

_BUILTIN_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
_SUBRESOURCE_VERBS = ["get", "patch", "update"]


@dataclass(frozen=True)
class Kind:
    """One resource type of the API."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    custom: bool = False
    has_generation: bool = False
    # Whether an emulator serves it from the start.
    installed: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural as error messages name it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.name}.{self.group}" if self.group else self.name


def _core(name: str, plural: str, *short_names: str, namespaced: bool = True, status: bool = False) -> Kind:
    subresources = ("status",) if status else ()
    return Kind("", "v1", name, plural, namespaced, short_names, (), subresources, has_generation=name == "Pod")


def _keda(name: str, plural: str, *short_names: str, namespaced: bool = True) -> Kind:
    return Kind("keda.sh", "v1alpha1", name, plural, namespaced, short_names, (), ("status",), True, True)


def _monitoring(name: str, plural: str, short_name: str) -> Kind:
    categories = ("prometheus-operator",)
    return Kind("monitoring.coreos.com", "v1", name, plural, True, (short_name,), categories, ("status",), True, True)


def _rights(name: str, plural: str, namespaced: bool = True) -> Kind:
    return Kind("rbac.authorization.k8s.io", "v1", name, plural, namespaced)


DEPLOYMENT = Kind(
    "apps", "v1", "Deployment", "deployments", True, ("deploy",), ("all",), ("scale", "status"), False, True
)
NAMESPACE = _core("Namespace", "namespaces", "ns", namespaced=False, status=True)
POD = replace(_core("Pod", "pods", "po"), subresources=("exec", "status"))
SECRET = _core("Secret", "secrets")
CONFIG_MAP = _core("ConfigMap", "configmaps", "cm")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), ("all",), ("scale", "status"), False, True)
HPA = Kind(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), ("all",), ("status",)
)
VPA = Kind(
    "autoscaling.k8s.io",
    "v1",
    "VerticalPodAutoscaler",
    "verticalpodautoscalers",
    short_names=("vpa",),
    subresources=("status",),
    custom=True,
    has_generation=True,
    installed=False,
)
SERVICE = replace(_core("Service", "services", "svc"), subresources=("proxy", "status"))
EVENT = _core("Event", "events", "ev")
QUOTA = _core("ResourceQuota", "resourcequotas", "quota", status=True)
SERVICE_ACCOUNT = replace(_core("ServiceAccount", "serviceaccounts", "sa"), subresources=("token",))
API_SERVICE = Kind(
    "apiregistration.k8s.io",
    "v1",
    "APIService",
    "apiservices",
    False,
    categories=("api-extensions",),
    subresources=("status",),
)
ROLE = _rights("Role", "roles")
ROLE_BINDING = _rights("RoleBinding", "rolebindings")
CLUSTER_ROLE = _rights("ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = _rights("ClusterRoleBinding", "clusterrolebindings", namespaced=False)
RBAC_KINDS = (ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING)
ADMISSION_POLICY, ADMISSION_BINDING = (
    Kind("admissionregistration.k8s.io", "v1", name, f"{name.lower()[:-1]}{end}", False, has_generation=True)
    for name, end in (("ValidatingAdmissionPolicy", "ies"), ("ValidatingAdmissionPolicyBinding", "gs"))
)
SCALED_OBJECT = _keda("ScaledObject", "scaledobjects", "so")
SCALED_JOB = _keda("ScaledJob", "scaledjobs", "sj")
JOB = Kind("batch", "v1", "Job", "jobs", True, (), ("all",), ("status",), False, True)
CRD = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    False,
    ("crd", "crds"),
    ("api-extensions",),
    ("status",),
    has_generation=True,
)

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    POD,
    SECRET,
    CONFIG_MAP,
    SERVICE,
    SERVICE_ACCOUNT,
    EVENT,
    QUOTA,
    _core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True),
    DEPLOYMENT,
    REPLICA_SET,
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), (), ("status",), False, True),
    HPA,
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), (), ("status",), False, True),
    Kind(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        "httproutes",
        categories=("gateway-api",),
        subresources=("status",),
        custom=True,
        has_generation=True,
    ),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",), (), (), False, True),
    ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ADMISSION_POLICY,
    ADMISSION_BINDING,
    CRD,
    API_SERVICE,
    SCALED_OBJECT,
    SCALED_JOB,
    JOB,
    _keda("TriggerAuthentication", "triggerauthentications", "ta", "triggerauth"),
    _keda(
        "ClusterTriggerAuthentication", "clustertriggerauthentications", "cta", "clustertriggerauth", namespaced=False
    ),
    VPA,
    _monitoring("ServiceMonitor", "servicemonitors", "smon"),
    _monitoring("PodMonitor", "podmonitors", "pmon"),
    _monitoring("PrometheusRule", "prometheusrules", "promrule"),
    Kind(
        "grafana.integreatly.org",
        "v1beta1",
        "GrafanaDashboard",
        "grafanadashboards",
        categories=("grafana-operator",),
        subresources=("status",),
        custom=True,
        has_generation=True,
    ),
)

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
BY_PATH: dict[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}

VERSION: Json = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitTreeState": "clean",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def find_kind(name: str) -> Kind:
    """The kind of that name, or an error that lists the names there are."""
    if name not in BY_NAME:
        raise ValueError(f"unknown kind {name!r}; the emulator knows {', '.join(sorted(BY_NAME))}")
    return BY_NAME[name]


def api_versions(address: str) -> Json:
    cidrs = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidrs}


def _group_entry(group: str, versions: Sequence[str]) -> Json:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def group_list(served: Iterable[Kind]) -> Json:
    versions: dict[str, list[str]] = {}
    for kind in served:
        if kind.group and kind.version not in versions.setdefault(kind.group, []):
            versions[kind.group].append(kind.version)
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group_entry(group, names) for group, names in versions.items()],
    }


def group_document(served: Iterable[Kind], group: str) -> Json | None:
    for entry in group_list(served)["groups"]:
        if entry["name"] == group:
            return {"kind": "APIGroup", "apiVersion": "v1", **entry}
    return None


def _resources(kind: Kind) -> list[Json]:
    main: Json = {
        "name": kind.plural,
        "singularName": kind.name.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": _CUSTOM_VERBS if kind.custom else _BUILTIN_VERBS,
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    return [main, *(_subresource(kind, name) for name in kind.subresources)]


def _subresource(kind: Kind, name: str) -> Json:
    entry: Json = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    if name == "exec":
        return entry | {"kind": "PodExecOptions", "verbs": ["create", "get"]}
    if name == "token":
        return entry | {
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
            "verbs": ["create"],
        }
    if name == "proxy":
        verbs = ["create", "delete", "get", "patch", "update"]
        return entry | {"kind": "ServiceProxyOptions", "verbs": verbs}
    if name == "scale":
        entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    else:
        entry["kind"] = kind.name
    return entry | {"verbs": _SUBRESOURCE_VERBS}


def resource_list(served: Iterable[Kind], group: str, version: str) -> Json | None:
    kinds = [kind for kind in served if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": [resource for kind in kinds for resource in _resources(kind)],
    }


def crd_for(kind: Kind) -> Json:
    """The CustomResourceDefinition that makes a kind served. The schema is left open."""
    names: Json = {"plural": kind.plural, "singular": kind.name.lower()}
    names |= {"kind": kind.name, "listKind": f"{kind.name}List"}
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": kind.version, "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    return {
        "apiVersion": CRD.api_version,
        "kind": CRD.name,
        "metadata": {"name": kind.qualified},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
