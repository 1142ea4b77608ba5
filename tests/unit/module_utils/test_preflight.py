# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster holds: what stands in the way is named with its owner, what nobody asks for is sorted by danger."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import present_places
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import preflight, wanted_objects
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.names import (
    EXPORTER,
    FLOWER,
    MONITORING,
    ownership_labels,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    LAST_APPLIED,
    NOTHING,
    Autoscaler,
    Leftovers,
    Observed,
    ObservedObject,
    autoscaler,
    definition,
    leftovers,
    observed_from_data,
    observed_object,
    removal_order,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import PARTS

from tests.unit.inventories import SCALED, fleet_of, one_variant


def item(
    kind: str, name: str, service: str = "billing", variant: str = "default", fleet: str = "shop", **more: Any
) -> ObservedObject:
    return ObservedObject(kind, name, labels=ownership_labels(fleet, service, variant), **more)


def problems(fleet: Fleet, *objects: ObservedObject, autoscalers: tuple[Autoscaler, ...] = ()) -> tuple[str, ...]:
    return preflight(fleet, Observed(objects, autoscalers), False).problems


FLEET = fleet_of(**one_variant(SCALED))
FIXED = fleet_of(**one_variant({"replicas": 2}))
OPEN = fleet_of(**one_variant({}))


def test_nothing_stands_in_the_way_of_a_first_run_or_of_our_own_objects() -> None:
    assert preflight(FLEET, NOTHING, False).problems == preflight(FLEET, NOTHING, False).missing == ()
    own = [item(kind, name) for kind, name in wanted_objects(FLEET)]
    assert problems(FLEET, *own) == ()


@pytest.mark.parametrize(("kind", "name"), wanted_objects(FLEET))
def test_an_object_of_somebody_else_is_never_written(kind: str, name: str) -> None:
    (problem,) = problems(FLEET, ObservedObject(kind, name, owner="Helm"))
    assert problem.startswith(f"{kind} {name} in shop exists and is not ours: it belongs to Helm.")
    (problem,) = problems(FLEET, item(kind, name, fleet="other", owner="the fleet other"))
    assert "it belongs to the fleet other" in problem


@pytest.mark.parametrize(
    ("fleet", "found", "decides"),
    [
        (FLEET, Autoscaler("HorizontalPodAutoscaler", "mine", "billing-worker"), "its scaler"),
        (FLEET, Autoscaler("ScaledObject", "mine", "billing-worker"), "its scaler"),
        (FIXED, Autoscaler("HorizontalPodAutoscaler", "mine", "billing-worker"), "the fixed number of replicas"),
    ],
)
def test_a_second_autoscaler_is_found_by_what_it_scales(fleet: Fleet, found: Autoscaler, decides: str) -> None:
    (problem,) = problems(fleet, autoscalers=(found,))
    assert problem.startswith(
        f"{found.kind} mine already scales Deployment billing-worker, and {decides} of variant default of service "
        "billing would fight with it. Ways out: "
    )
    for way in ("autoscaler_conflict: transfer", "or remove", "enable_keda: false and no replicas"):
        assert way in problem


@pytest.mark.parametrize(
    ("fleet", "found"),
    [
        (FLEET, Autoscaler("ScaledObject", "billing-worker-scaledobject", "billing-worker")),
        (FLEET, Autoscaler("HorizontalPodAutoscaler", "keda-hpa-x", "billing-worker", "billing-worker-scaledobject")),
        (FLEET, Autoscaler("HorizontalPodAutoscaler", "mine", "another")),
        (OPEN, Autoscaler("HorizontalPodAutoscaler", "mine", "billing-worker")),
    ],
)
def test_our_own_scaler_and_one_that_nobody_fights_with_are_no_problem(fleet: Fleet, found: Autoscaler) -> None:
    assert problems(fleet, item("ScaledObject", "billing-worker-scaledobject"), autoscalers=(found,)) == ()


def test_a_deployment_that_would_change_its_variant_is_refused() -> None:
    variables = one_variant({"name": "billing-worker-high"})
    (problem,) = problems(fleet_of(**variables), item("Deployment", "billing-worker-high", variant="high"))
    assert problem.startswith("Deployment billing-worker-high runs variant high of service billing")


def test_a_missing_namespace_or_kind_is_what_a_dry_run_can_do_without() -> None:
    found = preflight(FLEET, Observed(namespace_exists=False, missing_kinds=("ScaledObject",)), False)
    assert found.problems == ()
    assert found.missing[0].startswith("The namespace shop does not exist.")
    assert found.missing[1].startswith(
        "The cluster does not know ScaledObject (keda.sh/v1alpha1), which billing-worker need"
    )
    assert preflight(FIXED, Observed(namespace_exists=False, missing_kinds=("ScaledObject",)), True).missing == ()


def test_what_a_variant_does_not_need_any_more_is_retired_and_what_may_hold_work_is_not() -> None:
    scaler_off = item("ScaledObject", "billing-worker-scaledobject")
    gone = item("Deployment", "billing-worker-high", variant="high")
    renamed = item("Deployment", "old-name")
    other = item("ConfigMap", "x", fleet="other")
    wanted = item("Deployment", "billing-worker")
    observed = Observed((scaler_off, gone, renamed, other, wanted))
    found = leftovers(observed, "shop", wanted_objects(FIXED), present_places(FIXED))
    assert found.retired == (scaler_off,)
    assert found.orphans == (gone, renamed)


def watching(kind: str, name: str, component: str, **more: Any) -> ObservedObject:
    return ObservedObject(kind, name, labels=ownership_labels("shop", component=component), **more)


#: Everything that an earlier run made to watch the fleet.
WATCHERS = (
    *(
        watching(kind, "flower", FLOWER)
        for kind in ("Deployment", "Service", "Ingress", "HTTPRoute", "NetworkPolicy", "ServiceMonitor")
    ),
    watching("Secret", "flower-auth", FLOWER),
    watching("ConfigMap", "flower-settings", FLOWER),
    watching("PersistentVolumeClaim", "flower-data", FLOWER),
    *(watching(kind, "celery-exporter", EXPORTER) for kind in ("Deployment", "Service", "PodMonitor")),
    watching("PrometheusRule", "shop-celery-alerts", MONITORING),
    watching("ConfigMap", "shop-celery-dashboard", MONITORING),
    watching("GrafanaDashboard", "shop-celery-dashboard", MONITORING),
)
WATCHED = {**one_variant({"replicas": 2}), "enabled": PARTS}


def test_what_watches_goes_as_soon_as_it_is_switched_off_and_takes_nothing_of_the_workers_with_it() -> None:
    gone = item("Deployment", "billing-worker-high", variant="high")
    guard = item("PodDisruptionBudget", "billing-worker-high", variant="high")
    shared = item("TriggerAuthentication", "billing-worker-trigger-auth", variant="")
    workers = (item("Deployment", "billing-worker"), gone, guard, shared)
    without = leftovers(Observed(workers), "shop", wanted_objects(FIXED), present_places(FIXED))
    found = leftovers(Observed((*WATCHERS, *workers)), "shop", wanted_objects(FIXED), present_places(FIXED))
    assert found.retired == (*without.retired, *WATCHERS)
    assert found.orphans == without.orphans == (gone, guard, shared)


def test_what_watches_stays_while_it_is_wanted() -> None:
    fleet = fleet_of(**WATCHED)
    wanted = wanted_objects(fleet)
    own = Observed(tuple(watching(kind, name, FLOWER) for kind, name in wanted))
    assert leftovers(own, "shop", wanted, present_places(fleet)) == Leftovers()
    assert {("Deployment", "flower"), ("Secret", "flower-auth"), ("ServiceMonitor", "flower")} <= set(wanted)


def test_what_watches_another_fleet_is_not_ours_to_remove() -> None:
    other = ObservedObject("Deployment", "flower", labels=ownership_labels("other", component=FLOWER))
    assert leftovers(Observed((other,)), "shop", [], set()) == Leftovers()


@pytest.mark.parametrize(
    ("parts", "flower", "left"),
    [
        (("flower",), {}, {"Ingress", "HTTPRoute", "NetworkPolicy", "PersistentVolumeClaim", "ConfigMap"}),
        (("flower",), {"secret": {"name": "x", "cookie_secret_key": "c"}, "persistence": True}, {"Secret"}),
        (("flower", "service_monitor"), {}, {"PrometheusRule", "GrafanaDashboard"}),
    ],
)
def test_an_object_that_a_key_no_longer_asks_for_goes_as_well(
    parts: tuple[str, ...], flower: dict[str, Any], left: set[str]
) -> None:
    fleet = fleet_of(**{**one_variant({"replicas": 2}), "enabled": parts, "flower": flower})
    found = leftovers(Observed(WATCHERS), "shop", wanted_objects(fleet), present_places(fleet))
    assert left <= {old.kind for old in found.retired}
    assert not {("Deployment", "flower"), ("Service", "flower")} & {(old.kind, old.name) for old in found.retired}
    assert found.orphans == ()


def test_nobody_is_led_to_what_is_gone_and_secrets_go_last() -> None:
    ordered = [(found.kind, found.name) for found in removal_order(WATCHERS)]
    places = {pair: number for number, pair in enumerate(ordered)}
    for kind in ("Ingress", "HTTPRoute", "ServiceMonitor"):
        assert places[kind, "flower"] < places["Deployment", "flower"]
    assert places["Deployment", "flower"] < places["PersistentVolumeClaim", "flower-data"]
    assert ordered[-1] == ("Secret", "flower-auth")


@pytest.mark.parametrize("kind", API_VERSIONS)
def test_every_kind_that_is_made_can_be_removed(kind: str) -> None:
    (found,) = removal_order([ObservedObject(kind, "x")])
    assert definition(found, "shop")["apiVersion"] == API_VERSIONS[kind]


def test_scalers_are_removed_before_what_they_scale() -> None:
    kinds = ["Secret", "ConfigMap", "Deployment", "TriggerAuthentication", "ScaledObject", "PodDisruptionBudget"]
    ordered = [found.kind for found in removal_order([item(kind, "x") for kind in kinds])]
    assert ordered[:2] == ["ScaledObject", "Deployment"]
    assert ordered[-1] == "Secret"


def test_of_an_object_only_what_matters_is_kept() -> None:
    applied = json.dumps({"spec": {"replicas": 2}})
    raw = {
        "metadata": {
            "name": "x",
            "labels": {"a": "b"},
            "annotations": {LAST_APPLIED: applied, "c": "d"},
            "resourceVersion": "7",
        },
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}},
        "data": {"password": "hunter2"},
    }
    found = observed_object("Deployment", raw)
    assert (found.replicas, found.selector, found.last_applied, found.annotations) == (
        2,
        {"a": "b"},
        applied,
        {"c": "d"},
    )
    secret = observed_object("Secret", raw)
    assert (secret.resource_version, secret.annotations, secret.last_applied) == ("7", {}, "")
    assert "hunter2" not in str(secret)


