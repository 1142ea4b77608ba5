# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait goals that nothing measures, and a Prometheus that nobody asks."""

from __future__ import annotations

from .._celery.measuring import is_too_old, source_of, wants_goal, why_not
from .._model.fleet import Fleet, Variant, titles_of
from .._model.watching import PARTS
from .._schema.problems import Problems
from .._schema.versions import as_text


def check_wait_goals(fleet: Fleet, problems: Problems) -> None:
    """Say which variants go by C(list_length) although a Prometheus is named and they have a wait goal."""
    prometheus = fleet.prometheus
    if prometheus is None:
        return
    path, keda = prometheus.path_of("url"), fleet.versions.keda
    wanting = [variant for variant in fleet.variants if wants_goal(variant)]
    scaled = [variant for variant in wanting if variant.uses_keda]
    for variant in wanting:
        _warn_without_effect(variant, problems)
    if not scaled:
        problems.warn(
            path,
            "no variant that KEDA scales writes max_wait_seconds, so nothing is asked of Prometheus. Write it into "
            "variants or into celery_workers_queue_defaults.",
        )
        return
    able = [item for item in scaled if not why_not(item, fleet.service_of(item).broker, None)]
    if able and is_too_old(keda):
        problems.warn(
            path,
            f"KEDA {as_text(keda)} cannot scale while Prometheus is away, so {titles_of(able)} go by list_length. "
            "Install KEDA 2.20.1 or later, or leave this out.",
        )
    elif able and not source_of([part for part in PARTS if fleet.monitoring.is_enabled(part)]):
        problems.add(
            path,
            "nothing measures the tasks, because neither Flower nor the exporter is enabled, so Prometheus has no "
            "series of them. Write celery_workers_exporter_enabled: true or celery_workers_flower_enabled: true.",
        )
    _warn_of_others(fleet, [item for item in scaled if item not in able], problems)


def _warn_of_others(fleet: Fleet, variants: list[Variant], problems: Problems) -> None:
    for variant in variants:
        if "list_length" in variant.written_keys:
            continue
        path = variant.path_of("max_wait_seconds")
        if variant.scaling.fallback is None:
            path = variant.path_of("fallback")
        reason = why_not(variant, fleet.service_of(variant).broker, None)
        problems.warn(path, f"{variant.title} goes by list_length and not by its wait goal: {reason}.")


def _warn_without_effect(variant: Variant, problems: Problems) -> None:
    """A goal on a variant itself that nothing scales by its queue; in shared defaults it is meant for others."""
    path = variant.path_of("max_wait_seconds")
    if variant.uses_keda or not path.endswith(f".{variant.service}.{variant.name}.max_wait_seconds"):
        return
    reason = (
        "each message may have a Job of its own anyway"
        if variant.runs_as_jobs
        else "only KEDA scales by a queue; write enable_keda: true"
    )
    problems.warn(path, f"nothing is asked of Prometheus for {variant.title}: {reason}.")
