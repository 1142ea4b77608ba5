# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated plugin in the real Tutor: what it renders is run as settings, and Celery's own router reads them.

edx-platform is a stand-in here: its settings and its router as far as they decide on queues, in our own words.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import celery
import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._build.routing import (
    TUTOR_PLUGIN,
    RoutingOptions,
    tutor_plugin,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Route
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tasks import recommended_routes
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.support.real_tutor import VERSIONS, manifests, render, tutor_environment
from tests.unit.inventories import IMAGE, inventory

Json = dict[str, Any]

RELEASES = {"21.0.9": "ulmo", "22.0.3": "verawood"}
SERVICES = ("lms", "cms")
GRADES = "lms.djangoapps.grades.tasks."
BATCH = f"{GRADES}compute_grades_for_course_v2"
#: Names that would end a string, a line, a template or a comment if they were written as they are.
ODD = ("site.{{ 1 }}.tasks.a", "site.{% raw %}.b", "site.'''.c", 'site.""".d', "site.\\.e", "site.{#.f", "site.é.😀")
SCALED = {"lms": {"default": {"enable_keda": True}}, "cms": {"default": {"enable_keda": True}}}

#: Setting, the queue it names by itself, and the tasks whose entry the platform makes from it.
KEYS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "lms": {
        "GRADES_DOWNLOAD_ROUTING_KEY": (
            "high_mem",
            (
                "openedx.core.djangoapps.content.course_overviews.tasks.async_course_overview_update",
                "lms.djangoapps.instructor_task.tasks.calculate_grades_csv",
                "lms.djangoapps.instructor_task.tasks.calculate_problem_grade_report",
                "lms.djangoapps.instructor_task.tasks.generate_certificates",
            ),
        ),
        "BULK_EMAIL_ROUTING_KEY": ("high", ("lms.djangoapps.bulk_email.tasks.send_course_email",)),
        "POLICY_CHANGE_GRADES_ROUTING_KEY": (
            "default",
            (f"{GRADES}recalculate_course_and_subsection_grades_for_user",),
        ),
        "SINGLE_LEARNER_COURSE_REGRADE_ROUTING_KEY": ("default", (f"{GRADES}recalculate_subsection_grade_v3",)),
        "CREDENTIALS_GENERATION_ROUTING_KEY": (
            "default",
            ("openedx.core.djangoapps.schedules.tasks.v1.tasks.send_grade_to_credentials",),
        ),
    },
    "cms": {
        "POLICY_CHANGE_GRADES_ROUTING_KEY": ("default", (f"{GRADES}compute_all_grades_for_course",)),
        "SINGLE_LEARNER_COURSE_REGRADE_ROUTING_KEY": (
            "default",
            (f"{GRADES}recalculate_course_and_subsection_grades_for_user",),
        ),
        "UPDATE_SEARCH_INDEX_JOB_QUEUE": ("default", ("cms.djangoapps.contentstore.tasks.update_search_index",)),
    },
}
VARIANTS = {"lms": ("high", "default", "high_mem"), "cms": ("high", "default", "low")}
ELSEWHERE = {
    "lms": {},
    "cms": {
        f"openedx.core.djangoapps.content.block_structure.tasks.update_course_in_cache{version}": "lms"
        for version in ("", "_v2")
    },
}


def platform_settings(service: str, env: Json) -> Json:
    """The production settings of the platform, from the YAML that Tutor renders for it."""

    def queue(variant: str, of: str = service) -> str:
        return f"edx.{of}.core.{variant}"

    settings: Json = {name: queue(variant) for name, (variant, _tasks) in KEYS[service].items()}
    settings |= {name: value for name, value in env.items() if name != "CELERY_QUEUES"}
    others = str(env["ALTERNATE_WORKER_QUEUES"]).split()
    return {
        **settings,
        "ENV_TOKENS": env,
        "DEFAULT_PRIORITY_QUEUE": queue("default"),
        "CELERY_QUEUES": {
            name: {} for name in (*map(queue, VARIANTS[service]), *(queue("default", other) for other in others))
        },
        "ALTERNATE_ENV_TASKS": ELSEWHERE[service],
        "EXPLICIT_QUEUES": {
            task: {"queue": settings[name]} for name, (_variant, tasks) in KEYS[service].items() for task in tasks
        },
        "BROKER_TRANSPORT_OPTIONS": {"fanout_patterns": True, "fanout_prefix": True},
    }


