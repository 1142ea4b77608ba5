# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory for a Tutor project: the model takes it, it says what was found, and what a person changed stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._openedx.import_inventory import (
    HOSTS,
    planned_import,
    suggested_inventory,
    variables_file,
    write_import,
)
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor import (
    TutorError,
    observed_of,
    read_project,
)
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import Layer
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet

from tests.unit.tutor_trees import (
    PASSWORD,
    Json,
    autoscaler,
    default_workers,
    deployment,
    project,
    scaled_object,
    worker,
    write,
)

SITE = "learn.example.com"
VARIABLES = variables_file(SITE)


def text_of(root: Path) -> str:
    return suggested_inventory(read_project(root))[VARIABLES]


def comments_of(root: Path) -> str:
    """Its text on one line, without comment signs."""
    return " ".join(text_of(root).replace("# ", "").split())


def variables_of(root: Path) -> Json:
    found: Json = yaml.safe_load(text_of(root))
    return found


def fleet_of(root: Path) -> Fleet:
    """What the model makes of the suggestion, with the project's own Deployments."""
    found = variables_of(root)
    broker = {**found["celery_workers_broker"]}
    if "password" in broker:
        broker["password"] = True  # as the role hands it to a module
    layers = {"celery_workers_config": found["celery_workers_config"], "celery_workers_broker": broker}
    return parse_fleet(
        Inventory(
            namespace=found["celery_workers_namespace"],
            preset=found["celery_workers_preset"],
            layers=tuple(Layer(name, value) for name, value in layers.items()),
            explicit_queues=found.get("celery_workers_explicit_queues"),
            take_over=found.get("celery_workers_take_over", False),
            observed=observed_of(read_project(root)),
        )
    )


def plugin_site(root: Path, **settings: Any) -> Path:
    """A site with tutor-contrib-celery: a variant of its own per queue of LMS, scaled."""
    high = scaled_object("lms-worker-high", "edx.lms.core.high")
    high_mem = scaled_object("lms-worker-high-mem", "edx.lms.core.high_mem", maxReplicaCount=4, listLength=2)
    return project(
        root,
        [
            *default_workers("default"),
            worker("lms", "lms-worker-high", "edx.lms.core.high"),
            worker("lms", "lms-worker-high-mem", "edx.lms.core.high_mem", options=("--concurrency=1",)),
            high,
            high_mem,
        ],
        **settings,
    )


def test_a_plain_site_keeps_its_workers_and_gets_one_for_every_other_queue(tmp_path: Path) -> None:
    root = project(tmp_path)
    found = variables_of(root)
    assert found == {
        "celery_workers_preset": "openedx",
        "celery_workers_namespace": "openedx",
        "celery_workers_tutor_root": str(root),
        "celery_workers_broker": {"host": "redis", "port": 6379, "database": 0},
        "celery_workers_config": {"lms": {"default": {"adopt": True}}, "cms": {"default": {"adopt": True}}},
    }
    variants = {item.deployment: (item.queues, item.adopted) for item in fleet_of(root).variants}
    assert variants["lms-worker"] == (("edx.lms.core.default",), True)
    assert variants["lms-worker-high-mem"] == (("edx.lms.core.high_mem",), False)
    assert len(variants) == 6


def test_the_plugins_variants_keep_what_a_person_chose_and_lose_its_defaults(tmp_path: Path) -> None:
    root = plugin_site(tmp_path)
    found = variables_of(root)
    assert found["celery_workers_config"]["lms"] == {
        "default": {"adopt": True},
        "high": {"enable_keda": True},
        "high_mem": {
            "enable_keda": True,
            "max_replicas": 4,
            "list_length": 2,
            "extra_params": ["--concurrency=1"],
        },
    }
    assert found["celery_workers_take_over"] is True
    variants = {item.deployment: item for item in fleet_of(root).variants}
    assert (variants["lms-worker-high-mem"].uses_keda, variants["lms-worker-high"].uses_keda) == (True, True)
    assert variants["lms-worker-high-mem"].scaling.max_replicas == 4


def test_the_profile_of_reports_is_a_suggestion_and_nothing_in_force(tmp_path: Path) -> None:
    plain, scaled = project(tmp_path / "plain"), plugin_site(tmp_path / "plugin")
    assert "    # high_mem: {profile: long}" in text_of(plain).split("\n")
    assert "      # profile: long" in text_of(scaled).split("\n")
    for root in (plain, scaled):
        assert "profile: long gives a pod one task" in comments_of(root)
        assert {item.knowledge.profile for item in fleet_of(root).variants} == {None}


