# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What queues hold and what is left over in real brokers: counted, taken away and given back, while others work."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.programs.survey import Lists, Place
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import SurveyQuestion
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reaching import (
    Login,
    count_directly,
    survey_directly,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.broker import Broker

from tests.support.leftovers import LeftSite, left, row
from tests.support.real_rabbitmq import RabbitServer
from tests.support.real_redis import PASSWORD, RedisServer, redis_server, require_redis
from tests.support.real_worker import broker_of, shop
from tests.support.waiting import wait_until
from tests.unit.modules.running import run

LIVE, GONE = "unacked:shop.shop.live", "unacked:shop.shop.gone"
#: What a run knows of the fleet: which hashes are used, and which are its own.
KNOWN: dict[str, Any] = {"used": {LIVE: 3600, "unacked": 0}, "own": "unacked:shop.", "queues": ("live",)}
#: Where the bindings of remote control and of events are.
TABLES = ("reply.celery.pidbox", "celery.pidbox", "celeryev")


def test_queues_of_tasks_that_are_called_like_those_of_events_are_left_alone() -> None:
    require_redis()
    with redis_server(PASSWORD) as server:
        client = server.client()
        for name, headers in (("shop.high", {"task": "shop.nap"}), ("shop.1f", {}), ("shop.low", {})):
            client.rpush(name, json.dumps({"body": "", "headers": headers, "properties": {}}))
        lists = Lists(client, Place("", "\x06\x16", (0, 3, 6, 9), events=("shop", "celeryev")), ["shop.low"], 10)
        lists.read()
    assert lists.own == ["shop.1f"]
    assert lists.queues.keys() == {"shop.high", "shop.low"}


class TestRedis:
    """One worker lives and holds messages, another one was killed and its variant is gone."""

    @pytest.fixture(scope="class")
    @classmethod
    def redis(cls) -> Iterator[RedisServer]:
        require_redis()
        with redis_server(PASSWORD) as server:
            yield server

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeftSite]:
        site = LeftSite(tmp_path_factory.mktemp("site"), f"redis://:p%40%3A%2F%23%25@127.0.0.1:{redis.port}/0")
        try:
            killed = site.start("b@killed", "gone", "shop.shop.gone")
            site.send("gone", range(100, 110), priority=3)
            wait_until(lambda: redis.client().hlen(GONE) == 4)
            killed.kill()
            site.start("shop.live@a", "live", "shop.shop.live")
            site.send("live", range(3))
            site.send("live", range(3, 4), countdown=3000)
            wait_until(lambda: redis.client().hlen(LIVE) == 4 and 0 in site.started())
            site.send("forgotten", range(200, 203), priority=9)
            site.ask_and_die()
            wait_until(lambda: [key for key in redis.client().scan_iter() if key.endswith("reply.celery.pidbox")])
            redis.client().rpush("somebody-else", "keeps a list here")
            yield site
        finally:
            site.end()

    @staticmethod
    def bindings(redis: RedisServer) -> dict[str, set[Any]]:
        client = redis.client()
        return {table: set(client.smembers(f"_kombu.binding.{table}")) for table in TABLES}

    def test_what_queues_hold_is_told_and_nothing_is_changed(self, site: LeftSite, redis: RedisServer) -> None:
        before, bound = sorted(self.content(redis)), self.bindings(redis)
        found = site.survey(**KNOWN, min_age=0)
        assert row(found, "live") == {"waiting": 0, "held": 4, "later": 1, "consumers": 1}
        assert row(found, "gone") == {"waiting": 6, "held": 4, "later": 0, "consumers": 0}
        assert row(found, "forgotten") == {"waiting": 3, "held": 0, "later": 0, "consumers": 0}
        steps = {item.name: item.steps for item in found.queues}
        assert steps["forgotten"] == {"0": 0, "3": 0, "6": 0, "9": 3}
        assert set(steps) == {"live", "gone", "forgotten"}
        hashes = {item.key: item for item in found.hashes}
        assert (hashes[LIVE].is_used, hashes[LIVE].stranded) == (True, {})
        assert (hashes[GONE].is_used, hashes[GONE].stranded) == (False, {"gone": 4})
        assert left(found) == {("reply", "queue"): 1, ("reply", "binding"): 1, ("node", "binding"): 1}
        assert (sorted(self.content(redis)), self.bindings(redis)) == (before, bound)

    @staticmethod
    def content(redis: RedisServer) -> list[tuple[str, Any]]:
        client = redis.client()
        found = []
        for key in client.scan_iter():
            if client.type(key) == "list":
                found.append((key, client.lrange(key, 0, -1)))
            elif key.startswith("unacked") and client.type(key) == "hash":
                found.append((key, sorted(client.hgetall(key))))
        return found

    def test_leftovers_go_and_stranded_messages_go_back_while_others_work(
        self, site: LeftSite, redis: RedisServer
    ) -> None:
        before = self.bindings(redis)
        held = redis.client().hgetall(LIVE)
        found = site.survey(**KNOWN, min_age=0, removes=True)
        assert {item.key: item.given_back for item in found.hashes} == {LIVE: {}, GONE: {"gone": 4}}
        assert [item.removed for item in found.leftovers] == [item.count for item in found.leftovers]
        after = self.bindings(redis)
        assert after["reply.celery.pidbox"] == set()
        assert {name.split("\x06\x16")[-1] for name in before["celery.pidbox"] - after["celery.pidbox"]} == {
            "b@killed.celery.pidbox"
        }
        # Nobody can tell whose they are while somebody listens.
        assert after["celeryev"] == before["celeryev"]
        assert redis.client().hgetall(LIVE) == held
        assert redis.client().exists(GONE, "unacked_index:shop.shop.gone") == 0
        assert redis.client().lrange("somebody-else", 0, -1) == ["keeps a list here"]
        assert site.nodes() == {"shop.live@a"}
        # None lost, none twice.
        assert site.take_all("gone") == Counter(range(100, 110))
        assert site.take_all("forgotten") == Counter(range(200, 203))

    def test_a_second_run_finds_nothing_and_takes_no_worker_for_gone_that_answers(self, site: LeftSite) -> None:
        # Nothing of this cluster names the hash of the one that lives.
        found = site.survey(app="", own="unacked:shop.", used={"unacked": 0}, min_age=0, removes=True)
        assert [(item.key, item.is_used, item.messages) for item in found.hashes] == [(LIVE, True, 4)]
        assert left(found) == {}
        assert not any(item.stranded for item in found.hashes)

    def test_once_nobody_listens_bindings_of_events_go_as_well(self, site: LeftSite, redis: RedisServer) -> None:
        site.end()
        wait_until(lambda: all(int(item["psub"]) == 0 for item in redis.client().client_list()))
        found = site.survey(**KNOWN, removes=True)
        assert left(found) == {("node", "binding"): 1, ("event", "binding"): 2}
        assert self.bindings(redis) == {table: set() for table in TABLES}
        # Its variant is in the inventory, so a worker of it may come and go on.
        assert redis.client().hlen(LIVE) == 4

    def test_the_module_says_the_same_from_where_it_runs(self, site: LeftSite, redis: RedisServer) -> None:
        address = {"host": "127.0.0.1", "port": redis.port, "password": redis.password}
        found = run("queue_info", broker=address, queues=["none"], audit=False)
        rows = {item["name"]: item for item in found["queues"]}
        assert rows["live"]["unacked"] == 4
        assert rows["live"]["held_for_eta"] == 1
        assert rows["live"]["consumers"] is None
        assert rows["none"]["waiting"] == 0
        assert redis.password not in str(found)

    def test_status_counts_the_same_for_a_variant(self, site: LeftSite, redis: RedisServer) -> None:
        pods = shop(broker_of(redis), {"live": {}, "gone": {}})
        broker = pods.fleet.services[0].broker
        assert broker is not None
        told = count_directly(broker, Login(redis.password, timeout=60), pods.fleet.variants)
        assert {name: (item.waiting, item.held) for name, item in told.items()} == {
            "shop-worker-live": (0, 4),
            "shop-worker-gone": (0, 0),
        }
        refused = count_directly(broker, Login("wrong-one", timeout=60), pods.fleet.variants)
        assert {item.waiting for item in refused.values()} == {None}
        assert "wrong-one" not in str(refused)
        assert "AuthenticationError" in refused["shop-worker-live"].error


