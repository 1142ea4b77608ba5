# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions: read however people write them; one that nobody gives counts as new enough."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._versions import Version, as_text, older

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
        (5.6, (5, 6)),
        ("", None),
        (None, None),
    ],
)
def test_a_version_is_read_as_people_and_servers_write_it(written: Any, expected: Version | None) -> None:
    assert fleet_of(**one_variant(), versions={"celery": written}).versions.celery == expected


@pytest.mark.parametrize("written", ["5", "latest", 5, "five.six", True])
def test_what_is_no_version_is_refused_with_the_variable_that_holds_it(written: Any) -> None:
    (problem,) = problems_of(**one_variant(), versions={"keda": written})
    assert problem.startswith(f"celery_workers_keda_version: '{written}' is no version; write it as '5.6'")


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
