# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches a fleet: Flower, exporter, monitors, alerts and dashboard come, stay and go as they are switched."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.cluster import LAST_APPLIED, Cluster, Json
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import RecordedRequest

ROLLS = "celery.queueops.io/secret-versions"
BROKER_PASSWORD = "Bq47-of-the-broker-8c"
GIVEN = "Gv93@:/#%-of-flower-2e"

WORKERS: Json = {
    "celery_workers_wait": False,
    "celery_workers_remove_data": True,
    # Without it Flower needs no settings of its own.
    "celery_workers_broker": {
        "host": "redis",
        "password": BROKER_PASSWORD,
        "transport_options": {"global_keyprefix": "shop:"},
    },
    "celery_workers_services": {"shop": {"app": "shop.celery", "image": "registry.example/shop:1"}},
    "celery_workers_config": {"shop": {"default": {}, "mail": {"enable_keda": True, "min_replicas": 1}}},
}
MONITORING_NAMESPACE: Json = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
EXPOSED: Json = {
    "ingress": {"host": "flower.example.org", "class_name": "nginx"},
    "http_route": {"host": "flower.example.org", "gateway": "public", "gateway_namespace": "infra"},
    "network_policy": {"allow_from": [MONITORING_NAMESPACE]},
    "persistence": {"size": "2048Mi"},
}
#: What a server completes is written by halves.
RELABELINGS: list[Json] = [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]
ALL: Json = {
    "celery_workers_flower_enabled": True,
    "celery_workers_flower": EXPOSED,
    "celery_workers_exporter_enabled": True,
    "celery_workers_service_monitor_enabled": True,
    "celery_workers_service_monitor": {"labels": {"release": "prometheus"}, "relabelings": RELABELINGS},
    "celery_workers_prometheus_rule_enabled": True,
    "celery_workers_dashboard_enabled": True,
}
#: The same parts, each in its other form.
OTHER_FORMS: Json = {
    **ALL,
    "celery_workers_flower": {"password": GIVEN},
    "celery_workers_service_monitor": {"type": "pod_monitor"},
    "celery_workers_dashboard": {"delivery": "grafana_dashboard"},
}
#: Flower is left alone, and the password taken out again.
FLOWER_ONLY: Json = {"celery_workers_flower_enabled": True}

FLOWER = {
    "Secret flower-auth",
    "ConfigMap flower-settings",
    "Deployment flower",
    "Service flower",
}
AROUND_FLOWER = {
    "PersistentVolumeClaim flower-data",
    "Ingress flower",
    "HTTPRoute flower",
    "NetworkPolicy flower",
}
EXPORTER = {"Deployment celery-exporter", "Service celery-exporter"}


def monitors(kind: str) -> set[str]:
    return {f"{kind} flower", f"{kind} celery-exporter"}


def rules_and(kind: str, fleet: str) -> set[str]:
    """The alerts, and the dashboard as an object of a kind."""
    return {f"PrometheusRule {fleet}-celery-alerts", f"{kind} {fleet}-celery-dashboard"}


def decoded(secret: Json) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def leaks(text: str, values: Iterable[str]) -> list[str]:
    """Which of these secret values a text gives away: plain, as part of a URL, in JSON, or as base64."""
    found = []
    for value in values:
        encoded = [base64.b64encode(part.encode()).decode() for part in (value, f"flower:{value}")]
        forms = {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], *encoded}
        found += [form for form in forms if form in text]
    return found


def created_in(run: Run) -> set[str]:
    """Kind and name of what the diffs of a run show as new or changed."""
    return set(re.findall(r"^\+\+\+ after: (\S+ \S+)", run.stdout, re.M))


@dataclass
class Step:
    """A run, and the namespace after it. `writes` are all but reading, dry runs included."""

    run: Run
    found: set[str]
    versions: dict[str, str]
    secret: dict[str, str]
    templates: dict[str, Json]
    writes: list[RecordedRequest]
    objects: list[Json]

    @property
    def said(self) -> str:
        return self.run.stdout

    def changed(self, host: str = "shop") -> int:
        recap = self.run.recap[host]
        assert recap["failed"] == 0, self.run
        return int(recap["changed"])


def look(cluster: Cluster, namespace: str, run: Run) -> Step:
    found = cluster.names(namespace)
    secret = cluster.find("Secret", namespace, "flower-auth")
    kinds = {name.split()[0] for name in found} - {"Secret"}
    # A server leaves the kind out of what it lists.
    objects = [{**item, "kind": kind} for kind in sorted(kinds) for item in cluster.select(kind, namespace)]
    return Step(
        run,
        found,
        cluster.versions(namespace),
        decoded(secret) if secret else {},
        {item["metadata"]["name"]: item["spec"]["template"] for item in objects if item["kind"] == "Deployment"},
        [one for one in cluster.requests_of(namespace) if one.is_write] if cluster.emulator else [],
        objects,
    )


