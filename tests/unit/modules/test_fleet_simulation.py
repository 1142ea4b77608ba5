# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action "fleet_simulation": what the playbook plan shows and returns."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.plugin_utils._simulation_run import SimulationRun

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, made_run

NAME = "fleet_simulation"
FLEET: Object = {
    "services": {"billing": {"image": IMAGE, "idempotent": True}},
    "config": {"billing": {name: {"enable_keda": True, "longest_task_seconds": 60} for name in ("default", "mail")}},
    "broker": {"host": "redis", "password": "hunter2-x"},
    "loads": {"billing": {"default": {"per_hour": 120, "task_seconds": 2}}},
    "plan_hours": 2,
}


def play(**variables: Any) -> Object:
    found: Object = made_run(SimulationRun, ModelCluster(), {**FLEET, **variables}, False).simulate()
    return found


def test_a_run_shows_a_table_and_returns_rows() -> None:
    found = done(play())
    assert [row["variant"] for row in found["plans"]] == ["default"]
    assert found["notes"][0].split()[:3] == ["variant", "tasks", "wait"]
    assert found["notes"][1].startswith("billing/default ")
    assert "Without a load, and left out: billing/mail." in found["notes"]
    assert not found["changed"]


def test_what_one_works_on_can_be_chosen() -> None:
    loads = {"billing": {name: {"per_hour": 10} for name in ("default", "mail")}}
    assert [row["variant"] for row in done(play(loads=loads, only="billing/mail"))["plans"]] == ["mail"]


SLOW: Object = {
    "loads": {"billing": {"default": {"burst": 500, "task_seconds": 60}}},
    "config": {"billing": {"default": {**FLEET["config"]["billing"]["default"], "max_replicas": 8}}},
}
SLOWER: Object = {
    **SLOW,
    "config": {"billing": {"default": {**SLOW["config"]["billing"]["default"], "max_replicas": 3}}},
}


def test_the_gate_fails_where_a_goal_is_missed_and_not_elsewhere() -> None:
    assert not play(plan_gate=True).get("failed")
    found = play(plan_gate=True, **SLOW)
    assert found["failed"]
    first, second = found["msg"].split("\n")
    assert first == "1 variant of 1 refused."
    assert second.startswith("billing/default: 95 % of the tasks are to begin within 10 min, and it is ")
    assert not play(**SLOW).get("failed")


def test_two_revisions_are_compared_and_only_what_got_worse_is_refused(tmp_path: Path) -> None:
    folder = str(tmp_path / "before")
    assert done(play(plan_dir=folder, **SLOW))["changed"]
    assert not play(plan_dir=folder, **SLOW)["changed"]
    same = play(plan_baseline=folder, plan_gate=True, **SLOW)
    assert not same.get("failed")
    assert "Nothing differs from before." in same["notes"]
    worse = play(plan_baseline=folder, plan_gate=True, **SLOWER)
    assert worse["failed"]
    (line,) = [text for text in worse["notes"] if " -> " in text]
    assert line.startswith("billing/default: p95 ")
    assert line.endswith("refused, 95 % of the tasks are to begin within 10 min")
    better = play(plan_baseline=folder, plan_gate=True, loads=FLEET["loads"])
    assert not better.get("failed")


@pytest.mark.parametrize(
    ("loads", "why"),
    [
        ({}, "no variant of this run has a load"),
        ({"billing": {"default": {"per_hour": 0}}}, "no task came in the simulated hours"),
    ],
)
def test_a_gate_that_judged_nothing_is_not_green(loads: Object, why: str) -> None:
    found = play(plan_gate=True, loads=loads)
    assert found["failed"]
    end = "Write its work into celery_workers_loads."
    assert found["msg"] == f"celery_workers_plan_gate judged nothing: {why}. {end}"
    assert not play(loads=loads).get("failed")


def test_a_variant_that_was_judged_before_must_be_judged_again(tmp_path: Path) -> None:
    both = {"billing": {name: {"per_hour": 120, "task_seconds": 2} for name in ("default", "mail")}}
    folder = str(tmp_path)
    assert done(play(plan_dir=folder, loads=both))["changed"]
    found = play(plan_baseline=folder, plan_gate=True)
    assert found["msg"].split("\n") == [
        "1 variant of 2 refused.",
        "billing/mail: the earlier run judged it, and here it has no load. Write its work into celery_workers_loads.",
    ]
    assert "billing/mail: not simulated this time" in found["notes"]
    # What nobody asks for, and what the fleet has no more, is not judged.
    assert not play(plan_baseline=folder, plan_gate=True, only="billing/default").get("failed")
    gone = {"billing": {"default": FLEET["config"]["billing"]["default"]}}
    assert not play(plan_baseline=folder, plan_gate=True, config=gone).get("failed")


