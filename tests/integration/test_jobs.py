# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant whose workers run as Jobs: deployed, unchanged, switched to a Deployment and back, and removed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json
from tests.integration.playbook import Player, Run, write_inventory
from tests.support._exec import ExecRequest, ExecResult
from tests.support.kubernetes_emulator import RecordedRequest

pytestmark = pytest.mark.skipif(bool(REAL_CLUSTER), reason="needs the emulator: KEDA's readings are up to the test")

NAME = "shop-worker-reports"


def fleet(**keys: object) -> Json:
    return {
        "celery_workers_broker": {"host": "redis"},
        "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
        "celery_workers_config": {"shop": {"reports": {"idempotent": True, "longest_task_seconds": 900, **keys}}},
    }


JOBS, DEPLOYMENT = fleet(run_as="jobs", max_replicas=5), fleet(enable_keda=True, max_replicas=5)
MENDED = fleet(run_as="jobs", max_replicas=5, image="registry.example/shop:2")


def nothing_is_held(request: ExecRequest) -> ExecResult:
    """A worker that holds nothing, runs nothing, and whose queues are empty."""
    return answers(request, 0)


def two_wait(request: ExecRequest) -> ExecResult:
    """A worker that holds nothing, with messages in each queue."""
    return answers(request, 2)


def answers(request: ExecRequest, waiting: int) -> ExecResult:
    question = json.loads(request.command[-1])
    answer = {"by_queue": dict.fromkeys(question["queues"], waiting), "running": [], "held": 0}
    return ExecResult(f"celery-worker-answer:{json.dumps(answer)}\n")


@dataclass
class Story:
    runs: dict[str, Run] = field(default_factory=dict)
    found: dict[str, set[str]] = field(default_factory=dict)
    writes: dict[str, list[RecordedRequest]] = field(default_factory=dict)
    jobs: dict[str, set[str]] = field(default_factory=dict)


class TestJobs:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> Story:
        story = Story()
        cluster.power.exec_handler = nothing_is_held

        def step(name: str, variables: Json, *options: str, playbook: str = "deploy") -> None:
            inventory = write_inventory(folder, {"one": variables}, {"celery_workers_namespace": namespace})
            cluster.power.requests.clear()
            story.runs[name] = player.play(playbook, inventory, *options)
            story.writes[name] = cluster.writes_to(namespace)
            story.found[name] = cluster.names(namespace)

        step("first", JOBS)
        step("again", JOBS)
        cluster.power.poll_scaled_job(namespace, NAME, backlog_p0=2, inflight=0)
        cluster.power.make_unavailable(namespace, NAME, reason="ImagePullBackOff", message="not found")
        cluster.power.poll_scaled_job(namespace, NAME, backlog_p0=2, inflight=1)
        story.jobs["before"] = cluster.names_of("Job", namespace)
        step("mended", {**MENDED, "celery_workers_wait_timeout": 2})
        story.jobs["after"] = cluster.names_of("Job", namespace)
        cluster.power.make_available(namespace, NAME)
        cluster.power.exec_handler = two_wait
        step("refused", MENDED, playbook="remove")
        cluster.power.exec_handler = nothing_is_held
        cluster.power.end_jobs(namespace)
        cluster.power.poll_scaled_job(namespace, NAME, backlog_p0=0, inflight=0)
        step("paused", MENDED, playbook="pause")
        step("resumed", MENDED, playbook="resume")
        step("deployment", DEPLOYMENT)
        step("jobs", JOBS)
        step("removed", JOBS, playbook="remove")
        return story

    def test_it_becomes_one_scaled_job_and_no_deployment(self, story: Story) -> None:
        assert story.runs["first"].changed("one")
        kinds = {name.partition(" ")[0] for name in story.found["first"] if NAME in name}
        assert kinds == {"ScaledJob", "PodDisruptionBudget"}, story.found["first"]

    def test_a_second_run_changes_nothing(self, story: Story) -> None:
        assert story.runs["again"].changed("one") == 0
        assert story.writes["again"] == []

    def test_a_changed_image_deletes_the_jobs_that_never_started_and_no_other(self, story: Story) -> None:
        assert story.runs["mended"].changed("one")
        assert (len(story.jobs["before"]), len(story.jobs["after"])) == (3, 2)
        assert story.jobs["after"] < story.jobs["before"]

    def test_a_changed_image_that_no_job_tries_is_said_to_be_untried(self, story: Story) -> None:
        assert (
            "shop/reports: no Job of the new version was tried: its Jobs of an earlier" in story.runs["mended"].output
        )

    def test_a_removal_that_leaves_messages_behind_is_refused(self, story: Story) -> None:
        why = story.runs["refused"].message("one")
        assert "shop/reports: 2 messages wait in queue reports" in why
        assert story.found["refused"] == story.found["mended"]
        assert f"ScaledJob {NAME}" in story.found["refused"]

    def test_a_pause_and_its_end_are_seen_by_keda(self, story: Story) -> None:
        assert story.runs["paused"].changed("one") == 1
        assert story.runs["resumed"].changed("one") == 1
        paused = [
            item["metadata"].get("annotations", {}).get("autoscaling.keda.sh/paused")
            for name in ("paused", "resumed")
            for item in story.writes[name][-1].state
        ]
        assert paused == ["true", None]

    def test_jobs_give_way_to_a_deployment_that_is_up(self, story: Story) -> None:
        assert story.runs["deployment"].changed("one")
        assert not {f"ScaledJob {NAME}"} & story.found["deployment"]
        assert {f"Deployment {NAME}", f"ScaledObject {NAME}-scaledobject"} <= story.found["deployment"]
        self.has_a_consumer_at_each_step(story.writes["deployment"])

    def test_a_deployment_gives_way_to_jobs_that_are_ready(self, story: Story) -> None:
        assert story.runs["jobs"].changed("one")
        assert story.found["jobs"] == story.found["first"]
        self.has_a_consumer_at_each_step(story.writes["jobs"])

    @staticmethod
    def has_a_consumer_at_each_step(writes: list[RecordedRequest]) -> None:
        assert writes
        for request in writes:
            kinds = {item["kind"] for item in request.state if item["metadata"]["name"] == NAME}
            assert kinds & {"Deployment", "ScaledJob"}, f"no consumer after {request.method} {request.path}"

    def test_a_removal_leaves_nothing(self, story: Story) -> None:
        assert story.runs["removed"].changed("one")
        assert not [name for name in story.found["removed"] if NAME in name]
