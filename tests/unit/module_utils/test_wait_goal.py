# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wait goal: what scalers ask Prometheus, which pods that means, and what holds while something cannot be read."""

from __future__ import annotations

import itertools
import random
import re
from array import array
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import rule_groups
from ansible_collections.queueops.celery.plugins.module_utils._build.secret_table import secret_table
from ansible_collections.queueops.celery.plugins.module_utils._build.workers import worker_table
from ansible_collections.queueops.celery.plugins.module_utils._model.watching import PARTS
from ansible_collections.queueops.celery.plugins.module_utils._read.loads import read_loads
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils._simulation.cases import case_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.formula import compiled, parsed
from ansible_collections.queueops.celery.plugins.module_utils._simulation.keda import Keda
from ansible_collections.queueops.celery.plugins.module_utils._simulation.loads import Arrivals, arrivals_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.readings import readings_of
from ansible_collections.queueops.celery.plugins.module_utils._simulation.scaled_object import read_scaled_object
from ansible_collections.queueops.celery.plugins.module_utils._simulation.simulate import simulate
from ansible_collections.queueops.celery.plugins.module_utils._simulation.workers import Site as Workers
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fleet_series import Flower, Values, flat, node, nothing, rising
from tests.support.promtool import Expected, Scene, Series, play, require_promtool
from tests.unit.inventories import (
    IMAGE,
    TRACKED,
    Manifest,
    fleet_of,
    manifests_of,
    of_kind,
    one_variant,
    problems_of,
)
from tests.unit.status_cases import Site

URL = "http://prometheus.monitoring:9090"
#: A wait goal that leaves two minutes for the work: KEDA looks after 15 s, the HPA after 15, and a pod starts in 60.
GOAL = {**TRACKED, "max_wait_seconds": 210}
#: With priorities that need no four lists.
REDIS = {"host": "redis", "priority_steps": [0]}
RABBIT = {"type": "rabbitmq", "host": "rabbit", "consumer_timeout": 0}
MEASURES = ["measured_seconds", "measured_received"]


def fleet_with(keys: Any = None, **rest: Any) -> Any:
    """A fleet of one variant with a Prometheus, and Flower as the source of its series."""
    own = {name: rest.pop(name) for name in ("service", "variant") if name in rest}
    variables = one_variant(GOAL if keys is None else keys, broker=rest.pop("broker", REDIS), **own)
    return fleet_of(**{"prometheus": URL, "enabled": ("flower",), **variables, **rest})


def scaled_with(keys: Any = None, **rest: Any) -> Manifest:
    return of_kind(manifests_of(fleet_with(keys, **rest)), "ScaledObject")[0]


def measured(scaled: Manifest) -> list[Manifest]:
    return [trigger for trigger in scaled["spec"]["triggers"] if trigger["name"] in MEASURES]


def keda_of(keys: Any = None, **rest: Any) -> tuple[Keda, list[str]]:
    """KEDA over the ScaledObject, and the names of what it reads."""
    spec = scaled_with(keys, **rest)["spec"]
    return Keda(read_scaled_object(spec), (2, 20, 2)), [trigger["name"] for trigger in spec["triggers"]]


def asked_by(keda: Keda, names: list[str], replicas: int, **numbers: float | None) -> float | None:
    """Pods that the HPA is told; what nobody gives is 0."""
    return keda.metrics(replicas, replicas, [numbers.get(name, 0.0) for name in names])[0].value


def pods_for(keys: Any = None, **numbers: float) -> float:
    """Pods that are asked for while one is there, or as many as C(pods) says."""
    keda, names = keda_of(keys)
    found = asked_by(keda, names, 1, **{"pods": 1.0, **numbers})
    assert found is not None
    return found


# What it asks for


