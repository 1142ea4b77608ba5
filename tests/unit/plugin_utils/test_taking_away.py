# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that go and queues that are left: no message stays where nothing consumes it, unless that is accepted."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, done, refused, run
from tests.unit.running_pods import MARK, let_pods_say, pod_of

SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
FLEET: Object = {
    "services": {"lms": {"image": IMAGE, "app": "lms.celery", "queue_name": "{service}.{variant}"}},
    "config": {"lms": {"default": {"replicas": 1}, "low": SCALED}},
    "broker": {"host": "redis"},
}
WITHOUT_LOW: Object = {**FLEET, "config": {"lms": {"default": {"replicas": 1}}}}
LOW = "lms-worker-low"


@dataclass
class Site:
    """A namespace whose pods answer for one broker.

    :param waiting: queue to the number of messages in it.
    :param running: pod to the tasks that it runs.
    :param strangers: queue to nodes of workers that no pod of the namespace runs.
    :param arrivals: what comes into the queues after each time that they were counted.
    :param story: what was sent and told to pods, in its order.
    :param asked: pods that were asked or told something.
    """

    cluster: ModelCluster = field(default_factory=ModelCluster)
    waiting: dict[str, int] = field(default_factory=dict)
    running: dict[str, list[str]] = field(default_factory=dict)
    strangers: dict[str, list[str]] = field(default_factory=dict)
    scheduled: int = 0
    held: int = 0
    arrivals: list[dict[str, int]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    is_broken: bool = False
    is_silent: bool = False
    finishes: bool = False

    def __post_init__(self) -> None:
        self.cluster.client = SimpleNamespace(client=SimpleNamespace(client=None), configuration=None)
        send = self.cluster.send

        def sent(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
            state = arguments.get("state", "present")
            kinds = dict.fromkeys(item["kind"] for item in arguments["definition"])
            self.story.append(f"{state} {', '.join(kinds)}")
            return send(arguments, hides, new)

        self.cluster.send = sent  # type: ignore[method-assign]

    def deploy(self, **variables: Any) -> Object:
        """A run after which each Deployment has the pods that it asks for."""
        self.story.clear()
        self.asked.clear()
        found = run(self.cluster, **{**FLEET, **variables})
        self.start_pods()
        return found

    def start_pods(self) -> None:
        for key in [key for key in self.cluster.objects if key[0] == "Pod"]:
            del self.cluster.objects[key]
        deployments = [item for (kind, _name), item in self.cluster.objects.items() if kind == "Deployment"]
        for item in deployments:
            for number in range(item["spec"].get("replicas", 1)):
                self.cluster.put(pod_of(item, f"{item['metadata']['name']}-{number}"))

    def says(self, pod: str, question: dict[str, Any]) -> tuple[str, str]:
        self.asked.append(pod)
        answer: dict[str, Any] = {}
        if question["moves_to"]:
            self.story.append(f"move {', '.join(question['queues'])} to {question['moves_to']}")
            answer["moved"] = 0
            for queue in question["queues"] if not self.is_broken else ():
                number = self.waiting.pop(queue, 0)
                self.waiting[question["moves_to"]] = self.waiting.get(question["moves_to"], 0) + number
                answer["moved"] += number
        if question["leaves"]:
            answer["by_queue"] = {queue: self.waiting.get(queue, 0) for queue in question["queues"]}
            answer["consumers"] = {
                queue: self.strangers[queue] for queue in question["queues"] if queue in self.strangers
            }
            answer["scheduled"] = self.scheduled
            self.waiting |= self.arrivals.pop(0) if self.arrivals else {}
        if question["hash"]:
            answer["held"] = self.held
        if question["consumes"]:
            self.story.append(question["consumes"])
            # Workers that are told to take nothing finish what they run.
            self.running = {} if self.finishes else self.running
        if question["pods"] and self.is_silent:
            answer["error"] = f"no answer from {question['pods'][0]}"
        elif question["pods"]:
            answer["running"] = [task for pod in question["pods"] for task in self.running.get(pod, [])]
        return f"{MARK}{json.dumps(answer)}\n", ""

    @property
    def consumed(self) -> set[str]:
        """Queues that some Deployment consumes."""
        found = set()
        for (kind, _name), item in self.cluster.objects.items():
            if kind == "Deployment":
                args = item["spec"]["template"]["spec"]["containers"][0].get("args", [])
                found |= {queue for word in args if word.startswith("--queues=") for queue in word[9:].split(",")}
        return found

    @property
    def has_low(self) -> bool:
        return ("Deployment", LOW) in self.cluster.objects


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    let_pods_say(monkeypatch, made.says)
    done(made.deploy())
    return made


def test_prune_stops_before_a_queue_with_messages_loses_its_worker(site: Site) -> None:
    site.waiting = {"lms.low": 12, "lms.default": 5}
    said = refused(site.deploy(**WITHOUT_LOW, prune=True))
    assert said.startswith(
        "lms/low: 12 messages wait in queue lms.low, and prune removes Deployment lms-worker-low, after which no "
        "worker consumes it."
    )
    assert "celery_workers_prune: move" in said
    assert "celery_workers_key_change: accept" in said
    assert "lms.default" not in said
    assert site.story == []
    assert site.has_low


@pytest.mark.parametrize("low", [None, {"enabled": False, **SCALED}])
def test_prune_goes_on_once_the_queue_is_empty(site: Site, low: Object | None) -> None:
    config = {"lms": {"default": {"replicas": 1}, **({"low": low} if low else {})}}
    done(site.deploy(config=config, prune=True))
    assert not site.has_low
    assert site.story[-1].startswith("absent ")


def test_a_run_without_prune_leaves_the_worker_and_asks_nothing(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    done(site.deploy(**WITHOUT_LOW))
    assert site.has_low


def test_what_is_left_may_be_accepted(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    done(site.deploy(**WITHOUT_LOW, prune=True, key_change="accept"))
    assert not site.has_low


def test_another_variant_that_consumes_the_queue_is_enough(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    config = {"lms": {"default": {"replicas": 1, "queues": ["lms.default", "lms.low"]}}}
    done(site.deploy(config=config, prune=True))
    assert not site.has_low


def test_a_worker_of_others_that_consumes_the_queue_is_enough_and_is_named(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    site.strangers = {"lms.low": ["celery@elsewhere"]}
    found = done(site.deploy(**WITHOUT_LOW, prune=True))
    assert "lms/low: 12 messages wait in queue lms.low, which celery@elsewhere consumes too." in found["notes"]


def test_a_renamed_variant_and_a_moved_queue_leave_nothing_behind(site: Site) -> None:
    site.waiting = {"lms.low": 1}
    renamed = {"lms": {"default": {"replicas": 1}, "slow": SCALED}}
    assert "1 message waits in queue lms.low" in refused(site.deploy(config=renamed, prune=True))
    moved = {"lms": {"default": {"replicas": 1}, "low": {**SCALED, "queues": ["lms.later"]}}}
    said = refused(site.deploy(config=moved))
    assert "1 message waits in queue lms.low, and this run changes Deployment lms-worker-low" in said
    kept = {"lms": {"default": {"replicas": 1}, "slow": {**SCALED, "queues": ["lms.slow", "lms.low"]}}}
    done(site.deploy(config=kept, prune=True))
    assert not site.has_low


def test_running_tasks_count_as_well(site: Site) -> None:
    site.running = {f"{LOW}-0": ["lms.grade", "lms.grade"]}
    said = refused(site.deploy(**WITHOUT_LOW, prune=True))
    assert "lms/low: the workers that go run lms.grade, and prune removes Deployment lms-worker-low" in said


def test_workers_that_do_not_say_what_they_run_stop_the_run(site: Site) -> None:
    site.is_silent = True
    said = refused(site.deploy(**WITHOUT_LOW, prune=True))
    assert (
        "lms/low: what the workers that go run is not known (no answer from lms-worker-low-0), and prune "
        "removes" in said
    )


def test_messages_are_moved_after_their_worker_has_finished_and_before_it_goes(site: Site) -> None:
    site.waiting = {"lms.low": 12, "lms.default": 5}
    found = done(site.deploy(**WITHOUT_LOW, prune="move", move_to="lms.default"))
    assert site.waiting == {"lms.default": 17}
    assert not site.has_low
    last = site.story[site.story.index("absent ScaledObject") :]
    assert last[:4] == ["absent ScaledObject", "patched Deployment", "pause", "move lms.low to lms.default"]
    assert last[4].startswith("absent Deployment")
    assert "Moved 12 messages from lms.low to lms.default." in found["notes"]


def test_nothing_is_deleted_when_messages_could_not_be_moved(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    site.is_broken = True
    said = refused(site.deploy(**WITHOUT_LOW, prune="move", move_to="lms.default"))
    assert "Moved 0 messages from lms.low to lms.default, and then it ended: 12 are still there." in said
    assert site.has_low
    assert site.story[-2:] == ["resume", "patched Deployment"]


def test_tasks_that_wait_for_their_eta_are_no_reason_to_move_the_rest(site: Site) -> None:
    site.scheduled = 3
    said = refused(site.deploy(**WITHOUT_LOW, prune="move", move_to="lms.default"))
    assert "lms/low: its workers hold 3 tasks until their ETA" in said
    assert site.has_low


def test_check_mode_moves_nothing(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    found = done(site.deploy(**WITHOUT_LOW, prune="move", move_to="lms.default", checks=True))
    assert site.waiting == {"lms.low": 12}
    assert "Would move what waits in lms.low to lms.default." in found["notes"]


def test_a_move_without_a_target_is_refused(site: Site) -> None:
    assert "celery_workers_move_to: this is not set" in refused(site.deploy(**WITHOUT_LOW, prune="move"))


def test_what_comes_while_the_run_works_stops_it_before_anything_is_removed(site: Site) -> None:
    site.arrivals = [{"lms.low": 3}]
    said = refused(site.deploy(**WITHOUT_LOW, prune=True))
    assert said.startswith("Everything is applied, and nothing that no variant owns is removed, because work has come")
    assert "lms/low: 3 messages wait in queue lms.low, and prune removes Deployment lms-worker-low" in said
    assert site.has_low


@pytest.mark.parametrize(
    "variables",
    [
        {**WITHOUT_LOW, "prune": True},
        {**WITHOUT_LOW, "prune": "move", "move_to": "lms.default"},
        {"config": {"lms": {"default": {"replicas": 1}, "low": {**SCALED, "queues": ["lms.later"]}}}},
    ],
)
def test_what_comes_at_the_very_last_is_told_with_its_number_and_queue(site: Site, variables: Object) -> None:
    is_counted_twice = variables.get("prune") is True
    site.arrivals = [*([{}] if is_counted_twice else []), {"lms.low": 3}]
    if variables.get("prune") == "move":
        site.arrivals.insert(0, {})
    found = done(site.deploy(**variables))
    assert (
        "one: lms/low: 3 messages came into queue lms.low while it lost its last worker, and no worker consumes it now."
        in str(found["warnings"])
    )


@pytest.mark.parametrize("variables", [{**WITHOUT_LOW, "prune": True}, {"state": "absent"}])
def test_what_was_accepted_to_be_left_is_told_with_its_number_and_queue(site: Site, variables: Object) -> None:
    """Also while the workers that go still say that they consume it."""
    site.waiting = {"lms.low": 12}
    site.strangers = {"lms.low": [f"edx.low@{LOW}-5d9c7b9d84-x2x7k", f"celery@edx.low.{LOW}-5d9c7b9d84-zzzzz"]}
    found = done(site.deploy(**variables, key_change="accept"))
    assert "lms/low: 12 messages stay in queue lms.low, which no worker consumes." in found["notes"]
    assert not site.has_low


def test_what_another_worker_consumes_does_not_stay(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    for node in ("celery@elsewhere", f"celery@{LOW}-more-5d9c7b9d84-x2x7k"):
        site.strangers = {"lms.low": [node]}
        found = done(site.deploy(**WITHOUT_LOW, prune=True, key_change="accept"))
        assert not [text for text in found["notes"] if "no worker consumes" in text]
        done(site.deploy())


def test_what_was_accepted_and_cannot_be_counted_is_told_and_stops_nothing(site: Site) -> None:
    for name in ("lms-worker", LOW):
        site.cluster.scale(name, 0)
    site.start_pods()
    found = done(site.deploy(state="absent", key_change="accept"))
    assert "lms/low: how many messages stay in queue lms.low is not known (no pod is ready" in str(found["notes"])
    assert not site.has_low


def test_what_comes_while_a_removal_works_stops_it(site: Site) -> None:
    site.arrivals = [{"lms.low": 3}]
    said = refused(site.deploy(state="absent"))
    assert said.startswith("The scalers of busy workers are removed, and nothing else is, because work has come since")
    assert site.story == ["absent ScaledObject"]
    site.waiting.clear()
    done(site.deploy(state="absent"))
    assert not site.has_low


def test_check_mode_counts_once(site: Site) -> None:
    site.arrivals = [{"lms.low": 3}]
    done(site.deploy(**WITHOUT_LOW, prune=True, checks=True))
    assert site.asked == [f"{LOW}-0"]


# The whole fleet


def test_a_removal_says_what_goes_and_stops_where_messages_would_be_left(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.waiting = {"lms.low": 12}
    said = refused(site.deploy(state="absent"))
    assert said.startswith("lms/low: 12 messages wait in queue lms.low, and this removal deletes Deployment")
    assert "removes Deployment (2): lms-worker, lms-worker-low" in capsys.readouterr().out
    assert site.story == []
    done(site.deploy(state="absent", key_change="accept"))
    assert not site.has_low


def test_a_removal_says_which_kinds_it_may_not_look_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Green, and an Ingress of the fleet would stay unseen."""
    listed = site.cluster.list_objects

    def refusing(kind: str, *given: Any, **more: Any) -> list[Object]:
        if kind == "Ingress":
            raise ClusterError("Forbidden")
        return listed(kind, *given, **more)

    monkeypatch.setattr(site.cluster, "list_objects", refusing)
    (warning,) = done(site.deploy(state="absent"))["warnings"]
    assert "may not list Ingress in namespace shop. What the fleet has of these stays there." in warning


def test_a_removal_moves_messages_too(site: Site) -> None:
    site.waiting = {"lms.low": 12}
    done(site.deploy(state="absent", prune="move", move_to="elsewhere"))
    assert site.waiting["elsewhere"] == 12
    assert not [key for key in site.cluster.objects if key[0] in ("Deployment", "ScaledObject")]


def test_a_removal_lets_workers_finish_first_where_it_is_asked_to(site: Site) -> None:
    site.running = {f"{LOW}-0": ["lms.slow"]}
    assert "the workers that go run lms.slow" in refused(site.deploy(state="absent"))
    site.finishes = True
    done(site.deploy(state="absent", key_change="drain"))
    story = site.story
    assert story[0] == "absent ScaledObject"
    assert story.index("pause") < next(at for at, line in enumerate(story) if line.startswith("absent Deployment"))
    assert not site.has_low


def test_a_removal_that_lets_workers_finish_deletes_none_that_still_holds_something(site: Site) -> None:
    """Such as tasks for later: no worker runs them, and no list has them."""
    config = {"lms": {"default": {"replicas": 1}, "low": {**SCALED, "idempotent": True}}}
    done(site.deploy(config=config))
    site.finishes, site.held = True, 3
    assert "hold 3 messages" in refused(site.deploy(state="absent"))
    said = refused(site.deploy(state="absent", key_change="drain"))
    assert "The scalers are removed, and nothing else is." in said
    # It has been run with that already.
    assert "celery_workers_key_change: drain" not in said
    assert "hold 3 messages" in said
    # The note that they take nothing goes once they take again.
    assert site.story[-2:] == ["resume", "patched Deployment"]
    assert site.has_low
    site.held = 0
    done(site.deploy(state="absent", key_change="drain"))
    assert not site.has_low


def test_what_cannot_be_asked_stops_the_run_which_says_how_to_go_on(site: Site) -> None:
    site.cluster.scale("lms-worker", 0)
    site.cluster.scale(LOW, 0)
    site.start_pods()
    said = refused(site.deploy(state="absent"))
    assert "lms/low: how many messages wait in queue lms.low is not known (no pod is ready that could be asked)" in said
    assert "kubectl scale deployment lms-worker-low --replicas 1" in said
    assert "celery_workers_key_change: accept" in said
    assert site.has_low


#: Conditions and numbers of a Deployment that has not come up yet, and of one that has been up before.
NEVER_UP = {
    "conditions": [{"type": "Available", "status": "False"}, {"type": "Progressing", "reason": "ReplicaSetUpdated"}]
}
DOWN_NOW = {
    "conditions": [
        {"type": "Available", "status": "False"},
        {"type": "Progressing", "reason": "NewReplicaSetAvailable"},
    ]
}


@pytest.mark.parametrize(("status", "goes"), [(NEVER_UP, True), (DOWN_NOW, False)])
def test_workers_that_have_never_been_up_may_go(site: Site, status: Object, goes: bool) -> None:
    site.start_pods()
    for name in ("lms-worker", LOW):
        site.cluster.objects["Deployment", name]["status"] = status
    for key in [key for key in site.cluster.objects if key[0] == "Pod"]:
        del site.cluster.objects[key]
    found = site.deploy(state="absent")
    assert site.has_low is not goes
    if goes:
        assert "lms/low: its workers have never been up, so queue lms.low lost no consumer" in str(done(found)["notes"])
    else:
        assert "how many messages wait in queue lms.low is not known" in refused(found)


def test_a_container_without_celery_was_no_consumer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_celery(_pod: str, _question: dict[str, Any]) -> tuple[str, str]:
        return f'{MARK}{{"running": [], "error": "there is no Python"}}\n', ""

    let_pods_say(monkeypatch, without_celery)
    assert "there is no Celery in its image" in str(done(site.deploy(state="absent"))["notes"])
    assert not site.has_low


def test_a_pod_of_the_same_service_can_be_asked_instead(site: Site) -> None:
    site.waiting = {"lms.low": 2}
    site.cluster.scale(LOW, 0)
    site.start_pods()
    assert "2 messages wait in queue lms.low" in refused(site.deploy(**WITHOUT_LOW, prune=True))


@pytest.mark.parametrize(
    ("changes", "is_believed"),
    [({}, True), ({"Active": "True"}, False), ({"Ready": "False"}, False), ({"Active": "Unknown"}, False)],
)
def test_a_scaler_that_keeps_no_pod_says_that_nothing_waits(site: Site, changes: Object, is_believed: bool) -> None:
    for name in ("lms-worker", LOW):
        site.cluster.scale(name, 0)
    site.start_pods()
    conditions = {"Ready": "True", "Active": "False", "Paused": "False", **changes}
    scaler = site.cluster.objects["ScaledObject", f"{LOW}-scaledobject"]
    scaler["status"] = {"conditions": [{"type": name, "status": value} for name, value in conditions.items()]}
    found = site.deploy(**WITHOUT_LOW, prune=True)
    assert bool(found.get("failed")) != is_believed


def test_the_volume_of_flower_stays_until_it_is_asked_for(site: Site) -> None:
    flower: Object = {"flower_enabled": True, "flower": {"password": "a-b", "persistence": {"size": "1Gi"}}}
    done(site.deploy(**flower))
    claims = [name for kind, name in site.cluster.objects if kind == "PersistentVolumeClaim"]
    assert len(claims) == 1
    off = done(site.deploy())
    assert ("PersistentVolumeClaim", claims[0]) in site.cluster.objects
    assert any(f"PersistentVolumeClaim {claims[0]} stays" in text for text in off["notes"])
    removed = done(site.deploy(state="absent"))
    assert {kind for kind, _name in site.cluster.objects} == {"PersistentVolumeClaim"}
    assert any("celery_workers_remove_data: true" in text for text in removed["notes"])
    done(site.deploy(state="absent", remove_data=True))
    assert not site.cluster.objects


VARIANTS = st.dictionaries(
    st.sampled_from(["default", "high", "low"]),
    st.fixed_dictionaries({}, optional={"enable_keda": st.just(True), "min_replicas": st.just(1)}).map(dict),
    min_size=1,
)


@settings(max_examples=20, deadline=None)
@given(
    before=VARIANTS,
    after=VARIANTS,
    extra=st.lists(st.sampled_from(["lms.default", "lms.high", "lms.low"]), max_size=2, unique=True),
    waiting=st.dictionaries(st.sampled_from(["lms.default", "lms.high", "lms.low"]), st.integers(1, 9)),
    prune=st.sampled_from([False, True, "move"]),
)
def test_after_any_run_each_queue_with_messages_has_a_consumer(
    before: Object, after: Object, extra: list[str], waiting: dict[str, int], prune: Any
) -> None:
    """And none of the messages is gone."""
    with pytest.MonkeyPatch.context() as patch:
        site = Site()
        let_pods_say(patch, site.says)
        if site.deploy(config={"lms": before}).get("failed"):
            return
        site.waiting = {queue: number for queue, number in waiting.items() if queue in site.consumed}
        count = sum(site.waiting.values())
        first = sorted(after)[0]
        queues = list(dict.fromkeys([f"lms.{first}", *(queue for queue in extra if queue[4:] not in after)]))
        config = {"lms": {**after, first: {**after[first], "queues": queues}}}
        site.deploy(config=config, prune=prune, move_to=f"lms.{first}")
        assert sum(site.waiting.values()) == count
        left = {queue for queue, number in site.waiting.items() if number}
        assert left <= site.consumed
