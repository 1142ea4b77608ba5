# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What producers load: each form of delivery is run, and must send every task where the fleet says."""

from __future__ import annotations

import json
import runpy
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import celery
import jinja2
import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.routing import (
    RoutingOptions,
    routes_name,
    routing_resources,
    routing_table,
    routing_warnings,
    settings_overlay,
    task_routes_module,
    tutor_plugin,
)
from ansible_collections.queueops.celery.plugins.module_utils._check.routes import lost_routes
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Route, Service
from ansible_collections.queueops.celery.plugins.module_utils._model.variant_keys import Pod
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tasks import RELEASES, recommended_routes
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import IMAGE, inventory

GRADES = "lms.djangoapps.grades.tasks."
FAN_OUT, BATCH = f"{GRADES}compute_all_grades_for_course", f"{GRADES}compute_grades_for_course_v2"
FOR_USER = f"{GRADES}recalculate_course_and_subsection_grades_for_user"
KEY = "POLICY_CHANGE_GRADES_ROUTING_KEY"

Patches = list[tuple[str, str]]


def fleet_of_routes(*routes: Route, services: tuple[str, ...] = ("lms", "cms")) -> Fleet:
    """A fleet that has routes and no worker."""
    apps = tuple(Service(name, f"{name}.celery", (), None, None, Pod()) for name in services)
    return Fleet("site", "site", apps, routes=routes)


def openedx(explicit_queues: Any = None, release: str = "", routing: str = "", **variables: Any) -> Fleet:
    """Both services of Open edX with all their queues."""
    given_services = {"lms": {"image": IMAGE}, "cms": {"image": IMAGE}}
    base = inventory(preset="openedx", explicit_queues=explicit_queues, **{"services": given_services, **variables})
    return parse_fleet(replace(base, openedx_release=release, openedx_routing=routing))


class Filter:
    """A filter of Tutor's hooks, as far as a plugin uses it."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[int, Callable[[Any], Any]]] = []

    def add_items(self, items: Patches) -> None:
        self.callbacks.append((10, lambda found: [*found, *items]))

    def add(self, priority: int = 10) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        def decorate(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self.callbacks.append((priority, callback))
            return callback

        return decorate

    def apply(self, value: Any) -> Any:
        for _priority, callback in sorted(self.callbacks, key=lambda item: item[0]):
            value = callback(value)
        return value


def loaded(text: str, autoscaling: Filter | None = None) -> Patches:
    """Load a plugin as Tutor would, and return its patches.

    :param autoscaling: the filter of tutor-contrib-pod-autoscaling, where that is installed.
    """
    patches = Filter()
    tutor, hooks = types.ModuleType("tutor"), types.ModuleType("tutor.hooks")
    vars(hooks).update(
        Filters=types.SimpleNamespace(ENV_PATCHES=patches), priorities=types.SimpleNamespace(HIGH=5, LOW=50)
    )
    vars(tutor).update(hooks=hooks)
    modules: dict[str, Any] = {"tutor": tutor, "tutor.hooks": hooks}
    package, other = types.ModuleType("tutorpod_autoscaling"), types.ModuleType("tutorpod_autoscaling.hooks")
    vars(other).update(AUTOSCALING_CONFIG=autoscaling)
    installed = {"tutorpod_autoscaling": package, "tutorpod_autoscaling.hooks": other}
    modules |= installed if autoscaling else dict.fromkeys(installed)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        exec(compile(text, "queueops_celery.py", "exec"), {"__name__": "queueops_celery"})
    found: Patches = patches.apply([])
    return found


def rendered(patches: Patches, name: str, **variables: Any) -> str:
    """What Tutor puts at a patch point: each text is a template of its own."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    texts = [environment.from_string(text).render(**variables) for point, text in patches if point == name]
    return "\n".join(texts)


def settings_of(patches: Patches, service: str, **before: Any) -> dict[str, Any]:
    """The settings of a service below its patch."""
    namespace: dict[str, Any] = {"EXPLICIT_QUEUES": {}, **before}
    exec(rendered(patches, f"openedx-{service}-production-settings"), namespace)
    return namespace


