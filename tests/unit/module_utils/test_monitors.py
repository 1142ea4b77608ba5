# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus finds every Flower and exporter of a fleet, and nothing else; what a cluster does not know is left out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import skipped
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import preflight
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import API_VERSIONS, NOTHING, Observed
from celery.utils.nodenames import anon_nodename

from tests.unit.inventories import Manifest, fleet_of, of_kind
from tests.unit.watching import ROUTE, one_of, services_with, watched, watching_of

BOTH = ("flower", "exporter", "service_monitor")
TYPES = [("service_monitor", "ServiceMonitor", "endpoints"), ("pod_monitor", "PodMonitor", "podMetricsEndpoints")]


def monitors_with(keys: dict[str, Any], *parts: str, **more: Any) -> list[Manifest]:
    return watching_of(fleet_of(**watched(*(parts or BOTH), service_monitor=keys, **more)))


def endpoint_with(keys: dict[str, Any], **more: Any) -> Manifest:
    """How Flower is scraped."""
    (endpoint,) = one_of(monitors_with(keys, "flower", "service_monitor", **more), "ServiceMonitor")["spec"][
        "endpoints"
    ]
    found: Manifest = endpoint
    return found


def metadata_and_ports(item: Manifest, kind: str) -> tuple[dict[str, str], set[str]]:
    """Labels by which a monitor selects an object, and the names of its ports."""
    if kind == "PodMonitor":
        template = item["spec"]["template"]
        ports = template["spec"]["containers"][0]["ports"]
        return template["metadata"]["labels"], {port["name"] for port in ports}
    return item["metadata"]["labels"], {port["name"] for port in item["spec"]["ports"]}


@pytest.mark.parametrize(("name", "kind", "endpoints"), TYPES)
def test_a_monitor_selects_every_flower_or_every_exporter_and_nothing_else(
    name: str, kind: str, endpoints: str
) -> None:
    variables = services_with({"a": None, "b": {"host": "other"}}, enabled=BOTH, service_monitor={"type": name})
    manifests = watching_of(fleet_of(**variables))
    holders = of_kind(manifests, "Deployment" if kind == "PodMonitor" else "Service")
    chosen = {}
    for monitor in of_kind(manifests, kind):
        (endpoint,) = monitor["spec"][endpoints]
        selector = monitor["spec"]["selector"]["matchLabels"]
        names = []
        for holder in holders:
            labels, ports = metadata_and_ports(holder, kind)
            if selector.items() <= labels.items():
                assert endpoint["port"] in ports
                names.append(holder["metadata"]["name"])
        chosen[monitor["metadata"]["name"]] = names
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop"]}
    assert chosen == {
        "flower": ["flower", "b-flower"],
        "celery-exporter": ["celery-exporter", "b-celery-exporter"],
    }


@pytest.mark.parametrize(
    ("keys", "more", "expected"),
    [
        ({}, {}, {"path": "/metrics", "interval": "30s", "scrapeTimeout": None, "relabelings": None}),
        ({"interval": "1m", "scrape_timeout": "20s"}, {}, {"interval": "1m", "scrapeTimeout": "20s"}),
        ({}, {"flower": {"url_prefix": "ops/flower"}}, {"path": "/ops/flower/metrics"}),
        (
            {"relabelings": [{"action": "replace", "targetLabel": "site", "replacement": "north"}]},
            {},
            {"relabelings": [{"action": "replace", "targetLabel": "site", "replacement": "north"}]},
        ),
    ],
)
def test_a_scrape_follows_the_keys(keys: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]) -> None:
    found = endpoint_with(keys, **more)
    assert {name: found.get(name) for name in expected} == expected


def test_the_exporter_is_scraped_at_its_own_path_whatever_prefix_flower_has() -> None:
    found = of_kind(monitors_with({}, flower={"url_prefix": "ops"}), "ServiceMonitor")
    assert [item["spec"]["endpoints"][0]["path"] for item in found] == ["/ops/metrics", "/metrics"]


def test_labels_of_a_monitor_are_those_by_which_a_prometheus_selects_it() -> None:
    found = one_of(monitors_with({"labels": {"release": "prometheus"}}, "flower", "service_monitor"), "ServiceMonitor")
    assert found["metadata"]["labels"]["release"] == "prometheus"
    assert "release" not in found["spec"]["selector"]["matchLabels"]


def dropped(rules: list[dict[str, Any]], series: dict[str, str]) -> bool:
    """Whether Prometheus drops a series: values joined by ';', and the whole of it must match."""
    for rule in rules:
        value = ";".join(series.get(name, "") for name in rule.get("sourceLabels", []))
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        if rule.get("action", "replace") == "drop" and matches:
            return True
    return False


