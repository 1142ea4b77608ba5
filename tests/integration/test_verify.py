# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What running workers say of themselves: real workers on a real Redis, asked by the shipped playbooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import RecordedRequest
from tests.support.live_pods import Database, LivePods
from tests.support.real_redis import PASSWORD, RedisServer
from tests.support.waiting import wait_until

WORKER = "shop-worker"

APP = """
import time
from celery import Celery

app = Celery("shop")


@app.task
def note():
    pass


@app.task
def nap(seconds):
    time.sleep(seconds)
"""
#: Whatever looks at a task while the app is imported fixes its acknowledgement before the worker's settings are read.
TOUCHED_APP = f"{APP}\nprint(note.name)\n"
#: Sends to lists that no worker of the inventory's broker reads.
PREFIXED_APP = f"{APP}\napp.conf.broker_transport_options = {{'global_keyprefix': 'own:'}}\n"

#: One process less to start for each of the workers.
LIGHT: Json = {"pool": "threads", "concurrency": 1, "idempotent": True, "enable_keda": True}

#: Host to its app and to the keys of its variant.
HOSTS: dict[str, tuple[str, Json]] = {
    "well": ("shop", {}),
    "zero": ("touched", {"min_replicas": 0}),
    "one": ("touched", {"min_replicas": 1}),
    "accepting": ("touched", {"min_replicas": 0, "accept_early_ack_tasks": ["touched.note"]}),
    "prefixed": ("prefixed", {}),
    "elsewhere": ("shop", {}),
    "busy": ("shop", {}),
    "nobody": ("shop", {}),
}


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    return {"shop.py": APP, "touched.py": TOUCHED_APP, "prefixed.py": PREFIXED_APP}


@dataclass
class Asked:
    """Runs that ask, and what was there besides."""

    names: dict[str, str]
    databases: dict[str, Database]
    runs: dict[str, Run] = field(default_factory=dict)
    versions: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    requests: dict[str, list[RecordedRequest]] = field(default_factory=dict)

    def key(self, host: str) -> str:
        return f"unacked:{self.names[host]}.shop.default"


