# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker counts as one that takes nothing, and what its probe makes of that."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import check_consuming, consuming
from celery.worker import state

SECONDS = 45.0


class Shop:
    """A worker with two free slots, of a broker in which messages wait."""

    def __init__(self) -> None:
        self.worker = SimpleNamespace(blueprint=SimpleNamespace(state=1), app=self)
        self.consumer = SimpleNamespace(connection=SimpleNamespace(connected=True))
        self.task_consumer = SimpleNamespace(queues=[SimpleNamespace(name="default", queue_arguments=None)])
        self.active: list[str] = []
        self.slots, self.accepted, self.may_take, self.is_stopping = 2, 0, True, False
        self.waits = 5
        self.is_away = False

    @property
    def queues(self) -> list[str]:
        return [str(queue.name) for queue in self.task_consumer.queues]

    def connection_for_read(self) -> Shop:
        if self.is_away:
            raise ConnectionError("refused")
        return self

    def channel(self) -> Shop:
        return self

    def __enter__(self) -> Shop:
        return self

    def __exit__(self, *_raised: object) -> None:
        pass

    def _size(self, _queue: str) -> int:
        return self.waits


class Watch:
    """A watch over that worker, whose clock a test moves."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.shop, self.now = shop, 1000.0
        monkeypatch.setattr(consuming, "watched", shop)
        monkeypatch.setattr(consuming, "monotonic", lambda: self.now)
        monkeypatch.setattr(consuming, "STUCK_FILE", str(folder / "stuck"))
        monkeypatch.setattr(state, "should_stop", None)
        self.file = folder / "stuck"
        self.watch = consuming.ConsumingWatch(SECONDS)

    def passes(self, seconds: float) -> Watch:
        end = self.now + seconds
        while self.now < end:
            self.now += self.watch.pause
            try:
                self.watch.look()
            except ConnectionError:
                self.watch.begin_again()
        return self

    @property
    def ends(self) -> bool:
        return bool(state.should_stop == 0)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def watch(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watch:
    return Watch(shop, monkeypatch, tmp_path)


def test_a_worker_that_takes_nothing_though_it_could_is_ended_as_by_a_sigterm(watch: Watch) -> None:
    assert not watch.passes(SECONDS - 5).ends
    assert watch.passes(20).ends
    assert watch.file.read_text().endswith(" 0")


REASONS: dict[str, dict[str, Any]] = {
    "nothing waits": {"waits": 0},
    "the broker is away": {"is_away": True},
    "every slot is busy": {"active": ["a", "b"]},
    "it may hold no more": {"may_take": False},
    "it stops": {"is_stopping": True},
    "it drains": {"task_consumer": SimpleNamespace(queues=[])},
    "one worker of several takes everything": {
        "task_consumer": SimpleNamespace(
            queues=[SimpleNamespace(name="default", queue_arguments={"x-single-active-consumer": True})]
        )
    },
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_worker_that_has_a_reason_to_take_nothing_goes_on(watch: Watch, shop: Shop, reason: str) -> None:
    before = {name: getattr(shop, name) for name in REASONS[reason]}
    for name, value in REASONS[reason].items():
        setattr(shop, name, value)
    assert not watch.passes(10 * SECONDS).ends
    for name, value in before.items():
        setattr(shop, name, value)
    assert not watch.passes(SECONDS / 2 - 5).ends, "its time begins when the reason was last seen"
    assert watch.passes(SECONDS / 2 + 10).ends


@pytest.mark.parametrize("takes", ["received", "accepted"])
def test_a_message_every_now_and_then_is_enough(watch: Watch, shop: Shop, takes: str) -> None:
    owner: Any = shop if takes == "accepted" else watch.watch
    for _message in range(10):
        watch.passes(SECONDS - 10)
        setattr(owner, takes, getattr(owner, takes) + 1)
    assert not watch.ends


def test_a_queue_that_is_empty_at_one_look_proves_nothing(watch: Watch, shop: Shop) -> None:
    for _round in range(10):
        shop.waits = 5
        watch.passes(SECONDS - 10)
        shop.waits = 0
        watch.passes(5)
    assert not watch.ends


def test_a_worker_that_connects_anew_has_as_long_as_celery_waits_between_two_tries(watch: Watch, shop: Shop) -> None:
    shop.consumer.connection = None
    assert not watch.passes(55).ends
    assert watch.passes(20).ends


def test_a_process_that_did_not_run_for_a_while_is_not_ended_for_it(watch: Watch) -> None:
    watch.passes(10)
    watch.now += 600
    assert not watch.passes(5).ends


def test_a_stuck_worker_tells_its_probe_what_still_runs(watch: Watch, shop: Shop) -> None:
    shop.active = ["long"]
    watch.passes(SECONDS + 10)
    assert watch.file.read_text().endswith(" 1")
    shop.active = []
    watch.passes(5)
    assert watch.file.read_text().endswith(" 0")


@pytest.mark.parametrize(
    ("ago", "active", "passes"),
    [(5, 0, True), (100, 0, False), (100, 1, True), (301, 1, False)],
)
def test_the_probe_leaves_tasks_the_grace_period_and_an_idle_worker_a_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ago: int, active: int, passes: bool
) -> None:
    monkeypatch.setattr(check_consuming, "BEAT_FILE", str(tmp_path / "beat"))
    (tmp_path / "beat-stuck").write_text(f"{time.time() - ago} {active}")
    assert check_consuming.main("15", "300") == 1, "it is not ready"
    (tmp_path / "beat").touch()
    assert (check_consuming.main("15", "300") == 0) is passes


@pytest.mark.parametrize("text", ["", "x", "1 2 3", "1700000000 x"])
def test_a_file_that_cannot_be_read_restarts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setattr(check_consuming, "BEAT_FILE", str(tmp_path / "beat"))
    (tmp_path / "beat").touch()
    assert check_consuming.main("15", "300") == 0
    (tmp_path / "beat-stuck").write_text(text)
    assert check_consuming.main("15", "300") == 0
