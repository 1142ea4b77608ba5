# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolling variants out in waves: one Deployment after the other, or each once its workers have finished what they run.

A variant is in a wave of its own if this run replaces pods of it. Everything else is sent before the first wave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from .._celery.sizing import longest_run
from .._model.drains import AFTER_DRAIN, SERIAL, Drained, drained_of, drained_variants
from .._model.fleet import Fleet, Variant
from .._model.names import pod_autoscaler_name, scaled_object_name
from .._model.observed import Observed
from .comparing import differing_fields
from .data import APPLY, DRAIN, PATCH, TAKE_BACK, WAIT, Live, Merge, Object, Step, Wishes
from .draining import drained_before, left_object, noted, refusal_of, taken_back, told_object
from .pausing import short_name

_REASON = "until its pods are replaced"


@dataclass(frozen=True)
class Wave:
    """One variant whose pods are replaced.

    :param objects: its Deployment, and its scaler if that is sent as well, which sees only what the new pods keep.
    """

    variant: Variant
    objects: tuple[Object, ...]

    @property
    def deployment(self) -> Object:
        """What is waited for."""
        return {"kind": "Deployment", "metadata": {"name": self.variant.deployment}}


def replaces(item: Object, live: Object | None, merge: Merge, fields: tuple[str, ...] = ("spec.template",)) -> bool:
    """Whether sending a Deployment that runs replaces its pods.

    :param fields: what the fields begin with that matter.
    """
    if live is None or item["kind"] != "Deployment" or not (live.get("spec") or {}).get("replicas", 1):
        return False
    return any(name.startswith(fields) for name in differing_fields(item, live, merge))


def waves_of(
    fleet: Fleet, observed: Observed, live: Live, changed: Sequence[Object], merge: Merge, wishes: Wishes
) -> tuple[Wave, ...]:
    """The waves of a run in their order; none where everything is sent at once.

    A variant that leaves a queue to another one comes after those that do not, so that the queue has a consumer. Of the
    others those with the longest tasks come last.
    """
    if wishes.rollout not in (SERIAL, AFTER_DRAIN):
        return ()
    sent = {(str(item["kind"]), str(item["metadata"]["name"])): item for item in changed}
    found = []
    for variant in fleet.variants:
        item = sent.get(("Deployment", variant.deployment))
        if item is None or not replaces(item, live.get(("Deployment", variant.deployment)), merge):
            continue
        scalers = (
            ("ScaledObject", scaled_object_name(variant.deployment)),
            ("HorizontalPodAutoscaler", pod_autoscaler_name(variant.deployment)),
        )
        found.append(Wave(variant, (item, *(sent[key] for key in scalers if key in sent))))
    return tuple(sorted(found, key=lambda wave: _rank(wave.variant, observed)))


def _rank(variant: Variant, observed: Observed) -> tuple[bool, float]:
    return _leaves(variant, observed), longest_run(variant.knowledge, variant.args)


def _leaves(variant: Variant, observed: Observed) -> bool:
    """Whether a variant consumes less than it did."""
    live = observed.find("Deployment", variant.deployment)
    return live is not None and not set(live.queues) <= set(variant.queues)


def without_waves(changed: Iterable[Object], waves: Iterable[Wave]) -> list[Object]:
    """What is sent before the first wave."""
    own = {id(item) for wave in waves for item in wave.objects}
    return [item for item in changed if id(item) not in own]


def wave_steps(
    fleet: Fleet, observed: Observed, waves: Sequence[Wave], before: Iterable[str], wishes: Wishes
) -> Iterator[Step]:
    """The steps of all waves.

    :param before: Deployments that must be up before the first one.
    """
    waits = wishes.waits and not wishes.checks
    # They may take over a queue that one of the waves leaves.
    names = tuple({"kind": "Deployment", "metadata": {"name": name}} for name in dict.fromkeys(before))
    if waves and names and waits:
        rest = ", ".join(short_name(wave.variant) for wave in waves)
        reason = (
            f"These workers do not come up, so the run ends here. Not replaced yet: {rest}, whose pods run as before. "
            "A second run continues; celery_workers_rollout: parallel goes on all the same."
        )
        yield Step("Wait until all others are up", WAIT, names, reason=reason)
    for position, wave in enumerate(waves):
        title, name = short_name(wave.variant), wave.variant.deployment
        if wishes.rollout == AFTER_DRAIN:
            yield from _drained_wave(fleet, observed, wave)
        else:
            yield Step(f"Replace the pods of {title}", APPLY, wave.objects, hides=fleet.take_over, wave=name)
        if waits:
            reason = _stopped(title, [short_name(item.variant) for item in waves[position + 1 :]])
            yield Step(f"Wait until {title} is up", WAIT, (wave.deployment,), reason=reason, wave=name)


