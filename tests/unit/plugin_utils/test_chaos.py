# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that ends at any of its requests, in any way: the next one comes to where it would have come undisturbed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._model.names import SECRETS_ANNOTATION

from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import Key, ModelCluster, Object, done, run
from tests.unit.others import deployment
from tests.unit.running_pods import MARK, let_pods_say, pod_of

LOST = "HTTPConnectionPool(host='x', port=1): Max retries exceeded (Caused by NewConnectionError: Connection refused)"
#: What a server says instead of doing it.
REFUSALS = {
    "conflict": (409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
    "forbidden": (403, "Forbidden", "objects is forbidden: User anna cannot do this"),
    "broken": (500, "InternalError", "etcdserver: leader changed"),
    "too many": (429, "TooManyRequests", "the server has received too many requests"),
}
#: How a run ends, or goes on without one of its objects. A process that is killed does nothing any more.
EVERYWHERE = ("killed after", "gone after", "conflict")
#: These leave what one of the others leaves, and differ in what the run itself does then.
FIRST_OF_A_KIND = ("gone before", "forbidden")
VERY_FIRST = ("killed before", "broken", "too many")


class Killed(BaseException):
    """The process ends. Nothing may catch it."""


def refusal(fault: str) -> Object:
    code, reason, message = REFUSALS[fault]
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return {"changed": False, "result": {}, "error": {"msg": f"Failed to apply object: {json.dumps(status)}"}}


@dataclass
class Chaos(ModelCluster):
    """A namespace in which one request fails. Commands that tell a worker to do something are requests, too.

    :param at: number of the request, from 1 on; 0 for none.
    """

    fault: str = ""
    at: int = 0
    count: int = 0
    #: What the requests were about.
    kinds: list[str] = field(default_factory=list)
    refused_kind: str = ""
    is_gone: bool = False

    def list_objects(self, *arguments: Any, **options: Any) -> list[Object]:
        if self.is_gone:
            raise ClusterError("https://api:6443 cannot be reached: connection refused", passes=True)
        return super().list_objects(*arguments, **options)

    def _sent(self, definition: Object, arguments: Object) -> Object:
        if self.is_gone:
            return {"changed": False, "result": {}, "error": {"msg": LOST}}
        if self.refused_kind == definition["kind"]:
            return refusal("forbidden")
        found: Object = self.request(
            f"{arguments.get('state', '')} {definition['kind']}",
            lambda: super(Chaos, self)._sent(definition, arguments),
            {"changed": False, "result": {}, "error": {"msg": LOST}},
            lambda: self._refused(definition),
        )
        return found

    def _refused(self, definition: Object) -> Object:
        # Who may not write one object of a kind may write none of them.
        self.refused_kind = definition["kind"] if self.fault == "forbidden" else ""
        return refusal(self.fault)

    def request(self, kind: str, work: Callable[[], Any], lost: Any, refuse: Callable[[], Any]) -> Any:
        """One request."""
        self.count += 1
        self.kinds.append(kind)
        if self.count != self.at:
            return work()
        if self.fault in REFUSALS:
            return refuse()
        if self.fault.endswith("after"):
            work()
        if self.fault.startswith("killed"):
            raise Killed
        self.is_gone = True
        return lost

    def heal(self) -> None:
        """The next run finds a server that works."""
        self.fault, self.at, self.count, self.refused_kind, self.is_gone = "", 0, 0, "", False
        self.kinds.clear()


@dataclass
class World:
    """A namespace with its pods, and the broker that they work on."""

    cluster: Chaos = field(default_factory=Chaos)
    waiting: dict[str, int] = field(default_factory=dict)
    held: int = 0

    def __post_init__(self) -> None:
        self.cluster.client = SimpleNamespace(client=SimpleNamespace(client=None), configuration=None)

    def says(self, _pod: str, question: Object) -> tuple[str, str]:
        """What a pod answers. A lost answer is an exception, as the client raises one."""
        if self.cluster.is_gone:
            raise ConnectionError(LOST)
        if not (question["moves_to"] or question["consumes"]):
            return self._answer(question)
        found: tuple[str, str] | None = self.cluster.request(
            "command", lambda: self._answer(question), None, lambda: None
        )
        if found is None:
            raise ConnectionError(LOST)
        return found

    def _answer(self, question: Object) -> tuple[str, str]:
        answer: Object = {"running": [], "held": self.held}
        if question["moves_to"]:
            moved = {queue: self.waiting.pop(queue, 0) for queue in question["queues"]}
            self.waiting[question["moves_to"]] = self.waiting.get(question["moves_to"], 0) + sum(moved.values())
            answer["moved"] = sum(moved.values())
        if question["leaves"]:
            answer["by_queue"] = {queue: self.waiting.get(queue, 0) for queue in question["queues"]}
        return f"{MARK}{json.dumps(answer)}\n", ""

    def run(self, **variables: Any) -> Object:
        """A run, after which each Deployment has its pods."""
        try:
            return run(self.cluster, **variables)
        finally:
            self.start_pods()

    def start_pods(self) -> None:
        objects = self.cluster.objects
        for key in [key for key in objects if key[0] == "Pod"]:
            del objects[key]
        for item in [item for (kind, _name), item in objects.items() if kind == "Deployment"]:
            for number in range(item["spec"].get("replicas", 1)):
                name = f"{item['metadata']['name']}-{number}"
                objects["Pod", name] = {**pod_of(item, name), "metadata": {**pod_of(item, name)["metadata"]}}

    def state(self) -> Object:
        """Everything that a run has made, without what counts how often something was written."""
        found = {}
        for (kind, name), item in self.cluster.objects.items():
            if kind != "Pod":
                shown = copy.deepcopy(item)
                del shown["metadata"]["resourceVersion"]
                found[f"{kind} {name}"] = re.sub(r"secret-versions[^}]*}", "", json.dumps(shown, sort_keys=True))
        return {**found, "waiting": self.waiting}


def stale_pods(cluster: ModelCluster) -> Iterator[str]:
    """Deployments that name another version of a Secret than it has: the next run would roll them for nothing."""
    objects = cluster.objects.items()
    versions = {name: item["metadata"]["resourceVersion"] for (kind, name), item in objects if kind == "Secret"}
    for (kind, name), item in objects:
        if kind == "Deployment":
            notes = item["spec"]["template"]["metadata"].get("annotations") or {}
            named = json.loads(notes.get(SECRETS_ANNOTATION, "{}"))
            if any(versions.get(secret) != version for secret, version in named.items()):
                yield name


SCALED = {"enable_keda": True, "min_replicas": 1, "max_replicas": 8}
SERVICE: Object = {"image": IMAGE, "app": "shop.celery", "queue_name": "shop.{variant}", "longest_task_seconds": 60}
FULL: Object = {
    "services": {"shop": SERVICE},
    "config": {
        "shop": {
            "default": {"replicas": 2},
            "high": {**SCALED, "secret_env": {"KEY": "one"}},
            "old": {"scaler": "hpa", "resources": {"requests": {"cpu": "1"}}},
        }
    },
    "broker": {"host": "redis", "password": "before"},
    "routing_delivery": "task_routes",
    "explicit_queues": {"shop": {"shop.tasks.report": {"queue": "shop.high"}}},
    "flower_enabled": True,
    "flower": {"persistence": {"size": "1Gi"}, "password": "given", "cookie_secret": "given too"},
}
#: Another image, login and scaler for each; one variant is renamed, and what watched goes.
CHANGED: Object = {
    **FULL,
    "services": {"shop": {**SERVICE, "image": f"{IMAGE}-2"}},
    "config": {
        "shop": {
            "default": {**SCALED, "secret_env": {"KEY": "two"}},
            "high": {"scaler": "hpa", "resources": {"requests": {"cpu": "1"}}},
            "slow": SCALED,
        }
    },
    "broker": {"host": "redis", "password": "after"},
    "flower_enabled": False,
    "prune": True,
}
SMALL: Object = {
    "services": {"shop": SERVICE},
    "config": {"shop": {"default": {"replicas": 1}, "old": SCALED}},
    "broker": {"host": "redis"},
}
MOVED: Object = {
    **SMALL,
    "config": {"shop": {"default": {"replicas": 1}}},
    "prune": "move",
    "move_to": "shop.default",
}
#: Two variants that keep no pod while there is nothing to do, so that none can be asked.
ASLEEP: Object = {
    **SMALL,
    "services": {
        "shop": {**SERVICE, "idempotent": True},
        "late": {**SERVICE, "queue_name": "late.{variant}", "idempotent": True},
    },
    "config": {"shop": {"default": {"enable_keda": True}}, "late": {"default": {"enable_keda": True}}},
}
WITHOUT_LATE: Object = {
    **ASLEEP,
    "services": {"shop": ASLEEP["services"]["shop"]},
    "config": {"shop": ASLEEP["config"]["shop"]},
    "prune": True,
}
TRACKED: Object = {**SMALL, "config": {"shop": {"default": {**SCALED, "idempotent": True}}}}
OTHER_KEY: Object = {**TRACKED, "broker": {"host": "redis", "database": 3}, "key_change": "drain"}

#: A worker of Tutor's is narrowed to one of its queues, and given back.
ADOPTING: Object = {
    "services": {
        "lms": {"image": IMAGE, "app": "lms.celery", "idempotent": True, "queue_name": "edx.{service}.core.{variant}"}
    },
    "config": {"lms": {"default": {"adopt": True, "queues": ["edx.lms.core.default"]}, "high": {}, "high_mem": {}}},
    "broker": {"host": "redis"},
    "key_change": "drain",
}


AS_JOBS: Object = {
    **SMALL,
    "services": {"shop": {**SERVICE, "idempotent": True}},
    "config": {"shop": {"default": {"replicas": 1}, "old": {"run_as": "jobs"}}},
}
AS_PODS: Object = {**AS_JOBS, "config": {"shop": {"default": {"replicas": 1}, "old": SCALED}}}


@dataclass(frozen=True)
class Story:
    """What was deployed, and the run that is disturbed.

    :param waiting: messages by queue.
    :param held: messages that workers hold, as their key says.
    :param is_asleep: whether scalers have found nothing to do, and keep no pod.
    :param is_short: whether only the end of its process disturbs the run.
    """

    before: Object | None
    after: Object
    waiting: Object = field(default_factory=dict)
    held: int = 0
    is_asleep: bool = False
    is_short: bool = False


STORIES = {
    "first deploy": Story(None, FULL),
    "change": Story(FULL, CHANGED),
    "change back": Story({**CHANGED, "prune": False}, {**FULL, "prune": True}, is_short=True),
    "move": Story(SMALL, MOVED, {"shop.old": 12}),
    "other key": Story(TRACKED, OTHER_KEY, held=3),
    "prune what sleeps": Story(ASLEEP, WITHOUT_LATE, is_asleep=True),
    "remove what sleeps": Story(ASLEEP, {"state": "absent"}, is_asleep=True),
    "jobs to a Deployment": Story(AS_JOBS, AS_PODS),
    "a Deployment to jobs": Story(AS_PODS, AS_JOBS, is_short=True),
    "adopt": Story(None, ADOPTING),
    "give back": Story(ADOPTING, {"state": "absent"}),
    "remove": Story(FULL, {"state": "absent"}, is_short=True),
    "remove everything": Story(FULL, {"state": "absent", "remove_data": True}),
    "remove and move": Story(SMALL, {"state": "absent", "prune": "move", "move_to": "elsewhere"}, {"shop.old": 12}),
}


FOREIGN = (("Deployment", "web"), ("ConfigMap", "theirs"), ("Secret", "theirs"))


def foreign() -> Iterator[Object]:
    """Objects of others in the same namespace."""
    yield deployment("web", labels={"app": "web"})
    yield deployment("lms-worker")
    for kind in ("ConfigMap", "Secret"):
        yield {"apiVersion": "v1", "kind": kind, "metadata": {"name": "theirs", "labels": {"app": "web"}}, "data": {}}


@dataclass
class Played:
    """A story that can be told again from its beginning."""

    story: Story
    world: World
    beginning: dict[Key, Object]

    def restart(self) -> World:
        world = self.world
        world.cluster.objects, world.cluster.version = copy.deepcopy(self.beginning), 1000
        world.waiting, world.held = dict(self.story.waiting), self.story.held
        world.cluster.heal()
        return world

    def disturbed(self, fault: str, at: int) -> Object | None:
        """What the run says of itself; None where its process has ended."""
        world = self.restart()
        world.cluster.fault, world.cluster.at = fault, at
        try:
            return world.run(**self.story.after)
        except Killed:
            return None
        finally:
            world.cluster.heal()


def fall_asleep(cluster: ModelCluster) -> None:
    """What KEDA does with workers that have nothing to do."""
    conditions = [{"type": name, "status": value} for name, value in (("Ready", "True"), ("Active", "False"))]
    for kind, name in list(cluster.objects):
        if kind == "ScaledObject":
            cluster.objects[kind, name]["status"] = {"conditions": conditions}
            cluster.scale(name.removesuffix("-scaledobject"), 0)


def played(story: Story) -> Played:
    world = World()
    for item in foreign():
        world.cluster.put(item)
    if story.before is not None:
        done(world.run(**story.before))
    if story.is_asleep:
        fall_asleep(world.cluster)
        world.start_pods()
    return Played(story, world, copy.deepcopy(world.cluster.objects))


@pytest.mark.parametrize("name", STORIES)
def test_the_run_after_one_that_failed_at_any_request_comes_to_the_same_end(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run after that changes nothing, and what is of others stays as it is all the while."""
    telling = played(STORIES[name])
    let_pods_say(monkeypatch, telling.world.says)
    world = telling.restart()
    theirs = {key: json.dumps(item) for key, item in world.cluster.objects.items() if key in FOREIGN}
    done(world.run(**telling.story.after))
    end, kinds, known = world.state(), list(world.cluster.kinds), set()
    assert len(kinds) > 1
    for fault, at in faults(kinds, telling.story.is_short):
        where = f"{fault} request {at} of {len(kinds)}: {kinds[at - 1]}"
        told = telling.disturbed(fault, at)
        if told is not None:
            assert told.get("failed"), f"{where}: a green run"
            assert "Traceback" not in told["msg"]
        left = json.dumps(world.state(), sort_keys=True)
        if left not in known:
            known.add(left)
            again = world.run(**telling.story.after)
            assert not again.get("failed"), f"{where}: {again['msg']}"
            assert world.state() == end, where
            assert not list(stale_pods(world.cluster)), where
            if fault == "killed after":
                world.cluster.sent.clear()
                third = done(world.run(**telling.story.after))
                assert not third["changed"], where
                assert not world.cluster.sent, where
        assert {key: json.dumps(world.cluster.objects[key]) for key in FOREIGN} == theirs, where


def test_jobs_that_were_to_go_and_stay_after_all_go_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory is taken back after the run that was to remove them has ended at any of its requests."""
    telling = played(Story(AS_JOBS, AS_PODS))
    let_pods_say(monkeypatch, telling.world.says)
    world = telling.restart()
    before = world.state()
    done(world.run(**AS_PODS))
    kinds = list(world.cluster.kinds)
    assert "patched ScaledJob" in kinds
    for at, kind in enumerate(kinds, 1):
        telling.disturbed("killed after", at)
        done(world.run(**AS_JOBS))
        assert world.state() == before, f"killed after request {at} of {len(kinds)}: {kind}"


def faults(kinds: list[str], is_short: bool) -> Iterator[tuple[str, int]]:
    """Every way in which a run with these requests is disturbed."""
    first = [kinds.index(kind) + 1 for kind in dict.fromkeys(kinds)]
    yield from ((fault, at) for fault in EVERYWHERE[: 1 if is_short else None] for at in range(1, len(kinds) + 1))
    yield from ((fault, at) for fault in FIRST_OF_A_KIND if not is_short for at in first)
    yield from ((fault, 1) for fault in VERY_FIRST)