@pytest.mark.parametrize(
    ("keys", "numbers", "pods"),
    [
        # 240 messages of 20 s are done in 120 s by 20 pods of two slots.
        ({}, {"backlog": 240, "measured_seconds": 20}, 20),
        # Short tasks need few pods, however many wait.
        ({}, {"backlog": 1000, "measured_seconds": 0.12}, 0.5),
        # One that takes longer than the goal gets a slot, and none gets more.
        ({}, {"backlog": 6, "measured_seconds": 3600}, 3),
        # Ten a second of 6 s keep 60 slots busy.
        ({}, {"measured_received": 3000, "measured_seconds": 6}, 30),
        # What came in five minutes and takes an hour still runs.
        ({}, {"measured_received": 8, "measured_seconds": 3600}, 4),
        # The larger of them counts: what is held came in as well.
        ({}, {"measured_received": 3000, "measured_seconds": 6, "inflight": 60}, 30),
        ({"task_seconds": 30}, {"backlog": 16, "measured_seconds": 0}, 2),
        ({}, {"backlog": 80, "measured_seconds": 0}, 2),
        ({"activation_list_length": 5}, {"backlog": 5, "measured_seconds": 60}, 0),
        ({"activation_list_length": 5}, {"backlog": 6, "measured_seconds": 60}, 1.5),
        # Busy slots are of no use to what waits, as long as the tasks in them last.
        ({"longest_eta_seconds": 0}, {"backlog": 4, "inflight": 2, "measured_seconds": 120}, 3),
        ({"longest_eta_seconds": 0}, {"backlog": 4, "inflight": 2, "measured_seconds": 30}, 1),
    ],
)
def test_pods_follow_from_run_times_and_arrivals(keys: dict[str, Any], numbers: dict[str, float], pods: float) -> None:
    assert pods_for({**GOAL, **keys}, **numbers) == pods


def test_a_message_that_waits_is_never_too_little_for_a_pod() -> None:
    """KEDA cuts a result to thousandths, and one short task in a day is a smaller share than that."""
    keda, names = keda_of({**GOAL, "max_wait_seconds": 86400})
    numbers = [{"backlog": 1.0, "measured_seconds": 0.01}.get(name, 0.0) for name in names]
    assert keda.poll(100.0, 0, 0, numbers).replicas == 1


def test_arrivals_alone_do_not_keep_the_last_pod() -> None:
    """It goes after a cooldown without work; a minute of work in five would otherwise count for five minutes."""
    assert pods_for(measured_received=30, measured_seconds=20) == 0
    assert pods_for(measured_received=31, measured_seconds=20) > 1


@given(
    st.sampled_from([{}, {"longest_eta_seconds": 0}, {"hold": "pods"}]),
    *(st.floats(0, 5000) for _number in range(3)),
    *(st.one_of(st.none(), st.floats(0, 5000)) for _number in range(2)),
)
def test_no_pod_is_asked_for_without_work_and_none_is_missing(
    keys: dict[str, Any], backlog: float, inflight: float, pods: float, seconds: float | None, received: float | None
) -> None:
    readings = {"backlog": backlog, "inflight": inflight, "pods": pods}
    formula = FORMULAS[str(keys)]
    result = compiled(parsed(formula))({**readings, "measured_seconds": seconds, "measured_received": received})
    held = min(inflight / (1 if keys.get("hold") else 2), max(pods, 1))
    assert result >= held
    assert not backlog or result > 0
    lasts, came = min(seconds or 0, 300), (received or 0) / 2
    by_length = backlog / 40 if not seconds else backlog / 2
    assert result <= max(by_length + held, min(backlog, 1) / 100, came * lasts / 300) + 1e-6


FORMULAS = {
    str(keys): str(scaled_with({**GOAL, **keys})["spec"]["advanced"]["scalingModifiers"]["formula"])
    for keys in ({}, {"longest_eta_seconds": 0}, {"hold": "pods"})
}


@pytest.mark.parametrize("keys", [{}, {"task_seconds": 30}])
def test_pods_come_as_fast_as_the_goal_counts_on_unless_somebody_says_how_fast(keys: dict[str, Any]) -> None:
    def periods(**more: Any) -> list[int]:
        config = scaled_with({**GOAL, **keys, **more})["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
        return [policy["periodSeconds"] for policy in config["behavior"]["scaleUp"]["policies"]]

    assert periods() == [30, 30]
    slow = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 90}]}}
    assert periods(behavior=slow) == [90]


