# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbook plan: the fleet of one host over its loads. They read no cluster and change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._model.selection import select
from ansible_collections.queueops.celery.plugins.module_utils._report.page import Report
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX
from ansible_collections.queueops.celery.plugins.module_utils._schema.moments import duration
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._simulation.comparing import compared, refusal, title_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import Result as Simulated
from ansible_collections.queueops.celery.plugins.module_utils._simulation.suggest import yaml_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.tables import page_of, rows_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.ways import lines_of
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils.simulation import (
    Files,
    Options,
    Planned,
    compare_ways,
    read_work,
    simulate_fleet,
    simulate_suggested,
    suggest_for,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._files import real_path, write_text
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun, Result
from ansible_collections.queueops.celery.plugins.plugin_utils._plan_page import own_path, write_page

#: What to do where nothing is judged.
_LOAD_IT = f"Write its work into {PREFIX}loads."


class SimulationRun(FleetRun):
    """One such run over one host.

    :ivar hosts_in_play: how many hosts the play has, whose pages must not be one file.
    """

    hosts_in_play = 1

    def simulate(self) -> Result:
        """Say how its variants scale over their loads."""
        return self._guarded(self._simulate, "plan")

    def _simulate(self) -> None:
        variables, problems = self.variables, Problems()
        inventory = variables.inventory()
        fleet = parse_fleet(inventory)
        hours, seed = variables.value("plan_hours"), variables.number("plan_seed")
        options = Options(hours=hours, seed=seed, with_bound=variables.flag("plan_bound"))
        chosen = select(fleet, variables.value("only"), problems)
        loads, files = read_work(variables.value("loads"), fleet, _text_of, problems, options.hours)
        before = self._before(problems)
        problems.raise_any()
        wanted = {(variant.service, variant.name) for variant in chosen.variants}
        loads = {place: parts for place, parts in loads.items() if place in wanted}
        self.warnings += fleet.warnings
        planned = simulate_fleet(fleet, loads, files, options, self._tell_next)
        self.warnings += planned.warnings
        lines = self._page(planned, options)
        report = Report(fleet, planned.results, planned.loads, options.hours, options.seed, planned.unloaded)
        if before is not None:
            differences = compared(before, rows_of(planned.results, False), planned.unloaded)
            report = replace(report, differences=differences)
            lines += ["", *(differences or ["Nothing differs from before."])]
        if variables.flag("plan_suggest"):
            report = self._with_suggestions(report, planned, files, options)
            lines += ["", *(yaml_of(report.suggestions or ()) or ["Nothing that was tried is better."])]
        if variables.flag("plan_compare"):
            report = self._with_ways(report, planned, files, options)
            lines += ["", *lines_of(report.ways)]
        self.result["plans"] = rows_of(planned.results, variables.flag("plan_series"))
        self._say(lines)
        self.screen.show(lines)
        self._keep(planned.results)
        if variables.text("plan_report"):
            better = (one for one in report.suggestions or () if one.steps)
            again = [simulate_suggested(fleet, inventory, one, planned, files, options) for one in better]
            self._picture(replace(report, suggested={one.title: one for one in again}), planned)
        if variables.flag("plan_gate"):
            self._judge(planned.results, before, {"/".join(place) for place in wanted})

    def _with_suggestions(self, report: Report, planned: Planned, files: Files, options: Options) -> Report:
        """The report with the YAML to paste."""
        inventory, budget = self.variables.inventory(), self.variables.value("plan_budget") or None
        found = suggest_for(report.fleet, inventory, planned, files, options, budget, self._tell_tried)
        self.result["suggestions"] = [one.as_data() for one in found]
        return replace(report, suggestions=found)

    def _with_ways(self, report: Report, planned: Planned, files: Files, options: Options) -> Report:
        """The report with what the same work is like where it is scaled in other ways."""
        inventory, suggested = self.variables.inventory(), report.suggestions or ()
        ways = compare_ways(report.fleet, inventory, planned, files, options, suggested, self._tell_compared)
        self.result["comparison"] = [one.as_data() for one in ways]
        return replace(report, ways=ways)

    def _tell_next(self, title: str) -> None:
        self.screen.progress(f"simulating {title}")

    def _tell_tried(self, title: str) -> None:
        self.screen.progress(f"trying other numbers for {title}")

    def _tell_compared(self, title: str) -> None:
        self.screen.progress(f"comparing {title} with the defaults of others")

    @staticmethod
    def _page(planned: Planned, options: Options) -> list[str]:
        lines = page_of(planned.results, [one.text for one in planned.replays])
        if planned.results and planned.unloaded:
            lines.append(f"Without a load, and left out: {', '.join(planned.unloaded)}.")
        if planned.results:
            lines += [
                f"{options.hours:g} h of load, seed {options.seed}. in time: ten-minute windows in which 95 % of the "
                "tasks began",
                "within max_wait_seconds. x least: pod-hours as a multiple of the least possible.",
            ]
        return lines

    # Files

    def _picture(self, report: Report, planned: Planned) -> None:
        """Write the page for a browser, and say what is to be said of it."""
        path = own_path(self.variables.text("plan_report"), self.host, self.hosts_in_play)
        replays = [one.text for one in planned.replays]
        report = replace(report, warnings=tuple(self.warnings), replays=replays)
        changed, told = write_page(path, report, self.checks)
        self.result["changed"] = changed or self.result["changed"]
        if report.results:
            self.result["report"] = path
        self._say([told])
        self.screen.show([told])

    def _file_in(self, folder: str) -> str:
        """The file of this host in a folder; hosts never share one."""
        return str(Path(real_path(folder)) / f"{self.host}.json")

    def _before(self, problems: Problems) -> list[dict[str, Any]] | None:
        """The rows that an earlier run kept; None where nothing is compared."""
        folder = self.variables.text("plan_baseline")
        if not folder:
            return None
        path, name = self._file_in(folder), f"{PREFIX}plan_baseline"
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            compared(found["plans"], found["plans"])
        except OSError as error:
            problems.add(
                name, f"{path} cannot be read: {error.strerror}. Make it with {PREFIX}plan_dir, or leave this out."
            )
        except (ValueError, KeyError, TypeError):
            problems.add(name, f"{path} is no file of this playbook. Make it anew with {PREFIX}plan_dir.")
        else:
            rows: list[dict[str, Any]] = found["plans"]
            return rows
        return None

    def _keep(self, results: tuple[Simulated, ...]) -> None:
        """Keep the rows for a later run to compare with."""
        folder = self.variables.text("plan_dir")
        if folder:
            text = json.dumps({"plans": rows_of(results, False)}, indent=1, sort_keys=True) + "\n"
            changed, _diff = write_text(self._file_in(folder), text, self.checks)
            self.result["changed"] = changed or self.result["changed"]

    def _judge(self, results: tuple[Simulated, ...], before: list[dict[str, Any]] | None, there: set[str]) -> None:
        """Fail where a variant misses its goal; where there is an earlier run, only if it was better there.

        A gate that judged nothing must not be green.

        :param there: titles of the variants that are to be judged if they have a load.
        """
        known = {title_of(row): row for row in before or ()}
        refused = []
        for result in results:
            why = refusal(known.get(result.title), result.as_data())
            if why:
                refused.append(f"{result.title}: {why}, and it is {duration(result.waits.p95)} at 95 %.")
        judged = {result.title for result in results}
        missing = [title for title in known if title in there - judged]
        refused += [f"{title}: the earlier run judged it, and here it has no load. {_LOAD_IT}" for title in missing]
        if refused:
            text = f"{counted(len(refused), 'variant')} of {len(results) + len(missing)} refused."
            self.result.update(failed=True, msg="\n".join([text, *refused]))
        elif not any(result.tasks for result in results):
            why = "no task came in the simulated hours" if results else "no variant of this run has a load"
            self.result.update(failed=True, msg=f"{PREFIX}plan_gate judged nothing: {why}. {_LOAD_IT}")


def _text_of(path: str) -> str:
    return Path(real_path(path)).read_text(encoding="utf-8")
