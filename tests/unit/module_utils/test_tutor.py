# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Tutor project is read for what workers need, a folder that is none is refused, and no password leaves it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor import (
    TutorBroker,
    TutorError,
    broker_of,
    observed_of,
    read_project,
)
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor_routes import routes_of
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor_workers import other_workers, workers_of

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


def refusal(root: Path) -> str:
    with pytest.raises(TutorError) as caught:
        read_project(root)
    return str(caught.value)


def test_a_project_is_read(tmp_path: Path) -> None:
    found = read_project(project(tmp_path, namespace="campus"))
    assert (found.namespace, found.version) == ("campus", "22.0.3")
    observed = observed_of(found)
    assert [item.name for item in observed.objects] == ["lms-worker", "cms-worker"]
    source = observed.source("lms-worker")
    assert source is not None
    assert source.keys["image"] == "registry.example/openedx:1"
    [volume] = source.keys["volumes"]
    assert volume["configMap"]["name"].startswith("openedx-config-")
    live = observed.find("Deployment", "lms-worker")
    assert live is not None
    assert live.words["args"][-1] == "--queues=default,high,high_mem".replace("=", "=edx.lms.core.").replace(
        ",", ",edx.lms.core."
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((), "there is no folder {root}. Write what this prints: tutor config printroot"),
        (("env/kustomization.yml",), "{root} has no config.yml, so it is no Tutor project."),
        (
            ("config.yml",),
            "{root} has no env/kustomization.yml, so the project was never rendered. Run: tutor config save",
        ),
    ],
)
def test_a_folder_that_is_no_project_is_refused_with_what_to_do(
    made: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    root = tmp_path / "site"
    write(root, dict.fromkeys(made, "{}"))
    assert said.format(root=root) in refusal(root)
    assert refusal(root).startswith("celery_workers_tutor_root: ")


def test_the_rendered_part_of_a_project_is_refused_and_the_project_named(tmp_path: Path) -> None:
    assert refusal(project(tmp_path) / "env").endswith(f"Write {tmp_path}")


def test_a_rendering_that_lacks_a_file_is_to_be_made_again(tmp_path: Path) -> None:
    (project(tmp_path) / "env" / "k8s" / "deployments.yml").unlink()
    assert refusal(tmp_path).endswith("No such file or directory. Render the project again: tutor config save")


def test_a_configuration_that_is_no_yaml_is_named_and_not_shown(tmp_path: Path) -> None:
    write(project(tmp_path), {"config.yml": f"KEY: [\n{PASSWORD}: :\n"})
    assert "config.yml, line" in refusal(tmp_path)
    assert PASSWORD not in refusal(tmp_path)


def test_a_configuration_may_be_a_link(tmp_path: Path) -> None:
    root = project(tmp_path / "site", settings={"K8S_NAMESPACE": "linked"}, namespace=None)
    (root / "config.yml").rename(tmp_path / "kept.yml")
    (root / "config.yml").symlink_to(tmp_path / "kept.yml")
    assert read_project(root).namespace == "linked"


# Passwords

LONG = "a-long-password"
SHORT = "kurz17"


@pytest.mark.parametrize(
    "item",
    [
        deployment("flower", env=[{"name": "FLOWER_BASIC_AUTH", "value": PASSWORD}]),
        deployment("flower", env=[{"name": "URL", "value": f"redis://:{LONG}@redis:6379/0"}]),
        deployment("flower", env=[{"name": "OPTIONS", "value": f"--password={LONG} --more"}]),
        deployment("redis", env=[{"name": "START_WITH", "value": SHORT}]),
        deployment("redis", "redis-server", f"--requirepass={LONG}"),
        deployment("redis", "redis-server", "--requirepass", LONG),
        deployment("lms-worker", "celery", "--app=lms.celery", "worker", f"--broker=redis://:{LONG}@redis"),
        {**deployment("x"), "metadata": {"name": "x", "annotations": {"note": LONG}}},
    ],
    ids=["named", "url", "part", "short", "word", "words", "broker", "annotation"],
)
def test_no_password_of_the_project_is_in_what_is_observed(item: Json, tmp_path: Path) -> None:
    settings = {"CELERY_FLOWER_BASIC_AUTH": PASSWORD, "REDIS_PASSWORD": LONG, "SMTP_PASSWORD": SHORT}
    found = read_project(project(tmp_path, [item], settings))
    shown = json.dumps(asdict(observed_of(found)))
    assert PASSWORD not in shown
    assert LONG not in shown
    assert SHORT not in shown
    assert PASSWORD not in repr(found)


def test_the_name_of_a_secret_variable_is_kept_and_the_rest_of_the_environment_too(tmp_path: Path) -> None:
    entries = [{"name": "SEARCH_MASTER", "value": PASSWORD}, {"name": "SERVICE_VARIANT", "value": "lms"}]
    found = observed_of(read_project(project(tmp_path, [deployment("lms-worker", env=entries)])))
    source = found.source("lms-worker")
    assert source is not None
    assert (source.secret_env, source.keys["env"]) == (("SEARCH_MASTER",), [entries[1]])


# Brokers


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ({}, TutorBroker()),
        (
            {
                "CELERY_BROKER_HOSTNAME": "cache.example.com:6380",
                "CELERY_BROKER_VHOST": "3",
                "CELERY_BROKER_USER": "edx",
                "CELERY_BROKER_PASSWORD": PASSWORD,
            },
            TutorBroker("redis", "cache.example.com", 6380, 3, "edx", has_password=True),
        ),
        ({"CELERY_BROKER_TRANSPORT": "rediss"}, TutorBroker(uses_tls=True)),
        ({"BROKER_USE_SSL": {"ssl_cert_reqs": "required"}}, TutorBroker(uses_tls=True)),
        ({"CELERY_BROKER_TRANSPORT": "sentinel"}, TutorBroker("sentinel")),
    ],
)
def test_the_broker_is_the_one_that_the_platform_is_told(platform: Json, expected: TutorBroker, tmp_path: Path) -> None:
    assert broker_of(read_project(project(tmp_path, platform=platform))) == expected