def run_settings(root: Path, service: str) -> Json:
    """Run the settings file that Tutor rendered, over those of the platform, and return all settings."""
    apps = root / "env" / "apps" / "openedx"
    env = yaml.safe_load((apps / "config" / f"{service}.env.yml").read_text(encoding="utf-8"))
    text = (apps / "settings" / service / "production.py").read_text(encoding="utf-8")
    platform = platform_settings(service, env)
    tree = ast.parse(text)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    base = types.ModuleType(f"{service}.envs.production")
    # All else that the platform has: nothing of it decides on queues.
    unknown = read - set(vars(builtins))
    vars(base).update({**{name: MagicMock() for name in unknown}, **platform})
    found: Json = {"__name__": f"{service}.envs.tutor.production"}
    with pytest.MonkeyPatch.context() as patch:
        for name in _absent_modules(tree):
            patch.setitem(sys.modules, name, MagicMock())
        patch.setitem(sys.modules, base.__name__, base)
        # They make the folders of the site, and silence what the platform says.
        patch.setattr(os, "makedirs", MagicMock())
        patch.setattr(warnings, "filterwarnings", MagicMock())
        exec(compile(text, f"{service}/production.py", "exec"), found)
    return found


def _absent_modules(tree: ast.Module) -> set[str]:
    """Modules of the platform that a file imports, and the packages they are in."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    absent = [name.split(".") for name in names if importlib.util.find_spec(name.partition(".")[0]) is None]
    return {".".join(parts[:depth]) for parts in absent for depth in range(1, len(parts) + 1)}


def router_of(settings: Json) -> Any:
    """Celery's router with the settings, read as the platform does: by their old names, and with its own route."""

    def route_task(name: str, *_args: Any, **_options: Any) -> Any:
        if name in settings["EXPLICIT_QUEUES"]:
            return settings["EXPLICIT_QUEUES"][name]
        other = settings["ALTERNATE_ENV_TASKS"].get(name)
        return next((queue for queue in settings["CELERY_QUEUES"] if f".{other}." in queue), None) if other else None

    app = celery.Celery("platform", broker="memory://", set_as_current=False)
    app.config_from_object(
        types.SimpleNamespace(
            CELERY_QUEUES=settings["CELERY_QUEUES"],
            CELERY_ROUTES=(route_task,),
            CELERY_DEFAULT_QUEUE=settings["DEFAULT_PRIORITY_QUEUE"],
            CELERY_CREATE_MISSING_QUEUES=True,
        )
    )
    return app.amqp.router


def sent_to(router: Any, task: str, **options: Any) -> str:
    """The queue that a task goes to."""
    found = router.route(options, task)["queue"]
    return str(found.name)


def fleet_of(release: str, explicit_queues: Any = None, routing: str = "recommended", config: Any = None) -> Fleet:
    """Both services, as an inventory describes them."""
    services = {"lms": {"image": IMAGE}, "cms": {"image": IMAGE}}
    base = inventory(preset="openedx", explicit_queues=explicit_queues, services=services, config=config or {})
    return parse_fleet(replace(base, openedx_release=release, openedx_routing=routing, routing_delivery="tutor_plugin"))


def site(version: str, root: Path, fleet: Fleet, options: RoutingOptions | None = None, **more: Any) -> Path:
    """A site of a release with the plugin for a fleet."""
    return render(version, root, plugin_files={f"{TUTOR_PLUGIN}.py": tutor_plugin(fleet, options)}, **more)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recommended(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with the recommended routes."""
    return site(version, tmp_path_factory.mktemp("recommended"), fleet_of(RELEASES[version]))


def queues_of(routes: tuple[Route, ...], settings: Mapping[str, Json]) -> dict[tuple[str, str], str]:
    """Where the settings send each route's task, by the way that its code sends it."""
    found = {}
    for route in routes:
        mine = settings[route.producer]
        named = {"queue": mine[route.setting]} if route.setting else {}
        found[route.producer, route.task] = sent_to(router_of(mine), route.task, **named)
    return found


def test_every_recommended_task_goes_where_the_table_says(version: str, recommended: Path) -> None:
    settings = {service: run_settings(recommended, service) for service in SERVICES}
    routes = recommended_routes(RELEASES[version])
    assert queues_of(routes, settings) == {(route.producer, route.task): route.queue for route in routes}
    assert len(routes) > 40


def test_all_else_goes_where_the_platform_sends_it(recommended: Path) -> None:
    for service in SERVICES:
        router = router_of(run_settings(recommended, service))
        assert sent_to(router, "some.other.task") == f"edx.{service}.core.default"
        assert sent_to(router, "some.other.task", queue="named.by.code") == "named.by.code"


def test_an_entry_alone_would_not_move_a_task_whose_code_names_the_queue(recommended: Path) -> None:
    settings = run_settings(recommended, "cms")
    settings["EXPLICIT_QUEUES"][BATCH] = {"queue": "never"}
    assert sent_to(router_of(settings), BATCH, queue=settings["POLICY_CHANGE_GRADES_ROUTING_KEY"]) == (
        "edx.lms.core.high_mem"
    )


def test_lost_work_comes_back_in_workers_of_tutor_too(recommended: Path) -> None:
    for service in SERVICES:
        settings = run_settings(recommended, service)
        assert settings["CELERY_ACKS_LATE"] is settings["CELERY_REJECT_ON_WORKER_LOST"] is True
        assert settings["BROKER_TRANSPORT_OPTIONS"]["fanout_prefix"] is True


def test_what_the_routes_promise_is_not_so_without_the_plugin(version: str, tmp_path: Path) -> None:
    root = render(version, tmp_path)
    settings = {service: run_settings(root, service) for service in SERVICES}
    routes = recommended_routes(RELEASES[version])
    found = queues_of(routes, settings)
    for route in routes:
        assert not route.is_default or found[route.producer, route.task] == route.queue, route
    assert sum(found[route.producer, route.task] != route.queue for route in routes) > 20


def test_odd_names_and_options_reach_the_settings_as_they_are(version: str, tmp_path: Path) -> None:
    routes = {"lms": {task: f"queue-{number}'\"{{{{" for number, task in enumerate(ODD)}}
    routes["cms"] = {BATCH: 'edx.lms.core."{%'}
    base = fleet_of(RELEASES[version], routing="")
    written = tuple(Route("lms", task, queue) for task, queue in routes["lms"].items())
    fleet = replace(
        base, routes=(*written, Route("cms", BATCH, routes["cms"][BATCH], "POLICY_CHANGE_GRADES_ROUTING_KEY"))
    )
    options = RoutingOptions("volatile-lru", transport_options={"lms": {"unacked_key": "unacked:lms.{{ x }}"}})
    root = site(version, tmp_path, fleet, options)
    lms, cms = (run_settings(root, service) for service in SERVICES)
    assert {task: sent_to(router_of(lms), task) for task in ODD} == routes["lms"]
    assert lms["BROKER_TRANSPORT_OPTIONS"]["unacked_key"] == "unacked:lms.{{ x }}"
    assert cms["POLICY_CHANGE_GRADES_ROUTING_KEY"] == routes["cms"][BATCH]
    # What stands last counts.
    lines = (root / "env" / "apps" / "redis" / "redis.conf").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("maxmemory-policy")][-1] == "volatile-lru"