def test_check_mode_keeps_no_file(tmp_path: Path) -> None:
    found = made_run(SimulationRun, ModelCluster(), {**FLEET, "plan_dir": str(tmp_path / "kept")}, True).simulate()
    assert found["changed"]
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("text", [None, "nonsense", "{}", '{"plans": [{}]}'])
def test_a_baseline_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "one.json").write_text(text, encoding="utf-8")
    found = play(plan_baseline=str(tmp_path))
    assert found["failed"]
    assert found["msg"].startswith("The inventory has 1 problem.\ncelery_workers_plan_baseline: ")


def test_suggestions_are_shown_as_yaml_that_the_inventory_takes() -> None:
    found = done(play(plan_suggest=True, **SLOWER))
    lines = found["notes"][found["notes"].index("celery_workers_config:") :]
    keys = yaml.safe_load("\n".join(lines))["celery_workers_config"]["billing"]["default"]
    assert keys == found["suggestions"][0]["keys"]
    again = done(
        play(config={"billing": {"default": {**SLOWER["config"]["billing"]["default"], **keys}}}, loads=SLOW["loads"])
    )
    assert again["plans"][0]["wait_p95"] == found["suggestions"][0]["after"]["wait_p95"]


def test_other_ways_are_told_on_the_screen_and_on_the_page(tmp_path: Path) -> None:
    page = str(tmp_path / "plan.html")
    loads = {"billing": {name: {"per_hour": 60, "task_seconds": 2} for name in ("default", "mail")}}
    found = done(play(plan_compare=True, plan_report=page, loads=loads))
    ways = [(row["title"], row["way"]) for row in found["comparison"]]
    assert ("billing/mail", "Tutor plugin's defaults") in ways
    assert ("billing", "in one shared queue") in ways
    text = "\n".join(found["notes"])
    written = Path(page).read_text(encoding="utf-8")
    for _title, way in ways:
        assert way in text
        assert way.replace("'", "&#x27;") in written
    assert "comparison" not in done(play(loads=loads))


def test_wrong_loads_and_wrong_variables_are_told_together() -> None:
    found = play(loads={"billing": {"default": {}}}, plan_hours="long")
    assert found["failed"]
    assert "celery_workers_plan_hours" in found["msg"]


def test_a_page_is_written_once_and_readable_for_everybody(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "plan.html"
    first = done(play(plan_report=str(page)))
    assert (first["changed"], first["report"]) == (True, str(page))
    assert any(line.endswith("plan.html has the same with pictures. Open it in a browser.") for line in first["notes"])
    text = page.read_text(encoding="utf-8")
    assert "billing/default" in text
    assert "hunter2-x" not in text
    assert page.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in page.parent.iterdir()] == ["plan.html"]
    assert not done(play(plan_report=str(page)))["changed"]


def test_check_mode_writes_no_page_and_says_what_it_would_do(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    found = made_run(SimulationRun, ModelCluster(), {**FLEET, "plan_report": str(page)}, True).simulate()
    assert found["changed"]
    assert any(line.endswith("plan.html would be written.") for line in found["notes"])
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = play(plan_report=str(tmp_path / "file" / "plan.html"))
    assert found["failed"]
    assert "cannot be written" in found["msg"]


def test_hosts_of_one_play_have_pages_of_their_own(tmp_path: Path) -> None:
    run = made_run(SimulationRun, ModelCluster(), {**FLEET, "plan_report": str(tmp_path / "plan.html")}, False)
    run.hosts_in_play = 2
    run.simulate()
    assert [path.name for path in tmp_path.iterdir()] == [f"plan-{run.host}.html"]


def test_without_anything_simulated_there_is_no_page_and_the_run_says_so(tmp_path: Path) -> None:
    found = done(play(loads={}, plan_report=str(tmp_path / "plan.html")))
    assert any(line.endswith("plan.html is not written: nothing was simulated.") for line in found["notes"])
    assert not list(tmp_path.iterdir())


def test_the_action_has_a_documented_module_of_its_name() -> None:
    documented = importlib.import_module(f"ansible_collections.queueops.celery.plugins.modules.{NAME}").DOCUMENTATION
    assert yaml.safe_load(documented)["options"] == {}
