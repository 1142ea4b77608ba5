# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard: Grafana's own model takes it, Prometheus takes its queries, and their numbers are right."""

from __future__ import annotations

import importlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.alerts import rule_groups
from ansible_collections.queueops.celery.plugins.module_utils._build.dashboards import (
    dashboard_file,
    dashboard_resources,
    dashboard_text,
    dashboard_uid,
)
from ansible_collections.queueops.celery.plugins.module_utils._build.grafana import COLUMNS
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed
from flower.events import get_prometheus_metrics
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.fleet_series import Flower, Keda, State, Values, flat, gone, node, nothing, rising, tutor_node
from tests.support.promtool import Expected, Scene, Series, check_expressions, play, require_promtool
from tests.unit.inventories import fleet_of, one_variant

Json = dict[str, Any]

ON = ("flower", "exporter", "dashboard", "prometheus_rule")
TRACKED = {"enable_keda": True, "idempotent": True}
JOBS = {"run_as": "jobs", "idempotent": True}
#: An answer of KEDA 2.20's operator, as it was recorded.
KEDA_ANSWER = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "keda-operator-metrics.txt"

#: Keys of ours that Grafana's model of release 11.6 does not know, each with the reason why they are there.
UNKNOWN_TO_GRAFANA = {
    "templating.list[].definition": "Grafana's list of variables shows it, and every export has it (10 to 13)",
}


def watched(keys: Any = None, enabled: tuple[str, ...] = ON, **more: Any) -> Fleet:
    """A fleet with one variant and a dashboard."""
    return fleet_of(**one_variant(keys or TRACKED), enabled=enabled, **more)


def board_of(fleet: Fleet | None = None) -> Json:
    """The JSON as Grafana reads it."""
    found: Json = json.loads(dashboard_text(fleet or watched()))
    return found


