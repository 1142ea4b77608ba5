# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining and resuming over a namespace in memory, and what deploys make of a drain."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.names import DRAINED_ANNOTATION, PAUSE_ANNOTATION
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import Object, done, operate, refused, run
from tests.unit.running_pods import let_pods_say
from tests.unit.told_pods import ToldSite, told_site

PAUSED = "autoscaling.keda.sh/paused"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
FLEET: Object = {
    "services": {"lms": {"image": IMAGE, "app": "lms.celery", "queue_name": "{service}.{variant}"}},
    "config": {"lms": {"default": SCALED, "high": SCALED, "low": {"replicas": 2}}},
    "broker": {"host": "redis"},
}
HIGH, SCALER = "lms-worker-high", "lms-worker-high-scaledobject"
ONLY: Any = {"only": ["lms/high"]}


def at(hours: float = 0) -> Callable[[], datetime]:
    """A clock that tells a time so many hours after noon."""
    return lambda: NOW + timedelta(hours=hours)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ToldSite:
    made = told_site(monkeypatch)
    done(deploy(made))
    made.cluster.scale(HIGH, 3)
    made.follow()
    made.story.clear()
    return made


def deploy(site: ToldSite, **variables: Any) -> Object:
    return run(site.cluster, clock=at(-1), **{**FLEET, **variables})


def drain(site: ToldSite, hours: float = 0, **variables: Any) -> Object:
    return operate(site.cluster, "drain", clock=at(hours), **{**FLEET, **ONLY, "drain_timeout": 0, **variables})


def resume(site: ToldSite, **variables: Any) -> Object:
    return operate(site.cluster, "resume", clock=at(1), **{**FLEET, **ONLY, **variables})


def config(**variants: Object) -> Object:
    """The configuration with other variants."""
    return {"lms": {**FLEET["config"]["lms"], **variants}}


def record(site: ToldSite, name: str = HIGH) -> Object:
    """What the Deployment says of its drain."""
    found: Object = json.loads(site.annotations("Deployment", name)[DRAINED_ANNOTATION])
    return found


def is_paused(site: ToldSite) -> bool:
    return site.annotations("ScaledObject", SCALER).get(PAUSED) == "true"


def test_its_workers_take_nothing_its_scaler_is_paused_and_its_deployment_says_who_why_and_since_when(
    site: ToldSite,
) -> None:
    site.waiting = 40
    found = done(drain(site, drain_reason="node 7"))
    assert [worker.takes for worker in site.of(HIGH)] == [False] * 3
    assert all(worker.takes for worker in [*site.of("lms-worker"), *site.of("lms-worker-low")])
    assert is_paused(site)
    told = record(site)
    assert (told["by"], told["since"], told["reason"]) == ("anna", "2026-11-30T12:00:00Z", "node 7")
    assert set(told["told"]) == {pod for pod, worker in site.workers.items() if worker.deployment == HIGH}
    assert found["notes"] == [
        "lms/high: drained, at 3 pods, which run nothing; 40 messages wait; let it take work again with "
        "ansible-playbook queueops.celery.resume -e celery_workers_only=lms/high"
    ]
    # No pod that starts may take work before its scaler is paused.
    assert site.story.index(f"patched ScaledObject {SCALER}") < site.story.index(f"pause {HIGH}")


def test_a_second_drain_changes_nothing_but_tells_a_pod_that_has_started_again(site: ToldSite) -> None:
    done(drain(site))
    assert done(drain(site, hours=1))["changed"] is False
    assert record(site)["since"] == "2026-11-30T12:00:00Z"
    pod = next(pod for pod, worker in site.workers.items() if worker.deployment == HIGH)
    site.restart(pod)
    done(drain(site, hours=2))
    assert not site.workers[pod].takes
    assert record(site)["told"][pod] == 1


def test_what_still_runs_when_the_time_is_over_is_named_and_stays_drained(site: ToldSite) -> None:
    for worker, name in zip(site.of(HIGH), ["lms.grade", "lms.regrade"], strict=False):
        worker.running = [name]
    site.of(HIGH)[0].reserved, site.of(HIGH)[2].later = 3, 2
    said = refused(drain(site))
    assert "They stay drained: run again, which goes on waiting" in said
    assert "lms/high: 2 tasks run on 2 of 3 pods, longest lms.grade for 4 min; 3 messages already taken" in said
    assert "; 2 tasks are held until their ETA" in said
    assert not any(worker.takes for worker in site.of(HIGH))
    assert is_paused(site)
    assert len(record(site)["told"]) == 3


def test_or_it_takes_work_again_and_everything_is_as_it_was(site: ToldSite) -> None:
    before = {key: dict(site.annotations(*key)) for key in (("Deployment", HIGH), ("ScaledObject", SCALER))}
    site.of(HIGH)[1].running = ["lms.grade"]
    said = refused(drain(site, drain_on_timeout="resume"))
    assert "So they take work again, and nothing is paused" in said
    assert "1 task runs on 1 of 3 pods, lms.grade for 4 min" in said
    assert all(worker.takes for worker in site.of(HIGH))
    assert {key: dict(site.annotations(*key)) for key in before} == before


