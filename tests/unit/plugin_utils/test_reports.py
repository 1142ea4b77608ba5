# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says at its end: one host in full, many hosts as one table, and the same for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.queueops.celery.plugins.action.fleet_apply import write_reports
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._reports import (
    HostReport,
    Progress,
    RunFolder,
    as_data,
    many_hosts,
    one_host,
    shared_warnings,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import fleet_table, table
from hypothesis import given
from hypothesis import strategies as st

MOST = 99


def row(**more: Any) -> dict[str, Any]:
    return {
        "service": "lms",
        "variant": "high",
        "queues": ["edx.lms.core.high"],
        "deployment": "lms-worker-high",
        "replicas": "0-25",
        "list_length": 40,
        "scaler": "keda",
        "to_zero": "yes, in-flight work is seen",
        **more,
    }


def report(host: str = "north", **more: Any) -> HostReport:
    found: dict[str, Any] = {
        "namespace": "shop",
        "rows": [row(), row(variant="low", replicas="2")],
        "waited": 0,
        **more,
    }
    return HostReport(host, **found)


def test_a_run_of_one_host_ends_with_what_was_done_what_is_up_and_what_comes_next() -> None:
    found = one_host(
        report(
            created=["Deployment a", "Deployment b", "Secret c"],
            changed=["ScaledObject d"],
            up=["Deployment a", "Deployment b", "ScaledObject a"],
            waited=12,
            next=["ask the workers"],
        )
    )
    assert found[0] == "north: namespace shop"
    assert found[1].split() == ["service", "variant", "queues", "pods", "list", "length", "scaler", "to", "zero"]
    assert found[4:] == [
        "",
        "  created: 3",
        "    Deployment a, b",
        "    Secret c",
        "  changed: 1",
        "    ScaledObject d",
        "",
        "  up after 12 s: all 2 Deployments, and KEDA scales 1 of them",
        "  next: ask the workers",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"check_mode": True, "created": ["Deployment a"], "next": ["advice for what has happened"]},
            ["would be created: 1", "check mode: nothing was sent", "next: the same command without --check"],
        ),
        ({"stage": "plan"}, ["planned: nothing was sent", "next: the same command without --tags plan"]),
        ({"waited": None}, ["nothing changed", "next: kubectl get deployments --namespace shop"]),
        ({"state": "absent", "rows": [], "removed": ["Secret a"]}, ["removed: 1", "finds nothing to remove"]),
        ({"notes": ["a file is gone"]}, ["  a file is gone"]),
        ({"explained": ["lms.high", "  max_replicas  25  x"]}, ["where the numbers come from:", "    lms.high"]),
        (
            {"failed": "The inventory has 1 problem.\nx: write y.", "stage": "apply"},
            ["failed:", "    The inventory has 1 problem.", "    x: write y."],
        ),
    ],
)
def test_the_end_fits_what_the_run_was_to_do(more: dict[str, Any], words: list[str]) -> None:
    found = "\n".join(one_host(report(**more)))
    assert [word for word in words if word not in found] == []
    # Only a run that has waited, or has seen it, knows what is up.
    is_known = not {"check_mode", "stage", "waited", "state", "failed"} & set(more)
    assert ("  up: " in found) is is_known


def test_a_step_that_a_run_does_not_have_leaves_no_line() -> None:
    failed = "\n".join(one_host(report(failed="x: write y.")))
    assert "nothing changed" not in failed
    plan = "\n".join(one_host(report(stage="plan")))
    assert "changed" not in plan
    assert "service" not in "\n".join(one_host(report(stage="validate")))


def test_tables_for_few_are_shown_with_v_only() -> None:
    tables = {"fleet": ["no second time"], "scaling": ["sees"], "flowers": ["flower"], "routes": ["r"] * 30}
    quiet, loud = (one_host(report(tables=tables), verbosity) for verbosity in (0, 1))
    assert [name in "\n".join(quiet) for name in ("no second time", "sees", "flower", "  r")] == [
        False,
        False,
        True,
        False,
    ]
    assert [name in "\n".join(loud) for name in ("no second time", "sees", "flower", "  r")] == [
        False,
        True,
        True,
        True,
    ]


