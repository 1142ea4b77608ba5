# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the hosts of a play beside each other. On the controller, where their variables are."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.module_utils.neighbours import (
        DEFAULT_GROUP,
        collisions,
        no_host,
        unconfirmed_removal,
    )
    from ansible_collections.queueops.celery.plugins.plugin_utils._hosts import Hosts, extra_variable


class ActionModule(ActionBase):
    """Runs inventory_check."""

    _requires_connection = False

    @rare_collection()
    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Check, and say what is wrong with all of it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            {"play_follows": {"type": "bool", "default": False}, "removes": {"type": "bool", "default": False}}
        )
        variables = task_vars or {}
        hosts = Hosts(self, variables)
        if options["play_follows"]:
            problems, checked = self._before_the_play(hosts, variables, options["removes"])
        else:
            checked = [str(variables["inventory_hostname"])]
            problems = hosts.crossing(checked[0])
        result.update(changed=False, checked=checked)
        if problems:
            result.update(failed=True, msg="\n".join(problems))
        return result

    def _before_the_play(self, hosts: Hosts, variables: dict[str, Any], removes: bool) -> tuple[list[str], list[str]]:
        """What stops the play that follows, and its hosts."""
        pattern = extra_variable(self, "celery_workers_hosts") or DEFAULT_GROUP
        limit = str(variables.get("ansible_limit") or "")
        matched = hosts.of_pattern(pattern)
        # Nobody needs to write localhost into an inventory.
        present = [str(name) for name in variables.get("ansible_play_hosts_all") or []]
        running = [name for name in present if name in matched or (name == pattern == "localhost")]
        if not running:
            return [no_host(str(pattern), matched, variables["groups"], limit)], []
        places = list(hosts.places(dict.fromkeys([*matched, *running])))
        problems = collisions(places, running, hosts.objects)
        if removes or extra_variable(self, "celery_workers_state") == "absent":
            confirmed = extra_variable(self, "celery_workers_confirm_remove")
            own = [place for place in places if place.host in running]
            problems += filter(None, [unconfirmed_removal(own, confirmed, limit)])
        return problems, running
