# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When each alert of one variant fires, and when not although it looks like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Autoscaler, Observed

from tests.support.fleet_series import Flower, Keda, State, Values, flat, gone, node, nothing, rising, tutor_node
from tests.support.promtool import Series
from tests.unit.others import seen

#: Variants of one service `billing`, each in a fleet of its own.
TRACKED = {"enable_keda": True, "idempotent": True, "max_replicas": 4, "concurrency": 2}
BLIND = {"enable_keda": True, "min_replicas": 1, "max_replicas": 4}
FIXED = {"replicas": 2}
BY_CPU = {"scaler": "hpa", "min_replicas": 2, "max_replicas": 4, "resources": {"requests": {"cpu": "1"}}}
RABBITMQ = {"type": "rabbitmq", "host": "rabbit"}

#: End of a pod's name.
END = "5d9f7c9b8-x2x4v"
#: More pods of the same ReplicaSet.
ENDS = (END, "5d9f7c9b8-7kq9z", "5d9f7c9b8-m4c8w", "5d9f7c9b8-p6t2s")


@dataclass(frozen=True)
class Case:
    """Series of one variant, and whether an alert fires at some minutes.

    :param keys: of the variant C(billing.default), Deployment C(billing-worker) in the namespace C(shop).
    """

    name: str
    series: list[Series]
    fires: Mapping[float, bool]
    keys: Any = field(default_factory=lambda: TRACKED)
    broker: Any = None
    observed: Observed = NOTHING


def never(*minutes: float) -> dict[float, bool]:
    """Nothing fires at any of these minutes."""
    return dict.fromkeys(minutes, False)


KEDA, STATE, FLOWER = Keda(), State(), Flower()
#: A Deployment whose name begins like ours.
NEIGHBOUR = "billing-worker-high"


def both_styles(make: Callable[[Keda], Case]) -> list[Case]:
    """The same for a Prometheus that keeps KEDA's label namespace, and for one that renames it."""
    found = []
    for honors_labels in (True, False):
        case = make(Keda(honors_labels=honors_labels))
        style = "namespace" if honors_labels else "exported_namespace"
        found.append(replace(case, name=f"{case.name}, with {style}"))
    return found


def at_maximum(backlog: Values, pods: Values, keda: Keda = KEDA) -> list[Series]:
    return [keda.trigger("backlog_p0", backlog), keda.trigger("backlog_p3", flat(0, 60)), *STATE.replicas(pods)]


GROWS = [
    *both_styles(
        lambda keda: Case(
            "the backlog grows and all pods are there for a quarter of an hour",
            at_maximum(rising(10, 6, 60), flat(4, 60), keda),
            {14: False, 20: True, 55: True},
        )
    ),
    Case("one pod more is allowed", at_maximum(rising(10, 6, 60), flat(3, 60)), never(20, 40, 55)),
    Case(
        "the last pod came five minutes ago",
        at_maximum(rising(10, 6, 60), flat(1, 30) + flat(4, 30)),
        {35: False, 44: False, 50: True},
    ),
    Case("the backlog shrinks", at_maximum(rising(900, -6, 60), flat(4, 60)), never(20, 40, 55)),
    Case("the backlog stays", at_maximum(flat(50, 60), flat(4, 60)), never(20, 40, 55)),
    Case(
        "the inventory allows half an hour",
        at_maximum(rising(10, 6, 60), flat(4, 60)),
        {20: False, 28: False, 35: True},
        {**TRACKED, "alerts": {"at_maximum_seconds": 1800}},
    ),
    *both_styles(
        lambda keda: Case(
            "it is paused, and resumed after half an hour",
            [*at_maximum(rising(10, 6, 60), flat(4, 60), keda), keda.paused(flat(1, 30) + flat(0, 30))],
            {20: False, 29: False, 35: True},
        )
    ),
    Case("a neighbour's backlog grows", [*at_maximum(rising(10, 6, 60), flat(4, 60), Keda(NEIGHBOUR))], never(20, 40)),
]


def work(available: Values, keda: Keda = KEDA, **triggers: Values) -> list[Series]:
    return [*keda.triggers(**triggers), *STATE.replicas(flat(1, 60), available)]


