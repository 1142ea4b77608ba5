# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adopting Tutor's worker while it works: a real Celery that runs what Tutor's Deployment says, on a real Redis."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer, answer_from
from ansible_collections.queueops.celery.plugins.module_utils._model.names import DRAINED_ANNOTATION

from tests.integration.cluster import Cluster
from tests.integration.playbook import Player, Run, extra_vars
from tests.integration.tutor import queues_in, sample_config, site_inventory, snapshot, start, worker
from tests.support.kubernetes_emulator import ExecRequest, ExecResult, RecordedRequest
from tests.support.live_pods import Database, LivePods, LiveWorker, live_pods
from tests.support.real_redis import redis_server, require_redis
from tests.support.real_tutor import manifests, render
from tests.support.waiting import wait_until

Json = dict[str, Any]

WORKER = "lms-worker"
TASK = "lms.reports.make"
DEFAULT, HIGH = "edx.lms.core.default", "edx.lms.core.high"

#: As in edx-platform, the app is in lms/celery.py. A report is done when its file is there, or at once if it is short.
APP = """
import os
import time

from celery import Celery

APP = Celery("lms", broker=os.environ["BROKER"])
APP.conf.worker_concurrency = 2


@APP.task(name="lms.reports.make")
def make(name, waits_for=""):
    note(f"start {name}")
    while waits_for and not os.path.exists(waits_for):
        time.sleep(0.05)
    note(f"done {name}")


def note(line):
    with open("events", "a") as stream:
        stream.write(line + "\\n")
"""


@dataclass(frozen=True)
class Asked:
    """A question that was asked in a pod, its answer, and what was done by then."""

    pod: str
    question: Json
    answer: Answer | None
    events: tuple[str, ...]


