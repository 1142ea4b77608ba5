# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No alert of any kind fires while pods come and go, and while what is measured comes and goes.

A fleet with three variants: C(default) may go to zero, C(high) keeps a pod and its scaler does not see running work,
and C(reports) runs tasks of two hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import rule_groups

from tests.support.fleet_series import Flower, Keda, State, Values, flat, gone, node, nothing, rising
from tests.support.promtool import GONE, MISSING, Expected, Scene, Series, play, require_promtool
from tests.unit.inventories import IMAGE, REDIS, fleet_of

VARIABLES: dict[str, Any] = {
    "services": {"billing": {"image": IMAGE}},
    "config": {
        "billing": {
            "default": {"enable_keda": True, "idempotent": True, "max_replicas": 4, "concurrency": 2},
            "high": {"enable_keda": True, "min_replicas": 1, "max_replicas": 4},
            "reports": {"enable_keda": True, "idempotent": True, "profile": "long"},
        }
    },
    "broker": REDIS,
}
DEFAULT, HIGH, REPORTS = "billing-worker", "billing-worker-high", "billing-worker-reports"
FLOWER = Flower()
HOUR = 60.0
#: A minute of last year.
LONG_AGO = -500000.0
ENDS = ("5d9f7c9b8-x2x4v", "5d9f7c9b8-7kq9z", "5d9f7c9b8-m4c8w", "5d9f7c9b8-p6t2s")

#: Series of an hour or more for a Prometheus that keeps KEDA's label namespace, or one that renames it.
Story = Callable[[bool], list[Series]]


def queue(
    honors_labels: bool,
    pods: Values,
    deployment: str = DEFAULT,
    available: Values | None = None,
    **triggers: Values,
) -> list[Series]:
    """What KEDA and kube-state-metrics tell of a variant; without triggers nothing waits and nothing is held."""
    minutes, keda, state = len(pods) / 2, Keda(deployment, honors_labels=honors_labels), State(deployment)
    counted = {"backlog_p0": flat(0, minutes), "backlog_p3": flat(0, minutes)}
    if deployment != HIGH:
        counted["inflight"] = flat(0, minutes)
    active = tuple("1" if item not in ("0", MISSING, GONE) else item for item in pods)
    return [
        *keda.triggers(**{**counted, **triggers}),
        keda.errors(flat(0, minutes)),
        keda.paused(flat(0, minutes)),
        *state.replicas(pods, available),
        *state.autoscaler(f"keda-hpa-{deployment}-scaledobject", active, flat(4, minutes)),
        state.fallback(flat(0, minutes)),
    ]


def worker(
    end: str,
    begin: float = 0,
    until: float = HOUR,
    minutes: float = HOUR,
    by_minute: float = 4,
    deployment: str = DEFAULT,
    ended: Mapping[str, float] | None = None,
) -> list[Series]:
    """A pod with its worker, and what Flower keeps of it for five minutes after its end.

    :param ended: kinds of events by which its tasks end, each with a share.
    """
    group = f"billing.{deployment.removeprefix('billing-worker').strip('-') or 'default'}"
    name, state, rest = node(end, deployment, group), State(deployment), minutes - until
    kept = min(5.0, rest)

    def shown(values: Values, last: str = "") -> Values:
        """A series of Flower: until the worker goes, and its last value until it is forgotten."""
        end_value = last or values[-1]
        return (*nothing(begin), *values, *((end_value,) * round(kept * 2)), *gone(rest - kept))

    def there(value: float) -> Values:
        return nothing(begin) + flat(value, until - begin) + gone(rest)

    alive = until - begin
    started = rising(1, by_minute, alive)
    shares = ended or {"succeeded": 1.0}
    kinds = {"received": shown(started), "started": shown(started)}
    kinds |= {kind: shown(rising(0, by_minute * share, alive)) for kind, share in shares.items()}
    return [
        *FLOWER.events(name, kinds),
        FLOWER.online(name, shown(flat(1, alive), "0")),
        FLOWER.executing(name, shown(flat(1 if by_minute else 0, alive))),
        FLOWER.prefetched(name, shown(flat(0, alive))),
        state.pod(end, there(1)),
        state.restarts(end, there(0)),
    ]


