# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where producers send tasks."""

from __future__ import annotations

from collections.abc import Mapping

from .._model.fleet import (
    Route,
    Service,
)
from .._openedx.tasks import (
    RELEASES,
    recommended_routes,
    setting_for,
)
from .._schema.layers import (
    PREFIX,
)
from .._schema.problems import suggest
from .reader import Inventory, Reader


def read_routes(reader: Reader, services: tuple[Service, ...]) -> tuple[Route, ...]:
    """Where producers send tasks: routes of the inventory, and below them those of the preset."""
    own = _explicit_routes(reader, services)
    written = {(route.producer, route.task) for route in own}
    return (*own, *(route for route in _preset_routes(reader) if (route.producer, route.task) not in written))


def _preset_routes(reader: Reader) -> tuple[Route, ...]:
    inventory, problems = reader.inventory, reader.problems
    if inventory.openedx_release and inventory.openedx_release not in RELEASES:
        near = suggest(inventory.openedx_release, RELEASES)
        problems.add(f"{PREFIX}openedx_release", f"there is no release {inventory.openedx_release!r}; {near}")
        return ()
    if not inventory.openedx_routing:
        return ()
    if inventory.preset != "openedx":
        problems.add(
            f"{PREFIX}openedx_routing",
            f"these are the tasks of Open edX; write {PREFIX}preset: openedx, or {PREFIX}explicit_queues for another "
            "app.",
        )
        return ()
    return recommended_routes(inventory.openedx_release)


def _explicit_routes(reader: Reader, services: tuple[Service, ...]) -> tuple[Route, ...]:
    path, written, problems = f"{PREFIX}explicit_queues", reader.inventory.explicit_queues, reader.problems
    if written is None:
        return ()
    if not isinstance(written, Mapping):
        problems.add(path, "write service, task and queue: {lms: {some.task: {queue: edx.lms.core.high}}}.")
        return ()
    found = []
    names = [service.name for service in services]
    for service, tasks in written.items():
        if service not in names:
            problems.add(f"{path}.{service}", f"there is no service {service!r}; {suggest(str(service), names)}")
        if not isinstance(tasks, Mapping):
            problems.add(f"{path}.{service}", "write task names and their queue: {some.task: {queue: high}}.")
            continue
        for task, route in tasks.items():
            queue = route.get("queue") if isinstance(route, Mapping) and set(route) == {"queue"} else route
            if isinstance(queue, str) and queue:
                setting = _deciding_setting(reader.inventory, str(task), str(service))
                found.append(Route(str(service), str(task), queue, setting, path=f"{path}.{service}.{task}"))
            else:
                problems.add(f"{path}.{service}.{task}", "write {queue: <name>}.")
    return tuple(found)


def _deciding_setting(inventory: Inventory, task: str, producer: str) -> str:
    """The setting that decides on a task whose code names a queue itself."""
    known = inventory.preset == "openedx" and (not inventory.openedx_release or inventory.openedx_release in RELEASES)
    return setting_for(task, producer, inventory.openedx_release) if known else ""
