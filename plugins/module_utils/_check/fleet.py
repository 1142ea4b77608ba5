# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is judged of a fleet once it has been read: what could not work, and what would lose work."""

from __future__ import annotations

from collections.abc import Iterable

from .._model.fleet import Fleet
from .._schema.layers import Layer
from .._schema.problems import Problems
from .finished_pods import check_finished_beat
from .misplaced_secrets import refuse_misplaced_secrets
from .references import check_beat_references
from .refused import Refused, is_there, judged_part
from .routes import lost_routes
from .rules import check_fleet
from .safety import check_safety_of_fleet
from .scalers import check_scalers
from .second_brokers import check_second_brokers
from .unread_keys import check_unread_keys
from .variants import check_one_variant
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
                check_one_variant(fleet, service, variant, unread, problems)
        unread = refused.keys_of_service(service)
        check_finished_beat(service, unread, problems)
        check_beat_references(service, unread, problems)
    check_watching(fleet, output, problems)
    check_unread_keys(fleet, problems)
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
