# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server would take a manifest: the strict schemas, and the rules that no schema holds."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._schema.quantities import quantity
from jsonschema import Draft202012Validator
from kubernetes_validate import utils

from tests.schema import scaled_jobs

Manifest = dict[str, Any]

# The library reads its files anew for every object, which takes longer than all that it does with them.
utils.schema_contents = functools.cache(utils.schema_contents)
utils.all_versions = functools.cache(utils.all_versions)

RELEASE = "1.36"
#: CRDs are other projects' files, so they are no part of this repository.
CRDS = Path(__file__).resolve().parents[3] / "shared" / "schemas"
_CRD_FILES = {
    "ScaledObject": "keda.sh_scaledobjects.yaml",
    "TriggerAuthentication": "keda.sh_triggerauthentications.yaml",
    "ServiceMonitor": "monitoring.coreos.com_servicemonitors.yaml",
    "PodMonitor": "monitoring.coreos.com_podmonitors.yaml",
    "PrometheusRule": "monitoring.coreos.com_prometheusrules.yaml",
    "GrafanaDashboard": "grafana.integreatly.org_grafanadashboards.yaml",
}

needs_crds = pytest.mark.skipif(
    not all((CRDS / name).is_file() for name in _CRD_FILES.values()),
    reason="the CRD files are not all in ../shared/schemas",
)

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


def faults_of(manifest: Manifest) -> list[str]:
    """Why a server would refuse a manifest; empty if it would take it."""
    # The further checks rely on the types that the schema promises.
    return _schema_faults(manifest) or [*_name_faults(manifest), *_kind_faults(manifest)]


def assert_accepted(manifests: list[Manifest]) -> None:
    """Every manifest is one that a server takes, and no two are the same object."""
    faults = {f"{item['kind']} {item['metadata']['name']}": faults_of(item) for item in manifests}
    assert {name: found for name, found in faults.items() if found} == {}
    assert len(faults) == len(manifests), f"an object stands twice in {sorted(faults)}"


def _schema_faults(manifest: Manifest) -> list[str]:
    if manifest["kind"] in _CRD_FILES:
        # Not to be checked is for the tests that are marked with needs_crds; the others check what they can.
        if not CRDS.is_dir():
            return []
        served, validator = _crd_validator(manifest["kind"])
        found = [f"the CRD serves {served}"] if manifest["apiVersion"] != served else []
        errors = validator.iter_errors(manifest)
        return [*found, *(f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors)]
    if manifest["kind"] == "HTTPRoute":
        return _route_faults(manifest)
    if manifest["kind"] == "ScaledJob":
        return scaled_jobs.schema_faults(manifest, RELEASE)
    try:
        kubernetes_validate.validate(copy.deepcopy(manifest), RELEASE, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message[:300]}"]
    return []


