# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each supported Celery with apps of several kinds: what the scaler reads while they work, and what verify says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer, answer_from, command_of
from ansible_collections.queueops.celery.plugins.module_utils._cluster.verification import (
    Finding,
    question_for,
    verified,
)

from tests.support.celery_versions import REQUIREMENTS, celery_environment
from tests.support.real_readings import Scaler
from tests.support.real_redis import redis_server, require_redis
from tests.support.real_worker import APP, TASKS, Pods, broker_of, shop
from tests.support.waiting import wait_until

SENT = 4
SLOTS = 2

#: A task that is used while the module is imported, and one that is defined after that.
ORDINARY = f"""{APP}

@app.task
def touched():
    pass


SIGNATURE = touched.s()


@app.task
def defined_late():
    pass
"""

#: Settings under the names that they had before Celery 4.
OLD_NAMES = f"""
from celery import Celery


class Settings:
    BROKER_URL = "redis://nowhere.invalid/0"
    CELERY_ACKS_LATE = False
    CELERYD_CONCURRENCY = 7
    CELERYD_PREFETCH_MULTIPLIER = 4
    CELERY_DEFAULT_QUEUE = "elsewhere"
    CELERY_TASK_RESULT_EXPIRES = 60


app = Celery("shop")
app.config_from_object(Settings)
{TASKS}
"""

#: As Django apps have it.
NAMESPACE = f"""
from celery import Celery


class Settings:
    CELERY_TASK_ACKS_LATE = False
    CELERY_BROKER_TRANSPORT_OPTIONS = {{"visibility_timeout": 100}}


app = Celery("shop")
app.config_from_object(Settings, namespace="CELERY")
{TASKS}
"""

#: Module of each app, and keys of its variant.
APPS: dict[str, tuple[str, dict[str, Any]]] = {
    "ordinary": (ORDINARY, {}),
    "old names": (OLD_NAMES, {}),
    "namespace": (NAMESPACE, {}),
    "enforced": (NAMESPACE, {"enforce_settings": True}),
}


@dataclass(frozen=True)
class Run:
    """What one worker did with a few tasks, which waited before it started.

    :param samples: backlog and in-flight work as the scaler reads them, without repetitions.
    """

    version: str
    samples: list[tuple[int, int]]
    done: list[str]
    log: str
    own_hash: str
    answer: Answer
    finding: Finding


@pytest.fixture(scope="module", params=sorted(REQUIREMENTS))
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """One run per app, all at once."""
    require_redis()
    folder = tmp_path_factory.mktemp("versions")
    with redis_server("secret") as server, ThreadPoolExecutor(len(APPS)) as pool:
        waiting = {
            name: pool.submit(_run, folder / str(number), broker_of(server, number), name, request.param)
            for number, name in enumerate(APPS)
        }
        yield {name: future.result() for name, future in waiting.items()}


def _run(folder: Path, broker: dict[str, Any], name: str, version: str) -> Run:
    environment = celery_environment(version)
    module, keys = APPS[name]
    manifests = shop(broker, {"default": {"concurrency": SLOTS, **keys}})
    scaler, samples = Scaler(manifests), []
    variant, service = manifests.variant(), manifests.fleet.services[0]
    # One app of each version has every import of its own, as in a container.
    with Pods(folder, manifests, module, environment, is_cold=name == "ordinary") as pods:

        def have(word: str, count: int) -> bool:
            samples.append(scaler.both())
            assert worker.is_running, worker.log
            return len(pods.events(word)) == count

        for number in range(SENT):
            pods.send(number, task="shop.held")
        samples.append(scaler.both())
        worker = pods.start()
        # Each sample is taken before the look for events, and none ends before it is let go.
        for started in (SLOTS, SENT):
            wait_until(partial(have, "start", started), lambda: (samples, worker.log))
            have("start", started)
            pods.let_go(*pods.events("start"))
        wait_until(lambda: have("done", SENT) and scaler.both() == (0, 0), lambda: (samples, worker.log))
        samples.append(scaler.both())
        answer = answer_from(worker.run(command_of(question_for(variant, service, canaries=False))))
        assert answer is not None
        assert worker.stop() == 0, worker.log
        assert variant.unacked is not None
        return Run(
            version=version,
            samples=[key for key, _same in groupby(samples)],
            done=pods.events("done"),
            log=worker.log,
            own_hash=variant.unacked.hash,
            answer=answer,
            finding=verified(variant, service, "pod", answer),
        )


