# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that are Kubernetes' own, checked as an API server 1.36 checks them.

kubernetes.core sends objects one by one, so a server's refusal comes when half a fleet is applied.
Names, quantities, enums and field names are therefore checked here, before the first request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .kubernetes_rules import REFUSED, REQUIRED, fault_of
from .kubernetes_types import TYPES
from .kubernetes_values import (
    _SUBDOMAIN,
    DNS_LABEL,
    DNS_SUBDOMAIN,
    ENV_NAME,
    IMAGE,
    LABEL_VALUE,
    QUALIFIED_NAME,
    QUOTED_TEXT,
    SECRET_KEY,
    CountOrPercent,
    PortOrName,
    Quantity,
)
from .layers import Branch, Leaf, Node, elements, items, plain
from .problems import Problems
from .quantities import resource_fault
from .scalars import (
    INVALID,
    Invalid,
    MapOf,
    Text,
    as_flag,
    as_integer,
    refuse,
    show,
    unknown_key,
)

#: Words that the server accepts, by type and field. The schema does not name them.
_ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("Container", "imagePullPolicy"): ("Always", "IfNotPresent", "Never"),
    # Always makes an init container a sidecar; a server takes nothing else where pods always restart.
    ("Container", "restartPolicy"): ("Always",),
    ("Container", "terminationMessagePolicy"): ("File", "FallbackToLogsOnError"),
    ("ContainerPort", "protocol"): ("TCP", "UDP", "SCTP"),
    ("ContainerResizePolicy", "restartPolicy"): ("NotRequired", "RestartContainer"),
    ("DeploymentStrategy", "type"): ("RollingUpdate", "Recreate"),
    ("EmptyDirVolumeSource", "medium"): ("", "Memory", "HugePages"),
    ("HPAScalingPolicy", "type"): ("Pods", "Percent"),
    ("HPAScalingRules", "selectPolicy"): ("Max", "Min", "Disabled"),
    ("HTTPGetAction", "scheme"): ("HTTP", "HTTPS"),
    ("HostPathVolumeSource", "type"): (
        "",
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    ),
    ("LabelSelectorRequirement", "operator"): ("In", "NotIn", "Exists", "DoesNotExist"),
    ("NodeSelectorRequirement", "operator"): ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    ("PersistentVolumeClaimSpec", "volumeMode"): ("Filesystem", "Block"),
    ("ImageVolumeSource", "pullPolicy"): ("Always", "IfNotPresent", "Never"),
    ("ObjectFieldSelector", "apiVersion"): ("v1",),
    # The rest asks for Windows, where our commands do not run.
    ("PodOS", "name"): ("linux",),
    ("PodSpec", "dnsPolicy"): ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    ("PodSpec", "preemptionPolicy"): ("Never", "PreemptLowerPriority"),
    # A Deployment's pods always restart.
    ("PodSpec", "restartPolicy"): ("Always",),
    # MountOption needs a feature gate that servers have off.
    ("PodSecurityContext", "seLinuxChangePolicy"): ("Recursive",),
    ("PodSecurityContext", "fsGroupChangePolicy"): ("OnRootMismatch", "Always"),
    ("PodSecurityContext", "supplementalGroupsPolicy"): ("Merge", "Strict"),
    ("SeccompProfile", "type"): ("RuntimeDefault", "Localhost", "Unconfined"),
    ("AppArmorProfile", "type"): ("RuntimeDefault", "Localhost", "Unconfined"),
    ("SecurityContext", "procMount"): ("Default", "Unmasked"),
    ("Toleration", "effect"): ("", "NoSchedule", "PreferNoSchedule", "NoExecute"),
    ("Toleration", "operator"): ("", "Exists", "Equal", "Lt", "Gt"),
    ("TopologySpreadConstraint", "whenUnsatisfiable"): ("DoNotSchedule", "ScheduleAnyway"),
    ("TopologySpreadConstraint", "nodeAffinityPolicy"): ("Honor", "Ignore"),
    ("TopologySpreadConstraint", "nodeTaintsPolicy"): ("Honor", "Ignore"),
    ("VolumeMount", "mountPropagation"): ("None", "HostToContainer", "Bidirectional"),
    ("VolumeMount", "recursiveReadOnly"): ("Disabled", "IfPossible", "Enabled"),
}

