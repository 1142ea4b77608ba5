# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbook plan: the fleet of one host over its loads. They read no cluster and change nothing."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.queueops.celery.plugins.module_utils._model.selection import select
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import Result as Simulated
from ansible_collections.queueops.celery.plugins.module_utils._simulation.tables import page_of, rows_of
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils.simulation import (
    Options,
    Planned,
    check_options,
    read_work,
    simulate_fleet,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._files import real_path
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun, Result


class SimulationRun(FleetRun):
    """One such run over one host."""

    def simulate(self) -> Result:
        """Say how its variants scale over their loads."""
        return self._guarded(self._simulate, "plan")

    def _simulate(self) -> None:
        variables, problems = self.variables, Problems()
        fleet = parse_fleet(variables.inventory())
        options = Options(
            hours=variables.value("plan_hours"),
            seed=variables.number("plan_seed"),
            with_bound=variables.flag("plan_bound"),
        )
        check_options(options, problems)
        chosen = select(fleet, variables.value("only"), problems)
        loads, files = read_work(variables.value("loads"), fleet, _text_of, problems)
        problems.raise_any()
        wanted = {(variant.service, variant.name) for variant in chosen.variants}
        loads = {place: parts for place, parts in loads.items() if place in wanted}
        self.warnings += fleet.warnings
        planned = simulate_fleet(fleet, loads, files, options, self._tell_next)
        self.warnings += planned.warnings
        self.result["plans"] = rows_of(planned.results, variables.flag("plan_series"))
        self._say(self._page(planned, options))
        self.screen.show(self.result["notes"])
        if variables.flag("plan_gate"):
            self._judge(planned.results)

    def _tell_next(self, title: str) -> None:
        self.screen.progress(f"simulating {title}")

    @staticmethod
    def _page(planned: Planned, options: Options) -> list[str]:
        lines = page_of(planned.results)
        if planned.results and planned.unloaded:
            lines.append(f"Without a load, and left out: {', '.join(planned.unloaded)}.")
        if planned.results:
            lines += [
                f"{options.hours:g} h of load, seed {options.seed}. in time: ten-minute windows in which 95 % of the "
                "tasks began",
                "within max_wait_seconds. x least: pod-hours as a multiple of the least possible.",
            ]
        return lines

    def _judge(self, results: tuple[Simulated, ...]) -> None:
        """Fail where a variant misses its goal."""
        missed = [result.title for result in results if not result.meets_goal]
        if missed:
            text = (
                f"{counted(len(missed), 'variant')} of {len(results)} missed the goal: {', '.join(missed)}. See above."
            )
            self.result.update(failed=True, msg=text)


def _text_of(path: str) -> str:
    return Path(real_path(path)).read_text(encoding="utf-8")
