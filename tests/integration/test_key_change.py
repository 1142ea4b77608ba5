# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that would leave behind what running workers hold: they stop, drain, or go on because nothing is held.

Pods are asked with the real script and a real Celery, and what they hold is in a real Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import RecordedRequest
from tests.support.live_pods import WITHOUT_CELERY, Database, LivePods
from tests.support.real_redis import PASSWORD, RedisServer
from tests.support.waiting import wait_until

WORKER = "shop-worker"

APP = """
from celery import Celery

app = Celery("shop")


@app.task
def note():
    pass
"""
#: An app that keeps everything under a prefix of its own.
PREFIXED_APP = f"{APP}\napp.conf.broker_transport_options = {{'global_keyprefix': 'own:'}}\n"
#: An app whose messages travel over a topic exchange, so that none carries the name of its queue.
TOPIC_APP = f"""{APP}
from kombu import Exchange, Queue

topic = Exchange("shop", type="topic")
app.conf.task_queues = [Queue("default", topic, routing_key="orders.#"), Queue("slow", topic, routing_key="films.#")]
"""

PLAIN: Json = {"default": {}}
#: With late acknowledgement and a key of its own.
TRACKED: Json = {
    "default": {"idempotent": True, "enable_keda": True, "min_replicas": 1, "termination_grace_period": 60}
}


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    return {"shop.py": APP, "prefixed.py": PREFIXED_APP, "topics.py": TOPIC_APP}


def fleet(redis: RedisServer, number: int, variants: Json, app: str = "shop", **broker: object) -> Json:
    """Variables of a host: a service whose broker is one database of the server."""
    address = {"host": "127.0.0.1", "port": redis.port, "database": number, "password": redis.password}
    return {
        "celery_workers_broker": {**address, **broker},
        "celery_workers_services": {"shop": {"app": f"{app}:app", "image": "registry.example/shop:1"}},
        "celery_workers_config": {"shop": variants},
    }


def changed_variant(variants: Json, **keys: object) -> Json:
    return {"default": {**variants["default"], **keys}}


def asks(requests: list[RecordedRequest]) -> list[str]:
    """The pods in which a command was run."""
    return [one.path.split("/")[-2] for one in requests if one.path.endswith("/exec")]


@dataclass
class Outcome:
    """Runs that would change keys, and what each host had before and after them.

    :param runs: each host's.
    """

    runs: dict[str, Run]
    dry: Run
    names: dict[str, str]
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]
    requests: dict[str, list[RecordedRequest]]
    dry_requests: dict[str, list[RecordedRequest]] = field(default_factory=dict)

    def message(self, host: str) -> str:
        return self.runs[host].message(host)

    def writes(self, host: str) -> list[tuple[str, str]]:
        return [(one.method, one.path) for one in self.requests[host] if one.is_write and not one.is_dry_run]


#: The database that some hosts would move to. Nobody gets there; each host starts with one of its own.
ANOTHER = 31
#: Hosts that stop, and those that go on.
STOPPED = ("busy", "prefixed", "topics", "requeued", "moved", "drainless", "untracked", "grace", "silent", "bare")
#: Hosts whose Deployment would get into other hands, which is refused whatever its pods hold.
RENAMED = ("refleeted", "reserviced")
DRY = ("busy", "moved", "grace", "silent")
GOING = ("empty", "others", "grace_idle", "zero", "accepted", "ordinary")


