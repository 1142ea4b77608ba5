# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variants of a fleet a run is about, as celery_workers_only names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._schema.problems import Problems, suggest
from .fleet import Fleet, Service, Variant

PATH = "celery_workers_only"


@dataclass(frozen=True)
class Selection:
    """Variants that were chosen.

    :param named: those of them that were named one by one; others came with their service, or with the fleet.
    """

    variants: tuple[Variant, ...]
    named: frozenset[tuple[str, str]] = frozenset()

    def names(self, variant: Variant) -> bool:
        """Whether a variant was named by itself."""
        return (variant.service, variant.name) in self.named


def select(fleet: Fleet, wanted: Iterable[str], problems: Problems) -> Selection:
    """The variants that are wanted, in the order of the fleet; all of them where nothing is.

    :param wanted: C(service), or C(service/variant).
    """
    words = [word.strip() for word in wanted if word.strip()]
    if not words:
        return Selection(tuple(fleet.variants))
    chosen: set[tuple[str, str]] = set()
    named: set[tuple[str, str]] = set()
    for word in words:
        found = _places(fleet, word, problems)
        chosen |= found
        named |= found if "/" in word else set()
    own = tuple(item for item in fleet.variants if (item.service, item.name) in chosen)
    return Selection(own, frozenset(named))


def _places(fleet: Fleet, word: str, problems: Problems) -> set[tuple[str, str]]:
    """Service and variant of what one word means; what is wrong with it is noted."""
    name, slash, variant = word.partition("/")
    service = next((item for item in fleet.services if item.name == name), None)
    if service is None:
        known = [item.name for item in fleet.services]
        if not slash:
            # A variant alone may be in several services.
            near = [f"{item.service}/{item.name}" for item in fleet.variants if item.name == name]
            if near:
                problems.add(PATH, f"{word!r} is no service but a variant; write {' or '.join(near)}.")
                return set()
        problems.add(PATH, f"the fleet has no service {name!r}; {suggest(name, known)}")
        return set()
    if slash and variant not in {item.name for item in service.variants}:
        problems.add(PATH, _no_variant(service, variant))
        return set()
    return {(item.service, item.name) for item in service.variants if not slash or item.name == variant}


def _no_variant(service: Service, variant: str) -> str:
    known = [item.name for item in service.variants]
    return f"service {service.name} has no variant {variant!r}; {suggest(variant, known)}"
