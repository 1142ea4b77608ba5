# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the steps of a plan in their order, and keeps what became of each object. No secret value leaves it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._build.secrets import redact
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import ask_fleet, work_at_risk
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import (
    Report,
    failure_message,
    first_cause,
    identity,
    is_change,
    list_results,
    lost_connection,
    not_sent_lines,
    readable,
    report,
    without_env_secrets,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.key_changes import FINISHED
from ansible_collections.queueops.celery.plugins.module_utils._cluster.leaving import Move, move_messages
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import (
    Cluster,
    ClusterError,
    address_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.stuck_jobs import find_stuck, refused
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.observed import Observed
from ansible_collections.queueops.celery.plugins.module_utils._plan.comparing import covers
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import (
    APPLY,
    ASK,
    CLEAR,
    COUNT,
    DELETE,
    DRAIN,
    DRAIN_AGAIN,
    LOOK,
    MOVE,
    PATCH,
    REST,
    RESUME,
    SCALERS,
    TAKE_BACK,
    TO_COME,
    TRY,
    TRY_CHANGED,
    WAIT,
    WRITE,
    Plan,
    Step,
)
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted
from ansible_collections.queueops.celery.plugins.module_utils._schema.secret_signs import without_values
from ansible_collections.queueops.celery.plugins.module_utils.plan import filled_in
from ansible_collections.queueops.celery.plugins.plugin_utils._draining import Drains, StepError, Waves
from ansible_collections.queueops.celery.plugins.plugin_utils._files import write_text
from ansible_collections.queueops.celery.plugins.plugin_utils._last_looks import LastLooks
from ansible_collections.queueops.celery.plugins.plugin_utils._secret_objects import refused_secrets
from ansible_collections.queueops.celery.plugins.plugin_utils._stopping import Stopping
from ansible_collections.queueops.celery.plugins.plugin_utils._waiting import Waits

Object = dict[str, Any]
Send = Callable[[Object, bool, Collection[str]], Object]

#: Seconds that a removed scaler may take; KEDA takes its finalizer off within a few.
_LONGEST_REMOVAL = 60


@dataclass
class Executor:
    """Runs steps.

    :param send: runs kubernetes.core.k8s once.
    :param cluster: opens the cluster for looking and asking.
    :param secrets: Secret objects with their values.
    :param tell: shows a line while the run works.
    """

    send: Send
    cluster: Cluster | None
    fleet: Fleet
    observed: Observed
    secrets: list[Object] = field(repr=False)
    tell: Callable[[str], None]
    checks: bool
    shows_diff: bool
    timeout: int
    key_change: str = "stop"
    drain_timeout: int = 900
    drain_on_timeout: str = "keep"
    done: Report = field(default_factory=Report)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    answers: Object = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)
    _waves: Waves = field(default_factory=Waves)
    #: Kind and name of what later steps send.
    _later: list[str] = field(default_factory=list)

    def run(self, plan: Plan) -> None:
        """Run every step.

        :raises StepError: at the first that fails.
        """
        self.done.unchanged.extend(plan.unchanged)
        self._note(report([], {}, list(map(readable, plan.not_sent)), self._existing, self.shows_diff))
        for position, step in enumerate(plan.steps):
            if self._waves.leaves_out(step):
                continue
            self._later = [identity(item) for one in plan.steps[position + 1 :] for item in _sent_of(one)]
            try:
                self._run(step)
            except ClusterError as error:
                self._resume()
                raise StepError("\n".join([self._cut_short(step), str(error), *self._left(step)])) from error
            except Exception:
                self._resume()
                raise
            if step.action == PATCH or (step.action == DELETE and self._stopping.are_gone(step)):
                self._waves.end(step.wave)
            self._stopping.follow(step)
        self._waves.raise_any(plan, self.drain_timeout)

    def _cut_short(self, step: Step) -> str:
        """What was done before the server could not be read any more."""
        names = ", ".join(identity(item) for item in step.objects[:3]) or "the workers"
        return f"The run ended while it looked at {names}; {self.done.counts}. A second run continues from here."

    def _left(self, step: Step) -> list[str]:
        rest = [identity(item) for item in _sent_of(step)]
        return not_sent_lines([*rest, *self._later])

    def _run(self, step: Step) -> None:
        if step.action == WRITE:
            for item in step.objects:
                self._write(item)
        elif step.action == DELETE:
            self._delete(step)
        elif step.action == PATCH:
            self._patch(step)
        elif step.action == WAIT:
            self._waits.until_up(step)
        elif step.action in (TRY, TRY_CHANGED):
            self._waits.until_tried(step)
        elif step.action == ASK:
            self._ask(step)
        elif step.action == MOVE:
            self._move(step)
        elif step.action == LOOK:
            self._look_again()
        elif step.action == DRAIN and step.wave:
            self._waves.drain(step, self._drains)
        elif step.action == DRAIN:
            self._drains.drain(step.objects)
        elif step.action == DRAIN_AGAIN:
            self._drains.drain_again(step.objects)
        elif step.action == RESUME:
            self._drains.resume(step.objects)
        elif step.action == TAKE_BACK:
            self._drains.end_left(step.objects)
        elif step.action == CLEAR:
            self._clear(step)
        elif step.action in (COUNT, REST) and not self.checks:
            (self._last_looks.count if step.action == COUNT else self._last_looks.tell)(step)
        elif step.action == APPLY:
            is_secret = step.objects[0]["kind"] == "Secret"
            self._send_secrets(step) if is_secret else self._apply(step)

    @property
    def _existing(self) -> Collection[str]:
        return {f"{item.kind} {item.name}" for item in self.observed.objects}

    def _clean(self, text: str) -> str:
        """A text of the server without the values of the inventory and of the connection, as it may repeat any."""
        hidden = self.cluster.hidden if self.cluster is not None else frozenset()
        return redact(without_values(text, hidden), self.secrets)

    def _cleaned(self, told: str) -> str:
        """The same for a text behind the name of its object, which is ours."""
        name, colon, cause = told.partition(": ")
        return f"{name}{colon}{self._clean(cause)}"

    def _note(self, found: Report) -> None:
        told = list(map(self._cleaned, found.failed)), list(map(self._cleaned, found.warnings))
        found = replace(found, failed=told[0], warnings=told[1])
        for name in ("created", "changed", "prepared", "deleted", "unchanged", "failed", "lost", "diff", "warnings"):
            getattr(self.done, name).extend(getattr(found, name))
        if found.failed:
            raise StepError(failure_message(self.done, address_of(self.cluster), self._later))

    def _send(self, objects: list[Object], arguments: Object, hides: bool) -> Object:
        """Send objects as one task.

        :raises StepError: if it failed as a whole, so that nothing says what became of each object.
        """
        new = {identity(item) for item in objects}.difference(self._existing) if "state" not in arguments else ()
        result = self.send({**arguments, "definition": objects}, hides, new)
        if not result.get("failed") or list_results(result):
            return result
        names = [identity(item) for item in objects]
        gone = lost_connection(result)
        is_secret = any(item["kind"] == "Secret" for item in objects)
        cause = gone or ("\n".join(refused_secrets(result, objects)) if is_secret else self._clean(first_cause(result)))
        if len(names) == 1:
            self._note(Report(failed=[f"{names[0]}: {cause}"], lost=names if gone else []))
        self.done.failed.extend(names)
        raise StepError("\n".join(self._whole_task(names, gone, cause)))

    def _whole_task(self, names: list[str], gone: str, cause: str) -> list[str]:
        address = address_of(self.cluster)
        server = f"The API server{f' {address}' if address else ''}"
        what = f"could not be reached any more: {gone}" if gone else f"was not told what to do: {cause}"
        return [
            f"{server} {what}.",
            f"It gave no result for {len(names)} objects that were on their way together, {names[0]} first: "
            f"{', '.join(names[:6])}{' and more' if len(names) > 6 else ''}. Which of them it took is not known. "
            f"Before them {self.done.counts}. A second run continues from here.",
            *not_sent_lines(self._later),
        ]

    def _apply(self, step: Step) -> None:
        objects = [filled_in(item, self._versions) for item in step.objects]
        arguments: Object = {"apply": True, "hidden_fields": ["metadata.managedFields"]}
        if objects[0]["kind"] == "Namespace":
            del arguments["apply"]
        self._note(self._reported(objects, self._send(objects, arguments, step.hides)))

    def _patch(self, step: Step) -> None:
        objects = [filled_in(item, self._versions) for item in step.objects]
        result = self._send(
            objects,
            {
                "state": "patched",
                "merge_type": ["strategic-merge" if step.is_strategic else "merge"],
                "hidden_fields": ["metadata.managedFields"],
            },
            step.hides,
        )
        if step.is_strategic or step.is_change:
            self._note(self._reported(objects, result))
        else:
            # Only the record of the last apply has changed, which is no change for people.
            found = report(objects, result, [], self._existing, shows_diff=False)
            sent = zip(objects, list_results(result), strict=False)
            prepared = [identity(item) for item, told in sent if told.get("changed") and not told.get("error")]
            self._note(Report(prepared=prepared, failed=found.failed, lost=found.lost, warnings=found.warnings))

    def _reported(self, objects: list[Object], result: Object) -> Report:
        items = list_results(result)
        if not items:
            return report(objects, result, [], self._existing, self.shows_diff)
        shown = [without_env_secrets(item) if is_change(item) else {**item, "changed": False} for item in items]
        return report(objects, {"result": {"results": shown}}, [], self._existing, self.shows_diff)

    def _send_secrets(self, step: Step) -> None:
        names = {item["metadata"]["name"] for item in step.objects}
        sent = [item for item in self.secrets if item["metadata"]["name"] in names]
        # Not applied but patched: an apply would keep the values in an annotation.
        result = self._send(sent, {"merge_type": ["merge"]}, True)
        refused = refused_secrets(result, sent)
        shown = [readable(item) for item in sent]
        results = [
            {
                "changed": bool(item.get("changed")),
                "method": item.get("method", ""),
                "result": readable(item.get("result") or {}),
                # A lost connection is told in fixed words, a refusal by what was cleaned above.
                **({"error": item["error"]} if item.get("error") else {}),
            }
            for item in list_results(result)
        ]
        for item in list_results(result):
            metadata = (item.get("result") or {}).get("metadata") or {}
            self._versions[str(metadata.get("name"))] = self._version(metadata, bool(item.get("changed")))
        found = report(shown, {"result": {"results": results}}, [], self._existing, self.shows_diff)
        lost = [text for text in found.failed if text.partition(": ")[0] in found.lost]
        self._note(replace(found, failed=[*lost, *refused]))

    def _version(self, metadata: Object, changed: bool) -> str:
        """The version of a Secret that was sent. A dry run does not move it, so there it is one to come."""
        version = str(metadata.get("resourceVersion") or "")
        return TO_COME if self.checks and changed else version

    def _delete(self, step: Step) -> None:
        """Scalers go first and are waited for, so that nothing brings the pods back."""
        scalers = [item for item in step.objects if item["kind"] in SCALERS]
        jobs = [item for item in step.objects if item["kind"] == "ScaledJob"]
        rest = [item for item in step.objects if item["kind"] not in (*SCALERS, "ScaledJob")]
        # With its HPA: one that outlives the ScaledObject would still hold the number of pods down. Jobs may take as
        # long to end as their grace period lets them.
        for some, policy in ((scalers, "Foreground"), (jobs, "Background")):
            if some:
                waiting = {
                    "delete_options": {"propagationPolicy": policy},
                    "wait": True,
                    "wait_sleep": 1,
                    "wait_timeout": min(self.timeout, _LONGEST_REMOVAL),
                }
                later = [*map(identity, [*(jobs if some is scalers else []), *rest])]
                self._later = [*later, *self._later]
                self._remove(some, waiting)
                self._later = self._later[len(later) :]
        if rest:
            self._remove(rest, {})

    def _remove(self, objects: list[Object], options: Object) -> None:
        result = self._send(objects, {"state": "absent", **options}, False)
        self._note(report(objects, result, [], None, self.shows_diff))

    def _clear(self, step: Step) -> None:
        """Delete Jobs that never started: KEDA counts them, and starts no others in their place."""
        names = [str(item["metadata"]["name"]) for item in step.objects]
        try:
            doomed = find_stuck(self._open(), self.fleet.name, names, covers)
        except ClusterError as error:
            self.warnings.append(f"Whether Jobs of {', '.join(names)} never started is not known: {error}")
            return
        if doomed:
            # Of a Job the pods stay, unless they are asked for as well.
            arguments = {"state": "absent", "delete_options": {"propagationPolicy": "Background"}}
            result = self._send(doomed, arguments, False)
            found, stay = refused(report(doomed, result, [], None, self.shows_diff), self.fleet.namespace)
            self.warnings.extend(map(self._clean, stay))
            self._note(found)

    def _write(self, item: Object) -> None:
        changed, diff = write_text(item["path"], item["content"], checks=self.checks)
        if changed:
            (self.done.changed if diff["before"] else self.done.created).append(f"file {item['path']}")
            self.done.diff.append(diff)

    def _open(self) -> Cluster:
        if self.cluster is None:
            raise StepError("There is no cluster to look at.")
        return self.cluster

    def _ask(self, step: Step) -> None:
        if step.objects:
            self._stopping.finish([(item["kind"], item["metadata"]["name"]) for item in step.objects])
        else:
            self.verify()

    @property
    def waited(self) -> int:
        """Seconds that it has waited for what was sent."""
        return self._waits.waited

    @cached_property
    def _waits(self) -> Waits:
        return Waits(self._open, self.fleet, self.timeout, self.tell, self._clean, self.notes, self.warnings)

    @property
    def _drains(self) -> Drains:
        return Drains(
            self._open(),
            lambda patches: self._patch(Step("", PATCH, tuple(patches))),
            self.tell,
            self.checks,
            self.drain_timeout,
            self.drain_on_timeout,
            self.notes,
            self.warnings,
        )

    @cached_property
    def _stopping(self) -> Stopping:
        return Stopping(
            self._open,
            # That KEDA starts Jobs again is a change; that a note of ours goes is none.
            lambda patches: self._patch(Step("", PATCH, tuple(patches), is_change=patches[0]["kind"] != "Deployment")),
            self.fleet.namespace,
            self.checks,
            self.timeout,
            self.warnings,
        )

    @cached_property
    def _last_looks(self) -> LastLooks:
        return LastLooks(self._open, self.fleet, self.key_change, self.notes, self.warnings)

    def _look_again(self) -> None:
        """Look at what workers hold that run nothing any more, such as tasks for later."""
        found = [] if self.checks else work_at_risk(self._open(), self.fleet, self.observed, FINISHED, True).problems
        if found:
            raise StepError("\n".join(["The scalers are removed, and nothing else is.", *found]))

    def _move(self, step: Step) -> None:
        """Move what waits, so that nothing is deleted that is the last to know of a message."""
        moves = [
            Move(item["deployment"], tuple(item["others"]), tuple(item["queues"]), item["to"]) for item in step.objects
        ]
        if self.checks:
            self.notes += [f"Would move what waits in {', '.join(move.queues)} to {move.to}." for move in moves]
            return
        for move, answer in move_messages(self._open(), self.fleet.name, moves):
            queues, left = ", ".join(move.queues), sum((answer.by_queue or {}).values())
            moved = f"Moved {counted(answer.moved, 'message')} from {queues} to {move.to}"
            if answer.error or answer.by_queue is None or left:
                why = answer.error or f"{left} are still there"
                raise StepError(f"{moved}, and then it ended: {why}. Nothing was deleted that consumes {queues}.")
            self.notes.append(f"{moved}.")

    def _resume(self) -> None:
        """Workers that were told to take nothing, and are not replaced after all, take work again."""
        if self._waves.draining and not self.checks:
            self.warnings.extend(self._waves.take_back(self._drains))
        self._stopping.take_back()

    def verify(self) -> None:
        """Ask one ready pod of each variant what is in force.

        :raises StepError: where work could be lost.
        """
        found, silent = ask_fleet(self._open(), self.fleet, canaries=not self.checks)
        self.warnings.extend(warning for finding in found for warning in finding.warnings)
        self.answers = {
            "asked": [
                {
                    "deployment": finding.deployment,
                    "pod": finding.pod,
                    "tasks": finding.tasks,
                    "early_tasks": list(finding.early_tasks),
                }
                for finding in found
            ],
            "not_asked": silent,
        }
        problems = [problem for finding in found for problem in finding.problems]
        if problems:
            raise StepError("\n".join(problems))


def _sent_of(step: Step) -> list[Object]:
    """What a step sends, of steps that write to the cluster."""
    return list(step.objects) if step.action in (APPLY, PATCH, DELETE) else []


def no_cluster(_arguments: Object, _hides: bool, _new: Collection[str]) -> Object:
    """What sends where nothing can be sent."""
    raise StepError("Manifest files are made without a cluster.")
