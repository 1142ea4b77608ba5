# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is judged of a fleet once it has been read: what could not work, and what would lose work."""

from __future__ import annotations

from collections.abc import Iterable

from .._model.fleet import Fleet, Service, Variant
from .._schema.layers import Layer
from .._schema.problems import Problems
from .finished_pods import check_finished, check_finished_beat, check_overrides
from .misplaced_secrets import refuse_misplaced_secrets
from .references import check_beat_references, check_variant_references
from .refused import Refused, is_judged, is_there, judged_part
from .routes import lost_routes
from .rules import check_fleet, check_variant
from .safety import check_safety, check_safety_of_fleet
from .scalers import check_scalers
from .second_brokers import check_second_brokers
from .wait_goals import check_wait_goals
from .watching import check_watching


def check_everything(
    fleet: Fleet, layers: Iterable[Layer], problems: Problems, output: str = "cluster", knows_tasks: bool = False
) -> None:
    """Note everything that is wrong with a fleet.

    :param layers: the variables that it was read from.
    :param problems: what reading has found already; what follows from that is not said again.
    :param output: where the objects go; C(manifests) keeps nothing that is generated.
    :param knows_tasks: whether the tasks are those of Open edX, of which it is known who runs them.
    """
    refused = Refused.of(problems)
    for service in fleet.services:
        for variant in service.variants:
            unread = refused.keys_of(variant, service)
            if is_there(unread):
                _check_variant(fleet, service, variant, unread, problems)
        unread = refused.keys_of_service(service)
        check_finished_beat(service, unread, problems)
        check_beat_references(service, unread, problems)
    check_watching(fleet, output, problems)
    # After what looks at single values, so that nothing is said twice.
    check_second_brokers(fleet, problems)
    refuse_misplaced_secrets(layers, problems)
    judged = judged_part(fleet, refused)
    check_fleet(fleet, judged, refused, problems)
    for path, message in lost_routes(fleet) if knows_tasks and not refused.hides_consumers(fleet) else ():
        problems.add(path, message)
    check_safety_of_fleet(judged, problems)
    check_wait_goals(judged, problems)
    check_scalers(judged, problems)


def _check_variant(
    fleet: Fleet, service: Service, variant: Variant, unread: frozenset[str], problems: Problems
) -> None:
    check_overrides(variant, variant.path_of("pod_overrides"), problems)
    check_variant(variant, service, unread, problems)
    if is_judged(unread):
        check_safety(variant, service, fleet.versions, variant.path_of, problems)
    check_variant_references(variant, service, unread, problems)
    if not variant.adopted:
        check_finished(variant, service, unread, problems)
