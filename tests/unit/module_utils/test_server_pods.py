# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of Flower and of the exporter are judged as those of workers are: secrets, references, accepted risks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._build.watching import watching_resources
from ansible_collections.queueops.celery.plugins.module_utils._read.redaction import redacted_layers
from ansible_collections.queueops.celery.plugins.module_utils._schema.layers import PREFIX

from tests.unit.inventories import IMAGE, Manifest, fleet_of, problems_of

PARTS = pytest.mark.parametrize("part", ["flower", "exporter"])
SECRET_REFERENCE = {"name": "API", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}
VALUE = "4711-abc"


def variables(*parts: str, **given: Any) -> dict[str, Any]:
    """An inventory as the role hands it over: without secret values."""
    raw = {
        "services": {"billing": {"image": IMAGE}},
        "config": {"billing": {"default": {}}},
        "broker": {"host": "redis"},
        **given,
    }
    layers = redacted_layers([{"name": PREFIX + name, "value": value} for name, value in raw.items()])
    return {**{layer["name"].removeprefix(PREFIX): layer["value"] for layer in layers}, "enabled": parts}


def problem(part: str, keys: dict[str, Any]) -> str:
    (found,) = problems_of(**variables(part, **{part: keys}))
    return found


def container(part: str, keys: dict[str, Any]) -> Manifest:
    manifests = watching_resources(fleet_of(**variables(part, **{part: keys})))
    (deployment,) = [item for item in manifests if item["kind"] == "Deployment"]
    found: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@PARTS
@pytest.mark.parametrize(
    ("name", "value"), [("API_TOKEN", VALUE), ("DATABASE", "postgres://shop:hunter2@db/shop")], ids=["name", "url"]
)
@pytest.mark.parametrize("is_list", [True, False])
def test_a_secret_in_env_is_refused_and_an_accepted_one_arrives_as_written(
    part: str, name: str, value: str, is_list: bool
) -> None:
    env = [{"name": name, "value": value}] if is_list else {name: value}
    found = problem(part, {"env": env})
    assert found.startswith(f"celery_workers_{part}.env: {name} looks like a secret")
    assert "accept_risks: [plain-secret]" in found
    assert value not in found
    assert {"name": name, "value": value} in container(part, {"env": env, "accept_risks": ["plain-secret"]})["env"]


@PARTS
def test_what_one_pod_accepts_is_accepted_for_no_other(part: str) -> None:
    other = {"flower": "exporter", "exporter": "flower"}[part]
    service = {"billing": {"env": {"API_TOKEN": VALUE}, "image": IMAGE}}
    accepting = {part: {"accept_risks": ["plain-secret"]}, other: {"env": {"API_TOKEN": VALUE}}}
    given = variables(part, other, services=service, **accepting)
    assert VALUE not in str(given)
    paths = {found.partition(": ")[0] for found in problems_of(**given)}
    assert paths == {f"celery_workers_{other}.env", "celery_workers_services.billing.env"}


@PARTS
@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("env", {"env": {"A": "$(NOWHERE)"}}),
        ("extra_params", {"extra_params": ["--x=$(NOWHERE)"]}),
        ("containers", {"name": "", "env": [{"name": "A", "value": "$(NOWHERE)"}]}),
        ("initContainers", {"name": "i", "image": "i:1", "args": ["$(NOWHERE)"]}),
        ("containers", {"name": "s", "image": "s:1", "command": ["x", "$(NOWHERE)"]}),
    ],
    ids=["env", "arguments", "overrides", "init", "sidecar"],
)
def test_a_reference_that_leads_nowhere_is_refused(part: str, key: str, keys: dict[str, Any]) -> None:
    if "name" in keys:
        keys, key = {"pod_overrides": {key: [{**keys, "name": keys["name"] or part}]}}, "pod_overrides"
    found = problem(part, keys)
    assert found.startswith(f"celery_workers_{part}.{key}: ")
    assert "$(NOWHERE)" in found


@PARTS
@pytest.mark.parametrize("word", ["--x=$(API)", "--my-secret=$(API)", "--x=$(CELERY_FLOWER_PASSWORD)"])
def test_a_secret_in_an_argument_is_refused_and_an_accepted_one_arrives_as_written(part: str, word: str) -> None:
    keys = {"env": [SECRET_REFERENCE], "extra_params": [word]}
    found = problem(part, keys)
    assert found.startswith(f"celery_workers_{part}.extra_params: $(")
    assert "accept_risks: [secret-argument]" in found
    assert word in container(part, {**keys, "accept_risks": ["secret-argument"]})["args"]


@pytest.mark.parametrize(("part", "image"), [("flower", "mher/flower:1.0"), ("exporter", "me/celery-exporter:0.9.0")])
def test_an_image_that_is_too_old_can_be_accepted(part: str, image: str) -> None:
    assert problem(part, {"image": image}).startswith(f"celery_workers_{part}.image: ")
    assert container(part, {"image": image, "accept_risks": ["version"]})["image"] == image


@PARTS
@pytest.mark.parametrize("risks", [["invisible-work"], ["plain-sekret"]])
def test_a_rule_that_is_not_for_these_pods_is_one_problem(part: str, risks: list[str]) -> None:
    found = problem(part, {"accept_risks": risks, "env": {"API_TOKEN": VALUE}})
    assert found.startswith(f"celery_workers_{part}.accept_risks[0]")
    assert "plain-secret, secret-argument, version" in found


@pytest.mark.parametrize("place", ["sidecars", "init_containers"])
@pytest.mark.parametrize("field", ["args", "command"])
def test_a_reference_in_a_container_beside_the_worker_that_leads_nowhere_is_refused(place: str, field: str) -> None:
    def given(word: str) -> dict[str, Any]:
        item = {"name": "x", "image": "x:1", field: [word], "env": [SECRET_REFERENCE]}
        return {"services": {"billing": {"image": IMAGE, place: [item]}}, "config": {"billing": {"default": {}}}}

    (found,) = problems_of(**given("--to=$(NOWHERE)"))
    assert found.startswith(f"celery_workers_services.billing.{place}: $(NOWHERE) refers to a variable that")
    for word in ("--to=$(API)", "$$(NOWHERE)", "$(KUBERNETES_SERVICE_HOST)"):
        assert fleet_of(**given(word))
