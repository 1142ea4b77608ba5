# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did on each host, and how that reads: one host in full, many hosts as one table.

Hosts are worked on in processes of their own, and one that has failed takes no part in what follows. So each leaves
its report in the folder that Ansible keeps for the run and removes at its end, and the role's last task reads them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import takewhile
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import LAST_LINES
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import (
    WIDTH,
    fleet_table,
    folded,
    outcome,
    table,
)

#: Tables that a run of one host shows without -v, in this order.
_ALWAYS_SHOWN = ("flowers", "generated", "answers")
#: A table of routes that is longer is for -v.
_MOST_ROUTES = 10
#: Where a long message is cut in the table of many hosts.
_CAUSE = 160
#: What the table of many hosts leaves out of a Deployment's reason.
_COUNTS = re.compile(r": \d+ of \d+ pods are available, \d+ run the new version\. ")
#: Of several problems each has its number.
_NUMBER = re.compile(r"^\d+\. ")
NO_REPORT = "it stopped before its workers were looked at; its message is above"


@dataclass
class HostReport:
    """What a run did on one host.

    :param stage: how far it was to go: validate, plan or apply.
    :param rows: its variants.
    :param failed: why it stopped; empty if it did not.
    :param tables: lines by the name of the table.
    :param notes: what is to be known of what was done.
    :param up: what was waited for and is up.
    :param waited: seconds; none if nothing was waited for.
    :param next: what is to be done after the run.
    """

    host: str
    namespace: str = ""
    output: str = "cluster"
    state: str = "present"
    stage: str = "apply"
    check_mode: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    warnings: list[str] = field(default_factory=list)
    failed: str = ""
    tables: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    up: list[str] = field(default_factory=list)
    waited: int | None = None
    next: list[str] = field(default_factory=list)
    report_file: str = ""

    @property
    def changes(self) -> int:
        """How many objects or files were written or removed."""
        return len(self.created) + len(self.changed) + len(self.removed)

    @property
    def cause(self) -> str:
        """The first thing that stopped it, in one line."""
        return first_line_of(self.failed)

    @property
    def pods(self) -> str:
        """How many pods its variants have, from and to."""
        least, most = pods_of(self.rows)
        if not self.rows:
            return "-"
        return str(least) if least == most else f"{least}-{most}"

    def note_files(self, tree: Mapping[str, Any]) -> None:
        """What was written. Names are those below the folder of the host."""
        root = f"{tree['path']}/"
        new = {item["after_header"].removeprefix(root) for item in tree["diff"] if not item["before"]}
        self.created = [*(f"file {name}" for name in tree["written"] if name in new), *self.created]
        self.changed = [*(f"file {name}" for name in tree["written"] if name not in new), *self.changed]
        self.removed = [*(f"file {name}" for name in tree["removed"]), *self.removed]
        self.unchanged += len(set(tree["files"].values()) - set(tree["written"]))