#: Bounds of whole numbers, by type and field.
_BOUNDS: dict[tuple[str, str], tuple[int, int]] = {
    ("ContainerPort", "containerPort"): (1, 65535),
    ("ContainerPort", "hostPort"): (1, 65535),
    ("GRPCAction", "port"): (1, 65535),
    ("Probe", "initialDelaySeconds"): (0, 2**31 - 1),
    ("Probe", "periodSeconds"): (1, 2**31 - 1),
    ("Probe", "timeoutSeconds"): (1, 2**31 - 1),
    ("Probe", "successThreshold"): (1, 2**31 - 1),
    ("Probe", "failureThreshold"): (1, 2**31 - 1),
    ("Probe", "terminationGracePeriodSeconds"): (1, 2**31 - 1),
    ("HPAScalingPolicy", "value"): (1, 2**31 - 1),
    ("HPAScalingPolicy", "periodSeconds"): (1, 1800),
    ("HPAScalingRules", "stabilizationWindowSeconds"): (0, 3600),
    ("PodSpec", "terminationGracePeriodSeconds"): (0, 2**31 - 1),
    ("PodSpec", "priority"): (-(2**31), 2**31 - 1),
    ("PodSecurityContext", "runAsUser"): (0, 2**31 - 1),
    ("PodSecurityContext", "runAsGroup"): (0, 2**31 - 1),
    ("PodSecurityContext", "fsGroup"): (0, 2**31 - 1),
    ("SecurityContext", "runAsUser"): (0, 2**31 - 1),
    ("SecurityContext", "runAsGroup"): (0, 2**31 - 1),
    ("TopologySpreadConstraint", "maxSkew"): (1, 2**31 - 1),
    ("TopologySpreadConstraint", "minDomains"): (1, 2**31 - 1),
    ("WeightedPodAffinityTerm", "weight"): (1, 100),
    ("PreferredSchedulingTerm", "weight"): (1, 100),
    ("ConfigMapVolumeSource", "defaultMode"): (0, 0o777),
    ("SecretVolumeSource", "defaultMode"): (0, 0o777),
    ("ProjectedVolumeSource", "defaultMode"): (0, 0o777),
    ("DownwardAPIVolumeSource", "defaultMode"): (0, 0o777),
    ("KeyToPath", "mode"): (0, 0o777),
    ("DownwardAPIVolumeFile", "mode"): (0, 0o777),
    ("PodSecurityContext", "supplementalGroups"): (0, 2**31 - 1),
    ("ServiceAccountTokenProjection", "expirationSeconds"): (600, 2**32),
    ("SleepAction", "seconds"): (0, 2**31 - 1),
    ("ISCSIVolumeSource", "lun"): (0, 255),
    ("FCVolumeSource", "lun"): (0, 255),
}

_RELATIVE_PATH = Text("a relative path without '..'", r"(?!/)(?!(.*/)?\.\.(/|$)).+")
_ABSOLUTE_PATH = Text("an absolute path", r"/.*")

