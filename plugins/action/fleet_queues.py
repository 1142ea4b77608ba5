# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the brokers of one host's fleet, and cleans them up, in the controller's process."""

from __future__ import annotations

from typing import Any

from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.action.fleet_apply import ActionModule as FleetApply
    from ansible_collections.queueops.celery.plugins.plugin_utils._broker_run import BrokerRun
    from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY


class ActionModule(FleetApply):
    """Runs on the controller, whatever machine the host is."""

    @rare_collection()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Say what the queues hold, what is left over, or what is in quarantine."""
        host_vars = task_vars or {}
        result: dict[str, Any] = super(FleetApply, self).run(tmp, host_vars)
        states = {"listed": BrokerRun.list_queues, "cleaned": BrokerRun.clean, "quarantined": BrokerRun.quarantine}
        options = {"state": {"type": "str", "required": True, "choices": list(states)}}
        _checked, arguments = self.validate_argument_spec(options)
        do = states[arguments["state"]]
        return {**result, **self._only(lambda: do(self._fleet_run(BrokerRun, host_vars, APPLY)))}
