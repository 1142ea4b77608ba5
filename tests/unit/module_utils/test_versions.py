# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions: read however people write them; one that nobody gives counts as new enough."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.versions import Version, as_text, older

from tests.unit.inventories import fleet_of, one_variant, problems_of


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5.6", (5, 6)),
        ("5.6.3", (5, 6, 3)),
        ("v1.36.2", (1, 36, 2)),
        ("v1.33.1-gke.100", (1, 33, 1)),
        ("5.5.0rc1", (5, 5, 0)),
        (" 2.20.2 ", (2, 20, 2)),
        ("", None),
        (None, None),
    ],
)
def test_a_version_is_read_as_people_and_servers_write_it(written: Any, expected: Version | None) -> None:
    assert (
        fleet_of(**one_variant({"accept_risks": ["version"]}), versions={"celery": written}).versions.celery == expected
    )


@pytest.mark.parametrize("written", ["5", "latest", "five.six", True])
def test_what_is_no_version_is_refused_with_the_variable_that_holds_it(written: Any) -> None:
    (problem,) = problems_of(**one_variant(), versions={"keda": written})
    assert problem.startswith(f"celery_workers_keda_version: '{written}' is no version; write it as '5.6'")


@pytest.mark.parametrize("software", ["celery", "kombu", "keda", "kubernetes"])
@pytest.mark.parametrize("written", [2.2, 5.6, 1, 30])
def test_a_number_is_refused_because_yaml_has_changed_it(software: str, written: float) -> None:
    (problem,) = problems_of(**one_variant(), versions={software: written})
    assert problem.startswith(f"celery_workers_{software}_version: {written} is a number")
    assert "write the version in quotes" in problem


KEDA = {"enable_keda": True, "min_replicas": 1}


@pytest.mark.parametrize(
    ("software", "old", "oldest"),
    [("celery", "5.3.6", "5.4"), ("keda", "2.11.2", "2.12"), ("kubernetes", "1.22.17", "1.23")],
)
def test_a_release_below_the_oldest_that_works_is_refused_once(software: str, old: str, oldest: str) -> None:
    keys = {**KEDA, "in_flight": True, "acks_late": True, "idempotent": True, "longest_task_seconds": 60}
    (problem,) = problems_of(**one_variant(keys), versions={software: old})
    assert problem.startswith(f"celery_workers_{software}_version: ")
    assert f"{old} is older than {oldest}" in problem
    assert "accept_risks: [version]" in problem
    accepted = one_variant({**keys, "accept_risks": ["version"]})
    assert getattr(fleet_of(**accepted, versions={software: old}).versions, software) is not None
    assert fleet_of(**one_variant(keys), versions={software: oldest})


def test_a_keda_that_no_variant_needs_may_be_old() -> None:
    assert fleet_of(**one_variant(), versions={"keda": "2.8"}).versions.keda == (2, 8)


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ((5, 4), "5.5", True),
        ((5, 4, 9), "5.5", True),
        ((5, 5), "5.5", False),
        ((5, 5, 0), "5.5", False),
        ((5, 10), "5.9", False),
        ((6, 0), "5.9", False),
        (None, "5.5", False),
    ],
)
def test_versions_compare_by_their_numbers(version: Version | None, wanted: str, expected: bool) -> None:
    assert older(version, wanted) is expected


def test_a_version_is_shown_as_it_was_written() -> None:
    assert as_text((5, 6, 3)) == "5.6.3"
