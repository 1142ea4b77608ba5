# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that would leave behind what running workers hold: found before anything is sent, and one worker that drains."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import present_places
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import preflight, wanted_objects
from ansible_collections.queueops.celery.plugins.module_utils._cluster.key_changes import (
    KeyChange,
    drain_worker,
    draining,
    key_changes,
    question_about,
    question_to,
    read_by,
    refusal,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import ObservedObject, leftovers

from tests.unit import others
from tests.unit.inventories import SCALED, TRACKED, Manifest, fleet_of, one_variant
from tests.unit.running_pods import labels_of, observed, running, selector_of

OWN = "unacked:shop.billing.default"
SENTINEL = {"type": "redis-sentinel", "hosts": ["a", "b"], "master_name": "main"}
RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}


def fleet_with(keys: Any = None, **rest: Any) -> Fleet:
    return fleet_of(**one_variant(TRACKED if keys is None else keys, **rest))


def changes(before: Fleet, after: Fleet, replicas: int | None = 2) -> list[KeyChange]:
    """What a run of the second inventory would change while the first one runs."""
    return key_changes(after, observed(*running(before, replicas)))


def change_of(before: Fleet, after: Fleet) -> KeyChange:
    (found,) = changes(before, after)
    return found


MOVES: list[tuple[str, Fleet, Fleet, str, bool]] = [
    ("tracking is turned on", fleet_with(SCALED), fleet_with(), "unacked", True),
    (
        "tracking is turned on under a prefix",
        fleet_with(SCALED, broker={"host": "redis", "global_keyprefix": "shop_"}),
        fleet_with(broker={"host": "redis", "global_keyprefix": "shop_"}),
        "shop_unacked",
        True,
    ),
    ("tracking is turned off", fleet_with(), fleet_with({**TRACKED, "in_flight": False}), OWN, False),
    ("the broker moves", fleet_with(), fleet_with(broker={"host": "other"}), OWN, False),
    ("the database changes", fleet_with(), fleet_with(broker={"host": "redis", "database": 1}), OWN, False),
    (
        "the prefix changes",
        fleet_with(broker={"host": "redis", "global_keyprefix": "a b "}),
        fleet_with(broker={"host": "redis", "global_keyprefix": "b_"}),
        f"a b {OWN}",
        False,
    ),
    (
        "the master of sentinels changes",
        fleet_with(broker=SENTINEL),
        fleet_with(broker={**SENTINEL, "master_name": "other"}),
        OWN,
        False,
    ),
    (
        "the prefix changes behind sentinels",
        fleet_with(broker={**SENTINEL, "global_keyprefix": "a_"}),
        fleet_with(broker=SENTINEL),
        f"a_{OWN}",
        False,
    ),
    ("the broker is another kind", fleet_with(), fleet_with(broker=RABBITMQ), OWN, False),
]


@pytest.mark.parametrize(
    ("before", "after", "held_in", "shared"), [row[1:] for row in MOVES], ids=[row[0] for row in MOVES]
)
def test_a_key_that_would_move_under_running_workers_is_found_with_the_hash_that_they_fill(
    before: Fleet, after: Fleet, held_in: str, shared: bool
) -> None:
    change = change_of(before, after)
    assert (change.deployment, change.moves_key) == ("billing-worker", True)
    assert (change.old_hash, change.is_shared) == (held_in, shared)


def test_a_variant_under_another_name_that_takes_over_a_deployment_moves_its_key() -> None:
    after = fleet_with({**TRACKED, "name": "billing-worker", "queues": ["default"]}, variant="fast")
    assert change_of(fleet_with(), after).old_hash == OWN


def test_a_grace_period_that_is_raised_comes_too_late_for_the_pods_that_run() -> None:
    change = change_of(fleet_with(), fleet_with({**TRACKED, "termination_grace_period": 3600}))
    assert (change.moves_key, change.old_grace, change.new_grace) == (False, 600, 3600)
    text = refusal(change, 3, "")
    assert "hold 3 messages, and they are killed 600 s after they are replaced" in text
    assert "termination_grace_period is 3600 s from now on" in text
    assert "celery_workers_key_change: accept" in text
    assert "drain" not in text


UNMOVED: list[tuple[str, Fleet, Fleet, int | None]] = [
    ("nothing changes", fleet_with(), fleet_with(), 2),
    ("another image, other queues and more slots", fleet_with(), fleet_with(
        {**TRACKED, "image": "x", "queues": ["a"], "concurrency": 8}), 2),
    ("a grace period that is lowered", fleet_with(), fleet_with({**TRACKED, "termination_grace_period": 60}), 2),
    ("a grace period of workers that keep no key", fleet_with(SCALED),
     fleet_with({**SCALED, "termination_grace_period": 3600}), 2),
    ("no pod runs", fleet_with(SCALED), fleet_with(), 0),
    ("nobody says how many pods run", fleet_with(SCALED), fleet_with(), None),
    ("another login", fleet_with(), fleet_with(broker={"host": "redis", "password": True}), 2),
    ("rabbitmq keeps what its workers hold", fleet_with(SCALED, broker=RABBITMQ), fleet_with(broker=RABBITMQ), 2),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "replicas"), [row[1:] for row in UNMOVED], ids=[row[0] for row in UNMOVED])
