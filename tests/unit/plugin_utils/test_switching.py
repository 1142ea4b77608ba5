# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant whose workers change from a Deployment to Jobs, or back: what stops it, and what it must not lose."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.drains import drained_from
from ansible_collections.queueops.celery.plugins.module_utils._model.names import DRAINED_ANNOTATION
from ansible_collections.queueops.celery.plugins.plugin_utils import _draining, _waiting

from tests.support._jobs import job_of
from tests.support._workloads import Unavailable
from tests.unit.inventories import IMAGE
from tests.unit.keda_jobs import CRASHES, NAME, NO_SECRET, NOT_PULLED, Keda, keda_of
from tests.unit.model_cluster import Object, done, operate, refused, run
from tests.unit.told_pods import ToldSite, told_site

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SCALED_OBJECT = "shop-worker-reports-scaledobject"
BAD = "registry.example/shop:bad"
PAUSED = "autoscaling.keda.sh/paused"
DEPLOYMENT: Object = {"enable_keda": True, "min_replicas": 1, "max_replicas": 5}
JOBS: Object = {"run_as": "jobs", "max_replicas": 5}
ONLY: Object = {"only": ["shop/reports"]}
RESUME = "ansible-playbook queueops.celery.resume -e celery_workers_only=shop/reports"


def fleet(variant: Object, **more: Any) -> Object:
    service = {"image": IMAGE, "app": "shop.celery", "idempotent": True}
    config = {"shop": {"reports": {"longest_task_seconds": 900, **variant}}}
    return {"services": {"shop": service}, "config": config, "broker": {"host": "redis"}, "drain_timeout": 0, **more}


def at(hours: float = 0) -> Callable[[], datetime]:
    return lambda: NOW + timedelta(hours=hours)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ToldSite:
    return told_site(monkeypatch)


def deploy(site: ToldSite, variant: Object, hours: float = 0, **more: Any) -> Object:
    return run(site.cluster, clock=at(hours), **fleet(variant, **more))


def play(site: ToldSite, playbook: str, variant: Object, **more: Any) -> Object:
    return operate(site.cluster, playbook, clock=at(), **fleet(variant, **ONLY, **more))


def kinds(site: ToldSite) -> set[str]:
    return {kind for kind, name in site.cluster.objects if name in (NAME, SCALED_OBJECT)}


def annotate(site: ToldSite, kind: str, name: str, value: str) -> None:
    """What a person does with kubectl annotate."""
    site.cluster.objects[kind, name]["metadata"]["annotations"][PAUSED] = value


@pytest.mark.parametrize(("playbook", "word"), [("pause", "paused at 1 pod by anna"), ("drain", "drained since")])
def test_a_deployment_that_is_paused_or_drained_does_not_give_way_until_it_is_resumed(
    site: ToldSite, playbook: str, word: str
) -> None:
    done(deploy(site, DEPLOYMENT))
    done(play(site, playbook, DEPLOYMENT))
    site.cluster.sent.clear()
    text = refused(deploy(site, JOBS))
    assert word in text
    assert RESUME in text
    assert not site.cluster.sent
    # The command works with the inventory as it is by now.
    done(play(site, "resume", JOBS))
    assert all(worker.takes for worker in site.of(NAME))
    done(deploy(site, JOBS))
    assert "ScaledJob" in kinds(site)
    assert not kinds(site) & {"Deployment", "ScaledObject"}


@pytest.mark.parametrize("after", [DEPLOYMENT, {"replicas": 1}])
def test_jobs_that_are_paused_do_not_give_way_until_they_are_resumed(site: ToldSite, after: Object) -> None:
    done(deploy(site, JOBS))
    done(play(site, "pause", JOBS))
    site.cluster.sent.clear()
    text = refused(deploy(site, after))
    assert "paused by anna" in text
    assert RESUME in text
    assert not site.cluster.sent
    done(play(site, "resume", after))
    done(deploy(site, after))
    assert "ScaledJob" not in kinds(site)


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [(DEPLOYMENT, JOBS, ("ScaledObject", SCALED_OBJECT)), (JOBS, DEPLOYMENT, ("ScaledJob", NAME))],
)
def test_a_pause_by_hand_is_not_lost_either(site: ToldSite, before: Object, after: Object, place: Any) -> None:
    done(deploy(site, before))
    annotate(site, place[0], place[1], "true")
    assert "paused by hand" in refused(deploy(site, after))