def test_a_ceiling_holds_for_what_is_measured_and_ends_no_busy_pod() -> None:
    night = {"start": "0 22 * * *", "end": "0 6 * * *", "timezone": "UTC", "max_replicas": 3}
    keys = {**GOAL, "schedule": [night]}
    assert pods_for(keys, backlog=240, measured_seconds=20, schedule_0_ceiling=2) == 3
    assert pods_for(keys, pods=6, backlog=240, inflight=12, measured_seconds=20, schedule_0_ceiling=2) == 6
    assert pods_for(keys, measured_received=3000, measured_seconds=6, schedule_0_ceiling=2) == 3


# What holds while something cannot be read


@pytest.mark.parametrize("broker", [REDIS, RABBIT])
def test_without_prometheus_the_list_length_decides(broker: dict[str, Any]) -> None:
    keda, names = keda_of({**GOAL, "task_seconds": 30}, broker=broker)
    numbers = {"backlog": 80.0, "total": 80.0, "pods": 1.0, "measured_seconds": 60.0}
    assert asked_by(keda, names, 1, **numbers) == 20
    away = dict.fromkeys(MEASURES)
    # Nothing changes for three readings, and no pod goes.
    assert [asked_by(keda, names, 1, **{**numbers, **away}) for _try in range(3)] == [None] * 3
    assert [asked_by(keda, names, 1, **{**numbers, **away}) for _try in range(3)] == [10] * 3
    assert asked_by(keda, names, 1, **numbers) == 20


def test_without_prometheus_a_variant_at_zero_wakes_and_goes_back_to_zero() -> None:
    keda, names = keda_of()
    away: dict[str, float | None] = {"backlog": 1.0, **dict.fromkeys(MEASURES)}
    waiting = [away.get(name, 0.0) for name in names]
    looks = [keda.poll(15.0 * number, 0, 0, waiting).replicas for number in range(1, 6)]
    assert looks == [None, None, None, 1, 1]
    idle = [None if name in MEASURES else 0.0 for name in names]
    later = [keda.poll(75.0 + 15 * number, 1, 1, idle).replicas for number in range(1, 30)]
    # The cooldown is 300 s.
    assert later[:19] == [None] * 19
    assert 0 in later


@pytest.mark.parametrize("also", [{}, dict.fromkeys(MEASURES)])
@pytest.mark.parametrize(
    ("fallback", "kept"),
    [
        ({}, 4),
        ({"replicas": 6}, 6),
        ({"replicas": 2, "behavior": "static"}, 2),
        ({"replicas": 6, "behavior": "currentReplicas"}, 4),
        ({"replicas": 2, "behavior": "currentReplicasIfLower"}, 2),
    ],
)
def test_without_the_broker_the_pods_stay_as_the_fallback_says(
    fallback: dict[str, Any], kept: int, also: dict[str, None]
) -> None:
    """It does not matter whether Prometheus is away as well, which all of KEDA's other behaviors would confuse."""
    keda, names = keda_of({**GOAL, "fallback": fallback}, broker=RABBIT)
    numbers: dict[str, float | None] = {"backlog": None, "total": None, "pods": 4.0, "measured_seconds": 30.0, **also}
    told = [asked_by(keda, names, 4, **numbers) for _try in range(6)]
    assert told == [None] * 3 + [kept] * 3
    looks = [keda.poll(60.0 * number, 4, 4, [numbers.get(name, 0.0) for name in names]) for number in range(30)]
    assert all(look.replicas is None for look in looks)


def test_without_redis_nothing_changes() -> None:
    """KEDA cannot even make the trigger, so the fallback never starts and the pods stay as they are."""
    keda, names = keda_of()
    numbers: list[float | None] = [None if name in ("backlog", "inflight") else 3.0 for name in names]
    looks = [keda.poll(60.0 * number, 3, 3, numbers).replicas for number in range(30)]
    assert looks == [None] * 30
    assert keda.metrics(3, 3, numbers)[0].value is None


