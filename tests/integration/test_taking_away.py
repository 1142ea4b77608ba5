# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant that goes while messages wait: real workers, a real Redis, and every message counted before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, extra_vars, write_inventory
from tests.support.live_pods import Database, LivePods
from tests.support.real_redis import RedisServer
from tests.support.waiting import wait_until

LOW = "shop-worker-low"
#: So many that working them off takes longer than the run that moves them, on any machine.
COUNT = 300
# A task that starts while the key "gate" exists counts itself and stays, so that a run that asks finds it for sure.
APP = """
import os, time, redis
from celery import Celery

app = Celery("shop")


@app.task
def note(number):
    client = redis.Redis.from_url(os.environ["CELERY_BROKER_URL"])
    if client.exists("gate"):
        client.incr("at-gate")
        while client.exists("gate"):
            time.sleep(0.05)
    time.sleep(2)
    client.rpush("done", number)
"""


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    return {"shop.py": APP}


@dataclass
class Story:
    """Runs by name, what was there after each, and where the messages are in the end."""

    runs: dict[str, Run] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    executed: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    left: int = -1


class TestTakingAway:
    @pytest.fixture(scope="class")
    @classmethod
    def story(
        cls, cluster: Cluster, player: Player, folder: Path, redis: RedisServer, pods: LivePods
    ) -> Iterator[Story]:
        story, name, database = Story(), new_namespace_name("away"), Database(redis, 0)
        variables: Json = {
            "celery_workers_namespace": name,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "127.0.0.1", "port": redis.port, "password": redis.password},
            "celery_workers_services": {"shop": {"app": "shop:app", "image": "registry.example/shop:1"}},
        }
        both: Json = {"shop": {"default": {"concurrency": 1}, "low": {"concurrency": 1, "prefetch_multiplier": 1}}}
        one: Json = {"shop": {"default": {"concurrency": 1}}}

        def step(title: str, config: Json, playbook: str = "deploy", **given: object) -> None:
            inventory = write_inventory(folder, {"one": {**variables, "celery_workers_config": config}})
            own = [extra_vars({f"celery_workers_{key}": value for key, value in given.items()})] if given else []
            story.runs[title] = player.play(playbook, inventory, *own)
            story.names[title] = cluster.names(name)

        with namespaces(cluster, name):
            step("first", both)
            every = [item["metadata"]["name"] for item in cluster.power.objects("Pod", name)]
            (pod,) = [item for item in every if item.startswith(f"{LOW}-")]
            worker = pods.start(name, LOW, pod)
            worker.wait_until_ready()
            for number in range(COUNT):
                database.send("low", "shop.note", number)
            wait_until(lambda: database.client.llen("done"))
            database.client.set("gate", 1)
            wait_until(lambda: database.client.get("at-gate"))
            step("refused", one, prune=True)
            database.client.delete("gate")
            step("moved", one, prune="move", move_to="default")
            worker.kill()
            story.executed = [int(item) for item in database.client.lrange("done", 0, -1)]
            story.left = database.waiting("low") + database.held()
            story.moved = waiting_numbers(database, "default")
            step("unknown", one, playbook="remove")
            step("accepted", one, playbook="remove", key_change="accept")
            yield story

    def test_prune_stops_and_says_how_many_messages_wait_where(self, story: Story) -> None:
        message = story.runs["refused"].message("one")
        assert (
            "messages wait in queue low and the workers that go run shop.note, and prune removes Deployment" in message
        )
        assert story.names["refused"] == story.names["first"]

    def test_no_message_is_lost_and_none_is_there_twice(self, story: Story) -> None:
        assert story.runs["moved"].changed("one") > 0
        assert f"Deployment {LOW}" not in story.names["moved"]
        assert story.moved
        assert story.left == 0
        assert sorted([*story.executed, *story.moved]) == list(range(COUNT))
        said = story.runs["moved"].said("one", "notes")
        assert f"Moved {len(story.moved)} messages from low to default." in said

    def test_a_removal_stops_while_messages_wait(self, story: Story) -> None:
        message = story.runs["unknown"].message("one")
        assert f"shop/default: {len(story.moved)} messages wait in queue default" in message
        assert "this removal deletes Deployment shop-worker" in message
        assert story.names["unknown"] == story.names["moved"]
        assert not {item for item in story.names["accepted"] if item.startswith("Deployment")}


def waiting_numbers(database: Database, queue: str) -> list[int]:
    """The arguments of the messages in a queue, which stay there."""
    found = []
    with database.app().connection_for_read() as connection:
        channel = connection.default_channel
        tags = []
        while (message := channel.basic_get(queue)) is not None:
            tags.append(message.delivery_tag)
            found.append(int(channel.message_to_python(message).decode()[0][0]))
        for tag in tags:
            channel.basic_reject(tag, requeue=True)
    return found
