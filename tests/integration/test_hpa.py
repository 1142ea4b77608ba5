# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes' own autoscaler: it comes, gives way to KEDA, and goes, and never two of them scale one Deployment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import FLEET_LABEL, Cluster, Json
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import RecordedRequest

WORKER, OTHER = "shop-worker", "shop-worker-other"
HPA, SCALED_OBJECT = f"{WORKER}-hpa", f"{WORKER}-scaledobject"
#: What KEDA makes of a ScaledObject, with the labels of that.
OF_KEDA = f"keda-hpa-{OTHER}-scaledobject"

ON_CPU: Json = {"scaler": "hpa", "max_replicas": 6, "cpu_utilization": 70}
ON_MEMORY: Json = {"scaler": "hpa", "max_replicas": 6, "memory_utilization": 60}
ON_QUEUE: Json = {"scaler": "keda", "min_replicas": 1, "max_replicas": 6}


@dataclass
class Story:
    """Runs by name, and what was there after each."""

    runs: dict[str, Run] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    specs: dict[str, Json | None] = field(default_factory=dict)
    pods: dict[str, int | None] = field(default_factory=dict)
    writes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def scalers(self, name: str) -> set[str]:
        """What scales, without the autoscalers of KEDA: a real one makes them only while it can reach the broker."""
        kinds = ("HorizontalPodAutoscaler", "ScaledObject")
        found = {item.split()[1] for item in self.versions[name] if item.startswith(kinds)}
        return {item for item in found if not item.startswith("keda-hpa-")}


def short(request: RecordedRequest) -> tuple[str, str]:
    """A write as its method, and the kind and name that it is about."""
    *_path, kind, last = request.path.split("/")
    if request.method != "POST":
        return request.method, f"{kind}/{last}"
    return request.method, f"{last}/{request.body['metadata']['name']}"