def panels_of(board: Json) -> list[Json]:
    """Panels without the rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_of(title: str, board: Json | None = None) -> Json:
    """The panel with a title."""
    [found] = [panel for panel in panels_of(board or board_of()) if panel["title"] == title]
    return found


def queries_of(board: Json) -> list[str]:
    """All its PromQL."""
    return [target["expr"] for panel in panels_of(board) for target in panel["targets"]]


def interpolated(expr: str, variants: str = "(billing-worker|billing-worker-high)") -> str:
    """As Grafana fills in what somebody chose: several namespaces and variants, and a quarter of an hour."""
    chosen = expr.replace("$namespace", "(shop|blog)").replace("${variant}", variants).replace("${window}", "900")
    assert "${" not in chosen
    return chosen


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Paths of what one has and the other has not."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key, value in ours.items():
            below = f"{path}.{key}" if path else key
            if key in theirs:
                yield from lost(value, theirs[key], below)
            else:
                yield below
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for mine, its in zip(ours, theirs, strict=True):
            yield from lost(mine, its, f"{path}[]")
    elif ours != theirs:
        yield path


def test_grafanas_own_model_knows_every_key_of_the_dashboard_and_of_its_panels() -> None:
    """It decodes options and fields of each kind of panel, and queries of Prometheus, into types of their own."""
    register_default_plugins()
    board = board_of()
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert set(lost(board, again)) == set(UNKNOWN_TO_GRAFANA)


def test_grafanas_model_would_lose_a_key_that_it_does_not_know() -> None:
    register_default_plugins()
    board = board_of()
    panel_of("Throughput", board)["options"]["legend"]["showLegends"] = True
    panel_of("Throughput", board)["fieldConfig"]["defaults"]["custom"]["lineWidht"] = 1
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    found = {path.rpartition(".")[2] for path in lost(board, again) if path not in UNKNOWN_TO_GRAFANA}
    assert found == {"showLegends", "lineWidht"}


def test_every_panel_says_what_it_shows_in_which_unit_and_why_it_may_be_empty() -> None:
    for panel in panels_of(board_of()):
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in {"short", "s", "percentunit"}, panel["title"]
        assert defaults["noValue"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])


def test_ids_are_unique_and_panels_stand_side_by_side_without_covering_each_other() -> None:
    panels = board_of()["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    assert all(number > 0 for number in ids)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["x"] + place["w"] <= COLUMNS == 24
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_the_uid_stays_the_same_and_belongs_to_one_fleet() -> None:
    """A link to the dashboard must work after every run, also for names longer than Grafana takes."""
    names = ["shop", "blog", "shop-celery", "a" * 63, "b" * 63]
    uids = [dashboard_uid(name) for name in names]
    assert len(set(uids)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{8,40}", uid) for uid in uids)
    assert board_of()["uid"] == dashboard_uid("shop")
    # The first 20 digits of `printf shop | sha256sum`: another one would break the links that people have kept.
    assert dashboard_uid("shop") == "celery-8d9001d32c6a703d9592"
    assert board_of(watched(dashboard={"uid": "my-workers"}))["uid"] == "my-workers"


def test_the_schema_is_one_that_grafana_takes_without_migrating_panels_of_old() -> None:
    """Grafana 9 wrote 37; angular panels ended with 39."""
    assert 37 <= board_of()["schemaVersion"] <= 42


#: What the dashboard of the plugin that came before this collection shows, to panel and metric of ours.
BEFORE = {
    "Queue length (total)": ("Queue length, total", "keda_scaler_metrics_value"),
    "Queue length by task": ("Queue length by task", "keda_scaler_metrics_value"),
    "Celery worker status": ("Worker status", "flower_worker_online"),
    "Number of tasks currently executing at worker": (
        "Tasks executing at worker",
        "flower_worker_number_of_currently_executing_tasks",
    ),
    "Average task runtime at worker": ("Task runtime at worker", "flower_task_runtime_seconds_sum"),
    "Task prefetch time at worker": ("Prefetch time", "flower_worker_prefetched_tasks"),
    "Number of tasks prefetched at worker": ("Tasks prefetched at worker", "flower_worker_prefetched_tasks"),
    "Task success ratio": ("Success ratio by task", "flower_events_total"),
    "Task failure ratio": ("Failure ratio by task", "flower_events_total"),
}


@pytest.mark.parametrize("before", BEFORE)
def test_what_the_dashboard_of_the_earlier_plugin_shows_is_there(before: str) -> None:
    title, metric = BEFORE[before]
    assert any(metric in target["expr"] for target in panel_of(title)["targets"])


def test_a_row_of_panels_repeats_for_each_queue_and_fits_no_other() -> None:
    rows = [panel for panel in board_of()["panels"] if panel["type"] == "row"]
    [repeated] = [row for row in rows if "repeat" in row]
    assert repeated["repeat"] == "variant"
    assert "${variant}" in repeated["title"]
    [variable] = [item for item in board_of()["templating"]["list"] if item["name"] == "variant"]
    assert variable["multi"]
    assert variable["includeAll"]


def test_a_page_offers_every_variant_of_the_fleet_and_all_at_first() -> None:
    fleet = fleet_of(
        services={"shop": {"image": "x"}, "mail": {"image": "x"}},
        config={"shop": {"default": TRACKED, "high_mem": TRACKED}, "mail": {"low": {"name": "mailer"}}},
        broker={"host": "redis"},
        enabled=ON,
    )
    variables = {item["name"]: item for item in board_of(fleet)["templating"]["list"]}
    assert variables["variant"]["query"] == (
        "shop.default : shop-worker, shop.high_mem : shop-worker-high-mem, mail.low : mailer"
    )
    assert variables["variant"]["current"]["value"] == ["$__all"]
    assert [option["value"] for option in variables["variant"]["options"]] == [
        "$__all",
        "shop-worker",
        "shop-worker-high-mem",
        "mailer",
    ]
    assert variables["namespace"]["current"]["value"] == ["shop"]
    assert variables["window"]["current"]["value"] == "900"


def test_a_data_source_can_be_chosen_on_the_page_and_every_query_follows() -> None:
    board = board_of(watched(dashboard={"datasource": "Thanos"}))
    [variable] = [item for item in board["templating"]["list"] if item["type"] == "datasource"]
    assert variable["current"]["value"] == "Thanos"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels_of(board):
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [chosen] * (
            1 + len(panel["targets"])
        )
    assert board_of()["templating"]["list"][0]["current"]["value"] == "default"


def test_every_query_takes_several_namespaces_and_several_variants() -> None:
    """With = instead of =~ a page with two namespaces is empty."""
    for expr in {*queries_of(board_of()), *queries_of(board_of(watched(JOBS)))}:
        assert '="$namespace"' not in expr
        assert re.search(r'namespace=~"\$namespace"', expr), expr
        for value in re.findall(r'=(~?)"[^"]*\$\{variant\}', expr):
            assert value == "~", expr


def test_prometheus_can_read_every_query_of_the_dashboard() -> None:
    require_promtool()
    queries = {*queries_of(board_of()), *queries_of(board_of(watched(JOBS)))}
    found = check_expressions(interpolated(expr) for expr in sorted(queries))
    assert not found, found


def test_queries_are_fewer_where_there_is_no_exporter() -> None:
    with_exporter, without = queries_of(board_of()), queries_of(board_of(watched(enabled=("dashboard",))))
    assert set(without) < set(with_exporter)
    assert not any("celery_" in expr for expr in without)


# Names of metrics and labels.

#: Labels that Prometheus or its operator adds to what a target says.
OF_TARGETS = {"namespace", "job", "instance", "exported_namespace"}
#: kube-state-metrics v2, docs/metrics/workload: deployment-, pod- and horizontalpodautoscaler-metrics.md.
OF_STATE: dict[str, set[str]] = {
    "kube_deployment_spec_replicas": {"deployment"},
    "kube_deployment_status_replicas_available": {"deployment"},
    "kube_deployment_status_replicas_ready": {"deployment"},
    "kube_horizontalpodautoscaler_info": {
        "horizontalpodautoscaler",
        "scaletargetref_api_version",
        "scaletargetref_kind",
        "scaletargetref_name",
    },
    "kube_horizontalpodautoscaler_spec_max_replicas": {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_status_condition": {"horizontalpodautoscaler", "condition", "status"},
    "kube_pod_info": {"pod", "uid", "node", "host_ip", "pod_ip", "created_by_kind", "created_by_name"},
    "kube_pod_container_status_restarts_total": {"pod", "uid", "container"},
    "kube_pod_container_status_last_terminated_reason": {"pod", "uid", "container", "reason"},
    # Not its own: made by the custom resource state configuration that our page Monitoring shows.
    "kube_scaledobject_status_condition": {"scaledobject", "type"},
}
#: Prometheus' own, and what its Python client, which Flower uses, says of a process (ProcessCollector).
OF_PROMETHEUS: dict[str, set[str]] = {"up": set(), "process_start_time_seconds": set()}
#: danihodovic/celery-exporter 0.12.2: src/exporter.py.
OF_EXPORTER = {"celery_queue_length": {"queue_name"}, "celery_active_worker_count": {"queue_name"}}


def of_flower() -> dict[str, set[str]]:
    """Metrics of the real Flower."""
    # Its buckets are one of its options, which are defined when this is imported.
    importlib.import_module("flower.options")
    found = {}
    for metric in vars(get_prometheus_metrics()).values():
        [family] = metric.describe()
        ends = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[family.type]
        for end in ends:
            found[family.name + end] = set(metric._labelnames) | ({"le"} if end == "_bucket" else set())
    return found


def of_keda() -> dict[str, set[str]]:
    """Metrics of an answer of KEDA's operator."""
    if not KEDA_ANSWER.exists():
        pytest.skip("no recorded answer of KEDA's operator beside this checkout")
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(keda_\w+)\{(.*)\} ", KEDA_ANSWER.read_text(encoding="utf-8"), re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


