# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace in memory whose Deployments have pods, with workers that do what they are told over remote control."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.model_cluster import ModelCluster, Object
from tests.unit.running_pods import MARK, let_pods_say, pod_of


@dataclass
class Worker:
    """The worker of one pod.

    :param takes: whether it takes from its queues.
    :param running: names of the tasks that it runs.
    :param finishes: whether they end once it takes nothing new.
    """

    deployment: str
    queues: tuple[str, ...]
    takes: bool = True
    running: list[str] = field(default_factory=list)
    reserved: int = 0
    later: int = 0
    finishes: bool = False
    answers: bool = True

    def told(self, consumes: str) -> None:
        """What remote control does."""
        self.takes = {"pause": False, "resume": True}.get(consumes, self.takes)
        if consumes == "pause" and self.finishes:
            self.running, self.reserved = [], 0

    @property
    def work(self) -> Object:
        """What it says that it holds."""
        return {
            "running": [[name, 240.0] for name in self.running],
            "reserved": self.reserved,
            "later": self.later,
            "queues": len(self.queues) if self.takes else 0,
        }


@dataclass
class ToldSite:
    """The namespace with its workers.

    :param story: what was sent and told, in its order.
    :param cut: tasks whose pod was replaced while they ran.
    :param fails: Deployments whose new pods do not come up.
    :param waiting: messages in each queue.
    :param watch: called after each object that was written, and each time that workers were told something.
    """

    cluster: ModelCluster = field(default_factory=ModelCluster)
    workers: dict[str, Worker] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    waiting: int = 0
    watch: Callable[[], None] = lambda: None
    _templates: dict[str, Object] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.cluster.client = SimpleNamespace(client=SimpleNamespace(client=None), configuration=None)
        self.cluster.watch = self.follow
        send = self.cluster.send

        def sent(arguments: Object, hides: bool = False, new: Collection[str] = ()) -> Object:
            state = arguments.get("state", "present")
            self.story += [f"{state} {item['kind']} {item['metadata']['name']}" for item in arguments["definition"]]
            return send(arguments, hides, new)

        self.cluster.send = sent  # type: ignore[method-assign]

    def follow(self) -> None:
        """Give each Deployment the pods that it asks for; those of an older template are replaced."""
        for (kind, name), item in list(self.cluster.objects.items()):
            if kind == "Deployment":
                template = item["spec"]["template"]
                if self._templates.get(name) != template:
                    self._templates[name] = copy.deepcopy(template)
                    self._replace(name, [])
                self._replace(name, [pod for pod, one in self.workers.items() if one.deployment == name])
        self.watch()

    def _replace(self, name: str, kept: list[str]) -> None:
        item = self.cluster.objects["Deployment", name]
        wanted = int(item["spec"].get("replicas", 1))
        for pod in [pod for pod, one in self.workers.items() if one.deployment == name and pod not in kept[:wanted]]:
            self.cut += self.workers.pop(pod).running
            del self.cluster.objects["Pod", pod]
        for _number in range(wanted - len(kept)):
            self._count += 1
            self.start(f"{name}-{self._count}", item)
        if name in self.fails:
            item["status"]["updatedReplicas"] = 0

    def start(self, pod: str, deployment: Object) -> None:
        """A pod whose worker takes from the queues of its command line."""
        words = deployment["spec"]["template"]["spec"]["containers"][0].get("args", [])
        queues = tuple(queue for word in words if word.startswith("--queues=") for queue in word[9:].split(","))
        self.workers[pod] = Worker(deployment["metadata"]["name"], queues)
        made = pod_of(deployment, pod)
        made["status"]["containerStatuses"] = [{"name": "worker", "restartCount": 0, "state": {"running": {}}}]
        self.cluster.objects["Pod", pod] = made

    def restart(self, pod: str) -> None:
        """What the node does with a worker that has ended: it starts again, and takes work."""
        self.workers[pod].takes, self.workers[pod].running = True, []
        self.cluster.objects["Pod", pod]["status"]["containerStatuses"][0]["restartCount"] += 1

    def of(self, deployment: str) -> list[Worker]:
        """The workers of a Deployment."""
        return [worker for worker in self.workers.values() if worker.deployment == deployment]

    def says(self, _pod: str, question: dict[str, Any]) -> tuple[str, str]:
        """What a command in a pod answers."""
        asked = {pod: self.workers[pod] for pod in question["pods"] if pod in self.workers}
        if question["consumes"]:
            self.story.append(f"{question['consumes']} {next(iter(asked.values())).deployment}")
        for worker in asked.values():
            if worker.answers:
                worker.told(question["consumes"])
        self.watch()
        answer: Object = {"waiting": self.waiting}
        if question["leaves"]:
            answer["by_queue"] = dict.fromkeys(question["queues"], self.waiting)
        if question["moves_to"]:
            answer["moved"], self.waiting = self.waiting, 0
            answer["by_queue"] = dict.fromkeys(question["queues"], 0)
        if question["hash"]:
            answer["held"] = 0
        if question["watches"]:
            answer["works"] = {pod: worker.work for pod, worker in asked.items() if worker.answers}
        else:
            answer["running"] = [name for worker in asked.values() for name in worker.running]
        return f"{MARK}{json.dumps(answer)}\n", ""

    @property
    def consumed(self) -> set[str]:
        """Queues from which some worker takes."""
        return {queue for worker in self.workers.values() if worker.takes for queue in worker.queues}

    def annotations(self, kind: str, name: str) -> dict[str, str]:
        """Annotations of an object."""
        found: dict[str, str] = self.cluster.objects[kind, name]["metadata"].get("annotations", {})
        return found


def told_site(patch: pytest.MonkeyPatch) -> ToldSite:
    """Such a namespace, reached by the commands of a run."""
    site = ToldSite()
    let_pods_say(patch, lambda pod, question: site.says(pod, question))
    return site
