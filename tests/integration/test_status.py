# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fleets are: one page for people, one JSON for programs, and where the numbers come from. Nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.cluster import REAL_CLUSTER, Cluster, Json, namespaces, new_namespace_name, with_server
from tests.integration.playbook import Player, Run, write_inventory
from tests.support.kubernetes_emulator import ExecRequest, ExecResult, RecordedRequest

PASSWORD = "s3cr3t-Tr0ub4dor"
MARK = "celery-worker-answer:"
SCALED_OBJECT = "shop-worker-mail-scaledobject"
PROXY = "/services/keda-operator:8080/proxy/metrics"
SHARED: Json = {
    "celery_workers_services": {"shop": {"app": "shop", "image": "registry.example/shop:1", "idempotent": True}},
    "celery_workers_broker": {"host": "redis", "priority_steps": [0], "password": PASSWORD},
    "celery_workers_config": {
        "shop": {
            "mail": {"enable_keda": True, "list_length": 10, "max_replicas": 30, "hold": "slots", "concurrency": 2},
            "reports": {"enable_keda": True, "min_replicas": 1, "longest_task_seconds": 60},
        }
    },
    "celery_workers_wait": False,
    "ansible_python_interpreter": "{{ ansible_playbook_python }}",
}


def the_page(run: Run) -> str:
    """What the last task showed."""
    return run.stdout.partition("Show how the fleets are]")[2].partition("PLAY RECAP")[0].partition("\n")[2]


def the_json(run: Run) -> Json:
    """The JSON on the screen: from the line that opens it to the one that ends it."""
    lines = the_page(run).splitlines()
    found: Json = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    return found


def answering(request: ExecRequest) -> ExecResult:
    """What a pod with a working app says."""
    assert json.loads(request.command[-1])["counts"]
    return ExecResult(stdout=f"{MARK}{json.dumps({'waiting': 25, 'held': 14, 'active': 6, 'later': 8})}\n")


@dataclass
class Seen:
    """Runs of the playbook, and what they asked for."""

    names: dict[str, str]
    runs: dict[str, Run] = field(default_factory=dict)
    requests: dict[str, list[RecordedRequest]] = field(default_factory=dict)


