# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs leave in the history of a fleet: who changed what and when, and nothing where nothing was changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.history import (
    LONGEST,
    Changes,
    Record,
    records_from,
    with_record,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, operate, refused, run

NAME = ("ConfigMap", "shop-celery-history")
CANARY = "canary-Tr0ub4dor"
NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
FLEET: Object = {
    "services": {"lms": {"image": IMAGE, "app": "lms.celery", "queue_name": "{service}.{variant}"}},
    "config": {"lms": {"default": {"replicas": 1}, "high": {**SCALED, "secret_env": {"KEY": CANARY}}}},
    "broker": {"host": "redis", "password": CANARY},
    "history": 20,
}


def at(hours: float) -> Callable[[], datetime]:
    return lambda: NOON + timedelta(hours=hours)


def deploy(cluster: ModelCluster, hours: float = 0, **variables: Any) -> Object:
    return run(cluster, clock=at(hours), **{**FLEET, **variables})


def replicas(number: int) -> Object:
    """The inventory with another number of pods."""
    return {"config": {"lms": {**FLEET["config"]["lms"], "default": {"replicas": number}}}}


def kept(cluster: ModelCluster) -> list[Object]:
    """The history as it is in the cluster, the newest first."""
    found: list[Object] = json.loads(cluster.objects[NAME]["data"]["history.json"])
    return found


def without_history(cluster: ModelCluster) -> set[tuple[str, str]]:
    return set(cluster.objects) - {NAME}


