# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a simulation in a real browser, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.queueops.celery.plugins.plugin_utils._simulation_run import SimulationRun

from tests.support.installed import require_command
from tests.support.real_browser import COMMAND, Browser, real_browser
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, done, made_run

VARIABLES = {
    "services": {"billing": {"image": IMAGE, "idempotent": True}},
    "config": {
        "billing": {
            "default": {"enable_keda": True, "longest_task_seconds": 60, "queues": ["<script>alert(1)</script>"]},
            "a_name_as_long_as_it_may_be_for_one_that_serves_mail": {
                "enable_keda": True,
                "name": "mail",
                "longest_task_seconds": 60,
                "schedule": [{"start": "0 8 * * *", "end": "0 18 * * *", "min_replicas": 2}],
            },
        }
    },
    "broker": {"host": "redis"},
    "loads": {
        "billing": {
            "default": {"burst": 400, "task_seconds": 5},
            "a_name_as_long_as_it_may_be_for_one_that_serves_mail": {"per_hour": 60},
        }
    },
    "plan_hours": 2,
}
SAID = "document.querySelector('.said').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_command(COMMAND, COMMAND)
    path = tmp_path_factory.mktemp("page") / "plan.html"
    done(made_run(SimulationRun, ModelCluster(), {**VARIABLES, "plan_report": str(path)}, False).simulate())
    return path


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    with real_browser() as found:
        yield found


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True), (360, False)])
def test_the_page_fits_its_window_asks_nobody_and_complains_of_nothing(
    browser: Browser, page: Path, width: int, is_dark: bool
) -> None:
    browser.open(page, width, is_dark)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('figure .panel svg path').length") > 10
    assert browser.value("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if is_dark else "rgb(255, 255, 255)"
    )
    assert browser.errors == []
    assert browser.requests == [page.as_uri()]


def test_the_cursor_says_what_was_decided_and_moves_by_keyboard_and_pointer(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    # It begins at the longest wait.
    first = browser.value(SAID)
    assert "longest wait" in first
    assert "KEDA: " in first
    assert "HPA: " in first
    browser.value("document.querySelector('input').focus()")
    browser.press("End")
    last = browser.value(SAID)
    assert "Backlog 0, in flight 0" in last
    assert browser.value("document.querySelector('input').getAttribute('aria-valuetext')").endswith(last[-40:])
    browser.press("ArrowLeft")
    assert browser.value(SAID) != last
    browser.value("document.querySelector('.plot').scrollIntoView()")
    place = browser.value("(({x, y}) => [x, y])(document.querySelector('.plot').getBoundingClientRect())")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] + 1, y=place[1] + 5)
    assert browser.value(SAID).startswith("Mon 00:00Backlog ")
    assert browser.errors == []


def test_names_are_text_and_every_picture_has_words(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    assert browser.value("document.scripts.length") == 2
    assert "<script>alert(1)</script>" in browser.value("document.body.innerText")
    unnamed = "[...document.querySelectorAll('svg')].filter(e => !e.closest('[aria-label], [aria-hidden]')).length"
    assert browser.value(unnamed) == 0
