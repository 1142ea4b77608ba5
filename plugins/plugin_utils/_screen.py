# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says: tables and sentences. Pure, but for the class that shows them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible import constants
from ansible.utils.display import Display
from ansible_collections.queueops.celery.plugins.module_utils._cluster.readiness import Waiting
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import DELETE, Plan, Wishes
from ansible_collections.queueops.celery.plugins.module_utils._schema.text_tables import laid_out

Rows = Iterable[Mapping[str, Any]]

#: Columns that every table keeps within, with the two that indent it.
WIDTH = 99
_NARROWEST = 14

COLUMNS = ("service", "variant", "queues", "pods", "list_length", "scaler", "to_zero")
SECRET_COLUMNS = ("secret", "keys", "used_by", "made_by")
SCALING_COLUMNS = ("service", "variant", "deployment", "replicas", "sees", "to_zero")
#: Columns whose cells may go on in the next line.
_LONG_COLUMNS = ("queues", "to_zero", "failed", "used_by", "keys")

#: Callbacks whose output people read. Into that of others nothing may be mixed.
_FOR_PEOPLE = {"default", "yaml", "minimal", "debug", "unixy", "dense", "diy", "selective", "skippy", "actionable"}

_ROUTING_ADVICE = {
    "none": "This run does not deliver these routes. They count where a task is sent: choose "
    "celery_workers_routing_delivery, or load them in the settings of every producer yourself.",
    "tutor_plugin": "Producers load the routes from Tutor's settings: tutor plugins enable queueops_celery, tutor "
    "config save, tutor k8s start.",
    "settings_overlay": "Producers load the routes from the ConfigMaps <service>-worker-routes: mount them and set "
    "DJANGO_SETTINGS_MODULE in every producer, as docs/routing.md shows. The workers of this fleet do so already.",
    "task_routes": "Producers load the routes from the ConfigMaps <service>-worker-routes: mount them and load the "
    "file in the app, as docs/routing.md shows. In the workers of this fleet it is mounted already.",
}
MAKE_SURE = (
    "The app can override the workers' settings. Check what is in force with the playbook queueops.celery.verify, or "
    "set celery_workers_verify: true."
)


def table(rows: Rows, columns: Iterable[str], width: int | None = None) -> list[str]:
    """Rows as lines of text, one column under the other.

    :param width: columns to keep within; long cells go on in the next line.
    """
    names = list(columns)
    cells = [[title.replace("_", " ") for title in names]]
    cells += [[_cell(row.get(column)) for column in names] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    if width is not None:
        widths = _narrowed(names, widths, width)
    return laid_out(cells, widths)


def _narrowed(names: Sequence[str], widths: list[int], width: int) -> list[int]:
    """Widths that fit, taken from the widest of the columns that may be wrapped."""
    found = list(widths)
    while sum(found) + 2 * (len(found) - 1) > width:
        wide = [index for index, name in enumerate(names) if name in _LONG_COLUMNS and found[index] > _NARROWEST]
        if not wide:
            return found
        found[max(wide, key=found.__getitem__)] -= 1
    return found


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)


def fleet_table(rows: Rows, width: int | None = WIDTH - 2) -> list[str]:
    """The workers of a fleet. A reason of several rows stands once below them, where they are too long with it."""
    shown = [{**row, "pods": row["replicas"], "to_zero": _cell(row.get("to_zero"))} for row in rows]
    lines = table(shown, COLUMNS)
    if width is None or all(len(line) <= width for line in lines):
        return lines
    counts = Counter(row["to_zero"] for row in shown)
    reasons = [text for text, count in counts.items() if count > 1 and ", " in text]
    notes = {text: f"[{number}]" for number, text in enumerate(reasons, start=1)}
    short = [
        {**row, "to_zero": f"{text.partition(', ')[0]} {notes[text]}"} if (text := row["to_zero"]) in notes else row
        for row in shown
    ]
    below = [line for text, note in notes.items() for line in folded(f"{note} {text.partition(', ')[2]}", width)]
    return [*table(short, COLUMNS, width), *below]


def planned(plan: Plan, wishes: Wishes) -> dict[str, list[str]]:
    """What a plan says before its first step, by the name of the table."""
    scaled = [row for row in plan.rows if row["scaler"] != "none"]
    found = {
        "fleet": fleet_table(plan.rows),
        "secret_uses": table(plan.secret_uses, SECRET_COLUMNS) if plan.secret_uses else [],
        "scaling": table(scaled, SCALING_COLUMNS) if scaled else [],
        "sizing": [line for row in plan.rows for line in row["sizing"]],
        "make_sure": [],
    }
    goes_to_zero = any(str(row["to_zero"]).startswith("yes") for row in scaled)
    if goes_to_zero and wishes.output == "cluster" and not wishes.verifies:
        found["make_sure"] = [MAKE_SURE]
    return found


