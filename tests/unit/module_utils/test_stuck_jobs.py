# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Jobs a deploy deletes: those that never started and are not wanted as they are, and no other."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.stuck_jobs import stuck
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import covers

from tests.support._jobs import finished, job_of, pod_of_job
from tests.support._workloads import Unavailable
from tests.unit.inventories import Manifest, manifests_with, of_kind

BAD_IMAGE = Unavailable("ImagePullBackOff", "not found", pods=True, deadline_exceeded=False)


def scaled_job(generation: int, **keys: Any) -> Manifest:
    found = of_kind(manifests_with({"run_as": "jobs", "idempotent": True, **keys}), "ScaledJob")[0]
    found = copy.deepcopy(found)
    found["metadata"] |= {"uid": "1", "generation": generation}
    return found


BEFORE, NOW = scaled_job(1), scaled_job(2, image="registry.example/billing:1.5")
NAME = str(NOW["metadata"]["name"])


def names(job: Manifest, pods: list[Manifest], wanted: Manifest = NOW) -> list[str]:
    return [str(item["metadata"]["name"]) for item in stuck([job], pods, {NAME: wanted}, covers)]


def test_a_job_whose_image_cannot_be_pulled_goes_once_another_is_wanted() -> None:
    job = job_of(BEFORE, 1)
    assert names(job, [pod_of_job(job, BAD_IMAGE)]) == [job["metadata"]["name"]]


def test_a_job_that_got_no_pod_goes_as_well() -> None:
    job = job_of(BEFORE, 1)
    assert names(job, []) == [job["metadata"]["name"]]


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed", "Unknown"])
def test_a_job_that_started_stays(phase: str) -> None:
    job = job_of(BEFORE, 1)
    pod = pod_of_job(job, BAD_IMAGE)
    pod["status"]["phase"] = phase
    assert names(job, [pod]) == []


def test_a_job_that_is_starting_as_it_is_wanted_stays() -> None:
    job = job_of(NOW, 1)
    assert names(job, [pod_of_job(job, BAD_IMAGE)]) == []


def test_a_job_stays_where_only_the_number_of_jobs_has_changed() -> None:
    job = job_of(BEFORE, 1)
    wanted = scaled_job(2, max_replicas=7)
    assert names(job, [pod_of_job(job, BAD_IMAGE)], wanted) == []


def applied(scaled: Manifest) -> Manifest:
    """The same as a run leaves it; KEDA copies the annotations to its Jobs."""
    found = copy.deepcopy(scaled)
    notes = found["metadata"].setdefault("annotations", {})
    notes["kubectl.kubernetes.io/last-applied-configuration"] = json.dumps(scaled)
    return found


def test_a_job_goes_that_has_what_was_taken_out_of_the_template() -> None:
    before = scaled_job(1, node_selector={"disk": "none-has-this"})
    job = job_of(applied(before), 1)
    assert names(job, [], applied(scaled_job(2))) == [job["metadata"]["name"]]
    assert names(job, [], applied(scaled_job(2, node_selector={"disk": "none-has-this"}, max_replicas=7))) == []


def test_a_job_that_has_ended_or_that_is_of_another_scaled_job_stays() -> None:
    job = job_of(BEFORE, 1)
    assert names(finished(job, failed=True), []) == []
    job["metadata"]["labels"]["scaledjob.keda.sh/name"] = "other"
    assert names(job, []) == []


RAW = {"limits": {"memory": "1024Mi", "cpu": "1000m"}, "requests": {"memory": "1024Mi", "cpu": "0.50"}}
CANONICAL = {"limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"memory": "1Gi", "cpu": "500m"}}


def with_container(scaled: Manifest, **fields: Any) -> Manifest:
    """The same with other fields of its container, as they were written."""
    found = copy.deepcopy(scaled)
    found["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0].update(fields)
    return found


@pytest.mark.parametrize(
    ("written", "served"),
    [
        ({"resources": RAW}, {"resources": CANONICAL}),
        ({"resources": {"limits": {"cpu": 1}}}, {"resources": {"limits": {"cpu": "1"}}}),
        ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": False}]},
            {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
        ),
    ],
)
def test_a_job_stays_where_a_server_only_writes_the_same_in_another_way(written: Manifest, served: Manifest) -> None:
    job = job_of(with_container(BEFORE, **served), 1)
    assert names(job, [], with_container(scaled_job(2, max_replicas=7), **written)) == []


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"resources": CANONICAL}, {"resources": {**RAW, "limits": {"memory": "1025Mi", "cpu": "1000m"}}}),
        ({"env": [{"name": "A", "value": "b"}]}, {"env": [{"name": "A", "value": ""}]}),
    ],
)
def test_a_job_goes_whose_amounts_or_values_have_changed(before: Manifest, now: Manifest) -> None:
    job = job_of(with_container(BEFORE, **before), 1)
    assert names(job, [], with_container(scaled_job(2, max_replicas=7), **now)) == [job["metadata"]["name"]]