ANY_TEXT = st.text(min_size=1, max_size=40)
ODD_TEXT = st.sampled_from(
    [
        "{{ 1 }}",
        "{% raw %}",
        "{# x",
        "'''",
        '"""',
        "\\",
        "a\\",
        "tab\there",
        "new\nline",
        "é",
        "😀",
        "\x85",
        "\u2028",
        "#",
        "}}",
    ]
)
NAMES = ANY_TEXT | ODD_TEXT | st.tuples(ODD_TEXT, ANY_TEXT).map("".join)


@given(st.dictionaries(st.tuples(st.sampled_from(["lms", "cms"]), NAMES), st.tuples(NAMES, st.booleans())))
def test_any_names_give_a_plugin_that_sends_each_task_where_it_should(
    wanted: Mapping[tuple[str, str], tuple[str, bool]],
) -> None:
    routes = [Route(producer, task, queue, is_default=default) for (producer, task), (queue, default) in wanted.items()]
    patches = loaded(tutor_plugin(fleet_of_routes(*routes)))
    for service in ("lms", "cms"):
        assert settings_of(patches, service)["EXPLICIT_QUEUES"] == {
            route.task: {"queue": route.queue} for route in routes if route.producer == service and not route.is_default
        }


@given(NAMES)
def test_any_queue_is_read_from_the_yaml_as_it_was_written(queue: str) -> None:
    patches = loaded(tutor_plugin(fleet_of_routes(Route("lms", BATCH, queue, KEY))))
    assert yaml.safe_load(rendered(patches, "lms-env")) == {KEY: queue}
    assert settings_of(patches, "lms")["EXPLICIT_QUEUES"] == {}


@given(st.dictionaries(NAMES, NAMES))
def test_any_names_give_a_module_of_task_routes(wanted: Mapping[str, str]) -> None:
    fleet = fleet_of_routes(*(Route("lms", task, queue) for task, queue in wanted.items()))
    namespace: dict[str, Any] = {}
    exec(compile(task_routes_module(fleet, "lms"), "celery_routes.py", "exec"), namespace)
    assert namespace["task_routes"] == {task: {"queue": queue} for task, queue in wanted.items()}
    assert list(namespace["task_routes"]) == list(wanted)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_transport_options_are_laid_over_those_that_are_there(options: Mapping[str, Any]) -> None:
    patches = loaded(tutor_plugin(fleet_of_routes(), RoutingOptions(transport_options={"cms": options})))
    before = {"fanout_prefix": True}
    after = settings_of(patches, "cms", BROKER_TRANSPORT_OPTIONS=before)
    assert after["BROKER_TRANSPORT_OPTIONS"] == {**before, **options}
    assert before == {"fanout_prefix": True}
    assert "BROKER_TRANSPORT_OPTIONS" not in settings_of(patches, "lms")


@pytest.mark.parametrize("release", RELEASES)
def test_the_recommended_table_is_delivered(release: str) -> None:
    patches = loaded(tutor_plugin(openedx(release=release, routing="recommended")))
    for service in ("lms", "cms"):
        routes = [route for route in recommended_routes(release) if route.producer == service]
        entries = {route.task: {"queue": route.queue} for route in routes if not (route.is_default or route.setting)}
        assert settings_of(patches, service)["EXPLICIT_QUEUES"] == entries
        assert yaml.safe_load(rendered(patches, f"{service}-env")) == {KEY: "edx.lms.core.high_mem"}


def test_the_order_of_an_inventory_changes_no_byte() -> None:
    routes = [Route(producer, f"some.task.{number}", "high") for producer in ("lms", "cms") for number in range(5)]
    assert tutor_plugin(fleet_of_routes(*routes)) == tutor_plugin(fleet_of_routes(*reversed(routes)))


def test_a_plugin_without_anything_to_say_loads_and_says_nothing() -> None:
    assert loaded(tutor_plugin(fleet_of_routes())) == []


def test_the_plugin_tells_what_it_is_and_what_to_do() -> None:
    text = tutor_plugin(fleet_of_routes())
    for part in (
        "generated",
        "tutor plugins enable queueops_celery",
        "tutor config save",
        "tutor k8s start",
        "restart",
    ):
        assert part in text.partition("import")[0]


def test_entries_that_are_there_stay() -> None:
    patches = loaded(tutor_plugin(fleet_of_routes(Route("cms", "a.b", "low"))))
    found = settings_of(patches, "cms", EXPLICIT_QUEUES={"a.b": {"queue": "x"}, "c.d": {"queue": "y"}})
    assert found["EXPLICIT_QUEUES"] == {"a.b": {"queue": "low"}, "c.d": {"queue": "y"}}


