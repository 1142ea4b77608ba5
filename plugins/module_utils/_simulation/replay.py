# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KEDA and the HPA over numbers that are given, without any workers: what they would do with a recorded broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._schema.versions import Versions
from .autoscaler import SYNC_PERIOD, Pods
from .control import Control, Written
from .keda import Numbers
from .scaled_object import ScaledObject, Trigger, read_scaled_object

#: Seconds after the start at which KEDA looks first: that it falls on no whole second is the rule on a cluster.
_FIRST_LOOK = 0.3
#: How a recording names a hash.
_HASH = "hash:"


class _Broker:
    """What a broker holds over time.

    :param changes: second and what has which number of entries from then on, by the name of the list; a hash has
        C(hash:) before its name, C(broker) is C(down) or C(up).
    """

    def __init__(self, changes: Iterable[tuple[float, Mapping[str, Any]]]) -> None:
        self._changes = sorted(changes, key=lambda change: change[0])
        self._now: dict[str, Any] = {}

    def move(self, now: float) -> None:
        """Bring it to a time, which never goes back."""
        while self._changes and self._changes[0][0] <= now:
            self._now.update(self._changes.pop(0)[1])

    def number(self, trigger: Trigger, pods: int) -> float | None:
        """What a trigger reads now; None where it cannot be read."""
        if trigger.type == "kubernetes-workload":
            return pods
        if self._now.get("broker") == "down":
            return None
        name = next((trigger.metadata[key] for key in _NAMES if key in trigger.metadata), trigger.name)
        return float(self._now.get(name, self._now.get(_HASH + name, 0)))


#: Metadata that names what a trigger reads.
_NAMES = ("listName", "queueName", "queueURL", "query")


def replayed(
    spec: Mapping[str, Any] | ScaledObject,
    changes: Iterable[tuple[float, Mapping[str, Any]]],
    until: float,
    replicas: int = 0,
    versions: Versions | None = None,
    start_seconds: float = 0.5,
    first_poll: float = _FIRST_LOOK,
    first_sync: float = _FIRST_LOOK + SYNC_PERIOD,
) -> list[Written]:
    """What KEDA and the HPA write while a broker changes as given.

    :param spec: of the ScaledObject.
    :param changes: second, and names to numbers from then on; C({broker: down}) until C({broker: up}) refuses
        connections.
    :param until: seconds to replay.
    :param replicas: pods at the start.
    :param start_seconds: time until a new pod is ready.
    """
    known = spec if isinstance(spec, ScaledObject) else read_scaled_object(spec)
    control = Control(known, versions or Versions(), first_poll, first_sync)
    replay = _Replay(known, _Broker(changes), start_seconds, [Written(0.0, "start", replicas, replicas, "")])
    while (now := min(control.next_poll, control.next_sync)) <= until:
        replay.now = now
        replay.broker.move(now)
        replay.found += control.look(now, replay.pods, replay.read)
    return replay.found


@dataclass
class _Replay:
    """The pods of a replay, and what its triggers read."""

    spec: ScaledObject
    broker: _Broker
    start_seconds: float
    found: list[Written]
    now: float = 0.0

    def pods(self) -> Pods:
        """The pods as they are. Those that were there before the last changes are ready."""
        wanted = self.found[-1].replicas
        before = [one.before for one in self.found if one.at > self.now - self.start_seconds]
        return Pods(wanted, wanted, min([wanted, *before]))

    def read(self) -> Numbers:
        """What the triggers read."""
        return [self.broker.number(trigger, self.found[-1].replicas) for trigger in self.spec.triggers]
