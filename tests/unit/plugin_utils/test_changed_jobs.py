# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run sees of Jobs whose pods it has changed: one comes up, or the run says why not, or that none was tried."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    FOREIGN_VERSIONS,
    plural,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import Scope, rights_of

from tests.support._jobs import finished
from tests.unit.inventories import IMAGE
from tests.unit.keda_jobs import CRASHES, NAME, NO_SECRET, NOT_PULLED, Keda, keda_of
from tests.unit.model_cluster import Object, done, refused, run
from tests.unit.told_pods import ToldSite, told_site

BAD = "registry.example/shop:bad"
JOBS: Object = {"run_as": "jobs", "max_replicas": 5}
WORSE: Object = {**JOBS, "image": BAD}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ToldSite:
    return told_site(monkeypatch)


@pytest.fixture
def keda(site: ToldSite, monkeypatch: pytest.MonkeyPatch) -> Keda:
    return keda_of(site, monkeypatch)


def deploy(site: ToldSite, variant: Object, **more: Any) -> Object:
    service = {"image": IMAGE, "app": "shop.celery", "idempotent": True}
    config = {"shop": {"reports": {"longest_task_seconds": 900, **variant}}}
    wishes = {"wait_timeout": 1, **more}
    return run(site.cluster, services={"shop": service}, config=config, broker={"host": "redis"}, **wishes)


def untried(result: Object) -> list[str]:
    return [text for text in result["notes"] if "was tried" in text]


def looks_at_jobs(site: ToldSite) -> int:
    return [kind for kind, _metadata_only in site.cluster.lists].count("Job")


@pytest.mark.parametrize(
    ("why", "said"),
    [(NOT_PULLED, "ImagePullBackOff"), (NO_SECRET, 'secret "login" not found'), (CRASHES, "no module shop")],
)
@pytest.mark.parametrize("before", [JOBS, None])
def test_a_run_whose_jobs_do_not_come_up_fails_and_says_why(
    site: ToldSite, keda: Keda, before: Object | None, why: Any, said: str
) -> None:
    if before is not None:
        done(deploy(site, before))
        let_them_end(site)
    keda.why = {BAD: why}
    text = refused(deploy(site, WORSE))
    assert said in text
    assert "give way" not in text
    # As often as it is run, although nothing is sent any more.
    assert said in refused(deploy(site, WORSE))
    # And with what was wrong fixed it goes on.
    assert not untried(done(deploy(site, JOBS)))


def let_them_end(site: ToldSite) -> None:
    """The workers of all Jobs end well."""
    for (kind, name), item in list(site.cluster.objects.items()):
        if kind == "Job":
            site.cluster.objects[kind, name] = finished(item, failed=False)
        elif kind == "Pod" and name.startswith(NAME):
            item["status"] = {"phase": "Succeeded"}


@pytest.mark.parametrize("change", [{"image": "registry.example/shop:2"}, {"env": {"A": "1"}}, {"concurrency": 2}])
def test_a_run_whose_jobs_come_up_says_nothing_of_them(site: ToldSite, keda: Keda, change: Object) -> None:
    done(deploy(site, JOBS))
    let_them_end(site)
    assert not untried(done(deploy(site, {**JOBS, **change})))
    assert {"Pod", "Job"} <= {kind for kind, _name in site.cluster.objects}


@pytest.mark.parametrize(
    ("active", "variant", "why"), [(False, {}, "nothing waits"), (True, {"paused": True}, "paused")]
)
def test_where_keda_starts_no_job_of_it_a_note_says_so_once(
    site: ToldSite, keda: Keda, active: bool, variant: Object, why: str
) -> None:
    keda.active = active
    done(deploy(site, {**JOBS, **variant}))
    (note,) = untried(done(deploy(site, {**WORSE, **variant})))
    assert "shop/reports" in note
    assert why in note
    assert f"scaledjob.keda.sh/name={NAME}" in note
    assert not untried(done(deploy(site, {**WORSE, **variant})))


def test_jobs_from_which_something_is_taken_out_are_changed_too(site: ToldSite, keda: Keda) -> None:
    keda.active = False
    done(deploy(site, {**JOBS, "working_dir": "/nowhere"}))
    (note,) = untried(done(deploy(site, JOBS)))
    assert "nothing waits" in note


def test_jobs_of_the_image_before_that_do_all_work_keep_no_run_from_its_end(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, JOBS))
    keda.starts = False
    (note,) = untried(done(deploy(site, WORSE)))
    assert "its Jobs of an earlier version still work" in note
    # A run that changes nothing does not wait for others.
    site.cluster.lists.clear()
    found = done(deploy(site, WORSE, wait_timeout=600))
    assert found["waited"] == 0
    assert not untried(found)