EVERY_APP = pytest.mark.parametrize("app", list(APPS))
TRACKED_APP = pytest.mark.parametrize("app", ["ordinary", "old names", "enforced"])


@EVERY_APP
def test_a_worker_starts_from_its_manifest_under_the_name_of_its_variant(runs: dict[str, Run], app: str) -> None:
    assert f"celery@{socket.gethostname()}" not in runs[app].log
    assert f"shop.default@{socket.gethostname()} ready." in runs[app].log


@EVERY_APP
def test_each_task_is_done_once(runs: dict[str, Run], app: str) -> None:
    assert sorted(runs[app].done) == [str(number) for number in range(SENT)]


@TRACKED_APP
def test_the_triggers_read_what_waits_and_what_runs(runs: dict[str, Run], app: str) -> None:
    samples = runs[app].samples
    assert samples[0] == (SENT, 0)
    assert (SENT - SLOTS, SLOTS) in samples, "late acknowledgement: a running task is in flight, and waits no more"
    assert (0, SLOTS) in samples, "an empty queue, and work that still runs"
    assert max(held for _waiting, held in samples) == SLOTS, "no slot reserves more than it runs"
    assert samples[-1] == (0, 0)


@TRACKED_APP
def test_verify_finds_each_task_acknowledged_late_and_given_back(runs: dict[str, Run], app: str) -> None:
    tasks = {name: flags for name, flags in runs[app].answer.tasks.items() if name != "shop.touched"}
    assert "shop.nap" in tasks
    assert all(flags == (True, True) for flags in tasks.values()), tasks


def test_a_task_that_is_defined_after_another_was_used_is_acknowledged_late(runs: dict[str, Run]) -> None:
    assert runs["ordinary"].answer.tasks["shop.defined_late"] == (True, True)


def test_verify_names_a_task_that_was_used_during_import(runs: dict[str, Run]) -> None:
    assert runs["ordinary"].finding.early_tasks == ("shop.touched",)
    [problem] = runs["ordinary"].finding.problems
    assert "shop.touched keep early acknowledgement" in problem


@pytest.mark.parametrize("app", ["old names", "enforced"])
def test_verify_finds_nothing_where_each_setting_took_hold(runs: dict[str, Run], app: str) -> None:
    assert runs[app].finding.problems == ()
    assert runs[app].answer.shadowed == ()


def test_verify_names_the_settings_that_an_app_with_a_namespace_keeps(runs: dict[str, Run]) -> None:
    run = runs["namespace"]
    if run.version == "5.7":
        # From this version on the command line wins.
        assert run.answer.shadowed == ()
        assert run.finding.problems == ()
        assert run.answer.tasks["shop.nap"] == (True, True)
        assert (0, SLOTS) in run.samples
        return
    assert set(run.answer.shadowed) == {"task_acks_late", "broker_transport_options"}
    assert run.answer.tasks["shop.nap"] == (False, True)
    assert {held for _waiting, held in run.samples} == {0}, "its work is where nobody looks"
    assert any("task_acks_late" in problem for problem in run.finding.problems), run.finding


def test_enforced_settings_win_over_those_of_an_app_with_a_namespace(runs: dict[str, Run]) -> None:
    run = runs["enforced"]
    assert run.answer.tasks["shop.nap"] == (True, True)
    assert (0, SLOTS) in run.samples, f"the work is in {run.own_hash}"
