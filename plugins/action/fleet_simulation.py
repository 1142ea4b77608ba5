# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulates the fleet of one host in the controller's process."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.action.fleet_apply import ActionModule as FleetApply
    from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import PLAN
    from ansible_collections.queueops.celery.plugins.plugin_utils._simulation_run import SimulationRun


class ActionModule(FleetApply):
    """Runs on the controller, whatever machine the host is."""

    @rare_collection()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Say how the fleet scales over its loads."""
        host_vars = task_vars or {}
        result: dict[str, Any] = super(FleetApply, self).run(tmp, host_vars)
        self.validate_argument_spec({})
        found = self._only(lambda: self._simulate(host_vars))
        return {**result, **self._quiet(found, host_vars)}

    def _simulate(self, host_vars: dict[str, Any]) -> dict[str, Any]:
        made = self._fleet_run(SimulationRun, host_vars, PLAN)
        made.hosts_in_play = len(host_vars.get("ansible_play_hosts_all") or ())
        return made.simulate()