class TestRunningWorkers:
    """One host for each thing that a worker may say, all asked in one run."""

    @pytest.fixture(scope="class")
    @classmethod
    def asked(
        cls, cluster: Cluster, player: Player, folder: Path, redis: RedisServer, pods: LivePods
    ) -> Iterator[Asked]:
        names = {host: new_namespace_name(host) for host in HOSTS}
        asked = Asked(names, {host: Database(redis, number) for number, host in enumerate(HOSTS)})

        def inventory(name: str, **changes: Json) -> Path:
            hosts: dict[str, Json] = {}
            for host, (app, keys) in HOSTS.items():
                address = {"host": "127.0.0.1", "port": redis.port, "database": asked.databases[host].number}
                hosts[host] = {
                    "celery_workers_namespace": names[host],
                    "celery_workers_broker": {**address, "password": redis.password},
                    "celery_workers_services": {"shop": {"app": f"{app}:app", "image": "registry.example/shop:1"}},
                    "celery_workers_config": {"shop": {"default": {**LIGHT, **keys, **changes.get(host, {})}}},
                }
            return write_inventory(folder, hosts, {"celery_workers_wait": False}, name=name)

        deployed = inventory("deployed")
        with namespaces(cluster, *names.values()):
            first = player.deploy(deployed)
            for host in HOSTS:
                assert first.changed(host) > 0
            cluster.power.make_unavailable(names["nobody"], WORKER)
            workers = [pods.start(names[host], WORKER) for host in HOSTS if host != "nobody"]
            for worker in workers:
                worker.wait_until_ready()
            busy = asked.databases["busy"]
            busy.send("default", "shop.nap", 600)
            wait_until(lambda: busy.held(asked.key("busy")) == 1)
            asked.versions["before"] = {host: cluster.versions(names[host]) for host in HOSTS}
            cluster.power.requests.clear()
            asked.runs["verify"] = player.play("verify", inventory("asked", elsewhere={"queues": ["films"]}))
            asked.requests["verify"] = list(cluster.power.requests)
            asked.versions["after"] = {host: cluster.versions(names[host]) for host in HOSTS}
            limit = "--limit=well,zero"
            asked.runs["deploy"] = player.deploy(deployed, limit, "--extra-vars={celery_workers_verify: true}")
            cluster.power.requests.clear()
            asked.runs["plain"] = player.deploy(deployed, limit)
            asked.runs["check"] = player.deploy(
                deployed, limit, "--check", "--extra-vars={celery_workers_verify: true}"
            )
            asked.requests["quiet"] = list(cluster.power.requests)
            yield asked

    def test_a_worker_that_does_what_the_inventory_says_is_shown_with_its_pod_and_tasks(
        self, cluster: Cluster, asked: Asked
    ) -> None:
        run = asked.runs["verify"]
        assert run.changed("well") == 0
        pod = cluster.power.objects("Pod", asked.names["well"])[0]["metadata"]["name"]
        shown = [line.split() for line in run.said("well", "answers")]
        assert shown == [["deployment", "pod", "tasks"], [WORKER, pod, "2"]]

    def test_early_acknowledgement_fails_where_the_last_pod_may_go(self, asked: Asked) -> None:
        message = asked.runs["verify"].message("zero")
        assert "variant default of service shop: touched.note keep early acknowledgement" in message
        assert "touched.nap" not in message
        assert "accept_early_ack_tasks" in message

    def test_early_acknowledgement_is_a_warning_where_one_pod_stays(self, asked: Asked) -> None:
        run = asked.runs["verify"]
        assert run.changed("one") == 0
        found = " ".join(run.said("one", "warnings"))
        assert "touched.note keep early acknowledgement" in found

    def test_early_acknowledgement_of_tasks_that_may_be_cut_short_is_accepted(self, asked: Asked) -> None:
        run = asked.runs["verify"]
        assert run.changed("accepting") == 0
        result = run.results("accepting", "Ask the running workers")[0]
        assert "early acknowledgement" not in str(result.get("warnings"))
        assert result["asked"][0]["early_tasks"] == ["touched.note"]

    def test_an_app_with_a_prefix_that_the_inventory_lacks_is_told_which_key_to_write(self, asked: Asked) -> None:
        message = asked.runs["verify"].message("prefixed")
        assert "the app's own settings say global_keyprefix = 'own:'" in message
        assert "celery_workers_broker.global_keyprefix" in message
        # And this is what it is about: what the app sends does not reach these workers.
        assert f"did not show under {asked.key('prefixed')}" in message

    def test_a_worker_of_other_queues_is_found(self, asked: Asked) -> None:
        message = asked.runs["verify"].message("elsewhere")
        assert "the worker consumes default, and the inventory says films" in message

    def test_a_busy_worker_is_no_reason_to_fail(self, asked: Asked) -> None:
        run = asked.runs["verify"]
        assert run.changed("busy") == 0
        found = " ".join(run.said("busy", "warnings"))
        assert "no worker took a message from default in time" in found

    def test_who_has_no_ready_pod_is_named_and_does_not_fail(self, asked: Asked) -> None:
        run = asked.runs["verify"]
        assert run.changed("nobody") == 0
        assert run.said("nobody", "answers") == [
            "No pod is ready, so none was asked.",
            f"Without a ready pod, so not asked: {WORKER}",
        ]

    def test_asking_changes_nothing_in_the_cluster(self, asked: Asked) -> None:
        writes = [one.path for one in asked.requests["verify"] if one.is_write]
        assert writes == []
        assert asked.versions["after"] == asked.versions["before"]
        paths = [one.path for one in asked.requests["verify"] if one.path.endswith("/exec")]
        # A worker that did not answer is asked once more, because without a probe a pod may be ready before it is.
        assert len(set(paths)) == len(HOSTS) - 1
        assert max(paths.count(path) for path in paths) <= 2

    def test_a_deployment_asks_on_request_only(self, asked: Asked) -> None:
        assert asked.runs["deploy"].changed("well") == 0
        assert asked.runs["deploy"].said("well", "answers")
        assert "touched.note keep early acknowledgement" in asked.runs["deploy"].message("zero")
        for name in ("plain", "check"):
            assert asked.runs[name].changed("well") == 0
            assert asked.runs[name].changed("zero") == 0
        assert [one.path for one in asked.requests["quiet"] if one.path.endswith("/exec")] == []

    def test_the_message_that_is_sent_leaves_nothing_behind(self, asked: Asked) -> None:
        database, key = asked.databases["well"], asked.key("well")
        # Whoever took it acknowledges it when its time has come.
        wait_until(lambda: database.held(key) == 0)
        # What a worker declares for itself stays as long as its queues do.
        left = {name for name in database.client.scan_iter("*") if not name.startswith("_kombu.binding")}
        assert left == set()

    def test_no_password_is_shown(self, asked: Asked) -> None:
        for run in asked.runs.values():
            assert PASSWORD not in run.output
            assert "Traceback" not in run.output
