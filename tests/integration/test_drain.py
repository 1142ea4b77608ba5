# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks drain and resume, with real Celery workers on a real Redis: every task runs, and runs once."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster, Json
from tests.integration.playbook import Player, Run, extra_vars, write_inventory
from tests.support.kubernetes_emulator import ExecRequest, ExecResult
from tests.support.live_pods import Database, LivePods
from tests.support.real_redis import RedisServer
from tests.support.waiting import wait_until

HIGH, SCALED_OBJECT = "shop-worker-high", "shop-worker-high-scaledobject"
DRAINED, PAUSED = "celery.queueops.io/drained", "autoscaling.keda.sh/paused"
SECRET = "canary-Tr0ub4dor"

APP = """
import os
import time

from celery import Celery

app = Celery("shop")


def note(line):
    with open("events", "a") as stream:
        stream.write(line + "\\n")


@app.task(name="shop.reports.make")
def make(name, waits_for=""):
    note(f"start {name}")
    while waits_for and not os.path.exists(waits_for):
        time.sleep(0.05)
    note(f"done {name}")
"""


@dataclass
class Site:
    """Two pods whose workers really run, and what was sent to them."""

    pods: LivePods
    database: Database
    sent: list[str] = field(default_factory=list)

    def events(self, word: str) -> list[str]:
        file = self.pods.folder / "events"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]

    def send(self, *names: str, waits_for: str = "", countdown: float | None = None) -> None:
        for name in names:
            self.sent.append(name)
            self.database.send("high", "shop.reports.make", name, waits_for, countdown=countdown)

    @property
    def log(self) -> str:
        return "\n".join(worker.log for worker in self.pods.workers)


@dataclass
class Story:
    """Runs by name, the annotations after each, and what had run by then."""

    runs: dict[str, Run] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    started: dict[str, list[str]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    writes: dict[str, set[str]] = field(default_factory=dict)


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    return {"shop.py": APP}


@pytest.fixture(scope="class")
def site(pods: LivePods, redis: RedisServer) -> Site:
    return Site(pods, Database(redis, 0))


class TestDrainingAndResuming:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str, site: Site) -> Story:
        story, redis = Story(), site.database.server
        variables: Json = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "127.0.0.1", "port": redis.port, "password": redis.password},
            "celery_workers_services": {"shop": {"app": "shop:app", "image": "registry.example/shop:1"}},
            "celery_workers_config": {
                "shop": {
                    "default": {"replicas": 1},
                    "high": {"enable_keda": True, "min_replicas": 2, "concurrency": 1, "prefetch_multiplier": 2},
                }
            },
        }
        inventory = write_inventory(folder, {"one": variables})

        def step(name: str, playbook: str, *options: str, **given: Any) -> None:
            before = cluster.versions(namespace)
            own = [extra_vars({f"celery_workers_{key}": value for key, value in given.items()})] if given else []
            story.runs[name] = player.play(playbook, inventory, *own, *options)
            after = cluster.versions(namespace)
            story.writes[name] = {item for item in after if before.get(item) != after[item]}
            story.notes[name] = {
                key: value
                for kind, item in (("Deployment", HIGH), ("ScaledObject", SCALED_OBJECT))
                for key, value in (cluster.get(kind, namespace, item)["metadata"].get("annotations") or {}).items()
            }
            story.started[name], story.waiting[name] = site.events("start"), site.database.waiting("high")

        step("first", "deploy")
        cluster.scale(namespace, HIGH, 2)
        names = [
            item["metadata"]["name"]
            for item in cluster.power.objects("Pod", namespace)
            if item["metadata"]["name"].startswith(HIGH)
        ]
        for name in names:
            site.pods.start(namespace, HIGH, name)
        for worker in site.pods.workers:
            worker.wait_until_ready()
        site.send("long 1", "long 2", waits_for="gate")
        wait_until(lambda: len(site.events("start")) == 2, lambda: site.log)
        site.send("taken 1", "taken 2", f"argument {SECRET}")
        site.send("later", countdown=3600)
        wait_until(lambda: site.log.count("] received") == 6, lambda: site.log)

        step("late", "drain", only="shop/high", drain_timeout=2, drain_reason="node 7")
        site.send("meanwhile 1", "meanwhile 2")
        (site.pods.folder / "gate").touch()
        step("drain", "drain", only="shop/high", drain_timeout=300)
        step("kept", "deploy")
        step("status", "status", only="shop/high")
        step("resume", "resume", only="shop/high")
        wait_until(lambda: len(site.events("done")) == len(site.sent) - 1, lambda: site.log)
        site.send("after")
        wait_until(lambda: "after" in site.events("done"), lambda: site.log)
        return story

    def test_a_drain_that_takes_too_long_fails_and_says_what_runs_where(self, story: Story) -> None:
        message = story.runs["late"].message("one")
        assert "these workers still hold work, which goes on. They stay drained" in message
        assert "shop/high: 2 tasks run on 2 of 2 pods, longest shop.reports.make for " in message
        assert "taken from the queue run next" in message
        assert "1 task is held until its ETA" in message
        told = json.loads(story.notes["late"][DRAINED])
        assert told["reason"] == "node 7"
        assert len(told["told"]) == 2
        assert story.notes["late"][PAUSED] == "true"

    def test_progress_is_told_while_it_waits(self, story: Story) -> None:
        shown = story.runs["late"].stderr
        assert "one | shop/high: 2 tasks run on 2 of 2 pods, longest shop.reports.make for " in shown

    def test_what_was_taken_runs_to_its_end_and_nothing_else_is_taken(self, story: Story) -> None:
        said, later = story.runs["drain"].said("one", "notes")
        assert "shop/high: drained, at 2 pods, which run nothing; 2 messages wait; 1 task is held until its ETA" in said
        assert later.startswith("Tasks that are held until their ETA run then in these pods, or go back to the queue")
        assert "taken 1" in story.started["drain"]
        assert not {"meanwhile 1", "meanwhile 2", "later"} & set(story.started["drain"])
        assert story.waiting["drain"] == 2

    def test_a_deploy_keeps_it_changes_nothing_and_says_so(self, story: Story) -> None:
        assert (story.runs["kept"].results("one")[0]["updated"], story.runs["kept"].changed("one")) == ([], 0)
        assert not story.writes["kept"]
        assert "one: shop/high: drained since " in story.runs["kept"].warnings
        assert "(node 7), at 2 pods; let it take work again with ansible-playbook queueops.celery.resume" in (
            story.runs["kept"].warnings
        )

    def test_status_shows_it_as_the_only_problem(self, story: Story) -> None:
        status = story.runs["status"].results("one", "Read how the fleet is")[0]["status"]
        (problem,) = status["problems"]
        assert problem["rule"] == "drained"
        assert problem["what"].endswith("(node 7); 2 messages wait; its workers hold 1 task until their ETA")
        assert status["variants"][0]["drain"]["taking"] == []

    def test_after_resume_every_task_has_run_once(self, story: Story, site: Site) -> None:
        assert story.runs["resume"].changed("one") == 1
        assert not {DRAINED, PAUSED} & story.notes["resume"].keys()
        assert Counter(site.events("done")) == Counter(set(site.sent) - {"later"})
        # The one for later is still held.
        assert site.database.held() == 1

    def test_it_says_what_such_workers_forget(self, story: Story) -> None:
        assert "forget that when they lose their connection to the broker" in story.runs["resume"].warnings

    def test_no_argument_of_a_task_is_shown(self, story: Story, site: Site) -> None:
        assert f"argument {SECRET}" in site.events("done")
        assert [name for name, run in story.runs.items() if SECRET in run.output] == []