WITHOUT_WORKERS = [
    *both_styles(
        lambda keda: Case(
            "messages wait and no pod is available",
            work(flat(0, 60), keda, backlog_p0=flat(3, 60), backlog_p3=flat(2, 60), inflight=flat(0, 60)),
            {4: False, 6: True, 40: True},
        )
    ),
    Case(
        "nothing waits, and what a pod held that is gone waits for its end",
        work(flat(0, 60), backlog=flat(0, 60), inflight=flat(2, 60)),
        {4: False, 6: True},
    ),
    Case(
        "RabbitMQ counts what is held together with what waits",
        work(flat(0, 60), backlog=flat(0, 60), total=flat(2, 60)),
        {4: False, 6: True},
        broker=RABBITMQ,
    ),
    Case(
        "RabbitMQ, nothing waits and nothing is held",
        work(flat(0, 60), backlog=flat(0, 60), total=flat(0, 60)),
        never(6, 30),
        broker=RABBITMQ,
    ),
    Case(
        "running work that the scaler does not see, with messages that wait",
        work(flat(0, 60), backlog_p0=flat(5, 60)),
        {4: False, 6: True},
        BLIND,
    ),
    *both_styles(
        lambda keda: Case(
            "it is paused without a pod",
            [*work(flat(0, 60), keda, backlog=flat(9, 60), inflight=flat(0, 60)), keda.paused(flat(1, 60))],
            never(6, 30, 55),
        )
    ),
    *both_styles(
        lambda keda: Case(
            "a window of its schedule starts no pod for half an hour",
            [
                *work(flat(0, 60), keda, backlog=flat(9, 60), inflight=flat(0, 60)),
                keda.trigger("schedule_0_pause", flat(2, 30) + flat(0, 30)),
            ],
            {6: False, 29: False, 40: True},
            {**TRACKED, "schedule": [{"start": "0 8 * * *", "end": "30 8 * * *", "paused": True}]},
        )
    ),
    Case(
        "a window has a ceiling, and no pod comes up",
        [
            *work(flat(0, 60), backlog=flat(9, 60), inflight=flat(0, 60)),
            KEDA.trigger("schedule_0_ceiling", flat(2, 60)),
        ],
        {4: False, 6: True},
        {**TRACKED, "schedule": [{"start": "0 8 * * *", "end": "30 8 * * *", "max_replicas": 1}]},
    ),
    Case(
        "only scale-in is paused, so there should be one",
        [
            *work(flat(0, 60), backlog=flat(9, 60), inflight=flat(0, 60)),
            KEDA.paused(flat(1, 60)),
            *STATE.autoscaler("keda-hpa-billing-worker-scaledobject", flat(1, 60), flat(4, 60)),
        ],
        {4: False, 6: True},
    ),
    Case(
        "a neighbour is paused",
        [*work(flat(0, 60), backlog=flat(9, 60)), Keda(NEIGHBOUR).paused(flat(1, 60))],
        {4: False, 6: True},
    ),
    Case("no pod and no work", work(flat(0, 60), backlog=flat(0, 60), inflight=flat(0, 60)), never(6, 30, 55)),
    Case("a pod is available", work(flat(1, 60), backlog=flat(9, 60), inflight=flat(2, 60)), never(6, 30, 55)),
    Case(
        "the first pod takes four minutes to start",
        work(flat(0, 24) + flat(1, 36), backlog=flat(0, 20) + flat(9, 40), inflight=flat(0, 24) + flat(2, 36)),
        never(23, 24, 26, 30, 50),
    ),
    Case(
        "fewer messages than wake the variant",
        work(flat(0, 60), backlog=flat(10, 60), inflight=flat(0, 60)),
        never(6, 30, 55),
        {**TRACKED, "activation_list_length": 10},
    ),
    Case(
        "one more than it takes to wake the variant",
        work(flat(0, 60), backlog=flat(11, 60), inflight=flat(0, 60)),
        {4: False, 6: True},
        {**TRACKED, "activation_list_length": 10},
    ),
    Case(
        "the inventory allows a quarter of an hour",
        work(flat(0, 60), backlog=flat(5, 60), inflight=flat(0, 60)),
        {14: False, 16: True},
        {**TRACKED, "alerts": {"no_workers_seconds": 900}},
    ),
    Case(
        "a neighbour's messages wait",
        [*STATE.replicas(flat(0, 60)), *Keda(NEIGHBOUR).triggers(backlog=flat(5, 60), inflight=flat(1, 60))],
        never(6, 30),
    ),
    Case(
        "the same Deployment of another namespace",
        [*STATE.replicas(flat(0, 60)), *Keda(namespace="blog").triggers(backlog=flat(5, 60), inflight=flat(1, 60))],
        never(6, 30),
    ),
]


def hours(number: float) -> float:
    """Minutes of so many hours."""
    return number * 60


def draining(backlog: Values, minutes: float, **ended: Values) -> list[Series]:
    worker = node(END)
    return [
        KEDA.trigger("backlog", backlog),
        FLOWER.up(flat(1, minutes)),
        FLOWER.online(worker, flat(1, minutes)),
        *FLOWER.events(worker, ended),
    ]