@pytest.mark.parametrize(
    ("number", "prefix", "options"),
    [(1, "", {}), (2, "own:", {"global_keyprefix": "own:", "sep": ":", "priority_steps": [0, 3, 9]})],
)
def test_messages_that_are_acknowledged_meanwhile_are_neither_lost_nor_doubled(
    tmp_path: Path, redis: RedisServer, number: int, prefix: str, options: dict[str, Any]
) -> None:
    site = LeftSite(tmp_path, f"redis://:p%40%3A%2F%23%25@127.0.0.1:{redis.port}/{number}", options)
    site.send("busy", range(150))
    site.send("busy", range(150, 300), priority=9)
    asked: dict[str, Any] = {"used": {"unacked": 0}, "queues": ("busy",), "audits": False, "asks_nodes": False}
    acknowledged: set[int] = set()
    with site.app.connection_for_read() as connection:
        channel = connection.default_channel
        messages = [channel.basic_get("busy") for _number in range(300)]
        numbers = {item.delivery_tag: int(channel.message_to_python(item).decode()[0][0]) for item in messages}
        client = redis.client()
        client.connection_pool.connection_kwargs["db"] = number
        client.zadd(f"{prefix}unacked_index", dict.fromkeys(numbers, time.time() - 9000))

        def acknowledge() -> None:
            for tag in list(numbers)[::2]:
                if client.hexists(f"{prefix}unacked", tag):
                    acknowledged.add(numbers[tag])
                channel.basic_ack(tag)
                time.sleep(0.005)

        worker = threading.Thread(target=acknowledge)
        worker.start()
        [held] = site.survey(**asked, removes=True).hashes
        worker.join()
        # What this process holds it would give back when it ends.
        channel.qos._delivered.clear()
    back = site.take_all("busy")
    again = site.survey(**asked, removes=True)
    back += site.take_all("busy")
    assert held.given_back
    assert {step: size for item in again.queues for step, size in item.steps.items() if size} == {}
    assert set(back) | acknowledged == set(range(300))
    assert set(back.values()) == {1}