@pytest.mark.parametrize("record", ["", "no json", "[]", '{"spec": null}', '{"spec": {"paused": true}}'])
def test_a_record_without_a_number_of_pods_asks_for_no_handover(record: str) -> None:
    raw = {"metadata": {"name": "x", "annotations": {LAST_APPLIED: record}}, "spec": {"replicas": 2}}
    assert observed_object("Deployment", raw).last_applied == ""


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"ownerReferences": [{"kind": "App", "name": "a"}]}, "App a"),
        ({"labels": {"celery.queueops.io/fleet": "north"}}, "the fleet north"),
        ({"labels": {"app.kubernetes.io/managed-by": "tutor"}}, "tutor"),
        ({"managedFields": [{"manager": "kubectl"}]}, "kubectl"),
        ({}, "an unknown owner"),
    ],
)
def test_an_owner_is_named_as_well_as_it_can_be(metadata: dict[str, Any], owner: str) -> None:
    assert observed_object("ConfigMap", {"metadata": {"name": "x", **metadata}}).owner == owner


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"name": "x"}, "x"),
        ({"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}, "x"),
        ({"kind": "StatefulSet", "apiVersion": "apps/v1", "name": "x"}, None),
        ({"kind": "Deployment", "apiVersion": "example.org/v1", "name": "x"}, None),
    ],
)
def test_only_what_scales_a_deployment_counts(target: dict[str, str], expected: str | None) -> None:
    found = autoscaler("ScaledObject", {"metadata": {"name": "s"}, "spec": {"scaleTargetRef": target}})
    assert (found.target if found else None) == expected