class TestWhatPodsHold:
    """One host for each reason to stop or to go on."""

    @pytest.fixture(scope="class")
    @classmethod
    def outcome(
        cls, cluster: Cluster, player: Player, folder: Path, redis: RedisServer, pods: LivePods
    ) -> Iterator[Outcome]:
        hosts = [*STOPPED, *GOING, *RENAMED]
        names = {host: new_namespace_name(host.replace("_", "-")) for host in hosts}
        numbers = {host: number for number, host in enumerate(hosts)}
        apps = {"prefixed": "prefixed", "topics": "topics"}
        tracked_before = (*RENAMED, "moved", "drainless", "untracked", "grace", "grace_idle", "ordinary", "zero")
        longer = changed_variant(TRACKED, termination_grace_period=600)
        requeued = changed_variant(TRACKED, queues=["new"])
        variants = {"grace": longer, "grace_idle": longer, "untracked": PLAIN, "requeued": requeued}

        def inventory(state: str) -> Path:
            found: dict[str, Json] = {}
            for host in hosts:
                old = TRACKED if host in tracked_before else PLAIN
                chosen = old if state == "before" else variants.get(host, TRACKED)
                number = ANOTHER if state == "after" and host in ("moved", "drainless", "zero") else numbers[host]
                found[host] = fleet(redis, number, chosen, apps.get(host, "shop"))
                found[host]["celery_workers_namespace"] = names[host]
            if state == "after":
                found["accepted"]["celery_workers_key_change"] = "accept"
                found["drainless"]["celery_workers_key_change"] = "drain"
                found["refleeted"]["celery_workers_fleet"] = "another"
                found["reserviced"]["celery_workers_services"] = {"store": {"app": "shop:app", "image": "shop:1"}}
                found["reserviced"]["celery_workers_config"] = {"store": changed_variant(TRACKED, name=WORKER)}
                found["ordinary"]["celery_workers_services"]["shop"]["image"] = "registry.example/shop:2"
            return write_inventory(folder, found, {"celery_workers_wait": False}, name=state)

        def own_key(host: str) -> str:
            return f"unacked:{names[host]}.shop.default"

        with namespaces(cluster, *names.values()):
            first = player.deploy(inventory("before"))
            for host in hosts:
                assert first.changed(host) > 0
            for host in ("busy", "requeued", "accepted", "silent", "bare"):
                Database(redis, numbers[host]).hold("default", 3)
            for host in ("busy", "others"):
                Database(redis, numbers[host]).hold("slow", 2)
            Database(redis, numbers["prefixed"]).hold("default", 2, global_keyprefix="own:")
            hold_over_a_topic(Database(redis, numbers["topics"]))
            for host in ("moved", "drainless", "untracked", "grace", "ordinary", "zero"):
                Database(redis, numbers[host]).hold("default", 4, unacked_key=own_key(host))
            cluster.scale(names["zero"], WORKER, 0)
            pods.paths[names["silent"]] = WITHOUT_CELERY
            (pods.folder / "bin").mkdir()
            (pods.folder / "bin" / "sh").symlink_to("/bin/sh")
            pods.paths[names["bare"]] = str(pods.folder / "bin")
            before = {host: cluster.versions(names[host]) for host in hosts}
            after = inventory("after")
            cluster.power.requests.clear()
            dry = player.deploy(after, "--check", "--diff", f"--limit={','.join(DRY)}")
            dry_requests = {host: cluster.requests_of(names[host]) for host in DRY}
            cluster.power.requests.clear()
            # Each host starts a Python with Celery to ask its pod. All at once would be too much for a small machine.
            runs: dict[str, Run] = {}
            for some in (hosts[::2], hosts[1::2]):
                runs |= dict.fromkeys(some, player.deploy(after, f"--limit={','.join(some)}"))
            requests = {host: cluster.requests_of(names[host]) for host in hosts}
            versions = {host: cluster.versions(names[host]) for host in hosts}
            yield Outcome(runs, dry, names, before, versions, requests, dry_requests)

    @pytest.mark.parametrize("host", STOPPED)
    def test_a_run_that_would_strand_work_stops_before_any_write(self, outcome: Outcome, host: str) -> None:
        assert outcome.message(host), f"{host} went on"
        assert outcome.runs[host].data["stats"][host]["changed"] == 0
        assert outcome.writes(host) == []
        assert outcome.after[host] == outcome.before[host]
        assert len(asks(outcome.requests[host])) == 1

    @pytest.mark.parametrize("host", GOING)
    def test_a_run_that_strands_nothing_goes_on(self, outcome: Outcome, host: str) -> None:
        assert outcome.runs[host].changed(host) > 0
        assert outcome.after[host][f"Deployment {WORKER}"] != outcome.before[host][f"Deployment {WORKER}"]

    def test_the_message_names_both_keys_the_number_and_the_ways_on(self, outcome: Outcome) -> None:
        message = outcome.message("busy")
        assert f"the workers of Deployment {WORKER} hold 3 messages under 'unacked'" in message
        assert f"/0 unacked:{outcome.names['busy']}.shop.default'" in message
        for word in ("celery_workers_key_change: drain", "accept", "idle"):
            assert word in message
        assert [host for host, run in outcome.runs.items() if PASSWORD in run.output] == []

    def test_messages_of_an_app_with_a_prefix_of_its_own_are_found(self, outcome: Outcome) -> None:
        assert "hold 2 messages" in outcome.message("prefixed")

    def test_messages_that_do_not_carry_the_name_of_their_queue_are_found(self, outcome: Outcome) -> None:
        assert "hold 1 messages" in outcome.message("topics")

    def test_messages_of_queues_that_are_renamed_in_the_same_run_are_found(self, outcome: Outcome) -> None:
        assert "hold 3 messages" in outcome.message("requeued")

    def test_no_worker_is_left_on_a_broker_whose_login_is_replaced(self, outcome: Outcome) -> None:
        message = outcome.message("drainless")
        assert "hold 4 messages" in message
        assert "no worker can be left on that key" in message
        assert f"Secret {outcome.names['drainless']}-celery-broker" in message

    def test_another_database_or_no_key_at_all_is_another_key(self, outcome: Outcome, redis: RedisServer) -> None:
        key = f"unacked:{outcome.names['moved']}.shop.default"
        old = f"redis 127.0.0.1:{redis.port}/{STOPPED.index('moved')} {key}"
        message = outcome.message("moved")
        assert f"hold 4 messages under '{old}'" in message
        assert f"would become 'redis 127.0.0.1:{redis.port}/{ANOTHER} {key}'" in message
        assert "they would have no key of their own" in outcome.message("untracked")

    @pytest.mark.parametrize("host", RENAMED)
    def test_a_deployment_does_not_get_into_other_hands(self, outcome: Outcome, host: str) -> None:
        expected = {
            "refleeted": f"exists and is not ours: it belongs to the fleet {outcome.names['refleeted']}",
            "reserviced": f"Deployment {WORKER} runs variant default of service shop",
        }
        assert expected[host] in outcome.message(host)
        assert outcome.writes(host) == []
        assert outcome.after[host] == outcome.before[host]

    def test_a_longer_grace_period_comes_too_late_for_busy_pods(self, outcome: Outcome) -> None:
        message = outcome.message("grace")
        assert f"the pods of Deployment {WORKER} hold 4 messages" in message
        assert "killed 60 s" in message
        assert "600 s" in message

    def test_a_pod_that_cannot_answer_is_not_taken_for_an_idle_one(self, outcome: Outcome) -> None:
        assert "unknown: ModuleNotFoundError: No module named 'celery'" in outcome.message("silent")
        message = outcome.message("bare")
        assert "unknown: " in message
        assert "gave no answer" in message
        assert [host for host, run in outcome.runs.items() if "Traceback" in run.output] == []

    @pytest.mark.parametrize("host", ["accepted", "ordinary", "zero"])
    def test_nobody_is_asked_without_need(self, outcome: Outcome, host: str) -> None:
        # Accepted, unchanged keys, or no pod that could hold anything.
        assert asks(outcome.requests[host]) == []

    @pytest.mark.parametrize("host", ["empty", "others", "grace_idle"])
    def test_who_would_change_a_key_asks_one_pod_once(self, outcome: Outcome, host: str) -> None:
        assert len(asks(outcome.requests[host])) == 1

    @pytest.mark.parametrize("host", DRY)
    def test_check_mode_stops_as_well_and_writes_nothing(self, outcome: Outcome, host: str) -> None:
        assert outcome.dry.message(host) == outcome.message(host)
        assert [one.path for one in outcome.dry_requests[host] if one.is_write] == []