class TestReplacingPodsAfterTheyHaveFinished:
    """A deploy with celery_workers_rollout: after_drain while a task runs."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str, site: Site) -> Story:
        story, redis = Story(), site.database.server
        told: list[str] = []

        def handle(request: ExecRequest) -> ExecResult:
            told.append(json.loads(request.command[-1])["consumes"])
            return site.pods.run(request)

        def variables(image: int, timeout: int) -> Json:
            return {
                "celery_workers_namespace": namespace,
                "celery_workers_rollout": "after_drain",
                "celery_workers_drain_timeout": timeout,
                "celery_workers_broker": {"host": "127.0.0.1", "port": redis.port, "password": redis.password},
                "celery_workers_services": {"shop": {"app": "shop:app", "image": f"registry.example/shop:{image}"}},
                "celery_workers_config": {"shop": {"high": {"enable_keda": True, "min_replicas": 1, "concurrency": 1}}},
            }

        def inventory(name: str, image: int, timeout: int = 300) -> Path:
            return write_inventory(folder, {"one": variables(image, timeout)}, name=name)

        def end(name: str, run: Run) -> None:
            story.runs[name] = run
            story.notes[name] = cluster.get("ScaledObject", namespace, SCALED_OBJECT)["metadata"]["annotations"]
            live = cluster.get("Deployment", namespace, HIGH)
            story.notes[name] |= live["metadata"]["annotations"]
            story.writes[name] = {live["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]}
            story.started[name] = site.events("done")

        cluster.power.exec_handler = handle
        end("first", player.deploy(inventory("first", 1)))
        (pod,) = [item["metadata"]["name"] for item in cluster.power.objects("Pod", namespace)]
        old = site.pods.start(namespace, HIGH, pod)
        old.wait_until_ready()
        site.send("long", waits_for="gate")
        wait_until(lambda: site.events("start"), lambda: site.log)

        end("late", player.deploy(inventory("late", 2, timeout=1)))
        told.clear()
        started = player.start("deploy", inventory("second", 2))
        wait_until(lambda: "pause" in told, lambda: told)
        wait_until(lambda: old.log.count("Canceling queue high") == 2, lambda: old.log)
        site.send("meanwhile")
        (site.pods.folder / "gate").touch()
        end("second", player.keep(started.finish()))

        # What Kubernetes does with the pod of before and the new one.
        old.process.terminate()
        assert old.process.wait(timeout=120) == 0
        site.pods.start(namespace, HIGH, f"{pod}-new")
        wait_until(lambda: "meanwhile" in site.events("done"), lambda: site.log)
        return story

    def test_who_does_not_finish_in_time_is_not_replaced_and_takes_work_again(self, story: Story) -> None:
        message = story.runs["late"].message("one")
        assert "shop/high: 1 task runs on 1 of 1 pod, shop.reports.make for " in message
        assert "Not sent (1): Deployment shop-worker-high." in message
        assert story.writes["late"] == {"1"}
        assert not {DRAINED, PAUSED} & story.notes["late"].keys()

    def test_a_second_run_lets_it_finish_and_replaces_it_then(self, story: Story, site: Site) -> None:
        assert story.runs["second"].changed("one") == 1
        assert story.writes["second"] == {"2"}
        assert story.started["second"] == ["long"]
        assert not {DRAINED, PAUSED} & story.notes["second"].keys()
        assert Counter(site.events("start")) == Counter(site.events("done")) == Counter(site.sent)
