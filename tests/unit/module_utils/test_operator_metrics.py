# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KEDA's operator has read: its own metrics, joined with what exists, and trusted only while they are of now."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.operator_metrics import (
    ask_operator,
    distrust,
    is_without_work,
    numbers_of,
    parsed,
)

RECORDED = Path(__file__).parents[3].parent / "shared" / "fixtures" / "keda-operator-metrics-formula.txt"
LABELS = 'namespace="{namespace}",scaledObject="{name}",scaler="{scaler}",triggerIndex="{index}",type="{kind}"'


def line(value: object, scaler: str = "backlog", index: int = 0, metric: str = "s0-redis-mail", **labels: str) -> str:
    given = {"namespace": "shop", "name": "mail", "kind": "scaledobject", **labels}
    told = LABELS.format(scaler=scaler, index=index, **given)
    return f'keda_scaler_metrics_value{{metric="{metric}",{told}}} {value}\n'


def scaled_object(*names: str, **status: Any) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    triggers = [{"type": "redis", **({"name": name} if name else {})} for name in names]
    return {"metadata": {"name": "mail"}, "spec": {"triggers": triggers}, "status": {**ready, **status}}


def read(text: str, live: dict[str, Any]) -> dict[str, float]:
    return numbers_of(live, parsed(text, "shop").get("mail", ()))


def test_each_trigger_has_its_number_and_the_formulas_result_is_none_of_them() -> None:
    text = line(25) + line(14, "inflight", 1) + line(3.5, "composite-metric", 0, "composite-metric")
    assert read(text, scaled_object("backlog", "inflight")) == {"backlog": 25, "inflight": 14}


def test_names_of_lists_may_hold_control_characters() -> None:
    text = line(1, metric="s0-redis-mail") + line(7, "backlog_p3", 1, metric="s1-redis-mail\x06\x163")
    assert read(text, scaled_object("backlog", "backlog_p3")) == {"backlog": 1, "backlog_p3": 7}


def test_a_label_may_hold_quotes_and_braces() -> None:
    text = line(4, metric='s0-redis-\\"a\\"} 9')
    assert read(text, scaled_object("backlog")) == {"backlog": 4}


def test_series_of_what_is_gone_or_elsewhere_do_not_count() -> None:
    text = (
        line(1)
        + line(99, "backlog_0", 1)  # an earlier name of the second trigger
        + line(98, "inflight", 7)  # an earlier place
        + line(97, namespace="other")
        + line(96, kind="scaledjob")
        + line(95, name="mail-old")
    )
    assert read(text, scaled_object("backlog", "inflight")) == {"backlog": 1}


def test_a_trigger_without_a_name_is_known_by_its_place() -> None:
    assert read(line(3, "redisScaler"), scaled_object("")) == {"trigger_0": 3}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "x"])
def test_what_is_no_number_is_not_known(value: str) -> None:
    assert read(line(value), scaled_object("backlog")) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": []}, "has not looked"),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, "cannot read"),
        ({"health": {"s0": {"status": "Failing", "numberOfFailures": 3}}}, "cannot read"),
        ({"health": {"s0": {"status": "Happy", "numberOfFailures": 1}}}, "cannot read"),
        ({"health": {"s0": {"status": "Happy", "numberOfFailures": 0}}}, ""),
    ],
)
def test_the_last_number_of_a_scaler_that_fails_is_not_one_of_now(changes: dict[str, Any], words: str) -> None:
    found = distrust(scaled_object("backlog", **changes))
    assert words in found
    assert bool(found) == bool(words)


def test_what_the_queue_holds_is_true_while_only_prometheus_fails() -> None:
    health = {"s1-prometheus": {"status": "Failing", "numberOfFailures": 7}}
    live = scaled_object("backlog", "measured_seconds", health=health)
    assert not distrust(live)
    live["status"]["health"]["s0-redis-mail"] = {"status": "Failing", "numberOfFailures": 1}
    assert distrust(live)


@pytest.mark.parametrize(
    ("failing", "is_idle"),
    [(["s1-prometheus"], True), (["s0-redis-mail"], False), (["s0-x", "s1-x"], False), ([], False)],
)
def test_a_variant_is_idle_although_prometheus_is_away(failing: list[str], is_idle: bool) -> None:
    """KEDA calls that a fallback, too; one for any other reason says that the queue is not known."""
    states = {"Ready": "True", "Active": "False", "Fallback": "True"}
    live = scaled_object(
        "backlog",
        "measured_seconds",
        conditions=[{"type": name, "status": status} for name, status in states.items()],
        health={name: {"status": "Failing", "numberOfFailures": 7} for name in failing},
    )
    assert is_without_work(live) is is_idle


@pytest.mark.parametrize(
    ("name", "value", "stops"),
    [
        ("paused", "true", True),
        ("paused", "", True),
        ("paused", "false", False),
        ("paused-replicas", "0", True),
        ("paused-scale-in", "true", False),
    ],
)
def test_while_it_is_paused_KEDA_reads_nothing(name: str, value: str, stops: bool) -> None:
    live = scaled_object("backlog")
    live["metadata"]["annotations"] = {f"autoscaling.keda.sh/{name}": value}
    assert bool(distrust(live)) == stops