@functools.cache
def _crd_validator(kind: str) -> tuple[str, Draft202012Validator]:
    """The apiVersion of a kind, and its schema."""
    definition = yaml.safe_load((CRDS / _CRD_FILES[kind]).read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    _close(schema)
    # The names and labels of metadata are checked with those of all other kinds.
    schema["properties"]["metadata"] = {"type": "object"}
    return f"{definition['spec']['group']}/{version['name']}", Draft202012Validator(schema)


def _close(schema: Any) -> None:
    """Forbid unknown keys everywhere, as a server with strict field validation does."""
    if isinstance(schema, dict):
        if "properties" in schema and not {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(
            schema
        ):
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def _name_faults(manifest: Manifest) -> list[str]:
    metadata = manifest["metadata"]
    found = [] if _SUBDOMAIN.fullmatch(metadata["name"]) and len(metadata["name"]) <= 253 else ["no DNS name"]
    spec = manifest.get("spec", {})
    for holder in (metadata, spec.get("jobTargetRef", spec).get("template", {}).get("metadata", {})):
        for name, value in holder.get("labels", {}).items():
            if not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
                found.append(f"no label: {name}={value}")
        for name, value in holder.get("annotations", {}).items():
            if not _LABEL_NAME.fullmatch(name) or not isinstance(value, str):
                found.append(f"no annotation: {name}={value!r}")
    return found


def _kind_faults(manifest: Manifest) -> list[str]:
    if manifest["kind"] == "Deployment":
        return _deployment_faults(manifest)
    if manifest["kind"] == "ScaledObject":
        return _scaled_object_faults(manifest)
    if manifest["kind"] == "ScaledJob":
        template = manifest["spec"]["jobTargetRef"]["template"]
        return [*scaled_jobs.rule_faults(manifest), *_pod_faults(template["spec"])]
    if manifest["kind"] == "Service":
        return _service_faults(manifest)
    if manifest["kind"] == "Ingress":
        paths = [item for rule in manifest["spec"]["rules"] for item in rule["http"]["paths"]]
        return [fault for item in paths for fault in _path_faults(item["path"])]
    if (
        manifest["kind"] == "PodDisruptionBudget"
        and len({"minAvailable", "maxUnavailable"} & set(manifest["spec"])) > 1
    ):
        return ["a budget takes minAvailable or maxUnavailable"]
    return []


def _service_faults(manifest: Manifest) -> list[str]:
    """Checks of the API server on a Service that its schema does not hold. Its name is stricter than that of others."""
    found = (
        [] if re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", manifest["metadata"]["name"]) else ["no DNS-1035 name"]
    )
    ports = manifest["spec"]["ports"]
    names = [port.get("name") for port in ports]
    if len(set(names)) != len(names) or (len(ports) > 1 and None in names):
        found.append(f"the ports need names of their own: {names}")
    return found


def _path_faults(path: str) -> list[str]:
    """What neither an Ingress nor an HTTPRoute takes as an exact path or as a prefix."""
    found = [] if path.startswith("/") else [f"no absolute path: {path!r}"]
    found += [
        f"a path with {part!r}: {path!r}" for part in ("//", "/./", "/../", "%2f", "%5c", "#", " ") if part in path
    ]
    return [*found, *(f"a path that ends in {end!r}: {path!r}" for end in ("/.", "/..") if path.endswith(end))]


#: Keys of an HTTPRoute (Gateway API 1.4, standard channel), and what must be given.
_ROUTE_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "spec": ({"parentRefs", "hostnames", "rules"}, set()),
    "parentRefs": ({"group", "kind", "namespace", "name", "sectionName", "port"}, {"name"}),
    "rules": ({"name", "matches", "filters", "backendRefs", "timeouts"}, set()),
    "matches": ({"path", "headers", "queryParams", "method"}, set()),
    "path": ({"type", "value"}, set()),
    "backendRefs": ({"group", "kind", "namespace", "name", "port", "weight", "filters"}, {"name"}),
}
_ROUTE_LISTS = {"parentRefs": 32, "hostnames": 16, "rules": 16, "matches": 8, "backendRefs": 16}


def _route_faults(manifest: Manifest) -> list[str]:
    """The CRD of HTTPRoute is not at hand, so its shape is written down here."""
    found = [] if manifest["apiVersion"] == "gateway.networking.k8s.io/v1" else ["no apiVersion of HTTPRoute"]
    found += [f"unknown: {name}" for name in set(manifest) - {"apiVersion", "kind", "metadata", "spec"}]
    return [*found, *_route_object_faults("spec", manifest["spec"])]


def _route_object_faults(name: str, value: Manifest) -> list[str]:
    known, required = _ROUTE_KEYS[name]
    found = [f"{name} has no {key}" for key in set(value) - known]
    found += [f"{name} needs {key}" for key in required - set(value)]
    for key, item in value.items():
        if key in _ROUTE_LISTS and (not isinstance(item, list) or not 0 < len(item) <= _ROUTE_LISTS[key]):
            found.append(f"{name}.{key} is no list of 1 to {_ROUTE_LISTS[key]}")
        elif key in _ROUTE_KEYS:
            for child in item if isinstance(item, list) else [item]:
                found += _route_object_faults(key, child)
    names = [value[key] for key in ("name", "namespace", "sectionName") if key in value]
    found += [f"{name} has no name: {item!r}" for item in names if not _SUBDOMAIN.fullmatch(str(item))]
    if name == "spec":
        hosts = [host for host in value.get("hostnames", []) if not _SUBDOMAIN.fullmatch(host) or len(host) > 253]
        found += [f"no host name: {host!r}" for host in hosts]
    if name == "path":
        found += _path_faults(value.get("value", "/"))
        found += [] if value.get("type", "PathPrefix") in ("Exact", "PathPrefix") else [f"no type: {value['type']}"]
        found += [] if len(value.get("value", "/")) <= 1024 else ["a path of more than 1024 characters"]
    if name == "backendRefs" and value.get("kind", "Service") == "Service" and not isinstance(value.get("port"), int):
        found.append("a Service needs a port")
    return found


def _deployment_faults(manifest: Manifest) -> list[str]:
    """Checks of the API server on a Deployment that its schema does not hold."""
    spec = manifest["spec"]
    template = spec["template"]
    found = []
    if not spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        found.append("the selector does not match the labels of the template")
    if spec.get("strategy", {}).get("type") == "Recreate" and spec["strategy"].get("rollingUpdate") is not None:
        found.append("rollingUpdate beside Recreate")
    for name in ("activeDeadlineSeconds", "priority"):
        found += [f"{name} in a Deployment"] if name in template["spec"] else []
    return [*found, *_pod_faults(template["spec"])]


def _pod_faults(pod: Manifest) -> list[str]:
    """The same on a pod."""
    found = []
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    names = [container["name"] for container in containers]
    if len(set(names)) != len(names):
        found.append(f"a container name stands twice: {names}")
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in containers:
        found += _container_faults(container, volumes)
        found += _server_faults(container, pod)
    found += [fault for context in _contexts(pod, containers) for fault in _context_faults(context)]
    for item in pod.get("tolerations", []):
        if item.get("operator") in ("Lt", "Gt") or (not item.get("key") and item.get("operator") != "Exists"):
            found.append(f"no toleration: {item}")
    found += [fault for item in containers for fault in _reference_faults(item)]
    return found


def _contexts(pod: Manifest, containers: list[Manifest]) -> list[Manifest]:
    return [pod.get("securityContext", {}), *(item.get("securityContext", {}) for item in containers)]


def _context_faults(context: Manifest) -> list[str]:
    """Security contexts that a server or a kubelet refuses."""
    found = []
    for name in ("seccompProfile", "appArmorProfile"):
        profile = context.get(name, {})
        if profile and (profile.get("type") == "Localhost") != bool(profile.get("localhostProfile")):
            found.append(f"{name}: {profile}")
    if context.get("seLinuxChangePolicy", "Recursive") != "Recursive":
        found.append("seLinuxChangePolicy")
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        found.append("privileged without allowPrivilegeEscalation")
    return found


def _reference_faults(value: Any) -> list[str]:
    """References to ConfigMaps and Secrets without a name."""
    if isinstance(value, dict):
        names = [key for key in ("secretRef", "configMapRef", "secretKeyRef", "configMapKeyRef") if key in value]
        found = [f"{key} without a name" for key in names if not value[key].get("name")]
        return found + [fault for item in value.values() for fault in _reference_faults(item)]
    return [fault for item in value for fault in _reference_faults(item)] if isinstance(value, list) else []


_HANDLERS = {"exec", "grpc", "httpGet", "tcpSocket"}


def _server_faults(container: Manifest, pod: Manifest) -> list[str]:
    """What a real server has refused in a container."""
    found = []
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(name)
        if probe is not None and (len(_HANDLERS & set(probe)) != 1 or probe.get("exec") == {}):
            found.append(f"{name} without a handler: {probe}")
    claims = {item["name"] for item in container.get("resources", {}).get("claims", [])}
    found += [f"no claim {name}" for name in claims - {item["name"] for item in pod.get("resourceClaims", [])}]
    resources = [item["resourceName"] for item in container.get("resizePolicy", [])]
    if len(set(resources)) != len(resources) or set(resources) - {"cpu", "memory"}:
        found.append(f"no resizePolicy: {resources}")
    if container["image"] != container["image"].strip() or re.search(r"/[^:@]*[A-Z]", container["image"]):
        found.append(f"no image: {container['image']!r}")
    return found


def _container_faults(container: Manifest, volumes: set[str]) -> list[str]:
    found = [] if container.get("image") else [f"container {container['name']} has no image"]
    mounts = container.get("volumeMounts", [])
    found += [f"{item['mountPath']} mounts no volume" for item in mounts if item["name"] not in volumes]
    paths = [item["mountPath"] for item in mounts]
    if len(set(paths)) != len(paths):
        found.append(f"a mountPath stands twice: {paths}")
    names = [entry["name"] for entry in container.get("env", [])]
    if len(set(names)) != len(names):
        found.append(f"an environment variable stands twice: {names}")
    resources = container.get("resources", {})
    for amounts in (resources.get("requests", {}), resources.get("limits", {})):
        found += [f"no quantity: {name}={amount!r}" for name, amount in amounts.items() if quantity(amount) is None]
    return found


def _scaled_object_faults(manifest: Manifest) -> list[str]:
    """KEDA's own admission checks (2.20)."""
    spec = manifest["spec"]
    found: list[str] = []
    if len(f"keda-hpa-{manifest['metadata']['name']}") > 63:
        found.append("the HPA's name would be too long")
    if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", 100):
        found.append("minReplicaCount is above maxReplicaCount")
    if "idleReplicaCount" in spec and spec["idleReplicaCount"] >= spec["minReplicaCount"]:
        found.append("idleReplicaCount is not below minReplicaCount")
    names = [trigger["name"] for trigger in spec["triggers"] if "name" in trigger]
    if len(set(names)) != len(names):
        found.append(f"a trigger name stands twice: {names}")
    formula = spec.get("advanced", {}).get("scalingModifiers", {}).get("formula", "")
    found += [
        f"the formula names no trigger {name}"
        for name in re.findall(r"[A-Za-z_]\w*(?!\w*\()", formula)
        if name not in names
    ]
    return found
