# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that a server makes on a HorizontalPodAutoscaler, with its own words."""

from __future__ import annotations

from collections.abc import Iterator

from . import _quantity
from ._status import FieldError, Json, forbidden, required, unsupported, wrong

Errors = Iterator[FieldError]

_MOST_PERIOD_SECONDS = 1800
_MOST_WINDOW_SECONDS = 3600
# The field that each type of metric fills, in the order in which a server looks at them.
_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")


def autoscaler_errors(spec: Json, live: Json | None) -> Errors:
    most, least = spec.get("maxReplicas", 0), spec["minReplicas"]
    if least < 1:
        yield wrong("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield wrong("spec.maxReplicas", most, "must be greater than 0")
    if most < least:
        yield wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _target_reference(spec.get("scaleTargetRef", {}), (live or {}).get("spec", {}).get("scaleTargetRef"))
    for index, metric in enumerate(spec["metrics"]):
        yield from _metric(f"spec.metrics[{index}]", metric)
    for direction in ("scaleUp", "scaleDown"):
        if direction in spec.get("behavior", {}):
            yield from _rules(f"spec.behavior.{direction}", spec["behavior"][direction])


def _target_reference(reference: Json, before: Json | None) -> Errors:
    yield from _reference("spec.scaleTargetRef", reference)
    version = reference.get("apiVersion", "")
    # What was accepted once stays accepted.
    kept = before is not None and all(before.get(key) == reference.get(key) for key in ("apiVersion", "kind"))
    if "/" not in version.strip("/") and not kept and reference.get("kind") != "ReplicationController":
        yield wrong("spec.scaleTargetRef.apiVersion", version, "apiVersion must specify API group")


def _reference(at: str, reference: Json) -> Errors:
    for field in ("kind", "name"):
        if not reference.get(field):
            yield required(f"{at}.{field}")


def _metric(at: str, metric: Json) -> Errors:
    type_, present = metric.get("type", ""), [source for source in _SOURCES.values() if source in metric]
    if not type_:
        yield required(f"{at}.type", "must specify a metric source type")
    if type_ not in _SOURCES:
        yield unsupported(f"{at}.type", type_, sorted(_SOURCES))
    if present:
        yield from _source(f"{at}.{present[0]}", present[0], metric[present[0]])
    expected = _SOURCES.get(type_, "")
    if expected and expected not in present:
        yield required(f"{at}.{expected}", "must populate information for the given metric source")
    if len(present) > 1:
        for source in present:
            if source != expected:
                yield forbidden(f"{at}.{source}", "must populate the given metric source only")


def _source(at: str, source: str, content: Json) -> Errors:
    target = content.get("target", {})
    if source in ("resource", "containerResource"):
        if not content.get("name"):
            yield required(f"{at}.name", "must specify a resource name")
        if source == "containerResource" and not content.get("container"):
            yield required(f"{at}.container", "must specify a container")
        yield from _target(f"{at}.target", target)
        yield from _resource_target(f"{at}.target", target)
        return
    if source == "object":
        yield from _reference(f"{at}.describedObject", content.get("describedObject", {}))
    if not content.get("metric", {}).get("name"):
        yield required(f"{at}.metric.name", "must specify a metric name")
    yield from _target(f"{at}.target", target)
    yield from _value_target(f"{at}.target", source, target)


def _target(at: str, target: Json) -> Errors:
    type_ = target.get("type", "")
    if not type_:
        yield required(f"{at}.type", "must specify a metric target type")
    if type_ not in _TARGET_TYPES:
        yield wrong(f"{at}.type", type_, "must be either Utilization, Value, or AverageValue")
    for field in ("value", "averageValue"):
        if field in target and _quantity.parse(target[field])[0] <= 0:
            yield wrong(f"{at}.{field}", target[field], "must be positive")
    if target.get("averageUtilization", 1) < 1:
        yield wrong(f"{at}.averageUtilization", target["averageUtilization"], "must be greater than 0")


def _resource_target(at: str, target: Json) -> Errors:
    given = {"averageUtilization", "averageValue"} & set(target)
    if not given:
        yield required(f"{at}.averageUtilization", "must set either a target raw value or a target utilization")
    if len(given) == 2:
        yield forbidden(f"{at}.averageValue", "may not set both a target raw value and a target utilization")


def _value_target(at: str, source: str, target: Json) -> Errors:
    why = {
        "object": "must set either a target value or averageValue",
        "external": "must set either a target value for metric or a per-pod target",
        "pods": "must specify a positive target averageValue",
    }
    enough = {"averageValue"} if source == "pods" else {"value", "averageValue"}
    if not enough & set(target):
        yield required(f"{at}.averageValue", why[source])
    if source == "external" and enough <= set(target):
        yield forbidden(f"{at}.value", "may not set both a target value for metric and a per-pod target")


def _rules(at: str, rules: Json) -> Errors:
    window = rules.get("stabilizationWindowSeconds", 0)
    if window < 0:
        yield wrong(f"{at}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window > _MOST_WINDOW_SECONDS:
        why = f"must be less than or equal to {_MOST_WINDOW_SECONDS}"
        yield wrong(f"{at}.stabilizationWindowSeconds", window, why)
    if rules["selectPolicy"] not in ("Disabled", "Max", "Min"):
        yield unsupported(f"{at}.selectPolicy", rules["selectPolicy"], ("Disabled", "Max", "Min"))
    for index, policy in enumerate(rules["policies"]):
        yield from _policy(f"{at}.policies[{index}]", policy)
    if "tolerance" in rules and _quantity.parse(rules["tolerance"])[0] < 0:
        yield wrong(f"{at}.tolerance", rules["tolerance"], "must be greater than or equal to 0")


def _policy(at: str, policy: Json) -> Errors:
    type_, value, period = policy.get("type", ""), policy.get("value", 0), policy.get("periodSeconds", 0)
    if type_ not in ("Percent", "Pods"):
        yield unsupported(f"{at}.type", type_, ("Percent", "Pods"))
    if value <= 0:
        yield wrong(f"{at}.value", value, "must be greater than zero")
    if period <= 0:
        yield wrong(f"{at}.periodSeconds", period, "must be greater than zero")
    if period > _MOST_PERIOD_SECONDS:
        yield wrong(f"{at}.periodSeconds", period, f"must be less than or equal to {_MOST_PERIOD_SECONDS}")
