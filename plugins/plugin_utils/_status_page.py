# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two tasks of the playbook status: read one host's fleet, and show all of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible import constants
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import utc_now
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError
from ansible_collections.queueops.celery.plugins.module_utils._status.data import FleetStatus, as_data
from ansible_collections.queueops.celery.plugins.module_utils._status.rendering import page
from ansible_collections.queueops.celery.plugins.plugin_utils._files import TreeError, write_text
from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import (
    HostVariables,
    VariableError,
    names_given,
    read_variables,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._hosts import Hosts, play_of
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore, remove_key_files
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import Screen, drifted, is_for_people, verbosity
from ansible_collections.queueops.celery.plugins.plugin_utils._status_run import (
    StatusFolder,
    StatusRun,
    as_json,
    look_at_all,
    watch,
)

Result = dict[str, Any]


class StatusPage:
    """What an action plugin does for the playbook status.

    :param action: the running action plugin.
    :param known: names of variables that the role has.
    """

    def __init__(self, action: Any, host_vars: dict[str, Any], known: Collection[str]) -> None:
        self._action = action
        self._host_vars = host_vars
        self._known = known
        self._host = str(host_vars.get("inventory_hostname", ""))

    def read(self) -> Result:
        """Look at the fleet of this host, and leave what was found."""
        run = self._run_of(self._host, lambda: self._host_vars)
        try:
            found = run.look()
        finally:
            remove_key_files()
        self._folder().write(found)
        if found.failed:
            return {"failed": True, "changed": False, "msg": found.failed}
        # People see it on the page that follows.
        result: Result = {"changed": False, **({} if is_for_people() else {"status": as_data(found)})}
        if run.fails_on_drift and found.all_drift:
            result.update(failed=True, msg=drifted([one.object for one in found.all_drift]))
        return result

    def show(self) -> Result:
        """Show how the fleets of all hosts are."""
        try:
            variables = self._variables(self._host_vars)
            variables.refuse()
            wishes = _Wishes.of(variables)
        except (VariableError, InventoryError):
            # The host's own task has told it. The page is shown all the same.
            wishes = _Wishes()
        if wishes.problem:
            return {"failed": True, "changed": False, "msg": wishes.problem}
        hosts = [str(name) for name in self._host_vars.get("ansible_play_hosts_all") or [self._host]]
        statuses = self._folder().read(hosts)
        if wishes.pause:
            shows_all = verbosity() > 0
            try:
                statuses = watch(self._looking(hosts), statuses, wishes.pause, wishes.rounds, time.sleep, shows_all)
            finally:
                remove_key_files()
        else:
            self._say(statuses, wishes.as_json)
        return {"changed": False, **self._kept(statuses, wishes.file)}

    @staticmethod
    def _say(statuses: list[FleetStatus], as_text: bool) -> None:
        if as_text:
            Screen.whole([as_json(statuses)])
        else:
            Screen.whole(page(statuses, utc_now(), verbosity() > 0))

    @staticmethod
    def _kept(statuses: list[FleetStatus], file: str) -> Result:
        found: Result = {} if is_for_people() else {"hosts": [as_data(status) for status in statuses]}
        if not file:
            return found
        try:
            write_text(file, as_json(statuses) + "\n", checks=False)
        except TreeError as error:
            return {**found, "failed": True, "msg": str(error)}
        return {**found, "status_file": file}

    def _looking(self, hosts: list[str]) -> Any:
        """Looks at all hosts from this one process."""
        found = Hosts(self._action, self._host_vars)
        runs = [self._run_of(host, lambda host=host: found.variables_of(host)) for host in hosts]
        return lambda: look_at_all(runs)

    def _run_of(self, host: str, host_vars: Any) -> StatusRun:
        return StatusRun(
            host,
            lambda: self._variables(host_vars()),
            lambda connection: KubernetesCore(self._action, host_vars(), connection),
        )

    def _variables(self, host_vars: Mapping[str, Any]) -> HostVariables:
        found = read_variables(self._action._templar, host_vars, self._known)
        return replace(found, given=names_given(self._action._loader), playbook="status")

    def _folder(self) -> StatusFolder:
        return StatusFolder(HostFolder.of(f"status-{play_of(self._action)._uuid}"))


@dataclass(frozen=True)
class _Wishes:
    """How the status is to be shown; plainly where the variables cannot be read."""

    as_json: bool = False
    file: str = ""
    pause: int = 0
    rounds: int = 0

    @classmethod
    def of(cls, variables: HostVariables) -> _Wishes:
        """As the variables of a host say."""
        return cls(
            variables.text("status_format") == "json",
            variables.text("status_file"),
            variables.number("status_watch"),
            variables.number("status_watch_count"),
        )

    @property
    def problem(self) -> str:
        """What cannot be done together."""
        if not self.pause:
            return ""
        if self.as_json:
            return (
                "celery_workers_status_watch refreshes a page for people, and celery_workers_status_format is json: "
                "set only one of them. A program that wants it again and again runs the playbook again."
            )
        if not is_for_people():
            return (
                "celery_workers_status_watch refreshes a page on the screen, and the callback "
                f"{constants.DEFAULT_STDOUT_CALLBACK} is one that programs read: leave one of them out."
            )
        return ""
