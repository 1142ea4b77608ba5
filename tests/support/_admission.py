# SPDX-License-Identifier: GPL-3.0-or-later
"""Admission: KEDA's validating webhook and the warnings of Pod Security."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ._defaults import pod_specs
from ._kinds import DEPLOYMENT, HPA, NAMESPACE, SCALED_OBJECT
from ._status import ApiError, Json, denied_by_webhook
from ._store import Store

_WEBHOOK = "vscaledobject.kb.io"
_RESOURCES = ("cpu", "memory")
# Names of ScaledObjects and of their HPAs become values of labels.
_LABEL_LENGTH = 63
_FORMULA_NAME = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![.\w])[A-Za-z_]\w*")
_FORMULA_WORDS = frozenset(
    {
        *("abs", "all", "and", "any", "ceil", "contains", "count", "endsWith", "false", "filter", "find", "first"),
        *("float", "floor", "if", "in", "int", "last", "len", "let", "map", "matches", "max", "mean", "median", "min"),
        *("nil", "none", "not", "one", "or", "reduce", "round", "startsWith", "string", "sum", "true"),
    }
)


def target_of(reference: Json) -> tuple[str, str, str]:
    """What a scaleTargetRef points to: apiVersion, kind, name."""
    return reference.get("apiVersion") or "apps/v1", reference.get("kind") or "Deployment", reference["name"]


def hpa_name(obj: Json) -> str:
    """The name of the HPA that KEDA keeps for a ScaledObject."""
    config: Json = obj["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    return str(config.get("name") or f"keda-hpa-{obj['metadata']['name']}")


def admit_scaled_object(obj: Json, live: Json | None, store: Store, *, dry_run: bool) -> None:
    """KEDA's checks; `live` is what is stored already. The real ones run in no fixed order."""
    if live is not None and _only_loses_finalizers(obj, live):
        return
    # A dry run may come before the workload, whose containers these look at.
    resources = () if dry_run else (_resource_requests, _only_resource_triggers)
    for check in (*resources, _other_scaled_object, _other_hpa, _formula, _names):
        if (why := check(obj, store)) is not None:
            raise _denied(why)


def _denied(why: str) -> ApiError:
    return denied_by_webhook(_WEBHOOK, why)


def _only_loses_finalizers(obj: Json, live: Json) -> bool:
    before, after = (len(one["metadata"].get("finalizers", [])) for one in (live, obj))
    return after < before and obj["spec"] == live["spec"]


def _resource_requests(obj: Json, store: Store) -> str | None:
    _version, kind, name = target_of(obj["spec"]["scaleTargetRef"])
    if kind != DEPLOYMENT.name:
        return None
    for trigger in obj["spec"]["triggers"]:
        if (resource := trigger["type"]) not in _RESOURCES:
            continue
        target = store.get(DEPLOYMENT, obj["metadata"]["namespace"], name)
        if target is None:
            return f'Deployment.apps "{name}" not found'
        wanted = trigger["metadata"].get("containerName")
        for container in target["spec"]["template"]["spec"]["containers"]:
            claims = container.get("resources", {})
            claimed = {*claims.get("requests", {}), *claims.get("limits", {})}
            if wanted in (None, "", container["name"]) and resource not in claimed:
                which = f"the container {container['name']} doesn't have the {resource} request defined"
                return f"the scaledobject has a {resource} trigger but {which}"
    return None


def _only_resource_triggers(obj: Json, store: Store) -> str | None:
    spec = obj["spec"]
    external = [trigger for trigger in spec["triggers"] if trigger["type"] not in _RESOURCES]
    if spec["triggers"] and not external and spec.get("minReplicaCount", 0) == 0:
        return "scaledobject has only cpu/memory triggers AND minReplica is 0 (scale to zero doesn't work in this case)"
    return None


def _other_scaled_object(obj: Json, store: Store) -> str | None:
    target = target_of(obj["spec"]["scaleTargetRef"])
    for other in store.select(SCALED_OBJECT, obj["metadata"]["namespace"]):
        name = other["metadata"]["name"]
        if name == obj["metadata"]["name"]:
            continue
        if target_of(other["spec"]["scaleTargetRef"]) == target:
            return f"the workload {_described(target)} is already managed by the ScaledObject '{name}'"
        if hpa_name(other) == hpa_name(obj):
            return f"the HPA '{hpa_name(obj)}' is already managed by the ScaledObject '{name}'"
    return None


def _other_hpa(obj: Json, store: Store) -> str | None:
    target = target_of(obj["spec"]["scaleTargetRef"])
    transfers = obj["metadata"].get("annotations", {}).get("scaledobject.keda.sh/transfer-hpa-ownership") == "true"
    for hpa in store.select(HPA, obj["metadata"]["namespace"]):
        metadata = hpa["metadata"]
        unchecked = metadata.get("annotations", {}).get("validations.keda.sh/hpa-ownership") == "false"
        if unchecked or target_of(hpa["spec"]["scaleTargetRef"]) != target:
            continue
        owners = {(owner["kind"], owner["name"]) for owner in metadata.get("ownerReferences", [])}
        if ("ScaledObject", obj["metadata"]["name"]) in owners:
            continue
        if not transfers:
            return f"the workload {_described(target)} is already managed by the hpa '{metadata['name']}'"
        if hpa_name(obj) != metadata["name"]:
            which = f"the existing hpa '{metadata['name']}' for workload {_described(target)}"
            return f"{which} must be specified by name in advanced settings to enable ownership transfer"
    return None