def test_redis_keeps_what_it_is_told_to_keep() -> None:
    patches = loaded(tutor_plugin(fleet_of_routes(), RoutingOptions(redis_policy="volatile-lru")))
    assert rendered(patches, "redis-conf").strip() == "maxmemory-policy volatile-lru"


def test_late_acknowledgement_follows_from_what_is_known_of_the_tasks() -> None:
    services = {"lms": {"image": IMAGE}, "cms": {"image": IMAGE, "idempotent": False}}
    config = {"lms": {"high_mem": {"enable_keda": True, "longest_task_seconds": 7200}}}
    patches = loaded(tutor_plugin(openedx({"cms": {"a.b": "edx.cms.core.low"}}, services=services, config=config)))
    lms = settings_of(patches, "lms", BROKER_TRANSPORT_OPTIONS={"fanout_prefix": True})
    assert lms["CELERY_ACKS_LATE"] is lms["CELERY_REJECT_ON_WORKER_LOST"] is True
    assert lms["BROKER_TRANSPORT_OPTIONS"]["fanout_prefix"] is True
    assert lms["BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"] >= 7200
    cms = settings_of(patches, "cms")
    assert "CELERY_ACKS_LATE" not in cms
    assert "BROKER_TRANSPORT_OPTIONS" not in cms


def test_a_site_with_a_longer_visibility_timeout_keeps_it() -> None:
    patches = loaded(tutor_plugin(openedx()))
    found = settings_of(patches, "lms", BROKER_TRANSPORT_OPTIONS={"visibility_timeout": 90000})
    assert found["BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"] == 90000


ADOPTED = {"adopt": True, "enable_keda": True, "in_flight": True}


def tutor_site(config: Any) -> Fleet:
    """Open edX with adopted workers and routes by Tutor."""
    base = inventory(preset="openedx", services={"lms": {"image": IMAGE}, "cms": {"image": IMAGE}}, config=config)
    return parse_fleet(replace(base, routing_delivery="tutor_plugin"))


def test_an_adopted_worker_finds_its_key_in_the_settings() -> None:
    fleet = tutor_site({"lms": {"default": ADOPTED}})
    (adopted,) = (variant for variant in fleet.variants if variant.adopted)
    assert adopted.unacked is not None
    found = settings_of(loaded(tutor_plugin(fleet)), "lms")["BROKER_TRANSPORT_OPTIONS"]
    assert found["unacked_key"] == adopted.unacked.hash
    assert found["unacked_index_key"] == adopted.unacked.index
    assert found["unacked_mutex_key"] == adopted.unacked.mutex
    assert "unacked_key" not in settings_of(loaded(tutor_plugin(fleet)), "cms").get("BROKER_TRANSPORT_OPTIONS", {})
    assert routing_warnings(fleet) == []


def test_settings_cannot_name_the_keys_of_two_adopted_workers() -> None:
    with pytest.raises(InventoryError, match="are both adopted, and the settings of a service name one key"):
        tutor_site({"lms": {"default": ADOPTED, "high": ADOPTED}})


def autoscaled() -> Filter:
    """What tutor-contrib-pod-autoscaling and a site have said before us."""
    values = {"memory_request": "750Mi", "memory_limit": "3000Mi", "cpu_request": 0.5, "cpu_limit": 0}
    config = Filter()
    config.add(priority=5)(
        lambda _found: {
            "lms": {"enable_hpa": True, **values},
            "lms-worker": {"enable_hpa": True, **values},
            "cms-worker": {"enable_hpa": False, **values},
        }
    )
    config.add()(lambda found: {**found, "lms-worker": {**found["lms-worker"], "memory_limit": "4Gi"}})
    return config


SCALED = {"lms": {"default": {"enable_keda": True}}, "cms": {"default": {"enable_keda": True}}}