def test_a_run_says_when_by_whom_with_what_and_what_it_has_changed() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    (record,) = kept(cluster)
    version = yaml.safe_load((Path(__file__).parents[3] / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert (record["time"], record["what"], record["collection"]) == ("2026-11-30T12:00:00Z", "deploy", version)
    assert record["failed"] == ""
    names = record["created"]["names"]
    assert set(names) == {f"{kind} {name}" for kind, name in without_history(cluster)}
    assert record["created"]["count"] == len(names)
    done(deploy(cluster, hours=1, **replicas(2)))
    assert [item["time"] for item in kept(cluster)] == ["2026-11-30T13:00:00Z", "2026-11-30T12:00:00Z"]
    assert kept(cluster)[0]["changed"] == {"count": 1, "names": ["Deployment lms-worker"]}


@pytest.mark.parametrize("checks", [False, True])
def test_a_run_that_changes_nothing_leaves_nothing_and_sends_nothing(checks: bool) -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    before = kept(cluster)
    cluster.sent.clear()
    found = done(deploy(cluster, hours=1, prune=True, checks=checks))
    assert not found["changed"]
    assert not cluster.sent
    assert kept(cluster) == before
    assert not [text for text in found.get("warnings", ()) if "celery-history" in text]


def test_check_mode_keeps_no_record() -> None:
    cluster = ModelCluster()
    done(run(cluster, checks=True, **FLEET))
    assert NAME not in cluster.objects


def test_the_history_counts_neither_as_an_object_of_the_run_nor_as_a_change() -> None:
    cluster = ModelCluster()
    found = done(deploy(cluster))
    assert "shop-celery-history" not in json.dumps(found)


def test_playbooks_of_day_two_are_told_apart() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    orders: dict[str, Object] = {"pause": {}, "resume": {}, "boost": {"boost_min": 2, "boost_until": "2h"}}
    for operation, more in orders.items():
        done(operate(cluster, operation, clock=at(1), by="anna", **FLEET, **more))
    assert [(item["what"], item["by"]) for item in kept(cluster)] == [
        ("boost", "anna"),
        ("resume", "anna"),
        ("pause", "anna"),
        ("deploy", ""),
    ]
    assert kept(cluster)[0]["changed"]["names"] == ["ScaledObject lms-worker-high-scaledobject"]


def test_a_run_that_failed_after_it_changed_something_says_why() -> None:
    cluster = ModelCluster()
    send = cluster.send

    def failing(arguments: Object, hides: bool = False, new: Any = ()) -> Object:
        found = send(arguments, hides, new)
        if any(item["kind"] == "Deployment" for item in arguments["definition"]):
            found["result"]["results"][-1] = {"changed": False, "result": {}, "error": {"msg": "Forbidden: quota"}}
        return found

    cluster.send = failing  # type: ignore[method-assign]
    refused(deploy(cluster))
    assert "Forbidden: quota" in kept(cluster)[0]["failed"]
    assert kept(cluster)[0]["created"]["count"] > 0


def test_a_run_that_was_refused_before_it_began_leaves_nothing() -> None:
    cluster = ModelCluster()
    refused(deploy(cluster, services={"lms": {"image": IMAGE, "imag": "x"}}))
    assert NAME not in cluster.objects


def test_a_removal_takes_the_history_away_last() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    gone: list[str] = []
    cluster.watch = lambda: gone.append("yes" if NAME in cluster.objects else "no")
    found = done(deploy(cluster, state="absent", key_change="accept"))
    assert not cluster.objects
    assert gone.count("no") == 1
    assert "ConfigMap shop-celery-history" in found["deleted"]


def test_a_removal_that_ends_early_is_in_the_history() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    send = cluster.send

    def failing(arguments: Object, hides: bool = False, new: Any = ()) -> Object:
        if arguments.get("state") == "absent" and arguments["definition"][0]["kind"] == "Deployment":
            return {"failed": True, "msg": "Forbidden: no"}
        return send(arguments, hides, new)

    cluster.send = failing  # type: ignore[method-assign]
    refused(deploy(cluster, hours=1, state="absent", key_change="accept"))
    assert (kept(cluster)[0]["what"], kept(cluster)[0]["removed"]["count"]) == ("remove", 1)
    cluster.send = send  # type: ignore[method-assign]
    done(deploy(cluster, hours=2, state="absent", key_change="accept"))
    assert not cluster.objects


def test_a_removal_that_has_taken_the_history_away_does_not_bring_it_back() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    sent = cluster._sent

    def failing(definition: Object, arguments: Object) -> Object:
        if definition["kind"] == "Deployment" and arguments.get("state") == "absent":
            return {"changed": False, "result": {}, "error": {"msg": "Forbidden: no"}}
        return sent(definition, arguments)

    cluster._sent = failing  # type: ignore[method-assign]
    refused(deploy(cluster, hours=1, state="absent", key_change="accept"))
    assert {kind for kind, _name in cluster.objects} == {"Deployment"}


def test_prune_leaves_the_history_and_switching_it_off_takes_it_away() -> None:
    cluster = ModelCluster()
    done(deploy(cluster))
    done(deploy(cluster, prune=True, **replicas(2)))
    assert NAME in cluster.objects
    found = done(deploy(cluster, history=0))
    assert NAME not in cluster.objects
    assert "ConfigMap shop-celery-history" in found["deleted"]
    assert not done(deploy(cluster, history=0))["changed"]


def test_only_so_many_runs_are_kept() -> None:
    cluster = ModelCluster()
    for number in range(5):
        done(deploy(cluster, hours=number, history=3, **replicas(number + 1)))
    assert [item["time"][11:13] for item in kept(cluster)] == ["16", "15", "14"]


class _Rival(ModelCluster):
    """Another run writes its record between every reading and writing of this one."""

    times = 0

    def read_contents(self, kind: str, selector: str) -> dict[str, Object]:
        found = super().read_contents(kind, selector)
        if self.times and NAME in self.objects and self.sent:
            self.times -= 1
            item = json.loads(json.dumps(self.objects[NAME]))
            rival = Record(time=f"rival {self.times}", what="deploy")
            item["data"]["history.json"] = with_record(item["data"]["history.json"], rival, 20)
            self._stored(NAME, self.objects[NAME], item)
        return found


class _Faster(ModelCluster):
    """Another run makes the history between the first reading and the first writing of this one."""

    def read_contents(self, kind: str, selector: str) -> dict[str, Object]:
        found = super().read_contents(kind, selector)
        if self.sent and NAME not in self.objects:
            rival = Record(time="rival", what="deploy")
            metadata = {"name": NAME[1], "labels": {"celery.queueops.io/fleet": "shop"}}
            self.put({"kind": NAME[0], "metadata": metadata, "data": {"history.json": with_record("", rival, 20)}})
        return found


def test_the_first_records_of_two_runs_at_the_same_time_are_both_kept() -> None:
    cluster = _Faster()
    found = done(deploy(cluster))
    assert [item["time"] for item in kept(cluster)] == ["2026-11-30T12:00:00Z", "rival"]
    assert not any("lacks this run" in text for text in found["warnings"])


@pytest.mark.parametrize(("times", "is_kept"), [(1, True), (3, True), (99, False)])
def test_runs_at_the_same_time_lose_no_record_of_each_other(times: int, is_kept: bool) -> None:
    cluster = _Rival()
    done(deploy(cluster))
    cluster.sent.clear()
    cluster.times = times
    found = done(deploy(cluster, hours=1, **replicas(2)))
    records = kept(cluster)
    rivals = [item for item in records if item["time"].startswith("rival")]
    assert bool(rivals)
    assert any(item["time"] == "2026-11-30T13:00:00Z" for item in records) == is_kept
    assert any("The history of the fleet lacks this run" in text for text in found.get("warnings", ())) != is_kept
    if is_kept:
        assert len(rivals) == times


@pytest.mark.parametrize("fault", ["refused", "unreadable", "foreign", "whole"])
def test_a_record_that_cannot_be_kept_is_told_and_fails_nothing(fault: str) -> None:
    cluster = ModelCluster()
    sent, read, send = cluster._sent, cluster.read_contents, cluster.send
    if fault == "foreign":
        cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME[1]}, "data": {"a": "b"}})

    def refusing(definition: Object, arguments: Object) -> Object:
        if definition["metadata"]["name"] == NAME[1]:
            reason = "Conflict: it exists" if fault == "foreign" else "Forbidden: configmaps is forbidden"
            return {"changed": False, "result": {}, "error": {"msg": reason}}
        return sent(definition, arguments)

    def unreadable(kind: str, selector: str) -> dict[str, Object]:
        if kind == "ConfigMap" and cluster.sent:
            raise ClusterError("https://api does not allow to list ConfigMap in shop: Forbidden.")
        return read(kind, selector)

    def failing(arguments: Object, hides: bool = False, new: Any = ()) -> Object:
        if arguments["definition"][0]["metadata"]["name"] == NAME[1]:
            return {"failed": True, "msg": "Forbidden: configmaps is forbidden"}
        return send(arguments, hides, new)

    cluster._sent = refusing if fault in ("refused", "foreign") else sent  # type: ignore[method-assign]
    cluster.read_contents = unreadable if fault == "unreadable" else read  # type: ignore[method-assign]
    cluster.send = failing if fault == "whole" else send  # type: ignore[method-assign]
    found = done(deploy(cluster))
    assert found["changed"]
    (said,) = [text for text in found["warnings"] if "history" in text]
    assert said.startswith("one: The history of the fleet lacks this run: ConfigMap shop-celery-history: ")
    assert "orbid" in said or "Conflict" in said
    assert "celery_workers_history: 0" in said


