# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and applies the fleet of one host, in the controller's process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY, PLAN, VALIDATE, FleetRun
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import VariableError, read_variables
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore

#: Variables that the role reads without having a default for them.
_WITHOUT_DEFAULT = ("celery_workers_namespace", "celery_workers_hosts")


class ActionModule(ActionBase):
    """Runs on the controller, whatever machine the host is."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the variables of the host and bring its fleet into its state."""
        host_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, host_vars)
        _checked, arguments = self.validate_argument_spec({"only_verify": {"type": "bool", "default": False}})
        try:
            variables = read_variables(self._templar, host_vars, self._known_variables())
            run = FleetRun(
                host=str(host_vars.get("inventory_hostname", "")),
                variables=variables,
                connect=lambda connection: KubernetesCore(self, host_vars, connection),
                reaches=self._stage(host_vars),
                checks=bool(self._task.check_mode),
                shows_diff=bool(self._task.diff),
                # All of the inventory, whatever --limit leaves in the play.
                hosts=tuple(map(str, (host_vars.get("groups") or {}).get("all") or ())),
            )
            found = run.verify() if arguments["only_verify"] else run.apply()
        except VariableError as error:
            found = {"failed": True, "msg": str(error)}
        # A failure is shown whole, and its message lists the problems already.
        found.pop("problems", None)
        return {**result, **found}

    def _known_variables(self) -> tuple[str, ...]:
        """Names that the role has: those of its defaults. Empty outside of a role, where nobody checks."""
        role = self._task._role
        return (*role.get_default_vars(), *_WITHOUT_DEFAULT) if role is not None else ()

    def _stage(self, task_vars: Mapping[str, Any]) -> str:
        """How far the run goes by its tags."""
        only, skipped = task_vars.get("ansible_run_tags"), task_vars.get("ansible_skip_tags")
        return stage_of([str(tag) for tag in self._task.tags], only or ["all"], skipped or [])


def stage_of(tags: Collection[str], only: Collection[str], skipped: Collection[str]) -> str:
    """How far a run goes. One task does it all, so it asks for each stage as if that were a task of its own.

    :param tags: of the task; what the play gives to the role is among them.
    :param only: what the run is limited to.
    :param skipped: what it leaves out.
    """
    own = set(tags) - {"always"}
    if _is_asked_for({*own, "apply"}, only, skipped):
        return APPLY
    return PLAN if _is_asked_for({*own, "plan", "apply"}, only, skipped) else VALIDATE


def _is_asked_for(tags: set[str], only: Collection[str], skipped: Collection[str]) -> bool:
    """Whether a task with these tags would run, by Ansible's own rules."""
    wanted = bool({"all", "tagged"} & set(only)) or bool(tags & set(only))
    return wanted and not {"all", "tagged"} & set(skipped) and not tags & set(skipped)
