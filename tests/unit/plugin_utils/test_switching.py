# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant whose workers change from a Deployment to Jobs, or back: what stops it, and what it must not lose."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support._jobs import job_of
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import Object, done, operate, refused, run
from tests.unit.told_pods import ToldSite, told_site

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
NAME, SCALED_OBJECT = "shop-worker-reports", "shop-worker-reports-scaledobject"
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


def test_a_change_to_jobs_says_that_none_was_seen_to_start(site: ToldSite) -> None:
    done(deploy(site, DEPLOYMENT))
    found = done(deploy(site, JOBS))
    (warning,) = [text for text in found["warnings"] if "does not see one start" in text]
    assert f"scaledjob.keda.sh/name={NAME}" in warning
    assert not done(deploy(site, JOBS)).get("warnings")


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