def test_what_was_observed_survives_the_way_through_a_task() -> None:
    observed = Observed((item("Deployment", "x", replicas=2),), (Autoscaler("ScaledObject", "a", "b"),), False, ("X",))
    assert observed_from_data(json.loads(json.dumps(asdict(observed)))) == observed
    assert observed_from_data({}) == observed_from_data(None) == NOTHING


def test_a_variant_is_not_renamed_beside_its_old_deployment_unless_that_goes() -> None:
    """Both would have one selector, and an HPA whose pods two select does nothing."""
    labels = ownership_labels("shop", "billing", "default")
    old = ObservedObject("Deployment", "old-name", labels, selector=labels)
    (problem,) = preflight(FIXED, Observed((old,)), False).problems
    assert "old-name" in problem
    assert "celery_workers_prune: true" in problem
    assert preflight(FIXED, Observed((old,)), False, prunes=True).problems == ()


OVERLAPPING = {"app": "billing"}


def two_variants(**keys: Any) -> Fleet:
    config = {"billing": {"default": {**SCALED, **keys}, "reports": {**SCALED, "pod_labels": OVERLAPPING}}}
    return fleet_of(**{**one_variant(), "config": config})


def overlapping(fleet: Fleet) -> Observed:
    """A Deployment that was taken over keeps the selector that it had."""
    live = ObservedObject("Deployment", "billing-worker", ownership_labels(fleet.name, "billing", "default"))
    return Observed((replace(live, selector=OVERLAPPING, replicas=1),))


