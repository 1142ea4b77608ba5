# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE: values that are Kubernetes' own, checked as an API server 1.36 checks them.

kubernetes.core sends objects one by one, so a server's refusal comes when half a fleet is applied.
Names, quantities, enums and field names are therefore checked here, before the first request.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._checks import (
    INVALID,
    Invalid,
    ListOf,
    MapOf,
    Text,
    as_flag,
    as_integer,
    refuse,
    show,
    unknown_key,
)
from ansible_collections.queueops.celery.plugins.module_utils._kubernetes_types import TYPES
from ansible_collections.queueops.celery.plugins.module_utils._layers import Branch, Leaf, Node, elements, items, plain
from ansible_collections.queueops.celery.plugins.module_utils._problems import Problems

#: Our own label domain. Users do not write into it: selectors and prune depend on it.
OWN_DOMAIN = "celery.queueops.io/"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

DNS_LABEL = Text("a DNS label: lower case letters, digits and '-', at most 63 characters", _LABEL, 63)
DNS_SUBDOMAIN = Text("a DNS name: lower case letters, digits, '-' and '.', at most 253 characters", _SUBDOMAIN, 253)
LABEL_VALUE = Text(
    "text of at most 63 letters, digits, '-', '_' and '.', in quotes if it looks like a number or boolean",
    rf"({_QUALIFIED})?",
    63,
)
QUALIFIED_NAME = Text(
    "a name of at most 63 letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'",
    rf"({_SUBDOMAIN}/)?{_QUALIFIED}",
    317,
)
ENV_NAME = Text(
    "a name of letters, digits, '_', '-' and '.' that does not start with a digit", r"[-._A-Za-z][-._A-Za-z0-9]*"
)
QUOTED_TEXT = Text("text, in quotes if it looks like a number or boolean", r".*", 262144)
IMAGE = Text("an image reference such as registry.example/app:1.4", r"\S+")
SECRET_KEY = Text("a key of letters, digits, '-', '_' and '.'", r"[-._a-zA-Z0-9]+", 253)

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))(Ki|Mi|Gi|Ti|Pi|Ei|m|u|n|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?"
)
_SUFFIXES: dict[str, Decimal] = {
    "": Decimal(1),
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m"), -3)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
}

#: Words that the server accepts, by type and field. The schema does not name them.
_ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("Container", "imagePullPolicy"): ("Always", "IfNotPresent", "Never"),
    ("Container", "restartPolicy"): ("Always", "Never", "OnFailure"),
    ("Container", "terminationMessagePolicy"): ("File", "FallbackToLogsOnError"),
    ("ContainerPort", "protocol"): ("TCP", "UDP", "SCTP"),
    ("ContainerResizePolicy", "restartPolicy"): ("NotRequired", "RestartContainer"),
    ("DeploymentStrategy", "type"): ("RollingUpdate", "Recreate"),
    ("EmptyDirVolumeSource", "medium"): ("", "Memory"),
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
    ("PodSpec", "dnsPolicy"): ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    ("PodSpec", "preemptionPolicy"): ("Never", "PreemptLowerPriority"),
    # A Deployment's pods always restart.
    ("PodSpec", "restartPolicy"): ("Always",),
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
}

#: Text that must follow a pattern, by type and field.
_PATTERNS: dict[tuple[str, str], Text] = {
    ("Container", "name"): DNS_LABEL,
    ("Container", "image"): IMAGE,
    ("ContainerPort", "name"): Text(
        "at most 15 lower case letters, digits and '-'", r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", 15
    ),
    ("EnvVar", "name"): ENV_NAME,
    ("EnvVar", "value"): QUOTED_TEXT,
    ("Volume", "name"): DNS_LABEL,
    ("VolumeMount", "name"): DNS_LABEL,
    ("VolumeMount", "mountPath"): Text("a path without ':'", r"[^:]+"),
    ("VolumeMount", "subPath"): Text("a relative path without '..'", r"(?!/)(?!(.*/)?\.\.(/|$)).*"),
    ("KeyToPath", "path"): Text("a relative path without '..'", r"(?!/)(?!(.*/)?\.\.(/|$)).+"),
    ("KeyToPath", "key"): SECRET_KEY,
    ("SecretKeySelector", "key"): SECRET_KEY,
    ("ConfigMapKeySelector", "key"): SECRET_KEY,
    ("SecretKeySelector", "name"): DNS_SUBDOMAIN,
    ("ConfigMapKeySelector", "name"): DNS_SUBDOMAIN,
    ("ConfigMapVolumeSource", "name"): DNS_SUBDOMAIN,
    ("ConfigMapEnvSource", "name"): DNS_SUBDOMAIN,
    ("SecretEnvSource", "name"): DNS_SUBDOMAIN,
    ("SecretVolumeSource", "secretName"): DNS_SUBDOMAIN,
    ("LocalObjectReference", "name"): DNS_SUBDOMAIN,
    ("PersistentVolumeClaimVolumeSource", "claimName"): DNS_SUBDOMAIN,
    ("PodSpec", "nodeName"): DNS_SUBDOMAIN,
    ("PodSpec", "serviceAccountName"): DNS_SUBDOMAIN,
    ("PodSpec", "priorityClassName"): DNS_SUBDOMAIN,
    ("PodSpec", "hostname"): DNS_LABEL,
    ("PodSpec", "subdomain"): DNS_LABEL,
    ("LabelSelectorRequirement", "key"): QUALIFIED_NAME,
    ("NodeSelectorRequirement", "key"): QUALIFIED_NAME,
    ("PodAffinityTerm", "topologyKey"): QUALIFIED_NAME,
    ("TopologySpreadConstraint", "topologyKey"): QUALIFIED_NAME,
}