@dataclass
class Site:
    """Pods in which Tutor's own worker really runs."""

    pods: LivePods
    database: Database
    namespace: str
    asked: list[Asked] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def events(self) -> tuple[str, ...]:
        file = self.pods.folder / "events"
        return tuple(file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()

    def handle(self, request: ExecRequest) -> ExecResult:
        """Run a command in a pod. What it is asked to do is told before, what it did is noted after."""
        question = json.loads(request.command[-1])
        self.told.append(question["consumes"])
        done = self.pods.run(
            ExecRequest(
                request.namespace,
                request.pod,
                request.container,
                request.command,
                {**request.environment, "BROKER": self.database.url},
            )
        )
        self.asked.append(Asked(request.pod, question, answer_from(done.stdout), self.events))
        return done

    def start(self) -> LiveWorker:
        """Start what the pod of Tutor's worker runs, as a node that is named after the pod."""
        found = self.pods.emulator.get("Deployment", WORKER, self.namespace)
        assert found is not None
        (pod,) = [
            item["metadata"]["name"]
            for item in self.pods.emulator.objects("Pod", self.namespace)
            if item["metadata"]["name"].startswith(f"{WORKER}-") and item["spec"]["containers"][0]["name"] == WORKER
        ]
        container = worker(found)
        environment = {"BROKER": self.database.url} | {entry["name"]: entry["value"] for entry in container["env"]}
        # Here every pod has the host name of this machine.
        started = self.pods.begin([word.replace("%h", pod) for word in container["args"]], environment, pod)
        started.wait_until_ready()
        return started

    def consumed(self) -> set[str]:
        """What the workers that run consume now. Nobody's answer is no answer, not none of the queues."""
        for _attempt in range(10):
            queues = self.database.app().control.inspect(timeout=2).active_queues()
            if queues:
                return {queue["name"] for found in queues.values() for queue in found}
        raise AssertionError("no worker answers")


@dataclass
class Story:
    runs: dict[str, Run] = field(default_factory=dict)
    writes: dict[str, list[RecordedRequest]] = field(default_factory=dict)
    requests: dict[str, list[RecordedRequest]] = field(default_factory=dict)
    deployments: dict[str, Json] = field(default_factory=dict)
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    events: dict[str, tuple[str, ...]] = field(default_factory=dict)
    consumed: dict[str, set[str]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)


def narrows(request: RecordedRequest) -> bool:
    """Whether a request changes more of the adopted Deployment than our note."""
    is_patch = request.method == "PATCH" and request.path.endswith(f"/deployments/{WORKER}")
    return is_patch and isinstance(request.body, dict) and "spec" in request.body


class TestAdoptingABusyWorker:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, cluster: Cluster, folder: Path, namespace: str) -> Iterator[Site]:
        require_redis()
        emulator = cluster.power
        (folder / "image" / "lms").mkdir(parents=True)
        (folder / "image" / "lms" / "__init__.py").touch()
        (folder / "image" / "lms" / "celery.py").write_text(APP, encoding="utf-8")
        with redis_server("secret") as server, live_pods(emulator, folder / "image") as pods:
            site = Site(pods, Database(server, 0), namespace)
            emulator.exec_handler = site.handle
            yield site

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str, site: Site) -> Story:
        def begin() -> None:
            cluster.power.requests.clear()
            site.asked.clear()
            site.told.clear()

        def end(name: str, run: Run) -> None:
            story.runs[name] = run
            story.requests[name] = cluster.requests_of(namespace)
            story.writes[name] = cluster.writes_to(namespace)
            story.deployments[name] = cluster.get("Deployment", namespace, WORKER)
            story.asked[name] = list(site.asked)
            story.events[name] = site.events

        story = Story()
        start(cluster, manifests(render("22.0.3", folder / "site", settings={"K8S_NAMESPACE": namespace})))
        cms = {"default": {"adopt": False}, "high": {"enabled": False}, "low": {"enabled": False}}
        variables = {
            "celery_workers_namespace": namespace,
            "celery_workers_tutor_plugins_root": str(folder / "plugins"),
            "celery_workers_config": {**sample_config(), "cms": cms},
            "celery_workers_openedx_routing": "",
            "celery_workers_routing_delivery": "none",
        }
        inventory = site_inventory(folder, {"site": variables})
        story.deployments["tutor"] = snapshot(cluster, namespace)[WORKER]
        old, gate = site.start(), site.pods.folder / "gate"
        site.database.send(DEFAULT, TASK, "long", str(gate))
        wait_until(lambda: "start long" in site.events, lambda: old.log)

        begin()
        end("stop", player.deploy(inventory))

        begin()
        late = {"celery_workers_key_change": "drain", "celery_workers_wait_timeout": 2}
        run = player.deploy(inventory, extra_vars(late))
        site.database.send(HIGH, TASK, "meanwhile")
        wait_until(lambda: "done meanwhile" in site.events, lambda: old.log)
        story.consumed["late"] = site.consumed()
        end("late", run)

        begin()
        drain = {"celery_workers_key_change": "drain", "celery_workers_wait_timeout": 300}
        started = player.start("deploy", inventory, extra_vars(drain))
        wait_until(lambda: "pause" in site.told, lambda: site.told)
        wait_until(lambda: not site.consumed(), site.consumed)
        site.database.send(DEFAULT, TASK, "sent while paused")
        gate.touch()
        end("drain", player.keep(started.finish()))
        story.waiting["drain"] = site.database.waiting(DEFAULT)

        # What Kubernetes does with the pod of before and the new one.
        os.kill(old.process.pid, signal.SIGTERM)
        assert old.process.wait(timeout=120) == 0
        new = site.start()
        wait_until(lambda: "done sent while paused" in site.events, lambda: new.log)
        story.consumed["after"] = site.consumed()
        story.events["after"] = site.events
        return story

    def test_by_default_it_stops_and_names_what_runs(self, story: Story) -> None:
        message = story.runs["stop"].message("site")
        assert f"adopting Deployment {WORKER} replaces its pods" in message
        assert f"run 1 tasks ({TASK})" in message
        assert "30 s" in message
        for way in ("celery_workers_key_change: drain", "celery_workers_key_change: accept", "idle"):
            assert way in message
        assert story.writes["stop"] == []
        assert [one.question["consumes"] for one in story.asked["stop"]] == [""]

    def test_a_drain_that_takes_too_long_leaves_the_worker_as_it_was(self, story: Story) -> None:
        message = story.runs["late"].message("site")
        assert "After 2 seconds these workers still run tasks" in message
        assert f"{WORKER}: {TASK}" in message
        told = [one.question["consumes"] for one in story.asked["late"]]
        assert told[0] == "pause"
        assert told[-1] == "resume"
        assert story.deployments["late"]["spec"] == story.deployments["tutor"]["spec"]
        # A note says that it takes nothing, while that is so.
        assert DRAINED_ANNOTATION not in story.deployments["late"]["metadata"]["annotations"]
        assert not [one for one in story.writes["late"] if narrows(one)]
        # It takes work again, from every queue that it had.
        assert story.consumed["late"] == {DEFAULT, HIGH, f"{HIGH}_mem"}
        assert story.events["late"][-1] == "done meanwhile"
        assert "done long" not in story.events["late"]
        assert f"{WORKER}: its workers take work again, and forget that when they lose" in story.runs["late"].warnings

    def test_a_drain_lets_it_finish_before_its_pod_is_replaced(self, story: Story) -> None:
        assert story.runs["drain"].changed("site") > 0
        last = story.asked["drain"][-1]
        assert last.question["consumes"] == "pause"
        assert last.answer is not None
        assert last.answer.running == ()
        assert last.events[-1] == "done long"
        order = [
            "patch" if one.method == "PATCH" else "ask"
            for one in story.requests["drain"]
            if one.path.endswith("/exec") or narrows(one)
        ]
        assert order[-1] == "patch"
        assert order.count("patch") == 1
        assert "ask" in order
        assert DRAINED_ANNOTATION not in story.deployments["drain"]["metadata"]["annotations"]
        assert queues_in(story.deployments["drain"]) == [f"--queues={DEFAULT}"]
        assert story.deployments["drain"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 930

    def test_what_is_sent_while_it_is_paused_runs_in_the_new_pod(self, story: Story) -> None:
        assert story.waiting["drain"] == 1
        assert "start sent while paused" not in story.events["drain"]
        assert story.events["after"].count("done sent while paused") == 1
        assert story.consumed["after"] == {DEFAULT}