def delivered(plan: Plan, delivery: str) -> dict[str, list[str]]:
    """What a plan says of its routes."""
    shown = table(plan.routes, ("task", "queue", "producer", "loaded_by")) if plan.routes else []
    own = any(row["loaded_by"] != "upstream default" for row in plan.routes)
    return {"routes": shown, "routing": [_ROUTING_ADVICE[delivery]] if own else []}


def watched(plan: Plan, wishes: Wishes, has_flower: bool, has_alerts: bool) -> dict[str, list[str]]:
    """What a plan says of what watches the fleet."""
    found: dict[str, list[str]] = {}
    if has_flower:
        found["flowers"] = table(plan.flowers, ("name", "services", "address", "login"))
        if wishes.output == "cluster" and plan.generated:
            first = "A real run generates these, and later runs keep them:" if wishes.checks else ""
            found["generated"] = [first or "Generated, and kept by later runs:", *plan.generated]
    if has_alerts:
        found["alerts"] = table(plan.alerts, ("alert", "severity", "for", "service", "variant"))
    return found


def after_files(namespace: str, plan: Plan, near: str) -> list[str]:
    """What is to be done with files that were written.

    :param near: their folder, as people write it.
    """
    names = [str(item["metadata"]["name"]) for item in plan.adoptions]
    return [
        *(
            f"Once every worker is up, and not before: kubectl patch deployment {name} "
            f"--namespace {namespace} --patch-file {near}/patches/deployment-{name}.yaml"
            for name in names
        ),
        f"Apply to a cluster: kubectl apply --kustomize {near}, or this run with celery_workers_output=cluster",
    ]


def outcome(created: Collection[str], changed: Collection[str], removed: Collection[str], checks: bool) -> list[str]:
    """What was done: counts, and names by their kind."""
    would = "would be " if checks else ""
    found: list[str] = []
    for word, names in (("created", created), ("changed", changed), ("removed", removed)):
        if names:
            found.append(f"{would}{word}: {len(names)}")
            found += [f"  {line}" for line in by_kind(names)]
    return found or ["nothing to change" if checks else "nothing changed"]


#: Objects that a message names.
_MOST_NAMED = 5


def drifted(names: Sequence[str]) -> str:
    """Why a run fails that was to find nothing that differs."""
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    verb = "object is" if len(listed) == 1 else "objects are"
    return (
        f"{len(listed)} {verb} not as the inventory says: {', '.join(listed[:_MOST_NAMED])}{more}. See what differs "
        "with queueops.celery.deploy --check --diff. (celery_workers_fail_on_drift is true.)"
    )


def going(plan: Plan) -> list[str]:
    """What a removal takes away, before it does: names by their kind, with their number."""
    kinds: dict[str, list[str]] = {}
    for step in plan.steps:
        for item in step.objects if step.action == DELETE else ():
            kinds.setdefault(str(item["kind"]), []).append(str(item["metadata"]["name"]))
    total = sum(map(len, kinds.values()))
    lines = [f"removes {kind} ({len(names)}): {', '.join(names)}" for kind, names in kinds.items()]
    return [*lines, f"removes {total} objects in all"] if len(kinds) > 1 else lines


def by_kind(names: Iterable[str]) -> Iterator[str]:
    """Names of objects, a line for each kind."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind, _space, rest = name.partition(" ")
        kinds.setdefault(kind, []).append(rest)
    for kind, own in kinds.items():
        yield from folded(f"{kind} {', '.join(own)}", WIDTH - 4)


def folded(text: str, width: int = WIDTH - 2) -> list[str]:
    """A text as lines that are not too long. A word that is too long stays whole, so that it can be copied."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) or [""]


def progress_line(waiting: Sequence[Waiting], count: int) -> str:
    """What is waited for, in one line."""
    named = "; ".join(item.progress or item.name for item in waiting[:3])
    more = f"; and {len(waiting) - 3} more" if len(waiting) > 3 else ""
    return f"waiting for {len(waiting)} of {count}: {named}{more}"


@dataclass(frozen=True)
class Screen:
    """Shows lines while a run works. Results go through the callback, as of any task."""

    host: str

    def show(self, lines: Iterable[str]) -> None:
        """Show lines, where people read the output."""
        texts = list(lines)
        if texts and is_for_people():
            Display().display("\n".join(f"{self.host} | {text}" for text in texts))

    @staticmethod
    def whole(lines: Iterable[str]) -> None:
        """Show lines as they are, where people read the output."""
        if is_for_people():
            Display().display("\n".join(lines))

    def progress(self, line: str) -> None:
        """Show what is waited for. Standard error, so that what a program reads stays whole."""
        Display().display(f"{self.host} | {line}", stderr=True)


def is_for_people() -> bool:
    """Whether the output is one that people read."""
    return str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in _FOR_PEOPLE


def verbosity() -> int:
    """How many -v a run was given."""
    return int(Display().verbosity)
