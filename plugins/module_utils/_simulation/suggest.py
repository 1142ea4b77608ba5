# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers that keep a goal at less cost, found by trying: one key after the other, whatever helps most.

A change counts only if the simulation is better with it, if it cuts no more work, and if the inventory takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .._model.fleet import Variant
from .._model.job_keys import JOBS
from .comparing import difference
from .results import Result

#: Changes that are made at most, and how much cheaper one must be to count.
_MOST_STEPS, _GAIN = 8, 0.02
#: Share of the windows that are to be within the goal.
_WINDOWS = 0.99
#: What is tried: seconds of windows and cooldowns, and the most pods of a variant.
_WINDOWS_DOWN, _COOLDOWNS, _MOST_PODS = (30, 60, 120, 300, 600), (30, 60, 120, 300), 1000

Keys = Mapping[str, Any]
#: Simulates a variant.
Simulates = Callable[[Variant], Result]
#: Gives the variant as it is with some keys; None where the inventory does not take them.
Makes: TypeAlias = "Callable[[Keys], Variant | None]"


@dataclass(frozen=True)
class Step:
    """One change of one key.

    :param reason: why, as a sentence.
    :param before: what was simulated without it, and C(after) with it.
    """

    key: str
    value: Any
    reason: str
    before: Result
    after: Result

    @property
    def proof(self) -> str:
        """The simulated difference, in a few words."""
        return "; ".join(difference(self.before.as_data(), self.after.as_data()))


@dataclass(frozen=True)
class Point:
    """What one set of keys gives, for a picture of wait against cost.

    :param keys: those that differ from the inventory; empty for today's.
    """

    keys: Keys
    wait_p95: float
    pod_seconds: float
    meets_goal: bool


@dataclass(frozen=True)
class Suggestion:
    """What is suggested for a variant.

    :param before: as the inventory has it.
    :param after: with every step; the same as C(before) where nothing is better.
    :param front: points of which no other one is better in both wait and cost, the cheapest first.
    """

    before: Result
    after: Result
    steps: tuple[Step, ...] = ()
    front: tuple[Point, ...] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The keys to write, each with its last value."""
        return {step.key: step.value for step in self.steps}

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a module's result."""
        return {
            "service": self.before.service,
            "variant": self.before.variant,
            "keys": self.keys,
            "steps": [
                {"key": one.key, "value": one.value, "reason": one.reason, "proof": one.proof} for one in self.steps
            ],
            "before": self.before.as_data(),
            "after": self.after.as_data(),
            "front": [
                {
                    "keys": dict(one.keys),
                    "wait_p95": round(one.wait_p95, 1),
                    "pod_seconds": round(one.pod_seconds, 1),
                    "meets_goal": one.meets_goal,
                }
                for one in self.front
            ],
        }


@dataclass
class _Search:
    """A search from one inventory.

    :param budget: pod-seconds that may be spent; None looks for the least that keeps the goal.
    """

    makes: Makes
    simulates: Simulates
    budget: float | None
    points: list[Point] = field(default_factory=list)
    known: dict[str, tuple[Variant, Result] | None] = field(default_factory=dict)

    def tried(self, keys: Keys) -> tuple[Variant, Result] | None:
        """Simulate once; what was tried before is known. None where the inventory does not take the keys."""
        name = repr(sorted(keys.items()))
        if name not in self.known:
            variant = self.makes(keys)
            self.known[name] = None if variant is None else (variant, self.simulates(variant))
            found = self.known[name]
            if found is not None:
                result = found[1]
                self.points.append(Point(dict(keys), result.waits.p95, result.pod_seconds, result.meets_goal))
        return self.known[name]

    def cost(self, result: Result) -> tuple[float, ...]:
        """What is worse comes later: cut work, then a missed goal, then the price."""
        cut = result.interrupted + result.lost + result.unfinished
        if self.budget is not None:
            return (cut, max(0.0, result.pod_seconds - self.budget), result.waits.p95, result.pod_seconds)
        late = max(0.0, _WINDOWS - result.share_within)
        return (cut, late, max(0.0, result.waits.p95 - result.goal), result.pod_seconds)

    def is_better(self, new: Result, old: Result) -> bool:
        """Whether a change is worth its line."""
        after, before = self.cost(new), self.cost(old)
        return after[:-1] < before[:-1] or (after[:-1] == before[:-1] and after[-1] < before[-1] * (1 - _GAIN))

    def go_on(self, keys: dict[str, Any], steps: list[Step], variant: Variant, now: Result) -> Result:
        """Change one key after the other, whatever helps most, until nothing does.

        :param keys: those that are changed already; they and the steps grow.
        """
        while len(steps) < _MOST_STEPS:
            best: tuple[Variant, Step] | None = None
            for key, value, reason in _changes(variant, now):
                found = self.tried({**keys, key: value})
                if found is None or not self.is_better(found[1], now):
                    continue
                if best is None or self.cost(found[1]) < self.cost(best[1].after):
                    best = (found[0], Step(key, value, reason, now, found[1]))
            if best is None:
                break
            variant, step = best
            keys[step.key], now = step.value, step.after
            steps.append(step)
        return now


