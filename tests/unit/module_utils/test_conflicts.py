# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody else has in the namespace: Deployments, autoscalers, a Redis that forgets; and the ways out."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.adoption import TAKEN_OVER
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import (
    Findings,
    preflight,
    redis_hosts,
    removal_of,
    wanted_objects,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import (
    ADOPTED_LABEL,
    FLEET_LABEL,
    ownership_labels,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    Autoscaler,
    Observed,
    ObservedObject,
    autoscaler,
    observed_object,
)

from tests.unit.inventories import SCALED, fleet_of, manifests_of, of_kind, one_variant
from tests.unit.others import deployment, live, seen
from tests.unit.watching import services_with

FLEET = fleet_of(**one_variant(SCALED))
TAKES_OVER = fleet_of(**one_variant(SCALED), take_over=True)
BY_CPU = {"scaler": "hpa", "resources": {"requests": {"cpu": "1"}}}


def problems(fleet: Fleet, observed: Observed) -> tuple[str, ...]:
    return preflight(fleet, observed, False).problems


# Objects that have our names.


def test_a_deployment_that_is_there_already_is_named_with_all_ways_on() -> None:
    (problem,) = problems(FLEET, seen(deployment("billing-worker")))
    assert problem.startswith("Deployment billing-worker in shop exists and is not ours: it belongs to tutor.")
    for way in ("adopt: true", "adopt: false", "celery_workers_take_over: true", "another name (key name)"):
        assert way in problem


@pytest.mark.parametrize("kind", ["ScaledObject", "PodDisruptionBudget"])
def test_another_object_of_a_kind_that_can_be_taken_over_says_so(kind: str) -> None:
    fleet = fleet_of(**one_variant({**SCALED, "min_replicas": 2, "pdb": {"max_unavailable": 1}}))
    name = dict(wanted_objects(fleet))[kind]
    (problem,) = problems(fleet, Observed((ObservedObject(kind, name, owner="Helm"),)))
    assert "Write celery_workers_take_over: true to make it ours. Give the variant another name" in problem
    assert "adopt" not in problem


SECRETLY = one_variant(
    {**SCALED, "secret_env": {"KEY": True}, "probe": "heartbeat"}, broker={"host": "redis", "password": True}
)


@pytest.mark.parametrize(
    ("kind", "name"),
    [pair for pair in wanted_objects(fleet_of(**SECRETLY)) if pair[0] not in TAKEN_OVER],
)
def test_what_others_may_read_is_never_taken_over(kind: str, name: str) -> None:
    fleet = fleet_of(**SECRETLY, take_over=True)
    (problem,) = problems(fleet, Observed((ObservedObject(kind, name, owner="Helm"),)))
    assert "Choose other names, or delete that object first" in problem
    assert "take_over" not in problem


@pytest.mark.parametrize("keys", [SCALED, BY_CPU], ids=["keda", "hpa"])
def test_what_is_taken_over_is_no_problem_whatever_its_kind(keys: dict[str, Any]) -> None:
    variables = one_variant({**keys, "min_replicas": 2, "pdb": {"max_unavailable": 1}})
    wanted = [pair for pair in wanted_objects(fleet_of(**variables)) if pair[0] != "Secret"]
    objects = Observed(tuple(ObservedObject(kind, name, owner="tutor") for kind, name in wanted))
    assert len(wanted) == 3
    assert len(problems(fleet_of(**variables), objects)) == 3
    assert problems(fleet_of(**variables, take_over=True), objects) == ()


WATCHED = services_with({"a": None, "b": {"host": "other"}}, enabled=("flower", "exporter", "service_monitor"))


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ServiceMonitor"])
@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("flower", "Give it another name (celery_workers_flower.name)"),
        ("celery-exporter", "Give it another name (celery_workers_exporter.name)"),
    ],
)
def test_a_flower_of_somebody_else_is_named_with_ways_on_that_flower_has(kind: str, name: str, mend: str) -> None:
    theirs = Observed((ObservedObject(kind, name, owner="tutor"),))
    (problem,) = problems(fleet_of(**WATCHED), theirs)
    assert problem.startswith(f"{kind} {name} in shop exists and is not ours: it belongs to tutor.")
    assert f"Write celery_workers_take_over: true to make it ours. {mend}, or delete that object first" in problem
    assert "variant" not in problem
    assert problems(fleet_of(**WATCHED, take_over=True), theirs) == ()