def test_a_run_that_leaves_nothing_behind_is_not_held_up(before: Fleet, after: Fleet, replicas: int | None) -> None:
    assert changes(before, after, replicas) == []


def test_a_deployment_of_somebody_else_is_not_asked() -> None:
    (live,) = running(fleet_with(SCALED))
    live["metadata"]["labels"]["celery.queueops.io/fleet"] = "other"
    assert key_changes(fleet_with(), observed(live)) == []


def test_a_deployment_that_becomes_ours_is_asked_about_the_hash_that_its_workers_share() -> None:
    seen = others.seen(others.deployment("billing-worker", grace=30))
    (change,) = key_changes(fleet_of(**one_variant(TRACKED), take_over=True), seen)
    assert (change.deployment, change.before, change.after) == ("billing-worker", "", f"redis redis:6379/0 {OWN}")
    assert (change.old_hash, change.is_shared, change.moves_key) == ("unacked", True, True)
    assert key_changes(fleet_with(), seen) == []


def test_a_deployment_that_becomes_ours_without_a_pod_or_a_key_is_not_held_up() -> None:
    taking = fleet_of(**one_variant(TRACKED), take_over=True)
    assert key_changes(taking, others.seen(others.deployment("billing-worker", replicas=0))) == []
    untracked = fleet_of(**one_variant(SCALED), take_over=True)
    assert key_changes(untracked, others.seen(others.deployment("billing-worker"))) == []


def test_a_deployment_of_another_fleet_does_not_become_ours() -> None:
    raw = others.deployment("billing-worker", labels={"celery.queueops.io/fleet": "other"})
    assert key_changes(fleet_of(**one_variant(TRACKED), take_over=True), others.seen(raw)) == []


def test_the_key_of_an_adopted_deployment_is_its_owners() -> None:
    seen = others.seen(others.deployment("billing-worker"))
    keys = {**TRACKED, "adopt": True, "in_flight": True}
    adopts = fleet_of(**one_variant(keys), take_over=True, observed=seen, routing_delivery="tutor_plugin")
    assert adopts.variants[0].unacked is not None
    assert key_changes(adopts, seen) == []


def test_a_first_run_changes_no_key() -> None:
    assert key_changes(fleet_with(), observed()) == []


@pytest.mark.parametrize(
    ("held", "said"), [(3, "hold 3 messages"), (None, "may hold messages (unknown: no pod is ready)")]
)
def test_a_run_that_stops_says_what_is_held_where_and_which_ways_on_there_are(held: int | None, said: str) -> None:
    text = refusal(change_of(fleet_with(SCALED), fleet_with()), held, "no pod is ready")
    assert text.startswith(f"variant default of service billing: the workers of Deployment billing-worker {said} under")
    assert "'unacked'" in text
    assert f"'redis redis:6379/0 {OWN}'" in text
    assert "celery_workers_key_change: drain" in text
    assert text.endswith("accept is right.")


def test_running_workers_are_asked_with_their_own_settings_and_not_with_the_new_ones() -> None:
    before = fleet_with(broker={"host": "redis", "sep": ":"}, service={"app": "shop.app:celery"})
    change = change_of(before, fleet_with(broker={"host": "redis", "database": 1}))
    question = question_about(change, before.variants[0].args)
    assert (question.app, question.group) == ("shop.app:celery", "billing.default")
    assert (question.hash, question.is_shared) == (OWN, False)
    assert question.settings == before.variants[0].args[before.variants[0].args.index("--") + 1 :]
    assert (question.canary, question.inspects) == (False, False)


def test_of_a_shared_hash_the_messages_of_the_old_and_of_the_new_queues_count() -> None:
    before = fleet_with({**SCALED, "queues": ["old"]})
    change = change_of(before, fleet_with({**TRACKED, "queues": ["new"]}))
    assert set(question_about(change, before.variants[0].args).queues) == {"old", "new"}


DRAINED = fleet_with(
    {**SCALED, "env": {"MODE": "x"}, "secret_env": {"PAY_KEY": True}, "termination_grace_period": 900},
    broker={"host": "redis", "password": True},
)
ON = fleet_with({**TRACKED, "env": {"MODE": "y"}}, broker={"host": "redis", "password": True})


def drain(before: Fleet = DRAINED, after: Fleet = ON, selector: Mapping[str, str] | None = None) -> Manifest:
    """The worker that is left on the old key.

    :param selector: what the Deployment selected by before it was taken over.
    """
    (live,) = running(before)
    if selector is not None:
        live["spec"]["selector"]["matchLabels"] = dict(selector)
        live["spec"]["template"]["metadata"]["labels"].update(selector)
    untouched = copy.deepcopy(live)
    (change,) = key_changes(after, observed(live))
    found: Manifest = drain_worker(after, change, live)
    assert live == untouched
    return found


