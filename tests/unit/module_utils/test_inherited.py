# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers made like a Deployment of somebody else, and variants whose Deployment is somebody else's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import present_places
from ansible_collections.queueops.celery.plugins.module_utils._celery.command import written_options
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import (
    named_objects,
    source_names,
    wanted_objects,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._model.variant_keys import Pod

from tests.unit.inventories import SCALED, Manifest, fleet_of, manifests_of, of_kind, problems_of
from tests.unit.others import IMAGE, TUTOR_ARGS, deployment, seen

ENV = [{"name": "LEVEL", "value": "info"}, {"name": "SITE", "value": "a"}]
VOLUMES = [{"name": "config", "configMap": {"name": "c-1"}}, {"name": "data", "emptyDir": {}}]
MOUNTS = [{"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"}]
RUNS = deployment(
    "shop-app",
    env=ENV,
    envFrom=[{"configMapRef": {"name": "more"}}],
    volumeMounts=MOUNTS,
    workingDir="/app",
    pod={"volumes": VOLUMES, "securityContext": {"runAsUser": 1000}},
)


def inventory_like(service: Any = None, variant: Any = None, **more: Any) -> dict[str, Any]:
    """Variables of a service whose workers are made like C(shop-app)."""
    return {
        "services": {"billing": {"inherit_from": "shop-app", **(service or {})}},
        "config": {"billing": {"default": dict(variant or {})}},
        "broker": {"host": "redis", "inject_env": ""},
        **more,
    }


def pod_like(raw: Manifest = RUNS, service: Any = None, variant: Any = None) -> Pod:
    return fleet_of(**inventory_like(service, variant, observed=seen(raw))).variants[0].pod


def test_workers_are_made_like_the_deployment_that_is_named() -> None:
    pod = pod_like()
    assert (pod.image, pod.working_dir, pod.security_context) == (IMAGE, "/app", {"runAsUser": 1000})
    assert (list(pod.env), list(pod.volumes), list(pod.volume_mounts)) == (ENV, VOLUMES, MOUNTS)
    assert list(pod.env_from) == [{"configMapRef": {"name": "more"}}]


@pytest.mark.parametrize("place", ["service", "variant"])
def test_a_single_key_of_the_inventory_goes_over_the_deployments(place: str) -> None:
    pod = pod_like(**{place: {"image": "mine:1", "working_dir": "/mine"}})
    assert (pod.image, pod.working_dir, pod.security_context) == ("mine:1", "/mine", {"runAsUser": 1000})


@pytest.mark.parametrize("place", ["service", "variant"])
def test_lists_merge_by_what_makes_entries_the_same_and_the_inventory_wins(place: str) -> None:
    own: dict[str, Any] = {
        "env": [{"name": "SITE", "value": "mine"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "d"}}],
        "volume_mounts": [{"name": "other", "mountPath": "/data"}],
        "env_from": [{"configMapRef": {"name": "more"}}, {"secretRef": {"name": "s"}}],
    }
    own["volumes"].append({"name": "other", "emptyDir": {}})
    pod = pod_like(**{place: own})
    assert list(pod.env) == [ENV[0], *own["env"]]
    assert list(pod.volumes) == [VOLUMES[0], *own["volumes"]]
    assert list(pod.volume_mounts) == [MOUNTS[0], *own["volume_mounts"]]
    assert list(pod.env_from) == own["env_from"]


def test_a_secret_of_the_inventory_goes_over_an_inherited_value() -> None:
    pod = pod_like(service={"secret_env": {"SITE": True}})
    assert list(pod.env) == ENV[:1]
    assert set(pod.secret_env) == {"SITE"}


def test_the_deployments_own_security_contexts_count_to_the_letter() -> None:
    (found,) = of_kind(
        manifests_of(fleet_of(**inventory_like(observed=seen(RUNS)))),
        "Deployment",
    )
    spec = found["spec"]["template"]["spec"]
    assert spec["securityContext"] == {"runAsUser": 1000}
    assert "securityContext" not in spec["containers"][0]
    assert pod_like(service={"pod_security": "restricted"}).pod_security == "restricted"


def test_the_scheduler_is_made_like_it_too() -> None:
    found = of_kind(
        manifests_of(fleet_of(**inventory_like({"beat": {"enabled": True}}, observed=seen(RUNS)))), "Deployment"
    )
    assert {item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found} == {IMAGE}


def test_a_deployment_that_is_missing_is_a_problem_with_the_ways_on() -> None:
    (problem,) = problems_of(**inventory_like(observed=seen(deployment("another"))))
    said = "there is no Deployment shop-app to copy"
    assert problem.startswith(f"celery_workers_services.billing.inherit_from: {said}")
    for word in ("tutor k8s start", "another Deployment of shop", "write image", "celery_workers_tutor_root"):
        assert word in problem