def pods_of(rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """The fewest and the most pods of variants."""
    ranges = [str(row["replicas"]).partition("-") for row in rows]
    return sum(int(first) for first, _dash, _last in ranges), sum(int(last or first) for first, _dash, last in ranges)


def first_line_of(message: str) -> str:
    """What a message is about, in one line: its first cause, and of a log the last line."""
    lines = [line for line in message.splitlines() if line.strip()]
    # Such a first line only counts or says what was done before; the next one has the cause.
    counts = len(lines) > 1 and lines[0].startswith(("The inventory has ", "Everything is applied", "The API "))
    own = lines[1:] if counts else lines
    line = _COUNTS.sub(": ", _NUMBER.sub("", own[0].strip())) if own else ""
    if line.endswith(LAST_LINES):
        # The last line of a log is the one that tells.
        logged = list(takewhile(lambda text: text.startswith(" "), own[1:]))
        line = line.removesuffix(LAST_LINES).rstrip(" .") + (f": {logged[-1].strip()}" if logged else "")
    return line if len(line) <= _CAUSE else f"{line[: _CAUSE - 3]}..."


# One host


def one_host(report: HostReport, verbosity: int = 0) -> list[str]:
    """What a run of one host says at its end."""
    lines = [f"{report.host}: namespace {report.namespace}" if report.namespace else f"{report.host}:"]
    if report.rows and report.stage != "validate":
        lines += _indented(fleet_table(report.rows, WIDTH - 2))
    for name, shown in report.tables.items():
        if _is_shown(name, shown, verbosity):
            lines += ["", *_indented(shown)]
    if report.explained:
        lines += ["", "  where the numbers come from:", *_indented(_indented(report.explained))]
    if report.stage == "apply" and (not report.failed or report.changes):
        done = outcome(report.created, report.changed, report.removed, report.check_mode)
        lines += ["", *_indented(done)]
    lines += _indented(line for note in report.notes for line in folded(note))
    return [*lines, *_indented(_end(report))]


def _is_shown(name: str, lines: Sequence[str], verbosity: int) -> bool:
    if name == "fleet" or not lines:
        return False
    short_routes = name == "routes" and len(lines) <= _MOST_ROUTES + 1
    return verbosity > 0 or name in _ALWAYS_SHOWN or short_routes


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _end(report: HostReport) -> list[str]:
    """What is up, and what comes next."""
    if report.failed:
        return ["", "failed:", *_indented(_folded_lines(report.failed))]
    lines = [_state(report)] if _state(report) else []
    # Advice is for what has happened.
    advice = report.next if report.stage == "apply" and not report.check_mode else []
    return ["", *lines, *(line for text in advice or [_next(report)] for line in folded(f"next: {text}"))]


def _folded_lines(text: str) -> Iterator[str]:
    """The lines of a message. Those that are indented are of a log, and stay as they are."""
    for line in text.splitlines():
        yield from [line] if line.startswith(" ") else folded(line, WIDTH - 4)


def _state(report: HostReport) -> str:
    """What is up after the run, or why it has changed nothing."""
    if report.stage == "validate":
        return "checked: nothing is wrong; nothing was planned or sent"
    if report.stage == "plan":
        return "planned: nothing was sent or written"
    if report.check_mode:
        return "check mode: nothing was sent or written"
    if report.state == "absent" or report.output == "manifests":
        return ""
    if report.waited is None:
        return "not waited for: this run does not know whether the workers are up"
    after = f" after {report.waited} s" if report.waited else ""
    kinds = [name.partition(" ")[0] for name in report.up]
    scaled, jobs, deployments = (kinds.count(kind) for kind in ("ScaledObject", "ScaledJob", "Deployment"))
    by_keda = f", and KEDA scales {scaled} of them" if scaled else ""
    parts = [f"{_counted(deployments, 'Deployment')}{by_keda}"] if deployments or not jobs else []
    parts += [f"{_counted(jobs, 'ScaledJob')}, for which KEDA starts Jobs as work comes"] if jobs else []
    return f"up{after}: {'; '.join(parts)}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"all {count} {word}s"


def _next(report: HostReport) -> str:
    if report.stage == "validate":
        return "see what a run would do, with --check --diff"
    if report.stage == "plan" or report.check_mode:
        return "the same command without " + ("--tags plan" if report.stage == "plan" else "--check")
    if report.state == "absent":
        return "nothing; the same command again finds nothing to remove"
    if report.output == "cluster" and report.waited is None:
        return f"kubectl get deployments --namespace {report.namespace}"
    return "nothing; the same command again changes nothing"


# Many hosts


def many_hosts(reports: Sequence[HostReport]) -> list[str]:
    """One table of all hosts of a run, and how many of them did what."""
    word = "would_change" if any(report.check_mode for report in reports) else "changed"
    rows = [
        {
            "host": report.host,
            "variants": len(report.rows) or None,
            "pods": report.pods,
            word: report.changes,
            "warnings": len(report.warnings),
            "failed": report.cause or None,
        }
        for report in reports
    ]
    lines = table(rows, ("host", "variants", "pods", word, "warnings", "failed"), WIDTH)
    failed = sum(bool(report.failed) for report in reports)
    changed = sum(bool(report.changes) and not report.failed for report in reports)
    counts = [
        f"{changed} {'would change' if word != 'changed' else 'changed'}",
        f"{len(reports) - changed - failed} unchanged",
        f"{failed} failed",
    ]
    first = f"{len(reports)} hosts: {', '.join(counts)}"
    return [*lines, "", *dict.fromkeys([first, *_shared_ends(reports)]), *_noted(reports)]


#: Hosts whose notes are shown under the table of all.
_MOST_NOTES = 5


def _noted(reports: Sequence[HostReport]) -> list[str]:
    """What is to be known of single hosts, Secrets that nobody has written say: of the first ones."""
    noted = [report for report in reports if report.notes]
    lines = [line for report in noted[:_MOST_NOTES] for line in folded(f"{report.host}: {' '.join(report.notes)}")]
    more = len(noted) - _MOST_NOTES
    return [*lines, f"{more} more hosts have notes, which -v shows"] if more > 0 else lines


def _shared_ends(reports: Sequence[HostReport]) -> list[str]:
    ends = [_state(report) for report in reports if not report.failed]
    said = [end for end in dict.fromkeys(ends) if end and not end.startswith("up")]
    return said


def shared_warnings(reports: Iterable[HostReport]) -> list[str]:
    """Every warning once, with the hosts that it is about."""
    hosts: dict[str, list[str]] = {}
    for report in reports:
        for text in report.warnings if not report.failed else ():
            hosts.setdefault(text, []).append(report.host)
    return [f"{named(names)}: {text}" for text, names in hosts.items()]


def named(hosts: Sequence[str]) -> str:
    """The names of hosts, of many the first ones."""
    return ", ".join(hosts) if len(hosts) <= 5 else f"{', '.join(hosts[:3])} and {len(hosts) - 3} more hosts"


def as_data(reports: Iterable[HostReport]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "host": report.host,
            "namespace": report.namespace,
            "check_mode": report.check_mode,
            "stage": report.stage,
            "variants": [_variant_data(row) for row in report.rows],
            "pods": dict(zip(("min", "max"), pods_of(report.rows), strict=True)),
            "created": report.created,
            "changed": report.changed,
            "removed": report.removed,
            "unchanged": report.unchanged,
            "warnings": report.warnings,
            "failed": report.failed or None,
            "cause": report.cause or None,
        }
        for report in reports
    ]