def test_without_settings_of_the_platform_those_of_the_project_count(tmp_path: Path) -> None:
    root = project(tmp_path, settings={"REDIS_HOST": "cache", "REDIS_PORT": 6380, "REDIS_PASSWORD": PASSWORD})
    for service in ("lms", "cms"):
        (root / f"env/apps/openedx/config/{service}.env.yml").write_text("a: [")
    found = read_project(write(root, {"env/kustomization.yml": {"resources": ["k8s/deployments.yml"]}}))
    assert broker_of(found) == TutorBroker(host="cache", port=6380, has_password=True)


def test_what_a_redis_does_when_it_is_full_is_read_from_what_it_mounts(tmp_path: Path) -> None:
    item = deployment("redis", pod={"volumes": [{"name": "config", "configMap": {"name": "redis-config"}}]})
    root = project(tmp_path, [item], configMapGenerator=[{"name": "redis-config", "files": ["apps/redis/redis.conf"]}])
    write(root, {"env/apps/redis/redis.conf": "maxmemory 4gb\nmaxmemory-policy allkeys-lru\n"})
    assert observed_of(read_project(root)).redis_policies == {"redis": "allkeys-lru"}


# Workers


def test_workers_are_found_with_their_variants_scalers_and_rivals(tmp_path: Path) -> None:
    high = worker(
        "lms", "lms-worker-high-mem", "edx.lms.core.high_mem", options=("--max-tasks-per-child=100", "--pool=threads")
    )
    scaler = scaled_object("lms-worker-high-mem", "edx.lms.core.high_mem", maxReplicaCount=5, listLength=3)
    found = read_project(project(tmp_path, [*default_workers(), high, scaler, autoscaler("lms-worker", "cpu")]))
    workers = {item.deployment: item for item in workers_of(found)}
    assert {name: (item.service, item.variant) for name, item in workers.items()} == {
        "lms-worker": ("lms", "default"),
        "cms-worker": ("cms", "default"),
        "lms-worker-high-mem": ("lms", "high_mem"),
    }
    high_mem = workers["lms-worker-high-mem"]
    assert high_mem.options == ("--pool=threads",)
    assert high_mem.scaler is not None
    assert (high_mem.scaler.fewest, high_mem.scaler.most, high_mem.scaler.list_length) == (0, 5, 3)
    assert [item.name for item in workers["lms-worker"].rivals] == ["cpu"]
    assert {item.kind for item in observed_of(found).autoscalers} == {"ScaledObject", "HorizontalPodAutoscaler"}


def test_workers_of_other_apps_are_only_named(tmp_path: Path) -> None:
    other = deployment("superset-worker", "celery", "--app=superset.tasks", "worker")
    found = read_project(project(tmp_path, [*default_workers(), other, deployment("lms", "uwsgi")]))
    assert other_workers(found) == ("superset-worker",)


def test_no_secret_stays_in_the_options_of_a_worker(tmp_path: Path) -> None:
    item = worker("lms", "lms-worker-high", "edx.lms.core.high", options=(f"--broker=redis://:{LONG}@redis", "-c", "2"))
    [found] = workers_of(read_project(project(tmp_path, [item])))
    assert (found.options, found.unread) == (("-c", "2"), ("--broker",))


# Routes

PLUGIN = """\
from cms.envs.production import *
try:
    EXPLICIT_QUEUES.update({'a.task': {'queue': 'edx.lms.core.high'}})
except NameError:
    EXPLICIT_QUEUES = {'never': {'queue': 'read'}}
"""


@pytest.mark.parametrize(
    ("text", "queues", "unread"),
    [
        (PLUGIN, {"a.task": "edx.lms.core.high"}, ()),
        ("EXPLICIT_QUEUES['a'] = {'queue': 'q'}\nEXPLICIT_QUEUES['b'] = 'r'\n", {"a": "q", "b": "r"}, ()),
        ("EXPLICIT_QUEUES.update({'a': 'q'})\nEXPLICIT_QUEUES = {'b': 'r'}\n", {"b": "r"}, ()),
        ("x = 1\nEXPLICIT_QUEUES.update(other())\n", {}, (2,)),
        ("EXPLICIT_QUEUES.pop('a')\n", {}, (1,)),
        ("this is no python", {}, ()),
        ("", {}, ()),
    ],
)
def test_routes_are_those_of_the_rendered_settings(
    text: str, queues: dict[str, str], unread: tuple[int, ...], tmp_path: Path
) -> None:
    found = routes_of(read_project(project(tmp_path, production={"cms": text})), "cms")
    assert (found.queues, found.unread) == (queues, unread)
