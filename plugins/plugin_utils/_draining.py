# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells workers whether to take work, and waits until they have nothing left, or take again. Says how far that is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.queueops.celery.plugins.module_utils._celery.launcher import LAUNCHER
from ansible_collections.queueops.celery.plugins.module_utils._cluster.asking import worker_words_of
from ansible_collections.queueops.celery.plugins.module_utils._cluster.changes import identity, not_sent_lines
from ansible_collections.queueops.celery.plugins.module_utils._cluster.drains import (
    LATER,
    PAUSE,
    RESUME,
    Held,
    ask_held,
)
from ansible_collections.queueops.celery.plugins.module_utils._cluster.reading import Cluster, ClusterError
from ansible_collections.queueops.celery.plugins.module_utils._plan.data import APPLY, DELETE, Plan, Step
from ansible_collections.queueops.celery.plugins.module_utils._plan.draining import left_noted, taken_back, with_told
from ansible_collections.queueops.celery.plugins.module_utils._schema.counted import counted, messages_wait

Object = dict[str, Any]


class StepError(Exception):
    """A step failed; the text says what and why."""


#: Deployments that are asked at the same time.
_AT_ONCE = 8
#: Seconds that one command looks in a pod, and that it does where others wait for their turn.
_PATIENCE, _SHORT_PATIENCE = 45, 10
#: Seconds after which a line says again what is waited for.
_SAY_AGAIN = 15
#: Seconds between two questions, where the workers cannot tell of what is waited for, and elsewhere.
_PAUSE, _SHORT_PAUSE = 5, 0.2
#: Seconds after which a Deployment is given up that gives no answer.
_GIVES_UP = 60
#: Seconds after its end in which a command that is under way may still answer.
_LAST_WORDS = 10
#: Deployments that one round of progress names.
_MOST_NAMED = 5


@dataclass
class _Seen:
    """What was seen last of one Deployment.

    :param at: when.
    :param failing_since: since when it gives no answer.
    """

    held: Held
    at: float
    failing_since: float | None = None


@dataclass
class Telling:
    """Tells the workers of several Deployments.

    :param deployments: as the API server returned them, by the name that people know.
    :param consumes: what they are told.
    :param is_done: whether the workers of a Deployment are where they should be.
    :param timeout: seconds to wait for all of them together.
    :param tell: shows a line.
    """

    cluster: Cluster
    deployments: Mapping[str, Object]
    consumes: str
    is_done: Callable[[Held], bool]
    timeout: float
    tell: Callable[[str], None]
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _said: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _said_at: float = 0.0

    def run(self) -> dict[str, Held]:
        """Tell all of them, and wait until all are where they should be, or until the time is over.

        :returns: what each held last.
        :raises ClusterError: if their pods cannot be listed.
        """
        self._start = self._said_at = time.monotonic()
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        try:
            # All are told before any is waited for.
            asked = {title: pool.submit(self._ask, title, 0, 0.0) for title in self.deployments}
            while asked:
                self._collect(asked)
                for title in self._busy(asked):
                    left = self._start + self.timeout - time.monotonic()
                    if left > 0:
                        pause = self._pause(self._seen[title].held)
                        asked[title] = pool.submit(self._ask, title, self._patience(left), pause)
                self._report()
                is_over = time.monotonic() >= self._start + self.timeout + _LAST_WORDS
                if is_over and len(self._seen) == len(self.deployments):
                    break
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return {title: self._seen[title].held for title in self.deployments}

    def _ask(self, title: str, patience: int, pause: float) -> Held:
        time.sleep(pause)
        try:
            return ask_held(self.cluster, self.deployments[title], self.consumes, patience)
        except ClusterError as error:
            if not error.passes:
                raise
            return Held(error=str(error))

    @staticmethod
    def _pause(held: Held) -> float:
        """Seconds until the next question. The command in a pod does not wait for what happens elsewhere."""
        if held.error or held.starting or (held.leaving and held.is_drained):
            return _PAUSE
        return _SHORT_PAUSE

    def _patience(self, left: float) -> int:
        many = len(self.deployments) > _AT_ONCE
        return max(1, min(_SHORT_PATIENCE if many else _PATIENCE, round(left)))

    def _collect(self, asked: dict[str, Future[Held]]) -> None:
        done, _others = wait(asked.values(), timeout=1, return_when=FIRST_COMPLETED)
        now = time.monotonic()
        for title in [title for title, future in asked.items() if future in done]:
            held = asked.pop(title).result()
            before = self._seen.get(title)
            since = (before.failing_since if before else None) or now
            self._seen[title] = _Seen(held, now, since if held.error else None)

    def _busy(self, asked: Mapping[str, Future[Held]]) -> list[str]:
        """Those that are to be asked again."""
        return [
            title
            for title, seen in self._seen.items()
            if title not in asked and not self.is_done(seen.held) and not self._is_given_up(seen)
        ]

    @staticmethod
    def _is_given_up(seen: _Seen) -> bool:
        # A right that is missing does not come by itself.
        is_final = "forbidden" in seen.held.error.lower()
        return is_final or (seen.failing_since is not None and time.monotonic() - seen.failing_since >= _GIVES_UP)

    def _report(self) -> None:
        """A line for each that is waited for: once it changes, and for all of them from time to time."""
        now = time.monotonic()
        busy = {title: seen for title, seen in self._seen.items() if not self.is_done(seen.held)}
        again = now - self._said_at >= _SAY_AGAIN
        news = [title for title, seen in busy.items() if again or self._said.get(title) != seen.held.signature]
        for title in news[:_MOST_NAMED]:
            self.tell(f"{title}: {busy[title].held.said(now - busy[title].at)}")
        if len(news) > _MOST_NAMED:
            self.tell(f"and {len(news) - _MOST_NAMED} more variants")
        for title in self._said.keys() - busy.keys():
            self.tell(f"{title}: {self._seen[title].held.said()}")
        self._said = {title: seen.held.signature for title, seen in busy.items()}
        self._said_at = now if news else self._said_at


