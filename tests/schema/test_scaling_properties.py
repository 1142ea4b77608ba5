# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the inventory: a scaler that may take the last pod sees all the work there is, or the run was refused.

The broker is played by its rules: where messages are follows from the worker's own command line and from how kombu
names its lists, not from what the collection thinks of it. What a scaler sees follows from its triggers alone.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from hypothesis import given, note, settings
from hypothesis import strategies as st
from kombu.transport.redis import Channel

from tests.schema.key_values import Values
from tests.schema.manifest_schemas import assert_accepted
from tests.unit.formulas import asked
from tests.unit.inventories import Manifest, fleet_of, manifests_of

BROKERS: list[dict[str, Any]] = [
    {"host": "redis"},
    {"host": "redis", "database": 3, "priority_steps": [0]},
    {"host": "redis", "priority_steps": [0, 5], "sep": ":", "global_keyprefix": "shop_"},
    {"host": "redis", "transport_options": {"global_keyprefix": "pfx:", "visibility_timeout": 7200}},
    {"type": "redis-sentinel", "hosts": ["one", "two:26380"], "master_name": "main"},
    {"type": "rabbitmq", "host": "rabbit", "virtual_host": "shop", "consumer_timeout": 0},
    {"type": "sqs", "region": "eu-central-1", "pod_identity": True, "transport_options": {"queue_name_prefix": "a."}},
]

_KEYS: dict[str, Values] = {
    "queues": st.lists(st.sampled_from(["one", "two.more", "three"]), min_size=1, max_size=3, unique=True),
    "concurrency": st.integers(1, 3000),
    "pool": st.sampled_from(["prefork", "threads", "gevent", "solo"]),
    "prefetch_multiplier": st.integers(1, 8),
    "disable_prefetch": st.booleans(),
    "extra_params": st.sampled_from([[], ["-c", "7"], ["--pool=solo"], ["--prefetch-multiplier=3"], ["-P", "threads"]]),
    "list_length": st.one_of(st.integers(1, 60), st.integers(900, 5000)),
    "activation_list_length": st.integers(0, 5),
    "hold": st.sampled_from(["slots", "pods"]),
    "profile": st.sampled_from(["fast", "standard", "long"]),
    "in_flight": st.booleans(),
    "acks_late": st.booleans(),
    "idempotent": st.booleans(),
    "min_replicas": st.integers(0, 2),
    "idle_replicas": st.just(0),
    "max_replicas": st.integers(3, 50),
    "task_seconds": st.integers(1, 600),
    "longest_task_seconds": st.integers(1, 4000),
    "longest_eta_seconds": st.one_of(st.just(0), st.integers(1, 4000)),
    "termination_grace_period": st.integers(20, 5000),
    "max_wait_seconds": st.integers(1, 4000),
}
#: Who measures the run time of tasks, if anybody does.
_MEASURED: list[dict[str, Any]] = [
    {},
    *({"prometheus": "http://prometheus.monitoring:9090", "enabled": (source,)} for source in ("flower", "exporter")),
]


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """A service with one scaled variant."""
    names = draw(st.lists(st.sampled_from(sorted(_KEYS)), unique=True, max_size=6))
    variant = {name: draw(_KEYS[name]) for name in names}
    broker = draw(st.sampled_from(BROKERS))
    return {
        # SQS has no events, so nothing can be enabled that measures.
        **(draw(st.sampled_from(_MEASURED)) if broker.get("type") != "sqs" else {}),
        "services": {"billing": {"image": "registry.example/billing:1", "idempotent": draw(st.booleans())}},
        "config": {"billing": {"default": {"enable_keda": True, **variant}}},
        "broker": broker,
    }


@dataclass(frozen=True)
class Work:
    """What there is to do, as Celery and the broker know it.

    :param waiting: messages per queue and priority.
    :param reserved: messages that workers have taken and not begun, ETA tasks among them.
    :param running: messages whose tasks run.
    :param seconds: that tasks take, where that is measured; 0 while it is not known.
    """

    waiting: dict[tuple[str, int], int]
    reserved: int
    running: int
    pods: int
    seconds: float = 0.0

    @property
    def backlog(self) -> int:
        return sum(self.waiting.values())

    @property
    def outstanding(self) -> int:
        return self.backlog + self.reserved + self.running


