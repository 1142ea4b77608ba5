# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beat notes of its ticks, and what its probe makes of that."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import beat_tick, check_beat
from celery import Celery
from celery.beat import Service


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(beat_tick, "TICK_FILE", str(tmp_path / "tick"))
    monkeypatch.setattr(check_beat, "TICK_FILE", str(tmp_path / "tick"))
    monkeypatch.setattr(Service, "get_scheduler", Service.get_scheduler)
    return tmp_path / "tick"


class Sleepy:
    """A scheduler class of an app's own, whose next tick is in half a minute."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    def tick(self) -> float:
        return 30.0


def test_each_tick_notes_when_the_next_one_is_due(file: Path) -> None:
    file.write_text("0")
    beat_tick.install({})
    # The file is no longer that of the container before.
    assert float(file.read_text()) == pytest.approx(time.time() + beat_tick.FIRST_TICK, abs=5)
    app = Celery("shop", broker="memory://", set_as_current=False)
    Service(app, scheduler_cls=Sleepy).scheduler.tick()
    assert float(file.read_text()) == pytest.approx(time.time() + 30 + beat_tick.PATIENCE, abs=5)


def test_a_beat_that_waits_for_the_lock_of_a_killed_one_is_not_restarted(file: Path) -> None:
    beat_tick.install({})
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert check_beat.main(f"127.0.0.1:{server.getsockname()[1]}") == 0


def test_the_probe_fails_for_a_late_tick_and_passes_while_the_broker_is_away(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = f"127.0.0.1:{server.getsockname()[1]}"
        assert check_beat.main(broker) == 1, "it has not ticked yet"
        file.write_text(str(time.time() + 60))
        assert check_beat.main(broker) == 0
        file.write_text(str(time.time() - 1))
        assert check_beat.main(broker) == 1
        assert check_beat.main() == 1
    assert check_beat.main(broker) == 0
