# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of real KEDA and real HPAs (Kubernetes 1.36, KEDA 2.20), played again without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._schema.versions import read_versions
from ansible_collections.queueops.celery.plugins.module_utils._simulation.replay import replayed

RECORDINGS = sorted((Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "recordings").glob("*.json"))
#: A tick of the HPA: what happens on one side may happen a tick later on the other.
TICK = 15.0


def recorded(recording: dict[str, Any]) -> list[tuple[float, int]]:
    """Second and wanted pods from then on, where they change."""
    found: list[tuple[float, int]] = []
    for second, wanted, *_rest in recording["rows"]:
        if not found or found[-1][1] != wanted:
            found.append((second, wanted))
    return found


@pytest.mark.skipif(not RECORDINGS, reason="../shared/fixtures/recordings is not at hand")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_run_is_foretold_at_every_tick(path: Path) -> None:
    recording = json.loads(path.read_text(encoding="utf-8"))
    versions = {"kubernetes": recording["kubernetes"], "keda": recording["keda"]}
    until = max([recording["changes_s"][-1][0], recording["rows"][-1][0], *(e[0] for e in recording["events"])]) + TICK
    steps = [
        (one.at, one.replicas)
        for one in replayed(
            recording["scaled_object_spec"],
            recording["changes_s"],
            until,
            recording["initial_replicas"],
            read_versions(versions, "", Problems()),
        )
    ]
    real = recorded(recording)
    # The same numbers of pods in the same order, and each at most one tick away.
    assert [number for _, number in steps] == [number for _, number in real]
    for (foretold, number), (seen, _) in zip(steps, real, strict=True):
        assert abs(foretold - seen) <= TICK + 1.0, f"{number} pods at {foretold}, really at {seen}"