@st.composite
def work_of(draw: st.DrawFn, variant: Variant) -> Work:
    """Some work, often none of one kind."""
    number = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 400))
    priorities = st.sampled_from([0, 3, 4, 9])
    waiting = {(queue, draw(priorities)): draw(number) for queue in variant.queues}
    seconds = draw(st.sampled_from([0.0, 0.001, 3.0, 250.0, 9000.0]))
    return Work(waiting, draw(number), draw(number), draw(st.integers(0, 30)), seconds)


def command_line(manifest: Manifest) -> tuple[bool, dict[str, Any]]:
    """Whether a worker acknowledges late, and its transport options: what it was really told."""
    args = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    found = [word for word in args if word.startswith("broker.transport_options=(dict)")]
    options = json.loads(found[0].partition("(dict)")[2]) if found else {}
    return "task.acks_late=true" in args, options


def kombu_list(options: dict[str, Any], queue: str, priority: int) -> str:
    """The Redis list that kombu's own code puts a message into."""
    channel = object.__new__(Channel)
    channel.sep = options.get("sep", Channel.sep)
    channel.priority_steps = options.get("priority_steps", Channel.priority_steps)
    return f"{options.get('global_keyprefix', '')}{channel._q_for_pri(queue, channel.priority(priority))}"


def readings(fleet: Fleet, scaler: Manifest, deployment: Manifest, work: Work) -> dict[str, float]:
    """What KEDA reads of this work, trigger by trigger."""
    broker = fleet.services[0].broker
    assert broker is not None
    late, told = command_line(deployment)
    held = work.reserved + (work.running if late else 0)
    # Producers have the app's own options, which the inventory repeats.
    typed = {name: getattr(broker, name) for name in ("sep", "priority_steps", "global_keyprefix")}
    app = {**broker.transport_options, **{name: value for name, value in typed.items() if value is not None}}
    lists: dict[str, int] = {}
    for (queue, priority), count in work.waiting.items():
        name = kombu_list(app, queue, priority)
        lists[name] = lists.get(name, 0) + count
    lists[f"{told.get('global_keyprefix', '')}{told.get('unacked_key', 'unacked')}"] = held
    found = {}
    for trigger in scaler["spec"]["triggers"]:
        metadata, kind = trigger["metadata"], trigger["type"]
        if kind.startswith("redis"):
            assert metadata["databaseIndex"] == str(broker.database)
            found[trigger["name"]] = float(lists.get(metadata["listName"], 0))
        elif kind == "rabbitmq":
            ready = sum(count for (queue, _priority), count in work.waiting.items() if queue == metadata["queueName"])
            # Held messages are counted with the first queue: the sum over all queues is what matters.
            of_first = held if metadata["queueName"] == next(iter(work.waiting))[0] else 0
            found[trigger["name"]] = float(ready if metadata.get("excludeUnacknowledged") else ready + of_first)
        elif kind == "aws-sqs-queue":
            names = {f"a-{queue.replace('.', '-')}": queue for queue, _priority in work.waiting}
            ready = sum(
                count for (queue, _priority), count in work.waiting.items() if queue == names[metadata["queueURL"]]
            )
            of_first = held if names[metadata["queueURL"]] == next(iter(work.waiting))[0] else 0
            found[trigger["name"]] = float(ready + (of_first if metadata["scaleOnInFlight"] == "true" else 0))
        elif kind == "prometheus":
            found[trigger["name"]] = {"measured_seconds": work.seconds, "measured_received": 0.0}[trigger["name"]]
        else:
            assert kind == "kubernetes-workload"
            assert trigger["name"] == "pods"
            found["pods"] = float(work.pods)
    return found


