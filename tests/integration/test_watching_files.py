# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches a fleet as files: manifests for GitOps, and the dashboard's JSON for an import by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.integration.cluster import Cluster, Json, namespaces, new_namespace_name
from tests.integration.playbook import Player, Run, mode_of, write_inventory

PASSWORD = "Mf58@:/#%-of-flower-1d"
WORKERS: Json = {
    "celery_workers_wait": False,
    "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": {}}},
}
FLOWER: Json = {
    "password": PASSWORD,
    "ingress": {"host": "flower.example.org"},
    "http_route": {"host": "flower.example.org", "gateway": "public"},
    "network_policy": {"allow_from": [{"namespaceSelector": {}}]},
    "persistence": {},
}
ALL: Json = {
    "celery_workers_flower_enabled": True,
    "celery_workers_flower": FLOWER,
    "celery_workers_exporter_enabled": True,
    "celery_workers_service_monitor_enabled": True,
    "celery_workers_prometheus_rule_enabled": True,
    "celery_workers_dashboard_enabled": True,
}
WATCHING_FILES = {
    "deployment-flower.yaml",
    "service-flower.yaml",
    "ingress-flower.yaml",
    "httproute-flower.yaml",
    "networkpolicy-flower.yaml",
    "persistentvolumeclaim-flower-data.yaml",
    "deployment-celery-exporter.yaml",
    "service-celery-exporter.yaml",
    "servicemonitor-flower.yaml",
    "servicemonitor-celery-exporter.yaml",
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass
class Story:
    runs: dict[str, Run] = field(default_factory=dict)
    #: Step to every file below the folder, manifests and dashboards alike.
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    mode: str = ""


class TestFiles:
    """Files of three hosts, two of them with Secrets, and the dashboard of a fleet on a cluster."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Story]:
        story, live = Story(), new_namespace_name("board")

        def step(name: str, parts: Json, *options: str) -> None:
            files: Json = {"celery_workers_namespace": "shop", "celery_workers_output": "manifests"}
            board: Json = {"celery_workers_dashboard": {"delivery": "file", "file": "boards/here/shop.json"}}
            hosts: dict[str, Json] = {
                "plain": {**files, **parts},
                "full": {**files, **parts, "celery_workers_manifests_secrets": True},
                "board": {**files, **parts, **board},
                "live": {
                    "celery_workers_namespace": live,
                    "celery_workers_dashboard_enabled": bool(parts),
                    "celery_workers_dashboard": {"delivery": "file"},
                },
            }
            if name == "first":
                hosts["unsaid"] = {**files, **parts, "celery_workers_flower": {**FLOWER, "password": None}}
            for host in hosts.keys() - {"live"}:
                # Each for a cluster of its own: in one they would be one fleet.
                hosts[host]["celery_workers_context"] = host
            inventory = write_inventory(folder, hosts, WORKERS)
            story.runs[name] = player.deploy(inventory, *options, json_output=False)
            story.files[name] = {
                f"{root}/{path}": data
                for root in ("manifests", "boards", "dashboards")
                for path, data in content(folder / root).items()
            }

        with namespaces(cluster, live):
            step("dry", ALL, "--check", "--diff")
            step("first", ALL, "--diff")
            story.mode = mode_of(folder / "manifests" / "full" / "secrets.yaml")
            step("again", ALL)
            step("off", {})
            yield story

    def test_a_dry_run_writes_nothing(self, story: Story) -> None:
        assert story.files["dry"] == {}
        for host in ("plain", "full", "board", "live"):
            assert story.runs["dry"].recap[host]["failed"] == 0
            assert story.runs["dry"].recap[host]["changed"] > 0

    def test_each_object_has_its_file(self, story: Story) -> None:
        files = story.files["first"]
        for host in ("plain", "full"):
            assert story.runs["first"].recap[host]["failed"] == 0
            made = {name.rpartition("/")[2]: name for name in files if name.startswith(f"manifests/{host}/")}
            assert made.keys() >= {*WATCHING_FILES, "prometheusrule-shop-celery-alerts.yaml"}
            assert "configmap-shop-celery-dashboard.yaml" in made
            listed = yaml.safe_load(files[f"manifests/{host}/kustomization.yaml"])["resources"]
            for name in WATCHING_FILES:
                assert made[name].removeprefix(f"manifests/{host}/") in listed
                manifest = yaml.safe_load(files[made[name]])
                assert manifest["metadata"]["namespace"] == "shop"

    def test_two_runs_write_the_same_bytes(self, story: Story) -> None:
        assert story.files["again"] == story.files["first"]
        for host in ("plain", "full", "board", "live"):
            assert story.runs["again"].recap[host] == story.runs["again"].recap[host] | {"changed": 0, "failed": 0}

    def test_without_a_password_it_stops_with_what_to_write(self, story: Story) -> None:
        assert story.runs["first"].recap["unsaid"]["failed"] == 1
        output = story.runs["first"].stdout
        assert "celery_workers_flower.password: manifest files cannot keep a password that is generated" in output
        assert not [name for name in story.files["first"] if name.startswith("manifests/unsaid/")]

    def test_the_password_is_in_the_secret_and_nowhere_else(self, story: Story) -> None:
        text = story.files["first"]["manifests/full/secrets.yaml"].decode()
        secrets = {item["metadata"]["name"]: item for item in yaml.safe_load_all(text)}
        assert base64.b64decode(secrets["flower-auth"]["data"]["password"]).decode() == PASSWORD
        assert story.mode == "0o600"
        others = {name: data for name, data in story.files["first"].items() if not name.endswith("/secrets.yaml")}
        shown = [PASSWORD, base64.b64encode(PASSWORD.encode()).decode()]
        for name, data in others.items():
            assert not [value for value in shown if value in data.decode()], name
        for run in story.runs.values():
            assert not [value for value in shown if value in run.output]

    def test_who_writes_no_secrets_is_told_which_one_to_create(self, story: Story) -> None:
        assert "manifests/plain/secrets.yaml" not in story.files["first"]
        assert "flower-auth" in story.runs["first"].stdout

    def test_files_of_what_is_switched_off_go(self, story: Story) -> None:
        for host in ("plain", "full", "board"):
            assert story.runs["off"].recap[host]["failed"] == 0
            left = {name.rpartition("/")[2] for name in story.files["off"] if name.startswith(f"manifests/{host}/")}
            assert left & {*WATCHING_FILES, "prometheusrule-shop-celery-alerts.yaml"} == set()
            assert "flower" not in story.files["off"][f"manifests/{host}/kustomization.yaml"].decode()
        assert "flower-auth" not in story.files["off"]["manifests/full/secrets.yaml"].decode()

    def test_the_dashboard_is_written_where_it_is_asked_for(self, story: Story) -> None:
        files, name = story.files["first"], "boards/here/shop.json"
        assert json.loads(files[name])["panels"]
        assert not [path for path in files if path.startswith("manifests/board/") and "dashboard" in path]

    def test_a_fleet_on_a_cluster_has_its_dashboard_as_a_file_too(self, story: Story) -> None:
        (name,) = [path for path in story.files["first"] if path.startswith("dashboards/")]
        assert json.loads(story.files["first"][name])["panels"]
        assert story.runs["first"].recap["live"]["failed"] == 0

    def test_no_traceback(self, story: Story) -> None:
        for run in story.runs.values():
            assert "Traceback" not in run.output