def test_a_server_that_is_gone_is_not_asked_again() -> None:
    cluster = ModelCluster()
    asked: list[str] = []

    def gone(arguments: Object, hides: bool = False, new: Any = ()) -> Object:
        asked.append(str(arguments["definition"][0]["kind"]))
        lost = {"changed": False, "result": {}, "error": {"msg": "Connection refused"}}
        first = ModelCluster.send(cluster, {**arguments, "definition": arguments["definition"][:1]}, hides)
        return {"result": {"results": [*first["result"]["results"], *[lost] * (len(arguments["definition"]) - 1)]}}

    cluster.send = gone  # type: ignore[method-assign]
    assert "could not be reached any more" in refused(deploy(cluster))
    assert asked == ["Secret"]


def test_no_secret_value_is_in_the_history_and_none_decides_on_the_fingerprint() -> None:
    cluster, other = ModelCluster(), ModelCluster()
    done(deploy(cluster))
    done(deploy(other, broker={"host": "redis", "password": "another"}))
    assert CANARY not in json.dumps(cluster.objects[NAME])
    assert kept(cluster)[0]["inventory"] == kept(other)[0]["inventory"]


def test_the_fingerprint_is_of_what_an_inventory_means_and_not_of_where_it_is_written() -> None:
    plain = {**FLEET, "config": {"lms": {"high": {"replicas": 2}, "default": {"replicas": 1}}}}
    layered = {
        **plain,
        "config": {"lms": {"default": {}, "high": {"replicas": 2}}},
        "config__90_host": {"lms": {"default": {"replicas": 1}}},
    }
    prints = []
    for variables in (plain, layered, {**plain, **replicas(3)}):
        cluster = ModelCluster()
        done(deploy(cluster, **variables))
        prints.append(kept(cluster)[0]["inventory"])
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


TEXTS = st.text(max_size=300)
RECORDS = st.builds(
    Record,
    time=TEXTS,
    what=TEXTS,
    by=TEXTS,
    failed=TEXTS,
    created=st.lists(TEXTS, max_size=30).map(Changes.of),
    removed=st.integers(0, 90).map(lambda count: Changes.of(f"Deployment {'x' * 60}{n}" for n in range(count))),
)


@settings(max_examples=20, deadline=None)
@given(record=RECORDS, most=st.integers(1, 2000))
def test_a_history_is_read_as_it_was_written_and_never_grows_too_long(record: Record, most: int) -> None:
    text = ""
    for _number in range(30):
        text = with_record(text, record, most)
        assert len(text.encode()) <= LONGEST
    records = records_from(text)
    assert records[0] == record
    assert len(records) <= most
    assert {item.removed.count for item in records} == {record.removed.count}


@pytest.mark.parametrize("text", ["", "no JSON", "{}", "[1, null, {}]", '[{"time": 5, "what": "deploy"}]', "[[]]"])
def test_what_others_wrote_there_is_no_record(text: str) -> None:
    assert records_from(text) == ()
    assert len(records_from(with_record(text, Record("now", "deploy"), 5))) == 1
