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
NOTHING: dict[str, Any] = {"accepted": 0, "active": [], "reserved": [], "later": 0, "unacked": 0, "held": set()}


class Redis:
    """Keys that expire, by the clock of the test, and the hash of held messages."""

    def __init__(self) -> None:
        self.now, self.is_away = 0.0, False
        self.held: set[str] = set()
        self._keys: dict[str, tuple[bytes, float]] = {}
        self._scores: dict[str, dict[str, float]] = {}

    def hkeys(self, name: str) -> list[bytes]:
        if self.is_away:
            raise ConnectionError("refused")
        return [tag.encode() for tag in self.held] if name == HASH else []

    def time(self) -> tuple[int, int]:
        return int(self.now), 0

    def zadd(self, name: str, scores: dict[str, float]) -> None:
        self._scores.setdefault(name, {}).update(scores)

    def zrangebyscore(self, name: str, least: float, most: str) -> list[bytes]:
        assert most == "+inf"
        return [tag.encode() for tag, score in self._scores.get(name, {}).items() if score >= least]

    def zremrangebyscore(self, name: str, least: str, below: str) -> None:
        assert (least, below[0]) == ("-inf", "(")
        self._scores[name] = {tag: score for tag, score in self._scores[name].items() if score >= float(below[1:])}

    def get(self, key: str) -> bytes | None:
        value, until = self._keys.get(key, (b"", 0.0))
        return value if self.now < until else None

    def set(self, key: str, value: bytes, nx: bool, px: int) -> bool:
        if nx and self.get(key) is not None:
            return False
        self._keys[key] = value, self.now + px / 1000
        return True

    def pexpire(self, key: str, px: int) -> None:
        if key in self._keys:
            self._keys[key] = self._keys[key][0], self.now + px / 1000

    def delete(self, key: str) -> None:
        del self._keys[key]


class Consumer:
    """Cancels queues, as Celery's does in its own thread."""

    def __init__(self, jobs: Jobs, name: str) -> None:
        self.task_consumer: Any = object()
        self._jobs, self._name = jobs, name

    def call_soon(self, work: Any, *arguments: Any) -> None:
        work(*arguments)

    def cancel_task_queue(self, queue: str) -> None:
        assert self.task_consumer is not None
        self._jobs.work[self._name]["queues"].remove(queue)


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
        self.work[name] = NOTHING | {"queues": ["reports"], "consumer": Consumer(self, name)} | work

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
    jobs.start("one", active=["task"], unacked=1)
    assert jobs.passes(AGE - 1).work["one"]["queues"] == ["reports"]
    jobs.passes(AGE)
    assert (jobs.running, jobs.work["one"]["queues"]) == (["one"], []), "its connection lives until its task is done"
    jobs.work["one"] |= {"active": [], "unacked": 0}
    assert "others go on" in jobs.passes(2).why["one"]


@pytest.mark.parametrize("work", [{"reserved": ["task"]}, {"unacked": 1}], ids=lambda work: next(iter(work)))
def test_an_old_worker_first_finishes_what_it_has_taken(jobs: Jobs, work: dict[str, Any]) -> None:
    jobs.start("one", **work)
    assert jobs.passes(2 * AGE).running == ["one"]


def test_an_old_worker_gives_back_what_waits_for_its_eta(jobs: Jobs) -> None:
    jobs.start("one", later=2, unacked=2)
    assert "others go on" in jobs.passes(AGE + 2).why["one"]


def test_a_worker_that_grows_old_while_it_connects_anew_cancels_its_queues_later(jobs: Jobs) -> None:
    jobs.start("one", active=["task"])
    consumer = jobs.work["one"]["consumer"]
    consumer.task_consumer = None
    assert jobs.passes(AGE + 5).work["one"]["queues"] == ["reports"]
    consumer.task_consumer = object()
    assert jobs.passes(2).work["one"]["queues"] == []


def test_one_of_several_stays_until_the_held_message_is_given_back(jobs: Jobs) -> None:
    jobs.redis.held = {"lost"}
    for name in ("one", "two", "three"):
        jobs.start(name)
    assert len(jobs.passes(20 * IDLE).running) == 1
    jobs.redis.held = set()
    assert jobs.passes(IDLE).running == []


def test_another_stays_where_the_one_that_stayed_was_killed(jobs: Jobs) -> None:
    jobs.redis.held = {"lost"}
    jobs.start("one")
    assert jobs.passes(3 * IDLE).running == ["one"]
    del jobs.endings["one"]
    jobs.start("two")
    assert jobs.passes(20 * IDLE).running == ["two"]


def test_a_worker_ends_where_redis_cannot_be_asked_for_then_keda_counts_nothing(jobs: Jobs) -> None:
    jobs.redis.held, jobs.redis.is_away = {"lost"}, True
    jobs.start("one")
    assert jobs.passes(2 * IDLE).running == []


def test_none_stays_for_what_a_live_worker_holds_until_that_one_is_killed(jobs: Jobs) -> None:
    jobs.redis.held = {"long"}
    jobs.start("busy", active=["task"], unacked=1, held={"long"})
    jobs.passes(10 * IDLE).start("idle")
    assert jobs.passes(2 * IDLE).running == ["busy"]
    del jobs.endings["busy"]
    jobs.start("next")
    assert jobs.passes(10 * IDLE).running == ["next"]


def test_where_the_broker_gives_back_what_is_held_no_worker_stays(jobs: Jobs) -> None:
    jobs.redis.held = {"lost"}
    jobs.start("one", keeps=False)
    assert jobs.passes(2 * IDLE).running == []
