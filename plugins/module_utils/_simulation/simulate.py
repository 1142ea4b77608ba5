# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One variant over its load: workers, KEDA and the HPA, until the work is done."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._schema.versions import Versions
from .autoscaler import SYNC_PERIOD, Pods
from .bound import bound_of
from .control import Control, Written
from .jobs import JobControl, ScaledJob, read_scaled_job
from .loads import Arrivals
from .pods import Worker
from .readings import Places, readings_of
from .results import Result, Series, flaps_in, spans, summary_of, waits_of, windows_of
from .scaled_object import ScaledObject, read_scaled_object
from .workers import Site

_HOUR = 3600.0
#: Seconds between two moments where nobody looks at the series.
_COARSE = 600.0
#: Hours that work may take after the last hour of the load, before the simulation ends without it.
LONGEST_TAIL = 12.0


@dataclass(frozen=True)
class Case:
    """One variant, as it would be sent.

    :param spec: C(spec) of its ScaledObject or ScaledJob; None where nothing scales it.
    :param is_job: whether it is a ScaledJob.
    :param begins_with: pods at the start; None for as few as there are while nothing happens.
    :param replicas: pods where nothing scales it.
    :param goal: C(max_wait_seconds).
    """

    service: str
    variant: str
    worker: Worker
    goal: float
    spec: Mapping[str, Any] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1
    is_job: bool = False
    begins_with: int | None = None
    places: Places = field(default_factory=Places)
    versions: Versions = field(default_factory=Versions)