def every_two_hours(minutes: float, tasks: int = 1) -> Values:
    """A counter of a worker whose tasks take two hours each."""
    return tuple(value for done in range(round(minutes / 120)) for value in flat(done * tasks, 120))


LONG = {"enable_keda": True, "idempotent": True, "profile": "long"}

DRAINS = [
    # 100 messages at 2 a minute need 50 minutes; max_wait_seconds is 10 minutes.
    Case(
        "what waits needs longer than a message may wait",
        draining(flat(100, 60), 60, succeeded=rising(0, 2, 60)),
        {14: False, 16: True, 55: True},
    ),
    Case(
        "it is paused",
        [*draining(flat(100, 60), 60, succeeded=rising(0, 2, 60)), KEDA.paused(flat(1, 60))],
        never(16, 30, 55),
    ),
    Case(
        "a window of its schedule keeps the pods down for half an hour",
        [
            *draining(flat(100, 90), 90, succeeded=rising(0, 2, 90)),
            KEDA.trigger("schedule_0_ceiling", flat(2, 30) + flat(0, 60)),
        ],
        {16: False, 29: False, 60: True},
        {**TRACKED, "schedule": [{"start": "0 8 * * *", "end": "30 8 * * *", "max_replicas": 1}]},
    ),
    # 100 at 20 a minute need 5.
    Case("it needs five minutes", draining(flat(100, 60), 60, succeeded=rising(0, 20, 60)), never(16, 30, 55)),
    Case(
        "failures and retries take messages off the queue as well",
        draining(flat(100, 60), 60, failed=rising(0, 10, 60), retried=rising(0, 10, 60)),
        never(16, 30, 55),
    ),
    Case("nobody ends anything at all", draining(flat(3, 60), 60), {14: False, 16: True, 55: True}),
    Case("nothing waits and nothing ends", draining(flat(0, 60), 60, succeeded=flat(7, 60)), never(16, 30, 55)),
    Case("Flower is not there", [KEDA.trigger("backlog", flat(100, 60))], never(16, 30, 55)),
    Case(
        "fewer messages than wake the variant wait for ever",
        draining(flat(10, 60), 60),
        never(16, 30, 55),
        {**TRACKED, "activation_list_length": 10},
    ),
    Case(
        "the inventory allows an hour",
        draining(flat(100, 60), 60, succeeded=rising(0, 2, 60)),
        never(16, 30, 55),
        {**TRACKED, "alerts": {"drain_seconds": 3600}},
    ),
    Case(
        "the inventory allows a message to wait for an hour",
        draining(flat(100, 60), 60, succeeded=rising(0, 2, 60)),
        never(16, 30, 55),
        {**TRACKED, "max_wait_seconds": 3600},
    ),
    Case(
        "a task may take an hour, so its queue may",
        draining(flat(100, 120), 120, succeeded=rising(0, 2, 120)),
        never(16, 30, 70, 110),
        {**TRACKED, "longest_task_seconds": 3600},
    ),
    Case(
        "tasks of two hours, one pod, one message that waits",
        draining(flat(1, hours(24)), hours(24), succeeded=every_two_hours(hours(24))),
        never(*range(15, 1440, 15)),
        LONG,
    ),
    Case(
        "seven tasks of two hours in the morning, five pods, two wait",
        draining(
            flat(0, hours(10)) + flat(2, hours(2)) + flat(0, hours(4)),
            hours(16),
            succeeded=nothing(hours(12)) + flat(5, hours(2)) + flat(7, hours(2)),
        ),
        never(*range(15, 960, 15)),
        LONG,
    ),
    Case(
        "the same where the inventory says how long a task takes",
        draining(
            flat(0, hours(10)) + flat(2, hours(2)) + flat(0, hours(4)),
            hours(16),
            succeeded=nothing(hours(12)) + flat(5, hours(2)) + flat(7, hours(2)),
        ),
        never(*range(15, 960, 15)),
        {**TRACKED, "longest_task_seconds": 7200, "idempotent": True},
    ),
    # Thirty messages at one in two hours need sixty hours; the profile's pods have four to end their task.
    Case(
        "thirty tasks of two hours wait for one pod",
        draining(flat(30, hours(12)), hours(12), succeeded=every_two_hours(hours(12))),
        {hours(3): False, hours(5): True, hours(11): True},
        LONG,
    ),
    Case(
        "a neighbour is fast",
        [
            *draining(flat(100, 60), 60, succeeded=rising(0, 2, 60)),
            *FLOWER.events(node(END, NEIGHBOUR, "billing.high"), {"succeeded": rising(0, 200, 60)}),
        ],
        {16: True, 55: True},
    ),
]

