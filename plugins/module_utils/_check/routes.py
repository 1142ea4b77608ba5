# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes that would lose messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from .._build.routing import TUTOR_SERVICES, consumers_of, side_of
from .._model.fleet import Fleet
from .._openedx.tasks import runs_on

#: Variable that a route of the preset comes from.
_PRESET_PATH = "celery_workers_openedx_routing"


def lost_routes(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Path and message of each route to a queue whose consumers do not run the task: Celery throws such messages away.

    No release of Open edX differs so far in what its workers run.
    """
    for route in fleet.routes:
        consumers = {side_of(service): service.name for service, _variant in consumers_of(fleet, route.queue)}
        able = runs_on(route.task)
        unable = sorted(name for side, name in consumers.items() if side in TUTOR_SERVICES and side not in able)
        if not unable:
            continue
        queues = [
            queue
            for service in fleet.services
            if side_of(service) in able
            for variant in (*service.variants, *service.left)
            for queue in variant.queues
            if queue != route.queue
        ]
        near = difflib.get_close_matches(route.queue, queues, n=1, cutoff=0.0)
        place = f", such as {near[0]}" if near else ""
        whose, users = " and ".join(unable), " or ".join(sorted(able))
        yield (
            route.path or _PRESET_PATH,
            f"workers of {whose} take from queue {route.queue}, and they do not run "
            f"{route.task}, so its messages would be lost. Send it to a queue that only workers of {users} take "
            f"from{place}.",
        )