#: Text that must follow a pattern, by type and field.
_PATTERNS: dict[tuple[str, str], Text] = {
    ("Container", "name"): DNS_LABEL,
    ("ContainerPort", "name"): Text(
        "at most 15 lower case letters, digits and single '-', with a letter",
        r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?",
        15,
    ),
    ("CSIVolumeSource", "driver"): Text("the name of a CSI driver", rf"(?i:{_SUBDOMAIN})", 63),
    ("EnvVar", "name"): ENV_NAME,
    ("EnvVar", "value"): QUOTED_TEXT,
    ("EnvFromSource", "prefix"): ENV_NAME,
    ("HTTPHeader", "name"): Text("the name of an HTTP header", r"[-A-Za-z0-9]+"),
    ("Volume", "name"): DNS_LABEL,
    ("VolumeMount", "name"): DNS_LABEL,
    ("VolumeMount", "mountPath"): Text("a path without ':'", r"[^:]+"),
    ("VolumeMount", "subPath"): Text("a relative path without '..'", r"(?!/)(?!(.*/)?\.\.(/|$)).*"),
    ("VolumeMount", "subPathExpr"): Text("a relative path without '..'", r"(?!/)(?!(.*/)?\.\.(/|$)).*"),
    ("VolumeDevice", "name"): DNS_LABEL,
    ("VolumeDevice", "devicePath"): Text("a path without ':' and '..'", r"(?!(.*/)?\.\.(/|$))[^:]+"),
    ("Lifecycle", "stopSignal"): Text(
        "a signal such as SIGTERM",
        r"SIG(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM"
        r"|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?)",
    ),
    ("KeyToPath", "path"): _RELATIVE_PATH,
    ("KeyToPath", "key"): SECRET_KEY,
    ("DownwardAPIVolumeFile", "path"): _RELATIVE_PATH,
    ("ServiceAccountTokenProjection", "path"): _RELATIVE_PATH,
    ("ClusterTrustBundleProjection", "path"): _RELATIVE_PATH,
    ("FileKeySelector", "path"): _RELATIVE_PATH,
    ("FileKeySelector", "key"): ENV_NAME,
    ("FileKeySelector", "volumeName"): DNS_LABEL,
    ("SecretKeySelector", "key"): SECRET_KEY,
    ("ConfigMapKeySelector", "key"): SECRET_KEY,
    ("SecretKeySelector", "name"): DNS_SUBDOMAIN,
    ("ConfigMapKeySelector", "name"): DNS_SUBDOMAIN,
    ("SecretProjection", "name"): DNS_SUBDOMAIN,
    ("ConfigMapProjection", "name"): DNS_SUBDOMAIN,
    ("ConfigMapVolumeSource", "name"): DNS_SUBDOMAIN,
    ("ConfigMapEnvSource", "name"): DNS_SUBDOMAIN,
    ("SecretEnvSource", "name"): DNS_SUBDOMAIN,
    ("SecretVolumeSource", "secretName"): DNS_SUBDOMAIN,
    ("LocalObjectReference", "name"): DNS_SUBDOMAIN,
    ("PersistentVolumeClaimVolumeSource", "claimName"): DNS_SUBDOMAIN,
    ("PersistentVolumeClaimSpec", "storageClassName"): DNS_SUBDOMAIN,
    ("NFSVolumeSource", "path"): _ABSOLUTE_PATH,
    ("PodResourceClaim", "name"): DNS_LABEL,
    ("PodResourceClaim", "resourceClaimName"): DNS_SUBDOMAIN,
    ("PodResourceClaim", "resourceClaimTemplateName"): DNS_SUBDOMAIN,
    ("ResourceClaim", "name"): DNS_LABEL,
    ("ResourceClaim", "request"): DNS_LABEL,
    ("PodSpec", "nodeName"): DNS_SUBDOMAIN,
    ("PodSpec", "serviceAccountName"): DNS_SUBDOMAIN,
    ("PodSpec", "priorityClassName"): DNS_SUBDOMAIN,
    ("PodSpec", "runtimeClassName"): DNS_SUBDOMAIN,
    ("PodSpec", "hostname"): DNS_LABEL,
    ("PodSpec", "hostnameOverride"): Text("a DNS name of at most 64 characters", _SUBDOMAIN, 64),
    ("PodSpec", "subdomain"): DNS_LABEL,
    ("PodReadinessGate", "conditionType"): QUALIFIED_NAME,
    ("PodSchedulingGate", "name"): QUALIFIED_NAME,
    ("PodDNSConfig", "searches"): Text("a DNS name", rf"\.|_?{_SUBDOMAIN.replace('[a-z0-9]', '[a-z0-9_]')}\.?", 253),
    ("HostAlias", "hostnames"): DNS_SUBDOMAIN,
    ("Sysctl", "name"): Text(
        "the name of a sysctl", r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*", 253
    ),
    ("Toleration", "key"): QUALIFIED_NAME,
    ("Toleration", "value"): LABEL_VALUE,
    ("LabelSelectorRequirement", "key"): QUALIFIED_NAME,
    ("NodeSelectorRequirement", "key"): QUALIFIED_NAME,
    ("PodAffinityTerm", "topologyKey"): QUALIFIED_NAME,
    ("PodAffinityTerm", "namespaces"): DNS_LABEL,
    ("PodAffinityTerm", "matchLabelKeys"): QUALIFIED_NAME,
    ("PodAffinityTerm", "mismatchLabelKeys"): QUALIFIED_NAME,
    ("TopologySpreadConstraint", "topologyKey"): QUALIFIED_NAME,
    ("TopologySpreadConstraint", "matchLabelKeys"): QUALIFIED_NAME,
}

_LABEL_MAPS = {("LabelSelector", "matchLabels"), ("PodSpec", "nodeSelector")}


