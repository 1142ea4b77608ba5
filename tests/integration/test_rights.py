# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account that the playbook rbac makes: a whole cycle passes with its rights and uses every one of them.

The API emulator enforces roles here. It records what each request needs, so that a right that is missing from the
table fails a run, and one that nothing uses fails a comparison.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.rights import KEDA, Scope, rights_of

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json
from tests.integration.playbook import Player, Run, extra_vars, mode_of, write_inventory
from tests.support.kubernetes_emulator import Emulator, ExecRequest, ExecResult

#: Verb, API group, resource and namespace.
Need = tuple[str, str, str, str]

NAMESPACE, KEDA_NAMESPACE, USER = "shop", "keda", "system:serviceaccount:shop:celery-workers"
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
}
#: The kinds of it. A PodMonitor takes the place of ServiceMonitors.
MADE = frozenset(
    [
        *("ConfigMap", "Deployment", "GrafanaDashboard", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress"),
        *("NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "PrometheusRule", "ScaledObject", "Secret"),
        *("Service", "ServiceMonitor", "TriggerAuthentication"),
    ]
)
SCOPE = Scope(made=MADE, uses_keda=True, has_redis=True, removes_data=True)
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
class Story:
    """Runs by name, what each needed, and what of it was refused."""

    player: Player
    emulator: Emulator
    inventory: Path
    admin: Path
    login: Path
    runs: dict[str, Run] = field(default_factory=dict)
    needs: dict[str, set[Need]] = field(default_factory=dict)
    refused: dict[str, set[Need]] = field(default_factory=dict)
    roles: dict[str, list[Json]] = field(default_factory=dict)
    kubeconfig: str = ""
    mode: str = ""

    def run(self, name: str, playbook: str, *options: str, by_admin: bool = False, **given: object) -> None:
        own = [extra_vars({f"celery_workers_{key}": value for key, value in given.items()})] if given else []
        self.player.kubeconfig = self.admin if by_admin else self.login
        before = len(self.emulator.requests)
        self.runs[name] = self.player.play(playbook, self.inventory, *own, *options)
        requests = self.emulator.requests[before:]
        found = [
            (one.status, (need.verb, need.group, need.resource, need.namespace))
            for one in requests
            for need in one.needs
        ]
        self.needs[name] = {need for status, need in found if status != 403}
        self.refused[name] = {need for status, need in found if status == 403}

    @contextmanager
    def without(self, *gone: tuple[str, str]) -> Iterator[None]:
        """The account without some verbs on resources."""
        places = ((NAMESPACE, "celery-workers"), (KEDA_NAMESPACE, "celery-workers-shop"))
        roles = [found for place, name in places if (found := self.emulator.get("Role", name, place)) is not None]
        for role in roles:
            self.emulator.add({**copy.deepcopy(role), "rules": list(_cut(role["rules"], gone))})
        yield
        self.emulator.add(*roles)

    def forget_what_was_applied(self) -> None:
        """As if every object had been written by something else, so that the next run writes each again."""
        for kind in MADE:
            for item in self.emulator.objects(kind, NAMESPACE):
                if "celery.queueops.io/fleet" in item["metadata"].get("labels", {}) and not _is_kedas(item):
                    item["metadata"].get("annotations", {}).pop(_LAST_APPLIED, None)
                    self.emulator.add({**item, **({"data": {}} if kind == "Secret" else {})})


def _playbook(path: Path, *names: str) -> str:
    """Several playbooks of the collection in one run, which takes less time."""
    plays = [{"import_playbook": f"queueops.celery.{name}"} for name in names]
    path.write_text(yaml.safe_dump(plays), encoding="utf-8")
    return str(path)


def _is_kedas(item: Json) -> bool:
    return bool(item["metadata"].get("ownerReferences"))


def _cut(rules: Iterable[Json], gone: Iterable[tuple[str, str]]) -> Iterator[Json]:
    for rule in rules:
        for resource in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if (verb, resource) not in set(gone)]
            yield {**rule, "resources": [resource], "verbs": verbs}


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
    "asking": ("verify", "queues", "gc"),
    "little": ("deploy", "wait"),
    "ask": ("deploy", "wait", "ask"),
    "move": ("deploy", "wait", "prune", "move"),
    "remove": ("remove",),
}
#: Runs that end for want of a right, after they have used others.
CUT = {"no create": "deploy", "no delete": "remove"}
#: What a run asks for and goes on without: whether its namespace is there, which its account proves.
TOLERATED = {("get", "", "namespaces", NAMESPACE)}
#: Kinds of others, of which only a deploy tells, and one that nobody asks for here, which a removal looks for.
OTHERS = {
    ("list", "autoscaling.k8s.io", "verticalpodautoscalers", NAMESPACE),
    ("list", "monitoring.coreos.com", "podmonitors", NAMESPACE),
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
        cls._cycle(story, folder)
        story.run("by itself", "rbac", rbac_state="absent")
        story.run("withdraw", "rbac", by_admin=True, rbac_state="absent")
        return story

    @staticmethod
    def _granted(story: Story) -> None:
        story.run("rbac", "rbac", "--diff", "-vvv", by_admin=True)
        story.kubeconfig, story.mode = story.login.read_text(encoding="utf-8"), mode_of(story.login)
        for place in (NAMESPACE, KEDA_NAMESPACE):
            roles = story.emulator.objects("Role", place)
            story.roles[place] = [rule for role in roles for rule in role["rules"]]

    @staticmethod
    def _cycle(story: Story, folder: Path) -> None:
        with story.without(("create", "deployments")):
            story.run("no create", "deploy")
        story.run("deploy", "deploy")
        story.forget_what_was_applied()
        story.emulator.make_unavailable(NAMESPACE, "shop-worker", reason="CrashLoopBackOff", deadline_exceeded=True)
        story.run("rewrite", "deploy")
        story.emulator.make_available(NAMESPACE, "shop-worker")
        story.run("status", "status")
        chosen: Json = {"only": "shop/high", "boost_min": 2, "boost_until": "2h"}
        story.run("scaling", _playbook(folder / "scaling.yml", "pause", "resume", "boost"), **chosen)
        story.run("draining", _playbook(folder / "draining.yml", "drain", "resume"), only="shop/high")
        story.run("asking", _playbook(folder / "asking.yml", "verify", "queues", "gc"))
        with story.without(("create", "pods/exec")):
            story.run("no exec", "verify")
        with story.without(("list", "pods"), ("list", "events"), ("get", "services/proxy")):
            story.run("no look", "status", status_format="json")
        story.run("little", "deploy", **LITTLE)
        story.run("ask", "deploy", config={"shop": {**VARIANTS, "low": {"replicas": 1, "queues": ["lower"]}}})
        left = {name: keys for name, keys in VARIANTS.items() if name != "low"}
        story.run("move", "deploy", config={"shop": left}, prune="move", move_to="default")
        with story.without(("delete", "services")):
            story.run("no delete", "remove")
        story.run("remove", "remove")

    def test_the_kubeconfig_is_private_and_its_token_is_shown_nowhere(self, story: Story) -> None:
        token = yaml.safe_load(story.kubeconfig)["users"][0]["user"]["token"]
        assert story.mode == "0o600"
        assert story.runs["rbac"].diffs("one")
        assert token not in story.runs["rbac"].output
        assert not [path for path in story.runs["rbac"].diffs("one") if path.endswith(".yml")]

    @pytest.mark.parametrize("name", CYCLE)
    def test_a_whole_cycle_passes_with_the_rights_of_the_account(self, story: Story, name: str) -> None:
        run = story.runs[name]
        if name == "rewrite":
            assert "shop-worker: " in run.message("one")
        else:
            assert run.code == 0, run.message("one")
        assert story.refused[name] <= TOLERATED
        assert story.needs[name] - OTHERS <= granted(CYCLE[name])

    @pytest.mark.parametrize(
        "names",
        [
            ["status"],
            ["draining"],
            ["asking"],
            ["no create", "deploy", "rewrite", "little", "ask", "move"],
            ["no delete", "remove"],
        ],
        ids=" ".join,
    )
    def test_runs_need_all_that_the_table_grants_their_features(self, story: Story, names: list[str]) -> None:
        """So that each verb that is taken away fails one of them."""
        needed = {need for name in names for need in story.needs[name]}
        expected = granted(feature for name in names for feature in CYCLE[CUT.get(name, name)])
        assert needed - OTHERS == expected - OTHERS

    def test_who_changes_the_scaling_asks_no_worker(self, story: Story) -> None:
        assert story.needs["scaling"] == granted(("pause", "boost"))

    def test_the_account_has_just_the_rights_that_are_used(self, story: Story) -> None:
        assert in_roles(story) == {need for name in (*CYCLE, *CUT) for need in story.needs[name]}

    @pytest.mark.parametrize(
        ("name", "lacks"),
        [
            ("no create", ["create on deployments.apps in namespace shop"]),
            ("no exec", ["create on pods/exec in namespace shop"]),
            ("no delete", ["delete on services in namespace shop"]),
        ],
    )
    def test_a_run_without_a_right_fails_and_names_it_and_the_way_out(
        self, story: Story, name: str, lacks: list[str]
    ) -> None:
        message = story.runs[name].message("one")
        assert f"The account lacks: {', '.join(lacks)}. " in message
        assert message.endswith(
            "An administrator grants what this inventory needs with ansible-playbook queueops.celery.rbac."
        )
        assert USER in message
        assert "Handshake" not in message

    def test_the_status_finds_everything_as_it_was_deployed(self, story: Story) -> None:
        """A claim is listed by its name only, and is read all the same."""
        assert story.runs["status"].results("one", "Read how the fleet is")[0]["status"]["drift"] == []

    def test_the_status_says_what_it_could_not_see_and_who_grants_it(self, story: Story) -> None:
        run = story.runs["no look"]
        assert run.code == 0
        status = run.results("one", "Read how the fleet is")[0]["status"]
        fixes = " ".join(problem["fix"] for problem in status["problems"])
        for right in ("list on pods", "list on events", "get on services/proxy"):
            assert f"grant {right} in namespace" in fixes
        assert "as ansible-playbook queueops.celery.rbac does" in fixes

    def test_the_account_cannot_take_itself_away(self, story: Story) -> None:
        run = story.runs["by itself"]
        assert "The account lacks" not in run.message("one")
        assert "as an administrator of the cluster" in run.message("one")

    def test_an_administrator_takes_all_of_it_away(self, story: Story) -> None:
        assert story.runs["withdraw"].changed("one") == 1
        for kind in ("ServiceAccount", "Role", "RoleBinding"):
            assert not [item for item in story.emulator.objects(kind) if item["metadata"]["name"].startswith("celery-")]
        assert not story.login.exists()
