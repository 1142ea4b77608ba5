# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a finished ScaledObject: what KEDA's admission webhook refuses (2.20), and what nobody checks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._model.names import LONGEST_SCALED_OBJECT
from .._schema.problems import Problems, suggest
from .._schema.versions import Version, as_text, below_oldest, older
from .formulas import (
    FUNCTIONS,
    WORDS,
    names_of,
    order_fault,
    tokens_of,
    writing_fault,
)
from .trigger_parameters import FALSE_WORDS, GO_NUMBER, SMALLEST_TARGET, TRUE_WORDS, shown
from .triggers import IDENTIFIER, LARGEST_INTEGER, Trigger, nearest, read_trigger, text_at


@dataclass(frozen=True)
class _ScaledObject:
    """A ScaledObject, as far as it has the right shape. Parts that are not written are empty."""

    path: str
    name: str
    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    advanced: Mapping[str, Any]
    pod_autoscaler: Mapping[str, Any]
    modifiers: Mapping[str, Any]
    fallback: Mapping[str, Any] | None
    keda: Version | None

    @property
    def formula(self) -> str:
        """The formula; empty if there is none."""
        formula = self.modifiers.get("formula")
        return formula.strip() if isinstance(formula, str) else ""

    def at(self, key: str) -> str:
        """Where a key of the spec stands."""
        return f"{self.path}.{key}"


_MODIFIERS = "advanced.scalingModifiers"
_POD_AUTOSCALER = "advanced.horizontalPodAutoscalerConfig"
_FALLBACK_BEHAVIORS = (
    "static",
    "currentReplicas",
    "currentReplicasIfHigher",
    "currentReplicasIfLower",
    "scalingModifiers",
)


def check_scaled_object(
    manifest: Mapping[str, Any], path: str, problems: Problems, keda: tuple[int, ...] | None = None
) -> None:
    """Everything that can be said of a ScaledObject without a cluster (KEDA 2.20).

    :param path: how messages name the object; the keys of its spec follow it: ``<path>.triggers[0].metadata.listName``.
    :param keda: the installed KEDA; None if nobody knows, which counts as new enough.
    """
    scaled = _read_scaled_object(manifest, path, problems, keda)
    if scaled is None:
        return
    triggers = _check_triggers(scaled, problems)
    _check_unknown_fields(scaled, problems)
    _check_name(scaled, problems)
    _check_annotations(scaled, problems)
    _check_numbers(scaled, triggers, problems)
    _check_modifiers(scaled, problems)
    _check_fallback(scaled, triggers, problems)
    if scaled.formula:
        _check_formula(scaled, triggers, problems)
    _check_version(scaled, triggers, problems)


def _read_scaled_object(
    manifest: Mapping[str, Any], path: str, problems: Problems, keda: Version | None
) -> _ScaledObject | None:
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        problems.add(path, "a ScaledObject needs spec, a dict with scaleTargetRef and triggers.")
        return None
    metadata = _part(manifest, "metadata", path, problems)
    advanced = _part(spec, "advanced", path, problems)
    where = f"{path}.advanced"
    target = _part(spec, "scaleTargetRef", path, problems)
    if not target.get("name"):
        problems.add(f"{path}.scaleTargetRef", "name what is scaled; write {kind: Deployment, name: …}.")
    return _ScaledObject(
        path=path,
        name=str(metadata.get("name") or ""),
        annotations=_part(metadata, "annotations", f"{path}.metadata", problems),
        spec=spec,
        advanced=advanced,
        pod_autoscaler=_part(advanced, "horizontalPodAutoscalerConfig", where, problems),
        modifiers=_part(advanced, "scalingModifiers", where, problems),
        fallback=None if spec.get("fallback") is None else _part(spec, "fallback", path, problems),
        keda=keda,
    )


def _part(owner: Mapping[str, Any], key: str, path: str, problems: Problems) -> Mapping[str, Any]:
    value = owner.get(key)
    if isinstance(value, Mapping):
        return value
    if value is not None:
        problems.add(f"{path}.{key}", "this is a dict; write its keys below it.")
    return {}


def _check_triggers(scaled: _ScaledObject, problems: Problems) -> list[Trigger]:
    """Every trigger alone, then their names. Those that can be read are returned."""
    written = scaled.spec.get("triggers")
    if not isinstance(written, (list, tuple)) or not written:
        problems.add(scaled.at("triggers"), "a ScaledObject needs a list of at least one trigger.")
        return []
    found = [
        read_trigger(item, scaled.at(f"triggers[{number}]"), problems, in_formula=bool(scaled.formula))
        for number, item in enumerate(written)
    ]
    _warn_same(written, scaled, problems)
    triggers = [trigger for trigger in found if trigger is not None]
    names = [trigger.name for trigger in triggers]
    for number, trigger in enumerate(triggers):
        if trigger.name and trigger.name in names[:number]:
            problems.add(
                f"{trigger.path}.name", f"another trigger is called {trigger.name!r} already; names are unique."
            )
    return triggers


