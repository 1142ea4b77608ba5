# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable of the role: what is wrong with it is one problem in the collection's own words.

The variables come from the role's documentation, so that a new one is covered by itself.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.queueops.celery.plugins.module_utils._cluster.key_changes import POLICIES
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import LAYERED
from ansible_collections.queueops.celery.plugins.module_utils._read.role_variables import ROLE_VARIABLES
from ansible_collections.queueops.celery.plugins.module_utils._schema.versions import Versions
from ansible_collections.queueops.celery.plugins.module_utils.neighbours import objects_asked_for
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY, VALIDATE

from tests.support.thorough import some
from tests.unit.inventories import IMAGE
from tests.unit.model_cluster import ModelCluster, Object, run

PREFIX = "celery_workers_"
SPECS = Path(__file__).parents[3] / "roles" / "celery_workers" / "meta" / "argument_specs.yml"
OPTIONS: dict[str, Object] = {
    name.removeprefix(PREFIX): option
    for name, option in yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]["variables"][
        "options"
    ].items()
}
WHOLE: Object = {
    "broker": {"host": "redis"},
    "services": {"billing": {"image": IMAGE}},
    "config": {"billing": {"default": {}, "high": {"enable_keda": True, "min_replicas": 1}}},
    "flower_enabled": True,
    "flower": {"password": "a"},
    "explicit_queues": {"billing": {"billing.charge": {"queue": "high"}}},
}
#: What does not fit, by the documented type.
WRONG: dict[str, list[Any]] = {
    "bool": ["soon", 7, [True], {"a": True}, "", 1.5],
    "int": ["soon", [1], {"a": 1}, -1, True, "", 1.5, "1e3", 10**20],
    "float": ["soon", [1], {"a": 1}, -1, True, "", 10**20],
    "dict": ["soon", ["a"], 5, True, [{"a": 1}]],
    "str": [["a"], {"a": "b"}, True, 83, 2.2],
    "raw": [["a"], 5, True],
    "list": [5, True, {"a": "b"}, [["a"]], [1]],
}
TAKEN: dict[str, list[Any]] = {
    "bool": [True, "yes", "true", "True", "on", "1", 1, 0, "no", "False", " off "],
    "int": [0, 300, "300", " 300 ", 300.0],
    "float": [0.5, 12, "12", " 1.5 ", "1e2"],
}


#: What does not fit where the type alone says little.
WRONG_OF: dict[str, list[Any]] = {"prune": ["soon", "moved", 7, [True], {"a": True}, "", 1.5]}


def _wrong(name: str) -> list[Any]:
    if name in WRONG_OF:
        return WRONG_OF[name]
    choices = OPTIONS[name].get("choices")
    return [*WRONG[OPTIONS[name]["type"]], *(["nothing of the kind", f"{choices[-1]}x"] if choices else [])]


def _run(**variables: Any) -> tuple[ModelCluster, Object]:
    cluster = ModelCluster()
    return cluster, run(cluster, **{"reaches": VALIDATE, **WHOLE, **variables})


def test_the_whole_inventory_has_no_problem() -> None:
    assert not _run()[1].get("failed")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_value_is_one_problem_that_says_what_to_write(name: str) -> None:
    for value in _wrong(name):
        cluster, found = _run(**{name: value})
        assert found.get("failed"), value
        assert len(found["problems"]) == 1, found["msg"]
        path, _colon, message = found["problems"][0].partition(": ")
        assert path == PREFIX + name
        assert "write" in message.lower()
        for choice in filter(None, OPTIONS[name].get("choices", [])):
            assert choice in message
        assert not cluster.lists
        assert not cluster.sent


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_value_does_not_stop_the_look_at_other_hosts(name: str) -> None:
    for value in some(_wrong(name), name):
        variables = {PREFIX + key: item for key, item in {**WHOLE, "namespace": "shop", name: value}.items()}
        assert isinstance(objects_asked_for(variables), set)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option["type"] in TAKEN])
def test_text_that_templating_made_of_a_value_is_taken(name: str) -> None:
    for value in some(TAKEN[OPTIONS[name]["type"]], name):
        # Of a run that changes something, and of one that compares nothing, fail_on_drift is refused.
        more: Object = {"checks": True, "reaches": APPLY} if name == "fail_on_drift" else {}
        found = _run(**{name: value}, **more)[1]
        assert not found.get("problems"), found.get("msg")


@pytest.mark.parametrize("name", [name for name in ROLE_VARIABLES if name != "namespace"])
def test_null_is_the_default(name: str) -> None:
    assert not _run(**{name: None})[1].get("failed")


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if "choices" in option])
def test_a_mistyped_word_is_told_with_the_one_that_was_meant(name: str) -> None:
    word = OPTIONS[name]["choices"][-1]
    assert f"did you mean {word!r}?" in _run(**{name: f"{word[:-1]}-{word[-1]}"})[1]["msg"]


def test_what_is_wrong_is_told_together_with_the_rest_of_the_inventory() -> None:
    found = _run(state="deleted", wait_timeout="soon", broker={"hots": "redis"}, preset="opendex")[1]
    paths = [problem.partition(": ")[0] for problem in found["problems"]]
    assert {f"{PREFIX}state", f"{PREFIX}wait_timeout", f"{PREFIX}preset", f"{PREFIX}broker.hots"} <= set(paths), paths


@pytest.mark.parametrize("output", ["cluster", "manifests"])
def test_a_removal_with_a_wrong_value_is_refused(output: str) -> None:
    cluster, found = _run(state="absent", output=output, wait_timeout="soon")
    assert found["problems"] == [
        f"{PREFIX}wait_timeout: 'soon' is not valid here; write a whole number, 0 or more (seconds)."
    ]
    assert not cluster.sent


def test_the_words_are_those_that_the_steps_know() -> None:
    assert sorted(OPTIONS["key_change"]["choices"]) == sorted(POLICIES)


def test_every_documented_variable_is_checked_with_its_own_default_and_choices() -> None:
    elsewhere = {*LAYERED, "explicit_queues", *(f"{item.name}_version" for item in fields(Versions))}
    assert set(ROLE_VARIABLES) == set(OPTIONS) - elsewhere
    for name, variable in ROLE_VARIABLES.items():
        default = OPTIONS[name].get("default", "")
        if name != "namespace" and "{{" not in str(default):
            assert variable.default == default, name
        words = getattr(variable.check, "choices", ())
        assert sorted(words) == sorted(OPTIONS[name].get("choices", [])), name
