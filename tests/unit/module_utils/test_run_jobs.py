# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker that runs as a Job ends by itself, and which one stays for a message that is held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs import run_jobs

IDLE, AGE = 30.0, 3600.0
HASH = "unacked.shop.reports"
NOTHING: dict[str, Any] = {"accepted": 0, "active": [], "reserved": [], "later": 0, "unacked": 0}


class Redis:
    """Keys that expire, by the clock of the test, and the hash of held messages."""

    def __init__(self) -> None:
        self.now, self.held, self.is_away = 0.0, 0, False
        self._keys: dict[str, tuple[bytes, float]] = {}

    def hlen(self, name: str) -> int:
        if self.is_away:
            raise ConnectionError("refused")
        return self.held if name == HASH else 0

    def get(self, key: str) -> bytes | None:
        value, until = self._keys.get(key, (b"", 0.0))
        return value if self.now < until else None

    def set(self, key: str, value: bytes, nx: bool, px: int) -> bool:
        if nx and self.get(key) is not None:
            return False
        self._keys[key] = value, self.now + px / 1000
        return True

    def pexpire(self, key: str, px: int) -> None:
        self._keys[key] = self._keys[key][0], self.now + px / 1000

    def delete(self, key: str) -> None:
        del self._keys[key]


class Jobs:
    """Several Jobs of one variant, each with what it has to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redis = Redis()
        self.endings: dict[str, run_jobs.Ending] = {}
        self.work: dict[str, dict[str, Any]] = {}
        self.why: dict[str, str] = {}
        self._patch = monkeypatch
        monkeypatch.setattr(run_jobs, "monotonic", lambda: self.redis.now)

    def start(self, name: str, keeps: bool = True, **work: Any) -> None:
        keeper = run_jobs.Keeper(HASH, IDLE, lambda: self.redis) if keeps else None
        if keeper is not None:
            keeper.name = name.encode()
        self.endings[name] = run_jobs.Ending(IDLE, AGE, keeper)
        self.work[name] = NOTHING | work

    def passes(self, seconds: float) -> Jobs:
        end = self.redis.now + seconds
        while self.redis.now < end:
            self.redis.now += 1
            for name, ending in list(self.endings.items()):
                self._patch.setattr(run_jobs, "watched", SimpleNamespace(**self.work[name]))
                if why := ending.why_it_ends(self.redis.now):
                    self.why[name] = why
                    del self.endings[name]
        return self

    @property
    def running(self) -> list[str]:
        return sorted(self.endings)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(monkeypatch)


def test_a_worker_without_work_ends_after_its_time(jobs: Jobs) -> None:
    jobs.start("one")
    assert jobs.passes(IDLE - 1).running == ["one"]
    assert jobs.passes(2).why == {"one": "nothing to do for 30 s"}


@pytest.mark.parametrize(
    "work",
    [{"active": ["task"]}, {"reserved": ["task"]}, {"later": 1}, {"unacked": 1}],
    ids=lambda work: next(iter(work)),
)
def test_a_worker_that_has_anything_to_do_goes_on(jobs: Jobs, work: dict[str, Any]) -> None:
    jobs.start("one", **work)
    assert jobs.passes(10 * IDLE).running == ["one"]


def test_a_task_that_comes_and_goes_between_two_looks_counts(jobs: Jobs) -> None:
    jobs.start("one")
    jobs.passes(IDLE - 5).work["one"]["accepted"] = 1
    assert jobs.passes(IDLE - 1).running == ["one"]
    assert jobs.passes(5).running == []


def test_an_old_worker_takes_nothing_more_although_it_is_busy(jobs: Jobs) -> None:
    jobs.start("one", active=["task"])
    assert jobs.passes(AGE - 1).running == ["one"]
    assert "others go on" in jobs.passes(2).why["one"]


def test_one_of_several_stays_until_the_held_message_is_given_back(jobs: Jobs) -> None:
    jobs.redis.held = 1
    for name in ("one", "two", "three"):
        jobs.start(name)
    assert len(jobs.passes(20 * IDLE).running) == 1
    jobs.redis.held = 0
    assert jobs.passes(IDLE).running == []


def test_another_stays_where_the_one_that_stayed_was_killed(jobs: Jobs) -> None:
    jobs.redis.held = 1
    jobs.start("one")
    assert jobs.passes(3 * IDLE).running == ["one"]
    del jobs.endings["one"]
    jobs.start("two")
    assert jobs.passes(20 * IDLE).running == ["two"]


def test_a_worker_ends_where_redis_cannot_be_asked_for_then_keda_counts_nothing(jobs: Jobs) -> None:
    jobs.redis.held, jobs.redis.is_away = 1, True
    jobs.start("one")
    assert jobs.passes(2 * IDLE).running == []


def test_where_the_broker_gives_back_what_is_held_no_worker_stays(jobs: Jobs) -> None:
    jobs.redis.held = 1
    jobs.start("one", keeps=False)
    assert jobs.passes(2 * IDLE).running == []
