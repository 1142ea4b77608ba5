# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys could not be read. What follows from them is not checked: one mistake is one problem."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from .._model.fleet import Fleet, Service, Variant
from .._model.job_keys import Jobs
from .._model.service_keys import ServiceKeys
from .._model.variant_keys import Consumption, Knowledge, Pod, Process, Scaling
from .._schema.keys import key_names
from .._schema.layers import PREFIX, without_layer
from .._schema.problems import Problems
from .risks import RULES

#: Keys on which it depends whether there is a variant of ours at all.
_WHOLE = {"enabled", "adopt"}
#: Keys from which nothing else follows.
_IDLE = {"name", "loglevel", "scaled_object_annotations"}
#: Keys from which numbers, arguments and scalers follow, and the risks that are accepted for them.
_WORK = (key_names(Consumption, Process, Scaling, Jobs, Knowledge) - _IDLE) | {
    "termination_grace_period",
    "lifecycle",
    "resources",
    "probe",
    "command_prefix",
    "pass_app",
    "pod_overrides",
    "sidecars",
}
_QUEUES = {"queues", *_WHOLE}
#: Rules that one variant accepts for all that they concern.
_ACCEPTED_TOGETHER = {"connections", "shared-queue", "version", "visibility-timeout"}
_VARIANT_KEYS = key_names(Consumption, Process, Scaling, Jobs, Knowledge, Pod)
_SERVICE_KEYS = _VARIANT_KEYS | key_names(ServiceKeys)
#: A variable, a service, or a variant as a whole.
_WHOLE_PATH = re.compile(rf"{PREFIX}(?:config(?:\.[^.\[]+){{0,2}}|services(?:\.[^.\[]+)?|queue_defaults)")
#: Where a part of what was written begins.
_PART = re.compile(r"[.\[]")


@dataclass(frozen=True)
class Refused:
    """What was refused while a fleet was read.

    :param paths: where, without the numbers of layers; a mistyped key counts as the one that it stands for.
    """

    paths: frozenset[str]

    @staticmethod
    def of(problems: Problems) -> Refused:
        """What was refused so far."""
        paths = [problem.path for problem in problems.found]
        return Refused(frozenset(map(without_layer, [*paths, *problems.meant])))

    @cached_property
    def _places(self) -> frozenset[str]:
        """The paths and all that they are a part of."""
        ends = ((path, len(path)) for path in self.paths)
        parts = ((path, found.start()) for path in self.paths for found in _PART.finditer(path))
        return frozenset(path[:end] for path, end in (*ends, *parts))

    def holds(self, path: str) -> bool:
        """Whether what was written there, or a part of it, was refused."""
        return without_layer(path) in self._places

    @cached_property
    def _names(self) -> frozenset[str]:
        """Last words of the places: few keys are worth a look."""
        return frozenset(place.rpartition(".")[2] for place in self._places)

    def keys_of(self, variant: Variant, service: Service) -> frozenset[str]:
        """Keys of a variant that could not be read, wherever they were written."""
        places = (variant.path, service.path, f"{PREFIX}queue_defaults")
        return frozenset(
            name
            for name in _VARIANT_KEYS & (self._names | set(variant.paths) if self.paths else set())
            if self.holds(variant.path_of(name)) or any(self.holds(f"{place}.{name}") for place in places)
        )

    def keys_of_service(self, service: Service) -> frozenset[str]:
        """Keys of a service, and those that its variants share, that could not be read."""
        names = _SERVICE_KEYS & (self._names | set(service.paths) if self.paths else set())
        return frozenset(name for name in names if self.holds(service.path_of(name)))

    def hides_consumers(self, fleet: Fleet) -> bool:
        """Whether it is not known which queues have a consumer."""
        services = [
            bool(self.keys_of_service(service) & {"queue_name", *_QUEUES})
            or any(self.keys_of(item, service) & _QUEUES for item in (*service.variants, *service.left))
            for service in fleet.services
        ]
        return any(services) or any(_WHOLE_PATH.fullmatch(path) for path in self.paths)


def is_judged(unread: Iterable[str]) -> bool:
    """Whether there is enough of a variant to judge what it does with its work."""
    return not _WORK & set(unread)


def is_there(unread: Iterable[str]) -> bool:
    """Whether a variant is one of ours for certain."""
    return not _WHOLE & set(unread)


def accepted_together(variants: Iterable[Variant]) -> list[str]:
    """Rules that some variants accept for others, too."""
    return sorted({risk for item in variants for risk in item.knowledge.accept_risks} & _ACCEPTED_TOGETHER)


def judged_part(fleet: Fleet, refused: Refused) -> Fleet:
    """A fleet without the variants that could not be read, for rules between variants.

    Where one of them accepts risks that could not be read, it may have accepted any for those beside it. What it
    accepts for all of them stays accepted.
    """
    unread = {item.path: refused.keys_of(item, service) for service in fleet.services for item in service.variants}
    accepts_any = any("accept_risks" in names for names in unread.values())
    left_out = [item for service in fleet.services for item in service.variants if not is_judged(unread[item.path])]
    together = accepted_together(left_out)

    def judged(variant: Variant) -> Variant:
        accepted = tuple(RULES) if accepts_any else (*variant.knowledge.accept_risks, *together)
        return replace(variant, knowledge=replace(variant.knowledge, accept_risks=accepted))

    def part(service: Service) -> Service:
        kept = tuple(judged(item) for item in service.variants if is_judged(unread[item.path]))
        accepts = not any("accept_risks" in unread[item.path] for item in service.variants)
        return replace(service, variants=kept, beat=service.beat if accepts else None)

    return replace(fleet, services=tuple(map(part, fleet.services)))