@pytest.mark.parametrize("away", [*itertools.combinations(["backlog", "total", "other", *MEASURES], 2)])
def test_no_reading_that_fails_makes_the_formula_fail(away: tuple[str, str]) -> None:
    """A formula that fails counts as no work, which would take all pods after the cooldown."""
    other = {"type": "prometheus", "name": "other", "metadata": {"serverAddress": URL, "query": "q", "threshold": "1"}}
    other["metadata"]["ignoreNullValues"] = "false"  # type: ignore[index]
    keda, names = keda_of({**GOAL, "extra_triggers": [other]}, broker=RABBIT)
    numbers: dict[str, float | None] = {"backlog": 9.0, "total": 9.0, "pods": 2.0, "other": 0.0, **dict.fromkeys(away)}
    told = [asked_by(keda, names, 2, **numbers) for _try in range(5)][-1]
    assert told is not None
    assert told > 0


def test_what_a_trigger_of_the_users_own_reads_may_be_below_nothing() -> None:
    """A difference of two numbers is -5 without anything being wrong, and pods are added as ever."""
    other = {"type": "prometheus", "metadata": {"serverAddress": URL, "query": "sum(a) - sum(b)", "threshold": "1"}}
    keda, names = keda_of({**GOAL, "extra_triggers": [other]}, broker=RABBIT)
    [own] = [name for name in names if name.startswith("prometheus")]
    numbers: dict[str, float | None] = {"backlog": 240.0, "total": 240.0, "pods": 1.0, "measured_seconds": 20.0}
    assert [asked_by(keda, names, 1, **numbers, **{own: below}) for below in (0.0, -5.0, -1e6)] == [20] * 3


def test_each_choice_between_a_reading_and_a_number_is_in_brackets_of_its_own() -> None:
    """KEDA's language takes no other sign beside C(??) (expr-lang 1.17), and refuses the whole formula."""
    for formula in FORMULAS.values():
        assert len(re.findall(r"\(\w+ \?\? -?[0-9]+\)", formula)) == formula.count("??") > 0


# Which variants go by it


@pytest.mark.parametrize(
    ("keys", "rest"),
    [
        ({**GOAL, "list_length": 5}, {}),
        (TRACKED, {}),
        ({**GOAL, "fallback": False}, {}),
        (GOAL, {"versions": {"keda": "2.19.0"}}),
        (GOAL, {"versions": {"keda": "2.20.0"}}),
        (GOAL, {"broker": {"type": "sqs", "region": "eu-central-1", "pod_identity": True}}),
        ({**GOAL, "run_as": "jobs"}, {}),
        ({"max_wait_seconds": 60, "scaler": "hpa"}, {}),
    ],
)
def test_where_a_goal_cannot_decide_everything_is_as_without_prometheus(
    keys: dict[str, Any], rest: dict[str, Any]
) -> None:
    others = {"enabled": ("exporter",), "services": {"billing": {"image": IMAGE}, "other": {"image": IMAGE}}}
    others["config"] = {"billing": {"default": keys}, "other": {"default": {**GOAL, "queues": ["other"]}}}
    broker = rest.get("broker")
    if broker is not None:
        others["services"]["billing"]["broker"] = broker  # type: ignore[index]
    common = {**others, "broker": REDIS, "versions": rest.get("versions")}

    def scaler(**more: Any) -> list[Manifest]:
        manifests = manifests_of(fleet_of(**common, **more))
        return [item for item in manifests if item["metadata"]["labels"].get("celery.queueops.io/service") == "billing"]

    assert scaler(prometheus=URL) == scaler()


