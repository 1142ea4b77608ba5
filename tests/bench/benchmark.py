# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/benchmark.md: eight loads, each over four ways of scaling, beside the least that they can cost.

benchmark.py [name of a load]: only that one, shown and not written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX, Layer
from ansible_collections.queueops.celery.plugins.module_utils._schema.moments import duration
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._simulation.cases import case_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import Result
from ansible_collections.queueops.celery.plugins.module_utils._simulation.simulate import simulate
from ansible_collections.queueops.celery.plugins.module_utils._simulation.suggest import yaml_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.ways import (
    KEDA,
    TUTOR,
    Defaults,
    by_default,
)
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils.simulation import (
    Options,
    read_work,
    simulate_fleet,
    suggest_for,
    work_of,
)

from tests.checks import layout

TARGET = layout.ROOT / "docs" / "benchmark.md"
HOUR = 3600.0
#: What ours is measured against.
WINDOWS, RATIO = 0.99, 1.5


@dataclass(frozen=True)
class Trial:
    """One load.

    :param goal: max_wait_seconds.
    :param task: mean and longest time of a task.
    :param limit: what keeps every scaler from the aim, for people.
    """

    name: str
    about: str
    goal: float
    hours: float
    task: tuple[float, float]
    load: Any
    keys: Mapping[str, Any] = field(default_factory=dict)
    limit: str = ""


def _on_and_off() -> dict[float, float]:
    """Seven minutes with work, seven without, for six hours."""
    return {round(number * 7 / 60, 6): (600.0 if number % 2 == 0 else 0.0) for number in range(52)}


TRIALS = (
    Trial(
        "constant",
        "600 tasks an hour for six hours; half of them run less than 10 s, 95 % less than 30 s.",
        120,
        6,
        (13, 120),
        {"per_hour": 600, "task_seconds": {"p50": 10, "p95": 30}},
        limit="The work is that of little more than one pod, so a second one is there nearly all the time.",
    ),
    Trial(
        "burst",
        "20 tasks of 5 s and 2 of 420 s at once.",
        120,
        1,
        (43, 600),
        [{"burst": 20, "task_seconds": 5}, {"burst": 2, "task_seconds": 420}],
    ),
    Trial(
        "daily curve",
        "20 to 600 tasks an hour over a day, with 30 % of noise; half of them run less than 25 s, 95 % less than 60 s.",
        120,
        24,
        (29, 300),
        {"daily": {"low": 20, "high": 600, "peak_hour": 14, "noise": 0.3}, "task_seconds": {"p50": 25, "p95": 60}},
    ),
    Trial(
        "exam week",
        "A daily curve of 20 to 200 tasks an hour for a week, and 1500 an hour more on two mornings; half of them run "
        "less than 8 s, 95 % less than 30 s.",
        120,
        168,
        (11, 120),
        [
            {"daily": {"low": 20, "high": 200, "peak_hour": 14, "noise": 0.3}, "task_seconds": {"p50": 8, "p95": 30}},
            {
                "steps": {0: 0, 57: 1500, 60: 0, 105: 1500, 108: 0},
                "task_seconds": {"p50": 8, "p95": 30},
            },
        ],
        limit="On most days tasks come one by one, and one is enough to keep a pod. The least possible lets them "
        "gather for two minutes first, which nothing does that goes by the number of messages.",
    ),
    Trial(
        "publish burst",
        "40 courses are published at once, 25 tasks each; half of them run less than 4 s, 95 % less than 15 s.",
        300,
        2,
        (6, 60),
        {"burst": 1000, "at_hour": 0.5, "task_seconds": {"p50": 4, "p95": 15}},
    ),
    Trial(
        "countdown flood",
        "2000 tasks of 2 s are sent at once with a countdown of 30 minutes.",
        300,
        2,
        (2, 30),
        {"burst": 2000, "task_seconds": 2, "eta_share": 1, "eta_seconds": 1800},
        {"longest_eta_seconds": 1800},
        limit="A worker takes tasks with a countdown at once and holds them until their time, so pods that come a "
        "moment later have no share in them, and as long as work is held no pod goes. Only many pods at once help, as "
        "KEDA's defaults start them.",
    ),
    Trial(
        "nightly million",
        "A million tasks of 0.2 s at once, to be begun within two hours.",
        7200,
        4,
        (0.2, 10),
        {"burst": 1000000, "task_seconds": 0.2},
    ),
    Trial(
        "on and off",
        "600 tasks of 10 s an hour for seven minutes, nothing for seven minutes, and so on for six hours.",
        120,
        6,
        (10, 30),
        {"steps": _on_and_off(), "task_seconds": 10},
    ),
)
#: The two ways that need no collection.
OTHERS = {other.name: other for other in (TUTOR, KEDA)}


def inventory_of(trial: Trial) -> Inventory:
    """What a user of ours knows and writes: how long tasks take, and how long they may wait."""
    mean, longest = trial.task
    known = {"task_seconds": mean, "longest_task_seconds": longest, "max_wait_seconds": trial.goal}
    layers = {
        "broker": {"host": "redis"},
        "services": {"app": {"image": "registry.example/app:1", "idempotent": True}},
        "config": {"app": {"work": {"enable_keda": True, "concurrency": 2, **known, **trial.keys}}},
    }
    return Inventory("shop", "", "", tuple(Layer(PREFIX + name, value) for name, value in layers.items()), None, {})