def suggest(makes: Makes, simulates: Simulates, budget: float | None = None) -> Suggestion | None:
    """The keys that are better for a variant, and the proof of each; None where the inventory has no such variant.

    :param makes: gives the variant with some keys.
    :param simulates: the work over a variant, always the same work.
    :param budget: pod-seconds that may be spent: the shortest wait for them is looked for. None looks for the least
        cost that keeps C(max_wait_seconds).
    """
    search = _Search(makes, simulates, budget)
    today = search.tried({})
    if today is None:
        return None
    variant, before = today
    steps: list[Step] = []
    after = search.go_on({}, steps, variant, before)
    jobs = search.tried(_JOBS) if variant.uses_keda and variant.sees_in_flight else None
    if jobs is not None:
        first = Step("run_as", JOBS, "a Job ends when it has no work, and is never cut", before, jobs[1])
        others = [first]
        instead = search.go_on(dict(_JOBS), others, *jobs)
        if search.is_better(instead, after):
            steps, after = others, instead
    return Suggestion(before, after, tuple(_lasting(steps)), tuple(front_of(search.points)))


_JOBS: Keys = {"run_as": JOBS}


def _lasting(steps: list[Step]) -> list[Step]:
    """Of several changes of one key the last one, with the difference of all of them."""
    first: dict[str, Step] = {}
    last: dict[str, Step] = {}
    for step in steps:
        first.setdefault(step.key, step)
        last[step.key] = step
    return [step if first[key] is step else replace(step, before=first[key].before) for key, step in last.items()]


def _changes(variant: Variant, now: Result) -> Iterator[tuple[str, Any, str]]:
    """What might be better than a variant: key, value and reason."""
    scaling = variant.scaling
    if not variant.is_counted:
        return
    if variant.runs_as_jobs:
        yield from _more_pods(variant, now)
        return
    length = scaling.list_length
    for value in sorted({max(1, length // 2), max(1, length * 3 // 4)} - {length}):
        yield "list_length", value, "a pod comes for fewer waiting messages, so that they wait less"
    for value in sorted({length + max(1, length // 2), length * 2}):
        yield "list_length", value, "more messages may wait for a pod, and fewer pods do"
    yield from _more_pods(variant, now)
    yield from _slower_or_faster(variant)


def _more_pods(variant: Variant, now: Result) -> Iterator[tuple[str, Any, str]]:
    most = variant.scaling.max_replicas
    if now.peak_pods < most:
        return
    for value in (most * 2, most + max(1, most // 2)):
        if value <= _MOST_PODS:
            yield "max_replicas", value, "there were as many pods as there may be, and messages waited"


def _slower_or_faster(variant: Variant) -> Iterator[tuple[str, Any, str]]:
    scaling = variant.scaling
    down = scaling.behavior.get("scaleDown") or {}
    window = down.get("stabilizationWindowSeconds", 300)
    # To idle for less than a start takes is dearer on the whole, and one reading without work is not enough.
    shortest = max(variant.knowledge.start_seconds or 0.0, 2 * scaling.polling_interval)
    for value in _WINDOWS_DOWN:
        if value >= shortest and value != window:
            reason = "idle pods go sooner" if value < window else "pods stay for the next peak"
            yield "behavior", _with_window(value, value < window, down), reason
    if variant.goes_to_zero:
        for value in _COOLDOWNS:
            if value >= shortest and value != scaling.cooldown_period:
                reason = (
                    "the last pod goes sooner"
                    if value < scaling.cooldown_period
                    else "the last pod stays for more work"
                )
                yield "cooldown_period", value, reason


def _with_window(seconds: int, is_faster: bool, down: Mapping[str, Any]) -> dict[str, Any]:
    """A way down with another window; a shorter one also lets more than one pod go."""
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 60}] if is_faster else down.get("policies")
    found: dict[str, Any] = {"stabilizationWindowSeconds": seconds}
    return {"scaleDown": {**found, "policies": policies} if policies else found}


def front_of(points: list[Point]) -> Iterator[Point]:
    """The points of which no other one is better in both, the cheapest first."""
    shortest = float("inf")
    for point in sorted(points, key=lambda one: (one.pod_seconds, one.wait_p95)):
        if point.wait_p95 < shortest:
            shortest = point.wait_p95
            yield point


def yaml_of(suggestions: Iterable[Suggestion]) -> list[str]:
    """What is suggested, as lines to paste into an inventory. Each key has its reason and its proof before it."""
    found = ["celery_workers_config:"]
    services: dict[str, list[Suggestion]] = {}
    for one in suggestions:
        if one.steps:
            services.setdefault(one.before.service, []).append(one)
    for service, own in services.items():
        found.append(f"  {service}:")
        for one in own:
            found.append(f"    {one.before.variant}:")
            for step in one.steps:
                found += [f"      # {step.reason}.", f"      # {step.proof}"]
                found += [f"      {line}" for line in _key_lines(step.key, step.value)]
    return found if len(found) > 1 else []


def _key_lines(key: str, value: Any) -> list[str]:
    """One key and its value, as YAML."""
    if not isinstance(value, Mapping):
        return [f"{key}: {value}"]
    found = [f"{key}:"]
    for direction, rules in value.items():
        found.append(f"  {direction}:")
        for name, rule in rules.items():
            if isinstance(rule, list):
                found.append(f"    {name}:")
                found += [
                    "      - {" + ", ".join(f"{part}: {number}" for part, number in item.items()) + "}" for item in rule
                ]
            else:
                found.append(f"    {name}: {rule}")
    return found