@pytest.mark.parametrize("keda", [None, "2.20", "2.20.1", "2.21.0"])
def test_a_goal_decides_with_a_keda_that_can_do_without_prometheus(keda: str | None) -> None:
    scaled = scaled_with(versions={"keda": keda} if keda else {})
    assert scaled["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": "scalingModifiers"}
    assert [trigger["name"] for trigger in measured(scaled)] == MEASURES


def warnings_of(keys: Any = None, **rest: Any) -> tuple[str, ...]:
    return tuple(fleet_with(keys, **rest).warnings)


def test_what_does_not_go_by_its_goal_is_told() -> None:
    sqs = {"type": "sqs", "region": "eu-central-1", "pod_identity": True}
    for keys, rest, told in (
        (GOAL, {"versions": {"keda": "2.19"}}, "KEDA 2.19 cannot scale while Prometheus is away"),
        (TRACKED, {}, "no variant that KEDA scales writes max_wait_seconds"),
        ({**GOAL, "fallback": False}, {}, "goes by list_length and not by its wait goal: fallback is false"),
        ({**GOAL, "run_as": "jobs"}, {}, "nothing is asked of Prometheus for variant default of service billing"),
        (GOAL, {"broker": sqs, "enabled": ()}, "SQS has no events"),
    ):
        assert any(told in line for line in warnings_of(keys, **rest)), (told, warnings_of(keys, **rest))
    assert warnings_of() == warnings_of({**GOAL, "list_length": 7})


def test_a_goal_that_nothing_measures_stops_the_run() -> None:
    [problem] = problems_of(**one_variant(GOAL, broker=REDIS), prometheus=URL)
    assert problem.startswith("celery_workers_prometheus: nothing measures the tasks")


def test_the_table_and_the_explanation_say_who_decides() -> None:
    by_goal, by_hand = fleet_with(), fleet_with({**GOAL, "list_length": 7})
    assert "run time, arrivals" in worker_table(by_goal)[0]["sees"]
    assert "run time" not in worker_table(by_hand)[0]["sees"]
    assert by_goal.variants[0].sizing[-1].startswith("max_wait_seconds 210, by run times and arrivals that flower")
    assert by_hand.variants[0].sizing[-1] == "list_length 7, and not max_wait_seconds: it is written"


# The address and the login


def test_keda_gets_the_address_as_its_own_namespace_resolves_it() -> None:
    written = {
        "https://Prom:9090/x/": "https://prom.shop.svc:9090/x",
        URL: URL,
        "http://[fd00::1]:9": "http://[fd00::1]:9",
    }
    for url, address in written.items():
        metadata = [item["metadata"] for item in measured(scaled_with(prometheus=url))]
        assert [item["serverAddress"] for item in metadata] == [address] * 2


@pytest.mark.parametrize(
    ("secret", "mode", "parameters"),
    [
        ({"token_key": "t", "ca_key": "ca.crt"}, "bearer", {"bearerToken": "t", "ca": "ca.crt"}),
        ({"username_key": "u", "password_key": "p"}, "basic", {"username": "u", "password": "p"}),
    ],
)
def test_a_login_is_read_from_a_secret(secret: dict[str, str], mode: str, parameters: dict[str, str]) -> None:
    keys = {"url": URL, "secret": {"name": "login", **secret}, "headers": {"X-Scope-OrgID": "shop"}}
    manifests = manifests_of(fleet_with(prometheus=keys))
    [login] = of_kind(manifests, "TriggerAuthentication")
    found = {item["parameter"]: item["key"] for item in login["spec"]["secretTargetRef"]}
    assert found == parameters
    for trigger in measured(of_kind(manifests, "ScaledObject")[0]):
        assert trigger["authenticationRef"] == {"name": login["metadata"]["name"]}
        assert trigger["metadata"]["authModes"] == mode
        assert trigger["metadata"]["customHeaders"] == "X-Scope-OrgID=shop"
    assert secret_table(manifests, ())[0]["keys"] == sorted(parameters.values())