@pytest.mark.parametrize(
    ("kind", "name"), [("Secret", "flower-auth"), ("Ingress", "flower"), ("PersistentVolumeClaim", "flower-data")]
)
def test_what_stands_beside_flower_leads_to_flowers_name_too(kind: str, name: str) -> None:
    keys = {"ingress": {"host": "flower.example.org"}, "persistence": True}
    theirs = Observed((ObservedObject(kind, name, owner="tutor"),))
    (problem,) = problems(fleet_of(**services_with({"a": None}, enabled=("flower",), flower=keys)), theirs)
    assert "Give it another name (celery_workers_flower.name)" in problem
    assert ("name it as persistence.existing_claim" in problem) is (kind == "PersistentVolumeClaim")


def test_the_name_of_a_further_flower_follows_its_service() -> None:
    (problem,) = problems(fleet_of(**WATCHED), Observed((ObservedObject("Service", "b-flower", owner="tutor"),)))
    assert "Rename the service b, or delete that object first" in problem


@pytest.mark.parametrize("kind", ["Deployment", "ScaledObject"])
def test_an_object_of_another_fleet_is_never_taken_over(kind: str) -> None:
    name = dict(wanted_objects(FLEET))[kind]
    other = ObservedObject(kind, name, labels={FLEET_LABEL: "other"}, owner="the fleet other")
    (problem,) = problems(TAKES_OVER, Observed((other,)))
    assert "it belongs to the fleet other" in problem
    assert "take_over" not in problem
    assert "adopt" not in problem


# Deployments that are adopted or left alone.


def adopting(adopt: bool, raw: Any = None, **keys: Any) -> tuple[Fleet, Observed]:
    observed = seen(raw) if raw is not None else Observed()
    variables = one_variant({**SCALED, "adopt": adopt, **keys})
    return fleet_of(**variables, observed=observed), observed


WORKER = deployment("billing-worker")


@pytest.mark.parametrize("adopt", [True, False])
def test_a_deployment_that_may_be_adopted_is_no_problem(adopt: bool) -> None:
    assert problems(*adopting(adopt, WORKER)) == ()


@pytest.mark.parametrize(
    ("adopt", "raw", "said"),
    [
        (True, None, "adopt is true, and there is no Deployment billing-worker in shop. Start the site first"),
        (False, None, "adopt is false, and there is no Deployment billing-worker in shop. Start the site first"),
        (
            True,
            deployment("billing-worker", labels=ownership_labels("shop", "billing", "default")),
            "adopt is true, but Deployment billing-worker was made by this fleet",
        ),
        (
            False,
            deployment("billing-worker", labels={FLEET_LABEL: "other"}),
            "adopt is false, but Deployment billing-worker was made by the fleet other",
        ),
        (
            True,
            deployment("billing-worker", labels={ADOPTED_LABEL: "other"}),
            "the fleet other has adopted Deployment billing-worker already.",
        ),
        (
            True,
            deployment("billing-worker", words=["sh", "-c", "celery worker"]),
            "Deployment billing-worker cannot be adopted, because the command line of its container billing-worker",
        ),
        (
            True,
            deployment("billing-worker", words=["celery", "-b", "redis://:hunter2@redis", "worker"]),
            "or shows a password",
        ),
    ],
    ids=["missing", "missing left", "ours", "another's", "adopted by another", "a shell", "a password"],
)
def test_what_cannot_be_adopted_or_left_alone_says_why(adopt: bool, raw: Any, said: str) -> None:
    (problem,) = problems(*adopting(adopt, raw))
    assert problem.startswith("variant default of service billing: ")
    assert said in problem
    assert "hunter2" not in problem


def test_a_deployment_that_is_left_alone_may_run_anything() -> None:
    assert problems(*adopting(False, deployment("billing-worker", words=["uwsgi"]))) == ()


# Autoscalers.

HPA = Autoscaler("HorizontalPodAutoscaler", "theirs", "billing-worker", owner="tutor")
SAME_NAME = Autoscaler("HorizontalPodAutoscaler", "billing-worker", "billing-worker")
SECOND = Autoscaler("HorizontalPodAutoscaler", "second", "billing-worker")
SCALED_OBJECT = Autoscaler("ScaledObject", "theirs", "billing-worker")
#: What KEDA makes for a ScaledObject.
KEDAS = Autoscaler("HorizontalPodAutoscaler", "keda-hpa-theirs", "billing-worker", "theirs", "ScaledObject theirs")


