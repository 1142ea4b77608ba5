# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account that the playbook rbac makes: a whole cycle passes with its rights and uses every one of them.

The API emulator enforces roles here. It records what each request needs, so that a right that is missing from the
table fails a run, and one that nothing uses fails a comparison. Some of the runs are playbooks; the others are those
of the action plugins, in this process and over HTTP, which takes a tenth of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import KEDA, Scope, rights_of
from ansible_collections.queueops.celery.plugins.plugin_utils._broker_run import BrokerRun
from ansible_collections.queueops.celery.plugins.plugin_utils._day_two import DayTwoRun
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun
from ansible_collections.queueops.celery.plugins.plugin_utils._sending import send

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json
from tests.integration.playbook import Player, Run, mode_of, write_inventory
from tests.support.kubernetes_emulator import Emulator, ExecRequest, ExecResult
from tests.unit.model_cluster import host_run

#: Verb, API group, resource and namespace.
Need = tuple[str, str, str, str]

NAMESPACE, KEDA_NAMESPACE = "shop", "keda"
_MARK = "celery-worker-answer:"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SCALED: Json = {"enable_keda": True, "min_replicas": 1, "max_replicas": 6}
VARIANTS: Json = {
    "default": {"replicas": 1},
    "high": SCALED,
    "mail": {"scaler": "hpa", "min_replicas": 1, "max_replicas": 4, "resources": {"requests": {"cpu": "1"}}},
    "low": {"replicas": 1},
}
#: Asks for every kind that can be asked for together.
EVERYTHING: Json = {
    "namespace": NAMESPACE,
    "broker": {"host": "redis", "password": "only-for-this-test"},
    "services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "config": {"shop": VARIANTS},
    "explicit_queues": {"shop": {"shop.note": {"queue": "high"}}},
    "routing_delivery": "task_routes",
    "flower_enabled": True,
    "flower": {
        "ingress": {"host": "flower.example.org"},
        "http_route": {"host": "flower.example.org", "gateway": "public"},
        "network_policy": {"allow_from": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
        "persistence": {"size": "1Gi"},
    },
    "exporter_enabled": True,
    "service_monitor_enabled": True,
    "prometheus_rule_enabled": True,
    "dashboard_enabled": True,
    "dashboard": {"delivery": "grafana_dashboard"},
    "remove_data": True,
    "history": 20,
}
#: The kinds of it. A PodMonitor takes the place of ServiceMonitors.
MADE = frozenset(
    [
        *("ConfigMap", "Deployment", "GrafanaDashboard", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress"),
        *("NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "PrometheusRule", "ScaledObject", "Secret"),
        *("Service", "ServiceMonitor", "TriggerAuthentication"),
    ]
)
SCOPE = Scope(made=MADE, uses_keda=True, has_redis=True, removes_data=True, keeps_history=True)
#: No part, no scaler, and nothing that guards a variant with one pod.
LITTLE: Json = {
    **{name: False for name in EVERYTHING if name.endswith("_enabled")},
    "config": {"shop": {name: {"replicas": 1} for name in VARIANTS}},
    "services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1", "probe": "none"}},
    "broker": {"host": "redis"},
    "routing_delivery": "none",
}


def answering(request: ExecRequest) -> ExecResult:
    """An idle worker that consumes what it is asked about, unless it is told not to, and a broker without queues."""
    question = json.loads(request.command[-1])
    queues = question["queues"]
    if "audits" in question:
        return ExecResult(f"{_MARK}{json.dumps({'broker': 'redis', 'queues': {}})}\n")
    numbers = dict.fromkeys(("held", "waiting", "active", "reserved", "later"), 0)
    taken = [] if question["consumes"] == "pause" else queues
    works = {pod: {"running": [], "reserved": 0, "later": 0, "queues": taken} for pod in question["pods"]}
    answer = {"answered": True, "consumed": queues, "running": [], "by_queue": dict.fromkeys(queues, 0), **numbers}
    return ExecResult(f"{_MARK}{json.dumps({**answer, 'works': works})}\n")


@dataclass
class Core:
    """kubernetes.core for runs outside of a play."""

    kubeconfig: Path
    checks: bool = False

    def open(self, namespace: str, hidden: frozenset[str]) -> DirectCluster:
        return DirectCluster(get_api_client(kubeconfig=str(self.kubeconfig)), namespace, hidden=hidden)

    def send(self, arguments: Json, hides: bool = False, new: Collection[str] = ()) -> Json:
        return send({**arguments, "kubeconfig": str(self.kubeconfig)}, self.checks, new)


@dataclass
class Story:
    """Runs by name, what each needed, and what of it was refused.

    :param results: of runs in this process.
    """

    player: Player
    emulator: Emulator
    inventory: Path
    admin: Path
    login: Path
    runs: dict[str, Run] = field(default_factory=dict)
    results: dict[str, list[Json]] = field(default_factory=dict)
    needs: dict[str, set[Need]] = field(default_factory=dict)
    refused: dict[str, set[Need]] = field(default_factory=dict)
    roles: dict[str, list[Json]] = field(default_factory=dict)
    kubeconfig: str = ""
    mode: str = ""

    @contextmanager
    def recorded(self, name: str) -> Iterator[None]:
        """Note what was needed meanwhile."""
        before = len(self.emulator.requests)
        yield
        found = [
            (one.status, (need.verb, need.group, need.resource, need.namespace))
            for one in self.emulator.requests[before:]
            for need in one.needs
        ]
        self.needs[name] = {need for status, need in found if status != 403}
        self.refused[name] = {need for status, need in found if status == 403}

    def play(self, name: str, *options: str, by_admin: bool = False, playbook: str = "") -> None:
        """A playbook."""
        self.player.kubeconfig = self.admin if by_admin else self.login
        with self.recorded(name):
            self.runs[name] = self.player.play(playbook or name, self.inventory, *options)

    def act(self, name: str, *jobs: Callable[[], Json]) -> None:
        """Runs in this process, one after the other."""
        with self.recorded(name):
            self.results[name] = [job() for job in jobs]

    def deploy(self, **more: object) -> Callable[[], Json]:
        return host_run(FleetRun, Core(self.login), {**EVERYTHING, **more}).apply


def own_objects(emulator: Emulator, kinds: Iterable[str] = MADE) -> list[Json]:
    """What a deploy has made."""
    found = [item for kind in kinds for item in emulator.objects(kind, NAMESPACE)]
    return [
        item
        for item in found
        if "celery.queueops.io/fleet" in item["metadata"].get("labels", {}) and not _is_kedas(item)
    ]


def forget_what_was_applied(emulator: Emulator, kinds: Iterable[str] = MADE) -> None:
    """As if every object had been written by something else, so that the next run writes each again."""
    for item in own_objects(emulator, kinds):
        item["metadata"].get("annotations", {}).pop(_LAST_APPLIED, None)
        emulator.add({**item, **({"data": {}} if item["kind"] == "Secret" else {})})


def _is_kedas(item: Json) -> bool:
    return bool(item["metadata"].get("ownerReferences"))


def granted(features: Iterable[str]) -> set[Need]:
    """What the table says that some features need."""
    places = {KEDA: KEDA_NAMESPACE}
    return {
        (verb, right.group, right.resource, places.get(right.place, NAMESPACE))
        for right in rights_of(SCOPE, list(features))
        for verb in right.verbs
    }


def in_roles(story: Story) -> set[Need]:
    """What the roles in the cluster grant."""
    return {
        (verb, group, resource, place)
        for place, rules in story.roles.items()
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


#: A run to the features that it is made of.
CYCLE: dict[str, tuple[str, ...]] = {
    "deploy": ("deploy", "wait"),
    "rewrite": ("deploy", "wait"),
    "status": ("status",),
    "scaling": ("pause", "resume", "boost"),
    "draining": ("drain", "resume"),
    "asking": ("verify", "queues", "gc", "quarantine"),
    "little": ("deploy", "wait"),
    "ask": ("deploy", "wait", "ask"),
    "move": ("deploy", "wait", "prune", "move"),
    "remove": ("remove",),
}
#: What a run asks for and goes on without: whether its namespace is there, which its account proves.
TOLERATED = {("get", "", "namespaces", NAMESPACE)}
#: What lets idle pods go first: nobody asks for it here, and every run looks whether an earlier one has left it.
MARKS = {
    ("list", "", "serviceaccounts", NAMESPACE),
    *(("list", "rbac.authorization.k8s.io", name, NAMESPACE) for name in ("roles", "rolebindings")),
}
#: Kinds of others, of which only a deploy tells, and those that nobody asks for here, which a removal looks for.
OTHERS = {
    ("list", "autoscaling.k8s.io", "verticalpodautoscalers", NAMESPACE),
    ("list", "monitoring.coreos.com", "podmonitors", NAMESPACE),
    ("list", "keda.sh", "scaledjobs", NAMESPACE),
    *MARKS,
}


class TestTheAccountOfAFleet:
    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        if REAL_CLUSTER:
            pytest.skip("needs the emulator: it says what each request needs")
        with Emulator(namespaces=[NAMESPACE], enforces_rights=True) as emulator:
            emulator.exec_handler = answering
            emulator.install_keda(KEDA_NAMESPACE)
            yield Cluster(emulator.write_kubeconfig(tmp_path_factory.mktemp("cluster") / "kubeconfig"), emulator)

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path) -> Story:
        login = folder / "kubeconfigs" / "one.yml"
        variables = {f"celery_workers_{name}": value for name, value in EVERYTHING.items()}
        inventory = write_inventory(folder, {"one": {**variables, "celery_workers_rbac_kubeconfig": str(login)}})
        story = Story(player, cluster.power, inventory, cluster.kubeconfig, login)
        cls._granted(story)
        cls._cycle(story)
        story.play("withdraw", "-e=celery_workers_rbac_state=absent", by_admin=True, playbook="rbac")
        return story

    @staticmethod
    def _granted(story: Story) -> None:
        story.play("rbac", "--diff", "-vvv", by_admin=True)
        story.kubeconfig, story.mode = story.login.read_text(encoding="utf-8"), mode_of(story.login)
        for place in (NAMESPACE, KEDA_NAMESPACE):
            roles = story.emulator.objects("Role", place)
            story.roles[place] = [rule for role in roles for rule in role["rules"]]

    @staticmethod
    def _cycle(story: Story) -> None:
        core = Core(story.login)
        story.play("deploy")
        forget_what_was_applied(story.emulator)
        story.emulator.make_unavailable(NAMESPACE, "shop-worker", reason="CrashLoopBackOff", deadline_exceeded=True)
        story.act("rewrite", story.deploy())
        story.emulator.make_available(NAMESPACE, "shop-worker")
        story.play("status")
        chosen: Json = {**EVERYTHING, "only": "shop/high", "boost_min": 2, "boost_until": "2h"}
        scaled = host_run(DayTwoRun, core, chosen)
        story.act("scaling", scaled.pause, scaled.resume, scaled.boost)
        story.act("draining", scaled.drain, scaled.resume)
        read = host_run(BrokerRun, core, EVERYTHING)
        story.act("asking", host_run(FleetRun, core, EVERYTHING).verify, read.list_queues, read.clean, read.quarantine)
        story.act("little", story.deploy(**LITTLE))
        story.act("ask", story.deploy(config={"shop": {**VARIANTS, "low": {"replicas": 1, "queues": ["lower"]}}}))
        left = {name: keys for name, keys in VARIANTS.items() if name != "low"}
        story.act("move", story.deploy(config={"shop": left}, prune="move", move_to="default"))
        story.play("remove", "-e=celery_workers_key_change=drain")

    def test_the_kubeconfig_is_private_and_its_token_is_shown_nowhere(self, story: Story) -> None:
        token = yaml.safe_load(story.kubeconfig)["users"][0]["user"]["token"]
        assert story.mode == "0o600"
        assert story.runs["rbac"].diffs("one")
        assert token not in story.runs["rbac"].output
        assert not [path for path in story.runs["rbac"].diffs("one") if path.endswith(".yml")]

    @pytest.mark.parametrize("name", CYCLE)
    def test_a_whole_cycle_passes_with_the_rights_of_the_account(self, story: Story, name: str) -> None:
        if name in story.runs:
            assert story.runs[name].code == 0
        told = [str(result["msg"]) for result in story.results.get(name, []) if result.get("failed")]
        # One worker is kept from coming up, so that the run lists pods to say why.
        assert [text for text in told if name != "rewrite" or "shop-worker: " not in text] == []
        assert story.refused[name] <= TOLERATED
        assert story.needs[name] - OTHERS <= granted(CYCLE[name])

    @pytest.mark.parametrize(
        "names",
        [
            ["status"],
            ["draining"],
            ["asking"],
            ["deploy", "rewrite", "little", "ask", "move"],
            ["remove"],
        ],
        ids=" ".join,
    )
    def test_runs_need_all_that_the_table_grants_their_features(self, story: Story, names: list[str]) -> None:
        needed = {need for name in names for need in story.needs[name]}
        expected = granted(feature for name in names for feature in CYCLE[name])
        assert needed - OTHERS == expected - OTHERS

    def test_who_changes_the_scaling_asks_no_worker(self, story: Story) -> None:
        assert story.needs["scaling"] == granted(("pause", "boost"))

    def test_the_account_has_just_the_rights_that_are_used(self, story: Story) -> None:
        assert in_roles(story) == {need for name in CYCLE for need in story.needs[name]}

    def test_the_status_finds_everything_as_it_was_deployed(self, story: Story) -> None:
        """A claim is listed by its name only, and is read all the same."""
        assert story.runs["status"].results("one", "Read how the fleet is")[0]["status"]["drift"] == []

    def test_an_administrator_takes_all_of_it_away(self, story: Story) -> None:
        assert story.runs["withdraw"].changed("one") == 1
        for kind in ("ServiceAccount", "Role", "RoleBinding"):
            assert not [item for item in story.emulator.objects(kind) if item["metadata"]["name"].startswith("celery-")]
        assert not story.login.exists()