def _drained_wave(fleet: Fleet, observed: Observed, wave: Wave) -> Iterator[Step]:
    """Its workers finish, its pods are replaced at once, and its scaler works again, whatever became of it."""
    variant, title, name = wave.variant, short_name(wave.variant), wave.variant.deployment
    drained = drained_of(variant, observed)
    if drained is None or drained.by_deploy:
        before = drained_before(variant, observed, drained)
        drained = Drained(since=observed.now, reason=_REASON, by_deploy=True, before=before)
        # The note first: with it a later run takes back what this one may be kept from.
        patches = list(noted(fleet, variant, observed, drained))
        note = tuple(patch for patch in patches if patch["kind"] == "Deployment")
        yield Step(f"Note that {title} is drained", PATCH, note, wave=name)
        pause = tuple(patch for patch in patches if patch["kind"] != "Deployment")
        yield Step(f"Pause the scaler of {title}", PATCH, pause, wave=name)
    item = told_object(fleet, variant, drained)
    yield Step(f"Let the workers of {title} finish what they run", DRAIN, (item,), wave=name)
    yield Step(f"Replace the pods of {title}", APPLY, wave.objects, hides=fleet.take_over, wave=name)
    if drained.by_deploy:
        yield Step(f"Let the scaler of {title} work again", PATCH, tuple(taken_back(item)), wave=name)


def _stopped(title: str, rest: Sequence[str]) -> str:
    left = f" Not replaced yet: {', '.join(rest)}, whose pods run as before." if rest else ""
    return f"{title} does not come up with its new pods, so the run ends here.{left} A second run continues."


def interrupted(
    fleet: Fleet, observed: Observed, waves: Iterable[Wave], sent: Iterable[Object], wishes: Wishes
) -> Iterator[Step]:
    """Takes back drains of an earlier deploy that has come to no end, of variants that this one does not drain.

    :param sent: what this run sends; pods that it replaces take work anyway.
    """
    again = {wave.variant.deployment for wave in waves} if wishes.rollout == AFTER_DRAIN else set()
    names = {item["metadata"]["name"] for item in sent if item["kind"] == "Deployment"}
    left = [
        left_object(fleet, variant, observed, drained)
        for variant, _live, drained in drained_variants(fleet, observed)
        if drained.by_deploy and variant.deployment not in again
    ]
    told = tuple(item for item in left if item["metadata"]["name"] not in names)
    yield Step("Let workers take work again that an earlier run has drained", TAKE_BACK, told)
    patches = tuple(chain.from_iterable(taken_back(item) for item in left if item not in told))
    yield Step("Let their scalers work again", PATCH, patches)


def undrainable(fleet: Fleet, observed: Observed, waves: Iterable[Wave], wishes: Wishes) -> Iterator[str]:
    """Why workers that are to finish first cannot be told to."""
    for wave in waves if wishes.rollout == AFTER_DRAIN else ():
        refusal = refusal_of(fleet, wave.variant, observed)
        if refusal:
            yield f"{short_name(wave.variant)}: {refusal} Or replace its pods with celery_workers_rollout: serial."


def order_note(waves: Sequence[Wave], wishes: Wishes) -> Iterator[str]:
    """What is said of the order."""
    if waves:
        how = "each once its workers run nothing" if wishes.rollout == AFTER_DRAIN else "one after the other"
        yield f"Replaces pods of {', '.join(short_name(wave.variant) for wave in waves)}, {how}."
