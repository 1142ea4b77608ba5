# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over one host: read its variables, look at its cluster, plan, send what differs, wait, say it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import secrets_of, without_stale_keys
from ansible_collections.queueops.celery.plugins.module_utils._check.preflight import (
    named_objects,
    redis_hosts,
    source_names,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import AtRisk, work_at_risk
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import Report, readable
from ansible_collections.queueops.celery.plugins.module_utils._cluster.direct import DirectCluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.lacking import advised
from ansible_collections.queueops.celery.plugins.module_utils._cluster.leaving import Left, leavings, left_behind
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    ClusterError,
    read_observed,
    utc_now,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.drains import AFTER_DRAIN
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.history import DEPLOY, REMOVE
from ansible_collections.queueops.celery.plugins.module_utils._model.names import FLOWER
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import NOTHING, Observed
from ansible_collections.queueops.celery.plugins.module_utils._openedx.tutor import TutorError, read_observed_project
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import Plan, Sight, Wishes
from ansible_collections.queueops.celery.plugins.module_utils._plan.files import plan_files
from ansible_collections.queueops.celery.plugins.module_utils._plan.steps import namespace_manifest
from ansible_collections.queueops.celery.plugins.module_utils._read.origins import explained
from ansible_collections.queueops.celery.plugins.module_utils._read.reader import Inventory
from ansible_collections.queueops.celery.plugins.module_utils._schema.documents import as_yaml
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import InventoryError, Problem
from ansible_collections.queueops.celery.plugins.module_utils.fleet import (
    fleet_in_cluster,
    parse_fleet,
)
from ansible_collections.queueops.celery.plugins.module_utils.plan import plan, plan_removal
from ansible_collections.queueops.celery.plugins.plugin_utils._draining import StepError
from ansible_collections.queueops.celery.plugins.plugin_utils._executor import Executor, Send, no_cluster
from ansible_collections.queueops.celery.plugins.plugin_utils._files import (
    TreeError,
    deployment_files,
    file_of,
    folders_left,
    near_path,
    real_path,
    remove_files,
    write_files,
    write_private,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._history import Keeper
from ansible_collections.queueops.celery.plugins.plugin_utils._host_variables import HostVariables, VariableError
from ansible_collections.queueops.celery.plugins.plugin_utils._idle_first import as_allowed
from ansible_collections.queueops.celery.plugins.plugin_utils._kubernetes_core import (
    KubernetesCore,
    merged,
    remove_key_files,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._reports import HostReport
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import (
    Screen,
    after_files,
    delivered,
    drifted,
    going,
    planned,
    table,
    watched,
)
from ansible_collections.queueops.celery.plugins.plugin_utils._secret_objects import stale_secrets

Result = dict[str, Any]
#: How far a run goes, by the tag that asks for it.
VALIDATE, PLAN, APPLY = "validate", "plan", "apply"

#: What comes after a run, among the tables.
_ADVICE = ("make_sure", "routing")
_REFUSED = (InventoryError, VariableError, ClusterError, StepError, TreeError, TutorError)


class FleetRun:
    """One run over one host.

    :param connect: the way to kubernetes.core, for the connection that the host names.
    :param reaches: one of the stages above.
    :param hosts: every host of the inventory; empty where nobody knows them.
    :param clock: tells the time at which it begins.
    """

    lacking_advice = ""

    def __init__(
        self,
        host: str,
        variables: HostVariables,
        connect: Callable[[dict[str, Any]], KubernetesCore],
        reaches: str,
        checks: bool,
        shows_diff: bool,
        hosts: Collection[str] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.host = host
        self.variables = variables
        self.connect = connect
        self.reaches = reaches
        self.checks = checks
        self.shows_diff = shows_diff
        self.hosts = hosts
        self.now = clock()
        self.screen = Screen(host)
        self.result: Result = {"changed": False, "notes": []}
        self.warnings: list[str] = []
        self.report = HostReport(host, stage=reaches, check_mode=checks)
        #: Who runs it, for those who find what it has done.
        self.by = ""
        self.keeper: Keeper | None = None
        self.is_cut_off = False

    def apply(self) -> Result:
        """Bring the fleet into its state."""
        return self._guarded(self._bring, REMOVE if self.variables.text("state") == "absent" else DEPLOY)

    def _bring(self) -> None:
        self._refuse_selection()
        fails = self.variables.flag("fail_on_drift")
        if fails and not self.checks:
            text = "this run changes what differs, so that nothing is left to fail on. Add --check, or leave this out."
            raise InventoryError([Problem("celery_workers_fail_on_drift", text)])
        if fails and self.reaches != APPLY:
            text = "this run compares nothing with the cluster. Leave out --tags, or leave this out."
            raise InventoryError([Problem("celery_workers_fail_on_drift", text)])
        if self.variables.text("output") == "manifests":
            self._files()
        else:
            self._cluster()
        if fails and self.result["changed"] and not self.result.get("failed"):
            report = self.report
            self.result.update(failed=True, msg=drifted([*report.created, *report.changed, *report.removed]))

    def _refuse_selection(self) -> None:
        """A run that would work on more than it was told to must not start."""
        chosen = self.variables.value("only")
        if chosen:
            word = "removes" if self.variables.text("state") == "absent" else "works on"
            text = (
                f"this run {word} the whole fleet, and not only {', '.join(chosen)}. Leave it out; the playbooks "
                "status, queues, pause, drain, resume and boost of queueops.celery read it."
            )
            raise InventoryError([Problem("celery_workers_only", text)])

    def verify(self) -> Result:
        """Ask the running workers, and do nothing else."""
        return self._guarded(self._verify, "verify")

    def _guarded(self, work: Callable[[], None], what: str) -> Result:
        """Do it.

        :param what: the playbook.
        """
        self.variables = replace(self.variables, playbook=what)
        self.warnings += self.variables.warnings
        try:
            self._attempt(work)
            self._remember(what)
        finally:
            remove_key_files()
        if self.result.get("failed"):
            self.result["msg"] = advised(str(self.result["msg"]), self.lacking_advice)
        if self.warnings:
            # Ansible shows the same text only once, so that without its host a warning of several hosts would be one's.
            self.report.warnings = list(dict.fromkeys(self.warnings))
            self.result["warnings"] = [f"{self.host}: {text}" for text in self.report.warnings]
        self.report.failed = str(self.result["msg"]) if self.result.get("failed") else ""
        return self.result

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            self._introduce()
            work()
        except InventoryError as error:
            problems = [str(problem) for problem in error.problems]
            self.result.update(failed=True, msg=str(error), problems=problems)
        except _REFUSED as error:
            self.result.update(failed=True, msg=str(error))

    def _introduce(self) -> None:
        report, variables = self.report, self.variables
        report.namespace, report.output = variables.text("namespace"), variables.text("output")
        report.state, report.report_file = variables.text("state"), variables.text("report_file")

    def _remember(self, what: str) -> None:
        """Keep a record of what was done, where something was."""
        most, result = self.variables.number("history"), self.result
        if self.keeper is not None and result.get("changed") and most and not (self.checks or self.is_cut_off):
            failed = str(result["msg"]) if result.get("failed") else ""
            self.warnings += self.keeper.remember(self.report, what, self.now, self.by, failed, most)

    # Cluster

    def _cluster(self) -> None:
        variables = self.variables
        if variables.text("state") == "absent":
            fleet, inventory = self._bare_fleet(), None
        else:
            inventory = variables.inventory()
            # The inventory first: its problems are reported with or without a cluster.
            fleet = parse_fleet(inventory)
        core = self.connect(variables.connection)
        cluster = core.open(fleet.namespace, variables.hidden)
        names = named_objects(fleet)
        read = read_observed(cluster, fleet.name, names, source_names(fleet), redis_hosts(fleet))
        observed = replace(read, now=self.now)
        if inventory is None:
            self._absent(core, cluster, fleet, observed)
            return
        fleet, warnings = fleet_in_cluster(inventory, fleet, observed, cluster.live)
        self.warnings += warnings
        self._present(core, cluster, as_allowed(cluster, fleet, observed, self.warnings), observed)

    def _bare_fleet(self) -> Fleet:
        """Found by label and never computed, so that it works whatever the inventory says by now."""
        variables = self.variables
        variables.refuse()
        return parse_fleet(Inventory(variables.text("namespace"), variables.text("fleet")), may_be_empty=True)

    def _absent(self, core: KubernetesCore, cluster: DirectCluster, fleet: Fleet, observed: Observed) -> None:
        """Remove everything of the fleet, unless something would be lost."""
        wishes = self.variables.wishes(self.checks)
        # What is left on an old key goes as well, so no worker can be left there. Workers that finish first what they
        # run are looked at after that.
        policy = "stop" if wishes.key_change == "stop" else "accept"
        risk = work_at_risk(cluster, fleet, observed, policy, prunes=True)
        left = self._left(cluster, fleet, observed, wishes, risk, removes=True)
        found = plan_removal(fleet, Sight(observed, cluster.live, risk, left), wishes)
        self.warnings.extend(found.warnings)
        self.screen.show(going(found))
        if found.problems:
            self.result.update(failed=True, msg="\n".join(found.problems), problems=list(found.problems))
            return
        self._say(found.notes)
        self._execute(core, cluster, fleet, observed, found, [])

    @staticmethod
    def _left(
        cluster: DirectCluster, fleet: Fleet, observed: Observed, wishes: Wishes, risk: AtRisk, removes: bool = False
    ) -> Left:
        """What waits in queues that the run leaves, of workers that are not in the way already."""
        every = leavings(fleet, observed, wishes.prunes, removes)
        found = [item for item in every if item.deployment not in risk.refused]
        if wishes.key_change == "accept":
            return Left(leaving=found)
        drains = removes and wishes.key_change == "drain"
        return left_behind(cluster, fleet, observed, found, cluster.live, drains, wishes.move_to)

    def _present(self, core: KubernetesCore, cluster: DirectCluster, fleet: Fleet, observed: Observed) -> None:
        wishes = self.variables.wishes(self.checks)
        finishes = wishes.rollout == AFTER_DRAIN
        risk = work_at_risk(cluster, fleet, observed, wishes.key_change, wishes.prunes, finishes)
        left = self._left(cluster, fleet, observed, wishes, risk)
        secrets = secrets_of(fleet, self.variables.layers, observed, wishes.output)
        secrets = without_stale_keys(secrets, observed)
        stale = stale_secrets(cluster, fleet, observed, secrets)
        shown = [readable(item) for item in secrets]
        found = plan(fleet, Sight(observed, cluster.live, risk, left), wishes, merged, shown, stale)
        self.warnings.extend(found.warnings)
        self._described(found, fleet)
        if found.problems or (found.missing and not self.checks):
            problems = [*found.problems, *found.missing]
            self.result.update(failed=True, msg="\n".join(problems), problems=problems)
            return
        if found.missing:
            self.warnings.append("\n".join(["Without check mode the run would stop here:", *found.missing]))
        self.result["notes"].extend(found.draining)
        self.screen.show(found.draining)
        self._say(found.notes)
        if self.reaches == VALIDATE:
            return
        self._show(planned(found, wishes))
        if self.reaches == APPLY:
            self._show(delivered(found, fleet.routing_delivery))
            self._show(watched(found, wishes, self._has(FLOWER), self._has("prometheus_rule")))
            self._execute(core, cluster, fleet, observed, found, secrets)
            self._is_up(found, wishes)

    def _described(self, found: Plan, fleet: Fleet) -> None:
        """What the report says of a plan, also where the run ends before its first step."""
        self.report.rows = [dict(row) for row in found.rows]
        if self.variables.flag("explain"):
            self.report.explained = explained(fleet.variants)
            self.result["explained"] = self.report.explained

    def _is_up(self, found: Plan, wishes: Wishes) -> None:
        """What runs now. A run that waits has waited, or has seen when it planned that everything is up."""
        if wishes.waits and not wishes.checks:
            names = (*found.workers, ("ScaledObject", found.scaled_objects))
            self.report.up = [f"{kind} {name}" for kind, own in names for name in own]
            self.report.waited = self.result.get("waited", 0)

    def _has(self, part: str) -> bool:
        return self.variables.flag(f"{part}_enabled")

    def _execute(
        self,
        core: KubernetesCore,
        cluster: DirectCluster | None,
        fleet: Fleet,
        observed: Observed,
        steps: Plan,
        secrets: list[dict[str, Any]],
    ) -> None:
        if self.reaches != APPLY:
            return
        self.keeper = Keeper(core.send, cluster, fleet) if cluster is not None else None
        self._run(self._executor(core.send, cluster, fleet, observed, secrets), steps)

    def _executor(
        self,
        send: Send,
        cluster: DirectCluster | None,
        fleet: Fleet,
        observed: Observed,
        secrets: list[dict[str, Any]],
    ) -> Executor:
        variables = self.variables
        return Executor(
            send=send,
            cluster=cluster,
            fleet=fleet,
            observed=observed,
            secrets=secrets,
            tell=self.screen.progress,
            checks=self.checks,
            shows_diff=self.shows_diff,
            timeout=variables.number("wait_timeout"),
            key_change=variables.text("key_change"),
            drain_timeout=variables.number("drain_timeout"),
            drain_on_timeout=variables.text("drain_on_timeout"),
        )

    def _run(self, executor: Executor, steps: Plan) -> None:
        try:
            executor.run(steps)
        finally:
            self._report(executor.done)
            self.is_cut_off = bool(executor.done.lost)
            self.warnings.extend([*executor.warnings, *executor.done.warnings])
            self._say(executor.notes)
            self.result.update(executor.answers, waited=executor.waited)
            self._say_asked(executor)

    def _say_asked(self, executor: Executor) -> None:
        if not executor.answers:
            return
        asked, silent = executor.answers["asked"], executor.answers["not_asked"]
        lines = table(asked, ("deployment", "pod", "tasks")) if asked else ["No pod is ready, so none was asked."]
        if silent:
            lines.append(f"Without a ready pod, so not asked: {', '.join(silent)}")
        self._show({"answers": lines})

    def _report(self, done: Report) -> None:
        self.result.update(
            changed=bool(done.created or done.changed or done.deleted),
            created=done.created,
            updated=done.changed,
            deleted=done.deleted,
            unchanged=done.unchanged,
            failed_objects=done.failed,
            summary=done.summary,
            diff=done.diff,
        )
        self.result.setdefault("msg", done.summary)
        report = self.report
        report.created, report.changed, report.removed = done.created, done.changed, done.deleted
        report.unchanged = len(done.unchanged)

    def _say(self, lines: Any) -> None:
        """What is to be known of what was done."""
        self.result["notes"].extend(lines)
        self.report.notes.extend(lines)

    def _show(self, tables: dict[str, list[str]]) -> None:
        for name, lines in tables.items():
            if lines:
                self.result[name] = lines
                if name in _ADVICE:
                    self.report.next.extend(lines)
                else:
                    self.report.tables[name] = lines

    def _verify(self) -> None:
        self._refuse_selection()
        fleet = parse_fleet(self.variables.inventory())
        core = self.connect(self.variables.connection)
        executor = self._executor(core.send, core.open(fleet.namespace, self.variables.hidden), fleet, NOTHING, [])
        try:
            executor.verify()
        finally:
            self.warnings.extend(executor.warnings)
            self.result.update(executor.answers)
            self._say_asked(executor)
            self.screen.show(self.result.get("answers", []))

    # Files

    def _files(self) -> None:
        variables = self.variables
        folder = real_path(variables.text("manifests_dir"))
        if variables.text("state") == "absent":
            variables.refuse()
            if self.reaches == APPLY:
                tree = write_files(folder, self.host, [], [], [], False, self.checks)
                self.result.update(tree)
                self.report.note_files(tree)
            self._left_behind(folder)
            return
        wishes = variables.wishes(self.checks)
        inventory = variables.inventory()
        observed = NOTHING
        if variables.text("tutor_root") and not variables.problems:
            observed, warnings = read_observed_project(real_path(variables.text("tutor_root")))
            self.warnings.extend(warnings)
        fleet = parse_fleet(replace(inventory, observed=observed))
        found = plan_files(fleet, observed, wishes, deployment_files(folder, self.host))
        self.warnings.extend(found.warnings)
        self._described(found, fleet)
        if found.problems:
            self.result.update(failed=True, msg="\n".join(found.problems), problems=list(found.problems))
            return
        if self.reaches == APPLY:
            self._write(folder, fleet, found)
        elif self.reaches == PLAN:
            self._show(planned(found, wishes))
        self._left_behind(folder)

    def _left_behind(self, folder: str) -> None:
        """Name what was written for hosts that are gone, and remove it if asked to."""
        if not self.hosts:
            return
        prunes = self.variables.flag("manifests_prune")
        for path in folders_left(folder, {*self.hosts, self.host}):
            near = near_path(path)
            if not prunes:
                self.warnings.append(
                    f"{near} was written for a host that is no longer in the inventory; remove it with "
                    "celery_workers_manifests_prune: true"
                )
            elif self.reaches == APPLY:
                diff = remove_files(path, self.checks)
                self.result["changed"] = True
                self.result["diff"] = [*self.result.get("diff", []), *diff]
                what = "would be removed" if self.checks else "is removed"
                self._say([f"{near}, written for a host that is no longer in the inventory, {what}."])

    def _write(self, folder: str, fleet: Fleet, found: Plan) -> None:
        variables, wishes = self.variables, self.variables.wishes(self.checks)
        secrets = secrets_of(fleet, variables.layers, NOTHING, wishes.output)
        writes_secrets = variables.flag("manifests_secrets") and bool(secrets)
        namespace = [namespace_manifest(fleet.namespace)] if wishes.creates_namespace else []
        tree = write_files(
            folder,
            self.host,
            [*namespace, *found.manifests],
            list(found.adoptions),
            ["secrets.yaml"] if writes_secrets else [],
            True,
            self.checks,
        )
        if writes_secrets:
            text = "---\n".join(as_yaml(item) for item in secrets)
            tree["changed"] |= write_private(f"{tree['path']}/secrets.yaml", text, self.checks)
        near = near_path(tree["path"])
        if found.secrets and not variables.flag("manifests_secrets"):
            names = ", ".join(f"Secret {name}" for name in found.secrets)
            beside = f"Create {names} beside them, or set celery_workers_manifests_secrets: true."
            self._say([f"The files hold no secret values. {beside}"])
        rows = [{**row, "file": f"{near}/{file_of(row['deployment'], tree['files'])}"} for row in found.rows]
        self._show({**planned(found, wishes), "placed": table(rows, ("service", "variant", "file"))})
        self._show(watched(found, wishes, self._has(FLOWER), self._has("prometheus_rule")))
        executor = self._executor(no_cluster, None, fleet, NOTHING, [])
        self._run(executor, Plan(steps=found.steps))
        self._show(delivered(found, fleet.routing_delivery))
        self.result.update({name: tree[name] for name in ("path", "files", "written", "removed")})
        self.result["changed"] = bool(tree["changed"] or self.result["changed"])
        self.report.note_files(tree)
        self.result["diff"] = [*tree["diff"], *self.result["diff"]]
        lines = after_files(fleet.namespace, found, near)
        self.result["notes"].extend(lines)
        self.report.next[:0] = lines