def test_fleets_of_one_namespace_each_have_a_login_of_their_own() -> None:
    keys = {"url": URL, "secret": {"name": "login", "token_key": "t"}}
    names, asked = set(), set()
    for fleet in ("shop", "f" * 63):
        manifests = manifests_of(fleet_with(prometheus=keys, fleet=fleet))
        names |= {item["metadata"]["name"] for item in of_kind(manifests, "TriggerAuthentication")}
        triggers = measured(of_kind(manifests, "ScaledObject")[0])
        asked |= {trigger["authenticationRef"]["name"] for trigger in triggers}
    assert names == asked
    assert len(names) == 2
    assert max(map(len, names)) < 253


def test_nothing_is_made_for_a_login_that_nobody_needs() -> None:
    keys = {"url": URL, "secret": {"name": "login", "token_key": "t"}}
    assert not of_kind(manifests_of(fleet_with(TRACKED, prometheus=keys)), "TriggerAuthentication")


@pytest.mark.parametrize(
    ("written", "place", "told"),
    [
        ("prometheus:9090", "", "is no address of Prometheus"),
        ("ftp://prometheus", "", "is no address of Prometheus"),
        ("http://prometheus:9090/api/v1", "", "KEDA adds /api/v1/query itself"),
        ("http://prometheus:9090?x=1", "", "KEDA adds /api/v1/query itself"),
        ("http://ann:pw@prometheus:9090", "", "don't put a login here"),
        (9090, "", "this is not a dict"),
        ({"secret": {"name": "a", "token_key": "t"}}, ".url", "the address of Prometheus is missing"),
        ({"url": URL, "uri": 1}, ".uri", "has no 'uri'; did you mean 'url'?"),
        ({"url": URL, "secret": {"token_key": "t"}}, ".secret", "name the Secret"),
        ({"url": URL, "secret": {"name": "a"}}, ".secret", "names no login"),
        ({"url": URL, "secret": {"name": "a", "ca_key": "c"}}, ".secret", "names no login"),
        ({"url": URL, "secret": {"name": "a", "username_key": "u"}}, ".secret", "go together"),
        (
            {"url": URL, "secret": {"name": "a", "username_key": "u", "password_key": "p", "token_key": "t"}},
            ".secret",
            "exclude each other",
        ),
        (
            {"url": URL, "insecure_skip_verify": True, "secret": {"name": "a", "token_key": "t", "ca_key": "c"}},
            ".insecure_skip_verify",
            "leave one of them out",
        ),
        ({"url": URL, "headers": {"Authorization": "Bearer x"}}, ".headers.Authorization", "don't put a login here"),
        ({"url": URL, "headers": {"X-Scope": "a,b"}}, ".headers.X-Scope", "is not valid here"),
    ],
)
def test_what_is_wrong_with_it_is_said_once(written: Any, place: str, told: str) -> None:
    layer = {"name": "celery_workers_prometheus", "value": written}
    shown = redacted_layers([layer])[0]["value"]
    [problem] = problems_of(**one_variant(GOAL, broker=REDIS), prometheus=shown, enabled=("flower",))
    assert problem.startswith(f"celery_workers_prometheus{place}: ")
    assert told in problem


@pytest.mark.parametrize(
    "written",
    [
        "http://ann:hidden@prometheus",
        {"url": "http://ann:hidden@prometheus"},
        {"url": URL, "secret": "hidden"},
        {"url": URL, "secret": {"name": "a", "token": "hidden"}},
        {"url": URL, "basic_auth": "ann:hidden"},
        {"url": URL, "password": "hidden"},
        {"url": URL, "headers": {"Authorization": "hidden", "X-Api-Key": "hidden"}},
    ],
)
def test_a_secret_that_is_written_there_is_shown_nowhere(written: Any) -> None:
    layer = {"name": "celery_workers_prometheus", "value": written}
    shown = redacted_layers([layer])[0]["value"]
    assert "hidden" not in str(shown)
    told = problems_of(**one_variant(GOAL, broker=REDIS), prometheus=shown, enabled=("flower",))
    assert told
    assert not any("hidden@" in line for line in told)