SCALER_ERRORS = [
    *both_styles(
        lambda keda: Case(
            "the broker cannot be read",
            [keda.errors(flat(0, 10) + rising(0, 4, 30))],
            {9: False, 14: False, 17: False, 19: True, 35: True},
        )
    ),
    Case(
        "the broker was away for eight minutes",
        [KEDA.errors(flat(0, 10) + rising(0, 4, 9) + flat(32, 21))],
        {17: False, 19: True, 22: False, 30: False},
    ),
    Case(
        "the broker was away for four minutes",
        [KEDA.errors(flat(0, 10) + rising(0, 4, 5) + flat(16, 25))],
        never(12, 14, 15, 16, 17, 18, 19, 20, 30),
    ),
    Case(
        "a single reading failed twice, and KEDA reads every five minutes",
        [KEDA.errors(flat(0, 10) + flat(1, 1) + flat(2, 39))],
        never(11, 14, 16, 17, 18, 19, 20, 30),
        {**TRACKED, "polling_interval": 300},
    ),
    Case(
        "a single error",
        [KEDA.errors(flat(0, 10) + flat(1, 30))],
        never(11, 12, 13, 14, 14.5, 15, 15.5, 16, 18, 30),
    ),
    Case("errors of an hour ago", [KEDA.errors(flat(250, 40))], never(6, 12, 30)),
    Case("KEDA started anew", [KEDA.errors(flat(250, 20) + flat(0, 20))], never(21, 24, 26, 30)),
    Case(
        "the inventory allows a quarter of an hour",
        [KEDA.errors(flat(0, 10) + rising(0, 4, 30))],
        {17: False, 27: False, 29: True},
        {**TRACKED, "alerts": {"scaler_errors_seconds": 900}},
    ),
    Case("a neighbour's errors", [Keda(NEIGHBOUR).errors(rising(0, 4, 40))], never(6, 12, 30)),
]

FALLBACK = [
    Case("KEDA has fallen back", [STATE.fallback(flat(0, 10) + flat(1, 30))], {14: False, 16: True, 35: True}),
    Case("it has not", [STATE.fallback(flat(0, 40))], never(6, 30)),
    Case(
        "for a moment",
        [STATE.fallback(flat(0, 10) + flat(1, 3) + flat(0, 27))],
        never(12, 14, 16, 30),
    ),
    Case("a neighbour has", [State(NEIGHBOUR).fallback(flat(1, 40))], never(6, 30)),
]

PAUSED = [
    *both_styles(
        lambda keda: Case(
            "paused for a day",
            [keda.paused(flat(1, hours(25)))],
            {hours(23.9): False, hours(24.1): True},
        )
    ),
    Case("not paused", [KEDA.paused(flat(0, hours(25)))], never(hours(24.1))),
    Case(
        "paused for the night, and for the next one",
        [KEDA.paused(flat(1, hours(12)) + flat(0, hours(1)) + flat(1, hours(13)))],
        never(hours(12), hours(24.1), hours(25.9)),
    ),
    Case(
        "the inventory allows an hour",
        [KEDA.paused(flat(1, hours(2)))],
        {59: False, 61: True},
        {**TRACKED, "alerts": {"paused_seconds": 3600}},
    ),
    Case("a neighbour is paused", [Keda(NEIGHBOUR).paused(flat(1, hours(25)))], never(hours(24.1))),
]

KEDA_HPA = "keda-hpa-billing-worker-scaledobject"
TAKEN = seen(
    autoscalers=(Autoscaler("HorizontalPodAutoscaler", "old-hpa", "billing-worker", "billing-worker-scaledobject"),)
)


def inactive(pods: Values, name: str = KEDA_HPA, active: Values = flat(0, 60)) -> list[Series]:  # noqa: B008
    return [*STATE.replicas(pods), *STATE.autoscaler(name, active)]


INACTIVE = [
    Case("the HPA of KEDA is not active, with pods", inactive(flat(2, 60)), {9: False, 11: True, 50: True}),
    Case("it is not active at zero pods, as it should be", inactive(flat(0, 60)), never(11, 30, 50)),
    Case("it is active", inactive(flat(2, 60), active=flat(1, 60)), never(11, 30, 50)),
    Case(
        "it does not know its metrics for five minutes after the first pod",
        inactive(flat(0, 20) + flat(1, 40), active=flat(0, 25) + flat(1, 35)),
        never(11, 21, 24, 31, 50),
    ),
    Case("an HPA of our own", inactive(flat(2, 60), "billing-worker-hpa"), {9: False, 11: True}, BY_CPU),
    Case("an HPA that KEDA took over", inactive(flat(2, 60), "old-hpa"), {9: False, 11: True}, observed=TAKEN),
    Case(
        "a neighbour's HPA is not",
        inactive(flat(2, 60), f"keda-hpa-{NEIGHBOUR}-scaledobject"),
        never(11, 30, 50),
    ),
]