def test_pods_that_two_autoscalers_would_count_are_found_before_neither_scales() -> None:
    fleet = two_variants()
    (problem,) = preflight(fleet, overlapping(fleet), False).problems
    for word in ("billing-worker ", "app=billing", "billing-worker-reports", "pod_labels", "[selector-overlap]"):
        assert word in problem


def test_overlapping_selectors_may_be_accepted() -> None:
    fleet = two_variants(accept_risks=["selector-overlap"])
    assert preflight(fleet, overlapping(fleet), False).problems == ()


PAUSE = "autoscaling.keda.sh/paused"


def paused_scaler(annotations: dict[str, str], applied: dict[str, str]) -> ObservedObject:
    """Our ScaledObject as a server returns it: annotations that it has, and those of the last apply."""
    record = json.dumps({"metadata": {"annotations": applied}})
    metadata = {
        "name": "billing-worker-scaledobject",
        "labels": ownership_labels("shop", "billing", "default"),
        "annotations": {**annotations, LAST_APPLIED: record},
    }
    return observed_object("ScaledObject", {"metadata": metadata})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(PAUSE, "true"), (f"{PAUSE}-replicas", "0"), (f"{PAUSE}-scale-in", "true"), (f"{PAUSE}-scale-out", "1")],
)
def test_a_scaler_that_was_paused_by_hand_is_said_with_how_to_resume_it(annotation: str, value: str) -> None:
    live = Observed((paused_scaler({annotation: value}, {}),))
    (warning,) = preflight(FLEET, observed_from_data(asdict(live)), False).warnings
    assert "variant default of service billing" in warning
    assert f"{annotation}: '{value}'" in warning
    assert f"kubectl annotate scaledobject billing-worker-scaledobject --namespace shop {annotation}-" in warning


