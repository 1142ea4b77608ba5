# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to run, as manifests and as tables for people."""

from __future__ import annotations

from dataclasses import replace

from .._build.alerts import alert_table
from .._build.flower import flower_table
from .._build.idle_first import idle_first_resources
from .._build.routing import (
    routing_resources,
    routing_table,
    routing_warnings,
)
from .._build.scalers import scaler_resources
from .._build.secret_table import secret_table
from .._build.secrets import generated, secret_names
from .._build.watching import watching_resources
from .._build.workers import (
    worker_resources,
    worker_table,
)
from .._celery.adoption import (
    adoptions,
    unseen_adoptions,
)
from .._check.preflight import (
    wanted_objects,
)
from .._model.fleet import Fleet
from .._model.names import (
    scaled_object_name,
)
from .._model.observed import (
    Observed,
)
from .data import Object, Plan, Wishes


def all_resources(fleet: Fleet, observed: Observed, is_dry: bool = False) -> tuple[Object, ...]:
    """Everything of a fleet but Secrets, in the order in which it is applied: routes before workers that load them."""
    return (
        *idle_first_resources(fleet, observed),
        *routing_resources(fleet),
        *worker_resources(fleet, observed, is_dry),
        *scaler_resources(fleet, observed),
        *watching_resources(fleet, observed),
    )


def with_manifests(said: Plan, fleet: Fleet, observed: Observed, is_dry: bool = False) -> Plan:
    """A plan with everything that should be there."""
    manifests = all_resources(fleet, observed, is_dry)
    return replace(
        said,
        manifests=manifests,
        adoptions=tuple(adoptions(fleet, observed)),
        secret_uses=tuple(secret_table(manifests, said.secrets)),
    )


def described(fleet: Fleet, observed: Observed, wishes: Wishes) -> Plan:
    """A plan that says what is to run, and does nothing yet."""
    own = (*fleet.warnings, *unseen_adoptions(fleet, observed))
    routes = routing_warnings(fleet, wishes.openedx_release, wishes.on_openedx)
    adopted = {variant.deployment for variant in fleet.variants if variant.adopted}
    wanted = {name for kind, name in wanted_objects(fleet) if kind == "Deployment"}
    return Plan(
        rows=tuple(worker_table(fleet, observed)),
        warnings=(*own, *routes),
        secrets=tuple(secret_names(fleet)),
        generated=tuple(generated(fleet, observed, wishes.output)),
        routes=tuple(routing_table(fleet)),
        flowers=tuple(flower_table(fleet)),
        alerts=tuple(alert_table(fleet)),
        deployments=tuple(sorted(wanted | adopted)),
        scaled_objects=tuple(sorted(scaled_object_name(item.deployment) for item in fleet.variants if item.uses_keda)),
        scaled_jobs=tuple(sorted(item.deployment for item in fleet.variants if item.runs_as_jobs)),
    )
