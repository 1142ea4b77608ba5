# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the whole role over a namespace in memory: what is sent, in which order, and what never shows."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Collection
from itertools import groupby
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.names import (
    FLEET_LABEL,
    FLOWER,
    UNACKED_ANNOTATION,
    flower_secret_name,
    server_name,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import PLAN, VALIDATE
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, run
from tests.unit.others import deployment

CANARY = "canary-Tr0ub4dor"
SERVICE = {"image": IMAGE, "app": "billing.celery", "idempotent": True, "longest_task_seconds": 60}


def inventory(config: Any, **more: Any) -> Object:
    """Variables of one service."""
    services = {"billing": {**SERVICE, **more.pop("service", {})}}
    broker = more.pop("broker", {"host": "redis", "password": CANARY})
    return {"services": services, "config": {"billing": config}, "broker": broker, **more}


def done(result: Object) -> Object:
    assert not result.get("failed"), result["msg"]
    return result


def sent_kinds(cluster: ModelCluster) -> list[tuple[str, str]]:
    """State and kind of everything that was sent, in its order."""
    return [
        (arguments.get("state", "present"), item["kind"])
        for arguments, _hides in cluster.sent
        for item in arguments["definition"]
    ]


FLEET = inventory(
    {"default": {"replicas": 2}, "high": {"enable_keda": True, "secret_env": {"KEY": CANARY}}},
    flower_enabled=True,
)


FLOWER_SECRET = ("Secret", flower_secret_name(server_name(FLOWER)))


def test_a_second_run_sends_nothing_and_reads_each_kind_once() -> None:
    cluster = ModelCluster()
    first = done(run(cluster, **FLEET))
    assert "Deployment billing-worker" in first["created"]
    cluster.sent.clear()
    cluster.lists.clear()
    second = done(run(cluster, **FLEET))
    assert cluster.sent == []
    assert (second["changed"], second["diff"]) == (False, [])
    assert sorted(second["unchanged"]) == sorted(first["created"])
    # Of Secrets and ConfigMaps of others only names are read; with their content only the fleet's own.
    assert len(cluster.lists) == len(set(cluster.lists))


def test_a_secret_that_is_missing_is_told_although_no_pod_runs_that_would_miss_it() -> None:
    cluster = ModelCluster()
    key = {"secret": "shop-database", "key": "url"}
    optional = {"name": "B", "valueFrom": {"secretKeyRef": {"name": "of-luxury", "key": "k", "optional": True}}}
    variant = {"enable_keda": True, "secret_env": {"DATABASE_URL": key, "OWN": CANARY}, "env": [optional]}
    asked = inventory({"default": variant})
    (warning,) = [text for text in done(run(cluster, **asked))["warnings"] if "There is no Secret" in text]
    assert "There is no Secret shop-database in shop. " in warning
    assert "Deployment billing-worker" in warning
    cluster.put({"kind": "Secret", "metadata": {"name": "shop-database"}})
    assert not [text for text in done(run(cluster, **asked)).get("warnings", []) if "There is no Secret" in text]


def test_a_dry_run_goes_on_without_a_secret_that_keda_alone_reads() -> None:
    reader = {"host": "redis", "scaler": {"secret": {"name": "reader", "password_key": "p"}}}
    asked = inventory({"default": {"enable_keda": True}}, broker=reader)
    cluster = ModelCluster()
    real = run(cluster, **asked)
    assert real["failed"]
    assert "there is no Secret reader in shop" in real["msg"]
    assert cluster.sent == []
    dry = done(run(ModelCluster(), checks=True, **asked))
    (warning,) = [text for text in dry["warnings"] if "there is no Secret reader in shop" in text]
    assert "Without check mode the run would stop here:" in warning
    assert "Deployment billing-worker" in dry["created"]
    quick = done(run(ModelCluster(), **asked, wait=False))
    (warning,) = [text for text in quick["warnings"] if "there is no Secret reader in shop" in text]
    assert "Without check mode" not in warning
    assert "Deployment billing-worker" in quick["created"]


def test_a_secret_of_the_role_itself_is_not_missing_on_a_first_run() -> None:
    def asked(secret: str) -> Object:
        login = {"host": "redis", "scaler": {"secret": {"name": secret, "password_key": "READER"}}}
        return inventory({"default": {"enable_keda": True, "secret_env": {"READER": CANARY}}}, broker=login)

    assert "there is no Secret others" in run(ModelCluster(), **asked("others"))["msg"]
    (own,) = [
        name.removeprefix("Secret ")
        for name in done(run(ModelCluster(), **asked("others"), wait=False))["created"]
        if name.startswith("Secret ")
    ]
    assert f"Secret {own}" in done(run(ModelCluster(), **asked(own)))["created"]


def test_objects_of_a_kind_are_sent_in_a_row_so_that_they_can_go_together() -> None:
    cluster = ModelCluster()
    done(run(cluster, **inventory({f"queue{number}": {"enable_keda": True} for number in range(5)})))
    kinds = [kind for _state, kind in sent_kinds(cluster)]
    assert kinds.count("Deployment") == kinds.count("PodDisruptionBudget") == kinds.count("ScaledObject") == 5
    assert len(list(groupby(kinds))) == len(set(kinds))


def test_secrets_are_sent_first_and_alone_and_their_versions_reach_the_pods_of_the_same_run() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    kinds = sent_kinds(cluster)
    assert {kind for _state, kind in kinds[:3]} == {"Secret"}
    assert "Secret" not in {kind for _state, kind in kinds[3:]}
    pods = cluster.objects["Deployment", "billing-worker-high"]["spec"]["template"]["metadata"]["annotations"]
    told = json.loads(pods["celery.queueops.io/secret-versions"])
    for name in ("shop-celery-broker", "billing-worker-high-env"):
        assert told[name] == cluster.objects["Secret", name]["metadata"]["resourceVersion"]


def test_a_changed_secret_rolls_the_pods_that_read_it_and_no_others() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    other = copy.deepcopy(FLEET)
    other["config"]["billing"]["high"]["secret_env"]["KEY"] = f"{CANARY}-2"
    dry = done(run(cluster, checks=True, **other))
    assert dry["updated"] == ["Secret billing-worker-high-env", "Deployment billing-worker-high"]
    # The dry run has changed the model as a server would not; a real one starts from the state before.
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    found = done(run(cluster, **other))
    assert found["updated"] == ["Secret billing-worker-high-env", "Deployment billing-worker-high"]
    assert done(run(cluster, **other))["changed"] is False


@pytest.mark.parametrize("checks", [False, True])
def test_no_secret_is_in_a_result_on_the_screen_or_in_a_visible_task(
    checks: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = ModelCluster()
    results = [run(cluster, checks=checks, **FLEET)]
    other = copy.deepcopy(FLEET)
    other["broker"]["password"] = f"{CANARY}-2"
    other["config"]["billing"]["high"]["pol"] = 1
    results.append(run(cluster, **other))
    assert results[1]["failed"]
    shown = json.dumps(results) + "".join(capfd.readouterr())
    shown += json.dumps([arguments for arguments, hides in cluster.sent if not hides])
    for text in (CANARY, base64.b64encode(CANARY.encode()).decode()[:-4]):
        assert text not in shown
    generated = cluster.objects[FLOWER_SECRET]["data"]
    assert not [value for value in generated.values() if value in shown]
    hidden = json.dumps([arguments for arguments, hides in cluster.sent if hides])
    assert base64.b64encode(CANARY.encode()).decode() in hidden


def test_a_generated_password_stays() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    before = copy.deepcopy(cluster.objects[FLOWER_SECRET])
    done(run(cluster, **FLEET))
    assert cluster.objects[FLOWER_SECRET] == before


def test_every_problem_of_the_inventory_is_told_before_a_cluster_is_asked() -> None:
    cluster = ModelCluster()
    found = run(cluster, **inventory({"default": {"pol": 1, "concurrency": "many"}}))
    assert found["failed"]
    assert len(found["problems"]) == 2
    assert cluster.lists == []


def test_variables_that_are_no_value_of_theirs_are_named() -> None:
    found = run(ModelCluster(), **FLEET, key_change="perhaps")
    assert found["failed"]
    assert "key_change" in found["msg"]
    assert "stop, drain, accept" in found["msg"]


@pytest.mark.parametrize("reaches", [VALIDATE, PLAN])
def test_a_run_that_only_reads_sends_nothing(reaches: str) -> None:
    cluster = ModelCluster()
    found = done(run(cluster, reaches=reaches, **FLEET))
    assert cluster.sent == []
    assert ("fleet" in found) == (reaches == PLAN)


def test_a_scaler_that_is_switched_off_goes_before_its_workers_are_written() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    cluster.sent.clear()
    config = {"default": {"replicas": 2}, "high": {"replicas": 1, "secret_env": {"KEY": CANARY}}}
    # Its workers keep no key of their own then, which the run does not leave to chance.
    found = done(run(cluster, **inventory(config, flower_enabled=True, key_change="accept")))
    kinds = sent_kinds(cluster)
    assert kinds.index(("absent", "ScaledObject")) < kinds.index(("present", "Deployment"))
    assert "ScaledObject billing-worker-high-scaledobject" in found["deleted"]


def test_a_number_that_was_applied_is_forgotten_before_a_scaler_takes_over() -> None:
    cluster = ModelCluster()
    done(run(cluster, **inventory({"default": {"replicas": 3}})))
    cluster.sent.clear()
    watched: list[int] = []
    cluster.watch = lambda: watched.append(cluster.objects["Deployment", "billing-worker"]["spec"]["replicas"])
    scaled = inventory({"default": {"enable_keda": True, "min_replicas": 1}}, key_change="accept")
    done(run(cluster, **scaled))
    assert set(watched) == {3}
    assert "ScaledObject" in {kind for _state, kind in sent_kinds(cluster)}
    assert done(run(cluster, **scaled))["changed"] is False


def test_an_hpa_is_woken_and_gets_its_number_in_one_run() -> None:
    cluster = ModelCluster()
    done(run(cluster, **inventory({"default": {}})))
    cluster.scale("billing-worker", 0)
    config = {"default": {"scaler": "hpa", "min_replicas": 2, "max_replicas": 3}}
    woken = inventory(config, broker={"host": "redis", "password": f"{CANARY}-2"})
    done(run(cluster, **woken))
    assert cluster.objects["Deployment", "billing-worker"]["spec"]["replicas"] == 2
    cluster.scale("billing-worker", 3)
    cluster.sent.clear()
    assert done(run(cluster, **woken))["changed"] is False
    assert cluster.sent == []
    assert cluster.objects["Deployment", "billing-worker"]["spec"]["replicas"] == 3


def test_what_no_variant_owns_goes_last_and_only_on_request() -> None:
    cluster = ModelCluster()
    done(run(cluster, **FLEET))
    less = inventory({"default": {"replicas": 4}}, flower_enabled=True, key_change="accept")
    kept = done(run(cluster, **less))
    assert kept["deleted"] == []
    assert "billing-worker-high" in " ".join(kept["warnings"])
    cluster.sent.clear()
    found = done(run(cluster, **less, prune=True))
    assert sent_kinds(cluster)[0] == ("absent", "ScaledObject")
    assert "Deployment billing-worker-high" in found["deleted"]
    assert done(run(cluster, **less, prune=True))["changed"] is False


def test_absent_takes_everything_of_the_fleet_and_nothing_else() -> None:
    cluster = ModelCluster()
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-others"}, "data": {}})
    done(run(cluster, **FLEET))
    # No pod could tell what waits.
    found = done(run(cluster, state="absent", key_change="accept"))
    assert set(cluster.objects) == {("ConfigMap", "of-others")}
    assert len(found["deleted"]) > 5
    assert done(run(cluster, state="absent", key_change="accept"))["changed"] is False


def _adopting(**more: Any) -> Object:
    service = {"image": IMAGE, "app": "lms.celery", "idempotent": True}
    config = {"default": {"adopt": True, "queues": ["edx.lms.core.default"]}, "high": {}, "high_mem": {}}
    queues = {"queue_name": "edx.{service}.core.{variant}"}
    return {"services": {"lms": {**service, **queues}}, "config": {"lms": config}, "broker": {"host": "redis"}, **more}


def test_an_adopted_worker_is_narrowed_last_and_given_back_first() -> None:
    cluster = ModelCluster()
    theirs = deployment()
    cluster.put(copy.deepcopy(theirs))
    found = done(run(cluster, **_adopting(key_change="accept")))
    assert found["updated"] == ["Deployment lms-worker"]
    assert sent_kinds(cluster)[-1] == ("patched", "Deployment")
    cluster.sent.clear()
    assert done(run(cluster, **_adopting(key_change="accept")))["changed"] is False
    done(run(cluster, state="absent", key_change="accept"))
    assert sent_kinds(cluster)[0] == ("patched", "Deployment")
    (name,) = [key for key in cluster.objects if key[0] == "Deployment"]
    spec = cluster.objects[name]["spec"]["template"]["spec"]
    assert spec["containers"][0]["args"] == theirs["spec"]["template"]["spec"]["containers"][0]["args"]
    assert FLEET_LABEL not in cluster.objects[name]["metadata"]["labels"]


def test_a_list_task_that_the_api_cut_short_says_what_was_written() -> None:
    cluster = ModelCluster()
    send = cluster.send

    def failing(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
        result = send(arguments, hides, new)
        items = result["result"]["results"]
        if arguments.get("apply") and len(items) > 2:
            items[2] = {"changed": False, "result": {}, "error": {"msg": 'quota "exceeded"'}}
        return result

    cluster.send = failing  # type: ignore[method-assign]
    found = run(cluster, **FLEET)
    assert found["failed"]
    assert "The API refused 1 of" in found["msg"]
    assert 'quota "exceeded"' in found["msg"]
    assert f"{len(found['created'])} were written" in found["msg"]


# Properties

_KEYS: list[Object] = [
    {},
    {"replicas": 2},
    {"enable_keda": True, "min_replicas": 1},
    {"enable_keda": True},
    {"scaler": "hpa", "min_replicas": 1, "max_replicas": 3},
    {"enable_keda": True, "secret_env": {"KEY": CANARY}},
    {"enabled": False},
]
_CONFIGS = st.dictionaries(st.sampled_from(["default", "high", "low"]), st.sampled_from(_KEYS), min_size=1)
_INVENTORIES = st.fixed_dictionaries(
    {
        "config": _CONFIGS,
        "broker": st.sampled_from([{"host": "redis"}, {"host": "redis", "password": CANARY}]),
        "flower_enabled": st.booleans(),
        "prune": st.booleans(),
        "key_change": st.sampled_from(["stop", "accept"]),
    }
)


def consumed(cluster: ModelCluster) -> set[str]:
    """Queues that a Deployment consumes."""
    found: set[str] = set()
    for (kind, _name), item in cluster.objects.items():
        if kind == "Deployment":
            for container in item["spec"]["template"]["spec"]["containers"]:
                words = [str(word) for word in container.get("args") or []]
                found |= {queue for word in words if word.startswith("--queues=") for queue in word[9:].split(",")}
    return found


def blind_scalers(cluster: ModelCluster) -> list[str]:
    """ScaledObjects that may go to zero while their workers keep what they hold where nothing looks."""
    found = []
    for (kind, name), item in cluster.objects.items():
        if kind != "ScaledObject" or item["spec"].get("minReplicaCount") != 0:
            continue
        worker = cluster.objects["Deployment", item["spec"]["scaleTargetRef"]["name"]]
        key = worker["metadata"].get("annotations", {}).get(UNACKED_ANNOTATION, "").rpartition(" ")[2]
        lists = {trigger["metadata"].get("listName") for trigger in item["spec"]["triggers"]}
        if worker["spec"]["replicas"] and not (key and key in lists):
            found.append(name)
    return found


def _variables(drawn: Object) -> Object:
    rest = {name: value for name, value in drawn.items() if name not in ("config", "broker")}
    return inventory(drawn["config"], broker=drawn["broker"], **rest)


@settings(max_examples=12)
@given(_INVENTORIES, _INVENTORIES, st.data())
def test_whatever_runs_a_run_keeps_consumers_and_sight_and_a_second_one_sends_nothing(
    before: Object, after: Object, data: st.DataObject
) -> None:
    cluster = ModelCluster()
    foreign = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-others"}, "data": {"a": "1"}},
        deployment("their-worker"),
    ]
    for item in foreign:
        cluster.put(copy.deepcopy(item))
    run(cluster, **_variables(before))
    for kind, name in list(cluster.objects):
        if kind == "Deployment" and name.startswith("billing-worker"):
            cluster.scale(name, data.draw(st.integers(0, 3)))
    untouched = {key: copy.deepcopy(item) for key, item in cluster.objects.items() if "billing" not in key[1]}
    # A variant's queue has its name. What is switched off or not in the inventory is no known queue any more.
    wanted = {name for name, keys in after["config"].items() if keys.get("enabled", True)}
    cluster.watch = _checks(cluster, consumed(cluster) & wanted, sees=after["key_change"] == "stop")
    first = run(cluster, **_variables(after))
    for key in (("ConfigMap", "of-others"), ("Deployment", "their-worker")):
        assert cluster.objects[key] == untouched[key]
    if first.get("failed"):
        # Refused before anything was sent.
        assert first["problems"]
        return
    cluster.sent.clear()
    second = run(cluster, **_variables(after))
    assert cluster.sent == []
    assert second["changed"] is False


def _checks(cluster: ModelCluster, kept: set[str], sees: bool) -> Callable[[], None]:
    """What holds after every single object that is written.

    :param kept: queues that have a consumer and stay known.
    :param sees: whether scalers must not lose sight; with key_change: accept a person has said that they may.
    """

    def look() -> None:
        assert kept <= consumed(cluster)
        assert not sees or blind_scalers(cluster) == []

    return look