def test_before_anybody_has_looked_nothing_is_asked_of_the_deployment() -> None:
    fleet = fleet_of(**inventory_like())
    assert source_names(fleet) == {"shop-app"}
    (problem,) = problems_of(**inventory_like(variant={"queue": ["a"]}))
    assert problem.startswith("celery_workers_config.billing.default.queue: ")


def test_a_value_in_plain_sight_that_looks_like_a_secret_must_be_written_here() -> None:
    raw = deployment("shop-app", env=[*ENV, {"name": "PAY_TOKEN", "value": "hunter2"}])
    (problem,) = problems_of(**inventory_like(observed=seen(raw)))
    assert problem.startswith(
        "celery_workers_services.billing.secret_env: Deployment shop-app has PAY_TOKEN in plain sight"
    )
    assert "hunter2" not in problem
    assert pod_like(raw, {"secret_env": {"PAY_TOKEN": True}}).image == IMAGE


def test_containers_that_are_left_out_are_told() -> None:
    raw = deployment("shop-app", pod={"initContainers": [{"name": "wait"}]})
    fleet = fleet_of(**inventory_like(observed=seen(raw)))
    (warning,) = [text for text in fleet.warnings if "wait" in text]
    assert warning.startswith("celery_workers_services.billing: Deployment shop-app also has wait, which workers are")


# The preset.

LMS = {"preset": "openedx"}


def openedx(config: Any = None, services: Any = None, observed: Observed | None = None, **more: Any) -> Fleet:
    return fleet_of(
        preset="openedx", services=services or {}, config=config or {}, observed=observed, versions=None, **more
    )


def named(fleet: Fleet, service: str, name: str = "default") -> Variant:
    """One variant of a service, also one that is left alone."""
    variants = [item for found in fleet.services for item in (*found.variants, *found.left)]
    return next(item for item in variants if (item.service, item.name) == (service, name))


CMS = deployment("cms-worker", image="cms:1")


@pytest.mark.parametrize(
    ("raws", "image"),
    [
        ((deployment(image="worker:1"), deployment("lms", image="web:1"), CMS), "worker:1"),
        ((deployment("lms", image="web:1"), CMS), "web:1"),
    ],
    ids=["worker and web", "web only"],
)
def test_the_first_deployment_of_tutor_that_exists_counts(raws: tuple[Manifest, ...], image: str) -> None:
    fleet = openedx(observed=seen(*raws))
    assert (named(fleet, "lms", "high").pod.image, named(fleet, "cms").pod.image) == (image, "cms:1")


def test_tutors_deployments_count_only_where_no_image_is_written() -> None:
    observed = seen(deployment(env=ENV), CMS)
    written = openedx(services={"lms": {"image": "mine:1"}}, observed=observed)
    assert named(written, "lms").pod.image == "mine:1"
    assert "LEVEL" not in {entry["name"] for entry in named(written, "lms").pod.env}
    assert source_names(written) == {"cms-worker", "cms"}
    asked = openedx(services={"lms": {"image": "mine:1", "inherit_from": "lms-worker"}}, observed=observed)
    assert named(asked, "lms").pod.image == "mine:1"
    assert "LEVEL" in {entry["name"] for entry in named(asked, "lms").pod.env}


def test_an_image_for_all_services_or_for_every_variant_is_enough() -> None:
    assert source_names(openedx(queue_defaults={"image": "mine:1"}, observed=NOTHING)) == set()
    each = {name: {"image": "mine:1"} for name in ("default", "high", "high_mem", "low")}
    config = {"lms": {key: each[key] for key in ("default", "high", "high_mem")}}
    assert source_names(openedx(config)) == {"cms-worker", "cms"}
    del config["lms"]["high"]
    assert source_names(openedx(config)) >= {"lms-worker", "lms"}


def test_without_any_of_tutors_deployments_both_are_named() -> None:
    found = problems_of(preset="openedx", observed=seen(CMS))
    assert found[0].startswith("celery_workers_services.lms.inherit_from: there is no Deployment lms-worker or ")
    assert len(found) == 1


# Adopted variants.

KEEPER = {"adopt": True, **SCALED}
TUTOR = (deployment(), deployment("cms-worker", words=["celery", "--app=cms.celery", "worker", "-Qedx.cms.core.low"]))


def tutor_site(default: Any = None, *raws: Manifest, **more: Any) -> Fleet:
    """Open edX whose lms-worker is adopted as the variant default."""
    keys = {**KEEPER, **(default or {})}
    return openedx({"lms": {"default": keys, **more.pop("others", {})}}, observed=seen(*(raws or TUTOR)), **more)


def test_an_adopted_deployment_keeps_the_queues_that_nobody_else_serves() -> None:
    found = named(tutor_site(), "lms")
    assert found.adopted
    assert found.queues == ("edx.lms.core.default",)
    assert found.args == (*TUTOR_ARGS[:5], "--queues=edx.lms.core.default", *TUTOR_ARGS[6:])


