# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts beside each other: one namespace of one cluster is one fleet, and no two fleets make the same object."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils.neighbours import (
    Place,
    cluster_of,
    collisions,
    no_host,
    objects_asked_for,
    place_of_host,
    unconfirmed_removal,
)

HERE, THERE = ("https://one.example:6443",), ("https://two.example:6443",)
NORTH, SOUTH = Place("north", "shop", "shop", HERE), Place("south", "shop", "shop", HERE)


def nothing(_host: str) -> Collection[tuple[str, str]]:
    return ()


def flower(_host: str) -> Collection[tuple[str, str]]:
    return [("Deployment", "flower"), ("Service", "flower")]


@pytest.mark.parametrize("running", [["north"], ["south"], ["north", "south"]])
def test_two_hosts_with_one_fleet_are_refused_whichever_of_them_runs(running: list[str]) -> None:
    (problem,) = collisions([NORTH, SOUTH], running, nothing)
    assert "north and south describe one fleet: namespace shop" in problem
    assert HERE[0] in problem
    for way_out in ("celery_workers_namespace", "celery_workers_fleet", "celery_workers_context"):
        assert way_out in problem


@pytest.mark.parametrize(
    "other",
    [
        Place("south", "shop2", "shop2", HERE),
        Place("south", "shop", "shop", THERE),
        Place("south", "shop2", "shop", HERE),
        Place("south", "shop", "other", HERE),
    ],
    ids=["another namespace", "another cluster", "another namespace, one id", "another id"],
)
def test_hosts_that_do_not_touch_each_other_run(other: Place) -> None:
    assert collisions([NORTH, other], ["north", "south"], nothing) == []


def test_hosts_outside_of_the_run_may_collide_with_each_other() -> None:
    assert collisions([NORTH, SOUTH, Place("west", "west", "west", HERE)], ["west"], nothing) == []


def test_two_fleets_in_one_namespace_are_refused_only_for_what_both_make() -> None:
    other = Place("south", "shop", "second", HERE)
    (problem,) = collisions([NORTH, other], ["south"], flower)
    assert "north (fleet shop) and south (fleet second) share the namespace shop" in problem
    assert "Deployment flower and Service flower" in problem
    assert collisions([NORTH, other], ["south"], lambda host: [("Deployment", f"{host}-worker")]) == []


def test_objects_are_computed_only_where_a_namespace_is_shared() -> None:
    def refuse(host: str) -> Collection[tuple[str, str]]:
        raise AssertionError(host)

    places = [Place(f"h{number}", f"ns{number}", f"ns{number}", HERE) for number in range(1000)]
    start = time.monotonic()
    assert collisions(places, [place.host for place in places], refuse) == []
    assert time.monotonic() - start < 5


def test_a_fleet_is_named_after_its_namespace_unless_it_has_an_id() -> None:
    assert place_of_host("north", {"namespace": "shop"}, HERE) == NORTH
    assert place_of_host("north", {"namespace": "shop", "fleet": "x", "output": "manifests"}, ()) == Place(
        "north", "shop", "x", (), files=True
    )
    assert place_of_host("north", {"fleet": "x"}, HERE) is None


def kubeconfig(server: str, authority: str = "", **more: str) -> dict[str, Any]:
    data = {"certificate-authority-data": base64.b64encode(authority.encode()).decode()} if authority else {}
    return {
        "current-context": "main",
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "a"}},
            {"name": "also", "context": {"cluster": "c", "user": "b"}},
            {"name": "other", "context": {"cluster": "d", "user": "a"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": server, **data, **more}},
            {"name": "d", "cluster": {"server": "https://other.example"}},
        ],
    }


FILES = {
    "/one": kubeconfig("https://one.example:6443"),
    "/copy": kubeconfig("https://ONE.example:6443/"),
    "~/.kube/config": kubeconfig("https://one.example:6443"),
    "/tunnel": kubeconfig("https://127.0.0.1:6443", "first"),
    "/tunnel2": kubeconfig("https://127.0.0.1:6443", "second"),
}


def identity(kubeconfig: Any = "", context: str = "", **environment: str) -> tuple[str, ...]:
    return cluster_of(kubeconfig, context, environment, FILES.get)


@pytest.mark.parametrize(
    "other",
    [
        identity("/copy"),
        identity("/one", "also"),
        identity(),
        identity(K8S_AUTH_KUBECONFIG="/copy"),
        identity(FILES["/one"]),
    ],
    ids=["another file", "another user", "the default", "the environment", "the content"],
)
def test_one_api_server_is_one_cluster_however_it_is_reached(other: tuple[str, ...]) -> None:
    assert other == identity("/one")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (identity("/one"), identity("/one", "other")),
        (identity("/tunnel"), identity("/tunnel2")),
        (identity("/missing", "a"), identity("/missing", "b")),
        (identity("/missing"), identity("/gone")),
        (identity("/one"), identity("/one", "unknown")),
    ],
    ids=["context", "tunnels", "contexts nobody can look up", "files nobody can read", "an unknown context"],
)
def test_different_clusters_are_told_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert one != other