#: Seconds for which workers are told that need not finish anything.
_TOLD_WITHIN = 60


@dataclass
class Drains:
    """The steps of a drain.

    :param patch: sends patches of annotations.
    :param timeout: seconds until running tasks are waited for no longer.
    :param on_timeout: C(keep) leaves them drained then, C(resume) lets them take work again.
    :param notes: what was done, for people.
    """

    cluster: Cluster
    patch: Callable[[list[Object]], None]
    tell: Callable[[str], None]
    checks: bool
    timeout: int
    on_timeout: str
    notes: list[str]
    warnings: list[str]

    def drain(self, objects: Sequence[Object]) -> None:
        """Tell workers to take nothing, and wait until they run nothing.

        :raises StepError: if some still run something when the time is over.
        """
        live = self._live(objects)
        consumes, timeout = ("", 0) if self.checks else (PAUSE, self.timeout)
        start = time.monotonic()
        found = self._telling(live, consumes, _is_empty, timeout).run()
        busy = [item for item in objects if not _is_empty(found[item["title"]])]
        if self.checks:
            self.notes += [f"{item['title']}: {found[item['title']].said()}" for item in objects]
            return
        keeps = self.on_timeout == "keep"
        kept = [item for item in objects if keeps or item not in busy]
        if kept:
            self.patch([with_told(item, found[item["title"]].told) for item in kept])
        self.notes += [_drained(item, found[item["title"]]) for item in kept if item not in busy]
        if any(held.later for held in found.values()):
            self.notes.append(LATER)
        if busy:
            lines = [] if keeps else self.take_back(busy, live)
            raise StepError("\n".join([*_over(busy, found, round(time.monotonic() - start), keeps), *lines]))

    def drain_first(self, item: Object) -> str:
        """Let the workers of a variant finish whose pods are about to be replaced.

        :returns: what they still hold when the time is over; they take work again then. Empty if they hold nothing.
        """
        live = self._live([item])
        consumes, timeout = ("", 0) if self.checks else (PAUSE, self.timeout)
        held = self._telling(live, consumes, _is_drained, timeout).run()[item["title"]]
        if self.checks:
            self.notes.append(f"{item['title']}: {held.said()}")
        if self.checks or held.is_drained:
            return ""
        left = self.take_back([item], live) if item["drained"].by_deploy else []
        return "\n".join([f"{item['title']}: {held.said()}", *left])

    def drain_again(self, objects: Sequence[Object]) -> None:
        """Tell pods that have started since to take nothing. What they have taken by then goes on.

        :raises StepError: if some were not told.
        """
        if self.checks:
            return
        found = self._telling(self._live(objects), PAUSE, _takes_nothing, _TOLD_WITHIN).run()
        self.patch([with_told(item, found[item["title"]].told) for item in objects])
        for item in objects:
            held = found[item["title"]]
            if not _takes_nothing(held):
                text = f"{item['title']}: it is drained, and its new pods may take work: {held.said()}. Drain it again."
                raise StepError(text)
            taken = f": {held.said()}" if not held.is_drained else ""
            self.notes.append(f"{item['title']}: its new pods were told to take nothing, as it is drained{taken}")

    def _telling(
        self, live: Mapping[str, Object], consumes: str, is_done: Callable[[Held], bool], timeout: float
    ) -> Telling:
        return Telling(self.cluster, live, consumes, is_done, timeout, self.tell)

    def resume(self, objects: Sequence[Object]) -> None:
        """Tell workers to take from the queues of their command line again.

        :raises StepError: if some were not told.
        """
        if self.checks:
            return
        found = self._told_to_resume(objects, self._live(objects))
        lines = [_unsure(item, held) for item in objects if not (held := found[item["title"]]).takes_all]
        if lines:
            raise StepError("\n".join(lines))

    def end_left(self, objects: Sequence[Object]) -> None:
        """Undo what an earlier deploy has left. A worker that does not answer may be one that this run replaces.

        :raises StepError: if some answered, and take nothing.
        """
        silent: list[Object] = []
        if not self.checks:
            found = self._told_to_resume(objects, self._live(objects))
            unsure = [item for item in objects if not found[item["title"]].takes_all]
            silent = [item for item in unsure if not found[item["title"]].told]
            lines = {item["title"]: _unsure(item, found[item["title"]]) for item in unsure}
            if len(silent) < len(unsure):
                raise StepError("\n".join(lines.values()))
            self.warnings.extend(lines.values())
        self.patch([patch for item in objects for patch in (left_noted if item in silent else taken_back)(item)])

    def _told_to_resume(self, objects: Sequence[Object], live: Mapping[str, Object]) -> dict[str, Held]:
        found = self._telling(live, RESUME, _takes_all, _TOLD_WITHIN).run()
        for title in [item["title"] for item in objects if found[item["title"]].works]:
            self.warnings.extend(_forgetful(title, live[title]))
        return found

    def take_back(self, objects: Sequence[Object], live: Mapping[str, Object] | None = None) -> list[str]:
        """Let them take work again, and their scalers be as they were. What that could not do is returned."""
        known = live or self._live(objects)
        found = self._told_to_resume(objects, {item["title"]: known[item["title"]] for item in objects})
        self.patch([patch for item in objects for patch in taken_back(item)])
        return [
            f"{item['title']}: {found[item['title']].said()}; restart its workers: {_restart(item)}"
            for item in objects
            if not found[item["title"]].takes_all
        ]

    def _live(self, objects: Sequence[Object]) -> dict[str, Object]:
        """The Deployments by the name that people know, as they are now."""
        listed = {item["metadata"]["name"]: item for item in self.cluster.list_objects("Deployment", "apps/v1") or []}
        gone = [item["title"] for item in objects if item["metadata"]["name"] not in listed]
        if gone:
            raise StepError(f"The Deployments of {', '.join(gone)} are not there any more. Run again.")
        return {item["title"]: listed[item["metadata"]["name"]] for item in objects}