#: Words of PromQL that no bracket follows.
WORDS = {"and", "or", "unless", "offset", "bool", "sum", "max", "min", "count", "by", "on", "group_left"}


def metrics_in(expr: str) -> dict[str, set[str]]:
    """Metrics of an expression, each with the labels that it is selected by."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\b(?:by|on|group_left) \([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]|offset \w+", "", bare)
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(
        r"(?<![\w$.])([a-zA-Z_]\w*)(?!\w|\s*\()(?:\{([^}]*)\})?", re.sub(r"\b\d\w*", "", bare)
    ):
        if name not in WORDS:
            found.setdefault(name, set()).update(re.findall(r"(\w+)(?:=|!=|=~|!~)", labels))
    # Between braces stand names of labels.
    inside = {label for labels in re.findall(r"\{([^}]*)\}", bare) for label in re.findall(r"\w+", labels)}
    return {name: labels for name, labels in found.items() if name not in inside}


def every_expression() -> list[str]:
    """Everything that dashboards and alerts ask, of every kind of variant."""
    kinds: list[Any] = [TRACKED, {"enable_keda": True, "min_replicas": 1}, {"replicas": 2}]
    fleets = [watched(keys) for keys in kinds]
    fleets.append(fleet_of(**one_variant(TRACKED, broker={"type": "rabbitmq", "host": "rabbit"}), enabled=ON))
    rules = [rule["expr"] for fleet in fleets for group in rule_groups(fleet) for rule in group["rules"]]
    # A colon is part of a recorded series' name.
    rules = [re.sub(r"celery_variant:[\w:]+", lambda name: name[0].replace(":", "_"), expr) for expr in rules]
    return [*rules, *(interpolated(expr) for fleet in fleets for expr in queries_of(board_of(fleet)))]


def test_a_dashboard_of_a_hundred_variants_is_one_that_a_server_takes() -> None:
    """A ConfigMap has a megabyte, and the copy of it in an annotation a quarter of that."""
    many = one_variant(TRACKED)
    many["config"] = {"billing": {f"queue{number:02}": TRACKED for number in range(100)}}
    (board,) = dashboard_resources(fleet_of(**many, enabled=("flower", "dashboard")))
    assert len(json.dumps(board)) < 262_144


def recorded() -> dict[str, set[str]]:
    """Series that the rules themselves make."""
    rules = [rule for group in rule_groups(watched(TRACKED)) for rule in group["rules"]]
    return {rule["record"].replace(":", "_"): {"fleet", "deployment", "type"} for rule in rules if "record" in rule}


def test_the_dashboard_does_not_need_the_rules() -> None:
    assert recorded()
    assert not [expr for expr in queries_of(board_of(watched(TRACKED))) if "celery_variant:" in expr]


def test_names_of_metrics_are_found_in_an_expression() -> None:
    expr = (
        'sum by (le, job) (rate(one_total{a="x", b=~"y{2}"}[5m:1m] offset 15m)) / on (a) group_left () (two > bool 1e3)'
    )
    assert metrics_in(expr) == {"one_total": {"a", "b"}, "two": set()}


def test_dashboard_and_alerts_ask_for_what_the_sources_really_have() -> None:
    known = {**OF_PROMETHEUS, **of_flower(), **OF_STATE, **OF_EXPORTER, **of_keda(), **recorded()}
    asked: dict[str, set[str]] = {}
    for expr in every_expression():
        for name, labels in metrics_in(expr).items():
            asked.setdefault(name, set()).update(labels)
    assert set(asked) <= set(known), set(asked) - set(known)
    for name, labels in asked.items():
        assert labels <= known[name] | OF_TARGETS, name
    # All four sources are asked, or this test reads nothing.
    assert {"keda_scaler_metrics_value", "kube_pod_info", "flower_events_total", "celery_queue_length"} <= set(asked)


# Numbers.


@dataclass(frozen=True)
class Number:
    """What a panel shows of some series.

    :param shown: labels to value, in that minute.
    :param query: which of the panel's.
    """

    name: str
    panel: str
    series: list[Series]
    shown: Mapping[str, float]
    query: int = 0
    minute: int = 30


KEDA, STATE, FLOWER = Keda(), State(), Flower()
END, OTHER_END = "5d9f7c9b8-x2x4v", "5d9f7c9b8-7kq9z"
HIGH = "billing-worker-high"
HOUR = 60.0
UP = FLOWER.up(flat(1, HOUR))
SHOP, SHOP_HIGH = (f'{{namespace="shop", deployment="{name}"}}' for name in ("billing-worker", HIGH))
BLOG = '{namespace="blog", deployment="billing-worker"}'


def backlogs(honors_labels: bool = True) -> list[Series]:
    """What waits in two namespaces; the first has a queue with two lists, and one of a variant that nobody chose."""
    shop, high, blog, other = (
        Keda(deployment, namespace, honors_labels)
        for deployment, namespace in (
            ("billing-worker", "shop"),
            (HIGH, "shop"),
            ("billing-worker", "blog"),
            ("billing-worker-low", "shop"),
        )
    )
    return [
        *shop.triggers(
            backlog_p0=flat(5, HOUR), backlog_p3=flat(2, HOUR), inflight=flat(90, HOUR), pods=flat(80, HOUR)
        ),
        *high.triggers(backlog=flat(30, HOUR)),
        # KEDA goes on telling the last value of a trigger that has another name now.
        shop.trigger("backlog_0", flat(4000, HOUR)),
        *blog.triggers(backlog=flat(100, HOUR), total=flat(110, HOUR)),
        *other.triggers(backlog=flat(7000, HOUR)),
        Keda("billing-worker", "test", honors_labels).trigger("backlog", flat(9000, HOUR)),
    ]


def tasks(task: str = "billing.tasks.invoice", end: str = END, **kinds: Values) -> list[Series]:
    return FLOWER.events(node(end), kinds, task)


def by_worker(metric: str, value: float, *ends: str) -> list[Series]:
    of = {"executing": FLOWER.executing, "online": FLOWER.online, "prefetched": FLOWER.prefetched}[metric]
    return [of(node(end), flat(value, HOUR)) for end in ends]


MAIL, INVOICE = "billing.tasks.mail", "billing.tasks.invoice"

NUMBERS = [
    *(
        Number(f"all chosen queues, {style}", panel, backlogs(honors_labels), shown, query)
        for style, honors_labels in (("with namespace", True), ("with exported_namespace", False))
        for panel, query, shown in (
            ("Waiting", 0, {"{}": 137.0}),
            ("Queue length, total", 0, {"{}": 137.0}),
            # 90 of Redis, and 10 that RabbitMQ counts with those that wait.
            ("Queue length, total", 1, {"{}": 100.0}),
            ("In flight", 0, {"{}": 100.0}),
            ("Queue length by variant", 0, {SHOP: 7.0, SHOP_HIGH: 30.0, BLOG: 100.0}),
            ("In flight by variant", 0, {SHOP: 90.0, BLOG: 10.0}),
        )
    ),
    Number(
        "KEDA itself lives in a namespace that is chosen",
        "Waiting",
        [
            Keda(namespace="test", honors_labels=False, home="shop").trigger("backlog", flat(9000, HOUR)),
            Keda(namespace="shop", honors_labels=False, home="shop").trigger("backlog", flat(4, HOUR)),
        ],
        {"{}": 4.0},
    ),
    Number(
        "of a broker that does not tell, what workers say",
        "In flight by variant",
        [
            KEDA.trigger("backlog", flat(5, HOUR)),
            *by_worker("executing", 3, END, OTHER_END),
            *(STATE.pod(end, flat(1, HOUR)) for end in (END, OTHER_END)),
        ],
        {SHOP: 6.0},
    ),
    Number(
        "a worker whose pod is gone runs nothing",
        "Tasks executing by variant",
        [*by_worker("executing", 3, END, OTHER_END), STATE.pod(END, flat(1, HOUR))],
        {SHOP: 3.0},
    ),
    Number(
        "where pods are not known, every worker counts",
        "Tasks executing by variant",
        by_worker("executing", 3, END, OTHER_END),
        {SHOP: 6.0},
    ),
    Number(
        "a worker of Tutor's belongs to its Deployment",
        "Tasks executing by variant",
        [
            FLOWER.executing(tutor_node(END, "billing-worker"), flat(2, HOUR)),
            FLOWER.executing(node(END, HIGH, "billing.high"), flat(1, HOUR)),
            FLOWER.executing(node(END, "billing-worker-low", "billing.low"), flat(50, HOUR)),
        ],
        {SHOP: 2.0, SHOP_HIGH: 1.0},
    ),
    Number(
        "workers that Flower hears",
        "Worker status",
        [
            *by_worker("online", 1, END),
            *by_worker("online", 0, OTHER_END),
            *(STATE.pod(end, flat(1, HOUR)) for end in (END, OTHER_END)),
        ],
        {SHOP: 1.0},
    ),
    Number("pods that are ready", "Worker status", STATE.replicas(flat(4, HOUR), flat(3, HOUR)), {SHOP: 3.0}, 1),
    Number(
        "pods of every namespace",
        "Workers ready",
        [
            item
            for state in (STATE, State(HIGH), State(namespace="blog"), State("flower"))
            for item in state.replicas(flat(2, HOUR))
        ],
        {"{}": 6.0},
    ),
    Number("pods that are wanted", "Work and pods", STATE.replicas(flat(4, HOUR), flat(3, HOUR)), {SHOP: 4.0}, 2),
    Number(
        "most pods are those of whichever HPA scales the Deployment",
        "Work and pods",
        [
            *STATE.autoscaler("somebodys-hpa", flat(1, HOUR), flat(12, HOUR)),
            *State("x").autoscaler("x", (), flat(9, HOUR)),
        ],
        {SHOP: 12.0},
        4,
    ),
    # 120 in 15 minutes.
    Number("8 tasks end in a minute", "Tasks per minute", [UP, *tasks(succeeded=rising(0, 8, HOUR))], {"{}": 8.0}),
    Number(
        "45 pods come, run one task each, and go",
        "Tasks per minute",
        [
            UP,
            *(
                series
                for number in range(45)
                for series in tasks(
                    end=f"5d9f7c9b8-pod{number:02}", succeeded=nothing(16 + number / 5) + flat(1, 4) + gone(31)
                )
            ),
        ],
        {"{}": 3.0},
    ),
    # 45 from the 15th minute to the last sample before the restart, and 105 in the 10 minutes after it.
    Number(
        "Flower started anew ten minutes ago",
        "Tasks per minute",
        [UP, *tasks(succeeded=rising(5000, 10, 20) + rising(0, 10.5, 40))],
        {"{}": 10.0},
    ),
    Number(
        "a Flower that began ten minutes ago has counted from nothing",
        "Tasks per minute",
        [
            FLOWER.up(nothing(20) + flat(1, 40)),
            FLOWER.began(20, nothing(20) + flat(1, 40)),
            *tasks(succeeded=nothing(20) + flat(30, 40)),
        ],
        {"{}": 2.0},
    ),
    Number(
        "one that Prometheus reads for ten minutes may have counted for a year",
        "Tasks per minute",
        [
            FLOWER.up(nothing(20) + flat(1, 40)),
            FLOWER.began(1, nothing(20) + flat(1, 40)),
            *tasks(succeeded=nothing(20) + flat(9000, 40)),
        ],
        {"{}": 0.0},
    ),
    Number(
        "a quarter fails",
        "Failed",
        [UP, *tasks(failed=rising(0, 2, HOUR)), *tasks(MAIL, succeeded=rising(0, 6, HOUR))],
        {"{}": 0.25},
    ),
    Number("nothing fails", "Failed", [UP, *tasks(succeeded=rising(0, 6, HOUR))], {"{}": 0.0}),
    Number("nothing ends", "Failed", [UP, *tasks(succeeded=flat(6, HOUR))], {}),
    Number(
        "success by task",
        "Success ratio by task",
        [UP, *tasks(failed=rising(0, 2, HOUR), succeeded=rising(0, 6, HOUR)), *tasks(MAIL, failed=rising(0, 2, HOUR))],
        {f'{{task="{INVOICE}"}}': 0.75, f'{{task="{MAIL}"}}': 0.0},
    ),
    Number(
        "failure by task",
        "Failure ratio by task",
        [UP, *tasks(failed=rising(0, 2, HOUR), succeeded=rising(0, 6, HOUR)), *tasks(MAIL, failed=rising(0, 2, HOUR))],
        {f'{{task="{INVOICE}"}}': 0.25, f'{{task="{MAIL}"}}': 1.0},
    ),
    Number(
        "an old failure is forgotten",
        "Failure ratio by task",
        [UP, *tasks(failed=flat(900, HOUR), succeeded=rising(0, 6, HOUR))],
        {f'{{task="{INVOICE}"}}': 0.0},
    ),
    # 100 at 2 a minute.
    Number(
        "drain time",
        "Oldest waiting work and drain time",
        [UP, KEDA.trigger("backlog", flat(100, HOUR)), *tasks(succeeded=rising(0, 2, HOUR))],
        {SHOP: 3000.0},
        1,
    ),
    Number(
        "the slowest queue",
        "Longest drain time",
        [
            UP,
            KEDA.trigger("backlog", flat(100, HOUR)),
            Keda(HIGH).trigger("backlog", flat(10, HOUR)),
            *tasks(succeeded=rising(0, 2, HOUR)),
            *FLOWER.events(node(END, HIGH, "billing.high"), {"succeeded": rising(0, 2, HOUR)}),
        ],
        {"{}": 3000.0},
    ),
    # Ten wait all the time, and two a minute are taken: each of them has come in the last five minutes.
    Number(
        "oldest work of a queue that was empty twenty minutes ago and is worked on",
        "Oldest waiting work and drain time",
        [UP, KEDA.trigger("backlog", flat(0, 10) + flat(10, 50)), *tasks(succeeded=rising(0, 2, HOUR))],
        {SHOP: 300.0},
    ),
    # A hundred at once, two minutes ago, and the pace says fifty.
    Number(
        "oldest work of a queue that was empty two minutes ago",
        "Oldest waiting work and drain time",
        [UP, KEDA.trigger("backlog", flat(0, 28.5) + flat(100, 31.5)), *tasks(succeeded=rising(0, 2, HOUR))],
        {SHOP: 120.0},
    ),
    Number(
        "oldest work where nothing waits",
        "Oldest waiting work and drain time",
        [UP, KEDA.trigger("backlog", flat(0, HOUR)), *tasks(succeeded=rising(0, 2, HOUR))],
        {},
    ),
    # Of three tasks that were taken two were invoices.
    Number(
        "30 messages are divided as tasks are that were taken",
        "Queue length by task",
        [
            FLOWER.up(flat(1, 2 * HOUR)),
            KEDA.trigger("backlog", flat(30, 2 * HOUR)),
            *tasks(received=nothing(80) + flat(20, 40)),
            *tasks(MAIL, received=nothing(80) + flat(10, 40)),
        ],
        {f'{{task="{INVOICE}"}}': 20.0, f'{{task="{MAIL}"}}': 10.0},
        minute=100,
    ),
    # Little's law: 4 wait, 2 a minute start.
    Number(
        "each of four prefetched tasks waits two minutes",
        "Prefetch time",
        [UP, *by_worker("prefetched", 4, END), *tasks(started=rising(0, 2, HOUR))],
        {SHOP: 120.0},
    ),
    Number(
        "a counter of Flower's that fell below zero",
        "Tasks prefetched at worker",
        [*by_worker("prefetched", -3, END), *by_worker("prefetched", 2, OTHER_END)],
        {
            f'{{namespace="shop", worker="billing.default@billing-worker-{END}"}}': 0.0,
            f'{{namespace="shop", worker="billing.default@billing-worker-{OTHER_END}"}}': 2.0,
        },
    ),
    # 6 a minute take 12 seconds together.
    Number(
        "mean runtime",
        "Task runtime at worker",
        [UP, *FLOWER.runtime(node(END), {"+Inf": rising(0, 6, HOUR)}, rising(0, 12, HOUR))],
        {SHOP: 2.0},
    ),
    # Half of them took less than 10 seconds, all less than 30: 95 of 100 are nine tenths of the way between.
    Number(
        "95 of 100 tasks",
        "Runtime by task, 95 of 100",
        [
            UP,
            *FLOWER.runtime(
                node(END),
                {"10": rising(0, 6, HOUR), "30": rising(0, 12, HOUR), "+Inf": rising(0, 12, HOUR)},
                rising(0, 90, HOUR),
            ),
        ],
        {f'{{task="{INVOICE}"}}': 28.0},
    ),
    Number(
        "KEDA has fallen back",
        "Scaler errors, pauses and fallback",
        [STATE.fallback(flat(1, HOUR)), State(HIGH).fallback(flat(0, HOUR))],
        {SHOP: 1.0, SHOP_HIGH: 0.0},
        2,
    ),
    Number(
        "scaling is paused",
        "Scaler errors, pauses and fallback",
        [KEDA.paused(flat(1, HOUR)), Keda(HIGH, honors_labels=False).paused(flat(0, HOUR))],
        {SHOP: 1.0, SHOP_HIGH: 0.0},
        1,
    ),
    Number(
        "errors of five minutes",
        "Scaler errors, pauses and fallback",
        [KEDA.errors(rising(0, 4, HOUR)), Keda(HIGH, honors_labels=False).errors(flat(9, HOUR))],
        {SHOP: 20.0, SHOP_HIGH: 0.0},
    ),
]


def test_panels_show_the_numbers_that_somebody_would_count_by_hand() -> None:
    require_promtool()
    board = board_of()
    scenes = []
    for number in NUMBERS:
        expr = interpolated(panel_of(number.panel, board)["targets"][number.query]["expr"])
        series = [item for item in number.series if item.values]
        scenes.append(Scene(f"{number.panel}: {number.name}", series, [Expected(number.minute, expr, number.shown)]))
    found = play(scenes)
    assert not found, found


def _query(board: Json, title: str, number: int) -> str:
    return str(panel_of(title, board)["targets"][number]["expr"])


def test_jobs_have_a_row_that_counts_those_that_run_and_those_that_failed() -> None:
    require_promtool()
    board = board_of(watched(JOBS))
    assert not [panel for panel in board_of()["panels"] if panel["title"].startswith("Jobs")]
    state, shop = State(), '{namespace="shop"}'
    series = [
        *(state.active_job(end, flat(1, HOUR)) for end in ("x7k2p", "m4c8w")),
        state.active_job("p6t2s", flat(0, HOUR)),
        state.failed_job("p6t2s", nothing(30) + flat(1, 30)),
        State("billing-worker-high").active_job("abcde", flat(1, HOUR)),
        KEDA.job_trigger("backlog", flat(4, HOUR)),
        KEDA.job_trigger("inflight", flat(2, HOUR)),
    ]
    expected = [
        Expected(50, interpolated(_query(board, title, query), "billing-worker"), {shop: number})
        for title, query, number in (
            ("Jobs", 0, 2),
            ("Jobs", 1, 1),
            ("Outstanding work of Jobs", 0, 4),
            ("Outstanding work of Jobs", 1, 2),
        )
    ]
    found = play([Scene("jobs", series, expected)])
    assert not found, found


# How it gets to Grafana.


def test_a_config_map_has_the_label_that_grafanas_sidecar_looks_for() -> None:
    fleet = watched()
    [made] = dashboard_resources(fleet)
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    assert set(made) == {"apiVersion", "kind", "metadata", "data"}
    assert made["metadata"]["name"] == "shop-celery-dashboard"
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["labels"]["celery.queueops.io/fleet"] == "shop"
    assert made["data"] == {"shop-celery-dashboard.json": dashboard_text(fleet)}


def test_labels_of_your_own_take_the_place_of_the_sidecars() -> None:
    keys = {"labels": {"dashboards": "yes"}, "annotations": {"grafana_folder": "Celery"}}
    [made] = dashboard_resources(watched(dashboard=keys))
    assert made["metadata"]["labels"]["dashboards"] == "yes"
    assert "grafana_dashboard" not in made["metadata"]["labels"]
    assert made["metadata"]["annotations"] == {"grafana_folder": "Celery"}


def test_the_grafana_operator_gets_an_object_of_its_own() -> None:
    keys = {"delivery": "grafana_dashboard", "folder": "Celery", "instance_selector": {"grafana": "main"}}
    fleet = watched(dashboard=keys)
    [made] = dashboard_resources(fleet)
    assert (made["apiVersion"], made["kind"]) == ("grafana.integreatly.org/v1beta1", "GrafanaDashboard")
    assert made["spec"] == {
        "instanceSelector": {"matchLabels": {"grafana": "main"}},
        "allowCrossNamespaceImport": True,
        "resyncPeriod": "10m0s",
        "json": dashboard_text(fleet),
        "folder": "Celery",
    }
    assert "grafana_dashboard" not in made["metadata"]["labels"]
    [plain] = dashboard_resources(watched(dashboard={"delivery": "grafana_dashboard"}))
    assert plain["spec"]["instanceSelector"] == {"matchLabels": {"dashboards": "grafana"}}
    assert "folder" not in plain["spec"]


@pytest.mark.parametrize(
    ("keys", "file", "objects"),
    [
        ({"delivery": "file"}, "dashboards/shop.json", 0),
        ({"delivery": "file", "file": "/srv/celery.json"}, "/srv/celery.json", 0),
        ({}, "", 1),
        ({"file": "/srv/celery.json"}, "", 1),
    ],
    ids=["file", "your own file", "config map", "config map with a path"],
)
def test_a_file_takes_the_place_of_an_object(keys: dict[str, Any], file: str, objects: int) -> None:
    fleet = watched(dashboard=keys)
    assert dashboard_file(fleet) == file
    assert len(dashboard_resources(fleet)) == objects


def test_there_is_no_object_where_nobody_wants_it_or_the_cluster_does_not_know_it() -> None:
    assert dashboard_resources(watched(enabled=("flower",))) == []
    assert dashboard_file(watched(enabled=("flower",))) == ""
    by_operator = watched(dashboard={"delivery": "grafana_dashboard"})
    assert dashboard_resources(by_operator, Observed(missing_kinds=("GrafanaDashboard",))) == []


def many_variants() -> Fleet:
    return fleet_of(
        services={"billing": {"image": "x"}},
        config={
            "billing": {
                f"queue-with-a-long-name-{number:02}": {"enable_keda": True, "min_replicas": 1} for number in range(60)
            }
        },
        broker={"host": "redis"},
        enabled=ON,
    )


def test_the_same_fleet_gives_the_same_json_byte_for_byte() -> None:
    assert dashboard_text(many_variants()) == dashboard_text(many_variants())


def test_the_dashboard_of_sixty_variants_is_one_that_an_api_server_takes() -> None:
    """A copy of it is kept in an annotation, and annotations have 262144 characters at most."""
    [made] = dashboard_resources(many_variants())
    assert len(json.dumps(made)) < 200_000
    assert "queue-with-a-long-name-59" in made["data"]["shop-celery-dashboard.json"]
