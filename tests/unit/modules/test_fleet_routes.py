# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_specs: what a task gets of routes for each delivery, in check mode too, and how an inventory is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.doc_fragments import _fleet
from ansible_collections.queueops.celery.plugins.module_utils._celery.brokers import REDIS_POLICIES

from tests.unit.inventories import IMAGE
from tests.unit.modules.running import run

SHOP: dict[str, Any] = {
    "namespace": "shop",
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": {}, "reports": {}}},
    "explicit_queues": {"billing": {"billing.tasks.monthly_report": {"queue": "reports"}}},
}
SITE: dict[str, Any] = {
    "namespace": "openedx",
    "preset": "openedx",
    "services": {"lms": {"image": IMAGE}, "cms": {"image": IMAGE}},
}


def routes(check: bool = False, **options: Any) -> dict[str, Any]:
    """What the module returns, with no object but those of routes."""
    result = run("fleet_specs", check, **options)
    objects = [item for item in result.get("resources", []) if item["metadata"]["name"].endswith("-worker-routes")]
    return {**result, "resources": objects}


@pytest.mark.parametrize("check", [False, True])
def test_a_producer_gets_a_config_map_with_its_routes(check: bool) -> None:
    result = routes(check, **SHOP, routing_delivery="task_routes")
    (config_map,) = result["resources"]
    assert config_map["metadata"]["name"] == "billing-worker-routes"
    assert '"billing.tasks.monthly_report": {"queue": "reports"}' in config_map["data"]["celery_routes.py"]
    assert result["routes"] == [
        {
            "task": "billing.tasks.monthly_report",
            "queue": "reports",
            "producer": "billing",
            "loaded_by": "entry",
            "reason": "",
        }
    ]
    assert (result["changed"], result["tutor_plugin"], result["warnings"]) == (False, "", [])


def test_nothing_is_delivered_unless_it_is_asked_for() -> None:
    result = routes(**SHOP)
    assert (result["resources"], result["tutor_plugin"], len(result["routes"])) == ([], "", 1)


def test_an_overlay_stands_on_the_module_that_the_environment_names() -> None:
    services = {"billing": {"image": IMAGE, "env": {"DJANGO_SETTINGS_MODULE": "shop.settings"}}}
    options = {**SHOP, "routing_delivery": "settings_overlay", "services": services}
    (config_map,) = routes(**options)["resources"]
    assert "from shop.settings import *" in config_map["data"]["celery_settings.py"]


def test_open_edx_gets_a_tutor_plugin_and_no_object() -> None:
    more: dict[str, Any] = {
        "openedx_routing": "recommended",
        "routing_delivery": "tutor_plugin",
        "redis_policy": "volatile-lru",
        "disable_hpa": True,
        "transport_options": {"cms": {"socket_keepalive": True}},
        "config": {"lms": {"default": {"enable_keda": True, "time_limit": 60}}},
    }
    result = routes(**SITE, **more)
    text = result["tutor_plugin"]
    compile(text, "queueops_celery.py", "exec")
    for part in ("edx.cms.core.low", "maxmemory-policy volatile-lru", '"lms-worker"', '"socket_keepalive": True'):
        assert part in text
    assert result["resources"] == []
    assert {row["loaded_by"] for row in result["routes"]} == {
        "entry",
        "upstream default",
        "setting POLICY_CHANGE_GRADES_ROUTING_KEY",
    }
    assert result["warnings"] == []


def test_what_is_probably_a_slip_is_a_warning() -> None:
    task = "cms.djangoapps.contentstore.tasks.import_olxx"
    result = routes(**SITE, explicit_queues={"cms": {task: {"queue": "edx.cms.core.high"}}})
    assert "did you mean 'cms.djangoapps.contentstore.tasks.import_olx'?" in str(result["warnings"])


def test_a_route_that_would_lose_work_is_refused() -> None:
    task = "cms.djangoapps.contentstore.tasks.import_olx"
    result = routes(**SITE, explicit_queues={"cms": {task: {"queue": "edx.lms.core.high"}}})
    (problem,) = result["problems"]
    assert "workers of lms take from queue edx.lms.core.high, and they do not run" in problem


def test_a_policy_that_redis_does_not_have_is_refused_by_ansible() -> None:
    assert "value of redis_policy must be one of" in routes(**SHOP, redis_policy="keep-all")["msg"]
    documented = yaml.safe_load(_fleet.ModuleDocFragment.ROUTING)["options"]["redis_policy"]["choices"]
    assert documented == ["", *REDIS_POLICIES]
