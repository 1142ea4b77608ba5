# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that know nothing of some kinds that watch a fleet, and credentials that may not read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json, namespaces, new_namespace_name, path_of
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import Emulator

OPTIONAL = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "GrafanaDashboard", "HTTPRoute")
BUILT_IN = ("Ingress", "NetworkPolicy")

WORKERS: Json = {
    "celery_workers_wait": False,
    "celery_workers_broker": {"host": "redis", "password": "only-for-this-test"},
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": {}}},
}
ALL: Json = {
    "celery_workers_flower_enabled": True,
    "celery_workers_flower": {"http_route": {"host": "flower.example.org", "gateway": "public"}},
    "celery_workers_exporter_enabled": True,
    "celery_workers_service_monitor_enabled": True,
    "celery_workers_prometheus_rule_enabled": True,
    "celery_workers_dashboard_enabled": True,
    "celery_workers_dashboard": {"delivery": "grafana_dashboard"},
}
#: Host to what it asks for.
PARTS: dict[str, Json] = {
    "lacking": ALL,
    # What such a cluster can do.
    "annotated": {
        **ALL,
        "celery_workers_flower": {},
        "celery_workers_prometheus_rule_enabled": False,
        "celery_workers_service_monitor": {"type": "annotations"},
        "celery_workers_dashboard": {},
    },
    # May read nothing but what workers need.
    "unasked": {},
    "refused": {
        "celery_workers_flower_enabled": True,
        "celery_workers_flower": {"ingress": {"host": "flower.example.org"}},
    },
}
#: Kind that is skipped to who asks for it and a way out.
SKIPPED = {
    "ServiceMonitor (monitoring.coreos.com/v1)": ("celery_workers_service_monitor", "{type: annotations}"),
    "PrometheusRule (monitoring.coreos.com/v1)": ("celery_workers_prometheus_rule", "Install the Prometheus Operator"),
    "GrafanaDashboard (grafana.integreatly.org/v1beta1)": ("celery_workers_dashboard", "{delivery: config_map}"),
    "HTTPRoute (gateway.networking.k8s.io/v1)": ("celery_workers_flower.http_route", "with ingress"),
}


@dataclass
class Story:
    cluster: Cluster
    names: dict[str, str]
    runs: dict[str, Run] = field(default_factory=dict)
    #: Step to host to kind and name, with its version.
    versions: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)


class TestKindsThatAreNotThere:
    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, player: Player, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
        if REAL_CLUSTER:
            pytest.skip("needs the emulator: a real cluster has the kinds that it has")
        with Emulator(without_kinds=OPTIONAL) as emulator:
            folder = tmp_path_factory.mktemp("lacking")
            cluster = Cluster(emulator.write_kubeconfig(folder / "kubeconfig"), emulator)
            story = Story(cluster, {host: new_namespace_name(host) for host in PARTS})
            hosts = {
                host: {
                    "celery_workers_namespace": name,
                    "celery_workers_kubeconfig": str(cluster.kubeconfig),
                    **WORKERS,
                    **PARTS[host],
                }
                for host, name in story.names.items()
            }
            inventory = write_inventory(folder, hosts)
            with namespaces(cluster, *story.names.values()):
                for host in ("unasked", "refused"):
                    for kind in (*BUILT_IN, "Service", "PersistentVolumeClaim"):
                        message = f"{kind} is forbidden: User cannot list it"
                        path = f"{path_of(kind, story.names[host])}$"
                        emulator.fail("GET", path, status=403, reason="Forbidden", message=message, times=None)
                for step in ("first", "again"):
                    story.runs[step] = player.deploy(inventory)
                    story.versions[step] = {host: cluster.versions(name) for host, name in story.names.items()
                                            if host not in ("unasked", "refused")}  # fmt: skip
                yield story

    def test_what_can_be_made_is_made(self, story: Story) -> None:
        assert story.runs["first"].changed("lacking") > 0
        made = set(story.versions["first"]["lacking"])
        assert {"Deployment flower", "Service flower", "Secret flower-auth", "Deployment celery-exporter"} <= made
        assert not [name for name in made if name.split()[0] in OPTIONAL]

    def test_each_missing_kind_is_named_with_a_way_out(self, story: Story) -> None:
        warnings = story.runs["first"].warnings
        for kind, (variable, way) in SKIPPED.items():
            assert f"The cluster does not know {kind}, so {variable} makes none." in warnings
            assert way in warnings

    def test_a_second_run_changes_nothing(self, story: Story) -> None:
        for host in ("lacking", "annotated", "unasked"):
            assert story.runs["again"].changed(host) == 0
        assert story.versions["again"] == story.versions["first"]

    def test_annotations_are_enough_for_a_prometheus_without_the_operator(self, story: Story) -> None:
        assert story.runs["first"].changed("annotated") > 0
        ports = {"flower": "5555", "celery-exporter": "9808"}
        for name, port in ports.items():
            notes = story.cluster.get("Service", story.names["annotated"], name)["metadata"]["annotations"]
            assert notes["prometheus.io/scrape"] == "true"
            assert notes["prometheus.io/port"] == port
            assert notes["prometheus.io/path"] == "/metrics"
        dashboard = f"ConfigMap {story.names['annotated']}-celery-dashboard"
        assert dashboard in story.versions["first"]["annotated"]

    def test_who_asks_for_no_flower_needs_no_right_to_read_its_kinds(self, story: Story) -> None:
        assert story.runs["first"].changed("unasked") > 0
        assert story.cluster.get("Deployment", story.names["unasked"], "shop-worker")

    def test_who_asks_for_it_is_told_which_rights_are_missing(self, story: Story) -> None:
        message = story.runs["first"].message("refused")
        for kind in ("Ingress", "Service"):
            assert f"list {kind} in {story.names['refused']}" in message
        assert "NetworkPolicy" not in message
        assert "Grant get and list" in message
        assert [one.path for one in story.cluster.requests_of(story.names["refused"]) if one.is_write] == []