_LABEL_MAPS = {("LabelSelector", "matchLabels"), ("PodSpec", "nodeSelector")}

#: Types that hold exactly one of their fields, apart from those named.
_ONE_OF: dict[str, frozenset[str]] = {
    "Volume": frozenset({"name"}),
    "LifecycleHandler": frozenset(),
    "EnvVarSource": frozenset(),
    "VolumeProjection": frozenset(),
    "EnvFromSource": frozenset({"prefix"}),
}


def quantity(value: Any) -> Decimal | None:
    """What a Kubernetes quantity stands for, in bytes or cores; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return number * Decimal(10) ** int(suffix[1:])
    return number * _SUFFIXES[suffix]


@dataclass(frozen=True)
class Quantity:
    """A quantity such as 500m, 2 or 1.5Gi; negative ones are refused, as for resources."""

    def __call__(self, node: Node, problems: Problems) -> str | Invalid:
        """The quantity as text, as written."""
        value = node.value if isinstance(node, Leaf) else None
        amount = quantity(value)
        return refuse(self, node, problems) if amount is None or amount < 0 else str(value)

    def describe(self) -> str:
        """Always the same."""
        return "a quantity such as 500m, 2 or 1.5Gi"


@dataclass(frozen=True)
class CountOrPercent:
    """A whole number, or a percentage in quotes."""

    def __call__(self, node: Node, problems: Problems) -> int | str | Invalid:
        """The number, or the percentage as text."""
        number = as_integer(node)
        if number is not None and number >= 0:
            return number
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, str) and re.fullmatch(r"\d{1,3}%", value) and int(value[:-1]) <= 100:
            return str(value)
        return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return 'a whole number or a percentage from "0%" to "100%"'


@dataclass(frozen=True)
class PortOrName:
    """A port number or the name of a container's port."""

    def __call__(self, node: Node, problems: Problems) -> int | str | Invalid:
        """The number or name."""
        number = as_integer(node)
        if number is not None and 1 <= number <= 65535:
            return number
        value = node.value if isinstance(node, Leaf) else None
        if (
            isinstance(value, str)
            and re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?", value)
            and len(value) <= 15
        ):
            return str(value)
        return refuse(self, node, problems)

    def describe(self) -> str:
        """Always the same."""
        return "a port from 1 to 65535 or the name of one"


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
        problems.add(node.path, f"{merge_key} {', '.join(twice)} stands here more than once; write it once.")
        return INVALID
    return values


def _map(element: str, field: tuple[str, str], node: Node, problems: Problems) -> Any:
    if field in _LABEL_MAPS:
        return MapOf(QUALIFIED_NAME, LABEL_VALUE)(node, problems)
    if element == "Quantity":
        return MapOf(QUALIFIED_NAME, Quantity())(node, problems)
    return MapOf(QUOTED_TEXT, QUOTED_TEXT)(node, problems)


def _object(kind: str, node: Node, problems: Problems, partial: bool) -> Any:
    if isinstance(node, Leaf) and not isinstance(node.value, Mapping):
        return refuse(_Raw(f"a dict with the fields of a Kubernetes {kind}"), node, problems)
    fields = TYPES[kind]
    result: dict[str, Any] = {}
    valid = True
    for name, child in items(node):
        if name not in fields:
            unknown_key(f"a Kubernetes {kind}", name, child.path, set(fields), problems)
            valid = False
            continue
        value = _value(fields[name], (kind, name), child, problems, partial)
        valid = valid and not isinstance(value, Invalid)
        result[name] = value
    if not valid:
        return INVALID
    missing = [name for name, field_type in fields.items() if field_type.endswith("!") and name not in result]
    # Lists that merge by a key need the key even where the rest may be missing.
    if missing and not (partial and not (kind in ("Container", "Volume", "EnvVar") and "name" in missing)):
        problems.add(node.path, f"the Kubernetes {kind} {show(node)} lacks {', '.join(missing)}.")
        return INVALID
    return result if _consistent(kind, result, node, problems, partial) else INVALID