@pytest.mark.parametrize("off", ["high", "high_mem"])
def test_the_queue_of_a_variant_that_is_switched_off_stays_with_the_adopted_one(off: str) -> None:
    found = named(tutor_site(others={off: {"enabled": False}}), "lms")
    assert set(found.queues) == {"edx.lms.core.default", f"edx.lms.core.{off}"}


def test_queues_that_only_the_command_line_or_only_the_app_knows_are_kept() -> None:
    raw = deployment(words=["celery", "worker", "--queues=reports"])
    service = {"known_queues": ["edx.lms.core.default", "edx.lms.core.high", "edx.lms.core.high_mem", "mails"]}
    found = named(tutor_site(None, raw, TUTOR[1], services={"lms": service}), "lms")
    assert found.queues == ("reports", "edx.lms.core.default", "mails")


def test_queues_that_are_written_count() -> None:
    assert named(tutor_site({"queues": ["edx.lms.core.default", "x"]}), "lms").queues == ("edx.lms.core.default", "x")


def test_where_nothing_is_left_for_the_adopted_one_the_run_stops() -> None:
    others = {"all": {"queues": ["edx.lms.core.default", "edx.lms.core.high", "edx.lms.core.high_mem"]}}
    config = {"lms": {"default": KEEPER, **others}}
    (problem,) = [
        text for text in problems_of(preset="openedx", config=config, observed=seen(*TUTOR)) if "nothing would" in text
    ]
    assert problem.startswith("celery_workers_config.lms.default.queues: other variants serve every queue")
    assert "{adopt: false}" in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", "x:1"),
        ("env", {"A": "b"}),
        ("resources", {"limits": {"memory": "1Gi"}}),
        ("concurrency", 4),
        ("extra_params", ["-E"]),
        ("pod_labels", {"a": "b"}),
    ],
)
def test_what_is_its_owners_cannot_be_set_on_the_variant(key: str, value: Any) -> None:
    config = {"lms": {"default": {**KEEPER, key: value}}}
    (problem,) = problems_of(preset="openedx", config=config, observed=seen(*TUTOR))
    assert problem.startswith(
        f"celery_workers_config.lms.default.{key}: variant default of service lms is adopted, and {key} of Deployment "
        "lms-worker is its owner's"
    )


@pytest.mark.parametrize("key", [{"max_replicas": 7}, {"termination_grace_period": 700}, {"pdb": {"min_available": 1}}])
def test_scaling_and_the_grace_period_are_ours(key: dict[str, Any]) -> None:
    assert named(tutor_site(key), "lms").adopted


def test_keys_of_the_whole_service_do_not_reach_an_adopted_deployment() -> None:
    services = {"lms": {"image": "mine:1", "env": {"A": "b"}}, "cms": {"image": "mine:1"}}
    fleet = tutor_site(services=services)
    assert (named(fleet, "lms").pod.image, named(fleet, "lms").pod.env) == ("", ())
    assert named(fleet, "lms", "high").pod.image == "mine:1"


def test_nothing_but_the_scaler_and_the_budget_is_made_for_it() -> None:
    fleet = tutor_site({"pdb": {"max_unavailable": 1}})
    manifests = manifests_of(fleet, seen(*TUTOR))
    assert "lms-worker" not in {item["metadata"]["name"] for item in of_kind(manifests, "Deployment")}
    targets = [item["spec"]["scaleTargetRef"]["name"] for item in of_kind(manifests, "ScaledObject")]
    assert targets == ["lms-worker"]
    assert ("Deployment", "lms-worker") in named_objects(fleet)
    assert ("Deployment", "lms-worker") not in wanted_objects(fleet)


def test_one_pod_stays_because_the_owner_may_put_his_own_words_back() -> None:
    config = {"lms": {"default": {"adopt": True, "enable_keda": True}}}
    found = named(openedx(config, observed=seen(*TUTOR)), "lms")
    assert found.scaling.min_replicas == 1
    assert not found.sees_in_flight
    assert found.blind_reason == "adopted, so its owner may restore its own arguments"


def test_work_in_flight_is_seen_only_where_tutor_renders_the_key() -> None:
    config = {"lms": {"default": {"adopt": True, "enable_keda": True, "in_flight": True}}}
    (problem,) = problems_of(preset="openedx", config=config, observed=seen(*TUTOR))
    assert problem.startswith("celery_workers_config.lms.default.in_flight: variant default of service lms is adopted")
    assert "celery_workers_routing_delivery: tutor_plugin" in problem
    fleet = openedx(config, observed=seen(*TUTOR), routing_delivery="tutor_plugin")
    assert named(fleet, "lms").sees_in_flight
    assert named(fleet, "lms").scaling.min_replicas == 0


