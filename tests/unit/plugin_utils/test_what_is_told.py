# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells: tables, files and refused Secrets are readable and hold no secret value."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.queueops.celery.plugins.module_utils._cluster.manifest_tree import TreeError
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import plural
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import covers
from ansible_collections.queueops.celery.plugins.module_utils._read.role_variables import NO_NAMESPACE
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils._files import near_path, write_private, write_text
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import (
    VariableError,
    read_variables,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import (
    kubeconfig_problem,
    what_is_missing,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import outcome, table
from ansible_collections.queueops.celery.plugins.plugin_utils._secret_objects import refused_secrets

from tests.integration.cluster import _PATHS
from tests.support.secret_manifests import secret_manifests
from tests.unit.inventories import IMAGE

try:
    from ansible.template import trust_as_template as trusted
except ImportError:  # before ansible-core 2.19 every text is a template

    def trusted(value: str) -> str:
        """As it is."""
        return value


LAYERS = [
    {"name": "celery_workers_broker", "value": {"host": "redis", "password": "hunter2"}},
    {"name": "celery_workers_services", "value": {"billing": {"image": IMAGE}}},
    {"name": "celery_workers_config", "value": {"billing": {"default": None}}},
]
SECRETS = secret_manifests(LAYERS, "shop")


def test_a_refused_secret_is_named_without_its_value() -> None:
    encoded = SECRETS[0]["data"]["password"]
    result = {"changed": False, "result": {}, "error": {"msg": f"bad value {encoded} or hunter2"}}
    (line,) = refused_secrets(result, SECRETS)
    assert line.startswith("Secret shop-celery-broker was refused: bad value ********")
    assert encoded not in line
    assert "hunter2" not in line
    assert refused_secrets({"failed": True, "msg": "no hunter2"}, SECRETS) == ["The Secrets were not sent: no ********"]
    assert refused_secrets({"skipped": True, "msg": "x"}, SECRETS) == []


def test_a_value_of_several_lines_or_at_the_end_of_a_long_message_is_redacted_too() -> None:
    layers = [{**LAYERS[0], "value": {"host": "redis", "password": "first-line\nsecond-line"}}, *LAYERS[1:]]
    error = {"changed": False, "result": {}, "error": {"msg": "bad value first-line\nsecond-line"}}
    assert "second-line" not in refused_secrets(error, secret_manifests(layers, "shop"))[0]
    long = {"changed": False, "result": {}, "error": {"msg": "x" * 490 + " hunter2 hunter2"}}
    assert "hunt" not in refused_secrets(long, SECRETS)[0]


def test_a_table_has_its_columns_one_under_the_other() -> None:
    rows: list[dict[str, Any]] = [
        {"service": "billing", "list_length": 5, "queues": ["a", "b"]},
        {"service": "x", "list_length": None, "queues": []},
    ]
    assert table(rows, ["service", "list_length", "queues"]) == [
        "service  list length  queues",
        "billing  5            a, b",
        "x        -",
    ]
    assert table([], ["service"]) == ["service"]


def test_what_was_done_is_counted_and_named_by_kind() -> None:
    created = ["Deployment a", "ScaledObject a", "Deployment b"]
    assert outcome(created, [], ["Secret c"], checks=False) == [
        "created: 3",
        "  Deployment a, b",
        "  ScaledObject a",
        "removed: 1",
        "  Secret c",
    ]
    assert outcome(created, [], [], checks=True)[0] == "would be created: 3"
    assert outcome([], [], [], checks=False) == ["nothing changed"]
    assert outcome([], [], [], checks=True) == ["nothing to change"]


def test_a_file_is_shown_as_a_person_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert near_path(str(tmp_path / "manifests" / "shop")) == "manifests/shop"
    assert near_path("/elsewhere/manifests") == "/elsewhere/manifests"


def test_a_file_is_written_once_and_never_in_a_dry_run(tmp_path: Path) -> None:
    target = tmp_path / "plugins" / "queueops_celery.py"
    assert write_text(str(target), "a = 1\n", checks=True)[0]
    assert not target.exists()
    changed, diff = write_text(str(target), "a = 1\n", checks=False)
    assert (changed, diff["before"], diff["after"]) == (True, "", "a = 1\n")
    assert (target.read_text(encoding="utf-8"), oct(target.stat().st_mode & 0o777)) == ("a = 1\n", "0o644")
    assert not write_text(str(target), "a = 1\n", checks=False)[0]


def test_a_private_file_is_for_its_owner_only_also_where_it_was_not(tmp_path: Path) -> None:
    target = tmp_path / "secrets.yaml"
    target.write_text("a: 1\n", encoding="utf-8")
    target.chmod(0o644)
    assert write_private(str(target), "a: 1\n", checks=False)
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    assert not write_private(str(target), "a: 1\n", checks=False)


def test_a_file_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TreeError, match=r"file.* cannot be written: "):
        write_text(str(tmp_path / "file" / "plugin.py"), "a", checks=False)


@pytest.mark.parametrize(
    ("live", "patch", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": None}, True),
        ({"b": None}, {"b": None}, True),
        ({"b": 1}, {"b": None}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": {"b": None}}, False),
        ({}, {"a": []}, True),
        ({"a": [{"name": "x", "filled": 1}]}, {"a": [{"name": "x"}]}, True),
        ({"a": [{"name": "x"}, {"name": "y"}]}, {"a": [{"name": "x"}]}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
    ],
)
def test_a_patch_changes_nothing_if_all_of_it_is_there(live: object, patch: object, expected: bool) -> None:
    assert covers(live, patch) == expected


def test_every_kind_is_read_under_the_path_that_servers_have() -> None:
    assert {kind: plural(kind) for kind in _PATHS} == {kind: path for kind, (_prefix, path) in _PATHS.items()}


def test_what_is_not_installed_is_told_with_the_command_that_installs_it() -> None:
    gone = ImportError("No module named 'ansible_collections.kubernetes'")
    assert what_is_missing(None, has_client=True) == ""
    assert "ansible-galaxy collection install kubernetes.core" in what_is_missing(gone, has_client=True)
    without = what_is_missing(None, has_client=False)
    assert f"{sys.executable} -m pip install kubernetes" in without


@pytest.mark.parametrize(
    ("contents", "context", "expected"),
    [
        ([], "", "There is no kubeconfig at /no/config, or it cannot be read. celery_workers_kubeconfig names it"),
        (["contexts: [{name: a}, {name: b}]"], "c", "no context c, which K8S_AUTH_CONTEXT names. It has: a, b."),
        (["contexts: [{name: a}]", "contexts: [{name: c}]"], "c", ""),
        (["contexts: [{name: a}]"], "", ""),
        (["a: [", ""], "", "no YAML"),
    ],
)
def test_a_kubeconfig_that_does_not_fit_is_told_with_the_variable(
    contents: list[str], context: str, expected: str
) -> None:
    found = kubeconfig_problem("/no/config", "celery_workers_kubeconfig", contents, context, "K8S_AUTH_CONTEXT")
    assert expected in found
    assert bool(expected) == bool(found)


def _templar(values: dict[str, Any]) -> Any:
    return Templar(loader=DataLoader(), variables=values)


def test_every_undefined_variable_is_told_once_with_where_it_is_used() -> None:
    values = {
        "celery_workers_namespace": "shop",
        "celery_workers_broker": {"host": trusted("{{ a1 }}-{{ a2 }}"), "password": trusted("{{ b1 }}")},
        "celery_workers_config": {"billing": {"default": {"env": {"X": trusted("{{ b1 }}")}}}},
        "celery_workers_flower": trusted("{{ c1 | default({}) }}"),
    }
    with pytest.raises(VariableError) as error:
        read_variables(_templar(values), values, ())
    lines = str(error.value).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "The variable a1 is not defined",
        "The variable a2 is not defined",
        "The variable b1 is not defined",
    ]
    assert "celery_workers_broker.password, celery_workers_config.billing.default.env.X use it" in lines[2]


@pytest.mark.parametrize("given", [{}, {"celery_workers_namespace": None}, {"celery_workers_namespace": ""}])
def test_a_namespace_that_is_not_set_is_one_problem_beside_all_others(given: dict[str, Any]) -> None:
    values = {
        "celery_workers_fleet": trusted("{{ celery_workers_namespace }}"),
        "celery_workers_broker": {"host": trusted("redis.{{ celery_workers_namespace }}.svc")},
        "celery_workers_services": {"billing": {"image": "registry.example/billing:1"}},
        "celery_workers_config": {"billing": {"default": {"replicas": "many"}}},
        "celery_workers_output": "manifest",
        **given,
    }
    with pytest.raises(InventoryError) as error:
        parse_fleet(read_variables(_templar(values), values, ()).inventory())
    assert [problem.path for problem in error.value.problems] == [
        "celery_workers_namespace",
        "celery_workers_output",
        "celery_workers_config.billing.default.replicas",
    ]
    assert error.value.problems[0] == NO_NAMESPACE


def test_a_variable_of_a_wrong_kind_is_told_beside_one_that_is_not_defined() -> None:
    values = {"celery_workers_namespace": "shop", "celery_workers_context": trusted("{{ nowhere }}")}
    with pytest.raises(VariableError) as error:
        read_variables(_templar(values), {**values, "celery_workers_wait": "soon"}, ())
    lines = str(error.value).splitlines()
    assert lines[0].startswith("The variable nowhere is not defined, and celery_workers_context uses it.")
    assert lines[1] == "celery_workers_wait: 'soon' is not valid here; write true or false."