def _is_drained(held: Held) -> bool:
    return held.is_drained


def _is_empty(held: Held) -> bool:
    """Whether not even a pod that stops may run something."""
    return held.is_drained and not held.leaving


def _takes_all(held: Held) -> bool:
    return held.takes_all


def _takes_nothing(held: Held) -> bool:
    return not held.error and len(held.told) == len(held.pods)


def forgetting(cluster: Cluster, names: Iterable[str]) -> list[str]:
    """What is to be known of Deployments whose workers were told to take work again."""
    listed = {item["metadata"]["name"]: item for item in cluster.list_objects("Deployment", "apps/v1") or []}
    return [text for name in names if name in listed for text in _forgetful(name, listed[name])]


def _forgetful(title: str, live: Object) -> Iterator[str]:
    if LAUNCHER not in worker_words_of(live):
        yield (
            f"{title}: its workers take work again, and forget that when they lose their connection to the broker (as "
            "of Celery 5.6): they would connect anew and take nothing. Restart them at a quiet moment: "
            f"{_restart(live)}"
        )


def _unsure(item: Object, held: Held) -> str:
    return (
        f"{item['title']}: it is not sure that its workers take work again: {held.said()}. Run again, or restart "
        f"them: {_restart(item)}"
    )


def _restart(item: Object) -> str:
    metadata = item["metadata"]
    return f"kubectl rollout restart deployment {metadata['name']} --namespace {metadata['namespace']}"


