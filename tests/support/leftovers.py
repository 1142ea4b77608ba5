# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app on a real broker, with workers that live and workers that were killed, and surveys of what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import (
    Survey,
    SurveyQuestion,
    answer_from,
    command_of,
)
from celery import Celery

from tests.support.waiting import PATIENCE, wait_until
from tests.support.warm_celery import WarmProcess, warm_process, warm_programs

_APP = """
import os
import time
from celery import Celery

app = Celery("shop", broker={url!r})
app.conf.task_acks_late = True
app.conf.broker_transport_options = {options!r}


@app.task
def hold(number):
    with open("events", "a") as stream:
        stream.write(str(number) + "\\n")
    while not os.path.exists("let-go"):
        time.sleep(0.1)
"""

#: Asks every worker for an answer, and is gone before any comes.
_INSPECTOR = """
import os
from shop import app

with app.connection_for_write() as connection:
    app.control.mailbox(connection)._publish("ping", {}, reply_ticket="lost", channel=connection.default_channel)
os._exit(0)
"""


@dataclass
class Program:
    """A process of the app."""

    process: subprocess.Popen[bytes] | WarmProcess
    log_file: Path

    def kill(self) -> None:
        """End it as the kernel does, with its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE)

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")


@dataclass
class LeftSite:
    """The app, and what runs of it.

    :param options: transport options of the app.
    """

    folder: Path
    url: str
    options: dict[str, Any] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)
    app: Any = None

    def __post_init__(self) -> None:
        self.app = Celery("sender", broker=self.url, set_as_current=False)
        self.app.conf.broker_transport_options = self.options
        (self.folder / "shop.py").write_text(_APP.format(url=self.url, options=self.options), encoding="utf-8")
        (self.folder / "inspector.py").write_text(_INSPECTOR, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{warm_programs(Path(sys.prefix))}{os.pathsep}{os.environ['PATH']}"}

    def start(self, node: str, queue: str, held: str = "") -> Program:
        """Start a worker that holds four messages.

        :param held: the hash of what it holds, if it has one of its own.
        """
        keys = {"unacked_key": f"unacked:{held}", "unacked_index_key": f"unacked_index:{held}"}
        settings = ["--", f"broker.transport_options=(dict){json.dumps(keys, separators=(',', ':'))}"] if held else []
        words = ["celery", "--app=shop", "worker", "--pool=threads", "--concurrency=1", f"--hostname={node}"]
        log = self.folder / f"{node}.log"
        with log.open("wb") as stream:
            line = [*words, f"--queues={queue}", "--loglevel=info", *settings]
            process = warm_process(line, Path(sys.prefix), self.folder, self.environment, stream)
        program = Program(process, log)
        self.programs.append(program)
        wait_until(lambda: " ready." in program.log or process.poll() is not None, lambda: program.log)
        return program

    def ask_and_die(self) -> None:
        """Ask every worker, and end before any has answered."""
        subprocess.run(
            [sys.executable, "inspector.py"], cwd=self.folder, env=self.environment, check=True, timeout=PATIENCE
        )

    def send(self, queue: str, numbers: range, **options: Any) -> None:
        for number in numbers:
            self.app.send_task("shop.hold", (number,), queue=queue, ignore_result=True, **options)

    def started(self) -> list[int]:
        """Numbers of the tasks that were started."""
        file = self.folder / "events"
        return [int(line) for line in file.read_text(encoding="utf-8").split()] if file.exists() else []

    def take_all(self, queue: str) -> Counter[int]:
        """Numbers of the messages of a queue, which is empty afterwards."""
        found: Counter[int] = Counter()
        with self.app.connection_for_read() as connection:
            channel = connection.default_channel
            while (message := channel.basic_get(queue)) is not None:
                channel.basic_ack(message.delivery_tag)
                found[int(channel.message_to_python(message).decode()[0][0])] += 1
        return found

    def nodes(self) -> set[str]:
        """Workers that answer."""
        found: set[str] = set()
        for seconds in (2, 10, 60):
            found = found or set(self.app.control.inspect(timeout=seconds).ping() or {})
        return found

    def survey(self, app: str = "shop", **question: Any) -> Survey:
        """Run what a run sends into a pod.

        :param app: empty for a pod of Flower, whose environment has the broker's address.
        """
        asked = SurveyQuestion(app, **{"audits": True, "quiet": 1, **question})
        done = subprocess.run(
            command_of(asked),
            cwd=self.folder if app else self.folder.parent,
            env={**self.environment, **({} if app else {"CELERY_BROKER_URL": self.url})},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        found = answer_from(done.stdout)
        assert found is not None, done.stderr
        assert not found.error
        return found

    def end(self) -> None:
        for program in self.programs:
            program.kill()


def row(survey: Survey, queue: str) -> dict[str, Any]:
    """What a survey says of a queue, for comparing."""
    found = next(item for item in survey.queues if item.name == queue)
    return {name: getattr(found, name) for name in ("waiting", "held", "later", "consumers")}


def left(survey: Survey) -> dict[tuple[str, str], int]:
    """What is left over, by kind."""
    return {(item.kind, item.what): item.count for item in survey.leftovers}
