# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the playbooks that read the brokers of a fleet, and clean them up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ansible_collections.queueops.celery.plugins.module_utils._celery.in_flight import (
    origin_of,
    quarantine_of,
    quarantines_of,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.survey_texts import (
    consumers_of,
    findings,
    is_changed,
    is_quarantine,
    quarantine_cells,
    queue_cells,
    would_change,
)
from ansible_collections.queueops.celery.plugins.module_utils._celery.surveys import Survey, as_data, quarantined_data
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reaching import (
    LibraryError,
    survey_directly,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import Cluster
from ansible_collections.queueops.celery.plugins.module_utils._cluster.surveying import (
    Surveyed,
    SurveyWish,
    broker_groups,
    question_about,
    survey_fleet,
)
from ansible_collections.queueops.celery.plugins.module_utils._model.fleet import Fleet
from ansible_collections.queueops.celery.plugins.module_utils._model.selection import PATH, select
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted
from ansible_collections.queueops.celery.plugins.module_utils._schema.problems import Problems
from ansible_collections.queueops.celery.plugins.module_utils.fleet import parse_fleet
from ansible_collections.queueops.celery.plugins.plugin_utils._broker_login import login_of, unreachable
from ansible_collections.queueops.celery.plugins.plugin_utils._fleet_run import FleetRun, Result
from ansible_collections.queueops.celery.plugins.plugin_utils._screen import table

_COLUMNS = ("queue", "waiting", "by priority", "unacked", "held for ETA", "consumers", "oldest", "variants")
_QUARANTINE_COLUMNS = ("queue", "task", "id", "starts", "since", "worker")
#: What may be done with messages in quarantine, beside showing them.
RETURN, DROP = "return", "drop"
_DO = "celery_workers_quarantine_do"
#: The broker is asked from here, and not from a pod.
CONTROLLER = "controller"


class BrokerRun(FleetRun):
    """One such run over one host."""

    def list_queues(self) -> Result:
        """Say what the queues hold."""
        return self._guarded(self._list, "queues")

    def clean(self) -> Result:
        """Find what is left over, and take it away where it is told to."""
        return self._guarded(self._clean, "gc")

    def quarantine(self) -> Result:
        """Say what is in quarantine, give it back or drop it."""
        return self._guarded(self._quarantine, "quarantine")

    def _list(self) -> None:
        fleet = parse_fleet(self.variables.inventory(), only_reads=True)
        problems = Problems()
        chosen = select(fleet, self.variables.value("only"), problems)
        problems.raise_any()
        only = {queue for variant in chosen.variants for queue in (*variant.queues, *quarantines_of(variant))}
        for one in self._surveyed(fleet, SurveyWish()):
            self._tell(self._queues_of(one, only if self.variables.value("only") else None))
            if one.survey.unread:
                self._tell([f"  What else is there is not known: {one.survey.unread}."])

    def _clean(self) -> None:
        variables, problems = self.variables, Problems()
        if variables.value("only"):
            problems.add(PATH, "a broker is cleaned up as a whole. Leave it out.")
        fleet = parse_fleet(variables.inventory(), only_reads=True)
        problems.raise_any()
        wanted = variables.flag("gc")
        removes = wanted and not self.checks
        wish = SurveyWish(
            audits=True,
            removes=removes,
            quiet=variables.number("gc_quiet"),
            min_age=variables.number("gc_min_age"),
        )
        found = list(self._surveyed(fleet, wish))
        for one in found:
            lines = findings(one.survey, one.group.queues, removes)
            self._tell([_asked(one), *(f"  {line}" for line in lines or ["nothing is left over."])])
        open_work = any(would_change(one.survey) for one in found)
        changed = any(is_changed(one.survey, removes) for one in found)
        self.result["changed"] = changed or self.result["changed"] or (wanted and self.checks and open_work)
        if open_work and not removes:
            what = "check mode: nothing was changed." if wanted else "Nothing was changed."
            way = "Run it without --check." if wanted else "Do it with -e celery_workers_gc=true."
            self._tell([f"{what} {way}"])

    def _quarantine(self) -> None:
        variables, problems = self.variables, Problems()
        fleet = parse_fleet(variables.inventory(), only_reads=True)
        chosen = select(fleet, variables.value("only"), problems)
        do, ids = variables.text("quarantine_do"), tuple(variables.value("quarantine_ids"))
        problems.raise_any()
        # Also of those without a limit now: their messages are there until somebody decides.
        queues = dict.fromkeys(quarantine_of(queue) for variant in chosen.variants for queue in variant.queues)
        wanted = do == RETURN or (do == DROP and variables.flag("quarantine_confirm"))
        wish = SurveyWish(
            quarantines=tuple(queues), quarantine_do=do if wanted and not self.checks else "", quarantine_ids=ids
        )
        found = list(self._surveyed(fleet, wish))
        rows = [row for one in found for row in one.survey.quarantined]
        for one in found:
            self._tell(_quarantine_of(one, wish.quarantine_do))
        missing = sorted(set(ids) - {row.id for row in rows})
        if missing and not self.result.get("failed"):
            self._tell([f"  not in quarantine: {', '.join(missing)}."])
        left = sorted(row.id for row in rows if not row.done)
        if wish.quarantine_do and (missing or left):
            said = [self.result.get("msg"), _not_done(do, missing, left)]
            self.result.update(failed=True, msg="\n".join(filter(None, said)))
        self.result["changed"] = self.result["changed"] or any(row.done for row in rows)
        self.result["changed"] = self.result["changed"] or bool(wanted and self.checks and rows)
        if rows and not wish.quarantine_do:
            self._tell([_ways(do, self.checks)])

    def _surveyed(self, fleet: Fleet, wish: SurveyWish) -> Iterator[Surveyed]:
        """Every broker that could be surveyed. What could not be is what the run fails with."""
        core = self.connect(self.variables.connection)
        cluster = core.open(fleet.namespace, self.variables.hidden)
        directly = self.variables.text("ask_broker_from") == CONTROLLER
        found = self._directly(cluster, fleet, wish) if directly else survey_fleet(cluster, fleet, wish)
        failed: list[str] = []
        told = self.result["brokers"] = []
        for one in found:
            told.append(
                {"broker": one.group.title, "asked": one.asked, **as_data(one.survey), "error": one.survey.error}
            )
            if wish.quarantines:
                told[-1]["quarantine"] = quarantined_data(one.survey)
            if one.survey.error:
                self.result["changed"] = self.result["changed"] or is_changed(one.survey, wish.removes)
                failed.append(self._failure(one, directly))
            else:
                yield one
        if failed:
            self.result.update(failed=True, msg="\n".join(failed))

    @staticmethod
    def _failure(one: Surveyed, directly: bool) -> str:
        way = (
            "Ask it through a pod, with celery_workers_ask_broker_from: pods."
            if directly
            else "Start a pod of a variant, or ask from here with celery_workers_ask_broker_from: controller, where "
            "this machine reaches the broker."
        )
        done = " What was changed before that stays changed." if is_changed(one.survey, removes=True) else ""
        return f"{one.group.title} could not be surveyed: {one.survey.error.removesuffix('.')}.{done} {way}"

    def _directly(self, cluster: Cluster, fleet: Fleet, wish: SurveyWish) -> Iterator[Surveyed]:
        """Survey every broker from here."""
        deployments = cluster.list_objects("Deployment", "apps/v1") or []
        pods = cluster.list_objects("Pod", "v1") or []
        for group in broker_groups(fleet):
            question = question_about(group, fleet.name, deployments, pods, wish)
            broker = group.services[0].broker
            why = unreachable(broker)
            if why or broker is None:
                yield Surveyed(group, Survey(error=why))
                continue
            try:
                yield Surveyed(group, survey_directly(broker, login_of(fleet, self.variables, broker), question))
            except LibraryError as error:
                yield Surveyed(group, Survey(error=str(error)))

    def _queues_of(self, one: Surveyed, only: set[str] | None) -> list[str]:
        consumers = dict(consumers_of((f"{item.service}/{item.name}", item.queues) for item in one.group.variants))
        for row in one.survey.queues:
            if is_quarantine(row.name, one.group.queues):
                consumers[row.name] = [f"quarantine of {', '.join(consumers[origin_of(row.name)])}"]
        rows = [
            queue_cells(row, consumers.get(row.name, ()))
            for row in one.survey.queues
            if only is None or row.name in only
        ]
        if not rows:
            return [_asked(one), "  there is no queue."]
        return [_asked(one), *(f"  {line}" for line in table(rows, _COLUMNS))]

    def _tell(self, lines: Iterable[str]) -> None:
        texts = list(lines)
        self._say(texts)
        self.screen.show(texts)


def _quarantine_of(one: Surveyed, done: str) -> list[str]:
    """What is in the quarantines of a broker, or what became of it."""
    rows = one.survey.quarantined
    way = f"through pod {one.asked}" if one.asked else "from this machine"
    lines = [f"{one.group.title}, asked {way}: {counted(len(rows), 'message')} in quarantine"]
    if rows:
        lines += [f"  {line}" for line in table([quarantine_cells(row) for row in rows], _QUARANTINE_COLUMNS)]
    if done and rows:
        changed = sum(row.done for row in rows)
        word = "back in their queues" if done == RETURN else "dropped"
        lines.append(f"  {word}: {changed} of {len(rows)}.")
        if changed < len(rows):
            lines.append("  The others changed in this moment; run again.")
    return lines


def _not_done(do: str, missing: list[str], left: list[str]) -> str:
    """What a run fails with that could not do all that was asked."""
    word = "given back" if do == RETURN else "dropped"
    parts = [f"not in quarantine: {', '.join(missing)}. Look at what is: run it without {_DO}." if missing else ""]
    parts.append(f"not {word}, because they changed in this moment: {', '.join(left)}. Run it again." if left else "")
    return "\n".join(filter(None, parts))


def _ways(do: str, checks: bool) -> str:
    """What to write to change something."""
    if checks and do in (RETURN, DROP):
        return "Check mode: nothing was changed. Run it without --check."
    if do == DROP:
        return (
            "Nothing was changed. What is dropped is gone: confirm it with -e celery_workers_quarantine_confirm=true."
        )
    return (
        "Nothing was changed. Give them back with -e celery_workers_quarantine_do=return, or drop them with "
        "-e celery_workers_quarantine_do=drop; -e celery_workers_quarantine_ids=… names some."
    )


def _asked(one: Surveyed) -> str:
    way = f"through pod {one.asked}" if one.asked else "from this machine"
    return f"{one.group.title}, asked {way}: {counted(len(one.survey.queues), 'queue')}"