@pytest.mark.parametrize(
    ("worker", "gone"),
    [
        ("gen123@host", True),
        ("gen1@billing-web-6d4cf56db6-x2x9k", True),
        ("celery@host", False),
        ("billing.default@host", False),
        ("gen@host", False),
        ("gen12x@host", False),
        ("oxygen123@host", False),
        ("billing.gen123@host", False),
        ("", False),
    ],
)
def test_series_of_processes_that_send_tasks_are_dropped_and_those_of_workers_are_not(worker: str, gone: bool) -> None:
    series = {"__name__": "flower_events_total", "worker": worker, "type": "task-sent"}
    assert dropped(endpoint_with({})["metricRelabelings"], series) is gone
    assert not dropped(endpoint_with({"drop_producers": False}).get("metricRelabelings", []), series)


def test_a_producer_is_named_as_celery_itself_names_it() -> None:
    assert dropped(endpoint_with({})["metricRelabelings"], {"worker": anon_nodename()})


def test_series_without_a_worker_stay() -> None:
    assert not dropped(endpoint_with({})["metricRelabelings"], {"__name__": "up"})


def test_relabelings_of_the_user_come_after_ours() -> None:
    own = {"action": "labeldrop", "regex": "pod"}
    assert endpoint_with({"metric_relabelings": [own]})["metricRelabelings"][-1] == own
    assert endpoint_with({"metric_relabelings": [own], "drop_producers": False})["metricRelabelings"] == [own]


def test_a_prometheus_without_the_operator_finds_the_services_by_annotations() -> None:
    manifests = monitors_with({"type": "annotations"}, flower={"url_prefix": "ops"})
    assert {item["kind"] for item in manifests} == {"Deployment", "Service"}
    found = {item["metadata"]["name"]: item["metadata"].get("annotations") for item in of_kind(manifests, "Service")}
    assert found == {
        "flower": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "5555",
            "prometheus.io/path": "/ops/metrics",
        },
        "celery-exporter": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "9808",
            "prometheus.io/path": "/metrics",
        },
    }


@pytest.mark.parametrize("name", ["service_monitor", "pod_monitor"])
def test_with_the_operator_services_carry_no_annotation_so_that_nothing_is_scraped_twice(name: str) -> None:
    services = of_kind(monitors_with({"type": name}), "Service")
    assert [item["metadata"].get("annotations") for item in services] == [None, None]


#: Variables that ask for a kind of which a cluster may know nothing.
OPTIONAL: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "HTTPRoute",
        watched("flower", flower=ROUTE),
        "celery_workers_flower.http_route",
        "Install the Gateway API, or expose Flower with ingress.",
    ),
    (
        "ServiceMonitor",
        watched("flower", "service_monitor"),
        "celery_workers_service_monitor",
        "Install the Prometheus Operator, or write celery_workers_service_monitor: {type: annotations}.",
    ),
    (
        "PodMonitor",
        watched("flower", "service_monitor", service_monitor={"type": "pod_monitor"}),
        "celery_workers_service_monitor",
        "Install the Prometheus Operator, or write celery_workers_service_monitor: {type: annotations}.",
    ),
    (
        "PrometheusRule",
        watched("prometheus_rule"),
        "celery_workers_prometheus_rule",
        "Install the Prometheus Operator, or give the rules to Prometheus as a file, as docs/monitoring.md shows.",
    ),
    (
        "GrafanaDashboard",
        watched("dashboard", dashboard={"delivery": "grafana_dashboard"}),
        "celery_workers_dashboard",
        "Install the Grafana operator, or write celery_workers_dashboard: {delivery: config_map}.",
    ),
]


@pytest.mark.parametrize(("kind", "variables", "who", "mend"), OPTIONAL, ids=[row[0] for row in OPTIONAL])
def test_a_kind_that_the_cluster_does_not_know_is_left_out_and_named_with_the_ways_out(
    kind: str, variables: dict[str, Any], who: str, mend: str
) -> None:
    fleet = fleet_of(**variables)
    everything = watching_of(fleet)
    assert of_kind(everything, kind)
    bare = Observed(missing_kinds=(kind,))
    assert watching_of(fleet, bare) == [item for item in everything if item["kind"] != kind]
    said = f"The cluster does not know {kind} ({API_VERSIONS[kind]}), so {who} makes none. {mend}"
    assert skipped(fleet, bare) == [said]
    assert skipped(fleet, NOTHING) == []
    found = preflight(fleet, bare, False)
    assert (said in found.warnings, found.problems, found.missing) == (True, (), ())


@pytest.mark.parametrize(
    "variables",
    [
        watched(),
        watched("flower"),
        watched("flower", "service_monitor", service_monitor={"type": "annotations"}),
        watched("dashboard"),
        watched("dashboard", dashboard={"delivery": "file"}),
    ],
)
def test_a_kind_that_nobody_asks_for_may_be_missing(variables: dict[str, Any]) -> None:
    kinds = ("HTTPRoute", "ServiceMonitor", "PodMonitor", "PrometheusRule", "GrafanaDashboard")
    fleet = fleet_of(**variables)
    assert skipped(fleet, Observed(missing_kinds=kinds)) == []
    assert watching_of(fleet, Observed(missing_kinds=kinds)) == watching_of(fleet)