def test_a_layer_changes_one_key_and_an_address_alone_is_one() -> None:
    layers = {"prometheus": URL, "prometheus__50_campus": {"headers": {"X-Scope-OrgID": "campus"}}}
    metadata = measured(scaled_with(**layers))[0]["metadata"]
    assert (metadata["serverAddress"], metadata["customHeaders"]) == (URL, "X-Scope-OrgID=campus")
    assert scaled_with(prometheus={}, prometheus__90_host=URL) == scaled_with()


# What is measured


def exporter(worker: str, metric: str, values: Values) -> Series:
    labels = {**Flower().target, "hostname": worker, "name": "billing.tasks.invoice", "queue_name": "default"}
    return Series(f"celery_{metric}", labels, values)


def test_the_queries_measure_the_variant_and_nothing_else() -> None:
    """Two pods, of which the second began in the window; another Deployment whose name begins like it."""
    require_promtool()
    old, new, other = (
        "billing-worker-6c9d8f7b5-aaaaa",
        "billing-worker-6c9d8f7b5-bbbbb",
        "billing-worker-low-6c9d-ccccc",
    )
    late: Values = (*nothing(117), *rising(2, 1, 10))
    scenes, flower = [], Flower()
    # Until minute 120 the old pod has run 120 tasks of 4 s in the hour, and the new one 5 of 10 s since it began.
    counts = {old: rising(0, 2, 130), new: late, other: rising(0, 50, 130)}
    sums = {old: rising(0, 8, 130), new: (*nothing(117), *rising(20, 10, 10)), other: rising(0, 50, 130)}
    for source in ("flower", "exporter"):
        series: list[Series] = [flower.up(flat(1, 130)), flower.began(-600, flat(1, 130))]
        for worker, count in counts.items():
            if source == "flower":
                name = f"billing.default@{worker}"
                series += flower.events(name, {"received": count})
                series += flower.runtime(name, {"+Inf": count}, sums[worker])
            else:
                series.append(exporter(worker, "task_received_total", count))
                series.append(exporter(worker, "task_runtime_count", count))
                series.append(exporter(worker, "task_runtime_sum", sums[worker]))
        queries = [item["metadata"]["query"] for item in measured(scaled_with(enabled=(source,)))]
        # In five minutes 10 came to the old pod and 5 to the new one.
        wanted = [(120 * 4 + 50) / 125, 15]
        expected = [Expected(120, query, {"{}": value}) for query, value in zip(queries, wanted, strict=True)]
        scenes.append(Scene(source, series, expected))
    found = play(scenes)
    assert not found, found


def test_the_window_of_run_times_is_wide_enough_for_long_tasks() -> None:
    queries = [measured(scaled_with({**GOAL, "longest_task_seconds": 7200}))[0]["metadata"]["query"]]
    assert all("[14400s]" in query and "[3600s]" not in query for query in queries)
    assert node("aaaaa").endswith("billing-worker-aaaaa")


# How it is shown, and what a plan makes of it


def shown(numbers: dict[str, float]) -> str:
    site = Site(fleet_with(), numbers={"inflight": 0, "pods": 1, **numbers})
    return site.status().variants[0].formula.text


def test_status_shows_the_formula_with_what_was_measured_and_without_it() -> None:
    measured_now = {"backlog": 240.0, "measured_seconds": 20.0, "measured_received": 90.0}
    assert shown(measured_now) == "max(max(max(240*20/240, 1/100), 90*20/600), min(0/2, 1))"
    # KEDA shows a trigger that the formula does without as -1.
    away = dict.fromkeys(MEASURES, -1.0)
    assert shown({"backlog": 240.0, **away}) == "max(240/40, min(0/2, 1))"


