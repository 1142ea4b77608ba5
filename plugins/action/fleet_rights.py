# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the account of one host's fleet, in the controller's process."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.action.fleet_apply import ActionModule as FleetApply
    from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY, Result
    from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
    from ansible_collections.queueops.celery.plugins.plugin_utils._hosts import play_of
    from ansible_collections.queueops.celery.plugins.plugin_utils._rights_run import RightsRun


class ActionModule(FleetApply):
    """Runs on the controller, whatever machine the host is."""

    @rare_collection()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make the account, or take it away."""
        host_vars = task_vars or {}
        result: dict[str, Any] = super(FleetApply, self).run(tmp, host_vars)
        self.validate_argument_spec({})
        return {**result, **self._only(lambda: self._bring(host_vars))}

    def _bring(self, host_vars: dict[str, Any]) -> Result:
        run = self._fleet_run(RightsRun, host_vars, APPLY)
        run.shared = HostFolder.of(f"rights-{play_of(self)._uuid}")
        return run.bring()
