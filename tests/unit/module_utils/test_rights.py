# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of an account: just those of the features, for just what the inventory makes, and none in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kubernetes.core.plugins.module_utils.apply import annotate, merge
from ansible_collections.queueops.celery.plugins.module_utils._build.rights import (
    Account,
    account_resources,
    rules,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import (
    API_VERSIONS,
    NOTHING,
    WATCHING_KINDS,
    Observed,
    ObservedObject,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import (
    FEATURES,
    FLEET,
    KEDA,
    TABLE,
    Right,
    Scope,
    resource_of,
    rights_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import APPLY, DELETE, Plan
from ansible_collections.queueops.celery.plugins.module_utils._plan.granting import (
    Key,
    Standing,
    plan_account,
    plan_withdrawal,
    scope_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.thorough import examples
from tests.unit.inventories import fleet_of
from tests.unit.model_cluster import Object

LOGIN = {"name": "broker-login", "password_key": "password"}
ACCOUNT = Account("celery-workers", "campus", "shop", "keda")
WORKERS = Scope(made=frozenset({"Deployment", "ScaledObject", "TriggerAuthentication", "Secret"}), uses_keda=True)
SCOPES = st.builds(
    Scope,
    made=st.frozensets(st.sampled_from(list(API_VERSIONS))),
    found=st.frozensets(st.sampled_from(list(API_VERSIONS))),
    adopts=st.booleans(),
    replaces=st.booleans(),
    uses_keda=st.booleans(),
    has_redis=st.booleans(),
    asks_pods=st.booleans(),
    removes_data=st.booleans(),
    keeps_history=st.booleans(),
)
CHOSEN = st.sets(st.sampled_from(list(FEATURES)))


def verbs(scope: Scope, *features: str) -> dict[str, set[str]]:
    """Resource to verbs."""
    found: dict[str, set[str]] = {}
    for right in rights_of(scope, features or tuple(FEATURES)):
        found.setdefault(right.resource, set()).update(right.verbs)
    return found


# The table


def test_every_feature_has_rows_and_every_row_a_feature() -> None:
    assert {row.feature for row in TABLE} == set(FEATURES)


@pytest.mark.parametrize("feature", ["pause", "boost"])
def test_who_changes_the_scaling_may_do_nothing_else(feature: str) -> None:
    # Jobs that the inventory asked for before may be there, and are found.
    found = {"deployments": {"list"}, "scaledjobs": {"list"}, "scaledobjects": {"get", "list", "patch"}}
    assert verbs(WORKERS, feature) == found


@pytest.mark.parametrize("feature", ["verify", "queues", "gc", "quarantine"])
def test_who_asks_workers_may_do_nothing_else(feature: str) -> None:
    """A stream of a WebSocket needs both verbs from Kubernetes 1.35 on."""
    assert verbs(WORKERS, feature) == {"deployments": {"list"}, "pods": {"list"}, "pods/exec": {"get", "create"}}


def test_the_status_only_reads_and_asks() -> None:
    found = verbs(WORKERS, "status")
    assert found.pop("pods/exec") == {"get", "create"}
    assert found.pop("services/proxy") == {"get"}
    assert {verb for own in found.values() for verb in own} == {"list"}
    assert "pods/exec" not in verbs(Scope(made=WORKERS.made, asks_pods=False), "status")


def test_KEDAs_metrics_are_all_that_is_read_in_the_namespace_of_KEDA() -> None:
    names = ("keda-operator:8080", "keda-operator:metrics")
    assert [right for right in rights_of(WORKERS) if right.place == KEDA] == [
        Right("", "services/proxy", frozenset({"get"}), KEDA, names)
    ]
    assert not [right for right in rights_of(Scope(made=WORKERS.made)) if right.place == KEDA]


def test_a_part_that_is_switched_off_needs_nothing() -> None:
    resources = set(verbs(WORKERS, *(name for name in FEATURES if name != "remove")))
    assert not resources & {resource_of(kind)[1] for kind in WATCHING_KINDS}


def test_a_removal_finds_what_the_inventory_does_not_tell_of() -> None:
    found = verbs(WORKERS, "remove")
    for kind in WATCHING_KINDS:
        assert found[resource_of(kind)[1]] == {"list"}


def test_a_part_that_was_switched_off_keeps_what_takes_it_away() -> None:
    found = verbs(Scope(made=WORKERS.made, found=frozenset({"Ingress"})), "deploy")
    assert found["ingresses"] == {"get", "list", "delete"}


@pytest.mark.parametrize("features", [("deploy", "wait", "ask"), ("deploy", "prune", "move"), ("remove",)])
def test_who_takes_workers_away_may_note_before_that_they_take_nothing(features: tuple[str, ...]) -> None:
    """The inventory may have Jobs instead by now, or no workers at all."""
    jobs = frozenset({"ScaledJob"})
    assert verbs(Scope(made=jobs, found=frozenset({"Deployment"})), *features)["deployments"] >= {"get", "patch"}
    assert "patch" not in verbs(Scope(made=jobs), *features)["deployments"]


def test_a_claim_is_deleted_only_where_its_data_may_go() -> None:
    made = frozenset({"PersistentVolumeClaim"})
    assert "delete" not in verbs(Scope(made=made))["persistentvolumeclaims"]
    assert "delete" in verbs(Scope(made=made, removes_data=True))["persistentvolumeclaims"]


def test_an_adopted_deployment_is_changed_and_never_made_or_deleted() -> None:
    assert verbs(Scope(adopts=True))["deployments"] == {"get", "list", "patch"}


def test_autoscalers_of_others_are_deleted_only_where_the_inventory_says_so() -> None:
    assert "delete" not in verbs(Scope())["horizontalpodautoscalers"]
    assert verbs(Scope(replaces=True))["horizontalpodautoscalers"] == {"get", "list", "delete"}


# What of a fleet decides on them


def scope(observed: Observed = NOTHING, **variables: Any) -> Scope:
    services = {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}}
    given = {"services": services, "config": {"shop": {"default": {"replicas": 1}}}, "broker": {"host": "redis"}}
    return scope_of(fleet_of(**{**given, **variables}), observed, True, False, keeps_history=False)


def test_a_fleet_needs_rights_on_what_it_makes() -> None:
    assert scope() == Scope(made=frozenset({"Deployment"}), has_redis=True)
    scaled = {"enable_keda": True, "min_replicas": 1, "max_replicas": 4}
    keda = scope(config={"shop": {"default": scaled}}, broker={"host": "redis.data", "secret": LOGIN})
    assert keda.made >= {"Deployment", "ScaledObject", "TriggerAuthentication"}
    assert (keda.uses_keda, keda.has_redis) == (True, False)
    assert scope(autoscaler_conflict="remove").replaces


def test_a_fleet_keeps_rights_on_what_it_has_and_others_give_it_none() -> None:
    ours, others = ({"celery.queueops.io/fleet": name} for name in ("shop", "elsewhere"))
    flower = ObservedObject("Ingress", "flower", ours)
    assert scope(Observed((flower, ObservedObject("Service", "web", others)))).found == {"Ingress"}
    adopted = ObservedObject("Deployment", "lms-worker", {"celery.queueops.io/adopted-by": "shop"})
    assert scope(Observed((adopted,))).adopts


# Roles


@given(SCOPES, CHOSEN)
@settings(max_examples=examples(60), deadline=None)
def test_the_rules_of_roles_grant_the_rights_and_nothing_else(scope: Scope, features: set[str]) -> None:
    rights = rights_of(scope, features)
    found = [rule for item in account_resources(ACCOUNT, rights) for rule in item.get("rules", [])]
    granted = [
        (verb, group, resource, tuple(rule.get("resourceNames", ())))
        for rule in found
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    ]
    assert sorted(granted) == sorted(
        (verb, right.group, right.resource, right.names) for right in rights for verb in right.verbs
    )
    assert "*" not in str(found)


@given(SCOPES, CHOSEN)
@settings(max_examples=examples(60), deadline=None)
def test_a_feature_more_takes_nothing_away(scope: Scope, features: set[str]) -> None:
    every, some = verbs(scope), verbs(scope, *features) if features else {}
    assert all(own <= every[resource] for resource, own in some.items())


def test_the_account_is_bound_to_its_roles_in_both_namespaces() -> None:
    made = account_resources(ACCOUNT, rights_of(WORKERS))
    assert [(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]) for item in made] == [
        ("ServiceAccount", "shop", "celery-workers"),
        ("Role", "shop", "celery-workers"),
        ("Role", "keda", "celery-workers-shop"),
        ("RoleBinding", "shop", "celery-workers"),
        ("RoleBinding", "keda", "celery-workers-shop"),
    ]
    for binding in made[3:]:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "celery-workers", "namespace": "shop"}]
        assert binding["roleRef"]["name"] == binding["metadata"]["name"]
    assert not made[0]["automountServiceAccountToken"]