def test_a_pause_that_was_there_before_comes_back_with_it(site: ToldSite) -> None:
    done(operate(site.cluster, "pause", clock=at(), **FLEET, **ONLY, pause_replicas=3, pause_reason="release"))
    before = dict(site.annotations("ScaledObject", SCALER))
    site.of(HIGH)[0].running = ["lms.grade"]
    refused(drain(site, drain_on_timeout="resume"))
    assert site.annotations("ScaledObject", SCALER) == before


def test_a_worker_that_does_not_answer_may_run_something(site: ToldSite) -> None:
    site.of(HIGH)[2].answers = False
    said = refused(drain(site))
    assert "lms/high: 1 of 3 pods does not answer (lms-worker-high-" in said
    assert len(record(site)["told"]) == 2


def change_pod(site: ToldSite, **metadata: Any) -> Object:
    """A pod of the variant that is about to start or to stop."""
    pod = next(pod for pod, worker in site.workers.items() if worker.deployment == HIGH)
    found: Object = site.cluster.objects["Pod", pod]
    found["metadata"] |= metadata
    return found


def test_a_pod_that_is_about_to_start_is_waited_for(site: ToldSite) -> None:
    pod = change_pod(site)
    was = pod["status"]
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    said = refused(drain(site))
    assert "1 pod starts, and takes work until told not to (lms-worker-high-" in said
    pod["status"] = was
    done(drain(site))
    assert not any(worker.takes for worker in site.of(HIGH))


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]},
        {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        },
        {
            "phase": "Running",
            "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
        },
    ],
    ids=["no node", "no image", "crashes"],
)
def test_a_pod_that_does_not_come_up_is_not_waited_for_and_named(site: ToldSite, status: Object) -> None:
    change_pod(site)["status"] = status
    found = done(drain(site))
    assert "1 pod more did not come up; it takes work if that changes, so drain again then" in found["notes"][0]


def test_a_pod_that_stops_may_still_run_a_task(site: ToldSite) -> None:
    pod = change_pod(site, deletionTimestamp="2026-11-30T11:59:00Z")
    said = refused(drain(site))
    assert "lms/high: 1 pod stops, and may still run a task (lms-worker-high-" in said
    del site.cluster.objects["Pod", pod["metadata"]["name"]]
    done(drain(site))


def test_an_account_that_may_run_no_command_is_told_at_once(site: ToldSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pod: str, _question: Object) -> tuple[str, str]:
        raise RuntimeError('(403) pods "x" is forbidden: User "deployer" cannot create resource "pods/exec"')

    let_pods_say(monkeypatch, refuse)
    said = refused(drain(site, drain_timeout=900))
    assert said.startswith(
        "These workers could not be told to take nothing, or may not have heard it. Their scalers stay"
    )
    assert "is forbidden" in said
    assert record(site).get("told", {}) == {}


def test_check_mode_says_what_runs_and_tells_nobody(site: ToldSite) -> None:
    site.of(HIGH)[0].running = ["lms.grade"]
    found = done(operate(site.cluster, "drain", clock=at(), checks=True, **FLEET, **ONLY))
    assert found["notes"] == [
        "lms/high: 1 task runs on 1 of 3 pods, lms.grade for 4 min",
        "check mode: nothing was sent, and no worker was told to stop",
    ]
    assert all(worker.takes for worker in site.of(HIGH))


@pytest.mark.parametrize("name", ["lms-worker-low", HIGH])
def test_a_drained_variant_takes_work_again(site: ToldSite, name: str) -> None:
    only: Any = {"only": ["lms/low" if name.endswith("low") else "lms/high"]}
    done(drain(site, **only))
    found = done(resume(site, **only))
    assert all(worker.takes for worker in site.of(name))
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", name)
    assert not is_paused(site)
    (note,) = found["notes"]
    assert "takes work again; it had been drained since 2026-11-30 12:00 UTC by anna" in note
    # They are told before the notes go: a run that is cut leaves none drained that does not say so.
    assert site.story.index(f"resume {name}") < len(site.story) - 1 - site.story[::-1].index(
        f"patched Deployment {name}"
    )