def test_workers_that_we_scale_lose_their_other_autoscaler_and_keep_their_resources() -> None:
    config = autoscaled()
    patches = loaded(tutor_plugin(openedx(config=SCALED), RoutingOptions(disable_hpa=True)), config)
    found = config.apply({})
    assert {name: values["enable_hpa"] for name, values in found.items()} == {
        "lms": True,
        "lms-worker": False,
        "cms-worker": False,
    }
    text = rendered(patches, "k8s-override", iter_autoscaling_config=lambda: found, POD_AUTOSCALING_EXTRA_SERVICES={})
    assert [document for document in yaml.safe_load_all(text) if document] == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "lms-worker"},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "lms-worker",
                                "resources": {
                                    "requests": {"memory": "750Mi", "cpu": "0.5"},
                                    "limits": {"memory": "4Gi"},
                                },
                            }
                        ]
                    }
                }
            },
        }
    ]


def test_an_autoscaler_that_the_settings_of_a_site_name_keeps_its_own_resources() -> None:
    config = autoscaled()
    patches = loaded(tutor_plugin(openedx(config=SCALED), RoutingOptions(disable_hpa=True)), config)
    extra = {"lms-worker": {"enable_hpa": True}}
    text = rendered(
        patches, "k8s-override", iter_autoscaling_config=lambda: config.apply({}), POD_AUTOSCALING_EXTRA_SERVICES=extra
    )
    assert not text.strip()


@pytest.mark.parametrize("config", [SCALED, {}])
def test_without_the_other_plugin_the_switch_does_nothing(config: Any) -> None:
    patches = loaded(tutor_plugin(openedx(config=config), RoutingOptions(disable_hpa=True)))
    assert not rendered(patches, "k8s-override").strip()