def wish_of(fleet: Fleet, work: Work) -> tuple[float, Manifest]:
    """Pods that the scaler asks for, and the ScaledObject."""
    manifests = manifests_of(fleet)
    (scaler,) = [item for item in manifests if item["kind"] == "ScaledObject"]
    (deployment,) = [item for item in manifests if item["kind"] == "Deployment"]
    values = readings(fleet, scaler, deployment, work)
    note(f"{values}")
    modifiers = scaler["spec"]["advanced"].get("scalingModifiers")
    if modifiers is not None:
        assert modifiers["target"] == "1"
        return asked(modifiers["formula"], values), scaler
    (trigger,) = scaler["spec"]["triggers"]
    targets = {"listLength", "value", "queueLength"} & set(trigger["metadata"])
    target = int(trigger["metadata"][targets.pop()])
    return values[trigger["name"]] / target, scaler


def accepted_fleet(variables: dict[str, Any]) -> Fleet | None:
    """The fleet, or None where the run is refused."""
    try:
        return fleet_of(**variables)
    except InventoryError:
        return None


@given(inventories(), st.data())
def test_who_may_take_the_last_pod_sees_every_message_that_waits_or_is_held_or_runs(
    variables: dict[str, Any], data: st.DataObject
) -> None:
    fleet = accepted_fleet(variables)
    if fleet is None:
        return
    variant = fleet.variants[0]
    work = data.draw(work_of(variant))
    wish, scaler = wish_of(fleet, work)
    goes_to_zero = scaler["spec"]["minReplicaCount"] == 0 or "idleReplicaCount" in scaler["spec"]
    sleeps = work.backlog <= variant.scaling.activation_list_length and work.outstanding == work.backlog
    if goes_to_zero and work.outstanding and not sleeps:
        assert wish > 0
    if not work.outstanding:
        assert wish == 0


@given(inventories(), st.data())
def test_no_scaler_asks_for_more_pods_than_the_backlog_justifies_beside_those_that_are_there(
    variables: dict[str, Any], data: st.DataObject
) -> None:
    fleet = accepted_fleet(variables)
    if fleet is None:
        return
    variant = fleet.variants[0]
    work = data.draw(work_of(variant))
    wish, _scaler = wish_of(fleet, work)
    # A task that takes no shorter than the goal has a slot of its own, and none has more.
    is_measured = variant.measured_by and work.seconds
    justified = math.ceil(work.backlog / (variant.slots if is_measured else variant.scaling.list_length))
    # A pod is busy with one message at least.
    busy = min(max(work.pods, 1), work.reserved + work.running)
    assert math.ceil(wish) <= justified + busy


@given(inventories(), st.integers(1, 4), st.data())
def test_where_no_task_has_an_eta_all_outstanding_work_has_its_slots(
    variables: dict[str, Any], length: int, data: st.DataObject
) -> None:
    variables["config"]["billing"]["default"] |= {"longest_eta_seconds": 0, "list_length": length}
    fleet = accepted_fleet(variables)
    if fleet is None:
        return
    variant = fleet.variants[0]
    if not variant.sees_in_flight or length > variant.slots:
        return
    work = data.draw(work_of(variant))
    # Without an ETA no worker takes more than it can hold.
    held = min(work.reserved + work.running, work.pods * variant.held)
    work = replace(work, reserved=held, running=0)
    wish, _scaler = wish_of(fleet, work)
    if work.backlog > variant.scaling.activation_list_length:
        assert wish >= math.floor(work.outstanding / variant.held * 1000) / 1000


def test_most_inventories_of_this_page_are_not_refused_and_many_may_go_to_zero() -> None:
    """Else the properties would say nothing."""
    seen = {"refused": 0, "zero": 0, "other": 0, "measured": 0}

    @settings(max_examples=60)
    @given(inventories())
    def count(variables: dict[str, Any]) -> None:
        fleet = accepted_fleet(variables)
        if fleet is None:
            seen["refused"] += 1
            return
        assert_accepted(manifests_of(fleet))
        seen["measured"] += bool(fleet.variants[0].measured_by)
        seen["zero" if fleet.variants[0].goes_to_zero else "other"] += 1

    count()
    assert seen["zero"] >= 8
    assert seen["other"] >= 8
    assert seen["measured"] >= 1
    assert seen["refused"] <= seen["zero"] + seen["other"]
