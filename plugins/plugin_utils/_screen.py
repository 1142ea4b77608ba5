# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says: tables and sentences. Pure, but for the class that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible import constants
from ansible.utils.display import Display
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import Report
from ansible_collections.queueops.celery.plugins.module_utils.plan import Plan, Wishes

Rows = Iterable[Mapping[str, Any]]

COLUMNS = ("service", "variant", "queues", "deployment", "replicas", "list_length", "scaler")
SECRET_COLUMNS = ("secret", "keys", "used_by", "made_by")
SCALING_COLUMNS = ("service", "variant", "replicas", "sees", "to_zero")

#: Callbacks whose output people read. Into that of others nothing may be mixed.
_FOR_PEOPLE = {"default", "yaml", "minimal", "debug", "unixy", "dense", "diy", "selective", "skippy", "actionable"}

_ROUTING_ADVICE = {
    "none": "This run delivers these routes to nobody. They hold where a task is sent: choose "
    "celery_workers_routing_delivery, or load them in the settings of every producer yourself.",
    "tutor_plugin": "Producers load the routes from Tutor's settings: tutor plugins enable queueops_celery, tutor "
    "config save, tutor k8s start.",
    "settings_overlay": "Producers load the routes from the ConfigMaps <service>-worker-routes: mount them and set "
    "DJANGO_SETTINGS_MODULE in every producer, as docs/routing.md shows. The workers of this fleet do so already.",
    "task_routes": "Producers load the routes from the ConfigMaps <service>-worker-routes: mount them and load the "
    "file in the app, as docs/routing.md shows. In the workers of this fleet it is mounted already.",
}
_MAKE_SURE = (
    "Whether the workers do as they are told, their app decides: once they run, ask them with the playbook "
    "queueops.celery.verify, or with celery_workers_verify=true."
)


def table(rows: Rows, columns: Iterable[str]) -> list[str]:
    """Rows as lines of text, one column under the other."""
    names = list(columns)
    cells = [[title.replace("_", " ") for title in names]]
    cells += [[_cell(row.get(column)) for column in names] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)


def planned(plan: Plan, wishes: Wishes, columns: Iterable[str] = COLUMNS) -> dict[str, list[str]]:
    """What a plan says before its first step, by the name of the table."""
    scaled = [row for row in plan.rows if row["scaler"] != "none"]
    found = {
        "fleet": table(plan.rows, columns),
        "secret_uses": table(plan.secret_uses, SECRET_COLUMNS) if plan.secret_uses else [],
        "scaling": table(scaled, SCALING_COLUMNS) if scaled else [],
        "sizing": [line for row in plan.rows for line in row["sizing"]],
        "make_sure": [],
    }
    goes_to_zero = any(str(row["to_zero"]).startswith("yes") for row in scaled)
    if goes_to_zero and wishes.output == "cluster" and not wishes.verifies:
        found["make_sure"] = [_MAKE_SURE]
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


def outcome(done: Report, checks: bool) -> Iterator[str]:
    """What was done: counts and names."""
    would = "would be " if checks else ""
    for word, names in (("created", done.created), ("changed", done.changed), ("removed", done.deleted)):
        if names:
            yield f"{would}{word}: {len(names)}"
            yield from (f"  {name}" for name in names)
    if not (done.created or done.changed or done.deleted):
        yield "nothing to change" if checks else "nothing changed"


@dataclass(frozen=True)
class Screen:
    """Shows lines while a run works. Results go through the callback, as of any task."""

    host: str
    verbosity: int = 0

    def show(self, lines: Iterable[str], verbosity: int = 0) -> None:
        """Show lines, where people read the output."""
        texts = list(lines)
        if texts and self.is_for_people and Display().verbosity >= verbosity:
            Display().display("\n".join(f"{self.host} | {text}" for text in texts))

    def progress(self, line: str) -> None:
        """Show what is waited for. Standard error, so that what a program reads stays whole."""
        Display().display(f"{self.host} | {line}", stderr=True)

    @property
    def is_for_people(self) -> bool:
        """Whether the output is one that people read."""
        return str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in _FOR_PEOPLE