def test_the_switch_is_off_by_default() -> None:
    assert "AUTOSCALING" not in tutor_plugin(openedx(config=SCALED))


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings modules of a platform, importable."""
    package = tmp_path / "platform_stub"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "production.py").write_text(
        f"{KEY} = 'own'\nEXPLICIT_QUEUES = {{{FAN_OUT!r}: {{'queue': {KEY}}}, 'x.y': {{'queue': 'z'}}}}\n_HIDDEN = 1\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("platform")
def test_an_overlay_is_the_other_settings_with_the_routes_in_them() -> None:
    routes = (Route("cms", "a.b", "low"), Route("cms", BATCH, "high", KEY), Route("lms", "c.d", "other"))
    text = settings_overlay(fleet_of_routes(*routes), "cms", "platform_stub.production")
    found: dict[str, Any] = {}
    exec(compile(text, "celery_settings.py", "exec"), found)
    assert found[KEY] == "high"
    assert found["EXPLICIT_QUEUES"] == {
        "a.b": {"queue": "low"},
        # It follows the setting, as it does where the setting is read from YAML.
        FAN_OUT: {"queue": "high"},
        "x.y": {"queue": "z"},
    }


@pytest.mark.usefixtures("platform")
def test_an_entry_is_stronger_than_a_setting_that_moves_it_along() -> None:
    routes = (Route("cms", FAN_OUT, "quick"), Route("cms", BATCH, "high", KEY))
    text = settings_overlay(fleet_of_routes(*routes), "cms", "platform_stub.production")
    found: dict[str, Any] = {}
    exec(compile(text, "celery_settings.py", "exec"), found)
    assert found["EXPLICIT_QUEUES"][FAN_OUT] == {"queue": "quick"}


def test_celery_sends_by_the_module_of_task_routes(tmp_path: Path) -> None:
    routes = [
        Route("billing", "billing.tasks.report", "reports"),
        Route("billing", "billing.mail.*", "mail"),
        Route("billing", "billing.*", "rest"),
        Route("billing", "upstream.task", "elsewhere", is_default=True),
    ]
    path = tmp_path / "celery_routes.py"
    path.write_text(task_routes_module(fleet_of_routes(*routes, services=("billing",)), "billing"), encoding="utf-8")
    app = celery.Celery("billing", broker="memory://", set_as_current=False)
    app.conf.task_routes = runpy.run_path(str(path))["task_routes"]

    def queue_of(task: str, **options: Any) -> str:
        found: str = app.amqp.router.route(options, task)["queue"].name
        return found

    assert queue_of("billing.tasks.report") == "reports"
    assert queue_of("billing.mail.send") == "mail"
    assert queue_of("billing.tasks.other") == "rest"
    assert queue_of("upstream.task") == "celery"
    assert queue_of("billing.tasks.report", queue="named") == "named"


def test_each_producer_gets_a_config_map_of_its_own() -> None:
    routes = (Route("lms", "a.b", "high"), Route("cms", "c.d", "low", is_default=True), Route("web_shop", "e.f", "x"))
    fleet = fleet_of_routes(*routes, services=("lms", "cms", "web_shop"))
    found = routing_resources(replace(fleet, routing_delivery="task_routes"))
    assert [(item["kind"], item["metadata"]["name"], list(item["data"])) for item in found] == [
        ("ConfigMap", "lms-worker-routes", ["celery_routes.py"]),
        ("ConfigMap", "web-shop-worker-routes", ["celery_routes.py"]),
    ]
    assert found[0]["metadata"]["namespace"] == "site"
    assert found[0]["metadata"]["labels"]["celery.queueops.io/fleet"] == "site"
    assert found[0]["metadata"]["labels"]["celery.queueops.io/service"] == "lms"
    assert "spec" not in found[0]
    assert json.loads(json.dumps(found)) == found


def test_an_overlay_stands_on_the_settings_of_edx_platform_where_a_service_names_none() -> None:
    fleet = fleet_of_routes(Route("lms", "a.b", "high"))
    (found,) = routing_resources(replace(fleet, routing_delivery="settings_overlay"))
    assert "\nfrom lms.envs.production import *" in found["data"]["celery_settings.py"]


def test_an_overlay_stands_on_the_settings_that_the_service_has() -> None:
    fleet = openedx({"lms": {"a.b": "edx.lms.core.high"}})
    (found,) = routing_resources(replace(fleet, routing_delivery="settings_overlay"))
    assert "\nfrom lms.envs.tutor.production import *" in found["data"]["celery_settings.py"]


@pytest.mark.parametrize("delivery", ["none", "tutor_plugin"])
def test_other_deliveries_need_no_object(delivery: str) -> None:
    fleet = fleet_of_routes(Route("lms", "a.b", "high"))
    assert routing_resources(replace(fleet, routing_delivery=delivery)) == []


def test_the_name_of_a_config_map_is_one_that_kubernetes_takes() -> None:
    assert routes_name("web_shop") == "web-shop-worker-routes"


def test_the_table_says_how_each_route_is_loaded() -> None:
    routes = (
        Route("lms", "a.b", "high", path="x"),
        Route("cms", BATCH, "high_mem", KEY, reason="heavy"),
        Route("lms", "c.d", "default", is_default=True),
    )
    assert [list(row.values()) for row in routing_table(fleet_of_routes(*routes))] == [
        ["a.b", "high", "lms", "entry", ""],
        [BATCH, "high_mem", "cms", f"setting {KEY}", "heavy"],
        ["c.d", "default", "lms", "upstream default", ""],
    ]
    assert list(routing_table(fleet_of_routes(*routes))[0]) == ["task", "queue", "producer", "loaded_by", "reason"]


def lost(explicit_queues: Any, **variables: Any) -> list[str]:
    """Routes of an inventory that lose work: it is refused with them."""
    with pytest.raises(InventoryError) as caught:
        openedx(explicit_queues, **variables)
    return [str(problem) for problem in caught.value.problems]


def warnings_for(explicit_queues: Any, release: str = "", **variables: Any) -> list[str]:
    return routing_warnings(openedx(explicit_queues, release, **variables), release)


LMS, CMS = "celery_workers_explicit_queues.lms", "celery_workers_explicit_queues.cms"


def test_the_recommended_table_warns_of_nothing() -> None:
    assert warnings_for(None, routing="recommended") == []


def test_a_mistyped_task_is_found() -> None:
    task = "lms.djangoapps.instructor_task.tasks.rescore_problems"
    assert warnings_for({"lms": {task: "edx.lms.core.high"}}) == [
        f"{LMS}.{task}: no task {task!r} is known; did you mean {task[:-1]!r}?"
    ]


def test_a_task_of_the_platform_that_is_not_like_any_is_named() -> None:
    (found,) = warnings_for({"lms": {"lms.xyz": "edx.lms.core.high"}})
    assert "name it in known_tasks of the service" in found


def test_tasks_of_a_site_are_its_own() -> None:
    assert warnings_for({"lms": {"site_plugin.tasks.nightly": "edx.lms.core.high"}}) == []
    own = "lms.djangoapps.site.tasks.rescore"
    services = {"lms": {"image": IMAGE, "known_tasks": [own]}, "cms": {"image": IMAGE}}
    assert warnings_for({"lms": {own: "edx.lms.core.high"}}, services=services) == []


def test_a_pattern_reaches_nothing_in_open_edx() -> None:
    (found,) = warnings_for({"lms": {"lms.djangoapps.instructor_task.*": "edx.lms.core.high"}})
    assert "exact names only" in found


def test_a_task_of_a_later_release_is_named() -> None:
    task = "cms.djangoapps.contentstore.tasks.check_broken_links"
    routes = {"cms": {task: "edx.cms.core.low"}}
    assert warnings_for(routes, "sumac") == [
        f"{CMS}.{task}: this task came with release teak, so sumac never sends it."
    ]
    assert warnings_for(routes, "teak") == []


def test_a_route_that_needs_a_setting_says_what_else_the_setting_moves() -> None:
    (found,) = warnings_for({"lms": {BATCH: "edx.lms.core.high_mem"}})
    assert f"delivered as the setting {KEY} of lms" in found
    assert f"moves {FOR_USER} to edx.lms.core.high_mem" in found
    both = {"lms": {BATCH: "edx.lms.core.high_mem", FOR_USER: "edx.lms.core.default"}}
    (found,) = warnings_for(both)
    assert "moves" not in found


def test_what_studio_sends_must_stand_under_cms() -> None:
    queue = "edx.lms.core.high_mem"
    (found,) = warnings_for({"lms": {FAN_OUT: queue}})
    assert "Studio sends this task" in found
    assert warnings_for({"lms": {FAN_OUT: queue}, "cms": {FAN_OUT: queue}}) == []


def test_a_route_under_a_service_that_never_sends_the_task_is_named() -> None:
    task = "cms.djangoapps.contentstore.tasks.import_olx"
    assert warnings_for({"lms": {task: "edx.cms.core.high"}}) == [
        f"{LMS}.{task}: lms never sends this task, so the route changes nothing; write it under cms."
    ]


def test_another_app_is_not_measured_by_what_is_known_of_open_edx() -> None:
    fleet = fleet_of_routes(Route("lms", "lms.nothing", "high", path="x"))
    assert routing_warnings(fleet, openedx=False) == []


def test_a_tutor_plugin_cannot_reach_another_service() -> None:
    fleet = fleet_of_routes(Route("shop", "a.b", "high", path="x"), services=("lms", "shop"))
    by_tutor = replace(fleet, routing_delivery="tutor_plugin")
    assert routing_warnings(by_tutor, openedx=False) == [
        "x: a Tutor plugin reaches the settings of lms and cms only, so nothing delivers this route to shop."
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_no_recommended_route_is_lost(release: str) -> None:
    assert list(lost_routes(openedx(release=release, routing="recommended"))) == []


def test_a_route_to_workers_that_do_not_know_the_task_is_lost() -> None:
    task = "lms.djangoapps.instructor_task.tasks.rescore_problem"
    assert lost({"lms": {task: "edx.cms.core.high"}}) == [
        f"{LMS}.{task}: workers of cms take from queue edx.cms.core.high, and they do not run {task}, so its messages "
        "would be lost. Send it to a queue that only workers of lms take from, such as edx.lms.core.high."
    ]


def test_one_consumer_that_does_not_know_the_task_loses_its_share() -> None:
    config = {"cms": {"high": {"queues": ["edx.cms.core.high", "edx.lms.core.high"], "accept_risks": ["shared-queue"]}}}
    task = "lms.djangoapps.bulk_email.tasks.send_course_email"
    (found,) = lost({"lms": {task: "edx.lms.core.high"}}, config=config)
    assert "workers of cms take from queue edx.lms.core.high" in found


def test_both_sides_run_the_grades_tasks() -> None:
    assert list(lost_routes(openedx({"cms": {FAN_OUT: "edx.cms.core.default"}}))) == []
    assert len(lost({"cms": {FOR_USER: "edx.cms.core.default"}})) == 1


def test_a_service_is_known_by_its_app_not_by_its_name() -> None:
    services = {
        "lms": {"image": IMAGE},
        "cms": {"image": IMAGE},
        "reports": {"image": IMAGE, "app": "lms.celery", "known_queues": ["reports"]},
    }
    config = {"reports": {"default": {"queues": ["reports"]}}}
    task = "lms.djangoapps.instructor_task.tasks.rescore_problem"
    assert list(lost_routes(openedx({"lms": {task: "reports"}}, services=services, config=config))) == []
