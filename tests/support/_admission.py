# SPDX-License-Identifier: GPL-3.0-or-later
"""Admission: KEDA's validating webhook and the warnings of Pod Security."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from ._defaults import pod_specs
from ._kinds import HPA, NAMESPACE, SCALED_OBJECT
from ._status import ApiError, Json, denied_by_webhook
from ._store import Store

_WEBHOOK = "vscaledobject.kb.io"
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


def admit_scaled_object(obj: Json, store: Store) -> None:
    for check in (_only_resource_triggers, _other_scaled_object, _other_hpa, _formula):
        if (why := check(obj, store)) is not None:
            raise _denied(why)


def _denied(why: str) -> ApiError:
    return denied_by_webhook(_WEBHOOK, why)


def _only_resource_triggers(obj: Json, store: Store) -> str | None:
    spec = obj["spec"]
    external = [trigger for trigger in spec["triggers"] if trigger["type"] not in ("cpu", "memory")]
    if spec["triggers"] and not external and spec.get("minReplicaCount", 0) == 0:
        return "scaledobject has only cpu/memory triggers AND minReplica is 0 (scale to zero doesn't work in this case)"
    return None


def _other_scaled_object(obj: Json, store: Store) -> str | None:
    target = target_of(obj["spec"]["scaleTargetRef"])
    for other in store.select(SCALED_OBJECT, obj["metadata"]["namespace"]):
        name = other["metadata"]["name"]
        if name != obj["metadata"]["name"] and target_of(other["spec"]["scaleTargetRef"]) == target:
            return _already_managed(target, f"ScaledObject '{name}'")
    return None


def _other_hpa(obj: Json, store: Store) -> str | None:
    annotations = obj["metadata"].get("annotations", {})
    if annotations.get("validations.keda.sh/hpa-ownership") == "false":
        return None
    target = target_of(obj["spec"]["scaleTargetRef"])
    taken_over = None
    if annotations.get("scaledobject.keda.sh/transfer-hpa-ownership") == "true":
        taken_over = obj["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("name")
    for hpa in store.select(HPA, obj["metadata"]["namespace"]):
        owners = {(owner["kind"], owner["name"]) for owner in hpa["metadata"].get("ownerReferences", [])}
        own = ("ScaledObject", obj["metadata"]["name"]) in owners or hpa["metadata"]["name"] == taken_over
        if not own and target_of(hpa["spec"]["scaleTargetRef"]) == target:
            return _already_managed(target, f"hpa '{hpa['metadata']['name']}'")
    return None


def _already_managed(target: tuple[str, str, str], by: str) -> str:
    api_version, kind, name = target
    return f"the workload '{name}' of type '{api_version}.{kind}' is already managed by the {by}"


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
