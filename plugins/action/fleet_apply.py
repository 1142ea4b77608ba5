# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and applies the fleet of one host, in the controller's process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ansible.plugins.action import ActionBase
from ansible_collections.queueops.celery.plugins.plugin_utils._collector import rare_collection
from ansible_collections.queueops.celery.plugins.plugin_utils._loading import loading

with loading():
    from ansible_collections.queueops.celery.plugins.plugin_utils._files import TreeError, write_text
    from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import APPLY, PLAN, VALIDATE, FleetRun
    from ansible_collections.queueops.celery.plugins.plugin_utils._history import run_by
    from ansible_collections.queueops.celery.plugins.plugin_utils._host_folder import HostFolder
    from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import (
        VariableError,
        names_given,
        read_variables,
    )
    from ansible_collections.queueops.celery.plugins.plugin_utils._hosts import Hosts, play_of
    from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import KubernetesCore
    from ansible_collections.queueops.celery.plugins.plugin_utils._reports import (
        HostReport,
        Progress,
        RunFolder,
        as_data,
        as_json,
        many_hosts,
        one_host,
        shared_warnings,
    )
    from ansible_collections.queueops.celery.plugins.plugin_utils._screen import Screen, is_for_people, verbosity
    from ansible_collections.queueops.celery.plugins.plugin_utils._status_page import StatusPage

#: Variables that the role reads without having a default for them.
_WITHOUT_DEFAULT = ("celery_workers_namespace", "celery_workers_hosts")
#: What is to be said where --start-at-task or --step has left out the work.
_DID_NOTHING = (
    "The task that brings the fleet into its state did not run, so nothing was done. Run the playbook from its "
    "beginning: leave --start-at-task and --step out."
)
#: Strategies in which a host does not wait for the others.
_OUT_OF_STEP = ("free", "host_pinned")

AnyRun = TypeVar("AnyRun", bound=FleetRun)