class TestOwnAutoscaler:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Story:
        story = Story()

        def step(name: str, keys: Json, *options: str, playbook: str = "deploy") -> None:
            variables = {
                "celery_workers_namespace": namespace,
                # A pod of a real cluster would wait for its image for ever.
                "celery_workers_wait": bool(cluster.emulator) and name == "first",
                # KEDA copies the labels of a ScaledObject: its autoscaler looks like ours, and is not.
                "celery_workers_prune": name == "second",
                "celery_workers_broker": {"host": "redis"},
                "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
                "celery_workers_config": {"shop": {"default": keys, "other": ON_QUEUE}},
            }
            if cluster.emulator:
                cluster.emulator.requests.clear()
            story.runs[name] = player.play(playbook, write_inventory(folder, {"shop": variables}), *options)
            story.versions[name] = cluster.versions(namespace)
            found = cluster.find("HorizontalPodAutoscaler", namespace, HPA)
            story.specs[name] = found["spec"] if found else None
            deployment = cluster.find("Deployment", namespace, WORKER)
            story.pods[name] = deployment["spec"]["replicas"] if deployment else None
            if cluster.emulator:
                story.writes[name] = [short(one) for one in cluster.writes_to(namespace)]

        step("first", ON_CPU)
        if cluster.emulator:
            cluster.scale(namespace, WORKER, 4)
            story.labels = cluster.get("HorizontalPodAutoscaler", namespace, OF_KEDA)["metadata"]["labels"]
        step("second", ON_CPU)
        step("memory", ON_MEMORY)
        step("check", ON_QUEUE, "--check", "--diff")
        step("keda", ON_QUEUE)
        step("back", ON_CPU)
        step("off", {})
        step("off again", {})
        step("on", ON_CPU)
        step("absent", ON_CPU, playbook="remove")
        return story

    def test_it_scales_on_what_the_inventory_names(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["first"].changed("shop") > 0
        assert story.scalers("first") == {HPA, f"{OTHER}-scaledobject"}
        spec = story.specs["first"]
        assert spec is not None
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": WORKER}
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 6)
        target = {"type": "Utilization", "averageUtilization": 70}
        assert spec["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]

    def test_the_run_says_that_it_sees_no_queue(self, story: Story) -> None:
        shown = story.runs["first"].said("shop", "scaling")
        row = next(line for line in shown if line.split()[:2] == ["shop", "default"])
        assert " ".join(row.split()[2:]) == "shop-worker 1-6 CPU no, only KEDA goes to 0"

    def test_a_second_run_changes_nothing_and_leaves_it_its_pods(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["second"].changed("shop") == 0
        assert cluster.power
        assert story.pods["second"] == 4
        assert ("DELETE", f"horizontalpodautoscalers/{OF_KEDA}") not in story.writes["second"]

    def test_pruning_leaves_the_autoscaler_of_keda_alone(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert cluster.power
        assert story.labels[FLEET_LABEL] == namespace
        assert story.runs["second"].changed("shop") == 0
        assert f"HorizontalPodAutoscaler {OF_KEDA}" in story.versions["second"]

    def test_another_metric_changes_one_object(self, story: Story) -> None:
        before, after = story.versions["second"], story.versions["memory"]
        assert {name for name in after if after[name] != before.get(name)} == {f"HorizontalPodAutoscaler {HPA}"}
        spec = story.specs["memory"]
        assert spec is not None
        assert [metric["resource"]["name"] for metric in spec["metrics"]] == ["memory"]

    def test_check_mode_shows_the_change_of_scaler_and_makes_none(self, story: Story) -> None:
        assert story.runs["check"].changed("shop") > 0
        assert story.versions["check"] == story.versions["memory"]

    def test_it_is_gone_before_keda_takes_over(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["keda"].changed("shop") > 0
        assert story.scalers("keda") == {SCALED_OBJECT, f"{OTHER}-scaledobject"}
        assert cluster.power
        writes = story.writes["keda"]
        assert writes.index(("DELETE", f"horizontalpodautoscalers/{HPA}")) < writes.index(
            ("POST", f"scaledobjects/{SCALED_OBJECT}")
        )
        assert story.pods["keda"] == 4

    def test_keda_is_gone_before_it_takes_over(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["back"].changed("shop") > 0
        assert story.scalers("back") == {HPA, f"{OTHER}-scaledobject"}
        assert cluster.power
        writes = story.writes["back"]
        assert writes.index(("DELETE", f"scaledobjects/{SCALED_OBJECT}")) < writes.index(
            ("POST", f"horizontalpodautoscalers/{HPA}")
        )

    def test_switched_off_it_leaves_its_pods(self, cluster: Cluster, story: Story) -> None:
        assert story.runs["off"].changed("shop") > 0
        assert story.specs["off"] is None
        assert story.runs["off again"].changed("shop") == 0
        assert story.versions["off again"] == story.versions["off"]
        assert cluster.power
        assert story.pods["off again"] == 4

    def test_it_goes_with_the_fleet(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert story.specs["on"] is not None
        assert story.runs["absent"].changed("shop") > 0
        assert cluster.names(namespace) == set()
        assert story.scalers("absent") == set()
        deleted = [name for result in story.runs["absent"].results("shop") for name in result.get("deleted", [])]
        assert f"HorizontalPodAutoscaler {HPA}" in deleted

    def test_the_autoscalers_of_keda_are_never_touched(self, cluster: Cluster, namespace: str, story: Story) -> None:
        assert cluster.power
        for name, writes in story.writes.items():
            assert [path for _method, path in writes if "keda-hpa-" in path] == [], name
        for run in story.runs.values():
            named = [name for result in run.results("shop") for name in result.get("deleted", [])]
            assert not any("keda-hpa-" in name for name in named)
            assert "keda-hpa-" not in run.warnings


class TestWithoutRequest:
    """A share of nothing is nothing: without a request Kubernetes scales by no utilization."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, cluster: Cluster, player: Player, folder: Path, namespace: str) -> Run:
        def host(keys: Json, name: str) -> Json:
            return {
                "celery_workers_fleet": name,
                "celery_workers_services": {name: {"app": "shop.celery", "image": "registry.example/shop:1"}},
                "celery_workers_config": {name: {"default": keys}},
            }

        hosts = {
            "cpu": host({**ON_CPU, "resources": {"requests": {"cpu": None}}}, "cpu"),
            "memory": host(
                {**ON_MEMORY, "resources": {"requests": {"memory": None}, "limits": {"memory": None}}}, "memory"
            ),
            "other": host({**ON_CPU, "resources": {"requests": {"memory": None}}}, "other"),
        }
        shared = {
            "celery_workers_namespace": namespace,
            "celery_workers_wait": False,
            "celery_workers_broker": {"host": "redis"},
        }
        return player.deploy(write_inventory(folder, hosts, shared))

    @pytest.mark.parametrize("host", ["cpu", "memory"])
    def test_a_target_without_its_request_is_refused(
        self, cluster: Cluster, namespace: str, run: Run, host: str
    ) -> None:
        message = run.message(host)
        assert f"{host} of variant default of service {host} is measured against its request" in message
        assert f"set resources.requests.{host}" in message
        assert f"celery_workers_config.{host}.default" in message
        assert cluster.find("Deployment", namespace, f"{host}-worker") is None

    def test_other_requests_do_not_matter(self, cluster: Cluster, namespace: str, run: Run) -> None:
        assert run.changed("other") > 0
        assert cluster.find("HorizontalPodAutoscaler", namespace, "other-worker-hpa") is not None
