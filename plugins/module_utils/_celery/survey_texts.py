# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a survey of a broker says to people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from .._schema.counted import counted, messages_wait
from .programs.max_starts import SUFFIX
from .surveys import HashRow, Leftover, Quarantined, QueueRow, Survey

#: Queues in which RabbitMQ keeps messages until their time has come (Celery 5.5). They have no consumer.
_DELAYING = "celery_delayed_"

_KINDS = {"reply": "reply queue", "node": "queue of a node", "event": "event queue"}
_PLURALS = {"reply": "reply queues", "node": "queues of nodes", "event": "event queues"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def known(number: int | None) -> str:
    """A number; what is not known is never 0."""
    return "unknown" if number is None else str(number)


def age(seconds: int | None) -> str:
    """How long ago, in one unit."""
    if seconds is None:
        return "-"
    return next((f"{seconds // size} {unit}" for size, unit in _UNITS if seconds >= size), f"{seconds} s")


def queue_cells(row: QueueRow, variants: Collection[str]) -> dict[str, str]:
    """A line of the table of queues.

    :param variants: what consumes it, as the inventory says.
    """
    filled = {step: size for step, size in row.steps.items() if size}
    priorities = ", ".join(f"{step}: {size}" for step, size in filled.items()) if set(filled) - {"0"} else ""
    oldest = max((one for one in (row.oldest_waiting, row.oldest_held) if one is not None), default=None)
    return {
        "queue": row.name,
        "waiting": known(row.waiting),
        "by priority": priorities or "-",
        "unacked": known(row.held),
        "held for ETA": known(row.later),
        "consumers": known(row.consumers),
        "oldest": age(oldest),
        "variants": ", ".join(variants) or "-",
    }


def is_quarantine(name: str, queues: Collection[str]) -> bool:
    """Whether a queue is the quarantine of one of some queues: what lies there waits for people."""
    return name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in queues


def quarantine_cells(row: Quarantined) -> dict[str, str]:
    """A line of the table of messages in quarantine."""
    return {
        "queue": row.origin,
        "task": row.task,
        "id": row.id,
        "starts": known(row.starts),
        "since": row.since or "-",
        "worker": row.node or "-",
    }


def unconsumed(survey: Survey, queues: Collection[str]) -> list[QueueRow]:
    """Queues with messages that nothing consumes.

    :param queues: those that some variant consumes, perhaps with no pod at the moment.
    """
    return [
        row
        for row in survey.queues
        if row.waiting
        and row.name not in queues
        and not row.consumers
        and not row.name.startswith(_DELAYING)
        and not is_quarantine(row.name, queues)
    ]


def findings(survey: Survey, queues: Collection[str], removes: bool) -> list[str]:
    """What is left over, and what became of it.

    :param removes: whether it was taken away.
    """
    lines = [line for row in survey.hashes for line in _of_hash(row, queues, removes)]
    lines += [_of_leftover(item, removes) for item in survey.leftovers]
    lines += [
        f"{messages_wait(row.waiting or 0)} in queue {row.name}, which no variant of this fleet and no worker "
        "consumes. Let a variant consume it (key queues)."
        for row in unconsumed(survey, queues)
    ]
    if survey.unread:
        lines.append(f"What else is there is not known: {survey.unread}.")
    return lines


def _of_hash(row: HashRow, queues: Collection[str], removes: bool) -> Iterator[str]:
    if not row.is_read:
        yield f"{row.key} holds {counted(row.messages, 'message')}, too many to look into; run again later."
    reason = "which no worker uses any more" if row.is_used is False else "past its visibility timeout"
    for queue, number in row.stranded.items():
        given = row.given_back.get(queue, 0)
        to = f"queue {queue}" if queue in queues else f"queue {queue}, which no variant consumes"
        if not removes:
            yield f"{counted(number, 'message')} in {row.key}, {reason}: would go back to {to}."
        else:
            yield f"{counted(given, 'message')} of {row.key}, {reason}: back in {to}."
            if given < number:
                kept = number - given
                yield f"{counted(kept, 'message')} of {row.key} changed in this moment; run again."
    young = row.messages - sum(row.stranded.values()) - row.unplaced
    if row.is_used is False and row.is_read and young:
        yield (
            f"{counted(young, 'message')} in {row.key}, {reason}: delivered less than celery_workers_gc_min_age "
            "seconds ago, so nothing is done yet."
        )
    if row.unplaced:
        yield (
            f"{counted(row.unplaced, 'message')} in {row.key}, {reason}: not given back, because no binding names the "
            "queue. Start a worker of the app once, which binds its queues, and run again."
        )


def _of_leftover(item: Leftover, removes: bool) -> str:
    more = f" and {item.count - len(item.names)} more" if item.count > len(item.names) else ""
    named = f"{', '.join(item.names)}{more}"
    if item.what == "queue":
        what = f"{item.count} {_KINDS[item.kind] if item.count == 1 else _PLURALS[item.kind]} that nobody reads"
        what += f", with {counted(item.messages, 'message')} of remote control" if item.messages else ""
        done = f"deleted {item.removed}" if removes else "would be deleted"
    else:
        of = f"of a {_KINDS[item.kind]}" if item.count == 1 else f"of {_PLURALS[item.kind]}"
        what = f"{counted(item.count, 'binding')} {of} that {'is' if item.count == 1 else 'are'} gone"
        done = f"took out {item.removed}" if removes else "would be taken out"
    return f"{what}: {done} ({named})."


def is_changed(survey: Survey, removes: bool) -> bool:
    """Whether something was changed."""
    took = any(item.removed for item in survey.leftovers)
    return removes and (took or any(any(row.given_back.values()) for row in survey.hashes))


def would_change(survey: Survey) -> bool:
    """Whether there is something to take away or to give back."""
    return bool(survey.leftovers) or any(row.stranded for row in survey.hashes)


def consumers_of(variants: Iterable[tuple[str, Iterable[str]]]) -> Mapping[str, list[str]]:
    """Queue to the variants that consume it.

    :param variants: each with its queues.
    """
    found: dict[str, list[str]] = {}
    for title, queues in variants:
        for queue in queues:
            found.setdefault(queue, []).append(title)
    return found