def tasks(minutes: float = 60, worker: str = "", **kinds: Values) -> list[Series]:
    return [FLOWER.up(flat(1, minutes)), *FLOWER.events(worker or node(END), kinds)]


FAIL = [
    # 2 of 8.
    Case(
        "a quarter of the tasks fails",
        tasks(failed=rising(0, 2, 60), succeeded=rising(0, 6, 60)),
        {2: False, 10: True, 50: True},
    ),
    Case("all of them fail, and none has ever succeeded", tasks(failed=rising(0, 2, 60)), {2: False, 10: True}),
    # 1 of 20.
    Case("one of twenty fails", tasks(failed=rising(0, 1, 60), succeeded=rising(0, 19, 60)), never(10, 30, 50)),
    Case(
        "the inventory allows half of them",
        tasks(failed=rising(0, 2, 60), succeeded=rising(0, 6, 60)),
        never(10, 30, 50),
        {**TRACKED, "alerts": {"failure_ratio": 0.5}},
    ),
    Case("four tasks ended and all failed", tasks(failed=nothing(20) + flat(4, 40)), never(22, 30)),
    Case(
        "the inventory says that two failures say enough",
        tasks(failed=nothing(20) + flat(2, 40)),
        {19: False, 22: True, 40: False},
        {**TRACKED, "alerts": {"failure_minimum": 2}},
    ),
    Case(
        "the first and only task of each of six new pods failed",
        [
            FLOWER.up(flat(1, 60)),
            *(
                series
                for number in range(6)
                for series in FLOWER.events(node(f"5d9f7c9b8-pod{number}a"), {"failed": nothing(20) + flat(1, 40)})
            ),
        ],
        {19: False, 22: True, 40: False},
    ),
    Case("failures of an hour ago", tasks(failed=flat(90, 60), succeeded=rising(900, 6, 60)), never(5, 20, 50)),
    Case(
        "tasks are tried again, and succeed",
        tasks(retried=rising(0, 6, 60), succeeded=rising(0, 6, 60)),
        never(10, 30, 50),
    ),
    Case(
        "a neighbour's tasks fail",
        [
            *tasks(succeeded=rising(0, 6, 60)),
            *FLOWER.events(node(END, NEIGHBOUR, "billing.high"), {"failed": rising(0, 6, 60)}),
        ],
        never(10, 30, 50),
    ),
    Case(
        "tasks of the same Deployment of another namespace fail",
        [
            *tasks(succeeded=rising(0, 6, 60)),
            Flower("blog").up(flat(1, 60)),
            *Flower("blog").events(node(END), {"failed": rising(0, 6, 60)}),
        ],
        never(10, 30, 50),
    ),
]

TUTORS = {"enable_keda": True, "idempotent": True, "name": "lms-worker"}


def holding(held: Values, minutes: float, online: float = 1, **kinds: Values) -> list[Series]:
    """A worker that holds messages in Redis."""
    return [
        KEDA.trigger("backlog", flat(0, minutes)),
        KEDA.trigger("inflight", held),
        FLOWER.up(flat(1, minutes)),
        FLOWER.online(node(END), flat(online, minutes)),
        *FLOWER.events(node(END), kinds),
    ]


def running(minutes: float, pod: str = END, **kinds: Values) -> list[Series]:
    """A worker whose broker does not tell what it holds, and that runs one task."""
    return [
        FLOWER.up(flat(1, minutes)),
        FLOWER.online(node(END), flat(1, minutes)),
        FLOWER.executing(node(END), flat(1, minutes)),
        STATE.pod(pod, flat(1, minutes)),
        *FLOWER.events(node(END), kinds),
    ]


