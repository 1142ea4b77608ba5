# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done to a fleet before: the history that runs have left, and how that reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from .._cluster.fleet_reading import Readings
from .._model.history import KEY, Record, last_deploy, records_from
from .._model.names import history_name
from .._schema.moments import from_kept
from .texts import printable

#: Runs after the last deploy that a page names.
_MOST_LATER = 3


def history_of(fleet: str, readings: Readings) -> tuple[Record, ...]:
    """What runs have left, the newest first. Whatever has no time is of none of them."""
    live = readings.find("ConfigMap", history_name(fleet)) or {}
    found = records_from(str((live.get("data") or {}).get(KEY) or ""))
    return tuple(record for record in found if from_kept(record.time) is not None)


def since_deploy(history: Sequence[Record], inventory: str, now: datetime) -> str:
    """Since when something may differ from the inventory, with a blank before it; empty where no deploy is known.

    :param inventory: fingerprint of the inventory as it is now.
    """
    deploy = last_deploy(history)
    if deploy is None:
        return ""
    moment = _moment(deploy.time, now)
    if deploy.failed:
        return f" since the deploy of {moment}, which failed"
    if deploy.inventory != inventory:
        return f", which has changed since the deploy of {moment}"
    return f" since the deploy of {moment}"


def past_lines(history: Sequence[Record], now: datetime) -> Iterator[str]:
    """The last deploy, and what was done after it."""
    deploy = last_deploy(history)
    if deploy is not None:
        yield f"last deploy: {_told(deploy, now)} (collection {printable(deploy.collection) or 'unknown'})"
    later = list(history[: history.index(deploy)] if deploy is not None else history)
    if later:
        more = f"; and {len(later) - _MOST_LATER} more" if len(later) > _MOST_LATER else ""
        said = "; ".join(f"{printable(record.what)} {_told(record, now)}" for record in later[:_MOST_LATER])
        yield f"{'after it' if deploy is not None else 'last runs'}: {said}{more}"


def _told(record: Record, now: datetime) -> str:
    by = f" by {printable(record.by)}" if record.by else ""
    failed = f", and it failed: {printable(record.failed).removesuffix('.')}" if record.failed else ""
    return f"{_moment(record.time, now)}{by}, {record.counts}{failed}"


def _moment(time: str, now: datetime) -> str:
    """A time of today by the clock, another one with its day. Pages are in UTC."""
    then = from_kept(time) or now
    return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d %H:%M")