def _variant_data(row: Mapping[str, Any]) -> dict[str, Any]:
    least, most = pods_of([row])
    kept = ("service", "variant", "queues", "deployment", "list_length", "scaler", "to_zero")
    return {**{name: row[name] for name in kept}, "min_pods": least, "max_pods": most}


def as_json(reports: Sequence[HostReport]) -> str:
    """The content of the report file."""
    return json.dumps({"hosts": as_data(reports)}, indent=2, sort_keys=False) + "\n"


# The folder of a run


@dataclass(frozen=True)
class RunFolder:
    """Where the hosts of one play leave their reports.

    :param left: what they have left, in the folder that Ansible removes at the end of the run.
    """

    left: HostFolder

    def write(self, report: HostReport) -> None:
        """Leave a report, in place of an earlier one of that host."""
        self.left.write(report.host, asdict(report))

    def read(self) -> dict[str, HostReport]:
        """Reports by host."""
        known = {item.name for item in fields(HostReport)}
        return {
            host: HostReport(**{name: raw[name] for name in raw if name in known})
            for host, raw in self.left.read().items()
        }


@dataclass(frozen=True)
class Progress:
    """How far a play is.

    :param hosts: all of its hosts, in their order.
    :param active: those that have not failed.
    :param batch: those that are worked on at the moment.
    :param stops_at_failures: whether some failures keep later batches from starting.
    """

    hosts: Sequence[str]
    active: Collection[str]
    batch: Collection[str]
    stops_at_failures: bool = False

    def is_over(self, reports: Mapping[str, HostReport]) -> bool:
        """Whether no further host will be worked on. A batch in which all have failed is the last one."""
        if all(host in reports for host in self.active):
            return True
        if not all(host in reports for host in self.batch):
            return False
        failed = {host for host, report in reports.items() if report.failed}
        return set(self.batch) <= failed or bool(failed and self.stops_at_failures)

    def all_reports(self, reports: Mapping[str, HostReport]) -> list[HostReport]:
        """Reports in the order of the play; of a host that stopped before the role, that it did."""
        gone = {host: HostReport(host, failed=NO_REPORT) for host in self.hosts if host not in self.active}
        return [reports.get(host) or gone[host] for host in self.hosts if host in reports or host in gone]