def test_a_worker_that_cannot_be_told_to_resume_is_named_and_the_drain_stays_noted(
    site: ToldSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(drain(site))
    site.of(HIGH)[2].answers = False
    monkeypatch.setattr("ansible_collections.queueops.celery.plugins.plugin_utils._draining._TOLD_WITHIN", 0)
    said = refused(resume(site))
    assert "1 of 3 pods does not answer" in said
    assert "kubectl rollout restart deployment lms-worker-high --namespace shop" in said
    assert record(site)
    site.of(HIGH)[2].answers = True
    done(resume(site))
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", HIGH)


def test_workers_forget_that_they_take_again_unless_our_launcher_starts_them(site: ToldSite) -> None:
    done(drain(site, only=["lms"]))
    found = done(resume(site, only=["lms"]))
    assert any("forget that when they lose their connection to the broker" in text for text in found["warnings"])
    launched = config(high={**SCALED, "probe": "heartbeat"})
    done(deploy(site, config=launched))
    done(drain(site, config=launched))
    assert not resume(site, config=launched).get("warnings")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"config": config(high={"scaler": "hpa", "min_replicas": 1, "max_replicas": 3})}, "no pause for that"),
        ({"broker": {"type": "sqs", "region": "eu-west-1", "pod_identity": True}}, "SQS has no remote control"),
        (
            {"config": config(high={**SCALED, "settings": {"worker_enable_remote_control": False}})},
            "no remote control (setting",
        ),
        ({"config": config(new=SCALED), "only": ["lms/new"]}, "there is no Deployment lms-worker-new in shop"),
    ],
)
def test_what_cannot_be_drained_is_refused_with_what_to_do(site: ToldSite, variables: Object, words: str) -> None:
    said = refused(drain(site, **variables))
    assert words in said
    assert site.story == []


def test_of_a_whole_fleet_it_is_told_what_was_not_drained(site: ToldSite) -> None:
    hpa = config(high={"scaler": "hpa", "min_replicas": 1, "max_replicas": 3})
    found = done(drain(site, config=hpa, only=[]))
    assert any("no pause for that" in text for text in found["warnings"])
    assert not any(worker.takes for worker in [*site.of("lms-worker"), *site.of("lms-worker-low")])


def test_a_deploy_keeps_it_and_says_so(site: ToldSite) -> None:
    done(drain(site, drain_reason="node 7"))
    found = done(deploy(site))
    assert found["changed"] is False
    (warning,) = [text for text in found["warnings"] if "lms/high" in text]
    assert warning == (
        "one: lms/high: drained since 2026-11-30 12:00 UTC by anna (node 7), at 3 pods; let it take work again with "
        "ansible-playbook queueops.celery.resume -e celery_workers_only=lms/high"
    )


def test_a_deploy_that_replaces_its_pods_drains_the_new_ones_and_says_so(site: ToldSite) -> None:
    done(drain(site))
    found = done(deploy(site, config=config(high={**SCALED, "concurrency": 3})))
    assert len(site.of(HIGH)) == 3
    assert not any(worker.takes for worker in site.of(HIGH))
    assert set(record(site)["told"]) == {pod for pod, one in site.workers.items() if one.deployment == HIGH}
    assert any("lms/high: its new pods were told to take nothing, as it is drained" in text for text in found["notes"])
    unwaited = done(deploy(site, config=config(high={**SCALED, "concurrency": 4}), wait=False))
    assert any("its new pods take work: drain it again once they are up" in text for text in unwaited["warnings"])


def test_a_scaler_that_a_deploy_makes_for_a_drained_variant_is_paused(site: ToldSite) -> None:
    done(drain(site, only=["lms/low"]))
    done(deploy(site, config=config(low=SCALED), key_change="accept"))
    assert site.annotations("ScaledObject", "lms-worker-low-scaledobject")[PAUSED] == "true"


def test_a_drained_variant_is_not_paused_once_more(site: ToldSite) -> None:
    done(drain(site))
    said = refused(operate(site.cluster, "pause", clock=at(), **FLEET, **ONLY, pause_replicas=5))
    assert "lms/high: it is drained since 2026-11-30 12:00 UTC by anna, so its scaling is paused already." in said


@settings(max_examples=6, deadline=None)
@given(
    chosen=st.sampled_from([[], ["lms"], ["lms/high"], ["lms/low", "lms/default"]]),
    inventory_pauses=st.sampled_from([{}, {"paused": True}, {"paused": "scale_in"}]),
    pods=st.integers(0, 4),
    busy=st.booleans(),
    on_timeout=st.sampled_from(["keep", "resume"]),
)
def test_after_a_drain_and_a_resume_everything_takes_work_and_a_deploy_finds_nothing_to_do(
    chosen: list[str], inventory_pauses: Object, pods: int, busy: bool, on_timeout: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        site = told_site(patch)
        variables: Any = {"config": config(high={**SCALED, **inventory_pauses})}
        done(deploy(site, **variables))
        site.cluster.scale(HIGH, pods)
        site.follow()
        for worker in site.workers.values():
            worker.running = ["lms.grade"] if busy else []
        before = {key: dict(site.annotations(*key)) for key in site.cluster.objects}
        first = drain(site, only=chosen, drain_on_timeout=on_timeout, **variables)
        if first.get("failed") and on_timeout == "keep":
            assert busy
        resume(site, only=[], **variables)
        assert all(worker.takes for worker in site.workers.values())
        assert site.cut == []
        assert {key: dict(site.annotations(*key)) for key in before} == before
        site.story.clear()
        assert done(deploy(site, **variables))["changed"] is False
        assert PAUSE_ANNOTATION not in site.annotations("ScaledObject", SCALER)
