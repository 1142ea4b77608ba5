# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be known of a variant that is drained."""

from __future__ import annotations

from .._schema.counted import counted, messages_wait
from .data import VariantStatus

#: What is wrong and what to do about it.
Finding = tuple[str, str]


def drained_in_part(status: VariantStatus) -> Finding | None:
    """Pods of a drained variant that take work all the same."""
    drain = status.drain
    if not drain.taking:
        return None
    verb = "was" if len(drain.taking) == 1 else "were"
    names = f"{', '.join(drain.taking[:2])}{', ...' if len(drain.taking) > 2 else ''}"
    pods = f"{len(drain.taking)} of {counted(status.pods.wanted, 'pod')}"
    what = f"{drain.how}, but {pods} {verb} started or restarted since, or never told, so it takes work ({names})"
    return what, f"run queueops.celery.drain {only(status)}"


def drained(status: VariantStatus) -> Finding | None:
    """A variant that takes nothing new."""
    drain, work = status.drain, status.work
    if not drain.how:
        return None
    parts = [drain.how, *([messages_wait(work.waiting)] if work.waiting else [])]
    parts += [f"its workers hold {counted(work.held_for_eta, 'task')} until their ETA"] if work.held_for_eta else []
    if drain.by_deploy:
        return "; ".join(parts), "wait for the deploy that does so; where none runs, run queueops.celery.deploy again"
    return "; ".join(parts), f"run queueops.celery.resume {only(status)}"


def only(status: VariantStatus) -> str:
    """What limits a run to a variant."""
    return f"-e celery_workers_only={status.service}/{status.variant}"