def test_the_alert_of_a_fallback_does_not_blame_the_broker_alone() -> None:
    """KEDA calls it a fallback, too, if the formula goes on without Prometheus."""
    both = {"services": {"billing": {"image": IMAGE}}, "broker": REDIS, "prometheus": URL, "enabled": PARTS}
    fleet = fleet_of(**both, config={"billing": {"default": GOAL, "low": TRACKED}})
    rules = [rule for group in rule_groups(fleet) for rule in group["rules"]]
    told = [rule["annotations"] for rule in rules if rule.get("alert") == "CeleryScalerFallback"]
    assert sorted("Prometheus" in str(item) for item in told) == [False, True]
    assert sum("a fixed number of pods" in item["summary"] for item in told) == 1


@pytest.mark.parametrize("seconds", [3.0, 90.0])
def test_a_plan_reads_the_run_times_and_arrivals_of_its_own_workers(seconds: float) -> None:
    """Tasks come evenly for an hour; what is measured in it is what they were made of."""
    fleet = fleet_with({**GOAL, "min_replicas": 20, "max_replicas": 20, "concurrency": 1})
    case = case_of(fleet, fleet.variants[0])
    every = 6.0
    arrivals = Arrivals(array("d", [every * n for n in range(600)]), array("d", [seconds] * 600))
    site = Workers(case.worker, arrivals, random.Random(1))
    site.begin_with(20)
    triggers = read_scaled_object(case.spec).triggers  # type: ignore[arg-type]
    readings, warnings = readings_of(triggers, (), case.places, None)
    assert not warnings
    now, told = 0.0, {}
    while now < 3000:
        site.advance(now)
        told = {trigger.name: reading(site) for trigger, reading in zip(triggers, readings, strict=True)}
        now += 15
    assert told["measured_seconds"] == seconds
    assert abs(told["measured_received"] - 300 / every) <= 30 / every


def test_a_plan_keeps_a_goal_that_a_list_length_misses() -> None:
    """Tasks of a minute each, of which nobody has said how long they take: 40 of them a pod wait for 20 minutes."""
    load = {"per_hour": 600, "task_seconds": 60, "start_seconds": 15}
    waits = {}
    for name, url in (("goal", URL), ("length", "")):
        fleet = fleet_with({**GOAL, "max_replicas": 30}, prometheus=url)
        variant = fleet.variants[0]
        loads = read_loads({"billing": {"default": load}}, fleet, Problems())["billing", "default"]
        waits[name] = simulate(case_of(fleet, variant, loads), arrivals_of(loads, 4.0, 1), 4.0).waits.p95
    assert waits["goal"] < 210 < waits["length"]


@pytest.mark.parametrize("is_redacted", [True, False])
@pytest.mark.parametrize(
    "written",
    [
        "user:hunter2@prometheus:9090",
        "http://user:hun hunter2@prometheus:9090",
        "http://admin:2024/hunter2@prometheus:9090",
        "http://hunter2@prometheus:9090",
        "http://user:x@hunter2@prometheus/api/v1",
        {"url": "user:hunter2@prometheus"},
        {"url": ["user:hunter2@prometheus"]},
        {"url": "http://prometheus?to=hunter2@prometheus"},
        {"url": URL, "headers": "Authorization=Bearer hunter2"},
        {"url": URL, "headers": ["Authorization: Bearer hunter2"]},
    ],
)
def test_no_message_shows_a_part_of_a_login(written: Any, is_redacted: bool) -> None:
    """It is refused once, however it is mistyped, and before a module gets it."""
    shown = redacted_layers([{"name": "celery_workers_prometheus", "value": written}])[0]["value"]
    assert "hunter2" not in repr(shown)
    given = shown if is_redacted else written
    [problem] = problems_of(**one_variant(GOAL, broker=REDIS), prometheus=given, enabled=("flower",))
    assert "hunter2" not in problem
    assert "celery_workers_prometheus" in problem


def test_a_list_in_place_of_an_address_is_not_shown() -> None:
    shown = redacted_layers([{"name": "celery_workers_prometheus", "value": ["user:hunter2@prometheus"]}])[0]["value"]
    assert "hunter2" not in repr(shown)
    [problem] = problems_of(**one_variant(GOAL, broker=REDIS), prometheus=shown, enabled=("flower",))
    assert "this is not a dict" in problem