class ActionModule(ActionBase):
    """Runs on the controller, whatever machine the host is."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    @rare_collection()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the variables of the host and bring its fleet into its state, or say what was done on all hosts."""
        host_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, host_vars)
        names = ("only_verify", "only_report", "only_status", "only_status_page")
        options = {name: {"type": "bool", "default": False} for name in names}
        _checked, arguments = self.validate_argument_spec(options)
        if arguments["only_report"]:
            return {**result, **self._say_all(host_vars)}
        if arguments["only_status"] or arguments["only_status_page"]:
            shown = StatusPage(self, host_vars, self._known_variables())
            return {**result, **(shown.read() if arguments["only_status"] else shown.show())}
        return {**result, **self._work(host_vars, arguments["only_verify"])}

    def _work(self, host_vars: dict[str, Any], only_verifies: bool) -> dict[str, Any]:
        host = str(host_vars.get("inventory_hostname", ""))
        report = HostReport(host)
        try:
            run = self._fleet_run(FleetRun, host_vars, self._stage(host_vars))
            found, report = (run.verify() if only_verifies else run.apply()), run.report
        except VariableError as error:
            found, report.failed = {"failed": True, "msg": str(error)}, str(error)
        # A failure is shown whole, and its message lists the problems already.
        found.pop("problems", None)
        if only_verifies:
            return found
        self._folder().write(report)
        return {**self._quiet(found, host_vars), **({} if self._in_step() else {"in_step": False})}

    def _only(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What one run over one host returns that is not told again at the end of the role."""
        try:
            found = run()
        except VariableError as error:
            found = {"failed": True, "msg": str(error)}
        # A failure is shown whole, and its message lists the problems already.
        found.pop("problems", None)
        return found

    def _fleet_run(self, kind: type[AnyRun], host_vars: dict[str, Any], reaches: str) -> AnyRun:
        """A run over the host of the task.

        :raises VariableError: if it must not start, or its variables cannot be read.
        """
        host = str(host_vars.get("inventory_hostname", ""))
        crossing = self._crossing(host, host_vars)
        if crossing:
            raise VariableError("\n".join(crossing))
        made = kind(
            host=host,
            variables=replace(
                read_variables(self._templar, host_vars, self._known_variables()), given=names_given(self._loader)
            ),
            connect=lambda connection: KubernetesCore(self, host_vars, connection),
            reaches=reaches,
            checks=bool(self._task.check_mode),
            shows_diff=bool(self._task.diff),
            # All of the inventory, whatever --limit leaves in the play.
            hosts=tuple(map(str, (host_vars.get("groups") or {}).get("all") or ())),
        )
        made.by = run_by(host_vars)
        return made

    def _quiet(self, found: dict[str, Any], host_vars: Mapping[str, Any]) -> dict[str, Any]:
        """A result without what the last task of the role says once for all hosts, where people read it."""
        if not is_for_people() or verbosity() > 0:
            return found
        if found.get("failed"):
            # It is printed as it is, and the report has the rest.
            return {name: found[name] for name in ("failed", "changed", "msg", "diff", "warnings") if found.get(name)}
        if len(self._hosts(host_vars)) > 1:
            return {name: value for name, value in found.items() if name != "warnings"}
        return found

    def _crossing(self, host: str, host_vars: dict[str, Any]) -> list[str]:
        """Why this host must not run beside the others, unless the play before has looked."""
        before = host_vars.get("_celery_workers_hosts")
        if isinstance(before, Mapping) and host in (before.get("checked") or ()):
            return []
        return Hosts(self, host_vars).crossing(host)

    # What was done on all hosts

    def _say_all(self, host_vars: Mapping[str, Any]) -> dict[str, Any]:
        folder = self._folder()
        found = folder.read()
        play = play_of(self)
        progress = Progress(
            hosts=self._hosts(host_vars),
            active=_names(host_vars, "ansible_play_hosts"),
            batch=_names(host_vars, "ansible_play_batch"),
            stops_at_failures=bool(play.any_errors_fatal) or play.max_fail_percentage is not None,
        )
        if not found and progress.active:
            return {"failed": True, "msg": _DID_NOTHING}
        if not found or not progress.is_over(found):
            return {"changed": False}
        if not self._in_step() and not folder.left.is_first(str(self._task._uuid)):
            return {"changed": False}
        reports = progress.all_reports(found)
        try:
            files = write_reports(reports)
        except TreeError as error:
            return {"failed": True, "msg": str(error)}
        self._show(reports)
        result: dict[str, Any] = {"changed": False, "hosts": as_data(reports), "report_files": files}
        if is_for_people():
            # Each host's own are in its result, which people see of few hosts only.
            del result["hosts"]
            if len(reports) > 1 and verbosity() == 0:
                result["warnings"] = shared_warnings(reports)
        return result

    @staticmethod
    def _show(reports: list[HostReport]) -> None:
        shows = Screen("")
        if len(reports) == 1 or verbosity() > 0:
            for report in reports:
                shows.whole(one_host(report, verbosity()))
        if len(reports) > 1:
            shows.whole(many_hosts(reports))

    def _folder(self) -> RunFolder:
        return RunFolder(HostFolder.of(str(play_of(self)._uuid)))

    def _in_step(self) -> bool:
        """Whether all hosts have done a task before the first of them starts the next one."""
        return not str(play_of(self).strategy).endswith(_OUT_OF_STEP)

    @staticmethod
    def _hosts(host_vars: Mapping[str, Any]) -> list[str]:
        return _names(host_vars, "ansible_play_hosts_all")

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


def _names(host_vars: Mapping[str, Any], variable: str) -> list[str]:
    return [str(name) for name in host_vars.get(variable) or ()]


def write_reports(reports: list[HostReport]) -> list[str]:
    """Write the reports into the files that their hosts name, also in check mode: it is what the run has found.

    :raises TreeError: if one cannot be written.
    """
    paths = list(dict.fromkeys(report.report_file for report in reports if report.report_file))
    for path in paths:
        # Of a host whose variables could not be read, no file is known.
        own = [report for report in reports if report.report_file == path or not report.namespace]
        write_text(path, as_json(own), checks=False)
    return paths
