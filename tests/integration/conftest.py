# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests that run the shipped playbooks: one cluster, one folder and one namespace a story.

A story is a test class: its runs are made once, and several tests look at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checks import layout
from tests.integration.cluster import REAL_CLUSTER, Cluster, namespaces, new_namespace_name
from tests.integration.playbook import Player
from tests.support.idle_pods import idle_pods
from tests.support.kubernetes_emulator import Emulator
from tests.support.live_pods import LivePods, live_pods
from tests.support.real_rabbitmq import RabbitServer, rabbitmq_server, require_rabbitmq
from tests.support.real_redis import PASSWORD, RedisServer, redis_server, require_redis

_SHOWN = 20_000  # characters of a run's output


#: A version that a test is about, in its parameters.
_VERSION = re.compile(r"[\[-](\d+\.\d+(?:\.\d+)?)[\]-]")
#: Tests that use RabbitMQ have it in their names.
_RABBIT = re.compile("rabbitmq|quorum")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With -n, the tests of one story go to one process, in the order below: its runs are made once.

    A file without stories is one as well, or one for each version that it is about. So is all that uses RabbitMQ.
    """
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    story_of = scheduling._split_scope

    def split_scope(nodeid: str) -> str:
        scope: str = story_of(nodeid)
        if _RABBIT.search(nodeid):
            return "rabbitmq"
        version = None if "::" in scope else _VERSION.search(nodeid)
        return f"{scope} {version[1]}" if version else scope

    scheduling._split_scope = split_scope
    # Else the stories with most tests go first. What takes long are the runs, and a long one would end alone.
    config.option.loadscopereorder = False
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what waits for real programs, so that other stories use the processor meanwhile; last what needs no run."""

    def rank(item: pytest.Item) -> int:
        if item.path.name.startswith("test_real_"):
            return 0
        return 1 if "player" in getattr(item, "fixturenames", ()) else 2

    items.sort(key=rank)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Iterator[None]:
    """Show what the playbooks printed when a test of the story fails."""
    outcome: Any = yield
    report = outcome.get_result()
    player = getattr(item, "funcargs", {}).get("player")
    if report.failed and isinstance(player, Player):
        for run in player.runs:
            report.sections.append(("ansible-playbook", str(run)[-_SHOWN:]))


@pytest.fixture(scope="session", autouse=True)
def _tree() -> None:
    layout.link_tree()


@pytest.fixture(scope="class")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An emulator of the story's own, or the cluster that KUBECONFIG names."""
    if REAL_CLUSTER:
        yield Cluster(Path(REAL_CLUSTER), None)
        return
    with Emulator() as emulator:
        emulator.exec_handler = idle_pods
        kubeconfig = emulator.write_kubeconfig(tmp_path_factory.mktemp("cluster") / "kubeconfig")
        yield Cluster(kubeconfig, emulator)


@pytest.fixture(scope="class")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | None]:
    """A cluster that KEDA was never installed in; none where the tests run on a real one."""
    if REAL_CLUSTER:
        yield None
        return
    with Emulator(without_kinds=["ScaledObject", "ScaledJob", "TriggerAuthentication"]) as emulator:
        kubeconfig = emulator.write_kubeconfig(tmp_path_factory.mktemp("bare") / "kubeconfig")
        yield Cluster(kubeconfig, emulator)


@pytest.fixture(scope="class")
def redis() -> Iterator[RedisServer]:
    """A real Redis whose password has every character that a URL must quote."""
    require_redis()
    with redis_server(PASSWORD) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    """A real RabbitMQ for all tests: to start one takes as much processor time as twenty workers."""
    require_rabbitmq()
    with rabbitmq_server(f"{PASSWORD}w") as server:
        yield server


@pytest.fixture
def rabbit(rabbit_server: RabbitServer, request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """A virtual host of the test's own."""
    with rabbit_server.host(request.node.name) as server:
        yield server


@pytest.fixture(scope="class")
def apps() -> dict[str, str]:
    """Files of the image that the pods of a story run."""
    return {}


@pytest.fixture(scope="class")
def pods(cluster: Cluster, apps: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePods]:
    """Pods of the emulator, in which a story starts real workers."""
    if REAL_CLUSTER or cluster.emulator is None:
        pytest.skip("needs the emulator: what runs in its pods is up to the test")
    folder = tmp_path_factory.mktemp("image")
    for name, text in apps.items():
        (folder / name).write_text(text, encoding="utf-8")
    with live_pods(cluster.emulator, folder) as found:
        yield found


@pytest.fixture(scope="class")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="class")
def player(folder: Path, cluster: Cluster) -> Player:
    return Player(folder, cluster.kubeconfig)


@pytest.fixture(scope="class")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the story's own, removed afterwards."""
    name = new_namespace_name(story_name(request))
    with namespaces(cluster, name):
        yield name


def story_name(request: pytest.FixtureRequest) -> str:
    """The name of the test class as part of a namespace's name."""
    words: list[str] = re.findall(r"[A-Z][a-z]*", request.cls.__name__.removeprefix("Test"))
    return "-".join(words).lower()[:30].strip("-")
