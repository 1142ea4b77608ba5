# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks queues and gc on a site with a real Redis and a worker: every message is counted before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, extra_vars, write_inventory
from tests.support.live_pods import Database, LivePods
from tests.support.real_redis import PASSWORD, RedisServer

APP = """
from celery import Celery

app = Celery("shop")


@app.task
def note():
    pass
"""


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    return {"shop.py": APP}


@dataclass
class Story:
    """Runs by name, and after each where the messages are that a variant left that is gone."""

    namespace: str
    runs: dict[str, Run] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    bindings: dict[str, int] = field(default_factory=dict)


class TestQueuesAndCleanUp:
    @pytest.fixture(scope="class")
    @classmethod
    def story(
        cls, cluster: Cluster, player: Player, folder: Path, redis: RedisServer, pods: LivePods
    ) -> Iterator[Story]:
        story, database = Story(new_namespace_name("gc")), Database(redis, 0)
        address: Json = {"host": "127.0.0.1", "port": redis.port, "password": redis.password}
        variables: Json = {
            "celery_workers_namespace": story.namespace,
            "celery_workers_broker": address,
            "celery_workers_services": {
                "shop": {"app": "shop:app", "image": "shop:1", "idempotent": True, "pool": "threads", "concurrency": 1}
            },
            "celery_workers_config": {"shop": {"default": {"enable_keda": True}}},
            "celery_workers_gc_quiet": 1,
        }
        inventory = write_inventory(folder, {"one": variables})
        held = f"{story.namespace}.shop.low"

        def step(name: str, playbook: str, *options: str, json_output: bool = True, **given: object) -> None:
            own = [extra_vars({f"celery_workers_{key}": value for key, value in given.items()})] if given else []
            story.runs[name] = player.play(playbook, inventory, *own, *options, json_output=json_output)
            story.places[name] = (database.held(f"unacked:{held}"), database.waiting("low"))
            story.bindings[name] = int(redis.client().scard("_kombu.binding.reply.celery.pidbox"))

        with namespaces(cluster, story.namespace):
            step("deploy", "deploy")
            pods.start(story.namespace, "shop-worker").wait_until_ready()
            options = {"unacked_key": f"unacked:{held}", "unacked_index_key": f"unacked_index:{held}"}
            database.hold("low", 3, **options)
            redis.client().sadd("_kombu.binding.reply.celery.pidbox", "dead\x06\x16\x06\x16dead.reply.celery.pidbox")
            step("queues", "queues")
            step("status", "status", json_output=False, status_ask_pods=False, status_ask_broker=True)
            step("shown", "gc", json_output=False, gc_min_age=0)
            step("check", "gc", "--check", gc=True, gc_min_age=0)
            step("young", "gc", gc=True, ask_broker_from="controller", gc_quiet=5)
            redis.client().sadd("_kombu.binding.reply.celery.pidbox", "dead\x06\x16\x06\x16dead.reply.celery.pidbox")
            step("done", "gc", gc=True, gc_min_age=0)
            step("again", "gc", gc=True, gc_min_age=0)
            step("only", "gc", only="shop/default")
            database.send("default.quarantine", "shop.note")
            step("returned", "quarantine", quarantine_do="return")
            yield story

    def test_each_queue_is_told_with_what_is_known_of_it(self, story: Story) -> None:
        [broker] = story.runs["queues"].results("one", "Read what the queues hold")[0]["brokers"]
        rows = {row["name"]: row for row in broker["queues"]}
        assert rows["default"]["consumers"] == len(rows["default"]["workers"]) == 1
        assert (rows["low"]["waiting"], rows["low"]["unacked"], rows["low"]["consumers"]) == (0, 3, 0)
        assert story.runs["queues"].changed("one") == 0

    def test_the_status_asks_the_broker_where_it_is_told_to(self, story: Story) -> None:
        said = " ".join(story.runs["status"].output.split())
        assert "numbers from: the broker itself, from this machine" in said
        assert "work 0 waiting, 0 in flight" in said

    def test_without_being_told_to_a_run_shows_and_changes_nothing(self, story: Story) -> None:
        said = " ".join(story.runs["shown"].output.split())
        assert f"3 messages in unacked:{story.namespace}.shop.low, which no worker uses any more: would go back" in said
        assert "1 binding of a reply queue that is gone: would be taken out (dead.reply.celery.pidbox)." in said
        assert "Nothing was changed. Do it with -e celery_workers_gc=true." in said
        assert story.runs["shown"].code == 0
        assert "changed=1" not in said
        assert story.places["shown"] == story.places["check"] == (3, 0)
        assert story.bindings["shown"] == story.bindings["check"] == 1
        assert story.runs["check"].changed("one") == 1

    def test_what_may_still_run_stays_also_where_this_machine_asks(self, story: Story) -> None:
        assert story.places["young"] == (3, 0)
        assert story.bindings["young"] == 0

    def test_leftovers_go_and_messages_are_back_in_their_queue(self, story: Story) -> None:
        assert story.runs["done"].changed("one") == 1
        assert (story.places["done"], story.bindings["done"]) == ((0, 3), 0)
        assert story.runs["again"].changed("one") == 0
        assert story.places["again"] == (0, 3)

    def test_a_part_of_a_broker_is_not_cleaned_up(self, story: Story) -> None:
        assert "celery_workers_only: a broker is cleaned up as a whole" in story.runs["only"].message("one")

    def test_what_was_put_aside_goes_back_to_its_queue(self, story: Story) -> None:
        [broker] = story.runs["returned"].results("one", "Look after what is in quarantine")[0]["brokers"]
        [row] = broker["quarantine"]
        assert (row["task"], row["origin"], row["done"]) == ("shop.note", "default", True)
        assert story.runs["returned"].changed("one") == 1

    def test_no_password_is_shown(self, story: Story) -> None:
        for run in story.runs.values():
            assert PASSWORD not in run.output
            assert "Traceback" not in run.output