def test_resources_with_the_same_verbs_share_a_rule() -> None:
    one = [Right("apps", "deployments", frozenset({"list"}), FLEET), Right("apps", "replicasets", frozenset({"list"}))]
    assert list(rules(one)) == [{"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["list"]}]


# The plan


def planned(live: list[Object], rights: list[Right] | None = None, checks: bool = False, **standing: Any) -> Plan:
    wanted = rights_of(WORKERS) if rights is None else rights
    return plan_account(ACCOUNT, wanted, Standing(by_key(live), **standing), merge, checks)


def by_key(items: list[Object]) -> dict[Key, Object]:
    return {(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item for item in items}


def applied(item: Object) -> Object:
    """An object as kubernetes.core has left it."""
    notes = annotate(item)["metadata"]["annotations"]
    return {**item, "metadata": {**item["metadata"], "annotations": notes, "uid": "1"}}


def names(plan: Plan, action: str) -> list[str]:
    return [
        f"{item['kind']} {item['metadata']['name']}" for s in plan.steps if s.action == action for item in s.objects
    ]


def test_a_second_run_sends_nothing() -> None:
    made = planned([])
    assert len(names(made, APPLY)) == 5
    again = planned([applied(item) for item in made.manifests])
    assert not again.steps
    assert len(again.unchanged) == 5


def test_what_a_feature_needed_goes_with_it() -> None:
    live = [applied(item) for item in planned([]).manifests]
    found = planned(live, rights_of(WORKERS, ["pause"]))
    assert names(found, APPLY) == ["Role celery-workers"]
    assert names(found, DELETE) == ["Role celery-workers-shop", "RoleBinding celery-workers-shop"]


def test_an_object_of_others_is_never_written() -> None:
    foreign = {"kind": "Role", "metadata": {"name": "celery-workers", "namespace": "shop", "labels": {"a": "b"}}}
    found = planned([foreign])
    assert not found.steps
    assert found.problems == (
        "Role celery-workers in namespace shop belongs to something else, so it is not written. Choose another "
        "celery_workers_rbac_account, or delete it.",
    )


def test_a_namespace_is_made_only_where_the_inventory_says_so() -> None:
    assert "celery_workers_create_namespace: true" in planned([], namespace_exists=False).problems[0]
    made = planned([], namespace_exists=False, creates_namespace=True)
    assert names(made, APPLY)[0] == "Namespace shop"
    check = planned([], namespace_exists=False, creates_namespace=True, checks=True)
    assert not check.steps
    assert len(check.not_sent) == 5


def test_what_is_taken_away_is_the_accounts_and_bindings_go_first() -> None:
    live = [applied(item) for item in planned([]).manifests]
    other = {**live[1], "metadata": {**live[1]["metadata"], "name": "celery-workers-cms"}}
    found = plan_withdrawal(ACCOUNT, Standing(by_key([*live, other])))
    assert names(found, DELETE) == [
        "RoleBinding celery-workers",
        "RoleBinding celery-workers-shop",
        "Role celery-workers",
        "Role celery-workers-shop",
        "ServiceAccount celery-workers",
    ]
    assert not plan_withdrawal(ACCOUNT, Standing()).steps
