# SPDX-License-Identifier: GPL-3.0-or-later
"""The API fails in the middle of the list, or pods do not come up: the message says what, a second run continues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json, namespaces, new_namespace_name, path_of
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.idle_pods import idle_pods
from tests.support.kubernetes_emulator import Emulator

CONFIG: Json = {"shop": {name: {"enable_keda": True, "min_replicas": 1} for name in ("default", "high", "low")}}
SHARED: Json = {
    "celery_workers_broker": {"host": "redis"},
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "celery_workers_config": CONFIG,
}
#: Host to how the second Deployment fails. Each Deployment is created by one POST.
FAILURES: dict[str, dict[str, Any]] = {
    "forbidden": {"status": 403, "reason": "Forbidden", "message": 'deployments.apps "x" is forbidden: exceeded quota'},
    "invalid": {
        "status": 422,
        "reason": "Invalid",
        "message": "spec.template.spec.containers[0].image: Required value",
    },
    "broken": {"status": 500, "reason": "InternalError", "message": "etcdserver: leader changed"},
    "dropped": {"drop": True},
}
#: Hosts that are deployed again, after an answer and after none.
CONTINUED = ("forbidden", "dropped")
OBJECTS = 9


@dataclass(frozen=True)
class Runs:
    first: Run
    second: Run
    third: Run
    names: dict[str, str]
    made_first: dict[str, set[str]]


class TestFailingInTheMiddle:
    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Runs]:
        emulator = cluster.power
        names = {host: new_namespace_name(host) for host in FAILURES}
        hosts = {host: {"celery_workers_namespace": name, "celery_workers_wait": False} for host, name in names.items()}
        inventory = write_inventory(folder, hosts, SHARED)
        with namespaces(cluster, *names.values()):
            for host, failure in FAILURES.items():
                emulator.fail("POST", f"{path_of('Deployment', names[host])}$", skip=1, **failure)
            first = player.deploy(inventory)
            made = {host: cluster.names(name) for host, name in names.items()}
            second = player.deploy(inventory, f"--limit={','.join(CONTINUED)}")
            third = player.deploy(inventory, f"--limit={','.join(CONTINUED)}")
            yield Runs(first, second, third, names, made)

    @pytest.mark.parametrize("host", FAILURES)
    def test_the_message_names_the_object_and_the_cause(self, runs: Runs, host: str) -> None:
        message = runs.first.message(host)
        # Several are on their way together, so any of them may be the second.
        refused = [line for line in message.splitlines() if re.search(r"Deployment shop-worker(-\w+)?: ", line)]
        assert len(refused) == 1, message
        assert FAILURES[host].get("message", "onnection") in refused[0]
        assert "HTTP response" not in message
        assert "Traceback" not in runs.first.output

    @pytest.mark.parametrize("host", FAILURES)
    def test_the_message_counts_what_was_written(self, runs: Runs, host: str) -> None:
        written = len(runs.made_first[host])
        assert written < OBJECTS
        assert f"{written} were written" in runs.first.message(host)

    @pytest.mark.parametrize("host", CONTINUED)
    def test_a_second_run_finishes(self, cluster: Cluster, runs: Runs, host: str) -> None:
        assert runs.second.changed(host) > 0
        assert len(cluster.names(runs.names[host])) == OBJECTS

    def test_a_third_run_is_unchanged(self, runs: Runs) -> None:
        assert [runs.third.changed(host) for host in CONTINUED] == [0, 0]


#: What a host is before the run in which its server goes away, and after it.
GONE: dict[str, tuple[Json, Json]] = {
    "apply": ({"celery_workers_config": {"shop": {"default": {}}}}, {}),
    "prune": ({}, {"celery_workers_config": {"shop": {"default": {}}}, "celery_workers_prune": True}),
    "absent": ({}, {"celery_workers_state": "absent"}),
    "handover": ({"celery_workers_config": {"shop": {name: {"replicas": 2} for name in CONFIG["shop"]}}}, {}),
}


#: And how many of its writes the server answers.
ANSWERED = {"apply": 3, "prune": 2, "absent": 5, "handover": 2}


@dataclass
class Gone:
    """A cluster with two hosts: one whose run is not disturbed, and one whose server goes away in the middle.

    :param writes: places of the writes among the requests of the first.
    :param answers: whether each request of the second wrote something.
    """

    cluster: Cluster
    names: dict[str, str]
    writes: list[int] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)
    made: dict[str, set[str]] = field(default_factory=dict)

    def wrote(self) -> list[bool]:
        """Whether each request wrote something, since the last look."""
        found = [one.is_write and 0 < one.status < 300 for one in self.cluster.power.requests]
        self.cluster.power.requests.clear()
        return found


@dataclass
class GoneRuns:
    clusters: dict[str, Gone]
    cut: Run
    second: Run


class TestAServerThatGoesAway:
    """One cluster for each change: requests are counted."""

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, player: Player, folder: Path) -> Iterator[GoneRuns]:
        if REAL_CLUSTER:
            pytest.skip("needs the emulator: a real cluster does not go away on request")
        with ExitStack() as stack:
            clusters = {}
            for change in GONE:
                emulator = stack.enter_context(Emulator())
                emulator.exec_handler = idle_pods
                cluster = Cluster(emulator.write_kubeconfig(folder / change), emulator)
                names = {role: new_namespace_name(f"{change}-{role}") for role in ("twin", "gone")}
                stack.enter_context(namespaces(cluster, *names.values()))
                clusters[change] = Gone(cluster, names)
            cls._bring(player, folder, clusters, 0, "twin", "gone")
            for gone in clusters.values():
                gone.wrote()
            cls._bring(player, folder, clusters, 1, "twin")
            for change, gone in clusters.items():
                gone.writes = [place for place, is_write in enumerate(gone.wrote()) if is_write]
                skip = gone.writes[ANSWERED[change]]
                gone.cluster.power.fail("*", ".*", skip=skip, drop=True, times=None)
            cut = cls._bring(player, folder, clusters, 1, "gone")
            for gone in clusters.values():
                gone.cluster.power.recover()
                gone.answers = gone.wrote()
            second = cls._bring(player, folder, clusters, 1, "gone")
            for gone in clusters.values():
                for role, name in gone.names.items():
                    gone.made[role] = {item.replace(name, "") for item in gone.cluster.names(name)}
            yield GoneRuns(clusters, cut, second)

    @staticmethod
    def _bring(player: Player, folder: Path, clusters: dict[str, Gone], state: int, *roles: str) -> Run:
        """:param state: 0 for what hosts are before, 1 for after."""
        # The history would be one more request.
        common: Json = {"celery_workers_wait": False, "celery_workers_history": 0, **SHARED}
        hosts = {
            f"{change}_{role}": {
                "celery_workers_namespace": gone.names[role],
                "celery_workers_kubeconfig": str(gone.cluster.kubeconfig),
                **common,
                **GONE[change][state],
            }
            for change, gone in clusters.items()
            for role in roles
        }
        return player.deploy(write_inventory(folder, hosts))

    @pytest.mark.parametrize("change", GONE)
    def test_it_leaves_a_count_of_what_was_sent(self, runs: GoneRuns, change: str) -> None:
        gone, message = runs.clusters[change], runs.cut.message(f"{change}_gone")
        # Not as many requests before it as for the twin, whose run has looked up which kinds there are.
        written = sum(gone.answers)
        assert 0 < written < len(gone.writes)
        assert f"{written} were {'removed' if change in ('prune', 'absent') else 'written'}" in message
        # What was asked for as the server went away may or may not be there; everything else was not sent.
        assert f"Not sent ({len(gone.writes) - written - 1}): " in message
        assert "could not be reached any more" in message
        assert "A second run continues" in message
        assert "Traceback" not in runs.cut.output

    @pytest.mark.parametrize("change", GONE)
    def test_a_second_run_continues(self, runs: GoneRuns, change: str) -> None:
        assert runs.second.changed(f"{change}_gone") > 0
        assert runs.clusters[change].made["gone"] == runs.clusters[change].made["twin"]


ROOT_MESSAGE = "container has runAsNonRoot and image will run as root (pod: {pod}, container: worker)"


class TestWaiting:
    """Pods that do not come up."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Run]:
        emulator = cluster.power
        names = {host: new_namespace_name(host) for host in ("root", "unwaited", "hopeless")}
        hosts: dict[str, Json] = {
            "root": {"celery_workers_wait_timeout": 2},
            "unwaited": {"celery_workers_wait": False},
            # Waiting longer than the test may take would be pointless, and the API says so.
            "hopeless": {"celery_workers_wait_timeout": 900},
        }
        for host, name in names.items():
            hosts[host]["celery_workers_namespace"] = name
            reason = "ImagePullBackOff" if host == "hopeless" else "CreateContainerConfigError"
            message = (
                ROOT_MESSAGE.format(pod=name)
                if host != "hopeless"
                else 'Back-off pulling image "registry.example/shop:1"'
            )
            emulator.make_unavailable(
                name, "shop-worker", reason=reason, message=message, deadline_exceeded=host == "hopeless"
            )
        config: Json = {"celery_workers_config": {"shop": {"default": {}, "high": {}}}}
        with namespaces(cluster, *names.values()):
            yield player.deploy(write_inventory(folder, hosts, SHARED | config))

    def test_an_image_that_runs_as_root_is_explained(self, run: Run) -> None:
        message = run.message("root")
        assert "Deployment shop-worker:" in message
        assert "CreateContainerConfigError" in message
        assert "root" in message
        assert "security_context" in message
        assert "pod_security" in message
        assert "2 seconds" in message
        assert "shop-worker-high" not in message

    def test_without_waiting_nobody_looks(self, run: Run) -> None:
        assert run.changed("unwaited") > 0

    def test_waiting_ends_when_it_is_pointless(self, run: Run) -> None:
        message = run.message("hopeless")
        assert "ImagePullBackOff" in message
        assert "image" in message
        assert "After 900 seconds" not in message