@dataclass(frozen=True)
class Kubernetes:
    """A value of one of Kubernetes' own types, verbatim: unknown fields, types, enums and bounds are checked.

    :param type_name: the name in C(_kubernetes_types), or C([X]) for a list.
    :param partial: required fields may be missing, because the value is merged into a complete one.
    """

    type_name: str
    partial: bool = False

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The value as plain data, numbers and booleans as the server wants them."""
        return _value(self.type_name, ("", ""), node, problems, self.partial)

    def describe(self) -> str:
        """The type as the Kubernetes documentation names it."""
        if self.type_name.startswith("["):
            return f"a list of Kubernetes {self.type_name.strip('[]').partition('@')[0]}"
        return f"a Kubernetes {self.type_name}"


@dataclass(frozen=True)
class VolumeSource:
    """What a volume is made of, without its name."""

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The source as plain data."""
        if not isinstance(node, Branch):
            return refuse(self, node, problems)
        if "name" in node.children:
            problems.add(node.children["name"].path, "the volume's name is ours; leave it out.")
            return INVALID
        named = Branch({**node.children, "name": Leaf("volume", node.path)}, node.path)
        volume = Kubernetes("Volume")(named, problems)
        return volume if isinstance(volume, Invalid) else {key: item for key, item in volume.items() if key != "name"}

    def describe(self) -> str:
        """Always the same."""
        return "one source of a Kubernetes Volume, such as {emptyDir: {}}"


@dataclass(frozen=True)
class _Raw:
    """A raw value that is only described."""

    rule: str

    def __call__(self, node: Node, problems: Problems) -> Any:
        return plain(node)

    def describe(self) -> str:
        return self.rule


def _value(kind: str, field: tuple[str, str], node: Node, problems: Problems, partial: bool) -> Any:
    kind = kind.rstrip("!")
    if kind.startswith("["):
        return _list(kind[1:-1].split("@")[0], field, node, problems, partial, kind)
    if kind.startswith("map "):
        return _map(kind[4:], field, node, problems)
    if kind in TYPES:
        return _object(kind, node, problems, partial)
    return _scalar(kind, field, node, problems)


def _list(element: str, field: tuple[str, str], node: Node, problems: Problems, partial: bool, kind: str) -> Any:
    if not isinstance(node, Leaf) or not isinstance(node.value, (list, tuple)):
        return refuse(_Raw("a list"), node, problems)
    values = [_value(element, field, child, problems, partial) for child in elements(node)]
    if any(isinstance(value, Invalid) for value in values):
        return INVALID
    # kubernetes.core merges ports by their number alone, so that a second protocol would go at the second run.
    merge_key = "containerPort" if element == "ContainerPort" else kind.rstrip("]").partition("@")[2]
    names = [value.get(merge_key) for value in values if isinstance(value, dict)] if merge_key else []
    twice = sorted({str(name) for name in names if name is not None and names.count(name) > 1})
    if twice:
        problems.add(node.path, f"{merge_key} {', '.join(twice)} is written here more than once; write it once.")
        return INVALID
    return values


def _map(element: str, field: tuple[str, str], node: Node, problems: Problems) -> Any:
    if field in _LABEL_MAPS:
        return MapOf(QUALIFIED_NAME, LABEL_VALUE)(node, problems)
    if element == "Quantity":
        amounts = MapOf(QUALIFIED_NAME, Quantity())(node, problems)
        is_container = field[0] == "ResourceRequirements" and not isinstance(amounts, Invalid)
        faults = [
            (child.path, fault)
            for name, child in (items(node) if is_container else ())
            if (fault := resource_fault(name, plain(child)))
        ]
        for path, fault in faults:
            problems.add(path, fault)
        return INVALID if faults else amounts
    return MapOf(QUOTED_TEXT, QUOTED_TEXT)(node, problems)


def _object(kind: str, node: Node, problems: Problems, partial: bool) -> Any:
    if isinstance(node, Leaf) and not isinstance(node.value, Mapping):
        return refuse(_Raw(f"a dict with the fields of a Kubernetes {kind}"), node, problems)
    fields = TYPES[kind]
    result: dict[str, Any] = {}
    valid = True
    for name in _nulls(kind, node, partial):
        if name in fields:
            result[name] = None
    for name, child in items(node):
        if name not in fields:
            unknown_key(f"a Kubernetes {kind}", name, child.path, set(fields), problems)
            valid = False
            continue
        if (kind, name) in REFUSED:
            problems.add(child.path, f"{name} does not belong here: {REFUSED[kind, name]}")
            valid = False
            continue
        value = _value(fields[name], (kind, name), child, problems, partial)
        valid = valid and not isinstance(value, Invalid)
        result[name] = value
    if not valid:
        return INVALID
    missing = [name for name in _required(kind) if name not in result]
    # Lists that merge by a key need the key even where the rest may be missing.
    if missing and not (partial and not (kind in ("Container", "Volume", "EnvVar") and "name" in missing)):
        problems.add(node.path, f"the Kubernetes {kind} {show(node)} lacks {', '.join(missing)}.")
        return INVALID
    fault = fault_of(kind, {name: item for name, item in result.items() if item is not None}, partial)
    if fault:
        problems.add(node.path, fault)
        return INVALID
    return result


