# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts of a fleet: one rule of each kind for all variants whose thresholds are the same.

An alert is left out where nothing gives it numbers: what waits is known of variants that KEDA scales, and what becomes
of tasks where Flower runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .._model.fleet import Fleet
from .._model.names import MONITORING, ownership_labels, rule_name
from .._model.observed import NOTHING, Observed
from .._model.watching import PrometheusRule
from .alert_cases import Case, Kind, Rule
from .alert_kinds import KINDS, texts_of
from .job_alerts import JOB_KINDS
from .promql import duration
from .recordings import PART, Members, info, recordings
from .resources import resource
from .scalers import transferred

#: Characters of rules in one object. The copy of it that is kept in an annotation may have 262144, and the operator
#: gives Prometheus its rules in ConfigMaps of half a megabyte.
_LARGEST = 150_000

#: Labels that say what an alert is about. Nothing goes over them.
_PLACE = ("fleet", "namespace", "service", "variant", "deployment")


def rule_resources(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """The PrometheusRules of a fleet: one, and further ones where it would be too large."""
    rule = fleet.monitoring.prometheus_rule
    if rule is None or "PrometheusRule" in observed.missing_kinds:
        return []
    labels, found = ownership_labels(fleet.name, component=MONITORING), []
    for number, group in enumerate(rule_groups(fleet, observed), start=1):
        name = rule_name(fleet.name) if number == 1 else f"{rule_name(fleet.name)}-{number}"
        live, spec = observed.find("PrometheusRule", name), {"groups": [group]}
        found.append(resource("PrometheusRule", fleet, name, labels, MONITORING, live, spec, rule.labels))
    return found


def rule_groups(fleet: Fleet, observed: Observed = NOTHING) -> list[dict[str, Any]]:
    """Rules as Prometheus and its operator read them: one group, or several where it would be too large.

    Each group is complete, because a series that another group records may be one evaluation old.
    """
    rule = fleet.monitoring.prometheus_rule or PrometheusRule()
    parts = list(_parts(fleet, rule, _cases(fleet, observed)))
    interval = {"interval": rule.interval} if rule.interval else {}
    return [
        {"name": f"celery-{fleet.name}" if number == 1 else f"celery-{fleet.name}-{number}", **interval, "rules": rules}
        for number, rules in enumerate(parts, start=1)
    ]


def _parts(fleet: Fleet, rule: PrometheusRule, cases: list[Case], part: str = "") -> Iterator[list[dict[str, Any]]]:
    """Rules in as many parts as are needed for none of them to be too large, each of variants of its own."""
    rules = _rules(fleet, rule, cases, part)
    if len(cases) > 1 and len(json.dumps(rules)) > _LARGEST:
        half = len(cases) // 2
        yield from _parts(fleet, rule, cases[:half], f"{part}a")
        yield from _parts(fleet, rule, cases[half:], f"{part}b")
    elif rules:
        yield rules


def _rules(fleet: Fleet, rule: PrometheusRule, cases: list[Case], part: str) -> list[dict[str, Any]]:
    members = Members(fleet, tuple(case.variant.deployment for case in cases), part)
    alerts = [
        _alert(rule, kind, kind.rule(members, alike), _without(members, number))
        for kind in _wanted(rule)
        for number, alike in enumerate(_alike(kind, [case for case in cases if kind.applies(case)]), start=1)
    ]
    if not alerts:
        return []
    held: dict[str, list[str]] = {}
    for case in cases:
        held.setdefault(case.held_by, []).append(case.variant.deployment)
    recorded = recordings(
        members, held, sorted({case.pace_window for case in cases}), [alert["expr"] for alert in alerts]
    )
    return [*(info(members, case.variant, texts_of(case)) for case in cases), *recorded, *alerts]


def _wanted(rule: PrometheusRule) -> Iterator[Kind]:
    return (kind for kind in (*KINDS, *JOB_KINDS) if rule.severities.get(kind.name) != "none")


def _alike(kind: Kind, cases: Iterable[Case]) -> Iterable[list[Case]]:
    """Variants for which one rule says the right thing."""
    found: dict[Any, list[Case]] = {}
    for case in cases:
        found.setdefault(kind.alike(case), []).append(case)
    return found.values()


def _without(members: Members, number: int) -> list[str]:
    """Labels that are set to nothing, which no alert then has.

    promtool takes rules of one name and equal labels for duplicates, so further rules of a kind get another one.
    """
    found = [PART] if members.part else []
    return [*found, f"rule_{members.part}{number}"] if members.part or number > 1 else found


def _alert(settings: PrometheusRule, kind: Kind, rule: Rule, without: list[str]) -> dict[str, Any]:
    own = {name: text for name, text in settings.alert_labels.items() if name not in _PLACE}
    # What only the description needs is no label of the alert.
    nothing = dict.fromkeys((*rule.texts, *without), "")
    return {
        "alert": kind.name,
        "expr": rule.expr,
        "for": duration(rule.lasts),
        "labels": {**nothing, **own, "severity": _severity(settings, kind)},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": f"{settings.runbook_url}#{kind.name.lower()}",
        },
    }


def _severity(settings: PrometheusRule, kind: Kind) -> str:
    return settings.severities.get(kind.name, kind.severity)


def alert_table(fleet: Fleet) -> list[dict[str, Any]]:
    """One row per alert and variant, for people."""
    rule = fleet.monitoring.prometheus_rule
    if rule is None:
        return []
    return [
        {
            "alert": kind.name,
            "severity": _severity(rule, kind),
            "for": duration(kind.lasts(case)),
            "service": case.variant.service,
            "variant": case.variant.name,
        }
        for case in _cases(fleet)
        for kind in _wanted(rule)
        if kind.applies(case)
    ]


def _cases(fleet: Fleet, observed: Observed = NOTHING) -> list[Case]:
    return [
        Case(fleet, variant, variant.watch.alerts, transferred(fleet, variant, observed))
        for variant in fleet.variants
        if variant.watch.alerts is not None
    ]