def test_no_profile_is_suggested_against_the_arguments_of_a_worker(tmp_path: Path) -> None:
    options = ("--pool=gevent", "--concurrency=100")
    gevent = worker("lms", "lms-worker-high-mem", "edx.lms.core.high_mem", options=options)
    root = project(tmp_path, [*default_workers("default"), gevent])
    assert "profile: long" not in text_of(root)
    (variant,) = (item for item in fleet_of(root).variants if item.name == "high_mem")
    assert (variant.slots, variant.scaling.list_length, variant.scaling.max_replicas) == (100, 40, 30)


def test_a_deployment_with_another_name_and_queue_keeps_both(tmp_path: Path) -> None:
    root = project(tmp_path, [*default_workers(), worker("lms", "grading", "grades", "grades.slow")])
    found = variables_of(root)["celery_workers_config"]["lms"]["grading"]
    assert found == {"name": "grading", "queues": ["grades", "grades.slow"]}
    assert [item.queues for item in fleet_of(root).variants if item.deployment == "grading"] == [
        ("grades", "grades.slow")
    ]


def test_arguments_that_would_be_refused_are_named_and_left_out(tmp_path: Path) -> None:
    options = ("--beat", "--unheard-of=1", "-c", "3", f"--broker=redis://:{PASSWORD}@redis")
    root = project(
        tmp_path, [*default_workers(), worker("lms", "lms-worker-high", "edx.lms.core.high", options=options)]
    )
    assert variables_of(root)["celery_workers_config"]["lms"]["high"] == {"extra_params": ["-c", "3"]}
    assert "not taken over from its command line: --broker, --unheard-of, --beat." in comments_of(root)
    assert PASSWORD not in text_of(root)


def test_a_password_is_a_reference_to_a_vault(tmp_path: Path) -> None:
    platform = {"CELERY_BROKER_USER": "edx", "CELERY_BROKER_PASSWORD": PASSWORD}
    root = project(tmp_path, platform=platform, settings={"REDIS_PASSWORD": PASSWORD})
    assert variables_of(root)["celery_workers_broker"] == {
        "host": "redis",
        "port": 6379,
        "database": 0,
        "username": "edx",
        "password": "{{ vault_celery_redis_password }}",
    }
    assert f"ansible-vault create host_vars/{SITE}/vault.yml" in text_of(root)
    assert PASSWORD not in "".join(suggested_inventory(read_project(root)).values())
    assert fleet_of(root).services[0].broker is not None


def test_a_user_name_without_a_password_is_not_written(tmp_path: Path) -> None:
    root = project(tmp_path, platform={"CELERY_BROKER_USER": "edx"})
    assert "username" not in variables_of(root)["celery_workers_broker"]


def test_an_encrypted_redis_stays_encrypted(tmp_path: Path) -> None:
    root = project(tmp_path, platform={"CELERY_BROKER_TRANSPORT": "rediss"})
    broker = fleet_of(root).services[0].broker
    assert broker is not None
    assert broker.tls is not None


def test_a_broker_that_is_no_redis_is_left_to_a_person(tmp_path: Path) -> None:
    root = project(tmp_path, platform={"CELERY_BROKER_TRANSPORT": "amqp", "CELERY_BROKER_HOSTNAME": "rabbit:5672"})
    assert "undef(" in variables_of(root)["celery_workers_broker"]["host"]
    assert "reached through amqp, on rabbit" in comments_of(root)


def test_routes_are_written_by_their_producer(tmp_path: Path) -> None:
    text = "EXPLICIT_QUEUES.update({'some.task': {'queue': 'edx.lms.core.high_mem'}})\nEXPLICIT_QUEUES.clear()\n"
    root = project(tmp_path, production={"cms": text})
    assert variables_of(root)["celery_workers_explicit_queues"] == {
        "cms": {"some.task": {"queue": "edx.lms.core.high_mem"}}
    }
    assert "changes EXPLICIT_QUEUES in line 2" in comments_of(root)
    assert [route.queue for route in fleet_of(root).routes] == ["edx.lms.core.high_mem"]


def test_other_autoscalers_of_a_worker_are_named_with_the_choices(tmp_path: Path) -> None:
    foreign = scaled_object("cms-worker", "edx.cms.core.default", name="by-hand")
    root = project(tmp_path, [*default_workers(), autoscaler("lms-worker", "cpu"), foreign])
    assert variables_of(root)["celery_workers_autoscaler_conflict"] == "fail"
    assert "celery_workers_take_over" not in variables_of(root)
    said = comments_of(root)
    assert "HorizontalPodAutoscaler cpu scales lms-worker; ScaledObject by-hand scales cms-worker" in said
    assert "celery_workers_autoscaler_conflict" not in variables_of(project(tmp_path / "without"))