@cache
def _required(kind: str) -> tuple[str, ...]:
    """Fields that a type must have."""
    return (*(name for name, field_type in TYPES[kind].items() if field_type.endswith("!")), *REQUIRED.get(kind, ()))


#: Types whose fields a null takes out, whatever lies below.
_REMOVABLE = ("Capabilities", "PodSecurityContext", "SecurityContext")


def _nulls(kind: str, node: Node, partial: bool) -> list[str]:
    """Fields that are written as null to take a default out; elsewhere a null means that nobody wrote anything."""
    children: Mapping[str, Any] = node.children if isinstance(node, Branch) else node.value
    names = [
        name for name, child in children.items() if child is None or (isinstance(child, Leaf) and child.value is None)
    ]
    if kind in _REMOVABLE:
        return names
    # A null list would take out what we need ourselves, such as all containers.
    removable = partial and kind in ("PodSpec", "Container")
    return [name for name in names if removable and not TYPES[kind].get(name, "[").startswith("[")]


def _scalar(kind: str, field: tuple[str, str], node: Node, problems: Problems) -> Any:
    enum = _ENUMS.get(field)
    value = node.value if isinstance(node, Leaf) else None
    if enum and value not in enum:
        return refuse(_Raw(f"one of {', '.join(word or repr(word) for word in enum)}"), node, problems)
    if kind == "bool":
        flag = as_flag(node)
        return refuse(_Raw("true or false"), node, problems) if flag is None else flag
    if kind in ("int", "number"):
        return _bounded(field, node, problems)
    if kind == "Quantity":
        return Quantity()(node, problems)
    if kind == "IntOrString":
        return (PortOrName() if field[1] == "port" else CountOrPercent())(node, problems)
    if field == ("Container", "image"):
        return IMAGE(node, problems)
    if not isinstance(value, str):
        return refuse(_PATTERNS.get(field, QUOTED_TEXT), node, problems)
    return _PATTERNS.get(field, QUOTED_TEXT)(node, problems)


def _bounded(field: tuple[str, str], node: Node, problems: Problems) -> Any:
    low, high = _BOUNDS.get(field, (-(2**31), 2**63 - 1))
    number = _octal(node) if field[1] in ("defaultMode", "mode") else as_integer(node)
    if number is None or not low <= number <= high:
        rule = f"a whole number from {low} to {high}" if field in _BOUNDS else "a whole number"
        return refuse(_Raw(rule), node, problems)
    return number


def _octal(node: Node) -> int | None:
    """A file mode. Text such as "0440" is octal, as chmod and Ansible's own modules read it."""
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, str) and re.fullmatch(r"0o?[0-7]{3,4}", value):
        return int(value.replace("o", ""), 8)
    return as_integer(node)


def merge(type_name: str, lower: Any, upper: Any, keep_nulls: bool = False) -> Any:
    """Merge one Kubernetes value over another as a strategic merge does: keyed lists by key, other lists replaced.

    A null on top takes a field out.

    :param type_name: the type of both, as C(_kubernetes_types) names it.
    :param keep_nulls: whether what is taken out stays as a null, because a further value lies below.
    """
    kind = type_name.rstrip("!")
    if kind.startswith("[") and "@" in kind and isinstance(lower, list) and isinstance(upper, list):
        element, key = kind[1:-1].split("@")
        merged = {item.get(key): item for item in lower}
        for item in upper:
            merged[item.get(key)] = merge(element, merged.get(item.get(key), {}), item, keep_nulls)
        return list(merged.values())
    if isinstance(lower, dict) and isinstance(upper, dict):
        fields = TYPES.get(kind, {})
        result = {**lower}
        for key, value in upper.items():
            below = lower.get(key, {} if isinstance(value, dict) else [] if isinstance(value, list) else None)
            result[key] = merge(fields.get(key, ""), below, value, keep_nulls)
        return result if keep_nulls else {key: value for key, value in result.items() if value is not None}
    return upper