# Where it is asked


class Refusal(Exception):
    def __init__(self, status: int, text: str = "no") -> None:
        super().__init__(text)
        self.status = status


BUILT = "keda_build_info 1\n"
#: What an API server says of a port's name that a Service lacks, and of one that has no pod behind it.
NOT_BY_NAME = 'no endpoints available for service "keda-operator:metrics"'
SERVICES = "/api/v1/namespaces/{}/services/keda-operator:{}/proxy/metrics"
REGISTRATION = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"


def cluster(
    answers: dict[str, str | int], asked: list[str] | None = None, why: str = "no such service"
) -> DirectCluster:
    """An API server that answers these paths, with a text or a status."""

    def request(_method: str, path: str, **_options: Any) -> Any:
        if asked is not None:
            asked.append(path)
        found = answers.get(path, 404)
        if isinstance(found, int):
            raise Refusal(found, NOT_BY_NAME if path.endswith(":metrics/proxy/metrics") else why)
        return SimpleNamespace(data=found.encode())

    client = SimpleNamespace(client=SimpleNamespace(request=request), configuration=SimpleNamespace(host="https://api"))
    return DirectCluster(client, "shop")


def test_one_request_tells_of_all_variants() -> None:
    asked: list[str] = []
    text = BUILT + line(25) + line(7, name="reports")
    found = ask_operator(cluster({SERVICES.format("keda", 8080): text}, asked), "")
    assert set(found.series) == {"mail", "reports"}
    assert (found.place, asked) == ("keda-operator in keda", [SERVICES.format("keda", 8080)])


def test_an_operator_that_only_stands_by_has_no_numbers_so_another_is_asked() -> None:
    answers = iter([BUILT, BUILT, BUILT + line(25)])
    client = SimpleNamespace(request=lambda *_path, **_options: SimpleNamespace(data=next(answers).encode()))
    outer = SimpleNamespace(client=client, configuration=SimpleNamespace(host="https://api"))
    assert ask_operator(DirectCluster(outer, "shop"), "").series["mail"][0].value == 25


def test_another_port_is_found_by_its_name() -> None:
    answers: dict[str, str | int] = {SERVICES.format("keda", 8080): 503, SERVICES.format("keda", "metrics"): BUILT}
    assert ask_operator(cluster(answers), "").place == "keda-operator in keda"


@pytest.mark.parametrize("status", [403, 404])
def test_KEDA_elsewhere_is_found_by_its_registration(status: int) -> None:
    registration = '{"spec": {"service": {"namespace": "autoscaling", "name": "keda-operator-metrics-apiserver"}}}'
    answers: dict[str, str | int] = {
        SERVICES.format("keda", 8080): status,
        REGISTRATION: registration,
        SERVICES.format("autoscaling", 8080): BUILT + line(2),
    }
    found = ask_operator(cluster(answers), "")
    assert (found.place, bool(found.series)) == ("keda-operator in autoscaling", True)


def test_the_namespace_of_the_inventory_is_the_only_one_that_is_asked() -> None:
    asked: list[str] = []
    ask_operator(cluster({}, asked), "scaling")
    assert asked == [SERVICES.format("scaling", 8080)]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "grant get on services/proxy in namespace keda"),
        (404, "celery_workers_keda_namespace"),
        (503, "prometheus.operator.enabled: true"),
        (500, "check that KEDA's operator runs"),
    ],
)
def test_why_it_cannot_be_asked_is_told_with_what_to_do(status: int, advice: str) -> None:
    answers: dict[str, str | int] = {SERVICES.format("keda", port): status for port in (8080, "metrics")}
    found = ask_operator(cluster(answers), "")
    assert found.refusal
    assert advice in found.advice


@pytest.mark.parametrize(
    ("why", "is_down"),
    [
        ('no endpoints available for service "keda-operator"', True),
        ('no service port "8080" found for service "keda-operator"', False),
    ],
)
def test_a_service_without_a_pod_is_an_operator_that_does_not_run(why: str, is_down: bool) -> None:
    """As an API server of Kubernetes 1.36 says both, with the same status."""
    answers: dict[str, str | int] = {SERVICES.format("keda", port): 503 for port in (8080, "metrics")}
    assert ask_operator(cluster(answers, why=why), "").is_down is is_down


def test_what_is_no_operator_is_not_believed() -> None:
    found = ask_operator(cluster({SERVICES.format("keda", 8080): "<html>login</html>"}), "")
    assert (found.series, found.place) == ({}, "")
    assert "something else" in found.refusal


@pytest.mark.skipif(not RECORDED.is_file(), reason="needs the recorded answer of a real operator")
def test_what_a_real_operator_answers() -> None:
    found = parsed(RECORDED.read_text(encoding="utf-8"), "evict")
    names = ("backlog_0", "backlog_1", "backlog_2", "backlog_3", "inflight", "pods")
    live = scaled_object(*names)
    series = found["lms-worker-high-mem-scaledobject"]
    assert numbers_of(live, series) == {**dict.fromkeys(names, 0.0), "pods": 3.0}
    assert parsed(RECORDED.read_text(encoding="utf-8"), "perf300") == {}