def run(trial: Trial) -> tuple[dict[str, Result], dict[str, Any]]:
    """What came of it by the name of the way of scaling, and the keys that were suggested."""
    inventory, problems = inventory_of(trial), Problems()
    fleet = parse_fleet(inventory)
    loads, files = read_work({"app": {"work": trial.load}}, fleet, lambda path: path, problems, trial.hours)
    problems.raise_any()
    options = Options(hours=trial.hours)
    planned = simulate_fleet(fleet, loads, files, options)
    ours = planned.results[0]
    found = {name: plain(fleet, loads, files, options, other) for name, other in OTHERS.items()}
    found["ours by default"] = ours
    written = yaml.safe_load("\n".join(yaml_of(suggest_for(fleet, inventory, planned, files, options)))) or {}
    suggested = pasted(inventory, written)
    if len(suggested.warnings) > len(fleet.warnings):
        sys.exit(f"{trial.name}: what is suggested brings {suggested.warnings}")
    again = simulate_fleet(suggested, loads, files, replace(options, with_bound=False)).results[0]
    found["ours as suggested"] = replace(again, bound=ours.bound)
    keys = written.get(f"{PREFIX}config", {}).get("app", {}).get("work", {})
    return {name: replace(result, bound=ours.bound) for name, result in found.items()}, keys


def pasted(inventory: Inventory, written: Mapping[str, Any]) -> Fleet:
    """The fleet of an inventory to which the suggested lines are added as they are; a refusal ends the benchmark."""
    layers = tuple(Layer(f"{name}__90_suggested", value) for name, value in written.items())
    return parse_fleet(replace(inventory, layers=(*inventory.layers, *layers)))


def plain(fleet: Fleet, loads: Any, files: Any, options: Options, defaults: Defaults) -> Result:
    """The same workers with one list trigger and nothing else: they acknowledge late, and have 30 seconds to stop."""
    variant = fleet.variants[0]
    case = by_default(
        case_of(fleet, variant, loads["app", "work"]), defaults, ("redis", {"listName": variant.queues[0]})
    )
    return simulate(case, work_of(variant, loads, files, options), options.hours, options.seed)


def section(trial: Trial) -> Iterator[str]:
    """The lines of one load."""
    results, keys = run(trial)
    bound = results["ours by default"].bound
    yield f"## {trial.name.capitalize()}"
    yield ""
    yield f"{trial.about} Each is to begin within {duration(trial.goal)}."
    yield ""
    yield "| | wait p95 | longest | windows in time | pod-hours | x least | runs cut | run twice | not done |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: | --: |"
    for name, result in results.items():
        yield row(name, result)
    if bound is not None:
        cost = f"{bound.least / HOUR:.2f}"
        yield f"| the least possible | | {duration(trial.goal)} | 100.0 % | {cost} | 1.00 | 0 | 0 | 0 |"
    yield ""
    said = verdict(results["ours as suggested"])
    yield f"{said} {trial.limit}".rstrip() if said.startswith("**Missed") else said
    yield ""
    if keys:
        yield "Suggested:"
        yield ""
        yield "```yaml"
        yield yaml.safe_dump(keys, sort_keys=False).rstrip()
        yield "```"
        yield ""


def row(name: str, result: Result) -> str:
    """One line of a table."""
    cells = (
        name,
        duration(round(result.waits.p95, 1)),
        duration(round(result.waits.longest, 1)),
        f"{int(result.share_within * 1000) / 10:.1f} %",
        f"{result.pod_seconds / HOUR:.2f}",
        "-" if result.ratio is None else f"{result.ratio:.2f}",
        str(result.interrupted),
        str(result.repeated),
        str(result.unfinished),
    )
    return f"| {' | '.join(cells)} |"


def verdict(result: Result) -> str:
    """Whether ours is where it is to be, and by how much it is not."""
    missed = []
    if result.share_within < WINDOWS:
        missed.append(f"{result.share_within * 100:.1f} % of the windows are in time, not {WINDOWS * 100:.0f} %")
    if (result.ratio or 0.0) > RATIO:
        missed.append(f"it costs {result.ratio:.2f} times the least, not {RATIO}")
    if not missed:
        return f"**Reached**: {WINDOWS * 100:.0f} % of the windows in time at {RATIO} times the least or less."
    return f"**Missed**: {', and '.join(missed)}."


HEAD = """# Benchmark

Eight loads over four ways of scaling, simulated as [sizing your queues](planning.md) explains. `make benchmark`
writes this page.

- **Tutor plugin's defaults**: one list trigger, 40 messages a pod, 30 pods at most. **KEDA's defaults**: 5
  messages, 100 pods. Both with late acknowledgement and the 30 seconds that Kubernetes gives a pod to stop.
- **Ours by default**: `enable_keda`, `idempotent`, and what is known of the work: `task_seconds`,
  `longest_task_seconds` and `max_wait_seconds`. **As suggested**: the same inventory with the lines below the table
  pasted into it, which `celery_workers_plan_suggest` finds.
- A pod runs two tasks at once and begins its first one 20 seconds after its creation.
- Windows in time: ten-minute windows in which 95 % of the tasks began within the goal. Runs cut: killed, to be run
  again or left behind. The least possible: pod-hours below which no one can begin every task in time, even knowing
  all of them beforehand. A way that leaves work behind may cost less.
- The aim is 99 % of the windows in time at 1.5 times the least or less. Where ours misses it, the line below the
  table says so.
"""


def main() -> int:
    """Write the page, or show one load."""
    chosen = [trial for trial in TRIALS if sys.argv[1:] in ([], [trial.name])]
    parts = []
    for trial in chosen:
        parts.append("\n".join(section(trial)))
        print(parts[-1], flush=True)
    if len(chosen) == len(TRIALS):
        TARGET.write_text("\n".join([HEAD, *parts]).rstrip() + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