def resting(honors_labels: bool, minutes: float = HOUR, but: tuple[str, ...] = ()) -> list[Series]:
    """The fleet while nobody sends tasks: one pod of the variant high, and Flower."""
    found = [FLOWER.up(flat(1, minutes)), FLOWER.began(LONG_AGO, flat(1, minutes))] if "flower" not in but else []
    if HIGH not in but:
        found += queue(honors_labels, flat(1, minutes), HIGH)
        found += worker(ENDS[0], 0, minutes, minutes, by_minute=0, deployment=HIGH)
    if REPORTS not in but:
        found += queue(honors_labels, flat(0, minutes), REPORTS)
    if DEFAULT not in but:
        found += queue(honors_labels, flat(0, minutes))
    return found


def busy(honors_labels: bool) -> list[Series]:
    waits = (*flat(12, 1), *flat(3, 1), *flat(0, 1), *flat(25, 2)) * 12
    return [
        *resting(honors_labels, but=(DEFAULT,)),
        *queue(honors_labels, flat(2, HOUR), backlog_p0=waits, inflight=flat(4, HOUR)),
        *worker(ENDS[0], by_minute=20, ended={"succeeded": 0.9, "failed": 0.02, "retried": 0.08}),
        *worker(ENDS[1], by_minute=20, ended={"succeeded": 0.9, "failed": 0.02, "retried": 0.08}),
    ]


def scales_down(honors_labels: bool) -> list[Series]:
    pods = flat(4, 20) + flat(3, 4) + flat(1, 6) + flat(0, 30)
    held = flat(8, 18) + flat(5, 6) + flat(1, 5) + flat(0, 31)
    backlog = rising(60, -4, 15) + flat(0, 45)
    return [
        *resting(honors_labels, but=(DEFAULT,)),
        *queue(honors_labels, pods, backlog_p0=backlog, inflight=held),
        *(item for end, until in zip(ENDS, (30, 24, 24, 20), strict=True) for item in worker(end, 0, until)),
    ]


def wakes(honors_labels: bool) -> list[Series]:
    pods = flat(0, 20) + flat(1, 5) + flat(2, 35)
    available = flat(0, 23) + flat(1, 5) + flat(2, 32)
    backlog = flat(0, 19.5) + rising(30, 10, 3.5) + rising(65, -10, 6) + flat(0, 31)
    return [
        *resting(honors_labels, but=(DEFAULT,)),
        *queue(honors_labels, pods, available=available, backlog_p0=backlog, inflight=flat(0, 23) + flat(2, 37)),
        *worker(ENDS[0], 23, by_minute=8),
        *worker(ENDS[1], 28, by_minute=8),
    ]


def rolls_out(honors_labels: bool) -> list[Series]:
    return [
        *resting(honors_labels, but=(DEFAULT,)),
        *queue(honors_labels, flat(2, HOUR), available=flat(2, 20) + flat(1, 4) + flat(2, 36), inflight=flat(4, HOUR)),
        *worker("5d9f7c9b8-x2x4v", 0, 22),
        *worker("5d9f7c9b8-7kq9z", 0, 26),
        *worker("79c6b8d4f-k8r2q", 21),
        *worker("79c6b8d4f-z5w7n", 24),
    ]


def changed(series: list[Series], change: Callable[[Series], Values]) -> list[Series]:
    """The same series with other values."""
    return [replace(item, values=change(item)) for item in series]


def cut(item: Series, matches: Callable[[Series], bool]) -> Values:
    """Samples of a target that cannot be read from the 20th minute to the 30th; Prometheus notes that it cannot."""
    if not matches(item):
        return item.values
    instead = flat(0, 10) if item.metric == "up" else gone(10)
    return (*item.values[:40], *instead, *item.values[60:])


def cut_all(item: Series) -> Values:
    """Samples while Prometheus itself is down, and notes nothing."""
    return (*item.values[:40], *nothing(10), *item.values[60:])


def of_flower(item: Series) -> bool:
    return item.labels.get("job") == "flower"


def of_keda(item: Series) -> bool:
    return item.labels.get("job") == "keda-operator"