@pytest.mark.parametrize(("before", "after"), [(DEPLOYMENT, JOBS), (JOBS, DEPLOYMENT)])
def test_a_pause_that_is_over_or_that_the_inventory_goes_on_with_stops_nothing(
    site: ToldSite, before: Object, after: Object
) -> None:
    done(deploy(site, before))
    done(play(site, "pause", before, pause_until="1h"))
    refused(deploy(site, after))
    done(deploy(site, after, hours=2))
    done(play(site, "pause", after))
    done(deploy(site, {**before, "paused": True}))


def test_jobs_that_a_failed_run_has_stopped_go_on_once_they_are_to_stay(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    before = json.dumps(site.cluster.objects["ScaledJob", NAME]["metadata"]["annotations"])
    refused(broken_off(site, DEPLOYMENT))
    annotations = site.cluster.objects["ScaledJob", NAME]["metadata"]["annotations"]
    assert annotations[PAUSED] == "true"
    found = done(deploy(site, JOBS))
    assert json.dumps(site.cluster.objects["ScaledJob", NAME]["metadata"]["annotations"]) == before
    assert any("shop/reports: resumed" in text for text in found["notes"])
    assert not any("by hand" in text for text in found.get("warnings", []))
    assert not done(deploy(site, JOBS))["changed"]


def test_a_pause_of_a_person_outlives_a_run_that_failed(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    refused(broken_off(site, DEPLOYMENT))
    done(play(site, "pause", JOBS))
    done(deploy(site, JOBS))
    assert site.cluster.objects["ScaledJob", NAME]["metadata"]["annotations"][PAUSED] == "true"
    done(play(site, "resume", JOBS))
    assert PAUSED not in site.cluster.objects["ScaledJob", NAME]["metadata"]["annotations"]


def broken_off_after(site: ToldSite, variant: Object, kind: str) -> Object:
    """A run whose server is gone right after it has taken an object of a kind."""
    send = site.cluster.send

    def fail(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        result = send(arguments, hides, new)
        if any(item["kind"] == kind for item in arguments["definition"]):
            lost = {"changed": False, "result": {}, "error": {"msg": "Connection refused"}}
            return {"result": {"results": [lost for _ in arguments["definition"]]}}
        return result

    site.cluster.send = fail  # type: ignore[method-assign]
    try:
        return deploy(site, variant)
    finally:
        site.cluster.send = send  # type: ignore[method-assign]


def broken_off(site: ToldSite, variant: Object) -> Object:
    """A run whose server is gone right after it has stopped the Jobs that go."""
    send = site.cluster.send

    def fail(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        lost = {"changed": False, "result": {}, "error": {"msg": "Connection refused"}}
        stopped = any(PAUSED in (item["metadata"].get("annotations") or {}) for item in last)
        if stopped:
            return {"result": {"results": [lost for _ in arguments["definition"]]}}
        last[:] = arguments["definition"]
        return send(arguments, hides, new)

    last: list[Object] = []
    site.cluster.send = fail  # type: ignore[method-assign]
    try:
        return deploy(site, variant)
    finally:
        site.cluster.send = send  # type: ignore[method-assign]


@pytest.fixture
def keda(site: ToldSite, monkeypatch: pytest.MonkeyPatch) -> Keda:
    return keda_of(site, monkeypatch)


@pytest.mark.parametrize(
    ("why", "said"),
    [(NOT_PULLED, "ImagePullBackOff"), (NO_SECRET, 'secret "login" not found'), (CRASHES, "no module shop")],
)
def test_workers_do_not_give_way_to_jobs_that_do_not_come_up(
    site: ToldSite, keda: Keda, why: Unavailable, said: str
) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.why = {BAD: why}
    site.story.clear()
    text = refused(deploy(site, {**JOBS, "image": BAD}, wait_timeout=5))
    assert said in text
    assert "the workers that were to give way stay" in text
    assert {"Deployment", "ScaledObject"} <= kinds(site)
    assert not [told for told in site.story if told.startswith(("pause", "absent"))]
    assert all(worker.takes for worker in site.of(NAME))
    # As often as it is tried.
    refused(deploy(site, {**JOBS, "image": BAD}, wait_timeout=5))
    assert {"Deployment", "ScaledObject"} <= kinds(site)
    # And a second run with what was wrong fixed goes on.
    found = done(deploy(site, JOBS))
    assert kinds(site) & {"Deployment", "ScaledObject", "ScaledJob"} == {"ScaledJob"}
    assert not [text for text in found["notes"] if "not tried" in text]


def test_jobs_that_do_not_come_up_may_be_taken_back(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.why = {BAD: NOT_PULLED}
    refused(deploy(site, {**JOBS, "image": BAD}, wait_timeout=5))
    done(deploy(site, DEPLOYMENT))
    assert {"Deployment", "ScaledObject"} <= kinds(site)
    assert "ScaledJob" not in kinds(site)
    assert all(worker.takes for worker in site.of(NAME))


def test_no_job_of_another_version_speaks_for_those_that_take_over(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    site.watch = lambda: None
    refused(broken_off_after(site, JOBS, "ScaledJob"))
    keda.follow()
    keda.why = {BAD: NOT_PULLED}
    site.watch = keda.follow
    assert "ImagePullBackOff" in refused(deploy(site, {**JOBS, "image": BAD}, wait_timeout=5))
    assert "Deployment" in kinds(site)


@pytest.mark.parametrize(("variant", "why"), [(JOBS, "nothing waits"), ({**JOBS, "paused": True}, "it is paused")])
def test_where_keda_starts_no_job_a_note_says_that_the_image_was_not_tried(
    site: ToldSite, keda: Keda, variant: Object, why: str
) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.active = variant is not JOBS
    found = done(deploy(site, variant))
    (note,) = [text for text in found["notes"] if "the image was not tried" in text]
    assert why in note
    assert f"scaledjob.keda.sh/name={NAME}" in note
    assert "Deployment" not in kinds(site)
    assert not [text for text in done(deploy(site, variant))["notes"] if "not tried" in text]


def jobs_of_before_work(site: ToldSite, keda: Keda) -> None:
    """A switch that the old workers kept from its end, and after which KEDA starts no more Jobs than have started."""
    done(deploy(site, DEPLOYMENT))
    site.of(NAME)[0].running = ["shop.report"]
    refused(deploy(site, JOBS, wait_timeout=1))
    assert {"Deployment", "ScaledJob", "Job"} <= kinds_of_all(site)
    site.of(NAME)[0].running = []
    keda.starts = False


def kinds_of_all(site: ToldSite) -> set[str]:
    return {kind for kind, _name in site.cluster.objects}


def test_jobs_of_an_earlier_image_that_leave_no_room_for_others_do_not_keep_a_run_from_its_end(
    site: ToldSite, keda: Keda
) -> None:
    jobs_of_before_work(site, keda)
    found = done(deploy(site, {**JOBS, "image": "registry.example/shop:2"}, wait_timeout=1))
    (note,) = [text for text in found["notes"] if "the image was not tried" in text]
    assert "its Jobs of an earlier version still work, so KEDA starts no pod" in note
    assert "Deployment" not in kinds(site)


def test_a_run_gives_keda_time_to_start_a_job_beside_those_of_an_earlier_image(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs_of_before_work(site, keda)
    keda.why = {BAD: NOT_PULLED}

    def poll(_seconds: float) -> None:
        keda.starts = True
        keda.follow()

    monkeypatch.setattr(time, "sleep", poll)
    assert "ImagePullBackOff" in refused(deploy(site, {**JOBS, "image": BAD}))
    assert "Deployment" in kinds(site)


def test_jobs_of_an_earlier_image_that_never_came_up_speak_for_nothing(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.why = {BAD: CRASHES}
    refused(deploy(site, {**JOBS, "image": BAD}, wait_timeout=1))
    keda.starts = False
    text = refused(deploy(site, JOBS, wait_timeout=1))
    assert "KEDA has not started a Job" in text
    assert "It counts 1 Job of an earlier version" in text
    assert "Deployment" in kinds(site)


@pytest.mark.parametrize("full", ["quota", "0/3 nodes are available: 3 Insufficient memory."])
def test_where_a_job_has_no_room_the_run_says_that_the_old_workers_may_hold_it(
    site: ToldSite, keda: Keda, full: str
) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.full = full
    text = refused(deploy(site, JOBS, wait_timeout=1))
    assert "The workers that are to give way may hold the room" in text
    assert "max_replicas" in text
    assert "Deployment" in kinds(site)
    # What the message proposes works.
    assert "does not wait" in " ".join(done(deploy(site, JOBS, wait=False))["warnings"])
    assert "Deployment" not in kinds(site)


def test_a_job_that_no_node_may_run_has_no_lack_of_room(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.full = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    text = refused(deploy(site, JOBS, wait_timeout=1))
    assert "cannot be scheduled" in text
    assert "hold the room" not in text


def goes_away(site: ToldSite, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """A server that does not answer a number of looks, once a run looks whether those come up that take over."""
    listed, until_tried = site.cluster.list_objects, _waiting.Waits.until_tried
    left: list[int] = []

    def away(waits: Any, step: Any) -> None:
        left.extend(range(looks))
        until_tried(waits, step)

    def answer(*arguments: Any, **options: Any) -> list[Object]:
        if left:
            left.pop()
            raise ClusterError("https://api:6443 cannot be reached: connection refused", passes=True)
        return listed(*arguments, **options)

    monkeypatch.setattr(_waiting.Waits, "until_tried", away)
    monkeypatch.setattr(site.cluster, "list_objects", answer)


@pytest.mark.parametrize(("before", "after"), [(DEPLOYMENT, JOBS), (JOBS, DEPLOYMENT)])
def test_a_server_that_is_away_for_a_moment_does_not_end_a_switch(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch, before: Object, after: Object
) -> None:
    done(deploy(site, before))
    goes_away(site, monkeypatch, looks=2)
    done(deploy(site, after))
    assert len(kinds(site) & {"Deployment", "ScaledJob"}) == 1


def test_a_server_that_stays_away_is_not_said_to_be_a_job_that_does_not_come_up(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(deploy(site, DEPLOYMENT))
    goes_away(site, monkeypatch, looks=100_000)
    text = refused(deploy(site, JOBS, wait_timeout=1))
    assert "https://api:6443 cannot be reached" in text
    assert "no Job of these has come up" not in text


def test_a_run_waits_for_the_first_reading_of_keda(site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.active = None
    text = refused(deploy(site, JOBS, wait_timeout=1))
    assert "KEDA has not read its triggers yet" in text
    assert "Deployment" in kinds(site)

    def read(_seconds: float) -> None:
        keda.active = True
        keda.follow()

    monkeypatch.setattr(time, "sleep", read)
    done(deploy(site, JOBS))
    assert "Deployment" not in kinds(site)


def test_a_deployment_that_takes_over_from_jobs_and_has_no_pod_was_not_tried_either(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    # KEDA finds nothing, and takes its only pod away before the run looks.
    site.watch = lambda: sleeps(site)
    found = done(deploy(site, {**DEPLOYMENT, "min_replicas": 0}))
    (note,) = [text for text in found["notes"] if "the image was not tried" in text]
    assert "a Deployment took over from its Jobs" in note


def sleeps(site: ToldSite) -> None:
    """What KEDA does with a Deployment for which nothing waits."""
    item = site.cluster.objects.get(("Deployment", NAME))
    if item is not None and item["spec"]["replicas"]:
        item["spec"]["replicas"] = 0
        item["status"] = {"observedGeneration": 1}
        site.follow()


def test_a_deployment_that_does_not_come_up_leaves_the_jobs(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    site.fails.add(NAME)
    refused(deploy(site, {**DEPLOYMENT, "image": BAD}, wait_timeout=1))
    assert "ScaledJob" in kinds(site)
    assert PAUSED not in site.annotations("ScaledJob", NAME)


def test_a_run_that_does_not_wait_says_that_no_job_was_seen_to_start(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.why = {BAD: NOT_PULLED}
    found = done(deploy(site, {**JOBS, "image": BAD}, wait=False))
    (warning,) = [text for text in found["warnings"] if "does not see one start" in text]
    assert f"scaledjob.keda.sh/name={NAME}" in warning


def test_check_mode_waits_for_no_job(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, DEPLOYMENT))
    keda.why = {BAD: NOT_PULLED}
    assert done(run(site.cluster, checks=True, clock=at(), **fleet({**JOBS, "image": BAD})))["changed"]


def test_who_may_not_read_jobs_is_told_that_none_was_seen(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(deploy(site, DEPLOYMENT))
    listed = site.cluster.list_objects

    def without_jobs(kind: str, *arguments: Any, **options: Any) -> list[Object]:
        if kind == "Job":
            why = FORBIDDEN.replace("delete", "list")
            raise ClusterError(f"https://api does not allow to list Job in shop: {why}.")
        return listed(kind, *arguments, **options)

    monkeypatch.setattr(site.cluster, "list_objects", without_jobs)
    found = done(deploy(site, JOBS))
    assert any("is not known" in text and "grant list on jobs.batch" in text for text in found["warnings"])


WITHOUT: Object = {"config": {"shop": {"mail": {"replicas": 1}}}, "prune": True}
OTHER_KEY: Object = {"broker": {"host": "redis", "database": 3}}


@pytest.mark.parametrize("policy", ["stop", "drain"])
@pytest.mark.parametrize("variables", [{"state": "absent"}, WITHOUT])
@pytest.mark.parametrize("before", [JOBS, {**DEPLOYMENT, "min_replicas": 0}])
def test_what_runs_nothing_while_nothing_waits_may_go(
    site: ToldSite, before: Object, variables: Object, policy: str
) -> None:
    done(deploy(site, before))
    sleeps(site)
    says_that_nothing_waits(site)
    done(run(site.cluster, clock=at(), **{**fleet(before), **variables, "key_change": policy}))
    assert not kinds(site)


@pytest.mark.parametrize("policy", ["stop", "drain"])
@pytest.mark.parametrize("before", [JOBS, {**DEPLOYMENT, "min_replicas": 0}])
def test_what_runs_nothing_while_nothing_waits_may_get_another_key(site: ToldSite, before: Object, policy: str) -> None:
    done(deploy(site, before))
    sleeps(site)
    says_that_nothing_waits(site)
    done(deploy(site, before, **OTHER_KEY, key_change=policy))
    assert not [name for _kind, name in site.cluster.objects if name.endswith("-drain")]


@pytest.mark.parametrize("variables", [{"state": "absent"}, WITHOUT, OTHER_KEY])
def test_jobs_for_which_work_waits_stay_and_the_run_says_how_to_go_on(
    site: ToldSite, keda: Keda, variables: Object
) -> None:
    keda.active = False
    done(deploy(site, JOBS))
    # KEDA has read that something waits, and its Job is not there yet.
    keda.site.watch = lambda: None
    site.cluster.objects["ScaledJob", NAME]["status"]["conditions"][1]["status"] = "True"
    text = refused(run(site.cluster, clock=at(), **{**fleet(JOBS), **variables, "key_change": "drain"}))
    assert "Run again" in text
    assert re.search("none of its Jobs is ready|no pod is ready that could be asked", text)
    assert "celery_workers_key_change: drain" not in text
    assert "ScaledJob" in kinds(site)
    assert PAUSED not in site.annotations("ScaledJob", NAME)


def test_jobs_that_a_person_has_paused_go_only_once_what_waits_is_known(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    done(play(site, "pause", JOBS))
    text = refused(deploy(site, JOBS, state="absent", key_change="drain"))
    assert "KEDA reads nothing while the ScaledJob is paused" in text
    assert f"kubectl annotate scaledjob {NAME} autoscaling.keda.sh/paused-" in text
    assert "ScaledJob" in kinds(site)
    site.annotations("ScaledJob", NAME).pop(PAUSED)
    done(deploy(site, JOBS, state="absent", key_change="drain"))


def test_work_that_comes_while_idle_jobs_are_about_to_go_keeps_them(site: ToldSite, keda: Keda) -> None:
    keda.active = False
    done(deploy(site, JOBS))
    listed = site.cluster.list_objects
    looks: list[str] = []

    def then_work_comes(kind: str, *arguments: Any, **options: Any) -> list[Object]:
        looks.append(kind)
        if looks.count("ScaledJob") > 1:
            site.cluster.objects["ScaledJob", NAME]["status"]["conditions"][1]["status"] = "True"
        return listed(kind, *arguments, **options)

    site.cluster.list_objects = then_work_comes  # type: ignore[method-assign]
    refused(deploy(site, JOBS, state="absent", key_change="drain"))
    assert "ScaledJob" in kinds(site)
    assert PAUSED not in site.annotations("ScaledJob", NAME)


class Killed(BaseException):
    """As the end of a process: nothing is cleared up."""


def killed_once_told(site: ToldSite, **variables: Any) -> None:
    """A run that is killed right after it has told workers to take nothing."""

    def kill() -> None:
        if site.story[-1:] == [f"pause {NAME}"]:
            raise Killed

    site.watch = kill
    with pytest.raises(Killed):
        run(site.cluster, clock=at(), **variables)
    site.watch = lambda: None
    assert not any(worker.takes for worker in site.of(NAME))


DRAINING: Object = {**fleet(DEPLOYMENT), "key_change": "drain"}
TOLD = [
    pytest.param(fleet(JOBS), id="gives way"),
    pytest.param({**DRAINING, "state": "absent"}, id="removed"),
    pytest.param({**DRAINING, **WITHOUT, "prune": "move", "move_to": "elsewhere"}, id="pruned"),
]


@pytest.mark.parametrize("variables", TOLD)
def test_workers_that_a_killed_run_has_told_to_take_nothing_take_again_once_they_are_to_stay(
    site: ToldSite, variables: Object
) -> None:
    done(deploy(site, DEPLOYMENT))
    site.waiting = 3 if "move_to" in variables else 0
    killed_once_told(site, **variables)
    drained = drained_from(site.annotations("Deployment", NAME))
    assert drained is not None
    assert (drained.by_deploy, drained.since) == (True, NOW)
    done(deploy(site, DEPLOYMENT))
    assert all(worker.takes for worker in site.of(NAME))
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", NAME)
    assert not done(deploy(site, DEPLOYMENT))["changed"]


@pytest.mark.parametrize("variables", TOLD)
def test_a_run_goes_on_where_a_killed_one_has_told_workers_to_take_nothing(site: ToldSite, variables: Object) -> None:
    done(deploy(site, DEPLOYMENT))
    killed_once_told(site, **variables)
    done(run(site.cluster, clock=at(), **variables))
    assert "Deployment" not in kinds(site)
    assert not site.cut


@pytest.mark.parametrize("after", [JOBS, DEPLOYMENT])
def test_a_worker_that_does_not_answer_any_more_does_not_stop_the_run_after_a_killed_one(
    site: ToldSite, monkeypatch: pytest.MonkeyPatch, after: Object
) -> None:
    """Such as one that is busy with a task, and has no other thread."""
    done(deploy(site, DEPLOYMENT))
    killed_once_told(site, **fleet(JOBS))
    monkeypatch.setattr(_draining, "_TOLD_WITHIN", 0)
    (worker,) = site.of(NAME)
    worker.answers = False
    found = deploy(site, after, wait_timeout=1)
    (warning,) = [text for text in found["warnings"] if "not sure that its workers take work again" in text]
    assert "1 of 1 pod does not answer" in warning
    assert f"kubectl rollout restart deployment {NAME}" in warning
    if after is JOBS:
        assert "Deployment" not in kinds(site)
        return
    done(found)
    # It is not known, so the note stays until it is.
    assert DRAINED_ANNOTATION in site.annotations("Deployment", NAME)
    worker.answers = True
    done(deploy(site, DEPLOYMENT))
    assert worker.takes
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", NAME)


def test_a_worker_that_says_that_it_takes_nothing_stops_the_run_after_a_killed_one(
    site: ToldSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(deploy(site, DEPLOYMENT))
    killed_once_told(site, **fleet(JOBS))
    monkeypatch.setattr(_draining, "_TOLD_WITHIN", 0)
    monkeypatch.setattr(site.of(NAME)[0], "told", lambda _consumes: None)
    assert "not sure that its workers take work again" in refused(deploy(site, DEPLOYMENT))
    assert DRAINED_ANNOTATION in site.annotations("Deployment", NAME)


def test_workers_that_do_not_finish_in_time_take_work_again_and_no_note_is_left(site: ToldSite) -> None:
    done(deploy(site, DEPLOYMENT))
    site.of(NAME)[0].running = ["shop.report"]
    assert "shop.report" in refused(deploy(site, JOBS, wait_timeout=1))
    assert all(worker.takes for worker in site.of(NAME))
    assert DRAINED_ANNOTATION not in site.annotations("Deployment", NAME)


@pytest.mark.parametrize("variables", TOLD[1:])
def test_what_a_person_has_drained_stays_drained_when_a_run_ends_early(site: ToldSite, variables: Object) -> None:
    done(deploy(site, DEPLOYMENT))
    site.of(NAME)[0].running = ["shop.report"]
    assert "shop.report" in refused(play(site, "drain", DEPLOYMENT))
    site.story.clear()
    site.waiting = 3 if "move_to" in variables else 0
    assert "shop.report" in refused(run(site.cluster, clock=at(), **{**variables, "wait_timeout": 1}))
    assert f"pause {NAME}" in site.story
    assert not any(worker.takes for worker in site.of(NAME))
    drained = drained_from(site.annotations("Deployment", NAME))
    assert drained is not None
    assert drained.by == "anna"


def test_the_note_of_workers_that_could_not_be_told_to_take_work_again_makes_the_next_run_tell_them(
    site: ToldSite,
) -> None:
    done(deploy(site, DEPLOYMENT))
    site.of(NAME)[0].running = ["shop.report"]
    says = site.says

    def deaf(_pod: str, question: Object) -> tuple[str, str]:
        return ("", "gone") if question["consumes"] == "resume" else says(_pod, question)

    site.says = deaf  # type: ignore[method-assign]
    found = deploy(site, JOBS, wait_timeout=1)
    refused(found)
    assert any("could not be told to take work again" in text for text in found["warnings"])
    assert DRAINED_ANNOTATION in site.annotations("Deployment", NAME)
    site.says = says  # type: ignore[method-assign]
    done(deploy(site, DEPLOYMENT))
    assert all(worker.takes for worker in site.of(NAME))


def says_that_nothing_waits(site: ToldSite) -> None:
    """What KEDA says at its next reading."""
    item = site.cluster.objects.get(("ScaledObject", SCALED_OBJECT))
    if item is not None:
        item["status"] = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Active", "status": "False"}]}


def test_jobs_that_never_started_stay_with_a_warning_where_they_may_not_be_deleted(site: ToldSite) -> None:
    done(deploy(site, JOBS))
    scaled_job = copy.deepcopy(site.cluster.objects["ScaledJob", NAME])
    scaled_job["metadata"] |= {"uid": "1", "namespace": "shop"}
    site.cluster.objects["Job", f"{NAME}-00001"] = {**job_of(scaled_job, 1), "kind": "Job"}
    site.cluster.sent.clear()
    send = site.cluster.send

    def refuse(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        if arguments["definition"][0]["kind"] != "Job":
            return send(arguments, hides, new)
        status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": FORBIDDEN}
        return {"result": {"results": [{"changed": False, "result": {}, "error": {"msg": json.dumps(status)}}]}}

    site.cluster.send = refuse  # type: ignore[method-assign]
    # Another image, and KEDA's next generation.
    found = done(deploy(site, {**JOBS, "image": "registry.example/shop:2"}))
    (warning,) = [text for text in found["warnings"] if "never started" in text]
    assert f"{NAME}-00001" in warning
    assert "grant delete on jobs.batch" in warning
    assert ("Job", f"{NAME}-00001") in site.cluster.objects


FORBIDDEN = (
    f'jobs.batch "{NAME}-00001" is forbidden: User "anna" cannot delete resource "jobs" in API group "batch" in the '
    'namespace "shop"'
)
