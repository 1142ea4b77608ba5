# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What running workers say of themselves, compared with what the inventory promises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._celery.brokers import key_prefix, transport_options
from .._celery.command import (
    effective_pool,
    has_remote_control,
    written_options,
)
from .._celery.inquiry import Answer, Question, settings_in
from .._celery.launcher import needs_launcher
from .._model.fleet import Service, Variant


@dataclass(frozen=True)
class Finding:
    """What one variant's worker said.

    :param problems: what would lose, hide or strand work.
    :param warnings: what should be known.
    """

    deployment: str
    pod: str
    tasks: int = 0
    early_tasks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def question_for(variant: Variant, service: Service, canaries: bool) -> Question:
    """What the workers of a variant are asked.

    :param canaries: whether a harmless message may be sent.
    """
    broker = service.broker
    own_hash = (
        f"{key_prefix(broker)}{variant.unacked.hash}" if variant.unacked is not None and broker is not None else ""
    )
    return Question(
        app=service.app,
        group=_node_of(variant),
        settings=settings_in(variant.args),
        hash=own_hash,
        queues=variant.queues,
        canary=canaries and bool(own_hash),
        # SQS has no remote control.
        inspects=(broker is None or broker.type != "sqs") and has_remote_control(variant.process),
        enforced=needs_launcher(variant, broker),
    )


def _node_of(variant: Variant) -> str:
    """What the node name begins with. An adopted worker has the one that its owner gave it."""
    given = (written_options(variant.args).get("hostname") or "%h") if variant.adopted else ""
    return given or f"{variant.service}.{variant.name}"


def verified(variant: Variant, service: Service, pod: str, answer: Answer) -> Finding:
    """Judge an answer."""
    early = tuple(sorted(name for name, (late, _lost) in answer.tasks.items() if not late))
    unaccepted = [name for name in early if name not in variant.knowledge.accept_early_ack_tasks]
    problems = [*_queues(variant, answer), *_canary(variant, answer)]
    warnings: list[str] = []
    # A solo worker listens to nobody while its task runs.
    busy = effective_pool(variant.process) == "solo" and not answer.error
    (warnings if busy else problems).extend(_silence(variant, service, answer))
    problems += _options(service, variant, answer)
    problems += _hash_in_settings(variant, answer)
    if unaccepted and variant.sees_in_flight:
        (problems if variant.goes_to_zero or variant.runs_as_jobs else warnings).append(_early(variant, unaccepted))
    if answer.canary == "waiting" and variant.unacked is not None:
        warnings.append(
            f"{variant.title}: no worker took a message from {variant.queues[0]} in time, so it was not seen whether "
            f"it shows under {variant.unacked.hash}. Its workers may be busy; ask again when one is idle."
        )
    lost = [name for name, (late, given_back) in sorted(answer.tasks.items()) if late and not given_back]
    if lost and variant.sees_in_flight and variant.process.reject_on_worker_lost:
        warnings.append(
            f"{variant.title}: {_some(lost)} acknowledge late and are not given back when their child is killed. Set "
            "reject_on_worker_lost on these tasks in the app."
        )
    return Finding(variant.deployment, pod, len(answer.tasks), early, tuple(problems), tuple(warnings))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:5])
    return shown if len(listed) <= 5 else f"{shown} and {len(listed) - 5} more"


def _silence(variant: Variant, service: Service, answer: Answer) -> Iterable[str]:
    if answer.error:
        yield f"{variant.title}: {answer.error}."
    elif not answer.answered and question_for(variant, service, canaries=False).inspects:
        yield (
            f"{variant.title}: the worker did not answer over remote control. It may be on another broker or key "
            "prefix than its app, or worker_enable_remote_control is off."
        )


def _queues(variant: Variant, answer: Answer) -> Iterable[str]:
    # A queue of the worker's own (worker_direct) ends in .dq and belongs to nobody else.
    consumed = {name for name in answer.consumed if not name.endswith(".dq")}
    if answer.answered and consumed != set(variant.queues):
        yield (
            f"{variant.title}: the worker consumes {', '.join(answer.consumed) or 'nothing'}, and the inventory says "
            f"{', '.join(sorted(variant.queues))}."
        )


def _early(variant: Variant, names: list[str]) -> str:
    return (
        f"{variant.title}: {_some(names)} keep early acknowledgement, so the scaler does not see them run. A task "
        "that is touched while the app is imported does that: set task_acks_late in the app's own settings, or name "
        "them in accept_early_ack_tasks if they may be cut short."
    )


def _canary(variant: Variant, answer: Answer) -> Iterable[str]:
    if answer.canary == "elsewhere" and variant.unacked is not None:
        yield (
            f"{variant.title}: a message that was sent as the app sends them did not show under "
            f"{variant.unacked.hash}. The workers do not take what is sent, or hold it elsewhere: compare the app's "
            "broker and transport options with celery_workers_broker."
        )


def _options(service: Service, variant: Variant, answer: Answer) -> Iterable[str]:
    """Options of the app that the command line has replaced, or that win over it."""
    if answer.shadowed:
        yield (
            f"{variant.title}: the app's own settings under its prefix win over the worker's command line: "
            f"{', '.join(answer.shadowed)}. Set enforce_settings: true, or take them out of the app."
        )
    if variant.unacked is None:
        return
    in_force = {
        name: _listed(value) for name, value in transport_options(service.broker, variant.unacked, None).items()
    }
    for name, value in sorted(answer.own_places.items()):
        if in_force.get(name) != value and not _is_default(name, value):
            yield (
                f"{variant.title}: the app's own settings say {name} = {value!r}, and the worker's command line "
                f"replaces them with {in_force.get(name)!r}: it would look elsewhere than messages are. Write it "
                f"under celery_workers_broker.{'' if name in _TYPED else 'transport_options.'}{name}."
            )


def _hash_in_settings(variant: Variant, answer: Answer) -> Iterable[str]:
    """Only settings can give an adopted worker its key, because its command line is its owner's."""
    if variant.adopted and variant.unacked is not None and not answer.error and answer.own_hash != variant.unacked.hash:
        yield missing_key(variant, answer.own_hash)


def missing_key(variant: Variant, found: str) -> str:
    """What to do about an adopted variant whose scaler looks for running work where it is not.

    :param found: the key that the app's settings name.
    """
    wanted = variant.unacked.hash if variant.unacked is not None else ""
    return (
        f"{variant.title}: in_flight is true, and the settings of Deployment {variant.deployment} say unacked_key "
        f"{found!r} instead of {wanted!r}, so its scaler would not see what its workers run. Enable the generated "
        "Tutor plugin and start the site again (tutor plugins enable queueops_celery, tutor config save, tutor k8s "
        "start), with min_replicas: 1 until then."
    )


_TYPED = ("global_keyprefix", "sep", "priority_steps", "master_name", "region")
_DEFAULTS = {"global_keyprefix": "", "sep": "\x06\x16", "priority_steps": [0, 3, 6, 9]}


def _is_default(name: str, value: Any) -> bool:
    return name in _DEFAULTS and _DEFAULTS[name] == value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