def of_state(item: Series) -> bool:
    return item.labels.get("job") == "kube-state-metrics"


def seasoned(honors_labels: bool) -> list[Series]:
    """The busy hour of a fleet that has seen worse: failures, losses, restarts and errors of months ago."""

    def add(item: Series, number: int) -> Values:
        return tuple(str(int(value) + number) if value.isdigit() else value for value in item.values)

    past = {"task-started": 50000, "task-succeeded": 30000, "task-failed": 15000}

    def change(item: Series) -> Values:
        if item.metric == "flower_events_total":
            return add(item, past.get(item.labels["type"], 0))
        if item.metric in ("kube_pod_container_status_restarts_total", "keda_scaled_object_errors_total"):
            return add(item, 40)
        return item.values

    memory = [State(DEFAULT).terminated(end, "OOMKilled", flat(1, HOUR)) for end in ENDS[:2]]
    return [*changed(busy(honors_labels), change), *memory]


def flower_restarts_in_its_pod(honors_labels: bool) -> list[Series]:
    """A hundred tasks before, and after it only the ends of some of them: their starts are not counted any more."""
    name = node(ENDS[0])
    dead = gone(0.5)
    before = flat(50000, 20) + rising(50000, 10, 10)
    return [
        *resting(honors_labels, but=(DEFAULT, "flower")),
        *queue(honors_labels, flat(1, HOUR), inflight=flat(2, 32) + flat(0, 28)),
        FLOWER.up(flat(1, 30) + flat(0, 0.5) + flat(1, 29.5)),
        FLOWER.began(30, nothing(30.5) + flat(1, 29.5)),
        *FLOWER.events(
            name,
            {
                "received": before + gone(30),
                "started": before + gone(30),
                "succeeded": before + dead + flat(5, 29.5),
            },
        ),
        FLOWER.online(name, flat(1, 30) + dead + flat(1, 29.5)),
        FLOWER.executing(name, flat(1, 30) + dead + flat(1, 2) + flat(0, 27.5)),
        State(DEFAULT).pod(ENDS[0], flat(1, HOUR)),
    ]


def flower_gets_a_new_pod(honors_labels: bool) -> list[Series]:
    name, other = node(ENDS[0]), Flower(pod="flower-7c9d8b6f5-zzzzz", address="10.1.0.77:5555")
    old = flat(50000, 10) + rising(50000, 10, 20) + gone(30)
    new = nothing(30.5) + rising(1, 10, 29.5)
    return [
        *resting(honors_labels, but=(DEFAULT, HIGH, "flower")),
        *queue(honors_labels, flat(1, HOUR), HIGH),
        *queue(honors_labels, flat(1, HOUR), inflight=flat(2, HOUR)),
        FLOWER.up(flat(1, 30) + gone(30)),
        *FLOWER.events(name, {"started": old, "succeeded": old}),
        FLOWER.online(name, flat(1, 30) + gone(30)),
        other.up(nothing(30) + flat(0, 0.5) + flat(1, 29.5)),
        other.began(30, nothing(30.5) + flat(1, 29.5)),
        *other.events(name, {"started": new, "succeeded": new}),
        other.online(name, nothing(30.5) + flat(1, 29.5)),
    ]


def begins(honors_labels: bool) -> list[Series]:
    """Prometheus is new, and everything it reads has been there for months."""
    late = nothing(20)
    return changed(seasoned(honors_labels), lambda item: (*late, *item.values[len(late) :]))


def eta(honors_labels: bool) -> list[Series]:
    """Sixty tasks wait in a worker for their time, fifty minutes from now, and then they run."""
    name = node(ENDS[0])
    waits, runs = flat(0, 55), rising(0, 10, 6)
    counts = waits + runs + flat(60, 59)
    return [
        *resting(honors_labels, 120, but=(DEFAULT,)),
        *queue(honors_labels, flat(1, 120), inflight=flat(0, 5) + flat(60, 50) + rising(60, -10, 6) + flat(0, 59)),
        *FLOWER.events(name, {"received": flat(0, 5) + flat(60, 115), "started": counts, "succeeded": counts}),
        FLOWER.online(name, flat(1, 120)),
        FLOWER.executing(name, flat(0, 120)),
        State(DEFAULT).pod(ENDS[0], flat(1, 120)),
        State(DEFAULT).restarts(ENDS[0], flat(0, 120)),
    ]