def test_many_hosts_are_one_table_with_the_first_cause_of_those_that_failed() -> None:
    waits = (
        "Everything is applied, but after 2 seconds this is not up. A second run waits again.\n"
        "Deployment a: 0 of 1 pods are available, 1 run the new version. Pod a-1, container worker: ErrImagePull.\n"
        "ScaledObject a: not ready"
    )
    found = many_hosts(
        [
            report("north", created=["Deployment a"], removed=["Secret b"]),
            report("south", warnings=["one", "two"]),
            report("acme", failed=waits, created=["Deployment a"]),
            HostReport("globex", failed="celery_workers_namespace is not set."),
        ]
    )
    assert [line.split(maxsplit=5) for line in found[:5]] == [
        ["host", "variants", "pods", "changed", "warnings", "failed"],
        ["north", "2", "2-27", "2", "0", "-"],
        ["south", "2", "2-27", "0", "2", "-"],
        ["acme", "2", "2-27", "1", "0", "Deployment a: Pod a-1, container worker: ErrImagePull."],
        ["globex", "-", "-", "0", "0", "celery_workers_namespace is not set."],
    ]
    assert found[5:] == ["", "4 hosts: 1 changed, 1 unchanged, 2 failed"]
    dry = many_hosts([report("north", check_mode=True, created=["Deployment a"]), report("south", check_mode=True)])
    assert "would change" in dry[0]
    assert dry[-2:] == ["2 hosts: 1 would change, 1 unchanged, 0 failed", "check mode: nothing was sent or written"]


def test_notes_of_hosts_are_under_the_table_of_all() -> None:
    notes = ["These Secrets are not in the files:", "Secret a"]
    few = many_hosts([report("north", notes=notes), report("south")])
    assert few[-1] == "north: These Secrets are not in the files: Secret a"
    many = many_hosts([report(f"site{number}", notes=notes) for number in range(9)])
    assert [line.partition(":")[0] for line in many[-6:]] == [
        *(f"site{number}" for number in range(5)),
        "4 more hosts have notes, which -v shows",
    ]


def test_the_cause_of_a_crash_is_the_last_line_of_its_log() -> None:
    message = (
        "Everything is applied, but this does not come up by itself, so the run waits no longer.\n"
        "Deployment a: 0 of 1 pods are available, 1 run the new version. Pod a-1, container worker: it has ended 3 "
        "times, the last time with exit code 1. Its last lines:\n    Traceback\n    KeyError: 'SITE'\n"
        "ScaledObject a: KEDA has not looked at it yet"
    )
    assert report(failed=message).cause == (
        "Deployment a: Pod a-1, container worker: it has ended 3 times, the last time with exit code 1: "
        "KeyError: 'SITE'"
    )
    assert report(failed="The inventory has 2 problems.\n1. x: write y.\n2. y: write z.").cause == "x: write y."
    assert report(failed="").cause == ""


def test_a_warning_that_many_hosts_share_is_told_once_with_their_names() -> None:
    reports = [report(f"site{number}", warnings=["shared", *(["own"] if number == 3 else [])]) for number in range(9)]
    assert shared_warnings([*reports, report("failed", failed="x", warnings=["in its own result"])]) == [
        "site0, site1, site2 and 6 more hosts: shared",
        "site3: own",
    ]


_WORDS = st.text(alphabet="abc-._", min_size=1, max_size=70)


@given(st.lists(_WORDS, min_size=1, max_size=6), _WORDS, st.lists(_WORDS, max_size=30))
def test_no_table_is_wider_than_a_terminal_and_no_word_of_it_is_lost(
    queues: list[str], reason: str, hosts: list[str]
) -> None:
    lines = fleet_table([row(queues=queues, to_zero=f"no, {reason}")])
    assert max(map(len, lines)) <= MOST - 2
    shown = "".join("".join(lines).split())
    assert all(shown.count(character) >= ", ".join(queues).count(character) for character in "abc._")
    table_of_all = many_hosts([report("north", failed=" ".join(hosts)), report("south")])
    assert max(map(len, table_of_all)) <= MOST


def test_a_long_reason_of_several_rows_is_said_once_below_them() -> None:
    reason = "idempotent is false, so running work is invisible to KEDA"
    rows = [row(variant=name, queues=[f"a-name-of-a-queue-{name}"], to_zero=f"no, {reason}") for name in "abc"]
    lines = fleet_table([*rows, row(variant="d", to_zero="yes")])
    assert [line.split()[-2:] for line in lines[1:4]] == [["no", "[1]"]] * 3
    assert lines[4].endswith("yes")
    assert lines[5:] == [f"[1] {reason}"]
    assert max(map(len, lines)) < 100


