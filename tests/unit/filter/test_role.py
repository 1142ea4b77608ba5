# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role: what they hand on is readable and holds no secret value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.queueops.celery.plugins.filter.role import FilterModule

from tests.unit.inventories import IMAGE

FILTERS = FilterModule().filters()
LAYERS = [
    {"name": "celery_workers_broker", "value": {"host": "redis", "password": "hunter2"}},
    {"name": "celery_workers_services", "value": {"billing": {"image": IMAGE}}},
    {"name": "celery_workers_config", "value": {"billing": {"default": None}}},
]
SECRETS: list[dict[str, Any]] = FILTERS["secret_manifests"](LAYERS, "shop")


def test_a_broken_inventory_is_told_by_the_filter_as_by_a_module() -> None:
    layers = [*LAYERS, {"name": "celery_workers_config__90_host", "value": {"billing": {"default": {"pol": 1}}}}]
    with pytest.raises(AnsibleFilterError, match=r"celery_workers_config__90_host\.billing\.default\.pol"):
        FILTERS["secret_manifests"](layers, "shop")


CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
NOTHING_THERE: dict[str, Any] = {"objects": []}


@pytest.mark.parametrize("shows_diff", [True, False])
def test_a_report_tells_of_secrets_without_their_values(shows_diff: bool) -> None:
    sent = {"changed": True, "method": "patch", "result": SECRETS[0], "diff": {"after": SECRETS[0]}}
    applied = {"changed": True, "method": "apply", "result": CONFIG_MAP}
    found = FILTERS["report_of"]([CONFIG_MAP], [CONFIG_MAP], applied, SECRETS, sent, NOTHING_THERE, shows_diff)
    assert "hunter2" not in str(found)
    assert "aHVudGVyMg" not in str(found)
    assert [item["metadata"]["name"] for item in found["sent"]] == ["shop-celery-broker", "a"]
    assert [item["changed"] for item in found["results"]] == [True, True]
    assert found["not_sent"] == []


def test_what_a_dry_run_could_not_send_is_reported_without_values_too() -> None:
    skipped = {"skipped": True, "changed": False}
    found = FILTERS["report_of"]([CONFIG_MAP], [], skipped, SECRETS, skipped, NOTHING_THERE, True)
    assert (found["sent"], found["results"]) == ([], [])
    assert found["not_sent"][1] == CONFIG_MAP
    assert found["not_sent"][0]["data"] == {"url": "(not shown)", "password": "(not shown)"}


def test_a_refused_secret_is_named_without_its_value() -> None:
    encoded = SECRETS[0]["data"]["password"]
    result = {"changed": False, "result": {}, "error": {"msg": f"bad value {encoded} or hunter2"}}
    (line,) = FILTERS["refused_secrets"](result, SECRETS)
    assert line.startswith("Secret shop-celery-broker was refused: bad value ********")
    assert encoded not in line
    assert "hunter2" not in line
    assert FILTERS["refused_secrets"]({"failed": True, "msg": "no hunter2"}, SECRETS) == [
        "The Secrets were not sent: no ********"
    ]
    assert FILTERS["refused_secrets"]({"skipped": True, "msg": "x"}, SECRETS) == []


def test_a_value_of_several_lines_or_at_the_end_of_a_long_message_is_redacted_too() -> None:
    layers = [{**LAYERS[0], "value": {"host": "redis", "password": "first-line\nsecond-line"}}, *LAYERS[1:]]
    secrets = FILTERS["secret_manifests"](layers, "shop")
    error = {"changed": False, "result": {}, "error": {"msg": "bad value first-line\nsecond-line"}}
    assert "second-line" not in FILTERS["refused_secrets"](error, secrets)[0]
    long = {"changed": False, "result": {}, "error": {"msg": "x" * 490 + " hunter2 hunter2"}}
    assert "hunt" not in FILTERS["refused_secrets"](long, SECRETS)[0]


@pytest.mark.parametrize(
    ("changed", "version", "expected"), [(True, "7", "changes"), (True, "8", "8"), (False, "7", "7")]
)
def test_a_secret_that_was_sent_has_its_new_version(changed: bool, version: str, expected: str) -> None:
    old = {"kind": "Secret", "name": "s", "labels": {}, "resource_version": "7"}
    result = {"changed": changed, "result": {"metadata": {"name": "s", "resourceVersion": version}}}
    observed = {"objects": [old], "namespace_exists": True}
    found = FILTERS["with_secret_versions"](observed, result)
    assert [item["resource_version"] for item in found["objects"]] == [expected]
    assert observed["objects"] == [old]


def test_a_table_has_its_columns_one_under_the_other() -> None:
    rows = [
        {"service": "billing", "list_length": 5, "queues": ["a", "b"]},
        {"service": "x", "list_length": None, "queues": []},
    ]
    assert FILTERS["table"](rows, ["service", "list_length", "queues"]) == [
        "service  list length  queues",
        "billing  5            a, b",
        "x        -",
    ]
    assert FILTERS["table"]([], ["service"]) == ["service"]


def test_several_objects_are_one_file_of_several_documents() -> None:
    assert list(yaml.safe_load_all(FILTERS["yaml_documents"](SECRETS * 2))) == SECRETS * 2


def test_a_file_is_shown_as_a_person_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = {"path": str(tmp_path / "manifests" / "shop"), "files": {"Deployment billing-worker": "billing/x.yaml"}}
    (row,) = FILTERS["with_files"]([{"deployment": "billing-worker"}], tree)
    assert row["file"] == "manifests/shop/billing/x.yaml"
    assert FILTERS["near_path"]("/elsewhere/manifests") == "/elsewhere/manifests"