class TestStatus:
    """A healthy site, one with faults and one that is down, seen in every way."""

    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls, cluster: Cluster, player: Player, folder: Path) -> Iterator[Seen]:
        if REAL_CLUSTER:
            pytest.skip("needs the emulator: it sets what KEDA reads and what fails")
        names = {host: new_namespace_name(host) for host in ("north", "south")}
        hosts: dict[str, Json] = {host: {"celery_workers_namespace": name} for host, name in names.items()}
        closed = with_server(cluster.kubeconfig, folder / "closed", "http://127.0.0.1:9")
        hosts["down"] = {"celery_workers_namespace": "anywhere", "celery_workers_kubeconfig": str(closed)}
        inventory = write_inventory(folder, hosts, SHARED)
        power, found = cluster.power, Seen(names)

        def look(name: str, *options: str, json_output: bool = False) -> None:
            power.requests.clear()
            found.runs[name] = player.play("status", inventory, *options, json_output=json_output)
            found.requests[name] = list(power.requests)

        with namespaces(cluster, *names.values()):
            assert player.deploy(inventory, "--limit=north,south").changed("north")
            power.install_keda("autoscaling")
            power.set_reading(names["north"], SCALED_OBJECT, backlog=25, inflight=14, pods=3)
            look("healthy", "--limit=north", f"-e=celery_workers_status_file={folder / 'status.json'}")
            look("json", "--limit=north", "-e=celery_workers_status_format=json")
            cls._break(cluster, names["south"])
            look("many")
            look("programs", "--limit=north,south", json_output=True)
            look(
                "watch",
                "--limit=north,south",
                "-e=celery_workers_status_watch=1",
                "-e=celery_workers_status_watch_count=2",
            )
            power.fail("GET", PROXY, status=403, reason="Forbidden", message="services is forbidden", times=None)
            power.exec_handler = answering
            look("asked", "--limit=north", json_output=True)
            look("not asked", "--limit=north", "-e=celery_workers_status_ask_pods=false", json_output=True)
            yield found

    @staticmethod
    def _break(cluster: Cluster, namespace: str) -> None:
        power = cluster.power
        power.make_unavailable(namespace, "shop-worker-reports", reason="ImagePullBackOff", message="not found")
        failed = {
            "type": "ScalingActive",
            "status": "False",
            "reason": "FailedGetExternalMetric",
            "message": "no metric",
        }
        power.set_status("HorizontalPodAutoscaler", f"keda-hpa-{SCALED_OBJECT}", {"conditions": [failed]}, namespace)
        power.add_event(
            namespace,
            "ScaledObject",
            SCALED_OBJECT,
            "KEDAScalerFailed",
            f"connection to redis failed: WRONGPASS for {PASSWORD}",
            warns=True,
        )

    def test_a_healthy_site_shows_its_numbers_its_formula_and_no_problem(self, seen: Seen) -> None:
        run = seen.runs["healthy"]
        assert run.code == 0
        page = the_page(run)
        assert "numbers from: KEDA's metrics (keda-operator in autoscaling)" in page
        assert "max(25/10, min(14/2, 3)) = 3 → 3 of 30" in page
        assert "\n  no problems\n" in page
        assert max(map(len, page.splitlines())) < 100

    def test_all_variants_take_one_request_to_KEDA(self, seen: Seen) -> None:
        asked = [request.path for request in seen.requests["healthy"] if "/proxy/" in request.path]
        # In KEDA's usual namespace there is none; its registration says where it is.
        assert [path.split("/")[4] for path in asked] == ["keda", "autoscaling"]
        assert not [request for request in seen.requests["healthy"] if "external.metrics.k8s.io/" in request.path]

    def test_json_is_one_document_on_the_screen_and_in_a_file(self, seen: Seen, folder: Path) -> None:
        (host,) = the_json(seen.runs["json"])["hosts"]
        assert host["namespace"] == seen.names["north"]
        work = {item["variant"]: item["work"] for item in host["variants"]}
        assert (work["mail"]["waiting"], work["mail"]["in_flight"], work["mail"]["source"]) == (25, 14, "keda")
        assert host["problems"] == []
        written = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        assert written["hosts"][0]["variants"][0]["work"] == host["variants"][0]["work"]

    def test_many_sites_are_one_table_the_worst_first_and_one_that_is_down_hides_none(self, seen: Seen) -> None:
        run = seen.runs["many"]
        assert run.code != 0
        lines = the_page(run).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("host "))
        assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["down", "south", "north"]
        page = " ".join(the_page(run).split())
        assert re.search(r"!! down: not known: The API server [^ ]+ cannot be reached", page)
        assert "!! south shop reports: 0 of 1 pod ready. Pod shop-worker-reports-" in page
        assert "[image-pull]" in page
        assert "south shop mail: the scaler cannot log in to the broker" in page
        assert "3 hosts, 4 variants: 2 with problems, 1 of them could not be read" in page

    def test_programs_find_all_hosts_in_the_result_of_the_last_task(self, seen: Seen) -> None:
        results = [result for host in ("north", "south") for result in seen.runs["programs"].results(host)]
        shown = [result["hosts"] for result in results if "hosts" in result]
        assert [[host["host"] for host in hosts] for hosts in shown] == [["north", "south"]]
        rules = {problem["rule"] for problem in shown[0][1]["problems"]}
        assert rules == {"image-pull", "scaler-login"}

    def test_watching_looks_again_and_shows_the_page_each_time(self, seen: Seen) -> None:
        run = seen.runs["watch"]
        assert run.code == 0
        assert the_page(run).count("2 hosts, 4 variants") == 2
        assert "every 1 s, round 2 of 2" in the_page(run)
        looks = [one for one in seen.requests["watch"] if one.path.endswith(f"{seen.names['south']}/pods")]
        assert len(looks) == 2

    def test_where_KEDA_may_not_be_asked_a_pod_of_each_variant_is(self, seen: Seen) -> None:
        status = seen.runs["asked"].results("north", "Read how the fleet is")[0]["status"]
        work = {item["variant"]: item["work"] for item in status["variants"]}
        assert work["mail"] == {
            "waiting": 25,
            "in_flight": 14,
            "running": 6,
            "held_for_eta": 8,
            "source": "pod",
            "reason": "",
        }
        assert status["variants"][0]["formula"]["text"] == "max(25/10, min(14/2, 1))"
        assert status["numbers"] == ["a pod of each variant was asked"]
        assert sum(request.path.endswith("/exec") for request in seen.requests["asked"]) == 2

    def test_what_nobody_may_be_asked_is_unknown_and_never_zero(self, seen: Seen) -> None:
        status = seen.runs["not asked"].results("north", "Read how the fleet is")[0]["status"]
        assert {item["work"]["waiting"] for item in status["variants"]} == {None}
        assert {item["work"]["source"] for item in status["variants"]} == {"unknown"}
        (problem,) = status["problems"]
        assert problem["rule"] == "numbers-unknown"
        assert problem["fix"].startswith("grant get on services/proxy in namespace autoscaling, as ")
        assert not [request for request in seen.requests["not asked"] if request.path.endswith("/exec")]

    def test_nothing_is_written_and_no_secret_is_shown(self, seen: Seen) -> None:
        for name, run in seen.runs.items():
            assert [one.path for one in seen.requests[name] if one.is_write and not one.path.endswith("/exec")] == []
            assert PASSWORD not in run.output
            assert "Traceback" not in run.output


def test_a_fleet_of_any_size_takes_the_same_requests(cluster: Cluster, player: Player, folder: Path) -> None:
    power = cluster.power
    power.install_keda()
    asked: list[list[str]] = []
    for count in (2, 20):
        name = new_namespace_name("size")
        config = {f"v{number}": {"enable_keda": True, "min_replicas": 1} for number in range(count)}
        host = {"celery_workers_namespace": name, "celery_workers_config": {"shop": config}}
        inventory = write_inventory(folder, {"one": host}, SHARED, name=f"size{count}")
        with namespaces(cluster, name):
            player.deploy(inventory)
            power.requests.clear()
            run = player.play("status", inventory)
            status = run.results("one", "Read how the fleet is")[0]["status"]
            assert {item["work"]["source"] for item in status["variants"]} == {"keda"}
            assert status["problems"] == []
            asked.append([request.path.replace(name, "") for request in power.requests])
    assert asked[0] == asked[1]