# Without further words a task may take an hour, wait an hour for its ETA, and five minutes are for the rest: 125.
STALL = [
    Case("work is held and nothing succeeds", holding(flat(2, 180), 180), {124: False, 126: True, 170: True}),
    Case(
        "RabbitMQ tells what is held as the total without what waits",
        [
            *KEDA.triggers(backlog=flat(3, 180), total=flat(5, 180)),
            FLOWER.up(flat(1, 180)),
            FLOWER.online(node(END), flat(1, 180)),
        ],
        {124: False, 126: True},
        broker=RABBITMQ,
    ),
    Case("the worker runs a task that KEDA does not see", running(180), {124: False, 126: True}, BLIND),
    Case("a fixed number of pods", running(180), {124: False, 126: True}, FIXED),
    Case(
        "a task succeeds once in an hour",
        holding(flat(2, 180), 180, succeeded=flat(5, 50) + flat(6, 60) + flat(7, 70)),
        never(*range(5, 180, 5)),
    ),
    Case(
        "sixty tasks wait in a worker for their ETA in an hour, and run",
        holding(
            flat(0, 10) + flat(60, 60) + flat(0, 110), 180, succeeded=flat(0, 70) + rising(0, 10, 6) + flat(60, 104)
        ),
        never(*range(5, 180, 5)),
    ),
    Case(
        "tasks wait six hours for their ETA, as the inventory says",
        holding(flat(60, hours(6)) + flat(0, hours(2)), hours(8)),
        never(*range(5, 480, 5)),
        {**TRACKED, "longest_eta_seconds": 21600},
    ),
    Case(
        "the inventory says that no task waits for an ETA or takes longer than a minute",
        holding(flat(2, 60), 60),
        {5: False, 7: True},
        {**TRACKED, "longest_task_seconds": 60, "longest_eta_seconds": 0},
    ),
    Case(
        "the inventory allows ten minutes",
        holding(flat(2, 60), 60),
        {9: False, 11: True},
        {**TRACKED, "alerts": {"stalled_seconds": 600}},
    ),
    Case(
        "tasks of three hours",
        holding(flat(1, hours(12)), hours(12), succeeded=tuple(v for n in range(4) for v in flat(n, hours(3)))),
        never(*range(5, 720, 5)),
        LONG,
    ),
    Case("nothing is held", holding(flat(0, 180), 180), never(126, 170)),
    Case("Flower hears nobody", holding(flat(2, 180), 180)[:3], never(126, 170)),
    Case(
        "a killed worker's last heartbeat said that it runs a task, and its pod is gone",
        running(180, pod=ENDS[1]),
        never(126, 170),
        FIXED,
    ),
    Case(
        "where no pod of the namespace is known, every worker counts",
        [item for item in running(180) if item.metric != "kube_pod_info"],
        {124: False, 126: True},
        FIXED,
    ),
    Case(
        "a neighbour succeeds",
        [*holding(flat(2, 180), 180), *FLOWER.events(node(END, NEIGHBOUR), {"succeeded": rising(0, 6, 180)})],
        {126: True, 170: True},
    ),
]

# 2 slots and 4 pods run 8 tasks at once, and 20 is the least threshold.
DO_NOT_END = [
    Case(
        "a task kills its process again and again",
        tasks(received=rising(0, 4, 60), started=rising(0, 4, 60), rejected=rising(0, 4, 60)),
        {4: False, 10: True, 55: True},
    ),
    Case(
        "ordinary tasks beside it end",
        [
            *tasks(started=rising(0, 4, 60), rejected=rising(0, 4, 60)),
            *FLOWER.events(
                node(END), {"started": rising(0, 50, 60), "succeeded": rising(0, 50, 60)}, "billing.tasks.mail"
            ),
        ],
        {4: False, 10: True, 55: True},
    ),
    Case(
        "a worker of Tutor's",
        tasks(worker=tutor_node(END), started=rising(0, 4, 60)),
        {4: False, 10: True},
        TUTORS | {"max_replicas": 4, "concurrency": 2},
    ),
    Case(
        "all tasks end, in one way or another",
        tasks(
            started=rising(0, 40, 60),
            succeeded=rising(0, 10, 60),
            failed=rising(0, 10, 60),
            retried=rising(0, 10, 60),
            revoked=rising(0, 10, 60),
        ),
        never(10, 30, 55),
    ),
    Case("every slot runs a task for hours", tasks(started=nothing(20) + flat(8, 40)), never(22, 30, 34, 40)),
    Case(
        "the inventory allows a hundred",
        tasks(started=rising(0, 4, 60)),
        never(10, 30, 55),
        {**TRACKED, "alerts": {"poison_starts": 100}},
    ),
    Case(
        "twice what forty slots run at once",
        tasks(started=rising(0, 4, 60)),
        never(10, 30, 55),
        {**TRACKED, "concurrency": 10},
    ),
    Case(
        "a neighbour's task",
        [*tasks(started=flat(1, 60)), *FLOWER.events(node(END, NEIGHBOUR), {"started": rising(0, 9, 60)})],
        never(10, 30, 55),
    ),
]


def restarted(*times: float, end: str = END, minutes: float = 60) -> Series:
    """A container that started anew at these minutes."""
    parts: Values = ()
    for number, until in enumerate((*times, minutes)):
        parts += flat(number, until - len(parts) / 2)
    return STATE.restarts(end, parts)