def test_slots_are_read_from_the_owners_words() -> None:
    raw = deployment(words=["celery", "--app=lms.celery", "worker", "-c", "6", "-Qa"])
    assert named(tutor_site({"queues": ["edx.lms.core.default"]}, raw, TUTOR[1]), "lms").slots == 6


def test_before_anybody_has_looked_an_adopted_variant_has_the_queues_of_its_app() -> None:
    found = named(openedx({"lms": {"default": KEEPER}}), "lms")
    assert written_options(found.args)["queues"] == "edx.lms.core.default"


def test_the_key_belongs_to_one_variant() -> None:
    for variables in ({"queue_defaults": {"adopt": True}}, {"services": {"lms": {"adopt": True}}}):
        assert "adopt belongs to a variant" in problems_of(preset="openedx", **variables)[0]


# Variants that are left alone.


def left_alone(**more: Any) -> Fleet:
    return openedx({"lms": {"default": {"adopt": False}}}, observed=seen(*TUTOR), **more)


def test_a_deployment_that_is_left_alone_gets_nothing_of_ours() -> None:
    fleet = left_alone()
    names = {item["metadata"]["name"] for item in manifests_of(fleet)}
    assert not [name for name in names if name.startswith("lms-worker") and not name.startswith("lms-worker-high")]
    assert "default" not in {item.name for item in fleet.variants if item.service == "lms"}
    assert ("Deployment", "lms-worker") in named_objects(fleet)
    assert ("lms", "default") in present_places(fleet)


def test_a_deployment_that_is_left_alone_counts_as_a_consumer() -> None:
    config = {"lms": {"default": {"adopt": False}, "high": {"enabled": False}, "high_mem": {"enabled": False}}}
    fleet = openedx(config, observed=seen(*TUTOR))
    assert set(named(fleet, "lms").queues) == {f"edx.lms.core.{name}" for name in ("default", "high", "high_mem")}
    narrow = deployment(words=["celery", "worker", "-Qedx.lms.core.default"])
    found = problems_of(preset="openedx", config=config, observed=seen(narrow, TUTOR[1]))
    assert [text for text in found if "no variant consumes the queue 'edx.lms.core.high'" in text]


def test_without_queues_on_its_command_line_it_serves_what_the_app_knows() -> None:
    config = {"lms": {"default": {"adopt": False}, "high": {"enabled": False}, "high_mem": {"enabled": False}}}
    raw = deployment(words=["celery", "worker"])
    assert len(named(openedx(config, observed=seen(raw, TUTOR[1])), "lms").queues) == 3


def test_reading_a_deployment_does_not_change_what_was_read() -> None:
    observed = seen(*TUTOR)
    before = copy.deepcopy(observed)
    manifests_of(openedx({"lms": {"default": KEEPER}}, observed=observed), observed)
    assert observed == before


def broker_variable(url: str) -> Manifest:
    return deployment("shop-app", env=[{"name": "CELERY_BROKER_URL", "value": url}, ENV[0]])


def test_the_broker_of_the_inventory_goes_over_that_of_the_deployment() -> None:
    fleet = fleet_of(
        **{**inventory_like(observed=seen(broker_variable("redis://other/0"))), "broker": {"host": "redis"}}
    )
    (worker,) = of_kind(manifests_of(fleet), "Deployment")
    env = {item["name"]: item.get("value") for item in worker["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["CELERY_BROKER_URL"] == "redis://redis:6379/0"
    assert env["LEVEL"] == "info"
    (warning,) = [text for text in fleet.warnings if "CELERY_BROKER_URL" in text]
    assert warning.startswith("celery_workers_services.billing.inherit_from: Deployment shop-app has CELERY_BROKER_URL")


def test_a_password_in_the_deployments_broker_is_not_asked_for() -> None:
    raw = broker_variable("redis://:pw@redis/0")
    fleet = fleet_of(**{**inventory_like(observed=seen(raw)), "broker": {"host": "redis", "secret": {"name": "x"}}})
    assert [entry["name"] for entry in fleet.variants[0].pod.env] == ["LEVEL"]


def test_a_deployment_on_another_broker_is_refused_where_its_variable_would_count() -> None:
    (problem,) = problems_of(**inventory_like(observed=seen(broker_variable("redis://other/0"))))
    assert problem.startswith("celery_workers_services.billing.inherit_from: Deployment shop-app has CELERY_BROKER_URL")
    assert "Write its broker there, or set inject_env: CELERY_BROKER_URL" in problem


def test_a_deployment_on_the_same_broker_keeps_its_variable_where_the_app_names_it() -> None:
    pod = pod_like(broker_variable("redis://redis.shop.svc.cluster.local:6379/0"))
    assert "CELERY_BROKER_URL" in [entry["name"] for entry in pod.env]