def does_not_get_ready(site: ToldSite) -> None:
    """The workers of all Jobs run, and their probe does not pass."""
    for kind, name in list(site.cluster.objects):
        if kind == "Pod" and name.startswith(NAME):
            site.cluster.objects[kind, name]["status"] = {"phase": "Running"}


@pytest.mark.parametrize("state", ["crashes", "is not ready"])
def test_a_run_that_fixes_jobs_which_keep_new_ones_from_starting_says_how_to_go_on(
    site: ToldSite, keda: Keda, state: str
) -> None:
    keda.why = {BAD: CRASHES}
    refused(deploy(site, WORSE))
    if state == "is not ready":
        does_not_get_ready(site)
    (job,) = [name for kind, name in site.cluster.objects if kind == "Job"]
    keda.starts = False
    (note,) = untried(done(deploy(site, JOBS)))
    assert "not up" in note
    assert f"kubectl delete job {job} --namespace shop;" in note
    # What the note says helps.
    del site.cluster.objects["Job", job]
    keda.starts = True
    assert not untried(done(deploy(site, JOBS)))


def test_a_run_gives_keda_time_to_start_a_job_beside_those_that_it_fixes(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    keda.why = {BAD: CRASHES, "registry.example/shop:worse": NOT_PULLED}
    refused(deploy(site, WORSE))
    keda.starts = False

    def poll(_seconds: float) -> None:
        keda.starts = True
        keda.follow()

    monkeypatch.setattr(time, "sleep", poll)
    text = refused(deploy(site, {**JOBS, "image": "registry.example/shop:worse"}, wait_timeout=600))
    assert "ImagePullBackOff" in text
    assert "a second run waits for Jobs that KEDA has started by then" in text


def test_jobs_that_a_run_fixes_excuse_no_job_that_the_server_refuses(site: ToldSite, keda: Keda) -> None:
    keda.why = {BAD: CRASHES}
    refused(deploy(site, WORSE))
    keda.starts = False
    put(site, event("ScaledJob", NAME, "KEDAJobCreateFailed", JOB_REFUSED, "02"))
    assert "exceeded quota: few-jobs" in refused(deploy(site, JOBS))


def test_a_run_that_changes_nothing_of_the_pods_looks_for_no_job(site: ToldSite, keda: Keda) -> None:
    keda.active = False
    done(deploy(site, JOBS))
    done(deploy(site, JOBS))
    site.cluster.lists.clear()
    done(deploy(site, JOBS))
    looks = looks_at_jobs(site)
    site.cluster.lists.clear()
    done(deploy(site, {**JOBS, "max_replicas": 7}))
    assert looks_at_jobs(site) == looks
    done(deploy(site, {**WORSE, "max_replicas": 7}))
    assert looks_at_jobs(site) > 2 * looks


def test_a_run_that_does_not_wait_looks_for_no_job_either(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, JOBS))
    keda.why = {BAD: NOT_PULLED}
    assert not untried(done(deploy(site, WORSE, wait=False)))


def test_a_dry_run_of_a_changed_image_tries_nothing(site: ToldSite, keda: Keda) -> None:
    done(deploy(site, JOBS))
    keda.why = {BAD: NOT_PULLED}
    service = {"image": IMAGE, "app": "shop.celery", "idempotent": True}
    config = {"shop": {"reports": {"longest_task_seconds": 900, **WORSE}}}
    dry = run(site.cluster, checks=True, services={"shop": service}, config=config, broker={"host": "redis"})
    assert done(dry)["changed"]


def test_who_may_not_read_jobs_is_told_that_none_was_seen(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(deploy(site, JOBS))
    why = (
        'jobs.batch is forbidden: User "anna" cannot list resource "jobs" in API group "batch" in the namespace "shop"'
    )
    may_not_read(site, monkeypatch, frozenset({"Job"}), why)
    found = done(deploy(site, WORSE))
    assert any("has come up is not known" in text for text in found["warnings"])
    assert not any("give way" in text for text in found["warnings"])


#: What an API server says where a quota is full, by what KEDA and Kubernetes say of it.
JOB_REFUSED = (
    f'Failed to create job {NAME}-: jobs.batch "{NAME}-x7k2p" is forbidden: exceeded quota: few-jobs, requested: '
    "count/jobs.batch=1, used: count/jobs.batch=2, limited: count/jobs.batch=2"
)
POD_REFUSED = (
    f'Error creating: pods "{NAME}-00001-abcde" is forbidden: exceeded quota: few-pods, requested: pods=1, used: '
    "pods=5, limited: pods=5"
)
ALL_READ = frozenset[str]()


def event(kind: str, name: str, reason: str, message: str, time: str) -> Object:
    about = {"kind": kind, "name": name, "namespace": "shop"}
    metadata = {"name": f"{name}.{time}", "namespace": "shop"}
    return {
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-30T12:{time}:00Z",
    }


def quota(name: str, **counts: tuple[str, str]) -> Object:
    """A quota, by what it counts: used and hard."""
    names = {"jobs": "count/jobs.batch", "pods": "pods"}
    used, hard = ({names[key]: item[place] for key, item in counts.items()} for place in (0, 1))
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": {"hard": hard},
        "status": {"hard": hard, "used": used},
    }