RESTART = [
    Case("a container starts anew every three minutes", [restarted(20, 23, 26)], {25: False, 27: True, 45: False}),
    Case(
        "one container in each of three pods",
        [restarted(20, end=ENDS[0]), restarted(21, end=ENDS[1]), restarted(22, end=ENDS[2])],
        {21: False, 24: True, 45: False},
    ),
    Case("two times", [restarted(20, 23)], never(21, 24, 30)),
    Case("three times in an hour", [restarted(5, 25, 45)], never(*range(2, 60, 2))),
    Case(
        "the inventory allows none",
        [restarted(20)],
        {19: False, 22: True, 40: False},
        {**TRACKED, "alerts": {"restarts": 1}},
    ),
    Case(
        "pods go and others come",
        [
            STATE.restarts(END, flat(4, 20) + gone(40)),
            *(STATE.restarts(end, nothing(20) + flat(0, 40)) for end in ENDS[1:]),
        ],
        never(19, 21, 25, 40),
    ),
    Case(
        "a neighbour's containers",
        [State(NEIGHBOUR).restarts(END, rising(0, 1, 60)), State("billing").restarts(END, rising(0, 1, 60))],
        never(10, 30, 50),
    ),
    Case(
        "the same Deployment of another namespace", [State(namespace="blog").restarts(END, rising(0, 1, 60))], never(30)
    ),
    Case("a fixed number of pods", [restarted(20, 23, 26)], {25: False, 27: True}, FIXED),
]

KILLED = nothing(20) + flat(1, 40)
MEMORY = [
    Case(
        "a container is killed for its memory",
        [restarted(20), STATE.terminated(END, "OOMKilled", KILLED)],
        {19: False, 22: True, 40: False},
    ),
    Case("it ends for another reason", [restarted(20), STATE.terminated(END, "Error", KILLED)], never(22, 40)),
    Case("it was killed yesterday", [restarted(), STATE.terminated(END, "OOMKilled", flat(1, 60))], never(5, 22, 40)),
    Case(
        "one was killed yesterday, and another starts anew for another reason",
        [
            restarted(),
            STATE.terminated(END, "OOMKilled", flat(1, 60)),
            restarted(20, end=ENDS[1]),
            STATE.terminated(ENDS[1], "Error", KILLED),
        ],
        never(22, 30, 40),
    ),
    Case(
        "a neighbour's container",
        [
            State(NEIGHBOUR).restarts(END, flat(0, 20) + flat(1, 40)),
            State(NEIGHBOUR).terminated(END, "OOMKilled", KILLED),
        ],
        never(22, 40),
    ),
]

OTHERS = State("flower").replicas(flat(1, 60))
WITHOUT_CONSUMER = [
    Case(
        "its Deployment is gone",
        [*OTHERS, *STATE.replicas(flat(1, 10) + gone(50))],
        {9: False, 14: False, 17: True, 50: True},
    ),
    *both_styles(
        lambda keda: Case(
            "no pod, and KEDA knows other queues but not this one",
            [
                *OTHERS,
                *STATE.replicas(flat(0, 60)),
                Keda(NEIGHBOUR, honors_labels=keda.honors_labels).trigger("backlog", flat(0, 60)),
            ],
            {4: False, 6: True},
        )
    ),
    *both_styles(
        lambda keda: Case(
            "no pod, as KEDA decided",
            [*OTHERS, *STATE.replicas(flat(0, 60)), *keda.triggers(backlog_p0=flat(0, 60), inflight=flat(0, 60))],
            never(6, 30, 50),
        )
    ),
    Case(
        "one that must stay is paused without a pod",
        [*OTHERS, *STATE.replicas(flat(0, 60)), KEDA.trigger("backlog", flat(3, 60)), KEDA.paused(flat(1, 60))],
        never(6, 30, 50),
        BLIND,
    ),
    Case(
        "its Deployment is gone while it is paused",
        [*OTHERS, *STATE.replicas(flat(1, 10) + gone(50)), KEDA.paused(flat(1, 60))],
        {9: False, 14: False, 17: True},
    ),
    Case("nobody scrapes kube-state-metrics", [*KEDA.triggers(backlog=flat(3, 60))], never(6, 30, 50)),
    Case("nobody scrapes KEDA", [*OTHERS, *STATE.replicas(flat(0, 60))], never(6, 30, 50)),
    Case("nobody scrapes anything", [FLOWER.up(flat(1, 60))], never(6, 30, 50)),
    Case(
        "pods of a fixed number are all gone",
        [*OTHERS, *STATE.replicas(flat(2, 60), flat(2, 10) + flat(0, 50))],
        {14: False, 16: True},
        FIXED,
    ),
    Case(
        "somebody scaled a fixed number to zero",
        STATE.replicas(flat(2, 10) + flat(0, 50)),
        {14: False, 16: True},
        FIXED,
    ),
    Case("one of two pods is there", STATE.replicas(flat(2, 60), flat(1, 60)), never(6, 30, 50), FIXED),
    Case(
        "a rollout takes four minutes",
        STATE.replicas(flat(1, 60), flat(1, 10) + flat(0, 4) + flat(1, 46)),
        never(12, 14, 16, 30),
        FIXED,
    ),
    Case(
        "one pod that must stay is not there",
        [*STATE.replicas(flat(1, 60), flat(0, 60)), KEDA.trigger("backlog", flat(0, 60))],
        {4: False, 6: True},
        BLIND,
    ),
    Case(
        "the inventory allows a quarter of an hour",
        STATE.replicas(flat(2, 60), flat(0, 60)),
        {14: False, 16: True},
        {**FIXED, "alerts": {"no_workers_seconds": 900}},
    ),
]