def _consistent(kind: str, value: dict[str, Any], node: Node, problems: Problems, partial: bool) -> bool:
    """Rules between the fields of one object that the schema does not hold."""
    message = None
    if kind in _ONE_OF and not partial:
        sources = sorted(set(value) - _ONE_OF[kind])
        if len(sources) != 1:
            message = (
                f"write exactly one source, not {len(sources)}{' (' + ', '.join(sources) + ')' if sources else ''}."
            )
    if kind == "EnvVar" and value.get("value") and "valueFrom" in value:
        message = "write value or valueFrom, not both."
    if kind == "Toleration" and value.get("operator") == "Exists" and value.get("value"):
        message = "operator Exists takes no value; leave value out or write operator: Equal."
    if kind == "Toleration" and not value.get("key") and value.get("operator", "") in ("", "Equal"):
        message = "a toleration without key needs operator: Exists."
    if kind == "Toleration" and "tolerationSeconds" in value and value.get("effect") != "NoExecute":
        message = "tolerationSeconds needs effect: NoExecute."
    if kind in ("LabelSelectorRequirement", "NodeSelectorRequirement"):
        message = _selector_values(value)
    if kind == "HPAScalingRules" and value.get("policies") == []:
        message = "write at least one policy, or leave policies out."
    if kind == "ResourceRequirements":
        message = _requests_within_limits(value)
    if kind == "DeploymentStrategy" and value.get("type") == "Recreate" and value.get("rollingUpdate"):
        message = "type Recreate takes no rollingUpdate; leave it out."
    steps = {str(value.get(name, 1)) for name in ("maxSurge", "maxUnavailable")}
    if kind == "RollingUpdateDeployment" and steps <= {"0", "0%"}:
        message = "maxSurge and maxUnavailable cannot both be 0; nothing could ever be replaced."
    if kind == "Probe" and not partial and len({"exec", "grpc", "httpGet", "tcpSocket"} & set(value)) != 1:
        message = "write exactly one of exec, grpc, httpGet and tcpSocket."
    if kind == "HostAlias" and not is_address(value.get("ip")):
        message = f"{value.get('ip')!r} is not an IP address."
    if message:
        problems.add(node.path, message)
    return message is None


def _selector_values(value: dict[str, Any]) -> str | None:
    operator, values = value.get("operator"), value.get("values") or []
    if operator in ("In", "NotIn") and not values:
        return f"operator {operator} needs values."
    if operator in ("Exists", "DoesNotExist") and values:
        return f"operator {operator} takes no values; leave them out."
    if operator in ("Gt", "Lt") and (len(values) != 1 or not re.fullmatch(r"-?\d+", values[0])):
        return f"operator {operator} needs exactly one whole number, in quotes."
    return None


def _requests_within_limits(value: dict[str, Any]) -> str | None:
    requests, limits = value.get("requests", {}), value.get("limits", {})
    for name, request in requests.items():
        limit = limits.get(name)
        if limit is not None and (quantity(request) or 0) > (quantity(limit) or 0):
            return f"the {name} request {request} is above its limit {limit}."
    return None


def is_address(value: Any) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


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


def merge(type_name: str, lower: Any, upper: Any) -> Any:
    """Merge one Kubernetes value over another as a strategic merge does: keyed lists by key, other lists replaced.

    :param type_name: the type of both, as C(_kubernetes_types) names it.
    """
    kind = type_name.rstrip("!")
    if kind.startswith("[") and "@" in kind and isinstance(lower, list) and isinstance(upper, list):
        element, key = kind[1:-1].split("@")
        merged = {item.get(key): item for item in lower}
        for item in upper:
            name = item.get(key)
            merged[name] = merge(element, merged[name], item) if name in merged else item
        return list(merged.values())
    if isinstance(lower, dict) and isinstance(upper, dict):
        fields = TYPES.get(kind, {})
        return {
            **lower,
            **{
                key: merge(fields.get(key, ""), lower[key], value) if key in lower else value
                for key, value in upper.items()
            },
        }
    return upper


def not_ours(name: str) -> str | None:
    """Why a label may not be written by users, if so."""
    if name.startswith(OWN_DOMAIN):
        return f"labels of {OWN_DOMAIN} are ours: selectors and prune depend on them. Use a label domain of your own."
    return None


LABELS = MapOf(QUALIFIED_NAME, LABEL_VALUE, not_ours)
ANNOTATIONS = MapOf(QUALIFIED_NAME, QUOTED_TEXT, not_ours)
SECRET_NAMES = ListOf(DNS_SUBDOMAIN, unique=True)
