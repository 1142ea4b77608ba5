# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KEDA that runs, as it tells itself on the HPAs that it makes: what it is too old for is told before anything."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.names import ownership_labels

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, refused, run

SCALED: Object = {"enable_keda": True, "longest_task_seconds": 60}
GOAL: Object = {**SCALED, "max_wait_seconds": 210, "task_seconds": 5}
HPA, SCALED_OBJECT = "keda-hpa-shop-worker-mail-scaledobject", "shop-worker-mail-scaledobject"
OWNER: Object = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": SCALED_OBJECT, "controller": True}
MEASURED: Object = {"prometheus": "http://prometheus.monitoring:9090", "exporter_enabled": True}


def deploy(cluster: ModelCluster, variant: Object, **more: Any) -> Object:
    service = {"image": IMAGE, "app": "shop.celery", "idempotent": True}
    return run(
        cluster, services={"shop": service}, config={"shop": {"mail": variant}}, broker={"host": "redis"}, **more
    )


def site(version: str | None, ready: str = "True", **labels: str) -> ModelCluster:
    """A namespace in which KEDA of a version scales a variant, by a ScaledObject whose labels it copies over its own.

    :param ready: whether KEDA could build every trigger.
    """
    cluster = ModelCluster()
    if version is not None:
        ours = ownership_labels("shop", "shop", "mail") | {"app.kubernetes.io/managed-by": "queueops.celery"}
        scaled_by = {"kind": "ScaledObject", "metadata": {"name": SCALED_OBJECT, "labels": ours}}
        cluster.put({"apiVersion": "keda.sh/v1alpha1", **scaled_by, "spec": {}})
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        cluster.objects["ScaledObject", SCALED_OBJECT]["status"] = status
        own = {"app.kubernetes.io/version": version, "scaledobject.keda.sh/name": SCALED_OBJECT}
        metadata = {"name": HPA, "labels": own | ours | labels, "ownerReferences": [OWNER]}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-worker-mail"}
        cluster.put({"kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": {"scaleTargetRef": target}})
    return cluster


def told(result: Object) -> list[str]:
    return [text for text in done(result).get("warnings", []) if "runs, as HorizontalPodAutoscaler" in text]


def test_a_wait_goal_that_the_keda_that_runs_cannot_keep_stops_the_run() -> None:
    cluster = site("2.20.0")
    text = refused(deploy(cluster, GOAL, **MEASURED))
    assert text.count("celery_workers_prometheus: ") == 1
    assert f"KEDA 2.20.0 runs, as HorizontalPodAutoscaler {HPA} says" in text
    assert "variant mail of service shop" in text
    assert "If another KEDA runs, write celery_workers_keda_version." in text
    assert not cluster.sent
    # What the message proposes works, and nothing more is said of it.
    found = done(deploy(cluster, GOAL, **MEASURED, keda_version="2.20.0"))
    assert any("so variant mail of service shop go by list_length" in one for one in found["warnings"])
    assert "prometheus" not in str(cluster.objects["ScaledObject", SCALED_OBJECT]["spec"]["triggers"])


@pytest.mark.parametrize(
    ("version", "keys", "key"),
    [
        ("2.16.1", {"fallback": {"behavior": "currentReplicas"}}, "fallback"),
        ("2.13.0", {"initial_cooldown_period": 60}, "initial_cooldown_period"),
        ("v2.17.3", {"paused": "scale_in"}, "paused"),
        ("2.11.0", {}, "celery_workers_keda_version"),
    ],
)
def test_a_key_that_needs_a_later_keda_than_the_one_that_runs_stops_the_run(
    version: str, keys: Object, key: str
) -> None:
    cluster = site(version)
    text = refused(deploy(cluster, {**SCALED, **keys}))
    assert key in text
    assert f"KEDA {version.lstrip('v')} runs" in text
    assert text.count("If another KEDA runs, write celery_workers_keda_version.") == 1
    assert not cluster.sent


def test_where_the_version_is_not_written_what_is_made_may_be_for_a_later_one() -> None:
    (warning,) = told(deploy(site("2.16.1"), SCALED))
    assert "Write celery_workers_keda_version: '2.16.1'" in warning
    assert "If another KEDA runs, write celery_workers_keda_version." in warning
    assert not told(deploy(site("2.16.1"), SCALED, keda_version="2.16"))


def test_a_version_that_is_written_and_later_than_what_runs_is_a_warning() -> None:
    (warning,) = told(deploy(site("2.19.0"), SCALED, keda_version="2.20"))
    assert "celery_workers_keda_version: it is 2.20" in warning


@pytest.mark.parametrize("written", ["", "2.17", "2.20", "2.20.1"])
@pytest.mark.parametrize("version", ["2.20.1", "2.20.2", "2.21.0", None])
def test_a_keda_that_is_new_enough_or_not_known_is_no_matter(version: str | None, written: str) -> None:
    assert not told(deploy(site(version), GOAL, **MEASURED, keda_version=written))


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{**OWNER, "controller": False}],
        [{**OWNER, "apiVersion": "scaling.example/v1"}],
        [{**OWNER, "kind": "ScaledJob"}],
    ],
    ids=["none", "no-controller", "another-api", "another-kind"],
)
def test_an_hpa_that_no_scaled_object_controls_tells_nothing(owners: list[Object]) -> None:
    cluster = site("2.20.0", **{"app.kubernetes.io/managed-by": "keda-operator"})
    cluster.objects["HorizontalPodAutoscaler", HPA]["metadata"]["ownerReferences"] = owners
    found = deploy(cluster, {**GOAL, "min_replicas": 0}, **MEASURED)
    assert "runs, as HorizontalPodAutoscaler" not in str(found)


def test_a_keda_that_was_built_from_its_main_branch_tells_nothing() -> None:
    assert not told(deploy(site("main"), GOAL, **MEASURED))


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_where_keda_cannot_build_a_trigger_the_hpa_may_be_of_the_keda_before(ready: str) -> None:
    assert not told(deploy(site("2.16.1", ready), GOAL, **MEASURED))


def test_a_label_that_keda_has_copied_from_a_scaled_object_tells_nothing() -> None:
    cluster = site("1.4.0")
    labels = {"app.kubernetes.io/version": "1.4.0"}
    done(deploy(cluster, {**GOAL, "labels": labels}, **MEASURED, keda_version="2.20.2"))
    done(deploy(cluster, {**GOAL, "labels": labels}, **MEASURED))


def test_while_keda_is_upgraded_the_later_version_counts() -> None:
    cluster = site("2.20.0")
    later = site("2.20.2").objects["HorizontalPodAutoscaler", HPA]
    later["metadata"]["name"] = f"{HPA}-2"
    cluster.put(later)
    assert not told(deploy(cluster, GOAL, **MEASURED))
