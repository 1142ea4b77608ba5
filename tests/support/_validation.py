# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that a server makes on a decoded and defaulted object, with its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import _quantity
from ._autoscalers import autoscaler_errors
from ._defaults import pod_specs
from ._kinds import Kind
from ._selectors import matches_label_selector
from ._status import FieldError, Json, forbidden, invalid, required, unsupported, wrong

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_ALNUM = "alphanumeric character"
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an {_ALNUM} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an {_ALNUM} (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an {_ALNUM} (e.g. 'my-name',  or 'abc-123', regex used for validation is '{_LABEL_1035}')"
)
_LABEL_VALUE_MESSAGE = (
    f"a valid label must be an empty string or consist of {_ALNUM}s, '-', '_' or '.', and must start and end with an "
    f"{_ALNUM} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_LABEL_VALUE}')"
)
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_TYPICAL_NAME = (_SUBDOMAIN, 253, _SUBDOMAIN_MESSAGE)
_NAME_RULES = {"Namespace": (_LABEL, 63, _LABEL_MESSAGE), "Service": (_LABEL_1035, 63, _LABEL_1035_MESSAGE)}

Errors = Iterator[FieldError]


def validate(kind: Kind, obj: Json, live: Json | None) -> None:
    """Raise the 422 answer that names every problem of the object."""
    errors = [*_metadata(kind, obj["metadata"]), *_pods(obj), *_by_kind(obj, live)]
    if errors:
        raise invalid(kind.qualified_kind, obj["metadata"].get("name", ""), errors)


def _metadata(kind: Kind, metadata: Json) -> Errors:
    name = metadata.get("name", "")
    pattern, longest, message = _NAME_RULES.get(kind.name, _TYPICAL_NAME)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif not re.fullmatch(pattern, name):
        yield wrong("metadata.name", name, message)
    elif len(name) > longest:
        yield wrong("metadata.name", name, f"must be no more than {longest} characters")
    yield from _labels("metadata.labels", metadata.get("labels", {}))


def _labels(field: str, labels: dict[str, str]) -> Errors:
    for value in labels.values():
        if len(value) > 63:
            yield wrong(field, value, "must be no more than 63 bytes")
        elif not re.fullmatch(_LABEL_VALUE, value):
            yield wrong(field, value, _LABEL_VALUE_MESSAGE)


def _by_kind(obj: Json, live: Json | None) -> Errors:
    if obj["kind"] == "Deployment":
        yield from _deployment(obj["spec"], live)
    elif obj["kind"] == "ScaledObject":
        yield from _scaled_object(obj.get("spec", {}))
    elif obj["kind"] == "ScaledJob":
        yield from _scaled_job(obj.get("spec", {}))
    elif obj["kind"] == "HorizontalPodAutoscaler":
        yield from autoscaler_errors(obj["spec"], live)
    elif obj["kind"] == "Service":
        yield from _service(obj["spec"])
    elif obj["kind"] == "PersistentVolumeClaim":
        yield from _claim(obj["spec"], live)
    elif obj["kind"] == "Ingress":
        yield from _ingress(obj["spec"])
    elif obj["kind"] == "GrafanaDashboard":
        yield from _dashboard(obj["spec"], live)
    elif live is not None and obj.get("roleRef") != live.get("roleRef"):
        yield wrong("roleRef", obj["roleRef"], "cannot change roleRef")
    if live is not None and live.get("immutable"):
        yield from _immutable_data(obj, live)


def _deployment(spec: Json, live: Json | None) -> Errors:
    template_labels = spec["template"]["metadata"].get("labels", {})
    yield from _labels("spec.template.metadata.labels", template_labels)
    if spec["replicas"] < 0:
        yield wrong("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    if spec["strategy"]["type"] not in ("Recreate", "RollingUpdate"):
        yield unsupported("spec.strategy.type", spec["strategy"]["type"], ("Recreate", "RollingUpdate"))
    if spec["strategy"]["type"] == "Recreate" and "rollingUpdate" in spec["strategy"]:
        why = "may not be specified when strategy `type` is 'Recreate'"
        yield forbidden("spec.strategy.rollingUpdate", why)
    yield from _selector(spec, template_labels, live)


def _selector(spec: Json, template_labels: dict[str, str], live: Json | None) -> Errors:
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        return
    if not selector:
        yield wrong("spec.selector", selector, "empty selector is invalid for deployment")
    elif not matches_label_selector(selector, template_labels):
        why = "`selector` does not match template `labels`"
        yield wrong("spec.template.metadata.labels", template_labels, why)
    if live is not None and live["spec"]["selector"] != selector:
        yield wrong("spec.selector", selector, "field is immutable")


def _pods(obj: Json) -> Errors:
    for path, spec in pod_specs(obj):
        yield from _pod(path, spec, obj["kind"])


def _pod(path: str, spec: Json, kind: str) -> Errors:
    policies = {"Pod": ("Always", "OnFailure", "Never"), "Job": ("OnFailure", "Never")}.get(kind, ("Always",))
    if spec["restartPolicy"] not in policies:
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], policies)
    dns = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    if spec["dnsPolicy"] not in dns:
        yield unsupported(f"{path}.dnsPolicy", spec["dnsPolicy"], dns)
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    volumes = {volume.get("name") for volume in spec.get("volumes", [])}
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, [])):
            at = f"{path}.{field}[{index}]"
            yield from _container(at, container, volumes)
            if container.get("name") in seen:
                yield FieldError(f"{at}.name", "FieldValueDuplicate", f'Duplicate value: "{container["name"]}"')
            seen.add(container.get("name", ""))