def test_a_table_without_a_limit_stays_in_one_line_a_row() -> None:
    assert len(table([row(queues=["q" * 200])], ("service", "queues"))) == 2


# Who says it, and when

HOSTS = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("active", "batch", "reported", "failed", "stops", "expected"),
    [
        (HOSTS, HOSTS, HOSTS, (), False, True),
        # A failed host is no longer in the play.
        (("a", "c", "d"), ("a", "c", "d"), HOSTS, ("b",), False, True),
        ((), (), HOSTS, HOSTS, False, True),
        # A host that failed before the role never reports.
        (("a", "b", "c"), ("a", "b", "c"), ("a", "b", "c"), (), False, True),
        # serial: more batches come, unless this one has failed as a whole or the play stops at failures.
        (HOSTS, ("a", "b"), ("a", "b"), (), False, False),
        (("a", "c", "d"), ("a",), ("a", "b"), ("b",), False, False),
        (("a", "c", "d"), ("a",), ("a", "b"), ("b",), True, True),
        (("c", "d"), (), ("a", "b"), ("a", "b"), False, True),
        (HOSTS, ("a", "b"), ("a", "b"), ("a", "b"), False, True),
        # free: others are still at work.
        (HOSTS, HOSTS, ("a", "c"), (), False, False),
        (HOSTS, HOSTS, ("a",), ("a",), True, False),
    ],
)
def test_the_table_comes_after_the_last_host_that_will_be_worked_on(
    active: tuple[str, ...],
    batch: tuple[str, ...],
    reported: tuple[str, ...],
    failed: tuple[str, ...],
    stops: bool,
    expected: bool,
) -> None:
    reports = {host: HostReport(host, failed="x" if host in failed else "") for host in reported}
    progress = Progress(HOSTS, active, batch, stops)
    assert progress.is_over(reports) is expected


def test_a_host_that_stopped_before_the_role_is_in_the_table() -> None:
    progress = Progress(HOSTS, ("a", "b", "c"), ("a", "b", "c"))
    found = progress.all_reports({host: HostReport(host) for host in ("c", "a", "b")})
    assert [item.host for item in found] == list(HOSTS)
    assert "its message is above" in found[3].failed
    # A later batch that never started is none of this run.
    assert [item.host for item in Progress(HOSTS, HOSTS, ("a",)).all_reports({"a": HostReport("a")})] == ["a"]


def test_reports_cross_processes_whatever_a_host_is_called(tmp_path: Path) -> None:
    folder = RunFolder(HostFolder(tmp_path / "run"))
    assert folder.read() == {}
    written = [report("../north site", created=["Deployment a"], tables={"x": ["y"]}), report("s\u00fcd", waited=3)]
    for item in written:
        folder.write(item)
    folder.write(written[0])
    assert folder.read() == {item.host: item for item in written}
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "run"] * 2
    assert [folder.left.is_first("said"), folder.left.is_first("said"), folder.left.is_first("again")] == [
        True,
        False,
        True,
    ]


def test_the_report_file_has_the_table_and_what_is_behind_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "deep" / "other.json"
    reports = [
        report("north", report_file=str(one), created=["Deployment a"], warnings=["w"]),
        report("south", report_file=str(other)),
        # Its variables could not be read, so every file tells of it.
        HostReport("acme", failed="celery_workers_namespace: this is not set."),
    ]
    assert write_reports(reports) == [str(one), str(other)]
    found = json.loads(one.read_text(encoding="utf-8"))["hosts"]
    assert [host["host"] for host in found] == ["north", "acme"]
    assert found[0] == as_data(reports)[0]
    assert (found[0]["pods"], found[0]["created"], found[0]["failed"]) == (
        {"min": 2, "max": 27},
        ["Deployment a"],
        None,
    )
    assert found[0]["variants"][0]["max_pods"] == 25
    assert found[1]["cause"] == "celery_workers_namespace: this is not set."
    assert [host["host"] for host in json.loads(other.read_text(encoding="utf-8"))["hosts"]] == ["south", "acme"]
