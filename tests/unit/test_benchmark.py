# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published benchmark in a small form: its shortest load, and that the page has every load."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._simulation.results import Result

from tests.bench.benchmark import OTHERS, TARGET, TRIALS, run, verdict

Found = tuple[dict[str, Result], dict[str, Any]]


@pytest.fixture(scope="module")
def burst() -> Found:
    return run(next(trial for trial in TRIALS if trial.name == "burst"))


def test_long_tasks_are_cut_by_plain_list_triggers_and_not_by_ours(burst: Found) -> None:
    """Seen on a real cluster with the plugin's numbers: both long tasks were killed, and came back to nobody."""
    results, keys = burst
    for name in OTHERS:
        assert (results[name].interrupted, results[name].unfinished) == (2, 2)
    for name in ("ours by default", "ours as suggested"):
        assert (results[name].interrupted, results[name].unfinished, results[name].share_within) == (0, 0, 1.0)
    assert keys
    assert results["ours as suggested"].pod_seconds < results["ours by default"].pod_seconds
    assert len({result.bound for result in results.values()}) == 1


def test_a_way_that_misses_the_aim_is_told_by_how_much(burst: Found) -> None:
    results, _ = burst
    assert verdict(results["ours by default"]).startswith("**Missed**: it costs ")
    assert "of the windows" not in verdict(results["ours by default"])


def test_the_page_has_every_load_with_every_way() -> None:
    sections = TARGET.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [text.splitlines()[0] for text in sections] == [trial.name.capitalize() for trial in TRIALS]
    for text in sections:
        rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
        assert rows[2:] == [
            f"| {name}" for name in (*OTHERS, "ours by default", "ours as suggested", "the least possible")
        ]