def reports_all_night(honors_labels: bool) -> list[Series]:
    """One report after the other, two hours each, in one pod; the next one waits for a minute, its pod for none."""
    night, name = 10 * HOUR, node(ENDS[0], REPORTS, "billing.reports")
    done = tuple(value for number in range(5) for value in flat(number, 120))
    started = tuple(value for number in range(1, 6) for value in flat(number, 120))
    waits = flat(0, 119) + (flat(1, 1) + flat(0, 119)) * 4 + flat(0, 1)
    return [
        *resting(honors_labels, night, but=(REPORTS,)),
        *queue(honors_labels, flat(1, night), REPORTS, backlog_p0=waits, inflight=flat(1, night)),
        *FLOWER.events(name, {"started": started, "succeeded": done}, "billing.tasks.report"),
        FLOWER.online(name, flat(1, night)),
        FLOWER.executing(name, flat(1, night)),
        State(REPORTS).pod(ENDS[0], flat(1, night)),
        State(REPORTS).restarts(ENDS[0], flat(0, night)),
    ]


def neighbours(honors_labels: bool) -> list[Series]:
    """Everything is wrong with Deployments that are not ours but have names like ours, or live somewhere else."""
    found = resting(honors_labels)
    for deployment, namespace in (
        ("billing-worker-high-mem", "shop"),
        ("my-billing-worker", "shop"),
        (DEFAULT, "blog"),
    ):
        keda = Keda(deployment, namespace, honors_labels)
        state, flower = State(deployment, namespace), Flower(namespace)
        name = node(ENDS[0], deployment, "billing.high_mem")
        found += [
            *keda.triggers(backlog=rising(100, 9, HOUR), inflight=flat(5, HOUR)),
            keda.errors(rising(0, 4, HOUR)),
            keda.paused(flat(1, HOUR)),
            *state.replicas(flat(4, HOUR), flat(0, HOUR)),
            state.fallback(flat(1, HOUR)),
            state.pod(ENDS[0], flat(1, HOUR)),
            state.restarts(ENDS[0], rising(0, 1, HOUR)),
            state.terminated(ENDS[0], "OOMKilled", flat(1, HOUR)),
            *flower.events(name, {"started": rising(0, 90, HOUR), "failed": rising(0, 30, HOUR)}),
            flower.online(name, flat(1, HOUR)),
            flower.executing(name, flat(3, HOUR)),
        ]
    return [*found, Flower("blog").up(flat(1, HOUR))]


def forgotten(honors_labels: bool) -> list[Series]:
    """Flower hears nothing of a worker for some minutes, forgets it, and counts anew."""
    name = node(ENDS[0])
    before, after = rising(5000, 6, 25), rising(1, 6, 30)
    counts = before + gone(5) + after
    return [
        *resting(honors_labels, but=(DEFAULT,)),
        *queue(honors_labels, flat(1, HOUR), inflight=flat(2, HOUR)),
        *FLOWER.events(name, {"started": counts, "succeeded": counts}),
        FLOWER.online(name, flat(1, 20) + flat(0, 5) + gone(5) + flat(1, 30)),
        State(DEFAULT).pod(ENDS[0], flat(1, HOUR)),
    ]


def producers(honors_labels: bool) -> list[Series]:
    """Processes that send tasks are workers to Flower, and what they send is never received."""
    sent = [
        item
        for number in range(1, 9)
        for item in FLOWER.events(f"gen{number}@{DEFAULT}-{ENDS[0]}", {"sent": rising(0, 30, HOUR)})
    ]
    return [*busy(honors_labels), *sent]


def without(story: Story, matches: Callable[[Series], bool], honors_labels: bool) -> list[Series]:
    return [item for item in story(honors_labels) if not matches(item)]


def interrupted(story: Story, matches: Callable[[Series], bool], honors_labels: bool) -> list[Series]:
    return changed(story(honors_labels), lambda item: cut(item, matches))


def down(honors_labels: bool) -> list[Series]:
    return changed(seasoned(honors_labels), cut_all)