def test_flower_is_only_named_and_its_login_is_not(tmp_path: Path) -> None:
    settings = {
        "CELERY_FLOWER_BASIC_AUTH": f"flower:{PASSWORD}",
        "CELERY_FLOWER_EXPOSE_SERVICE": True,
        "CELERY_FLOWER_SERVICE_MONITOR": True,
    }
    root = project(tmp_path, [*default_workers(), deployment("flower", image="mher/flower:2.0.1")], settings)
    said = comments_of(root)
    assert f"Flower (image mher/flower:2.0.1, public as flower.{SITE}, with a ServiceMonitor): stays with Tutor" in said
    assert PASSWORD not in text_of(root)
    assert "Flower" not in text_of(project(tmp_path / "without"))


def test_what_the_reader_does_not_do_stands_in_the_inventory(tmp_path: Path) -> None:
    assert "namePrefix is not applied here" in comments_of(project(tmp_path, namePrefix="x-"))


def test_the_site_is_named_after_lms_or_as_a_person_wants(tmp_path: Path) -> None:
    found = read_project(project(tmp_path))
    assert yaml.safe_load(suggested_inventory(found)[HOSTS]) == {"celery_fleets": {"hosts": {SITE: None}}}
    assert variables_file("campus") in suggested_inventory(found, "campus")
    with pytest.raises(TutorError, match="cannot be the name"):
        suggested_inventory(found, "../campus")


# Files


def written(folder: Path, root: Path, site: str = "") -> list[str]:
    """Import, and say which files were written."""
    plan = planned_import(folder, read_project(root), site)
    write_import(folder, plan)
    return sorted(plan.files)


def test_an_import_is_written_once(tmp_path: Path) -> None:
    root = project(tmp_path / "site")
    assert written(tmp_path / "inventory", root) == [VARIABLES, HOSTS]
    assert written(tmp_path / "inventory", root) == []


def test_a_file_that_nobody_changed_follows_the_project(tmp_path: Path) -> None:
    written(tmp_path / "inventory", project(tmp_path / "site"))
    assert written(tmp_path / "inventory", project(tmp_path / "site", namespace="campus")) == [VARIABLES]
    assert "celery_workers_namespace: campus" in (tmp_path / "inventory" / VARIABLES).read_text()


def test_a_file_that_a_person_changed_stays_and_the_news_go_beside_it(tmp_path: Path) -> None:
    folder, root = tmp_path / "inventory", project(tmp_path / "site")
    written(folder, root)
    mine = (folder / VARIABLES).read_text() + "celery_workers_prune: true\n"
    write(folder, {VARIABLES: mine})
    assert written(folder, root) == []
    root = project(tmp_path / "site", namespace="campus")
    assert written(folder, root) == [f"{VARIABLES}.new"]
    assert (folder / VARIABLES).read_text() == mine
    assert planned_import(folder, read_project(root)).beside == {VARIABLES: f"{VARIABLES}.new"}
    assert written(folder, root) == []
    # With the new fingerprint taken over, there is no news.
    new = (folder / f"{VARIABLES}.new").read_text()
    write(folder, {VARIABLES: f"{new}celery_workers_prune: true\n"})
    (folder / f"{VARIABLES}.new").unlink()
    assert written(folder, root) == []


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    folder, root = write(tmp_path / "inventory", {VARIABLES: "mine: true\n"}), project(tmp_path / "site")
    assert written(folder, root) == [f"{VARIABLES}.new", HOSTS]
    assert (folder / VARIABLES).read_text() == "mine: true\n"


def test_hosts_are_added_in_files_of_their_own(tmp_path: Path) -> None:
    hosts = "all:\n  children:\n    celery_fleets:\n      hosts:\n        first:\n"
    folder, root = write(tmp_path / "inventory", {HOSTS: hosts}), project(tmp_path / "site")
    assert written(folder, root, "first") == [variables_file("first")]
    assert written(folder, root, "second") == ["host_vars/second/celery.yml", "hosts-second.yml"]
    assert written(folder, root, "second") == []
    assert (folder / HOSTS).read_text() == hosts


@pytest.mark.parametrize("name", [f"{SITE}.yml", SITE])
def test_variables_that_would_hide_each_other_are_refused(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "inventory", {f"host_vars/{name}": "a: b\n"})
    with pytest.raises(TutorError, match="reads only one of them"):
        planned_import(folder, read_project(project(tmp_path / "site")))
