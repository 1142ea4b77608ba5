# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a status says of the runs before it: the last deploy, what came after it, and since when something differs."""

from __future__ import annotations

import json

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._model.history import (
    Changes,
    Record,
    fingerprint,
    record_from,
    with_record,
)
from ansible_collections.queueops.celery.plugins.module_utils._status.data import as_data, from_data
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import WIDTH, page

from tests.unit.status_cases import NOW, WORKER, Site

DEPLOY = Record("2026-11-30T13:03:00Z", "deploy", "anna", "1.0.0", changed=Changes(3, ("Deployment a",)))


def site_after(*records: Record, text: str = "") -> Site:
    """A site on which these runs were, one after the other."""
    site = Site()
    for record in records:
        text = with_record(text, record, 20)
    name = "shop-celery-history"
    site.live["ConfigMap", name] = {"metadata": {"name": name}, "data": {"history.json": text}}
    return site


def differing(site: Site) -> Site:
    site.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    return site


def said(site: Site) -> str:
    return " ".join(" ".join(page([site.status()], NOW)).split())


def test_a_page_says_when_and_by_whom_the_last_deploy_was_and_what_it_did() -> None:
    lines = page([site_after(DEPLOY).status()], NOW)
    assert "  last deploy: 13:03 by anna, 3 changed (collection 1.0.0)" in lines
    assert max(map(len, lines)) <= WIDTH


def test_one_of_another_day_has_its_day() -> None:
    early = Record("2026-11-28T09:15:00Z", "deploy", "anna", "1.0.0", created=Changes(2), removed=Changes(1))
    assert "last deploy: 2026-11-28 09:15 by anna, 2 created, 1 removed (collection 1.0.0)" in said(site_after(early))


def test_what_was_done_after_it_is_named_the_newest_first() -> None:
    later = [
        Record(f"2026-11-30T13:1{number}:00Z", "pause", "bea", changed=Changes(1), failed="no." if number == 3 else "")
        for number in range(5)
    ]
    shown = said(site_after(DEPLOY, *later))
    assert "after it: pause 13:14 by bea, 1 changed; pause 13:13 by bea, 1 changed, and it failed: no;" in shown
    assert "; and 2 more" in shown


def test_a_site_without_a_history_says_nothing_of_it() -> None:
    status = Site().status()
    assert "last deploy" not in " ".join(page([status], NOW))
    assert as_data(status)["last_deploy"] is None
    assert as_data(status)["history"] == []


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, " since the deploy of 13:03"),
        ({"failed": "x"}, " since the deploy of 13:03, which failed"),
        ({"inventory": "another"}, ", which has changed since the deploy of 13:03"),
    ],
)
def test_drift_is_told_with_the_deploy_since_which_it_may_be(changes: dict[str, str], since: str) -> None:
    record = record_from({**DEPLOY.data, "inventory": fingerprint(Site().fleet), **changes})
    site = differing(site_after(record))
    (problem,) = [one for one in site.status().all_problems if one.rule == "drifted"]
    assert problem.what.startswith(f"not as the inventory says{since}: Deployment {WORKER} ")


def test_programs_get_all_of_it() -> None:
    status = site_after(DEPLOY, Record("2026-11-30T13:10:00Z", "pause", "bea", changed=Changes(1))).status()
    data = json.loads(json.dumps(as_data(status)))
    assert [item["what"] for item in data["history"]] == ["pause", "deploy"]
    assert data["last_deploy"]["by"] == "anna"
    assert data["last_deploy"]["changed"] == {"count": 3, "names": ["Deployment a"]}
    assert data["inventory"] == fingerprint(Site().fleet)
    assert from_data(data) == status


@pytest.mark.parametrize("text", ["no JSON", '[{"time": "soon", "what": "deploy"}]', '[{"what": "deploy"}]'])
def test_what_others_wrote_into_it_is_left_out(text: str) -> None:
    assert site_after(text=text).status().history == ()


def test_signs_that_a_terminal_obeys_are_not_shown() -> None:
    shown = "\n".join(page([site_after(Record(DEPLOY.time, "deploy", "a\x1b[2Jb", changed=Changes(1))).status()], NOW))
    assert "\x1b" not in shown