def _names(obj: Json, store: Store) -> str | None:
    name, limit = obj["metadata"]["name"], _LABEL_LENGTH
    if len(name) > limit:
        much = f"is {len(name)} characters long; must be no more than {limit} characters"
        return f'scaledobject name "{name}" {much} because it is used as the "scaledobject.keda.sh/name" label value'
    if len(derived := hpa_name(obj)) > limit:
        much = f"is {len(derived)} characters long; must be no more than {limit} characters"
        what = "set spec.advanced.horizontalPodAutoscalerConfig.name to a shorter name or shorten the scaledobject name"
        return f'HPA name "{derived}" derived from scaledobject {much}; {what}'
    return None


def _described(target: tuple[str, str, str]) -> str:
    api_version, kind, name = target
    return f"'{name}' of type '{api_version}.{kind}'"


def _formula(obj: Json, store: Store) -> str | None:
    formula = obj["spec"].get("advanced", {}).get("scalingModifiers", {}).get("formula")
    if not formula:
        return None
    known = {trigger["name"] for trigger in obj["spec"]["triggers"] if "name" in trigger}
    # KEDA compiles the formula inside float(...), and the compiler's message shows it so.
    source = f"float({formula})"
    for match in _FORMULA_NAME.finditer(source):
        word = match[0]
        if word[0] not in "'\"" and word not in known and word not in _FORMULA_WORDS:
            where = f"unknown name {word} (1:{match.start() + 1})\n | {source}\n | {'.' * match.start()}^"
            return f"error validating formula in ScalingModifiers\n{where}"
    return None


def pod_security_warnings(obj: Json, store: Store) -> list[str]:
    """The warning for a workload in a namespace whose labels ask for a Pod Security level."""
    namespace = store.get(NAMESPACE, "", obj["metadata"].get("namespace", ""))
    labels: Json = namespace["metadata"].get("labels", {}) if namespace else {}
    # A server warns at the enforced level when no level for warnings is set.
    mode = "warn" if "pod-security.kubernetes.io/warn" in labels else "enforce"
    level = labels.get(f"pod-security.kubernetes.io/{mode}", "privileged")
    version = labels.get(f"pod-security.kubernetes.io/{mode}-version", "latest")
    return [
        f'would violate PodSecurity "{level}:{version}": {", ".join(violations)}'
        for _place, spec in pod_specs(obj)
        if (violations := list(_violations(level, spec)))
    ]


def _violations(level: str, spec: Json) -> Iterator[str]:
    containers = [*spec.get("initContainers", []), *spec.get("containers", [])]
    if level in ("baseline", "restricted"):
        yield from _baseline(spec, containers)
    if level == "restricted":
        yield from _restricted(spec, containers)


def _baseline(spec: Json, containers: list[Json]) -> Iterator[str]:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    if shared:
        yield f"host namespaces ({', '.join(shared)})"
    paths = [f'"{volume["name"]}"' for volume in spec.get("volumes", []) if "hostPath" in volume]
    if paths:
        yield f"hostPath volumes (volume{'s' if len(paths) > 1 else ''} {', '.join(paths)})"
    if privileged := _named(containers, lambda context: context.get("privileged") is True):
        yield f"privileged ({privileged} must not set securityContext.privileged=true)"


def _restricted(spec: Json, containers: list[Json]) -> Iterator[str]:
    pod = spec.get("securityContext", {})
    if escalating := _named(containers, lambda context: context.get("allowPrivilegeEscalation") is not False):
        wanted = "securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({escalating} must set {wanted})"
    if capable := _named(containers, lambda context: "ALL" not in context.get("capabilities", {}).get("drop", [])):
        yield f'unrestricted capabilities ({capable} must set securityContext.capabilities.drop=["ALL"])'
    if rooted := _named(containers, lambda context: context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True):
        yield f"runAsNonRoot != true (pod or {rooted} must set securityContext.runAsNonRoot=true)"
    if pod.get("runAsUser") == 0:
        yield "runAsUser=0 (pod must not set runAsUser=0)"
    profiles = ("RuntimeDefault", "Localhost")

    def unconfined(context: Json) -> bool:
        profile = context.get("seccompProfile") or pod.get("seccompProfile") or {}
        return profile.get("type") not in profiles

    if open_ := _named(containers, unconfined):
        wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        yield f"seccompProfile (pod or {open_} must set {wanted})"


def _named(containers: Iterable[Json], violates: Callable[[Json], bool]) -> str:
    """The containers that violate a rule, as the message lists them; empty when there is none."""
    names = [f'"{container["name"]}"' for container in containers if violates(container.get("securityContext", {}))]
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""
