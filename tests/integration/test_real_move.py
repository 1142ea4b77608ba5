# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits is counted and moved on real brokers: none is lost, and none is there twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import (
    Answer,
    Question,
    answer_from,
    command_of,
)
from celery import Celery

from tests.support.real_rabbitmq import RabbitServer
from tests.support.real_redis import RedisServer
from tests.support.warm_celery import warm_programs

OLD, NEW = "shop.old", "shop.new"


def redis_url(server: RedisServer) -> str:
    return f"redis://:p%40%3A%2F%23%25@127.0.0.1:{server.port}/0"


class Site:
    """An app on one broker, with the command that a run sends into its pods."""

    def __init__(self, folder: Path, url: str, **options: Any) -> None:
        self.folder = folder
        self.app = Celery("shop", broker=url, set_as_current=False)
        self.app.conf.broker_transport_options = options
        text = f"from celery import Celery\napp = Celery('shop', broker={url!r})\n"
        text += f"app.conf.broker_transport_options = {options!r}\n"
        (folder / "shop.py").write_text(text, encoding="utf-8")

    def ask(self, **question: Any) -> Answer:
        path = f"{warm_programs(Path(sys.prefix))}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command_of(Question("shop", "", leaves=True, **question)),
            cwd=self.folder,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        found = answer_from(done.stdout)
        assert found is not None, done.stderr
        return found

    def send(self, first: int, count: int, queue: str = OLD) -> None:
        for number in range(first, first + count):
            self.app.send_task(
                "shop.note", (number,), queue=queue, priority=(0, 3, 9)[number % 3], ignore_result=True, shadow="x"
            )

    def take_all(self, queue: str) -> list[Any]:
        """Every message of a queue, acknowledged."""
        found = []
        with self.app.connection_for_read() as connection:
            channel = connection.default_channel
            while (message := channel.basic_get(queue)) is not None:
                channel.basic_ack(message.delivery_tag)
                found.append(channel.message_to_python(message))
        return found


def number_of(message: Any) -> int:
    return int(message.decode()[0][0])


@pytest.mark.parametrize("options", [{}, {"global_keyprefix": "own:", "sep": ":", "priority_steps": [0, 3, 9]}])
def test_lists_of_redis_are_moved_while_producers_go_on(
    tmp_path: Path, redis: RedisServer, options: dict[str, Any]
) -> None:
    site = Site(tmp_path, redis_url(redis), **options)
    site.send(0, 300)
    assert site.ask(queues=(OLD, "shop.none")).by_queue == {OLD: 300, "shop.none": 0}
    producer = threading.Thread(target=site.send, args=(300, 300))
    producer.start()
    first = site.ask(queues=(OLD,), moves_to=NEW, patience=120)
    producer.join()
    second = site.ask(queues=(OLD,), moves_to=NEW, patience=120)
    assert not first.error
    assert not second.error
    assert first.moved >= 300
    assert first.moved + second.moved == 600
    assert second.by_queue == {OLD: 0}
    assert site.ask(queues=(NEW,)).by_queue == {NEW: 600}
    moved = site.take_all(NEW)
    assert Counter(map(number_of, moved)) == Counter(range(600))
    # In their order, list by list.
    for rest in range(3):
        own = [number_of(message) for message in moved if number_of(message) % 3 == rest]
        assert own == sorted(own)
    assert all(message.headers["shadow"] == "x" and message.headers["task"] == "shop.note" for message in moved)
    assert site.take_all(OLD) == []


def test_a_moved_message_that_is_given_back_goes_to_its_new_queue(tmp_path: Path, redis: RedisServer) -> None:
    site = Site(tmp_path, redis_url(redis), global_keyprefix="back:")
    site.send(0, 1)
    assert site.ask(queues=(OLD,), moves_to=NEW, patience=120).moved == 1
    with site.app.connection_for_read() as connection:
        channel = connection.default_channel
        message = channel.basic_get(NEW)
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert site.ask(queues=(OLD, NEW)).by_queue == {OLD: 0, NEW: 1}


def declare(site: Site, *queues: str) -> None:
    with site.app.connection_for_write() as connection:
        for queue in queues:
            connection.default_channel.queue_declare(queue, durable=True, auto_delete=False)


def test_messages_of_rabbitmq_are_published_again_and_only_then_acknowledged(
    tmp_path: Path, rabbit: RabbitServer
) -> None:
    site = Site(tmp_path, rabbit.url)
    declare(site, NEW)
    site.send(0, 200)
    assert site.ask(queues=(OLD, "shop.none")).by_queue == {OLD: 200, "shop.none": 0}
    producer = threading.Thread(target=site.send, args=(200, 100))
    producer.start()
    first = site.ask(queues=(OLD,), moves_to=NEW, patience=120)
    producer.join()
    second = site.ask(queues=(OLD,), moves_to=NEW, patience=120)
    assert not first.error
    assert not second.error
    assert first.moved + second.moved == 300
    moved = site.take_all(NEW)
    assert [number_of(message) for message in moved] == list(range(300))
    assert all(message.headers["shadow"] == "x" and message.properties["delivery_mode"] == 2 for message in moved)
    assert site.take_all(OLD) == []


def test_nothing_is_taken_from_a_queue_of_rabbitmq_if_the_other_one_does_not_exist(
    tmp_path: Path, rabbit: RabbitServer
) -> None:
    site = Site(tmp_path, rabbit.url)
    site.send(0, 3, "shop.kept")
    found = site.ask(queues=("shop.kept",), moves_to="shop.missing", patience=120)
    assert "NOT_FOUND" in found.error
    assert found.moved == 0
    assert site.ask(queues=("shop.kept",)).by_queue == {"shop.kept": 3}