def test_without_any_kubeconfig_equal_settings_are_one_cluster() -> None:
    assert identity("/missing", "a") == identity("/missing", "a")
    assert cluster_of("", "", {}, lambda _path: None) == cluster_of("", "", {}, lambda _path: None)


VARIABLES: dict[str, Any] = {
    "celery_workers_namespace": "shop",
    "celery_workers_broker": {"host": "redis", "password": "geheim"},
    "celery_workers_services": {"billing": {"app": "billing", "image": "registry.example/billing:1"}},
    "celery_workers_config": {"billing": {"default": None}},
    "celery_workers_config__50_more": {"billing": {"high": {"enable_keda": True, "min_replicas": 1}}},
}


def test_what_variables_ask_for_is_computed_with_layers_and_switches() -> None:
    found = objects_asked_for(VARIABLES)
    assert {("Deployment", "billing-worker"), ("ScaledObject", "billing-worker-high-scaledobject")} <= found
    assert ("Deployment", "flower") not in found
    # Words that templating may have made of a boolean.
    switched = {**VARIABLES, "celery_workers_flower_enabled": "True", "celery_workers_flower": {"password": "x"}}
    assert ("Deployment", "flower") in objects_asked_for(switched)


def test_variables_with_problems_ask_for_nothing() -> None:
    assert objects_asked_for({**VARIABLES, "celery_workers_config": {"billing": {"default": {"pol": "x"}}}}) == set()


GROUPS = {"all": ["a", "b"], "ungrouped": [], "celery_fleets": ["a"], "web": ["b"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("celery_fleets", [], {"all": [], "ungrouped": []}, ""), ["no host", "-i"]),
        (("celery_fleet", [], GROUPS, ""), ["celery_fleet", "did you mean 'celery_fleets'", "celery_workers_hosts"]),
        (("celery_fleets", ["a"], GROUPS, "b"), ["--limit b", "celery_fleets", "(a)"]),
    ],
    ids=["no inventory", "wrong group", "limit"],
)
def test_a_run_without_hosts_says_why(arguments: Any, words: list[str]) -> None:
    said = no_host(*arguments)
    for word in words:
        assert word in said


MANY = [NORTH, Place("west", "west", "w", THERE), Place("east", "east", "east", (), files=True)]


@pytest.mark.parametrize("confirmed", [None, "", False, 2, "4", "no"])
def test_a_removal_of_several_fleets_names_them_all_until_it_is_confirmed(confirmed: Any) -> None:
    said = unconfirmed_removal(MANY, confirmed, "")
    assert "all 3 hosts" in said
    for line in (
        f"north: namespace shop in {HERE[0]}",
        f"west: namespace west, fleet w in {THERE[0]}",
        "east: the files of fleet east",
    ):
        assert line in said.splitlines()
    assert "-e celery_workers_confirm_remove=3" in said


@pytest.mark.parametrize(
    ("places", "confirmed", "limit"),
    [(MANY, 3, ""), (MANY, "3", ""), (MANY, True, ""), (MANY, "true", ""), (MANY, None, "north"), (MANY[:1], None, "")],
)
def test_a_removal_that_was_asked_for_goes_on(places: list[Place], confirmed: Any, limit: str) -> None:
    assert unconfirmed_removal(places, confirmed, limit) == ""


@pytest.mark.parametrize(
    "server",
    ["https://ONE.example.org", "https://one.example.org:443/", "https://one.example.org.:443"],
)
def test_one_api_server_under_other_spellings_is_one_cluster(server: str) -> None:
    def cluster(url: str) -> tuple[str, ...]:
        return cluster_of(kubeconfig(url, "ca"), "", {}, lambda path: None)

    assert cluster(server) == cluster("https://one.example.org")
    assert cluster("https://one.example.org:6443") != cluster(server)


@pytest.mark.parametrize(("server", "found"), [("https://one.example.org", 1), ("https://127.0.0.1:6443", 0)])
def test_a_kubeconfig_without_its_authority_leads_to_the_same_server(server: str, found: int) -> None:
    given = [kubeconfig(server, "ca"), kubeconfig(server)]
    places = [
        Place(host, "shop", "shop", cluster_of(content, "", {}, lambda path: None))
        for host, content in zip(("north", "south"), given, strict=True)
    ]
    assert len(collisions(places, ["north"], nothing)) == found


def test_private_addresses_of_two_authorities_are_two_clusters() -> None:
    clusters = [cluster_of(kubeconfig("https://10.0.0.1:6443", name), "", {}, lambda path: None) for name in "ab"]
    places = [Place(host, "shop", "shop", one) for host, one in zip(("north", "south"), clusters, strict=True)]
    assert collisions(places, ["north"], nothing) == []