def found_with(policy: str, *rivals: Autoscaler, keys: Any = None) -> Findings:
    fleet = fleet_of(**one_variant(SCALED if keys is None else keys), autoscaler_conflict=policy)
    return preflight(fleet, Observed(autoscalers=rivals), False)


@pytest.mark.parametrize("rival", [HPA, SAME_NAME, SCALED_OBJECT])
def test_a_second_autoscaler_stops_the_run_by_default(rival: Autoscaler) -> None:
    found = found_with("fail", rival)
    (problem,) = found.problems
    assert problem.startswith(f"{rival.identity} already scales Deployment billing-worker, and its scaler of variant")
    assert found.doomed == ()


def test_the_owner_of_a_second_autoscaler_is_named() -> None:
    assert "HorizontalPodAutoscaler theirs (tutor) already" in found_with("fail", HPA).problems[0]


def test_every_second_autoscaler_is_named() -> None:
    assert len(found_with("fail", HPA, SECOND, SCALED_OBJECT).problems) == 3


@pytest.mark.parametrize("policy", ["fail", "transfer", "remove"])
def test_kedas_own_hpa_goes_with_its_scaled_object(policy: str) -> None:
    found = found_with(policy, KEDAS)
    assert (found.problems, found.doomed) == ((), ())


def test_what_is_to_be_removed_is_no_problem_and_goes_first() -> None:
    found = found_with("remove", HPA, SCALED_OBJECT, KEDAS)
    assert (found.problems, found.doomed) == ((), (HPA, SCALED_OBJECT))
    assert removal_of(HPA, "shop") == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs", "namespace": "shop"},
    }


@pytest.mark.parametrize("rival", [HPA, SAME_NAME])
def test_keda_may_take_over_one_hpa(rival: Autoscaler) -> None:
    found = found_with("transfer", rival)
    assert (found.problems, found.doomed) == ((), ())


def test_keda_takes_over_one_hpa_only() -> None:
    (problem,) = found_with("transfer", HPA, SECOND).problems
    assert problem.startswith("HorizontalPodAutoscaler second already scales")
    assert problem.endswith(
        "KEDA takes over one HPA only: remove it, or write celery_workers_autoscaler_conflict: remove."
    )


@pytest.mark.parametrize(
    ("rival", "keys"),
    [(SCALED_OBJECT, SCALED), (HPA, {"replicas": 2}), (HPA, BY_CPU)],
    ids=["a ScaledObject", "a fixed number", "an HPA of ours"],
)
def test_nothing_but_an_hpa_and_nobody_but_keda_takes_over(rival: Autoscaler, keys: Any) -> None:
    (problem,) = found_with("transfer", rival, keys=keys).problems
    assert "Only KEDA can take over, and only an HPA: remove it" in problem


def test_nobody_fights_over_a_deployment_whose_pods_we_do_not_count() -> None:
    assert found_with("fail", HPA, keys={}) == Findings()
    assert found_with("remove", HPA, keys={}).doomed == ()


def test_an_autoscaler_on_an_adopted_deployment_is_a_second_one_too() -> None:
    fleet, observed = adopting(True, WORKER)
    (problem,) = problems(fleet, Observed(observed.objects, (HPA,)))
    assert "already scales Deployment billing-worker" in problem


def test_an_autoscaler_that_becomes_ours_is_no_second_one() -> None:
    name = dict(wanted_objects(FLEET))["ScaledObject"]
    theirs = Autoscaler("ScaledObject", name, "billing-worker", owner="tutor")
    objects = (ObservedObject("ScaledObject", name, owner="tutor"),)
    assert problems(TAKES_OVER, Observed(objects, (theirs,))) == ()


def scaled_object(fleet: Fleet, *rivals: Autoscaler) -> Any:
    return of_kind(manifests_of(fleet, Observed(autoscalers=rivals)), "ScaledObject")[0]


def takes(manifest: Any) -> tuple[str | None, str | None]:
    """The name that KEDA's HPA gets, and whether KEDA is told to take it over."""
    config = manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    annotations = manifest["metadata"].get("annotations", {})
    return config.get("name"), annotations.get("scaledobject.keda.sh/transfer-hpa-ownership")


TRANSFERS = fleet_of(**one_variant(SCALED), autoscaler_conflict="transfer")