def here(redis: RedisServer, number: int, **keys: Any) -> Broker:
    return Broker(host="127.0.0.1", port=redis.port, database=number, **keys)


def test_a_message_whose_queue_no_binding_names_stays(redis: RedisServer) -> None:
    client = redis.client()
    client.connection_pool.connection_kwargs["db"] = 3
    message = {"body": "", "headers": {}, "properties": {"priority": 9, "delivery_info": {}}}
    held = {"unknown": [message, "nowhere", "a"], "known": [message, "", "b"], "broken": "no message"}
    client.hset("unacked:f.s.gone", mapping={tag: json.dumps(item) for tag, item in held.items()})
    question = SurveyQuestion("", own="unacked:f.", min_age=0, removes=True, asks_nodes=False)
    [row] = survey_directly(here(redis, 3), Login(redis.password), question).hashes
    assert (row.given_back, row.unplaced) == ({"b": 1}, 2)
    assert sorted(client.hkeys("unacked:f.s.gone")) == ["broken", "unknown"]
    [given] = client.lrange("b\x06\x169", 0, -1)
    assert json.loads(given)["properties"]["delivery_info"]["redelivered"]


def test_a_queue_that_is_named_like_the_step_of_another_one_is_told_once(redis: RedisServer) -> None:
    client = redis.client()
    client.connection_pool.connection_kwargs["db"] = 4
    message = json.dumps({"body": "", "properties": {"timestamp": time.time() - 90}})
    client.lpush("a:3", message)
    client.lpush("c:3", message)
    question = SurveyQuestion("", queues=("a:3",), asks_nodes=False)
    found = survey_directly(here(redis, 4, sep=":"), Login(redis.password), question)
    assert {item.name: (item.waiting, item.steps["3"]) for item in found.queues} == {"a:3": (1, 0), "c": (1, 1)}
    assert {round((item.oldest_waiting or 0) / 10) for item in found.queues} == {9}