def _container(at: str, container: Json, volumes: set[str | None]) -> Errors:
    if not container.get("name"):
        yield required(f"{at}.name")
    elif not re.fullmatch(_LABEL, container["name"]):
        yield wrong(f"{at}.name", container["name"], _LABEL_MESSAGE)
    if not container.get("image"):
        yield required(f"{at}.image")
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        yield unsupported(f"{at}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES)
    for index, entry in enumerate(container.get("env", [])):
        if not entry.get("name"):
            yield required(f"{at}.env[{index}].name")
        if entry.get("value") and entry.get("valueFrom"):
            why = "may not be specified when `value` is not empty"
            yield wrong(f"{at}.env[{index}].valueFrom", "", why)
    for index, mount in enumerate(container.get("volumeMounts", [])):
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name", "")}"'
            yield FieldError(f"{at}.volumeMounts[{index}].name", "FieldValueNotFound", message)
    yield from _resources(f"{at}.resources", container["resources"])


def _resources(at: str, resources: Json) -> Errors:
    limits = resources.get("limits", {})
    for name, request in resources.get("requests", {}).items():
        limit = limits.get(name)
        if limit is not None and _quantity.parse(request)[0] > _quantity.parse(limit)[0]:
            yield wrong(f"{at}.requests", request, f"must be less than or equal to {name} limit of {limit}")


def _service(spec: Json) -> Errors:
    types = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec["type"] not in types:
        yield unsupported("spec.type", spec["type"], types)
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")


def _claim(spec: Json, live: Json | None) -> Errors:
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    wanted = spec.get("resources", {}).get("requests", {}).get("storage")
    if wanted is None:
        yield required("spec.resources[storage]")
    if live is None:
        return
    # Nobody binds claims here, and only a bound one may ask for more.
    if spec != live["spec"]:
        why = "is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        yield forbidden("spec", f"spec {why}")


def _ingress(spec: Json) -> Errors:
    types = ("Exact", "ImplementationSpecific", "Prefix")
    for number, rule in enumerate(spec.get("rules", [])):
        for index, path in enumerate((rule.get("http") or {}).get("paths", [])):
            at = f"spec.rules[{number}].http.paths[{index}]"
            if "pathType" not in path:
                yield required(f"{at}.pathType", "pathType must be specified")
            elif path["pathType"] not in types:
                yield unsupported(f"{at}.pathType", path["pathType"], types)
            elif path["pathType"] != "ImplementationSpecific" and not path.get("path", "").startswith("/"):
                yield wrong(f"{at}.path", path.get("path", ""), "must be an absolute path")


def _dashboard(spec: Json, live: Json | None) -> Errors:
    """The rules of the Grafana operator's definition (5)."""
    was = live["spec"] if live is not None else spec
    if "instanceSelector" not in spec:
        yield required("spec.instanceSelector")
    elif spec["instanceSelector"] != was["instanceSelector"]:
        yield wrong("spec.instanceSelector", spec["instanceSelector"], "spec.instanceSelector is immutable")
    if spec.get("uid") != was.get("uid"):
        yield wrong("spec", spec, "spec.uid is immutable")
    if was["allowCrossNamespaceImport"] and not spec["allowCrossNamespaceImport"]:
        why = "disabling spec.allowCrossNamespaceImport requires a recreate to ensure desired state"
        yield wrong("spec", spec, why)


def _immutable_data(obj: Json, live: Json) -> Errors:
    for field in ("data", "binaryData"):
        if obj.get(field) != live.get(field):
            yield forbidden(field, "field is immutable when `immutable` is set")


def _scaled_object(spec: Json) -> Errors:
    if not spec.get("scaleTargetRef", {}).get("name"):
        yield required("spec.scaleTargetRef.name" if "scaleTargetRef" in spec else "spec.scaleTargetRef")
    if "triggers" not in spec:
        yield required("spec.triggers")
    for index, trigger in enumerate(spec.get("triggers", [])):
        for field in ("metadata", "type"):
            if field not in trigger:
                yield required(f"spec.triggers[{index}].{field}")
    for field in ("minReplicaCount", "idleReplicaCount", "cooldownPeriod", "initialCooldownPeriod"):
        yield from _at_least(spec, field, 0)
    for field in ("maxReplicaCount", "pollingInterval"):
        yield from _at_least(spec, field, 1)
    if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", 100):
        message = "Invalid value: minReplicaCount must be less than or equal to maxReplicaCount"
        yield FieldError("spec", "FieldValueInvalid", message)


def _scaled_job(spec: Json) -> Errors:
    for field in ("jobTargetRef", "triggers"):
        if field not in spec:
            yield required(f"spec.{field}")
    if "template" not in spec.get("jobTargetRef", {}):
        yield required("spec.jobTargetRef.template")
    for field in ("minReplicaCount", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from _at_least(spec, field, 0)
    for field in ("maxReplicaCount", "pollingInterval"):
        yield from _at_least(spec, field, 1)
    strategy = spec.get("rollout", {}).get("strategy", "gradual")
    if strategy not in ("gradual", "immediate"):
        yield unsupported("spec.rollout.strategy", strategy, ("gradual", "immediate"))


def _at_least(spec: Json, field: str, least: int) -> Errors:
    value = spec.get(field)
    if value is not None and value < least:
        yield wrong(f"spec.{field}", value, f"spec.{field} in body should be greater than or equal to {least}")
