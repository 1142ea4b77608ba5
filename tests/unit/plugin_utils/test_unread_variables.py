# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that ask for what a run does not do: it says so, and does not end as if it had done it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.utils import vars as ansible_vars
from ansible.utils.context_objects import CLIArgs
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import PLAN, VALIDATE
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import names_given

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, operate, refused, run

SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
FLEET: Object = {
    "services": {"lms": {"image": IMAGE, "app": "lms.celery"}},
    "config": {"lms": {"default": SCALED}},
    "broker": {"host": "redis"},
}
ORDERS: Object = {
    "pause_until": "2h",
    "pause_replicas": 3,
    "pause_reason": "release",
    "pause_direction": "scale_in",
    "boost_min": 4,
    "boost_until": "2h",
    "boost_reason": "exam",
    "drain_reason": "upgrade",
    "drain_on_timeout": "resume",
    "gc": True,
    "plan_gate": True,
    "gc_min_age": 0,
    "quarantine_do": "drop",
    "rbac_state": "absent",
    "status_ask_broker": True,
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_order_on_the_command_line_that_a_run_does_not_read_stops_it(name: str, state: str) -> None:
    cluster = ModelCluster()
    owner = name.partition("_")[0]
    said = refused(run(cluster, given=[name], **FLEET, state=state, **{name: ORDERS[name]}))
    assert f"celery_workers_{name}: this run does not read it; only queueops.celery.{owner} does." in said
    assert not cluster.sent


@pytest.mark.parametrize(
    ("operation", "name"),
    [("pause", "boost_min"), ("resume", "pause_until"), ("boost", "pause_until"), ("resume", "drain_on_timeout")],
)
def test_playbooks_of_day_two_do_not_pass_over_the_orders_of_others(operation: str, name: str) -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    cluster.sent.clear()
    own: Object = {"boost_min": 2, "boost_until": "1h"} if operation == "boost" else {}
    said = refused(operate(cluster, operation, given=[name], **FLEET, **own, **{name: ORDERS[name]}))
    assert f"celery_workers_{name}: this run does not read it" in said
    assert not cluster.sent


@pytest.mark.parametrize(("operation", "names"), [("pause", ["pause_until", "pause_reason"]), ("boost", ["boost_min"])])
def test_what_a_playbook_reads_it_takes_from_anywhere(operation: str, names: list[str]) -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    variables = {name: ORDERS[name] for name in [*names, *(["boost_until"] if operation == "boost" else [])]}
    found = done(operate(cluster, operation, given=names, **FLEET, **variables))
    assert found["changed"]


def test_orders_for_one_playbook_are_one_mistake_and_told_with_all_others() -> None:
    orders = {name: ORDERS[name] for name in ("pause_until", "pause_reason", "boost_min")}
    broken = {**FLEET, "services": {"lms": {**FLEET["services"]["lms"], "imag": 1}}}
    found = run(ModelCluster(), given=list(orders), **broken, **orders)
    assert len(found["problems"]) == 3
    said = refused(found)
    assert "celery_workers_pause_until and celery_workers_pause_reason: this run does not read them" in said
    assert "imag" in said


@pytest.mark.parametrize(("name", "key"), [("pause_until", "key paused"), ("boost_min", "key min_replicas")])
def test_an_order_in_the_inventory_is_told_by_a_deploy_with_the_way_out(name: str, key: str) -> None:
    found = done(run(ModelCluster(), **FLEET, **{name: ORDERS[name]}))
    (said,) = [text for text in found["warnings"] if name in text]
    assert said.startswith(f"one: celery_workers_{name}: this is set, and a deploy does not read it; only ")
    assert key in said
    assert "with -e" in said


@pytest.mark.parametrize(
    "variables", [{"pause_reason": "by the team"}, {"pause_direction": "scale_in"}, {"pause_until": ""}]
)
def test_what_asks_for_nothing_by_itself_is_left_to_its_playbook(variables: Object) -> None:
    found = done(run(ModelCluster(), **FLEET, **variables))
    assert not [text for text in found.get("warnings", ()) if "pause_" in text]


def test_an_empty_order_on_the_command_line_asks_for_nothing() -> None:
    done(run(ModelCluster(), given=["pause_until", "boost_min"], **FLEET, pause_until="", boost_min=None))


@pytest.mark.parametrize(
    "given",
    [
        ["celery_workers_pause_until=2h other=1"],
        ['{"celery_workers_pause_until": "2h"}'],
        ["@{file}"],
    ],
)
def test_the_command_line_is_read_in_all_its_forms(
    given: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vars.yml"
    path.write_text("celery_workers_pause_until: 2h\n", encoding="utf-8")
    words = tuple(word.replace("{file}", str(path)) if word.startswith("@") else word for word in given)
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({"extra_vars": words, "args": ("queueops.celery.deploy",)}))
    monkeypatch.setattr(ansible_vars.load_extra_vars, "extra_vars", {}, raising=False)
    assert names_given(DataLoader()) == {"pause_until"}


@pytest.mark.parametrize(
    ("playbooks", "is_refused"),
    [
        (["queueops.celery.deploy"], True),
        (["/srv/ansible_collections/queueops/celery/playbooks/deploy.yml"], True),
        (["queueops.celery.pause", "queueops.celery.deploy"], False),
        (["queueops.celery.verify", "queueops.celery.deploy"], True),
        (["release.yml"], False),
        (["queueops.celery.deploy", "deploy.yml"], False),
    ],
)
def test_what_another_playbook_of_the_same_run_may_read_is_not_refused(
    playbooks: list[str], is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a playbook of one's own that pauses, deploys and resumes."""
    words = {"extra_vars": ("celery_workers_pause_until=2h",), "args": tuple(playbooks)}
    monkeypatch.setattr(context, "CLIARGS", CLIArgs(words))
    monkeypatch.setattr(ansible_vars.load_extra_vars, "extra_vars", {}, raising=False)
    assert bool(names_given(DataLoader())) == is_refused


# Check mode that fails where something differs


def test_check_mode_fails_on_drift_where_it_is_to_and_names_what_differs() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    assert not done(run(cluster, checks=True, **FLEET, fail_on_drift=True))["changed"]
    cluster.objects["Deployment", "lms-worker"]["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    found = run(cluster, checks=True, **FLEET, fail_on_drift=True)
    assert "1 object is not as the inventory says: Deployment lms-worker." in refused(found)
    assert not run(cluster, checks=True, **FLEET).get("failed")


def test_a_run_that_changes_what_differs_does_not_take_it() -> None:
    cluster = ModelCluster()
    for reaches in (VALIDATE, PLAN):
        said = refused(run(cluster, checks=True, reaches=reaches, **FLEET, fail_on_drift=True))
        assert "celery_workers_fail_on_drift: this run compares nothing with the cluster" in said
    said = refused(run(cluster, **FLEET, fail_on_drift=True))
    assert "celery_workers_fail_on_drift: this run changes what differs" in said
    assert not cluster.sent