def _drained(item: Object, held: Held) -> str:
    """What is said of a variant that runs nothing any more."""
    pods = f"{counted(len(held.pods), 'pod')}, which {'runs' if len(held.pods) == 1 else 'run'} nothing"
    parts = [f"drained, at {pods if held.pods else 'no pod'}"]
    parts += [messages_wait(held.waiting)] if held.waiting else []
    parts += [held.said()] if held.later else []
    if held.down:
        them = "it takes" if held.down == 1 else "they take"
        parts.append(
            f"{counted(held.down, 'pod')} more did not come up; {them} work if that changes, so drain again then"
        )
    parts.append(f"let it take work again with {item['resume']}")
    return f"{item['title']}: {'; '.join(parts)}"


def _over(busy: Sequence[Object], found: Mapping[str, Held], seconds: int, keeps: bool) -> list[str]:
    """What is said when the time is over."""
    is_known = any(not found[item["title"]].error for item in busy)
    first = (
        f"After {seconds} seconds these workers still hold work, which goes on."
        if is_known
        else "These workers could not be told to take nothing, or may not have heard it."
    )
    resume = busy[0]["resume"] if len(busy) == 1 else "queueops.celery.resume"
    if not keeps:
        what = "So they take work again, and nothing is paused (celery_workers_drain_on_timeout: resume)."
    elif is_known:
        what = (
            "They stay drained: run again, which goes on waiting, with a larger celery_workers_drain_timeout if you "
            f"like; or let them take work again with {resume}."
        )
    else:
        what = f"Their scalers stay paused: run again once they can be told, or end that with {resume}."
    lines = [f"{item['title']}: {found[item['title']].said()}" for item in busy]
    return [f"{first} {what}", *lines]


@dataclass
class Waves:
    """How far a rollout is that lets workers finish first.

    :param draining: variants that are drained until their pods are replaced.
    :param held: Deployments whose workers did not finish in time, each with what they still held.
    """

    draining: list[Object] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)

    def leaves_out(self, step: Step) -> bool:
        """Whether a step is left out. What comes after the waves counts on every one of them."""
        return step.wave in self.held or bool(self.held and not step.wave)

    def drain(self, step: Step, drains: Drains) -> None:
        """Let the workers of a wave finish."""
        self.draining = [item for item in step.objects if item["drained"].by_deploy]
        busy = drains.drain_first(step.objects[0])
        if busy:
            self.held[step.wave] = busy
            self.draining = []

    def end(self, wave: str) -> None:
        """Note that what was noted of a drain is taken away again."""
        self.draining = [item for item in self.draining if item["metadata"]["name"] != wave]

    def take_back(self, drains: Drains) -> list[str]:
        """Let workers take work again whose pods are not replaced after all; what that could not do is returned."""
        drained, self.draining = self.draining, []
        try:
            return drains.take_back(drained)
        except (ClusterError, StepError):
            return [f"{item['title']}: it is drained still; the next deploy takes that back" for item in drained]

    def raise_any(self, plan: Plan, timeout: int) -> None:
        """Stop where pods of some variants were not replaced.

        :raises StepError: with these variants, and with what was not done for that.
        """
        if not self.held:
            return
        first = next(at for at, step in enumerate(plan.steps) if step.wave in self.held)
        left = [step for step in plan.steps[first:] if self.leaves_out(step) and step.action in (APPLY, DELETE)]
        rest = dict.fromkeys(identity(item) for step in left for item in step.objects)
        text = (
            f"These workers did not finish within {timeout} seconds, or could not be asked, so their pods are not "
            "replaced, and they take work as before. A second run continues. Give them longer with "
            "celery_workers_drain_timeout, or replace them within their grace period, or where they are not ready, "
            "with celery_workers_rollout: serial."
        )
        raise StepError("\n".join([text, *self.held.values(), *not_sent_lines(list(rest))]))