def test_the_commands_in_the_head_of_the_file_enable_it(version: str, tmp_path: Path) -> None:
    root = render(version, tmp_path)
    folder = root / "plugins"
    (folder / f"{TUTOR_PLUGIN}.py").write_text(tutor_plugin(fleet_of(RELEASES[version])), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUTOR_", "PYTHON"))}
    environment |= {"TUTOR_ROOT": str(root), "TUTOR_PLUGINS_ROOT": str(folder), "NO_COLOR": "1"}
    for arguments in (("plugins", "enable", TUTOR_PLUGIN), ("config", "save")):
        command = [str(tutor_environment(version) / "bin" / "tutor"), *arguments]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "Failed" not in ran.stderr
    router = router_of(run_settings(root, "cms"))
    assert sent_to(router, "cms.djangoapps.contentstore.tasks.export_olx") == "edx.cms.core.high"


def autoscalers(root: Path) -> set[str]:
    """Deployments that the other plugin scales."""
    text = (root / "env" / "plugins" / "pod-autoscaling" / "k8s" / "hpa.yml").read_text(encoding="utf-8")
    return {item["spec"]["scaleTargetRef"]["name"] for item in yaml.safe_load_all(text) if item}


def resources_of(root: Path) -> dict[str, Json]:
    """Requests and limits by Deployment, after kustomize."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["containers"][0].get("resources", {})
        for item in manifests(root)
        if item["kind"] == "Deployment"
    }


def test_the_other_plugins_autoscalers_go_and_its_resources_stay(version: str, tmp_path: Path) -> None:
    fleet = fleet_of(RELEASES[version], config=SCALED)
    before = site(version, tmp_path / "before", fleet, plugins=("pod-autoscaling",))
    after = site(version, tmp_path / "after", fleet, RoutingOptions(disable_hpa=True), plugins=("pod-autoscaling",))
    assert autoscalers(before) == {"lms", "cms", "lms-worker", "cms-worker"}
    assert autoscalers(after) == {"lms", "cms"}
    kept, had = resources_of(after), resources_of(before)
    assert had["lms-worker"]["limits"]["memory"]
    assert {name: _as_text(value) for name, value in kept.items()} == {
        name: _as_text(value) for name, value in had.items()
    }


def _as_text(resources: Json) -> Json:
    """Kubernetes takes 0.5 and "0.5" for the same quantity."""
    return {kind: {name: str(amount) for name, amount in amounts.items()} for kind, amounts in resources.items()}


def test_the_switch_loads_where_the_other_plugin_is_installed_and_not_enabled(version: str, tmp_path: Path) -> None:
    fleet = fleet_of(RELEASES[version], config=SCALED)
    root = site(version, tmp_path, fleet, RoutingOptions(disable_hpa=True))
    assert not resources_of(root)["lms-worker"].get("requests")