STORIES: dict[str, Story] = {
    "tasks come and go": busy,
    "nothing is to be done": resting,
    "pods go one by one, down to zero": scales_down,
    "the first message wakes the variant": wakes,
    "a rollout": rolls_out,
    "everything that went wrong was months ago": seasoned,
    "Flower starts anew in its pod": flower_restarts_in_its_pod,
    "Flower starts anew in another pod": flower_gets_a_new_pod,
    "Prometheus has just begun to read everything": begins,
    "Flower cannot be reached for ten minutes": partial(interrupted, seasoned, of_flower),
    "KEDA cannot be reached for ten minutes": partial(interrupted, seasoned, of_keda),
    "kube-state-metrics cannot be reached for ten minutes": partial(interrupted, seasoned, of_state),
    "Prometheus itself was down for ten minutes": down,
    "nobody reads kube-state-metrics": partial(without, busy, of_state),
    "nobody reads KEDA": partial(without, scales_down, of_keda),
    "nobody reads Flower": partial(without, scales_down, of_flower),
    "tasks wait in a worker for their ETA": eta,
    "reports of two hours, one after the other": reports_all_night,
    "others are in trouble": neighbours,
    "Flower forgets a worker that comes back": forgotten,
    "producers that send events": producers,
}


#: Stories for which the alerts of the variant C(reports) are evaluated too: they look back for hours, which takes time.
LONG_LOOKS = (
    "nothing is to be done",
    "Prometheus has just begun to read everything",
    "reports of two hours, one after the other",
)
#: Stories in which KEDA's series matter, for a Prometheus that renames its label.
RENAMED = ("pods go one by one, down to zero", "the first message wakes the variant", "others are in trouble")


@pytest.mark.parametrize(
    ("name", "honors_labels"),
    [*((name, True) for name in STORIES), *((name, False) for name in RENAMED)],
    ids=[*STORIES, *(f"{name}, with exported_namespace" for name in RENAMED)],
)
def test_nothing_at_all_fires_while(name: str, honors_labels: bool) -> None:
    require_promtool()
    series = STORIES[name](honors_labels)
    minutes = round(max(len(item.values) for item in series) / 2)
    every = 1 if minutes <= 120 else 5
    expected = [Expected(minute, 'ALERTS{alertstate="firing"}', {}) for minute in range(1, minutes, every)]
    config = VARIABLES["config"]["billing"]
    variants = {item: keys for item, keys in config.items() if item != "reports" or name in LONG_LOOKS}
    fleet = fleet_of(**{**VARIABLES, "config": {"billing": variants}}, enabled=("flower", "prometheus_rule"))
    found = play([Scene(name, series, expected, groups=rule_groups(fleet), pace=2 * every)])
    assert not found, found


def test_the_rules_of_these_stories_do_fire_where_something_is_wrong() -> None:
    """All alerts that the neighbours' trouble sets off, when it is ours."""
    require_promtool()
    mine = [
        replace(
            item,
            labels={
                name: value.replace("billing-worker-high-mem", DEFAULT).replace("high_mem", "default")
                for name, value in item.labels.items()
            },
        )
        for item in neighbours(True)
        # While it is paused some of them keep quiet.
        if "billing-worker-high-mem" in str(item.labels) and item.metric != "keda_scaled_object_paused"
    ]
    groups = rule_groups(fleet_of(**VARIABLES, enabled=("flower", "prometheus_rule")))
    alerts = (
        "CeleryBacklogGrowsAtMaximum",
        "CeleryDrainsTooSlowly",
        "CeleryScalerErrors",
        "CeleryScalerFallback",
        "CeleryTasksDoNotEnd",
        "CeleryTasksFail",
        "CeleryWorkWithoutWorkers",
        "CeleryWorkerOutOfMemory",
        "CeleryWorkersRestart",
    )
    asked = 'count by (alertname) (ALERTS{alertstate="firing", deployment="billing-worker"})'
    expected = [Expected(40, asked, {f'{{alertname="{alert}"}}': 1 for alert in alerts})]
    found = play([Scene("ours", [*mine, FLOWER.up(flat(1, HOUR))], expected, groups=groups)])
    assert not found, found
