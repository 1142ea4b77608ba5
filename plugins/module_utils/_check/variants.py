# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is judged within one variant."""

from __future__ import annotations

from .._model.fleet import Fleet, Service, Variant
from .._schema.problems import Problems
from .finished_pods import check_finished, check_overrides
from .references import check_variant_references
from .refused import is_judged
from .rules import check_variant
from .safety import check_safety


def check_one_variant(
    fleet: Fleet, service: Service, variant: Variant, unread: frozenset[str], problems: Problems
) -> None:
    """Note everything that is wrong within one variant.

    :param unread: its keys that were refused.
    """
    check_overrides(variant, variant.path_of("pod_overrides"), problems)
    check_variant(variant, service, unread, problems)
    if is_judged(unread):
        check_safety(variant, service, fleet.versions, variant.path_of, problems)
    check_variant_references(variant, service, unread, problems)
    if not variant.adopted:
        check_finished(variant, service, unread, problems)