def put(site: ToldSite, *items: Object) -> None:
    for item in items:
        site.cluster.objects[item["kind"], item["metadata"]["name"]] = item


def may_not_read(
    site: ToldSite, monkeypatch: pytest.MonkeyPatch, kinds: frozenset[str], why: str = "Forbidden"
) -> None:
    listed = site.cluster.list_objects

    def refusing(kind: str, *arguments: Any, **options: Any) -> list[Object]:
        if kind in kinds:
            raise ClusterError(f"https://api does not allow to list {kind} in shop: {why}.")
        return listed(kind, *arguments, **options)

    monkeypatch.setattr(site.cluster, "list_objects", refusing)


@pytest.mark.parametrize("hidden", [ALL_READ, frozenset({"Event"}), frozenset({"ResourceQuota"})])
def test_a_quota_that_lets_no_job_in_is_told_by_its_name_and_numbers(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch, hidden: frozenset[str]
) -> None:
    done(deploy(site, JOBS))
    let_them_end(site)
    keda.starts = False
    put(
        site,
        event("ScaledJob", NAME, "KEDAJobCreateFailed", "connection refused", "01"),
        event("ScaledJob", NAME, "KEDAJobCreateFailed", JOB_REFUSED, "02"),
        event("ScaledJob", "other", "KEDAJobCreateFailed", "of others", "03"),
        event("ScaledJob", NAME, "KEDAJobsCreated", "Created 1 jobs", "03"),
        quota("few-jobs", jobs=("2", "2")),
        quota("many", jobs=("2", "20"), pods=("5", "5")),
    )
    may_not_read(site, monkeypatch, hidden)
    text = refused(deploy(site, WORSE))
    assert "exceeded quota: few-jobs" in text
    assert "used: count/jobs.batch=2, limited: count/jobs.batch=2" in text
    assert "Raise the ResourceQuota" in text
    assert "many" not in text
    assert "of others" not in text


@pytest.mark.parametrize("hidden", [ALL_READ, frozenset({"Event"}), frozenset({"ResourceQuota"})])
def test_a_quota_that_lets_no_pod_of_a_job_in_is_told_by_its_name_and_numbers(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch, hidden: frozenset[str]
) -> None:
    done(deploy(site, JOBS))
    let_them_end(site)
    keda.full = "quota"
    # Its event and its quota are there once its Job is.
    follow = site.watch

    def with_event() -> None:
        follow()
        for kind, name in list(site.cluster.objects):
            if kind == "Job":
                put(site, event("Job", name, "FailedCreate", POD_REFUSED, "01"))

    site.watch = with_event
    put(site, quota("few-pods", pods=("5", "5")), quota("few-jobs", jobs=("2", "2")))
    may_not_read(site, monkeypatch, hidden)
    text = refused(deploy(site, WORSE))
    assert "exceeded quota: few-pods" in text
    assert "used: pods=5, limited: pods=5" in text
    assert "few-jobs" not in text


def test_other_refusals_of_the_server_are_told_too(site: ToldSite, keda: Keda) -> None:
    keda.starts = False
    why = 'admission webhook "policy.example" denied the request: no image without a digest'
    put(site, event("ScaledJob", NAME, "KEDAJobCreateFailed", f"Failed to create job {NAME}-: {why}", "01"))
    assert why in refused(deploy(site, JOBS))


def test_where_nothing_says_why_there_is_no_job_the_run_says_how_to_see_it(
    site: ToldSite, keda: Keda, monkeypatch: pytest.MonkeyPatch
) -> None:
    keda.starts = False
    may_not_read(site, monkeypatch, frozenset({"Event", "ResourceQuota"}))
    assert f"kubectl describe scaledjob {NAME}" in refused(deploy(site, JOBS))


def test_who_waits_may_read_all_that_says_why_there_is_no_job(site: ToldSite, keda: Keda) -> None:
    keda.starts = False
    refused(deploy(site, JOBS))
    asked = {kind for kind, _metadata_only in site.cluster.lists} - API_VERSIONS.keys() - FOREIGN_VERSIONS.keys()
    assert {"Job", "Event", "ResourceQuota"} <= asked
    granted = rights_of(Scope(made=frozenset({"ScaledJob"})), ("deploy", "wait"))
    assert {plural(kind) for kind in asked} <= {right.resource for right in granted if "list" in right.verbs}
