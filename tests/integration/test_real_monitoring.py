# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboard and alerts against what is known to be true: real tasks on a real site, scraped by a real Prometheus."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.wait_goal import goal_of
from ansible_collections.queueops.celery.plugins.module_utils._model.prometheus import Prometheus

from tests.support.real_prometheus import Sample, require_prometheus
from tests.support.real_redis import redis_server, require_redis
from tests.support.real_site import COUNTED, Site, filled, real_site
from tests.support.waiting import wait_until

#: What was sent, by name.
CHARGED, REMINDED, FETCHED, WAITING = 12, 6, 2, 5
#: One number of Flower and one of KEDA.
MEASURED = ("flower_worker_prefetched_tasks", "keda_scaler_metrics_value")
VARIANTS = ["shop-worker", "shop-worker-reports"]


@dataclass(frozen=True)
class Told:
    """The site when everything has settled, and what Prometheus said of it then."""

    site: Site
    expected_alerts: tuple[str, ...] = ()

    def panel(self, title: str, query: int = 0, variants: list[str] | None = None) -> list[Sample]:
        """What a panel shows now."""
        found = next(item for item in self.site.panels() if item["title"] == title)
        return self.site.prometheus.query(filled(found["targets"][query]["expr"], variants or VARIANTS))

    def number(self, title: str) -> float:
        """The one number of a panel."""
        found = self.panel(title)
        assert len(found) == 1, found
        return found[0][1]

    def by(self, label: str, title: str, query: int = 0, variants: list[str] | None = None) -> dict[str, float]:
        """Values of a panel by one label."""
        found = self.panel(title, query, variants)
        values = {labels.get(label, ""): value for labels, value in found}
        assert len(values) == len(found), found
        return values


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One site for all tests: two workers of which one is killed, five messages that nobody takes."""
    require_redis()
    require_prometheus()
    config: dict[str, Any] = {
        "default": {
            "enable_keda": True,
            "concurrency": 2,
            "max_replicas": 4,
            "longest_task_seconds": 900,
            "alerts": {"failure_ratio": 0.2, "no_workers_seconds": 60, "poison_starts": 3},
        },
        "reports": {"enable_keda": True, "longest_task_seconds": 900, "alerts": {"no_workers_seconds": 60}},
    }
    with redis_server("p@:/#%w") as redis, real_site(tmp_path_factory.mktemp("site"), redis, config) as site:
        for _number in range(WAITING):
            site.pods.send(0, task="shop.charge", variant="reports")
        first, second = site.start("default", "aaaaa"), site.start("default", "bbbbb")
        for worker in (first, second):
            worker.wait_until_ready()
        # A monitor of both workers, so that each has a task when one of them is killed.
        for _number in range(CHARGED):
            site.pods.send(0.2, task="shop.charge", variant="default")
        for _number in range(REMINDED):
            site.pods.send(0, task="shop.remind", variant="default")
        for _number in range(FETCHED):
            site.pods.send(task="shop.fetch", variant="default")
        revoked = site.pods.sender().send_task("shop.charge", (0,), queue="default", countdown=20)
        site.pods.sender().control.revoke(revoked.id)
        # It starts again and again.
        poison = site.pods.sender().send_task("shop.poison", queue="default")
        wait_until(lambda: _starts(site, "shop.poison") > 3, site.pods.logs)
        site.pods.sender().control.revoke(poison.id)
        wait_until(lambda: _known(site, "task-revoked") == 2, site.pods.logs)
        for _number in range(4):
            site.pods.send(600, task="shop.charge", variant="default")
        wait_until(lambda: _running(site) == {4}, lambda: (site.pods.logs(), _running(site)))
        second.kill()
        # Subqueries look at whole minutes, so one has to begin while there are numbers of each kind.
        wait_until(lambda: all(site.prometheus.query(f"count_over_time({name}[10m:1m])") for name in MEASURED))
        wait_until(lambda: _settled(site), site.pods.logs)
        yield Told(site)


def _known(site: Site, kind: str) -> float:
    return site.prometheus.value(f'sum(flower_events_total{{type="{kind}"}})') or 0


def _starts(site: Site, task: str) -> float:
    """Also those of the killed worker, which Flower forgets after a while."""
    counted = f'sum(flower_events_total{{type="task-started", task="{task}"}})'
    return site.prometheus.value(f"max_over_time({counted}[10m:1s])") or 0


def _running(site: Site) -> set[float]:
    return {site.prometheus.value("sum(flower_worker_number_of_currently_executing_tasks)") or 0}


def _settled(site: Site) -> bool:
    """Whether Prometheus has seen the end of the killed pod."""
    return site.prometheus.value('kube_deployment_status_replicas{deployment="shop-worker"}') == 1


def test_every_query_of_every_panel_is_valid_and_has_numbers(told: Told) -> None:
    empty = {
        (panel["title"], target["legendFormat"])
        for panel in told.site.panels()
        for target in panel["targets"]
        if not told.site.prometheus.query(filled(target["expr"], VARIANTS))
    }
    assert empty == set()


def test_every_query_holds_for_one_variant_and_for_several_namespaces(told: Told) -> None:
    for panel in told.site.panels():
        for target in panel["targets"]:
            told.site.prometheus.query(filled(target["expr"], VARIANTS[:1], namespaces="(shop|blog)"))


def test_a_wait_goal_goes_by_the_run_time_that_tasks_really_had(told: Told) -> None:
    """Also of the worker that was killed, whose series Flower has forgotten since."""
    fleet = told.site.manifests.fleet
    prometheus = Prometheus(url=f"http://127.0.0.1:{told.site.prometheus.port}")
    goal = goal_of(replace(fleet, prometheus=prometheus), replace(fleet.variants[0], measured_by="flower"))
    assert goal is not None
    [query] = [item["metadata"]["query"] for item in goal.triggers if item["name"] == "measured_seconds"]
    seconds, runs = (
        f'sum(max_over_time(flower_task_runtime_seconds_{part}{{worker=~".*shop-worker-[^-]+-[^-]+"}}[1h]))'
        for part in ("sum", "count")
    )
    assert told.site.prometheus.value(query) == pytest.approx(told.site.prometheus.value(f"{seconds} / {runs}"))
    assert (told.site.prometheus.value(query) or 0) > 0.1


def test_the_queue_length_is_what_redis_holds(told: Told) -> None:
    client = told.site.redis.client()
    assert int(client.llen("reports")) == WAITING
    assert told.by("deployment", "Queue length by variant") == {
        "shop-worker": client.llen("default"),
        "shop-worker-reports": WAITING,
    }
    assert told.number("Waiting") == client.llen("default") + WAITING


def test_in_flight_is_what_workers_have_not_acknowledged(told: Told) -> None:
    held = told.site.redis.client().hlen("unacked:shop.shop.default")
    assert held >= 2, "those of the killed worker are in it as well"
    assert told.by("deployment", "In flight by variant")["shop-worker"] == held
    assert told.number("In flight") == held


def test_tasks_are_counted_by_how_they_ended(told: Told) -> None:
    ratio = told.by("task", "Success ratio by task")
    assert ratio["shop.charge"] == 1
    assert ratio["shop.remind"] == 0, "a task that only fails has a ratio as well"
    assert ratio["shop.fetch"] == 1
    failed = told.by("task", "Failure ratio by task")
    assert {name: 1 - value for name, value in failed.items()} == pytest.approx(ratio)
    share = REMINDED / (CHARGED + REMINDED + FETCHED)
    assert told.number("Failed") == pytest.approx(share)


def test_the_pace_counts_every_task_that_ended(told: Told) -> None:
    by_name = {name: round(value * COUNTED / 60) for name, value in told.by("task", "Tasks by name").items()}
    assert by_name["shop.remind"] == REMINDED
    assert by_name["shop.fetch"] == 2 * FETCHED, "the first try ends, too"
    assert sum(by_name.values()) == CHARGED + REMINDED + 2 * FETCHED + 2, "two were revoked"
    assert told.number("Tasks per minute") * COUNTED / 60 == pytest.approx(sum(by_name.values()))


def test_a_killed_worker_is_not_shown_as_working(told: Told) -> None:
    alive = "shop.default@shop-worker-6c9d8f7b5-aaaaa"
    assert told.by("worker", "Tasks executing at worker") == {alive: 2}
    assert set(told.by("worker", "Tasks prefetched at worker")) == {alive}
    assert told.by("deployment", "Worker status")["shop-worker"] == 1
    assert told.by("deployment", "Worker status", 1) == {"shop-worker": 1, "shop-worker-reports": 0}


def test_the_runtime_is_that_of_the_tasks(told: Told) -> None:
    tasks = told.site.flower.get("/api/tasks", told.site.flower.login).data.values()
    took = [task["runtime"] for task in tasks if task["name"] == "shop.charge" and task["state"] == "SUCCESS"]
    assert len(took) == CHARGED
    mean = told.by("task", "Runtime by task")
    assert mean["shop.charge"] == pytest.approx(sum(took) / CHARGED, rel=0.1)
    assert "shop.remind" not in mean, "it is known of tasks that succeeded"
    # As exact as Flower's buckets are.
    assert min(took) / 2.5 < told.by("task", "Runtime by task, 95 of 100")["shop.charge"] <= max(took) * 2.5


def test_wanted_ready_and_most_pods_stand_beside_the_work(told: Told) -> None:
    found = [told.panel("Work and pods", query, ["shop-worker"])[0][1] for query in range(5)]
    client = told.site.redis.client()
    assert found == [client.llen("default"), client.hlen("unacked:shop.shop.default"), 1, 1, 4]


def test_nothing_drains_a_queue_without_workers(told: Told) -> None:
    drain = told.by("deployment", "Oldest waiting work and drain time", 1)
    assert "shop-worker-reports" not in drain
    oldest = told.by("deployment", "Oldest waiting work and drain time", 0, ["shop-worker-reports"])
    assert 0 < oldest["shop-worker-reports"] < 6 * 3600


def test_the_length_by_task_adds_up_to_the_queues_that_are_worked_on(told: Told) -> None:
    shares = told.by("task", "Queue length by task")
    assert sum(shares.values()) == pytest.approx(told.by("deployment", "Queue length by variant")["shop-worker"])


def test_producers_have_no_series(told: Told) -> None:
    assert told.site.prometheus.query('{worker=~"gen.*"}') == []


def test_every_rule_is_evaluated_without_an_error(told: Told) -> None:
    rules = told.site.prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}, [rule for rule in rules if rule["health"] != "ok"]
    assert len({rule["name"] for rule in rules if rule["type"] == "alerting"}) == 13
    assert len([rule for rule in rules if rule["name"] == "celery_variant:info"]) == len(VARIANTS)


def test_only_what_is_wrong_here_raises_an_alert(told: Told) -> None:
    raised = {
        (rule["name"], alert["labels"]["variant"])
        for rule in told.site.prometheus.rules()
        for alert in rule.get("alerts", ())
    }
    assert raised == {
        ("CeleryTasksFail", "default"),
        ("CeleryTasksDoNotEnd", "default"),
        ("CeleryWorkWithoutWorkers", "reports"),
        ("CeleryDrainsTooSlowly", "reports"),
    }


def test_a_poison_task_starts_and_does_not_end(told: Told) -> None:
    name = 'task="shop.poison"'
    prometheus = told.site.prometheus
    assert _starts(told.site, "shop.poison") > 3
    ended = prometheus.value(f'sum(flower_events_total{{{name}, type=~"task-succeeded|task-failed"}})')
    assert ended in (None, 0)


def test_no_number_is_infinite_where_something_ends(told: Told) -> None:
    assert all(math.isfinite(value) for _labels, value in told.panel("Throughput", variants=["shop-worker"]))
