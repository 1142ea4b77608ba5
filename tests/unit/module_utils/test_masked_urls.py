# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refused URL shows nothing of what comes after its question mark, wherever it was written."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.masks import without_queries

from tests.unit.inventories import SCALED, one_variant, problems_of

TOKEN = "s3cretT0ken99"
URLS = [
    f"http://p:9090/api/v1?token={TOKEN}",
    f"p:9090/?token={TOKEN}",
    f"http://p 9090/?a=b&token={TOKEN}",
    f"ftp://p/?{TOKEN}",
    f"http://p:99999/#token={TOKEN}",
    f"http://p:9090/?token={TOKEN}#x",
]


def _inventory(place: str, url: str) -> dict[str, Any]:
    """An inventory that has a URL where it is refused."""
    parts: dict[str, dict[str, Any]] = {
        "prometheus": {"prometheus": url},
        "prometheus.url": {"prometheus": {"url": url, "secret": {"name": "a", "token_key": "t"}}},
        "list": {"prometheus": {"url": [url]}},
        "runbook": {"enabled": ("prometheus_rule",), "prometheus_rule": {"runbook_url": f"see {url}"}},
        "host": {"broker": {"host": url}},
        "endpoint": {"broker": {"type": "sqs", "region": "eu-west-1", "endpoint": url}},
        "broker": {"broker": {"url": f"no{url}"}},
        "ingress": {"enabled": ("flower",), "flower": {"ingress": {"host": url}}},
    }
    keys: dict[str, Any] = {
        "image": {"image": f"{url} "},
        "argument": {"extra_params": [f"--broker={url}"]},
        "queue": {"queues": [f"{url},"]},
    }
    return {**one_variant({**SCALED, **keys.get(place, {})}), **parts.get(place, {})}


PLACES = ["prometheus", "prometheus.url", "list", "runbook", "host", "endpoint", "broker", "ingress", "image", "queue"]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("place", [*PLACES, "argument"])
def test_no_refusal_shows_the_query_of_a_url(place: str, url: str) -> None:
    found = "\n".join(problems_of(**_inventory(place, url)))
    assert TOKEN not in found
    assert TOKEN.lower() not in found


def test_a_login_in_a_query_is_told_where_it_belongs() -> None:
    (problem,) = problems_of(**one_variant(SCALED), prometheus=f"http://p:9090/?token={TOKEN}")
    assert "secret: {name: …, token_key: …}" in problem


@pytest.mark.parametrize(
    "text",
    [
        "did you mean 'url'? Write a whole number, 1 or more.",
        "write http://p:9090 and the prefix alone.",
        "write name=value, with commas between several.",
        "see https://example.org/page",
    ],
)
def test_what_is_no_query_stays(text: str) -> None:
    assert without_queries(text) == text