@dataclass
class Story:
    namespace: str
    steps: dict[str, Step] = field(default_factory=dict)

    @property
    def values(self) -> set[str]:
        """Every secret value that there was at any time."""
        kept = {value for step in self.steps.values() for value in step.secret.values()}
        return {GIVEN, BROKER_PASSWORD, *kept}


class TestSwitchedOnAndOff:
    """One fleet that gets all of it, then other forms of it, then less, then nothing."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> Story:
        cluster.needs("HTTPRoute")
        story = Story(namespace)

        def step(name: str, parts: Json, *options: str) -> None:
            inventory = write_inventory(folder, {"shop": {"celery_workers_namespace": namespace, **WORKERS, **parts}})
            if cluster.emulator:
                cluster.emulator.requests.clear()
            run = player.deploy(inventory, "--diff", *options, json_output=False)
            story.steps[name] = look(cluster, namespace, run)

        step("workers", {})
        step("dry", ALL, "--check", "-vvv")
        step("on", ALL, "-vvv")
        step("again", ALL, "-vvv")
        step("dry again", ALL, "--check")
        step("other forms", OTHER_FORMS, "-vvv")
        step("flower only", FLOWER_ONLY)
        step("off", {})
        step("off again", {})
        return story

    def test_everything_is_made(self, story: Story) -> None:
        assert story.steps["on"].changed() > 0
        made = story.steps["on"].found - story.steps["workers"].found
        assert made == {
            *FLOWER,
            *AROUND_FLOWER,
            *EXPORTER,
            *monitors("ServiceMonitor"),
            *rules_and("ConfigMap", story.namespace),
        }

    def test_a_dry_run_shows_it_and_writes_nothing(self, cluster: Cluster, story: Story) -> None:
        dry = story.steps["dry"]
        assert dry.changed() > 0
        assert dry.versions == story.steps["workers"].versions
        workers = {f"Deployment {name}" for name in ("shop-worker", "shop-worker-mail")}
        assert created_in(dry.run) == (story.steps["on"].found - story.steps["workers"].found) | workers
        if cluster.emulator:
            assert [one.path for one in dry.writes if not one.is_dry_run] == []

    def test_a_dry_run_says_what_a_real_run_generates(self, story: Story) -> None:
        assert "A real run generates these" in story.steps["dry"].said
        assert "Secret flower-auth, key password" in story.steps["dry"].said
        assert "Generated, and kept by later runs" in story.steps["on"].said
        for name in ("again", "dry again", "other forms", "flower only"):
            assert "generates these" not in story.steps[name].said
            assert "kept by later runs" not in story.steps[name].said

    def test_the_second_run_changes_nothing(self, story: Story) -> None:
        assert story.steps["again"].changed() == 0
        assert story.steps["again"].versions == story.steps["on"].versions
        assert created_in(story.steps["again"].run) == set()

    def test_a_dry_run_of_what_is_there_finds_nothing(self, story: Story) -> None:
        assert story.steps["dry again"].changed() == 0
        assert story.steps["dry again"].versions == story.steps["on"].versions

    def test_workers_send_events_as_long_as_somebody_listens(self, story: Story) -> None:
        for name, step in story.steps.items():
            sends = name not in ("workers", "dry", "off", "off again")
            for worker in ("shop-worker", "shop-worker-mail"):
                args = step.templates[worker]["spec"]["containers"][0]["args"]
                assert ("--task-events" in args) is sends, name

    def test_nothing_else_of_the_workers_is_touched(self, story: Story) -> None:
        workers = story.steps["workers"].versions
        rolled = {name for name in workers if name.startswith("Deployment ")}
        first = {name: version for name, version in workers.items() if name not in rolled}
        for name, step in story.steps.items():
            assert {item: step.versions[item] for item in first} == first, name
        for later in ("other forms", "flower only"):
            for worker in rolled:
                assert story.steps[later].versions[worker] == story.steps["on"].versions[worker], later
        assert story.steps["off"].templates == story.steps["workers"].templates

    def test_another_form_replaces_the_first(self, story: Story) -> None:
        step = story.steps["other forms"]
        assert step.changed() > 0
        assert step.found - story.steps["workers"].found == {
            *FLOWER,
            *EXPORTER,
            *monitors("PodMonitor"),
            *rules_and("GrafanaDashboard", story.namespace),
        }

    def test_what_is_switched_off_goes_without_prune(self, story: Story) -> None:
        step = story.steps["flower only"]
        assert step.changed() > 0
        assert step.found - story.steps["workers"].found == FLOWER
        # Flower itself runs on.
        for name in FLOWER:
            assert step.versions[name] == story.steps["other forms"].versions[name]

    def test_all_off_leaves_nothing(self, story: Story) -> None:
        assert story.steps["off"].changed() > 0
        assert story.steps["off"].found == story.steps["workers"].found
        assert story.steps["off again"].changed() == 0
        assert story.steps["off again"].versions == story.steps["off"].versions

    def test_who_sends_or_alarms_goes_before_what_it_needs(self, cluster: Cluster, story: Story) -> None:
        assert cluster.power
        deleted = [one.path.rpartition("/")[0].rpartition("/")[2] for one in story.steps["other forms"].writes
                   if one.method == "DELETE"]  # fmt: skip
        assert deleted.index("ingresses") < deleted.index("persistentvolumeclaims") < deleted.index("configmaps")

    def test_a_claim_is_taken_off_the_pod_before_it_goes(self, story: Story) -> None:
        volumes = {item["name"]: item for item in story.steps["other forms"].templates["flower"]["spec"]["volumes"]}
        claims = [item for item in volumes.values() if "persistentVolumeClaim" in item]
        assert claims == []
        kept = [item for item in story.steps["on"].templates["flower"]["spec"]["volumes"]
                if "persistentVolumeClaim" in item]  # fmt: skip
        assert [item["persistentVolumeClaim"]["claimName"] for item in kept] == ["flower-data"]

    # The password

    def test_a_password_is_generated_once(self, story: Story) -> None:
        generated = story.steps["on"].secret
        assert set(generated) == {"password", "cookie_secret"}
        assert re.fullmatch("[0-9a-f]{32}", generated["password"])
        assert generated["password"] != generated["cookie_secret"]
        assert story.steps["again"].secret == generated

    def test_a_given_password_replaces_it(self, story: Story) -> None:
        assert story.steps["other forms"].secret == story.steps["on"].secret | {"password": GIVEN}
        before, after = (story.steps[name].templates["flower"] for name in ("on", "other forms"))
        assert after["metadata"]["annotations"][ROLLS] != before["metadata"]["annotations"][ROLLS]

    def test_taken_out_again_it_stays_as_it_is(self, story: Story) -> None:
        step = story.steps["flower only"]
        assert step.secret == story.steps["other forms"].secret
        assert step.templates["flower"] == story.steps["other forms"].templates["flower"]

    def test_the_pod_gets_it_from_the_secret(self, story: Story) -> None:
        (container,) = story.steps["on"].templates["flower"]["spec"]["containers"]
        env = {entry["name"]: entry for entry in container["env"]}
        assert env["FLOWER_BASIC_AUTH"]["value"] == "flower:$(CELERY_FLOWER_PASSWORD)"
        assert env["CELERY_FLOWER_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "flower-auth", "key": "password"}

    def test_no_other_object_holds_a_value(self, story: Story) -> None:
        assert len(story.values) == 4
        for name, step in story.steps.items():
            for item in step.objects:
                assert leaks(json.dumps(item), story.values) == [], f"{item['kind']} {item['metadata']['name']}, {name}"

    def test_the_secret_carries_no_copy_of_it(self, cluster: Cluster, story: Story) -> None:
        assert story.steps["on"].secret
        for secret in cluster.select("Secret", story.namespace):
            assert LAST_APPLIED not in secret["metadata"].get("annotations", {})

    def test_no_output_holds_a_value(self, story: Story) -> None:
        for name, step in story.steps.items():
            assert leaks(step.run.output, story.values) == [], name
            assert "Traceback" not in step.run.output, name

    # The rest

    def test_the_service_and_its_monitor_find_the_pod(self, story: Story) -> None:
        objects = {f"{item['kind']} {item['metadata']['name']}": item for item in story.steps["on"].objects}
        for name in ("flower", "celery-exporter"):
            pod = story.steps["on"].templates[name]["metadata"]["labels"]
            service, monitor = objects[f"Service {name}"], objects[f"ServiceMonitor {name}"]
            assert service["spec"]["selector"].items() <= pod.items()
            assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert monitor["metadata"]["labels"]["release"] == "prometheus"
            (endpoint,) = monitor["spec"]["endpoints"]
            assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        policy = objects["NetworkPolicy flower"]["spec"]["podSelector"]["matchLabels"]
        pods = {name: item["metadata"]["labels"] for name, item in story.steps["on"].templates.items()}
        assert [name for name, labels in pods.items() if policy.items() <= labels.items()] == ["flower"]

    def test_the_pod_monitors_find_the_pods(self, story: Story) -> None:
        step = story.steps["other forms"]
        found = {item["metadata"]["name"]: item for item in step.objects if item["kind"] == "PodMonitor"}
        for name in ("flower", "celery-exporter"):
            labels = step.templates[name]["metadata"]["labels"]
            assert found[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()

    def test_the_dashboard_is_whole_and_its_diff_short(self, story: Story) -> None:
        name = f"{story.namespace}-celery-dashboard"
        (config,) = [item for item in story.steps["on"].objects
                     if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", name)]  # fmt: skip
        assert json.loads(config["data"][f"{name}.json"])["panels"]
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert "lines, not shown" in story.steps["on"].said


class TestTwoFleetsInOneNamespace:
    """Both want Flower: whoever comes second is told whose it is, and lives beside it under another name."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, cluster: Cluster, player: Player, namespace: str, folder: Path) -> Story:
        story = Story(namespace)
        services = {"one": "shop", "two": "blog"}

        def step(name: str, second: Json, *options: str, only: str = "", playbook: str = "deploy") -> None:
            hosts: dict[str, Json] = {
                host: {
                    "celery_workers_fleet": host,
                    "celery_workers_namespace": namespace,
                    "celery_workers_wait": False,
                    "celery_workers_broker": {"host": f"redis-{host}", "password": BROKER_PASSWORD},
                    "celery_workers_services": {service: {"app": "shop.celery", "image": "registry.example/shop:1"}},
                    "celery_workers_config": {service: {"default": {}}},
                    "celery_workers_flower_enabled": True,
                    "celery_workers_service_monitor_enabled": True,
                }
                for host, service in services.items()
                if only in ("", host)
            }
            hosts.get("two", {}).update(second)
            inventory = write_inventory(folder, hosts)
            if cluster.emulator:
                cluster.emulator.requests.clear()
            run = player.play(playbook, inventory, *options, json_output=False)
            story.steps[name] = look(cluster, namespace, run)

        step("first", {}, only="one")
        # From an inventory of its own, so that only the cluster can tell.
        step("refused", {}, only="two")
        step("compared", {}, "--limit=two")
        step("both", {"celery_workers_flower": {"name": "blog-flower"}})
        step("removed", {"celery_workers_flower": {"name": "blog-flower"}}, "--limit=one", playbook="remove")
        return story

    def test_the_second_stops_and_names_what_is_in_its_way(self, story: Story) -> None:
        refused = story.steps["refused"]
        assert refused.run.recap["two"]["failed"] == 1
        for item in ("Secret flower-auth", "Deployment flower", "Service flower", "ServiceMonitor flower"):
            assert f"{item} in {story.namespace} exists and is not ours: it belongs to the fleet one" in refused.said
        assert "Give it another name (celery_workers_flower.name)" in refused.said
        assert refused.versions == story.steps["first"].versions
        assert refused.writes == []

    def test_in_one_inventory_both_hosts_are_named_before_anything_is_sent(self, story: Story) -> None:
        compared = story.steps["compared"]
        assert compared.run.code != 0
        for text in ("one (fleet one) and two (fleet two)", "Deployment flower", "Secret flower-auth"):
            assert text in compared.said
        assert compared.writes == []
        assert compared.versions == story.steps["first"].versions

    def test_under_another_name_both_live_side_by_side(self, story: Story) -> None:
        both = story.steps["both"]
        assert both.changed("one") == 0
        assert both.changed("two") > 0
        named = {f"{kind} blog-flower" for kind in ("Deployment", "Service", "ServiceMonitor")}
        assert {"Secret blog-flower-auth", *named} <= both.found - story.steps["first"].found
        first = story.steps["first"].versions
        assert {name: both.versions[name] for name in first} == first

    def test_each_service_and_monitor_finds_its_own(self, story: Story) -> None:
        pods = {name: item["metadata"]["labels"] for name, item in story.steps["both"].templates.items()}
        services = {item["metadata"]["name"]: item for item in story.steps["both"].objects if item["kind"] == "Service"}
        for name, service in services.items():
            selector = service["spec"]["selector"].items()
            assert [pod for pod, labels in pods.items() if selector <= labels.items()] == [name]
        for monitor in [item for item in story.steps["both"].objects if item["kind"] == "ServiceMonitor"]:
            wanted = monitor["spec"]["selector"]["matchLabels"].items()
            found = [name for name, item in services.items() if wanted <= item["metadata"]["labels"].items()]
            assert found == [monitor["metadata"]["name"]]

    def test_removing_one_fleet_takes_its_flower_along_and_leaves_the_other(self, story: Story) -> None:
        removed, both = story.steps["removed"], story.steps["both"]
        assert removed.changed("one") > 0
        assert removed.found == both.found - story.steps["first"].found
        assert {name: both.versions[name] for name in removed.versions} == removed.versions