JOBS = {"run_as": "jobs", "idempotent": True, "max_replicas": 4}
#: What the name of a Job ends in, and that of its pod.
JOB, JOB_POD = "x7k2p", "x7k2p-abcde"

JOBS_FAIL = [
    Case(
        "one Job failed, and KEDA keeps it",
        [STATE.failed_job(JOB, nothing(10) + flat(1, 110))],
        {9: False, 11: True, 60: True, 75: False},
        JOBS,
    ),
    Case(
        "its worker failed several times until the Job itself did",
        [
            STATE.failed_job(JOB, nothing(10) + flat(1, 3) + flat(4, 2)),
            STATE.failed_job(JOB, nothing(15) + flat(1, 100), reason="BackoffLimitExceeded"),
            STATE.failed_job(JOB, nothing(15) + flat(0, 100), reason="Evicted"),
        ],
        {9: False, 11: True, 14: True, 60: True, 76: False},
        JOBS,
    ),
    Case("none failed", [STATE.failed_job(JOB, flat(0, 60))], never(10, 50), JOBS),
    Case(
        "that of a neighbour failed",
        [State(NEIGHBOUR).failed_job(JOB, nothing(10) + flat(1, 50))],
        never(11, 50),
        JOBS,
    ),
]

JOBS_ERRORS = [
    *both_styles(
        lambda keda: Case(
            "the broker cannot be read",
            [keda.job_errors(flat(0, 10) + rising(0, 4, 30))],
            {9: False, 14: False, 17: False, 19: True, 35: True},
            JOBS,
        )
    ),
    Case("a single error", [KEDA.job_errors(flat(0, 10) + flat(1, 30))], never(12, 20, 30), JOBS),
    Case("errors of a neighbour", [Keda(NEIGHBOUR).job_errors(rising(0, 4, 40))], never(20, 35), JOBS),
]

JOBS_DO_NOT_START = [
    Case(
        "a pod waits for its image for ever",
        [STATE.phase(JOB_POD, "Pending", flat(1, 60))],
        {10: False, 14: False, 16: True, 55: True},
        JOBS,
    ),
    Case(
        "it took ten minutes to start",
        [STATE.phase(JOB_POD, "Pending", flat(1, 10) + flat(0, 50))],
        never(9, 16, 55),
        JOBS,
    ),
    Case("it runs", [STATE.phase(JOB_POD, "Running", flat(1, 60))], never(16, 55), JOBS),
]

CASES: dict[str, list[Case]] = {
    "CeleryBacklogGrowsAtMaximum": GROWS,
    "CeleryWorkWithoutWorkers": WITHOUT_WORKERS,
    "CeleryDrainsTooSlowly": DRAINS,
    "CeleryScalerErrors": SCALER_ERRORS,
    "CeleryScalerFallback": FALLBACK,
    "CeleryScalerPaused": PAUSED,
    "CeleryAutoscalerInactive": INACTIVE,
    "CeleryTasksFail": FAIL,
    "CeleryTasksStall": STALL,
    "CeleryTasksDoNotEnd": DO_NOT_END,
    "CeleryWorkersRestart": RESTART,
    "CeleryWorkerOutOfMemory": MEMORY,
    "CeleryQueueWithoutConsumer": WITHOUT_CONSUMER,
    "CeleryJobsFail": JOBS_FAIL,
    "CeleryJobScalerErrors": JOBS_ERRORS,
    "CeleryJobsDoNotStart": JOBS_DO_NOT_START,
}
