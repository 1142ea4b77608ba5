# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between the fields of one Kubernetes object that its schema does not hold.

They follow the validation of an API server 1.36. Rules between the objects of a pod are in _pod_rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from .quantities import (
    quantity,
    requirements_fault,
)

Value = Mapping[str, Any]

#: Fields that a server asks for although the schema does not, by type.
REQUIRED: dict[str, tuple[str, ...]] = {
    "CephFSVolumeSource": ("monitors",),
    "ConfigMapEnvSource": ("name",),
    "ConfigMapKeySelector": ("name",),
    "ConfigMapProjection": ("name",),
    "ConfigMapVolumeSource": ("name",),
    "EphemeralVolumeSource": ("volumeClaimTemplate",),
    "ExecAction": ("command",),
    "ImageVolumeSource": ("reference",),
    "LocalObjectReference": ("name",),
    "PersistentVolumeClaimSpec": ("accessModes", "resources"),
    "ProjectedVolumeSource": ("sources",),
    "SecretEnvSource": ("name",),
    "SecretKeySelector": ("name",),
    "SecretProjection": ("name",),
    "SecretVolumeSource": ("secretName",),
    "VolumeResourceRequirements": ("requests",),
}

#: Fields that a pod of a Deployment cannot have, and why.
REFUSED: dict[tuple[str, str], str] = {
    ("Container", "restartPolicyRules"): "it is for pods that end, and those of a Deployment always restart; leave it "
    "out.",
    ("PodSpec", "activeDeadlineSeconds"): "it is for pods that end, and those of a Deployment always restart; leave it "
    "out.",
    ("PodSpec", "overhead"): "the RuntimeClass sets it; write runtimeClassName.",
    ("PodSpec", "priority"): "the PriorityClass sets it; write priorityClassName.",
    ("PodSpec", "serviceAccount"): "Kubernetes has renamed it; write serviceAccountName.",
    ("WindowsSecurityContextOptions", "hostProcess"): "it is for Windows nodes, where these containers do not run; "
    "leave it out.",
}

#: Types that hold exactly one of their fields, apart from those named.
_ONE_OF: dict[str, frozenset[str]] = {
    "Volume": frozenset({"name"}),
    "LifecycleHandler": frozenset(),
    "EnvVarSource": frozenset(),
    "VolumeProjection": frozenset(),
    "EnvFromSource": frozenset({"prefix"}),
    "DownwardAPIVolumeFile": frozenset({"path", "mode"}),
    "PodResourceClaim": frozenset({"name"}),
}

#: Volumes whose drivers are no longer part of Kubernetes. A server takes them, and no pod with one starts.
_REMOVED_VOLUMES = (
    "cephfs",
    "flocker",
    "gitRepo",
    "glusterfs",
    "photonPersistentDisk",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
)
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")

#: What a variable and what a file of the downward API can hold.
_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_FILE_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_SUBSCRIPT = re.compile(r"metadata\.(annotations|labels)\['[^']+'\]")
_RESOURCE_FIELD = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-\S+)")


def fault_of(kind: str, value: Value, partial: bool) -> str | None:
    """Why an object with sound fields is not sound itself, in a sentence.

    :param kind: its type, as C(_kubernetes_types) names it.
    :param partial: whether it is merged into a complete one, so that what is missing may still come.
    """
    if kind in _ONE_OF and not partial:
        sources = sorted(set(value) - _ONE_OF[kind])
        if len(sources) != 1:
            named = f" ({', '.join(sources)})" if sources else ""
            return f"write exactly one source, not {len(sources)}{named}."
    rule = _RULES.get(kind)
    found = rule(value) if rule else None
    if found is None and not partial:
        rule = _COMPLETE_RULES.get(kind)
        found = rule(value) if rule else None
    return found


def is_address(value: Any) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def _container(value: Value) -> str | None:
    names = Counter(port["name"] for port in value.get("ports", []) if "name" in port)
    twice = sorted(name for name, number in names.items() if number > 1)
    if twice:
        return f"the port name {', '.join(twice)} is taken; every port of a container has its own."
    for probe in ("startupProbe", "livenessProbe"):
        if value.get(probe, {}).get("successThreshold", 1) != 1:
            return f"successThreshold of {probe} must be 1."
    if "terminationGracePeriodSeconds" in value.get("readinessProbe", {}):
        return "readinessProbe takes no terminationGracePeriodSeconds; leave it out."
    devices = {item["devicePath"] for item in value.get("volumeDevices", [])}
    both = sorted(devices & {item["mountPath"] for item in value.get("volumeMounts", [])})
    if both:
        return f"{', '.join(both)} is the path of a mount and of a device; choose another."
    return None