def _warn_same(written: Iterable[Any], scaled: _ScaledObject, problems: Problems) -> None:
    """Triggers that differ in nothing but their names."""
    seen: list[Any] = []
    for number, item in enumerate(written):
        plain = {key: value for key, value in item.items() if key != "name"} if isinstance(item, Mapping) else {}
        if plain and plain in seen:
            path = scaled.at(f"triggers[{number}]")
            problems.warn(path, f"it asks the same as triggers[{seen.index(plain)}]; take one of them out.")
        seen.append(plain)


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "": (
        "scaleTargetRef",
        "pollingInterval",
        "cooldownPeriod",
        "initialCooldownPeriod",
        "idleReplicaCount",
        "minReplicaCount",
        "maxReplicaCount",
        "advanced",
        "triggers",
        "fallback",
    ),
    "fallback": ("failureThreshold", "replicas", "behavior"),
    "advanced": ("horizontalPodAutoscalerConfig", "restoreToOriginalReplicaCount", "scalingModifiers"),
    _POD_AUTOSCALER: ("name", "behavior"),
    _MODIFIERS: ("formula", "target", "activationTarget", "metricType"),
}


def _check_unknown_fields(scaled: _ScaledObject, problems: Problems) -> None:
    """Fields that look mistyped. The server drops them in silence; others may be of a newer KEDA."""
    parts = (scaled.spec, scaled.fallback or {}, scaled.advanced, scaled.pod_autoscaler, scaled.modifiers)
    for (place, known), part in zip(_FIELDS.items(), parts, strict=True):
        for key in sorted(set(map(str, part)) - set(known)):
            near = suggest(key, known)
            if near.startswith("did you mean"):
                problems.add(scaled.at(f"{place}.{key}".lstrip(".")), f"a ScaledObject has no {key!r} here; {near}")


def _check_name(scaled: _ScaledObject, problems: Problems) -> None:
    """Both names become values of labels, which end at 63 characters; KEDA says so since 2.20."""
    autoscaler = scaled.pod_autoscaler.get("name")
    if isinstance(autoscaler, str) and len(autoscaler) > 63:
        problems.add(
            scaled.at(f"{_POD_AUTOSCALER}.name"),
            f"the name has {len(autoscaler)} characters, 63 are allowed; shorten it.",
        )
    longest = 63 if autoscaler else LONGEST_SCALED_OBJECT
    if len(scaled.name) > longest:
        problems.add(
            f"{scaled.path}.metadata.name",
            f"the name {scaled.name!r} has {len(scaled.name)} characters, {longest} are allowed; shorten it.",
        )


_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
_NEW_SWITCHES = tuple(
    f"autoscaling.keda.sh/{name}" for name in ("paused-scale-in", "paused-scale-out", "force-activation")
)


def _check_annotations(scaled: _ScaledObject, problems: Problems) -> None:
    for name, value in scaled.annotations.items():
        path = f"{scaled.path}.metadata.annotations.{name}"
        if not isinstance(value, str):
            problems.add(path, "the server takes text only; write the value in quotes.")
        elif name == _PAUSED and value not in TRUE_WORDS + FALSE_WORDS:
            problems.add(path, f"KEDA takes {shown(value)} as true and stops scaling; write 'true' or 'false'.")
        elif name in _NEW_SWITCHES and value not in TRUE_WORDS + FALSE_WORDS:
            problems.add(path, f"{shown(value)} is no boolean; write 'true' or 'false'.")
        elif name == _PAUSED_REPLICAS and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= LARGEST_INTEGER):
            problems.add(path, f"{shown(value)} is no number of pods; write a whole number in quotes, such as '0'.")


def _whole(owner: Mapping[str, Any], key: str, path: str, problems: Problems, least: int = 0) -> int | None:
    """A whole number as the server takes it; None if it is not written or not one."""
    value = owner.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_INTEGER:
        problems.add(f"{path}.{key}", f"write a whole number without quotes, {least} or more.")
        return None
    return int(value)