class _Run:
    """One simulation."""

    def __init__(self, case: Case, arrivals: Arrivals, hours: float, seed: int, step: float) -> None:
        chance = random.Random(f"{seed}/{case.service}/{case.variant}")
        self.case, self.hours = case, hours
        self.site = Site(case.worker, arrivals, chance)
        self.scaled: ScaledObject | ScaledJob | None = None
        self.changes: list[Written] = []
        self.series = Series(step)
        self.peak = 0
        self.warnings: list[str] = []
        self.wanted = case.replicas
        self.control: Control | JobControl | None = None
        if case.spec is not None:
            self._control(case.spec, chance)
        if case.begins_with is not None and not case.is_job:
            self.wanted = case.begins_with
        self.site.begin_with(self.wanted)

    def _control(self, spec: Mapping[str, Any], chance: random.Random) -> None:
        case = self.case
        if case.is_job:
            job = self.scaled = read_scaled_job(spec, case.annotations)
            self.control, self.wanted = JobControl(job, chance.uniform(0.1, job.polling)), 0
        else:
            scaled = self.scaled = read_scaled_object(spec, case.annotations)
            polls, syncs = chance.uniform(0.1, scaled.polling), chance.uniform(0.1, SYNC_PERIOD)
            # A trigger was active long ago: the first cooldown of a new ScaledObject is over.
            self.control = Control(scaled, case.versions, polls, syncs, active_before=-1e9)
            self.wanted = _fewest(scaled)
        resources = () if isinstance(self.scaled, ScaledJob) else self.scaled.resources
        self._readings, self.warnings = readings_of(self.scaled.triggers, resources, case.places, case.versions.keda)

    def _pods(self) -> Pods:
        # A Job counts until it has ended.
        wanted = len(self.site.pods) if self.case.is_job else self.wanted
        return Pods(wanted, wanted, self.site.ready)

    def _read(self) -> list[float | None]:
        site = self.site
        return [reading(site) for reading in self._readings]

    def until_done(self) -> None:
        """Until the load is over, nothing is left, and the pods are as few as they may be."""
        control, site, now = self.control, self.site, 0.0
        load_ends, latest = self.hours * _HOUR, (self.hours + LONGEST_TAIL) * _HOUR
        sample, step = 0.0, self.series.step
        while now < latest:
            looks = min(control.next_poll, control.next_sync) if control is not None else float("inf")
            now = min(looks, sample)
            site.advance(now)
            if sample <= now:
                self._sample()
                sample += step
                self.peak = max(self.peak, len(site.pods))
                if now >= load_ends and self._is_over():
                    break
            if control is not None and looks <= now:
                self._look(control, now)

    def _is_over(self) -> bool:
        site = self.site
        if site.has_more or site.outstanding:
            return bool(not site.has_more and site.outstanding == len(site.stranded) and not site.pods)
        if self.case.is_job:
            return not site.pods
        fewest = _fewest(self.scaled) if isinstance(self.scaled, ScaledObject) else self.wanted
        return self.wanted <= fewest and len(site.pods) <= self.wanted

    def _look(self, control: Control | JobControl, now: float) -> None:
        for one in control.look(now, self._pods, self._read):
            self.changes.append(one)
            self.wanted = one.replicas
            if self.case.is_job:
                self.site.start(one.replicas - one.before)
            else:
                self.site.scale(one.replicas)
            self.peak = max(self.peak, len(self.site.pods))

    def _sample(self) -> None:
        site, series = self.site, self.series
        series.times.append(site.now)
        series.backlog.append(site.waiting)
        series.in_flight.append(site.outstanding - site.waiting)
        series.running.append(site.running)
        series.pods.append(len(site.pods))
        series.ready.append(site.ready)
        series.wanted.append(len(site.live) if self.case.is_job else self.wanted)
        control = self.control
        series.keda.append(control.keda_said.reason if control is not None else "")
        series.hpa.append(control.hpa_said.reason if control is not None else "")
        series.asked.append(control.hpa_said.wish if control is not None else None)

    def result(self, with_bound: bool) -> Result:
        """What came of it."""
        case, site, counts = self.case, self.site, self.site.counts
        site.close()
        arrivals = site.arrivals
        waits = waits_of(arrivals, site.began, site.now)
        windows, within = windows_of(arrivals.times, waits, case.goal)
        self._fill_waits(arrivals.times, waits)
        last = arrivals.times[-1] if arrivals.times else 0.0
        return Result(
            service=case.service,
            variant=case.variant,
            goal=case.goal,
            seconds=site.now,
            tasks=len(arrivals.times),
            done=counts.done,
            unfinished=site.undone,
            stranded=len(site.stranded),
            waits=summary_of(waits),
            windows=windows,
            windows_within=within,
            drain=None if site.undone else max(0.0, site.last_end - last),
            pod_seconds=site.pod_seconds,
            busy_seconds=site.busy_seconds,
            starts=counts.starts,
            peak_pods=self.peak,
            peak_connections=self.peak * case.worker.connections,
            changes=tuple(self.changes),
            flaps=flaps_in(self.changes),
            interrupted=counts.interrupted,
            given_back=counts.given_back,
            lost=counts.lost,
            repeated=counts.repeated,
            failed=counts.failed,
            series=self.series,
            formula=self.scaled.formula if isinstance(self.scaled, ScaledObject) else "",
            bound=bound_of(arrivals, case.goal, case.worker.slots, case.worker.start) if with_bound else None,
            warnings=tuple(self.warnings),
            start=case.places.start,
        )

    def _fill_waits(self, times: Sequence[float], waits: Sequence[float]) -> None:
        series = self.series
        longest = [0.0] * len(series.times)
        for first, last in spans(times, series.step):
            place = min(len(longest) - 1, int(times[first] // series.step) + 1)
            longest[place] = max(longest[place], *waits[first:last])
        series.wait.extend(longest)


def _fewest(spec: ScaledObject) -> int:
    """Pods that there are while nothing happens."""
    if spec.is_paused:
        return spec.paused_at if spec.paused_at is not None else max(1, spec.least)
    return spec.least if spec.idle is None else spec.idle


def simulate(
    case: Case, arrivals: Arrivals, hours: float, seed: int = 1, with_bound: bool = False, step: float = 60.0
) -> Result:
    """Simulate one variant.

    :param arrivals: the work that is sent to it.
    :param hours: how long the load lasts; the simulation goes on until the work is done and the pods are gone.
    :param seed: what random choices come from: the moments at which KEDA and the HPA look, and which pods go.
    :param with_bound: whether the least possible cost is worked out, too.
    :param step: seconds between two moments of the series.
    """
    run = _Run(case, arrivals, hours, seed, step)
    run.until_done()
    return run.result(with_bound)


def simulate_with_waits(case: Case, arrivals: Arrivals, hours: float, seed: int) -> tuple[Result, Sequence[float]]:
    """Simulate one variant, and tell how long each task waited."""
    run = _Run(case, arrivals, hours, seed, _COARSE)
    run.until_done()
    return run.result(with_bound=False), waits_of(arrivals, run.site.began, run.site.now)
