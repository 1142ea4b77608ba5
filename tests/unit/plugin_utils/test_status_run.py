# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of a play leave for the page, how watching goes on, and what cannot be asked for together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus
from ansible_collections.queueops.celery.plugins.plugin_utils import _status_run
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._status_page import _Wishes
from ansible_collections.queueops.celery.plugins.plugin_utils._status_run import (
    StatusFolder,
    StatusRun,
    look_at_all,
    watch,
    without_hidden,
)

from tests.unit.status_cases import Site, ago


def test_every_host_has_a_status_whatever_its_name_and_one_that_left_none_is_not_known(tmp_path: Path) -> None:
    folder = StatusFolder(HostFolder(tmp_path / "run"))
    found = replace(Site().status(), host="../north")
    folder.write(found)
    statuses = folder.read(["../north", "gone"])
    assert statuses[0] == found
    assert "stopped before its fleet was looked at" in statuses[1].failed
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_secret_value_that_a_server_repeats_is_hidden_wherever_it_speaks() -> None:
    site = Site()
    site.event("KEDAScalerFailed", "WRONGPASS for hunter2-x", ago(minutes=1))
    site.event(
        "SuccessfulRescale", "New size: 3; reason: hunter2-x above target", ago(minutes=1), "HorizontalPodAutoscaler"
    )
    found = without_hidden(site.status(), frozenset({"hunter2-x"}))
    assert "hunter2-x" not in str(found)
    assert found.all_problems[0].rule == "scaler-login"
    plain = Site().status()
    assert without_hidden(plain, frozenset({"hunter2-x"})) is plain


def test_watching_shows_each_look_and_ends_after_the_rounds_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[list[str]] = []
    monkeypatch.setattr(_status_run, "show_in_place", lambda lines: shown.append(list(lines)))
    slept: list[float] = []
    looks = iter([[FleetStatus("north", failed="second")], [FleetStatus("north", failed="third")]])
    found = watch(lambda: next(looks), [FleetStatus("north", failed="first")], 10, 3, slept.append, shows_all=False)
    assert found == [FleetStatus("north", failed="third")]
    assert [word for lines in shown for word in ("first", "second", "third") if word in "\n".join(lines)] == [
        "first",
        "second",
        "third",
    ]
    assert slept == [10, 10]
    assert shown[-1][-1] == "every 10 s, round 3 of 3; Ctrl-C ends it"


def test_a_host_that_cannot_be_reached_is_tried_again_and_hides_no_other() -> None:
    tries: list[str] = []

    def unreachable(name: str) -> StatusRun:
        def variables() -> Any:
            tries.append(name)
            raise ClusterError(f"{name} cannot be reached")

        return StatusRun(name, variables, lambda _connection: SimpleNamespace())  # type: ignore[arg-type,return-value]

    runs = [unreachable("north"), unreachable("south")]
    for _round in range(2):
        assert [status.failed for status in look_at_all(runs)] == ["north cannot be reached", "south cannot be reached"]
    assert tries == ["north", "south"] * 2


def wishes(**given: Any) -> _Wishes:
    values = {"status_format": "text", "status_file": "", "status_watch": 0, "status_watch_count": 0, **given}
    variables: Any = SimpleNamespace(text=values.__getitem__, number=values.__getitem__)
    return _Wishes.of(variables)


def test_a_page_that_refreshes_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wishes(status_watch=10).problem == ""
    assert wishes(status_format="json").problem == ""
    assert "celery_workers_status_format is json" in wishes(status_watch=10, status_format="json").problem
    monkeypatch.setattr(constants, "DEFAULT_STDOUT_CALLBACK", "ansible.posix.json")
    assert "the callback ansible.posix.json" in wishes(status_watch=10).problem