def _check_numbers(scaled: _ScaledObject, triggers: list[Trigger], problems: Problems) -> None:
    """Seconds and numbers of pods (KEDA 2.20)."""
    for key, least in (("pollingInterval", 1), ("cooldownPeriod", 0), ("initialCooldownPeriod", 0)):
        _whole(scaled.spec, key, scaled.path, problems, least)
    largest = _whole(scaled.spec, "maxReplicaCount", scaled.path, problems, least=1)
    smallest = _whole(scaled.spec, "minReplicaCount", scaled.path, problems)
    idle = _whole(scaled.spec, "idleReplicaCount", scaled.path, problems)
    limit, said = (100, " (KEDA's default)") if largest is None else (largest, "")
    if smallest is not None and smallest > limit:
        problems.add(
            scaled.at("minReplicaCount"), f"{smallest} is above maxReplicaCount {limit}{said}; lower it or raise that."
        )
    if idle is not None:
        _check_idle(scaled, idle, smallest, problems)
    may_be_none = scaled.spec.get("minReplicaCount") in (None, 0)
    if triggers and may_be_none and not any(trigger.is_external for trigger in triggers):
        problems.add(
            scaled.at("minReplicaCount"),
            "cpu and memory cannot wake a workload of no pods, so KEDA refuses 0; write 1, or add another trigger.",
        )


def _check_idle(scaled: _ScaledObject, idle: int, smallest: int | None, problems: Problems) -> None:
    if smallest is None and scaled.spec.get("minReplicaCount") is not None:
        return
    # KEDA counts a written 0 as 1 here, and a minimum that nobody wrote as 0.
    if idle >= (0 if smallest is None else max(1, smallest)):
        problems.add(
            scaled.at("idleReplicaCount"), f"{idle} must be below minReplicaCount; write minReplicaCount: {idle + 1}."
        )
    elif idle:
        problems.warn(scaled.at("idleReplicaCount"), "the HPA cannot hold that number of pods; only 0 is of use.")


def _check_modifiers(scaled: _ScaledObject, problems: Problems) -> None:
    """A formula needs a target and the reverse (KEDA 2.20)."""
    modifiers, path = scaled.modifiers, scaled.at(_MODIFIERS)
    if not modifiers:
        return
    texts = {key: text_at(modifiers, key, path, problems).strip() for key in _FIELDS[_MODIFIERS]}
    for key in ("formula", "target"):
        if modifiers.get(key) is None or modifiers[key] == "":
            problems.add(path, f"scalingModifiers needs {key}; formula and target go together.")
    if texts["target"]:
        _check_target(scaled, texts["target"], problems)
    if texts["activationTarget"] and not GO_NUMBER.fullmatch(texts["activationTarget"]):
        problems.add(f"{path}.activationTarget", "write a number in quotes, such as '0'.")
    if texts["metricType"] not in ("", "AverageValue", "Value"):
        problems.add(f"{path}.metricType", "a formula gives an external metric; write AverageValue or Value.")


def _check_target(scaled: _ScaledObject, target: str, problems: Problems) -> None:
    path = scaled.at(f"{_MODIFIERS}.target")
    if not GO_NUMBER.fullmatch(target) or not SMALLEST_TARGET <= float(target) < math.inf:
        problems.add(path, f"{shown(target)} is no target; write a number above 0 in quotes, such as '1'.")
    elif scaled.fallback is not None and not re.fullmatch(r"\+?[0-9]+", target):
        problems.add(
            path,
            f"KEDA drops the fallback without a word unless the target is a whole number; multiply formula and target "
            f"until {shown(target)} is one (fallback-target).",
        )


def _check_fallback(scaled: _ScaledObject, triggers: list[Trigger], problems: Problems) -> None:
    fallback, path = scaled.fallback, scaled.at("fallback")
    if fallback is None:
        return
    for key in ("failureThreshold", "replicas"):
        if fallback.get(key) is None:
            problems.add(path, f"a fallback needs {key}.")
        elif _whole(fallback, key, path, problems) == 0 and key == "replicas":
            problems.add(
                f"{path}.replicas",
                "an outage of what KEDA asks would stop every pod; write 1 or more (fallback-zero).",
            )
    behavior = fallback.get("behavior")
    if behavior not in (None, *_FALLBACK_BEHAVIORS):
        hint = _nearest_of(behavior, _FALLBACK_BEHAVIORS)
        problems.add(f"{path}.behavior", f"there is no such behavior; {hint}")
    if behavior == "scalingModifiers":
        _check_formula_fallback(scaled, problems)
    if triggers and not scaled.formula and not any(trigger.is_external for trigger in triggers):
        problems.add(path, "KEDA has no fallback for cpu and memory; take it out, or add another trigger.")


def _nearest_of(value: Any, known: Iterable[str]) -> str:
    return suggest(value, known) if isinstance(value, str) else f"write one of {', '.join(known)}."


def _check_formula_fallback(scaled: _ScaledObject, problems: Problems) -> None:
    path = scaled.at("fallback.behavior")
    if not scaled.formula:
        problems.add(path, "scalingModifiers needs a formula; write one, or take another behavior.")
    elif "??" not in scaled.formula and "nil" not in scaled.formula:
        problems.warn(
            path,
            "a trigger that fails is nil in the formula, which has no number for that; write <name> ?? <number>.",
        )


