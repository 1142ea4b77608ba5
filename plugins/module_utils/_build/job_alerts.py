# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts of variants whose workers run as Jobs: those that fail, those that never start, and what keeps KEDA from
starting any.

kube-state-metrics knows Jobs and pods by their names, which begin with that of the ScaledJob.
"""

from __future__ import annotations

from .._model.job_keys import RESTARTS
from .alert_cases import Case, Kind, Rule
from .promql import POD_END, duration, failed_jobs, keda_job_errors
from .recordings import Members

#: Seconds for which a failure is news. KEDA keeps the last Jobs that failed for longer.
_NEWS = 3600
#: Seconds in which a Job may find a node and pull its image, beside those of the key.
_STARTING = 600


def _fail(members: Members, cases: list[Case]) -> Rule:
    own, namespace = [case.variant.deployment for case in cases], members.fleet.namespace
    return Rule(
        f"{members.joined(failed_jobs(members.scope, duration(_NEWS)), own)} > 0",
        0,
        "Jobs of {{$labels.service}}.{{$labels.variant}} fail.",
        f"{{{{ $value | humanize }}}} Jobs of ScaledJob {{{{$labels.deployment}}}} in {namespace} had a worker that "
        f"failed in the last {duration(_NEWS)}. What it held is given back. Kubernetes starts it again, at most "
        f"{RESTARTS} times.",
    )


def _do_not_start(members: Members, cases: list[Case]) -> Rule:
    own, lasts = [case.variant.deployment for case in cases], _start_lasts(cases[0])
    phase = f'kube_pod_status_phase{{{members.scope.in_namespace}, phase="Pending"}} == 1'
    named = f'label_replace({phase}, "deployment", "$1", "pod", "(.+){POD_END}")'
    return Rule(
        members.joined(f"max by (deployment, pod) ({named})", own),
        lasts,
        "A Job of {{$labels.service}}.{{$labels.variant}} does not start.",
        f"Pod {{{{$labels.pod}}}} of ScaledJob {{{{$labels.deployment}}}} in {members.fleet.namespace} has not started "
        f"for {duration(lasts)}. KEDA counts it as a Job that works, so nothing else starts for that message.",
    )


def _errors(members: Members, cases: list[Case]) -> Rule:
    own, recent = [case.variant.deployment for case in cases], duration(cases[0].recent)
    return Rule(
        f"{members.joined(members.scope.total(keda_job_errors(members.scope, recent)), own)} > 0",
        _errors_last(cases[0]),
        "KEDA cannot read the queues of {{$labels.service}}.{{$labels.variant}}.",
        f"KEDA counted {{{{ $value | humanize }}}} errors of ScaledJob {{{{$labels.deployment}}}} in "
        f"{members.fleet.namespace} in {recent}. It starts no Jobs until it can read the broker again.",
    )


def _errors_last(case: Case) -> float:
    # After the last error the expression still holds for that long, which is no part of the outage.
    return case.limits.scaler_errors_seconds + case.recent


def _start_lasts(case: Case) -> float:
    return case.limits.no_workers_seconds + _STARTING


def _runs_as_jobs(case: Case) -> bool:
    return case.variant.runs_as_jobs


JOB_KINDS = (
    Kind("CeleryJobsFail", "warning", _runs_as_jobs, lambda case: 0, lambda case: None, _fail),
    Kind("CeleryJobScalerErrors", "warning", _runs_as_jobs, _errors_last, lambda case: case.recent, _errors),
    Kind("CeleryJobsDoNotStart", "warning", _runs_as_jobs, _start_lasts, lambda case: None, _do_not_start),
)
