# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a budget can be kept: one number for all its variants, and nothing that passes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from .._model.fleet import Fleet, Variant, titles_of
from .._schema.problems import Problems


def judge_budgets(fleet: Fleet, problems: Problems) -> None:
    """The budgets of a fleet."""
    budgets: dict[str, list[Variant]] = defaultdict(list)
    for variant in fleet.variants:
        budget = variant.scaling.budget
        if budget is None:
            continue
        missing = [key for key in ("name", "pods") if not getattr(budget, key)]
        if missing:
            example = "{name: database, pods: 20}"
            problems.add(_place(variant), f"a budget needs {' and '.join(missing)}; write one such as {example}.")
        elif not variant.uses_keda:
            reason = "its Jobs" if variant.runs_as_jobs else "the pods of a scaler that is not KEDA"
            problems.add(
                _place(variant),
                f"budget {budget.name} cannot limit {variant.title}: {reason} do not follow its formula. Write "
                f"budget: false there{'' if variant.runs_as_jobs else ', or enable_keda: true'}.",
            )
        else:
            budgets[budget.name].append(variant)
    for name, variants in budgets.items():
        if _agree(name, variants, problems):
            _judge_reserves(name, variants, problems)
            for variant in variants:
                _judge_ways_around(variant, problems)


def _place(variant: Variant, key: str = "") -> str:
    return f"{variant.path_of('budget')}{f'.{key}' if key else ''}"


def _agree(name: str, variants: list[Variant], problems: Problems) -> bool:
    """Whether all variants of a budget name the same number of pods."""
    first = variants[0]
    others = [variant for variant in variants if _pods(variant) != _pods(first)]
    if others:
        problems.add(
            _place(others[0], "pods"),
            f"budget {name} has {_pods(others[0])} pods here and {_pods(first)} at {_place(first, 'pods')}. Write the "
            "same number on all its variants, or once in celery_workers_queue_defaults.",
        )
    elif len(variants) == 1:
        problems.warn(
            _place(first),
            f"{first.title} is the only variant of budget {name}, so it shares with none. Name the budget on others, "
            "or write max_replicas instead.",
        )
    return not others


def _pods(variant: Variant) -> int:
    return variant.scaling.budget.pods if variant.scaling.budget is not None else 0


def _judge_reserves(name: str, variants: list[Variant], problems: Problems) -> None:
    total, pods = sum(variant.reserve for variant in variants), _pods(variants[0])
    if total > pods:
        largest = max(variants, key=lambda variant: variant.reserve)
        problems.add(
            _place(largest),
            f"{titles_of(variants)} keep {total} pods of budget {name} for themselves (reserve, min_replicas, and "
            f"min_replicas of a schedule), {largest.reserve} of them {largest.title}, and it has {pods}. Lower these, "
            f"or write pods: {total} or more.",
        )
    for variant in variants:
        if variant.reserve > variant.scaling.max_replicas:
            problems.add(
                _place(variant, "reserve"),
                f"{variant.reserve} pods are kept for {variant.title}, which never has more than max_replicas "
                f"{variant.scaling.max_replicas}. Lower reserve, or raise max_replicas.",
            )


def _judge_ways_around(variant: Variant, problems: Problems) -> None:
    """What asks for pods beside the formula."""
    scaling = variant.scaling
    kinds = sorted({trigger["type"] for trigger in scaling.extra_triggers} & {"cpu", "memory"})
    if kinds:
        problems.add(
            _place(variant),
            f"the trigger {kinds[0]} of {variant.title} asks the HPA itself for pods, beside the formula that keeps "
            f"the budget, and would pass it. Take {kinds[0]} out of extra_triggers, or write budget: false.",
        )
    fallback = scaling.fallback.replicas if scaling.fallback is not None else None
    if fallback is not None and fallback > variant.reserve:
        problems.add(
            variant.path_of("fallback"),
            f"fallback.replicas {fallback} of {variant.title} is above the {variant.reserve} pods of the budget that "
            f"are kept for it, so an outage of the broker would pass the budget. Write budget.reserve: {fallback}, or "
            "lower it.",
        )


def most_processes(variants: Iterable[Variant]) -> int:
    """Processes that variants have at most, budgets counted once: each pod as many as it has slots."""
    free: dict[str, int] = {}
    processes = 0
    # A budget is dearest where its pods have the most slots.
    for variant in sorted(variants, key=lambda item: -item.slots):
        pods, budget = variant.most_pods, variant.scaling.budget
        if budget is not None:
            pods = min(pods, free.get(budget.name, budget.pods))
            free[budget.name] = free.get(budget.name, budget.pods) - pods
        processes += pods * variant.slots
    return processes