@dataclass(frozen=True)
class _Feature:
    """Something that an older KEDA ignores or refuses."""

    path: str
    since: str
    what: str


def _check_version(scaled: _ScaledObject, triggers: list[Trigger], problems: Problems) -> None:
    """What the installed KEDA does not have yet. One that is too old for everything is said once, for the fleet."""
    if below_oldest("keda", scaled.keda):
        return
    for feature in _features(scaled, triggers):
        if older(scaled.keda, feature.since):
            problems.add(
                feature.path,
                f"{feature.what} needs KEDA {feature.since}, and {as_text(scaled.keda)} is installed; "
                "take it out or install a newer KEDA.",
            )


def _features(scaled: _ScaledObject, triggers: list[Trigger]) -> list[_Feature]:
    found = []
    if scaled.spec.get("initialCooldownPeriod"):
        found.append(_Feature(scaled.at("initialCooldownPeriod"), "2.14", "initialCooldownPeriod"))
    for name in _NEW_SWITCHES:
        if scaled.annotations.get(name, "false") not in FALSE_WORDS:
            found.append(_Feature(f"{scaled.path}.metadata.annotations.{name}", "2.18", name))
    labels = "scaledobject.keda.sh/hpa-excluded-labels"
    if labels in scaled.annotations:
        found.append(_Feature(f"{scaled.path}.metadata.annotations.{labels}", "2.18", labels))
    found += [_Feature(trigger.at(key), since, key) for trigger in triggers for key, since in trigger.later_keys]
    if scaled.fallback is not None:
        found += _fallback_features(scaled, scaled.fallback, triggers)
    return found


def _fallback_features(
    scaled: _ScaledObject, fallback: Mapping[str, Any], triggers: list[Trigger]
) -> Iterable[_Feature]:
    behavior = fallback.get("behavior")
    if behavior == "scalingModifiers":
        yield _Feature(scaled.at("fallback.behavior"), "2.20", "the fallback behavior scalingModifiers")
    elif behavior not in (None, "static"):
        yield _Feature(scaled.at("fallback.behavior"), "2.17", "a fallback behavior other than static")
    types = [scaled.modifiers.get("metricType")] if scaled.formula else [trigger.metric_type for trigger in triggers]
    if "Value" in types:
        yield _Feature(scaled.at("fallback"), "2.18", "a fallback with metricType Value")


def _check_formula(scaled: _ScaledObject, triggers: list[Trigger], problems: Problems) -> None:
    """KEDA compiles the formula with the names of all triggers that are no cpu or memory trigger (2.20)."""
    path = scaled.at(f"{_MODIFIERS}.formula")
    tokens = tokens_of(scaled.formula)
    named = _check_names(triggers, problems)
    # Names that are no words of the language leave the order of the words unclear.
    fault = writing_fault(tokens) or (order_fault(tokens) if named else "")
    if fault:
        problems.add(path, fault)
    if fault or not named:
        return
    names, functions = names_of(tokens)
    for function in sorted(functions - FUNCTIONS):
        problems.add(path, f"there is no function {function!r}; {nearest(function, FUNCTIONS)}")
    external = {trigger.name for trigger in triggers if trigger.is_external and trigger.name}
    resources = {trigger.name for trigger in triggers if not trigger.is_external and trigger.name}
    for name in sorted(names - external):
        if name in resources:
            problems.add(
                path, f"{name} is a cpu or memory trigger, which the HPA reads beside the formula; take it out."
            )
        else:
            hint = nearest(name, external) if external else "none of them has a name."
            problems.add(path, f"no trigger is called {name!r}; {hint}")
    for trigger in triggers:
        if trigger.is_external and trigger.name and trigger.name not in names:
            problems.warn(
                trigger.path,
                f"the formula does not name {trigger.name}, so it has no effect; use it there or take the trigger out.",
            )


def _check_names(triggers: list[Trigger], problems: Problems) -> bool:
    """Whether the names of the triggers are such that a formula can hold them."""
    good = True
    for trigger in triggers:
        if not trigger.is_external:
            continue
        path = f"{trigger.path}.name"
        if not trigger.name:
            problems.add(path, "with a formula each trigger needs a name; give it one, and use it in the formula.")
        elif not IDENTIFIER.fullmatch(trigger.name):
            problems.add(
                path, f"a formula cannot name {trigger.name!r}; use letters, digits and '_', and a letter first."
            )
            good = False
        elif trigger.name in WORDS:
            problems.add(path, f"{trigger.name!r} is a word of the formula's language; take another name.")
            good = False
    return good