def test_a_worker_that_drains_is_the_old_one_on_a_queue_that_nobody_sends_to() -> None:
    (old,) = running(DRAINED)
    found = drain()
    worker, before = (item["spec"]["template"]["spec"]["containers"][0] for item in (found, old))
    changed = [(one, other) for one, other in zip(before["args"], worker["args"], strict=True) if one != other]
    assert changed == [("--queues=default", "--queues=shop.billing.default.drain")]
    assert {key: value for key, value in worker.items() if key != "args"} == {
        key: value for key, value in before.items() if key != "args"
    }
    assert {"name": "MODE", "value": "x"} in worker["env"]
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 900


def test_a_worker_that_drains_is_one_pod_with_a_name_of_its_own() -> None:
    found = drain()
    assert found["metadata"]["name"] == "billing-worker-drain"
    assert (found["spec"]["replicas"], found["spec"]["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize(
    "selector",
    [
        None,
        {"app.kubernetes.io/name": "lms-worker"},
        {"app.kubernetes.io/name": "lms-worker", "tier": "worker"},
    ],
    ids=["ours", "tutor", "two labels"],
)
def test_no_scaler_counts_a_worker_that_drains_among_its_pods(selector: Mapping[str, str] | None) -> None:
    """An HPA whose pods two Deployments select does nothing, and KEDA would hold pods that are not there."""
    found = drain(selector=selector)
    (new,) = running(ON)
    old = selector if selector is not None else selector_of(running(DRAINED)[0])
    assert not old.items() <= labels_of(found).items()
    assert not selector_of(new).items() <= labels_of(found).items()
    assert not selector_of(found).items() <= labels_of(new).items()
    assert selector_of(found).items() <= labels_of(found).items()


def test_a_worker_that_drains_is_found_again_and_asked_about_the_same_key() -> None:
    found = drain()
    seen = observed(*running(ON), found)
    (item,) = draining("shop", seen)
    assert item.name == "billing-worker-drain"
    question = question_to(item, found["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (question.hash, question.is_shared, question.app) == ("unacked", True, "billing")
    assert "default" in question.queues


def test_a_worker_that_drains_stands_in_nobodys_way_and_goes_once_nobody_wants_it() -> None:
    seen = observed(*running(ON), drain())
    assert preflight(ON, seen, False).problems == ()
    unwanted = leftovers(seen, "shop", wanted_objects(ON), present_places(ON))
    assert [item.name for item in (*unwanted.retired, *unwanted.orphans)] == ["billing-worker-drain"]
    wanted = [*wanted_objects(ON), ("Deployment", "billing-worker-drain")]
    assert leftovers(seen, "shop", wanted, present_places(ON)).orphans == ()


def test_only_workers_of_the_fleet_that_drain_are_found() -> None:
    other = ObservedObject("Deployment", "x", labels={**labels_of(drain()), "celery.queueops.io/fleet": "other"})
    seen = observed(*running(ON))
    assert draining("shop", type(seen)((*seen.objects, other))) == []


def test_prune_does_not_delete_workers_that_hold_messages_under_a_key_of_their_own() -> None:
    old = fleet_of(**one_variant(TRACKED, variant="old"))
    (change,) = key_changes(fleet_with(), observed(*running(old, 2)), prunes=True)
    assert (change.deployment, change.old_hash) == ("billing-worker-old", "unacked:shop.billing.old")
    assert "this run would delete it" in refusal(change, 3, "")
    assert key_changes(fleet_with(), observed(*running(old, 2))) == []
    assert key_changes(fleet_with(), observed(*running(old, 0)), prunes=True) == []


def test_workers_told_to_stop_are_asked_as_long_as_a_pod_of_theirs_is_there() -> None:
    moved = fleet_with(broker={"host": "redis", "database": 1})
    (change,) = key_changes(moved, observed(*running(ON, 0)))
    assert change.is_idle


def test_a_worker_that_drains_keeps_the_secrets_and_files_that_it_reads() -> None:
    fleet = fleet_with({**TRACKED, "secret_env": {"KEY": True}, "probe": "heartbeat"})
    (manifest,) = running(fleet, 1)
    assert read_by(manifest["spec"]["template"]["spec"]) == {
        ("Secret", "billing-worker-env"),
        ("ConfigMap", "billing-worker-heartbeat"),
    }


@pytest.mark.parametrize("host", ["redis.shop", "redis.shop.svc.cluster.local", "REDIS."])
def test_another_name_of_the_same_broker_is_no_change_of_the_key(host: str) -> None:
    assert changes(fleet_with(), fleet_with(broker={"host": host})) == []


def test_a_place_that_was_written_down_under_another_name_of_the_host_is_the_same_one() -> None:
    fleet = fleet_with()
    (deployment,) = running(fleet, 2)
    annotations = deployment["metadata"]["annotations"]
    name = next(key for key, text in annotations.items() if text.endswith(OWN))
    annotations[name] = f"redis redis.shop.svc.cluster.local:6379/0 {OWN}"
    assert key_changes(fleet, observed(deployment)) == []