def hold_over_a_topic(database: Database) -> None:
    """One message of the variant's queue and one of another, both under routing keys that no queue has."""
    from kombu import Exchange, Queue

    topic = Exchange("shop", type="topic")
    with database.app().connection_for_write() as connection:
        channel = connection.default_channel
        channel.do_restore = False
        queues = {"orders.new": Queue("default", topic, "orders.#"), "films.cut": Queue("slow", topic, "films.#")}
        for key, queue in queues.items():
            queue(channel).declare()
            connection.Producer(channel).publish({}, exchange=topic, routing_key=key)
            assert channel.basic_get(queue.name) is not None


@dataclass
class Drain:
    """Runs by name, and what was there after each."""

    runs: dict[str, Run] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    writes: dict[str, list[RecordedRequest]] = field(default_factory=dict)
    waiting: int = 0
    log: str = ""


class TestDrain:
    """A worker that is killed with ETA tasks in its hands, and the one that brings them back."""

    DRAIN = f"{WORKER}-drain"

    @pytest.fixture(scope="class")
    @classmethod
    def story(
        cls, cluster: Cluster, player: Player, folder: Path, namespace: str, redis: RedisServer, pods: LivePods
    ) -> Drain:
        story, database = Drain(), Database(redis, 0)
        shared = {"celery_workers_namespace": namespace, "celery_workers_wait": False}

        def step(name: str, variants: Json, *more: str, policy: str = "stop") -> None:
            values = fleet(redis, 0, variants)
            values["celery_workers_key_change"] = policy
            cluster.power.requests.clear()
            story.runs[name] = player.deploy(write_inventory(folder, {"shop": values}, shared), *more)
            story.writes[name] = cluster.writes_to(namespace)
            story.names[name] = cluster.names(namespace)
            story.versions[name] = cluster.versions(namespace)

        before: Json = {"default": {"pool": "threads", "concurrency": 1}}
        after = changed_variant(before, idempotent=True, enable_keda=True, min_replicas=1)
        step("before", before)
        worker = pods.start(namespace, WORKER)
        worker.wait_until_ready()
        for _round in range(2):
            database.send("default", "shop.note", countdown=3600)
        wait_until(lambda: database.held() == 2, lambda: worker.log)
        step("check", after, "--check", policy="drain")
        step("drain", after, policy="drain")
        # The pod of the old Deployment is gone by now, and did not have the time to give anything back.
        worker.kill()
        step("busy", after)
        database.let_the_timeout_pass()
        drain = pods.start(namespace, cls.DRAIN)
        wait_until(lambda: database.held() == 0, lambda: drain.log)
        story.waiting = database.waiting("default")
        story.log = drain.log
        step("empty", after)
        step("again", after)
        return story

    def test_check_mode_shows_the_worker_that_would_drain_and_makes_none(self, story: Drain) -> None:
        assert story.runs["check"].changed("shop") > 0
        assert story.writes["check"] == []
        assert story.versions["check"] == story.versions["before"]
        shown = [name for result in story.runs["check"].results("shop") for name in result.get("created", [])]
        assert f"Deployment {self.DRAIN}" in shown

    def test_the_old_key_keeps_one_worker_before_the_new_one_is_applied(
        self, cluster: Cluster, namespace: str, story: Drain
    ) -> None:
        assert story.runs["drain"].changed("shop") > 0
        assert f"Deployment {self.DRAIN}" in story.names["drain"]
        order = [one.path.rpartition("/")[2] for one in story.writes["drain"] if "/deployments" in one.path]
        # A new object is posted to the list of its kind.
        assert order == ["deployments", WORKER]
        arguments = cluster.get("Deployment", namespace, WORKER)["spec"]["template"]["spec"]["containers"][0]["args"]
        assert f"unacked:{namespace}.shop.default" in arguments[-1]

    def test_a_run_keeps_the_worker_as_long_as_the_old_key_is_not_empty(self, story: Drain) -> None:
        run = story.runs["busy"]
        assert run.changed("shop") == 0
        assert story.versions["busy"] == story.versions["drain"]
        shown = run.said("shop", "notes")
        assert shown == [f"Deployment {self.DRAIN} stays until its old key is empty (2 messages)."]
        assert "does not ask for" not in run.warnings

    def test_the_drain_worker_brings_back_what_the_old_one_held(self, story: Drain) -> None:
        assert story.waiting == 2, story.log

    def test_the_worker_goes_once_the_old_key_is_empty(self, story: Drain) -> None:
        assert story.runs["empty"].changed("shop") > 0
        assert story.names["empty"] == story.names["busy"] - {f"Deployment {self.DRAIN}"}
        deleted = [name for result in story.runs["empty"].results("shop") for name in result.get("deleted", [])]
        assert deleted == [f"Deployment {self.DRAIN}"]

    def test_after_that_runs_are_unchanged(self, story: Drain) -> None:
        assert story.runs["again"].changed("shop") == 0
        assert story.versions["again"] == story.versions["empty"]
        assert "does not ask for" not in story.runs["again"].warnings