def test_keda_is_told_to_take_over_the_hpa_under_its_own_name() -> None:
    assert takes(scaled_object(TRANSFERS, HPA)) == ("theirs", "true")


@pytest.mark.parametrize("fleet", [TRANSFERS, FLEET], ids=["transfer", "fail"])
def test_a_later_run_keeps_what_keda_took_over(fleet: Fleet) -> None:
    """Without the name KEDA would make a second HPA beside it."""
    own = dict(wanted_objects(FLEET))["ScaledObject"]
    taken = Autoscaler("HorizontalPodAutoscaler", "theirs", "billing-worker", own, f"ScaledObject {own}")
    assert takes(scaled_object(fleet, taken)) == ("theirs", "true")
    assert problems(fleet, Observed(autoscalers=(taken,))) == ()


@pytest.mark.parametrize(
    ("fleet", "rivals"),
    [
        (TRANSFERS, ()),
        (FLEET, (HPA,)),
        (TRANSFERS, (Autoscaler("HorizontalPodAutoscaler", "theirs", "another"),)),
        (TRANSFERS, (SCALED_OBJECT,)),
        (TRANSFERS, (Autoscaler("HorizontalPodAutoscaler", "keda-hpa-x", "billing-worker", "another"),)),
        (
            TRANSFERS,
            (
                Autoscaler(
                    "HorizontalPodAutoscaler",
                    "keda-hpa-billing-worker-scaledobject",
                    "billing-worker",
                    "billing-worker-scaledobject",
                ),
            ),
        ),
    ],
    ids=["none", "not asked for", "of another", "a ScaledObject", "of another ScaledObject", "KEDA's own"],
)
def test_otherwise_keda_makes_an_hpa_of_its_own(fleet: Fleet, rivals: tuple[Autoscaler, ...]) -> None:
    assert takes(scaled_object(fleet, *rivals)) == (None, None)


# What works and should be known.


def vertical(mode: str | None, target: str = "billing-worker") -> Autoscaler:
    spec: dict[str, Any] = {"targetRef": {"kind": "Deployment", "name": target}}
    if mode is not None:
        spec["updatePolicy"] = {"updateMode": mode}
    found = autoscaler("VerticalPodAutoscaler", {"metadata": {"name": "vpa"}, "spec": spec})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("mode", "warns"),
    [("Auto", True), ("Recreate", True), ("InPlaceOrRecreate", True), (None, True), ("Off", False), ("Initial", False)],
)
def test_a_vertical_autoscaler_that_evicts_pods_is_told(mode: str | None, warns: bool) -> None:
    found = preflight(FLEET, Observed(autoscalers=(vertical(mode),)), False)
    assert (found.problems, found.doomed) == ((), ())
    assert len(found.warnings) == warns
    if warns:
        assert "it restarts pods of Deployment billing-worker while they work" in found.warnings[0]


def test_a_vertical_autoscaler_of_another_deployment_is_nobodys_business() -> None:
    assert preflight(FLEET, Observed(autoscalers=(vertical("Auto", "mysql"),)), False).warnings == ()


@pytest.mark.parametrize(
    ("policy", "warns"),
    [("allkeys-lru", True), ("allkeys-random", True), ("volatile-lru", False), ("noeviction", False)],
)
def test_a_redis_that_throws_away_queues_is_told(policy: str, warns: bool) -> None:
    found = preflight(FLEET, Observed(redis_policies={"redis": policy}), False)
    assert found.problems == ()
    assert len(found.warnings) == warns
    if warns:
        assert found.warnings[0].startswith(f"Redis redis has maxmemory-policy {policy}: ")


def test_only_brokers_of_the_namespace_can_be_looked_at() -> None:
    assert redis_hosts(FLEET) == {"redis"}
    assert redis_hosts(fleet_of(**one_variant({}, broker={"host": "redis.example.org"}))) == set()
    assert redis_hosts(fleet_of(**one_variant({}, broker={"type": "rabbitmq", "host": "rabbit"}))) == set()
    assert preflight(FLEET, Observed(redis_policies={"other": "allkeys-lru"}), False).warnings == ()


def test_of_a_deployment_of_ours_the_command_line_is_not_kept() -> None:
    raw = deployment("billing-worker", labels={FLEET_LABEL: "shop"})
    found = observed_object("Deployment", raw)
    assert (found.container, found.words) == ("", {})
    assert live(WORKER).words == {"args": WORKER["spec"]["template"]["spec"]["containers"][0]["args"]}