def test_an_account_that_may_not_list_keys_still_counts_its_queues(redis: RedisServer) -> None:
    client: Any = redis.client()
    client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+llen", "+lindex", "+select", "+client")
    client.rpush("counted", "1")
    question = SurveyQuestion("", queues=("counted",), asks_nodes=False, audits=True)
    found = survey_directly(here(redis, 0, username="reader"), Login("word"), question)
    assert [(item.name, item.waiting, item.held) for item in found.queues] == [("counted", 1, None)]
    assert "its keys cannot be listed" in found.unread
    assert not found.error
    client.delete("counted")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    require_redis()
    with redis_server(PASSWORD) as server:
        yield server


def test_rabbitmq_deletes_what_nobody_reads_and_nothing_else(tmp_path: Path, rabbit: RabbitServer) -> None:
    site = LeftSite(tmp_path, rabbit.url)
    management = f"http://127.0.0.1:{rabbit.management_port}"
    try:
        site.start("a@live", "live")
        site.send("live", range(3))
        site.send("live", range(3, 4), countdown=3000)
        wait_until(lambda: 0 in site.started())
        site.send("forgotten", range(200, 203))
        with site.app.connection_for_write() as connection:
            channel = connection.default_channel
            for name in ("dead.reply.celery.pidbox", "celeryev.dead", "b@killed.celery.pidbox"):
                channel.queue_declare(name, durable=False, auto_delete=False)
            channel.basic_publish(channel.prepare_message(b"late"), routing_key="dead.reply.celery.pidbox")
            # Somebody waits for answers, and has none yet.
            channel.queue_declare("live.reply.celery.pidbox", durable=False, auto_delete=False)
            channel.basic_consume("live.reply.celery.pidbox", no_ack=True)
            wait_until(lambda: (item := rabbit.queue("forgotten")) is not None and item.ready == 3)
            wait_until(lambda: (item := rabbit.queue("live")) is not None and item.unacknowledged == 4)
            dry = site.survey(queues=("live",), management=management, quiet=2)
            names = rabbit.queue_names()
            found = site.survey(queues=("live",), management=management, quiet=2, removes=True)
            after = rabbit.queue_names()
        assert row(dry, "live") == {"waiting": 0, "held": 4, "later": 1, "consumers": 1}
        assert row(dry, "forgotten") == {"waiting": 3, "held": 0, "later": 0, "consumers": 0}
        dead = {("reply", "queue"): 1, ("node", "queue"): 1, ("event", "queue"): 1}
        assert left(dry) == left(found) == dead
        assert names - after == {"dead.reply.celery.pidbox", "celeryev.dead", "b@killed.celery.pidbox"}
        assert site.nodes() == {"a@live"}
        assert site.take_all("forgotten") == Counter(range(200, 203))
        address = {
            "type": "rabbitmq",
            "host": "127.0.0.1",
            "port": rabbit.port,
            "username": rabbit.user,
            "virtual_host": rabbit.virtual_host,
            "management_url": management,
        }
        told = run("queue_info", broker={**address, "password": rabbit.password}, audit=False)
        assert {item["name"]: item["unacked"] for item in told["queues"]}["live"] == 4
        assert told["type"] == "rabbitmq"
        broker = Broker(
            type="rabbitmq",
            host="127.0.0.1",
            port=rabbit.port,
            username=rabbit.user,
            virtual_host=rabbit.virtual_host,
        )
        variants = shop({"type": "rabbitmq", "host": "rabbit"}, {"live": {}, "none": {}}).fleet.variants
        counted = count_directly(broker, Login(rabbit.password, timeout=60), variants)
        assert [(item.waiting, item.held) for item in counted.values()] == [(0, None), (0, None)]
        refused = run("queue_info", broker={**address, "password": "wrong-one"})
        assert refused["failed"]
        assert "wrong-one" not in str(refused)
    finally:
        site.end()