@pytest.mark.parametrize(
    ("annotations", "applied", "keys"),
    [
        ({PAUSE: "false"}, {}, {}),
        ({f"{PAUSE}-scale-in": "False"}, {}, {}),
        ({PAUSE: "true"}, {PAUSE: "true"}, {}),
        ({PAUSE: "true"}, {}, {"paused": True}),
        ({"autoscaling.keda.sh/force-activation": "true"}, {}, {}),
    ],
    ids=["off", "off too", "an earlier run did it", "the inventory says so", "another annotation"],
)
def test_a_scaler_that_nobody_paused_by_hand_draws_no_warning(
    annotations: dict[str, str], applied: dict[str, str], keys: dict[str, Any]
) -> None:
    fleet = fleet_of(**one_variant({**SCALED, **keys}))
    assert preflight(fleet, Observed((paused_scaler(annotations, applied),)), False).warnings == ()


def test_a_config_map_of_tutor_that_the_namespace_does_not_have_stops_the_run() -> None:
    fleet = fleet_of(**one_variant({"env_from": [{"configMapRef": {"name": "openedx-settings-lms-0123456789"}}]}))

    def found(observed: Observed) -> tuple[str, ...]:
        return preflight(fleet, observed, False).problems

    (problem,) = found(Observed(config_maps=("kube-root-ca.crt",)))
    assert problem.startswith(
        "celery_workers_config.billing.default.env_from: there is no ConfigMap openedx-settings-lms-0123456789 in shop,"
    )
    assert found(Observed(config_maps=("openedx-settings-lms-0123456789",))) == ()
    # Nobody has looked, or there is no namespace yet, which has a message of its own.
    assert found(Observed()) == found(Observed(config_maps=(), namespace_exists=False)) == ()


def test_a_config_map_of_ones_own_may_come_later() -> None:
    fleet = fleet_of(**one_variant({"env_from": [{"configMapRef": {"name": "billing"}}]}))
    assert preflight(fleet, Observed(config_maps=()), False).problems == ()


#: A variant that goes by measured run times, and what its scaler logs in to Prometheus with.
MEASURED = fleet_of(
    **one_variant(
        {**SCALED, "idempotent": True, "longest_task_seconds": 60, "task_seconds": 5, "max_wait_seconds": 60}
    ),
    prometheus={"url": "https://prometheus.monitoring:9090", "secret": {"name": "prometheus-login", "token_key": "t"}},
    enabled=("flower",),
)
OF_SCALER = {
    "host": "redis",
    "secret": {"name": "broker"},
    "scaler": {"secret": {"name": "reader", "password_key": "p"}},
}


@pytest.mark.parametrize(
    ("fleet", "path", "name"),
    [
        (MEASURED, "celery_workers_prometheus.secret", "prometheus-login"),
        (fleet_of(**one_variant(SCALED, broker=OF_SCALER)), "celery_workers_broker.scaler", "reader"),
    ],
)
def test_a_secret_that_keda_alone_reads_must_be_there(fleet: Fleet, path: str, name: str) -> None:
    def found(**observed: Any) -> tuple[str, ...]:
        seen = preflight(fleet, Observed(**observed), True)
        assert seen.problems == ()
        return seen.missing

    (problem,) = found(secrets=("others",))
    assert problem.startswith(f"{path}: there is no Secret {name} in shop,")
    assert "would not scale variant default of service billing" in problem
    assert found(secrets=(name,)) == ()
    # Nobody has looked, or there is no namespace yet, which has a message of its own.
    assert found() == found(secrets=(), namespace_exists=False) == ()


def test_a_secret_that_keda_alone_reads_is_a_warning_where_the_run_waits_for_nothing() -> None:
    found = preflight(MEASURED, Observed(secrets=()), False, waits=False)
    (warning,) = [text for text in found.warnings if "prometheus-login" in text]
    assert warning.startswith("celery_workers_prometheus.secret: there is no Secret prometheus-login in shop,")
    assert found.problems == found.missing == ()


def test_a_secret_that_no_scaler_reads_stops_nothing() -> None:
    fixed = fleet_of(**one_variant({"replicas": 1}, broker=OF_SCALER), prometheus="http://prometheus:9090")
    found = preflight(fixed, Observed(secrets=()), False)
    assert found.problems == found.missing == ()
