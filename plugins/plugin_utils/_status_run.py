# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at the fleets of a play: each host reads its own, and one page or one JSON says how all of them are."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display
from ansible_collections.queueops.celery.plugins.module_utils._celery.inquiry import Answer
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import ClusterError, utc_now
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet, Variant
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._schema.secret_signs import without_values
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus, as_data, from_data
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import page
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.module_utils.status import look
from ansible_collections.queueops.celery.plugins.plugin_utils._broker_login import count_from_here
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import HostVariables, VariableError
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore, merged

#: Hosts that are looked at at the same time, once one process looks at all of them.
_AT_ONCE = 8
_REFUSED = (InventoryError, VariableError, ClusterError)
#: Moves to the first line and clears the screen below it.
_CLEAR = "\033[H\033[J"


class StatusRun:
    """Looks at the fleet of one host, once or again and again.

    :param variables: of the host; a callable, because what is wrong with them is a state of the host as well.
    :param connect: the way to kubernetes.core, for the connection that the host names.
    """

    def __init__(
        self,
        host: str,
        variables: Callable[[], HostVariables],
        connect: Callable[[dict[str, Any]], KubernetesCore],
    ) -> None:
        self.host = host
        self._variables = variables
        self._connect = connect
        self._opened: tuple[HostVariables, Inventory, Fleet, DirectCluster] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a way to its cluster."""
        return self._opened is not None

    @property
    def fails_on_drift(self) -> bool:
        """Whether what is not as the inventory says makes the run fail."""
        return self._opened is not None and self._opened[0].flag("fail_on_drift")

    def open(self) -> FleetStatus | None:
        """Read the inventory and connect; what is wrong with that is the status."""
        try:
            variables = self._variables()
            inventory = variables.inventory()
            fleet = parse_fleet(inventory, only_reads=True)
            cluster = self._connect(variables.connection).open(fleet.namespace, variables.hidden)
        except _REFUSED as error:
            return FleetStatus(self.host, failed=advised(str(error)))
        self._opened = (variables, inventory, fleet, cluster)
        return None

    def look(self) -> FleetStatus:
        """How the fleet is now."""
        failed = self.open() if self._opened is None else None
        if failed is not None or self._opened is None:
            return failed or FleetStatus(self.host)
        variables, inventory, fleet, opened = self._opened
        try:
            found = look(
                # Nothing of an earlier look may be taken for what is there now.
                DirectCluster(opened.client, opened.namespace, hidden=opened.hidden),
                fleet,
                lambda observed: parse_fleet(replace(inventory, observed=observed), only_reads=True),
                merged,
                utc_now(),
                self.host,
                variables.text("keda_namespace"),
                variables.flag("status_ask_pods"),
                variables.value("only"),
                self._count if variables.flag("status_ask_broker") else None,
            )
        except _REFUSED as error:
            return FleetStatus(self.host, fleet.namespace, failed=advised(str(error)))
        return without_hidden(found, opened.hidden)

    def _count(self, fleet: Fleet, variants: Collection[Variant]) -> Mapping[str, Answer]:
        """What the brokers say themselves."""
        return count_from_here(fleet, self._opened[0], variants) if self._opened is not None else {}


def without_hidden(status: FleetStatus, hidden: frozenset[str]) -> FleetStatus:
    """A status in which no server or worker repeats one of these secret values."""
    data = as_data(status)
    said = "\n".join(_said(data))
    # Hardly ever does one, and then every text is looked at by itself.
    return status if without_values(said, hidden) == said else from_data(_without(data, hidden))


def _said(data: Any, is_spoken: bool = False) -> Iterator[str]:
    if isinstance(data, Mapping):
        for name, item in data.items():
            yield from _said(item, name in _SPOKEN)
    elif isinstance(data, (list, tuple)):
        for item in data:
            yield from _said(item, is_spoken)
    elif is_spoken and isinstance(data, str):
        yield data


def _without(data: Any, hidden: frozenset[str], is_spoken: bool = False) -> Any:
    """Data in which servers and workers speak, without any of these secret values."""
    if isinstance(data, Mapping):
        return {name: _without(item, hidden, name in _SPOKEN) for name, item in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without(item, hidden, is_spoken) for item in data]
    return without_values(data, hidden) if is_spoken and isinstance(data, str) and data else data


#: Fields that hold what servers and workers say.
_SPOKEN = ("reason", "what", "fault", "hpa_fault", "failed")


# What the hosts of a play leave for its last task


@dataclass(frozen=True)
class StatusFolder:
    """Where the hosts of one play leave how they are."""

    left: HostFolder

    def write(self, status: FleetStatus) -> None:
        """Leave a status, in place of an earlier one of that host."""
        self.left.write(status.host, as_data(status))

    def read(self, hosts: Iterable[str]) -> list[FleetStatus]:
        """What was left, in the order of the hosts; one that left nothing is not known."""
        found, nothing = self.left.read(), "it stopped before its fleet was looked at; its message is above"
        return [from_data(found[host]) if host in found else FleetStatus(host, failed=nothing) for host in hosts]


def as_json(statuses: Sequence[FleetStatus]) -> str:
    """What a program reads."""
    return json.dumps({"hosts": [as_data(status) for status in statuses]}, indent=2, ensure_ascii=False)


# Watching


def look_at_all(runs: Sequence[StatusRun]) -> list[FleetStatus]:
    """How all fleets are now. Connections are opened one after the other, because they share an environment."""
    failed = {run.host: status for run in runs if not run.is_open and (status := run.open()) is not None}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        looked = list(pool.map(lambda run: failed.get(run.host) or run.look(), runs))
    return looked


def watch(
    look: Callable[[], list[FleetStatus]],
    first: list[FleetStatus],
    pause: float,
    rounds: int,
    sleep: Callable[[float], None],
    shows_all: bool,
) -> list[FleetStatus]:
    """Show how the fleets are, again and again, in place of what was shown before.

    :param first: what is known already, which is the first round.
    :param rounds: how often; 0 for as long as nobody ends the run.
    :returns: what the last round has found.
    """
    found, number = first, 1
    while True:
        lines = page(found, utc_now(), shows_all)
        of = f" of {rounds}" if rounds else ""
        show_in_place([*lines, "", f"every {pause:g} s, round {number}{of}; Ctrl-C ends it"])
        if rounds and number >= rounds:
            return found
        sleep(pause)
        found, number = look(), number + 1


def show_in_place(lines: Iterable[str]) -> None:
    """Show lines on the screen only, in place of what it shows. Where there is no terminal they follow each other."""
    Display().display((_CLEAR if ANSIBLE_COLOR else "") + "\n".join(lines), screen_only=True)