def _privileges(value: Value) -> str | None:
    added = [name for name in value.get("capabilities", {}).get("add", []) if name in ("SYS_ADMIN", "CAP_SYS_ADMIN")]
    if value.get("allowPrivilegeEscalation") is False and (value.get("privileged") or added):
        what = "privileged: true" if value.get("privileged") else f"the capability {added[0]}"
        return (
            f"{what} and allowPrivilegeEscalation: false exclude each other; write allowPrivilegeEscalation: true "
            f"beside it, or leave {what} out."
        )
    return _profiles(value)


def _pod_security(value: Value) -> str | None:
    names = [item["name"] for item in value.get("sysctls", [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"the sysctl {', '.join(twice)} is here more than once; write it once." if twice else _profiles(value)


def _profiles(value: Value) -> str | None:
    """A security context that must not run as root cannot name root."""
    if value.get("runAsNonRoot") and value.get("runAsUser") == 0:
        return (
            "runAsUser 0 is root, and runAsNonRoot keeps the pod from starting; name another user, or write "
            "runAsNonRoot: false."
        )
    return None


def _profile(value: Value) -> str | None:
    kind, name = value.get("type"), value.get("localhostProfile")
    if kind == "Localhost" and not name:
        return "type Localhost needs localhostProfile, the profile's path on the node."
    if kind is not None and kind != "Localhost" and "localhostProfile" in value:
        return "localhostProfile belongs to type Localhost; leave it out, or write type: Localhost."
    return None


def _seccomp_profile(value: Value) -> str | None:
    path = value.get("localhostProfile") or ""
    if path.startswith("/") or ".." in path.split("/"):
        return f"localhostProfile {path!r} must be a relative path without '..'."
    return _profile(value)


def _volume(value: Value) -> str | None:
    for name in _REMOVED_VOLUMES:
        if name in value:
            return f"Kubernetes has no driver for {name} any more; use a persistentVolumeClaim or csi."
    return None


def _volume_mount(value: Value) -> str | None:
    if value.get("subPath") and value.get("subPathExpr"):
        return "write subPath or subPathExpr, not both."
    recursive = value.get("recursiveReadOnly", "Disabled")
    if recursive != "Disabled" and not value.get("readOnly"):
        return f"recursiveReadOnly {recursive} needs readOnly: true."
    if recursive != "Disabled" and value.get("mountPropagation", "None") != "None":
        return f"recursiveReadOnly {recursive} takes no mountPropagation; leave it out."
    return None


def _projected(value: Value) -> str | None:
    sources = value.get("sources", [])
    paths: list[str] = []
    for source in sources:
        for item in source.values():
            if isinstance(item, Mapping):
                paths += [entry["path"] for entry in item.get("items", []) if "path" in entry]
                paths += [item["path"]] if "path" in item else []
    twice = sorted(path for path, number in Counter(paths).items() if number > 1)
    return f"the path {', '.join(twice)} is in more than one source; choose another." if twice else None


def _trust_bundle(value: Value) -> str | None:
    if len({"name", "signerName"} & set(value)) != 1:
        return "write name or signerName, exactly one of them."
    if "labelSelector" in value and "name" in value:
        return "labelSelector goes with signerName, not with name."
    return None


def _env_var(value: Value) -> str | None:
    if value.get("value") and "valueFrom" in value:
        return "write value or valueFrom, not both."
    return None


def _env_source(value: Value) -> str | None:
    path = value.get("fieldRef", {}).get("fieldPath")
    if path is not None and path not in _ENV_FIELDS and not _SUBSCRIPT.fullmatch(path):
        return (
            f"fieldPath {path!r} is none that a variable can hold; write one of {', '.join(_ENV_FIELDS)}, "
            "metadata.labels['<name>'] or metadata.annotations['<name>']."
        )
    return None


def _downward_file(value: Value) -> str | None:
    path = value.get("fieldRef", {}).get("fieldPath")
    if path is not None and path not in _FILE_FIELDS and not _SUBSCRIPT.fullmatch(path):
        return f"fieldPath {path!r} is none that a file can hold; write one of {', '.join(_FILE_FIELDS)}."
    if "resourceFieldRef" in value and not value["resourceFieldRef"].get("containerName"):
        return "resourceFieldRef of a file needs containerName."
    return None


def _resource_field(value: Value) -> str | None:
    resource, divisor = str(value.get("resource", "")), value.get("divisor")
    if not _RESOURCE_FIELD.fullmatch(resource):
        return f"{resource!r} is no resource of a container; write limits.cpu, requests.memory and the like."
    amounts = ("1m", "1", "0") if resource.endswith(".cpu") else _UNITS
    if divisor is not None and quantity(divisor) not in [quantity(amount) for amount in amounts]:
        return f"divisor {divisor} does not go with {resource}; write {' or '.join(amounts[:2])}."
    return None


_UNITS = ("1", "1Mi", "0", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Gi", "1Ti", "1Pi", "1Ei")


def _toleration(value: Value) -> str | None:
    operator, key = value.get("operator", ""), value.get("key")
    if operator in ("Lt", "Gt"):
        return f"operator {operator} needs a feature gate that servers have off; write Exists or Equal."
    if operator == "Exists" and value.get("value"):
        return "operator Exists takes no value; leave value out or write operator: Equal."
    if not key and operator != "Exists":
        return "a toleration without key needs operator: Exists."
    if "tolerationSeconds" in value and value.get("effect") != "NoExecute":
        return "tolerationSeconds needs effect: NoExecute."
    return None


_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _label_requirement(value: Value) -> str | None:
    operator, values = value.get("operator"), value.get("values") or []
    if operator in ("In", "NotIn") and not values:
        return f"operator {operator} needs values."
    if operator in ("Exists", "DoesNotExist") and values:
        return f"operator {operator} takes no values; leave them out."
    if operator in ("Gt", "Lt") and (len(values) != 1 or not re.fullmatch(r"-?\d{1,18}", values[0])):
        return f"operator {operator} needs exactly one whole number, in quotes."
    wrong = [text for text in values if not _LABEL_VALUE.fullmatch(text)]
    if wrong and operator in ("In", "NotIn"):
        return f"{wrong[0]!r} is no value of a label: at most 63 letters, digits, '-', '_' and '.'."
    return None


def _node_term(value: Value) -> str | None:
    for item in value.get("matchFields", []):
        if item.get("key") != "metadata.name":
            return "matchFields knows the key metadata.name only; labels go into matchExpressions."
        if item.get("operator") not in ("In", "NotIn") or len(item.get("values", [])) != 1:
            return "matchFields takes operator In or NotIn with exactly one value."
    return _old_labels(item.get("key", "") for item in value.get("matchExpressions", []))


#: Labels of nodes that Kubernetes has renamed. A server warns of them, and new nodes may not have them.
_RENAMED_LABELS = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _old_labels(keys: Any) -> str | None:
    for name in keys:
        if name in _RENAMED_LABELS:
            return f"the label {name} of a node is out of date; write {_RENAMED_LABELS[name]}."
    return None


def _node_selector(value: Value) -> str | None:
    return None if value.get("nodeSelectorTerms") else "nodeSelectorTerms needs at least one term."


def _affinity_term(value: Value) -> str | None:
    selector = value.get("labelSelector")
    if selector is None:
        return "without labelSelector the term matches no pod; write which pods it is about."
    same, other = set(value.get("matchLabelKeys", [])), set(value.get("mismatchLabelKeys", []))
    if same & other:
        return f"{', '.join(sorted(same & other))} is in matchLabelKeys and in mismatchLabelKeys; write it once."
    return _old_labels([value.get("topologyKey")]) or _keys_in_selector({*same, *other}, selector)


def _keys_in_selector(keys: set[str], selector: Value) -> str | None:
    named = {*selector.get("matchLabels", {}), *(item.get("key") for item in selector.get("matchExpressions", []))}
    both = sorted(keys & named)
    return f"{', '.join(both)} of matchLabelKeys is in labelSelector already; write it once." if both else None


def _spread(value: Value) -> str | None:
    if "minDomains" in value and value.get("whenUnsatisfiable") != "DoNotSchedule":
        return "minDomains needs whenUnsatisfiable: DoNotSchedule."
    found = _old_labels([value.get("topologyKey")])
    return found or _keys_in_selector(set(value.get("matchLabelKeys", [])), value.get("labelSelector", {}))


def _resize_policies(value: Value) -> str | None:
    wrong = value.get("resourceName") not in ("cpu", "memory")
    return f"resourceName {value.get('resourceName')!r} must be cpu or memory." if wrong else None


def _resources(value: Value) -> str | None:
    claims = [(item["name"], item.get("request")) for item in value.get("claims", [])]
    twice = sorted({name for name, request in claims if claims.count((name, request)) > 1})
    if twice:
        return f"the claim {', '.join(twice)} is written here more than once; write it once."
    return requirements_fault(value)


def _volume_resources(value: Value) -> str | None:
    for name, amounts in value.items():
        if set(amounts) != {"storage"}:
            return f"{name} of a volume has storage, and nothing else."
    size = quantity(value.get("requests", {}).get("storage"))
    if not size or size != size.to_integral_value():
        return "requests.storage must be a whole number of bytes above 0, such as 1Gi."
    return None


def _strategy(value: Value) -> str | None:
    if value.get("type") == "Recreate" and "rollingUpdate" in value:
        return "type Recreate takes no rollingUpdate; leave it out."
    return None


def _rolling_update(value: Value) -> str | None:
    steps = {str(value.get(name, 1)) for name in ("maxSurge", "maxUnavailable")}
    if all(re.fullmatch(r"0+%?", step) for step in steps):
        return "maxSurge and maxUnavailable cannot both be 0; nothing could ever be replaced."
    return None


def _probe(value: Value) -> str | None:
    return None if len(set(_HANDLERS) & set(value)) == 1 else "write exactly one of exec, grpc, httpGet and tcpSocket."


def _host_alias(value: Value) -> str | None:
    return None if is_address(value.get("ip")) else f"{value.get('ip')!r} is not an IP address."


def _dns(value: Value) -> str | None:
    servers = value.get("nameservers", [])
    wrong = [item for item in servers if not is_address(item)]
    if wrong:
        return f"the name server {wrong[0]!r} is not an IP address."
    if len(servers) > 3:
        return f"a pod takes 3 nameservers, not {len(servers)}."
    if len(value.get("searches", [])) > 32:
        return f"a pod takes 32 searches, not {len(value['searches'])}."
    if any(not option.get("name") for option in value.get("options", [])):
        return "an option of dnsConfig needs a name."
    return None


def _port(value: Value) -> str | None:
    return f"hostIP {value['hostIP']!r} is not an IP address." if not is_address(value.get("hostIP", "::")) else None


def _host_path(value: Value) -> str | None:
    return "a hostPath takes no '..'." if ".." in str(value.get("path", "")).split("/") else None


def _scaling_rules(value: Value) -> str | None:
    return "write at least one policy, or leave policies out." if value.get("policies") == [] else None


def _claim(value: Value) -> str | None:
    modes = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    wrong = [mode for mode in value.get("accessModes", []) if mode not in modes]
    if wrong or not value.get("accessModes"):
        return f"accessModes needs at least one of {', '.join(modes)}."
    if "ReadWriteOncePod" in value["accessModes"] and len(value["accessModes"]) > 1:
        return "ReadWriteOncePod takes no other access mode beside it."
    return None


def _exec(value: Value) -> str | None:
    return "command needs at least one word." if not value.get("command") else None


def _sources(value: Value) -> str | None:
    return "sources needs at least one source." if not value.get("sources") else None


#: Rules that hold for a part of an object as well.
_RULES: dict[str, Callable[[Value], str | None]] = {
    "AppArmorProfile": _profile,
    "ClusterTrustBundleProjection": _trust_bundle,
    "Container": _container,
    "ContainerPort": _port,
    "ContainerResizePolicy": _resize_policies,
    "DeploymentStrategy": _strategy,
    "DownwardAPIVolumeFile": _downward_file,
    "EnvVar": _env_var,
    "EnvVarSource": _env_source,
    "HPAScalingRules": _scaling_rules,
    "HostAlias": _host_alias,
    "HostPathVolumeSource": _host_path,
    "LabelSelectorRequirement": _label_requirement,
    "NodeSelector": _node_selector,
    "NodeSelectorRequirement": _label_requirement,
    "NodeSelectorTerm": _node_term,
    "PersistentVolumeClaimSpec": _claim,
    "PodAffinityTerm": _affinity_term,
    "PodDNSConfig": _dns,
    "PodSecurityContext": _pod_security,
    "ProjectedVolumeSource": _projected,
    "ResourceFieldSelector": _resource_field,
    "ResourceRequirements": _resources,
    "RollingUpdateDeployment": _rolling_update,
    "SeccompProfile": _seccomp_profile,
    "SecurityContext": _privileges,
    "Toleration": _toleration,
    "TopologySpreadConstraint": _spread,
    "Volume": _volume,
    "VolumeMount": _volume_mount,
    "VolumeResourceRequirements": _volume_resources,
}

#: Rules about what is missing.
_COMPLETE_RULES: dict[str, Callable[[Value], str | None]] = {
    "ExecAction": _exec,
    "Probe": _probe,
    "ProjectedVolumeSource": _sources,
}
